/* SPDX-License-Identifier: MIT */
/*
 * arp.c - see arp.h.
 */
#include "wire/arp.h"

static const uint8_t ethernet_ip4[6] = {0, 1, 0x08, 0x00, WEIR_MAC_BYTES, 4};

bool weir_arp_decode(const uint8_t *p, size_t length, struct weir_arp *arp)
{
    /* RFC 826, "Packet Reception": is it my hardware, my protocol, and are the lengths theirs? */
    if (length < WEIR_ARP_BYTES || memcmp(p, ethernet_ip4, sizeof(ethernet_ip4)) != 0) {
        return false;
    }
    arp->operation = weir_load16(p + 6);
    memcpy(arp->sender_mac, p + 8, WEIR_MAC_BYTES);
    memcpy(arp->sender_ip, p + 14, 4);
    memcpy(arp->target_mac, p + 18, WEIR_MAC_BYTES);
    memcpy(arp->target_ip, p + 24, 4);
    return arp->operation == WEIR_ARP_REQUEST || arp->operation == WEIR_ARP_REPLY;
}

void weir_arp_encode(uint8_t *p, const struct weir_arp *arp)
{
    memcpy(p, ethernet_ip4, sizeof(ethernet_ip4));
    weir_store16(p + 6, arp->operation);
    memcpy(p + 8, arp->sender_mac, WEIR_MAC_BYTES);
    memcpy(p + 14, arp->sender_ip, 4);
    memcpy(p + 18, arp->target_mac, WEIR_MAC_BYTES);
    memcpy(p + 24, arp->target_ip, 4);
}
