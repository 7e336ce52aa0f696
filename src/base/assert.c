/* SPDX-License-Identifier: MIT */
/*
 * assert.c - the end of a program with a broken invariant.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void weir_assert_failed(const char *condition, const char *file, int line)
{
    /* Nothing can be done about a stderr that is closed; the abort still tells. */
    (void)fprintf(stderr, "weir: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}
