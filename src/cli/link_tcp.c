/* SPDX-License-Identifier: MIT */
/*
 * link_tcp.c - tcp:// for the commands: connections and messages over weir's own TCP and IP.
 *
 * Memory: one struct cli_tcp, and on its own heap one struct cli_tcp_conn for each connection; the
 * engine's block is the link's.
 */
#include "cli/link_tcp.h"

#include <stdlib.h>
#include <string.h>

#include "cli/kcp_options.h"

enum {
    ROLE_CONNECTS = 0,
    ROLE_ACCEPTS = 1,
    CONNECTIONS_SPARE = 64, /* those ending, and TIME-WAIT */
    AWAKE_SPARE = 16,
    KEEPALIVE_PROBES = 3,
    PORT_EPHEMERAL = 49152
};

struct cli_tcp *cli_tcp_of(const struct cli_link *link)
{
    return link->engine;
}

static struct cli_tcp_conn *conn_of(struct cli_conn *conn)
{
    return (struct cli_tcp_conn *)(void *)conn;
}

static struct cli_conn *conn_from(struct cli_tcp_conn *conn)
{
    return (struct cli_conn *)(void *)conn;
}

enum weir_status cli_tcp_status(struct cli_tcp *tcp, struct cli_tcp_conn *conn,
                                enum weir_status status)
{
    if (status != WEIR_AGAIN) {
        return status;
    }
    if (!weir_link_is_linked(&conn->wanting)) {
        weir_list_append(&tcp->wanting, &conn->wanting);
    }
    conn->is_refused = true;
    tcp->is_room = false; /* the engine says when there is */
    return WEIR_ERR_FULL;
}

/* --- the engine's verbs, with the link's own times -------------------------------------------- */

static void input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    const struct cli_tcp *tcp = endpoint;
    weir_tcp_input(tcp->engine, now, packets, count);
}

static void timeout(void *endpoint, weir_nsec now)
{
    const struct cli_tcp *tcp = endpoint;
    weir_tcp_timeout(tcp->engine, now);
}

static weir_nsec next_timeout(const void *endpoint)
{
    const struct cli_tcp *tcp = endpoint;
    weir_nsec next = weir_tcp_next_timeout(tcp->engine);
    bool is_watching = !weir_list_is_empty(&tcp->timed) && tcp->check_at < next;
    return is_watching ? tcp->check_at : next;
}

static enum weir_status output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    const struct cli_tcp *tcp = endpoint;
    return weir_tcp_output(tcp->engine, now, tx);
}

