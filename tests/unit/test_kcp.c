/* SPDX-License-Identifier: MIT */
/*
 * test_kcp.c - KCP sessions: beginning, messages and streams, back-pressure, sleeping, ending.
 */
#include "kcp_solo.h"

/* --- beginning -------------------------------------------------------------------------------- */

static void open_accepting(void)
{
    solo_defaults();
    solo.config.is_accepting = true;
    solo_open();
}

static void a_session_begins_with_its_first_push(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(1, 0, "late");
    solo_deliver();
    solo_add_ack(0, 0, 0, 10);
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_SESSION), 2);
    solo_add_push(0, 0, "hello");
    solo_deliver();
    assert_int_equal(solo.requests, 1);
    assert_int_equal(solo.opened, 1);
    assert_int_equal(solo.messages, 1);
    assert_memory_equal(solo.got, "hello", 5);
    assert_int_equal(weir_kcp_conv(solo.conn), SOLO_CONV);
    assert_ptr_equal(weir_kcp_user(solo.conn), &solo);
    solo_output();
    assert_int_equal(solo.out_count, 1);
    assert_int_equal(solo.out[0].cmd, WEIR_KCP_ACK);
    assert_int_equal(solo.out[0].una, 1);
    solo_close();
}

static void nothing_is_kept_for_strangers_when_not_accepting(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_add_push(0, 0, "hello");
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_NOT_ACCEPTING), 1);
    assert_int_equal(weir_kcp_stats(solo.kcp)->sessions, 0);
    assert_int_equal(weir_kcp_next_timeout(solo.kcp), WEIR_NEVER);
    solo_close();
}

static void pending_requests_are_bounded(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.pending_max = 2;
    solo.is_accepted = false;
    solo_open();
    for (unsigned i = 0; i < 3; i++) {
        solo.path.remote.port = (uint16_t)(100 + i);
        solo.conn = NULL;
        solo_add_push(0, 0, "x");
        solo_deliver();
    }
    assert_int_equal(solo.requests, 2);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_PENDING), 1);
    assert_int_equal(solo.messages, 0);
    for (unsigned i = 0; i < 12000; i++) { /* nobody answers */
        solo.now += WEIR_MSEC;
        weir_kcp_timeout(solo.kcp, solo.now);
        solo_drain();
    }
    assert_int_equal(solo.closed, 2);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_TIMEOUT);
    assert_int_equal(weir_kcp_stats(solo.kcp)->pending, 0);
    solo_close();
}

static void a_request_may_be_refused(void **state)
{
    (void)state;
    open_accepting();
    solo.is_accepted = false;
    solo_add_push(0, 0, "x");
    solo_deliver();
    weir_kcp_refuse(solo.conn);
    assert_int_equal(weir_kcp_stats(solo.kcp)->sessions, 0);
    assert_int_equal(weir_kcp_stats(solo.kcp)->pending, 0);
    solo_drain();
    assert_int_equal(solo.closed, 0);
    assert_int_equal(solo.kcp->helds.used, 0);
    solo_close();
}

static void what_comes_before_accept_is_kept(void **state)
{
    (void)state;
    open_accepting();
    solo.is_accepted = false;
    solo_add_push(0, 0, "a");
    solo_add_push(1, 0, "b");
    solo_deliver();
    assert_int_equal(solo.messages, 0);
    weir_kcp_accept(solo.conn, NULL);
    solo_drain();
    assert_int_equal(solo.messages, 2);
    assert_memory_equal(solo.got, "ab", 2);
    solo_close();
}

static void silence_ends_a_connect(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.connect_timeout = 3 * WEIR_SEC;
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, "x", 1), WEIR_OK);
    (void)solo_run(2999, 0);
    assert_int_equal(solo.closed, 0);
    (void)solo_run(500, 0);
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_TIMEOUT);
    solo_close();
}

static void connect_checks_its_arguments(void **state)
{
    (void)state;
    struct weir_kcp_conn *conn;
    solo_defaults();
    solo_open();
    struct weir_addr addr = solo.path.remote;
    addr.port = 0;
    assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &addr, 0, NULL, &conn), WEIR_ERR_INVALID);
    solo_connect();
    assert_int_equal(
        weir_kcp_connect(solo.kcp, solo.now, &solo.path.remote, SOLO_CONV, NULL, &conn),
        WEIR_ERR_FULL);
    for (unsigned i = 1; i < solo.config.connections_max; i++) {
        assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &solo.path.remote, 0, NULL, &conn),
                         WEIR_OK);
    }
    assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &solo.path.remote, 0, NULL, &conn),
                     WEIR_ERR_FULL);
    solo_close();
}

