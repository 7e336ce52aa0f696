/* SPDX-License-Identifier: MIT */
/*
 * link_rudp.c - rudp:// for the commands: the engine's own verbs, one to one.
 */
#include "cli/kcp_options.h"
#include "cli/link.h"

static struct weir_rudp *rudp_of(const struct cli_link *link)
{
    return link->engine;
}

/* A cli_conn of this transport is the engine's handle under another name. */
static struct weir_rudp_conn *conn_of(struct cli_conn *conn)
{
    return (struct weir_rudp_conn *)(void *)conn;
}

static struct cli_conn *conn_from(struct weir_rudp_conn *conn)
{
    return (struct cli_conn *)(void *)conn;
}

static void configure(const struct cli_link_options *options, struct weir_rudp_config *config)
{
    weir_rudp_config_default(config);
    config->is_accepting = options->is_accepting;
    config->connections_max = options->connections_max;
    config->awake_max = options->awake_max;
    config->channels_max = options->channels_max;
    config->cc = options->cc;
    config->connect_timeout = options->connect_timeout;
    config->dead_timeout = options->dead_timeout;
    config->idle_timeout = options->idle_timeout;
    config->heartbeat = options->heartbeat;
    if (options->message_bytes_max != 0) {
        config->message_bytes_max = options->message_bytes_max;
    }
    if (options->receive_window_bytes != 0) {
        config->receive_window_bytes = options->receive_window_bytes;
    }
    if (options->send_queue_bytes != 0) {
        config->send_queue_bytes = options->send_queue_bytes;
    }
    if (options->kcp->mtu_bytes != 0) {
        config->mtu_bytes_max = (uint16_t)options->kcp->mtu_bytes;
    }
}

