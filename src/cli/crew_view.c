/* SPDX-License-Identifier: MIT */
/*
 * crew_view.c - figures laid out in lines of text.
 */
#include "cli/crew_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/cli.h"

enum {
    LINE_BYTES = 512,
    CELL_BYTES = 32
};

struct drawing {
    FILE *out;
    const struct cli_view *view;
    const struct cli_figures *figures, *before;
    double seconds; /* that rates are of */
    uint32_t lines;
};

static bool is_full(const struct drawing *drawing)
{
    return drawing->view->height > 0 && drawing->lines >= drawing->view->height;
}

static void put(struct drawing *drawing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct drawing *drawing, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list list;
    if (is_full(drawing)) {
        return;
    }
    va_start(list, format);
    (void)vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    size_t length = strlen(line);
    if (drawing->view->width > 0) {
        length = weir_min_u64(length, drawing->view->width);
    }
    while (length > 0 && line[length - 1] == ' ') {
        length--;
    }
    (void)fprintf(drawing->out, "%.*s\n", (int)length, line);
    drawing->lines++;
}

/* --- cells ------------------------------------------------------------------------------------ */

/* "12345", "123k", "1.23M": at most six characters for what a crew can count in a year. */
static char *text_count(double value, char text[CELL_BYTES])
{
    static const char units[] = " kMGTPE";
    size_t unit = 0;
    if (value < 99999.5) {
        (void)snprintf(text, CELL_BYTES, "%.0f", value);
        return text;
    }
    for (; value >= 999.5 && unit + 2 < sizeof(units); unit++) {
        value /= 1000;
    }
    (void)snprintf(text, CELL_BYTES, "%.*f%c",
                   value < 9.995   ? 2
                   : value < 99.95 ? 1
                                   : 0,
                   value, units[unit]);
    return text;
}

static char *text_time(uint64_t ns, char text[CELL_BYTES])
{
    if (ns == 0) {
        (void)snprintf(text, CELL_BYTES, "-");
        return text;
    }
    return cli_text_duration(ns, text);
}

/* A share of a whole, in percent. */
static char *text_share(double part, double whole, char text[CELL_BYTES])
{
    double share = whole > 0 ? 100 * part / whole : 0;
    (void)snprintf(text, CELL_BYTES, share > 0 && share < 0.995 ? "%.2f%%" : "%.0f%%", share);
    return text;
}

/* What a counter has grown by; one that was begun anew counts from 0. */
static double growth(uint64_t now, uint64_t before)
{
    return (double)(now >= before ? now - before : now);
}

static double per_second(const struct drawing *drawing, uint64_t now, uint64_t before)
{
    return drawing->seconds > 0 ? growth(now, before) / drawing->seconds : 0;
}

/* --- totals ----------------------------------------------------------------------------------- */

static void put_title(struct drawing *drawing)
{
    const struct cli_figures *figures = drawing->figures;
    char up[CELL_BYTES];
    put(drawing, "%s %s://%s   pid %" PRIu64 "   up %s%s%s", figures->command, figures->scheme,
        figures->local, figures->pid, cli_text_duration(figures->up, up),
        figures->metrics[0] != 0 ? "   metrics " : "", figures->metrics);
    put(drawing, "workers      %u of %u at most%s, %s", figures->workers, figures->max,
        figures->is_auto ? " (auto)" : "",
        figures->is_settled ? "settled" : "changing to the number wanted");
    if (!figures->is_settled || figures->wanted != figures->workers) {
        put(drawing, "wanted       %u", figures->wanted);
    }
}

static void put_rates(struct drawing *drawing, const struct weir_figures *now,
                      const struct weir_figures *then)
{
    char cells[4][CELL_BYTES];
    double in = per_second(drawing, now->bytes_received, then->bytes_received);
    double out = per_second(drawing, now->bytes_sent, then->bytes_sent);
    put(drawing, "received     %s packets/s, %s",
        text_count(per_second(drawing, now->packets_received, then->packets_received), cells[0]),
        cli_text_rate((uint64_t)(in * 8), cells[1]));
    put(drawing, "sent         %s packets/s, %s, %s lost",
        text_count(per_second(drawing, now->packets_sent, then->packets_sent), cells[0]),
        cli_text_rate((uint64_t)(out * 8), cells[1]),
        text_share(growth(now->packets_lost, then->packets_lost),
                   growth(now->packets_sent, then->packets_sent), cells[2]));
}

