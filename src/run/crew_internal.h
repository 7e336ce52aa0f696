/* SPDX-License-Identifier: MIT */
/*
 * crew_internal.h - what the files of the crew share. Read crew_handover.c for the protocol,
 * crew_driver.c for the way of a packet, crew_endpoint.c for the shards, crew.c for the rest.
 *
 * A worker is a loop (weir/loop.h) whose driver and endpoint are made here: the driver gathers from
 * queues and rings what belongs to the worker's own shards, the endpoint spreads it over them.
 *
 * Atomics, all of them here: control (stored by the coordinator), finished, is_asleep, is_ended and
 * the figures (each stored by its worker), is_stopping and is_dismissed (coordinator). Whoever
 * wakes a worker adds 0 to is_asleep after what it has done, the worker swaps 1 in before it looks
 * for that once more: the two come in one order or the other, so one of them sees. Likewise
 * control, between a post and the next change.
 */
#ifndef WEIR_RUN_CREW_INTERNAL_H
#define WEIR_RUN_CREW_INTERNAL_H

#include <pthread.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "weir/crew.h"
#include "weir/ring.h"

#define WEIR_CREW_ALIGNED __attribute__((aligned(WEIR_RING_ALIGN)))

enum {
    CREW_POST_BYTES_MAX = 4096
};

struct crew_shard {
    WEIR_CREW_ALIGNED void *endpoint;
    const struct weir_verbs *verbs;
    void (*on_events)(void *user, weir_nsec now);
    void *user;
    struct weir_slide *slide;
    void *slide_mem;
    weir_nsec let_go_at; /* written by the old owner before it lets go */
    struct weir_ring *posts;
    struct weir_ring_writer post_writer; /* the posting thread's */
    struct weir_ring_reader post_reader; /* its owner's */
};

/* In front of each packet in a ring. */
struct crew_item {
    uint32_t length; /* of the bytes that follow, filled up to CREW_ITEM_ALIGN; CREW_FENCE */
    uint32_t mtu_bytes;
    uint32_t shard; /* of a fence: the epoch */
    uint16_t segment_bytes;
    uint8_t ecn, protocol;
    uint8_t is_checked;
    struct weir_path path;
};

enum {
    CREW_ITEM_ALIGN = 8
};

#define CREW_FENCE UINT32_MAX

/* A first-in first-out of packets that only its own worker touches. */
struct crew_fifo {
    struct weir_ring *ring;
    struct weir_ring_writer writer;
    struct weir_ring_reader reader;
};

struct crew_control {
    uint32_t epoch;
    uint16_t before, now; /* numbers of workers */
};

union crew_figures {
    struct weir_crew_worker_stats stats; /* words, all of them */
    uint64_t words[sizeof(struct weir_crew_worker_stats) / sizeof(uint64_t)];
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): fields in the order they are read in */
struct crew_worker {
    struct weir_driver driver; /* first */
    struct weir_crew *crew;
    uint32_t index;
    struct weir_loop *loop;
    struct weir_slide *slide;
    void *slide_mem;
    pthread_t thread;
    bool has_thread; /* the coordinator's */

    /* The epoch that it has seen; by its number of workers it routes. */
    struct crew_control seen;
    uint64_t fences_out, fences_in;       /* bit i: worker i */
    uint8_t shards[WEIR_CREW_SHARDS_MAX]; /* those it runs, in order */
    uint32_t shard_count;
    bool is_owned[WEIR_CREW_SHARDS_MAX];
    bool is_gained[WEIR_CREW_SHARDS_MAX]; /* by seen; cleared when all are here and none parked */
    uint32_t gained_count;                /* of these not here yet */
    bool has_gained;
    bool reads[WEIR_CREW_WORKERS_MAX];  /* queues */
    bool awaits[WEIR_CREW_WORKERS_MAX]; /* queues to be taken */
    bool is_ending;

    /* With steering: of the shards that it is to lose. */
    bool is_steered, is_drained;
    weir_nsec drain_from; /* its queue gets nothing for them any more */
    uint64_t drained_bytes;

    struct crew_fifo hand, park;
    struct weir_ring_writer to[WEIR_CREW_WORKERS_MAX];
    struct weir_ring_reader from[WEIR_CREW_WORKERS_MAX];
    struct weir_ring_reader *lent; /* a source whose items were given out, and how many bytes */
    size_t lent_bytes;
    uint32_t source; /* the next one to be asked */
    uint32_t output_at;
    uint64_t woken; /* workers to be woken at the end of the round */
    struct weir_packet *sorted;
    uint8_t *shard_of; /* of each packet given out last */
    int epoll_fd, event_fd;
    weir_nsec round_start; /* when all sources were last begun with */
    bool is_moving;        /* that round has brought anything further */
    weir_nsec blocked_at;  /* leaving: since when the queue takes nothing; 0: it does */
    uint32_t first_epoch;  /* that it works in: until then it waits */
    union crew_figures figures;

