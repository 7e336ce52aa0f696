/* SPDX-License-Identifier: MIT */
/*
 * cc_newreno.c - NewReno: the window doubles, then grows by a packet a round trip; loss halves it.
 *
 * Spec: RFC 9002 section 7.3 and appendix B.
 */
#include "base/bytes.h"
#include "core/cc_internal.h"

enum {
    PACING_SLOW_START_PERCENT = 200,
    PACING_PERCENT = 125 /* RFC 9002 7.7: 1.25 keeps RTT variation from starving the window */
};

static bool is_slow_start(const struct weir_cc *cc)
{
    return cc->window_bytes < cc->ssthresh_bytes;
}

static void update_pacing(struct weir_cc *cc)
{
    weir_cc_pace_window(cc, is_slow_start(cc) ? PACING_SLOW_START_PERCENT : PACING_PERCENT);
}

static void init(struct weir_cc *cc, weir_nsec now)
{
    (void)now;
    cc->newreno.recovery_start = WEIR_NEVER;
}

/* RFC 9002 B.6: one cut per round trip; sent_time is of the newest packet lost or marked. Returns
 * whether the window was cut. */
static bool on_congestion(struct weir_cc *cc, weir_nsec now, weir_nsec sent_time)
{
    struct weir_cc_newreno *reno = &cc->newreno;
    if (weir_cc_in_recovery(reno->recovery_start, sent_time)) {
        return false;
    }
    reno->recovery_start = now;
    reno->is_recovering = true;
    reno->acked_bytes = 0;
    reno->undo_window = cc->window_bytes;
    reno->undo_ssthresh = cc->ssthresh_bytes;
    cc->episode_lost = 0;
    cc->ssthresh_bytes = weir_max_u64(cc->window_bytes / 2, weir_cc_window_min(cc));
    cc->window_bytes = cc->ssthresh_bytes;
    return true;
}

static void grow(struct weir_cc *cc, uint64_t acked_bytes)
{
    if (is_slow_start(cc)) {
        cc->window_bytes = weir_cc_window_cap(cc->window_bytes + acked_bytes);
        return;
    }
    /* RFC 9002 7.3.3: at most one packet for each window acknowledged (MUST), counted as RFC 3465
     * 2.1 does. */
    cc->newreno.acked_bytes += acked_bytes;
    if (cc->newreno.acked_bytes >= cc->window_bytes) {
        cc->newreno.acked_bytes -= cc->window_bytes;
        cc->window_bytes = weir_cc_window_cap(cc->window_bytes + cc->mss_bytes);
    }
}

static void on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack,
                   const struct weir_cc_sample *sample)
{
    (void)sample;
    struct weir_cc_newreno *reno = &cc->newreno;
    weir_nsec sent_time = ack->newest->sent_time;
    /* RFC 9002 7.1: a new CE mark is a congestion event like a loss. It cannot prove spurious. */
    if (ack->ce_count > 0 && on_congestion(cc, ack->now, sent_time)) {
        reno->undo_window = 0;
    }
    if (!weir_cc_in_recovery(reno->recovery_start, sent_time)) {
        reno->is_recovering = false;
        if (weir_cc_was_window_limited(cc)) {
            grow(cc, ack->acked_bytes);
        }
    }
    update_pacing(cc);
}

static void on_loss(struct weir_cc *cc, const struct weir_cc_loss *loss)
{
    (void)on_congestion(cc, loss->now, loss->newest->sent_time);
    if (loss->is_persistent) {
        /* RFC 9002 7.6.2: back to the minimum (MUST) and slow start. */
        cc->window_bytes = weir_cc_window_min(cc);
        cc->newreno.recovery_start = WEIR_NEVER;
        cc->newreno.is_recovering = false;
        cc->newreno.undo_window = 0;
    }
    update_pacing(cc);
}

static void on_spurious_loss(struct weir_cc *cc)
{
    struct weir_cc_newreno *reno = &cc->newreno;
    if (cc->window_bytes < reno->undo_window) {
        cc->window_bytes = reno->undo_window;
        cc->ssthresh_bytes = reno->undo_ssthresh;
        reno->recovery_start = WEIR_NEVER;
        reno->is_recovering = false;
        update_pacing(cc);
    }
    reno->undo_window = 0;
}

static const char *state_text(const struct weir_cc *cc)
{
    if (cc->newreno.is_recovering) {
        return "recovery";
    }
    return is_slow_start(cc) ? "slow_start" : "congestion_avoidance";
}

const struct weir_cc_ops weir_cc_newreno_ops = {
    .name = "newreno",
    .init = init,
    .on_ack = on_ack,
    .on_loss = on_loss,
    .on_spurious_loss = on_spurious_loss,
    .state_text = state_text,
};
