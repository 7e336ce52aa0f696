/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ip_wire.c - any bytes as a packet of each layer below TCP: what decodes lies within them,
 * and what is encoded from it decodes to the same again.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/nd.h"
#include "wire/udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct weir_path path4 = {.local = {.family = WEIR_ADDR_IP4},
                                       .remote = {.family = WEIR_ADDR_IP4}};
static const struct weir_path path6 = {.local = {.family = WEIR_ADDR_IP6},
                                       .remote = {.family = WEIR_ADDR_IP6}};

static void must(int condition)
{
    if (!condition) {
        abort();
    }
}

static void must_be_within(struct weir_span span, const uint8_t *data, size_t size)
{
    must(span.data >= data && span.length <= size && span.data + span.length <= data + size);
}

static void try_eth_and_arp(const uint8_t *data, size_t size)
{
    struct weir_eth eth;
    struct weir_arp arp;
    uint8_t bytes[WEIR_ARP_BYTES];
    if (weir_eth_decode(data, size, &eth)) {
        weir_eth_encode(bytes, &eth);
        must(memcmp(bytes, data, WEIR_ETH_HEADER_BYTES) == 0);
    }
    if (weir_arp_decode(data, size, &arp)) {
        weir_arp_encode(bytes, &arp);
        must(memcmp(bytes, data, WEIR_ARP_BYTES) == 0);
    }
}

static void try_ip4(const uint8_t *data, size_t size)
{
    struct weir_ip4 ip4;
    uint8_t bytes[WEIR_IP4_HEADER_BYTES];
    if (!weir_ip4_decode(data, size, &ip4)) {
        return;
    }
    must(ip4.header_bytes <= ip4.total_bytes && ip4.total_bytes <= size);
    bool is_right = weir_ip4_is_checksum_right(data, &ip4);
    weir_ip4_encode(bytes, &ip4);
    if (ip4.header_bytes == sizeof(bytes) && (data[6] & 0x80) == 0) {
        must(memcmp(bytes, data, 10) == 0 && memcmp(bytes + 12, data + 12, 8) == 0);
        /* All ones and zero are the same number. */
        must(!is_right || memcmp(bytes, data, sizeof(bytes)) == 0 ||
             (data[10] == 0xff && data[11] == 0xff));
    }
}

static void try_ip6(const uint8_t *data, size_t size)
{
    struct weir_ip6 ip6;
    uint8_t bytes[WEIR_IP6_HEADER_BYTES];
    if (!weir_ip6_decode(data, size, &ip6)) {
        return;
    }
    weir_ip6_encode(bytes, &ip6);
    must(memcmp(bytes, data, sizeof(bytes)) == 0);
    size_t length = sizeof(bytes) + ip6.payload_bytes;
    struct weir_ip6_chain chain = weir_ip6_chain_first(&ip6);
    enum weir_ip6_walk found = weir_ip6_walk(data, length, &chain);
    must(chain.at <= length && chain.next_at < length && chain.problem_at < length);
    if (found == WEIR_IP6_WALK_FRAGMENT) {
        uint8_t fragment[WEIR_IP6_FRAGMENT_BYTES];
        weir_ip6_encode_fragment(fragment, &chain);
        const uint8_t *at = data + chain.at - WEIR_IP6_FRAGMENT_BYTES;
        must(fragment[0] == at[0] && fragment[2] == at[2] && memcmp(fragment + 4, at + 4, 4) == 0);
    }
}

static void try_icmp(const uint8_t *data, size_t size)
{
    struct weir_icmp icmp;
    struct weir_nd nd;
    uint8_t bytes[WEIR_ND_BYTES];
    if (!weir_icmp_decode(data, size, &icmp)) {
        return;
    }
    must_be_within(icmp.body, data, size);
    (void)weir_icmp_is_checksum_right(data, size, &path4);
    if (weir_nd_decode(&icmp, &nd)) {
        struct weir_nd again;
        size_t length = weir_nd_encode(bytes, &nd);
        weir_icmp_seal(bytes, length, &path6);
        must(weir_icmp_is_checksum_right(bytes, length, &path6));
        must(weir_icmp_decode(bytes, length, &icmp) && weir_nd_decode(&icmp, &again));
        must(memcmp(&nd, &again, sizeof(nd)) == 0);
    }
}

static void try_udp(const uint8_t *data, size_t size)
{
    struct weir_udp_header udp;
    static uint8_t bytes[1 << 16];
    if (!weir_udp_decode(data, size, &udp)) {
        return;
    }
    must_be_within(udp.data, data, size);
    (void)weir_udp_is_checksum_right(data, &udp, &path4);
    size_t length = WEIR_UDP_HEADER_BYTES + udp.data.length;
    memcpy(bytes, data, length);
    weir_udp_encode(bytes, (uint32_t)udp.data.length, &path6, false);
    must(weir_udp_decode(bytes, length, &udp) && udp.has_checksum);
    must(weir_udp_is_checksum_right(bytes, &udp, &path6));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_eth_and_arp(data, size);
    try_ip4(data, size);
    try_ip6(data, size);
    try_icmp(data, size);
    try_udp(data, size);
    return 0;
}
