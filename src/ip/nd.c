/* SPDX-License-Identifier: MIT */
/*
 * nd.c - neighbour discovery: answers, questions, announcements, duplicate addresses.
 *
 * Spec: RFC 4861 7.1, 7.2; RFC 4862 5.4. Routers are configured, not discovered.
 */
#include "wire/nd.h"

#include "ip/internal.h"

/* RFC 4861 10: RETRANS_TIMER, after which an address counts as unique (RFC 4862 5.4). */
static const weir_nsec duplicate_time = WEIR_SEC;
static const weir_nsec defend_time = 10 * WEIR_SEC;

/* Sends nd to a MAC address that is known without asking. */
static void send_nd(struct weir_ip *ip, const uint8_t mac[WEIR_MAC_BYTES],
                    const struct weir_path *path, const struct weir_nd *nd)
{
    uint8_t bytes[WEIR_IP6_HEADER_BYTES + WEIR_ND_BYTES];
    uint8_t *message = bytes + WEIR_IP6_HEADER_BYTES;
    size_t length = weir_nd_encode(message, nd);
    weir_icmp_seal(message, length, path);
    weir_ip_write_ip6(bytes, path, WEIR_IP_ICMP6, WEIR_IP_ND_HOP_LIMIT, (uint32_t)length);
    weir_ip_emit_frame(ip, mac, WEIR_ETH_IP6, bytes, WEIR_IP6_HEADER_BYTES + (uint32_t)length);
}

static void send_to_group(struct weir_ip *ip, const struct weir_path *path,
                          const struct weir_nd *nd)
{
    uint8_t mac[WEIR_MAC_BYTES];
    weir_mac_of_group(path->remote.ip, 16, mac);
    send_nd(ip, mac, path, nd);
}

static struct weir_nd make_solicitation(const struct weir_addr *target)
{
    struct weir_nd nd = {.type = WEIR_ICMP6_NEIGHBOUR_SOLICITATION};
    memcpy(nd.target, target->ip, sizeof(nd.target));
    return nd;
}

static struct weir_nd make_advertisement(const struct weir_ip *ip, const uint8_t target[16],
                                         uint8_t flags)
{
    struct weir_nd nd = {
        .type = WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT, .flags = flags, .has_mac = true};
    memcpy(nd.mac, ip->config.mac, WEIR_MAC_BYTES);
    memcpy(nd.target, target, sizeof(nd.target));
    return nd;
}

static struct weir_addr all_nodes(void)
{
    return (struct weir_addr){.ip = {0xff, 0x02, [15] = 1}, .family = WEIR_ADDR_IP6};
}

void weir_ip_nd_ask(struct weir_ip *ip, const struct weir_ip_neighbour *neighbour)
{
    struct weir_path path = {.local = neighbour->from, .remote = neighbour->addr};
    struct weir_nd nd = make_solicitation(&neighbour->addr);
    nd.has_mac = true;
    memcpy(nd.mac, ip->config.mac, WEIR_MAC_BYTES);
    if (neighbour->state == WEIR_IP_NEIGHBOUR_PROBE) {
        send_nd(ip, neighbour->mac, &path, &nd);
        return;
    }
    weir_nd_solicited_node(neighbour->addr.ip, path.remote.ip);
    send_to_group(ip, &path, &nd);
}

void weir_ip_nd_probe(struct weir_ip *ip, const struct weir_addr *own)
{
    struct weir_path path = {.local = {.family = WEIR_ADDR_IP6},
                             .remote = {.family = WEIR_ADDR_IP6}};
    /* RFC 4862 5.4.2: from the unspecified address, so without the option. */
    const struct weir_nd nd = make_solicitation(own);
    weir_nd_solicited_node(own->ip, path.remote.ip);
    send_to_group(ip, &path, &nd);
}

void weir_ip_nd_announce(struct weir_ip *ip, const struct weir_addr *own)
{
    const struct weir_path path = {.local = *own, .remote = all_nodes()};
    const struct weir_nd nd = make_advertisement(ip, own->ip, WEIR_ND_OVERRIDE);
    send_to_group(ip, &path, &nd);
}

/* Another host asks for or announces an address of ours. RFC 4862 5.4.5: one that is that new is
 * not ours then; later it is defended. */
static void on_conflict(struct weir_ip *ip, weir_nsec now, struct weir_ip_own *own)
{
    ip->stats.conflicts++;
    if (now - ip->opened_at < duplicate_time) {
        own->is_duplicate = true;
    } else if (own->defended_at == 0 || now - own->defended_at >= defend_time) {
        own->defended_at = now;
        weir_ip_nd_announce(ip, &own->address.addr);
    }
}

