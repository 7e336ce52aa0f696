/* SPDX-License-Identifier: MIT */
/*
 * reference.c - a session's inner numbers for programs written for the reference implementation.
 */
#include "kcp/reference.h"

#include <string.h>

#include "kcp/internal.h"

enum weir_status weir_kcp_reference_begin(struct weir_kcp_conn *conn,
                                          const struct weir_kcp_reference *from)
{
    conn->endpoint->is_lenient = true;
    conn->is_paused = true; /* a paused session is never put to sleep */
    struct awake *awake = weir_kcp_conn_wake(conn);
    if (awake == NULL) {
        return WEIR_ERR_FULL;
    }
    if (from == NULL) {
        return WEIR_OK;
    }
    WEIR_ASSERT(from->is_quiet && from->snd_una == from->snd_nxt);
    awake->snd_una = awake->snd_nxt = from->snd_nxt;
    awake->rcv_nxt = awake->take_nxt = awake->whole_nxt = from->rcv_nxt;
    awake->srtt_ms = from->srtt_ms;
    awake->rttval_ms = from->rttval_ms;
    awake->rto_ms = from->rto_ms;
    awake->peer_window = from->peer_window;
    awake->peer_window_max = from->peer_window_max;
    awake->cwnd = from->cwnd;
    awake->cwnd_bytes = from->cwnd_bytes;
    awake->ssthresh = from->ssthresh;
    return WEIR_OK;
}

void weir_kcp_reference_set_fast_limit(struct weir_kcp_conn *conn, uint8_t fast_limit)
{
    conn->endpoint->fast_limit = fast_limit;
}

void weir_kcp_reference_get(const struct weir_kcp_conn *conn, struct weir_kcp_reference *reference)
{
    const struct awake *awake = weir_kcp_awake_of(conn);
    uint32_t in_order = awake->rcv_nxt - awake->take_nxt;
    *reference = (struct weir_kcp_reference){
        .snd_una = awake->snd_una,
        .snd_nxt = awake->snd_nxt,
        .rcv_nxt = awake->rcv_nxt,
        .in_flight = awake->snd_nxt - awake->snd_una - awake->arrived,
        .srtt_ms = awake->srtt_ms,
        .rttval_ms = awake->rttval_ms,
        .rto_ms = awake->rto_ms,
        .peer_window = awake->peer_window,
        .peer_window_max = awake->peer_window_max,
        .cwnd = awake->cwnd,
        .cwnd_bytes = awake->cwnd_bytes,
        .ssthresh = awake->ssthresh,
        .send_window = weir_kcp_send_window(awake),
        .queued = awake->queued,
        .in_order = in_order + conn->endpoint->kept,
        .early = awake->held_count - in_order,
        .timeouts = awake->resent_timeout,
        .is_ask_wanted = awake->is_ask_wanted,
        .is_tell_wanted = awake->is_tell_wanted,
        .is_dead = awake->is_dead,
        .is_quiet = awake->waiting == 0 && awake->held_count == 0 && awake->ack_count == 0 &&
                    conn->endpoint->kept == 0 && !awake->is_ask_wanted && !awake->is_tell_wanted};
}

enum weir_status weir_kcp_reference_peek(struct weir_kcp_conn *conn, struct weir_kcp_event *event)
{
    struct weir_kcp *ep = conn->endpoint;
    const struct awake *awake = weir_kcp_awake_of(conn);
    uint32_t count = 0;
    size_t length = 0;
    uint8_t frg = 1;
    if (awake->take_nxt == awake->whole_nxt) {
        return WEIR_AGAIN;
    }
    for (uint32_t sn = awake->take_nxt; frg != 0 && count < SPANS_MAX && sn != awake->whole_nxt;
         sn++) {
        const struct held *held = weir_pool_at(&ep->helds, awake->ring[sn & awake->ring_mask]);
        frg = held->frg;
        ep->spans[count++] = held->hold.span;
        length += held->hold.span.length;
    }
    *event = (struct weir_kcp_event){
        .type = WEIR_KCP_EVENT_MESSAGE,
        .conn = conn,
        .message = {.spans = ep->spans, .span_count = count, .length = length}};
    return WEIR_OK;
}

void weir_kcp_reference_take(struct weir_kcp_conn *conn, struct weir_kcp_reference *reference)
{
    const struct awake *awake = weir_kcp_awake_of(conn);
    struct weir_kcp_event event;
    weir_kcp_release_borrowed(conn->endpoint);
    conn->is_paused = false;
    (void)weir_kcp_release_held(conn, &event);
    conn->is_paused = true;
    weir_kcp_release_borrowed(conn->endpoint);
    reference->rcv_nxt = awake->rcv_nxt;
    uint32_t in_order = awake->rcv_nxt - awake->take_nxt;
    reference->in_order = in_order + conn->endpoint->kept;
    reference->early = awake->held_count - in_order;
    reference->is_tell_wanted = awake->is_tell_wanted;
}

bool weir_kcp_reference_read(struct weir_kcp_conn *conn)
{
    return weir_kcp_receive_read(weir_kcp_awake_of(conn));
}

/* Messages that come in order go to room; each takes less there than it did in the datagram. */
static void read_segments(struct weir_kcp_conn *conn, uint8_t *room,
                          struct weir_kcp_reference_arrival *arrival)
{
    struct weir_kcp *ep = conn->endpoint;
    const struct awake *awake = weir_kcp_awake_of(conn);
    struct weir_kcp_event event;
    uint8_t *at = room;
    for (;;) {
        /* Behind what is held and in order nothing can be handed out. */
        conn->is_paused = room == NULL || awake->rcv_nxt != awake->take_nxt ||
                          weir_kcp_receive_window(awake) == 0;
        if (ep->cursor.conn == NULL || !weir_kcp_input_continue(ep, &event) || room == NULL) {
            break; /* what is paused is read to its end */
        }
        weir_kcp_store32(at, (uint32_t)event.message.length);
        memcpy(at + 4, event.message.spans[0].data, event.message.length);
        at += 4 + event.message.length;
        arrival->count++;
        ep->kept++;
    }
    conn->is_paused = true;
    arrival->used = (size_t)(at - room);
}

void weir_kcp_reference_input(struct weir_kcp_conn *conn, weir_nsec now, struct weir_packet *packet,
                              uint8_t *room, struct weir_kcp_reference_arrival *arrival)
{
    struct weir_kcp *ep = conn->endpoint;
    struct cursor *cursor = &ep->cursor;
    const struct awake *awake = weir_kcp_awake_of(conn);
    uint32_t peer_window = awake->peer_window;
    *arrival = (struct weir_kcp_reference_arrival){0};
    weir_kcp_set_now(ep, now);
    ep->stats.datagrams_received++;
    cursor->packets = packet;
    cursor->count = 1;
    cursor->index = 0;
    cursor->path_last = packet->path; /* spares the look-up */
    cursor->conn_last = conn;
    cursor->conv = weir_kcp_conv(conn);
    if (weir_kcp_input_next(ep)) {
        read_segments(conn, room, arrival);
    }
    arrival->rcv_nxt = awake->rcv_nxt;
    uint32_t in_order = awake->rcv_nxt - awake->take_nxt;
    arrival->in_order = in_order + ep->kept;
    arrival->early = awake->held_count - in_order;
    arrival->is_data_only = !cursor->has_ack && awake->snd_una == cursor->una_before &&
                            awake->peer_window == peer_window && !awake->is_tell_wanted;
    arrival->has_events = ep->done_first != NULL || ep->events.first != LIST_END;
}
