/* SPDX-License-Identifier: MIT */
/*
 * scale.h - products that are divided again, exact beyond 64 bits.
 *
 * Role: rates (bytes/s) times times (ns), windows times gains. Nearly all products fit in 64 bits;
 * the 128-bit division is the rare path.
 */
#ifndef WEIR_CORE_SCALE_H
#define WEIR_CORE_SCALE_H

#include <stdint.h>

/* a * b / divisor rounded down, UINT64_MAX when that does not fit. divisor > 0. */
static inline uint64_t weir_scale(uint64_t a, uint64_t b, uint64_t divisor)
{
    uint64_t product;
    if (!__builtin_mul_overflow(a, b, &product)) {
        return product / divisor;
    }
    unsigned __int128 quotient = (unsigned __int128)a * b / divisor;
    return quotient > UINT64_MAX ? UINT64_MAX : (uint64_t)quotient;
}

/* The same rounded up. */
static inline uint64_t weir_scale_up(uint64_t a, uint64_t b, uint64_t divisor)
{
    unsigned __int128 product = (unsigned __int128)a * b + (divisor - 1);
    if (product <= UINT64_MAX) {
        return (uint64_t)product / divisor;
    }
    unsigned __int128 quotient = product / divisor;
    return quotient > UINT64_MAX ? UINT64_MAX : (uint64_t)quotient;
}

static inline uint64_t weir_add_saturated(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

#endif
