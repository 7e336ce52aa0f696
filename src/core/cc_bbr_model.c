/* SPDX-License-Identifier: MIT */
/*
 * cc_bbr_model.c - what BBR believes about the path: bandwidth, round trip, aggregation, loss.
 *
 * Spec: draft-ietf-ccwg-bbr sections 5.3.1, 5.3.4 and 5.5.
 */
#include "base/bytes.h"
#include "core/cc_bbr.h"
#include "core/scale.h"

enum {
    FULL_BW_ROUNDS = 3,
    FULL_BW_GROWTH_PERCENT = 125,
    EXTRA_ACKED_ROUNDS = 10,
    NOISE_EVIDENCE_PKTS = 50,
    NOISE_MEMORY_PKTS = 4000,
    NOISE_RTT_DIVISOR = 8,
    NOISE_SPREAD_PKTS = 6,
    MIN_RTT_SPREAD_DIVISOR = 64,
    MILLION = 1000000
};

#define MIN_RTT_FILTER_LEN (10 * WEIR_SEC)
#define PROBE_RTT_INTERVAL (5 * WEIR_SEC)
#define NOISE_RTT_MIN      (4 * WEIR_MSEC)

void weir_bbr_reset_congestion_signals(struct weir_cc_bbr *bbr)
{
    bbr->is_loss_in_round = false;
    bbr->is_ce_in_round = false;
    bbr->bw_latest = 0;
    bbr->inflight_latest = 0;
}

void weir_bbr_reset_short_term(struct weir_cc_bbr *bbr)
{
    bbr->bw_shortterm = WEIR_BBR_INFINITE;
    bbr->inflight_shortterm = WEIR_BBR_INFINITE;
}

void weir_bbr_reset_full_bw(struct weir_cc_bbr *bbr, uint64_t baseline)
{
    bbr->full_bw = baseline;
    bbr->full_bw_count = 0;
    bbr->is_full_bw_now = false;
}

void weir_bbr_start_round(struct weir_cc *cc)
{
    cc->bbr.next_round_delivered = cc->rate.delivered_bytes;
}

/* BBR draft 5.6.4.4: the last window that neither recovery nor ProbeRTT had cut. */
void weir_bbr_save_window(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (!bbr->is_recovering && bbr->state != WEIR_BBR_PROBE_RTT) {
        bbr->prior_window = cc->window_bytes;
    } else {
        bbr->prior_window = weir_max_u64(bbr->prior_window, cc->window_bytes);
    }
}

void weir_bbr_restore_window(struct weir_cc *cc)
{
    cc->window_bytes = weir_max_u64(cc->window_bytes, cc->bbr.prior_window);
}

/* BBR draft 5.5.10.3. */
void weir_bbr_update_delivery_signals(struct weir_cc *cc, const struct weir_cc_ack *ack,
                                      const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bbr->is_loss_round_start = false;
    bbr->bw_latest = weir_max_u64(bbr->bw_latest, sample->rate);
    bbr->inflight_latest = weir_max_u64(bbr->inflight_latest, sample->delivered_bytes);
    if (ack->newest->delivered_bytes >= bbr->loss_round_delivered) {
        bbr->loss_round_delivered = cc->rate.delivered_bytes;
        bbr->is_loss_round_start = true;
    }
}

void weir_bbr_advance_delivery_signals(struct weir_cc_bbr *bbr, const struct weir_cc_sample *sample)
{
    if (bbr->is_loss_round_start) {
        bbr->bw_latest = sample->rate;
        bbr->inflight_latest = sample->delivered_bytes;
    }
}

