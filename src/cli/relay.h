/* SPDX-License-Identifier: MIT */
/*
 * relay.h - the engine of "weir relay": a bad network between UDP clients and one server.
 *
 * Role: one socket that the clients talk to; one more per client towards the server, so that the
 * server tells them apart and its replies find back. All clients share one link up (to the server)
 * and one down, as on one path.
 * Owned by: one thread. Memory: allocated at open, but for the sockets of new clients.
 *
 *   client --> listen socket --> up rules, queue   --> the client's socket --> server
 *   client <-- listen socket <-- queue, down rules <-- the client's socket <-- server
 */
#ifndef WEIR_CLI_RELAY_H
#define WEIR_CLI_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/sim.h"
#include "weir/time.h"

enum {
    CLI_RELAY_CLIENTS_MAX = 1024
};

struct cli_relay_config {
    struct weir_addr listen, remote;
    struct weir_sim_link up, down; /* client to server and back; bounds as for a simulated link */
    uint64_t seed;
    uint32_t clients_max; /* 1 to CLI_RELAY_CLIENTS_MAX */
    weir_nsec idle;       /* a client silent for this long makes room for a new one */
};

/* One direction: what the rules did, and what the sockets did afterwards. */
struct cli_relay_direction {
    struct weir_sim_stats link; /* delivered: handed to the system */
    uint64_t unsent;            /* refused by the system (no room, longer than its MTU) */
    uint64_t waiting;           /* delayed at this moment */
};

struct cli_relay_stats {
    struct cli_relay_direction up, down;
    uint64_t clients, clients_replaced;
    uint64_t refused; /* datagrams of new clients when there was no room for one more */
    uint64_t strays;  /* datagrams to a client's socket that are not from the server */
};

struct cli_relay;

/* Prints the line and returns NULL on failure. */
struct cli_relay *cli_relay_open(const struct cli_relay_config *config);
void cli_relay_close(struct cli_relay *relay);
/* Where it listens, the port that the system chose included. */
const struct weir_addr *cli_relay_local(const struct cli_relay *relay);
/* Waits at most until until, moves what there is and what is due. False, with the line printed,
 * when the listening socket failed for good. A signal ends the wait early. */
bool cli_relay_run_once(struct cli_relay *relay, weir_nsec until);
void cli_relay_stats(const struct cli_relay *relay, struct cli_relay_stats *stats);

#endif
