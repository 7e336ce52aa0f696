/* SPDX-License-Identifier: MIT */
/*
 * timers.c - one timer for all that a connection waits for, and the sweep over those without one.
 *
 * Dormant connections age by walking the table, a part at a time, so that each is seen once in
 * sweep_period; TIME-WAIT and FIN-WAIT-2 count it down in their code.
 */
#include "tcp/internal.h"

enum {
    SWEEP_SLOTS = 4096, /* of the tables in one go */
    PASSIVE_SHARE = 3,  /* of connect_timeout for a passive open */
    AGES = CODE_TIME_WAIT_NEW - CODE_TIME_WAIT
};

static const weir_nsec sweep_period_min = 10 * WEIR_MSEC;

/* --- one timer -------------------------------------------------------------------------------- */

/* When something is to be done for want of anything happening. */
static weir_nsec idle_at(const struct awake *awake)
{
    const struct weir_tcp_tuning *tuning = &awake->ep->config.tuning;
    if (awake->is_ended || !weir_tcp_is_synchronized(awake)) {
        return WEIR_NEVER;
    }
    weir_nsec at = WEIR_NEVER;
    if (weir_tcp_conn_is_quiet(awake)) {
        at = weir_max_u64(awake->heard_at + tuning->sleep_after, awake->sleep_at);
    }
    if (tuning->keepalive != 0 && awake->sequence.first == NULL && weir_tcp_unsent(awake) == 0) {
        at = weir_min_u64(at, awake->heard_at + tuning->keepalive +
                                  awake->keepalives * tuning->keepalive_interval);
    }
    return at;
}

void weir_tcp_set_timer(struct awake *awake)
{
    awake->idle_at = idle_at(awake);
    const struct weir_pool *pool = &awake->ep->awakes;
    if (awake->ep->room == ROOM_WANTED && weir_tcp_conn_is_quiet(awake) &&
        (weir_pool_left(pool) > 0 || pool->count_max == 1)) {
        awake->ep->room = ROOM_FOUND; /* whoever comes may have it: see take_awake */
    }
    weir_nsec at = weir_min_u64(weir_min_u64(awake->loss_at, awake->ack_at),
                                weir_min_u64(awake->pace_at, awake->idle_at));
    if (at != awake->timer_at) {
        awake->timer_at = at;
        weir_wheel_arm(awake->ep->wheel, awake->index, at);
    }
}

/* The SYN, or the answer to it, once more. */
static void on_syn_timer(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    weir_nsec limit = ep->config.tuning.connect_timeout;
    if (awake->listener >= 0) {
        limit /= PASSIVE_SHARE;
    }
    awake->loss_at = WEIR_NEVER;
    /* RFC 9293 3.8.3: three minutes at least for a SYN (MUST-23). */
    if (ep->now - awake->syn_at >= limit) {
        weir_tcp_conn_end(awake, awake->is_soft_error ? WEIR_TCP_CAUSE_UNREACHABLE
                                                      : WEIR_TCP_CAUSE_TIMEOUT);
        return;
    }
    weir_tcp_count_up(&awake->rto_shift, RTO_SHIFT_MAX);
    awake->is_syn_wanted = true;
    weir_tcp_ready(awake);
}

static void on_idle_timer(struct awake *awake)
{
    const struct weir_tcp_tuning *tuning = &awake->ep->config.tuning;
    const struct weir_pool *pool = &awake->ep->awakes;
    weir_nsec sleep_at = weir_max_u64(awake->heard_at + tuning->sleep_after, awake->sleep_at);
    /* Who would forget part of what was agreed upon stays awake while half of the control blocks
     * are free: others may have used up the profiles. */
    bool is_exact = weir_pool_left(pool) > pool->count_max / 2;
    if (weir_tcp_conn_is_quiet(awake) && awake->ep->now >= sleep_at &&
        weir_tcp_conn_sleep(awake, is_exact)) {
        return;
    }
    if (tuning->keepalive == 0 ||
        awake->ep->now <
            awake->heard_at + tuning->keepalive + awake->keepalives * tuning->keepalive_interval) {
        return; /* it was quiet when the timer was set */
    }
    /* RFC 9293 3.8.4: not on the first one unanswered (MUST-27). */
    if (awake->keepalives >= tuning->keepalive_probes) {
        weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_TIMEOUT);
        return;
    }
    awake->keepalives++;
    awake->is_keepalive_wanted = true;
    weir_tcp_ready(awake);
}

static void on_timer(struct awake *awake)
{
    weir_nsec now = awake->ep->now;
    awake->timer_at = WEIR_NEVER;
    if (awake->ack_at <= now) {
        awake->ack_at = WEIR_NEVER;
        awake->is_ack_wanted = true;
        weir_tcp_ready(awake);
    }
    if (awake->pace_at <= now) {
        awake->pace_at = WEIR_NEVER;
        weir_tcp_ready(awake);
    }
    if (awake->loss_at <= now) {
        if (weir_tcp_is_synchronized(awake)) {
            weir_tcp_loss_on_timer(awake);
        } else {
            on_syn_timer(awake);
        }
    }
    if (awake->conn != NULL && awake->idle_at <= now) {
        on_idle_timer(awake);
    }
    if (awake->conn != NULL) {
        weir_tcp_set_timer(awake);
    }
}

