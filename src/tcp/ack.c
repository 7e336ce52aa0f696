/* SPDX-License-Identifier: MIT */
/*
 * ack.c - what an incoming ACK says: the cumulative number, SACK and D-SACK, window, ECE.
 *
 * It is only read here; what follows from it is decided in loss.c.
 * Spec: RFC 9293 3.10.7.4 (fifth), RFC 5961 5.2, RFC 2018, RFC 2883, RFC 3168 6.1.2.
 */
#include "tcp/internal.h"

/* --- arrivals --------------------------------------------------------------------------------- */

/* Was it sent again, but answered before the copy can have been? Round trips vary: an eighth less
 * than the shortest one is none yet. */
static bool is_early(const struct awake *awake, const struct segment *segment)
{
    weir_nsec rtt = awake->ep->now - segment->cc.sent_time;
    return (segment->flags & SEGMENT_AGAIN) != 0 && awake->rtt.has_sample &&
           rtt < awake->rtt.min - awake->rtt.min / 8;
}

/* RFC 3522 3.2, by time instead of timestamps: in less than half of the shortest round trip nothing
 * is answered, so what was taken for lost was not. The D-SACK that follows says the same again. */
static void note_early(struct awake *awake, struct ack_work *work, const struct segment *segment)
{
    bool is_proof = awake->ep->now - segment->cc.sent_time < awake->rtt.min / 2;
    work->untimed += segment->length;
    if (is_proof && awake->again_out >= segment->length) {
        awake->again_out -= segment->length;
        awake->early_out += segment->length;
        weir_cc_on_spurious_loss(&awake->cc, awake->ep->now);
        awake->ep->stats.spurious_losses++;
    }
}

static void note_delivered(struct awake *awake, struct ack_work *work, struct segment *segment)
{
    bool was_lost = (segment->flags & SEGMENT_LOST) != 0;
    work->delivered += segment->length;
    if (was_lost) {
        weir_tcp_flight_unmark_lost(awake, segment, true);
        if ((segment->flags & SEGMENT_AGAIN) == 0) {
            weir_cc_on_spurious_loss(&awake->cc, awake->ep->now);
            awake->ep->stats.spurious_losses++;
        }
    } else {
        weir_tcp_flight_leave(awake, segment);
    }
    weir_tcp_rack_update(awake, segment);
    if (is_early(awake, segment)) {
        note_early(awake, work, segment);
        return;
    }
    if (segment->length > awake->passed) {
        awake->passed = segment->length;
    }
    if ((segment->flags & SEGMENT_PROBE) != 0) {
        weir_tcp_mtu_on_probe_arrived(awake);
    }
    if (!work->has_newest || segment->cc.sent_time >= work->newest.sent_time) {
        work->has_newest = true;
        work->newest = segment->cc;
        /* RFC 6298 3: never of what was sent twice (MUST; Karn). Of what was taken for lost it is
         * the ACK, mostly, that was lost. */
        if ((segment->flags & SEGMENT_AGAIN) == 0) {
            weir_nsec sample = weir_max_u64(awake->ep->now - segment->cc.sent_time, 1);
            *(was_lost ? &work->late : &work->sample) = sample;
        }
    }
    if ((segment->flags & SEGMENT_AGAIN) == 0 &&
        weir_tcp_diff(segment->seq + segment->length, awake->frto_point) <= 0) {
        work->is_original = true;
    }
}

/* --- SACK ------------------------------------------------------------------------------------- */

/* Where to look for it from: the ends, or what was found last. */
static struct segment *nearest_segment(const struct awake *awake, uint32_t seq)
{
    struct segment *hint = awake->sack_hint;
    uint32_t first = seq - awake->snd_una;
    uint32_t last = awake->snd_nxt - seq;
    if (hint != NULL) {
        uint32_t between = weir_tcp_diff(seq, hint->seq) < 0 ? hint->seq - seq : seq - hint->seq;
        if (between < first && between < last) {
            return hint;
        }
    }
    return first <= last ? awake->sequence.first : awake->sequence.last;
}

/* The first segment that ends behind seq. NULL: none, or it is far: the next ACK that asks for it
 * looks on from where this one came to, so that none costs much. */
static struct segment *find_segment(struct awake *awake, uint32_t seq)
{
    enum {
        STEPS_MAX = 1024
    };

    unsigned steps = 0;
    struct segment *segment = nearest_segment(awake, seq);
    while (segment != NULL && segment->previous != NULL && weir_tcp_diff(segment->seq, seq) > 0 &&
           steps < STEPS_MAX) {
        segment = segment->previous;
        steps++;
    }
    while (segment != NULL && weir_tcp_diff(segment->seq + segment->length, seq) <= 0 &&
           steps < STEPS_MAX) {
        segment = segment->next;
        steps++;
    }
    awake->sack_hint = segment;
    return steps < STEPS_MAX ? segment : NULL;
}