/* The reasons, the most frequent first, as many as there are. */
static void put_drops_line(struct drawing *drawing, uint64_t dropped)
{
    const struct cli_figures *figures = drawing->figures;
    char line[LINE_BYTES];
    bool is_told[CLI_FIGURES_DROPS_MAX] = {0};
    int used = snprintf(line, sizeof(line), "dropped      %" PRIu64, dropped);
    for (uint32_t n = 0; n < figures->drop_count; n++) {
        uint32_t most = CLI_FIGURES_DROPS_MAX;
        for (uint32_t i = 0; i < figures->drop_count; i++) {
            bool is_more = !is_told[i] && figures->drops[i] > 0;
            if (is_more &&
                (most == CLI_FIGURES_DROPS_MAX || figures->drops[i] > figures->drops[most])) {
                most = i;
            }
        }
        if (most == CLI_FIGURES_DROPS_MAX || used < 0 || (size_t)used + 64 > sizeof(line)) {
            break;
        }
        is_told[most] = true;
        used += snprintf(line + used, sizeof(line) - (size_t)used, "%s %s %" PRIu64,
                         n == 0 ? ":" : ",", figures->drop_names[most], figures->drops[most]);
    }
    put(drawing, "%s", line);
}

static void put_totals(struct drawing *drawing)
{
    const struct cli_figures *figures = drawing->figures;
    struct weir_figures now;
    struct weir_figures then = {0};
    char cells[4][CELL_BYTES];
    cli_figures_sum_shards(figures, &now);
    if (drawing->before != NULL) {
        cli_figures_sum_shards(drawing->before, &then);
    }
    put_title(drawing);
    put(drawing, "connections  %" PRIu64 ", %" PRIu64 " awake, RTT %s", now.connections, now.awake,
        text_time(now.rtt, cells[0]));
    put_rates(drawing, &now, &then);
    put(drawing, "hand-overs   %" PRIu64 ", pause p50 %s, p99 %s, max %s", figures->pauses.count,
        text_time(figures->pauses.p50, cells[0]), text_time(figures->pauses.p99, cells[1]),
        text_time(figures->pauses.max, cells[2]));
    put_drops_line(drawing, now.dropped);
}

/* --- workers ---------------------------------------------------------------------------------- */

static void put_worker(struct drawing *drawing, uint32_t worker)
{
    static const struct weir_crew_worker_stats none;
    const struct weir_crew_worker_stats *now = &drawing->figures->worker[worker];
    const struct weir_crew_worker_stats *then =
        drawing->before == NULL ? &none : &drawing->before->worker[worker];
    char cells[8][CELL_BYTES];
    /* Without two moments of the same run of the worker, its own mean. */
    bool is_mean = drawing->before == NULL || now->busy < then->busy || drawing->seconds <= 0;
    double busy = is_mean ? (double)now->busy_permille / 1000
                          : growth(now->busy, then->busy) / 1e9 / drawing->seconds;
    uint64_t in = now->packets + now->taken_in;
    uint64_t in_then = then->packets + then->taken_in;
    put(drawing, "%6u %6" PRIu64 " %7s %7s %5s %6.1f %9s %9s %5" PRIu64 " %5" PRIu64 " %6" PRIu64,
        worker, now->shards, text_count((double)now->connections, cells[0]),
        text_count(per_second(drawing, in, in_then), cells[1]),
        text_share(busy < 1 ? busy : 1, 1, cells[2]), (double)now->queue_length / 1000,
        text_time(now->queue_delay, cells[3]),
        text_share(growth(now->misrouted, then->misrouted), growth(now->packets, then->packets),
                   cells[4]),
        now->shards_gained, now->shards_given, now->dropped + now->unsent);
}

static void put_workers(struct drawing *drawing)
{
    put(drawing, " ");
    put(drawing,
        "WORKER SHARDS   CONNS   PKT/S  BUSY  QUEUE     DELAY MISROUTED GAINED GIVEN  DROPS");
    for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
        const struct weir_crew_worker_stats *stats = &drawing->figures->worker[i];
        if (stats->started_at > 0 || stats->shards > 0) {
            put_worker(drawing, i);
        }
    }
}

/* --- shards ----------------------------------------------------------------------------------- */

struct ranked {
    double first, second;
    uint32_t shard;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->first < y->first || x->first > y->first) {
        return x->first > y->first ? -1 : 1;
    }
    if (x->second < y->second || x->second > y->second) {
        return x->second > y->second ? -1 : 1;
    }
    return x->shard < y->shard ? -1 : x->shard > y->shard;
}

static const struct weir_crew_shard_stats *shard_before(const struct drawing *drawing,
                                                        uint32_t shard)
{
    static const struct weir_crew_shard_stats none;
    return drawing->before == NULL ? &none : &drawing->before->shard[shard];
}

