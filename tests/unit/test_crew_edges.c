/* SPDX-License-Identifier: MIT */
/*
 * test_crew_edges.c - a crew when something is not as it should be: queues that fail, or take or
 * give too much or nothing, workers that are busy, threads that cannot be had.
 *
 * Queues and endpoints are made here; a packet's first byte is its shard.
 */
#include "seed.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    SHARDS = 5,
    WORKERS = 3,
    BIG_PACKETS = 100,
    BIG_BYTES = 2000
};

/* --- queues ----------------------------------------------------------------------------------- */

/* What the test's thread changes, or reads, while workers run is atomic. */
struct queue {
    struct weir_driver driver; /* first */
    struct weir_path path;
    int fd;
    uint32_t given; /* a packet to this shard plus one, once; 0: none */
    uint32_t flood; /* packets to this shard plus one, always */
    uint32_t errors;
    uint32_t refusals; /* so many sends are refused; UINT32_MAX: all */
    uint64_t sent, receives;
    bool is_failing;
    uint8_t *big; /* BIG_PACKETS of BIG_BYTES, given at once */
};

static struct queue queues[WORKERS];
static struct weir_crew *crew;
static weir_nsec virtual_now;

static struct weir_packet packet_to(const struct queue *queue, uint8_t *at, uint32_t shard)
{
    *at = (uint8_t)shard;
    return (struct weir_packet){.data = at, .path = &queue->path, .length = 1};
}

static enum weir_status queue_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *packets,
                                      uint32_t packets_max, uint32_t *count)
{
    struct queue *queue = (struct queue *)(void *)driver;
    (void)now;
    *count = 0;
    driver->is_rx_full = false;
    __atomic_fetch_add(&queue->receives, 1, __ATOMIC_RELAXED);
    if (queue->is_failing) {
        driver->error = EIO;
        return WEIR_ERR_OS;
    }
    for (uint32_t i = 0; queue->big != NULL && i < BIG_PACKETS && i < packets_max; i++) {
        uint8_t *at = queue->big + (size_t)i * BIG_BYTES;
        packets[(*count)++] =
            (struct weir_packet){.data = at, .path = &queue->path, .length = BIG_BYTES};
    }
    queue->big = NULL;
    uint32_t once = __atomic_exchange_n(&queue->given, 0, __ATOMIC_ACQ_REL);
    if (once != 0) {
        packets[*count] = packet_to(queue, room.data + *count, once - 1);
        ++*count;
    }
    uint32_t flood = __atomic_load_n(&queue->flood, __ATOMIC_ACQUIRE);
    if (flood != 0) {
        while (*count < packets_max && *count < room.length) {
            packets[*count] = packet_to(queue, room.data + *count, flood - 1);
            ++*count;
        }
        driver->is_rx_full = true;
    }
    return WEIR_OK;
}

static enum weir_status queue_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    struct queue *queue = (struct queue *)(void *)driver;
    (void)now;
    (void)transmits;
    *sent = 0;
    if (queue->refusals > 0) {
        queue->refusals -= queue->refusals != UINT32_MAX;
        return WEIR_AGAIN;
    }
    *sent = count;
    __atomic_fetch_add(&queue->sent, count, __ATOMIC_RELAXED);
    return WEIR_OK;
}

static int queue_fd(const struct weir_driver *driver)
{
    return ((const struct queue *)(const void *)driver)->fd;
}

static weir_nsec queue_next_timeout(const struct weir_driver *driver)
{
    const struct queue *queue = (const struct queue *)(const void *)driver;
    return __atomic_load_n(&queue->flood, __ATOMIC_RELAXED) != 0 ? 0 : WEIR_NEVER;
}

static void queue_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops queue_ops = {queue_receive, queue_send, queue_fd,
                                                 queue_next_timeout, queue_close};

/* --- endpoints -------------------------------------------------------------------------------- */

static struct shard {
    uint64_t got, works, events;
    uint32_t answers;  /* transmits that it wants to make */
    bool is_greedy;    /* takes all the room there is, always */
    bool is_stalled;   /* does not come back from its events */
    bool was_stalled;  /* it is there */
    uint32_t last_big; /* number of the big packet before */
} shards[SHARDS];

