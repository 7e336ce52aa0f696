/* SPDX-License-Identifier: MIT */
/*
 * test_neighbour.c - ARP and neighbour discovery: asked, answered, waited for, given up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ip_world.h"

static const struct weir_packet plain = {.protocol = WEIR_PROTOCOL_FRAME};
static const struct weir_ip_service tcp_service = {.is_tcp = true};
static const uint8_t everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static struct ip_world world;

static const struct weir_transmit *take_output(uint32_t expected)
{
    uint32_t count = 0;
    const struct weir_transmit *frames = weir_ip_output(world.ip, &count);
    assert_int_equal(count, expected);
    weir_ip_sent(world.ip, count);
    return frames;
}

/* Announcements are over. */
static void open_with(const struct weir_ip_config *config)
{
    assert_true(ip_world_open(&world, config, &tcp_service));
    weir_ip_timeout(world.ip, world.now);
    world.now += WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    (void)take_output(2 * config->address_count);
}

static int open_world(void **state)
{
    (void)state;
    const struct weir_ip_config config = ip_world_config(true);
    open_with(&config);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    ip_world_close(&world);
    world.mem = NULL;
    return 0;
}

static uint64_t dropped(enum weir_ip_drop reason)
{
    return weir_ip_stats(world.ip)->dropped[reason];
}

static void give_arp(enum weir_arp_operation operation, const uint8_t sender[4],
                     const uint8_t target[4])
{
    struct weir_arp arp = {.operation = (uint16_t)operation};
    memcpy(arp.sender_mac, peer_mac, 6);
    memcpy(arp.sender_ip, sender, 4);
    memcpy(arp.target_ip, target, 4);
    world.length = WEIR_ARP_BYTES;
    weir_arp_encode(world.frame, &arp);
    ip_world_push_eth(&world, WEIR_ETH_ARP);
    assert_false(ip_world_give(&world, &plain));
}

static void give_nd(const struct weir_nd *nd, uint8_t hop_limit)
{
    const struct weir_path path = ip_world_path(true);
    world.length = (uint32_t)weir_nd_encode(world.frame, nd);
    weir_icmp_seal(world.frame, world.length, &path);
    ip_world_push_ip6(&world, WEIR_IP_ICMP6, hop_limit);
    ip_world_push_eth(&world, WEIR_ETH_IP6);
    assert_false(ip_world_give(&world, &plain));
}

static struct weir_nd make_nd(uint8_t type, uint8_t flags, const struct weir_addr *target)
{
    struct weir_nd nd = {.type = type, .flags = flags, .has_mac = true};
    memcpy(nd.mac, peer_mac, 6);
    memcpy(nd.target, target->ip, 16);
    return nd;
}

static uint8_t tx_bytes[1 << 17];

/* Sends a segment of length bytes. The status of encapsulate; the frame when there is one. */
static enum weir_status send_segment(const struct weir_addr *remote, uint32_t length,
                                     struct weir_transmit *frame)
{
    const struct weir_transmit transmit = {.path = {.remote = *remote},
                                           .data = tx_bytes + WEIR_IP_HEADROOM,
                                           .length = length,
                                           .segment_bytes = (uint16_t)length};
    memset(transmit.data, (int)length, length);
    return weir_ip_encapsulate(world.ip, world.now, &transmit, frame);
}

/* --- ARP -------------------------------------------------------------------------------------- */

