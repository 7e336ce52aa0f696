/* SPDX-License-Identifier: MIT */
/*
 * receive.c - data in: handing out at once, holding what must wait, what to acknowledge.
 *
 *        handed out | in order, held | hole | range | hole | range |
 *                take_nxt         rcv_nxt                       rcv_adv
 *
 * What is in order and held waits for resume; it takes up the window. Ranges out of order lie
 * within the window that was advertised already.
 * Spec: RFC 9293 3.8.6.2.2 (silly windows), RFC 5681 4.2, RFC 2018 4, RFC 2883 4.
 */
#include <string.h>

#include "tcp/internal.h"

/* --- window ----------------------------------------------------------------------------------- */

uint32_t weir_tcp_receive_window(const struct awake *awake)
{
    uint32_t size = awake->ep->config.receive_window;
    uint32_t waiting = awake->rcv_nxt - awake->take_nxt;
    uint32_t told = awake->rcv_adv - awake->rcv_nxt;
    uint32_t window = waiting < size ? size - waiting : 0;
    uint32_t said_max = (uint32_t)UINT16_MAX << awake->rcv_scale;
    window = window < said_max ? window : said_max;
    /* RFC 9293 3.8.6.2.2: the edge never moves back (SHOULD-14), nor forth by less than a segment
     * or half the buffer (MUST-39). */
    uint32_t least = size / 2 < awake->mss ? size / 2 : awake->mss;
    return window < told + least ? told : window;
}

void weir_tcp_window_open(struct awake *awake)
{
    uint32_t told = awake->rcv_adv - awake->rcv_nxt;
    uint32_t window = weir_tcp_receive_window(awake);
    uint32_t quarter = awake->ep->config.receive_window / 4;
    if (window > told && (told < 2 * awake->rcv_mss || window - told >= quarter)) {
        awake->is_ack_wanted = true;
        weir_tcp_ready(awake);
    }
}

/* --- holding ---------------------------------------------------------------------------------- */

static struct held *held_at(const struct weir_tcp *ep, uint32_t index)
{
    return weir_pool_at(&ep->helds, index);
}

static void free_held(struct weir_tcp *ep, struct held *held)
{
    weir_slide_drop(ep->config.slide, &held->hold);
    weir_pool_give(&ep->helds, held);
}

static void free_list(struct awake *awake, uint32_t index)
{
    while (index != HELD_NONE) {
        struct held *held = held_at(awake->ep, index);
        index = held->next;
        free_held(awake->ep, held);
        awake->helds--;
    }
}

static void give_holes(struct awake *awake)
{
    if (awake->holes != NULL && awake->holes->count == 0) {
        if (awake->holes->ranges != awake->holes->few) {
            weir_pool_give(&awake->ep->ranges, awake->holes->ranges);
        }
        weir_pool_give(&awake->ep->holes, awake->holes);
        awake->holes = NULL;
        weir_list_remove(&awake->ep->holders, &awake->holes_link);
    }
}

static void drop_holes(struct awake *awake)
{
    for (uint32_t i = 0; i < awake->holes->count; i++) {
        free_list(awake, awake->holes->ranges[i].held_first);
    }
    awake->holes->count = 0;
    give_holes(awake);
}

/* Makes room where another connection has held something out of order for longest: RFC 2018 8 lets
 * it be thrown away, though SACK told of it. Only where nothing came in order for longer than a
 * peer waits before it sends again. false: there is none. */
static bool forget_holes(struct awake *awake)
{
    static const weir_nsec patience = 3 * WEIR_SEC;
    struct weir_tcp *ep = awake->ep;
    struct weir_link *link = weir_list_first(&ep->holders);
    if (link == &awake->holes_link) {
        link = weir_list_next(&ep->holders, link);
    }
    if (link == NULL) {
        return false;
    }
    struct awake *oldest = WEIR_CONTAINER(link, struct awake, holes_link);
    if (ep->now - oldest->holes_at < patience) {
        return false;
    }
    uint32_t before = oldest->helds;
    drop_holes(oldest);
    ep->stats.drops[WEIR_TCP_DROP_NO_ROOM] += before - oldest->helds;
    return true;
}

