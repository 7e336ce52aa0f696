/* SPDX-License-Identifier: MIT */
/*
 * crew.h - connections partitioned over threads, without locks; their number changes at any time.
 *
 * Role: P shards, each with an endpoint of its own, are run by N workers. A packet belongs to one
 * shard for good; which worker runs a shard is a pure function of the shard and N. What arrives at
 * the wrong worker goes through a byte ring to the right one, in order.
 * Owned by: the thread that opened it is the coordinator: it alone calls what is below, but for
 * figures, which anyone may read at any time. Endpoints and their events belong to the worker that
 * runs the shard, on_events is called there, one shard at a time, never two at once for one shard.
 * Memory: allocated at open, touched when used.
 * Protocol: docs/model/crew.pml, checked by spin.
 *
 *   queue 0 --> worker 0 --> shards 0 2 5 ...      queue: a socket of a SO_REUSEPORT group, a queue
 *                 | ^ ring                                 of a device; one for each worker there
 *   queue 1 --> worker 1 --> shards 1 3 4 ...              may be
 */
#ifndef WEIR_CREW_H
#define WEIR_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/crew_stats.h"
#include "weir/driver.h"
#include "weir/loop.h"
#include "weir/slide.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_crew;

enum {
    WEIR_CREW_WORKERS_MAX = 64,
    WEIR_CREW_SHARDS_MAX = 251
};

struct weir_crew_config {
    uint32_t shards;      /* a prime, default 61; fixed as long as the crew */
    uint32_t workers_max; /* default 8; there are as many queues */
    uint32_t workers;     /* to begin with, default 1 */
    /* One queue for each worker that may be, all of the same kind; the caller closes them after
     * weir_crew_close. No default */
    struct weir_driver *const *queues;
    /* The shard of a packet, less than shards, and the same for all of a connection: called on any
     * worker. weir_rudp_route and its like, or a hash of packet->path. No default */
    uint32_t (*route)(const void *route_user, const struct weir_packet *packet);
    const void *route_user;
    struct weir_slide_config slide; /* of each worker; default as in weir/slide.h, without a
                                       secondary store */
    size_t shard_bytes;             /* what a shard may hold in place, default 4 MiB */
    size_t shard_secondary_bytes;   /* its secondary store, default 4 MiB */
    size_t ring_bytes;    /* of the ring from each worker to each other, a power of two, default
                             1 MiB; room for what one receive may give, headers included. A driver
                             that gives more, from memory of its own, may see some of it dropped */
    uint32_t packets_max; /* datagrams one receive gives, default 1,024, at least 128 */
    /* Tells the kernel by which queue the packets of a shard shall come from now on:
     * weir_steer_set. Called for all shards at the start, then by the worker that gives a shard
     * away; that goes on only when what was in its queue by then has been handled. Default NULL:
     * the queues carry what they carry, whatever the number of workers */
    void (*steer)(void *steer_user, uint32_t shard, uint32_t queue);
    void *steer_user;
    uint64_t steer_bytes_max; /* with steer: more than this has never waited in one queue, default
                                 32 MiB */
    struct weir_crew_limits limits; /* for weir_crew_adapt; default: none of them, hold 10 s */
    const struct weir_clock *clock; /* a simulation's: no thread is started, the caller runs the
                                       workers by weir_crew_run. Default NULL */
};

/* Defaults as above. */
WEIR_API void weir_crew_config_default(struct weir_crew_config *config);
/* config is copied; queues and route_user are used until the close. WEIR_ERR_INVALID for a config
 * outside its bounds, WEIR_ERR_MEMORY, WEIR_ERR_OS (descriptors). */
WEIR_API enum weir_status weir_crew_open(const struct weir_crew_config *config,
                                         struct weir_crew **crew);
/* Stops, and frees everything but queues and endpoints. */
WEIR_API void weir_crew_close(struct weir_crew *crew);