/* BBR draft 5.5.1 and 5.5.5. */
static void update_max_bw(struct weir_cc *cc, const struct weir_cc_ack *ack,
                          const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bbr->is_round_start = ack->newest->delivered_bytes >= bbr->next_round_delivered;
    if (bbr->is_round_start) {
        weir_bbr_start_round(cc);
        bbr->round_count++;
        bbr->rounds_since_probe_up++;
    }
    /* Samples that the application held down count only when they raise the estimate. */
    if (sample->rate >= weir_bbr_max_bw(bbr) || !ack->newest->is_app_limited) {
        bbr->max_bw_filter[1] = weir_max_u64(bbr->max_bw_filter[1], sample->rate);
    }
}

/*
 * Random loss, which the draft does not know: it answers every round with loss by sending that much
 * less, and every probe over 2 % by giving up, so that a path that loses 5 % for reasons of its own
 * ends at a few percent of its rate. A full queue shows in the RTT. So the loss of rounds in which
 * no sample was above min_rtt by more than an eighth (or 4 ms), and in which the flow did not probe
 * with a rate that stopped growing, is the path's noise; twice that rate is no sign of congestion.
 * Rounds that lose more than WEIR_BBR_NOISE_MAX_PPM teach nothing: a policer or a very short
 * queue is not noise.
 */
static bool is_round_quiet(const struct weir_cc_bbr *bbr)
{
    return bbr->round_max_rtt <=
           bbr->min_rtt + weir_max_u64(bbr->min_rtt / NOISE_RTT_DIVISOR, NOISE_RTT_MIN);
}

/* Few packets scatter widely around their mean: up to 6 more lost than the rate has it are let
 * pass, as far as they are no more than a sixteenth: of the thousands of rounds of a transfer none
 * is to stand out. Nothing is within a rate of 0. */
static bool is_within(const struct weir_cc *cc, const struct weir_cc_sample *sample, uint64_t ppm)
{
    uint64_t total = sample->delivered_bytes + sample->lost_bytes;
    uint64_t spread = weir_min_u64(NOISE_SPREAD_PKTS * (uint64_t)cc->mss_bytes, total / 16);
    return ppm > 0 && sample->lost_bytes <= weir_scale(total, ppm, MILLION) + spread;
}

bool weir_bbr_looks_random(const struct weir_cc *cc, const struct weir_cc_sample *sample)
{
    return cc->bbr.is_last_round_quiet && is_round_quiet(&cc->bbr) &&
           is_within(cc, sample, WEIR_BBR_NOISE_STARTUP_PPM);
}

static void learn_noise(struct weir_cc *cc, const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    bool is_quiet = bbr->round_max_rtt > 0 && is_round_quiet(bbr);
    bbr->is_last_round_quiet = is_quiet;
    bool is_calm = bbr->state == WEIR_BBR_DOWN || bbr->state == WEIR_BBR_CRUISE ||
                   (bbr->state == WEIR_BBR_STARTUP && bbr->full_bw_count == 0);
    bbr->round_max_rtt = 0;
    if (!is_quiet || !is_calm || !is_within(cc, sample, WEIR_BBR_NOISE_MAX_PPM)) {
        return;
    }
    bbr->noise_delivered += sample->delivered_bytes;
    bbr->noise_lost += sample->lost_bytes;
    if (bbr->noise_delivered > NOISE_MEMORY_PKTS * (uint64_t)cc->mss_bytes) {
        bbr->noise_delivered /= 2;
        bbr->noise_lost /= 2;
    }
}

/* Loss rate that is not yet a sign of congestion, in millionths. */
static uint64_t tolerated_ppm(const struct weir_cc *cc)
{
    const struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->noise_delivered < NOISE_EVIDENCE_PKTS * (uint64_t)cc->mss_bytes) {
        return 0;
    }
    return 2 * weir_scale(bbr->noise_lost, MILLION, bbr->noise_delivered);
}

/* Whether a round's loss is what the path's noise explains. */
static bool is_noise(const struct weir_cc *cc, const struct weir_cc_sample *sample)
{
    return !cc->bbr.is_ce_in_round && is_within(cc, sample, tolerated_ppm(cc));
}