    WEIR_CREW_ALIGNED uint32_t finished; /* last epoch that it is done with */
    uint32_t is_asleep;
    uint32_t is_ended;
    uint32_t is_dismissed; /* the coordinator's: not needed after all */
};

struct weir_crew {
    struct weir_crew_config config;
    WEIR_CREW_ALIGNED uint64_t control; /* struct crew_control, one word */
    uint32_t is_stopping;
    struct crew_worker *workers;
    struct crew_shard *shards;
    struct weir_ring **rings; /* from * workers_max + to */
    uint8_t *owners;          /* [workers][shard] */
    struct weir_driver **queues;
    void (*on_work)(void *user, weir_nsec now, const void *work, uint32_t length);
    bool is_started;
};

static inline struct crew_control crew_control_of(uint64_t word)
{
    return (struct crew_control){
        .epoch = (uint32_t)(word >> 32), .before = (uint16_t)(word >> 16), .now = (uint16_t)word};
}

static inline struct crew_control crew_control_load(const struct weir_crew *crew)
{
    return crew_control_of(__atomic_load_n(&crew->control, __ATOMIC_ACQUIRE));
}

static inline uint32_t crew_owner(const struct weir_crew *crew, uint32_t shard, uint32_t workers)
{
    return crew->owners[(size_t)workers * WEIR_CREW_SHARDS_MAX + shard];
}

/* All queues are read at any time, whatever the number of workers. */
static inline uint32_t crew_reader(uint32_t queue, uint32_t workers)
{
    WEIR_ASSERT(workers > 0);
    /* What is asserted is lost on the analyzer: NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
    return queue < workers ? queue : queue % workers;
}

static inline bool crew_has_finished(const struct crew_worker *worker, uint32_t epoch)
{
    return (int32_t)(__atomic_load_n(&worker->finished, __ATOMIC_ACQUIRE) - epoch) >= 0;
}

/* Figures: stored by one worker, read by anyone. */
/* NOLINTNEXTLINE(readability-non-const-parameter): clang-tidy 14 misses the store */
static inline void crew_count(uint64_t *figure, uint64_t more)
{
    __atomic_store_n(figure, *figure + more, __ATOMIC_RELAXED);
}

static inline bool crew_is_leaving(const struct crew_worker *worker)
{
    return worker->index >= worker->seen.now;
}

/* crew_driver.c */
void weir_crew_driver_init(struct crew_worker *worker);
bool weir_crew_fifo_is_empty(struct crew_fifo *fifo);
bool weir_crew_write_fence(struct weir_ring_writer *writer, uint32_t epoch);
bool weir_crew_is_ring_readable(const struct weir_ring_reader *reader);
/* Has everything been taken that it ever sent to others? */
bool weir_crew_are_rings_taken(const struct crew_worker *worker);

/* crew_handover.c */
/* What the protocol lets the worker do now; called before anything is received. */
void weir_crew_handover(struct crew_worker *worker, weir_nsec now);
/* Has a new worker seen the epoch that it was started for? */
bool weir_crew_is_in(const struct crew_worker *worker);
/* Can it do more of that than a moment ago? */
bool weir_crew_is_handover_due(const struct crew_worker *worker);
/* Its own queue brought so much, and more waits there or not. */
void weir_crew_note_drained(struct crew_worker *worker, weir_nsec now, uint64_t bytes,
                            bool is_empty);
/* Of the first workers: takes all that is its own. */
void weir_crew_take_first(struct crew_worker *worker);
void weir_crew_watch(struct crew_worker *worker, uint32_t queue, bool is_watched);

/* crew_endpoint.c */
extern const struct weir_verbs weir_crew_endpoint;
/* Hands out what was posted. */
void weir_crew_run_posts(struct crew_worker *worker, weir_nsec now);
bool weir_crew_has_posts(const struct crew_worker *worker);

/* crew.c */
/* Now, if it is asleep. */
void weir_crew_wake(struct crew_worker *worker);
void weir_crew_wake_all(struct weir_crew *crew);
/* Of weir_crew_worker_stats.pauses, the one to count it in. */
uint32_t weir_crew_pause_bucket(weir_nsec pause);

#endif
