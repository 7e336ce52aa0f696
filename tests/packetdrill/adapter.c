/* SPDX-License-Identifier: MIT */
/*
 * adapter.c - plays packetdrill for libweir-packetdrill.so: the calls that it would make for some
 * typical scripts, every packet and its time checked.
 *
 *     packetdrill_adapter LIBRARY [CASE]
 *
 * Each case is a fresh table, as each script is in packetdrill.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "play.h"

/* --- calls that block ---------------------------------------------------------------------- */

static long call_accept(int fd)
{
    return SO.accept(U, fd, NULL, NULL);
}

static long call_connect(int fd)
{
    return play_connect(fd);
}

static long call_read(int fd)
{
    uint8_t bytes[100];
    return SO.read(U, fd, bytes, sizeof(bytes));
}

static long call_poll(int fd)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};
    return SO.poll(U, &fds, 1, 1000);
}

static long call_write(int fd)
{
    static uint8_t bytes[20000];
    return SO.write(U, fd, bytes, sizeof(bytes));
}

/* --- cases ------------------------------------------------------------------------------------ */

static void test_passive(bool is_6)
{
    uint8_t bytes[3000];
    int listener;
    play_begin("passive", is_6, NULL);
    int fd = play_accept(&listener, 65535);
    CHECK(play_state(fd) == TCP_ESTABLISHED);
    CHECK(play_state(listener) == TCP_LISTEN);
    play_inject(P | A, 1, 500, 1, 65535);
    play_inject(P | A, 501, 500, 1, 65535);
    play_inject(P | A, 1001, 500, 1, 65535);
    int waiting = 0;
    CHECK(SO.ioctl(U, fd, SIOCINQ, &waiting) == 0 && waiting == 1500);
    CHECK(SO.recv(U, fd, bytes, 10, MSG_PEEK) == 10 && play_is_counted(bytes, 1, 10));
    CHECK(SO.read(U, fd, bytes, 700) == 700 && play_is_counted(bytes, 1, 700));
    struct iovec iov[2] = {{bytes, 300}, {bytes + 300, 1000}};
    CHECK(SO.readv(U, fd, iov, 2) == 800 && play_is_counted(bytes, 701, 800));
    while (play_receive() && play.got.ack != PEER_ISN + 1501U) {
    }
    CHECK(play.got.ack == PEER_ISN + 1501U);
    memset(bytes, 7, sizeof(bytes));
    CHECK(SO.write(U, fd, bytes, 2500) == 2500);
    EXPECT(A, 1, 1000, 1501);
    EXPECT(A, 1001, 1000, 1501);
    play_inject(A, 1501, 0, 2001, 65535);
    EXPECT(A | P, 2001, 500, 1501); /* Nagle held it back */
    play_inject(A, 1501, 0, 2501, 65535);
    CHECK(SO.ioctl(U, fd, SIOCOUTQ, &waiting) == 0 && waiting == 0);
    play_inject(F | A, 1501, 0, 2501, 65535);
    EXPECT(A, 2501, 0, 1502);
    CHECK(play_state(fd) == TCP_CLOSE_WAIT);
    CHECK(SO.read(U, fd, bytes, 10) == 0);
    CHECK(SO.close(U, fd) == 0);
    EXPECT(F | A, 2501, 0, 1502);
    play_inject(A, 1502, 0, 2502, 65535);
    CHECK(SO.close(U, listener) == 0);
    CHECK_ERROR(SO.close(U, listener), EBADF);
    CHECK(!play_receive());
    play_end();
}

static void case_passive(void)
{
    test_passive(false);
}

static void case_passive6(void)
{
    test_passive(true);
}

static void learn_connect(void)
{
    CHECK(play_receive());
    CHECK(play.got.flags == S);
    play.local_port = play.got.source;
}

