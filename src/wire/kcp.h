/* SPDX-License-Identifier: MIT */
/*
 * kcp.h - the segments that KCP datagrams are made of.
 *
 * Role: decoding into plain values and encoding from them; nothing else. All integers are
 * little-endian. A datagram is one segment after the other; fewer than 24 bytes at its end are
 * ignored, as other implementations do.
 *
 *      0      4    5    6      8     12    16     20     24
 *      | conv | cmd| frg| wnd  | ts  | sn  | una  | len  | len bytes of data
 */
#ifndef WEIR_WIRE_KCP_H
#define WEIR_WIRE_KCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/span.h"

enum {
    WEIR_KCP_HEADER_BYTES = 24
};

enum weir_kcp_command {
    WEIR_KCP_PUSH = 81, /* data */
    WEIR_KCP_ACK = 82,  /* sn has arrived; ts is that of the PUSH */
    WEIR_KCP_WASK = 83, /* how large is your window? */
    WEIR_KCP_WINS = 84  /* this large is my window */
};

struct weir_kcp_segment {
    uint32_t conv;
    uint8_t cmd; /* enum weir_kcp_command */
    uint8_t frg; /* fragments of the message still to follow */
    uint16_t wnd;
    uint32_t ts, sn, una;
    struct weir_span data;
};

enum weir_kcp_decoded {
    WEIR_KCP_DECODED = 0,
    WEIR_KCP_DECODED_END,     /* fewer than 24 bytes are left */
    WEIR_KCP_DECODED_COMMAND, /* no such command */
    WEIR_KCP_DECODED_LENGTH   /* data past the end of the datagram */
};

/* Shifts: compilers make one load or store of them, whatever the machine's byte order. */
static inline uint32_t weir_kcp_load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void weir_kcp_store32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline uint64_t weir_kcp_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline void weir_kcp_store64(uint8_t *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, sizeof(v));
}

/* Reads the segment at *at and moves *at behind it; anything but WEIR_KCP_DECODED moves nothing.
 * segment->data borrows from the datagram. */
static inline enum weir_kcp_decoded weir_kcp_decode(const uint8_t **at, const uint8_t *end,
                                                    struct weir_kcp_segment *segment)
{
    const uint8_t *p = *at;
    size_t left = (size_t)(end - p);
    if (left < WEIR_KCP_HEADER_BYTES) {
        return WEIR_KCP_DECODED_END;
    }
    uint64_t first = weir_kcp_load64(p);
    uint64_t second = weir_kcp_load64(p + 8);
    uint64_t third = weir_kcp_load64(p + 16);
    uint8_t cmd = (uint8_t)(first >> 32);
    if (cmd < WEIR_KCP_PUSH || cmd > WEIR_KCP_WINS) {
        return WEIR_KCP_DECODED_COMMAND;
    }
    uint32_t length = (uint32_t)(third >> 32);
    if (length > left - WEIR_KCP_HEADER_BYTES) {
        return WEIR_KCP_DECODED_LENGTH;
    }
    segment->conv = (uint32_t)first;
    segment->cmd = cmd;
    segment->frg = (uint8_t)(first >> 40);
    segment->wnd = (uint16_t)(first >> 48);
    segment->ts = (uint32_t)second;
    segment->sn = (uint32_t)(second >> 32);
    segment->una = (uint32_t)third;
    segment->data = weir_span_of(p + WEIR_KCP_HEADER_BYTES, length);
    *at = p + WEIR_KCP_HEADER_BYTES + length;
    return WEIR_KCP_DECODED;
}

/* The first 8 bytes of a header as a number, and the last 8: what runs of segments agree in. */
static inline uint64_t weir_kcp_head_word(uint32_t conv, uint8_t cmd, uint8_t frg, uint16_t wnd)
{
    return conv | (uint64_t)cmd << 32 | (uint64_t)frg << 40 | (uint64_t)wnd << 48;
}

static inline uint64_t weir_kcp_tail_word(uint32_t una, uint32_t length)
{
    return una | (uint64_t)length << 32;
}

/* Writes the 24 bytes of a header from its words and returns the byte after. The data is the
 * caller's to copy. */
static inline uint8_t *weir_kcp_encode_words(uint8_t *p, uint64_t head, uint32_t ts, uint32_t sn,
                                             uint64_t tail)
{
    weir_kcp_store64(p, head);
    weir_kcp_store64(p + 8, ts | (uint64_t)sn << 32);
    weir_kcp_store64(p + 16, tail);
    return p + WEIR_KCP_HEADER_BYTES;
}

/* The same from a segment, len being data.length. */
static inline uint8_t *weir_kcp_encode_header(uint8_t *p, const struct weir_kcp_segment *segment)
{
    return weir_kcp_encode_words(
        p, weir_kcp_head_word(segment->conv, segment->cmd, segment->frg, segment->wnd), segment->ts,
        segment->sn, weir_kcp_tail_word(segment->una, (uint32_t)segment->data.length));
}

#endif
