/* SPDX-License-Identifier: MIT */
/*
 * cc_internal.h - what cc.c and the controllers share.
 */
#ifndef WEIR_CORE_CC_INTERNAL_H
#define WEIR_CORE_CC_INTERNAL_H

#include "core/cc.h"

/* One delivery-rate sample (BBR draft 4.1.2.3), made by cc.c for every ACK. */
struct weir_cc_sample {
    uint64_t delivered_bytes; /* between the sending of ack->newest and now */
    uint64_t rate;            /* bytes/s, 0: not reliable */
    uint64_t lost_bytes;      /* in the same time */
};

/* RFC 9002 7.2: the floor of every window. */
static inline uint64_t weir_cc_window_min(const struct weir_cc *cc)
{
    return 2 * (uint64_t)cc->mss_bytes;
}

uint64_t weir_cc_window_initial(const struct weir_cc *cc);

/* No path needs more (100 Gbit/s for 5 s); keeps products of windows in range. */
enum {
    WEIR_CC_WINDOW_SHIFT_MAX = 36
};

static inline uint64_t weir_cc_window_cap(uint64_t window_bytes)
{
    const uint64_t max = UINT64_C(1) << WEIR_CC_WINDOW_SHIFT_MAX;
    return window_bytes < max ? window_bytes : max;
}

/* Whether what is acknowledged now left while the window was (nearly) filled. */
static inline bool weir_cc_was_window_limited(const struct weir_cc *cc)
{
    return cc->rate.delivered_bytes <= cc->rate.window_limited_until;
}

/* RFC 9002 B.5: sent at or before the start of the recovery period. WEIR_NEVER: there was none. */
static inline bool weir_cc_in_recovery(weir_nsec recovery_start, weir_nsec sent_time)
{
    return recovery_start != WEIR_NEVER && sent_time <= recovery_start;
}

/* Pacing of the window-based controllers: percent * window / smoothed_rtt. */
void weir_cc_pace_window(struct weir_cc *cc, uint32_t percent);

/* One controller. NULL: nothing to do. */
struct weir_cc_ops {
    const char *name;
    void (*init)(struct weir_cc *cc, weir_nsec now);
    void (*on_ack)(struct weir_cc *cc, const struct weir_cc_ack *ack,
                   const struct weir_cc_sample *sample);
    void (*on_loss)(struct weir_cc *cc, const struct weir_cc_loss *loss);
    /* Every packet lost since the last cut proved to be only late. */
    void (*on_spurious_loss)(struct weir_cc *cc);
    void (*on_idle_restart)(struct weir_cc *cc, weir_nsec now);
    const char *(*state_text)(const struct weir_cc *cc);
};

extern const struct weir_cc_ops weir_cc_newreno_ops, weir_cc_cubic_ops, weir_cc_bbr_ops;

/* RFC 9438 4.2: K in ms, and the window t_ms after the epoch began. */
uint64_t weir_cc_cubic_k_ms(uint64_t missing_bytes, uint32_t mss_bytes);
uint64_t weir_cc_cubic_window(uint64_t window_max_bytes, uint64_t k_ms, uint64_t t_ms,
                              uint32_t mss_bytes);

#endif
