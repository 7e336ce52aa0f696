/* SPDX-License-Identifier: MIT */
/*
 * rudp_packet.c - RUDP's handshake packets, parameters and checksum.
 *
 * Spec: docs/wire-rudp.md, "Packets".
 */
#include <isa-l/crc.h>
#include <string.h>

#include "base/bytes.h"
#include "wire/rudp.h"

enum param_id {
    PARAM_WINDOW = 1,
    PARAM_MESSAGE_MAX = 2,
    PARAM_CHANNELS = 3,
    PARAM_DATAGRAM_MAX = 4,
    PARAM_IDLE = 5,
    PARAM_ACK_DELAY = 6,
    PARAM_RESET_TOKEN = 7,
    PARAM_GREASE = 0xe0 /* to 0xff: never assigned */
};

uint32_t weir_rudp_checksum(const uint8_t *data, size_t length)
{
    /* The library takes a pointer to bytes it does not write. */
    union {
        const uint8_t *borrowed;
        uint8_t *library;
    } bytes = {.borrowed = data};

    return ~crc32_iscsi(bytes.library, (int)length, 0xffffffffU);
}

size_t weir_rudp_seal_clear(uint8_t *packet, size_t length)
{
    weir_store32(packet + length, weir_rudp_checksum(packet, length));
    return length + WEIR_RUDP_TRAILER_BYTES;
}

bool weir_rudp_check_clear(const uint8_t *datagram, size_t length)
{
    size_t covered = length - WEIR_RUDP_TRAILER_BYTES;
    return weir_load32(datagram + covered) == weir_rudp_checksum(datagram, covered);
}

static uint8_t *put_head(uint8_t *p, enum weir_rudp_kind kind, uint64_t destination,
                         uint64_t grease)
{
    p[0] = (uint8_t)((unsigned)kind << 4 | (grease & WEIR_RUDP_GREASE_BITS));
    weir_store64(p + 1, destination);
    return p + WEIR_RUDP_HEADER_BYTES;
}

static uint8_t *put_version(uint8_t *p, uint32_t version)
{
    weir_store32(p, version);
    return p + 4;
}

static uint8_t *put_param(uint8_t *p, uint8_t id, uint8_t size, uint64_t value)
{
    uint8_t big[8];
    weir_store64(big, value);
    p[0] = id;
    p[1] = size;
    memcpy(p + 2, big + 8 - size, size);
    return p + 2 + size;
}

static uint8_t *put_params(uint8_t *p, const struct weir_rudp_params *params, uint64_t grease)
{
    uint8_t *length = p;
    p = put_param(p + 2, PARAM_WINDOW, 8, params->receive_window_bytes);
    p = put_param(p, PARAM_MESSAGE_MAX, 4, params->message_bytes_max);
    p = put_param(p, PARAM_CHANNELS, 2, params->channels_max);
    p = put_param(p, PARAM_DATAGRAM_MAX, 2, params->datagram_bytes_max);
    p = put_param(p, PARAM_IDLE, 4, params->idle_timeout_ms);
    p = put_param(p, PARAM_ACK_DELAY, 4, params->ack_delay_us);
    if (params->reset_token != 0) {
        p = put_param(p, PARAM_RESET_TOKEN, 8, params->reset_token);
    }
    p = put_param(p, (uint8_t)(PARAM_GREASE | (grease >> 8 & 0x1f)), (uint8_t)(grease >> 16 & 7),
                  grease >> 24);
    weir_store16(length, (uint16_t)(p - length - 2));
    return p;
}

static void take_param(struct weir_rudp_params *params, uint8_t id, uint64_t value)
{
    uint32_t value32 = (uint32_t)weir_min_u64(value, UINT32_MAX);
    uint16_t value16 = (uint16_t)weir_min_u64(value, UINT16_MAX);
    switch (id) {
    case PARAM_WINDOW:
        params->receive_window_bytes = value;
        break;
    case PARAM_MESSAGE_MAX:
        params->message_bytes_max = value32;
        break;
    case PARAM_CHANNELS:
        params->channels_max = value16;
        break;
    case PARAM_DATAGRAM_MAX:
        params->datagram_bytes_max = value16;
        break;
    case PARAM_IDLE:
        params->idle_timeout_ms = value32;
        break;
    case PARAM_ACK_DELAY:
        params->ack_delay_us = value32;
        break;
    case PARAM_RESET_TOKEN:
        params->reset_token = value;
        break;
    default: /* unknown or grease: skipped */
        break;
    }
}

