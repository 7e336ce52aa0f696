/* SPDX-License-Identifier: MIT */
/*
 * conn.c - sessions: their keys and records, waking and sleeping, the lists they are on, their end.
 */
#include <string.h>

#include "kcp/internal.h"

void weir_kcp_count_drop(struct weir_kcp *ep, enum weir_kcp_drop reason)
{
    ep->stats.drops[reason]++;
}

struct weir_kcp_conn *weir_kcp_conn_at(const struct weir_kcp *ep, uint32_t index)
{
    return (struct weir_kcp_conn *)(void *)ep->table.entries + index;
}

uint32_t weir_kcp_conn_index(const struct weir_kcp_conn *conn)
{
    return (uint32_t)(conn - weir_kcp_conn_at(conn->endpoint, 0));
}

/* --- keys ------------------------------------------------------------------------------------- */

static bool is_link_local(const uint8_t ip[16])
{
    return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

/* An address in 20 bytes. RFC 4291 2.5.6: bits 10 to 63 of a link-local address are zero, so there
 * is room for its scope; no other address has one. */
static bool pack_address(const struct weir_addr *addr, uint32_t words[ADDRESS_WORDS])
{
    memcpy(words, addr->ip, sizeof(addr->ip));
    words[4] = addr->port | (uint32_t)addr->family << 16;
    if (addr->scope == 0) {
        return true;
    }
    if (addr->family != WEIR_ADDR_IP6 || !is_link_local(addr->ip) || words[1] != 0) {
        return false;
    }
    words[1] = addr->scope;
    return true;
}

bool weir_kcp_key_make(const struct weir_kcp *ep, const struct weir_addr *remote, uint32_t conv,
                       uint32_t key[KEY_WORDS])
{
    key[ep->conv_at] = conv;
    return pack_address(remote, key + (ep->conv_at == 0 ? 1 : 0));
}

struct weir_addr weir_kcp_conn_remote(const struct weir_kcp_conn *conn)
{
    const uint32_t *words = conn->key + (conn->endpoint->conv_at == 0 ? 1 : 0);
    struct weir_addr addr = {.port = (uint16_t)words[4], .family = (uint8_t)(words[4] >> 16)};
    memcpy(addr.ip, words, sizeof(addr.ip));
    if (addr.family == WEIR_ADDR_IP6 && is_link_local(addr.ip)) {
        addr.scope = words[1];
        memset(addr.ip + 4, 0, 4);
    }
    return addr;
}

uint8_t weir_kcp_local_index(struct weir_kcp *ep, const struct weir_addr *local)
{
    for (uint32_t i = 0; i < ep->locals_count; i++) {
        if (weir_addr_is_equal(&ep->locals[i], local)) {
            return (uint8_t)i;
        }
    }
    if (ep->locals_count == LOCALS_MAX) {
        return 0; /* the driver's choice, as for a client that has heard nothing yet */
    }
    ep->locals[ep->locals_count] = *local;
    return (uint8_t)ep->locals_count++;
}

/* --- the list of events ----------------------------------------------------------------------- */

static uint32_t *event_link(const struct weir_kcp *ep, uint32_t index)
{
    struct weir_kcp_conn *conn = weir_kcp_conn_at(ep, index);
    return conn->is_awake ? &weir_kcp_awake_of(conn)->event_next : &conn->link;
}

void weir_kcp_conn_pend(struct weir_kcp_conn *conn, unsigned bits)
{
    struct weir_kcp *ep = conn->endpoint;
    conn->pending |= (uint8_t)bits;
    if (conn->is_listed) {
        return;
    }
    uint32_t index = weir_kcp_conn_index(conn);
    conn->is_listed = true;
    *event_link(ep, index) = LIST_END;
    if (ep->events.first == LIST_END) {
        ep->events.first = index;
    } else {
        *event_link(ep, ep->events.last) = index;
    }
    ep->events.last = index;
}

static void remove_entry(struct weir_kcp_conn *conn)
{
    struct weir_kcp *ep = conn->endpoint;
    conn->state = STATE_FREE;
    weir_table_remove(&ep->table, conn);
}

struct weir_kcp_conn *weir_kcp_events_take(struct weir_kcp *ep)
{
    while (ep->events.first != LIST_END) {
        struct weir_kcp_conn *conn = weir_kcp_conn_at(ep, ep->events.first);
        ep->events.first = *event_link(ep, ep->events.first);
        conn->is_listed = false;
        if (conn->state != STATE_GONE) {
            return conn;
        }
        remove_entry(conn);
    }
    return NULL;
}

/* --- lists of awake sessions ------------------------------------------------------------------ */

static uint32_t *awake_link(const struct weir_kcp *ep, const struct fifo *fifo, uint32_t index)
{
    struct awake *awake = weir_pool_at(&ep->awakes, index);
    return fifo == &ep->ready ? &awake->ready_next : &awake->starved_next;
}

static void append(struct weir_kcp *ep, struct fifo *fifo, const struct awake *awake)
{
    uint32_t *link = awake_link(ep, fifo, awake->index);
    if (*link != LIST_OUT) {
        return;
    }
    *link = LIST_END;
    if (fifo->first == LIST_END) {
        fifo->first = awake->index;
    } else {
        *awake_link(ep, fifo, fifo->last) = awake->index;
    }
    fifo->last = awake->index;
}

static void give_if_unlisted(struct weir_kcp *ep, struct awake *awake)
{
    if (awake->ready_next == LIST_OUT && awake->starved_next == LIST_OUT) {
        weir_pool_give(&ep->awakes, awake);
    }
}

static struct awake *take(struct weir_kcp *ep, struct fifo *fifo)
{
    while (fifo->first != LIST_END) {
        struct awake *awake = weir_pool_at(&ep->awakes, fifo->first);
        uint32_t *link = awake_link(ep, fifo, fifo->first);
        fifo->first = *link;
        *link = LIST_OUT;
        if (awake->conn != NULL) {
            return awake;
        }
        give_if_unlisted(ep, awake);
    }
    return NULL;
}

void weir_kcp_ready(struct weir_kcp *ep, struct awake *awake)
{
    append(ep, &ep->ready, awake);
}

struct awake *weir_kcp_ready_take(struct weir_kcp *ep)
{
    return take(ep, &ep->ready);
}

void weir_kcp_starve(struct weir_kcp_conn *conn)
{
    conn->is_writable_wanted = true;
    if (conn->is_awake) {
        append(conn->endpoint, &conn->endpoint->starved, weir_kcp_awake_of(conn));
    } /* else WRITABLE comes with waking, which the sweep sees to */
}

void weir_kcp_wake_starved(struct weir_kcp *ep)
{
    struct awake *awake;
    while (ep->starved.first != LIST_END && (awake = take(ep, &ep->starved)) != NULL) {
        struct weir_kcp_conn *conn = awake->conn;
        if (conn->is_writable_wanted && conn->state < STATE_CLOSING) {
            conn->is_writable_wanted = false;
            weir_kcp_conn_pend(conn, PENDING_WRITABLE);
        }
    }
}

/* --- awake and dormant ------------------------------------------------------------------------ */

/* The peer's window in a byte, rounded down: four bits behind the leading one. */
static uint8_t pack_window(uint32_t window)
{
    if (window < 16) {
        return (uint8_t)window;
    }
    uint32_t exponent = 31 - (uint32_t)__builtin_clz(window);
    return (uint8_t)((exponent - 3) << 4 | (window >> (exponent - 4) & 15));
}

static uint32_t unpack_window(uint8_t packed)
{
    if (packed < 16) {
        return packed;
    }
    return (uint32_t)(16 | (packed & 15)) << ((packed >> 4) - 1);
}

bool weir_kcp_conn_is_quiet(const struct weir_kcp_conn *conn)
{
    const struct awake *awake = weir_kcp_awake_of(conn);
    return conn->state == STATE_OPEN && awake->waiting == 0 && awake->held_count == 0 &&
           awake->ack_count == 0 && conn->pending == 0 && !conn->is_listed &&
           !conn->is_writable_wanted && !awake->is_ask_wanted && !awake->is_tell_wanted &&
           !conn->is_paused && awake->ready_next == LIST_OUT && awake->starved_next == LIST_OUT &&
           conn->endpoint->cursor.conn != conn && conn->endpoint->cursor.fec_conn != conn;
}

/* Gives the control block back, with all that hangs on it. */
static void release_awake(struct weir_kcp_conn *conn)
{
    struct weir_kcp *ep = conn->endpoint;
    struct awake *awake = weir_kcp_awake_of(conn);
    weir_kcp_flight_drop_all(awake);
    weir_kcp_send_drop_all(awake);
    weir_kcp_receive_drop_all(awake);
    weir_kcp_send_close_page(awake);
    weir_kcp_acks_give(awake);
    weir_kcp_layers_on_released(awake);
    weir_wheel_cancel(ep->wheel, awake->index);
    weir_list_remove(&ep->awake, &awake->link);
    if (awake->paced != NULL) {
        weir_pool_give(&ep->paceds, awake->paced);
    }
    uint32_t event_next = awake->event_next;
    awake->conn = NULL;
    conn->is_awake = false;
    conn->link = event_next;
    ep->stats.awake--;
    give_if_unlisted(ep, awake);
}

void weir_kcp_conn_sleep(struct weir_kcp_conn *conn)
{
    const struct awake *awake = weir_kcp_awake_of(conn);
    conn->snd_nxt = awake->snd_nxt;
    conn->rcv_nxt = awake->rcv_nxt;
    conn->srtt_ms = (uint16_t)awake->srtt_ms;
    conn->rttval_ms = (uint16_t)awake->rttval_ms;
    conn->window = pack_window(awake->peer_window_max);
    release_awake(conn);
}

/* Puts the least recently woken quiet session to sleep. Looks at a few only: when none of them is
 * quiet, the pool is really in use. */
static void make_room_awake(struct weir_kcp *ep)
{
    enum {
        LOOKS = 16
    };
    struct weir_link *link = weir_list_first(&ep->awake);
    for (unsigned i = 0; i < LOOKS && link != NULL; i++) {
        const struct awake *awake = WEIR_CONTAINER(link, struct awake, link);
        struct weir_link *next = weir_list_next(&ep->awake, link);
        if (weir_kcp_conn_is_quiet(awake->conn)) {
            weir_kcp_conn_sleep(awake->conn);
            return;
        }
        weir_list_remove(&ep->awake, link);
        weir_list_append(&ep->awake, link);
        link = next;
    }
}

static void init_awake(struct awake *awake, const struct weir_kcp_conn *conn)
{
    const struct weir_kcp *ep = conn->endpoint;
    awake->event_next = conn->link; /* as long as it is on that list */
    awake->ready_next = awake->starved_next = LIST_OUT;
    awake->timer_at = WEIR_NEVER;
    awake->snd_una = awake->snd_nxt = conn->snd_nxt;
    awake->rcv_nxt = awake->take_nxt = awake->whole_nxt = conn->rcv_nxt;
    awake->acks = awake->inline_acks;
    awake->ack_max = INLINE_ACKS;
    for (unsigned i = 0; i < LIST_COUNT; i++) {
        awake->lists[i] = (struct slot_list){SLOT_NONE, SLOT_NONE};
    }
    awake->srtt_ms = conn->srtt_ms;
    awake->rttval_ms = conn->rttval_ms;
    awake->rto_ms = RTO_FIRST_MS;
    if (awake->srtt_ms != 0) {
        uint64_t swing =
            weir_max_u64(ep->config.tuning.interval_ms, (uint64_t)4 * awake->rttval_ms);
        awake->rto_ms = (uint32_t)weir_min_u64(weir_max_u64(awake->srtt_ms + swing, ep->rto_min_ms),
                                               RTO_MAX_MS);
    }
    awake->peer_window_max = unpack_window(conn->window);
    awake->peer_window = awake->peer_window_max != 0 ? awake->peer_window_max : PEER_WINDOW_FIRST;
}

struct awake *weir_kcp_conn_wake(struct weir_kcp_conn *conn)
{
    struct weir_kcp *ep = conn->endpoint;
    if (conn->is_awake) {
        return weir_kcp_awake_of(conn);
    }
    if (weir_pool_left(&ep->awakes) == 0) {
        make_room_awake(ep);
    }
    struct awake *awake = weir_pool_take(&ep->awakes);
    if (awake == NULL) {
        return NULL;
    }
    memset(awake, 0, sizeof(*awake));
    awake->conn = conn;
    awake->index = weir_pool_index(&ep->awakes, awake);
    init_awake(awake, conn);
    weir_kcp_congestion_init(awake);
    conn->is_awake = true;
    conn->link = awake->index;
    weir_list_append(&ep->awake, &awake->link);
    if (++ep->stats.awake > ep->stats.awake_peak) {
        ep->stats.awake_peak = ep->stats.awake;
    }
    if (conn->is_writable_wanted) { /* a control block was all that it waited for */
        conn->is_writable_wanted = false;
        weir_kcp_conn_pend(conn, PENDING_WRITABLE);
    }
    return awake;
}

/* --- life ------------------------------------------------------------------------------------- */

struct weir_kcp_conn *weir_kcp_conn_open(struct weir_kcp *ep, const uint32_t key[KEY_WORDS],
                                         enum conn_state state)
{
    struct weir_kcp_conn *conn = weir_table_insert(&ep->table, key);
    if (conn == NULL) {
        return NULL;
    }
    memcpy(conn->key, key, sizeof(conn->key));
    conn->endpoint = ep;
    conn->state = state & 7;
    conn->heard_ms = (uint32_t)ep->ms;
    if (++ep->stats.sessions > ep->stats.sessions_peak) {
        ep->stats.sessions_peak = ep->stats.sessions;
    }
    ep->stats.pending += state == STATE_REQUESTED;
    weir_kcp_layers_on_opened(conn);
    weir_kcp_sweep_plan(ep);
    return conn;
}

void weir_kcp_conn_free(struct weir_kcp_conn *conn)
{
    struct weir_kcp *ep = conn->endpoint;
    if (ep->cursor.conn == conn) {
        ep->cursor.conn = NULL;
    }
    if (ep->cursor.conn_last == conn) {
        ep->cursor.conn_last = NULL;
    }
    if (ep->cursor.fec_conn == conn) {
        ep->cursor.fec_conn = NULL;
    }
    ep->stats.pending -= conn->state == STATE_REQUESTED;
    if (conn->is_awake) {
        release_awake(conn);
    }
    weir_kcp_wake_starved(ep);
    ep->stats.sessions--;
    if (conn->is_listed) {
        conn->state = STATE_GONE;
    } else {
        remove_entry(conn);
    }
}

void weir_kcp_conn_end(struct weir_kcp_conn *conn, enum weir_kcp_close_cause cause)
{
    struct weir_kcp *ep = conn->endpoint;
    if (conn->state >= STATE_ENDED) {
        return;
    }
    ep->stats.pending -= conn->state == STATE_REQUESTED;
    if (conn->is_awake) {
        struct awake *awake = weir_kcp_awake_of(conn);
        weir_kcp_flight_drop_all(awake);
        weir_kcp_send_drop_all(awake);
        weir_kcp_receive_drop_all(awake);
        weir_wheel_cancel(ep->wheel, awake->index);
        awake->timer_at = WEIR_NEVER;
        awake->ack_count = awake->ack_sent = 0;
    }
    conn->state = STATE_ENDED;
    conn->is_writable_wanted = false;
    conn->window = (uint8_t)cause;
    conn->pending = 0;
    weir_kcp_conn_pend(conn, PENDING_CLOSED);
}

void weir_kcp_conn_end_if_done(struct awake *awake)
{
    if (awake->conn->state == STATE_CLOSING && awake->waiting == 0 && awake->ack_count == 0) {
        weir_kcp_conn_end(awake->conn, WEIR_KCP_CAUSE_LOCAL);
    }
}
