/* SPDX-License-Identifier: MIT */
/*
 * control.c - the main thread of a running crew: requests, figures, signals, growth.
 */
#include "cli/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/crew.h"
#include "cli/door.h"
#include "cli/figures.h"
#include "cli/http.h"
#include "cli/metrics.h"

enum {
    DOORS = 2
};

#define PATIENCE (5 * WEIR_SEC)
/* A change takes a few rounds of each worker: one that waits for another is tried this often. */
#define RETRY (2 * WEIR_MSEC)
/* How often the crew is asked to adapt itself. */
#define ADAPT (100 * WEIR_MSEC)

struct cli_control {
    struct weir_crew *crew;
    const char *const *drop_names;
    struct cli_listener listener;
    struct cli_door *doors[DOORS]; /* the control socket, the metrics; NULL: none */
    weir_nsec opened_at, adapt_at;
    uint32_t wanted; /* to be begun once the crew is settled; 0: nothing */
    bool is_stop_told;
    struct cli_figures figures;
};

/* --- the number of workers -------------------------------------------------------------------- */

/* Begins what is wanted, or keeps it for later. NULL, or why not. */
static const char *start_resize(struct cli_control *control)
{
    if (control->wanted == 0) {
        return NULL;
    }
    enum weir_status status = weir_crew_resize(control->crew, control->wanted);
    if (status == WEIR_AGAIN) {
        return NULL;
    }
    control->wanted = 0;
    return status == WEIR_OK       ? NULL
           : status == WEIR_ERR_OS ? "the system gives no more threads"
                                   : "the workers are not running";
}

static uint32_t workers_wanted(const struct cli_control *control)
{
    return control->wanted > 0 ? control->wanted : weir_crew_workers(control->crew);
}

static void take_signals(struct cli_control *control)
{
    int more = cli_take_worker_signals();
    if (more == 0) {
        return;
    }
    int64_t wanted = (int64_t)workers_wanted(control) + more;
    int64_t max = control->figures.max;
    if (wanted < 1 || wanted > max) {
        cli_warn("a signal asks for %lld workers; there may be 1 to %lld", (long long)wanted,
                 (long long)max);
        wanted = wanted < 1 ? 1 : max;
    }
    control->wanted = (uint32_t)wanted;
}

/* What is wanted, whether a request, a signal or the policy wants it. */
static void steer_workers(struct cli_control *control, weir_nsec now)
{
    take_signals(control);
    const char *problem = start_resize(control);
    if (problem != NULL) {
        cli_warn("the number of workers stays: %s", problem);
    }
    if (control->figures.is_auto && control->wanted == 0 && now >= control->adapt_at) {
        (void)weir_crew_adapt(control->crew, now);
        control->adapt_at = now + ADAPT;
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum cli_control_verb verb;
    bool has_number;
} verbs[] = {
    {"stats", CLI_CONTROL_STATS, false},
    {"workers", CLI_CONTROL_WORKERS, false},
    {"resize", CLI_CONTROL_RESIZE, true},
    {"help", CLI_CONTROL_HELP, false},
};

enum {
    VERBS = sizeof(verbs) / sizeof(verbs[0])
};

const char *cli_control_read(const char *line, size_t length, struct cli_control_request *request)
{
    char copy[CLI_CONTROL_REQUEST_BYTES];
    *request = (struct cli_control_request){0};
    if (length >= sizeof(copy) || memchr(line, 0, length) != NULL) {
        return "this is no request; try help";
    }
    memcpy(copy, line, length);
    copy[length] = 0;
    char *number = strchr(copy, ' ');
    if (number != NULL) {
        *number++ = 0;
    }
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(copy, verbs[i].word) != 0) {
            continue;
        }
        uint64_t workers = 0;
        if (verbs[i].has_number != (number != NULL)) {
            return verbs[i].has_number ? "resize needs the number of workers"
                                       : "this request takes nothing behind it";
        }
        if (number != NULL && !cli_read_count(number, UINT32_MAX, &workers)) {
            return "resize takes a number";
        }
        request->verb = verbs[i].verb;
        request->workers = (uint32_t)workers;
        return NULL;
    }
    return "there is no such request; try help";
}

static const struct cli_figures *take_figures(void *user)
{
    struct cli_control *control = user;
    struct cli_figures *figures = &control->figures;
    cli_figures_take(figures, control->crew, control->drop_names);
    figures->at = cli_clock();
    figures->up = figures->at - control->opened_at;
    figures->wanted = workers_wanted(control);
    figures->is_settled = figures->is_settled && control->wanted == 0;
    return figures;
}

static cJSON *error_of(const char *text)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "error", text);
    return json;
}

