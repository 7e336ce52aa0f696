/* SPDX-License-Identifier: MIT */
/*
 * crew_probe.c - TCP under a crew on many queues of an interface, for tests in a network namespace.
 *
 *   crew_probe tun|tap|packet NAME ADDR ADDR6
 *
 * A device of its own, or a group of packet sockets on one that is there.
 * Port 7 echoes. An address on standard input: every shard calls its port 7 some times, and wants
 * back what it sends. Until standard input ends the number of workers changes every few
 * milliseconds, at random from a fixed seed; then it says how often, and what went from worker to
 * worker. Prints "ready" first, "called" when all calls are over. tcp_probe is the kernel's end.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "weir/weir.h"

enum {
    PORT_ECHO = 7,
    WORKERS = 4,
    SHARDS = 13,
    CONNS = 1024, /* of a shard */
    QUEUE_BYTES = 64 << 20,
    RESIZE_MS = 5,
    CALLS = 8, /* of a shard */
    CALL_BYTES = 300000
};

struct call {
    uint32_t received;
    bool is_over;
};

struct shard {
    struct weir_tcp *tcp;
    void *mem;
    struct call calls[CALLS];
    uint32_t over; /* calls; atomic: its worker's */
};

static struct shard shards[SHARDS];
static struct weir_route route;
static struct weir_driver *queues[WORKERS];
static struct weir_addr own4;

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "crew_probe: %s %s\n", what, about);
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

/* --- calling ---------------------------------------------------------------------------------- */

/* On the shard's worker; what was posted is whom to call. */
static void on_work(void *user, weir_nsec now, const void *work, uint32_t length)
{
    struct shard *shard = (struct shard *)user;
    struct weir_path path = {.local = own4};
    if (length != sizeof(path.remote)) {
        die("posted:", "something else");
    }
    memcpy(&path.remote, work, sizeof(path.remote));
    for (int i = 0; i < CALLS; i++) {
        struct weir_tcp_conn *conn = NULL;
        must(weir_tcp_connect(shard->tcp, now, &path, &shard->calls[i], &conn), "connect");
    }
}

static void on_call_event(struct shard *shard, struct call *call,
                          const struct weir_tcp_event *event)
{
    static const uint8_t bytes[CALL_BYTES];
    if (event->type == WEIR_TCP_EVENT_OPENED) {
        must(weir_tcp_send(shard->tcp, event->conn, bytes, sizeof(bytes)), "send");
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        call->received += (uint32_t)event->data.span.length;
        if (call->received == CALL_BYTES) {
            must(weir_tcp_close(shard->tcp, event->conn), "close");
        }
    } else if (event->type == WEIR_TCP_EVENT_CLOSED) {
        if (call->is_over || call->received != CALL_BYTES) {
            (void)fprintf(stderr, "%u bytes came back, cause %d: ", call->received,
                          (int)event->closed.cause);
            die("a call ended", "too early");
        }
        call->is_over = true;
        (void)__atomic_add_fetch(&shard->over, 1, __ATOMIC_RELAXED);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct shard *shard = (struct shard *)user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(shard->tcp, &event) == WEIR_OK) {
        struct call *call = event.type == WEIR_TCP_EVENT_CLOSED
                                ? (struct call *)event.closed.user
                                : (struct call *)weir_tcp_user(shard->tcp, event.conn);
        if (call != NULL) {
            on_call_event(shard, call, &event);
        } else if (event.type == WEIR_TCP_EVENT_DATA) {
            must(
                weir_tcp_send(shard->tcp, event.conn, event.data.span.data, event.data.span.length),
                "echo");
        } else if (event.type == WEIR_TCP_EVENT_PEER_CLOSED) {
            must(weir_tcp_close(shard->tcp, event.conn), "close");
        }
    }
}

static void post_calls(struct weir_crew *crew)
{
    char line[64] = "";
    ssize_t length = read(STDIN_FILENO, line, sizeof(line) - 1);
    if (length <= 0) {
        return;
    }
    line[strcspn(line, "\n")] = 0;
    struct weir_addr remote = parse_addr(line);
    remote.port = PORT_ECHO;
    for (uint32_t s = 0; s < SHARDS; s++) {
        must(weir_crew_post(crew, s, &remote, sizeof(remote)), "post");
    }
}

