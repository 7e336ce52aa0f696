/* SPDX-License-Identifier: MIT */
/*
 * cmd_ctl.c - "weir ctl": asks a running weir for its figures, or for another number of workers.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/crew_view.h"
#include "cli/figures.h"

enum {
    KEY_SOCKET = 's',
    KEY_TIMEOUT = 't'
};

#define TIMEOUT_DEFAULT (10 * WEIR_SEC)
#define ASK_TIMEOUT     (5 * WEIR_SEC)
#define ASK_AGAIN       (20 * WEIR_MSEC)

static const struct argp_option option_list[] = {
    {"socket", KEY_SOCKET, "PATH", 0,
     "Its control socket (default: that of the one weir of this user that runs with --workers)", 0},
    {"timeout", KEY_TIMEOUT, "T", 0, "resize: wait so long for the change to be over (default 10s)",
     0},
    {0}};

static const char description[] =
    "Asks a weir that runs with --workers.\n\n"
    "  resize N   from now on N workers; ends when the change is over\n"
    "  status     connections, rates since the start, and a table of its workers\n"
    "  json       all figures as one JSON object\n"
    "\v"
    "Exit code 1 when nobody answers, N is out of bounds, or the change is still under way after "
    "--timeout.\n\n"
    "Examples:\n"
    "  weir ctl status\n"
    "  weir ctl resize 4 --socket /run/weir/1234.sock";

enum action {
    ACTION_NONE = 0,
    ACTION_RESIZE,
    ACTION_STATUS,
    ACTION_JSON
};

struct parsed {
    enum action action;
    uint32_t workers;
    bool has_workers, has_timeout;
    const char *socket;
    weir_nsec timeout;
};

/* --- options ---------------------------------------------------------------------------------- */

static void read_word(struct parsed *parsed, const char *text, struct argp_state *state)
{
    static const char *const actions[] = {"", "resize", "status", "json"};
    uint64_t workers = 0;
    if (parsed->action == ACTION_NONE) {
        for (unsigned i = 1; i < sizeof(actions) / sizeof(actions[0]); i++) {
            if (strcmp(text, actions[i]) == 0) {
                parsed->action = (enum action)i;
                return;
            }
        }
        argp_error(state, "'%s' is not resize, status or json", text);
    }
    if (parsed->action != ACTION_RESIZE || parsed->has_workers) {
        argp_error(state, "'%s' is one word too many; see --help", text);
    }
    if (!cli_read_count(text, UINT32_MAX, &workers)) {
        argp_error(state, "'%s' is not a number of workers", text);
    }
    parsed->workers = (uint32_t)workers;
    parsed->has_workers = true;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct parsed *parsed = state->input;
    switch (key) {
    case KEY_SOCKET:
        parsed->socket = text;
        return 0;
    case KEY_TIMEOUT:
        parsed->has_timeout = true;
        if (!cli_read_duration(text, &parsed->timeout)) {
            argp_error(state, "--timeout: '%s' is not a time such as 10s", text);
        }
        return 0;
    case ARGP_KEY_ARG:
        read_word(parsed, text, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *find_wrong(const struct parsed *parsed)
{
    if (parsed->action == ACTION_NONE) {
        return "what? resize N, status or json";
    }
    if (parsed->action == ACTION_RESIZE && !parsed->has_workers) {
        return "resize needs the number of workers";
    }
    if (parsed->action != ACTION_RESIZE && parsed->has_timeout) {
        return "--timeout goes with resize only";
    }
    return NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* What was answered; NULL with the line printed, also for {"error": ...}. */
static cJSON *ask(const char *path, const char *request)
{
    char problem[CLI_PROBLEM_BYTES];
    cJSON *json = cli_socket_ask(path, request, ASK_TIMEOUT, problem);
    if (json == NULL) {
        (void)cli_fail(CLI_FAILED, "%s", problem);
        return NULL;
    }
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
    if (error != NULL) {
        cli_figures_text(error, problem, sizeof(problem));
        (void)cli_fail(CLI_FAILED, "it says: %s", problem);
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static int finish_output(void)
{
    if (fflush(stdout) != 0) {
        return cli_fail(CLI_FAILED, "standard output: %s", cli_text_errno(errno));
    }
    return CLI_OK;
}

static int print_json(const char *path)
{
    cJSON *json = ask(path, "stats");
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL) {
        return CLI_FAILED;
    }
    printf("%s\n", text);
    cJSON_free(text);
    return finish_output();
}

static int print_status(const char *path)
{
    static struct cli_figures figures;
    const struct cli_view view = {.part = CLI_VIEW_WORKERS};
    cJSON *json = ask(path, "stats");
    if (json == NULL) {
        return CLI_FAILED;
    }
    bool is_read = cli_figures_read(json, &figures);
    cJSON_Delete(json);
    if (!is_read) {
        return cli_fail(CLI_FAILED, "%s: its answer is not that of a weir", path);
    }
    char *text = cli_view_draw(&figures, NULL, &view);
    if (text == NULL) {
        return cli_fail(CLI_FAILED, "no memory");
    }
    (void)fputs(text, stdout);
    free(text);
    return finish_output();
}

/* --- resize ----------------------------------------------------------------------------------- */

static uint32_t number_in(const cJSON *json, const char *name)
{
    double value = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return value >= 0 && value <= WEIR_CREW_WORKERS_MAX ? (uint32_t)value : 0;
}

static int resize(const char *path, const struct parsed *parsed)
{
    char request[32];
    weir_nsec until = cli_clock() + parsed->timeout;
    uint32_t wanted = 0;
    bool is_over = false;
    (void)snprintf(request, sizeof(request), "resize %u", parsed->workers);
    cJSON *json = ask(path, request);
    while (json != NULL) {
        wanted = number_in(json, "wanted");
        is_over = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "settled")) != 0;
        cJSON_Delete(json);
        if (is_over || wanted != parsed->workers || cli_clock() >= until) {
            break;
        }
        const struct timespec pause = {.tv_nsec = ASK_AGAIN};
        (void)nanosleep(&pause, NULL);
        json = ask(path, "workers");
    }
    if (json == NULL) {
        return CLI_FAILED;
    }
    if (wanted == 0) {
        return cli_fail(CLI_FAILED, "%s: its answer is not that of a weir", path);
    }
    if (wanted != parsed->workers) {
        return cli_fail(CLI_FAILED, "somebody else wants %u workers meanwhile", wanted);
    }
    if (!is_over) {
        return cli_fail(CLI_FAILED, "the change is still under way; see weir ctl status");
    }
    printf("%u worker%s\n", wanted, wanted == 1 ? "" : "s");
    return finish_output();
}

int cli_ctl(int argc, char **argv)
{
    static const struct argp argp = {.options = option_list,
                                     .parser = parse_option,
                                     .args_doc = "resize N|status|json",
                                     .doc = description};
    struct parsed parsed = {.timeout = TIMEOUT_DEFAULT};
    char path[CLI_SOCKET_PATH_BYTES];
    if (!cli_read_options(&argp, argc, argv, &parsed)) {
        return CLI_USAGE;
    }
    const char *wrong = find_wrong(&parsed);
    if (wrong != NULL) {
        return cli_fail(CLI_USAGE, "%s", wrong);
    }
    if (!cli_socket_choose(parsed.socket, path)) {
        return CLI_FAILED;
    }
    return parsed.action == ACTION_RESIZE   ? resize(path, &parsed)
           : parsed.action == ACTION_STATUS ? print_status(path)
                                            : print_json(path);
}
