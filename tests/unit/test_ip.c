/* SPDX-License-Identifier: MIT */
/*
 * test_ip.c - the IP layer from outside: what it hands on, what it answers, what it drops and why;
 * what it puts around segments and datagrams.
 */
#include "ip_case.h"

static const struct weir_ip_service tcp_service = {.is_tcp = true};
static const struct weir_ip_service udp_service = {.udp_port = IP_WORLD_PORT};

/* --- segments and datagrams in ---------------------------------------------------------------- */

static const uint8_t segment[24] = {0x13, 0x88, 0x17, 0x70, [12] = 0x50, [20] = 'd', 'a', 't', 'a'};

static void tcp_over_ip4(void **state)
{
    (void)state;
    open_plain(&tcp_service);
    ip_world_start(&world, segment, sizeof(segment));
    ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
    world.length += 6; /* a link's padding */
    const struct weir_packet joined = {.segment_bytes = 2, .is_checked = true};
    assert_true(ip_world_give(&world, &joined));
    assert_int_equal(world.packet.protocol, WEIR_PROTOCOL_TCP);
    assert_ptr_equal(world.packet.data, world.frame + 20);
    assert_int_equal(world.packet.length, sizeof(segment));
    assert_int_equal(world.packet.segment_bytes, 2);
    assert_int_equal(world.packet.ecn, WEIR_ECN_ECT0);
    assert_true(world.packet.is_checked);
    assert_true(weir_addr_is_equal(&world.path.local, &our_ip4));
    assert_true(weir_addr_is_equal(&world.path.remote, &peer_ip4));
}

static void tcp_over_ip6(void **state)
{
    (void)state;
    static const uint8_t options[] = {WEIR_IP_TCP, 0, 1, 4, 0, 0, 0, 0};
    open_plain(&tcp_service);
    ip_world_start(&world, segment, sizeof(segment));
    memcpy(ip_world_push(&world, sizeof(options)), options, sizeof(options));
    ip_world_push_ip6(&world, WEIR_IP6_DESTINATION, 64);
    assert_true(ip_world_give(&world, &plain));
    assert_ptr_equal(world.packet.data, world.frame + 48);
    assert_int_equal(world.packet.length, sizeof(segment));
    assert_int_equal(world.packet.ecn, WEIR_ECN_CE);
    assert_false(world.packet.is_checked);
    assert_true(weir_addr_is_equal(&world.path.local, &our_ip6));
    assert_true(weir_addr_is_equal(&world.path.remote, &peer_ip6));
}

static void make_udp(uint16_t target, bool is_ip6)
{
    ip_world_start(&world, "datagram", 8);
    ip_world_push_udp(&world, 5000, target, is_ip6);
    if (is_ip6) {
        ip_world_push_ip6(&world, WEIR_IP_UDP, 64);
    } else {
        ip_world_push_ip4(&world, WEIR_IP_UDP, 0, false, 1);
    }
}

static void udp_datagrams(void **state)
{
    (void)state;
    open_plain(&udp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        make_udp(IP_WORLD_PORT, is_ip6 != 0);
        assert_true(ip_world_give(&world, &plain));
        assert_int_equal(world.packet.protocol, WEIR_PROTOCOL_DATAGRAM);
        assert_int_equal(world.packet.length, 8);
        assert_memory_equal(world.packet.data, "datagram", 8);
        assert_int_equal(world.path.remote.port, 5000);
        assert_int_equal(world.path.local.port, IP_WORLD_PORT);
        world.frame[world.length - 1] ^= 1;
        expect_drop(WEIR_IP_DROP_CHECKSUM);
        /* Not when the driver vouches for it. */
        assert_true(ip_world_give(&world, &(struct weir_packet){.is_checked = true}));
    }
    const struct weir_packet joined = {.segment_bytes = 3, .is_checked = true};
    make_udp(IP_WORLD_PORT, false);
    assert_true(ip_world_give(&world, &joined));
    assert_int_equal(world.packet.segment_bytes, 3);
}

