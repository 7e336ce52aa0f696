/* SPDX-License-Identifier: MIT */
/*
 * bench_rudp.h - what the RUDP benchmark measures: one contender behind five calls.
 *
 * Role: bench_rudp.c forks the server, times windows and takes both processes' CPU; rudp_weir.c and
 * rudp_enet.c are the contenders. Server and client are two processes that share one page.
 */
#ifndef WEIR_BENCH_RUDP_H
#define WEIR_BENCH_RUDP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rudp_settings {
    uint32_t size; /* bytes of a message; 0: nothing is sent, connections rest */
    uint32_t connections;
    uint32_t backlog; /* messages handed over and not yet done; only for a contender without a
                         bound of its own */
    bool is_reliable;
    bool is_throttled;   /* ENet: leave its throttle for unreliable packets on */
    bool is_unsequenced; /* ENet: unreliable packets may also be reordered, as weir's may */
};

/* Written by the server, but for is_stopping. */
struct rudp_shared {
    _Atomic uint32_t port; /* 0: not yet listening */
    _Atomic uint64_t messages;
    _Atomic bool is_stopping;
};

struct rudp_client;

struct rudp_contender {
    const char *name;
    /* In the server's process: counts messages until is_stopping. False when it cannot listen. */
    bool (*serve)(struct rudp_shared *shared, const struct rudp_settings *settings);
    /* Opens all connections to the server on loopback. NULL when that fails. */
    struct rudp_client *(*open)(const struct rudp_settings *settings, uint16_t port);
    /* Sends while there is room, then does the network's work, waiting at most about a
     * millisecond. False when a connection was lost. */
    bool (*step)(struct rudp_client *client);
    void (*close)(struct rudp_client *client);
};

extern const struct rudp_contender bench_rudp_weir;
#ifdef WEIR_HAVE_ENET
extern const struct rudp_contender bench_rudp_enet;
#endif

#endif
