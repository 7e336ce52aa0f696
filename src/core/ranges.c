/* SPDX-License-Identifier: MIT */
/*
 * ranges.c - the set of sorted closed ranges.
 *
 * Role: ranges that overlap or touch are always one, so the array is as short as it can be; a
 * number is found by bisection, and what arrives in order only ever looks at the highest range.
 */
#include "core/ranges.h"

#include <string.h>

#include "base/assert.h"

uint32_t weir_ranges_search(const struct weir_ranges *ranges, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = ranges->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges->items[middle].last < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Where [first, ...] belongs: the first range that overlaps it, touches it or lies above it. The
 * highest range is asked first, for numbers that arrive in order. */
static uint32_t find_place(const struct weir_ranges *ranges, uint64_t first)
{
    if (ranges->count == 0) {
        return 0;
    }
    uint64_t below = first > 0 ? first - 1 : 0;
    uint32_t top = ranges->count - 1;
    if (ranges->items[top].last < below) {
        return ranges->count;
    }
    if (ranges->items[top].first <= below) {
        return top;
    }
    return weir_ranges_search(ranges, below);
}

static bool is_below_with_gap(uint64_t last, const struct weir_range *range)
{
    return range->first > 0 && range->first - 1 > last;
}

static void move_tail(struct weir_ranges *ranges, uint32_t to, uint32_t from)
{
    if (to != from) {
        memmove(&ranges->items[to], &ranges->items[from],
                (size_t)(ranges->count - from) * sizeof(ranges->items[0]));
        ranges->count = ranges->count - from + to;
    }
}

/* Extends the range at index to cover [first, last] and takes in the ranges above that it reaches.
 * Returns how many numbers are new (2^64 of them count as 0). */
static uint64_t merge(struct weir_ranges *ranges, uint32_t index, uint64_t first, uint64_t last)
{
    struct weir_range *range = &ranges->items[index];
    uint64_t present = 0;
    uint32_t end = index;
    while (end < ranges->count && !is_below_with_gap(last, &ranges->items[end])) {
        present += ranges->items[end].last - ranges->items[end].first + 1;
        end++;
    }
    if (range->first > first) {
        range->first = first;
    }
    range->last = ranges->items[end - 1].last > last ? ranges->items[end - 1].last : last;
    move_tail(ranges, index + 1, end);
    return range->last - range->first + 1 - present;
}

enum weir_status weir_ranges_add(struct weir_ranges *ranges, uint64_t first, uint64_t last,
                                 uint64_t *added)
{
    WEIR_ASSERT(first <= last);
    *added = 0;
    uint32_t index = find_place(ranges, first);
    if (index < ranges->count && !is_below_with_gap(last, &ranges->items[index])) {
        *added = merge(ranges, index, first, last);
        return WEIR_OK;
    }
    if (ranges->count == ranges->max) {
        return WEIR_ERR_FULL;
    }
    if (index < ranges->count) {
        move_tail(ranges, index + 1, index);
    } else {
        ranges->count++;
    }
    ranges->items[index] = (struct weir_range){.first = first, .last = last};
    *added = last - first + 1;
    return WEIR_OK;
}

bool weir_ranges_contains(const struct weir_ranges *ranges, uint64_t number)
{
    uint32_t index = weir_ranges_search(ranges, number);
    return index < ranges->count && ranges->items[index].first <= number;
}

void weir_ranges_remove_below(struct weir_ranges *ranges, uint64_t floor)
{
    uint32_t index = weir_ranges_search(ranges, floor);
    move_tail(ranges, 0, index);
    if (ranges->count > 0 && ranges->items[0].first < floor) {
        ranges->items[0].first = floor;
    }
}
