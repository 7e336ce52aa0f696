/* SPDX-License-Identifier: MIT */
/*
 * test_tcp_hostile.c - peers that want to use up what all connections share, or wait until numbers
 * have gone round: made-up segments, of peer c from port 40000 + c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tcp/internal.h"
#include "weir/os.h"

enum {
    PEERS_MAX = 300,
    PORT_FIRST = 40000,
    PEER_NUMBER = 1000,
    TRANSMITS_MAX = 4096,
    TX_BYTES = 8 << 20,
    QUEUE_BYTES = 4 << 20
};

static struct {
    struct weir_tcp_config config;
    struct weir_tcp *tcp;
    struct weir_path path;
    weir_nsec now;
    bool is_joined;
    unsigned cwr; /* segments that had it */
    void *slide_mem, *tcp_mem;
    size_t slide_bytes, tcp_bytes;

    struct peer {
        struct weir_tcp_conn *conn;
        uint32_t number; /* the endpoint's initial one */
        uint32_t high;   /* behind the last byte that was sent */
    } peers[PEERS_MAX];
} world;

static uint8_t tx_bytes[TX_BYTES];
static uint8_t data[QUEUE_BYTES];

static void start(void)
{
    memset(&world, 0, sizeof(world));
    weir_tcp_config_default(&world.config);
    world.now = 1000 * WEIR_SEC;
    assert_int_equal(weir_addr_parse("10.0.0.1:80", &world.path.local), WEIR_OK);
    assert_int_equal(weir_addr_parse("10.0.0.2:1", &world.path.remote), WEIR_OK);
}

static void open_endpoint(void)
{
    struct weir_slide_config config;
    struct weir_slide *slide;
    const uint8_t seed[32] = {1};
    int listener;
    weir_slide_config_default(&config);
    world.slide_bytes = weir_slide_mem_size(&config);
    world.slide_mem = weir_mem_map(world.slide_bytes);
    assert_int_equal(weir_slide_init(world.slide_mem, &config, &slide), WEIR_OK);
    world.config.slide = slide;
    world.tcp_bytes = weir_tcp_mem_size(&world.config);
    world.tcp_mem = weir_mem_map(world.tcp_bytes);
    assert_int_equal(weir_tcp_init(world.tcp_mem, &world.config, seed, world.now, &world.tcp),
                     WEIR_OK);
    assert_int_equal(weir_tcp_listen(world.tcp, &world.path.local, &listener), WEIR_OK);
    world.path.local.port = 0;
}

static void finish(void)
{
    weir_mem_unmap(world.tcp_mem, world.tcp_bytes);
    weir_mem_unmap(world.slide_mem, world.slide_bytes);
}

static void drain(void)
{
    struct weir_tcp_event event;
    while (weir_tcp_event(world.tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED) {
            world.peers[weir_tcp_path(world.tcp, event.conn).remote.port - PORT_FIRST].conn =
                event.conn;
        }
    }
}

static void note_sent(const struct weir_transmit *transmit)
{
    struct weir_tcp_segment segment;
    assert_true(weir_tcp_decode(weir_span_of(transmit->data, transmit->length), &segment));
    struct peer *peer = &world.peers[segment.target - PORT_FIRST];
    if ((segment.flags & WEIR_TCP_SYN) != 0) {
        peer->number = segment.seq;
        peer->high = segment.seq + 1;
    }
    world.cwr += (segment.flags & WEIR_TCP_CWR) != 0;
    uint32_t end = segment.seq + (uint32_t)segment.data.length;
    peer->high = weir_tcp_diff(end, peer->high) > 0 ? end : peer->high;
}

static void pump(void)
{
    static struct weir_transmit transmits[TRANSMITS_MAX];
    enum weir_status status = WEIR_OK;
    weir_tcp_timeout(world.tcp, world.now);
    drain();
    while (status == WEIR_OK) {
        struct weir_tx tx = {.buffer = tx_bytes,
                             .buffer_bytes = sizeof(tx_bytes),
                             .transmits = transmits,
                             .transmits_max = TRANSMITS_MAX,
                             .is_joined = world.is_joined,
                             .is_unchecked = true};
        status = weir_tcp_output(world.tcp, world.now, &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            note_sent(&transmits[i]);
        }
        drain();
    }
}

static void arrive(unsigned from, struct weir_tcp_segment segment)
{
    uint8_t bytes[WEIR_TCP_HEADER_MAX];
    segment.source = (uint16_t)(PORT_FIRST + from);
    segment.target = 80;
    const struct weir_packet packet = {.data = bytes,
                                       .length = weir_tcp_encode(bytes, &segment),
                                       .path = &world.path,
                                       .protocol = WEIR_PROTOCOL_TCP,
                                       .is_checked = true};
    struct weir_packet batch[1] = {packet};
    weir_tcp_input(world.tcp, world.now, batch, 1);
    pump();
}

