/* SPDX-License-Identifier: MIT */
/*
 * arena.h - bump allocation out of one block, given back all at once.
 *
 * Role: what decoding and decrypting one datagram needs; reset once its events are drained.
 * Owned by: one thread.
 * Memory: the caller's block; nothing of it is written by the arena itself.
 */
#ifndef WEIR_MEM_ARENA_H
#define WEIR_MEM_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

struct weir_arena {
    uint8_t *base;
    size_t size_bytes;
    size_t used_bytes; /* with what alignment cost */
    size_t peak_bytes; /* highest used_bytes since init */
};

static inline void weir_arena_init(struct weir_arena *arena, void *mem, size_t size_bytes)
{
    *arena = (struct weir_arena){.base = (uint8_t *)mem, .size_bytes = size_bytes};
}

/* length bytes at a multiple of align, a power of two; their content is undefined. NULL, and
 * nothing is taken, when they do not fit. Valid until the next reset. */
static inline void *weir_arena_take(struct weir_arena *arena, size_t length, size_t align)
{
    WEIR_ASSERT(align > 0 && (align & (align - 1)) == 0);
    size_t left = arena->size_bytes - arena->used_bytes;
    size_t padding = (size_t)(-(uintptr_t)(arena->base + arena->used_bytes)) & (align - 1);
    if (padding > left || length > left - padding) {
        return NULL;
    }
    uint8_t *taken = arena->base + arena->used_bytes + padding;
    arena->used_bytes += padding + length;
    if (arena->used_bytes > arena->peak_bytes) {
        arena->peak_bytes = arena->used_bytes;
    }
    return taken;
}

static inline void weir_arena_reset(struct weir_arena *arena)
{
    arena->used_bytes = 0;
}

#endif
