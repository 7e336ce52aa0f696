/* SPDX-License-Identifier: MIT */
/*
 * signals.c - SIGINT and SIGTERM ask the command to end; a second one ends it at once.
 */
#include <signal.h>

#include "cli/cli.h"

volatile int cli_is_stopping;

static void on_signal(int number)
{
    (void)number;
    cli_is_stopping = 1;
}

void cli_catch_signals(void)
{
    /* No SA_RESTART: a wait in poll ends with EINTR. SA_RESETHAND: the second signal kills. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
