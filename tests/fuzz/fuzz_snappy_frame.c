/* SPDX-License-Identifier: MIT */
/*
 * fuzz_snappy_frame.c - any bytes as snappy's framing format, whole and in pieces: both ways give
 * the same, and what is given back survives another round.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/snappy_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cli_heap heap;

struct sum {
    uint64_t hash;
    size_t length;
    enum weir_status status;
};

/* Input in pieces of at most so many bytes. */
static struct sum decode(const uint8_t *data, size_t size, size_t piece_max)
{
    struct cli_snappy_decoder *decoder = cli_snappy_open(&heap);
    struct sum sum = {.status = WEIR_AGAIN};
    struct weir_span out;
    for (size_t at = 0; decoder != NULL && at < size && sum.status == WEIR_AGAIN;) {
        size_t piece = size - at < piece_max ? size - at : piece_max;
        struct weir_span input = weir_span_of(data + at, piece);
        at += piece;
        while ((sum.status = cli_snappy_next(decoder, &input, &out)) == WEIR_OK) {
            if (out.length == 0 || out.length > CLI_SNAPPY_DATA_BYTES_MAX) {
                abort();
            }
            for (size_t i = 0; i < out.length; i++) {
                sum.hash = sum.hash * 1099511628211U + out.data[i];
            }
            sum.length += out.length;
        }
    }
    cli_snappy_close(&heap, decoder);
    return sum;
}

static void check_round_trip(const uint8_t *data, size_t size)
{
    static uint8_t room[CLI_SNAPPY_ROOM(CLI_SNAPPY_DATA_BYTES_MAX)];
    struct cli_snappy_decoder *decoder = cli_snappy_open(&heap);
    size_t length = size < CLI_SNAPPY_DATA_BYTES_MAX ? size : CLI_SNAPPY_DATA_BYTES_MAX;
    if (decoder == NULL || length == 0) {
        cli_snappy_close(&heap, decoder);
        return;
    }
    struct weir_span input =
        weir_span_of(room, cli_snappy_encode(weir_span_of(data, length), true, room));
    struct weir_span out;
    if (cli_snappy_next(decoder, &input, &out) != WEIR_OK || out.length != length ||
        memcmp(out.data, data, length) != 0) {
        abort();
    }
    cli_snappy_close(&heap, decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sum whole = decode(data, size, size + 1);
    struct sum pieces = decode(data, size, 7);
    if (whole.hash != pieces.hash || whole.length != pieces.length ||
        whole.status != pieces.status) {
        abort();
    }
    check_round_trip(data, size);
    return 0;
}
