/* SPDX-License-Identifier: MIT */
/*
 * input.c - received frames: taken apart layer by layer, and what is left handed on.
 *
 * Spec: RFC 894, RFC 2464; RFC 1122 3.2; RFC 8200 3, 4; RFC 768.
 */
#include "base/bytes.h"
#include "ip/internal.h"
#include "wire/udp.h"

enum {
    FRAGMENT_HEAD_BYTES = WEIR_IP6_HEADER_BYTES + WEIR_IP6_FRAGMENT_BYTES,
    PROBLEM_ERRONEOUS = 0, /* code of a parameter problem, RFC 4443 3.4 */
    PAYLOAD_LENGTH_AT = 4
};

/* --- to the transports ------------------------------------------------------------------------ */

static bool input_tcp(struct weir_ip *ip, const struct weir_ip_rx *rx, struct weir_packet *packet,
                      struct weir_path *path)
{
    /* RFC 9293 3.10.7 (MUST-57): silently discarded when it was sent to many. */
    if (rx->is_group) {
        weir_ip_drop(ip, WEIR_IP_DROP_DESTINATION);
        return false;
    }
    *path = rx->path;
    *packet = (struct weir_packet){.data = rx->payload,
                                   .length = rx->payload_bytes,
                                   .segment_bytes = rx->segment_bytes,
                                   .ecn = rx->ecn,
                                   .protocol = WEIR_PROTOCOL_TCP,
                                   .is_checked = rx->is_checked};
    ip->stats.rx_segments++;
    return true;
}

static bool input_udp(struct weir_ip *ip, const struct weir_ip_rx *rx, struct weir_packet *packet,
                      struct weir_path *path)
{
    struct weir_udp_header udp;
    if (!weir_udp_decode(rx->payload, rx->payload_bytes, &udp) || udp.source == 0) {
        weir_ip_drop(ip, WEIR_IP_DROP_UDP);
        return false;
    }
    if (!rx->is_checked && !weir_udp_is_checksum_right(rx->payload, &udp, &rx->path)) {
        weir_ip_drop(ip, WEIR_IP_DROP_CHECKSUM);
        return false;
    }
    if (udp.target == 0 || udp.target != ip->service.udp_port) {
        const bool is_ip6 = rx->path.remote.family == WEIR_ADDR_IP6;
        weir_ip_drop(ip, WEIR_IP_DROP_PORT);
        /* RFC 1122 4.1.3.1: a port unreachable. */
        weir_ip_send_error(
            ip, rx, is_ip6 ? (uint8_t)WEIR_ICMP6_UNREACHABLE : (uint8_t)WEIR_ICMP_UNREACHABLE,
            is_ip6 ? WEIR_ICMP6_CODE_PORT : WEIR_ICMP_CODE_PORT, 0);
        return false;
    }
    *path = rx->path;
    if (rx->is_group) {
        const struct weir_addr *own = weir_ip_pick_own(ip, &rx->path.remote);
        path->local = own != NULL ? *own : (struct weir_addr){.family = WEIR_ADDR_NONE};
    }
    path->local.port = udp.target;
    path->remote.port = udp.source;
    *packet = (struct weir_packet){.data = rx->payload + WEIR_UDP_HEADER_BYTES,
                                   .length = (uint32_t)udp.data.length,
                                   .ecn = rx->ecn,
                                   .protocol = WEIR_PROTOCOL_DATAGRAM};
    if (rx->segment_bytes < packet->length) {
        packet->segment_bytes = rx->segment_bytes;
    }
    ip->stats.rx_datagrams++;
    return true;
}

static bool input_unknown(struct weir_ip *ip, const struct weir_ip_rx *rx)
{
    weir_ip_drop(ip, WEIR_IP_DROP_PROTOCOL);
    if (rx->path.remote.family == WEIR_ADDR_IP4) {
        /* RFC 1122 3.2.2.1. */
        weir_ip_send_error(ip, rx, WEIR_ICMP_UNREACHABLE, WEIR_ICMP_CODE_PROTOCOL, 0);
    } else if (rx->protocol != WEIR_IP6_NONE) {
        /* RFC 8200 4: a parameter problem that points at what named it. */
        weir_ip_send_error(ip, rx, WEIR_ICMP6_PROBLEM, WEIR_ICMP6_CODE_NEXT_HEADER, rx->next_at);
    }
    return false;
}

