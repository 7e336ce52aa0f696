/* SPDX-License-Identifier: MIT */
/*
 * steer.h - the kernel puts each packet into the socket of the worker that runs its shard.
 *
 * Role: for weir/crew.h over UDP. A small program (eBPF, sk_reuseport) in front of a group of
 * sockets that share a port computes the shard of each datagram as weir/route.h does, and looks up
 * the shard's queue in a table that may change at any time. Without it the kernel spreads packets
 * by a hash over addresses, and what comes to the wrong worker goes through a ring.
 * Needs: CAP_BPF and CAP_NET_ADMIN, or root; Linux 5.8; a build with libbpf.
 * Limits: datagrams that the network joined on their way in (GRO) have one path, but not always one
 * connection: the first decides. Link-local IPv6 addresses, whose interface the program is not
 * told, are left to the kernel's hash when it steers by address.
 */
#ifndef WEIR_STEER_H
#define WEIR_STEER_H

#include <stdint.h>

#include "weir/driver.h"
#include "weir/route.h"
#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_steer;

enum weir_steer_by {
    WEIR_STEER_RUDP,  /* as weir_rudp_route */
    WEIR_STEER_REMOTE /* as weir_route_packet: KCP, and others over UDP */
};

enum {
    WEIR_STEER_PROBLEM_BYTES = 160
};

/* drivers: udp, of one address and port, opened with is_port_reused; they are used until the close.
 * route is copied into the program, its key too. Every shard's queue is 0 to begin with. In
 * problem: a line for the user when the status is WEIR_ERR_OS (no permission, an old kernel, built
 * without libbpf). WEIR_ERR_MEMORY; WEIR_ERR_INVALID: no drivers, no shards. */
WEIR_API enum weir_status weir_steer_open(struct weir_driver *const *drivers, uint32_t count,
                                          const struct weir_route *route, enum weir_steer_by by,
                                          struct weir_steer **steer,
                                          char problem[WEIR_STEER_PROBLEM_BYTES]);
/* From now on packets of shard come by drivers[queue]; one that the kernel has looked at already
 * may still come by the old one a moment later. Any thread, different shards at the same time too.
 * For weir_crew_config.steer, with a struct weir_steer as steer_user. */
WEIR_API void weir_steer_set(void *steer, uint32_t shard, uint32_t queue);
/* Back to the kernel's hash. Before the drivers are closed; NULL is allowed. */
WEIR_API void weir_steer_close(struct weir_steer *steer);

#ifdef __cplusplus
}
#endif
#endif
