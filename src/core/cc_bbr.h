/* SPDX-License-Identifier: MIT */
/*
 * cc_bbr.h - the inside of BBR: its states, and what its parts call of each other.
 *
 * Role: cc_bbr.c holds the state machine, cc_bbr_model.c the path model (bandwidth, RTT,
 * aggregation, loss), cc_bbr_control.c what follows from them: rate and window. The names are those
 * of draft-ietf-ccwg-bbr.
 */
#ifndef WEIR_CORE_CC_BBR_H
#define WEIR_CORE_CC_BBR_H

#include "core/cc_internal.h"

enum weir_bbr_state {
    WEIR_BBR_STARTUP = 0,
    WEIR_BBR_DRAIN,
    WEIR_BBR_DOWN,
    WEIR_BBR_CRUISE,
    WEIR_BBR_REFILL,
    WEIR_BBR_UP,
    WEIR_BBR_PROBE_RTT,
    WEIR_BBR_STATE_COUNT /* as undo_state: none */
};

enum weir_bbr_acks {
    WEIR_BBR_ACKS_INIT = 0,
    WEIR_BBR_ACKS_REFILLING,
    WEIR_BBR_ACKS_STARTING,
    WEIR_BBR_ACKS_FEEDBACK,
    WEIR_BBR_ACKS_STOPPING
};

/* "Infinity" of the draft, for rates, volumes and delays alike. */
#define WEIR_BBR_INFINITE UINT64_MAX

enum {
    WEIR_BBR_BETA_PERCENT = 70,

    /* LossThresh: the loss rate of a round trip at which a probe counts as having gone too high,
     * above twice the path's random loss. */
    WEIR_BBR_LOSS_THRESH_PPM = 20000,
    /* Loss up to this rate may be taken for random. 0: every loss counts, as in the draft. */
    WEIR_BBR_NOISE_MAX_PPM = 100000,
    /* The same for leaving Startup, whose rounds are small at first: a queue that is overrun at
     * more than twice its rate loses far more. */
    WEIR_BBR_NOISE_STARTUP_PPM = 200000
};

static inline uint64_t weir_bbr_max_bw(const struct weir_cc_bbr *bbr)
{
    return bbr->max_bw_filter[0] > bbr->max_bw_filter[1] ? bbr->max_bw_filter[0]
                                                         : bbr->max_bw_filter[1];
}

static inline bool weir_bbr_is_probe_bw(const struct weir_cc_bbr *bbr)
{
    return bbr->state >= WEIR_BBR_DOWN && bbr->state <= WEIR_BBR_UP;
}

/* cc_bbr_model.c */
void weir_bbr_reset_congestion_signals(struct weir_cc_bbr *bbr);
void weir_bbr_reset_short_term(struct weir_cc_bbr *bbr);
void weir_bbr_reset_full_bw(struct weir_cc_bbr *bbr, uint64_t baseline);
void weir_bbr_start_round(struct weir_cc *cc);
void weir_bbr_save_window(struct weir_cc *cc);
void weir_bbr_restore_window(struct weir_cc *cc);
void weir_bbr_update_delivery_signals(struct weir_cc *cc, const struct weir_cc_ack *ack,
                                      const struct weir_cc_sample *sample);
void weir_bbr_update_congestion_signals(struct weir_cc *cc, const struct weir_cc_ack *ack,
                                        const struct weir_cc_sample *sample);
void weir_bbr_update_ack_aggregation(struct weir_cc *cc, const struct weir_cc_ack *ack);
void weir_bbr_check_full_bw(struct weir_cc_bbr *bbr, const struct weir_cc_ack *ack,
                            const struct weir_cc_sample *sample);
void weir_bbr_update_min_rtt(struct weir_cc_bbr *bbr, const struct weir_cc_ack *ack);
void weir_bbr_advance_delivery_signals(struct weir_cc_bbr *bbr,
                                       const struct weir_cc_sample *sample);
/* Whether the loss of the running round and the one before came without any sign of a queue. */
bool weir_bbr_looks_random(const struct weir_cc *cc, const struct weir_cc_sample *sample);
void weir_bbr_note_loss(struct weir_cc *cc);
bool weir_bbr_is_inflight_too_high(const struct weir_cc *cc, uint64_t lost_bytes,
                                   uint64_t in_flight_bytes);
uint64_t weir_bbr_inflight_at_loss(const struct weir_cc *cc, const struct weir_cc_loss *loss);

/* cc_bbr_control.c */
const char *weir_bbr_state_text(const struct weir_cc *cc);
/* BDPMultiple: gain_percent of bw * min_rtt. */
uint64_t weir_bbr_bdp(const struct weir_cc *cc, uint64_t bw, uint32_t gain_percent);
uint64_t weir_bbr_quantize(const struct weir_cc *cc, uint64_t inflight);
uint64_t weir_bbr_inflight_with_headroom(const struct weir_cc *cc);
uint64_t weir_bbr_target_inflight(const struct weir_cc *cc);
uint64_t weir_bbr_probe_rtt_window(const struct weir_cc *cc);
void weir_bbr_init_pacing_rate(struct weir_cc *cc, weir_nsec rtt);
void weir_bbr_pace_at_bw(struct weir_cc *cc);
/* UpdateControlParameters: pacing rate and window of the present state. */
void weir_bbr_update_control(struct weir_cc *cc, uint64_t acked_bytes);

#endif
