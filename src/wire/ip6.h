/* SPDX-License-Identifier: MIT */
/*
 * ip6.h - the IPv6 header and the chain of extension headers behind it.
 *
 * Spec: RFC 8200 3, 4; RFC 5095 (routing headers of type 0 are unknown ones).
 *
 *     |6 | traffic class | flow label            |
 *     | payload length | next header | hop limit |
 *     | source 16                                |
 *     | destination 16                           |
 */
#ifndef WEIR_WIRE_IP6_H
#define WEIR_WIRE_IP6_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_IP6_HEADER_BYTES = 40,
    WEIR_IP6_FRAGMENT_BYTES = 8, /* the fragment extension header */
    /* Extension headers in one packet that are walked; more are taken as an attack. */
    WEIR_IP6_HEADERS_MAX = 8
};

enum weir_ip6_next {
    WEIR_IP6_HOP_BY_HOP = 0,
    WEIR_IP6_ROUTING = 43,
    WEIR_IP6_FRAGMENT = 44,
    WEIR_IP6_NONE = 59,
    WEIR_IP6_DESTINATION = 60
};

struct weir_ip6 {
    uint8_t source[16], destination[16];
    uint32_t flow; /* 20 bits */
    uint16_t payload_bytes;
    uint8_t traffic_class, next_header, hop_limit;
};

/* false: too short for its header or its payload, or another version. Jumbograms (payload length 0
 * with a hop-by-hop option) have nothing behind the header here. */
bool weir_ip6_decode(const uint8_t *p, size_t length, struct weir_ip6 *ip6);
/* Writes 40 bytes. */
void weir_ip6_encode(uint8_t *p, const struct weir_ip6 *ip6);

/* How a walk ended. */
enum weir_ip6_walk {
    WEIR_IP6_WALK_UPPER = 0, /* at something that is no extension header */
    WEIR_IP6_WALK_FRAGMENT,  /* behind a fragment header */
    WEIR_IP6_WALK_MALFORMED, /* past the end, or too many headers */
    WEIR_IP6_WALK_DISCARD,   /* an option says: discard silently */
    WEIR_IP6_WALK_PROBLEM,   /* discard, and say so: a parameter problem at problem_at */
    /* The same, but not when the packet was sent to a multicast address. */
    WEIR_IP6_WALK_PROBLEM_UNICAST
};

struct weir_ip6_chain {
    uint32_t at;         /* of the bytes that next is about; offset from the fixed header's start */
    uint32_t next_at;    /* of the byte that said next */
    uint32_t problem_at; /* offset, for the ICMPv6 message */
    uint8_t problem_code;
    uint8_t next; /* protocol of what is at */
    /* WALK_FRAGMENT only. */
    bool is_more;
    uint16_t offset_bytes;
    uint32_t id;
};

/* Walks on from chain->at, next_at and next over the packet of length bytes, which starts with its
 * fixed header. RFC 8200 4.1: hop-by-hop options are taken right behind the fixed header only. */
enum weir_ip6_walk weir_ip6_walk(const uint8_t *p, size_t length, struct weir_ip6_chain *chain);

/* Where a walk starts. */
static inline struct weir_ip6_chain weir_ip6_chain_first(const struct weir_ip6 *ip6)
{
    return (struct weir_ip6_chain){
        .at = WEIR_IP6_HEADER_BYTES, .next_at = 6, .next = ip6->next_header};
}

/* Writes the 8 bytes of a fragment header. */
void weir_ip6_encode_fragment(uint8_t *p, const struct weir_ip6_chain *fragment);

#endif
