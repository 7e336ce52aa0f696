/* SPDX-License-Identifier: MIT */
/*
 * ring.c - the byte ring's set-up, and its peek and commit.
 *
 * Role: what is not on the hot path of weir/ring.h. Pure: no system call; double mapping is done by
 * run/ring_map.c.
 */
#include "weir/ring.h"

#ifdef __x86_64__
#include <emmintrin.h>

/* The lines of [to, to + length) are written past the caches, in front of all stores after this.
 * to is at the start of a line; length is a multiple of one. */
static void copy_lines_past_cache(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i += WEIR_RING_LINE) {
        const __m128i *source = (const __m128i *)(const void *)(from + i);
        __m128i *target = (__m128i *)(void *)(to + i);
        __m128i a = _mm_loadu_si128(source);
        __m128i b = _mm_loadu_si128(source + 1);
        __m128i c = _mm_loadu_si128(source + 2);
        __m128i d = _mm_loadu_si128(source + 3);
        _mm_stream_si128(target, a);
        _mm_stream_si128(target + 1, b);
        _mm_stream_si128(target + 2, c);
        _mm_stream_si128(target + 3, d);
    }
    _mm_sfence();
}

static void copy_past_cache(uint8_t *to, const uint8_t *from, size_t length)
{
    size_t head = (size_t)(-(uintptr_t)to % WEIR_RING_LINE);
    size_t lines = (length - head) / WEIR_RING_LINE * WEIR_RING_LINE;
    memcpy(to, from, head);
    memcpy(to + head + lines, from + head + lines, length - head - lines);
    copy_lines_past_cache(to + head, from + head, lines);
}

/* Line by line from the front. The C library's memcpy touches the end of a run early: between two
 * processors' caches that costs two thirds of the rate at 1 KB. */
static void copy_forward(uint8_t *to, const uint8_t *from, size_t length)
{
    size_t i = 0;
    for (; length - i >= WEIR_RING_LINE; i += WEIR_RING_LINE) {
        const __m128i *source = (const __m128i *)(const void *)(from + i);
        __m128i *target = (__m128i *)(void *)(to + i);
        __m128i a = _mm_loadu_si128(source);
        __m128i b = _mm_loadu_si128(source + 1);
        __m128i c = _mm_loadu_si128(source + 2);
        __m128i d = _mm_loadu_si128(source + 3);
        _mm_storeu_si128(target, a);
        _mm_storeu_si128(target + 1, b);
        _mm_storeu_si128(target + 2, c);
        _mm_storeu_si128(target + 3, d);
    }
    memcpy(to + i, from + i, length - i);
}

static void evict_line(const uint8_t *line)
{
    _mm_clflush(line);
}

/* Measured on Zen 4 with the two processors near and far from each other; not so elsewhere. */
static bool is_memory_faster(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
}
#else
static void copy_past_cache(uint8_t *to, const uint8_t *from, size_t length)
{
    memcpy(to, from, length);
}

static void copy_forward(uint8_t *to, const uint8_t *from, size_t length)
{
    memcpy(to, from, length);
}

static void evict_line(const uint8_t *line)
{
    (void)line;
}

static bool is_memory_faster(void)
{
    return false;
}
#endif

static void copy_run_in(uint8_t *to, const uint8_t *from, size_t length, bool is_via_memory)
{
    if (!is_via_memory || length < WEIR_RING_LONG_BYTES) {
        memcpy(to, from, length);
    } else if (length < WEIR_RING_BULK_BYTES) {
        copy_forward(to, from, length);
    } else {
        copy_past_cache(to, from, length);
    }
}

static void copy_run_out(uint8_t *to, const uint8_t *from, size_t length, bool is_via_memory)
{
    if (!is_via_memory || length < WEIR_RING_LONG_BYTES) {
        memcpy(to, from, length);
    } else {
        copy_forward(to, from, length);
    }
}

static bool is_aligned(const void *p)
{
    return p != NULL && (uintptr_t)p % WEIR_RING_ALIGN == 0;
}

size_t weir_ring_mem_size(size_t capacity_bytes)
{
    if (capacity_bytes < WEIR_RING_BYTES_MIN || capacity_bytes > SIZE_MAX / 4 ||
        (capacity_bytes & (capacity_bytes - 1)) != 0) {
        return 0;
    }
    size_t size = sizeof(struct weir_ring) + capacity_bytes;
    return (size + WEIR_RING_ALIGN - 1) & ~(size_t)(WEIR_RING_ALIGN - 1);
}

static enum weir_status init_ring(void *mem, void *bytes, size_t capacity_bytes,
                                  size_t contiguous_bytes, struct weir_ring **ring)
{
    if (!is_aligned(mem) || bytes == NULL || weir_ring_mem_size(capacity_bytes) == 0) {
        return WEIR_ERR_INVALID;
    }
    struct weir_ring *made = (struct weir_ring *)mem;
    *made = (struct weir_ring){
        .bytes = bytes, .capacity_bytes = capacity_bytes, .contiguous_bytes = contiguous_bytes};
    *ring = made;
    return WEIR_OK;
}

enum weir_status weir_ring_init(void *mem, size_t capacity_bytes, struct weir_ring **ring)
{
    if (mem == NULL) {
        return WEIR_ERR_INVALID;
    }
    uint8_t *bytes = (uint8_t *)mem + sizeof(struct weir_ring);
    return init_ring(mem, bytes, capacity_bytes, capacity_bytes, ring);
}

enum weir_status weir_ring_init_double(void *mem, void *bytes, size_t capacity_bytes,
                                       struct weir_ring **ring)
{
    return init_ring(mem, bytes, capacity_bytes, capacity_bytes * 2, ring);
}

