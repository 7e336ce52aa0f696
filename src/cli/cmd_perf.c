/* SPDX-License-Identifier: MIT */
/*
 * cmd_perf.c - weir perf: throughput, latency and cost between two ends, or within one machine.
 */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/perf.h"

enum option_key {
    KEY_MODE = 256,
    KEY_SECONDS,
    KEY_SIZE,
    KEY_GUARANTEE,
    KEY_CONNECTIONS,
    KEY_CC,
    KEY_JSON,
    KEY_ONCE,
    KEY_LISTEN = 'l'
};

enum {
    SECONDS_MAX = 86400,
    SECONDS_DEFAULT = 10,
    SECONDS_IDLE_DEFAULT = 2,
    CONNECTIONS_MAX = 4000000,
    CONNECTIONS_SIM_MAX = 60000000,
    CONNECTIONS_SERVER_DEFAULT = 110000,
    CONNECTIONS_IDLE_DEFAULT = 1000,
    SIZE_BULK_DEFAULT = 65536,
    SIZE_DEFAULT = 64
};

static const struct argp_option option_list[] = {
    {"listen", KEY_LISTEN, NULL, 0, "serve at URL until a signal", 1},
    {"once", KEY_ONCE, NULL, 0, "with -l: end after one test", 1},
    {"mode", KEY_MODE, "MODE", 0,
     "bulk (default): large messages one way; message: small ones, as many as go; latency: round "
     "trips; idle: connections that do nothing, and their memory",
     2},
    {"seconds", KEY_SECONDS, "N", 0, "how long (default 10; idle rests for 2)", 2},
    {"size", KEY_SIZE, "B", 0, "of a message (default 64; bulk 64KiB)", 2},
    {"guarantee", KEY_GUARANTEE, "G", 0, "none, order or delivery (default)", 2},
    {"connections", KEY_CONNECTIONS, "N", 0,
     "opened side by side (default 1; idle 1000); with -l: held at most (default 110000)", 2},
    {"cc", KEY_CC, "NAME", 0, "cubic (default of rudp), bbr, newreno or none; kcp: its own", 2},
    {"json", KEY_JSON, NULL, 0, "one JSON object on standard output", 3},
    {0}};

static const char description[] =
    "Measures the way from here to a server, or with -l is that server. Without a URL, or with "
    "rudp://self or kcp://self, it starts a server of its own on loopback in a second process. "
    "tcp:// "
    "is weir's own TCP, over --driver."
    "\v"
    "Examples:\n"
    "  weir perf -l rudp://*:5201\n"
    "  weir perf rudp://192.0.2.7:5201 --mode message --size 64 --seconds 5\n"
    "  weir perf --mode idle --connections 100000 --json\n"
    "  weir perf kcp://self --preset turbo --crypt aes --key example\n"
    "  weir perf -l tcp://*:5201 --driver tun:weir0,10.7.0.2/24\n"
    "  weir perf -l rudp://*:5201 --workers 4\n"
    "  weir perf tcp://sim --mode idle --connections 1000000 --json\n\n"
    "kcp:// and tcp:// have the guarantee delivery only. With kcp:// packets_sent and packets_lost "
    "count segments, rtt_min_us "
    "is not known, and the bytes in retransmit_ratio are taken from the average segment. With "
    "tcp:// "
    "they are of the whole endpoint, and joined segments count once.\n\n"
    "JSON keys of bulk, message and latency: transport, mode, guarantee, size, connections, cc, "
    "mtu; seconds (at the receiver, first to last message), messages_sent, messages_received, "
    "payload_bytes (received), goodput_mbit, messages_per_second; cpu_seconds_client and _server, "
    "cpu_seconds_per_gb and cpu_seconds_per_million_messages (both ends together, and each with "
    "_client and _server); packets_sent, packets_received, packets_lost, retransmit_ratio (bytes "
    "sent again per payload byte), rtt_us, rtt_min_us. latency adds round_trips, "
    "lost_round_trips and latency_us {mean, p50, p90, p99, p999, max}.\n\n"
    "JSON keys of idle: connections (asked for), opened, failed, open_client and open_server (at "
    "the same time), broken; bytes_per_connection (the larger of _client and _server: growth of "
    "the memory in use of that process, per connection); messages_sent, echoes and lost (one "
    "message on each, sent back); setup_seconds, handshakes_per_second, cpu_seconds_client, "
    "cpu_seconds_server.\n\n"
    "tcp://sim has idle only: both ends in this process, the simulated network between them, one "
    "byte on each connection. JSON keys: connections, opened, failed, open_client, open_server, "
    "broken; bytes_per_connection (growth of the server's memory alone, from the pages of its "
    "blocks "
    "that are resident), bytes_per_connection_after_echo, server_growth_bytes; sent, acknowledged, "
    "echoed, lost; setup_seconds, handshakes_per_second, echo_seconds (real time).";