static void figures(const void *endpoint, struct weir_figures *figures)
{
    const struct cli_tcp *tcp = endpoint;
    weir_tcp_verbs()->figures(tcp->engine, figures);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool has_family(const struct cli_net_options *net, uint8_t family)
{
    for (uint32_t i = 0; i < net->address_count; i++) {
        if (net->addresses[i].addr.family == family) {
            return true;
        }
    }
    return false;
}

static void tune(const struct cli_link_options *options, struct weir_tcp_tuning *tuning)
{
    weir_nsec beat = options->heartbeat != 0 ? options->heartbeat : options->idle_timeout / 4;
    tuning->is_nodelay = true; /* a message is the command's choice of when to send */
    tuning->connect_timeout = options->connect_timeout;
    tuning->user_timeout = options->dead_timeout;
    tuning->fin_timeout = options->dead_timeout;
    /* A peer that is gone without a word is noticed after a heartbeat and so many probes. */
    tuning->keepalive = tuning->keepalive_interval = beat;
    tuning->keepalive_probes = KEEPALIVE_PROBES;
    if (options->send_queue_bytes != 0) {
        tuning->send_queue_max = options->send_queue_bytes;
    }
}

static void configure(const struct cli_link *link, const struct cli_link_options *options,
                      struct weir_tcp_config *config)
{
    const uint32_t connections = options->connections_max + CONNECTIONS_SPARE;
    const uint32_t awake = options->awake_max + AWAKE_SPARE;
    weir_tcp_config_default(config);
    config->slide = link->slide;
    if (link->crew != NULL) {
        config->route = &link->crew->route;
        config->shard = link->shard;
    }
    config->connections_max = has_family(options->net, WEIR_ADDR_IP4) ? connections : 1;
    config->connections6_max = has_family(options->net, WEIR_ADDR_IP6) ? connections : 0;
    config->awake_max = awake < connections ? awake : connections;
    config->mtu_bytes = cli_net_mtu_bytes(options->net, cli_link_driver(link));
    config->has_users = true;
    config->cc = options->cc;
    if (options->receive_window_bytes != 0) {
        config->receive_window = options->receive_window_bytes;
    }
    tune(options, &config->tuning);
}

/* The any-address stands for both families, as far as we have them. */
static bool listen_on(struct cli_link *link, const struct cli_link_options *options)
{
    static const uint8_t families[] = {WEIR_ADDR_IP4, WEIR_ADDR_IP6};
    static const uint8_t zeros[sizeof(link->local.ip)];
    const bool is_any = memcmp(options->bind.ip, zeros, sizeof(zeros)) == 0;
    struct weir_addr local = options->bind;
    int listener = 0;
    link->local.port = local.port = options->bind.port;
    if (!is_any || options->bind.family == WEIR_ADDR_IP4) {
        return weir_tcp_listen(cli_tcp_of(link)->engine, &local, &listener) == WEIR_OK;
    }
    for (size_t i = 0; i < sizeof(families); i++) {
        local.family = families[i];
        if (has_family(options->net, families[i]) &&
            weir_tcp_listen(cli_tcp_of(link)->engine, &local, &listener) != WEIR_OK) {
            return false;
        }
    }
    return true;
}

static bool open_tcp(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_tcp_config config;
    struct weir_rudp_config limits;
    struct cli_link_options chosen = *options;
    uint8_t seed[32];
    struct cli_tcp *tcp = calloc(1, sizeof(*tcp));
    link->engine = tcp;
    if (tcp == NULL || weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    weir_rudp_config_default(&limits);
    weir_list_init(&tcp->all);
    weir_list_init(&tcp->timed);
    weir_list_init(&tcp->wanting);
    tcp->link = link;
    tcp->net = options->net;
    tcp->is_raw = options->is_raw;
    tcp->connect_timeout = options->connect_timeout;
    tcp->frame_bytes_max =
        options->message_bytes_max != 0 ? options->message_bytes_max : limits.message_bytes_max;
    configure(link, options, &config);
    tcp->mtu_bytes = config.mtu_bytes;
    link->engine_mem_bytes = weir_tcp_mem_size(&config);
    link->engine_mem = link->engine_mem_bytes == 0 ? NULL : weir_mem_map(link->engine_mem_bytes);
    if (link->engine_mem == NULL || weir_tcp_init(link->engine_mem, &config, seed,
                                                  cli_link_now(link), &tcp->engine) != WEIR_OK) {
        return false;
    }
    if (options->is_accepting && chosen.bind.port == 0) {
        chosen.bind.port = (uint16_t)(PORT_EPHEMERAL | seed[0] << 8 | seed[1]);
    }
    link->message_bytes_max = WEIR_TCP_SEND_BYTES_MAX / 2;
    link->front_bytes = tcp->is_raw ? 0 : CLI_TCP_HEADER_BYTES;
    tcp->verbs = (struct weir_verbs){.input = input,
                                     .timeout = timeout,
                                     .next_timeout = next_timeout,
                                     .output = output,
                                     .figures = figures,
                                     .drop_names = weir_tcp_verbs()->drop_names};
    cli_link_attach(link, tcp, &tcp->verbs);
    return !options->is_accepting || listen_on(link, &chosen);
}

static struct cli_tcp_conn *make_conn(struct cli_tcp *tcp, struct weir_tcp_conn *handle,
                                      bool is_passive)
{
    struct cli_tcp_conn *conn = cli_heap_take_zeroed(&tcp->heap, sizeof(*conn));
    if (conn != NULL) {
        conn->conn = handle;
        conn->is_passive = is_passive;
        conn->until = WEIR_NEVER;
        weir_list_append(&tcp->all, &conn->all);
    }
    return conn;
}

static bool send_opening(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    const uint8_t opening[CLI_TCP_OPENING_BYTES] = {'w',
                                                    'e',
                                                    'i',
                                                    'r',
                                                    't',
                                                    'c',
                                                    'p',
                                                    0,
                                                    CLI_TCP_VERSION,
                                                    conn->is_passive ? ROLE_ACCEPTS
                                                                     : ROLE_CONNECTS};
    return cli_tcp_send_frame(tcp, conn, CLI_TCP_OPENING, opening, sizeof(opening)) == WEIR_OK;
}

/* --- events ----------------------------------------------------------------------------------- */

static bool on_opened(struct cli_tcp *tcp, const struct weir_tcp_event *from,
                      struct cli_event *event)
{
    if (from->opened.listener < 0) {
        struct cli_tcp_conn *conn = weir_tcp_user(tcp->engine, from->conn);
        event->conn = conn_from(conn);
        event->type = CLI_EVENT_OPENED;
        return tcp->is_raw;
    }
    struct cli_tcp_conn *conn = make_conn(tcp, from->conn, true);
    if (conn == NULL) {
        (void)weir_tcp_abort(tcp->engine, from->conn);
        return false;
    }
    weir_tcp_set_user(tcp->engine, from->conn, conn);
    event->conn = conn_from(conn);
    event->type = CLI_EVENT_REQUEST;
    return true;
}

static bool on_data(struct cli_tcp *tcp, struct cli_tcp_conn *conn, struct weir_span span,
                    struct cli_event *event)
{
    if (conn->is_told) {
        return false;
    }
    if (!tcp->is_raw) {
        tcp->from = conn;
        tcp->rest = span;
        return false; /* cut in event_tcp */
    }
    event->type = CLI_EVENT_MESSAGE;
    event->message.data = span;
    event->message.channel = 0;
    event->message.guarantee = WEIR_RUDP_DELIVERY;
    return true;
}

/* The peer closed; between two ends of weir not without a goodbye. */
static bool on_peer_closed(struct cli_tcp *tcp, struct cli_tcp_conn *conn, struct cli_event *event)
{
    if (tcp->is_raw) {
        return on_data(tcp, conn, weir_span_of("", 0), event);
    }
    if (conn->is_ending || conn->is_told) {
        return false;
    }
    cli_tcp_answer_end(tcp, conn);
    return cli_tcp_tell(conn, conn->is_opened ? CLI_CAUSE_CUT : CLI_CAUSE_PROTOCOL, 0,
                        conn->is_opened ? "" : "it is no weir at the other end", event);
}

/* False: not for the command. */
static bool translate(struct cli_tcp *tcp, const struct weir_tcp_event *from,
                      struct cli_event *event)
{
    if (from->type == WEIR_TCP_EVENT_OPENED) {
        return on_opened(tcp, from, event);
    }
    if (from->type == WEIR_TCP_EVENT_ROOM) {
        tcp->is_room = true;
        tcp->check_at = 0;
        return false;
    }
    bool is_closed = from->type == WEIR_TCP_EVENT_CLOSED;
    struct cli_tcp_conn *conn =
        is_closed ? from->closed.user : weir_tcp_user(tcp->engine, from->conn);
    if (conn == NULL) {
        return false;
    }
    event->conn = conn_from(conn);
    switch (from->type) {
    case WEIR_TCP_EVENT_DATA:
        return on_data(tcp, conn, from->data.span, event);
    case WEIR_TCP_EVENT_PARCEL_DONE:
        event->type = CLI_EVENT_PARCEL_DONE;
        event->parcel.parcel = from->parcel.parcel;
        event->parcel.outcome = from->parcel.outcome;
        return !conn->is_told;
    case WEIR_TCP_EVENT_WRITABLE:
        event->type = CLI_EVENT_WRITABLE;
        return !conn->is_ending;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        return on_peer_closed(tcp, conn, event);
    case WEIR_TCP_EVENT_CLOSED:
        return cli_tcp_on_closed(tcp, conn, from->closed.cause, event);
    case WEIR_TCP_EVENT_OPENED:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_ROOM:
    default:
        return false;
    }
}

/* Those that were refused a control block may try again, one after the other. */
static bool tell_room(struct cli_tcp *tcp, struct cli_event *event)
{
    while (tcp->is_room) {
        struct weir_link *link = weir_list_first(&tcp->wanting);
        if (link == NULL) {
            tcp->is_room = false;
            break;
        }
        struct cli_tcp_conn *conn = WEIR_CONTAINER(link, struct cli_tcp_conn, wanting);
        if (!cli_tcp_flush_backlog(tcp, conn)) {
            tcp->is_room = false; /* the engine says when */
            break;
        }
        weir_list_remove(&tcp->wanting, link);
        if (conn->is_refused && !conn->is_ending) {
            conn->is_refused = false;
            event->type = CLI_EVENT_WRITABLE;
            event->conn = conn_from(conn);
            return true;
        }
    }
    return false;
}

static enum weir_status event_tcp(struct cli_link *link, struct cli_event *event)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    cli_tcp_free_dead(tcp);
    if (tcp->opened != NULL) {
        event->type = CLI_EVENT_OPENED;
        event->conn = conn_from(tcp->opened);
        tcp->opened = NULL;
        return WEIR_OK;
    }
    for (;;) {
        struct weir_tcp_event from;
        while (tcp->rest.length > 0) {
            if (cli_tcp_take_frame(tcp, event)) {
                return WEIR_OK;
            }
        }
        if (weir_tcp_event(tcp->engine, &from) != WEIR_OK) {
            break;
        }
        cli_tcp_free_dead(tcp);
        if (translate(tcp, &from, event)) {
            return WEIR_OK;
        }
    }
    bool is_news = tell_room(tcp, event) || cli_tcp_check(tcp, cli_link_now(link), event);
    return is_news ? WEIR_OK : WEIR_AGAIN;
}

/* --- closing ---------------------------------------------------------------------------------- */

static void discard_events(void *user, weir_nsec now)
{
    struct cli_link *link = user;
    struct cli_event event;
    (void)now;
    while (event_tcp(link, &event) == WEIR_OK) {
        if (event.type == CLI_EVENT_REQUEST) {
            cli_tcp_end(cli_tcp_of(link), conn_of(event.conn), CLI_TCP_REFUSAL, 0, "", true);
        }
    }
}

/* Connections that something is still to be done for. */
static uint32_t count_open(const struct cli_tcp *tcp)
{
    const struct weir_tcp_stats *stats = weir_tcp_stats(tcp->engine);
    return stats->connections - stats->time_wait;
}

static bool is_quiet_tcp(const struct cli_link *link)
{
    const struct cli_tcp *tcp = cli_tcp_of(link);
    return weir_tcp_stats(tcp->engine)->awake == 0 || count_open(tcp) == 0;
}

/* The last words get out, and are acknowledged, as far as that does not take long. */
static void drain(struct cli_link *link)
{
    weir_nsec end = cli_link_now(link) + WEIR_SEC;
    weir_loop_attach(link->loop, link->engine, &cli_tcp_of(link)->verbs, discard_events, link);
    while (!is_quiet_tcp(link) && cli_link_now(link) < end) {
        if (weir_loop_flush(link->loop) != WEIR_OK ||
            weir_loop_run_once(link->loop, 10 * WEIR_MSEC) != WEIR_OK) {
            return;
        }
    }
}

static void close_tcp(struct cli_link *link)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    if (tcp->engine != NULL) {
        if (link->loop != NULL) {
            drain(link);
        }
        cli_tcp_free_all(tcp);
    }
    cli_heap_give(&tcp->heap, tcp->out, tcp->out_bytes);
    cli_heap_fini(&tcp->heap);
    free(tcp);
    link->engine = NULL;
}

