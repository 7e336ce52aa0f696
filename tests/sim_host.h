/* SPDX-License-Identifier: MIT */
/*
 * sim_host.h - one end of a simulated link in virtual time, whatever engine runs on it: the half
 * that pair.h, kcp_pair.h and tcp_pair.h have in common.
 *
 * Order: sim_host_open, then the engine in sim_host_memory, with verbs and drain set; then
 * sim_hosts_settle and sim_hosts_step for both ends.
 */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/loop.h"
#include "weir/os.h"
#include "weir/sim.h"

enum {
    SIM_HOST_TX_BYTES = 1 << 18,
    SIM_HOST_PACKETS = 512,
    SIM_HOST_TRANSMITS = 256
};

struct sim_host {
    struct weir_driver *driver;
    struct weir_slide *slide;
    void *engine;
    const struct weir_verbs *verbs;
    void (*drain)(struct sim_host *host, weir_nsec now); /* pulls all events */
    void *slide_mem, *engine_mem;
    size_t slide_bytes, engine_bytes;
    struct weir_packet packets[SIM_HOST_PACKETS];
    struct weir_transmit transmits[SIM_HOST_TRANSMITS];
    uint8_t *tx_buffer;
    size_t tx_bytes;             /* of it that output may use */
    uint64_t transmits_sent;     /* runs */
    uint32_t datagram_bytes_max; /* a longer one ends the test; 0: any */
    uint32_t longest_sent;       /* datagram, in bytes */
    uint32_t path_bytes_max;     /* longer ones are lost without a word; 0: none */
};

/* Ends the test, with a line that says what could not be done. */
void sim_must(bool condition, const char *what);
/* The slide is of slide_bytes, a quarter of it for one batch. */
void sim_host_open(struct sim_host *host, struct weir_sim *sim, const struct weir_addr *addr,
                   size_t slide_bytes, size_t secondary_bytes);
/* The engine's block; bytes 0 ends the test: the config was out of bounds. */
void *sim_host_memory(struct sim_host *host, size_t bytes);
void sim_host_close(struct sim_host *host);
/* A simulation with so many hosts. */
struct weir_sim *sim_open(uint64_t seed, uint32_t hosts_max);
/* The same in both directions. */
void sim_link_both(struct weir_sim *sim, struct sim_host *const hosts[2],
                   const struct weir_sim_link *link);

/* Receives, drains events, runs timers and sends on both hosts at the present time. */
void sim_hosts_settle(struct sim_host *const hosts[2], weir_nsec now);
/* Settles and moves now to the next thing that is due, at most until. false: nothing is, and now is
 * until. */
bool sim_hosts_step(struct weir_sim *sim, struct sim_host *const hosts[2], weir_nsec *now,
                    weir_nsec until);
/* Steps until the time has come, and settles. */
void sim_hosts_run(struct weir_sim *sim, struct sim_host *const hosts[2], weir_nsec *now,
                   weir_nsec until);

#endif