static void endpoint_input(void *endpoint, weir_nsec now, struct weir_packet *packets,
                           uint32_t count)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    for (uint32_t i = 0; i < count; i++) {
        if (packets[i].length == BIG_BYTES) {
            assert_true(packets[i].data[1] > shard->last_big);
            shard->last_big = packets[i].data[1];
        }
    }
    __atomic_fetch_add(&shard->got, count, __ATOMIC_RELEASE);
}

static void endpoint_timeout(void *endpoint, weir_nsec now)
{
    (void)endpoint;
    (void)now;
}

static weir_nsec endpoint_next_timeout(const void *endpoint)
{
    const struct shard *shard = (const struct shard *)endpoint;
    return shard->answers > 0 || shard->is_greedy ? 0 : WEIR_NEVER;
}

static enum weir_status endpoint_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct shard *shard = (struct shard *)endpoint;
    (void)now;
    while ((shard->answers > 0 || shard->is_greedy) && tx->count < tx->transmits_max) {
        tx->transmits[tx->count++] = (struct weir_transmit){
            .data = tx->buffer + tx->used_bytes++, .length = 1, .segment_bytes = 1};
        shard->answers -= shard->answers > 0;
    }
    return shard->answers > 0 || shard->is_greedy ? WEIR_OK : WEIR_AGAIN;
}

static const struct weir_verbs verbs = {.input = endpoint_input,
                                        .timeout = endpoint_timeout,
                                        .next_timeout = endpoint_next_timeout,
                                        .output = endpoint_output};

static void on_events(void *user, weir_nsec now)
{
    struct shard *shard = (struct shard *)user;
    (void)now;
    __atomic_fetch_add(&shard->events, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&shard->is_stalled, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&shard->was_stalled, true, __ATOMIC_RELEASE);
        (void)usleep(1000);
    }
}

/* Each piece of work without bytes is an answer. */
static void on_work(void *user, weir_nsec now, const void *work, uint32_t length)
{
    struct shard *shard = (struct shard *)user;
    (void)now;
    (void)work;
    shard->answers += length == 0;
    __atomic_fetch_add(&shard->works, 1, __ATOMIC_RELEASE);
}

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

static void open_crew(uint32_t workers, const struct weir_clock *clock)
{
    struct weir_crew_config config;
    struct weir_driver *drivers[WORKERS];
    memset(queues, 0, sizeof(queues));
    memset(shards, 0, sizeof(shards));
    virtual_now = WEIR_SEC;
    for (int i = 0; i < WORKERS; i++) {
        queues[i].driver = (struct weir_driver){
            .ops = &queue_ops, .rx_room_bytes = 4096, .datagram_bytes_max = 1000};
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
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_OK);
    weir_crew_on_work(crew, on_work);
    for (uint32_t s = 0; s < SHARDS; s++) {
        weir_crew_attach(crew, s, &shards[s], &verbs, on_events, &shards[s]);
    }
}

static uint32_t shard_of(uint32_t worker, uint32_t workers)
{
    uint32_t s = 0;
    while (weir_crew_owner(crew, s, workers) != worker) {
        s++;
    }
    return s;
}

static void start(void)
{
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    (void)usleep(20000); /* all asleep by now, most likely */
}

static struct weir_crew_worker_stats figures(uint32_t worker)
{
    struct weir_crew_worker_stats stats;
    assert_int_equal(weir_crew_worker_stats(crew, worker, &stats), WEIR_OK);
    return stats;
}

/* Waits at most half a minute until *value is at least wanted. */
static void await(const uint64_t *value, uint64_t wanted)
{
    for (int i = 0; i < 300000 && __atomic_load_n(value, __ATOMIC_ACQUIRE) < wanted; i++) {
        (void)usleep(100);
    }
    assert_true(__atomic_load_n(value, __ATOMIC_ACQUIRE) >= wanted);
}

static void settle(void)
{
    for (int i = 0; i < 300000 && !weir_crew_is_settled(crew); i++) {
        (void)usleep(100);
    }
    assert_true(weir_crew_is_settled(crew));
}

/* --- tests ------------------------------------------------------------------------------------ */

/* A worker that never has to wait must wake the one that it sends a packet on to. */
static void test_full_load_wakes_others(void **state)
{
    (void)state;
    open_crew(2, NULL);
    struct queue *last = &queues[WORKERS - 1]; /* read by the first, and after all else */
    uint32_t mine = shard_of(0, 2);
    uint32_t other = shard_of(1, 2);
    __atomic_store_n(&last->flood, mine + 1, __ATOMIC_RELEASE);
    start();
    await(&shards[mine].got, 100000);
    __atomic_store_n(&last->given, other + 1, __ATOMIC_RELEASE);
    await(&shards[other].got, 1);
    weir_crew_close(crew);
}

