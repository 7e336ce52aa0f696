/* SPDX-License-Identifier: MIT */
/*
 * terminal_probe.c - runs a program on a terminal of its own, for tests: types keys, waits for what
 * it shows, and sees whether it leaves the terminal as it was.
 *
 *   terminal_probe ROWS COLUMNS STEP ... -- PROGRAM ARGUMENT ...
 *
 * Steps, in order:
 *   see:TEXT     until TEXT is shown, in what came since the step before
 *   type:KEYS
 *   size:ROWSxCOLUMNS
 *   TERM, INT, HUP, STOP, CONT   that signal to it
 *   deaf         until the terminal takes nothing any more; from here on nothing is read
 *   end:CODE     until it has ended, with this exit code
 *
 * A step that takes 20 s has failed. After the end: the settings of the terminal are those of
 * before, and of the sequences that change the screen or hide the cursor each was undone, unless
 * it was deaf. Exits with 0 when all is so.
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SHOWN_BYTES = 1 << 20,
    STEP_SECONDS = 20,
    DEAF_LOOKS = 25
};

struct probe {
    int terminal, other_end; /* held open, so that the settings stay */
    pid_t child;
    char shown[SHOWN_BYTES]; /* all of it, with a final zero */
    size_t length, seen;     /* before the step */
    bool has_ended;
    bool is_deaf;
    int code;
};

static struct probe probe;

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "terminal_probe: %s '%s'; shown last: %s\n", what, about,
                  probe.shown + (probe.length > 2000 ? probe.length - 2000 : 0));
    if (probe.child > 0 && !probe.has_ended) {
        (void)kill(probe.child, SIGKILL);
    }
    _Exit(1);
}

static void read_shown(int ms)
{
    struct pollfd poll_fd = {.fd = probe.is_deaf ? -1 : probe.terminal, .events = POLLIN};
    if (poll(&poll_fd, 1, ms) <= 0) {
        return;
    }
    if (SHOWN_BYTES - probe.length < 4096) {
        die("it shows too much", "");
    }
    ssize_t got = read(probe.terminal, probe.shown + probe.length, 2048);
    if (got > 0) {
        probe.length += (size_t)got;
        /* A zero would hide what follows. */
        for (size_t i = probe.length - (size_t)got; i < probe.length; i++) {
            if (probe.shown[i] == 0) {
                probe.shown[i] = '?';
            }
        }
        probe.shown[probe.length] = 0;
    }
}

static void look_for_end(void)
{
    int status = 0;
    if (!probe.has_ended && waitpid(probe.child, &status, WNOHANG) == probe.child) {
        probe.has_ended = true;
        probe.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

static void await(const char *text, bool is_end)
{
    time_t until = time(NULL) + STEP_SECONDS;
    while (is_end ? !probe.has_ended : strstr(probe.shown + probe.seen, text) == NULL) {
        look_for_end();
        if (!is_end && probe.has_ended && strstr(probe.shown + probe.seen, text) == NULL) {
            read_shown(100);
            if (strstr(probe.shown + probe.seen, text) == NULL) {
                die("it ended before it showed", text);
            }
        }
        if (time(NULL) > until) {
            die("waited in vain for", text);
        }
        read_shown(20);
    }
    if (is_end) {
        read_shown(100);
        read_shown(0);
    }
}

static void be_deaf(void)
{
    struct pollfd poll_fd = {.fd = probe.other_end, .events = POLLOUT};
    time_t until = time(NULL) + STEP_SECONDS;
    /* While somebody writes it says that it takes nothing: only when that lasts it is so. */
    for (int looks = 0; looks < DEAF_LOOKS; looks++) {
        if (time(NULL) > until) {
            die("the terminal takes all of it", "");
        }
        looks = poll(&poll_fd, 1, 0) > 0 ? 0 : looks;
        (void)poll(NULL, 0, 20);
    }
    probe.is_deaf = true;
}

static unsigned short read_number(const char *text)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || (*end != 0 && *end != 'x') || number > 9999) {
        die("no number:", text);
    }
    return (unsigned short)number;
}

