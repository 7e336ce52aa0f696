/* SPDX-License-Identifier: MIT */
/*
 * test_store.c - the buddy allocator: sizes, alignment, joining, and random use against a shadow.
 */
#include "seed.h"

#include <string.h>

#include "mem/store.h"

enum {
    BUDGET = 1 << 20,
    HELD_MAX = 300
};

static struct weir_store *make_store(size_t budget, void **mem)
{
    size_t size = weir_store_mem_size(budget);
    *mem = aligned_alloc(64, (size + 63) & ~(size_t)63);
    assert_non_null(*mem);
    memset(*mem, 0xa5, size); /* the store must not count on zeros */
    return weir_store_init(*mem, budget);
}

static void test_block_bytes(void **state)
{
    (void)state;
    assert_int_equal(weir_store_block_bytes(0), 64);
    assert_int_equal(weir_store_block_bytes(64), 64);
    assert_int_equal(weir_store_block_bytes(65), 128);
    assert_int_equal(weir_store_block_bytes(4096), 4096);
    assert_int_equal(weir_store_block_bytes(4097), 8192);
    assert_int_equal(weir_store_block_bytes(WEIR_STORE_BLOCK_MAX), WEIR_STORE_BLOCK_MAX);
}

static void test_whole_budget_in_one_block(void **state)
{
    (void)state;
    void *mem;
    struct weir_store *store = make_store(BUDGET, &mem);
    void *all = weir_store_take(store, BUDGET);
    assert_non_null(all);
    assert_int_equal((uintptr_t)all % 4096, 0);
    memset(all, 1, BUDGET);
    assert_int_equal(weir_store_used_bytes(store), BUDGET);
    assert_null(weir_store_take(store, 1));
    assert_null(weir_store_take(store, (size_t)WEIR_STORE_BLOCK_MAX + 1));
    weir_store_give(store, all, BUDGET);
    assert_int_equal(weir_store_used_bytes(store), 0);
    free(mem);
}

static void test_small_blocks_join_again(void **state)
{
    (void)state;

    enum {
        BLOCKS = BUDGET / 64
    };

    static void *blocks[BLOCKS];
    void *mem;
    struct weir_store *store = make_store(BUDGET, &mem);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = weir_store_take(store, 64);
        assert_non_null(blocks[i]);
    }
    assert_null(weir_store_take(store, 64));
    /* Odd ones first: nothing can be joined until the even ones come. */
    for (size_t i = 1; i < BLOCKS; i += 2) {
        weir_store_give(store, blocks[i], 64);
    }
    assert_null(weir_store_take(store, 128));
    for (size_t i = 0; i < BLOCKS; i += 2) {
        weir_store_give(store, blocks[i], 64);
    }
    assert_non_null(weir_store_take(store, BUDGET));
    free(mem);
}

static void test_budget_that_is_no_power_of_two(void **state)
{
    (void)state;
    void *mem;
    struct weir_store *store = make_store(3 * 65536 + 1, &mem); /* 3 * 64 KiB + 4 KiB */
    void *a = weir_store_take(store, 131072);
    void *b = weir_store_take(store, 65536);
    void *c = weir_store_take(store, 4096);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_null(weir_store_take(store, 1));
    weir_store_give(store, b, 65536);
    weir_store_give(store, c, 4096);
    assert_null(weir_store_take(store, 131072)); /* b has no buddy in the region */
    assert_ptr_equal(weir_store_take(store, 65536), b);
    free(mem);
}

static void test_untouched_stays_untouched(void **state)
{
    (void)state;
    void *mem;
    struct weir_store *store = make_store(BUDGET, &mem);
    uint8_t *block = weir_store_take(store, 1000);
    assert_non_null(block);
    weir_store_give(store, block, 1000);
    for (size_t i = 0; i < BUDGET; i++) {
        assert_int_equal(block[i], 0xa5); /* the lowest block: the region begins here */
    }
    free(mem);
}

struct held {
    uint8_t *block;
    size_t size;
    uint8_t fill;
};

static void check_fill(uint64_t seed, const struct held *held)
{
    for (size_t i = 0; i < held->size; i++) {
        CHECK(seed, held->block[i] == held->fill);
    }
}

static void take_random(uint64_t seed, struct weir_store *store, struct weir_prng *prng,
                        struct held *held)
{
    held->size = (size_t)draw_scaled(prng, 16);
    held->fill = (uint8_t)weir_prng_next(prng);
    held->block = weir_store_take(store, held->size);
    if (held->block != NULL) {
        size_t block = weir_store_block_bytes(held->size);
        CHECK(seed, (uintptr_t)held->block % (block < 4096 ? block : 4096) == 0);
        memset(held->block, held->fill, held->size);
    }
}

static void run_random(uint64_t seed)
{
    struct weir_prng prng;
    static struct held held[HELD_MAX];
    size_t count = 0;
    size_t used = 0;
    void *mem;
    struct weir_store *store = make_store(BUDGET, &mem);
    weir_prng_init(&prng, seed);
    for (int step = 0; step < 3000; step++) {
        if (count < HELD_MAX && weir_prng_below(&prng, 5) < 3) {
            take_random(seed, store, &prng, &held[count]);
            if (held[count].block != NULL) {
                used += weir_store_block_bytes(held[count].size);
                count++;
            }
        } else if (count > 0) {
            size_t which = (size_t)weir_prng_below(&prng, count);
            check_fill(seed, &held[which]);
            weir_store_give(store, held[which].block, held[which].size);
            used -= weir_store_block_bytes(held[which].size);
            held[which] = held[--count];
        }
        CHECK(seed, weir_store_used_bytes(store) == used && used <= BUDGET);
    }
    while (count > 0) {
        count--;
        check_fill(seed, &held[count]);
        weir_store_give(store, held[count].block, held[count].size);
    }
    CHECK(seed, weir_store_used_bytes(store) == 0);
    CHECK(seed, weir_store_take(store, BUDGET) != NULL); /* all of it joined again */
    free(mem);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 15; seed++) {
        run_random(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_bytes),
        cmocka_unit_test(test_whole_budget_in_one_block),
        cmocka_unit_test(test_small_blocks_join_again),
        cmocka_unit_test(test_budget_that_is_no_power_of_two),
        cmocka_unit_test(test_untouched_stays_untouched),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
