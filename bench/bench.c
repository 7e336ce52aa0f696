/* SPDX-License-Identifier: MIT */
/*
 * bench.c - medians, the table and the JSON file of the benchmarks.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "bench: %s%s\n", what, about);
    exit(2); /* NOLINT(concurrency-mt-unsafe): no atexit handlers here */
}

/* Processors the process was started on, before any thread or child was pinned. */
static cpu_set_t allowed;

void bench_open(struct bench *bench, const char *name, int argc, char **argv)
{
    *bench = (struct bench){.name = name, .rows = cJSON_CreateArray()};
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        CPU_ZERO(&allowed);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0 || i + 1 == argc) {
            die("usage: [--json PATH], not ", argv[i]);
        }
        bench->json_path = argv[++i];
    }
}

void bench_add(struct bench_series *series, double value)
{
    if (series->count < BENCH_WINDOWS_MAX) {
        series->values[series->count++] = value;
    }
}

static int compare_values(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

double bench_median(const struct bench_series *series)
{
    double sorted[BENCH_WINDOWS_MAX];
    size_t count = series->count;
    if (count == 0) {
        return 0;
    }
    memcpy(sorted, series->values, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_values);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static double ratio_of(const struct bench_case *what, double weir, double peer)
{
    double over = what->is_higher_better ? weir : peer;
    double under = what->is_higher_better ? peer : weir;
    return under > 0 ? over / under : 0;
}

static void keep_row(struct bench *bench, const struct bench_case *what, double weir,
                     const struct bench_series *peer)
{
    double value = bench_median(peer);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "bench", bench->name);
    cJSON_AddStringToObject(row, "case", what->name);
    cJSON_AddStringToObject(row, "metric", what->metric);
    cJSON_AddStringToObject(row, "unit", what->unit);
    cJSON_AddNumberToObject(row, "weir", weir);
    cJSON_AddNumberToObject(row, "peer", value);
    cJSON_AddStringToObject(row, "peer_name", peer->name);
    cJSON_AddNumberToObject(row, "ratio", ratio_of(what, weir, value));
    cJSON_AddItemToArray(bench->rows, row);
}

void bench_report(struct bench *bench, const struct bench_case *what,
                  const struct bench_series *series, size_t count)
{
    if (!bench->has_heading) {
        bench->has_heading = true;
        (void)printf("%s: medians of up to %zu windows, all contenders in turn; xN: weir is N "
                     "times better\n",
                     bench->name, series[0].count);
    }
    (void)printf("  %-14s %s, %s (%s is better)\n", what->name, what->metric, what->unit,
                 what->is_higher_better ? "higher" : "lower");
    double weir = bench_median(&series[0]);
    (void)printf("    %-28s %12.3f\n", series[0].name, weir);
    for (size_t i = 1; i < count; i++) {
        if (series[i].count > 0) {
            double peer = bench_median(&series[i]);
            (void)printf("    %-28s %12.3f   x%.2f\n", series[i].name, peer,
                         ratio_of(what, weir, peer));
            keep_row(bench, what, weir, &series[i]);
        }
    }
    (void)fflush(stdout);
}

/* The array in the file, or NULL when there is none that can be read. */
static cJSON *load_rows(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    static char text[1 << 20];
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    (void)fclose(file);
    cJSON *rows = cJSON_Parse(text);
    if (rows != NULL && !cJSON_IsArray(rows)) {
        cJSON_Delete(rows);
        rows = NULL;
    }
    return rows;
}

static void remove_rows_of(cJSON *rows, const char *name)
{
    for (int i = cJSON_GetArraySize(rows) - 1; i >= 0; i--) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        const char *owner = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "bench"));
        if (owner == NULL || strcmp(owner, name) == 0) {
            cJSON_DeleteItemFromArray(rows, i);
        }
    }
}

static bool save_rows(const char *path, const cJSON *rows)
{
    char *text = cJSON_Print(rows);
    FILE *file = fopen(path, "w");
    bool is_saved = text != NULL && file != NULL && fprintf(file, "%s\n", text) > 0;
    if (file != NULL) {
        is_saved = fclose(file) == 0 && is_saved;
    }
    cJSON_free(text);
    return is_saved;
}

int bench_close(struct bench *bench)
{
    int code = 0;
    if (bench->json_path != NULL) {
        cJSON *all = load_rows(bench->json_path);
        if (all == NULL) {
            all = cJSON_CreateArray();
        }
        remove_rows_of(all, bench->name);
        cJSON *row = NULL;
        while ((row = cJSON_DetachItemFromArray(bench->rows, 0)) != NULL) {
            cJSON_AddItemToArray(all, row);
        }
        if (!save_rows(bench->json_path, all)) {
            perror(bench->json_path);
            code = 1;
        }
        cJSON_Delete(all);
    }
    cJSON_Delete(bench->rows);
    return code;
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) {
        die("no clock", "");
    }
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t bench_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void bench_pin(unsigned index)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &allowed) && index-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET((size_t)cpu, &one);
            (void)sched_setaffinity(0, sizeof(one), &one);
            return;
        }
    }
}
