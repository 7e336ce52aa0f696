/* SPDX-License-Identifier: MIT */
/*
 * cmd_top.c - "weir top": the figures of a running weir on the terminal, drawn anew every second.
 */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/crew_view.h"
#include "cli/figures.h"

enum {
    KEY_INTERVAL = 'i',
    KEY_ONCE = 'n',
    NOTE_BYTES = CLI_PROBLEM_BYTES,
    TAKES_MS = 200 /* a terminal that takes nothing for so long is left as it is */
};

#define INTERVAL_MIN (50 * WEIR_MSEC)
#define ASK_TIMEOUT  (2 * WEIR_SEC)

static const struct argp_option option_list[] = {
    {"interval", KEY_INTERVAL, "T", 0, "Draw anew so often, at least 50ms (default 1s)", 0},
    {"once", KEY_ONCE, NULL, 0, "Watch for one interval, print the figures and end", 0},
    {0}};

static const char description[] =
    "Shows a weir that runs with --workers: its workers, shards, connections, rates and drops. "
    "Without SOCKET the one weir of this user. Where standard output is no terminal, or with "
    "--once, it prints plain text.\n"
    "\v"
    "Keys:\n"
    "  q      end\n"
    "  + -    one worker more, one fewer\n"
    "  w      workers and shards, workers, shards, drops\n"
    "  s      sort shards by load, connections, loss, number\n\n"
    "GAINED and GIVEN are hand-overs of shards; PKT/S of a worker counts what came by its queue "
    "and from other workers. DROPS of a worker are between workers, those of shards are their "
    "connections'.\n\n"
    "Examples:\n"
    "  weir top\n"
    "  weir top /run/weir/1234.sock --once --interval 10s";

struct top {
    char path[CLI_SOCKET_PATH_BYTES];
    weir_nsec interval;
    bool is_once;
    bool is_drawn_over; /* on a terminal, in place */
    bool has_keys;
    struct cli_view view;
    struct cli_figures figures[2]; /* in turn */
    uint32_t count;                /* of those taken so far */
    char note[NOTE_BYTES];         /* at the bottom until the next frame */
};

static volatile sig_atomic_t is_resized;

/* --- options ---------------------------------------------------------------------------------- */

struct parsed {
    const char *socket;
    weir_nsec interval;
    bool is_once;
};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct parsed *parsed = state->input;
    switch (key) {
    case KEY_INTERVAL:
        if (!cli_read_duration(text, &parsed->interval) || parsed->interval < INTERVAL_MIN) {
            argp_error(state, "--interval: '%s' is not a time of at least 50ms, such as 2s", text);
        }
        return 0;
    case KEY_ONCE:
        parsed->is_once = true;
        return 0;
    case ARGP_KEY_ARG:
        if (parsed->socket != NULL) {
            argp_error(state, "'%s': one socket at a time", text);
        }
        parsed->socket = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- the terminal ----------------------------------------------------------------------------- */

static struct termios before_us;
static bool is_changed;

static void on_end(int number)
{
    (void)number;
    cli_is_stopping = 1;
}

static void on_resized(int number)
{
    (void)number;
    is_resized = 1;
}

/* However often they come: a signal that kills would leave the terminal as it is. What takes long
 * has to look at cli_is_stopping, for no second one ends it. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_end};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = on_resized;
    sigaction(SIGWINCH, &action, NULL);
}

/* A terminal may take nothing: after ^S, or when its window hangs. */
static bool takes_text(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, TAKES_MS) > 0;
}

static void put_text(const char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (!cli_is_stopping || takes_text())) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno != EINTR) {
            return;
        }
        length -= written > 0 ? (size_t)written : 0;
        text += written > 0 ? written : 0;
    }
}

/* Keys come at once and are not shown. ^C stays a signal; ^Z and ^\ would leave the other screen
 * behind. */
static void take_keys(struct top *top)
{
    struct termios raw;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before_us) != 0) {
        return;
    }
    raw = before_us;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    raw.c_cc[VQUIT] = _POSIX_VDISABLE;
    /* TCSADRAIN would wait for a terminal that takes nothing. */
    is_changed = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    top->has_keys = is_changed;
}

static void take_terminal(struct top *top)
{
    if (top->is_drawn_over) {
        take_keys(top);
        put_text("\033[?1049h\033[?25l"); /* the other screen, no cursor */
    }
}

static void give_terminal_back(const struct top *top)
{
    if (top->is_drawn_over) {
        put_text("\033[?25h\033[?1049l");
    }
    if (is_changed) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before_us);
    }
}

static void measure_terminal(struct top *top)
{
    struct winsize size = {0};
    if (top->is_drawn_over && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
        size.ws_row > 1) {
        top->view.width = size.ws_col;
        top->view.height = size.ws_row - 1U; /* the last one is for the keys */
    }
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct cli_figures *latest(struct top *top)
{
    return &top->figures[(top->count - 1) % 2];
}

/* False: it is over, why is printed after the terminal is given back, from note. */
static bool take_figures(struct top *top)
{
    cJSON *json = cli_socket_ask(top->path, "stats", ASK_TIMEOUT, top->note);
    if (json == NULL) {
        /* Stopped for a moment, by a debugger say: the old figures stay. */
        return errno == ETIMEDOUT && top->count > 0;
    }
    bool is_read = cli_figures_read(json, &top->figures[top->count % 2]);
    cJSON_Delete(json);
    if (!is_read) {
        (void)snprintf(top->note, sizeof(top->note), "its answer is not that of a weir");
        return false;
    }
    top->count++;
    return true;
}

static void draw_over(const struct top *top, const char *text)
{
    static const char home[] = "\033[H";
    static const char clear_line[] = "\033[K\n";
    char bottom[NOTE_BYTES + 128];
    char *frame = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&frame, &length);
    if (out == NULL) {
        return;
    }
    (void)fputs(home, out);
    for (const char *at = text; *at != 0; at++) {
        if (*at == '\n') {
            (void)fputs(clear_line, out);
        } else {
            (void)fputc(*at, out);
        }
    }
    (void)snprintf(bottom, sizeof(bottom), "%s%s",
                   top->note[0] != 0 ? top->note : "q end   + - workers   w view   s sort by ",
                   top->note[0] != 0 ? "" : cli_view_sort_text(top->view.sort));
    (void)fprintf(out, "\033[J\033[7m%.*s\033[0m\033[K",
                  top->view.width > 0 ? (int)top->view.width : 80, bottom);
    if (fclose(out) == 0) {
        put_text(frame);
    }
    free(frame);
}