/* RFC 826. */
static void arp_request_is_answered(void **state)
{
    (void)state;
    struct weir_arp arp;
    struct weir_transmit frame;
    give_arp(WEIR_ARP_REQUEST, peer_ip4.ip, our_ip4.ip);
    const struct weir_transmit *reply = take_output(1);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_true(weir_arp_decode(reply->data + 14, reply->length - 14, &arp));
    assert_int_equal(arp.operation, WEIR_ARP_REPLY);
    assert_memory_equal(arp.sender_mac, our_mac, 6);
    assert_memory_equal(arp.sender_ip, our_ip4.ip, 4);
    assert_memory_equal(arp.target_ip, peer_ip4.ip, 4);
    /* Whoever asked is known now. */
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    assert_memory_equal(frame.data, peer_mac, 6);
    /* For another host: neither answered nor taken. */
    give_arp(WEIR_ARP_REQUEST, (const uint8_t[]){10, 7, 0, 9}, (const uint8_t[]){10, 7, 0, 8});
    (void)take_output(0);
    /* RFC 5227's probe comes from nobody: answered, not taken. */
    give_arp(WEIR_ARP_REQUEST, (const uint8_t[]){0, 0, 0, 0}, our_ip4.ip);
    (void)take_output(1);
    give_arp(WEIR_ARP_REQUEST, (const uint8_t[]){224, 0, 0, 1}, our_ip4.ip);
    assert_int_equal(dropped(WEIR_IP_DROP_ARP), 1);
    (void)take_output(0);
}

static void segments_wait_for_arp(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_arp arp;
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_AGAIN);
    assert_int_equal(send_segment(&peer_ip4, 41, &frame), WEIR_AGAIN);
    const struct weir_transmit *ask = take_output(1);
    assert_memory_equal(ask->data, everyone, 6);
    assert_true(weir_arp_decode(ask->data + 14, ask->length - 14, &arp));
    assert_int_equal(arp.operation, WEIR_ARP_REQUEST);
    assert_memory_equal(arp.sender_ip, our_ip4.ip, 4);
    give_arp(WEIR_ARP_REPLY, peer_ip4.ip, our_ip4.ip);
    const struct weir_transmit *sent = take_output(2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(sent[i].length, 14 + 20 + 40 + i);
        assert_memory_equal(sent[i].data, peer_mac, 6);
        assert_memory_equal(sent[i].data + 6, our_mac, 6);
        assert_int_equal(sent[i].data[14 + 20], 40 + i);
    }
    assert_int_equal(dropped(WEIR_IP_DROP_UNRESOLVED), 0);
}

/* At most three wait for a neighbour, the oldest goes (RFC 4861 7.2.2); long ones never do. */
static void few_segments_wait(void **state)
{
    (void)state;
    struct weir_transmit frame;
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(send_segment(&peer_ip4, 40 + i, &frame), WEIR_AGAIN);
    }
    assert_int_equal(dropped(WEIR_IP_DROP_UNRESOLVED), 2);
    (void)take_output(1);
    give_arp(WEIR_ARP_REPLY, peer_ip4.ip, our_ip4.ip);
    const struct weir_transmit *sent = take_output(3);
    assert_int_equal(sent[0].length, 14 + 20 + 42);
}

static void all_places_to_wait(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_addr remote = peer_ip4;
    for (uint8_t i = 0; i < 20; i++) {
        remote.ip[3] = (uint8_t)(100 + i);
        assert_int_equal(send_segment(&remote, 40, &frame), WEIR_AGAIN);
    }
    assert_int_equal(dropped(WEIR_IP_DROP_UNRESOLVED), 4);
    (void)take_output(20);
}

/* RFC 4861 10: three times a second apart, then given up; and asked again when used again. */
static void silence_is_given_up(void **state)
{
    (void)state;
    struct weir_transmit frame;
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_AGAIN);
    (void)take_output(1);
    for (int i = 0; i < 2; i++) {
        weir_ip_timeout(world.ip, world.now);
        (void)take_output(0);
        assert_int_equal(weir_ip_next_timeout(world.ip), world.now + WEIR_SEC);
        world.now += WEIR_SEC;
        weir_ip_timeout(world.ip, world.now);
        (void)take_output(1);
    }
    world.now += WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    (void)take_output(0);
    assert_int_equal(dropped(WEIR_IP_DROP_UNRESOLVED), 1);
    assert_int_equal(weir_ip_next_timeout(world.ip), WEIR_NEVER);
    give_arp(WEIR_ARP_REPLY, peer_ip4.ip, our_ip4.ip); /* too late: nothing is made for it */
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_AGAIN);
    (void)take_output(1);
}

