/* SPDX-License-Identifier: MIT */
/*
 * tcp_probe.c - TCP over our own IP on a device, and the kernel's end of it, for tests in a network
 * namespace.
 *
 *   tcp_probe serve tun|tap|packet NAME ADDR ADDR6 [OPTION...]
 *       ours: port 7 echoes, 9 discards, 19 sends without end; until standard input ends
 *   tcp_probe call tun|tap|packet NAME ADDR ADDR6 REMOTE BYTES [OPTION...]
 *       ours: sends so many bytes to port 7, half-closes, wants all of it back
 *   tcp_probe echo ADDR BYTES [PORT]    the kernel's: the same, from this port; pauses now and then
 *                                       when it has one
 *   tcp_probe chat ADDR COUNT           the kernel's: lines to port 7, each after the one before
 *   tcp_probe listen                    the kernel's: port 7 echoes; until standard input ends
 *   tcp_probe discard|source ADDR       the kernel's: for a second; prints Gbit/s
 *
 * Options: plain, without offloads; loss=P, so many per cent of the frames are lost each way;
 * mtu=N; many, memory for a million idle connections and few busy ones; hold, a small receive
 * window.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    PORT_ECHO = 7,
    PORT_DISCARD = 9,
    PORT_SOURCE = 19,
    CHUNK_BYTES = 1 << 17,
    PARCELS = 16,
    PAUSED_MAX = 16,
    QUEUE_MANY = 16 << 20, /* an echo that has so much to send takes no more, */
    QUEUE_FEW = 1 << 20,   /* until it has so little */
    IP6_MTU_MIN = 1280
};

struct options {
    uint32_t loss_percent, mtu_bytes;
    bool is_plain, is_many, is_small;
};

struct probe {
    struct options options;
    struct weir_driver *driver;
    struct weir_loop *loop;
    struct weir_tcp *tcp;
    struct weir_tcp_conn *paused[PAUSED_MAX]; /* NULL: free */
    /* call */
    uint64_t wanted, sent, received;
    bool is_closed;
};

static uint8_t pattern[CHUNK_BYTES * 2];
static struct weir_parcel parcels[PARCELS];

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "tcp_probe: %s %s\n", what, about);
    _Exit(1);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what, weir_status_text(status));
    }
}

static struct weir_addr parse_addr(const char *text, uint16_t port)
{
    struct weir_addr addr = {.family = WEIR_ADDR_IP4, .port = port};
    if (inet_pton(AF_INET, text, addr.ip) != 1) {
        addr.family = WEIR_ADDR_IP6;
        if (inet_pton(AF_INET6, text, addr.ip) != 1) {
            die("no address:", text);
        }
    }
    return addr;
}

/* The byte at any place of a stream follows from the place. */
static void fill_pattern(void)
{
    for (size_t i = 0; i < sizeof(pattern); i++) {
        size_t place = i % CHUNK_BYTES;
        pattern[i] = (uint8_t)(place * 13 + (place >> 8) * 7);
    }
}

/* --- the kernel's end ------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* local: our own port; 0: any. */
static int connect_kernel(const char *text, uint16_t port, uint16_t local)
{
    const struct weir_addr addr = parse_addr(text, port);

    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } name = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};

    memcpy(&name.in6.sin6_addr, addr.ip, 16);
    if (addr.family == WEIR_ADDR_IP4) {
        name.in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&name.in4.sin_addr, addr.ip, 4);
    }
    const struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(local)};
    int fd = socket(name.any.sa_family, SOCK_STREAM, 0);
    if (local != 0 && bind(fd, (const void *)&own, sizeof(own)) != 0) {
        die("cannot have the port", "that was asked for");
    }
    if (fd < 0 || connect(fd, &name.any, sizeof(name)) != 0) {
        die("cannot connect to", text);
    }
    return fd;
}

