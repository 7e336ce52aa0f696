/* SPDX-License-Identifier: MIT */
/*
 * sim_rudp.c - "weir sim rudp": the RUDP engine at both ends.
 */
#include <string.h>

#include "cli/cli.h"
#include "cli/sim_net.h"

enum {
    WINDOW_BYTES_MIN = 4 << 20,
    WINDOW_BYTES_MAX = 64 << 20
};

struct rudp {
    struct weir_rudp_conn *conn; /* the client's; NULL once it is closed */
    struct weir_rudp_conn_stats stats;
};

/* --- set-up ----------------------------------------------------------------------------------- */

/* Twice what the path holds, so that neither window nor queue is what limits the exchange. */
static uint32_t choose_window_bytes(const struct cli_sim_options *options)
{
    uint64_t bytes = WINDOW_BYTES_MAX / 4;
    weir_nsec rtt = options->rtt + 2 * options->link.jitter;
    if (options->link.rate > 0) {
        bytes = (uint64_t)((double)options->link.rate / 4 * (double)rtt / (double)WEIR_SEC) +
                2 * (uint64_t)options->link.queue_bytes;
    }
    bytes = bytes < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : bytes;
    bytes = bytes > WINDOW_BYTES_MAX ? WINDOW_BYTES_MAX : bytes;
    return (uint32_t)(bytes + options->size + 64);
}

static struct weir_rudp_config choose_config(const struct cli_sim_run *run)
{
    const struct cli_sim_options *options = run->options;
    struct weir_rudp_config config;
    weir_rudp_config_default(&config);
    config.connections_max = 4;
    config.awake_max = 4;
    config.channels_max = (uint16_t)options->channels;
    config.message_bytes_max =
        (uint32_t)(options->size > config.message_bytes_max ? options->size
                                                            : config.message_bytes_max);
    config.receive_window_bytes = choose_window_bytes(options);
    config.send_queue_bytes = config.receive_window_bytes;
    config.send_bytes = 4 * (size_t)config.send_queue_bytes;
    config.assembly_bytes = 4 * (size_t)config.receive_window_bytes;
    config.cc = options->cc;
    if (options->link.mtu_bytes > config.mtu_bytes_max) {
        config.mtu_bytes_max = (uint16_t)options->link.mtu_bytes;
    }
    return config;
}

static size_t secondary_bytes(const struct cli_sim_run *run)
{
    return 4 * (size_t)choose_window_bytes(run->options);
}

static bool open_endpoint(struct cli_sim_run *run, struct cli_sim_host *host,
                          const uint8_t seed[32])
{
    struct weir_rudp_config config = choose_config(run);
    struct weir_rudp *endpoint;
    config.slide = host->slide;
    config.is_accepting = host == &run->server;
    if (!cli_sim_net_map(run, host, weir_rudp_mem_size(&config))) {
        return false;
    }
    if (weir_rudp_init(host->engine_mem, &config, seed, run->now, &endpoint) != WEIR_OK) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated hosts");
        return false;
    }
    host->endpoint = endpoint;
    return true;
}

static bool connect_client(struct cli_sim_run *run, const struct weir_addr *server)
{
    struct rudp *rudp = run->user;
    return weir_rudp_connect(run->client.endpoint, run->now, server, NULL, &rudp->conn) == WEIR_OK;
}

/* --- events ----------------------------------------------------------------------------------- */

static const char *text_of_cause(enum weir_rudp_close_cause cause)
{
    switch (cause) {
    case WEIR_RUDP_CAUSE_LOCAL:
        return "closed by the client";
    case WEIR_RUDP_CAUSE_PEER:
        return "closed by the server";
    case WEIR_RUDP_CAUSE_REFUSED:
        return "refused";
    case WEIR_RUDP_CAUSE_TIMEOUT:
        return "timed out";
    case WEIR_RUDP_CAUSE_VERSION:
        return "no common version";
    case WEIR_RUDP_CAUSE_RESET:
        return "reset";
    case WEIR_RUDP_CAUSE_PROTOCOL:
        return "protocol broken";
    default:
        return "closed";
    }
}

static void on_event(struct cli_sim_run *run, const struct weir_rudp_event *event)
{
    struct rudp *rudp = run->user;
    switch (event->type) {
    case WEIR_RUDP_EVENT_REQUEST:
        weir_rudp_accept(event->conn, NULL);
        break;
    case WEIR_RUDP_EVENT_OPENED:
        if (event->conn == rudp->conn && !run->is_open) {
            cli_sim_net_on_opened(run);
        }
        break;
    case WEIR_RUDP_EVENT_MESSAGE:
        cli_sim_traffic_on_delivered(run->traffic, event->message.channel, event->message.data,
                                     run->now);
        break;
    case WEIR_RUDP_EVENT_WRITABLE:
        run->is_full = false;
        break;
    case WEIR_RUDP_EVENT_CLOSED:
        if (event->conn == rudp->conn) {
            rudp->conn = NULL;
            run->is_closed = true;
        }
        cli_sim_net_fail(run, text_of_cause(event->closed.cause), event->closed.text);
        break;
    case WEIR_RUDP_EVENT_PARCEL_DONE:
    case WEIR_RUDP_EVENT_MOVED:
        break;
    }
}

static void drain_events(struct cli_sim_run *run, struct cli_sim_host *host)
{
    struct weir_rudp_event event;
    while (weir_rudp_event(host->endpoint, &event) == WEIR_OK) {
        on_event(run, &event);
    }
}

/* --- the exchange ----------------------------------------------------------------------------- */

static enum weir_status send_message(struct cli_sim_run *run, uint64_t index,
                                     struct weir_span message)
{
    struct rudp *rudp = run->user;
    struct weir_rudp_send how = {.channel = cli_sim_traffic_channel(run->traffic, index),
                                 .guarantee = run->options->guarantee};
    return weir_rudp_send(rudp->conn, &how, message.data, message.length);
}

static void look(struct cli_sim_run *run, struct cli_sim_sample *sample, bool *is_idle)
{
    struct rudp *rudp = run->user;
    struct weir_rudp_conn_stats *stats = &rudp->stats;
    weir_rudp_conn_stats(rudp->conn, stats);
    sample->window_bytes = stats->window_bytes;
    sample->in_flight_bytes = stats->in_flight_bytes;
    sample->rtt = stats->rtt;
    sample->rtt_min = stats->rtt_min;
    *is_idle = stats->queued_bytes == 0;
}

static void report_figures(const struct cli_sim_run *run, struct cli_sim_report *report)
{
    const struct rudp *rudp = run->user;
    report->first_sent = run->traffic->payload_bytes;
    report->resent = rudp->stats.bytes_resent;
    report->peak_held_bytes = weir_rudp_stats(run->server.endpoint)->held_bytes_peak;
}

bool cli_sim_run_rudp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                      struct cli_sim_plot *plot, struct cli_sim_report *report)
{
    static const struct cli_sim_engine engine = {.header_bytes = CLI_SIM_UDP_HEADER_BYTES,
                                                 .verbs = weir_rudp_verbs,
                                                 .secondary_bytes = secondary_bytes,
                                                 .open = open_endpoint,
                                                 .connect = connect_client,
                                                 .drain_events = drain_events,
                                                 .send = send_message,
                                                 .look = look,
                                                 .report = report_figures};
    struct rudp rudp = {0};
    struct cli_sim_run run = {.options = options,
                              .engine = &engine,
                              .user = &rudp,
                              .traffic = traffic,
                              .plot = plot,
                              .report = report};
    return cli_sim_net_exchange(&run);
}
