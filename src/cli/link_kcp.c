/* SPDX-License-Identifier: MIT */
/*
 * link_kcp.c - kcp:// for the commands: sessions and messages.
 *
 * Memory: one struct cli_kcp on the heap; the engine's block is the link's.
 */
#include "cli/link_kcp.h"

#include <stdlib.h>
#include <string.h>

#include "cli/kcp_options.h"

enum {
    OPENING_BYTES = 3,
    VERSION = 1,
    ROLE_CONNECTS = 0,
    ROLE_ACCEPTS = 1,
    HEADER_BYTES = 24,
    CRYPT_BYTES = 20,
    CRYPT_GCM_BYTES = 28,
    FEC_BYTES = 8,
    FRAGMENTS_USUAL = 48 /* of a message: 64 KiB at the usual MTU */
};

static struct cli_kcp *kcp_of(const struct cli_link *link)
{
    return link->engine;
}

/* A cli_conn of this transport is the engine's handle under another name. */
static struct weir_kcp_conn *conn_of(struct cli_conn *conn)
{
    return (struct weir_kcp_conn *)(void *)conn;
}

static struct cli_conn *conn_from(struct weir_kcp_conn *conn)
{
    return (struct cli_conn *)(void *)conn;
}

/* --- the engine's verbs, with the link's own times -------------------------------------------- */

static void input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    const struct cli_kcp *kcp = endpoint;
    weir_kcp_input(kcp->engine, now, packets, count);
}

static void timeout(void *endpoint, weir_nsec now)
{
    const struct cli_kcp *kcp = endpoint;
    weir_kcp_timeout(kcp->engine, now);
}

static weir_nsec next_timeout(const void *endpoint)
{
    const struct cli_kcp *kcp = endpoint;
    weir_nsec next = weir_kcp_next_timeout(kcp->engine);
    if (kcp->farewells_count > 0 && kcp->check_at < next) {
        next = kcp->check_at;
    }
    return kcp->opening != NULL && kcp->opening_until < next ? kcp->opening_until : next;
}

static enum weir_status output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    const struct cli_kcp *kcp = endpoint;
    return weir_kcp_output(kcp->engine, now, tx);
}

static void figures(const void *endpoint, struct weir_figures *figures)
{
    const struct cli_kcp *kcp = endpoint;
    weir_kcp_verbs()->figures(kcp->engine, figures);
}

/* --- opening ---------------------------------------------------------------------------------- */

static uint32_t mss_of(const struct weir_kcp_config *config)
{
    bool is_gcm = config->cipher == WEIR_KCP_CIPHER_AES_128_GCM ||
                  config->cipher == WEIR_KCP_CIPHER_AES_192_GCM ||
                  config->cipher == WEIR_KCP_CIPHER_AES_256_GCM;
    uint32_t crypt = config->cipher == WEIR_KCP_CIPHER_NIL ? 0
                     : is_gcm                              ? CRYPT_GCM_BYTES
                                                           : CRYPT_BYTES;
    uint32_t outer = crypt + (config->fec_data > 0 ? FEC_BYTES : 0);
    uint32_t mtu = config->tuning.mtu_bytes;
    return mtu > HEADER_BYTES + outer ? mtu - HEADER_BYTES - outer : 1;
}

/* Half of the smaller window, so that a message does not wait for all of one before it. */
static uint32_t message_bytes_max(const struct weir_kcp_config *config)
{
    uint32_t window = config->tuning.send_window < config->tuning.receive_window
                          ? config->tuning.send_window
                          : config->tuning.receive_window;
    uint32_t fragments = window / 2 < FRAGMENTS_USUAL ? window / 2 : FRAGMENTS_USUAL;
    uint32_t bytes = (fragments > 0 ? fragments : 1) * mss_of(config);
    return bytes > 1 ? bytes - 1 : 1;
}

static bool configure(const struct cli_link_options *options, struct weir_kcp_config *config)
{
    if (!cli_kcp_configure(options->kcp, options->is_accepting, config)) {
        return false;
    }
    config->connections_max = options->connections_max;
    config->awake_max = options->awake_max;
    config->cc = options->is_cc_given ? options->cc : WEIR_CC_NONE;
    config->connect_timeout = options->connect_timeout;
    config->idle_timeout = options->idle_timeout;
    config->keepalive = options->heartbeat;
    config->tuning.is_stream = options->is_raw;
    config->tuning.fragments_max = WEIR_KCP_FRAGMENTS_MAX;
    /* Between two ends of weir ACKs need not wait for the interval, which would bound the rate to
     * a window in each. */
    config->tuning.is_ack_no_delay = config->tuning.is_ack_coalesced = !options->is_raw;
    return true;
}

