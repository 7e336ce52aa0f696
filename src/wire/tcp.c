/* SPDX-License-Identifier: MIT */
/*
 * tcp.c - see tcp.h.
 */
#include "wire/tcp.h"

#include "base/bytes.h"
#include "wire/checksum.h"

enum {
    KIND_END = 0,
    KIND_NOP = 1,
    KIND_MSS = 2,
    KIND_SCALE = 3,
    KIND_SACK_PERMITTED = 4,
    KIND_SACK = 5,
    KIND_TIMESTAMPS = 8,
    KIND_USER_TIMEOUT = 28,
    KIND_COOKIE = 34,

    LENGTH_MSS = 4,
    LENGTH_SCALE = 3,
    LENGTH_SACK_PERMITTED = 2,
    LENGTH_TIMESTAMPS = 10,
    LENGTH_USER_TIMEOUT = 4,
    LENGTH_COOKIE_HEAD = 2,
    SACK_BYTES = 8,
    COOKIE_MIN = 4,

    OFFSET_SHIFT = 4 /* header length in words, in the upper half of its byte */
};

/* NOP, NOP, timestamps, 10: the form that nearly every segment with timestamps has (RFC 7323 A). */
#define TIMESTAMPS_WORD 0x0101080aU

/* --- decode ----------------------------------------------------------------------------------- */

static void decode_sacks(const uint8_t *at, size_t length, struct weir_tcp_segment *segment)
{
    segment->sack_count = 0;
    for (size_t off = 2; off + SACK_BYTES <= length; off += SACK_BYTES) {
        if (segment->sack_count == WEIR_TCP_SACKS_MAX) {
            return;
        }
        segment->sacks[segment->sack_count++] = (struct weir_tcp_sack){
            .first = weir_load32(at + off), .end = weir_load32(at + off + 4)};
    }
}

static void decode_cookie(const uint8_t *at, size_t length, struct weir_tcp_segment *segment)
{
    size_t bytes = length - LENGTH_COOKIE_HEAD;
    /* RFC 7413 4.1.1: 4 to 16 bytes, an even number, or none. */
    if (bytes % 2 != 0 || bytes > WEIR_TCP_COOKIE_MAX || (bytes > 0 && bytes < COOKIE_MIN)) {
        return;
    }
    segment->options |= WEIR_TCP_HAS_COOKIE;
    segment->cookie = weir_span_of(at + LENGTH_COOKIE_HEAD, bytes);
}

/* One option of at least 2 bytes, all there. One of the wrong length counts as unknown. */
static void decode_option(const uint8_t *at, size_t length, struct weir_tcp_segment *segment)
{
    switch (at[0]) {
    case KIND_MSS:
        if (length == LENGTH_MSS) {
            segment->options |= WEIR_TCP_HAS_MSS;
            segment->mss = weir_load16(at + 2);
        }
        break;
    case KIND_SCALE:
        if (length == LENGTH_SCALE) {
            segment->options |= WEIR_TCP_HAS_SCALE;
            /* RFC 7323 2.3: more than 14 counts as 14 (MUST). */
            segment->scale = at[2] < WEIR_TCP_SCALE_MAX ? at[2] : WEIR_TCP_SCALE_MAX;
        }
        break;
    case KIND_SACK_PERMITTED:
        if (length == LENGTH_SACK_PERMITTED) {
            segment->options |= WEIR_TCP_HAS_SACK_PERMITTED;
        }
        break;
    case KIND_SACK:
        decode_sacks(at, length, segment);
        break;
    case KIND_TIMESTAMPS:
        if (length == LENGTH_TIMESTAMPS) {
            segment->options |= WEIR_TCP_HAS_TIMESTAMPS;
            segment->ts_value = weir_load32(at + 2);
            segment->ts_echo = weir_load32(at + 6);
        }
        break;
    case KIND_USER_TIMEOUT:
        if (length == LENGTH_USER_TIMEOUT) {
            segment->options |= WEIR_TCP_HAS_USER_TIMEOUT;
            segment->user_timeout = weir_load16(at + 2);
        }
        break;
    case KIND_COOKIE:
        decode_cookie(at, length, segment);
        break;
    default:
        break; /* RFC 9293 3.1, MUST-6: unknown ones are passed over */
    }
}

