/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_wire.c - KCP segments: the layout byte by byte, and every way not to be one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/kcp.h"

static const uint8_t sample[] = {
    0x44, 0x33, 0x22, 0x11,       /* conv */
    81,   7,    0x80, 0x01,       /* cmd frg wnd */
    0x08, 0x07, 0x06, 0x05,       /* ts */
    0x0c, 0x0b, 0x0a, 0x09,       /* sn */
    0x10, 0x0f, 0x0e, 0x0d,       /* una */
    0x03, 0x00, 0x00, 0x00,       /* len */
    'a',  'b',  'c',  0xff, 0xee, /* data; trailing bytes */
};

static void encodes_the_known_bytes(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_KCP_HEADER_BYTES];
    const struct weir_kcp_segment segment = {.conv = 0x11223344,
                                             .cmd = WEIR_KCP_PUSH,
                                             .frg = 7,
                                             .wnd = 0x180,
                                             .ts = 0x05060708,
                                             .sn = 0x090a0b0c,
                                             .una = 0x0d0e0f10,
                                             .data = {.length = 3}};
    assert_ptr_equal(weir_kcp_encode_header(bytes, &segment), bytes + sizeof(bytes));
    assert_memory_equal(bytes, sample, sizeof(bytes));
}

static void decodes_the_known_bytes(void **state)
{
    (void)state;
    struct weir_kcp_segment segment = {0};
    const uint8_t *at = sample;
    const uint8_t *end = sample + sizeof(sample);
    assert_int_equal(weir_kcp_decode(&at, end, &segment), WEIR_KCP_DECODED);
    assert_ptr_equal(at, sample + 27);
    assert_int_equal(segment.conv, 0x11223344);
    assert_int_equal(segment.cmd, WEIR_KCP_PUSH);
    assert_int_equal(segment.frg, 7);
    assert_int_equal(segment.wnd, 0x180);
    assert_int_equal(segment.ts, 0x05060708);
    assert_int_equal(segment.sn, 0x090a0b0c);
    assert_int_equal(segment.una, 0x0d0e0f10);
    assert_int_equal(segment.data.length, 3);
    assert_memory_equal(segment.data.data, "abc", 3);
    /* Fewer than a header at the end are ignored. */
    assert_int_equal(weir_kcp_decode(&at, end, &segment), WEIR_KCP_DECODED_END);
    assert_ptr_equal(at, sample + 27);
}

static void every_length_below_a_header_is_the_end(void **state)
{
    (void)state;
    for (size_t length = 0; length < WEIR_KCP_HEADER_BYTES; length++) {
        struct weir_kcp_segment segment;
        const uint8_t *at = sample;
        assert_int_equal(weir_kcp_decode(&at, sample + length, &segment), WEIR_KCP_DECODED_END);
        assert_ptr_equal(at, sample);
    }
}

static void data_past_the_end_is_refused(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {4, 5, 0x7fffffff, 0xffffffff, 0xffffffe8};
    uint8_t bytes[27];
    memcpy(bytes, sample, sizeof(bytes));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct weir_kcp_segment segment;
        const uint8_t *at = bytes;
        weir_kcp_store32(bytes + 20, lengths[i]);
        assert_int_equal(weir_kcp_decode(&at, bytes + sizeof(bytes), &segment),
                         WEIR_KCP_DECODED_LENGTH);
        assert_ptr_equal(at, bytes);
    }
}

static void only_four_commands_exist(void **state)
{
    (void)state;
    uint8_t bytes[27];
    memcpy(bytes, sample, sizeof(bytes));
    for (unsigned cmd = 0; cmd < 256; cmd++) {
        struct weir_kcp_segment segment;
        const uint8_t *at = bytes;
        bytes[4] = (uint8_t)cmd;
        assert_int_equal(weir_kcp_decode(&at, bytes + sizeof(bytes), &segment),
                         cmd >= 81 && cmd <= 84 ? WEIR_KCP_DECODED : WEIR_KCP_DECODED_COMMAND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_known_bytes),
        cmocka_unit_test(decodes_the_known_bytes),
        cmocka_unit_test(every_length_below_a_header_is_the_end),
        cmocka_unit_test(data_past_the_end_is_refused),
        cmocka_unit_test(only_four_commands_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