/* RFC 4861 7.3.2: reachable, stale, used, asked at its old address, gone. */
static void neighbours_are_asked_again(void **state)
{
    (void)state;
    struct weir_transmit frame;
    (void)send_segment(&peer_ip4, 40, &frame);
    give_arp(WEIR_ARP_REPLY, peer_ip4.ip, our_ip4.ip);
    (void)take_output(2);
    world.now += 29 * WEIR_SEC;
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    assert_int_equal(weir_ip_next_timeout(world.ip),
                     WEIR_NEVER > world.now + WEIR_SEC ? weir_ip_next_timeout(world.ip) : 0);
    world.now += 2 * WEIR_SEC;
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    world.now += 5 * WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    const struct weir_transmit *ask = take_output(1);
    assert_memory_equal(ask->data, peer_mac, 6);
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    give_arp(WEIR_ARP_REPLY, peer_ip4.ip, our_ip4.ip);
    world.now += 20 * WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    (void)take_output(0);
    world.now += 11 * WEIR_SEC;
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    for (int i = 0; i < 4; i++) {
        world.now += 5 * WEIR_SEC;
        weir_ip_timeout(world.ip, world.now);
        (void)take_output(i < 3 ? 1 : 0);
    }
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_AGAIN);
}

static void gateways_take_the_rest(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_arp arp;
    struct weir_ip_config config = ip_world_config(true);
    ip_world_close(&world);
    config.gateway4 = (struct weir_addr){.ip = {10, 7, 0, 254}, .family = WEIR_ADDR_IP4};
    open_with(&config);
    const struct weir_addr far = {.ip = {192, 0, 2, 1}, .family = WEIR_ADDR_IP4};
    assert_int_equal(send_segment(&far, 40, &frame), WEIR_AGAIN);
    const struct weir_transmit *ask = take_output(1);
    assert_true(weir_arp_decode(ask->data + 14, ask->length - 14, &arp));
    assert_memory_equal(arp.target_ip, config.gateway4.ip, 4);
}

static void groups_need_no_neighbour(void **state)
{
    (void)state;
    struct weir_transmit frame;
    const struct weir_addr broadcast = {.ip = {10, 7, 0, 255}, .family = WEIR_ADDR_IP4};
    const struct weir_addr group = {.ip = {224, 1, 2, 3}, .family = WEIR_ADDR_IP4};
    assert_int_equal(send_segment(&broadcast, 40, &frame), WEIR_OK);
    assert_memory_equal(frame.data, everyone, 6);
    assert_int_equal(send_segment(&group, 40, &frame), WEIR_OK);
    assert_memory_equal(frame.data, ((const uint8_t[]){1, 0, 0x5e, 1, 2, 3}), 6);
}

/* Strangers push out each other; whom we send to stays. */
static void the_cache_is_bounded(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_ip_config config = ip_world_config(true);
    ip_world_close(&world);
    config.neighbours_max = 8;
    open_with(&config);
    give_arp(WEIR_ARP_REQUEST, peer_ip4.ip, our_ip4.ip);
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
    for (uint8_t i = 10; i < 200; i++) {
        const uint8_t stranger[4] = {10, 7, 0, i};
        give_arp(WEIR_ARP_REQUEST, stranger, our_ip4.ip);
        weir_ip_sent(world.ip, 1);
    }
    assert_int_equal(weir_ip_stats(world.ip)->neighbours_evicted, 183);
    uint32_t count = 0;
    (void)weir_ip_output(world.ip, &count);
    weir_ip_sent(world.ip, count);
    assert_int_equal(send_segment(&peer_ip4, 40, &frame), WEIR_OK);
}