/* --- verbs ------------------------------------------------------------------------------------ */

static enum weir_status connect_tcp(struct cli_link *link, const struct weir_addr *remote,
                                    void *user, struct cli_conn **conn)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    struct weir_path path = {.remote = *remote};
    weir_nsec now = cli_link_now(link);
    if (!cli_net_source(tcp->net, remote, &path.local)) {
        return WEIR_ERR_INVALID;
    }
    struct cli_tcp_conn *made = make_conn(tcp, NULL, false);
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status = weir_tcp_connect(tcp->engine, now, &path, made, &made->conn);
    if (status != WEIR_OK) {
        cli_tcp_free_conn(tcp, made);
        return status;
    }
    made->user = user;
    if (!tcp->is_raw) {
        (void)send_opening(tcp, made); /* a connection that begins has room */
        cli_tcp_watch(tcp, made, now + 2 * tcp->connect_timeout);
    }
    *conn = conn_from(made);
    return WEIR_OK;
}

static void accept_tcp(struct cli_link *link, struct cli_conn *conn, void *user)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    conn_of(conn)->user = user;
    if (tcp->is_raw) {
        tcp->opened = conn_of(conn);
        return;
    }
    cli_tcp_watch(tcp, conn_of(conn), cli_link_now(link) + tcp->connect_timeout);
    if (!send_opening(tcp, conn_of(conn))) {
        cli_tcp_end(tcp, conn_of(conn), CLI_TCP_REFUSAL, 0, "", true);
    }
}

