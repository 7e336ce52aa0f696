/* SPDX-License-Identifier: MIT */
/*
 * crew_options.c - --workers, --control and --metrics, of all commands alike.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/crew.h"

enum {
    /* Queues are opened once: a command that is to grow later needs them from the start. */
    WORKERS_ROOM = 8
};

enum option_key {
    KEY_WORKERS = 0x3000,
    KEY_CONTROL,
    KEY_METRICS
};

static const struct argp_option option_list[] = {
    {"workers", KEY_WORKERS, "N|auto", 0,
     "Run on N threads, 1 to 61, or on as many as the load asks for; \"weir ctl resize\", SIGUSR1 "
     "and SIGUSR2 change the number",
     8},
    {"control", KEY_CONTROL, "PATH", 0,
     "With --workers: the socket for weir ctl and weir top (default: a file named after the "
     "process id in $XDG_RUNTIME_DIR/weir, /run/weir or /tmp/weir-UID); none: there is none",
     8},
    {"metrics", KEY_METRICS, "ADDR:PORT", 0,
     "With --workers: figures for Prometheus over HTTP, such as 127.0.0.1:9100", 8},
    {0}};

uint32_t cli_crew_processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (uint32_t)count;
}

static error_t finish_options(struct cli_crew_options *options)
{
    if (!options->is_given) {
        if (options->control != NULL || options->metrics != NULL) {
            return cli_fail(EINVAL, "--%s goes with --workers only",
                            options->control != NULL ? "control" : "metrics");
        }
        return 0;
    }
    uint32_t max = cli_crew_processors();
    max = max < WORKERS_ROOM ? WORKERS_ROOM : max;
    max = max < options->workers ? options->workers : max;
    options->workers_max = max < CLI_CREW_SHARDS ? max : CLI_CREW_SHARDS;
    return 0;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct cli_crew_options *options = state->input;
    uint64_t count = 1;
    switch (key) {
    case KEY_WORKERS:
        options->is_auto = strcmp(text, "auto") == 0;
        if (!options->is_auto && (!cli_read_count(text, CLI_CREW_SHARDS, &count) || count == 0)) {
            return cli_fail(EINVAL, "--workers '%s' is neither a number from 1 to %d nor auto",
                            text, CLI_CREW_SHARDS);
        }
        options->workers = (uint32_t)count;
        options->is_given = true;
        return 0;
    case KEY_CONTROL:
        options->control = text;
        return 0;
    case KEY_METRICS:
        options->metrics = text;
        return 0;
    case ARGP_KEY_END:
        return finish_options(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_crew_argp = {.options = option_list, .parser = parse_option};

bool cli_crew_check(const struct cli_crew_options *options, const struct cli_net_options *net)
{
    if (options->is_given && net->kind == CLI_NET_RAW) {
        cli_fail(CLI_USAGE,
                 "--workers: --driver %s is for one thread; take tun:, tap: or packet:", net->text);
        return false;
    }
    return true;
}
