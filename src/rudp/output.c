/* SPDX-License-Identifier: MIT */
/*
 * output.c - packets out: what goes next, within the window and the pace, laid out for GSO.
 *
 * Packets of one connection are written one behind the other. The first of a run decides the size;
 * those that follow are cut or padded to it, so that the whole run is one system call.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    RUNS_MAX = 4,
    RUN_BYTES_MAX = 65507,
    SPLIT_MIN = 256,
    GREASE_EVERY = 64,
    RANGES_ASK = 8,
    CLOSE_SHIFT_MAX = 2,
    PROBES_BARE = 4 /* probe timeouts in a row after which one probe carries nothing */
};

/* A packet being written. */
struct builder {
    struct weir_rudp_conn *conn;
    struct packet *packet; /* its record; NULL: only what needs no acknowledgement */
    uint8_t *start, *at, *end;
    struct weir_rudp_message_ids ids;
    bool is_eliciting, is_probe;
};

enum turn {
    TURN_DONE,
    TURN_MORE,
    TURN_FULL
};

/* --- message frames --------------------------------------------------------------------------- */

static struct weir_rudp_message_frame frame_of(const struct message *message, uint32_t offset,
                                               uint32_t length)
{
    return (struct weir_rudp_message_frame){.guarantee = message->guarantee,
                                            .channel = message->channel,
                                            .is_fragment = offset != 0 || length != message->length,
                                            .mid = (uint32_t)message->mid,
                                            .dseq = (uint32_t)message->dseq,
                                            .set_back = message->set_back,
                                            .set_dback = message->set_dback,
                                            .offset = offset,
                                            .total = message->length,
                                            .data = weir_span_of(message->data + offset, length)};
}

static size_t room_of(const struct builder *b)
{
    return (size_t)(b->end - b->at);
}

static void put_frame(struct builder *b, const struct weir_rudp_message_frame *frame)
{
    b->at = weir_rudp_encode_message(b->at, frame, &b->ids);
    b->is_eliciting = true;
}

/* How many of length bytes from offset fit into the packet; 0 when none should. */
static uint32_t fitting(struct builder *b, struct weir_rudp_message_frame *frame)
{
    size_t room = room_of(b);
    frame->is_next = weir_rudp_message_is_next(frame, &b->ids);
    size_t length = frame->data.length;
    if (weir_rudp_message_overhead(frame) + length <= room) {
        return (uint32_t)length;
    }
    /* As a fragment it needs more header. */
    frame->is_fragment = true;
    frame->is_next = weir_rudp_message_is_next(frame, &b->ids);
    size_t overhead = weir_rudp_message_overhead(frame);
    return room > overhead ? (uint32_t)(room - overhead) : 0;
}

static void record_chunk(struct builder *b, struct chunk *chunk)
{
    chunk->next = b->packet->chunks;
    b->packet->chunks = chunk;
}

static void put_skip(struct builder *b, struct chunk *chunk)
{
    const struct message *message = chunk->message;
    struct weir_rudp_message_frame frame = frame_of(message, 0, message->length);
    frame.is_fragment = false;
    frame.data = (struct weir_span){0};
    frame.cost = message->is_started ? message->length + (uint64_t)MESSAGE_COST_BYTES : 0;
    frame.is_next = weir_rudp_message_is_next(&frame, &b->ids);
    put_frame(b, &frame);
}

/* Cuts chunk after length bytes; the rest becomes a chunk of its own behind it. */
static bool split(struct weir_rudp *ep, struct awake *awake, struct chunk *chunk, uint32_t length)
{
    struct chunk *rest = weir_pool_take(&ep->chunks);
    if (rest == NULL) {
        return false;
    }
    *rest = (struct chunk){.next = chunk->next,
                           .message = chunk->message,
                           .offset = chunk->offset + length,
                           .length = chunk->length - length};
    chunk->length = length;
    chunk->next = rest;
    chunk->message->chunks++;
    if (awake->again_last == chunk) {
        awake->again_last = rest;
    }
    return true;
}

