/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_stream.c - bytes and messages through KCP streams, slow readers, dialling, ends: over a
 * simulated link in virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kcp_world.h"

/* --- bulk ------------------------------------------------------------------------------------- */

static void test_bulk_over_loss(void **state)
{
    static const struct {
        uint64_t seed, total;
        uint32_t loss_ppm;
        size_t write_piece, read_piece;
    } runs[] = {{1, 10 << 20, 20000, 30000, 30000},
                {2, 1 << 20, 200000, 7, 30000},
                {3, 1 << 20, 100000, 20000, 13},
                {4, 1 << 20, 0, 1377, 1376},
                {5, 1 << 20, 50000, 30000, 30000}};

    (void)state;
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct world world;
        struct weir_kcp_net_config config = small_config();
        struct flow in = {.total = runs[i].total, .piece = runs[i].read_piece};
        struct flow out = {.total = runs[i].total, .piece = runs[i].write_piece};
        struct weir_sim_link link = {.delay = 10 * WEIR_MSEC,
                                     .loss_ppm = runs[i].loss_ppm,
                                     .reorder_ppm = runs[i].loss_ppm,
                                     .duplicate_ppm = runs[i].loss_ppm};
        config.kcp.tuning.dead_link = 0;
        config.kcp.cipher = i == 4 ? WEIR_KCP_CIPHER_SALSA20 : WEIR_KCP_CIPHER_NIL;
        config.kcp.tuning.send_window = config.kcp.tuning.receive_window = 512;
        world_open(&world, &config, &link, runs[i].seed);
        assert_int_equal(weir_kcp_listen(world.nets[SERVER], accept_reader, &in, &world.listener),
                         WEIR_OK);
        struct weir_kcp_stream *stream = connect_to_server(&world);
        weir_kcp_stream_watch(stream, &writing, &out);
        flow_write(stream, &out);
        weir_nsec limit = world.now + 600 * WEIR_SEC;
        while (in.done < in.total && world.now < limit) {
            world_wait(&world, limit);
        }
        if (in.done != in.total || in.is_closed || out.is_closed) {
            fail_msg("seed %llu: %llu of %llu bytes", (unsigned long long)runs[i].seed,
                     (unsigned long long)in.done, (unsigned long long)in.total);
        }
        assert_int_equal(weir_kcp_stream_close(stream, 10 * WEIR_SEC), WEIR_OK);
        world_close(&world);
    }
}

static void test_slow_reader(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    struct flow out = {.total = 1 << 20, .piece = 30000};
    struct flow in = {.total = out.total, .piece = 5000};
    struct weir_kcp_conn_stats stats;
    uint8_t bytes[5000];
    (void)state;
    config.kcp.tuning.receive_window = 32;
    config.kcp.tuning.send_window = 32;
    config.kcp.tuning.send_queue_max = 40;
    world_open(&world, &config, &clean, 5);
    open_pair(&world, pair);
    flow_write(pair[CLIENT], &out);
    assert_in_range(out.done, 39 * 1376 + 1, 40 * 1376); /* 40 segments */
    size_t taken = 1;
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], bytes, sizeof(bytes), &taken), WEIR_AGAIN);
    assert_int_equal(taken, 0);
    weir_kcp_stream_watch(pair[CLIENT], &writing, &out);
    /* Nobody reads: both ends fill up, and stay as they are. */
    world_run(&world, world.now + 30 * WEIR_SEC);
    uint64_t stuck = out.done;
    world_run(&world, world.now + 30 * WEIR_SEC);
    assert_int_equal(out.done, stuck);
    weir_kcp_stream_stats(pair[SERVER], &stats);
    assert_in_range(stats.held, 30, 32);
    assert_in_range(pair[SERVER]->stash_bytes, 1, 2048);
    assert_true(stuck <= (uint64_t)(40 + 32 + 1) * 1376);
    assert_int_equal(weir_list_first(&world.nets[SERVER]->news), NULL);
    /* One read every 40 ms. */
    size_t length = 0;
    while (in.done < in.total) {
        world_run(&world, world.now + 40 * WEIR_MSEC);
        enum weir_status status = weir_kcp_stream_read(pair[SERVER], bytes, in.piece, &length);
        assert_true(status == WEIR_OK || status == WEIR_AGAIN);
        check(bytes, in.done, length);
        in.done += length;
        weir_kcp_stream_stats(pair[SERVER], &stats);
        assert_true(stats.held <= 32 && pair[SERVER]->stash_bytes <= 2048);
    }
    assert_false(out.is_closed);
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], bytes, 1, &length), WEIR_AGAIN);
    world_close(&world); /* frees the streams as well */
}

