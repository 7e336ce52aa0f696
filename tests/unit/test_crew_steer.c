/* SPDX-License-Identifier: MIT */
/*
 * test_crew_steer.c - the order of packets, on real sockets that the kernel steers, while workers
 * come and go: no engine is there to put right what would have come too late.
 */
#include "seed.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "weir/weir.h"
#include "wire/rudp.h"

enum {
    SHARDS = 13,
    WORKERS = 4,
    CONNS = 64,
    BURST = 32,
    WAITING_MAX = 256, /* sent and not received: less than any socket takes */
    RESIZES = 200,
    PACKET_BYTES = WEIR_RUDP_HEADER_BYTES + 16
};

/* An endpoint that knows nothing but numbers. What a connection got last is its shard's. */
static struct {
    uint64_t expected[CONNS];
    uint64_t received;   /* atomic: by all workers */
    uint64_t disordered; /* atomic */
} world;

static struct weir_route route;

static void count_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    uint64_t disordered = 0;
    (void)now;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(packets[i].length, PACKET_BYTES);
        uint64_t conn = weir_load64(packets[i].data + WEIR_RUDP_HEADER_BYTES);
        uint64_t number = weir_load64(packets[i].data + WEIR_RUDP_HEADER_BYTES + 8);
        assert_true(conn < CONNS);
        assert_int_equal(weir_rudp_route(&route, &packets[i]), *(const uint32_t *)endpoint);
        disordered += number != world.expected[conn];
        world.expected[conn] = number + 1;
    }
    __atomic_fetch_add(&world.disordered, disordered, __ATOMIC_RELAXED);
    __atomic_fetch_add(&world.received, count, __ATOMIC_RELEASE);
}

static void no_timeout(void *endpoint, weir_nsec now)
{
    (void)endpoint;
    (void)now;
}

static weir_nsec no_next_timeout(const void *endpoint)
{
    (void)endpoint;
    return WEIR_NEVER;
}

static enum weir_status no_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    (void)endpoint;
    (void)now;
    (void)tx;
    return WEIR_AGAIN;
}

static const struct weir_verbs verbs = {.input = count_input,
                                        .timeout = no_timeout,
                                        .next_timeout = no_next_timeout,
                                        .output = no_output};

static struct weir_driver *open_udp(struct weir_addr *addr, bool is_queue)
{
    struct weir_udp_config config;
    struct weir_driver *driver = NULL;
    int error = 0;
    weir_udp_config_default(&config);
    config.bind = *addr;
    config.is_port_reused = is_queue;
    config.is_offload_disabled = true; /* joined packets have one fate */
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &error), WEIR_OK);
    *addr = driver->local;
    return driver;
}

/* One packet of a random connection, from the one processor that we stay on: the way through
 * loopback keeps their order. */
static void send_one(struct weir_driver *sender, const struct weir_addr *to,
                     const uint64_t ids[CONNS], uint64_t numbers[CONNS], uint32_t conn)
{
    uint8_t data[PACKET_BYTES] = {WEIR_RUDP_KIND_DATA << 4};
    struct weir_transmit transmit = {.path = {.local = sender->local, .remote = *to},
                                     .data = data,
                                     .length = PACKET_BYTES,
                                     .segment_bytes = PACKET_BYTES};
    uint32_t sent = 0;
    weir_store64(data + 1, ids[conn]);
    weir_store64(data + WEIR_RUDP_HEADER_BYTES, conn);
    weir_store64(data + WEIR_RUDP_HEADER_BYTES + 8, numbers[conn]++);
    assert_int_equal(sender->ops->send(sender, 0, &transmit, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
}

static void wait_for(uint64_t received)
{
    for (int i = 0; __atomic_load_n(&world.received, __ATOMIC_ACQUIRE) < received; i++) {
        assert_true(i < 600000);
        (void)usleep(100);
    }
}

static void pin(cpu_set_t *before)
{
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void resize_while_sending(struct weir_crew *crew, struct weir_driver *sender,
                                 const struct weir_addr *to)
{
    struct weir_prng prng;
    uint64_t ids[CONNS];
    uint64_t numbers[CONNS] = {0};
    uint64_t sent = 0;
    cpu_set_t before;
    weir_prng_init(&prng, 11);
    for (int i = 0; i < CONNS; i++) {
        ids[i] = weir_prng_next(&prng);
    }
    pin(&before); /* not the workers, which run already */
    for (uint32_t resizes = 0; resizes < RESIZES;) {
        uint32_t workers = 1 + (uint32_t)weir_prng_below(&prng, WORKERS);
        resizes += workers != weir_crew_workers(crew) && weir_crew_resize(crew, workers) == WEIR_OK;
        for (int i = 0; i < BURST; i++) {
            send_one(sender, to, ids, numbers, (uint32_t)weir_prng_below(&prng, CONNS));
        }
        sent += BURST;
        wait_for(sent < WAITING_MAX ? 0 : sent - WAITING_MAX);
    }
    wait_for(sent);
    assert_int_equal(world.received, sent);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void report(const struct weir_crew *crew)
{
    uint64_t misrouted = 0;
    uint64_t undrained = 0;
    uint64_t gained = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct weir_crew_worker_stats stats;
        assert_int_equal(weir_crew_worker_stats(crew, w, &stats), WEIR_OK);
        misrouted += stats.misrouted;
        undrained += stats.undrained;
        gained += stats.shards_gained;
    }
    print_message("%llu packets, %llu out of order, %llu sent on, %llu shards handed over\n",
                  (unsigned long long)world.received, (unsigned long long)world.disordered,
                  (unsigned long long)misrouted, (unsigned long long)gained);
    assert_true(gained > 0);
    assert_int_equal(undrained, 0);
    assert_int_equal(world.disordered, 0);
    /* None but what was on its way within the kernel at the moment of a change. */
    assert_true(misrouted * 1000 <= world.received);
}

static void test_order_is_kept(void **state)
{
    struct weir_driver *queues[WORKERS];
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    struct weir_steer *steer = NULL;
    struct weir_addr addr;
    struct weir_addr own;
    uint32_t indexes[SHARDS];
    char problem[WEIR_STEER_PROBLEM_BYTES];
    const uint8_t seed[16] = {3};
    (void)state;
    weir_route_init(&route, seed, SHARDS);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &addr), WEIR_OK);
    own = addr;
    for (int i = 0; i < WORKERS; i++) {
        queues[i] = open_udp(&addr, true);
    }
    struct weir_driver *sender = open_udp(&own, false);
    if (weir_steer_open(queues, WORKERS, &route, WEIR_STEER_RUDP, &steer, problem) != WEIR_OK) {
        print_message("left out: %s\n", problem);
    } else {
        weir_crew_config_default(&config);
        config.shards = SHARDS;
        config.workers_max = WORKERS;
        config.queues = queues;
        config.route = weir_rudp_route;
        config.route_user = &route;
        config.steer = weir_steer_set;
        config.steer_user = steer;
        assert_int_equal(weir_crew_open(&config, &crew), WEIR_OK);
        for (uint32_t s = 0; s < SHARDS; s++) {
            indexes[s] = s;
            weir_crew_attach(crew, s, &indexes[s], &verbs, NULL, NULL);
        }
        assert_int_equal(weir_crew_start(crew), WEIR_OK);
        resize_while_sending(crew, sender, &addr);
        report(crew);
        weir_crew_close(crew);
    }
    weir_steer_close(steer);
    sender->ops->close(sender);
    for (int i = 0; i < WORKERS; i++) {
        queues[i]->ops->close(queues[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
