/* SPDX-License-Identifier: MIT */
/*
 * test_cc.c - congestion controllers rule by rule, driven packet by packet over an ideal path.
 */
#include "seed.h"

#include <string.h>

#include "core/cc.h"
#include "core/cc_internal.h"

enum {
    PACKETS_MAX = 1 << 14
};

#define MSS UINT64_C(1000)
#define RTT (100 * WEIR_MSEC)

/* A connection whose packets are acknowledged or lost in order, as the test says. */
struct path {
    struct weir_cc cc;
    struct weir_rtt rtt;
    weir_nsec now;
    uint64_t in_flight;
    struct weir_cc_packet packets[PACKETS_MAX];
    uint64_t head, tail; /* the next to acknowledge, the next to send */
};

static void path_init(struct path *path, enum weir_cc_kind kind)
{
    memset(path, 0, sizeof(*path));
    path->now = 7 * WEIR_SEC;
    weir_cc_init(&path->cc, kind, MSS, path->now, 1);
    weir_rtt_init(&path->rtt, 333 * WEIR_MSEC);
}

static void send(struct path *path, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct weir_cc_packet *packet = &path->packets[path->tail++ % PACKETS_MAX];
        weir_cc_on_sent(&path->cc, path->now, MSS, path->in_flight, packet);
        path->in_flight += MSS;
    }
}

static void fill_window(struct path *path)
{
    while (path->in_flight + MSS <= path->cc.window_bytes) {
        send(path, 1);
    }
}

static const struct weir_cc_packet *take(struct path *path)
{
    assert_true(path->head < path->tail);
    path->in_flight -= MSS;
    return &path->packets[path->head++ % PACKETS_MAX];
}

static void acknowledge_ce(struct path *path, uint64_t count, uint64_t ce_count)
{
    for (uint64_t i = 0; i < count; i++) {
        const struct weir_cc_packet *packet = take(path);
        weir_nsec sample = path->now - packet->sent_time;
        weir_rtt_sample(&path->rtt, sample, 0);
        struct weir_cc_ack ack = {.now = path->now,
                                  .acked_bytes = MSS,
                                  .in_flight_bytes = path->in_flight,
                                  .newest = packet,
                                  .rtt = &path->rtt,
                                  .rtt_sample = sample,
                                  .ce_count = ce_count};
        weir_cc_on_ack(&path->cc, &ack);
        ce_count = 0;
    }
}

static void acknowledge(struct path *path, uint64_t count)
{
    acknowledge_ce(path, count, 0);
}

static void lose(struct path *path, uint64_t count, bool is_persistent)
{
    const struct weir_cc_packet *newest = NULL;
    for (uint64_t i = 0; i < count; i++) {
        newest = take(path);
    }
    struct weir_cc_loss loss = {.now = path->now,
                                .lost_bytes = count * MSS,
                                .in_flight_bytes = path->in_flight,
                                .newest = newest,
                                .is_persistent = is_persistent};
    weir_cc_on_loss(&path->cc, &loss);
}

static uint64_t packets_in_flight(const struct path *path)
{
    return path->in_flight / MSS;
}

/* Whole rounds with the window filled and everything acknowledged a round trip later. */
static void run_rounds(struct path *path, int count)
{
    for (int i = 0; i < count; i++) {
        fill_window(path);
        path->now += RTT;
        uint64_t flight = packets_in_flight(path);
        for (uint64_t n = 0; n < flight; n++) {
            acknowledge(path, 1);
            fill_window(path);
        }
    }
}

static const enum weir_cc_kind window_kinds[] = {WEIR_CC_NEWRENO, WEIR_CC_CUBIC};

