/* SPDX-License-Identifier: MIT */
/*
 * ip6.c - see ip6.h.
 */
#include "wire/ip6.h"

#include <string.h>

#include "base/bytes.h"

enum {
    CODE_ERRONEOUS_FIELD = 0, /* RFC 4443 3.4 */
    CODE_UNKNOWN_NEXT_HEADER = 1,
    CODE_UNKNOWN_OPTION = 2,
    OPTION_PAD1 = 0,
    OPTION_PADN = 1
};

bool weir_ip6_decode(const uint8_t *p, size_t length, struct weir_ip6 *ip6)
{
    if (length < WEIR_IP6_HEADER_BYTES || p[0] >> 4 != 6) {
        return false;
    }
    uint32_t first = weir_load32(p);
    ip6->traffic_class = (uint8_t)(first >> 20);
    ip6->flow = first & 0xfffff;
    ip6->payload_bytes = weir_load16(p + 4);
    ip6->next_header = p[6];
    ip6->hop_limit = p[7];
    memcpy(ip6->source, p + 8, 16);
    memcpy(ip6->destination, p + 24, 16);
    return ip6->payload_bytes <= length - WEIR_IP6_HEADER_BYTES;
}

void weir_ip6_encode(uint8_t *p, const struct weir_ip6 *ip6)
{
    weir_store32(p, 6U << 28 | (uint32_t)ip6->traffic_class << 20 | (ip6->flow & 0xfffff));
    weir_store16(p + 4, ip6->payload_bytes);
    p[6] = ip6->next_header;
    p[7] = ip6->hop_limit;
    memcpy(p + 8, ip6->source, 16);
    memcpy(p + 24, ip6->destination, 16);
}

static enum weir_ip6_walk find_problem(struct weir_ip6_chain *chain, uint32_t at, uint8_t code)
{
    chain->problem_at = at;
    chain->problem_code = code;
    return WEIR_IP6_WALK_PROBLEM;
}

/* RFC 8200 4.2: what to do about an option that is not known is in its type's two highest bits. We
 * know padding only. The options lie in [at, end). */
static enum weir_ip6_walk walk_options(const uint8_t *p, uint32_t at, uint32_t end,
                                       struct weir_ip6_chain *chain)
{
    while (at < end) {
        uint8_t type = p[at];
        if (type == OPTION_PAD1) {
            at++;
            continue;
        }
        if (end - at < 2 || p[at + 1] > end - at - 2) {
            return WEIR_IP6_WALK_MALFORMED;
        }
        if (type != OPTION_PADN && type >> 6 != 0) {
            (void)find_problem(chain, at, CODE_UNKNOWN_OPTION);
            return type >> 6 == 1   ? WEIR_IP6_WALK_DISCARD
                   : type >> 6 == 2 ? WEIR_IP6_WALK_PROBLEM
                                    : WEIR_IP6_WALK_PROBLEM_UNICAST;
        }
        at += 2U + p[at + 1];
    }
    return WEIR_IP6_WALK_UPPER;
}

/* One header of the usual form: next, length in units of 8 bytes behind the first 8. */
static enum weir_ip6_walk walk_one(const uint8_t *p, size_t length, struct weir_ip6_chain *chain)
{
    uint32_t at = chain->at;
    if (length < at || length - at < 8) {
        return WEIR_IP6_WALK_MALFORMED;
    }
    uint32_t bytes = 8U + 8U * p[at + 1];
    if (length - at < bytes) {
        return WEIR_IP6_WALK_MALFORMED;
    }
    if (chain->next == WEIR_IP6_ROUTING) {
        /* RFC 8200 4.4: a type that is not known, and all are here, is skipped when no segments
         * are left, and else is an error that points at the type. */
        if (p[at + 3] != 0) {
            return find_problem(chain, at + 2, CODE_ERRONEOUS_FIELD);
        }
    } else {
        enum weir_ip6_walk found = walk_options(p, at + 2, at + bytes, chain);
        if (found != WEIR_IP6_WALK_UPPER) {
            return found;
        }
    }
    chain->next = p[at];
    chain->next_at = at;
    chain->at = at + bytes;
    return WEIR_IP6_WALK_UPPER;
}

static enum weir_ip6_walk walk_fragment(const uint8_t *p, size_t length,
                                        struct weir_ip6_chain *chain)
{
    uint32_t at = chain->at;
    if (length < at || length - at < WEIR_IP6_FRAGMENT_BYTES) {
        return WEIR_IP6_WALK_MALFORMED;
    }
    uint16_t offset = weir_load16(p + at + 2);
    chain->offset_bytes = offset & 0xfff8;
    chain->is_more = (offset & 1) != 0;
    chain->id = weir_load32(p + at + 4);
    chain->next = p[at];
    chain->next_at = at;
    chain->at = at + WEIR_IP6_FRAGMENT_BYTES;
    return WEIR_IP6_WALK_FRAGMENT;
}

enum weir_ip6_walk weir_ip6_walk(const uint8_t *p, size_t length, struct weir_ip6_chain *chain)
{
    for (int i = 0; i < WEIR_IP6_HEADERS_MAX; i++) {
        enum weir_ip6_walk found = WEIR_IP6_WALK_UPPER;
        switch (chain->next) {
        case WEIR_IP6_HOP_BY_HOP:
            if (chain->at != WEIR_IP6_HEADER_BYTES) {
                return find_problem(chain, chain->next_at, CODE_UNKNOWN_NEXT_HEADER);
            }
            found = walk_one(p, length, chain);
            break;
        case WEIR_IP6_ROUTING:
        case WEIR_IP6_DESTINATION:
            found = walk_one(p, length, chain);
            break;
        case WEIR_IP6_FRAGMENT:
            return walk_fragment(p, length, chain);
        default:
            return WEIR_IP6_WALK_UPPER;
        }
        if (found != WEIR_IP6_WALK_UPPER) {
            return found;
        }
    }
    return WEIR_IP6_WALK_MALFORMED;
}

void weir_ip6_encode_fragment(uint8_t *p, const struct weir_ip6_chain *fragment)
{
    p[0] = fragment->next;
    p[1] = 0;
    weir_store16(p + 2,
                 (uint16_t)((fragment->offset_bytes & 0xfff8) | (fragment->is_more ? 1 : 0)));
    weir_store32(p + 4, fragment->id);
}
