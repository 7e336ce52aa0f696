/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c - the connections of an RUDP endpoint: taking, finding, waking, ending, giving back.
 */
#include <string.h>

#include "rudp/internal.h"

void weir_rudp_count_drop(struct weir_rudp *ep, enum weir_rudp_drop reason)
{
    ep->stats.drops[reason]++;
}

struct weir_rudp_conn *weir_rudp_conn_at(const struct weir_rudp *ep, uint32_t index)
{
    return weir_pool_at(&ep->conns, index);
}

uint32_t weir_rudp_conn_index(const struct weir_rudp_conn *conn)
{
    return weir_pool_index(&conn->endpoint->conns, conn);
}

/* --- lists of connections --------------------------------------------------------------------- */

/* The link inside a connection that a fifo uses. */
static uint32_t *fifo_link(struct weir_rudp *ep, const struct conn_fifo *fifo,
                           struct weir_rudp_conn *conn)
{
    if (fifo == &ep->ready) {
        return &conn->ready_next;
    }
    if (fifo == &ep->events) {
        return &conn->event_next;
    }
    return fifo == &ep->release ? &conn->release_next : &conn->starved_next;
}

static void fifo_append(struct weir_rudp *ep, struct conn_fifo *fifo, struct weir_rudp_conn *conn)
{
    uint32_t *link = fifo_link(ep, fifo, conn);
    if (*link != LIST_OUT) {
        return;
    }
    uint32_t index = weir_rudp_conn_index(conn);
    *link = LIST_END;
    if (fifo->first == LIST_END) {
        fifo->first = index;
    } else {
        *fifo_link(ep, fifo, weir_rudp_conn_at(ep, fifo->last)) = index;
    }
    fifo->last = index;
}

/* A freed connection goes back to the pool once it is on no list any more. */
static void give_if_unlisted(struct weir_rudp_conn *conn)
{
    if (conn->ready_next == LIST_OUT && conn->event_next == LIST_OUT &&
        conn->release_next == LIST_OUT && conn->starved_next == LIST_OUT) {
        weir_pool_give(&conn->endpoint->conns, conn);
    }
}

struct weir_rudp_conn *weir_rudp_fifo_take(struct weir_rudp *ep, struct conn_fifo *fifo)
{
    while (fifo->first != LIST_END) {
        struct weir_rudp_conn *conn = weir_rudp_conn_at(ep, fifo->first);
        uint32_t *link = fifo_link(ep, fifo, conn);
        fifo->first = *link;
        *link = LIST_OUT;
        if (conn->state != STATE_FREE) {
            return conn;
        }
        give_if_unlisted(conn);
    }
    return NULL;
}

void weir_rudp_conn_ready(struct weir_rudp_conn *conn)
{
    fifo_append(conn->endpoint, &conn->endpoint->ready, conn);
}

void weir_rudp_conn_pend(struct weir_rudp_conn *conn, unsigned bits)
{
    conn->pending |= (uint8_t)bits;
    fifo_append(conn->endpoint, &conn->endpoint->events, conn);
}

void weir_rudp_conn_pend_release(struct weir_rudp_conn *conn)
{
    fifo_append(conn->endpoint, &conn->endpoint->release, conn);
}

void weir_rudp_conn_starve(struct weir_rudp_conn *conn)
{
    fifo_append(conn->endpoint, &conn->endpoint->starved, conn);
}

