/* SPDX-License-Identifier: MIT */
/*
 * test_pacer.c - the pacer never lets more out than a burst plus rate times time, and never less.
 */
#include "seed.h"

#include "core/pacer.h"

enum {
    BURST_MIN = 3000,
    BURST_MAX = 65536,
    PACKET = 1500,
    TICK_MAX = 1 << 24
};

static void starts_with_one_burst(void **state)
{
    (void)state;
    struct weir_pacer pacer;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    /* 1 MB/s: a millisecond is 1000 bytes, the minimum burst is larger. */
    assert_int_equal(weir_pacer_allowance(&pacer, WEIR_SEC, 1000000), BURST_MIN);
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    assert_int_equal(weir_pacer_allowance(&pacer, WEIR_SEC, 10000000), 10000);
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    assert_int_equal(weir_pacer_allowance(&pacer, WEIR_SEC, 1000000000), BURST_MAX);
}

/* Where the upper bound is gone before anybody can be woken again, a burst is longer. */
static void high_rates_have_longer_bursts(void **state)
{
    (void)state;
    struct weir_pacer pacer;
    const uint64_t rate = 4000000000;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    assert_int_equal(weir_pacer_allowance(&pacer, WEIR_SEC, rate), 200000);
    weir_pacer_on_sent(&pacer, 200000);
    assert_int_equal(weir_pacer_next(&pacer, rate, UINT64_MAX), WEIR_SEC + 50 * WEIR_USEC);
}

static void waits_for_the_missing_bytes(void **state)
{
    (void)state;
    const uint64_t rate = 1000000;
    struct weir_pacer pacer;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    weir_nsec now = 5 * WEIR_SEC;
    assert_int_equal(weir_pacer_allowance(&pacer, now, rate), BURST_MIN);
    assert_int_equal(weir_pacer_next(&pacer, rate, PACKET), now);
    weir_pacer_on_sent(&pacer, BURST_MIN);
    assert_int_equal(weir_pacer_allowance(&pacer, now, rate), 0);
    /* 1500 bytes at a byte a microsecond. */
    assert_int_equal(weir_pacer_next(&pacer, rate, PACKET), now + 1500 * WEIR_USEC);
    assert_int_equal(weir_pacer_allowance(&pacer, now + 1500 * WEIR_USEC, rate), 1500);
    /* No more than a burst is waited for, nor saved up. */
    assert_int_equal(weir_pacer_next(&pacer, rate, 1000000), now + 3000 * WEIR_USEC);
    assert_int_equal(weir_pacer_allowance(&pacer, now + 10 * WEIR_SEC, rate), BURST_MIN);
}

static void no_rate_means_no_limit(void **state)
{
    (void)state;
    struct weir_pacer pacer;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    assert_true(weir_pacer_allowance(&pacer, 100, 0) == UINT64_MAX);
    weir_pacer_on_sent(&pacer, 1000000);
    assert_true(weir_pacer_next(&pacer, 0, PACKET) <= 100);
    /* Once there is a rate, what is left is one burst. */
    assert_int_equal(weir_pacer_allowance(&pacer, 200, 1000000), BURST_MIN);
}

static void what_was_sent_too_much_is_paid_back(void **state)
{
    (void)state;
    const uint64_t rate = 1000000;
    struct weir_pacer pacer;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    (void)weir_pacer_allowance(&pacer, 0, rate);
    weir_pacer_on_sent(&pacer, BURST_MIN + 2000);
    assert_int_equal(weir_pacer_next(&pacer, rate, PACKET), 3500 * WEIR_USEC);
    assert_int_equal(weir_pacer_allowance(&pacer, 2000 * WEIR_USEC, rate), 0);
    assert_int_equal(weir_pacer_allowance(&pacer, 3500 * WEIR_USEC, rate), PACKET);
}

static void extreme_rates_do_not_overflow(void **state)
{
    (void)state;
    struct weir_pacer pacer;
    weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
    assert_int_equal(weir_pacer_allowance(&pacer, UINT64_MAX / 2, UINT64_MAX), TICK_MAX);
    weir_pacer_on_sent(&pacer, TICK_MAX);
    assert_int_equal(weir_pacer_next(&pacer, UINT64_MAX, PACKET), UINT64_MAX / 2 + 1);
    assert_true(weir_pacer_next(&pacer, 1, PACKET) == UINT64_MAX / 2 + PACKET * WEIR_SEC);
    /* A clock that steps back earns nothing. */
    assert_int_equal(weir_pacer_allowance(&pacer, 5, 1000000), 0);
}

/* A sender that asks at random times, with a rate that never changes: any stretch of time holds at
 * most a burst more than the rate, and the whole run nearly all of the rate. */
static void never_more_than_burst_and_rate(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct weir_prng prng;
        struct weir_pacer pacer;
        weir_prng_init(&prng, seed);
        weir_pacer_init(&pacer, BURST_MIN, BURST_MAX);
        uint64_t rate = 1000 + draw_scaled(&prng, 33);
        uint64_t burst = rate / 1000 < BURST_MIN ? BURST_MIN : rate / 1000;
        burst = burst > BURST_MAX ? BURST_MAX : burst;
        burst = burst < rate / 20000 ? rate / 20000 : burst;
        weir_nsec now = weir_prng_below(&prng, WEIR_SEC);
        weir_nsec start = now;
        uint64_t sent = 0;
        /* The largest lead over the rate so far is at most a burst above the smallest. */
        uint64_t lead_min = UINT64_MAX;
        for (int i = 0; i < 20000; i++) {
            uint64_t due = (uint64_t)((unsigned __int128)rate * (now - start) / WEIR_SEC);
            uint64_t lead = sent + (UINT64_C(1) << 60) - due;
            lead_min = lead < lead_min ? lead : lead_min;
            while (weir_pacer_allowance(&pacer, now, rate) >= PACKET) {
                weir_pacer_on_sent(&pacer, PACKET);
                sent += PACKET;
            }
            lead = sent + (UINT64_C(1) << 60) - due;
            CHECK(seed, lead <= lead_min + burst + 1);
            weir_nsec next = weir_pacer_next(&pacer, rate, PACKET);
            CHECK(seed, next > now);
            /* Sometimes too early, which must be harmless, never late. */
            now = weir_prng_below(&prng, 2) == 0 ? next : now + (next - now) / 2 + 1;
        }
        uint64_t due = (uint64_t)((unsigned __int128)rate * (now - start) / WEIR_SEC);
        CHECK(seed, sent + burst >= due);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_one_burst),
        cmocka_unit_test(high_rates_have_longer_bursts),
        cmocka_unit_test(waits_for_the_missing_bytes),
        cmocka_unit_test(no_rate_means_no_limit),
        cmocka_unit_test(what_was_sent_too_much_is_paid_back),
        cmocka_unit_test(extreme_rates_do_not_overflow),
        cmocka_unit_test(never_more_than_burst_and_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