/* --- messages --------------------------------------------------------------------------------- */

static void send_message(struct weir_kcp_stream *stream, size_t length)
{
    uint8_t *bytes = malloc(length + 1);
    size_t taken = 0;
    fill(bytes, length, length);
    assert_int_equal(weir_kcp_stream_write_all(stream, bytes, length, 10 * WEIR_SEC, &taken),
                     WEIR_OK);
    assert_int_equal(taken, length);
    free(bytes);
}

static void test_messages(void **state)
{
    static const size_t lengths[] = {1, 0, 1376, 1377, 60000, 0, 100000, 5};
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    uint8_t *bytes = malloc(100000);
    size_t length = 0;
    (void)state;
    config.is_message = true;
    world_open(&world, &config, &clean, 6);
    open_pair(&world, pair);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        send_message(pair[CLIENT], lengths[i]);
    }
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        if (lengths[i] > 0) {
            assert_int_equal(weir_kcp_stream_read_wait(pair[SERVER], bytes, lengths[i] - 1,
                                                       10 * WEIR_SEC, &length),
                             WEIR_ERR_TOO_LARGE);
            assert_int_equal(length, lengths[i]);
        }
        assert_int_equal(
            weir_kcp_stream_read_wait(pair[SERVER], bytes, lengths[i], 10 * WEIR_SEC, &length),
            WEIR_OK);
        assert_int_equal(length, lengths[i]);
        check(bytes, lengths[i], length);
    }
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], bytes, 10, &length), WEIR_AGAIN);
    assert_int_equal(weir_kcp_stream_read_all(pair[SERVER], bytes, 10, 0, &length),
                     WEIR_ERR_INVALID);
    /* Several that wait, into a buffer that is large enough. */
    send_message(pair[CLIENT], 3000);
    send_message(pair[CLIENT], 4000);
    world_run(&world, world.now + WEIR_SEC);
    for (size_t each = 3000; each <= 4000; each += 1000) {
        assert_int_equal(weir_kcp_stream_read(pair[SERVER], bytes, 100000, &length), WEIR_OK);
        assert_int_equal(length, each);
        check(bytes, each, each);
    }
    free(bytes);
    world_close(&world);
}

