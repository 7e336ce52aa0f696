/* SPDX-License-Identifier: MIT */
/*
 * tunnel_run.c - weir tunnel alone, or one in each shard of a crew.
 *
 * A server's shards get their packets from the crew, and its epoll is watched by the shard's worker
 * for TCP. A client's have sockets of their own for everything: a listener that shares its port
 * with the others', and one for each session.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/tunnel.h"

enum {
    SHARD_SECONDARY_BYTES = 8 << 20 /* what waits for order, or for a pause */
};

/* With port 0 nobody else knows where it listens. */
static void say_address(const struct cli_tunnel_options *options, const char *scheme,
                        const struct weir_addr *addr)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(addr, text);
    if (!options->is_quiet) {
        (void)fprintf(stderr, "listening on %s://%s\n", scheme, text);
    }
}

static bool open_sessions(struct cli_tunnel *tunnel, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tunnel->next_session = cli_tunnel_session_new(tunnel);
        if (tunnel->next_session == NULL) {
            cli_fail(CLI_FAILED, "out of memory");
            return false;
        }
    }
    return true;
}

static void say_figures(const struct cli_tunnel *tunnels, uint32_t count)
{
    char in[32];
    char out[32];
    uint64_t connections = 0;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    uint64_t cut_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        connections += tunnels[i].connections_total;
        bytes_in += tunnels[i].bytes_in;
        bytes_out += tunnels[i].bytes_out;
        cut_count += tunnels[i].cut_count;
    }
    (void)fprintf(stderr, "%llu connections, %s from tcp, %s to tcp, %llu cut\n",
                  (unsigned long long)connections, cli_text_bytes(bytes_in, in),
                  cli_text_bytes(bytes_out, out), (unsigned long long)cut_count);
}

/* Returns the exit code. */
static int conclude(const struct cli_tunnel_options *options, const struct cli_tunnel *tunnels,
                    uint32_t count)
{
    uint32_t left_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* Its worker has ended, perhaps before the time for the drain was over. */
        left_count += cli_tunnel_is_draining(&tunnels[i]) ? tunnels[i].left_count : 0;
    }
    if (left_count > 0) {
        cli_warn("%u connections were still open and are cut", left_count);
    }
    if (!options->is_quiet) {
        say_figures(tunnels, count);
    }
    return left_count > 0 || cli_tunnel_has_failed(&tunnels[0]) ? CLI_FAILED : CLI_OK;
}

/* --- alone ------------------------------------------------------------------------------------ */

static bool open_alone(struct cli_tunnel *tunnel)
{
    const struct cli_tunnel_options *options = tunnel->options;
    if (options->is_client) {
        struct weir_addr addr = options->tcp;
        int fd = open_sessions(tunnel, options->conns) ? cli_tcp_listen(&addr, false) : -1;
        if (fd < 0) {
            return false;
        }
        cli_tunnel_listen(tunnel, fd);
        say_address(options, "tcp", &addr);
        return true;
    }
    const struct cli_tunnel_carrier *carrier = cli_tunnel_carrier_open(tunnel);
    if (carrier == NULL) {
        return false;
    }
    say_address(options, options->transport->scheme, &carrier->carrier->local);
    return true;
}

static int run_alone(const struct cli_tunnel_options *options)
{
    static struct cli_tunnel tunnel;
    static struct cli_tunnel_team team = {.count = 1};
    int result = CLI_FAILED;
    if (cli_tunnel_init(&tunnel, options, NULL, 0, &team) && open_alone(&tunnel)) {
        bool is_good = true;
        while (!cli_is_stopping && is_good) {
            is_good = cli_tunnel_round(&tunnel, true);
        }
        if (is_good) {
            cli_tunnel_stop(&tunnel);
        }
        while (is_good && !cli_tunnel_has_ended(&tunnel)) {
            is_good = cli_tunnel_round(&tunnel, true);
        }
        result = conclude(options, &tunnel, 1);
    }
    cli_tunnel_close(&tunnel);
    return result;
}

/* --- a crew ----------------------------------------------------------------------------------- */

struct team {
    struct cli_tunnel_options options;
    struct cli_tunnel *tunnels;
    size_t tunnels_bytes;
    struct cli_tunnel_team words;
    struct weir_addr listen; /* of a client, with the port that was chosen */
    struct cli_crew crew;
};