static void addresses_survive_the_record(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%7]:9"};
    solo_defaults();
    solo_open();
    for (unsigned i = 0; i < 3; i++) {
        struct weir_addr addr;
        struct weir_kcp_conn *conn;
        assert_int_equal(weir_addr_parse(texts[i], &addr), WEIR_OK);
        assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &addr, 5, NULL, &conn), WEIR_OK);
        struct weir_path path = weir_kcp_path(conn);
        assert_true(weir_addr_is_equal(&path.remote, &addr));
        assert_int_equal(path.local.family, WEIR_ADDR_NONE);
    }
    solo_close();
}

/* --- receiving -------------------------------------------------------------------------------- */

static void fragments_become_one_message(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(0, 2, "one ");
    solo_deliver();
    solo_add_push(2, 0, "three");
    solo_deliver();
    assert_int_equal(solo.messages, 0);
    solo_add_push(1, 1, "two ");
    solo_deliver();
    assert_int_equal(solo.messages, 1);
    assert_int_equal(solo.last_spans, 3);
    assert_memory_equal(solo.got, "one two three", 13);
    assert_int_equal(solo.kcp->helds.used, 0);
    solo_close();
}

static void a_stream_is_delivered_as_it_comes(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.tuning.is_stream = true;
    solo_open();
    solo_add_push(0, 1, "ab"); /* of a message, if the peer is in message mode */
    solo_deliver();
    assert_int_equal(solo.messages, 1);
    solo_add_push(2, 0, "e");
    solo_add_push(1, 0, "cd");
    solo_deliver();
    assert_int_equal(solo.messages, 3);
    assert_memory_equal(solo.got, "abcde", 5);
    solo_close();
}

static void repeated_segments_are_acknowledged_again(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(0, 0, "a");
    solo_add_push(0, 0, "a");
    solo_add_push(128 + 1, 0, "far");
    solo_deliver();
    assert_int_equal(solo.messages, 1);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_DUPLICATE), 1);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_WINDOW), 1);
    solo_output();
    assert_int_equal(solo.out_count, 2);
    solo_close();
}

static void acks_are_coalesced(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.tuning.is_ack_coalesced = true;
    solo_open();
    for (uint32_t sn = 0; sn < 20; sn++) {
        solo_add_push(sn, 0, "x");
    }
    solo_add_push(30, 0, "x");
    solo_add_push(20, 0, "x");
    solo_deliver();
    solo_output();
    assert_int_equal(solo.out_count, 2);
    assert_int_equal(solo.out[0].sn, 30);
    assert_int_equal(solo.out[1].sn, 20);
    assert_int_equal(solo.out[1].una, 21);
    solo_close();
}

static void pause_shrinks_the_window_and_resume_tells(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.tuning.receive_window = 4;
    solo_open();
    solo_add_push(0, 0, "0");
    solo_deliver();
    weir_kcp_pause(solo.conn, true);
    for (uint32_t sn = 1; sn <= 6; sn++) {
        char text[2] = {(char)('0' + sn), 0};
        solo.now += 20 * WEIR_MSEC;
        solo_add_push(sn, 0, text);
        solo_deliver();
        solo_output();
    }
    assert_int_equal(solo.messages, 1);
    assert_int_equal(solo.out[solo.out_count - 1].wnd, 0);
    solo.now += 20 * WEIR_MSEC;
    weir_kcp_pause(solo.conn, false);
    solo_output();
    assert_int_equal(solo.messages, 7);
    assert_memory_equal(solo.got, "0123456", 7);
    assert_int_equal(solo.out_count, 1);
    assert_int_equal(solo.out[0].cmd, WEIR_KCP_WINS);
    assert_int_equal(solo.out[0].wnd, 4);
    solo_close();
}

static void nonsense_fragments_end_the_session(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(0, 5, "a");
    solo_add_push(1, 3, "b");
    solo_deliver();
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_PROTOCOL);
    solo_add_push(0, 200, "a"); /* more than the window holds */
    solo_deliver();
    assert_int_equal(solo.closed, 2);
    assert_int_equal(solo.kcp->helds.used, 0);
    solo_close();
}

