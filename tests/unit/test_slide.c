/* SPDX-License-Identifier: MIT */
/*
 * test_slide.c - the One Big Buffer: holds in place, in the secondary store, pushed together, and
 * random use against a copy of every byte held.
 */
#include "seed.h"

#include <string.h>

#include "weir/slide.h"

enum {
    SIZE = 64 << 10,
    BATCH = 8 << 10,
    SECONDARY = 32 << 10,
    HOLDS_MAX = 200,
    HOLD_BYTES_MAX = 1500
};

struct fixture {
    void *mem;
    struct weir_slide *slide;
};

static struct fixture make_slide(size_t secondary_bytes)
{
    struct weir_slide_config config = {SIZE, BATCH, secondary_bytes};
    size_t size = weir_slide_mem_size(&config);
    struct fixture made = {.mem = aligned_alloc(64, (size + 63) & ~(size_t)63)};
    assert_non_null(made.mem);
    assert_int_equal(weir_slide_init(made.mem, &config, &made.slide), WEIR_OK);
    return made;
}

/* Receives a batch of length bytes of fill. */
static struct weir_span receive(struct weir_slide *slide, size_t length, uint8_t fill)
{
    struct weir_mut_span room = weir_slide_room(slide);
    assert_true(room.length >= BATCH);
    assert_int_equal((uintptr_t)room.data % 64, 0);
    memset(room.data, fill, length);
    weir_slide_received(slide, length);
    return weir_span_of(room.data, length);
}

static bool is_filled(struct weir_span span, uint8_t fill)
{
    for (size_t i = 0; i < span.length; i++) {
        if (span.data[i] != fill) {
            return false;
        }
    }
    return true;
}

static struct weir_span part(struct weir_span span, size_t offset, size_t length)
{
    assert_true(offset + length <= span.length);
    return weir_span_of(span.data + offset, length);
}

static void test_config_bounds(void **state)
{
    (void)state;
    struct weir_slide_config config;
    struct weir_slide *slide = NULL;
    _Alignas(64) uint8_t mem[128];
    weir_slide_config_default(&config);
    assert_true(weir_slide_mem_size(&config) > config.size_bytes + config.secondary_bytes);
    assert_int_equal(weir_slide_init(mem + 1, &config, &slide), WEIR_ERR_INVALID);
    assert_int_equal(weir_slide_init(NULL, &config, &slide), WEIR_ERR_INVALID);
    config.batch_bytes_max = config.size_bytes + 1;
    assert_int_equal(weir_slide_mem_size(&config), 0);
    assert_int_equal(weir_slide_init(mem, &config, &slide), WEIR_ERR_INVALID);
    config.batch_bytes_max = 0;
    assert_int_equal(weir_slide_mem_size(&config), 0);
    assert_null(slide);
}

static void test_without_holds_every_batch_lands_at_the_front(void **state)
{
    (void)state;
    struct fixture f = make_slide(SECONDARY);
    const uint8_t *front = weir_slide_room(f.slide).data;
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(receive(f.slide, BATCH, 1).data, front);
    }
    assert_int_equal(weir_slide_stats(f.slide)->received_bytes, 100 * BATCH);
    free(f.mem);
}

static void test_hold_stays_in_place(void **state)
{
    (void)state;
    struct fixture f = make_slide(SECONDARY);
    struct weir_hold hold;
    struct weir_span batch = receive(f.slide, 4096, 7);
    assert_int_equal(weir_slide_hold(f.slide, &hold, part(batch, 1000, 100)), WEIR_OK);
    struct weir_span later = receive(f.slide, 4096, 8);
    /* start slid past what is held, not past the whole batch. */
    assert_true(later.data >= batch.data + 1100 && later.data < batch.data + 1100 + 64);
    assert_ptr_equal(hold.span.data, batch.data + 1000);
    assert_true(is_filled(hold.span, 7));
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes, 100);
    assert_int_equal(weir_slide_stats(f.slide)->secondary_bytes_total, 0);
    weir_slide_drop(f.slide, &hold);
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes, 0);
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes_peak, 100);
    assert_ptr_equal(weir_slide_room(f.slide).data, batch.data);
    free(f.mem);
}

static void test_empty_hold_costs_nothing(void **state)
{
    (void)state;
    struct fixture f = make_slide(0);
    struct weir_hold hold;
    assert_int_equal(weir_slide_hold(f.slide, &hold, weir_span_of(NULL, 0)), WEIR_OK);
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes, 0);
    weir_slide_drop(f.slide, &hold);
    assert_int_equal(weir_slide_stats(f.slide)->refused, 0);
    free(f.mem);
}

