/* SPDX-License-Identifier: MIT */
/*
 * conn.c - connections: records, waking and sleeping, the lists they are on, their end.
 */
#include <string.h>

#include "tcp/internal.h"

void weir_tcp_count_drop(struct weir_tcp *ep, enum weir_tcp_drop reason)
{
    ep->stats.drops[reason]++;
}

/* --- records ---------------------------------------------------------------------------------- */

bool weir_tcp_is_6(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    /* Both tables lie in one block, IPv4's first. */
    return (const uint8_t *)conn >= ep->tables[1].entries;
}

struct record *weir_tcp_record(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    bool is_6 = weir_tcp_is_6(ep, conn);
    uint8_t *entries = ep->tables[is_6].entries;
    size_t end = (size_t)((const uint8_t *)conn - entries) + (is_6 ? RECORD6_BYTES : RECORD4_BYTES);
    return (struct record *)(void *)(entries + end - sizeof(struct record));
}

uint32_t weir_tcp_index(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    const uint8_t *at = (const uint8_t *)conn;
    if (weir_tcp_is_6(ep, conn)) {
        return ep->slots4 + (uint32_t)((size_t)(at - ep->tables[1].entries) / RECORD6_BYTES);
    }
    return (uint32_t)((size_t)(at - ep->tables[0].entries) / RECORD4_BYTES);
}

uint32_t weir_tcp_index_max(const struct weir_tcp *ep)
{
    return (ep->tables[0].group_count + ep->tables[1].group_count) * 32;
}

struct weir_path weir_tcp_path(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    const uint8_t *at = (const uint8_t *)conn;
    const struct record *record = weir_tcp_record(ep, conn);
    struct weir_addr other = {.port = record->port, .family = WEIR_ADDR_IP4};
    if (weir_tcp_is_6(ep, conn)) {
        other.family = WEIR_ADDR_IP6;
        memcpy(other.ip, at, 16);
        memcpy(&other.scope, at + 16, 4);
    } else {
        memcpy(other.ip, at, 4);
    }
    const struct end *end = &ep->ends[ep->aliases[record->profile]];
    return end->is_peer ? (struct weir_path){.local = other, .remote = end->addr}
                        : (struct weir_path){.local = end->addr, .remote = other};
}

static struct weir_table *table_of(struct weir_tcp *ep, uint8_t family)
{
    return &ep->tables[family == WEIR_ADDR_IP6];
}

static struct weir_tcp_conn *find(struct weir_tcp *ep, const struct weir_addr *other, int end)
{
    struct key key;
    if (end < 0) {
        return NULL;
    }
    weir_tcp_key_make(other, (uint8_t)end, &key);
    return weir_table_find(table_of(ep, other->family), key.bytes);
}

struct weir_tcp_conn *weir_tcp_conn_find(struct weir_tcp *ep, const struct weir_path *path)
{
    struct weir_tcp_conn *conn =
        find(ep, &path->remote, weir_tcp_end_find(ep, &path->local, false));
    if (conn == NULL && ep->peer_ends > 0) {
        conn = find(ep, &path->local, weir_tcp_end_find(ep, &path->remote, true));
    }
    return conn;
}

struct awake *weir_tcp_awake_of(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    const struct record *record = weir_tcp_record(ep, conn);
    return record->code == CODE_AWAKE ? weir_pool_at(&ep->awakes, record->place) : NULL;
}

/* --- lists ------------------------------------------------------------------------------------ */

static uint32_t *list_link(struct weir_tcp *ep, const struct fifo *fifo, uint32_t index)
{
    struct awake *awake = weir_pool_at(&ep->awakes, index);
    if (fifo == &ep->events) {
        return &awake->event_next;
    }
    return fifo == &ep->ready ? &awake->ready_next : &awake->starved_next;
}

