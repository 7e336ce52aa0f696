/* SPDX-License-Identifier: MIT */
/*
 * test_sim.c - the simulated network: hosts, links, bounds, and that one seed gives one run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir/sim.h"

enum {
    PACKETS_MAX = 256
};

static uint8_t room_bytes[128 << 10];
static struct weir_packet packets[PACKETS_MAX];

/* 10.0.0.last:port */
static struct weir_addr addr_of(uint8_t last, uint16_t port)
{
    return (struct weir_addr){.ip = {10, 0, 0, last}, .port = port, .family = WEIR_ADDR_IP4};
}

/* Two hosts, 10.0.0.1:1000 and 10.0.0.2:2000, with the same link both ways. */
struct pair {
    struct weir_sim *sim;
    struct weir_driver *a, *b;
    struct weir_addr a_addr, b_addr;
};

static struct pair open_pair(const struct weir_sim_config *config, const struct weir_sim_link *link)
{
    struct pair pair = {.a_addr = addr_of(1, 1000), .b_addr = addr_of(2, 2000)};
    assert_int_equal(weir_sim_open(config, &pair.sim), WEIR_OK);
    assert_int_equal(weir_sim_add_host(pair.sim, &pair.a_addr, &pair.a), WEIR_OK);
    assert_int_equal(weir_sim_add_host(pair.sim, &pair.b_addr, &pair.b), WEIR_OK);
    if (link != NULL) {
        assert_int_equal(weir_sim_set_link(pair.sim, pair.a, pair.b, link), WEIR_OK);
        assert_int_equal(weir_sim_set_link(pair.sim, pair.b, pair.a, link), WEIR_OK);
    }
    return pair;
}

static struct pair open_default(uint64_t seed, const struct weir_sim_link *link)
{
    struct weir_sim_config config;
    weir_sim_config_default(&config);
    config.seed = seed;
    return open_pair(&config, link);
}

static void send_run(struct weir_driver *from, weir_nsec now, const struct weir_addr *to,
                     struct weir_span data, uint16_t segment_bytes)
{
    static uint8_t buffer[65507];
    memcpy(buffer, data.data, data.length);
    struct weir_transmit transmit = {.path = {.remote = *to},
                                     .data = buffer,
                                     .length = (uint32_t)data.length,
                                     .segment_bytes = segment_bytes};
    uint32_t sent = 0;
    assert_int_equal(from->ops->send(from, now, &transmit, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
    memset(buffer, 0xee, data.length); /* the network keeps nothing of the caller's */
}

static void send_text(struct weir_driver *from, weir_nsec now, const struct weir_addr *to,
                      const char *text)
{
    send_run(from, now, to, weir_span_of(text, strlen(text)), (uint16_t)strlen(text));
}

static uint32_t receive(struct weir_driver *driver, weir_nsec now)
{
    struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    uint32_t count = 0;
    assert_int_equal(driver->ops->receive(driver, now, room, packets, PACKETS_MAX, &count),
                     WEIR_OK);
    return count;
}

static void assert_text(const struct weir_packet *packet, const char *text)
{
    assert_int_equal(packet->length, strlen(text));
    assert_memory_equal(packet->data, text, packet->length);
}

static void delay_is_exact(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){.delay = 20 * WEIR_MSEC});
    assert_int_equal(weir_sim_next(pair.sim), WEIR_NEVER);
    send_text(pair.a, 5, &pair.b_addr, "hello");
    send_text(pair.b, 6, &pair.a_addr, "you");
    assert_int_equal(weir_sim_next(pair.sim), 20 * WEIR_MSEC + 5);
    assert_int_equal(pair.b->ops->next_timeout(pair.b), 20 * WEIR_MSEC + 5);
    assert_int_equal(pair.a->ops->next_timeout(pair.a), 20 * WEIR_MSEC + 6);
    assert_int_equal(pair.a->ops->fd(pair.a), -1);
    assert_int_equal(receive(pair.b, 20 * WEIR_MSEC + 4), 0);
    assert_int_equal(receive(pair.b, 20 * WEIR_MSEC + 5), 1);
    assert_text(&packets[0], "hello");
    assert_true(weir_addr_is_equal(&packets[0].path->remote, &pair.a_addr));
    assert_true(weir_addr_is_equal(&packets[0].path->local, &pair.b_addr));
    assert_int_equal(receive(pair.a, WEIR_SEC), 1);
    assert_text(&packets[0], "you");
    assert_int_equal(weir_sim_next(pair.sim), WEIR_NEVER);
    weir_sim_close(pair.sim);
}

