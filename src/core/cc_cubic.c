/* SPDX-License-Identifier: MIT */
/*
 * cc_cubic.c - the window of CUBIC: a cubic function of the time since the last cut, and HyStart++
 * to leave slow start before the bottleneck's queue is flooded.
 *
 * Spec: RFC 9438 (all of section 4), RFC 9406 sections 4.2 and 4.3. Windows are in bytes where the
 * RFC counts segments; 0.7, 0.4 and 9/17 are exact ratios here.
 */
#include "base/bytes.h"
#include "core/cc_internal.h"
#include "core/scale.h"

enum {
    PACING_SLOW_START_PERCENT = 200,
    PACING_PERCENT = 125, /* RFC 9002 7.7 */

    /* RFC 9406 4.3. */
    HYSTART_SAMPLES = 8,
    HYSTART_RTT_DIVISOR = 8,
    HYSTART_CSS_DIVISOR = 4,
    HYSTART_CSS_ROUNDS = 5,

    /* RFC 9438 4.3: alpha = 3 * (1 - 0.7) / (1 + 0.7) = 9 / 17. */
    ALPHA_NUMERATOR = 9,
    ALPHA_DIVISOR = 17
};

#define HYSTART_RTT_THRESHOLD_MIN (4 * WEIR_MSEC)
#define HYSTART_RTT_THRESHOLD_MAX (16 * WEIR_MSEC)

static bool is_slow_start(const struct weir_cc *cc)
{
    return cc->window_bytes < cc->ssthresh_bytes;
}

static void update_pacing(struct weir_cc *cc)
{
    /* Conservative slow start adds a quarter a round: it needs no double rate. */
    bool is_doubling = is_slow_start(cc) && cc->cubic.hystart.css_rounds == 0;
    weir_cc_pace_window(cc, is_doubling ? PACING_SLOW_START_PERCENT : PACING_PERCENT);
}

static void init(struct weir_cc *cc, weir_nsec now)
{
    (void)now;
    struct weir_cc_cubic *cubic = &cc->cubic;
    cubic->recovery_start = WEIR_NEVER;
    cubic->epoch_start = WEIR_NEVER;
    cubic->limited_since = WEIR_NEVER;
    cubic->hystart.last_round_min_rtt = WEIR_NEVER;
    cubic->hystart.round_min_rtt = WEIR_NEVER;
    cubic->hystart.group_min_rtt = WEIR_NEVER;
    cubic->hystart.baseline_min_rtt = WEIR_NEVER;
}

/* The cube root rounded down, digit by digit in binary: 22 steps, at the start of an epoch only. */
static uint64_t cube_root(uint64_t value)
{
    uint64_t root = 0;
    for (int shift = 63; shift >= 0; shift -= 3) {
        root <<= 1;
        uint64_t step = 3 * root * (root + 1) + 1;
        if ((value >> shift) >= step) {
            value -= step << shift;
            root++;
        }
    }
    return root;
}

uint64_t weir_cc_cubic_k_ms(uint64_t missing_bytes, uint32_t mss_bytes)
{
    /* RFC 9438 4.2: K = cbrt((W_max - cwnd_epoch) / C), C = 0.4 segments/s^3; here 10^9 ms^3 a
     * s^3, so 10^9 / 0.4. */
    return cube_root(weir_scale(missing_bytes, UINT64_C(2500000000), mss_bytes));
}

uint64_t weir_cc_cubic_window(uint64_t window_max_bytes, uint64_t k_ms, uint64_t t_ms,
                              uint32_t mss_bytes)
{
    /* RFC 9438 4.2: W_cubic(t) = C * (t - K)^3 + W_max. Distances beyond 1000 s are cut: the cube
     * stays in 64 bits and the window is at its cap long before. */
    const uint64_t distance_max = 1000000;
    uint64_t distance = weir_min_u64(t_ms > k_ms ? t_ms - k_ms : k_ms - t_ms, distance_max);
    uint64_t cube = distance * distance * distance;
    uint64_t change = weir_scale(cube, 2 * (uint64_t)mss_bytes, UINT64_C(5000000000));
    if (t_ms >= k_ms) {
        return weir_cc_window_cap(window_max_bytes + change);
    }
    return change < window_max_bytes ? window_max_bytes - change : 0;
}