static void on_solicitation(struct weir_ip *ip, const struct weir_ip_rx *rx,
                            const struct weir_nd *nd)
{
    const struct weir_addr target = weir_ip_read_addr(ip, nd->target, WEIR_ADDR_IP6);
    struct weir_ip_own *own = weir_ip_find_own(ip, &target);
    if (own == NULL) {
        return;
    }
    if (weir_ip_is_unspecified(&rx->path.remote)) {
        /* RFC 4861 7.1.1; RFC 4862 5.4.3: someone looks whether the address is free. */
        if (nd->has_mac || rx->path.local.ip[0] != 0xff) {
            weir_ip_drop(ip, WEIR_IP_DROP_ND);
        } else if (rx->now - ip->opened_at < duplicate_time) {
            on_conflict(ip, rx->now, own);
        } else {
            weir_ip_nd_announce(ip, &own->address.addr);
        }
        return;
    }
    if (nd->has_mac && weir_mac_is_group(nd->mac)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ND);
        return;
    }
    if (nd->has_mac) {
        weir_ip_neighbour_heard(ip, rx->now, &rx->path.remote, nd->mac, true);
    }
    /* RFC 4861 7.2.4, straight back to whoever asked. */
    const struct weir_path path = {.local = own->address.addr, .remote = rx->path.remote};
    const struct weir_nd reply =
        make_advertisement(ip, nd->target, WEIR_ND_SOLICITED | WEIR_ND_OVERRIDE);
    send_nd(ip, nd->has_mac ? nd->mac : rx->mac, &path, &reply);
}

static void on_advertisement(struct weir_ip *ip, const struct weir_ip_rx *rx,
                             const struct weir_nd *nd)
{
    const struct weir_addr target = weir_ip_read_addr(ip, nd->target, WEIR_ADDR_IP6);
    struct weir_ip_own *own = weir_ip_find_own(ip, &target);
    bool is_solicited = (nd->flags & WEIR_ND_SOLICITED) != 0;
    if ((is_solicited && rx->is_group) || (nd->has_mac && weir_mac_is_group(nd->mac))) {
        weir_ip_drop(ip, WEIR_IP_DROP_ND);
        return;
    }
    if (own != NULL) {
        if (!nd->has_mac || memcmp(nd->mac, ip->config.mac, WEIR_MAC_BYTES) != 0) {
            on_conflict(ip, rx->now, own);
        }
        return;
    }
    struct weir_ip_neighbour *neighbour = weir_ip_neighbour_find(ip, &target);
    if (neighbour == NULL || (neighbour->state == WEIR_IP_NEIGHBOUR_INCOMPLETE && !nd->has_mac)) {
        return; /* RFC 4861 7.2.5: nothing is made for it */
    }
    const uint8_t *mac = nd->has_mac ? nd->mac : neighbour->mac;
    bool is_other = memcmp(mac, neighbour->mac, WEIR_MAC_BYTES) != 0;
    if (neighbour->state != WEIR_IP_NEIGHBOUR_INCOMPLETE && is_other &&
        (nd->flags & WEIR_ND_OVERRIDE) == 0) {
        /* Without the override flag the address stays, but is no longer trusted. */
        if (neighbour->state == WEIR_IP_NEIGHBOUR_REACHABLE) {
            neighbour->state = WEIR_IP_NEIGHBOUR_STALE;
        }
        return;
    }
    if (is_solicited) {
        weir_ip_neighbour_confirm(ip, rx->now, neighbour, mac);
    } else {
        weir_ip_neighbour_heard(ip, rx->now, &target, mac, false);
    }
}

void weir_ip_nd_input(struct weir_ip *ip, const struct weir_ip_rx *rx, const struct weir_icmp *icmp)
{
    struct weir_nd nd;
    /* RFC 4861 7.1.1, 7.1.2: MUST be discarded unless it cannot have been forwarded. */
    if (!ip->config.is_ethernet || rx->hop_limit != WEIR_IP_ND_HOP_LIMIT ||
        !weir_nd_decode(icmp, &nd)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ND);
    } else if (nd.type == WEIR_ICMP6_NEIGHBOUR_SOLICITATION) {
        on_solicitation(ip, rx, &nd);
    } else {
        on_advertisement(ip, rx, &nd);
    }
}