/* Takes what the block covers of a piece, in whole segments as they were sent: a peer that says
 * less cuts nothing, and says it again when it has all. The piece to go on behind; NULL: no
 * record. */
static struct segment *take_part(struct awake *awake, struct ack_work *work,
                                 struct segment *segment, const struct weir_tcp_sack *block)
{
    uint32_t full = segment->full;
    int32_t before = weir_tcp_diff(block->first, segment->seq);
    uint32_t start = before > 0 ? ((uint32_t)before + full - 1) / full * full : 0;
    uint32_t stop = block->end - segment->seq;
    stop = stop < segment->length ? stop - stop % full : segment->length;
    if (start >= stop) {
        return segment;
    }
    if (start > 0) {
        if (!weir_tcp_flight_split(awake, segment, start)) {
            return NULL;
        }
        segment = segment->next;
        stop -= start;
    }
    if (stop < segment->length && !weir_tcp_flight_split(awake, segment, stop)) {
        return NULL;
    }
    note_delivered(awake, work, segment);
    work->has_sacked = true;
    return weir_tcp_flight_mark_sacked(awake, segment);
}

static void take_block(struct awake *awake, struct ack_work *work,
                       const struct weir_tcp_sack *block)
{
    struct segment *segment = find_segment(awake, block->first);
    while (segment != NULL && weir_tcp_diff(segment->seq, block->end) < 0) {
        if ((segment->flags & SEGMENT_SACKED) == 0) {
            segment = take_part(awake, work, segment, block);
        }
        segment = segment != NULL ? segment->next : NULL;
    }
}

/* RFC 2883 4: the first block tells of a duplicate when it lies below the cumulative ACK or within
 * the second block. */
static bool is_dsack(const struct weir_tcp_segment *segment)
{
    const struct weir_tcp_sack *sacks = segment->sacks;
    if (weir_tcp_diff(sacks[0].first, segment->ack) < 0) {
        return weir_tcp_diff(sacks[0].end, segment->ack) <= 0;
    }
    return segment->sack_count > 1 && weir_tcp_diff(sacks[0].first, sacks[1].first) >= 0 &&
           weir_tcp_diff(sacks[0].end, sacks[1].end) <= 0;
}

/* 0: it tells of none. */
static uint32_t dsack_bytes(const struct awake *awake, const struct weir_tcp_segment *segment)
{
    if (segment->sack_count == 0 || !weir_tcp_has_options(awake, AGREED_SACK) ||
        !is_dsack(segment)) {
        return 0;
    }
    uint32_t length = segment->sacks[0].end - segment->sacks[0].first;
    return length <= awake->snd_wnd_max ? length : 0;
}

static void take_sacks(struct awake *awake, struct ack_work *work)
{
    const struct weir_tcp_segment *segment = work->segment;
    work->dsack_bytes = dsack_bytes(awake, segment);
    for (unsigned i = is_dsack(segment); i < segment->sack_count; i++) {
        const struct weir_tcp_sack *block = &segment->sacks[i];
        /* Of what is in flight, and nothing else: whatever a hostile peer writes. */
        if (weir_tcp_diff(block->first, block->end) < 0 &&
            weir_tcp_diff(block->first, segment->ack) > 0 &&
            weir_tcp_diff(block->end, awake->snd_nxt) <= 0) {
            take_block(awake, work, block);
            if (weir_tcp_diff(block->end, awake->highest_sacked) > 0) {
                awake->highest_sacked = block->end;
            }
        }
    }
}

/* --- the cumulative number -------------------------------------------------------------------- */

/* Numbers that are written only when something happens: 2^31 bytes later they would seem to lie
 * ahead. */
static void pull_along(struct awake *awake)
{
    uint32_t una = awake->snd_una;
    if (weir_tcp_diff(una, awake->highest_sacked) > 0) {
        awake->highest_sacked = una;
    }
    if (weir_tcp_diff(una, awake->reorder_round) > 0) {
        awake->reorder_round = una;
    }
    if (weir_tcp_diff(una - 1, awake->ece_point) > 0) {
        awake->ece_point = una - 1; /* an ACK of una with ECE is news */
    }
}

