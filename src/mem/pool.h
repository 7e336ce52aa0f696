/* SPDX-License-Identifier: MIT */
/*
 * pool.h - equal-sized elements out of one bounded region, by index or by pointer.
 *
 * Role: connections, packet records, message nodes: everything an engine has many of.
 * Owned by: one thread.
 * Memory: the caller's region of element_bytes * count; elements never taken are never touched, so
 * an idle pool costs address space, not memory. A given element is reused last-in first-out.
 */
#ifndef WEIR_MEM_POOL_H
#define WEIR_MEM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

enum {
    WEIR_POOL_NONE = UINT32_MAX
};

struct weir_pool {
    uint8_t *base;
    uint32_t element_bytes; /* at least 4: a free element's first 4 bytes link the free list */
    uint32_t count_max;
    uint32_t touched; /* elements ever taken: [0, touched) have been written */
    uint32_t free_head;
    uint32_t used;
    uint32_t used_peak;
};

static inline size_t weir_pool_mem_size(uint32_t element_bytes, uint32_t count)
{
    return ((size_t)element_bytes * count + 63) & ~(size_t)63;
}

static inline void weir_pool_init(struct weir_pool *pool, void *mem, uint32_t element_bytes,
                                  uint32_t count)
{
    WEIR_ASSERT(element_bytes >= sizeof(uint32_t) && count < WEIR_POOL_NONE);
    *pool = (struct weir_pool){.base = (uint8_t *)mem,
                               .element_bytes = element_bytes,
                               .count_max = count,
                               .free_head = WEIR_POOL_NONE};
}

static inline void *weir_pool_at(const struct weir_pool *pool, uint32_t index)
{
    return pool->base + (size_t)index * pool->element_bytes;
}

static inline uint32_t weir_pool_index(const struct weir_pool *pool, const void *element)
{
    return (uint32_t)((size_t)((const uint8_t *)element - pool->base) / pool->element_bytes);
}

/* NULL when the pool is empty. The element's bytes are whatever its last user left. */
static inline void *weir_pool_take(struct weir_pool *pool)
{
    void *element;
    if (pool->free_head != WEIR_POOL_NONE) {
        element = weir_pool_at(pool, pool->free_head);
        __builtin_memcpy(&pool->free_head, element, sizeof(uint32_t));
    } else if (pool->touched < pool->count_max) {
        element = weir_pool_at(pool, pool->touched++);
    } else {
        return NULL;
    }
    if (++pool->used > pool->used_peak) {
        pool->used_peak = pool->used;
    }
    return element;
}

static inline void weir_pool_give(struct weir_pool *pool, void *element)
{
    WEIR_ASSERT(pool->used > 0);
    __builtin_memcpy(element, &pool->free_head, sizeof(uint32_t));
    pool->free_head = weir_pool_index(pool, element);
    pool->used--;
}

static inline uint32_t weir_pool_left(const struct weir_pool *pool)
{
    return pool->count_max - pool->used;
}

#endif