/* As with segments (see flight.c) nobody takes the last ones who has many. */
static struct held *take_held(struct awake *awake)
{
    struct weir_pool *pool = &awake->ep->helds;
    while (awake->helds >= weir_pool_left(pool)) {
        if (!forget_holes(awake)) {
            return NULL;
        }
    }
    return weir_pool_take(pool);
}

/* HELD_NONE: no room. */
static uint32_t hold(struct awake *awake, uint32_t seq, struct weir_span span)
{
    struct weir_tcp *ep = awake->ep;
    struct held *held = take_held(awake);
    if (held == NULL) {
        return HELD_NONE;
    }
    while (weir_slide_hold(ep->config.slide, &held->hold, span) != WEIR_OK) {
        if (!forget_holes(awake)) {
            weir_pool_give(&ep->helds, held);
            return HELD_NONE;
        }
    }
    awake->helds++;
    held->seq = seq;
    held->next = HELD_NONE;
    return weir_pool_index(&ep->helds, held);
}

static void queue_append(struct awake *awake, uint32_t first, uint32_t last)
{
    if (awake->queue_first == HELD_NONE) {
        awake->queue_first = first;
    } else {
        held_at(awake->ep, awake->queue_last)->next = first;
    }
    awake->queue_last = last;
}

void weir_tcp_receive_drop_all(struct awake *awake)
{
    free_list(awake, awake->queue_first);
    awake->queue_first = awake->queue_last = HELD_NONE;
    if (awake->holes != NULL) {
        drop_holes(awake);
    }
}

void weir_tcp_release_borrowed(struct weir_tcp *ep)
{
    if (ep->borrowed != HELD_NONE) {
        free_held(ep, held_at(ep, ep->borrowed));
        ep->borrowed = HELD_NONE;
    }
}

/* --- ranges out of order ---------------------------------------------------------------------- */

