/* SPDX-License-Identifier: MIT */
/*
 * clock.c - the time outside of loops.
 */
#include <time.h>

#include "cli/cli.h"

weir_nsec cli_clock(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (weir_nsec)time.tv_sec * WEIR_SEC + (weir_nsec)time.tv_nsec;
}