static void names_go_both_ways(void **state)
{
    (void)state;

    static const enum weir_cc_kind kinds[] = {WEIR_CC_CUBIC, WEIR_CC_BBR, WEIR_CC_NEWRENO,
                                              WEIR_CC_NONE};

    for (size_t i = 0; i < 4; i++) {
        enum weir_cc_kind kind = WEIR_CC_CUBIC;
        assert_true(weir_cc_parse(weir_cc_text(kinds[i]), &kind) == WEIR_OK);
        assert_int_equal(kind, kinds[i]);
    }
    enum weir_cc_kind kind = WEIR_CC_BBR;
    assert_true(weir_cc_parse("CUBIC", &kind) == WEIR_ERR_INVALID);
    assert_true(weir_cc_parse("", &kind) == WEIR_ERR_INVALID);
    assert_int_equal(kind, WEIR_CC_BBR);
}

static void initial_window_follows_packet_size(void **state)
{
    (void)state;

    static const struct {
        uint32_t mss;
        uint64_t window;
    } cases[] = {{1200, 12000}, {1472, 14720}, {1500, 14720}, {9000, 18000}};

    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 2; k++) {
            struct weir_cc cc;
            weir_cc_init(&cc, window_kinds[k], cases[i].mss, 0, 1);
            assert_int_equal(cc.window_bytes, cases[i].window);
            assert_int_equal(cc.pacing_rate, 0);
            /* Found out before anything was acknowledged: computed again. */
            weir_cc_init(&cc, window_kinds[k], 1200, 0, 1);
            weir_cc_set_mss(&cc, cases[i].mss);
            assert_int_equal(cc.window_bytes, cases[i].window);
        }
    }
}

static void packet_size_raises_the_floor(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_NEWRENO);
    fill_window(&path);
    path.now += RTT;
    acknowledge(&path, 1);
    lose(&path, 5, true);
    assert_int_equal(path.cc.window_bytes, 2 * MSS);
    weir_cc_set_mss(&path.cc, 9000);
    assert_int_equal(path.cc.window_bytes, 18000);
    assert_true(path.cc.ssthresh_bytes >= 18000);
    weir_cc_set_mss(&path.cc, 500);
    assert_int_equal(path.cc.window_bytes, 18000);
}

static void slow_start_doubles(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        assert_string_equal(weir_cc_state_text(&path.cc), "slow_start");
        run_rounds(&path, 1);
        assert_int_equal(path.cc.window_bytes, 20 * MSS);
        run_rounds(&path, 2);
        assert_int_equal(path.cc.window_bytes, 80 * MSS);
        /* Twice the window a round trip: 80,000 / 0.1 s * 2. */
        assert_int_equal(path.cc.pacing_rate, 1600000);
    }
}

static void unused_window_does_not_grow(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        for (int i = 0; i < 100; i++) {
            send(&path, 4);
            weir_cc_on_app_limited(&path.cc, path.in_flight);
            path.now += RTT;
            acknowledge(&path, 4);
        }
        assert_int_equal(path.cc.window_bytes, 10 * MSS);
        run_rounds(&path, 3);
        lose(&path, 1, false);
        path.now += RTT;
        acknowledge(&path, packets_in_flight(&path));
        uint64_t window = path.cc.window_bytes;
        for (int i = 0; i < 100; i++) {
            send(&path, window / MSS * 3 / 4);
            weir_cc_on_app_limited(&path.cc, path.in_flight);
            path.now += RTT;
            acknowledge(&path, packets_in_flight(&path));
        }
        assert_int_equal(path.cc.window_bytes, window);
    }
}

static void one_cut_per_round_trip(void **state)
{
    (void)state;
    static const uint64_t after_percent[] = {50, 70};
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        run_rounds(&path, 3);
        path.now += RTT;
        uint64_t cut = UINT64_C(800) * after_percent[k];
        lose(&path, 1, false);
        assert_int_equal(path.cc.window_bytes, cut);
        assert_string_equal(weir_cc_state_text(&path.cc), "recovery");
        path.now += WEIR_MSEC;
        lose(&path, 3, false);
        acknowledge_ce(&path, 10, 5);
        lose(&path, 1, false);
        assert_int_equal(path.cc.window_bytes, cut);
        /* The rest of that flight, then packets sent after the cut. */
        acknowledge(&path, packets_in_flight(&path));
        assert_int_equal(path.cc.window_bytes, cut);
        fill_window(&path);
        path.now += RTT;
        acknowledge(&path, 1);
        assert_string_equal(weir_cc_state_text(&path.cc), "congestion_avoidance");
        /* 1.25 times the window a round trip. */
        assert_int_equal(path.cc.pacing_rate,
                         path.cc.window_bytes * 125 * (WEIR_SEC / 100) / path.rtt.smoothed);
        lose(&path, 1, false);
        assert_true(path.cc.window_bytes <= cut * after_percent[k] / 100 + MSS);
    }
}