/* The one in front of what goes next of what is sent again; NULL: the first does. Without a chunk
 * left to split with, what fits as a whole passes what does not: its acknowledgement gives chunks
 * back. */
static struct chunk *before_next_again(struct builder *b)
{
    struct chunk *previous = NULL;
    if (weir_pool_left(&b->conn->endpoint->chunks) > 0) {
        return NULL;
    }
    for (struct chunk *chunk = b->conn->awake->again_first; chunk != NULL; chunk = chunk->next) {
        if (chunk->offset == SKIP_OFFSET) {
            return previous;
        }
        struct weir_rudp_message_frame frame =
            frame_of(chunk->message, chunk->offset, chunk->length);
        if (fitting(b, &frame) == chunk->length) {
            return previous;
        }
        previous = chunk;
    }
    return NULL;
}

/* Writes the next chunk of those to be sent again. false: no room for it. */
static bool put_again(struct builder *b)
{
    struct awake *awake = b->conn->awake;
    if (room_of(b) < MIN_ROOM_BYTES) {
        return false;
    }
    struct chunk *previous = before_next_again(b);
    struct chunk *chunk = previous == NULL ? awake->again_first : previous->next;
    if (chunk->offset == SKIP_OFFSET) {
        put_skip(b, chunk);
    } else {
        struct weir_rudp_message_frame frame =
            frame_of(chunk->message, chunk->offset, chunk->length);
        uint32_t length = fitting(b, &frame);
        if (length < chunk->length && ((b->is_eliciting && length < SPLIT_MIN) || length == 0 ||
                                       !split(b->conn->endpoint, awake, chunk, length))) {
            return false;
        }
        frame.data.length = length;
        put_frame(b, &frame);
        awake->bytes_resent += length;
    }
    *(previous == NULL ? &awake->again_first : &previous->next) = chunk->next;
    if (awake->again_last == chunk) {
        awake->again_last = previous;
    }
    record_chunk(b, chunk);
    return true;
}

/* Only the beginning of a delivery message needs window: then all of it is charged, so that what
 * has begun can always end. */
static bool needs_window(const struct message *message)
{
    return message->guarantee == WEIR_RUDP_DELIVERY && !message->is_started;
}

static bool is_window_open(const struct weir_rudp_conn *conn, const struct message *message)
{
    return conn->window_limit >=
           conn->window_charged + message->length + (uint64_t)MESSAGE_COST_BYTES;
}

static void after_first_sending(struct builder *b, struct queue *queue, struct message *message,
                                uint32_t length)
{
    struct weir_rudp_conn *conn = b->conn;
    if (needs_window(message)) {
        conn->window_charged += message->length + (uint64_t)MESSAGE_COST_BYTES;
    }
    message->is_started = true;
    message->sent_bytes += length;
    conn->awake->waiting_bytes -= length;
    if (message->sent_bytes < message->length) {
        return;
    }
    queue->first = message->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    weir_rudp_queue_leave(conn, message);
    if (message->guarantee != WEIR_RUDP_DELIVERY) {
        weir_rudp_message_done(message, WEIR_OUTCOME_SENT);
    }
}

/* The chunk for the next length bytes of message, or NULL when there is no memory for it. */
static struct chunk *chunk_for(struct weir_rudp *ep, struct message *message, uint32_t length)
{
    struct chunk *chunk = message->is_started ? weir_rudp_chunk_take(ep) : &message->first;
    if (chunk != NULL) {
        *chunk =
            (struct chunk){.message = message, .offset = message->sent_bytes, .length = length};
        message->chunks++;
    }
    return chunk;
}