static bool open_rudp(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_rudp_config config;
    struct weir_rudp *rudp = NULL;
    uint8_t seed[32];
    configure(options, &config);
    config.slide = link->slide;
    if (link->crew != NULL) {
        config.route = &link->crew->route;
        config.shard = link->shard;
    }
    link->engine_mem_bytes = weir_rudp_mem_size(&config);
    if (link->engine_mem_bytes == 0 || weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    link->engine_mem = weir_mem_map(link->engine_mem_bytes);
    if (link->engine_mem == NULL ||
        weir_rudp_init(link->engine_mem, &config, seed, cli_link_now(link), &rudp) != WEIR_OK) {
        return false;
    }
    link->engine = rudp;
    link->message_bytes_max = WEIR_RUDP_MESSAGE_BYTES_MAX;
    cli_link_attach(link, rudp, weir_rudp_verbs());
    return true;
}

static void close_rudp(struct cli_link *link)
{
    link->engine = NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

static enum cli_cause cause_of(enum weir_rudp_close_cause cause)
{
    static const enum cli_cause causes[] = {[WEIR_RUDP_CAUSE_LOCAL] = CLI_CAUSE_LOCAL,
                                            [WEIR_RUDP_CAUSE_PEER] = CLI_CAUSE_PEER,
                                            [WEIR_RUDP_CAUSE_REFUSED] = CLI_CAUSE_REFUSED,
                                            [WEIR_RUDP_CAUSE_TIMEOUT] = CLI_CAUSE_TIMEOUT,
                                            [WEIR_RUDP_CAUSE_VERSION] = CLI_CAUSE_VERSION,
                                            [WEIR_RUDP_CAUSE_RESET] = CLI_CAUSE_RESET,
                                            [WEIR_RUDP_CAUSE_PROTOCOL] = CLI_CAUSE_PROTOCOL};

    return causes[cause];
}

/* False: of no use to the commands. */
static bool translate(const struct weir_rudp_event *from, struct cli_event *event)
{
    event->conn = conn_from(from->conn);
    switch (from->type) {
    case WEIR_RUDP_EVENT_REQUEST:
        event->type = CLI_EVENT_REQUEST;
        return true;
    case WEIR_RUDP_EVENT_OPENED:
        event->type = CLI_EVENT_OPENED;
        return true;
    case WEIR_RUDP_EVENT_MESSAGE:
        event->type = CLI_EVENT_MESSAGE;
        event->message.data = from->message.data;
        event->message.channel = from->message.channel;
        event->message.guarantee = from->message.guarantee;
        return true;
    case WEIR_RUDP_EVENT_PARCEL_DONE:
        event->type = CLI_EVENT_PARCEL_DONE;
        event->parcel.parcel = from->parcel.parcel;
        event->parcel.outcome = from->parcel.outcome;
        return true;
    case WEIR_RUDP_EVENT_WRITABLE:
        event->type = CLI_EVENT_WRITABLE;
        return true;
    case WEIR_RUDP_EVENT_CLOSED:
        event->type = CLI_EVENT_CLOSED;
        event->closed.cause = cause_of(from->closed.cause);
        event->closed.code = from->closed.code;
        event->closed.text = from->closed.text;
        event->closed.user = from->closed.user;
        return true;
    case WEIR_RUDP_EVENT_MOVED:
    default:
        return false;
    }
}

static enum weir_status event_rudp(struct cli_link *link, struct cli_event *event)
{
    struct weir_rudp_event from;
    enum weir_status status = weir_rudp_event(rudp_of(link), &from);
    while (status == WEIR_OK && !translate(&from, event)) {
        status = weir_rudp_event(rudp_of(link), &from);
    }
    return status;
}

/* --- verbs ------------------------------------------------------------------------------------ */

static enum weir_status connect_rudp(struct cli_link *link, const struct weir_addr *remote,
                                     void *user, struct cli_conn **conn)
{
    struct weir_rudp_conn *made = NULL;
    enum weir_status status =
        weir_rudp_connect(rudp_of(link), cli_link_now(link), remote, user, &made);
    *conn = conn_from(made);
    return status;
}

static void accept_rudp(struct cli_link *link, struct cli_conn *conn, void *user)
{
    (void)link;
    weir_rudp_accept(conn_of(conn), user);
}

static void refuse_rudp(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                        const char *text)
{
    (void)link;
    weir_rudp_refuse(conn_of(conn), code, text);
}

static void end_rudp(struct cli_link *link, struct cli_conn *conn, uint32_t code, const char *text,
                     bool is_abort)
{
    (void)link;
    if (is_abort) {
        weir_rudp_abort(conn_of(conn), code, text);
    } else {
        weir_rudp_close(conn_of(conn), code, text);
    }
}

static enum weir_status send_rudp(struct cli_link *link, struct cli_conn *conn,
                                  const struct weir_rudp_send *how, const void *data, size_t length)
{
    (void)link;
    return weir_rudp_send(conn_of(conn), how, data, length);
}

static enum weir_status send_parcel_rudp(struct cli_link *link, struct cli_conn *conn,
                                         const struct weir_rudp_send *how,
                                         struct weir_parcel *parcel)
{
    (void)link;
    return weir_rudp_send_parcel(conn_of(conn), how, parcel);
}

static void pause_rudp(struct cli_link *link, struct cli_conn *conn, bool is_paused)
{
    (void)link;
    weir_rudp_pause(conn_of(conn), is_paused);
}

static void *user_rudp(struct cli_link *link, struct cli_conn *conn)
{
    (void)link;
    return weir_rudp_user(conn_of(conn));
}

static struct weir_addr remote_rudp(struct cli_link *link, struct cli_conn *conn)
{
    (void)link;
    return weir_rudp_path(conn_of(conn))->remote;
}

static void conn_stats_rudp(struct cli_link *link, struct cli_conn *conn,
                            struct cli_conn_stats *stats)
{
    struct weir_rudp_conn_stats from;
    (void)link;
    weir_rudp_conn_stats(conn_of(conn), &from);
    *stats = (struct cli_conn_stats){.rtt = from.rtt,
                                     .rtt_min = from.rtt_min,
                                     .packets_sent = from.packets_sent,
                                     .packets_received = from.packets_received,
                                     .packets_lost = from.packets_lost,
                                     .bytes_resent = from.bytes_resent,
                                     .queued_bytes = from.queued_bytes,
                                     .mtu_bytes = from.mtu_bytes};
}

static void stats_rudp(struct cli_link *link, struct cli_link_stats *stats)
{
    const struct weir_rudp_stats *from = weir_rudp_stats(rudp_of(link));
    *stats = (struct cli_link_stats){.connections = from->connections,
                                     .packets_sent = from->packets_sent,
                                     .packets_received = from->packets_received};
}

const struct cli_link_ops cli_link_rudp = {.scheme = "rudp",
                                           .open = open_rudp,
                                           .close = close_rudp,
                                           .event = event_rudp,
                                           .connect = connect_rudp,
                                           .accept = accept_rudp,
                                           .refuse = refuse_rudp,
                                           .end = end_rudp,
                                           .send = send_rudp,
                                           .send_parcel = send_parcel_rudp,
                                           .pause = pause_rudp,
                                           .user = user_rudp,
                                           .remote = remote_rudp,
                                           .conn_stats = conn_stats_rudp,
                                           .stats = stats_rudp};
