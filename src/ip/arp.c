/* SPDX-License-Identifier: MIT */
/*
 * arp.c - ARP: answers, questions, announcements, conflicts.
 *
 * Spec: RFC 826 "Packet Reception", "Packet Generation".
 */
#include "wire/arp.h"

#include "ip/internal.h"

/* An address under attack is defended no more often than this. */
static const weir_nsec defend_time = 10 * WEIR_SEC;
static const uint8_t everyone[WEIR_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send_arp(struct weir_ip *ip, const uint8_t mac[WEIR_MAC_BYTES],
                     const struct weir_arp *arp)
{
    uint8_t bytes[WEIR_ARP_BYTES];
    weir_arp_encode(bytes, arp);
    weir_ip_emit_frame(ip, mac, WEIR_ETH_ARP, bytes, sizeof(bytes));
}

static struct weir_arp make_arp(const struct weir_ip *ip, enum weir_arp_operation operation,
                                const uint8_t own[4], const uint8_t target[4])
{
    struct weir_arp arp = {.operation = (uint16_t)operation};
    memcpy(arp.sender_mac, ip->config.mac, WEIR_MAC_BYTES);
    memcpy(arp.sender_ip, own, sizeof(arp.sender_ip));
    memcpy(arp.target_ip, target, sizeof(arp.target_ip));
    return arp;
}

void weir_ip_arp_announce(struct weir_ip *ip, const struct weir_addr *own)
{
    const struct weir_arp arp = make_arp(ip, WEIR_ARP_REQUEST, own->ip, own->ip);
    send_arp(ip, everyone, &arp);
}

/* To the old MAC address when there is one (RFC 1122 2.3.2.1 (2)), else to all. */
void weir_ip_arp_ask(struct weir_ip *ip, const struct weir_ip_neighbour *neighbour)
{
    const struct weir_arp arp =
        make_arp(ip, WEIR_ARP_REQUEST, neighbour->from.ip, neighbour->addr.ip);
    send_arp(ip, neighbour->state == WEIR_IP_NEIGHBOUR_PROBE ? neighbour->mac : everyone, &arp);
}

static void on_conflict(struct weir_ip *ip, weir_nsec now, struct weir_ip_own *own)
{
    ip->stats.conflicts++;
    if (own->defended_at == 0 || now - own->defended_at >= defend_time) {
        own->defended_at = now;
        weir_ip_arp_announce(ip, &own->address.addr);
    }
}

/* Did this come in answer to what we asked? */
static bool is_answer(const struct weir_arp *arp, const struct weir_ip_neighbour *neighbour)
{
    return arp->operation == WEIR_ARP_REPLY && neighbour != NULL &&
           (neighbour->state == WEIR_IP_NEIGHBOUR_INCOMPLETE ||
            neighbour->state == WEIR_IP_NEIGHBOUR_PROBE);
}

void weir_ip_arp_input(struct weir_ip *ip, weir_nsec now, const uint8_t *p, size_t length)
{
    struct weir_arp arp;
    if (!weir_arp_decode(p, length, &arp) || weir_mac_is_group(arp.sender_mac)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ARP);
        return;
    }
    const struct weir_addr sender = weir_ip_read_addr(ip, arp.sender_ip, WEIR_ADDR_IP4);
    const struct weir_addr target = weir_ip_read_addr(ip, arp.target_ip, WEIR_ADDR_IP4);
    struct weir_ip_own *claimed = weir_ip_find_own(ip, &sender);
    bool is_for_us = weir_ip_find_own(ip, &target) != NULL;
    if (claimed != NULL) {
        if (memcmp(arp.sender_mac, ip->config.mac, WEIR_MAC_BYTES) != 0) {
            on_conflict(ip, now, claimed);
        }
        return;
    }
    if (weir_ip_is_unicast(ip, &sender)) {
        /* RFC 826: a pair that is known is brought up to date, a new one is taken when the packet
         * was for us. */
        struct weir_ip_neighbour *neighbour = weir_ip_neighbour_find(ip, &sender);
        if (is_for_us && is_answer(&arp, neighbour)) {
            weir_ip_neighbour_confirm(ip, now, neighbour, arp.sender_mac);
        } else {
            bool is_made = is_for_us && arp.operation == WEIR_ARP_REQUEST;
            weir_ip_neighbour_heard(ip, now, &sender, arp.sender_mac, is_made);
        }
    } else if (!weir_ip_is_unspecified(&sender)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ARP);
        return;
    }
    if (is_for_us && arp.operation == WEIR_ARP_REQUEST) {
        struct weir_arp reply = make_arp(ip, WEIR_ARP_REPLY, arp.target_ip, arp.sender_ip);
        memcpy(reply.target_mac, arp.sender_mac, WEIR_MAC_BYTES);
        send_arp(ip, arp.sender_mac, &reply);
    }
}
