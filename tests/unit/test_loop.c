/* SPDX-License-Identifier: MIT */
/*
 * test_loop.c - the loop with a small endpoint that echoes: over real sockets, and over a scripted
 * driver for what sockets do only when they please.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "weir/loop.h"
#include "weir/udp.h"

enum {
    SEGMENT_BYTES = 1400,
    RUN_SEGMENTS = 40,
    QUEUE_MAX = 4096,
    ROUNDS_MAX = 100000,
    LENT_BYTE = 0xaa
};

/* An endpoint with nothing but a queue of datagrams to one peer: it sends what user calls queued
 * and, when it echoes, what it got. */
struct echo {
    struct weir_path path;
    uint32_t queued;     /* datagrams to send, numbered on from sent */
    uint32_t sent;       /* put into tx so far */
    uint32_t received;   /* datagrams that came */
    uint32_t wrong;      /* of these, not of the expected bytes */
    uint32_t events;     /* on_events calls */
    uint32_t inputs;     /* input calls */
    uint32_t timeouts;   /* timeout calls */
    uint32_t queue_more; /* on_events queues one datagram this often */
    uint32_t batch_max;  /* datagrams one output puts into tx, 0: as many as fit */
    weir_nsec deadline;
    weir_nsec timeout_now;
    bool is_echoing;
    struct weir_loop *flushed; /* on_events flushes this one */
    const uint8_t *lent;       /* where the driver gathers, what follows a datagram's number */
};

static void fill_datagram(uint8_t *data, uint32_t number)
{
    memset(data, (int)(number & 0xff), SEGMENT_BYTES);
    weir_store32(data, number);
}

static void echo_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    struct echo *echo = endpoint;
    uint8_t expected[SEGMENT_BYTES];
    (void)now;
    echo->inputs++;
    for (uint32_t i = 0; i < count; i++) {
        fill_datagram(expected, echo->received);
        if (packets[i].length != SEGMENT_BYTES ||
            memcmp(packets[i].data, expected, SEGMENT_BYTES) != 0) {
            echo->wrong++;
        }
        echo->received++;
        echo->queued += echo->is_echoing;
        echo->path = *packets[i].path;
    }
}

static void echo_timeout(void *endpoint, weir_nsec now)
{
    struct echo *echo = endpoint;
    echo->timeouts++;
    echo->timeout_now = now;
    echo->deadline = WEIR_NEVER;
}

static weir_nsec echo_next_timeout(const void *endpoint)
{
    return ((const struct echo *)endpoint)->deadline;
}

static enum weir_status echo_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct echo *echo = endpoint;
    uint32_t batch = 0;
    uint32_t run_max = (uint32_t)weir_min_u64(
        tx->run_bytes_max == 0 ? 1 : weir_min_u64(tx->run_bytes_max / SEGMENT_BYTES, RUN_SEGMENTS),
        tx->run_segments_max == 0 ? 1 : tx->run_segments_max);
    (void)now;
    while (echo->queued > 0) {
        uint32_t run = (uint32_t)weir_min_u64(echo->queued, run_max);
        if (tx->count == tx->transmits_max ||
            tx->buffer_bytes - tx->used_bytes < (size_t)run * SEGMENT_BYTES ||
            (echo->batch_max != 0 && batch >= echo->batch_max)) {
            return WEIR_OK;
        }
        uint8_t *data = tx->buffer + tx->used_bytes;
        for (uint32_t i = 0; i < run; i++) {
            fill_datagram(data + (size_t)i * SEGMENT_BYTES, echo->sent++);
        }
        tx->transmits[tx->count++] = (struct weir_transmit){.path = echo->path,
                                                            .data = data,
                                                            .length = run * SEGMENT_BYTES,
                                                            .segment_bytes = SEGMENT_BYTES};
        if (tx->is_gathered) {
            tx->transmits[tx->count - 1].tail = echo->lent;
            tx->transmits[tx->count - 1].tail_bytes = SEGMENT_BYTES - 4;
        }
        tx->used_bytes += (size_t)run * SEGMENT_BYTES;
        echo->queued -= run;
        batch += run;
    }
    return WEIR_AGAIN;
}

