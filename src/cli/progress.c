/* SPDX-License-Identifier: MIT */
/*
 * progress.c - how far a transfer is, on stderr: bytes, rate, time left.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum {
    BAR_CELLS = 24,
    LINE_BYTES = 256
};

static const weir_nsec redraw_every = 100 * WEIR_MSEC;
static const weir_nsec line_every = 5 * WEIR_SEC;
/* In less time a rate is that of the start, or of the clock. */
static const weir_nsec rated_after = WEIR_MSEC;

void cli_progress_start(struct cli_progress *progress, const char *label, uint64_t total_bytes,
                        weir_nsec now)
{
    bool is_quiet = progress->is_quiet;
    *progress = (struct cli_progress){.label = label,
                                      .total_bytes = total_bytes,
                                      .started = now,
                                      .drawn = now,
                                      .is_terminal = isatty(STDERR_FILENO) == 1,
                                      .is_quiet = is_quiet};
}

/* Bits per second since the start, of what really travelled. */
static uint64_t rate_of(const struct cli_progress *progress, uint64_t done_bytes, weir_nsec now)
{
    if (now <= progress->started || done_bytes <= progress->base_bytes) {
        return 0;
    }
    double seconds = (double)(now - progress->started) / (double)WEIR_SEC;
    return (uint64_t)((double)(done_bytes - progress->base_bytes) * 8.0 / seconds);
}

static char *text_amount(const struct cli_progress *progress, uint64_t amount, char text[32])
{
    if (progress->unit == NULL) {
        return cli_text_bytes(amount, text);
    }
    (void)snprintf(text, 32, "%llu", (unsigned long long)amount);
    return text;
}

static char *text_rate(const struct cli_progress *progress, uint64_t bits, char text[32])
{
    if (progress->unit == NULL) {
        return cli_text_rate(bits, text);
    }
    (void)snprintf(text, 32, "%u/s", (uint32_t)(bits / 8));
    return text;
}

static void draw_bar(const struct cli_progress *progress, uint64_t done_bytes,
                     char bar[BAR_CELLS + 3])
{
    size_t cells = BAR_CELLS;
    if (done_bytes < progress->total_bytes) {
        cells = (size_t)((double)done_bytes / (double)progress->total_bytes * BAR_CELLS);
    }
    bar[0] = '[';
    memset(bar + 1, ' ', BAR_CELLS);
    memset(bar + 1, '=', cells);
    bar[BAR_CELLS + 1] = ']';
    bar[BAR_CELLS + 2] = 0;
}

/* At once, so that lines of several threads do not mix. */
static void __attribute__((format(printf, 1, 2))) print(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (length > 0) {
        size_t bytes = (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1;
        ssize_t written = write(STDERR_FILENO, line, bytes);
        (void)written; /* who reads it is gone */
    }
}

static void draw(const struct cli_progress *progress, uint64_t done_bytes, weir_nsec now)
{
    char done[32];
    char total[32];
    char rate[32];
    char left[32];
    char bar[BAR_CELLS + 3];
    uint64_t bits = rate_of(progress, done_bytes, now);
    text_amount(progress, done_bytes, done);
    text_rate(progress, bits, rate);
    const char *begin = progress->is_terminal ? "\r\033[K" : "";
    const char *end = progress->is_terminal ? "" : "\n";
    if (progress->total_bytes == 0) {
        print("%s%s %s  %s%s", begin, progress->label, done, rate, end);
        return;
    }
    uint64_t rest = done_bytes < progress->total_bytes ? progress->total_bytes - done_bytes : 0;
    double seconds = bits == 0 ? 0.0 : (double)rest * 8.0 / (double)bits;
    bool is_known = bits > 0 && seconds < 1e9;
    (void)snprintf(left, sizeof(left), rest == 0 ? "0 s" : "?");
    if (is_known && rest > 0) {
        cli_text_duration(((weir_nsec)seconds + 1) * WEIR_SEC, left);
    }
    draw_bar(progress, done_bytes, bar);
    print("%s%s %3u%% %s %s of %s  %s  %s left%s", begin, progress->label,
          (unsigned)((double)done_bytes * 100.0 / (double)progress->total_bytes),
          progress->is_terminal ? bar : "", done,
          text_amount(progress, progress->total_bytes, total), rate, left, end);
}

void cli_progress_update(struct cli_progress *progress, uint64_t done_bytes, weir_nsec now)
{
    weir_nsec every = progress->is_terminal ? redraw_every : line_every;
    if (progress->is_quiet || now < progress->drawn || now - progress->drawn < every) {
        return;
    }
    progress->drawn = now;
    draw(progress, done_bytes, now);
}

void cli_progress_finish(struct cli_progress *progress, uint64_t done_bytes, weir_nsec now)
{
    char done[32];
    char rate[32];
    char took[32];
    if (progress->is_quiet) {
        return;
    }
    weir_nsec elapsed = now > progress->started ? now - progress->started : 0;
    bool is_rated = elapsed >= rated_after && done_bytes > progress->base_bytes;
    text_rate(progress, rate_of(progress, done_bytes, now), rate);
    print("%s%s %s in %s%s%s\n", progress->is_terminal ? "\r\033[K" : "", progress->label,
          text_amount(progress, done_bytes, done), cli_text_duration(elapsed, took),
          is_rated ? ", " : "", is_rated ? rate : "");
}
