/* SPDX-License-Identifier: MIT */
/*
 * prng.h - seeded pseudo-random numbers: the same seed gives the same run.
 *
 * Role: jitter, grease, simulation (xoshiro256**). Not secret: keys and connection ids come from
 * weir_prng_secret_*, a SipHash-2-4 counter stream keyed by the caller's seed of 32 bytes.
 */
#ifndef WEIR_BASE_PRNG_H
#define WEIR_BASE_PRNG_H

#include <stdint.h>

#include "base/hash.h"

struct weir_prng {
    uint64_t s[4];
};

void weir_prng_init(struct weir_prng *prng, uint64_t seed);
uint64_t weir_prng_next(struct weir_prng *prng);
/* Uniform in [0, bound), bound > 0, without modulo bias. */
uint64_t weir_prng_below(struct weir_prng *prng, uint64_t bound);

/* Unpredictable without the seed: connection ids, tokens, derived keys. */
struct weir_prng_secret {
    struct weir_hash_key high, low;
    uint64_t counter;
};

void weir_prng_secret_init(struct weir_prng_secret *prng, const uint8_t seed[32]);
uint64_t weir_prng_secret_next(struct weir_prng_secret *prng);

#endif
