/* SPDX-License-Identifier: MIT */
/*
 * sim_tcp.c - "weir sim tcp": the TCP engine at both ends, both with the same options.
 *
 * The stream has no messages: it is cut again by their known lengths, which works because it keeps
 * order. With several flows message i goes to flow i modulo their number, and each flow sends as
 * fast as it can: none waits for another one.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sim_net.h"
#include "weir/tcp.h"

enum {
    SECONDARY_BYTES = 64 << 20,
    CLIENT_PORT = 40000, /* of flow 0; the next ones follow */
    IP_HEADER_BYTES = 20
};

struct flow {
    struct weir_tcp_conn *conn; /* the client's; NULL once it is closed */
    uint64_t send_index;        /* of the message to send next */
    bool is_full;               /* until WRITABLE */
    uint64_t receive_index;     /* of the message that comes in */
    size_t receive_bytes;       /* of it, so far */
    uint8_t *message;           /* it */
    uint64_t delivered_bytes;
};

struct tcp {
    struct flow flows[CLI_SIM_FLOWS_MAX];
    uint32_t count, opened;
    weir_nsec rtt_min; /* the least smoothed one, 0: none yet */
    double fairness;   /* when the first flow had delivered all of its own; 0: not yet */
};

/* --- set-up ----------------------------------------------------------------------------------- */

static size_t secondary_bytes(const struct cli_sim_run *run)
{
    (void)run;
    return SECONDARY_BYTES;
}

static bool open_endpoint(struct cli_sim_run *run, struct cli_sim_host *host,
                          const uint8_t seed[32])
{
    const struct weir_addr any = {.port = CLI_SIM_SERVER_PORT, .family = WEIR_ADDR_IP4};
    struct weir_tcp_config config;
    struct weir_tcp *endpoint;
    int listener;
    weir_tcp_config_default(&config);
    config.slide = host->slide;
    config.cc = run->options->cc;
    config.connections_max = CLI_SIM_FLOWS_MAX;
    config.connections6_max = 0;
    if (run->options->kcp.mtu_bytes != 0) {
        config.mtu_bytes = (uint16_t)run->options->kcp.mtu_bytes;
    }
    if (!cli_sim_net_map(run, host, weir_tcp_mem_size(&config))) {
        return false;
    }
    if (weir_tcp_init(host->engine_mem, &config, seed, run->now, &endpoint) != WEIR_OK ||
        (host == &run->server && weir_tcp_listen(endpoint, &any, &listener) != WEIR_OK)) {
        cli_fail(CLI_FAILED, "the TCP engine does not start with these options");
        return false;
    }
    host->endpoint = endpoint;
    return true;
}

static bool connect_client(struct cli_sim_run *run, const struct weir_addr *server)
{
    struct tcp *tcp = run->user;
    struct weir_path path = {.local = run->client.driver->local, .remote = *server};
    for (uint32_t i = 0; i < tcp->count; i++) {
        path.local.port = (uint16_t)(CLIENT_PORT + i);
        if (weir_tcp_connect(run->client.endpoint, run->now, &path, NULL, &tcp->flows[i].conn) !=
            WEIR_OK) {
            return false;
        }
    }
    return true;
}

/* --- events ----------------------------------------------------------------------------------- */

static const char *text_of_cause(enum weir_tcp_close_cause cause)
{
    switch (cause) {
    case WEIR_TCP_CAUSE_ABORTED:
        return "aborted";
    case WEIR_TCP_CAUSE_RESET:
        return "reset by the peer";
    case WEIR_TCP_CAUSE_REFUSED:
        return "refused";
    case WEIR_TCP_CAUSE_TIMEOUT:
        return "timed out";
    case WEIR_TCP_CAUSE_UNREACHABLE:
        return "unreachable";
    case WEIR_TCP_CAUSE_DONE:
    default:
        return "closed";
    }
}

