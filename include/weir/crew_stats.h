/* SPDX-License-Identifier: MIT */
/*
 * crew_stats.h - what a crew shows of its workers and shards, and the limits it grows by.
 *
 * Role: figures for anyone, at any time: each is a word that one worker stores and others load, and
 * nobody is stopped or asked for them. They are put out every 10 ms while a worker works, before it
 * sleeps, and when it gives a shard away; so those of one moment may be of slightly different ages.
 * Of a worker that sleeps the means are counted on by whoever reads them.
 */
#ifndef WEIR_CREW_STATS_H
#define WEIR_CREW_STATS_H

#include <stdint.h>

#include "weir/loop.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_crew;

enum {
    WEIR_CREW_PAUSE_BUCKETS = 128 /* four to each doubling: see weir_crew_pause_at */
};

/* Of one worker since the start. */
struct weir_crew_worker_stats {
    uint64_t packets;   /* that came by its queues */
    uint64_t misrouted; /* of these: sent on to another worker */
    uint64_t taken_in;  /* that another worker sent here */
    uint64_t parked;    /* that waited here for their shard */
    uint64_t blocked;   /* times that a ring or the parking place was full, and a source waited */
    uint64_t shards;    /* that it runs now */
    uint64_t shards_gained, shards_given;
    uint64_t undrained;     /* of shards_given: packets may have been left in the old queue, to be
                               sent on later than what came by the new one */
    uint64_t works;         /* posts that were handed out */
    uint64_t dropped;       /* that were another's, and more than the rings had room for */
    uint64_t unsent;        /* transmits thrown away on leaving: its queue took no more for 1 ms */
    uint64_t driver_errors; /* of its queues; and descriptors that epoll took no more of, which are
                               looked at every millisecond then */
    uint64_t rounds;
    uint64_t pauses[WEIR_CREW_PAUSE_BUCKETS]; /* of the shards it gained: from being let go there to
                                                 being taken here */
    uint64_t pause_max, pause_sum;            /* ns */
    uint64_t connections;                     /* of its shards now */
    /* Running means over some 80 ms, since the last change of their number. Length: packets found
     * when a queue or ring was looked at, in 1/1000; of the looks that found any. Delay, in ns: of
     * what comes through a ring, the time in it; of what comes by a queue nobody knows, so it is
     * estimated: half of the time since the worker looked there last, or all of it when more was
     * left there than one look takes, and nothing when the worker has waited meanwhile. */
    uint64_t queue_length, queue_delay;
    uint64_t busy;          /* ns that it did not wait, since started_at */
    uint64_t busy_permille; /* running mean, as above, of that share */
    uint64_t started_at;    /* ns of the clock; 0: it is not running */
};

/* Of one shard since the start. */
struct weir_crew_shard_stats {
    uint64_t worker; /* that runs it, or did last */
    /* ns in its endpoint's calls, on_events and on_work; one round in 16 is measured and counted 16
     * times */
    uint64_t busy;
    uint64_t packets; /* handed to it */
    uint64_t moves;   /* to another worker */
    struct weir_figures figures;
};

/* When a worker has too much to do, or a crew too many workers. 0 in the first five: no such limit.
 * A worker past any of them asks for one more worker to be there; weir_crew_adapt grants it. One
 * fewer will do when for all of hold the means of all workers, scaled to one fewer, have stayed at
 * idle_permille, three quarters of connections, and half of queue_packets and queue_delay. */
struct weir_crew_limits {
    uint32_t connections;   /* of a worker */
    uint32_t queue_packets; /* mean of queue_length, here in packets */
    weir_nsec queue_delay;  /* mean */
    uint32_t busy_permille; /* 1 to 1,000 */
    uint32_t idle_permille; /* 0: half of busy_permille, or 500. Less than busy_permille */
    weir_nsec hold;         /* default 10 s; longer each time that growth follows upon shrinking */
    uint32_t workers_min;   /* default 1 */
    uint32_t workers_max;   /* 0: as many as the crew may have */
};

/* The pause, in ns and rounded up by a quarter at most, that share of 1,000 were no longer than; 0
 * when there was none. Pauses of several workers are added bucket by bucket first. */
WEIR_API weir_nsec weir_crew_pause_at(const struct weir_crew_worker_stats *stats, uint32_t share);
/* The longest pause, in ns, that is counted in a bucket; WEIR_NEVER for the last. */
WEIR_API weir_nsec weir_crew_pause_edge(uint32_t bucket);
/* A copy. Any thread. WEIR_ERR_INVALID for a worker beyond workers_max. */
WEIR_API enum weir_status weir_crew_worker_stats(const struct weir_crew *crew, uint32_t worker,
                                                 struct weir_crew_worker_stats *stats);
/* A copy. Any thread. WEIR_ERR_INVALID for a shard that is not there. */
WEIR_API enum weir_status weir_crew_shard_stats(const struct weir_crew *crew, uint32_t shard,
                                                struct weir_crew_shard_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
