/* SPDX-License-Identifier: MIT */
/*
 * test_hash.c - SipHash against published vectors and an independent implementation.
 */
#include "seed.h"

#include "base/hash.h"

/* Of the authors: key 00 01 .. 0f, input the first n bytes of 00 01 02 .. */
static const uint64_t vectors24[64] = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
    0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
    0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
    0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
    0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
    0x7127512f72f27cce, 0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
    0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d, 0x9abfd8766a33735c,
    0x0e3ea96b5304a7d0, 0xad0c42d6fc585992, 0x187306c89bc215a9, 0xd4a60abcf3792b95,
    0xf935451de4f21df2, 0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
    0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72, 0xa192d576b245165a,
    0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f, 0x7fa8220ba3b2ecea, 0x245731c13ca42499,
    0xb78dbfaf3a8d83bd, 0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
    0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57, 0x958a324ceb064572,
};

/* SipHash-1-3 as CPython 3.11 computes it (_imp.source_hash): k0 = bytes 00 .. 07, k1 = 0. */
static const uint64_t vectors13[24] = {
    0xf46d3bfe2ea281dc, 0x5bb2c195fe70a449, 0x48e409dbe38c2bd3, 0xb0dc73387a51665c,
    0x0b7f74a5372abaef, 0x9e56cd654ffcf762, 0x2fa1e15a0194e7df, 0x3dd20bc6123b60e0,
    0x5124317f8cfc24cb, 0x9d1f9dbb9125d122, 0x5b504de30e94bad7, 0xce16b02860a2dc9c,
    0xf644ba3bafe9f481, 0x793034c6be2de9cc, 0x997d1754c1dda378, 0x7f501f340ece0c62,
    0xa07bf4038d638986, 0xf0f41b97a64c8426, 0x40d5e9ee1f8760a7, 0xb902964b976e4d97,
    0x4aad727d76ff2693, 0xd8e736764d0c6035, 0xe96a17f806906eef, 0x634f1185387f15a1,
};

static void fill(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)i;
    }
}

static void matches_published_24(void **state)
{
    (void)state;
    const struct weir_hash_key key = {.k0 = 0x0706050403020100, .k1 = 0x0f0e0d0c0b0a0908};
    uint8_t bytes[64];
    fill(bytes, sizeof(bytes));
    for (size_t n = 0; n < sizeof(bytes); n++) {
        assert_true(weir_hash24(&key, bytes, n) == vectors24[n]);
    }
}

static void matches_cpython_13(void **state)
{
    (void)state;
    const struct weir_hash_key key = {.k0 = 0x0706050403020100, .k1 = 0};
    uint8_t bytes[sizeof(vectors13) / sizeof(vectors13[0])];
    fill(bytes, sizeof(bytes));
    for (size_t n = 0; n < sizeof(bytes); n++) {
        assert_true(weir_hash13(&key, bytes, n) == vectors13[n]);
    }
}

static void u64_equals_eight_bytes(void **state)
{
    (void)state;
    const uint64_t seed = 1;
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    for (int i = 0; i < 10000; i++) {
        const struct weir_hash_key key = {.k0 = weir_prng_next(&prng), .k1 = weir_prng_next(&prng)};
        uint64_t value = weir_prng_next(&prng);
        CHECK(seed, weir_hash13_u64(&key, value) == weir_hash13(&key, &value, sizeof(value)));
    }
}

static void alignment_does_not_matter(void **state)
{
    (void)state;
    const struct weir_hash_key key = {.k0 = 1, .k1 = 2};
    uint8_t bytes[40];
    fill(bytes, 32);
    uint64_t hash = weir_hash24(&key, bytes, 29);
    for (size_t off = 1; off < 8; off++) {
        fill(bytes + off, 32);
        assert_true(weir_hash24(&key, bytes + off, 29) == hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_published_24),
        cmocka_unit_test(matches_cpython_13),
        cmocka_unit_test(u64_equals_eight_bytes),
        cmocka_unit_test(alignment_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
