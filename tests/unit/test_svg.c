/* SPDX-License-Identifier: MIT */
/*
 * test_svg.c - the charts of "weir sim --plot": well-formed, escaped, in bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/svg.h"

/* The chart as text, freed by the caller. */
static char *draw(const struct cli_svg_chart *chart)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    assert_non_null(file);
    assert_true(cli_svg_write(file, chart));
    assert_int_equal(fclose(file), 0);
    return text;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        count++;
    }
    return count;
}

/* Checks that every tag is closed in the right order and that no bare & stands in the text. */
static void check_well_formed(const char *text)
{
    char open[32][32];
    size_t depth = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '&') {
            assert_true(strncmp(at, "&lt;", 4) == 0 || strncmp(at, "&gt;", 4) == 0 ||
                        strncmp(at, "&amp;", 5) == 0 || strncmp(at, "&quot;", 6) == 0);
        }
        if (*at != '<') {
            continue;
        }
        const char *end = strchr(at, '>');
        assert_non_null(end);
        char name[32] = {0};
        size_t length = strcspn(at + 1, " />\n") + (at[1] == '/');
        if (at[1] == '/') {
            length = strcspn(at + 2, ">");
            memcpy(name, at + 2, length);
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (at[1] != '?' && end[-1] != '/') {
            assert_true(depth < 32 && length < sizeof(name));
            memcpy(name, at + 1, length);
            memcpy(open[depth++], name, sizeof(name));
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void test_full_chart(void **state)
{
    (void)state;
    double x[50];
    double y[50];
    double z[50];
    for (int i = 0; i < 50; i++) {
        x[i] = i * 0.1;
        y[i] = i * i;
        z[i] = 100 - i;
    }
    struct cli_svg_chart chart = {
        .title = "a < b & \"c\" > d",
        .subtitle = "control \x01 characters\tvanish",
        .x_label = "time (s)",
        .panels = {{"first", "KB", {{"one", x, y, 50}, {"two", x, z, 50}}, 2},
                   {"second", "ms", {{"one", x, z, 50}}, 1}},
        .panels_count = 2};
    char *text = draw(&chart);
    check_well_formed(text);
    assert_non_null(strstr(text, "a &lt; b &amp; &quot;c&quot; &gt; d"));
    assert_null(strchr(text, '\x01'));
    assert_int_equal(count_of(text, "<path"), 3);
    assert_int_equal(count_of(text, "class=\"frame\""), 2);
    assert_non_null(strstr(text, "first (KB)"));
    assert_non_null(strstr(text, ">2500<")); /* the top of the first panel's axis */
    assert_non_null(strstr(text, ">time (s)<"));
    free(text);
}

static void test_nothing_to_draw(void **state)
{
    (void)state;
    struct cli_svg_chart chart = {.title = "",
                                  .subtitle = "",
                                  .x_label = "",
                                  .panels = {{"empty", "s", {{"none", NULL, NULL, 0}}, 1}},
                                  .panels_count = 1};
    char *text = draw(&chart);
    check_well_formed(text);
    assert_non_null(strstr(text, "d=\"\""));
    assert_int_equal(count_of(text, "nan") + count_of(text, "inf"), 0);
    free(text);
}

static void test_gaps(void **state)
{
    (void)state;
    double x[] = {0, 1, 2, 3, 4};
    double y[] = {1, 2, (double)NAN, (double)INFINITY, 3};
    struct cli_svg_chart chart = {.title = "",
                                  .subtitle = "",
                                  .x_label = "",
                                  .panels = {{"gaps", "s", {{"one", x, y, 5}}, 1}},
                                  .panels_count = 1};
    char *text = draw(&chart);
    check_well_formed(text);
    const char *path = strstr(text, " d=\"M");
    assert_non_null(path);
    assert_non_null(strchr(path + 5, 'M')); /* the pen was lifted once */
    assert_int_equal(count_of(text, "nan") + count_of(text, "inf"), 0);
    free(text);
}

/* However many points there are, the file is bounded by the width of the picture; peaks stay. */
static void test_many_points(void **state)
{
    (void)state;

    enum {
        COUNT = 1000000
    };

    double *x = calloc(COUNT, sizeof(*x));
    double *y = calloc(COUNT, sizeof(*y));
    assert_non_null(x);
    assert_non_null(y);
    for (int i = 0; i < COUNT; i++) {
        x[i] = i * 1e-6;
        y[i] = i == COUNT / 2 ? 1000 : i % 7;
    }
    struct cli_svg_chart chart = {.title = "",
                                  .subtitle = "",
                                  .x_label = "",
                                  .panels = {{"many", "s", {{"one", x, y, COUNT}}, 1}},
                                  .panels_count = 1};
    char *text = draw(&chart);
    check_well_formed(text);
    assert_true(strlen(text) < 600000);
    assert_non_null(strstr(text, ">1000<"));
    /* The peak reaches the top of the panel: title 64, gap 40. */
    assert_non_null(strstr(text, " 104.0L"));
    free(text);
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_chart),
        cmocka_unit_test(test_nothing_to_draw),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_many_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