/* RFC 768: source port 0 asks for no answer; RFC 1122 4.1.3.1. */
static void wrong_udp_datagrams(void **state)
{
    (void)state;
    open_plain(&udp_service);
    ip_world_start(&world, "x", 1);
    ip_world_push_udp(&world, 0, IP_WORLD_PORT, false);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 0, false, 1);
    expect_drop(WEIR_IP_DROP_UDP);
    ip_world_start(&world, "1234567", 7);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 0, false, 1);
    expect_drop(WEIR_IP_DROP_UDP);
    (void)take_output(0);
    make_udp(8, false);
    expect_drop(WEIR_IP_DROP_PORT);
    const struct weir_transmit *frame = take_output(1);
    assert_int_equal(frame->length, 20 + 8 + 36);
    assert_int_equal(frame->data[20], WEIR_ICMP_UNREACHABLE);
    assert_int_equal(frame->data[21], WEIR_ICMP_CODE_PORT);
    assert_memory_equal(frame->data + 28, world.frame, 36);
    make_udp(8, true);
    expect_drop(WEIR_IP_DROP_PORT);
    frame = take_output(1);
    assert_int_equal(frame->data[40], WEIR_ICMP6_UNREACHABLE);
    assert_int_equal(frame->data[41], WEIR_ICMP6_CODE_PORT);
    assert_memory_equal(frame->data + 48, world.frame, world.length);
}

/* RFC 1122 3.2.1: each field of the header. */
static void wrong_ip4_packets(void **state)
{
    (void)state;
    static const uint8_t sources[][4] = {{0, 0, 0, 0},  {127, 0, 0, 1},       {224, 0, 0, 1},
                                         {10, 7, 0, 2}, {255, 255, 255, 255}, {10, 7, 0, 255},
                                         {240, 0, 0, 1}};
    static const uint8_t targets[][4] = {{10, 7, 0, 3}, {224, 0, 0, 1}, {10, 7, 0, 255}};
    open_plain(&tcp_service);
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        ip_world_start(&world, segment, sizeof(segment));
        ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
        memcpy(world.frame + 12, sources[i], 4);
        ip_world_seal_ip4(world.frame);
        expect_drop(WEIR_IP_DROP_SOURCE);
    }
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        ip_world_start(&world, segment, sizeof(segment));
        ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
        memcpy(world.frame + 16, targets[i], 4);
        ip_world_seal_ip4(world.frame);
        expect_drop(WEIR_IP_DROP_DESTINATION);
    }
    ip_world_start(&world, segment, sizeof(segment));
    ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
    world.frame[8] ^= 1;
    expect_drop(WEIR_IP_DROP_CHECKSUM);
    world.length = 30;
    expect_drop(WEIR_IP_DROP_HEADER);
    world.frame[0] = 0x35;
    expect_drop(WEIR_IP_DROP_ETHERNET);
    world.length = 0;
    expect_drop(WEIR_IP_DROP_ETHERNET);
    (void)take_output(0);
}

/* RFC 9293 3.9.2.1: MUST-50. */
static void ip4_options_are_passed_over(void **state)
{
    (void)state;
    static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 0, 222, 2, 1, 0};
    const uint32_t length = sizeof(options);
    open_plain(&tcp_service);
    ip_world_start(&world, segment, sizeof(segment));
    memcpy(ip_world_push(&world, length), options, length);
    ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
    world.frame[0] = (uint8_t)(0x45 + length / 4);
    ip_world_seal_ip4(world.frame);
    assert_true(ip_world_give(&world, &plain));
    assert_ptr_equal(world.packet.data, world.frame + 20 + length);
    assert_int_equal(world.packet.length, sizeof(segment));
}