static void append(struct fifo *fifo, const struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    uint32_t *link = list_link(ep, fifo, awake->index);
    if (*link != LIST_OUT) {
        return;
    }
    *link = LIST_END;
    if (fifo->first == LIST_END) {
        fifo->first = awake->index;
    } else {
        *list_link(ep, fifo, fifo->last) = awake->index;
    }
    fifo->last = awake->index;
}

static bool is_listed(const struct awake *awake)
{
    return awake->event_next != LIST_OUT || awake->ready_next != LIST_OUT ||
           awake->starved_next != LIST_OUT;
}

static void give_awake(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    weir_pool_give(&ep->awakes, awake);
    /* With only one the user would be refused again: weir_tcp_conn_may_begin leaves one over. */
    if (ep->room == ROOM_WANTED &&
        (weir_pool_left(&ep->awakes) >= 2 || ep->awakes.count_max == 1)) {
        ep->room = ROOM_FOUND;
    }
}

static struct awake *take(struct weir_tcp *ep, struct fifo *fifo)
{
    while (fifo->first != LIST_END) {
        struct awake *awake = weir_pool_at(&ep->awakes, fifo->first);
        uint32_t *link = list_link(ep, fifo, fifo->first);
        fifo->first = *link;
        *link = LIST_OUT;
        if (awake->conn != NULL) {
            return awake;
        }
        if (!is_listed(awake)) {
            give_awake(awake);
        }
    }
    return NULL;
}

void weir_tcp_pend(struct awake *awake, unsigned bits)
{
    awake->pending |= (uint8_t)bits;
    append(&awake->ep->events, awake);
}

struct awake *weir_tcp_events_take(struct weir_tcp *ep)
{
    return take(ep, &ep->events);
}

void weir_tcp_ready(struct awake *awake)
{
    append(&awake->ep->ready, awake);
}

struct awake *weir_tcp_ready_take(struct weir_tcp *ep)
{
    return take(ep, &ep->ready);
}

void weir_tcp_starve(struct awake *awake)
{
    awake->is_writable_wanted = true;
    append(&awake->ep->starved, awake);
}

void weir_tcp_wake_starved(struct weir_tcp *ep)
{
    struct awake *awake;
    while (ep->starved.first != LIST_END && (awake = take(ep, &ep->starved)) != NULL) {
        if (awake->is_writable_wanted && !awake->is_ended) {
            awake->is_writable_wanted = false;
            weir_tcp_pend(awake, PENDING_WRITABLE);
        }
    }
}

/* --- the peer's window in few bits, rounded down ---------------------------------------------- */

enum {
    WINDOW_LEAST_BITS = 7,
    OPEN_BITS = 3,
    CLOSE_WAIT_BITS = 1
};

/* 0, or 1 and more from 128 bytes on: bits bits behind the leading one. */
static uint8_t pack_window(uint32_t window, unsigned bits)
{
    if (window < 1U << WINDOW_LEAST_BITS) {
        return 0;
    }
    window = window < WEIR_TCP_WINDOW_MAX ? window : WEIR_TCP_WINDOW_MAX - 1;
    unsigned exponent = 31 - (unsigned)__builtin_clz(window);
    uint32_t fraction = window >> (exponent - bits) & ((1U << bits) - 1);
    return (uint8_t)(1 + ((exponent - WINDOW_LEAST_BITS) << bits | fraction));
}

static uint32_t unpack_window(uint8_t packed, unsigned bits)
{
    if (packed == 0) {
        return 0;
    }
    unsigned exponent = (unsigned)((packed - 1) >> bits) + WINDOW_LEAST_BITS;
    uint32_t fraction = (packed - 1U) & ((1U << bits) - 1);
    return (1U << exponent) | fraction << (exponent - bits);
}

static uint8_t code_of(const struct awake *awake)
{
    switch (awake->state) {
    case WEIR_TCP_STATE_FIN_WAIT_2:
        return CODE_FIN_WAIT_NEW;
    case WEIR_TCP_STATE_CLOSE_WAIT:
        return (uint8_t)(CODE_CLOSE_WAIT + pack_window(awake->snd_wnd, CLOSE_WAIT_BITS));
    default:
        return (uint8_t)(CODE_OPEN + pack_window(awake->snd_wnd, OPEN_BITS));
    }
}