/* What a queue did not take is offered again, though nothing else happens. */
static void test_refused_output_is_sent_later(void **state)
{
    (void)state;
    open_crew(1, NULL);
    queues[0].refusals = 3;
    start();
    assert_int_equal(weir_crew_post(crew, 2, "", 0), WEIR_OK);
    await(&queues[0].sent, 1);
    weir_crew_close(crew);
}

/* A worker that is to end does not wait for ever for a queue that takes nothing. */
static void test_stuck_queue_of_leaving_worker(void **state)
{
    (void)state;
    open_crew(2, NULL);
    uint32_t s = shard_of(1, 2);
    queues[1].refusals = UINT32_MAX;
    start();
    assert_int_equal(weir_crew_post(crew, s, "", 0), WEIR_OK);
    await(&shards[s].works, 1);
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_OK);
    settle();
    assert_int_equal(figures(1).unsent, 1);
    for (int i = 0; i < 300000 && figures(0).shards < SHARDS; i++) {
        (void)usleep(100); /* settled means let go; to take is the next step */
    }
    assert_int_equal(figures(0).shards, SHARDS);
    weir_crew_close(crew);
}

/* One that stays lets its shards go though its queue takes nothing. */
static void test_stuck_queue_of_staying_worker(void **state)
{
    (void)state;
    open_crew(1, NULL);
    queues[0].refusals = UINT32_MAX;
    start();
    assert_int_equal(weir_crew_post(crew, 0, "", 0), WEIR_OK);
    await(&shards[0].works, 1);
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_OK);
    settle();
    assert_int_equal(figures(0).unsent, 0);
    weir_crew_close(crew);
}

/* A queue that fails every time and is readable all the time costs a call a millisecond. */
static void test_failing_queue_is_no_busy_loop(void **state)
{
    struct timespec begin;
    struct timespec end;
    (void)state;
    open_crew(1, NULL);
    queues[0].fd = eventfd(1, EFD_CLOEXEC);
    queues[0].is_failing = true;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    start();
    assert_int_equal(weir_crew_post(crew, 1, "", 0), WEIR_OK);
    await(&queues[0].sent, 1); /* all else goes on */
    (void)usleep(200000);
    uint64_t receives = __atomic_load_n(&queues[0].receives, __ATOMIC_RELAXED);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t ms = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000 +
                  (uint64_t)(end.tv_nsec - begin.tv_nsec + 1000000000) / 1000000 - 1000;
    assert_true(receives > 1);
    assert_true(receives <= ms + 2);
    assert_true(figures(0).driver_errors > 0);
    weir_crew_close(crew);
    (void)close(queues[0].fd);
}

/* Nothing to do: nobody wakes up, not once. */
static void test_idle_workers_sleep(void **state)
{
    uint64_t rounds[WORKERS];
    (void)state;
    open_crew(1, NULL);
    start();
    assert_int_equal(weir_crew_resize(crew, WORKERS), WEIR_OK);
    settle();
    (void)usleep(200000);
    for (uint32_t w = 0; w < WORKERS; w++) {
        rounds[w] = figures(w).rounds;
    }
    (void)usleep(300000);
    for (uint32_t w = 0; w < WORKERS; w++) {
        assert_int_equal(figures(w).rounds, rounds[w]);
    }
    weir_crew_close(crew);
}

/* While the other worker stands still and the ring to it is full, this one waits between looks,
 * however much there is to read. */
static void test_full_ring_is_no_busy_loop(void **state)
{
    struct timespec begin;
    struct timespec end;
    (void)state;
    open_crew(2, NULL);
    queues[0].fd = eventfd(1, EFD_CLOEXEC);
    struct shard *slow = &shards[shard_of(1, 2)];
    slow->is_stalled = true;
    start();
    __atomic_store_n(&queues[0].given, shard_of(1, 2) + 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&slow->was_stalled, __ATOMIC_ACQUIRE)) {
        (void)usleep(100);
    }
    __atomic_store_n(&queues[0].flood, shard_of(1, 2) + 1, __ATOMIC_RELEASE);
    while (figures(0).blocked == 0) {
        (void)usleep(100);
    }
    __atomic_store_n(&queues[0].flood, 0, __ATOMIC_RELEASE);
    (void)usleep(10000);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    uint64_t before = figures(0).rounds;
    (void)usleep(200000);
    uint64_t rounds = figures(0).rounds - before;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t us = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000 +
                  (uint64_t)(end.tv_nsec - begin.tv_nsec + 1000000000) / 1000 - 1000000;
    assert_true(rounds <= us / 20 + 2);
    __atomic_store_n(&slow->is_stalled, false, __ATOMIC_RELEASE);
    await(&slow->got, figures(0).packets);
    weir_crew_close(crew);
    (void)close(queues[0].fd);
}