/* --- the sweep -------------------------------------------------------------------------------- */

static weir_nsec sweep_period(const struct weir_tcp *ep)
{
    const struct weir_tcp_tuning *tuning = &ep->config.tuning;
    return weir_max_u64(tuning->time_wait / AGES, sweep_period_min);
}

void weir_tcp_sweep_plan(struct weir_tcp *ep)
{
    if (ep->sweep_at == WEIR_NEVER) {
        uint32_t parts = weir_tcp_index_max(ep) / SWEEP_SLOTS + 1;
        ep->sweep_period = sweep_period(ep);
        ep->sweep_at = ep->now + ep->sweep_period / parts;
    }
}

/* How far FIN-WAIT-2 counts down in this sweep: its steps are longer or shorter than the period. A
 * connection sees part of its first one only, so all but that one make up fin_timeout. */
static uint64_t fin_steps(const struct weir_tcp *ep)
{
    weir_nsec step = ep->config.tuning.fin_timeout / (CODE_FIN_WAIT_NEW - CODE_FIN_WAIT - 1);
    uint64_t sweeps = ep->sweeps;
    step = weir_max_u64(step, 1);
    return (sweeps + 1) * ep->sweep_period / step - sweeps * ep->sweep_period / step;
}

static void look_at_age(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    const struct weir_tcp_tuning *tuning = &ep->config.tuning;
    uint8_t *age = &ep->ages[weir_tcp_index(ep, conn)];
    weir_tcp_count_up(age, UINT8_MAX);
    if (tuning->keepalive == 0 || *age * ep->sweep_period < tuning->keepalive) {
        return;
    }
    struct awake *awake = weir_tcp_conn_wake(ep, conn);
    if (awake != NULL) { /* else all are busy: the next sweep comes */
        awake->heard_at = ep->now - weir_min_u64(tuning->keepalive, ep->now);
        awake->keepalives = 1;
        awake->is_keepalive_wanted = true;
        weir_tcp_ready(awake);
        weir_tcp_set_timer(awake);
    }
}

static void look_at(struct weir_tcp *ep, struct weir_tcp_conn *conn)
{
    struct record *record = weir_tcp_record(ep, conn);
    if (record->code == CODE_AWAKE) {
        return;
    }
    if (record->code <= CODE_TIME_WAIT_NEW) {
        if (record->code == CODE_TIME_WAIT) {
            weir_tcp_record_free(ep, conn);
        } else {
            record->code--;
        }
        return;
    }
    if (record->code <= CODE_FIN_WAIT_NEW) {
        uint64_t steps = fin_steps(ep);
        if (record->code > CODE_FIN_WAIT + steps) {
            record->code = (uint8_t)(record->code - steps);
            return;
        }
        record->code = CODE_FIN_WAIT; /* it stays due while all are busy */
        struct awake *awake = weir_tcp_conn_wake(ep, conn);
        if (awake != NULL) {
            weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_TIMEOUT);
        }
        return;
    }
    if (ep->ages != NULL) {
        look_at_age(ep, conn);
    }
}

/* The first entry at or after the place, in one table or the other. */
static struct weir_tcp_conn *walk(struct weir_tcp *ep)
{
    uint64_t slots4 = ep->slots4;
    struct weir_tcp_conn *conn = NULL;
    if (ep->sweep_place < slots4) {
        conn = weir_table_walk(&ep->tables[0], &ep->sweep_place);
    }
    if (conn == NULL) {
        uint64_t at = ep->sweep_place - slots4;
        conn = weir_table_walk(&ep->tables[1], &at);
        ep->sweep_place = slots4 + at;
    }
    return conn;
}

static void sweep(struct weir_tcp *ep)
{
    uint64_t end = ep->sweep_place + SWEEP_SLOTS;
    struct weir_tcp_conn *conn;
    while (ep->sweep_place < end && (conn = walk(ep)) != NULL) {
        look_at(ep, conn);
    }
    if (ep->sweep_place >= weir_tcp_index_max(ep)) {
        ep->sweep_place = 0;
        ep->sweeps++;
    }
    ep->sweep_at = WEIR_NEVER;
    if (ep->stats.connections > 0) {
        weir_tcp_sweep_plan(ep);
    }
}

/* --- verbs ------------------------------------------------------------------------------------ */

void weir_tcp_timeout(struct weir_tcp *ep, weir_nsec now)
{
    uint32_t index;
    weir_tcp_set_now(ep, now);
    weir_wheel_advance(ep->wheel, ep->now);
    while ((index = weir_wheel_expired(ep->wheel)) != WEIR_WHEEL_NONE) {
        on_timer(weir_pool_at(&ep->awakes, index));
    }
    if (ep->sweep_at <= ep->now) {
        sweep(ep);
    }
}

weir_nsec weir_tcp_next_timeout(const struct weir_tcp *ep)
{
    if (ep->ready.first != LIST_END || ep->events.first != LIST_END || ep->done_first != NULL ||
        ep->reply_count > 0 || ep->room == ROOM_FOUND) {
        return ep->now; /* output and event have something */
    }
    return weir_min_u64(weir_wheel_next(ep->wheel), ep->sweep_at);
}
