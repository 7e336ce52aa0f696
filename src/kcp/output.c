/* SPDX-License-Identifier: MIT */
/*
 * output.c - datagrams out: ACKs, probes, what is resent, what is new, laid out for GSO.
 *
 * One flush of a session may need more room than there is; it then goes on with the next call where
 * it stopped: nothing is taken off a list before it is written.
 */
#include <string.h>

#include "kcp/links.h"

/* A datagram being written. */
struct writer {
    struct weir_kcp *ep;
    struct awake *awake;
    struct weir_tx *tx;
    uint8_t *start, *at, *end;                /* start NULL: none is open */
    uint32_t reserved, tail, around;          /* bytes around the segments: front, back, both */
    uint32_t run_segment, run_room, run_left; /* the open run: size, bytes and datagrams to go */
    uint64_t head, una; /* words of a header, but for cmd and frg, and for len */
};

enum turn {
    TURN_DONE,
    TURN_FULL
};

/* --- datagrams -------------------------------------------------------------------------------- */

/* Apart, as it is rare. */
static __attribute__((noinline)) void begin_run(struct writer *w, uint32_t length)
{
    struct weir_tx *tx = w->tx;
    tx->transmits[tx->count++] = (struct weir_transmit){.path = weir_kcp_path(w->awake->conn),
                                                        .data = tx->buffer + tx->used_bytes,
                                                        .length = length,
                                                        .segment_bytes = (uint16_t)length,
                                                        .ecn = WEIR_ECN_NOT};
    w->run_segment = length;
    w->run_left = tx->run_bytes_max > length ? tx->run_segments_max - 1 : 0;
    w->run_room = w->run_left > 0 ? tx->run_bytes_max - length : 0;
}

/* Appends the bytes to the run that is open, if they are cut the same. */
static inline void emit(struct writer *w, uint32_t length)
{
    struct weir_tx *tx = w->tx;
    w->ep->stats.datagrams_sent++;
    w->ep->stats.bytes_sent += length;
    if (w->run_left > 0 && length <= w->run_segment && length <= w->run_room) {
        tx->transmits[tx->count - 1].length += length;
        w->run_room -= length;
        /* A shorter one is the last. */
        w->run_left = length == w->run_segment ? w->run_left - 1 : 0;
    } else {
        begin_run(w, length);
    }
    tx->used_bytes += length;
}

/* The datagram that begins behind what tx holds joins its group. */
static __attribute__((noinline)) void join_group(const struct writer *w, uint32_t length)
{
    uint32_t front = w->reserved - WEIR_KCP_FEC_HEADER_BYTES;
    struct weir_mut_span packet = {.data = w->tx->buffer + w->tx->used_bytes + front,
                                   .length = length - front};
    w->awake->parity_due = (uint16_t)weir_kcp_fec_encode(w->awake->encoder, packet);
}

/* The parity packets of a group that is complete. false: tx is full. */
static __attribute__((noinline)) bool put_parity(struct writer *w)
{
    struct awake *awake = w->awake;
    const struct weir_tx *tx = w->tx;
    uint32_t front = w->reserved - WEIR_KCP_FEC_HEADER_BYTES;
    while (awake->parity_due > 0) {
        size_t length = front + weir_kcp_fec_parity_bytes(awake->encoder) + w->tail;
        if (tx->count == tx->transmits_max || tx->buffer_bytes - tx->used_bytes < length) {
            return false;
        }
        weir_kcp_fec_take_parity(awake->encoder, tx->buffer + tx->used_bytes + front);
        awake->parity_due--;
        emit(w, (uint32_t)length);
    }
    return true;
}

static inline void close_datagram(struct writer *w)
{
    if (w->start == NULL) {
        return;
    }
    uint32_t length = (uint32_t)(w->at - w->start);
    w->start = NULL;
    if (w->ep->is_fec_sending) {
        join_group(w, length);
    }
    emit(w, length + w->tail);
}

