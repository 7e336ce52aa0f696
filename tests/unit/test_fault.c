/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - the fault wrapper around a host of the simulated network (whose own links are
 * perfect) and around a driver that refuses to send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir/sim.h"
#include "weir/wrap.h"

enum {
    PACKETS_MAX = 2048
};

static uint8_t room_bytes[128 << 10];
static struct weir_packet packets[PACKETS_MAX];
static const struct weir_sim_link perfect;

static const struct weir_addr a_addr = {.ip = {10, 0, 0, 1}, .port = 1, .family = WEIR_ADDR_IP4};
static const struct weir_addr b_addr = {.ip = {10, 0, 0, 2}, .port = 2, .family = WEIR_ADDR_IP4};

/* a is wrapped around bare, b is not wrapped. */
struct pair {
    struct weir_sim *sim;
    struct weir_driver *bare, *a, *b;
};

static struct pair open_pair(uint64_t seed, const struct weir_sim_link *out,
                             const struct weir_sim_link *in, size_t bytes_max)
{
    struct pair pair;
    struct weir_sim_config config;
    weir_sim_config_default(&config);
    assert_int_equal(weir_sim_open(&config, &pair.sim), WEIR_OK);
    assert_int_equal(weir_sim_add_host(pair.sim, &a_addr, &pair.bare), WEIR_OK);
    assert_int_equal(weir_sim_add_host(pair.sim, &b_addr, &pair.b), WEIR_OK);
    assert_int_equal(weir_sim_set_link(pair.sim, pair.bare, pair.b, &perfect), WEIR_OK);
    assert_int_equal(weir_sim_set_link(pair.sim, pair.b, pair.bare, &perfect), WEIR_OK);
    assert_int_equal(weir_fault_open(pair.bare, seed, out, in, bytes_max, &pair.a), WEIR_OK);
    return pair;
}

static void close_pair(struct pair *pair)
{
    pair->a->ops->close(pair->a);
    weir_sim_close(pair->sim);
}

static void send_to(struct weir_driver *from, weir_nsec now, const struct weir_addr *to,
                    struct weir_span data, uint16_t segment_bytes)
{
    static uint8_t buffer[65507];
    memcpy(buffer, data.data, data.length);
    struct weir_transmit transmit = {.path = {.remote = *to},
                                     .data = buffer,
                                     .length = (uint32_t)data.length,
                                     .segment_bytes = segment_bytes,
                                     .ecn = WEIR_ECN_ECT0};
    uint32_t sent = 0;
    assert_int_equal(from->ops->send(from, now, &transmit, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
    memset(buffer, 0xee, data.length);
}

static uint32_t receive(struct weir_driver *driver, weir_nsec now)
{
    struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    uint32_t count = 0;
    assert_int_equal(driver->ops->receive(driver, now, room, packets, PACKETS_MAX, &count),
                     WEIR_OK);
    return count;
}

static void perfect_link_changes_nothing(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &perfect, &perfect, 0);
    uint8_t data[20 * 1000 + 500];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i / 3);
    }
    assert_true(weir_addr_is_equal(&pair.a->local, &a_addr));
    assert_int_equal(pair.a->run_segments_max, pair.b->run_segments_max);
    send_to(pair.a, 7, &b_addr, weir_span_of(data, sizeof(data)), 1000);
    assert_int_equal(receive(pair.b, 7), 21);
    for (size_t i = 0; i < 21; i++) {
        assert_int_equal(packets[i].length, i < 20 ? 1000 : 500);
        assert_memory_equal(packets[i].data, data + i * 1000, packets[i].length);
        assert_int_equal(packets[i].ecn, WEIR_ECN_ECT0);
    }
    send_to(pair.b, 8, &a_addr, weir_span_of(data, sizeof(data)), 1000);
    send_to(pair.b, 8, &a_addr, weir_span_of(data, 0), 0);
    assert_int_equal(receive(pair.a, 8), 22);
    for (size_t i = 0; i < 21; i++) {
        assert_memory_equal(packets[i].data, data + i * 1000, packets[i].length);
    }
    assert_int_equal(packets[21].length, 0);
    assert_true(weir_addr_is_equal(&packets[0].path->remote, &b_addr));
    assert_true(weir_addr_is_equal(&packets[0].path->local, &a_addr));
    assert_int_equal(pair.a->stats.tx_datagrams, 21);
    assert_int_equal(pair.a->stats.rx_datagrams, 22);
    assert_int_equal(pair.a->ops->next_timeout(pair.a), WEIR_NEVER);
    close_pair(&pair);
}

