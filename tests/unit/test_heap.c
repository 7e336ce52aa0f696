/* SPDX-License-Identifier: MIT */
/*
 * test_heap.c - blocks of every size: apart, aligned, given out again, and bounded where they are
 * long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/heap.h"
#include "unit/seed.h"

enum {
    BLOCKS = 200,
    STEPS = 20000,
    BYTES_MAX = 3 << 20
};

static struct block {
    uint8_t *bytes;
    size_t length;
    uint8_t mark;
} blocks[BLOCKS];

static void test_sizes(void **state)
{
    struct cli_heap heap = {0};
    (void)state;
    for (size_t bytes = 1; bytes <= BYTES_MAX; bytes = bytes * 5 / 3 + 1) {
        uint8_t *block = cli_heap_take(&heap, bytes);
        assert_non_null(block);
        memset(block, 0xab, bytes);
        cli_heap_give(&heap, block, bytes);
        block = cli_heap_take_zeroed(&heap, bytes);
        assert_non_null(block);
        assert_int_equal(block[0] | block[bytes / 2] | block[bytes - 1], 0);
        cli_heap_give(&heap, block, bytes);
    }
    cli_heap_give(&heap, NULL, 7);
    cli_heap_fini(&heap);
}

/* All short enough, most far shorter. */
static size_t draw_length(struct weir_prng *prng)
{
    return 1 + (size_t)draw_scaled(prng, 21);
}

static void check(const struct block *block)
{
    assert_int_equal(block->bytes[0], block->mark);
    assert_int_equal(block->bytes[block->length - 1], block->mark);
    assert_int_equal(block->bytes[block->length / 2], block->mark);
}

/* What is written into one never shows in another. */
static void test_random_use(void **state)
{
    struct cli_heap heap = {0};
    struct weir_prng prng;
    (void)state;
    weir_prng_init(&prng, 1);
    for (uint32_t step = 0; step < STEPS; step++) {
        struct block *block = &blocks[weir_prng_below(&prng, BLOCKS)];
        if (block->bytes != NULL) {
            check(block);
            cli_heap_give(&heap, block->bytes, block->length);
        }
        block->length = draw_length(&prng);
        block->mark = (uint8_t)step;
        block->bytes = cli_heap_take(&heap, block->length);
        assert_non_null(block->bytes);
        memset(block->bytes, block->mark, block->length);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (blocks[i].bytes != NULL) {
            check(&blocks[i]);
            cli_heap_give(&heap, blocks[i].bytes, blocks[i].length);
        }
    }
    cli_heap_fini(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_random_use)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