/* Sends in a process of its own, so that neither direction waits for the other. */
static int run_echo(const char *text, uint64_t bytes, uint16_t local)
{
    static uint8_t got[CHUNK_BYTES];
    int fd = connect_kernel(text, PORT_ECHO, local);
    uint64_t received = 0;
    ssize_t n = 0;
    pid_t sender = fork();
    if (sender == 0) {
        for (uint64_t sent = 0; sent < bytes && n >= 0; sent += (uint64_t)n) {
            uint64_t left = bytes - sent < CHUNK_BYTES ? bytes - sent : CHUNK_BYTES;
            n = send(fd, pattern + sent % CHUNK_BYTES, left, MSG_NOSIGNAL);
            if (local != 0) {
                (void)usleep(2000); /* it lasts as long as what is done to it */
            }
        }
        (void)shutdown(fd, SHUT_WR);
        _exit(n < 0);
    }
    while ((n = recv(fd, got, sizeof(got), 0)) > 0) {
        if (memcmp(got, pattern + received % CHUNK_BYTES, (size_t)n) != 0) {
            die("an echo is not", "what was sent");
        }
        received += (uint64_t)n;
    }
    (void)waitpid(sender, NULL, 0);
    if (n < 0 || received != bytes) {
        (void)fprintf(stderr, "tcp_probe: %llu of %llu bytes came back\n",
                      (unsigned long long)received, (unsigned long long)bytes);
        return 1;
    }
    printf("%llu bytes echoed and closed\n", (unsigned long long)bytes);
    return 0;
}

/* As somebody types: a line, its echo, a pause. */
static int run_chat(const char *text, uint64_t count)
{
    int fd = connect_kernel(text, PORT_ECHO, 0);
    for (uint64_t i = 0; i < count; i++) {
        char line[64];
        char got[64];
        const struct timespec pause = {.tv_nsec = (long)(i % 5 * 3000000)};
        int length = snprintf(line, sizeof(line), "line %llu\n", (unsigned long long)i);
        if (send(fd, line, (size_t)length, MSG_NOSIGNAL) != length ||
            recv(fd, got, (size_t)length, MSG_WAITALL) != length ||
            memcmp(line, got, (size_t)length) != 0) {
            die("no echo of", line);
        }
        (void)nanosleep(&pause, NULL);
    }
    printf("%llu lines echoed\n", (unsigned long long)count);
    return 0;
}

static void echo_all(int peer)
{
    static uint8_t got[CHUNK_BYTES];
    ssize_t n;
    while ((n = recv(peer, got, sizeof(got), 0)) > 0) {
        for (ssize_t sent = 0, more = 0; sent < n; sent += more) {
            more = send(peer, got + sent, (size_t)(n - sent), MSG_NOSIGNAL);
            if (more < 0) {
                die("an echo", "broke off");
            }
        }
    }
}

/* One connection after the other, both families. */
static int run_listen(void)
{
    const union {
        struct sockaddr any;
        struct sockaddr_in6 in6;
    } name = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_ECHO)}};

    const int on = 1;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct pollfd set[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, &name.any, sizeof(name)) != 0 || listen(fd, 128) != 0) {
        die("cannot", "listen");
    }
    printf("ready\n");
    (void)fflush(stdout);
    while (poll(set, 2, -1) > 0 && set[0].revents == 0) {
        int peer = accept(fd, NULL, NULL);
        echo_all(peer);
        (void)close(peer);
    }
    return 0;
}

static int run_flow(const char *text, bool is_source)
{
    static uint8_t got[1 << 20];
    int fd = connect_kernel(text, is_source ? PORT_SOURCE : PORT_DISCARD, 0);
    const uint64_t start = now_ns();
    uint64_t now = start;
    uint64_t bytes = 0;
    for (; now - start < 1000000000U; now = now_ns()) {
        ssize_t n = is_source ? recv(fd, got, sizeof(got), 0)
                              : send(fd, pattern, sizeof(pattern), MSG_NOSIGNAL);
        if (n <= 0) {
            die("the connection", "ended");
        }
        bytes += (uint64_t)n;
    }
    printf("%s %.1f Gbit/s\n", is_source ? "from us to the kernel" : "from the kernel to us",
           (double)bytes * 8 / (double)(now - start));
    return 0;
}

/* --- our end ---------------------------------------------------------------------------------- */

static void on_opened(struct probe *probe, struct weir_tcp_conn *conn)
{
    const struct weir_path path = weir_tcp_path(probe->tcp, conn);
    for (int i = 0; i < PARCELS && path.local.port == PORT_SOURCE; i++) {
        parcels[i].data = pattern;
        parcels[i].length = sizeof(pattern);
        if (weir_tcp_send_parcel(probe->tcp, conn, &parcels[i]) != WEIR_OK) {
            return;
        }
    }
}