/* RFC 1122 3.2.2.1; RFC 8200 4. */
static void unknown_protocols(void **state)
{
    (void)state;
    open_plain(&tcp_service);
    ip_world_start(&world, segment, sizeof(segment));
    ip_world_push_ip4(&world, 132, 0, false, 1);
    expect_drop(WEIR_IP_DROP_PROTOCOL);
    assert_int_equal(take_output(1)->data[21], WEIR_ICMP_CODE_PROTOCOL);
    ip_world_start(&world, segment, sizeof(segment));
    ip_world_push_ip6(&world, 132, 64);
    expect_drop(WEIR_IP_DROP_PROTOCOL);
    const struct weir_transmit *frame = take_output(1);
    assert_int_equal(frame->data[40], WEIR_ICMP6_PROBLEM);
    assert_int_equal(frame->data[41], WEIR_ICMP6_CODE_NEXT_HEADER);
    assert_int_equal(weir_load32(frame->data + 44), 6);
    ip_world_start(&world, segment, 0);
    ip_world_push_ip6(&world, WEIR_IP6_NONE, 64);
    expect_drop(WEIR_IP_DROP_PROTOCOL);
    make_udp(0, false); /* nobody listens, not even at port 0 */
    expect_drop(WEIR_IP_DROP_PORT);
    assert_int_equal(take_output(1)->data[21], WEIR_ICMP_CODE_PORT);
}

/* RFC 8200 4.2: an option that asks for a message. */
static void ip6_option_problem(void **state)
{
    (void)state;
    uint8_t options[] = {WEIR_IP_TCP, 0, 0x85, 4, 0, 0, 0, 0};
    open_plain(&tcp_service);
    for (int i = 0; i < 2; i++) {
        options[2] = i == 0 ? 0x85 : 0x45;
        ip_world_start(&world, segment, sizeof(segment));
        memcpy(ip_world_push(&world, sizeof(options)), options, sizeof(options));
        ip_world_push_ip6(&world, WEIR_IP6_DESTINATION, 64);
        expect_drop(WEIR_IP_DROP_EXTENSION);
        const struct weir_transmit *frame = take_output(i == 0 ? 1 : 0);
        if (i == 0) {
            assert_int_equal(frame->data[40], WEIR_ICMP6_PROBLEM);
            assert_int_equal(frame->data[41], 2);
            assert_int_equal(weir_load32(frame->data + 44), 42);
        }
    }
}

/* --- echo and errors -------------------------------------------------------------------------- */

static void make_echo(bool is_ip6, const void *body, size_t length)
{
    ip_world_start(&world, body, length);
    ip_world_push_icmp(&world, is_ip6 ? WEIR_ICMP6_ECHO : WEIR_ICMP_ECHO, 0, 0x12340001, is_ip6);
    if (is_ip6) {
        ip_world_push_ip6(&world, WEIR_IP_ICMP6, 64);
    } else {
        ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    }
}

static void echoes(void **state)
{
    (void)state;
    open_plain(&tcp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        const uint32_t head = is_ip6 != 0 ? 40 : 20;
        const struct weir_path path = ip_world_path(is_ip6 != 0);
        make_echo(is_ip6 != 0, "hello", 5);
        assert_false(ip_world_give(&world, &plain));
        const struct weir_transmit *frame = take_output(1);
        assert_int_equal(frame->length, head + 8 + 5);
        assert_true(weir_icmp_is_checksum_right(frame->data + head, 13, &path));
        assert_int_equal(frame->data[head],
                         is_ip6 != 0 ? WEIR_ICMP6_ECHO_REPLY : WEIR_ICMP_ECHO_REPLY);
        assert_int_equal(weir_load32(frame->data + head + 4), 0x12340001);
        assert_memory_equal(frame->data + head + 8, "hello", 5);
        world.frame[world.length - 1] ^= 1;
        expect_drop(WEIR_IP_DROP_CHECKSUM);
    }
    assert_int_equal(weir_ip_stats(world.ip)->echoes, 2);
}

/* A tenth of a second's worth at once, then as time goes on. */
static void rates_are_kept(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.echoes_per_second = 50;
    config.errors_per_second = 0;
    open_with(&config, &tcp_service);
    for (int i = 0; i < 100; i++) {
        make_echo(false, "x", 1);
        (void)ip_world_give(&world, &plain);
    }
    (void)take_output(6);
    assert_int_equal(dropped(WEIR_IP_DROP_RATE), 94);
    world.now += 20 * WEIR_MSEC;
    make_echo(false, "x", 1);
    (void)ip_world_give(&world, &plain);
    (void)take_output(1);
    ip_world_start(&world, segment, sizeof(segment));
    ip_world_push_ip4(&world, 132, 0, false, 1);
    (void)ip_world_give(&world, &plain);
    (void)take_output(0);
    assert_int_equal(dropped(WEIR_IP_DROP_RATE), 95);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e). */
