/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_wire.c - the bytes of RUDP, written out by hand, both ways; and what must be refused.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "wire/rudp.h"
#include "wire/varint.h"

enum {
    BYTES_MAX = 2048
};

struct golden {
    uint8_t bytes[BYTES_MAX];
    size_t length;
};

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* "01 ff" to bytes; blanks mean nothing. */
static struct golden hex(const char *text)
{
    struct golden golden = {.length = 0};
    for (; *text != 0; text++) {
        if (*text != ' ') {
            golden.bytes[golden.length++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
            text++;
        }
    }
    return golden;
}

static struct weir_span span_of(const struct golden *golden)
{
    return weir_span_of(golden->bytes, golden->length);
}

/* The datagram is golden and its checksum; golden may go on as zeros to length. */
static void assert_sealed(const uint8_t *datagram, size_t length, const struct golden *golden)
{
    size_t covered = length - WEIR_RUDP_TRAILER_BYTES;
    assert_true(covered >= golden->length);
    assert_memory_equal(datagram, golden->bytes, golden->length);
    for (size_t i = golden->length; i < covered; i++) {
        assert_int_equal(datagram[i], 0);
    }
    uint32_t checksum = weir_rudp_checksum(datagram, covered);
    assert_int_equal(datagram[covered], checksum >> 24);
    assert_int_equal(datagram[covered + 3], checksum & 0xff);
    assert_true(weir_rudp_check_clear(datagram, length));
}

static void assert_span(struct weir_span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.data, text, span.length);
}

/* --- checksum and integers -------------------------------------------------------------------- */