static void window_never_below_two_packets(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        for (int i = 0; i < 20; i++) {
            path.now += RTT;
            send(&path, 1);
            path.now += RTT;
            lose(&path, 1, false);
        }
        assert_int_equal(path.cc.window_bytes, 2 * MSS);
    }
}

static void ce_mark_cuts_like_loss(void **state)
{
    (void)state;
    static const uint64_t after_percent[] = {50, 70};
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        run_rounds(&path, 3);
        path.now += RTT;
        acknowledge_ce(&path, 1, 1);
        assert_int_equal(path.cc.window_bytes, UINT64_C(800) * after_percent[k]);
        acknowledge_ce(&path, 1, 1);
        assert_int_equal(path.cc.window_bytes, UINT64_C(800) * after_percent[k]);
        /* Nothing was lost, so nothing can prove spurious. */
        lose(&path, 1, false);
        weir_cc_on_spurious_loss(&path.cc, path.now);
        assert_int_equal(path.cc.window_bytes, UINT64_C(800) * after_percent[k]);
    }
}

static void persistent_congestion_collapses_window(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        run_rounds(&path, 3);
        path.now += 10 * RTT;
        lose(&path, packets_in_flight(&path), true);
        assert_int_equal(path.cc.window_bytes, 2 * MSS);
        assert_string_equal(weir_cc_state_text(&path.cc), "slow_start");
        run_rounds(&path, 2);
        assert_int_equal(path.cc.window_bytes, 8 * MSS);
    }
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 3);
    uint64_t window = path.cc.window_bytes;
    path.now += 10 * RTT;
    lose(&path, packets_in_flight(&path), true);
    assert_int_equal(path.cc.window_bytes, 2 * MSS);
    run_rounds(&path, 2);
    /* BBR draft 5.6.4.4: recovery over, the old window is back as far as the model allows. */
    assert_true(path.cc.window_bytes >= window / 2);
}

static void spurious_loss_is_undone(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct path path;
        path_init(&path, window_kinds[k]);
        run_rounds(&path, 3);
        path.now += RTT;
        lose(&path, 2, false);
        uint64_t cut = path.cc.window_bytes;
        assert_true(cut < 80 * MSS);
        /* One of two was really lost, for all we know. */
        weir_cc_on_spurious_loss(&path.cc, path.now);
        assert_int_equal(path.cc.window_bytes, cut);
        weir_cc_on_spurious_loss(&path.cc, path.now);
        assert_int_equal(path.cc.window_bytes, 80 * MSS);
        assert_true(path.cc.ssthresh_bytes == UINT64_MAX);
        assert_string_equal(weir_cc_state_text(&path.cc), "slow_start");
        /* Once only. */
        weir_cc_on_spurious_loss(&path.cc, path.now);
        lose(&path, 1, false);
        assert_int_equal(path.cc.window_bytes, cut);
    }
}

static void newreno_adds_a_packet_per_window(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_NEWRENO);
    run_rounds(&path, 2);
    lose(&path, 1, false);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    uint64_t window = path.cc.window_bytes;
    assert_int_equal(window, 20 * MSS);
    run_rounds(&path, 10);
    assert_in_range(path.cc.window_bytes, window + 9 * MSS, window + 10 * MSS);
}

