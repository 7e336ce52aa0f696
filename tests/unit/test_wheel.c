/* SPDX-License-Identifier: MIT */
/*
 * test_wheel.c - the timing wheel against an array of deadlines.
 */
#include "seed.h"

#include <stdlib.h>
#include <string.h>

#include "core/wheel.h"

enum {
    TIMERS_MAX = 300
};

static const weir_nsec tick_ns = (weir_nsec)1 << WEIR_WHEEL_TICK_SHIFT;

static struct weir_wheel *make_wheel(uint32_t timers, weir_nsec now)
{
    void *mem = aligned_alloc(64, (weir_wheel_mem_size(timers) + 63) / 64 * 64);
    assert_non_null(mem);
    memset(mem, 0, weir_wheel_mem_size(timers));
    return weir_wheel_init(mem, timers, now);
}

struct model {
    uint64_t seed;
    struct weir_prng prng;
    struct weir_wheel *wheel;
    uint32_t timers;
    weir_nsec now;
    uint64_t now_tick;
    uint64_t ticks[TIMERS_MAX]; /* when armed: the deadline rounded up */
    bool is_armed[TIMERS_MAX];
    bool is_waiting[TIMERS_MAX]; /* armed for the past since the last advance */
};

static uint32_t count_armed(const struct model *model)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->timers; i++) {
        count += model->is_armed[i];
    }
    return count;
}

static void arm(struct model *model, uint32_t index, weir_nsec deadline)
{
    weir_wheel_arm(model->wheel, index, deadline);
    if (deadline > WEIR_NEVER - tick_ns) {
        model->is_armed[index] = false;
        return;
    }
    uint64_t tick = deadline / tick_ns + (deadline % tick_ns != 0);
    if (model->is_armed[index] && model->ticks[index] == tick) {
        return;
    }
    model->is_armed[index] = true;
    model->ticks[index] = tick;
    model->is_waiting[index] = tick <= model->now_tick;
}

static void cancel(struct model *model, uint32_t index)
{
    weir_wheel_cancel(model->wheel, index);
    model->is_armed[index] = false;
}

/* Deadlines of every scale, many right at the boundaries of the levels, some in the past. */
static weir_nsec draw_deadline(struct model *model)
{
    struct weir_prng *prng = &model->prng;
    switch (weir_prng_below(prng, 8)) {
    case 0:
        return model->now - weir_prng_below(prng, model->now + 1);
    case 1:
        return model->now - weir_prng_below(prng, 3 * tick_ns);
    case 2: {
        unsigned level = (unsigned)weir_prng_below(prng, WEIR_WHEEL_LEVELS + 1);
        uint64_t ahead = (uint64_t)1 << (8 * level);
        uint64_t tick = model->now_tick + ahead - 2 + weir_prng_below(prng, 5);
        return tick * tick_ns - weir_prng_below(prng, 2);
    }
    case 3: {
        /* The first ticks of slots. */
        unsigned level = (unsigned)weir_prng_below(prng, WEIR_WHEEL_LEVELS + 1);
        uint64_t slot = (model->now_tick >> (8 * level)) + weir_prng_below(prng, 300);
        return ((slot << (8 * level)) - 1 + weir_prng_below(prng, 3)) * tick_ns;
    }
    case 4:
        return weir_prng_below(prng, 4) == 0 ? WEIR_NEVER - weir_prng_below(prng, 2 * tick_ns)
                                             : model->now + draw_scaled(prng, 56);
    default:
        return model->now + draw_scaled(prng, 40);
    }
}

static bool is_due(const struct model *model, uint32_t index)
{
    return model->is_armed[index] && !model->is_waiting[index] &&
           model->ticks[index] <= model->now_tick;
}

/* Between arming and advancing: the answer is never late, and never in the past for nothing. */
static void check_next(struct model *model)
{
    uint64_t soonest = UINT64_MAX;
    bool is_past = false;
    for (uint32_t i = 0; i < model->timers; i++) {
        if (model->is_armed[i]) {
            soonest = model->ticks[i] < soonest ? model->ticks[i] : soonest;
            is_past = is_past || model->ticks[i] <= model->now_tick;
        }
    }
    weir_nsec next = weir_wheel_next(model->wheel);
    if (soonest == UINT64_MAX) {
        CHECK(model->seed, next == WEIR_NEVER);
    } else if (is_past) {
        CHECK(model->seed, next <= model->now);
    } else {
        CHECK(model->seed, next <= soonest * tick_ns);
        CHECK(model->seed, next > model->now_tick * tick_ns);
    }
}

