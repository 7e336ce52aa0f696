/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what the commands of the weir program share: dispatch, messages, reading of arguments.
 *
 * Exit codes: 0 done, 1 it failed on the way, 2 wrong use. Every failure prints one line
 * "weir COMMAND: what is wrong; what to do" on stderr.
 */
#ifndef WEIR_CLI_H
#define WEIR_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/weir.h"

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2
};

/* Each command's file defines int cli_NAME(int argc, char **argv) (argv[0] is "weir NAME") that
 * reads its options with argp and returns an exit code. */
int cli_send(int argc, char **argv);
int cli_recv(int argc, char **argv);
int cli_pipe(int argc, char **argv);
int cli_tunnel(int argc, char **argv);
int cli_serve(int argc, char **argv);
int cli_relay(int argc, char **argv);
int cli_perf(int argc, char **argv);
int cli_sim(int argc, char **argv);
int cli_flood(int argc, char **argv);
int cli_ctl(int argc, char **argv);
int cli_top(int argc, char **argv);

/* Prints "weir NAME: ..." with a newline to stderr; NAME is the running command. Returns code, so
 * that a caller can write: return cli_fail(CLI_FAILED, "...", ...). */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The system's text for an errno value, e.g. "Permission denied". */
const char *cli_text_errno(int error);
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes the text in line and a line feed (its last byte, where the size is used up) to fd at once;
 * on any thread, at any time, as cli_fail and cli_warn. Spoils line. */
void cli_write_line(int fd, char *line, size_t size);

/* CLOCK_MONOTONIC in ns, the clock of weir_loop. */
weir_nsec cli_clock(void);

/* The name that cli_fail and cli_warn print, e.g. "weir send"; kept. main sets it. */
void cli_set_command(const char *name);
const char *cli_command_name(void);

/* Reads options with argp: --help and --version are answered (exit 0). Wrong use prints one line,
 * then this returns false and the command returns CLI_USAGE, or the program ends with CLI_USAGE
 * here. The parser reports a wrong value with: return cli_fail(EINVAL, "..."). */
struct argp;
bool cli_read_options(const struct argp *argp, int argc, char **argv, void *input);

/* Readers of argument values: false when text is not wholly one (the caller says which option).
 * Durations: "250us", "20ms", "1.5s", "2m" (a bare number is seconds). Sizes: "64", "64KB", "1MiB"
 * (KB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024). Rates in bits/s: "100mbit", "1gbit",
 * "56kbit". Percent, as parts of a million: "20%", "0.5%", "0.2" (a bare number is percent). */
bool cli_read_duration(const char *text, weir_nsec *ns);
bool cli_read_size(const char *text, uint64_t *bytes);
bool cli_read_rate(const char *text, uint64_t *bits_per_second);
bool cli_read_percent(const char *text, uint32_t *ppm);
bool cli_read_count(const char *text, uint64_t max, uint64_t *count);

/* "rudp://host:port", "kcp://..." or "tcp://...": host is a name, an address, [v6] or * (any).
 * is_listen allows "*" and port 0. Resolves names with getaddrinfo. On failure prints the line and
 * returns false. */
struct cli_url {
    char scheme[16];
    struct weir_addr addr;
};

bool cli_read_url(const char *text, bool is_listen, struct cli_url *url);

/* The same without the scheme: "host:port", "[v6]:port", "*:port". */
bool cli_read_address(const char *text, bool is_listen, struct weir_addr *addr);

/* Writes like "1.50 MB" or "93.2 Mbit/s" or "1m 23s" into text of 32 bytes; returns text. */
char *cli_text_bytes(uint64_t bytes, char text[32]);
char *cli_text_rate(uint64_t bits_per_second, char text[32]);
char *cli_text_duration(weir_nsec ns, char text[32]);

/* Progress: a bar redrawn in place on a terminal (stderr), a plain line every few seconds else. */
struct cli_progress {
    const char *label;
    const char *unit;     /* what is counted where it is not bytes, e.g. "connections"; to be set
                             after the start */
    uint64_t total_bytes; /* 0: not known */
    weir_nsec started, drawn;
    uint64_t base_bytes; /* already there at the start (resumed); not counted in the rate */
    bool is_terminal, is_quiet;
};

void cli_progress_start(struct cli_progress *progress, const char *label, uint64_t total_bytes,
                        weir_nsec now);
void cli_progress_update(struct cli_progress *progress, uint64_t done_bytes, weir_nsec now);
void cli_progress_finish(struct cli_progress *progress, uint64_t done_bytes, weir_nsec now);

/* Set by SIGINT and SIGTERM once cli_catch_signals was called. */
extern volatile int cli_is_stopping;
void cli_catch_signals(void);
/* SIGUSR1 and SIGUSR2, of commands that run a crew. */
void cli_catch_worker_signals(void);
/* How many workers more these have asked for since the last call; less than 0: fewer. */
int cli_take_worker_signals(void);

#endif