static void case_active(void)
{
    play_begin("active", false, "local=192.168.0.1");
    int fd = play_socket(0);
    play_block(call_connect, fd);
    learn_connect();
    CHECK((play.got.options & WEIR_TCP_HAS_MSS) != 0 && play.got.mss == 1460);
    CHECK(SO.usleep(U, 100000) == 0);
    play_inject(S | A, 0, 0, 1, 65535);
    EXPECT(A, 1, 0, 1);
    /* The clock waits for the call's answer. */
    CHECK(SO.usleep(U, 500000) == 0);
    CHECK(play_join() == 0);
    CHECK(play_is_near(play_blocked.at_us, 100000));
    CHECK(play_is_near(play_now(), 600000));
    CHECK_ERROR(play_connect(fd), EISCONN);
    struct tcp_info info;
    socklen_t length = sizeof(info);
    CHECK(SO.getsockopt(U, fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
    CHECK(info.tcpi_rtt > 99000 && info.tcpi_rtt < 101000);
    CHECK(info.tcpi_snd_mss == 1000 && info.tcpi_snd_cwnd == 10 && info.tcpi_unacked == 0);
    play_end();
}

static void case_nonblocking_connect(void)
{
    struct pollfd fds = {.events = POLLOUT};
    play_begin("nonblocking_connect", false, "local=192.168.0.1");
    fds.fd = play_socket(0);
    CHECK(SO.fcntl(U, fds.fd, F_GETFL, 0) == O_RDWR);
    CHECK(SO.fcntl(U, fds.fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
    CHECK(SO.fcntl(U, fds.fd, F_GETFL, 0) == (O_RDWR | O_NONBLOCK));
    CHECK_ERROR(play_connect(fds.fd), EINPROGRESS);
    CHECK_ERROR(play_connect(fds.fd), EALREADY);
    learn_connect();
    CHECK(play_state(fds.fd) == TCP_SYN_SENT);
    CHECK(SO.poll(U, &fds, 1, 0) == 0);
    play_inject(S | A, 0, 0, 1, 65535);
    EXPECT(A, 1, 0, 1);
    CHECK(SO.poll(U, &fds, 1, -1) == 1 && fds.revents == POLLOUT);
    CHECK(play_error(fds.fd) == 0);
    CHECK_ERROR(SO.read(U, fds.fd, &fds, 1), EAGAIN);
    play_end();
}

/* An IPv6 socket that names a mapped address speaks IPv4. */
static void case_mapped(void)
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};
    union name name = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(PEER_PORT)}};
    memcpy(&name.in6.sin6_addr, mapped, sizeof(mapped));
    play_begin("mapped", false, NULL);
    int fd = SO.socket(U, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_ERROR(SO.connect(U, fd, &name.any, sizeof(name.in6)), EINPROGRESS);
    learn_connect();
    CHECK(memcmp(play.packet + 16, mapped + 12, 4) == 0);
    play_end();
}

static void case_refused(void)
{
    struct pollfd fds = {.events = POLLOUT};
    play_begin("refused", false, "local=192.168.0.1");
    fds.fd = play_socket(SOCK_NONBLOCK);
    CHECK_ERROR(play_connect(fds.fd), EINPROGRESS);
    learn_connect();
    play_inject(R | A, 0, 0, 1, 0);
    CHECK(SO.poll(U, &fds, 1, 0) == 1 && (fds.revents & (POLLERR | POLLHUP)) != 0);
    CHECK(play_error(fds.fd) == ECONNREFUSED);
    CHECK(play_error(fds.fd) == 0);
    CHECK(play_state(fds.fd) == TCP_CLOSE);
    /* Nobody answers: on this thread the call itself moves the clock. */
    int fd = play_socket(0);
    CHECK_ERROR(play_connect(fd), ETIMEDOUT);
    CHECK(play_now() > 60000000);
    play_end();
}

static void case_resend(void)
{
    uint8_t bytes[500] = {1};
    int listener;
    play_begin("resend", false, "time_wait=1000");
    int fd = play_accept(&listener, 65535);
    CHECK(SO.usleep(U, 2000000) == 0);
    long long sent = play_now();
    CHECK(SO.write(U, fd, bytes, sizeof(bytes)) == sizeof(bytes));
    play_expect(__LINE__, sent, A, 1, 500, 1);
    /* RFC 8985 7.2, RFC 6298 5.5: a tail probe, then timeouts that double, in virtual time. */
    play_expect(__LINE__, sent + 200000, A, 1, 500, 1);
    play_expect(__LINE__, sent + 400000, A, 1, 500, 1);
    play_expect(__LINE__, sent + 800000, A, 1, 500, 1);
    struct tcp_info info;
    socklen_t length = sizeof(info);
    CHECK(SO.getsockopt(U, fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
    CHECK(info.tcpi_total_retrans == 3 && info.tcpi_unacked == 1);
    play_inject(A, 1, 0, 501, 65535);
    int waiting = -1;
    CHECK(SO.ioctl(U, fd, SIOCOUTQ, &waiting) == 0 && waiting == 0);
    play_end();
}

static void case_user_timeout(void)
{
    const unsigned timeout_ms = 3000;
    int listener;
    play_begin("user_timeout", false, NULL);
    int fd = play_accept(&listener, 65535);
    CHECK(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms)) ==
          0);
    CHECK(SO.write(U, fd, "x", 1) == 1);
    long long sent = play_now();
    CHECK_ERROR(SO.read(U, fd, &listener, 1), ETIMEDOUT);
    CHECK(play_now() - sent > 2900000 && play_now() - sent < 6000000);
    CHECK_ERROR(SO.write(U, fd, "x", 1), EPIPE);
    play_end();
}

static void case_reset(void)
{
    uint8_t byte;
    int listener;
    play_begin("reset", false, NULL);
    int fd = play_accept(&listener, 65535);
    play_inject(R | A, 1, 0, 1, 0);
    CHECK_ERROR(SO.read(U, fd, &byte, 1), ECONNRESET);
    CHECK(SO.read(U, fd, &byte, 1) == 0);
    CHECK_ERROR(SO.write(U, fd, &byte, 1), EPIPE);
    CHECK(SO.close(U, fd) == 0);
    CHECK(!play_receive());
    play_end();
}

static void case_close_unread(void)
{
    int listener;
    play_begin("close_unread", false, NULL);
    int fd = play_accept(&listener, 65535);
    play_inject(P | A, 1, 10, 1, 65535);
    CHECK(SO.close(U, fd) == 0);
    while (play_receive() && (play.got.flags & R) == 0) {
    }
    CHECK((play.got.flags & R) != 0);
    play_end();
}

static void case_linger(void)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    int listener;
    play_begin("linger", false, NULL);
    int fd = play_accept(&listener, 65535);
    CHECK(SO.setsockopt(U, fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
    CHECK(SO.close(U, fd) == 0);
    EXPECT(R | A, 1, 0, 1);
    CHECK(!play_receive());
    play_end();
}

static void case_active_close(void)
{
    int listener;
    play_begin("active_close", false, "time_wait=1000");
    int fd = play_accept(&listener, 65535);
    CHECK(SO.close(U, fd) == 0);
    EXPECT(F | A, 1, 0, 1);
    play_inject(A, 1, 0, 2, 65535);
    play_inject(F | A, 1, 0, 2, 65535);
    EXPECT(A, 2, 0, 2);
    play_inject(F | A, 1, 0, 2, 65535); /* TIME-WAIT answers it again */
    EXPECT(A, 2, 0, 2);
    CHECK(SO.usleep(U, 10000000) == 0);
    play_inject(A, 2, 0, 2, 65535); /* and is over */
    EXPECT(R, 2, 0, 0);
    play_end();
}

static void case_half_close(void)
{
    uint8_t bytes[100];
    int listener;
    play_begin("half_close", false, NULL);
    int fd = play_accept(&listener, 65535);
    CHECK(SO.send(U, fd, "last words", 10, 0) == 10);
    CHECK(SO.shutdown(U, fd, SHUT_WR) == 0);
    EXPECT(A | P, 1, 10, 1);
    EXPECT(F | A, 11, 0, 1);
    CHECK_ERROR(SO.write(U, fd, bytes, 1), EPIPE);
    play_inject(A, 1, 0, 12, 65535);
    CHECK(play_state(fd) == TCP_FIN_WAIT2);
    play_inject(P | A, 1, 100, 12, 65535);
    CHECK(SO.recv(U, fd, bytes, sizeof(bytes), MSG_WAITALL) == 100 &&
          play_is_counted(bytes, 1, 100));
    EXPECT(A, 12, 0, 101);
    play_inject(F | A, 101, 0, 12, 65535);
    CHECK(SO.read(U, fd, bytes, 1) == 0);
    EXPECT(A, 12, 0, 102);
    CHECK(SO.close(U, fd) == 0);
    play_end();
}

static void case_peer_window(void)
{
    uint8_t bytes[3000] = {1};
    int listener;
    play_begin("peer_window", false, NULL);
    int fd = play_accept(&listener, 1000);
    CHECK(SO.write(U, fd, bytes, sizeof(bytes)) == sizeof(bytes));
    EXPECT(A, 1, 1000, 1);
    play_inject(A, 1, 0, 1001, 0);
    long long closed = play_now();
    CHECK(play_receive()); /* a probe */
    CHECK(play.got.data.length <= 1 && play.got_us >= closed + 100000);
    long long probe = play.got_us;
    CHECK(play_receive());
    CHECK(play.got.data.length <= 1 && play.got_us - probe > probe - closed);
    play_inject(A, 1, 0, 1001, 65535);
    EXPECT(A, 1001, 1000, 1);
    EXPECT(A | P, 2001, 1000, 1);
    play_end();
}

static void case_own_window(void)
{
    static uint8_t bytes[65535];
    int listener;
    play_begin("own_window", false, "window=4000");
    int fd = play_accept(&listener, 65535);
    for (uint32_t seq = 1; seq < 4001; seq += 1000) {
        play_inject(A, seq, 1000, 1, 65535);
    }
    while (play.got.ack != PEER_ISN + 4001U) {
        CHECK(play_receive());
    }
    CHECK(play.got.window == 0);
    play_inject(A, 4001, 1, 1, 65535); /* a probe */
    EXPECT(A, 1, 0, 4001);
    CHECK(play.got.window == 0);
    CHECK(SO.read(U, fd, bytes, sizeof(bytes)) == 4000 && play_is_counted(bytes, 1, 4000));
    while (play.got.window < 4000) { /* updates, as the window opens */
        EXPECT(A, 1, 0, 4001);
    }
    play_end();
}

static void case_blocked(void)
{
    play_begin("blocked", false, NULL);
    int listener = play_listen();
    CHECK(SO.usleep(U, 100000) == 0);
    play_block(call_accept, listener);
    CHECK(SO.usleep(U, 100000) == 0);
    play_inject(S, 0, 0, 0, 65535);
    EXPECT(S | A, 0, 0, 1);
    CHECK(SO.usleep(U, 100000) == 0);
    play_inject(A, 1, 0, 1, 65535);
    CHECK(SO.usleep(U, 700000) == 0);
    int fd = (int)play_join();
    CHECK(fd >= 0 && play_is_near(play_blocked.at_us, 300000));
    play_block(call_read, fd);
    CHECK(SO.usleep(U, 500000) == 0);
    play_inject(P | A, 1, 50, 1, 65535);
    EXPECT(A, 1, 0, 51); /* its delay passes while the read has returned */
    CHECK(play_join() == 50 && play_is_near(play_blocked.at_us, 1500000));
    play_block(call_poll, fd);
    CHECK(SO.usleep(U, 5000000) == 0);
    CHECK(play_join() == 0 && play_is_near(play_blocked.at_us, 2540000));
    /* The script is at its end, and the call goes on alone. */
    long long before = play_now();
    play_block(call_poll, fd);
    CHECK(play_join() == 0 && play_is_near(play_blocked.at_us, before + 1000000));
    /* On this thread nothing would ever happen. */
    CHECK_ERROR(SO.accept(U, listener, NULL, NULL), EDEADLK);
    play_end();
}

static void case_full_queue(void)
{
    static uint8_t bytes[20000];
    int listener;
    play_begin("full_queue", false, "send_queue=8000");
    int fd = play_accept(&listener, 65535);
    struct pollfd fds = {.fd = fd, .events = POLLOUT};
    CHECK(SO.send(U, fd, bytes, 6000, MSG_DONTWAIT) == 6000);
    long part = SO.send(U, fd, bytes, 6000, MSG_DONTWAIT);
    CHECK(part > 0 && part <= 2000);
    CHECK_ERROR(SO.send(U, fd, bytes, 6000, MSG_DONTWAIT), EAGAIN);
    CHECK(SO.poll(U, &fds, 1, 0) == 0);
    play_block(call_write, fd);
    uint32_t end_seq = 1 + 6000 + (uint32_t)part + sizeof(bytes);
    for (uint32_t acked = 1; acked != end_seq;) {
        CHECK(play_receive());
        acked = play.got.seq - play.own_isn + (uint32_t)play.got.data.length;
        play_inject(A, 1, 0, acked, 65535);
    }
    CHECK(play_join() == sizeof(bytes));
    CHECK(SO.poll(U, &fds, 1, 0) == 1 && (fds.revents & POLLOUT) != 0);
    play_end();
}

static void case_options(void)
{
    char name[16];
    int value = 1;
    int listener;
    socklen_t length = sizeof(value);
    play_begin("options", false, "cc=newreno,mtu=1400,timestamps=0");
    int fd = play_accept(&listener, 65535);
    CHECK(play.got.mss == 1360 && (play.got.options & WEIR_TCP_HAS_TIMESTAMPS) == 0);
    CHECK(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value)) == 0);
    CHECK(SO.write(U, fd, "abc", 3) == 3);
    CHECK(SO.usleep(U, 1000) == 0);
    CHECK(SO.write(U, fd, "def", 3) == 3);
    value = 0;
    long long uncorked = play_now();
    CHECK(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value)) == 0);
    play_expect(__LINE__, uncorked, A, 1, 6, 1);
    CHECK(memcmp(play.got.data.data, "abcdef", 6) == 0);
    value = 1;
    CHECK(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)) == 0);
    CHECK(SO.write(U, fd, "g", 1) == 1);
    EXPECT(A, 7, 1, 1); /* in spite of what is in flight */
    CHECK(SO.send(U, fd, "h", 1, MSG_MORE) == 1);
    CHECK(SO.send(U, fd, "i", 1, 0) == 1);
    EXPECT(A, 8, 2, 1);
    CHECK(SO.getsockopt(U, fd, IPPROTO_TCP, TCP_MAXSEG, &value, &length) == 0 && value == 1000);
    length = sizeof(name);
    CHECK(SO.getsockopt(U, fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0);
    CHECK(strcmp(name, "newreno") == 0);
    CHECK(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_CONGESTION, "newreno", 7) == 0);
    CHECK_ERROR(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5), ENOENT);
    CHECK_ERROR(SO.setsockopt(U, fd, IPPROTO_TCP, TCP_QUICKACK, &value, sizeof(value)),
                ENOPROTOOPT);
    CHECK_ERROR(SO.setsockopt(U, fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)), ENOPROTOOPT);
    CHECK_ERROR(SO.getsockopt(U, 5, SOL_SOCKET, SO_ERROR, &value, &length), EBADF);
    CHECK_ERROR(SO.epoll_create(U, 1), ENOSYS);
    CHECK_ERROR(SO.socket(U, AF_INET, SOCK_DGRAM, 0), EPROTONOSUPPORT);
    play_end();
}