static void checksum_is_crc32c(void **state)
{
    (void)state;
    uint8_t digits[16] = "123456789";
    assert_int_equal(weir_rudp_checksum(digits, 9), 0xe3069283);
    assert_int_equal(weir_rudp_checksum(digits, 0), 0);
    assert_int_equal(weir_rudp_seal_clear(digits, 9), 13);
    static const uint8_t trailer[] = {0xe3, 0x06, 0x92, 0x83};
    assert_memory_equal(digits + 9, trailer, 4);
    assert_true(weir_rudp_check_clear(digits, 13));
    for (unsigned bit = 0; bit < 13 * 8; bit++) {
        digits[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(weir_rudp_check_clear(digits, 13));
        digits[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

/* RFC 9000 A.1 has the four examples; the others are the limits of each length. */
static void varints_have_four_lengths(void **state)
{
    (void)state;

    static const struct {
        uint64_t value;
        const char *bytes;
    } cases[] = {
        {0, "00"},
        {37, "25"},
        {63, "3f"},
        {64, "4040"},
        {15293, "7bbd"},
        {16383, "7fff"},
        {16384, "80004000"},
        {494878333, "9d7f3e7d"},
        {(1U << 30) - 1, "bfffffff"},
        {1U << 30, "c000000040000000"},
        {UINT64_C(151288809941952652), "c2197c5eff14e88c"},
        {(UINT64_C(1) << 62) - 1, "ffffffffffffffff"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[8];
        uint64_t value = 0;
        struct golden golden = hex(cases[i].bytes);
        assert_int_equal(weir_varint_size(cases[i].value), golden.length);
        assert_ptr_equal(weir_varint_encode(bytes, cases[i].value), bytes + golden.length);
        assert_memory_equal(bytes, golden.bytes, golden.length);
        assert_ptr_equal(weir_varint_decode(bytes, bytes + golden.length, &value),
                         bytes + golden.length);
        assert_true(value == cases[i].value);
        for (size_t cut = 0; cut < golden.length; cut++) {
            assert_null(weir_varint_decode(bytes, bytes + cut, &value));
        }
    }
    /* Longer than need be is fine. */
    uint64_t value = 0;
    struct golden padded = hex("4025");
    assert_non_null(weir_varint_decode(padded.bytes, padded.bytes + 2, &value));
    assert_int_equal(value, 37);
}

/* --- handshake packets ------------------------------------------------------------------------ */

static const struct weir_rudp_params params = {.receive_window_bytes = 0x0102030405060708,
                                               .message_bytes_max = 0x11121314,
                                               .channels_max = 0x2122,
                                               .datagram_bytes_max = 0x3132,
                                               .idle_timeout_ms = 0x41424344,
                                               .ack_delay_us = 0x51525354};

/* Low bits 5; grease parameter 0xe3 of 2 bytes, 0x4455. */
static const uint64_t grease = 0x1122334455020305;

#define PARAMS                                                                       \
    "01 08 0102030405060708  02 04 11121314  03 02 2122  04 02 3132  05 04 41424344" \
    "06 04 51525354"

static void assert_params(const struct weir_rudp_params *a)
{
    assert_true(a->receive_window_bytes == params.receive_window_bytes);
    assert_int_equal(a->message_bytes_max, params.message_bytes_max);
    assert_int_equal(a->channels_max, params.channels_max);
    assert_int_equal(a->datagram_bytes_max, params.datagram_bytes_max);
    assert_int_equal(a->idle_timeout_ms, params.idle_timeout_ms);
    assert_int_equal(a->ack_delay_us, params.ack_delay_us);
}

/* Does decode refuse every beginning of packet? Each is put where reading on would be seen. */
static void assert_no_beginning(struct weir_span packet, bool (*decode)(struct weir_span))
{
    assert_true(decode(packet));
    for (size_t length = 0; length < packet.length; length++) {
        uint8_t *cut = malloc(length + 1);
        assert_non_null(cut);
        memcpy(cut + 1, packet.data, length);
        assert_false(decode(weir_span_of(cut + 1, length)));
        free(cut);
    }
}

static bool decodes_init(struct weir_span packet)
{
    struct weir_rudp_init_packet init;
    return weir_rudp_decode_init(packet, &init);
}

static bool decodes_accept(struct weir_span packet)
{
    struct weir_rudp_accept_packet accept;
    return weir_rudp_decode_accept(packet, &accept);
}

static bool decodes_retry(struct weir_span packet)
{
    struct weir_span cookie;
    return weir_rudp_decode_retry(packet, &cookie);
}

static bool decodes_refuse(struct weir_span packet)
{
    struct weir_rudp_close_frame why;
    return weir_rudp_decode_refuse(packet, &why);
}

static bool decodes_version(struct weir_span packet)
{
    bool has_common;
    return weir_rudp_decode_version(packet, &has_common);
}

static bool decodes_reset(struct weir_span packet)
{
    uint64_t token;
    return weir_rudp_decode_reset(packet, &token);
}

static bool peeks_version(struct weir_span packet)
{
    uint32_t version;
    uint64_t source_id;
    return weir_rudp_peek_version(packet, &version, &source_id);
}

static void init_is_padded(void **state)
{
    (void)state;
    struct golden golden = hex("15 0000000000000000 77656901 a1a2a3a4a5a6a7a8 03 c1c2c3"
                               "0028" PARAMS "e3 02 4455");
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    static const uint8_t cookie[] = {0xc1, 0xc2, 0xc3};
    struct weir_rudp_init_packet init = {.version = WEIR_RUDP_VERSION_1,
                                         .source_id = 0xa1a2a3a4a5a6a7a8,
                                         .cookie = weir_span_of(cookie, 3),
                                         .params = params};
    size_t length = weir_rudp_encode_init(bytes, &init, grease);
    assert_int_equal(length, WEIR_RUDP_INIT_BYTES);
    assert_sealed(bytes, length, &golden);
    memset(&init, 0xee, sizeof(init));
    assert_true(weir_rudp_decode_init(weir_span_of(bytes, length - 4), &init));
    assert_int_equal(init.version, WEIR_RUDP_VERSION_1);
    assert_true(init.source_id == 0xa1a2a3a4a5a6a7a8);
    assert_int_equal(init.cookie.length, 3);
    assert_memory_equal(init.cookie.data, cookie, 3);
    assert_params(&init.params);
    assert_true(init.params.reset_token == 0);
    assert_no_beginning(span_of(&golden), decodes_init);
    assert_no_beginning(weir_span_of(golden.bytes, 21), peeks_version);
}

static void accept_has_the_token(void **state)
{
    (void)state;
    struct golden golden = hex("35 d1d2d3d4d5d6d7d8 77656901 a1a2a3a4a5a6a7a8"
                               "0032" PARAMS "07 08 0000000000000009 e3 02 4455");
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct weir_rudp_accept_packet accept = {
        .version = WEIR_RUDP_VERSION_1, .source_id = 0xa1a2a3a4a5a6a7a8, .params = params};
    accept.params.reset_token = 9;
    size_t length = weir_rudp_encode_accept(bytes, 0xd1d2d3d4d5d6d7d8, &accept, grease);
    assert_int_equal(length, golden.length + 4);
    assert_sealed(bytes, length, &golden);
    memset(&accept, 0xee, sizeof(accept));
    assert_true(weir_rudp_decode_accept(span_of(&golden), &accept));
    assert_true(accept.source_id == 0xa1a2a3a4a5a6a7a8 && accept.params.reset_token == 9);
    assert_params(&accept.params);
    assert_no_beginning(span_of(&golden), decodes_accept);
    golden.bytes[9] ^= 1; /* another version */
    assert_false(decodes_accept(span_of(&golden)));
}

static void retry_and_reset(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct golden golden = hex("25 d1d2d3d4d5d6d7d8 77656901 02 c1c2");
    static const uint8_t cookie[] = {0xc1, 0xc2};
    struct weir_span decoded;
    size_t length =
        weir_rudp_encode_retry(bytes, 0xd1d2d3d4d5d6d7d8, weir_span_of(cookie, 2), grease);
    assert_int_equal(length, golden.length + 4);
    assert_sealed(bytes, length, &golden);
    assert_true(weir_rudp_decode_retry(span_of(&golden), &decoded));
    assert_int_equal(decoded.length, 2);
    assert_memory_equal(decoded.data, cookie, 2);
    assert_no_beginning(span_of(&golden), decodes_retry);
    golden.bytes[9] ^= 1;
    assert_false(decodes_retry(span_of(&golden)));
    golden.bytes[9] ^= 1;
    golden.bytes[13] = 0; /* a cookie of nothing */
    assert_false(decodes_retry(span_of(&golden)));

    struct golden reset = hex("65 d1d2d3d4d5d6d7d8 e1e2e3e4e5e6e7e8");
    uint64_t token = 0;
    length = weir_rudp_encode_reset(bytes, 0xd1d2d3d4d5d6d7d8, 0xe1e2e3e4e5e6e7e8, grease);
    assert_int_equal(length, reset.length + 4);
    assert_sealed(bytes, length, &reset);
    assert_true(weir_rudp_decode_reset(span_of(&reset), &token));
    assert_true(token == 0xe1e2e3e4e5e6e7e8);
    assert_no_beginning(span_of(&reset), decodes_reset);
}

static void refuse_and_version(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct golden golden = hex("45 d1d2d3d4d5d6d7d8 77656901 01020304 04 66756c6c");
    struct weir_rudp_close_frame why = {.code = 0x01020304, .text = weir_span_of("full", 4)};
    size_t length = weir_rudp_encode_refuse(bytes, 0xd1d2d3d4d5d6d7d8, &why, grease);
    assert_int_equal(length, golden.length + 4);
    assert_sealed(bytes, length, &golden);
    memset(&why, 0, sizeof(why));
    assert_true(weir_rudp_decode_refuse(span_of(&golden), &why));
    assert_int_equal(why.code, 0x01020304);
    assert_span(why.text, "full");
    assert_no_beginning(span_of(&golden), decodes_refuse);

    /* The second version is none that will ever be: 0x?a?a?a?a with the upper halves of grease. */
    struct golden version = hex("55 d1d2d3d4d5d6d7d8 02 77656901 1a2a3a4a");
    bool has_common = false;
    length = weir_rudp_encode_version(bytes, 0xd1d2d3d4d5d6d7d8, grease);
    assert_int_equal(length, version.length + 4);
    assert_sealed(bytes, length, &version);
    assert_true(weir_rudp_decode_version(span_of(&version), &has_common));
    assert_true(has_common);
    assert_no_beginning(span_of(&version), decodes_version);
    version.bytes[10] ^= 1;
    assert_true(weir_rudp_decode_version(span_of(&version), &has_common));
    assert_false(has_common);
    version.bytes[9] = 0; /* none listed */
    assert_false(decodes_version(span_of(&version)));
}

#define INIT_HEAD "10 0000000000000000 77656901 a1a2a3a4a5a6a7a8"

static void handshake_bounds(void **state)
{
    (void)state;
    struct golden init = hex(INIT_HEAD "00 000a 02 04 00000001 03 02 0001");
    assert_true(decodes_init(span_of(&init)));
    static const char *const refused[] = {
        INIT_HEAD "00 0006 02 04 00000001",                 /* no channels */
        INIT_HEAD "00 0004 03 02 0001",                     /* no longest message */
        INIT_HEAD "00 000a 02 04 00000000 03 02 0001",      /* longest message 0 */
        INIT_HEAD "00 000b 02 04 00000001 03 02 0001 e0",   /* a parameter without a length */
        INIT_HEAD "00 000c 02 04 00000001 03 02 0001 e001", /* a parameter cut off */
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct golden packet = hex(refused[i]);
        assert_false(decodes_init(span_of(&packet)));
    }
    /* Unknown ids, and known ones of more than 8 bytes, are skipped; values beyond a field are
     * cut to its maximum. */
    struct golden odd = hex(INIT_HEAD "00 0020 02 04 00000001 03 03 010000 fe 01 77"
                                      "01 09 010203040506070809 06 05 0100000000");
    struct weir_rudp_init_packet decoded;
    odd.bytes[23] = (uint8_t)(odd.length - 24);
    assert_true(weir_rudp_decode_init(span_of(&odd), &decoded));
    assert_int_equal(decoded.params.channels_max, UINT16_MAX);
    assert_true(decoded.params.receive_window_bytes == 0);
    assert_int_equal(decoded.params.ack_delay_us, UINT32_MAX);

    struct golden retry = hex("20 d1d2d3d4d5d6d7d8 77656901 40");
    retry.length += 64;
    assert_true(decodes_retry(span_of(&retry)));
    retry.bytes[13] = 65;
    retry.length++;
    assert_false(decodes_retry(span_of(&retry)));
    struct golden refuse = hex("40 d1d2d3d4d5d6d7d8 77656901 01020304 78");
    refuse.length += 120;
    assert_true(decodes_refuse(span_of(&refuse)));
    refuse.bytes[17] = 121;
    refuse.length++;
    assert_false(decodes_refuse(span_of(&refuse)));
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct weir_rudp_ack_frame scratch;

/* Decodes the one frame that golden is; all its beginnings must be refused. */
static struct weir_rudp_frame decode_frame(const struct golden *golden,
                                           struct weir_rudp_message_ids *ids)
{
    struct weir_rudp_frame frame;
    for (size_t length = 1; length < golden->length; length++) {
        struct weir_rudp_message_ids copy = *ids;
        uint8_t *cut = malloc(length);
        assert_non_null(cut);
        memcpy(cut, golden->bytes, length);
        assert_null(weir_rudp_decode_frame(cut, cut + length, &frame, &scratch, &copy));
        free(cut);
    }
    const uint8_t *end = golden->bytes + golden->length;
    assert_ptr_equal(weir_rudp_decode_frame(golden->bytes, end, &frame, &scratch, ids), end);
    return frame;
}

static void assert_refused(const char *text)
{
    struct golden golden = hex(text);
    struct weir_rudp_message_ids ids = {0};
    struct weir_rudp_frame frame;
    assert_null(
        weir_rudp_decode_frame(golden.bytes, golden.bytes + golden.length, &frame, &scratch, &ids));
}

static void control_frames(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct weir_rudp_message_ids ids = {0};
    struct golden credit = hex("04 80012345");
    assert_int_equal(weir_rudp_encode_credit(bytes, 0x12345) - bytes, credit.length);
    assert_memory_equal(bytes, credit.bytes, credit.length);
    struct weir_rudp_frame frame = decode_frame(&credit, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_CREDIT);
    assert_int_equal(frame.credit, 0x12345);

    struct golden challenge = hex("05 0102030405060708");
    assert_int_equal(weir_rudp_encode_path(bytes, WEIR_RUDP_FRAME_CHALLENGE, 0x0102030405060708) -
                         bytes,
                     challenge.length);
    assert_memory_equal(bytes, challenge.bytes, challenge.length);
    frame = decode_frame(&challenge, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_CHALLENGE);
    assert_true(frame.path_data == 0x0102030405060708);
    challenge.bytes[0] = 6;
    frame = decode_frame(&challenge, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_RESPONSE);

    struct golden close = hex("07 00000102 03 627965");
    struct weir_rudp_close_frame why = {.code = 0x102, .text = weir_span_of("bye", 3)};
    assert_int_equal(weir_rudp_encode_close(bytes, &why) - bytes, close.length);
    assert_memory_equal(bytes, close.bytes, close.length);
    frame = decode_frame(&close, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_CLOSE);
    assert_int_equal(frame.close.code, 0x102);
    assert_span(frame.close.text, "bye");
    assert_refused("07 00000102 79"
                   "00000000000000000000000000000000000000000000000000000000000000000000000000000"
                   "00000000000000000000000000000000000000000000000000000000000000000000000000000"
                   "0000000000000000000000000000000000000000000000000000000000000000000000000000"
                   "000000000000");
}

static void ping_padding_and_extensions(void **state)
{
    (void)state;
    uint8_t bytes[16];
    struct weir_rudp_message_ids ids = {0};
    struct weir_rudp_frame frame;
    struct golden ping = hex("01 01");
    assert_ptr_equal(weir_rudp_decode_frame(ping.bytes, ping.bytes + 2, &frame, &scratch, &ids),
                     ping.bytes + 1);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_PING);
    struct golden padding = hex("00 ff ff"); /* the rest of the packet, whatever it is */
    assert_ptr_equal(
        weir_rudp_decode_frame(padding.bytes, padding.bytes + 3, &frame, &scratch, &ids),
        padding.bytes + 3);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_PADDING);
    struct golden extension = hex("ab 03 010203");
    frame = decode_frame(&extension, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_EXTENSION);
    /* Length 3, type 0x80 + 0x15, the first bytes of the number. */
    struct golden greased = hex("95 03 aabbcc");
    uint64_t number = 0xaabbccdd00000000 | 0x15 << 3 | 3;
    assert_int_equal(weir_rudp_encode_grease(bytes, number) - bytes, greased.length);
    assert_memory_equal(bytes, greased.bytes, greased.length);
    for (unsigned type = 0x08; type < 0x40; type++) {
        uint8_t unknown[32] = {(uint8_t)type};
        assert_null(
            weir_rudp_decode_frame(unknown, unknown + sizeof(unknown), &frame, &scratch, &ids));
    }
}

static void ack_frames(void **state)
{
    (void)state;
    uint8_t bytes[128];
    struct weir_rudp_message_ids ids = {0};
    /* 1000 to 991, not 990 to 989, 988, not 987 to 888, 887 to 887 - 99; delay 300 us. */
    struct golden golden = hex("02 000003e8 412c 03 09 01 00 4063 4063");
    struct weir_rudp_ack_frame ack = {
        .largest = 1000, .delay_us = 300, .count = 3, .ranges = {{9, 1}, {0, 99}, {99, 0}}};
    assert_int_equal(weir_rudp_encode_ack(bytes, sizeof(bytes), &ack) - bytes, golden.length);
    assert_memory_equal(bytes, golden.bytes, golden.length);
    struct weir_rudp_frame frame = decode_frame(&golden, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_ACK);
    assert_ptr_equal(frame.ack, &scratch);
    assert_int_equal(scratch.largest, 1000);
    assert_int_equal(scratch.delay_us, 300);
    assert_int_equal(scratch.ce_count, 0);
    assert_int_equal(scratch.count, 3);
    assert_int_equal(scratch.ranges[0].length, 9);
    assert_int_equal(scratch.ranges[0].gap, 1);
    assert_int_equal(scratch.ranges[2].length, 99);

    struct golden marked = hex("03 000003e8 00 01 09 05");
    ack = (struct weir_rudp_ack_frame){
        .largest = 1000, .ce_count = 5, .count = 1, .ranges = {{9, 0}}};
    assert_int_equal(weir_rudp_encode_ack(bytes, sizeof(bytes), &ack) - bytes, marked.length);
    assert_memory_equal(bytes, marked.bytes, marked.length);
    frame = decode_frame(&marked, &ids);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_ACK);
    assert_int_equal(scratch.ce_count, 5);
    assert_refused("02 000003e8 00 00"); /* no range */
}

static void ack_ranges_are_bounded(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct weir_rudp_message_ids ids = {0};
    struct weir_rudp_frame frame;
    struct weir_rudp_ack_frame ack = {.largest = 1000, .count = WEIR_RUDP_RANGES_MAX};
    const uint8_t *end = weir_rudp_encode_ack(bytes, sizeof(bytes), &ack);
    assert_int_equal(bytes[6], WEIR_RUDP_RANGES_MAX);
    assert_ptr_equal(weir_rudp_decode_frame(bytes, end, &frame, &scratch, &ids), end);
    bytes[6] = WEIR_RUDP_RANGES_MAX + 1;
    assert_null(weir_rudp_decode_frame(bytes, bytes + sizeof(bytes), &frame, &scratch, &ids));
    /* With little room the first ranges are what stays. */
    end = weir_rudp_encode_ack(bytes, 32, &ack);
    assert_true(end <= bytes + 32);
    assert_ptr_equal(weir_rudp_decode_frame(bytes, end, &frame, &scratch, &ids), end);
    assert_true(scratch.count > 1 && scratch.count < WEIR_RUDP_RANGES_MAX);
}

/* --- messages --------------------------------------------------------------------------------- */

static struct weir_rudp_message_frame check_message(const char *text,
                                                    const struct weir_rudp_message_frame *message,
                                                    struct weir_rudp_message_ids *ids)
{
    uint8_t bytes[128];
    static struct golden golden; /* what is returned borrows from it */
    golden = hex(text);
    struct weir_rudp_message_ids before = *ids;
    assert_int_equal(weir_rudp_message_overhead(message) + message->data.length, golden.length);
    assert_int_equal(weir_rudp_encode_message(bytes, message, &before) - bytes, golden.length);
    assert_memory_equal(bytes, golden.bytes, golden.length);
    struct weir_rudp_frame frame = decode_frame(&golden, ids);
    assert_true(ids->is_known == before.is_known && ids->was_delivery == before.was_delivery);
    assert_true(ids->channel == before.channel && ids->mid == before.mid);
    assert_true(ids->dseq == before.dseq);
    assert_int_equal(frame.type, WEIR_RUDP_FRAME_MESSAGE);
    assert_int_equal(frame.message.guarantee, message->guarantee);
    assert_int_equal(frame.message.channel, message->channel);
    assert_int_equal(frame.message.mid, message->mid);
    assert_int_equal(frame.message.dseq, message->dseq);
    assert_int_equal(frame.message.set_back, message->set_back);
    assert_int_equal(frame.message.set_dback, message->set_dback);
    assert_int_equal(frame.message.data.length, message->data.length);
    return frame.message;
}

static void plain_messages(void **state)
{
    (void)state;
    struct weir_rudp_message_ids ids = {0};
    /* Without a guarantee: channel and length only, and nothing for a NEXT to continue. */
    struct weir_rudp_message_frame none = {.channel = 7, .total = 2, .data = weir_span_of("hi", 2)};
    struct weir_rudp_message_frame decoded = check_message("40 07 02 6869", &none, &ids);
    assert_span(decoded.data, "hi");
    assert_int_equal(decoded.total, 2);
    assert_false(ids.is_known);
    struct weir_rudp_message_frame order = {
        .guarantee = WEIR_RUDP_GUARANTEE_SKIP - 2, .channel = 1, .mid = 0xfffffe05, .dseq = 9};
    check_message("50 01 fffffe05 00000009 00", &order, &ids);
    struct weir_rudp_message_frame delivery = {.guarantee = 2,
                                               .channel = 3,
                                               .mid = 0x01020304,
                                               .dseq = 0x05060708,
                                               .data = weir_span_of("abc", 3)};
    check_message("60 03 01020304 05060708 03 616263", &delivery, &ids);
    struct weir_rudp_message_frame in_set = delivery;
    in_set.set_back = 70;
    in_set.set_dback = 1;
    check_message("64 03 01020304 05060708 4046 01 03 616263", &in_set, &ids);
    struct weir_rudp_message_frame skip = {
        .guarantee = WEIR_RUDP_GUARANTEE_SKIP, .channel = 3, .mid = 5, .dseq = 6, .cost = 1000};
    decoded = check_message("70 03 00000005 00000006 43e8", &skip, &ids);
    assert_int_equal(decoded.cost, 1000);
}

static void next_leaves_the_ids_out(void **state)
{
    (void)state;
    struct weir_rudp_message_ids ids = {0};
    struct weir_rudp_message_frame message = {
        .guarantee = 2, .channel = 4, .mid = UINT32_MAX, .dseq = UINT32_MAX};
    assert_false(weir_rudp_message_is_next(&message, &ids));
    check_message("60 04 ffffffff ffffffff 00", &message, &ids);
    /* Delivery before: both numbers go on, over the wrap. */
    message.mid = message.dseq = 0;
    assert_true(weir_rudp_message_is_next(&message, &ids));
    message.is_next = true;
    check_message("62 00", &message, &ids);
    message.guarantee = 1;
    message.mid = message.dseq = 1;
    check_message("52 00", &message, &ids);
    /* Order before: the count of delivery messages stays. */
    message.guarantee = 2;
    message.mid = 2;
    assert_true(weir_rudp_message_is_next(&message, &ids));
    check_message("62 00", &message, &ids);
    message.mid = 3;
    assert_false(weir_rudp_message_is_next(&message, &ids)); /* its dseq would be 2 */
    message.dseq = 2;
    message.channel = 5;
    assert_false(weir_rudp_message_is_next(&message, &ids));
    message.channel = 4;
    message.guarantee = 0; /* has no numbers */
    assert_false(weir_rudp_message_is_next(&message, &ids));
    assert_refused("62 00"); /* there was none before */
    struct golden none = hex("42 00");
    struct weir_rudp_frame frame;
    assert_null(weir_rudp_decode_frame(none.bytes, none.bytes + 2, &frame, &scratch, &ids));
}

static void fragments(void **state)
{
    (void)state;
    struct weir_rudp_message_ids ids = {0};
    struct weir_rudp_message_frame fragment = {.guarantee = 2,
                                               .channel = 1,
                                               .is_fragment = true,
                                               .mid = 2,
                                               .dseq = 3,
                                               .offset = 100,
                                               .total = 20000,
                                               .data = weir_span_of("xy", 2)};
    struct weir_rudp_message_frame decoded =
        check_message("68 01 00000002 00000003 4064 80004e20 02 7879", &fragment, &ids);
    assert_true(decoded.is_fragment);
    assert_int_equal(decoded.offset, 100);
    assert_int_equal(decoded.total, 20000);
    /* Without a guarantee a fragment has one number, to be put together by, and no place among the
     * others: what follows goes on from the message before. */
    fragment.guarantee = 0;
    fragment.dseq = 0;
    check_message("48 01 00000002 4064 80004e20 02 7879", &fragment, &ids);
    fragment.mid = 3;
    assert_false(weir_rudp_message_is_next(&fragment, &ids));
    fragment = (struct weir_rudp_message_frame){.guarantee = 2,
                                                .channel = 1,
                                                .mid = 3,
                                                .dseq = 4,
                                                .total = 1,
                                                .data = weir_span_of("x", 1)};
    fragment.is_next = weir_rudp_message_is_next(&fragment, &ids);
    assert_true(fragment.is_next);
    check_message("62 01 78", &fragment, &ids);
    assert_refused("4a 4064 80004e20 02 7879"); /* nor does it follow from one */
    assert_refused("44 01 01 00 01 78");        /* nor is it in a set */
    assert_refused("4c 01 00000002 01 00 00 05 02 7879");
    assert_refused("68 01 00000002 00000003 00 05 00");      /* empty */
    assert_refused("68 01 00000002 00000003 04 05 02 7879"); /* beyond the end */
    assert_refused("68 01 00000002 00000003 00 01 02 7879"); /* longer than the whole */
    assert_refused("68 01 00000002 00000003 ffffffffffffffff 05 02 7879");
    assert_refused("78 01 00000002 00000003 00 05 02 7879"); /* a skip has no fragments */
}

static void messages_are_checked(void **state)
{
    (void)state;
    for (unsigned type = 0x41; type < 0x80; type += 2) { /* the reserved bit */
        uint8_t bytes[64] = {(uint8_t)type};
        struct weir_rudp_message_ids ids = {.is_known = true};
        struct weir_rudp_frame frame;
        assert_null(weir_rudp_decode_frame(bytes, bytes + 64, &frame, &scratch, &ids));
    }
    assert_refused("64 01 00000002 00000003 01 02 00");               /* set_dback over set_back */
    assert_refused("64 01 00000002 00000003 c000000080000000 00 00"); /* set_back over 2^31 - 1 */
    assert_refused("60 01 00000002 00000003 03 7879");                /* data cut off */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_crc32c),
        cmocka_unit_test(varints_have_four_lengths),
        cmocka_unit_test(init_is_padded),
        cmocka_unit_test(accept_has_the_token),
        cmocka_unit_test(retry_and_reset),
        cmocka_unit_test(refuse_and_version),
        cmocka_unit_test(handshake_bounds),
        cmocka_unit_test(control_frames),
        cmocka_unit_test(ping_padding_and_extensions),
        cmocka_unit_test(ack_frames),
        cmocka_unit_test(ack_ranges_are_bounded),
        cmocka_unit_test(plain_messages),
        cmocka_unit_test(next_leaves_the_ids_out),
        cmocka_unit_test(fragments),
        cmocka_unit_test(messages_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