static cJSON *show_workers(struct cli_control *control)
{
    cJSON *json = cJSON_CreateObject();
    cli_figures_put_workers(take_figures(control), json);
    return json;
}

static cJSON *resize(struct cli_control *control, uint32_t workers)
{
    char text[64];
    if (workers < 1 || workers > control->figures.max) {
        (void)snprintf(text, sizeof(text), "there may be 1 to %u workers", control->figures.max);
        return error_of(text);
    }
    control->wanted = workers;
    const char *problem = start_resize(control);
    return problem != NULL ? error_of(problem) : show_workers(control);
}

static cJSON *show_help(void)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "commands");
    for (size_t i = 0; i < VERBS; i++) {
        (void)cJSON_AddItemToArray(list, cJSON_CreateString(verbs[i].word));
    }
    return json;
}

static cJSON *answer_of(struct cli_control *control, const uint8_t *data, size_t length)
{
    struct cli_control_request request;
    if (data == NULL) {
        return error_of("the request is too long");
    }
    length--;
    if (length > 0 && data[length - 1] == '\r') {
        length--;
    }
    const char *problem = cli_control_read((const char *)data, length, &request);
    if (problem != NULL) {
        return error_of(problem);
    }
    switch (request.verb) {
    case CLI_CONTROL_STATS:
        return cli_figures_write(take_figures(control));
    case CLI_CONTROL_WORKERS:
        return show_workers(control);
    case CLI_CONTROL_RESIZE:
        return resize(control, request.workers);
    case CLI_CONTROL_HELP:
    case CLI_CONTROL_UNKNOWN:
        break;
    }
    return show_help();
}

static void answer_request(void *user, const uint8_t *data, size_t length,
                           struct cli_answer *answer)
{
    cJSON *json = answer_of(user, data, length);
    char *line = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    *answer = (struct cli_answer){0};
    if (line != NULL) {
        size_t bytes = strlen(line);
        char *text = realloc(line, bytes + 1);
        if (text == NULL) {
            free(line);
            return;
        }
        text[bytes] = '\n';
        answer->text = text;
        answer->length = bytes + 1;
    }
}

static size_t line_length(const uint8_t *data, size_t length, size_t known)
{
    const uint8_t *end = length > known ? memchr(data + known, '\n', length - known) : NULL;
    return end == NULL ? 0 : (size_t)(end - data) + 1;
}

static void answer_scrape(void *user, const uint8_t *data, size_t length, struct cli_answer *answer)
{
    cli_metrics_answer(data, length, (int64_t)time(NULL), take_figures, user, answer);
}

/* --- open and close --------------------------------------------------------------------------- */

static bool open_socket(struct cli_control *control, const char *path)
{
    char problem[CLI_PROBLEM_BYTES];
    const struct cli_door_config config = {.request_bytes_max = CLI_CONTROL_REQUEST_BYTES,
                                           .patience = PATIENCE,
                                           .is_welcome = cli_is_peer_allowed,
                                           .request_length = line_length,
                                           .answer = answer_request,
                                           .user = control};
    if (!cli_listener_open(&control->listener, path, problem)) {
        if (path == NULL) {
            cli_warn("weir ctl and weir top will not find this one, use --control PATH: %s",
                     problem);
            return true;
        }
        (void)cli_fail(CLI_FAILED, "--control: %s", problem);
        return false;
    }
    control->doors[0] = cli_door_open(control->listener.fd, &config);
    if (control->doors[0] == NULL) {
        cli_listener_remove(&control->listener);
        (void)cli_fail(CLI_FAILED, "--control: no memory");
    }
    return control->doors[0] != NULL;
}

static bool open_metrics(struct cli_control *control, const char *text)
{
    struct weir_addr addr;
    const struct cli_door_config config = {.request_bytes_max = CLI_METRICS_HEAD_BYTES,
                                           .patience = PATIENCE,
                                           .request_length = cli_http_head_length,
                                           .answer = answer_scrape,
                                           .user = control};
    if (!cli_read_address(text, true, &addr)) {
        return false;
    }
    int fd = cli_listen_tcp(&addr);
    if (fd < 0) {
        (void)cli_fail(CLI_FAILED, "--metrics %s: %s; name another address or port", text,
                       cli_text_errno(errno));
        return false;
    }
    (void)weir_addr_format(&addr, control->figures.metrics);
    control->doors[1] = cli_door_open(fd, &config);
    if (control->doors[1] == NULL) {
        (void)cli_fail(CLI_FAILED, "--metrics: no memory");
    }
    return control->doors[1] != NULL;
}

