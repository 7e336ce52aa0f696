/* SPDX-License-Identifier: MIT */
/*
 * driver.h - moves packets in and out of the machine: the interface every driver implements.
 *
 * Role: loop and tests talk to this table of calls; udp, sim and the wrappers trace and fault
 * provide it. A wrapper holds an inner driver and forwards.
 * Owned by: one thread, that of the loop.
 * Memory: received bytes land in the span that the caller passes (the slide buffer's free part) or,
 * for drivers with frames of their own, stay in the driver's frame until the next receive.
 *
 *      receive(room) --> packets[]: borrowed, mutable, valid until the next receive
 *      send(transmits) <-- engines lay out equal packets of one path contiguously (GSO)
 */
#ifndef WEIR_DRIVER_H
#define WEIR_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The two ECN bits of the IP header (RFC 3168 section 5). */
enum weir_ecn {
    WEIR_ECN_NOT = 0,
    WEIR_ECN_ECT1 = 1,
    WEIR_ECN_ECT0 = 2,
    WEIR_ECN_CE = 3
};

/* What a packet is. Drivers of UDP give and take datagrams only, and leave it 0. */
enum weir_protocol {
    WEIR_PROTOCOL_DATAGRAM = 0,
    WEIR_PROTOCOL_TCP = 6,       /* a TCP segment: its header and what follows */
    WEIR_PROTOCOL_UNREACHED = 1, /* first bytes of a TCP segment that could not be delivered */
    WEIR_PROTOCOL_FRAME = 255    /* a whole frame, as it is on the link */
};

/* UNREACHED: why, as far as the network said. */
enum weir_unreached {
    WEIR_UNREACHED_NET = 0,    /* no way to the host for now, or no word of why */
    WEIR_UNREACHED_TOO_BIG,    /* mtu_bytes says what would get through */
    WEIR_UNREACHED_HOST,       /* no answer from it on its own link */
    WEIR_UNREACHED_PROTOCOL,   /* the host has none */
    WEIR_UNREACHED_PORT,       /* nobody listens */
    WEIR_UNREACHED_PROHIBITED, /* by an administrator */
    WEIR_UNREACHED_TIME,       /* too many hops, or fragments that did not all come */
    WEIR_UNREACHED_PROBLEM     /* a header that somebody did not understand */
};

/* One received datagram. The engine may overwrite its bytes (it decrypts in place). */
struct weir_packet {
    uint8_t *data;
    const struct weir_path *path; /* borrowed like data; shared by datagrams of one batch */
    uint32_t length;
    uint32_t mtu_bytes;     /* UNREACHED: what the next hop takes, 0: that was not it */
    uint16_t segment_bytes; /* payload of each TCP segment that was joined here; 0: one */
    uint8_t ecn;            /* enum weir_ecn */
    uint8_t protocol;       /* enum weir_protocol */
    uint8_t unreached;      /* enum weir_unreached, of UNREACHED */
    bool is_checked;        /* the TCP checksum is right, or never left the machine */
};

/* One run of datagrams to send: length bytes cut every segment_bytes, the last may be shorter. */
struct weir_transmit {
    struct weir_path path;
    uint8_t *data;
    uint32_t length;
    uint16_t segment_bytes; /* == length for a single datagram up to 65,507 */
    uint16_t header_bytes;  /* not 0: so many come first and are repeated, adapted, in front of each
                               segment_bytes of the rest (TSO) */
    uint8_t ecn;            /* enum weir_ecn */
    uint8_t protocol;       /* enum weir_protocol */
    uint32_t tail_bytes;    /* of length, so many at the end are not behind data but at tail; there
                               is room for them behind data. 0 unless weir_tx.is_gathered */
    const uint8_t *tail;
};

/* Where an engine's output call writes: bytes and descriptors, both bounded. The engine appends;
 * whoever owns it resets used and count to 0 after the driver has taken what is in it. */
struct weir_tx {
    uint8_t *buffer;
    size_t buffer_bytes;
    size_t used_bytes;
    struct weir_transmit *transmits;
    uint32_t transmits_max;
    uint32_t count;
    uint32_t run_bytes_max; /* longest run of one transmit, at most 65,507; 0: no segmentation, one
                               datagram per transmit */
    uint32_t run_segments_max;
    uint32_t headroom_bytes; /* left free in front of each transmit, for the headers below */
    bool is_joined;          /* TCP: long segments with header_bytes are taken */
    bool is_unchecked;       /* TCP: the checksum is the driver's, the field stays 0 */
    bool is_gathered;        /* transmits with a tail are taken */
};

/* Plain counters since open, written by the driver's thread. */
struct weir_driver_stats {
    uint64_t rx_datagrams, rx_bytes, rx_calls;
    uint64_t tx_datagrams, tx_bytes, tx_calls;
    uint64_t tx_dropped;   /* refused by the system (buffer full, unreachable) and not sent */
    uint64_t rx_truncated; /* longer than the room for them, dropped */
};

struct weir_driver;

struct weir_driver_ops {
    /* Receives what is there into room, without waiting, at most packets_max datagrams. *count is
     * set to how many. WEIR_OK (count may be 0) or WEIR_ERR_OS. Needs room.length of at least
     * rx_room_bytes. packets[i].data points into room or into the driver's frames. */
    enum weir_status (*receive)(struct weir_driver *driver, weir_nsec now,
                                struct weir_mut_span room, struct weir_packet *packets,
                                uint32_t packets_max, uint32_t *count);
    /* Hands over transmits[0..count). *sent is how many were taken (sent, or dropped and counted);
     * fewer than count with WEIR_AGAIN when the system has no room now: offer the rest again once
     * the descriptor is writable. WEIR_ERR_OS only for errors that will not pass. */
    enum weir_status (*send)(struct weir_driver *driver, weir_nsec now,
                             const struct weir_transmit *transmits, uint32_t count, uint32_t *sent);
    /* A descriptor for poll/epoll, the driver's own, or -1 when it has none (sim). */
    int (*fd)(const struct weir_driver *driver);
    /* When a receive may bring something that no descriptor announces (sim, fault): absolute ns of
     * the clock passed to receive, or WEIR_NEVER. */
    weir_nsec (*next_timeout)(const struct weir_driver *driver);
    /* Gives back everything, driver included (and, in a wrapper, the inner one). */
    void (*close)(struct weir_driver *driver);
};

struct weir_driver {
    const struct weir_driver_ops *ops;
    uint32_t rx_room_bytes; /* least room that receive accepts */
    uint32_t run_bytes_max; /* for weir_tx: 0 when the driver has no segmentation */
    uint32_t run_segments_max;
    uint32_t datagram_bytes_max; /* longest datagram it can send */
    uint32_t headroom_bytes;     /* for weir_tx, this and the next three */
    bool is_joined, is_unchecked, is_gathered;
    int error;              /* errno of the last WEIR_ERR_OS, else 0 */
    struct weir_addr local; /* bound address, family NONE when there are several */
    bool is_rx_full;        /* the last receive ended for want of slots: more may be waiting */
    struct weir_driver_stats stats;
};

#ifdef __cplusplus
}
#endif
#endif