/* Equal datagrams that leave together leave as runs: the inner driver is called once. */
static void runs_stay_runs(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &(struct weir_sim_link){.delay = 10}, &perfect, 0);
    static const uint8_t data[60000];
    for (int i = 0; i < 3; i++) {
        send_to(pair.a, 0, &b_addr, weir_span_of(data, sizeof(data)), 1200);
    }
    assert_int_equal(receive(pair.b, 10), 0);
    assert_int_equal(receive(pair.a, 10), 0); /* flushes */
    assert_int_equal(pair.bare->stats.tx_calls, 1);
    assert_int_equal(receive(pair.b, 10), 109); /* 128 KiB of 150 */
    assert_int_equal(receive(pair.b, 10), 41);
    close_pair(&pair);
}

/* A short datagram ends its run: what follows keeps its own bounds. */
static void mixed_sizes_keep_their_bounds(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &(struct weir_sim_link){.delay = 10}, &perfect, 0);
    static const uint16_t sizes[] = {1000, 1000, 500, 500, 1000, 0, 0, 300, 1000};
    uint8_t data[1000];
    for (uint8_t i = 0; i < 9; i++) {
        memset(data, i, sizeof(data));
        send_to(pair.a, 0, &b_addr, weir_span_of(data, sizes[i]), sizes[i]);
    }
    assert_int_equal(receive(pair.a, 10), 0); /* flushes */
    assert_int_equal(receive(pair.b, 10), 9);
    for (uint8_t i = 0; i < 9; i++) {
        memset(data, i, sizeof(data));
        assert_int_equal(packets[i].length, sizes[i]);
        assert_memory_equal(packets[i].data, data, sizes[i]);
    }
    close_pair(&pair);
}

static void delays_both_ways_and_says_when(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &(struct weir_sim_link){.delay = 20 * WEIR_MSEC},
                                 &(struct weir_sim_link){.delay = 30 * WEIR_MSEC}, 0);
    send_to(pair.a, 5, &b_addr, weir_span_of("out", 3), 3);
    assert_int_equal(receive(pair.b, WEIR_SEC), 0); /* not sent yet */
    assert_int_equal(pair.a->ops->next_timeout(pair.a), 20 * WEIR_MSEC + 5);
    assert_int_equal(receive(pair.a, 20 * WEIR_MSEC + 4), 0);
    assert_int_equal(receive(pair.b, 20 * WEIR_MSEC + 4), 0);
    assert_int_equal(receive(pair.a, 20 * WEIR_MSEC + 5), 0);
    assert_int_equal(receive(pair.b, 20 * WEIR_MSEC + 5), 1);
    assert_memory_equal(packets[0].data, "out", 3);

    weir_nsec now = 50 * WEIR_MSEC;
    send_to(pair.b, now, &a_addr, weir_span_of("in", 2), 2);
    assert_int_equal(pair.a->ops->next_timeout(pair.a), now); /* the inner driver's */
    assert_int_equal(receive(pair.a, now), 0);
    assert_int_equal(pair.a->ops->next_timeout(pair.a), now + 30 * WEIR_MSEC);
    assert_int_equal(receive(pair.a, now + 30 * WEIR_MSEC), 1);
    assert_memory_equal(packets[0].data, "in", 2);
    assert_int_equal(pair.a->ops->next_timeout(pair.a), WEIR_NEVER);
    close_pair(&pair);
}

