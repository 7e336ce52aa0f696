/* SPDX-License-Identifier: MIT */
/*
 * kcp_pair.h - two KCP endpoints on a simulated link in virtual time: what most KCP tests start
 * from.
 *
 * Order: kcp_pair_open, then any calls on the endpoints, with kcp_pair_step or kcp_pair_run between
 * them. Events go to the on_event of their host; nothing is hidden.
 */
#ifndef TESTS_KCP_PAIR_H
#define TESTS_KCP_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_host.h"
#include "weir/kcp.h"

struct kcp_pair;

struct kcp_host {
    struct sim_host base; /* first */
    struct kcp_pair *pair;
    struct weir_kcp *kcp;
    struct weir_kcp_conn *conn; /* the one session, where a test has just one */
};

struct kcp_pair {
    weir_nsec now;
    struct weir_sim *sim;
    struct kcp_host hosts[2]; /* 0: client, 1: server */
    void (*on_event)(struct kcp_pair *pair, struct kcp_host *host, struct weir_kcp_event *event);
    void *user;
};

struct kcp_pair_options {
    uint64_t seed;
    struct weir_sim_link link; /* both directions */
    struct weir_kcp_config kcp;
    const struct weir_kcp_config *server; /* in place of kcp; NULL: the same */
};

/* 20 ms each way, no impairments, the default configuration with 16 sessions; only the server
 * accepts. */
void kcp_pair_options_default(struct kcp_pair_options *options);
void kcp_pair_open(struct kcp_pair *pair, const struct kcp_pair_options *options,
                   void (*on_event)(struct kcp_pair *, struct kcp_host *, struct weir_kcp_event *),
                   void *user);
void kcp_pair_close(struct kcp_pair *pair);
struct weir_addr kcp_pair_server_addr(void);
/* Starts hosts[0].conn towards hosts[1]. */
void kcp_pair_connect(struct kcp_pair *pair);
/* Receives, drains events, runs timers and sends on both hosts at the present time. */
void kcp_pair_settle(struct kcp_pair *pair);
/* Moves to the next thing that is due, at most until. false: nothing is, and now is until. */
bool kcp_pair_step(struct kcp_pair *pair, weir_nsec until);
/* Runs until the time has come. */
void kcp_pair_run(struct kcp_pair *pair, weir_nsec until);

#endif
