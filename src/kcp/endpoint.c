/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c - the user's calls on sessions, and the figures.
 */
#include "kcp/internal.h"

/* --- opening ---------------------------------------------------------------------------------- */

/* A number that is not in use with this remote. */
static bool draw_conv(struct weir_kcp *ep, const struct weir_addr *remote, uint32_t key[KEY_WORDS])
{
    enum {
        TRIES = 8
    };

    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t conv = (uint32_t)weir_prng_secret_next(&ep->secret);
        if (conv != 0 && weir_kcp_key_make(ep, remote, conv, key) &&
            weir_table_find(&ep->table, key) == NULL) {
            return true;
        }
    }
    return false;
}

enum weir_status weir_kcp_connect(struct weir_kcp *ep, weir_nsec now,
                                  const struct weir_addr *remote, uint32_t conv, void *user,
                                  struct weir_kcp_conn **conn)
{
    uint32_t key[KEY_WORDS];
    weir_kcp_set_now(ep, now);
    const struct weir_route *route = ep->config.route;
    if (remote->family == WEIR_ADDR_NONE || remote->port == 0 ||
        (route != NULL && weir_route_remote(route, remote) != ep->config.shard) ||
        !weir_kcp_key_make(ep, remote, conv, key)) {
        return WEIR_ERR_INVALID;
    }
    if (conv == 0 ? !draw_conv(ep, remote, key) : weir_table_find(&ep->table, key) != NULL) {
        return WEIR_ERR_FULL;
    }
    struct weir_kcp_conn *made = weir_kcp_conn_open(ep, key, STATE_CONNECTING);
    if (made == NULL) {
        return WEIR_ERR_FULL;
    }
    made->user = user;
    *conn = made;
    return WEIR_OK;
}

void weir_kcp_accept(struct weir_kcp_conn *conn, void *user)
{
    conn->user = user;
    if (conn->state != STATE_REQUESTED) {
        return;
    }
    conn->state = STATE_OPEN;
    conn->endpoint->stats.pending--;
    weir_kcp_conn_pend(conn, PENDING_OPENED | PENDING_RELEASE);
}

void weir_kcp_refuse(struct weir_kcp_conn *conn)
{
    if (conn->state == STATE_REQUESTED) {
        weir_kcp_conn_free(conn);
    }
}

/* --- ending ----------------------------------------------------------------------------------- */

void weir_kcp_close(struct weir_kcp_conn *conn)
{
    if (conn->state != STATE_OPEN && conn->state != STATE_CONNECTING) {
        return;
    }
    if (!conn->is_awake) {
        weir_kcp_conn_end(conn, WEIR_KCP_CAUSE_LOCAL);
        return;
    }
    conn->state = STATE_CLOSING;
    conn->is_writable_wanted = false;
    weir_kcp_ready(conn->endpoint, weir_kcp_awake_of(conn));
}

void weir_kcp_abort(struct weir_kcp_conn *conn)
{
    weir_kcp_conn_end(conn, WEIR_KCP_CAUSE_LOCAL);
}

/* --- looking and setting ---------------------------------------------------------------------- */

void *weir_kcp_user(const struct weir_kcp_conn *conn)
{
    return conn->user;
}

void weir_kcp_set_user(struct weir_kcp_conn *conn, void *user)
{
    conn->user = user;
}

uint32_t weir_kcp_conv(const struct weir_kcp_conn *conn)
{
    return conn->key[conn->endpoint->conv_at];
}

struct weir_path weir_kcp_path(const struct weir_kcp_conn *conn)
{
    return (struct weir_path){.local = conn->endpoint->locals[conn->local],
                              .remote = weir_kcp_conn_remote(conn)};
}

void weir_kcp_pause(struct weir_kcp_conn *conn, bool is_paused)
{
    conn->is_paused = is_paused;
    if (!is_paused && conn->is_awake && conn->state < STATE_ENDED) {
        weir_kcp_conn_pend(conn, PENDING_RELEASE);
    }
}

uint32_t weir_kcp_segment_bytes(const struct weir_kcp *endpoint)
{
    return endpoint->mss;
}

/* --- figures ---------------------------------------------------------------------------------- */