static bool open_kcp(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_kcp_config config;
    uint8_t seed[32];
    struct cli_kcp *kcp = calloc(1, sizeof(*kcp));
    link->engine = kcp;
    if (kcp == NULL || !configure(options, &config)) {
        return false;
    }
    kcp->link = link;
    kcp->is_raw = options->is_raw;
    kcp->interval = config.tuning.interval_ms * WEIR_MSEC;
    kcp->connect_timeout = config.connect_timeout;
    kcp->mtu_bytes = config.tuning.mtu_bytes;
    kcp->farewells[CLI_KCP_FAREWELLS_MAX].is_told = true;
    config.slide = link->slide;
    if (link->crew != NULL) {
        config.route = &link->crew->route;
        config.shard = link->shard;
    }
    link->engine_mem_bytes = weir_kcp_mem_size(&config);
    if (link->engine_mem_bytes == 0 || weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    link->engine_mem = weir_mem_map(link->engine_mem_bytes);
    if (link->engine_mem == NULL || weir_kcp_init(link->engine_mem, &config, seed,
                                                  cli_link_now(link), &kcp->engine) != WEIR_OK) {
        return false;
    }
    explicit_bzero(config.key, sizeof(config.key));
    link->message_bytes_max = message_bytes_max(&config);
    link->front_bytes = kcp->is_raw ? 0 : 1;
    link->hint = ", with the same --crypt and --key";
    kcp->verbs = (struct weir_verbs){.input = input,
                                     .timeout = timeout,
                                     .next_timeout = next_timeout,
                                     .output = output,
                                     .figures = figures,
                                     .drop_names = weir_kcp_verbs()->drop_names};
    cli_link_attach(link, kcp, &kcp->verbs);
    return true;
}

/* --- events ----------------------------------------------------------------------------------- */

static enum cli_cause cause_of(enum weir_kcp_close_cause cause)
{
    switch (cause) {
    case WEIR_KCP_CAUSE_TIMEOUT:
    case WEIR_KCP_CAUSE_DEAD_LINK:
        return CLI_CAUSE_TIMEOUT;
    case WEIR_KCP_CAUSE_REPLACED:
        return CLI_CAUSE_RESET;
    case WEIR_KCP_CAUSE_PROTOCOL:
        return CLI_CAUSE_PROTOCOL;
    case WEIR_KCP_CAUSE_LOCAL:
    default:
        return CLI_CAUSE_LOCAL;
    }
}

static bool closed(struct cli_event *event, enum cli_cause cause, const char *text, void *user)
{
    event->type = CLI_EVENT_CLOSED;
    event->closed.cause = cause;
    event->closed.code = 0;
    event->closed.text = text;
    event->closed.user = cli_kcp_clean_user(user);
    return true;
}

/* The peer says what no end of weir says. */
static bool break_off(struct cli_kcp *kcp, struct weir_kcp_conn *conn, enum cli_cause cause,
                      struct cli_event *event)
{
    bool is_news = cli_kcp_farewell_at(kcp, weir_kcp_user(conn)) == NULL;
    closed(event, cause, cause == CLI_CAUSE_PROTOCOL ? "it is no weir at the other end" : "",
           weir_kcp_user(conn));
    if (is_news) {
        cli_kcp_dismiss(kcp, conn, CLI_KCP_GOODBYE, 0, "this end is weir");
    }
    return is_news;
}

static bool is_opened(const struct weir_kcp_conn *conn)
{
    const void *user = weir_kcp_user(conn);
    return ((uintptr_t)user & 1) != 0;
}

static bool on_opening(struct cli_kcp *kcp, struct weir_kcp_conn *conn, struct weir_span data,
                       struct cli_event *event)
{
    bool is_ours = !kcp->link->is_accepting;
    if (kcp->opening == conn) {
        kcp->opening = NULL;
    }
    if (data.length != OPENING_BYTES || data.data[0] != CLI_KCP_OPENING ||
        data.data[2] != (is_ours ? ROLE_ACCEPTS : ROLE_CONNECTS)) {
        return break_off(kcp, conn, CLI_CAUSE_PROTOCOL, event);
    }
    if (data.data[1] != VERSION) {
        return break_off(kcp, conn, CLI_CAUSE_VERSION, event);
    }
    weir_kcp_set_user(conn, cli_kcp_opened_user(weir_kcp_user(conn)));
    event->type = CLI_EVENT_OPENED;
    return true;
}

static bool on_data(struct weir_span data, uint8_t channel, struct cli_event *event)
{
    event->type = CLI_EVENT_MESSAGE;
    event->message.data = data;
    event->message.channel = channel;
    event->message.guarantee = WEIR_RUDP_DELIVERY;
    return true;
}

static bool on_message(struct cli_kcp *kcp, const struct weir_kcp_event *from,
                       struct cli_event *event)
{
    struct weir_span data = from->message.spans[0];
    if (from->message.span_count > 1) {
        data = weir_span_of(kcp->in, weir_kcp_copy_message(from, kcp->in, sizeof(kcp->in)));
    }
    if (kcp->is_raw) {
        return on_data(data, 0, event);
    }
    const struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp, weir_kcp_user(from->conn));
    uint8_t kind = data.length == 0 ? UINT8_MAX : data.data[0];
    if (kind == CLI_KCP_GOODBYE || kind == CLI_KCP_REFUSAL) {
        return cli_kcp_on_goodbye(kcp, from->conn, kind,
                                  weir_span_of(data.data + 1, data.length - 1), event);
    }
    if (farewell != NULL && (farewell->is_told || kind == CLI_KCP_OPENING)) {
        return false;
    }
    if (farewell == NULL && !is_opened(from->conn)) {
        return on_opening(kcp, from->conn, data, event);
    }
    if (kind != CLI_KCP_DATA && kind != CLI_KCP_DATA_SIDE) {
        return break_off(kcp, from->conn, CLI_CAUSE_PROTOCOL, event);
    }
    return on_data(weir_span_of(data.data + 1, data.length - 1), kind == CLI_KCP_DATA_SIDE, event);
}

