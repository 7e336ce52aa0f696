/* SPDX-License-Identifier: MIT */
/*
 * ring.h - a lock-free ring of bytes between one writer and one reader.
 *
 * Role: conduit between two threads (workers, or an application and a shard); useful by itself.
 * Owned by: struct weir_ring_writer belongs to the writing thread, struct weir_ring_reader to the
 * reading one; struct weir_ring is what they share. The same thread may own both.
 * Memory: the caller's: one block of weir_ring_mem_size bytes, or weir_ring_map from the system.
 * Order: init (or map); attach each half; then write/read, or peek, fill or drain, commit.
 * Bound: never holds more than its capacity, a power of two; all of it is usable. Counters are 64
 * bits wide and run through 2^64 without harm.
 *
 *      0          position of the reader       position of the writer        capacity
 *      |  free: [1] | readable ................. | free: [0]                    |
 *
 * What is free or readable is a pair of segments, the second one empty unless the bytes pass the
 * end; a pair has the layout of struct iovec[2] and goes straight into readv and writev. In a
 * double-mapped ring (weir_ring_map) the second segment is always empty.
 *
 * Atomics: written is stored by the writer only, drained by the reader only, each with release
 * after the bytes are in or out. Each half keeps its last look at the other's counter and looks
 * again only when that does not suffice: at small chunks a ring is as fast as its halves rarely
 * touch each other's cache line.
 *
 * Via memory: where a line that both processors have in their caches is dear to write again (AMD:
 * measured two to five times the rate), the reader puts every line it is done with out of the
 * caches, and the writer writes large runs past its own. Neither changes what is visible when.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/span.h"
#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_RING_ALIGN = 128, /* two cache lines: processors fetch them in pairs */
    WEIR_RING_BYTES_MIN = 64,
    WEIR_RING_LINE = 64,         /* bytes of a cache line */
    WEIR_RING_LONG_BYTES = 512,  /* a run this long is copied out of line */
    WEIR_RING_BULK_BYTES = 16384 /* a run this long is written past the cache */
};

#define WEIR_RING_ALIGNED __attribute__((aligned(WEIR_RING_ALIGN)))

/* The shared part. Its fields are the ring's own. */
struct weir_ring {
    WEIR_RING_ALIGNED uint64_t written; /* bytes ever published; stored by the writer */
    WEIR_RING_ALIGNED uint64_t drained; /* bytes ever given back; stored by the reader */
    WEIR_RING_ALIGNED uint8_t *bytes;   /* set by init, then constant like the rest */
    size_t capacity_bytes;
    size_t contiguous_bytes; /* capacity, or twice that when double-mapped */
};

struct weir_ring_writer {
    WEIR_RING_ALIGNED struct weir_ring *ring;
    uint8_t *bytes;
    uint64_t mask;
    uint64_t contiguous_bytes;
    uint64_t position; /* next byte to write */
    uint64_t limit;    /* one past the last byte known to be free */
    uint64_t offered_bytes;
    bool is_via_memory; /* set by attach; its owner may change it at any time */
};

struct weir_ring_reader {
    WEIR_RING_ALIGNED struct weir_ring *ring;
    const uint8_t *bytes;
    uint64_t mask;
    uint64_t contiguous_bytes;
    uint64_t position; /* next byte to read */
    uint64_t limit;    /* one past the last byte known to be readable */
    uint64_t offered_bytes;
    bool is_via_memory; /* as in the writer */
};

/* Bytes of the one block that init needs; 0 when capacity_bytes is not a power of two of at least
 * WEIR_RING_BYTES_MIN and at most a quarter of the address space. */
WEIR_API size_t weir_ring_mem_size(size_t capacity_bytes);
/* mem: kept until neither half is used any more. WEIR_ERR_INVALID when it is NULL or not aligned to
 * WEIR_RING_ALIGN, or the capacity is outside its bounds; *ring is then unchanged. */
WEIR_API enum weir_status weir_ring_init(void *mem, size_t capacity_bytes, struct weir_ring **ring);
/* The same with the bytes elsewhere: capacity_bytes at bytes appear once more right behind
 * themselves (two mappings of the same pages). mem needs sizeof(struct weir_ring) only. */
WEIR_API enum weir_status weir_ring_init_double(void *mem, void *bytes, size_t capacity_bytes,
                                                struct weir_ring **ring);
/* A double-mapped ring in memory of its own. WEIR_ERR_INVALID when capacity_bytes is outside its
 * bounds or not a multiple of the page size, WEIR_ERR_MEMORY when the system refuses. */
WEIR_API enum weir_status weir_ring_map(size_t capacity_bytes, struct weir_ring **ring);
/* Gives a mapped ring back; NULL is allowed. */
WEIR_API void weir_ring_unmap(struct weir_ring *ring);

/* Makes writer (reader) the ring's writing (reading) half, going on where the one before stopped.
 * The thread that had the half before must have handed it over with synchronisation of its own.
 * WEIR_ERR_INVALID when the struct is not aligned to WEIR_RING_ALIGN. */