/* Writes (on from) the first message of queue. false: nothing of it can go into this packet. */
static bool put_new(struct builder *b, struct queue *queue)
{
    struct weir_rudp_conn *conn = b->conn;
    struct message *message = queue->first;
    uint32_t left = message->length - message->sent_bytes;
    if (room_of(b) < MIN_ROOM_BYTES) {
        /* Here only what fits as a whole; from there on every header does. */
        struct weir_rudp_message_frame small = frame_of(message, message->sent_bytes, left);
        small.is_next = weir_rudp_message_is_next(&small, &b->ids);
        if (weir_rudp_message_overhead(&small) + left > room_of(b)) {
            return false;
        }
    }
    struct weir_rudp_message_frame frame = frame_of(message, message->sent_bytes, left);
    uint32_t length = fitting(b, &frame);
    /* A message that would fit into a packet of its own is not torn apart for a rest of room. */
    bool is_torn = length < left && message->sent_bytes == 0 && b->is_eliciting &&
                   left + MIN_ROOM_BYTES < conn->mtu_bytes;
    if (is_torn || (length == 0 && left > 0)) {
        return false;
    }
    if (message->guarantee == WEIR_RUDP_DELIVERY) {
        struct chunk *chunk = chunk_for(conn->endpoint, message, length);
        if (chunk == NULL) {
            return false;
        }
        record_chunk(b, chunk);
    }
    frame.data.length = length;
    frame.is_fragment = length != message->length;
    frame.is_next = weir_rudp_message_is_next(&frame, &b->ids);
    put_frame(b, &frame);
    after_first_sending(b, queue, message, length);
    return true;
}

/* While a message waits for window, nothing of lower priority takes any. */
static struct queue *next_queue(const struct weir_rudp_conn *conn)
{
    bool is_closed = false;
    for (unsigned i = PRIORITIES; i-- > 0;) {
        struct queue *queue = &conn->awake->queues[i];
        if (queue->first == NULL) {
            continue;
        }
        if (!needs_window(queue->first)) {
            return queue;
        }
        is_closed = is_closed || !is_window_open(conn, queue->first);
        if (!is_closed) {
            return queue;
        }
    }
    return NULL;
}

static void put_messages(struct builder *b)
{
    struct awake *awake = b->conn->awake;
    while (awake->again_first != NULL) {
        if (!put_again(b)) {
            return;
        }
    }
    struct queue *queue;
    while ((queue = next_queue(b->conn)) != NULL) {
        if (!put_new(b, queue)) {
            return;
        }
    }
}

/* --- control frames --------------------------------------------------------------------------- */

/* RFC 9000 13.2.4: from the highest down, none that the peer knows of already; but always one. */
static uint32_t ranges_to_report(const struct awake *awake)
{
    const struct weir_ranges *received = &awake->received;
    uint32_t known = weir_ranges_search(received, awake->ack_floor);
    return received->count - (known < received->count ? known : received->count - 1);
}

static void put_ack(struct builder *b)
{
    struct awake *awake = b->conn->awake;
    struct weir_rudp_ack_frame *ack = &b->conn->endpoint->ack;
    const struct weir_ranges *received = &awake->received;
    awake->ack_pending = 0;
    awake->is_ack_now = false;
    awake->ack_at = WEIR_NEVER;
    if (received->count == 0) {
        return;
    }
    const struct weir_range *top = &received->items[received->count - 1];
    ack->largest = (uint32_t)top->last;
    ack->delay_us = (b->conn->endpoint->now - awake->largest_received_at) / WEIR_USEC;
    ack->ce_count = awake->ce_received;
    ack->count = ranges_to_report(awake);
    for (uint32_t i = 0; i < ack->count; i++) {
        const struct weir_range *range = top - i;
        ack->ranges[i].length = range->last - range->first;
        ack->ranges[i].gap = i + 1 < ack->count ? range->first - range[-1].last - 2 : 0;
    }
    b->at = weir_rudp_encode_ack(b->at, room_of(b), ack);
    if (b->packet != NULL) {
        b->packet->ack_next = top->last + 1;
    }
    /* RFC 9000 13.2.4: who sends nothing that is acknowledged asks for it now and then (MAY), or
     * the ranges would only grow. */
    awake->is_ping_wanted |=
        ack->count >= RANGES_ASK && awake->in_flight_packets == 0 && b->conn->state == STATE_OPEN;
}

static void put_credit(struct builder *b)
{
    struct weir_rudp_conn *conn = b->conn;
    conn->awake->is_credit_wanted = false;
    if (!conn->is_paused) {
        conn->receive_limit =
            weir_max_u64(conn->receive_limit,
                         conn->receive_consumed + conn->endpoint->config.receive_window_bytes);
    }
    b->at = weir_rudp_encode_credit(b->at, conn->receive_limit);
    b->packet->has_credit = true;
    b->is_eliciting = true;
}

