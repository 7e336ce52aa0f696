/* SPDX-License-Identifier: MIT */
/*
 * reassembly.h - one message or window put together from pieces that arrive in any order.
 *
 * Role: fragmented messages (RUDP, IP) and streams: bytes are copied once, to their final place.
 * Memory: the caller's buffer and range array; bytes and number of gaps are both bounded.
 */
#ifndef WEIR_CORE_REASSEMBLY_H
#define WEIR_CORE_REASSEMBLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/ranges.h"
#include "weir/span.h"
#include "weir/status.h"

struct weir_reassembly {
    uint8_t *buffer;
    uint64_t length; /* of the whole */
    uint64_t received_bytes;
    struct weir_ranges ranges; /* byte offsets present */
};

/* buffer has length bytes (NULL allowed when length is 0). gaps_max: entries in items. */
void weir_reassembly_init(struct weir_reassembly *reassembly, uint8_t *buffer, uint64_t length,
                          struct weir_range *items, uint32_t gaps_max);
/* Puts piece at offset. *added is how many bytes were new. Bytes already present are not written
 * again: what came first stays. WEIR_ERR_INVALID when the piece reaches past length, WEIR_ERR_FULL
 * when it would make too many gaps; nothing is changed by either. */
enum weir_status weir_reassembly_add(struct weir_reassembly *reassembly, uint64_t offset,
                                     struct weir_span piece, uint64_t *added);

static inline bool weir_reassembly_is_complete(const struct weir_reassembly *reassembly)
{
    return reassembly->received_bytes == reassembly->length;
}

#endif
