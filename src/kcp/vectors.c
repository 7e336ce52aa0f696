/* SPDX-License-Identifier: MIT */
/*
 * vectors.c - clears the upper halves of the vector registers, where there are any.
 */
#include "kcp/vectors.h"

#ifdef __x86_64__
#include <immintrin.h>

/* A function of its own, so that the compiler keeps no value in what is cleared. */
__attribute__((noinline, target("avx"))) static void clear_upper_halves(void)
{
    _mm256_zeroupper();
}
#endif

void weir_kcp_clear_vectors(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx")) {
        clear_upper_halves();
    }
#endif
}