static const struct weir_verbs echo_verbs = {.input = echo_input,
                                             .timeout = echo_timeout,
                                             .next_timeout = echo_next_timeout,
                                             .output = echo_output};

static void echo_on_events(void *user, weir_nsec now)
{
    struct echo *echo = user;
    (void)now;
    echo->events++;
    if (echo->queue_more > 0) {
        echo->queue_more--;
        echo->queued++;
    }
    if (echo->flushed != NULL) {
        assert_int_equal(weir_loop_flush(echo->flushed), WEIR_OK);
    }
}

/* A loop with all that it needs. */
struct rig {
    struct weir_driver *driver;
    struct weir_slide *slide;
    void *slide_mem;
    size_t slide_bytes;
    struct weir_loop *loop;
    struct echo echo;
};

static void open_loop(struct rig *rig, struct weir_driver *driver)
{
    struct weir_slide_config slide_config;
    struct weir_loop_config config;
    weir_slide_config_default(&slide_config);
    rig->slide_bytes = weir_slide_mem_size(&slide_config);
    rig->slide_mem = weir_mem_map(rig->slide_bytes);
    assert_non_null(rig->slide_mem);
    assert_int_equal(weir_slide_init(rig->slide_mem, &slide_config, &rig->slide), WEIR_OK);
    weir_loop_config_default(&config);
    config.driver = driver;
    config.slide = rig->slide;
    assert_int_equal(weir_loop_open(&config, &rig->loop), WEIR_OK);
    rig->driver = driver;
    rig->echo = (struct echo){.deadline = WEIR_NEVER};
    weir_loop_attach(rig->loop, &rig->echo, &echo_verbs, echo_on_events, &rig->echo);
}

static void close_loop(struct rig *rig)
{
    weir_loop_close(rig->loop);
    weir_mem_unmap(rig->slide_mem, rig->slide_bytes);
    rig->driver->ops->close(rig->driver);
}

static void open_udp(struct rig *rig, bool is_offload_disabled)
{
    struct weir_udp_config config;
    struct weir_driver *driver = NULL;
    int os_error = 0;
    weir_udp_config_default(&config);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &config.bind), WEIR_OK);
    config.is_offload_disabled = is_offload_disabled;
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &os_error), WEIR_OK);
    open_loop(rig, driver);
}

static void run(struct rig *rig, weir_nsec timeout)
{
    assert_int_equal(weir_loop_run_once(rig->loop, timeout), WEIR_OK);
}

/* In pieces that fit the socket buffer that an unprivileged user gets, so that nothing is lost. */
static void check_echo(bool is_offload_disabled)
{
    struct rig client;
    struct rig server;
    uint32_t total = 0;
    open_udp(&client, is_offload_disabled);
    open_udp(&server, is_offload_disabled);
    server.echo.is_echoing = true;
    client.echo.path.remote = server.driver->local;
    for (uint32_t round = 0; round < 100; round++) {
        total += 100;
        client.echo.queued += 100;
        for (int i = 0; client.echo.received < total && i < ROUNDS_MAX; i++) {
            run(&client, 0);
            run(&server, 0);
        }
    }
    assert_int_equal(client.echo.received, total);
    assert_int_equal(client.echo.wrong, 0);
    assert_int_equal(server.echo.received, total);
    assert_int_equal(server.echo.wrong, 0);
    assert_int_equal(client.driver->stats.tx_dropped, 0);
    if (client.driver->run_bytes_max > 0) {
        assert_true(client.driver->stats.tx_calls * 20 < total);
    }
    close_loop(&client);
    close_loop(&server);
}

static void test_echo_with_offload(void **state)
{
    (void)state;
    check_echo(false);
}

static void test_echo_without_offload(void **state)
{
    (void)state;
    check_echo(true);
}

