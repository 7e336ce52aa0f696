/* SPDX-License-Identifier: MIT */
/*
 * test_tcp_mtu.c - paths that lose long packets without a word: noticed, searched, tried again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tcp/internal.h"
#include "tcp_pair.h"

static struct world {
    struct tcp_pair pair;
    struct tcp_pair_options options;
    struct weir_tcp_conn *conn;
    uint64_t sent, wanted, received;
} world;

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 2654435761U >> 24);
}

static void push(void)
{
    static uint8_t bytes[8192];
    while (world.conn != NULL && world.sent < world.wanted) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = byte_at(world.sent + i);
        }
        if (weir_tcp_send(world.pair.hosts[0].tcp, world.conn, bytes, sizeof(bytes)) != WEIR_OK) {
            return;
        }
        world.sent += sizeof(bytes);
    }
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    if (host == &pair->hosts[0]) {
        assert_int_not_equal(event->type, WEIR_TCP_EVENT_CLOSED);
        push();
        return;
    }
    for (size_t i = 0; event->type == WEIR_TCP_EVENT_DATA && i < event->data.span.length; i++) {
        assert_int_equal(event->data.span.data[i], byte_at(world.received + i));
    }
    world.received += event->type == WEIR_TCP_EVENT_DATA ? event->data.span.length : 0;
}

static void start(enum weir_cc_kind cc, bool has_timestamps)
{
    memset(&world, 0, sizeof(world));
    tcp_pair_options_default(&world.options);
    world.options.tcp.cc = cc;
    world.options.tcp.has_timestamps = has_timestamps;
    world.options.tcp.tuning.send_queue_max = 1 << 20;
    world.options.tcp.tuning.sleep_after = 3600 * WEIR_SEC;
    world.options.link.rate = 5 * UINT64_C(1000000);
    world.options.link.queue_bytes = 60000;
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
}

static void begin(void)
{
    tcp_pair_connect(&world.pair);
    world.conn = world.pair.hosts[0].conn;
}

/* Bytes of the largest packet that the sender now makes of data. */
static uint32_t packet_bytes(void)
{
    return weir_tcp_awake_of(world.pair.hosts[0].tcp, world.conn)->mss + 40;
}

static void carry(uint64_t bytes, weir_nsec limit)
{
    weir_nsec until = world.pair.now + limit;
    world.wanted += bytes;
    push();
    while (world.received < world.wanted && world.pair.now < until) {
        (void)tcp_pair_step(&world.pair, until);
    }
    assert_true(world.received >= world.wanted);
}

static void a_black_hole_is_searched(enum weir_cc_kind cc, bool has_timestamps)
{
    const struct weir_tcp_stats *stats;
    start(cc, has_timestamps);
    tcp_pair_set_path(&world.pair, 0, 1400);
    begin();
    stats = weir_tcp_stats(world.pair.hosts[0].tcp);
    carry(UINT64_C(60) << 20, 300 * WEIR_SEC);
    assert_int_equal(stats->mtu_reductions, 1);
    assert_in_range(packet_bytes(), 1384, 1400);
    /* It has converged: no more probes until ten minutes have passed. */
    uint64_t probes = stats->mtu_probes;
    assert_in_range(probes, 5, 40);
    carry(UINT64_C(10) << 20, 300 * WEIR_SEC);
    assert_int_equal(stats->mtu_probes, probes);
    /* A wider path is found, then. */
    tcp_pair_set_path(&world.pair, 0, 0);
    tcp_pair_run(&world.pair, world.pair.now + 700 * WEIR_SEC);
    carry(UINT64_C(2) << 20, 60 * WEIR_SEC);
    assert_int_equal(packet_bytes(), 1500);
    tcp_pair_close(&world.pair);
}

static void black_holes_are_searched(void **state)
{
    (void)state;
    for (unsigned cc = 0; cc <= WEIR_CC_BBR; cc++) {
        a_black_hole_is_searched((enum weir_cc_kind)cc, cc != 1);
    }
}

