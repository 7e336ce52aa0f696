/* SPDX-License-Identifier: MIT */
/*
 * timers.c - one timer a connection, armed for whatever is due first.
 */
#include "rudp/internal.h"

enum {
    CLOSE_TRIES = 3
};

static const weir_nsec linger_min_ns = WEIR_SEC; /* awake with nothing to do before it sleeps */

static const weir_nsec no_records_ns = 10 * WEIR_MSEC;

static weir_nsec after(weir_nsec from, weir_nsec wait)
{
    return wait == 0 || wait == WEIR_NEVER ? WEIR_NEVER : from + wait;
}

static weir_nsec idle_at(const struct weir_rudp_conn *conn)
{
    return after(conn->last_received, conn->idle_timeout_ms * WEIR_MSEC);
}

static weir_nsec heartbeat_at(const struct weir_rudp_conn *conn)
{
    if (conn->awake != NULL && conn->awake->is_ping_wanted) {
        return WEIR_NEVER; /* it waits for a packet record only */
    }
    weir_nsec wait = conn->endpoint->config.heartbeat;
    if (wait != 0 && conn->idle_timeout_ms != 0) {
        /* Twice lost, the third still comes before either end gives up. */
        wait = weir_min_u64(wait, conn->idle_timeout_ms * WEIR_MSEC / 3);
    }
    return after(weir_max_u64(conn->last_received, conn->last_sent), wait);
}

static bool is_sending_data(const struct weir_rudp_conn *conn)
{
    return conn->state == STATE_OPEN || conn->state == STATE_ACCEPTED;
}

static weir_nsec sleep_at(const struct weir_rudp_conn *conn)
{
    if (!weir_rudp_conn_is_quiet(conn)) {
        return WEIR_NEVER;
    }
    return weir_max_u64(conn->last_received, conn->last_sent) +
           weir_max_u64(linger_min_ns, 3 * weir_rudp_conn_pto(conn));
}

static weir_nsec dead_at(const struct weir_rudp_conn *conn)
{
    const struct awake *awake = conn->awake;
    return awake->probing_since == 0 ? WEIR_NEVER
                                     : awake->probing_since + conn->endpoint->config.dead_timeout;
}

/* Control frames leave at once, but for want of a packet record. */
static weir_nsec control_at(const struct weir_rudp_conn *conn)
{
    const struct weir_rudp *ep = conn->endpoint;
    bool is_stuck = weir_rudp_output_has_control(conn->awake) && weir_pool_left(&ep->packets) == 0;
    return is_stuck ? ep->now + no_records_ns : WEIR_NEVER;
}

/* When waiting data may leave: the window is open, company was waited for, the pace allows it.
 * Without a packet record or a chunk left in the pools it is tried again after a while. */
static weir_nsec data_at(const struct weir_rudp_conn *conn)
{
    const struct weir_rudp *ep = conn->endpoint;
    const struct awake *awake = conn->awake;
    bool is_window_open = awake->in_flight_bytes < awake->cc.window_bytes;
    bool is_waiting = is_window_open && weir_rudp_output_has_data(awake);
    if (!is_waiting) {
        return WEIR_NEVER;
    }
    uint32_t chunks_kept = awake->again_first == NULL ? CHUNKS_RESERVED : 0;
    if (weir_pool_left(&ep->packets) == 0 || weir_pool_left(&ep->chunks) <= chunks_kept) {
        return ep->now + no_records_ns;
    }
    weir_nsec paced = weir_pacer_next(&awake->pacer, awake->cc.pacing_rate, conn->mtu_bytes);
    weir_nsec flush_at = weir_rudp_output_flush_at(awake);
    return flush_at == WEIR_NEVER ? paced : weir_max_u64(paced, flush_at);
}

static weir_nsec earliest(const weir_nsec *times, unsigned count)
{
    weir_nsec first = WEIR_NEVER;
    for (unsigned i = 0; i < count; i++) {
        first = weir_min_u64(first, times[i]);
    }
    return first;
}

