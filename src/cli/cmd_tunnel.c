/* SPDX-License-Identifier: MIT */
/*
 * cmd_tunnel.c - weir tunnel: the options; tunnel.h does the work.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/crew.h"
#include "cli/kcp_options.h"
#include "cli/tunnel.h"

enum {
    KEY_KCPTUN = 0x500,
    KEY_SMUXVER,
    KEY_NOCOMP,
    KEY_NOFEC,
    KEY_MODE,
    KEY_CONN,
    KEY_SMUXBUF,
    KEY_STREAMBUF,
    KEY_KEEPALIVE,
    KEY_DRAIN,
    CONNS_MAX = 256,
    CONNECTIONS_DEFAULT = 4096,
    CONNECTIONS_MAX = 65536,
    SESSIONS_MAX = 1024, /* at a server */
    KCPTUN_FEC_DATA = 10,
    KCPTUN_FEC_PARITY = 3,
    BUFFER_BYTES_MIN = 64 << 10,
    BUFFER_BYTES_MAX = 256 << 20,
    KCPTUN_SESSION_BYTES = 4 << 20,
    KCPTUN_STREAM_BYTES = 2 << 20,
    NATIVE_SESSION_BYTES = 16 << 20,
    NATIVE_STREAM_BYTES = 1 << 20,
    RUDP_QUEUE_BYTES = 2 << 20,  /* of a session */
    RUDP_SEND_BYTES = 256 << 20, /* of all, so that 64 may stall beside the rest */
    /* KCP's time to wait at a paused peer is not silence: NOP and WASK go on. */
    PATH_BYTES = 280
};

#define TIME_MAX (86400 * WEIR_SEC)

struct options {
    const char *listen, *remote, *mode, *trace;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    struct cli_crew_options crew;
    enum weir_cc_kind cc;
    weir_nsec keepalive, timeout, drain;
    uint64_t smux_version, conns, connections, session_bytes, stream_bytes;
    bool is_kcptun, is_plain, is_fec_off, is_quiet, is_cc_given;
};

static const char doc[] =
    "Carry TCP connections over KCP, RUDP or weir's own TCP."
    "\vWith a tcp:// address behind -l it is the client: it accepts TCP connections and carries "
    "each as a stream to -r. With kcp:// or rudp:// behind -l it is the server: it dials the TCP "
    "address behind -r for each stream. With --kcptun either end may be kcptun.\n\n"
    "With --driver the carrier may be tcp:// too, weir's own. When both URLs are tcp://, the one "
    "with "
    "an address of --driver behind -l makes this end the server; otherwise it is the client, and "
    "-r "
    "is reached over --driver. The other one is the system's TCP.\n\n"
    "Examples:\n"
    "  weir tunnel -l kcp://:4000 -r tcp://127.0.0.1:8388 --key @secret\n"
    "  weir tunnel -l tcp://127.0.0.1:8388 -r kcp://192.0.2.7:4000 --key @secret\n"
    "  weir tunnel -l tcp://:8388 -r kcp://192.0.2.7:29900 --kcptun --mode fast2\n"
    "  weir tunnel -l tcp://10.7.0.2:4000 -r tcp://127.0.0.1:8388 --driver tun:weir0,10.7.0.2/24\n"
    "  weir tunnel -l rudp://:4000 -r tcp://127.0.0.1:8388 --workers auto\n";

