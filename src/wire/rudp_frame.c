/* SPDX-License-Identifier: MIT */
/*
 * rudp_frame.c - RUDP's frames.
 *
 * Spec: docs/wire-rudp.md, "Frames".
 */
#include <string.h>

#include "base/bytes.h"
#include "wire/rudp.h"
#include "wire/varint.h"

static const uint8_t *get_ack(const uint8_t *p, const uint8_t *end, bool has_ce,
                              struct weir_rudp_ack_frame *ack)
{
    if (end - p < 4) {
        return NULL;
    }
    ack->largest = weir_load32(p);
    p = weir_varint_decode(p + 4, end, &ack->delay_us);
    if (p == NULL || p == end || *p == 0 || *p > WEIR_RUDP_RANGES_MAX) {
        return NULL;
    }
    ack->count = *p++;
    for (uint32_t i = 0; i < ack->count; i++) {
        ack->ranges[i].gap = 0;
        p = weir_varint_decode(p, end, &ack->ranges[i].length);
        if (p != NULL && i + 1 < ack->count) {
            p = weir_varint_decode(p, end, &ack->ranges[i].gap);
        }
        if (p == NULL) {
            return NULL;
        }
    }
    ack->ce_count = 0;
    return has_ce ? weir_varint_decode(p, end, &ack->ce_count) : p;
}

uint8_t *weir_rudp_encode_ack(uint8_t *p, size_t room, const struct weir_rudp_ack_frame *ack)
{
    const uint8_t *limit = p + room - 8; /* room for the CE count */
    *p = ack->ce_count > 0 ? WEIR_RUDP_FRAME_ACK_CE : WEIR_RUDP_FRAME_ACK;
    weir_store32(p + 1, ack->largest);
    p = weir_varint_encode(p + 5, ack->delay_us);
    uint8_t *count = p++;
    p = weir_varint_encode(p, ack->ranges[0].length);
    *count = 1;
    for (uint32_t i = 1; i < ack->count; i++) {
        size_t size =
            weir_varint_size(ack->ranges[i - 1].gap) + weir_varint_size(ack->ranges[i].length);
        if (p + size > limit) {
            break;
        }
        p = weir_varint_encode(p, ack->ranges[i - 1].gap);
        p = weir_varint_encode(p, ack->ranges[i].length);
        ++*count;
    }
    return ack->ce_count > 0 ? weir_varint_encode(p, ack->ce_count) : p;
}

static void remember_ids(struct weir_rudp_message_ids *ids,
                         const struct weir_rudp_message_frame *message)
{
    ids->is_known = true;
    ids->was_delivery = message->guarantee >= 2;
    ids->channel = message->channel;
    ids->mid = message->mid;
    ids->dseq = message->dseq;
}

/* Messages without a guarantee have no place among the others. */
static bool has_place(const struct weir_rudp_message_frame *message)
{
    return message->guarantee > 0;
}

/* Bytes of channel and numbers. Of a message without a guarantee only fragments need one, to find
 * each other. */
static size_t ids_bytes(const struct weir_rudp_message_frame *message)
{
    if (has_place(message)) {
        return 9;
    }
    return message->is_fragment ? 5 : 1;
}

bool weir_rudp_message_is_next(const struct weir_rudp_message_frame *message,
                               const struct weir_rudp_message_ids *ids)
{
    return ids->is_known && has_place(message) && message->channel == ids->channel &&
           message->mid == ids->mid + 1 && message->dseq == ids->dseq + ids->was_delivery;
}

static const uint8_t *get_ids(const uint8_t *p, const uint8_t *end,
                              struct weir_rudp_message_frame *message,
                              const struct weir_rudp_message_ids *ids)
{
    if (message->is_next) {
        if (!ids->is_known || !has_place(message)) {
            return NULL;
        }
        message->channel = ids->channel;
        message->mid = ids->mid + 1;
        message->dseq = ids->dseq + ids->was_delivery;
        return p;
    }
    size_t size = ids_bytes(message);
    if ((size_t)(end - p) < size) {
        return NULL;
    }
    message->channel = p[0];
    message->mid = size > 1 ? weir_load32(p + 1) : 0;
    message->dseq = size > 5 ? weir_load32(p + 5) : 0;
    return p + size;
}

static const uint8_t *get_pair(const uint8_t *p, const uint8_t *end, uint64_t *first,
                               uint64_t *second)
{
    p = weir_varint_decode(p, end, first);
    return p == NULL ? NULL : weir_varint_decode(p, end, second);
}

static const uint8_t *get_data(const uint8_t *p, const uint8_t *end,
                               struct weir_rudp_message_frame *message)
{
    if (message->guarantee == WEIR_RUDP_GUARANTEE_SKIP) {
        return message->is_fragment ? NULL : weir_varint_decode(p, end, &message->cost);
    }
    if (message->is_fragment) {
        p = get_pair(p, end, &message->offset, &message->total);
        if (p == NULL) {
            return NULL;
        }
    }
    uint64_t length;
    p = weir_varint_decode(p, end, &length);
    if (p == NULL || length > (uint64_t)(end - p)) {
        return NULL;
    }
    message->data = weir_span_of(p, length);
    if (!message->is_fragment) {
        message->total = length;
    } else if (length == 0 || message->total < length ||
               message->offset > message->total - length) {
        return NULL;
    }
    return p + length;
}