static struct weir_tcp_segment ack_of(uint32_t number)
{
    return (struct weir_tcp_segment){
        .seq = PEER_NUMBER + 1, .ack = number, .window = UINT16_MAX, .flags = WEIR_TCP_ACK};
}

static void open_peer(unsigned from, uint16_t mss, uint8_t scale)
{
    uint8_t flags = WEIR_TCP_SYN | (world.config.is_ecn ? WEIR_TCP_ECE | WEIR_TCP_CWR : 0);
    arrive(from, (struct weir_tcp_segment){
                     .seq = PEER_NUMBER,
                     .window = UINT16_MAX,
                     .flags = flags,
                     .options = WEIR_TCP_HAS_MSS | WEIR_TCP_HAS_SACK_PERMITTED | WEIR_TCP_HAS_SCALE,
                     .mss = mss,
                     .scale = scale});
    world.now += WEIR_MSEC;
    arrive(from, ack_of(world.peers[from].number + 1));
    assert_non_null(world.peers[from].conn);
}

static void queue(unsigned from, size_t bytes)
{
    (void)weir_tcp_send(world.tcp, world.peers[from].conn, data, bytes);
    pump();
}

/* All that was sent is acknowledged, until so much went through. */
static void move(unsigned from, uint64_t bytes)
{
    uint64_t done = 0;
    while (done < bytes) {
        uint32_t before = world.peers[from].high;
        queue(from, QUEUE_BYTES / 2);
        world.now += WEIR_MSEC;
        arrive(from, ack_of(world.peers[from].high));
        assert_int_not_equal(world.peers[from].high, before);
        done += world.peers[from].high - before;
    }
}

static struct awake *awake_of(unsigned from)
{
    struct awake *awake = weir_tcp_awake_of(world.tcp, world.peers[from].conn);
    assert_non_null(awake);
    return awake;
}

/* --- records of segments ---------------------------------------------------------------------- */

static void blocks_of_a_byte_cut_nothing(void **state)
{
    (void)state;
    start();
    world.is_joined = true;
    world.config.cc = WEIR_CC_NONE;
    open_endpoint();
    open_peer(0, 1460, 10);
    queue(0, 1 << 20);
    uint32_t una = awake_of(0)->snd_una;
    uint32_t records = awake_of(0)->records;
    uint32_t in_flight = awake_of(0)->in_flight;
    assert_true(in_flight > 1000000);
    for (uint32_t at = una + 1; at + 8 < world.peers[0].high; at += 1000) {
        struct weir_tcp_segment segment = ack_of(una);
        segment.sack_count = WEIR_TCP_SACKS_MAX;
        for (uint32_t i = 0; i < WEIR_TCP_SACKS_MAX; i++) {
            segment.sacks[i] = (struct weir_tcp_sack){at + 2 * i, at + 2 * i + 1};
        }
        arrive(0, segment);
    }
    assert_int_equal(awake_of(0)->records, records);
    assert_int_equal(awake_of(0)->in_flight, in_flight);
    finish();
}

static void one_connection_leaves_records_to_others(void **state)
{
    (void)state;
    start();
    world.config.segments_max = 300;
    world.config.cc = WEIR_CC_NONE;
    open_endpoint();
    open_peer(0, MSS_MIN, 10);
    open_peer(1, 1460, 10);
    queue(0, 1 << 20);
    assert_int_equal(awake_of(0)->records, 150);
    queue(1, 1 << 20);
    assert_int_equal(awake_of(1)->records, 75);
    finish();
}

/* Who waits for a record is told at once, is not taken for one whose peer is silent, and asks for
 * no window. */
static void want_of_records_is_told(void **state)
{
    (void)state;
    start();
    world.config.segments_max = 16;
    world.config.cc = WEIR_CC_NONE;
    open_endpoint();
    for (unsigned i = 0; i < 6; i++) {
        open_peer(i, 1000, 0);
        queue(i, 20000);
    }
    uint32_t none = world.peers[5].number + 1;
    for (unsigned i = 0; i < 30; i++) {
        world.now += WEIR_SEC;
        pump();
    }
    assert_int_equal(world.peers[5].high, none);
    assert_int_equal(awake_of(5)->probe_shift, 0);
    assert_true(world.now - awake_of(5)->oldest_at <= 2 * WEIR_SEC);
    arrive(0, ack_of(world.peers[0].high));
    assert_int_not_equal(world.peers[5].high, none);
    finish();
}