static void put_close(struct builder *b)
{
    struct awake *awake = b->conn->awake;
    struct weir_rudp_close_frame close = {
        .code = awake->close_code,
        .text = weir_span_of(awake->close_text, strlen(awake->close_text))};
    awake->is_close_wanted = false;
    unsigned shift = awake->close_tries < CLOSE_SHIFT_MAX ? awake->close_tries : CLOSE_SHIFT_MAX;
    awake->close_tries++;
    awake->attempt_at = b->conn->endpoint->now + (weir_rudp_conn_pto(b->conn) << shift);
    b->at = weir_rudp_encode_close(b->at, &close);
    b->packet->has_close = true;
    b->is_eliciting = true;
}

static void put_control(struct builder *b)
{
    struct awake *awake = b->conn->awake;
    if (awake->is_close_wanted) {
        put_close(b);
    }
    if (awake->is_response_wanted) {
        awake->is_response_wanted = false;
        b->at = weir_rudp_encode_path(b->at, WEIR_RUDP_FRAME_RESPONSE, awake->response);
        b->is_eliciting = true;
    }
    if (awake->is_credit_wanted) {
        put_credit(b);
    }
}

/* --- packets ---------------------------------------------------------------------------------- */

bool weir_rudp_output_has_data(const struct awake *awake)
{
    return awake->again_first != NULL || next_queue(awake->conn) != NULL;
}

static bool is_ack_due(const struct awake *awake, weir_nsec now)
{
    return awake->is_ack_now || now >= awake->ack_at;
}

bool weir_rudp_output_has_control(const struct awake *awake)
{
    return awake->is_close_wanted || awake->is_response_wanted || awake->is_credit_wanted ||
           awake->is_ping_wanted;
}

weir_nsec weir_rudp_output_flush_at(const struct awake *awake)
{
    bool is_alone = awake->again_first == NULL && awake->waiting_bytes < awake->conn->mtu_bytes;
    return is_alone && !awake->conn->is_close_asked ? awake->flush_at : 0;
}

/* Small messages may wait for company. */
static bool is_held_back(struct awake *awake, weir_nsec now)
{
    const struct weir_rudp_config *config = &awake->conn->endpoint->config;
    if (config->flush_delay == 0) {
        return false;
    }
    if (awake->flush_at == WEIR_NEVER) {
        awake->flush_at = now + config->flush_delay;
    }
    return now < weir_rudp_output_flush_at(awake);
}

/* Perhaps the peer has no room for the data, and lives. */
static bool is_bare_probe(const struct awake *awake)
{
    return awake->probes_wanted == 1 && awake->probe_count >= PROBES_BARE;
}

/* May a packet with data leave now? */
static bool may_send_data(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (!weir_rudp_output_has_data(awake) || is_bare_probe(awake)) {
        return false;
    }
    if (awake->probes_wanted > 0) {
        return true;
    }
    if (is_held_back(awake, now) || awake->in_flight_bytes >= awake->cc.window_bytes) {
        return false;
    }
    /* A datagram larger than a burst may leave when a burst may. */
    return weir_pacer_allowance(&awake->pacer, now, awake->cc.pacing_rate) >=
           weir_min_u64(conn->mtu_bytes, awake->pacer.burst_min_bytes);
}

static void begin(struct builder *b, struct weir_rudp_conn *conn, uint8_t *p, size_t cap)
{
    *b = (struct builder){.conn = conn, .start = p, .end = p + cap - WEIR_RUDP_TRAILER_BYTES};
    p[0] = (uint8_t)((unsigned)WEIR_RUDP_KIND_DATA << 4 |
                     ((uint32_t)conn->next_number * 0x9e3779b9U >> 29));
    weir_store64(p + 1, conn->remote_id);
    weir_store32(p + WEIR_RUDP_HEADER_BYTES, (uint32_t)conn->next_number);
    b->at = p + WEIR_RUDP_DATA_HEADER_BYTES;
    b->packet = weir_rudp_packet_take(conn);
    if (b->packet != NULL) {
        b->packet->number = conn->next_number;
        b->packet->ack_next = 0;
        b->packet->chunks = NULL;
        b->packet->is_probe_mtu = b->packet->is_lost = false;
        b->packet->has_credit = b->packet->has_close = false;
    }
}

