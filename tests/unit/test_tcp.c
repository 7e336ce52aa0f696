/* SPDX-License-Identifier: MIT */
/*
 * test_tcp.c - TCP connections over a simulated link: opening, data both ways, closing, sleeping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "figures.h"
#include "tcp/internal.h"
#include "tcp_pair.h"

enum {
    BULK_MAX = 1 << 24
};

static struct world {
    unsigned rooms;
    struct tcp_pair pair;
    struct tcp_pair_options options;

    struct side {
        struct weir_tcp_conn *conn;
        uint64_t sent, wanted, received;
        unsigned opened, peer_closed, closed, writable, parcels;
        enum weir_tcp_close_cause cause;
        bool is_closing; /* closes when the peer does */
        bool is_echo;
    } sides[2];
} world;

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 2654435761U >> 24);
}

static void push(unsigned index)
{
    static uint8_t bytes[16384];
    struct side *side = &world.sides[index];
    struct weir_tcp *tcp = world.pair.hosts[index].tcp;
    while (side->conn != NULL && side->closed == 0 && side->sent < side->wanted) {
        size_t length = (size_t)(side->wanted - side->sent);
        length = length < sizeof(bytes) ? length : sizeof(bytes);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = byte_at(side->sent + i);
        }
        if (weir_tcp_send(tcp, side->conn, bytes, length) != WEIR_OK) {
            return;
        }
        side->sent += length;
    }
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    unsigned index = (unsigned)(host - pair->hosts);
    struct side *side = &world.sides[index];
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        side->opened++;
        side->conn = event->conn;
        assert_int_equal(event->opened.listener >= 0, index == 1);
        push(index);
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            assert_int_equal(event->data.span.data[i], byte_at(side->received + i));
        }
        side->received += event->data.span.length;
        if (side->is_echo) {
            side->wanted = side->received;
            push(index);
        }
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        side->parcels++;
        break;
    case WEIR_TCP_EVENT_WRITABLE:
        side->writable++;
        push(index);
        break;
    case WEIR_TCP_EVENT_URGENT:
        break;
    case WEIR_TCP_EVENT_ROOM:
        world.rooms++;
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        side->peer_closed++;
        if (side->is_closing) {
            assert_int_equal(weir_tcp_close(host->tcp, event->conn), WEIR_OK);
        }
        break;
    case WEIR_TCP_EVENT_CLOSED:
        side->closed++;
        side->cause = event->closed.cause;
        side->conn = NULL;
        break;
    }
}

static void start(void)
{
    memset(&world, 0, sizeof(world));
    tcp_pair_options_default(&world.options);
}

static void open_pair(void)
{
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
}

static void connect_pair(void)
{
    open_pair();
    tcp_pair_connect(&world.pair);
    world.sides[0].conn = world.pair.hosts[0].conn;
}

static void run(weir_nsec time)
{
    tcp_pair_run(&world.pair, world.pair.now + time);
}

static void the_loop_is_told_figures(void **state)
{
    (void)state;
    start();
    connect_pair();
    run(WEIR_SEC);
    struct weir_figures sums[2];
    for (unsigned i = 0; i < 2; i++) {
        const struct weir_tcp *tcp = world.pair.hosts[i].tcp;
        sums[i] =
            figures_check(weir_tcp_verbs(), tcp, weir_tcp_stats(tcp)->drops, WEIR_TCP_DROP_COUNT);
    }
    assert_int_equal(sums[0].bytes_sent, sums[1].bytes_received);
    assert_int_equal(sums[0].packets_sent, sums[1].packets_received);
    assert_true(sums[0].rtt > 0);
    assert_int_equal(sums[1].bytes_sent, sums[0].bytes_received);
    tcp_pair_close(&world.pair);
}

