/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c - the user's calls on endpoints and connections, and the figures.
 */
#include "tcp/internal.h"

/* --- listening -------------------------------------------------------------------------------- */

enum weir_status weir_tcp_listen(struct weir_tcp *ep, const struct weir_addr *local, int *listener)
{
    if ((local->family != WEIR_ADDR_IP4 && local->family != WEIR_ADDR_IP6) || local->port == 0) {
        return WEIR_ERR_INVALID;
    }
    int found = weir_tcp_end_make(ep, local, false);
    if (found < 0 || ep->ends[found].is_listening) {
        return WEIR_ERR_FULL;
    }
    ep->ends[found].is_listening = true;
    *listener = found;
    return WEIR_OK;
}

void weir_tcp_unlisten(struct weir_tcp *ep, int listener)
{
    WEIR_ASSERT(listener >= 0 && listener < WEIR_TCP_ENDS_MAX);
    ep->ends[listener].is_listening = false;
}

/* --- connecting ------------------------------------------------------------------------------- */

/* Do answers come to this endpoint? */
static bool leads_here(const struct weir_tcp *ep, const struct weir_path *path)
{
    const struct weir_route *route = ep->config.route;
    return route == NULL || weir_route_path(route, path) == ep->config.shard;
}

static bool is_port_free(struct weir_tcp *ep, const struct weir_path *path)
{
    return leads_here(ep, path) && weir_tcp_end_find(ep, &path->local, false) < 0 &&
           weir_tcp_conn_find(ep, path) == NULL;
}

/* RFC 6056 3.3.4: from a start that the addresses and a secret choose, one after the other. Under a
 * crew one in as many as there are shards will do. */
static bool draw_port(struct weir_tcp *ep, struct weir_path *path)
{
    enum {
        PORT_FIRST = 1024,
        PORTS = 65536 - PORT_FIRST
    };

    path->local.port = 0;
    uint32_t start = (uint32_t)weir_hash24(&ep->port_key, path, sizeof(*path));
    for (uint32_t i = 0; i < PORTS; i++) {
        path->local.port = (uint16_t)(PORT_FIRST + (start + ep->port_count++) % PORTS);
        if (is_port_free(ep, path)) {
            return true;
        }
    }
    return false;
}

enum weir_status weir_tcp_connect(struct weir_tcp *ep, weir_nsec now, const struct weir_path *path,
                                  void *user, struct weir_tcp_conn **conn)
{
    struct weir_path ends = *path;
    weir_tcp_set_now(ep, now);
    if (!weir_tcp_is_address(&ends.local) || !weir_tcp_is_address(&ends.remote) ||
        ends.local.family != ends.remote.family || ends.remote.port == 0 ||
        (ends.local.port != 0 && !leads_here(ep, &ends))) {
        return WEIR_ERR_INVALID;
    }
    if (ends.local.port == 0 ? !draw_port(ep, &ends) : weir_tcp_conn_find(ep, &ends) != NULL) {
        return WEIR_ERR_FULL;
    }
    struct awake *awake = weir_tcp_conn_may_open(ep) ? weir_tcp_conn_open(ep, &ends, true) : NULL;
    if (awake == NULL) {
        return WEIR_ERR_FULL;
    }
    awake->state = WEIR_TCP_STATE_SYN_SENT;
    weir_tcp_mtu_begin(awake, weir_tcp_own_mss(ep, awake->is_6), weir_tcp_own_mss(ep, awake->is_6));
    awake->iss = awake->snd_una = weir_tcp_initial_number(ep, &awake->path);
    awake->snd_nxt = awake->queue_end = awake->snd_up = awake->iss + 1;
    awake->ts_offset = weir_tcp_stamp_offset(ep, &awake->path);
    awake->is_syn_wanted = true;
    weir_tcp_set_user(ep, awake->conn, user);
    weir_tcp_ready(awake);
    *conn = awake->conn;
    return WEIR_OK;
}

/* --- ending ----------------------------------------------------------------------------------- */

enum weir_status weir_tcp_close(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    uint8_t code = weir_tcp_record(ep, conn)->code;
    if (code != CODE_AWAKE && code < CODE_CLOSE_WAIT) {
        return WEIR_OK;
    }
    struct awake *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (awake == NULL) {
        return WEIR_AGAIN;
    }
    if (awake->is_ended || awake->is_closing) {
        return WEIR_OK;
    }
    if (awake->state == WEIR_TCP_STATE_SYN_SENT) {
        weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_ABORTED);
        return WEIR_OK;
    }
    if (!weir_tcp_conn_may_begin(awake)) {
        return WEIR_AGAIN;
    }
    if (awake->sequence.first == NULL && weir_tcp_unsent(awake) == 0) {
        awake->open_at = WEIR_NEVER; /* FIN may have to wait for room */
    }
    awake->is_closing = true;
    awake->is_writable_wanted = false;
    weir_tcp_ready(awake);
    return WEIR_OK;
}