/* BBR draft 5.5.10.3, LossLowerBounds: gradually down to what was delivered in the last round. */
static void lower_short_term(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->bw_shortterm == WEIR_BBR_INFINITE) {
        bbr->bw_shortterm = weir_bbr_max_bw(bbr);
    }
    if (bbr->inflight_shortterm == WEIR_BBR_INFINITE) {
        bbr->inflight_shortterm = cc->window_bytes;
    }
    bbr->bw_shortterm =
        weir_max_u64(bbr->bw_latest, weir_scale(bbr->bw_shortterm, WEIR_BBR_BETA_PERCENT, 100));
    bbr->inflight_shortterm = weir_max_u64(
        bbr->inflight_latest, weir_scale(bbr->inflight_shortterm, WEIR_BBR_BETA_PERCENT, 100));
}

void weir_bbr_update_congestion_signals(struct weir_cc *cc, const struct weir_cc_ack *ack,
                                        const struct weir_cc_sample *sample)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    update_max_bw(cc, ack, sample);
    bbr->round_max_rtt = weir_max_u64(bbr->round_max_rtt, ack->rtt_sample);
    if (bbr->is_round_start) {
        learn_noise(cc, sample);
    }
    if (!bbr->is_loss_round_start) {
        return;
    }
    bool is_probing = bbr->state == WEIR_BBR_STARTUP || bbr->state == WEIR_BBR_REFILL ||
                      bbr->state == WEIR_BBR_UP;
    if (bbr->is_loss_in_round && !is_probing && !is_noise(cc, sample)) {
        lower_short_term(cc);
    }
    bbr->is_loss_in_round = false;
}

/* BBR draft 5.5.9. The windowed maximum is two slots of half the window each (one in Startup). */
void weir_bbr_update_ack_aggregation(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    weir_nsec interval = ack->now - bbr->extra_acked_interval_start;
    uint64_t expected = weir_scale(bbr->bw, interval, WEIR_SEC);
    if (bbr->extra_acked_delivered <= expected) {
        bbr->extra_acked_delivered = 0;
        bbr->extra_acked_interval_start = ack->now;
        expected = 0;
    }
    bbr->extra_acked_delivered += ack->acked_bytes;
    uint64_t extra = weir_min_u64(bbr->extra_acked_delivered - expected, cc->window_bytes);
    if (bbr->is_round_start) {
        uint32_t slot_rounds = bbr->is_full_bw_reached ? EXTRA_ACKED_ROUNDS / 2 : 1;
        if (++bbr->extra_acked_rounds >= slot_rounds) {
            bbr->extra_acked_rounds = 0;
            bbr->extra_acked_filter[0] = bbr->is_full_bw_reached ? bbr->extra_acked_filter[1] : 0;
            bbr->extra_acked_filter[1] = 0;
        }
    }
    bbr->extra_acked_filter[1] = weir_max_u64(bbr->extra_acked_filter[1], extra);
}

/* BBR draft 5.3.1.2: three rounds without a quarter more say that the pipe is full. */
void weir_bbr_check_full_bw(struct weir_cc_bbr *bbr, const struct weir_cc_ack *ack,
                            const struct weir_cc_sample *sample)
{
    if (bbr->is_full_bw_now || !bbr->is_round_start || ack->newest->is_app_limited) {
        return;
    }
    if (sample->rate >= weir_scale(bbr->full_bw, FULL_BW_GROWTH_PERCENT, 100)) {
        weir_bbr_reset_full_bw(bbr, sample->rate);
        return;
    }
    if (++bbr->full_bw_count >= FULL_BW_ROUNDS) {
        bbr->is_full_bw_now = true;
        bbr->is_full_bw_reached = true;
    }
}

