/* SPDX-License-Identifier: MIT */
/*
 * inet_probe.c - engines over our own IP, for tests in a network namespace.
 *
 *   inet_probe [options] LINK serve rudp|kcp          echoes messages (and pings) until standard
 *                                                     input ends; prints "ready" first
 *   inet_probe [options] LINK send rudp|kcp ADDR COUNT BYTES
 *                                                     sends, checks what an echo sends back
 *   inet_probe ping ADDR BYTES...                     the kernel's end: echo requests so long
 * LINK: udp (the kernel's sockets), tun:NAME, tap:NAME, packet:NAME, raw:ADDR
 *   -a ADDR/BITS  an address of ours   -h ADDR/BITS  the kernel's, to set   -m BYTES  MTU, to set
 *   -o PORT       our UDP port, 7      -p  without offloads       -l PERCENT  frames lost
 */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    MESSAGE_MAX = 100000,
    OUTSTANDING = 16,
    WAIT_MS = 5000
};

static const weir_nsec client_time = 60 * WEIR_SEC;

struct probe {
    struct weir_inet_config inet;
    struct weir_ip_address host;
    uint16_t mtu, port;
    uint32_t loss_percent; /* of frames, both ways */
    bool is_plain, is_kcp, is_client, is_failed;
    struct weir_driver *driver;
    struct weir_loop *loop;
    bool is_inet;
    struct weir_rudp *rudp;
    struct weir_rudp_conn *rudp_conn;
    struct weir_kcp *kcp;
    struct weir_kcp_conn *kcp_conn;
    uint32_t count, bytes, sent, received;
    uint8_t message[MESSAGE_MAX];
};

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "inet_probe: %s %s\n", what, about);
    _Exit(1);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what, weir_status_text(status));
    }
}

static struct weir_addr parse_addr(const char *text)
{
    struct weir_addr addr = {.family = WEIR_ADDR_IP4};
    if (inet_pton(AF_INET, text, addr.ip) != 1) {
        addr.family = WEIR_ADDR_IP6;
        if (inet_pton(AF_INET6, text, addr.ip) != 1) {
            die("no address:", text);
        }
    }
    return addr;
}

static struct weir_ip_address parse_prefix(const char *text)
{
    char copy[64];
    (void)snprintf(copy, sizeof(copy), "%s", text);
    char *slash = strchr(copy, '/');
    if (slash == NULL) {
        die("no prefix in", text);
    }
    *slash = 0;
    return (struct weir_ip_address){.addr = parse_addr(copy),
                                    .prefix = (uint8_t)strtoul(slash + 1, NULL, 10)};
}

/* --- the kernel's end of a ping --------------------------------------------------------------- */

struct ping {
    int fd;
    bool is_ip6;
    uint8_t sent[65536], got[65536];
};

static void open_ping(struct ping *ping, const struct weir_addr *addr)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } name = {.in6 = {.sin6_family = AF_INET6}};

    int pmtu = IP_PMTUDISC_DONT;
    ping->is_ip6 = addr->family == WEIR_ADDR_IP6;
    memcpy(&name.in6.sin6_addr, addr->ip, 16);
    if (!ping->is_ip6) {
        name.in4 = (struct sockaddr_in){.sin_family = AF_INET};
        memcpy(&name.in4.sin_addr, addr->ip, 4);
    }
    ping->fd = socket(ping->is_ip6 ? AF_INET6 : AF_INET, SOCK_RAW,
                      ping->is_ip6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
    if (ping->fd < 0 || connect(ping->fd, &name.any, sizeof(name)) != 0) {
        die("ping:", "no socket");
    }
    if (!ping->is_ip6) {
        (void)setsockopt(ping->fd, IPPROTO_IP, IP_MTU_DISCOVER, &pmtu, sizeof(pmtu));
    }
}

