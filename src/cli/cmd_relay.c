/* SPDX-License-Identifier: MIT */
/*
 * cmd_relay.c - weir relay: options, and the figures at the end; relay.h does the work.
 *
 * Every property of the link is one row of link_options and three options: --X sets both
 * directions, --up-X and --down-X one of them, whatever the order on the command line.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/relay.h"

enum value_kind {
    VALUE_DURATION, /* 64 bits in struct weir_sim_link, as is the rate */
    VALUE_RATE,
    VALUE_SIZE, /* 32 bits, as are shares */
    VALUE_PERCENT
};

struct link_option {
    const char *name;
    const char *argument;
    enum value_kind kind;
    size_t offset; /* in struct weir_sim_link */
    const char *text;
};

static const struct link_option link_options[] = {
    {"loss", "P", VALUE_PERCENT, offsetof(struct weir_sim_link, loss_ppm),
     "share of datagrams lost, each by itself"},
    {"burst", "P", VALUE_PERCENT, offsetof(struct weir_sim_link, burst_loss_ppm),
     "chance at each datagram that a burst of losses starts, four on average"},
    {"delay", "T", VALUE_DURATION, offsetof(struct weir_sim_link, delay), "added, one way"},
    {"jitter", "T", VALUE_DURATION, offsetof(struct weir_sim_link, jitter),
     "added at random, from 0 to T, without changing the order"},
    {"rate", "R", VALUE_RATE, offsetof(struct weir_sim_link, rate),
     "of a bottleneck, IP and UDP headers counted"},
    {"queue", "N", VALUE_SIZE, offsetof(struct weir_sim_link, queue_bytes),
     "bytes that wait in front of it before the tail drops (default 1MiB)"},
    {"reorder", "P", VALUE_PERCENT, offsetof(struct weir_sim_link, reorder_ppm),
     "share held back for at least 1 ms, so that others overtake"},
    {"duplicate", "P", VALUE_PERCENT, offsetof(struct weir_sim_link, duplicate_ppm),
     "share that arrives twice"},
    {"corrupt", "P", VALUE_PERCENT, offsetof(struct weir_sim_link, corrupt_ppm),
     "share with 1 to 8 bits flipped"},
    {"mtu", "N", VALUE_SIZE, offsetof(struct weir_sim_link, mtu_bytes),
     "largest UDP payload that passes; longer ones vanish"},
};

enum {
    LINK_OPTIONS_COUNT = sizeof(link_options) / sizeof(link_options[0]),
    PREFIXES_COUNT = 3, /* "", "up-", "down-" */
    NAME_BYTES = 24
};

static const char *const prefixes[PREFIXES_COUNT] = {"", "up-", "down-"};

enum option_key {
    KEY_LISTEN = 'l',
    KEY_REMOTE = 'r',
    KEY_SEED = 256,
    KEY_SECONDS,
    KEY_STATS_EVERY,
    KEY_CLIENTS,
    KEY_IDLE,
    KEY_LINK = 1024 /* + prefix * LINK_OPTIONS_COUNT + row */
};

static const struct argp_option plain_options[] = {
    {NULL, 0, NULL, 0, "Where:", 1},
    {"listen", KEY_LISTEN, "ADDR", 0, "clients talk to this address, e.g. :4000", 1},
    {"remote", KEY_REMOTE, "ADDR", 0, "the server behind it, e.g. 127.0.0.1:5000", 1},
    {NULL, 0, NULL, 0, "Other:", 3},
    {"seed", KEY_SEED, "N", 0, "of everything random (default 1)", 3},
    {"seconds", KEY_SECONDS, "T", 0, "end after this long (default: at SIGINT or SIGTERM)", 3},
    {"stats-every", KEY_STATS_EVERY, "T", 0, "print a line of figures this often", 3},
    {"clients", KEY_CLIENTS, "N", 0, "at most this many at once (default and limit 1024)", 3},
    {"idle", KEY_IDLE, "T", 0, "a silent client makes room for a new one after T (default 60s)", 3},
};

enum {
    PLAIN_OPTIONS_COUNT = sizeof(plain_options) / sizeof(plain_options[0]),
    OPTIONS_COUNT = PLAIN_OPTIONS_COUNT + 2 + PREFIXES_COUNT * LINK_OPTIONS_COUNT + 1
};

