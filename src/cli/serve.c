/* SPDX-License-Identifier: MIT */
/*
 * serve.c - the events of connections, the input of requests, and how connections end.
 */
#include "cli/serve.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve_internal.h"

enum {
    REQUESTS_MAX_DEFAULT = 4096,
    REQUESTS_MAX = 65536,
    MEMORY_BYTES_DEFAULT = 64 << 20,
    MEMORY_BYTES_MIN = 1 << 20,
    HEAD_BYTES_DEFAULT = 8192,
    HEAD_BYTES_MIN = 512,
    HEAD_BYTES_MAX = 65536
};

/* RFC 9112 9.6: so long a client that goes on sending after our side is closed is listened to, lest
 * a reset destroys the answer on its way. */
static const weir_nsec linger = 5 * WEIR_SEC;

void cli_serve_config_default(struct cli_serve_config *config)
{
    *config = (struct cli_serve_config){.root_fd = -1,
                                        .log_fd = -1,
                                        .requests_max = REQUESTS_MAX_DEFAULT,
                                        .memory_bytes = MEMORY_BYTES_DEFAULT,
                                        .head_bytes_max = HEAD_BYTES_DEFAULT,
                                        .head_timeout = 30 * WEIR_SEC,
                                        .stall_timeout = 60 * WEIR_SEC};
}

static bool is_within_bounds(const struct cli_serve_config *config)
{
    return config->requests_max > 0 && config->requests_max <= REQUESTS_MAX &&
           config->memory_bytes >= MEMORY_BYTES_MIN && config->head_bytes_max >= HEAD_BYTES_MIN &&
           config->head_bytes_max <= HEAD_BYTES_MAX && config->head_timeout > 0 &&
           config->stall_timeout > 0;
}

struct cli_serve *cli_serve_open(const struct cli_serve_config *config, weir_nsec now)
{
    if (!is_within_bounds(config)) {
        return NULL;
    }
    struct cli_serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL) {
        return NULL;
    }
    serve->config = *config;
    serve->now = now;
    if (!cli_slots_open(serve) || !cli_idle_open(serve)) {
        cli_idle_close(serve);
        cli_slots_close(serve);
        free(serve);
        return NULL;
    }
    return serve;
}

static void drop_held(struct cli_serve *serve, struct cli_slot *slot)
{
    if (slot->is_held) {
        weir_slide_drop(serve->config.slide, &slot->hold);
        slot->is_held = false;
    }
}

/* Files and held input of a slot whose connection is over. */
static void drop_all(struct cli_serve *serve, struct cli_slot *slot)
{
    drop_held(serve, slot);
    cli_put_drop(slot);
    if (slot->fd >= 0) {
        (void)close(slot->fd);
        slot->fd = -1;
    }
}

void cli_serve_close(struct cli_serve *serve)
{
    cli_serve_flush_log(serve);
    struct weir_link *link = serve->active.head.next;
    while (link != &serve->active.head) {
        drop_all(serve, WEIR_CONTAINER(link, struct cli_slot, active));
        link = link->next;
    }
    cli_idle_close(serve);
    cli_slots_close(serve);
    free(serve);
}

void cli_serve_stop(struct cli_serve *serve)
{
    serve->is_stopping = true;
}

const struct cli_serve_stats *cli_serve_stats(const struct cli_serve *serve)
{
    return &serve->stats;
}

/* --- ends ------------------------------------------------------------------------------------- */

void cli_serve_progress(struct cli_serve *serve, struct cli_slot *slot)
{
    slot->deadline = serve->now + serve->config.stall_timeout;
}

void cli_serve_finish(struct cli_serve *serve, struct cli_slot *slot)
{
    slot->state = CLI_SLOT_CLOSING;
    slot->deadline = serve->now + (slot->chunks > 0 ? serve->config.stall_timeout : linger);
    if (weir_tcp_close(serve->config.tcp, slot->conn) != WEIR_OK) {
        cli_serve_abort(serve, slot);
    }
}

void cli_serve_abort(struct cli_serve *serve, struct cli_slot *slot)
{
    drop_all(serve, slot);
    slot->state = CLI_SLOT_CLOSING;
    slot->is_aborting = true;
    slot->deadline = serve->now; /* again, should all control blocks be busy */
    (void)weir_tcp_abort(serve->config.tcp, slot->conn);
}

/* --- input ------------------------------------------------------------------------------------ */

/* RFC 9110 15.5.15, RFC 6585 5: which part of a head is too long. */
static void refuse_head(struct cli_serve *serve, struct cli_slot *slot)
{
    bool has_line = memchr(slot->head, '\n', slot->head_bytes) != NULL;
    struct weir_span line = weir_span_of(slot->head, slot->head_bytes);
    const uint8_t *end = memchr(line.data, '\n', line.length);
    line.length = end != NULL ? (size_t)(end - line.data) : line.length;
    slot->head_bytes = 0;
    slot->is_kept = false;
    slot->is_old = false;
    slot->is_head = false;
    cli_log_remember(serve, slot, line);
    cli_serve_respond_status(serve, slot, has_line ? 431 : 414);
}

