/* SPDX-License-Identifier: MIT */
/*
 * signals.c - SIGINT and SIGTERM ask the command to end, a second one ends it at once; SIGUSR1 and
 * SIGUSR2 ask for one worker more and one fewer.
 */
#include <signal.h>

#include "cli/cli.h"

volatile int cli_is_stopping;

/* Stored by the handler, on whatever thread it runs, and by cli_take_worker_signals. */
static int workers_asked;

static void on_signal(int number)
{
    (void)number;
    cli_is_stopping = 1;
}

static void on_worker_signal(int number)
{
    (void)__atomic_fetch_add(&workers_asked, number == SIGUSR1 ? 1 : -1, __ATOMIC_RELAXED);
}

void cli_catch_signals(void)
{
    /* No SA_RESTART: a wait in poll ends with EINTR. SA_RESETHAND: the second signal kills. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_catch_worker_signals(void)
{
    struct sigaction action = {.sa_handler = on_worker_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
}

int cli_take_worker_signals(void)
{
    return __atomic_exchange_n(&workers_asked, 0, __ATOMIC_RELAXED);
}
