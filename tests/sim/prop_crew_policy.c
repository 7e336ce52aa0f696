/* SPDX-License-Identifier: MIT */
/*
 * prop_crew_policy.c - a crew that finds its number of workers itself, in virtual time.
 *
 *   prop_crew_policy FIRST_SEED COUNT
 *
 * Each worker has a processor, each packet takes half a millisecond of it. Load and connections
 * change; the number of workers must follow, up at once, down after the hold, and stay where it is
 * while nothing changes, however near to a limit that is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "weir/weir.h"

enum {
    SHARDS = 61,
    WORKERS = 8,
    CONNS = 997,
    WAITING_MAX = 4096,
    PACKET_BYTES = 8,
    COST_US = 500, /* of a packet */
    ADAPT_MS = 100
};

#define HOLD (2 * WEIR_SEC)

struct arrived {
    weir_nsec at;
    uint32_t conn;
};

struct queue {
    struct weir_driver driver; /* first */
    struct arrived waiting[WAITING_MAX];
    uint32_t first, count;
    struct weir_path path;
};

struct shard {
    uint32_t index;
    struct weir_packet *packets;
    uint32_t count;
    uint64_t got;
};

static struct {
    uint64_t seed;
    struct weir_prng prng;
    weir_nsec now;         /* of the coordinator */
    weir_nsec at[WORKERS]; /* of each worker's processor */
    uint32_t running;      /* whose time it is; WORKERS: the coordinator's */
    weir_nsec next_arrival, next_adapt;
    weir_nsec gap;        /* between packets, mean */
    uint64_t connections; /* in all */
    uint64_t sent, got, lost, changes;
    struct weir_crew *crew;
    struct queue queues[WORKERS];
    struct shard shards[SHARDS];
} world;

#define CHECK(condition) ((condition) ? (void)0 : failed(#condition, __LINE__))

_Noreturn static void failed(const char *condition, int line)
{
    (void)fprintf(stderr,
                  "seed %" PRIu64 ": %s (line %d), at %" PRIu64 " ms, %u workers, %" PRIu64
                  " changes\n",
                  world.seed, condition, line, world.now / WEIR_MSEC, weir_crew_workers(world.crew),
                  world.changes);
    exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
}

/* --- queues and endpoints --------------------------------------------------------------------- */

static weir_nsec *time_now(void)
{
    return world.running == WORKERS ? &world.now : &world.at[world.running];
}

static enum weir_status queue_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *packets,
                                      uint32_t packets_max, uint32_t *count)
{
    struct queue *queue = (struct queue *)(void *)driver;
    for (*count = 0; *count < packets_max && queue->count > 0; ++*count) {
        const struct arrived *next = &queue->waiting[queue->first];
        uint8_t *data = room.data + (size_t)*count * PACKET_BYTES;
        if (next->at > now || (size_t)(*count + 1) * PACKET_BYTES > room.length) {
            break;
        }
        memcpy(data, &next->conn, sizeof(next->conn));
        packets[*count] =
            (struct weir_packet){.data = data, .path = &queue->path, .length = PACKET_BYTES};
        queue->first = (queue->first + 1) % WAITING_MAX;
        queue->count--;
    }
    driver->is_rx_full = *count == packets_max;
    return WEIR_OK;
}

static enum weir_status queue_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    (void)driver;
    (void)now;
    (void)transmits;
    *sent = count;
    return WEIR_OK;
}

static int queue_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec queue_next_timeout(const struct weir_driver *driver)
{
    const struct queue *queue = (const struct queue *)(const void *)driver;
    return queue->count > 0 ? queue->waiting[queue->first].at : WEIR_NEVER;
}

static void queue_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops queue_ops = {.receive = queue_receive,
                                                 .send = queue_send,
                                                 .fd = queue_fd,
                                                 .next_timeout = queue_next_timeout,
                                                 .close = queue_close};