static void cubic_function_matches_hand_values(void **state)
{
    (void)state;
    /* W_max 100 packets, cut to 70: K = cbrt(30 / 0.4) = cbrt(75) = 4.2172 s. */
    uint64_t k_ms = weir_cc_cubic_k_ms(30 * MSS, MSS);
    assert_int_equal(k_ms, 4217);
    assert_int_equal(weir_cc_cubic_k_ms(0, MSS), 0);
    /* cbrt(1000 / 0.4) = 13.5721 s, cbrt(0.3 * 1e6 / 0.4) = 90.8560 s. */
    assert_int_equal(weir_cc_cubic_k_ms(UINT64_C(1000) * 1460, 1460), 13572);
    assert_int_equal(weir_cc_cubic_k_ms(UINT64_C(300000) * MSS, MSS), 90856);
    const uint64_t max = 100 * MSS;
    assert_in_range(weir_cc_cubic_window(max, k_ms, 0, MSS), 70000, 70010);
    assert_int_equal(weir_cc_cubic_window(max, k_ms, k_ms, MSS), max);
    assert_int_equal(weir_cc_cubic_window(max, k_ms, k_ms + 1000, MSS), 100400);
    assert_int_equal(weir_cc_cubic_window(max, k_ms, k_ms + 5000, MSS), 150000);
    assert_int_equal(weir_cc_cubic_window(max, k_ms, k_ms - 1000, MSS), 99600);
    assert_int_equal(weir_cc_cubic_window(max, 20000, 0, MSS), 0);
    assert_true(weir_cc_cubic_window(max, 0, UINT64_MAX, MSS) == UINT64_C(1) << 36);
}

static void cubic_window_follows_function(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_CUBIC);
    /* 640 packets at the cut, 448 after: K = cbrt(192 / 0.4) = 7.83 s. */
    run_rounds(&path, 6);
    lose(&path, 1, false);
    assert_int_equal(path.cc.window_bytes, 448 * MSS);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    weir_nsec epoch = path.now;
    /* Each window acknowledged brings it to where the function is a round trip ahead. */
    for (int i = 0; i < 95; i++) {
        run_rounds(&path, 1);
        uint64_t t_ms = (path.now - epoch) / WEIR_MSEC;
        uint64_t expected = weir_cc_cubic_window(640 * MSS, 7830, t_ms, MSS);
        assert_in_range(path.cc.window_bytes, expected * 97 / 100, expected * 103 / 100);
    }
    assert_true(path.cc.window_bytes > 640 * MSS);
}

static void cubic_is_no_slower_than_reno(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_CUBIC);
    run_rounds(&path, 1);
    lose(&path, 1, false);
    path.now += 10 * WEIR_MSEC;
    acknowledge(&path, packets_in_flight(&path));
    assert_int_equal(path.cc.window_bytes, 14 * MSS);
    /* Round trips of 10 ms: the cubic function stands still, 9/17 of a packet each does not; once
     * the 20 packets from before the cut are reached, after 11.3 of them, it is a packet each. */
    for (int i = 1; i <= 17; i++) {
        fill_window(&path);
        path.now += 10 * WEIR_MSEC;
        acknowledge(&path, packets_in_flight(&path));
        if (i == 9) {
            assert_in_range(path.cc.window_bytes, 18500, 19000);
        }
    }
    assert_in_range(path.cc.window_bytes, 25000, 26000);
}

static void cubic_clock_stops_when_idle(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_CUBIC);
    run_rounds(&path, 3);
    lose(&path, 1, false);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    run_rounds(&path, 5);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    uint64_t window = path.cc.window_bytes;
    path.now += 600 * WEIR_SEC;
    weir_cc_on_idle_restart(&path.cc, path.now);
    run_rounds(&path, 1);
    assert_in_range(path.cc.window_bytes, window, window + 3 * MSS);
    /* The same when the application only sends a little, for a minute. */
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    window = path.cc.window_bytes;
    for (int i = 0; i < 600; i++) {
        send(&path, 2);
        path.now += RTT;
        acknowledge(&path, 2);
    }
    run_rounds(&path, 1);
    assert_in_range(path.cc.window_bytes, window, window + 4 * MSS);
}

