/* SPDX-License-Identifier: MIT */
/*
 * test_snappy_frame.c - snappy's framing format: known bytes, round trips, broken streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/snappy_frame.h"
#include "unit/seed.h"

enum {
    DATA_BYTES = CLI_SNAPPY_DATA_BYTES_MAX,
    STREAM_BYTES = 1 << 20
};

static struct cli_heap heap;
static uint8_t data[STREAM_BYTES], packed[2 * STREAM_BYTES], unpacked[STREAM_BYTES];

/* Short data does not shrink: a plain chunk. The CRC32C of "123456789" is e3069283. */
static void test_known_bytes(void **state)
{
    (void)state;
    size_t length = cli_snappy_encode(weir_span_of("123456789", 9), true, packed);
    uint32_t crc = 0xe3069283U;
    uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
    uint8_t want[27] = {0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y', 0x01, 13, 0, 0};
    for (int i = 0; i < 4; i++) {
        want[14 + i] = (uint8_t)(masked >> 8 * i);
    }
    for (int i = 0; i < 9; i++) {
        want[18 + i] = (uint8_t)('1' + i);
    }
    assert_int_equal(length, sizeof(want));
    assert_memory_equal(packed, want, sizeof(want));
    assert_int_equal(cli_snappy_encode(weir_span_of("123456789", 9), false, packed), 17);
}

static void test_zeros_shrink(void **state)
{
    (void)state;
    memset(data, 0, DATA_BYTES);
    size_t length = cli_snappy_encode(weir_span_of(data, DATA_BYTES), false, packed);
    assert_int_equal(packed[0], 0);
    assert_true(length < DATA_BYTES / 10);
}

/* Decodes all of packed in pieces of random length. Returns the status at the end. */
static enum weir_status decode(size_t packed_length, size_t *length, struct weir_prng *prng)
{
    struct cli_snappy_decoder *decoder = cli_snappy_open(&heap);
    enum weir_status status = WEIR_AGAIN;
    assert_non_null(decoder);
    *length = 0;
    for (size_t at = 0; at < packed_length && status != WEIR_ERR_MALFORMED;) {
        size_t piece = 1 + (size_t)draw_scaled(prng, 17);
        piece = piece < packed_length - at ? piece : packed_length - at;
        struct weir_span input = weir_span_of(packed + at, piece);
        struct weir_span out;
        at += piece;
        while ((status = cli_snappy_next(decoder, &input, &out)) == WEIR_OK) {
            assert_true(*length + out.length <= sizeof(unpacked));
            memcpy(unpacked + *length, out.data, out.length);
            *length += out.length;
        }
    }
    cli_snappy_close(&heap, decoder);
    return status;
}

static size_t encode(size_t length, struct weir_prng *prng)
{
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        size_t piece = 1 + (size_t)draw_scaled(prng, 16);
        piece = piece < DATA_BYTES ? piece : DATA_BYTES;
        piece = piece < length - at ? piece : length - at;
        used += cli_snappy_encode(weir_span_of(data + at, piece), at == 0, packed + used);
        at += piece;
    }
    return used;
}

static void fill(size_t length, struct weir_prng *prng)
{
    uint8_t kinds = (uint8_t)(1 + weir_prng_below(prng, 255));
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)weir_prng_below(prng, kinds);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct weir_prng prng;
        size_t length;
        weir_prng_init(&prng, seed);
        size_t wanted = (size_t)draw_scaled(&prng, 18);
        fill(wanted, &prng);
        size_t used = encode(wanted, &prng);
        CHECK(seed, used == 0 || decode(used, &length, &prng) == WEIR_AGAIN);
        CHECK(seed, used == 0 || (length == wanted && memcmp(data, unpacked, wanted) == 0));
    }
}

/* A bit that flips is noticed, or was in something that is skipped: never wrong data. */
static void test_flipped_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct weir_prng prng;
        size_t length;
        weir_prng_init(&prng, seed);
        size_t wanted = 1 + (size_t)draw_scaled(&prng, 12);
        fill(wanted, &prng);
        size_t used = encode(wanted, &prng);
        packed[weir_prng_below(&prng, used)] ^= (uint8_t)(1U << weir_prng_below(&prng, 8));
        (void)decode(used, &length, &prng);
        CHECK(seed, length <= wanted);
        CHECK(seed, length == 0 || memcmp(data, unpacked, 1) == 0 || length < wanted);
    }
}

static void expect(enum weir_status want, const char *bytes, size_t length)
{
    struct cli_snappy_decoder *decoder = cli_snappy_open(&heap);
    struct weir_span input = weir_span_of(bytes, length);
    struct weir_span out;
    assert_int_equal(cli_snappy_next(decoder, &input, &out), want);
    if (want == WEIR_ERR_MALFORMED) {
        input = weir_span_of("\xff\x06\x00\x00sNaPpY", 10);
        assert_int_equal(cli_snappy_next(decoder, &input, &out), WEIR_ERR_MALFORMED);
    }
    cli_snappy_close(&heap, decoder);
}

static void test_chunks(void **state)
{
    (void)state;
    expect(WEIR_AGAIN, "\xff\x06\x00\x00sNaPpY", 10);
    expect(WEIR_AGAIN, "\xff\x06\x00\x00sNaPpY\xff\x06\x00\x00sNaPpY", 20); /* it may come again */
    expect(WEIR_AGAIN, "\xff\x06\x00\x00sNaPpY\xfe\x02\x00\x00zz\x80\x00\x00\x00", 20);
    expect(WEIR_ERR_MALFORMED, "\x01\x05\x00\x00", 4);                        /* no identifier */
    expect(WEIR_ERR_MALFORMED, "\xff\x06\x00\x00sNaPpX", 10);                 /* a wrong one */
    expect(WEIR_ERR_MALFORMED, "\xff\x05\x00\x00", 4);                        /* a short one */
    expect(WEIR_ERR_MALFORMED, "\xff\x06\x00\x00sNaPpY\x02\x04\x00\x00", 14); /* unskippable */
    expect(WEIR_ERR_MALFORMED, "\xff\x06\x00\x00sNaPpY\x01\x03\x00\x00", 14); /* no checksum */
    expect(WEIR_ERR_MALFORMED, "\xff\x06\x00\x00sNaPpY\x00\xff\xff\xff", 14); /* too long */
    expect(WEIR_ERR_MALFORMED, "\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00\x00\x00\x00\x00z", 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes), cmocka_unit_test(test_zeros_shrink),
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_chunks)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cli_heap_fini(&heap);
    return failed;
}