/* --- options ---------------------------------------------------------------------------------- */

struct parsed {
    struct cli_perf_options perf;
    bool has_client_option; /* one that means nothing with -l */
};

/* Sets *index to the place of text among names. */
static bool find_name(const char *text, const char *(*name_at)(uint32_t index), uint32_t count,
                      uint32_t *index)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(text, name_at(i)) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static const char *mode_at(uint32_t index)
{
    return cli_perf_mode_text((enum cli_perf_mode)index);
}

static const char *guarantee_at(uint32_t index)
{
    return cli_perf_guarantee_text((enum weir_rudp_guarantee)index);
}

static bool read_client_option(struct cli_perf_options *perf, int key, const char *text)
{
    uint32_t index = 0;
    switch (key) {
    case KEY_MODE:
        if (!find_name(text, mode_at, CLI_PERF_IDLE + 1, &index)) {
            return false;
        }
        perf->mode = (enum cli_perf_mode)index;
        return true;
    case KEY_GUARANTEE:
        if (!find_name(text, guarantee_at, WEIR_RUDP_DELIVERY + 1, &index)) {
            return false;
        }
        perf->guarantee = (enum weir_rudp_guarantee)index;
        return true;
    case KEY_SECONDS:
        return cli_read_count(text, SECONDS_MAX, &perf->seconds) && perf->seconds > 0;
    case KEY_SIZE:
        return cli_read_size(text, &perf->size) && perf->size > 0 &&
               perf->size <= WEIR_RUDP_MESSAGE_BYTES_MAX;
    default:
        return false;
    }
}

static bool read_option(struct cli_perf_options *perf, int key, const char *text)
{
    switch (key) {
    case KEY_CONNECTIONS:
        return cli_read_count(text, CONNECTIONS_SIM_MAX, &perf->connections) &&
               perf->connections > 0;
    case KEY_CC:
        perf->is_cc_given = true;
        return weir_cc_parse(text, &perf->cc) == WEIR_OK;
    case KEY_JSON:
        return perf->is_json = true;
    case KEY_ONCE:
        return perf->is_once = true;
    case KEY_LISTEN:
        return perf->is_listening = true;
    default:
        return false;
    }
}

static const char *name_of(int key)
{
    const struct argp_option *option = option_list;
    while (option->name != NULL && option->key != key) {
        option++;
    }
    return option->name == NULL ? "?" : option->name;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct parsed *parsed = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &parsed->perf.net;
        state->child_inputs[1] = &parsed->perf.kcp;
        state->child_inputs[2] = &parsed->perf.crew;
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        if (parsed->perf.url != NULL) {
            argp_error(state, "one URL only: '%s' is too many", text);
        }
        parsed->perf.url = text;
        return 0;
    }
    if (key != KEY_LISTEN && (key < KEY_MODE || key > KEY_ONCE)) {
        return ARGP_ERR_UNKNOWN;
    }
    bool is_client_only = key <= KEY_GUARANTEE && key >= KEY_MODE;
    parsed->has_client_option = parsed->has_client_option || is_client_only;
    if (!(is_client_only ? read_client_option(&parsed->perf, key, text)
                         : read_option(&parsed->perf, key, text))) {
        argp_error(state, "--%s: '%s' is not a value it takes; see --help", name_of(key), text);
    }
    return 0;
}

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {&cli_crew_argp, 0, NULL, 0}, {0}};

