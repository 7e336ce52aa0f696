/* SPDX-License-Identifier: MIT */
/*
 * test_cli_parse.c - argument values: what is read, what is refused, numbers as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

static void reads_durations(void **state)
{
    static const struct {
        const char *text;
        weir_nsec ns;
    } good[] = {{"0", 0},
                {"10", 10 * WEIR_SEC},
                {"1.5s", 1500 * WEIR_MSEC},
                {"20ms", 20 * WEIR_MSEC},
                {"250us", 250 * WEIR_USEC},
                {"7ns", 7},
                {"2m", 120 * WEIR_SEC},
                {"1h", 3600 * WEIR_SEC},
                {"0.000000001", 1},
                {"0.0000000019", 1}};

    static const char *const bad[] = {
        "",    "s",     "-1s", "+1s", " 1s", "1s ",  "1 s",
        "1.s", ".5s",   "1,5", "0x1", "1e3", "inf",  "1d",
        "nan", "1.5.5", "ms",  "1ss", "1\n", "1s1s", "18446744073709551616"};
    weir_nsec ns;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(cli_read_duration(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    ns = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(cli_read_duration(bad[i], &ns));
    }
    assert_false(cli_read_duration("18446744073709551615ns", &ns)); /* WEIR_NEVER */
    assert_int_equal(ns, 42);
}

static void reads_sizes_and_rates(void **state)
{
    uint64_t value;
    (void)state;
    assert_true(cli_read_size("64", &value) && value == 64);
    assert_true(cli_read_size("64B", &value) && value == 64);
    assert_true(cli_read_size("64KB", &value) && value == 64000);
    assert_true(cli_read_size("64KiB", &value) && value == 65536);
    assert_true(cli_read_size("1.5MiB", &value) && value == 1572864);
    assert_true(cli_read_size("100MB", &value) && value == 100000000);
    assert_true(cli_read_size("18446744073709551615", &value) && value == UINT64_MAX);
    assert_false(cli_read_size("18446744073709551616", &value));
    assert_false(cli_read_size("18446744073709552KB", &value));
    assert_false(cli_read_size("16777216TiB", &value));
    assert_false(cli_read_size("1K", &value));
    assert_false(cli_read_size("-1", &value));
    assert_true(cli_read_rate("100mbit", &value) && value == 100000000);
    assert_true(cli_read_rate("1gbit", &value) && value == 1000000000);
    assert_true(cli_read_rate("56kbit", &value) && value == 56000);
    assert_true(cli_read_rate("2.5Gbit", &value) && value == 2500000000);
    assert_false(cli_read_rate("100MB", &value));
    assert_false(cli_read_rate("mbit", &value));
}

static void reads_percent_and_count(void **state)
{
    uint32_t ppm;
    uint64_t count;
    (void)state;
    assert_true(cli_read_percent("20%", &ppm) && ppm == 200000);
    assert_true(cli_read_percent("0.5%", &ppm) && ppm == 5000);
    assert_true(cli_read_percent("0.2", &ppm) && ppm == 2000);
    assert_true(cli_read_percent("100%", &ppm) && ppm == 1000000);
    assert_true(cli_read_percent("0", &ppm) && ppm == 0);
    assert_false(cli_read_percent("100.0001%", &ppm));
    assert_false(cli_read_percent("%", &ppm));
    assert_false(cli_read_percent("-5%", &ppm));
    assert_true(cli_read_count("65535", 65535, &count) && count == 65535);
    assert_false(cli_read_count("65536", 65535, &count));
    assert_false(cli_read_count("1.0", 10, &count));
    assert_false(cli_read_count("", 10, &count));
    assert_false(cli_read_count("1x", 10, &count));
}

static void reads_urls(void **state)
{
    struct cli_url url;
    (void)state;
    assert_true(cli_read_url("rudp://127.0.0.1:4433", false, &url));
    assert_string_equal(url.scheme, "rudp");
    assert_int_equal(url.addr.family, WEIR_ADDR_IP4);
    assert_int_equal(url.addr.port, 4433);
    assert_memory_equal(url.addr.ip, ((uint8_t[16]){127, 0, 0, 1}), 16);
    assert_true(cli_read_url("rudp://[::1]:1", false, &url));
    assert_int_equal(url.addr.family, WEIR_ADDR_IP6);
    assert_int_equal(url.addr.ip[15], 1);
    assert_true(cli_read_url("rudp://*:0", true, &url));
    assert_int_equal(url.addr.family, WEIR_ADDR_IP6);
    assert_int_equal(url.addr.port, 0);
    assert_true(cli_read_url("rudp://localhost:9", false, &url));
    assert_int_equal(url.addr.port, 9);
}

static void refuses_urls(void **state)
{
    static const char *const bad[] = {
        "",
        "rudp",
        "rudp://",
        "://127.0.0.1:1",
        "rudp://127.0.0.1",
        "rudp://127.0.0.1:",
        "rudp://127.0.0.1:0", /* to connect to */
        "rudp://127.0.0.1:65536",
        "rudp://127.0.0.1:-1",
        "rudp://127.0.0.1:12x",
        "rudp://127.0.0.1:1/",
        "rudp://:1",
        "rudp://::1:1",
        "rudp://[::1:1",
        "rudp://[]:1",
        "rudp://[::1]",
        "rudp://*:1", /* to connect to */
        "http://127.0.0.1:1",
        "a-scheme-that-is-too-long://127.0.0.1:1",
    };
    struct cli_url url;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(cli_read_url(bad[i], false, &url));
    }
}

static void writes_numbers(void **state)
{
    char text[32];
    (void)state;
    assert_string_equal(cli_text_bytes(0, text), "0 B");
    assert_string_equal(cli_text_bytes(999, text), "999 B");
    assert_string_equal(cli_text_bytes(1500, text), "1.50 KB");
    assert_string_equal(cli_text_bytes(1500000, text), "1.50 MB");
    assert_string_equal(cli_text_bytes(67108864, text), "67.1 MB");
    assert_string_equal(cli_text_bytes(UINT64_MAX, text), "18446744 TB");
    assert_string_equal(cli_text_rate(93200000, text), "93.2 Mbit/s");
    assert_string_equal(cli_text_rate(1000000000, text), "1.00 Gbit/s");
    assert_string_equal(cli_text_rate(5, text), "5 bit/s");
    assert_string_equal(cli_text_duration(83 * WEIR_SEC, text), "1m 23s");
    assert_string_equal(cli_text_duration(1500 * WEIR_MSEC, text), "1.50 s");
    assert_string_equal(cli_text_duration(20 * WEIR_MSEC, text), "20.0 ms");
    assert_string_equal(cli_text_duration(3720 * WEIR_SEC, text), "1h 02m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_sizes_and_rates),
        cmocka_unit_test(reads_percent_and_count),
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(refuses_urls),
        cmocka_unit_test(writes_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
