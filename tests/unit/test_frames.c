/* SPDX-License-Identifier: MIT */
/*
 * test_frames.c - the virtio-net header, and the drivers tun and packet in a network namespace of
 * the test's own (skipped where that takes privileges it has not).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver/vnet.h"
#include "ip_world.h"
#include "weir/packet.h"
#include "weir/raw.h"

enum {
    ROOM_BYTES = 1 << 18,
    WAIT_MS = 5000
};

static uint8_t room_bytes[ROOM_BYTES];
static struct weir_packet packets[64];
static uint8_t bytes[1 << 17];

/* --- the header ------------------------------------------------------------------------------- */

/* A frame of ours with length bytes behind its headers. */
static struct weir_transmit make_frame(uint8_t protocol, bool is_ip6, bool is_ethernet,
                                       uint32_t length)
{
    const uint32_t link = is_ethernet ? WEIR_ETH_HEADER_BYTES : 0;
    const uint32_t head = link + (is_ip6 ? 40 : 20);
    memset(bytes, 0, sizeof(bytes));
    bytes[link] = is_ip6 ? 0x60 : 0x45;
    bytes[link + (is_ip6 ? 6 : 9)] = protocol;
    return (struct weir_transmit){.data = bytes,
                                  .length = head + 20 + length,
                                  .header_bytes = (uint16_t)(head + 20),
                                  .segment_bytes = 1000};
}

static void headers_of_runs(void **state)
{
    (void)state;

    static const struct {
        uint8_t protocol;
        bool is_ip6, is_ethernet;
        uint8_t gso_type;
        uint16_t start, offset;
    } cases[] = {
        {WEIR_IP_TCP, false, false, VIRTIO_NET_HDR_GSO_TCPV4, 20, 16},
        {WEIR_IP_TCP, true, false, VIRTIO_NET_HDR_GSO_TCPV6, 40, 16},
        {WEIR_IP_TCP, false, true, VIRTIO_NET_HDR_GSO_TCPV4, 34, 16},
        {WEIR_IP_UDP, true, true, WEIR_VNET_GSO_UDP_L4, 54, 6},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct virtio_net_hdr vnet;
        struct weir_transmit frame =
            make_frame(cases[i].protocol, cases[i].is_ip6, cases[i].is_ethernet, 5000);
        weir_vnet_encode(&frame, cases[i].is_ethernet, &vnet);
        assert_int_equal(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        assert_int_equal(vnet.gso_type, cases[i].gso_type);
        assert_int_equal(vnet.gso_size, 1000);
        assert_int_equal(vnet.csum_start, cases[i].start);
        assert_int_equal(vnet.csum_offset, cases[i].offset);
        assert_int_equal(vnet.hdr_len, frame.header_bytes);
        /* What fits one segment needs its checksum only. */
        frame.length = frame.header_bytes + 1000U;
        weir_vnet_encode(&frame, cases[i].is_ethernet, &vnet);
        assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_NONE);
        assert_int_equal(vnet.csum_start, cases[i].start);
    }
    struct virtio_net_hdr vnet;
    struct weir_transmit frame = make_frame(WEIR_IP_TCP, false, false, 5000);
    frame.data[20 + 13] = 0x80; /* CWR */
    weir_vnet_encode(&frame, false, &vnet);
    assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
}

static void headers_of_others(void **state)
{
    (void)state;
    static const struct virtio_net_hdr nothing;
    struct virtio_net_hdr vnet;
    struct weir_transmit frame = make_frame(WEIR_IP_ICMP, false, false, 5000);
    weir_vnet_encode(&frame, false, &vnet);
    assert_memory_equal(&vnet, &nothing, sizeof(vnet));
    frame = make_frame(WEIR_IP_TCP, false, false, 5000);
    frame.header_bytes = 0;
    weir_vnet_encode(&frame, false, &vnet);
    assert_memory_equal(&vnet, &nothing, sizeof(vnet));
    frame.header_bytes = 27;
    weir_vnet_encode(&frame, false, &vnet);
    assert_memory_equal(&vnet, &nothing, sizeof(vnet));
    frame.header_bytes = 40;
    frame.length = 39;
    weir_vnet_encode(&frame, false, &vnet);
    assert_memory_equal(&vnet, &nothing, sizeof(vnet));
    frame.length = 19;
    weir_vnet_encode(&frame, false, &vnet);
    assert_memory_equal(&vnet, &nothing, sizeof(vnet));
}

