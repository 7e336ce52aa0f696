/* SPDX-License-Identifier: MIT */
/*
 * sim_net.h - two hosts with an engine each, a simulated link between them, in virtual time.
 *
 *      client 10.0.0.1:40000 ===== link, the same both ways ===== server 10.0.0.2:4433
 *
 * Role: what the transports of "weir sim" share: hosts, clock, the order of the calls. What differs
 * is in struct cli_sim_engine: sim_rudp.c, sim_kcp.c and sim_tcp.c
 * fill it.
 */
#ifndef WEIR_CLI_SIM_NET_H
#define WEIR_CLI_SIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/sim_run.h"
#include "weir/loop.h"

/* When the exchange begins: not 0, which may have a meaning of its own. */
#define CLI_SIM_START_TIME WEIR_SEC

enum {
    CLI_SIM_SERVER_PORT = 4433,
    CLI_SIM_UDP_HEADER_BYTES = 28 /* of IPv4 and UDP */
};

struct cli_sim_run;

struct cli_sim_host {
    uint8_t octet; /* the last one of its address */
    struct weir_driver *driver;
    bool is_traced; /* driver is a wrapper that must be closed */
    struct weir_slide *slide;
    void *slide_mem;
    size_t slide_mem_bytes;
    void *endpoint; /* of the engine, in engine_mem */
    void *engine_mem;
    size_t engine_mem_bytes;
};

struct cli_sim_engine {
    uint32_t header_bytes; /* of IP, and of UDP if that is below the engine, in each packet */
    bool is_portless;      /* ports are the engine's business: its hosts have port 0 */
    const struct weir_verbs *(*verbs)(void);
    size_t (*secondary_bytes)(const struct cli_sim_run *run); /* of each host's slide */
    /* Sets engine_mem (cli_sim_net_map) and endpoint. False with the line printed. */
    bool (*open)(struct cli_sim_run *run, struct cli_sim_host *host, const uint8_t seed[32]);
    /* False when the client cannot connect to server. */
    bool (*connect)(struct cli_sim_run *run, const struct weir_addr *server);
    void (*drain_events)(struct cli_sim_run *run, struct cli_sim_host *host);
    enum weir_status (*send)(struct cli_sim_run *run, uint64_t index, struct weir_span message);
    /* Sets next_index and is_full, after a message was taken or refused; NULL: messages leave one
     * after the other. */
    void (*advance)(struct cli_sim_run *run);
    /* Fills all of *sample but time and delivered_bytes; *is_idle: nothing is queued or in flight.
     * Only while the client's connection exists. */
    void (*look)(struct cli_sim_run *run, struct cli_sim_sample *sample, bool *is_idle);
    /* The figures that are the engine's; the rest of the report is filled. */
    void (*report)(const struct cli_sim_run *run, struct cli_sim_report *report);
    void (*fini)(struct cli_sim_host *host); /* or NULL */
};

struct cli_sim_run {
    const struct cli_sim_options *options;
    const struct cli_sim_engine *engine;
    void *user; /* the engine's own, as given to cli_sim_net_exchange */
    struct cli_sim_traffic *traffic;
    struct cli_sim_plot *plot;
    struct cli_sim_report *report;
    struct weir_sim *sim;
    struct cli_sim_host client, server;
    weir_nsec now, opened;
    weir_nsec progressed; /* when a message was last sent or delivered */
    uint64_t delivered;   /* then */
    uint64_t next_index;  /* of the message to send next */
    bool is_open;         /* the client may send */
    bool is_closed;       /* the client's connection is gone */
    bool is_full, is_over;
    uint8_t *tx_buffer;
    struct weir_transmit *transmits;
};

/* All of it, from the set-up to the figures. False when it could not be set up (the line is
 * printed). */
bool cli_sim_net_exchange(struct cli_sim_run *run);

/* For engines: memory for host; false, with the line printed, for bytes 0 (the options are outside
 * what the engine can do) or when the system refuses. */
bool cli_sim_net_map(const struct cli_sim_run *run, struct cli_sim_host *host, size_t bytes);
/* The client may send from now on. */
void cli_sim_net_on_opened(struct cli_sim_run *run);
/* Ends the exchange early; the first reason is kept. detail may be empty. */
void cli_sim_net_fail(struct cli_sim_run *run, const char *what, const char *detail);

#endif
