/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - the figures of a crew for Prometheus: its text format, and the HTTP around it.
 *
 * Role: GET or HEAD of /metrics; the connection ends after the answer. Text format version 0.0.4:
 * base units (seconds, bytes), counters end in _total, labels worker, shard and reason.
 */
#ifndef WEIR_CLI_METRICS_H
#define WEIR_CLI_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "cli/door.h"
#include "cli/figures.h"

enum {
    CLI_METRICS_HEAD_BYTES = 8192
};

/* From malloc; NULL: no memory. */
char *cli_metrics_text(const struct cli_figures *figures, size_t *length);
/* The answer for one request head; data NULL: it was longer than CLI_METRICS_HEAD_BYTES. take is
 * called when figures are asked for. unix_now: seconds since 1970. */
void cli_metrics_answer(const uint8_t *data, size_t length, int64_t unix_now,
                        const struct cli_figures *(*take)(void *user), void *user,
                        struct cli_answer *answer);

#endif