/* Of the client's handles; NULL: none of them. */
static struct flow *find_flow(struct tcp *tcp, const struct weir_tcp_conn *conn)
{
    for (uint32_t i = 0; i < tcp->count; i++) {
        if (tcp->flows[i].conn == conn) {
            return &tcp->flows[i];
        }
    }
    return NULL;
}

/* The least message of all flows that take one is next; flows that are behind catch up. */
static void advance(struct cli_sim_run *run)
{
    const struct tcp *tcp = run->user;
    uint64_t next = UINT64_MAX;
    bool is_full = false;
    for (uint32_t i = 0; i < tcp->count; i++) {
        const struct flow *flow = &tcp->flows[i];
        if (flow->send_index >= run->traffic->count) {
            continue;
        }
        is_full = is_full || flow->is_full;
        if (!flow->is_full && flow->send_index < next) {
            next = flow->send_index;
        }
    }
    run->is_full = next == UINT64_MAX && is_full;
    if (!run->is_full) {
        run->next_index = next == UINT64_MAX ? run->traffic->count : next;
    }
}

/* Jain's index: 1 when all have the same, 1 / count when one has everything. */
static double fairness_of(const struct tcp *tcp)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < tcp->count; i++) {
        double bytes = (double)tcp->flows[i].delivered_bytes;
        sum += bytes;
        squares += bytes * bytes;
    }
    return squares <= 0 ? 0 : sum * sum / (tcp->count * squares);
}

static void deliver(struct cli_sim_run *run, struct flow *flow, size_t length)
{
    struct tcp *tcp = run->user;
    cli_sim_traffic_on_delivered(run->traffic, (uint8_t)(flow - tcp->flows),
                                 weir_span_of(flow->message, length), run->now);
    flow->receive_bytes = 0;
    flow->receive_index += tcp->count;
    if (tcp->fairness <= 0 && flow->receive_index >= run->traffic->count) {
        tcp->fairness = fairness_of(tcp);
    }
}

static void on_data(struct cli_sim_run *run, struct flow *flow, struct weir_span bytes)
{
    flow->delivered_bytes += bytes.length;
    while (bytes.length > 0) {
        size_t length = cli_sim_traffic_length(run->traffic, flow->receive_index);
        size_t wanted = length - flow->receive_bytes;
        size_t taken = bytes.length < wanted ? bytes.length : wanted;
        memcpy(flow->message + flow->receive_bytes, bytes.data, taken);
        flow->receive_bytes += taken;
        bytes = weir_span_of(bytes.data + taken, bytes.length - taken);
        if (flow->receive_bytes == length) {
            deliver(run, flow, length);
        }
    }
}

static void on_server_event(struct cli_sim_run *run, const struct weir_tcp_event *event)
{
    struct tcp *tcp = run->user;
    if (event->type == WEIR_TCP_EVENT_CLOSED) {
        cli_sim_net_fail(run, "the server's connection", text_of_cause(event->closed.cause));
    } else if (event->type == WEIR_TCP_EVENT_DATA) {
        struct weir_path path = weir_tcp_path(run->server.endpoint, event->conn);
        uint32_t index = (uint32_t)path.remote.port - CLIENT_PORT;
        if (index >= tcp->count) {
            cli_sim_net_fail(run, "data of a connection that nobody opened", "");
            return;
        }
        on_data(run, &tcp->flows[index], event->data.span);
    }
}

static void on_client_event(struct cli_sim_run *run, const struct weir_tcp_event *event)
{
    struct tcp *tcp = run->user;
    struct flow *flow = find_flow(tcp, event->conn);
    if (flow == NULL) {
        cli_sim_net_fail(run, "an event of a connection that nobody opened", "");
    } else if (event->type == WEIR_TCP_EVENT_OPENED) {
        if (++tcp->opened == tcp->count) {
            cli_sim_net_on_opened(run);
        }
    } else if (event->type == WEIR_TCP_EVENT_WRITABLE) {
        flow->is_full = false;
        advance(run);
    } else if (event->type == WEIR_TCP_EVENT_CLOSED) {
        flow->conn = NULL;
        run->is_closed = true;
        cli_sim_net_fail(run, text_of_cause(event->closed.cause), "");
    }
}