/* packetdrill waits with usleep, and the last microseconds by looking again and again. */
static void case_clock(void)
{
    unsigned looks = 0;
    play_begin("clock", false, NULL);
    const long long first = play_now() + 250;
    while (play_now() < first) {
        CHECK(++looks <= 250);
    }
    CHECK(SO.usleep(U, 99980) == 0);
    while (play_now() < first + 100000) {
        CHECK(++looks <= 300);
    }
    CHECK(play_now() <= first + 100010);
    CHECK(!play_receive()); /* nothing will ever come: at once, and without a packet */
    CHECK(play.got_us >= first + 100000);
    play_end();
}

/* Packets that are none, and too many sockets: refused, and the rest goes on. */
static void case_garbage(void)
{
    uint8_t packet[1500];
    uint32_t random = 1;
    int listener;
    play_begin("garbage", false, NULL);
    int fd = play_accept(&listener, 65535);
    for (unsigned i = 0; i < 20000; i++) {
        for (size_t k = 0; k < 64; k++) {
            random = random * 1664525 + 1013904223;
            packet[k] = (uint8_t)(random >> 24);
        }
        packet[0] = i % 2 == 0 ? 0x45 : packet[0];
        CHECK(SO.netdev_send(U, packet, 1 + random % 64) == 0);
    }
    CHECK_ERROR(SO.netdev_send(U, packet, 0), EMSGSIZE);
    unsigned made = 0;
    while (SO.socket(U, AF_INET, SOCK_STREAM, 0) >= 0) {
        made++;
    }
    CHECK(errno == EMFILE && made == 62);
    play_inject(P | A, 1, 10, 1, 65535);
    CHECK(SO.read(U, fd, packet, sizeof(packet)) == 10 && play_is_counted(packet, 1, 10));
    play_end();
}

