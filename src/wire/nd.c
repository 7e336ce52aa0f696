/* SPDX-License-Identifier: MIT */
/*
 * nd.c - see nd.h.
 */
#include "wire/nd.h"

enum {
    OPTION_SOURCE_MAC = 1,
    OPTION_TARGET_MAC = 2,
    OPTION_UNIT_BYTES = 8,
    TARGET_BYTES = 16
};

static bool read_options(struct weir_span options, struct weir_nd *nd)
{
    const uint8_t wanted =
        nd->type == WEIR_ICMP6_NEIGHBOUR_SOLICITATION ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC;
    const uint8_t *at = options.data;
    size_t left = options.length;
    while (left > 0) {
        size_t bytes = left >= 2 ? (size_t)at[1] * OPTION_UNIT_BYTES : 0;
        if (bytes == 0 || bytes > left) {
            return false;
        }
        if (at[0] == wanted && bytes == OPTION_UNIT_BYTES) {
            nd->has_mac = true;
            memcpy(nd->mac, at + 2, WEIR_MAC_BYTES);
        }
        at += bytes;
        left -= bytes;
    }
    return true;
}

bool weir_nd_decode(const struct weir_icmp *icmp, struct weir_nd *nd)
{
    *nd = (struct weir_nd){.type = icmp->type, .flags = (uint8_t)(icmp->rest >> 24)};
    if ((icmp->type != WEIR_ICMP6_NEIGHBOUR_SOLICITATION &&
         icmp->type != WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT) ||
        icmp->code != 0 || icmp->body.length < TARGET_BYTES) {
        return false;
    }
    memcpy(nd->target, icmp->body.data, TARGET_BYTES);
    return nd->target[0] != 0xff &&
           read_options(
               weir_span_of(icmp->body.data + TARGET_BYTES, icmp->body.length - TARGET_BYTES), nd);
}

size_t weir_nd_encode(uint8_t *p, const struct weir_nd *nd)
{
    const struct weir_icmp icmp = {.type = nd->type, .rest = (uint32_t)nd->flags << 24};
    weir_icmp_encode_header(p, &icmp);
    memcpy(p + WEIR_ICMP_HEADER_BYTES, nd->target, TARGET_BYTES);
    if (!nd->has_mac) {
        return WEIR_ND_BYTES_WITHOUT_MAC;
    }
    uint8_t *option = p + WEIR_ND_BYTES_WITHOUT_MAC;
    option[0] =
        nd->type == WEIR_ICMP6_NEIGHBOUR_SOLICITATION ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC;
    option[1] = 1;
    memcpy(option + 2, nd->mac, WEIR_MAC_BYTES);
    return WEIR_ND_BYTES;
}

void weir_nd_solicited_node(const uint8_t ip[16], uint8_t group[16])
{
    /* RFC 4291 2.7.1. */
    static const uint8_t prefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    memcpy(group, prefix, sizeof(prefix));
    memcpy(group + 13, ip + 13, 3);
}