static void no_errors_about_errors(void **state)
{
    (void)state;
    open_plain(&udp_service);
    make_udp(8, false);
    memcpy(world.frame + 16, ((const uint8_t[]){255, 255, 255, 255}), 4);
    ip_world_seal_ip4(world.frame);
    world.frame[26] = world.frame[27] = 0; /* no UDP checksum */
    expect_drop(WEIR_IP_DROP_PORT);
    ip_world_start(&world, "?", 1);
    ip_world_push_icmp(&world, WEIR_ICMP_PROBLEM, 0, 0, false);
    ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    expect_drop(WEIR_IP_DROP_QUOTE);
    (void)take_output(0);
}

/* A long reply goes out in fragments, and those put together are it. */
static void long_echo_is_cut(void **state)
{
    (void)state;
    static uint8_t body[5000];
    static uint8_t joined[6000];
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    open_plain(&tcp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        const uint32_t head = is_ip6 != 0 ? 48 : 20;
        uint32_t end = 0;
        make_echo(is_ip6 != 0, body, sizeof(body));
        assert_false(ip_world_give(&world, &plain));
        const struct weir_transmit *frames = take_output(4);
        for (uint32_t i = 0; i < 4; i++) {
            const uint8_t *p = frames[i].data;
            uint16_t field = weir_load16(p + (is_ip6 != 0 ? 42 : 6));
            uint32_t offset = is_ip6 != 0 ? field & 0xfff8U : (field & 0x1fffU) * 8;
            bool is_more = is_ip6 != 0 ? (field & 1) != 0 : (field & 0x2000) != 0;
            assert_true(frames[i].length <= 1500);
            assert_int_equal(is_more, i < 3);
            assert_int_equal(offset, end);
            memcpy(joined + offset, p + head, frames[i].length - head);
            end = offset + frames[i].length - head;
        }
        assert_int_equal(end, 8 + sizeof(body));
        assert_memory_equal(joined + 8, body, sizeof(body));
    }
}

/* --- ICMP errors about segments of ours ------------------------------------------------------- */

/* An error about a segment that we sent. */
static void make_error(bool is_ip6, uint8_t type, uint8_t code, uint32_t rest)
{
    uint8_t quoted[WEIR_IP6_HEADER_BYTES] = {0};
    uint32_t head = WEIR_IP4_HEADER_BYTES;
    if (is_ip6) {
        struct weir_ip6 ip6 = {.payload_bytes = 1460, .next_header = WEIR_IP_TCP};
        memcpy(ip6.source, our_ip6.ip, 16);
        memcpy(ip6.destination, peer_ip6.ip, 16);
        weir_ip6_encode(quoted, &ip6);
        head = WEIR_IP6_HEADER_BYTES;
    } else {
        struct weir_ip4 ip4 = {.total_bytes = 1500, .protocol = WEIR_IP_TCP};
        memcpy(ip4.source, our_ip4.ip, 4);
        memcpy(ip4.destination, peer_ip4.ip, 4);
        weir_ip4_encode(quoted, &ip4);
    }
    ip_world_start(&world, segment, 8);
    memcpy(ip_world_push(&world, head), quoted, head);
    ip_world_push_icmp(&world, type, code, rest, is_ip6);
    if (is_ip6) {
        ip_world_push_ip6(&world, WEIR_IP_ICMP6, 64);
    } else {
        ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    }
}

static void expect_unreached(enum weir_unreached reason, uint32_t mtu, bool is_ip6)
{
    assert_true(ip_world_give(&world, &plain));
    assert_int_equal(world.packet.protocol, WEIR_PROTOCOL_UNREACHED);
    assert_int_equal(world.packet.unreached, reason);
    assert_int_equal(world.packet.mtu_bytes, mtu);
    assert_int_equal(world.packet.length, 8);
    assert_memory_equal(world.packet.data, segment, 8);
    assert_true(weir_addr_is_equal(&world.path.local, is_ip6 ? &our_ip6 : &our_ip4));
    assert_true(weir_addr_is_equal(&world.path.remote, is_ip6 ? &peer_ip6 : &peer_ip4));
}

