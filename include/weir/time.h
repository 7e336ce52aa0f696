/* SPDX-License-Identifier: MIT */
/*
 * time.h - time as the library counts it: unsigned nanoseconds of a monotonic clock.
 *
 * Role: engines never read a clock; "now" is a parameter of every call that needs it. The origin
 * does not matter, only that one endpoint always sees the same clock and it never runs backwards.
 */
#ifndef WEIR_TIME_H
#define WEIR_TIME_H

#include <stdint.h>

typedef uint64_t weir_nsec;

#define WEIR_NEVER UINT64_MAX

#define WEIR_USEC ((weir_nsec)1000)
#define WEIR_MSEC ((weir_nsec)1000000)
#define WEIR_SEC  ((weir_nsec)1000000000)

#endif