static void read_code(struct awake *awake, uint8_t code)
{
    awake->state = WEIR_TCP_STATE_ESTABLISHED;
    if (code >= CODE_OPEN) {
        awake->snd_wnd = unpack_window((uint8_t)(code - CODE_OPEN), OPEN_BITS);
    } else if (code >= CODE_CLOSE_WAIT) {
        awake->state = WEIR_TCP_STATE_CLOSE_WAIT;
        awake->has_peer_fin = awake->is_peer_done = true;
        awake->fin_seq = awake->rcv_nxt - 1;
        awake->snd_wnd = unpack_window((uint8_t)(code - CODE_CLOSE_WAIT), CLOSE_WAIT_BITS);
    } else {
        awake->state = WEIR_TCP_STATE_FIN_WAIT_2;
        awake->is_closing = awake->is_fin_sent = awake->is_fin_acked = true;
    }
}

/* --- awake and dormant ------------------------------------------------------------------------ */

bool weir_tcp_conn_is_quiet(const struct awake *awake)
{
    bool is_state = awake->state == WEIR_TCP_STATE_ESTABLISHED ||
                    awake->state == WEIR_TCP_STATE_CLOSE_WAIT ||
                    awake->state == WEIR_TCP_STATE_FIN_WAIT_2;
    return is_state && awake->snd_una == awake->snd_nxt && weir_tcp_unsent(awake) == 0 &&
           (!awake->is_closing || awake->is_fin_acked) && awake->take_nxt == awake->rcv_nxt &&
           awake->holes == NULL && awake->ack_sent == awake->rcv_nxt && awake->pending == 0 &&
           !is_listed(awake) && !awake->is_paused && !awake->is_ended && awake->keepalives == 0 &&
           awake->has_peer_fin == awake->is_peer_done && !awake->is_corked &&
           awake->ep->cursor.awake != awake && awake->ack_at == WEIR_NEVER;
}

/* Gives the control block back, with all that hangs on it. */
static void release_awake(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    weir_tcp_flight_drop_all(awake);
    weir_tcp_send_drop_all(awake);
    weir_tcp_receive_drop_all(awake);
    weir_wheel_cancel(ep->wheel, awake->index);
    weir_list_remove(&ep->awake, &awake->link);
    weir_tcp_leave_short(awake);
    if (ep->cursor.awake == awake) {
        ep->cursor.awake = NULL;
    }
    if (ep->cursor.awake_last == awake) {
        ep->cursor.awake_last = NULL;
    }
    weir_tcp_conn_leave_half_open(awake);
    awake->conn = NULL;
    ep->stats.awake--;
    if (!is_listed(awake)) {
        give_awake(awake);
    }
}

/* What outlives the control block, but for the code. */
static bool write_record(struct awake *awake, bool is_exact)
{
    struct weir_tcp *ep = awake->ep;
    struct record *record = awake->record;
    struct profile want = {.end = ep->aliases[record->profile],
                           .agreed = awake->agreed,
                           .scale = awake->snd_scale,
                           .mss = (uint16_t)awake->mss,
                           .mss_max = (uint16_t)awake->mss_max};
    if (!weir_tcp_profile_choose(ep, record, &want, is_exact)) {
        return false;
    }
    record->place = awake->rcv_nxt;
    record->snd_nxt = awake->snd_nxt;
    if (ep->stamps != NULL) {
        ep->stamps[awake->conn_index] = (struct stamp){
            .recent = awake->ts_recent, .at = (uint32_t)(awake->ts_recent_at / WEIR_SEC)};
    }
    if (ep->ages != NULL) {
        ep->ages[awake->conn_index] = 0;
    }
    return true;
}