static void a_send_flushes_what_is_due(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &(struct weir_sim_link){.delay = 100}, &perfect, 0);
    send_to(pair.a, 0, &b_addr, weir_span_of("1", 1), 1);
    send_to(pair.a, 100, &b_addr, weir_span_of("2", 1), 1);
    assert_int_equal(receive(pair.b, 100), 1);
    assert_int_equal(packets[0].data[0], '1');
    close_pair(&pair);
}

static void loses_each_way_by_its_own_share(void **state)
{
    (void)state;
    struct pair pair = open_pair(11, &(struct weir_sim_link){.loss_ppm = 100000},
                                 &(struct weir_sim_link){.loss_ppm = 300000}, 0);
    uint64_t at_a = 0;
    uint64_t at_b = 0;
    for (weir_nsec i = 0; i < 20000; i++) {
        send_to(pair.a, i, &b_addr, weir_span_of("x", 1), 1);
        send_to(pair.b, i, &a_addr, weir_span_of("y", 1), 1);
        at_a += receive(pair.a, i);
        at_b += receive(pair.b, i);
    }
    assert_in_range(at_b, 17750, 18250); /* sd 42 */
    assert_in_range(at_a, 13650, 14350); /* sd 65 */
    struct weir_sim_stats out;
    struct weir_sim_stats in;
    weir_fault_stats(pair.a, &out, &in);
    assert_int_equal(out.sent, 20000);
    assert_int_equal(out.lost, 20000 - at_b);
    assert_int_equal(out.delivered, at_b);
    assert_int_equal(in.lost, 20000 - at_a);
    assert_int_equal(in.delivered, at_a);
    close_pair(&pair);
}

static void same_seed_same_losses(void **state)
{
    (void)state;
    uint8_t seen[2][500] = {0};
    for (size_t run = 0; run < 2; run++) {
        struct pair pair = open_pair(5, &(struct weir_sim_link){.loss_ppm = 500000}, &perfect, 0);
        for (weir_nsec i = 0; i < 500; i++) {
            send_to(pair.a, i, &b_addr, weir_span_of("x", 1), 1);
            seen[run][i] = (uint8_t)receive(pair.b, i);
        }
        close_pair(&pair);
    }
    assert_memory_equal(seen[0], seen[1], sizeof(seen[0]));
}

static void waiting_bytes_are_bounded(void **state)
{
    (void)state;
    struct pair pair = open_pair(1, &(struct weir_sim_link){.delay = 10}, &perfect, 10000);
    static const uint8_t data[1000];
    for (int i = 0; i < 25; i++) {
        send_to(pair.a, 0, &b_addr, weir_span_of(data, 1000), 1000);
    }
    (void)receive(pair.a, 10);
    assert_int_equal(receive(pair.b, 10), 10);
    struct weir_sim_stats out;
    struct weir_sim_stats in;
    weir_fault_stats(pair.a, &out, &in);
    assert_int_equal(out.overflow_dropped, 15);
    close_pair(&pair);
}

static void bad_links_are_refused(void **state)
{
    (void)state;
    struct weir_driver inner = {.rx_room_bytes = 1};
    struct weir_driver *driver = NULL;
    const struct weir_sim_link bad = {.loss_ppm = 1000001};
    assert_int_equal(weir_fault_open(&inner, 1, &bad, &perfect, 0, &driver), WEIR_ERR_INVALID);
    assert_int_equal(weir_fault_open(&inner, 1, &perfect, &bad, 0, &driver), WEIR_ERR_INVALID);
    assert_null(driver);
}

/* --- an inner driver without room ------------------------------------------------------------- */

struct stubborn {
    struct weir_driver driver;
    uint32_t room; /* transmits it still takes */
    uint32_t taken;
    uint8_t last;
    enum weir_status refusal;
};

static enum weir_status stubborn_receive(struct weir_driver *driver, weir_nsec now,
                                         struct weir_mut_span room, struct weir_packet *received,
                                         uint32_t packets_max, uint32_t *count)
{
    (void)driver;
    (void)now;
    (void)room;
    (void)received;
    (void)packets_max;
    *count = 0;
    return WEIR_OK;
}

