/* SPDX-License-Identifier: MIT */
/*
 * cmd_sim.c - weir sim: a whole exchange between two endpoints in virtual time, from one seed.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sim_run.h"

enum option_key {
    KEY_GUARANTEE = 256,
    KEY_MESSAGES,
    KEY_SIZE,
    KEY_EVERY,
    KEY_BULK,
    KEY_RTT,
    KEY_LOSS,
    KEY_JITTER,
    KEY_REORDER,
    KEY_DUPLICATE,
    KEY_CORRUPT,
    KEY_RATE,
    KEY_QUEUE,
    KEY_CC,
    KEY_CHANNELS,
    KEY_FLOWS,
    KEY_SEED,
    KEY_JSON,
    KEY_PLOT,
    KEY_TRACE
};

enum {
    SIZE_DEFAULT = 300,
    BULK_SIZE_DEFAULT = 16384,
    RUDP_MTU_BYTES_MIN = 1200,
    TCP_MTU_BYTES_MIN = 296,
    TCP_MTU_BYTES_MAX = 65535,
    IP_HEADER_BYTES = 20
};

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "Traffic, client to server:", 1},
    {"guarantee", KEY_GUARANTEE, "G", 0, "none, order or delivery (default)", 1},
    {"messages", KEY_MESSAGES, "N", 0, "how many (default 10000)", 1},
    {"size", KEY_SIZE, "B", 0, "of each, at least 16 bytes (default 300; with --bulk 16KiB)", 1},
    {"every", KEY_EVERY, "T", 0, "one message every T (default 1ms)", 1},
    {"bulk", KEY_BULK, "BYTES", 0, "this much in all, as fast as the queue takes it", 1},
    {"channels", KEY_CHANNELS, "N", 0, "spread over N channels in turn (default 1)", 1},
    {"flows", KEY_FLOWS, "N", 0, "of tcp: spread over N connections that share the link", 1},
    {NULL, 0, NULL, 0, "Network, each direction independently:", 2},
    {"rtt", KEY_RTT, "T", 0, "round-trip time, half each way (default 20ms)", 2},
    {"loss", KEY_LOSS, "P", 0, "share of datagrams lost", 2},
    {"jitter", KEY_JITTER, "T", 0, "added to the delay, uniform from 0 to T", 2},
    {"reorder", KEY_REORDER, "P", 0, "share held back so that others overtake", 2},
    {"duplicate", KEY_DUPLICATE, "P", 0, "share that arrives twice", 2},
    {"corrupt", KEY_CORRUPT, "P", 0, "share with bits flipped", 2},
    {"rate", KEY_RATE, "R", 0, "of the bottleneck, e.g. 100mbit (default unlimited)", 2},
    {"queue", KEY_QUEUE, "BYTES", 0, "in front of the bottleneck (default 1MiB)", 2},
    {NULL, 0, NULL, 0, "Engine and output:", 3},
    {"cc", KEY_CC, "NAME", 0,
     "cubic (default of rudp and tcp), bbr, newreno or none (kcp: its own window)", 3},
    {"seed", KEY_SEED, "N", 0, "of everything random (default 1)", 3},
    {"json", KEY_JSON, NULL, 0, "one JSON object on standard output", 3},
    {"plot", KEY_PLOT, "FILE.svg", 0, "draw cwnd, in flight, RTT and goodput over time", 3},
    {"trace", KEY_TRACE, "FILE", 0, "the client's packets as pcapng", 3},
    {0}};

static const char description[] =
    "Runs a whole exchange between two endpoints over a simulated network in virtual time. The "
    "same options and seed give the same result, byte for byte. TRANSPORT: rudp, kcp or tcp, "
    "both ends alike; kcp and tcp know no --guarantee but delivery, and no --channels."
    "\v"
    "Exit code 1 when the connection broke or the guarantee was not kept.\n\n"
    "Examples:\n"
    "  weir sim rudp --messages 20000 --every 1ms --rtt 60ms --loss 20% --seed 7\n"
    "  weir sim rudp --bulk 100MB --rtt 40ms --rate 100mbit --queue 250KB --cc bbr \\\n"
    "      --plot bbr.svg\n"
    "  weir sim kcp --preset gaming --size 100 --every 20ms --rtt 30ms --loss 10%\n"
    "  weir sim tcp --bulk 100MB --rate 100mbit --rtt 40ms --flows 2\n\n"
    "JSON keys: sent, delivered (once and intact), lost, duplicated, order_violations (per "
    "channel; "
    "none promises no order) and corrupted count messages; latency_ms is from due to delivered; "
    "goodput_mbit from the first send to the last delivery; wire_bytes are IP packets of both "
    "directions; payload_bytes what was sent; retransmit_ratio bytes sent again per payload byte, "
    "of "
    "kcp segments sent again per segment; "
    "virtual_seconds from connect to the last delivery; peak_held_bytes and secondary_bytes what "
    "the receiver held out of order, and how much of it left the receive buffer; of kcp also "
    "resent_fast and resent_timeout (segments, by cause) and fec_recovered (lost packets brought "
    "back); of tcp flows, fairness (Jain's index of the bytes delivered when the first flow was "
    "done) and timeouts.";

/* --- options ---------------------------------------------------------------------------------- */

