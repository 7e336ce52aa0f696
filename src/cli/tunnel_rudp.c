/* SPDX-License-Identifier: MIT */
/*
 * tunnel_rudp.c - weir tunnel over RUDP: each write is one message with the delivery guarantee.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/tunnel_carrier.h"

enum {
    CLOSED_TEXT_BYTES = 256
};

struct rudp_conn {
    struct cli_carrier_conn base;
    struct weir_rudp_conn *conn;
    bool is_written;   /* committed, and the queue has not taken it yet */
    bool is_finishing; /* closed once that is out */
};

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

static struct rudp_conn *conn_of(struct cli_carrier_conn *conn)
{
    return (struct rudp_conn *)(void *)conn;
}

static struct cli_carrier_conn *start(struct cli_carrier *carrier, weir_nsec now,
                                      const struct weir_addr *remote, void *session)
{
    struct cli_carrier_conn *base = cli_carrier_add_conn(carrier, session);
    if (base == NULL) {
        return NULL;
    }
    if (weir_rudp_connect(carrier->engine, now, remote, base, &conn_of(base)->conn) != WEIR_OK) {
        cli_carrier_free_conn(base);
        return NULL;
    }
    return base;
}

/* --- out -------------------------------------------------------------------------------------- */

static enum weir_status reserve(struct cli_carrier_conn *base, uint8_t **room)
{
    struct rudp_conn *conn = conn_of(base);
    return conn->is_written ? WEIR_ERR_FULL
                            : weir_rudp_reserve(conn->conn, CLI_CARRIER_ROOM_BYTES, room);
}

/* False while the queue has no room: WRITABLE follows. Any other failure ends in CLOSED. */
static bool ship(struct rudp_conn *conn)
{
    conn->is_written = weir_rudp_send_written(conn->conn, &delivery) == WEIR_ERR_FULL;
    if (!conn->is_written && conn->is_finishing) {
        weir_rudp_close(conn->conn, 0, "");
    }
    return !conn->is_written;
}

static void commit(struct cli_carrier_conn *base, size_t length)
{
    struct rudp_conn *conn = conn_of(base);
    if (length == 0) {
        weir_rudp_clear_written(conn->conn);
    } else if (weir_rudp_commit(conn->conn, length) == WEIR_OK) {
        (void)ship(conn);
    }
}

static void set_pause(struct cli_carrier_conn *base, bool is_paused)
{
    weir_rudp_pause(conn_of(base)->conn, is_paused);
}

static void finish(struct cli_carrier_conn *base)
{
    struct rudp_conn *conn = conn_of(base);
    conn->is_finishing = true;
    if (!conn->is_written) {
        weir_rudp_close(conn->conn, 0, "");
    }
}

