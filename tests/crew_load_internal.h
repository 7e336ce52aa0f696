/* SPDX-License-Identifier: MIT */
/*
 * crew_load_internal.h - what the server and the clients of crew_load.h share: a page between their
 * processes, and the form of a message.
 *
 * Atomics: port, is_over, is_closed and are_opened; each is stored by one process, after all that
 * it announces.
 */
#ifndef WEIR_TESTS_CREW_LOAD_INTERNAL_H
#define WEIR_TESTS_CREW_LOAD_INTERNAL_H

#include "crew_load.h"

enum {
    CREW_LOAD_MESSAGE_BYTES = 64
};

struct crew_load_shared {
    uint32_t port;                  /* server: it listens */
    bool is_broken;                 /* server: it could not start */
    bool are_opened;                /* clients: all connections are there */
    bool is_over;                   /* server: the plan is done */
    bool is_closed;                 /* clients: all is echoed, or given up */
    uint64_t messages;              /* server: those that came so far */
    struct crew_load_result result; /* server's part */
};

struct crew_load_message {
    uint64_t number, sent_at;
};

weir_nsec crew_load_now(void);
/* The server's process; returns its exit code. */
int crew_load_serve(const struct crew_load_config *config, struct crew_load_shared *shared);
/* The clients'. Fills the rest of shared->result. */
bool crew_load_clients(const struct crew_load_config *config, struct crew_load_shared *shared);

#endif
