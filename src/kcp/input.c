/* SPDX-License-Identifier: MIT */
/*
 * input.c - datagrams in: which session, is it new, then segment by segment as events are pulled.
 *
 * A batch is only remembered by input; event() reads on in it until there is something to hand out.
 * So no queue of events exists, whatever a peer sends, and data is handed out straight from where
 * it was received.
 */
#include <string.h>

#include "kcp/internal.h"

void weir_kcp_set_now(struct weir_kcp *ep, weir_nsec now)
{
    if (now > ep->now) {
        ep->now = now;
        ep->ms = now / WEIR_MSEC;
    }
}

void weir_kcp_input(struct weir_kcp *ep, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    struct cursor *cursor = &ep->cursor;
    /* The one that is being read is dropped in part. */
    ep->stats.drops[WEIR_KCP_DROP_UNDRAINED] +=
        cursor->count - cursor->index + (cursor->conn != NULL);
    weir_kcp_release_borrowed(ep);
    weir_kcp_set_now(ep, now);
    ep->stats.datagrams_received += count;
    *cursor = (struct cursor){.packets = packets, .count = count};
}

/* --- strangers -------------------------------------------------------------------------------- */

/* KCP has no handshake: a session begins with its first PUSH, and with nothing else, so that late
 * datagrams of a session that is over do not begin one. */
static bool is_beginning(struct weir_span datagram)
{
    struct weir_kcp_segment first;
    const uint8_t *at = datagram.data;
    return weir_kcp_decode(&at, datagram.data + datagram.length, &first) == WEIR_KCP_DECODED &&
           first.cmd == WEIR_KCP_PUSH && first.sn == 0;
}

static struct weir_kcp_conn *begin_session(struct weir_kcp *ep, struct weir_span datagram,
                                           const uint32_t key[KEY_WORDS])
{
    enum weir_kcp_drop reason = WEIR_KCP_DROP_COUNT;
    if (!is_beginning(datagram)) {
        reason = WEIR_KCP_DROP_SESSION;
    } else if (!ep->config.is_accepting) {
        reason = WEIR_KCP_DROP_NOT_ACCEPTING;
    } else if (ep->stats.pending >= ep->config.pending_max) {
        reason = WEIR_KCP_DROP_PENDING;
    }
    if (reason != WEIR_KCP_DROP_COUNT) {
        weir_kcp_count_drop(ep, reason);
        return NULL;
    }
    struct weir_kcp_conn *conn = weir_kcp_conn_open(ep, key, STATE_REQUESTED);
    if (conn == NULL || weir_kcp_conn_wake(conn) == NULL) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_NO_ROOM);
        if (conn != NULL) {
            weir_kcp_conn_free(conn);
        }
        return NULL;
    }
    weir_kcp_conn_pend(conn, PENDING_REQUEST);
    return conn;
}

/* --- which session ---------------------------------------------------------------------------- */

static bool is_same_address(const struct weir_kcp_conn *conn, const uint32_t key[KEY_WORDS])
{
    size_t at = conn->endpoint->conv_at == 0 ? 1 : 0;
    return memcmp(conn->key + at, key + at, ADDRESS_WORDS * sizeof(uint32_t)) == 0;
}

/* Nothing proves that it is the peer; but a stranger would have to guess where in the sequence the
 * session is, besides its number. */
static bool is_plausible(const struct awake *awake, struct weir_span datagram)
{
    struct weir_kcp_segment first;
    const uint8_t *at = datagram.data;
    if (weir_kcp_decode(&at, datagram.data + datagram.length, &first) != WEIR_KCP_DECODED ||
        weir_kcp_diff(first.una, awake->snd_una) < 0 ||
        weir_kcp_diff(first.una, awake->snd_nxt) > 0) {
        return false;
    }
    int32_t window = awake->conn->endpoint->config.tuning.receive_window;
    int32_t ahead = weir_kcp_diff(first.sn, awake->rcv_nxt);
    return first.cmd != WEIR_KCP_PUSH || (ahead >= -window && ahead < window);
}

