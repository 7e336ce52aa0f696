/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_stream_calls.c - around KCP streams: listeners and their backlog, callbacks, arguments
 * and tuning in virtual time; threads and poll over loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kcp_world.h"

/* --- listening -------------------------------------------------------------------------------- */

static void test_backlog(void **state)
{
    enum {
        CLIENTS = 10,
        BACKLOG = 4
    };

    struct world world;
    struct weir_kcp_stream *clients[CLIENTS];
    struct weir_kcp_stream *accepted[CLIENTS];
    struct weir_kcp_net_config config = small_config();
    size_t length = 0;
    (void)state;
    config.kcp.pending_max = BACKLOG;
    world_open(&world, &config, &clean, 8);
    assert_int_equal(weir_kcp_listen(world.nets[CLIENT], NULL, NULL, &world.listener),
                     WEIR_ERR_INVALID);
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint8_t number = (uint8_t)i;
        clients[i] = connect_to_server(&world);
        assert_int_equal(weir_kcp_stream_write(clients[i], &number, 1, &length), WEIR_OK);
    }
    /* Without a listener all are refused, and knock again. */
    world_run(&world, world.now + 200 * WEIR_MSEC);
    assert_int_equal(weir_kcp_net_stats(world.nets[SERVER])->sessions, 0);
    assert_int_equal(weir_kcp_listen(world.nets[SERVER], NULL, NULL, &world.listener), WEIR_OK);
    struct weir_kcp_listener *second = NULL;
    assert_int_equal(weir_kcp_listen(world.nets[SERVER], NULL, NULL, &second), WEIR_ERR_INVALID);
    world_run(&world, world.now + 500 * WEIR_MSEC);
    assert_int_equal(weir_kcp_listener_waiting(world.listener), BACKLOG);
    uint32_t seen = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint8_t number = 0;
        assert_int_equal(weir_kcp_listener_accept_wait(world.listener, 10 * WEIR_SEC, &accepted[i]),
                         WEIR_OK);
        assert_int_equal(weir_kcp_stream_read_wait(accepted[i], &number, 1, WEIR_SEC, &length),
                         WEIR_OK);
        assert_int_equal(weir_kcp_stream_conv(accepted[i]), weir_kcp_stream_conv(clients[number]));
        struct weir_addr remote = weir_kcp_stream_remote(accepted[i]);
        struct weir_addr expected = address_of(CLIENT);
        assert_true(weir_addr_is_equal(&remote, &expected));
        seen |= 1u << number;
    }
    assert_int_equal(seen, (1u << CLIENTS) - 1);
    assert_int_equal(weir_kcp_listener_accept_wait(world.listener, WEIR_SEC, &accepted[0]),
                     WEIR_ERR_TIMEOUT);
    world_close(&world);
}

static void test_requests_that_end(void **state)
{
    struct world world;
    struct weir_kcp_stream *stream = NULL;
    struct weir_kcp_net_config config = small_config();
    size_t length = 0;
    (void)state;
    config.kcp.connect_timeout = 2 * WEIR_SEC;
    world_open(&world, &config, &clean, 9);
    assert_int_equal(weir_kcp_listen(world.nets[SERVER], NULL, NULL, &world.listener), WEIR_OK);
    stream = connect_to_server(&world);
    assert_int_equal(weir_kcp_stream_write(stream, "x", 1, &length), WEIR_OK);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(weir_kcp_listener_waiting(world.listener), 1);
    weir_kcp_stream_abort(stream);
    world_run(&world, world.now + 10 * WEIR_SEC);
    assert_int_equal(weir_kcp_listener_waiting(world.listener), 0);
    /* Closing refuses who waits; the next listener knows nothing of them. */
    stream = connect_to_server(&world);
    assert_int_equal(weir_kcp_stream_write(stream, "y", 1, &length), WEIR_OK);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(weir_kcp_listener_waiting(world.listener), 1);
    weir_kcp_stream_abort(stream);
    weir_kcp_listener_close(world.listener);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(weir_kcp_net_stats(world.nets[SERVER])->sessions, 0);
    assert_int_equal(weir_kcp_listen(world.nets[SERVER], NULL, NULL, &world.listener), WEIR_OK);
    assert_int_equal(weir_kcp_listener_waiting(world.listener), 0);
    world_close(&world);
}