static void runs_are_cut_into_datagrams(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){0});
    uint8_t data[65507];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, 64 * 1000 - 1), 1000);
    assert_int_equal(receive(pair.b, 0), 64);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(packets[i].length, i < 63 ? 1000 : 999);
        assert_memory_equal(packets[i].data, data + i * 1000, packets[i].length);
        assert_ptr_equal(packets[i].data, room_bytes + i * 1000);
    }
    /* One datagram of the greatest length, and one of none. */
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, 65507), 65507);
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, 0), 0);
    assert_int_equal(receive(pair.b, 0), 2);
    assert_int_equal(packets[0].length, 65507);
    assert_memory_equal(packets[0].data, data, 65507);
    assert_int_equal(packets[1].length, 0);
    assert_int_equal(pair.a->stats.tx_datagrams, 66);
    assert_int_equal(pair.b->stats.rx_datagrams, 66);
    assert_int_equal(pair.b->stats.rx_bytes, 64 * 1000 - 1 + 65507);
    weir_sim_close(pair.sim);
}

/* What does not fit the room or the array comes with the next receive, in order. */
static void room_and_array_bound_a_receive(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){0});
    static uint8_t data[60000];
    for (uint8_t i = 0; i < 5; i++) {
        data[0] = i;
        send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, sizeof(data)), sizeof(data));
    }
    assert_int_equal(receive(pair.b, 0), 2); /* 128 KiB */
    assert_int_equal(packets[1].data[0], 1);
    struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    uint32_t count = 0;
    assert_int_equal(pair.b->ops->receive(pair.b, 0, room, packets, 1, &count), WEIR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(packets[0].data[0], 2);
    assert_int_equal(pair.b->ops->next_timeout(pair.b), 0);
    assert_int_equal(receive(pair.b, 0), 2);
    assert_int_equal(packets[1].data[0], 4);
    weir_sim_close(pair.sim);
}

static void rate_is_exact(void **state)
{
    (void)state;
    /* 972 + 28 bytes at 8 Mbit/s: one each millisecond. */
    struct pair pair =
        open_default(1, &(struct weir_sim_link){.delay = 3 * WEIR_MSEC, .rate = 8000000});
    static uint8_t data[50 * 972];
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, sizeof(data)), 972);
    for (weir_nsec i = 1; i <= 50; i++) {
        assert_int_equal(weir_sim_next(pair.sim), (i + 3) * WEIR_MSEC);
        assert_int_equal(receive(pair.b, (i + 3) * WEIR_MSEC), 1);
    }
    assert_int_equal(weir_sim_next(pair.sim), WEIR_NEVER);
    weir_sim_close(pair.sim);
}

static void three_hosts_have_links_of_their_own(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){.delay = 10});
    struct weir_addr c_addr = addr_of(3, 3000);
    struct weir_driver *c = NULL;
    assert_int_equal(weir_sim_add_host(pair.sim, &c_addr, &c), WEIR_OK);
    assert_int_equal(weir_sim_set_link(pair.sim, c, pair.b, &(struct weir_sim_link){.delay = 5}),
                     WEIR_OK);
    send_text(pair.a, 0, &pair.b_addr, "from a");
    send_text(c, 0, &pair.b_addr, "from c");
    send_text(pair.a, 0, &c_addr, "no link"); /* only c to b has one */
    assert_int_equal(receive(pair.b, 10), 2);
    assert_text(&packets[0], "from c");
    assert_true(weir_addr_is_equal(&packets[0].path->remote, &c_addr));
    assert_text(&packets[1], "from a");
    assert_true(weir_addr_is_equal(&packets[1].path->remote, &pair.a_addr));
    assert_int_equal(receive(c, 1000), 0);
    assert_int_equal(weir_sim_stats(pair.sim, pair.a, c).unroutable, 1);
    assert_int_equal(weir_sim_stats(pair.sim, c, pair.b).delivered, 1);
    struct weir_addr nobody = addr_of(9, 9);
    send_text(pair.a, 0, &nobody, "lost");
    struct weir_sim_stats all = weir_sim_stats(pair.sim, NULL, NULL);
    assert_int_equal(all.sent, 4);
    assert_int_equal(all.delivered, 2);
    assert_int_equal(all.unroutable, 2);
    assert_int_equal(pair.a->stats.tx_dropped, 2);
    weir_sim_close(pair.sim);
}