/* The first range that ends behind seq. */
static uint32_t find_range(const struct holes *holes, uint32_t seq)
{
    uint32_t low = 0;
    uint32_t high = holes->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (weir_tcp_diff(holes->ranges[middle].end, seq) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void remove_range(struct holes *holes, uint32_t index)
{
    holes->count--;
    for (uint32_t i = index; i < holes->count; i++) {
        holes->ranges[i] = holes->ranges[i + 1];
    }
}

/* Joins range index with the next when they touch. */
static void join_next(struct weir_tcp *ep, struct holes *holes, uint32_t index)
{
    struct range *range = &holes->ranges[index];
    if (index + 1 < holes->count && range[1].first == range->end) {
        held_at(ep, range->held_last)->next = range[1].held_first;
        range->end = range[1].end;
        range->held_last = range[1].held_last;
        remove_range(holes, index + 1);
    }
}

/* false: there are as many ranges as can be. */
static bool ensure_room(struct awake *awake)
{
    struct holes *holes = awake->holes;
    if (holes->count < holes->room) {
        return true;
    }
    struct range *many = NULL;
    while (holes->room == RANGES_FEW && many == NULL) {
        many = weir_pool_take(&awake->ep->ranges);
        if (many == NULL && !forget_holes(awake)) {
            break;
        }
    }
    if (many == NULL) {
        return false;
    }
    memcpy(many, holes->few, sizeof(holes->few));
    holes->ranges = many;
    holes->room = RANGES_MAX;
    return true;
}

/* A piece that overlaps no range, in front of range index. false: no room. */
static bool add_piece(struct awake *awake, uint32_t index, uint32_t seq, struct weir_span span)
{
    struct holes *holes = awake->holes;
    struct weir_tcp *ep = awake->ep;
    bool follows = index > 0 && holes->ranges[index - 1].end == seq;
    if (!follows && !ensure_room(awake)) {
        return false;
    }
    uint32_t held = hold(awake, seq, span);
    if (held == HELD_NONE) {
        return false;
    }
    uint32_t end = seq + (uint32_t)span.length;
    if (follows) {
        struct range *range = &holes->ranges[--index];
        held_at(ep, range->held_last)->next = held;
        range->held_last = held;
        range->end = end;
    } else {
        for (uint32_t i = holes->count; i > index; i--) {
            holes->ranges[i] = holes->ranges[i - 1];
        }
        holes->count++;
        holes->ranges[index] = (struct range){seq, end, held, held};
    }
    join_next(ep, holes, index);
    return true;
}

static void note_recent(struct holes *holes, uint32_t seq)
{
    for (uint32_t i = RECENT_MAX - 1; i > 0; i--) {
        holes->recent[i] = holes->recent[i - 1];
    }
    holes->recent[0] = seq;
    holes->recent_count += holes->recent_count < RECENT_MAX;
}

static bool ensure_holes(struct awake *awake)
{
    if (awake->holes == NULL) {
        struct weir_tcp *ep = awake->ep;
        while ((awake->holes = weir_pool_take(&ep->holes)) == NULL) {
            if (!forget_holes(awake)) {
                return false;
            }
        }
        awake->holes_at = ep->now;
        weir_list_append(&ep->holders, &awake->holes_link);
        awake->holes->ranges = awake->holes->few;
        awake->holes->room = RANGES_FEW;
        awake->holes->count = awake->holes->recent_count = 0;
    }
    return true;
}

/* Keeps what of the text is new. */
static void keep_early(struct awake *awake, uint32_t seq, struct weir_span span)
{
    uint32_t at = seq;
    uint32_t end = seq + (uint32_t)span.length;
    bool is_kept = false;
    bool is_full = !ensure_holes(awake);
    while (!is_full && at != end) {
        uint32_t index = find_range(awake->holes, at);
        const struct range *range = &awake->holes->ranges[index];
        bool has_range = index < awake->holes->count && weir_tcp_diff(range->first, end) < 0;
        if (has_range && weir_tcp_diff(range->first, at) <= 0) {
            at = weir_tcp_diff(range->end, end) < 0 ? range->end : end;
            continue;
        }
        uint32_t stop = has_range ? range->first : end;
        is_full = !add_piece(awake, index, at, weir_span_of(span.data + (at - seq), stop - at));
        is_kept |= !is_full;
        at = is_full ? at : stop;
    }
    if (is_full) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_NO_ROOM);
    } else if (!is_kept) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_DUPLICATE);
        awake->has_dsack = true;
        awake->dsack = (struct weir_tcp_sack){seq, end};
    }
    if (!is_full && awake->holes != NULL && awake->holes->count > 0) {
        note_recent(awake->holes, seq);
    }
    give_holes(awake);
}

/* Ranges that are in order now join the queue. */
static void drain_holes(struct awake *awake)
{
    struct holes *holes = awake->holes;
    while (holes->count > 0 && weir_tcp_diff(holes->ranges[0].first, awake->rcv_nxt) <= 0) {
        struct range range = holes->ranges[0];
        remove_range(holes, 0);
        if (weir_tcp_diff(range.end, awake->rcv_nxt) <= 0) {
            free_list(awake, range.held_first);
            continue;
        }
        queue_append(awake, range.held_first, range.held_last);
        awake->rcv_nxt = range.end;
    }
    awake->holes_at = awake->ep->now;
    weir_list_remove(&awake->ep->holders, &awake->holes_link);
    weir_list_append(&awake->ep->holders, &awake->holes_link);
    give_holes(awake);
    if (awake->queue_first != HELD_NONE && !awake->is_paused) {
        weir_tcp_pend(awake, PENDING_RELEASE);
    }
}

uint32_t weir_tcp_fill_sacks(struct awake *awake, struct weir_tcp_sack *sacks, uint32_t max)
{
    const struct holes *holes = awake->holes;
    uint32_t count = 0;
    if (awake->has_dsack) {
        sacks[count++] = awake->dsack;
    }
    /* RFC 2018 4: first the range that changed last (MUST), then the ones before it (SHOULD). */
    for (uint32_t i = 0; holes != NULL && i < holes->recent_count && count < max; i++) {
        uint32_t index = find_range(holes, holes->recent[i]);
        if (index == holes->count ||
            weir_tcp_diff(holes->ranges[index].first, holes->recent[i]) > 0) {
            continue;
        }
        const struct weir_tcp_sack sack = {holes->ranges[index].first, holes->ranges[index].end};
        bool is_known = false;
        for (uint32_t k = awake->has_dsack; k < count; k++) {
            is_known |= sacks[k].first == sack.first;
        }
        if (!is_known) {
            sacks[count++] = sack;
        }
    }
    return count;
}