static uint32_t route(const void *user, const struct weir_packet *packet)
{
    uint32_t conn = 0;
    (void)user;
    memcpy(&conn, packet->data, sizeof(conn));
    return conn % SHARDS;
}

static void endpoint_input(void *endpoint, weir_nsec now, struct weir_packet *packets,
                           uint32_t count)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    (void)packets;
    shard->got += count;
    world.got += count;
    *time_now() += (weir_nsec)count * COST_US * WEIR_USEC;
}

static void endpoint_timeout(void *endpoint, weir_nsec now)
{
    (void)endpoint;
    (void)now;
}

static weir_nsec endpoint_next_timeout(const void *endpoint)
{
    (void)endpoint;
    return WEIR_NEVER;
}

static enum weir_status endpoint_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    (void)endpoint;
    (void)now;
    (void)tx;
    return WEIR_AGAIN;
}

static void endpoint_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct shard *shard = (const struct shard *)endpoint;
    uint64_t share = world.connections / SHARDS;
    *figures = (struct weir_figures){.packets_received = shard->got};
    figures->connections = share + (shard->index < world.connections % SHARDS);
}

static const struct weir_verbs verbs = {.input = endpoint_input,
                                        .timeout = endpoint_timeout,
                                        .next_timeout = endpoint_next_timeout,
                                        .output = endpoint_output,
                                        .figures = endpoint_figures};

/* --- the world -------------------------------------------------------------------------------- */

static weir_nsec clock_now(void *user)
{
    (void)user;
    return *time_now();
}

static void clock_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
    CHECK(false); /* nobody waits here */
}

static const struct weir_clock virtual_clock = {clock_now, clock_wait, NULL};

static void open_world(uint64_t seed, const struct weir_crew_limits *limits)
{
    struct weir_crew_config config;
    struct weir_driver *queues[WORKERS];
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    world.now = WEIR_SEC;
    world.running = WORKERS;
    world.gap = WEIR_SEC / 100;
    world.next_arrival = world.next_adapt = world.now;
    weir_prng_init(&world.prng, seed);
    weir_crew_config_default(&config);
    for (uint32_t q = 0; q < WORKERS; q++) {
        world.queues[q].driver = (struct weir_driver){.ops = &queue_ops, .rx_room_bytes = 4096};
        world.at[q] = world.now;
        queues[q] = &world.queues[q].driver;
    }
    config.shards = SHARDS;
    config.queues = queues;
    config.route = route;
    config.slide = (struct weir_slide_config){65536, 8192, 0};
    config.shard_bytes = 8192;
    config.shard_secondary_bytes = 0;
    config.ring_bytes = 65536;
    config.packets_max = 128;
    config.limits = *limits;
    config.limits.hold = HOLD;
    config.clock = &virtual_clock;
    CHECK(weir_crew_open(&config, &world.crew) == WEIR_OK);
    for (uint32_t s = 0; s < SHARDS; s++) {
        world.shards[s].index = s;
        weir_crew_attach(world.crew, s, &world.shards[s], &verbs, NULL, NULL);
    }
    CHECK(weir_crew_start(world.crew) == WEIR_OK);
}

/* Between half a gap and one and a half. */
static void arrive(void)
{
    uint32_t conn = (uint32_t)weir_prng_below(&world.prng, CONNS);
    struct queue *queue = &world.queues[conn * 7919 % 64 % WORKERS];
    weir_nsec at = world.next_arrival;
    world.next_arrival += world.gap / 2 + weir_prng_below(&world.prng, world.gap + 1);
    world.sent++;
    if (queue->count == WAITING_MAX) {
        world.lost++;
        return;
    }
    uint32_t last = (queue->first + queue->count++) % WAITING_MAX;
    queue->waiting[last] = (struct arrived){.at = at, .conn = conn};
}

static void adapt(void)
{
    uint32_t before = weir_crew_workers(world.crew);
    world.next_adapt += ADAPT_MS * WEIR_MSEC;
    if (weir_crew_adapt(world.crew, world.now)) {
        uint32_t after = weir_crew_workers(world.crew);
        world.changes++;
        CHECK(after == before + 1 || after == before - 1);
        for (uint32_t w = before; w < after; w++) {
            world.at[w] = world.now;
        }
    }
}

