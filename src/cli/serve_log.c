/* SPDX-License-Identifier: MIT */
/*
 * serve_log.c - a line per answer, in the form that all programs for such logs read:
 *
 *   10.7.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 1234
 *
 * Lines are gathered for up to a second and leave whole, so that the shards of a crew may share a
 * file that is appended to.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/date.h"
#include "cli/serve_internal.h"

enum {
    LINE_BYTES = 1536 /* 256 bytes of a request line, each at most as \xHH, and the rest */
};

static const weir_nsec gather_time = WEIR_SEC;

void cli_log_remember(struct cli_serve *serve, struct cli_slot *slot, struct weir_span line)
{
    slot->line_bytes = 0;
    if (serve->config.log_fd >= 0) {
        slot->line_bytes =
            (uint32_t)(line.length < sizeof(slot->line) ? line.length : sizeof(slot->line));
        memcpy(slot->line, line.data, slot->line_bytes);
    }
}

/* --- out -------------------------------------------------------------------------------------- */

/* What cannot be written is lost, and the first reason kept. */
void cli_serve_flush_log(struct cli_serve *serve)
{
    uint32_t done = 0;
    int error = 0;
    while (done < serve->log_bytes && error == 0) {
        ssize_t n = write(serve->config.log_fd, serve->log + done, serve->log_bytes - done);
        if (n > 0) {
            done += (uint32_t)n;
        } else {
            error = n < 0 ? errno : EIO;
            error = error == EINTR ? 0 : error;
        }
    }
    serve->log_bytes = 0;
    if (error != 0 && serve->log_error == 0) {
        __atomic_store_n(&serve->log_error, error, __ATOMIC_RELAXED);
    }
}

int cli_serve_log_error(const struct cli_serve *serve)
{
    return __atomic_load_n(&serve->log_error, __ATOMIC_RELAXED);
}

void cli_log_tick(struct cli_serve *serve)
{
    if (serve->log_bytes > 0 && serve->now >= serve->log_at) {
        cli_serve_flush_log(serve);
    }
}

static void append(struct cli_serve *serve, const char *line, uint32_t length)
{
    if (serve->log_bytes + length > sizeof(serve->log)) {
        cli_serve_flush_log(serve);
    }
    if (serve->log_bytes == 0) {
        serve->log_at = serve->now + gather_time;
    }
    memcpy(serve->log + serve->log_bytes, line, length);
    serve->log_bytes += length;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* What a client chose cannot end the line or its quotes. */
static uint32_t write_request(const struct cli_slot *slot, char *line)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t at = 0;
    for (uint32_t i = 0; i < slot->line_bytes; i++) {
        unsigned char c = (unsigned char)slot->line[i];
        if (c < ' ' || c >= 127 || c == '"' || c == '\\') {
            line[at++] = '\\';
            line[at++] = 'x';
            line[at++] = digits[c >> 4];
            line[at++] = digits[c & 15];
        } else {
            line[at++] = (char)c;
        }
    }
    return at;
}

/* Address and date, up to the quote. */
static uint32_t write_start(const struct cli_serve *serve, const struct cli_slot *slot, char *line)
{
    char host[WEIR_ADDR_TEXT_BYTES];
    struct tm tm;
    const struct weir_path path = weir_tcp_path(serve->config.tcp, slot->conn);
    weir_addr_format(&path.remote, host);
    char *port = strrchr(host, ':');
    if (port != NULL) {
        *port = '\0';
    }
    host[strcspn(host, "]")] = '\0';
    cli_date_from_seconds((int64_t)time(NULL), &tm);
    return (uint32_t)snprintf(line, LINE_BYTES, "%s - - [%02d/%s/%04d:%02d:%02d:%02d +0000] \"",
                              host[0] == '[' ? host + 1 : host, tm.tm_mday,
                              cli_date_month(tm.tm_mon), tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                              tm.tm_sec);
}

void cli_log_answer(struct cli_serve *serve, struct cli_slot *slot)
{
    char line[LINE_BYTES];
    serve->stats.answers[slot->status / 100 % 6]++;
    serve->stats.sent_bytes += slot->body_bytes;
    if (serve->config.log_fd < 0) {
        return;
    }
    uint32_t length = write_start(serve, slot, line);
    length += write_request(slot, line + length);
    length += (uint32_t)snprintf(line + length, sizeof(line) - length, "\" %d %llu\n", slot->status,
                                 (unsigned long long)slot->body_bytes);
    append(serve, line, length);
}
