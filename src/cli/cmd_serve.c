/* SPDX-License-Identifier: MIT */
/*
 * cmd_serve.c - weir serve: the options; serve_run.c opens what they ask for.
 */
#include <argp.h>
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/serve_run.h"

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
    CONNECTIONS_MAX = 100000000
};

static const char doc[] =
    "Serve the files of a directory over HTTP/1.1, on weir's own TCP and IP."
    "\v"
    "URL is tcp://ADDRESS:PORT with an address of the driver, or tcp://*:PORT for all of them. "
    "Files and directories whose names begin with a dot are not shown, symbolic links are not "
    "followed; a directory is its index.html.\n\n"
    "An idle connection takes 16 bytes (IPv6: 32). Times: 20ms, 1.5s, 2m; sizes: 64KB, 1MiB.\n\n"
    "With --workers connections are spread over threads, whose number may change at any time; "
    "--connections, --requests and --memory then hold for all of them together, the last two "
    "about.\n\n"
    "Runs until it is interrupted.\n\n"
    "Examples:\n"
    "  weir serve public tcp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24\n"
    "  weir serve inbox tcp://*:8080 --upload --driver packet:eth0,192.0.2.7/24,fd07::2/64 \\\n"
    "      --log access.log\n"
    "  weir serve public tcp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24 --workers auto";

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

static bool read_limit(struct cli_serve_options *options, int key, const char *text)
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

static error_t read_argument(struct cli_serve_options *options, char *text)
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

static error_t check_complete(const struct cli_serve_options *options)
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
    struct cli_serve_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->net;
        state->child_inputs[1] = &options->crew;
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

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_crew_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {option_list, parse_option, "DIR URL", doc, children, NULL, NULL};

/* false: wrong use, the line is printed. */
static bool read_options(struct cli_serve_options *options, int argc, char **argv)
{
    struct cli_url url;
    cli_serve_config_default(&options->serve);
    options->connections = CONNECTIONS_DEFAULT;
    if (!cli_read_options(&argp, argc, argv, options) || !cli_read_url(options->url, true, &url)) {
        return false;
    }
    if (strcmp(url.scheme, "tcp") != 0) {
        cli_fail(CLI_USAGE, "'%s': files are served over tcp://", options->url);
        return false;
    }
    if (url.addr.port == 0) {
        cli_fail(CLI_USAGE, "'%s': a server has a port; write tcp://ADDRESS:80", options->url);
        return false;
    }
    if (!cli_crew_check(&options->crew, &options->net)) {
        return false;
    }
    options->bind = url.addr;
    return cli_net_check_tcp(&options->net) && cli_net_check_local(&options->net, &options->bind);
}

int cli_serve(int argc, char **argv)
{
    static struct cli_serve_options options;
    if (!read_options(&options, argc, argv)) {
        return CLI_USAGE;
    }
    cli_catch_signals();
    return cli_serve_run(&options);
}