static void set_defaults(struct cli_perf_options *perf)
{
    bool is_idle = perf->mode == CLI_PERF_IDLE && !perf->is_listening;
    if (perf->connections == 0) {
        perf->connections = perf->is_listening ? CONNECTIONS_SERVER_DEFAULT
                            : is_idle          ? CONNECTIONS_IDLE_DEFAULT
                                               : 1;
    }
    if (perf->seconds == 0) {
        perf->seconds = is_idle ? SECONDS_IDLE_DEFAULT : SECONDS_DEFAULT;
    }
    if (perf->size == 0) {
        perf->size = perf->mode == CLI_PERF_BULK ? SIZE_BULK_DEFAULT : SIZE_DEFAULT;
    }
}

/* False with the line printed. */
static bool read_arguments(int argc, char **argv, struct cli_perf_options *perf)
{
    static const struct argp argp = {.options = option_list,
                                     .parser = parse_option,
                                     .args_doc = "[URL]",
                                     .doc = description,
                                     .children = children};
    struct parsed parsed = {.perf = {.guarantee = WEIR_RUDP_DELIVERY}};
    if (!cli_read_options(&argp, argc, argv, &parsed)) {
        return false;
    }
    *perf = parsed.perf;
    if (perf->is_listening && perf->url == NULL) {
        cli_fail(CLI_USAGE, "-l needs a URL to listen at, such as rudp://*:5201");
        return false;
    }
    if (perf->is_listening && parsed.has_client_option) {
        cli_fail(CLI_USAGE, "--mode, --seconds, --size and --guarantee are the client's to choose");
        return false;
    }
    if (perf->crew.is_given && !perf->is_listening) {
        cli_fail(CLI_USAGE, "--workers goes with -l: a client has one thread, so that what it "
                            "measures is the server; start several clients");
        return false;
    }
    if (perf->is_once && !perf->is_listening) {
        cli_fail(CLI_USAGE, "--once goes with -l only");
        return false;
    }
    set_defaults(perf);
    return true;
}

/* "SCHEME://self" */
static bool is_self(const char *url)
{
    return strcmp(url, "rudp://self") == 0 || strcmp(url, "kcp://self") == 0;
}

/* False with the line printed: tcp://sim takes little. */
static bool check_sim(const struct cli_perf_options *perf)
{
    if (perf->is_listening) {
        cli_fail(CLI_USAGE, "-l needs an address, not %s", perf->url);
        return false;
    }
    if (perf->mode != CLI_PERF_IDLE) {
        cli_fail(CLI_USAGE, "tcp://sim is for --mode idle; weir sim tcp measures traffic there");
        return false;
    }
    if (perf->net.text != NULL) {
        cli_fail(CLI_USAGE, "tcp://sim has a simulated link; --driver is for other addresses");
        return false;
    }
    return cli_kcp_is_unused(&perf->kcp, "tcp");
}

/* False with the line printed: what the transport does not have. */
static bool check_transport(struct cli_perf_options *perf)
{
    bool is_kcp = strcmp(perf->scheme, "kcp") == 0;
    bool is_tcp = strcmp(perf->scheme, "tcp") == 0;
    if (perf->connections > CONNECTIONS_MAX) {
        cli_fail(CLI_USAGE, "--connections: %d at most, but tcp://sim", CONNECTIONS_MAX);
        return false;
    }
    if (!cli_crew_check(&perf->crew, &perf->net) ||
        !cli_link_check_options(perf->scheme, &perf->kcp, &perf->net)) {
        return false;
    }
    if ((is_kcp || is_tcp) && perf->guarantee != WEIR_RUDP_DELIVERY) {
        cli_fail(CLI_USAGE, "--guarantee %s: %s:// has delivery only; rudp:// has all three",
                 cli_perf_guarantee_text(perf->guarantee), perf->scheme);
        return false;
    }
    if (perf->kcp.fec_data != 0 && perf->connections > 1 && !perf->is_listening) {
        cli_fail(CLI_USAGE,
                 "--fec goes with one connection: an address has one sequence of parity");
        return false;
    }
    return true;
}

