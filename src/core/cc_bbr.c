/* SPDX-License-Identifier: MIT */
/*
 * cc_bbr.c - BBR version 3: the state machine.
 *
 *   Startup --> Drain --> ProbeBW: DOWN --> CRUISE --> REFILL --> UP --+      ProbeRTT: from any
 *                                   ^----------------------------------+      state, every 5 s
 *
 * Spec: draft-ietf-ccwg-bbr, whose function names stand above ours. ECN: the draft leaves the
 * response to CE open but demands one (3.8): a mark counts as loss in its round trip, and as too
 * high a flight while probing for bandwidth or in Startup.
 */
#include "core/cc_bbr.h"
#include "base/bytes.h"
#include "core/scale.h"

enum {
    STARTUP_FULL_LOSS_COUNT = 6,
    DRAIN_ROUNDS_MAX = 3,
    RENO_ROUNDS_MAX = 63,
    PROBE_UP_ROUNDS_MAX = 30
};

#define PROBE_RTT_DURATION (200 * WEIR_MSEC)
#define PROBE_WAIT_MIN     (2 * WEIR_SEC)
#define PROBE_WAIT_RANDOM  (1 * WEIR_SEC)

static void enter_startup(struct weir_cc *cc)
{
    cc->bbr.state = WEIR_BBR_STARTUP;
}

static void start_down(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    weir_bbr_reset_congestion_signals(bbr);
    bbr->probe_up_acked_per_inc = WEIR_BBR_INFINITE;
    /* PickProbeWait: random, so that flows do not probe in step. */
    bbr->rounds_since_probe_up = (uint32_t)weir_prng_below(&cc->prng, 2);
    bbr->bw_probe_wait = PROBE_WAIT_MIN + weir_prng_below(&cc->prng, PROBE_WAIT_RANDOM);
    bbr->cycle_stamp = now;
    bbr->ack_phase = WEIR_BBR_ACKS_STOPPING;
    weir_bbr_start_round(cc);
    bbr->state = WEIR_BBR_DOWN;
}

static void start_refill(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    weir_bbr_reset_short_term(bbr);
    bbr->bw_probe_up_rounds = 0;
    bbr->bw_probe_up_acked = 0;
    bbr->is_prev_probe_precautionary = false;
    bbr->ack_phase = WEIR_BBR_ACKS_REFILLING;
    weir_bbr_start_round(cc);
    bbr->state = WEIR_BBR_REFILL;
}

static void raise_longterm_slope(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    uint64_t growth = UINT64_C(1) << bbr->bw_probe_up_rounds;
    if (bbr->bw_probe_up_rounds < PROBE_UP_ROUNDS_MAX) {
        bbr->bw_probe_up_rounds++;
    }
    bbr->probe_up_acked_per_inc = weir_max_u64(cc->window_bytes / growth, cc->mss_bytes);
}

static void start_up(struct weir_cc *cc, uint64_t rate)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bbr->ack_phase = WEIR_BBR_ACKS_STARTING;
    weir_bbr_start_round(cc);
    weir_bbr_reset_full_bw(bbr, rate);
    bbr->state = WEIR_BBR_UP;
    raise_longterm_slope(cc);
}

/* CheckStartupHighLoss: BBR draft 5.3.1.3. A loss round ends one round trip after its first loss,
 * so the flow was in recovery for that long. */
static void check_startup_loss(struct weir_cc *cc, const struct weir_cc_ack *ack,
                               const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->is_full_bw_reached || !bbr->is_loss_round_start) {
        return;
    }
    bool is_loss_high =
        bbr->loss_events_in_round >= STARTUP_FULL_LOSS_COUNT && bbr->is_recovering &&
        weir_bbr_is_inflight_too_high(cc, sample->lost_bytes, ack->newest->in_flight_bytes) &&
        !weir_bbr_looks_random(cc, sample);
    if (is_loss_high || bbr->is_ce_in_round) {
        bbr->undo_state = WEIR_BBR_STARTUP;
        bbr->is_full_bw_reached = true;
        bbr->inflight_longterm =
            weir_max_u64(weir_bbr_bdp(cc, weir_bbr_max_bw(bbr), 100), bbr->inflight_latest);
    }
}

static void check_startup_and_drain(struct weir_cc *cc, const struct weir_cc_ack *ack,
                                    const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    check_startup_loss(cc, ack, sample);
    if (bbr->is_loss_round_start) {
        bbr->loss_events_in_round = 0;
        bbr->is_ce_in_round = false;
    }
    if (bbr->state == WEIR_BBR_STARTUP && bbr->is_full_bw_reached) {
        bbr->state = WEIR_BBR_DRAIN;
        bbr->drain_start_round = bbr->round_count;
    }
    if (bbr->state == WEIR_BBR_DRAIN &&
        (ack->in_flight_bytes <= weir_bbr_quantize(cc, weir_bbr_bdp(cc, bbr->bw, 100)) ||
         bbr->round_count > bbr->drain_start_round + DRAIN_ROUNDS_MAX)) {
        start_down(cc, ack->now);
    }
}

