/* SPDX-License-Identifier: MIT */
/*
 * route.h - which shard a packet belongs to: a keyed hash of what stays the same in a connection.
 *
 * Role: for weir/crew.h. RUDP's ids are chosen so that the hash of the id is the shard; strangers'
 * protocols are told apart by their addresses. Without the key nobody can aim at a shard, and an id
 * says nothing of it.
 */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include <stdint.h>

#include "weir/driver.h"
#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The same for all endpoints of a crew; constant once made. */
struct weir_route {
    uint64_t key[2];
    uint32_t shards;
};

/* seed: 16 bytes, secret and random in production. */
WEIR_API void weir_route_init(struct weir_route *route, const uint8_t seed[16], uint32_t shards);
/* By connection id. */
WEIR_API uint32_t weir_route_id(const struct weir_route *route, uint64_t id);
/* By the remote address and port: KCP, and other protocols over UDP. */
WEIR_API uint32_t weir_route_remote(const struct weir_route *route, const struct weir_addr *remote);
/* By both addresses and ports, ours in local: TCP. */
WEIR_API uint32_t weir_route_path(const struct weir_route *route, const struct weir_path *path);

/* For weir_crew_config.route, with a struct weir_route as route_user. Any bytes will do: what is no
 * packet of the protocol leads somewhere, too. */
WEIR_API uint32_t weir_route_packet(const void *route, const struct weir_packet *packet);
WEIR_API uint32_t weir_rudp_route(const void *route, const struct weir_packet *packet);
/* By both addresses and ports, those of the segment, or of the one that an ICMP error quotes. */
WEIR_API uint32_t weir_tcp_route(const void *route, const struct weir_packet *packet);

#ifdef __cplusplus
}
#endif
#endif
