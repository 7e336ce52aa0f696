/* SPDX-License-Identifier: MIT */
/*
 * test_smux.c - frames byte for byte, windows, ends of streams, and random exchanges of two ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/smux.h"
#include "unit/seed.h"

enum {
    ROOM_BYTES = 1 << 16,
    STREAM_BYTES = 300000,
    STREAMS_MAX = 40
};

static struct cli_heap heap;

static struct cli_smux_config make_config(uint8_t version, bool is_client)
{
    return (struct cli_smux_config){.heap = &heap,
                                    .version = version,
                                    .is_client = is_client,
                                    .streams_max = STREAMS_MAX,
                                    .stream_bytes = STREAM_BYTES,
                                    .session_bytes = 1 << 20,
                                    .keepalive = 10 * WEIR_SEC,
                                    .timeout = 30 * WEIR_SEC,
                                    .key = {1, 2}};
}

static struct cli_smux *open_smux(uint8_t version, bool is_client)
{
    struct cli_smux_config config = make_config(version, is_client);
    struct cli_smux *smux = cli_smux_open(&config, 0);
    assert_non_null(smux);
    return smux;
}

static void expect_control(struct cli_smux *smux, const void *bytes, size_t length)
{
    uint8_t room[ROOM_BYTES];
    assert_true(cli_smux_owes(smux));
    assert_int_equal(cli_smux_control(smux, room, sizeof(room)), length);
    assert_memory_equal(room, bytes, length);
    assert_false(cli_smux_owes(smux));
}

static struct cli_smux_event expect_event(struct cli_smux *smux, const void *bytes, size_t length,
                                          enum cli_smux_event_type type)
{
    struct weir_span input = weir_span_of(bytes, length);
    struct cli_smux_event event;
    assert_int_equal(cli_smux_next(smux, 0, &input, &event), WEIR_OK);
    assert_int_equal(event.type, type);
    assert_int_equal(input.length, 0);
    return event;
}

static void expect_quiet(struct cli_smux *smux, const void *bytes, size_t length)
{
    struct weir_span input = weir_span_of(bytes, length);
    struct cli_smux_event event;
    assert_int_equal(cli_smux_next(smux, 0, &input, &event), WEIR_AGAIN);
    assert_int_equal(input.length, 0);
}

static void expect_fault(struct cli_smux *smux, const void *bytes, size_t length)
{
    struct weir_span input = weir_span_of(bytes, length);
    struct cli_smux_event event;
    assert_null(cli_smux_fault(smux));
    assert_int_equal(cli_smux_next(smux, 0, &input, &event), WEIR_ERR_MALFORMED);
    assert_non_null(cli_smux_fault(smux));
    input = weir_span_of(bytes, length);
    assert_int_equal(cli_smux_next(smux, 0, &input, &event), WEIR_ERR_MALFORMED);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void test_frames_of_a_client(void **state)
{
    struct cli_smux *smux = open_smux(1, true);
    uint8_t header[CLI_SMUX_HEADER_BYTES];
    (void)state;
    struct cli_smux_stream *first = cli_smux_connect(smux, &header);
    expect_control(smux, "\x01\x00\x00\x00\x03\x00\x00\x00", 8);
    struct cli_smux_stream *second = cli_smux_connect(smux, NULL);
    assert_int_equal(second->id, 5);
    expect_control(smux, "\x01\x00\x00\x00\x05\x00\x00\x00", 8);
    cli_smux_write_header(smux, first, 0x1234, header);
    assert_memory_equal(header, "\x01\x02\x34\x12\x03\x00\x00\x00", 8);
    cli_smux_finish(smux, first);
    cli_smux_finish(smux, first);
    expect_control(smux, "\x01\x01\x00\x00\x03\x00\x00\x00", 8);
    assert_int_equal(cli_smux_timeout(smux, 10 * WEIR_SEC), WEIR_OK);
    expect_control(smux, "\x01\x03\x00\x00\x00\x00\x00\x00", 8);
    cli_smux_close(smux);
}

static void test_events_of_a_server(void **state)
{
    struct cli_smux *smux = open_smux(1, false);
    (void)state;
    struct cli_smux_event event =
        expect_event(smux, "\x01\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    assert_int_equal(event.stream->id, 3);
    event.stream->user = smux;
    expect_quiet(smux, "\x01\x00\x00\x00\x03\x00\x00\x00", 8); /* once more: nothing new */
    event = expect_event(smux,
                         "\x01\x02\x03\x00\x03\x00\x00\x00"
                         "abc",
                         11, CLI_SMUX_DATA);
    assert_int_equal(event.data.length, 3);
    assert_memory_equal(event.data.data, "abc", 3);
    assert_int_equal(cli_smux_buffered_bytes(smux), 3);
    expect_quiet(smux,
                 "\x01\x02\x03\x00\x09\x00\x00\x00"
                 "abc",
                 11); /* a stream that nobody knows */
    expect_event(smux, "\x01\x01\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_FINISHED);
    expect_quiet(smux, "\x01\x01\x00\x00\x03\x00\x00\x00", 8);
    expect_quiet(smux, "\x01\x02\x01\x00\x03\x00\x00\x00z", 9); /* after its end */
    cli_smux_release(smux, event.stream);
    assert_int_equal(cli_smux_buffered_bytes(smux), 0);
    assert_int_equal(cli_smux_streams(smux), 1);
    expect_control(smux, "\x01\x01\x00\x00\x03\x00\x00\x00", 8);
    assert_int_equal(cli_smux_streams(smux), 0);
    cli_smux_close(smux);
}