bool weir_tcp_conn_sleep(struct awake *awake, bool is_exact)
{
    if (!write_record(awake, is_exact)) {
        /* 256 profiles in use, and none that may stand for it: it stays awake, and tries again. */
        awake->sleep_at = awake->ep->now + WEIR_SEC;
        return false;
    }
    awake->record->code = code_of(awake);
    release_awake(awake);
    return true;
}

void weir_tcp_conn_time_wait(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    if (!write_record(awake, false)) {
        weir_tcp_conn_free(awake);
        return;
    }
    awake->record->code = CODE_TIME_WAIT_NEW;
    ep->stats.time_wait++;
    release_awake(awake);
    weir_tcp_sweep_plan(ep);
}

/* Puts the least recently used quiet connection to sleep, but not except; one that forgets nothing,
 * if there is. Looks at a few only: when none of them is quiet, the pool is really in use. */
static void make_room_awake(struct weir_tcp *ep, const struct awake *except)
{
    enum {
        LOOKS = 16
    };

    struct awake *quiet = NULL;
    struct weir_link *link = weir_list_first(&ep->awake);
    for (unsigned i = 0; i < LOOKS && link != NULL; i++) {
        struct awake *awake = WEIR_CONTAINER(link, struct awake, link);
        struct weir_link *next = weir_list_next(&ep->awake, link);
        if (awake != except && weir_tcp_conn_is_quiet(awake)) {
            if (weir_tcp_conn_sleep(awake, true)) {
                return;
            }
            quiet = quiet == NULL ? awake : quiet;
        }
        weir_list_remove(&ep->awake, link);
        weir_list_append(&ep->awake, link);
        link = next;
    }
    if (quiet != NULL) {
        (void)weir_tcp_conn_sleep(quiet, false);
    }
}

static struct awake *take_awake(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    if (weir_pool_left(&ep->awakes) == 0) {
        make_room_awake(ep, NULL);
    }
    struct awake *awake = weir_pool_take(&ep->awakes);
    if (awake == NULL) {
        return NULL;
    }
    uint32_t index = weir_pool_index(&ep->awakes, awake);
    memset(awake, 0, sizeof(*awake));
    awake->ep = ep;
    awake->conn = conn;
    awake->record = weir_tcp_record(ep, conn);
    awake->index = index;
    awake->conn_index = weir_tcp_index(ep, conn);
    awake->event_next = awake->ready_next = awake->starved_next = LIST_OUT;
    awake->is_6 = weir_tcp_is_6(ep, conn);
    awake->path = weir_tcp_path(ep, conn);
    awake->listener = -1;
    awake->is_nodelay = ep->config.tuning.is_nodelay;
    awake->queue_first = awake->queue_last = HELD_NONE;
    awake->timer_at = awake->loss_at = awake->ack_at = WEIR_NEVER;
    awake->pace_at = awake->idle_at = WEIR_NEVER;
    awake->heard_at = ep->now;
    awake->rcv_mss = MSS_DEFAULT;
    weir_list_append(&ep->awake, &awake->link);
    if (++ep->stats.awake > ep->stats.awake_peak) {
        ep->stats.awake_peak = ep->stats.awake;
    }
    return awake;
}

