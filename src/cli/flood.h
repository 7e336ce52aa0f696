/* SPDX-License-Identifier: MIT */
/*
 * flood.h - the parts of "weir flood": where it may run, its device, its three kinds of traffic.
 *
 * Role: cmd_flood.c reads options and prints; flood_guard.c refuses to run anywhere but in a
 * network namespace that leads nowhere; flood.c owns the device; flood_open.c opens connections and
 * sends a byte on each; flood_blind.c makes SYNs and forged segments.
 * Memory: of a connection 4 bytes and 3 bits: what its packets do not carry.
 */
#ifndef WEIR_CLI_FLOOD_H
#define WEIR_CLI_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "cli/cli.h"
#include "weir/weir.h"
#include "wire/tcp.h"

enum {
    CLI_FLOOD_VICTIMS_MAX = 16,
    CLI_FLOOD_BATCH = 64,
    CLI_FLOOD_PORT_FIRST = 1024,
    CLI_FLOOD_PORTS = 16384 /* of each source address */
};

enum cli_flood_mode {
    CLI_FLOOD_SYN,
    CLI_FLOOD_CONNECT,
    CLI_FLOOD_INJECT
};

struct cli_flood_options {
    enum cli_flood_mode mode;
    struct weir_addr target;
    struct weir_addr from; /* IPv4; the host's own address on the device; sources lie behind it */
    uint8_t from_prefix;
    char device[WEIR_INTERFACE_NAME_BYTES];
    uint64_t count, rate; /* rate: packets a second, 0: as many as go */
    uint64_t window;      /* connect: unanswered at once */
    weir_nsec timeout;    /* without any progress */
    uint64_t seed, pid;   /* pid: whose memory is measured; 0: nobody's */
    bool is_echo, is_json;
    struct weir_addr victims[CLI_FLOOD_VICTIMS_MAX];
    uint32_t victims_count;
};

struct cli_flood {
    const struct cli_flood_options *options;
    struct weir_driver *driver;
    struct weir_prng prng;
    uint32_t source_first, sources; /* addresses, host order */
    weir_nsec started;
    struct cli_progress progress;
    /* packets not yet given to the device */
    uint8_t frames[CLI_FLOOD_BATCH][20 + WEIR_TCP_HEADER_MAX + 64];
    struct weir_transmit transmits[CLI_FLOOD_BATCH];
    uint32_t queued;
    uint16_t id;
    /* figures */
    uint64_t sent, received, answers, resets, resent;
    uint64_t opened, acked, echoed, wrong;
    double open_seconds, echo_seconds;
    uint64_t rss_start_bytes, rss_open_bytes, rss_end_bytes; /* of pid */
};

/* --- flood_guard.c */
/* May packets be made up here? Else the line is printed: what leads out of this namespace, or that
 * target is on none of its interfaces. */
bool cli_flood_is_allowed(const struct weir_addr *target);
/* The kernel passes packets between the device and others, also those with addresses of its own as
 * their source. False with the line printed. */
bool cli_flood_set_kernel(const char *device);

/* --- flood.c */
bool cli_flood_open(struct cli_flood *flood, const struct cli_flood_options *options);
void cli_flood_close(struct cli_flood *flood);
/* Queues one packet with up to 64 bytes of data from source to the target. False when the device
 * failed, with the line printed. */
bool cli_flood_put(struct cli_flood *flood, const struct weir_addr *source,
                   struct weir_tcp_segment *segment);
bool cli_flood_flush(struct cli_flood *flood);
/* Hands what came from the target to take; waits for it up to wait. False as above. */
bool cli_flood_receive(struct cli_flood *flood, weir_nsec wait,
                       bool (*take)(struct cli_flood *flood, uint32_t address,
                                    const struct weir_tcp_segment *segment, void *user),
                       void *user);
/* An address of the sources: the index-th. */
struct weir_addr cli_flood_source(const struct cli_flood *flood, uint32_t index, uint16_t port);
/* Memory in use of options->pid; 0: not known. */
uint64_t cli_flood_rss_bytes(const struct cli_flood *flood);

/* --- flood_open.c, flood_blind.c: false with the line printed, or on a signal */
bool cli_flood_run_connect(struct cli_flood *flood);
bool cli_flood_run_blind(struct cli_flood *flood);

#endif