/* More senders in one batch than a receive has room for paths: nothing is lost or mixed up. */
static void many_senders_keep_their_addresses(void **state)
{
    (void)state;
    struct weir_sim_config config;
    weir_sim_config_default(&config);
    config.hosts_max = 151;
    struct weir_sim *sim = NULL;
    assert_int_equal(weir_sim_open(&config, &sim), WEIR_OK);
    struct weir_addr sink_addr = addr_of(250, 1);
    struct weir_driver *sink = NULL;
    assert_int_equal(weir_sim_add_host(sim, &sink_addr, &sink), WEIR_OK);
    for (uint8_t i = 0; i < 150; i++) {
        struct weir_addr addr = addr_of(i, 7);
        struct weir_driver *host = NULL;
        assert_int_equal(weir_sim_add_host(sim, &addr, &host), WEIR_OK);
        assert_int_equal(weir_sim_set_link(sim, host, sink, &(struct weir_sim_link){0}), WEIR_OK);
        send_run(host, i, &sink_addr, weir_span_of(&i, 1), 1);
    }
    struct weir_addr late = addr_of(200, 7);
    struct weir_driver *host = NULL;
    assert_int_equal(weir_sim_add_host(sim, &late, &host), WEIR_ERR_FULL);
    uint8_t next = 0;
    while (next < 150) {
        uint32_t count = receive(sink, 1000);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++, next++) {
            assert_int_equal(packets[i].data[0], next);
            assert_int_equal(packets[i].path->remote.ip[3], next);
        }
    }
    weir_sim_close(sim);
}

static void rebinding_moves_the_outside_address(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){.delay = 10});
    struct weir_addr mapped = addr_of(77, 4242);
    send_text(pair.a, 0, &pair.b_addr, "before");
    send_text(pair.b, 0, &pair.a_addr, "under way");
    assert_int_equal(weir_sim_rebind(pair.sim, pair.a, &pair.b_addr), WEIR_ERR_INVALID);
    assert_int_equal(weir_sim_rebind(pair.sim, pair.a, &mapped), WEIR_OK);
    send_text(pair.a, 1, &pair.b_addr, "after");
    assert_int_equal(receive(pair.b, 20), 2);
    assert_true(weir_addr_is_equal(&packets[0].path->remote, &pair.a_addr));
    assert_text(&packets[1], "after");
    assert_true(weir_addr_is_equal(&packets[1].path->remote, &mapped));
    send_text(pair.b, 20, &pair.a_addr, "nowhere");
    send_text(pair.b, 20, &mapped, "there");
    assert_int_equal(receive(pair.a, 40), 2);
    assert_text(&packets[0], "under way");
    assert_text(&packets[1], "there");
    /* The host knows nothing of its NAT. */
    assert_true(weir_addr_is_equal(&packets[1].path->local, &pair.a_addr));
    assert_int_equal(weir_sim_stats(pair.sim, NULL, NULL).unroutable, 1);
    weir_sim_close(pair.sim);
}

