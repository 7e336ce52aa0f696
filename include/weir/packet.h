/* SPDX-License-Identifier: MIT */
/*
 * packet.h - driver: an AF_PACKET socket on a network interface, beside the kernel's own stack.
 *
 * Role: whole Ethernet frames in and out, protocol WEIR_PROTOCOL_FRAME, in batches (recvmmsg,
 * sendmmsg), with the offloads of the virtio-net header as weir/tun.h describes them. The kernel
 * sees the same frames: give weir addresses that the kernel does not have. Takes CAP_NET_RAW.
 * Many on one interface (is_shared): the kernel gives each frame to one of them, by a hash that is
 * the same for both directions of a flow and for all fragments between two addresses; ARP and
 * neighbour discovery reach them all, and the first answers.
 */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/tun.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_packet_config {
    char name[WEIR_INTERFACE_NAME_BYTES]; /* of the interface, "eth0". No default */
    bool is_offload_disabled; /* for what is sent; what comes in may be joined all the same */
    bool is_promiscuous;      /* frames to any MAC address: for one that is not the interface's */
    bool is_shared; /* one of a group, for the queues of a crew: its descriptor, an epoll one, tells
                       of reading only */
    const struct weir_driver *first; /* is_shared: a driver of the group, made by weir_packet_open;
                                        default NULL: this is the first of a new one */
    uint32_t receive_buffer_bytes;   /* default 8 MiB; 0: the system's own */
    uint32_t send_buffer_bytes;      /* default 4 MiB; 0: the system's own */
    uint32_t
        batch_slots; /* frames one receive may take, default 15, at most 64; 64 KiB of room each */
};

/* Defaults as above. */
WEIR_API void weir_packet_config_default(struct weir_packet_config *config);
/* Errors as weir_tun_open. */
WEIR_API enum weir_status weir_packet_open(const struct weir_packet_config *config,
                                           struct weir_driver **driver,
                                           char problem[WEIR_PROBLEM_BYTES]);
/* Of a driver made by weir_packet_open; valid as long as it. */
WEIR_API const struct weir_interface *weir_packet_interface(const struct weir_driver *driver);

#ifdef __cplusplus
}
#endif
#endif