static void check_refused(const char *flags)
{
    struct timeval time;
    play = (struct play){.init = play.init};
    play.name = flags;
    play.init(flags, &play.so);
    CHECK(U == NULL);
    CHECK_ERROR(SO.gettimeofday(U, &time, NULL), EINVAL);
    SO.free(U);
}

static void case_flags(void)
{
    static const char *const wrong[] = {"nonsense",   "mtu=ten",    "mtu=1",    "cc=vegas",
                                        "local=here", "timestamps", "window=-1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        check_refused(wrong[i]);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"passive", case_passive},
             {"passive6", case_passive6},
             {"active", case_active},
             {"nonblocking_connect", case_nonblocking_connect},
             {"mapped", case_mapped},
             {"refused", case_refused},
             {"resend", case_resend},
             {"user_timeout", case_user_timeout},
             {"reset", case_reset},
             {"close_unread", case_close_unread},
             {"linger", case_linger},
             {"active_close", case_active_close},
             {"half_close", case_half_close},
             {"peer_window", case_peer_window},
             {"own_window", case_own_window},
             {"blocked", case_blocked},
             {"full_queue", case_full_queue},
             {"options", case_options},
             {"clock", case_clock},
             {"garbage", case_garbage},
             {"flags", case_flags}};

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
        const char *problem = argc > 1 ? dlerror() : "no library";
        (void)fprintf(stderr, "usage: packetdrill_adapter LIBRARY [CASE]: %s\n", problem);
        return EXIT_FAILURE;
    }
    /* POSIX has functions behind void pointers, C has not. */
    void *symbol = dlsym(library, "packetdrill_interface_init");
    if (symbol == NULL) {
        (void)fprintf(stderr, "%s: no packetdrill_interface_init\n", argv[1]);
        return EXIT_FAILURE;
    }
    memcpy(&play.init, &symbol, sizeof(play.init));
    unsigned count = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (argc < 3 || strcmp(argv[2], cases[i].name) == 0) {
            cases[i].run();
            (void)printf("%s\n", cases[i].name);
            count++;
        }
    }
    (void)printf("%u cases\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