static void start_epoch(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    cubic->epoch_start = now;
    cubic->estimate_bytes = cc->window_bytes;
    cubic->estimate_acked = 0;
    cubic->increase_acked = 0;
    if (cc->window_bytes < cubic->window_max_bytes) {
        cubic->k_ms = weir_cc_cubic_k_ms(cubic->window_max_bytes - cc->window_bytes, cc->mss_bytes);
        return;
    }
    /* RFC 9438 4.8 and 4.10: after a timeout, and after slow start without loss. */
    cubic->k_ms = 0;
    cubic->window_max_bytes = cc->window_bytes;
    cubic->window_prior_bytes = weir_max_u64(cubic->window_prior_bytes, cc->window_bytes);
}

/* RFC 9438 4.3: the window that Reno with the same average would have. */
static void grow_estimate(struct weir_cc *cc, uint64_t acked_bytes)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    /* alpha becomes 1 once the window before the cut is reached again (SHOULD). */
    bool is_past_prior = cubic->estimate_bytes >= cubic->window_prior_bytes;
    uint64_t weight = is_past_prior ? ALPHA_DIVISOR : ALPHA_NUMERATOR;
    cubic->estimate_acked += weir_min_u64(acked_bytes, cc->window_bytes) * weight;
    uint64_t divisor = cc->window_bytes * ALPHA_DIVISOR;
    /* Bytes, not packets: the remainder is in bytes acknowledged times ALPHA_DIVISOR. */
    uint64_t grown = weir_scale(cubic->estimate_acked, cc->mss_bytes, divisor);
    cubic->estimate_acked -=
        weir_min_u64(weir_scale_up(grown, divisor, cc->mss_bytes), cubic->estimate_acked);
    cubic->estimate_bytes = weir_cc_window_cap(cubic->estimate_bytes + grown);
}

static void grow_avoidance(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    if (cubic->epoch_start == WEIR_NEVER) {
        start_epoch(cc, ack->now);
    }
    grow_estimate(cc, ack->acked_bytes);
    weir_nsec elapsed = ack->now - cubic->epoch_start;
    uint64_t now_window = weir_cc_cubic_window(cubic->window_max_bytes, cubic->k_ms,
                                               elapsed / WEIR_MSEC, cc->mss_bytes);
    if (now_window < cubic->estimate_bytes) {
        /* RFC 9438 4.3: the Reno-friendly region (SHOULD). */
        cc->window_bytes = weir_max_u64(cc->window_bytes, cubic->estimate_bytes);
        return;
    }
    /* RFC 9438 4.4, 4.5: towards the window one RTT ahead, at most half as much again (MUST). */
    uint64_t target =
        weir_cc_cubic_window(cubic->window_max_bytes, cubic->k_ms,
                             (elapsed + ack->rtt->smoothed) / WEIR_MSEC, cc->mss_bytes);
    target = weir_min_u64(target, cc->window_bytes + cc->window_bytes / 2);
    if (target <= cc->window_bytes) {
        return;
    }
    uint64_t acked = weir_min_u64(ack->acked_bytes, cc->window_bytes);
    uint64_t missing = target - cc->window_bytes;
    uint64_t credit = cubic->increase_acked;
    unsigned __int128 product = (unsigned __int128)missing * acked + credit;
    uint64_t grown = product <= UINT64_MAX ? (uint64_t)product / cc->window_bytes
                                           : (uint64_t)(product / cc->window_bytes);
    cubic->increase_acked = (uint64_t)(product - (unsigned __int128)grown * cc->window_bytes);
    cc->window_bytes = weir_cc_window_cap(cc->window_bytes + grown);
}

static void hystart_start_round(struct weir_cc *cc)
{
    struct weir_cc_hystart *hystart = &cc->cubic.hystart;
    hystart->round_end_delivered = cc->rate.delivered_bytes;
    hystart->last_round_min_rtt = hystart->round_min_rtt;
    hystart->round_min_rtt = WEIR_NEVER;
    hystart->group_min_rtt = WEIR_NEVER;
    hystart->group_samples = 0;
    /* RFC 9406 4.2: five rounds of conservative slow start end it. */
    if (hystart->css_rounds > 0 && ++hystart->css_rounds > HYSTART_CSS_ROUNDS) {
        cc->ssthresh_bytes = cc->window_bytes;
    }
}

