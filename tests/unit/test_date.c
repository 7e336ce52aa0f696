/* SPDX-License-Identifier: MIT */
/*
 * test_date.c - dates against the C library's, from the year 1 to 9999, and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "cli/date.h"

static const int64_t first = -62135596800; /* 0001-01-01 00:00:00 */
static const int64_t last = 253402300799;  /* 9999-12-31 23:59:59 */

static void compare(int64_t seconds)
{
    const time_t time = (time_t)seconds;
    struct tm want;
    struct tm got;
    assert_non_null(gmtime_r(&time, &want));
    cli_date_from_seconds(seconds, &got);
    if (got.tm_sec != want.tm_sec || got.tm_min != want.tm_min || got.tm_hour != want.tm_hour ||
        got.tm_mday != want.tm_mday || got.tm_mon != want.tm_mon || got.tm_year != want.tm_year ||
        got.tm_wday != want.tm_wday) {
        fail_msg("second %lld is another date", (long long)seconds);
    }
    assert_int_equal(cli_date_to_seconds(&got), seconds);
}

static void test_each_day(void **state)
{
    (void)state;
    for (int64_t day = first; day < last; day += 86400) {
        compare(day);
    }
}

static void test_random_seconds(void **state)
{
    struct weir_prng prng;
    (void)state;
    weir_prng_init(&prng, 1);
    for (int i = 0; i < 100000; i++) {
        compare(first + (int64_t)(weir_prng_next(&prng) % (uint64_t)(last - first + 1)));
    }
    compare(last);
    compare(0);
    compare(-1);
}

static void test_beyond(void **state)
{
    struct tm tm;
    (void)state;
    cli_date_from_seconds(INT64_MAX, &tm);
    assert_int_equal(cli_date_to_seconds(&tm), last);
    cli_date_from_seconds(INT64_MIN, &tm);
    assert_int_equal(cli_date_to_seconds(&tm), first);
    assert_string_equal(cli_date_month(11), "Dec");
    assert_string_equal(cli_date_weekday(6), "Sat");
    assert_non_null(cli_date_month(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_day),
                                       cmocka_unit_test(test_random_seconds),
                                       cmocka_unit_test(test_beyond)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
