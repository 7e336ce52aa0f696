/* SPDX-License-Identifier: MIT */
/*
 * receive.c - segments in: handing out at once, holding what must wait, acknowledging.
 *
 *        handed out | in order, held | early ones, held here and there |
 *                take_nxt         rcv_nxt                    rcv_nxt + window
 *
 * What is in order and held waits for the rest of its message, for accept or for resume; it takes
 * up the window that is advertised. Early segments do not, as with the reference.
 */
#include <string.h>

#include "kcp/internal.h"

enum {
    RING_MIN = 16,
    RING_MAX = 2 * WEIR_KCP_WINDOW_MAX
};

static uint32_t queued_segments(const struct awake *awake)
{
    return awake->rcv_nxt - awake->take_nxt + awake->conn->endpoint->kept;
}

uint16_t weir_kcp_receive_window(const struct awake *awake)
{
    uint32_t window = awake->conn->endpoint->config.tuning.receive_window;
    uint32_t queued = queued_segments(awake);
    return queued < window ? (uint16_t)(window - queued) : 0;
}

/* --- acknowledgements ------------------------------------------------------------------------- */

static void give_acks(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->acks != awake->inline_acks) {
        weir_store_give(ep->window_store, awake->acks, awake->ack_max * sizeof(struct ack));
    }
}

void weir_kcp_acks_give(struct awake *awake)
{
    give_acks(awake);
    awake->acks = awake->inline_acks;
    awake->ack_max = INLINE_ACKS;
    awake->ack_count = awake->ack_sent = 0;
}

static bool grow_acks(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t count = 2 * awake->ack_max;
    struct ack *acks =
        count < 2 * ep->ack_max ? weir_store_take(ep->window_store, count * sizeof(*acks)) : NULL;
    if (acks == NULL) {
        return false;
    }
    memcpy(acks, awake->acks, awake->ack_count * sizeof(*acks));
    give_acks(awake);
    awake->acks = acks;
    awake->ack_max = count;
    return true;
}

/* false: no room to remember that it must be acknowledged; as if it had not come. */
static inline bool add_ack(struct awake *awake, uint32_t sn, uint32_t ts)
{
    if (awake->ack_count == awake->ack_max && !grow_acks(awake)) {
        weir_kcp_ready(awake->conn->endpoint, awake); /* the list is emptied at once */
        return false;
    }
    awake->acks[awake->ack_count++] = (struct ack){.sn = sn, .ts = ts};
    awake->conn->endpoint->cursor.is_ack_new = true;
    return true;
}

/* --- the ring --------------------------------------------------------------------------------- */

static struct held *held_at(const struct weir_kcp *ep, uint32_t index)
{
    return weir_pool_at(&ep->helds, index);
}

static uint32_t ring_get(const struct awake *awake, uint32_t sn)
{
    return awake->ring == NULL || sn - awake->take_nxt > awake->ring_mask
               ? HELD_NONE
               : awake->ring[sn & awake->ring_mask];
}

static size_t ring_bytes(uint32_t mask)
{
    return (mask + (size_t)1) * sizeof(uint32_t);
}

static bool ring_reach(struct awake *awake, uint32_t sn)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t ahead = sn - awake->take_nxt;
    if (awake->ring != NULL && ahead <= awake->ring_mask) {
        return true;
    }
    uint32_t slots = awake->ring == NULL ? RING_MIN : 2 * (awake->ring_mask + 1);
    while (slots <= ahead && slots < RING_MAX) {
        slots *= 2;
    }
    uint32_t *ring =
        slots > ahead ? weir_store_take(ep->window_store, ring_bytes(slots - 1)) : NULL;
    if (ring == NULL) {
        return false;
    }
    memset(ring, 0xff, ring_bytes(slots - 1));
    if (awake->ring != NULL) {
        for (uint32_t i = 0; i <= awake->ring_mask; i++) {
            uint32_t each = awake->take_nxt + i;
            ring[each & (slots - 1)] = awake->ring[each & awake->ring_mask];
        }
        weir_store_give(ep->window_store, awake->ring, ring_bytes(awake->ring_mask));
    }
    awake->ring = ring;
    awake->ring_mask = slots - 1;
    return true;
}

static void free_held(struct weir_kcp *ep, struct held *held)
{
    weir_slide_drop(ep->config.slide, &held->hold);
    weir_pool_give(&ep->helds, held);
}