static const char description[] =
    "Forwards UDP datagrams between the clients at one address and the server at another, and "
    "treats them as a bad network would. Works for any UDP program."
    "\v"
    "ADDR is host:port, [v6]:port, :port, or the same as a rudp:// or udp:// URL. Times: 250us, "
    "20ms, 1.5s; sizes: 64KB, 1MiB; rates: 56kbit, 100mbit; shares: 5%, 0.1%.\n\n"
    "All clients share one link up and one down. At the end a table of both directions is "
    "printed.\n\n"
    "Examples:\n"
    "  weir relay -l :4000 -r 127.0.0.1:5000 --loss 5% --delay 20ms\n"
    "  weir relay -l :4000 -r rudp://192.0.2.7:4433 --rate 20mbit --queue 250KB \\\n"
    "      --down-rate 100mbit --up-loss 1% --seed 7 --seconds 60s";

struct parsed {
    struct cli_relay_config config;
    weir_nsec seconds, stats_every; /* 0: not given */
    bool has_listen, has_remote;
    uint64_t values[PREFIXES_COUNT][LINK_OPTIONS_COUNT];
    bool is_set[PREFIXES_COUNT][LINK_OPTIONS_COUNT];
};

/* --- options ---------------------------------------------------------------------------------- */

/* The rows and their two prefixed forms; the latter are described by one line, not listed. */
static void fill_options(struct argp_option options[OPTIONS_COUNT],
                         char names[PREFIXES_COUNT][LINK_OPTIONS_COUNT][NAME_BYTES])
{
    size_t count = PLAIN_OPTIONS_COUNT;
    memset(options, 0, OPTIONS_COUNT * sizeof(options[0]));
    memcpy(options, plain_options, sizeof(plain_options));
    options[count++] = (struct argp_option){.doc = "The link, both directions:", .group = 2};
    for (int prefix = 0; prefix < PREFIXES_COUNT; prefix++) {
        for (int row = 0; row < LINK_OPTIONS_COUNT; row++) {
            char *name = names[prefix][row];
            (void)snprintf(name, NAME_BYTES, "%s%s", prefixes[prefix], link_options[row].name);
            options[count++] =
                (struct argp_option){.name = name,
                                     .key = KEY_LINK + prefix * LINK_OPTIONS_COUNT + row,
                                     .arg = link_options[row].argument,
                                     .flags = prefix == 0 ? 0 : OPTION_HIDDEN,
                                     .doc = link_options[row].text,
                                     .group = 2};
        }
    }
    options[count] = (struct argp_option){.name = "up-X, down-X",
                                          .flags = OPTION_DOC | OPTION_NO_USAGE,
                                          .doc = "any of these in one direction alone, as in "
                                                 "down-rate: up is from the clients to the server",
                                          .group = 2};
}

static bool read_value(enum value_kind kind, const char *text, uint64_t *value)
{
    uint32_t ppm;
    switch (kind) {
    case VALUE_DURATION:
        return cli_read_duration(text, value) && *value <= 3600 * WEIR_SEC;
    case VALUE_RATE:
        return cli_read_rate(text, value) && *value > 0;
    case VALUE_SIZE:
        return cli_read_size(text, value) && *value > 0 && *value <= UINT32_MAX;
    case VALUE_PERCENT:
    default:
        if (!cli_read_percent(text, &ppm) || ppm > 1000000) {
            return false;
        }
        *value = ppm;
        return true;
    }
}

static bool is_any(const struct weir_addr *addr)
{
    static const uint8_t zeros[16];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}

/* "host:port", ":port" or a URL of a transport over UDP. False with the line printed. */
static bool read_address(const char *text, bool is_listen, struct weir_addr *addr)
{
    char full[320];
    const char *rest = strstr(text, "://");
    if (rest != NULL && strncmp(text, "rudp://", 7) != 0 && strncmp(text, "udp://", 6) != 0) {
        cli_fail(CLI_USAGE, "'%s' is not over UDP; write host:port, udp:// or rudp://", text);
        return false;
    }
    text = rest != NULL ? rest + 3 : text;
    const char *host = text[0] != ':' ? "" : is_listen ? "*" : "127.0.0.1";
    if (strlen(text) + strlen(host) >= sizeof(full)) {
        cli_fail(CLI_USAGE, "%s is too long for an address", is_listen ? "-l" : "-r");
        return false;
    }
    (void)snprintf(full, sizeof(full), "%s%s", host, text);
    if (!cli_read_address(full, is_listen, addr)) {
        return false;
    }
    if (!is_listen && is_any(addr)) {
        cli_fail(CLI_USAGE, "-r: '%s' names no host to forward to", text);
        return false;
    }
    return true;
}