/* Policy roam: the session goes to where its datagrams come from. */
static bool follow(struct weir_kcp_conn *conn, struct weir_span datagram,
                   const uint32_t key[KEY_WORDS])
{
    const struct awake *awake = weir_kcp_conn_wake(conn);
    if (awake == NULL || !is_plausible(awake, datagram)) {
        weir_kcp_count_drop(conn->endpoint,
                            awake == NULL ? WEIR_KCP_DROP_NO_ROOM : WEIR_KCP_DROP_ADDRESS);
        return false;
    }
    memcpy(conn->key, key, sizeof(conn->key));
    weir_kcp_conn_pend(conn, PENDING_MOVED);
    return true;
}

static __attribute__((noinline)) struct weir_kcp_conn *find_session(struct weir_kcp *ep,
                                                                    struct weir_span datagram,
                                                                    const struct weir_path *path)
{
    struct cursor *cursor = &ep->cursor;
    uint32_t conv = weir_kcp_load32(datagram.data);
    uint32_t key[KEY_WORDS];
    if (!weir_kcp_key_make(ep, &path->remote, conv, key)) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_ADDRESS);
        return NULL;
    }
    struct weir_kcp_conn *conn = weir_table_find(&ep->table, key);
    if (conn == NULL) {
        conn = begin_session(ep, datagram, key);
    } else if (conn->state >= STATE_ENDED) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_CLOSED);
        return NULL;
    } else if (conn->key[ep->conv_at] != conv) {
        /* Policy replace. The new session begins when the peer sends again: CLOSED comes first.
         * Who accepts none loses none to a datagram that anybody could have sent. */
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_SESSION);
        if (ep->config.is_accepting && is_beginning(datagram)) {
            weir_kcp_conn_end(conn, WEIR_KCP_CAUSE_REPLACED);
        }
        return NULL;
    } else if (!is_same_address(conn, key) && !follow(conn, datagram, key)) {
        return NULL;
    }
    if (conn != NULL) {
        cursor->path_last = path;
        cursor->conn_last = conn;
        cursor->conv = conv;
        if (path->local.family != WEIR_ADDR_NONE &&
            !weir_addr_is_equal(&path->local, &ep->locals[conn->local])) {
            conn->local = weir_kcp_local_index(ep, &path->local);
        }
    }
    return conn;
}

/* --- datagrams -------------------------------------------------------------------------------- */

/* Of a session that is not that of the datagram before. */
static __attribute__((noinline)) bool choose_session(struct weir_kcp *ep, struct weir_span datagram,
                                                     const struct weir_path *path)
{
    struct cursor *cursor = &ep->cursor;
    cursor->conn_last = NULL;
    struct weir_kcp_conn *conn = find_session(ep, datagram, path);
    if (conn == NULL) {
        return false;
    }
    if (weir_kcp_conn_wake(conn) == NULL) {
        cursor->conn_last = NULL;
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_NO_ROOM);
        return false;
    }
    return true;
}

/* false: dropped. */
static inline bool begin_segments(struct weir_kcp *ep, struct weir_span datagram,
                                  const struct weir_path *path)
{
    struct cursor *cursor = &ep->cursor;
    if (datagram.length < WEIR_KCP_HEADER_BYTES) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_TRUNCATED);
        return false;
    }
    if ((cursor->conn_last == NULL || path != cursor->path_last ||
         weir_kcp_load32(datagram.data) != cursor->conv ||
         cursor->conn_last->state >= STATE_ENDED || !cursor->conn_last->is_awake) &&
        !choose_session(ep, datagram, path)) {
        return false;
    }
    cursor->conn = cursor->conn_last;
    cursor->awake = weir_kcp_awake_of(cursor->conn);
    cursor->at = datagram.data;
    cursor->end = datagram.data + datagram.length;
    cursor->una_before = cursor->awake->snd_una;
    cursor->has_ack = cursor->is_ack_new = cursor->is_heard = false;
    return true;
}

static __attribute__((noinline)) void begin_fec(struct weir_kcp *ep, struct weir_span packet,
                                                const struct weir_path *path)
{
    struct weir_span segments = packet;
    if (weir_kcp_layers_peel(ep, &segments, path) && begin_segments(ep, segments, path) &&
        ep->fec != NULL) {
        weir_kcp_layers_feed(ep, ep->cursor.conn, packet, path);
    }
}

