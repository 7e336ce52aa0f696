/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_peer.c - what a peer may say but should not, and what must happen though nobody speaks:
 * bounds hold, sums stay equal, a connection that woke for nothing sleeps again.
 */
#include "rudp_case.h"

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

enum {
    PACKET_MAX = 1200
};

static void pull(unsigned host)
{
    struct weir_rudp_event event;
    while (weir_rudp_event(test.pair.hosts[host].rudp, &event) == WEIR_OK) {
        log_event(&test.pair, &test.pair.hosts[host], &event);
    }
}

/* A packet that the client could have sent, but did not: number, then frames up to end. */
struct forged {
    uint8_t bytes[PACKET_MAX];
    uint8_t *at;
};

static void forge(struct forged *forged, uint64_t number)
{
    struct weir_rudp_conn *server = conn_of(SERVER);
    forged->bytes[0] = (uint8_t)(WEIR_RUDP_KIND_DATA << 4);
    weir_store64(forged->bytes + 1, server->local_id);
    weir_store32(forged->bytes + WEIR_RUDP_HEADER_BYTES, (uint32_t)number);
    forged->at = forged->bytes + WEIR_RUDP_DATA_HEADER_BYTES;
}

static void deliver(struct forged *forged)
{
    size_t length = weir_rudp_seal_clear(forged->bytes, (size_t)(forged->at - forged->bytes));
    struct weir_addr remote = conn_of(SERVER)->path.remote;
    inject(SERVER, &remote, forged->bytes, length);
    pull(SERVER);
}

/* One MESSAGE frame in a packet of its own, the next in order. */
static void deliver_message(const struct weir_rudp_message_frame *frame)
{
    static struct forged forged;
    struct weir_rudp_message_ids ids = {0};
    forge(&forged, conn_of(SERVER)->largest_received);
    forged.at = weir_rudp_encode_message(forged.at, frame, &ids);
    deliver(&forged);
}

/* --- fragments -------------------------------------------------------------------------------- */

static struct weir_rudp_message_frame fragment(uint8_t guarantee, uint64_t mid, uint64_t dseq,
                                               uint64_t total)
{
    return (struct weir_rudp_message_frame){.guarantee = guarantee,
                                            .is_fragment = true,
                                            .mid = (uint32_t)mid,
                                            .dseq = (uint32_t)dseq,
                                            .total = total,
                                            .data = weir_span_of((const uint8_t *)"x", 1)};
}

/* A skip gives back what it costs, not what a message of another guarantee with its mid would
 * have. */
static void skip_is_of_no_order_message(void **state)
{
    (void)state;
    open_connected();
    run_for(WEIR_SEC);
    struct weir_rudp_conn *server = conn_of(SERVER);
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t mid = FIRST_NUMBER + i;
        struct weir_rudp_message_frame frame =
            fragment(WEIR_RUDP_ORDER, mid, FIRST_NUMBER + i, 5000);
        deliver_message(&frame);
        frame = (struct weir_rudp_message_frame){.guarantee = WEIR_RUDP_GUARANTEE_SKIP,
                                                 .mid = (uint32_t)mid,
                                                 .dseq = (uint32_t)mid,
                                                 .cost = 5000 + MESSAGE_COST_BYTES};
        deliver_message(&frame);
        assert_true(server->receive_consumed <= server->receive_charged);
    }
    assert_int_equal(server->state, STATE_OPEN);
    close_case();
}

/* Of a channel one message is the one whose turn it is, however many say so. */
static void one_head_a_channel(void **state)
{
    (void)state;
    open_connected();
    run_for(WEIR_SEC);
    for (uint64_t i = 0; i < 1000; i++) {
        struct weir_rudp_message_frame frame =
            fragment(WEIR_RUDP_DELIVERY, FIRST_NUMBER + i, FIRST_NUMBER, 2);
        deliver_message(&frame);
    }
    assert_true(test.pair.hosts[SERVER].rudp->assemblies.used <= 256 + 1);
    close_case();
}

/* --- waking ----------------------------------------------------------------------------------- */

static void open_asleep(void)
{
    test.options.rudp.heartbeat = 0;
    test.options.rudp.idle_timeout = 0;
    open_connected();
    run_for(30 * WEIR_SEC);
    assert_null(conn_of(SERVER)->awake);
    assert_null(conn_of(CLIENT)->awake);
}