static const struct argp_option option_list[] = {
    {"listen", 'l', "URL", 0,
     "tcp://ADDR: be the client; kcp://ADDR, rudp://ADDR or tcp:// with an address of --driver: "
     "the "
     "server",
     1},
    {"remote", 'r', "URL", 0,
     "Where to: kcp:// or rudp:// (with --driver also tcp://) of the server; the server's tcp:// "
     "target",
     1},
    {"conn", KEY_CONN, "N", 0,
     "A client's sessions side by side, 1 (default) to 256; with --workers as many "
     "shards, at least one for each worker (default: twice as many)",
     1},
    {"connections", 'n', "N", 0, "TCP connections at once (default 4096)", 1},
    {"timeout", 't', "T", 0, "Give a silent peer up after T (default 30s)", 1},
    {"keepalive", KEY_KEEPALIVE, "T", 0, "Show that this end is there so often (default 10s)", 1},
    {"drain", KEY_DRAIN, "T", 0,
     "After SIGTERM let connections go on for up to T (default 10s); then they are cut", 1},
    {"cc", 'c', "NAME", 0,
     "Congestion control: cubic (default, with kcp:// unless --preset or --kcptun is given), bbr, "
     "newreno, none",
     1},
    {"smuxbuf", KEY_SMUXBUF, "SIZE", 0,
     "Bytes that wait for slow TCP sides of one session (default 16MiB; --kcptun 4MiB)", 1},
    {"streambuf", KEY_STREAMBUF, "SIZE", 0,
     "Bytes that wait for one slow TCP side (default 1MiB; --kcptun 2MiB)", 1},
    {"trace", 'T', "FILE", 0, "Write all packets to FILE (pcapng, for Wireshark)", 1},
    {"quiet", 'q', NULL, 0, "Say nothing but why it cannot start", 1},
    {NULL, 0, NULL, 0, "kcptun at the other end:", 2},
    {"kcptun", KEY_KCPTUN, NULL, 0,
     "Speak as kcptun does, with its defaults: --mode fast, --crypt aes, --key \"it's a secrect\", "
     "--fec 10,3, --smuxver 1, compression",
     2},
    {"mode", KEY_MODE, "NAME", 0, "normal, fast, fast2 or fast3: short for --preset kcptun-NAME",
     2},
    {"smuxver", KEY_SMUXVER, "N", 0, "Version of smux: 1 (default) or 2", 2},
    {"nocomp", KEY_NOCOMP, NULL, 0, "No compression", 2},
    {"nofec", KEY_NOFEC, NULL, 0, "No error correction (kcptun: --datashard 0 --parityshard 0)", 2},
    {0}};

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {&cli_crew_argp, 0, NULL, 0}, {0}};

/* --- reading ---------------------------------------------------------------------------------- */

static error_t read_buffer(const char *name, const char *text, uint64_t *bytes)
{
    if (!cli_read_size(text, bytes) || *bytes < BUFFER_BYTES_MIN || *bytes > BUFFER_BYTES_MAX) {
        return cli_fail(EINVAL, "%s '%s' is not a size from 64KiB to 256MiB", name, text);
    }
    return 0;
}

static error_t read_time(const char *name, const char *text, weir_nsec min, weir_nsec *ns)
{
    if (!cli_read_duration(text, ns) || *ns < min || *ns > TIME_MAX) {
        return cli_fail(EINVAL, "%s '%s' is not a time of that kind; write 10s", name, text);
    }
    return 0;
}

static error_t read_number(const char *name, const char *text, uint64_t max, uint64_t *number)
{
    if (!cli_read_count(text, max, number) || *number == 0) {
        return cli_fail(EINVAL, "%s '%s' is not a number from 1 to %llu", name, text,
                        (unsigned long long)max);
    }
    return 0;
}

