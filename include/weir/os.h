/* SPDX-License-Identifier: MIT */
/*
 * os.h - what a program takes from the system for its endpoints: memory and a seed.
 */
#ifndef WEIR_OS_H
#define WEIR_OS_H

#include <stddef.h>
#include <stdint.h>

#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Memory for an endpoint: fresh zero pages, 64-byte aligned, touched only when used. NULL when the
 * system refuses or bytes is 0. Give it back with weir_mem_unmap and the same size. */
WEIR_API void *weir_mem_map(size_t bytes);
/* Gives mem back; NULL is allowed. */
WEIR_API void weir_mem_unmap(void *mem, size_t bytes);
/* Fills seed with so many bytes of the system's CSPRNG (getrandom). WEIR_ERR_OS when it refuses. */
WEIR_API enum weir_status weir_secret_seed(uint8_t *seed, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