/* Pads to want bytes of datagram if it is shorter, seals, books. Returns the datagram's length. */
static uint32_t finish(struct builder *b, size_t want)
{
    struct weir_rudp_conn *conn = b->conn;
    struct weir_rudp *ep = conn->endpoint;
    size_t length = (size_t)(b->at - b->start);
    if (length + WEIR_RUDP_TRAILER_BYTES < want) {
        memset(b->at, WEIR_RUDP_FRAME_PADDING, want - WEIR_RUDP_TRAILER_BYTES - length);
        length = want - WEIR_RUDP_TRAILER_BYTES;
    }
    length = weir_rudp_seal_clear(b->start, length);
    if (b->is_eliciting) {
        weir_rudp_loss_on_sent(conn, b->packet, (uint32_t)length, ep->now);
        weir_pacer_on_sent(&conn->awake->pacer, length);
    } else if (b->packet != NULL) {
        weir_pool_give(&ep->packets, b->packet);
    }
    conn->next_number++;
    conn->packets_sent++;
    conn->bytes_sent += length;
    conn->last_sent = ep->now;
    ep->stats.packets_sent++;
    ep->stats.bytes_sent += length;
    return (uint32_t)length;
}

/* Writes one packet of at most cap bytes. 0: there is nothing to send now. */
static uint32_t build_packet(struct weir_rudp_conn *conn, uint8_t *p, size_t cap, weir_nsec now,
                             bool is_padded)
{
    struct awake *awake = conn->awake;
    struct builder b;
    bool is_data = may_send_data(conn, now);
    bool is_ack = is_ack_due(awake, now);
    if (!is_data && !is_ack && !weir_rudp_output_has_control(awake)) {
        return 0;
    }
    begin(&b, conn, p, cap);
    /* Control frames first: they are short, and the ranges of an ACK take what room there is. */
    if (b.packet != NULL) {
        put_control(&b);
    }
    if (is_ack || awake->ack_pending > 0) {
        put_ack(&b);
    }
    if (b.packet != NULL) {
        if (is_data) {
            put_messages(&b);
        }
        if (awake->is_ping_wanted) {
            awake->is_ping_wanted = false;
            if (!b.is_eliciting && room_of(&b) > 0) {
                *b.at++ = WEIR_RUDP_FRAME_PING;
                b.is_eliciting = true;
            }
        }
    }
    if (b.at == p + WEIR_RUDP_DATA_HEADER_BYTES) {
        if (b.packet != NULL) {
            weir_pool_give(&conn->endpoint->packets, b.packet);
        }
        return 0;
    }
    if (conn->next_number % GREASE_EVERY == 0 && room_of(&b) >= 16) {
        b.at = weir_rudp_encode_grease(b.at, weir_prng_next(&conn->endpoint->prng));
    }
    if (b.is_eliciting && awake->probes_wanted > 0) {
        awake->probes_wanted--;
        awake->is_ping_wanted |= is_bare_probe(awake);
    }
    bool is_nearly_full = (size_t)(b.at - p) + cap / 8 >= cap;
    return finish(&b, is_padded && is_nearly_full ? cap : 0);
}

/* --- runs ------------------------------------------------------------------------------------- */

static bool has_tx_room(const struct weir_tx *tx, size_t bytes)
{
    return tx->count < tx->transmits_max && tx->buffer_bytes - tx->used_bytes >= bytes;
}

static void emit(struct weir_tx *tx, const struct weir_path *path, uint32_t length,
                 uint32_t segment, uint8_t ecn)
{
    tx->transmits[tx->count++] = (struct weir_transmit){.path = *path,
                                                        .data = tx->buffer + tx->used_bytes,
                                                        .length = length,
                                                        .segment_bytes = (uint16_t)segment,
                                                        .ecn = ecn};
    tx->used_bytes += length;
}

