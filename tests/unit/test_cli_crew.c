/* SPDX-License-Identifier: MIT */
/*
 * test_cli_crew.c - what a shard must hold so that all of them hold what was promised.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "cli/crew.h"

enum {
    ROUNDS = 200
};

/* Connections by their random ids, as they come: none finds its shard full. */
static void fill(struct weir_prng *prng, uint32_t shards, uint32_t total)
{
    const struct cli_crew crew = {.shard_count = shards};
    const uint32_t share = cli_crew_share(&crew, total);
    uint32_t held[WEIR_CREW_SHARDS_MAX] = {0};
    for (uint32_t n = 0; n < total; n++) {
        assert_true(++held[weir_prng_below(prng, shards)] <= share);
    }
}

static void test_share_suffices(void **state)
{
    static const uint32_t totals[] = {1, 8, 16, 32, 61, 100, 512, 2048, 10000, 110064};
    static const uint32_t shards[] = {2, 13, CLI_CREW_SHARDS, 251};
    struct weir_prng prng;
    (void)state;
    weir_prng_init(&prng, 12);
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        const int rounds = totals[i] > 2048 ? ROUNDS / 20 : ROUNDS;
        for (int round = 0; round < rounds; round++) {
            fill(&prng, shards[(size_t)round % (sizeof(shards) / sizeof(shards[0]))], totals[i]);
        }
    }
}

/* And all of it is not many times as much. */
static void test_share_is_small(void **state)
{
    const struct cli_crew crew = {.shard_count = CLI_CREW_SHARDS};
    (void)state;
    assert_int_equal(cli_crew_share(&crew, 1), 1);
    assert_int_equal(cli_crew_share(&crew, 0), 0);
    assert_true(cli_crew_share(&crew, 16) <= 16);
    assert_true(cli_crew_share(&crew, 110064) * CLI_CREW_SHARDS < 110064 / 10 * 12);
    assert_true(cli_crew_share(&crew, UINT32_MAX) < UINT32_MAX / 50);
}

static struct cli_crew_options read(const char *first, const char *second, error_t *error)
{
    struct cli_crew_options options = {0};
    char command[] = "weir perf";
    static char words[2][64]; /* options point there */
    char *argv[] = {command, words[0], words[1], NULL};
    int argc = 1;
    const char *const given[] = {first, second};
    for (int i = 0; i < 2 && given[i] != NULL; i++) {
        (void)snprintf(words[argc - 1], sizeof(words[0]), "%s", given[i]);
        argc++;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
    *error = argp_parse(&cli_crew_argp, argc, argv, ARGP_NO_EXIT, NULL, &options);
    return options;
}

static void test_options(void **state)
{
    static const char *const bad[] = {"--workers=0", "--workers=62",   "--workers=",
                                      "--workers=x", "--control=none", "--metrics=127.0.0.1:1"};
    error_t error = 0;
    (void)state;
    struct cli_crew_options options = read(NULL, NULL, &error);
    assert_true(error == 0 && !options.is_given);
    options = read("--workers=3", "--control=none", &error);
    assert_true(error == 0 && options.is_given && !options.is_auto && options.workers == 3);
    assert_true(options.workers_max >= 8 && options.workers_max <= CLI_CREW_SHARDS);
    assert_string_equal(options.control, "none");
    options = read("--workers=61", NULL, &error);
    assert_true(error == 0 && options.workers == 61 && options.workers_max == 61);
    options = read("--workers=auto", "--metrics=127.0.0.1:0", &error);
    assert_true(error == 0 && options.is_given && options.is_auto && options.workers == 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)read(bad[i], NULL, &error);
        assert_int_not_equal(error, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_share_suffices),
                                       cmocka_unit_test(test_share_is_small),
                                       cmocka_unit_test(test_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
