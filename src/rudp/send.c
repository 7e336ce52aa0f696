/* SPDX-License-Identifier: MIT */
/*
 * send.c - messages out, the user's side: queueing, sets, byte-granular writing, deadlines.
 */
#include <string.h>

#include "rudp/internal.h"

/* --- checks ----------------------------------------------------------------------------------- */

static bool is_sending(const struct weir_rudp_conn *conn)
{
    return !conn->is_close_asked && (conn->state == STATE_OPEN || conn->state == STATE_CONNECTING ||
                                     conn->state == STATE_ACCEPTED);
}

static bool has_channel(const struct weir_rudp_conn *conn, uint8_t channel)
{
    return channel < conn->endpoint->config.channels_max && channel < conn->peer_channels;
}

/* Is there room in the connection's queue? An empty queue takes any one message. */
static enum weir_status check_room(struct weir_rudp_conn *conn, size_t bytes)
{
    const struct awake *awake = conn->awake;
    if (awake->queued_bytes > 0 &&
        awake->queued_bytes + bytes > conn->endpoint->config.send_queue_bytes) {
        conn->is_writable_wanted = true;
        return WEIR_ERR_FULL;
    }
    return WEIR_OK;
}

static enum weir_status out_of_memory(struct weir_rudp_conn *conn)
{
    conn->is_writable_wanted = true;
    weir_rudp_conn_starve(conn);
    return WEIR_ERR_FULL;
}

/* Can the memory for outgoing messages ever hold so much in one? */
static bool fits_memory(const struct weir_rudp_conn *conn, size_t copied)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    return weir_store_block_bytes(weir_rudp_message_page_bytes(copied)) <= config->send_bytes;
}

static enum weir_status check_send(struct weir_rudp_conn *conn, const struct weir_rudp_send *how,
                                   size_t length)
{
    if (!is_sending(conn)) {
        return WEIR_ERR_CLOSED;
    }
    if (!has_channel(conn, how->channel) || (unsigned)how->guarantee > WEIR_RUDP_DELIVERY ||
        how->priority < WEIR_RUDP_PRIORITY_LOW || how->priority > WEIR_RUDP_PRIORITY_URGENT) {
        return WEIR_ERR_INVALID;
    }
    if (length > conn->peer_message_bytes_max) {
        return WEIR_ERR_TOO_LARGE;
    }
    if (!weir_rudp_conn_wake(conn) || weir_rudp_conn_channel(conn, how->channel) == NULL) {
        return out_of_memory(conn);
    }
    return WEIR_OK;
}

/* --- queueing --------------------------------------------------------------------------------- */

void weir_rudp_queue_append(struct queue *queue, struct message *message)
{
    message->next = NULL;
    message->is_queued = true;
    if (queue->first == NULL) {
        queue->first = message;
    } else {
        queue->last->next = message;
    }
    queue->last = message;
}

/* A message never overtakes one of its channel that it must come after: it would wait at the
 * receiver, in window that the earlier one then lacks. So it takes a queue as slow as theirs. */
static unsigned choose_queue(struct channel *channel, const struct weir_rudp_send *how)
{
    unsigned wanted = (unsigned)(how->priority - WEIR_RUDP_PRIORITY_LOW); /* 0 to 3 */
    if (how->guarantee == WEIR_RUDP_NONE) {
        return wanted;
    }
    if (channel->waiting_count++ == 0 || wanted < channel->waiting_queue) {
        channel->waiting_queue = (uint8_t)wanted;
    }
    return channel->waiting_queue;
}

void weir_rudp_queue_leave(struct weir_rudp_conn *conn, struct message *message)
{
    message->is_queued = false;
    if (message->guarantee != WEIR_RUDP_NONE) {
        weir_rudp_conn_channel(conn, message->channel)->waiting_count--;
    }
}

/* Messages without a guarantee have no place among the others; only their fragments need a number,
 * to find each other. */