/* Of those that we send to, the one that waited longest goes. */
static void the_least_used_goes(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_addr remote = peer_ip4;
    struct weir_ip_config config = ip_world_config(true);
    ip_world_close(&world);
    config.neighbours_max = 8;
    open_with(&config);
    for (uint8_t i = 10; i < 18; i++) {
        remote.ip[3] = i;
        give_arp(WEIR_ARP_REQUEST, remote.ip, our_ip4.ip);
        assert_int_equal(send_segment(&remote, 40, &frame), WEIR_OK);
    }
    remote.ip[3] = 10;
    assert_int_equal(send_segment(&remote, 40, &frame), WEIR_OK);
    give_arp(WEIR_ARP_REQUEST, (const uint8_t[]){10, 7, 0, 99}, our_ip4.ip);
    (void)take_output(9);
    assert_int_equal(send_segment(&remote, 40, &frame), WEIR_OK);
    remote.ip[3] = 12;
    assert_int_equal(send_segment(&remote, 40, &frame), WEIR_OK);
    remote.ip[3] = 11;
    assert_int_equal(send_segment(&remote, 40, &frame), WEIR_AGAIN);
    (void)take_output(1);
}

/* Defended at most once in ten seconds. */
static void conflicts_are_defended(void **state)
{
    (void)state;
    struct weir_arp arp;
    give_arp(WEIR_ARP_REQUEST, our_ip4.ip, our_ip4.ip);
    const struct weir_transmit *defence = take_output(1);
    assert_true(weir_arp_decode(defence->data + 14, defence->length - 14, &arp));
    assert_memory_equal(arp.sender_ip, arp.target_ip, 4);
    assert_memory_equal(defence->data, everyone, 6);
    give_arp(WEIR_ARP_REPLY, our_ip4.ip, peer_ip4.ip);
    (void)take_output(0);
    world.now += 10 * WEIR_SEC;
    give_arp(WEIR_ARP_REPLY, our_ip4.ip, peer_ip4.ip);
    (void)take_output(1);
    assert_int_equal(weir_ip_stats(world.ip)->conflicts, 3);
}

/* --- neighbour discovery ---------------------------------------------------------------------- */

/* RFC 4861 7.2.3, 7.2.4. */
static void solicitation_is_answered(void **state)
{
    (void)state;
    struct weir_icmp icmp;
    struct weir_nd nd = make_nd(WEIR_ICMP6_NEIGHBOUR_SOLICITATION, 0, &our_ip6);
    struct weir_transmit frame;
    give_nd(&nd, 255);
    const struct weir_transmit *reply = take_output(1);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_int_equal(reply->data[14 + 7], 255);
    assert_true(weir_icmp_decode(reply->data + 54, reply->length - 54, &icmp));
    const struct weir_path path = ip_world_path(true);
    assert_true(weir_icmp_is_checksum_right(reply->data + 54, reply->length - 54, &path));
    assert_true(weir_nd_decode(&icmp, &nd));
    assert_int_equal(nd.type, WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT);
    assert_int_equal(nd.flags, WEIR_ND_SOLICITED | WEIR_ND_OVERRIDE);
    assert_memory_equal(nd.mac, our_mac, 6);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_OK);
}

/* RFC 4861 7.1.1, 7.1.2. */
static void wrong_neighbour_messages(void **state)
{
    (void)state;
    struct weir_nd nd = make_nd(WEIR_ICMP6_NEIGHBOUR_SOLICITATION, 0, &our_ip6);
    give_nd(&nd, 254);
    assert_int_equal(dropped(WEIR_IP_DROP_ND), 1);
    nd.mac[0] = 1;
    give_nd(&nd, 255);
    assert_int_equal(dropped(WEIR_IP_DROP_ND), 2);
    nd = make_nd(WEIR_ICMP6_NEIGHBOUR_SOLICITATION, 0, &peer_ip6);
    give_nd(&nd, 255); /* not for us */
    assert_int_equal(dropped(WEIR_IP_DROP_ND), 2);
    (void)take_output(0);
}