struct parsed {
    struct cli_sim_options sim;
    bool has_size, has_pacing; /* --messages or --every */
    bool has_cc;
    uint64_t flows; /* 0: not said */
};

static bool read_guarantee(const char *text, enum weir_rudp_guarantee *guarantee)
{
    static const char *const names[] = {"none", "order", "delivery"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *guarantee = (enum weir_rudp_guarantee)i;
            return true;
        }
    }
    return false;
}

static bool read_size_u32(const char *text, uint32_t *bytes)
{
    uint64_t value;
    if (!cli_read_size(text, &value) || value > UINT32_MAX) {
        return false;
    }
    *bytes = (uint32_t)value;
    return true;
}

static bool read_traffic_option(struct parsed *parsed, int key, const char *text)
{
    struct cli_sim_options *sim = &parsed->sim;
    switch (key) {
    case KEY_GUARANTEE:
        return read_guarantee(text, &sim->guarantee);
    case KEY_MESSAGES:
        parsed->has_pacing = true;
        return cli_read_count(text, CLI_SIM_MESSAGES_MAX, &sim->messages) && sim->messages > 0;
    case KEY_SIZE:
        parsed->has_size = true;
        return cli_read_size(text, &sim->size) && sim->size >= CLI_SIM_HEADER_BYTES &&
               sim->size <= WEIR_RUDP_MESSAGE_BYTES_MAX;
    case KEY_EVERY:
        parsed->has_pacing = true;
        return cli_read_duration(text, &sim->every) && sim->every <= 3600 * WEIR_SEC;
    case KEY_BULK:
        return cli_read_size(text, &sim->bulk_bytes) && sim->bulk_bytes > 0 &&
               sim->bulk_bytes <= (uint64_t)1 << 40;
    case KEY_CHANNELS:
        return cli_read_count(text, WEIR_RUDP_CHANNELS_MAX, &sim->channels) && sim->channels > 0;
    case KEY_FLOWS:
        return cli_read_count(text, CLI_SIM_FLOWS_MAX, &parsed->flows) && parsed->flows > 0;
    default:
        return false;
    }
}

static bool read_link_option(struct cli_sim_options *sim, int key, const char *text)
{
    struct weir_sim_link *link = &sim->link;
    switch (key) {
    case KEY_RTT:
        return cli_read_duration(text, &sim->rtt) && sim->rtt <= 600 * WEIR_SEC;
    case KEY_LOSS:
        return cli_read_percent(text, &link->loss_ppm);
    case KEY_JITTER:
        return cli_read_duration(text, &link->jitter) && link->jitter <= 600 * WEIR_SEC;
    case KEY_REORDER:
        return cli_read_percent(text, &link->reorder_ppm);
    case KEY_DUPLICATE:
        return cli_read_percent(text, &link->duplicate_ppm);
    case KEY_CORRUPT:
        return cli_read_percent(text, &link->corrupt_ppm);
    case KEY_RATE:
        return cli_read_rate(text, &link->rate) && link->rate > 0;
    case KEY_QUEUE:
        return read_size_u32(text, &link->queue_bytes) && link->queue_bytes > 0;
    default:
        return false;
    }
}

static bool read_output_option(struct parsed *parsed, int key, char *text)
{
    struct cli_sim_options *sim = &parsed->sim;
    switch (key) {
    case KEY_CC:
        parsed->has_cc = true;
        return weir_cc_parse(text, &sim->cc) == WEIR_OK;
    case KEY_SEED:
        return cli_read_count(text, UINT64_MAX, &sim->seed);
    case KEY_JSON:
        sim->is_json = true;
        return true;
    case KEY_PLOT:
        sim->plot_path = text;
        return true;
    case KEY_TRACE:
        sim->trace_path = text;
        return true;
    default:
        return false;
    }
}

