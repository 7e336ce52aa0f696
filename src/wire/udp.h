/* SPDX-License-Identifier: MIT */
/*
 * udp.h - the UDP header.
 *
 * Spec: RFC 768; RFC 8200 8.1 (the checksum is not optional over IPv6).
 *
 *      | source port | destination port | length | checksum |
 */
#ifndef WEIR_WIRE_UDP_H
#define WEIR_WIRE_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/span.h"

enum {
    WEIR_UDP_HEADER_BYTES = 8,
    WEIR_UDP_CHECKSUM_OFF = 6
};

struct weir_udp_header {
    uint16_t source, target; /* ports */
    struct weir_span data;
    bool has_checksum;
};

/* false: too short for its header or its length field, or a length below 8. What follows after the
 * length is ignored. */
bool weir_udp_decode(const uint8_t *p, size_t length, struct weir_udp_header *udp);
/* p holds a datagram that was decoded; path has its addresses, in any order. One without a checksum
 * is right over IPv4 and wrong over IPv6. */
bool weir_udp_is_checksum_right(const uint8_t *p, const struct weir_udp_header *udp,
                                const struct weir_path *path);
/* Writes the header of the datagram whose data, length bytes, lies at p + 8: ports of path, local
 * first; and the checksum, or with is_partial that of the pseudo-header alone. length: at most
 * 65,527. */
void weir_udp_encode(uint8_t *p, uint32_t length, const struct weir_path *path, bool is_partial);

#endif