/* During a drain: arms the timer that fired, or touches any other. */
static void disturb(struct model *model, uint32_t fired)
{
    switch (weir_prng_below(&model->prng, 6)) {
    case 0:
        arm(model, fired, draw_deadline(model));
        break;
    case 1:
        arm(model, (uint32_t)weir_prng_below(&model->prng, model->timers), draw_deadline(model));
        break;
    case 2:
        cancel(model, (uint32_t)weir_prng_below(&model->prng, model->timers));
        break;
    default:
        break;
    }
}

static void advance(struct model *model, weir_nsec now, bool disturbed)
{
    uint64_t before_tick = model->now_tick;
    uint64_t last_tick = 0;
    model->now = now;
    model->now_tick = now / tick_ns;
    memset(model->is_waiting, 0, sizeof(model->is_waiting));
    weir_wheel_advance(model->wheel, now);
    /* Some drains stop half-way: what is left is due, still, after the next advance. */
    bool is_partial = disturbed && weir_prng_below(&model->prng, 4) == 0;
    uint64_t most = is_partial ? weir_prng_below(&model->prng, 5) : UINT64_MAX;
    for (uint64_t i = 0; i < most; i++) {
        uint32_t index = weir_wheel_expired(model->wheel);
        if (index == WEIR_WHEEL_NONE) {
            break;
        }
        CHECK(model->seed, index < model->timers);
        CHECK(model->seed, is_due(model, index));
        /* What came due on the way comes in the order of its ticks. */
        if (model->ticks[index] > before_tick) {
            CHECK(model->seed, model->ticks[index] >= last_tick);
            last_tick = model->ticks[index];
        }
        model->is_armed[index] = false;
        if (disturbed) {
            disturb(model, index);
        }
    }
    for (uint32_t i = 0; !is_partial && i < model->timers; i++) {
        CHECK(model->seed, !is_due(model, i));
    }
    check_next(model);
}

static void start(struct model *model, uint64_t seed)
{
    *model = (struct model){.seed = seed};
    weir_prng_init(&model->prng, seed);
    model->timers = (uint32_t)weir_prng_below(&model->prng, TIMERS_MAX) + 1;
    model->now = draw_scaled(&model->prng, 62);
    model->now_tick = model->now / tick_ns;
    model->wheel = make_wheel(model->timers, model->now);
    check_next(model);
}

static void step(struct model *model)
{
    struct weir_prng *prng = &model->prng;
    for (uint64_t i = weir_prng_below(prng, 12); i > 0; i--) {
        uint32_t index = (uint32_t)weir_prng_below(prng, model->timers);
        if (weir_prng_below(prng, 5) == 0) {
            cancel(model, index);
        } else {
            arm(model, index, draw_deadline(model));
        }
    }
    check_next(model);
    weir_nsec next = weir_wheel_next(model->wheel);
    /* To the very next event, by a little, or by up to 39 hours; now and then not at all. */
    if (weir_prng_below(prng, 3) == 0 && next != WEIR_NEVER && next > model->now) {
        advance(model, next - weir_prng_below(prng, 2), true);
    } else {
        advance(model, model->now + draw_scaled(prng, 47), true);
    }
}

static void follows_an_array(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct model *model = malloc(sizeof(*model));
        assert_non_null(model);
        start(model, seed);
        for (int i = 0; i < 750; i++) {
            step(model);
        }
        free(model->wheel);
        free(model);
    }
}

/* Sleeping exactly as weir_wheel_next says, every timer fires at its tick, after few wake-ups. */
static void next_leads_to_every_timer(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct model *model = malloc(sizeof(*model));
        assert_non_null(model);
        start(model, seed);
        for (uint32_t i = 0; i < model->timers; i++) {
            arm(model, i, model->now + 1 + draw_scaled(&model->prng, 46));
        }
        uint32_t armed = count_armed(model);
        uint32_t wakes = 0;
        for (; count_armed(model) > 0; wakes++) {
            uint32_t before = count_armed(model);
            weir_nsec next = weir_wheel_next(model->wheel);
            advance(model, next, false);
            bool fired = count_armed(model) < before;
            for (uint32_t i = 0; fired && i < model->timers; i++) {
                CHECK(seed, !model->is_armed[i] || model->ticks[i] > model->now_tick);
            }
        }
        CHECK(seed, wakes <= (uint64_t)WEIR_WHEEL_LEVELS * armed);
        free(model->wheel);
        free(model);
    }
}