/* --- handing out ------------------------------------------------------------------------------ */

static void fill_event(struct awake *awake, struct weir_tcp_event *event, uint32_t seq,
                       struct weir_span span)
{
    event->type = WEIR_TCP_EVENT_DATA;
    event->conn = awake->conn;
    event->data.span = span;
    event->data.urgent_bytes = 0;
    if (awake->is_urgent_in) {
        int32_t left = weir_tcp_diff(awake->rcv_up, seq);
        event->data.urgent_bytes = left > 0 ? (uint32_t)left : 0;
        awake->is_urgent_in = left > (int64_t)span.length;
    }
}

/* RFC 9293 3.8.6.3 (MUST-58, 59), RFC 5681 4.2: every second full segment at once, others within
 * the delay; and at once while something is missing, or has come late. */
static void plan_ack(struct awake *awake, bool is_urgent)
{
    uint32_t unsaid = awake->rcv_nxt - awake->ack_sent;
    if (is_urgent || unsaid >= 2 * awake->rcv_mss) {
        awake->is_ack_wanted = true;
        weir_tcp_ready(awake);
    } else if (awake->ack_at == WEIR_NEVER) {
        awake->ack_at = awake->ep->now + awake->ep->config.tuning.ack_delay;
    }
}

bool weir_tcp_release_held(struct awake *awake, struct weir_tcp_event *event)
{
    struct weir_tcp *ep = awake->ep;
    while (awake->queue_first != HELD_NONE && !awake->is_paused) {
        uint32_t index = awake->queue_first;
        struct held *held = held_at(ep, index);
        struct weir_span span = held->hold.span;
        int32_t known = weir_tcp_diff(awake->take_nxt, held->seq);
        awake->queue_first = held->next;
        awake->helds--;
        if (known >= (int64_t)span.length) {
            free_held(ep, held);
            continue;
        }
        span = weir_span_of(span.data + known, span.length - (size_t)known);
        ep->borrowed = index;
        fill_event(awake, event, awake->take_nxt, span);
        awake->take_nxt += (uint32_t)span.length;
        weir_tcp_window_open(awake);
        if (awake->queue_first != HELD_NONE) {
            weir_tcp_pend(awake, PENDING_RELEASE);
        } else if (awake->is_peer_done) {
            weir_tcp_pend(awake, PENDING_PEER_CLOSED);
        }
        return true;
    }
    if (awake->queue_first == HELD_NONE && awake->is_peer_done && !awake->is_paused &&
        awake->take_nxt != awake->rcv_nxt) {
        weir_tcp_pend(awake, PENDING_PEER_CLOSED);
    }
    return false;
}

/* --- arrivals --------------------------------------------------------------------------------- */

/* Text in order. true: event is to be handed out. */
static bool take_next(struct awake *awake, struct weir_span span, struct weir_tcp_event *event)
{
    bool was_waiting = awake->holes != NULL;
    bool is_direct = awake->take_nxt == awake->rcv_nxt && !awake->is_paused;
    if (is_direct) {
        fill_event(awake, event, awake->rcv_nxt, span);
        awake->take_nxt += (uint32_t)span.length;
    } else {
        uint32_t held = hold(awake, awake->rcv_nxt, span);
        if (held == HELD_NONE) {
            weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_NO_ROOM);
            return false;
        }
        queue_append(awake, held, held);
        if (!awake->is_paused) {
            weir_tcp_pend(awake, PENDING_RELEASE);
        }
    }
    awake->rcv_nxt += (uint32_t)span.length;
    if (was_waiting) {
        drain_holes(awake);
    }
    plan_ack(awake, was_waiting);
    weir_tcp_receive_check_fin(awake);
    return is_direct;
}