/* What is early leaves some of the pool to what is in order: else a message whose rest is held, and
 * acknowledged, could wait for ever for its first fragment. */
static bool may_hold(const struct weir_kcp *ep, bool is_early)
{
    return !is_early ||
           weir_pool_left(&ep->helds) > weir_max_u64(HELD_RESERVE, ep->config.held_max / 8);
}

static bool hold(struct awake *awake, const struct weir_kcp_segment *segment)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (!may_hold(ep, segment->sn != awake->rcv_nxt)) {
        return false;
    }
    struct held *held = ring_reach(awake, segment->sn) ? weir_pool_take(&ep->helds) : NULL;
    if (held == NULL) {
        return false;
    }
    if (weir_slide_hold(ep->config.slide, &held->hold, segment->data) != WEIR_OK) {
        weir_pool_give(&ep->helds, held);
        return false;
    }
    held->frg = segment->frg;
    awake->ring[segment->sn & awake->ring_mask] = weir_pool_index(&ep->helds, held);
    awake->held_count++;
    return true;
}

void weir_kcp_receive_drop_all(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->ring == NULL) {
        return;
    }
    for (uint32_t i = 0; i <= awake->ring_mask && awake->held_count > 0; i++) {
        if (awake->ring[i] != HELD_NONE) {
            free_held(ep, held_at(ep, awake->ring[i]));
            awake->held_count--;
        }
    }
    weir_store_give(ep->window_store, awake->ring, ring_bytes(awake->ring_mask));
    awake->ring = NULL;
    awake->take_nxt = awake->whole_nxt = awake->rcv_nxt;
}

void weir_kcp_release_borrowed(struct weir_kcp *ep)
{
    while (ep->borrowed != HELD_NONE) {
        struct held *held = held_at(ep, ep->borrowed);
        ep->borrowed = held->next;
        free_held(ep, held);
    }
}

/* --- handing out ------------------------------------------------------------------------------ */

static bool is_taking(const struct weir_kcp_conn *conn)
{
    return !conn->is_paused && (conn->state == STATE_OPEN || conn->state == STATE_CLOSING);
}

static void break_off(struct awake *awake)
{
    weir_kcp_conn_end(awake->conn, WEIR_KCP_CAUSE_PROTOCOL);
}

/* Does a fragment follow the one before it? A message that can never be complete within the window
 * would stand there for ever. */
static bool is_next_fragment(const struct awake *awake, uint32_t sn, uint8_t frg)
{
    uint32_t before = sn == awake->take_nxt ? HELD_NONE : ring_get(awake, sn - 1);
    uint8_t left = before == HELD_NONE ? 0 : held_at(awake->conn->endpoint, before)->frg;
    if (left == 0) {
        return frg < awake->conn->endpoint->config.tuning.receive_window;
    }
    return frg == left - 1;
}

/* Early segments that are in order now. false: the session has ended. */
static bool advance(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    const struct weir_kcp_tuning *tuning = &ep->config.tuning;
    uint32_t index;
    while (queued_segments(awake) < tuning->receive_window &&
           (index = ring_get(awake, awake->rcv_nxt)) != HELD_NONE) {
        uint8_t frg = held_at(ep, index)->frg;
        if (!tuning->is_stream && !ep->is_lenient &&
            !is_next_fragment(awake, awake->rcv_nxt, frg)) {
            break_off(awake);
            return false;
        }
        awake->rcv_nxt++;
        if (frg == 0 || tuning->is_stream) {
            awake->whole_nxt = awake->rcv_nxt;
        }
    }
    return true;
}

static void advance_and_release(struct awake *awake)
{
    if (advance(awake) && awake->whole_nxt != awake->take_nxt && is_taking(awake->conn)) {
        weir_kcp_conn_pend(awake->conn, PENDING_RELEASE);
    }
}

static void fill_event(struct weir_kcp_conn *conn, struct weir_kcp_event *event, uint32_t spans,
                       size_t length)
{
    event->type = WEIR_KCP_EVENT_MESSAGE;
    event->conn = conn;
    event->message.spans = conn->endpoint->spans;
    event->message.span_count = spans;
    event->message.length = length;
}

/* The peer would find out only by asking. */
static void tell_window(struct awake *awake)
{
    awake->is_tell_wanted = true;
    weir_kcp_flush_soon(awake);
}

