/* SPDX-License-Identifier: MIT */
/*
 * test_reassembly.c - pieces in any order against a byte-wise shadow.
 */
#include "seed.h"

#include <string.h>

#include "core/reassembly.h"

enum {
    LENGTH_MAX = 300,
    GAPS_MAX = 12,
    UNTOUCHED = 0xee
};

struct shadow {
    uint8_t bytes[LENGTH_MAX]; /* UNTOUCHED where nothing came yet */
    bool is_present[LENGTH_MAX];
};

static uint32_t count_runs(const struct shadow *shadow)
{
    uint32_t runs = 0;
    for (int i = 0; i < LENGTH_MAX; i++) {
        runs += shadow->is_present[i] && (i == 0 || !shadow->is_present[i - 1]);
    }
    return runs;
}

/* Adds piece to the shadow; returns how many bytes were new. */
static uint64_t shadow_add(struct shadow *shadow, uint64_t offset, struct weir_span piece)
{
    uint64_t added = 0;
    for (uint64_t i = 0; i < piece.length; i++) {
        if (!shadow->is_present[offset + i]) {
            shadow->is_present[offset + i] = true;
            shadow->bytes[offset + i] = piece.data[i];
            added++;
        }
    }
    return added;
}

static void step(uint64_t seed, struct weir_prng *prng, struct weir_reassembly *reassembly,
                 struct shadow *shadow)
{
    /* Some pieces begin or end past the end. */
    uint64_t offset = weir_prng_below(prng, reassembly->length + 3);
    uint64_t longest = weir_prng_below(prng, 8) == 0 ? LENGTH_MAX : 20;
    uint8_t bytes[LENGTH_MAX];
    struct weir_span piece = weir_span_of(bytes, weir_prng_below(prng, longest));
    for (size_t i = 0; i < piece.length; i++) {
        bytes[i] = (uint8_t)weir_prng_next(prng);
    }
    uint64_t received = reassembly->received_bytes;
    uint64_t added = 99;
    enum weir_status status = weir_reassembly_add(reassembly, offset, piece, &added);
    if (offset + piece.length > reassembly->length) {
        CHECK(seed, status == WEIR_ERR_INVALID && added == 0);
    } else {
        struct shadow after = *shadow;
        uint64_t expected = shadow_add(&after, offset, piece);
        if (count_runs(&after) > reassembly->ranges.max) {
            CHECK(seed, status == WEIR_ERR_FULL && added == 0);
        } else {
            CHECK(seed, status == WEIR_OK && added == expected);
            *shadow = after;
        }
    }
    CHECK(seed, reassembly->received_bytes == received + added);
}

static void run(uint64_t seed)
{
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    struct weir_range items[GAPS_MAX];
    uint8_t buffer[LENGTH_MAX];
    struct shadow shadow = {.is_present = {false}};
    memset(buffer, UNTOUCHED, sizeof(buffer));
    memset(shadow.bytes, UNTOUCHED, sizeof(shadow.bytes));
    struct weir_reassembly reassembly;
    uint64_t length = weir_prng_below(&prng, LENGTH_MAX) + 1;
    weir_reassembly_init(&reassembly, buffer, length, items,
                         (uint32_t)weir_prng_below(&prng, GAPS_MAX) + 1);
    for (int i = 0; i < 5000 && !weir_reassembly_is_complete(&reassembly); i++) {
        step(seed, &prng, &reassembly, &shadow);
        CHECK(seed, memcmp(buffer, shadow.bytes, sizeof(buffer)) == 0);
    }
    CHECK(seed, weir_reassembly_is_complete(&reassembly));
    CHECK(seed, reassembly.ranges.count == 1 && items[0].first == 0 && items[0].last == length - 1);
}

static void follows_a_shadow(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        run(seed);
    }
}

static void nothing_to_put_together(void **state)
{
    (void)state;
    struct weir_reassembly reassembly;
    uint64_t added;
    weir_reassembly_init(&reassembly, NULL, 0, NULL, 0);
    assert_true(weir_reassembly_is_complete(&reassembly));
    assert_int_equal(weir_reassembly_add(&reassembly, 0, weir_span_of(NULL, 0), &added), WEIR_OK);
    assert_int_equal(weir_reassembly_add(&reassembly, 0, weir_span_of("x", 1), &added),
                     WEIR_ERR_INVALID);
    assert_int_equal(weir_reassembly_add(&reassembly, 1, weir_span_of(NULL, 0), &added),
                     WEIR_ERR_INVALID);
}

static void hostile_lengths_are_refused(void **state)
{
    (void)state;
    uint8_t buffer[8];
    struct weir_range items[2];
    struct weir_reassembly reassembly;
    uint64_t added;
    weir_reassembly_init(&reassembly, buffer, sizeof(buffer), items, 2);
    /* Sums that wrap round. */
    assert_int_equal(weir_reassembly_add(&reassembly, UINT64_MAX, weir_span_of(buffer, 2), &added),
                     WEIR_ERR_INVALID);
    assert_int_equal(
        weir_reassembly_add(&reassembly, 4, weir_span_of(buffer, SIZE_MAX - 2), &added),
        WEIR_ERR_INVALID);
    assert_true(added == 0 && reassembly.received_bytes == 0 && reassembly.ranges.count == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_shadow),
        cmocka_unit_test(nothing_to_put_together),
        cmocka_unit_test(hostile_lengths_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
