/* SPDX-License-Identifier: MIT */
/*
 * test_ip_wire.c - Ethernet, ARP, IPv4, IPv6, ICMP, neighbour discovery and UDP, byte by byte, and
 * every way not to be one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/nd.h"
#include "wire/udp.h"

static void ethernet_header(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd};
    uint8_t again[sizeof(bytes)];
    struct weir_eth eth;
    assert_true(weir_eth_decode(bytes, sizeof(bytes), &eth));
    assert_int_equal(eth.type, WEIR_ETH_IP6);
    assert_memory_equal(eth.source, bytes + 6, 6);
    weir_eth_encode(again, &eth);
    assert_memory_equal(again, bytes, sizeof(bytes));
    assert_false(weir_eth_decode(bytes, sizeof(bytes) - 1, &eth));
}

/* RFC 1112 6.4, RFC 2464 7. */
static void group_addresses(void **state)
{
    (void)state;
    static const uint8_t ip4[] = {239, 0x81, 2, 3};
    static const uint8_t ip6[16] = {0xff, 2, [12] = 0xff, 1, 2, 3};
    uint8_t mac[6];
    weir_mac_of_group(ip4, 4, mac);
    assert_memory_equal(mac, ((const uint8_t[]){1, 0, 0x5e, 1, 2, 3}), 6);
    weir_mac_of_group(ip6, 16, mac);
    assert_memory_equal(mac, ((const uint8_t[]){0x33, 0x33, 0xff, 1, 2, 3}), 6);
    assert_true(weir_mac_is_group(mac));
}

/* RFC 826. */
static void arp_packet(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 1,
                                    10, 7, 0, 1, 0, 0, 0, 0, 0, 0, 10, 7, 0, 2};
    uint8_t again[sizeof(bytes)];
    uint8_t broken[sizeof(bytes)];
    struct weir_arp arp;
    assert_true(weir_arp_decode(bytes, sizeof(bytes), &arp));
    assert_int_equal(arp.operation, WEIR_ARP_REQUEST);
    assert_memory_equal(arp.target_ip, ((const uint8_t[]){10, 7, 0, 2}), 4);
    weir_arp_encode(again, &arp);
    assert_memory_equal(again, bytes, sizeof(bytes));
    assert_false(weir_arp_decode(bytes, sizeof(bytes) - 1, &arp));
    for (size_t i = 0; i < 8; i++) {
        memcpy(broken, bytes, sizeof(bytes));
        broken[i] ^= 0x10;
        assert_false(weir_arp_decode(broken, sizeof(broken), &arp));
    }
}

