/* SPDX-License-Identifier: MIT */
/*
 * svg.c - line charts as SVG: panels stacked over one common x axis.
 *
 *      title
 *      subtitle
 *      panel title (unit)          legend
 *      | plot area, grid, y ticks       |   x PANELS
 *      x ticks, x label
 */
#include <math.h>
#include <stdio.h>

#include "cli/svg.h"

/* Pixels. */
enum {
    WIDTH = 960,
    LEFT = 76,
    RIGHT = 24,
    TOP = 64,
    BOTTOM = 52,
    PANEL_HEIGHT = 150,
    PANEL_GAP = 40, /* above each panel: its title and legend */
    LEGEND_CHAR = 7,
    LEGEND_LINE = 18,
    PLOT_WIDTH = WIDTH - LEFT - RIGHT
};

/* Colours that keep apart for the colour-blind (Okabe and Ito). */
static const char *const colours[CLI_SVG_SERIES_MAX] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7"};

/* From low to high in values, in steps of 1, 2 or 5 times a power of ten. */
struct axis {
    double low, high, step;
};

static void write_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            /* XML allows no other control characters than tab and the line ends. */
            fputc((unsigned char)*text < ' ' ? ' ' : *text, file);
            break;
        }
    }
}

/* The step of 1, 2 or 5 times a power of ten that cuts range into at most steps_max. */
static double nice_step(double range, int steps_max)
{
    double raw = range / steps_max;
    double power = pow(10.0, floor(log10(raw)));
    double digit = raw / power;
    if (digit <= 1.0) {
        return power;
    }
    if (digit <= 2.0) {
        return 2.0 * power;
    }
    return (digit <= 5.0 ? 5.0 : 10.0) * power;
}

/* Axis from 0 to the first step at or above the highest value. */
static struct axis y_axis_of(const struct cli_svg_panel *panel)
{
    double high = 0;
    for (size_t i = 0; i < panel->series_count; i++) {
        const struct cli_svg_series *series = &panel->series[i];
        for (size_t j = 0; j < series->count; j++) {
            if (isfinite(series->y[j]) && series->y[j] > high) {
                high = series->y[j];
            }
        }
    }
    if (!(high > 0)) {
        high = 1;
    }
    double step = nice_step(high, 5);
    return (struct axis){.low = 0, .high = step * ceil(high / step), .step = step};
}

static struct axis x_axis_of(const struct cli_svg_chart *chart)
{
    double low = (double)INFINITY;
    double high = -(double)INFINITY;
    for (size_t p = 0; p < chart->panels_count; p++) {
        for (size_t i = 0; i < chart->panels[p].series_count; i++) {
            const struct cli_svg_series *series = &chart->panels[p].series[i];
            if (series->count > 0) {
                low = fmin(low, series->x[0]);
                high = fmax(high, series->x[series->count - 1]);
            }
        }
    }
    if (!(low < (double)INFINITY)) {
        low = 0;
    }
    if (!(high > low)) {
        high = low + 1;
    }
    return (struct axis){.low = low, .high = high, .step = nice_step(high - low, 10)};
}

static double x_pixel(const struct axis *axis, double x)
{
    return LEFT + (x - axis->low) / (axis->high - axis->low) * PLOT_WIDTH;
}

static double y_pixel(const struct axis *axis, double y, double top)
{
    return top + PANEL_HEIGHT - (y - axis->low) / (axis->high - axis->low) * PANEL_HEIGHT;
}

/* The first multiple of step at or above low. */
static long first_tick(const struct axis *axis)
{
    return lround(ceil(axis->low / axis->step - 1e-9));
}

static long last_tick(const struct axis *axis)
{
    return lround(floor(axis->high / axis->step + 1e-9));
}

static void write_y_ticks(FILE *file, const struct axis *axis, double top)
{
    for (long i = first_tick(axis); i <= last_tick(axis); i++) {
        double value = (double)i * axis->step;
        double y = y_pixel(axis, value, top);
        fprintf(file, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", LEFT,
                y, WIDTH - RIGHT, y);
        fprintf(file, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
                LEFT - 8, y + 4, value);
    }
}

static void write_x_ticks(FILE *file, const struct axis *axis, double top, bool has_numbers)
{
    for (long i = first_tick(axis); i <= last_tick(axis); i++) {
        double value = (double)i * axis->step;
        double x = x_pixel(axis, value);
        fprintf(file, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x,
                top, x, top + PANEL_HEIGHT);
        if (has_numbers) {
            fprintf(file,
                    "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" "
                    "text-anchor=\"middle\">%.6g</text>\n",
                    x, top + PANEL_HEIGHT + 18, value);
        }
    }
}

/* Tenths of a pixel. */
static long column_of(const struct axis *axis, double x)
{
    return lround(floor(x_pixel(axis, x) * 10));
}

