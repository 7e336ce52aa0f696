/* SPDX-License-Identifier: MIT */
/*
 * timers.c - when a session is flushed again, and the sweep over those that have no timer.
 *
 * A session has a timer only while something waits for the next interval, a timeout or the pacer.
 * Silence is looked for by walking the table, a part at a time, so that each session is seen once
 * in sweep_period.
 */
#include "kcp/internal.h"

enum {
    SWEEP_SLOTS = 4096, /* of the table in one go */
    SWEEP_SHARE = 8,    /* periods in the shortest of the times looked after */
    QUIET_MS = 1000     /* awake at least so long after the last datagram */
};

static const weir_nsec sweep_period_min = 50 * WEIR_MSEC;
static const weir_nsec sweep_period_max = 4 * WEIR_SEC;

/* --- flushing --------------------------------------------------------------------------------- */

static void arm(struct awake *awake, weir_nsec at)
{
    awake->timer_at = at;
    weir_wheel_arm(awake->conn->endpoint->wheel, awake->index, at);
}

void weir_kcp_flush_soon(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    weir_nsec at = awake->flushed_at + ep->interval;
    awake->is_flush_planned = !ep->config.tuning.is_ack_no_delay; /* that would be too late */
    if (awake->flushed_at == 0 || at <= ep->now) {
        weir_kcp_ready(ep, awake);
    } else if (at < awake->timer_at) {
        arm(awake, at);
    }
}

void weir_kcp_set_timer(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    weir_nsec soon = awake->flushed_at + ep->interval;
    weir_nsec at = weir_kcp_flight_next(awake);
    if (weir_kcp_is_probing(awake)) {
        uint32_t wait = awake->probe_at_ms - (uint32_t)ep->ms;
        at = weir_min_u64(at, ep->now + (weir_kcp_diff(wait, 0) > 0 ? wait : 0) * WEIR_MSEC);
    }
    if (awake->queue_first != NULL) {
        if (awake->snd_una == awake->snd_nxt && awake->peer_window != 0 && awake->paced == NULL) {
            at = soon; /* for want of memory: nothing else would come back to it */
        }
        if (awake->paced != NULL && awake->snd_nxt - awake->snd_una < weir_kcp_send_window(awake)) {
            weir_nsec paced_at = weir_kcp_paced_next(awake);
            paced_at = paced_at > ep->now ? paced_at : soon; /* else for want of memory */
            arm(awake, weir_min_u64(weir_max_u64(at, soon), paced_at));
            return;
        }
    }
    if (at != WEIR_NEVER) {
        at = weir_max_u64(at, soon);
    }
    arm(awake, at);
}

/* --- the sweep -------------------------------------------------------------------------------- */

static void take_shorter(weir_nsec *period, weir_nsec time)
{
    if (time != 0) {
        *period = weir_min_u64(*period, time / SWEEP_SHARE);
    }
}

/* How many parts the table is walked in. */
static uint32_t sweep_parts(const struct weir_kcp *ep)
{
    return ep->table.group_count * 32 / SWEEP_SLOTS + 1;
}

void weir_kcp_sweep_plan(struct weir_kcp *ep)
{
    if (ep->sweep_at != WEIR_NEVER) {
        return;
    }
    weir_nsec period = sweep_period_max;
    take_shorter(&period, ep->config.connect_timeout);
    take_shorter(&period, ep->config.keepalive);
    take_shorter(&period, ep->config.idle_timeout);
    ep->sweep_period = weir_max_u64(period, sweep_period_min);
    ep->sweep_at = ep->now + ep->sweep_period / sweep_parts(ep);
}

static void ask(struct weir_kcp_conn *conn)
{
    struct awake *awake = weir_kcp_conn_wake(conn);
    if (awake != NULL) { /* else all are busy: this one is left out */
        awake->is_ask_wanted = true;
        weir_kcp_flush_soon(awake);
    }
}

static bool is_over(weir_nsec limit, weir_nsec silence)
{
    return limit != 0 && silence >= limit;
}

/* Gives back what an awake session does not need now: all of it, or memory that others may wait
 * for. */
static void rest(struct weir_kcp_conn *conn)
{
    struct awake *awake = weir_kcp_awake_of(conn);
    if (weir_kcp_conn_is_quiet(conn)) {
        weir_kcp_conn_sleep(conn);
    } else if (awake->waiting == 0) {
        weir_kcp_send_close_page(awake);
    }
}

static void look_at(struct weir_kcp_conn *conn)
{
    struct weir_kcp *ep = conn->endpoint;
    const struct weir_kcp_config *config = &ep->config;
    weir_nsec silence = ((uint32_t)ep->ms - conn->heard_ms) * WEIR_MSEC;
    if (conn->is_writable_wanted && !conn->is_awake) {
        (void)weir_kcp_conn_wake(conn);
    }
    if (conn->state == STATE_REQUESTED || conn->state == STATE_CONNECTING) {
        if (is_over(config->connect_timeout, silence)) {
            weir_kcp_conn_end(conn, WEIR_KCP_CAUSE_TIMEOUT);
        }
        return;
    }
    if (conn->state != STATE_OPEN && conn->state != STATE_CLOSING) {
        return;
    }
    if (is_over(config->idle_timeout, silence)) {
        weir_kcp_conn_end(conn, WEIR_KCP_CAUSE_TIMEOUT);
        return;
    }
    /* Once each time that another keepalive has passed in silence. */
    if (is_over(config->keepalive, silence) && silence % config->keepalive < ep->sweep_period) {
        ask(conn);
        return;
    }
    if (conn->is_awake && silence >= QUIET_MS * WEIR_MSEC) {
        rest(conn);
    }
}

static void sweep(struct weir_kcp *ep)
{
    uint64_t end = ep->sweep_place + SWEEP_SLOTS;
    struct weir_kcp_conn *conn;
    while (ep->sweep_place < end &&
           (conn = weir_table_walk(&ep->table, &ep->sweep_place)) != NULL) {
        look_at(conn);
    }
    if (ep->sweep_place >= (uint64_t)ep->table.group_count * 32) {
        ep->sweep_place = 0;
    }
    ep->sweep_at = WEIR_NEVER;
    if (ep->stats.sessions > 0) {
        weir_kcp_sweep_plan(ep);
    }
}

/* --- verbs ------------------------------------------------------------------------------------ */

void weir_kcp_timeout(struct weir_kcp *ep, weir_nsec now)
{
    uint32_t index;
    weir_kcp_set_now(ep, now);
    weir_wheel_advance(ep->wheel, ep->now);
    while ((index = weir_wheel_expired(ep->wheel)) != WEIR_WHEEL_NONE) {
        struct awake *awake = weir_pool_at(&ep->awakes, index);
        awake->timer_at = WEIR_NEVER;
        weir_kcp_ready(ep, awake);
    }
    if (ep->sweep_at <= ep->now) {
        sweep(ep);
    }
}

weir_nsec weir_kcp_next_timeout(const struct weir_kcp *ep)
{
    if (ep->ready.first != LIST_END || ep->events.first != LIST_END || ep->done_first != NULL) {
        return ep->now; /* output and event have something */
    }
    return weir_min_u64(weir_wheel_next(ep->wheel), ep->sweep_at);
}