/* Reads the block of parameters at p; what is missing stays 0. */
static bool get_params(const uint8_t *p, const uint8_t *end, struct weir_rudp_params *params)
{
    memset(params, 0, sizeof(*params));
    if (end - p < 2 || end - p - 2 < weir_load16(p)) {
        return false;
    }
    end = p + 2 + weir_load16(p);
    p += 2;
    while (p < end) {
        if (end - p < 2 || end - p - 2 < p[1]) {
            return false;
        }
        uint64_t value = 0;
        for (unsigned i = 0; i < p[1]; i++) {
            value = value << 8 | p[2 + i];
        }
        if (p[1] <= 8) {
            take_param(params, p[0], value);
        }
        p += 2 + p[1];
    }
    return params->message_bytes_max > 0 && params->channels_max > 0;
}

size_t weir_rudp_encode_init(uint8_t *p, const struct weir_rudp_init_packet *init, uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_INIT, 0, grease);
    p = put_version(p, init->version);
    weir_store64(p, init->source_id);
    p[8] = (uint8_t)init->cookie.length;
    p += 9;
    if (init->cookie.length > 0) {
        memcpy(p, init->cookie.data, init->cookie.length);
        p += init->cookie.length;
    }
    p = put_params(p, &init->params, grease);
    size_t length = WEIR_RUDP_INIT_BYTES - WEIR_RUDP_TRAILER_BYTES;
    memset(p, 0, length - (size_t)(p - start));
    return weir_rudp_seal_clear(start, length);
}

bool weir_rudp_peek_version(struct weir_span packet, uint32_t *version, uint64_t *source_id)
{
    if (packet.length < WEIR_RUDP_HEADER_BYTES + 12) {
        return false;
    }
    *version = weir_load32(packet.data + WEIR_RUDP_HEADER_BYTES);
    *source_id = weir_load64(packet.data + WEIR_RUDP_HEADER_BYTES + 4);
    return true;
}

bool weir_rudp_decode_init(struct weir_span packet, struct weir_rudp_init_packet *init)
{
    const uint8_t *end = packet.data + packet.length;
    if (!weir_rudp_peek_version(packet, &init->version, &init->source_id)) {
        return false;
    }
    const uint8_t *p = packet.data + WEIR_RUDP_HEADER_BYTES + 12;
    if (p == end || *p > WEIR_RUDP_COOKIE_BYTES_MAX || end - p - 1 < *p) {
        return false;
    }
    init->cookie = weir_span_of(p + 1, *p);
    return get_params(p + 1 + *p, end, &init->params);
}

size_t weir_rudp_encode_retry(uint8_t *p, uint64_t destination, struct weir_span cookie,
                              uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_RETRY, destination, grease);
    p = put_version(p, WEIR_RUDP_VERSION_1);
    *p = (uint8_t)cookie.length;
    memcpy(p + 1, cookie.data, cookie.length);
    p += 1 + cookie.length;
    return weir_rudp_seal_clear(start, (size_t)(p - start));
}

bool weir_rudp_decode_retry(struct weir_span packet, struct weir_span *cookie)
{
    enum {
        FIXED = WEIR_RUDP_HEADER_BYTES + 5
    };

    if (packet.length < FIXED || weir_load32(packet.data + 9) != WEIR_RUDP_VERSION_1) {
        return false;
    }
    size_t length = packet.data[FIXED - 1];
    if (length == 0 || length > WEIR_RUDP_COOKIE_BYTES_MAX || packet.length - FIXED < length) {
        return false;
    }
    *cookie = weir_span_of(packet.data + FIXED, length);
    return true;
}

size_t weir_rudp_encode_accept(uint8_t *p, uint64_t destination,
                               const struct weir_rudp_accept_packet *accept, uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_ACCEPT, destination, grease);
    p = put_version(p, accept->version);
    weir_store64(p, accept->source_id);
    p = put_params(p + 8, &accept->params, grease);
    return weir_rudp_seal_clear(start, (size_t)(p - start));
}

