/* SPDX-License-Identifier: MIT */
/*
 * serve_tick.c - what does not happen in time: heads, bodies, the end of connections, and with an
 * idle timeout the next request.
 *
 * Slots are looked at one by one every quarter of a second. Idle connections are marked with the
 * number of a sweep, eight of which pass in an idle timeout.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "cli/serve_internal.h"

enum {
    SWEEPS = 8
};

static const weir_nsec tick_every = 250 * WEIR_MSEC;

/* --- idle connections ------------------------------------------------------------------------- */

bool cli_idle_open(struct cli_serve *serve)
{
    if (serve->config.idle_timeout == 0) {
        return true;
    }
    const size_t count = serve->idle_max = weir_tcp_index_max(serve->config.tcp);
    serve->idle = weir_mem_map(count * sizeof(void *));
    serve->idle_marks = weir_mem_map(count);
    serve->next_sweep = serve->now + serve->config.idle_timeout / SWEEPS;
    return serve->idle != NULL && serve->idle_marks != NULL;
}

void cli_idle_close(struct cli_serve *serve)
{
    weir_mem_unmap(serve->idle, serve->idle_max * sizeof(void *));
    weir_mem_unmap(serve->idle_marks, serve->idle_max);
}

void cli_idle_touch(struct cli_serve *serve, struct weir_tcp_conn *conn, bool is_open)
{
    if (serve->idle == NULL) {
        return;
    }
    uint32_t index = weir_tcp_index(serve->config.tcp, conn);
    WEIR_ASSERT(index < serve->idle_max);
    serve->idle[index] = is_open ? conn : NULL;
    serve->idle_marks[index] = serve->sweep;
}

/* RFC 9112 9.5: a server may close an idle connection at any time. */
static void sweep(struct cli_serve *serve)
{
    serve->sweep++;
    for (uint32_t i = 0; i < serve->idle_max; i++) {
        struct weir_tcp_conn *conn = serve->idle[i];
        if (conn == NULL || (uint8_t)(serve->sweep - serve->idle_marks[i]) <= SWEEPS) {
            continue;
        }
        if (cli_slot_find(serve, conn) != NULL) {
            serve->idle_marks[i] = serve->sweep; /* has a timeout of its own */
            continue;
        }
        if (weir_tcp_close(serve->config.tcp, conn) == WEIR_AGAIN) {
            serve->idle_marks[i]++; /* all control blocks are busy: in the next sweep */
            continue;
        }
        serve->idle[i] = NULL;
        serve->stats.timeouts++;
    }
}

/* --- slots ------------------------------------------------------------------------------------ */

static void on_deadline(struct cli_serve *serve, struct cli_slot *slot)
{
    switch (slot->state) {
    case CLI_SLOT_CLOSING:
        if (slot->is_aborting || slot->chunks > 0 || slot->discarded_bytes > 0) {
            cli_serve_abort(serve, slot);
            slot->deadline = serve->now + WEIR_SEC;
        } else { /* the rest is between the two TCPs */
            cli_slot_give(serve, slot);
        }
        return;
    case CLI_SLOT_HEAD:
        serve->stats.timeouts++;
        if (slot->head_bytes == 0) {
            cli_serve_abort(serve, slot); /* nothing of the answer is acknowledged any more */
            return;
        }
        slot->head_bytes = 0;
        slot->line_bytes = 0;
        slot->is_kept = false;
        slot->is_head = false;
        slot->is_old = false;
        cli_serve_respond_status(serve, slot, 408); /* RFC 9110 15.5.9 */
        cli_serve_advance(serve, slot);
        return;
    case CLI_SLOT_BODY:
    case CLI_SLOT_COMMIT:
    case CLI_SLOT_SENDING:
    default:
        serve->stats.timeouts++;
        serve->stats.aborted++;
        if (slot->state == CLI_SLOT_SENDING) {
            cli_log_answer(serve, slot);
        }
        cli_serve_abort(serve, slot);
        return;
    }
}

/* Other shards need some microseconds for an upload. */
static void retry_commits(struct cli_serve *serve)
{
    struct weir_link *link = serve->active.head.next;
    serve->commits_count = 0; /* counted again by those that have to wait on */
    while (link != &serve->active.head) {
        struct cli_slot *slot = WEIR_CONTAINER(link, struct cli_slot, active);
        link = link->next; /* slot may be given back */
        if (slot->state == CLI_SLOT_COMMIT) {
            cli_put_commit(serve, slot);
            cli_serve_advance(serve, slot);
        }
    }
}

void cli_serve_tick(struct cli_serve *serve, weir_nsec now)
{
    serve->now = now;
    cli_log_tick(serve);
    if (serve->commits_count > 0 && now >= serve->next_commit) {
        retry_commits(serve);
    }
    if (now >= serve->next_tick) {
        serve->next_tick = now + tick_every;
        struct weir_link *link = serve->active.head.next;
        while (link != &serve->active.head) {
            struct cli_slot *slot = WEIR_CONTAINER(link, struct cli_slot, active);
            link = link->next; /* slot may be given back */
            if (slot->deadline <= now) {
                on_deadline(serve, slot);
            } else if (slot->state == CLI_SLOT_SENDING && slot->chunks == 0) {
                cli_serve_advance(serve, slot); /* all control blocks may have been busy */
            }
        }
    }
    if (serve->idle != NULL && now >= serve->next_sweep) {
        serve->next_sweep = now + serve->config.idle_timeout / SWEEPS;
        sweep(serve);
    }
}

weir_nsec cli_serve_next_tick(const struct cli_serve *serve)
{
    weir_nsec next = serve->active.count > 0 ? serve->next_tick : WEIR_NEVER;
    if (serve->idle != NULL) {
        next = weir_min_u64(next, serve->next_sweep);
    }
    if (serve->commits_count > 0) {
        next = weir_min_u64(next, serve->next_commit);
    }
    if (serve->log_bytes > 0) {
        next = weir_min_u64(next, serve->log_at);
    }
    return next;
}
