/* SPDX-License-Identifier: MIT */
/*
 * test_ring.c - the byte ring: set-up errors, offers and refusals, the end of the memory and of the
 * counters, double mapping, descriptors, and two threads.
 */
#include "seed.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "weir/ring.h"

enum {
    CAPACITY = 1024
};

/* 100 bytes before the counters wrap. */
#define NEAR_WRAP (UINT64_MAX - 99)

struct fixture {
    struct weir_ring_writer writer;
    struct weir_ring_reader reader;
    struct weir_ring *ring;
    void *mem; /* NULL when mapped */
};

static void attach(struct fixture *f, uint64_t start)
{
    f->ring->written = f->ring->drained = start;
    assert_int_equal(weir_ring_attach_writer(f->ring, &f->writer), WEIR_OK);
    assert_int_equal(weir_ring_attach_reader(f->ring, &f->reader), WEIR_OK);
}

static void set_up(struct fixture *f, size_t capacity, uint64_t start)
{
    f->mem = aligned_alloc(WEIR_RING_ALIGN, weir_ring_mem_size(capacity));
    assert_non_null(f->mem);
    assert_int_equal(weir_ring_init(f->mem, capacity, &f->ring), WEIR_OK);
    attach(f, start);
}

static void set_up_mapped(struct fixture *f, size_t capacity, uint64_t start)
{
    f->mem = NULL;
    assert_int_equal(weir_ring_map(capacity, &f->ring), WEIR_OK);
    attach(f, start);
}

static void tear_down(struct fixture *f)
{
    if (f->mem == NULL) {
        weir_ring_unmap(f->ring);
    }
    free(f->mem);
}

/* The byte at a place in the stream: no period that divides a power of two. */
static uint8_t pattern(uint64_t place)
{
    return (uint8_t)(place % 251 + place / 251 % 7);
}

static void fill_pattern(uint8_t *bytes, size_t length, uint64_t place)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = pattern(place + i);
    }
}

static bool is_pattern(const uint8_t *bytes, size_t length, uint64_t place)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != pattern(place + i)) {
            return false;
        }
    }
    return true;
}