static void segments_wait_for_advertisements(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_nd nd = make_nd(WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT,
                                WEIR_ND_SOLICITED | WEIR_ND_OVERRIDE, &peer_ip6);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_AGAIN);
    const struct weir_transmit *ask = take_output(1);
    assert_memory_equal(ask->data, ((const uint8_t[]){0x33, 0x33, 0xff, 0, 0, 1}), 6);
    assert_int_equal(ask->data[54], WEIR_ICMP6_NEIGHBOUR_SOLICITATION);
    nd.has_mac = false;
    give_nd(&nd, 255); /* RFC 4861 7.2.5: of no use without the address */
    (void)take_output(0);
    nd.has_mac = true;
    give_nd(&nd, 255);
    assert_int_equal(take_output(1)->length, 14 + 40 + 40);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_OK);
    /* Another address without the override flag changes nothing. */
    nd.flags = 0;
    nd.mac[5] = 0x77;
    give_nd(&nd, 255);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_OK);
    assert_memory_equal(frame.data, peer_mac, 6);
    nd.flags = WEIR_ND_OVERRIDE;
    give_nd(&nd, 255);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_OK);
    assert_int_equal(frame.data[5], 0x77);
}

/* RFC 4862 5.4: an address that another has is given up when it is new, else defended. */
static void duplicate_addresses(void **state)
{
    (void)state;
    struct weir_transmit frame;
    const struct weir_ip_config config = ip_world_config(true);
    struct weir_nd nd = make_nd(WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT, WEIR_ND_OVERRIDE, &our_ip6);
    give_nd(&nd, 255); /* long after the start */
    assert_int_equal(take_output(1)->data[54], WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT);
    ip_world_close(&world);
    assert_true(ip_world_open(&world, &config, &tcp_service));
    weir_ip_timeout(world.ip, world.now);
    const struct weir_transmit *start = take_output(2);
    assert_int_equal(start[1].data[54], WEIR_ICMP6_NEIGHBOUR_SOLICITATION);
    assert_int_equal(start[1].data[14 + 8], 0); /* from the unspecified address */
    give_nd(&nd, 255);
    assert_int_equal(weir_ip_stats(world.ip)->conflicts, 1);
    assert_int_equal(send_segment(&peer_ip6, 40, &frame), WEIR_AGAIN);
    assert_int_equal(dropped(WEIR_IP_DROP_ROUTE), 1);
    nd = make_nd(WEIR_ICMP6_NEIGHBOUR_SOLICITATION, 0, &our_ip6);
    give_nd(&nd, 255);
    (void)take_output(0);
}

/* Frames that are not to us. */
static void other_frames(void **state)
{
    (void)state;
    ip_world_start(&world, "?", 1);
    ip_world_push_eth(&world, 0x88cc);
    assert_false(ip_world_give(&world, &plain));
    ip_world_start(&world, "?", 1);
    ip_world_push_eth(&world, WEIR_ETH_IP4);
    world.frame[5] = 9;
    assert_false(ip_world_give(&world, &plain));
    world.length = 13;
    assert_false(ip_world_give(&world, &plain));
    assert_int_equal(dropped(WEIR_IP_DROP_ETHERNET), 3);
    world.length = 20;
    ip_world_push_eth(&world, WEIR_ETH_ARP);
    assert_false(ip_world_give(&world, &plain));
    assert_int_equal(dropped(WEIR_IP_DROP_ARP), 1);
}

#define NEIGHBOUR_TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NEIGHBOUR_TEST(arp_request_is_answered),  NEIGHBOUR_TEST(segments_wait_for_arp),
        NEIGHBOUR_TEST(few_segments_wait),        NEIGHBOUR_TEST(all_places_to_wait),
        NEIGHBOUR_TEST(silence_is_given_up),      NEIGHBOUR_TEST(neighbours_are_asked_again),
        NEIGHBOUR_TEST(gateways_take_the_rest),   NEIGHBOUR_TEST(groups_need_no_neighbour),
        NEIGHBOUR_TEST(the_cache_is_bounded),     NEIGHBOUR_TEST(the_least_used_goes),
        NEIGHBOUR_TEST(conflicts_are_defended),   NEIGHBOUR_TEST(solicitation_is_answered),
        NEIGHBOUR_TEST(wrong_neighbour_messages), NEIGHBOUR_TEST(segments_wait_for_advertisements),
        NEIGHBOUR_TEST(duplicate_addresses),      NEIGHBOUR_TEST(other_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