void weir_rudp_wake_starved(struct weir_rudp *ep)
{
    struct weir_rudp_conn *conn;
    while ((conn = weir_rudp_fifo_take(ep, &ep->starved)) != NULL) {
        if (conn->is_writable_wanted && conn->state < STATE_CLOSING) {
            conn->is_writable_wanted = false;
            weir_rudp_conn_pend(conn, PENDING_WRITABLE);
        }
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void channel_init(struct channel *channel)
{
    memset(channel, 0, sizeof(*channel));
    channel->send_mid = channel->send_dseq = FIRST_NUMBER;
    channel->receive_next = FIRST_NUMBER;
    channel->receive_sid = FIRST_NUMBER;
    channel->mid_latest = channel->mid_top = FIRST_NUMBER;
}

struct weir_rudp_conn *weir_rudp_conn_open(struct weir_rudp *ep, uint64_t local_id)
{
    struct weir_rudp_conn *conn = weir_pool_take(&ep->conns);
    if (conn == NULL) {
        return NULL;
    }
    struct table_entry *entry = weir_table_insert(&ep->table, &local_id);
    if (entry == NULL) {
        weir_pool_give(&ep->conns, conn);
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    conn->endpoint = ep;
    conn->local_id = local_id;
    conn->next_number = FIRST_NUMBER;
    conn->receive_limit = ep->config.receive_window_bytes;
    conn->ready_next = conn->event_next = conn->release_next = conn->starved_next = LIST_OUT;
    conn->mtu_bytes = ep->config.mtu_bytes_min;
    conn->last_received = conn->last_sent = ep->now;
    channel_init(&conn->channel0);
    entry->index = weir_rudp_conn_index(conn);
    if (++ep->stats.connections > ep->stats.connections_peak) {
        ep->stats.connections_peak = ep->stats.connections;
    }
    return conn;
}

struct weir_rudp_conn *weir_rudp_conn_find(struct weir_rudp *ep, uint64_t local_id)
{
    const struct table_entry *entry = weir_table_find(&ep->table, &local_id);
    return entry == NULL ? NULL : weir_rudp_conn_at(ep, entry->index);
}

static void give_channels(struct weir_rudp_conn *conn)
{
    struct weir_rudp *ep = conn->endpoint;
    for (uint32_t i = 0; i < weir_rudp_conn_channels(conn); i++) {
        weir_rudp_channel_drop_gaps(ep, i == 0 ? &conn->channel0 : &conn->channels[i - 1]);
    }
    if (conn->channels != NULL) {
        weir_pool_give(&ep->channel_blocks, conn->channels);
        conn->channels = NULL;
    }
}

void weir_rudp_conn_free(struct weir_rudp_conn *conn)
{
    struct weir_rudp *ep = conn->endpoint;
    if (ep->cursor.conn == conn) {
        ep->cursor.conn = NULL;
    }
    if (conn->awake != NULL) {
        weir_rudp_send_drop_all(conn);
        weir_rudp_receive_drop_all(conn);
        weir_rudp_conn_sleep(conn);
    }
    give_channels(conn);
    weir_rudp_wake_starved(ep); /* there is memory again, and this one waits no more */
    weir_wheel_cancel(ep->wheel, weir_rudp_conn_index(conn));
    void *entry = weir_table_find(&ep->table, &conn->local_id);
    WEIR_ASSERT(entry != NULL);
    weir_table_remove(&ep->table, entry);
    conn->state = STATE_FREE;
    ep->stats.connections--;
    give_if_unlisted(conn);
}

uint32_t weir_rudp_conn_channels(const struct weir_rudp_conn *conn)
{
    return conn->channels == NULL ? 1 : conn->endpoint->config.channels_max;
}

struct channel *weir_rudp_conn_channel(struct weir_rudp_conn *conn, uint8_t number)
{
    struct weir_rudp *ep = conn->endpoint;
    if (number == 0) {
        return &conn->channel0;
    }
    if (number >= ep->config.channels_max) {
        return NULL;
    }
    if (conn->channels == NULL) {
        conn->channels = weir_pool_take(&ep->channel_blocks);
        if (conn->channels == NULL) {
            return NULL;
        }
        for (uint32_t i = 0; i + 1 < ep->config.channels_max; i++) {
            channel_init(&conn->channels[i]);
        }
    }
    return &conn->channels[number - 1];
}

/* --- awake and dormant ------------------------------------------------------------------------ */

bool weir_rudp_conn_is_quiet(const struct weir_rudp_conn *conn)
{
    const struct awake *awake = conn->awake;
    return conn->state == STATE_OPEN && awake->in_flight_packets == 0 &&
           weir_rudp_send_is_empty(awake) && awake->writing == NULL && awake->held_count == 0 &&
           awake->assemblies_count == awake->loose_assemblies && awake->ack_pending == 0 &&
           !awake->is_candidate_set && !awake->is_close_wanted && !awake->is_credit_wanted &&
           !awake->is_ping_wanted && !awake->is_response_wanted && conn->pending == 0 &&
           !conn->is_writable_wanted && !conn->is_close_asked &&
           conn->endpoint->cursor.conn != conn;
}

void weir_rudp_conn_sleep(struct weir_rudp_conn *conn)
{
    struct weir_rudp *ep = conn->endpoint;
    struct awake *awake = conn->awake;
    weir_rudp_receive_drop_all(conn); /* what may be lost and stayed incomplete */
    weir_rudp_loss_drop_all(conn);
    weir_rudp_send_close_page(awake);
    if (awake->rtt.has_sample) {
        conn->rtt_smoothed = awake->rtt.smoothed;
        conn->rtt_variance = awake->rtt.variance;
    }
    weir_list_remove(&ep->awake, &awake->link);
    weir_pool_give(&ep->awakes, awake);
    conn->awake = NULL;
    ep->stats.awake--;
    weir_rudp_wake_starved(ep);
}

/* Puts a quiet connection to sleep, of those woken longest ago if it can be. Looks at a few only
 * and moves the busy ones to the end, so that the next call looks at others: when none of them is
 * quiet, the pool is really in use. */
static void make_room_awake(struct weir_rudp *ep)
{
    enum {
        LOOKS = 16
    };
    struct weir_link *link = weir_list_first(&ep->awake);
    for (unsigned i = 0; i < LOOKS && link != NULL; i++) {
        struct awake *awake = WEIR_CONTAINER(link, struct awake, link);
        struct weir_link *next = weir_list_next(&ep->awake, link);
        if (weir_rudp_conn_is_quiet(awake->conn)) {
            struct weir_rudp_conn *conn = awake->conn;
            weir_rudp_conn_sleep(conn);
            weir_rudp_conn_set_timer(conn);
            return;
        }
        weir_list_remove(&ep->awake, link);
        weir_list_append(&ep->awake, link);
        link = next;
    }
}

bool weir_rudp_conn_wake(struct weir_rudp_conn *conn)
{
    enum {
        BURST_MAX = 4 * 65536 /* four runs a system call */
    };

    uint32_t burst_min = (uint32_t)weir_min_u64((uint64_t)10 * conn->mtu_bytes, BURST_MAX);
    struct weir_rudp *ep = conn->endpoint;
    if (conn->awake != NULL) {
        return true;
    }
    if (weir_pool_left(&ep->awakes) == 0) {
        make_room_awake(ep);
    }
    struct awake *awake = weir_pool_take(&ep->awakes);
    if (awake == NULL) {
        return false;
    }
    memset(awake, 0, sizeof(*awake));
    awake->conn = conn;
    conn->awake = awake;
    weir_list_append(&ep->awake, &awake->link);
    awake->none_next = (uint32_t)weir_prng_next(&ep->prng);
    weir_rtt_init(&awake->rtt, weir_rudp_initial_rtt);
    if (conn->rtt_smoothed != 0) {
        weir_rtt_sample(&awake->rtt, conn->rtt_smoothed, 0);
        awake->rtt.variance = conn->rtt_variance;
    }
    weir_cc_init(&awake->cc, ep->config.cc, conn->mtu_bytes, ep->now, weir_prng_next(&ep->prng));
    weir_pacer_init(&awake->pacer, burst_min, BURST_MAX);
    weir_ranges_init(&awake->received, awake->received_items, ACK_RANGES_MAX);
    /* What came before is done with: a late copy of it counts as a duplicate. It is not put among
     * the received ranges, because not all of it was received. */
    awake->duplicate_floor = weir_max_u64(conn->largest_received, FIRST_NUMBER);
    awake->packet_threshold = 3; /* RFC 9002 6.1.1 */
    awake->loss_time = awake->ack_at = awake->flush_at = WEIR_NEVER;
    awake->deadline_next = awake->attempt_at = awake->deadline = WEIR_NEVER;
    awake->challenge_at = awake->last_eliciting = WEIR_NEVER;
    weir_rudp_mtu_on_wake(conn);
    /* It may have become due while no connection could wake. */
    awake->is_credit_wanted = conn->state == STATE_OPEN && weir_rudp_credit_is_due(conn);
    if (++ep->stats.awake > ep->stats.awake_peak) {
        ep->stats.awake_peak = ep->stats.awake;
    }
    weir_rudp_conn_ready(conn); /* for its timer: it may have woken for nothing */
    return true;
}

weir_nsec weir_rudp_conn_pto(const struct weir_rudp_conn *conn)
{
    return weir_rtt_pto(&conn->awake->rtt, weir_rudp_granularity,
                        conn->peer_ack_delay_us * WEIR_USEC);
}

/* --- ending ----------------------------------------------------------------------------------- */

void weir_rudp_conn_set_reason(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                               uint32_t code, struct weir_span text)
{
    struct awake *awake = conn->awake;
    size_t length = text.length < WEIR_RUDP_TEXT_BYTES_MAX ? text.length : WEIR_RUDP_TEXT_BYTES_MAX;
    awake->cause = cause;
    awake->close_code = code;
    if (length > 0) {
        memcpy(awake->close_text, text.data, length);
    }
    for (size_t i = 0; i < length; i++) {
        /* The peer's bytes may end up on a terminal. */
        if (awake->close_text[i] < ' ' || awake->close_text[i] > '~') {
            awake->close_text[i] = '?';
        }
    }
    awake->close_text[length] = 0;
}

void weir_rudp_conn_end(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                        uint32_t code, struct weir_span text)
{
    if ((conn->pending & PENDING_CLOSED) != 0) {
        return;
    }
    conn->end_cause = (uint8_t)cause;
    conn->is_writable_wanted = false;
    if (conn->awake != NULL || weir_rudp_conn_wake(conn)) {
        /* What was said before stays, unless it ends for another reason than was meant. */
        if (conn->awake->cause != cause) {
            weir_rudp_conn_set_reason(conn, cause, code, text);
        }
        weir_rudp_send_drop_all(conn);
        weir_rudp_receive_drop_all(conn);
        weir_rudp_loss_drop_all(conn);
    }
    if (conn->state != STATE_DRAINING) {
        conn->state = STATE_CLOSING;
    }
    if (conn->awake != NULL) {
        conn->awake->attempt_at = WEIR_NEVER;
        conn->awake->is_close_wanted = false;
        conn->awake->is_handshake_wanted = false;
        if (conn->state == STATE_CLOSING) {
            conn->awake->deadline = WEIR_NEVER;
        }
    }
    weir_rudp_conn_pend(conn, PENDING_CLOSED);
    weir_rudp_conn_ready(conn);
}

void weir_rudp_conn_close(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                          uint32_t code, struct weir_span text)
{
    if (conn->state == STATE_CLOSING || conn->state == STATE_DRAINING) {
        return;
    }
    if (!weir_rudp_conn_wake(conn)) {
        weir_rudp_conn_end(conn, cause, code, text);
        return;
    }
    if (conn->awake->cause == 0) {
        weir_rudp_conn_set_reason(conn, cause, code, text);
    }
    weir_rudp_send_drop_all(conn);
    weir_rudp_receive_drop_all(conn);
    bool is_peer_reachable = conn->state == STATE_OPEN || conn->state == STATE_ACCEPTED;
    weir_rudp_conn_start_closing(conn);
    if (!is_peer_reachable) {
        weir_rudp_conn_end(conn, cause, code, text);
    }
}

void weir_rudp_conn_start_closing(struct weir_rudp_conn *conn)
{
    struct weir_rudp *ep = conn->endpoint;
    struct awake *awake = conn->awake;
    weir_rudp_loss_drop_all(conn);
    conn->state = STATE_CLOSING;
    awake->is_close_wanted = true;
    awake->close_tries = 0;
    awake->attempt_at = WEIR_NEVER;
    awake->deadline = ep->now + ep->config.dead_timeout;
    weir_rudp_conn_ready(conn);
}

void weir_rudp_conn_break(struct weir_rudp_conn *conn, uint32_t code, const char *text)
{
    weir_rudp_conn_close(conn, WEIR_RUDP_CAUSE_PROTOCOL, code, weir_span_of(text, strlen(text)));
}
