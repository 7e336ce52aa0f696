/* SPDX-License-Identifier: MIT */
/*
 * bench_ring.c - the byte ring beside other ways from one thread to another.
 *
 * Role: throughput of chunks of 16 B to 64 KB from a thread on one processor to a thread on
 * another. Every ring holds 256 KiB.
 *
 * The peers: ck_ring carries values of one type and is given the chunk as its type; boost's
 * spsc_queue carries bytes in bulk; "plain ring" is a byte ring of two atomic counters whose halves
 * look at each other's at every call; pipe and socketpair are the system's.
 */
#include "bench_ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef WEIR_BENCH_CK
#include <ck_ring.h>
#endif

#include "bench.h"
#include "weir/ring.h"

enum {
    WINDOW_NS = 25000000,
    WINDOWS = 25,
    CHUNK_BYTES_MAX = 64 << 10
};

static const size_t chunk_sizes[RING_SIZES] = {16, 64, 1024, 16384, 65536};
static const char *const case_names[RING_SIZES] = {"16 B", "64 B", "1 KB", "16 KB", "64 KB"};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1); /* NOLINT(concurrency-mt-unsafe): no atexit handlers here */
}

static void *allocate(size_t size)
{
    void *mem = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    if (mem == NULL) {
        die("memory");
    }
    return mem;
}

/* ---- weir ---- */

struct weir_pair {
    struct weir_ring_writer writer;
    struct weir_ring_reader reader;
    struct weir_ring *ring;
    void *mem;
};

static size_t weir_put(void *ring, const uint8_t *data, size_t length)
{
    return weir_ring_write(&((struct weir_pair *)ring)->writer, data, length);
}

static size_t weir_get(void *ring, uint8_t *data, size_t length)
{
    return weir_ring_read(&((struct weir_pair *)ring)->reader, data, length);
}

RING_LOOPS_ALL(weir)

static void *make_weir(size_t chunk_bytes)
{
    (void)chunk_bytes;
    struct weir_pair *pair = (struct weir_pair *)allocate(sizeof(*pair));
    pair->mem = allocate(weir_ring_mem_size(RING_BYTES));
    if (weir_ring_init(pair->mem, RING_BYTES, &pair->ring) != WEIR_OK ||
        weir_ring_attach_writer(pair->ring, &pair->writer) != WEIR_OK ||
        weir_ring_attach_reader(pair->ring, &pair->reader) != WEIR_OK) {
        die("weir ring");
    }
    return pair;
}

static void unmake_weir(void *ring)
{
    free(((struct weir_pair *)ring)->mem);
    free(ring);
}

/* ---- plain ring ---- */