/* Begins a datagram with room for bytes. false: tx is full. */
static bool open_datagram(struct writer *w, uint32_t bytes)
{
    close_datagram(w);
    if (w->awake->parity_due > 0 && !put_parity(w)) {
        return false;
    }
    const struct weir_tx *tx = w->tx;
    /* A segment cut for a larger datagram than is set now still leaves as a whole. */
    uint64_t size = weir_max_u64(w->ep->config.tuning.mtu_bytes, w->around + bytes);
    if (tx->count == tx->transmits_max || tx->buffer_bytes - tx->used_bytes < size) {
        return false;
    }
    w->start = tx->buffer + tx->used_bytes;
    w->at = w->start + w->reserved;
    w->end = w->start + size - w->tail;
    return true;
}

/* Room for bytes in the open datagram, or in a new one. false: tx is full. */
static inline bool ensure(struct writer *w, uint32_t bytes)
{
    return (w->start != NULL && (size_t)(w->end - w->at) >= bytes) || open_datagram(w, bytes);
}

/* --- segments --------------------------------------------------------------------------------- */

static uint64_t head_of(const struct writer *w, enum weir_kcp_command cmd)
{
    return w->head | weir_kcp_head_word(0, (uint8_t)cmd, 0, 0);
}

static bool put_acks(struct writer *w)
{
    struct awake *awake = w->awake;
    bool is_coalesced = w->ep->config.tuning.is_ack_coalesced;
    uint64_t head = head_of(w, WEIR_KCP_ACK);
    uint32_t i = awake->ack_sent;
    uint32_t count = awake->ack_count;
    uint32_t omitted = 0;
    for (; i < count; i++) {
        const struct ack ack = awake->acks[i];
        if (is_coalesced && i + 1 < count && weir_kcp_diff(ack.sn, awake->rcv_nxt) < 0) {
            omitted++;
            continue;
        }
        if (!ensure(w, WEIR_KCP_HEADER_BYTES)) {
            break;
        }
        w->at = weir_kcp_encode_words(w->at, head, ack.ts, ack.sn, w->una);
    }
    w->ep->stats.acks_sent += i - awake->ack_sent - omitted;
    awake->ack_sent = i;
    if (i < count) {
        return false;
    }
    awake->ack_count = awake->ack_sent = 0;
    return true;
}

static bool put_probe(struct writer *w, enum weir_kcp_command cmd, bool *is_wanted)
{
    if (!*is_wanted) {
        return true;
    }
    if (!ensure(w, WEIR_KCP_HEADER_BYTES)) {
        return false;
    }
    *is_wanted = false;
    w->at = weir_kcp_encode_words(w->at, head_of(w, cmd), 0, 0, w->una);
    w->ep->stats.probes_sent++;
    return true;
}

static inline void put_push(struct writer *w, const struct slot *slot, uint32_t sn)
{
    uint32_t length = slot->length;
    uint64_t head = w->head | weir_kcp_head_word(0, WEIR_KCP_PUSH, slot->frg, 0);
    uint8_t *p =
        weir_kcp_encode_words(w->at, head, slot->ts, sn, w->una | weir_kcp_tail_word(0, length));
    if (length > 0) {
        memcpy(p, slot->data, length);
    }
    w->at = p + length;
}

static uint32_t slot_bytes(const struct slot *slot)
{
    return slot->length + (uint32_t)WEIR_KCP_HEADER_BYTES;
}

/* Longer by the half with nodelay, else twofold. */
static uint32_t back_off(const struct awake *awake, const struct slot *slot)
{
    uint32_t rto = slot->rto_ms;
    switch (awake->conn->endpoint->config.tuning.nodelay) {
    case 0:
        rto += rto > awake->rto_ms ? rto : awake->rto_ms;
        break;
    case 1:
        rto += rto / 2;
        break;
    default:
        rto += awake->rto_ms / 2;
        break;
    }
    return rto < RTO_MAX_MS ? rto : RTO_MAX_MS;
}

