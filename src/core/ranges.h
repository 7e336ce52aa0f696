/* SPDX-License-Identifier: MIT */
/*
 * ranges.h - a set of 64-bit numbers kept as few sorted closed ranges.
 *
 * Role: packet numbers received, message numbers received out of order, byte ranges of a message.
 * Memory: the caller's array; never more than max ranges.
 */
#ifndef WEIR_CORE_RANGES_H
#define WEIR_CORE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/status.h"

struct weir_range {
    uint64_t first, last; /* both inside */
};

/* items[0] is the lowest range; between two ranges at least one number is missing. */
struct weir_ranges {
    struct weir_range *items;
    uint32_t count, max;
};

static inline void weir_ranges_init(struct weir_ranges *ranges, struct weir_range *items,
                                    uint32_t max)
{
    *ranges = (struct weir_ranges){.items = items, .count = 0, .max = max};
}

/* Adds [first, last], first <= last. *added is how many numbers were new. WEIR_ERR_FULL when that
 * would take more than max ranges; nothing is changed then, *added is 0. Appending at the high end
 * is O(1). */
enum weir_status weir_ranges_add(struct weir_ranges *ranges, uint64_t first, uint64_t last,
                                 uint64_t *added);
/* The lowest range that ends at or above number, as an index into items; count when none does. */
uint32_t weir_ranges_search(const struct weir_ranges *ranges, uint64_t number);
bool weir_ranges_contains(const struct weir_ranges *ranges, uint64_t number);
/* Takes out every number below floor. */
void weir_ranges_remove_below(struct weir_ranges *ranges, uint64_t floor);

#endif