static void test_old_holds_move_to_secondary(void **state)
{
    (void)state;
    struct fixture f = make_slide(SECONDARY);
    struct weir_hold old;
    struct weir_hold last;
    assert_int_equal(weir_slide_hold(f.slide, &old, part(receive(f.slide, BATCH, 1), 0, 500)),
                     WEIR_OK);
    assert_false(weir_hold_is_secondary(&old));
    /* Holding the end of every batch makes start go round the buffer. */
    for (int i = 0; i < 3 * SIZE / BATCH; i++) {
        struct weir_span batch = receive(f.slide, BATCH, 2);
        assert_int_equal(weir_slide_hold(f.slide, &last, part(batch, BATCH - 10, 10)), WEIR_OK);
        weir_slide_drop(f.slide, &last);
        assert_int_equal(weir_slide_hold(f.slide, &last, part(batch, BATCH - 10, 10)), WEIR_OK);
        (void)weir_slide_room(f.slide);
        weir_slide_drop(f.slide, &last);
    }
    assert_true(weir_hold_is_secondary(&old));
    assert_true(is_filled(old.span, 1));
    assert_int_equal(weir_slide_stats(f.slide)->secondary_bytes, 500);
    weir_slide_drop(f.slide, &old);
    assert_int_equal(weir_slide_stats(f.slide)->secondary_bytes, 0);
    assert_true(weir_slide_stats(f.slide)->secondary_bytes_total >= 500);
    free(f.mem);
}

static void test_foreign_bytes_are_copied(void **state)
{
    (void)state;
    struct fixture f = make_slide(SECONDARY);
    static uint8_t frame[SECONDARY];
    struct weir_hold hold;
    struct weir_hold more;
    memset(frame, 9, sizeof(frame));
    assert_int_equal(weir_slide_hold(f.slide, &hold, weir_span_of(frame, 1500)), WEIR_OK);
    memset(frame, 0, sizeof(frame));
    assert_true(weir_hold_is_secondary(&hold));
    assert_true(is_filled(hold.span, 9));
    assert_int_equal(weir_slide_hold(f.slide, &more, weir_span_of(frame, SECONDARY)),
                     WEIR_ERR_FULL);
    assert_int_equal(weir_slide_stats(f.slide)->refused, 1);
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes, 1500);
    weir_slide_drop(f.slide, &hold);
    assert_int_equal(weir_slide_hold(f.slide, &more, weir_span_of(frame, SECONDARY)), WEIR_OK);
    free(f.mem);
}

/* Without a secondary store everything held is pushed together, up to the bound, and no further. */
static void test_compacts_up_to_the_bound(void **state)
{
    (void)state;
    struct fixture f = make_slide(0);
    static struct weir_hold holds[SIZE / 100];
    size_t count = 0;
    size_t held = 0;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK) {
        struct weir_span batch = receive(f.slide, BATCH, (uint8_t)count);
        status = weir_slide_hold(f.slide, &holds[count], part(batch, BATCH / 2, 1000));
        if (status == WEIR_OK) {
            held += 1000;
            count++;
        }
    }
    assert_int_equal(status, WEIR_ERR_FULL);
    assert_int_equal(held, (SIZE - BATCH) / 1000 * 1000);
    assert_int_equal(weir_slide_stats(f.slide)->held_bytes, held);
    assert_int_equal(weir_slide_stats(f.slide)->refused, 1);
    for (size_t i = 0; i < count; i++) {
        assert_false(weir_hold_is_secondary(&holds[i]));
        assert_true(is_filled(holds[i].span, (uint8_t)i));
    }
    assert_true(weir_slide_room(f.slide).length >= BATCH);
    free(f.mem);
}

