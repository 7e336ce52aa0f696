/* SPDX-License-Identifier: MIT */
/*
 * test_progress.c - the line at the end of a transfer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

/* What cli_progress_finish writes to stderr about done bytes of done after elapsed. */
static void finish(uint64_t done, uint64_t base, weir_nsec elapsed, char text[128])
{
    struct cli_progress progress = {.label = "sent:", .base_bytes = base, .started = WEIR_SEC};
    FILE *file = tmpfile();
    assert_non_null(file);
    (void)fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    cli_progress_finish(&progress, done, WEIR_SEC + elapsed);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    size_t length = fread(text, 1, 127, file);
    text[length] = 0;
    assert_int_equal(fclose(file), 0);
}

/* A byte in a few microseconds is no rate, and neither is nothing. */
static void test_rate(void **state)
{
    char text[128];
    (void)state;
    finish(1000000, 0, WEIR_SEC, text);
    assert_string_equal(text, "sent: 1.00 MB in 1.00 s, 8.00 Mbit/s\n");
    finish(1, 0, 38700, text);
    assert_string_equal(text, "sent: 1 B in 38.7 us\n");
    finish(5000, 5000, WEIR_SEC, text);
    assert_string_equal(text, "sent: 5.00 KB in 1.00 s\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