static error_t parse_flag(int key, struct options *options)
{
    switch (key) {
    case KEY_KCPTUN:
        options->is_kcptun = true;
        return 0;
    case KEY_NOCOMP:
        options->is_plain = true;
        return 0;
    case KEY_NOFEC:
        options->is_fec_off = true;
        return 0;
    case 'q':
        options->is_quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_text(int key, char *argument, struct options *options)
{
    switch (key) {
    case 'l':
        options->listen = argument;
        return 0;
    case 'r':
        options->remote = argument;
        return 0;
    case 'T':
        options->trace = argument;
        return 0;
    case KEY_MODE:
        options->mode = argument;
        return 0;
    case 'c':
        options->is_cc_given = true;
        if (weir_cc_parse(argument, &options->cc) != WEIR_OK) {
            return cli_fail(EINVAL, "--cc '%s': there are cubic, bbr, newreno and none", argument);
        }
        return 0;
    default:
        return parse_flag(key, options);
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->net;
        state->child_inputs[1] = &options->kcp;
        state->child_inputs[2] = &options->crew;
        return 0;
    case KEY_CONN:
        return read_number("--conn", argument, CONNS_MAX, &options->conns);
    case 'n':
        return read_number("--connections", argument, CONNECTIONS_MAX, &options->connections);
    case KEY_SMUXVER:
        return read_number("--smuxver", argument, 2, &options->smux_version);
    case 't':
        return read_time("--timeout", argument, WEIR_SEC, &options->timeout);
    case KEY_KEEPALIVE:
        return read_time("--keepalive", argument, 100 * WEIR_MSEC, &options->keepalive);
    case KEY_DRAIN:
        return read_time("--drain", argument, 0, &options->drain);
    case KEY_SMUXBUF:
        return read_buffer("--smuxbuf", argument, &options->session_bytes);
    case KEY_STREAMBUF:
        return read_buffer("--streambuf", argument, &options->stream_bytes);
    case ARGP_KEY_ARG:
        return cli_fail(EINVAL, "'%s' is too much; addresses follow -l and -r", argument);
    case ARGP_KEY_END:
        return options->listen == NULL || options->remote == NULL
                   ? cli_fail(EINVAL, "two addresses are needed: -l URL and -r URL")
                   : 0;
    default:
        return parse_text(key, argument, options);
    }
}

/* --- addresses -------------------------------------------------------------------------------- */

/* ":8388" is any address when it is listened on. */
static bool read_url(const char *text, bool is_listen, char scheme[8], struct weir_addr *addr)
{
    char place[PATH_BYTES];
    const char *colon = strstr(text, "://");
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    if (length == 0 || length > 4) {
        cli_fail(CLI_USAGE, "'%s' is not a URL; write tcp://host:port, kcp://... or rudp://...",
                 text);
        return false;
    }
    memcpy(scheme, text, length);
    scheme[length] = 0;
    if (strcmp(scheme, "tcp") != 0 && strcmp(scheme, "kcp") != 0 && strcmp(scheme, "rudp") != 0) {
        cli_fail(CLI_USAGE, "'%s': the scheme '%s' is not known; there are tcp, kcp and rudp", text,
                 scheme);
        return false;
    }
    (void)snprintf(place, sizeof(place), "%s%s", is_listen && colon[3] == ':' ? "*" : "",
                   colon + 3);
    return cli_read_address(place, is_listen, addr);
}

static bool read_ends(const struct options *options, struct cli_tunnel_options *tunnel)
{
    char listen[8];
    char remote[8];
    struct weir_addr here;
    struct weir_addr there;
    if (!read_url(options->listen, true, listen, &here) ||
        !read_url(options->remote, false, remote, &there)) {
        return false;
    }
    bool is_tcp_here = strcmp(listen, "tcp") == 0;
    bool is_tcp_there = strcmp(remote, "tcp") == 0;
    bool is_own_tcp = is_tcp_here && is_tcp_there && options->net.kind != CLI_NET_UDP;
    if (is_tcp_here == is_tcp_there && !is_own_tcp) {
        cli_fail(CLI_USAGE, "one of -l and -r is tcp://, the other kcp:// or rudp://, or with "
                            "--driver tcp:// too");
        return false;
    }
    tunnel->is_client = is_own_tcp ? !cli_net_has_address(&options->net, &here) : is_tcp_here;
    const char *scheme = tunnel->is_client ? remote : listen;
    tunnel->transport = is_own_tcp                   ? &cli_carrier_tcp
                        : strcmp(scheme, "kcp") == 0 ? &cli_carrier_kcp
                                                     : &cli_carrier_rudp;
    tunnel->tcp = tunnel->is_client ? here : there;
    tunnel->udp = tunnel->is_client ? there : here;
    return true;
}

/* --- transports ------------------------------------------------------------------------------- */

/* "fast2" is "kcptun-fast2". */
static const char *preset_of_mode(const char *mode)
{
    static const char *const presets[] = {"kcptun-normal", "kcptun-fast", "kcptun-fast2",
                                          "kcptun-fast3"};
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
        if (strcmp(presets[i] + strlen("kcptun-"), mode) == 0) {
            return presets[i];
        }
    }
    return NULL;
}

static bool set_kcptun_defaults(struct options *options)
{
    static char secret[] = "it's a secrect"; /* kcptun's own spelling */
    struct cli_kcp_options *kcp = &options->kcp;
    if (options->is_fec_off && kcp->fec_data != 0) {
        cli_fail(CLI_USAGE, "--fec and --nofec do not go together");
        return false;
    }
    if (options->mode != NULL) {
        kcp->preset = preset_of_mode(options->mode);
        if (kcp->preset == NULL) {
            cli_fail(CLI_USAGE, "--mode '%s': there are normal, fast, fast2 and fast3",
                     options->mode);
            return false;
        }
    }
    if (!options->is_kcptun) {
        return true;
    }
    kcp->preset = kcp->preset != NULL ? kcp->preset : "kcptun-fast";
    kcp->crypt = kcp->crypt != NULL ? kcp->crypt : "aes";
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): main's thread is the only one here. */
    if (kcp->key == NULL && getenv("WEIR_KEY") == NULL) {
        kcp->key = secret;
    }
    if (kcp->fec_data == 0 && !options->is_fec_off) {
        kcp->fec_data = KCPTUN_FEC_DATA;
        kcp->fec_parity = KCPTUN_FEC_PARITY;
    }
    return true;
}

