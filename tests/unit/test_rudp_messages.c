/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_messages.c - what RUDP does with messages, in virtual time: guarantees, sets,
 * deadlines, parcels, priorities, windows, and no allocation on the way.
 */
#include "rudp_case.h"

static const struct weir_rudp_send none = {.guarantee = WEIR_RUDP_NONE};
static const struct weir_rudp_send order = {.guarantee = WEIR_RUDP_ORDER};
static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

/* --- allocations (the linker sends the program's calls here) ---------------------------------- */

/* NOLINTBEGIN: the linker makes the names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

static uint64_t allocations;

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    allocations++;
    return __real_realloc(old, size);
}

void __wrap_free(void *old)
{
    allocations++;
    __real_free(old);
}

/* NOLINTEND */

static void exchange_allocates_nothing(void **state)
{
    (void)state;
    test.options.link.loss_ppm = 50000;
    open_connected();
    uint64_t before = allocations;
    assert_true(before > 0); /* opening did: so they are counted */
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, i % 10 == 0 ? 30000 : 100), WEIR_OK);
        assert_int_equal(send_number(SERVER, &order, i, 200), WEIR_OK);
        run_for(10 * WEIR_MSEC);
    }
    run_for(20 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 300);
    assert_int_equal(allocations, before);
    close_case();
}

/* --- losing single packets -------------------------------------------------------------------- */

static void set_loss(uint32_t ppm)
{
    struct pair *pair = &test.pair;
    struct weir_sim_link link = test.options.link;
    link.loss_ppm = ppm;
    assert_int_equal(
        weir_sim_set_link(pair->sim, pair->hosts[0].base.driver, pair->hosts[1].base.driver, &link),
        WEIR_OK);
}

/* Sends one from the client in a packet that never arrives. */
static void send_lost(const struct weir_rudp_send *how, uint32_t number)
{
    set_loss(1000000);
    assert_int_equal(send_number(CLIENT, how, number, 100), WEIR_OK);
    pair_settle(&test.pair);
    set_loss(0);
}

static void send_now(const struct weir_rudp_send *how, uint32_t number)
{
    assert_int_equal(send_number(CLIENT, how, number, 100), WEIR_OK);
    pair_settle(&test.pair);
}

/* --- guarantees ------------------------------------------------------------------------------- */

static void delivery_waits_for_the_lost(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0, 1, 2, 3};
    open_connected();
    run_for(WEIR_SEC);
    send_now(&delivery, 0);
    send_lost(&delivery, 1);
    send_now(&delivery, 2);
    send_now(&delivery, 3);
    run_for(25 * WEIR_MSEC);
    assert_numbers(&test.logs[SERVER], expected, 1); /* 2 and 3 are there, and wait */
    run_for(WEIR_SEC);
    assert_numbers(&test.logs[SERVER], expected, 4);
    close_case();
}

static void order_passes_over_the_lost(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0, 2, 4};
    open_connected();
    run_for(WEIR_SEC);
    send_now(&order, 0);
    send_lost(&order, 1);
    send_now(&order, 2);
    send_lost(&none, 3);
    send_now(&none, 4);
    run_for(2 * WEIR_SEC);
    assert_numbers(&test.logs[SERVER], expected, 3);
    close_case();
}

/* Order messages that come after a delivery message wait for it. */
static void order_comes_after_delivery(void **state)
{
    (void)state;
    static const uint32_t expected[] = {1, 2};
    open_connected();
    run_for(WEIR_SEC);
    send_lost(&delivery, 1);
    send_now(&order, 2);
    run_for(25 * WEIR_MSEC);
    assert_int_equal(test.logs[SERVER].messages, 0);
    run_for(WEIR_SEC);
    assert_numbers(&test.logs[SERVER], expected, 2);
    close_case();
}