/* ProbeInflightLongtermUpward: by 1, 2, 4 ... packets a round trip, spread over it. */
static void probe_longterm_upward(struct weir_cc *cc, uint64_t acked_bytes)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (!weir_cc_was_window_limited(cc) || cc->window_bytes < bbr->inflight_longterm) {
        return;
    }
    bbr->bw_probe_up_acked += acked_bytes;
    if (bbr->bw_probe_up_acked >= bbr->probe_up_acked_per_inc) {
        uint64_t delta = bbr->bw_probe_up_acked / bbr->probe_up_acked_per_inc;
        bbr->bw_probe_up_acked -= delta * bbr->probe_up_acked_per_inc;
        bbr->inflight_longterm = weir_cc_window_cap(bbr->inflight_longterm + delta * cc->mss_bytes);
    }
    if (bbr->is_round_start) {
        raise_longterm_slope(cc);
    }
}

/* AdaptLongTermModel: BBR draft 5.3.3.6. Returns whether it decided a transition. */
static bool adapt_long_term(struct weir_cc *cc, const struct weir_cc_ack *ack,
                            const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    const struct weir_cc_packet *newest = ack->newest;
    if (bbr->ack_phase == WEIR_BBR_ACKS_STARTING && bbr->is_round_start) {
        bbr->ack_phase = WEIR_BBR_ACKS_FEEDBACK;
    }
    if (bbr->ack_phase == WEIR_BBR_ACKS_STOPPING && bbr->is_round_start) {
        bbr->is_bw_probe_sample = false;
        bbr->ack_phase = WEIR_BBR_ACKS_INIT;
        if (weir_bbr_is_probe_bw(bbr) && !newest->is_app_limited && bbr->max_bw_filter[1] > 0) {
            /* AdvanceMaxBwFilter: the probing cycle is the filter's clock. A cycle without any
             * sample does not count, so that the estimate cannot fall to 0. */
            bbr->max_bw_filter[0] = bbr->max_bw_filter[1];
            bbr->max_bw_filter[1] = 0;
        }
        if (weir_bbr_is_probe_bw(bbr) && bbr->is_prev_probe_precautionary &&
            !bbr->is_prev_probe_too_high) {
            start_refill(cc);
            return true;
        }
    }
    if (weir_bbr_is_inflight_too_high(cc, sample->lost_bytes, newest->in_flight_bytes) ||
        bbr->inflight_longterm == WEIR_BBR_INFINITE) {
        return false;
    }
    bbr->inflight_longterm = weir_max_u64(bbr->inflight_longterm, newest->in_flight_bytes);
    if (bbr->state == WEIR_BBR_UP) {
        probe_longterm_upward(cc, ack->acked_bytes);
    }
    return false;
}

static bool is_time_to_probe(const struct weir_cc *cc, weir_nsec now)
{
    const struct weir_cc_bbr *bbr = &cc->bbr;
    uint64_t reno_rounds = weir_bbr_target_inflight(cc) / cc->mss_bytes;
    return now > bbr->cycle_stamp + bbr->bw_probe_wait ||
           bbr->rounds_since_probe_up >= weir_min_u64(reno_rounds, RENO_ROUNDS_MAX);
}

static bool is_time_to_cruise(const struct weir_cc *cc, uint64_t in_flight_bytes)
{
    return in_flight_bytes <= weir_bbr_inflight_with_headroom(cc) &&
           in_flight_bytes <=
               weir_bbr_quantize(cc, weir_bbr_bdp(cc, weir_bbr_max_bw(&cc->bbr), 100));
}

static bool is_time_to_go_down(struct weir_cc *cc, uint64_t in_flight_bytes, uint64_t rate)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->is_prev_probe_too_high && in_flight_bytes >= bbr->inflight_longterm) {
        bbr->is_prev_probe_precautionary = true;
        return true;
    }
    if (weir_cc_was_window_limited(cc) && cc->window_bytes >= bbr->inflight_longterm) {
        /* The window holds the flow back, not the path: no plateau can be seen. */
        weir_bbr_reset_full_bw(bbr, rate);
        return false;
    }
    return bbr->is_full_bw_now;
}