enum weir_status weir_tcp_abort(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct awake *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (awake == NULL) {
        return WEIR_AGAIN;
    }
    if (!awake->is_ended) {
        /* RFC 9293 3.10.5: all that have heard of it are told. */
        awake->is_reset_wanted =
            awake->state != WEIR_TCP_STATE_SYN_SENT && awake->state != WEIR_TCP_STATE_TIME_WAIT;
        weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_ABORTED);
        weir_tcp_ready(awake);
    }
    return WEIR_OK;
}

/* --- looking and setting ---------------------------------------------------------------------- */

void *weir_tcp_user(const struct weir_tcp *ep, const struct weir_tcp_conn *conn)
{
    return ep->users != NULL ? ep->users[weir_tcp_index(ep, conn)] : NULL;
}

void weir_tcp_set_user(struct weir_tcp *ep, const struct weir_tcp_conn *conn, void *user)
{
    if (ep->users != NULL) {
        ep->users[weir_tcp_index(ep, conn)] = user;
    }
}

enum weir_status weir_tcp_pause(struct weir_tcp *ep, struct weir_tcp_conn *conn, bool is_paused)
{
    struct awake *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (awake == NULL) {
        return WEIR_AGAIN;
    }
    awake->is_paused = is_paused;
    if (!is_paused && !awake->is_ended) {
        weir_tcp_pend(awake, PENDING_RELEASE);
    }
    weir_tcp_set_timer(awake);
    return WEIR_OK;
}

enum weir_status weir_tcp_cork(struct weir_tcp *ep, struct weir_tcp_conn *conn, bool is_corked)
{
    struct awake *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (awake == NULL) {
        return WEIR_AGAIN;
    }
    awake->is_corked = is_corked;
    weir_tcp_ready(awake);
    return WEIR_OK;
}

enum weir_status weir_tcp_nodelay(struct weir_tcp *ep, struct weir_tcp_conn *conn, bool is_nodelay)
{
    struct awake *awake = weir_tcp_conn_wake_for_user(ep, conn);
    if (awake == NULL) {
        return WEIR_AGAIN;
    }
    awake->is_nodelay = is_nodelay;
    weir_tcp_ready(awake);
    return WEIR_OK;
}

/* --- figures ---------------------------------------------------------------------------------- */

static enum weir_tcp_state state_of_code(uint8_t code)
{
    if (code <= CODE_TIME_WAIT_NEW) {
        return WEIR_TCP_STATE_TIME_WAIT;
    }
    if (code <= CODE_FIN_WAIT_NEW) {
        return WEIR_TCP_STATE_FIN_WAIT_2;
    }
    return code < CODE_OPEN ? WEIR_TCP_STATE_CLOSE_WAIT : WEIR_TCP_STATE_ESTABLISHED;
}

void weir_tcp_conn_stats(const struct weir_tcp *ep, const struct weir_tcp_conn *conn,
                         struct weir_tcp_conn_stats *stats)
{
    const struct record *record = weir_tcp_record(ep, conn);
    const struct profile *profile = &ep->profiles[record->profile];
    const struct awake *awake = weir_tcp_awake_of(ep, conn);
    uint8_t agreed = awake != NULL ? awake->agreed : profile->agreed;
    *stats = (struct weir_tcp_conn_stats){.is_awake = awake != NULL,
                                          .mss = profile->mss,
                                          .has_timestamps = (agreed & AGREED_TIMESTAMPS) != 0,
                                          .has_sack = (agreed & AGREED_SACK) != 0,
                                          .has_ecn = (agreed & AGREED_ECN) != 0,
                                          .congestion_state = "dormant"};
    if (awake == NULL) {
        stats->state = state_of_code(record->code);
        return;
    }
    stats->state = (enum weir_tcp_state)awake->state;
    stats->rtt = awake->rtt.has_sample ? awake->rtt.smoothed : 0;
    stats->rtt_variance = awake->rtt.has_sample ? awake->rtt.variance : 0;
    stats->rtt_min = awake->rtt.has_sample ? awake->rtt.min : 0;
    stats->rto = weir_tcp_rto(awake);
    stats->mss = weir_tcp_full_segment(awake);
    stats->peer_window = awake->snd_wnd;
    stats->receive_window = awake->rcv_adv - awake->rcv_nxt;
    stats->congestion_window = weir_tcp_loss_window(awake);
    stats->pacing_rate = awake->cc.pacing_rate;
    stats->in_flight = awake->in_flight;
    stats->queued = weir_tcp_unsent(awake);
    stats->held = awake->rcv_nxt - awake->take_nxt;
    stats->resent_segments = awake->resent_segments;
    stats->timeouts = awake->timeouts;
    stats->congestion_state = weir_cc_state_text(&awake->cc);
}

