/* SPDX-License-Identifier: MIT */
/*
 * sim_kcp.c - "weir sim kcp": the KCP engine at both ends, both with the same options.
 *
 * KCP sends without a handshake, so that the exchange begins at once. In stream mode messages have
 * no bounds: they are cut again by their known lengths, which works because the stream keeps order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/kcp_options.h"
#include "cli/sim_net.h"

enum {
    SECONDARY_BYTES = 64 << 20,
    SEGMENT_BYTES = 24, /* in front of its data */
    SLIDE_SEGMENTS = 65536
};

struct kcp {
    struct weir_kcp_config config; /* the client's */
    struct weir_kcp_conn *conn;    /* the client's; NULL once it is closed */
    uint32_t segment_bytes_max;
    weir_nsec rtt_min;    /* the least smoothed one, 0: none yet */
    uint8_t *message;     /* the next one of a stream, or one of several spans */
    size_t message_bytes; /* of it, so far */
    uint64_t message_index;
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
    struct kcp *kcp = run->user;
    struct weir_kcp_config config;
    struct weir_kcp *endpoint;
    bool is_server = host == &run->server;
    if (!cli_kcp_configure(&run->options->kcp, is_server, &config)) {
        return false;
    }
    config.slide = host->slide;
    config.cc = run->options->cc;
    config.connections_max = 4;
    config.held_max = SLIDE_SEGMENTS;
    if (!is_server) {
        kcp->config = config;
        kcp->segment_bytes_max = config.tuning.mtu_bytes - SEGMENT_BYTES;
    }
    if (!cli_sim_net_map(run, host, weir_kcp_mem_size(&config))) {
        return false;
    }
    if (weir_kcp_init(host->engine_mem, &config, seed, run->now, &endpoint) != WEIR_OK) {
        cli_fail(CLI_FAILED, "the KCP engine does not start with these options");
        return false;
    }
    host->endpoint = endpoint;
    return true;
}

static void close_endpoint(struct cli_sim_host *host)
{
    weir_kcp_fini(host->endpoint);
}

static bool connect_client(struct cli_sim_run *run, const struct weir_addr *server)
{
    struct kcp *kcp = run->user;
    if (weir_kcp_connect(run->client.endpoint, run->now, server, 0, NULL, &kcp->conn) != WEIR_OK) {
        return false;
    }
    cli_sim_net_on_opened(run);
    return true;
}

/* --- events ----------------------------------------------------------------------------------- */

static const char *text_of_cause(enum weir_kcp_close_cause cause)
{
    switch (cause) {
    case WEIR_KCP_CAUSE_LOCAL:
        return "closed here";
    case WEIR_KCP_CAUSE_TIMEOUT:
        return "timed out";
    case WEIR_KCP_CAUSE_DEAD_LINK:
        return "dead link: a segment was sent too often";
    case WEIR_KCP_CAUSE_REPLACED:
        return "replaced by another session";
    case WEIR_KCP_CAUSE_PROTOCOL:
        return "protocol broken";
    default:
        return "closed";
    }
}

static void deliver(struct cli_sim_run *run, struct weir_span message)
{
    cli_sim_traffic_on_delivered(run->traffic, 0, message, run->now);
}

static void on_stream_bytes(struct cli_sim_run *run, struct weir_span bytes)
{
    struct kcp *kcp = run->user;
    while (bytes.length > 0) {
        size_t length = cli_sim_traffic_length(run->traffic, kcp->message_index);
        size_t wanted = length - kcp->message_bytes;
        size_t taken = bytes.length < wanted ? bytes.length : wanted;
        memcpy(kcp->message + kcp->message_bytes, bytes.data, taken);
        kcp->message_bytes += taken;
        bytes = weir_span_of(bytes.data + taken, bytes.length - taken);
        if (kcp->message_bytes == length) {
            deliver(run, weir_span_of(kcp->message, length));
            kcp->message_bytes = 0;
            kcp->message_index++;
        }
    }
}

