/* SPDX-License-Identifier: MIT */
/*
 * test_rtt.c - RTT estimation against values computed by hand, and its bounds for random samples.
 */
#include "seed.h"

#include "core/rtt.h"

#define INITIAL (333 * WEIR_MSEC)

static void starts_from_initial(void **state)
{
    (void)state;
    struct weir_rtt rtt;
    weir_rtt_init(&rtt, INITIAL);
    assert_false(rtt.has_sample);
    assert_int_equal(rtt.smoothed, INITIAL);
    assert_int_equal(rtt.variance, INITIAL / 2);
    /* 333 + 4 * 166.5 = 999 ms: RFC 6298 2.1 wants about a second. */
    assert_int_equal(weir_rtt_pto(&rtt, WEIR_MSEC, 0), 999 * WEIR_MSEC);
    assert_int_equal(weir_rtt_pto(&rtt, WEIR_MSEC, 25 * WEIR_MSEC), 1024 * WEIR_MSEC);
}

static void first_sample_replaces_everything(void **state)
{
    (void)state;
    struct weir_rtt rtt;
    weir_rtt_init(&rtt, INITIAL);
    /* Even the delay that the peer reports is not taken off. */
    weir_rtt_sample(&rtt, 40 * WEIR_MSEC, 10 * WEIR_MSEC);
    assert_true(rtt.has_sample);
    assert_int_equal(rtt.smoothed, 40 * WEIR_MSEC);
    assert_int_equal(rtt.variance, 20 * WEIR_MSEC);
    assert_int_equal(rtt.min, 40 * WEIR_MSEC);
    assert_int_equal(rtt.latest, 40 * WEIR_MSEC);
}

static void second_sample_is_averaged(void **state)
{
    (void)state;
    struct weir_rtt rtt;
    weir_rtt_init(&rtt, INITIAL);
    weir_rtt_sample(&rtt, 40 * WEIR_MSEC, 0);
    weir_rtt_sample(&rtt, 80 * WEIR_MSEC, 0);
    /* 3/4 * 20 + 1/4 * |40 - 80| = 25; 7/8 * 40 + 1/8 * 80 = 45. */
    assert_int_equal(rtt.variance, 25 * WEIR_MSEC);
    assert_int_equal(rtt.smoothed, 45 * WEIR_MSEC);
    assert_int_equal(rtt.min, 40 * WEIR_MSEC);
    assert_int_equal(weir_rtt_pto(&rtt, WEIR_MSEC, 5 * WEIR_MSEC), 150 * WEIR_MSEC);
    /* 9/8 of the larger of 45 and 80. */
    assert_int_equal(weir_rtt_loss_delay(&rtt, WEIR_MSEC), 90 * WEIR_MSEC);
}

static void ack_delay_never_goes_below_min(void **state)
{
    (void)state;
    struct weir_rtt rtt;
    weir_rtt_init(&rtt, INITIAL);
    weir_rtt_sample(&rtt, 40 * WEIR_MSEC, 0);
    weir_rtt_sample(&rtt, 48 * WEIR_MSEC, 8 * WEIR_MSEC);
    assert_int_equal(rtt.smoothed, 40 * WEIR_MSEC);
    /* 48 - 9 is below the minimum: the delay is not believed at all. */
    weir_rtt_sample(&rtt, 48 * WEIR_MSEC, 9 * WEIR_MSEC);
    assert_int_equal(rtt.smoothed, 41 * WEIR_MSEC);
    assert_int_equal(rtt.min, 40 * WEIR_MSEC);
    assert_int_equal(rtt.latest, 48 * WEIR_MSEC);
}

static void timeouts_keep_their_bounds(void **state)
{
    (void)state;
    struct weir_rtt rtt;
    weir_rtt_init(&rtt, INITIAL);
    for (int i = 0; i < 100; i++) {
        weir_rtt_sample(&rtt, 100 * WEIR_USEC, 0);
    }
    assert_true(rtt.variance < WEIR_USEC);
    assert_int_equal(weir_rtt_pto(&rtt, WEIR_MSEC, 0), rtt.smoothed + WEIR_MSEC);
    assert_int_equal(weir_rtt_loss_delay(&rtt, WEIR_MSEC), WEIR_MSEC);
    assert_int_equal(weir_rtt_rto(&rtt, WEIR_MSEC, 200 * WEIR_MSEC, 60 * WEIR_SEC),
                     200 * WEIR_MSEC);
    assert_int_equal(weir_rtt_rto(&rtt, WEIR_MSEC, 0, 60 * WEIR_SEC), rtt.smoothed + WEIR_MSEC);
    weir_rtt_sample(&rtt, 1000 * WEIR_SEC, 0);
    assert_int_equal(weir_rtt_rto(&rtt, WEIR_MSEC, 0, 60 * WEIR_SEC), 60 * WEIR_SEC);
}

static void estimate_stays_within_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct weir_prng prng;
        struct weir_rtt rtt;
        weir_prng_init(&prng, seed);
        weir_rtt_init(&rtt, INITIAL);
        weir_nsec low = WEIR_NEVER;
        weir_nsec high = 0;
        for (int i = 0; i < 1000; i++) {
            weir_nsec sample = 1 + draw_scaled(&prng, 35);
            low = sample < low ? sample : low;
            high = sample > high ? sample : high;
            weir_rtt_sample(&rtt, sample, draw_scaled(&prng, 35));
            CHECK(seed, rtt.min == low);
            /* Each division rounds down; the losses add up to 16 ns at most. */
            CHECK(seed, rtt.smoothed + 16 >= low && rtt.smoothed <= high);
            CHECK(seed, rtt.variance <= high);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_from_initial),
        cmocka_unit_test(first_sample_replaces_everything),
        cmocka_unit_test(second_sample_is_averaged),
        cmocka_unit_test(ack_delay_never_goes_below_min),
        cmocka_unit_test(timeouts_keep_their_bounds),
        cmocka_unit_test(estimate_stays_within_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
