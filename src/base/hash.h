/* SPDX-License-Identifier: MIT */
/*
 * hash.h - SipHash: a keyed hash that a stranger cannot aim.
 *
 * Role: connection tables (1-3), cookies and tokens (2-4).
 * Spec: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct weir_hash_key {
    uint64_t k0, k1;
};

/* SipHash-2-4 of any bytes: a pseudo-random function, for what must not be forged. */
uint64_t weir_hash24(const struct weir_hash_key *key, const void *data, size_t length);
/* SipHash-1-3 of any bytes: for tables. */
uint64_t weir_hash13(const struct weir_hash_key *key, const void *data, size_t length);
/* SipHash-1-3 of the 8 bytes of value in memory order, faster. */
uint64_t weir_hash13_u64(const struct weir_hash_key *key, uint64_t value);

#endif