/* RFC 1191 4, 5; RFC 8201 4; RFC 9293 3.9.2.2: MUST-54. */
static void errors_reach_the_transport(void **state)
{
    (void)state;
    open_plain(&tcp_service);
    make_error(false, WEIR_ICMP_UNREACHABLE, WEIR_ICMP_CODE_TOO_BIG, 1400);
    expect_unreached(WEIR_UNREACHED_TOO_BIG, 1400, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, WEIR_ICMP_CODE_TOO_BIG, 0);
    expect_unreached(WEIR_UNREACHED_TOO_BIG, 1492, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, WEIR_ICMP_CODE_TOO_BIG, 20);
    expect_unreached(WEIR_UNREACHED_TOO_BIG, 68, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, 1, 1400);
    expect_unreached(WEIR_UNREACHED_HOST, 0, false);
    make_error(false, WEIR_ICMP_TIME_EXCEEDED, 0, 0);
    expect_unreached(WEIR_UNREACHED_TIME, 0, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, WEIR_ICMP_CODE_PORT, 0);
    expect_unreached(WEIR_UNREACHED_PORT, 0, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, 13, 0);
    expect_unreached(WEIR_UNREACHED_PROHIBITED, 0, false);
    make_error(false, WEIR_ICMP_UNREACHABLE, 99, 0);
    expect_unreached(WEIR_UNREACHED_NET, 0, false);
    make_error(true, WEIR_ICMP6_UNREACHABLE, WEIR_ICMP6_CODE_PORT, 0);
    expect_unreached(WEIR_UNREACHED_PORT, 0, true);
    make_error(true, WEIR_ICMP6_PROBLEM, WEIR_ICMP6_CODE_NEXT_HEADER, 0);
    expect_unreached(WEIR_UNREACHED_PROTOCOL, 0, true);
    make_error(true, WEIR_ICMP6_TOO_BIG, 0, 1400);
    expect_unreached(WEIR_UNREACHED_TOO_BIG, 1400, true);
    make_error(true, WEIR_ICMP6_TOO_BIG, 0, 500);
    expect_unreached(WEIR_UNREACHED_TOO_BIG, 1280, true);
    make_error(true, WEIR_ICMP6_UNREACHABLE, 0, 1400);
    expect_unreached(WEIR_UNREACHED_NET, 0, true);
    make_error(false, WEIR_ICMP_UNREACHABLE, 1, 0);
    world.frame[20 + 8 + 9] = WEIR_IP_UDP; /* the quoted protocol */
    ip_world_start(&world, world.frame + 28, 28);
    ip_world_push_icmp(&world, WEIR_ICMP_UNREACHABLE, 1, 0, false);
    ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    expect_drop(WEIR_IP_DROP_QUOTE);
}

/* RFC 9293 3.9.2.2: MUST-55. */
static void source_quench_is_dropped(void **state)
{
    (void)state;
    open_plain(&tcp_service);
    make_error(false, 4, 0, 0);
    expect_drop(WEIR_IP_DROP_ICMP);
    (void)take_output(0);
}

/* Fields of the quote that make it none of ours: where, and what is put there. */
static void quotes_are_not_believed(void **state)
{
    (void)state;

    static const struct {
        uint32_t at;
        uint8_t value;
    } changes[] = {{0, 0x35}, {0, 0x44}, {7, 1}, {15, 9}, {0, 0x4f}};

    open_plain(&tcp_service);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t quote[28];
        make_error(false, WEIR_ICMP_UNREACHABLE, 1, 0);
        memcpy(quote, world.frame + 28, sizeof(quote));
        quote[changes[i].at] = changes[i].value;
        ip_world_start(&world, quote, sizeof(quote));
        ip_world_push_icmp(&world, WEIR_ICMP_UNREACHABLE, 1, 0, false);
        ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
        expect_drop(WEIR_IP_DROP_QUOTE);
    }
    ip_world_start(&world, "1234567", 7);
    ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    expect_drop(WEIR_IP_DROP_ICMP);
}

