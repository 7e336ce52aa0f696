/* SPDX-License-Identifier: MIT */
/*
 * cmd_serve.c - weir serve: options, the endpoint, and the figures at the end; serve.h does the
 * work.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/net.h"
#include "cli/serve.h"

enum option_key {
    KEY_LOG = 'L',
    KEY_TRACE = 'T',
    KEY_QUIET = 'q',
    KEY_UPLOAD = 'u',
    KEY_UPLOAD_MAX = 256,
    KEY_CONNECTIONS,
    KEY_REQUESTS,
    KEY_MEMORY,
    KEY_HEAD_SIZE,
    KEY_HEAD_TIMEOUT,
    KEY_STALL_TIMEOUT,
    KEY_IDLE_TIMEOUT
};

enum {
    CONNECTIONS_DEFAULT = 1000000,
    CONNECTIONS_MAX = 100000000,
    AWAKE_MORE = 4096, /* connections that open, close or were answered just now */
    SEND_QUEUE_BYTES = 8 << 20,
    FAMILIES = 2
};

static const weir_nsec wait_max = WEIR_SEC;  /* for signals and the log */
static const weir_nsec drain = 5 * WEIR_SEC; /* for answers on their way at the end */

struct options {
    const char *directory, *url, *log, *trace;
    uint64_t connections;
    struct cli_serve_config serve;
    struct cli_net_options net;
    bool is_quiet;
};

struct server {
    struct options options;
    struct cli_url url;
    struct weir_driver *driver;
    struct weir_slide *slide;
    void *slide_mem, *tcp_mem;
    size_t slide_bytes, tcp_bytes;
    struct weir_tcp *tcp;
    struct weir_loop *loop;
    struct cli_serve *serve;
    int listeners[FAMILIES];
    uint32_t listener_count;
    bool is_log_bad;
};

static const char doc[] =
    "Serve the files of a directory over HTTP/1.1, on weir's own TCP and IP."
    "\v"
    "URL is tcp://ADDRESS:PORT with an address of the driver, or tcp://*:PORT for all of them. "
    "Files and directories whose names begin with a dot are not shown, symbolic links are not "
    "followed; a directory is its index.html.\n\n"
    "An idle connection takes 16 bytes (IPv6: 32). Times: 20ms, 1.5s, 2m; sizes: 64KB, 1MiB.\n\n"
    "Runs until it is interrupted.\n\n"
    "Examples:\n"
    "  weir serve public tcp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24\n"
    "  weir serve inbox tcp://*:8080 --upload --driver packet:eth0,192.0.2.7/24,fd07::2/64 \\\n"
    "      --log access.log";

static const struct argp_option option_list[] = {
    {"upload", KEY_UPLOAD, NULL, 0, "Let clients put files (PUT) into existing directories", 1},
    {"upload-max", KEY_UPLOAD_MAX, "SIZE", 0, "Of one such file (default: no limit)", 1},
    {"log", KEY_LOG, "FILE", 0, "Append a line for each answer; - is standard output", 1},
    {"connections", KEY_CONNECTIONS, "N", 0, "At most, of each family (default 1000000)", 2},
    {"requests", KEY_REQUESTS, "N", 0,
     "Answered at a time; further ones get 503 (default 4096, at most 65536)", 2},
    {"memory", KEY_MEMORY, "SIZE", 0, "For pieces of files on their way (default 64MiB)", 2},
    {"head-size", KEY_HEAD_SIZE, "SIZE", 0, "Longest head of a request (default 8KiB)", 2},
    {"head-timeout", KEY_HEAD_TIMEOUT, "T", 0, "For all of a request's head (default 30s)", 2},
    {"stall-timeout", KEY_STALL_TIMEOUT, "T", 0,
     "Until a transfer without progress is broken off (default 60s)", 2},
    {"idle-timeout", KEY_IDLE_TIMEOUT, "T", 0,
     "Close a connection without a request for so long; 9 bytes more for each (default: never)", 2},
    {"trace", KEY_TRACE, "FILE", 0, "Write all segments to a pcapng file", 3},
    {"quiet", KEY_QUIET, NULL, 0, "Print errors only", 3},
    {0}};

/* --- options ---------------------------------------------------------------------------------- */

static bool read_size_within(const char *text, uint64_t min, uint64_t max, uint64_t *size)
{
    return cli_read_size(text, size) && *size >= min && *size <= max;
}

