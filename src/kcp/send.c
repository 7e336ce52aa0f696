/* SPDX-License-Identifier: MIT */
/*
 * send.c - messages out: queueing, where copied bytes live, cutting into segments, giving back.
 */
#include <string.h>

#include "kcp/internal.h"

enum {
    PAGE_SMALL_BYTES = 1024,
    PAGE_LARGE_BYTES = 16384,
    PAGE_LARGE_FROM = 6, /* messages on their way */
    ALIGN = 8
};

/* --- pages ------------------------------------------------------------------------------------ */

static void page_give(struct weir_kcp *ep, const struct page *page)
{
    weir_store_give(ep->send_store, page, page->size_bytes);
}

void weir_kcp_send_close_page(struct awake *awake)
{
    struct page *page = awake->page;
    awake->page = NULL;
    if (page != NULL) {
        page->is_current = false;
        if (page->live == 0) {
            page_give(awake->conn->endpoint, page);
            weir_kcp_wake_starved(awake->conn->endpoint);
        }
    }
}

/* A new page with room for size bytes; NULL: the store is full. */
static __attribute__((noinline)) struct page *page_open(struct awake *awake, size_t size)
{
    size_t least = awake->waiting >= PAGE_LARGE_FROM ? PAGE_LARGE_BYTES : PAGE_SMALL_BYTES;
    size_t bytes = weir_max_u64(least, size + sizeof(struct page));
    struct page *page = weir_store_take(awake->conn->endpoint->send_store, bytes);
    if (page == NULL) {
        return NULL;
    }
    weir_kcp_send_close_page(awake);
    *page = (struct page){
        .size_bytes = (uint32_t)bytes, .used_bytes = sizeof(*page), .is_current = true};
    awake->page = page;
    return page;
}

