/* SPDX-License-Identifier: MIT */
/*
 * prng.c - xoshiro256** seeded by splitmix64, and a keyed counter stream for secrets.
 *
 * Spec: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021 (xoshiro256**);
 * Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (splitmix64).
 */
#include "base/prng.h"

#include <string.h>

#include "base/assert.h"

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t splitmix(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void weir_prng_init(struct weir_prng *prng, uint64_t seed)
{
    /* splitmix64 is a bijection of its counter, so the four words cannot all be zero, the one state
     * that xoshiro256** never leaves. */
    for (int i = 0; i < 4; i++) {
        prng->s[i] = splitmix(&seed);
    }
}

uint64_t weir_prng_next(struct weir_prng *prng)
{
    uint64_t *s = prng->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t weir_prng_below(struct weir_prng *prng, uint64_t bound)
{
    WEIR_ASSERT(bound > 0);
    /* The high word of draw * bound is uniform once the draws are dropped whose low word falls
     * short of 2^64 mod bound (Lemire, "Fast random integer generation in an interval", 2019). */
    unsigned __int128 product = (unsigned __int128)weir_prng_next(prng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t floor = -bound % bound;
        while ((uint64_t)product < floor) {
            product = (unsigned __int128)weir_prng_next(prng) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

void weir_prng_secret_init(struct weir_prng_secret *prng, const uint8_t seed[32])
{
    uint64_t words[4];
    memcpy(words, seed, sizeof(words));
    prng->high = (struct weir_hash_key){.k0 = words[0], .k1 = words[1]};
    prng->low = (struct weir_hash_key){.k0 = words[2], .k1 = words[3]};
    prng->counter = 0;
}

uint64_t weir_prng_secret_next(struct weir_prng_secret *prng)
{
    /* Two functions under independent keys, added: who wants to predict the stream must break both,
     * and all 32 bytes of the seed count. Their inputs differ so that a seed with equal halves does
     * not cancel out. */
    uint64_t up = prng->counter++;
    uint64_t down = ~up;
    return weir_hash24(&prng->high, &up, sizeof(up)) ^ weir_hash24(&prng->low, &down, sizeof(down));
}