static void take_cumulative(struct awake *awake, struct ack_work *work, uint32_t ack)
{
    struct segment *segment;
    weir_nsec sample = work->sample;
    bool has_again = false;
    while ((segment = awake->sequence.first) != NULL && weir_tcp_diff(segment->seq, ack) < 0) {
        has_again |= (segment->flags & SEGMENT_AGAIN) != 0;
        int32_t behind = weir_tcp_diff(segment->seq + segment->length, ack);
        if (behind > 0) {
            uint32_t bytes = segment->length - (uint32_t)behind;
            work->delivered += (segment->flags & SEGMENT_SACKED) == 0 ? bytes : 0;
            weir_tcp_flight_trim(awake, segment, bytes);
            break;
        }
        if ((segment->flags & SEGMENT_SACKED) == 0) {
            note_delivered(awake, work, segment);
        }
        weir_tcp_flight_remove(awake, segment);
    }
    awake->snd_una = ack;
    pull_along(awake);
    /* What waited behind a hole tells how long the hole was open. */
    work->sample = has_again ? sample : work->sample;
}

/* --- window ----------------------------------------------------------------------------------- */

static bool take_window(struct awake *awake, const struct weir_tcp_segment *segment)
{
    int32_t newer = weir_tcp_diff(segment->seq, awake->snd_wl1);
    if (newer < 0 || (newer == 0 && weir_tcp_diff(segment->ack, awake->snd_wl2) < 0)) {
        return false;
    }
    uint32_t window = (uint32_t)segment->window << awake->snd_scale;
    bool is_changed = window != awake->snd_wnd;
    awake->snd_wnd = window;
    awake->snd_wl1 = segment->seq;
    awake->snd_wl2 = segment->ack;
    if (window > awake->snd_wnd_max) {
        awake->snd_wnd_max = window;
    }
    if (window > 0) {
        awake->probe_shift = 0;
    }
    return is_changed;
}

/* The byte that asked for a window was taken (see output.c). */
static void take_probe_byte(struct awake *awake)
{
    awake->is_probe_out = false;
    awake->snd_nxt++;
    weir_tcp_send_skip(awake);
}

/* --- ACKs ------------------------------------------------------------------------------------- */

/* RFC 5681 2: a duplicate ACK, where there is no SACK to tell more. */
static bool is_duplicate(const struct awake *awake, const struct weir_tcp_segment *segment,
                         bool is_window_changed)
{
    return segment->ack == awake->snd_una && segment->data.length == 0 && !is_window_changed &&
           (segment->flags & (WEIR_TCP_SYN | WEIR_TCP_FIN)) == 0 && awake->sequence.first != NULL &&
           !weir_tcp_has_options(awake, AGREED_SACK);
}

static bool is_acceptable(struct awake *awake, const struct weir_tcp_segment *segment)
{
    int32_t ahead = weir_tcp_diff(segment->ack, awake->snd_nxt);
    if (ahead == 1 && awake->is_probe_out && weir_tcp_unsent(awake) > 0 &&
        awake->snd_una == awake->snd_nxt) {
        take_probe_byte(awake);
        ahead = 0;
    }
    /* RFC 5961 5.2: from the largest window ever below what is unacknowledged on (MUST). */
    if (ahead > 0 || weir_tcp_diff(segment->ack, awake->snd_una) < -(int64_t)awake->snd_wnd_max) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_ACK);
        weir_tcp_challenge(awake);
        return false;
    }
    return true;
}

bool weir_tcp_on_ack(struct awake *awake, const struct weir_tcp_segment *segment)
{
    struct ack_work work = {.segment = segment, .una_before = awake->snd_una};
    if (!is_acceptable(awake, segment)) {
        return false;
    }
    if (weir_tcp_diff(segment->ack, awake->snd_una) < 0) {
        /* An old one, overtaken maybe: its text may still be new, and nothing says again what its
         * D-SACK does. */
        weir_tcp_loss_on_dsack(awake, dsack_bytes(awake, segment));
        return true;
    }
    bool is_window_changed = take_window(awake, segment);
    if (awake->snd_wnd == 0) {
        awake->oldest_at = awake->ep->now; /* RFC 9293 3.8.6.1: it answers, so it lives (MUST-36) */
    } else {
        awake->open_at = awake->ep->now;
    }
    if (segment->sack_count > 0 && weir_tcp_has_options(awake, AGREED_SACK)) {
        take_sacks(awake, &work);
    }
    if (is_duplicate(awake, segment, is_window_changed)) {
        awake->dupacks++;
        work.delivered = weir_tcp_full_segment(awake);
    }
    if (segment->ack != awake->snd_una) {
        take_cumulative(awake, &work, segment->ack);
    }
    /* RFC 3168 6.1.2: once a window. */
    if ((segment->flags & WEIR_TCP_ECE) != 0 && weir_tcp_has_options(awake, AGREED_ECN) &&
        weir_tcp_diff(segment->ack, awake->ece_point) > 0) {
        work.is_ce = true;
        awake->ece_point = awake->snd_nxt;
        awake->is_cwr_wanted = true;
    }
    weir_tcp_loss_on_ack(awake, &work);
    if (awake->snd_una != work.una_before) {
        weir_tcp_send_settle(awake);
    }
    return true;
}