/* Writes packets of one size one behind the other. false: there was nothing to send. */
static bool write_run(struct weir_rudp_conn *conn, weir_nsec now, struct weir_tx *tx)
{
    size_t room = tx->buffer_bytes - tx->used_bytes;
    /* A run that cannot take two packets is none. */
    bool is_run = tx->run_bytes_max >= (size_t)2 * conn->mtu_bytes && tx->run_segments_max > 1;
    size_t run_max = is_run ? tx->run_bytes_max : conn->mtu_bytes;
    uint32_t segments_max = is_run ? tx->run_segments_max : 1;
    uint8_t *p = tx->buffer + tx->used_bytes;
    uint32_t length = 0;
    uint32_t segment = 0;
    run_max = weir_min_u64(weir_min_u64(run_max, room), RUN_BYTES_MAX);
    for (uint32_t i = 0; i < segments_max; i++) {
        size_t cap = segment != 0 ? segment : conn->mtu_bytes;
        if (length + cap > run_max) {
            break;
        }
        uint32_t size = build_packet(conn, p + length, cap, now, i > 0);
        length += size;
        if (size == 0 || (segment != 0 && size < segment)) {
            break;
        }
        if (segment == 0) {
            segment = size;
            if (size < conn->mtu_bytes / 2) {
                break; /* a small first packet must not make the rest small */
            }
        }
    }
    if (length == 0) {
        return false;
    }
    emit(tx, &conn->path, length, segment, conn->awake->is_ecn_off ? WEIR_ECN_NOT : WEIR_ECN_ECT0);
    return true;
}

/* A packet of its own, larger than any other: it tells whether the path carries that size. */
static void write_mtu_probe(struct weir_rudp_conn *conn, struct weir_tx *tx)
{
    struct mtu_search *mtu = &conn->awake->mtu;
    struct builder b;
    size_t size = mtu->probe_bytes;
    if (size == 0 || mtu->is_in_flight || !has_tx_room(tx, size) || conn->state != STATE_OPEN) {
        return;
    }
    begin(&b, conn, tx->buffer + tx->used_bytes, size);
    if (b.packet == NULL) {
        return;
    }
    *b.at++ = WEIR_RUDP_FRAME_PING;
    b.is_eliciting = true;
    b.packet->is_probe_mtu = true;
    mtu->is_in_flight = true;
    uint32_t length = finish(&b, size);
    emit(tx, &conn->path, length, length, WEIR_ECN_NOT);
}

/* RFC 9000 8.2: is anyone at the new address who knows the connection? */
static void write_challenge(struct weir_rudp_conn *conn, struct weir_tx *tx)
{
    struct awake *awake = conn->awake;
    struct builder b;
    if (!awake->is_challenge_wanted || !has_tx_room(tx, conn->endpoint->config.mtu_bytes_min)) {
        return;
    }
    awake->is_challenge_wanted = false;
    begin(&b, conn, tx->buffer + tx->used_bytes, conn->endpoint->config.mtu_bytes_min);
    b.at = weir_rudp_encode_path(b.at, WEIR_RUDP_FRAME_CHALLENGE, awake->challenge);
    /* Repeated by its own timer: not in flight on the present path. */
    uint32_t length = finish(&b, 0);
    emit(tx, &awake->candidate, length, length, WEIR_ECN_NOT);
}

/* --- connections ------------------------------------------------------------------------------ */

static bool write_opening(struct weir_rudp_conn *conn, struct weir_tx *tx)
{
    if (!conn->awake->is_handshake_wanted) {
        return true;
    }
    if (!has_tx_room(tx, WEIR_RUDP_INIT_BYTES)) {
        return false;
    }
    size_t length = weir_rudp_write_handshake(conn, tx->buffer + tx->used_bytes);
    emit(tx, &conn->path, (uint32_t)length, (uint32_t)length, WEIR_ECN_NOT);
    conn->bytes_sent += length;
    conn->endpoint->stats.packets_sent++;
    conn->endpoint->stats.bytes_sent += length;
    conn->last_sent = conn->endpoint->now;
    return true;
}