static bool set_kcp(struct options *options, struct cli_tunnel_options *tunnel)
{
    struct weir_kcp_config *kcp = &tunnel->carrier.kcp;
    if (!set_kcptun_defaults(options) ||
        !cli_kcp_configure(&options->kcp, !tunnel->is_client, kcp)) {
        return false;
    }
    kcp->tuning.is_stream = true;
    /* A tunnel is for bulk: what the window holds should not wait for the interval. Allowed by any
     * peer, and invisible to it. */
    kcp->tuning.is_ack_no_delay = true;
    kcp->tuning.is_ack_coalesced = true;
    /* A path may be bad for longer than so many tries; smux notices a peer that is gone. */
    kcp->tuning.dead_link = 0;
    /* A preset has its own idea of a window. */
    if (options->is_cc_given || (!options->is_kcptun && options->kcp.preset == NULL)) {
        kcp->cc = options->cc;
    }
    /* One tunnel an address: a client that starts anew takes the place of the old one. */
    kcp->address_policy = WEIR_KCP_ADDRESS_REPLACE;
    kcp->connections_max = tunnel->is_client ? 1 : SESSIONS_MAX;
    kcp->connect_timeout = weir_min_u64(10 * WEIR_SEC, options->timeout);
    kcp->idle_timeout = 2 * options->timeout; /* smux is the one to notice first */
    return true;
}

/* False with the line printed: an option of kcp:// alone. */
static bool check_kcp_unused(const struct options *options, const char *scheme)
{
    if (options->is_kcptun || options->mode != NULL || options->is_fec_off) {
        cli_fail(CLI_USAGE, "--kcptun, --mode and --nofec are for kcp:// alone");
        return false;
    }
    return cli_kcp_is_unused(&options->kcp, scheme);
}

static bool set_tcp(const struct options *options, struct cli_tunnel_options *tunnel)
{
    struct weir_tcp_config *tcp = &tunnel->carrier.tcp;
    if (!check_kcp_unused(options, "tcp")) {
        return false;
    }
    if (options->kcp.mtu_bytes != 0) {
        cli_fail(CLI_USAGE, "--mtu is not of tcp://; write mtu=%u in --driver",
                 options->kcp.mtu_bytes);
        return false;
    }
    weir_tcp_config_default(tcp);
    tcp->connections_max = tcp->connections6_max = 2 * SESSIONS_MAX; /* TIME-WAIT included */
    tcp->awake_max = 2 * SESSIONS_MAX;
    tcp->has_users = true;
    tcp->send_bytes = RUDP_SEND_BYTES;
    tcp->cc = options->cc;
    tcp->tuning.is_nodelay = true;
    tcp->tuning.send_queue_max = RUDP_QUEUE_BYTES;
    tcp->tuning.connect_timeout = weir_min_u64(10 * WEIR_SEC, options->timeout);
    tcp->tuning.user_timeout = tcp->tuning.fin_timeout = options->timeout;
    return true;
}