static void test_deadlines(void **state)
{
    struct rig rig;
    (void)state;
    open_udp(&rig, false);
    assert_int_equal(weir_loop_next_timeout(rig.loop), WEIR_NEVER);
    assert_int_equal(weir_loop_fd(rig.loop), rig.driver->ops->fd(rig.driver));

    /* The endpoint's deadline ends the wait, never early. */
    rig.echo.deadline = weir_loop_now(rig.loop) + 20 * WEIR_MSEC;
    weir_nsec deadline = rig.echo.deadline;
    assert_int_equal(weir_loop_next_timeout(rig.loop), deadline);
    for (int i = 0; rig.echo.timeouts == 0 && i < ROUNDS_MAX; i++) {
        run(&rig, WEIR_NEVER);
    }
    assert_int_equal(rig.echo.timeouts, 1);
    assert_true(rig.echo.timeout_now >= deadline);
    assert_int_equal(rig.echo.events, 1);

    /* So does the caller's; and one in the past does not wait at all. */
    weir_nsec start = weir_loop_now(rig.loop);
    run(&rig, 5 * WEIR_MSEC);
    assert_true(weir_loop_now(rig.loop) - start >= 5 * WEIR_MSEC);
    rig.echo.deadline = 1;
    run(&rig, WEIR_NEVER);
    assert_int_equal(rig.echo.timeouts, 2);
    close_loop(&rig);
}

static void test_flush(void **state)
{
    struct rig client;
    struct rig server;
    (void)state;
    open_udp(&client, false);
    open_udp(&server, false);
    client.echo.path.remote = server.driver->local;
    client.echo.queued = 3;
    assert_int_equal(weir_loop_flush(client.loop), WEIR_OK);
    assert_int_equal(client.driver->stats.tx_datagrams, 3);
    /* The events it may have made are left to the next run_once, which does not wait for them. */
    assert_int_equal(client.echo.events, 0);
    assert_true(weir_loop_next_timeout(client.loop) <= weir_loop_now(client.loop));
    client.echo.flushed = client.loop;
    run(&client, WEIR_NEVER);
    assert_int_equal(client.echo.events, 1);
    assert_int_equal(weir_loop_next_timeout(client.loop), WEIR_NEVER);

    struct pollfd poll_fd = {.fd = weir_loop_fd(server.loop), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 10000), 1);
    while (server.echo.received < 3) {
        run(&server, WEIR_NEVER);
    }
    assert_int_equal(server.echo.wrong, 0);
    close_loop(&client);
    close_loop(&server);
}

/* What events queue leaves in the same run_once. */
static void test_events_queue_output(void **state)
{
    struct rig rig;
    (void)state;
    open_udp(&rig, false);
    rig.echo.path.remote = rig.driver->local;
    rig.echo.queued = 1;
    rig.echo.queue_more = 2;
    run(&rig, 0);
    assert_int_equal(rig.driver->stats.tx_datagrams, 3);
    close_loop(&rig);
}

/* A driver by script: a pipe whose end is always writable, and sends that take as much as told. */
struct script {
    struct weir_driver driver;
    int fds[2];
    uint32_t takes; /* transmits the next sends take in all, then WEIR_AGAIN */
    uint32_t taken;
    uint32_t full_receives; /* receives that bring one datagram and say there is more */
    uint32_t receives;
    weir_nsec next;
    enum weir_status fails;
    struct weir_path path;
    uint8_t frame[SEGMENT_BYTES];
};

static enum weir_status script_receive(struct weir_driver *driver, weir_nsec now,
                                       struct weir_mut_span room, struct weir_packet *packets,
                                       uint32_t packets_max, uint32_t *count)
{
    struct script *script = (struct script *)(void *)driver;
    (void)packets_max;
    (void)room;
    script->receives++;
    *count = 0;
    driver->is_rx_full = false;
    if (script->next <= now) {
        script->next = WEIR_NEVER;
        script->full_receives++;
    }
    if (script->full_receives > 0) {
        script->full_receives--;
        driver->is_rx_full = script->full_receives > 0;
        fill_datagram(script->frame, (uint32_t)driver->stats.rx_datagrams++);
        packets[(*count)++] = (struct weir_packet){
            .data = script->frame, .length = SEGMENT_BYTES, .path = &script->path};
    }
    return script->fails;
}

