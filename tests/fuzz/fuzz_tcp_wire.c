/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tcp_wire.c - any bytes as a TCP segment: what is decoded lies within, and says the same once
 * it is encoded and decoded again.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/checksum.h"
#include "wire/tcp.h"

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct weir_tcp_segment *a, const struct weir_tcp_segment *b)
{
    MUST(a->source == b->source && a->target == b->target && a->seq == b->seq && a->ack == b->ack);
    MUST(a->flags == b->flags && a->window == b->window && a->urgent == b->urgent);
    MUST(a->options == b->options);
    MUST((a->options & WEIR_TCP_HAS_MSS) == 0 || a->mss == b->mss);
    MUST((a->options & WEIR_TCP_HAS_SCALE) == 0 || a->scale == b->scale);
    if ((a->options & WEIR_TCP_HAS_TIMESTAMPS) != 0) {
        MUST(a->ts_value == b->ts_value && a->ts_echo == b->ts_echo);
    }
    MUST(b->sack_count <= a->sack_count);
    for (unsigned i = 0; i < b->sack_count; i++) {
        MUST(a->sacks[i].first == b->sacks[i].first && a->sacks[i].end == b->sacks[i].end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_tcp_segment segment;
    struct weir_tcp_segment again;
    uint8_t bytes[WEIR_TCP_HEADER_MAX + WEIR_TCP_COOKIE_MAX + 64];
    memset(&segment, 0, sizeof(segment));
    (void)weir_checksum_fold(weir_checksum_add(0, data, size));
    if (!weir_tcp_decode(weir_span_of(data, size), &segment)) {
        return 0;
    }
    MUST(segment.data.data >= data + WEIR_TCP_HEADER_BYTES);
    MUST(segment.data.data + segment.data.length == data + size);
    uint32_t length = weir_tcp_header_bytes(&segment);
    if (length > WEIR_TCP_HEADER_MAX) {
        return 0; /* more options than ours ever are: every one of them at once */
    }
    MUST(weir_tcp_encode(bytes, &segment) == length);
    MUST(weir_tcp_decode(weir_span_of(bytes, length), &again));
    check_same(&segment, &again);
    return 0;
}