static bool read_plain_option(struct parsed *parsed, int key, const char *text)
{
    uint64_t count = 0;
    switch (key) {
    case KEY_SEED:
        return cli_read_count(text, UINT64_MAX, &parsed->config.seed);
    case KEY_SECONDS:
        return cli_read_duration(text, &parsed->seconds) && parsed->seconds > 0;
    case KEY_STATS_EVERY:
        return cli_read_duration(text, &parsed->stats_every) && parsed->stats_every >= WEIR_MSEC;
    case KEY_IDLE:
        return cli_read_duration(text, &parsed->config.idle);
    case KEY_CLIENTS:
    default:
        if (!cli_read_count(text, CLI_RELAY_CLIENTS_MAX, &count) || count == 0) {
            return false;
        }
        parsed->config.clients_max = (uint32_t)count;
        return true;
    }
}

static const char *plain_name(int key)
{
    for (size_t i = 0; i < PLAIN_OPTIONS_COUNT; i++) {
        if (plain_options[i].key == key) {
            return plain_options[i].name;
        }
    }
    return "?";
}

static error_t fail_option(const char *prefix, const char *name, const char *text)
{
    cli_fail(CLI_USAGE, "--%s%s: '%s' is not a value it takes; see --help", prefix, name, text);
    return EINVAL;
}

static error_t parse_link_option(struct parsed *parsed, int key, const char *text)
{
    int prefix = (key - KEY_LINK) / LINK_OPTIONS_COUNT;
    int row = (key - KEY_LINK) % LINK_OPTIONS_COUNT;
    parsed->is_set[prefix][row] = true;
    return read_value(link_options[row].kind, text, &parsed->values[prefix][row])
               ? 0
               : fail_option(prefixes[prefix], link_options[row].name, text);
}

static error_t check_complete(const struct parsed *parsed)
{
    if (!parsed->has_listen) {
        cli_fail(CLI_USAGE, "-l ADDR is missing: where clients connect, e.g. -l :4000");
    } else if (!parsed->has_remote) {
        cli_fail(CLI_USAGE, "-r ADDR is missing: the server, e.g. -r 127.0.0.1:5000");
    }
    return parsed->has_listen && parsed->has_remote ? 0 : EINVAL;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct parsed *parsed = state->input;
    switch (key) {
    case KEY_LISTEN:
        parsed->has_listen = true;
        return read_address(text, true, &parsed->config.listen) ? 0 : EINVAL;
    case KEY_REMOTE:
        parsed->has_remote = true;
        return read_address(text, false, &parsed->config.remote) ? 0 : EINVAL;
    case ARGP_KEY_ARG:
        cli_fail(CLI_USAGE, "'%s' is too much; addresses go with -l and -r", text);
        return EINVAL;
    case ARGP_KEY_END:
        return check_complete(parsed);
    default:
        break;
    }
    if (key >= KEY_LINK && key < KEY_LINK + PREFIXES_COUNT * LINK_OPTIONS_COUNT) {
        return parse_link_option(parsed, key, text);
    }
    if (key < KEY_SEED || key > KEY_IDLE) {
        return ARGP_ERR_UNKNOWN;
    }
    return read_plain_option(parsed, key, text) ? 0 : fail_option("", plain_name(key), text);
}

/* prefix: 1 for up, 2 for down. What was set for it alone wins over what was set for both. */
static struct weir_sim_link make_link(const struct parsed *parsed, int prefix)
{
    struct weir_sim_link link = {0};
    for (int row = 0; row < LINK_OPTIONS_COUNT; row++) {
        const struct link_option *option = &link_options[row];
        uint64_t value = parsed->values[parsed->is_set[prefix][row] ? prefix : 0][row];
        uint8_t *field = (uint8_t *)&link + option->offset;
        if (option->kind == VALUE_DURATION || option->kind == VALUE_RATE) {
            memcpy(field, &value, sizeof(value));
        } else {
            uint32_t narrow = (uint32_t)value;
            memcpy(field, &narrow, sizeof(narrow));
        }
    }
    return link;
}

static bool read_arguments(int argc, char **argv, struct parsed *parsed)
{
    struct argp_option options[OPTIONS_COUNT];
    char names[PREFIXES_COUNT][LINK_OPTIONS_COUNT][NAME_BYTES];
    fill_options(options, names);
    const struct argp argp = {options, parse_option, "-l ADDR -r ADDR", description, NULL,
                              NULL,    NULL};
    *parsed = (struct parsed){
        .config = {.seed = 1, .clients_max = CLI_RELAY_CLIENTS_MAX, .idle = 60 * WEIR_SEC}};
    if (!cli_read_options(&argp, argc, argv, parsed)) {
        return false;
    }
    parsed->config.up = make_link(parsed, 1);
    parsed->config.down = make_link(parsed, 2);
    return true;
}

/* --- figures ---------------------------------------------------------------------------------- */