static void it_opens_and_closes(void **state)
{
    (void)state;
    start();
    connect_pair();
    world.sides[1].is_closing = true;
    run(WEIR_SEC);
    assert_int_equal(world.sides[0].opened, 1);
    assert_int_equal(world.sides[1].opened, 1);
    assert_int_equal(weir_tcp_close(world.pair.hosts[0].tcp, world.sides[0].conn), WEIR_OK);
    run(WEIR_SEC);
    assert_int_equal(world.sides[1].peer_closed, 1);
    assert_int_equal(world.sides[0].peer_closed, 1);
    assert_int_equal(world.sides[0].closed, 1);
    assert_int_equal(world.sides[1].closed, 1);
    assert_int_equal(world.sides[0].cause, WEIR_TCP_CAUSE_DONE);
    assert_int_equal(world.sides[1].cause, WEIR_TCP_CAUSE_DONE);
    assert_int_equal(weir_tcp_stats(world.pair.hosts[0].tcp)->time_wait, 1);
    assert_int_equal(weir_tcp_stats(world.pair.hosts[1].tcp)->connections, 0);
    run(80 * WEIR_SEC);
    assert_int_equal(weir_tcp_stats(world.pair.hosts[0].tcp)->connections, 0);
    tcp_pair_close(&world.pair);
}

static void transfer(uint64_t bytes, weir_nsec limit)
{
    world.sides[0].wanted = world.sides[1].wanted = bytes;
    connect_pair();
    weir_nsec end = world.pair.now + limit;
    while (world.pair.now < end &&
           (world.sides[0].received < bytes || world.sides[1].received < bytes)) {
        (void)tcp_pair_step(&world.pair, end);
    }
    assert_int_equal(world.sides[0].received, bytes);
    assert_int_equal(world.sides[1].received, bytes);
}

static void finish(void)
{
    world.sides[1].is_closing = true;
    assert_int_equal(weir_tcp_close(world.pair.hosts[0].tcp, world.sides[0].conn), WEIR_OK);
    run(120 * WEIR_SEC);
    assert_int_equal(world.sides[0].closed, 1);
    assert_int_equal(world.sides[1].closed, 1);
    assert_int_equal(world.sides[0].cause, WEIR_TCP_CAUSE_DONE);
    assert_int_equal(world.sides[1].cause, WEIR_TCP_CAUSE_DONE);
    for (unsigned i = 0; i < 2; i++) {
        const struct weir_tcp *tcp = world.pair.hosts[i].tcp;
        assert_int_equal(tcp->stats.connections, 0);
        assert_int_equal(tcp->awakes.used, 0);
        assert_int_equal(tcp->segments.used, 0);
        assert_int_equal(tcp->helds.used, 0);
        assert_int_equal(tcp->holes.used, 0);
        assert_int_equal(tcp->ranges.used, 0);
        assert_int_equal(weir_store_used_bytes(tcp->send_store), 0);
    }
    tcp_pair_close(&world.pair);
}

static void bytes_arrive_both_ways(void **state)
{
    (void)state;
    start();
    transfer(3000000, 30 * WEIR_SEC);
    finish();
}

static void bytes_arrive_over_a_bad_link(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        start();
        world.options.seed = seed;
        world.options.link.loss_ppm = 50000;
        world.options.link.jitter = 3 * WEIR_MSEC;
        world.options.link.reorder_ppm = 20000;
        world.options.link.duplicate_ppm = 20000;
        world.options.link.rate = 20000000;
        world.options.tcp.has_timestamps = (seed & 1) != 0;
        transfer(1000000, 200 * WEIR_SEC);
        finish();
    }
}

/* A sender that overruns a short queue leaves hundreds of holes: all are remembered. */
static void many_holes_are_kept(void **state)
{
    (void)state;
    const uint64_t bytes = 8000000;
    uint32_t blocks = 0;
    start();
    world.options.tcp.cc = WEIR_CC_BBR;
    world.options.link.rate = 100000000;
    world.options.link.queue_bytes = 250000;
    world.sides[0].wanted = bytes;
    connect_pair();
    weir_nsec end = world.pair.now + 10 * WEIR_SEC;
    while (world.pair.now < end && world.sides[1].received < bytes) {
        (void)tcp_pair_step(&world.pair, end);
        uint32_t used = world.pair.hosts[1].tcp->ranges.used;
        blocks = used > blocks ? used : blocks;
    }
    assert_int_equal(world.sides[1].received, bytes);
    assert_int_equal(blocks, 1);
    assert_int_equal(weir_tcp_stats(world.pair.hosts[1].tcp)->drops[WEIR_TCP_DROP_NO_ROOM], 0);
    finish();
}