static void cubic_leaves_slow_start_on_delay(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_CUBIC);
    run_rounds(&path, 4);
    assert_string_equal(weir_cc_state_text(&path.cc), "slow_start");
    /* An eighth more delay, at most 16 ms: conservative from the eighth sample on. */
    path.now += 15 * WEIR_MSEC;
    run_rounds(&path, 1);
    assert_string_equal(weir_cc_state_text(&path.cc), "conservative_slow_start");
    uint64_t window = path.cc.window_bytes;
    fill_window(&path);
    path.now += RTT + 15 * WEIR_MSEC;
    acknowledge(&path, packets_in_flight(&path));
    assert_in_range(path.cc.window_bytes, window + window / 5, window + window / 4);
    for (int i = 0; i < 5; i++) {
        fill_window(&path);
        path.now += RTT + 15 * WEIR_MSEC;
        acknowledge(&path, packets_in_flight(&path));
    }
    assert_string_equal(weir_cc_state_text(&path.cc), "congestion_avoidance");
}

static void none_never_holds_back(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_NONE);
    send(&path, 1000);
    path.now += RTT;
    acknowledge(&path, 500);
    lose(&path, 400, true);
    weir_cc_on_spurious_loss(&path.cc, path.now);
    weir_cc_set_mss(&path.cc, 1400);
    assert_true(path.cc.window_bytes == UINT64_MAX);
    assert_int_equal(path.cc.pacing_rate, 0);
    assert_string_equal(weir_cc_state_text(&path.cc), "none");
    assert_int_equal(weir_cc_send_quantum(&path.cc), 65536);
    assert_int_equal(path.cc.rate.delivered_bytes, 500 * MSS);
}

static void bbr_paces_from_the_first_sample(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    /* 2.77 * 10 packets / 1 ms before any sample, then / the first round trip. */
    assert_int_equal(path.cc.pacing_rate, 27700000);
    fill_window(&path);
    path.now += RTT;
    acknowledge(&path, 1);
    assert_int_equal(path.cc.pacing_rate, 277000);
    assert_int_equal(weir_cc_send_quantum(&path.cc), 2 * MSS);
}

static void bbr_is_not_misled_by_little_data(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    /* BBR draft, example tests: no way out of Startup when app-limited and without loss. */
    for (int i = 0; i < 30; i++) {
        send(&path, 3);
        weir_cc_on_app_limited(&path.cc, path.in_flight);
        path.now += RTT;
        acknowledge(&path, 3);
    }
    assert_string_equal(weir_cc_state_text(&path.cc), "startup");
    assert_false(path.cc.bbr.is_full_bw_reached);
    /* Nor does it lower a bandwidth known to be higher. */
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 4);
    uint64_t bw = path.cc.bbr.bw;
    assert_true(bw > 0);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    weir_cc_on_app_limited(&path.cc, 0);
    for (int i = 0; i < 30; i++) {
        send(&path, 1);
        weir_cc_on_app_limited(&path.cc, path.in_flight);
        path.now += RTT;
        acknowledge(&path, 1);
    }
    assert_true(path.cc.bbr.bw >= bw);
}

static void bbr_leaves_startup_on_ce(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 3);
    path.now += RTT;
    acknowledge_ce(&path, 1, 1);
    fill_window(&path);
    run_rounds(&path, 2);
    assert_true(path.cc.bbr.is_full_bw_reached);
    assert_true(path.cc.bbr.inflight_longterm < UINT64_MAX);
}

static void bbr_undoes_spurious_loss(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 3);
    struct weir_cc_bbr *bbr = &path.cc.bbr;
    lose(&path, 2, false);
    /* As a loss in ProbeBW would leave it. */
    bbr->bw_shortterm = 1000;
    bbr->inflight_shortterm = 1000;
    bbr->inflight_longterm = 1000;
    weir_cc_on_spurious_loss(&path.cc, path.now);
    assert_int_equal(bbr->bw_shortterm, 1000);
    weir_cc_on_spurious_loss(&path.cc, path.now);
    assert_true(bbr->bw_shortterm == UINT64_MAX);
    assert_true(bbr->inflight_shortterm == UINT64_MAX);
    assert_true(bbr->inflight_longterm == UINT64_MAX);
}

