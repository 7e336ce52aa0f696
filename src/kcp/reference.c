/* SPDX-License-Identifier: MIT */
/*
 * reference.c - a session's inner numbers for programs written for the reference implementation.
 */
#include "kcp/reference.h"

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
        .in_order = in_order,
        .early = awake->held_count - in_order,
        .timeouts = awake->resent_timeout,
        .is_ask_wanted = awake->is_ask_wanted,
        .is_tell_wanted = awake->is_tell_wanted,
        .is_dead = awake->is_dead,
        .is_quiet = awake->waiting == 0 && awake->held_count == 0 && awake->ack_count == 0 &&
                    !awake->is_ask_wanted && !awake->is_tell_wanted};
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
    reference->in_order = awake->rcv_nxt - awake->take_nxt;
    reference->early = awake->held_count - reference->in_order;
    reference->is_tell_wanted = awake->is_tell_wanted;
}

void weir_kcp_reference_input(struct weir_kcp_conn *conn, weir_nsec now, struct weir_packet *packet)
{
    struct cursor *cursor = &conn->endpoint->cursor;
    weir_kcp_input(conn->endpoint, now, packet, 1);
    cursor->path_last = packet->path; /* spares the look-up */
    cursor->conn_last = conn;
    cursor->conv = weir_kcp_conv(conn);
}