/* --- callbacks -------------------------------------------------------------------------------- */

struct probe {
    struct weir_kcp_stream *other; /* closed from the callback */
    unsigned readable, closed;
    enum weir_status run, wait;
};

static void probe_readable(struct weir_kcp_stream *stream, void *user)
{
    struct probe *probe = user;
    uint8_t bytes[8];
    size_t length = 0;
    probe->readable++;
    probe->run = weir_kcp_net_run_once(weir_kcp_stream_net(stream), 0);
    probe->wait = weir_kcp_stream_read_wait(stream, bytes, 1, WEIR_SEC, &length);
    if (probe->other != NULL) {
        assert_int_equal(weir_kcp_stream_close(probe->other, WEIR_SEC), WEIR_OK);
        probe->other = NULL;
        assert_int_equal(weir_kcp_stream_close(stream, WEIR_SEC), WEIR_OK);
    }
}

static void probe_closed(struct weir_kcp_stream *stream, void *user,
                         enum weir_kcp_close_cause cause)
{
    struct probe *probe = user;
    (void)cause;
    probe->closed++;
    weir_kcp_stream_abort(stream);
}

static void test_callbacks(void **state)
{
    static const struct weir_kcp_stream_events events = {.on_readable = probe_readable,
                                                         .on_closed = probe_closed};
    struct world world;
    struct weir_kcp_stream *one[NETS];
    struct weir_kcp_stream *two[NETS];
    struct weir_kcp_net_config config = small_config();
    struct probe probe = {0};
    char text[2];
    size_t length = 0;
    (void)state;
    world_open(&world, &config, &clean, 14);
    open_pair(&world, one);
    open_pair(&world, two);
    /* What waits already is announced; then silence until somebody reads to the end. */
    assert_int_equal(weir_kcp_stream_write(one[CLIENT], "ab", 2, &length), WEIR_OK);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    weir_kcp_stream_watch(one[SERVER], &events, &probe);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(probe.readable, 1);
    assert_int_equal(probe.run, WEIR_ERR_INVALID);
    assert_int_equal(probe.wait, WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_stream_write(one[CLIENT], "cd", 2, &length), WEIR_OK);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(probe.readable, 1);
    for (const char *expected = "abcd"; *expected != 0; expected++) {
        assert_int_equal(weir_kcp_stream_read(one[SERVER], text, 1, &length), WEIR_OK);
        assert_int_equal(text[0], *expected);
    }
    assert_int_equal(weir_kcp_stream_read(one[SERVER], text, 1, &length), WEIR_AGAIN);
    /* Both are told of something; the first closes both. */
    weir_kcp_stream_watch(two[SERVER], &events, &probe);
    probe.other = two[SERVER];
    assert_int_equal(weir_kcp_stream_write(one[CLIENT], "e", 1, &length), WEIR_OK);
    assert_int_equal(weir_kcp_stream_write(two[CLIENT], "f", 1, &length), WEIR_OK);
    world_run(&world, world.now + 100 * WEIR_MSEC);
    assert_int_equal(probe.readable, 2);
    assert_int_equal(probe.closed, 0);
    /* Freed in on_closed: these two time out. */
    weir_kcp_stream_watch(one[CLIENT], &events, &probe);
    weir_kcp_stream_watch(two[CLIENT], &events, &probe);
    world_run(&world, world.now + 200 * WEIR_SEC);
    assert_int_equal(probe.closed, 2);
    assert_true(weir_list_is_empty(&world.nets[CLIENT]->streams));
    world_close(&world);
}

