/* SPDX-License-Identifier: MIT */
/*
 * cc.h - congestion control behind one interface: NewReno, CUBIC, BBR, or none.
 *
 * Role: the engine reports what was sent, acknowledged and lost; the controller answers with a
 * window and a pacing rate. Shared by all transports.
 * Owned by: one connection's path. Memory: inside struct weir_cc, no pointers, so it can be copied.
 * Order: on_sent for every ack-eliciting packet when it leaves; per ACK received first on_loss (if
 * that ACK revealed losses) and then on_ack, once each. Integers only.
 * Spec: RFC 9002 section 7 and appendix B (NewReno), RFC 9438 (CUBIC), draft-ietf-ccwg-bbr (BBR),
 * each function cites its section.
 */
#ifndef WEIR_CORE_CC_H
#define WEIR_CORE_CC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "core/rtt.h"
#include "weir/cc.h"
#include "weir/time.h"

/* What a packet record keeps from on_sent until the packet is acknowledged or lost: the state that
 * delivery-rate sampling needs (BBR draft, 4.1.2). The engine stores it and hands it back. */
struct weir_cc_packet {
    uint64_t delivered_bytes;
    weir_nsec delivered_time;
    weir_nsec first_sent_time;
    weir_nsec sent_time;
    uint64_t lost_bytes;
    uint32_t in_flight_bytes; /* right after this packet was sent */
    uint32_t size_bytes;
    bool is_app_limited;
};

/* One ACK's worth of newly acknowledged packets, summed by the engine. */
struct weir_cc_ack {
    weir_nsec now;
    uint64_t acked_bytes;                /* newly acknowledged, ack-eliciting */
    uint64_t in_flight_bytes;            /* after this ACK and its losses */
    const struct weir_cc_packet *newest; /* of the newly acknowledged, the one sent last */
    const struct weir_rtt *rtt;          /* already updated by this ACK */
    weir_nsec rtt_sample;                /* of this ACK, 0 when it gave none */
    uint64_t ce_count;                   /* new ECN-CE marks reported by this ACK */
};

struct weir_cc_loss {
    weir_nsec now;
    uint64_t lost_bytes;                 /* newly declared lost */
    uint64_t in_flight_bytes;            /* after taking them out */
    const struct weir_cc_packet *newest; /* of the newly lost, the one sent last */
    bool is_persistent;                  /* RFC 9002 7.6: persistent congestion */
};

/* Delivery-rate estimator, common to all controllers (also feeds statistics). */
struct weir_cc_rate {
    uint64_t delivered_bytes;
    weir_nsec delivered_time;
    weir_nsec first_sent_time;
    uint64_t app_limited_until; /* delivered_bytes at which the app-limited phase ends; 0: not */
    uint64_t lost_bytes;
    uint64_t
        window_limited_until; /* delivered_bytes up to which data left with the window filled */
};

struct weir_cc_newreno {
    weir_nsec recovery_start; /* packets sent at or before this do not cut the window again */
    uint64_t acked_bytes;     /* in congestion avoidance, towards the next increase */
    uint64_t undo_window, undo_ssthresh; /* before the last cut; undo_window 0: nothing to undo */
    bool is_recovering;
};

/* HyStart++ (RFC 9406 4.2), as far as cc_cubic.c says. */
struct weir_cc_hystart {
    weir_nsec last_round_min_rtt, round_min_rtt, group_min_rtt, baseline_min_rtt;
    uint64_t round_end_delivered;
    uint32_t group_samples;
    uint32_t css_rounds; /* rounds begun in conservative slow start, 0: not in it */
    uint64_t css_acked;  /* towards the next byte of growth there */
};

/* What one reduction changes, saved to undo a spurious one (RFC 9438 4.9.2). */
struct weir_cc_cubic_undo {
    uint64_t window_bytes, ssthresh_bytes; /* window 0: nothing to undo */
    uint64_t window_max_bytes, window_prior_bytes, estimate_bytes;
    uint64_t k_ms;
    weir_nsec epoch_start;
};

struct weir_cc_cubic {
    weir_nsec recovery_start; /* WEIR_NEVER: none yet */
    weir_nsec epoch_start;    /* WEIR_NEVER: no epoch yet */
    weir_nsec limited_since;  /* the window stopped being filled; WEIR_NEVER: it is filled */
    uint64_t window_max_bytes, window_prior_bytes, estimate_bytes;
    uint64_t k_ms;
    uint64_t estimate_acked, increase_acked; /* fractions left of the last increases */
    struct weir_cc_cubic_undo undo;
    struct weir_cc_hystart hystart;
    bool is_recovering;
};

