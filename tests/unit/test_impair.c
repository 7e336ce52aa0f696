/* SPDX-License-Identifier: MIT */
/*
 * test_impair.c - the rules of a bad link, one at a time. Shares are compared with bounds of at
 * least five standard deviations; the seeds are fixed, so a test that passes always passes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "driver/impair.h"
#include "weir/addr.h"
#include "weir/driver.h"

enum {
    MANY = 100000
};

static const struct weir_impair_packet small = {.length = 100, .family = WEIR_ADDR_IP4};

static struct weir_impair made(uint64_t seed, const struct weir_sim_link *link)
{
    struct weir_impair impair;
    weir_impair_init(&impair, seed);
    assert_int_equal(weir_impair_set_link(&impair, link), WEIR_OK);
    return impair;
}

static void assert_share(const char *what, uint64_t seed, uint64_t part, uint64_t low,
                         uint64_t high)
{
    if (part < low || part > high) {
        fail_msg("%s with seed %llu: %llu is not in [%llu, %llu]", what, (unsigned long long)seed,
                 (unsigned long long)part, (unsigned long long)low, (unsigned long long)high);
    }
}

static void perfect_link_passes_at_once(void **state)
{
    (void)state;
    struct weir_impair impair;
    struct weir_impair_verdict verdict;
    weir_impair_init(&impair, 1);
    for (weir_nsec now = 5; now < 1000; now += 7) {
        weir_impair_decide(&impair, now, &small, &verdict);
        assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
        assert_int_equal(verdict.copies_count, 1);
        assert_int_equal(verdict.copies[0].at, now);
        assert_int_equal(verdict.copies[0].flips_count, 0);
    }
}

static void refuses_links_out_of_bounds(void **state)
{
    (void)state;
    const struct weir_sim_link bad[] = {
        {.loss_ppm = 1000001},    {.burst_loss_ppm = 1000001}, {.burst_end_ppm = 1000001},
        {.reorder_ppm = 1000001}, {.duplicate_ppm = 1000001},  {.corrupt_ppm = 1000001},
        {.delay = WEIR_NEVER},    {.jitter = WEIR_NEVER},      {.reorder_delay = WEIR_NEVER}};
    struct weir_impair impair = made(1, &(struct weir_sim_link){.loss_ppm = 7});
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(weir_impair_set_link(&impair, &bad[i]), WEIR_ERR_INVALID);
        assert_int_equal(impair.link.loss_ppm, 7);
    }
}

static void loss_is_near_its_share(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct weir_impair impair = made(seed, &(struct weir_sim_link){.loss_ppm = 50000});
        struct weir_impair_verdict verdict;
        for (int i = 0; i < MANY; i++) {
            weir_impair_decide(&impair, 0, &small, &verdict);
            assert_int_equal(verdict.copies_count, verdict.fate == WEIR_IMPAIR_PASSED ? 1 : 0);
        }
        assert_share("loss of 5 %", seed, impair.stats.lost, 4650, 5350); /* sd 69 */
        assert_int_equal(impair.stats.sent, MANY);
        assert_int_equal(impair.stats.sent_bytes, MANY * 100);
    }
}

static void extreme_shares_are_exact(void **state)
{
    (void)state;
    struct weir_impair all = made(3, &(struct weir_sim_link){.loss_ppm = 1000000});
    struct weir_impair twice = made(3, &(struct weir_sim_link){.duplicate_ppm = 1000000});
    struct weir_impair_verdict verdict;
    for (int i = 0; i < 1000; i++) {
        weir_impair_decide(&all, 0, &small, &verdict);
        assert_int_equal(verdict.fate, WEIR_IMPAIR_LOST);
        weir_impair_decide(&twice, 0, &small, &verdict);
        assert_int_equal(verdict.copies_count, 2);
    }
}

/* Share of lost packets q / (q + p), mean burst 1 / p, for start chance q and end chance p. */
static void bursts_have_their_length_and_share(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct weir_impair impair = made(seed, &(struct weir_sim_link){.burst_loss_ppm = 10000});
        struct weir_impair_verdict verdict;
        uint64_t bursts = 0;
        bool was_lost = false;
        for (int i = 0; i < MANY * 4; i++) {
            weir_impair_decide(&impair, 0, &small, &verdict);
            bool is_lost = verdict.fate == WEIR_IMPAIR_LOST;
            bursts += is_lost && !was_lost;
            was_lost = is_lost;
        }
        assert_share("burst loss in all", seed, impair.stats.lost, 14385, 16385); /* 15,385 */
        assert_share("100 * burst length", seed, impair.stats.lost * 100 / bursts, 370, 430);
    }
}