static bool on_closed(struct cli_kcp *kcp, const struct weir_kcp_event *from,
                      struct cli_event *event)
{
    struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp, from->closed.user);
    if (kcp->opening == from->conn) {
        kcp->opening = NULL;
    }
    return farewell != NULL ? cli_kcp_on_ended(kcp, farewell, event)
                            : closed(event, cause_of(from->closed.cause), "", from->closed.user);
}

/* False: not for the command. */
static bool translate(struct cli_kcp *kcp, const struct weir_kcp_event *from,
                      struct cli_event *event)
{
    event->conn = conn_from(from->conn);
    if (from->type == WEIR_KCP_EVENT_CLOSED) {
        return on_closed(kcp, from, event);
    }
    if (from->type == WEIR_KCP_EVENT_MESSAGE) {
        return on_message(kcp, from, event);
    }
    struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp, weir_kcp_user(from->conn));
    switch (from->type) {
    case WEIR_KCP_EVENT_REQUEST:
        event->type = CLI_EVENT_REQUEST;
        return true;
    case WEIR_KCP_EVENT_OPENED:
        event->type = CLI_EVENT_OPENED;
        return kcp->is_raw;
    case WEIR_KCP_EVENT_PARCEL_DONE:
        event->type = CLI_EVENT_PARCEL_DONE;
        event->parcel.parcel = from->parcel.parcel;
        event->parcel.outcome = from->parcel.outcome;
        return farewell == NULL || !farewell->is_told;
    case WEIR_KCP_EVENT_WRITABLE:
        if (farewell != NULL) {
            cli_kcp_queue_word(kcp, farewell);
        }
        event->type = CLI_EVENT_WRITABLE;
        return farewell == NULL;
    case WEIR_KCP_EVENT_MOVED:
    case WEIR_KCP_EVENT_MESSAGE:
    case WEIR_KCP_EVENT_CLOSED:
    default:
        return false;
    }
}

static void warn_about_key(struct cli_kcp *kcp)
{
    const struct weir_kcp_stats *stats = weir_kcp_stats(kcp->engine);
    uint64_t strange = stats->drops[WEIR_KCP_DROP_FORGED] + stats->drops[WEIR_KCP_DROP_COMMAND] +
                       stats->drops[WEIR_KCP_DROP_LENGTH];
    if (strange > 0 && stats->sessions == 0 && kcp->link->is_accepting && !kcp->is_warned) {
        kcp->is_warned = true;
        cli_warn("datagrams arrive that make no sense; both ends need the same --crypt and --key");
    }
}

/* A peer that acknowledges and never says a word is not given longer than one that is not there. */
static bool give_up_opening(struct cli_kcp *kcp, weir_nsec now, struct cli_event *event)
{
    struct weir_kcp_conn *conn = kcp->opening;
    if (conn == NULL || now < kcp->opening_until) {
        return false;
    }
    kcp->opening = NULL;
    event->conn = conn_from(conn);
    closed(event, CLI_CAUSE_TIMEOUT, "", weir_kcp_user(conn));
    cli_kcp_forget(kcp, conn);
    return true;
}