static void blackout_drops_one_direction_for_its_time(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){.delay = 1});
    weir_sim_blackout(pair.sim, pair.a, pair.b, 100, 200);
    const weir_nsec times[] = {99, 100, 199, 200};
    for (size_t i = 0; i < 4; i++) {
        send_text(pair.a, times[i], &pair.b_addr, "x");
        send_text(pair.b, times[i], &pair.a_addr, "y");
    }
    assert_int_equal(receive(pair.b, 1000), 2);
    assert_int_equal(receive(pair.a, 1000), 4);
    assert_int_equal(weir_sim_stats(pair.sim, pair.a, pair.b).blackout_dropped, 2);
    assert_int_equal(weir_sim_stats(pair.sim, pair.b, pair.a).blackout_dropped, 0);
    weir_sim_close(pair.sim);
}

static void mtu_swallows_longer_datagrams(void **state)
{
    (void)state;
    struct pair pair = open_default(1, &(struct weir_sim_link){.mtu_bytes = 1200});
    uint8_t data[1201] = {0};
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, 1200), 1200);
    send_run(pair.a, 0, &pair.b_addr, weir_span_of(data, 1201), 1201);
    assert_int_equal(receive(pair.b, 0), 1);
    assert_int_equal(packets[0].length, 1200);
    assert_int_equal(weir_sim_stats(pair.sim, pair.a, pair.b).too_large, 1);
    weir_sim_close(pair.sim);
}

static void duplicates_are_whole_and_counted(void **state)
{
    (void)state;
    struct pair pair = open_default(3, &(struct weir_sim_link){.duplicate_ppm = 1000000});
    for (uint64_t i = 0; i < 50; i++) {
        send_run(pair.a, 0, &pair.b_addr, weir_span_of(&i, sizeof(i)), sizeof(i));
    }
    uint32_t seen[50] = {0};
    assert_int_equal(receive(pair.b, 2 * WEIR_MSEC), 100);
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t number;
        memcpy(&number, packets[i].data, sizeof(number));
        assert_true(number < 50);
        seen[number]++;
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(seen[i], 2);
    }
    struct weir_sim_stats stats = weir_sim_stats(pair.sim, pair.a, pair.b);
    assert_int_equal(stats.duplicated, 50);
    assert_int_equal(stats.delivered, 100);
    weir_sim_close(pair.sim);
}

/* Long datagrams too: the flipped bits may be anywhere in the stored chain. */
static void corruption_flips_few_bits(void **state)
{
    (void)state;
    struct pair pair = open_default(3, &(struct weir_sim_link){.corrupt_ppm = 1000000});
    static const uint8_t zeros[3000];
    uint32_t beyond_first_chunk = 0;
    for (int i = 0; i < 200; i++) {
        send_run(pair.a, 0, &pair.b_addr, weir_span_of(zeros, sizeof(zeros)), sizeof(zeros));
        assert_int_equal(receive(pair.b, 0), 1);
        uint32_t flipped = 0;
        for (uint32_t j = 0; j < packets[0].length; j++) {
            flipped += (uint32_t)__builtin_popcount(packets[0].data[j]);
            beyond_first_chunk += j >= 2900 && packets[0].data[j] != 0;
        }
        assert_in_range(flipped, 1, 8);
    }
    assert_true(beyond_first_chunk > 0);
    weir_sim_close(pair.sim);
}

static void memory_is_bounded_and_comes_back(void **state)
{
    (void)state;
    struct weir_sim_config config;
    weir_sim_config_default(&config);
    config.packets_max = 100;
    config.bytes_max = 50000;
    struct pair pair = open_pair(&config, &(struct weir_sim_link){.delay = 10});
    static const uint8_t data[1200];
    for (weir_nsec round = 0; round < 20; round++) {
        weir_nsec now = round * 20;
        for (int i = 0; i < 60; i++) {
            send_run(pair.a, now, &pair.b_addr, weir_span_of(data, 1200), 1200);
        }
        assert_int_equal(receive(pair.b, now + 10), 41); /* 41 * 1,200 <= 50,000 */
        for (int i = 0; i < 150; i++) {
            send_run(pair.a, now + 10, &pair.b_addr, weir_span_of(data, 1), 1);
        }
        assert_int_equal(receive(pair.b, now + 20), 100);
    }
    struct weir_sim_stats stats = weir_sim_stats(pair.sim, pair.a, pair.b);
    assert_int_equal(stats.overflow_dropped, 20 * (19 + 50));
    assert_int_equal(stats.sent, stats.delivered + stats.overflow_dropped);
    weir_sim_close(pair.sim);
}

