/* SPDX-License-Identifier: MIT */
/*
 * echo_crew.c - the echo server of echo_rudp.c on many threads, whose number changes as it runs.
 *
 *   echo_crew 127.0.0.1:4433 < numbers     each line is how many workers there are from then on;
 *                                          ends with its input, and says what each worker did
 *
 * New beside echo_rudp.c: an endpoint for each shard, a socket for each worker that may be. The
 * clients are those of echo_rudp.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir/weir.h"

enum {
    SHARDS = 61,
    WORKERS_MAX = 8
};

static const struct weir_rudp_send reliably = {.guarantee = WEIR_RUDP_DELIVERY};

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        (void)fprintf(stderr, "echo_crew: %s: %s\n", what, weir_status_text(status));
        _Exit(EXIT_FAILURE);
    }
}

/* Of one shard, on the worker that runs it: nothing of another shard may be touched here. */
static void on_events(void *user, weir_nsec now)
{
    struct weir_rudp *endpoint = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(endpoint, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            struct weir_span data = event.message.data;
            if (weir_rudp_send(event.conn, &reliably, data.data, data.length) != WEIR_OK) {
                weir_rudp_abort(event.conn, 1, "too much at once");
            }
        }
    }
}

/* Sockets of one port: all are open from the start, whatever the number of workers is. */
static void open_sockets(const char *address, struct weir_driver *sockets[WORKERS_MAX])
{
    struct weir_udp_config config;
    weir_udp_config_default(&config);
    config.is_port_reused = true;
    must(weir_addr_parse(address, &config.bind), address);
    for (int i = 0; i < WORKERS_MAX; i++) {
        int os_error = 0;
        must(weir_udp_open(&config, &sockets[i], NULL, &os_error), address);
        config.bind = sockets[0]->local; /* with port 0 the system chose one */
    }
}

/* The kernel puts packets where their shard is run, or, not as root, spreads them by address. */
static struct weir_steer *open_steer(struct weir_driver *const sockets[WORKERS_MAX],
                                     const struct weir_route *route)
{
    char problem[WEIR_STEER_PROBLEM_BYTES];
    struct weir_steer *steer = NULL;
    enum weir_status status =
        weir_steer_open(sockets, WORKERS_MAX, route, WEIR_STEER_RUDP, &steer, problem);
    return status == WEIR_OK ? steer : NULL;
}

static void attach(struct weir_crew *crew, uint32_t shard, const struct weir_route *route)
{
    struct weir_rudp_config config;
    struct weir_rudp *endpoint = NULL;
    uint8_t seed[32]; /* each has keys of its own: what one says proves nothing to another */
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    weir_rudp_config_default(&config);
    config.slide = weir_crew_slide(crew, shard);
    config.is_accepting = true;
    config.route = route; /* the ids that it issues lead to this shard */
    config.shard = shard;
    config.connections_max = 256; /* of the shard */
    void *mem = weir_mem_map(weir_rudp_mem_size(&config));
    must(mem == NULL ? WEIR_ERR_MEMORY : WEIR_OK, "endpoint");
    must(weir_rudp_init(mem, &config, seed, 0, &endpoint), "endpoint");
    weir_crew_attach(crew, shard, endpoint, weir_rudp_verbs(), on_events, endpoint);
}

static void wait_until_settled(const struct weir_crew *crew)
{
    while (!weir_crew_is_settled(crew)) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void follow_input(struct weir_crew *crew)
{
    char line[32];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        uint32_t workers = (uint32_t)strtoul(line, NULL, 10);
        if (weir_crew_resize(crew, workers) != WEIR_OK) {
            (void)fprintf(stderr, "echo_crew: 1 to %d workers\n", WORKERS_MAX);
            continue;
        }
        wait_until_settled(crew);
        (void)printf("%u workers\n", (unsigned)weir_crew_workers(crew));
        (void)fflush(stdout);
    }
}

static void say_figures(const struct weir_crew *crew)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct weir_crew_worker_stats stats;
        must(weir_crew_worker_stats(crew, i, &stats), "figures");
        if (stats.rounds > 0) {
            (void)printf("worker %u: %llu packets, %llu sent on, %llu shards gained\n", (unsigned)i,
                         (unsigned long long)stats.packets, (unsigned long long)stats.misrouted,
                         (unsigned long long)stats.shards_gained);
        }
    }
}

int main(int argc, char **argv)
{
    struct weir_driver *sockets[WORKERS_MAX];
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    struct weir_route route;
    uint8_t seed[16];
    if (argc != 2) {
        (void)fprintf(stderr, "usage: echo_crew ADDR\n");
        return 2;
    }
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    weir_route_init(&route, seed, SHARDS);
    open_sockets(argv[1], sockets);
    struct weir_steer *steer = open_steer(sockets, &route);

    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS_MAX;
    config.queues = sockets;
    config.route = weir_rudp_route;
    config.route_user = &route;
    config.steer = steer != NULL ? weir_steer_set : NULL;
    config.steer_user = steer;
    must(weir_crew_open(&config, &crew), "crew");
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        attach(crew, shard, &route);
    }
    must(weir_crew_start(crew), "start");
    follow_input(crew);
    weir_crew_stop(crew);
    say_figures(crew);
    weir_crew_close(crew);
    weir_steer_close(steer);
    for (int i = 0; i < WORKERS_MAX; i++) {
        sockets[i]->ops->close(sockets[i]);
    }
    return EXIT_SUCCESS;
}
