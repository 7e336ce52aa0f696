/* SPDX-License-Identifier: MIT */
/*
 * loss.c - what is lost, and what follows: RACK-TLP, recovery with PRR, timeouts with F-RTO;
 * without SACK three duplicate ACKs.
 *
 * Spec: RFC 8985, RFC 6937, RFC 5682, RFC 6298, RFC 6582 (without SACK), RFC 3522 (timestamps prove
 * a timeout spurious).
 */
#include "core/scale.h"
#include "tcp/internal.h"

static const weir_nsec peer_ack_delay = 200 * WEIR_MSEC; /* WCDelAckT of RFC 8985 7.2 */

void weir_tcp_loss_init(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    uint32_t mss = weir_tcp_full_segment(awake);
    weir_rtt_init(&awake->rtt, weir_tcp_rto_first / 3);
    weir_cc_init(&awake->cc, ep->config.cc, mss, ep->now, weir_prng_next(&ep->prng));
    weir_pacer_init(&awake->pacer, 2 * mss, UINT16_MAX);
    awake->reorder_multiplier = 1;
    awake->highest_sacked = awake->rack_end = awake->snd_una;
    awake->recovery_point = awake->ece_point = awake->tail_end = awake->snd_una;
    awake->frto_point = awake->reorder_round = awake->snd_una;
    awake->oldest_at = awake->open_at = ep->now;
    awake->reorder_at = WEIR_NEVER;
}

weir_nsec weir_tcp_rto(const struct awake *awake)
{
    /* RFC 6298 2.1; 5.7: three of them for data after a SYN that timed out (MUST). */
    weir_nsec rto = awake->is_syn_lost ? 3 * weir_tcp_rto_first : weir_tcp_rto_first;
    if (awake->rtt.has_sample) {
        rto = weir_rtt_rto(&awake->rtt, weir_tcp_granularity, awake->ep->config.tuning.rto_min,
                           weir_tcp_rto_max);
    }
    /* RFC 6298 5.5: doubled for each timeout (MUST). */
    return weir_min_u64(rto << awake->rto_shift, weir_tcp_rto_max);
}

uint32_t weir_tcp_pipe(const struct awake *awake)
{
    uint64_t gone = (uint64_t)awake->dupacks * awake->mss;
    return awake->in_flight - (uint32_t)weir_min_u64(gone, awake->in_flight);
}

static bool has_prr(const struct awake *awake)
{
    return awake->cc.kind == WEIR_CC_CUBIC || awake->cc.kind == WEIR_CC_NEWRENO;
}

void weir_tcp_loss_on_restart(struct awake *awake)
{
    weir_nsec idle = awake->ep->now - awake->rack_sent;
    uint64_t full = weir_tcp_full_segment(awake);
    /* RFC 5681 4.1: after a timeout's length of silence no more than the initial window (SHOULD),
     * which is that of RFC 6928 2. */
    if (has_prr(awake) && awake->rack_sent != 0 && idle > weir_tcp_rto(awake)) {
        uint64_t window = weir_min_u64(10 * full, weir_max_u64(2 * full, 14600));
        awake->cc.window_bytes = weir_min_u64(awake->cc.window_bytes, window);
    }
}

uint64_t weir_tcp_loss_window(const struct awake *awake)
{
    if (awake->recovery == RECOVERY_FAST && has_prr(awake)) {
        return awake->window_recovery;
    }
    return awake->cc.window_bytes;
}

/* --- RACK ------------------------------------------------------------------------------------- */

static bool is_sent_after(weir_nsec time1, uint32_t end1, weir_nsec time2, uint32_t end2)
{
    return time1 > time2 || (time1 == time2 && weir_tcp_diff(end1, end2) > 0);
}

