/* SPDX-License-Identifier: MIT */
/*
 * prop_crew.c - workers come and go at random under random load, in virtual time.
 *
 *   prop_crew FIRST_SEED COUNT
 *
 * The queues, the endpoints and the clock are ours. Each connection's packets are numbered and come
 * by one queue, or by the one that the crew has named for their shard; each shard's endpoint checks
 * that it gets those of its connections, in order, each once, and holds on to the bytes of some.
 * Workers are run in any order, some of them rarely, with rings so short that they are full most of
 * the time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "weir/weir.h"

enum {
    SHARDS = 13,
    WORKERS = 6,
    CONNS = 60,
    WAITING_MAX = 512,
    HOLDS = 24,
    DATA_MAX = 300,
    STEPS = 20000,
    DRAIN_STEPS = 2000000,
    STRAYS_MAX = 200000,
    STRAY = 1 << 16 /* added to a connection's number; a stray's own number is in the other field */
};

struct arrived {
    uint32_t conn, length;
    uint64_t number;
};

struct queue {
    struct weir_driver driver; /* first */
    struct arrived waiting[WAITING_MAX];
    uint32_t first, count;
    struct weir_path path;
    bool is_stuck;     /* takes nothing that is sent, ever */
    uint32_t user;     /* the worker that has called it last */
    uint64_t epoch;    /* of the last change of user: resizes until then */
    uint32_t switches; /* of user in that epoch */
};

struct held {
    struct weir_hold hold;
    uint8_t fill;
};

struct shard {
    uint32_t index;
    struct weir_slide *slide;
    struct held holds[HOLDS];
    struct weir_packet *packets;
    uint32_t count;
    uint64_t posts;
    uint32_t answers; /* to be sent */
};

/* By queue: what the kernel does. */
enum mode {
    HASHED,          /* each connection has its queue for good */
    STEERED,         /* each shard has its queue, which the crew changes */
    STEERED_STRAYING /* the same, but some packets come by any queue: nothing is said of order */
};

static struct {
    uint64_t seed, resizes, delivered, sent;
    struct weir_prng prng;
    weir_nsec now;
    struct weir_crew *crew;
    struct queue queues[WORKERS];
    struct shard shards[SHARDS];
    uint64_t next_sent[CONNS], next_expected[CONNS];
    uint64_t posted[SHARDS];
    uint32_t running;
    enum mode mode;
    uint32_t steering[SHARDS]; /* the queue of each shard, STEERED */
    bool is_stray_seen[STRAYS_MAX];
    uint32_t strays;
} world;

#define CHECK(condition) ((condition) ? (void)0 : failed(#condition, __LINE__))

_Noreturn static void failed(const char *condition, int line)
{
    (void)fprintf(stderr, "seed %" PRIu64 ": %s (line %d)\n", world.seed, condition, line);
    exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)weir_prng_below(&world.prng, bound);
}

/* --- queues ----------------------------------------------------------------------------------- */

/* A queue is one worker's at a time. When it changes hands, and it does so once in an epoch, the
 * new worker may notice an epoch late. */
static void touch(struct queue *queue)
{
    if (queue->user == world.running) {
        return;
    }
    queue->switches = queue->epoch == world.resizes ? queue->switches + 1 : 1;
    queue->epoch = world.resizes;
    queue->user = world.running;
    CHECK(queue->switches <= 2);
}

static uint8_t fill_of(uint32_t conn, uint64_t number)
{
    return (uint8_t)((uint64_t)conn * 31 + number * 7 + 1);
}

static enum weir_status queue_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *packets,
                                      uint32_t packets_max, uint32_t *count)
{
    struct queue *queue = (struct queue *)driver;
    uint32_t most = 1 + draw(12);
    size_t used = 0;
    (void)now;
    touch(queue);
    *count = 0;
    while (*count < most && *count < packets_max && queue->count > 0) {
        struct arrived *next = &queue->waiting[queue->first];
        if (used + next->length > room.length) {
            break;
        }
        uint8_t *data = room.data + used;
        memset(data, fill_of(next->conn, next->number), next->length);
        memcpy(data, &next->conn, sizeof(next->conn));
        memcpy(data + 4, &next->number, sizeof(next->number));
        packets[(*count)++] =
            (struct weir_packet){.data = data, .path = &queue->path, .length = next->length};
        used += next->length;
        queue->first = (queue->first + 1) % WAITING_MAX;
        queue->count--;
    }
    driver->is_rx_full = queue->count > 0;
    return WEIR_OK;
}

static enum weir_status queue_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    struct queue *queue = (struct queue *)driver;
    (void)now;
    (void)transmits;
    touch(queue);
    *sent = queue->is_stuck ? 0 : draw(count + 1);
    return *sent == count ? WEIR_OK : WEIR_AGAIN;
}

static int queue_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec queue_next_timeout(const struct weir_driver *driver)
{
    return ((const struct queue *)(const void *)driver)->count > 0 ? world.now : WEIR_NEVER;
}

static void queue_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops queue_ops = {queue_receive, queue_send, queue_fd,
                                                 queue_next_timeout, queue_close};

