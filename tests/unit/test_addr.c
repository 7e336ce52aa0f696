/* SPDX-License-Identifier: MIT */
/*
 * test_addr.c - addresses to text and back: tables of cases, and the C library's own reading.
 */
#include "seed.h"

#include <arpa/inet.h>
#include <string.h>

#include "weir/addr.h"

struct good {
    const char *text;
    const char *formatted; /* NULL: the same */
};

static const struct good good_cases[] = {
    {"1.2.3.4:80", NULL},
    {"0.0.0.0:0", NULL},
    {"255.255.255.255:65535", NULL},
    {"*:80", "[::]:80"},
    {":80", "[::]:80"},
    {"[::]:80", NULL},
    {"[::1]:80", NULL},
    {"[1::]:80", NULL},
    {"[2001:db8::1%3]:80", NULL},
    {"[fe80::1%4294967295]:1", NULL},
    {"[fe80::1%0]:1", "[fe80::1]:1"},
    {"[2001:0DB8:0000:0000:0008:0800:200C:417A]:9", "[2001:db8::8:800:200c:417a]:9"},
    {"[FF01:0:0:0:0:0:0:101]:9", "[ff01::101]:9"},
    /* The longest run of zeros is shortened, the first of two equal ones, never a single group. */
    {"[2001:0:0:1:0:0:0:1]:9", "[2001:0:0:1::1]:9"},
    {"[2001:db8:0:0:1:0:0:1]:9", "[2001:db8::1:0:0:1]:9"},
    {"[2001:db8:0:1:1:1:1:1]:9", NULL},
    {"[2001:db8::1:1:1:1:1]:9", "[2001:db8:0:1:1:1:1:1]:9"},
    {"[::2:3:4:5:6:7:8]:9", "[0:2:3:4:5:6:7:8]:9"},
    {"[1:2:3:4:5:6:7::]:9", "[1:2:3:4:5:6:7:0]:9"},
    {"[1:2:3:4:5:6:0:0]:9", "[1:2:3:4:5:6::]:9"},
    {"[1:2:3:4:5:6:7:8]:9", NULL},
    {"[::ffff:192.0.2.1]:9", "192.0.2.1:9"},
    {"[::FFFF:c000:201]:9", "192.0.2.1:9"},
    {"[::ffff:192.0.2.1%3]:9", NULL},
    {"[::13.1.68.3]:9", "[::d01:4403]:9"},
    {"[0:0:0:0:0:0:13.1.68.3]:9", "[::d01:4403]:9"},
    {"[64:ff9b::192.0.2.33]:9", "[64:ff9b::c000:221]:9"},
    {"[1:2:3:4:5::192.0.2.33]:9", "[1:2:3:4:5:0:c000:221]:9"},
};

static const char *const bad_cases[] = {
    "",
    ":",
    "80",
    "*",
    "*:",
    "*80",
    "**:80",
    "::80",
    "::1:80",
    "1.2.3.4",
    "1.2.3.4:",
    "1.2.3.4:65536",
    "1.2.3.4:080",
    "1.2.3.4:-1",
    "1.2.3.4:+1",
    "1.2.3.4: 1",
    "1.2.3.4:1 ",
    " 1.2.3.4:1",
    "1.2.3:1",
    "1.2.3.4.5:1",
    "1.2.3.256:1",
    "01.2.3.4:1",
    "1.2.3.00:1",
    "1..3.4:1",
    "1.2.3.0x4:1",
    "a.b.c.d:1",
    "1.2.3.4:99999999999999999999",
    "localhost:80",
    "[]:80",
    "[:]:80",
    "[:::]:80",
    "[::1]",
    "[::1]:",
    "[::1:80",
    "::1]:80",
    "[::1]80",
    "[1]:80",
    "[1:2:3:4:5:6:7]:80",
    "[1:2:3:4:5:6:7:8:9]:80",
    "[1:2:3:4:5:6:7:8::]:80",
    "[::1:2:3:4:5:6:7:8]:80",
    "[1::2::3]:80",
    "[1:::2]:80",
    "[:1::2]:80",
    "[1::2:]:80",
    "[12345::]:80",
    "[g::]:80",
    "[::1.2.3]:80",
    "[::1.2.3.4.5]:80",
    "[::1.2.3.256]:80",
    "[::1.2.3.4:5]:80",
    "[1.2.3.4::]:80",
    "[1.2.3.4]:80",
    "[1:2:3:4:5:6:7:1.2.3.4]:80",
    "[1:2:3:4:5:6:7::1.2.3.4]:80",
    "[1:2:3:4:5:6::1.2.3.4]:80",
    "[::1%]:80",
    "[::1%x]:80",
    "[::1%4294967296]:80",
    "[::1%01]:80",
    "[%1]:80",
    "[::1/64]:80",
    "[::1.02.3.4]:80",
};

