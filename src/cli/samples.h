/* SPDX-License-Identifier: MIT */
/*
 * samples.h - measured values and their percentiles.
 *
 * Role: latencies of "weir sim" and "weir perf": every value is kept, so percentiles are exact.
 * Memory: 8 bytes a value on the heap, doubled when full.
 */
#ifndef WEIR_CLI_SAMPLES_H
#define WEIR_CLI_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_samples {
    uint64_t *values;
    size_t count, count_max;
};

/* All zero when there are no values. Percentiles by nearest rank: each is a value that occurred. */
struct cli_summary {
    double mean;
    uint64_t p50, p90, p99, p999, max;
};

/* False, with nothing added, when the system refuses memory. Start from a zeroed struct. */
bool cli_samples_add(struct cli_samples *samples, uint64_t value);
/* Sorts the values. */
struct cli_summary cli_samples_summary(struct cli_samples *samples);
void cli_samples_free(struct cli_samples *samples);

/* Prints "{"mean":1.234,"p50":...,"max":...}" with three decimals, each value divided by unit, to
 * stdout. */
void cli_summary_print_json(const struct cli_summary *summary, double unit);

#endif