/* RFC 4821 7.6.2: a probe that is lost alone is no sign of congestion. */
static void lost_probes_leave_the_window_alone(void **state)
{
    (void)state;
    start(WEIR_CC_CUBIC, false);
    begin();
    carry(UINT64_C(4) << 20, 60 * WEIR_SEC);
    struct awake *awake = weir_tcp_awake_of(world.pair.hosts[0].tcp, world.conn);
    const struct weir_tcp_stats *stats = weir_tcp_stats(world.pair.hosts[0].tcp);
    awake->mss = 1160;
    awake->probe_high = awake->mss_max;
    awake->cc.window_bytes = UINT64_C(40) * 1160; /* well below what the path takes */
    awake->cc.ssthresh_bytes = awake->cc.window_bytes;
    tcp_pair_set_path(&world.pair, 0, 1250);
    uint64_t window = awake->cc.window_bytes;
    uint64_t before = stats->timeouts;
    carry(UINT64_C(1) << 20, 60 * WEIR_SEC);
    assert_true(stats->mtu_probes_lost >= 1);
    assert_true(awake->cc.window_bytes >= window);
    assert_int_equal(stats->timeouts, before);
    tcp_pair_close(&world.pair);
}

/* The network's word counts at once, and for ten minutes. */
static void the_networks_word_ages(void **state)
{
    (void)state;
    start(WEIR_CC_NEWRENO, false);
    begin();
    carry(UINT64_C(1) << 20, 60 * WEIR_SEC);
    world.wanted += UINT64_C(1) << 20;
    push();
    tcp_pair_settle(&world.pair);
    struct tcp_host *host = &world.pair.hosts[0];
    struct awake *awake = weir_tcp_awake_of(host->tcp, world.conn);
    uint8_t quote[8];
    weir_store16(quote, awake->path.local.port);
    weir_store16(quote + 2, awake->path.remote.port);
    weir_store32(quote + 4, awake->snd_una);
    struct weir_path path = awake->path;
    struct weir_packet packet = {.data = quote,
                                 .length = sizeof(quote),
                                 .path = &path,
                                 .protocol = WEIR_PROTOCOL_UNREACHED,
                                 .mtu_bytes = 1280};
    struct weir_tcp_event event;
    weir_tcp_input(host->tcp, world.pair.now, &packet, 1);
    assert_int_equal(weir_tcp_event(host->tcp, &event), WEIR_AGAIN);
    assert_int_equal(packet_bytes(), 1280);
    carry(UINT64_C(4) << 20, 60 * WEIR_SEC);
    assert_int_equal(packet_bytes(), 1280);
    assert_int_equal(weir_tcp_stats(host->tcp)->mtu_probes, 0);
    tcp_pair_run(&world.pair, world.pair.now + 600 * WEIR_SEC);
    carry(UINT64_C(1) << 20, 60 * WEIR_SEC);
    assert_int_equal(packet_bytes(), 1500);
    assert_int_equal(weir_tcp_stats(host->tcp)->mtu_probes, 1);
    tcp_pair_close(&world.pair);
}

/* Where path MTU discovery is off, nothing is ever shortened. */
static void a_fixed_size_stays(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    start(WEIR_CC_CUBIC, false);
    tcp_pair_close(&world.pair);
    world.options.tcp.is_mtu_fixed = true;
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
    tcp_pair_set_path(&world.pair, 0, 1400);
    begin();
    world.wanted = 8192;
    tcp_pair_run(&world.pair, world.pair.now + 30 * WEIR_SEC);
    assert_int_equal(packet_bytes(), 1500);
    assert_int_equal(weir_tcp_stats(world.pair.hosts[0].tcp)->mtu_reductions, 0);
    tcp_pair_close(&world.pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(black_holes_are_searched),
        cmocka_unit_test(lost_probes_leave_the_window_alone),
        cmocka_unit_test(the_networks_word_ages),
        cmocka_unit_test(a_fixed_size_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
