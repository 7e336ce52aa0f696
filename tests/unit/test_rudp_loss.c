/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_loss.c - what loss, silence, moves and sleep must not break: the pools come back, a
 * healthy connection is not taken for dead, and what is known of a path stays with that path.
 */
#include "rudp_case.h"

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};
static const struct weir_rudp_send order = {.guarantee = WEIR_RUDP_ORDER};
static const struct weir_rudp_send none = {.guarantee = WEIR_RUDP_NONE};

static struct pair_host *host_at(unsigned host)
{
    return &test.pair.hosts[host];
}

static void blackout(weir_nsec time)
{
    for (unsigned i = 0; i < 2; i++) {
        weir_sim_blackout(test.pair.sim, host_at(i)->base.driver, host_at(1 - i)->base.driver,
                          test.pair.now, test.pair.now + time);
    }
}

static void set_links(const struct weir_sim_link *link)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(weir_sim_set_link(test.pair.sim, host_at(i)->base.driver,
                                           host_at(1 - i)->base.driver, link),
                         WEIR_OK);
    }
}

static uint64_t too_large(unsigned from)
{
    return weir_sim_stats(test.pair.sim, host_at(from)->base.driver, host_at(1 - from)->base.driver)
        .too_large;
}

/* --- records ---------------------------------------------------------------------------------- */

/* Without an acknowledgement, resending by time goes on for as long as the peer counts as alive,
 * however few records there are. */
static void fixed_time_resends_through_silence(void **state)
{
    (void)state;
    test.options.rudp.resend = WEIR_RUDP_RESEND_FIXED_TIME;
    test.options.rudp.packets_max = 16;
    test.options.rudp.dead_timeout = 60 * WEIR_SEC;
    test.options.rudp.idle_timeout = 60 * WEIR_SEC;
    open_connected();
    for (uint32_t i = 0; i < 64; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 1000), WEIR_OK);
    }
    blackout(20 * WEIR_SEC);
    run_for(10 * WEIR_SEC);
    uint64_t sent = conn_of(CLIENT)->packets_sent;
    run_for(10 * WEIR_SEC);
    assert_true(conn_of(CLIENT)->packets_sent > sent + 50);
    run_for(10 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 64);
    assert_int_equal(host_at(CLIENT)->rudp->packets.used, 0);
    close_case();
}

/* Records of lost packets go back though nothing more is sent. */
static void lost_records_are_forgotten(void **state)
{
    (void)state;
    test.options.rudp.resend = WEIR_RUDP_RESEND_FIXED_TIME;
    test.options.link.mtu_bytes = 1204; /* every probe is lost */
    open_connected();
    for (uint32_t i = 0; i < 20; i++) {
        run_for(400 * WEIR_MSEC);
        assert_int_equal(send_number(SERVER, &order, i, 8), WEIR_OK);
    }
    assert_non_null(conn_of(CLIENT)->awake);
    assert_int_equal(host_at(CLIENT)->rudp->packets.used, 0);
    close_case();
}

/* --- silence ---------------------------------------------------------------------------------- */

/* A connection that only receives is not dead because an MTU probe was lost: nothing it sends is
 * acknowledged, and nothing needs to be. */
static void lost_probe_is_no_silence(void **state)
{
    (void)state;
    test.options.rudp.resend = WEIR_RUDP_RESEND_FIXED_TIME;
    test.options.rudp.dead_timeout = 2 * WEIR_SEC;
    test.options.link.mtu_bytes = 1204; /* every probe is lost */
    open_connected();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(send_number(SERVER, &order, i, 8), WEIR_OK);
        run_for(100 * WEIR_MSEC);
        assert_int_equal(test.logs[CLIENT].closed, 0);
    }
    close_case();
}