static void headers_received(void **state)
{
    (void)state;
    struct virtio_net_hdr vnet = {.flags = VIRTIO_NET_HDR_F_DATA_VALID, .gso_size = 9};
    struct weir_packet packet = {.length = 1};
    weir_vnet_decode(&vnet, &packet);
    assert_true(packet.is_checked);
    assert_int_equal(packet.segment_bytes, 0);
    vnet = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1400};
    weir_vnet_decode(&vnet, &packet);
    assert_false(packet.is_checked);
    assert_int_equal(packet.segment_bytes, 1400);
}

/* --- devices ---------------------------------------------------------------------------------- */

static bool has_namespace;

static int enter_namespace(void **state)
{
    (void)state;
    has_namespace = access("/dev/net/tun", F_OK) == 0 && unshare(CLONE_NEWNET) == 0;
    return 0;
}

static struct weir_tun_config tun_config(const char *name)
{
    struct weir_tun_config config;
    weir_tun_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "%s", name);
    config.mtu_bytes = 1400;
    config.queue_frames = 100;
    config.host = peer_ip4;
    config.host_prefix = 24;
    return config;
}

static struct weir_driver *open_tun(const struct weir_tun_config *config)
{
    char problem[WEIR_PROBLEM_BYTES];
    struct weir_driver *driver = NULL;
    if (weir_tun_open(config, &driver, problem) != WEIR_OK) {
        print_message("%s\n", problem);
        fail();
    }
    assert_string_equal(problem, "");
    return driver;
}

/* The first frame of this protocol that comes within the time. */
static const struct weir_packet *receive_frame(struct weir_driver *driver, uint8_t protocol)
{
    struct pollfd poll_fd = {.fd = driver->ops->fd(driver), .events = POLLIN};
    const struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    while (poll(&poll_fd, 1, WAIT_MS) > 0) {
        uint32_t count = 0;
        assert_int_equal(driver->ops->receive(driver, 0, room, packets, 64, &count), WEIR_OK);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(packets[i].protocol, WEIR_PROTOCOL_FRAME);
            assert_non_null(packets[i].path);
            if (packets[i].data[0] >> 4 == 4 && packets[i].data[9] == protocol) {
                return &packets[i];
            }
        }
    }
    return NULL;
}

