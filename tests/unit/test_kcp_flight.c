/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_flight.c - when KCP resends, how often, how it backs off, asks for the window and gives
 * up: a session against hand-made segments.
 */
#include "kcp_solo.h"

static void send_text(const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(weir_kcp_send(solo.conn, text, strlen(text)), WEIR_OK);
    }
}

/* The resends of sn 0 in ms after it was sent first, up to count of them. */
static void collect_resends(uint32_t *at_ms, unsigned count)
{
    unsigned found = 0;
    for (uint32_t ms = 1; ms < 100000 && found < count; ms++) {
        solo.now += WEIR_MSEC;
        solo_output();
        for (uint32_t k = 0; k < solo.out_count; k++) {
            if (solo.out[k].cmd == WEIR_KCP_PUSH && solo.out[k].sn == 0) {
                assert_true(found < count);
                at_ms[found++] = ms;
            }
        }
    }
    assert_int_equal(found, count);
}

/* Flushes and the calendar are some milliseconds apart. */
static void assert_near(uint32_t value, uint32_t wanted)
{
    assert_in_range(value, wanted, wanted + 14);
}

static void first_timeouts(uint8_t nodelay, const uint32_t wanted[4])
{
    uint32_t at_ms[4];
    solo_defaults();
    solo.config.tuning.nodelay = nodelay;
    solo.config.connect_timeout = 0;
    solo_open();
    solo_connect();
    send_text("x", 1);
    solo_output();
    assert_int_equal(solo.out_count, 1);
    collect_resends(at_ms, 4);
    uint32_t before = 0;
    for (unsigned i = 0; i < 4; i++) {
        assert_near(at_ms[i] - before, wanted[i]);
        before = at_ms[i];
    }
    solo_close();
}

static void timeouts_double_without_nodelay(void **state)
{
    (void)state;
    first_timeouts(0, (const uint32_t[]){225, 400, 800, 1600}); /* the first with rto / 8 on top */
}

static void timeouts_grow_by_half_with_nodelay(void **state)
{
    (void)state;
    first_timeouts(1, (const uint32_t[]){200, 300, 450, 675});
}

static void timeouts_grow_linearly_with_nodelay_2(void **state)
{
    (void)state;
    first_timeouts(2, (const uint32_t[]){200, 300, 400, 500});
}

static void rto_follows_the_samples(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.nodelay = 1;
    solo_open();
    solo_connect();
    send_text("x", 1);
    solo_output();
    uint32_t ts = solo.out[0].ts;
    solo.now += 50 * WEIR_MSEC;
    solo_deliver_ack(0, ts, 1);
    struct weir_kcp_conn_stats stats;
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.rtt, 50 * WEIR_MSEC);
    assert_int_equal(stats.rtt_variance, 25 * WEIR_MSEC);
    assert_int_equal(stats.rto, 150 * WEIR_MSEC); /* 50 + 4 * 25 */
    send_text("x", 1);
    solo.now += 20 * WEIR_MSEC;
    solo_output();
    ts = solo.out[0].ts;
    solo.now += 90 * WEIR_MSEC;
    solo_deliver_ack(1, ts, 2);
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.rtt, 55 * WEIR_MSEC); /* (7 * 50 + 90) / 8 */
    assert_int_equal(stats.rtt_variance, 28 * WEIR_MSEC);
    solo_close();
}

/* --- fast resend ------------------------------------------------------------------------------ */

static void open_fast(uint8_t resend, unsigned segments)
{
    solo_defaults();
    solo.config.tuning.resend = resend;
    solo.config.tuning.rto_min_ms = 5000;
    solo_open();
    solo_connect();
    send_text("x", segments);
    solo_output();
    assert_int_equal(solo.out_count, segments);
    solo.now += 30 * WEIR_MSEC;
}

