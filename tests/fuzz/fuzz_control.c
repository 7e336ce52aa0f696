/* SPDX-License-Identifier: MIT */
/*
 * fuzz_control.c - any bytes as what somebody sends to a running crew, or answers in its place:
 * request lines, heads of HTTP, figures in JSON and the tables drawn from them. The first byte
 * says which. No crash, nothing outside what was read, no control characters on the terminal.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/control.h"
#include "cli/crew_view.h"
#include "cli/metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cli_figures figures[2];

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_request(const uint8_t *data, size_t size)
{
    struct cli_control_request request;
    const char *problem = cli_control_read((const char *)data, size, &request);
    must((problem == NULL) == (request.verb != CLI_CONTROL_UNKNOWN));
    must(request.workers == 0 || request.verb == CLI_CONTROL_RESIZE);
}

static const struct cli_figures *give_figures(void *user)
{
    return user;
}

static void check_head(const uint8_t *data, size_t size)
{
    struct cli_answer answer;
    cli_metrics_answer(data, size, 1, give_figures, &figures[0], &answer);
    must(answer.text != NULL && answer.is_last);
    must(answer.length > 12 && memcmp(answer.text, "HTTP/1.1 ", 9) == 0);
    must(memmem(answer.text, answer.length, "\r\n\r\n", 4) != NULL);
    free(answer.text);
}

static void check_text(const struct cli_view *view, const struct cli_figures *before)
{
    char *text = cli_view_draw(&figures[0], before, view);
    must(text != NULL);
    size_t column = 0;
    uint32_t lines = 0;
    for (const char *at = text; *at != 0; at++) {
        must((*at >= ' ' && *at <= '~') || *at == '\n');
        column = *at == '\n' ? 0 : column + 1;
        lines += *at == '\n';
        must(column <= view->width);
    }
    must(lines <= view->height);
    free(text);
}

static void check_figures(const uint8_t *data, size_t size)
{
    struct cli_view view = {.width = 1 + data[0] % 150U, .height = 1 + data[0] % 37U};
    cJSON *json = cJSON_ParseWithLength((const char *)data + 1, size - 1);
    bool is_read = cli_figures_read(json, &figures[0]);
    cJSON_Delete(json);
    if (!is_read) {
        return;
    }
    figures[1] = figures[0];
    figures[1].at /= 2;
    for (uint32_t i = 0; i < CLI_VIEW_PARTS * CLI_SORTS; i++) {
        view.part = i / CLI_SORTS;
        view.sort = i % CLI_SORTS;
        check_text(&view, i % 2 == 0 ? NULL : &figures[1]);
    }
    size_t length = 0;
    char *text = cli_metrics_text(&figures[0], &length);
    must(text != NULL && length > 0 && text[length - 1] == '\n');
    free(text);
    /* What was read is written, and read again, the same: but for what a double does not hold. */
    json = cli_figures_write(&figures[0]);
    must(cli_figures_read(json, &figures[1]));
    must(figures[0].shard_count == figures[1].shard_count);
    must(memcmp(figures[0].drop_names, figures[1].drop_names, sizeof(figures[0].drop_names)) == 0);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0:
        check_request(data + 1, size - 1);
        break;
    case 1:
        check_head(data + 1, size - 1);
        break;
    default:
        check_figures(data + 1, size - 1);
        break;
    }
    return 0;
}
