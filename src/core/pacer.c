/* SPDX-License-Identifier: MIT */
/*
 * pacer.c - the token bucket: credit grows with time, is capped at one burst, and is spent.
 *
 * Spec: RFC 9002 section 7.7 (leaky bucket); bursts are the send quantum of the BBR draft, 5.6.3.
 */
#include "core/pacer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "core/scale.h"

enum {
    BURSTS_PER_SECOND = 1000,
    TICKS_PER_SECOND = 20000,
    TICK_BYTES_MAX = 1 << 24
};

/* A burst is what the rate sends in a millisecond, between the two bounds; but no shorter than
 * what it sends in 50 us, for no system wakes a sleeper in less. That counts above 10 Gbit/s, where
 * the upper bound is 64 KB. */
static uint64_t burst_of(const struct weir_pacer *pacer, uint64_t rate)
{
    uint64_t burst = weir_max_u64(rate / BURSTS_PER_SECOND, pacer->burst_min_bytes);
    uint64_t tick = weir_min_u64(rate / TICKS_PER_SECOND, TICK_BYTES_MAX);
    return weir_max_u64(weir_min_u64(burst, pacer->burst_max_bytes), tick);
}

/* Bytes earned since the last update, saturated; *remainder in units of bytes / 10^9. */
static uint64_t earned_bytes(const struct weir_pacer *pacer, weir_nsec elapsed, uint64_t rate,
                             uint32_t *remainder)
{
    uint64_t product;
    if (!__builtin_mul_overflow(rate, elapsed, &product) &&
        !__builtin_add_overflow(product, pacer->remainder, &product)) {
        *remainder = (uint32_t)(product % WEIR_SEC);
        return product / WEIR_SEC;
    }
    /* Over 18 GB: more than any burst, what is left over does not matter. */
    *remainder = 0;
    return weir_scale(rate, elapsed, WEIR_SEC);
}

void weir_pacer_init(struct weir_pacer *pacer, uint32_t burst_min_bytes, uint32_t burst_max_bytes)
{
    WEIR_ASSERT(burst_min_bytes > 0 && burst_min_bytes <= burst_max_bytes);
    *pacer = (struct weir_pacer){.credit_bytes = burst_max_bytes,
                                 .burst_min_bytes = burst_min_bytes,
                                 .burst_max_bytes = burst_max_bytes};
}

uint64_t weir_pacer_allowance(struct weir_pacer *pacer, weir_nsec now, uint64_t rate)
{
    weir_nsec elapsed = now > pacer->updated ? now - pacer->updated : 0;
    pacer->updated = weir_max_u64(now, pacer->updated);
    if (rate == 0) {
        pacer->credit_bytes = UINT64_MAX;
        pacer->debt_bytes = 0;
        pacer->remainder = 0;
        return UINT64_MAX;
    }
    uint64_t earned = earned_bytes(pacer, elapsed, rate, &pacer->remainder);
    uint32_t paid = (uint32_t)weir_min_u64(earned, pacer->debt_bytes);
    pacer->debt_bytes -= paid;
    uint64_t burst = burst_of(pacer, rate);
    pacer->credit_bytes = weir_add_saturated(pacer->credit_bytes, earned - paid);
    if (pacer->credit_bytes >= burst) {
        pacer->credit_bytes = burst;
        pacer->remainder = 0;
    }
    return pacer->credit_bytes;
}

void weir_pacer_on_sent(struct weir_pacer *pacer, uint64_t bytes)
{
    uint64_t spent = weir_min_u64(bytes, pacer->credit_bytes);
    pacer->credit_bytes -= spent;
    /* The debt is bounded so that a slow rate is not silenced for long by a few probes. */
    uint64_t debt = weir_add_saturated(pacer->debt_bytes, bytes - spent);
    pacer->debt_bytes = (uint32_t)weir_min_u64(debt, pacer->burst_max_bytes);
}

weir_nsec weir_pacer_next(const struct weir_pacer *pacer, uint64_t rate, uint64_t bytes)
{
    if (rate == 0) {
        return pacer->updated;
    }
    uint64_t wanted = weir_min_u64(bytes, burst_of(pacer, rate));
    if (pacer->credit_bytes >= wanted) {
        return pacer->updated;
    }
    uint64_t missing = wanted - pacer->credit_bytes + pacer->debt_bytes;
    /* At most two bursts of 32 bits, and over 0: the product fits. Rounded up. */
    uint64_t scaled = missing * WEIR_SEC - pacer->remainder;
    return weir_add_saturated(pacer->updated, (scaled - 1) / rate + 1);
}