static void samples_count_deliveries(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    send(&path, 10);
    assert_int_equal(path.packets[9].in_flight_bytes, 10 * MSS);
    assert_false(path.packets[9].is_app_limited);
    weir_cc_on_app_limited(&path.cc, path.in_flight);
    assert_int_equal(path.cc.rate.app_limited_until, 0);
    path.now += RTT;
    acknowledge(&path, 10);
    assert_int_equal(path.cc.rate.delivered_bytes, 10 * MSS);
    /* 10 packets in one round trip: 100 kB/s. */
    assert_int_equal(path.cc.bbr.bw, 100000);
    weir_cc_on_app_limited(&path.cc, 0);
    send(&path, 1);
    assert_true(path.packets[10].is_app_limited);
    path.now += RTT;
    acknowledge(&path, 1);
    send(&path, 1);
    assert_false(path.packets[11].is_app_limited);
    assert_int_equal(path.packets[11].delivered_bytes, 11 * MSS);
}

/* A whole round in which each packet that one_in divides is lost by itself. */
static void run_lossy_round(struct path *path, uint64_t one_in)
{
    fill_window(path);
    path->now += RTT;
    uint64_t flight = packets_in_flight(path);
    for (uint64_t n = 1; n <= flight; n++) {
        if (n % one_in == 0) {
            lose(path, 1, false);
        } else {
            acknowledge(path, 1);
        }
        fill_window(path);
    }
}

static void bbr_startup_stands_random_loss_only(void **state)
{
    (void)state;
    static struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 5);
    /* A sixth, without any sign of a queue: chance, while rounds are small. */
    run_lossy_round(&path, 6);
    assert_string_equal(weir_cc_state_text(&path.cc), "startup");
    run_lossy_round(&path, 6);
    assert_string_equal(weir_cc_state_text(&path.cc), "startup");
    /* A third: a queue too short to be seen. */
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 5);
    run_lossy_round(&path, 3);
    run_lossy_round(&path, 3);
    assert_true(path.cc.bbr.is_full_bw_reached);
}

static void bytes_without_a_time_are_no_sample(void **state)
{
    (void)state;
    static struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 4);
    const struct weir_cc before = path.cc;
    weir_cc_on_untimed(&path.cc, path.now + WEIR_MSEC, 5 * MSS);
    assert_int_equal(path.cc.rate.delivered_bytes, before.rate.delivered_bytes + 5 * MSS);
    assert_int_equal(path.cc.rate.delivered_time, path.now + WEIR_MSEC);
    assert_int_equal(path.cc.bbr.round_count, before.bbr.round_count);
    assert_int_equal(path.cc.bbr.next_round_delivered, before.bbr.next_round_delivered);
    assert_int_equal(path.cc.window_bytes, before.window_bytes);
}

static void a_cut_begins_an_episode(void **state)
{
    (void)state;
    static struct path path;
    path_init(&path, WEIR_CC_CUBIC);
    run_rounds(&path, 3);
    fill_window(&path);
    path.now += RTT;
    struct weir_cc_loss loss = {.now = path.now, .lost_bytes = MSS, .newest = take(&path)};
    assert_true(weir_cc_on_loss(&path.cc, &loss));
    loss.newest = take(&path);
    assert_false(weir_cc_on_loss(&path.cc, &loss)); /* the same one */
    path.now += WEIR_MSEC;
    fill_window(&path);
    send(&path, 1);
    path.now += RTT;
    while (path.head + 1 < path.tail) {
        acknowledge(&path, 1);
    }
    loss = (struct weir_cc_loss){.now = path.now, .lost_bytes = MSS, .newest = take(&path)};
    assert_true(weir_cc_on_loss(&path.cc, &loss));
}