static void on_events(void *user, weir_nsec now)
{
    struct cli_tunnel *tunnel = user;
    tunnel->now = now;
    struct cli_tunnel_carrier *carrier =
        WEIR_CONTAINER(weir_list_first(&tunnel->carriers), struct cli_tunnel_carrier, all);
    carrier->carrier->ops->on_events(carrier->carrier, now);
}

static weir_nsec tick(void *user, weir_nsec now)
{
    struct cli_tunnel *tunnel = user;
    tunnel->now = now;
    if (!cli_tunnel_has_failed(tunnel)) { /* else all of them are about to end */
        (void)cli_tunnel_round(tunnel, false);
    }
    return cli_tunnel_next_timeout(tunnel);
}

static void stop(void *user, weir_nsec now)
{
    struct cli_tunnel *tunnel = user;
    tunnel->now = now;
    cli_tunnel_stop(tunnel);
}

/* --- a client's shards ------------------------------------------------------------------------ */

/* Nothing of a client's comes from the crew. */
static void no_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    (void)endpoint;
    (void)now;
    (void)packets;
    (void)count;
}

static void no_timeout(void *endpoint, weir_nsec now)
{
    (void)endpoint;
    (void)now;
}

static weir_nsec never(const void *endpoint)
{
    (void)endpoint;
    return WEIR_NEVER;
}

static enum weir_status no_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    (void)endpoint;
    (void)now;
    (void)tx;
    return WEIR_AGAIN;
}

static void add_figures(struct weir_figures *sum, const struct weir_figures *figures)
{
    sum->connections += figures->connections;
    sum->awake += figures->awake;
    sum->packets_received += figures->packets_received;
    sum->packets_sent += figures->packets_sent;
    sum->bytes_received += figures->bytes_received;
    sum->bytes_sent += figures->bytes_sent;
    sum->packets_lost += figures->packets_lost;
    sum->dropped += figures->dropped;
    for (size_t i = 0; i < WEIR_FIGURES_DROPS_MAX; i++) {
        sum->drops[i] += figures->drops[i];
    }
}

/* Of the sessions that are up; the round trip is that of the slowest. */
static void sum_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct cli_tunnel *tunnel = endpoint;
    *figures = (struct weir_figures){0};
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    for (; link != NULL; link = weir_list_next(&tunnel->carriers, link)) {
        const struct cli_tunnel_carrier *carrier =
            WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        struct weir_figures one;
        carrier->carrier->ops->verbs()->figures(carrier->carrier->engine, &one);
        add_figures(figures, &one);
        figures->rtt = figures->rtt > one.rtt ? figures->rtt : one.rtt;
    }
}

uint32_t cli_tunnel_client_shards(uint32_t conns)
{
    uint32_t count = conns < CLI_CREW_SHARDS ? conns : CLI_CREW_SHARDS;
    for (; count > 2; count--) {
        uint32_t divisor = 2;
        while (count % divisor != 0) {
            divisor++;
        }
        if (divisor == count) {
            return count;
        }
    }
    return 2;
}

/* Sockets that share a port do not notice that another program of ours has it. */
static bool is_port_free(struct weir_addr addr)
{
    int fd = addr.port != 0 ? cli_tcp_listen(&addr, false) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 || addr.port == 0;
}

static bool open_client(struct team *team, struct cli_tunnel *tunnel)
{
    const uint32_t conns = team->options.conns;
    const uint32_t count = team->words.count;
    const uint32_t sessions = conns / count + (tunnel->shard < conns % count);
    if (!open_sessions(tunnel, sessions)) {
        return false;
    }
    int fd = sessions > 0 ? cli_tcp_listen(&team->listen, true) : -1;
    if (fd >= 0) {
        cli_tunnel_listen(tunnel, fd);
    }
    return fd >= 0 || sessions == 0;
}

static void attach_client(struct team *team, struct cli_tunnel *tunnel)
{
    static struct weir_verbs verbs = {.input = no_input,
                                      .timeout = no_timeout,
                                      .next_timeout = never,
                                      .output = no_output,
                                      .figures = sum_figures};
    verbs.drop_names = team->options.transport->verbs()->drop_names;
    cli_crew_attach(&team->crew, tunnel->shard, tunnel, &verbs, NULL, tick, tunnel);
}

