/* SPDX-License-Identifier: MIT */
/*
 * svg.h - line charts as SVG: panels stacked over one common x axis.
 *
 * Role: the plots of "weir sim". The picture carries its own style and needs no script.
 */
#ifndef WEIR_CLI_SVG_H
#define WEIR_CLI_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
    CLI_SVG_PANELS_MAX = 8,
    CLI_SVG_SERIES_MAX = 4
};

/* One line. y values that are not finite leave a gap. x rises. */
struct cli_svg_series {
    const char *name; /* in the legend */
    const double *x, *y;
    size_t count;
};

struct cli_svg_panel {
    const char *title, *unit; /* "RTT", "ms" */
    struct cli_svg_series series[CLI_SVG_SERIES_MAX];
    size_t series_count;
};

struct cli_svg_chart {
    const char *title, *subtitle;
    const char *x_label; /* "time (s)" */
    struct cli_svg_panel panels[CLI_SVG_PANELS_MAX];
    size_t panels_count;
};

/* All text is escaped. False when a write failed (the stream's error). */
bool cli_svg_write(FILE *file, const struct cli_svg_chart *chart);

#endif