struct awake *weir_tcp_conn_wake(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct record *record = weir_tcp_record(ep, conn);
    if (record->code == CODE_AWAKE) {
        return weir_pool_at(&ep->awakes, record->place);
    }
    struct awake *awake = take_awake(ep, conn);
    if (awake == NULL) {
        return NULL;
    }
    const struct profile *profile = &ep->profiles[record->profile];
    awake->agreed = profile->agreed;
    awake->snd_scale = profile->scale;
    awake->rcv_scale = weir_tcp_has_options(awake, AGREED_SCALE) ? ep->scale : 0;
    awake->rcv_nxt = awake->take_nxt = awake->ack_sent = record->place;
    awake->snd_una = awake->snd_nxt = awake->queue_end = record->snd_nxt;
    awake->snd_wl1 = record->place;
    awake->snd_wl2 = awake->snd_up = record->snd_nxt;
    read_code(awake, record->code);
    awake->queue_end -= awake->is_fin_sent;
    awake->snd_wnd_max = awake->snd_wnd;
    awake->iss = awake->snd_una - 1;
    awake->irs = awake->rcv_nxt - 1;
    weir_tcp_mtu_begin(awake, profile->mss, profile->mss_max);
    awake->is_timeout_due = weir_tcp_tells_user_timeout(ep);
    if (weir_tcp_has_options(awake, AGREED_TIMESTAMPS)) {
        const struct stamp *stamp = &ep->stamps[awake->conn_index];
        awake->ts_offset = weir_tcp_stamp_offset(ep, &awake->path);
        awake->ts_recent = stamp->recent;
        awake->has_ts_recent = true;
        awake->ts_recent_at = stamp->at * WEIR_SEC;
    }
    weir_tcp_loss_init(awake);
    awake->rcv_adv = awake->rcv_nxt;
    awake->rcv_adv += weir_tcp_receive_window(awake);
    record->code = CODE_AWAKE;
    record->place = awake->index;
    weir_tcp_set_timer(awake);
    return awake;
}

bool weir_tcp_conn_may_begin(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    bool has_begun = awake->snd_una != awake->snd_nxt || weir_tcp_unsent(awake) > 0 ||
                     awake->is_closing || ep->awakes.count_max == 1;
    if (!has_begun && weir_pool_left(&ep->awakes) == 0) {
        make_room_awake(ep, awake);
    }
    if (has_begun || weir_pool_left(&ep->awakes) > 0) {
        return true;
    }
    if (weir_tcp_conn_is_quiet(awake)) {
        (void)weir_tcp_conn_sleep(awake,
                                  false); /* it was woken in vain, and would keep the last one */
    }
    ep->room = ROOM_WANTED;
    return false;
}

bool weir_tcp_conn_may_open(struct weir_tcp *ep)
{
    for (unsigned i = 0; i < 2 && weir_pool_left(&ep->awakes) < 2; i++) {
        make_room_awake(ep, NULL);
    }
    return weir_pool_left(&ep->awakes) >= 2 || ep->awakes.count_max == 1;
}

struct awake *weir_tcp_conn_wake_for_user(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct awake *awake = weir_tcp_conn_wake(ep, conn);
    if (awake == NULL) {
        ep->room = ROOM_WANTED;
    }
    return awake;
}

/* --- life ------------------------------------------------------------------------------------- */

/* The record with its key, dormant; which side it has depends on who opens, and on what ends there
 * is room for. */
static struct weir_tcp_conn *insert(struct weir_tcp *ep, const struct weir_path *path,
                                    bool is_active)
{
    struct key key;
    const struct weir_addr *other = is_active ? &path->local : &path->remote;
    int end = weir_tcp_end_make(ep, is_active ? &path->remote : &path->local, is_active);
    if (end < 0 && is_active) {
        other = &path->remote;
        end = weir_tcp_end_make(ep, &path->local, false);
    }
    if (end < 0) {
        return NULL;
    }
    weir_tcp_key_make(other, (uint8_t)end, &key);
    struct weir_tcp_conn *conn = weir_table_insert(table_of(ep, other->family), key.bytes);
    if (conn == NULL) {
        return NULL;
    }
    struct record *record = weir_tcp_record(ep, conn);
    record->profile = weir_tcp_base_profile(ep, (uint8_t)end);
    ep->profiles[record->profile].connections++;
    ep->ends[end].connections++;
    if (ep->users != NULL) {
        ep->users[weir_tcp_index(ep, conn)] = NULL;
    }
    return conn;
}

void weir_tcp_record_free(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct record *record = weir_tcp_record(ep, conn);
    bool is_6 = weir_tcp_is_6(ep, conn);
    ep->stats.connections--;
    ep->stats.time_wait -= record->code >= CODE_TIME_WAIT && record->code <= CODE_TIME_WAIT_NEW;
    ep->profiles[record->profile].connections--;
    weir_tcp_end_release(ep, ep->aliases[record->profile]);
    weir_table_remove(&ep->tables[is_6], conn);
}