static void fast_resend_after_so_many_batches(void **state)
{
    (void)state;
    for (uint8_t resend = 1; resend <= 4; resend++) {
        open_fast(resend, 8);
        uint32_t ts = solo_ms() - 30;
        for (uint32_t i = 1; i <= resend; i++) {
            assert_int_equal(solo_run(12, 0), 0);
            solo_deliver_ack(i, ts, 0);
        }
        assert_int_equal(solo_run(12, 0), 1);
        assert_int_equal(solo_run(100, 0), 0);
        assert_int_equal(weir_kcp_stats(solo.kcp)->resent_fast, 1);
        solo_close();
    }
}

static void one_batch_counts_once(void **state)
{
    (void)state;
    open_fast(2, 8);
    uint32_t ts = solo_ms() - 30;
    for (uint32_t sn = 1; sn < 8; sn++) {
        solo_add_ack(sn, ts, 0, 128);
    }
    solo_deliver();
    assert_int_equal(solo_run(50, 0), 0);
    solo_close();
}

static void acks_of_what_was_sent_before_do_not_count(void **state)
{
    (void)state;
    open_fast(1, 8);
    uint32_t ts = solo_ms() - 30;
    solo_deliver_ack(3, ts, 0);
    assert_int_equal(solo_run(20, 0), 1);
    assert_int_equal(solo_run(20, 1), 0); /* went with it */
    /* These were sent before the resend of 0, 1 and 2: they say nothing about it. */
    solo_deliver_ack(4, ts, 0);
    solo_deliver_ack(5, ts, 0);
    assert_int_equal(solo_run(50, 0), 0);
    assert_int_equal(weir_kcp_stats(solo.kcp)->resent_fast, 3);
    solo_close();
}

static void fast_resend_stops_at_the_limit(void **state)
{
    (void)state;
    unsigned resent = 0;
    open_fast(1, 1);
    for (uint32_t sn = 1; sn <= 12; sn++) {
        send_text("y", 1);
        resent += solo_run(12, 0);
        solo_deliver_ack(sn, solo_ms(), 0);
        resent += solo_run(12, 0);
    }
    assert_int_equal(resent, FASTLIMIT);
    solo_close();
}

static void early_retransmit_needs_an_empty_queue(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.resend = 3;
    solo.config.tuning.is_early_retransmit = true;
    solo.config.tuning.rto_min_ms = 5000;
    solo_open();
    solo_connect();
    send_text("x", 4);
    solo_output();
    uint32_t ts = solo_ms();
    solo.now += 30 * WEIR_MSEC;
    solo_deliver_ack(1, ts, 0);
    assert_int_equal(solo_run(20, 0), 1);
    assert_int_equal(weir_kcp_stats(solo.kcp)->resent_early, 1);
    solo_close();
}

static void reordering_is_tolerated_for_a_while(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.resend = 1;
    solo.config.tuning.is_reorder_tolerant = true;
    solo.config.tuning.rto_min_ms = 5000;
    solo_open();
    solo_connect();
    send_text("x", 3);
    solo_output();
    uint32_t ts = solo_ms();
    solo.now += 100 * WEIR_MSEC;
    solo_deliver_ack(1, ts, 0); /* a round trip of 100 ms: wait until 125 */
    assert_int_equal(solo_run(15, 0), 0);
    assert_int_equal(solo_run(25, 0), 1);
    solo_close();
}

/* --- windows ---------------------------------------------------------------------------------- */

static void a_closed_window_is_asked_about(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.idle_timeout = 0;
    solo.config.keepalive = 0;
    solo_open();
    solo_connect();
    send_text("x", 1);
    solo_output();
    solo_add_ack(0, solo_ms(), 1, 0);
    solo_deliver();
    send_text("y", 1);
    uint32_t asked_ms[3];
    unsigned asked = 0;
    uint32_t start = solo_ms();
    for (uint32_t i = 0; i < 40000 && asked < 3; i++) {
        solo.now += WEIR_MSEC;
        solo_output();
        for (uint32_t k = 0; k < solo.out_count; k++) {
            assert_int_equal(solo.out[k].cmd, WEIR_KCP_WASK);
            asked_ms[asked++] = solo_ms() - start;
        }
    }
    assert_int_equal(asked, 3);
    assert_near(asked_ms[0], PROBE_FIRST_MS);
    assert_near(asked_ms[1] - asked_ms[0], PROBE_FIRST_MS * 3 / 2);
    assert_near(asked_ms[2] - asked_ms[1], PROBE_FIRST_MS * 9 / 4);
    /* The answer lets it go on. */
    solo_add(
        &(struct weir_kcp_segment){.conv = SOLO_CONV, .cmd = WEIR_KCP_WINS, .wnd = 9, .una = 1});
    solo_deliver();
    assert_int_equal(solo_run(12, 1), 1);
    solo_close();
}

