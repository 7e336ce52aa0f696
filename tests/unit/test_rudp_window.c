/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_window.c - the receive window, and memory that several connections share: whatever is
 * half-way never blocks what is due.
 */
#include "rudp_case.h"

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

enum {
    MIB = 1 << 20
};

static uint8_t bytes[MIB];

static enum weir_status send_bytes(unsigned host, const struct weir_rudp_send *how, size_t length)
{
    return weir_rudp_send(conn_of(host), how, bytes, length);
}

static void set_loss(uint32_t ppm)
{
    struct pair *pair = &test.pair;
    struct weir_sim_link link = test.options.link;
    link.loss_ppm = ppm;
    assert_int_equal(
        weir_sim_set_link(pair->sim, pair->hosts[0].base.driver, pair->hosts[1].base.driver, &link),
        WEIR_OK);
}

/* The window takes one longest message; the sender may queue many. */
static void smallest_window(uint32_t queue_bytes)
{
    test.options.rudp.message_bytes_max = MIB;
    test.options.rudp.receive_window_bytes = MIB + MESSAGE_COST_BYTES;
    test.options.rudp.send_queue_bytes = queue_bytes;
}

/* A window of one longest message: each one that ends must be granted anew, however little it was
 * worth. */
static void smallest_window_never_stalls(void **state)
{
    static const size_t lengths[] = {200000, MIB, 1, MIB, 500000, MIB, 0, 70000, MIB};
    (void)state;
    smallest_window(16 * MIB);
    open_connected();
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        assert_int_equal(send_bytes(CLIENT, &delivery, lengths[i]), WEIR_OK);
    }
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, sizeof(lengths) / sizeof(lengths[0]));
    assert_int_equal(conn_of(CLIENT)->window_charged, conn_of(SERVER)->receive_charged);
    assert_int_equal(conn_of(SERVER)->receive_consumed, conn_of(SERVER)->receive_charged);
    close_case();
}

/* Long messages of all priorities on different channels: each begins before the one before has
 * left, and together they are far more than the window. */
static void priorities_share_the_window(void **state)
{
    (void)state;
    smallest_window(32 * MIB);
    open_connected();
    for (uint32_t i = 0; i < 12; i++) {
        struct weir_rudp_send how = delivery;
        how.channel = (uint8_t)(i % 4);
        how.priority = (enum weir_rudp_priority)((int)(i % 4) - 1);
        assert_int_equal(send_bytes(CLIENT, &how, MIB - i), WEIR_OK);
        run_for(2 * WEIR_MSEC);
    }
    run_for(120 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 12);
    close_case();
}

/* A long message that waits for window is not starved by short ones of lower priority. */
static void urgent_is_not_starved(void **state)
{
    struct weir_rudp_send urgent = {
        .guarantee = WEIR_RUDP_DELIVERY, .priority = WEIR_RUDP_PRIORITY_URGENT, .channel = 1};
    (void)state;
    smallest_window(4 * MIB);
    open_connected();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 50000), WEIR_OK);
    }
    run_for(5 * WEIR_MSEC);
    assert_int_equal(send_bytes(CLIENT, &urgent, MIB), WEIR_OK);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, 20 + i, 50000), WEIR_OK);
    }
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 61);
    uint32_t place = 0;
    while (test.logs[SERVER].records[place].channel != 1) {
        place++;
    }
    assert_true(place <= 21);
    close_case();
}

/* A delivery message given up half-way costs what it cost from the start. */
static void given_up_half_way(void **state)
{
    (void)state;
    smallest_window(16 * MIB);
    open_connected();
    for (unsigned i = 0; i < 8; i++) {
        struct weir_rudp_send how = delivery;
        how.deadline = test.pair.now + 15 * WEIR_MSEC;
        assert_int_equal(send_bytes(CLIENT, &how, MIB), WEIR_OK);
        run_for(300 * WEIR_MSEC);
    }
    assert_int_equal(send_bytes(CLIENT, &delivery, MIB), WEIR_OK);
    run_for(30 * WEIR_SEC);
    assert_true(test.logs[SERVER].messages >= 1);
    assert_int_equal(conn_of(CLIENT)->window_charged, conn_of(SERVER)->receive_charged);
    assert_int_equal(conn_of(SERVER)->receive_consumed, conn_of(SERVER)->receive_charged);
    close_case();
}

/* Messages without a guarantee take no number that the others count. */
static void none_takes_no_number(void **state)
{
    static const struct weir_rudp_send none = {.guarantee = WEIR_RUDP_NONE};
    static const struct weir_rudp_send order = {.guarantee = WEIR_RUDP_ORDER};
    (void)state;
    open_connected();
    assert_int_equal(send_number(CLIENT, &order, 0, 8), WEIR_OK);
    run_for(WEIR_SEC);
    uint64_t mid = conn_of(CLIENT)->channel0.send_mid;
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(send_number(CLIENT, &none, 1 + i, i % 3 == 0 ? 5000 : 8), WEIR_OK);
    }
    assert_int_equal(conn_of(CLIENT)->channel0.send_mid, mid);
    run_for(WEIR_SEC);
    assert_int_equal(send_number(CLIENT, &order, 1000, 8), WEIR_OK);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 302);
    assert_int_equal(test.logs[SERVER].records[301].number, 1000);
    close_case();
}

/* Messages that may be lost and stay incomplete neither keep a connection awake nor their memory
 * for ever. */
