/* SPDX-License-Identifier: MIT */
/*
 * rtt.h - smoothed round-trip time, its variance and minimum, and the timeouts made from them.
 *
 * Spec: RFC 6298 section 2, RFC 9002 section 5. Integers only, nanoseconds.
 */
#ifndef WEIR_CORE_RTT_H
#define WEIR_CORE_RTT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/time.h"

struct weir_rtt {
    weir_nsec smoothed;
    weir_nsec variance;
    weir_nsec latest;
    weir_nsec min;
    bool has_sample;
};

/* Before the first sample smoothed is initial and variance initial / 2 (RFC 9002 6.2.2: 333 ms). */
void weir_rtt_init(struct weir_rtt *rtt, weir_nsec initial);
/* One sample. ack_delay: what the peer says it waited, already bounded by its announced maximum;
 * it is taken off only when the sample stays at or above min (RFC 9002 5.3). */
void weir_rtt_sample(struct weir_rtt *rtt, weir_nsec sample, weir_nsec ack_delay);
/* RFC 9002 6.2.1: smoothed + max(4 * variance, granularity) + max_ack_delay. */
weir_nsec weir_rtt_pto(const struct weir_rtt *rtt, weir_nsec granularity, weir_nsec max_ack_delay);
/* RFC 9002 6.1.2: max(9/8 * max(smoothed, latest), granularity). */
weir_nsec weir_rtt_loss_delay(const struct weir_rtt *rtt, weir_nsec granularity);
/* RFC 6298 2: smoothed + max(granularity, 4 * variance), within [min_rto, max_rto]. */
weir_nsec weir_rtt_rto(const struct weir_rtt *rtt, weir_nsec granularity, weir_nsec min_rto,
                       weir_nsec max_rto);

/* A running mean over the samples of many connections, as figures show it: each weighs 1/64, the
 * first is it. 0: there was none. */
static inline weir_nsec weir_rtt_mean(weir_nsec mean, weir_nsec sample)
{
    sample += sample == 0;
    if (mean == 0) {
        return sample;
    }
    return mean > sample ? mean - (mean - sample) / 64 : mean + (sample - mean) / 64;
}

#endif