/* --- sleeping --------------------------------------------------------------------------------- */

static void an_idle_connection_is_sixteen_bytes(void **state)
{
    (void)state;
    start();
    world.options.tcp.tuning.sleep_after = 0;
    world.sides[0].wanted = world.sides[1].wanted = 100000;
    connect_pair();
    run(10 * WEIR_SEC);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2; i++) {
            const struct weir_tcp *tcp = world.pair.hosts[i].tcp;
            struct weir_tcp_conn_stats stats;
            assert_int_equal(tcp->stats.awake, 0);
            assert_int_equal(tcp->awakes.used, 0);
            weir_tcp_conn_stats(tcp, world.sides[i].conn, &stats);
            assert_false(stats.is_awake);
            assert_int_equal(stats.state, WEIR_TCP_STATE_ESTABLISHED);
            assert_int_equal(stats.mss, 1460);
            assert_true(stats.has_sack);
        }
        assert_int_equal(weir_tcp_next_timeout(world.pair.hosts[0].tcp) > world.pair.now, true);
        world.sides[0].wanted += 70000;
        world.sides[1].wanted += 1;
        push(0);
        push(1);
        run(10 * WEIR_SEC);
        assert_int_equal(world.sides[1].received, world.sides[0].wanted);
        assert_int_equal(world.sides[0].received, world.sides[1].wanted);
    }
    finish();
}

static void a_million_connections_take_under_twenty_megabytes(void **state)
{
    (void)state;
    start();
    open_pair();
    struct weir_tcp_config config = world.pair.hosts[0].tcp->config;
    config.awake_max = 1000;
    config.connections_max = 1000000;
    size_t one = weir_tcp_mem_size(&config);
    config.connections_max = 2000000;
    size_t two = weir_tcp_mem_size(&config);
    assert_true(two - one < 20 * (size_t)1000000);
    assert_true(two - one > 16 * (size_t)1000000);
    tcp_pair_close(&world.pair);
}

static void half_closed_connections_sleep_too(void **state)
{
    (void)state;
    start();
    world.options.tcp.tuning.sleep_after = 0;
    world.options.tcp.tuning.fin_timeout = 20 * WEIR_SEC;
    connect_pair();
    run(WEIR_SEC);
    struct weir_tcp_conn_stats stats;
    assert_int_equal(weir_tcp_close(world.pair.hosts[0].tcp, world.sides[0].conn), WEIR_OK);
    run(WEIR_SEC);
    for (unsigned i = 0; i < 2; i++) {
        weir_tcp_conn_stats(world.pair.hosts[i].tcp, world.sides[i].conn, &stats);
        assert_false(stats.is_awake);
        assert_int_equal(stats.state,
                         i == 0 ? WEIR_TCP_STATE_FIN_WAIT_2 : WEIR_TCP_STATE_CLOSE_WAIT);
    }
    assert_int_equal(weir_tcp_send(world.pair.hosts[0].tcp, world.sides[0].conn, "x", 1),
                     WEIR_ERR_CLOSED);
    world.sides[1].wanted = 5000;
    push(1);
    run(WEIR_SEC);
    assert_int_equal(world.sides[0].received, 5000);
    /* Silence in FIN-WAIT-2 ends it. */
    run(120 * WEIR_SEC);
    assert_int_equal(world.sides[0].closed, 1);
    assert_int_equal(world.sides[0].cause, WEIR_TCP_CAUSE_TIMEOUT);
    tcp_pair_close(&world.pair);
}

/* --- many ------------------------------------------------------------------------------------- */

enum {
    CROWD = 200
};

static struct weir_tcp_conn *crowd[CROWD];
static unsigned crowd_count, crowd_parcels;
static uint64_t crowd_bytes;

