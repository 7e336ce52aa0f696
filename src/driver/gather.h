/* SPDX-License-Identifier: MIT */
/*
 * gather.h - outgoing datagrams laid together again: runs for segmentation offload.
 *
 * Role: datagrams that waited one by one leave through a driver in as few transmits as it allows.
 * Owned by: one thread. Memory: one buffer, allocated at open.
 * Order: add until it says no or there is nothing left, send, and again. What a send could not hand
 * over stays and goes first.
 */
#ifndef WEIR_DRIVER_GATHER_H
#define WEIR_DRIVER_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/flight.h"
#include "weir/driver.h"

enum {
    WEIR_GATHER_BYTES = 512 << 10,
    WEIR_GATHER_RUNS_MAX = 256
};

struct weir_gather {
    uint8_t *buffer;
    size_t used_bytes;
    uint32_t count; /* transmits[first..count) are not sent yet */
    uint32_t first;
    struct weir_transmit transmits[WEIR_GATHER_RUNS_MAX];
    uint32_t segments[WEIR_GATHER_RUNS_MAX]; /* datagrams in each */
};

enum weir_status weir_gather_open(struct weir_gather *gather);
void weir_gather_close(struct weir_gather *gather);

static inline bool weir_gather_is_empty(const struct weir_gather *gather)
{
    return gather->first == gather->count;
}

/* Copies the packet behind the others, into the last run when path, size and the driver's limits
 * allow. False when there is no room: send first. */
bool weir_gather_add(struct weir_gather *gather, const struct weir_driver *driver,
                     const struct weir_flight *flight, const struct weir_flight_packet *packet);
/* WEIR_OK: all are gone. WEIR_AGAIN or WEIR_ERR_OS as the driver's send; the rest stays. */
enum weir_status weir_gather_send(struct weir_gather *gather, struct weir_driver *driver,
                                  weir_nsec now);
/* Throws away what is left; returns how many datagrams that were. bytes may be NULL. */
uint64_t weir_gather_discard(struct weir_gather *gather, uint64_t *bytes);

#endif