static bool read_limit(struct options *options, int key, const char *text)
{
    struct cli_serve_config *serve = &options->serve;
    uint64_t number = 0;
    bool is_good = false;
    switch (key) {
    case KEY_CONNECTIONS:
        return cli_read_count(text, CONNECTIONS_MAX, &options->connections) &&
               options->connections > 0;
    case KEY_REQUESTS:
        is_good = cli_read_count(text, 65536, &number) && number > 0;
        serve->requests_max = (uint32_t)number;
        return is_good;
    case KEY_MEMORY:
        is_good = read_size_within(text, 1 << 20, (uint64_t)1 << 36, &number);
        serve->memory_bytes = (size_t)number;
        return is_good;
    case KEY_HEAD_SIZE:
        is_good = read_size_within(text, 512, 65536, &number);
        serve->head_bytes_max = (uint32_t)number;
        return is_good;
    case KEY_HEAD_TIMEOUT:
        return cli_read_duration(text, &serve->head_timeout) && serve->head_timeout > 0;
    case KEY_STALL_TIMEOUT:
        return cli_read_duration(text, &serve->stall_timeout) && serve->stall_timeout > 0;
    case KEY_IDLE_TIMEOUT:
        return cli_read_duration(text, &serve->idle_timeout) && serve->idle_timeout >= WEIR_SEC;
    case KEY_UPLOAD_MAX:
    default:
        return cli_read_size(text, &serve->upload_bytes_max) && serve->upload_bytes_max > 0;
    }
}

static error_t fail_limit(int key, const char *text)
{
    for (size_t i = 0; option_list[i].name != NULL; i++) {
        if (option_list[i].key == key) {
            cli_fail(CLI_USAGE, "--%s: '%s' is not a value it takes; see --help",
                     option_list[i].name, text);
        }
    }
    return EINVAL;
}

static error_t read_argument(struct options *options, char *text)
{
    if (options->directory == NULL) {
        options->directory = text;
    } else if (options->url == NULL) {
        options->url = text;
    } else {
        cli_fail(CLI_USAGE, "'%s' is too much; one directory, one URL", text);
        return EINVAL;
    }
    return 0;
}

static error_t check_complete(const struct options *options)
{
    if (options->directory == NULL || options->url == NULL) {
        cli_fail(CLI_USAGE, "%s is missing; see --help",
                 options->directory == NULL ? "the directory" : "the URL, tcp://ADDRESS:PORT");
        return EINVAL;
    }
    return 0;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->net;
        return 0;
    case KEY_UPLOAD:
        options->serve.is_upload = true;
        return 0;
    case KEY_LOG:
        options->log = text;
        return 0;
    case KEY_TRACE:
        options->trace = text;
        return 0;
    case KEY_QUIET:
        options->is_quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        return read_argument(options, text);
    case ARGP_KEY_END:
        return check_complete(options);
    default:
        break;
    }
    if (key < KEY_UPLOAD_MAX || key > KEY_IDLE_TIMEOUT) {
        return ARGP_ERR_UNKNOWN;
    }
    return read_limit(options, key, text) ? 0 : fail_limit(key, text);
}