void weir_tcp_rack_update(struct awake *awake, const struct segment *segment)
{
    weir_nsec rtt = awake->ep->now - segment->cc.sent_time;
    uint32_t end = segment->seq + segment->length;
    /* RFC 8985 6.2 step 2: what was sent again and is answered too soon was not the copy. */
    if ((segment->flags & SEGMENT_AGAIN) != 0 && awake->rtt.has_sample && rtt < awake->rtt.min) {
        return;
    }
    /* Step 3: something sent before what has arrived arrives. */
    if ((segment->flags & SEGMENT_AGAIN) == 0 && weir_tcp_diff(end, awake->highest_sacked) < 0 &&
        awake->highest_sacked != awake->snd_una) {
        awake->is_reordering_seen = true;
    }
    if (is_sent_after(segment->cc.sent_time, end, awake->rack_sent, awake->rack_end)) {
        awake->rack_sent = segment->cc.sent_time;
        awake->rack_end = end;
        awake->rack_rtt = rtt;
    }
}

/* RFC 8985 6.2 step 4. */
static weir_nsec reorder_window(const struct awake *awake)
{
    if (!awake->is_reordering_seen &&
        (awake->recovery != RECOVERY_NONE || awake->sacked >= DUPACKS)) {
        return 0;
    }
    weir_nsec window = awake->rtt.min / 4 * awake->reorder_multiplier;
    return awake->rtt.has_sample ? weir_min_u64(window, awake->rtt.smoothed) : 0;
}

/* A D-SACK says that we were too quick: the window widens once a round trip. */
static void adapt_reorder_window(struct awake *awake)
{
    if (weir_tcp_diff(awake->snd_una, awake->reorder_round) >= 0) {
        awake->reorder_round = awake->snd_nxt;
        awake->reorder_persist = REORDER_PERSIST;
        if (awake->reorder_multiplier < REORDER_SHARE_MAX) {
            awake->reorder_multiplier++;
        }
        awake->is_reordering_seen = true;
    }
}

/* What one pass found. */
struct losses {
    uint64_t bytes;
    struct weir_cc_packet newest;
    bool has_any, has_probe;
};

static void note_loss(struct awake *awake, struct losses *losses, struct segment *segment)
{
    /* RFC 4821 7.6.2: a probe that is lost alone was too long; congestion had no part in it. */
    if ((segment->flags & SEGMENT_PROBE) != 0) {
        segment->flags &= (uint8_t)~SEGMENT_PROBE;
        losses->has_probe = true;
        weir_tcp_flight_mark_lost(awake, segment);
        return;
    }
    losses->bytes += segment->length;
    if (!losses->has_any || segment->cc.sent_time >= losses->newest.sent_time) {
        losses->newest = segment->cc;
    }
    losses->has_any = true;
    weir_tcp_flight_mark_lost(awake, segment);
}

/* RFC 8985 6.2 step 5. */
static void detect_by_time(struct awake *awake, struct losses *losses)
{
    weir_nsec wait = awake->rack_rtt + reorder_window(awake);
    weir_nsec now = awake->ep->now;
    struct segment *next;
    awake->reorder_at = WEIR_NEVER;
    for (struct segment *segment = awake->times.first; segment != NULL; segment = next) {
        next = segment->time_next;
        if (!is_sent_after(awake->rack_sent, awake->rack_end, segment->cc.sent_time,
                           segment->seq + segment->length)) {
            break;
        }
        if (segment->cc.sent_time + wait <= now) {
            note_loss(awake, losses, segment);
        } else {
            awake->reorder_at = segment->cc.sent_time + wait;
            break; /* later ones are due later */
        }
    }
}

/* RFC 5681 3.2 and RFC 6582 3.2: the first segment, after three duplicate ACKs or a partial one. */
static void detect_by_count(struct awake *awake, struct losses *losses, bool is_advanced)
{
    struct segment *first = awake->sequence.first;
    bool is_partial = is_advanced && awake->recovery == RECOVERY_FAST;
    bool is_third = awake->dupacks == DUPACKS && awake->recovery == RECOVERY_NONE;
    if (first == NULL || (first->flags & SEGMENT_LOST) != 0 || (!is_partial && !is_third)) {
        return;
    }
    uint32_t full = weir_tcp_full_segment(awake);
    if (first->length > full && !weir_tcp_flight_split(awake, first, full)) {
        return;
    }
    note_loss(awake, losses, first);
}