/* The slide for the endpoint of a shard. */
WEIR_API struct weir_slide *weir_crew_slide(struct weir_crew *crew, uint32_t shard);
/* Sets the endpoint of a shard; all of them before weir_crew_start. on_events must pull all events,
 * as in weir_loop_attach, and may be NULL. While the crew runs, nobody but its own on_events and
 * on_work may call on the endpoint: when it is due is asked only after these and its verbs. */
WEIR_API void weir_crew_attach(struct weir_crew *crew, uint32_t shard, void *endpoint,
                               const struct weir_verbs *verbs,
                               void (*on_events)(void *user, weir_nsec now), void *user);
/* A descriptor that the worker which runs the shard waits for, too: an epoll one, say, with the
 * sockets of the shard in it. While it is readable the shard's timeout and on_events are called, in
 * every round; it moves along with the shard. One for each shard, at most, before weir_crew_start;
 * it must be open until the stop. Not with a clock of a simulation's. */
WEIR_API void weir_crew_watch(struct weir_crew *crew, uint32_t shard, int fd);
/* Starts the workers, once: a crew that was stopped, or could not be started, is only good to be
 * closed. Signals are left to the other threads. WEIR_ERR_INVALID when a shard has no endpoint or
 * the crew was started before, WEIR_ERR_OS when the system gives no thread; nothing runs then. */
WEIR_API enum weir_status weir_crew_start(struct weir_crew *crew);
/* Ends all workers, also in the middle of a change, and waits for them; afterwards the endpoints
 * are the caller's. */
WEIR_API void weir_crew_stop(struct weir_crew *crew);
/* From now on so many workers, 1 to workers_max. Returns at once; the change is over when
 * weir_crew_is_settled. WEIR_AGAIN: the change before is not. WEIR_ERR_INVALID: out of bounds, or
 * not running. WEIR_ERR_OS: the system gives no thread, nothing changes. */
WEIR_API enum weir_status weir_crew_resize(struct weir_crew *crew, uint32_t workers);
/* The policy, by config.limits: to be called now and then, ten times a second say, with the clock's
 * time. Begins to grow by one worker when a worker has asked for it, to shrink by one when one
 * fewer has been enough for hold, and to go where workers_min and workers_max want it. True: a
 * change has begun. False: nothing is to change, or the change before is not over, or the system
 * gives no thread. */
WEIR_API bool weir_crew_adapt(struct weir_crew *crew, weir_nsec now);
WEIR_API bool weir_crew_is_settled(const struct weir_crew *crew);
/* The number of workers wanted last. */
WEIR_API uint32_t weir_crew_workers(const struct weir_crew *crew);
/* Which of workers workers runs a shard. */
WEIR_API uint32_t weir_crew_owner(const struct weir_crew *crew, uint32_t shard, uint32_t workers);

/* --- from other threads ----------------------------------------------------------------------- */

/* Queues length bytes of work for a shard: on_work is called for it on the worker that runs the
 * shard, in the order of the posts, and on_events after it. One thread at a time may post to a
 * crew. WEIR_AGAIN: the shard's ring (64 KiB) is full. WEIR_ERR_TOO_LARGE: over 4,096 bytes.
 * WEIR_ERR_INVALID: no such shard, or nobody takes work. */
WEIR_API enum weir_status weir_crew_post(struct weir_crew *crew, uint32_t shard, const void *work,
                                         uint32_t length);
/* Who takes what is posted; before weir_crew_start. user is that of weir_crew_attach. */
WEIR_API void weir_crew_on_work(struct weir_crew *crew,
                                void (*on_work)(void *user, weir_nsec now, const void *work,
                                                uint32_t length));

/* --- a simulation's --------------------------------------------------------------------------- */

/* Runs a worker once, as weir_loop_run_once does with timeout 0; only with a clock. False: that
 * worker is not there. */
WEIR_API bool weir_crew_run(struct weir_crew *crew, uint32_t worker);
/* When a worker has something to do, as weir_loop_next_timeout; WEIR_NEVER when it is not there. */
WEIR_API weir_nsec weir_crew_next_timeout(struct weir_crew *crew, uint32_t worker);

#ifdef __cplusplus
}
#endif
#endif