static struct ranked rank(const struct drawing *drawing, uint32_t shard)
{
    const struct weir_crew_shard_stats *now = &drawing->figures->shard[shard];
    const struct weir_crew_shard_stats *then = shard_before(drawing, shard);
    struct ranked ranked = {.shard = shard};
    switch (drawing->view->sort) {
    case CLI_SORT_LOAD:
        ranked.first = growth(now->busy, then->busy);
        ranked.second = growth(now->packets, then->packets);
        break;
    case CLI_SORT_CONNECTIONS:
        ranked.first = (double)now->figures.connections;
        ranked.second = (double)now->figures.awake;
        break;
    case CLI_SORT_LOSS:
        ranked.first = growth(now->figures.packets_lost, then->figures.packets_lost);
        ranked.second = (double)now->figures.packets_lost;
        break;
    case CLI_SORT_NUMBER:
    case CLI_SORTS:
        break;
    }
    return ranked;
}

static void put_shard(struct drawing *drawing, uint32_t shard)
{
    const struct weir_crew_shard_stats *stats = &drawing->figures->shard[shard];
    const struct weir_crew_shard_stats *before = shard_before(drawing, shard);
    const struct weir_figures *now = &stats->figures;
    const struct weir_figures *then = &before->figures;
    char cells[8][CELL_BYTES];
    put(drawing, "%6u %6" PRIu64 " %7s %7s %7s %7s %5s %9s %6s %5" PRIu64 " %6" PRIu64, shard,
        stats->worker, text_count((double)now->connections, cells[0]),
        text_count((double)now->awake, cells[1]),
        text_count(per_second(drawing, now->packets_received, then->packets_received), cells[2]),
        text_count(per_second(drawing, now->packets_sent, then->packets_sent), cells[3]),
        text_share(growth(stats->busy, before->busy) / 1e9, drawing->seconds, cells[4]),
        text_time(now->rtt, cells[5]),
        text_share(growth(now->packets_lost, then->packets_lost),
                   growth(now->packets_sent, then->packets_sent), cells[6]),
        stats->moves, now->dropped);
}

static void put_shards(struct drawing *drawing)
{
    struct ranked order[WEIR_CREW_SHARDS_MAX];
    uint32_t count = drawing->figures->shard_count;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = rank(drawing, i);
    }
    qsort(order, count, sizeof(order[0]), compare_ranked);
    put(drawing, " ");
    put(drawing,
        " SHARD WORKER   CONNS   AWAKE    IN/S   OUT/S  BUSY       RTT   LOST MOVES  DROPS");
    for (uint32_t i = 0; i < count && !is_full(drawing); i++) {
        put_shard(drawing, order[i].shard);
    }
}

static void put_drops(struct drawing *drawing)
{
    const struct cli_figures *figures = drawing->figures;
    char cell[CELL_BYTES];
    put(drawing, " ");
    put(drawing, "%-32s %12s %8s", "DROPPED", "PACKETS", "A SECOND");
    for (uint32_t i = 0; i < figures->drop_count; i++) {
        uint64_t before = drawing->before == NULL ? 0 : drawing->before->drops[i];
        put(drawing, "%-32s %12" PRIu64 " %8s", figures->drop_names[i], figures->drops[i],
            text_count(per_second(drawing, figures->drops[i], before), cell));
    }
}

/* --- all -------------------------------------------------------------------------------------- */

const char *cli_view_sort_text(enum cli_view_sort sort)
{
    static const char *const texts[CLI_SORTS] = {"load", "connections", "loss", "number"};
    return sort < CLI_SORTS ? texts[sort] : "?";
}

char *cli_view_draw(const struct cli_figures *figures, const struct cli_figures *before,
                    const struct cli_view *view)
{
    char *text = NULL;
    size_t length = 0;
    /* Of another run, after the first ended: not to be compared. */
    if (before != NULL && (before->pid != figures->pid || before->at >= figures->at)) {
        before = NULL;
    }
    struct drawing drawing = {
        .out = open_memstream(&text, &length), .view = view, .figures = figures, .before = before};
    if (drawing.out == NULL) {
        return NULL;
    }
    drawing.seconds = (double)(before == NULL ? figures->up : figures->at - before->at) / 1e9;
    put_totals(&drawing);
    if (view->part == CLI_VIEW_BOTH || view->part == CLI_VIEW_WORKERS) {
        put_workers(&drawing);
    }
    if (view->part == CLI_VIEW_BOTH || view->part == CLI_VIEW_SHARDS) {
        put_shards(&drawing);
    }
    if (view->part == CLI_VIEW_DROPS) {
        put_drops(&drawing);
    }
    if (fclose(drawing.out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
