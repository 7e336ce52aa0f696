/* SPDX-License-Identifier: MIT */
/*
 * tunnel_own_tcp.c - weir tunnel over weir's own TCP: a connection is the session's stream.
 *
 * Memory: one room for a write in each connection, sent with a copy.
 */

#include "cli/cli.h"
#include "cli/tunnel_carrier.h"

struct tcp_carrier {
    struct cli_carrier base;
    const struct cli_net_options *net;
};

struct tcp_conn {
    struct cli_carrier_conn base;
    struct weir_tcp_conn *conn;
    size_t written;    /* bytes of the room that the queue has not taken yet */
    bool is_finishing; /* closed once those are out */
    bool is_fin;       /* it is */
    uint8_t room[CLI_CARRIER_ROOM_BYTES];
};

static struct tcp_conn *conn_of(struct cli_carrier_conn *conn)
{
    return (struct tcp_conn *)(void *)conn;
}

static struct tcp_carrier *carrier_of(struct cli_carrier *carrier)
{
    return (struct tcp_carrier *)(void *)carrier;
}

static struct cli_carrier_conn *start(struct cli_carrier *carrier, weir_nsec now,
                                      const struct weir_addr *remote, void *session)
{
    struct weir_path path = {.remote = *remote};
    struct cli_carrier_conn *base = cli_carrier_add_conn(carrier, session);
    if (base == NULL) {
        return NULL;
    }
    if (!cli_net_source(carrier_of(carrier)->net, remote, &path.local) ||
        weir_tcp_connect(carrier->engine, now, &path, base, &conn_of(base)->conn) != WEIR_OK) {
        cli_carrier_free_conn(base);
        return NULL;
    }
    return base;
}

/* --- out -------------------------------------------------------------------------------------- */

static struct weir_tcp *tcp_of(const struct tcp_conn *conn)
{
    return conn->base.carrier->engine;
}

static enum weir_status reserve(struct cli_carrier_conn *base, uint8_t **room)
{
    struct tcp_conn *conn = conn_of(base);
    *room = conn->room;
    return conn->written > 0 ? WEIR_ERR_FULL : WEIR_OK;
}

/* False while the queue has no room: WRITABLE follows. Any other failure ends in CLOSED. */
static bool ship(struct tcp_conn *conn)
{
    if (conn->written > 0) {
        enum weir_status status =
            weir_tcp_send(tcp_of(conn), conn->conn, conn->room, conn->written);
        if (status == WEIR_ERR_FULL || status == WEIR_AGAIN) {
            return false;
        }
        conn->written = 0;
    }
    if (conn->is_finishing && !conn->is_fin) {
        conn->is_fin = weir_tcp_close(tcp_of(conn), conn->conn) != WEIR_AGAIN;
    }
    return true;
}

static void commit(struct cli_carrier_conn *base, size_t length)
{
    conn_of(base)->written = length;
    (void)ship(conn_of(base));
}

static void set_pause(struct cli_carrier_conn *base, bool is_paused)
{
    struct tcp_conn *conn = conn_of(base);
    (void)weir_tcp_pause(tcp_of(conn), conn->conn, is_paused);
}

static void finish(struct cli_carrier_conn *base)
{
    conn_of(base)->is_finishing = true;
    (void)ship(conn_of(base));
}