static void number(struct awake *awake, struct channel *channel, struct message *message)
{
    bool is_delivery = message->guarantee == WEIR_RUDP_DELIVERY;
    if (message->guarantee == WEIR_RUDP_NONE) {
        message->mid = awake->none_next++;
        return;
    }
    message->mid = channel->send_mid++;
    message->dseq = channel->send_dseq;
    channel->send_dseq += is_delivery;
    if (channel->set_back > SET_BACK_MAX) {
        channel->set_back = channel->set_dback = 0; /* an endless set goes on as the next one */
    }
    if (channel->is_set_open) {
        message->set_back = channel->set_back++;
        message->set_dback = channel->set_dback;
        channel->set_dback += is_delivery;
    }
}

static void enqueue(struct weir_rudp_conn *conn, struct message *message,
                    const struct weir_rudp_send *how)
{
    struct awake *awake = conn->awake;
    message->channel = how->channel;
    message->guarantee = (uint8_t)how->guarantee;
    if (how->deadline != 0) {
        message->deadline = how->deadline;
        awake->deadline_next = weir_min_u64(awake->deadline_next, how->deadline);
    }
    struct channel *channel = weir_rudp_conn_channel(conn, how->channel);
    number(awake, channel, message);
    awake->queued_bytes += weir_rudp_message_cost(message);
    awake->waiting_bytes += message->length;
    awake->messages++;
    conn->messages_sent++;
    weir_rudp_queue_append(&awake->queues[choose_queue(channel, how)], message);
    weir_rudp_conn_ready(conn);
}

/* A set begins, of one message or of many: what about bytes written and not sent? */
static void on_new_set(struct weir_rudp_conn *conn)
{
    if (conn->awake == NULL || conn->awake->writing == NULL) {
        return;
    }
    enum weir_rudp_unsent unsent = conn->endpoint->config.unsent;
    WEIR_ASSERT(unsent != WEIR_RUDP_UNSENT_PANIC); /* a set begins while written data is unsent */
    if (unsent == WEIR_RUDP_UNSENT_CLEAR) {
        weir_rudp_clear_written(conn);
    }
}

static void on_send(struct weir_rudp_conn *conn, uint8_t channel)
{
    if (!weir_rudp_conn_channel(conn, channel)->is_set_open) {
        on_new_set(conn);
    }
}

enum weir_status weir_rudp_send(struct weir_rudp_conn *conn, const struct weir_rudp_send *how,
                                const void *data, size_t length)
{
    enum weir_status status = check_send(conn, how, length);
    if (status == WEIR_OK) {
        status = fits_memory(conn, length) ? check_room(conn, sizeof(struct message) + length)
                                           : WEIR_ERR_TOO_LARGE;
    }
    if (status != WEIR_OK) {
        return status;
    }
    on_send(conn, how->channel);
    struct message *message = weir_rudp_message_take(conn, length);
    if (message == NULL) {
        return out_of_memory(conn);
    }
    message->length = (uint32_t)length;
    if (length > 0) {
        memcpy(message + 1, data, length);
    }
    enqueue(conn, message, how);
    return WEIR_OK;
}

enum weir_status weir_rudp_send_parcel(struct weir_rudp_conn *conn,
                                       const struct weir_rudp_send *how, struct weir_parcel *parcel)
{
    enum weir_status status = check_send(conn, how, parcel->length);
    if (status == WEIR_OK) {
        status = check_room(conn, sizeof(struct message));
    }
    if (status != WEIR_OK) {
        return status;
    }
    on_send(conn, how->channel);
    struct message *message = weir_rudp_message_take(conn, 0);
    if (message == NULL) {
        return out_of_memory(conn);
    }
    message->length = parcel->length;
    message->data = parcel->data;
    message->parcel = parcel;
    parcel->references++;
    enqueue(conn, message, how);
    return WEIR_OK;
}

/* --- sets ------------------------------------------------------------------------------------- */

static enum weir_status set_open(struct weir_rudp_conn *conn, uint8_t number, bool is_open)
{
    if (!has_channel(conn, number)) {
        return WEIR_ERR_INVALID;
    }
    struct channel *channel = weir_rudp_conn_channel(conn, number);
    if (channel == NULL) {
        return WEIR_ERR_FULL;
    }
    if (is_open) {
        on_new_set(conn);
    }
    channel->is_set_open = is_open;
    channel->set_back = channel->set_dback = 0;
    return WEIR_OK;
}

enum weir_status weir_rudp_set_begin(struct weir_rudp_conn *conn, uint8_t channel)
{
    return set_open(conn, channel, true);
}