static void refuse_tcp(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                       const char *text)
{
    conn_of(conn)->is_told = true;
    cli_tcp_end(cli_tcp_of(link), conn_of(conn), CLI_TCP_REFUSAL, code, text, true);
}

static void end_tcp(struct cli_link *link, struct cli_conn *conn, uint32_t code, const char *text,
                    bool is_abort)
{
    cli_tcp_end(cli_tcp_of(link), conn_of(conn), CLI_TCP_GOODBYE, code, text, is_abort);
}

static enum weir_status send_tcp(struct cli_link *link, struct cli_conn *base,
                                 const struct weir_rudp_send *how, const void *data, size_t length)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    struct cli_tcp_conn *conn = conn_of(base);
    if (conn->is_ending || conn->conn == NULL) {
        return WEIR_ERR_CLOSED;
    }
    if (!tcp->is_raw) {
        return cli_tcp_send_frame(tcp, conn, how->channel == 0 ? CLI_TCP_DATA : CLI_TCP_DATA_SIDE,
                                  data, length);
    }
    enum weir_status status =
        length == 0 ? WEIR_OK : weir_tcp_send(tcp->engine, conn->conn, data, length);
    return cli_tcp_status(tcp, conn, status);
}

static enum weir_status send_parcel_tcp(struct cli_link *link, struct cli_conn *base,
                                        const struct weir_rudp_send *how,
                                        struct weir_parcel *parcel)
{
    struct cli_tcp *tcp = cli_tcp_of(link);
    struct cli_tcp_conn *conn = conn_of(base);
    (void)how;
    if (conn->is_ending || conn->conn == NULL) {
        return WEIR_ERR_CLOSED;
    }
    return cli_tcp_status(
        tcp, conn,
        conn->backlog != NULL ? WEIR_AGAIN : weir_tcp_send_parcel(tcp->engine, conn->conn, parcel));
}