static void on_crowd_event(struct tcp_pair *pair, struct tcp_host *host,
                           struct weir_tcp_event *event)
{
    if (event->type == WEIR_TCP_EVENT_OPENED && host == &pair->hosts[1]) {
        crowd[crowd_count++] = event->conn;
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        crowd_bytes += event->data.span.length;
    } else if (event->type == WEIR_TCP_EVENT_PARCEL_DONE) {
        assert_int_equal(event->parcel.outcome, WEIR_OUTCOME_ACKED);
        crowd_parcels++;
    }
}

static void one_parcel_goes_to_many(void **state)
{
    (void)state;
    static uint8_t bytes[10000];
    struct weir_parcel parcel = {.data = bytes, .length = sizeof(bytes)};
    uint32_t sent;
    start();
    crowd_count = crowd_parcels = 0;
    crowd_bytes = 0;
    world.options.tcp.connections_max = CROWD;
    world.options.tcp.half_open_max = CROWD; /* a lost cookie would have to be answered */
    world.options.link.loss_ppm = 20000;
    tcp_pair_open(&world.pair, &world.options, on_crowd_event, NULL);
    for (unsigned i = 0; i < CROWD; i++) {
        tcp_pair_connect(&world.pair);
    }
    run(20 * WEIR_SEC);
    assert_int_equal(crowd_count, CROWD);
    size_t before = weir_store_used_bytes(world.pair.hosts[1].tcp->send_store);
    assert_int_equal(weir_tcp_broadcast(world.pair.hosts[1].tcp, &parcel, crowd, CROWD, &sent),
                     WEIR_OK);
    assert_int_equal(sent, CROWD);
    assert_int_equal(parcel.references, CROWD);
    /* One copy of the data: the sends take a block of 64 bytes each. */
    assert_true(weir_store_used_bytes(world.pair.hosts[1].tcp->send_store) - before <=
                (size_t)CROWD * 64);
    run(60 * WEIR_SEC);
    assert_int_equal(crowd_parcels, CROWD);
    assert_int_equal(crowd_bytes, CROWD * (uint64_t)sizeof(bytes));
    assert_int_equal(parcel.references, 0);
    tcp_pair_close(&world.pair);
}

static void a_flood_of_syns_leaves_nothing_behind(void **state)
{
    (void)state;
    start();
    world.options.tcp.half_open_max = 4;
    world.options.link.delay = WEIR_MSEC;
    open_pair();
    struct tcp_host *server = &world.pair.hosts[1];
    for (uint32_t i = 0; i < 20000; i++) {
        struct weir_path path = {.local = tcp_pair_server_addr()};
        uint8_t bytes[WEIR_TCP_HEADER_MAX];
        assert_int_equal(weir_addr_parse("10.9.0.0:0", &path.remote), WEIR_OK);
        path.remote.ip[2] = (uint8_t)(i >> 8);
        path.remote.ip[3] = (uint8_t)i;
        path.local.port = 0;
        const struct weir_tcp_segment syn = {
            .source = 999, .target = 80, .seq = i, .flags = WEIR_TCP_SYN};
        struct weir_packet packet = {.data = bytes,
                                     .length = weir_tcp_encode(bytes, &syn),
                                     .path = &path,
                                     .is_checked = true};
        struct weir_tcp_event event;
        weir_tcp_input(server->tcp, world.pair.now, &packet, 1);
        assert_int_equal(weir_tcp_event(server->tcp, &event), WEIR_AGAIN);
        if (i % 100 == 0) {
            tcp_pair_settle(&world.pair);
        }
    }
    assert_int_equal(server->tcp->stats.half_open, 4);
    assert_int_equal(server->tcp->stats.connections, 4);
    assert_true(server->tcp->stats.cookies_sent > 10000);
    /* An honest client comes through. */
    world.sides[0].wanted = 1000;
    world.sides[1].is_echo = true;
    tcp_pair_connect(&world.pair);
    world.sides[0].conn = world.pair.hosts[0].conn;
    run(5 * WEIR_SEC);
    assert_int_equal(world.sides[0].received, 1000);
    assert_int_equal(server->tcp->stats.cookies_accepted, 1);
    tcp_pair_close(&world.pair);
}