void weir_kcp_conn_stats(const struct weir_kcp_conn *conn, struct weir_kcp_conn_stats *stats)
{
    *stats = (struct weir_kcp_conn_stats){.is_awake = conn->is_awake,
                                          .rtt = conn->srtt_ms * WEIR_MSEC,
                                          .rtt_variance = conn->rttval_ms * WEIR_MSEC};
    if (!conn->is_awake) {
        return;
    }
    const struct awake *awake = weir_kcp_awake_of(conn);
    stats->rtt = awake->srtt_ms * WEIR_MSEC;
    stats->rtt_variance = awake->rttval_ms * WEIR_MSEC;
    stats->rto = awake->rto_ms * WEIR_MSEC;
    stats->peer_window = awake->peer_window;
    stats->window = weir_kcp_send_window(awake);
    stats->in_flight = awake->snd_nxt - awake->snd_una - awake->arrived;
    stats->queued = awake->queued;
    stats->held = awake->held_count;
    stats->segments_sent = awake->segments_sent;
    stats->resent_fast = awake->resent_fast;
    stats->resent_timeout = awake->resent_timeout;
    stats->segments_received = awake->segments_received;
    stats->segments_repeated = awake->segments_repeated;
}

const struct weir_kcp_stats *weir_kcp_stats(const struct weir_kcp *endpoint)
{
    return &endpoint->stats;
}

_Static_assert((int)WEIR_KCP_DROP_COUNT <= (int)WEIR_FIGURES_DROPS_MAX, "each has its figure");

static const char *const drop_names[WEIR_KCP_DROP_COUNT + 1] = {
    [WEIR_KCP_DROP_TRUNCATED] = "truncated",
    [WEIR_KCP_DROP_LENGTH] = "length",
    [WEIR_KCP_DROP_COMMAND] = "command",
    [WEIR_KCP_DROP_CONV] = "conv",
    [WEIR_KCP_DROP_SESSION] = "session",
    [WEIR_KCP_DROP_NOT_ACCEPTING] = "not accepting",
    [WEIR_KCP_DROP_PENDING] = "pending",
    [WEIR_KCP_DROP_ADDRESS] = "address",
    [WEIR_KCP_DROP_ACK] = "ack",
    [WEIR_KCP_DROP_DUPLICATE] = "duplicate",
    [WEIR_KCP_DROP_WINDOW] = "window",
    [WEIR_KCP_DROP_NO_ROOM] = "no room",
    [WEIR_KCP_DROP_CLOSED] = "closed",
    [WEIR_KCP_DROP_FORGED] = "forged",
    [WEIR_KCP_DROP_FEC] = "fec",
    [WEIR_KCP_DROP_PARITY] = "parity",
    [WEIR_KCP_DROP_UNDRAINED] = "undrained",
};

const char *weir_kcp_drop_text(enum weir_kcp_drop drop)
{
    return drop < WEIR_KCP_DROP_COUNT ? drop_names[drop] : "unknown";
}

/* --- for the loop ----------------------------------------------------------------------------- */

static void verb_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    weir_kcp_input(endpoint, now, packets, count);
}

static void verb_timeout(void *endpoint, weir_nsec now)
{
    weir_kcp_timeout(endpoint, now);
}

static weir_nsec verb_next_timeout(const void *endpoint)
{
    return weir_kcp_next_timeout(endpoint);
}

static enum weir_status verb_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    return weir_kcp_output(endpoint, now, tx);
}

static void verb_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct weir_kcp_stats *stats = weir_kcp_stats(endpoint);
    *figures = (struct weir_figures){.connections = stats->sessions,
                                     .awake = stats->awake,
                                     .packets_received = stats->datagrams_received,
                                     .packets_sent = stats->datagrams_sent,
                                     .bytes_received = stats->bytes_received,
                                     .bytes_sent = stats->bytes_sent,
                                     .packets_lost = stats->resent_fast + stats->resent_early +
                                                     stats->resent_timeout,
                                     .rtt = stats->rtt};
    for (uint32_t i = 0; i < WEIR_KCP_DROP_COUNT; i++) {
        figures->drops[i] = stats->drops[i];
        figures->dropped += stats->drops[i];
    }
}

const struct weir_verbs *weir_kcp_verbs(void)
{
    static const struct weir_verbs verbs = {.input = verb_input,
                                            .timeout = verb_timeout,
                                            .next_timeout = verb_next_timeout,
                                            .output = verb_output,
                                            .figures = verb_figures,
                                            .drop_names = drop_names};
    return &verbs;
}