static void garbage_is_counted(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_connect();
    solo.in_bytes = 23;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_TRUNCATED), 1);
    solo_add_ack(0, 0, 0, 1);
    solo.in[4] = 80;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_COMMAND), 1);
    solo_add_ack(0, 0, 0, 1);
    solo.in[20] = 1;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_LENGTH), 1);
    solo_add_push(0, 0, "good"); /* what comes before stays applied */
    solo_add_ack(0, 0, 0, 1);
    solo.in[28] ^= 1;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_CONV), 1);
    assert_int_equal(solo.messages, 1);
    solo_close();
}

static void a_full_pool_drops_and_counts(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.held_max = 512;
    solo.config.tuning.receive_window = 1000;
    solo_open();
    solo_add_push(0, 0, "x");
    solo_deliver();
    for (uint32_t sn = 2; sn < 602; sn++) {
        solo_add_push(sn, 0, "x");
    }
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_NO_ROOM), 600 - 256);
    solo_add_push(1, 0, "x");
    solo_deliver();
    assert_int_equal(solo.messages, 2 + 256);
    assert_int_equal(solo.kcp->helds.used, 0);
    solo_close();
}

/* --- sending ---------------------------------------------------------------------------------- */

static void long_messages_are_cut(void **state)
{
    (void)state;
    static const uint8_t bytes[3 * 1376 + 5];
    solo_defaults();
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, bytes, sizeof(bytes)), WEIR_OK);
    assert_int_equal(weir_kcp_send(solo.conn, NULL, 0), WEIR_OK);
    solo_output();
    assert_int_equal(solo.out_count, 5);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(solo.out[i].frg, 3 - i);
        assert_int_equal(solo.out[i].data.length, i < 3 ? 1376 : 5);
    }
    assert_int_equal(solo.out[4].data.length, 0);
    solo_close();
}

static void what_never_fits_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[200 * 1376];
    solo_defaults();
    solo.config.tuning.fragments_max = 150;
    solo.config.tuning.receive_window = 512;
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 150UL * 1376 + 1), WEIR_ERR_TOO_LARGE);
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 150UL * 1376), WEIR_OK);
    solo_add_ack(0, solo_ms(), 0, 32); /* now the peer's window is known */
    solo_deliver();
    /* What waits for its reader takes up some of it: more may be said yet. */
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 33UL * 1376), WEIR_ERR_FULL);
    solo_close();
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 1), WEIR_OK);
    solo_output();
    solo_add_ack(0, solo_ms(), 1, 32);
    solo_deliver();
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 33UL * 1376), WEIR_ERR_FULL);
    assert_int_equal(weir_kcp_send(solo.conn, bytes, 32UL * 1376), WEIR_OK);
    solo_close();
}

static void a_stream_fills_its_segments(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.is_stream = true;
    solo.config.tuning.is_write_delayed = true;
    solo_open();
    solo_connect();
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(weir_kcp_send(solo.conn, "0123456789", 10), WEIR_OK);
    }
    assert_int_equal(weir_kcp_send(solo.conn, "", 0), WEIR_ERR_INVALID);
    solo_output();
    assert_true(solo.out_count <= 4);
    size_t total = 0;
    for (uint32_t i = 0; i < solo.out_count; i++) {
        assert_int_equal(solo.out[i].frg, 0);
        total += solo.out[i].data.length;
    }
    assert_int_equal(total, 3000);
    solo_close();
}

static void a_full_queue_pushes_back(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.tuning.send_window = 8;
    solo.config.tuning.send_queue_max = 20;
    solo_open();
    solo_connect();
    unsigned sent = 0;
    while (weir_kcp_send(solo.conn, "x", 1) == WEIR_OK) {
        sent++;
    }
    assert_int_equal(sent, 20);
    solo_output();
    solo_deliver_ack(7, solo_ms(), 8);
    assert_int_equal(solo.writable, 0); /* 12 are left */
    solo_output();
    solo_deliver_ack(9, solo_ms(), 10);
    assert_int_equal(solo.writable, 1);
    assert_int_equal(weir_kcp_send(solo.conn, "x", 1), WEIR_OK);
    solo_close();
}