/* RFC 9406 4.2: a delay that grows from one round to the next says that the queue fills. The RFC
 * takes the minimum of a whole round, of which the first samples are always good: the queue of a
 * doubling window is full before the next round tells. So every 8 samples are judged by
 * themselves. */
static void hystart_on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_hystart *hystart = &cc->cubic.hystart;
    if (ack->newest->delivered_bytes >= hystart->round_end_delivered) {
        hystart_start_round(cc);
    }
    if (ack->rtt_sample == 0) {
        return;
    }
    hystart->round_min_rtt = weir_min_u64(hystart->round_min_rtt, ack->rtt_sample);
    hystart->group_min_rtt = weir_min_u64(hystart->group_min_rtt, ack->rtt_sample);
    if (++hystart->group_samples < HYSTART_SAMPLES) {
        return;
    }
    weir_nsec group_min_rtt = hystart->group_min_rtt;
    hystart->group_min_rtt = WEIR_NEVER;
    hystart->group_samples = 0;
    if (hystart->css_rounds > 0) {
        /* The delay went away: it was not a queue of our making. */
        if (group_min_rtt < hystart->baseline_min_rtt) {
            hystart->css_rounds = 0;
        }
    } else if (hystart->last_round_min_rtt != WEIR_NEVER) {
        weir_nsec threshold = hystart->last_round_min_rtt / HYSTART_RTT_DIVISOR;
        threshold = weir_max_u64(threshold, HYSTART_RTT_THRESHOLD_MIN);
        threshold = weir_min_u64(threshold, HYSTART_RTT_THRESHOLD_MAX);
        if (group_min_rtt >= hystart->last_round_min_rtt + threshold) {
            hystart->baseline_min_rtt = group_min_rtt;
            hystart->css_rounds = 1;
        }
    }
}

static void grow_slow_start(struct weir_cc *cc, uint64_t acked_bytes)
{
    struct weir_cc_hystart *hystart = &cc->cubic.hystart;
    uint64_t grown = acked_bytes;
    if (hystart->css_rounds > 0) {
        hystart->css_acked += acked_bytes;
        grown = hystart->css_acked / HYSTART_CSS_DIVISOR;
        hystart->css_acked %= HYSTART_CSS_DIVISOR;
    }
    cc->window_bytes = weir_cc_window_cap(cc->window_bytes + grown);
}

/* RFC 9438 4.2: time in which the window was not filled is no part of t (MUST NOT). */
static bool advance_clock(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    if (!weir_cc_was_window_limited(cc)) {
        if (cubic->limited_since == WEIR_NEVER) {
            cubic->limited_since = now;
        }
        return false;
    }
    if (cubic->limited_since != WEIR_NEVER) {
        if (cubic->epoch_start != WEIR_NEVER) {
            cubic->epoch_start += now - weir_max_u64(cubic->limited_since, cubic->epoch_start);
        }
        cubic->limited_since = WEIR_NEVER;
    }
    return true;
}

static void save_undo(struct weir_cc *cc)
{
    const struct weir_cc_cubic *cubic = &cc->cubic;
    cc->cubic.undo = (struct weir_cc_cubic_undo){
        .window_bytes = cc->window_bytes,
        .ssthresh_bytes = cc->ssthresh_bytes,
        .window_max_bytes = cubic->window_max_bytes,
        .window_prior_bytes = cubic->window_prior_bytes,
        .estimate_bytes = cubic->estimate_bytes,
        .k_ms = cubic->k_ms,
        .epoch_start = cubic->epoch_start,
    };
    cc->episode_lost = 0;
}

/* One cut per round trip (RFC 9002 B.6). Returns whether the window was cut. */
static bool on_congestion(struct weir_cc *cc, weir_nsec now, weir_nsec sent_time)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    if (weir_cc_in_recovery(cubic->recovery_start, sent_time)) {
        return false;
    }
    save_undo(cc);
    cubic->recovery_start = now;
    cubic->is_recovering = true;
    cubic->epoch_start = WEIR_NEVER;
    /* RFC 9438 4.7: fast convergence, (1 + 0.7) / 2 = 17 / 20. */
    uint64_t window = cc->window_bytes;
    cubic->window_max_bytes = window < cubic->window_max_bytes ? window / 20 * 17 : window;
    /* RFC 9438 4.6: to 0.7. The window stands for the flight size: it never grows unfilled. The
     * floor is 2 packets for CE marks too (RFC 9002 7.2), not 1. */
    cubic->window_prior_bytes = window;
    cc->ssthresh_bytes = weir_max_u64(window / 10 * 7, weir_cc_window_min(cc));
    cc->window_bytes = cc->ssthresh_bytes;
    cubic->hystart.css_rounds = 0;
    return true;
}