static void half_messages_do_not_stay(void **state)
{
    static const struct weir_rudp_send order = {.guarantee = WEIR_RUDP_ORDER};
    (void)state;
    test.options.rudp.idle_timeout = 0;
    open_connected();
    for (uint32_t i = 0; i < 40; i++) {
        set_loss(i % 2 == 0 ? 500000 : 0);
        assert_int_equal(send_number(CLIENT, &order, i, 20000), WEIR_OK);
        run_for(20 * WEIR_MSEC);
    }
    set_loss(0);
    run_for(30 * WEIR_SEC);
    assert_null(conn_of(SERVER)->awake);
    assert_int_equal(test.pair.hosts[SERVER].rudp->assemblies.used, 0);
    close_case();
}

/* Nor do they take the memory that another connection's messages need. */
static void half_messages_give_way(void **state)
{
    enum {
        CONNECTIONS = 12,
        LENGTH = 60000
    };

    static const struct weir_rudp_send order = {.guarantee = WEIR_RUDP_ORDER};
    const struct weir_addr server = pair_server_addr();
    struct weir_rudp_conn *conns[CONNECTIONS];
    (void)state;
    test.options.rudp.message_bytes_max = 1 << 16;
    test.options.rudp.receive_window_bytes = 1 << 17;
    test.options.rudp.assembly_bytes = 1 << 18;
    open_connected();
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(weir_rudp_connect(test.pair.hosts[CLIENT].rudp, test.pair.now, &server,
                                           NULL, &conns[i]),
                         WEIR_OK);
    }
    run_for(WEIR_SEC);
    /* Each sends the beginning of one and nothing more, and does so again before it can sleep. */
    set_loss(300000);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            assert_int_equal(weir_rudp_send(conns[i], &order, bytes, LENGTH), WEIR_OK);
        }
        run_for(500 * WEIR_MSEC);
    }
    set_loss(0);
    assert_true(test.pair.hosts[SERVER].rudp->assemblies.used > 0);
    assert_true(test.pair.hosts[SERVER].rudp->stats.drops[WEIR_RUDP_DROP_NO_ROOM] > 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, 7 + i, LENGTH), WEIR_OK);
    }
    run_for(700 * WEIR_MSEC);
    const struct log *log = &test.logs[SERVER];
    assert_true(log->messages >= 2 && log->records[log->messages - 1].number == 8);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        weir_rudp_abort(conns[i], 0, "done");
    }
    close_case();
}

/* Few may be held and few put together: what finds no room comes again, in order. */
static void small_pools_lose_nothing(void **state)
{
    (void)state;
    test.options.rudp.held_max = 16;
    test.options.rudp.send_queue_bytes = 32 * MIB;
    open_connected();
    set_loss(200000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, i % 10 == 0 ? 4000 : 8), WEIR_OK);
    }
    run_for(300 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(test.logs[SERVER].records[i].number, i);
    }
    set_loss(0);
    close_case();
}

/* A copied message that the memory for outgoing messages can never hold is refused for good. */
static void too_large_for_the_memory(void **state)
{
    uint8_t *room;
    (void)state;
    test.options.rudp.send_bytes = 256 << 10;
    test.options.rudp.send_queue_bytes = 8 * MIB;
    open_connected();
    assert_int_equal(send_bytes(CLIENT, &delivery, MIB), WEIR_ERR_TOO_LARGE);
    assert_int_equal(weir_rudp_reserve(conn_of(CLIENT), 300 << 10, &room), WEIR_ERR_TOO_LARGE);
    assert_int_equal(send_bytes(CLIENT, &delivery, 100 << 10), WEIR_OK);
    run_for(10 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    /* Growing the written message doubles its room, but not when only the plain length fits. */
    assert_int_equal(weir_rudp_write(conn_of(CLIENT), bytes, 50 << 10), WEIR_OK);
    assert_int_equal(weir_rudp_write(conn_of(CLIENT), bytes, 51 << 10), WEIR_OK);
    assert_int_equal(weir_rudp_send_written(conn_of(CLIENT), &delivery), WEIR_OK);
    run_for(10 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 2);
    assert_int_equal(test.logs[SERVER].records[1].length, 101 << 10);
    close_case();
}

/* flush() ends the wait for company also when the pace delays it. */
static void flush_is_not_forgotten(void **state)
{
    (void)state;
    test.options.rudp.flush_delay = 10 * WEIR_SEC;
    open_connected();
    run_for(WEIR_SEC);
    assert_int_equal(send_number(CLIENT, &delivery, 1, 8), WEIR_OK);
    run_for(100 * WEIR_MSEC);
    assert_int_equal(test.logs[SERVER].messages, 0);
    weir_rudp_flush(conn_of(CLIENT));
    run_for(200 * WEIR_MSEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    close_case();
}

/* The idle timeout may be shorter than the heartbeat: the connection lives on all the same. */
static void heartbeat_suits_the_idle_timeout(void **state)
{
    (void)state;
    test.options.rudp.idle_timeout = 3 * WEIR_SEC;
    open_connected();
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    assert_int_equal(test.logs[SERVER].closed, 0);
    close_case();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(smallest_window_never_stalls, reset_case),
        cmocka_unit_test_setup(priorities_share_the_window, reset_case),
        cmocka_unit_test_setup(urgent_is_not_starved, reset_case),
        cmocka_unit_test_setup(given_up_half_way, reset_case),
        cmocka_unit_test_setup(none_takes_no_number, reset_case),
        cmocka_unit_test_setup(half_messages_do_not_stay, reset_case),
        cmocka_unit_test_setup(half_messages_give_way, reset_case),
        cmocka_unit_test_setup(small_pools_lose_nothing, reset_case),
        cmocka_unit_test_setup(too_large_for_the_memory, reset_case),
        cmocka_unit_test_setup(flush_is_not_forgotten, reset_case),
        cmocka_unit_test_setup(heartbeat_suits_the_idle_timeout, reset_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
