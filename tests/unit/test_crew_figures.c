/* SPDX-License-Identifier: MIT */
/*
 * test_crew_figures.c - what a crew shows of itself, the limits it takes, and the descriptors that
 * its workers wait for.
 *
 * Queues and endpoints are made here; a packet's first byte is its shard.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    SHARDS = 5,
    WORKERS = 3,
    BURST = 8
};

/* --- queues and endpoints --------------------------------------------------------------------- */

struct queue {
    struct weir_driver driver; /* first */
    struct weir_path path;
    int fd;
    uint32_t waiting; /* packets to the shard; atomic: the test's thread adds some */
    uint32_t shard;
    bool is_full;   /* says that there is more */
    bool is_broken; /* every receive fails */
    uint32_t flood; /* packets to the shard, BURST in each receive, which says that there is more */
    uint64_t sent;
};

static struct shard {
    uint64_t got, timeouts, events; /* atomic: its worker's */
    uint64_t asked;                 /* calls of next_timeout */
    weir_nsec due, cost;            /* an input takes so long, in virtual time */
    uint64_t connections;
    struct weir_tx tx; /* as the last output found it */
    uint32_t more;     /* packets that an input makes come, one each */
    uint32_t unsent;   /* datagrams that wait for output */
    int fd;            /* is read when it is time, or -1 */
    uint8_t unreached; /* of the last packet */
} shards[SHARDS];

static struct queue queues[WORKERS];
static struct weir_crew *crew;
static weir_nsec virtual_now;

static void arrive(uint32_t queue, uint32_t shard, uint32_t count)
{
    queues[queue].shard = shard;
    __atomic_store_n(&queues[queue].waiting, count, __ATOMIC_RELEASE);
}

static enum weir_status queue_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *packets,
                                      uint32_t packets_max, uint32_t *count)
{
    struct queue *queue = (struct queue *)(void *)driver;
    uint32_t waiting = __atomic_exchange_n(&queue->waiting, 0, __ATOMIC_ACQ_REL);
    (void)now;
    if (queue->is_broken) {
        *count = 0;
        return WEIR_ERR_OS;
    }
    if (queue->flood > 0) {
        waiting = queue->flood < BURST ? queue->flood : BURST;
        queue->flood -= waiting;
        queue->is_full = queue->flood > 0;
    }
    assert_true(waiting <= packets_max);
    for (*count = 0; *count < waiting; ++*count) {
        room.data[*count] = (uint8_t)queue->shard;
        packets[*count] = (struct weir_packet){.data = room.data + *count,
                                               .path = &queue->path,
                                               .length = 1,
                                               .protocol = WEIR_PROTOCOL_UNREACHED,
                                               .unreached = WEIR_UNREACHED_PORT};
    }
    driver->is_rx_full = queue->is_full;
    queue->is_full = false;
    return WEIR_OK;
}

static enum weir_status queue_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    (void)now;
    (void)transmits;
    *sent = count;
    ((struct queue *)(void *)driver)->sent += count;
    return WEIR_OK;
}

static int queue_fd(const struct weir_driver *driver)
{
    return ((const struct queue *)(const void *)driver)->fd;
}

static weir_nsec queue_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
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

static void endpoint_input(void *endpoint, weir_nsec now, struct weir_packet *packets,
                           uint32_t count)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    shard->unreached = packets[count - 1].unreached;
    if (shard->cost > 0) {
        virtual_now += shard->cost;
    }
    if (shard->more > 0) {
        shard->more--;
        arrive(0, (uint32_t)(shard - shards), 1);
    }
    __atomic_fetch_add(&shard->got, count, __ATOMIC_RELEASE);
}

static void endpoint_timeout(void *endpoint, weir_nsec now)
{
    struct shard *shard = (struct shard *)endpoint;
    uint64_t news = 0;
    (void)now;
    shard->due = WEIR_NEVER;
    if (shard->fd >= 0) {
        (void)!read(shard->fd, &news, sizeof(news));
    }
    __atomic_fetch_add(&shard->timeouts, 1, __ATOMIC_RELEASE);
}

static weir_nsec endpoint_next_timeout(const void *endpoint)
{
    struct shard *shard = &shards[(const struct shard *)endpoint - shards];
    shard->asked++;
    return shard->unsent > 0 ? 0 : shard->due;
}

