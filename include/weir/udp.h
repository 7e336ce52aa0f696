/* SPDX-License-Identifier: MIT */
/*
 * udp.h - driver: the kernel's UDP socket.
 *
 * Role: batches (sendmmsg, recvmmsg), segmentation offload both ways (UDP_SEGMENT, UDP_GRO), ECN,
 * local address per datagram (pktinfo), IPv4, IPv6 and dual stack. Falls back to single datagrams
 * when the kernel refuses the offloads.
 */
#ifndef WEIR_UDP_H
#define WEIR_UDP_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/driver.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_udp_config {
    struct weir_addr bind;         /* port 0: the system chooses; IPv6 any is dual stack */
    uint32_t receive_buffer_bytes; /* SO_RCVBUF wanted, default 4 MiB; 0: the system's own */
    uint32_t send_buffer_bytes;    /* SO_SNDBUF wanted, default 4 MiB; 0: the system's own */
    uint32_t batch_slots;          /* datagram runs a receive may take, default 8, at most 64; each
                                      takes 64 KiB of room and 128 of packets_max (fewer are used
                                      when receive is called with less) */
    bool is_offload_disabled;      /* no GSO and GRO even if the kernel has them */
    bool is_port_reused;           /* SO_REUSEPORT */
};

/* What the system did not grant; for a warning to the user. */
struct weir_udp_notice {
    uint32_t receive_buffer_bytes; /* granted, when less than wanted, else 0 */
    uint32_t send_buffer_bytes;
    bool is_gso_missing, is_gro_missing;
};

/* Defaults as above; bind is IPv6 any, port 0. */
WEIR_API void weir_udp_config_default(struct weir_udp_config *config);
/* Opens a non-blocking socket; don't-fragment is set and the kernel's own path MTU guess ignored.
 * notice may be NULL. WEIR_ERR_OS with *os_error (an errno, else 0) when the system refuses,
 * WEIR_ERR_INVALID for a bind of family NONE or more than 64 slots, WEIR_ERR_MEMORY. Free with
 * driver->ops->close. */
WEIR_API enum weir_status weir_udp_open(const struct weir_udp_config *config,
                                        struct weir_driver **driver, struct weir_udp_notice *notice,
                                        int *os_error);
/* One line for the user, with the sysctl to change, or an empty text when there is nothing to say.
 * text holds at least 240 bytes. */
WEIR_API void weir_udp_notice_text(const struct weir_udp_notice *notice,
                                   const struct weir_udp_config *config, char text[240]);

#ifdef __cplusplus
}
#endif
#endif
