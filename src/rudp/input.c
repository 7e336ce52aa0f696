/* SPDX-License-Identifier: MIT */
/*
 * input.c - packets in: which connection, is it new, then frame by frame as events are pulled.
 *
 * A batch is only remembered by input; event() reads on in it until there is something to hand out.
 * So no queue of events exists, whatever a peer sends, and data is handed out straight from where
 * it was received. A packet is acknowledged once all of it has found its place.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    CODE_MALFORMED = 1,
    CODE_FLOW = 2,
    CODE_ACK = 3
};

void weir_rudp_input(struct weir_rudp *ep, weir_nsec now, struct weir_packet *packets,
                     uint32_t count)
{
    struct cursor *cursor = &ep->cursor;
    if (cursor->conn != NULL || cursor->index < cursor->count) {
        ep->stats.drops[WEIR_RUDP_DROP_UNDRAINED] += cursor->count - cursor->index;
    }
    weir_rudp_release_current(ep);
    ep->now = weir_max_u64(ep->now, now);
    *cursor = (struct cursor){.packets = packets, .count = count};
}

/* --- frames ----------------------------------------------------------------------------------- */

static void on_close_frame(struct weir_rudp_conn *conn, const struct weir_rudp_close_frame *close)
{
    conn->awake->is_ack_now = true;
    if (conn->state == STATE_DRAINING) {
        return;
    }
    bool is_ours_too = conn->state == STATE_CLOSING;
    conn->state = STATE_DRAINING;
    conn->awake->deadline = conn->endpoint->now + 3 * weir_rudp_conn_pto(conn);
    if (!is_ours_too) {
        weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_PEER, close->code, close->text);
    } else {
        weir_rudp_conn_end(conn, conn->awake->cause, 0, (struct weir_span){0});
    }
}

static void on_credit(struct weir_rudp_conn *conn, uint64_t limit)
{
    if (limit > conn->window_limit) {
        conn->window_limit = limit;
        weir_rudp_conn_ready(conn);
    }
}

static void on_challenge(struct weir_rudp_conn *conn, uint64_t data)
{
    conn->awake->response = data;
    conn->awake->is_response_wanted = true;
    weir_rudp_conn_ready(conn);
}

/* One frame other than MESSAGE. */
static void on_control_frame(struct weir_rudp_conn *conn, const struct weir_rudp_frame *frame)
{
    struct cursor *cursor = &conn->endpoint->cursor;
    cursor->is_eliciting |= frame->type != WEIR_RUDP_FRAME_ACK &&
                            frame->type != WEIR_RUDP_FRAME_PADDING &&
                            frame->type != WEIR_RUDP_FRAME_EXTENSION;
    switch (frame->type) {
    case WEIR_RUDP_FRAME_ACK:
        if (cursor->has_ack) {
            break; /* each looks at all that is in flight: one a packet */
        }
        cursor->has_ack = true;
        if (!weir_rudp_loss_on_ack(conn, frame->ack, conn->endpoint->now)) {
            weir_rudp_conn_break(conn, CODE_ACK, "acknowledged what was never sent");
        }
        break;
    case WEIR_RUDP_FRAME_CREDIT:
        on_credit(conn, frame->credit);
        break;
    case WEIR_RUDP_FRAME_CHALLENGE:
        on_challenge(conn, frame->path_data);
        break;
    case WEIR_RUDP_FRAME_RESPONSE:
        weir_rudp_path_on_response(conn, frame->path_data);
        break;
    case WEIR_RUDP_FRAME_CLOSE:
        on_close_frame(conn, &frame->close);
        break;
    default: /* PADDING, PING, EXTENSION */
        break;
    }
}

/* --- packets ---------------------------------------------------------------------------------- */

static uint64_t widen_number(const struct weir_rudp_conn *conn, uint32_t low)
{
    uint64_t expected = weir_max_u64(conn->largest_received, FIRST_NUMBER);
    return expected + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)expected);
}

static bool is_duplicate(const struct weir_rudp_conn *conn, uint64_t number)
{
    const struct weir_ranges *received = &conn->awake->received;
    if (number < conn->awake->duplicate_floor || number > (UINT64_C(1) << 62)) {
        return true;
    }
    /* With all ranges in use, what lies below them is too old to tell apart. */
    if (received->count == received->max && number < received->items[0].first) {
        return true;
    }
    return weir_ranges_contains(received, number);
}

static void begin_data(struct weir_rudp *ep, const struct weir_packet *packet)
{
    uint64_t local_id = weir_load64(packet->data + 1);
    struct weir_rudp_conn *conn = weir_rudp_conn_find(ep, local_id);
    if (conn == NULL) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_CONNECTION);
        weir_rudp_send_reset(ep, packet, local_id);
        return;
    }
    if (conn->state < STATE_ACCEPTED || conn->state == STATE_REFUSING) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_KIND);
        return;
    }
    if (!weir_rudp_conn_wake(conn)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        return;
    }
    uint64_t number = widen_number(conn, weir_load32(packet->data + WEIR_RUDP_HEADER_BYTES));
    if (is_duplicate(conn, number)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_DUPLICATE);
        return;
    }
    if (conn->state == STATE_ACCEPTED) {
        conn->state = STATE_OPEN;
        conn->awake->attempt_at = conn->awake->deadline = WEIR_NEVER;
        conn->awake->is_handshake_wanted = false;
        ep->stats.handshakes++;
        weir_rudp_conn_pend(conn, PENDING_OPENED);
    }
    conn->last_received = ep->now;
    conn->packets_received++;
    conn->bytes_received += packet->length;
    weir_rudp_path_on_packet(conn, packet, number >= conn->largest_received);
    struct cursor *cursor = &ep->cursor;
    cursor->conn = conn;
    cursor->at = packet->data + WEIR_RUDP_DATA_HEADER_BYTES;
    cursor->end = packet->data + packet->length - WEIR_RUDP_TRAILER_BYTES;
    cursor->number = number;
    cursor->ids = (struct weir_rudp_message_ids){0};
    cursor->is_eliciting = cursor->is_refused = cursor->has_ack = false;
    cursor->ecn = packet->ecn;
}

