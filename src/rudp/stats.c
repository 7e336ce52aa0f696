/* SPDX-License-Identifier: MIT */
/*
 * stats.c - figures, and the calls on a connection that only look or set a flag.
 */
#include <string.h>

#include "rudp/internal.h"

void *weir_rudp_user(const struct weir_rudp_conn *conn)
{
    return conn->user;
}

void weir_rudp_set_user(struct weir_rudp_conn *conn, void *user)
{
    conn->user = user;
}

const struct weir_path *weir_rudp_path(const struct weir_rudp_conn *conn)
{
    return &conn->path;
}

void weir_rudp_pause(struct weir_rudp_conn *conn, bool is_paused)
{
    conn->is_paused = is_paused;
    weir_rudp_receive_credit(conn);
}

void weir_rudp_close(struct weir_rudp_conn *conn, uint32_t code, const char *text)
{
    bool is_open = conn->state == STATE_OPEN || conn->state == STATE_ACCEPTED ||
                   conn->state == STATE_CONNECTING;
    if (!is_open || conn->is_close_asked) {
        return;
    }
    if (!weir_rudp_conn_wake(conn)) {
        weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_LOCAL, code, (struct weir_span){0});
        return;
    }
    weir_rudp_conn_set_reason(conn, WEIR_RUDP_CAUSE_LOCAL, code, weir_span_of(text, strlen(text)));
    weir_rudp_clear_written(conn);
    conn->is_close_asked = true;
    weir_rudp_conn_ready(conn);
}

void weir_rudp_abort(struct weir_rudp_conn *conn, uint32_t code, const char *text)
{
    weir_rudp_conn_close(conn, WEIR_RUDP_CAUSE_LOCAL, code, weir_span_of(text, strlen(text)));
}

static uint64_t secondary_bytes(const struct weir_rudp_conn *conn)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < weir_rudp_conn_channels(conn); i++) {
        const struct channel *channel = i == 0 ? &conn->channel0 : &conn->channels[i - 1];
        for (const struct held *held = channel->held_first; held != NULL; held = held->next) {
            bytes += weir_hold_is_secondary(&held->hold) ? held->length : 0;
        }
    }
    return bytes;
}

void weir_rudp_conn_stats(const struct weir_rudp_conn *conn, struct weir_rudp_conn_stats *stats)
{
    const struct awake *awake = conn->awake;
    *stats = (struct weir_rudp_conn_stats){.rtt = conn->rtt_smoothed,
                                           .rtt_variance = conn->rtt_variance,
                                           .packets_sent = conn->packets_sent,
                                           .packets_received = conn->packets_received,
                                           .bytes_sent = conn->bytes_sent,
                                           .bytes_received = conn->bytes_received,
                                           .messages_sent = conn->messages_sent,
                                           .messages_received = conn->messages_received,
                                           .mtu_bytes = conn->mtu_bytes,
                                           .cc_state = "dormant"};
    if (awake == NULL) {
        return;
    }
    if (awake->rtt.has_sample) {
        stats->rtt = awake->rtt.smoothed;
        stats->rtt_variance = awake->rtt.variance;
        stats->rtt_min = awake->rtt.min;
    }
    stats->window_bytes = awake->cc.window_bytes;
    stats->in_flight_bytes = awake->in_flight_bytes;
    stats->pacing_rate = awake->cc.pacing_rate;
    stats->packets_lost = awake->packets_lost;
    stats->packets_spurious = awake->packets_spurious;
    stats->bytes_resent = awake->bytes_resent;
    stats->messages_expired = awake->messages_expired;
    stats->queued_bytes = awake->queued_bytes;
    stats->held_messages = awake->held_count;
    stats->held_bytes = awake->held_bytes;
    stats->secondary_bytes = secondary_bytes(conn);
    stats->cc_state = weir_cc_state_text(&awake->cc);
}

const struct weir_rudp_stats *weir_rudp_stats(const struct weir_rudp *ep)
{
    return &ep->stats;
}

_Static_assert((int)WEIR_RUDP_DROP_COUNT <= (int)WEIR_FIGURES_DROPS_MAX, "each has its figure");

static const char *const drop_names[WEIR_RUDP_DROP_COUNT + 1] = {
    [WEIR_RUDP_DROP_TRUNCATED] = "truncated",
    [WEIR_RUDP_DROP_CHECKSUM] = "checksum",
    [WEIR_RUDP_DROP_KIND] = "kind",
    [WEIR_RUDP_DROP_VERSION] = "version",
    [WEIR_RUDP_DROP_CONNECTION] = "connection",
    [WEIR_RUDP_DROP_COOKIE] = "cookie",
    [WEIR_RUDP_DROP_DUPLICATE] = "duplicate",
    [WEIR_RUDP_DROP_NO_ROOM] = "no room",
    [WEIR_RUDP_DROP_UNDRAINED] = "undrained",
    [WEIR_RUDP_DROP_NOT_ACCEPTING] = "not accepting",
    [WEIR_RUDP_DROP_STALE] = "stale",
};

const char *weir_rudp_drop_text(enum weir_rudp_drop drop)
{
    return drop < WEIR_RUDP_DROP_COUNT ? drop_names[drop] : "?";
}

static void verb_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    weir_rudp_input(endpoint, now, packets, count);
}

static void verb_timeout(void *endpoint, weir_nsec now)
{
    weir_rudp_timeout(endpoint, now);
}

static weir_nsec verb_next_timeout(const void *endpoint)
{
    return weir_rudp_next_timeout(endpoint);
}

static enum weir_status verb_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    return weir_rudp_output(endpoint, now, tx);
}

static void verb_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct weir_rudp_stats *stats = weir_rudp_stats(endpoint);
    *figures = (struct weir_figures){.connections = stats->connections,
                                     .awake = stats->awake,
                                     .packets_received = stats->packets_received,
                                     .packets_sent = stats->packets_sent,
                                     .bytes_received = stats->bytes_received,
                                     .bytes_sent = stats->bytes_sent,
                                     .packets_lost = stats->packets_lost,
                                     .rtt = stats->rtt};
    for (uint32_t i = 0; i < WEIR_RUDP_DROP_COUNT; i++) {
        figures->drops[i] = stats->drops[i];
        figures->dropped += stats->drops[i];
    }
}

const struct weir_verbs *weir_rudp_verbs(void)
{
    static const struct weir_verbs verbs = {.input = verb_input,
                                            .timeout = verb_timeout,
                                            .next_timeout = verb_next_timeout,
                                            .output = verb_output,
                                            .figures = verb_figures,
                                            .drop_names = drop_names};
    return &verbs;
}
