/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - Prometheus' text format, and its HTTP requests.
 */
#include "cli/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"

enum {
    RESPONSE_HEAD_BYTES = 512,
    EDGE_FIRST = 10, /* edges of the histogram are 2^10 ns, about 1 us, doubled up to 2^30 ns */
    EDGE_LAST = 30,
    BUCKETS_PER_DOUBLING = 4
};

#define BILLION 1000000000

/* --- the text format -------------------------------------------------------------------------- */

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Label values: backslash, quote and line feed are escaped. */
static void put_label(FILE *out, const char *value)
{
    for (; *value != 0; value++) {
        if (*value == '\n') {
            (void)fputs("\\n", out);
            continue;
        }
        if (*value == '\\' || *value == '"') {
            (void)fputc('\\', out);
        }
        (void)fputc(*value, out);
    }
}

static void put_seconds(FILE *out, uint64_t ns)
{
    (void)fprintf(out, "%" PRIu64 ".%09" PRIu64, ns / BILLION, ns % BILLION);
}

static void put_value(FILE *out, enum cli_field_kind kind, uint64_t value)
{
    if (kind == CLI_FIELD_GAUGE_MILLI) {
        (void)fprintf(out, "%" PRIu64 ".%03u", value / 1000, (unsigned)(value % 1000));
    } else if (kind == CLI_FIELD_COUNTER_NS || kind == CLI_FIELD_GAUGE_NS) {
        put_seconds(out, value);
    } else {
        (void)fprintf(out, "%" PRIu64, value);
    }
    (void)fputc('\n', out);
}

static void put_gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    put_head(out, name, "gauge", help);
    (void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* The whole name and the head of a field. */
static void put_field_head(FILE *out, const char *of, const struct cli_field *field, char name[64])
{
    bool is_counter = field->kind == CLI_FIELD_COUNTER || field->kind == CLI_FIELD_COUNTER_NS;
    bool is_time = field->kind == CLI_FIELD_COUNTER_NS || field->kind == CLI_FIELD_GAUGE_NS;
    (void)snprintf(name, 64, "weir_%s_%s%s%s", of, field->metric, is_time ? "_seconds" : "",
                   is_counter ? "_total" : "");
    put_head(out, name, is_counter ? "counter" : "gauge", field->help);
}

static void put_workers(FILE *out, const struct cli_figures *figures)
{
    char name[64];
    for (size_t k = 0; k < CLI_FIGURES_WORKER_FIELDS; k++) {
        put_field_head(out, "worker", &cli_worker_fields[k], name);
        for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
            if (figures->has_run[i]) {
                (void)fprintf(out, "%s{worker=\"%u\"} ", name, i);
                put_value(out, cli_worker_fields[k].kind,
                          cli_worker_value(figures, i, &cli_worker_fields[k]));
            }
        }
    }
}

static void put_shards(FILE *out, const struct cli_figures *figures)
{
    char name[64];
    for (size_t k = 0; k < CLI_FIGURES_SHARD_FIELDS; k++) {
        put_field_head(out, "shard", &cli_shard_fields[k], name);
        for (uint32_t i = 0; i < figures->shard_count; i++) {
            (void)fprintf(out, "%s{shard=\"%u\"} ", name, i);
            put_value(out, cli_shard_fields[k].kind,
                      cli_shard_value(figures, i, &cli_shard_fields[k]));
        }
    }
}

static void put_drops(FILE *out, const struct cli_figures *figures)
{
    put_head(out, "weir_dropped_packets_total", "counter", "Packets dropped, by reason.");
    for (uint32_t i = 0; i < figures->drop_count; i++) {
        (void)fputs("weir_dropped_packets_total{reason=\"", out);
        put_label(out, figures->drop_names[i]);
        (void)fprintf(out, "\"} %" PRIu64 "\n", figures->drops[i]);
    }
}

/* The crew's buckets are quarters of doublings: what is counted in those of all doublings below
 * an edge was less than it. */