static enum weir_status endpoint_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    shard->tx = *tx;
    for (; shard->unsent > 0 && tx->count < tx->transmits_max; shard->unsent--) {
        tx->transmits[tx->count++] =
            (struct weir_transmit){.data = tx->buffer, .length = 1, .segment_bytes = 1};
    }
    return shard->unsent > 0 ? WEIR_OK : WEIR_AGAIN;
}

static void endpoint_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct shard *shard = (const struct shard *)endpoint;
    *figures = (struct weir_figures){.connections = shard->connections, .awake = 1, .rtt = 7};
    figures->drops[2] = 5;
    figures->dropped = 5;
}

static void on_events(void *user, weir_nsec now)
{
    (void)now;
    __atomic_fetch_add(&((struct shard *)user)->events, 1, __ATOMIC_RELEASE);
}

static const struct weir_verbs verbs = {.input = endpoint_input,
                                        .timeout = endpoint_timeout,
                                        .next_timeout = endpoint_next_timeout,
                                        .output = endpoint_output,
                                        .figures = endpoint_figures};

/* --- the crew --------------------------------------------------------------------------------- */

static uint32_t route(const void *user, const struct weir_packet *packet)
{
    (void)user;
    return packet->data[0];
}

static weir_nsec clock_now(void *user)
{
    (void)user;
    return virtual_now;
}

static void clock_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
}

static const struct weir_clock virtual_clock = {clock_now, clock_wait, NULL};

static enum weir_status open_with(uint32_t workers, const struct weir_clock *clock,
                                  const struct weir_crew_limits *limits)
{
    struct weir_crew_config config;
    struct weir_driver *drivers[WORKERS];
    memset(queues, 0, sizeof(queues));
    memset(shards, 0, sizeof(shards));
    virtual_now = WEIR_SEC;
    for (int i = 0; i < WORKERS; i++) {
        queues[i].driver = (struct weir_driver){.ops = &queue_ops, .rx_room_bytes = 4096};
        queues[i].fd = -1;
        drivers[i] = &queues[i].driver;
    }
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.workers = workers;
    config.queues = drivers;
    config.route = route;
    config.packets_max = 128;
    config.ring_bytes = 32768;
    config.clock = clock;
    if (limits != NULL) {
        config.limits = *limits;
    }
    enum weir_status status = weir_crew_open(&config, &crew);
    for (uint32_t s = 0; status == WEIR_OK && s < SHARDS; s++) {
        shards[s].due = WEIR_NEVER;
        shards[s].fd = -1;
        weir_crew_attach(crew, s, &shards[s], &verbs, on_events, &shards[s]);
    }
    return status;
}

static void open_virtual(uint32_t workers, const struct weir_crew_limits *limits)
{
    assert_int_equal(open_with(workers, &virtual_clock, limits), WEIR_OK);
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
}

static uint32_t shard_of(uint32_t worker, uint32_t workers)
{
    uint32_t s = 0;
    while (weir_crew_owner(crew, s, workers) != worker) {
        s++;
    }
    return s;
}

static struct weir_crew_worker_stats worker_figures(uint32_t worker)
{
    struct weir_crew_worker_stats stats;
    assert_int_equal(weir_crew_worker_stats(crew, worker, &stats), WEIR_OK);
    return stats;
}

static struct weir_crew_shard_stats shard_figures(uint32_t shard)
{
    struct weir_crew_shard_stats stats;
    assert_int_equal(weir_crew_shard_stats(crew, shard, &stats), WEIR_OK);
    return stats;
}

/* Time passes, all workers run: until the change is over. */
static void settle(void)
{
    for (int i = 0; i < 1000 && !weir_crew_is_settled(crew); i++) {
        virtual_now += 10 * WEIR_USEC;
        for (uint32_t w = 0; w < WORKERS; w++) {
            (void)weir_crew_run(crew, w);
        }
    }
    assert_true(weir_crew_is_settled(crew));
}

