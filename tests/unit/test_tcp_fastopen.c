/* SPDX-License-Identifier: MIT */
/*
 * test_tcp_fastopen.c - data in the SYN between two of our endpoints: a round trip less, no byte
 * twice or lost, nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tcp/internal.h"
#include "tcp_pair.h"

static struct world {
    struct tcp_pair pair;
    struct tcp_pair_options options;
    uint64_t received[2];
    unsigned opened[2], closed[2];
    weir_nsec answered_at;
    enum weir_tcp_close_cause cause;
    bool is_mute; /* the server does not answer */
} world;

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 2654435761U >> 24);
}

static void send_bytes(unsigned side, struct weir_tcp_conn *conn, uint32_t count)
{
    static uint8_t bytes[10000];
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = byte_at(i);
    }
    assert_int_equal(weir_tcp_send(world.pair.hosts[side].tcp, conn, bytes, count), WEIR_OK);
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    unsigned side = (unsigned)(host - pair->hosts);
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        world.opened[side]++;
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            assert_int_equal(event->data.span.data[i], byte_at(world.received[side] + i));
        }
        world.received[side] += event->data.span.length;
        if (side == 1 && !world.is_mute) {
            send_bytes(1, event->conn, 3000);
        }
        world.answered_at = side == 0 && world.answered_at == 0 ? pair->now : world.answered_at;
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        assert_int_equal(weir_tcp_close(host->tcp, event->conn), WEIR_OK);
        break;
    case WEIR_TCP_EVENT_CLOSED:
        world.closed[side]++;
        world.cause = event->closed.cause;
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
    case WEIR_TCP_EVENT_WRITABLE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_ROOM:
        break;
    }
}

static void start(void)
{
    memset(&world, 0, sizeof(world));
    tcp_pair_options_default(&world.options);
    world.options.tcp.is_fast_open = true;
}

static void run(weir_nsec time)
{
    tcp_pair_run(&world.pair, world.pair.now + time);
}

/* Connects with count bytes that are there when the SYN leaves. */
static void ask(uint32_t count)
{
    world.received[0] = world.received[1] = 0;
    world.answered_at = 0;
    tcp_pair_connect(&world.pair);
    send_bytes(0, world.pair.hosts[0].conn, count);
}

static void finish(void)
{
    assert_int_equal(weir_tcp_close(world.pair.hosts[0].tcp, world.pair.hosts[0].conn), WEIR_OK);
    run(3 * WEIR_SEC);
}

static void a_round_trip_is_saved(void **state)
{
    (void)state;
    start();
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
    const struct weir_tcp_stats *client = weir_tcp_stats(world.pair.hosts[0].tcp);
    const struct weir_tcp_stats *server = weir_tcp_stats(world.pair.hosts[1].tcp);
    weir_nsec begin = world.pair.now;
    ask(500);
    run(WEIR_SEC);
    assert_in_range(world.answered_at - begin, 80 * WEIR_MSEC, 85 * WEIR_MSEC);
    finish();
    begin = world.pair.now;
    ask(500);
    run(WEIR_SEC);
    assert_in_range(world.answered_at - begin, 40 * WEIR_MSEC, 45 * WEIR_MSEC);
    assert_int_equal(world.received[0], 3000);
    assert_int_equal(world.received[1], 500);
    assert_int_equal(client->fast_active, 1);
    assert_int_equal(server->fast_passive, 1);
    assert_int_equal(server->fast_pending, 0);
    assert_int_equal(server->half_open, 0);
    finish();
    assert_int_equal(world.closed[1], 2);
    tcp_pair_close(&world.pair);
}

