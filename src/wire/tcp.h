/* SPDX-License-Identifier: MIT */
/*
 * tcp.h - a TCP segment: header, options, data; taken apart and put together.
 *
 * Spec: RFC 9293 3.1 (header), 3.2 (options); RFC 7323 2.2, 3.2; RFC 2018 2, 3; RFC 5482 3;
 * RFC 7413 4.1.1.
 *
 *      0                   1                   2                   3
 *     |          source port          |        destination port       |
 *     |                        sequence number                        |
 *     |                     acknowledgment number                     |
 *     |  off. | 0   |      flags      |            window             |
 *     |           checksum            |         urgent pointer        |
 *     |          options: kind, length, value; up to 40 bytes         |
 */
#ifndef WEIR_WIRE_TCP_H
#define WEIR_WIRE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/span.h"

enum {
    WEIR_TCP_HEADER_BYTES = 20,
    WEIR_TCP_HEADER_MAX = 60,
    WEIR_TCP_SACKS_MAX = 4,
    WEIR_TCP_SCALE_MAX = 14,        /* RFC 7323 2.3 */
    WEIR_TCP_TIMESTAMPS_BYTES = 12, /* with the two NOPs in front */
    WEIR_TCP_COOKIE_MAX = 16,       /* RFC 7413 4.1.1 */
    WEIR_TCP_CHECKSUM_OFF = 16,
    WEIR_TCP_PROTOCOL = 6
};

enum weir_tcp_flag {
    WEIR_TCP_FIN = 1,
    WEIR_TCP_SYN = 2,
    WEIR_TCP_RST = 4,
    WEIR_TCP_PSH = 8,
    WEIR_TCP_ACK = 16,
    WEIR_TCP_URG = 32,
    WEIR_TCP_ECE = 64,
    WEIR_TCP_CWR = 128
};

/* Which options there are: bits of weir_tcp_segment.options. */
enum weir_tcp_option {
    WEIR_TCP_HAS_MSS = 1,
    WEIR_TCP_HAS_SCALE = 2,
    WEIR_TCP_HAS_SACK_PERMITTED = 4,
    WEIR_TCP_HAS_TIMESTAMPS = 8,
    WEIR_TCP_HAS_USER_TIMEOUT = 16,
    WEIR_TCP_HAS_COOKIE = 32 /* fast open; a request when the cookie is empty */
};

struct weir_tcp_sack {
    uint32_t first, end; /* end: the number after the last */
};

struct weir_tcp_segment {
    uint16_t source, target; /* ports */
    uint32_t seq, ack;
    uint16_t window, urgent;
    uint8_t flags, options;
    uint8_t scale, sack_count;
    uint16_t mss, user_timeout; /* user_timeout: as in the option, with its unit bit */
    uint32_t ts_value, ts_echo;
    struct weir_tcp_sack sacks[WEIR_TCP_SACKS_MAX];
    struct weir_span cookie;
    struct weir_span data;
};

/* -1, 0 or 1 and more: where a lies seen from b, modulo 2^32 (RFC 9293 3.4). */
static inline int32_t weir_tcp_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* Numbers that a segment takes up: its bytes, SYN and FIN. */
static inline uint32_t weir_tcp_length(const struct weir_tcp_segment *segment)
{
    return (uint32_t)segment->data.length + ((segment->flags & WEIR_TCP_SYN) != 0) +
           ((segment->flags & WEIR_TCP_FIN) != 0);
}

/* Takes a segment apart; its spans point into bytes. false: shorter than its header, or a header
 * length below 20. Options that make no sense, and those behind them, are passed over (RFC 9293
 * 3.1, MUST-7). */
bool weir_tcp_decode(struct weir_span bytes, struct weir_tcp_segment *segment);
/* Bytes of its header with options, a multiple of 4, at most 60: SACK blocks that find no room are
 * left out. */
uint32_t weir_tcp_header_bytes(const struct weir_tcp_segment *segment);
/* Writes header and options, checksum 0; returns how many bytes. In the order that Linux has. */
uint32_t weir_tcp_encode(uint8_t *at, const struct weir_tcp_segment *segment);
/* Writes the checksum of the whole segment at at. */
void weir_tcp_seal(uint8_t *at, uint32_t length, const struct weir_path *path);
bool weir_tcp_is_checksum_right(struct weir_span bytes, const struct weir_path *path);

#endif