static uint32_t route(const void *user, const struct weir_packet *packet)
{
    uint32_t conn = 0;
    (void)user;
    memcpy(&conn, packet->data, sizeof(conn));
    return conn % STRAY * 7 % SHARDS;
}

static void steer(void *user, uint32_t shard, uint32_t queue)
{
    CHECK(user == &world && shard < SHARDS && queue < WORKERS);
    world.steering[shard] = queue;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static void check_held(const struct held *held)
{
    for (size_t i = 12; i < held->hold.span.length; i++) {
        CHECK(held->hold.span.data[i] == held->fill);
    }
}

static void keep_some(struct shard *shard, const struct weir_packet *packet, uint8_t fill)
{
    struct held *held = &shard->holds[draw(HOLDS)];
    if (held->hold.span.length > 0) {
        check_held(held);
        weir_slide_drop(shard->slide, &held->hold);
    } else if (weir_slide_hold(shard->slide, &held->hold,
                               weir_span_of(packet->data, packet->length)) == WEIR_OK) {
        held->fill = fill;
    }
}

static void endpoint_input(void *endpoint, weir_nsec now, struct weir_packet *packets,
                           uint32_t count)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    CHECK(shard->count == 0); /* what came before was drained */
    shard->packets = packets;
    shard->count = count;
}

static void check_bytes(const struct weir_packet *packet, uint8_t fill)
{
    for (uint32_t at = 12; at < packet->length; at++) {
        CHECK(packet->data[at] == fill);
    }
}

static void note_arrival(uint32_t conn, uint64_t number)
{
    if (conn >= STRAY) {
        CHECK(number < world.strays && !world.is_stray_seen[number]);
        world.is_stray_seen[number] = true;
        return;
    }
    CHECK(world.mode == STEERED_STRAYING || number == world.next_expected[conn]);
    world.next_expected[conn]++;
}

static void on_events(void *user, weir_nsec now)
{
    struct shard *shard = (struct shard *)user;
    (void)now;
    for (uint32_t i = 0; i < shard->count; i++) {
        const struct weir_packet *packet = &shard->packets[i];
        uint32_t conn = 0;
        uint64_t number = 0;
        memcpy(&conn, packet->data, sizeof(conn));
        memcpy(&number, packet->data + 4, sizeof(number));
        CHECK(conn % STRAY < CONNS && route(NULL, packet) == shard->index);
        uint8_t fill = fill_of(conn, number);
        check_bytes(packet, fill);
        note_arrival(conn, number);
        world.delivered++;
        keep_some(shard, packet, fill);
        shard->answers++;
    }
    shard->count = 0;
}

static void on_work(void *user, weir_nsec now, const void *work, uint32_t length)
{
    struct shard *shard = (struct shard *)user;
    uint64_t number = 0;
    (void)now;
    CHECK(length == sizeof(number));
    memcpy(&number, work, sizeof(number));
    CHECK(number == shard->posts);
    shard->posts++;
}

static void endpoint_timeout(void *endpoint, weir_nsec now)
{
    (void)endpoint;
    (void)now;
}

static weir_nsec endpoint_next_timeout(const void *endpoint)
{
    return ((const struct shard *)endpoint)->answers > 0 ? 0 : WEIR_NEVER;
}

static enum weir_status endpoint_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    for (; shard->answers > 0; shard->answers--) {
        if (tx->count == tx->transmits_max || tx->used_bytes == tx->buffer_bytes) {
            return WEIR_OK;
        }
        tx->transmits[tx->count++] = (struct weir_transmit){
            .data = tx->buffer + tx->used_bytes++, .length = 1, .segment_bytes = 1};
    }
    return WEIR_AGAIN;
}

static const struct weir_verbs verbs = {.input = endpoint_input,
                                        .timeout = endpoint_timeout,
                                        .next_timeout = endpoint_next_timeout,
                                        .output = endpoint_output};

/* --- the world -------------------------------------------------------------------------------- */

static weir_nsec clock_now(void *user)
{
    (void)user;
    return world.now;
}

static void clock_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
    CHECK(false); /* nobody waits here */
}

static const struct weir_clock virtual_clock = {clock_now, clock_wait, NULL};

static void open_world(uint64_t seed)
{
    struct weir_crew_config config;
    struct weir_driver *queues[WORKERS];
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    world.mode = (enum mode)(seed % 3);
    weir_prng_init(&world.prng, seed);
    for (uint32_t q = 0; q < WORKERS; q++) {
        world.queues[q].driver = (struct weir_driver){
            .ops = &queue_ops, .rx_room_bytes = 4096, .datagram_bytes_max = DATA_MAX};
        world.queues[q].is_stuck = draw(8) == 0;
        world.queues[q].user = q;
        queues[q] = &world.queues[q].driver;
    }
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.workers = 1 + draw(WORKERS);
    config.queues = queues;
    config.route = route;
    config.slide = (struct weir_slide_config){65536, 8192, 0};
    config.shard_bytes = 8192;
    config.shard_secondary_bytes = draw(2) == 0 ? 0 : 4096;
    config.ring_bytes = 16384;
    config.packets_max = 128;
    config.clock = &virtual_clock;
    config.steer = world.mode == HASHED ? NULL : steer;
    config.steer_user = &world;
    config.steer_bytes_max = (uint64_t)WAITING_MAX * (DATA_MAX + 1);
    CHECK(weir_crew_open(&config, &world.crew) == WEIR_OK);
    weir_crew_on_work(world.crew, on_work);
    for (uint32_t s = 0; s < SHARDS; s++) {
        world.shards[s].index = s;
        world.shards[s].slide = weir_crew_slide(world.crew, s);
        weir_crew_attach(world.crew, s, &world.shards[s], &verbs, on_events, &world.shards[s]);
    }
    CHECK(weir_crew_start(world.crew) == WEIR_OK);
}

