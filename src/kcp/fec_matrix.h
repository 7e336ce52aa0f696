/* SPDX-License-Identifier: MIT */
/*
 * fec_matrix.h - the coefficients of kcp-go's Reed-Solomon code, for sending and for recovering.
 *
 * Role: pure arithmetic over GF(2^8) with the polynomial 0x11d.
 *
 * The code is "a Vandermonde matrix of points 0, 1, 2 .. made systematic by the inverse of its top
 * square". Said otherwise: the data shards are the values, at the points 0 to data-1, of the one
 * polynomial of lower degree than data that passes through them, and parity shard k is its value at
 * data+k. So Lagrange's formula gives every coefficient directly, and whatever shards arrived give
 * the missing ones: no matrix is inverted, and a group costs data^2 multiplications, not data^3.
 */
#ifndef WEIR_KCP_FEC_MATRIX_H
#define WEIR_KCP_FEC_MATRIX_H

#include <stddef.h>
#include <stdint.h>

/* What the shards known[] (their places in the group) contribute to the shards wanted[]:
 * coefficients[i * known_count + k]. No place twice; together at most 256. */
void weir_kcp_fec_coefficients(const uint8_t *known, size_t known_count, const uint8_t *wanted,
                               size_t wanted_count, uint8_t *coefficients);

#endif