/* Points that fall on the same tenth of a pixel column are merged into their lowest and highest, so
 * that the file's size is bounded by the width and nothing visible is lost. */
static void write_line(FILE *file, const struct cli_svg_series *series, const char *colour,
                       const struct axis *x_axis, const struct axis *y_axis, double top)
{
    bool is_down = false; /* the pen */
    fprintf(file, "<path class=\"line\" stroke=\"%s\" d=\"", colour);
    for (size_t i = 0; i < series->count;) {
        if (!isfinite(series->y[i])) {
            is_down = false;
            i++;
            continue;
        }
        long column = column_of(x_axis, series->x[i]);
        double low = series->y[i];
        double high = low;
        double last = low;
        for (; i < series->count && isfinite(series->y[i]) &&
               column_of(x_axis, series->x[i]) == column;
             i++) {
            low = fmin(low, series->y[i]);
            high = fmax(high, series->y[i]);
            last = series->y[i];
        }
        double x = (double)column / 10;
        fprintf(file, "%s%.1f %.1f", is_down ? "L" : "M", x, y_pixel(y_axis, low, top));
        if (high > low) {
            fprintf(file, "L%.1f %.1fL%.1f %.1f", x, y_pixel(y_axis, high, top), x,
                    y_pixel(y_axis, last, top));
        }
        is_down = true;
    }
    fputs("\"/>\n", file);
}

/* Right-aligned above the panel, the last series outermost. */
static void write_legend(FILE *file, const struct cli_svg_panel *panel, double top)
{
    double x = WIDTH - RIGHT;
    for (size_t i = panel->series_count; i-- > 0;) {
        const char *name = panel->series[i].name;
        size_t length = 0;
        while (name[length] != '\0') {
            length++;
        }
        fprintf(file, "<text class=\"legend\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x,
                top - 8);
        write_text(file, name);
        fputs("</text>\n", file);
        x -= (double)length * LEGEND_CHAR + 9;
        fprintf(file,
                "<line class=\"line\" stroke=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                "y2=\"%.1f\"/>\n",
                colours[i], x - LEGEND_LINE, top - 12, x, top - 12);
        x -= LEGEND_LINE + 16;
    }
}

static void write_panel(FILE *file, const struct cli_svg_panel *panel, const struct axis *x_axis,
                        double top, bool is_last)
{
    struct axis y_axis = y_axis_of(panel);
    fprintf(file, "<text class=\"panel\" x=\"%d\" y=\"%.1f\">", LEFT, top - 8);
    write_text(file, panel->title);
    fputs(" (", file);
    write_text(file, panel->unit);
    fputs(")</text>\n", file);
    write_legend(file, panel, top);
    write_y_ticks(file, &y_axis, top);
    write_x_ticks(file, x_axis, top, is_last);
    fprintf(file, "<rect class=\"frame\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>\n", LEFT,
            top, PLOT_WIDTH, PANEL_HEIGHT);
    for (size_t i = 0; i < panel->series_count; i++) {
        write_line(file, &panel->series[i], colours[i], x_axis, &y_axis, top);
    }
}

static void write_head(FILE *file, const struct cli_svg_chart *chart, int height)
{
    fprintf(file,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\">\n"
            "<style>text{font-family:sans-serif;fill:#222}.title{font-size:17px;font-weight:bold}"
            ".subtitle,.tick,.legend{font-size:12px}.subtitle{fill:#555}"
            ".panel{font-size:13px;font-weight:bold}.axis{font-size:13px}"
            ".grid{stroke:#e2e2e2;stroke-width:1}.frame{fill:none;stroke:#888;stroke-width:1}"
            ".line{fill:none;stroke-width:1.5;stroke-linejoin:round}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            WIDTH, height, WIDTH, height);
    fprintf(file, "<text class=\"title\" x=\"%d\" y=\"26\">", LEFT);
    write_text(file, chart->title);
    fprintf(file, "</text>\n<text class=\"subtitle\" x=\"%d\" y=\"46\">", LEFT);
    write_text(file, chart->subtitle);
    fputs("</text>\n", file);
}

bool cli_svg_write(FILE *file, const struct cli_svg_chart *chart)
{
    int height = TOP + (int)chart->panels_count * (PANEL_HEIGHT + PANEL_GAP) + BOTTOM;
    struct axis x_axis = x_axis_of(chart);
    write_head(file, chart, height);
    for (size_t i = 0; i < chart->panels_count; i++) {
        double top = TOP + (double)i * (PANEL_HEIGHT + PANEL_GAP) + PANEL_GAP;
        write_panel(file, &chart->panels[i], &x_axis, top, i + 1 == chart->panels_count);
    }
    fprintf(file, "<text class=\"axis\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
            LEFT + PLOT_WIDTH / 2, height - 12);
    write_text(file, chart->x_label);
    fputs("</text>\n</svg>\n", file);
    return ferror(file) == 0;
}