enum weir_status weir_rudp_set_end(struct weir_rudp_conn *conn, uint8_t channel)
{
    return set_open(conn, channel, false);
}

/* --- byte-granular writing -------------------------------------------------------------------- */

/* Makes the message under construction able to hold length bytes, moving it if it must. */
static bool make_writing_room(struct weir_rudp_conn *conn, size_t length)
{
    struct awake *awake = conn->awake;
    struct message *old = awake->writing;
    if (old != NULL && (old->room >= length || weir_rudp_message_extend(old, length))) {
        return true;
    }
    struct message *message = old == NULL ? NULL : weir_rudp_message_take(conn, 2 * length);
    if (message == NULL) {
        message = weir_rudp_message_take(conn, length);
    }
    if (message == NULL) {
        return false;
    }
    if (old != NULL) {
        message->length = old->length;
        memcpy(message + 1, old + 1, old->length);
        weir_rudp_message_free(conn->endpoint, old);
    }
    awake->writing = message;
    return true;
}

enum weir_status weir_rudp_reserve(struct weir_rudp_conn *conn, size_t length, uint8_t **room)
{
    if (!is_sending(conn)) {
        return WEIR_ERR_CLOSED;
    }
    if (!weir_rudp_conn_wake(conn)) {
        return out_of_memory(conn);
    }
    struct awake *awake = conn->awake;
    size_t written = awake->writing == NULL ? 0 : awake->writing->length;
    /* The peer's limit may have become known, and lower, since the first byte was written. */
    if (written > conn->peer_message_bytes_max || length > conn->peer_message_bytes_max - written ||
        !fits_memory(conn, written + length)) {
        return WEIR_ERR_TOO_LARGE;
    }
    enum weir_status status = check_room(conn, sizeof(struct message) + written + length);
    if (status != WEIR_OK) {
        return status;
    }
    if (!make_writing_room(conn, written + length)) {
        return out_of_memory(conn);
    }
    awake->reserved_bytes = (uint32_t)length;
    *room = (uint8_t *)(awake->writing + 1) + written;
    return WEIR_OK;
}

enum weir_status weir_rudp_commit(struct weir_rudp_conn *conn, size_t length)
{
    struct awake *awake = conn->awake;
    if (awake == NULL || awake->writing == NULL || length > awake->reserved_bytes) {
        return WEIR_ERR_INVALID;
    }
    awake->writing->length += (uint32_t)length;
    awake->reserved_bytes = 0;
    return WEIR_OK;
}

enum weir_status weir_rudp_write(struct weir_rudp_conn *conn, const void *data, size_t length)
{
    uint8_t *room;
    enum weir_status status = weir_rudp_reserve(conn, length, &room);
    if (status != WEIR_OK) {
        return status;
    }
    if (length > 0) {
        memcpy(room, data, length);
    }
    return weir_rudp_commit(conn, length);
}

void weir_rudp_clear_written(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    if (awake != NULL && awake->writing != NULL) {
        weir_rudp_message_free(conn->endpoint, awake->writing);
        awake->writing = NULL;
        awake->reserved_bytes = 0;
    }
}

enum weir_status weir_rudp_send_written(struct weir_rudp_conn *conn,
                                        const struct weir_rudp_send *how)
{
    if (conn->awake == NULL || conn->awake->writing == NULL) {
        return weir_rudp_send(conn, how, "", 0);
    }
    struct message *message = conn->awake->writing;
    enum weir_status status = check_send(conn, how, message->length);
    if (status != WEIR_OK) {
        return status;
    }
    weir_rudp_message_trim(message);
    conn->awake->writing = NULL;
    conn->awake->reserved_bytes = 0;
    enqueue(conn, message, how);
    return WEIR_OK;
}

void weir_rudp_flush(struct weir_rudp_conn *conn)
{
    if (conn->awake != NULL) {
        conn->awake->flush_at = conn->endpoint->now;
        weir_rudp_conn_ready(conn);
    }
}

/* --- giving up -------------------------------------------------------------------------------- */