static uint16_t checksum_of(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i += 2) {
        sum += (uint32_t)bytes[i] << 8 | (i + 1 < length ? bytes[i + 1] : 0U);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void make_ping(struct ping *ping, size_t length, unsigned number)
{
    memset(ping->sent, 0, 8);
    ping->sent[0] = ping->is_ip6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    ping->sent[4] = 0x77;
    ping->sent[7] = (uint8_t)number;
    for (size_t i = 0; i < length; i++) {
        ping->sent[8 + i] = (uint8_t)(i * 31 + number + (i >> 8));
    }
    if (!ping->is_ip6) {
        uint16_t checksum = checksum_of(ping->sent, 8 + length);
        ping->sent[2] = (uint8_t)(checksum >> 8);
        ping->sent[3] = (uint8_t)checksum;
    }
}

/* Anything else that comes in (other ICMP, its own neighbour discovery) is passed over. */
static bool is_reply(const struct ping *ping, size_t got, size_t length)
{
    const size_t skip = ping->is_ip6 ? 0 : (ping->got[0] & 15) * 4U;
    const uint8_t *p = ping->got + skip;
    const uint8_t type = ping->is_ip6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;
    return got == skip + 8 + length && p[0] == type && memcmp(p + 4, ping->sent + 4, 4) == 0 &&
           memcmp(p + 8, ping->sent + 8, length) == 0;
}

static void ping_once(struct ping *ping, size_t length, unsigned number)
{
    struct pollfd poll_fd = {.fd = ping->fd, .events = POLLIN};
    make_ping(ping, length, number);
    if (send(ping->fd, ping->sent, 8 + length, 0) < 0) {
        die("ping:", "not sent");
    }
    while (poll(&poll_fd, 1, WAIT_MS) > 0) {
        ssize_t got = recv(ping->fd, ping->got, sizeof(ping->got), 0);
        if (got > 0 && is_reply(ping, (size_t)got, length)) {
            return;
        }
    }
    (void)fprintf(stderr, "inet_probe: no answer to a ping of %zu bytes\n", length);
    _Exit(1);
}

static int run_ping(int argc, char **argv)
{
    static struct ping ping;
    const struct weir_addr addr = parse_addr(argv[2]);
    open_ping(&ping, &addr);
    for (int i = 3; i < argc; i++) {
        ping_once(&ping, strtoul(argv[i], NULL, 10), (unsigned)i);
    }
    printf("%d pings answered\n", argc - 3);
    return 0;
}

/* --- drivers ---------------------------------------------------------------------------------- */

static const struct weir_interface *open_tun(struct probe *probe, const char *name, bool is_tap)
{
    struct weir_tun_config config;
    char problem[WEIR_PROBLEM_BYTES];
    weir_tun_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "%s", name);
    config.is_tap = is_tap;
    config.is_offload_disabled = probe->is_plain;
    config.mtu_bytes = probe->mtu;
    config.queue_frames = 2000;
    config.host = probe->host.addr;
    config.host_prefix = probe->host.prefix;
    if (weir_tun_open(&config, &probe->driver, problem) != WEIR_OK) {
        die("tun:", problem);
    }
    return weir_tun_interface(probe->driver);
}

static const struct weir_interface *open_packet(struct probe *probe, const char *name)
{
    struct weir_packet_config config;
    char problem[WEIR_PROBLEM_BYTES];
    weir_packet_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "%s", name);
    config.is_offload_disabled = probe->is_plain;
    if (weir_packet_open(&config, &probe->driver, problem) != WEIR_OK) {
        die("packet:", problem);
    }
    return weir_packet_interface(probe->driver);
}

static const struct weir_interface *open_raw(struct probe *probe, const char *local)
{
    struct weir_raw_config config;
    char problem[WEIR_PROBLEM_BYTES];
    weir_raw_config_default(&config);
    config.local = parse_addr(local);
    config.protocol = 17;
    config.is_trusted = true;
    if (weir_raw_open(&config, &probe->driver, problem) != WEIR_OK) {
        die("raw:", problem);
    }
    return weir_raw_interface(probe->driver);
}

static void open_link(struct probe *probe, const char *link)
{
    const char *colon = strchr(link, ':');
    const struct weir_interface *interface = NULL;
    if (strcmp(link, "udp") == 0) {
        struct weir_udp_config udp;
        int os_error = 0;
        weir_udp_config_default(&udp);
        udp.bind.port = probe->is_client ? 0 : probe->port;
        udp.is_offload_disabled = probe->is_plain;
        must(weir_udp_open(&udp, &probe->driver, NULL, &os_error), "udp");
        return;
    }
    if (colon == NULL) {
        die("no link:", link);
    }
    if (strncmp(link, "packet", 6) == 0) {
        interface = open_packet(probe, colon + 1);
    } else if (strncmp(link, "raw", 3) == 0) {
        interface = open_raw(probe, colon + 1);
    } else {
        interface = open_tun(probe, colon + 1, strncmp(link, "tap", 3) == 0);
    }
    if (probe->loss_percent != 0) {
        const struct weir_sim_link bad = {.loss_ppm = probe->loss_percent * 10000};
        must(weir_fault_open(probe->driver, 1, &bad, &bad, 0, &probe->driver), "fault");
    }
    struct weir_inet_config config;
    weir_inet_config_default(&config, interface);
    memcpy(config.ip.addresses, probe->inet.ip.addresses, sizeof(config.ip.addresses));
    config.ip.address_count = probe->inet.ip.address_count;
    config.udp_port = probe->port;
    must(weir_inet_open(probe->driver, &config, &probe->driver), "inet");
    probe->is_inet = true;
}