/* Nor because one PING was: it asks again. A peer that is gone is still noticed. */
static void lost_ping_is_asked_again(void **state)
{
    (void)state;
    test.options.rudp.resend = WEIR_RUDP_RESEND_FIXED_TIME;
    test.options.rudp.dead_timeout = 2 * WEIR_SEC;
    test.options.rudp.idle_timeout = 0;
    open_connected();
    run_for(7 * WEIR_SEC);
    for (unsigned i = 0; i < 3; i++) {
        while (conn_of(CLIENT)->awake == NULL) {
            assert_true(pair_step(&test.pair, test.pair.now + 20 * WEIR_SEC));
        }
        blackout(400 * WEIR_MSEC); /* the heartbeat and its first repetitions */
        run_for(20 * WEIR_SEC);
        assert_int_equal(test.logs[CLIENT].closed + test.logs[SERVER].closed, 0);
    }
    blackout(60 * WEIR_SEC);
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 1);
    assert_int_equal(test.logs[SERVER].closed, 1);
    close_case();
}

/* --- moves ------------------------------------------------------------------------------------ */

static struct weir_addr other_host(void)
{
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse("10.7.7.7:7000", &addr), WEIR_OK);
    return addr;
}

/* The client's packets come from elsewhere from now on, and the server believes it at once. */
static void move_client(void)
{
    struct weir_rudp_conn *conn = conn_of(SERVER);
    struct weir_addr addr = other_host();
    assert_int_equal(weir_sim_rebind(test.pair.sim, host_at(CLIENT)->base.driver, &addr), WEIR_OK);
    conn->awake->candidate = conn->path;
    conn->awake->candidate.remote = addr;
    conn->awake->is_candidate_set = true;
    conn->awake->challenge = 1;
    weir_rudp_path_on_response(conn, 1);
}

static void move_in_mid_flight(enum weir_cc_kind cc)
{
    const uint64_t rate = 20000000; /* bits/s */
    test.options.rudp.cc = cc;
    test.options.link.rate = rate;
    test.options.link.loss_ppm = 10000;
    open_connected();
    for (uint32_t i = 0; i < 120; i++) {
        assert_int_equal(send_number(SERVER, &delivery, i, 32768), WEIR_OK);
    }
    run_for(700 * WEIR_MSEC);
    assert_true(conn_of(SERVER)->awake->in_flight_packets > 10);
    move_client();
    const struct awake *awake = conn_of(SERVER)->awake;
    assert_int_equal(awake->in_flight_bytes, 0);
    uint64_t window = awake->cc.window_bytes;
    while (pair_step(&test.pair, test.pair.now + WEIR_SEC) && test.logs[CLIENT].messages < 120) {
        if (awake->cc.rate.delivered_bytes == 0) {
            assert_true(awake->cc.window_bytes == window);
        }
        assert_true(awake->cc.rate.delivered_bytes < (uint64_t)120 * 40000);
        assert_true(cc != WEIR_CC_BBR || awake->cc.bbr.max_bw_filter[0] < rate);
        assert_true(cc != WEIR_CC_BBR || awake->cc.bbr.max_bw_filter[1] < rate);
    }
    run_for(500 * WEIR_MSEC);
    assert_int_equal(test.logs[CLIENT].messages, 120);
    assert_int_equal(awake->in_flight_bytes, 0);
    assert_int_equal(awake->in_flight_packets, 0);
    close_case();
}

/* What is in flight on the path that is left counts for nothing on the new one. */
static void move_starts_congestion_control_over(void **state)
{
    (void)state;
    move_in_mid_flight(WEIR_CC_BBR);
    reset_case(NULL);
    move_in_mid_flight(WEIR_CC_CUBIC);
}

/* Nor does an MTU probe that is acknowledged from there tell the size of the new path. */
static void move_forgets_probes(void **state)
{
    (void)state;
    open_connected();
    assert_int_equal(conn_of(SERVER)->mtu_bytes, 1472);
    weir_rudp_mtu_on_black_hole(conn_of(SERVER));
    weir_rudp_mtu_start(conn_of(SERVER));
    pair_settle(&test.pair);
    assert_true(conn_of(SERVER)->awake->mtu.is_in_flight);
    run_for(30 * WEIR_MSEC); /* it has arrived, its acknowledgement not yet */
    struct weir_sim_link link = test.options.link;
    link.mtu_bytes = 1250;
    set_links(&link);
    move_client();
    for (unsigned i = 0; i < 500; i++) {
        run_for(10 * WEIR_MSEC);
        assert_true(conn_of(SERVER)->mtu_bytes <= 1250);
    }
    close_case();
}

/* --- datagram size ---------------------------------------------------------------------------- */