/* Only what on_timer or output acts on in the present state: all else would be due for ever. */
static weir_nsec awake_timer(const struct weir_rudp_conn *conn)
{
    const struct awake *awake = conn->awake;
    if (conn->state >= STATE_CLOSING) {
        const weir_nsec times[] = {awake->attempt_at, awake->deadline, awake->ack_at,
                                   control_at(conn)};
        return earliest(times, 4);
    }
    if (!is_sending_data(conn)) {
        const weir_nsec times[] = {awake->attempt_at, awake->deadline, awake->deadline_next};
        return earliest(times, 3);
    }
    const weir_nsec times[] = {
        weir_rudp_loss_timer(conn), dead_at(conn),     awake->ack_at,   awake->deadline_next,
        awake->challenge_at,        awake->attempt_at, awake->deadline, awake->mtu.again,
        control_at(conn),           data_at(conn),     sleep_at(conn),
    };
    return earliest(times, sizeof(times) / sizeof(times[0]));
}

void weir_rudp_conn_set_timer(struct weir_rudp_conn *conn)
{
    weir_nsec at = WEIR_NEVER;
    if (conn->state == STATE_OPEN) {
        at = weir_min_u64(idle_at(conn), heartbeat_at(conn));
    }
    if (conn->awake != NULL) {
        at = weir_min_u64(at, awake_timer(conn));
    } else if (conn->state == STATE_OPEN && weir_rudp_credit_is_due(conn)) {
        at = weir_min_u64(at, conn->endpoint->now + no_records_ns); /* all are busy */
    }
    weir_wheel_arm(conn->endpoint->wheel, weir_rudp_conn_index(conn), at);
}

static void close_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    bool is_over =
        now >= awake->deadline || (now >= awake->attempt_at && awake->close_tries >= CLOSE_TRIES);
    if (conn->state == STATE_DRAINING || (now < awake->attempt_at && !is_over)) {
        return; /* output gives a draining one back when its time is up */
    }
    awake->attempt_at = WEIR_NEVER;
    if (is_over) {
        weir_rudp_conn_end(conn, awake->cause, awake->close_code, (struct weir_span){0});
    } else {
        awake->is_close_wanted = true;
    }
}

static void end_by_time(struct weir_rudp_conn *conn, const char *text, size_t length)
{
    weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_TIMEOUT, 0, weir_span_of(text, length));
}

static void open_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    static const char silent[] = "nothing heard from the peer";
    if (now >= idle_at(conn)) {
        end_by_time(conn, silent, sizeof(silent) - 1);
        return;
    }
    if (now >= heartbeat_at(conn)) {
        if (weir_rudp_conn_wake(conn)) {
            conn->awake->is_ping_wanted = true;
        } else {
            conn->last_sent = now; /* all are busy: this heartbeat is left out */
        }
    }
    if (conn->awake == NULL) {
        weir_rudp_receive_credit(conn);
        return;
    }
    weir_rudp_path_timer(conn, now);
    if (now >= conn->awake->mtu.again) {
        conn->awake->mtu.again = WEIR_NEVER;
        conn->awake->mtu.is_due = true;
    }
    if (now >= sleep_at(conn)) {
        weir_rudp_conn_sleep(conn);
    }
}

static void sending_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    static const char dead[] = "the peer does not answer";
    if (now >= dead_at(conn)) {
        end_by_time(conn, dead, sizeof(dead) - 1);
    } else {
        weir_rudp_loss_on_timer(conn, now);
    }
}

static void on_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    if (conn->state == STATE_FREE) {
        return;
    }
    if (conn->awake != NULL && conn->state < STATE_CLOSING) {
        weir_rudp_send_expire(conn, now);
        weir_rudp_handshake_timer(conn, now);
    }
    if (conn->awake != NULL && is_sending_data(conn)) {
        sending_timer(conn, now);
    }
    if (conn->state == STATE_OPEN) {
        open_timer(conn, now);
    } else if (conn->awake != NULL && conn->state >= STATE_CLOSING) {
        close_timer(conn, now);
    }
    weir_rudp_conn_ready(conn); /* output sends what came of it and sets the timer anew */
}

void weir_rudp_timeout(struct weir_rudp *ep, weir_nsec now)
{
    uint32_t index;
    ep->now = weir_max_u64(ep->now, now);
    weir_wheel_advance(ep->wheel, ep->now);
    while ((index = weir_wheel_expired(ep->wheel)) != WEIR_WHEEL_NONE) {
        on_timer(weir_rudp_conn_at(ep, index), ep->now);
    }
}

weir_nsec weir_rudp_next_timeout(const struct weir_rudp *ep)
{
    if (ep->ready.first != LIST_END || ep->stateless_count > 0 || ep->events.first != LIST_END) {
        return ep->now; /* output and event have something */
    }
    return weir_wheel_next(ep->wheel);
}
