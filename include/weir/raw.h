/* SPDX-License-Identifier: MIT */
/*
 * raw.h - driver: an AF_INET raw socket; IPv4 packets of one protocol, beside the kernel's stack.
 *
 * Role: whole IP packets, protocol WEIR_PROTOCOL_FRAME, where neither TUN nor packet sockets are to
 * be had. The kernel routes, resolves and cuts nothing; it also answers what it does not know: keep
 * it from resetting our connections with a firewall rule (iptables -A OUTPUT -p tcp --tcp-flags RST
 * RST -j DROP). No ICMP comes in. Made for TCP: UDP datagrams that the kernel has joined on their
 * way in (a sender with segmentation offload on a link inside the machine) cannot be told apart.
 * Takes CAP_NET_RAW.
 */
#ifndef WEIR_RAW_H
#define WEIR_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/tun.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_raw_config {
    struct weir_addr
        local;        /* an IPv4 address of this machine; its port means nothing. No default */
    uint8_t protocol; /* 6: TCP, the default; 17: UDP */
    bool is_trusted;  /* checksums are not looked at: for links inside one machine, where they
                               are never made; default off */
    uint32_t receive_buffer_bytes; /* default 8 MiB; 0: the system's own */
};

/* Defaults as above. */
WEIR_API void weir_raw_config_default(struct weir_raw_config *config);
/* Errors as weir_tun_open; WEIR_ERR_INVALID for a local of another family. */
WEIR_API enum weir_status weir_raw_open(const struct weir_raw_config *config,
                                        struct weir_driver **driver,
                                        char problem[WEIR_PROBLEM_BYTES]);
/* Of a driver made by weir_raw_open: MTU 1,500 whatever the link has; valid as long as it. */
WEIR_API const struct weir_interface *weir_raw_interface(const struct weir_driver *driver);

#ifdef __cplusplus
}
#endif
#endif
