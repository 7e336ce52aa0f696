/* SPDX-License-Identifier: MIT */
/*
 * assert.h - programmer errors stop the program, in release builds too.
 */
#ifndef WEIR_BASE_ASSERT_H
#define WEIR_BASE_ASSERT_H

/* Prints "weir: assertion failed: ..." and aborts. */
_Noreturn void weir_assert_failed(const char *condition, const char *file, int line);

#define WEIR_ASSERT(condition)                    \
    (__builtin_expect(!!(condition), 1) ? (void)0 \
                                        : weir_assert_failed(#condition, __FILE__, __LINE__))

#endif
