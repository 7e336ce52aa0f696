/* SPDX-License-Identifier: MIT */
/*
 * bytes.h - integers to and from bytes in network order, and sizes that cannot overflow unseen.
 */
#ifndef WEIR_BASE_BYTES_H
#define WEIR_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

static inline uint16_t weir_load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t weir_load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t weir_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void weir_store16(uint8_t *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void weir_store32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void weir_store64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

/* Sums and products of configured sizes: an overflow is a programmer error. */
static inline size_t weir_size_add(size_t a, size_t b)
{
    size_t sum;
    WEIR_ASSERT(!__builtin_add_overflow(a, b, &sum));
    return sum;
}

static inline size_t weir_size_mul(size_t a, size_t b)
{
    size_t product;
    WEIR_ASSERT(!__builtin_mul_overflow(a, b, &product));
    return product;
}

/* size rounded up to a multiple of align, a power of two. */
static inline size_t weir_size_align(size_t size, size_t align)
{
    return weir_size_add(size, align - 1) & ~(align - 1);
}

static inline uint64_t weir_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t weir_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
