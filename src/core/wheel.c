/* SPDX-License-Identifier: MIT */
/*
 * wheel.c - the timing wheel.
 *
 * Role: a timer of deadline d ticks, armed at tick n, lies on level 0 when d - n < 256, on level 1
 * when d - n < 256^2 and so on, in the slot named by the digit of d of that level. When the wheel
 * reaches the first tick of a slot of level 1 to 3, its timers are placed again, now nearer. What
 * lies beyond the last level is parked in its farthest slot and placed again from there.
 *
 *     level 0   |.|.|x|.|...|.|   256 slots of 1 tick: what is found there is due
 *     level 1   |.|x|.|.|...|.|   256 slots of 256 ticks (16.8 ms)
 *     level 2   |.|.|.|.|...|x|   256 slots of 65,536 ticks (4.3 s)
 *     level 3   |x|.|.|.|...|.|   256 slots of 16.8 million ticks (18 min)
 *
 * Every level has a bitmap of its slots that hold timers, so finding the next slot looks at 16
 * words at most, and advance goes from one slot that holds timers to the next, never tick by tick.
 * Slots are stacks: arming touches the timer and the one that was on top. Timers are due in the
 * order of their ticks.
 */
#include "core/wheel.h"

#include "base/assert.h"
#include "base/bytes.h"

enum {
    DIGIT_BITS = 8,
    DIGIT_MASK = WEIR_WHEEL_SLOTS - 1,
    WORDS = WEIR_WHEEL_SLOTS / 64,
    /* Places: 0 for "not armed" (fresh memory), one per slot, and two lists. */
    PLACE_NONE = 0,
    PLACE_FIRST = 1,
    PLACE_WAITING = PLACE_FIRST + WEIR_WHEEL_LEVELS * WEIR_WHEEL_SLOTS, /* due at next advance */
    PLACE_DUE,                                                          /* due in this drain */
    PLACE_COUNT,
    MEMORY_ALIGN = 64
};

/* Ticks from now on that the levels reach. */
#define HORIZON_TICKS ((uint64_t)1 << (DIGIT_BITS * WEIR_WHEEL_LEVELS))
#define TICK_NS       ((weir_nsec)1 << WEIR_WHEEL_TICK_SHIFT)

/* All zero: not armed. A tick has 48 bits: what is left of a weir_nsec. */
struct timer {
    uint32_t tick_low;
    uint16_t tick_high;
    uint16_t place;
    uint32_t next, previous; /* timers in the same place, WEIR_WHEEL_NONE at the ends */
};

_Static_assert(sizeof(struct timer) == 16, "16 bytes a timer");

struct weir_wheel {
    uint64_t now; /* tick */
    uint32_t timers_max;
    uint32_t due_last; /* of the PLACE_DUE list, while it is not empty */
    uint64_t used[WEIR_WHEEL_LEVELS][WORDS];
    uint32_t first[PLACE_COUNT]; /* of each place; that of PLACE_NONE is unused */
    _Alignas(MEMORY_ALIGN) struct timer timers[];
};

/* All of the memory must read as zeros. The timers are not written before they are armed; the rest
 * (4.2 KB) is written by init. */
size_t weir_wheel_mem_size(uint32_t timers_max)
{
    WEIR_ASSERT(timers_max < WEIR_WHEEL_NONE);
    return weir_size_add(sizeof(struct weir_wheel),
                         weir_size_mul(timers_max, sizeof(struct timer)));
}

struct weir_wheel *weir_wheel_init(void *mem, uint32_t timers_max, weir_nsec now)
{
    WEIR_ASSERT((uintptr_t)mem % MEMORY_ALIGN == 0);
    struct weir_wheel *wheel = mem;
    wheel->now = now >> WEIR_WHEEL_TICK_SHIFT;
    wheel->timers_max = timers_max;
    wheel->due_last = WEIR_WHEEL_NONE;
    for (int i = 0; i < PLACE_COUNT; i++) {
        wheel->first[i] = WEIR_WHEEL_NONE;
    }
    for (int level = 0; level < WEIR_WHEEL_LEVELS; level++) {
        for (int i = 0; i < WORDS; i++) {
            wheel->used[level][i] = 0;
        }
    }
    return wheel;
}

static uint64_t tick_of(const struct timer *timer)
{
    return ((uint64_t)timer->tick_high << 32) | timer->tick_low;
}

