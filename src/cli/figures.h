/* SPDX-License-Identifier: MIT */
/*
 * figures.h - all figures of a running crew at one moment, and how they travel: as JSON.
 *
 * Role: taken by the control socket and the metrics endpoint of a running command; read back by
 * weir ctl and weir top. What a figure is called, its kind and unit stand in one table.
 * Owned by: one thread.
 *
 * JSON, one object on one line; times in ns, counters since the start, unless said otherwise:
 *
 *   {"weir": version, "command": "weir perf", "scheme": "rudp", "local": address,
 *    "metrics": address, "pid": n, "at_ns": clock, "up_ns": n, "workers": n, "wanted": n,
 *    "max": n, "settled": bool, "auto": bool,
 *    "pauses": {"count", "sum_ns", "max_ns", "p50_ns", "p90_ns", "p99_ns"},
 *    "drops": {reason: count, ...},
 *    "worker": [{"worker": 0, cli_worker_fields ...}, ...],
 *    "shard": [{"shard": 0, cli_shard_fields ...}, ...]}
 *
 * metrics is there with --metrics only, worker holds all workers that ever ran.
 */
#ifndef WEIR_CLI_FIGURES_H
#define WEIR_CLI_FIGURES_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/crew.h"

enum {
    CLI_FIGURES_WORD_BYTES = 32,
    CLI_FIGURES_DROPS_MAX = WEIR_FIGURES_DROPS_MAX,
    CLI_FIGURES_WORKER_FIELDS = 20,
    CLI_FIGURES_SHARD_FIELDS = 13
};

enum cli_field_kind {
    CLI_FIELD_COUNTER,
    CLI_FIELD_COUNTER_NS,
    CLI_FIELD_GAUGE,
    CLI_FIELD_GAUGE_NS,
    CLI_FIELD_GAUGE_MILLI /* in 1/1000 */
};

/* One word of weir_crew_worker_stats or weir_crew_shard_stats. */
struct cli_field {
    const char *name;   /* in JSON */
    const char *metric; /* in Prometheus' text, without weir_worker_ or weir_shard_ */
    const char *help;
    enum cli_field_kind kind;
    size_t offset;
};

extern const struct cli_field cli_worker_fields[CLI_FIGURES_WORKER_FIELDS];
extern const struct cli_field cli_shard_fields[CLI_FIGURES_SHARD_FIELDS];

struct cli_pauses {
    uint64_t count, sum, max, p50, p90, p99; /* ns but for count */
};

/* Some 150 KiB: not for the stack. */
struct cli_figures {
    char version[CLI_FIGURES_WORD_BYTES], command[CLI_FIGURES_WORD_BYTES];
    char scheme[CLI_FIGURES_WORD_BYTES];
    char local[WEIR_ADDR_TEXT_BYTES], metrics[WEIR_ADDR_TEXT_BYTES]; /* metrics "": none */
    uint64_t pid;
    weir_nsec at, up;              /* the clock, and how long it has run */
    uint32_t workers, wanted, max; /* that run shards; that are wanted; that there may be */
    bool is_settled, is_auto;
    struct cli_pauses pauses;
    char drop_names[CLI_FIGURES_DROPS_MAX][CLI_FIGURES_WORD_BYTES];
    uint64_t drops[CLI_FIGURES_DROPS_MAX]; /* of all shards */
    uint32_t drop_count;                   /* names */
    bool has_run[WEIR_CREW_WORKERS_MAX];   /* workers: the others were never started */
    struct weir_crew_worker_stats worker[WEIR_CREW_WORKERS_MAX]; /* started_at: 1 while it runs */
    struct weir_crew_shard_stats shard[WEIR_CREW_SHARDS_MAX];
    uint32_t shard_count;
};

/* Values of the fields. */
uint64_t cli_worker_value(const struct cli_figures *figures, uint32_t worker,
                          const struct cli_field *field);
uint64_t cli_shard_value(const struct cli_figures *figures, uint32_t shard,
                         const struct cli_field *field);

/* Fills in what the crew says: worker, shard, and what is summed over them; max stays. drop_names:
 * weir_verbs.drop_names, NULL: none. */
void cli_figures_take(struct cli_figures *figures, const struct weir_crew *crew,
                      const char *const *drop_names);
/* Of all workers together; also the buckets. */
void cli_figures_sum_pauses(const struct cli_figures *figures, struct weir_crew_worker_stats *sum);
/* Of all shards together. rtt: the mean over shards, each by its connections that are awake. */
void cli_figures_sum_shards(const struct cli_figures *figures, struct weir_figures *sum);

/* "workers", "wanted", "max", "settled" of figures into an object. */
void cli_figures_put_workers(const struct cli_figures *figures, cJSON *json);
/* NULL: no memory. */
cJSON *cli_figures_write(const struct cli_figures *figures);
/* As much of from as text has room for, its printable ASCII; what else there is would reach the
 * terminal, and is '?'. NULL: "". */
void cli_figures_text(const char *from, char *text, size_t bytes);
/* From any JSON: what is not there is 0, words keep their printable ASCII. False: it is not the
 * answer of a weir. pauses of workers (their buckets) are not in it. */
bool cli_figures_read(const cJSON *json, struct cli_figures *figures);

#endif
