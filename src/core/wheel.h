/* SPDX-License-Identifier: MIT */
/*
 * wheel.h - hierarchical timing wheel: one timer per index, linked by index.
 *
 * Role: the timers of all connections of an endpoint; a timer's index is its connection's.
 * Owned by: one endpoint. Memory: 16 bytes a timer plus 4 levels of 256 slots; timers never armed
 * are never touched.
 * Spec: ticks of WEIR_WHEEL_TICK_NS (2^16 ns, 65.5 us), 4 levels x 256: 78 hours ahead; later
 * deadlines are parked at the end and move on by themselves. A timer never fires early and at most
 * one tick late (seen from the advance call).
 */
#ifndef WEIR_CORE_WHEEL_H
#define WEIR_CORE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/time.h"

enum {
    WEIR_WHEEL_TICK_SHIFT = 16,
    WEIR_WHEEL_LEVELS = 4,
    WEIR_WHEEL_SLOTS = 256
};

enum {
    WEIR_WHEEL_NONE = UINT32_MAX
};

struct weir_wheel;

size_t weir_wheel_mem_size(uint32_t timers_max);
/* mem: 64-byte aligned, reads as zeros (fresh pages from the system do, at no cost); kept. */
struct weir_wheel *weir_wheel_init(void *mem, uint32_t timers_max, weir_nsec now);
/* Arms or re-arms timer index for the absolute time deadline (WEIR_NEVER cancels). Arming for the
 * tick it is already in is a compare and nothing more. */
void weir_wheel_arm(struct weir_wheel *wheel, uint32_t index, weir_nsec deadline);
void weir_wheel_cancel(struct weir_wheel *wheel, uint32_t index);
/* Moves to now. Then weir_wheel_expired returns what is due, one a call, each disarmed, until
 * WEIR_WHEEL_NONE. A timer armed meanwhile for a time already past fires in the same drain only
 * once advance is called again (no endless loop). */
void weir_wheel_advance(struct weir_wheel *wheel, weir_nsec now);
uint32_t weir_wheel_expired(struct weir_wheel *wheel);
/* No timer fires before this; WEIR_NEVER when none is armed. Exact to a tick for the lowest level;
 * for higher levels it may be early (the time their slot must be spread), never late. */
weir_nsec weir_wheel_next(const struct weir_wheel *wheel);

#endif
