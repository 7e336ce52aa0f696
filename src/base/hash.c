/* SPDX-License-Identifier: MIT */
/*
 * hash.c - SipHash-2-4 and SipHash-1-3.
 *
 * Spec: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, section 2. Words are read
 * in the host's order, which this library takes to be little-endian, as the specification wants.
 */
#include "base/hash.h"

#include <string.h>

enum {
    FINAL_MARK = 0xff
};

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void mix(struct sip *sip)
{
    sip->v0 += sip->v1;
    sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
    sip->v0 = rotate(sip->v0, 32);
    sip->v2 += sip->v3;
    sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
    sip->v0 += sip->v3;
    sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
    sip->v2 += sip->v1;
    sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
    sip->v2 = rotate(sip->v2, 32);
}

static inline struct sip start(const struct weir_hash_key *key)
{
    /* The four constants spell "somepseudorandomlygeneratedbytes". */
    return (struct sip){.v0 = key->k0 ^ 0x736f6d6570736575,
                        .v1 = key->k1 ^ 0x646f72616e646f6d,
                        .v2 = key->k0 ^ 0x6c7967656e657261,
                        .v3 = key->k1 ^ 0x7465646279746573};
}

static inline void absorb(struct sip *sip, uint64_t word, int rounds)
{
    sip->v3 ^= word;
    for (int i = 0; i < rounds; i++) {
        mix(sip);
    }
    sip->v0 ^= word;
}

static inline uint64_t finish(struct sip *sip, int rounds)
{
    sip->v2 ^= FINAL_MARK;
    for (int i = 0; i < rounds; i++) {
        mix(sip);
    }
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

/* The last word: the bytes that are left over, and the length modulo 256 on top. */
static inline uint64_t last_word(const uint8_t *rest, size_t length)
{
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % 8; i++) {
        word |= (uint64_t)rest[i] << (8 * i);
    }
    return word;
}

/* Always inlined, with constant rounds: 2-4 and 1-3 are two unrolled functions. */
__attribute__((always_inline)) static inline uint64_t hash_bytes(const struct weir_hash_key *key,
                                                                 const uint8_t *bytes,
                                                                 size_t length, int absorb_rounds,
                                                                 int finish_rounds)
{
    struct sip sip = start(key);
    size_t whole = length & ~(size_t)7;
    for (size_t off = 0; off < whole; off += 8) {
        uint64_t word;
        memcpy(&word, bytes + off, sizeof(word));
        absorb(&sip, word, absorb_rounds);
    }
    uint64_t last = whole == length ? (uint64_t)length << 56 : last_word(bytes + whole, length);
    absorb(&sip, last, absorb_rounds);
    return finish(&sip, finish_rounds);
}

uint64_t weir_hash24(const struct weir_hash_key *key, const void *data, size_t length)
{
    return hash_bytes(key, data, length, 2, 4);
}

uint64_t weir_hash13(const struct weir_hash_key *key, const void *data, size_t length)
{
    return hash_bytes(key, data, length, 1, 3);
}

uint64_t weir_hash13_u64(const struct weir_hash_key *key, uint64_t value)
{
    struct sip sip = start(key);
    absorb(&sip, value, 1);
    absorb(&sip, (uint64_t)sizeof(value) << 56, 1);
    return finish(&sip, 3);
}