static void test_updates(void **state)
{
    struct cli_smux *smux = open_smux(2, false);
    uint8_t frame[8 + 32768] = "\x02\x02\x00\x80\x03";
    (void)state;
    struct cli_smux_event event =
        expect_event(smux, "\x02\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    struct cli_smux_stream *stream = event.stream;
    event = expect_event(smux, frame, sizeof(frame), CLI_SMUX_DATA);
    assert_int_equal(event.data.length, 32768);
    cli_smux_consume(smux, stream, 5); /* the first read tells the window */
    expect_control(smux,
                   "\x02\x04\x08\x00\x03\x00\x00\x00"
                   "\x05\x00\x00\x00\xe0\x93\x04\x00",
                   16);
    cli_smux_consume(smux, stream, 32763);
    for (int i = 0; i < 3; i++) {
        expect_event(smux, frame, sizeof(frame), CLI_SMUX_DATA);
        cli_smux_consume(smux, stream, 32768);
    }
    assert_false(cli_smux_owes(smux)); /* not half of the window yet */
    expect_event(smux, frame, sizeof(frame), CLI_SMUX_DATA);
    cli_smux_consume(smux, stream, 32768);
    expect_control(smux,
                   "\x02\x04\x08\x00\x03\x00\x00\x00"
                   "\x00\x80\x02\x00\xe0\x93\x04\x00",
                   16);
    cli_smux_close(smux);
}

static void test_window_of_the_peer(void **state)
{
    struct cli_smux *smux = open_smux(2, true);
    uint8_t header[CLI_SMUX_HEADER_BYTES];
    uint8_t room[ROOM_BYTES];
    (void)state;
    struct cli_smux_stream *stream = cli_smux_connect(smux, NULL);
    (void)cli_smux_control(smux, room, sizeof(room));
    for (int i = 0; i < CLI_SMUX_WINDOW_FIRST / 32768; i++) {
        assert_int_equal(cli_smux_sendable(smux, stream), 32768);
        cli_smux_write_header(smux, stream, 32768, header);
    }
    assert_int_equal(cli_smux_sendable(smux, stream), 0);
    /* Ten bytes were read, the window stays: ten more may go. */
    expect_event(smux,
                 "\x02\x04\x08\x00\x03\x00\x00\x00"
                 "\x0a\x00\x00\x00\x00\x00\x04\x00",
                 16, CLI_SMUX_WRITABLE);
    assert_int_equal(cli_smux_sendable(smux, stream), 10);
    /* A smaller window than what is in flight. */
    expect_quiet(smux,
                 "\x02\x04\x08\x00\x03\x00\x00\x00"
                 "\x0b\x00\x00\x00\x01\x00\x00\x00",
                 16);
    assert_int_equal(cli_smux_sendable(smux, stream), 0);
    expect_fault(smux,
                 "\x02\x04\x08\x00\x03\x00\x00\x00"
                 "\x01\x00\x04\x00\x01\x00\x00\x00",
                 16); /* more than was sent */
    cli_smux_close(smux);
}

static void test_native_ends(void **state)
{
    struct cli_smux *smux = open_smux(3, false);
    (void)state;
    struct cli_smux_event event =
        expect_event(smux, "\x03\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    struct cli_smux_stream *stream = event.stream;
    expect_event(smux, "\x03\x01\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_FINISHED);
    assert_true(cli_smux_sendable(smux, stream) > 0); /* the other direction goes on */
    cli_smux_finish(smux, stream);
    expect_control(smux, "\x03\x01\x00\x00\x03\x00\x00\x00", 8);
    cli_smux_release(smux, stream);
    assert_int_equal(cli_smux_streams(smux), 0); /* ended both ways: nothing is owed */
    /* Let go of in the middle. */
    event = expect_event(smux, "\x03\x00\x00\x00\x05\x00\x00\x00", 8, CLI_SMUX_OPENED);
    cli_smux_release(smux, event.stream);
    expect_control(smux, "\x03\x05\x00\x00\x05\x00\x00\x00", 8);
    assert_int_equal(cli_smux_streams(smux), 0);
    /* The peer lets go. */
    event = expect_event(smux, "\x03\x00\x00\x00\x07\x00\x00\x00", 8, CLI_SMUX_OPENED);
    stream = event.stream;
    expect_event(smux, "\x03\x05\x00\x00\x07\x00\x00\x00", 8, CLI_SMUX_RESET);
    cli_smux_release(smux, stream);
    assert_false(cli_smux_owes(smux));
    assert_int_equal(cli_smux_streams(smux), 0);
    cli_smux_go_away(smux);
    expect_control(smux, "\x03\x06\x00\x00\x00\x00\x00\x00", 8);
    expect_event(smux, "\x03\x06\x00\x00\x00\x00\x00\x00", 8, CLI_SMUX_GOAWAY);
    cli_smux_close(smux);
}

/* --- faults and bounds ------------------------------------------------------------------------ */

static void test_faults(void **state)
{
    static const struct {
        uint8_t version;
        bool is_client;
        const char *bytes;
        size_t length;
    } cases[] = {{1, false, "\x02\x00\x00\x00\x03\x00\x00\x00", 8}, /* another version */
                 {3, false, "\x01\x00\x00\x00\x03\x00\x00\x00", 8}, /* kcptun at a native end */
                 {1, false, "\x01\x04\x08\x00\x03\x00\x00\x00", 8}, /* UPD in version 1 */
                 {2, false, "\x02\x04\x07\x00\x03\x00\x00\x00", 8}, /* of another length */
                 {2, false, "\x02\x05\x00\x00\x03\x00\x00\x00", 8}, /* RST in version 2 */
                 {3, false, "\x03\x07\x00\x00\x03\x00\x00\x00", 8}, /* no such command */
                 {1, false, "\x01\x00\x01\x00\x03\x00\x00\x00", 8}, /* SYN with a length */
                 {1, true, "\x01\x00\x00\x00\x02\x00\x00\x00", 8}}; /* SYN to a client */

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cli_smux *smux = open_smux(cases[i].version, cases[i].is_client);
        expect_fault(smux, cases[i].bytes, cases[i].length);
        cli_smux_close(smux);
    }
}

static void test_too_many_streams(void **state)
{
    struct cli_smux *smux = open_smux(2, false);
    uint8_t frame[8] = {2};
    (void)state;
    for (int i = 0; i < STREAMS_MAX; i++) {
        frame[4] = (uint8_t)(3 + 2 * i);
        expect_event(smux, frame, sizeof(frame), CLI_SMUX_OPENED);
    }
    frame[4] = 1;
    expect_fault(smux, frame, sizeof(frame));
    cli_smux_close(smux);
    smux = open_smux(2, true);
    for (int i = 0; i < STREAMS_MAX; i++) {
        assert_non_null(cli_smux_connect(smux, NULL));
    }
    assert_null(cli_smux_connect(smux, NULL));
    cli_smux_close(smux);
}

/* A peer that does not keep to the window is cut off before it fills our memory. */
static void test_window_is_enforced(void **state)
{
    struct cli_smux *smux = open_smux(2, false);
    uint8_t frame[8 + 32768] = "\x02\x02\x00\x80\x03";
    struct cli_smux_event event;
    enum weir_status status = WEIR_OK;
    (void)state;
    expect_event(smux, "\x02\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    for (int i = 0; i < 20 && status == WEIR_OK; i++) {
        struct weir_span input = weir_span_of(frame, sizeof(frame));
        status = cli_smux_next(smux, 0, &input, &event);
    }
    assert_int_equal(status, WEIR_ERR_MALFORMED);
    assert_true(cli_smux_buffered_bytes(smux) <= STREAM_BYTES);
    cli_smux_close(smux);
}

static void test_fullness(void **state)
{
    struct cli_smux *smux = open_smux(1, false);
    uint8_t frame[8 + 65535] = "\x01\x02\xff\xff\x03";
    (void)state;
    struct cli_smux_event event =
        expect_event(smux, "\x01\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    struct cli_smux_stream *stream = event.stream;
    for (int i = 0; i < 17; i++) {
        assert_false(cli_smux_is_full(smux));
        expect_event(smux, frame, sizeof(frame), CLI_SMUX_DATA);
    }
    assert_true(cli_smux_is_full(smux));
    /* Whoever does not listen must not call the peer silent. */
    assert_int_equal(cli_smux_timeout(smux, 60 * WEIR_SEC), WEIR_OK);
    cli_smux_consume(smux, stream, 131070);
    assert_false(cli_smux_is_full(smux));
    assert_int_equal(cli_smux_timeout(smux, 89 * WEIR_SEC), WEIR_OK);
    assert_int_equal(cli_smux_timeout(smux, 90 * WEIR_SEC), WEIR_ERR_CLOSED);
    cli_smux_close(smux);
}

/* Let go of while its frame is still coming in. */
static void test_release_inside_a_frame(void **state)
{
    struct cli_smux *smux = open_smux(1, false);
    uint8_t room[ROOM_BYTES];
    (void)state;
    expect_event(smux, "\x01\x00\x00\x00\x03\x00\x00\x00", 8, CLI_SMUX_OPENED);
    struct cli_smux_event event =
        expect_event(smux, "\x01\x02\x06\x00\x03\x00\x00\x00xyz", 11, CLI_SMUX_DATA);
    cli_smux_release(smux, event.stream);
    expect_quiet(smux, "a", 1);
    (void)cli_smux_control(smux, room, sizeof(room)); /* frees it */
    expect_quiet(smux, "bc", 2);
    assert_int_equal(cli_smux_buffered_bytes(smux), 0);
    expect_event(smux, "\x01\x00\x00\x00\x05\x00\x00\x00", 8, CLI_SMUX_OPENED);
    cli_smux_close(smux);
}

/* The same inside a window update, which would have opened the window again. */
static void test_release_inside_an_update(void **state)
{
    struct cli_smux *smux = open_smux(2, true);
    uint8_t room[ROOM_BYTES];
    (void)state;
    struct cli_smux_stream *stream = cli_smux_connect(smux, smux);
    (void)cli_smux_control(smux, room, sizeof(room));
    while (cli_smux_sendable(smux, stream) > 0) {
        cli_smux_write_header(smux, stream, cli_smux_sendable(smux, stream), room);
    }
    expect_quiet(smux, "\x02\x04\x08\x00\x03\x00\x00\x00\x00\x80", 10);
    cli_smux_release(smux, stream); /* its FIN is owed still */
    expect_quiet(smux, "\x00\x00\x00\x00\x10\x00", 6);
    cli_smux_close(smux);
}

/* --- random exchanges ------------------------------------------------------------------------- */

enum {
    PIPE_BYTES = 1 << 21,
    FLOWS_MAX = 24
};

/* One direction of one stream: bytes are a function of stream and offset. */
struct flow {
    struct cli_smux_stream *stream;
    uint32_t id, received, wanted, sent, taken;
    bool is_finished, is_open;
};

struct end {
    struct cli_smux *smux;
    struct flow flows[FLOWS_MAX];
    uint8_t pipe[PIPE_BYTES]; /* what it has written, and the other has not read */
    size_t pipe_used;
};

static uint8_t byte_of(uint32_t id, uint32_t offset, bool is_of_client)
{
    return (uint8_t)(id * 31 + offset * 7 + (offset >> 8) + is_of_client);
}

static struct flow *flow_of(struct end *end, uint32_t id)
{
    return &end->flows[(id - 3) / 2];
}

static void write_some(struct end *end, struct weir_prng *prng, bool is_client)
{
    struct flow *flow = &end->flows[weir_prng_below(prng, FLOWS_MAX)];
    if (cli_smux_owes(end->smux)) {
        end->pipe_used += cli_smux_control(end->smux, end->pipe + end->pipe_used, 64);
        return;
    }
    if (!flow->is_open || flow->stream->is_finished) {
        return;
    }
    size_t room = cli_smux_sendable(end->smux, flow->stream);
    size_t left = flow->wanted - flow->sent;
    if (left == 0) {
        cli_smux_finish(end->smux, flow->stream);
        return;
    }
    room = room < left ? room : left;
    if (room == 0 || end->pipe_used + room + 8 > PIPE_BYTES) {
        return;
    }
    size_t length = 1 + (size_t)weir_prng_below(prng, room);
    uint8_t *at = end->pipe + end->pipe_used;
    cli_smux_write_header(end->smux, flow->stream, length, at);
    for (size_t i = 0; i < length; i++) {
        at[8 + i] = byte_of(flow->id, flow->sent + (uint32_t)i, is_client);
    }
    flow->sent += (uint32_t)length;
    end->pipe_used += 8 + length;
}

static void on_event(struct end *end, const struct cli_smux_event *event, struct weir_prng *prng,
                     bool is_client, uint64_t seed)
{
    struct flow *flow = flow_of(end, event->stream->id);
    if (event->type == CLI_SMUX_OPENED) {
        *flow = (struct flow){.stream = event->stream,
                              .id = event->stream->id,
                              .wanted = (uint32_t)draw_scaled(prng, 20),
                              .is_open = true};
    } else if (event->type == CLI_SMUX_DATA) {
        for (size_t i = 0; i < event->data.length; i++) {
            CHECK(seed, event->data.data[i] == byte_of(flow->id, flow->received++, !is_client));
        }
    } else if (event->type == CLI_SMUX_FINISHED) {
        flow->is_finished = true;
    }
}

static void read_some(struct end *from, struct end *to, struct weir_prng *prng, bool is_client,
                      uint64_t seed)
{
    size_t length = (size_t)weir_prng_below(prng, 5000);
    length = length < from->pipe_used ? length : from->pipe_used;
    if (length == 0 || cli_smux_is_full(to->smux)) {
        return;
    }
    struct weir_span input = weir_span_of(from->pipe, length);
    struct cli_smux_event event;
    enum weir_status status;
    while ((status = cli_smux_next(to->smux, 0, &input, &event)) == WEIR_OK) {
        on_event(to, &event, prng, is_client, seed);
    }
    CHECK(seed, status == WEIR_AGAIN);
    memmove(from->pipe, from->pipe + length, from->pipe_used - length);
    from->pipe_used -= length;
}

/* Takes bytes, and lets go of streams that have ended both ways. */
static void take_some(struct end *end, struct weir_prng *prng)
{
    struct flow *flow = &end->flows[weir_prng_below(prng, FLOWS_MAX)];
    if (!flow->is_open) {
        return;
    }
    uint32_t left = flow->received - flow->taken;
    uint32_t length = (uint32_t)weir_prng_below(prng, left + 1);
    cli_smux_consume(end->smux, flow->stream, length);
    flow->taken += length;
    if (flow->is_finished && flow->taken == flow->received && flow->stream->is_finished) {
        cli_smux_release(end->smux, flow->stream);
        flow->is_open = false;
    }
}

static bool is_over(const struct end *client, const struct end *server)
{
    return cli_smux_streams(client->smux) == 0 && cli_smux_streams(server->smux) == 0;
}

static void run_exchange(uint64_t seed)
{
    static struct end client;
    static struct end server;
    struct weir_prng prng;
    uint8_t version = (uint8_t)(1 + seed % 3);
    weir_prng_init(&prng, seed);
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    client.smux = open_smux(version, true);
    server.smux = open_smux(version, false);
    for (int i = 0; i < FLOWS_MAX; i++) {
        struct cli_smux_stream *stream = cli_smux_connect(client.smux, NULL);
        client.flows[i] = (struct flow){.stream = stream,
                                        .id = stream->id,
                                        .wanted = (uint32_t)draw_scaled(&prng, 20),
                                        .is_open = true};
    }
    uint32_t steps = 0;
    for (; !is_over(&client, &server) && steps < 4000000; steps++) {
        bool is_client = weir_prng_below(&prng, 2) == 0;
        struct end *end = is_client ? &client : &server;
        struct end *other = is_client ? &server : &client;
        uint64_t what = weir_prng_below(&prng, 4);
        if (what == 0) {
            read_some(other, end, &prng, is_client, seed);
        } else if (what == 1) {
            take_some(end, &prng);
        } else if (end->pipe_used + 64 <= PIPE_BYTES) {
            write_some(end, &prng, is_client);
        }
    }
    CHECK(seed, is_over(&client, &server));
    for (int i = 0; i < FLOWS_MAX; i++) {
        CHECK(seed, client.flows[i].received == server.flows[i].wanted);
        CHECK(seed, server.flows[i].received == client.flows[i].wanted);
    }
    CHECK(seed, cli_smux_buffered_bytes(client.smux) == 0);
    CHECK(seed, cli_smux_buffered_bytes(server.smux) == 0);
    cli_smux_close(client.smux);
    cli_smux_close(server.smux);
}

static void test_random_exchanges(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 9; seed++) {
        run_exchange(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frames_of_a_client),
                                       cmocka_unit_test(test_events_of_a_server),
                                       cmocka_unit_test(test_updates),
                                       cmocka_unit_test(test_window_of_the_peer),
                                       cmocka_unit_test(test_native_ends),
                                       cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_too_many_streams),
                                       cmocka_unit_test(test_window_is_enforced),
                                       cmocka_unit_test(test_fullness),
                                       cmocka_unit_test(test_release_inside_a_frame),
                                       cmocka_unit_test(test_release_inside_an_update),
                                       cmocka_unit_test(test_random_exchanges)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cli_heap_fini(&heap);
    return failed;
}
