/* SPDX-License-Identifier: MIT */
/*
 * checksum.h - the Internet checksum: of bytes, with a pseudo-header, and changed in place.
 *
 * Role: IPv4, ICMP, UDP and TCP. Sums are of 16-bit words as they lie in memory, so that they need
 * no swapping: what comes out is stored as it is, by memcpy.
 * Spec: RFC 1071; RFC 9293 3.1 and RFC 8200 8.1 for the pseudo-headers.
 */
#ifndef WEIR_WIRE_CHECKSUM_H
#define WEIR_WIRE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"

/* Adds bytes to a sum, 0 at first. All pieces but the last have an even length. */
uint64_t weir_checksum_add(uint64_t sum, const void *bytes, size_t length);
/* Adds the addresses of path, its protocol and the length of what follows. */
uint64_t weir_checksum_pseudo(const struct weir_path *path, uint8_t protocol, uint32_t length);

/* The field's value, as it lies in memory; 0 of bytes that hold a right checksum. */
static inline uint16_t weir_checksum_fold(uint64_t sum)
{
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (uint16_t)~sum;
}

/* RFC 1624 3: the checksum after one aligned 16-bit word of what it covers has changed. All three
 * as they lie in memory. */
static inline uint16_t weir_checksum_update(uint16_t checksum, uint16_t before, uint16_t after)
{
    uint64_t sum = (uint64_t)(uint16_t)~checksum + (uint16_t)~before + after;
    return weir_checksum_fold(sum);
}

#endif
