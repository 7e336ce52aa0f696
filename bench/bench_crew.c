/* SPDX-License-Identifier: MIT */
/*
 * bench_crew.c - a crew whose number of workers changes under load, and what a second worker
 * brings.
 *
 * Usage: bench_crew [--json PATH]
 *
 *   change:  100,000 RUDP connections in one server process, 20,000 messages a second there and
 *            back, workers 1-2-3-5-7-4-2-1 several times over; steered by the kernel (root), and
 *            spread by address with the rest going through rings. Clients are another process.
 *   scaling: as many messages as go, with 1 worker and with 2, in turn. Clients need a processor
 *            themselves, so beside messages a second there is what counts where processors are
 *            many: messages for a second of the server's processor time, times the number of
 *            workers. That is computed: it leaves out what shared caches and memory cost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "crew_load.h"

enum {
    CONNECTIONS = 100000,
    SOCKETS = 8,
    RATE = 20000,
    CYCLES = 5,
    DWELL_MS = 300,
    BUSY_CONNECTIONS = 512,
    BUSY_OUTSTANDING = 8,
    BUSY_MS = 1500,
    WINDOWS = 3
};

static bool is_failed;

static void run(const struct crew_load_config *config, struct crew_load_result *result)
{
    *result = (struct crew_load_result){.opened = 0};
    if (!crew_load_run(config, result)) {
        is_failed = true;
        (void)puts("NOT ALL MESSAGES CAME ONCE AND IN ORDER:");
        crew_load_print(config, result);
    }
}

static void report(struct bench *bench, const char *name, const char *metric, uint64_t with,
                   uint64_t without)
{
    struct bench_series series[2] = {{.name = "weir, with a change"},
                                     {.name = "weir, without a change"}};
    bench_add(&series[0], (double)with / 1e3);
    bench_add(&series[1], (double)without / 1e3);
    bench_report(bench, &(struct bench_case){.name = name, .metric = metric, .unit = "us"}, series,
                 2);
}

static void measure_change(struct bench *bench, bool is_steered)
{
    static const uint32_t plan[] = {2, 3, 5, 7, 4, 2, 1};
    static struct crew_load_result result;
    struct crew_load_config config = {.connections = CONNECTIONS,
                                      .sockets = SOCKETS,
                                      .messages_per_second = RATE,
                                      .plan = {1},
                                      .plan_count = 1,
                                      .dwell_ms = DWELL_MS,
                                      .is_steered = is_steered};
    for (int i = 0; i < CYCLES; i++) {
        for (size_t k = 0; k < sizeof(plan) / sizeof(plan[0]); k++) {
            config.plan[config.plan_count++] = plan[k];
        }
    }
    run(&config, &result);
    if (is_steered && !result.was_steered) {
        (void)puts("  not steered: it takes root, and libbpf in the build");
        return;
    }
    crew_load_print(&config, &result);
    const char *name = is_steered ? "steered" : "by address";
    report(bench, name, "round trip, p50", result.during.p50, result.quiet.p50);
    report(bench, name, "round trip, p99", result.during.p99, result.quiet.p99);
    report(bench, name, "round trip, longest", result.during.max, result.quiet.max);
}

/* --- scaling ---------------------------------------------------------------------------------- */

static void measure_window(uint32_t workers, bool is_steered, struct bench_series *rate,
                           struct bench_series *capacity)
{
    static struct crew_load_result result;
    const struct crew_load_config config = {.connections = BUSY_CONNECTIONS,
                                            .sockets = SOCKETS,
                                            .outstanding = BUSY_OUTSTANDING,
                                            .plan = {workers},
                                            .plan_count = 1,
                                            .dwell_ms = BUSY_MS,
                                            .is_steered = is_steered};
    run(&config, &result);
    const struct crew_load_step *step = &result.steps[0];
    double messages = (double)step->messages;
    bench_add(rate, messages * 1e3 / (double)(step->until - step->from));
    bench_add(capacity, messages * 1e3 * workers / (double)step->cpu_ns);
}

static void measure_scaling(struct bench *bench, bool is_steered)
{
    struct bench_series rates[2] = {{.name = "weir, 2 workers"}, {.name = "weir, 1 worker"}};
    struct bench_series capacities[2] = {{.name = "weir, 2 workers"}, {.name = "weir, 1 worker"}};
    const char *name = is_steered ? "steered" : "by address";
    for (int i = 0; i < WINDOWS; i++) {
        measure_window(2, is_steered, &rates[0], &capacities[0]);
        measure_window(1, is_steered, &rates[1], &capacities[1]);
    }
    bench_report(bench,
                 &(struct bench_case){name, "messages echoed, clients on the same machine",
                                      "million/s", true},
                 rates, 2);
    bench_report(bench,
                 &(struct bench_case){name, "computed for a processor each", "million/s", true},
                 capacities, 2);
}

int main(int argc, char **argv)
{
    struct bench bench;
    bench_open(&bench, "crew", argc, argv);
    for (int i = 0; i < 2; i++) {
        bool is_steered = i == 0 && geteuid() == 0;
        if (i == 1 || is_steered) {
            measure_change(&bench, is_steered);
            measure_scaling(&bench, is_steered);
        }
    }
    return bench_close(&bench) != 0 || is_failed ? 1 : 0;
}
