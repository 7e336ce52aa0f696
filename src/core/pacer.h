/* SPDX-License-Identifier: MIT */
/*
 * pacer.h - spreads sending over time: a token bucket in nanoseconds (RFC 9002 section 7.7).
 *
 * Role: asks "may I send now, and how much in one burst?". Bursts are as large as a millisecond's
 * worth of the rate (at least burst_min, at most burst_max bytes, but what 50 us take in any case),
 * so that segmentation offload has something to work on; a connection that was idle may start with
 * one burst.
 */
#ifndef WEIR_CORE_PACER_H
#define WEIR_CORE_PACER_H

#include <stdint.h>

#include "weir/time.h"

struct weir_pacer {
    uint64_t credit_bytes; /* may be sent now */
    weir_nsec updated;     /* when credit was last brought up to date */
    uint32_t remainder;    /* of the division by time, so that no rate is lost to rounding */
    uint32_t debt_bytes;   /* sent beyond the credit (probes do), paid off before credit grows */
    uint32_t burst_min_bytes, burst_max_bytes;
};

void weir_pacer_init(struct weir_pacer *pacer, uint32_t burst_min_bytes, uint32_t burst_max_bytes);
/* Bytes that may be sent now at rate (bytes/s; 0 means unlimited: UINT64_MAX). */
uint64_t weir_pacer_allowance(struct weir_pacer *pacer, weir_nsec now, uint64_t rate);
void weir_pacer_on_sent(struct weir_pacer *pacer, uint64_t bytes);
/* When bytes (at most one burst is waited for) may be sent; now or before when they may already. */
weir_nsec weir_pacer_next(const struct weir_pacer *pacer, uint64_t rate, uint64_t bytes);

#endif