/* The worker that is behind most and has something to do; its time then. */
static uint32_t next_worker(weir_nsec *at)
{
    uint32_t next = WORKERS;
    *at = WEIR_NEVER;
    for (uint32_t w = 0; w < WORKERS; w++) {
        world.running = w;
        weir_nsec due = weir_crew_next_timeout(world.crew, w);
        due = due < world.at[w] ? world.at[w] : due;
        if (due < *at) {
            *at = due;
            next = w;
        }
    }
    world.running = WORKERS;
    return next;
}

static void run_for(weir_nsec duration)
{
    const weir_nsec end = world.now + duration;
    while (world.now < end) {
        weir_nsec at = 0;
        uint32_t worker = next_worker(&at);
        if (world.next_arrival <= at && world.next_arrival <= world.next_adapt) {
            world.now = world.next_arrival;
            arrive();
        } else if (world.next_adapt <= at) {
            world.now = world.next_adapt;
            adapt();
        } else {
            world.now = at;
            world.at[worker] = at;
            world.running = worker;
            CHECK(weir_crew_run(world.crew, worker));
            world.running = WORKERS;
        }
    }
}

/* As much as permille thousandths of a processor can do. */
static void set_load(uint64_t permille)
{
    world.gap = (weir_nsec)COST_US * WEIR_USEC * 1000 / permille;
}

/* --- what must come of it --------------------------------------------------------------------- */

static void check_workers(uint32_t least, uint32_t most)
{
    CHECK(weir_crew_workers(world.crew) >= least);
    CHECK(weir_crew_workers(world.crew) <= most);
}

/* 5 workers carry 3 processors' worth below 0.7 each; that 1 carries 0.2 is clear at once. */
static void check_busy(uint64_t seed)
{
    open_world(seed, &(struct weir_crew_limits){.busy_permille = 700});
    set_load(200);
    run_for(5 * WEIR_SEC);
    check_workers(1, 1);
    CHECK(world.changes == 0);
    set_load(3000);
    run_for(8 * WEIR_SEC);
    check_workers(5, WORKERS); /* more while it makes up for what waits */
    run_for(15 * WEIR_SEC);
    check_workers(5, WORKERS);
    uint64_t changes = world.changes;
    run_for(20 * WEIR_SEC);
    CHECK(world.changes == changes);
    uint32_t workers = weir_crew_workers(world.crew);
    set_load(200);
    run_for(HOLD - WEIR_SEC / 2);
    check_workers(workers, workers); /* not before the hold is over */
    run_for(6 * (HOLD + WEIR_SEC));
    check_workers(1, 1);
    CHECK(world.got + 8 >= world.sent - world.lost);
    weir_crew_close(world.crew);
}

/* Whatever the load: once found, the number stays. */
static void check_steady(uint64_t seed, uint64_t permille)
{
    open_world(seed, &(struct weir_crew_limits){.busy_permille = 700});
    set_load(permille);
    run_for(15 * WEIR_SEC);
    uint64_t changes = world.changes;
    run_for(20 * WEIR_SEC);
    CHECK(world.changes == changes);
    check_workers((uint32_t)(permille / 1000), WORKERS);
    weir_crew_close(world.crew);
}

/* Limits so close together that one fewer is always enough, and then not: it is tried after the
 * hold, twice the hold, and so on, so that five times are all there is time for. */
static void check_tries(uint64_t seed, uint64_t permille)
{
    open_world(seed, &(struct weir_crew_limits){.busy_permille = 600, .idle_permille = 599});
    set_load(permille);
    run_for(10 * WEIR_SEC);
    uint64_t changes = world.changes;
    run_for(40 * WEIR_SEC);
    CHECK(world.changes <= changes + 14);
    changes = world.changes;
    run_for(30 * WEIR_SEC);
    CHECK(world.changes <= changes + 6);
    weir_crew_close(world.crew);
}

