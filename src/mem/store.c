/* SPDX-License-Identifier: MIT */
/*
 * store.c - the buddy allocator.
 *
 * Role: a block of order o has 64 << o bytes and starts at a multiple of that; two halves of one
 * block are buddies and become one again when both are free. The lowest free block of the smallest
 * order that suffices is taken: memory once touched is used again first.
 * Memory: per order one bit a block, set when it is free, under a tree of summary bits (a bit is
 * set when the 64 below are not all clear), so that the lowest free one is found in a few steps.
 * Nothing is ever written into a block.
 * Bound: take and give cost a few words an order, 20 orders at most.
 *
 * Splitting 32 MiB down to 64 bytes and putting it together again for each small block in turn
 * would be waste: up to CACHE_BLOCKS blocks an order stay apart for the next take, and are joined
 * only when a take would fail otherwise.
 */
#include "mem/store.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum {
    ORDERS = 20, /* 64 B to 32 MiB */
    BLOCK_MIN_SHIFT = 6,
    LEVELS_MAX = 8, /* 64 ** 8 blocks */
    WORD_BITS = 64,
    PAGE_BYTES = 4096,
    CACHE_ORDERS = 11, /* up to 64 KiB */
    CACHE_BLOCKS = 8
};

_Static_assert(WEIR_STORE_BLOCK_MIN == 1 << BLOCK_MIN_SHIFT, "order 0 is the smallest block");
_Static_assert(WEIR_STORE_BLOCK_MAX == WEIR_STORE_BLOCK_MIN << (ORDERS - 1), "the top order");

/* Free bits of one order: level 0 has one bit a block, each level above one bit a word below. */
struct bits {
    uint64_t *levels[LEVELS_MAX];
    uint32_t depth;
};

/* Blocks that are free but neither marked so nor joined; most recent last. */
struct cache {
    size_t blocks[CACHE_BLOCKS]; /* offsets in the region */
    uint32_t count;
};

struct weir_store {
    uint8_t *region;
    size_t region_bytes;
    size_t used_bytes;
    uint32_t orders_free; /* bit o is set when order o has a free block marked */
    struct bits free[ORDERS];
    struct cache caches[CACHE_ORDERS];
};

static size_t round_budget(size_t budget_bytes)
{
    return weir_size_align(budget_bytes > 0 ? budget_bytes : 1, PAGE_BYTES);
}

static size_t words_for(size_t bits)
{
    return (bits + WORD_BITS - 1) / WORD_BITS;
}

static size_t blocks_of_order(size_t region_bytes, uint32_t order)
{
    return region_bytes >> (BLOCK_MIN_SHIFT + order);
}

/* Words of all levels for count blocks. */
static size_t tree_words(size_t count)
{
    size_t total = 0;
    size_t words = count;
    do {
        words = words_for(words);
        total += words;
    } while (words > 1);
    return total;
}

static size_t book_bytes(size_t region_bytes)
{
    size_t words = 0;
    for (uint32_t order = 0; order < ORDERS; order++) {
        words += tree_words(blocks_of_order(region_bytes, order));
    }
    return weir_size_align(sizeof(struct weir_store), sizeof(uint64_t)) + words * sizeof(uint64_t);
}

size_t weir_store_mem_size(size_t budget_bytes)
{
    size_t region_bytes = round_budget(budget_bytes);
    /* mem need not start at a page: room to move the region to one. */
    return weir_size_add(weir_size_add(book_bytes(region_bytes), PAGE_BYTES), region_bytes);
}

static bool test_bit(const struct bits *bits, size_t index)
{
    return (bits->levels[0][index / WORD_BITS] >> (index % WORD_BITS) & 1) != 0;
}

static void set_bit(struct bits *bits, size_t index)
{
    for (uint32_t level = 0; level < bits->depth; level++) {
        uint64_t *word = &bits->levels[level][index / WORD_BITS];
        uint64_t before = *word;
        *word |= (uint64_t)1 << (index % WORD_BITS);
        if (before != 0) {
            return;
        }
        index /= WORD_BITS;
    }
}

static void clear_bit(struct bits *bits, size_t index)
{
    for (uint32_t level = 0; level < bits->depth; level++) {
        uint64_t *word = &bits->levels[level][index / WORD_BITS];
        *word &= ~((uint64_t)1 << (index % WORD_BITS));
        if (*word != 0) {
            return;
        }
        index /= WORD_BITS;
    }
}

static bool is_any_set(const struct bits *bits)
{
    return bits->levels[bits->depth - 1][0] != 0;
}

/* The lowest bit set; there is one. */
static size_t first_set(const struct bits *bits)
{
    size_t index = 0;
    for (uint32_t level = bits->depth; level-- > 0;) {
        uint64_t word = bits->levels[level][index];
        index = index * WORD_BITS + (size_t)__builtin_ctzll(word);
    }
    return index;
}

static void mark_free(struct weir_store *store, uint32_t order, size_t index)
{
    set_bit(&store->free[order], index);
    store->orders_free |= (uint32_t)1 << order;
}

static void mark_taken(struct weir_store *store, uint32_t order, size_t index)
{
    clear_bit(&store->free[order], index);
    if (!is_any_set(&store->free[order])) {
        store->orders_free &= ~((uint32_t)1 << order);
    }
}

