/* SPDX-License-Identifier: MIT */
/*
 * heap.c - free lists by size, filled from slabs.
 */
#include "cli/heap.h"

#include <stdlib.h>
#include <string.h>

#include "weir/os.h"

enum {
    BYTES_MIN_LOG = 6,
    SMALL_CLASSES = 11, /* to 64 KiB: cut from slabs */
    KEPT_MAX = 2,
    SLAB_BYTES = 1 << 20,
    SLAB_HEADER_BYTES = 64,
    PAGE_BYTES = 4096
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER
#endif

#ifdef HAS_ADDRESS_SANITIZER
/* So that the sanitizer sees each block, and its end. */
void *cli_heap_take(struct cli_heap *heap, size_t bytes)
{
    (void)heap;
    return malloc(bytes);
}

void cli_heap_give(struct cli_heap *heap, void *block, size_t bytes)
{
    (void)heap;
    (void)bytes;
    free(block);
}

void cli_heap_fini(struct cli_heap *heap)
{
    (void)heap;
}
#else
static size_t class_bytes(unsigned class)
{
    return (size_t)1 << (class + BYTES_MIN_LOG);
}

/* CLI_HEAP_CLASSES: too long for all of them. */
static unsigned class_of(size_t bytes)
{
    unsigned class = 0;
    while (class < CLI_HEAP_CLASSES && class_bytes(class) < bytes) {
        class ++;
    }
    return class;
}

/* Blocks of pages begin with one, so that what is not used of them is never touched. */
static void *cut(struct cli_heap *heap, size_t bytes)
{
    size_t align = bytes < PAGE_BYTES ? bytes : PAGE_BYTES;
    size_t gap = (size_t)(-(uintptr_t)heap->next) & (align - 1);
    if (heap->left < gap + bytes) {
        struct cli_heap_block *slab = weir_mem_map(SLAB_BYTES);
        if (slab == NULL) {
            return NULL;
        }
        slab->next = heap->slabs;
        heap->slabs = slab;
        heap->next = (uint8_t *)slab + SLAB_HEADER_BYTES;
        heap->left = SLAB_BYTES - SLAB_HEADER_BYTES;
        gap = align > SLAB_HEADER_BYTES ? align - SLAB_HEADER_BYTES : 0;
    }
    void *block = heap->next + gap;
    heap->next += gap + bytes;
    heap->left -= gap + bytes;
    return block;
}

void *cli_heap_take(struct cli_heap *heap, size_t bytes)
{
    unsigned class = class_of(bytes);
    if (class == CLI_HEAP_CLASSES) {
        return weir_mem_map(bytes);
    }
    struct cli_heap_block *block = heap->free[class];
    if (block != NULL) {
        heap->free[class] = block->next;
        heap->kept[class]--;
        return block;
    }
    return class < SMALL_CLASSES ? cut(heap, class_bytes(class)) : weir_mem_map(class_bytes(class));
}

void cli_heap_give(struct cli_heap *heap, void *block, size_t bytes)
{
    unsigned class = class_of(bytes);
    if (block == NULL) {
        return;
    }
    if (class == CLI_HEAP_CLASSES) {
        weir_mem_unmap(block, bytes);
        return;
    }
    if (class >= SMALL_CLASSES && heap->kept[class] >= KEPT_MAX) {
        weir_mem_unmap(block, class_bytes(class));
        return;
    }
    struct cli_heap_block *free_block = block;
    free_block->next = heap->free[class];
    heap->free[class] = free_block;
    heap->kept[class]++;
}

void cli_heap_fini(struct cli_heap *heap)
{
    for (unsigned class = SMALL_CLASSES; class < CLI_HEAP_CLASSES; class ++) {
        while (heap->free[class] != NULL) {
            struct cli_heap_block *block = heap->free[class];
            heap->free[class] = block->next;
            weir_mem_unmap(block, class_bytes(class));
        }
    }
    while (heap->slabs != NULL) {
        struct cli_heap_block *slab = heap->slabs;
        heap->slabs = slab->next;
        weir_mem_unmap(slab, SLAB_BYTES);
    }
    *heap = (struct cli_heap){0};
}
#endif

void *cli_heap_take_zeroed(struct cli_heap *heap, size_t bytes)
{
    void *block = cli_heap_take(heap, bytes);
    if (block != NULL) {
        memset(block, 0, bytes);
    }
    return block;
}