static const char *name_of(int key)
{
    for (const struct argp_option *option = option_list; option->name != NULL || option->group != 0;
         option++) {
        if (option->key == key) {
            return option->name;
        }
    }
    return "?";
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct parsed *parsed = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &parsed->sim.kcp;
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        if (parsed->sim.transport != NULL) {
            argp_error(state, "one TRANSPORT only: '%s' is too many", text);
        }
        parsed->sim.transport = text;
        return 0;
    }
    if (key == ARGP_KEY_END && parsed->sim.transport == NULL) {
        argp_error(state, "no TRANSPORT; try: weir sim rudp");
    }
    if (key < KEY_GUARANTEE || key > KEY_TRACE) {
        return ARGP_ERR_UNKNOWN;
    }
    bool is_read = read_traffic_option(parsed, key, text) ||
                   read_link_option(&parsed->sim, key, text) ||
                   read_output_option(parsed, key, text);
    if (!is_read) {
        argp_error(state, "--%s: '%s' is not a value it takes; see --help", name_of(key), text);
    }
    return 0;
}

/* What the transports have in common is right already. False with the line printed. */
static bool check_rudp(struct parsed *parsed)
{
    struct cli_sim_options *sim = &parsed->sim;
    if (!cli_kcp_is_unused(&sim->kcp, "rudp")) {
        return false;
    }
    if (sim->kcp.mtu_bytes != 0 && sim->kcp.mtu_bytes < RUDP_MTU_BYTES_MIN) {
        cli_fail(CLI_USAGE, "--mtu: rudp takes %d to %d", RUDP_MTU_BYTES_MIN, CLI_MTU_BYTES_MAX);
        return false;
    }
    sim->link.mtu_bytes = sim->kcp.mtu_bytes;
    return true;
}

/* Of transports with one order and nothing else. False with the line printed. */
static bool check_order(const struct parsed *parsed)
{
    const struct cli_sim_options *sim = &parsed->sim;
    if (sim->guarantee != WEIR_RUDP_DELIVERY || sim->channels != 1) {
        cli_fail(CLI_USAGE, "%s delivers everything in one order; leave out --%s", sim->transport,
                 sim->channels != 1 ? "channels" : "guarantee");
        return false;
    }
    return true;
}

static bool check_kcp(struct parsed *parsed)
{
    struct cli_sim_options *sim = &parsed->sim;
    if (!check_order(parsed)) {
        return false;
    }
    if (!parsed->has_cc) {
        sim->cc = WEIR_CC_NONE;
    }
    struct weir_kcp_config config; /* made again by whoever uses it; wrong use shows here */
    return cli_kcp_configure(&sim->kcp, false, &config);
}

static bool check_tcp(struct parsed *parsed)
{
    struct cli_sim_options *sim = &parsed->sim;
    uint32_t mtu_bytes = sim->kcp.mtu_bytes;
    if (!check_order(parsed) || !cli_kcp_is_unused(&sim->kcp, "tcp")) {
        return false;
    }
    if (mtu_bytes != 0 && (mtu_bytes < TCP_MTU_BYTES_MIN || mtu_bytes > TCP_MTU_BYTES_MAX)) {
        cli_fail(CLI_USAGE, "--mtu: tcp takes %d to %d", TCP_MTU_BYTES_MIN, TCP_MTU_BYTES_MAX);
        return false;
    }
    sim->link.mtu_bytes = mtu_bytes == 0 ? 0 : mtu_bytes - IP_HEADER_BYTES;
    sim->channels = parsed->flows == 0 ? 1 : parsed->flows;
    return true;
}

struct transport {
    const char *name;
    bool (*check)(struct parsed *parsed); /* this and run are NULL: known, not built yet */
    bool (*run)(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                struct cli_sim_plot *plot, struct cli_sim_report *report);
};

static const struct transport transports[] = {{"rudp", check_rudp, cli_sim_run_rudp},
                                              {"kcp", check_kcp, cli_sim_run_kcp},
                                              {"quic", NULL, NULL},
                                              {"tcp", check_tcp, cli_sim_run_tcp}};

static const struct transport *find_transport(const char *name)
{
    for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
        if (strcmp(transports[i].name, name) == 0) {
            if (transports[i].run == NULL) {
                cli_fail(CLI_USAGE, "%s is not built yet; use rudp, kcp or tcp", name);
                return NULL;
            }
            return &transports[i];
        }
    }
    cli_fail(CLI_USAGE, "unknown transport '%s'; use rudp, kcp or tcp", name);
    return NULL;
}

