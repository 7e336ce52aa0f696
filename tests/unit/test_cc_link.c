/* SPDX-License-Identifier: MIT */
/*
 * test_cc_link.c - what the congestion controllers reach over a modelled bottleneck.
 *
 * The link has 100 Mbit/s, 40 ms and a queue of 250 KB unless a test says otherwise. Virtual time,
 * fixed seeds: every run is the same.
 */
#include "seed.h"

#include "link_model.h"

enum {
    SEEDS = 3,
    BULK_BYTES = 100000000
};

#define TIME_LIMIT (200 * WEIR_SEC)

static struct link_model link_state;

/* Throughput of one bulk transfer in kbit/s. */
static uint64_t run_bulk(enum weir_cc_kind kind, uint32_t loss_ppm, uint32_t ack_every,
                         uint64_t seed)
{
    struct link_model *link = &link_state;
    link_init(link, seed);
    link->loss_ppm = loss_ppm;
    link->ack_every = ack_every;
    struct link_flow *flow = link_add_flow(link, kind, 0, seed);
    link_run(link, TIME_LIMIT, BULK_BYTES);
    return flow->acked_bytes * 8 * 1000000 / weir_max_u64(link->now, 1);
}

static void check_bulk(enum weir_cc_kind kind, uint32_t loss_ppm, uint64_t kbit_min)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (uint32_t ack_every = 1; ack_every <= 2; ack_every++) {
            CHECK(seed, run_bulk(kind, loss_ppm, ack_every, seed) >= kbit_min);
        }
    }
}

static void clean_link_is_filled(void **state)
{
    (void)state;
    check_bulk(WEIR_CC_CUBIC, 0, 96000);
    check_bulk(WEIR_CC_BBR, 0, 95000);
    check_bulk(WEIR_CC_NEWRENO, 0, 90000);
}

static void bbr_stands_random_loss(void **state)
{
    (void)state;
    check_bulk(WEIR_CC_BBR, 1000, 94000);
    check_bulk(WEIR_CC_BBR, 10000, 91000);
    check_bulk(WEIR_CC_BBR, 50000, 84000);
}

static void slow_start_does_not_flood_the_queue(void **state)
{
    (void)state;
    (void)run_bulk(WEIR_CC_CUBIC, 0, 1, 1);
    /* A window that doubles once too often loses over 600 of the 830 packets in it. */
    assert_in_range(link_state.drops, 1, 300);
    /* A queue as deep as the path is never overrun by BBR. */
    link_init(&link_state, 1);
    link_state.queue_bytes = 2000000;
    (void)link_add_flow(&link_state, WEIR_CC_BBR, 0, 1);
    link_run(&link_state, TIME_LIMIT, BULK_BYTES);
    assert_int_equal(link_state.drops, 0);
}

/* Jain's index in 1/1000 of what the flows got from the time from to the time end. */
static uint64_t jain_permille(weir_nsec from, weir_nsec end)
{
    struct link_model *link = &link_state;
    uint64_t before[LINK_FLOWS_MAX] = {0};
    link_run(link, from, UINT64_MAX);
    for (uint32_t i = 0; i < link->flow_count; i++) {
        before[i] = link->flows[i].acked_bytes;
    }
    link_run(link, end, UINT64_MAX);
    uint64_t sum = 0;
    uint64_t squares = 0;
    for (uint32_t i = 0; i < link->flow_count; i++) {
        uint64_t kilobytes = (link->flows[i].acked_bytes - before[i]) / 1000;
        sum += kilobytes;
        squares += kilobytes * kilobytes;
    }
    return sum * sum * 1000 / weir_max_u64(squares * link->flow_count, 1);
}

static void two_flows_share(void **state)
{
    (void)state;
    static const weir_nsec gaps[] = {0, 100 * WEIR_MSEC, 2 * WEIR_SEC};
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            link_init(&link_state, seed);
            link_state.jitter = 100 * WEIR_USEC;
            (void)link_add_flow(&link_state, WEIR_CC_CUBIC, 0, seed);
            (void)link_add_flow(&link_state, WEIR_CC_CUBIC, gaps[i], seed + 100);
            CHECK(seed, jain_permille(15 * WEIR_SEC, 45 * WEIR_SEC) >= 900);
        }
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        link_init(&link_state, seed);
        link_state.jitter = 100 * WEIR_USEC;
        (void)link_add_flow(&link_state, WEIR_CC_BBR, 0, seed);
        (void)link_add_flow(&link_state, WEIR_CC_BBR, WEIR_SEC, seed + 100);
        CHECK(seed, jain_permille(15 * WEIR_SEC, 60 * WEIR_SEC) >= 850);
        /* Neither kind starves the other: 700 is a share of 17 %. */
        link_init(&link_state, seed);
        link_state.jitter = 100 * WEIR_USEC;
        (void)link_add_flow(&link_state, WEIR_CC_CUBIC, 0, seed);
        (void)link_add_flow(&link_state, WEIR_CC_BBR, WEIR_SEC, seed + 100);
        CHECK(seed, jain_permille(15 * WEIR_SEC, 60 * WEIR_SEC) >= 700);
    }
}