static void report_losses(struct awake *awake, const struct losses *losses)
{
    const struct weir_cc_loss loss = {.now = awake->ep->now,
                                      .lost_bytes = losses->bytes,
                                      .in_flight_bytes = awake->in_flight,
                                      .newest = &losses->newest};
    if (losses->has_any && weir_cc_on_loss(&awake->cc, &loss)) {
        awake->again_out = awake->early_out = 0;
    }
    if (losses->has_probe) {
        weir_tcp_mtu_on_probe_lost(awake, !losses->has_any && awake->recovery == RECOVERY_NONE,
                                   false);
    }
}

/* --- recovery --------------------------------------------------------------------------------- */

static void enter_fast(struct awake *awake)
{
    awake->ep->stats.recoveries++;
    awake->recovery = RECOVERY_FAST;
    awake->recovery_point = awake->snd_nxt;
    awake->prr_start = awake->snd_nxt - awake->snd_una;
    awake->prr_delivered = awake->prr_out = 0;
    awake->is_tail_probed = false;
}

/* RFC 6937 3.1, with the slow start reduction bound. */
static void update_prr(struct awake *awake, uint32_t delivered, bool is_entered)
{
    uint64_t pipe = weir_tcp_pipe(awake);
    uint64_t target = awake->cc.window_bytes;
    uint64_t count = 0;
    awake->prr_delivered += delivered;
    if (pipe > target) {
        uint64_t share =
            weir_scale_up(awake->prr_delivered, target, weir_max_u64(awake->prr_start, 1));
        count = share > awake->prr_out ? share - awake->prr_out : 0;
    } else {
        uint64_t made =
            awake->prr_delivered > awake->prr_out ? awake->prr_delivered - awake->prr_out : 0;
        uint64_t limit = weir_max_u64(made, delivered) + awake->mss;
        count = weir_min_u64(target - pipe, limit);
    }
    if (is_entered) {
        count = weir_max_u64(count, awake->mss); /* the fast retransmit */
    }
    awake->window_recovery = pipe + count;
}

static void leave_recovery(struct awake *awake)
{
    awake->recovery = RECOVERY_NONE;
    awake->frto = FRTO_OFF;
    awake->lost_hint = NULL;
    if (awake->reorder_persist > 0 && --awake->reorder_persist == 0) {
        awake->reorder_multiplier = 1; /* RFC 8985 6.2 step 4: after 16 recoveries */
    }
}

/* --- F-RTO ------------------------------------------------------------------------------------ */

static void undo_timeout(struct awake *awake)
{
    awake->ep->stats.spurious_timeouts++;
    for (struct segment *segment = awake->sequence.first; segment != NULL;
         segment = segment->next) {
        if ((segment->flags & SEGMENT_LOST) != 0) {
            weir_tcp_flight_unmark_lost(awake, segment, false);
        }
    }
    awake->cc.window_bytes = weir_max_u64(awake->cc.window_bytes, awake->undo_window);
    awake->cc.ssthresh_bytes = weir_max_u64(awake->cc.ssthresh_bytes, awake->undo_ssthresh);
    awake->rto_shift = awake->timeouts_row = 0;
    /* What arrived was the first sending and not the copy: its time says nothing of the others. */
    awake->rack_sent = 0;
    leave_recovery(awake);
}

/* RFC 3522 3.2: the timestamp is older than that of the segment sent again. */
static bool is_proved_by_stamp(const struct awake *awake, const struct ack_work *work)
{
    return weir_tcp_has_options(awake, AGREED_TIMESTAMPS) &&
           (work->segment->options & WEIR_TCP_HAS_TIMESTAMPS) != 0 && awake->resent_ts != 0 &&
           weir_tcp_diff(work->segment->ts_echo, awake->resent_ts) < 0;
}

