/* SPDX-License-Identifier: MIT */
/*
 * cmd_flood.c - weir flood: options and figures; flood.h says what does the work.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/flood.h"

enum option_key {
    KEY_FROM = 256,
    KEY_DEVICE,
    KEY_COUNT,
    KEY_RATE,
    KEY_WINDOW,
    KEY_ECHO,
    KEY_VICTIM,
    KEY_TIMEOUT,
    KEY_PID,
    KEY_SEED,
    KEY_JSON
};

enum {
    PREFIX_MIN = 8,
    PREFIX_MAX = 24,
    COUNT_DEFAULT = 1000000,
    WINDOW_DEFAULT = 64,
    WINDOW_MAX = 65536
};

static const struct argp_option option_list[] = {
    {"count", KEY_COUNT, "N", 0, "connections, SYNs or forged segments (default 1000000)", 1},
    {"rate", KEY_RATE, "N", 0, "begun in a second at most (default: as many as go)", 1},
    {"window", KEY_WINDOW, "N", 0, "connect: unanswered at once (default 64)", 1},
    {"echo", KEY_ECHO, NULL, 0, "connect: then a byte on each, which has to come back", 1},
    {"victim", KEY_VICTIM, "ADDR", 0,
     "inject: the client's address and port of a connection; up to 16 times", 1},
    {"timeout", KEY_TIMEOUT, "T", 0, "connect: give up after T without an answer (default 10s)", 1},
    {"from", KEY_FROM, "NET", 0, "source addresses (default 10.96.0.0/12)", 2},
    {"device", KEY_DEVICE, "NAME", 0, "the TUN device to make (default flood0)", 2},
    {"pid", KEY_PID, "N", 0, "measure the memory in use of this process, the server", 2},
    {"seed", KEY_SEED, "N", 0, "of everything random (default 1)", 2},
    {"json", KEY_JSON, NULL, 0, "one JSON object on standard output", 2},
    {0}};

static const char description[] =
    "Makes TCP packets without keeping connections, to try a server in a network namespace made "
    "for "
    "the test: floods of SYNs, connections by the million, forged segments."
    "\v"
    "MODE is syn, connect or inject; ADDR the server's IPv4 address and port. Nothing is sent "
    "unless the network namespace leads nowhere: it is not that of process 1, only the loopback "
    "and TUN devices are up in it, it has no default route, and ADDR is on one of these "
    "devices.\n\n"
    "JSON keys: mode, count, seconds, packets_sent, packets_received, resets, rss_start_bytes, "
    "rss_end_bytes; syn: answers; connect: opened, handshakes_per_second, resent, wrong, "
    "rss_open_bytes, bytes_per_connection, and with --echo acked, echoed, lost, echo_seconds.\n\n"
    "Exit code 1 when not all were opened, or echoed.\n\n"
    "Examples (inside of unshare -n, with the server on its TUN device):\n"
    "  weir flood connect 10.7.0.2:7 --echo --pid $SERVER --json\n"
    "  weir flood syn 10.7.0.2:80 --count 10000000\n"
    "  weir flood inject 10.7.0.2:80 --victim 10.7.0.1:40000 --rate 50000";

static const char *const mode_names[] = {"syn", "connect", "inject"};

/* --- options ---------------------------------------------------------------------------------- */

struct parsed {
    struct cli_flood_options flood;
    bool has_mode, has_target, has_echo, has_window;
};

static bool read_ip4(const char *text, struct weir_addr *addr)
{
    return weir_addr_parse(text, addr) == WEIR_OK && addr->family == WEIR_ADDR_IP4 &&
           addr->port != 0;
}

/* "10.96.0.0/12" */
static bool read_from(const char *text, struct cli_flood_options *flood)
{
    char copy[64];
    uint64_t prefix = 0;
    (void)snprintf(copy, sizeof(copy) - 4, "%s", text);
    char *slash = strchr(copy, '/');
    if (slash == NULL || !cli_read_count(slash + 1, PREFIX_MAX, &prefix) || prefix < PREFIX_MIN) {
        return false;
    }
    memcpy(slash, ":1", 3);
    flood->from_prefix = (uint8_t)prefix;
    return read_ip4(copy, &flood->from);
}