static bool input_upper(struct weir_ip *ip, const struct weir_ip_rx *rx, struct weir_packet *packet,
                        struct weir_path *path)
{
    const bool is_ip6 = rx->path.remote.family == WEIR_ADDR_IP6;
    const uint8_t icmp = is_ip6 ? WEIR_IP_ICMP6 : WEIR_IP_ICMP;
    if (rx->protocol == icmp) {
        return weir_ip_icmp_input(ip, rx, packet, path);
    }
    if (weir_ip_is_unspecified(&rx->path.remote)) {
        weir_ip_drop(ip, WEIR_IP_DROP_SOURCE);
        return false;
    }
    if (rx->protocol == WEIR_IP_TCP && ip->service.is_tcp) {
        return input_tcp(ip, rx, packet, path);
    }
    if (rx->protocol == WEIR_IP_UDP) {
        return input_udp(ip, rx, packet, path);
    }
    return input_unknown(ip, rx);
}

/* --- IPv4 ------------------------------------------------------------------------------------- */

/* RFC 1122 3.2.1.3: from a host, not from us, to us. */
static bool check_addresses(struct weir_ip *ip, struct weir_ip_rx *rx)
{
    const struct weir_addr *remote = &rx->path.remote;
    bool is_nobody = remote->family == WEIR_ADDR_IP6 && weir_ip_is_unspecified(remote);
    if ((!is_nobody && !weir_ip_is_unicast(ip, remote)) || weir_ip_find_own(ip, remote) != NULL) {
        weir_ip_drop(ip, WEIR_IP_DROP_SOURCE);
        return false;
    }
    if (weir_ip_is_multicast(&rx->path.local) || weir_ip_is_broadcast(ip, &rx->path.local)) {
        rx->is_group = true;
    } else if (weir_ip_find_own(ip, &rx->path.local) == NULL) {
        weir_ip_drop(ip, WEIR_IP_DROP_DESTINATION);
        return false;
    }
    return true;
}