static void parcels_come_back_once_acknowledged(void **state)
{
    (void)state;
    static const uint8_t bytes[4000];
    struct weir_parcel parcel = {.data = bytes, .length = sizeof(bytes)};
    solo_defaults();
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send_parcel(solo.conn, &parcel), WEIR_OK);
    assert_int_equal(parcel.references, 1);
    solo_output();
    assert_int_equal(solo.out_count, 3);
    solo_deliver_ack(2, solo_ms(), 0);
    solo_deliver_ack(0, solo_ms(), 1);
    assert_int_equal(solo.parcels, 0);
    solo_deliver_ack(1, solo_ms(), 3);
    assert_int_equal(solo.parcels, 1);
    assert_int_equal(parcel.references, 0);
    assert_int_equal(weir_kcp_send_parcel(solo.conn, &parcel), WEIR_OK);
    weir_kcp_abort(solo.conn);
    solo_drain();
    assert_int_equal(solo.parcels, 2);
    assert_int_equal(solo.closed, 1);
    solo_close();
}

static void a_full_store_pushes_back(void **state)
{
    (void)state;
    static uint8_t bytes[20000];
    solo_defaults();
    solo.config.send_bytes = 65536;
    solo.config.tuning.send_queue_max = 100000;
    solo_open();
    solo_connect();
    unsigned sent = 0;
    while (weir_kcp_send(solo.conn, bytes, sizeof(bytes)) == WEIR_OK) {
        assert_true(++sent < 10);
    }
    assert_true(sent > 0);
    solo_output();
    solo_deliver_ack(0, solo_ms(), solo.out_count);
    assert_int_equal(solo.writable, 1);
    solo_close();
}

/* --- sleeping, moving, ending ----------------------------------------------------------------- */

static void a_quiet_session_sleeps_and_wakes(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(0, 0, "a");
    solo_deliver();
    assert_int_equal(weir_kcp_stats(solo.kcp)->awake, 1);
    (void)solo_run(9000, 0);
    assert_int_equal(weir_kcp_stats(solo.kcp)->awake, 0);
    assert_int_equal(weir_store_used_bytes(solo.kcp->window_store), 0);
    assert_int_equal(weir_store_used_bytes(solo.kcp->send_store), 0);
    solo_add(&(struct weir_kcp_segment){.conv = SOLO_CONV,
                                        .cmd = WEIR_KCP_PUSH,
                                        .wnd = 700,
                                        .sn = 1,
                                        .data = weir_span_of("b", 1)});
    solo_deliver();
    assert_int_equal(solo.messages, 2);
    assert_int_equal(weir_kcp_send(solo.conn, "c", 1), WEIR_OK);
    solo_output();
    assert_int_equal(solo.out[1].una, 2);
    assert_int_equal(solo.out[1].sn, 0);
    solo_deliver_ack(0, solo_ms(), 1);
    (void)solo_run(9000, 0);
    assert_int_equal(weir_kcp_stats(solo.kcp)->awake, 0);
    assert_int_equal(weir_kcp_send(solo.conn, "d", 1), WEIR_OK);
    assert_int_equal(weir_kcp_awake_of(solo.conn)->peer_window, 672); /* 700 in a byte */
    solo_output();
    assert_int_equal(solo.out[0].sn, 1);
    solo_close();
}

static void the_awake_pool_is_shared(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.awake_max = 2;
    solo_open();
    for (unsigned i = 0; i < 6; i++) {
        solo.path.remote.port = (uint16_t)(100 + i);
        solo.conn = NULL;
        solo_add_push(0, 0, "x");
        solo_deliver();
        solo.now += 20 * WEIR_MSEC;
        solo_output();
    }
    assert_int_equal(solo.messages, 6);
    assert_int_equal(weir_kcp_stats(solo.kcp)->sessions, 6);
    assert_int_equal(weir_kcp_stats(solo.kcp)->awake, 2);
    solo_close();
}

static void silence_is_asked_about_and_ends(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.keepalive = 10 * WEIR_SEC;
    solo.config.idle_timeout = 25 * WEIR_SEC;
    solo_open();
    solo_add_push(0, 0, "a");
    solo_deliver();
    unsigned asked = 0;
    for (uint32_t i = 0; i < 30000 && solo.closed == 0; i++) {
        solo.now += WEIR_MSEC;
        solo_output();
        for (uint32_t k = 0; k < solo.out_count; k++) {
            asked += solo.out[k].cmd == WEIR_KCP_WASK;
        }
    }
    assert_int_equal(asked, 2);
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_TIMEOUT);
    solo_close();
}