/* --- messages --------------------------------------------------------------------------------- */

static void fill_message(struct probe *probe, uint32_t number)
{
    for (uint32_t i = 0; i < probe->bytes; i++) {
        probe->message[i] = (uint8_t)(number * 17 + i * 3 + (i >> 8));
    }
}

static enum weir_status send_one(struct probe *probe, const uint8_t *data, size_t length)
{
    static const struct weir_rudp_send reliably = {.guarantee = WEIR_RUDP_DELIVERY};
    return probe->is_kcp ? weir_kcp_send(probe->kcp_conn, data, length)
                         : weir_rudp_send(probe->rudp_conn, &reliably, data, length);
}

static void send_more(struct probe *probe)
{
    while (probe->sent < probe->count && probe->sent - probe->received < OUTSTANDING) {
        fill_message(probe, probe->sent);
        if (send_one(probe, probe->message, probe->bytes) != WEIR_OK) {
            return;
        }
        probe->sent++;
    }
}

static void on_message(struct probe *probe, const uint8_t *data, size_t length)
{
    if (!probe->is_client) {
        must(send_one(probe, data, length), "echo");
        return;
    }
    fill_message(probe, probe->received);
    if (length != probe->bytes || memcmp(data, probe->message, length) != 0) {
        die("an echo is not", "what was sent");
    }
    probe->received++;
    send_more(probe);
}

static void on_rudp(void *user, weir_nsec now)
{
    struct probe *probe = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(probe->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            probe->rudp_conn = event.conn;
            on_message(probe, event.message.data.data, event.message.data.length);
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            probe->is_failed = true;
        }
    }
}

static void on_kcp(void *user, weir_nsec now)
{
    static uint8_t copy[MESSAGE_MAX];
    struct probe *probe = user;
    struct weir_kcp_event event;
    (void)now;
    while (weir_kcp_event(probe->kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_accept(event.conn, NULL);
        } else if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            probe->kcp_conn = event.conn;
            on_message(probe, copy, weir_kcp_copy_message(&event, copy, sizeof(copy)));
        } else if (event.type == WEIR_KCP_EVENT_CLOSED) {
            probe->is_failed = true;
        }
    }
}

/* --- endpoints -------------------------------------------------------------------------------- */

static void *map(size_t bytes)
{
    void *mem = weir_mem_map(bytes);
    if (mem == NULL) {
        die("out of", "memory");
    }
    return mem;
}

static void open_engine(struct probe *probe, struct weir_slide *slide)
{
    uint8_t seed[32];
    weir_nsec now = weir_loop_now(probe->loop);
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    if (probe->is_kcp) {
        struct weir_kcp_config config;
        weir_kcp_config_default(&config);
        must(weir_kcp_preset("fast", &config), "preset");
        config.slide = slide;
        config.is_accepting = !probe->is_client;
        config.tuning.send_queue_max = 1 << 16; /* an echo never waits */
        must(weir_kcp_init(map(weir_kcp_mem_size(&config)), &config, seed, now, &probe->kcp),
             "kcp");
        weir_loop_attach(probe->loop, probe->kcp, weir_kcp_verbs(), on_kcp, probe);
        return;
    }
    struct weir_rudp_config config;
    weir_rudp_config_default(&config);
    config.slide = slide;
    config.is_accepting = !probe->is_client;
    must(weir_rudp_init(map(weir_rudp_mem_size(&config)), &config, seed, now, &probe->rudp),
         "rudp");
    weir_loop_attach(probe->loop, probe->rudp, weir_rudp_verbs(), on_rudp, probe);
}

