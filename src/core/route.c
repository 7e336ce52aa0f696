/* SPDX-License-Identifier: MIT */
/*
 * route.c - shards by id and by address.
 */
#include "weir/route.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

enum {
    TCP_PORTS_BYTES = 4
};

static struct weir_hash_key key_of(const struct weir_route *route)
{
    return (struct weir_hash_key){route->key[0], route->key[1]};
}

void weir_route_init(struct weir_route *route, const uint8_t seed[16], uint32_t shards)
{
    *route =
        (struct weir_route){.key = {weir_load64(seed), weir_load64(seed + 8)}, .shards = shards};
}

uint32_t weir_route_id(const struct weir_route *route, uint64_t id)
{
    struct weir_hash_key key = key_of(route);
    return (uint32_t)(weir_hash13_u64(&key, id) % route->shards);
}

uint32_t weir_route_remote(const struct weir_route *route, const struct weir_addr *remote)
{
    struct weir_hash_key key = key_of(route);
    return (uint32_t)(weir_hash13(&key, remote, sizeof(*remote)) % route->shards);
}

uint32_t weir_route_packet(const void *route, const struct weir_packet *packet)
{
    return weir_route_remote((const struct weir_route *)route, &packet->path->remote);
}

uint32_t weir_route_path(const struct weir_route *route, const struct weir_path *path)
{
    struct weir_hash_key key = key_of(route);

    struct {
        uint8_t local[16], remote[16];
        uint8_t remote_port[2], local_port[2];
    } tuple;

    memcpy(tuple.local, path->local.ip, sizeof(tuple.local));
    memcpy(tuple.remote, path->remote.ip, sizeof(tuple.remote));
    weir_store16(tuple.remote_port, path->remote.port);
    weir_store16(tuple.local_port, path->local.port);
    return (uint32_t)(weir_hash13(&key, &tuple, sizeof(tuple)) % route->shards);
}

/* An error quotes what we sent: our port comes first there. */
uint32_t weir_tcp_route(const void *route, const struct weir_packet *packet)
{
    struct weir_path path = *packet->path;
    path.local.port = path.remote.port = 0;
    if (packet->length >= TCP_PORTS_BYTES) {
        bool is_ours = packet->protocol == WEIR_PROTOCOL_UNREACHED;
        *(is_ours ? &path.local.port : &path.remote.port) = weir_load16(packet->data);
        *(is_ours ? &path.remote.port : &path.local.port) = weir_load16(packet->data + 2);
    }
    return weir_route_path((const struct weir_route *)route, &path);
}
