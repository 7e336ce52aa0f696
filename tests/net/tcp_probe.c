/* SPDX-License-Identifier: MIT */
/*
 * tcp_probe.c - TCP over our own IP on a device, and the kernel's end of it, for tests in a network
 * namespace.
 *
 *   tcp_probe serve tun|tap|packet NAME ADDR ADDR6 [plain]
 *       ours: port 7 echoes, 9 discards, 19 sends without end; until standard input ends
 *   tcp_probe echo ADDR BYTES           the kernel's: sends, half-closes, wants all of it back
 *   tcp_probe discard|source ADDR       the kernel's: for a second; prints Gbit/s
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
    PARCELS = 16
};

struct probe {
    struct weir_driver *driver;
    struct weir_loop *loop;
    struct weir_tcp *tcp;
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

static int connect_kernel(const char *text, uint16_t port)
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
    int fd = socket(name.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, &name.any, sizeof(name)) != 0) {
        die("cannot connect to", text);
    }
    return fd;
}

/* Sends in a process of its own, so that neither direction waits for the other. */
static int run_echo(const char *text, uint64_t bytes)
{
    static uint8_t got[CHUNK_BYTES];
    int fd = connect_kernel(text, PORT_ECHO);
    uint64_t received = 0;
    ssize_t n = 0;
    pid_t sender = fork();
    if (sender == 0) {
        for (uint64_t sent = 0; sent < bytes && n >= 0; sent += (uint64_t)n) {
            uint64_t left = bytes - sent < CHUNK_BYTES ? bytes - sent : CHUNK_BYTES;
            n = send(fd, pattern + sent % CHUNK_BYTES, left, MSG_NOSIGNAL);
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

static int run_flow(const char *text, bool is_source)
{
    static uint8_t got[1 << 20];
    int fd = connect_kernel(text, is_source ? PORT_SOURCE : PORT_DISCARD);
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

static void on_data(struct probe *probe, const struct weir_tcp_event *event)
{
    const struct weir_path path = weir_tcp_path(probe->tcp, event->conn);
    if (path.local.port == PORT_ECHO) {
        must(weir_tcp_send(probe->tcp, event->conn, event->data.span.data, event->data.span.length),
             "echo");
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct probe *probe = user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(probe->tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED) {
            on_opened(probe, event.conn);
        } else if (event.type == WEIR_TCP_EVENT_DATA) {
            on_data(probe, &event);
        } else if (event.type == WEIR_TCP_EVENT_PARCEL_DONE &&
                   event.parcel.outcome == WEIR_OUTCOME_ACKED) {
            (void)weir_tcp_send_parcel(probe->tcp, event.conn, event.parcel.parcel);
        } else if (event.type == WEIR_TCP_EVENT_PEER_CLOSED) {
            (void)weir_tcp_close(probe->tcp, event.conn);
        }
    }
}

static const struct weir_interface *open_device(struct probe *probe, const char *kind,
                                                const char *name, bool is_plain)
{
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

static void open_endpoint(struct probe *probe, uint32_t mtu_bytes)
{
    struct weir_slide_config slide_config;
    struct weir_loop_config loop_config;
    struct weir_tcp_config config;
    uint8_t seed[32];
    weir_slide_config_default(&slide_config);
    weir_loop_config_default(&loop_config);
    weir_tcp_config_default(&config);
    must(weir_slide_init(map(weir_slide_mem_size(&slide_config)), &slide_config, &config.slide),
         "slide");
    config.mtu_bytes = (uint16_t)mtu_bytes;
    config.tuning.send_queue_max = 48 << 20; /* an echo never waits */
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

static int serve(struct probe *probe)
{
    struct pollfd set[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = weir_loop_fd(probe->loop), .events = POLLIN}};
    printf("ready\n");
    (void)fflush(stdout);
    while (set[0].revents == 0) {
        must(weir_loop_run_once(probe->loop, 0), "loop");
        weir_nsec now = weir_loop_now(probe->loop);
        weir_nsec next = weir_loop_next_timeout(probe->loop);
        struct timespec wait = {.tv_sec = 1};
        if (next < now + WEIR_SEC) {
            wait = (struct timespec){.tv_nsec = next <= now ? 0 : (long)(next - now)};
        }
        (void)ppoll(set, 2, &wait, NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct probe probe;
    fill_pattern();
    if (argc == 4 && strcmp(argv[1], "echo") == 0) {
        return run_echo(argv[2], strtoull(argv[3], NULL, 10));
    }
    if (argc == 3) {
        return run_flow(argv[2], strcmp(argv[1], "source") == 0);
    }
    if (argc < 6) {
        die("usage: see", "tcp_probe.c");
    }
    struct weir_inet_config config;
    weir_inet_config_default(&config, open_device(&probe, argv[2], argv[3], argc > 6));
    config.ip.addresses[0] = (struct weir_ip_address){.addr = parse_addr(argv[4], 0), .prefix = 24};
    config.ip.addresses[1] = (struct weir_ip_address){.addr = parse_addr(argv[5], 0), .prefix = 64};
    config.ip.address_count = 2;
    must(weir_inet_open(probe.driver, &config, &probe.driver), "inet");
    open_endpoint(&probe, config.ip.mtu_bytes);
    listen_on(&probe, &config.ip.addresses[0].addr);
    listen_on(&probe, &config.ip.addresses[1].addr);
    return serve(&probe);
}
