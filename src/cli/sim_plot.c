/* SPDX-License-Identifier: MIT */
/*
 * sim_plot.c - collects samples of a simulated exchange and draws them over virtual time.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/sim_run.h"
#include "cli/svg.h"

enum {
    SAMPLES_MAX = 8192,    /* twice what the picture is wide in pixels, and more */
    GOODPUT_BINS_MAX = 240 /* fewer than samples: a rate needs a span of time */
};

#define FIRST_INTERVAL (2 * WEIR_MSEC)

bool cli_sim_plot_open(struct cli_sim_plot *plot)
{
    *plot = (struct cli_sim_plot){.samples = calloc(SAMPLES_MAX, sizeof(struct cli_sim_sample)),
                                  .interval = FIRST_INTERVAL};
    return plot->samples != NULL;
}

void cli_sim_plot_close(struct cli_sim_plot *plot)
{
    free(plot->samples);
    plot->samples = NULL;
}

static void thin_out(struct cli_sim_plot *plot)
{
    for (size_t i = 0; i < SAMPLES_MAX / 2; i++) {
        plot->samples[i] = plot->samples[2 * i];
    }
    plot->count = SAMPLES_MAX / 2;
    plot->interval *= 2;
}

void cli_sim_plot_add(struct cli_sim_plot *plot, const struct cli_sim_sample *sample)
{
    if (plot->count == SAMPLES_MAX) {
        thin_out(plot);
    }
    plot->samples[plot->count++] = *sample;
    plot->next = sample->time + plot->interval;
}

/* Columns of numbers as the chart wants them; one block, freed by the caller. */
struct columns {
    double *time_s, *window_kb, *in_flight_kb, *rtt_ms, *rtt_min_ms;
    double *bin_time_s, *bin_mbit;
    size_t count, bins;
};

static double seconds_since(weir_nsec start, weir_nsec time)
{
    return (double)(time - start) / (double)WEIR_SEC;
}

/* Goodput of stretches of at least span ns, each ending at a sample. */
static void fill_bins(const struct cli_sim_plot *plot, struct columns *columns)
{
    const struct cli_sim_sample *samples = plot->samples;
    weir_nsec start = samples[0].time;
    weir_nsec span = (samples[plot->count - 1].time - start) / GOODPUT_BINS_MAX + 1;
    size_t last = 0;
    for (size_t i = 1; i < plot->count && columns->bins < GOODPUT_BINS_MAX; i++) {
        weir_nsec elapsed = samples[i].time - samples[last].time;
        if (elapsed < span || elapsed < 5 * WEIR_MSEC) {
            continue;
        }
        double bytes = (double)(samples[i].delivered_bytes - samples[last].delivered_bytes);
        columns->bin_time_s[columns->bins] =
            seconds_since(start, samples[last].time) + (double)elapsed / 2e9;
        columns->bin_mbit[columns->bins++] = bytes * 8e3 / (double)elapsed;
        last = i;
    }
}

static void fill_columns(const struct cli_sim_plot *plot, struct columns *columns)
{
    for (size_t i = 0; i < plot->count; i++) {
        const struct cli_sim_sample *sample = &plot->samples[i];
        columns->time_s[i] = seconds_since(plot->samples[0].time, sample->time);
        columns->window_kb[i] =
            sample->window_bytes == UINT64_MAX ? (double)NAN : (double)sample->window_bytes / 1e3;
        columns->in_flight_kb[i] = (double)sample->in_flight_bytes / 1e3;
        columns->rtt_ms[i] = sample->rtt == 0 ? (double)NAN : (double)sample->rtt / 1e6;
        columns->rtt_min_ms[i] = sample->rtt == 0 ? (double)NAN : (double)sample->rtt_min / 1e6;
    }
    columns->count = plot->count;
    if (plot->count > 1) {
        fill_bins(plot, columns);
    }
}

static void describe(const struct cli_sim_options *options, char *text, size_t size)
{
    char rate[32] = "unlimited";
    if (options->link.rate > 0) {
        snprintf(rate, sizeof(rate), "%.6g Mbit/s", (double)options->link.rate / 1e6);
    }
    snprintf(text, size, "%s, RTT %.6g ms, loss %.6g %% each way, rate %s, seed %llu",
             weir_cc_text(options->cc), (double)options->rtt / 1e6,
             (double)options->link.loss_ppm / 1e4, rate, (unsigned long long)options->seed);
}

static bool write_chart(const struct columns *columns, const struct cli_sim_options *options,
                        const char *path)
{
    char subtitle[200];
    describe(options, subtitle, sizeof(subtitle));
    char title[64];
    snprintf(title, sizeof(title), "weir sim %s", options->transport);
    const double *time_s = columns->time_s;
    size_t count = columns->count;
    struct cli_svg_chart chart = {
        .title = title,
        .subtitle = subtitle,
        .x_label = "virtual time since connect (s)",
        .panels = {{"Congestion window", "KB", {{"cwnd", time_s, columns->window_kb, count}}, 1},
                   {"In flight", "KB", {{"in flight", time_s, columns->in_flight_kb, count}}, 1},
                   {"Round-trip time",
                    "ms",
                    {{"smoothed", time_s, columns->rtt_ms, count},
                     {"least", time_s, columns->rtt_min_ms, count}},
                    2},
                   {"Goodput",
                    "Mbit/s",
                    {{"delivered", columns->bin_time_s, columns->bin_mbit, columns->bins}},
                    1}},
        .panels_count = 4,
    };
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    bool is_written = cli_svg_write(file, &chart);
    int error = errno;
    if (fclose(file) != 0) {
        return false;
    }
    errno = error;
    return is_written;
}

bool cli_sim_plot_write(const struct cli_sim_plot *plot, const struct cli_sim_options *options,
                        const char *path)
{
    double *block = calloc((size_t)5 * SAMPLES_MAX + (size_t)2 * GOODPUT_BINS_MAX, sizeof(*block));
    if (block == NULL) {
        return false;
    }
    double *bins = block + (size_t)5 * SAMPLES_MAX;
    struct columns columns = {.time_s = block,
                              .window_kb = block + SAMPLES_MAX,
                              .in_flight_kb = block + (size_t)2 * SAMPLES_MAX,
                              .rtt_ms = block + (size_t)3 * SAMPLES_MAX,
                              .rtt_min_ms = block + (size_t)4 * SAMPLES_MAX,
                              .bin_time_s = bins,
                              .bin_mbit = bins + GOODPUT_BINS_MAX};
    fill_columns(plot, &columns);
    bool is_written = write_chart(&columns, options, path);
    free(block);
    return is_written;
}