static void test_overlapping_holds_survive_compaction(void **state)
{
    (void)state;
    struct fixture f = make_slide(0);
    struct weir_hold first;
    struct weir_hold whole;
    struct weir_hold inner;
    struct weir_hold after;
    struct weir_hold filler;
    struct weir_mut_span room = weir_slide_room(f.slide);
    for (size_t i = 0; i < BATCH; i++) {
        room.data[i] = (uint8_t)(i * 7 + i / 256);
    }
    weir_slide_received(f.slide, BATCH);
    uint8_t copy[BATCH];
    memcpy(copy, room.data, BATCH);
    struct weir_span batch = weir_span_of(room.data, BATCH);
    assert_int_equal(weir_slide_hold(f.slide, &after, part(batch, 3000, 500)), WEIR_OK);
    assert_int_equal(weir_slide_hold(f.slide, &inner, part(batch, 2100, 50)), WEIR_OK);
    assert_int_equal(weir_slide_hold(f.slide, &whole, part(batch, 2000, 1200)), WEIR_OK);
    assert_int_equal(weir_slide_hold(f.slide, &first, part(batch, 100, 10)), WEIR_OK);
    const uint8_t *before = whole.span.data;
    for (int i = 0; i < SIZE / BATCH; i++) {
        struct weir_span next = receive(f.slide, BATCH, 0);
        assert_int_equal(weir_slide_hold(f.slide, &filler, part(next, BATCH - 1, 1)), WEIR_OK);
        (void)weir_slide_room(f.slide);
        weir_slide_drop(f.slide, &filler);
    }
    assert_true(whole.span.data < before); /* it did move */
    assert_memory_equal(first.span.data, copy + 100, 10);
    assert_memory_equal(whole.span.data, copy + 2000, 1200);
    assert_memory_equal(inner.span.data, copy + 2100, 50);
    assert_memory_equal(after.span.data, copy + 3000, 500);
    free(f.mem);
}

struct shadow {
    struct weir_hold hold;
    uint8_t bytes[HOLD_BYTES_MAX];
};

static struct shadow shadows[HOLDS_MAX];

static void check_shadow(uint64_t seed, const struct shadow *shadow)
{
    CHECK(seed, memcmp(shadow->hold.span.data, shadow->bytes, shadow->hold.span.length) == 0);
}

static size_t draw_below(struct weir_prng *prng, size_t bound)
{
    return (size_t)weir_prng_below(prng, bound);
}

/* Holds a piece of span, if there is place for one more. Keeps shadows[0..count) in use. */
static size_t hold_piece(uint64_t seed, struct weir_slide *slide, struct weir_prng *prng,
                         struct weir_span span, size_t *slots)
{
    if (*slots == 0 || span.length == 0) {
        return 0;
    }
    size_t offset = draw_below(prng, span.length);
    size_t left = span.length - offset;
    size_t length = 1 + draw_below(prng, left < HOLD_BYTES_MAX ? left : HOLD_BYTES_MAX);
    struct shadow *shadow = NULL;
    for (size_t i = 0; i < HOLDS_MAX && shadow == NULL; i++) {
        shadow = shadows[i].hold.span.length == 0 ? &shadows[i] : NULL;
    }
    memcpy(shadow->bytes, span.data + offset, length);
    if (weir_slide_hold(slide, &shadow->hold, part(span, offset, length)) != WEIR_OK) {
        memset(&shadow->hold, 0, sizeof(shadow->hold));
        return 0;
    }
    check_shadow(seed, shadow);
    (*slots)--;
    return length;
}

static size_t sum_held(uint64_t seed)
{
    size_t held = 0;
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        held += shadows[i].hold.span.length;
        if (shadows[i].hold.span.length > 0) {
            check_shadow(seed, &shadows[i]);
        }
    }
    return held;
}

static void drop_some(struct weir_slide *slide, struct weir_prng *prng, size_t one_in,
                      size_t *slots)
{
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        if (shadows[i].hold.span.length > 0 && draw_below(prng, one_in) == 0) {
            weir_slide_drop(slide, &shadows[i].hold);
            (*slots)++;
        }
    }
}

static void run_random(uint64_t seed)
{
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    struct fixture f = make_slide(weir_prng_below(&prng, 3) == 0 ? 0 : SECONDARY);
    size_t slots = HOLDS_MAX;
    size_t one_in = 1 + draw_below(&prng, 30); /* how long holds live differs from seed to seed */
    memset(shadows, 0, sizeof(shadows));
    for (int step = 0; step < 400; step++) {
        struct weir_mut_span room = weir_slide_room(f.slide);
        CHECK(seed, room.length >= BATCH);
        CHECK(seed, sum_held(seed) == weir_slide_stats(f.slide)->held_bytes);
        size_t used = draw_below(&prng, (weir_prng_below(&prng, 2) ? BATCH : room.length) + 1);
        for (size_t i = 0; i < used; i++) {
            room.data[i] = (uint8_t)weir_prng_next(&prng);
        }
        weir_slide_received(f.slide, used);
        for (uint64_t holds = weir_prng_below(&prng, 10); holds > 0; holds--) {
            (void)hold_piece(seed, f.slide, &prng, weir_span_of(room.data, used), &slots);
        }
        /* A piece of what is held already, wherever it is. */
        struct weir_span held = shadows[draw_below(&prng, HOLDS_MAX)].hold.span;
        (void)hold_piece(seed, f.slide, &prng, held, &slots);
        drop_some(f.slide, &prng, one_in, &slots);
    }
    drop_some(f.slide, &prng, 1, &slots);
    const struct weir_slide_stats *stats = weir_slide_stats(f.slide);
    CHECK(seed, slots == HOLDS_MAX && stats->held_bytes == 0 && stats->secondary_bytes == 0);
    free(f.mem);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        run_random(seed);
    }
}

