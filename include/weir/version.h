/* SPDX-License-Identifier: MIT */
/*
 * version.h - the version of the library: of the headers, and of what is linked.
 */
#ifndef WEIR_VERSION_H
#define WEIR_VERSION_H

#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_VERSION "0.1.0"

/* WEIR_VERSION as it was when the library was compiled. */
WEIR_API const char *weir_version(void);

#ifdef __cplusplus
}
#endif
#endif