/* A read outside of callbacks comes upon news of others: the next run_once tells them. */
static void test_news_from_a_read(void **state)
{
    static const struct weir_kcp_stream_events events = {.on_closed = probe_closed};
    struct world world;
    struct weir_kcp_stream *one[NETS];
    struct weir_kcp_stream *two[NETS];
    struct weir_kcp_net_config config = small_config();
    struct probe probe = {0};
    char text[2];
    size_t length = 0;
    (void)state;
    world_open(&world, &config, &clean, 15);
    open_pair(&world, one);
    open_pair(&world, two);
    weir_kcp_stream_watch(two[CLIENT], &events, &probe);
    weir_kcp_abort(two[CLIENT]->conn);
    assert_int_equal(weir_kcp_stream_read(one[CLIENT], text, 1, &length), WEIR_AGAIN);
    assert_int_equal(probe.closed, 0);
    assert_int_equal(weir_kcp_net_next_timeout(world.nets[CLIENT]), 0);
    assert_int_equal(weir_kcp_net_poll_ms(world.nets[CLIENT]), 0);
    assert_int_equal(weir_kcp_net_run_once(world.nets[CLIENT], WEIR_SEC), WEIR_OK);
    assert_int_equal(probe.closed, 1);
    world_close(&world);
}

/* --- arguments and tuning --------------------------------------------------------------------- */

static void test_wrong_arguments(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_stream *stream = NULL;
    struct weir_kcp_net *net = NULL;
    struct weir_kcp_net_config config = small_config();
    struct weir_addr none = {.family = WEIR_ADDR_NONE};
    struct weir_addr remote = address_of(SERVER);
    char text[2];
    size_t length = 1;
    int os_error = 1;
    (void)state;
    config.read_bytes_max = 65535;
    assert_int_equal(weir_kcp_net_open(&config, &net, &os_error), WEIR_ERR_INVALID);
    assert_int_equal(os_error, 0);
    config = small_config();
    config.kcp.connections_max = 0;
    assert_int_equal(weir_kcp_net_open(&config, &net, NULL), WEIR_ERR_INVALID);
    config = small_config();
    config.slide.size_bytes = 1;
    assert_int_equal(weir_kcp_net_open(&config, &net, NULL), WEIR_ERR_INVALID);
    config = small_config();
    assert_int_equal(weir_addr_parse("192.0.2.1:1", &config.udp.bind), WEIR_OK);
    assert_int_equal(weir_kcp_net_open(&config, &net, &os_error), WEIR_ERR_OS);
    assert_int_not_equal(os_error, 0);
    weir_kcp_net_close(NULL);

    config = small_config();
    world_open(&world, &config, &clean, 16);
    net = world.nets[CLIENT];
    assert_int_equal(weir_kcp_stream_connect(net, &none, 0, &stream), WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_stream_dial(net, &none, weir_span_of("x", 1), 1, &stream),
                     WEIR_ERR_INVALID);
    open_pair(&world, pair);
    assert_int_equal(
        weir_kcp_stream_connect(net, &remote, weir_kcp_stream_conv(pair[CLIENT]), &stream),
        WEIR_ERR_FULL);
    assert_null(stream);
    assert_int_equal(weir_kcp_stream_read(pair[CLIENT], text, 0, &length), WEIR_ERR_INVALID);
    assert_int_equal(length, 0);
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], text, 0, &length), WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_stream_read_wait(pair[CLIENT], text, 1, 0, &length),
                     WEIR_ERR_TIMEOUT);
    world_close(&world);
}