/* Gathers a head that comes in pieces, in slot->head. Returns how many bytes of data it took. */
static size_t gather_head(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data)
{
    const size_t known = slot->head_bytes;
    size_t room = serve->config.head_bytes_max - known;
    size_t taken = data.length < room ? data.length : room;
    if (known == 0) {
        slot->deadline = serve->now + serve->config.head_timeout;
    }
    memcpy(slot->head + known, data.data, taken);
    size_t length = cli_http_head_length(slot->head, known + taken, known);
    if (length > 0) {
        slot->head_bytes = 0;
        cli_serve_request(serve, slot, weir_span_of(slot->head, length));
        return length - known;
    }
    slot->head_bytes = (uint32_t)(known + taken);
    if (slot->head_bytes == serve->config.head_bytes_max) {
        refuse_head(serve, slot);
    }
    return taken;
}

static size_t read_head(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data)
{
    if (slot->head_bytes == 0) {
        size_t length = cli_http_head_length(data.data, data.length, 0);
        if (length > 0 && length <= serve->config.head_bytes_max) {
            cli_serve_request(serve, slot, weir_span_of(data.data, length));
            return length;
        }
    }
    return gather_head(serve, slot, data);
}

/* Returns how much was taken: all, unless an answer has to go out first. */
static size_t take_input(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data)
{
    size_t used = 0;
    while (used < data.length) {
        struct weir_span rest = weir_span_of(data.data + used, data.length - used);
        switch (slot->state) {
        case CLI_SLOT_HEAD:
            used += read_head(serve, slot, rest);
            break;
        case CLI_SLOT_BODY:
            used += cli_put_input(serve, slot, rest);
            break;
        case CLI_SLOT_CLOSING:
            slot->discarded_bytes += rest.length;
            return data.length;
        case CLI_SLOT_COMMIT:
        case CLI_SLOT_SENDING:
        default:
            return used;
        }
        if (slot->state == CLI_SLOT_SENDING) {
            cli_serve_pump(serve, slot);
        }
    }
    return used;
}

/* Keeps what an answer has to go out before, and lets nothing more come. */
static void hold_input(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data)
{
    slot->hold_used = 0;
    if (slot->is_held || weir_slide_hold(serve->config.slide, &slot->hold, data) != WEIR_OK) {
        serve->stats.overruns++;
        cli_serve_abort(serve, slot);
        return;
    }
    slot->is_held = true;
    if (weir_tcp_pause(serve->config.tcp, slot->conn, true) != WEIR_OK) {
        cli_serve_abort(serve, slot);
    }
}

static void take_held(struct cli_serve *serve, struct cli_slot *slot)
{
    const struct weir_span span = slot->hold.span;
    slot->hold_used += take_input(
        serve, slot, weir_span_of(span.data + slot->hold_used, span.length - slot->hold_used));
    if (slot->hold_used == span.length && slot->is_held) {
        drop_held(serve, slot);
        if (weir_tcp_pause(serve->config.tcp, slot->conn, false) != WEIR_OK) {
            cli_serve_abort(serve, slot);
        }
    }
}

/* The slot is given back when the connection is idle, or nothing but its end is to come. */
static void settle(struct cli_serve *serve, struct cli_slot *slot)
{
    if (slot->state == CLI_SLOT_HEAD && slot->is_peer_closed && !slot->is_held) {
        cli_serve_finish(serve, slot); /* half a head, too: its rest never comes */
    }
    bool is_idle = slot->state == CLI_SLOT_HEAD && slot->head_bytes == 0 && !slot->is_held;
    bool is_over = slot->state == CLI_SLOT_CLOSING && slot->is_peer_closed && !slot->is_aborting;
    if (slot->chunks == 0 && (is_idle || is_over)) {
        drop_all(serve, slot);
        cli_slot_give(serve, slot);
    }
}

void cli_serve_advance(struct cli_serve *serve, struct cli_slot *slot)
{
    if (slot->state == CLI_SLOT_SENDING) {
        cli_serve_pump(serve, slot);
    }
    if (slot->is_held && slot->state != CLI_SLOT_SENDING && slot->state != CLI_SLOT_COMMIT) {
        take_held(serve, slot);
    }
    settle(serve, slot);
}

/* --- events ----------------------------------------------------------------------------------- */

/* No slot: a fixed answer, copied, and the end. On a connection that we closed before, nothing. */
static void refuse(struct cli_serve *serve, struct weir_tcp_conn *conn)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n";
    enum weir_status status = weir_tcp_send(serve->config.tcp, conn, text, sizeof(text) - 1);
    if (status == WEIR_ERR_CLOSED) {
        return;
    }
    serve->stats.busy++;
    serve->stats.answers[5]++;
    if (status != WEIR_OK || weir_tcp_close(serve->config.tcp, conn) != WEIR_OK) {
        (void)weir_tcp_abort(serve->config.tcp, conn);
    }
}

