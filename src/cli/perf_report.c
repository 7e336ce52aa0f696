/* SPDX-License-Identifier: MIT */
/*
 * perf_report.c - prints what "weir perf" found: a table, or one JSON object.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/perf.h"

/* What the figures of both ends come to; 0 where nothing was received. */
struct derived {
    double seconds, goodput_mbit, messages_per_second;
    double cpu_client, cpu_server; /* s */
    double per_gb, per_gb_client, per_gb_server;
    double per_million, per_million_client, per_million_server;
    double retransmit_ratio;
    uint64_t messages, bytes;
};

/* KCP has a congestion window of its own as long as no other is asked for. */
static const char *cc_text(const struct cli_perf_options *options)
{
    bool is_own = strcmp(options->scheme, "kcp") == 0 && !options->is_cc_given;
    return is_own ? "kcp" : weir_cc_text(options->cc);
}

static double ratio(double value, double of)
{
    return of > 0 ? value / of : 0;
}

static struct derived derive(const struct cli_perf_client *client)
{
    const uint64_t *figures = client->figures;
    struct derived derived = {.messages = figures[CLI_PERF_MESSAGES],
                              .bytes = figures[CLI_PERF_BYTES],
                              .seconds = (double)figures[CLI_PERF_RECEIVE_NS] / 1e9,
                              .cpu_client = (double)client->cpu_ns / 1e9,
                              .cpu_server = (double)figures[CLI_PERF_CPU_NS] / 1e9};
    double gb = (double)derived.bytes / 1e9;
    double million = (double)derived.messages / 1e6;
    derived.goodput_mbit = ratio((double)derived.bytes * 8e-6, derived.seconds);
    derived.messages_per_second = ratio((double)derived.messages, derived.seconds);
    derived.per_gb_client = ratio(derived.cpu_client, gb);
    derived.per_gb_server = ratio(derived.cpu_server, gb);
    derived.per_gb = derived.per_gb_client + derived.per_gb_server;
    derived.per_million_client = ratio(derived.cpu_client, million);
    derived.per_million_server = ratio(derived.cpu_server, million);
    derived.per_million = derived.per_million_client + derived.per_million_server;
    derived.retransmit_ratio = ratio((double)client->stats.bytes_resent,
                                     (double)client->messages_sent * (double)client->options->size);
    return derived;
}

/* --- bulk, message, latency ------------------------------------------------------------------- */

static void print_latency_json(const struct cli_perf_client *client,
                               const struct cli_summary *latency)
{
    printf(",\"round_trips\":%" PRIu64 ",\"lost_round_trips\":%" PRIu64 ",\"latency_us\":",
           client->echoes, client->lost_echoes);
    cli_summary_print_json(latency, 1e3);
}

static void print_load_json(const struct cli_perf_client *client, const struct derived *derived,
                            const struct cli_summary *latency)
{
    const struct cli_perf_options *options = client->options;
    const struct cli_conn_stats *stats = &client->stats;
    printf("{\"transport\":\"%s\",\"mode\":\"%s\",\"guarantee\":\"%s\",\"size\":%" PRIu64
           ",\"connections\":%" PRIu64 ",\"cc\":\"%s\",\"mtu\":%u,\"seconds\":%.6f",
           options->scheme, cli_perf_mode_text(options->mode),
           cli_perf_guarantee_text(options->guarantee), options->size, options->connections,
           cc_text(options), stats->mtu_bytes, derived->seconds);
    printf(",\"messages_sent\":%" PRIu64 ",\"messages_received\":%" PRIu64
           ",\"payload_bytes\":%" PRIu64 ",\"goodput_mbit\":%.3f,\"messages_per_second\":%.1f",
           client->messages_sent, derived->messages, derived->bytes, derived->goodput_mbit,
           derived->messages_per_second);
    printf(",\"cpu_seconds_client\":%.6f,\"cpu_seconds_server\":%.6f,\"cpu_seconds_per_gb\":%.6f,"
           "\"cpu_seconds_per_gb_client\":%.6f,\"cpu_seconds_per_gb_server\":%.6f",
           derived->cpu_client, derived->cpu_server, derived->per_gb, derived->per_gb_client,
           derived->per_gb_server);
    printf(",\"cpu_seconds_per_million_messages\":%.6f,"
           "\"cpu_seconds_per_million_messages_client\":%.6f,"
           "\"cpu_seconds_per_million_messages_server\":%.6f",
           derived->per_million, derived->per_million_client, derived->per_million_server);
    printf(",\"packets_sent\":%" PRIu64 ",\"packets_received\":%" PRIu64
           ",\"packets_lost\":%" PRIu64 ",\"retransmit_ratio\":%.6f,\"rtt_us\":%.1f,"
           "\"rtt_min_us\":%.1f",
           stats->packets_sent, client->figures[CLI_PERF_PACKETS_RECEIVED], stats->packets_lost,
           derived->retransmit_ratio, (double)stats->rtt / 1e3, (double)stats->rtt_min / 1e3);
    if (options->mode == CLI_PERF_LATENCY) {
        print_latency_json(client, latency);
    }
    printf("}\n");
}