static void channels_do_not_wait_for_each_other(void **state)
{
    (void)state;
    static const uint32_t expected[] = {2, 1};
    struct weir_rudp_send other = {.guarantee = WEIR_RUDP_DELIVERY, .channel = 1};
    open_connected();
    run_for(WEIR_SEC);
    send_lost(&delivery, 1);
    send_now(&other, 2);
    run_for(WEIR_SEC);
    assert_numbers(&test.logs[SERVER], expected, 2);
    other.channel = (uint8_t)test.options.rudp.channels_max;
    assert_int_equal(send_number(CLIENT, &other, 3, 100), WEIR_ERR_INVALID);
    close_case();
}

/* --- sets ------------------------------------------------------------------------------------- */

/* Inside a set nothing waits for a lost one; the next set does, and the lost one is not taken for
 * received. */
static void sets_are_free_inside(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0, 2, 3, 1, 4, 5};
    open_connected();
    run_for(WEIR_SEC);
    send_now(&delivery, 0);
    assert_int_equal(weir_rudp_set_begin(conn_of(CLIENT), 0), WEIR_OK);
    send_lost(&delivery, 1);
    send_now(&delivery, 2);
    send_now(&delivery, 3);
    assert_int_equal(weir_rudp_set_end(conn_of(CLIENT), 0), WEIR_OK);
    send_now(&delivery, 4);
    send_now(&order, 5);
    run_for(25 * WEIR_MSEC);
    assert_numbers(&test.logs[SERVER], expected, 3);
    run_for(WEIR_SEC);
    assert_numbers(&test.logs[SERVER], expected, 6);
    close_case();
}

static void sets_wait_for_each_other(void **state)
{
    (void)state;
    static const uint32_t expected[] = {2, 1, 4, 3};
    open_connected();
    run_for(WEIR_SEC);
    assert_int_equal(weir_rudp_set_begin(conn_of(CLIENT), 0), WEIR_OK);
    send_lost(&delivery, 1);
    send_now(&delivery, 2);
    assert_int_equal(weir_rudp_set_begin(conn_of(CLIENT), 0), WEIR_OK); /* ends the first */
    send_lost(&delivery, 3);
    send_now(&delivery, 4);
    run_for(2 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 4);
    for (uint32_t i = 0; i < 4; i++) {
        bool is_first_set = test.logs[SERVER].records[i].number <= 2;
        assert_true(is_first_set == (expected[i] <= 2));
    }
    assert_int_equal(weir_rudp_set_begin(conn_of(CLIENT), 200), WEIR_ERR_INVALID);
    close_case();
}

/* --- deadlines and parcels -------------------------------------------------------------------- */

static void expired_delivery_is_passed_over(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0, 2, 3};
    open_connected();
    run_for(WEIR_SEC);
    struct weir_rudp_send soon = delivery;
    send_now(&delivery, 0);
    set_loss(1000000);
    soon.deadline = test.pair.now + 50 * WEIR_MSEC;
    send_now(&soon, 1);
    send_now(&delivery, 2);
    run_for(200 * WEIR_MSEC);
    set_loss(0);
    send_now(&delivery, 3);
    for (unsigned i = 0; i < 50 && test.logs[SERVER].messages < 3; i++) {
        run_for(100 * WEIR_MSEC);
    }
    assert_numbers(&test.logs[SERVER], expected, 3);
    struct weir_rudp_conn_stats stats;
    weir_rudp_conn_stats(conn_of(CLIENT), &stats);
    assert_int_equal(stats.messages_expired, 1);
    close_case();
}

static struct weir_parcel parcel_of(const void *data, uint32_t length)
{
    return (struct weir_parcel){.data = data, .length = length};
}