WEIR_API enum weir_status weir_ring_attach_writer(struct weir_ring *ring,
                                                  struct weir_ring_writer *writer);
WEIR_API enum weir_status weir_ring_attach_reader(struct weir_ring *ring,
                                                  struct weir_ring_reader *reader);

/* Offers free bytes to fill, in order; returns how many. Looks at the reader's counter only when
 * fewer than wanted are known to be free (1: any will do; SIZE_MAX: all there are). An offer holds
 * until the next peek, write or commit. */
WEIR_API size_t weir_ring_peek_write(struct weir_ring_writer *writer, size_t wanted_bytes,
                                     struct weir_mut_span pair[2]);
/* Publishes the first count of the bytes offered. WEIR_ERR_INVALID, and nothing is changed, when
 * that is more than was offered and not yet committed. */
WEIR_API enum weir_status weir_ring_commit_write(struct weir_ring_writer *writer, size_t count);
/* Offers readable bytes, in order; returns how many. As weir_ring_peek_write. */
WEIR_API size_t weir_ring_peek_read(struct weir_ring_reader *reader, size_t wanted_bytes,
                                    struct weir_span pair[2]);
/* Gives the first count of the bytes offered back to the writer. As weir_ring_commit_write. */
WEIR_API enum weir_status weir_ring_commit_read(struct weir_ring_reader *reader, size_t count);

/* Copies as much of [data, data + length) as is free; returns how many bytes, 0 when full. */
static inline size_t weir_ring_write(struct weir_ring_writer *writer, const void *data,
                                     size_t length);
/* Copies at most length bytes out to data; returns how many, 0 when empty. */
static inline size_t weir_ring_read(struct weir_ring_reader *reader, void *data, size_t length);

/* ---- the hot calls, inline ---- */

/* Out of line: bytes that pass the end of a ring mapped once, and long runs. */
WEIR_API void weir_ring_copy_in(const struct weir_ring_writer *writer, const void *data,
                                size_t length);
WEIR_API void weir_ring_copy_out(const struct weir_ring_reader *reader, void *data, size_t length);
/* Puts the lines that are done with once length more bytes are read out of the caches. */
WEIR_API void weir_ring_evict(const struct weir_ring_reader *reader, size_t length);

/* memcpy, with short lengths done by two moves that may overlap instead of a call. */
static inline void weir_ring_copy(uint8_t *to, const uint8_t *from, size_t length)
{
    if (__builtin_constant_p(length) || length > 64 || length < 8) {
        memcpy(to, from, length);
    } else if (length > 32) {
        memcpy(to, from, 32);
        memcpy(to + length - 32, from + length - 32, 32);
    } else if (length > 16) {
        memcpy(to, from, 16);
        memcpy(to + length - 16, from + length - 16, 16);
    } else {
        memcpy(to, from, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    }
}

static inline size_t weir_ring_write(struct weir_ring_writer *writer, const void *data,
                                     size_t length)
{
    uint64_t room = writer->limit - writer->position;
    if (__builtin_expect(room < length, 0)) {
        writer->limit =
            __atomic_load_n(&writer->ring->drained, __ATOMIC_ACQUIRE) + writer->mask + 1;
        room = writer->limit - writer->position;
        if (room < length) {
            length = (size_t)room;
        }
    }
    uint64_t offset = writer->position & writer->mask;
    if (offset + length <= writer->contiguous_bytes && length < WEIR_RING_LONG_BYTES) {
        weir_ring_copy(writer->bytes + offset, (const uint8_t *)data, length);
    } else {
        weir_ring_copy_in(writer, data, length);
    }
    writer->offered_bytes = 0;
    writer->position += length;
    __atomic_store_n(&writer->ring->written, writer->position, __ATOMIC_RELEASE);
    return length;
}

static inline size_t weir_ring_read(struct weir_ring_reader *reader, void *data, size_t length)
{
    uint64_t readable = reader->limit - reader->position;
    if (__builtin_expect(readable < length, 0)) {
        reader->limit = __atomic_load_n(&reader->ring->written, __ATOMIC_ACQUIRE);
        readable = reader->limit - reader->position;
        if (readable < length) {
            length = (size_t)readable;
        }
    }
    uint64_t offset = reader->position & reader->mask;
    if (offset + length <= reader->contiguous_bytes && length < WEIR_RING_LONG_BYTES) {
        weir_ring_copy((uint8_t *)data, reader->bytes + offset, length);
    } else {
        weir_ring_copy_out(reader, data, length);
    }
    if (offset % WEIR_RING_LINE + length >= WEIR_RING_LINE && reader->is_via_memory) {
        weir_ring_evict(reader, length);
    }
    reader->offered_bytes = 0;
    reader->position += length;
    __atomic_store_n(&reader->ring->drained, reader->position, __ATOMIC_RELEASE);
    return length;
}

#ifdef __cplusplus
}
#endif
#endif