/* What a search has found holds for ten minutes, asleep or awake; and who sends nothing needs no
 * search. */
static void wakes_do_not_search_again(void **state)
{
    (void)state;
    test.options.link.mtu_bytes = 1300;
    test.options.rudp.idle_timeout = 0;
    open_connected();
    assert_int_equal(send_number(CLIENT, &delivery, 0, 8), WEIR_OK);
    run_for(10 * WEIR_SEC);
    uint64_t probes = too_large(CLIENT);
    uint16_t mtu = conn_of(CLIENT)->mtu_bytes;
    assert_true(probes > 0 && mtu > 1200);
    for (uint32_t i = 1; i <= 20; i++) {
        assert_null(conn_of(CLIENT)->awake);
        assert_int_equal(send_number(CLIENT, &delivery, i, 8), WEIR_OK);
        run_for(5 * WEIR_SEC);
    }
    assert_int_equal(too_large(CLIENT), probes);
    run_for(700 * WEIR_SEC); /* heartbeats only */
    assert_int_equal(too_large(CLIENT), probes);
    assert_int_equal(conn_of(CLIENT)->mtu_bytes, mtu);
    assert_int_equal(send_number(CLIENT, &delivery, 21, 8), WEIR_OK);
    run_for(10 * WEIR_SEC);
    assert_true(too_large(CLIENT) > probes);
    close_case();
}

/* --- acknowledgements ------------------------------------------------------------------------- */

/* The most and the mean of ranges in the ACKs that the server writes while messages arrive. */
static uint32_t ack_ranges(const struct weir_rudp_send *how, uint32_t count, uint32_t *mean)
{
    uint32_t most = 0;
    uint64_t sum = 0;
    uint32_t samples = 0;
    uint32_t sent = 0;
    while (sent < count) {
        if (send_number(CLIENT, how, sent, 1000) == WEIR_OK) {
            sent++;
            run_for(WEIR_MSEC / 2);
        } else {
            run_for(10 * WEIR_MSEC);
        }
        uint32_t ranges = host_at(SERVER)->rudp->ack.count;
        if (sent > count / 2) {
            most = ranges > most ? ranges : most;
            sum += ranges;
            samples++;
        }
    }
    *mean = (uint32_t)(sum / samples);
    return most;
}

static void acks_stay_short(void **state)
{
    uint32_t mean;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        reset_case(NULL);
        test.options.link.loss_ppm = 10000;
        open_connected();
        uint32_t most = ack_ranges(i == 0 ? &order : &delivery, 6000, &mean);
        print_message("ranges: at most %u, mean %u\n", (unsigned)most, (unsigned)mean);
        assert_true(most < 40 && mean <= 16);
        run_for(5 * WEIR_SEC);
        close_case();
    }
}

/* What is no longer reported is still known: messages without a guarantee would show it. */
static void duplicates_are_noticed(void **state)
{
    static bool is_seen[6000];
    (void)state;
    memset(is_seen, 0, sizeof(is_seen));
    test.options.rudp.cc = WEIR_CC_NONE; /* which reordering does not slow down */
    test.options.link.loss_ppm = 10000;
    test.options.link.duplicate_ppm = 200000;
    test.options.link.reorder_ppm = 50000;
    test.options.link.reorder_delay = 60 * WEIR_MSEC;
    open_connected();
    for (uint32_t i = 0; i < 6000; i++) {
        assert_int_equal(send_number(CLIENT, &none, i, 1000), WEIR_OK);
        run_for(WEIR_MSEC);
    }
    run_for(WEIR_SEC);
    const struct log *log = &test.logs[SERVER];
    for (uint32_t i = 0; i < log->messages; i++) {
        assert_false(is_seen[log->records[i].number]);
        is_seen[log->records[i].number] = true;
    }
    assert_true(log->messages > 5700);
    assert_true(host_at(SERVER)->rudp->stats.drops[WEIR_RUDP_DROP_DUPLICATE] > 1000);
    close_case();
}

/* What arrives below what ACKs still report is reported, else the sender would never learn that it
 * was not lost. Traffic both ways lets each end know soon which ACKs have arrived. */