static enum weir_status event_kcp(struct cli_link *link, struct cli_event *event)
{
    struct cli_kcp *kcp = kcp_of(link);
    struct weir_kcp_event from;
    while (weir_kcp_event(kcp->engine, &from) == WEIR_OK) {
        if (translate(kcp, &from, event)) {
            return WEIR_OK;
        }
    }
    warn_about_key(kcp);
    if (kcp->farewells_count == 0 && kcp->opening == NULL) {
        return WEIR_AGAIN;
    }
    weir_nsec now = cli_link_now(link);
    bool is_news = give_up_opening(kcp, now, event) || cli_kcp_check_farewells(kcp, now, event);
    return is_news ? WEIR_OK : WEIR_AGAIN;
}

/* --- closing ---------------------------------------------------------------------------------- */

static void discard_events(void *user, weir_nsec now)
{
    struct cli_link *link = user;
    struct cli_event event;
    (void)now;
    while (event_kcp(link, &event) == WEIR_OK) {
        if (event.type == CLI_EVENT_REQUEST) {
            weir_kcp_refuse(conn_of(event.conn));
        }
    }
}

static bool is_quiet_kcp(const struct cli_link *link)
{
    return kcp_of(link)->farewells_count == 0;
}

/* The last words get out, and are acknowledged, as far as that does not take long. */
static void drain(struct cli_link *link)
{
    weir_nsec end = cli_link_now(link) + WEIR_SEC;
    weir_loop_attach(link->loop, link->engine, &kcp_of(link)->verbs, discard_events, link);
    while (!is_quiet_kcp(link) && cli_link_now(link) < end) {
        if (weir_loop_flush(link->loop) != WEIR_OK ||
            weir_loop_run_once(link->loop, 10 * WEIR_MSEC) != WEIR_OK) {
            return;
        }
    }
}

static void close_kcp(struct cli_link *link)
{
    struct cli_kcp *kcp = kcp_of(link);
    if (kcp->engine != NULL) {
        if (link->loop != NULL) {
            drain(link);
        }
        weir_kcp_fini(kcp->engine);
    }
    free(kcp);
    link->engine = NULL;
}

/* --- verbs ------------------------------------------------------------------------------------ */

static enum weir_status send_opening(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t role)
{
    const uint8_t opening[OPENING_BYTES] = {CLI_KCP_OPENING, VERSION, role};
    return kcp->is_raw ? WEIR_OK : weir_kcp_send(conn, opening, sizeof(opening));
}

static enum weir_status connect_kcp(struct cli_link *link, const struct weir_addr *remote,
                                    void *user, struct cli_conn **conn)
{
    struct cli_kcp *kcp = kcp_of(link);
    struct weir_kcp_conn *made = NULL;
    weir_nsec now = cli_link_now(link);
    enum weir_status status = weir_kcp_connect(kcp->engine, now, remote, 0, user, &made);
    if (status != WEIR_OK) {
        return status;
    }
    status = send_opening(kcp, made, ROLE_CONNECTS);
    if (status != WEIR_OK) {
        cli_kcp_forget(kcp, made);
        return status;
    }
    if (kcp->opening == NULL && !kcp->is_raw) {
        kcp->opening = made;
        kcp->opening_until = now + kcp->connect_timeout;
    }
    *conn = conn_from(made);
    return WEIR_OK;
}

static void accept_kcp(struct cli_link *link, struct cli_conn *conn, void *user)
{
    struct cli_kcp *kcp = kcp_of(link);
    weir_kcp_accept(conn_of(conn), user);
    if (send_opening(kcp, conn_of(conn), ROLE_ACCEPTS) != WEIR_OK) {
        weir_kcp_abort(conn_of(conn));
    }
}

static void refuse_kcp(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                       const char *text)
{
    struct cli_kcp *kcp = kcp_of(link);
    if (kcp->is_raw) {
        weir_kcp_refuse(conn_of(conn));
        return;
    }
    weir_kcp_accept(conn_of(conn), NULL);
    cli_kcp_dismiss(kcp, conn_of(conn), CLI_KCP_REFUSAL, code, text);
}

static void end_kcp(struct cli_link *link, struct cli_conn *conn, uint32_t code, const char *text,
                    bool is_abort)
{
    struct cli_kcp *kcp = kcp_of(link);
    if (!kcp->is_raw) {
        cli_kcp_end(kcp, conn_of(conn), code, text, is_abort);
    } else if (is_abort) {
        weir_kcp_abort(conn_of(conn));
    } else {
        weir_kcp_close(conn_of(conn));
    }
}