/* An echo request to the kernel's end, in a frame without offloads; its reply comes back. */
static void ping_kernel(struct weir_driver *driver)
{
    static struct ip_world world;
    uint32_t sent = 0;
    ip_world_start(&world, "hello", 5);
    ip_world_push_icmp(&world, WEIR_ICMP_ECHO, 0, 1, false);
    ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    memcpy(world.frame + 12, our_ip4.ip, 4);
    memcpy(world.frame + 16, peer_ip4.ip, 4);
    ip_world_seal_ip4(world.frame);
    const struct weir_transmit frame = {.data = world.frame, .length = world.length};
    assert_int_equal(driver->ops->send(driver, 0, &frame, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
    assert_int_equal(driver->stats.tx_datagrams, 1);
    const struct weir_packet *reply = receive_frame(driver, WEIR_IP_ICMP);
    assert_non_null(reply);
    assert_int_equal(reply->length, world.length);
    assert_memory_equal(reply->data + 28, "hello", 5);
}

static void tun_moves_packets(void **state)
{
    (void)state;
    if (!has_namespace) {
        skip();
    }
    for (int is_plain = 0; is_plain < 2; is_plain++) {
        struct weir_tun_config config = tun_config("");
        config.is_offload_disabled = is_plain != 0;
        struct weir_driver *driver = open_tun(&config);
        const struct weir_interface *interface = weir_tun_interface(driver);
        assert_int_equal(interface->mtu_bytes, 1400);
        assert_true(interface->index > 0);
        assert_true(strncmp(interface->name, "tun", 3) == 0);
        assert_false(interface->is_ethernet);
        assert_int_equal(driver->is_unchecked, is_plain == 0);
        ping_kernel(driver);
        driver->ops->close(driver);
    }
}

static void tap_has_two_ends(void **state)
{
    (void)state;
    if (!has_namespace) {
        skip();
    }
    struct weir_tun_config config = tun_config("tap7");
    config.is_tap = true;
    struct weir_driver *driver = open_tun(&config);
    const struct weir_interface *interface = weir_tun_interface(driver);
    assert_true(interface->is_ethernet);
    assert_int_equal(interface->mac[0] & 3, 2); /* local, of one host */
    struct weir_interface kernel = {.name = "tap7", .is_ethernet = true};
    assert_true(weir_interface_read(&kernel));
    assert_memory_not_equal(kernel.mac, interface->mac, 6);
    driver->ops->close(driver);
}

/* Two queues of one device; and each way it cannot be opened, said in words. */
static void tun_queues_and_problems(void **state)
{
    (void)state;
    char problem[WEIR_PROBLEM_BYTES];
    struct weir_driver *other = NULL;
    struct weir_tun_config config = tun_config("tun7");
    if (!has_namespace) {
        skip();
    }
    config.is_multi_queue = true;
    struct weir_driver *first = open_tun(&config);
    struct weir_driver *second = open_tun(&config);
    assert_int_equal(weir_tun_interface(first)->index, weir_tun_interface(second)->index);
    config.is_tap = true;
    assert_int_equal(weir_tun_open(&config, &other, problem), WEIR_ERR_OS);
    assert_non_null(strstr(problem, "another kind"));
    first->ops->close(first);
    second->ops->close(second);
    config = tun_config("tun8");
    first = open_tun(&config);
    assert_int_equal(weir_tun_open(&config, &other, problem), WEIR_ERR_OS);
    assert_non_null(strstr(problem, "another program"));
    first->ops->close(first);
    config.mtu_bytes = 1; /* less than the kernel allows */
    assert_int_equal(weir_tun_open(&config, &other, problem), WEIR_ERR_OS);
    assert_non_null(strstr(problem, "setting the MTU"));
}

/* The device is down: frames are dropped and counted. */
static void nothing_goes_when_it_is_down(void **state)
{
    (void)state;
    uint32_t sent = 0;
    if (!has_namespace) {
        skip();
    }
    struct weir_tun_config config = tun_config("tun9");
    config.is_up = false;
    config.host = (struct weir_addr){.family = WEIR_ADDR_NONE}; /* an address would set it up */
    struct weir_driver *driver = open_tun(&config);
    const struct weir_transmit frame = {.data = bytes, .length = 100};
    assert_int_equal(driver->ops->send(driver, 0, &frame, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
    assert_int_equal(driver->stats.tx_dropped, 1);
    driver->ops->close(driver);
}

static void wrong_configs(void **state)
{
    (void)state;
    char problem[WEIR_PROBLEM_BYTES];
    struct weir_driver *driver = NULL;
    struct weir_tun_config tun = tun_config("x");
    struct weir_packet_config packet;
    struct weir_raw_config raw;
    tun.host_prefix = 33;
    assert_int_equal(weir_tun_open(&tun, &driver, problem), WEIR_ERR_INVALID);
    memset(tun.name, 'x', sizeof(tun.name));
    tun.host_prefix = 24;
    assert_int_equal(weir_tun_open(&tun, &driver, problem), WEIR_ERR_INVALID);
    weir_packet_config_default(&packet);
    packet.batch_slots = 65;
    assert_int_equal(weir_packet_open(&packet, &driver, problem), WEIR_ERR_INVALID);
    weir_raw_config_default(&raw);
    raw.local = our_ip6;
    assert_int_equal(weir_raw_open(&raw, &driver, problem), WEIR_ERR_INVALID);
    assert_string_equal(problem, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_of_runs),
        cmocka_unit_test(headers_of_others),
        cmocka_unit_test(headers_received),
        cmocka_unit_test(tun_moves_packets),
        cmocka_unit_test(tap_has_two_ends),
        cmocka_unit_test(tun_queues_and_problems),
        cmocka_unit_test(nothing_goes_when_it_is_down),
        cmocka_unit_test(wrong_configs),
    };
    return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
