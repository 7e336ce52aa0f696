/* SPDX-License-Identifier: MIT */
/*
 * ip_world.h - packets by hand and an IP layer to give them to, for its tests and its fuzz target.
 */
#ifndef WEIR_TESTS_IP_WORLD_H
#define WEIR_TESTS_IP_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "ip/ip.h"
#include "weir/os.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/nd.h"
#include "wire/udp.h"

enum {
    IP_WORLD_PORT = 7
};

struct ip_world {
    struct weir_ip *ip;
    void *mem;
    size_t mem_bytes;
    weir_nsec now;
    uint8_t frame[1 << 17]; /* the packet under construction, then given */
    uint32_t length;
    struct weir_packet packet; /* what came of it */
    struct weir_path path;
};

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 1};
static const struct weir_addr our_ip4 = {.ip = {10, 7, 0, 2}, .family = WEIR_ADDR_IP4};
static const struct weir_addr peer_ip4 = {.ip = {10, 7, 0, 1}, .family = WEIR_ADDR_IP4};
static const struct weir_addr our_ip6 = {.ip = {0xfd, 7, [15] = 2}, .family = WEIR_ADDR_IP6};
static const struct weir_addr peer_ip6 = {.ip = {0xfd, 7, [15] = 1}, .family = WEIR_ADDR_IP6};

static inline struct weir_ip_config ip_world_config(bool is_ethernet)
{
    struct weir_ip_config config;
    weir_ip_config_default(&config);
    config.is_ethernet = is_ethernet;
    memcpy(config.mac, our_mac, sizeof(our_mac));
    config.addresses[0] = (struct weir_ip_address){.addr = our_ip4, .prefix = 24};
    config.addresses[1] = (struct weir_ip_address){.addr = our_ip6, .prefix = 64};
    config.address_count = 2;
    return config;
}

static inline bool ip_world_open(struct ip_world *world, const struct weir_ip_config *config,
                                 const struct weir_ip_service *service)
{
    static const uint8_t seed[32] = {7};
    size_t bytes = weir_ip_mem_size(config);
    world->now = 100 * WEIR_SEC;
    world->length = 0;
    if (bytes == 0) {
        return false;
    }
    /* Fresh pages: what is never used costs no time to clear. */
    world->mem = weir_mem_map(bytes);
    world->mem_bytes = bytes;
    if (world->mem == NULL) {
        abort();
    }
    if (weir_ip_init(world->mem, config, service, seed, &world->ip) != WEIR_OK) {
        abort();
    }
    return true;
}

static inline void ip_world_close(struct ip_world *world)
{
    weir_mem_unmap(world->mem, world->mem_bytes);
}

/* Gives the frame; is something left for the transport? */
static inline bool ip_world_give(struct ip_world *world, const struct weir_packet *how)
{
    struct weir_packet frame = *how;
    frame.data = world->frame;
    frame.length = world->length;
    return weir_ip_input(world->ip, world->now, &frame, &world->packet, &world->path);
}

/* --- building: payload first, headers are put in front ---------------------------------------- */

static inline void ip_world_start(struct ip_world *world, const void *payload, size_t length)
{
    memcpy(world->frame, payload, length);
    world->length = (uint32_t)length;
}

static inline uint8_t *ip_world_push(struct ip_world *world, uint32_t bytes)
{
    memmove(world->frame + bytes, world->frame, world->length);
    world->length += bytes;
    return world->frame;
}

static inline void ip_world_push_ip4(struct ip_world *world, uint8_t protocol, uint32_t offset,
                                     bool is_more, uint16_t id)
{
    struct weir_ip4 ip4 = {.total_bytes = (uint16_t)(world->length + WEIR_IP4_HEADER_BYTES),
                           .id = id,
                           .offset_bytes = (uint16_t)offset,
                           .is_more = is_more,
                           .ttl = 64,
                           .tos = WEIR_ECN_ECT0,
                           .protocol = protocol};
    memcpy(ip4.source, peer_ip4.ip, 4);
    memcpy(ip4.destination, our_ip4.ip, 4);
    weir_ip4_encode(ip_world_push(world, WEIR_IP4_HEADER_BYTES), &ip4);
}

static inline void ip_world_push_ip6(struct ip_world *world, uint8_t next, uint8_t hop_limit)
{
    struct weir_ip6 ip6 = {.payload_bytes = (uint16_t)world->length,
                           .next_header = next,
                           .hop_limit = hop_limit,
                           .traffic_class = WEIR_ECN_CE};
    memcpy(ip6.source, peer_ip6.ip, 16);
    memcpy(ip6.destination, our_ip6.ip, 16);
    weir_ip6_encode(ip_world_push(world, WEIR_IP6_HEADER_BYTES), &ip6);
}

static inline void ip_world_push_fragment(struct ip_world *world, uint8_t next, uint32_t offset,
                                          bool is_more, uint32_t id)
{
    const struct weir_ip6_chain fragment = {
        .next = next, .offset_bytes = (uint16_t)offset, .is_more = is_more, .id = id};
    weir_ip6_encode_fragment(ip_world_push(world, WEIR_IP6_FRAGMENT_BYTES), &fragment);
}

static inline void ip_world_push_eth(struct ip_world *world, uint16_t type)
{
    struct weir_eth eth = {.type = type};
    memcpy(eth.source, peer_mac, 6);
    memcpy(eth.destination, our_mac, 6);
    weir_eth_encode(ip_world_push(world, WEIR_ETH_HEADER_BYTES), &eth);
}

/* An IPv4 header was changed by hand. */
static inline void ip_world_seal_ip4(uint8_t *header)
{
    header[10] = header[11] = 0;
    uint16_t checksum =
        weir_checksum_fold(weir_checksum_add(0, header, (size_t)(header[0] & 15) * 4));
    memcpy(header + 10, &checksum, 2);
}

/* path as the peer sees it. */
static inline struct weir_path ip_world_path(bool is_ip6)
{
    return is_ip6 ? (struct weir_path){.local = peer_ip6, .remote = our_ip6}
                  : (struct weir_path){.local = peer_ip4, .remote = our_ip4};
}

static inline void ip_world_push_udp(struct ip_world *world, uint16_t source, uint16_t target,
                                     bool is_ip6)
{
    struct weir_path path = ip_world_path(is_ip6);
    uint32_t length = world->length;
    path.local.port = source;
    path.remote.port = target;
    weir_udp_encode(ip_world_push(world, WEIR_UDP_HEADER_BYTES), length, &path, false);
}

static inline void ip_world_push_icmp(struct ip_world *world, uint8_t type, uint8_t code,
                                      uint32_t rest, bool is_ip6)
{
    const struct weir_icmp icmp = {.type = type, .code = code, .rest = rest};
    const struct weir_path path = ip_world_path(is_ip6);
    weir_icmp_encode_header(ip_world_push(world, WEIR_ICMP_HEADER_BYTES), &icmp);
    weir_icmp_seal(world->frame, world->length, &path);
}

#endif