static void describe(struct cli_control *control, const struct cli_crew_options *options,
                     const char *scheme, const struct weir_addr *local)
{
    struct cli_figures *figures = &control->figures;
    struct weir_crew_worker_stats stats;
    (void)snprintf(figures->version, sizeof(figures->version), "%s", WEIR_VERSION);
    (void)snprintf(figures->command, sizeof(figures->command), "%s", cli_command_name());
    (void)snprintf(figures->scheme, sizeof(figures->scheme), "%s", scheme);
    if (local->family != WEIR_ADDR_NONE) {
        (void)weir_addr_format(local, figures->local);
    }
    figures->pid = (uint64_t)getpid();
    figures->is_auto = options->is_auto;
    while (weir_crew_worker_stats(control->crew, figures->max, &stats) == WEIR_OK) {
        figures->max++;
    }
}

bool cli_control_open(struct cli_control **control, const struct cli_crew_options *options,
                      struct weir_crew *crew, const char *scheme, const struct weir_addr *local,
                      const char *const *drop_names)
{
    struct cli_control *made = calloc(1, sizeof(*made));
    bool has_socket = options->control == NULL || strcmp(options->control, "none") != 0;
    if (made == NULL) {
        (void)cli_fail(CLI_FAILED, "no memory for the figures");
        return false;
    }
    made->crew = crew;
    made->drop_names = drop_names;
    made->opened_at = cli_clock();
    describe(made, options, scheme, local);
    if ((options->metrics != NULL && !open_metrics(made, options->metrics)) ||
        (has_socket && !open_socket(made, options->control))) {
        cli_control_close(made);
        return false;
    }
    cli_catch_worker_signals();
    *control = made;
    return true;
}

void cli_control_close(struct cli_control *control)
{
    if (control == NULL) {
        return;
    }
    if (control->doors[0] != NULL) {
        cli_listener_remove(&control->listener);
    }
    for (size_t i = 0; i < DOORS; i++) {
        cli_door_close(control->doors[i]);
    }
    free(control);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static weir_nsec next_timeout(const struct cli_control *control, weir_nsec now, weir_nsec until)
{
    for (size_t i = 0; i < DOORS; i++) {
        if (control->doors[i] != NULL) {
            until = weir_min_u64(until, cli_door_next_timeout(control->doors[i]));
        }
    }
    if (control->wanted > 0) {
        until = weir_min_u64(until, now + RETRY);
    }
    return control->figures.is_auto ? weir_min_u64(until, control->adapt_at) : until;
}

/* Waits for clients, mask being what blocks no signal that is looked at, and serves them. False: a
 * signal came instead. */
static bool serve_doors(struct cli_control *control, weir_nsec now, weir_nsec until,
                        const sigset_t *mask)
{
    struct pollfd fds[DOORS * CLI_DOOR_FDS_MAX];
    uint32_t counts[DOORS] = {0};
    uint32_t total = 0;
    for (size_t i = 0; i < DOORS; i++) {
        if (control->doors[i] != NULL) {
            counts[i] = cli_door_fds(control->doors[i], now, fds + total);
            total += counts[i];
        }
    }
    weir_nsec wait = until > now ? until - now : 0;
    const struct timespec time = {.tv_sec = (time_t)weir_min_u64(wait / WEIR_SEC, INT32_MAX),
                                  .tv_nsec = (long)(wait % WEIR_SEC)};
    if (ppoll(fds, total, &time, mask) < 0) {
        return false; /* EINTR: fds have no answers */
    }
    now = cli_clock();
    const struct pollfd *at = fds;
    for (size_t i = 0; i < DOORS; i++) {
        if (control->doors[i] != NULL) {
            cli_door_serve(control->doors[i], now, at, counts[i]);
        }
        at += counts[i];
    }
    return true;
}

/* With the signals blocked that ppoll lets in: none comes between the look and the wait. */
static bool wait_blocked(struct cli_control *control, weir_nsec until, const sigset_t *mask)
{
    weir_nsec now = cli_clock();
    do {
        if (cli_is_stopping && !control->is_stop_told) {
            control->is_stop_told = true;
            return false;
        }
        steer_workers(control, now);
        if (!serve_doors(control, now, next_timeout(control, now, until), mask)) {
            return false;
        }
        now = cli_clock();
    } while (now < until);
    return true;
}

bool cli_control_wait(struct cli_control *control, weir_nsec timeout)
{
    sigset_t blocked;
    sigset_t before;
    weir_nsec now = cli_clock();
    weir_nsec until = timeout > WEIR_NEVER - now ? WEIR_NEVER : now + timeout;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    bool is_over = wait_blocked(control, until, &before);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_over;
}