static inline void begin_datagram(struct weir_kcp *ep, struct weir_span datagram,
                                  const struct weir_path *path)
{
    /* Where a FEC header has its type a segment has its command. */
    if (datagram.length >= WEIR_KCP_HEADER_BYTES && datagram.data[4] >= WEIR_KCP_FEC_DATA) {
        begin_fec(ep, datagram, path);
    } else {
        (void)begin_segments(ep, datagram, path);
    }
}

static __attribute__((noinline)) void begin_sealed(struct weir_kcp *ep,
                                                   const struct weir_packet *packet)
{
    struct weir_span datagram;
    if (weir_kcp_layers_open(ep, packet, &datagram)) {
        begin_datagram(ep, datagram, packet->path);
    }
}

static __attribute__((noinline)) bool begin_recovered(struct weir_kcp *ep)
{
    struct weir_span datagram;
    if (!weir_kcp_layers_recovered(ep, &datagram)) {
        return false;
    }
    (void)begin_segments(ep, datagram, ep->cursor.fec_path);
    return true;
}

static void on_heard(struct weir_kcp_conn *conn)
{
    conn->heard_ms = (uint32_t)conn->endpoint->ms;
    if (conn->state == STATE_CONNECTING) {
        conn->state = STATE_OPEN;
        weir_kcp_conn_pend(conn, PENDING_OPENED);
    }
}

static void on_una_moved(struct weir_kcp *ep, struct awake *awake)
{
    weir_kcp_congestion_on_una(awake);
    if (awake->queue_first != NULL) { /* the window has room again */
        if (ep->config.tuning.is_write_delayed) {
            weir_kcp_flush_soon(awake);
        } else {
            weir_kcp_ready(ep, awake);
        }
    }
    if (awake->conn->is_writable_wanted) {
        weir_kcp_send_tell_writable(awake);
    }
}

static void end_datagram(struct weir_kcp *ep)
{
    struct cursor *cursor = &ep->cursor;
    struct awake *awake = cursor->awake;
    struct weir_kcp_conn *conn = cursor->conn;
    cursor->conn = NULL;
    if (conn->state >= STATE_ENDED) {
        cursor->acked_bytes = 0;
        return;
    }
    if (cursor->has_ack) {
        if (ep->config.tuning.resend != 0) {
            weir_kcp_flight_on_acks(awake, cursor->ack_sn, cursor->ack_ts);
        }
        if (awake->lists[LIST_DUE].first != SLOT_NONE || ep->config.tuning.is_early_retransmit) {
            weir_kcp_flush_soon(awake);
        }
    }
    if (awake->paced != NULL) {
        weir_kcp_paced_on_datagram(awake);
    }
    if (awake->snd_una != cursor->una_before) {
        on_una_moved(ep, awake);
    }
    if (cursor->is_ack_new) {
        if (ep->config.tuning.is_ack_no_delay) {
            weir_kcp_ready(ep, awake);
            awake->is_flush_planned = true;
        } else {
            weir_kcp_flush_soon(awake);
        }
    }
    weir_kcp_conn_end_if_done(awake);
}

/* --- segments --------------------------------------------------------------------------------- */

static void on_peer_window(struct awake *awake, uint32_t window)
{
    if (window > awake->peer_window && awake->queue_first != NULL) {
        weir_kcp_flush_soon(awake);
    }
    awake->peer_window = window;
    awake->push_head = 0;
    if (window > awake->peer_window_max) {
        awake->peer_window_max = window;
    }
}

static inline void add_sample(struct awake *awake, uint32_t rtt)
{
    struct weir_kcp_stats *stats = &awake->conn->endpoint->stats;
    rtt = rtt < RTO_MAX_MS ? rtt : RTO_MAX_MS; /* whatever ts a hostile peer echoes */
    stats->rtt = weir_rtt_mean(stats->rtt, rtt * WEIR_MSEC);
    if (awake->srtt_ms == 0) {
        awake->srtt_ms = rtt;
        awake->rttval_ms = rtt / 2;
    } else {
        uint32_t delta = rtt > awake->srtt_ms ? rtt - awake->srtt_ms : awake->srtt_ms - rtt;
        awake->rttval_ms = (3 * awake->rttval_ms + delta) / 4;
        awake->srtt_ms = (7 * awake->srtt_ms + rtt) / 8;
    }
    awake->srtt_ms += awake->srtt_ms == 0;
}