static void decode_options(const uint8_t *at, const uint8_t *end, struct weir_tcp_segment *segment)
{
    while (at < end && *at != KIND_END) {
        if (*at == KIND_NOP) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at) {
            return;
        }
        decode_option(at, at[1], segment);
        at += at[1];
    }
}

bool weir_tcp_decode(struct weir_span bytes, struct weir_tcp_segment *segment)
{
    const uint8_t *at = bytes.data;
    if (bytes.length < WEIR_TCP_HEADER_BYTES) {
        return false;
    }
    size_t header = (size_t)(at[12] >> OFFSET_SHIFT) * 4;
    if (header < WEIR_TCP_HEADER_BYTES || header > bytes.length) {
        return false;
    }
    segment->source = weir_load16(at);
    segment->target = weir_load16(at + 2);
    segment->seq = weir_load32(at + 4);
    segment->ack = weir_load32(at + 8);
    segment->flags = at[13];
    segment->window = weir_load16(at + 14);
    segment->urgent = weir_load16(at + 18);
    segment->options = 0;
    segment->sack_count = 0;
    segment->data = weir_span_of(at + header, bytes.length - header);
    if (header == WEIR_TCP_HEADER_BYTES) {
        return true;
    }
    const uint8_t *options = at + WEIR_TCP_HEADER_BYTES;
    if (header == WEIR_TCP_HEADER_BYTES + WEIR_TCP_TIMESTAMPS_BYTES &&
        weir_load32(options) == TIMESTAMPS_WORD) {
        segment->options = WEIR_TCP_HAS_TIMESTAMPS;
        segment->ts_value = weir_load32(options + 4);
        segment->ts_echo = weir_load32(options + 8);
        return true;
    }
    decode_options(options, at + header, segment);
    return true;
}

/* --- encode ----------------------------------------------------------------------------------- */

static bool has(const struct weir_tcp_segment *segment, enum weir_tcp_option option)
{
    return (segment->options & option) != 0;
}

static uint32_t fixed_bytes(const struct weir_tcp_segment *segment)
{
    uint32_t bytes = WEIR_TCP_HEADER_BYTES;
    bytes += has(segment, WEIR_TCP_HAS_MSS) ? LENGTH_MSS : 0;
    bytes += has(segment, WEIR_TCP_HAS_TIMESTAMPS) ? WEIR_TCP_TIMESTAMPS_BYTES : 0;
    /* It takes the place of the NOPs in front of the timestamps. */
    bytes +=
        has(segment, WEIR_TCP_HAS_SACK_PERMITTED) && !has(segment, WEIR_TCP_HAS_TIMESTAMPS) ? 4 : 0;
    bytes += has(segment, WEIR_TCP_HAS_SCALE) ? 4 : 0;
    bytes += has(segment, WEIR_TCP_HAS_USER_TIMEOUT) ? LENGTH_USER_TIMEOUT : 0;
    if (has(segment, WEIR_TCP_HAS_COOKIE)) {
        bytes += ((uint32_t)segment->cookie.length + LENGTH_COOKIE_HEAD + 3) & ~3U;
    }
    return bytes;
}

static uint32_t count_sacks(const struct weir_tcp_segment *segment, uint32_t fixed)
{
    uint32_t count = segment->sack_count;
    if (count == 0 || fixed + 4 >= WEIR_TCP_HEADER_MAX) {
        return 0;
    }
    uint32_t room = (WEIR_TCP_HEADER_MAX - 4 - fixed) / SACK_BYTES;
    return count < room ? count : room;
}

uint32_t weir_tcp_header_bytes(const struct weir_tcp_segment *segment)
{
    uint32_t fixed = fixed_bytes(segment);
    uint32_t sacks = count_sacks(segment, fixed);
    return fixed + (sacks > 0 ? 4 + sacks * SACK_BYTES : 0);
}

static uint8_t *encode_timestamps(uint8_t *at, const struct weir_tcp_segment *segment)
{
    weir_store32(at, TIMESTAMPS_WORD);
    if (has(segment, WEIR_TCP_HAS_SACK_PERMITTED)) {
        at[0] = KIND_SACK_PERMITTED;
        at[1] = LENGTH_SACK_PERMITTED;
    }
    weir_store32(at + 4, segment->ts_value);
    weir_store32(at + 8, segment->ts_echo);
    return at + WEIR_TCP_TIMESTAMPS_BYTES;
}