/* The header of RFC 1071's folklore: its checksum is b861. */
static const uint8_t known_ip4[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                    0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

static void ip4_header(void **state)
{
    (void)state;
    uint8_t packet[0x73] = {0};
    uint8_t again[WEIR_IP4_HEADER_BYTES];
    struct weir_ip4 ip4;
    memcpy(packet, known_ip4, sizeof(known_ip4));
    assert_true(weir_ip4_decode(packet, sizeof(packet), &ip4));
    assert_true(weir_ip4_is_checksum_right(packet, &ip4));
    assert_int_equal(ip4.total_bytes, 0x73);
    assert_int_equal(ip4.header_bytes, 20);
    assert_int_equal(ip4.protocol, WEIR_IP_UDP);
    assert_true(ip4.is_kept_whole);
    assert_false(ip4.is_more);
    weir_ip4_encode(again, &ip4);
    assert_memory_equal(again, known_ip4, sizeof(again));
    packet[8]--;
    assert_false(weir_ip4_is_checksum_right(packet, &ip4));
}

static void ip4_bounds(void **state)
{
    (void)state;
    uint8_t packet[0x73] = {0};
    struct weir_ip4 ip4;
    memcpy(packet, known_ip4, sizeof(known_ip4));
    assert_false(weir_ip4_decode(packet, 19, &ip4));
    assert_false(weir_ip4_decode(packet, 0x72, &ip4));
    packet[0] = 0x65;
    assert_false(weir_ip4_decode(packet, sizeof(packet), &ip4));
    packet[0] = 0x44;
    assert_false(weir_ip4_decode(packet, sizeof(packet), &ip4));
    packet[0] = 0x4f;
    assert_true(weir_ip4_decode(packet, sizeof(packet), &ip4));
    assert_int_equal(ip4.header_bytes, 60);
    packet[3] = 59;
    assert_false(weir_ip4_decode(packet, sizeof(packet), &ip4));
    /* A fragment: not the last, at 24. */
    packet[3] = 0x73;
    packet[6] = 0x20;
    packet[7] = 3;
    assert_true(weir_ip4_decode(packet, sizeof(packet), &ip4));
    assert_true(ip4.is_more);
    assert_int_equal(ip4.offset_bytes, 24);
}

static size_t make_ip6(uint8_t *packet, uint8_t next, const uint8_t *payload, size_t length)
{
    struct weir_ip6 ip6 = {.payload_bytes = (uint16_t)length,
                           .next_header = next,
                           .hop_limit = 64,
                           .traffic_class = 0xb1,
                           .flow = 0x12345};
    memset(ip6.source, 0xa1, 16);
    memset(ip6.destination, 0xa2, 16);
    weir_ip6_encode(packet, &ip6);
    memcpy(packet + WEIR_IP6_HEADER_BYTES, payload, length);
    return WEIR_IP6_HEADER_BYTES + length;
}

static enum weir_ip6_walk walk(uint8_t next, const uint8_t *payload, size_t length,
                               struct weir_ip6_chain *chain)
{
    uint8_t packet[512];
    struct weir_ip6 ip6;
    size_t bytes = make_ip6(packet, next, payload, length);
    assert_true(weir_ip6_decode(packet, bytes, &ip6));
    *chain = weir_ip6_chain_first(&ip6);
    return weir_ip6_walk(packet, bytes, chain);
}

static void ip6_header(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x6b, 0x11, 0x23, 0x45, 0, 4, 17, 64, 0xa1};
    uint8_t packet[64];
    struct weir_ip6 ip6;
    size_t length = make_ip6(packet, 17, (const uint8_t *)"data", 4);
    assert_memory_equal(packet, head, sizeof(head));
    assert_true(weir_ip6_decode(packet, length, &ip6));
    assert_int_equal(ip6.traffic_class, 0xb1);
    assert_int_equal(ip6.flow, 0x12345);
    assert_false(weir_ip6_decode(packet, length - 1, &ip6));
    assert_false(weir_ip6_decode(packet, 39, &ip6));
    packet[0] = 0x4b;
    assert_false(weir_ip6_decode(packet, length, &ip6));
}

/* RFC 8200 4: hop-by-hop, destination, routing with nothing left, fragment. */
static void ip6_chain_is_walked(void **state)
{
    (void)state;
    static const uint8_t chain_bytes[] = {
        60, 0, 1,    4, 0, 0, 0, 0,                         /* hop-by-hop: PadN */
        43, 1, 0,    0, 5, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, /* destination: Pad1, router alert */
        44, 0, 4,    0, 0, 0, 0, 0,                         /* routing */
        17, 0, 0x01, 1, 1, 2, 3, 4,                         /* fragment at 256, more */
        9,  9};
    struct weir_ip6_chain chain;
    assert_int_equal(walk(0, chain_bytes, sizeof(chain_bytes), &chain), WEIR_IP6_WALK_FRAGMENT);
    assert_int_equal(chain.next, 17);
    assert_int_equal(chain.at, 40 + 40);
    assert_int_equal(chain.offset_bytes, 256);
    assert_true(chain.is_more);
    assert_int_equal(chain.id, 0x01020304);
    for (size_t cut = 0; cut < 40; cut++) {
        assert_int_equal(walk(0, chain_bytes, cut, &chain), WEIR_IP6_WALK_MALFORMED);
    }
    assert_int_equal(walk(17, chain_bytes, 0, &chain), WEIR_IP6_WALK_UPPER);
    assert_int_equal(walk(WEIR_IP6_NONE, chain_bytes, 0, &chain), WEIR_IP6_WALK_UPPER);
}