static void late_packets_are_acknowledged(void **state)
{
    (void)state;
    test.options.link.delay = 5 * WEIR_MSEC;
    test.options.link.loss_ppm = 100000; /* gaps that stay, between which the late ones lie */
    test.options.link.reorder_ppm = 100000;
    test.options.link.reorder_delay = 25 * WEIR_MSEC;
    test.options.rudp.ack_delay = 20 * WEIR_MSEC; /* records of the lost are kept the longer */
    test.options.rudp.cc = WEIR_CC_NONE;
    test.options.rudp.resend = WEIR_RUDP_RESEND_LATER_IDS;
    open_connected();
    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 1000), WEIR_OK);
        assert_int_equal(send_number(SERVER, &delivery, i, 1000), WEIR_OK);
        run_for(WEIR_MSEC);
    }
    for (unsigned host = 0; host < 2; host++) {
        struct weir_rudp_conn_stats stats;
        weir_rudp_conn_stats(conn_of(host), &stats);
        struct weir_sim_stats link = weir_sim_stats(test.pair.sim, host_at(host)->base.driver,
                                                    host_at(1 - host)->base.driver);
        print_message("taken for lost %u, wrongly %u; lost %u, late %u\n",
                      (unsigned)stats.packets_lost, (unsigned)stats.packets_spurious,
                      (unsigned)link.lost, (unsigned)link.reordered);
    }
    run_for(2 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 5000);
    assert_int_equal(test.logs[CLIENT].messages, 5000);
    close_case();
}

/* --- output ----------------------------------------------------------------------------------- */

/* A run shorter than a packet is no run. */
static void short_runs_are_single_packets(void **state)
{
    static uint8_t buffer[1 << 16];
    static struct weir_transmit transmits[64];
    const uint32_t sizes[] = {1, 600, 1199, 1471, 1472, 2000};
    (void)state;
    open_connected();
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 4000), WEIR_OK);
        struct weir_tx tx = {.buffer = buffer,
                             .buffer_bytes = sizeof(buffer),
                             .transmits = transmits,
                             .transmits_max = 64,
                             .run_bytes_max = sizes[i],
                             .run_segments_max = i % 2 == 0 ? 64 : 0};
        assert_int_equal(weir_rudp_output(host_at(CLIENT)->rudp, test.pair.now, &tx), WEIR_AGAIN);
        assert_true(tx.count >= 2);
        for (uint32_t j = 0; j < tx.count; j++) {
            assert_true(tx.transmits[j].length <= 1472);
        }
        run_for(WEIR_SEC);
    }
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 6);
    close_case();
}

/* Datagrams become smaller while every chunk is in use: what is sent again can still be split. */
static void splitting_needs_no_free_chunk(void **state)
{
    (void)state;
    for (unsigned resend = 0; resend <= WEIR_RUDP_RESEND_FIXED_TIME; resend++) {
        reset_case(NULL);
        test.options.rudp.fragments_max = 4;
        test.options.rudp.cc = WEIR_CC_NONE;
        test.options.rudp.resend = (enum weir_rudp_resend)resend;
        open_connected();
        run_for(3 * WEIR_SEC);
        assert_int_equal(conn_of(CLIENT)->mtu_bytes, 1472);
        struct weir_sim_link link = test.options.link;
        link.mtu_bytes = 1250;
        set_links(&link);
        for (uint32_t i = 0; i < 200; i++) {
            assert_int_equal(send_number(CLIENT, &delivery, i, i == 100 ? 60000 : 1400), WEIR_OK);
        }
        run_for(60 * WEIR_SEC);
        assert_int_equal(test.logs[SERVER].messages, 200);
        close_case();
    }
}

/* --- sleep and credit ------------------------------------------------------------------------- */