static void test_message_too_long(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    uint8_t *bytes = malloc(200000);
    size_t length = 0;
    (void)state;
    config.is_message = true;
    config.read_bytes_max = 65536;
    world_open(&world, &config, &clean, 7);
    open_pair(&world, pair);
    send_message(pair[CLIENT], 65537);
    assert_int_equal(weir_kcp_stream_read_wait(pair[SERVER], bytes, 1000, WEIR_SEC, &length),
                     WEIR_ERR_TOO_LARGE);
    assert_int_equal(length, 0);
    assert_int_equal(weir_kcp_stream_cause(pair[SERVER]), WEIR_KCP_CAUSE_LOCAL);
    assert_int_equal(weir_kcp_stream_close(pair[SERVER], WEIR_SEC), WEIR_ERR_CLOSED);
    /* More than the window can hold. */
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], bytes, 200000, &length),
                     WEIR_ERR_TOO_LARGE);
    free(bytes);
    world_close(&world);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void test_peer_dies(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    struct flow flows[NETS] = {{.piece = 100}, {.piece = 100}};
    size_t length = 0;
    uint8_t byte;
    (void)state;
    config.kcp.tuning.dead_link = 8;
    world_open(&world, &config, &clean, 10);
    open_pair(&world, pair);
    weir_nsec cut = world.now;
    for (unsigned i = 0; i < NETS; i++) {
        weir_sim_blackout(world.sim, world.drivers[i], world.drivers[1 - i], cut, WEIR_NEVER);
    }
    weir_kcp_stream_watch(pair[CLIENT], &writing, &flows[CLIENT]);
    weir_kcp_stream_watch(pair[SERVER], &reading, &flows[SERVER]);
    /* One end has something to say, the other only waits. */
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], "x", 1, &length), WEIR_OK);
    assert_false(weir_kcp_stream_is_drained(pair[CLIENT]));
    assert_int_equal(weir_kcp_stream_drain(pair[CLIENT], 100 * WEIR_MSEC), WEIR_ERR_TIMEOUT);
    assert_int_equal(world.now, cut + 100 * WEIR_MSEC);
    world_run(&world, cut + 110 * WEIR_SEC);
    assert_false(flows[SERVER].is_closed);
    world_run(&world, cut + 130 * WEIR_SEC);
    assert_true(flows[CLIENT].is_closed && flows[SERVER].is_closed);
    assert_int_equal(flows[CLIENT].cause, WEIR_KCP_CAUSE_DEAD_LINK);
    assert_int_equal(flows[SERVER].cause, WEIR_KCP_CAUSE_TIMEOUT);
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], &byte, 1, &length), WEIR_ERR_CLOSED);
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], "y", 1, &length), WEIR_ERR_CLOSED);
    assert_int_equal(weir_kcp_stream_drain(pair[CLIENT], WEIR_SEC), WEIR_ERR_CLOSED);
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], WEIR_SEC), WEIR_ERR_CLOSED);
    assert_int_equal(weir_kcp_stream_close(pair[SERVER], 0), WEIR_ERR_CLOSED);
    world_close(&world);
}

static void test_what_came_last_survives_the_end(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    char text[16];
    size_t length = 0;
    (void)state;
    world_open(&world, &config, &clean, 11);
    open_pair(&world, pair);
    assert_int_equal(weir_kcp_stream_write_all(pair[CLIENT], "farewell", 8, WEIR_SEC, &length),
                     WEIR_OK);
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], WEIR_SEC), WEIR_OK);
    world_run(&world, world.now + 200 * WEIR_SEC);
    assert_int_equal(weir_kcp_stream_cause(pair[SERVER]), WEIR_KCP_CAUSE_TIMEOUT);
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], text, 4, &length), WEIR_OK);
    assert_memory_equal(text, "fare", 4);
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], text, sizeof(text), &length), WEIR_OK);
    assert_int_equal(length, 4);
    assert_memory_equal(text, "well", 4);
    assert_int_equal(weir_kcp_stream_read(pair[SERVER], text, 4, &length), WEIR_ERR_CLOSED);
    world_close(&world);
}

static void test_dial(void **state)
{
    struct world world;
    struct weir_kcp_stream *stream = NULL;
    struct weir_kcp_stream *accepted = NULL;
    struct weir_kcp_net_config config = small_config();
    struct weir_addr remote = address_of(SERVER);
    struct weir_span hello = weir_span_of("hello", 5);
    char text[8];
    size_t length = 0;
    (void)state;
    config.kcp.connect_timeout = 4 * WEIR_SEC;
    world_open(&world, &config, &clean, 12);
    struct weir_kcp_net *net = world.nets[CLIENT];
    weir_nsec start = world.now;
    /* Nobody listens. */
    assert_int_equal(weir_kcp_stream_dial(net, &remote, hello, WEIR_SEC, &stream),
                     WEIR_ERR_TIMEOUT);
    assert_int_equal(world.now - start, WEIR_SEC);
    assert_int_equal(weir_kcp_stream_dial(net, &remote, hello, WEIR_NEVER, &stream),
                     WEIR_ERR_CLOSED);
    assert_in_range(world.now - start, 4 * WEIR_SEC, 7 * WEIR_SEC);
    assert_null(stream);
    /* An empty first proves nothing. */
    assert_int_equal(weir_kcp_stream_dial(net, &remote, weir_span_of(NULL, 0), WEIR_SEC, &stream),
                     WEIR_OK);
    assert_false(weir_kcp_stream_is_answered(stream));
    weir_kcp_stream_abort(stream);
    assert_int_equal(weir_kcp_listen(world.nets[SERVER], NULL, NULL, &world.listener), WEIR_OK);
    assert_int_equal(weir_kcp_stream_dial(net, &remote, hello, WEIR_SEC, &stream), WEIR_OK);
    assert_true(weir_kcp_stream_is_answered(stream));
    assert_int_equal(weir_kcp_listener_accept_wait(world.listener, WEIR_SEC, &accepted), WEIR_OK);
    assert_int_equal(weir_kcp_stream_read_all(accepted, text, 5, WEIR_SEC, &length), WEIR_OK);
    assert_memory_equal(text, "hello", 5);
    /* The time of a blocking read is kept to the nanosecond. */
    start = world.now;
    assert_int_equal(weir_kcp_stream_read_wait(accepted, text, 5, 1234567, &length),
                     WEIR_ERR_TIMEOUT);
    assert_int_equal(world.now - start, 1234567);
    assert_int_equal(length, 0);
    world_close(&world);
}