static void any_address_is_listened_to(void **state)
{
    (void)state;
    start();
    open_pair();
    int listener;
    struct weir_addr any;
    struct weir_path path = {.local = world.pair.hosts[0].base.driver->local,
                             .remote = tcp_pair_server_addr()};
    assert_int_equal(weir_addr_parse("0.0.0.0:81", &any), WEIR_OK);
    assert_int_equal(weir_tcp_listen(world.pair.hosts[1].tcp, &any, &listener), WEIR_OK);
    assert_int_equal(weir_tcp_listen(world.pair.hosts[1].tcp, &any, &listener), WEIR_ERR_FULL);
    path.remote.port = 81;
    path.local.port = 5000;
    assert_int_equal(weir_tcp_connect(world.pair.hosts[0].tcp, world.pair.now, &path, NULL,
                                      &world.sides[0].conn),
                     WEIR_OK);
    assert_int_equal(weir_tcp_connect(world.pair.hosts[0].tcp, world.pair.now, &path, NULL,
                                      &world.sides[0].conn),
                     WEIR_ERR_FULL);
    run(WEIR_SEC);
    assert_int_equal(world.sides[1].opened, 1);
    struct weir_path seen = weir_tcp_path(world.pair.hosts[1].tcp, world.sides[1].conn);
    assert_true(weir_addr_is_equal(&seen.local, &path.remote));
    assert_true(weir_addr_is_equal(&seen.remote, &path.local));
    tcp_pair_close(&world.pair);
}

/* --- small pools ------------------------------------------------------------------------------ */

/* Who was told that all control blocks are busy is told when one is not. */
static void room_is_told_of(void **state)
{
    (void)state;
    struct weir_tcp_conn *conns[4];
    const uint8_t bytes[3] = {byte_at(0), byte_at(1), byte_at(2)};
    start();
    world.options.tcp.awake_max = 3; /* one of them is kept for what comes in */
    open_pair();
    struct weir_tcp *tcp = world.pair.hosts[0].tcp;
    for (unsigned i = 0; i < 4; i++) {
        tcp_pair_connect(&world.pair);
        conns[i] = world.pair.hosts[0].conn;
        run(3 * WEIR_SEC);
    }
    assert_int_equal(weir_tcp_send(tcp, conns[0], &bytes[0], 1), WEIR_OK);
    assert_int_equal(weir_tcp_send(tcp, conns[1], &bytes[1], 1), WEIR_OK);
    assert_int_equal(world.rooms, 0);
    assert_int_equal(weir_tcp_send(tcp, conns[2], &bytes[2], 1), WEIR_AGAIN);
    assert_int_equal(weir_tcp_close(tcp, conns[3]), WEIR_AGAIN);
    run(30 * WEIR_MSEC);
    assert_int_equal(world.rooms, 0);
    /* One event for both, as soon as the first byte is acknowledged; no need to wait for sleep. */
    run(60 * WEIR_MSEC);
    assert_int_equal(world.rooms, 1);
    assert_int_equal(weir_tcp_send(tcp, conns[2], &bytes[2], 1), WEIR_OK);
    assert_int_equal(weir_tcp_close(tcp, conns[3]), WEIR_OK);
    run(3 * WEIR_SEC);
    assert_int_equal(world.rooms, 1);
    assert_int_equal(world.sides[1].received, 3);
    tcp_pair_close(&world.pair);
}

/* --- joined segments -------------------------------------------------------------------------- */

/* All bytes of a transmit, wherever they lie. Returns those that were not behind its header. */
static uint32_t copy_transmit(uint8_t *to, const struct weir_transmit *transmit)
{
    uint32_t near_bytes = transmit->length - transmit->tail_bytes;
    memcpy(to, transmit->data, near_bytes);
    if (transmit->tail_bytes > 0) {
        memcpy(to + near_bytes, transmit->tail, transmit->tail_bytes);
    }
    return transmit->tail_bytes;
}

static uint64_t tail_bytes; /* since the last start of joined_segments_are_cut_and_resent */
static bool is_gathered;