/* Is it a connection whose slot was given back after our side had closed? */
static bool is_closed_here(const struct cli_serve *serve, const struct weir_tcp_conn *conn)
{
    struct weir_tcp_conn_stats stats;
    weir_tcp_conn_stats(serve->config.tcp, conn, &stats);
    return stats.state != WEIR_TCP_STATE_ESTABLISHED && stats.state != WEIR_TCP_STATE_CLOSE_WAIT;
}

static void on_data(struct cli_serve *serve, struct weir_tcp_conn *conn, struct weir_span data)
{
    struct cli_slot *slot = cli_slot_find(serve, conn);
    if (slot == NULL) {
        if (is_closed_here(serve, conn)) {
            (void)weir_tcp_abort(serve->config.tcp, conn); /* it has had its time */
            return;
        }
        slot = cli_slot_take(serve, conn);
    }
    if (slot == NULL) {
        refuse(serve, conn);
        return;
    }
    size_t used = take_input(serve, slot, data);
    if (used < data.length) {
        hold_input(serve, slot, weir_span_of(data.data + used, data.length - used));
    }
    settle(serve, slot);
}

static void on_parcel_done(struct cli_serve *serve, const struct weir_tcp_event *event)
{
    struct cli_chunk *chunk = event->parcel.parcel->user;
    struct cli_slot *slot = chunk->slot;
    cli_chunk_give(serve, chunk);
    if (slot->is_aborting || event->parcel.outcome == WEIR_OUTCOME_CLOSED) {
        return; /* CLOSED follows */
    }
    if (slot->state != CLI_SLOT_HEAD || slot->head_bytes == 0) {
        cli_serve_progress(serve, slot);
    }
    if (slot->state == CLI_SLOT_CLOSING && slot->chunks == 0) {
        slot->deadline = serve->now + linger;
    }
    cli_serve_advance(serve, slot);
    /* Each takes a chunk, or waits again at the end. */
    for (uint32_t i = serve->starving.count; i > 0 && serve->chunks.used < serve->chunks.count_max;
         i--) {
        slot = WEIR_CONTAINER(serve->starving.head.next, struct cli_slot, starving);
        weir_list_remove(&serve->starving, &slot->starving);
        cli_serve_advance(serve, slot);
    }
}

static void on_peer_closed(struct cli_serve *serve, struct weir_tcp_conn *conn)
{
    struct cli_slot *slot = cli_slot_find(serve, conn);
    if (slot == NULL) {
        if (weir_tcp_close(serve->config.tcp, conn) == WEIR_AGAIN) {
            (void)weir_tcp_abort(serve->config.tcp, conn);
        }
        return;
    }
    slot->is_peer_closed = true;
    if (slot->state == CLI_SLOT_BODY) { /* RFC 9112 8: an incomplete request */
        serve->stats.aborted++;
        cli_put_drop(slot);
        cli_serve_finish(serve, slot);
    }
    settle(serve, slot);
}

static void on_closed(struct cli_serve *serve, struct weir_tcp_conn *conn)
{
    struct cli_slot *slot = cli_slot_find(serve, conn);
    cli_idle_touch(serve, conn, false);
    if (slot == NULL) {
        return;
    }
    if (slot->state != CLI_SLOT_HEAD && slot->state != CLI_SLOT_CLOSING) {
        serve->stats.aborted++;
    }
    if (slot->state == CLI_SLOT_SENDING) {
        cli_log_answer(serve, slot);
    }
    drop_all(serve, slot);
    cli_slot_give(serve, slot);
}

void cli_serve_on_event(struct cli_serve *serve, weir_nsec now, const struct weir_tcp_event *event)
{
    struct cli_slot *slot;
    serve->now = now;
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        serve->stats.connections++;
        cli_idle_touch(serve, event->conn, true);
        break;
    case WEIR_TCP_EVENT_DATA:
        on_data(serve, event->conn, event->data.span);
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        on_parcel_done(serve, event);
        break;
    case WEIR_TCP_EVENT_WRITABLE:
        slot = cli_slot_find(serve, event->conn);
        if (slot != NULL && !slot->is_aborting) {
            cli_serve_advance(serve, slot);
        }
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        on_peer_closed(serve, event->conn);
        break;
    case WEIR_TCP_EVENT_CLOSED:
        on_closed(serve, event->conn);
        break;
    case WEIR_TCP_EVENT_ROOM:
        serve->next_tick = now; /* all that wait are looked at */
        cli_serve_tick(serve, now);
        break;
    case WEIR_TCP_EVENT_URGENT: /* HTTP has no use for it */
    default:
        break;
    }
}
