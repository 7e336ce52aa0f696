/* SPDX-License-Identifier: MIT */
/*
 * arp.h - an ARP packet for IPv4 over Ethernet.
 *
 * Spec: RFC 826, "Packet format".
 *
 *      | hardware 1 | protocol 0x0800 | 6 | 4 | operation |
 *      | sender mac 6 | sender ip 4 | target mac 6 | target ip 4 |
 */
#ifndef WEIR_WIRE_ARP_H
#define WEIR_WIRE_ARP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/eth.h"

enum {
    WEIR_ARP_BYTES = 28
};

enum weir_arp_operation {
    WEIR_ARP_REQUEST = 1,
    WEIR_ARP_REPLY = 2
};

struct weir_arp {
    uint16_t operation; /* enum weir_arp_operation */
    uint8_t sender_mac[WEIR_MAC_BYTES], target_mac[WEIR_MAC_BYTES];
    uint8_t sender_ip[4], target_ip[4];
};

/* false: too short, another hardware or protocol, or an operation that is neither. */
bool weir_arp_decode(const uint8_t *p, size_t length, struct weir_arp *arp);
/* Writes WEIR_ARP_BYTES. */
void weir_arp_encode(uint8_t *p, const struct weir_arp *arp);

#endif
