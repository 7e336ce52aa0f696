/* SPDX-License-Identifier: MIT */
/*
 * cc_bbr_control.c - from BBR's model to the rate and the window that the sender keeps to.
 *
 * Spec: draft-ietf-ccwg-bbr section 5.6.
 */
#include "base/bytes.h"
#include "core/cc_bbr.h"
#include "core/scale.h"

enum {
    STARTUP_GAIN_PERCENT = 277,
    PACING_MARGIN_PERCENT = 1,
    HEADROOM_PERCENT = 15
};

/* BBR draft 5.6.1. */
static const struct {
    uint16_t pacing_percent, window_percent;
    const char *text;
} states[WEIR_BBR_STATE_COUNT] = {
    [WEIR_BBR_STARTUP] = {STARTUP_GAIN_PERCENT, 200, "startup"},
    [WEIR_BBR_DRAIN] = {50, 200, "drain"},
    [WEIR_BBR_DOWN] = {90, 200, "probe_bw_down"},
    [WEIR_BBR_CRUISE] = {100, 200, "probe_bw_cruise"},
    [WEIR_BBR_REFILL] = {100, 200, "probe_bw_refill"},
    [WEIR_BBR_UP] = {125, 225, "probe_bw_up"},
    [WEIR_BBR_PROBE_RTT] = {100, 50, "probe_rtt"},
};

const char *weir_bbr_state_text(const struct weir_cc *cc)
{
    return states[cc->bbr.state].text;
}

static uint64_t min_pipe_window(const struct weir_cc *cc)
{
    return 4 * (uint64_t)cc->mss_bytes;
}

uint64_t weir_bbr_bdp(const struct weir_cc *cc, uint64_t bw, uint32_t gain_percent)
{
    if (cc->bbr.min_rtt == WEIR_BBR_INFINITE) {
        return weir_cc_window_initial(cc);
    }
    uint64_t bdp = weir_cc_window_cap(weir_scale(bw, cc->bbr.min_rtt, WEIR_SEC));
    return bdp * gain_percent / 100;
}

/* BBR draft 5.6.4.2, QuantizationBudget; the offload budget is one send quantum (5.5.8.2). */
uint64_t weir_bbr_quantize(const struct weir_cc *cc, uint64_t inflight)
{
    inflight = weir_max_u64(inflight, weir_cc_send_quantum(cc));
    inflight = weir_max_u64(inflight, min_pipe_window(cc));
    return cc->bbr.state == WEIR_BBR_UP ? inflight + 2 * (uint64_t)cc->mss_bytes : inflight;
}

/* BBR draft 5.3.3.6. */
uint64_t weir_bbr_inflight_with_headroom(const struct weir_cc *cc)
{
    uint64_t longterm = cc->bbr.inflight_longterm;
    if (longterm == WEIR_BBR_INFINITE) {
        return WEIR_BBR_INFINITE;
    }
    uint64_t headroom = weir_max_u64(cc->mss_bytes, weir_scale(longterm, HEADROOM_PERCENT, 100));
    return weir_max_u64(longterm - weir_min_u64(headroom, longterm), min_pipe_window(cc));
}

/* TargetInflight: the estimated BDP, unless congestion cut the window. */
uint64_t weir_bbr_target_inflight(const struct weir_cc *cc)
{
    return weir_min_u64(weir_bbr_bdp(cc, cc->bbr.bw, 100), cc->window_bytes);
}

uint64_t weir_bbr_probe_rtt_window(const struct weir_cc *cc)
{
    uint64_t half = weir_bbr_bdp(cc, cc->bbr.bw, states[WEIR_BBR_PROBE_RTT].window_percent);
    return weir_max_u64(half, min_pipe_window(cc));
}

/* SetPacingRateWithGain: BBR draft 5.6.2. Until the pipe was full once, only upwards. */
static void set_pacing_rate(struct weir_cc *cc, uint32_t gain_percent)
{
    uint64_t rate =
        weir_scale(cc->bbr.bw, (uint64_t)gain_percent * (100 - PACING_MARGIN_PERCENT), 10000);
    if (cc->bbr.is_full_bw_reached || rate > cc->pacing_rate) {
        /* 0 would mean unlimited. */
        cc->pacing_rate = weir_max_u64(rate, 1);
    }
}

void weir_bbr_init_pacing_rate(struct weir_cc *cc, weir_nsec rtt)
{
    cc->pacing_rate =
        weir_scale(weir_cc_window_initial(cc), STARTUP_GAIN_PERCENT * (WEIR_SEC / 100), rtt);
}

/* BoundCwndForModel: BBR draft 5.6.4.7. */
static uint64_t model_cap(const struct weir_cc *cc)
{
    const struct weir_cc_bbr *bbr = &cc->bbr;
    uint64_t cap = WEIR_BBR_INFINITE;
    if (bbr->state == WEIR_BBR_CRUISE || bbr->state == WEIR_BBR_PROBE_RTT) {
        cap = weir_bbr_inflight_with_headroom(cc);
    } else if (weir_bbr_is_probe_bw(bbr)) {
        cap = bbr->inflight_longterm;
    }
    cap = weir_min_u64(cap, bbr->inflight_shortterm);
    return weir_max_u64(cap, min_pipe_window(cc));
}

/* SetCwnd: BBR draft 5.6.4.6. */
static void set_window(struct weir_cc *cc, uint64_t acked_bytes)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    uint64_t extra_acked = weir_max_u64(bbr->extra_acked_filter[0], bbr->extra_acked_filter[1]);
    uint64_t bdp = weir_bbr_bdp(cc, bbr->bw, states[bbr->state].window_percent);
    bbr->max_inflight = weir_bbr_quantize(cc, bdp + extra_acked);
    uint64_t window = cc->window_bytes;
    if (bbr->is_full_bw_reached) {
        window = weir_min_u64(window + acked_bytes, bbr->max_inflight);
    } else if (window < bbr->max_inflight ||
               cc->rate.delivered_bytes < weir_cc_window_initial(cc)) {
        window += acked_bytes;
    }
    window = weir_max_u64(window, min_pipe_window(cc));
    if (bbr->state == WEIR_BBR_PROBE_RTT) {
        window = weir_min_u64(window, weir_bbr_probe_rtt_window(cc));
    }
    cc->window_bytes = weir_cc_window_cap(weir_min_u64(window, model_cap(cc)));
}

void weir_bbr_pace_at_bw(struct weir_cc *cc)
{
    set_pacing_rate(cc, 100);
}

void weir_bbr_update_control(struct weir_cc *cc, uint64_t acked_bytes)
{
    set_pacing_rate(cc, states[cc->bbr.state].pacing_percent);
    set_window(cc, acked_bytes);
}
