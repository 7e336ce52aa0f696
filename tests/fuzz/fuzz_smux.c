/* SPDX-License-Identifier: MIT */
/*
 * fuzz_smux.c - any bytes as what a peer of smux says, in all versions, while streams are read,
 * finished and let go of: no crash, and never more buffered than the windows hold.
 */
#include <stdint.h>
#include <stdlib.h>

#include "cli/smux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STREAMS_MAX = 8,
    ROOM_BYTES = 256
};

static struct cli_heap heap;

struct fuzz {
    struct cli_smux *smux;
    struct cli_smux_stream *streams[STREAMS_MAX];
    uint32_t streams_count;
    uint32_t turn;
};

static void forget(struct fuzz *fuzz, const struct cli_smux_stream *stream)
{
    for (uint32_t i = 0; i < fuzz->streams_count; i++) {
        if (fuzz->streams[i] == stream) {
            fuzz->streams[i] = fuzz->streams[--fuzz->streams_count];
            return;
        }
    }
    abort(); /* an event about a stream that was released */
}

/* What an application might do, chosen by how often there was an event. */
static void act(struct fuzz *fuzz, struct cli_smux_stream *stream)
{
    uint8_t header[CLI_SMUX_HEADER_BYTES];
    uint8_t room[ROOM_BYTES];
    size_t sendable = cli_smux_sendable(fuzz->smux, stream);
    switch (fuzz->turn++ % 7) {
    case 0:
    case 3:
        cli_smux_consume(fuzz->smux, stream, stream->received - stream->consumed);
        break;
    case 1:
        if (!stream->is_finished && sendable > 0 && !stream->is_syn_owed) {
            cli_smux_write_header(fuzz->smux, stream, sendable, header);
        }
        break;
    case 4:
        cli_smux_finish(fuzz->smux, stream);
        break;
    case 5:
        forget(fuzz, stream);
        cli_smux_release(fuzz->smux, stream);
        break;
    default:
        if (cli_smux_control(fuzz->smux, room, sizeof(room)) > sizeof(room)) {
            abort();
        }
        break;
    }
}

static void on_event(struct fuzz *fuzz, const struct cli_smux_event *event)
{
    if (event->type == CLI_SMUX_GOAWAY) {
        return;
    }
    if (event->type == CLI_SMUX_OPENED) {
        if (fuzz->streams_count == STREAMS_MAX) {
            abort();
        }
        fuzz->streams[fuzz->streams_count++] = event->stream;
    }
    if (event->type == CLI_SMUX_RESET) {
        forget(fuzz, event->stream);
        cli_smux_release(fuzz->smux, event->stream);
        return;
    }
    act(fuzz, event->stream);
}

static void run(uint8_t version, bool is_client, const uint8_t *data, size_t size)
{
    struct cli_smux_config config = {.heap = &heap,
                                     .version = version,
                                     .is_client = is_client,
                                     .streams_max = STREAMS_MAX,
                                     .stream_bytes = 1000,
                                     .session_bytes = 5000,
                                     .keepalive = WEIR_SEC,
                                     .timeout = 3 * WEIR_SEC};
    struct fuzz fuzz = {.smux = cli_smux_open(&config, 0)};
    struct weir_span input = weir_span_of(data, size);
    struct cli_smux_event event;
    uint8_t room[ROOM_BYTES];
    if (fuzz.smux == NULL) {
        return;
    }
    for (uint32_t i = 0; is_client && i < 3; i++) {
        fuzz.streams[fuzz.streams_count++] = cli_smux_connect(fuzz.smux, NULL);
    }
    while (cli_smux_next(fuzz.smux, 0, &input, &event) == WEIR_OK) {
        on_event(&fuzz, &event);
        if (version >= 2 &&
            cli_smux_buffered_bytes(fuzz.smux) > (size_t)STREAMS_MAX * CLI_SMUX_WINDOW_FIRST) {
            abort();
        }
    }
    (void)cli_smux_timeout(fuzz.smux, 2 * WEIR_SEC);
    while (cli_smux_owes(fuzz.smux)) {
        (void)cli_smux_control(fuzz.smux, room, sizeof(room));
    }
    cli_smux_close(fuzz.smux);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1) {
        run((uint8_t)(1 + data[0] % 3), (data[0] & 4) != 0, data + 1, size - 1);
    }
    return 0;
}
