/* SPDX-License-Identifier: MIT */
/*
 * test_inet.c - the wrapper between a driver of frames and an engine, on a driver that is an array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ip_world.h"
#include "weir/inet.h"
#include "weir/wrap.h"

enum {
    FRAMES_MAX = 256,
    FRAME_BYTES = 66000,
    PACKETS_MAX = 1024
};

/* What was sent through the driver below, and what it is to hand out. */
static struct {
    struct weir_driver driver;
    uint32_t sent_count;
    struct weir_transmit sent[FRAMES_MAX];
    uint8_t *sent_bytes[FRAMES_MAX];
    uint32_t room; /* sends that are taken before WEIR_AGAIN */
    bool is_run_refused;
    enum weir_status failure;
    uint32_t rx_count;
    struct weir_packet rx[FRAMES_MAX];
    bool is_closed;
} below;

static struct ip_world world; /* only to build frames with */
static struct weir_packet packets[PACKETS_MAX];
static uint8_t room_bytes[FRAME_BYTES];
static uint8_t tx_bytes[1 << 17];

static enum weir_status below_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *out,
                                      uint32_t packets_max, uint32_t *count)
{
    (void)now;
    assert_true(room.length >= driver->rx_room_bytes);
    if (below.failure != WEIR_OK) {
        driver->error = 5;
        return below.failure;
    }
    *count = below.rx_count < packets_max ? below.rx_count : packets_max;
    memcpy(out, below.rx, *count * sizeof(*out));
    below.rx_count -= *count;
    memmove(below.rx, below.rx + *count, below.rx_count * sizeof(*out));
    driver->is_rx_full = below.rx_count > 0;
    return WEIR_OK;
}

static enum weir_status below_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    (void)now;
    for (*sent = 0; *sent < count; (*sent)++) {
        const struct weir_transmit *transmit = &transmits[*sent];
        if (below.is_run_refused && transmit->segment_bytes != 0) {
            driver->run_bytes_max = 0;
            driver->run_segments_max = 1;
            return WEIR_AGAIN;
        }
        if (below.room == 0) {
            return WEIR_AGAIN;
        }
        below.room--;
        assert_true(below.sent_count < FRAMES_MAX);
        uint8_t *copy = malloc(transmit->length);
        assert_non_null(copy);
        memcpy(copy, transmit->data, transmit->length - transmit->tail_bytes);
        if (transmit->tail_bytes > 0) {
            memcpy(copy + transmit->length - transmit->tail_bytes, transmit->tail,
                   transmit->tail_bytes);
        }
        below.sent[below.sent_count] = *transmit;
        below.sent_bytes[below.sent_count++] = copy;
    }
    return WEIR_OK;
}

static int below_fd(const struct weir_driver *driver)
{
    (void)driver;
    return 77;
}

static weir_nsec below_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void below_close(struct weir_driver *driver)
{
    (void)driver;
    below.is_closed = true;
}

static const struct weir_driver_ops below_ops = {.receive = below_receive,
                                                 .send = below_send,
                                                 .fd = below_fd,
                                                 .next_timeout = below_next_timeout,
                                                 .close = below_close};

static void forget_sent(void)
{
    for (uint32_t i = 0; i < below.sent_count; i++) {
        free(below.sent_bytes[i]);
    }
    below.sent_count = 0;
}

static struct weir_driver *open_inet(uint16_t port, bool has_offload)
{
    struct weir_inet_config config;
    struct weir_driver *driver = NULL;
    memset(&below, 0, sizeof(below));
    below.driver = (struct weir_driver){.ops = &below_ops,
                                        .rx_room_bytes = FRAME_BYTES,
                                        .is_joined = has_offload,
                                        .is_unchecked = has_offload,
                                        .is_gathered = has_offload,
                                        .run_bytes_max = has_offload ? 65535 : 0,
                                        .run_segments_max = has_offload ? 64 : 1};
    below.room = FRAMES_MAX;
    weir_inet_config_default(&config, NULL);
    config.ip = ip_world_config(false);
    config.udp_port = port;
    assert_int_equal(weir_inet_open(&below.driver, &config, &driver), WEIR_OK);
    return driver;
}

static void close_inet(struct weir_driver *driver)
{
    driver->ops->close(driver);
    assert_true(below.is_closed);
    forget_sent();
}

static uint32_t receive(struct weir_driver *driver, weir_nsec now, uint32_t packets_max)
{
    uint32_t count = 0;
    const struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    assert_int_equal(driver->ops->receive(driver, now, room, packets, packets_max, &count),
                     WEIR_OK);
    return count;
}

