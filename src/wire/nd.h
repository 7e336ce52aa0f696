/* SPDX-License-Identifier: MIT */
/*
 * nd.h - neighbour solicitations and advertisements, and the link-layer address in them.
 *
 * Spec: RFC 4861 4.3, 4.4, 4.6.1; RFC 4291 2.7.1 (solicited-node address).
 *
 *      | ICMPv6 header, R S O flags in its last 4 bytes | target 16 | options: type, length, ..
 */
#ifndef WEIR_WIRE_ND_H
#define WEIR_WIRE_ND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/eth.h"
#include "wire/icmp.h"

enum {
    /* ICMPv6 header, target, one link-layer address option. */
    WEIR_ND_BYTES = 32,
    WEIR_ND_BYTES_WITHOUT_MAC = 24
};

enum weir_nd_flag {
    WEIR_ND_ROUTER = 0x80,
    WEIR_ND_SOLICITED = 0x40,
    WEIR_ND_OVERRIDE = 0x20
};

struct weir_nd {
    uint8_t type;  /* WEIR_ICMP6_NEIGHBOUR_* */
    uint8_t flags; /* enum weir_nd_flag, of an advertisement */
    bool has_mac;
    uint8_t mac[WEIR_MAC_BYTES]; /* source address of a solicitation, target's of the other */
    uint8_t target[16];
};

/* false: neither of the two, cut off, a code that is not 0, a multicast target, or an option of
 * length 0 (RFC 4861 7.1: MUST be discarded). */
bool weir_nd_decode(const struct weir_icmp *icmp, struct weir_nd *nd);
/* Writes header, target and, with has_mac, the option; returns how many bytes. The checksum is
 * weir_icmp_seal's. */
size_t weir_nd_encode(uint8_t *p, const struct weir_nd *nd);
/* ff02::1:ffxx:xxxx. */
void weir_nd_solicited_node(const uint8_t ip[16], uint8_t group[16]);

#endif