/* --- shares ----------------------------------------------------------------------------------- */

enum {
    HOSTS = 3,
    SHARES = 5
};

/* A share keeps its bytes when it leaves with its secondary store full, and over and over again. */
static void test_share_brings_along_what_it_holds(void **state)
{
    (void)state;
    struct fixture host = make_slide(0);
    struct fixture share = make_slide(0);
    struct weir_hold holds[4];
    weir_slide_join(share.slide, host.slide);
    struct weir_span batch = receive(host.slide, BATCH, 5);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(weir_slide_hold(share.slide, &holds[i], part(batch, i * 1000, 900)),
                         WEIR_OK);
        assert_ptr_equal(holds[i].span.data, batch.data + i * 1000);
    }
    assert_int_equal(weir_slide_stats(share.slide)->held_bytes, 3600);
    weir_slide_drop(share.slide, &holds[1]);
    weir_slide_leave(host.slide, &share.slide, 1);
    assert_ptr_equal(weir_slide_room(host.slide).data, batch.data); /* nothing is held there */
    (void)receive(host.slide, BATCH, 6);
    for (size_t i = 0; i < 4; i++) {
        if (i != 1) {
            assert_int_equal(holds[i].span.length, 900);
            assert_true(is_filled(holds[i].span, 5));
            assert_false(weir_hold_is_secondary(&holds[i]));
            weir_slide_drop(share.slide, &holds[i]);
        }
    }
    assert_int_equal(weir_slide_stats(share.slide)->held_bytes, 0);
    free(host.mem);
    free(share.mem);
}

/* What a share holds is bounded by its own size, wherever the bytes are. */
static void test_share_is_bounded(void **state)
{
    (void)state;
    struct weir_slide_config small = {4096, 64, 0};
    struct fixture host = make_slide(0);
    struct weir_slide *share = NULL;
    struct weir_hold holds[3];
    void *mem = aligned_alloc(64, (weir_slide_mem_size(&small) + 63) & ~(size_t)63);
    assert_int_equal(weir_slide_init(mem, &small, &share), WEIR_OK);
    weir_slide_join(share, host.slide);
    struct weir_span batch = receive(host.slide, BATCH, 5);
    assert_int_equal(weir_slide_hold(share, &holds[0], part(batch, 0, 4000)), WEIR_OK);
    assert_int_equal(weir_slide_hold(share, &holds[1], part(batch, 4000, 33)), WEIR_ERR_FULL);
    assert_int_equal(weir_slide_hold(share, &holds[1], part(batch, 4000, 32)), WEIR_OK);
    weir_slide_leave(host.slide, &share, 1);
    assert_int_equal(weir_slide_hold(share, &holds[2], part(holds[0].span, 0, 1)), WEIR_ERR_FULL);
    assert_true(is_filled(holds[0].span, 5) && is_filled(holds[1].span, 5));
    weir_slide_drop(share, &holds[0]);
    weir_slide_join(share, host.slide);
    batch = receive(host.slide, BATCH, 6);
    assert_int_equal(weir_slide_hold(share, &holds[0], part(batch, 0, 4000)), WEIR_OK);
    weir_slide_leave(host.slide, &share, 1); /* has to push together */
    assert_true(is_filled(holds[0].span, 6) && is_filled(holds[1].span, 5));
    free(mem);
    free(host.mem);
}

struct crowd {
    struct weir_prng prng;
    struct fixture hosts[HOSTS];
    struct fixture shares[SHARES];
    size_t at[SHARES]; /* which host each has joined */
    uint8_t owner[HOLDS_MAX];
};