static struct weir_transmit make_run(uint32_t length, uint16_t segment)
{
    for (uint32_t i = 0; i < length; i++) {
        tx_bytes[WEIR_IP_HEADROOM + i] = (uint8_t)(i * 3 + (i >> 8));
    }
    struct weir_transmit run = {.path = {.remote = peer_ip4},
                                .data = tx_bytes + WEIR_IP_HEADROOM,
                                .length = length,
                                .segment_bytes = segment};
    run.path.remote.port = 9;
    return run;
}

/* Sends one transmit. Returns how many were taken. */
static uint32_t send_run(struct weir_driver *driver, const struct weir_transmit *run,
                         enum weir_status expected)
{
    uint32_t sent = 0;
    assert_int_equal(driver->ops->send(driver, 0, run, 1, &sent), expected);
    return sent;
}

/* The payloads sent so far are the run's bytes, in order, in datagrams of segment. */
static void expect_datagrams(const struct weir_transmit *run, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = (first + i) * run->segment_bytes;
        uint32_t length =
            run->length - offset < run->segment_bytes ? run->length - offset : run->segment_bytes;
        assert_int_equal(below.sent[i].length, 28 + length);
        assert_memory_equal(below.sent_bytes[i] + 28, run->data + offset, length);
    }
}

/* --- what it says of itself ------------------------------------------------------------------- */

static void describes_itself(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, true);
    assert_int_equal(driver->headroom_bytes, 0);
    assert_false(driver->is_joined || driver->is_unchecked);
    assert_int_equal(driver->datagram_bytes_max, 1472);
    assert_int_equal(driver->local.family, WEIR_ADDR_NONE); /* there are two */
    assert_int_equal(driver->ops->fd(driver), 77);
    close_inet(driver);
    driver = open_inet(0, true);
    assert_int_equal(driver->headroom_bytes, WEIR_IP_HEADROOM);
    assert_true(driver->is_joined && driver->is_unchecked && driver->run_bytes_max > 0);
    assert_true(driver->is_gathered);
    close_inet(driver);
    driver = open_inet(0, false);
    assert_false(driver->is_joined || driver->is_unchecked || driver->run_bytes_max > 0);
    close_inet(driver);
}