/* --- out -------------------------------------------------------------------------------------- */

static uint8_t tx_bytes[1 << 17];

static struct weir_transmit make_transmit(uint32_t length, bool is_ip6)
{
    for (uint32_t i = 0; i < length; i++) {
        tx_bytes[WEIR_IP_HEADROOM + i] = (uint8_t)(i * 5);
    }
    tx_bytes[WEIR_IP_HEADROOM + 12] = 0x50;
    return (struct weir_transmit){.path = {.remote = is_ip6 ? peer_ip6 : peer_ip4},
                                  .data = tx_bytes + WEIR_IP_HEADROOM,
                                  .length = length,
                                  .segment_bytes = (uint16_t)length,
                                  .ecn = WEIR_ECN_ECT0};
}

static void datagrams_are_wrapped(void **state)
{
    (void)state;
    open_plain(&udp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        struct weir_transmit frame;
        struct weir_transmit transmit = make_transmit(100, is_ip6 != 0);
        struct weir_udp_header udp;
        const uint32_t head = is_ip6 != 0 ? 40 : 20;
        transmit.path.remote.port = 9;
        assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_OK);
        assert_int_equal(frame.length, head + 8 + 100);
        assert_ptr_equal(frame.data, transmit.data - head - 8);
        assert_int_equal(frame.header_bytes, 0);
        assert_int_equal(frame.protocol, WEIR_PROTOCOL_FRAME);
        assert_true(weir_udp_decode(frame.data + head, 108, &udp));
        assert_int_equal(udp.source, IP_WORLD_PORT);
        assert_int_equal(udp.target, 9);
        assert_true(weir_udp_is_checksum_right(frame.data + head, &udp, &frame.path));
        assert_true(memcmp(frame.path.local.ip, is_ip6 != 0 ? our_ip6.ip : our_ip4.ip, 16) == 0);
        if (is_ip6 != 0) {
            struct weir_ip6 ip6;
            assert_true(weir_ip6_decode(frame.data, frame.length, &ip6));
            assert_int_equal(ip6.traffic_class, WEIR_ECN_ECT0);
        } else {
            struct weir_ip4 ip4;
            assert_true(weir_ip4_decode(frame.data, frame.length, &ip4));
            assert_true(weir_ip4_is_checksum_right(frame.data, &ip4));
            assert_true(ip4.is_kept_whole);
            assert_int_equal(ip4.tos, WEIR_ECN_ECT0);
        }
    }
}

/* RFC 9293 3.9.1.9, 3.9.2: MUST-48, MUST-49. */
static void marks_are_configured(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(false);
    config.hop_limit = 9;
    config.dscp = 46;
    open_with(&config, &udp_service);
    for (int is_ip6 = 0; is_ip6 < 2; is_ip6++) {
        struct weir_transmit frame;
        struct weir_transmit transmit = make_transmit(100, is_ip6 != 0);
        transmit.path.remote.port = 9;
        assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_OK);
        if (is_ip6 != 0) {
            struct weir_ip6 ip6;
            assert_true(weir_ip6_decode(frame.data, frame.length, &ip6));
            assert_int_equal(ip6.traffic_class, 46 << 2 | WEIR_ECN_ECT0);
            assert_int_equal(ip6.hop_limit, 9);
        } else {
            struct weir_ip4 ip4;
            assert_true(weir_ip4_decode(frame.data, frame.length, &ip4));
            assert_true(weir_ip4_is_checksum_right(frame.data, &ip4));
            assert_int_equal(ip4.tos, 46 << 2 | WEIR_ECN_ECT0);
            assert_int_equal(ip4.ttl, 9);
        }
    }
}