/* NULL with the line printed. */
static const struct transport *read_arguments(int argc, char **argv, struct cli_sim_options *sim)
{
    static const struct argp_child children[] = {{&cli_kcp_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {.options = option_list,
                                     .parser = parse_option,
                                     .args_doc = "TRANSPORT",
                                     .doc = description,
                                     .children = children};
    struct parsed parsed = {.sim = {.guarantee = WEIR_RUDP_DELIVERY,
                                    .messages = 10000,
                                    .size = SIZE_DEFAULT,
                                    .every = WEIR_MSEC,
                                    .rtt = 20 * WEIR_MSEC,
                                    .channels = 1,
                                    .seed = 1}};
    if (!cli_read_options(&argp, argc, argv, &parsed)) {
        return NULL;
    }
    if (parsed.sim.bulk_bytes > 0 && parsed.has_pacing) {
        cli_fail(CLI_USAGE, "--bulk does not go with --messages or --every; leave one out");
        return NULL;
    }
    if (parsed.sim.bulk_bytes > 0 && !parsed.has_size) {
        parsed.sim.size = BULK_SIZE_DEFAULT;
    }
    if (parsed.sim.bulk_bytes / parsed.sim.size >= CLI_SIM_MESSAGES_MAX) {
        cli_fail(CLI_USAGE, "--bulk is more than %d messages; raise --size", CLI_SIM_MESSAGES_MAX);
        return NULL;
    }
    const struct transport *transport = find_transport(parsed.sim.transport);
    if (transport == NULL || !transport->check(&parsed)) {
        return NULL;
    }
    if (parsed.flows != 0 && transport->run != cli_sim_run_tcp) {
        cli_fail(CLI_USAGE, "--flows is for tcp alone");
        return NULL;
    }
    *sim = parsed.sim;
    sim->link.delay = sim->rtt / 2;
    return transport;
}

/* --- result ----------------------------------------------------------------------------------- */

struct result {
    uint64_t lost;
    double goodput_mbit, retransmit_ratio, virtual_seconds;
    struct cli_summary latency;
};

static struct result result_of(struct cli_sim_traffic *traffic, const struct cli_sim_report *report)
{
    struct result result = {.lost = traffic->sent - traffic->delivered,
                            .latency = cli_samples_summary(&traffic->latencies)};
    if (traffic->last_delivered > traffic->first_sent && traffic->delivered > 0) {
        result.goodput_mbit = (double)traffic->delivered_bytes * 8e3 /
                              (double)(traffic->last_delivered - traffic->first_sent);
    }
    if (report->first_sent > 0) {
        result.retransmit_ratio = (double)report->resent / (double)report->first_sent;
    }
    result.virtual_seconds = (double)(report->ended - report->started) / (double)WEIR_SEC;
    return result;
}

static void print_json(const struct cli_sim_options *options, const struct cli_sim_traffic *traffic,
                       const struct cli_sim_report *report, const struct result *result)
{
    printf("{\"transport\":\"%s\",\"seed\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64
           ",\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64 ",\"order_violations\":%" PRIu64
           ",\"corrupted\":%" PRIu64 ",\"goodput_mbit\":%.4f,\"latency_ms\":",
           options->transport, options->seed, traffic->sent, traffic->delivered, result->lost,
           traffic->duplicated, traffic->order_violations, traffic->corrupted,
           result->goodput_mbit);
    cli_summary_print_json(&result->latency, 1e6);
    printf(",\"wire_bytes\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
           ",\"retransmit_ratio\":%.5f,\"virtual_seconds\":%.6f,\"peak_held_bytes\":%" PRIu64
           ",\"secondary_bytes\":%" PRIu64,
           report->wire_bytes, traffic->payload_bytes, result->retransmit_ratio,
           result->virtual_seconds, report->peak_held_bytes, report->secondary_bytes);
    if (report->has_segments) {
        printf(",\"resent_fast\":%" PRIu64 ",\"resent_timeout\":%" PRIu64
               ",\"fec_recovered\":%" PRIu64,
               report->resent_fast, report->resent_timeout, report->fec_recovered);
    }
    if (report->flows > 0) {
        printf(",\"flows\":%" PRIu32 ",\"fairness\":%.4f,\"timeouts\":%" PRIu64, report->flows,
               report->fairness, report->timeouts);
    }
    printf("}\n");
}

static void print_table(const struct cli_sim_options *options,
                        const struct cli_sim_traffic *traffic, const struct cli_sim_report *report,
                        const struct result *result)
{
    char text[32];
    const struct cli_summary *latency = &result->latency;
    printf("%s, seed %" PRIu64 ", %s\n", options->transport, options->seed,
           weir_cc_text(options->cc));
    printf("  messages    sent %" PRIu64 ", delivered %" PRIu64 ", lost %" PRIu64
           ", duplicated %" PRIu64 ", out of order %" PRIu64 ", corrupted %" PRIu64 "\n",
           traffic->sent, traffic->delivered, result->lost, traffic->duplicated,
           traffic->order_violations, traffic->corrupted);
    printf("  goodput     %.3f Mbit/s over %.3f s of virtual time\n", result->goodput_mbit,
           result->virtual_seconds);
    printf("  latency     mean %.3f ms, p50 %.3f, p90 %.3f, p99 %.3f, p99.9 %.3f, max %.3f\n",
           latency->mean / 1e6, (double)latency->p50 / 1e6, (double)latency->p90 / 1e6,
           (double)latency->p99 / 1e6, (double)latency->p999 / 1e6, (double)latency->max / 1e6);
    printf("  payload     %s", cli_text_bytes(traffic->payload_bytes, text));
    printf(", on the wire %s both ways", cli_text_bytes(report->wire_bytes, text));
    printf(", sent again %.2f %%\n", 100 * result->retransmit_ratio);
    if (report->has_segments) {
        printf("  segments    sent again %" PRIu64 " after later ACKs, %" PRIu64
               " by timeout; recovered by FEC %" PRIu64 "\n",
               report->resent_fast, report->resent_timeout, report->fec_recovered);
    }
    if (report->flows > 0) {
        printf("  flows       %" PRIu32 ", fairness %.3f, timeouts %" PRIu64 "\n", report->flows,
               report->fairness, report->timeouts);
    }
    printf("  held        %s at most", cli_text_bytes(report->peak_held_bytes, text));
    printf(", %s moved out of the receive buffer\n", cli_text_bytes(report->secondary_bytes, text));
}

/* What the guarantee excludes and yet happened. */
static bool is_guarantee_kept(const struct cli_sim_options *options,
                              const struct cli_sim_traffic *traffic)
{
    bool is_kept = traffic->corrupted == 0;
    if (options->guarantee != WEIR_RUDP_NONE) {
        is_kept = is_kept && traffic->duplicated == 0 && traffic->order_violations == 0;
    }
    if (options->guarantee == WEIR_RUDP_DELIVERY) {
        is_kept = is_kept && traffic->delivered == traffic->count;
    }
    return is_kept;
}

static int finish(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                  const struct cli_sim_plot *plot, const struct cli_sim_report *report)
{
    struct result result = result_of(traffic, report);
    if (options->is_json) {
        print_json(options, traffic, report, &result);
    } else {
        print_table(options, traffic, report, &result);
    }
    if (fflush(stdout) != 0) {
        return cli_fail(CLI_FAILED, "cannot write the result: %s", strerror(errno));
    }
    if (options->plot_path != NULL && !cli_sim_plot_write(plot, options, options->plot_path)) {
        return cli_fail(CLI_FAILED, "cannot write %s: %s", options->plot_path, strerror(errno));
    }
    if (report->failure[0] != '\0') {
        return cli_fail(CLI_FAILED, "the exchange ended early: %s", report->failure);
    }
    if (!is_guarantee_kept(options, traffic)) {
        return cli_fail(CLI_FAILED, "the guarantee was not kept; the figures say how");
    }
    return CLI_OK;
}

/* --- the command ------------------------------------------------------------------------------ */

int cli_sim(int argc, char **argv)
{
    struct cli_sim_options options;
    const struct transport *transport = read_arguments(argc, argv, &options);
    if (transport == NULL) {
        return CLI_USAGE;
    }
    struct cli_sim_traffic traffic;
    struct cli_sim_plot plot = {0};
    struct cli_sim_report report = {0};
    int code = CLI_FAILED;
    if (!cli_sim_traffic_open(&traffic, &options) ||
        (options.plot_path != NULL && !cli_sim_plot_open(&plot))) {
        cli_fail(CLI_FAILED, "not enough memory for so many messages");
    } else if (transport->run(&options, &traffic, &plot, &report)) {
        code = finish(&options, &traffic, &plot, &report);
    }
    cli_sim_plot_close(&plot);
    cli_sim_traffic_close(&traffic);
    return code;
}
