/* SPDX-License-Identifier: MIT */
/*
 * test_arena.c - bump allocation: alignment, the end, reset and the peak.
 */
#include "seed.h"

#include "mem/arena.h"

static void test_takes_in_order(void **state)
{
    (void)state;
    _Alignas(64) uint8_t mem[256];
    struct weir_arena arena;
    weir_arena_init(&arena, mem, sizeof(mem));
    assert_ptr_equal(weir_arena_take(&arena, 3, 1), mem);
    assert_ptr_equal(weir_arena_take(&arena, 8, 8), mem + 8);
    assert_ptr_equal(weir_arena_take(&arena, 1, 64), mem + 64);
    assert_int_equal(arena.used_bytes, 65);
    assert_ptr_equal(weir_arena_take(&arena, 0, 1), mem + 65);
}

static void test_refuses_past_the_end(void **state)
{
    (void)state;
    _Alignas(64) uint8_t mem[128];
    struct weir_arena arena;
    weir_arena_init(&arena, mem, sizeof(mem));
    assert_non_null(weir_arena_take(&arena, 100, 1));
    assert_null(weir_arena_take(&arena, 29, 1));
    assert_null(weir_arena_take(&arena, SIZE_MAX, 1));
    assert_null(weir_arena_take(&arena, 1, 64)); /* the padding alone does not fit */
    assert_int_equal(arena.used_bytes, 100);     /* refusals took nothing */
    assert_ptr_equal(weir_arena_take(&arena, 28, 1), mem + 100);
    assert_null(weir_arena_take(&arena, 1, 1));
}

static void test_reset_keeps_the_peak(void **state)
{
    (void)state;
    _Alignas(64) uint8_t mem[128];
    struct weir_arena arena;
    weir_arena_init(&arena, mem, sizeof(mem));
    assert_non_null(weir_arena_take(&arena, 90, 1));
    weir_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_ptr_equal(weir_arena_take(&arena, 10, 1), mem);
    assert_int_equal(arena.peak_bytes, 90);
}

static void test_aligns_the_address(void **state)
{
    (void)state;
    _Alignas(64) uint8_t mem[256];
    struct weir_arena arena;
    weir_arena_init(&arena, mem + 5, sizeof(mem) - 5); /* the block itself is not aligned */
    for (size_t align = 1; align <= 64; align *= 2) {
        void *taken = weir_arena_take(&arena, 1, align);
        assert_non_null(taken);
        assert_int_equal((uintptr_t)taken % align, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_in_order),
        cmocka_unit_test(test_refuses_past_the_end),
        cmocka_unit_test(test_reset_keeps_the_peak),
        cmocka_unit_test(test_aligns_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