static void resize(const char *text)
{
    struct winsize size = {0};
    const char *columns = strchr(text, 'x');
    size.ws_row = read_number(text);
    size.ws_col = read_number(columns == NULL ? "" : columns + 1);
    if (ioctl(probe.terminal, TIOCSWINSZ, &size) != 0) {
        die("cannot set the size", text);
    }
}

static void send_signal(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {
        {"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}, {"STOP", SIGSTOP}, {"CONT", SIGCONT}};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (strcmp(name, signals[i].name) == 0) {
            (void)kill(probe.child, signals[i].number);
            return;
        }
    }
    die("no such step", name);
}

static void run_step(const char *step)
{
    size_t before = probe.length;
    if (strncmp(step, "see:", 4) == 0) {
        await(step + 4, false);
    } else if (strncmp(step, "type:", 5) == 0) {
        if (write(probe.terminal, step + 5, strlen(step + 5)) < 0) {
            die("cannot type", step);
        }
        probe.seen = before;
    } else if (strncmp(step, "size:", 5) == 0) {
        resize(step + 5);
        probe.seen = before;
    } else if (strcmp(step, "deaf") == 0) {
        be_deaf();
    } else if (strncmp(step, "end:", 4) == 0) {
        await("the end", true);
        if (probe.code != read_number(step + 4)) {
            (void)fprintf(stderr, "terminal_probe: exit code %d\n", probe.code);
            die("it should end with", step + 4);
        }
    } else {
        send_signal(step);
        probe.seen = before;
    }
}

/* How often text is shown. */
static int count(const char *text)
{
    int times = 0;
    for (const char *at = strstr(probe.shown, text); at != NULL; at = strstr(at + 1, text)) {
        times++;
    }
    return times;
}

static void check_left(const struct termios *before)
{
    struct termios after;
    if (tcgetattr(probe.other_end, &after) != 0) {
        die("the terminal is gone", "");
    }
    if (after.c_lflag != before->c_lflag || after.c_iflag != before->c_iflag ||
        after.c_oflag != before->c_oflag || memcmp(after.c_cc, before->c_cc, NCCS) != 0) {
        die("the terminal is left with other settings", "");
    }
    if (probe.is_deaf) {
        return;
    }
    if (count("\033[?1049h") != count("\033[?1049l") || count("\033[?25l") != count("\033[?25h")) {
        die("the other screen or no cursor is left", "");
    }
}

/* With the terminal as its own. */
static _Noreturn void run_program(char **argv)
{
    (void)close(probe.terminal);
    (void)setsid();
    if (ioctl(probe.other_end, TIOCSCTTY, 0) == 0 && dup2(probe.other_end, STDIN_FILENO) >= 0 &&
        dup2(probe.other_end, STDOUT_FILENO) >= 0 && dup2(probe.other_end, STDERR_FILENO) >= 0) {
        (void)close(probe.other_end);
        (void)execvp(argv[0], argv);
    }
    _Exit(127);
}

int main(int argc, char **argv)
{
    struct winsize size = {0};
    struct termios before;
    int program = 3;
    while (program < argc && strcmp(argv[program], "--") != 0) {
        program++;
    }
    if (program + 1 >= argc) {
        die("see the head of terminal_probe.c", "");
    }
    size.ws_row = read_number(argv[1]);
    size.ws_col = read_number(argv[2]);
    if (openpty(&probe.terminal, &probe.other_end, NULL, NULL, &size) != 0 ||
        tcgetattr(probe.other_end, &before) != 0) {
        die("there is no terminal", "");
    }
    probe.child = fork();
    if (probe.child == 0) {
        run_program(&argv[program + 1]);
    }
    for (int i = 3; i < program; i++) {
        run_step(argv[i]);
    }
    check_left(&before);
    return probe.has_ended ? 0 : 1;
}
