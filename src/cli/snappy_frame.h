/* SPDX-License-Identifier: MIT */
/*
 * snappy_frame.h - a byte stream as chunks of snappy's framing format, and back.
 *
 * Role: what kcptun puts around smux unless told --nocomp. Blocks come from libsnappy, the frames
 * and their checksums from here.
 * Spec: snappy's framing_format.txt, 4: a chunk is a type, a length of 3 bytes, little-endian, and
 * so many bytes; data begins with the masked CRC32C of what it decodes to.
 */
#ifndef WEIR_CLI_SNAPPY_FRAME_H
#define WEIR_CLI_SNAPPY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/heap.h"
#include "weir/span.h"
#include "weir/status.h"

enum {
    CLI_SNAPPY_DATA_BYTES_MAX = 65536, /* in one chunk */
    /* What encoding length bytes may take on the way: the stream identifier, a chunk's header, and
     * the worst case of a block. What remains is never more than length and 18 bytes. */
    CLI_SNAPPY_OVERHEAD_BYTES = 10 + 8 + 32
};

#define CLI_SNAPPY_ROOM(length) ((length) + (length) / 6 + CLI_SNAPPY_OVERHEAD_BYTES)

/* Appends one chunk with data, at most CLI_SNAPPY_DATA_BYTES_MAX bytes, to room of at least
 * CLI_SNAPPY_ROOM(data.length) bytes; before the first of a stream (is_first) its identifier.
 * Returns how many bytes. */
size_t cli_snappy_encode(struct weir_span data, bool is_first, uint8_t *room);

struct cli_snappy_decoder; /* about 140 KiB */

/* NULL when there is no memory. */
struct cli_snappy_decoder *cli_snappy_open(struct cli_heap *heap);
/* heap: as before. decoder may be NULL. */
void cli_snappy_close(struct cli_heap *heap, struct cli_snappy_decoder *decoder);
/* Takes bytes off the front of input up to the end of the next chunk with data; *data is valid
 * until the next call. WEIR_AGAIN: input is used up. WEIR_ERR_MALFORMED: this is no such stream, or
 * a checksum is wrong; every later call says so too. */
enum weir_status cli_snappy_next(struct cli_snappy_decoder *decoder, struct weir_span *input,
                                 struct weir_span *data);

#endif