static void fires_at_the_tick_after_the_deadline(void **state)
{
    (void)state;
    struct weir_wheel *wheel = make_wheel(1, 0);
    weir_wheel_arm(wheel, 0, 5 * tick_ns + 1);
    assert_true(weir_wheel_next(wheel) == 6 * tick_ns);
    weir_wheel_advance(wheel, 6 * tick_ns - 1);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    weir_wheel_advance(wheel, 6 * tick_ns);
    assert_int_equal(weir_wheel_expired(wheel), 0);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    assert_true(weir_wheel_next(wheel) == WEIR_NEVER);
    free(wheel);
}

static void past_deadline_needs_another_advance(void **state)
{
    (void)state;
    struct weir_wheel *wheel = make_wheel(2, WEIR_SEC);
    weir_wheel_arm(wheel, 1, 0);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    assert_true(weir_wheel_next(wheel) <= WEIR_SEC);
    for (int i = 0; i < 3; i++) {
        weir_wheel_advance(wheel, WEIR_SEC);
        assert_int_equal(weir_wheel_expired(wheel), 1);
        weir_wheel_arm(wheel, 1, 0);
        assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    }
    weir_wheel_arm(wheel, 1, WEIR_NEVER);
    weir_wheel_advance(wheel, WEIR_SEC);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    free(wheel);
}

/* A deadline past the horizon of 78 hours is parked: it costs a wake-up every 78 hours at most. */
static void far_future_is_parked(void **state)
{
    (void)state;
    const weir_nsec year = WEIR_SEC * 365 * 24 * 3600;
    struct weir_wheel *wheel = make_wheel(1, 12345);
    weir_wheel_arm(wheel, 0, year);
    uint32_t wakes = 0;
    weir_nsec now = 0;
    for (;;) {
        now = weir_wheel_next(wheel);
        assert_true(now < year + tick_ns);
        weir_wheel_advance(wheel, now);
        if (weir_wheel_expired(wheel) == 0) {
            break;
        }
        wakes++;
    }
    assert_true(now >= year);
    assert_true(wakes <= 365 * 24 / 77 + WEIR_WHEEL_LEVELS);
    /* And in one jump. */
    weir_wheel_arm(wheel, 0, 3 * year);
    weir_wheel_advance(wheel, 3 * year - 1);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    weir_wheel_advance(wheel, 3 * year + tick_ns);
    assert_int_equal(weir_wheel_expired(wheel), 0);
    free(wheel);
}

static void the_clock_may_be_near_its_end(void **state)
{
    (void)state;
    const weir_nsec end = WEIR_NEVER - 2 * tick_ns;
    struct weir_wheel *wheel = make_wheel(3, end - 1000 * tick_ns);
    weir_wheel_arm(wheel, 0, end);
    weir_wheel_arm(wheel, 1, WEIR_NEVER - 1);
    weir_wheel_arm(wheel, 2, end - 700 * tick_ns);
    weir_wheel_advance(wheel, end - 699 * tick_ns);
    assert_int_equal(weir_wheel_expired(wheel), 2);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    assert_true(weir_wheel_next(wheel) <= end + tick_ns);
    weir_wheel_advance(wheel, WEIR_NEVER - 1);
    assert_int_equal(weir_wheel_expired(wheel), 0);
    assert_int_equal(weir_wheel_expired(wheel), WEIR_WHEEL_NONE);
    assert_true(weir_wheel_next(wheel) == WEIR_NEVER);
    free(wheel);
}

static void sixteen_bytes_a_timer(void **state)
{
    (void)state;
    assert_true(weir_wheel_mem_size(1000000) - weir_wheel_mem_size(0) == 16000000);
    assert_true(weir_wheel_mem_size(0) < 4608);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_an_array),
        cmocka_unit_test(next_leads_to_every_timer),
        cmocka_unit_test(fires_at_the_tick_after_the_deadline),
        cmocka_unit_test(past_deadline_needs_another_advance),
        cmocka_unit_test(far_future_is_parked),
        cmocka_unit_test(the_clock_may_be_near_its_end),
        cmocka_unit_test(sixteen_bytes_a_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