static void update_probe_bw(struct weir_cc *cc, const struct weir_cc_ack *ack,
                            const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (!bbr->is_full_bw_reached || adapt_long_term(cc, ack, sample)) {
        return;
    }
    switch (bbr->state) {
    case WEIR_BBR_DOWN:
    case WEIR_BBR_CRUISE:
        if (is_time_to_probe(cc, ack->now)) {
            start_refill(cc);
        } else if (bbr->state == WEIR_BBR_DOWN && is_time_to_cruise(cc, ack->in_flight_bytes)) {
            bbr->state = WEIR_BBR_CRUISE;
        }
        break;
    case WEIR_BBR_REFILL:
        if (bbr->is_round_start) {
            bbr->is_bw_probe_sample = true;
            start_up(cc, sample->rate);
        }
        break;
    case WEIR_BBR_UP:
        if (is_time_to_go_down(cc, ack->in_flight_bytes, sample->rate)) {
            bbr->is_prev_probe_too_high = false;
            start_down(cc, ack->now);
        }
        break;
    default:
        break;
    }
}

/* CheckProbeRTTDone and ExitProbeRTT: BBR draft 5.3.4.3, 5.3.4.4. */
static void check_probe_rtt_done(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->probe_rtt_done_stamp == WEIR_NEVER || now <= bbr->probe_rtt_done_stamp) {
        return;
    }
    bbr->probe_rtt_min_stamp = now;
    weir_bbr_restore_window(cc);
    weir_bbr_reset_short_term(bbr);
    if (bbr->is_full_bw_reached) {
        start_down(cc, now);
        bbr->state = WEIR_BBR_CRUISE;
    } else {
        enter_startup(cc);
    }
}

static void hold_probe_rtt(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    /* The low rates of this state say nothing about the path. */
    cc->rate.app_limited_until = weir_max_u64(cc->rate.delivered_bytes + ack->in_flight_bytes, 1);
    if (bbr->probe_rtt_done_stamp == WEIR_NEVER) {
        if (ack->in_flight_bytes <= weir_bbr_probe_rtt_window(cc)) {
            bbr->probe_rtt_done_stamp = ack->now + PROBE_RTT_DURATION;
            bbr->is_probe_rtt_round_done = false;
            weir_bbr_start_round(cc);
        }
        return;
    }
    if (bbr->is_round_start) {
        bbr->is_probe_rtt_round_done = true;
    }
    if (bbr->is_probe_rtt_round_done) {
        check_probe_rtt_done(cc, ack->now);
    }
}

static void check_probe_rtt(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->state != WEIR_BBR_PROBE_RTT && bbr->is_probe_rtt_expired && !bbr->is_idle_restart) {
        weir_bbr_save_window(cc);
        bbr->state = WEIR_BBR_PROBE_RTT;
        bbr->probe_rtt_done_stamp = WEIR_NEVER;
        bbr->ack_phase = WEIR_BBR_ACKS_STOPPING;
        weir_bbr_start_round(cc);
    }
    if (bbr->state == WEIR_BBR_PROBE_RTT) {
        hold_probe_rtt(cc, ack);
    }
    bbr->is_idle_restart = false;
}

/* HandleInflightTooHigh: BBR draft 5.5.10.2. */
static void on_inflight_too_high(struct weir_cc *cc, weir_nsec now, uint64_t in_flight_bytes,
                                 bool is_app_limited)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bbr->is_prev_probe_too_high = true;
    bbr->is_bw_probe_sample = false;
    if (!is_app_limited) {
        uint64_t floor = weir_scale(weir_bbr_target_inflight(cc), WEIR_BBR_BETA_PERCENT, 100);
        bbr->inflight_longterm = weir_max_u64(in_flight_bytes, floor);
    }
    if (bbr->state == WEIR_BBR_UP) {
        bbr->undo_state = WEIR_BBR_UP;
        start_down(cc, now);
    }
}

static void on_ce(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    weir_bbr_note_loss(cc);
    bbr->is_ce_in_round = true;
    if (bbr->is_bw_probe_sample) {
        on_inflight_too_high(cc, ack->now, ack->newest->in_flight_bytes,
                             ack->newest->is_app_limited);
    }
}

static void init(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bbr->undo_state = WEIR_BBR_STATE_COUNT;
    bbr->min_rtt = WEIR_BBR_INFINITE;
    bbr->min_rtt_stamp = now;
    bbr->probe_rtt_min_delay = WEIR_BBR_INFINITE;
    bbr->probe_rtt_min_stamp = now;
    bbr->probe_rtt_done_stamp = WEIR_NEVER;
    bbr->recovery_start = WEIR_NEVER;
    bbr->extra_acked_interval_start = now;
    bbr->inflight_longterm = WEIR_BBR_INFINITE;
    bbr->probe_up_acked_per_inc = WEIR_BBR_INFINITE;
    weir_bbr_reset_short_term(bbr);
    enter_startup(cc);
    /* BBR draft 5.6.2: as if the round trip were a millisecond. */
    weir_bbr_init_pacing_rate(cc, WEIR_MSEC);
}

