/* SPDX-License-Identifier: MIT */
/*
 * send.c - data out: queueing, where copied bytes live, giving back.
 */
#include <string.h>

#include "tcp/internal.h"

enum {
    BLOCK_BUSY_BYTES = 4096 /* of copies while others wait: the next ones find room in it */
};

/* --- giving back ------------------------------------------------------------------------------ */

void weir_tcp_message_free(struct weir_tcp *ep, struct message *message)
{
    weir_store_give(ep->send_store, message, message->block_bytes);
    if (ep->starved.first != LIST_END) {
        weir_tcp_wake_starved(ep);
    }
}

static void finish(struct weir_tcp *ep, struct message *message, enum weir_outcome outcome)
{
    if (message->parcel == NULL) {
        weir_tcp_message_free(ep, message);
        return;
    }
    message->outcome = (uint8_t)outcome;
    message->next = NULL;
    if (ep->done_first == NULL) {
        ep->done_first = message;
    } else {
        ep->done_last->next = message;
    }
    ep->done_last = message;
}

static void take_first(struct awake *awake, enum weir_outcome outcome)
{
    struct message *message = awake->message_first;
    awake->message_first = message->next;
    if (awake->message_first == NULL) {
        awake->message_last = NULL;
    }
    if (awake->message_next == message) {
        awake->message_next = NULL;
    }
    finish(awake->ep, message, outcome);
}

void weir_tcp_send_settle(struct awake *awake)
{
    struct message *message;
    while ((message = awake->message_first) != NULL &&
           weir_tcp_diff(message->seq + message->length, awake->snd_una) <= 0) {
        take_first(awake, WEIR_OUTCOME_ACKED);
    }
    weir_tcp_send_tell_writable(awake);
}

void weir_tcp_send_skip(struct awake *awake)
{
    while (awake->message_next != NULL &&
           awake->snd_nxt - awake->message_next->seq >= awake->message_next->length) {
        awake->message_next = awake->message_next->next;
    }
}

void weir_tcp_send_drop_all(struct awake *awake)
{
    while (awake->message_first != NULL) {
        take_first(awake, WEIR_OUTCOME_CLOSED);
    }
}

static uint32_t queued_bytes(const struct awake *awake)
{
    int32_t bytes = weir_tcp_diff(awake->queue_end, awake->snd_una);
    return bytes > 0 ? (uint32_t)bytes : 0;
}

void weir_tcp_send_tell_writable(struct awake *awake)
{
    if (awake->is_writable_wanted && awake->starved_next == LIST_OUT && !awake->is_closing &&
        queued_bytes(awake) <= awake->ep->config.tuning.send_queue_max / 2) {
        awake->is_writable_wanted = false;
        weir_tcp_pend(awake, PENDING_WRITABLE);
    }
}

/* --- queueing --------------------------------------------------------------------------------- */

static bool is_sendable(const struct awake *awake)
{
    return !awake->is_ended && !awake->is_closing &&
           (awake->state == WEIR_TCP_STATE_ESTABLISHED ||
            awake->state == WEIR_TCP_STATE_CLOSE_WAIT || awake->state == WEIR_TCP_STATE_SYN_SENT ||
            awake->state == WEIR_TCP_STATE_SYN_RECEIVED);
}

/* The control block of a connection that takes length bytes now. */
static enum weir_status begin(struct weir_tcp *ep, struct weir_tcp_conn *conn, size_t length,
                              struct awake **awake)
{
    uint8_t code = weir_tcp_record(ep, conn)->code;
    if (code != CODE_AWAKE && code < CODE_CLOSE_WAIT) {
        return WEIR_ERR_CLOSED;
    }
    *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (*awake == NULL) {
        return WEIR_AGAIN;
    }
    if (!is_sendable(*awake)) {
        return WEIR_ERR_CLOSED;
    }
    if (!weir_tcp_conn_may_begin(*awake)) {
        return WEIR_AGAIN;
    }
    uint32_t queued = queued_bytes(*awake);
    if (queued > 0 && queued + length > ep->config.tuning.send_queue_max) {
        (*awake)->is_writable_wanted = true;
        return WEIR_ERR_FULL;
    }
    return WEIR_OK;
}