/* false: tx is full, or the session has ended. */
static bool resend(struct writer *w, struct slot *slot)
{
    const struct weir_kcp_tuning *tuning = &w->ep->config.tuning;
    if (!ensure(w, slot_bytes(slot))) {
        return false;
    }
    if (w->awake->paced != NULL) {
        weir_kcp_paced_on_lost(w->awake, slot);
    }
    weir_kcp_flight_on_resent(w->awake, slot, slot->rto_ms);
    if (w->awake->paced != NULL) {
        weir_kcp_paced_on_sent(w->awake, slot);
    }
    put_push(w, slot, weir_kcp_flight_sn(w->awake, slot));
    if (tuning->dead_link != 0 && slot->xmit >= tuning->dead_link) {
        w->awake->is_dead = true;
        if (w->ep->is_lenient) {
            return true;
        }
        close_datagram(w);
        weir_kcp_conn_end(w->awake->conn, WEIR_KCP_CAUSE_DEAD_LINK);
        return false;
    }
    return true;
}

static bool put_expired(struct writer *w)
{
    struct awake *awake = w->awake;
    struct slot *slot;
    while ((slot = weir_kcp_flight_expired(awake)) != NULL) {
        uint16_t rto = slot->rto_ms;
        slot->rto_ms = (uint16_t)back_off(awake, slot);
        if (!resend(w, slot)) {
            if (awake->conn->state < STATE_ENDED) {
                slot->rto_ms = rto;
            }
            return false;
        }
        awake->is_lost = true;
        awake->resent_timeout++;
        w->ep->stats.resent_timeout++;
    }
    return true;
}

static bool put_due(struct writer *w, bool is_early)
{
    struct awake *awake = w->awake;
    struct slot *slot;
    while ((slot = weir_kcp_flight_due(awake, is_early)) != NULL) {
        if (!resend(w, slot)) {
            return false;
        }
        awake->is_changed = true;
        awake->resent_fast++;
        w->ep->stats.resent_fast++;
        w->ep->stats.resent_early += is_early;
    }
    return true;
}

/* Of a message the fragments were counted when it was queued, and keep to that segment size. */
static inline void cut(struct awake *awake, struct slot *slot, uint32_t length)
{
    struct message *message = awake->queue_first;
    slot->data = message->data + message->cut;
    slot->length = (uint16_t)length;
    slot->message = message;
    slot->frg = 0;
    if (message->fragments > 0) {
        slot->frg = (uint8_t)--message->fragments;
    }
    message->cut += length;
    message->in_flight++;
    awake->queued--;
    if (message->cut == message->length) {
        message->is_queued = false;
        awake->queue_first = message->next;
    }
}

/* Apart: the compiler makes less of it within its caller. */
static __attribute__((noinline)) bool put_new(struct writer *w)
{
    struct awake *awake = w->awake;
    uint32_t window = weir_kcp_send_window(awake);
    const struct departure departure = weir_kcp_flight_departure(awake);
    uint32_t sent_before = awake->snd_nxt;
    bool is_room = true;
    while (awake->queue_first != NULL && awake->snd_nxt - awake->snd_una < window) {
        const struct message *message = awake->queue_first;
        uint32_t length = message->length - message->cut;
        length = length < message->mss ? length : message->mss;
        uint32_t bytes = length + WEIR_KCP_HEADER_BYTES;
        if (awake->paced != NULL && !weir_kcp_paced_may_send(awake, bytes)) {
            break;
        }
        struct slot *slot = weir_kcp_flight_room(awake);
        if (slot == NULL) {
            break; /* as if the window were smaller */
        }
        __asm__("" : "+r"(slot)); /* else its address is computed anew for each field */
        is_room = ensure(w, bytes);
        if (!is_room) {
            break;
        }
        cut(awake, slot, length);
        weir_kcp_flight_on_first_sent(awake, slot, &departure);
        if (awake->paced != NULL) {
            weir_kcp_paced_on_sent(awake, slot);
        }
        put_push(w, slot, awake->snd_nxt - 1);
    }
    uint32_t sent = awake->snd_nxt - sent_before;
    awake->segments_sent += sent;
    w->ep->stats.segments_sent += sent;
    return is_room;
}

/* --- sessions --------------------------------------------------------------------------------- */

/* A window is asked about, less and less often; only while something waits for it. What is closed
 * should open by itself, so that question waits. */
