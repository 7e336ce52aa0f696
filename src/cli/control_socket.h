/* SPDX-License-Identifier: MIT */
/*
 * control_socket.h - where control sockets are, made by a running weir and found by weir ctl, top.
 *
 * Role: the usual place is PID.sock in $XDG_RUNTIME_DIR/weir, or else in /run/weir for root, or in
 * /tmp/weir-UID: a directory that must belong to this user and be closed to all others.
 */
#ifndef WEIR_CLI_CONTROL_SOCKET_H
#define WEIR_CLI_CONTROL_SOCKET_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "weir/addr.h"
#include "weir/time.h"

enum {
    CLI_SOCKET_PATH_BYTES = 108, /* of sockaddr_un, with the final zero */
    CLI_SOCKETS_MAX = 64,        /* that are found */
    CLI_PROBLEM_BYTES = 256
};

/* --- the running weir's end ------------------------------------------------------------------- */

struct cli_listener {
    int fd; /* non-blocking */
    char path[CLI_SOCKET_PATH_BYTES];
    dev_t device; /* what was made there, and when: nothing else is removed */
    ino_t inode;
    struct timespec made_at;
};

/* path NULL: the usual place. A socket that nobody listens at is replaced. False: why, in problem,
 * with what to do. */
bool cli_listener_open(struct cli_listener *listener, const char *path,
                       char problem[CLI_PROBLEM_BYTES]);
/* Removes the socket; fd is the caller's. */
void cli_listener_remove(const struct cli_listener *listener);
/* The same user, or root, at the other end of a connection? */
bool cli_is_peer_allowed(int fd);

/* TCP. Returns the descriptor, non-blocking, and the bound address in addr; -1: errno. */
int cli_listen_tcp(struct weir_addr *addr);

/* --- the other end ---------------------------------------------------------------------------- */

/* Paths of sockets that somebody listens at, at the first of this user's usual places that has any.
 * Returns how many. */
size_t cli_sockets_find(char paths[CLI_SOCKETS_MAX][CLI_SOCKET_PATH_BYTES]);
/* The one running weir's socket: path when it is not NULL, else what is found. False with the line
 * printed: none, or several, which are listed. */
bool cli_socket_choose(const char *path, char chosen[CLI_SOCKET_PATH_BYTES]);
/* One request (no line feed), one answer, both within timeout. NULL: why, in problem; errno is
 * ETIMEDOUT when somebody is there who does not answer. The answer may be {"error": ...}. */
cJSON *cli_socket_ask(const char *path, const char *request, weir_nsec timeout,
                      char problem[CLI_PROBLEM_BYTES]);

#endif