static void independent_losses_come_single(void **state)
{
    (void)state;
    struct weir_impair impair = made(9, &(struct weir_sim_link){.loss_ppm = 40000});
    struct weir_impair_verdict verdict;
    uint64_t pairs = 0;
    bool was_lost = false;
    for (int i = 0; i < MANY; i++) {
        weir_impair_decide(&impair, 0, &small, &verdict);
        pairs += was_lost && verdict.fate == WEIR_IMPAIR_LOST;
        was_lost = verdict.fate == WEIR_IMPAIR_LOST;
    }
    assert_share("two losses in a row", 9, pairs, 95, 225); /* 160, sd 13 */
}

static void rate_is_exact(void **state)
{
    (void)state;
    /* 972 + 28 bytes at 8 Mbit/s: one millisecond each. */
    const struct weir_impair_packet packet = {.length = 972, .family = WEIR_ADDR_IP4};
    const struct weir_impair_packet packet6 = {.length = 952, .family = WEIR_ADDR_IP6};
    struct weir_impair impair =
        made(1, &(struct weir_sim_link){.rate = 8000000, .delay = 10 * WEIR_MSEC});
    struct weir_impair_verdict verdict;
    for (weir_nsec i = 1; i <= 100; i++) {
        weir_impair_decide(&impair, 0, i % 2 == 0 ? &packet : &packet6, &verdict);
        assert_int_equal(verdict.copies[0].at, i * WEIR_MSEC + 10 * WEIR_MSEC);
    }
    /* After half of it has drained, a packet waits for the other half. */
    weir_impair_decide(&impair, 50 * WEIR_MSEC, &packet, &verdict);
    assert_int_equal(verdict.copies[0].at, 111 * WEIR_MSEC);
    /* Idle time is not saved up. */
    weir_impair_decide(&impair, 500 * WEIR_MSEC, &packet, &verdict);
    assert_int_equal(verdict.copies[0].at, 511 * WEIR_MSEC);
}

/* A rate that divides nothing evenly loses no time to rounding over many packets. */
static void rate_does_not_drift(void **state)
{
    (void)state;
    struct weir_impair impair =
        made(1, &(struct weir_sim_link){.rate = 7777777, .queue_bytes = UINT32_MAX});
    struct weir_impair_verdict verdict;
    weir_nsec now = 0;
    for (int i = 0; i < MANY; i++) {
        weir_impair_decide(&impair, now, &small, &verdict);
        assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
        now += 3;
    }
    unsigned __int128 bits = (unsigned __int128)128 * 8 * MANY;
    uint64_t exact = (uint64_t)((bits * 1000000000 + 7777776) / 7777777);
    assert_in_range(verdict.copies[0].at, exact, exact + 1);
}