/* An old packet once more wakes a connection, but not for good. */
static void old_packet_wakes_for_a_while(void **state)
{
    static struct forged forged;
    (void)state;
    open_asleep();
    forge(&forged, FIRST_NUMBER);
    *forged.at++ = WEIR_RUDP_FRAME_PING;
    deliver(&forged);
    run_for(10 * WEIR_SEC);
    assert_null(conn_of(SERVER)->awake);
    close_case();
}

/* Nor does a message that is refused. */
static void refused_message_wakes_for_a_while(void **state)
{
    static const uint8_t large[1 << 18];
    (void)state;
    test.options.rudp.send_bytes = 1 << 16;
    open_asleep();
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, large, sizeof(large)),
                     WEIR_ERR_TOO_LARGE);
    run_for(10 * WEIR_SEC);
    assert_null(conn_of(CLIENT)->awake);
    close_case();
}

/* A pause ends while every other connection is busy: the credit leaves once one is not. */
static void resumed_while_all_are_busy(void **state)
{
    static uint8_t bytes[1 << 16];
    (void)state;
    test.options.rudp.heartbeat = 0;
    test.options.rudp.idle_timeout = 0;
    test.options.rudp.awake_max = 1;
    test.options.rudp.message_bytes_max = sizeof(bytes);
    test.options.rudp.receive_window_bytes = 4 * sizeof(bytes);
    open_connected();
    struct weir_rudp_conn *first = conn_of(SERVER);
    weir_rudp_pause(first, true);
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, bytes, sizeof(bytes)), WEIR_OK);
    }
    run_for(30 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 3);
    assert_null(first->awake);
    /* Another takes the only place, and keeps it. */
    struct weir_rudp *ep = test.pair.hosts[SERVER].rudp;
    struct weir_rudp_conn *second = weir_rudp_conn_open(ep, 4711);
    assert_non_null(second);
    second->state = STATE_OPEN;
    assert_true(weir_rudp_conn_wake(second));
    second->awake->is_candidate_set = true;
    weir_rudp_pause(first, false);
    assert_null(first->awake);
    run_for(WEIR_SEC);
    weir_rudp_conn_free(second);
    run_for(30 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 8);
    close_case();
}

/* --- a path that was left --------------------------------------------------------------------- */

/* What was the round trip there is none here, awake or later. */
static void round_trip_stays_behind(void **state)
{
    (void)state;
    open_connected();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(send_number(SERVER, &delivery, i, 8), WEIR_OK);
        run_for(100 * WEIR_MSEC);
    }
    struct weir_rudp_conn *server = conn_of(SERVER);
    assert_true(weir_rudp_conn_pto(server) < 200 * WEIR_MSEC);
    server->rtt_smoothed = WEIR_MSEC; /* of an earlier time awake */
    server->awake->candidate = server->path;
    assert_int_equal(weir_addr_parse("10.7.7.7:7000", &server->awake->candidate.remote), WEIR_OK);
    server->awake->is_candidate_set = true;
    server->awake->challenge = 1;
    weir_rudp_path_on_response(server, 1);
    assert_true(weir_rudp_conn_pto(server) >= 333 * WEIR_MSEC);
    assert_int_equal(server->rtt_smoothed, 0);
    close_case();
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* A set that never ends stays within what the wire can say. */
static void endless_set(void **state)
{
    (void)state;
    open_connected();
    assert_int_equal(weir_rudp_set_begin(conn_of(CLIENT), 0), WEIR_OK);
    assert_int_equal(send_number(CLIENT, &delivery, 0, 8), WEIR_OK);
    run_for(WEIR_SEC);
    /* As if 2^31 - 3 had gone before, all received. */
    uint64_t before = (UINT64_C(1) << 31) - 3;
    struct channel *from = &conn_of(CLIENT)->channel0;
    struct channel *to = &conn_of(SERVER)->channel0;
    from->send_mid += before;
    from->send_dseq += before;
    from->set_back += (uint32_t)before;
    from->set_dback += (uint32_t)before;
    to->receive_next += before;
    to->mid_latest += before;
    for (uint32_t i = 1; i <= 8; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 8), WEIR_OK);
    }
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].closed, 0);
    assert_int_equal(test.logs[SERVER].messages, 9);
    close_case();
}