static bool append(uint32_t q, uint32_t conn, uint64_t number)
{
    struct queue *queue = &world.queues[q];
    if (queue->count == WAITING_MAX) {
        return false;
    }
    uint32_t last = (queue->first + queue->count) % WAITING_MAX;
    queue->waiting[last] =
        (struct arrived){.conn = conn, .number = number, .length = 12 + draw(DATA_MAX - 12)};
    queue->count++;
    world.sent++;
    return true;
}

static void arrive(void)
{
    uint32_t conn = draw(CONNS);
    uint32_t shard = conn * 7 % SHARDS;
    uint32_t q = world.mode == HASHED ? conn % WORKERS : world.steering[shard];
    for (uint32_t i = draw(8); i > 0 && append(q, conn, world.next_sent[conn]); i--) {
        world.next_sent[conn]++;
    }
    for (uint32_t i = world.mode == STEERED_STRAYING ? draw(12) : 0;
         i > 0 && world.strays < STRAYS_MAX && append(draw(WORKERS), conn + STRAY, world.strays);
         i--) {
        world.strays++;
    }
}

static void post(void)
{
    uint32_t s = draw(SHARDS);
    if (weir_crew_post(world.crew, s, &world.posted[s], sizeof(world.posted[s])) == WEIR_OK) {
        world.posted[s]++;
    }
}

static bool is_drained(void)
{
    for (uint32_t s = 0; s < SHARDS; s++) {
        if (world.shards[s].posts != world.posted[s]) {
            return false;
        }
    }
    return world.delivered == world.sent && weir_crew_is_settled(world.crew);
}

static void run_worker(uint32_t worker)
{
    world.running = worker;
    (void)weir_crew_run(world.crew, worker);
}

static void run_world(uint64_t seed)
{
    open_world(seed);
    uint32_t lazy = draw(WORKERS); /* is run rarely, so that rings to it fill up */
    uint32_t rarely = 1 + draw(40);
    uint32_t busy = world.mode == HASHED ? 40 : 2 + draw(30);
    for (uint32_t step = 0; step < STEPS; step++) {
        world.now += draw(20000);
        uint32_t what = draw(100);
        if (what < busy) {
            arrive();
        } else if (what >= 40 && what < 42) {
            post();
        } else if (what >= 42 && what < 50) {
            world.resizes += weir_crew_resize(world.crew, 1 + draw(WORKERS)) == WEIR_OK;
        } else if (what >= 50) {
            uint32_t worker = draw(WORKERS);
            if (worker != lazy || draw(rarely) == 0) {
                run_worker(worker);
            }
        }
    }
    for (uint32_t step = 0; step < DRAIN_STEPS && !is_drained(); step++) {
        /* From here on only who says that there is something to do. */
        uint32_t worker = draw(WORKERS);
        world.now += draw(20000);
        if (weir_crew_next_timeout(world.crew, worker) <= world.now) {
            run_worker(worker);
        }
    }
    CHECK(is_drained());
    for (uint32_t s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < HOLDS; i++) {
            check_held(&world.shards[s].holds[i]);
            weir_slide_drop(world.shards[s].slide, &world.shards[s].holds[i].hold);
        }
        CHECK(weir_slide_stats(world.shards[s].slide)->held_bytes == 0);
    }
}

int main(int argc, char **argv)
{
    uint64_t resizes = 0;
    uint64_t packets = 0;
    uint64_t figures[5] = {0};
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_world(seed);
        resizes += world.resizes;
        packets += world.delivered;
        for (uint32_t w = 0; w < WORKERS; w++) {
            struct weir_crew_worker_stats stats;
            (void)weir_crew_worker_stats(world.crew, w, &stats);
            figures[0] += stats.misrouted;
            figures[1] += stats.parked;
            figures[2] += stats.blocked;
            figures[3] += stats.shards_gained;
            figures[4] += stats.undrained;
            CHECK(world.mode == STEERED_STRAYING || stats.undrained == 0);
            CHECK(world.mode != STEERED || stats.misrouted == 0);
        }
        weir_crew_close(world.crew);
    }
    (void)printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " resizes, %" PRIu64
                 " packets in order, sent on %" PRIu64 ", parked %" PRIu64 ", blocked %" PRIu64
                 ", shards handed over %" PRIu64 ", undrained %" PRIu64 "\n",
                 first, first + count - 1, resizes, packets, figures[0], figures[1], figures[2],
                 figures[3], figures[4]);
    return 0;
}