static void front_tcp(uint8_t *front, size_t length)
{
    cli_tcp_set_header(front, CLI_TCP_DATA, length);
}

static void pause_tcp(struct cli_link *link, struct cli_conn *conn, bool is_paused)
{
    if (conn_of(conn)->conn != NULL && !conn_of(conn)->is_ending) {
        (void)weir_tcp_pause(cli_tcp_of(link)->engine, conn_of(conn)->conn, is_paused);
    }
}

static void *user_tcp(struct cli_link *link, struct cli_conn *conn)
{
    (void)link;
    return conn_of(conn)->user;
}

static struct weir_addr remote_tcp(struct cli_link *link, struct cli_conn *conn)
{
    const struct weir_path path = weir_tcp_path(cli_tcp_of(link)->engine, conn_of(conn)->conn);
    return path.remote;
}

/* The engine counts packets of all connections together: this one gets its share. */
static void conn_stats_tcp(struct cli_link *link, struct cli_conn *conn,
                           struct cli_conn_stats *stats)
{
    const struct cli_tcp *tcp = cli_tcp_of(link);
    const struct weir_tcp_stats *all = weir_tcp_stats(tcp->engine);
    const uint32_t among = all->connections > 0 ? all->connections : 1;
    struct weir_tcp_conn_stats from = {.mss = 0};
    *stats = (struct cli_conn_stats){.mtu_bytes = tcp->mtu_bytes};
    if (conn_of(conn)->conn == NULL) {
        return;
    }
    weir_tcp_conn_stats(tcp->engine, conn_of(conn)->conn, &from);
    *stats = (struct cli_conn_stats){.rtt = from.rtt,
                                     .rtt_min = from.rtt_min,
                                     .packets_sent = all->packets_sent / among,
                                     .packets_received = all->packets_received / among,
                                     .packets_lost = all->resent_segments / among,
                                     .bytes_resent = all->resent_bytes / among,
                                     .queued_bytes = (uint64_t)from.in_flight + from.queued,
                                     .mtu_bytes = tcp->mtu_bytes};
}

static void stats_tcp(struct cli_link *link, struct cli_link_stats *stats)
{
    const struct weir_tcp_stats *from = weir_tcp_stats(cli_tcp_of(link)->engine);
    *stats = (struct cli_link_stats){.connections = count_open(cli_tcp_of(link)),
                                     .packets_sent = from->packets_sent,
                                     .packets_received = from->packets_received};
}

const struct cli_link_ops cli_link_tcp = {.scheme = "tcp",
                                          .is_ip = true,
                                          .open = open_tcp,
                                          .close = close_tcp,
                                          .event = event_tcp,
                                          .connect = connect_tcp,
                                          .accept = accept_tcp,
                                          .refuse = refuse_tcp,
                                          .end = end_tcp,
                                          .send = send_tcp,
                                          .send_parcel = send_parcel_tcp,
                                          .front = front_tcp,
                                          .pause = pause_tcp,
                                          .user = user_tcp,
                                          .remote = remote_tcp,
                                          .is_quiet = is_quiet_tcp,
                                          .conn_stats = conn_stats_tcp,
                                          .stats = stats_tcp};