static bool read_option(struct parsed *parsed, int key, const char *text)
{
    struct cli_flood_options *flood = &parsed->flood;
    switch (key) {
    case KEY_COUNT:
        return cli_read_count(text, UINT64_C(100000000), &flood->count) && flood->count > 0;
    case KEY_RATE:
        return cli_read_count(text, UINT64_C(1000000000), &flood->rate) && flood->rate > 0;
    case KEY_WINDOW:
        parsed->has_window = true;
        return cli_read_count(text, WINDOW_MAX, &flood->window) && flood->window > 0;
    case KEY_ECHO:
        parsed->has_echo = flood->is_echo = true;
        return true;
    case KEY_VICTIM:
        return flood->victims_count < CLI_FLOOD_VICTIMS_MAX &&
               read_ip4(text, &flood->victims[flood->victims_count++]);
    case KEY_TIMEOUT:
        return cli_read_duration(text, &flood->timeout) && flood->timeout > 0;
    case KEY_FROM:
        return read_from(text, flood);
    case KEY_DEVICE:
        (void)snprintf(flood->device, sizeof(flood->device), "%s", text);
        return text[0] != 0 && strlen(text) < sizeof(flood->device) && strchr(text, '/') == NULL;
    case KEY_PID:
        return cli_read_count(text, INT32_MAX, &flood->pid) && flood->pid > 0;
    case KEY_SEED:
        return cli_read_count(text, UINT64_MAX, &flood->seed);
    case KEY_JSON:
        return flood->is_json = true;
    default:
        return false;
    }
}

static void read_word(struct parsed *parsed, const char *text, struct argp_state *state)
{
    if (parsed->has_mode) {
        if (parsed->has_target || !read_ip4(text, &parsed->flood.target)) {
            argp_error(state,
                       "'%s' is not the one IPv4 address and port of a server, such as "
                       "10.7.0.2:80",
                       text);
        }
        parsed->has_target = true;
        return;
    }
    for (unsigned i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(text, mode_names[i]) == 0) {
            parsed->flood.mode = (enum cli_flood_mode)i;
            parsed->has_mode = true;
            return;
        }
    }
    argp_error(state, "'%s' is not syn, connect or inject", text);
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
    if (key == ARGP_KEY_ARG) {
        read_word(parsed, text, state);
        return 0;
    }
    if (key < KEY_FROM || key > KEY_JSON) {
        return ARGP_ERR_UNKNOWN;
    }
    if (!read_option(parsed, key, text)) {
        argp_error(state, "--%s: '%s' is not a value it takes; see --help", name_of(key), text);
    }
    return 0;
}

/* False with the line printed. */
static bool check(const struct parsed *parsed)
{
    const struct cli_flood_options *flood = &parsed->flood;
    uint64_t sources = (UINT64_C(1) << (32 - flood->from_prefix)) - 3;
    const char *wrong = NULL;
    if (!parsed->has_target) {
        wrong = "a mode and a server's address; see --help";
    } else if ((parsed->has_echo || parsed->has_window) && flood->mode != CLI_FLOOD_CONNECT) {
        wrong = "--echo and --window go with connect only";
    } else if ((flood->victims_count > 0) != (flood->mode == CLI_FLOOD_INJECT)) {
        wrong = "--victim goes with inject, which needs one";
    } else if (flood->mode == CLI_FLOOD_CONNECT && flood->count > sources * CLI_FLOOD_PORTS) {
        wrong = "--from has too few addresses for so many connections";
    }
    if (wrong != NULL) {
        (void)cli_fail(CLI_USAGE, "%s", wrong);
    }
    return wrong == NULL;
}

/* --- figures ---------------------------------------------------------------------------------- */

static double per_connection(const struct cli_flood *flood)
{
    double growth = (double)flood->rss_open_bytes - (double)flood->rss_start_bytes;
    return flood->opened == 0 ? 0 : growth / (double)flood->opened;
}

static void print_connect_json(const struct cli_flood *flood)
{
    printf(", \"opened\": %" PRIu64 ", \"handshakes_per_second\": %.0f, \"resent\": %" PRIu64
           ", \"wrong\": %" PRIu64 ", \"rss_open_bytes\": %" PRIu64
           ", \"bytes_per_connection\": %.2f",
           flood->opened, (double)flood->opened / flood->open_seconds, flood->resent, flood->wrong,
           flood->rss_open_bytes, per_connection(flood));
    if (flood->options->is_echo) {
        printf(", \"acked\": %" PRIu64 ", \"echoed\": %" PRIu64 ", \"lost\": %" PRIu64
               ", \"echo_seconds\": %.3f",
               flood->acked, flood->echoed, flood->options->count - flood->echoed,
               flood->echo_seconds);
    }
}