static void open_loop(struct probe *probe)
{
    struct weir_slide_config slide_config;
    struct weir_loop_config loop_config;
    struct weir_slide *slide = NULL;
    weir_slide_config_default(&slide_config);
    must(weir_slide_init(map(weir_slide_mem_size(&slide_config)), &slide_config, &slide), "slide");
    weir_loop_config_default(&loop_config);
    loop_config.driver = probe->driver;
    loop_config.slide = slide;
    must(weir_loop_open(&loop_config, &probe->loop), "loop");
    open_engine(probe, slide);
}

static void print_stats(const struct probe *probe)
{
    if (!probe->is_inet) {
        return;
    }
    const struct weir_ip_stats *stats = weir_inet_stats(probe->driver);
    (void)fprintf(stderr,
                  "frames in %llu out %llu own %llu echoes %llu fragments %llu whole %llu errors "
                  "%llu dropped",
                  (unsigned long long)stats->rx_frames, (unsigned long long)stats->tx_frames,
                  (unsigned long long)stats->tx_own, (unsigned long long)stats->echoes,
                  (unsigned long long)stats->rx_fragments,
                  (unsigned long long)stats->rx_reassembled, (unsigned long long)stats->errors);
    for (int i = 0; i < WEIR_IP_DROP_COUNT; i++) {
        if (stats->dropped[i] != 0) {
            (void)fprintf(stderr, " %s %llu", weir_ip_drop_text((enum weir_ip_drop)i),
                          (unsigned long long)stats->dropped[i]);
        }
    }
    (void)fprintf(stderr, "\n");
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
    print_stats(probe);
    return 0;
}

static int send_all(struct probe *probe, const struct weir_addr *remote)
{
    weir_nsec now = weir_loop_now(probe->loop);
    weir_nsec until = now + client_time;
    if (probe->is_kcp) {
        must(weir_kcp_connect(probe->kcp, now, remote, 0, NULL, &probe->kcp_conn), "connect");
    } else {
        must(weir_rudp_connect(probe->rudp, now, remote, NULL, &probe->rudp_conn), "connect");
    }
    send_more(probe);
    while (probe->received < probe->count && !probe->is_failed) {
        must(weir_loop_run_once(probe->loop, WEIR_SEC), "loop");
        if (weir_loop_now(probe->loop) > until) {
            break;
        }
    }
    print_stats(probe);
    if (probe->received < probe->count) {
        (void)fprintf(stderr, "inet_probe: %u of %u echoes\n", probe->received, probe->count);
        return 1;
    }
    printf("%u messages of %u bytes echoed\n", probe->count, probe->bytes);
    return 0;
}

static int parse_options(struct probe *probe, int argc, char **argv)
{
    struct weir_ip_config *ip = &probe->inet.ip;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    for (int option = 0; (option = getopt(argc, argv, "+a:h:l:m:o:p")) != -1;) {
        switch (option) {
        case 'a':
            ip->addresses[ip->address_count++] = parse_prefix(optarg);
            break;
        case 'h':
            probe->host = parse_prefix(optarg);
            break;
        case 'l':
            probe->loss_percent = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            probe->mtu = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            probe->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            probe->is_plain = true;
            break;
        default:
            die("option?", "");
        }
    }
    return optind;
}

int main(int argc, char **argv)
{
    static struct probe probe = {.port = 7};
    if (argc > 3 && strcmp(argv[1], "ping") == 0) {
        return run_ping(argc, argv);
    }
    int at = parse_options(&probe, argc, argv);
    if (argc - at < 3) {
        die("usage: see", "inet_probe.c");
    }
    probe.is_client = strcmp(argv[at + 1], "send") == 0;
    probe.is_kcp = strcmp(argv[at + 2], "kcp") == 0;
    open_link(&probe, argv[at]);
    open_loop(&probe);
    if (!probe.is_client) {
        return serve(&probe);
    }
    if (argc - at < 6) {
        die("usage: see", "inet_probe.c");
    }
    struct weir_addr remote = parse_addr(argv[at + 3]);
    remote.port = 7;
    probe.count = (uint32_t)strtoul(argv[at + 4], NULL, 10);
    probe.bytes = (uint32_t)strtoul(argv[at + 5], NULL, 10);
    if (probe.bytes > MESSAGE_MAX) {
        die("too long:", argv[at + 5]);
    }
    return send_all(&probe, &remote);
}