/* RFC 8200 4.2: the two highest bits of an unknown option say what is to be done. */
static void ip6_unknown_options(void **state)
{
    (void)state;
    uint8_t header[] = {17, 0, 0x05, 4, 0, 0, 0, 0};
    struct weir_ip6_chain chain;
    assert_int_equal(walk(60, header, sizeof(header), &chain), WEIR_IP6_WALK_UPPER);
    header[2] = 0x45;
    assert_int_equal(walk(60, header, sizeof(header), &chain), WEIR_IP6_WALK_DISCARD);
    header[2] = 0x85;
    assert_int_equal(walk(60, header, sizeof(header), &chain), WEIR_IP6_WALK_PROBLEM);
    assert_int_equal(chain.problem_at, 42);
    assert_int_equal(chain.problem_code, 2);
    header[2] = 0xc5;
    assert_int_equal(walk(60, header, sizeof(header), &chain), WEIR_IP6_WALK_PROBLEM_UNICAST);
    header[3] = 5;
    assert_int_equal(walk(60, header, sizeof(header), &chain), WEIR_IP6_WALK_MALFORMED);
}

/* RFC 8200 4.4 and 4.1; and a chain without an end. */
static void ip6_wrong_headers(void **state)
{
    (void)state;
    uint8_t routing[] = {17, 0, 0, 1, 0, 0, 0, 0};
    uint8_t hops[] = {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
    uint8_t endless[128];
    struct weir_ip6_chain chain;
    assert_int_equal(walk(43, routing, sizeof(routing), &chain), WEIR_IP6_WALK_PROBLEM);
    assert_int_equal(chain.problem_at, 42);
    assert_int_equal(chain.problem_code, 0);
    assert_int_equal(walk(60, hops, sizeof(hops), &chain), WEIR_IP6_WALK_PROBLEM);
    assert_int_equal(chain.problem_at, 40);
    assert_int_equal(chain.problem_code, 1);
    for (size_t i = 0; i < sizeof(endless); i += 8) {
        memcpy(endless + i, ((const uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}), 8);
    }
    assert_int_equal(walk(60, endless, sizeof(endless), &chain), WEIR_IP6_WALK_MALFORMED);
}

/* RFC 792, computed by hand: 0800 1234 0001 00 (and a zero to pad). */
static void icmp_message(void **state)
{
    (void)state;
    static const struct weir_path path = {.remote = {.family = WEIR_ADDR_IP4}};
    static const uint8_t known[] = {8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1, 0};
    uint8_t bytes[9];
    struct weir_icmp icmp = {.type = WEIR_ICMP_ECHO, .rest = 0x12340001};
    weir_icmp_encode_header(bytes, &icmp);
    bytes[8] = 0;
    weir_icmp_seal(bytes, sizeof(bytes), &path);
    assert_memory_equal(bytes, known, sizeof(known));
    assert_true(weir_icmp_is_checksum_right(bytes, sizeof(bytes), &path));
    bytes[8] = 1;
    assert_false(weir_icmp_is_checksum_right(bytes, sizeof(bytes), &path));
    assert_true(weir_icmp_decode(bytes, sizeof(bytes), &icmp));
    assert_int_equal(icmp.body.length, 1);
    assert_int_equal(icmp.rest, 0x12340001);
    assert_false(weir_icmp_decode(bytes, 7, &icmp));
    assert_true(weir_icmp_is_error(WEIR_ICMP_UNREACHABLE, false));
    assert_false(weir_icmp_is_error(WEIR_ICMP_ECHO, false));
    assert_false(weir_icmp_is_error(WEIR_ICMP6_ECHO, true));
}

/* RFC 4861 4.3, 4.6.1, 7.1. */
static void neighbour_messages(void **state)
{
    (void)state;
    struct weir_nd nd = {.type = WEIR_ICMP6_NEIGHBOUR_SOLICITATION,
                         .has_mac = true,
                         .mac = {2, 0, 0, 0, 0, 9},
                         .target = {0xfd, [15] = 2}};
    struct weir_nd read;
    struct weir_icmp icmp;
    uint8_t bytes[WEIR_ND_BYTES + 8] = {0};
    uint8_t group[16];
    assert_int_equal(weir_nd_encode(bytes, &nd), WEIR_ND_BYTES);
    assert_true(weir_icmp_decode(bytes, WEIR_ND_BYTES, &icmp));
    assert_true(weir_nd_decode(&icmp, &read));
    assert_memory_equal(&read, &nd, sizeof(nd));
    /* An option of length 0, or one cut off. */
    assert_true(weir_icmp_decode(bytes, sizeof(bytes), &icmp));
    assert_false(weir_nd_decode(&icmp, &read));
    assert_true(weir_icmp_decode(bytes, WEIR_ND_BYTES - 1, &icmp));
    assert_false(weir_nd_decode(&icmp, &read));
    assert_true(weir_icmp_decode(bytes, WEIR_ND_BYTES_WITHOUT_MAC, &icmp));
    assert_true(weir_nd_decode(&icmp, &read));
    assert_false(read.has_mac);
    assert_true(weir_icmp_decode(bytes, WEIR_ND_BYTES_WITHOUT_MAC - 1, &icmp));
    assert_false(weir_nd_decode(&icmp, &read));
    weir_nd_solicited_node(nd.target, group);
    assert_memory_equal(group, ((const uint8_t[16]){0xff, 2, [11] = 1, 0xff, 0, 0, 2}), 16);
}

static const uint8_t payload[4] = {'d', 'a', 't', 'a'};

static const struct weir_path path4 = {
    .local = {.ip = {10, 7, 0, 1}, .port = 5000, .family = WEIR_ADDR_IP4},
    .remote = {.ip = {10, 7, 0, 2}, .port = 6000, .family = WEIR_ADDR_IP4}};

/* RFC 768, computed by hand: 0a07 0001 0a07 0002 0011 000c 1388 1770 000c 0000 6461 7461. */
static void udp_datagram(void **state)
{
    (void)state;
    static const uint8_t known[] = {0x13, 0x88, 0x17, 0x70, 0, 12, 0xe8, 0x0a, 'd', 'a', 't', 'a'};
    uint8_t bytes[12];
    struct weir_udp_header udp;
    memcpy(bytes + 8, payload, sizeof(payload));
    weir_udp_encode(bytes, 4, &path4, false);
    assert_memory_equal(bytes, known, sizeof(known));
    assert_true(weir_udp_decode(bytes, sizeof(bytes), &udp));
    assert_true(weir_udp_is_checksum_right(bytes, &udp, &path4));
    assert_int_equal(udp.source, 5000);
    assert_int_equal(udp.target, 6000);
    assert_int_equal(udp.data.length, 4);
    bytes[8] ^= 1;
    assert_false(weir_udp_is_checksum_right(bytes, &udp, &path4));
    assert_false(weir_udp_decode(bytes, 11, &udp));
    assert_false(weir_udp_decode(bytes, 7, &udp));
    bytes[5] = 7;
    assert_false(weir_udp_decode(bytes, sizeof(bytes), &udp));
}

/* RFC 768 and RFC 8200 8.1: no checksum is fine over IPv4 only. */
static void udp_without_checksum(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x13, 0x88, 0x17, 0x70, 0, 8, 0, 0};
    static const struct weir_path path6 = {.local = {.family = WEIR_ADDR_IP6},
                                           .remote = {.family = WEIR_ADDR_IP6}};
    struct weir_udp_header udp;
    assert_true(weir_udp_decode(bytes, sizeof(bytes), &udp));
    assert_false(udp.has_checksum);
    assert_true(weir_udp_is_checksum_right(bytes, &udp, &path4));
    assert_false(weir_udp_is_checksum_right(bytes, &udp, &path6));
}