static enum weir_status script_send(struct weir_driver *driver, weir_nsec now,
                                    const struct weir_transmit *transmits, uint32_t count,
                                    uint32_t *sent)
{
    struct script *script = (struct script *)(void *)driver;
    (void)now;
    *sent = 0;
    while (*sent < count && script->takes > 0) {
        const struct weir_transmit *transmit = &transmits[*sent];
        assert_int_equal(weir_load32(transmit->data), script->taken);
        if (driver->is_gathered) {
            const uint8_t *text = transmit->tail_bytes > 0 ? transmit->tail : transmit->data + 4;
            assert_int_equal(text[0], LENT_BYTE);
            assert_int_equal(text[SEGMENT_BYTES - 5], LENT_BYTE);
        }
        script->taken++;
        script->takes--;
        (*sent)++;
    }
    return *sent < count ? WEIR_AGAIN : WEIR_OK;
}

static int script_fd(const struct weir_driver *driver)
{
    return ((const struct script *)(const void *)driver)->fds[1];
}

static weir_nsec script_next_timeout(const struct weir_driver *driver)
{
    return ((const struct script *)(const void *)driver)->next;
}

static void script_close(struct weir_driver *driver)
{
    struct script *script = (struct script *)(void *)driver;
    if (script->fds[1] >= 0) {
        (void)close(script->fds[0]);
        (void)close(script->fds[1]);
    }
}

static const struct weir_driver_ops script_ops = {.receive = script_receive,
                                                  .send = script_send,
                                                  .fd = script_fd,
                                                  .next_timeout = script_next_timeout,
                                                  .close = script_close};

static void open_script(struct rig *rig, struct script *script, bool has_fd)
{
    *script = (struct script){.driver = {.ops = &script_ops, .rx_room_bytes = 65536},
                              .fds = {-1, -1},
                              .next = WEIR_NEVER};
    if (has_fd) {
        assert_int_equal(pipe(script->fds), 0);
    }
    open_loop(rig, &script->driver);
}

/* The rest is kept, in order; no new output before it is gone. */
static void test_blocked(void **state)
{
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    rig.echo.queued = 10;
    script.takes = 4;
    run(&rig, 0);
    assert_int_equal(script.taken, 4);
    assert_true(weir_loop_is_blocked(rig.loop));
    rig.echo.queued += 5;
    /* An overdue endpoint does not make the wait a busy loop while nothing can be sent. */
    rig.echo.deadline = 1;
    assert_true(weir_loop_next_timeout(rig.loop) > 1);
    rig.echo.deadline = WEIR_NEVER;
    run(&rig, 0);
    assert_int_equal(rig.echo.queued, 5);
    assert_int_equal(script.taken, 4);

    uint32_t receives = script.receives;
    script.takes = 100;
    run(&rig, WEIR_NEVER); /* ends at once: the descriptor is writable */
    assert_int_equal(script.taken, 15);
    assert_false(weir_loop_is_blocked(rig.loop));
    /* Writable alone is no reason to receive. */
    assert_int_equal(script.receives, receives);
    close_loop(&rig);
}

/* What the driver has no room for is ours before anybody else runs. */
static void test_blocked_tails_are_kept(void **state)
{
    static uint8_t lent[SEGMENT_BYTES];
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    memset(lent, LENT_BYTE, sizeof(lent));
    script.driver.is_gathered = true;
    rig.echo.lent = lent;
    rig.echo.queued = 3;
    script.takes = 1;
    run(&rig, 0);
    assert_int_equal(script.taken, 1);
    memset(lent, 0, sizeof(lent));
    script.takes = 100;
    run(&rig, 0);
    assert_int_equal(script.taken, 3);
    close_loop(&rig);
}

/* Output without end leaves run_once all the same, and goes on without waiting. */
static void test_output_is_bounded(void **state)
{
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    script.takes = UINT32_MAX;
    rig.echo.queued = QUEUE_MAX;
    rig.echo.batch_max = 100;
    run(&rig, 0);
    assert_true(script.taken > 0 && script.taken < QUEUE_MAX);
    for (int i = 0; script.taken < QUEUE_MAX && i < ROUNDS_MAX; i++) {
        assert_true(weir_loop_next_timeout(rig.loop) <= weir_loop_now(rig.loop));
        run(&rig, WEIR_NEVER);
    }
    assert_int_equal(script.taken, QUEUE_MAX);
    /* Nothing is left, once a last look has found it so. */
    run(&rig, 0);
    assert_int_equal(weir_loop_next_timeout(rig.loop), WEIR_NEVER);
    close_loop(&rig);
}