static void on_message(struct cli_sim_run *run, const struct weir_kcp_event *event)
{
    struct kcp *kcp = run->user;
    if (kcp->config.tuning.is_stream) {
        for (uint32_t i = 0; i < event->message.span_count; i++) {
            on_stream_bytes(run, event->message.spans[i]);
        }
    } else if (event->message.span_count == 1) {
        deliver(run, event->message.spans[0]);
    } else {
        /* One that is longer than any that was sent is cut, and then not intact. */
        size_t length = weir_kcp_copy_message(event, kcp->message, run->options->size);
        deliver(run, weir_span_of(kcp->message, length));
    }
}

static void on_event(struct cli_sim_run *run, const struct weir_kcp_event *event)
{
    struct kcp *kcp = run->user;
    switch (event->type) {
    case WEIR_KCP_EVENT_REQUEST:
        weir_kcp_accept(event->conn, NULL);
        break;
    case WEIR_KCP_EVENT_MESSAGE:
        on_message(run, event);
        break;
    case WEIR_KCP_EVENT_WRITABLE:
        run->is_full = false;
        break;
    case WEIR_KCP_EVENT_CLOSED:
        if (event->conn == kcp->conn) {
            kcp->conn = NULL;
            run->is_closed = true;
        }
        cli_sim_net_fail(run, text_of_cause(event->closed.cause), "");
        break;
    case WEIR_KCP_EVENT_OPENED:
    case WEIR_KCP_EVENT_PARCEL_DONE:
    case WEIR_KCP_EVENT_MOVED:
        break;
    }
}

static void drain_events(struct cli_sim_run *run, struct cli_sim_host *host)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(host->endpoint, &event) == WEIR_OK) {
        on_event(run, &event);
    }
}

/* --- the exchange ----------------------------------------------------------------------------- */

static enum weir_status send_message(struct cli_sim_run *run, uint64_t index,
                                     struct weir_span message)
{
    struct kcp *kcp = run->user;
    (void)index;
    return weir_kcp_send(kcp->conn, message.data, message.length);
}

static void look(struct cli_sim_run *run, struct cli_sim_sample *sample, bool *is_idle)
{
    struct kcp *kcp = run->user;
    struct weir_kcp_conn_stats stats;
    weir_kcp_conn_stats(kcp->conn, &stats);
    if (stats.rtt != 0 && (kcp->rtt_min == 0 || stats.rtt < kcp->rtt_min)) {
        kcp->rtt_min = stats.rtt;
    }
    sample->window_bytes =
        stats.is_awake ? (uint64_t)stats.window * kcp->segment_bytes_max : UINT64_MAX;
    sample->in_flight_bytes = (uint64_t)stats.in_flight * kcp->segment_bytes_max;
    sample->rtt = stats.rtt;
    sample->rtt_min = kcp->rtt_min;
    *is_idle = stats.queued == 0 && stats.in_flight == 0;
}

static void report_figures(const struct cli_sim_run *run, struct cli_sim_report *report)
{
    const struct weir_kcp_stats *stats = weir_kcp_stats(run->client.endpoint);
    report->first_sent = stats->segments_sent;
    report->resent = stats->resent_fast + stats->resent_timeout;
    report->resent_fast = stats->resent_fast;
    report->resent_timeout = stats->resent_timeout;
    report->fec_recovered = weir_kcp_stats(run->server.endpoint)->fec.recovered;
    report->peak_held_bytes = weir_slide_stats(run->server.slide)->held_bytes_peak;
    report->has_segments = true;
}

bool cli_sim_run_kcp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                     struct cli_sim_plot *plot, struct cli_sim_report *report)
{
    static const struct cli_sim_engine engine = {.header_bytes = CLI_SIM_UDP_HEADER_BYTES,
                                                 .verbs = weir_kcp_verbs,
                                                 .secondary_bytes = secondary_bytes,
                                                 .open = open_endpoint,
                                                 .connect = connect_client,
                                                 .drain_events = drain_events,
                                                 .send = send_message,
                                                 .look = look,
                                                 .report = report_figures,
                                                 .fini = close_endpoint};
    struct kcp kcp = {.message = malloc(options->size)};
    struct cli_sim_run run = {.options = options,
                              .engine = &engine,
                              .user = &kcp,
                              .traffic = traffic,
                              .plot = plot,
                              .report = report};
    if (kcp.message == NULL) {
        cli_fail(CLI_FAILED, "not enough memory for one message");
        return false;
    }
    bool is_ready = cli_sim_net_exchange(&run);
    free(kcp.message);
    return is_ready;
}