/* More in one receive than the hand has room for, for another worker: some is dropped and counted,
 * the rest keeps its order. */
static void test_more_than_a_hand_holds(void **state)
{
    static uint8_t big[BIG_PACKETS * BIG_BYTES];
    (void)state;
    open_crew(2, &virtual_clock);
    uint32_t other = shard_of(1, 2);
    for (uint32_t i = 0; i < BIG_PACKETS; i++) {
        uint8_t *packet = big + (size_t)i * BIG_BYTES;
        packet[0] = (uint8_t)other;
        packet[1] = (uint8_t)(i + 1);
    }
    queues[0].big = big;
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    for (int i = 0; i < 100; i++) {
        virtual_now += WEIR_MSEC;
        assert_true(weir_crew_run(crew, 0));
        assert_true(weir_crew_run(crew, 1));
    }
    assert_true(figures(0).dropped > 0);
    assert_int_equal(shards[other].got + figures(0).dropped, BIG_PACKETS);
    weir_crew_close(crew);
}

static bool settles(uint32_t workers)
{
    assert_int_equal(weir_crew_resize(crew, workers), WEIR_OK);
    for (int i = 0; i < 2000 && !weir_crew_is_settled(crew); i++) {
        virtual_now += WEIR_MSEC;
        (void)weir_crew_run(crew, 0);
        (void)weir_crew_run(crew, 1);
    }
    return weir_crew_is_settled(crew);
}

/* More is parked than one receive gives, and as much comes in as goes out: what is parked goes
 * first, or the next change could never begin. */
static void test_parked_packets_under_full_load(void **state)
{
    (void)state;
    open_crew(2, &virtual_clock);
    uint32_t other = shard_of(1, 2);
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_OK);
    queues[0].flood = other + 1;
    for (int i = 0; i < 50; i++) {
        virtual_now += WEIR_MSEC;
        assert_true(weir_crew_run(crew, 0));
    }
    assert_true(figures(0).parked > 256);
    for (int i = 0; i < 2000 && !weir_crew_is_settled(crew); i++) {
        virtual_now += WEIR_MSEC;
        (void)weir_crew_run(crew, 0);
        (void)weir_crew_run(crew, 1);
    }
    assert_true(settles(2));
    assert_true(settles(1));
    weir_crew_close(crew);
}

/* A shard that could send for ever gets its turn, and no more. */
static void test_greedy_shard_does_not_starve_others(void **state)
{
    (void)state;
    open_crew(1, &virtual_clock);
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    shards[0].is_greedy = true;
    for (uint32_t s = 1; s < SHARDS; s++) {
        assert_int_equal(weir_crew_post(crew, s, "", 0), WEIR_OK);
    }
    for (int i = 0; i < 20; i++) {
        virtual_now += WEIR_MSEC;
        assert_true(weir_crew_run(crew, 0));
    }
    for (uint32_t s = 1; s < SHARDS; s++) {
        assert_int_equal(shards[s].works, 1);
        assert_int_equal(shards[s].answers, 0);
    }
    weir_crew_close(crew);
}

/* After work the events of the shard are drained. */
static void test_work_is_followed_by_events(void **state)
{
    (void)state;
    open_crew(1, &virtual_clock);
    assert_int_equal(weir_crew_start(crew), WEIR_OK);
    /* Which makes no output and no time-out, for after these they are, too. */
    assert_int_equal(weir_crew_post(crew, 3, "x", 1), WEIR_OK);
    assert_true(weir_crew_run(crew, 0));
    assert_int_equal(shards[3].works, 1);
    assert_int_equal(shards[3].events, 1);
    weir_crew_close(crew);
}

