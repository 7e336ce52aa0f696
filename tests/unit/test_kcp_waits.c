/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_waits.c - who waits for memory, for a control block or for the peer is woken.
 */
#include "kcp_solo.h"

static struct weir_kcp_conn *connect_other(const char *address)
{
    struct weir_kcp_conn *conn = NULL;
    struct weir_addr remote;
    assert_int_equal(weir_addr_parse(address, &remote), WEIR_OK);
    assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &remote, 1, NULL, &conn), WEIR_OK);
    return conn;
}

/* Only one session may be awake, and another one is. The peer of the first is heard before the
 * sweep comes: awake again, it is no longer one of those that the sweep looks for. */
static void a_session_woken_by_its_peer_is_writable(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.awake_max = 1;
    solo_open();
    solo_connect();
    struct weir_kcp_conn *other = connect_other("10.0.0.7:7");
    assert_int_equal(weir_kcp_send(other, "x", 1), WEIR_OK);
    assert_int_equal(weir_kcp_send(solo.conn, "y", 1), WEIR_ERR_FULL);
    assert_false(solo.conn->is_awake);
    weir_kcp_abort(other);
    struct weir_kcp_conn *conn = solo.conn;
    solo_output();
    solo.conn = conn; /* that CLOSED was the other's */
    assert_int_equal(solo.writable, 0);
    solo_add_push(0, 0, "a");
    solo_deliver();
    assert_int_equal(solo.messages, 1);
    assert_int_equal(solo.writable, 1);
    solo_close();
}

static void a_session_without_control_block_waits_for_the_sweep(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.awake_max = 1;
    solo_open();
    solo_connect();
    struct weir_kcp_conn *other = connect_other("10.0.0.7:7");
    assert_int_equal(weir_kcp_send(other, "x", 1), WEIR_OK);
    assert_int_equal(weir_kcp_send(solo.conn, "y", 1), WEIR_ERR_FULL);
    struct weir_kcp_conn *conn = solo.conn;
    weir_kcp_abort(other);
    (void)solo_run(3000, 0);
    assert_int_equal(solo.writable, 1);
    assert_int_equal(weir_kcp_send(conn, "y", 1), WEIR_OK);
    solo_close();
}

static void fill_store(bool is_kept_awake)
{
    static uint8_t bytes[40000];
    solo_defaults();
    solo.config.send_bytes = 65536;
    solo.config.is_accepting = true;
    solo_open();
    solo_add_push(0, 0, "a");
    solo_deliver();
    assert_int_equal(weir_kcp_send(solo.conn, bytes, sizeof(bytes)), WEIR_OK);
    solo_output();
    solo_deliver_ack(0, solo_ms(), 30);
    weir_kcp_pause(solo.conn, is_kept_awake);
    struct weir_kcp_conn *other = connect_other("10.0.0.7:7");
    assert_int_equal(weir_kcp_send(other, bytes, sizeof(bytes)), WEIR_ERR_FULL);
}

/* A session's page stays with it, empty, until it rests: who waits for memory hears of it. */
static void a_page_given_back_wakes_who_waits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fill_store(i == 1);
        (void)solo_run(6000, 0);
        assert_int_equal(weir_kcp_stats(solo.kcp)->awake, 1 + i);
        assert_int_equal(solo.writable, 1);
        solo_close();
    }
}

/* --- the peer's window ------------------------------------------------------------------------ */

enum {
    SEGMENT_BYTES = 1376
};

static uint8_t message[33 * SEGMENT_BYTES];

/* The peer has acknowledged before its application read: one segment less than its window. */
static void open_with_window_of_31(void)
{
    solo_defaults();
    solo.config.keepalive = 0;
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_segment_bytes(solo.kcp), SEGMENT_BYTES);
    assert_int_equal(weir_kcp_send(solo.conn, message, 1), WEIR_OK);
    solo_output();
    solo.now += 50 * WEIR_MSEC;
    solo_add_ack(0, solo_ms() - 50, 1, 31);
    solo_deliver();
    assert_int_equal(weir_kcp_send(solo.conn, message, 32UL * SEGMENT_BYTES), WEIR_ERR_FULL);
}

static unsigned count_asked(uint32_t ms)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < ms; i++) {
        solo.now += WEIR_MSEC;
        solo_output();
        for (uint32_t k = 0; k < solo.out_count; k++) {
            count += solo.out[k].cmd == WEIR_KCP_WASK;
        }
    }
    return count;
}

static void answer(uint16_t window)
{
    solo_add(&(struct weir_kcp_segment){
        .conv = SOLO_CONV, .cmd = WEIR_KCP_WINS, .wnd = window, .una = 1});
    solo_deliver();
}

static void the_peer_is_asked_before_a_message_is_refused(void **state)
{
    (void)state;
    open_with_window_of_31();
    assert_int_equal(count_asked(1), 1);
    assert_int_equal(solo.writable, 0);
    answer(32);
    assert_int_equal(solo.writable, 1);
    assert_int_equal(weir_kcp_send(solo.conn, message, 33UL * SEGMENT_BYTES), WEIR_ERR_TOO_LARGE);
    assert_int_equal(weir_kcp_send(solo.conn, message, 32UL * SEGMENT_BYTES), WEIR_OK);
    solo_output();
    assert_int_equal(solo.out_count, 32);
    solo_close();
}

static void a_lost_answer_is_asked_for_again(void **state)
{
    (void)state;
    open_with_window_of_31();
    unsigned asked = count_asked(2000);
    assert_in_range(asked, 3, 8);
    answer(31);
    assert_int_equal(solo.writable, 1);
    assert_int_equal(weir_kcp_send(solo.conn, message, 32UL * SEGMENT_BYTES), WEIR_ERR_TOO_LARGE);
    assert_int_equal(count_asked(2000), 0);
    solo_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_woken_by_its_peer_is_writable),
        cmocka_unit_test(a_session_without_control_block_waits_for_the_sweep),
        cmocka_unit_test(a_page_given_back_wakes_who_waits),
        cmocka_unit_test(the_peer_is_asked_before_a_message_is_refused),
        cmocka_unit_test(a_lost_answer_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