static bool are_calls_over(void)
{
    uint32_t over = 0;
    for (uint32_t s = 0; s < SHARDS; s++) {
        over += __atomic_load_n(&shards[s].over, __ATOMIC_RELAXED);
    }
    return over == SHARDS * CALLS;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The frames of queue q; *interface is what it says about them. */
static struct weir_driver *open_frames(char **argv, uint32_t q,
                                       const struct weir_interface **interface)
{
    static struct weir_driver *first;
    struct weir_driver *driver = NULL;
    char problem[WEIR_PROBLEM_BYTES];
    enum weir_status status;
    if (strcmp(argv[1], "packet") == 0) {
        struct weir_packet_config config;
        weir_packet_config_default(&config);
        (void)snprintf(config.name, sizeof(config.name), "%s", argv[2]);
        config.is_shared = true;
        config.first = first;
        status = weir_packet_open(&config, &driver, problem);
        *interface = status == WEIR_OK ? weir_packet_interface(driver) : NULL;
    } else {
        struct weir_tun_config config;
        weir_tun_config_default(&config);
        (void)snprintf(config.name, sizeof(config.name), "%s", argv[2]);
        config.is_tap = strcmp(argv[1], "tap") == 0;
        config.is_multi_queue = true;
        config.queue_index = q;
        status = weir_tun_open(&config, &driver, problem);
        *interface = status == WEIR_OK ? weir_tun_interface(driver) : NULL;
    }
    if (status != WEIR_OK) {
        die("queue:", problem);
    }
    first = q == 0 ? driver : first;
    return driver;
}

static void open_queues(char **argv)
{
    for (uint32_t q = 0; q < WORKERS; q++) {
        struct weir_inet_config inet;
        const struct weir_interface *interface = NULL;
        struct weir_driver *inner = open_frames(argv, q, &interface);
        weir_inet_config_default(&inet, interface);
        for (int i = 0; i < 2; i++) {
            inet.ip.addresses[i] = (struct weir_ip_address){.addr = parse_addr(argv[3 + i]),
                                                            .prefix = i == 0 ? 24 : 64};
        }
        inet.ip.address_count = 2;
        must(weir_inet_open(inner, &inet, &queues[q]), "inet");
    }
}

static void open_shards(struct weir_crew *crew, char **argv)
{
    struct weir_tcp_config config;
    weir_tcp_config_default(&config);
    config.connections_max = config.connections6_max = CONNS;
    config.send_bytes = (size_t)2 * QUEUE_BYTES;
    config.tuning.send_queue_max = QUEUE_BYTES;
    config.has_users = true;
    config.route = &route;
    for (uint32_t s = 0; s < SHARDS; s++) {
        uint8_t seed[32];
        int listener = 0;
        config.slide = weir_crew_slide(crew, s);
        config.shard = s;
        shards[s].mem = weir_mem_map(weir_tcp_mem_size(&config));
        must(weir_secret_seed(seed, sizeof(seed)), "seed");
        must(weir_tcp_init(shards[s].mem, &config, seed, 0, &shards[s].tcp), "endpoint");
        for (int i = 0; i < 2; i++) {
            struct weir_addr local = parse_addr(argv[3 + i]);
            local.port = PORT_ECHO;
            must(weir_tcp_listen(shards[s].tcp, &local, &listener), "listen");
        }
        weir_crew_attach(crew, s, shards[s].tcp, weir_tcp_verbs(), on_events, &shards[s]);
    }
}

/* Until standard input ends. Returns how often the number changed. */
static uint32_t keep_changing(struct weir_crew *crew)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct weir_prng prng;
    uint32_t resizes = 0;
    bool have_called = false;
    weir_prng_init(&prng, 5);
    for (;;) {
        if (poll(&input, 1, RESIZE_MS) != 0) {
            if ((input.revents & POLLIN) == 0) {
                break; /* the other end is closed */
            }
            post_calls(crew);
        }
        if (!have_called && are_calls_over()) {
            have_called = true;
            (void)printf("called\n");
            (void)fflush(stdout);
        }
        enum weir_status status =
            weir_crew_resize(crew, 1 + (uint32_t)weir_prng_below(&prng, WORKERS));
        resizes += status == WEIR_OK;
        if (status != WEIR_AGAIN) {
            must(status, "resize");
        }
    }
    return resizes;
}

static void report(const struct weir_crew *crew, uint32_t resizes)
{
    struct weir_crew_worker_stats sum = {.packets = 0};
    uint64_t unresolved = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct weir_crew_worker_stats stats;
        must(weir_crew_worker_stats(crew, w, &stats), "figures");
        sum.packets += stats.packets;
        sum.misrouted += stats.misrouted;
        sum.parked += stats.parked;
        sum.shards_gained += stats.shards_gained;
        sum.driver_errors += stats.driver_errors;
        unresolved += weir_inet_stats(queues[w])->dropped[WEIR_IP_DROP_UNRESOLVED];
    }
    (void)fprintf(
        stderr,
        "%u resizes, %llu shards handed over; %llu frames, %llu sent on, %llu parked, %llu "
        "not sent for want of a neighbour\n",
        resizes, (unsigned long long)sum.shards_gained, (unsigned long long)sum.packets,
        (unsigned long long)sum.misrouted, (unsigned long long)sum.parked,
        (unsigned long long)unresolved);
    if (sum.driver_errors > 0 || resizes == 0 || sum.shards_gained == 0) {
        die("errors of a queue,", "or nothing ever changed");
    }
}

int main(int argc, char **argv)
{
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    uint8_t seed[16];
    if (argc != 5) {
        die("usage:", "crew_probe tun|tap|packet NAME ADDR ADDR6");
    }
    own4 = parse_addr(argv[3]);
    open_queues(argv);
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    weir_route_init(&route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.queues = queues;
    config.route = weir_tcp_route;
    config.route_user = &route;
    config.ring_bytes = (size_t)4 << 20;
    must(weir_crew_open(&config, &crew), "crew");
    open_shards(crew, argv);
    weir_crew_on_work(crew, on_work);
    must(weir_crew_start(crew), "start");
    (void)printf("ready\n");
    (void)fflush(stdout);
    uint32_t resizes = keep_changing(crew);
    weir_crew_stop(crew);
    report(crew, resizes);
    weir_crew_close(crew);
    for (uint32_t q = 0; q < WORKERS; q++) {
        queues[q]->ops->close(queues[q]);
    }
    return 0;
}
