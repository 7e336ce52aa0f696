/* SPDX-License-Identifier: MIT */
/*
 * test_base.c - status texts, asserts, integers in network order, checked sizes.
 */
#include "seed.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "weir/status.h"

static void every_status_has_its_own_text(void **state)
{
    (void)state;
    for (int i = WEIR_OK; i <= WEIR_ERR_TIMEOUT; i++) {
        const char *text = weir_status_text((enum weir_status)i);
        assert_true(strlen(text) > 0);
        assert_string_not_equal(text, "unknown status");
        for (int k = WEIR_OK; k < i; k++) {
            assert_string_not_equal(text, weir_status_text((enum weir_status)k));
        }
    }
    assert_string_equal(weir_status_text((enum weir_status)1000), "unknown status");
}

static void overflow_sum(void)
{
    (void)weir_size_add(SIZE_MAX, 1);
}

static void overflow_product(void)
{
    (void)weir_size_mul(SIZE_MAX / 2, 3);
}

static void overflow_alignment(void)
{
    (void)weir_size_align(SIZE_MAX - 3, 64);
}

static void false_condition(void)
{
    int two = 2;
    WEIR_ASSERT(two == 3);
}

/* Runs action in a child process: true when it was ended by abort, with the message. */
static bool aborts(void (*action)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        action();
        _exit(0);
    }
    (void)close(ends[1]);
    char message[512] = {0};
    ssize_t length = read(ends[0], message, sizeof(message) - 1);
    (void)close(ends[0]);
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    return length > 0 && strstr(message, "weir: assertion failed: ") != NULL &&
           WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void asserts_abort(void **state)
{
    (void)state;
    assert_true(aborts(false_condition));
    assert_true(aborts(overflow_sum));
    assert_true(aborts(overflow_product));
    assert_true(aborts(overflow_alignment));
    WEIR_ASSERT(true);
}

static void integers_are_in_network_order(void **state)
{
    (void)state;
    const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(weir_load16(bytes), 0x0102);
    assert_int_equal(weir_load32(bytes), 0x01020304);
    assert_true(weir_load64(bytes) == 0x0102030405060708);
    uint8_t out[8];
    weir_store64(out, 0x0102030405060708);
    assert_memory_equal(out, bytes, 8);
    weir_store32(out, 0x01020304);
    assert_memory_equal(out, bytes, 4);
    weir_store16(out, 0x0102);
    assert_memory_equal(out, bytes, 2);
}

static void sizes_are_exact(void **state)
{
    (void)state;
    assert_true(weir_size_add(SIZE_MAX - 1, 1) == SIZE_MAX);
    assert_true(weir_size_mul(3, 5) == 15);
    assert_true(weir_size_align(0, 64) == 0);
    assert_true(weir_size_align(1, 64) == 64);
    assert_true(weir_size_align(64, 64) == 64);
    assert_true(weir_min_u64(2, 1) == 1 && weir_max_u64(2, 1) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_own_text),
        cmocka_unit_test(asserts_abort),
        cmocka_unit_test(integers_are_in_network_order),
        cmocka_unit_test(sizes_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
