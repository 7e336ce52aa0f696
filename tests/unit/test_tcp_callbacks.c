/* SPDX-License-Identifier: MIT */
/*
 * test_tcp_callbacks.c - the adapter from pulled events to functions: each event reaches its own,
 * missing functions are fine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tcp_pair.h"
#include "weir/tcp_callbacks.h"

static struct world {
    struct tcp_pair pair;
    struct weir_tcp_callbacks server;
    unsigned opened, acked, writable, peer_closed, closed;
    size_t data_bytes;
    int listener;
    enum weir_outcome outcome;
    enum weir_tcp_close_cause cause;
    bool is_client_closed, is_client_peer_closed;
    size_t client_bytes;
} world;

static uint8_t bytes[200000];
static struct weir_parcel parcel = {.data = bytes, .length = sizeof(bytes)};

static void on_opened(void *user, struct weir_tcp_conn *conn, int listener)
{
    struct world *w = user;
    w->opened++;
    w->listener = listener;
    assert_int_equal(weir_tcp_send_parcel(w->server.endpoint, conn, &parcel), WEIR_OK);
    /* More than the queue takes. */
    assert_int_equal(weir_tcp_send_parcel(w->server.endpoint, conn, &parcel), WEIR_ERR_FULL);
}

static void on_data(void *user, struct weir_tcp_conn *conn, struct weir_span span)
{
    struct world *w = user;
    (void)conn;
    assert_memory_equal(span.data, "hello", span.length);
    w->data_bytes += span.length;
}

static void on_acked(void *user, struct weir_tcp_conn *conn, struct weir_parcel *done,
                     enum weir_outcome outcome)
{
    struct world *w = user;
    (void)conn;
    assert_ptr_equal(done, &parcel);
    w->acked++;
    w->outcome = outcome;
}

static void on_writable(void *user, struct weir_tcp_conn *conn)
{
    struct world *w = user;
    (void)conn;
    w->writable++;
}

static void on_peer_closed(void *user, struct weir_tcp_conn *conn)
{
    struct world *w = user;
    w->peer_closed++;
    assert_int_equal(weir_tcp_close(w->server.endpoint, conn), WEIR_OK);
}

static void on_closed(void *user, struct weir_tcp_conn *conn, enum weir_tcp_close_cause cause,
                      void *conn_user)
{
    struct world *w = user;
    (void)conn;
    w->closed++;
    w->cause = cause;
    assert_ptr_equal(conn_user, NULL);
}

/* The client's are looked at here; of the server the adapter gets the first and pulls the rest. */
static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    if (host == &pair->hosts[1]) {
        weir_tcp_callbacks_dispatch(&world.server, event);
        weir_tcp_callbacks_run(&world.server, pair->now);
        return;
    }
    if (event->type == WEIR_TCP_EVENT_DATA) {
        world.client_bytes += event->data.span.length;
    }
    world.is_client_closed |= event->type == WEIR_TCP_EVENT_CLOSED;
    world.is_client_peer_closed |= event->type == WEIR_TCP_EVENT_PEER_CLOSED;
}

static void run(weir_nsec length)
{
    tcp_pair_run(&world.pair, world.pair.now + length);
}

static void open_world(bool has_functions)
{
    struct tcp_pair_options options;
    memset(&world, 0, sizeof(world));
    tcp_pair_options_default(&options);
    options.tcp.tuning.send_queue_max = 300000;
    tcp_pair_open(&world.pair, &options, on_event, NULL);
    world.server = (struct weir_tcp_callbacks){.endpoint = world.pair.hosts[1].tcp, .user = &world};
    if (has_functions) {
        world.server.on_opened = on_opened;
        world.server.on_data = on_data;
        world.server.on_acked = on_acked;
        world.server.on_writable = on_writable;
        world.server.on_peer_closed = on_peer_closed;
        world.server.on_closed = on_closed;
    }
    tcp_pair_connect(&world.pair);
}

static void test_each_event_has_its_function(void **state)
{
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    open_world(true);
    assert_int_equal(weir_tcp_send(client->tcp, client->conn, "hello", 5), WEIR_OK);
    run(5 * WEIR_SEC);
    assert_int_equal(world.opened, 1);
    assert_int_equal(world.listener, world.pair.hosts[1].listener);
    assert_int_equal(world.data_bytes, 5);
    assert_int_equal(world.acked, 1);
    assert_int_equal(world.outcome, WEIR_OUTCOME_ACKED);
    assert_int_equal(parcel.references, 0);
    assert_int_equal(world.writable, 1);
    assert_int_equal(world.client_bytes, sizeof(bytes));
    assert_int_equal(world.peer_closed, 0);
    assert_int_equal(weir_tcp_close(client->tcp, client->conn), WEIR_OK);
    run(5 * WEIR_SEC);
    assert_int_equal(world.peer_closed, 1);
    assert_int_equal(world.closed, 1);
    assert_int_equal(world.cause, WEIR_TCP_CAUSE_DONE);
    assert_true(world.is_client_closed);
    tcp_pair_close(&world.pair);
}

static void test_no_functions(void **state)
{
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    open_world(false);
    assert_int_equal(weir_tcp_send(client->tcp, client->conn, "hello", 5), WEIR_OK);
    run(WEIR_SEC);
    assert_int_equal(weir_tcp_close(client->tcp, client->conn), WEIR_OK);
    run(5 * WEIR_SEC);
    /* Without on_peer_closed our side closes by itself. */
    assert_true(world.is_client_peer_closed);
    assert_true(world.is_client_closed);
    assert_true(world.server.now > 0);
    tcp_pair_close(&world.pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_event_has_its_function),
        cmocka_unit_test(test_no_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