/* Window that could not be granted, because no connection more could wake, is granted later. */
static void credit_survives_full_house(void **state)
{
    enum {
        AWAKES_MAX = 16
    };

    void *taken[AWAKES_MAX];
    unsigned count = 0;
    (void)state;
    test.options.rudp.message_bytes_max = 1 << 16;
    test.options.rudp.receive_window_bytes = 1 << 17;
    open_connected();
    struct weir_rudp_conn *conn = conn_of(SERVER);
    weir_rudp_pause(conn, true);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 10000), WEIR_OK);
    }
    run_for(8 * WEIR_SEC);
    assert_true(test.logs[SERVER].messages < 40);
    assert_null(conn->awake);
    struct weir_rudp *ep = host_at(SERVER)->rudp;
    while (count < AWAKES_MAX && (taken[count] = weir_pool_take(&ep->awakes)) != NULL) {
        count++;
    }
    weir_rudp_pause(conn, false);
    assert_null(conn->awake);
    while (count > 0) {
        weir_pool_give(&ep->awakes, taken[--count]);
    }
    run_for(20 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 40);
    close_case();
}

/* --- deadlines -------------------------------------------------------------------------------- */

/* Very many messages expire together in an outage; each costs its share, and the next arrives. */
static void many_expire_together(void **state)
{
    enum {
        MESSAGES = 60000
    };

    (void)state;
    test.options.rudp.cc = WEIR_CC_NONE;
    test.options.rudp.send_queue_bytes = 256 << 20;
    test.options.rudp.send_bytes = 256 << 20;
    test.options.rudp.receive_window_bytes = 256 << 20;
    test.options.rudp.dead_timeout = 60 * WEIR_SEC;
    open_connected();
    blackout(5 * WEIR_SEC);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct weir_rudp_send how = delivery;
        how.deadline = test.pair.now + (1 + i % 3) * WEIR_SEC;
        assert_int_equal(send_number(CLIENT, &how, i, 700), WEIR_OK);
    }
    run_for(4 * WEIR_SEC);
    assert_int_equal(conn_of(CLIENT)->awake->messages_expired, 0); /* the skips are on their way */
    assert_int_equal(send_number(CLIENT, &delivery, MESSAGES, 700), WEIR_OK);
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    assert_int_equal(test.logs[SERVER].records[0].number, MESSAGES);
    assert_int_equal(conn_of(CLIENT)->window_charged, conn_of(SERVER)->receive_charged);
    close_case();
}

/* A deadline each, close together: every one is kept within 10 ms. */
static void deadlines_are_kept(void **state)
{
    (void)state;
    open_connected();
    blackout(3 * WEIR_SEC);
    for (uint32_t i = 0; i < 2000; i++) {
        struct weir_rudp_send how = order;
        how.deadline = test.pair.now + WEIR_SEC + i * (WEIR_MSEC / 2);
        assert_int_equal(send_number(CLIENT, &how, i, 1000), WEIR_OK);
    }
    run_for(WEIR_MSEC);
    const struct awake *awake = conn_of(CLIENT)->awake;
    uint32_t queued = awake->messages;
    assert_true(queued > 1900);
    run_for(WEIR_SEC);
    for (unsigned i = 0; i < 40; i++) {
        run_for(25 * WEIR_MSEC);
        uint32_t due = 2 + (i + 1) * 50;
        assert_true(awake->messages <= 2000 - due + 20 + 2);
    }
    run_for(20 * WEIR_MSEC);
    assert_int_equal(awake->messages, 0);
    run_for(5 * WEIR_SEC);
    close_case();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fixed_time_resends_through_silence, reset_case),
        cmocka_unit_test_setup(lost_records_are_forgotten, reset_case),
        cmocka_unit_test_setup(lost_probe_is_no_silence, reset_case),
        cmocka_unit_test_setup(lost_ping_is_asked_again, reset_case),
        cmocka_unit_test_setup(move_starts_congestion_control_over, reset_case),
        cmocka_unit_test_setup(move_forgets_probes, reset_case),
        cmocka_unit_test_setup(wakes_do_not_search_again, reset_case),
        cmocka_unit_test_setup(acks_stay_short, reset_case),
        cmocka_unit_test_setup(duplicates_are_noticed, reset_case),
        cmocka_unit_test_setup(late_packets_are_acknowledged, reset_case),
        cmocka_unit_test_setup(short_runs_are_single_packets, reset_case),
        cmocka_unit_test_setup(splitting_needs_no_free_chunk, reset_case),
        cmocka_unit_test_setup(credit_survives_full_house, reset_case),
        cmocka_unit_test_setup(many_expire_together, reset_case),
        cmocka_unit_test_setup(deadlines_are_kept, reset_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
