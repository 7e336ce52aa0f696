/* SPDX-License-Identifier: MIT */
/*
 * test_tcp_wire.c - TCP's header and options on the wire, and the Internet checksum.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "wire/checksum.h"
#include "wire/tcp.h"

/* --- checksum --------------------------------------------------------------------------------- */

/* RFC 1071 4.1, word by word. */
static uint16_t slow_checksum(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum += (uint32_t)bytes[i] << (i % 2 == 0 ? 8 : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static uint16_t fast_checksum(const uint8_t *bytes, size_t length)
{
    uint16_t sum = weir_checksum_fold(weir_checksum_add(0, bytes, length));
    return (uint16_t)(sum << 8 | sum >> 8);
}

static void sums_are_those_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(fast_checksum(example, sizeof(example)), (uint16_t)~0xddf2);
    struct weir_prng prng;
    uint8_t bytes[300];
    weir_prng_init(&prng, 1);
    for (unsigned run = 0; run < 2000; run++) {
        size_t length = (size_t)weir_prng_below(&prng, sizeof(bytes) + 1);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = weir_prng_below(&prng, 4) == 0 ? 0xff : (uint8_t)weir_prng_next(&prng);
        }
        assert_int_equal(fast_checksum(bytes, length), slow_checksum(bytes, length));
    }
}

static void a_change_is_added_to_a_checksum(void **state)
{
    (void)state;
    struct weir_prng prng;
    uint8_t bytes[40];
    weir_prng_init(&prng, 2);
    for (unsigned run = 0; run < 2000; run++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)weir_prng_next(&prng);
        }
        uint16_t before;
        uint16_t after = (uint16_t)weir_prng_next(&prng);
        size_t at = 2 * (size_t)weir_prng_below(&prng, sizeof(bytes) / 2);
        uint16_t sum = weir_checksum_fold(weir_checksum_add(0, bytes, sizeof(bytes)));
        memcpy(&before, bytes + at, sizeof(before));
        memcpy(bytes + at, &after, sizeof(after));
        assert_int_equal(weir_checksum_update(sum, before, after),
                         weir_checksum_fold(weir_checksum_add(0, bytes, sizeof(bytes))));
    }
}

static void a_segment_is_sealed_with_its_addresses(void **state)
{
    (void)state;
    static const char *const ends[][2] = {{"192.0.2.1:0", "198.51.100.7:0"},
                                          {"[2001:db8::1]:0", "[2001:db8::2]:0"}};
    for (unsigned i = 0; i < 2; i++) {
        struct weir_path path = {{{0}, 0, 0, 0, 0}, {{0}, 0, 0, 0, 0}};
        uint8_t bytes[64] = {0};
        assert_int_equal(weir_addr_parse(ends[i][0], &path.local), WEIR_OK);
        assert_int_equal(weir_addr_parse(ends[i][1], &path.remote), WEIR_OK);
        const struct weir_tcp_segment segment = {.source = 1, .target = 2, .seq = 3, .flags = 16};
        uint32_t length = weir_tcp_encode(bytes, &segment) + 5;
        weir_tcp_seal(bytes, length, &path);
        assert_true(weir_tcp_is_checksum_right(weir_span_of(bytes, length), &path));
        bytes[21] ^= 4;
        assert_false(weir_tcp_is_checksum_right(weir_span_of(bytes, length), &path));
        bytes[21] ^= 4;
        path.remote.ip[3] ^= 1;
        assert_false(weir_tcp_is_checksum_right(weir_span_of(bytes, length), &path));
    }
}

/* --- options ---------------------------------------------------------------------------------- */

static void check_header(const struct weir_tcp_segment *segment, const uint8_t *options,
                         uint32_t length)
{
    uint8_t bytes[WEIR_TCP_HEADER_MAX];
    assert_int_equal(weir_tcp_header_bytes(segment), WEIR_TCP_HEADER_BYTES + length);
    assert_int_equal(weir_tcp_encode(bytes, segment), WEIR_TCP_HEADER_BYTES + length);
    assert_int_equal(bytes[12], (WEIR_TCP_HEADER_BYTES + length) / 4 << 4);
    if (length > 0) {
        assert_memory_equal(bytes + WEIR_TCP_HEADER_BYTES, options, length);
    }
}

