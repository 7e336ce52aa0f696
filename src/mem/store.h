/* SPDX-License-Identifier: MIT */
/*
 * store.h - variable-size blocks out of one bounded region: a buddy allocator.
 *
 * Role: secondary store of the slide, assembly of fragmented messages, pages of outgoing data.
 * Owned by: one thread.
 * Memory: the caller's region; book-keeping beside it. Untouched pages of the region stay
 * untouched.
 * Bound: blocks are powers of two from WEIR_STORE_BLOCK_MIN to WEIR_STORE_BLOCK_MAX bytes.
 */
#ifndef WEIR_MEM_STORE_H
#define WEIR_MEM_STORE_H

#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_STORE_BLOCK_MIN = 64,
    WEIR_STORE_BLOCK_MAX = 32 << 20
};

struct weir_store;

/* Bytes of the one block that init needs for a budget (rounded up to whole pages). */
size_t weir_store_mem_size(size_t budget_bytes);
/* mem is 64-byte aligned and kept by the store. */
struct weir_store *weir_store_init(void *mem, size_t budget_bytes);

/* A block of at least size bytes, aligned to min(block size, 4096); NULL when there is none. */
void *weir_store_take(struct weir_store *store, size_t size);
/* size as passed to take. */
void weir_store_give(struct weir_store *store, const void *block, size_t size);
/* What take(size) would really occupy: the power of two at or above size. */
size_t weir_store_block_bytes(size_t size);
/* Bytes in blocks now taken. */
size_t weir_store_used_bytes(const struct weir_store *store);

#endif
