/* SPDX-License-Identifier: MIT */
/*
 * version.c - see weir/version.h.
 */
#include "weir/version.h"

const char *weir_version(void)
{
    return WEIR_VERSION;
}