/* What has arrived takes one record, and where it lies is found, however far. */
static void neighbours_share_a_record(void **state)
{
    (void)state;
    start();
    world.config.cc = WEIR_CC_NONE;
    open_endpoint();
    open_peer(0, 1000, 10);
    queue(0, 4000000);
    struct awake *awake = awake_of(0);
    uint32_t una = awake->snd_una;
    assert_int_equal(awake->records, 4000);
    struct weir_tcp_segment segment = ack_of(una);
    segment.sack_count = 1;
    segment.sacks[0] = (struct weir_tcp_sack){una + 2000000, una + 2100000};
    arrive(0, segment);
    arrive(0, segment); /* the first one did not come so far */
    assert_int_equal(awake->in_flight + awake->lost, 3900000);
    assert_int_equal(awake->records, 4000 - 99);
    segment.sacks[0] = (struct weir_tcp_sack){una + 2200000, una + 2201000};
    arrive(0, segment);
    segment.sacks[0] = (struct weir_tcp_sack){una + 2100000, una + 2200000};
    arrive(0, segment);
    assert_int_equal(awake->records, 4000 - 200);
    arrive(0, ack_of(world.peers[0].high));
    assert_int_equal(awake->records, 0);
    assert_int_equal(awake->sacked, 0);
    finish();
}

/* --- the peer's word -------------------------------------------------------------------------- */

/* RFC 2883 5: a D-SACK of much more than was sent again takes back no more than that. */
static void a_d_sack_counts_for_what_was_sent_again(void **state)
{
    (void)state;
    start();
    open_endpoint();
    open_peer(0, 1000, 14);
    struct awake *awake = awake_of(0);
    awake->again_out = 2 * awake->mss;
    awake->cc.episode_lost = 10;
    weir_tcp_loss_on_dsack(awake, 1U << 29);
    assert_int_equal(awake->cc.episode_lost, 8);
    assert_int_equal(awake->again_out, 0);
    finish();
}

/* --- profiles --------------------------------------------------------------------------------- */

static void odd_peers_do_not_shrink_the_others(void **state)
{
    (void)state;
    start();
    open_endpoint();
    for (unsigned i = 1; i < PEERS_MAX; i++) {
        open_peer(i, (uint16_t)(MSS_MIN + i), 0);
    }
    world.now += 3 * WEIR_SEC;
    pump();
    open_peer(0, 1460, 7);
    world.now += 3 * WEIR_SEC;
    pump();
    struct weir_tcp_conn_stats stats;
    queue(0, 10000);
    arrive(0, ack_of(world.peers[0].high));
    weir_tcp_conn_stats(world.tcp, world.peers[0].conn, &stats);
    assert_int_equal(stats.mss, 1460);
    assert_int_equal(stats.peer_window, UINT16_MAX << 7);
    finish();
}

/* --- numbers that go round -------------------------------------------------------------------- */

#define GONE_ROUND ((uint64_t)2200 << 20)

/* RFC 3168 6.1.2: the window shrinks, and CWR says so, also when the last ECE was long ago. */
static void ece_counts_after_two_gigabytes(void **state)
{
    (void)state;
    struct weir_tcp_conn_stats before;
    struct weir_tcp_conn_stats after;
    start();
    world.is_joined = true;
    world.config.is_ecn = true;
    world.config.cc = WEIR_CC_NEWRENO;
    open_endpoint();
    open_peer(0, 1460, 10);
    move(0, GONE_ROUND);
    weir_tcp_conn_stats(world.tcp, world.peers[0].conn, &before);
    queue(0, 100000);
    world.now += WEIR_MSEC;
    struct weir_tcp_segment segment = ack_of(world.peers[0].high);
    segment.flags |= WEIR_TCP_ECE;
    arrive(0, segment);
    weir_tcp_conn_stats(world.tcp, world.peers[0].conn, &after);
    assert_true(after.congestion_window < before.congestion_window);
    queue(0, 1000);
    assert_int_equal(world.cwr, 1);
    finish();
}

/* RFC 8985 7.2: a lost tail is probed for, also when SACK was last seen long ago. */
static void tails_are_probed_after_two_gigabytes(void **state)
{
    (void)state;
    start();
    world.is_joined = true;
    open_endpoint();
    open_peer(0, 1460, 10);
    move(0, GONE_ROUND);
    for (unsigned i = 0; i < 400; i++) {
        world.now += 10 * WEIR_MSEC;
        arrive(0, ack_of(world.peers[0].high));
    }
    uint64_t before = weir_tcp_stats(world.tcp)->probes_tail;
    queue(0, 1000);
    for (unsigned i = 0; i < 60; i++) {
        world.now += 10 * WEIR_MSEC;
        pump();
    }
    assert_int_equal(weir_tcp_stats(world.tcp)->probes_tail, before + 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_a_byte_cut_nothing),
        cmocka_unit_test(one_connection_leaves_records_to_others),
        cmocka_unit_test(want_of_records_is_told),
        cmocka_unit_test(neighbours_share_a_record),
        cmocka_unit_test(a_d_sack_counts_for_what_was_sent_again),
        cmocka_unit_test(odd_peers_do_not_shrink_the_others),
        cmocka_unit_test(ece_counts_after_two_gigabytes),
        cmocka_unit_test(tails_are_probed_after_two_gigabytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