/* Throughput in kbit/s from now on, for a time. */
static uint64_t run_for(weir_nsec duration)
{
    struct link_model *link = &link_state;
    weir_nsec start = link->now;
    uint64_t before = link->flows[0].acked_bytes;
    link_run(link, start + duration, UINT64_MAX);
    return (link->flows[0].acked_bytes - before) * 8 * 1000000 / duration;
}

static void bbr_follows_the_path(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        link_init(&link_state, seed);
        struct link_flow *flow = link_add_flow(&link_state, WEIR_CC_BBR, 0, seed);
        (void)run_for(5 * WEIR_SEC);
        /* A tenth of the bandwidth: the old estimate is gone after two probing cycles. */
        link_state.rate /= 10;
        (void)run_for(10 * WEIR_SEC);
        uint64_t drops = link_state.drops;
        CHECK(seed, run_for(10 * WEIR_SEC) >= 9000);
        CHECK(seed, link_state.drops - drops <= 500);
        CHECK(seed, flow->cc.bbr.bw <= link_state.rate * 11 / 10);
        /* Ten times as much: found within a few probes. */
        link_state.rate *= 10;
        (void)run_for(10 * WEIR_SEC);
        CHECK(seed, run_for(5 * WEIR_SEC) >= 90000);
        /* A longer path: the minimum ages out in 10 s. */
        link_state.rtt *= 2;
        (void)run_for(20 * WEIR_SEC);
        CHECK(seed, run_for(5 * WEIR_SEC) >= 90000);
        CHECK(seed, flow->cc.bbr.min_rtt >= 80 * WEIR_MSEC);
    }
}

static void bbr_passes_through_its_states(void **state)
{
    (void)state;
    static const char *const names[] = {"startup",         "drain",           "probe_bw_down",
                                        "probe_bw_cruise", "probe_bw_refill", "probe_bw_up",
                                        "probe_rtt"};
    bool is_seen[7] = {false};
    link_init(&link_state, 1);
    link_state.jitter = 100 * WEIR_USEC;
    struct link_flow *flow = link_add_flow(&link_state, WEIR_CC_BBR, 0, 1);
    /* A second flow keeps the queue from emptying by itself, so that ProbeRTT is needed. */
    (void)link_add_flow(&link_state, WEIR_CC_CUBIC, WEIR_SEC, 2);
    assert_string_equal(weir_cc_state_text(&flow->cc), "startup");
    while (link_state.now < 20 * WEIR_SEC) {
        link_run(&link_state, link_state.now + WEIR_MSEC, UINT64_MAX);
        for (size_t i = 0; i < 7; i++) {
            is_seen[i] |= strcmp(weir_cc_state_text(&flow->cc), names[i]) == 0;
        }
    }
    for (size_t i = 0; i < 7; i++) {
        assert_true(is_seen[i]);
    }
}

static void paths_of_all_sizes_are_filled(void **state)
{
    (void)state;

    static const struct {
        uint64_t rate, queue_bytes;
        weir_nsec rtt, duration;
    } paths[] = {
        {125000, 20000, 100 * WEIR_MSEC, 60 * WEIR_SEC},
        {2500000, 15000, 20 * WEIR_MSEC, 20 * WEIR_SEC},
        {125000000, 500000, 10 * WEIR_MSEC, 3 * WEIR_SEC},
        {12500000, 1000000, 200 * WEIR_MSEC, 30 * WEIR_SEC},
        {12500000, 2000000, 40 * WEIR_MSEC, 10 * WEIR_SEC},
    };

    for (size_t i = 0; i < 5; i++) {
        static const enum weir_cc_kind kinds[] = {WEIR_CC_CUBIC, WEIR_CC_BBR};

        for (size_t k = 0; k < 2; k++) {
            link_init(&link_state, i + 1);
            link_state.rate = paths[i].rate;
            link_state.queue_bytes = paths[i].queue_bytes;
            link_state.rtt = paths[i].rtt;
            link_state.jitter = 50 * WEIR_USEC;
            (void)link_add_flow(&link_state, kinds[k], 0, i);
            uint64_t kbit = run_for(paths[i].duration);
            CHECK(i + 1, kbit >= paths[i].rate * 8 / 1000 * 90 / 100);
        }
    }
}

static void same_seed_same_run(void **state)
{
    (void)state;
    for (int kind = WEIR_CC_CUBIC; kind <= WEIR_CC_NEWRENO; kind++) {
        uint64_t first = run_bulk((enum weir_cc_kind)kind, 2000, 2, 5);
        struct weir_cc before = link_state.flows[0].cc;
        uint64_t sent = link_state.flows[0].sent_packets;
        assert_int_equal(run_bulk((enum weir_cc_kind)kind, 2000, 2, 5), first);
        assert_int_equal(link_state.flows[0].sent_packets, sent);
        assert_int_equal(link_state.flows[0].cc.window_bytes, before.window_bytes);
        assert_int_equal(link_state.flows[0].cc.pacing_rate, before.pacing_rate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_link_is_filled),
        cmocka_unit_test(bbr_stands_random_loss),
        cmocka_unit_test(slow_start_does_not_flood_the_queue),
        cmocka_unit_test(two_flows_share),
        cmocka_unit_test(bbr_follows_the_path),
        cmocka_unit_test(bbr_passes_through_its_states),
        cmocka_unit_test(paths_of_all_sizes_are_filled),
        cmocka_unit_test(same_seed_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