/* room: at most WEIR_KCP_SEND_BYTES_MAX. */
static inline struct message *message_open(struct awake *awake, size_t room)
{
    size_t size = (sizeof(struct message) + room + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct page *page = awake->page;
    if (page == NULL || page->size_bytes - page->used_bytes < size) {
        page = page_open(awake, size);
        if (page == NULL) {
            return NULL;
        }
    }
    struct message *message = (struct message *)(void *)((uint8_t *)page + page->used_bytes);
    page->used_bytes += (uint32_t)size;
    page->live++;
    message->next = NULL;
    message->page = page;
    message->data = (const uint8_t *)(message + 1);
    message->parcel = NULL;
    message->conn = awake->conn;
    message->room = (uint32_t)(size - sizeof(*message));
    message->cut = 0;
    message->in_flight = 0;
    return message;
}

void weir_kcp_message_free(struct weir_kcp *ep, struct message *message)
{
    struct page *page = message->page;
    page->live--;
    if (page->live == 0) {
        page->used_bytes = sizeof(*page);
        if (!page->is_current) {
            page_give(ep, page);
        }
    }
    if (ep->starved.first != LIST_END) {
        weir_kcp_wake_starved(ep);
    }
}

void weir_kcp_message_settle(struct weir_kcp *ep, struct awake *awake, struct message *message,
                             enum weir_outcome outcome)
{
    awake->waiting--;
    if (message->parcel == NULL) {
        weir_kcp_message_free(ep, message);
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

/* --- queueing --------------------------------------------------------------------------------- */

static uint32_t count_fragments(const struct weir_kcp *ep, size_t length)
{
    return length <= ep->mss ? 1 : (uint32_t)((length - 1) / ep->mss + 1);
}

static bool is_state_sending(const struct weir_kcp_conn *conn)
{
    return conn->state == STATE_OPEN || conn->state == STATE_CONNECTING;
}

static uint32_t in_flight(const struct awake *awake)
{
    return awake->snd_nxt - awake->snd_una;
}

/* The message is longer than any room that the peer has told of. That may have been less than its
 * window, as it held something: WEIR_ERR_FULL, and WRITABLE follows once all has arrived, or, with
 * nothing on its way, once the peer has answered. */
static enum weir_status check_window(struct awake *awake)
{
    if (awake->queued + in_flight(awake) > 0) {
        return WEIR_ERR_FULL;
    }
    if (awake->window_asked == WINDOW_ANSWERED) {
        awake->window_asked = WINDOW_NOT_ASKED;
        return WEIR_ERR_TOO_LARGE;
    }
    awake->window_asked = WINDOW_ASKED;
    weir_kcp_ready(awake->conn->endpoint, awake);
    return WEIR_ERR_FULL;
}

/* A message of more fragments than the peer's window can hold would be acknowledged there and never
 * be complete. As long as the peer has not said how large that is, it is taken to be like ours. */
static __attribute__((noinline)) enum weir_status check_size(struct awake *awake,
                                                             uint32_t fragments)
{
    const struct weir_kcp_tuning *tuning = &awake->conn->endpoint->config.tuning;
    if (fragments > tuning->fragments_max) {
        return WEIR_ERR_TOO_LARGE;
    }
    uint32_t known = awake->peer_window_max;
    uint32_t window = known != 0 ? known : tuning->receive_window;
    if (fragments <= window || awake->conn->endpoint->is_lenient) {
        return WEIR_OK;
    }
    return known != 0 ? check_window(awake) : WEIR_ERR_TOO_LARGE;
}

static void enqueue(struct awake *awake, struct message *message, uint32_t fragments)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    bool is_stream = ep->config.tuning.is_stream;
    message->mss = (uint16_t)ep->mss;
    message->fragments = is_stream ? 0 : (uint16_t)fragments;
    message->is_queued = true;
    if (awake->queue_first == NULL) {
        awake->queue_first = message;
    } else {
        awake->queue_last->next = message;
    }
    awake->queue_last = message;
    awake->queued += fragments;
    awake->waiting++;
}

static void wake_output(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (ep->config.tuning.is_write_delayed) {
        weir_kcp_flush_soon(awake);
    } else if (awake->ready_next == LIST_OUT) {
        weir_kcp_ready(ep, awake);
    }
}

/* Stream: small pieces become one segment, as long as it has not left. */
static bool append_to_last(struct awake *awake, const void *data, size_t length)
{
    struct message *last = awake->queue_last;
    uint32_t mss = awake->conn->endpoint->mss;
    if (awake->queue_first == NULL || last->parcel != NULL || last->length + length > last->room ||
        last->fragments != 0 || last->mss != mss) {
        return false;
    }
    uint32_t left = last->length - last->cut;
    awake->queued -= (left - 1) / mss + 1;
    memcpy((uint8_t *)(last + 1) + last->length, data, length);
    last->length += (uint32_t)length;
    left += (uint32_t)length;
    awake->queued += (left - 1) / mss + 1;
    return true;
}

/* A limit is reached: WRITABLE follows. */
static enum weir_status push_back(struct weir_kcp_conn *conn, bool is_memory)
{
    conn->is_writable_wanted = true;
    if (is_memory) {
        weir_kcp_starve(conn);
    }
    return WEIR_ERR_FULL;
}

static inline enum weir_status check_send(const struct weir_kcp_conn *conn, size_t length)
{
    if (!is_state_sending(conn)) {
        return WEIR_ERR_CLOSED;
    }
    if (length == 0 && conn->endpoint->config.tuning.is_stream) {
        return WEIR_ERR_INVALID;
    }
    return length > WEIR_KCP_SEND_BYTES_MAX ? WEIR_ERR_TOO_LARGE : WEIR_OK;
}

/* For weir_kcp_send and, with a parcel, weir_kcp_send_parcel. */
static enum weir_status queue_bytes(struct weir_kcp_conn *conn, const uint8_t *data, size_t length,
                                    struct weir_parcel *parcel)
{
    const struct weir_kcp *ep = conn->endpoint;
    bool is_stream = ep->config.tuning.is_stream;
    enum weir_status status = check_send(conn, length);
    if (status != WEIR_OK) {
        return status;
    }
    struct awake *awake = conn->is_awake ? weir_kcp_awake_of(conn) : weir_kcp_conn_wake(conn);
    if (awake == NULL) {
        return push_back(conn, true);
    }
    uint32_t fragments = count_fragments(ep, length);
    if (fragments > 1 && !is_stream && (status = check_size(awake, fragments)) != WEIR_OK) {
        return status == WEIR_ERR_FULL ? push_back(conn, false) : status;
    }
    uint32_t queued = awake->queued + in_flight(awake);
    if (queued > 0 && queued + fragments > ep->send_queue_max) {
        return push_back(conn, false);
    }
    size_t room = length;
    if (parcel != NULL) {
        room = 0;
    } else if (is_stream) {
        if (append_to_last(awake, data, length)) {
            wake_output(awake);
            return WEIR_OK;
        }
        room = length < ep->mss ? ep->mss : length;
    }
    struct message *message = message_open(awake, room);
    if (message == NULL) {
        return push_back(conn, true);
    }
    message->length = (uint32_t)length;
    if (parcel != NULL) {
        message->data = data;
        message->parcel = parcel;
        parcel->references++;
    } else if (length > 0) {
        memcpy(message + 1, data, length);
    }
    enqueue(awake, message, fragments);
    wake_output(awake);
    return WEIR_OK;
}

enum weir_status weir_kcp_send(struct weir_kcp_conn *conn, const void *data, size_t length)
{
    return queue_bytes(conn, data, length, NULL);
}

enum weir_status weir_kcp_send_parcel(struct weir_kcp_conn *conn, struct weir_parcel *parcel)
{
    return queue_bytes(conn, parcel->data, parcel->length, parcel);
}

void weir_kcp_flush(struct weir_kcp_conn *conn)
{
    if (conn->is_awake && conn->state < STATE_ENDED) {
        weir_kcp_ready(conn->endpoint, weir_kcp_awake_of(conn));
    }
}

void weir_kcp_send_tell_writable(struct awake *awake)
{
    struct weir_kcp_conn *conn = awake->conn;
    if (conn->is_writable_wanted && is_state_sending(conn) && awake->starved_next == LIST_OUT &&
        awake->queued + in_flight(awake) <= conn->endpoint->send_queue_max / 2) {
        conn->is_writable_wanted = false;
        weir_kcp_conn_pend(conn, PENDING_WRITABLE);
    }
}

void weir_kcp_send_drop_all(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    struct message *message = awake->queue_first;
    awake->queue_first = NULL;
    awake->queued = 0;
    while (message != NULL) {
        struct message *next = message->next;
        message->is_queued = false;
        weir_kcp_message_settle(ep, awake, message, WEIR_OUTCOME_CLOSED);
        message = next;
    }
}