static void test_close(void **state)
{
    struct world world;
    struct weir_kcp_stream *pair[NETS];
    struct weir_kcp_net_config config = small_config();
    static uint8_t bytes[100000];
    size_t length = 0;
    (void)state;
    world_open(&world, &config, &clean, 13);
    /* Without waiting: the net goes on by itself. */
    open_pair(&world, pair);
    fill(bytes, 0, sizeof(bytes));
    assert_int_equal(
        weir_kcp_stream_write_all(pair[CLIENT], bytes, sizeof(bytes), WEIR_SEC, &length), WEIR_OK);
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], 0), WEIR_OK);
    assert_int_equal(weir_kcp_net_stats(world.nets[CLIENT])->sessions, 1);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(
        weir_kcp_stream_read_all(pair[SERVER], bytes, sizeof(bytes), 10 * WEIR_SEC, &length),
        WEIR_OK);
    check(bytes, 0, sizeof(bytes));
    world_run(&world, world.now + WEIR_SEC);
    assert_int_equal(weir_kcp_net_stats(world.nets[CLIENT])->sessions, 0);
    /* What the other end still says is thrown away and fills nothing. */
    weir_kcp_stream_abort(pair[SERVER]);
    open_pair(&world, pair);
    assert_int_equal(
        weir_kcp_stream_write_all(pair[SERVER], bytes, sizeof(bytes), WEIR_SEC, &length), WEIR_OK);
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], "bye", 3, &length), WEIR_OK);
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], 5 * WEIR_SEC), WEIR_OK);
    /* Also while a close takes its time, and the window was closed before. */
    static uint8_t more[400000];
    open_pair(&world, pair);
    assert_int_equal(weir_kcp_stream_write(pair[SERVER], more, sizeof(more), &length), WEIR_OK);
    assert_true(length > 200 * (size_t)1376); /* the client's window: 128 segments */
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], more, sizeof(more), &length), WEIR_OK);
    assert_int_equal(weir_kcp_stream_drain(pair[SERVER], 5 * WEIR_SEC), WEIR_ERR_TIMEOUT);
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], 0), WEIR_OK);
    assert_int_equal(weir_kcp_stream_drain(pair[SERVER], 5 * WEIR_SEC), WEIR_OK);
    weir_kcp_stream_abort(pair[SERVER]);
    /* The time is up: nobody reads at the other end, whose window is closed. */
    open_pair(&world, pair);
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], more, sizeof(more), &length), WEIR_OK);
    weir_nsec start = world.now;
    assert_int_equal(weir_kcp_stream_close(pair[CLIENT], 3 * WEIR_SEC), WEIR_ERR_TIMEOUT);
    assert_int_equal(world.now - start, 3 * WEIR_SEC);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bulk_over_loss),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_message_too_long),
        cmocka_unit_test(test_peer_dies),
        cmocka_unit_test(test_what_came_last_survives_the_end),
        cmocka_unit_test(test_dial),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
