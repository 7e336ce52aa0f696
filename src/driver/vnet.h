/* SPDX-License-Identifier: MIT */
/*
 * vnet.h - the virtio-net header in front of each frame: checksums and segmentation left to others.
 *
 * Role: what the drivers tun and packet share: from a transmit to the header, and from the header
 * to a packet.
 */
#ifndef WEIR_DRIVER_VNET_H
#define WEIR_DRIVER_VNET_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

#include "weir/tun.h"

enum {
    /* Newer than the headers of some systems. */
    WEIR_VNET_GSO_UDP_L4 = 5,
    WEIR_VNET_BYTES = 10,
    /* Ethernet header and the longest IP packet. */
    WEIR_FRAME_BYTES_MAX = 14 + 65535,
    WEIR_FRAME_ROOM = 65600,
    WEIR_FRAME_SEGMENTS_MAX = 64
};

/* The header for a frame: all zero when header_bytes is 0, or when what it holds is neither TCP nor
 * UDP over IP. */
void weir_vnet_encode(const struct weir_transmit *transmit, bool is_ethernet,
                      struct virtio_net_hdr *vnet);
/* Sets what the header says about a received frame: segment_bytes, is_checked. */
void weir_vnet_decode(const struct virtio_net_hdr *vnet, struct weir_packet *packet);

static inline bool weir_vnet_is_run(const struct virtio_net_hdr *vnet)
{
    return vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

static inline struct iovec weir_vnet_tail(const struct weir_transmit *transmit)
{
    struct iovec tail = {.iov_len = transmit->tail_bytes};
    /* Read from only; iovec has one type for both directions. */
    memcpy(&tail.iov_base, &transmit->tail, sizeof(tail.iov_base));
    return tail;
}

/* Frames have no path; they share this one. */
extern const struct weir_path weir_frame_path;

/* Fills in index, MTU and MAC address of interface->name. false: errno says why. */
bool weir_interface_read(struct weir_interface *interface);
/* Writes "what: why; hint" (hint may be NULL) and returns WEIR_ERR_OS. */
enum weir_status weir_problem(char problem[WEIR_PROBLEM_BYTES], const char *what, int os_error,
                              const char *hint);

#endif