/* Waits at most half a minute until *value is at least wanted. */
static void await(const uint64_t *value, uint64_t wanted)
{
    for (int i = 0; i < 300000 && __atomic_load_n(value, __ATOMIC_ACQUIRE) < wanted; i++) {
        (void)usleep(100);
    }
    assert_true(__atomic_load_n(value, __ATOMIC_ACQUIRE) >= wanted);
}

/* --- figures ---------------------------------------------------------------------------------- */

static void test_shard_figures(void **state)
{
    struct weir_crew_shard_stats stats;
    (void)state;
    open_virtual(1, NULL);
    assert_int_equal(weir_crew_shard_stats(crew, SHARDS, &stats), WEIR_ERR_INVALID);
    (void)weir_crew_run(crew, 0);
    shards[2].connections = 30;
    arrive(0, 2, 4);
    (void)weir_crew_run(crew, 0);
    assert_int_equal(shard_figures(2).packets, 4);
    assert_int_equal(shard_figures(2).figures.connections, 0); /* not put out yet */
    /* It would sleep, but puts them out first. */
    assert_int_equal(weir_crew_next_timeout(crew, 0), virtual_now + 10 * WEIR_MSEC);
    virtual_now += 10 * WEIR_MSEC;
    (void)weir_crew_run(crew, 0);
    stats = shard_figures(2);
    assert_int_equal(stats.figures.connections, 30);
    assert_int_equal(stats.figures.drops[2], 5);
    assert_int_equal(stats.figures.rtt, 7);
    assert_int_equal(stats.worker, 0);
    assert_int_equal(stats.moves, 0);
    assert_int_equal(worker_figures(0).connections, 30);
    assert_int_equal(weir_crew_next_timeout(crew, 0), WEIR_NEVER);
    weir_crew_close(crew);
}

/* A shard takes its figures along, and they are put out when it goes. */
static void test_figures_move(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    uint32_t s = shard_of(1, 2);
    shards[s].connections = 9;
    arrive(0, s, 3);
    (void)weir_crew_run(crew, 0);
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_OK);
    settle();
    assert_int_equal(shard_figures(s).worker, 1);
    assert_int_equal(shard_figures(s).moves, 1);
    assert_int_equal(shard_figures(s).packets, 3);
    assert_int_equal(shard_figures(s).figures.connections, 9);
    virtual_now += 10 * WEIR_MSEC;
    (void)weir_crew_run(crew, 0);
    (void)weir_crew_run(crew, 1);
    assert_int_equal(worker_figures(0).connections, 0);
    assert_int_equal(worker_figures(1).connections, 9);
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_OK);
    settle();
    assert_int_equal(worker_figures(1).started_at, 0); /* it is not there any more */
    assert_int_equal(worker_figures(1).connections, 0);
    assert_int_equal(shard_figures(s).moves, 2);
    weir_crew_close(crew);
}

static void test_busy_share(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    weir_nsec started_at = worker_figures(0).started_at;
    assert_int_equal(started_at, virtual_now);
    shards[1].cost = 3 * WEIR_MSEC;
    for (int i = 0; i < 400; i++) {
        arrive(0, 1, 1);
        (void)weir_crew_run(crew, 0);
        virtual_now += WEIR_MSEC; /* it waits */
    }
    struct weir_crew_worker_stats stats = worker_figures(0);
    assert_in_range(stats.busy_permille, 740, 760);
    assert_in_range(stats.busy * 1000 / (virtual_now - started_at), 740, 760);
    assert_in_range(shard_figures(1).busy * 1000 / (virtual_now - started_at), 700, 800);
    /* Who sleeps is not busy, and need not wake to say so. */
    (void)weir_crew_next_timeout(crew, 0);
    virtual_now += WEIR_SEC;
    assert_int_equal(worker_figures(0).busy_permille, 0);
    weir_crew_close(crew);
}