static void drain_events(struct cli_sim_run *run, struct cli_sim_host *host)
{
    struct weir_tcp_event event;
    while (weir_tcp_event(host->endpoint, &event) == WEIR_OK) {
        if (host == &run->server) {
            on_server_event(run, &event);
        } else {
            on_client_event(run, &event);
        }
    }
}

/* --- the exchange ----------------------------------------------------------------------------- */

static enum weir_status send_message(struct cli_sim_run *run, uint64_t index,
                                     struct weir_span message)
{
    struct tcp *tcp = run->user;
    struct flow *flow = &tcp->flows[index % tcp->count];
    enum weir_status status =
        weir_tcp_send(run->client.endpoint, flow->conn, message.data, message.length);
    if (status == WEIR_OK) {
        flow->send_index += tcp->count;
    }
    flow->is_full = status == WEIR_ERR_FULL;
    return status;
}

/* Windows and bytes in flight are of all flows together, the times of the first one. */
static void look(struct cli_sim_run *run, struct cli_sim_sample *sample, bool *is_idle)
{
    struct tcp *tcp = run->user;
    struct weir_tcp_conn_stats stats = {0};
    sample->window_bytes = 0;
    *is_idle = true;
    for (uint32_t i = tcp->count; i-- > 0;) {
        weir_tcp_conn_stats(run->client.endpoint, tcp->flows[i].conn, &stats);
        sample->window_bytes += stats.congestion_window;
        sample->in_flight_bytes += stats.in_flight;
        *is_idle = *is_idle && stats.queued == 0 && stats.in_flight == 0;
    }
    if (sample->window_bytes == 0) {
        sample->window_bytes = UINT64_MAX;
    }
    if (stats.rtt != 0 && (tcp->rtt_min == 0 || stats.rtt < tcp->rtt_min)) {
        tcp->rtt_min = stats.rtt;
    }
    sample->rtt = stats.rtt;
    sample->rtt_min = tcp->rtt_min;
}

static void report_figures(const struct cli_sim_run *run, struct cli_sim_report *report)
{
    const struct weir_tcp_stats *stats = weir_tcp_stats(run->client.endpoint);
    const struct tcp *tcp = run->user;
    report->first_sent = run->traffic->payload_bytes;
    report->resent = stats->resent_bytes;
    report->peak_held_bytes = weir_slide_stats(run->server.slide)->held_bytes_peak;
    report->flows = tcp->count;
    report->fairness = tcp->fairness;
    report->timeouts = stats->timeouts;
}

bool cli_sim_run_tcp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                     struct cli_sim_plot *plot, struct cli_sim_report *report)
{
    static const struct cli_sim_engine engine = {.header_bytes = IP_HEADER_BYTES,
                                                 .is_portless = true,
                                                 .verbs = weir_tcp_verbs,
                                                 .secondary_bytes = secondary_bytes,
                                                 .open = open_endpoint,
                                                 .connect = connect_client,
                                                 .drain_events = drain_events,
                                                 .send = send_message,
                                                 .advance = advance,
                                                 .look = look,
                                                 .report = report_figures};
    struct tcp tcp = {.count = (uint32_t)options->channels};
    struct cli_sim_run run = {.options = options,
                              .engine = &engine,
                              .user = &tcp,
                              .traffic = traffic,
                              .plot = plot,
                              .report = report};
    uint8_t *messages = malloc(tcp.count * options->size);
    if (messages == NULL) {
        cli_fail(CLI_FAILED, "not enough memory for one message of each flow");
        return false;
    }
    for (uint32_t i = 0; i < tcp.count; i++) {
        tcp.flows[i].send_index = i;
        tcp.flows[i].receive_index = i;
        tcp.flows[i].message = messages + i * options->size;
    }
    bool is_ready = cli_sim_net_exchange(&run);
    free(messages);
    return is_ready;
}