const struct weir_tcp_stats *weir_tcp_stats(const struct weir_tcp *endpoint)
{
    return &endpoint->stats;
}

_Static_assert((int)WEIR_TCP_DROP_COUNT <= (int)WEIR_FIGURES_DROPS_MAX, "each has its figure");

static const char *const drop_names[WEIR_TCP_DROP_COUNT + 1] = {
    [WEIR_TCP_DROP_HEADER] = "header",
    [WEIR_TCP_DROP_CHECKSUM] = "checksum",
    [WEIR_TCP_DROP_ADDRESS] = "address",
    [WEIR_TCP_DROP_NO_LISTEN] = "not listening",
    [WEIR_TCP_DROP_COOKIE] = "cookie",
    [WEIR_TCP_DROP_SEQUENCE] = "sequence",
    [WEIR_TCP_DROP_PAWS] = "timestamp",
    [WEIR_TCP_DROP_FLAGS] = "flags",
    [WEIR_TCP_DROP_ACK] = "ack",
    [WEIR_TCP_DROP_CHALLENGE] = "challenge",
    [WEIR_TCP_DROP_UNREACHED] = "unreached",
    [WEIR_TCP_DROP_DUPLICATE] = "duplicate",
    [WEIR_TCP_DROP_NO_ROOM] = "no room",
    [WEIR_TCP_DROP_CLOSED] = "closed",
    [WEIR_TCP_DROP_REPLY] = "reply",
    [WEIR_TCP_DROP_UNDRAINED] = "undrained",
};

const char *weir_tcp_drop_text(enum weir_tcp_drop drop)
{
    return drop < WEIR_TCP_DROP_COUNT ? drop_names[drop] : "unknown";
}

const char *weir_tcp_state_text(enum weir_tcp_state state)
{
    static const char *const texts[] = {
        [WEIR_TCP_STATE_CLOSED] = "CLOSED",
        [WEIR_TCP_STATE_SYN_SENT] = "SYN-SENT",
        [WEIR_TCP_STATE_SYN_RECEIVED] = "SYN-RECEIVED",
        [WEIR_TCP_STATE_ESTABLISHED] = "ESTABLISHED",
        [WEIR_TCP_STATE_FIN_WAIT_1] = "FIN-WAIT-1",
        [WEIR_TCP_STATE_FIN_WAIT_2] = "FIN-WAIT-2",
        [WEIR_TCP_STATE_CLOSE_WAIT] = "CLOSE-WAIT",
        [WEIR_TCP_STATE_CLOSING] = "CLOSING",
        [WEIR_TCP_STATE_LAST_ACK] = "LAST-ACK",
        [WEIR_TCP_STATE_TIME_WAIT] = "TIME-WAIT",
    };
    return (unsigned)state <= WEIR_TCP_STATE_TIME_WAIT ? texts[state] : "unknown";
}

/* --- for the loop ----------------------------------------------------------------------------- */

static void verb_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    weir_tcp_input(endpoint, now, packets, count);
}

static void verb_timeout(void *endpoint, weir_nsec now)
{
    weir_tcp_timeout(endpoint, now);
}

static weir_nsec verb_next_timeout(const void *endpoint)
{
    return weir_tcp_next_timeout(endpoint);
}

static enum weir_status verb_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    return weir_tcp_output(endpoint, now, tx);
}

static void verb_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct weir_tcp_stats *stats = weir_tcp_stats(endpoint);
    *figures = (struct weir_figures){.connections = stats->connections,
                                     .awake = stats->awake,
                                     .packets_received = stats->packets_received,
                                     .packets_sent = stats->packets_sent,
                                     .bytes_received = stats->bytes_received,
                                     .bytes_sent = stats->bytes_sent,
                                     .packets_lost = stats->resent_segments,
                                     .rtt = stats->rtt};
    for (uint32_t i = 0; i < WEIR_TCP_DROP_COUNT; i++) {
        figures->drops[i] = stats->drops[i];
        figures->dropped += stats->drops[i];
    }
}

const struct weir_verbs *weir_tcp_verbs(void)
{
    static const struct weir_verbs verbs = {.input = verb_input,
                                            .timeout = verb_timeout,
                                            .next_timeout = verb_next_timeout,
                                            .output = verb_output,
                                            .figures = verb_figures,
                                            .drop_names = drop_names};
    return &verbs;
}
