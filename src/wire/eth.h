/* SPDX-License-Identifier: MIT */
/*
 * eth.h - the Ethernet header.
 *
 * Spec: RFC 894; RFC 2464 2; RFC 1112 6.4 and RFC 2464 7 (multicast addresses).
 *
 *      | destination 6 | source 6 | type 2 | payload
 */
#ifndef WEIR_WIRE_ETH_H
#define WEIR_WIRE_ETH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

enum {
    WEIR_MAC_BYTES = 6,
    WEIR_ETH_HEADER_BYTES = 14
};

enum weir_eth_type {
    WEIR_ETH_IP4 = 0x0800,
    WEIR_ETH_ARP = 0x0806,
    WEIR_ETH_IP6 = 0x86dd
};

struct weir_eth {
    uint8_t destination[WEIR_MAC_BYTES], source[WEIR_MAC_BYTES];
    uint16_t type; /* enum weir_eth_type, or a length below 1,536 (IEEE 802.3) */
};

/* false: shorter than a header. */
static inline bool weir_eth_decode(const uint8_t *p, size_t length, struct weir_eth *eth)
{
    if (length < WEIR_ETH_HEADER_BYTES) {
        return false;
    }
    memcpy(eth->destination, p, WEIR_MAC_BYTES);
    memcpy(eth->source, p + WEIR_MAC_BYTES, WEIR_MAC_BYTES);
    eth->type = weir_load16(p + 12);
    return true;
}

/* Writes WEIR_ETH_HEADER_BYTES. */
static inline void weir_eth_encode(uint8_t *p, const struct weir_eth *eth)
{
    memcpy(p, eth->destination, WEIR_MAC_BYTES);
    memcpy(p + WEIR_MAC_BYTES, eth->source, WEIR_MAC_BYTES);
    weir_store16(p + 12, eth->type);
}

/* Broadcast included. */
static inline bool weir_mac_is_group(const uint8_t mac[WEIR_MAC_BYTES])
{
    return (mac[0] & 1) != 0;
}

/* The group address that an IPv4 (4 bytes) or IPv6 (16 bytes) multicast address travels to. */
static inline void weir_mac_of_group(const uint8_t *ip, size_t ip_bytes,
                                     uint8_t mac[WEIR_MAC_BYTES])
{
    if (ip_bytes == 4) {
        /* RFC 1112 6.4: the low 23 bits behind 01-00-5e. */
        const uint8_t group[WEIR_MAC_BYTES] = {0x01, 0x00, 0x5e, ip[1] & 0x7f, ip[2], ip[3]};
        memcpy(mac, group, WEIR_MAC_BYTES);
    } else {
        /* RFC 2464 7: the last four bytes behind 33-33. */
        mac[0] = mac[1] = 0x33;
        memcpy(mac + 2, ip + 12, 4);
    }
}

#endif