static void bad_set_up_is_refused(void **state)
{
    (void)state;
    struct weir_sim_config config;
    struct weir_sim *sim = NULL;
    weir_sim_config_default(&config);
    config.hosts_max = 0;
    assert_int_equal(weir_sim_open(&config, &sim), WEIR_ERR_INVALID);
    weir_sim_config_default(&config);
    config.packets_max = 0;
    assert_int_equal(weir_sim_open(&config, &sim), WEIR_ERR_INVALID);
    struct pair pair = open_default(1, NULL);
    struct pair other = open_default(1, NULL);
    struct weir_driver *again = NULL;
    const struct weir_sim_link link = {0};
    const struct weir_sim_link bad = {.loss_ppm = 2000000};
    assert_int_equal(weir_sim_add_host(pair.sim, &pair.a_addr, &again), WEIR_ERR_INVALID);
    assert_int_equal(weir_sim_set_link(pair.sim, pair.a, other.b, &link), WEIR_ERR_INVALID);
    assert_int_equal(weir_sim_set_link(pair.sim, pair.a, pair.b, &bad), WEIR_ERR_INVALID);
    send_text(pair.a, 0, &pair.b_addr, "a refused link is no link");
    assert_int_equal(weir_sim_stats(pair.sim, pair.a, pair.b).unroutable, 1);
    weir_sim_close(pair.sim);
    weir_sim_close(other.sim);
}

/* --- one seed, one run ------------------------------------------------------------------------ */

static void mix(uint64_t *digest, const void *data, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)data;
    for (size_t i = 0; i < length; i++) {
        *digest = (*digest ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    }
}

static void mix_arrivals(struct weir_driver *driver, weir_nsec now, uint64_t *digest)
{
    uint32_t count = receive(driver, now);
    for (uint32_t i = 0; i < count; i++) {
        mix(digest, &now, sizeof(now));
        mix(digest, &packets[i].path->remote, sizeof(packets[i].path->remote));
        mix(digest, packets[i].data, packets[i].length);
    }
}

static const struct weir_sim_link awful = {.delay = 10 * WEIR_MSEC,
                                           .jitter = 5 * WEIR_MSEC,
                                           .rate = 10000000,
                                           .queue_bytes = 20000,
                                           .loss_ppm = 50000,
                                           .burst_loss_ppm = 2000,
                                           .reorder_ppm = 100000,
                                           .duplicate_ppm = 50000,
                                           .corrupt_ppm = 20000};

/* A digest of everything that arrives, with when and where from, in 4,000 sends over 2 s; b sends
 * only when is_busy. Checks the ledger of the stats as well. */
static uint64_t run_digest(uint64_t seed, bool is_busy, uint64_t *at_b)
{
    struct pair pair = open_default(seed, &awful);
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    *at_b = digest;
    uint8_t data[1400];
    for (uint32_t i = 0; i < 4000; i++) {
        weir_nsec now = (weir_nsec)i * 500 * WEIR_USEC;
        while (weir_sim_next(pair.sim) < now) {
            weir_nsec next = weir_sim_next(pair.sim);
            mix_arrivals(pair.a, next, &digest);
            mix_arrivals(pair.b, next, at_b);
        }
        memset(data, (int)(i & 0xff), sizeof(data));
        send_run(pair.a, now, &pair.b_addr, weir_span_of(data, i % sizeof(data)), 700);
        if (is_busy) {
            send_run(pair.b, now, &pair.a_addr, weir_span_of(data, (size_t)i * 3 % sizeof(data)),
                     1400);
        }
    }
    while (weir_sim_next(pair.sim) != WEIR_NEVER) {
        mix_arrivals(pair.b, WEIR_NEVER - 1, at_b);
        mix_arrivals(pair.a, WEIR_NEVER - 1, &digest);
    }
    struct weir_sim_stats stats = weir_sim_stats(pair.sim, NULL, NULL);
    assert_int_equal(stats.sent + stats.duplicated,
                     stats.delivered + stats.lost + stats.queue_dropped);
    assert_true(stats.lost > 0 && stats.queue_dropped > 0 && stats.reordered > 0);
    mix(&digest, at_b, sizeof(*at_b));
    mix(&digest, &stats, sizeof(stats));
    weir_sim_close(pair.sim);
    return digest;
}

