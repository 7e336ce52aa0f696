/* SPDX-License-Identifier: MIT */
/*
 * id.h - how a server's connection id comes from its client's.
 *
 * Role: for the handshake, and for steering in the kernel, which has to do the same:
 *
 *   left, right = halves of the client's id, the high one left
 *   WEIR_RUDP_ID_ROUNDS times: left, right = right, left ^ low half of SipHash-1-3(round : right)
 */
#ifndef WEIR_RUDP_ID_H
#define WEIR_RUDP_ID_H

#include "base/hash.h"

struct weir_route;

enum {
    WEIR_RUDP_ID_ROUNDS = 4
};

/* The key of the permutation, the same in all shards of a crew. */
struct weir_hash_key weir_rudp_id_key(const struct weir_route *route);

#endif