static void a_question_is_answered(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_connect();
    solo_add(&(struct weir_kcp_segment){.conv = SOLO_CONV, .cmd = WEIR_KCP_WASK, .wnd = 9});
    solo_deliver();
    solo_output();
    assert_int_equal(solo.out_count, 1);
    assert_int_equal(solo.out[0].cmd, WEIR_KCP_WINS);
    assert_int_equal(solo.out[0].wnd, 128);
    assert_int_equal(solo.out[0].conv, SOLO_CONV);
    solo_close();
}

static void the_windows_bound_what_is_in_flight(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.send_window = 20;
    solo_open();
    solo_connect();
    send_text("x", 50);
    solo_output();
    assert_int_equal(solo.out_count, 20);
    solo_add_ack(0, solo_ms(), 5, 7); /* the peer has room for 7 from 5 on: they are there */
    solo_deliver();
    solo_output();
    assert_int_equal(solo.out_count, 0);
    solo_add_ack(19, solo_ms(), 20, 7);
    solo_deliver();
    solo_output();
    assert_int_equal(solo.out_count, 7);
    solo_close();
}

static void the_congestion_window_starts_small_and_shrinks(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.is_window_fixed = false;
    solo.config.connect_timeout = 0;
    solo_open();
    solo_connect();
    send_text("x", 30);
    solo_output();
    assert_int_equal(solo.out_count, 1);
    for (uint32_t una = 1; una <= 3; una++) {
        solo.now += 20 * WEIR_MSEC;
        solo_add_ack(una - 1, solo_ms(), una, 128);
        solo_deliver();
        solo_output();
    }
    assert_true(weir_kcp_awake_of(solo.conn)->cwnd > 1);
    assert_true(solo_run(2000, 3) > 0);
    assert_int_equal(weir_kcp_awake_of(solo.conn)->cwnd, 1);
    solo_close();
}

/* The window that a timeout halves is what may be in flight, not what the peer would allow. */
static void a_timeout_halves_what_may_be_in_flight(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.is_window_fixed = false;
    solo.config.tuning.send_window = 8;
    solo_open();
    solo_connect();
    send_text("x", 60);
    solo_output();
    struct awake *awake = weir_kcp_awake_of(solo.conn);
    awake->cwnd = 40;
    assert_int_equal(solo_run(300, 0), 1);
    assert_int_equal(awake->cwnd, 1);
    assert_int_equal(awake->ssthresh, 4);
    solo_close();
}

/* What was passed over stays in flight, what passed it does not. */
static void in_flight_is_what_has_not_arrived(void **state)
{
    (void)state;
    struct weir_kcp_conn_stats stats;
    open_fast(0, 8);
    uint32_t ts = solo_ms() - 30;
    solo_deliver_ack(2, ts, 0);
    solo_deliver_ack(3, ts, 0);
    solo_deliver_ack(3, ts, 0);
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.in_flight, 6);
    solo_deliver_ack(1, ts, 3); /* 3 is passed behind it */
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.in_flight, 4);
    solo_deliver_ack(5, ts, 4);
    solo_deliver_ack(4, ts, 4);
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.in_flight, 2);
    solo_deliver_ack(7, ts, 8);
    weir_kcp_conn_stats(solo.conn, &stats);
    assert_int_equal(stats.in_flight, 0);
    solo_close();
}

