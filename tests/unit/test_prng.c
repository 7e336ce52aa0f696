/* SPDX-License-Identifier: MIT */
/*
 * test_prng.c - the generators against published numbers, and their promises.
 */
#include "seed.h"

#include <string.h>

#include "base/prng.h"

static void seeds_by_splitmix(void **state)
{
    (void)state;
    /* splitmix64 from 1234567. */
    static const uint64_t expected[4] = {6457827717110365317u, 3203168211198807973u,
                                         9817491932198370423u, 4593380528125082431u};
    struct weir_prng prng;
    weir_prng_init(&prng, 1234567);
    assert_memory_equal(prng.s, expected, sizeof(expected));
}

static void matches_xoshiro(void **state)
{
    (void)state;
    /* xoshiro256** from the state 1, 2, 3, 4. */
    static const uint64_t expected[] = {
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
        16172922978634559625u,
        8476171486693032832,
        10595114339597558777u,
        2904607092377533576,
    };
    struct weir_prng prng = {.s = {1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(weir_prng_next(&prng) == expected[i]);
    }
}

static void below_is_in_bounds_and_even(void **state)
{
    (void)state;

    enum {
        BOUND = 7,
        DRAWS = 70000
    };

    const uint64_t seed = 3;
    uint32_t counts[BOUND] = {0};
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t value = weir_prng_below(&prng, BOUND);
        CHECK(seed, value < BOUND);
        counts[value]++;
    }
    for (int i = 0; i < BOUND; i++) {
        /* The standard deviation is 93: five of them. */
        CHECK(seed, counts[i] > 9535 && counts[i] < 10465);
    }
    CHECK(seed, weir_prng_below(&prng, 1) == 0);
    /* A bound where plain modulo would give the lower third twice as often. */
    const uint64_t large = 3 * ((uint64_t)1 << 62);
    uint32_t low_count = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t value = weir_prng_below(&prng, large);
        CHECK(seed, value < large);
        low_count += value < large / 3;
    }
    CHECK(seed, low_count > 9592 && low_count < 10408);
}

static void same_seed_same_stream(void **state)
{
    (void)state;
    struct weir_prng a;
    struct weir_prng b;
    struct weir_prng c;
    weir_prng_init(&a, 0);
    weir_prng_init(&b, 0);
    weir_prng_init(&c, 1);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t value = weir_prng_next(&a);
        assert_true(value == weir_prng_next(&b));
        differs = differs || value != weir_prng_next(&c);
    }
    assert_true(differs);
}

static void every_seed_byte_changes_the_secret_stream(void **state)
{
    (void)state;
    uint8_t seed[32] = {0};
    struct weir_prng_secret prng;
    weir_prng_secret_init(&prng, seed);
    uint64_t first = weir_prng_secret_next(&prng);
    assert_true(first != weir_prng_secret_next(&prng));
    for (size_t i = 0; i < sizeof(seed); i++) {
        seed[i] = 1;
        weir_prng_secret_init(&prng, seed);
        assert_true(weir_prng_secret_next(&prng) != first);
        seed[i] = 0;
    }
    weir_prng_secret_init(&prng, seed);
    assert_true(weir_prng_secret_next(&prng) == first);
}

static void secret_stream_repeats_from_the_seed(void **state)
{
    (void)state;
    uint8_t seed[32];
    memset(seed, 0x5a, sizeof(seed));
    struct weir_prng_secret a;
    struct weir_prng_secret b;
    weir_prng_secret_init(&a, seed);
    weir_prng_secret_init(&b, seed);
    seed[0] ^= 1;
    struct weir_prng_secret c;
    weir_prng_secret_init(&c, seed);
    for (int i = 0; i < 100; i++) {
        uint64_t value = weir_prng_secret_next(&a);
        assert_true(value == weir_prng_secret_next(&b));
        assert_true(value != weir_prng_secret_next(&c));
        /* The two halves of this seed are equal: they must not cancel out. */
        assert_true(value != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_by_splitmix),
        cmocka_unit_test(matches_xoshiro),
        cmocka_unit_test(below_is_in_bounds_and_even),
        cmocka_unit_test(same_seed_same_stream),
        cmocka_unit_test(every_seed_byte_changes_the_secret_stream),
        cmocka_unit_test(secret_stream_repeats_from_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