struct plain_ring {
    __attribute__((aligned(RING_LINE))) uint64_t tail;
    __attribute__((aligned(RING_LINE))) uint64_t head;
    __attribute__((aligned(4096))) uint8_t bytes[RING_BYTES];
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t plain_put(void *opaque, const uint8_t *data, size_t length)
{
    struct plain_ring *ring = (struct plain_ring *)opaque;
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    length = min_size(length, RING_BYTES - (size_t)(tail - head));
    size_t offset = tail % RING_BYTES;
    size_t first = min_size(length, RING_BYTES - offset);
    memcpy(ring->bytes + offset, data, first);
    if (first < length) {
        memcpy(ring->bytes, data + first, length - first);
    }
    __atomic_store_n(&ring->tail, tail + length, __ATOMIC_RELEASE);
    return length;
}

static size_t plain_get(void *opaque, uint8_t *data, size_t length)
{
    struct plain_ring *ring = (struct plain_ring *)opaque;
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    length = min_size(length, (size_t)(tail - head));
    size_t offset = head % RING_BYTES;
    size_t first = min_size(length, RING_BYTES - offset);
    memcpy(data, ring->bytes + offset, first);
    if (first < length) {
        memcpy(data + first, ring->bytes, length - first);
    }
    __atomic_store_n(&ring->head, head + length, __ATOMIC_RELEASE);
    return length;
}

RING_LOOPS_ALL(plain)

static void *make_plain(size_t chunk_bytes)
{
    (void)chunk_bytes;
    struct plain_ring *ring = (struct plain_ring *)allocate(sizeof(*ring));
    ring->tail = ring->head = 0;
    return ring;
}

/* ---- ck_ring ---- */

#ifdef WEIR_BENCH_CK
struct ck_queue {
    ck_ring_t ring;
    __attribute__((aligned(4096))) uint8_t slots[RING_BYTES];
};

/* A type, the ring's calls for it, and put and get by whole chunks. ck's enqueue takes a pointer
 * without const and only reads from it. */
#define CK_CHUNK(CHUNK)                                                                         \
    struct chunk_##CHUNK {                                                                      \
        uint8_t bytes[CHUNK];                                                                   \
    };                                                                                          \
    CK_RING_PROTOTYPE(chunk_##CHUNK, chunk_##CHUNK)                                             \
    static size_t ck_##CHUNK##_put(void *opaque, uint8_t *data, size_t length)                  \
    {                                                                                           \
        struct ck_queue *queue = (struct ck_queue *)opaque;                                     \
        struct chunk_##CHUNK *slots = (struct chunk_##CHUNK *)(void *)queue->slots;             \
        bool is_in = ck_ring_enqueue_spsc_chunk_##CHUNK(&queue->ring, slots,                    \
                                                        (struct chunk_##CHUNK *)(void *)data);  \
        return is_in ? length : 0;                                                              \
    }                                                                                           \
    static size_t ck_##CHUNK##_get(void *opaque, uint8_t *data, size_t length)                  \
    {                                                                                           \
        struct ck_queue *queue = (struct ck_queue *)opaque;                                     \
        struct chunk_##CHUNK *slots = (struct chunk_##CHUNK *)(void *)queue->slots;             \
        bool is_out = ck_ring_dequeue_spsc_chunk_##CHUNK(&queue->ring, slots,                   \
                                                         (struct chunk_##CHUNK *)(void *)data); \
        return is_out ? length : 0;                                                             \
    }                                                                                           \
    RING_LOOPS(ck_##CHUNK, CHUNK)

CK_CHUNK(16)
CK_CHUNK(64)
CK_CHUNK(1024)
CK_CHUNK(16384)
CK_CHUNK(65536)

static void *make_ck(size_t chunk_bytes)
{
    struct ck_queue *queue = (struct ck_queue *)allocate(sizeof(*queue));
    ck_ring_init(&queue->ring, (unsigned)(RING_BYTES / chunk_bytes));
    return queue;
}
#endif

/* ---- pipe and socketpair: blocking; the end of file is what finish brings about ---- */

struct descriptors {
    int fds[2];
};

static size_t fd_put(void *ring, const uint8_t *data, size_t length)
{
    ssize_t done = write(((struct descriptors *)ring)->fds[1], data, length);
    if (done < 0) {
        die("write");
    }
    return (size_t)done;
}

static size_t fd_get(void *ring, uint8_t *data, size_t length)
{
    ssize_t done = read(((struct descriptors *)ring)->fds[0], data, length);
    if (done < 0) {
        die("read");
    }
    return (size_t)done;
}

RING_LOOPS_ALL(fd)

static void *make_pipe(size_t chunk_bytes)
{
    (void)chunk_bytes;
    struct descriptors *pair = (struct descriptors *)allocate(sizeof(*pair));
    if (pipe(pair->fds) != 0 || fcntl(pair->fds[1], F_SETPIPE_SZ, RING_BYTES) < 0) {
        die("pipe");
    }
    return pair;
}

static void *make_socketpair(size_t chunk_bytes)
{
    (void)chunk_bytes;
    struct descriptors *pair = (struct descriptors *)allocate(sizeof(*pair));
    int size = RING_BYTES;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair->fds) != 0 ||
        setsockopt(pair->fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0) {
        die("socketpair");
    }
    return pair;
}

static void finish_fd(void *ring)
{
    (void)close(((struct descriptors *)ring)->fds[1]);
}

static void unmake_fd(void *ring)
{
    (void)close(((struct descriptors *)ring)->fds[0]);
    free(ring);
}

/* ---- the run ---- */

static const struct ring_contender contenders[] = {
    {"weir ring", make_weir, NULL, unmake_weir, RING_WRITE_LOOPS(weir), RING_READ_LOOPS(weir)},
    {"plain ring", make_plain, NULL, free, RING_WRITE_LOOPS(plain), RING_READ_LOOPS(plain)},
#ifdef WEIR_BENCH_CK
    {"ck_ring",
     make_ck,
     NULL,
     free,
     {ck_16_write_16, ck_64_write_64, ck_1024_write_1024, ck_16384_write_16384,
      ck_65536_write_65536},
     {ck_16_read_16, ck_64_read_64, ck_1024_read_1024, ck_16384_read_16384, ck_65536_read_65536}},
#endif
    {"pipe", make_pipe, finish_fd, unmake_fd, RING_WRITE_LOOPS(fd), RING_READ_LOOPS(fd)},
    {"socketpair", make_socketpair, finish_fd, unmake_fd, RING_WRITE_LOOPS(fd),
     RING_READ_LOOPS(fd)},
};

struct run {
    const struct ring_contender *contender;
    void *ring;
    size_t size_index;
    uint64_t began, ended;
    struct ring_window window;
};

static uint8_t *allocate_chunk(uint8_t fill)
{
    uint8_t *chunk = (uint8_t *)allocate(CHUNK_BYTES_MAX);
    memset(chunk, fill, CHUNK_BYTES_MAX);
    return chunk;
}

static void *run_writer(void *arg)
{
    struct run *run = (struct run *)arg;
    bench_pin(0);
    uint8_t *chunk = allocate_chunk(0x5a);
    /* The reader may have been started on this processor: let it get away. */
    while (!__atomic_load_n(&run->window.has_reader, __ATOMIC_ACQUIRE)) {
        (void)sched_yield();
    }
    run->began = bench_now();
    run->contender->write[run->size_index](run->ring, &run->window, chunk);
    if (run->contender->finish != NULL) {
        run->contender->finish(run->ring);
    }
    free(chunk);
    return NULL;
}

static void *run_reader(void *arg)
{
    struct run *run = (struct run *)arg;
    bench_pin(1);
    uint8_t *chunk = allocate_chunk(0);
    __atomic_store_n(&run->window.has_reader, true, __ATOMIC_RELEASE);
    run->contender->read[run->size_index](run->ring, &run->window, chunk);
    run->ended = bench_now();
    /* On a busy machine a writer may not have had its processor for the whole window. */
    size_t size = chunk_sizes[run->size_index];
    if (run->window.written >= size && (chunk[0] != 0x5a || chunk[size - 1] != 0x5a)) {
        (void)fprintf(stderr, "%s: wrong bytes\n", run->contender->name);
        exit(1); /* NOLINT(concurrency-mt-unsafe) */
    }
    free(chunk);
    return NULL;
}

/* One window; bytes a nanosecond, which is GB/s. */
static double measure(const struct ring_contender *contender, size_t size_index)
{
    struct run run = {.contender = contender,
                      .ring = contender->make(chunk_sizes[size_index]),
                      .size_index = size_index,
                      .window = {.written = UINT64_MAX}};
    pthread_t reader;
    pthread_t writer;
    if (pthread_create(&reader, NULL, run_reader, &run) != 0 ||
        pthread_create(&writer, NULL, run_writer, &run) != 0) {
        die("thread");
    }
    struct timespec pause = {.tv_nsec = WINDOW_NS};
    (void)nanosleep(&pause, NULL);
    __atomic_store_n(&run.window.is_over, true, __ATOMIC_RELAXED);
    (void)pthread_join(writer, NULL);
    (void)pthread_join(reader, NULL);
    contender->unmake(run.ring);
    return (double)run.window.written / (double)(run.ended - run.began);
}

static void run_case(struct bench *bench, size_t size_index)
{
    const struct ring_contender *all[BENCH_CONTENDERS_MAX];
    static struct bench_series series[BENCH_CONTENDERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(contenders) / sizeof(contenders[0]); i++) {
        all[count++] = &contenders[i];
    }
#ifdef WEIR_BENCH_BOOST
    all[count++] = &ring_boost;
#endif
    memset(series, 0, sizeof(series));
    for (size_t window = 0; window < WINDOWS; window++) {
        for (size_t i = 0; i < count; i++) {
            series[i].name = all[i]->name;
            bench_add(&series[i], measure(all[i], size_index));
        }
    }
    struct bench_case what = {case_names[size_index], "throughput", "GB/s", true};
    bench_report(bench, &what, series, count);
}

int main(int argc, char **argv)
{
    struct bench bench;
    bench_open(&bench, "ring", argc, argv);
    for (size_t i = 0; i < RING_SIZES; i++) {
        run_case(&bench, i);
    }
    return bench_close(&bench);
}