/* Reads the URL, which may be missing; sets scheme. False with the line printed. */
static bool read_url(struct cli_perf_options *perf, struct cli_url *url)
{
    if (perf->url != NULL && strcmp(perf->url, "tcp://sim") == 0) {
        perf->is_sim = true;
        perf->scheme = "tcp";
        return check_sim(perf);
    }
    if (perf->url != NULL && strcmp(perf->url, "tcp://self") == 0) {
        cli_fail(CLI_USAGE, "tcp:// has no server of its own; write tcp://sim for --mode idle, or "
                            "start weir perf -l with a --driver");
        return false;
    }
    if (perf->url == NULL || is_self(perf->url)) {
        if (perf->is_listening) {
            cli_fail(CLI_USAGE, "-l needs an address, not %s", perf->url);
            return false;
        }
        perf->scheme = perf->url != NULL && perf->url[0] == 'k' ? "kcp" : "rudp";
        perf->url = NULL;
        return check_transport(perf);
    }
    if (!cli_read_url(perf->url, perf->is_listening, url)) {
        return false;
    }
    perf->scheme = url->scheme;
    return check_transport(perf);
}

/* --- both ends on one machine ----------------------------------------------------------------- */

/* The child's whole life. It ends with its parent. */
static _Noreturn void serve_as_child(const struct cli_perf_options *options, int port_fd)
{
    struct cli_perf_options server = *options;
    struct weir_addr bind = {.ip = {127, 0, 0, 1}, .family = WEIR_ADDR_IP4};
    server.is_once = true;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    _exit(cli_perf_serve(&server, &bind, port_fd));
}

/* Prints the line and returns false when there is no server in the end. */
static bool start_server(const struct cli_perf_options *options, pid_t *child,
                         struct weir_addr *server)
{
    int ends[2];
    if (pipe(ends) != 0) {
        cli_fail(CLI_FAILED, "cannot start a server: %m");
        return false;
    }
    (void)fflush(stdout);
    *child = fork();
    if (*child == 0) {
        (void)close(ends[0]);
        serve_as_child(options, ends[1]);
    }
    (void)close(ends[1]);
    uint16_t port = 0;
    bool is_ready = *child > 0 && read(ends[0], &port, sizeof(port)) == (ssize_t)sizeof(port);
    (void)close(ends[0]);
    *server = (struct weir_addr){.ip = {127, 0, 0, 1}, .port = port, .family = WEIR_ADDR_IP4};
    if (!is_ready) {
        cli_fail(CLI_FAILED, "the server of its own did not start");
    }
    return is_ready;
}

static int run_with_own_server(const struct cli_perf_options *options)
{
    pid_t child = -1;
    struct weir_addr server;
    int code = CLI_FAILED;
    if (start_server(options, &child, &server)) {
        code = cli_perf_run(options, &server);
    }
    if (child > 0) {
        int status = 0;
        /* It ended by itself when the test did; a test that broke may have left it waiting. */
        (void)kill(child, SIGTERM);
        (void)waitpid(child, &status, 0);
        if (code == CLI_OK && WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM) {
            code = cli_fail(CLI_FAILED, "the server crashed with signal %d", WTERMSIG(status));
        }
    }
    return code;
}

int cli_perf(int argc, char **argv)
{
    struct cli_perf_options options;
    struct cli_url url;
    if (!read_arguments(argc, argv, &options)) {
        return CLI_USAGE;
    }
    if (!read_url(&options, &url)) {
        return CLI_USAGE;
    }
    cli_catch_signals();
    if (options.is_sim) {
        return cli_perf_run_sim(&options);
    }
    if (options.url == NULL) {
        return run_with_own_server(&options);
    }
    return options.is_listening ? cli_perf_serve(&options, &url.addr, -1)
                                : cli_perf_run(&options, &url.addr);
}