/* RFC 5682 3.1, steps 2 and 3. true: the timeout was spurious. */
static bool judge_timeout(struct awake *awake, const struct ack_work *work, bool is_advanced)
{
    enum frto step = (enum frto)awake->frto;
    if (step == FRTO_OFF) {
        return false;
    }
    if (is_advanced && is_proved_by_stamp(awake, work)) {
        return true;
    }
    if (step == FRTO_PROBED) {
        awake->frto = FRTO_OFF;
        return work->is_original && (is_advanced || work->has_sacked);
    }
    bool can_probe = is_advanced && weir_tcp_diff(awake->snd_una, awake->recovery_point) < 0 &&
                     weir_tcp_unsent(awake) > 0 && weir_tcp_has_options(awake, AGREED_SACK);
    awake->frto = can_probe ? FRTO_PROBED : FRTO_OFF;
    return false;
}

/* --- ACKs ------------------------------------------------------------------------------------- */

static void take_sample(struct awake *awake, struct ack_work *work, bool is_advanced)
{
    const struct weir_tcp_segment *segment = work->segment;
    /* RFC 7323 4: a timestamp tells the round trip of what was sent twice, too. */
    if (work->sample == 0 && is_advanced && weir_tcp_has_options(awake, AGREED_TIMESTAMPS) &&
        (segment->options & WEIR_TCP_HAS_TIMESTAMPS) != 0 && segment->ts_echo != 0) {
        /* Not of an earlier copy whose ACK was lost: that would tell how long the timeout was. */
        weir_nsec most = work->has_newest ? awake->ep->now - work->newest.sent_time : 0;
        int32_t ms = weir_tcp_diff(weir_tcp_timestamp(awake), segment->ts_echo);
        if (ms > 0 && (weir_nsec)ms * WEIR_MSEC <= most + WEIR_MSEC) {
            work->sample = (weir_nsec)ms * WEIR_MSEC;
        }
    }
    if (work->sample != 0) {
        weir_rtt_sample(&awake->rtt, work->sample, 0);
        awake->ep->stats.rtt = weir_rtt_mean(awake->ep->stats.rtt, work->sample);
        awake->rto_shift = 0; /* RFC 6298 5: doubled until there is a sample again (Karn) */
    }
}

/* RFC 8985 7.4.2: the probe repaired a loss that nothing else tells of. */
static void judge_tail_probe(struct awake *awake, const struct ack_work *work,
                             struct losses *losses)
{
    int32_t beyond = weir_tcp_diff(awake->snd_una, awake->tail_end);
    if (!awake->is_tail_probed || beyond < 0) {
        return;
    }
    bool is_duplicate = awake->snd_una == work->una_before && !work->has_sacked;
    bool is_known = work->dsack_bytes > 0 || work->untimed > 0; /* to have arrived before */
    if (!awake->is_tail_resent || is_known || (beyond == 0 && is_duplicate)) {
        awake->is_tail_probed = false; /* it was not needed */
    } else if (beyond > 0 && work->has_newest) {
        awake->is_tail_probed = false;
        losses->has_any = true;
        losses->bytes = weir_tcp_full_segment(awake);
        losses->newest = work->newest;
    }
}

/* RFC 2883 5, RFC 8985 6.2: all that was sent again arrived twice: nothing had been lost. */
void weir_tcp_loss_on_dsack(struct awake *awake, uint32_t bytes)
{
    uint32_t known = (uint32_t)weir_min_u64(bytes, awake->early_out);
    if (bytes == 0) {
        return;
    }
    adapt_reorder_window(awake);
    awake->early_out -= known;
    bytes -= known;
    if (bytes == 0 || awake->again_out == 0) {
        return;
    }
    /* The peer's word counts for no more than what was sent again. */
    bytes = (uint32_t)weir_min_u64(bytes, awake->again_out);
    awake->again_out -= bytes;
    for (uint32_t left = bytes; left > 0; left -= (uint32_t)weir_min_u64(left, awake->mss)) {
        weir_cc_on_spurious_loss(&awake->cc, awake->ep->now);
    }
    awake->ep->stats.spurious_losses++;
}

