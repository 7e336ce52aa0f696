/* SPDX-License-Identifier: MIT */
/*
 * crew_probe.c - TCP under a crew on a TUN device of many queues, for tests in a network namespace.
 *
 *   crew_probe NAME ADDR ADDR6
 *
 * Port 7 echoes. Until standard input ends the number of workers changes every few milliseconds, at
 * random from a fixed seed; then it says how often, and what went from worker to worker. Prints
 * "ready" first. tcp_probe is the kernel's end.
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
    RESIZE_MS = 5
};

struct shard {
    struct weir_tcp *tcp;
    void *mem;
};

static struct shard shards[SHARDS];
static struct weir_route route;
static struct weir_driver *queues[WORKERS];

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

static void on_events(void *user, weir_nsec now)
{
    const struct shard *shard = (const struct shard *)user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(shard->tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_DATA) {
            must(
                weir_tcp_send(shard->tcp, event.conn, event.data.span.data, event.data.span.length),
                "echo");
        } else if (event.type == WEIR_TCP_EVENT_PEER_CLOSED) {
            must(weir_tcp_close(shard->tcp, event.conn), "close");
        }
    }
}

static void open_queues(char **argv)
{
    struct weir_tun_config tun;
    weir_tun_config_default(&tun);
    (void)snprintf(tun.name, sizeof(tun.name), "%s", argv[1]);
    tun.is_multi_queue = true;
    for (uint32_t q = 0; q < WORKERS; q++) {
        char problem[WEIR_PROBLEM_BYTES];
        struct weir_driver *inner = NULL;
        struct weir_inet_config inet;
        if (weir_tun_open(&tun, &inner, problem) != WEIR_OK) {
            die("tun:", problem);
        }
        weir_inet_config_default(&inet, weir_tun_interface(inner));
        for (int i = 0; i < 2; i++) {
            inet.ip.addresses[i] = (struct weir_ip_address){.addr = parse_addr(argv[2 + i]),
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
    for (uint32_t s = 0; s < SHARDS; s++) {
        uint8_t seed[32];
        int listener = 0;
        config.slide = weir_crew_slide(crew, s);
        shards[s].mem = weir_mem_map(weir_tcp_mem_size(&config));
        must(weir_secret_seed(seed, sizeof(seed)), "seed");
        must(weir_tcp_init(shards[s].mem, &config, seed, 0, &shards[s].tcp), "endpoint");
        for (int i = 0; i < 2; i++) {
            struct weir_addr local = parse_addr(argv[2 + i]);
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
    weir_prng_init(&prng, 5);
    while (poll(&input, 1, RESIZE_MS) == 0) {
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
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct weir_crew_worker_stats stats;
        must(weir_crew_worker_stats(crew, w, &stats), "figures");
        sum.packets += stats.packets;
        sum.misrouted += stats.misrouted;
        sum.parked += stats.parked;
        sum.shards_gained += stats.shards_gained;
        sum.driver_errors += stats.driver_errors;
    }
    (void)fprintf(stderr,
                  "%u resizes, %llu shards handed over; %llu frames, %llu sent on, %llu parked\n",
                  resizes, (unsigned long long)sum.shards_gained, (unsigned long long)sum.packets,
                  (unsigned long long)sum.misrouted, (unsigned long long)sum.parked);
    if (sum.driver_errors > 0 || resizes == 0 || sum.shards_gained == 0) {
        die("errors of a queue,", "or nothing ever changed");
    }
}

int main(int argc, char **argv)
{
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    uint8_t seed[16];
    if (argc != 4) {
        die("usage:", "crew_probe NAME ADDR ADDR6");
    }
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