static void before_data(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (awake->in_flight_packets == 0 && awake->last_eliciting != WEIR_NEVER &&
        now - awake->last_eliciting > weir_rudp_conn_pto(conn) &&
        weir_rudp_output_has_data(awake)) {
        weir_cc_on_idle_restart(&awake->cc, now);
    }
}

static void after_data(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    if (weir_rudp_output_has_data(awake)) {
        return;
    }
    awake->flush_at = WEIR_NEVER;
    if (awake->in_flight_bytes < awake->cc.window_bytes) {
        weir_cc_on_app_limited(&awake->cc, awake->in_flight_bytes);
    }
    if (conn->is_close_asked && conn->state == STATE_OPEN && weir_rudp_send_is_empty(awake)) {
        weir_rudp_conn_start_closing(conn);
    }
}

static enum turn write_data(struct weir_rudp_conn *conn, weir_nsec now, struct weir_tx *tx)
{
    before_data(conn, now);
    write_challenge(conn, tx);
    if (conn->awake->mtu.is_due && weir_rudp_output_has_data(conn->awake)) {
        weir_rudp_mtu_start(conn);
    }
    write_mtu_probe(conn, tx);
    for (unsigned run = 0; run < RUNS_MAX; run++) {
        if (!has_tx_room(tx, conn->mtu_bytes)) {
            return TURN_FULL;
        }
        if (!write_run(conn, now, tx)) {
            after_data(conn);
            return TURN_DONE;
        }
    }
    return TURN_MORE;
}

/* Gives the connection back once the application has forgotten it and the peer needs no answer. */
static bool free_if_over(struct weir_rudp_conn *conn, weir_nsec now)
{
    if (!conn->is_closed_told) {
        return false;
    }
    if (conn->state == STATE_DRAINING && conn->awake != NULL && now < conn->awake->deadline) {
        return false;
    }
    weir_rudp_conn_free(conn);
    return true;
}

static enum turn output_conn(struct weir_rudp_conn *conn, weir_nsec now, struct weir_tx *tx)
{
    enum turn turn = TURN_DONE;
    if (conn->awake != NULL) {
        if (!write_opening(conn, tx)) {
            return TURN_FULL;
        }
        if (conn->state == STATE_REFUSING) {
            weir_rudp_conn_free(conn);
            return TURN_DONE;
        }
        if (conn->state >= STATE_OPEN || conn->state == STATE_ACCEPTED) {
            turn = write_data(conn, now, tx);
        }
    }
    if (turn == TURN_DONE && free_if_over(conn, now)) {
        return TURN_DONE;
    }
    weir_rudp_conn_set_timer(conn);
    return turn;
}

static bool write_stateless_replies(struct weir_rudp *ep, struct weir_tx *tx)
{
    while (ep->stateless_count > 0) {
        if (!has_tx_room(tx, WEIR_RUDP_INIT_BYTES)) {
            return false;
        }
        const struct stateless *reply = &ep->stateless[--ep->stateless_count];
        size_t length = weir_rudp_write_stateless(ep, reply, tx->buffer + tx->used_bytes);
        emit(tx, &reply->path, (uint32_t)length, (uint32_t)length, WEIR_ECN_NOT);
        ep->stats.packets_sent++;
        ep->stats.bytes_sent += length;
    }
    return true;
}

enum weir_status weir_rudp_output(struct weir_rudp *ep, weir_nsec now, struct weir_tx *tx)
{
    struct weir_rudp_conn *conn;
    ep->now = weir_max_u64(ep->now, now);
    if (!write_stateless_replies(ep, tx)) {
        return WEIR_OK;
    }
    while ((conn = weir_rudp_fifo_take(ep, &ep->ready)) != NULL) {
        enum turn turn = output_conn(conn, ep->now, tx);
        if (turn != TURN_DONE) {
            weir_rudp_conn_ready(conn); /* at the end: the others have their turn first */
        }
        if (turn == TURN_FULL) {
            return WEIR_OK;
        }
    }
    return WEIR_AGAIN;
}
