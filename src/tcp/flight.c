/* SPDX-License-Identifier: MIT */
/*
 * flight.c - the pieces that were sent: in order of sequence, and in order of their last sending.
 *
 * A piece is as long as what was handed down at once, up to 64 KB; it is cut where acknowledgements
 * or resending ask for it.
 */
#include "tcp/internal.h"

uint32_t weir_tcp_full_segment(const struct awake *awake)
{
    uint32_t options =
        weir_tcp_has_options(awake, AGREED_TIMESTAMPS) ? WEIR_TCP_TIMESTAMPS_BYTES : 0;
    return awake->mss - options;
}

/* --- records ---------------------------------------------------------------------------------- */

/* All connections share the pool: who has many records takes no more of the last ones, so that
 * there are some for everybody else, whatever a peer does. */
static struct segment *take(struct awake *awake, uint32_t records)
{
    struct weir_tcp *ep = awake->ep;
    struct segment *segment =
        records < weir_pool_left(&ep->segments) ? weir_pool_take(&ep->segments) : NULL;
    if (segment != NULL) {
        *segment = (struct segment){.flags = 0};
        awake->records++;
    }
    return segment;
}

struct segment *weir_tcp_flight_take(struct awake *awake)
{
    return take(awake, awake->records);
}

/* What is cut may have a bit more, two thirds instead of half: else lost data could not be sent. */
static struct segment *take_for_rest(struct awake *awake)
{
    return take(awake, awake->records / 2);
}

void weir_tcp_flight_give(struct awake *awake, struct segment *segment)
{
    weir_pool_give(&awake->ep->segments, segment);
    awake->records--;
    weir_tcp_wake_short(awake->ep);
}

void weir_tcp_run_short(struct awake *awake)
{
    if (!awake->is_short) {
        awake->is_short = true;
        weir_list_append(&awake->ep->shorts, &awake->short_link);
    }
}

void weir_tcp_leave_short(struct awake *awake)
{
    if (awake->is_short) {
        awake->is_short = false;
        weir_list_remove(&awake->ep->shorts, &awake->short_link);
    }
}

void weir_tcp_wake_short(struct weir_tcp *ep)
{
    struct weir_link *first = weir_list_first(&ep->shorts);
    if (first != NULL) {
        struct awake *awake = WEIR_CONTAINER(first, struct awake, short_link);
        weir_tcp_leave_short(awake);
        weir_tcp_ready(awake);
    }
}

/* --- the list in order of sending ------------------------------------------------------------- */

/* Behind where; NULL: first. */
static void times_insert(struct awake *awake, struct segment *where, struct segment *segment)
{
    struct segment *next = where != NULL ? where->time_next : awake->times.first;
    segment->time_previous = where;
    segment->time_next = next;
    *(where != NULL ? &where->time_next : &awake->times.first) = segment;
    *(next != NULL ? &next->time_previous : &awake->times.last) = segment;
}

static void times_remove(struct awake *awake, struct segment *segment)
{
    *(segment->time_previous != NULL ? &segment->time_previous->time_next : &awake->times.first) =
        segment->time_next;
    *(segment->time_next != NULL ? &segment->time_next->time_previous : &awake->times.last) =
        segment->time_previous;
    segment->time_next = segment->time_previous = NULL;
}

/* --- in flight or not ------------------------------------------------------------------------- */

void weir_tcp_flight_on_sent(struct awake *awake, struct segment *segment)
{
    weir_cc_on_sent(&awake->cc, awake->ep->now, segment->length, awake->in_flight, &segment->cc);
    weir_pacer_on_sent(&awake->pacer, segment->length);
    awake->in_flight += segment->length;
    awake->prr_out += awake->recovery == RECOVERY_FAST ? segment->length : 0;
    times_insert(awake, awake->times.last, segment);
}

void weir_tcp_flight_add(struct awake *awake, struct segment *segment)
{
    segment->previous = awake->sequence.last;
    *(segment->previous != NULL ? &segment->previous->next : &awake->sequence.first) = segment;
    awake->sequence.last = segment;
    weir_tcp_flight_on_sent(awake, segment);
}

void weir_tcp_flight_leave(struct awake *awake, struct segment *segment)
{
    times_remove(awake, segment);
    awake->in_flight -= segment->length;
}

void weir_tcp_flight_mark_lost(struct awake *awake, struct segment *segment)
{
    weir_tcp_flight_leave(awake, segment);
    segment->flags |= SEGMENT_LOST;
    weir_tcp_count_up(&segment->losses, UINT8_MAX);
    awake->lost += segment->length;
    if (awake->lost_hint != NULL && weir_tcp_diff(segment->seq, awake->lost_hint->seq) < 0) {
        awake->lost_hint = segment;
    }
}