static void options_come_in_the_order_of_linux(void **state)
{
    (void)state;
    static const uint8_t with[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 3, 3, 7};
    static const uint8_t without[] = {2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7};
    struct weir_tcp_segment syn = {.flags = WEIR_TCP_SYN,
                                   .mss = 1460,
                                   .scale = 7,
                                   .ts_value = 7,
                                   .ts_echo = 9,
                                   .options = WEIR_TCP_HAS_MSS | WEIR_TCP_HAS_SCALE |
                                              WEIR_TCP_HAS_SACK_PERMITTED |
                                              WEIR_TCP_HAS_TIMESTAMPS};
    check_header(&syn, with, sizeof(with));
    syn.options &= (uint8_t)~WEIR_TCP_HAS_TIMESTAMPS;
    check_header(&syn, without, sizeof(without));
    syn.options = 0;
    check_header(&syn, NULL, 0);
}

static void blocks_that_find_no_room_are_left_out(void **state)
{
    (void)state;
    struct weir_tcp_segment ack = {.flags = WEIR_TCP_ACK, .sack_count = 4};
    assert_int_equal(weir_tcp_header_bytes(&ack), 20 + 4 + 32);
    ack.options = WEIR_TCP_HAS_TIMESTAMPS;
    assert_int_equal(weir_tcp_header_bytes(&ack), 20 + 12 + 4 + 24);
}

static void decode_options(const uint8_t *options, uint32_t length,
                           struct weir_tcp_segment *segment)
{
    uint8_t bytes[WEIR_TCP_HEADER_MAX] = {0};
    assert_int_equal(length % 4, 0);
    bytes[12] = (uint8_t)((WEIR_TCP_HEADER_BYTES + length) / 4 << 4);
    memcpy(bytes + WEIR_TCP_HEADER_BYTES, options, length);
    assert_true(weir_tcp_decode(weir_span_of(bytes, WEIR_TCP_HEADER_BYTES + length), segment));
}

/* RFC 9293 3.1, MUST-5, MUST-6, MUST-7, MUST-68; RFC 7323 2.3. */
static void nonsense_among_options_is_passed_over(void **state)
{
    (void)state;
    struct weir_tcp_segment segment;
    static const uint8_t unknown[] = {200, 6, 1, 2, 3, 4, 2, 4, 1, 0, 1, 1};
    decode_options(unknown, sizeof(unknown), &segment);
    assert_int_equal(segment.options, WEIR_TCP_HAS_MSS);
    assert_int_equal(segment.mss, 256);
    static const uint8_t too_long[] = {2, 5, 1, 0, 0, 3, 40, 1};
    decode_options(too_long, sizeof(too_long), &segment);
    assert_int_equal(segment.options, 0);
    static const uint8_t zero_length[] = {200, 0, 2, 4};
    decode_options(zero_length, sizeof(zero_length), &segment);
    assert_int_equal(segment.options, 0);
    static const uint8_t behind_end[] = {0, 0, 0, 0, 2, 4, 1, 0};
    decode_options(behind_end, sizeof(behind_end), &segment);
    assert_int_equal(segment.options, 0);
    static const uint8_t large_scale[] = {3, 3, 200, 1};
    decode_options(large_scale, sizeof(large_scale), &segment);
    assert_int_equal(segment.scale, 14);
}

static void short_segments_are_refused(void **state)
{
    (void)state;
    struct weir_tcp_segment segment;
    uint8_t bytes[24] = {0};
    bytes[12] = 5 << 4;
    for (size_t length = 0; length < WEIR_TCP_HEADER_BYTES; length++) {
        assert_false(weir_tcp_decode(weir_span_of(bytes, length), &segment));
    }
    assert_true(weir_tcp_decode(weir_span_of(bytes, 20), &segment));
    bytes[12] = 4 << 4;
    assert_false(weir_tcp_decode(weir_span_of(bytes, 20), &segment));
    bytes[12] = 7 << 4;
    assert_false(weir_tcp_decode(weir_span_of(bytes, 24), &segment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_rfc),
        cmocka_unit_test(a_change_is_added_to_a_checksum),
        cmocka_unit_test(a_segment_is_sealed_with_its_addresses),
        cmocka_unit_test(options_come_in_the_order_of_linux),
        cmocka_unit_test(blocks_that_find_no_room_are_left_out),
        cmocka_unit_test(nonsense_among_options_is_passed_over),
        cmocka_unit_test(short_segments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