static void set_tick(struct timer *timer, uint64_t tick)
{
    timer->tick_low = (uint32_t)tick;
    timer->tick_high = (uint16_t)(tick >> 32);
}

/* Where a timer for tick belongs now; nothing belongs into PLACE_DUE. */
static uint32_t choose_place(const struct weir_wheel *wheel, uint64_t tick)
{
    if (tick <= wheel->now) {
        return PLACE_WAITING;
    }
    uint64_t ahead = tick - wheel->now;
    if (ahead >= HORIZON_TICKS) {
        ahead = HORIZON_TICKS - 1;
        tick = wheel->now + ahead;
    }
    uint32_t level = (63 - (uint32_t)__builtin_clzll(ahead)) / DIGIT_BITS;
    uint32_t digit = (uint32_t)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
    return PLACE_FIRST + level * WEIR_WHEEL_SLOTS + digit;
}

static bool is_slot(uint32_t place)
{
    return place < PLACE_WAITING;
}

/* The word and the bit of a slot in the bitmaps, seen as one array of all levels. */
static uint64_t *used_word(struct weir_wheel *wheel, uint32_t place)
{
    uint32_t slot = place - PLACE_FIRST;
    return &wheel->used[slot / WEIR_WHEEL_SLOTS][slot % WEIR_WHEEL_SLOTS / 64];
}

static uint64_t used_bit(uint32_t place)
{
    return (uint64_t)1 << ((place - PLACE_FIRST) % 64);
}

static void link_timer(struct weir_wheel *wheel, uint32_t index, uint32_t place)
{
    struct timer *timer = &wheel->timers[index];
    uint32_t top = wheel->first[place];
    timer->place = (uint16_t)place;
    timer->next = top;
    timer->previous = WEIR_WHEEL_NONE;
    wheel->first[place] = index;
    if (top != WEIR_WHEEL_NONE) {
        wheel->timers[top].previous = index;
    } else if (is_slot(place)) {
        *used_word(wheel, place) |= used_bit(place);
    }
}

/* The due list is the one queue: what came first leaves first. */
static void append_due(struct weir_wheel *wheel, uint32_t index)
{
    struct timer *timer = &wheel->timers[index];
    timer->place = PLACE_DUE;
    timer->next = WEIR_WHEEL_NONE;
    if (wheel->first[PLACE_DUE] == WEIR_WHEEL_NONE) {
        timer->previous = WEIR_WHEEL_NONE;
        wheel->first[PLACE_DUE] = index;
    } else {
        timer->previous = wheel->due_last;
        wheel->timers[wheel->due_last].next = index;
    }
    wheel->due_last = index;
}

/* Leaves the timer's place as it was: the caller sets it. */
static void unlink_timer(struct weir_wheel *wheel, const struct timer *timer)
{
    uint32_t place = timer->place;
    if (timer->next != WEIR_WHEEL_NONE) {
        wheel->timers[timer->next].previous = timer->previous;
    } else if (place == PLACE_DUE) {
        wheel->due_last = timer->previous;
    }
    if (timer->previous != WEIR_WHEEL_NONE) {
        wheel->timers[timer->previous].next = timer->next;
        return;
    }
    wheel->first[place] = timer->next;
    if (timer->next == WEIR_WHEEL_NONE && is_slot(place)) {
        *used_word(wheel, place) &= ~used_bit(place);
    }
}

void weir_wheel_arm(struct weir_wheel *wheel, uint32_t index, weir_nsec deadline)
{
    WEIR_ASSERT(index < wheel->timers_max);
    /* Rounded up, never early. The last tick of all ends past the end of time, like WEIR_NEVER. */
    if (deadline > WEIR_NEVER - TICK_NS) {
        weir_wheel_cancel(wheel, index);
        return;
    }
    uint64_t tick = (deadline + TICK_NS - 1) >> WEIR_WHEEL_TICK_SHIFT;
    struct timer *timer = &wheel->timers[index];
    if (timer->place != PLACE_NONE && tick_of(timer) == tick) {
        return;
    }
    uint32_t place = choose_place(wheel, tick);
    set_tick(timer, tick);
    if (timer->place == place) {
        return;
    }
    if (timer->place != PLACE_NONE) {
        unlink_timer(wheel, timer);
    }
    link_timer(wheel, index, place);
}

void weir_wheel_cancel(struct weir_wheel *wheel, uint32_t index)
{
    WEIR_ASSERT(index < wheel->timers_max);
    struct timer *timer = &wheel->timers[index];
    if (timer->place != PLACE_NONE) {
        unlink_timer(wheel, timer);
        timer->place = PLACE_NONE;
    }
}