static void parcels_say_how_they_ended(void **state)
{
    (void)state;
    static uint8_t bytes[5000];
    struct weir_parcel acked = parcel_of(bytes, sizeof(bytes));
    struct weir_parcel sent = parcel_of(bytes, 10);
    struct weir_parcel expired = parcel_of(bytes, 3000);
    struct weir_parcel closed = parcel_of(bytes, 3000);
    struct weir_rudp_send soon = delivery;
    const uint32_t *done = test.logs[CLIENT].done;
    open_connected();
    for (unsigned i = 0; i < 3; i++) { /* one parcel, many sends */
        assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &delivery, &acked), WEIR_OK);
    }
    assert_int_equal(acked.references, 3);
    assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &order, &sent), WEIR_OK);
    run_for(2 * WEIR_SEC);
    assert_int_equal(acked.references, 0);
    assert_int_equal(done[WEIR_OUTCOME_ACKED], 3);
    assert_int_equal(done[WEIR_OUTCOME_SENT], 1);
    assert_int_equal(test.logs[SERVER].messages, 4);
    set_loss(1000000);
    soon.deadline = test.pair.now + 50 * WEIR_MSEC;
    assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &soon, &expired), WEIR_OK);
    run_for(WEIR_SEC);
    set_loss(0);
    run_for(5 * WEIR_SEC);
    assert_int_equal(done[WEIR_OUTCOME_EXPIRED], 1);
    assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &delivery, &closed), WEIR_OK);
    weir_rudp_abort(conn_of(CLIENT), 0, "");
    run_for(2 * WEIR_SEC);
    assert_int_equal(done[WEIR_OUTCOME_CLOSED], 1);
    assert_int_equal(sent.references + expired.references + closed.references, 0);
    close_case();
}

/* --- priorities and company ------------------------------------------------------------------- */

static void urgent_leaves_first(void **state)
{
    (void)state;
    test.options.link.rate = 2000000;
    open_connected();
    for (uint32_t i = 0; i < 50; i++) {
        struct weir_rudp_send low = {.guarantee = WEIR_RUDP_DELIVERY,
                                     .priority = WEIR_RUDP_PRIORITY_LOW};
        assert_int_equal(send_number(CLIENT, &low, i, 1000), WEIR_OK);
    }
    struct weir_rudp_send urgent = {
        .guarantee = WEIR_RUDP_DELIVERY, .channel = 1, .priority = WEIR_RUDP_PRIORITY_URGENT};
    assert_int_equal(send_number(CLIENT, &urgent, 1000, 1000), WEIR_OK);
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 51);
    assert_int_equal(test.logs[SERVER].records[0].number, 1000);
    close_case();
}

static uint64_t datagrams_sent(void)
{
    const struct pair *pair = &test.pair;
    return weir_sim_stats(pair->sim, pair->hosts[0].base.driver, pair->hosts[1].base.driver).sent;
}

static void small_messages_wait_for_company(void **state)
{
    (void)state;
    test.options.rudp.flush_delay = 20 * WEIR_MSEC;
    open_connected();
    run_for(3 * WEIR_SEC);
    uint64_t before = datagrams_sent();
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 50), WEIR_OK);
        run_for(WEIR_MSEC);
    }
    assert_int_equal(datagrams_sent(), before);
    run_for(15 * WEIR_MSEC);
    assert_int_equal(datagrams_sent(), before + 1);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 10);
    before = datagrams_sent();
    assert_int_equal(send_number(CLIENT, &delivery, 10, 50), WEIR_OK);
    weir_rudp_flush(conn_of(CLIENT));
    pair_settle(&test.pair);
    assert_int_equal(datagrams_sent(), before + 1);
    close_case();
}

/* --- sizes and numbers ------------------------------------------------------------------------ */

static void numbers_wrap(void **state)
{
    (void)state;

    enum {
        COUNT = 3000
    };

    test.options.link.loss_ppm = 20000;
    open_connected();
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(send_number(CLIENT, i % 3 == 0 ? &order : &delivery, i, 40), WEIR_OK);
        run_for(WEIR_MSEC);
    }
    run_for(10 * WEIR_SEC);
    const struct log *log = &test.logs[SERVER];
    uint32_t deliveries = 0;
    for (uint32_t i = 0; i < log->messages; i++) {
        assert_true(i == 0 || log->records[i].number > log->records[i - 1].number);
        deliveries += log->records[i].guarantee == WEIR_RUDP_DELIVERY;
    }
    assert_int_equal(deliveries, COUNT - COUNT / 3);
    assert_true(conn_of(CLIENT)->next_number > UINT32_MAX);
    assert_true(conn_of(CLIENT)->channel0.send_dseq > UINT32_MAX);
    close_case();
}

