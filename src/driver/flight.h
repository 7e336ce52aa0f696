/* SPDX-License-Identifier: MIT */
/*
 * flight.h - datagrams in flight: copied, bounded, and handed out in the order of their times.
 *
 * Role: what impair.h lets pass waits here until it arrives. Used by sim, fault and the relay.
 * Owned by: one thread.
 * Memory: allocated at open and never again: packets_max records and as many chunks as packets_max
 * datagrams of bytes_max payload in all can need, so that only these two bounds ever refuse a
 * datagram. Pages never used stay untouched.
 *
 *   struct weir_flight: records and chunks, shared by any number of
 *   struct weir_flight_queue: a pairing heap by (at, sequence); equal times: first in, first out
 */
#ifndef WEIR_DRIVER_FLIGHT_H
#define WEIR_DRIVER_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/impair.h"
#include "mem/pool.h"
#include "weir/driver.h"

struct weir_flight {
    struct weir_pool packets;
    struct weir_pool chunks;
    size_t bytes, bytes_max; /* of payload */
    uint64_t sequence;       /* of the next datagram */
};

struct weir_flight_queue {
    uint32_t root; /* index into packets, WEIR_POOL_NONE when empty */
    uint32_t count;
};

/* What else is known about a packet, see struct weir_packet. */
struct weir_flight_mark {
    uint16_t segment_bytes;
    uint8_t protocol;
    bool is_checked;
};

struct weir_flight_packet {
    weir_nsec at;
    uint64_t sequence;
    uint64_t tag; /* the user's */
    struct weir_path path;
    uint32_t length;
    uint32_t chunk;          /* first of the chain with the payload, NONE when length is 0 */
    uint32_t child, sibling; /* heap links */
    struct weir_flight_mark mark;
    uint8_t ecn;
};

/* A datagram to be put in flight; data is copied. */
struct weir_flight_datagram {
    struct weir_span data;
    struct weir_path path;
    uint64_t tag;
    struct weir_flight_mark mark;
    uint8_t ecn;
};

/* WEIR_ERR_INVALID for bounds of 0 or above 2^24 packets or 2^36 bytes, WEIR_ERR_MEMORY. */
enum weir_status weir_flight_open(struct weir_flight *flight, uint32_t packets_max,
                                  size_t bytes_max);
void weir_flight_close(struct weir_flight *flight);

static inline void weir_flight_queue_init(struct weir_flight_queue *queue)
{
    *queue = (struct weir_flight_queue){.root = WEIR_POOL_NONE};
}

/* Asks impair about the datagram and puts the copies that will arrive into queue. A copy for which
 * there is no room is counted in impair->stats.overflow_dropped. */
void weir_flight_offer(struct weir_flight *flight, struct weir_flight_queue *queue,
                       struct weir_impair *impair, weir_nsec now,
                       const struct weir_flight_datagram *datagram);

/* The earliest, or NULL. Valid until pop or offer. */
const struct weir_flight_packet *weir_flight_first(const struct weir_flight *flight,
                                                   const struct weir_flight_queue *queue);
/* When the earliest arrives, or WEIR_NEVER. */
weir_nsec weir_flight_next(const struct weir_flight *flight, const struct weir_flight_queue *queue);
/* Writes the payload, packet->length bytes, to out. */
void weir_flight_copy(const struct weir_flight *flight, const struct weir_flight_packet *packet,
                      uint8_t *out);
/* Removes the earliest of a queue that is not empty. */
void weir_flight_pop(struct weir_flight *flight, struct weir_flight_queue *queue);

#endif
