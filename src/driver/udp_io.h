/* SPDX-License-Identifier: MIT */
/*
 * udp_io.h - what the files of the UDP driver share: its state, and receive and send.
 *
 * Memory: one calloc at open, plus, without GRO, address space for datagrams longer than a slot.
 */
#ifndef WEIR_DRIVER_UDP_IO_H
#define WEIR_DRIVER_UDP_IO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "driver/sockaddr.h"
#include "weir/udp.h"

enum {
    WEIR_UDP_SLOTS_MAX = 64,
    WEIR_UDP_SLOTS_DEFAULT = 8,
    /* Longest datagram run the kernel hands over (GRO), or one whole UDP datagram. */
    WEIR_UDP_RUN_ROOM = 65536,
    /* Slot without GRO: a jumbo frame. Longer datagrams spill into memory of the driver. */
    WEIR_UDP_SMALL_ROOM = 9216,
    /* 65,535 less the IPv4 and UDP headers. */
    WEIR_UDP_PAYLOAD_MAX = 65507,
    /* Linux before 6.9 takes 64 segments a run; later ones send up to 128 and so may a peer. */
    WEIR_UDP_SEGMENTS_MAX = 64,
    WEIR_UDP_SEGMENTS_RX_MAX = 128,
    WEIR_UDP_TX_BATCH = 64,
    /* Of an IPv4 datagram at a dual-stack socket: pktinfo twice (40 and 32 bytes), TOS and segment
     * size (24 each), with their headers. All others bring less. */
    WEIR_UDP_CONTROL_BYTES = 128
};

struct weir_udp_message {
    union weir_sockaddr name;
    struct iovec iov[2];
    /* As the system wants cmsghdr aligned. */
    _Alignas(8) uint8_t control[WEIR_UDP_CONTROL_BYTES];
};

/* A place in an array of transmits: offset bytes into transmits[index]. */
struct weir_udp_cursor {
    uint32_t index;
    uint32_t offset;
};

struct weir_udp {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    int fd;
    bool is_inet6; /* AF_INET6 socket: IPv4 travels as mapped addresses */
    bool is_any;   /* bound to the any-address: local addresses by pktinfo */
    bool is_gro;
    bool is_splitting; /* a run was refused and goes out piece by piece to see if that helps */
    uint32_t slots;
    uint32_t slot_bytes;
    uint8_t *spill; /* slots * WEIR_UDP_RUN_ROOM bytes, without GRO only */
    /* A run sent in part when the system had no more room: the caller offers it whole again. */
    const uint8_t *resume_data;
    uint32_t resume_length, resume_offset;
    struct weir_path paths[WEIR_UDP_SLOTS_MAX]; /* of the last receive's slots */
    struct mmsghdr rx_headers[WEIR_UDP_SLOTS_MAX];
    struct weir_udp_message rx_messages[WEIR_UDP_SLOTS_MAX];
    struct mmsghdr tx_headers[WEIR_UDP_TX_BATCH];
    struct weir_udp_message tx_messages[WEIR_UDP_TX_BATCH];
    struct weir_udp_cursor tx_ends[WEIR_UDP_TX_BATCH]; /* where each message ends */
};

static inline struct weir_udp *weir_udp_of(struct weir_driver *driver)
{
    return (struct weir_udp *)(void *)driver;
}

enum weir_status weir_udp_receive(struct weir_driver *driver, weir_nsec now,
                                  struct weir_mut_span room, struct weir_packet *packets,
                                  uint32_t packets_max, uint32_t *count);
enum weir_status weir_udp_send(struct weir_driver *driver, weir_nsec now,
                               const struct weir_transmit *transmits, uint32_t count,
                               uint32_t *sent);

#endif
