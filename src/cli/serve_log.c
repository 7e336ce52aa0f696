/* SPDX-License-Identifier: MIT */
/*
 * serve_log.c - a line per answer, in the form that all programs for such logs read:
 *
 *   10.7.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 1234
 */
#include <string.h>
#include <time.h>

#include "cli/serve_internal.h"

void cli_log_remember(struct cli_serve *serve, struct cli_slot *slot, struct weir_span line)
{
    slot->line_bytes = 0;
    if (serve->config.log != NULL) {
        slot->line_bytes =
            (uint32_t)(line.length < sizeof(slot->line) ? line.length : sizeof(slot->line));
        memcpy(slot->line, line.data, slot->line_bytes);
    }
}

/* What a client chose cannot end the line or its quotes. */
static void write_line(FILE *log, const struct cli_slot *slot)
{
    for (uint32_t i = 0; i < slot->line_bytes; i++) {
        unsigned char c = (unsigned char)slot->line[i];
        if (c < ' ' || c >= 127 || c == '"' || c == '\\') {
            (void)fprintf(log, "\\x%02x", c);
        } else {
            (void)fputc(c, log);
        }
    }
}

void cli_log_answer(struct cli_serve *serve, struct cli_slot *slot)
{
    char host[WEIR_ADDR_TEXT_BYTES];
    char date[64];
    struct tm tm;
    time_t now = time(NULL);
    FILE *log = serve->config.log;
    serve->stats.answers[slot->status / 100 % 6]++;
    serve->stats.sent_bytes += slot->body_bytes;
    if (log == NULL) {
        return;
    }
    const struct weir_path path = weir_tcp_path(serve->config.tcp, slot->conn);
    weir_addr_format(&path.remote, host);
    char *port = strrchr(host, ':');
    if (port != NULL) {
        *port = '\0';
    }
    date[0] = '\0';
    if (gmtime_r(&now, &tm) != NULL) {
        (void)strftime(date, sizeof(date), "%d/%b/%Y:%H:%M:%S +0000", &tm);
    }
    host[strcspn(host, "]")] = '\0';
    (void)fprintf(log, "%s - - [%s] \"", host[0] == '[' ? host + 1 : host, date);
    write_line(log, slot);
    (void)fprintf(log, "\" %d %llu\n", slot->status, (unsigned long long)slot->body_bytes);
}
