/* SPDX-License-Identifier: MIT */
/*
 * wrap.h - drivers that fit around any driver: trace (packets to a pcapng file) and fault (loss,
 * delay and the like, by the same rules as the simulated links).
 */
#ifndef WEIR_WRAP_H
#define WEIR_WRAP_H

#include "weir/driver.h"
#include "weir/sim.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes every datagram, in and out, to path as pcapng (link type raw IP, with IP and UDP headers
 * made up around it) that Wireshark opens. The inner driver is closed with it. WEIR_ERR_OS with
 * *os_error when the file cannot be made, WEIR_ERR_MEMORY; then inner stays the caller's. A full
 * disk later stops the trace, not the traffic: weir_trace_flush tells. */
WEIR_API enum weir_status weir_trace_open(struct weir_driver *inner, const char *path,
                                          struct weir_driver **driver, int *os_error);

/* Writes out what is buffered. 0, or the errno value that ended the trace: what was written before
 * is there. 0 for any other driver. */
WEIR_API int weir_trace_flush(struct weir_driver *driver);

/* Applies out to what is sent and in to what is received. Payloads that wait are copied, at most
 * bytes_max (0: 16 MiB); beyond it they are dropped. The inner driver is closed with it. Packets
 * due to leave go out with the next receive or send; next_timeout says when that is due. Frames and
 * TCP segments pass one by one (open the inner driver without offloads: what is joined is lost as a
 * whole); of an UNREACHED packet the MTU does not pass.
 * WEIR_ERR_INVALID for a link outside the bounds of weir_sim_set_link, WEIR_ERR_MEMORY; then inner
 * stays the caller's. */
WEIR_API enum weir_status weir_fault_open(struct weir_driver *inner, uint64_t seed,
                                          const struct weir_sim_link *out,
                                          const struct weir_sim_link *in, size_t bytes_max,
                                          struct weir_driver **driver);
/* Figures since open of a driver made by weir_fault_open: out for what was sent, in for what was
 * received. */
WEIR_API void weir_fault_stats(const struct weir_driver *driver, struct weir_sim_stats *out,
                               struct weir_sim_stats *in);

#ifdef __cplusplus
}
#endif
#endif
