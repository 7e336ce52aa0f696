/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what all benchmarks share: medians over interleaved windows, one table, one JSON file.
 *
 * Role: a benchmark measures weir and its peers in turn, window by window in one run, so that what
 * else the machine does hits all alike; it then reports one case after the other.
 * Order: open; any number of report calls; close, which writes the JSON.
 */
#ifndef WEIR_BENCH_H
#define WEIR_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

#ifdef __cplusplus
extern "C" {
#endif

enum {
    BENCH_WINDOWS_MAX = 128,
    BENCH_CONTENDERS_MAX = 8
};

/* What one contender reached in each window. The first contender of a case is weir. */
struct bench_series {
    const char *name;
    size_t count;
    double values[BENCH_WINDOWS_MAX];
};

struct bench_case {
    const char *name;   /* "64 B" */
    const char *metric; /* "throughput" */
    const char *unit;   /* "GB/s" */
    bool is_higher_better;
};

struct bench {
    const char *name;
    const char *json_path; /* NULL: no file is written */
    struct cJSON *rows;
    bool has_heading;
};

/* Options: --json PATH. Ends the program with exit 2 on any other. */
void bench_open(struct bench *bench, const char *name, int argc, char **argv);
/* Prints the medians side by side, each peer with its ratio (above 1: weir is better), and keeps
 * one row per peer for the file. A contender without any window is left out. */
void bench_report(struct bench *bench, const struct bench_case *what,
                  const struct bench_series *series, size_t count);
/* Puts this benchmark's rows in the file in place of its older ones; other benchmarks' rows in it
 * stay. Returns main's exit code. */
int bench_close(struct bench *bench);

void bench_add(struct bench_series *series, double value);
/* 0 of an empty series. */
double bench_median(const struct bench_series *series);
/* Nanoseconds of the monotonic clock, and of CPU used by this process so far. */
uint64_t bench_now(void);
uint64_t bench_cpu(void);
/* Keeps the calling thread on one processor, counted over those that the process was allowed at
 * bench_open; does nothing when there are fewer. */
void bench_pin(unsigned index);

#ifdef __cplusplus
}
#endif
#endif