static void same_seed_same_trace(void **state)
{
    (void)state;
    uint64_t at_b = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t first = run_digest(seed, true, &at_b);
        uint64_t second = run_digest(seed, true, &at_b);
        if (first != second) {
            fail_msg("two runs of seed %llu differ", (unsigned long long)seed);
        }
        assert_true(first != run_digest(seed + 100, true, &at_b));
    }
}

static void directions_draw_independently(void **state)
{
    (void)state;
    uint64_t busy = 0;
    uint64_t quiet = 0;
    (void)run_digest(42, true, &busy);
    (void)run_digest(42, false, &quiet);
    assert_true(busy == quiet);
}

/* The two directions of one seed do not lose the same packets. */
static void directions_draw_differently(void **state)
{
    (void)state;
    struct pair pair = open_default(42, &(struct weir_sim_link){.loss_ppm = 500000});
    uint32_t differences = 0;
    for (weir_nsec now = 0; now < 400; now++) {
        send_text(pair.a, now, &pair.b_addr, "x");
        send_text(pair.b, now, &pair.a_addr, "y");
        differences += receive(pair.a, now) != receive(pair.b, now);
    }
    assert_in_range(differences, 130, 270); /* 200, sd 10 */
    weir_sim_close(pair.sim);
}

/* The heap hands out by time, and what arrives at one time in the order of sending. */
static void arrivals_come_in_order_of_time(void **state)
{
    (void)state;
    struct pair pair =
        open_default(8, &(struct weir_sim_link){.reorder_ppm = 700000, .duplicate_ppm = 300000});
    for (uint32_t i = 0; i < 3000; i++) {
        send_run(pair.a, i / 3, &pair.b_addr, weir_span_of(&i, sizeof(i)), sizeof(i));
    }
    uint32_t total = 0;
    weir_nsec last = 0;
    uint32_t last_number = 0;
    while (weir_sim_next(pair.sim) != WEIR_NEVER) {
        weir_nsec next = weir_sim_next(pair.sim);
        assert_true(next >= last);
        struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
        uint32_t count = 0;
        assert_int_equal(pair.b->ops->receive(pair.b, next, room, packets, 1, &count), WEIR_OK);
        assert_int_equal(count, 1);
        uint32_t number;
        memcpy(&number, packets[0].data, sizeof(number));
        assert_true(next > last || total == 0 || number >= last_number);
        last = next;
        last_number = number;
        total++;
    }
    assert_int_equal(total, 3000 + weir_sim_stats(pair.sim, pair.a, pair.b).duplicated);
    weir_sim_close(pair.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delay_is_exact),
        cmocka_unit_test(runs_are_cut_into_datagrams),
        cmocka_unit_test(room_and_array_bound_a_receive),
        cmocka_unit_test(rate_is_exact),
        cmocka_unit_test(three_hosts_have_links_of_their_own),
        cmocka_unit_test(many_senders_keep_their_addresses),
        cmocka_unit_test(rebinding_moves_the_outside_address),
        cmocka_unit_test(blackout_drops_one_direction_for_its_time),
        cmocka_unit_test(mtu_swallows_longer_datagrams),
        cmocka_unit_test(duplicates_are_whole_and_counted),
        cmocka_unit_test(corruption_flips_few_bits),
        cmocka_unit_test(memory_is_bounded_and_comes_back),
        cmocka_unit_test(bad_set_up_is_refused),
        cmocka_unit_test(same_seed_same_trace),
        cmocka_unit_test(directions_draw_independently),
        cmocka_unit_test(directions_draw_differently),
        cmocka_unit_test(arrivals_come_in_order_of_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