static void test_tuning(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    size_t length = 0;
    (void)state;
    world_open(&world, &config, &clean, 17);
    struct weir_kcp_net *net = world.nets[CLIENT];
    const struct weir_kcp_tuning *tuning = weir_kcp_net_tuning(net);
    assert_true(tuning->is_stream);
    assert_int_equal(weir_kcp_net_set_nodelay(net, 3, 10, 2, true), WEIR_ERR_INVALID);
    assert_int_equal(tuning->nodelay, 1);
    assert_int_equal(weir_kcp_net_set_nodelay(net, 2, 200, 3, false), WEIR_OK);
    assert_int_equal(tuning->nodelay, 2);
    assert_int_equal(tuning->interval_ms, 200);
    assert_int_equal(tuning->resend, 3);
    assert_false(tuning->is_window_fixed);
    assert_int_equal(weir_kcp_net_set_window(net, 0, 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_net_set_window(net, 64, 256), WEIR_OK);
    assert_int_equal(tuning->send_window, 64);
    assert_int_equal(tuning->receive_window, 256);
    assert_int_equal(weir_kcp_net_set_mtu(net, 49), WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_net_set_mtu(net, 1501), WEIR_ERR_INVALID);
    assert_int_equal(weir_kcp_net_set_mtu(net, 500), WEIR_OK);
    assert_int_equal(tuning->mtu_bytes, 500);
    assert_int_equal(weir_kcp_net_set_ack_no_delay(net, true), WEIR_OK);
    assert_true(tuning->is_ack_no_delay);
    /* With a write delay small writes share segments (the first finds an interval that is over). */
    open_pair(&world, pair);
    const struct weir_kcp_stats *stats = weir_kcp_net_stats(net);
    for (unsigned is_delayed = 0; is_delayed < 2; is_delayed++) {
        assert_int_equal(weir_kcp_net_set_write_delay(net, is_delayed == 1), WEIR_OK);
        assert_int_equal(weir_kcp_stream_drain(pair[CLIENT], WEIR_SEC), WEIR_OK);
        uint64_t before = stats->segments_sent;
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(weir_kcp_stream_write_all(pair[CLIENT], "abc", 3, WEIR_SEC, &length),
                             WEIR_OK);
        }
        assert_int_equal(weir_kcp_stream_drain(pair[CLIENT], WEIR_SEC), WEIR_OK);
        assert_int_equal(stats->segments_sent - before, is_delayed == 1 ? 2 : 3);
    }
    world_close(&world);
}

/* --- loopback --------------------------------------------------------------------------------- */

static struct weir_kcp_net *open_loopback(bool is_accepting)
{
    struct weir_kcp_net_config config = small_config();
    struct weir_kcp_net *net = NULL;
    config.kcp.is_accepting = is_accepting;
    if (is_accepting) {
        assert_int_equal(weir_addr_parse("127.0.0.1:0", &config.udp.bind), WEIR_OK);
    }
    assert_int_equal(weir_kcp_net_open(&config, &net, NULL), WEIR_OK);
    return net;
}

struct server {
    struct weir_kcp_net *net;
    uint64_t echoed;
    enum weir_status status; /* the first that went wrong */
};

/* cmocka's asserts are for the thread of the test. */
static void *serve(void *user)
{
    struct server *server = user;
    struct weir_kcp_listener *listener = NULL;
    struct weir_kcp_stream *stream = NULL;
    uint8_t bytes[4096];
    size_t length = 0;
    size_t taken = 0;
    enum weir_status status = weir_kcp_listen(server->net, NULL, NULL, &listener);
    if (status == WEIR_OK) {
        status = weir_kcp_listener_accept_wait(listener, 20 * WEIR_SEC, &stream);
    }
    while (status == WEIR_OK) {
        status = weir_kcp_stream_read_wait(stream, bytes, sizeof(bytes), 20 * WEIR_SEC, &length);
        if (status == WEIR_OK) {
            status = weir_kcp_stream_write_all(stream, bytes, length, 20 * WEIR_SEC, &taken);
            server->echoed += taken;
        }
        if (length > 0 && bytes[length - 1] == 0xff) { /* the client's word for the end */
            break;
        }
    }
    if (status == WEIR_OK) {
        status = weir_kcp_stream_close(stream, 20 * WEIR_SEC);
    }
    server->status = status;
    return NULL;
}

