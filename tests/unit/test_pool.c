/* SPDX-License-Identifier: MIT */
/*
 * test_pool.c - equal-sized elements: the bound, reuse, untouched memory.
 */
#include "seed.h"

#include <string.h>

#include "mem/pool.h"

enum {
    ELEMENT_BYTES = 24,
    COUNT = 50
};

static void test_takes_each_once(void **state)
{
    (void)state;
    uint8_t mem[ELEMENT_BYTES * COUNT];
    struct weir_pool pool;
    bool is_taken[COUNT] = {false};
    weir_pool_init(&pool, mem, ELEMENT_BYTES, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        void *element = weir_pool_take(&pool);
        assert_non_null(element);
        uint32_t index = weir_pool_index(&pool, element);
        assert_in_range(index, 0, COUNT - 1);
        assert_false(is_taken[index]);
        is_taken[index] = true;
        assert_ptr_equal(weir_pool_at(&pool, index), element);
        memset(element, 0xee, ELEMENT_BYTES);
    }
    assert_null(weir_pool_take(&pool));
    assert_int_equal(weir_pool_left(&pool), 0);
    assert_int_equal(pool.used_peak, COUNT);
}

static void test_reuses_last_given_first(void **state)
{
    (void)state;
    uint8_t mem[ELEMENT_BYTES * COUNT];
    struct weir_pool pool;
    weir_pool_init(&pool, mem, ELEMENT_BYTES, COUNT);
    void *a = weir_pool_take(&pool);
    void *b = weir_pool_take(&pool);
    weir_pool_give(&pool, a);
    weir_pool_give(&pool, b);
    assert_ptr_equal(weir_pool_take(&pool), b);
    assert_ptr_equal(weir_pool_take(&pool), a);
}

static void test_leaves_the_rest_untouched(void **state)
{
    (void)state;
    uint8_t mem[ELEMENT_BYTES * COUNT];
    memset(mem, 0x77, sizeof(mem));
    struct weir_pool pool;
    weir_pool_init(&pool, mem, ELEMENT_BYTES, COUNT);
    void *a = weir_pool_take(&pool);
    void *b = weir_pool_take(&pool);
    weir_pool_give(&pool, a);
    weir_pool_give(&pool, b);
    for (size_t i = (size_t)2 * ELEMENT_BYTES; i < sizeof(mem); i++) {
        assert_int_equal(mem[i], 0x77);
    }
}

static void run_random(uint64_t seed)
{
    struct weir_prng prng;
    struct weir_pool pool;
    uint8_t mem[ELEMENT_BYTES * COUNT];
    uint8_t *held[COUNT];
    uint32_t count = 0;
    weir_prng_init(&prng, seed);
    weir_pool_init(&pool, mem, ELEMENT_BYTES, COUNT);
    for (int step = 0; step < 3000; step++) {
        if (weir_prng_below(&prng, 2) == 0) {
            uint8_t *element = weir_pool_take(&pool);
            CHECK(seed, (element == NULL) == (count == COUNT));
            if (element != NULL) {
                memset(element, (int)weir_pool_index(&pool, element), ELEMENT_BYTES);
                held[count++] = element;
            }
        } else if (count > 0) {
            uint64_t which = weir_prng_below(&prng, count);
            uint32_t index = weir_pool_index(&pool, held[which]);
            for (size_t i = 0; i < ELEMENT_BYTES; i++) {
                CHECK(seed, held[which][i] == index); /* nobody else wrote here */
            }
            weir_pool_give(&pool, held[which]);
            held[which] = held[--count];
        }
        CHECK(seed, pool.used == count && weir_pool_left(&pool) == COUNT - count);
    }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run_random(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_each_once),
        cmocka_unit_test(test_reuses_last_given_first),
        cmocka_unit_test(test_leaves_the_rest_untouched),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