/* The driver completes the checksum: it gets the pseudo-header's sum, however often it is asked. */
static void segments_are_left_to_the_driver(void **state)
{
    (void)state;
    const struct weir_ip_service service = {.is_tcp = true, .is_unchecked = true};
    struct weir_transmit frame;
    struct weir_transmit transmit = make_transmit(20020, false);
    open_plain(&service);
    transmit.header_bytes = 20;
    transmit.segment_bytes = 1460;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_OK);
        assert_int_equal(frame.length, 20040);
        assert_int_equal(frame.header_bytes, 40);
        assert_int_equal(frame.segment_bytes, 1460);
        uint64_t sum = weir_checksum_pseudo(&frame.path, WEIR_IP_TCP, 20020);
        uint16_t partial = (uint16_t)~weir_checksum_fold(sum);
        assert_memory_equal(frame.data + 20 + 16, &partial, 2);
    }
    transmit = make_transmit(100, false);
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_OK);
    assert_int_equal(frame.header_bytes, 40);
    assert_int_equal(frame.segment_bytes, 0);
    transmit = make_transmit(19, false);
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    transmit = make_transmit(100, false);
    transmit.data[12] = 0xf0;
    transmit.length = 40;
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    assert_int_equal(dropped(WEIR_IP_DROP_TOO_LARGE), 2);
}

static void what_cannot_be_sent(void **state)
{
    (void)state;
    struct weir_transmit frame;
    struct weir_ip_config config = ip_world_config(true);
    config.address_count = 1; /* no IPv6 */
    open_with(&config, &tcp_service);
    struct weir_transmit transmit = make_transmit(1481, false);
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    assert_int_equal(dropped(WEIR_IP_DROP_TOO_LARGE), 1);
    transmit = make_transmit(100, true);
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    transmit = make_transmit(100, false);
    transmit.path.remote.ip[0] = 11; /* not on the link, no gateway */
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    transmit.path.remote = (struct weir_addr){.family = WEIR_ADDR_NONE};
    assert_int_equal(weir_ip_encapsulate(world.ip, world.now, &transmit, &frame), WEIR_AGAIN);
    assert_int_equal(dropped(WEIR_IP_DROP_ROUTE), 3);
    (void)take_output(0);
}

/* --- configuration ---------------------------------------------------------------------------- */

static void configurations(void **state)
{
    (void)state;
    struct weir_ip_config config = ip_world_config(true);
    assert_true(weir_ip_mem_size(&config) > 0);
    config.address_count = 0;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config.address_count = WEIR_IP_ADDRESSES_MAX + 1;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config = ip_world_config(true);
    config.mtu_bytes = 1279;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config.address_count = 1;
    assert_true(weir_ip_mem_size(&config) > 0);
    config.mtu_bytes = 575;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config = ip_world_config(true);
    config.addresses[0].prefix = 33;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config = ip_world_config(true);
    config.mac[0] = 1;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config = ip_world_config(true);
    config.addresses[1].addr.ip[0] = 0xff;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    config = ip_world_config(true);
    config.gateway6 = peer_ip4;
    assert_int_equal(weir_ip_mem_size(&config), 0);
    for (int i = 0; i < WEIR_IP_DROP_COUNT; i++) {
        assert_string_not_equal(weir_ip_drop_text((enum weir_ip_drop)i), "?");
    }
    assert_string_equal(weir_ip_drop_text(WEIR_IP_DROP_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IP_TEST(tcp_over_ip4),
        IP_TEST(tcp_over_ip6),
        IP_TEST(udp_datagrams),
        IP_TEST(wrong_udp_datagrams),
        IP_TEST(wrong_ip4_packets),
        IP_TEST(ip4_options_are_passed_over),
        IP_TEST(unknown_protocols),
        IP_TEST(ip6_option_problem),
        IP_TEST(echoes),
        IP_TEST(rates_are_kept),
        IP_TEST(no_errors_about_errors),
        IP_TEST(long_echo_is_cut),
        IP_TEST(errors_reach_the_transport),
        IP_TEST(source_quench_is_dropped),
        IP_TEST(quotes_are_not_believed),
        IP_TEST(datagrams_are_wrapped),
        IP_TEST(marks_are_configured),
        IP_TEST(segments_are_left_to_the_driver),
        IP_TEST(what_cannot_be_sent),
        IP_TEST(configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