static uint64_t queued_bytes(const struct probe *probe, const struct weir_tcp_conn *conn)
{
    struct weir_tcp_conn_stats stats;
    weir_tcp_conn_stats(probe->tcp, conn, &stats);
    return (uint64_t)stats.queued + stats.in_flight;
}

static void pause_when_full(struct probe *probe, struct weir_tcp_conn *conn)
{
    if (queued_bytes(probe, conn) < QUEUE_MANY) {
        return;
    }
    for (int i = 0; i < PAUSED_MAX; i++) {
        if (probe->paused[i] == NULL) {
            probe->paused[i] = conn;
            must(weir_tcp_pause(probe->tcp, conn, true), "pause");
            return;
        }
    }
}

static void resume_paused(struct probe *probe)
{
    for (int i = 0; i < PAUSED_MAX; i++) {
        if (probe->paused[i] != NULL && queued_bytes(probe, probe->paused[i]) < QUEUE_FEW) {
            must(weir_tcp_pause(probe->tcp, probe->paused[i], false), "resume");
            probe->paused[i] = NULL;
        }
    }
}

static void forget_paused(struct probe *probe, const struct weir_tcp_conn *conn)
{
    for (int i = 0; i < PAUSED_MAX; i++) {
        probe->paused[i] = probe->paused[i] == conn ? NULL : probe->paused[i];
    }
}

static void on_data(struct probe *probe, const struct weir_tcp_event *event)
{
    const struct weir_path path = weir_tcp_path(probe->tcp, event->conn);
    if (path.local.port == PORT_ECHO) {
        must(weir_tcp_send(probe->tcp, event->conn, event->data.span.data, event->data.span.length),
             "echo");
        pause_when_full(probe, event->conn);
    }
}

static void on_server_event(struct probe *probe, const struct weir_tcp_event *event)
{
    if (event->type == WEIR_TCP_EVENT_OPENED) {
        on_opened(probe, event->conn);
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        on_data(probe, event);
    } else if (event->type == WEIR_TCP_EVENT_PARCEL_DONE &&
               event->parcel.outcome == WEIR_OUTCOME_ACKED) {
        (void)weir_tcp_send_parcel(probe->tcp, event->conn, event->parcel.parcel);
    } else if (event->type == WEIR_TCP_EVENT_PEER_CLOSED) {
        (void)weir_tcp_close(probe->tcp, event->conn);
    } else if (event->type == WEIR_TCP_EVENT_CLOSED) {
        forget_paused(probe, event->conn);
    }
}

/* The client's: sends as much as is taken; the rest when there is room again. */
static void push(struct probe *probe, struct weir_tcp_conn *conn)
{
    while (probe->sent < probe->wanted) {
        uint64_t left = probe->wanted - probe->sent;
        size_t length = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        enum weir_status status =
            weir_tcp_send(probe->tcp, conn, pattern + probe->sent % CHUNK_BYTES, length);
        if (status == WEIR_ERR_FULL) {
            return;
        }
        must(status, "send");
        probe->sent += length;
    }
    must(weir_tcp_close(probe->tcp, conn), "close");
}

static void on_client_event(struct probe *probe, const struct weir_tcp_event *event)
{
    const struct weir_span *span = &event->data.span;
    if (event->type == WEIR_TCP_EVENT_OPENED || event->type == WEIR_TCP_EVENT_WRITABLE) {
        push(probe, event->conn);
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        for (size_t at = 0; at < span->length; at++) {
            if (span->data[at] != pattern[(probe->received + at) % CHUNK_BYTES]) {
                die("an echo is not", "what was sent");
            }
        }
        probe->received += span->length;
    } else if (event->type == WEIR_TCP_EVENT_CLOSED) {
        probe->is_closed = true;
        if (event->closed.cause != WEIR_TCP_CAUSE_DONE) {
            die("the connection", "broke");
        }
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct probe *probe = user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(probe->tcp, &event) == WEIR_OK) {
        if (probe->wanted > 0) {
            on_client_event(probe, &event);
        } else {
            on_server_event(probe, &event);
        }
    }
}