/* What a driver with checksum offload is given: the pseudo-header's sum; adding the rest to it must
 * come to the whole checksum. */
static void udp_partial_checksum(void **state)
{
    (void)state;
    uint8_t bytes[12];
    uint8_t whole[12];
    memcpy(bytes + 8, payload, sizeof(payload));
    memcpy(whole + 8, payload, sizeof(payload));
    weir_udp_encode(whole, 4, &path4, false);
    weir_udp_encode(bytes, 4, &path4, true);
    uint16_t checksum = weir_checksum_fold(weir_checksum_add(0, bytes, sizeof(bytes)));
    assert_memory_equal(&checksum, whole + 6, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ethernet_header),      cmocka_unit_test(group_addresses),
        cmocka_unit_test(arp_packet),           cmocka_unit_test(ip4_header),
        cmocka_unit_test(ip4_bounds),           cmocka_unit_test(ip6_header),
        cmocka_unit_test(ip6_chain_is_walked),  cmocka_unit_test(ip6_unknown_options),
        cmocka_unit_test(ip6_wrong_headers),    cmocka_unit_test(icmp_message),
        cmocka_unit_test(neighbour_messages),   cmocka_unit_test(udp_datagram),
        cmocka_unit_test(udp_without_checksum), cmocka_unit_test(udp_partial_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