static bool set_rudp(const struct options *options, struct cli_tunnel_options *tunnel)
{
    struct weir_rudp_config *rudp = &tunnel->carrier.rudp;
    if (!check_kcp_unused(options, "rudp")) {
        return false;
    }
    weir_rudp_config_default(rudp);
    rudp->connections_max = tunnel->is_client ? 1 : SESSIONS_MAX;
    rudp->channels_max = 1;
    rudp->send_queue_bytes = RUDP_QUEUE_BYTES;
    rudp->send_bytes = RUDP_SEND_BYTES;
    rudp->cc = options->cc;
    rudp->connect_timeout = weir_min_u64(10 * WEIR_SEC, options->timeout);
    rudp->idle_timeout = rudp->dead_timeout = options->timeout;
    rudp->heartbeat = options->keepalive;
    if (options->kcp.mtu_bytes != 0) {
        if (options->kcp.mtu_bytes < rudp->mtu_bytes_min) {
            cli_fail(CLI_USAGE, "--mtu '%u': rudp:// takes 1200 to 65507", options->kcp.mtu_bytes);
            return false;
        }
        rudp->mtu_bytes_max = (uint16_t)options->kcp.mtu_bytes;
    }
    return true;
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool set_smux(const struct options *options, struct cli_tunnel_options *tunnel)
{
    struct cli_smux_config *smux = &tunnel->smux;
    bool is_kcptun = options->is_kcptun;
    if (!is_kcptun && (options->smux_version != 0 || options->is_plain)) {
        cli_fail(CLI_USAGE, "--smuxver and --nocomp are for --kcptun alone");
        return false;
    }
    smux->version = CLI_SMUX_VERSION_NATIVE;
    if (is_kcptun) {
        smux->version = options->smux_version == 2 ? 2 : 1;
    }
    tunnel->is_compressed = is_kcptun && !options->is_plain;
    smux->is_client = tunnel->is_client;
    smux->streams_max = (uint32_t)(2 * options->connections); /* some are only to be refused */
    smux->session_bytes = is_kcptun ? KCPTUN_SESSION_BYTES : NATIVE_SESSION_BYTES;
    smux->stream_bytes = is_kcptun ? KCPTUN_STREAM_BYTES : NATIVE_STREAM_BYTES;
    if (options->session_bytes != 0) {
        smux->session_bytes = (uint32_t)options->session_bytes;
    }
    if (options->stream_bytes != 0) {
        smux->stream_bytes = (uint32_t)options->stream_bytes;
    }
    if (smux->stream_bytes > smux->session_bytes) {
        cli_fail(CLI_USAGE, "--streambuf is more than --smuxbuf");
        return false;
    }
    smux->keepalive = options->keepalive;
    smux->timeout = options->timeout;
    return weir_secret_seed((uint8_t *)&smux->key, sizeof(smux->key)) == WEIR_OK;
}

static bool set_transport(struct options *options, struct cli_tunnel_options *tunnel)
{
    if (options->net.kind != CLI_NET_UDP && options->conns > 1) {
        cli_fail(CLI_USAGE, "--conn: over --driver %s there is one session", options->net.text);
        return false;
    }
    if (tunnel->transport == &cli_carrier_kcp) {
        return set_kcp(options, tunnel);
    }
    return tunnel->transport == &cli_carrier_tcp ? set_tcp(options, tunnel)
                                                 : set_rudp(options, tunnel);
}

/* A session is run by one worker at a time, so a client has use for no more workers. */
static bool set_crew(struct options *options, struct cli_tunnel_options *tunnel)
{
    const struct cli_crew_options *crew = &options->crew;
    tunnel->crew = *crew;
    if (!cli_crew_check(crew, &options->net)) {
        return false;
    }
    if (!crew->is_given || !tunnel->is_client) {
        options->conns = options->conns != 0 ? options->conns : 1;
        return true;
    }
    if (options->net.kind != CLI_NET_UDP) {
        cli_fail(CLI_USAGE,
                 "--workers: a client over --driver %s has one session, and no use for "
                 "more workers",
                 options->net.text);
        return false;
    }
    if (options->conns == 0) {
        options->conns = 2 * (uint64_t)crew->workers_max;
    }
    if (cli_tunnel_client_shards((uint32_t)options->conns) < crew->workers) {
        cli_fail(CLI_USAGE,
                 "--conn %u: too few sessions for %u workers, each of which is to have one; write "
                 "--conn %u",
                 (unsigned)options->conns, crew->workers, 2 * crew->workers);
        return false;
    }
    return true;
}

int cli_tunnel(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse_option, NULL, doc, children, NULL, NULL};
    static struct options options = {.connections = CONNECTIONS_DEFAULT,
                                     .timeout = 30 * WEIR_SEC,
                                     .keepalive = 10 * WEIR_SEC,
                                     .drain = 10 * WEIR_SEC};
    static struct cli_tunnel_options tunnel;
    if (!cli_read_options(&argp, argc, argv, &options) || !read_ends(&options, &tunnel)) {
        return CLI_USAGE;
    }
    if (!set_crew(&options, &tunnel) || !set_transport(&options, &tunnel) ||
        !set_smux(&options, &tunnel)) {
        return CLI_USAGE;
    }
    tunnel.carrier.net = &options.net;
    tunnel.conns = (uint32_t)options.conns;
    tunnel.connections_max = (uint32_t)options.connections;
    tunnel.drain = options.drain;
    tunnel.is_quiet = options.is_quiet;
    tunnel.carrier.trace_path = options.trace;
    cli_catch_signals();
    return cli_tunnel_run(&tunnel);
}