static void append(struct awake *awake, struct message *message)
{
    message->next = NULL;
    message->conn = awake->conn;
    message->seq = awake->queue_end;
    if (awake->message_last == NULL) {
        awake->message_first = message;
    } else {
        awake->message_last->next = message;
    }
    awake->message_last = message;
}

/* length more bytes lie at the end of the last message. */
static void on_queued(struct awake *awake, size_t length)
{
    if (awake->message_next == NULL) {
        awake->message_next = awake->message_last;
    }
    if (awake->sequence.first == NULL && weir_tcp_unsent(awake) == 0) {
        awake->open_at =
            WEIR_NEVER; /* from the next output on: only then it is known what time it is */
    }
    awake->queue_end += (uint32_t)length;
    weir_tcp_ready(awake);
}

static struct message *message_take(struct awake *awake, size_t bytes)
{
    struct weir_tcp *ep = awake->ep;
    struct message *message = weir_store_take(ep->send_store, bytes);
    if (message == NULL) {
        weir_tcp_starve(awake);
        return NULL;
    }
    *message = (struct message){.block_bytes = (uint32_t)weir_store_block_bytes(bytes)};
    return message;
}

/* Room behind the copied bytes of the last message. */
static size_t room_left(const struct message *last)
{
    return last == NULL || last->parcel != NULL
               ? 0
               : last->block_bytes - sizeof(struct message) - last->length;
}

enum weir_status weir_tcp_send(struct weir_tcp *ep, struct weir_tcp_conn *conn, const void *data,
                               size_t length)
{
    struct awake *awake;
    if (length == 0) {
        return WEIR_ERR_INVALID;
    }
    if (length > WEIR_TCP_SEND_BYTES_MAX) {
        return WEIR_ERR_TOO_LARGE;
    }
    enum weir_status status = begin(ep, conn, length, &awake);
    if (status != WEIR_OK) {
        return status;
    }
    struct message *last = awake->message_last;
    if (room_left(last) < length) {
        size_t bytes = sizeof(struct message) + length;
        if (last != NULL) {
            bytes = weir_max_u64(bytes, BLOCK_BUSY_BYTES);
        }
        last = message_take(awake, bytes);
        if (last == NULL) {
            return WEIR_ERR_FULL;
        }
        last->data = (const uint8_t *)(last + 1);
        append(awake, last);
    }
    memcpy((uint8_t *)(last + 1) + last->length, data, length);
    last->length += (uint32_t)length;
    on_queued(awake, length);
    return WEIR_OK;
}

enum weir_status weir_tcp_send_parcel(struct weir_tcp *ep, struct weir_tcp_conn *conn,
                                      struct weir_parcel *parcel)
{
    struct awake *awake;
    if (parcel->length == 0) {
        return WEIR_ERR_INVALID;
    }
    if (parcel->length > WEIR_TCP_WINDOW_MAX) {
        return WEIR_ERR_TOO_LARGE;
    }
    enum weir_status status = begin(ep, conn, parcel->length, &awake);
    if (status != WEIR_OK) {
        return status;
    }
    struct message *message = message_take(awake, sizeof(*message));
    if (message == NULL) {
        return WEIR_ERR_FULL;
    }
    parcel->references++;
    message->parcel = parcel;
    message->data = parcel->data;
    message->length = parcel->length;
    append(awake, message);
    on_queued(awake, parcel->length);
    return WEIR_OK;
}

enum weir_status weir_tcp_broadcast(struct weir_tcp *ep, struct weir_parcel *parcel,
                                    struct weir_tcp_conn *const *conns, uint32_t count,
                                    uint32_t *sent)
{
    enum weir_status status = WEIR_OK;
    uint32_t i = 0;
    while (i < count && (status = weir_tcp_send_parcel(ep, conns[i], parcel)) == WEIR_OK) {
        i++;
    }
    *sent = i;
    return status;
}

void weir_tcp_urgent(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct awake *awake = weir_tcp_awake_of(ep, conn);
    if (awake != NULL && weir_tcp_unsent(awake) > 0) {
        awake->is_urgent_out = true;
        awake->snd_up = awake->queue_end;
        weir_tcp_ready(awake);
    }
}