/* CLOSED follows, and frees conn. */
static void cut(struct cli_carrier_conn *base, const char *why)
{
    struct tcp_conn *conn = conn_of(base);
    (void)why; /* a reset has no words */
    base->session = NULL;
    conn->written = 0;
    if (weir_tcp_abort(tcp_of(conn), conn->conn) != WEIR_OK) {
        conn->is_finishing = true;
        (void)ship(conn);
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_request(struct cli_carrier *carrier, struct weir_tcp_conn *handle)
{
    struct weir_tcp *tcp = carrier->engine;
    struct cli_carrier_conn *conn = cli_carrier_add_conn(carrier, NULL);
    if (conn == NULL) {
        (void)weir_tcp_abort(tcp, handle);
        return;
    }
    conn_of(conn)->conn = handle;
    weir_tcp_set_user(tcp, handle, conn);
    if (!carrier->handlers->on_request(carrier->user, conn)) {
        (void)weir_tcp_abort(tcp, handle);
        return;
    }
    carrier->handlers->on_opened(conn->session);
}

static const char *text_of_cause(enum weir_tcp_close_cause cause)
{
    switch (cause) {
    case WEIR_TCP_CAUSE_RESET:
        return "the connection was reset by the peer";
    case WEIR_TCP_CAUSE_REFUSED:
        return "the peer refused the connection: nobody listens at that port";
    case WEIR_TCP_CAUSE_UNREACHABLE:
        return "the network says that the peer cannot be reached";
    case WEIR_TCP_CAUSE_TIMEOUT:
        return "the peer does not answer";
    case WEIR_TCP_CAUSE_DONE:
    case WEIR_TCP_CAUSE_ABORTED:
    default:
        return "closed";
    }
}

static void on_closed(const struct weir_tcp_event *event)
{
    struct tcp_conn *conn = event->closed.user;
    if (conn == NULL) {
        return;
    }
    if (conn->base.session != NULL) {
        const bool is_failure = event->closed.cause != WEIR_TCP_CAUSE_DONE;
        conn->base.carrier->handlers->on_closed(conn->base.session, is_failure,
                                                text_of_cause(event->closed.cause));
    }
    cli_carrier_free_conn(&conn->base);
}

/* Control blocks are there again. */
static void ship_all(struct cli_carrier *carrier)
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&carrier->conns); link != NULL; link = next) {
        struct tcp_conn *conn = conn_of(WEIR_CONTAINER(link, struct cli_carrier_conn, link));
        next = weir_list_next(&carrier->conns, link);
        bool was_full = conn->written > 0;
        if (ship(conn) && was_full && conn->base.session != NULL) {
            carrier->handlers->on_writable(conn->base.session);
        }
    }
}

static void on_event(struct cli_carrier *carrier, const struct weir_tcp_event *event)
{
    const struct cli_carrier_handlers *handlers = carrier->handlers;
    if (event->type == WEIR_TCP_EVENT_OPENED && event->opened.listener >= 0) {
        on_request(carrier, event->conn);
        return;
    }
    if (event->type == WEIR_TCP_EVENT_CLOSED) {
        on_closed(event);
        return;
    }
    if (event->type == WEIR_TCP_EVENT_ROOM) {
        ship_all(carrier);
        return;
    }
    struct tcp_conn *conn = weir_tcp_user(carrier->engine, event->conn);
    if (conn == NULL) {
        return;
    }
    if (event->type == WEIR_TCP_EVENT_PEER_CLOSED) {
        finish(&conn->base);
    }
    if (conn->base.session == NULL) {
        return;
    }
    if (event->type == WEIR_TCP_EVENT_OPENED) {
        handlers->on_opened(conn->base.session);
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        handlers->on_bytes(conn->base.session, event->data.span);
    } else if (event->type == WEIR_TCP_EVENT_WRITABLE && ship(conn)) {
        handlers->on_writable(conn->base.session);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct cli_carrier *carrier = user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(carrier->engine, &event) == WEIR_OK) {
        on_event(carrier, &event);
    }
    carrier->handlers->on_round(carrier->user);
}

/* --- the engine ------------------------------------------------------------------------------- */

static size_t configure(const struct cli_carrier *carrier, struct cli_carrier_config *config)
{
    struct weir_tcp_config *tcp = &config->tcp;
    tcp->slide = carrier->slide;
    tcp->mtu_bytes = cli_net_mtu_bytes(
        config->net, carrier->driver != NULL ? carrier->driver : config->crew->queues[0]);
    return weir_tcp_mem_size(tcp);
}

static enum weir_status init(struct cli_carrier *carrier, const struct cli_carrier_config *config,
                             const uint8_t seed[32], weir_nsec now)
{
    struct weir_tcp *tcp = NULL;
    int listener = 0;
    enum weir_status status = weir_tcp_init(carrier->engine_mem, &config->tcp, seed, now, &tcp);
    carrier->engine = tcp;
    carrier_of(carrier)->net = config->net;
    return status == WEIR_OK && config->is_accepting
               ? weir_tcp_listen(tcp, &config->bind, &listener)
               : status;
}

const struct cli_carrier_ops cli_carrier_tcp = {.scheme = "tcp",
                                                .is_ip = true,
                                                .carrier_bytes = sizeof(struct tcp_carrier),
                                                .conn_bytes = sizeof(struct tcp_conn),
                                                .verbs = weir_tcp_verbs,
                                                .configure = configure,
                                                .init = init,
                                                .on_events = on_events,
                                                .connect = start,
                                                .reserve = reserve,
                                                .commit = commit,
                                                .pause = set_pause,
                                                .finish = finish,
                                                .abort = cut};