static void report_ack(struct awake *awake, const struct ack_work *work)
{
    if (work->untimed > 0) {
        weir_cc_on_untimed(&awake->cc, awake->ep->now, work->untimed);
    }
    if (!work->has_newest) {
        return;
    }
    /* What was overtaken on the way tells of the detour it took, not of the path's queue. */
    bool is_overtaken = work->newest.sent_time < awake->rack_sent;
    const struct weir_cc_ack ack = {.now = awake->ep->now,
                                    .acked_bytes = work->delivered - work->untimed,
                                    .in_flight_bytes = weir_tcp_pipe(awake),
                                    .newest = &work->newest,
                                    .rtt = &awake->rtt,
                                    .rtt_sample = is_overtaken ? 0 : work->sample,
                                    .ce_count = work->is_ce};
    weir_cc_on_ack(&awake->cc, &ack);
}

static void detect(struct awake *awake, struct losses *losses, bool is_advanced)
{
    if (weir_tcp_has_options(awake, AGREED_SACK)) {
        detect_by_time(awake, losses);
    } else {
        detect_by_count(awake, losses, is_advanced);
    }
}

void weir_tcp_loss_on_ack(struct awake *awake, struct ack_work *work)
{
    struct losses losses = {.has_any = false};
    bool is_advanced = awake->snd_una != work->una_before;
    bool was_fast = awake->recovery == RECOVERY_FAST;
    take_sample(awake, work, is_advanced);
    if (is_advanced) {
        awake->oldest_at = awake->ep->now;
        awake->timeouts_row = 0;
        awake->is_soft_error = false;
        if (awake->recovery != RECOVERY_FAST) {
            awake->dupacks = 0;
        } else {
            awake->dupacks -= awake->dupacks > 0; /* RFC 6582: a partial one deflates */
        }
    }
    weir_tcp_loss_on_dsack(awake, work->dsack_bytes);
    judge_tail_probe(awake, work, &losses);
    if (judge_timeout(awake, work, is_advanced)) {
        undo_timeout(awake);
        if (work->late != 0) {
            weir_rtt_sample(&awake->rtt, work->late, 0); /* RFC 4015 3.4: so long it may take */
        }
    }
    if (awake->recovery != RECOVERY_NONE &&
        weir_tcp_diff(awake->snd_una, awake->recovery_point) >= 0) {
        leave_recovery(awake);
        awake->dupacks = 0;
    }
    if (is_advanced || work->has_sacked || awake->dupacks > 0) {
        detect(awake, &losses, is_advanced);
    }
    report_losses(awake, &losses);
    if (awake->lost > 0 && awake->recovery == RECOVERY_NONE) {
        enter_fast(awake);
    }
    report_ack(awake, work);
    if (awake->recovery == RECOVERY_FAST) {
        update_prr(awake, work->delivered, !was_fast);
    }
    if (is_advanced || work->has_sacked) {
        awake->loss_timer = TIMER_NONE;
    }
    weir_tcp_loss_set_timer(awake);
}

/* --- timers ----------------------------------------------------------------------------------- */

static void arm(struct awake *awake, enum loss_timer timer, weir_nsec at)
{
    awake->loss_timer = (uint8_t)timer;
    awake->loss_at = at;
}

/* RFC 8985 7.2. */
static bool can_probe_tail(const struct awake *awake)
{
    return weir_tcp_has_options(awake, AGREED_SACK) && awake->recovery == RECOVERY_NONE &&
           !awake->is_tail_probed && weir_tcp_diff(awake->highest_sacked, awake->snd_una) <= 0 &&
           awake->timeouts_row == 0 && weir_tcp_is_synchronized(awake);
}

