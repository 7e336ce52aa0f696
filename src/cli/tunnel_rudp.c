/* SPDX-License-Identifier: MIT */
/*
 * tunnel_rudp.c - weir tunnel over RUDP: each write is one message with the delivery guarantee.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "cli/cli.h"
#include "cli/tunnel_carrier.h"

enum {
    CLOSED_TEXT_BYTES = 256
};

struct rudp_carrier {
    struct cli_carrier base;
    struct weir_rudp *rudp;
    struct weir_list conns;
};

struct rudp_conn {
    struct cli_carrier_conn base;
    struct weir_link link;
    struct weir_rudp_conn *conn;
    bool is_written;   /* committed, and the queue has not taken it yet */
    bool is_finishing; /* closed once that is out */
};

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

static struct rudp_conn *conn_of(struct cli_carrier_conn *conn)
{
    return (struct rudp_conn *)(void *)conn;
}

static struct rudp_carrier *carrier_of(struct cli_carrier *carrier)
{
    return (struct rudp_carrier *)(void *)carrier;
}

static struct rudp_conn *make_conn(struct cli_carrier *carrier, void *session)
{
    struct rudp_conn *made = calloc(1, sizeof(*made));
    if (made != NULL) {
        made->base = (struct cli_carrier_conn){.carrier = carrier, .session = session};
        weir_list_append(&carrier_of(carrier)->conns, &made->link);
    }
    return made;
}

static void free_conn(struct rudp_conn *conn)
{
    weir_list_remove(&carrier_of(conn->base.carrier)->conns, &conn->link);
    free(conn);
}

static struct cli_carrier_conn *start(struct cli_carrier *carrier, weir_nsec now,
                                      const struct weir_addr *remote, void *session)
{
    struct rudp_conn *conn = make_conn(carrier, session);
    if (conn == NULL) {
        return NULL;
    }
    if (weir_rudp_connect(carrier_of(carrier)->rudp, now, remote, conn, &conn->conn) != WEIR_OK) {
        free_conn(conn);
        return NULL;
    }
    return &conn->base;
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
    struct rudp_conn *conn = make_conn(carrier, NULL);
    if (conn == NULL) {
        weir_rudp_refuse(handle, 1, "this end has no memory");
        return;
    }
    conn->conn = handle;
    weir_rudp_accept(handle, conn); /* on_request may write at once */
    if (!carrier->handlers->on_request(carrier->user, &conn->base)) {
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
    free_conn(conn);
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
    while (weir_rudp_event(carrier_of(carrier)->rudp, &event) == WEIR_OK) {
        on_event(carrier, &event);
    }
    carrier->handlers->on_round(carrier->user);
}

/* --- open and close --------------------------------------------------------------------------- */

static void close_carrier(struct cli_carrier *carrier)
{
    struct rudp_carrier *rudp = carrier_of(carrier);
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&rudp->conns); link != NULL; link = next) {
        next = weir_list_next(&rudp->conns, link);
        free(WEIR_CONTAINER(link, struct rudp_conn, link));
    }
    cli_carrier_fini(carrier);
    free(rudp);
}

static bool open_engine(struct rudp_carrier *carrier, const struct cli_carrier_config *config)
{
    struct weir_rudp_config rudp = config->rudp;
    uint8_t seed[32];
    rudp.slide = carrier->base.slide;
    rudp.is_accepting = config->is_accepting;
    if (!cli_carrier_alloc(&carrier->base, weir_rudp_mem_size(&rudp), seed)) {
        return false;
    }
    if (weir_rudp_init(carrier->base.engine_mem, &rudp, seed, weir_loop_now(carrier->base.loop),
                       &carrier->rudp) != WEIR_OK) {
        cli_fail(CLI_FAILED, "RUDP cannot be started with these options");
        return false;
    }
    weir_loop_attach(carrier->base.loop, carrier->rudp, weir_rudp_verbs(), on_events, carrier);
    return true;
}

static struct cli_carrier *open_carrier(const struct cli_carrier_config *config)
{
    struct rudp_carrier *carrier = calloc(1, sizeof(*carrier));
    if (carrier == NULL) {
        cli_fail(CLI_FAILED, "out of memory");
        return NULL;
    }
    weir_list_init(&carrier->conns);
    if (!cli_carrier_init(&carrier->base, &cli_carrier_rudp, config) ||
        !open_engine(carrier, config)) {
        close_carrier(&carrier->base);
        return NULL;
    }
    return &carrier->base;
}

const struct cli_carrier_ops cli_carrier_rudp = {.scheme = "rudp",
                                                 .open = open_carrier,
                                                 .close = close_carrier,
                                                 .connect = start,
                                                 .reserve = reserve,
                                                 .commit = commit,
                                                 .pause = set_pause,
                                                 .finish = finish,
                                                 .abort = cut};