static void queue_drops_the_tail(void **state)
{
    (void)state;
    const struct weir_impair_packet packet = {.length = 972, .family = WEIR_ADDR_IP4};
    struct weir_impair impair =
        made(1, &(struct weir_sim_link){.rate = 8000000, .queue_bytes = 10000});
    struct weir_impair_verdict verdict;
    for (int i = 0; i < 30; i++) {
        weir_impair_decide(&impair, 0, &packet, &verdict);
        assert_int_equal(verdict.fate, i < 10 ? WEIR_IMPAIR_PASSED : WEIR_IMPAIR_QUEUE_FULL);
    }
    assert_int_equal(impair.stats.queue_dropped, 20);
    /* One has left: there is room for one. */
    weir_impair_decide(&impair, WEIR_MSEC, &packet, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
    assert_int_equal(verdict.copies[0].at, 11 * WEIR_MSEC);
    weir_impair_decide(&impair, WEIR_MSEC, &packet, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_QUEUE_FULL);
}

static void idle_link_takes_what_is_longer_than_its_queue(void **state)
{
    (void)state;
    struct weir_impair impair =
        made(1, &(struct weir_sim_link){.rate = 8000000, .queue_bytes = 50});
    struct weir_impair_verdict verdict;
    weir_impair_decide(&impair, 0, &small, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
    weir_impair_decide(&impair, 1000, &small, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_QUEUE_FULL);
    weir_impair_decide(&impair, WEIR_MSEC, &small, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
}

static void marks_ce_above_its_queue(void **state)
{
    (void)state;
    struct weir_impair impair =
        made(1, &(struct weir_sim_link){.rate = 8000000, .ce_queue_bytes = 3000});
    struct weir_impair_packet packet = {.length = 972, .family = WEIR_ADDR_IP4};
    struct weir_impair_verdict verdict;
    packet.ecn = WEIR_ECN_ECT0;
    for (int i = 0; i < 6; i++) {
        weir_impair_decide(&impair, 0, &packet, &verdict);
        assert_int_equal(verdict.ecn, i <= 3 ? WEIR_ECN_ECT0 : WEIR_ECN_CE);
    }
    packet.ecn = WEIR_ECN_ECT1;
    weir_impair_decide(&impair, 0, &packet, &verdict);
    assert_int_equal(verdict.ecn, WEIR_ECN_CE);
    packet.ecn = WEIR_ECN_NOT;
    weir_impair_decide(&impair, 0, &packet, &verdict);
    assert_int_equal(verdict.ecn, WEIR_ECN_NOT);
    assert_int_equal(impair.stats.ce_marked, 3);
}

static void too_large_vanishes(void **state)
{
    (void)state;
    struct weir_impair impair = made(1, &(struct weir_sim_link){.mtu_bytes = 1200});
    struct weir_impair_packet packet = {.length = 1200, .family = WEIR_ADDR_IP4};
    struct weir_impair_verdict verdict;
    weir_impair_decide(&impair, 0, &packet, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_PASSED);
    packet.length = 1201;
    weir_impair_decide(&impair, 0, &packet, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_TOO_LARGE);
    assert_int_equal(impair.stats.too_large, 1);

    /* No link takes more than IPv4 does; a peer can send more over IPv6. */
    impair = made(1, &(struct weir_sim_link){.mtu_bytes = 70000});
    packet = (struct weir_impair_packet){.length = 65508, .family = WEIR_ADDR_IP6};
    weir_impair_decide(&impair, 0, &packet, &verdict);
    assert_int_equal(verdict.fate, WEIR_IMPAIR_TOO_LARGE);
    assert_int_equal(verdict.copies_count, 0);
}

static const struct weir_sim_link jittery = {.delay = 20 * WEIR_MSEC, .jitter = 10 * WEIR_MSEC};

/* Packets that are far apart do not meet: each delay is an independent draw. */
static void jitter_is_uniform_in_its_bounds(void **state)
{
    (void)state;
    struct weir_impair impair = made(7, &jittery);
    struct weir_impair_verdict verdict;
    weir_nsec sum = 0;
    for (weir_nsec i = 0; i < MANY; i++) {
        weir_nsec now = i * 50 * WEIR_MSEC;
        weir_impair_decide(&impair, now, &small, &verdict);
        weir_nsec took = verdict.copies[0].at - now;
        assert_in_range(took, 20 * WEIR_MSEC, 30 * WEIR_MSEC);
        sum += took;
    }
    assert_share("mean delay in us", 7, sum / MANY / WEIR_USEC, 24950, 25050); /* sd 9 */
}

static void jitter_does_not_reorder(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct weir_impair impair = made(seed, &jittery);
        struct weir_impair_verdict verdict;
        weir_nsec last = 0;
        weir_nsec now = 0;
        for (uint64_t i = 0; i < MANY; i++) {
            now += i % 7 * 100 * WEIR_USEC;
            weir_impair_decide(&impair, now, &small, &verdict);
            assert_true(verdict.copies[0].at >= last);
            assert_in_range(verdict.copies[0].at - now, 20 * WEIR_MSEC, 30 * WEIR_MSEC);
            last = verdict.copies[0].at;
        }
    }
}

static void reordered_packets_are_held_back_alone(void **state)
{
    (void)state;
    struct weir_impair impair =
        made(4, &(struct weir_sim_link){.delay = 20 * WEIR_MSEC, .reorder_ppm = 100000});
    struct weir_impair_verdict verdict;
    uint64_t held = 0;
    for (weir_nsec i = 0; i < MANY; i++) {
        weir_nsec due = i * WEIR_USEC + 20 * WEIR_MSEC;
        weir_impair_decide(&impair, i * WEIR_USEC, &small, &verdict);
        if (verdict.copies[0].at != due) {
            held++;
            assert_in_range(verdict.copies[0].at - due, WEIR_MSEC, 10 * WEIR_MSEC);
        }
    }
    assert_int_equal(held, impair.stats.reordered);
    assert_share("reordering of 10 %", 4, held, 9500, 10500); /* sd 95 */
    impair = made(4, &(struct weir_sim_link){.reorder_ppm = 1000000, .reorder_delay = 12345});
    weir_impair_decide(&impair, 7, &small, &verdict);
    assert_int_equal(verdict.copies[0].at, 12352);
}

static void duplicates_follow_within_two_milliseconds(void **state)
{
    (void)state;
    struct weir_impair impair =
        made(5, &(struct weir_sim_link){.delay = WEIR_MSEC, .duplicate_ppm = 50000});
    struct weir_impair_verdict verdict;
    for (weir_nsec i = 0; i < MANY; i++) {
        weir_impair_decide(&impair, i, &small, &verdict);
        assert_int_equal(verdict.copies[0].at, i + WEIR_MSEC);
        if (verdict.copies_count == 2) {
            assert_in_range(verdict.copies[1].at - verdict.copies[0].at, 0, 2 * WEIR_MSEC);
        }
    }
    assert_share("duplicates of 5 %", 5, impair.stats.duplicated, 4650, 5350);
}

static void corruption_flips_distinct_bits_inside(void **state)
{
    (void)state;
    struct weir_impair impair = made(6, &(struct weir_sim_link){.corrupt_ppm = 1000000});
    struct weir_impair_verdict verdict;
    uint64_t counts[WEIR_IMPAIR_FLIPS_MAX + 1] = {0};
    for (uint32_t i = 0; i < 20000; i++) {
        struct weir_impair_packet packet = {.length = i % 3, .family = WEIR_ADDR_IP4};
        weir_impair_decide(&impair, 0, &packet, &verdict);
        const struct weir_impair_copy *copy = &verdict.copies[0];
        assert_true(packet.length == 0 ? copy->flips_count == 0 : copy->flips_count > 0);
        uint32_t seen = 0;
        for (uint8_t j = 0; j < copy->flips_count; j++) {
            assert_true(copy->flips[j] < packet.length * 8);
            assert_int_equal(seen & (1U << copy->flips[j]), 0);
            seen |= 1U << copy->flips[j];
        }
        counts[copy->flips_count]++;
    }
    for (size_t i = 1; i <= WEIR_IMPAIR_FLIPS_MAX; i++) {
        assert_in_range(counts[i], 1400, 1940); /* 1,667 of each */
    }
}

static bool is_same_verdict(const struct weir_impair_verdict *a,
                            const struct weir_impair_verdict *b)
{
    bool is_same = a->fate == b->fate && a->copies_count == b->copies_count && a->ecn == b->ecn;
    for (uint8_t i = 0; is_same && i < a->copies_count; i++) {
        const struct weir_impair_copy *left = &a->copies[i];
        const struct weir_impair_copy *right = &b->copies[i];
        is_same = left->at == right->at && left->flips_count == right->flips_count &&
                  memcmp(left->flips, right->flips, left->flips_count * sizeof(uint32_t)) == 0;
    }
    return is_same;
}

static void same_seed_gives_same_verdicts(void **state)
{
    (void)state;
    const struct weir_sim_link link = {.delay = WEIR_MSEC,
                                       .jitter = WEIR_MSEC,
                                       .rate = 50000000,
                                       .queue_bytes = 30000,
                                       .loss_ppm = 100000,
                                       .burst_loss_ppm = 5000,
                                       .reorder_ppm = 50000,
                                       .duplicate_ppm = 50000,
                                       .corrupt_ppm = 50000};
    struct weir_impair a = made(77, &link);
    struct weir_impair b = made(77, &link);
    struct weir_impair c = made(78, &link);
    uint64_t differences = 0;
    for (weir_nsec now = 0; now < 1000 * WEIR_MSEC; now += 17 * WEIR_USEC) {
        struct weir_impair_verdict of_a;
        struct weir_impair_verdict of_b;
        struct weir_impair_verdict of_c;
        weir_impair_decide(&a, now, &small, &of_a);
        weir_impair_decide(&b, now, &small, &of_b);
        weir_impair_decide(&c, now, &small, &of_c);
        assert_true(is_same_verdict(&of_a, &of_b));
        differences += !is_same_verdict(&of_a, &of_c);
    }
    assert_memory_equal(&a.stats, &b.stats, sizeof(a.stats));
    assert_true(differences > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_link_passes_at_once),
        cmocka_unit_test(refuses_links_out_of_bounds),
        cmocka_unit_test(loss_is_near_its_share),
        cmocka_unit_test(extreme_shares_are_exact),
        cmocka_unit_test(bursts_have_their_length_and_share),
        cmocka_unit_test(independent_losses_come_single),
        cmocka_unit_test(rate_is_exact),
        cmocka_unit_test(rate_does_not_drift),
        cmocka_unit_test(queue_drops_the_tail),
        cmocka_unit_test(idle_link_takes_what_is_longer_than_its_queue),
        cmocka_unit_test(marks_ce_above_its_queue),
        cmocka_unit_test(too_large_vanishes),
        cmocka_unit_test(jitter_is_uniform_in_its_bounds),
        cmocka_unit_test(jitter_does_not_reorder),
        cmocka_unit_test(reordered_packets_are_held_back_alone),
        cmocka_unit_test(duplicates_follow_within_two_milliseconds),
        cmocka_unit_test(corruption_flips_distinct_bits_inside),
        cmocka_unit_test(same_seed_gives_same_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
