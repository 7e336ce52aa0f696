/* SPDX-License-Identifier: MIT */
/*
 * rtt.c - round-trip time estimation in integers.
 *
 * Spec: RFC 6298 section 2, RFC 9002 sections 5 and 6.
 */
#include "core/rtt.h"

#include "base/bytes.h"

void weir_rtt_init(struct weir_rtt *rtt, weir_nsec initial)
{
    /* RFC 9002 5.3: smoothed_rtt = kInitialRtt, rttvar = kInitialRtt / 2. */
    *rtt = (struct weir_rtt){.smoothed = initial, .variance = initial / 2, .min = WEIR_NEVER};
}

void weir_rtt_sample(struct weir_rtt *rtt, weir_nsec sample, weir_nsec ack_delay)
{
    rtt->latest = sample;
    if (!rtt->has_sample) {
        /* RFC 9002 5.3, RFC 6298 2.2: the first sample replaces every guess. */
        rtt->has_sample = true;
        rtt->min = sample;
        rtt->smoothed = sample;
        rtt->variance = sample / 2;
        return;
    }
    /* RFC 9002 5.2: min_rtt takes no account of the peer's delays (MUST). */
    rtt->min = weir_min_u64(rtt->min, sample);
    /* RFC 9002 5.3: never adjust to below min_rtt (MUST NOT). */
    weir_nsec adjusted = sample;
    if (ack_delay <= sample - rtt->min) {
        adjusted -= ack_delay;
    }
    /* RFC 6298 2.3: the variance is updated first, with the old smoothed value (MUST). */
    weir_nsec deviation =
        rtt->smoothed > adjusted ? rtt->smoothed - adjusted : adjusted - rtt->smoothed;
    rtt->variance = rtt->variance - rtt->variance / 4 + deviation / 4;
    rtt->smoothed = rtt->smoothed - rtt->smoothed / 8 + adjusted / 8;
}

weir_nsec weir_rtt_pto(const struct weir_rtt *rtt, weir_nsec granularity, weir_nsec max_ack_delay)
{
    /* RFC 9002 6.2.1. */
    return rtt->smoothed + weir_max_u64(4 * rtt->variance, granularity) + max_ack_delay;
}

weir_nsec weir_rtt_loss_delay(const struct weir_rtt *rtt, weir_nsec granularity)
{
    /* RFC 9002 6.1.2: kTimeThreshold is 9/8. */
    weir_nsec longer = weir_max_u64(rtt->smoothed, rtt->latest);
    return weir_max_u64(longer + longer / 8, granularity);
}

weir_nsec weir_rtt_rto(const struct weir_rtt *rtt, weir_nsec granularity, weir_nsec min_rto,
                       weir_nsec max_rto)
{
    /* RFC 6298 2.3, bounds 2.4 and 2.5. */
    weir_nsec rto = rtt->smoothed + weir_max_u64(granularity, 4 * rtt->variance);
    return weir_min_u64(weir_max_u64(rto, min_rto), max_rto);
}
