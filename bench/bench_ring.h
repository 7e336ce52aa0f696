/* SPDX-License-Identifier: MIT */
/*
 * bench_ring.h - the two loops of the ring benchmark, made for each contender and chunk size.
 *
 * Role: one thread writes chunks of one size as fast as it can, another reads them. The chunk size
 * is a constant in the loop, for all contenders alike: who can make use of that may.
 * Order: a contender X defines X_put(ring, data, length) and X_get(ring, data, length), which move
 * up to length bytes and return how many (0: try again), and then says RING_LOOPS_ALL(X).
 */
#ifndef WEIR_BENCH_RING_H
#define WEIR_BENCH_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RING_BYTES = 256 << 10, /* what every ring may hold */
    RING_SIZES = 5,
    RING_LINE = 128
};

/* What the two threads of one window share; each flag on a line of its own. */
struct ring_window {
    __attribute__((aligned(RING_LINE))) bool has_reader;
    __attribute__((aligned(RING_LINE))) bool is_over;     /* set by the main thread */
    __attribute__((aligned(RING_LINE))) uint64_t written; /* UINT64_MAX until the writer is done */
};

typedef void ring_loop(void *ring, struct ring_window *window, uint8_t *chunk);

struct ring_contender {
    const char *name;
    void *(*make)(size_t chunk_bytes);
    void (*finish)(void *ring); /* no more will be put; NULL: nothing to do */
    void (*unmake)(void *ring);
    ring_loop *write[RING_SIZES];
    ring_loop *read[RING_SIZES];
};

extern const struct ring_contender ring_boost;

static inline void ring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

#define RING_LOOPS(X, CHUNK)                                                                  \
    static void X##_write_##CHUNK(void *ring, struct ring_window *window, uint8_t *chunk)     \
    {                                                                                         \
        uint64_t total = 0;                                                                   \
        while (!__atomic_load_n(&window->is_over, __ATOMIC_RELAXED)) {                        \
            size_t done = X##_put(ring, chunk, CHUNK);                                        \
            while (done < CHUNK) {                                                            \
                size_t more = X##_put(ring, chunk + done, CHUNK - done);                      \
                done += more;                                                                 \
                if (more == 0) {                                                              \
                    ring_relax();                                                             \
                }                                                                             \
            }                                                                                 \
            total += CHUNK;                                                                   \
            __asm__ volatile("" ::: "memory"); /* the chunk may have changed: copy it anew */ \
        }                                                                                     \
        __atomic_store_n(&window->written, total, __ATOMIC_RELEASE);                          \
    }                                                                                         \
    static void X##_read_##CHUNK(void *ring, struct ring_window *window, uint8_t *chunk)      \
    {                                                                                         \
        uint64_t total = 0;                                                                   \
        while (total != __atomic_load_n(&window->written, __ATOMIC_ACQUIRE)) {                \
            size_t done = X##_get(ring, chunk, CHUNK);                                        \
            total += done;                                                                    \
            if (done == 0) {                                                                  \
                ring_relax();                                                                 \
            }                                                                                 \
            __asm__ volatile("" ::: "memory");                                                \
        }                                                                                     \
    }

#define RING_LOOPS_ALL(X) \
    RING_LOOPS(X, 16)     \
    RING_LOOPS(X, 64) RING_LOOPS(X, 1024) RING_LOOPS(X, 16384) RING_LOOPS(X, 65536)

#define RING_WRITE_LOOPS(X)                                                          \
    {                                                                                \
        X##_write_16, X##_write_64, X##_write_1024, X##_write_16384, X##_write_65536 \
    }
#define RING_READ_LOOPS(X)                                                      \
    {                                                                           \
        X##_read_16, X##_read_64, X##_read_1024, X##_read_16384, X##_read_65536 \
    }

#ifdef __cplusplus
}
#endif
#endif