/* False: it cannot be shown. */
static bool draw(struct top *top)
{
    measure_terminal(top);
    char *text = cli_view_draw(latest(top), top->count > 1 ? &top->figures[top->count % 2] : NULL,
                               &top->view);
    if (text == NULL) {
        (void)snprintf(top->note, sizeof(top->note), "no memory");
        return false;
    }
    bool is_shown = true;
    if (top->is_drawn_over) {
        draw_over(top, text);
    } else {
        is_shown = fputs(text, stdout) >= 0 && (top->is_once || fputs("\n", stdout) >= 0) &&
                   fflush(stdout) == 0;
        if (!is_shown) {
            (void)snprintf(top->note, sizeof(top->note), "standard output: %s",
                           cli_text_errno(errno));
        } else if (top->note[0] != 0) {
            cli_warn("%s", top->note);
        }
    }
    free(text);
    if (is_shown) {
        top->note[0] = 0;
    }
    return is_shown;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void change_workers(struct top *top, int more)
{
    char request[32];
    int64_t wanted = (int64_t)latest(top)->wanted + more;
    if (wanted < 1 || wanted > latest(top)->max) {
        (void)snprintf(top->note, sizeof(top->note), "there may be 1 to %u workers",
                       latest(top)->max);
        return;
    }
    (void)snprintf(request, sizeof(request), "resize %u", (unsigned)wanted);
    cJSON *json = cli_socket_ask(top->path, request, ASK_TIMEOUT, top->note);
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
    if (error != NULL) {
        (void)snprintf(top->note, sizeof(top->note), "it refuses");
    } else if (json != NULL) {
        /* So that + twice in one interval is two more. */
        latest(top)->wanted = (uint32_t)wanted;
    }
    cJSON_Delete(json);
}

static void on_key(struct top *top, char key)
{
    switch (key) {
    case 'q':
    case 'Q':
        cli_is_stopping = 1;
        break;
    case '+':
    case '-':
        change_workers(top, key == '+' ? 1 : -1);
        break;
    case 'w':
        top->view.part = (top->view.part + 1) % CLI_VIEW_PARTS;
        break;
    case 's':
        top->view.sort = (top->view.sort + 1) % CLI_SORTS;
        break;
    default:
        break;
    }
}

/* Until then, or until something is to be drawn. A terminal that has gone away ends it. */
static void wait_for_keys(struct top *top, weir_nsec until)
{
    weir_nsec now = cli_clock();
    while (now < until && !cli_is_stopping) {
        struct pollfd input = {.fd = top->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
        int ms = (int)((until - now < WEIR_SEC ? until - now : WEIR_SEC) / WEIR_MSEC + 1);
        if (poll(&input, 1, ms) > 0) {
            char key = 0;
            if (read(STDIN_FILENO, &key, 1) != 1) {
                cli_is_stopping = 1;
                return;
            }
            on_key(top, key);
            (void)draw(top);
        } else if (is_resized) {
            is_resized = 0;
            if (top->is_drawn_over) {
                (void)draw(top);
            }
        }
        now = cli_clock();
    }
}

/* --- all -------------------------------------------------------------------------------------- */

/* Returns the exit code; why it is not 0 is in note. */
static int watch(struct top *top)
{
    weir_nsec next = cli_clock();
    if (!take_figures(top)) {
        return CLI_FAILED;
    }
    if (top->is_once) {
        wait_for_keys(top, next + top->interval);
        return cli_is_stopping || (take_figures(top) && draw(top)) ? CLI_OK : CLI_FAILED;
    }
    while (!cli_is_stopping) {
        if (!draw(top)) {
            return CLI_FAILED;
        }
        next += top->interval;
        wait_for_keys(top, next);
        if (!cli_is_stopping && !take_figures(top)) {
            return cli_is_stopping ? CLI_OK : CLI_FAILED;
        }
        weir_nsec now = cli_clock();
        next = now > next + top->interval ? now : next; /* late: no rush to make up for it */
    }
    return CLI_OK;
}

int cli_top(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_list, .parser = parse_option, .args_doc = "[SOCKET]", .doc = description};
    static struct top top;
    struct parsed parsed = {.interval = WEIR_SEC};
    if (!cli_read_options(&argp, argc, argv, &parsed)) {
        return CLI_USAGE;
    }
    if (!cli_socket_choose(parsed.socket, top.path)) {
        return CLI_FAILED;
    }
    top.interval = parsed.interval;
    top.is_once = parsed.is_once;
    top.is_drawn_over = !parsed.is_once && isatty(STDOUT_FILENO);
    catch_signals();
    take_terminal(&top);
    int code = watch(&top);
    give_terminal_back(&top);
    return code == CLI_OK ? code : cli_fail(code, "%s", top.note);
}