struct awake *weir_tcp_conn_open(struct weir_tcp *ep, const struct weir_path *path, bool is_active)
{
    struct weir_tcp_conn *conn = insert(ep, path, is_active);
    if (conn == NULL) {
        return NULL;
    }
    if (++ep->stats.connections > ep->stats.connections_peak) {
        ep->stats.connections_peak = ep->stats.connections;
    }
    struct awake *awake = take_awake(ep, conn);
    if (awake == NULL) {
        weir_tcp_record_free(ep, conn);
        return NULL;
    }
    awake->record->code = CODE_AWAKE;
    awake->record->place = awake->index;
    uint32_t mss = awake->is_6 ? MSS_DEFAULT6 : MSS_DEFAULT;
    weir_tcp_mtu_begin(awake, mss, mss);
    weir_tcp_loss_init(awake);
    weir_tcp_sweep_plan(ep);
    return awake;
}

void weir_tcp_conn_free(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    struct weir_tcp_conn *conn = awake->conn;
    release_awake(awake);
    weir_tcp_record_free(ep, conn);
    weir_tcp_wake_starved(ep);
}

void weir_tcp_conn_leave_half_open(struct awake *awake)
{
    struct weir_tcp_stats *stats = &awake->ep->stats;
    if (awake->state == WEIR_TCP_STATE_SYN_RECEIVED && awake->listener >= 0) {
        stats->half_open--;
        stats->fast_pending -= awake->fast == FAST_ACCEPTED;
    }
}

void weir_tcp_conn_end(struct awake *awake, enum weir_tcp_close_cause cause)
{
    struct weir_tcp *ep = awake->ep;
    if (awake->is_ended) {
        return;
    }
    if (awake->state == WEIR_TCP_STATE_SYN_SENT && cause != WEIR_TCP_CAUSE_ABORTED) {
        weir_tcp_fast_on_failure(awake);
    }
    if (awake->state == WEIR_TCP_STATE_SYN_RECEIVED && awake->listener >= 0 &&
        awake->fast != FAST_ACCEPTED) {
        /* Nobody has heard of it. */
        weir_tcp_conn_free(awake);
        return;
    }
    weir_tcp_conn_leave_half_open(awake);
    awake->is_ended = true;
    awake->is_writable_wanted = false;
    awake->cause = (uint8_t)cause;
    weir_tcp_leave_short(awake);
    weir_tcp_flight_drop_all(awake);
    weir_tcp_send_drop_all(awake);
    weir_tcp_receive_drop_all(awake);
    if (cause != WEIR_TCP_CAUSE_DONE) {
        awake->state = WEIR_TCP_STATE_CLOSED;
        awake->pending &= PENDING_OPENED;
    }
    awake->loss_at = awake->ack_at = awake->pace_at = awake->idle_at = WEIR_NEVER;
    weir_wheel_cancel(ep->wheel, awake->index);
    awake->timer_at = WEIR_NEVER;
    weir_tcp_pend(awake, PENDING_CLOSED);
}

/* While cookies are good a late copy of a peer's first segment would open the connection once more:
 * who closed last remembers it for the time, too. */
static bool is_replayable(const struct awake *awake)
{
    return awake->cause == WEIR_TCP_CAUSE_DONE && awake->listener >= 0 &&
           weir_tcp_cookie_is_good(awake->ep);
}

void weir_tcp_conn_settle(struct awake *awake)
{
    /* The last ACK or RST leaves first. */
    if (!awake->is_done || awake->is_ack_wanted || awake->is_reset_wanted) {
        return;
    }
    if (awake->state == WEIR_TCP_STATE_TIME_WAIT || is_replayable(awake)) {
        weir_tcp_conn_time_wait(awake);
    } else {
        weir_tcp_conn_free(awake);
    }
}