static void join_any(struct crowd *crowd, size_t share)
{
    crowd->at[share] = draw_below(&crowd->prng, HOSTS);
    weir_slide_join(crowd->shares[share].slide, crowd->hosts[crowd->at[share]].slide);
}

/* Fills a batch of the host; its shares drop some of what they hold, and hold pieces of it. */
static void receive_and_hold(struct crowd *crowd, uint64_t seed, size_t host)
{
    struct weir_prng *prng = &crowd->prng;
    struct weir_mut_span room = weir_slide_room(crowd->hosts[host].slide);
    CHECK(seed, room.length >= BATCH);
    (void)sum_held(seed);
    for (size_t i = 0; i < BATCH; i++) {
        room.data[i] = (uint8_t)weir_prng_next(prng);
    }
    weir_slide_received(crowd->hosts[host].slide, BATCH);
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        if (shadows[i].hold.span.length > 0 && draw_below(prng, 8) == 0) {
            weir_slide_drop(crowd->shares[crowd->owner[i]].slide, &shadows[i].hold);
        }
        size_t share = draw_below(prng, SHARES);
        if (shadows[i].hold.span.length == 0 && crowd->at[share] == host &&
            draw_below(prng, 8) == 0) {
            size_t offset = draw_below(prng, BATCH - HOLD_BYTES_MAX);
            struct weir_span span =
                weir_span_of(room.data + offset, 1 + draw_below(prng, HOLD_BYTES_MAX));
            crowd->owner[i] = (uint8_t)share;
            memcpy(shadows[i].bytes, span.data, span.length);
            (void)weir_slide_hold(crowd->shares[share].slide, &shadows[i].hold, span);
        }
    }
}

/* Some move on; leaving together, as many as have the same host. */
static void move_some(struct crowd *crowd, uint64_t seed, size_t host)
{
    struct weir_slide *leaving[SHARES];
    uint32_t count = 0;
    for (size_t i = 0; i < SHARES; i++) {
        if (crowd->at[i] == host && draw_below(&crowd->prng, 4) == 0) {
            leaving[count++] = crowd->shares[i].slide;
            crowd->at[i] = HOSTS;
        }
    }
    weir_slide_leave(crowd->hosts[host].slide, leaving, count);
    (void)sum_held(seed);
    for (size_t i = 0; i < SHARES; i++) {
        if (crowd->at[i] == HOSTS) {
            join_any(crowd, i);
        }
    }
}

static void run_shares(uint64_t seed)
{
    static struct crowd crowd;
    weir_prng_init(&crowd.prng, seed);
    memset(shadows, 0, sizeof(shadows));
    for (size_t i = 0; i < HOSTS; i++) {
        crowd.hosts[i] = make_slide(0);
    }
    for (size_t i = 0; i < SHARES; i++) {
        crowd.shares[i] = make_slide(weir_prng_below(&crowd.prng, 2) == 0 ? 0 : SECONDARY);
        join_any(&crowd, i);
    }
    for (int step = 0; step < 600; step++) {
        size_t host = draw_below(&crowd.prng, HOSTS);
        receive_and_hold(&crowd, seed, host);
        move_some(&crowd, seed, host);
    }
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        if (shadows[i].hold.span.length > 0) {
            weir_slide_drop(crowd.shares[crowd.owner[i]].slide, &shadows[i].hold);
        }
    }
    for (size_t i = 0; i < SHARES; i++) {
        CHECK(seed, weir_slide_stats(crowd.shares[i].slide)->held_bytes == 0);
        CHECK(seed, weir_slide_stats(crowd.shares[i].slide)->secondary_bytes == 0);
        free(crowd.shares[i].mem);
    }
    for (size_t i = 0; i < HOSTS; i++) {
        free(crowd.hosts[i].mem);
    }
}

static void test_random_shares(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run_shares(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_bounds),
        cmocka_unit_test(test_without_holds_every_batch_lands_at_the_front),
        cmocka_unit_test(test_hold_stays_in_place),
        cmocka_unit_test(test_empty_hold_costs_nothing),
        cmocka_unit_test(test_old_holds_move_to_secondary),
        cmocka_unit_test(test_foreign_bytes_are_copied),
        cmocka_unit_test(test_compacts_up_to_the_bound),
        cmocka_unit_test(test_overlapping_holds_survive_compaction),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_share_brings_along_what_it_holds),
        cmocka_unit_test(test_share_is_bounded),
        cmocka_unit_test(test_random_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