/* Takes off what is known already, and what lies beyond the window or the FIN. */
static void trim(struct awake *awake, uint32_t *seq, struct weir_span *span)
{
    int32_t known = weir_tcp_diff(awake->rcv_nxt, *seq);
    uint32_t limit = awake->has_peer_fin ? awake->fin_seq : awake->rcv_adv;
    if (known > 0) {
        uint32_t cut = (uint32_t)weir_min_u64((uint32_t)known, span->length);
        awake->has_dsack = weir_tcp_has_options(awake, AGREED_SACK);
        awake->dsack = (struct weir_tcp_sack){*seq, *seq + cut};
        *seq += cut;
        *span = weir_span_of(span->data + cut, span->length - cut);
    }
    int32_t beyond = weir_tcp_diff(*seq + (uint32_t)span->length, limit);
    if (beyond > 0) {
        span->length -= weir_min_u64((uint32_t)beyond, span->length);
    }
}

bool weir_tcp_receive_text(struct awake *awake, const struct weir_tcp_segment *segment,
                           struct weir_tcp_event *event)
{
    uint32_t seq = segment->seq;
    struct weir_span span = segment->data;
    if (awake->is_peer_done || awake->is_ended || !weir_tcp_is_open(awake)) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_CLOSED);
        return false;
    }
    trim(awake, &seq, &span);
    if (span.length == 0) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_DUPLICATE);
        plan_ack(awake, true);
        return false;
    }
    if (seq == awake->rcv_nxt) {
        return take_next(awake, span, event);
    }
    keep_early(awake, seq, span);
    plan_ack(awake, true);
    return false;
}

static void on_peer_done(struct awake *awake)
{
    /* Right behind a full window, it is no reason to say more than none. */
    awake->rcv_adv += awake->rcv_adv == awake->rcv_nxt;
    awake->rcv_nxt++;
    awake->is_peer_done = true;
    awake->is_ack_wanted = true; /* RFC 9293 3.10.7.4, eighth */
    weir_tcp_ready(awake);
    switch (awake->state) {
    case WEIR_TCP_STATE_ESTABLISHED:
        awake->state = WEIR_TCP_STATE_CLOSE_WAIT;
        break;
    case WEIR_TCP_STATE_FIN_WAIT_1:
        awake->state = WEIR_TCP_STATE_CLOSING;
        break;
    case WEIR_TCP_STATE_FIN_WAIT_2:
        awake->state = WEIR_TCP_STATE_TIME_WAIT;
        break;
    default:
        break;
    }
    if (awake->queue_first == HELD_NONE) {
        weir_tcp_pend(awake, PENDING_PEER_CLOSED);
    }
}

void weir_tcp_receive_fin(struct awake *awake, const struct weir_tcp_segment *segment)
{
    uint32_t seq = segment->seq + (uint32_t)segment->data.length;
    if (awake->is_peer_done || !weir_tcp_is_synchronized(awake)) {
        return;
    }
    /* It may lie right behind the window: it takes no room. */
    if (!awake->has_peer_fin && weir_tcp_diff(seq, awake->rcv_nxt) >= 0 &&
        weir_tcp_diff(seq, awake->rcv_adv) <= 0) {
        awake->has_peer_fin = true;
        awake->fin_seq = seq;
    }
    weir_tcp_receive_check_fin(awake);
}

void weir_tcp_receive_check_fin(struct awake *awake)
{
    if (awake->has_peer_fin && !awake->is_peer_done && awake->rcv_nxt == awake->fin_seq) {
        on_peer_done(awake);
    }
}

void weir_tcp_on_peer_closed_pulled(struct awake *awake)
{
    awake->take_nxt = awake->rcv_nxt;
    weir_tcp_end_if_done(awake);
}

void weir_tcp_end_if_done(struct awake *awake)
{
    bool is_over =
        awake->state == WEIR_TCP_STATE_TIME_WAIT || awake->state == WEIR_TCP_STATE_CLOSED;
    if (is_over && awake->is_fin_acked && awake->is_peer_done &&
        awake->take_nxt == awake->rcv_nxt) {
        weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_DONE);
    }
}