bool weir_kcp_receive_read(struct awake *awake)
{
    bool was_full = weir_kcp_receive_window(awake) == 0;
    awake->conn->endpoint->kept--;
    if (was_full && advance(awake) && weir_kcp_receive_window(awake) > 0) {
        tell_window(awake);
    }
    return was_full;
}

bool weir_kcp_release_held(struct weir_kcp_conn *conn, struct weir_kcp_event *event)
{
    struct weir_kcp *ep = conn->endpoint;
    bool is_stream = ep->config.tuning.is_stream;
    struct awake *awake = conn->is_awake ? weir_kcp_awake_of(conn) : NULL;
    if (awake == NULL || !is_taking(conn) || awake->take_nxt == awake->whole_nxt) {
        return false;
    }
    bool was_full = weir_kcp_receive_window(awake) == 0;
    uint32_t count = 0;
    size_t length = 0;
    uint8_t frg;
    do {
        uint32_t *place = &awake->ring[awake->take_nxt & awake->ring_mask];
        struct held *held = held_at(ep, *place);
        frg = is_stream ? 0 : held->frg;
        ep->spans[count++] = held->hold.span;
        length += held->hold.span.length;
        held->next = ep->borrowed;
        ep->borrowed = *place;
        *place = HELD_NONE;
        awake->take_nxt++;
        awake->held_count--;
    } while (frg != 0 && count < SPANS_MAX && awake->take_nxt != awake->whole_nxt);
    fill_event(conn, event, count, length);
    if (advance(awake) && was_full && weir_kcp_receive_window(awake) > 0) {
        tell_window(awake);
    }
    if (awake->take_nxt != awake->whole_nxt) {
        weir_kcp_conn_pend(conn, PENDING_RELEASE);
    }
    return true;
}

size_t weir_kcp_copy_message(const struct weir_kcp_event *event, void *buffer, size_t room)
{
    uint8_t *at = buffer;
    size_t left = room;
    for (uint32_t i = 0; i < event->message.span_count && left > 0; i++) {
        struct weir_span span = event->message.spans[i];
        size_t length = weir_min_u64(span.length, left);
        if (length > 0) {
            memcpy(at, span.data, length);
        }
        at += length;
        left -= length;
    }
    return room - left;
}

/* --- arrivals --------------------------------------------------------------------------------- */

/* What is early, or must wait, or is refused. */
static void keep(struct awake *awake, const struct weir_kcp_segment *segment)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->conn->state == STATE_REQUESTED && awake->held_count >= REQUEST_SEGMENTS_MAX) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_PENDING);
        return;
    }
    if (!add_ack(awake, segment->sn, segment->ts)) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_NO_ROOM);
        return;
    }
    if (!hold(awake, segment)) {
        awake->ack_count--; /* not acknowledged, so it comes again */
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_NO_ROOM);
        return;
    }
    awake->segments_received++;
    advance_and_release(awake);
}

static bool is_direct(const struct awake *awake, const struct weir_kcp_segment *segment)
{
    return awake->rcv_nxt == awake->take_nxt && is_taking(awake->conn) &&
           (segment->frg == 0 || awake->conn->endpoint->config.tuning.is_stream);
}

bool weir_kcp_receive_push(struct awake *awake, const struct weir_kcp_segment *segment,
                           struct weir_kcp_event *event)
{
    struct weir_kcp_conn *conn = awake->conn;
    struct weir_kcp *ep = conn->endpoint;
    int32_t ahead = weir_kcp_diff(segment->sn, awake->rcv_nxt);
    if (ahead == 0 && is_direct(awake, segment) && add_ack(awake, segment->sn, segment->ts)) {
        /* In order, whole and wanted: straight out of the datagram. */
        awake->segments_received++;
        awake->rcv_nxt++;
        awake->take_nxt = awake->whole_nxt = awake->rcv_nxt;
        ep->spans[0] = segment->data;
        fill_event(conn, event, 1, segment->data.length);
        if (awake->held_count > 0) {
            advance_and_release(awake);
        }
        return true;
    }
    if (ahead >= ep->config.tuning.receive_window) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_WINDOW);
    } else if (ahead < 0 || ring_get(awake, segment->sn) != HELD_NONE) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_DUPLICATE);
        awake->segments_repeated++;
        (void)add_ack(awake, segment->sn, segment->ts); /* the first one may be lost */
    } else {
        keep(awake, segment);
    }
    return false;
}
