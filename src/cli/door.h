/* SPDX-License-Identifier: MIT */
/*
 * door.h - a listening stream socket whose clients ask and get answers, a few of them at a time.
 *
 * Role: what the control socket and the metrics endpoint have in common: who comes in, how much of
 * a request is kept, who is dropped for being slow. What a request is, and its answer, is the
 * owner's.
 * Owned by: one thread. Nothing here waits.
 * Memory: CLI_DOOR_CLIENTS_MAX times request_bytes_max, and one answer each.
 *
 *      accept --> read a request --> answer --> write --+--> next request
 *                                                       +--> last: end of sending, read to the end
 */
#ifndef WEIR_CLI_DOOR_H
#define WEIR_CLI_DOOR_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/time.h"

enum {
    CLI_DOOR_CLIENTS_MAX = 16, /* further ones wait in the kernel */
    CLI_DOOR_FDS_MAX = CLI_DOOR_CLIENTS_MAX + 1
};

struct cli_answer {
    char *text; /* from malloc, the door frees it; NULL: the client is dropped */
    size_t length;
    bool is_last; /* of this connection */
};

struct cli_door_config {
    size_t request_bytes_max;
    weir_nsec patience; /* for a whole request to come, and for an answer to be taken */
    /* May a client that was accepted come in? NULL: everyone. */
    bool (*is_welcome)(int fd);
    /* Bytes of the first request in data; 0: it is not whole yet. The first known bytes have been
     * searched before. */
    size_t (*request_length)(const uint8_t *data, size_t length, size_t known);
    /* data NULL: the request is longer than request_bytes_max. */
    void (*answer)(void *user, const uint8_t *data, size_t length, struct cli_answer *answer);
    void *user;
};

struct cli_door;

/* Takes the listening socket, non-blocking, and closes it with the door; NULL: no memory, fd is
 * closed. config is copied. */
struct cli_door *cli_door_open(int fd, const struct cli_door_config *config);
/* NULL is allowed. */
void cli_door_close(struct cli_door *door);
/* What to poll for; returns how many. */
uint32_t cli_door_fds(struct cli_door *door, weir_nsec now, struct pollfd fds[CLI_DOOR_FDS_MAX]);
/* When somebody's patience is over, or WEIR_NEVER. */
weir_nsec cli_door_next_timeout(const struct cli_door *door);
/* With what poll found, of the same call of cli_door_fds. */
void cli_door_serve(struct cli_door *door, weir_nsec now, const struct pollfd *fds, uint32_t count);

#endif