static void set_rto(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t swing = 4 * awake->rttval_ms;
    uint32_t interval = ep->config.tuning.interval_ms;
    uint32_t rto = awake->srtt_ms + (swing > interval ? swing : interval);
    rto = rto > ep->rto_min_ms ? rto : ep->rto_min_ms;
    awake->rto_ms = rto < RTO_MAX_MS ? rto : RTO_MAX_MS;
}

static inline void on_ack(struct cursor *cursor, struct awake *awake, uint32_t sn, uint32_t ts,
                          uint32_t now_ms)
{
    int32_t rtt = weir_kcp_diff(now_ms, ts);
    if (rtt >= 0 && !cursor->is_recovered) {
        add_sample(awake, (uint32_t)rtt);
    }
    if (sn - awake->snd_una < awake->snd_nxt - awake->snd_una) {
        weir_kcp_flight_on_ack(awake, sn);
    }
    /* The largest of the batch, and of those the one sent last: what it passes over was sent no
     * later (FASTACK_CONSERVE of the reference). */
    if (!cursor->has_ack ||
        (weir_kcp_diff(sn, cursor->ack_sn) > 0 && weir_kcp_diff(ts, cursor->ack_ts) > 0)) {
        cursor->has_ack = true;
        cursor->ack_sn = sn;
        cursor->ack_ts = ts;
    }
}

/* ACKs come in runs that agree in all but ts and sn. */
static void take_acks(struct weir_kcp *ep, struct awake *awake, const uint8_t *first)
{
    struct cursor *cursor = &ep->cursor;
    const uint8_t *at = first;
    uint64_t head = weir_kcp_load64(first);
    uint64_t tail = weir_kcp_load64(first + 16);
    uint32_t now_ms = (uint32_t)ep->ms;
    do {
        uint64_t middle = weir_kcp_load64(at + 8);
        on_ack(cursor, awake, (uint32_t)(middle >> 32), (uint32_t)middle, now_ms);
        at += WEIR_KCP_HEADER_BYTES;
    } while (cursor->end - at >= WEIR_KCP_HEADER_BYTES && weir_kcp_load64(at) == head &&
             weir_kcp_load64(at + 16) == tail);
    cursor->at = at;
    set_rto(awake);
}

/* What most segments are: said by a header like that of the last PUSH, the next one, whole and
 * wanted, with nothing held. Then there is nothing else to do than to hand it out. */
static inline bool take_next(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    struct cursor *cursor = &ep->cursor;
    struct awake *awake = cursor->awake;
    struct weir_kcp_conn *conn = cursor->conn;
    const uint8_t *at = cursor->at;
    ptrdiff_t left = cursor->end - at - WEIR_KCP_HEADER_BYTES;
    if (left < 0 || awake->push_head == 0 || weir_kcp_load64(at) != awake->push_head) {
        return false;
    }
    uint64_t middle = weir_kcp_load64(at + 8);
    uint64_t tail = weir_kcp_load64(at + 16);
    uint32_t sn = (uint32_t)(middle >> 32);
    uint64_t length = tail >> 32;
    if ((uint32_t)tail != awake->snd_una || length > (uint64_t)left || sn != awake->rcv_nxt ||
        sn != awake->take_nxt || awake->held_count > 0 || awake->ack_count == awake->ack_max ||
        conn->state != STATE_OPEN || conn->is_paused) {
        return false;
    }
    conn->heard_ms = (uint32_t)ep->ms;
    awake->acks[awake->ack_count++] = (struct ack){.sn = sn, .ts = (uint32_t)middle};
    cursor->is_ack_new = true;
    cursor->at = at + WEIR_KCP_HEADER_BYTES + length;
    awake->segments_received++;
    awake->take_nxt = awake->whole_nxt = awake->rcv_nxt = sn + 1;
    ep->spans[0] = weir_span_of(at + WEIR_KCP_HEADER_BYTES, length);
    event->type = WEIR_KCP_EVENT_MESSAGE;
    event->conn = conn;
    event->message.spans = ep->spans;
    event->message.span_count = 1;
    event->message.length = length;
    return true;
}