/* More than a SYN takes, over a link that loses and repeats: every byte once. */
static void nothing_is_lost_or_doubled(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        start();
        world.is_mute = true;
        world.options.seed = seed;
        world.options.tcp.has_timestamps = seed % 2 == 0;
        world.options.tcp.tuning.is_user_timeout_advertised = seed % 3 == 0;
        tcp_pair_open(&world.pair, &world.options, on_event, NULL);
        ask(100);
        run(WEIR_SEC);
        finish();
        struct weir_sim_link link = world.options.link;
        link.loss_ppm = 250000;
        link.duplicate_ppm = 200000;
        link.reorder_ppm = 200000;
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(weir_sim_set_link(world.pair.sim, world.pair.hosts[i].base.driver,
                                               world.pair.hosts[1 - i].base.driver, &link),
                             WEIR_OK);
        }
        ask(9000);
        for (unsigned i = 0; i < 100 && world.received[1] < 9000; i++) {
            run(60 * WEIR_SEC);
        }
        if (world.received[1] != 9000) {
            print_message("seed %llu: %llu bytes\n", (unsigned long long)seed,
                          (unsigned long long)world.received[1]);
        }
        assert_int_equal(world.received[1], 9000);
        assert_int_equal(world.pair.hosts[1].tcp->stats.fast_pending, 0);
        assert_int_equal(world.pair.hosts[1].tcp->stats.half_open, 0);
        assert_int_equal(weir_tcp_abort(world.pair.hosts[0].tcp, world.pair.hosts[0].conn),
                         WEIR_OK);
        run(600 * WEIR_SEC);
        assert_int_equal(weir_store_used_bytes(world.pair.hosts[0].tcp->send_store), 0);
        assert_int_equal(world.pair.hosts[0].tcp->segments.used, 0);
        tcp_pair_close(&world.pair);
    }
}

/* Parcels that went with the SYN come back like all others. */
static void parcels_go_with_the_syn(void **state)
{
    (void)state;
    static uint8_t bytes[700];
    struct weir_parcel parcel = {.data = bytes, .length = sizeof(bytes)};
    start();
    world.is_mute = true;
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = byte_at(i);
    }
    ask(10);
    run(WEIR_SEC);
    finish();
    world.received[1] = 0;
    tcp_pair_connect(&world.pair);
    struct weir_tcp_conn *conn = world.pair.hosts[0].conn;
    assert_int_equal(weir_tcp_send_parcel(world.pair.hosts[0].tcp, conn, &parcel), WEIR_OK);
    assert_int_equal(parcel.references, 1);
    run(30 * WEIR_MSEC);
    assert_int_equal(world.received[1], 700);
    run(WEIR_SEC);
    assert_int_equal(parcel.references, 0);
    finish();
    tcp_pair_close(&world.pair);
}

/* Of many servers the ones used least are forgotten. */
static void the_memory_of_servers_is_bounded(void **state)
{
    (void)state;
    int listener;
    start();
    world.is_mute = true;
    world.options.tcp.fast_open_servers_max = 2;
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
    struct weir_addr server = tcp_pair_server_addr();
    struct weir_path path = {.local = world.pair.hosts[0].base.driver->local};
    for (unsigned i = 0; i < 8; i++) {
        path.remote = server;
        path.remote.port = (uint16_t)(server.port + 1 + i % 4);
        (void)weir_tcp_listen(world.pair.hosts[1].tcp, &path.remote, &listener);
        path.local.port = 0;
        assert_int_equal(weir_tcp_connect(world.pair.hosts[0].tcp, world.pair.now, &path, NULL,
                                          &world.pair.hosts[0].conn),
                         WEIR_OK);
        send_bytes(0, world.pair.hosts[0].conn, 100);
        world.received[1] = 0;
        run(WEIR_SEC);
        assert_int_equal(world.received[1], 100);
        finish();
    }
    assert_int_equal(weir_tcp_stats(world.pair.hosts[0].tcp)->fast_active, 0);
    tcp_pair_close(&world.pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_trip_is_saved),
        cmocka_unit_test(nothing_is_lost_or_doubled),
        cmocka_unit_test(parcels_go_with_the_syn),
        cmocka_unit_test(the_memory_of_servers_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