enum weir_status weir_ring_attach_writer(struct weir_ring *ring, struct weir_ring_writer *writer)
{
    if (!is_aligned(writer)) {
        return WEIR_ERR_INVALID;
    }
    uint64_t drained = __atomic_load_n(&ring->drained, __ATOMIC_ACQUIRE);
    *writer = (struct weir_ring_writer){
        .ring = ring,
        .bytes = ring->bytes,
        .mask = ring->capacity_bytes - 1,
        .contiguous_bytes = ring->contiguous_bytes,
        .position = __atomic_load_n(&ring->written, __ATOMIC_RELAXED),
        .limit = drained + ring->capacity_bytes,
        .is_via_memory = is_memory_faster(),
    };
    return WEIR_OK;
}

enum weir_status weir_ring_attach_reader(struct weir_ring *ring, struct weir_ring_reader *reader)
{
    if (!is_aligned(reader)) {
        return WEIR_ERR_INVALID;
    }
    *reader = (struct weir_ring_reader){
        .ring = ring,
        .bytes = ring->bytes,
        .mask = ring->capacity_bytes - 1,
        .contiguous_bytes = ring->contiguous_bytes,
        .position = __atomic_load_n(&ring->drained, __ATOMIC_RELAXED),
        .limit = __atomic_load_n(&ring->written, __ATOMIC_ACQUIRE),
        .is_via_memory = is_memory_faster(),
    };
    return WEIR_OK;
}

/* Bytes of [offset, offset + length) in front of the end. */
static size_t first_part(uint64_t offset, uint64_t contiguous_bytes, size_t length)
{
    uint64_t before_end = contiguous_bytes - offset;
    return length < before_end ? length : (size_t)before_end;
}

size_t weir_ring_peek_write(struct weir_ring_writer *writer, size_t wanted_bytes,
                            struct weir_mut_span pair[2])
{
    if (writer->limit - writer->position < wanted_bytes) {
        writer->limit =
            __atomic_load_n(&writer->ring->drained, __ATOMIC_ACQUIRE) + writer->mask + 1;
    }
    size_t total = (size_t)(writer->limit - writer->position);
    uint64_t offset = writer->position & writer->mask;
    size_t first = first_part(offset, writer->contiguous_bytes, total);
    pair[0] = (struct weir_mut_span){.data = writer->bytes + offset, .length = first};
    pair[1] = (struct weir_mut_span){.data = writer->bytes, .length = total - first};
    writer->offered_bytes = total;
    return total;
}

enum weir_status weir_ring_commit_write(struct weir_ring_writer *writer, size_t count)
{
    if (count > writer->offered_bytes) {
        return WEIR_ERR_INVALID;
    }
    writer->offered_bytes -= count;
    writer->position += count;
    __atomic_store_n(&writer->ring->written, writer->position, __ATOMIC_RELEASE);
    return WEIR_OK;
}

size_t weir_ring_peek_read(struct weir_ring_reader *reader, size_t wanted_bytes,
                           struct weir_span pair[2])
{
    if (reader->limit - reader->position < wanted_bytes) {
        reader->limit = __atomic_load_n(&reader->ring->written, __ATOMIC_ACQUIRE);
    }
    size_t total = (size_t)(reader->limit - reader->position);
    uint64_t offset = reader->position & reader->mask;
    size_t first = first_part(offset, reader->contiguous_bytes, total);
    pair[0] = weir_span_of(reader->bytes + offset, first);
    pair[1] = weir_span_of(reader->bytes, total - first);
    reader->offered_bytes = total;
    return total;
}

enum weir_status weir_ring_commit_read(struct weir_ring_reader *reader, size_t count)
{
    if (count > reader->offered_bytes) {
        return WEIR_ERR_INVALID;
    }
    if (reader->is_via_memory) {
        weir_ring_evict(reader, count);
    }
    reader->offered_bytes -= count;
    reader->position += count;
    __atomic_store_n(&reader->ring->drained, reader->position, __ATOMIC_RELEASE);
    return WEIR_OK;
}

void weir_ring_copy_in(const struct weir_ring_writer *writer, const void *data, size_t length)
{
    const uint8_t *from = (const uint8_t *)data;
    uint64_t offset = writer->position & writer->mask;
    size_t first = first_part(offset, writer->contiguous_bytes, length);
    copy_run_in(writer->bytes + offset, from, first, writer->is_via_memory);
    copy_run_in(writer->bytes, from + first, length - first, writer->is_via_memory);
}

void weir_ring_copy_out(const struct weir_ring_reader *reader, void *data, size_t length)
{
    uint64_t offset = reader->position & reader->mask;
    size_t first = first_part(offset, reader->contiguous_bytes, length);
    uint8_t *to = (uint8_t *)data;
    copy_run_out(to, reader->bytes + offset, first, reader->is_via_memory);
    copy_run_out(to + first, reader->bytes, length - first, reader->is_via_memory);
}

void weir_ring_evict(const struct weir_ring_reader *reader, size_t length)
{
    /* Bulk was most likely written past the writer's cache: it is in memory already. */
    if (length >= WEIR_RING_BULK_BYTES) {
        return;
    }
    /* Counted from the line's offset, not from the position, which may pass 2^64 here. */
    uint64_t offset = reader->position & reader->mask;
    uint64_t in_line = offset % WEIR_RING_LINE;
    for (uint64_t at = 0; at + WEIR_RING_LINE <= in_line + length; at += WEIR_RING_LINE) {
        evict_line(reader->bytes + ((offset - in_line + at) & reader->mask));
    }
}