static void test_start_stop_and_same_number(void **state)
{
    (void)state;
    open_crew(2, NULL);
    start();
    assert_int_equal(weir_crew_start(crew), WEIR_ERR_INVALID);
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_OK);
    assert_true(weir_crew_is_settled(crew)); /* nothing was to do */
    assert_int_equal(weir_crew_resize(crew, WORKERS), WEIR_OK);
    weir_crew_stop(crew); /* in the middle of it */
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_crew_start(crew), WEIR_ERR_INVALID);
    weir_crew_close(crew);
    for (int i = 0; i < 50; i++) { /* a change before anybody has looked round */
        open_crew(1, NULL);
        assert_int_equal(weir_crew_start(crew), WEIR_OK);
        assert_int_equal(weir_crew_resize(crew, WORKERS), WEIR_OK);
        if (i % 2 == 0) {
            settle();
            assert_int_equal(weir_crew_resize(crew, 1), WEIR_OK);
        }
        weir_crew_close(crew);
    }
}

static int caught;

static void on_signal(int number)
{
    (void)number;
    __atomic_store_n(&caught, (int)gettid(), __ATOMIC_RELEASE);
}

/* Signals go to the application's threads, never to a worker. */
static void test_signals_are_not_the_workers(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal};
    open_crew(WORKERS, NULL);
    start();
    (void)sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 20; i++) {
        /* Blocked here, it would go to any other thread that takes it. */
        sigset_t set;
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGUSR1);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        (void)kill(getpid(), SIGUSR1);
        (void)usleep(1000);
        assert_int_equal(__atomic_load_n(&caught, __ATOMIC_ACQUIRE), 0);
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        assert_int_equal(__atomic_exchange_n(&caught, 0, __ATOMIC_ACQ_REL), gettid());
    }
    weir_crew_close(crew);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* The second thread of two cannot be had, there is one stack left over: as if nothing had been. */
static void test_no_thread_to_be_had(void **state)
{
    struct rlimit before;
    (void)state;
    open_crew(1, NULL);
    start();
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_OK);
    settle();
    assert_int_equal(weir_crew_resize(crew, 1), WEIR_OK);
    settle();
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit none = {.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    enum weir_status status = weir_crew_resize(crew, 3);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(status, WEIR_ERR_OS);
    assert_int_equal(weir_crew_workers(crew), 1);
    assert_true(weir_crew_is_settled(crew));
    assert_int_equal(weir_crew_resize(crew, 3), WEIR_OK);
    settle();
    uint32_t s = shard_of(2, 3);
    assert_int_equal(weir_crew_post(crew, s, "", 0), WEIR_OK);
    await(&shards[s].works, 1);
    weir_crew_close(crew);
}
#endif

static void test_pauses_by_share(void **state)
{
    struct weir_crew_worker_stats stats;
    (void)state;
    memset(&stats, 0, sizeof(stats));
    assert_int_equal(weir_crew_pause_at(&stats, 500), 0);
    stats.pauses[40] = 98; /* 1,024 to 1,279 ns */
    stats.pauses[43] = 1;  /* 1,792 to 2,047 */
    stats.pauses[127] = 1;
    stats.pause_max = 5000000000;
    assert_int_equal(weir_crew_pause_at(&stats, 500), 1280);
    assert_int_equal(weir_crew_pause_at(&stats, 980), 1280);
    assert_int_equal(weir_crew_pause_at(&stats, 990), 2048);
    assert_int_equal(weir_crew_pause_at(&stats, 1000), (uint64_t)1 << 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_no_thread_to_be_had), /* first, while there are no stacks to reuse */
#endif
        cmocka_unit_test(test_full_load_wakes_others),
        cmocka_unit_test(test_refused_output_is_sent_later),
        cmocka_unit_test(test_stuck_queue_of_leaving_worker),
        cmocka_unit_test(test_stuck_queue_of_staying_worker),
        cmocka_unit_test(test_failing_queue_is_no_busy_loop),
        cmocka_unit_test(test_idle_workers_sleep),
        cmocka_unit_test(test_full_ring_is_no_busy_loop),
        cmocka_unit_test(test_more_than_a_hand_holds),
        cmocka_unit_test(test_parked_packets_under_full_load),
        cmocka_unit_test(test_greedy_shard_does_not_starve_others),
        cmocka_unit_test(test_work_is_followed_by_events),
        cmocka_unit_test(test_start_stop_and_same_number),
        cmocka_unit_test(test_signals_are_not_the_workers),
        cmocka_unit_test(test_pauses_by_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