static void good_texts_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_cases) / sizeof(good_cases[0]); i++) {
        const struct good *test = &good_cases[i];
        struct weir_addr addr;
        char text[WEIR_ADDR_TEXT_BYTES];
        memset(&addr, 0xa5, sizeof(addr));
        if (weir_addr_parse(test->text, &addr) != WEIR_OK) {
            fail_msg("not read: %s", test->text);
        }
        assert_int_equal(addr.zero, 0);
        size_t length = weir_addr_format(&addr, text);
        assert_int_equal(length, strlen(text));
        assert_string_equal(text, test->formatted != NULL ? test->formatted : test->text);
    }
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
        struct weir_addr addr;
        struct weir_addr before;
        memset(&addr, 0xa5, sizeof(addr));
        before = addr;
        if (weir_addr_parse(bad_cases[i], &addr) != WEIR_ERR_INVALID) {
            fail_msg("not refused: %s", bad_cases[i]);
        }
        assert_true(weir_addr_is_equal(&addr, &before));
    }
}

static void fields_are_filled(void **state)
{
    (void)state;
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse("192.0.2.7:4433", &addr), WEIR_OK);
    const struct weir_addr ip4 = {.ip = {192, 0, 2, 7}, .port = 4433, .family = WEIR_ADDR_IP4};
    assert_true(weir_addr_is_equal(&addr, &ip4));
    assert_int_equal(weir_addr_parse("[fe80::1:2%7]:1", &addr), WEIR_OK);
    const struct weir_addr ip6 = {
        .ip = {0xfe, 0x80, [13] = 1, [15] = 2}, .scope = 7, .port = 1, .family = WEIR_ADDR_IP6};
    assert_true(weir_addr_is_equal(&addr, &ip6));
}

static void longest_text_fits(void **state)
{
    (void)state;
    struct weir_addr addr = {.scope = UINT32_MAX, .port = UINT16_MAX, .family = WEIR_ADDR_IP6};
    memset(addr.ip, 0xff, sizeof(addr.ip));
    char text[WEIR_ADDR_TEXT_BYTES];
    assert_true(weir_addr_format(&addr, text) < WEIR_ADDR_TEXT_BYTES);
    assert_string_equal(text, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
    const struct weir_addr none = {.family = WEIR_ADDR_NONE};
    assert_int_equal(weir_addr_format(&none, text), 4);
    assert_string_equal(text, "none");
}

/* What the C library reads from our text is the address, and what it writes we read. */
static void agrees_with_the_c_library(void **state)
{
    (void)state;
    const uint64_t seed = 5;
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    for (int i = 0; i < 20000; i++) {
        bool is_ip4 = weir_prng_below(&prng, 4) == 0;
        struct weir_addr addr = {.port = (uint16_t)weir_prng_next(&prng)};
        addr.family = is_ip4 ? WEIR_ADDR_IP4 : WEIR_ADDR_IP6;
        for (size_t k = 0; k < (is_ip4 ? 4 : 16); k++) {
            /* Many zeros, so that runs of all lengths appear. */
            addr.ip[k] = weir_prng_below(&prng, 4) != 0 ? 0 : (uint8_t)weir_prng_next(&prng);
        }
        char text[WEIR_ADDR_TEXT_BYTES];
        size_t length = weir_addr_format(&addr, text);
        struct weir_addr back;
        CHECK(seed, weir_addr_parse(text, &back) == WEIR_OK && weir_addr_is_equal(&addr, &back));

        char host[WEIR_ADDR_TEXT_BYTES];
        size_t host_length = (size_t)(strrchr(text, ':') - text);
        size_t bracket = is_ip4 ? 0 : 1;
        CHECK(seed, host_length < length);
        memcpy(host, text + bracket, host_length - 2 * bracket);
        host[host_length - 2 * bracket] = '\0';
        uint8_t ip[16] = {0};
        int family = is_ip4 ? AF_INET : AF_INET6;
        CHECK(seed, inet_pton(family, host, ip) == 1 && memcmp(ip, addr.ip, 16) == 0);

        char theirs[WEIR_ADDR_TEXT_BYTES];
        theirs[0] = '[';
        CHECK(seed, inet_ntop(family, addr.ip, theirs + bracket, 64) != NULL);
        memcpy(theirs + strlen(theirs), is_ip4 ? ":0\0" : "]:0", 4);
        addr.port = 0;
        CHECK(seed, weir_addr_parse(theirs, &back) == WEIR_OK && weir_addr_is_equal(&addr, &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_are_read),       cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(fields_are_filled),         cmocka_unit_test(longest_text_fits),
        cmocka_unit_test(agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