static void count_bad_segment(struct weir_kcp *ep, enum weir_kcp_decoded why)
{
    if (why == WEIR_KCP_DECODED_COMMAND) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_COMMAND);
    } else if (why == WEIR_KCP_DECODED_LENGTH) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_LENGTH);
    }
}

/* One segment. false: the rest of the datagram is not read. */
static bool take_segment(struct weir_kcp *ep, struct weir_kcp_event *event, bool *has_event)
{
    struct cursor *cursor = &ep->cursor;
    struct awake *awake = cursor->awake;
    const uint8_t *start = cursor->at;
    struct weir_kcp_segment segment;
    enum weir_kcp_decoded decoded = weir_kcp_decode(&cursor->at, cursor->end, &segment);
    if (decoded != WEIR_KCP_DECODED) {
        count_bad_segment(ep, decoded);
        return false;
    }
    if (segment.conv != cursor->conv) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_CONV);
        return false;
    }
    if (!cursor->is_heard) {
        cursor->is_heard = true;
        on_heard(cursor->conn);
    }
    if ((segment.wnd != awake->peer_window || awake->peer_window_max == 0) &&
        !cursor->is_recovered) {
        on_peer_window(awake, segment.wnd);
    }
    if (segment.una != awake->snd_una) {
        weir_kcp_flight_on_una(awake, segment.una);
    }
    if (segment.cmd == WEIR_KCP_PUSH) {
        if (segment.frg == 0 && segment.wnd == awake->peer_window) { /* not so: it was recovered */
            awake->push_head = weir_kcp_load64(start);
        }
        *has_event = weir_kcp_receive_push(awake, &segment, event);
    } else if (segment.cmd == WEIR_KCP_ACK) {
        if (segment.data.length == 0) {
            take_acks(ep, awake, start);
        } else { /* nobody sends these */
            on_ack(cursor, awake, segment.sn, segment.ts, (uint32_t)ep->ms);
            set_rto(awake);
        }
    } else if (segment.cmd == WEIR_KCP_WASK) {
        awake->is_tell_wanted = true;
        weir_kcp_flush_soon(awake);
    } else if (awake->window_asked == WINDOW_ASKED && !cursor->is_recovered) { /* WINS */
        awake->window_asked = WINDOW_ANSWERED;
        weir_kcp_send_tell_writable(awake);
    }
    return true;
}

/* Apart, so that take_next needs no registers saved. */
static __attribute__((noinline)) bool take_others(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    struct cursor *cursor = &ep->cursor;
    const struct weir_kcp_conn *conn = cursor->conn;
    bool has_event = false;
    while (cursor->at != cursor->end && conn->state < STATE_ENDED) {
        if (take_next(ep, event)) {
            return true;
        }
        if (!take_segment(ep, event, &has_event)) {
            break;
        }
        if (has_event) {
            return true;
        }
    }
    end_datagram(ep);
    return false;
}

/* At the end of a datagram: was there nothing in it but data, whose ACKs are planned already? */
static inline bool is_over(const struct cursor *cursor)
{
    const struct awake *awake = cursor->awake;
    return cursor->at == cursor->end && awake->is_flush_planned && !cursor->has_ack &&
           awake->snd_una == cursor->una_before && awake->paced == NULL;
}

/* What comes before a bad segment stays applied, as with the reference. */
bool weir_kcp_input_continue(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    struct cursor *cursor = &ep->cursor;
    if (!take_next(ep, event)) {
        return take_others(ep, event);
    }
    if (is_over(cursor)) {
        cursor->conn = NULL;
    }
    return true;
}

bool weir_kcp_input_next(struct weir_kcp *ep)
{
    struct cursor *cursor = &ep->cursor;
    if (cursor->fec_conn != NULL && begin_recovered(ep)) {
        return true;
    }
    if (cursor->index == cursor->count) {
        return false;
    }
    const struct weir_packet *packet = &cursor->packets[cursor->index++];
    ep->stats.bytes_received += packet->length;
    if (ep->crypt == NULL) {
        begin_datagram(ep, weir_span_of(packet->data, packet->length), packet->path);
    } else {
        begin_sealed(ep, packet);
    }
    return true;
}