/* CLOSED follows, and frees conn. */
static void cut(struct cli_carrier_conn *base, const char *why)
{
    base->session = NULL;
    weir_rudp_abort(conn_of(base)->conn, 1, why);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_request(struct cli_carrier *carrier, struct weir_rudp_conn *handle)
{
    struct cli_carrier_conn *conn = cli_carrier_add_conn(carrier, NULL);
    if (conn == NULL) {
        weir_rudp_refuse(handle, 1, "this end has no memory");
        return;
    }
    conn_of(conn)->conn = handle;
    weir_rudp_accept(handle, conn); /* on_request may write at once */
    if (!carrier->handlers->on_request(carrier->user, conn)) {
        weir_rudp_abort(handle, 1, "this end takes no more tunnels");
    }
}

/* The fixed part of the sentence for each cause; the peer's own words follow. */
static const char *cause_text(enum weir_rudp_close_cause cause)
{
    static const char *const texts[] = {
        [WEIR_RUDP_CAUSE_LOCAL] = "closed here",
        [WEIR_RUDP_CAUSE_PEER] = "the peer closed the connection",
        [WEIR_RUDP_CAUSE_REFUSED] = "the peer refused the connection",
        [WEIR_RUDP_CAUSE_TIMEOUT] = "the peer does not answer",
        [WEIR_RUDP_CAUSE_VERSION] = "the peer speaks another version of RUDP",
        [WEIR_RUDP_CAUSE_RESET] = "the peer was restarted",
        [WEIR_RUDP_CAUSE_PROTOCOL] = "the peer broke the protocol"};
    size_t index = (size_t)cause;
    bool is_known = index < sizeof(texts) / sizeof(texts[0]) && texts[index] != NULL;
    return is_known ? texts[index] : "closed";
}

static void on_closed(const struct weir_rudp_event *event)
{
    char text[CLOSED_TEXT_BYTES];
    struct rudp_conn *conn = event->closed.user;
    if (conn == NULL) {
        return;
    }
    bool is_failure = event->closed.cause != WEIR_RUDP_CAUSE_LOCAL &&
                      (event->closed.cause != WEIR_RUDP_CAUSE_PEER || event->closed.code != 0);
    if (conn->base.session != NULL) {
        const char *words = event->closed.text;
        bool is_silent = words == NULL || words[0] == 0;
        (void)snprintf(text, sizeof(text), "%s%s%s", cause_text(event->closed.cause),
                       is_silent ? "" : ": ", is_silent ? "" : words);
        conn->base.carrier->handlers->on_closed(conn->base.session, is_failure, text);
    }
    cli_carrier_free_conn(&conn->base);
}

static void on_event(struct cli_carrier *carrier, const struct weir_rudp_event *event)
{
    const struct cli_carrier_handlers *handlers = carrier->handlers;
    if (event->type == WEIR_RUDP_EVENT_REQUEST) {
        on_request(carrier, event->conn);
        return;
    }
    if (event->type == WEIR_RUDP_EVENT_CLOSED) {
        on_closed(event);
        return;
    }
    struct rudp_conn *conn = weir_rudp_user(event->conn);
    if (conn == NULL || conn->base.session == NULL) {
        return;
    }
    if (event->type == WEIR_RUDP_EVENT_OPENED) {
        handlers->on_opened(conn->base.session);
    } else if (event->type == WEIR_RUDP_EVENT_MESSAGE) {
        handlers->on_bytes(conn->base.session, event->message.data);
    } else if (event->type == WEIR_RUDP_EVENT_WRITABLE && (!conn->is_written || ship(conn))) {
        handlers->on_writable(conn->base.session);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct cli_carrier *carrier = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(carrier->engine, &event) == WEIR_OK) {
        on_event(carrier, &event);
    }
    carrier->handlers->on_round(carrier->user);
}

/* --- the engine ------------------------------------------------------------------------------- */

static size_t configure(const struct cli_carrier *carrier, struct cli_carrier_config *config)
{
    struct weir_rudp_config *rudp = &config->rudp;
    rudp->slide = carrier->slide;
    rudp->is_accepting = config->is_accepting;
    if (config->crew != NULL) {
        rudp->route = &config->crew->route;
        rudp->shard = config->shard;
    }
    return weir_rudp_mem_size(rudp);
}

static enum weir_status init(struct cli_carrier *carrier, const struct cli_carrier_config *config,
                             const uint8_t seed[32], weir_nsec now)
{
    struct weir_rudp *rudp = NULL;
    enum weir_status status = weir_rudp_init(carrier->engine_mem, &config->rudp, seed, now, &rudp);
    carrier->engine = rudp;
    return status;
}

const struct cli_carrier_ops cli_carrier_rudp = {.scheme = "rudp",
                                                 .carrier_bytes = sizeof(struct cli_carrier),
                                                 .conn_bytes = sizeof(struct rudp_conn),
                                                 .verbs = weir_rudp_verbs,
                                                 .configure = configure,
                                                 .init = init,
                                                 .on_events = on_events,
                                                 .connect = start,
                                                 .reserve = reserve,
                                                 .commit = commit,
                                                 .pause = set_pause,
                                                 .finish = finish,
                                                 .abort = cut};