static void read_options(struct options *options, char **words, int count)
{
    for (int i = 0; i < count; i++) {
        const char *value = strchr(words[i], '=');
        if (strcmp(words[i], "plain") == 0) {
            options->is_plain = true;
        } else if (strcmp(words[i], "many") == 0) {
            options->is_many = true;
        } else if (strcmp(words[i], "hold") == 0) {
            options->is_small = true;
        } else if (value != NULL && strncmp(words[i], "loss=", 5) == 0) {
            options->loss_percent = (uint32_t)strtoul(value + 1, NULL, 10);
        } else if (value != NULL && strncmp(words[i], "mtu=", 4) == 0) {
            options->mtu_bytes = (uint32_t)strtoul(value + 1, NULL, 10);
        } else {
            die("no option:", words[i]);
        }
    }
}

static const struct weir_interface *open_device(struct probe *probe, const char *kind,
                                                const char *name)
{
    /* What is joined would be lost as a whole. */
    const bool is_plain = probe->options.is_plain || probe->options.loss_percent > 0;
    char problem[WEIR_PROBLEM_BYTES] = "";
    struct weir_tun_config tun;
    struct weir_packet_config packet;
    if (strcmp(kind, "packet") == 0) {
        weir_packet_config_default(&packet);
        (void)snprintf(packet.name, sizeof(packet.name), "%s", name);
        packet.is_offload_disabled = is_plain;
        if (weir_packet_open(&packet, &probe->driver, problem) != WEIR_OK) {
            die(kind, problem);
        }
        return weir_packet_interface(probe->driver);
    }
    weir_tun_config_default(&tun);
    (void)snprintf(tun.name, sizeof(tun.name), "%s", name);
    tun.is_tap = strcmp(kind, "tap") == 0;
    tun.is_offload_disabled = is_plain;
    tun.queue_frames = 2000;
    tun.mtu_bytes = (uint16_t)probe->options.mtu_bytes;
    if (weir_tun_open(&tun, &probe->driver, problem) != WEIR_OK) {
        die(kind, problem);
    }
    return weir_tun_interface(probe->driver);
}

static void *map(size_t bytes)
{
    void *mem = weir_mem_map(bytes);
    if (mem == NULL) {
        die("out of", "memory");
    }
    return mem;
}

/* A million connections that rest, and 64 at a time that do something. */
static void make_many(struct weir_tcp_config *config)
{
    config->connections_max = 1000000;
    config->connections6_max = 16;
    config->awake_max = 512;
    config->half_open_max = 256;
    config->send_bytes = 1 << 20;
    config->segments_max = 4096;
    config->held_max = 1024;
    config->reordering_max = 16;
    config->receive_window = 65536;
    config->tuning.sleep_after = 0;
}

static void open_endpoint(struct probe *probe, uint32_t mtu_bytes)
{
    struct weir_slide_config slide_config;
    struct weir_loop_config loop_config;
    struct weir_tcp_config config;
    uint8_t seed[32];
    weir_slide_config_default(&slide_config);
    weir_loop_config_default(&loop_config);
    weir_tcp_config_default(&config);
    if (probe->options.is_many) {
        make_many(&config);
    }
    if (probe->options.is_small) {
        config.receive_window = 65536;
    }
    must(weir_slide_init(map(weir_slide_mem_size(&slide_config)), &slide_config, &config.slide),
         "slide");
    config.mtu_bytes = (uint16_t)mtu_bytes;
    config.tuning.send_queue_max = 48 << 20; /* an echo never waits, see QUEUE_MANY */
    config.tuning.is_nodelay = true;
    loop_config.driver = probe->driver;
    loop_config.slide = config.slide;
    must(weir_loop_open(&loop_config, &probe->loop), "loop");
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    must(weir_tcp_init(map(weir_tcp_mem_size(&config)), &config, seed, weir_loop_now(probe->loop),
                       &probe->tcp),
         "tcp");
    weir_loop_attach(probe->loop, probe->tcp, weir_tcp_verbs(), on_events, probe);
}

static void listen_on(struct probe *probe, const struct weir_addr *addr)
{
    static const uint16_t ports[] = {PORT_ECHO, PORT_DISCARD, PORT_SOURCE};
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        struct weir_addr local = *addr;
        int listener = 0;
        local.port = ports[i];
        must(weir_tcp_listen(probe->tcp, &local, &listener), "listen");
    }
}

