/* SPDX-License-Identifier: MIT */
/*
 * test_ranges.c - the set of ranges against a bitmap.
 */
#include "seed.h"

#include <string.h>

#include "core/ranges.h"

enum {
    NUMBERS = 200,
    RANGES_MAX = 24
};

/* A window of NUMBERS numbers from base on: at 0, in the middle, and at the very end. */
struct model {
    uint64_t base;
    bool is_present[NUMBERS];
};

static uint32_t count_runs(const struct model *model)
{
    uint32_t runs = 0;
    for (int i = 0; i < NUMBERS; i++) {
        runs += model->is_present[i] && (i == 0 || !model->is_present[i - 1]);
    }
    return runs;
}

static void check_equal(uint64_t seed, const struct weir_ranges *ranges, const struct model *model)
{
    CHECK(seed, ranges->count <= ranges->max);
    CHECK(seed, ranges->count == count_runs(model));
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct weir_range *range = &ranges->items[i];
        CHECK(seed, range->first <= range->last);
        CHECK(seed, i == 0 || range->first - 1 > ranges->items[i - 1].last);
    }
    for (uint64_t i = 0; i < NUMBERS; i++) {
        CHECK(seed, weir_ranges_contains(ranges, model->base + i) == model->is_present[i]);
    }
}

static void add(uint64_t seed, struct weir_prng *prng, struct weir_ranges *ranges,
                struct model *model)
{
    uint64_t first = weir_prng_below(prng, NUMBERS);
    uint64_t longest = NUMBERS - first < 6 || weir_prng_below(prng, 50) == 0 ? NUMBERS - first : 6;
    uint64_t last = first + weir_prng_below(prng, longest);
    struct model after = *model;
    uint64_t expected = 0;
    for (uint64_t i = first; i <= last; i++) {
        expected += !after.is_present[i];
        after.is_present[i] = true;
    }
    uint64_t added;
    enum weir_status status =
        weir_ranges_add(ranges, model->base + first, model->base + last, &added);
    if (count_runs(&after) > ranges->max) {
        CHECK(seed, status == WEIR_ERR_FULL && added == 0);
        return;
    }
    CHECK(seed, status == WEIR_OK && added == expected);
    *model = after;
}

static void remove_below(struct weir_prng *prng, struct weir_ranges *ranges, struct model *model)
{
    uint64_t floor = weir_prng_below(prng, weir_prng_below(prng, 8) == 0 ? NUMBERS : 10);
    weir_ranges_remove_below(ranges, model->base + floor);
    memset(model->is_present, 0, floor * sizeof(model->is_present[0]));
}

static void run(uint64_t seed, uint64_t base)
{
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    struct weir_range items[RANGES_MAX];
    struct weir_ranges ranges;
    struct model model = {.base = base};
    weir_ranges_init(&ranges, items, (uint32_t)weir_prng_below(&prng, RANGES_MAX) + 1);
    for (int i = 0; i < 300; i++) {
        if (weir_prng_below(&prng, 10) == 0) {
            remove_below(&prng, &ranges, &model);
        } else {
            add(seed, &prng, &ranges, &model);
        }
        check_equal(seed, &ranges, &model);
    }
}

static void follows_a_bitmap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        run(seed, 0);
        run(seed, (uint64_t)1 << 40);
        run(seed, UINT64_MAX - (NUMBERS - 1));
    }
}

static void takes_all_numbers(void **state)
{
    (void)state;
    struct weir_range items[2];
    struct weir_ranges ranges;
    uint64_t added;
    weir_ranges_init(&ranges, items, 2);
    assert_false(weir_ranges_contains(&ranges, 0));
    assert_int_equal(weir_ranges_add(&ranges, 0, 0, &added), WEIR_OK);
    assert_int_equal(weir_ranges_add(&ranges, UINT64_MAX, UINT64_MAX, &added), WEIR_OK);
    assert_int_equal(ranges.count, 2);
    assert_int_equal(weir_ranges_add(&ranges, 5, 6, &added), WEIR_ERR_FULL);
    assert_int_equal(ranges.count, 2);
    assert_int_equal(weir_ranges_add(&ranges, 1, UINT64_MAX - 1, &added), WEIR_OK);
    assert_true(added == UINT64_MAX - 1);
    assert_int_equal(ranges.count, 1);
    assert_true(weir_ranges_contains(&ranges, UINT64_MAX));
    assert_int_equal(weir_ranges_add(&ranges, 0, UINT64_MAX, &added), WEIR_OK);
    assert_true(added == 0);
    weir_ranges_remove_below(&ranges, UINT64_MAX);
    assert_int_equal(ranges.count, 1);
    assert_true(items[0].first == UINT64_MAX && items[0].last == UINT64_MAX);
}

static void search_gives_the_next_range(void **state)
{
    (void)state;
    struct weir_range items[4] = {{10, 19}, {30, 39}, {50, 50}};
    const struct weir_ranges ranges = {.items = items, .count = 3, .max = 4};
    assert_int_equal(weir_ranges_search(&ranges, 0), 0);
    assert_int_equal(weir_ranges_search(&ranges, 19), 0);
    assert_int_equal(weir_ranges_search(&ranges, 20), 1);
    assert_int_equal(weir_ranges_search(&ranges, 50), 2);
    assert_int_equal(weir_ranges_search(&ranges, 51), 3);
}

static void no_room_at_all(void **state)
{
    (void)state;
    struct weir_ranges ranges;
    uint64_t added = 7;
    weir_ranges_init(&ranges, NULL, 0);
    assert_int_equal(weir_ranges_add(&ranges, 1, 1, &added), WEIR_ERR_FULL);
    assert_true(added == 0);
    weir_ranges_remove_below(&ranges, 9);
    assert_false(weir_ranges_contains(&ranges, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_bitmap),
        cmocka_unit_test(takes_all_numbers),
        cmocka_unit_test(search_gives_the_next_range),
        cmocka_unit_test(no_room_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