void weir_tcp_flight_unmark_lost(struct awake *awake, struct segment *segment, bool is_arrived)
{
    segment->flags &= (uint8_t)~SEGMENT_LOST;
    awake->lost -= segment->length;
    if (is_arrived) {
        return;
    }
    struct segment *where = awake->times.last;
    while (where != NULL && where->cc.sent_time > segment->cc.sent_time) {
        where = where->time_previous;
    }
    times_insert(awake, where, segment);
    awake->in_flight += segment->length;
}

struct segment *weir_tcp_flight_next_lost(struct awake *awake)
{
    struct segment *segment = awake->lost_hint != NULL ? awake->lost_hint : awake->sequence.first;
    while (segment != NULL && (segment->flags & SEGMENT_LOST) == 0) {
        segment = segment->next;
    }
    awake->lost_hint = segment;
    return segment;
}

/* --- cutting and removing --------------------------------------------------------------------- */

/* The message that its first byte is in. NULL: nothing but FIN. */
static void find_message(struct segment *segment)
{
    while (segment->message != NULL &&
           segment->seq - segment->message->seq >= segment->message->length) {
        segment->message = segment->message->next;
    }
}

void weir_tcp_flight_trim(struct awake *awake, struct segment *segment, uint32_t bytes)
{
    WEIR_ASSERT(bytes < segment->length);
    if ((segment->flags & SEGMENT_LOST) != 0) {
        awake->lost -= bytes;
    } else if ((segment->flags & SEGMENT_SACKED) == 0) {
        awake->in_flight -= bytes;
    }
    segment->seq += bytes;
    segment->length -= bytes;
    segment->cc.size_bytes = segment->length;
    find_message(segment);
}

bool weir_tcp_flight_split(struct awake *awake, struct segment *segment, uint32_t length)
{
    WEIR_ASSERT(length > 0 && length < segment->length);
    struct segment *rest = take_for_rest(awake);
    if (rest == NULL) {
        return false;
    }
    *rest = *segment;
    rest->seq += length;
    rest->length -= length;
    rest->cc.size_bytes = rest->length;
    find_message(rest);
    segment->length = length;
    segment->cc.size_bytes = length;
    segment->flags &= (uint8_t)~SEGMENT_FIN;
    rest->previous = segment;
    segment->next = rest;
    *(rest->next != NULL ? &rest->next->previous : &awake->sequence.last) = rest;
    if ((segment->flags & (SEGMENT_SACKED | SEGMENT_LOST)) == 0) {
        times_insert(awake, segment, rest);
    }
    return true;
}

static uint32_t count_full(const struct awake *awake, const struct segment *segment)
{
    return (segment->length + awake->mss - 1) / awake->mss;
}

void weir_tcp_flight_remove(struct awake *awake, struct segment *segment)
{
    if ((segment->flags & SEGMENT_SACKED) != 0) {
        awake->sacked -= segment->sacked;
    }
    if (awake->lost_hint == segment) {
        awake->lost_hint = segment->next;
    }
    if (awake->sack_hint == segment) {
        awake->sack_hint = segment->next;
    }
    *(segment->previous != NULL ? &segment->previous->next : &awake->sequence.first) =
        segment->next;
    *(segment->next != NULL ? &segment->next->previous : &awake->sequence.last) = segment->previous;
    weir_tcp_flight_give(awake, segment);
}

/* Both have arrived: one record will do. */
static void join_next(struct awake *awake, struct segment *segment)
{
    struct segment *next = segment->next;
    segment->length += next->length;
    segment->flags |= next->flags & SEGMENT_FIN;
    segment->sacked += next->sacked;
    awake->sacked += next->sacked;
    weir_tcp_flight_remove(awake, next);
}

struct segment *weir_tcp_flight_mark_sacked(struct awake *awake, struct segment *segment)
{
    segment->flags |= SEGMENT_SACKED;
    segment->sacked = count_full(awake, segment);
    awake->sacked += segment->sacked;
    if (segment->next != NULL && (segment->next->flags & SEGMENT_SACKED) != 0) {
        join_next(awake, segment);
    }
    if (segment->previous != NULL && (segment->previous->flags & SEGMENT_SACKED) != 0) {
        segment = segment->previous;
        join_next(awake, segment);
    }
    return segment;
}

void weir_tcp_flight_drop_all(struct awake *awake)
{
    while (awake->sequence.first != NULL) {
        weir_tcp_flight_remove(awake, awake->sequence.first);
    }
    awake->times = (struct segment_list){NULL, NULL};
    awake->sacked = 0;
    awake->in_flight = awake->lost = 0;
}
