/* SPDX-License-Identifier: MIT */
/*
 * seed.h - random tests that say which seed failed.
 */
#ifndef WEIR_TESTS_UNIT_SEED_H
#define WEIR_TESTS_UNIT_SEED_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/prng.h"

/* Like assert_true, with the seed that replays the failure. */
#define CHECK(seed, condition) check_with_seed((condition), (seed), #condition, __FILE__, __LINE__)

static inline void check_with_seed(bool is_true, uint64_t seed, const char *condition,
                                   const char *file, int line)
{
    if (!is_true) {
        print_error("seed %llu: %s\n", (unsigned long long)seed, condition);
        _fail(file, line);
        abort(); /* not reached: tells static analysis that the test has ended */
    }
}

/* A number whose length in bits is uniform, 0 to bits: small and large values alike. */
static inline uint64_t draw_scaled(struct weir_prng *prng, unsigned bits)
{
    unsigned length = (unsigned)weir_prng_below(prng, bits + 1);
    return length == 0 ? 0 : weir_prng_next(prng) >> (64 - length);
}

#endif