/* --- the command of the crew ------------------------------------------------------------------ */

static bool open_shard(void *user, struct cli_crew *crew, uint32_t index)
{
    struct team *team = user;
    struct cli_tunnel *tunnel = &team->tunnels[index];
    const struct cli_tunnel_carrier *carrier = NULL;
    bool is_open = cli_tunnel_init(tunnel, &team->options, crew, index, &team->words);
    if (is_open && team->options.is_client) {
        is_open = open_client(team, tunnel);
        crew->local = team->listen;
    } else if (is_open) {
        carrier = cli_tunnel_carrier_open(tunnel);
        is_open = carrier != NULL;
    }
    if (!is_open) {
        cli_tunnel_close(tunnel);
        return false;
    }
    if (carrier == NULL) {
        attach_client(team, tunnel);
    } else {
        cli_crew_attach(crew, index, carrier->carrier->engine, team->options.transport->verbs(),
                        on_events, tick, tunnel);
    }
    weir_crew_watch(crew->crew, index, tunnel->epoll_fd);
    return true;
}

static void close_shard(void *user, struct cli_crew *crew, uint32_t index)
{
    struct team *team = user;
    (void)crew;
    cli_tunnel_close(&team->tunnels[index]);
}

static bool is_done(void *user)
{
    const struct team *team = user;
    return cli_tunnel_has_failed(&team->tunnels[0]);
}

/* With a failure nothing is waited for, as without a crew. */
static bool has_ended(void *user)
{
    const struct team *team = user;
    if (is_done(user)) {
        return true;
    }
    for (uint32_t i = 0; i < team->words.count; i++) {
        if (!cli_tunnel_has_ended(&team->tunnels[i])) {
            return false;
        }
    }
    return true;
}

/* Figures and what was left, before the shards are closed: that cuts, too. */
static int run_shards(struct team *team)
{
    const struct cli_tunnel_options *options = &team->options;
    say_address(options, team->crew.config.scheme, &team->crew.local);
    int result = cli_crew_run(&team->crew);
    int end = conclude(options, team->tunnels, team->words.count);
    return result != CLI_OK ? result : end;
}

static int run_crew(struct team *team)
{
    static const struct cli_crew_command command = {.open = open_shard,
                                                    .close = close_shard,
                                                    .stop = stop,
                                                    .is_done = is_done,
                                                    .has_ended = has_ended};
    const struct cli_tunnel_options *options = &team->options;
    struct cli_crew_config config = {.options = &options->crew,
                                     .net = options->carrier.net,
                                     .scheme = options->transport->scheme,
                                     .bind = options->udp,
                                     .shard_secondary_bytes = SHARD_SECONDARY_BYTES,
                                     .shards = team->words.count,
                                     .is_quiet = options->is_quiet,
                                     .has_queues = !options->is_client,
                                     .goodbye_max = options->drain + CLI_TUNNEL_FINISH + WEIR_SEC,
                                     .command = &command,
                                     .user = team};
    if (options->is_client) {
        config.scheme = "tcp"; /* that and the address are what figures are called by */
        config.bind = options->tcp;
    } else {
        config.trace_path = options->carrier.trace_path;
    }
    team->tunnels_bytes = team->words.count * sizeof(struct cli_tunnel);
    team->tunnels = weir_mem_map(team->tunnels_bytes);
    if (team->tunnels == NULL) {
        return cli_fail(CLI_FAILED, "the system gave no memory for the tunnel's buffers");
    }
    int result = CLI_FAILED;
    if (cli_crew_open(&team->crew, &config)) {
        result = run_shards(team);
        cli_crew_close(&team->crew);
    }
    weir_mem_unmap(team->tunnels, team->tunnels_bytes);
    return result;
}

int cli_tunnel_run(const struct cli_tunnel_options *options)
{
    static struct team team;
    cli_tcp_raise_limit();
    if (!options->crew.is_given) {
        return run_alone(options);
    }
    team.options = *options;
    team.listen = options->tcp;
    team.words.count =
        options->is_client ? cli_tunnel_client_shards(options->conns) : CLI_CREW_SHARDS;
    if (team.options.crew.workers_max > team.words.count) {
        team.options.crew.workers_max = team.words.count;
    }
    if (options->is_client && !is_port_free(options->tcp)) {
        return CLI_FAILED;
    }
    return run_crew(&team);
}