/* How many slots after current the next used one comes, 1 to 256 (current itself, one round
 * later); 0 when none is used. */
static uint32_t distance_to_used(const uint64_t used[WORDS], uint32_t current)
{
    uint32_t start = (current + 1) & DIGIT_MASK;
    uint64_t from_start = ~(uint64_t)0 << (start % 64);
    for (uint32_t i = 0; i <= WORDS; i++) {
        uint32_t word = (start / 64 + i) % WORDS;
        uint64_t bits = used[word];
        if (i == 0) {
            bits &= from_start;
        }
        if (bits != 0) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
            return ((slot - start) & DIGIT_MASK) + 1;
        }
    }
    return 0;
}

/* The tick at which the next slot that holds timers is reached, UINT64_MAX when there is none. It
 * cannot overflow: each slot begins at or before the tick of the timers in it. */
static uint64_t next_slot_tick(const struct weir_wheel *wheel)
{
    uint64_t best = UINT64_MAX;
    for (unsigned level = 0; level < WEIR_WHEEL_LEVELS; level++) {
        const uint64_t *used = wheel->used[level];
        if ((used[0] | used[1] | used[2] | used[3]) == 0) {
            continue;
        }
        uint64_t current = wheel->now >> (level * DIGIT_BITS);
        uint32_t ahead = distance_to_used(used, (uint32_t)current & DIGIT_MASK);
        best = weir_min_u64(best, (current + ahead) << (level * DIGIT_BITS));
    }
    return best;
}

/* Empties a place: each of its timers is due or placed again. */
static void spill(struct weir_wheel *wheel, uint32_t place)
{
    uint32_t index = wheel->first[place];
    if (index == WEIR_WHEEL_NONE) {
        return;
    }
    wheel->first[place] = WEIR_WHEEL_NONE;
    if (is_slot(place)) {
        *used_word(wheel, place) &= ~used_bit(place);
    }
    while (index != WEIR_WHEEL_NONE) {
        const struct timer *timer = &wheel->timers[index];
        uint32_t next = timer->next;
        if (next != WEIR_WHEEL_NONE) {
            __builtin_prefetch(&wheel->timers[next], 1);
        }
        uint64_t tick = tick_of(timer);
        if (tick <= wheel->now) {
            append_due(wheel, index);
        } else {
            link_timer(wheel, index, choose_place(wheel, tick));
        }
        index = next;
    }
}

/* The wheel has just come to its tick: spills the slots that begin with it. In which order does not
 * matter: no timer goes into one of these slots again, they are a whole round ahead now. */
static void reach_tick(struct weir_wheel *wheel)
{
    uint64_t count = wheel->now;
    for (uint32_t level = 0; level < WEIR_WHEEL_LEVELS; level++) {
        spill(wheel, PLACE_FIRST + level * WEIR_WHEEL_SLOTS + ((uint32_t)count & DIGIT_MASK));
        if ((count & DIGIT_MASK) != 0) {
            break;
        }
        count >>= DIGIT_BITS;
    }
}

void weir_wheel_advance(struct weir_wheel *wheel, weir_nsec now)
{
    spill(wheel, PLACE_WAITING);
    uint64_t target = now >> WEIR_WHEEL_TICK_SHIFT;
    for (;;) {
        uint64_t tick = next_slot_tick(wheel);
        if (tick > target) {
            break;
        }
        wheel->now = tick;
        reach_tick(wheel);
    }
    wheel->now = weir_max_u64(wheel->now, target);
}

uint32_t weir_wheel_expired(struct weir_wheel *wheel)
{
    uint32_t index = wheel->first[PLACE_DUE];
    if (index != WEIR_WHEEL_NONE) {
        weir_wheel_cancel(wheel, index);
    }
    return index;
}

weir_nsec weir_wheel_next(const struct weir_wheel *wheel)
{
    if (wheel->first[PLACE_DUE] != WEIR_WHEEL_NONE ||
        wheel->first[PLACE_WAITING] != WEIR_WHEEL_NONE) {
        return wheel->now << WEIR_WHEEL_TICK_SHIFT;
    }
    uint64_t tick = next_slot_tick(wheel);
    return tick == UINT64_MAX ? WEIR_NEVER : tick << WEIR_WHEEL_TICK_SHIFT;
}
