/* SPDX-License-Identifier: MIT */
/*
 * fec_matrix.c - Lagrange's formula over GF(2^8): addition and subtraction are both XOR.
 */
#include "kcp/fec_matrix.h"

#include <isa-l/erasure_code.h>

#include "base/assert.h"

enum {
    POINTS = 256
};

/* The product of (x - known[m]) over all m, or over all but the one at x. */
static uint8_t product_of_distances(uint8_t x, const uint8_t *known, size_t known_count)
{
    uint8_t product = 1;
    for (size_t m = 0; m < known_count; m++) {
        if (known[m] != x) {
            product = gf_mul(product, (uint8_t)(x ^ known[m]));
        }
    }
    return product;
}

void weir_kcp_fec_coefficients(const uint8_t *known, size_t known_count, const uint8_t *wanted,
                               size_t wanted_count, uint8_t *coefficients)
{
    uint8_t numerators[POINTS];
    WEIR_ASSERT(known_count + wanted_count <= POINTS);
    for (size_t i = 0; i < wanted_count; i++) {
        numerators[i] = product_of_distances(wanted[i], known, known_count);
    }
    for (size_t k = 0; k < known_count; k++) {
        uint8_t denominator = product_of_distances(known[k], known, known_count);
        for (size_t i = 0; i < wanted_count; i++) {
            uint8_t distance = (uint8_t)(wanted[i] ^ known[k]);
            uint8_t inverse = gf_inv(gf_mul(denominator, distance));
            coefficients[i * known_count + k] = gf_mul(numerators[i], inverse);
        }
    }
}
