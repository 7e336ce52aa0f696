/* SPDX-License-Identifier: MIT */
/*
 * message.c - what the program says on stderr, its numbers as text, and options read with argp.
 */
#include <argp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char *command = "weir";

void cli_set_command(const char *name)
{
    command = name;
}

const char *cli_command_name(void)
{
    return command;
}

/* One write per line, and no stdio: lines of several processes on one terminal, or of several
 * workers of one, do not mix, and none waits for another. */
static void __attribute__((format(printf, 2, 0)))
print_line(const char *kind, const char *format, va_list arguments)
{
    char line[1024];
    /* Over the progress bar, if there is one. */
    const char *begin = isatty(STDERR_FILENO) ? "\r\033[K" : "";
    int length = snprintf(line, sizeof(line), "%s%s: %s", begin, command, kind);
    if (length < 0 || (size_t)length >= sizeof(line)) {
        return;
    }
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    (void)vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
    cli_write_line(STDERR_FILENO, line, sizeof(line));
}

void cli_write_line(int fd, char *line, size_t size)
{
    size_t length = strlen(line);
    line[length < size - 1 ? length++ : length - 1] = '\n';
    ssize_t written = write(fd, line, length);
    (void)written; /* who reads it is gone */
}

int cli_fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
    return code;
}

const char *cli_text_errno(int error)
{
    const char *text = strerrordesc_np(error);
    return text == NULL ? "unknown error" : text;
}

void cli_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("warning: ", format, arguments);
    va_end(arguments);
}

/* --- options ---------------------------------------------------------------------------------- */

static argp_parser_t wrapped_parser;
static FILE *error_stream;

/* argp follows each error with "Try `weir send --help' ..."; that second line is left out. */
static ssize_t write_without_hint(void *cookie, const char *bytes, size_t length)
{
    static const char hint[] = "Try `";
    (void)cookie;
    const char *at = bytes;
    const char *end = bytes + length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline == NULL ? end : newline + 1;
        if ((size_t)(next - at) < strlen(hint) || memcmp(at, hint, strlen(hint)) != 0) {
            (void)fwrite(at, 1, (size_t)(next - at), stderr);
        }
        at = next;
    }
    return (ssize_t)length;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    if (key == ARGP_KEY_INIT) {
        state->err_stream = error_stream;
    }
    return wrapped_parser == NULL ? ARGP_ERR_UNKNOWN : wrapped_parser(key, argument, state);
}

bool cli_read_options(const struct argp *argp, int argc, char **argv, void *input)
{
    struct argp wrapped = *argp;
    wrapped_parser = argp->parser;
    wrapped.parser = parse_option;
    argp_err_exit_status = CLI_USAGE;
    error_stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_without_hint});
    if (error_stream == NULL) {
        error_stream = stderr;
    } else {
        (void)setvbuf(error_stream, NULL, _IOLBF, 0);
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): main's thread is the only one here. */
    error_t error = argp_parse(&wrapped, argc, argv, 0, NULL, input);
    if (error_stream != stderr) {
        (void)fclose(error_stream);
    }
    return error == 0;
}

/* --- numbers as text -------------------------------------------------------------------------- */

/* value / unit with three significant digits: "1.50", "15.0", "150". */
static void print_scaled(char text[32], uint64_t value, uint64_t unit, const char *suffix)
{
    double scaled = (double)value / (double)unit;
    int decimals = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
    (void)snprintf(text, 32, "%.*f %s", decimals, scaled, suffix);
}

char *cli_text_bytes(uint64_t bytes, char text[32])
{
    if (bytes < 1000) {
        (void)snprintf(text, 32, "%u B", (unsigned)bytes);
    } else if (bytes < 1000000) {
        print_scaled(text, bytes, 1000, "KB");
    } else if (bytes < 1000000000) {
        print_scaled(text, bytes, 1000000, "MB");
    } else if (bytes < 1000000000000) {
        print_scaled(text, bytes, 1000000000, "GB");
    } else {
        print_scaled(text, bytes, 1000000000000, "TB");
    }
    return text;
}

char *cli_text_rate(uint64_t bits_per_second, char text[32])
{
    if (bits_per_second < 1000) {
        (void)snprintf(text, 32, "%u bit/s", (unsigned)bits_per_second);
    } else if (bits_per_second < 1000000) {
        print_scaled(text, bits_per_second, 1000, "kbit/s");
    } else if (bits_per_second < 1000000000) {
        print_scaled(text, bits_per_second, 1000000, "Mbit/s");
    } else {
        print_scaled(text, bits_per_second, 1000000000, "Gbit/s");
    }
    return text;
}

char *cli_text_duration(weir_nsec ns, char text[32])
{
    uint64_t seconds = ns / WEIR_SEC;
    if (ns < WEIR_MSEC) {
        print_scaled(text, ns, WEIR_USEC, "us");
    } else if (ns < WEIR_SEC) {
        print_scaled(text, ns, WEIR_MSEC, "ms");
    } else if (seconds < 60) {
        print_scaled(text, ns, WEIR_SEC, "s");
    } else if (seconds < 3600) {
        (void)snprintf(text, 32, "%um %02us", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
    } else {
        (void)snprintf(text, 32, "%lluh %02um", (unsigned long long)(seconds / 3600),
                       (unsigned)(seconds / 60 % 60));
    }
    return text;
}