/* --- acknowledgements ------------------------------------------------------------------------- */

/* Late packets keep an ACK that is on its way from counting for them, and later ones count again:
 * whatever the order, the floor is never above what the peer was told, and it rises. */
static void late_numbers_hold_the_floor(void **state)
{
    (void)state;
    open_connected();
    run_for(WEIR_SEC);
    struct weir_rudp_conn *conn = conn_of(SERVER);
    struct awake *awake = conn->awake;
    struct packet sent = {.number = conn->next_number};
    uint64_t next = conn->next_number;
    awake->sent_first = awake->sent_last = &sent;
    conn->next_number = next + 10;
    awake->ack_floor = 100;
    weir_rudp_ack_late(conn, 90); /* packets below next + 10 know nothing from 90 on */
    assert_int_equal(awake->ack_floor, 90);
    assert_int_equal(awake->late[1].number, 90);
    assert_int_equal(awake->late[1].before, next + 10);
    conn->next_number = next + 20;
    sent.number = next + 5;
    weir_rudp_ack_late(conn, 95);
    assert_int_equal(awake->late[0].number, 90);
    assert_int_equal(awake->late[0].before, next + 10);
    assert_int_equal(awake->late[1].number, 95);
    conn->next_number = next + 30;
    weir_rudp_ack_late(conn, 93);
    assert_int_equal(awake->late[0].number, 90);
    assert_int_equal(awake->late[1].number, 93);
    assert_int_equal(awake->late[1].before, next + 30);
    sent.number = next + 10; /* those that 90 was for are gone */
    weir_rudp_ack_late(conn, 97);
    assert_int_equal(awake->late[0].number, 93);
    assert_int_equal(awake->late[1].number, 97);
    awake->sent_first = awake->sent_last = NULL;
    awake->ack_floor = 0;
    awake->late[0] = awake->late[1] = (struct late){0};
    close_case();
}

/* Of many ACKs in a packet one is looked at: each costs as much as there is in flight. */
static void one_ack_a_packet(void **state)
{
    static struct forged forged;
    (void)state;
    open_connected();
    run_for(WEIR_SEC);
    struct weir_rudp_conn *server = conn_of(SERVER);
    uint32_t before = (uint32_t)server->next_number - 1;
    assert_int_equal(send_number(SERVER, &delivery, 0, 8), WEIR_OK);
    pair_settle(&test.pair);
    assert_true(server->awake->in_flight_packets > 0);
    forge(&forged, server->largest_received);
    for (uint32_t i = 0; i < 2; i++) {
        struct weir_rudp_ack_frame ack = {.largest = before + i, .count = 1};
        forged.at = weir_rudp_encode_ack(forged.at, 64, &ack);
    }
    deliver(&forged);
    assert_true(server->awake->in_flight_packets > 0);
    close_case();
}

/* A peer without room for a message is not dead: the message arrives once there is room again. */
static void no_room_is_no_silence(void **state)
{
    enum {
        LENGTH = 40000
    };

    static const uint8_t large[LENGTH];
    (void)state;
    test.options.rudp.assembly_bytes = 1 << 16;
    test.options.rudp.message_bytes_max = LENGTH;
    open_connected();
    run_for(WEIR_SEC);
    struct weir_store *store = test.pair.hosts[SERVER].rudp->assembly_store;
    void *other = weir_store_take(store, LENGTH);
    assert_non_null(other);
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, large, LENGTH), WEIR_OK);
    run_for(30 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    weir_store_give(store, other, LENGTH);
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    close_case();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(skip_is_of_no_order_message, reset_case),
        cmocka_unit_test_setup(one_head_a_channel, reset_case),
        cmocka_unit_test_setup(old_packet_wakes_for_a_while, reset_case),
        cmocka_unit_test_setup(refused_message_wakes_for_a_while, reset_case),
        cmocka_unit_test_setup(resumed_while_all_are_busy, reset_case),
        cmocka_unit_test_setup(round_trip_stays_behind, reset_case),
        cmocka_unit_test_setup(endless_set, reset_case),
        cmocka_unit_test_setup(late_numbers_hold_the_floor, reset_case),
        cmocka_unit_test_setup(one_ack_a_packet, reset_case),
        cmocka_unit_test_setup(no_room_is_no_silence, reset_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
