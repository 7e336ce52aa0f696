/* SPDX-License-Identifier: MIT */
/*
 * heap.h - memory of one shard, taken and given back without a lock.
 *
 * Role: malloc for what comes and goes with connections. Blocks may be given back on another thread
 * than the one that took them, when their shard has moved on; malloc would lock for that.
 * Owned by: the shard; one thread at a time. Memory: blocks are powers of two. Those up to 64 KiB
 * are cut from the system's MiB by MiB, and kept for the next taker until fini; of each longer size
 * two are kept.
 */
#ifndef WEIR_CLI_HEAP_H
#define WEIR_CLI_HEAP_H

#include <stddef.h>
#include <stdint.h>

enum {
    CLI_HEAP_CLASSES = 15 /* 64 bytes to 1 MiB; what is longer is the system's */
};

struct cli_heap_block {
    struct cli_heap_block *next;
};

/* All zero: empty. */
struct cli_heap {
    struct cli_heap_block *free[CLI_HEAP_CLASSES];
    uint32_t kept[CLI_HEAP_CLASSES]; /* so many are there */
    struct cli_heap_block *slabs;
    uint8_t *next;
    size_t left; /* behind next */
};

/* NULL: the system has none. Aligned to 64 bytes; what is in it is not known. */
void *cli_heap_take(struct cli_heap *heap, size_t bytes);
void *cli_heap_take_zeroed(struct cli_heap *heap, size_t bytes);
/* bytes: as it was taken. NULL is allowed. */
void cli_heap_give(struct cli_heap *heap, void *block, size_t bytes);
/* Everything was given back before, or is invalid now; long blocks must have been. */
void cli_heap_fini(struct cli_heap *heap);

#endif