static void print_row(const char *name, uint64_t up, uint64_t down)
{
    printf("%-12s %14" PRIu64 " %14" PRIu64 "\n", name, up, down);
}

static void print_table(const struct cli_relay_stats *stats)
{
    const struct weir_sim_stats *up = &stats->up.link;
    const struct weir_sim_stats *down = &stats->down.link;
    printf("%-12s %14s %14s\n", "datagrams", "up", "down");
    print_row("received", up->sent, down->sent);
    print_row("forwarded", up->delivered, down->delivered);
    print_row("lost", up->lost, down->lost);
    print_row("queue-full", up->queue_dropped, down->queue_dropped);
    print_row("too-large", up->too_large, down->too_large);
    print_row("reordered", up->reordered, down->reordered);
    print_row("duplicated", up->duplicated, down->duplicated);
    print_row("corrupted", up->corrupted, down->corrupted);
    print_row("no-memory", up->overflow_dropped, down->overflow_dropped);
    print_row("unsent", stats->up.unsent, stats->down.unsent);
    print_row("waiting", stats->up.waiting, stats->down.waiting);
    print_row("bytes-in", up->sent_bytes, down->sent_bytes);
    print_row("bytes-out", up->delivered_bytes, down->delivered_bytes);
    printf("clients %" PRIu64 ", replaced %" PRIu64 ", datagrams refused %" PRIu64
           ", not from the server %" PRIu64 "\n",
           stats->clients, stats->clients_replaced, stats->refused, stats->strays);
}

static void print_direction(const char *name, const struct weir_sim_stats *now,
                            const struct weir_sim_stats *before, weir_nsec took)
{
    char rate[32];
    uint64_t bits = (now->delivered_bytes - before->delivered_bytes) * 8;
    unsigned __int128 bits_per_second = (unsigned __int128)bits * WEIR_SEC / (took > 0 ? took : 1);
    printf("  %s %" PRIu64 " in, %" PRIu64 " out, %" PRIu64 " lost, %s", name,
           now->sent - before->sent, now->delivered - before->delivered,
           now->lost - before->lost + now->queue_dropped - before->queue_dropped,
           cli_text_rate((uint64_t)bits_per_second, rate));
}

/* What happened since the last line. */
static void print_line(const struct cli_relay_stats *now, const struct cli_relay_stats *before,
                       weir_nsec since_start, weir_nsec took)
{
    char text[32];
    printf("%-8s", cli_text_duration(since_start, text));
    print_direction("up", &now->up.link, &before->up.link, took);
    print_direction("down", &now->down.link, &before->down.link, took);
    printf("\n");
    (void)fflush(stdout);
}

/* --- run -------------------------------------------------------------------------------------- */

static bool run(struct cli_relay *relay, const struct parsed *parsed)
{
    struct cli_relay_stats before = {0};
    weir_nsec start = cli_clock();
    weir_nsec end = parsed->seconds > 0 ? start + parsed->seconds : WEIR_NEVER;
    weir_nsec printed = start;
    weir_nsec next = parsed->stats_every > 0 ? start + parsed->stats_every : WEIR_NEVER;
    weir_nsec now = start;
    while (!cli_is_stopping && now < end) {
        if (!cli_relay_run_once(relay, next < end ? next : end)) {
            return false;
        }
        now = cli_clock();
        if (now >= next) {
            struct cli_relay_stats stats;
            cli_relay_stats(relay, &stats);
            print_line(&stats, &before, now - start, now - printed);
            before = stats;
            printed = now;
            next = now + parsed->stats_every;
        }
    }
    return true;
}

int cli_relay(int argc, char **argv)
{
    struct parsed parsed;
    char listen[WEIR_ADDR_TEXT_BYTES];
    char remote[WEIR_ADDR_TEXT_BYTES];
    if (!read_arguments(argc, argv, &parsed)) {
        return CLI_USAGE;
    }
    struct cli_relay *relay = cli_relay_open(&parsed.config);
    if (relay == NULL) {
        return CLI_FAILED;
    }
    cli_catch_signals();
    weir_addr_format(cli_relay_local(relay), listen);
    weir_addr_format(&parsed.config.remote, remote);
    printf("listening on %s, forwarding to %s\n", listen, remote);
    (void)fflush(stdout);
    bool is_done = run(relay, &parsed);
    struct cli_relay_stats stats;
    cli_relay_stats(relay, &stats);
    print_table(&stats);
    cli_relay_close(relay);
    if (fflush(stdout) != 0) {
        return cli_fail(CLI_FAILED, "cannot write the figures to standard output");
    }
    return is_done ? CLI_OK : CLI_FAILED;
}