static uint64_t *lay_out_tree(struct bits *bits, uint64_t *words, size_t count)
{
    size_t level_words = count;
    do {
        level_words = words_for(level_words);
        WEIR_ASSERT(bits->depth < LEVELS_MAX);
        bits->levels[bits->depth++] = words;
        words += level_words;
    } while (level_words > 1);
    return words;
}

/* Marks the region free in blocks as large as their place allows. */
static void free_region(struct weir_store *store)
{
    size_t at = 0;
    for (uint32_t order = ORDERS; order-- > 0;) {
        size_t block = (size_t)WEIR_STORE_BLOCK_MIN << order;
        while (store->region_bytes - at >= block) {
            mark_free(store, order, at / block);
            at += block;
        }
    }
}

struct weir_store *weir_store_init(void *mem, size_t budget_bytes)
{
    WEIR_ASSERT((uintptr_t)mem % WEIR_STORE_BLOCK_MIN == 0);
    struct weir_store *store = (struct weir_store *)mem;
    size_t region_bytes = round_budget(budget_bytes);
    size_t book = book_bytes(region_bytes);
    memset(mem, 0, book);
    store->region_bytes = region_bytes;
    uint8_t *after_book = (uint8_t *)mem + book;
    store->region = after_book + ((size_t)(-(uintptr_t)after_book) & (PAGE_BYTES - 1));
    uint64_t *words =
        (uint64_t *)mem + weir_size_align(sizeof(*store), sizeof(uint64_t)) / sizeof(uint64_t);
    for (uint32_t order = 0; order < ORDERS; order++) {
        words = lay_out_tree(&store->free[order], words, blocks_of_order(region_bytes, order));
    }
    free_region(store);
    return store;
}

/* The smallest order whose blocks hold size bytes, which is at most WEIR_STORE_BLOCK_MAX. */
static uint32_t order_of(size_t size)
{
    if (size <= WEIR_STORE_BLOCK_MIN) {
        return 0;
    }
    uint32_t bits = WORD_BITS - (uint32_t)__builtin_clzll((unsigned long long)size - 1);
    return bits - BLOCK_MIN_SHIFT;
}

size_t weir_store_block_bytes(size_t size)
{
    WEIR_ASSERT(size <= WEIR_STORE_BLOCK_MAX);
    return (size_t)WEIR_STORE_BLOCK_MIN << order_of(size);
}

size_t weir_store_used_bytes(const struct weir_store *store)
{
    return store->used_bytes;
}

/* Marks a block free and joins it with its buddy, its buddy's buddy and so on. */
static void join(struct weir_store *store, uint32_t order, size_t offset)
{
    size_t index = offset >> (BLOCK_MIN_SHIFT + order);
    WEIR_ASSERT(!test_bit(&store->free[order], index)); /* given twice */
    while (order + 1 < ORDERS) {
        size_t buddy = index ^ 1;
        if (buddy >= blocks_of_order(store->region_bytes, order) ||
            !test_bit(&store->free[order], buddy)) {
            break;
        }
        mark_taken(store, order, buddy);
        index /= 2;
        order++;
    }
    mark_free(store, order, index);
}

static void join_caches(struct weir_store *store)
{
    for (uint32_t order = 0; order < CACHE_ORDERS; order++) {
        struct cache *cache = &store->caches[order];
        while (cache->count > 0) {
            join(store, order, cache->blocks[--cache->count]);
        }
    }
}

/* Takes a marked block of this order, splitting a larger one if it must. */
static bool split(struct weir_store *store, uint32_t order, size_t *offset)
{
    uint32_t suited = store->orders_free >> order;
    if (suited == 0) {
        return false;
    }
    uint32_t from = order + (uint32_t)__builtin_ctz(suited);
    size_t index = first_set(&store->free[from]);
    mark_taken(store, from, index);
    while (from > order) {
        from--;
        index *= 2;
        mark_free(store, from, index + 1);
    }
    *offset = index << (BLOCK_MIN_SHIFT + order);
    return true;
}

void *weir_store_take(struct weir_store *store, size_t size)
{
    if (size > WEIR_STORE_BLOCK_MAX) {
        return NULL;
    }
    uint32_t order = order_of(size);
    size_t offset;
    if (order < CACHE_ORDERS && store->caches[order].count > 0) {
        struct cache *cache = &store->caches[order];
        offset = cache->blocks[--cache->count];
    } else if (!split(store, order, &offset)) {
        join_caches(store);
        if (!split(store, order, &offset)) {
            return NULL;
        }
    }
    store->used_bytes += (size_t)WEIR_STORE_BLOCK_MIN << order;
    return store->region + offset;
}

void weir_store_give(struct weir_store *store, const void *block, size_t size)
{
    WEIR_ASSERT(size <= WEIR_STORE_BLOCK_MAX);
    uint32_t order = order_of(size);
    size_t block_bytes = (size_t)WEIR_STORE_BLOCK_MIN << order;
    size_t offset = (size_t)((const uint8_t *)block - store->region);
    WEIR_ASSERT(offset < store->region_bytes && offset % block_bytes == 0 &&
                store->used_bytes >= block_bytes);
    store->used_bytes -= block_bytes;
    if (order < CACHE_ORDERS && store->caches[order].count < CACHE_BLOCKS) {
        struct cache *cache = &store->caches[order];
        cache->blocks[cache->count++] = offset;
    } else {
        join(store, order, offset);
    }
}