static uint8_t *encode_sacks(uint8_t *at, const struct weir_tcp_segment *segment, uint32_t count)
{
    at[0] = at[1] = KIND_NOP;
    at[2] = KIND_SACK;
    at[3] = (uint8_t)(2 + count * SACK_BYTES);
    at += 4;
    for (uint32_t i = 0; i < count; i++, at += SACK_BYTES) {
        weir_store32(at, segment->sacks[i].first);
        weir_store32(at + 4, segment->sacks[i].end);
    }
    return at;
}

static uint8_t *encode_cookie(uint8_t *at, struct weir_span cookie)
{
    size_t length = cookie.length + LENGTH_COOKIE_HEAD;
    at[0] = KIND_COOKIE;
    at[1] = (uint8_t)length;
    if (cookie.length > 0) {
        memcpy(at + LENGTH_COOKIE_HEAD, cookie.data, cookie.length);
    }
    for (; length % 4 != 0; length++) {
        at[length] = KIND_NOP;
    }
    return at + length;
}

static uint8_t *encode_options(uint8_t *at, const struct weir_tcp_segment *segment, uint32_t sacks)
{
    if (has(segment, WEIR_TCP_HAS_MSS)) {
        at[0] = KIND_MSS;
        at[1] = LENGTH_MSS;
        weir_store16(at + 2, segment->mss);
        at += LENGTH_MSS;
    }
    if (has(segment, WEIR_TCP_HAS_TIMESTAMPS)) {
        at = encode_timestamps(at, segment);
    } else if (has(segment, WEIR_TCP_HAS_SACK_PERMITTED)) {
        at[0] = at[1] = KIND_NOP;
        at[2] = KIND_SACK_PERMITTED;
        at[3] = LENGTH_SACK_PERMITTED;
        at += 4;
    }
    if (has(segment, WEIR_TCP_HAS_SCALE)) {
        at[0] = KIND_NOP;
        at[1] = KIND_SCALE;
        at[2] = LENGTH_SCALE;
        at[3] = segment->scale;
        at += 4;
    }
    if (has(segment, WEIR_TCP_HAS_USER_TIMEOUT)) {
        at[0] = KIND_USER_TIMEOUT;
        at[1] = LENGTH_USER_TIMEOUT;
        weir_store16(at + 2, segment->user_timeout);
        at += LENGTH_USER_TIMEOUT;
    }
    if (sacks > 0) {
        at = encode_sacks(at, segment, sacks);
    }
    if (has(segment, WEIR_TCP_HAS_COOKIE)) {
        at = encode_cookie(at, segment->cookie);
    }
    return at;
}

uint32_t weir_tcp_encode(uint8_t *at, const struct weir_tcp_segment *segment)
{
    uint32_t header = WEIR_TCP_HEADER_BYTES;
    weir_store16(at, segment->source);
    weir_store16(at + 2, segment->target);
    weir_store32(at + 4, segment->seq);
    weir_store32(at + 8, segment->ack);
    weir_store16(at + 14, segment->window);
    weir_store16(at + 16, 0);
    weir_store16(at + 18, segment->urgent);
    if ((segment->options | segment->sack_count) != 0) {
        uint32_t sacks = count_sacks(segment, fixed_bytes(segment));
        const uint8_t *end = encode_options(at + WEIR_TCP_HEADER_BYTES, segment, sacks);
        header = (uint32_t)(end - at);
    }
    at[12] = (uint8_t)(header / 4 << OFFSET_SHIFT);
    at[13] = segment->flags;
    return header;
}

/* --- checksum --------------------------------------------------------------------------------- */

void weir_tcp_seal(uint8_t *at, uint32_t length, const struct weir_path *path)
{
    uint64_t sum = weir_checksum_pseudo(path, WEIR_TCP_PROTOCOL, length);
    uint16_t checksum = weir_checksum_fold(weir_checksum_add(sum, at, length));
    memcpy(at + WEIR_TCP_CHECKSUM_OFF, &checksum, sizeof(checksum));
}

bool weir_tcp_is_checksum_right(struct weir_span bytes, const struct weir_path *path)
{
    uint64_t sum = weir_checksum_pseudo(path, WEIR_TCP_PROTOCOL, (uint32_t)bytes.length);
    return weir_checksum_fold(weir_checksum_add(sum, bytes.data, bytes.length)) == 0;
}