static enum weir_status stubborn_send(struct weir_driver *driver, weir_nsec now,
                                      const struct weir_transmit *transmits, uint32_t count,
                                      uint32_t *sent)
{
    (void)now;
    struct stubborn *stubborn = (struct stubborn *)(void *)driver;
    uint32_t taken = 0;
    while (taken < count && stubborn->room > 0) {
        assert_int_equal(transmits[taken].data[0], stubborn->last + 1); /* in order, none twice */
        stubborn->last++;
        stubborn->room--;
        taken++;
    }
    stubborn->taken += taken;
    *sent = taken;
    return taken == count ? WEIR_OK : stubborn->refusal;
}

static int stubborn_fd(const struct weir_driver *driver)
{
    (void)driver;
    return 99;
}

static weir_nsec stubborn_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void stubborn_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops stubborn_ops = {.receive = stubborn_receive,
                                                    .send = stubborn_send,
                                                    .fd = stubborn_fd,
                                                    .next_timeout = stubborn_next_timeout,
                                                    .close = stubborn_close};

static void blocked_packets_are_sent_later_in_order(void **state)
{
    (void)state;
    struct stubborn inner = {
        .driver = {.ops = &stubborn_ops, .rx_room_bytes = 1}, .room = 3, .refusal = WEIR_AGAIN};
    struct weir_driver *driver = NULL;
    assert_int_equal(weir_fault_open(&inner.driver, 1, &perfect, &perfect, 0, &driver), WEIR_OK);
    assert_int_equal(driver->ops->fd(driver), 99);
    for (uint8_t i = 1; i <= 5; i++) {
        send_to(driver, 1000, &b_addr, weir_span_of(&i, 1), 1);
    }
    assert_int_equal(inner.taken, 3);
    /* No busy loop meanwhile: it asks for a call a little later. */
    assert_int_equal(driver->ops->next_timeout(driver), 1000 + WEIR_MSEC);
    inner.room = 1;
    assert_int_equal(receive(driver, 1000 + WEIR_MSEC), 0);
    assert_int_equal(inner.taken, 4);
    inner.room = 100;
    assert_int_equal(receive(driver, 1000 + 2 * WEIR_MSEC), 0);
    assert_int_equal(inner.taken, 5);
    assert_int_equal(driver->ops->next_timeout(driver), WEIR_NEVER);
    driver->ops->close(driver);
}

static void system_errors_come_through(void **state)
{
    (void)state;
    struct stubborn inner = {.driver = {.ops = &stubborn_ops, .rx_room_bytes = 1, .error = 5},
                             .refusal = WEIR_ERR_OS};
    struct weir_driver *driver = NULL;
    assert_int_equal(weir_fault_open(&inner.driver, 1, &perfect, &perfect, 0, &driver), WEIR_OK);
    struct weir_transmit transmit = {
        .path = {.remote = b_addr}, .data = room_bytes, .length = 1, .segment_bytes = 1};
    uint32_t sent = 0;
    assert_int_equal(driver->ops->send(driver, 1, &transmit, 1, &sent), WEIR_ERR_OS);
    assert_int_equal(driver->error, 5);
    driver->ops->close(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_link_changes_nothing),
        cmocka_unit_test(runs_stay_runs),
        cmocka_unit_test(mixed_sizes_keep_their_bounds),
        cmocka_unit_test(delays_both_ways_and_says_when),
        cmocka_unit_test(a_send_flushes_what_is_due),
        cmocka_unit_test(loses_each_way_by_its_own_share),
        cmocka_unit_test(same_seed_same_losses),
        cmocka_unit_test(waiting_bytes_are_bounded),
        cmocka_unit_test(bad_links_are_refused),
        cmocka_unit_test(blocked_packets_are_sent_later_in_order),
        cmocka_unit_test(system_errors_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