static void begin_packet(struct weir_rudp *ep, const struct weir_packet *packet)
{
    ep->stats.packets_received++;
    ep->stats.bytes_received += packet->length;
    if (packet->length < WEIR_RUDP_DATA_HEADER_BYTES + WEIR_RUDP_TRAILER_BYTES) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_TRUNCATED);
        return;
    }
    if ((packet->data[0] & WEIR_RUDP_SEALED_BIT) != 0) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_KIND);
        return;
    }
    if (!weir_rudp_check_clear(packet->data, packet->length)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_CHECKSUM);
        return;
    }
    struct weir_span bytes = weir_span_of(packet->data, packet->length - WEIR_RUDP_TRAILER_BYTES);
    switch (packet->data[0] >> 4) {
    case WEIR_RUDP_KIND_DATA:
        begin_data(ep, packet);
        break;
    case WEIR_RUDP_KIND_INIT:
        weir_rudp_input_init(ep, packet, bytes);
        break;
    case WEIR_RUDP_KIND_RETRY:
    case WEIR_RUDP_KIND_ACCEPT:
    case WEIR_RUDP_KIND_REFUSE:
    case WEIR_RUDP_KIND_VERSION:
    case WEIR_RUDP_KIND_RESET:
        weir_rudp_input_to_client(ep, packet, bytes);
        break;
    default:
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_KIND);
        break;
    }
}

/* Enters the number into the ranges that ACKs are made of. Returns whether it came in order. */
static bool enter_number(struct weir_rudp_conn *conn, uint64_t number)
{
    struct awake *awake = conn->awake;
    uint64_t added;
    bool is_in_order = number == weir_max_u64(conn->largest_received, FIRST_NUMBER);
    if (number < conn->largest_received) {
        weir_rudp_ack_late(conn, number);
    }
    if (weir_ranges_add(&awake->received, number, number, &added) == WEIR_ERR_FULL) {
        /* Forget the oldest range: its packets have long been acknowledged. */
        awake->duplicate_floor = awake->received.items[0].last + 1;
        weir_ranges_remove_below(&awake->received, awake->duplicate_floor);
        if (weir_ranges_add(&awake->received, number, number, &added) != WEIR_OK) {
            return false;
        }
    }
    if (number >= conn->largest_received) {
        conn->largest_received = number + 1;
        awake->largest_received_at = conn->endpoint->now;
    }
    return is_in_order;
}

static void end_packet(struct weir_rudp *ep)
{
    struct cursor *cursor = &ep->cursor;
    struct weir_rudp_conn *conn = cursor->conn;
    cursor->conn = NULL;
    if (conn->awake == NULL) {
        return;
    }
    if (cursor->is_refused) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        weir_rudp_conn_ready(conn);
        return;
    }
    struct awake *awake = conn->awake;
    bool is_in_order = enter_number(conn, cursor->number);
    bool is_marked = cursor->ecn == WEIR_ECN_CE;
    awake->ce_received += is_marked;
    if (cursor->is_eliciting) {
        /* RFC 9000 13.2.1: at once when out of order or marked; else every second, or later. */
        awake->ack_pending++;
        awake->is_ack_now |= !is_in_order || is_marked || awake->ack_pending >= 2;
        if (awake->ack_at == WEIR_NEVER) {
            awake->ack_at = ep->now + ep->config.ack_delay;
        }
    }
    weir_rudp_conn_ready(conn);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Reads the current packet on; true when there is something to hand out. */
static bool continue_packet(struct weir_rudp *ep, struct weir_rudp_event *event)
{
    struct cursor *cursor = &ep->cursor;
    struct weir_rudp_conn *conn = cursor->conn;
    while (cursor->at < cursor->end) {
        struct weir_rudp_frame frame;
        cursor->at =
            weir_rudp_decode_frame(cursor->at, cursor->end, &frame, &ep->ack, &cursor->ids);
        if (cursor->at == NULL) {
            weir_rudp_conn_break(conn, CODE_MALFORMED, "malformed frame");
            break;
        }
        if (frame.type != WEIR_RUDP_FRAME_MESSAGE) {
            on_control_frame(conn, &frame);
            continue;
        }
        cursor->is_eliciting = true;
        if (conn->state != STATE_OPEN) {
            continue; /* closing: nothing is handed out any more */
        }
        switch (weir_rudp_receive_message(conn, &frame.message, event)) {
        case RECEIVED_EVENT:
            return true;
        case RECEIVED_REFUSED:
            cursor->is_refused = true;
            break;
        case RECEIVED_BROKEN:
            weir_rudp_conn_break(conn, CODE_FLOW, "message outside the announced limits");
            break;
        case RECEIVED_NOTHING:
            if (ep->release.first != LIST_END) {
                return false; /* a skip has freed held messages: they come before what follows */
            }
            break;
        }
    }
    end_packet(ep);
    return false;
}

bool weir_rudp_input_next(struct weir_rudp *ep, struct weir_rudp_event *event, bool *has_event)
{
    struct cursor *cursor = &ep->cursor;
    *has_event = false;
    if (cursor->conn != NULL) {
        *has_event = continue_packet(ep, event);
        return true;
    }
    if (cursor->index == cursor->count) {
        return false;
    }
    begin_packet(ep, &cursor->packets[cursor->index++]);
    return true;
}