/* BBR draft 5.3.4.3. */
void weir_bbr_update_min_rtt(struct weir_cc_bbr *bbr, const struct weir_cc_ack *ack)
{
    /* The draft's clock starts with the connection; ours with the first sample, so that a
     * connection that was opened long before its first byte does not begin with a ProbeRTT. */
    bbr->is_probe_rtt_expired = bbr->probe_rtt_min_delay != WEIR_BBR_INFINITE &&
                                ack->now > bbr->probe_rtt_min_stamp + PROBE_RTT_INTERVAL;
    if (ack->rtt_sample > 0 &&
        (ack->rtt_sample < bbr->probe_rtt_min_delay || bbr->is_probe_rtt_expired)) {
        bbr->probe_rtt_min_delay = ack->rtt_sample;
        bbr->probe_rtt_min_stamp = ack->now;
    } else if (ack->rtt_sample > 0 && bbr->is_last_round_quiet && is_round_quiet(bbr) &&
               ack->rtt_sample <=
                   bbr->probe_rtt_min_delay + bbr->probe_rtt_min_delay / MIN_RTT_SPREAD_DIVISOR) {
        /* Not in the draft: a sample as good as the minimum, but for jitter, after a round trip
         * without a queue confirms the minimum and saves the ProbeRTT that would find no more. Who
         * shares the path with others sees no such rounds and probes as the draft has it. */
        bbr->probe_rtt_min_stamp = ack->now;
    }
    bool is_min_rtt_expired = ack->now > bbr->min_rtt_stamp + MIN_RTT_FILTER_LEN;
    if (bbr->probe_rtt_min_delay <= bbr->min_rtt || is_min_rtt_expired) {
        bbr->min_rtt = bbr->probe_rtt_min_delay;
        bbr->min_rtt_stamp = bbr->probe_rtt_min_stamp;
    }
}

/* BBR draft 5.5.10.2 (NoteLoss) and 5.5.11.1 (SaveStateUponLoss). */
void weir_bbr_note_loss(struct weir_cc *cc)
{
    struct weir_cc_bbr *bbr = &cc->bbr;
    if (bbr->is_loss_in_round) {
        return;
    }
    bbr->is_loss_in_round = true;
    bbr->loss_round_delivered = cc->rate.delivered_bytes;
    weir_bbr_save_window(cc);
    bbr->undo_state = WEIR_BBR_STATE_COUNT;
    bbr->undo_bw_shortterm = bbr->bw_shortterm;
    bbr->undo_inflight_shortterm = bbr->inflight_shortterm;
    bbr->undo_inflight_longterm = bbr->inflight_longterm;
    cc->episode_lost = 0;
}

static uint64_t loss_threshold_ppm(const struct weir_cc *cc)
{
    return WEIR_BBR_LOSS_THRESH_PPM + tolerated_ppm(cc);
}

bool weir_bbr_is_inflight_too_high(const struct weir_cc *cc, uint64_t lost_bytes,
                                   uint64_t in_flight_bytes)
{
    return lost_bytes > weir_scale(in_flight_bytes, loss_threshold_ppm(cc), MILLION);
}

/* BBR draft 5.5.10.2, InflightAtLoss: the volume at which the loss rate passed the threshold. The
 * packets that one ACK shows lost stand for the draft's single packet: an offload burst. */
uint64_t weir_bbr_inflight_at_loss(const struct weir_cc *cc, const struct weir_cc_loss *loss)
{
    uint64_t in_flight = loss->newest->in_flight_bytes;
    uint64_t burst = weir_min_u64(loss->lost_bytes, in_flight);
    uint64_t before = in_flight - burst;
    uint64_t lost = cc->rate.lost_bytes - loss->newest->lost_bytes;
    uint64_t lost_before = lost - weir_min_u64(lost, loss->lost_bytes);
    uint64_t threshold = loss_threshold_ppm(cc);
    uint64_t allowed = weir_scale(before, threshold, MILLION);
    uint64_t prefix = 0;
    if (allowed > lost_before) {
        prefix = weir_scale(allowed - lost_before, MILLION, MILLION - threshold);
    }
    return before + prefix;
}