static void longest_message_both_ways(void **state)
{
    (void)state;
    struct weir_rudp_config *config = &test.options.rudp;
    config->message_bytes_max = WEIR_RUDP_MESSAGE_BYTES_MAX;
    config->receive_window_bytes = WEIR_RUDP_MESSAGE_BYTES_MAX + MESSAGE_COST_BYTES;
    uint8_t *bytes = malloc(WEIR_RUDP_MESSAGE_BYTES_MAX + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < WEIR_RUDP_MESSAGE_BYTES_MAX; i++) {
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    uint64_t sum = sum_bytes(bytes, WEIR_RUDP_MESSAGE_BYTES_MAX);
    struct weir_parcel parcel = parcel_of(bytes, WEIR_RUDP_MESSAGE_BYTES_MAX);
    open_connected();
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, bytes, parcel.length + 1),
                     WEIR_ERR_TOO_LARGE);
    assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &delivery, &parcel), WEIR_OK);
    assert_int_equal(weir_rudp_send(conn_of(SERVER), &delivery, bytes, parcel.length), WEIR_OK);
    run_for(60 * WEIR_SEC);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(test.logs[i].messages, 1);
        assert_int_equal(test.logs[i].records[0].length, WEIR_RUDP_MESSAGE_BYTES_MAX);
        assert_true(test.logs[i].sum == sum);
    }
    close_case();
    free(bytes);
}

/* Many at once: empty messages must end a packet too when it is full. */
static void empty_messages(void **state)
{
    (void)state;
    static const uint8_t nothing[1];
    struct weir_parcel parcel = parcel_of(nothing, 0);
    open_connected();
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &none, nothing, 0), WEIR_OK);
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &order, nothing, 0), WEIR_OK);
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, nothing, 0), WEIR_OK);
    assert_int_equal(weir_rudp_send_parcel(conn_of(CLIENT), &delivery, &parcel), WEIR_OK);
    assert_int_equal(weir_rudp_send_written(conn_of(CLIENT), &delivery), WEIR_OK);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 5);
    for (uint32_t i = 0; i < 2000; i++) {
        const struct weir_rudp_send how = {.guarantee =
                                               i % 2 == 0 ? WEIR_RUDP_DELIVERY : WEIR_RUDP_ORDER,
                                           .channel = (uint8_t)(i % 3)};
        assert_int_equal(weir_rudp_send(conn_of(CLIENT), &how, nothing, 0), WEIR_OK);
    }
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 2005);
    for (uint32_t i = 0; i < 2005; i++) {
        assert_int_equal(test.logs[SERVER].records[i].length, 0);
    }
    assert_int_equal(test.logs[CLIENT].done[WEIR_OUTCOME_ACKED], 1);
    close_case();
}