static void print_json(const struct cli_flood *flood)
{
    const struct cli_flood_options *options = flood->options;
    printf("{\"mode\": \"%s\", \"count\": %" PRIu64
           ", \"seconds\": %.3f, \"packets_sent\": %" PRIu64 ", \"packets_received\": %" PRIu64
           ", \"resets\": %" PRIu64,
           mode_names[options->mode], options->count, flood->open_seconds, flood->sent,
           flood->received, flood->resets);
    if (options->mode == CLI_FLOOD_SYN) {
        printf(", \"answers\": %" PRIu64, flood->answers);
    } else if (options->mode == CLI_FLOOD_CONNECT) {
        print_connect_json(flood);
    }
    printf(", \"rss_start_bytes\": %" PRIu64 ", \"rss_end_bytes\": %" PRIu64 "}\n",
           flood->rss_start_bytes, flood->rss_end_bytes);
}

static void print_text(const struct cli_flood *flood)
{
    const struct cli_flood_options *options = flood->options;
    if (options->mode == CLI_FLOOD_CONNECT) {
        printf("opened   %" PRIu64 " of %" PRIu64 " in %.1f s, %.0f a second\n", flood->opened,
               options->count, flood->open_seconds, (double)flood->opened / flood->open_seconds);
        if (options->is_echo) {
            printf("echoed   %" PRIu64 " in %.1f s, %" PRIu64 " acknowledged\n", flood->echoed,
                   flood->echo_seconds, flood->acked);
        }
    }
    printf("packets  %" PRIu64 " sent in %.1f s, %" PRIu64 " came back, %" PRIu64
           " of them resets\n",
           flood->sent, flood->open_seconds + flood->echo_seconds, flood->received, flood->resets);
    if (options->pid != 0) {
        double growth = (double)flood->rss_end_bytes - (double)flood->rss_start_bytes;
        printf("memory   %+.2f MB, now %.2f MB\n", growth / 1e6,
               (double)flood->rss_end_bytes / 1e6);
    }
}

static int report(const struct cli_flood *flood)
{
    const struct cli_flood_options *options = flood->options;
    if (options->is_json) {
        print_json(flood);
    } else {
        print_text(flood);
    }
    if (fflush(stdout) != 0) {
        return cli_fail(CLI_FAILED, "standard output: %s", cli_text_errno(errno));
    }
    bool is_complete = options->mode != CLI_FLOOD_CONNECT ||
                       (flood->opened == options->count &&
                        (!options->is_echo ||
                         (flood->echoed == options->count && flood->acked == options->count)));
    return is_complete ? CLI_OK : cli_fail(CLI_FAILED, "not all connections were served");
}

int cli_flood(int argc, char **argv)
{
    static const struct argp argp = {.options = option_list,
                                     .parser = parse_option,
                                     .args_doc = "MODE ADDR",
                                     .doc = description};
    static struct cli_flood flood;
    struct parsed parsed = {.flood = {.count = COUNT_DEFAULT,
                                      .window = WINDOW_DEFAULT,
                                      .timeout = 10 * WEIR_SEC,
                                      .seed = 1,
                                      .device = "flood0",
                                      .from = {.ip = {10, 96}, .family = WEIR_ADDR_IP4},
                                      .from_prefix = 12}};
    if (!cli_read_options(&argp, argc, argv, &parsed) || !check(&parsed)) {
        return CLI_USAGE;
    }
    cli_catch_signals();
    if (!cli_flood_is_allowed(&parsed.flood.target) || !cli_flood_open(&flood, &parsed.flood)) {
        return CLI_FAILED;
    }
    bool is_run = parsed.flood.mode == CLI_FLOOD_CONNECT ? cli_flood_run_connect(&flood)
                                                         : cli_flood_run_blind(&flood);
    cli_flood_close(&flood);
    return is_run ? report(&flood) : CLI_FAILED;
}