static void test_two_threads(void **state)
{
    enum {
        BYTES = 300000
    };

    struct server server = {.net = open_loopback(true)};
    struct weir_kcp_net *net = open_loopback(false);
    struct weir_addr remote = weir_kcp_net_local(server.net);
    struct weir_kcp_stream *stream = NULL;
    uint8_t *bytes = malloc(BYTES);
    uint8_t *back = malloc(BYTES);
    pthread_t thread;
    size_t length = 0;
    (void)state;
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = pattern(i) & 0x7f;
    }
    bytes[BYTES - 1] = 0xff;
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    assert_int_equal(
        weir_kcp_stream_dial(net, &remote, weir_span_of(bytes, 1000), 20 * WEIR_SEC, &stream),
        WEIR_OK);
    for (size_t off = 1000; off < BYTES; off += length) {
        size_t piece = weir_min_u64(50000, BYTES - off);
        assert_int_equal(
            weir_kcp_stream_write_all(stream, bytes + off, piece, 20 * WEIR_SEC, &length), WEIR_OK);
        size_t from = off == 1000 ? 0 : off;
        assert_int_equal(weir_kcp_stream_read_all(stream, back + from, off + piece - from,
                                                  20 * WEIR_SEC, &length),
                         WEIR_OK);
        length = piece;
    }
    assert_memory_equal(bytes, back, BYTES);
    /* The server waits for our last ACK, which may be lost: we stay to say it again. */
    assert_int_equal(weir_kcp_stream_read_wait(stream, back, 1, 300 * WEIR_MSEC, &length),
                     WEIR_ERR_TIMEOUT);
    assert_int_equal(weir_kcp_stream_close(stream, 20 * WEIR_SEC), WEIR_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(server.status, WEIR_OK);
    assert_int_equal(server.echoed, BYTES);
    weir_kcp_net_close(net);
    weir_kcp_net_close(server.net);
    free(bytes);
    free(back);
}

static void test_one_poll_loop(void **state)
{
    struct weir_kcp_net *nets[NETS] = {open_loopback(false), open_loopback(true)};
    struct weir_addr remote = weir_kcp_net_local(nets[SERVER]);
    struct weir_kcp_listener *listener = NULL;
    struct weir_kcp_stream *stream = NULL;
    struct flow in = {.total = 2 << 20, .piece = 30000};
    struct flow out = {.total = in.total, .piece = 30000};
    (void)state;
    assert_int_equal(weir_kcp_listen(nets[SERVER], accept_reader, &in, &listener), WEIR_OK);
    assert_int_equal(weir_kcp_stream_connect(nets[CLIENT], &remote, 0, &stream), WEIR_OK);
    weir_kcp_stream_watch(stream, &writing, &out);
    flow_write(stream, &out);
    while (in.done < in.total && !in.is_closed && !out.is_closed) {
        struct pollfd fds[NETS];
        int wait = INT32_MAX;
        for (unsigned i = 0; i < NETS; i++) {
            int ms = weir_kcp_net_poll_ms(nets[i]);
            wait = ms >= 0 && ms < wait ? ms : wait;
            fds[i] = (struct pollfd){
                .fd = weir_kcp_net_fd(nets[i]),
                .events = (short)(weir_kcp_net_is_blocked(nets[i]) ? POLLIN | POLLOUT : POLLIN)};
        }
        assert_true(poll(fds, NETS, wait) >= 0);
        for (unsigned i = 0; i < NETS; i++) {
            assert_int_equal(weir_kcp_net_run_once(nets[i], 0), WEIR_OK);
        }
    }
    assert_int_equal(in.done, in.total);
    weir_kcp_net_close(nets[CLIENT]);
    weir_kcp_net_close(nets[SERVER]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backlog),         cmocka_unit_test(test_requests_that_end),
        cmocka_unit_test(test_callbacks),       cmocka_unit_test(test_news_from_a_read),
        cmocka_unit_test(test_wrong_arguments), cmocka_unit_test(test_tuning),
        cmocka_unit_test(test_two_threads),     cmocka_unit_test(test_one_poll_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
