/* SPDX-License-Identifier: MIT */
/*
 * reassembly.c - pieces into their final place.
 *
 * Role: the set of offsets present decides which bytes of a piece are new; only those are copied,
 * so a repeated or forged piece cannot change what came first.
 */
#include "core/reassembly.h"

#include <string.h>

#include "base/assert.h"

void weir_reassembly_init(struct weir_reassembly *reassembly, uint8_t *buffer, uint64_t length,
                          struct weir_range *items, uint32_t gaps_max)
{
    WEIR_ASSERT(buffer != NULL || length == 0);
    reassembly->buffer = buffer;
    reassembly->length = length;
    reassembly->received_bytes = 0;
    weir_ranges_init(&reassembly->ranges, items, gaps_max);
}

/* Copies the bytes of piece that no range from index on covers. */
static void copy_gaps(struct weir_reassembly *reassembly, uint32_t index, uint64_t offset,
                      struct weir_span piece)
{
    const struct weir_ranges *ranges = &reassembly->ranges;
    uint64_t at = offset;
    uint64_t end = offset + piece.length;
    while (at < end) {
        bool has_range = index < ranges->count && ranges->items[index].first < end;
        uint64_t gap_end = has_range ? ranges->items[index].first : end;
        if (gap_end > at) {
            memcpy(reassembly->buffer + at, piece.data + (at - offset), gap_end - at);
        }
        if (!has_range) {
            return;
        }
        at = ranges->items[index].last + 1;
        index++;
    }
}

enum weir_status weir_reassembly_add(struct weir_reassembly *reassembly, uint64_t offset,
                                     struct weir_span piece, uint64_t *added)
{
    *added = 0;
    if (offset > reassembly->length || piece.length > reassembly->length - offset) {
        return WEIR_ERR_INVALID;
    }
    if (piece.length == 0) {
        return WEIR_OK;
    }
    struct weir_ranges *ranges = &reassembly->ranges;
    uint64_t last = offset + piece.length - 1;
    uint32_t index = weir_ranges_search(ranges, offset);
    bool overlaps = index < ranges->count && ranges->items[index].first <= last;
    if (overlaps) {
        /* An overlap only ever joins ranges: the add below cannot be refused. */
        copy_gaps(reassembly, index, offset, piece);
    }
    enum weir_status status = weir_ranges_add(ranges, offset, last, added);
    if (status != WEIR_OK) {
        return status;
    }
    if (!overlaps) {
        memcpy(reassembly->buffer + offset, piece.data, piece.length);
    }
    reassembly->received_bytes += *added;
    return WEIR_OK;
}
