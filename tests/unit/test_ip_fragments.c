/* SPDX-License-Identifier: MIT */
/*
 * test_ip_fragments.c - datagrams put together: any order, overlaps, bounds, time.
 */
#include "ip_case.h"

static const struct weir_ip_service udp_service = {.udp_port = IP_WORLD_PORT};

static uint8_t whole[4096]; /* a UDP datagram with its header */

static void make_whole(bool is_ip6)
{
    ip_world_start(&world, whole, sizeof(whole) - WEIR_UDP_HEADER_BYTES);
    for (uint32_t i = 0; i < world.length; i++) {
        world.frame[i] = (uint8_t)(i * 11 + (i >> 8));
    }
    ip_world_push_udp(&world, 5000, IP_WORLD_PORT, is_ip6);
    memcpy(whole, world.frame, sizeof(whole));
}

static bool give_piece(bool is_ip6, uint32_t offset, uint32_t length, uint16_t id)
{
    bool is_more = offset + length < sizeof(whole);
    ip_world_start(&world, whole + offset, length);
    if (is_ip6) {
        ip_world_push_fragment(&world, WEIR_IP_UDP, offset, is_more, id);
        ip_world_push_ip6(&world, WEIR_IP6_FRAGMENT, 64);
    } else {
        ip_world_push_ip4(&world, WEIR_IP_UDP, offset, is_more, id);
    }
    return ip_world_give(&world, &plain);
}

static void expect_whole(void)
{
    assert_int_equal(world.packet.length, sizeof(whole) - WEIR_UDP_HEADER_BYTES);
    assert_memory_equal(world.packet.data, whole + WEIR_UDP_HEADER_BYTES, world.packet.length);
}

/* In this order; all but the last twice. */
static void give_pieces(bool is_ip6, const uint8_t order[4], uint16_t id)
{
    weir_ip_begin(world.ip);
    for (int i = 0; i < 3; i++) {
        assert_false(give_piece(is_ip6, order[i] * 1024U, 1024, id));
        assert_false(give_piece(is_ip6, order[i] * 1024U, 1024, id));
    }
    assert_true(give_piece(is_ip6, order[3] * 1024U, 1024, id));
}

static void fragments_in_any_order(void **state)
{
    (void)state;
    static const uint8_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
    open_plain(&udp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        make_whole(is_ip6 != 0);
        for (uint16_t i = 0; i < 4; i++) {
            give_pieces(is_ip6 != 0, orders[i], i);
            expect_whole();
        }
    }
    assert_int_equal(weir_ip_stats(world.ip)->rx_reassembled, 8);
}

/* RFC 8200 4.5: overlapping fragments spoil the datagram, also those that are still to come. */
static void overlaps_spoil(void **state)
{
    (void)state;
    open_plain(&udp_service);
    make_whole(false);
    assert_false(give_piece(false, 0, 1024, 1));
    assert_false(give_piece(false, 1016, 1024, 1));
    assert_false(give_piece(false, 1024, 1024, 1));
    assert_false(give_piece(false, 2048, 2048, 1));
    assert_int_equal(dropped(WEIR_IP_DROP_FRAGMENT), 3);
    /* The same place, other bytes. */
    assert_false(give_piece(false, 0, 1024, 2));
    whole[100] ^= 1;
    assert_false(give_piece(false, 0, 1024, 2));
    whole[100] ^= 1;
    assert_int_equal(dropped(WEIR_IP_DROP_FRAGMENT), 4);
    /* Half of it is there, and agrees. */
    ip_world_start(&world, (const uint8_t[16]){0}, 16);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 64, true, 7);
    assert_false(ip_world_give(&world, &plain));
    ip_world_start(&world, (const uint8_t[16]){0}, 16);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 72, true, 7);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    /* Two ends. */
    assert_false(give_piece(false, 3072, 1024, 3));
    ip_world_start(&world, whole, 1024);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 1024, false, 3);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    /* Something behind the end. */
    assert_false(give_piece(false, 2048, 1024, 4));
    ip_world_start(&world, whole, 1000);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 1024, false, 4);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
}

static void wrong_fragments(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.reassembly_bytes_max = 8192;
    open_with(&config, &udp_service);
    ip_world_start(&world, whole, 1001);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 0, true, 1);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    ip_world_start(&world, whole, 0);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 8, false, 1);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    ip_world_start(&world, whole, 8);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 8192, false, 1);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    (void)take_output(0);
    /* RFC 8200 4.5: said to an IPv6 host. */
    ip_world_start(&world, whole, 1001);
    ip_world_push_fragment(&world, WEIR_IP_UDP, 0, true, 1);
    ip_world_push_ip6(&world, WEIR_IP6_FRAGMENT, 64);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    assert_int_equal(weir_load32(take_output(1)->data + 44), 4);
    ip_world_start(&world, whole, 1000);
    ip_world_push_fragment(&world, WEIR_IP_UDP, 65528, false, 1);
    ip_world_push_ip6(&world, WEIR_IP6_FRAGMENT, 64);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
    assert_int_equal(weir_load32(take_output(1)->data + 44), 42);
}

