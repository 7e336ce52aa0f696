/* SPDX-License-Identifier: MIT */
/*
 * fuzz_rudp_wire.c - any bytes through every decoder of RUDP: what decodes must encode, where there
 * is an encoder, and decode again to the same values.
 *
 * The input is taken twice: as a handshake packet without its trailer, and as the frames of one
 * packet one behind the other.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/rudp.h"
#include "wire/varint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    ACK_ROOM_MIN = 32, /* what the encoder asks for at least */
    ACK_BYTES_MAX = 1 + 4 + 8 + 1 + 16 * WEIR_RUDP_RANGES_MAX + 8,
    MESSAGE_HEADER_MAX = 64
};

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

static struct weir_span opened(const uint8_t *datagram, size_t length)
{
    must(length >= WEIR_RUDP_HEADER_BYTES + WEIR_RUDP_TRAILER_BYTES);
    must(length <= WEIR_RUDP_INIT_BYTES && weir_rudp_check_clear(datagram, length));
    return weir_span_of(datagram, length - WEIR_RUDP_TRAILER_BYTES);
}

static void check_span(struct weir_span a, struct weir_span b)
{
    must(a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0));
}

static void check_params(const struct weir_rudp_params *a, const struct weir_rudp_params *b)
{
    must(a->receive_window_bytes == b->receive_window_bytes &&
         a->message_bytes_max == b->message_bytes_max && a->channels_max == b->channels_max &&
         a->datagram_bytes_max == b->datagram_bytes_max &&
         a->idle_timeout_ms == b->idle_timeout_ms && a->ack_delay_us == b->ack_delay_us &&
         a->reset_token == b->reset_token);
}

/* --- handshake packets ------------------------------------------------------------------------ */

static void fuzz_init(struct weir_span packet, uint64_t grease)
{
    uint8_t again[WEIR_RUDP_INIT_BYTES];
    struct weir_rudp_init_packet a;
    struct weir_rudp_init_packet b;
    if (!weir_rudp_decode_init(packet, &a)) {
        return;
    }
    must(weir_rudp_decode_init(opened(again, weir_rudp_encode_init(again, &a, grease)), &b));
    must(a.version == b.version && a.source_id == b.source_id);
    check_span(a.cookie, b.cookie);
    check_params(&a.params, &b.params);
}

static void fuzz_accept(struct weir_span packet, uint64_t grease)
{
    uint8_t again[WEIR_RUDP_INIT_BYTES];
    struct weir_rudp_accept_packet a;
    struct weir_rudp_accept_packet b;
    if (!weir_rudp_decode_accept(packet, &a)) {
        return;
    }
    must(weir_rudp_decode_accept(opened(again, weir_rudp_encode_accept(again, 7, &a, grease)), &b));
    must(a.version == b.version && a.source_id == b.source_id);
    check_params(&a.params, &b.params);
}

