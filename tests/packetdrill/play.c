/* SPDX-License-Identifier: MIT */
/*
 * play.c - see play.h.
 */
#include "play.h"

#include <linux/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

struct play play;
struct play_blocked play_blocked;

void play_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: %s: %s (errno %d)\n", file, line, play.name, what, errno);
    _Exit(EXIT_FAILURE);
}

/* --- the peer's packets ----------------------------------------------------------------------- */

static struct weir_path path_of(void)
{
    struct weir_path path = {.local = {.ip = {192, 0, 2, 1}, .family = WEIR_ADDR_IP4},
                             .remote = {.ip = {192, 168, 0, 1}, .family = WEIR_ADDR_IP4}};
    if (play.is_6) {
        path.local =
            (struct weir_addr){.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .family = WEIR_ADDR_IP6};
        path.remote = (struct weir_addr){.ip = {0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, [15] = 1},
                                         .family = WEIR_ADDR_IP6};
    }
    return path;
}

static uint16_t sum16(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < length; i += 2) {
        sum += weir_load16(bytes + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static size_t put_ip(uint8_t *packet, size_t payload, const struct weir_path *path)
{
    if (play.is_6) {
        memset(packet, 0, IP6_BYTES);
        packet[0] = 0x60;
        weir_store16(packet + 4, (uint16_t)payload);
        packet[6] = IPPROTO_TCP;
        packet[7] = 64;
        memcpy(packet + 8, path->local.ip, 16);
        memcpy(packet + 24, path->remote.ip, 16);
        return IP6_BYTES;
    }
    memset(packet, 0, IP4_BYTES);
    packet[0] = 0x45;
    weir_store16(packet + 2, (uint16_t)(IP4_BYTES + payload));
    packet[8] = 64;
    packet[9] = IPPROTO_TCP;
    memcpy(packet + 12, path->local.ip, 4);
    memcpy(packet + 16, path->remote.ip, 4);
    weir_store16(packet + 10, sum16(packet, IP4_BYTES));
    return IP4_BYTES;
}

/* The peer's segment; length bytes of data, counted up from seq. */
void play_inject(uint8_t flags, uint32_t seq, uint32_t length, uint32_t ack, uint16_t window)
{
    uint8_t packet[PACKET_MAX];
    struct weir_path path = path_of();
    const size_t ip_bytes = play.is_6 ? IP6_BYTES : IP4_BYTES;
    struct weir_tcp_segment segment = {.source = PEER_PORT,
                                       .target = play.local_port,
                                       .seq = PEER_ISN + seq,
                                       .ack = (flags & A) != 0 ? play.own_isn + ack : 0,
                                       .window = window,
                                       .flags = flags};
    if ((flags & S) != 0) {
        segment.options = WEIR_TCP_HAS_MSS | WEIR_TCP_HAS_SACK_PERMITTED;
        segment.mss = 1000;
    }
    uint32_t bytes = weir_tcp_encode(packet + ip_bytes, &segment);
    for (uint32_t i = 0; i < length; i++) {
        packet[ip_bytes + bytes++] = (uint8_t)(seq + i);
    }
    weir_tcp_seal(packet + ip_bytes, bytes, &path);
    (void)put_ip(packet, bytes, &path);
    CHECK(SO.netdev_send(U, packet, ip_bytes + bytes) == 0);
}

/* The stack's next packet, with its time; false: there is none, and never will be. */
bool play_receive(void)
{
    size_t length = sizeof(play.packet);
    const size_t ip_bytes = play.is_6 ? IP6_BYTES : IP4_BYTES;
    CHECK(SO.netdev_receive(U, play.packet, &length, &play.got_us) == 0);
    play.got_us -= play.start_us;
    if (length == 0) {
        return false;
    }
    CHECK(length > ip_bytes);
    CHECK(play.packet[0] >> 4 == (play.is_6 ? 6 : 4));
    struct weir_span segment = weir_span_of(play.packet + ip_bytes, length - ip_bytes);
    CHECK(weir_tcp_decode(segment, &play.got));
    if ((play.got.flags & S) != 0) {
        play.own_isn = play.got.seq;
    }
    return true;
}

/* It is this one, and left now, or at this time in microseconds (at not negative). */
void play_expect(int line, long long at, uint8_t flags, uint32_t seq, uint32_t length, uint32_t ack)
{
    if (!play_receive()) {
        play_fail("adapter.c", line, "no packet");
    }
    const uint8_t got_flags = play.got.flags & (S | F | R | A);
    const uint32_t got_ack = (got_flags & A) != 0 ? play.got.ack - PEER_ISN : 0;
    const long long late = play.got_us - at;
    if (got_flags != (flags & ~P) || play.got.seq - play.own_isn != seq ||
        play.got.data.length != length || got_ack != ack ||
        (at >= 0 && (late < -TOLERANCE_US || late > TOLERANCE_US))) {
        (void)fprintf(stderr, "got flags %u, %u(%zu) ack %u at %lld us\n", got_flags,
                      play.got.seq - play.own_isn, play.got.data.length, got_ack, play.got_us);
        play_fail("adapter.c", line, "another packet was expected");
    }
}

long long play_now(void)
{
    struct timeval time;
    CHECK(SO.gettimeofday(U, &time, NULL) == 0);
    return (long long)time.tv_sec * 1000000 + time.tv_usec - play.start_us;
}

bool play_is_near(long long at, long long expected)
{
    return at >= expected - TOLERANCE_US && at <= expected + TOLERANCE_US;
}

/* --- the user's calls ------------------------------------------------------------------------- */

static socklen_t make_name(const struct weir_addr *addr, uint16_t port, union name *name)
{
    memset(name, 0, sizeof(*name));
    if (addr->family == WEIR_ADDR_IP6) {
        name->in6.sin6_family = AF_INET6;
        name->in6.sin6_port = htons(port);
        memcpy(&name->in6.sin6_addr, addr->ip, 16);
        return sizeof(name->in6);
    }
    name->in4.sin_family = AF_INET;
    name->in4.sin_port = htons(port);
    memcpy(&name->in4.sin_addr, addr->ip, 4);
    return sizeof(name->in4);
}

int play_socket(int flags)
{
    int fd = SO.socket(U, play.is_6 ? AF_INET6 : AF_INET, SOCK_STREAM | flags, IPPROTO_TCP);
    CHECK(fd >= 0);
    return fd;
}

int play_listen(void)
{
    union name name;
    const int on = 1;
    int fd = play_socket(0);
    struct weir_path path = path_of();
    socklen_t length = make_name(&path.remote, LOCAL_PORT, &name);
    CHECK(SO.setsockopt(U, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    CHECK(SO.bind(U, fd, &name.any, length) == 0);
    CHECK(SO.listen(U, fd, 1) == 0);
    play.local_port = LOCAL_PORT;
    return fd;
}

int play_connect(int fd)
{
    union name name;
    struct weir_path path = path_of();
    socklen_t length = make_name(&path.local, PEER_PORT, &name);
    return SO.connect(U, fd, &name.any, length);
}

/* SYN, SYN-ACK, ACK, accept: the beginning of most scripts. */
int play_accept(int *listener, uint16_t window)
{
    union name name;
    socklen_t length = sizeof(name);
    *listener = play_listen();
    play_inject(S, 0, 0, 0, window);
    EXPECT(S | A, 0, 0, 1);
    play_inject(A, 1, 0, 1, window);
    int fd = SO.accept(U, *listener, &name.any, &length);
    CHECK(fd >= 0 && fd != *listener);
    CHECK(ntohs(name.in6.sin6_port) == PEER_PORT);
    return fd;
}

void play_begin(const char *name, bool is_6, const char *flags)
{
    play = (struct play){.init = play.init};
    play.name = name;
    play.is_6 = is_6;
    play.init(flags, &play.so);
    CHECK(U != NULL);
    play.start_us = play_now();
}

void play_end(void)
{
    SO.free(U);
}

bool play_is_counted(const uint8_t *bytes, uint32_t seq, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != (uint8_t)(seq + i)) {
            return false;
        }
    }
    return true;
}

unsigned play_state(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    CHECK(SO.getsockopt(U, fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
    CHECK(length == sizeof(info));
    return info.tcpi_state;
}

int play_error(int fd)
{
    int error = -1;
    socklen_t length = sizeof(error);
    CHECK(SO.getsockopt(U, fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
    return error;
}

/* --- the second thread, for calls that block -------------------------------------------------- */

static void *run_blocked(void *argument)
{
    (void)argument;
    play_blocked.id = gettid();
    play_blocked.result = play_blocked.call(play_blocked.fd);
    play_blocked.error = errno;
    play_blocked.at_us = play_now();
    play_blocked.is_done = true;
    return NULL;
}

/* As packetdrill finds out: the state of the thread is the third word. */
static bool is_sleeping(pid_t id)
{
    char path[64];
    char state = '?';
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)id);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        CHECK(fscanf(file, "%*s %*s %c", &state) == 1);
        (void)fclose(file);
    }
    return state == 'S';
}

void play_block(long (*call)(int fd), int fd)
{
    play_blocked.call = call;
    play_blocked.fd = fd;
    play_blocked.id = 0;
    play_blocked.is_done = false;
    CHECK(pthread_create(&play_blocked.thread, NULL, run_blocked, NULL) == 0);
    while (!play_blocked.is_done && (play_blocked.id == 0 || !is_sleeping(play_blocked.id))) {
        (void)sched_yield();
    }
}

long play_join(void)
{
    CHECK(pthread_join(play_blocked.thread, NULL) == 0);
    return play_blocked.result;
}