static void test_queue_figures(void **state)
{
    (void)state;
    open_virtual(2, NULL);
    uint32_t mine = shard_of(0, 2);
    for (uint32_t w = 0; w < 2; w++) {
        (void)weir_crew_run(crew, w);
    }
    /* 20 packets for the first come to the second, which sends them on; they lie there 6 ms. */
    for (int i = 0; i < 200; i++) {
        arrive(1, mine, 20);
        (void)weir_crew_run(crew, 1);
        virtual_now += 6 * WEIR_MSEC;
        (void)weir_crew_run(crew, 0);
        virtual_now += 4 * WEIR_MSEC;
    }
    assert_int_equal(shards[mine].got, 200 * 20);
    assert_int_equal(shards[mine].unreached, WEIR_UNREACHED_PORT);
    assert_in_range(worker_figures(0).queue_delay, 59 * WEIR_MSEC / 10, 61 * WEIR_MSEC / 10);
    assert_in_range(worker_figures(0).queue_length, 19900, 20000);
    assert_int_equal(worker_figures(0).taken_in, 200 * 20);
    weir_crew_close(crew);
}

/* Each time a packet that takes 8 ms, and one that comes meanwhile. The mean delay of both. */
static uint64_t measure_delay(bool is_left)
{
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    shards[1].cost = 8 * WEIR_MSEC;
    for (int i = 0; i < 200; i++) {
        virtual_now += 5 * WEIR_MSEC;
        shards[1].more = 1;
        queues[0].is_full = is_left;
        arrive(0, 1, 1);
        (void)weir_crew_run(crew, 0);
        (void)weir_crew_run(crew, 0);
    }
    assert_int_equal(shards[1].got, 400);
    uint64_t delay = worker_figures(0).queue_delay;
    weir_crew_close(crew);
    return delay;
}

/* What comes while the worker sleeps does not wait; half of the time that it was busy is the guess
 * for the rest, or all of it when there was more. */
static void test_queue_delay_is_estimated(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    shards[1].cost = WEIR_MSEC;
    for (int i = 0; i < 200; i++) {
        virtual_now += 5 * WEIR_MSEC;
        arrive(0, 1, 1);
        (void)weir_crew_run(crew, 0);
    }
    assert_int_equal(worker_figures(0).queue_delay, 0);
    weir_crew_close(crew);
    assert_in_range(measure_delay(false), 1900 * WEIR_USEC, 2100 * WEIR_USEC);
    /* Here a window has one of the two only: the last one weighs more. */
    assert_in_range(measure_delay(true), 3600 * WEIR_USEC, 4400 * WEIR_USEC);
}

/* A shard that nothing happens to costs nothing. */
static void test_idle_shards_are_not_asked(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    uint64_t asked = shards[4].asked;
    shards[3].due = WEIR_NEVER;
    for (int i = 0; i < 50; i++) {
        arrive(0, 1, 1);
        (void)weir_crew_run(crew, 0);
        (void)weir_crew_next_timeout(crew, 0);
        virtual_now += WEIR_MSEC;
    }
    assert_int_equal(shards[4].asked, asked);
    assert_true(shards[1].asked >= 50);
    /* One that is due is called, once. */
    shards[1].due = virtual_now + 20 * WEIR_MSEC;
    arrive(0, 1, 1);
    (void)weir_crew_run(crew, 0);
    weir_nsec put_out = weir_crew_next_timeout(crew, 0);
    assert_true(put_out <= virtual_now + 10 * WEIR_MSEC);
    virtual_now += 20 * WEIR_MSEC;
    (void)weir_crew_run(crew, 0);
    (void)weir_crew_run(crew, 0);
    assert_int_equal(shards[1].timeouts, 1);
    weir_crew_close(crew);
}

/* --- more than there is time for -------------------------------------------------------------- */

/* The first of three queues is full all the time. Each run takes 1,024 packets, and sends half as
 * many. */
static void test_overload_bounds_output(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    queues[0].shard = 1;
    queues[0].flood = UINT32_MAX;
    shards[2].unsent = UINT32_MAX;
    arrive(1, 2, 1);
    for (int i = 0; i < 10; i++) {
        uint64_t got = shards[1].got;
        uint64_t sent = queues[0].sent;
        shards[3].due = virtual_now;
        arrive(2, 3, 1);
        (void)weir_crew_run(crew, 0);
        got = shards[1].got - got;
        sent = queues[0].sent - sent;
        assert_in_range(got, 1000, 3000);
        assert_in_range(sent, 64, got / 2 + 64);
        assert_int_equal(shards[3].timeouts, i + 1);
    }
    weir_crew_close(crew);
}