/* A shorter interval, tuned later, counts for timeouts too. */
static void timeouts_follow_the_tuning(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.interval_ms = 100;
    solo_open();
    struct weir_kcp_tuning tuning = solo.config.tuning;
    tuning.interval_ms = 3;
    tuning.nodelay = 1;
    assert_int_equal(weir_kcp_tune(solo.kcp, &tuning), WEIR_OK);
    solo_connect();
    solo.now += 9 * WEIR_MSEC; /* a long tick would begin just before it is due */
    send_text("x", 1);
    solo_output();
    assert_int_equal(solo_run(RTO_FIRST_MS - 1, 0), 0);
    assert_int_equal(solo_run(6, 0), 1);
    solo_close();
}

/* --- the end of it ---------------------------------------------------------------------------- */

static void a_dead_link_is_noticed(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.nodelay = 2;
    solo.config.tuning.dead_link = 5;
    solo.config.connect_timeout = 0;
    solo_open();
    solo_connect();
    send_text("x", 1);
    solo_output();
    assert_int_equal(solo_run(10000, 0), 4);
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_DEAD_LINK);
    assert_int_equal(weir_kcp_stats(solo.kcp)->sessions, 0);
    solo_close();
}

static void numbers_wrap(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.resend = 2;
    solo_open();
    solo_connect();
    solo.conn->snd_nxt = UINT32_MAX - 3; /* dormant still: the record counts */
    solo.conn->rcv_nxt = UINT32_MAX - 1;
    send_text("x", 10);
    solo_output();
    assert_int_equal(solo.out_count, 10);
    assert_int_equal(solo.out[9].sn, 5);
    uint32_t ts = solo_ms();
    solo.now += 20 * WEIR_MSEC;
    solo_deliver_ack(1, ts, UINT32_MAX - 3);
    solo_deliver_ack(2, ts, UINT32_MAX - 3);
    assert_int_equal(solo_run(12, UINT32_MAX), 1); /* passed over twice, across the wrap */
    solo_deliver_ack(5, ts, 6);
    assert_int_equal(weir_kcp_awake_of(solo.conn)->snd_una, 6);
    solo_add_push(0, 0, "C");
    solo_add_push(UINT32_MAX, 0, "B");
    solo_add_push(UINT32_MAX - 1, 0, "A");
    solo_deliver();
    assert_int_equal(solo.messages, 3);
    assert_memory_equal(solo.got, "ABC", 3);
    solo_close();
}

static void what_was_never_sent_is_not_acknowledged(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_connect();
    send_text("x", 3);
    solo_output();
    solo_deliver_ack(7, solo_ms(), 9);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_ACK), 1);
    assert_int_equal(weir_kcp_awake_of(solo.conn)->snd_una, 0);
    solo_close();
    open_fast(1, 3); /* nor does it pass over what was */
    solo_deliver_ack(3, solo_ms(), 0);
    assert_int_equal(solo_run(50, 0), 0);
    solo_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts_double_without_nodelay),
        cmocka_unit_test(timeouts_grow_by_half_with_nodelay),
        cmocka_unit_test(timeouts_grow_linearly_with_nodelay_2),
        cmocka_unit_test(rto_follows_the_samples),
        cmocka_unit_test(fast_resend_after_so_many_batches),
        cmocka_unit_test(one_batch_counts_once),
        cmocka_unit_test(acks_of_what_was_sent_before_do_not_count),
        cmocka_unit_test(fast_resend_stops_at_the_limit),
        cmocka_unit_test(early_retransmit_needs_an_empty_queue),
        cmocka_unit_test(reordering_is_tolerated_for_a_while),
        cmocka_unit_test(a_closed_window_is_asked_about),
        cmocka_unit_test(a_question_is_answered),
        cmocka_unit_test(the_windows_bound_what_is_in_flight),
        cmocka_unit_test(the_congestion_window_starts_small_and_shrinks),
        cmocka_unit_test(a_timeout_halves_what_may_be_in_flight),
        cmocka_unit_test(in_flight_is_what_has_not_arrived),
        cmocka_unit_test(timeouts_follow_the_tuning),
        cmocka_unit_test(a_dead_link_is_noticed),
        cmocka_unit_test(numbers_wrap),
        cmocka_unit_test(what_was_never_sent_is_not_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
