/* SPDX-License-Identifier: MIT */
/*
 * tcp_kernel.c - the kernel's TCP: an end to compare with, and the clients that measure all ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp_bench.h"

enum {
    CHUNK_BYTES = 1 << 20,
    WARM_UP = 200,
    BACKLOG = 1024,
    CONNECTS = 32,
    CONNECT_MS = 5000,
    SPARE_FDS = 64,
    LINE_BYTES = 512
};

static uint8_t chunk[CHUNK_BYTES];

static struct sockaddr_in name_of(const struct tcp_place *place, uint8_t host)
{
    const struct weir_addr addr = tcp_addr(place, host);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(place->port)};
    memcpy(&name.sin_addr, addr.ip, 4);
    return name;
}

static int open_listener(const struct sockaddr_in *name)
{
    const void *any = name;
    const int is_reused = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    tcp_must(fd >= 0, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &is_reused, sizeof(is_reused));
    tcp_must(bind(fd, any, sizeof(*name)) == 0 && listen(fd, BACKLOG) == 0, "listen");
    return fd;
}

/* Reno's congestion control, whatever the system's is: every kernel has it, and it does nothing but
 * open the window where nothing is lost. One that paces (bbr), or stops at the first delay (cubic),
 * would itself be what is measured. */
static void set_options(int fd)
{
    static const char name[] = "reno";
    const int is_nodelay = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &is_nodelay, sizeof(is_nodelay));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name) - 1);
}

static int connect_to(const struct tcp_place *place)
{
    const struct sockaddr_in name = name_of(place, place->host);
    const void *any = &name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0) {
        set_options(fd);
    }
    if (fd < 0 || connect(fd, any, sizeof(name)) != 0) {
        tcp_die("connect", strerror(errno)); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    return fd;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void serve_one(int fd, uint16_t port)
{
    ssize_t n = 1;
    set_options(fd);
    while (n > 0) {
        if (port == TCP_PORT_SOURCE) {
            n = send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
            continue;
        }
        n = recv(fd, chunk, sizeof(chunk), 0);
        if (n > 0 && port == TCP_PORT_ECHO) {
            n = send(fd, chunk, (size_t)n, MSG_NOSIGNAL);
        }
    }
    (void)close(fd);
}

void tcp_kernel_serve(const struct tcp_place *place)
{
    const struct sockaddr_in name = name_of(place, place->host);
    int listener = open_listener(&name);
    place->on_ready();
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            serve_one(fd, place->port);
        }
    }
}

/* --- clients ---------------------------------------------------------------------------------- */

void tcp_kernel_flow(const struct tcp_place *place, bool is_source, uint64_t window_ns,
                     struct tcp_flow *flow)
{
    const int fd = connect_to(place);
    const uint64_t start = bench_now();
    const uint64_t cpu = bench_cpu();
    uint64_t now = start;
    for (flow->bytes = 0; now - start < window_ns; now = bench_now()) {
        ssize_t n = is_source ? recv(fd, chunk, sizeof(chunk), 0)
                              : send(fd, chunk, sizeof(chunk) / 4, MSG_NOSIGNAL);
        tcp_must(n > 0, "the stream goes on");
        flow->bytes += (uint64_t)n;
    }
    flow->elapsed_ns = now - start;
    flow->cpu_ns = bench_cpu() - cpu;
    (void)close(fd);
}

void tcp_kernel_ask(const struct tcp_place *place, uint32_t *times, uint32_t count)
{
    const int fd = connect_to(place);
    uint8_t byte = 1;
    for (uint32_t i = 0; i < WARM_UP + count; i++) {
        const uint64_t start = bench_now();
        tcp_must(send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1, "echo");
        if (i >= WARM_UP) {
            times[i - WARM_UP] = (uint32_t)(bench_now() - start);
        }
    }
    (void)close(fd);
}

/* As many as there are fds at a time. */
static void connect_all(const struct tcp_place *place, struct pollfd *fds)
{
    const struct linger at_once = {.l_onoff = 1};
    const struct sockaddr_in name = name_of(place, place->host);
    const void *any = &name;
    for (uint32_t i = 0; i < CONNECTS; i++) {
        fds[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                                 .events = POLLOUT};
        tcp_must(fds[i].fd >= 0, "socket");
        (void)setsockopt(fds[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        tcp_must(connect(fds[i].fd, any, sizeof(name)) == 0 || errno == EINPROGRESS, "connect");
    }
    for (uint32_t i = 0; i < CONNECTS; i++) {
        tcp_must(poll(&fds[i], 1, CONNECT_MS) == 1 && fds[i].revents == POLLOUT, "connected");
        (void)close(fds[i].fd);
    }
}

uint64_t tcp_kernel_connect(const struct tcp_place *place, uint64_t window_ns)
{
    static struct pollfd fds[CONNECTS];
    const uint64_t start = bench_now();
    uint64_t count = 0;
    for (; bench_now() - start < window_ns; count += CONNECTS) {
        connect_all(place, fds);
        (void)sched_yield(); /* on the same core the kernel's end has to accept */
    }
    return count;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Bytes of the objects that every TCP socket has one of. */
static double slab_bytes(void)
{
    static const char *const caches[] = {"TCP ", "sock_inode_cache ", "filp "};
    FILE *file = fopen("/proc/slabinfo", "r");
    char line[LINE_BYTES];
    double bytes = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
            if (strncmp(line, caches[i], strlen(caches[i])) == 0) {
                char *at = line + strcspn(line, " ");
                const double active = strtod(at, &at);
                (void)strtod(at, &at);
                bytes += active * strtod(at, NULL);
            }
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return bytes;
}

double tcp_kernel_idle(uint32_t count)
{
    struct rlimit limit = {.rlim_cur = 0};
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t name_bytes = sizeof(name);
    void *any = &name;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < 2 * (rlim_t)count + SPARE_FDS) {
        count = (uint32_t)(limit.rlim_max - SPARE_FDS) / 2;
    }
    int *fds = calloc(2 * (size_t)count, sizeof(*fds));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fds == NULL || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        free(fds);
        return 0;
    }
    const int listener = open_listener(&name);
    (void)getsockname(listener, any, &name_bytes);
    const double before = slab_bytes();
    for (size_t i = 0; i < count; i++) {
        fds[2 * i] = socket(AF_INET, SOCK_STREAM, 0);
        tcp_must(fds[2 * i] >= 0 && connect(fds[2 * i], any, sizeof(name)) == 0, "connect");
        fds[2 * i + 1] = accept(listener, NULL, NULL);
        tcp_must(fds[2 * i + 1] >= 0, "accept");
    }
    const double bytes = (slab_bytes() - before) / (2.0 * count);
    for (size_t i = 0; i < 2 * (size_t)count; i++) {
        (void)close(fds[i]);
    }
    (void)close(listener);
    free(fds);
    return before > 0 ? bytes : 0;
}