static void check_connections(uint64_t seed)
{
    open_world(seed, &(struct weir_crew_limits){.connections = 100});
    set_load(200);
    world.connections = 90;
    run_for(3 * WEIR_SEC);
    check_workers(1, 1);
    world.connections = 550;
    run_for(5 * WEIR_SEC);
    check_workers(6, 6);
    uint64_t changes = world.changes;
    run_for(20 * WEIR_SEC);
    CHECK(world.changes == changes);
    world.connections = 80;
    run_for(7 * (HOLD + WEIR_SEC));
    check_workers(2, 2); /* 80 are more than three quarters of 100 */
    world.connections = 70;
    run_for(2 * HOLD);
    check_workers(1, 1);
    weir_crew_close(world.crew);
}

/* Packets wait where there is more to do than time for it, and nowhere else. */
static void check_queues(uint64_t seed, const struct weir_crew_limits *limits)
{
    open_world(seed, limits);
    set_load(300);
    run_for(3 * WEIR_SEC);
    check_workers(1, 1);
    set_load(2200);
    run_for(6 * WEIR_SEC);
    check_workers(3, WORKERS);
    uint64_t got = world.got;
    uint64_t sent = world.sent;
    run_for(5 * WEIR_SEC);
    CHECK(world.got - got >= (world.sent - sent) * 99 / 100);
    set_load(100);
    run_for(8 * (HOLD + WEIR_SEC));
    check_workers(1, 1);
    weir_crew_close(world.crew);
}

/* All workers and one more would not do: it stays at the most there may be. */
static void check_bounds(uint64_t seed)
{
    open_world(
        seed, &(struct weir_crew_limits){.busy_permille = 700, .workers_min = 2, .workers_max = 3});
    set_load(100);
    run_for(WEIR_SEC);
    check_workers(2, 2);
    set_load(5000);
    run_for(10 * WEIR_SEC);
    check_workers(3, 3);
    CHECK(world.changes == 2);
    world.running = WORKERS;
    while (weir_crew_resize(world.crew, 4) != WEIR_OK) {
        run_for(10 * WEIR_MSEC);
    }
    world.at[3] = world.now;
    run_for(6 * WEIR_SEC); /* what waits in queues and rings goes first */
    check_workers(3, 3);
    set_load(100);
    run_for(10 * HOLD);
    check_workers(2, 2);
    weir_crew_close(world.crew);
}

/* All there was to do is over at once: workers that asked for help sleep, and are not to be helped
 * for ever. */
static void check_silence(uint64_t seed, const struct weir_crew_limits *limits)
{
    open_world(seed, limits);
    set_load(4000);
    run_for(10 * WEIR_SEC);
    check_workers(3, 3);
    world.next_arrival = WEIR_NEVER;
    run_for(10 * (HOLD + WEIR_SEC));
    check_workers(1, 1);
    weir_crew_close(world.crew);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        check_busy(seed);
        check_connections(seed);
        check_queues(seed, &(struct weir_crew_limits){.queue_delay = 20 * WEIR_MSEC});
        check_queues(seed, &(struct weir_crew_limits){.queue_packets = 40});
        check_bounds(seed);
        check_silence(seed, &(struct weir_crew_limits){.busy_permille = 700, .workers_max = 3});
        check_silence(seed,
                      &(struct weir_crew_limits){.queue_delay = 20 * WEIR_MSEC, .workers_max = 3});
        check_silence(seed, &(struct weir_crew_limits){.queue_packets = 40, .workers_max = 3});
        for (uint64_t i = 0; i < 3; i++) {
            check_steady(seed, 300 + (seed * 37 + i * 103) % 300 * 13);
            check_tries(seed, 600 * (1 + i) + seed % 9 * 10);
        }
    }
    (void)printf("seeds %" PRIu64 " to %" PRIu64 ": the workers followed the load\n", first,
                 first + count - 1);
    return 0;
}