static void a_roaming_session_moves(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.address_policy = WEIR_KCP_ADDRESS_ROAM;
    solo_open();
    solo_add_push(0, 0, "a");
    solo_deliver();
    solo.now += 20 * WEIR_MSEC;
    solo_output();
    struct weir_addr before = solo.path.remote;
    solo.path.remote.port = 4242;
    solo_add_push(5000, 0, "z"); /* not where the session is */
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_ADDRESS), 1);
    solo_add_push(1, 0, "b");
    solo_deliver();
    assert_int_equal(solo.moved, 1);
    assert_int_equal(solo.messages, 2);
    assert_false(weir_addr_is_equal(&before, &solo.path.remote));
    solo.now += 20 * WEIR_MSEC;
    solo_output(); /* checks where it goes */
    assert_int_equal(solo.out_count, 1);
    solo_close();
}

static void strict_addresses_are_sessions_of_their_own(void **state)
{
    (void)state;
    open_accepting();
    solo_add_push(0, 0, "a");
    solo_deliver();
    solo.path.remote.port = 4242;
    solo_add_push(1, 0, "b");
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_SESSION), 1);
    solo_add_push(0, 0, "b");
    solo_deliver();
    assert_int_equal(solo.requests, 2);
    solo_close();
}

static void who_does_not_accept_is_not_replaced(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.address_policy = WEIR_KCP_ADDRESS_REPLACE;
    solo_open();
    solo_connect();
    solo_add(&(struct weir_kcp_segment){
        .conv = SOLO_CONV + 1, .cmd = WEIR_KCP_PUSH, .wnd = 32, .data = weir_span_of("b", 1)});
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_SESSION), 1);
    assert_int_equal(solo.closed, 0);
    solo_add_push(0, 0, "a");
    solo_deliver();
    assert_int_equal(solo.messages, 1);
    solo_close();
}

static void what_is_not_pulled_is_counted(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_connect();
    struct weir_kcp_event event;
    struct weir_packet packets[3];
    uint8_t bytes[64];
    solo_add_push(0, 0, "a");
    memcpy(bytes, solo.in, solo.in_bytes);
    for (unsigned i = 0; i < 3; i++) {
        packets[i] =
            (struct weir_packet){.data = bytes, .length = solo.in_bytes, .path = &solo.path};
    }
    weir_kcp_input(solo.kcp, solo.now, packets, 3);
    assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_OK); /* OPENED, or the message */
    solo.in_bytes = 0;
    weir_kcp_input(solo.kcp, solo.now, packets, 0);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_UNDRAINED), 3); /* the first one in part */
    assert_int_equal(weir_kcp_stats(solo.kcp)->datagrams_received, 3);
    solo_close();
}

static void another_conv_replaces_the_session(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.address_policy = WEIR_KCP_ADDRESS_REPLACE;
    solo_open();
    solo_add_push(0, 0, "a");
    solo_deliver();
    const struct weir_kcp_segment other = {
        .conv = SOLO_CONV + 1, .cmd = WEIR_KCP_PUSH, .wnd = 32, .data = weir_span_of("b", 1)};
    struct weir_kcp_segment late = other;
    late.sn = 1;
    solo_add(&late);
    solo_deliver();
    assert_int_equal(solo.closed, 0);
    solo_add(&other);
    solo_deliver();
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_REPLACED);
    solo_add(&other);
    solo_deliver();
    assert_int_equal(solo.requests, 2);
    assert_int_equal(weir_kcp_conv(solo.conn), SOLO_CONV + 1);
    solo_close();
}

static void close_waits_for_what_is_queued(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, "x", 1), WEIR_OK);
    weir_kcp_close(solo.conn);
    assert_int_equal(weir_kcp_send(solo.conn, "y", 1), WEIR_ERR_CLOSED);
    solo_output();
    assert_int_equal(solo.out_count, 1);
    assert_int_equal(solo.closed, 0);
    solo_deliver_ack(0, solo_ms(), 1);
    assert_int_equal(solo.closed, 1);
    assert_int_equal(solo.cause, WEIR_KCP_CAUSE_LOCAL);
    assert_int_equal(solo.kcp->awakes.used, 0);
    solo_close();
}

/* --- settings --------------------------------------------------------------------------------- */