/* The names are the draft's (sections 2.5 to 2.16); rates in bytes/s, volumes in bytes. */
struct weir_cc_bbr {
    uint8_t state, undo_state, ack_phase; /* enums of cc_internal.h */
    bool is_round_start, is_loss_round_start, is_loss_in_round, is_ce_in_round;
    bool is_full_bw_reached, is_full_bw_now;
    bool is_bw_probe_sample, is_prev_probe_too_high, is_prev_probe_precautionary;
    bool is_idle_restart, is_probe_rtt_expired, is_probe_rtt_round_done;
    bool has_rtt, is_recovering, is_last_round_quiet;
    uint8_t full_bw_count, bw_probe_up_rounds, loss_events_in_round;
    uint32_t round_count, drain_start_round, rounds_since_probe_up;
    uint64_t next_round_delivered, loss_round_delivered;
    uint64_t max_bw_filter[2]; /* maximum of the previous and of the current probing cycle */
    uint64_t bw_shortterm, bw, bw_latest, full_bw;
    uint64_t inflight_latest, inflight_longterm, inflight_shortterm, max_inflight;
    weir_nsec min_rtt, min_rtt_stamp, probe_rtt_min_delay, probe_rtt_min_stamp;
    weir_nsec probe_rtt_done_stamp; /* WEIR_NEVER: the low window is not reached yet */
    weir_nsec cycle_stamp, bw_probe_wait, recovery_start;
    weir_nsec extra_acked_interval_start;
    uint64_t extra_acked_delivered;
    uint64_t extra_acked_filter[2];
    uint32_t extra_acked_rounds;
    uint64_t bw_probe_up_acked, probe_up_acked_per_inc;
    uint64_t noise_delivered, noise_lost; /* in rounds without a queue: see cc_bbr_model.c */
    weir_nsec round_max_rtt;
    uint64_t prior_window, undo_bw_shortterm, undo_inflight_shortterm, undo_inflight_longterm;
};

struct weir_cc {
    enum weir_cc_kind kind;
    uint32_t mss_bytes;      /* the path's current datagram size */
    uint64_t window_bytes;   /* in flight at most this; UINT64_MAX for none */
    uint64_t ssthresh_bytes; /* newreno, cubic */
    uint64_t pacing_rate;    /* bytes/s, 0: unlimited */
    weir_nsec smoothed_rtt;  /* as of the last ACK, 0: no sample yet */
    uint64_t episode_lost;   /* packets lost since the last cut and not yet proved spurious */
    struct weir_cc_rate rate;
    struct weir_prng prng; /* BBR's randomized probing */

    union {
        struct weir_cc_newreno newreno;
        struct weir_cc_cubic cubic;
        struct weir_cc_bbr bbr;
    };
};

_Static_assert(sizeof(struct weir_cc) <= 512, "a path's controller stays within half a kilobyte");

/* seed: for the parts that draw (BBR's probe timing). */
void weir_cc_init(struct weir_cc *cc, enum weir_cc_kind kind, uint32_t mss_bytes, weir_nsec now,
                  uint64_t seed);
/* The path's datagram size changed (MTU discovery). */
void weir_cc_set_mss(struct weir_cc *cc, uint32_t mss_bytes);
/* in_flight_bytes: before this packet. Fills packet. */
void weir_cc_on_sent(struct weir_cc *cc, weir_nsec now, uint32_t size_bytes,
                     uint64_t in_flight_bytes, struct weir_cc_packet *packet);
/* Sending stopped for want of data, not of window: growth must not be credited (RFC 9002 7.8). */
void weir_cc_on_app_limited(struct weir_cc *cc, uint64_t in_flight_bytes);
void weir_cc_on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack);
/* Bytes that arrived, nobody knows when they left: of a packet that was sent again, and answered
 * too soon for the copy. They count as delivered, and give no sample of rate or round trip: the
 * copy's record would end a round trip that has hardly begun. At most once per ACK, before
 * weir_cc_on_ack, whose acked_bytes are without them. */
void weir_cc_on_untimed(struct weir_cc *cc, weir_nsec now, uint64_t bytes);
/* true: a new episode begins; losses before this one are not undone any more. */
bool weir_cc_on_loss(struct weir_cc *cc, const struct weir_cc_loss *loss);
/* A loss reported before proved to be mere reordering (the packet was acknowledged after all): once
 * per such packet. The last cut is undone when that holds for every packet lost since. */
void weir_cc_on_spurious_loss(struct weir_cc *cc, weir_nsec now);
/* Sending resumes with nothing in flight after an idle time: restart as the controller's
 * specification says. weir_cc_on_sent does this by itself when in_flight_bytes is 0. */
void weir_cc_on_idle_restart(struct weir_cc *cc, weir_nsec now);
const char *weir_cc_state_text(const struct weir_cc *cc); /* "slow_start", "probe_bw_up", ... */
/* Bytes to hand down in one go: a millisecond's worth, 2 packets to 64 KiB (BBR draft 5.6.3). */
uint64_t weir_cc_send_quantum(const struct weir_cc *cc);

#endif