static weir_nsec tail_probe_at(const struct awake *awake)
{
    weir_nsec now = awake->ep->now;
    weir_nsec wait = weir_tcp_rto_first;
    if (awake->rtt.has_sample) {
        wait = 2 * awake->rtt.smoothed + 2 * weir_tcp_granularity;
        if (awake->in_flight <= weir_tcp_full_segment(awake)) {
            wait += peer_ack_delay;
        }
    }
    return now + weir_min_u64(wait, weir_tcp_rto(awake));
}

/* Something waits, nothing is in flight: the window is shut, or too small for it to be worth a
 * segment, or memory is short. */
static void set_window_timer(struct awake *awake)
{
    bool is_fin_due = awake->is_closing && !awake->is_fin_sent && weir_tcp_unsent(awake) == 0;
    bool is_waiting = (weir_tcp_unsent(awake) > 0 && !awake->is_corked) || is_fin_due;
    if (!is_waiting || !weir_tcp_is_synchronized(awake) || awake->pace_at != WEIR_NEVER) {
        arm(awake, TIMER_NONE, WEIR_NEVER);
        return;
    }
    if (awake->loss_timer == TIMER_WINDOW_PROBE) {
        return;
    }
    /* RFC 9293 3.8.6.1: first after a RTO (SHOULD-29), then ever later (SHOULD-30). Not so for want
     * of records: it is told when there are some. */
    weir_nsec wait = weir_tcp_rto(awake) << (awake->is_short ? 0 : awake->probe_shift);
    arm(awake, TIMER_WINDOW_PROBE, awake->ep->now + weir_min_u64(wait, weir_tcp_rto_max));
}

void weir_tcp_loss_set_timer(struct awake *awake)
{
    if (!weir_tcp_is_synchronized(awake) && awake->state != WEIR_TCP_STATE_CLOSED) {
        return; /* SYN's own, see output.c */
    }
    if (awake->sequence.first == NULL) {
        set_window_timer(awake);
        return;
    }
    if (awake->reorder_at != WEIR_NEVER && awake->times.first != NULL) {
        arm(awake, TIMER_REORDER, awake->reorder_at);
        return;
    }
    if (awake->loss_timer == TIMER_TIMEOUT) {
        return;
    }
    if (can_probe_tail(awake)) {
        /* RFC 8985 7.2: it begins anew with progress and with new data, and nothing else puts it
         * off. */
        if (awake->loss_timer != TIMER_TAIL_PROBE) {
            arm(awake, TIMER_TAIL_PROBE, tail_probe_at(awake));
        }
    } else {
        arm(awake, TIMER_TIMEOUT, awake->ep->now + weir_tcp_rto(awake));
    }
}

static void on_reorder_timer(struct awake *awake)
{
    struct losses losses = {.has_any = false};
    bool was_fast = awake->recovery == RECOVERY_FAST;
    detect_by_time(awake, &losses);
    report_losses(awake, &losses);
    if (awake->lost > 0 && awake->recovery == RECOVERY_NONE) {
        enter_fast(awake);
    }
    if (awake->recovery == RECOVERY_FAST) {
        update_prr(awake, 0, !was_fast);
    }
}

/* A peer that has thrown away what it had acknowledged by SACK (RFC 2018 8, MUST be expected). */
static void forget_sacks(struct awake *awake)
{
    for (struct segment *segment = awake->sequence.first; segment != NULL;
         segment = segment->next) {
        if ((segment->flags & SEGMENT_SACKED) != 0) {
            segment->flags &= (uint8_t)~SEGMENT_SACKED;
            segment->flags |= SEGMENT_LOST;
            awake->lost += segment->length;
        }
    }
    awake->highest_sacked = awake->snd_una;
    awake->sacked = 0;
}

static void cut_window(struct awake *awake, const struct losses *losses)
{
    const struct weir_cc_loss loss = {.now = awake->ep->now,
                                      .lost_bytes = losses->bytes,
                                      .in_flight_bytes = 0,
                                      .newest = &losses->newest,
                                      .is_persistent = true};
    awake->undo_window = awake->cc.window_bytes;
    awake->undo_ssthresh = awake->cc.ssthresh_bytes;
    (void)weir_cc_on_loss(&awake->cc, &loss);
}