static void print_load_table(const struct cli_perf_client *client, const struct derived *derived,
                             const struct cli_summary *latency)
{
    const struct cli_perf_options *options = client->options;
    char text[32];
    printf("%s, %s, %" PRIu64 " B, %" PRIu64 " connection%s, %s, mtu %u\n",
           cli_perf_mode_text(options->mode), cli_perf_guarantee_text(options->guarantee),
           options->size, options->connections, options->connections == 1 ? "" : "s",
           cc_text(options), client->stats.mtu_bytes);
    printf("  received    %" PRIu64 " of %" PRIu64 " messages, %s in %.2f s\n", derived->messages,
           client->messages_sent, cli_text_bytes(derived->bytes, text), derived->seconds);
    printf("  rate        %.1f Mbit/s, %.0f messages/s\n", derived->goodput_mbit,
           derived->messages_per_second);
    printf("  CPU         client %.2f s, server %.2f s; %.3f s/GB, %.3f s per million messages\n",
           derived->cpu_client, derived->cpu_server, derived->per_gb, derived->per_million);
    printf("  packets     %" PRIu64 " sent, %" PRIu64 " lost, %.3f %% of the payload sent again\n",
           client->stats.packets_sent, client->stats.packets_lost, 100 * derived->retransmit_ratio);
    printf("  RTT         %.1f us, least %.1f us\n", (double)client->stats.rtt / 1e3,
           (double)client->stats.rtt_min / 1e3);
    if (options->mode == CLI_PERF_LATENCY) {
        printf("  round trip  p50 %.1f us, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f; %" PRIu64
               " in all, %" PRIu64 " without an answer\n",
               (double)latency->p50 / 1e3, (double)latency->p90 / 1e3, (double)latency->p99 / 1e3,
               (double)latency->p999 / 1e3, (double)latency->max / 1e3, client->echoes,
               client->lost_echoes);
    }
}

/* --- idle ------------------------------------------------------------------------------------- */

static void print_idle(const struct cli_perf_client *client, const struct derived *derived)
{
    uint64_t growth = client->rss_bytes > client->rss_start_bytes
                          ? client->rss_bytes - client->rss_start_bytes
                          : 0;
    double of_client = ratio((double)growth, (double)client->open_client);
    double of_server = ratio((double)client->server_growth_bytes, (double)client->open_server);
    double larger = of_client > of_server ? of_client : of_server;
    double rate = ratio((double)client->opened, client->seconds);
    if (client->options->is_json) {
        printf("{\"transport\":\"%s\",\"mode\":\"idle\",\"connections\":%" PRIu64
               ",\"opened\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"open_client\":%" PRIu64
               ",\"open_server\":%" PRIu64 ",\"broken\":%" PRIu64,
               client->options->scheme, client->options->connections, client->opened,
               client->failed, client->open_client, client->open_server, client->closed);
        printf(",\"bytes_per_connection\":%.1f,\"bytes_per_connection_client\":%.1f,"
               "\"bytes_per_connection_server\":%.1f",
               larger, of_client, of_server);
        printf(",\"messages_sent\":%" PRIu64 ",\"echoes\":%" PRIu64 ",\"lost\":%" PRIu64
               ",\"setup_seconds\":%.6f,\"handshakes_per_second\":%.1f"
               ",\"cpu_seconds_client\":%.6f,\"cpu_seconds_server\":%.6f}\n",
               client->messages_sent, client->echoes, client->lost_echoes, client->seconds, rate,
               derived->cpu_client, derived->cpu_server);
        return;
    }
    printf("idle, %" PRIu64 " connections\n", client->options->connections);
    printf("  open        client %" PRIu64 ", server %" PRIu64 "; %" PRIu64
           " could not be opened, %" PRIu64 " broke\n",
           client->open_client, client->open_server, client->failed, client->closed);
    printf("  memory      client %.0f bytes each, server %.0f\n", of_client, of_server);
    printf("  echo        %" PRIu64 " sent, %" PRIu64 " came back, %" PRIu64 " lost\n",
           client->messages_sent, client->echoes, client->lost_echoes);
    printf("  set-up      %.2f s, %.0f handshakes/s; CPU client %.2f s, server %.2f s\n",
           client->seconds, rate, derived->cpu_client, derived->cpu_server);
}

void cli_perf_report(struct cli_perf_client *client)
{
    struct derived derived = derive(client);
    if (client->options->mode == CLI_PERF_IDLE) {
        print_idle(client, &derived);
        return;
    }
    struct cli_summary latency = cli_samples_summary(&client->latencies);
    if (client->options->is_json) {
        print_load_json(client, &derived, &latency);
    } else {
        print_load_table(client, &derived, &latency);
    }
}