static const uint8_t *get_message(const uint8_t *p, const uint8_t *end, uint8_t type,
                                  struct weir_rudp_message_frame *message,
                                  struct weir_rudp_message_ids *ids)
{
    if ((type & WEIR_RUDP_MESSAGE_RESERVED) != 0) {
        return NULL;
    }
    memset(message, 0, sizeof(*message));
    message->guarantee = type >> WEIR_RUDP_MESSAGE_GUARANTEE_SHIFT & 3;
    message->is_fragment = (type & WEIR_RUDP_MESSAGE_FRAGMENT) != 0;
    message->is_next = (type & WEIR_RUDP_MESSAGE_NEXT) != 0;
    p = get_ids(p, end, message, ids);
    if (p != NULL && (type & WEIR_RUDP_MESSAGE_SET) != 0) {
        p = get_pair(p, end, &message->set_back, &message->set_dback);
        if (!has_place(message) || message->set_back > UINT32_MAX / 2 ||
            message->set_dback > message->set_back) {
            return NULL;
        }
    }
    p = p == NULL ? NULL : get_data(p, end, message);
    if (p != NULL && has_place(message)) {
        remember_ids(ids, message);
    }
    return p;
}

const uint8_t *weir_rudp_decode_frame(const uint8_t *p, const uint8_t *end,
                                      struct weir_rudp_frame *frame,
                                      struct weir_rudp_ack_frame *ack,
                                      struct weir_rudp_message_ids *ids)
{
    uint8_t type = *p++;
    frame->type = type;
    if (type >= WEIR_RUDP_FRAME_EXTENSION) {
        uint64_t length;
        frame->type = WEIR_RUDP_FRAME_EXTENSION;
        p = weir_varint_decode(p, end, &length);
        return p == NULL || length > (uint64_t)(end - p) ? NULL : p + length;
    }
    if (type >= WEIR_RUDP_FRAME_MESSAGE) {
        frame->type = WEIR_RUDP_FRAME_MESSAGE;
        return get_message(p, end, type, &frame->message, ids);
    }
    switch (type) {
    case WEIR_RUDP_FRAME_PADDING:
        return end;
    case WEIR_RUDP_FRAME_PING:
        return p;
    case WEIR_RUDP_FRAME_ACK:
    case WEIR_RUDP_FRAME_ACK_CE:
        frame->type = WEIR_RUDP_FRAME_ACK;
        frame->ack = ack;
        return get_ack(p, end, type == WEIR_RUDP_FRAME_ACK_CE, ack);
    case WEIR_RUDP_FRAME_CREDIT:
        return weir_varint_decode(p, end, &frame->credit);
    case WEIR_RUDP_FRAME_CHALLENGE:
    case WEIR_RUDP_FRAME_RESPONSE:
        if (end - p < 8) {
            return NULL;
        }
        frame->path_data = weir_load64(p);
        return p + 8;
    case WEIR_RUDP_FRAME_CLOSE:
        return weir_rudp_decode_close(p, end, &frame->close);
    default:
        return NULL;
    }
}

size_t weir_rudp_message_overhead(const struct weir_rudp_message_frame *message)
{
    size_t size = 1;
    if (!message->is_next) {
        size += ids_bytes(message);
    }
    if (message->set_back > 0) {
        size += weir_varint_size(message->set_back) + weir_varint_size(message->set_dback);
    }
    if (message->guarantee == WEIR_RUDP_GUARANTEE_SKIP) {
        return size + weir_varint_size(message->cost);
    }
    if (message->is_fragment) {
        size += weir_varint_size(message->offset) + weir_varint_size(message->total);
    }
    return size + weir_varint_size(message->data.length);
}

uint8_t *weir_rudp_encode_message(uint8_t *p, const struct weir_rudp_message_frame *message,
                                  struct weir_rudp_message_ids *ids)
{
    bool is_set = message->set_back > 0;
    *p++ = (uint8_t)(WEIR_RUDP_FRAME_MESSAGE |
                     message->guarantee << WEIR_RUDP_MESSAGE_GUARANTEE_SHIFT |
                     (message->is_fragment ? WEIR_RUDP_MESSAGE_FRAGMENT : 0) |
                     (is_set ? WEIR_RUDP_MESSAGE_SET : 0) |
                     (message->is_next ? WEIR_RUDP_MESSAGE_NEXT : 0));
    if (!message->is_next) {
        size_t size = ids_bytes(message);
        p[0] = message->channel;
        if (size > 1) {
            weir_store32(p + 1, message->mid);
        }
        if (size > 5) {
            weir_store32(p + 5, message->dseq);
        }
        p += size;
    }
    if (has_place(message)) {
        remember_ids(ids, message);
    }
    if (is_set) {
        p = weir_varint_encode(p, message->set_back);
        p = weir_varint_encode(p, message->set_dback);
    }
    if (message->guarantee == WEIR_RUDP_GUARANTEE_SKIP) {
        return weir_varint_encode(p, message->cost);
    }
    if (message->is_fragment) {
        p = weir_varint_encode(p, message->offset);
        p = weir_varint_encode(p, message->total);
    }
    p = weir_varint_encode(p, message->data.length);
    if (message->data.length > 0) {
        memcpy(p, message->data.data, message->data.length);
    }
    return p + message->data.length;
}

uint8_t *weir_rudp_encode_credit(uint8_t *p, uint64_t limit)
{
    *p = WEIR_RUDP_FRAME_CREDIT;
    return weir_varint_encode(p + 1, limit);
}

uint8_t *weir_rudp_encode_path(uint8_t *p, uint8_t type, uint64_t data)
{
    *p = type;
    weir_store64(p + 1, data);
    return p + 9;
}

uint8_t *weir_rudp_encode_grease(uint8_t *p, uint64_t grease)
{
    size_t length = grease & 7;
    uint8_t bytes[8];
    weir_store64(bytes, grease);
    p[0] = (uint8_t)(WEIR_RUDP_FRAME_EXTENSION | (grease >> 3 & 0x7f));
    p[1] = (uint8_t)length;
    memcpy(p + 2, bytes, length);
    return p + 2 + length;
}
