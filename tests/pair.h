/* SPDX-License-Identifier: MIT */
/*
 * pair.h - two RUDP endpoints on a simulated link in virtual time: what most RUDP tests start from.
 *
 * Order: pair_open, then any calls on the endpoints, with pair_step or pair_run between them.
 * Events go to the on_event of their host; nothing is hidden.
 */
#ifndef TESTS_PAIR_H
#define TESTS_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_host.h"
#include "weir/weir.h"

struct pair_host;

struct pair {
    weir_nsec now;
    struct weir_sim *sim;

    struct pair_host {
        struct sim_host base; /* first */
        struct pair *pair;
        struct weir_rudp *rudp;
        struct weir_rudp_conn *conn; /* the one connection, where a test has just one */
        uint16_t mtu_bytes_max;      /* no datagram may be longer */
    } hosts[2];                      /* 0: client, 1: server */

    void (*on_event)(struct pair *pair, struct pair_host *host, struct weir_rudp_event *event);
    void *user;
};

struct pair_options {
    uint64_t seed;
    struct weir_sim_link link; /* both directions */
    struct weir_rudp_config rudp;
};

/* 20 ms each way, no impairments, the default configuration. */
void pair_options_default(struct pair_options *options);
void pair_open(struct pair *pair, const struct pair_options *options,
               void (*on_event)(struct pair *, struct pair_host *, struct weir_rudp_event *),
               void *user);
void pair_close(struct pair *pair);
/* The server's address. */
struct weir_addr pair_server_addr(void);
/* Receives, drains events, runs timers and sends on both hosts at the present time. */
void pair_settle(struct pair *pair);
/* Moves to the next thing that is due, at most until. false: nothing is, and now is until. */
bool pair_step(struct pair *pair, weir_nsec until);
/* Runs until the time has come. */
void pair_run(struct pair *pair, weir_nsec until);
/* Connects hosts[0] to hosts[1], accepting; both conns are set. */
void pair_connect(struct pair *pair);

#endif