static const struct argp_child children[] = {{&cli_net_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {option_list, parse_option, "DIR URL", doc, children, NULL, NULL};

/* false: wrong use, the line is printed. */
static bool read_options(struct server *server, int argc, char **argv)
{
    struct options *options = &server->options;
    cli_serve_config_default(&options->serve);
    options->connections = CONNECTIONS_DEFAULT;
    if (!cli_read_options(&argp, argc, argv, options) ||
        !cli_read_url(options->url, true, &server->url)) {
        return false;
    }
    if (strcmp(server->url.scheme, "tcp") != 0) {
        cli_fail(CLI_USAGE, "'%s': files are served over tcp://", options->url);
        return false;
    }
    if (server->url.addr.port == 0) {
        cli_fail(CLI_USAGE, "'%s': a server has a port; write tcp://ADDRESS:80", options->url);
        return false;
    }
    return cli_net_check_tcp(&options->net) &&
           cli_net_check_local(&options->net, &server->url.addr);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool has_family(const struct options *options, uint8_t family)
{
    for (uint32_t i = 0; i < options->net.address_count; i++) {
        if (options->net.addresses[i].addr.family == family) {
            return true;
        }
    }
    return false;
}

static bool open_files(struct server *server)
{
    struct options *options = &server->options;
    options->serve.root_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (options->serve.root_fd < 0) {
        cli_fail(CLI_FAILED, "cannot open the directory '%s': %s", options->directory,
                 cli_text_errno(errno));
        return false;
    }
    if (options->log != NULL && strcmp(options->log, "-") == 0) {
        options->serve.log = stdout;
    } else if (options->log != NULL) {
        options->serve.log = fopen(options->log, "ae");
        if (options->serve.log == NULL) {
            cli_fail(CLI_FAILED, "cannot write the log '%s': %s", options->log,
                     cli_text_errno(errno));
            return false;
        }
    }
    return true;
}

static enum weir_status open_slide(struct server *server)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    server->slide_bytes = weir_slide_mem_size(&config);
    server->slide_mem = weir_mem_map(server->slide_bytes);
    return server->slide_mem == NULL ? WEIR_ERR_MEMORY
                                     : weir_slide_init(server->slide_mem, &config, &server->slide);
}

/* Most of it is touched only when it is used. */
static enum weir_status open_tcp(struct server *server)
{
    struct options *options = &server->options;
    struct weir_tcp_config config;
    uint8_t seed[32];
    weir_tcp_config_default(&config);
    config.slide = server->slide;
    config.connections_max =
        has_family(options, WEIR_ADDR_IP4) ? (uint32_t)options->connections : 1;
    config.connections6_max =
        has_family(options, WEIR_ADDR_IP6) ? (uint32_t)options->connections : 0;
    config.awake_max = (uint32_t)weir_min_u64(config.connections_max + config.connections6_max,
                                              options->serve.requests_max + AWAKE_MORE);
    config.mtu_bytes = cli_net_mtu_bytes(&options->net, server->driver);
    config.tuning.is_nodelay = true; /* a head and its file leave without waiting */
    config.tuning.send_queue_max = SEND_QUEUE_BYTES;
    server->tcp_bytes = weir_tcp_mem_size(&config);
    server->tcp_mem = weir_mem_map(server->tcp_bytes);
    if (server->tcp_mem == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status = weir_secret_seed(seed, sizeof(seed));
    return status != WEIR_OK ? status
                             : weir_tcp_init(server->tcp_mem, &config, seed,
                                             weir_loop_now(server->loop), &server->tcp);
}

static void on_events(void *user, weir_nsec now)
{
    struct server *server = user;
    struct weir_tcp_event event;
    while (weir_tcp_event(server->tcp, &event) == WEIR_OK) {
        cli_serve_on_event(server->serve, now, &event);
    }
}

/* "*" is all addresses of both families. */
static enum weir_status listen_all(struct server *server)
{
    static const uint8_t families[FAMILIES] = {WEIR_ADDR_IP4, WEIR_ADDR_IP6};
    static const uint8_t zeros[sizeof(server->url.addr.ip)];
    const struct weir_addr addr = server->url.addr;
    enum weir_status status = WEIR_OK;
    if (memcmp(addr.ip, zeros, sizeof(zeros)) != 0) {
        server->listener_count = 1;
        return weir_tcp_listen(server->tcp, &addr, &server->listeners[0]);
    }
    for (int i = 0; i < FAMILIES && status == WEIR_OK; i++) {
        if (has_family(&server->options, families[i])) {
            const struct weir_addr any = {.family = families[i], .port = addr.port};
            status = weir_tcp_listen(server->tcp, &any, &server->listeners[server->listener_count]);
            server->listener_count++;
        }
    }
    return status;
}

static enum weir_status open_loop(struct server *server)
{
    struct weir_loop_config config;
    weir_loop_config_default(&config);
    config.driver = server->driver;
    config.slide = server->slide;
    return weir_loop_open(&config, &server->loop);
}

static bool open_server(struct server *server)
{
    struct options *options = &server->options;
    server->driver = cli_net_open(&options->net, 0, options->trace);
    if (server->driver == NULL) {
        return false;
    }
    enum weir_status status = open_slide(server);
    status = status == WEIR_OK ? open_loop(server) : status;
    status = status == WEIR_OK ? open_tcp(server) : status;
    if (status == WEIR_OK) {
        options->serve.tcp = server->tcp;
        options->serve.slide = server->slide;
        server->serve = cli_serve_open(&options->serve, weir_loop_now(server->loop));
        status = server->serve == NULL ? WEIR_ERR_MEMORY : listen_all(server);
    }
    if (status != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot set up the server: %s", weir_status_text(status));
        return false;
    }
    weir_loop_attach(server->loop, server->tcp, weir_tcp_verbs(), on_events, server);
    return true;
}

static void close_server(struct server *server)
{
    if (server->serve != NULL) {
        cli_serve_close(server->serve);
    }
    if (server->loop != NULL) {
        weir_loop_close(server->loop);
    }
    if (server->driver != NULL) {
        cli_net_close(server->driver);
    }
    weir_mem_unmap(server->tcp_mem, server->tcp_bytes);
    weir_mem_unmap(server->slide_mem, server->slide_bytes);
    if (server->options.serve.log != NULL && server->options.serve.log != stdout) {
        (void)fclose(server->options.serve.log);
    }
    if (server->options.serve.root_fd >= 0) {
        (void)close(server->options.serve.root_fd);
    }
}

/* --- running ---------------------------------------------------------------------------------- */

/* One turn, at most wait_max long. */
static enum weir_status run_once(struct server *server)
{
    weir_nsec now = weir_loop_now(server->loop);
    weir_nsec next = cli_serve_next_tick(server->serve);
    weir_nsec wait = next <= now ? 0 : weir_min_u64(next - now, wait_max);
    enum weir_status status = weir_loop_run_once(server->loop, wait);
    cli_serve_tick(server->serve, weir_loop_now(server->loop));
    if (status == WEIR_OK) {
        status = weir_loop_flush(server->loop);
    }
    return status;
}

/* Says so once when lines are lost; what is served goes on. */
static void flush_log(struct server *server)
{
    FILE *log = server->options.serve.log;
    const bool is_bad = log != NULL && (fflush(log) != 0 || ferror(log) != 0);
    if (is_bad && !server->is_log_bad) {
        (void)cli_fail(CLI_FAILED, "cannot write the log '%s': %s; lines of it are lost",
                       server->options.log, cli_text_errno(errno));
    }
    server->is_log_bad |= is_bad;
}

static enum weir_status run(struct server *server)
{
    weir_nsec logged = 0;
    enum weir_status status = WEIR_OK;
    while (!cli_is_stopping && status == WEIR_OK) {
        status = run_once(server);
        weir_nsec now = weir_loop_now(server->loop);
        if (server->options.serve.log != NULL && now - logged >= wait_max) {
            flush_log(server);
            logged = now;
        }
    }
    cli_serve_stop(server->serve);
    for (uint32_t i = 0; i < server->listener_count; i++) {
        weir_tcp_unlisten(server->tcp, server->listeners[i]);
    }
    weir_nsec end = weir_loop_now(server->loop) + drain;
    while (status == WEIR_OK && cli_serve_stats(server->serve)->slots > 0 &&
           weir_loop_now(server->loop) < end) {
        status = run_once(server);
    }
    flush_log(server);
    return status;
}

static void print_summary(struct server *server)
{
    const struct cli_serve_stats *stats = cli_serve_stats(server->serve);
    const struct weir_tcp_stats *tcp = weir_tcp_stats(server->tcp);
    char sent[32];
    char received[32];
    (void)fprintf(stderr,
                  "%" PRIu64 " connections (at most %" PRIu32 " at a time), %" PRIu64
                  " requests (at most %" PRIu32 " at a time)\n",
                  stats->connections, tcp->connections_peak, stats->requests, stats->slots_peak);
    (void)fprintf(stderr,
                  "answers: %" PRIu64 " with 2xx, %" PRIu64 " 3xx, %" PRIu64 " 4xx, %" PRIu64
                  " 5xx; %s sent, %s received in %" PRIu64 " uploads\n",
                  stats->answers[2], stats->answers[3], stats->answers[4], stats->answers[5],
                  cli_text_bytes(stats->sent_bytes, sent),
                  cli_text_bytes(stats->received_bytes, received), stats->uploads);
    if ((stats->busy | stats->timeouts | stats->aborted | stats->truncated | stats->overruns) !=
        0) {
        (void)fprintf(
            stderr,
            "refused for want of slots: %" PRIu64 ", timed out: %" PRIu64 ", broken off: %" PRIu64
            ", file cut short: %" PRIu64 ", too much sent ahead: %" PRIu64 "\n",
            stats->busy, stats->timeouts, stats->aborted, stats->truncated, stats->overruns);
    }
}

int cli_serve(int argc, char **argv)
{
    static struct server server;
    int result = CLI_FAILED;
    server.options.serve.root_fd = -1;
    if (!read_options(&server, argc, argv)) {
        return CLI_USAGE;
    }
    cli_catch_signals();
    if (open_files(&server) && open_server(&server)) {
        if (!server.options.is_quiet) {
            (void)fprintf(stderr, "serving %s on %s\n", server.options.directory,
                          server.options.url);
        }
        enum weir_status status = run(&server);
        result = status == WEIR_OK ? CLI_OK
                                   : cli_fail(CLI_FAILED, "the driver failed: %s",
                                              cli_text_errno(server.driver->error));
        if (!server.options.is_quiet) {
            print_summary(&server);
        }
    }
    close_server(&server);
    return result;
}