static void on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack,
                   const struct weir_cc_sample *sample)
{
    (void)sample;
    struct weir_cc_cubic *cubic = &cc->cubic;
    weir_nsec sent_time = ack->newest->sent_time;
    /* RFC 9002 7.1: a new CE mark is a congestion event like a loss. It cannot prove spurious. */
    if (ack->ce_count > 0 && on_congestion(cc, ack->now, sent_time)) {
        cubic->undo.window_bytes = 0;
    }
    bool is_limited = advance_clock(cc, ack->now);
    if (!weir_cc_in_recovery(cubic->recovery_start, sent_time)) {
        cubic->is_recovering = false;
        /* RFC 9406 4.2: only the first slow start, of which nobody knows the end. */
        if (cc->ssthresh_bytes == UINT64_MAX) {
            hystart_on_ack(cc, ack);
        }
        if (is_limited && is_slow_start(cc)) {
            grow_slow_start(cc, ack->acked_bytes);
        } else if (is_limited) {
            grow_avoidance(cc, ack);
        }
    }
    update_pacing(cc);
}

static void on_loss(struct weir_cc *cc, const struct weir_cc_loss *loss)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    (void)on_congestion(cc, loss->now, loss->newest->sent_time);
    if (loss->is_persistent) {
        /* RFC 9002 7.6.2: the minimum window (MUST); RFC 9438 4.8: then slow start to ssthresh
         * and an epoch with K = 0, which W_max = 0 leads to. */
        cc->window_bytes = weir_cc_window_min(cc);
        cubic->window_max_bytes = 0;
        cubic->recovery_start = WEIR_NEVER;
        cubic->epoch_start = WEIR_NEVER;
        cubic->is_recovering = false;
        cubic->undo.window_bytes = 0;
    }
    update_pacing(cc);
}

static void on_spurious_loss(struct weir_cc *cc)
{
    struct weir_cc_cubic *cubic = &cc->cubic;
    const struct weir_cc_cubic_undo undo = cubic->undo;
    cubic->undo.window_bytes = 0;
    /* RFC 9438 4.9.2: only while the window is below the one before the cut. */
    if (undo.window_bytes == 0 || cc->window_bytes >= cubic->window_prior_bytes) {
        return;
    }
    cc->window_bytes = undo.window_bytes;
    cc->ssthresh_bytes = undo.ssthresh_bytes;
    cubic->window_max_bytes = undo.window_max_bytes;
    cubic->window_prior_bytes = undo.window_prior_bytes;
    cubic->estimate_bytes = undo.estimate_bytes;
    cubic->k_ms = undo.k_ms;
    cubic->epoch_start = undo.epoch_start;
    cubic->recovery_start = WEIR_NEVER;
    cubic->is_recovering = false;
    update_pacing(cc);
}

static void on_idle_restart(struct weir_cc *cc, weir_nsec now)
{
    /* The time since the last ACK is not part of t (RFC 9438 4.2). */
    struct weir_cc_cubic *cubic = &cc->cubic;
    if (cubic->epoch_start != WEIR_NEVER && cubic->limited_since == WEIR_NEVER) {
        cubic->epoch_start += now - weir_max_u64(cc->rate.delivered_time, cubic->epoch_start);
    }
}

static const char *state_text(const struct weir_cc *cc)
{
    if (cc->cubic.is_recovering) {
        return "recovery";
    }
    if (!is_slow_start(cc)) {
        return "congestion_avoidance";
    }
    return cc->cubic.hystart.css_rounds > 0 ? "conservative_slow_start" : "slow_start";
}

const struct weir_cc_ops weir_cc_cubic_ops = {
    .name = "cubic",
    .init = init,
    .on_ack = on_ack,
    .on_loss = on_loss,
    .on_spurious_loss = on_spurious_loss,
    .on_idle_restart = on_idle_restart,
    .state_text = state_text,
};