static void written_in_parts(void **state)
{
    (void)state;
    uint8_t *room;
    open_connected();
    struct weir_rudp_conn *conn = conn_of(CLIENT);
    assert_int_equal(weir_rudp_commit(conn, 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_rudp_reserve(conn, 3000, &room), WEIR_OK);
    memset(room, 1, 3000);
    assert_int_equal(weir_rudp_commit(conn, 3001), WEIR_ERR_INVALID);
    assert_int_equal(weir_rudp_commit(conn, 2000), WEIR_OK);
    assert_int_equal(weir_rudp_write(conn, "abc", 3), WEIR_OK);
    assert_int_equal(weir_rudp_send_written(conn, &delivery), WEIR_OK);
    assert_int_equal(weir_rudp_write(conn, "thrown away", 11), WEIR_OK);
    weir_rudp_clear_written(conn);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    assert_int_equal(test.logs[SERVER].records[0].length, 2003);
    close_case();
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void full_then_writable(void **state)
{
    (void)state;
    test.options.rudp.send_queue_bytes = 20000;
    open_connected();
    uint32_t sent = 0;
    while (send_number(CLIENT, &delivery, sent, 1000) == WEIR_OK) {
        sent++;
        assert_true(sent < 20);
    }
    assert_int_equal(send_number(CLIENT, &delivery, sent, 1000), WEIR_ERR_FULL);
    assert_int_equal(test.logs[CLIENT].writable, 0);
    run_for(2 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].writable, 1);
    assert_int_equal(test.logs[SERVER].messages, sent);
    assert_int_equal(send_number(CLIENT, &delivery, sent, 1000), WEIR_OK);
    close_case();
}

static void pause_stops_the_sender(void **state)
{
    (void)state;

    enum {
        COUNT = 200,
        BYTES = 1000
    };

    test.options.rudp.message_bytes_max = 10000;
    test.options.rudp.receive_window_bytes = 50000;
    open_connected();
    weir_rudp_pause(conn_of(SERVER), true);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, BYTES), WEIR_OK);
    }
    run_for(5 * WEIR_SEC);
    /* No more than the window that was granted before. */
    assert_in_range(test.logs[SERVER].messages, 1, 50000 / BYTES);
    run_for(30 * WEIR_SEC);
    assert_in_range(test.logs[SERVER].messages, 1, 50000 / BYTES);
    weir_rudp_pause(conn_of(SERVER), false);
    run_for(10 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, COUNT);
    close_case();
}

/* Events that nobody pulled before the next batch: as if the packets had been lost on the way. */
static void undrained_messages_come_again(void **state)
{
    (void)state;

    enum {
        COUNT = 8
    };

    open_connected();
    run_for(WEIR_SEC);
    struct pair *pair = &test.pair;
    struct pair_host *server = &pair->hosts[SERVER];
    for (uint32_t i = 0; i < COUNT; i++) {
        send_now(&delivery, i);
    }
    pair->now += 20 * WEIR_MSEC;
    uint32_t count = 0;
    struct weir_mut_span room = weir_slide_room(server->base.slide);
    assert_int_equal(server->base.driver->ops->receive(server->base.driver, pair->now, room,
                                                       server->base.packets, SIM_HOST_PACKETS,
                                                       &count),
                     WEIR_OK);
    assert_int_equal(count, COUNT);
    weir_slide_received(server->base.slide, room.length / 2);
    struct weir_rudp_event event;
    weir_rudp_input(server->rudp, pair->now, server->base.packets, count);
    assert_int_equal(weir_rudp_event(server->rudp, &event), WEIR_OK);
    log_event(pair, server, &event);
    weir_rudp_input(server->rudp, pair->now, server->base.packets, 0);
    assert_true(weir_rudp_stats(server->rudp)->drops[WEIR_RUDP_DROP_UNDRAINED] >= COUNT - 1);
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(test.logs[SERVER].records[i].number, i);
    }
    close_case();
}

#define CASE(name) cmocka_unit_test_setup(name, reset_case)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(exchange_allocates_nothing),
        CASE(delivery_waits_for_the_lost),
        CASE(order_passes_over_the_lost),
        CASE(order_comes_after_delivery),
        CASE(channels_do_not_wait_for_each_other),
        CASE(sets_are_free_inside),
        CASE(sets_wait_for_each_other),
        CASE(expired_delivery_is_passed_over),
        CASE(parcels_say_how_they_ended),
        CASE(urgent_leaves_first),
        CASE(small_messages_wait_for_company),
        CASE(numbers_wrap),
        CASE(longest_message_both_ways),
        CASE(empty_messages),
        CASE(written_in_parts),
        CASE(full_then_writable),
        CASE(pause_stops_the_sender),
        CASE(undrained_messages_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
