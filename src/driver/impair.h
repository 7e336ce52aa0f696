/* SPDX-License-Identifier: MIT */
/*
 * impair.h - the rules of a bad link: what becomes of one datagram in one direction.
 *
 * Role: the only place that knows what the fields of struct weir_sim_link do; the simulated
 * network, the fault wrapper and the relay ask it and do the storing and moving themselves.
 * Owned by: one thread. Memory: the caller's struct, nothing else.
 * Order: init, set_link (again at any time), decide for each datagram with a clock that does not
 * run backwards. The same seed, links and calls give the same verdicts.
 *
 *   too large? -> queue in front of rate (tail drop, CE mark) -> burst and independent loss
 *     -> delay and jitter, in order -> held back? second copy? -> bits flipped, copy by copy
 *
 * Loss comes after the queue: a lost packet has used its share of the rate, as on a radio link.
 */
#ifndef WEIR_DRIVER_IMPAIR_H
#define WEIR_DRIVER_IMPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "weir/sim.h"
#include "weir/status.h"
#include "weir/time.h"

enum {
    WEIR_IMPAIR_COPIES_MAX = 2,
    WEIR_IMPAIR_FLIPS_MAX = 8,
    /* 65,535 less the headers of IPv4 and UDP. A peer may send 20 bytes more over IPv6: that is too
     * large for every link. */
    WEIR_IMPAIR_DATAGRAM_MAX = 65507
};

enum weir_impair_fate {
    WEIR_IMPAIR_PASSED,
    WEIR_IMPAIR_LOST,
    WEIR_IMPAIR_QUEUE_FULL,
    WEIR_IMPAIR_TOO_LARGE
};

struct weir_impair {
    struct weir_sim_link link; /* its zeros replaced by the defaults that they stand for */
    struct weir_prng prng;
    unsigned __int128 backlog_nanobits; /* bits waiting in front of rate, times 10^9: exact */
    weir_nsec drained_at;               /* backlog_nanobits is what was left then */
    weir_nsec last_arrival;             /* in-order packets never arrive before it */
    bool is_in_burst;
    struct weir_sim_stats stats; /* all but delivered*, blackout, unroutable and overflow: those
                                    are counted by whoever stores the packets */
};

struct weir_impair_packet {
    uint32_t length; /* UDP payload, or of is_bare IP payload */
    uint8_t family;  /* enum weir_addr_family: says how long the IP header is */
    uint8_t ecn;     /* enum weir_ecn */
    bool is_bare;    /* no UDP header: a TCP segment, its own header included */
};

struct weir_impair_copy {
    weir_nsec at;                          /* when it arrives */
    uint32_t flips[WEIR_IMPAIR_FLIPS_MAX]; /* distinct bit numbers within the payload */
    uint8_t flips_count;
};

struct weir_impair_verdict {
    enum weir_impair_fate fate;
    uint8_t copies_count; /* 0 unless passed */
    uint8_t ecn;          /* on arrival */
    struct weir_impair_copy copies[WEIR_IMPAIR_COPIES_MAX];
};

/* Starts with a perfect link: everything arrives at once. */
void weir_impair_init(struct weir_impair *impair, uint64_t seed);
/* WEIR_ERR_INVALID, and nothing changed, for a share above a million or a time above 2^60 ns.
 * What waits in the queue stays there and drains at the new rate. */
enum weir_status weir_impair_set_link(struct weir_impair *impair, const struct weir_sim_link *link);
void weir_impair_decide(struct weir_impair *impair, weir_nsec now,
                        const struct weir_impair_packet *packet,
                        struct weir_impair_verdict *verdict);
/* Adds up the figures of two directions. */
void weir_impair_stats_add(struct weir_sim_stats *sum, const struct weir_sim_stats *other);

#endif
