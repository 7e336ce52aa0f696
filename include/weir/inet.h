/* SPDX-License-Identifier: MIT */
/*
 * inet.h - driver: our own IP on a driver of frames, for engines that speak UDP or TCP.
 *
 * Role: a wrapper. Below it tun, tap, packet or another driver of frames; above it RUDP and KCP as
 * on the kernel's UDP socket, or TCP. Answers ARP, neighbour discovery and echo requests by itself,
 * inside receive and send. Its datagram_bytes_max is that of IPv4; over IPv6 it is 20 less.
 * Owned by: one thread. Memory: allocated at open, bounded by the config (weir/ip.h).
 *
 *   engine <-- datagrams, segments -- inet -- frames -- tun | packet | ...
 */
#ifndef WEIR_INET_H
#define WEIR_INET_H

#include <stdint.h>

#include "weir/driver.h"
#include "weir/ip.h"
#include "weir/tun.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_inet_config {
    struct weir_ip_config ip;
    uint16_t udp_port; /* UDP datagrams of this port; default 0: TCP segments of all ports */
};

/* Defaults, and what interface (may be NULL) says: Ethernet, MAC address, MTU, scope. Addresses are
 * the caller's to fill in. */
WEIR_API void weir_inet_config_default(struct weir_inet_config *config,
                                       const struct weir_interface *interface);
/* The inner driver is closed with it. WEIR_ERR_INVALID for a config outside its bounds,
 * WEIR_ERR_MEMORY, WEIR_ERR_OS when the system gives no random seed; then inner stays the caller's.
 */
WEIR_API enum weir_status weir_inet_open(struct weir_driver *inner,
                                         const struct weir_inet_config *config,
                                         struct weir_driver **driver);
/* Of a driver made by weir_inet_open: borrowed, kept up to date. */
WEIR_API const struct weir_ip_stats *weir_inet_stats(const struct weir_driver *driver);

#ifdef __cplusplus
}
#endif
#endif
