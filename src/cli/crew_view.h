/* SPDX-License-Identifier: MIT */
/*
 * crew_view.h - the figures of a crew as a table of text: weir top, weir ctl status.
 */
#ifndef WEIR_CLI_CREW_VIEW_H
#define WEIR_CLI_CREW_VIEW_H

#include <stdint.h>

#include "cli/figures.h"

/* What is below the totals. */
enum cli_view_part {
    CLI_VIEW_BOTH = 0,
    CLI_VIEW_WORKERS,
    CLI_VIEW_SHARDS,
    CLI_VIEW_DROPS,
    CLI_VIEW_PARTS
};

/* What shards are sorted by, the most first. */
enum cli_view_sort {
    CLI_SORT_LOAD = 0, /* time spent in them, then packets */
    CLI_SORT_CONNECTIONS,
    CLI_SORT_LOSS,
    CLI_SORT_NUMBER,
    CLI_SORTS
};

struct cli_view {
    uint32_t width, height; /* in characters; 0: no limit */
    enum cli_view_part part;
    enum cli_view_sort sort;
};

/* Lines, each ended by a line feed, none longer than width, no more than height; from malloc, NULL:
 * no memory. Rates are of the time since before; before NULL: of all the time that it has run. */
char *cli_view_draw(const struct cli_figures *figures, const struct cli_figures *before,
                    const struct cli_view *view);
const char *cli_view_sort_text(enum cli_view_sort sort);

#endif