/* What one host has to say goes to the other at once, joined as it is, but for every so manieth. */
static bool pass_joined(unsigned from, unsigned *count, unsigned lost_every)
{
    static uint8_t buffer[1 << 18];
    struct tcp_host *host = &world.pair.hosts[from];
    struct tcp_host *other = &world.pair.hosts[1 - from];
    struct weir_transmit transmits[16];
    struct weir_tcp_event event;
    struct weir_tx tx = {.buffer = buffer,
                         .buffer_bytes = sizeof(buffer),
                         .transmits = transmits,
                         .transmits_max = 16,
                         .headroom_bytes = 40,
                         .is_joined = true,
                         .is_unchecked = true,
                         .is_gathered = is_gathered};
    weir_tcp_timeout(host->tcp, world.pair.now);
    (void)weir_tcp_output(host->tcp, world.pair.now, &tx);
    for (uint32_t i = 0; i < tx.count; i++) {
        const struct weir_transmit *transmit = &transmits[i];
        struct weir_path path = {.local = transmit->path.remote, .remote = transmit->path.local};
        struct weir_mut_span room = weir_slide_room(other->base.slide);
        assert_true(transmit->length <= 65535);
        assert_true(transmit->data >= buffer + 40);
        if (++*count % lost_every == 0) {
            continue;
        }
        tail_bytes += copy_transmit(room.data, transmit);
        weir_slide_received(other->base.slide, transmit->length);
        struct weir_packet packet = {.data = room.data,
                                     .path = &path,
                                     .length = transmit->length,
                                     .protocol = WEIR_PROTOCOL_TCP,
                                     .is_checked = true};
        if (transmit->header_bytes > 0) {
            packet.segment_bytes = transmit->segment_bytes;
        }
        weir_tcp_input(other->tcp, world.pair.now, &packet, 1);
        while (weir_tcp_event(other->tcp, &event) == WEIR_OK) {
            on_event(&world.pair, other, &event);
        }
    }
    while (weir_tcp_event(host->tcp, &event) == WEIR_OK) {
        on_event(&world.pair, host, &event);
    }
    return tx.count > 0;
}

static void joined_segments_are_cut_and_resent(void **state)
{
    (void)state;
    for (unsigned lost_every = 3; lost_every < 40; lost_every += 4) {
        start();
        world.options.tcp.has_timestamps = (lost_every & 4) != 0;
        world.options.tcp.tuning.rto_min = 10 * WEIR_MSEC;
        is_gathered = (lost_every & 8) != 0;
        tail_bytes = 0;
        unsigned count = 1;
        world.sides[0].wanted = 4000000;
        world.sides[1].wanted = 1000000;
        connect_pair();
        for (unsigned step = 0; step < 2000000 && (world.sides[1].received < 4000000 ||
                                                   world.sides[0].received < 1000000);
             step++) {
            bool is_moving = pass_joined(0, &count, lost_every);
            is_moving |= pass_joined(1, &count, lost_every);
            world.pair.now += is_moving ? 50 * WEIR_USEC : WEIR_MSEC;
        }
        assert_int_equal(world.sides[1].received, 4000000);
        assert_int_equal(world.sides[0].received, 1000000);
        assert_true(is_gathered == (tail_bytes > 0));
        /* Whole: 4 MB are 2,740 segments. */
        assert_true(lost_every < 12 || weir_tcp_stats(world.pair.hosts[0].tcp)->packets_sent < 400);
        tcp_pair_close(&world.pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_is_told_figures),
        cmocka_unit_test(it_opens_and_closes),
        cmocka_unit_test(bytes_arrive_both_ways),
        cmocka_unit_test(bytes_arrive_over_a_bad_link),
        cmocka_unit_test(many_holes_are_kept),
        cmocka_unit_test(an_idle_connection_is_sixteen_bytes),
        cmocka_unit_test(a_million_connections_take_under_twenty_megabytes),
        cmocka_unit_test(half_closed_connections_sleep_too),
        cmocka_unit_test(one_parcel_goes_to_many),
        cmocka_unit_test(a_flood_of_syns_leaves_nothing_behind),
        cmocka_unit_test(any_address_is_listened_to),
        cmocka_unit_test(room_is_told_of),
        cmocka_unit_test(joined_segments_are_cut_and_resent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