static void test_setup_errors(void **state)
{
    (void)state;
    _Alignas(WEIR_RING_ALIGN) static uint8_t mem[8192];
    struct weir_ring *ring = NULL;
    assert_int_equal(weir_ring_mem_size(0), 0);
    assert_int_equal(weir_ring_mem_size(WEIR_RING_BYTES_MIN / 2), 0);
    assert_int_equal(weir_ring_mem_size(1000), 0);
    assert_int_equal(weir_ring_mem_size(SIZE_MAX / 2 + 1), 0);
    assert_true(weir_ring_mem_size(CAPACITY) >= CAPACITY + sizeof(struct weir_ring));
    assert_int_equal(weir_ring_init(mem, 1000, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_init(mem + 64, CAPACITY, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_init(mem + 1, CAPACITY, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_init(NULL, CAPACITY, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_init_double(mem, NULL, CAPACITY, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_map(1000, &ring), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_map(CAPACITY, &ring), WEIR_ERR_INVALID); /* less than a page */
    assert_null(ring);
    assert_int_equal(weir_ring_init(mem, CAPACITY, &ring), WEIR_OK);
    void *misaligned = mem + 4096 + 64;
    assert_int_equal(weir_ring_attach_writer(ring, misaligned), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_attach_reader(ring, misaligned), WEIR_ERR_INVALID);
    weir_ring_unmap(NULL);
}

static void test_all_bytes_are_usable(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t in[CAPACITY + 1];
    uint8_t out[CAPACITY + 1];
    set_up(&f, CAPACITY, 0);
    fill_pattern(in, sizeof(in), 0);
    assert_int_equal(weir_ring_read(&f.reader, out, 1), 0);
    assert_int_equal(weir_ring_write(&f.writer, in, sizeof(in)), CAPACITY);
    assert_int_equal(weir_ring_write(&f.writer, in, 1), 0);
    assert_int_equal(weir_ring_read(&f.reader, out, sizeof(out)), CAPACITY);
    assert_memory_equal(in, out, CAPACITY);
    assert_int_equal(weir_ring_read(&f.reader, out, 1), 0);
    assert_int_equal(weir_ring_write(&f.writer, in, 1), 1);
    tear_down(&f);
}

static void test_more_than_offered_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct weir_mut_span room[2];
    struct weir_span data[2];
    set_up(&f, CAPACITY, 0);
    assert_int_equal(weir_ring_commit_write(&f.writer, 1), WEIR_ERR_INVALID); /* no offer yet */
    assert_int_equal(weir_ring_peek_write(&f.writer, 1, room), CAPACITY);
    assert_int_equal(weir_ring_commit_write(&f.writer, CAPACITY + 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_commit_write(&f.writer, SIZE_MAX), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_peek_read(&f.reader, 1, data), 0); /* nothing was changed */
    assert_int_equal(weir_ring_commit_write(&f.writer, 600), WEIR_OK);
    assert_int_equal(weir_ring_commit_write(&f.writer, 425), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_commit_write(&f.writer, 24), WEIR_OK);
    assert_int_equal(weir_ring_commit_read(&f.reader, 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_peek_read(&f.reader, 1, data), 624);
    assert_int_equal(weir_ring_commit_read(&f.reader, 625), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_commit_read(&f.reader, 624), WEIR_OK);
    assert_int_equal(weir_ring_commit_read(&f.reader, 1), WEIR_ERR_INVALID);
    assert_int_equal(weir_ring_commit_read(&f.reader, 0), WEIR_OK);
    /* A plain write ends the offer. */
    assert_int_equal(weir_ring_peek_write(&f.writer, SIZE_MAX, room), CAPACITY);
    assert_int_equal(weir_ring_write(&f.writer, "x", 1), 1);
    assert_int_equal(weir_ring_commit_write(&f.writer, 1), WEIR_ERR_INVALID);
    tear_down(&f);
}

static void test_pair_at_the_end(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t bytes[CAPACITY];
    struct weir_mut_span room[2];
    struct weir_span data[2];
    set_up(&f, CAPACITY, 0);
    fill_pattern(bytes, sizeof(bytes), 0);
    assert_int_equal(weir_ring_write(&f.writer, bytes, 1000), 1000);
    assert_int_equal(weir_ring_read(&f.reader, bytes, 900), 900);
    assert_int_equal(weir_ring_peek_write(&f.writer, SIZE_MAX, room), CAPACITY - 100);
    assert_int_equal(room[0].length, 24);
    assert_int_equal(room[1].length, CAPACITY - 100 - 24);
    assert_ptr_equal(room[0].data, f.ring->bytes + 1000);
    assert_ptr_equal(room[1].data, f.ring->bytes);
    fill_pattern(room[0].data, 24, 1000);
    fill_pattern(room[1].data, 76, 1024);
    assert_int_equal(weir_ring_commit_write(&f.writer, 100), WEIR_OK);
    assert_int_equal(weir_ring_peek_read(&f.reader, SIZE_MAX, data), 200);
    assert_int_equal(data[0].length, 124);
    assert_int_equal(data[1].length, 76);
    assert_int_equal(weir_ring_read(&f.reader, bytes, CAPACITY), 200);
    assert_true(is_pattern(bytes, 200, 900));
    tear_down(&f);
}

/* A look at the other side is taken only when what is known does not suffice. */
static void test_peek_refreshes_on_demand(void **state)
{
    (void)state;
    struct fixture f;
    struct weir_span data[2];
    set_up(&f, CAPACITY, 0);
    assert_int_equal(weir_ring_write(&f.writer, "abcd", 4), 4);
    assert_int_equal(weir_ring_peek_read(&f.reader, 1, data), 4);
    assert_int_equal(weir_ring_write(&f.writer, "efgh", 4), 4);
    assert_int_equal(weir_ring_peek_read(&f.reader, 4, data), 4);
    assert_int_equal(weir_ring_peek_read(&f.reader, 5, data), 8);
    assert_int_equal(weir_ring_peek_read(&f.reader, SIZE_MAX, data), 8);
    tear_down(&f);
}

/* Random writes and reads of both kinds; the counters go through 2^64 and the memory's end. */
static void run_random(struct fixture *f, uint64_t seed, size_t length_bits)
{
    static uint8_t bytes[1 << 17];
    struct weir_prng prng;
    uint64_t in = 0;
    uint64_t out = 0;
    size_t capacity = f->ring->capacity_bytes;
    weir_prng_init(&prng, seed);
    for (int step = 0; step < 2000; step++) {
        size_t length = (size_t)draw_scaled(&prng, (unsigned)length_bits);
        struct weir_mut_span room[2];
        struct weir_span data[2];
        size_t left = capacity - (size_t)(in - out);
        switch (weir_prng_below(&prng, 4)) {
        case 0:
            fill_pattern(bytes, length, in);
            CHECK(seed,
                  weir_ring_write(&f->writer, bytes, length) == (length < left ? length : left));
            in += length < left ? length : left;
            break;
        case 1:
            CHECK(seed, weir_ring_peek_write(&f->writer, SIZE_MAX, room) == left);
            CHECK(seed, room[0].length + room[1].length == left);
            fill_pattern(room[0].data, room[0].length, in);
            fill_pattern(room[1].data, room[1].length, in + room[0].length);
            length = length < left ? length : left;
            CHECK(seed, weir_ring_commit_write(&f->writer, length) == WEIR_OK);
            in += length;
            break;
        case 2:
            length = weir_ring_read(&f->reader, bytes, length);
            CHECK(seed, is_pattern(bytes, length, out));
            out += length;
            break;
        default:
            CHECK(seed, weir_ring_peek_read(&f->reader, SIZE_MAX, data) == in - out);
            CHECK(seed, is_pattern(data[0].data, data[0].length, out));
            CHECK(seed, is_pattern(data[1].data, data[1].length, out + data[0].length));
            length = length < in - out ? length : (size_t)(in - out);
            CHECK(seed, weir_ring_commit_read(&f->reader, length) == WEIR_OK);
            out += length;
            break;
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct fixture f;
        set_up(&f, CAPACITY, seed % 2 == 0 ? 0 : NEAR_WRAP);
        f.writer.is_via_memory = f.reader.is_via_memory = seed % 3 != 0;
        run_random(&f, seed, 11);
        tear_down(&f);
    }
}

/* Runs long enough to be written past the cache, at every alignment. */
static void test_random_bulk(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct fixture f;
        set_up(&f, 64 << 10, NEAR_WRAP);
        f.writer.is_via_memory = f.reader.is_via_memory = seed % 3 != 0;
        run_random(&f, seed, 17);
        tear_down(&f);
    }
}

static void test_double_mapped(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct fixture f;
        struct weir_mut_span room[2];
        size_t capacity = (size_t)sysconf(_SC_PAGESIZE) * 4;
        set_up_mapped(&f, capacity, 0);
        assert_int_equal(weir_ring_write(&f.writer, "0123456789", 10), 10);
        assert_int_equal(weir_ring_read(&f.reader, (uint8_t[10]){0}, 10), 10);
        assert_int_equal(weir_ring_peek_write(&f.writer, SIZE_MAX, room), capacity);
        assert_int_equal(room[0].length, capacity); /* one segment, across the end */
        assert_int_equal(room[1].length, 0);
        attach(&f, NEAR_WRAP);
        run_random(&f, seed, 15);
        tear_down(&f);
    }
}

/* The other half's place is kept when a half is handed over. */
static void test_attach_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    struct weir_ring_writer writer;
    struct weir_ring_reader reader;
    uint8_t out[8] = {0};
    set_up(&f, CAPACITY, NEAR_WRAP);
    assert_int_equal(weir_ring_write(&f.writer, "abcdef", 6), 6);
    assert_int_equal(weir_ring_read(&f.reader, out, 2), 2);
    assert_int_equal(weir_ring_attach_writer(f.ring, &writer), WEIR_OK);
    assert_int_equal(weir_ring_attach_reader(f.ring, &reader), WEIR_OK);
    assert_int_equal(weir_ring_write(&writer, "gh", 2), 2);
    assert_int_equal(weir_ring_read(&reader, out, 8), 6);
    assert_memory_equal(out, "cdefgh", 6);
    tear_down(&f);
}

static const struct iovec *as_iovec(const void *pair)
{
    return pair;
}

static void test_pairs_go_through_readv_and_writev(void **state)
{
    (void)state;
    struct fixture f;
    int fds[2];
    uint8_t bytes[CAPACITY];
    struct weir_mut_span room[2];
    struct weir_span data[2];
    set_up(&f, CAPACITY, 0);
    fill_pattern(bytes, 1000, 0);
    assert_int_equal(weir_ring_write(&f.writer, bytes, 1000), 1000);
    assert_int_equal(weir_ring_read(&f.reader, bytes, 1000), 1000);
    assert_int_equal(pipe(fds), 0);
    fill_pattern(bytes, 100, 1000);
    assert_int_equal(write(fds[1], bytes, 100), 100);
    assert_int_equal(weir_ring_peek_write(&f.writer, SIZE_MAX, room), CAPACITY);
    ssize_t got = readv(fds[0], as_iovec(room), 2);
    assert_int_equal(got, 100);
    assert_int_equal(weir_ring_commit_write(&f.writer, (size_t)got), WEIR_OK);
    assert_int_equal(weir_ring_peek_read(&f.reader, SIZE_MAX, data), 100);
    assert_int_equal(data[0].length, 24);
    assert_int_equal(writev(fds[1], as_iovec(data), 2), 100);
    assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 100);
    assert_true(is_pattern(bytes, 100, 1000));
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
    tear_down(&f);
}

/* ---- two threads ---- */

struct transfer {
    struct fixture f;
    uint64_t total;
    uint64_t seed;
    size_t length_bits;
    bool is_equal; /* written by the reader thread */
};

/* With fewer processors than threads (valgrind has one) waiting must not use the other's time. */
static void let_the_other_run(size_t moved)
{
    if (moved == 0) {
        (void)sched_yield();
    }
}

static void *run_writer(void *arg)
{
    struct transfer *transfer = arg;
    static uint8_t bytes[1 << 16];
    struct weir_prng prng;
    uint64_t place = 0;
    weir_prng_init(&prng, transfer->seed);
    while (place < transfer->total) {
        uint64_t left = transfer->total - place;
        size_t length = (size_t)draw_scaled(&prng, (unsigned)transfer->length_bits);
        length = length < left ? length : (size_t)left;
        if (weir_prng_below(&prng, 2) == 0) {
            fill_pattern(bytes, length, place);
            length = weir_ring_write(&transfer->f.writer, bytes, length);
        } else {
            struct weir_mut_span room[2];
            size_t free_bytes = weir_ring_peek_write(&transfer->f.writer, length, room);
            length = length < free_bytes ? length : free_bytes;
            size_t first = length < room[0].length ? length : room[0].length;
            fill_pattern(room[0].data, first, place);
            fill_pattern(room[1].data, length - first, place + first);
            if (weir_ring_commit_write(&transfer->f.writer, length) != WEIR_OK) {
                return NULL;
            }
        }
        place += length;
        let_the_other_run(length);
    }
    return NULL;
}

static void *run_reader(void *arg)
{
    struct transfer *transfer = arg;
    static uint8_t bytes[1 << 16];
    struct weir_prng prng;
    uint64_t place = 0;
    weir_prng_init(&prng, transfer->seed + 1);
    transfer->is_equal = true;
    while (place < transfer->total && transfer->is_equal) {
        size_t length = (size_t)draw_scaled(&prng, (unsigned)transfer->length_bits);
        if (weir_prng_below(&prng, 2) == 0) {
            length = weir_ring_read(&transfer->f.reader, bytes, length);
            transfer->is_equal = is_pattern(bytes, length, place);
        } else {
            struct weir_span data[2];
            length = weir_ring_peek_read(&transfer->f.reader, length, data);
            transfer->is_equal = is_pattern(data[0].data, data[0].length, place) &&
                                 is_pattern(data[1].data, data[1].length, place + data[0].length) &&
                                 weir_ring_commit_read(&transfer->f.reader, length) == WEIR_OK;
        }
        place += length;
        let_the_other_run(length);
    }
    return NULL;
}

static void run_threads(struct transfer *transfer)
{
    pthread_t writer;
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, run_reader, transfer), 0);
    assert_int_equal(pthread_create(&writer, NULL, run_writer, transfer), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    CHECK(transfer->seed, transfer->is_equal);
    tear_down(&transfer->f);
}

static void test_two_threads(void **state)
{
    (void)state;
    static struct transfer small = {.total = 256 << 10, .seed = 1, .length_bits = 7};
    static struct transfer large = {.total = 8 << 20, .seed = 2, .length_bits = 16};
    static struct transfer mapped = {.total = 8 << 20, .seed = 3, .length_bits = 16};
    set_up(&small.f, WEIR_RING_BYTES_MIN, NEAR_WRAP);
    run_threads(&small);
    set_up(&large.f, 64 << 10, UINT64_MAX - (1 << 20));
    run_threads(&large);
    set_up_mapped(&mapped.f, 64 << 10, UINT64_MAX - (1 << 20));
    run_threads(&mapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setup_errors),
        cmocka_unit_test(test_all_bytes_are_usable),
        cmocka_unit_test(test_more_than_offered_is_refused),
        cmocka_unit_test(test_pair_at_the_end),
        cmocka_unit_test(test_peek_refreshes_on_demand),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_bulk),
        cmocka_unit_test(test_double_mapped),
        cmocka_unit_test(test_attach_goes_on),
        cmocka_unit_test(test_pairs_go_through_readv_and_writev),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