static void put_pauses(FILE *out, const struct cli_figures *figures)
{
    static const char name[] = "weir_handover_pause_seconds";
    struct weir_crew_worker_stats sum;
    uint64_t count = 0;
    uint32_t bucket = 0;
    cli_figures_sum_pauses(figures, &sum);
    put_head(out, name, "histogram",
             "From when a shard was let go by a worker to when it was taken by the next.");
    for (uint32_t edge = EDGE_FIRST; edge <= EDGE_LAST; edge++) {
        for (; bucket < edge * BUCKETS_PER_DOUBLING; bucket++) {
            count += sum.pauses[bucket];
        }
        (void)fprintf(out, "%s_bucket{le=\"", name);
        put_seconds(out, UINT64_C(1) << edge);
        (void)fprintf(out, "\"} %" PRIu64 "\n", count);
    }
    for (; bucket < WEIR_CREW_PAUSE_BUCKETS; bucket++) {
        count += sum.pauses[bucket];
    }
    (void)fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, count, name);
    put_seconds(out, sum.pause_sum);
    (void)fprintf(out, "\n%s_count %" PRIu64 "\n", name, count);
}

char *cli_metrics_text(const struct cli_figures *figures, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (out == NULL) {
        return NULL;
    }
    put_head(out, "weir_build_info", "gauge", "Always 1: what runs, and where.");
    (void)fputs("weir_build_info{version=\"", out);
    put_label(out, figures->version);
    (void)fputs("\",command=\"", out);
    put_label(out, figures->command);
    (void)fputs("\",scheme=\"", out);
    put_label(out, figures->scheme);
    (void)fputs("\",local=\"", out);
    put_label(out, figures->local);
    (void)fputs("\"} 1\n", out);
    put_head(out, "weir_uptime_seconds", "gauge", "Since the start.");
    (void)fputs("weir_uptime_seconds ", out);
    put_value(out, CLI_FIELD_GAUGE_NS, figures->up);
    put_gauge(out, "weir_workers", "Workers that run shards.", figures->workers);
    put_gauge(out, "weir_workers_wanted", "Workers wanted last.", figures->wanted);
    put_gauge(out, "weir_workers_max", "Workers that there may be.", figures->max);
    put_gauge(out, "weir_settled", "1: no change of the number of workers is under way.",
              figures->is_settled);
    put_pauses(out, figures);
    put_drops(out, figures);
    put_workers(out, figures);
    put_shards(out, figures);
    bool is_written = ferror(out) == 0;
    if (fclose(out) != 0 || !is_written) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- HTTP ------------------------------------------------------------------------------------- */

static int read_status(const uint8_t *data, size_t length, struct cli_http_request *request)
{
    static char path[CLI_HTTP_PATH_BYTES];
    struct weir_span query;
    if (data == NULL) {
        return 431;
    }
    int status = cli_http_read_head(weir_span_of(data, length), request);
    if (status == 0) {
        status = cli_http_read_path(request->target, path, &query);
    }
    if (status != 0) {
        return status;
    }
    if (strcmp(path, "/metrics") != 0) {
        return 404;
    }
    return request->method == CLI_HTTP_GET || request->method == CLI_HTTP_HEAD ? 200 : 405;
}

void cli_metrics_answer(const uint8_t *data, size_t length, int64_t unix_now,
                        const struct cli_figures *(*take)(void *user), void *user,
                        struct cli_answer *answer)
{
    struct cli_http_request request = {0};
    struct cli_http_response response = {.status = read_status(data, length, &request),
                                         .has_length = true,
                                         .type = "text/plain; charset=utf-8"};
    char *body = NULL;
    size_t body_bytes = 0;
    if (response.status == 200) {
        response.type = "text/plain; version=0.0.4; charset=utf-8";
        body = cli_metrics_text(take(user), &body_bytes);
    } else {
        char line[64];
        (void)snprintf(line, sizeof(line), "%s; there is /metrics\n",
                       cli_http_status_text(response.status));
        body = strdup(line);
        body_bytes = strlen(line);
    }
    *answer = (struct cli_answer){.is_last = true};
    response.body_bytes = body_bytes;
    response.allow = response.status == 405 ? "GET, HEAD" : NULL;
    char *text = body == NULL ? NULL : malloc(RESPONSE_HEAD_BYTES + body_bytes);
    size_t head =
        text == NULL ? 0 : cli_http_write_head(&response, unix_now, text, RESPONSE_HEAD_BYTES);
    if (head > 0) {
        size_t sent = request.method == CLI_HTTP_HEAD ? 0 : body_bytes;
        memcpy(text + head, body, sent);
        answer->text = text;
        answer->length = head + sent;
    } else {
        free(text);
    }
    free(body);
}
