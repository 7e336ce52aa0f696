/* SPDX-License-Identifier: MIT */
/*
 * samples.c - measured values and their percentiles.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/samples.h"

enum {
    FIRST_COUNT = 4096
};

bool cli_samples_add(struct cli_samples *samples, uint64_t value)
{
    if (samples->count == samples->count_max) {
        size_t count_max = samples->count_max == 0 ? FIRST_COUNT : 2 * samples->count_max;
        uint64_t *values = realloc(samples->values, count_max * sizeof(*values));
        if (values == NULL) {
            return false;
        }
        samples->values = values;
        samples->count_max = count_max;
    }
    samples->values[samples->count++] = value;
    return true;
}

static int compare_values(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The smallest value that at least permille / 1000 of all values do not exceed. */
static uint64_t value_at(const struct cli_samples *samples, size_t permille)
{
    size_t rank = (samples->count * permille + 999) / 1000;
    return samples->values[rank - 1];
}

struct cli_summary cli_samples_summary(struct cli_samples *samples)
{
    if (samples->count == 0) {
        return (struct cli_summary){0};
    }
    qsort(samples->values, samples->count, sizeof(samples->values[0]), compare_values);
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++) {
        sum += (double)samples->values[i];
    }
    return (struct cli_summary){.mean = sum / (double)samples->count,
                                .p50 = value_at(samples, 500),
                                .p90 = value_at(samples, 900),
                                .p99 = value_at(samples, 990),
                                .p999 = value_at(samples, 999),
                                .max = samples->values[samples->count - 1]};
}

void cli_samples_free(struct cli_samples *samples)
{
    free(samples->values);
    *samples = (struct cli_samples){0};
}

void cli_summary_print_json(const struct cli_summary *summary, double unit)
{
    printf("{\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}",
           summary->mean / unit, (double)summary->p50 / unit, (double)summary->p90 / unit,
           (double)summary->p99 / unit, (double)summary->p999 / unit, (double)summary->max / unit);
}