static void probe_window(struct awake *awake)
{
    uint32_t now = (uint32_t)awake->conn->endpoint->ms;
    if (!weir_kcp_is_probing(awake)) {
        awake->probe_wait_ms = 0;
        return;
    }
    if (awake->probe_wait_ms == 0) {
        awake->is_ask_wanted |= awake->window_asked == WINDOW_ASKED;
        awake->probe_wait_ms = awake->window_asked == WINDOW_ASKED ? awake->rto_ms : PROBE_FIRST_MS;
    } else if (weir_kcp_diff(now, awake->probe_at_ms) >= 0) {
        uint32_t wait = awake->probe_wait_ms + awake->probe_wait_ms / 2;
        awake->probe_wait_ms = wait < PROBE_MAX_MS ? wait : PROBE_MAX_MS;
        awake->is_ask_wanted = true;
    } else {
        return;
    }
    awake->probe_at_ms = now + awake->probe_wait_ms;
}

static bool put_all(struct writer *w)
{
    struct awake *awake = w->awake;
    if (awake->ack_count > 0 && !put_acks(w)) {
        return false;
    }
    if (!put_probe(w, WEIR_KCP_WASK, &awake->is_ask_wanted) ||
        !put_probe(w, WEIR_KCP_WINS, &awake->is_tell_wanted)) {
        return false;
    }
    if (awake->flight != NULL && awake->snd_una != awake->snd_nxt) {
        bool is_early = w->ep->config.tuning.is_early_retransmit && awake->queue_first == NULL;
        if (!put_expired(w) || !put_due(w, false) || (is_early && !put_due(w, true))) {
            return false;
        }
    }
    return awake->queue_first == NULL || put_new(w);
}

static enum turn flush(struct awake *awake, struct weir_tx *tx)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    struct weir_kcp_conn *conn = awake->conn;
    if (conn->state >= STATE_ENDED) {
        return TURN_DONE;
    }
    probe_window(awake);
    awake->is_flush_planned = false;
    if (ep->is_fec_sending && awake->encoder == NULL) {
        awake->encoder = weir_kcp_layers_encoder(awake);
    }
    struct writer w = {
        .ep = ep,
        .awake = awake,
        .tx = tx,
        .reserved = ep->front_bytes,
        .tail = ep->tail_bytes,
        .around = (uint32_t)ep->front_bytes + ep->tail_bytes,
        .head = weir_kcp_head_word(conn->key[ep->conv_at], 0, 0, weir_kcp_receive_window(awake)),
        .una = weir_kcp_tail_word(awake->rcv_nxt, 0)};
    bool is_done = put_all(&w);
    close_datagram(&w);
    if (conn->state >= STATE_ENDED) {
        return TURN_DONE;
    }
    if (!is_done || (awake->parity_due > 0 && !put_parity(&w))) {
        return TURN_FULL;
    }
    weir_kcp_congestion_on_flushed(awake);
    if (awake->paced != NULL && awake->queue_first == NULL) {
        weir_cc_on_app_limited(&awake->paced->cc, awake->paced->in_flight_bytes);
    }
    awake->flushed_at = ep->now;
    weir_kcp_set_timer(awake);
    weir_kcp_conn_end_if_done(awake);
    return TURN_DONE;
}

static enum weir_status flush_ready(struct weir_kcp *ep, struct weir_tx *tx)
{
    struct awake *awake;
    while (ep->ready.first != LIST_END && (awake = weir_kcp_ready_take(ep)) != NULL) {
        if (flush(awake, tx) == TURN_FULL) {
            weir_kcp_ready(ep, awake); /* at the end: the others have their turn first */
            return WEIR_OK;
        }
    }
    return WEIR_AGAIN;
}

enum weir_status weir_kcp_output(struct weir_kcp *ep, weir_nsec now, struct weir_tx *tx)
{
    uint32_t first = tx->count;
    weir_kcp_set_now(ep, now);
    enum weir_status status = flush_ready(ep, tx);
    if (ep->crypt != NULL) {
        weir_kcp_layers_seal(ep, tx, first); /* all at once: that is what costs least */
    }
    return status;
}