static void update_recovery(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    /* BBR draft 5.6.4.4: leaving recovery brings back the window from before it. */
    if (bbr->is_recovering && !weir_cc_in_recovery(bbr->recovery_start, ack->newest->sent_time)) {
        bbr->is_recovering = false;
        weir_bbr_restore_window(cc);
    }
    if (!bbr->has_rtt && ack->rtt->has_sample && ack->rtt->smoothed > 0) {
        bbr->has_rtt = true;
        weir_bbr_init_pacing_rate(cc, ack->rtt->smoothed);
    }
}

/* UpdateOnACK: BBR draft 5.2.3. */
static void on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack,
                   const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (ack->ce_count > 0) {
        on_ce(cc, ack);
    }
    weir_bbr_update_delivery_signals(cc, ack, sample);
    weir_bbr_update_congestion_signals(cc, ack, sample);
    weir_bbr_update_ack_aggregation(cc, ack);
    weir_bbr_check_full_bw(bbr, ack, sample);
    check_startup_and_drain(cc, ack, sample);
    update_recovery(cc, ack);
    update_probe_bw(cc, ack, sample);
    weir_bbr_update_min_rtt(bbr, ack);
    check_probe_rtt(cc, ack);
    weir_bbr_advance_delivery_signals(bbr, sample);
    bbr->bw = weir_min_u64(weir_bbr_max_bw(bbr), bbr->bw_shortterm);
    weir_bbr_update_control(cc, ack->acked_bytes);
}

/* HandleLostPacket: BBR draft 5.5.10.2. */
static void on_loss(struct weir_cc *cc, const struct weir_cc_loss *loss)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    const struct weir_cc_packet *newest = loss->newest;
    weir_bbr_note_loss(cc);
    if (bbr->loss_events_in_round < UINT8_MAX) {
        bbr->loss_events_in_round++;
    }
    if (!bbr->is_recovering) {
        bbr->is_recovering = true;
        bbr->recovery_start = loss->now;
    }
    uint64_t lost = cc->rate.lost_bytes - newest->lost_bytes;
    if (bbr->is_bw_probe_sample &&
        weir_bbr_is_inflight_too_high(cc, lost, newest->in_flight_bytes)) {
        on_inflight_too_high(cc, loss->now, weir_bbr_inflight_at_loss(cc, loss),
                             newest->is_app_limited);
    }
    if (loss->is_persistent) {
        /* BBR draft 5.6.4.4, OnEnterRTO. */
        weir_bbr_save_window(cc);
        cc->window_bytes =
            weir_max_u64(loss->in_flight_bytes + cc->mss_bytes, weir_cc_window_min(cc));
    }
}

/* HandleSpuriousLossDetection: BBR draft 5.5.11.2. */
static void on_spurious_loss(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    weir_bbr_restore_window(cc);
    bbr->is_loss_in_round = false;
    weir_bbr_reset_full_bw(bbr, 0);
    bbr->bw_shortterm = weir_max_u64(bbr->bw_shortterm, bbr->undo_bw_shortterm);
    bbr->inflight_shortterm = weir_max_u64(bbr->inflight_shortterm, bbr->undo_inflight_shortterm);
    bbr->inflight_longterm = weir_max_u64(bbr->inflight_longterm, bbr->undo_inflight_longterm);
    if (bbr->undo_state == WEIR_BBR_STARTUP && bbr->state != WEIR_BBR_STARTUP) {
        bbr->is_full_bw_reached = false;
        if (bbr->state != WEIR_BBR_PROBE_RTT) {
            enter_startup(cc);
        }
    } else if (bbr->undo_state == WEIR_BBR_UP && bbr->state != WEIR_BBR_UP &&
               bbr->state != WEIR_BBR_PROBE_RTT) {
        start_refill(cc);
    }
    bbr->undo_state = WEIR_BBR_STATE_COUNT;
}

/* HandleRestartFromIdle: BBR draft 5.4.1. */
static void on_idle_restart(struct weir_cc *cc, weir_nsec now)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (cc->rate.app_limited_until == 0) {
        return;
    }
    bbr->is_idle_restart = true;
    bbr->extra_acked_interval_start = now;
    if (weir_bbr_is_probe_bw(bbr)) {
        weir_bbr_pace_at_bw(cc);
    } else if (bbr->state == WEIR_BBR_PROBE_RTT) {
        check_probe_rtt_done(cc, now);
    }
}

const struct weir_cc_ops weir_cc_bbr_ops = {
    .name = "bbr",
    .init = init,
    .on_ack = on_ack,
    .on_loss = on_loss,
    .on_spurious_loss = on_spurious_loss,
    .on_idle_restart = on_idle_restart,
    .state_text = weir_bbr_state_text,
};