static bool is_ending(struct cli_kcp *kcp, struct cli_conn *conn)
{
    return cli_kcp_farewell_at(kcp, weir_kcp_user(conn_of(conn))) != NULL;
}

static enum weir_status send_kcp(struct cli_link *link, struct cli_conn *conn,
                                 const struct weir_rudp_send *how, const void *data, size_t length)
{
    struct cli_kcp *kcp = kcp_of(link);
    if (is_ending(kcp, conn)) {
        return WEIR_ERR_CLOSED;
    }
    if (kcp->is_raw) {
        return length == 0 ? WEIR_OK : weir_kcp_send(conn_of(conn), data, length);
    }
    if (length >= sizeof(kcp->out)) {
        return WEIR_ERR_TOO_LARGE;
    }
    kcp->out[0] = how->channel == 0 ? CLI_KCP_DATA : CLI_KCP_DATA_SIDE;
    memcpy(kcp->out + 1, data, length);
    enum weir_status status = weir_kcp_send(conn_of(conn), kcp->out, length + 1);
    kcp->bytes_queued += status == WEIR_OK ? length : 0;
    return status;
}

static enum weir_status send_parcel_kcp(struct cli_link *link, struct cli_conn *conn,
                                        const struct weir_rudp_send *how,
                                        struct weir_parcel *parcel)
{
    struct cli_kcp *kcp = kcp_of(link);
    (void)how;
    if (is_ending(kcp, conn)) {
        return WEIR_ERR_CLOSED;
    }
    enum weir_status status = weir_kcp_send_parcel(conn_of(conn), parcel);
    kcp->bytes_queued += status == WEIR_OK ? parcel->length : 0;
    return status;
}

static void pause_kcp(struct cli_link *link, struct cli_conn *conn, bool is_paused)
{
    (void)link;
    weir_kcp_pause(conn_of(conn), is_paused);
}

static void *user_kcp(struct cli_link *link, struct cli_conn *conn)
{
    void *user = weir_kcp_user(conn_of(conn));
    const struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp_of(link), user);
    return farewell != NULL ? farewell->user : cli_kcp_clean_user(user);
}

static struct weir_addr remote_kcp(struct cli_link *link, struct cli_conn *conn)
{
    (void)link;
    return weir_kcp_path(conn_of(conn)).remote;
}

static void conn_stats_kcp(struct cli_link *link, struct cli_conn *conn,
                           struct cli_conn_stats *stats)
{
    const struct cli_kcp *kcp = kcp_of(link);
    const struct weir_kcp_stats *all = weir_kcp_stats(kcp->engine);
    struct weir_kcp_conn_stats from;
    weir_kcp_conn_stats(conn_of(conn), &from);
    uint64_t resent = from.resent_fast + from.resent_timeout;
    uint64_t average = all->segments_sent == 0 ? 0 : kcp->bytes_queued / all->segments_sent;
    *stats = (struct cli_conn_stats){.rtt = from.rtt,
                                     .packets_sent = from.segments_sent + resent,
                                     .packets_received = from.segments_received,
                                     .packets_lost = resent,
                                     .bytes_resent = resent * average,
                                     .queued_bytes =
                                         (uint64_t)(from.in_flight + from.queued) * kcp->mtu_bytes,
                                     .mtu_bytes = kcp->mtu_bytes};
}

static void stats_kcp(struct cli_link *link, struct cli_link_stats *stats)
{
    const struct weir_kcp_stats *from = weir_kcp_stats(kcp_of(link)->engine);
    *stats = (struct cli_link_stats){.connections = from->sessions,
                                     .packets_sent = from->datagrams_sent,
                                     .packets_received = from->datagrams_received};
}

const struct cli_link_ops cli_link_kcp = {.scheme = "kcp",
                                          .is_by_address = true,
                                          .open = open_kcp,
                                          .close = close_kcp,
                                          .event = event_kcp,
                                          .connect = connect_kcp,
                                          .accept = accept_kcp,
                                          .refuse = refuse_kcp,
                                          .end = end_kcp,
                                          .send = send_kcp,
                                          .send_parcel = send_parcel_kcp,
                                          .pause = pause_kcp,
                                          .user = user_kcp,
                                          .remote = remote_kcp,
                                          .is_quiet = is_quiet_kcp,
                                          .conn_stats = conn_stats_kcp,
                                          .stats = stats_kcp};