static void bbr_resumes_after_idle(void **state)
{
    (void)state;
    struct path path;
    path_init(&path, WEIR_CC_BBR);
    run_rounds(&path, 12);
    path.now += RTT;
    acknowledge(&path, packets_in_flight(&path));
    weir_cc_on_app_limited(&path.cc, 0);
    uint64_t bw = path.cc.bbr.bw;
    path.now += 60 * WEIR_SEC;
    fill_window(&path);
    /* The idle time showed an empty queue: no ProbeRTT although the minimum is old, and the
     * bandwidth is remembered. */
    path.now += RTT;
    acknowledge(&path, 1);
    assert_string_not_equal(weir_cc_state_text(&path.cc), "probe_rtt");
    assert_true(path.cc.bbr.bw >= bw);
    assert_true(path.cc.pacing_rate >= bw * 85 / 100);
}

static void do_anything(struct path *path, struct weir_prng *prng)
{
    uint64_t flight = packets_in_flight(path);
    uint64_t some = flight == 0 ? 0 : 1 + weir_prng_below(prng, flight);
    switch (weir_prng_below(prng, 8)) {
    case 0:
        weir_cc_on_spurious_loss(&path->cc, path->now);
        break;
    case 1:
        weir_cc_on_app_limited(&path->cc, path->in_flight);
        break;
    case 2:
        if (some > 0) {
            lose(path, some, weir_prng_below(prng, 8) == 0);
        }
        break;
    case 3:
        acknowledge_ce(path, some, weir_prng_below(prng, 2));
        break;
    case 4:
        acknowledge(path, some);
        break;
    default:
        send(path, flight > PACKETS_MAX / 2 ? 0 : weir_prng_below(prng, 200));
        break;
    }
}

/* Whatever an engine or a peer can make happen, the window keeps its floor and nothing overflows.
 */
static void anything_may_happen(void **state)
{
    (void)state;
    static struct path path;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct weir_prng prng;
        weir_prng_init(&prng, seed);
        enum weir_cc_kind kind = (enum weir_cc_kind)(seed % 3);
        path_init(&path, kind);
        for (int i = 0; i < 3000; i++) {
            path.now += draw_scaled(&prng, 34);
            do_anything(&path, &prng);
            CHECK(seed, path.cc.window_bytes >= 2 * MSS);
            CHECK(seed, path.cc.window_bytes <= UINT64_C(1) << 36);
            CHECK(seed, kind != WEIR_CC_BBR || path.cc.pacing_rate > 0);
            CHECK(seed, weir_cc_state_text(&path.cc) != NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(initial_window_follows_packet_size),
        cmocka_unit_test(packet_size_raises_the_floor),
        cmocka_unit_test(slow_start_doubles),
        cmocka_unit_test(unused_window_does_not_grow),
        cmocka_unit_test(one_cut_per_round_trip),
        cmocka_unit_test(window_never_below_two_packets),
        cmocka_unit_test(ce_mark_cuts_like_loss),
        cmocka_unit_test(persistent_congestion_collapses_window),
        cmocka_unit_test(spurious_loss_is_undone),
        cmocka_unit_test(newreno_adds_a_packet_per_window),
        cmocka_unit_test(cubic_function_matches_hand_values),
        cmocka_unit_test(cubic_window_follows_function),
        cmocka_unit_test(cubic_is_no_slower_than_reno),
        cmocka_unit_test(cubic_clock_stops_when_idle),
        cmocka_unit_test(cubic_leaves_slow_start_on_delay),
        cmocka_unit_test(none_never_holds_back),
        cmocka_unit_test(bbr_paces_from_the_first_sample),
        cmocka_unit_test(bbr_is_not_misled_by_little_data),
        cmocka_unit_test(bbr_leaves_startup_on_ce),
        cmocka_unit_test(bbr_undoes_spurious_loss),
        cmocka_unit_test(bbr_startup_stands_random_loss_only),
        cmocka_unit_test(bytes_without_a_time_are_no_sample),
        cmocka_unit_test(a_cut_begins_an_episode),
        cmocka_unit_test(bbr_resumes_after_idle),
        cmocka_unit_test(samples_count_deliveries),
        cmocka_unit_test(anything_may_happen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