bool weir_rudp_decode_accept(struct weir_span packet, struct weir_rudp_accept_packet *accept)
{
    if (!weir_rudp_peek_version(packet, &accept->version, &accept->source_id) ||
        accept->version != WEIR_RUDP_VERSION_1) {
        return false;
    }
    return get_params(packet.data + WEIR_RUDP_HEADER_BYTES + 12, packet.data + packet.length,
                      &accept->params);
}

static uint8_t *put_reason(uint8_t *p, const struct weir_rudp_close_frame *why)
{
    weir_store32(p, why->code);
    p[4] = (uint8_t)why->text.length;
    if (why->text.length > 0) {
        memcpy(p + 5, why->text.data, why->text.length);
    }
    return p + 5 + why->text.length;
}

static const uint8_t *get_reason(const uint8_t *p, const uint8_t *end,
                                 struct weir_rudp_close_frame *why)
{
    if (end - p < 5 || p[4] > WEIR_RUDP_TEXT_BYTES_MAX || end - p - 5 < p[4]) {
        return NULL;
    }
    why->code = weir_load32(p);
    why->text = weir_span_of(p + 5, p[4]);
    return p + 5 + p[4];
}

size_t weir_rudp_encode_refuse(uint8_t *p, uint64_t destination,
                               const struct weir_rudp_close_frame *why, uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_REFUSE, destination, grease);
    p = put_version(p, WEIR_RUDP_VERSION_1);
    p = put_reason(p, why);
    return weir_rudp_seal_clear(start, (size_t)(p - start));
}

bool weir_rudp_decode_refuse(struct weir_span packet, struct weir_rudp_close_frame *why)
{
    const uint8_t *p = packet.data + WEIR_RUDP_HEADER_BYTES;
    if (packet.length < WEIR_RUDP_HEADER_BYTES + 4 || weir_load32(p) != WEIR_RUDP_VERSION_1) {
        return false;
    }
    return get_reason(p + 4, packet.data + packet.length, why) != NULL;
}

size_t weir_rudp_encode_version(uint8_t *p, uint64_t destination, uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_VERSION, destination, grease);
    *p++ = 2;
    p = put_version(p, WEIR_RUDP_VERSION_1);
    /* A version that will never exist, so that nobody comes to expect exactly one. */
    p = put_version(p, (uint32_t)(grease >> 32 & 0xf0f0f0f0U) | 0x0a0a0a0aU);
    return weir_rudp_seal_clear(start, (size_t)(p - start));
}

bool weir_rudp_decode_version(struct weir_span packet, bool *has_common)
{
    enum {
        FIXED = WEIR_RUDP_HEADER_BYTES + 1
    };

    if (packet.length < FIXED) {
        return false;
    }
    size_t count = packet.data[FIXED - 1];
    if (count == 0 || packet.length - FIXED < count * 4) {
        return false;
    }
    *has_common = false;
    for (size_t i = 0; i < count; i++) {
        *has_common |= weir_load32(packet.data + FIXED + 4 * i) == WEIR_RUDP_VERSION_1;
    }
    return true;
}

size_t weir_rudp_encode_reset(uint8_t *p, uint64_t destination, uint64_t token, uint64_t grease)
{
    uint8_t *start = p;
    p = put_head(p, WEIR_RUDP_KIND_RESET, destination, grease);
    weir_store64(p, token);
    return weir_rudp_seal_clear(start, (size_t)(p + 8 - start));
}

bool weir_rudp_decode_reset(struct weir_span packet, uint64_t *token)
{
    if (packet.length < WEIR_RUDP_HEADER_BYTES + 8) {
        return false;
    }
    *token = weir_load64(packet.data + WEIR_RUDP_HEADER_BYTES);
    return true;
}

uint8_t *weir_rudp_encode_close(uint8_t *p, const struct weir_rudp_close_frame *close)
{
    *p = WEIR_RUDP_FRAME_CLOSE;
    return put_reason(p + 1, close);
}

const uint8_t *weir_rudp_decode_close(const uint8_t *p, const uint8_t *end,
                                      struct weir_rudp_close_frame *close)
{
    return get_reason(p, end, close);
}