static void fuzz_replies(struct weir_span packet, uint64_t grease)
{
    uint8_t again[WEIR_RUDP_INIT_BYTES];
    struct weir_span cookie;
    struct weir_span cookie2;
    struct weir_rudp_close_frame why;
    struct weir_rudp_close_frame why2;
    uint64_t token;
    uint64_t token2;
    bool has_common;
    if (weir_rudp_decode_retry(packet, &cookie)) {
        must(weir_rudp_decode_retry(opened(again, weir_rudp_encode_retry(again, 7, cookie, grease)),
                                    &cookie2));
        check_span(cookie, cookie2);
    }
    if (weir_rudp_decode_refuse(packet, &why)) {
        must(weir_rudp_decode_refuse(opened(again, weir_rudp_encode_refuse(again, 7, &why, grease)),
                                     &why2));
        must(why.code == why2.code);
        check_span(why.text, why2.text);
    }
    if (weir_rudp_decode_reset(packet, &token)) {
        must(weir_rudp_decode_reset(opened(again, weir_rudp_encode_reset(again, 7, token, grease)),
                                    &token2));
        must(token == token2);
    }
    (void)weir_rudp_decode_version(packet, &has_common);
    must(weir_rudp_decode_version(opened(again, weir_rudp_encode_version(again, 7, grease)),
                                  &has_common));
    must(has_common);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void check_message(const struct weir_rudp_message_frame *a,
                          const struct weir_rudp_message_frame *b)
{
    must(a->guarantee == b->guarantee && a->channel == b->channel &&
         a->is_fragment == b->is_fragment && a->is_next == b->is_next && a->mid == b->mid &&
         a->dseq == b->dseq && a->set_back == b->set_back && a->set_dback == b->set_dback &&
         a->offset == b->offset && a->total == b->total && a->cost == b->cost);
    check_span(a->data, b->data);
}

static void again_message(const struct weir_rudp_message_frame *a,
                          const struct weir_rudp_message_ids *before,
                          const struct weir_rudp_message_ids *after)
{
    struct weir_rudp_message_ids ids = *before;
    struct weir_rudp_frame frame;
    struct weir_rudp_ack_frame ack;
    uint8_t *again = malloc(MESSAGE_HEADER_MAX + a->data.length);
    must(again != NULL);
    must(!a->is_next || weir_rudp_message_is_next(a, before));
    const uint8_t *end = weir_rudp_encode_message(again, a, &ids);
    must((size_t)(end - again) == weir_rudp_message_overhead(a) + a->data.length);
    must(memcmp(&ids.mid, &after->mid, sizeof(ids.mid)) == 0 && ids.dseq == after->dseq &&
         ids.channel == after->channel && ids.is_known == after->is_known &&
         ids.was_delivery == after->was_delivery);
    ids = *before;
    must(weir_rudp_decode_frame(again, end, &frame, &ack, &ids) == end);
    must(frame.type == WEIR_RUDP_FRAME_MESSAGE);
    check_message(a, &frame.message);
    free(again);
}

static void again_ack(const struct weir_rudp_ack_frame *a)
{
    uint8_t again[ACK_BYTES_MAX];
    struct weir_rudp_ack_frame b;
    struct weir_rudp_frame frame;
    struct weir_rudp_message_ids ids = {0};
    const uint8_t *end = weir_rudp_encode_ack(again, sizeof(again), a);
    must(end <= again + sizeof(again));
    must(weir_rudp_decode_frame(again, end, &frame, &b, &ids) == end);
    must(frame.type == WEIR_RUDP_FRAME_ACK && frame.ack == &b);
    must(a->largest == b.largest && a->delay_us == b.delay_us && a->ce_count == b.ce_count &&
         a->count == b.count);
    for (uint32_t i = 0; i < a->count; i++) {
        must(a->ranges[i].length == b.ranges[i].length && a->ranges[i].gap == b.ranges[i].gap);
    }
    /* With little room the lowest ranges are left out, and nothing else. */
    end = weir_rudp_encode_ack(again, ACK_ROOM_MIN, a);
    must(end <= again + ACK_ROOM_MIN);
    must(weir_rudp_decode_frame(again, end, &frame, &b, &ids) == end);
    must(a->largest == b.largest && b.count >= 1 && b.count <= a->count);
    must(a->ce_count == b.ce_count && a->ranges[0].length == b.ranges[0].length);
}

static void again_control(const struct weir_rudp_frame *a)
{
    uint8_t again[8 + WEIR_RUDP_TEXT_BYTES_MAX];
    struct weir_rudp_frame b;
    struct weir_rudp_ack_frame ack;
    struct weir_rudp_message_ids ids = {0};
    const uint8_t *end;
    if (a->type == WEIR_RUDP_FRAME_CREDIT) {
        end = weir_rudp_encode_credit(again, a->credit);
    } else if (a->type == WEIR_RUDP_FRAME_CLOSE) {
        end = weir_rudp_encode_close(again, &a->close);
    } else if (a->type == WEIR_RUDP_FRAME_CHALLENGE || a->type == WEIR_RUDP_FRAME_RESPONSE) {
        end = weir_rudp_encode_path(again, a->type, a->path_data);
    } else {
        return;
    }
    must(weir_rudp_decode_frame(again, end, &b, &ack, &ids) == end && a->type == b.type);
    if (a->type == WEIR_RUDP_FRAME_CREDIT) {
        must(a->credit == b.credit);
    } else if (a->type == WEIR_RUDP_FRAME_CLOSE) {
        must(a->close.code == b.close.code);
        check_span(a->close.text, b.close.text);
    } else {
        must(a->path_data == b.path_data);
    }
}

static void fuzz_frames(const uint8_t *p, const uint8_t *end)
{
    struct weir_rudp_message_ids ids = {0};
    while (p != NULL && p < end) {
        struct weir_rudp_frame frame;
        struct weir_rudp_ack_frame ack;
        struct weir_rudp_message_ids before = ids;
        const uint8_t *next = weir_rudp_decode_frame(p, end, &frame, &ack, &ids);
        must(next == NULL || (next > p && next <= end));
        if (next == NULL) {
            return;
        }
        if (frame.type == WEIR_RUDP_FRAME_MESSAGE) {
            again_message(&frame.message, &before, &ids);
        } else if (frame.type == WEIR_RUDP_FRAME_ACK) {
            again_ack(&ack);
        } else {
            again_control(&frame);
        }
        p = next;
    }
}

/* --- the rest --------------------------------------------------------------------------------- */

static void fuzz_grease(uint64_t grease)
{
    uint8_t bytes[16];
    struct weir_rudp_frame frame;
    struct weir_rudp_ack_frame ack;
    struct weir_rudp_message_ids ids = {0};
    const uint8_t *end = weir_rudp_encode_grease(bytes, grease);
    must(end - bytes >= 2 && end - bytes <= 9);
    must(weir_rudp_decode_frame(bytes, end, &frame, &ack, &ids) == end);
    must(frame.type == WEIR_RUDP_FRAME_EXTENSION);
}

static void fuzz_varint(const uint8_t *data, size_t size)
{
    uint8_t bytes[8];
    uint64_t value;
    uint64_t value2;
    const uint8_t *next = weir_varint_decode(data, data + size, &value);
    if (next == NULL) {
        return;
    }
    must(next <= data + size && value <= weir_varint_max);
    const uint8_t *end = weir_varint_encode(bytes, value);
    must((size_t)(end - bytes) == weir_varint_size(value) && end - bytes <= next - data);
    must(weir_varint_decode(bytes, end, &value2) == end && value == value2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_span packet = weir_span_of(data, size);
    uint64_t grease = size;
    for (size_t i = 0; i < size; i++) {
        grease = grease * 0x9e3779b97f4a7c15U + data[i];
    }
    fuzz_init(packet, grease);
    fuzz_accept(packet, grease);
    fuzz_replies(packet, grease);
    fuzz_frames(data, data + size);
    fuzz_grease(grease);
    fuzz_varint(data, size);
    if (size >= WEIR_RUDP_TRAILER_BYTES) {
        (void)weir_rudp_check_clear(data, size);
    }
    return 0;
}