static void fragments_are_refused(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.reassembly_max = 0;
    open_with(&config, &udp_service);
    make_whole(false);
    ip_world_start(&world, whole, 1024);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 0, true, 1);
    expect_drop(WEIR_IP_DROP_FRAGMENT);
}

/* RFC 8200 4.5, the last paragraphs: a datagram in one fragment; and options behind the header. */
static void whole_in_one_fragment(void **state)
{
    (void)state;
    static const uint8_t options[] = {WEIR_IP_UDP, 0, 1, 4, 0, 0, 0, 0};
    open_plain(&udp_service);
    make_whole(true);
    ip_world_start(&world, whole, sizeof(whole));
    memcpy(ip_world_push(&world, sizeof(options)), options, sizeof(options));
    ip_world_push_fragment(&world, WEIR_IP6_DESTINATION, 0, false, 9);
    ip_world_push_ip6(&world, WEIR_IP6_FRAGMENT, 64);
    assert_true(ip_world_give(&world, &plain));
    expect_whole();
    assert_int_equal(weir_ip_stats(world.ip)->rx_fragments, 0);
    ip_world_start(&world, whole, 64);
    ip_world_push_fragment(&world, WEIR_IP_UDP, 0, false, 9);
    ip_world_push_fragment(&world, WEIR_IP6_FRAGMENT, 0, false, 9);
    ip_world_push_ip6(&world, WEIR_IP6_FRAGMENT, 64);
    expect_drop(WEIR_IP_DROP_EXTENSION);
}

/* RFC 1122 3.3.2, RFC 8200 4.5: time exceeded, when the first fragment is there. */
static void fragments_expire(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.reassembly_timeout = 5 * WEIR_SEC;
    open_with(&config, &udp_service);
    make_whole(false);
    assert_false(give_piece(false, 0, 1024, 1));
    assert_int_equal(weir_ip_next_timeout(world.ip), world.now + 5 * WEIR_SEC);
    world.now += WEIR_SEC;
    assert_false(give_piece(false, 1024, 1024, 2));
    make_whole(true);
    assert_false(give_piece(true, 0, 1024, 3));
    world.now += 4 * WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    const struct weir_transmit *frame = take_output(1);
    assert_int_equal(frame->data[20], WEIR_ICMP_TIME_EXCEEDED);
    assert_int_equal(frame->data[21], WEIR_ICMP_CODE_REASSEMBLY);
    assert_int_equal(frame->data[28 + 9], WEIR_IP_UDP);
    assert_int_equal(frame->length, 576);
    world.now += WEIR_SEC;
    weir_ip_timeout(world.ip, world.now);
    frame = take_output(1);
    assert_int_equal(frame->data[40], WEIR_ICMP6_TIME_EXCEEDED);
    assert_int_equal(frame->data[48 + 6], WEIR_IP6_FRAGMENT);
    assert_int_equal(frame->data[48 + 40], WEIR_IP_UDP);
    assert_int_equal(dropped(WEIR_IP_DROP_REASSEMBLY), 3);
    assert_int_equal(weir_ip_next_timeout(world.ip), WEIR_NEVER);
    assert_false(give_piece(false, 1024, 3072, 1)); /* the rest of what is gone */
}

static void the_oldest_fragments_go(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.reassembly_max = 4;
    open_with(&config, &udp_service);
    make_whole(false);
    for (uint16_t id = 0; id < 5; id++) {
        world.now++;
        assert_false(give_piece(false, 0, 2048, id));
    }
    assert_int_equal(dropped(WEIR_IP_DROP_REASSEMBLY), 1);
    for (uint16_t id = 1; id < 5; id++) {
        assert_true(give_piece(false, 2048, 2048, id));
        expect_whole();
    }
    /* All four are in use upstairs until the batch ends. */
    assert_false(give_piece(false, 0, 2048, 9));
    assert_int_equal(dropped(WEIR_IP_DROP_REASSEMBLY), 2);
    weir_ip_begin(world.ip);
    assert_false(give_piece(false, 0, 2048, 9));
    assert_true(give_piece(false, 2048, 2048, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IP_TEST(fragments_in_any_order),  IP_TEST(overlaps_spoil),        IP_TEST(wrong_fragments),
        IP_TEST(fragments_are_refused),   IP_TEST(whole_in_one_fragment), IP_TEST(fragments_expire),
        IP_TEST(the_oldest_fragments_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