static void test_receive_is_bounded(void **state)
{
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    script.full_receives = 1500;
    run(&rig, 0);
    assert_int_equal(rig.echo.inputs, 1024);
    assert_true(weir_loop_next_timeout(rig.loop) <= weir_loop_now(rig.loop));
    run(&rig, WEIR_NEVER);
    assert_int_equal(rig.echo.inputs, 1500);
    assert_int_equal(rig.echo.wrong, 0);
    assert_int_equal(script.receives, 1500);
    assert_int_equal(rig.echo.events, 1500);
    close_loop(&rig);
}

/* While more waits to be received than was, less is sent than came, by flushes too. */
static void test_sending_yields_to_receiving(void **state)
{
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    script.takes = UINT32_MAX;
    script.full_receives = 2000;
    rig.echo.queued = QUEUE_MAX;
    run(&rig, 0);
    assert_int_equal(rig.echo.inputs, 1024);
    assert_int_equal(script.taken, 512);
    assert_int_equal(weir_loop_flush(rig.loop), WEIR_OK);
    assert_int_equal(script.taken, 512);
    assert_true(weir_loop_next_timeout(rig.loop) <= weir_loop_now(rig.loop));
    run(&rig, WEIR_NEVER);
    assert_int_equal(rig.echo.inputs, 2000);
    assert_true(script.taken >= 512 + 1024 - 512);
    for (int i = 0; script.taken < QUEUE_MAX && i < ROUNDS_MAX; i++) {
        run(&rig, 0);
    }
    assert_int_equal(script.taken, QUEUE_MAX);
    close_loop(&rig);
}

/* Drivers that know when something comes are asked then, with and without a descriptor. */
static void check_driver_deadline(bool has_fd)
{
    struct rig rig;
    struct script script;
    open_script(&rig, &script, has_fd);
    script.next = weir_loop_now(rig.loop) + 10 * WEIR_MSEC;
    weir_nsec due = script.next;
    for (int i = 0; rig.echo.received == 0 && i < ROUNDS_MAX; i++) {
        run(&rig, WEIR_SEC);
    }
    assert_int_equal(rig.echo.received, 1);
    assert_true(weir_loop_now(rig.loop) >= due);
    close_loop(&rig);
}

static void test_driver_deadline(void **state)
{
    (void)state;
    check_driver_deadline(true);
    check_driver_deadline(false);
}

static void test_driver_error(void **state)
{
    struct rig rig;
    struct script script;
    (void)state;
    open_script(&rig, &script, true);
    script.fails = WEIR_ERR_OS;
    assert_int_equal(weir_loop_run_once(rig.loop, 0), WEIR_ERR_OS);
    assert_int_equal(rig.echo.inputs, 0);
    close_loop(&rig);
}

static void test_open_errors(void **state)
{
    struct rig rig;
    struct script script;
    struct weir_loop_config config;
    struct weir_loop *loop = NULL;
    (void)state;
    open_script(&rig, &script, false);
    weir_loop_config_default(&config);
    assert_int_equal(weir_loop_open(&config, &loop), WEIR_ERR_INVALID);
    config.driver = rig.driver;
    config.slide = rig.slide;
    config.tx_bytes = 1000;
    assert_int_equal(weir_loop_open(&config, &loop), WEIR_ERR_INVALID);
    config.tx_bytes = 1 << 20;
    config.packets_max = 127; /* less than the kernel may join into one run */
    assert_int_equal(weir_loop_open(&config, &loop), WEIR_ERR_INVALID);
    config.packets_max = 128;
    rig.driver->rx_room_bytes = UINT32_MAX;
    assert_int_equal(weir_loop_open(&config, &loop), WEIR_ERR_INVALID);
    assert_null(loop);
    close_loop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_with_offload),
        cmocka_unit_test(test_echo_without_offload),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_events_queue_output),
        cmocka_unit_test(test_blocked_tails_are_kept),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_output_is_bounded),
        cmocka_unit_test(test_receive_is_bounded),
        cmocka_unit_test(test_sending_yields_to_receiving),
        cmocka_unit_test(test_driver_deadline),
        cmocka_unit_test(test_driver_error),
        cmocka_unit_test(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