static void presets_have_names(void **state)
{
    (void)state;
    struct weir_kcp_config config;
    unsigned count = 0;
    weir_kcp_config_default(&config);
    assert_int_equal(weir_kcp_preset("sporty", &config), WEIR_ERR_INVALID);
    while (weir_kcp_preset_name(count) != NULL) {
        assert_int_equal(weir_kcp_preset(weir_kcp_preset_name(count), &config), WEIR_OK);
        assert_true(weir_kcp_tuning_is_valid(&config.tuning));
        count++;
    }
    assert_int_equal(count, 10);
    assert_int_equal(weir_kcp_preset("gaming", &config), WEIR_OK);
    assert_int_equal(config.tuning.interval_ms, 3);
    assert_int_equal(config.tuning.mtu_bytes, 1200);
    assert_int_equal(config.connect_timeout, 3 * WEIR_SEC);
    config.is_accepting = true;
    assert_int_equal(weir_kcp_preset("kcptun-fast3", &config), WEIR_OK);
    assert_int_equal(config.tuning.send_window, 1024);
}

static void the_config_has_bounds(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    struct weir_kcp_config config = solo.config;
    config.tuning.interval_ms = 0;
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    config = solo.config;
    config.tuning.send_window = WEIR_KCP_WINDOW_MAX + 1;
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    config = solo.config;
    config.slide = NULL;
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    struct weir_kcp_tuning tuning = solo.config.tuning;
    tuning.mtu_bytes = 9000;
    assert_int_equal(weir_kcp_tune(solo.kcp, &tuning), WEIR_OK);
    assert_int_equal(solo.kcp->config.tuning.mtu_bytes, WEIR_KCP_MTU_MAX);
    tuning.interval_ms = 5001;
    assert_int_equal(weir_kcp_tune(solo.kcp, &tuning), WEIR_ERR_INVALID);
    solo_close();
}

static void a_million_idle_sessions_are_small(void **state)
{
    (void)state;

    enum {
        MILLION = 1000000
    };

    solo_defaults();
    solo_open();
    struct weir_kcp_config config = solo.config;
    config.awake_max = 1;
    config.connections_max = MILLION;
    size_t large = weir_kcp_mem_size(&config);
    config.connections_max = 1;
    assert_true((large - weir_kcp_mem_size(&config)) / MILLION <= 76);
    solo_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_begins_with_its_first_push),
        cmocka_unit_test(nothing_is_kept_for_strangers_when_not_accepting),
        cmocka_unit_test(pending_requests_are_bounded),
        cmocka_unit_test(a_request_may_be_refused),
        cmocka_unit_test(what_comes_before_accept_is_kept),
        cmocka_unit_test(silence_ends_a_connect),
        cmocka_unit_test(connect_checks_its_arguments),
        cmocka_unit_test(addresses_survive_the_record),
        cmocka_unit_test(fragments_become_one_message),
        cmocka_unit_test(a_stream_is_delivered_as_it_comes),
        cmocka_unit_test(repeated_segments_are_acknowledged_again),
        cmocka_unit_test(acks_are_coalesced),
        cmocka_unit_test(pause_shrinks_the_window_and_resume_tells),
        cmocka_unit_test(nonsense_fragments_end_the_session),
        cmocka_unit_test(garbage_is_counted),
        cmocka_unit_test(a_full_pool_drops_and_counts),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(what_never_fits_is_refused),
        cmocka_unit_test(a_stream_fills_its_segments),
        cmocka_unit_test(a_full_queue_pushes_back),
        cmocka_unit_test(parcels_come_back_once_acknowledged),
        cmocka_unit_test(a_full_store_pushes_back),
        cmocka_unit_test(a_quiet_session_sleeps_and_wakes),
        cmocka_unit_test(the_awake_pool_is_shared),
        cmocka_unit_test(silence_is_asked_about_and_ends),
        cmocka_unit_test(a_roaming_session_moves),
        cmocka_unit_test(strict_addresses_are_sessions_of_their_own),
        cmocka_unit_test(another_conv_replaces_the_session),
        cmocka_unit_test(who_does_not_accept_is_not_replaced),
        cmocka_unit_test(what_is_not_pulled_is_counted),
        cmocka_unit_test(close_waits_for_what_is_queued),
        cmocka_unit_test(presets_have_names),
        cmocka_unit_test(the_config_has_bounds),
        cmocka_unit_test(a_million_idle_sessions_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
