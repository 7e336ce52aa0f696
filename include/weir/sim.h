/* SPDX-License-Identifier: MIT */
/*
 * sim.h - driver: a simulated network in virtual time, all of it from one seed.
 *
 * Role: tests and "weir sim". Hosts are drivers; links between them delay, lose, reorder,
 * duplicate, corrupt and limit. Nothing waits: the caller moves the clock to weir_sim_next.
 * Owned by: one thread. Memory: allocated at open and bounded by packets_max and bytes_max; a
 * packet that does not fit is dropped and counted.
 */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/driver.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shares are parts of a million: 50,000 is 5 %. One direction. */
struct weir_sim_link {
    weir_nsec delay;      /* one way */
    weir_nsec jitter;     /* added, uniform in [0, jitter]; does not reorder by itself */
    uint64_t rate;        /* bits/s of IP packets (28 or 48 bytes a datagram added, 20 or 40 between
                             hosts of port 0: TCP), 0: unlimited */
    uint32_t queue_bytes; /* in front of rate; beyond it the tail drops; 0: 1 MiB */
    uint32_t loss_ppm;    /* independent */
    uint32_t
        burst_loss_ppm; /* chance, per packet, that a burst of losses starts (Gilbert-Elliott) */
    uint32_t burst_end_ppm;  /* chance, per packet, that it ends; 0 with bursts on: 250,000 */
    uint32_t reorder_ppm;    /* chance that a packet is held back by reorder_delay */
    weir_nsec reorder_delay; /* 0: drawn in [1 ms, max(2 ms, delay / 2)] */
    uint32_t duplicate_ppm;  /* chance of a second copy, up to 2 ms later */
    uint32_t corrupt_ppm;    /* chance that 1 to 8 bits flip */
    uint32_t mtu_bytes;      /* largest UDP payload that passes; larger ones vanish; 0: 65,507 */
    uint32_t ce_queue_bytes; /* above this queue an ECN-capable packet is marked CE; 0: never */
};

/* sent + duplicated = delivered + all kinds of drops + what is still on its way. */
struct weir_sim_stats {
    uint64_t sent, delivered, lost, queue_dropped, too_large, reordered, duplicated, corrupted,
        blackout_dropped, unroutable, ce_marked;
    uint64_t overflow_dropped; /* no room left within packets_max or bytes_max */
    uint64_t sent_bytes, delivered_bytes;
};

struct weir_sim;

struct weir_sim_config {
    uint64_t seed;
    uint32_t hosts_max;   /* default 16, at most 1,024 */
    uint32_t packets_max; /* in flight at once, default 65,536 */
    size_t bytes_max;     /* of payload in flight at once, default 64 MiB */
};

/* Defaults as above, seed 0. */
WEIR_API void weir_sim_config_default(struct weir_sim_config *config);
/* WEIR_ERR_INVALID for a bound of 0 or too large, WEIR_ERR_MEMORY. */
WEIR_API enum weir_status weir_sim_open(const struct weir_sim_config *config,
                                        struct weir_sim **sim);
/* Frees sim, its hosts and what is on its way. */
WEIR_API void weir_sim_close(struct weir_sim *sim);

/* Adds a host with this address; its driver belongs to sim and ends with it (its close does
 * nothing). WEIR_ERR_FULL beyond hosts_max, WEIR_ERR_INVALID when another host has the address. */
WEIR_API enum weir_status weir_sim_add_host(struct weir_sim *sim, const struct weir_addr *addr,
                                            struct weir_driver **driver);
/* Sets the link from one host to another, for packets sent from now on. Without a link packets are
 * unroutable. WEIR_ERR_INVALID for a share above a million, a time above 2^60 ns, or a driver that
 * is not a host of sim. */
WEIR_API enum weir_status weir_sim_set_link(struct weir_sim *sim, const struct weir_driver *from,
                                            const struct weir_driver *to,
                                            const struct weir_sim_link *link);
/* NAT rebinding: from now on, others see packets of host as coming from mapped, and reach it there;
 * its old outside address leads nowhere. Packets already on their way arrive. The host itself goes
 * on with its own address. WEIR_ERR_INVALID when another host has mapped. */
WEIR_API enum weir_status weir_sim_rebind(struct weir_sim *sim, const struct weir_driver *host,
                                          const struct weir_addr *mapped);
/* Drops everything sent from host from one to the other in [from_time, until). One blackout a
 * direction at a time. */
WEIR_API void weir_sim_blackout(struct weir_sim *sim, const struct weir_driver *from,
                                const struct weir_driver *to, weir_nsec from_time, weir_nsec until);
/* When the next packet arrives anywhere, or WEIR_NEVER. */
WEIR_API weir_nsec weir_sim_next(const struct weir_sim *sim);
/* Of one direction; all of them summed when from is NULL. */
WEIR_API struct weir_sim_stats weir_sim_stats(const struct weir_sim *sim,
                                              const struct weir_driver *from,
                                              const struct weir_driver *to);

#ifdef __cplusplus
}
#endif
#endif
