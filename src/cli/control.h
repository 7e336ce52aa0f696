/* SPDX-License-Identifier: MIT */
/*
 * control.h - a running crew watched and steered from outside: control socket, metrics, signals.
 *
 * Role: the main thread of a command with --workers sits in cli_control_wait while the workers do
 * the work. weir ctl and weir top are the other end.
 * Owned by: the main thread, the crew's coordinator. Figures are read without stopping a worker.
 * Memory: bounded: 16 clients of each kind, a request of 256 bytes (HTTP: a head of 8 KiB), one
 * answer each, made when it is asked for.
 *
 * The control socket is a Unix stream socket of mode 0600, for the same user and root. A request is
 * a line, its answer is one line, a JSON object; requests on a connection are answered in order. A
 * client that does not send a whole request, or does not read, for 5 s is dropped.
 *
 *   stats      everything: see cli/figures.h
 *   workers    {"workers": 2, "wanted": 3, "max": 8, "settled": false}: workers that run shards,
 *              wanted last, highest number there may be
 *   resize N   the same, after it was begun, or put down to be begun once the change before it is
 *              over
 *   help       {"commands": ["stats", ...]}
 *
 * What cannot be done is answered by {"error": "..."}.
 */
#ifndef WEIR_CLI_CONTROL_H
#define WEIR_CLI_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/crew.h"

struct cli_control;
struct cli_crew_options;

/* Opens what the options ask for, and catches SIGUSR1 and SIGUSR2; on the thread that opened the
 * crew. All but control is used until the close. options->control NULL: the default socket, without
 * which it goes on when it cannot be made, with a line on stderr; "none": no socket. drop_names:
 * weir_verbs.drop_names. False with the line printed. */
bool cli_control_open(struct cli_control **control, const struct cli_crew_options *options,
                      struct weir_crew *crew, const char *scheme, const struct weir_addr *local,
                      const char *const *drop_names);
/* Serves for timeout ns, or until SIGINT or SIGTERM set cli_is_stopping (once: what is left to do
 * is waited for as before), or any other signal ends the wait: then false. SIGUSR1 is one worker
 * more, SIGUSR2 one fewer. */
bool cli_control_wait(struct cli_control *control, weir_nsec timeout);
/* Removes the socket. NULL is allowed. */
void cli_control_close(struct cli_control *control);

/* --- the protocol ----------------------------------------------------------------------------- */

enum {
    CLI_CONTROL_REQUEST_BYTES = 256 /* with its line feed */
};

enum cli_control_verb {
    CLI_CONTROL_UNKNOWN = 0,
    CLI_CONTROL_STATS,
    CLI_CONTROL_WORKERS,
    CLI_CONTROL_RESIZE,
    CLI_CONTROL_HELP
};

struct cli_control_request {
    enum cli_control_verb verb;
    uint32_t workers; /* of a resize */
};

/* A line without its end. NULL, or what is wrong with it. */
const char *cli_control_read(const char *line, size_t length, struct cli_control_request *request);

#endif
