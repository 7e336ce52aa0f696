/* SPDX-License-Identifier: MIT */
/*
 * tun.h - driver: a TUN or TAP device; what is sent on it the kernel receives, and the other way.
 *
 * Role: whole packets (tun: IP, tap: Ethernet), protocol WEIR_PROTOCOL_FRAME. With the kernel's
 * offloads (virtio-net header) a frame holds up to 64 KB of one TCP flow or of a run of UDP
 * datagrams, and its checksum never has to be computed. Engines sit on it through weir/inet.h.
 * Owned by: one thread per driver; a device with is_multi_queue may be opened many times.
 *
 *   transmit.header_bytes not 0: the frame's checksum holds the pseudo-header's sum only and is
 *   completed on the way; if more than segment_bytes follow the headers, they are cut into so many
 */
#ifndef WEIR_TUN_H
#define WEIR_TUN_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/driver.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_INTERFACE_NAME_BYTES = 16, /* with the final zero */
    WEIR_PROBLEM_BYTES = 240
};

struct weir_tun_config {
    char name[WEIR_INTERFACE_NAME_BYTES]; /* of the device; "": the kernel chooses one. One that
                                             exists is used as it is, else it is made, which takes
                                             CAP_NET_ADMIN, and is gone with the close */
    bool is_tap;                          /* Ethernet frames; default: IP packets */
    bool is_multi_queue; /* one of many queues; ARP and neighbour discovery of a tap reach them all,
                            which takes CAP_NET_RAW, and its descriptor tells of reading only */
    uint32_t queue_index; /* of these; the first, 0, answers for all. Default 0 */
    bool is_offload_disabled;
    bool is_up;             /* set the device up; default on */
    uint16_t mtu_bytes;     /* to set; default 0: as it is */
    uint32_t queue_frames;  /* to set (txqueuelen): frames that wait until they are received;
                                    default 0: as it is */
    struct weir_addr host;  /* to set: the kernel's own address on the device; family NONE, the
                                    default: none. IPv6 addresses are added, an IPv4 one replaces */
    uint8_t host_prefix;    /* its prefix length in bits */
    struct weir_addr host6; /* a second one, of IPv6; default: none */
    uint8_t host6_prefix;
};

/* What a frame driver's interface is, for weir_inet_config. */
struct weir_interface {
    char name[WEIR_INTERFACE_NAME_BYTES];
    uint32_t index;
    uint32_t mtu_bytes;
    uint8_t mac
        [6]; /* for our end: of the interface (packet), beside the kernel's (tap); zero for tun */
    bool is_ethernet;
    bool is_uso; /* UDP runs are cut into datagrams on the way */
};

/* Defaults as above. */
WEIR_API void weir_tun_config_default(struct weir_tun_config *config);
/* WEIR_ERR_OS: problem then says in one line what failed and what can be done about it.
 * WEIR_ERR_INVALID: a name without its final zero or a prefix too long; WEIR_ERR_MEMORY. problem is
 * "" in all other cases. Free with driver->ops->close. */
WEIR_API enum weir_status weir_tun_open(const struct weir_tun_config *config,
                                        struct weir_driver **driver,
                                        char problem[WEIR_PROBLEM_BYTES]);
/* Of a driver made by weir_tun_open; valid as long as it. */
WEIR_API const struct weir_interface *weir_tun_interface(const struct weir_driver *driver);

#ifdef __cplusplus
}
#endif
#endif