static void run_loop_once(struct probe *probe, struct pollfd *set, nfds_t count)
{
    must(weir_loop_run_once(probe->loop, 0), "loop");
    resume_paused(probe);
    must(weir_loop_flush(probe->loop), "loop");
    weir_nsec now = weir_loop_now(probe->loop);
    weir_nsec next = weir_loop_next_timeout(probe->loop);
    struct timespec wait = {.tv_sec = 1};
    if (next < now + WEIR_SEC) {
        wait = (struct timespec){.tv_nsec = next <= now ? 0 : (long)(next - now)};
    }
    (void)ppoll(set, count, &wait, NULL);
}

static int serve(struct probe *probe)
{
    struct pollfd set[2] = {{.fd = weir_loop_fd(probe->loop), .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    printf("ready\n");
    (void)fflush(stdout);
    while (set[1].revents == 0) {
        run_loop_once(probe, set, 2);
    }
    return 0;
}

static int call(struct probe *probe, const struct weir_addr *local, const char *remote,
                const char *bytes)
{
    struct pollfd set = {.fd = weir_loop_fd(probe->loop), .events = POLLIN};
    const struct weir_path path = {.local = *local, .remote = parse_addr(remote, PORT_ECHO)};
    struct weir_tcp_conn *conn = NULL;
    probe->wanted = strtoull(bytes, NULL, 10);
    must(weir_tcp_connect(probe->tcp, weir_loop_now(probe->loop), &path, NULL, &conn), "connect");
    while (!probe->is_closed) {
        run_loop_once(probe, &set, 1);
    }
    if (probe->received != probe->wanted) {
        die("not all came back of", bytes);
    }
    printf("%s bytes echoed and closed\n", bytes);
    return 0;
}

static int run_kernel(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "listen") == 0) {
        return run_listen();
    }
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "echo") == 0) {
        uint64_t local = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
        return run_echo(argv[2], strtoull(argv[3], NULL, 10), (uint16_t)local);
    }
    if (argc == 4 && strcmp(argv[1], "chat") == 0) {
        return run_chat(argv[2], strtoull(argv[3], NULL, 10));
    }
    if (argc == 3) {
        return run_flow(argv[2], strcmp(argv[1], "source") == 0);
    }
    die("usage: see", "tcp_probe.c");
}

static void open_links(struct probe *probe, struct weir_inet_config *config, char **argv)
{
    const uint32_t ppm = probe->options.loss_percent * 10000;
    const struct weir_sim_link link = {.loss_ppm = ppm};
    weir_inet_config_default(config, open_device(probe, argv[2], argv[3]));
    config->ip.addresses[0] =
        (struct weir_ip_address){.addr = parse_addr(argv[4], 0), .prefix = 24};
    config->ip.addresses[1] =
        (struct weir_ip_address){.addr = parse_addr(argv[5], 0), .prefix = 64};
    config->ip.address_count = config->ip.mtu_bytes < IP6_MTU_MIN ? 1 : 2;
    if (probe->options.is_many) {
        config->ip.gateway4 = parse_addr("10.7.0.1", 0);
    }
    if (ppm > 0) {
        must(weir_fault_open(probe->driver, 1, &link, &link, 0, &probe->driver), "fault");
    }
    must(weir_inet_open(probe->driver, config, &probe->driver), "inet");
}

int main(int argc, char **argv)
{
    static struct probe probe;
    struct weir_inet_config config;
    bool is_call = argc > 7 && strcmp(argv[1], "call") == 0;
    fill_pattern();
    if (!is_call && (argc < 6 || strcmp(argv[1], "serve") != 0)) {
        return run_kernel(argc, argv);
    }
    int words = is_call ? 8 : 6;
    read_options(&probe.options, argv + words, argc - words);
    open_links(&probe, &config, argv);
    open_endpoint(&probe, config.ip.mtu_bytes);
    if (is_call) {
        bool is_6 = strchr(argv[6], ':') != NULL;
        return call(&probe, &config.ip.addresses[is_6 ? 1 : 0].addr, argv[6], argv[7]);
    }
    for (uint32_t i = 0; i < config.ip.address_count; i++) {
        listen_on(&probe, &config.ip.addresses[i].addr);
    }
    return serve(&probe);
}