static void on_timeout(struct awake *awake)
{
    struct losses losses = {.has_any = false};
    struct segment *first = awake->sequence.first;
    awake->timeouts++;
    awake->ep->stats.timeouts++;
    if ((first->flags & SEGMENT_SACKED) != 0) {
        forget_sacks(awake);
    }
    while (awake->times.first != NULL) {
        note_loss(awake, &losses, awake->times.first);
    }
    if (!losses.has_any) {
        losses.newest = first->cc;
        losses.has_any = true;
    }
    /* RFC 5681 3.1: ssthresh stays when the same segment times out again. */
    bool is_first = awake->timeouts_row == 0;
    if (is_first) {
        cut_window(awake, &losses);
    }
    awake->frto = is_first && awake->recovery != RECOVERY_LOSS ? FRTO_RESENT : FRTO_OFF;
    awake->recovery = RECOVERY_LOSS;
    awake->recovery_point = awake->frto_point = awake->snd_nxt;
    awake->resent_ts = 0;
    awake->dupacks = 0;
    awake->is_tail_probed = false;
    awake->lost_hint = NULL;
    awake->again_out = awake->early_out = 0;
    weir_tcp_count_up(&awake->rto_shift, RTO_SHIFT_MAX);
    weir_tcp_count_up(&awake->timeouts_row, UINT8_MAX);
    if (losses.has_probe) {
        weir_tcp_mtu_on_probe_lost(awake, true, true);
    }
    weir_tcp_mtu_on_timeout(awake);
    if (has_prr(awake)) {
        /* RFC 5681 3.1: no more than one full segment (MUST). */
        awake->cc.window_bytes = weir_tcp_full_segment(awake);
    }
}

static bool is_overdue(struct awake *awake)
{
    weir_nsec now = awake->ep->now;
    weir_nsec limit = weir_tcp_user_timeout(awake);
    weir_nsec persist = awake->ep->config.tuning.persist_timeout;
    if (awake->open_at == WEIR_NEVER || (awake->is_short && awake->sequence.first == NULL)) {
        awake->oldest_at = now; /* it is not the peer that it waits for */
    }
    /* RFC 6429 4: who keeps its window shut for ever may be let go of. */
    bool is_shut = persist != 0 && awake->snd_wnd == 0 && awake->open_at + persist <= now &&
                   awake->open_at != WEIR_NEVER;
    return is_shut || (limit != 0 && now - awake->oldest_at >= limit);
}

void weir_tcp_loss_on_timer(struct awake *awake)
{
    enum loss_timer timer = (enum loss_timer)awake->loss_timer;
    arm(awake, TIMER_NONE, WEIR_NEVER);
    /* RFC 9293 3.8.3: data that waits too long ends the connection (R2, MUST-20). */
    if ((timer == TIMER_TIMEOUT || timer == TIMER_WINDOW_PROBE) && is_overdue(awake)) {
        weir_tcp_conn_end(awake, awake->is_soft_error ? WEIR_TCP_CAUSE_UNREACHABLE
                                                      : WEIR_TCP_CAUSE_TIMEOUT);
        return;
    }
    switch (timer) {
    case TIMER_REORDER:
        on_reorder_timer(awake);
        break;
    case TIMER_TAIL_PROBE:
        awake->is_tail_wanted = true;
        break;
    case TIMER_TIMEOUT:
        on_timeout(awake);
        break;
    case TIMER_WINDOW_PROBE:
        if (awake->is_short) {
            break;
        }
        if (awake->snd_wnd == 0) {
            awake->is_probe_wanted = true;
        } else {
            awake->is_override_due = true;
        }
        weir_tcp_count_up(&awake->probe_shift, PROBE_SHIFT_MAX);
        break;
    case TIMER_NONE:
    default:
        break;
    }
    weir_tcp_ready(awake);
}
