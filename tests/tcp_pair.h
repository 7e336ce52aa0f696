/* SPDX-License-Identifier: MIT */
/*
 * tcp_pair.h - two TCP endpoints on a simulated link in virtual time: what most TCP tests start
 * from.
 *
 * Order: tcp_pair_open, then any calls on the endpoints, with tcp_pair_step or tcp_pair_run between
 * them. Events go to the on_event of their host; nothing is hidden.
 */
#ifndef TESTS_TCP_PAIR_H
#define TESTS_TCP_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_host.h"
#include "weir/tcp.h"

struct tcp_pair;

struct tcp_host {
    struct sim_host base; /* first */
    struct tcp_pair *pair;
    struct weir_tcp *tcp;
    int listener;               /* the server's, on tcp_pair_server_addr */
    struct weir_tcp_conn *conn; /* the one connection, where a test has just one */
};

struct tcp_pair {
    weir_nsec now;
    struct weir_sim *sim;
    struct tcp_host hosts[2]; /* 0: client, 1: server */
    void (*on_event)(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event);
    void *user;
};

struct tcp_pair_options {
    uint64_t seed;
    struct weir_sim_link link; /* both directions */
    struct weir_tcp_config tcp;
    const struct weir_tcp_config *server; /* in place of tcp; NULL: the same */
    uint32_t strangers;                   /* further hosts that the test adds to the simulation */
    size_t slide_bytes;                   /* of both; default 2 MiB; a quarter for one batch */
    size_t secondary_bytes;               /* default 16 MiB */
};

/* 20 ms each way, no impairments, the default configuration with 16 connections; the server
 * listens. */
void tcp_pair_options_default(struct tcp_pair_options *options);
void tcp_pair_open(struct tcp_pair *pair, const struct tcp_pair_options *options,
                   void (*on_event)(struct tcp_pair *, struct tcp_host *, struct weir_tcp_event *),
                   void *user);
void tcp_pair_close(struct tcp_pair *pair);
struct weir_addr tcp_pair_server_addr(void);
/* Starts hosts[0].conn towards hosts[1]. */
void tcp_pair_connect(struct tcp_pair *pair);
/* From now on longer packets from this side are lost without a word; 0: none. */
void tcp_pair_set_path(struct tcp_pair *pair, unsigned side, uint32_t mtu_bytes);
/* Receives, drains events, runs timers and sends on both hosts at the present time. */
void tcp_pair_settle(struct tcp_pair *pair);
/* Moves to the next thing that is due, at most until. false: nothing is, and now is until. */
bool tcp_pair_step(struct tcp_pair *pair, weir_nsec until);
/* Runs until the time has come. */
void tcp_pair_run(struct tcp_pair *pair, weir_nsec until);

#endif