/* The receiver must learn that a delivery message will not come: a skip takes its place. */
static void skip_delivery(struct weir_rudp_conn *conn, struct message *message, struct chunk *chunk)
{
    message->guarantee = WEIR_RUDP_GUARANTEE_SKIP;
    message->deadline = WEIR_NEVER;
    message->chunks++;
    *chunk = (struct chunk){.message = message, .offset = SKIP_OFFSET};
    weir_rudp_chunk_again(conn->awake, chunk);
}

/* Gives message up. false: there is no chunk for the skip now; nothing has changed then, and it is
 * tried again a little later. */
static bool expire(struct weir_rudp_conn *conn, struct message *message)
{
    const weir_nsec retry = 10 * WEIR_MSEC;
    struct weir_rudp *ep = conn->endpoint;
    struct awake *awake = conn->awake;
    struct chunk *chunk = &message->first;
    bool is_delivery = message->guarantee == WEIR_RUDP_DELIVERY;
    if (is_delivery && message->is_started) {
        chunk = weir_rudp_chunk_take(ep);
        if (chunk == NULL) {
            awake->deadline_next = weir_min_u64(awake->deadline_next, ep->now + retry);
            return false;
        }
    }
    if (message->is_queued) {
        awake->waiting_bytes -= message->length - message->sent_bytes;
        weir_rudp_queue_leave(conn, message);
    }
    if (is_delivery) {
        skip_delivery(conn, message, chunk);
    } else {
        weir_rudp_message_done(message, WEIR_OUTCOME_EXPIRED);
    }
    return true;
}

static void expire_queue(struct weir_rudp_conn *conn, struct queue *queue, weir_nsec now)
{
    struct message *message = queue->first;
    queue->first = queue->last = NULL;
    while (message != NULL) {
        struct message *next = message->next;
        if (message->deadline > now) {
            conn->awake->deadline_next =
                weir_min_u64(conn->awake->deadline_next, message->deadline);
            weir_rudp_queue_append(queue, message);
        } else if (!expire(conn, message)) {
            weir_rudp_queue_append(queue, message);
        }
        message = next;
    }
}

/* Also of the "again" list, to whose end each skip goes: it is passed over there. */
static void expire_chunks(struct weir_rudp_conn *conn, struct chunk *chunk, weir_nsec now)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        struct message *message = chunk->message;
        if (message->is_queued || message->guarantee == WEIR_RUDP_GUARANTEE_SKIP) {
            /* Looked at in its queue, or given up already. */
        } else if (message->deadline > now) {
            conn->awake->deadline_next =
                weir_min_u64(conn->awake->deadline_next, message->deadline);
        } else if (!expire(conn, message)) {
            return; /* tried again soon */
        }
        chunk = next;
    }
}

/* When to look at all messages again, at the earliest: the more there are, the later, so that a
 * deadline each costs no more of the time than one for all. */
static weir_nsec next_look(const struct awake *awake, weir_nsec now)
{
    const weir_nsec message_ns = 200;
    const weir_nsec longest = 10 * WEIR_MSEC;
    return now + weir_min_u64(awake->messages * message_ns, longest);
}

void weir_rudp_send_expire(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (now < awake->deadline_next) {
        return;
    }
    awake->deadline_next = WEIR_NEVER;
    for (unsigned i = 0; i < PRIORITIES; i++) {
        expire_queue(conn, &awake->queues[i], now);
    }
    for (struct packet *packet = awake->sent_first; packet != NULL; packet = packet->next) {
        expire_chunks(conn, packet->chunks, now);
    }
    expire_chunks(conn, awake->again_first, now);
    weir_rudp_again_drop_given_up(conn);
    awake->deadline_next = weir_max_u64(awake->deadline_next, next_look(awake, now));
    weir_rudp_conn_ready(conn);
}

bool weir_rudp_send_is_empty(const struct awake *awake)
{
    return awake->messages == 0;
}

void weir_rudp_send_drop_all(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    weir_rudp_clear_written(conn);
    weir_rudp_loss_drop_chunks(conn);
    for (unsigned i = 0; i < PRIORITIES; i++) {
        struct message *message = awake->queues[i].first;
        awake->queues[i] = (struct queue){0};
        while (message != NULL) {
            struct message *next = message->next;
            weir_rudp_queue_leave(conn, message);
            weir_rudp_message_done(message, WEIR_OUTCOME_CLOSED);
            message = next;
        }
    }
    awake->waiting_bytes = 0;
}
