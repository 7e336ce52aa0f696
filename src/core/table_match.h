/* SPDX-License-Identifier: MIT */
/*
 * table_match.h - which of 32 tags equal one byte: a bit each, the first tag the lowest.
 *
 * Role: the inner step of the connection table. The form for SSE2 or AVX2 is chosen by the
 * compiler's target, the portable one otherwise or with WEIR_TABLE_PORTABLE; both always exist
 * where the processor allows, and the unit test compares them.
 */
#ifndef WEIR_CORE_TABLE_MATCH_H
#define WEIR_CORE_TABLE_MATCH_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum {
    WEIR_TABLE_GROUP_TAGS = 32
};

/* Eight tags at a time in a 64-bit word (little-endian). */
static inline uint32_t weir_table_match_portable(const uint8_t *tags, uint8_t tag)
{
    const uint64_t low_bits = 0x7f7f7f7f7f7f7f7f;
    uint32_t mask = 0;
    for (unsigned i = 0; i < WEIR_TABLE_GROUP_TAGS; i += 8) {
        uint64_t word;
        memcpy(&word, tags + i, sizeof(word));
        word ^= tag * (uint64_t)0x0101010101010101;
        /* The top bit of each byte that is zero, exactly: no carry leaves a byte. */
        uint64_t zeros = ~(((word & low_bits) + low_bits) | word | low_bits);
        /* The product brings the eight bits together in its top byte, none on another. */
        uint64_t gathered = ((zeros >> 7) * (uint64_t)0x0102040810204080) >> 56;
        mask |= (uint32_t)gathered << i;
    }
    return mask;
}

#ifdef __SSE2__
/* tags: 32-byte aligned. */
static inline uint32_t weir_table_match_vector(const uint8_t *tags, uint8_t tag)
{
#ifdef __AVX2__
    __m256i group = _mm256_load_si256((const __m256i *)(const void *)tags);
    __m256i equal = _mm256_cmpeq_epi8(group, _mm256_set1_epi8((char)tag));
    return (uint32_t)_mm256_movemask_epi8(equal);
#else
    const __m128i *groups = (const __m128i *)(const void *)tags;
    __m128i wanted = _mm_set1_epi8((char)tag);
    __m128i low = _mm_cmpeq_epi8(_mm_load_si128(groups), wanted);
    __m128i high = _mm_cmpeq_epi8(_mm_load_si128(groups + 1), wanted);
    return (uint32_t)_mm_movemask_epi8(low) | ((uint32_t)_mm_movemask_epi8(high) << 16);
#endif
}
#endif

/* tags: 32-byte aligned. */
static inline uint32_t weir_table_match(const uint8_t *tags, uint8_t tag)
{
#if defined(__SSE2__) && !defined(WEIR_TABLE_PORTABLE)
    return weir_table_match_vector(tags, tag);
#else
    return weir_table_match_portable(tags, tag);
#endif
}

#endif