/* What a queue takes is what endpoints may make, and it may change its mind. */
static void test_queue_says_what_it_takes(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    for (int is_all = 1; is_all >= 0; is_all--) {
        struct weir_driver *driver = &queues[0].driver;
        driver->is_joined = driver->is_unchecked = driver->is_gathered = is_all;
        driver->run_bytes_max = is_all ? 9000 : 0;
        driver->run_segments_max = is_all ? 6 : 1;
        driver->headroom_bytes = is_all ? 54 : 0;
        for (int i = 0; i < 2; i++) { /* it is asked when something is sent */
            shards[2].unsent = 1;
            arrive(0, 2, 1);
            (void)weir_crew_run(crew, 0);
        }
        const struct weir_tx *tx = &shards[2].tx;
        assert_int_equal(tx->is_joined, is_all);
        assert_int_equal(tx->is_unchecked, is_all);
        assert_int_equal(tx->is_gathered, is_all);
        assert_int_equal(tx->run_bytes_max, driver->run_bytes_max);
        assert_int_equal(tx->run_segments_max, driver->run_segments_max);
        assert_int_equal(tx->headroom_bytes, driver->headroom_bytes);
    }
    weir_crew_close(crew);
}

/* Nor does a queue that fails keep anything from its time. */
static void test_broken_queue_stops_nobody(void **state)
{
    (void)state;
    open_virtual(1, NULL);
    (void)weir_crew_run(crew, 0);
    queues[0].shard = 1;
    queues[0].flood = UINT32_MAX;
    queues[1].is_broken = true;
    shards[2].unsent = 10;
    shards[3].due = virtual_now;
    arrive(2, 3, 1);
    for (int i = 0; i < 4; i++) {
        (void)weir_crew_run(crew, 0);
    }
    assert_true(shards[1].got >= UINT64_C(4) * BURST);
    assert_int_equal(shards[3].got, 1);
    assert_int_equal(shards[3].timeouts, 1);
    arrive(2, 2, 1);
    for (int i = 0; i < 4; i++) {
        (void)weir_crew_run(crew, 0);
    }
    assert_int_equal(queues[0].sent, 10);
    assert_true(worker_figures(0).driver_errors >= 4);
    weir_crew_close(crew);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_limits_are_checked(void **state)
{
    static const struct weir_crew_limits bad[] = {
        {.busy_permille = 1001},      {.busy_permille = 500, .idle_permille = 500},
        {.idle_permille = 500},       {.workers_min = 3, .workers_max = 2},
        {.workers_max = WORKERS + 1}, {.workers_min = WORKERS + 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(open_with(1, &virtual_clock, &bad[i]), WEIR_ERR_INVALID);
    }
}

static void test_adapt_keeps_to_bounds(void **state)
{
    (void)state;
    assert_int_equal(open_with(1, &virtual_clock,
                               &(struct weir_crew_limits){.workers_min = 2, .workers_max = 2}),
                     WEIR_OK);
    assert_false(weir_crew_adapt(crew, virtual_now)); /* not started */
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    assert_true(weir_crew_adapt(crew, virtual_now));
    assert_int_equal(weir_crew_workers(crew), 2);
    assert_false(weir_crew_adapt(crew, virtual_now)); /* not settled */
    settle();
    assert_int_equal(weir_crew_resize(crew, 3), WEIR_OK);
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_AGAIN);
    assert_false(weir_crew_adapt(crew, virtual_now));
    settle();
    assert_true(weir_crew_adapt(crew, virtual_now));
    settle();
    assert_int_equal(weir_crew_workers(crew), 2);
    weir_crew_stop(crew);
    assert_false(weir_crew_adapt(crew, virtual_now));
    weir_crew_close(crew);
}

/* Without limits the number is the user's alone. */
static void test_adapt_without_limits(void **state)
{
    (void)state;
    open_virtual(2, NULL);
    for (int i = 0; i < 1000; i++) {
        virtual_now += 100 * WEIR_MSEC;
        for (uint32_t w = 0; w < 2; w++) {
            (void)weir_crew_run(crew, w);
        }
        assert_false(weir_crew_adapt(crew, virtual_now));
    }
    assert_int_equal(weir_crew_workers(crew), 2);
    weir_crew_close(crew);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void notify(int fd)
{
    uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void await_settled(void)
{
    for (int i = 0; i < 300000 && !weir_crew_is_settled(crew); i++) {
        (void)usleep(100);
    }
    assert_true(weir_crew_is_settled(crew));
}

/* Whoever runs the shard waits for its descriptor. */
static void test_watched_descriptor_moves(void **state)
{
    static const uint32_t plan[] = {1, 2, 3, 2, 1, 3, 1};
    (void)state;
    assert_int_equal(open_with(1, NULL, NULL), WEIR_OK);
    uint32_t s = shard_of(2, 3);
    shards[s].fd = eventfd(0, EFD_NONBLOCK);
    assert_true(shards[s].fd >= 0);
    weir_crew_watch(crew, s, shards[s].fd);
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    for (size_t i = 0; i < sizeof(plan) / sizeof(plan[0]); i++) {
        assert_int_equal(weir_crew_resize(crew, plan[i]), WEIR_OK);
        await_settled();
        uint64_t timeouts = __atomic_load_n(&shards[s].timeouts, __ATOMIC_ACQUIRE);
        uint64_t events = __atomic_load_n(&shards[s].events, __ATOMIC_ACQUIRE);
        notify(shards[s].fd);
        await(&shards[s].timeouts, timeouts + 1);
        await(&shards[s].events, events + 1);
    }
    weir_crew_stop(crew);
    assert_true(shard_figures(s).moves >= 4);
    /* Once for each time it was readable: it does not spin. */
    assert_true(shards[s].timeouts < 100);
    (void)close(shards[s].fd);
    weir_crew_close(crew);
}

/* A file cannot be waited for: then it is looked at now and then, a queue's packets come all the
 * same, and so with the next owner. */
static void test_refused_descriptors_are_polled(void **state)
{
    (void)state;
    assert_int_equal(open_with(1, NULL, NULL), WEIR_OK);
    uint32_t s = shard_of(1, 2);
    int fd = memfd_create("test", 0);
    assert_true(fd >= 0);
    weir_crew_watch(crew, s, fd);
    queues[0].fd = fd;
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    await(&shards[s].timeouts, 3);
    arrive(0, shard_of(0, 2), 5);
    await(&shards[shard_of(0, 2)].got, 5);
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_OK);
    await_settled();
    await(&shards[s].timeouts, __atomic_load_n(&shards[s].timeouts, __ATOMIC_ACQUIRE) + 3);
    weir_crew_stop(crew);
    assert_true(worker_figures(0).driver_errors >= 2);
    assert_true(worker_figures(1).driver_errors >= 1);
    weir_crew_close(crew);
    (void)close(fd);
}

/* The edges and the buckets are the same thing. */
static void test_pause_edges(void **state)
{
    struct weir_crew_worker_stats stats;
    (void)state;
    for (uint32_t i = 0; i + 1 < WEIR_CREW_PAUSE_BUCKETS; i++) {
        memset(&stats, 0, sizeof(stats));
        stats.pauses[i] = 1;
        stats.pause_max = WEIR_NEVER;
        assert_int_equal(weir_crew_pause_at(&stats, 1000), weir_crew_pause_edge(i) + 1);
    }
    assert_int_equal(weir_crew_pause_edge(WEIR_CREW_PAUSE_BUCKETS - 1), WEIR_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard_figures),
        cmocka_unit_test(test_figures_move),
        cmocka_unit_test(test_busy_share),
        cmocka_unit_test(test_queue_figures),
        cmocka_unit_test(test_queue_delay_is_estimated),
        cmocka_unit_test(test_idle_shards_are_not_asked),
        cmocka_unit_test(test_overload_bounds_output),
        cmocka_unit_test(test_queue_says_what_it_takes),
        cmocka_unit_test(test_broken_queue_stops_nobody),
        cmocka_unit_test(test_limits_are_checked),
        cmocka_unit_test(test_adapt_keeps_to_bounds),
        cmocka_unit_test(test_adapt_without_limits),
        cmocka_unit_test(test_watched_descriptor_moves),
        cmocka_unit_test(test_refused_descriptors_are_polled),
        cmocka_unit_test(test_pause_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