static bool input_ip4(struct weir_ip *ip, struct weir_ip_rx *rx, uint8_t *p, size_t length,
                      struct weir_packet *packet)
{
    struct weir_ip4 ip4;
    if (!weir_ip4_decode(p, length, &ip4)) {
        weir_ip_drop(ip, WEIR_IP_DROP_HEADER);
        return false;
    }
    if (!weir_ip4_is_checksum_right(p, &ip4)) {
        weir_ip_drop(ip, WEIR_IP_DROP_CHECKSUM);
        return false;
    }
    rx->path.local = weir_ip_read_addr(ip, ip4.destination, WEIR_ADDR_IP4);
    rx->path.remote = weir_ip_read_addr(ip, ip4.source, WEIR_ADDR_IP4);
    if (!check_addresses(ip, rx)) {
        return false;
    }
    /* Options are passed over: none of them asks anything of the last host on the way. */
    rx->head = p;
    rx->payload = p + ip4.header_bytes;
    rx->payload_bytes = (uint32_t)ip4.total_bytes - ip4.header_bytes;
    rx->protocol = ip4.protocol;
    rx->ecn = ip4.tos & 3;
    rx->hop_limit = ip4.ttl;
    if (ip4.offset_bytes != 0 || ip4.is_more) {
        const struct weir_ip_fragment fragment = {.head = p,
                                                  .head_bytes = ip4.header_bytes,
                                                  .id = ip4.id,
                                                  .offset_bytes = ip4.offset_bytes,
                                                  .is_more = ip4.is_more};
        if (!weir_ip_reassemble(ip, rx, &fragment)) {
            return false;
        }
    }
    struct weir_path path;
    bool is_found = input_upper(ip, rx, packet, &path);
    rx->path = is_found ? path : rx->path;
    return is_found;
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

/* Groups that a host without routing belongs to: all nodes, and the solicited-node ones of its
 * addresses (RFC 4291 2.8). */
static bool is_our_group(const struct weir_ip *ip, const struct weir_addr *group)
{
    static const uint8_t tail[16] = {[15] = 1};
    if ((group->ip[1] & 15) == 1 || (group->ip[1] & 15) == 2) {
        if (memcmp(group->ip + 2, tail + 2, 14) == 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < ip->config.address_count; i++) {
        uint8_t own[16] = {0};
        const struct weir_addr *addr = &ip->own[i].address.addr;
        if (addr->family == WEIR_ADDR_IP6) {
            const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
            memcpy(own, prefix, sizeof(prefix));
            memcpy(own + 13, addr->ip + 13, 3);
            if (memcmp(group->ip, own, sizeof(own)) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Says what the walk found wrong, when it is to be said. */
static void on_problem(struct weir_ip *ip, const struct weir_ip_rx *rx, enum weir_ip6_walk found,
                       const struct weir_ip6_chain *chain)
{
    weir_ip_drop(ip, WEIR_IP_DROP_EXTENSION);
    if (found == WEIR_IP6_WALK_PROBLEM ||
        (found == WEIR_IP6_WALK_PROBLEM_UNICAST && !rx->is_group)) {
        weir_ip_send_error(ip, rx, WEIR_ICMP6_PROBLEM, chain->problem_code, chain->problem_at);
    }
}

/* RFC 8200 4.5: what makes a fragment wrong, said to whoever sent it. */
static bool is_fragment_right(struct weir_ip *ip, const struct weir_ip_rx *rx,
                              const struct weir_ip6_chain *chain)
{
    uint32_t problem_at = 0;
    if (chain->is_more && rx->payload_bytes % 8 != 0) {
        problem_at = PAYLOAD_LENGTH_AT;
    } else if (chain->offset_bytes + rx->payload_bytes > UINT16_MAX) {
        problem_at = chain->at - WEIR_IP6_FRAGMENT_BYTES + 2;
    } else {
        return true;
    }
    weir_ip_drop(ip, WEIR_IP_DROP_FRAGMENT);
    weir_ip_send_error(ip, rx, WEIR_ICMP6_PROBLEM, PROBLEM_ERRONEOUS, problem_at);
    return false;
}

/* The chain goes on in what was put together: its head is the fixed header and a fragment's. */
static bool join_ip6(struct weir_ip *ip, struct weir_ip_rx *rx, struct weir_ip6_chain *chain)
{
    uint8_t head[FRAGMENT_HEAD_BYTES];
    memcpy(head, rx->head, WEIR_IP6_HEADER_BYTES);
    head[6] = WEIR_IP6_FRAGMENT;
    memcpy(head + WEIR_IP6_HEADER_BYTES, rx->payload - WEIR_IP6_FRAGMENT_BYTES,
           WEIR_IP6_FRAGMENT_BYTES);
    const struct weir_ip_fragment fragment = {.head = head,
                                              .head_bytes = sizeof(head),
                                              .id = chain->id,
                                              .offset_bytes = chain->offset_bytes,
                                              .is_more = chain->is_more};
    if (!weir_ip_reassemble(ip, rx, &fragment)) {
        return false;
    }
    *chain = (struct weir_ip6_chain){
        .at = FRAGMENT_HEAD_BYTES, .next_at = WEIR_IP6_HEADER_BYTES, .next = rx->protocol};
    return true;
}

static void set_payload(struct weir_ip_rx *rx, const struct weir_ip6_chain *chain, uint32_t total)
{
    rx->payload = rx->head + chain->at;
    rx->payload_bytes = total - chain->at;
    rx->protocol = chain->next;
    rx->next_at = chain->next_at;
}

/* Walks over the extension headers, through one fragment header at most. */
static bool walk_ip6(struct weir_ip *ip, struct weir_ip_rx *rx, struct weir_ip6_chain chain,
                     uint32_t total)
{
    enum weir_ip6_walk found = weir_ip6_walk(rx->head, total, &chain);
    if (found == WEIR_IP6_WALK_FRAGMENT) {
        set_payload(rx, &chain, total);
        /* RFC 8200 4.5: one that is the whole datagram stands for itself. */
        bool is_whole = chain.offset_bytes == 0 && !chain.is_more;
        if (!is_whole && (!is_fragment_right(ip, rx, &chain) || !join_ip6(ip, rx, &chain))) {
            return false;
        }
        if (!is_whole) {
            total = FRAGMENT_HEAD_BYTES + rx->payload_bytes;
        }
        found = weir_ip6_walk(rx->head, total, &chain);
    }
    if (found != WEIR_IP6_WALK_UPPER) {
        on_problem(ip, rx, found, &chain);
        return false;
    }
    set_payload(rx, &chain, total);
    return true;
}

static bool input_ip6(struct weir_ip *ip, struct weir_ip_rx *rx, uint8_t *p, size_t length,
                      struct weir_packet *packet)
{
    struct weir_ip6 ip6;
    struct weir_path path;
    if (!weir_ip6_decode(p, length, &ip6)) {
        weir_ip_drop(ip, WEIR_IP_DROP_HEADER);
        return false;
    }
    rx->path.local = weir_ip_read_addr(ip, ip6.destination, WEIR_ADDR_IP6);
    rx->path.remote = weir_ip_read_addr(ip, ip6.source, WEIR_ADDR_IP6);
    if (!check_addresses(ip, rx)) {
        return false;
    }
    if (rx->is_group && weir_ip_is_multicast(&rx->path.local) &&
        !is_our_group(ip, &rx->path.local)) {
        weir_ip_drop(ip, WEIR_IP_DROP_DESTINATION);
        return false;
    }
    rx->head = p;
    rx->payload = p + WEIR_IP6_HEADER_BYTES;
    rx->payload_bytes = ip6.payload_bytes;
    rx->protocol = ip6.next_header;
    rx->ecn = ip6.traffic_class & 3;
    rx->hop_limit = ip6.hop_limit;
    if (!walk_ip6(ip, rx, weir_ip6_chain_first(&ip6),
                  WEIR_IP6_HEADER_BYTES + (uint32_t)ip6.payload_bytes)) {
        return false;
    }
    bool is_found = input_upper(ip, rx, packet, &path);
    rx->path = is_found ? path : rx->path;
    return is_found;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* The type of what an Ethernet frame to us holds; 0: none of ours. */
static uint16_t read_ethernet(struct weir_ip *ip, const struct weir_packet *frame,
                              struct weir_ip_rx *rx)
{
    struct weir_eth eth;
    if (!weir_eth_decode(frame->data, frame->length, &eth)) {
        return 0;
    }
    rx->is_group = weir_mac_is_group(eth.destination);
    memcpy(rx->mac, eth.source, WEIR_MAC_BYTES);
    if (weir_mac_is_group(eth.source) ||
        (!rx->is_group && memcmp(eth.destination, ip->config.mac, WEIR_MAC_BYTES) != 0)) {
        return 0;
    }
    return eth.type;
}

static uint16_t read_version(const struct weir_packet *frame)
{
    uint8_t version = frame->length > 0 ? frame->data[0] >> 4 : 0;
    return version == 4 ? WEIR_ETH_IP4 : version == 6 ? WEIR_ETH_IP6 : 0;
}

bool weir_ip_input(struct weir_ip *ip, weir_nsec now, const struct weir_packet *frame,
                   struct weir_packet *packet, struct weir_path *path)
{
    struct weir_ip_rx rx = {
        .now = now, .is_checked = frame->is_checked, .segment_bytes = frame->segment_bytes};
    const uint32_t at = ip->config.is_ethernet ? WEIR_ETH_HEADER_BYTES : 0;
    uint16_t type = ip->config.is_ethernet ? read_ethernet(ip, frame, &rx) : read_version(frame);
    bool is_found = false;
    ip->stats.rx_frames++;
    switch (type) {
    case WEIR_ETH_IP4:
        is_found = input_ip4(ip, &rx, frame->data + at, frame->length - at, packet);
        break;
    case WEIR_ETH_IP6:
        is_found = input_ip6(ip, &rx, frame->data + at, frame->length - at, packet);
        break;
    case WEIR_ETH_ARP:
        weir_ip_arp_input(ip, now, frame->data + at, frame->length - at);
        break;
    default:
        weir_ip_drop(ip, WEIR_IP_DROP_ETHERNET);
        break;
    }
    if (is_found) {
        *path = rx.path;
    }
    return is_found;
}