static void refuses_a_wrong_config(void **state)
{
    (void)state;
    struct weir_inet_config config;
    struct weir_driver *driver = NULL;
    const struct weir_interface interface = {
        .mtu_bytes = 70000, .is_ethernet = true, .mac = {2, 0, 0, 0, 0, 9}, .index = 5};
    weir_inet_config_default(&config, &interface);
    assert_int_equal(config.ip.mtu_bytes, 65535);
    assert_int_equal(config.ip.scope, 5);
    assert_true(config.ip.is_ethernet);
    assert_int_equal(weir_inet_open(&below.driver, &config, &driver), WEIR_ERR_INVALID);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void runs_are_cut(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, false);
    const struct weir_transmit run = make_run(10050, 1000);
    assert_int_equal(send_run(driver, &run, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 11);
    expect_datagrams(&run, 0, 11);
    assert_int_equal(driver->stats.tx_datagrams, 11);
    close_inet(driver);
}

static void runs_stay_whole_with_offload(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, true);
    const struct weir_transmit run = make_run(60050, 1000);
    assert_int_equal(send_run(driver, &run, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 1);
    assert_int_equal(below.sent[0].segment_bytes, 1000);
    assert_int_equal(below.sent[0].header_bytes, 28);
    assert_memory_equal(below.sent_bytes[0] + 28, run.data, run.length);
    assert_int_equal(driver->stats.tx_datagrams, 61);
    forget_sent();
    const struct weir_transmit one = make_run(1000, 1000);
    assert_int_equal(send_run(driver, &one, WEIR_OK), 1);
    assert_int_equal(below.sent[0].segment_bytes, 0);
    assert_int_equal(below.sent[0].header_bytes, 28);
    /* More segments than the driver takes in one. */
    forget_sent();
    const struct weir_transmit many = make_run(100 * 100, 100);
    assert_int_equal(send_run(driver, &many, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 2);
    assert_int_equal(below.sent[0].length, 28 + 6400);
    assert_int_equal(below.sent[1].length, 28 + 3600);
    close_inet(driver);
}

/* A segment's header lies with us, its text elsewhere: both arrive below as one. */
static void tails_pass_through(void **state)
{
    (void)state;
    static uint8_t text[5000];
    struct weir_driver *driver = open_inet(0, true);
    struct weir_transmit joined = make_run(20 + sizeof(text), 1000);
    memset(text, 7, sizeof(text));
    joined.data[12] = 5 << 4; /* its header's length */
    joined.header_bytes = 20;
    joined.protocol = WEIR_PROTOCOL_TCP;
    joined.tail = text;
    joined.tail_bytes = sizeof(text);
    joined.path.remote.port = 0;
    assert_int_equal(send_run(driver, &joined, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 1);
    assert_int_equal(below.sent[0].length, 40 + sizeof(text));
    assert_int_equal(below.sent[0].header_bytes, 40);
    assert_memory_equal(below.sent_bytes[0] + 40, text, sizeof(text));
    close_inet(driver);
}

/* The kernel below takes no runs after all: the same bytes go out one by one. */
static void refused_runs_are_cut(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, true);
    const struct weir_transmit run = make_run(5000, 1000);
    below.is_run_refused = true;
    assert_int_equal(send_run(driver, &run, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 5);
    expect_datagrams(&run, 0, 5);
    close_inet(driver);
}

/* A run of which a part was taken goes on where it stopped. */
static void parts_are_resumed(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, false);
    const struct weir_transmit run = make_run(10050, 1000);
    below.room = 4;
    assert_int_equal(send_run(driver, &run, WEIR_AGAIN), 0);
    assert_int_equal(below.sent_count, 4);
    expect_datagrams(&run, 0, 4);
    forget_sent();
    below.room = 100;
    assert_int_equal(send_run(driver, &run, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 7);
    expect_datagrams(&run, 4, 7);
    assert_int_equal(driver->stats.tx_datagrams, 11);
    close_inet(driver);
}

static void segments_go_in_place(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(0, true);
    struct weir_transmit segment = make_run(30000, 1460);
    segment.data[12] = 0x50;
    segment.header_bytes = 20;
    segment.protocol = WEIR_PROTOCOL_TCP;
    assert_int_equal(send_run(driver, &segment, WEIR_OK), 1);
    assert_int_equal(below.sent_count, 1);
    assert_ptr_equal(below.sent[0].data, segment.data - 20);
    assert_int_equal(below.sent[0].header_bytes, 40);
    assert_int_equal(below.sent[0].segment_bytes, 1460);
    close_inet(driver);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void add_frame(const struct weir_packet *how)
{
    uint8_t *bytes = room_bytes + (size_t)below.rx_count * 2048;
    memcpy(bytes, world.frame, world.length);
    below.rx[below.rx_count] = *how;
    below.rx[below.rx_count].data = bytes;
    below.rx[below.rx_count++].length = world.length;
}

static void add_datagram(uint32_t length, uint16_t segment)
{
    const struct weir_packet how = {.segment_bytes = segment, .is_checked = true};
    for (uint32_t i = 0; i < length; i++) {
        world.frame[i] = (uint8_t)i;
    }
    world.length = length;
    ip_world_push_udp(&world, 9, 7, false);
    ip_world_push_ip4(&world, WEIR_IP_UDP, 0, false, 1);
    add_frame(&how);
}

static void joined_datagrams_are_parted(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, true);
    add_datagram(1050, 100);
    assert_int_equal(receive(driver, 0, PACKETS_MAX), 11);
    for (uint32_t i = 0; i < 11; i++) {
        assert_int_equal(packets[i].length, i < 10 ? 100 : 50);
        assert_int_equal(packets[i].data[0], (uint8_t)(i * 100));
        assert_int_equal(packets[i].segment_bytes, 0);
        assert_int_equal(packets[i].path->remote.port, 9);
    }
    assert_int_equal(driver->stats.rx_datagrams, 11);
    close_inet(driver);
}

/* As many frames as surely find room are taken; the others come with the next call. */
static void few_slots_lose_nothing(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, true);
    for (int i = 0; i < 5; i++) {
        add_datagram(1200, 10);
    }
    uint32_t got = 0;
    for (int i = 0; i < 5; i++) {
        got += receive(driver, 0, 128);
        assert_int_equal(driver->is_rx_full, true);
    }
    assert_int_equal(got, 600);
    assert_int_equal(receive(driver, 0, 128), 0);
    assert_int_equal(driver->stats.rx_truncated, 0);
    close_inet(driver);
}

static void echoes_leave_at_once(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(7, false);
    ip_world_start(&world, "hello", 5);
    ip_world_push_icmp(&world, WEIR_ICMP_ECHO, 0, 1, false);
    ip_world_push_ip4(&world, WEIR_IP_ICMP, 0, false, 1);
    add_frame(&(struct weir_packet){.is_checked = false});
    assert_int_equal(receive(driver, 0, PACKETS_MAX), 0);
    assert_int_equal(below.sent_count, 1);
    assert_int_equal(weir_inet_stats(driver)->echoes, 1);
    /* No room: later, and that is announced. */
    forget_sent();
    below.room = 0;
    add_frame(&(struct weir_packet){.is_checked = false});
    assert_int_equal(receive(driver, WEIR_SEC, PACKETS_MAX), 0);
    assert_int_equal(driver->ops->next_timeout(driver), WEIR_SEC + WEIR_MSEC);
    below.room = 10;
    assert_int_equal(receive(driver, WEIR_SEC + WEIR_MSEC, PACKETS_MAX), 0);
    assert_int_equal(below.sent_count, 1);
    assert_int_equal(driver->ops->next_timeout(driver), WEIR_NEVER);
    close_inet(driver);
}

static void segments_come_up(void **state)
{
    (void)state;
    struct weir_driver *driver = open_inet(0, true);
    const struct weir_packet joined = {.segment_bytes = 1460, .is_checked = true};
    world.length = 1900;
    ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
    add_frame(&joined);
    assert_int_equal(receive(driver, 0, PACKETS_MAX), 1);
    assert_int_equal(packets[0].protocol, WEIR_PROTOCOL_TCP);
    assert_int_equal(packets[0].length, 1900);
    assert_int_equal(packets[0].segment_bytes, 1460);
    assert_true(packets[0].is_checked);
    assert_memory_equal(packets[0].path->remote.ip, peer_ip4.ip, 4);
    close_inet(driver);
}

/* Above our IP the fault driver leaves room for headers, joins nothing and forgets nothing. */
static void faults_around_it(void **state)
{
    (void)state;
    const struct weir_sim_link good = {.loss_ppm = 0};
    struct weir_driver *inet = open_inet(0, false);
    struct weir_driver *driver = NULL;
    struct weir_transmit segments[3];
    uint32_t sent = 0;
    assert_int_equal(weir_fault_open(inet, 1, &good, &good, 0, &driver), WEIR_OK);
    const struct weir_transmit run = make_run(3000, 1000);
    for (uint32_t i = 0; i < 3; i++) {
        segments[i] = run;
        segments[i].data += (size_t)i * 1000;
        segments[i].length = 1000;
        segments[i].protocol = i == 0 ? WEIR_PROTOCOL_DATAGRAM : WEIR_PROTOCOL_TCP;
    }
    assert_int_equal(driver->ops->send(driver, 1, segments, 3, &sent), WEIR_OK);
    assert_int_equal(sent, 3);
    assert_int_equal(below.sent_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(below.sent[i].length, 1020);
        assert_memory_equal(below.sent_bytes[i] + 20, run.data + (size_t)i * 1000, 1000);
    }
    const struct weir_packet joined = {.segment_bytes = 500, .is_checked = true};
    world.length = 1900;
    ip_world_push_ip4(&world, WEIR_IP_TCP, 0, false, 1);
    add_frame(&joined);
    assert_int_equal(receive(driver, 2, PACKETS_MAX), 1);
    assert_int_equal(packets[0].protocol, WEIR_PROTOCOL_TCP);
    assert_int_equal(packets[0].segment_bytes, 500);
    assert_true(packets[0].is_checked);
    close_inet(driver);
}

static void errors_are_passed_on(void **state)
{
    (void)state;
    uint32_t count = 0;
    const struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    struct weir_driver *driver = open_inet(7, false);
    below.failure = WEIR_ERR_OS;
    assert_int_equal(driver->ops->receive(driver, 0, room, packets, PACKETS_MAX, &count),
                     WEIR_ERR_OS);
    assert_int_equal(driver->error, 5);
    close_inet(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_itself),
        cmocka_unit_test(refuses_a_wrong_config),
        cmocka_unit_test(runs_are_cut),
        cmocka_unit_test(runs_stay_whole_with_offload),
        cmocka_unit_test(tails_pass_through),
        cmocka_unit_test(refused_runs_are_cut),
        cmocka_unit_test(parts_are_resumed),
        cmocka_unit_test(segments_go_in_place),
        cmocka_unit_test(joined_datagrams_are_parted),
        cmocka_unit_test(few_slots_lose_nothing),
        cmocka_unit_test(echoes_leave_at_once),
        cmocka_unit_test(segments_come_up),
        cmocka_unit_test(faults_around_it),
        cmocka_unit_test(errors_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
