/* SPDX-License-Identifier: MIT */
/*
 * crew_internal.h - what the files of the crew share. Read crew_handover.c for the protocol,
 * crew_driver.c for the way of a packet, crew_endpoint.c for the shards, crew_watch.c for what is
 * waited for, crew_figures.c and crew_policy.c for what is counted and what follows from it, crew.c
 * for the rest.
 *
 * A worker is a loop (weir/loop.h) whose driver and endpoint are made here: the driver gathers from
 * queues and rings what belongs to the worker's own shards, the endpoint spreads it over them.
 *
 * Atomics, all of them here: control (stored by the coordinator), finished, is_asleep, is_ended,
 * asks, measured_at and the figures (each stored by its worker), a shard's figures (the worker that
 * runs it), is_stopping and is_dismissed (coordinator), posted (a bit is set by who posts, cleared
 * by the worker that runs the shard). Whoever wakes a worker adds 0 to is_asleep after what it has
 * done, the worker swaps 1 in before it looks for that once more: the two come in one order or the
 * other, so one of them sees. Likewise control, between a post and the next change.
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

union crew_shard_figures {
    struct weir_crew_shard_stats stats; /* words, all of them */
    uint64_t words[sizeof(struct weir_crew_shard_stats) / sizeof(uint64_t)];
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): fields in the order they are read in */
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
    int watched_fd;                      /* -1: none */
    union crew_shard_figures figures;    /* its owner's */
};

/* In front of each packet in a ring. */
struct crew_item {
    uint32_t length; /* of the bytes that follow, filled up to CREW_ITEM_ALIGN; CREW_FENCE */
    uint32_t mtu_bytes;
    uint32_t shard; /* of a fence: the epoch */
    uint16_t segment_bytes;
    uint8_t ecn, protocol;
    uint8_t is_checked, unreached;
    uint32_t written_at; /* crew_stamp: for the figures */
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

/* A running mean over windows: each weighs 1/8, the first is it. In eighths. */
struct crew_mean {
    uint64_t eighths;
};

/* What a worker measures of itself, in windows of 10 ms and more. */
struct crew_meter {
    bool is_running;
    weir_nsec started_at, waited_before; /* weir_crew_waited then */
    weir_nsec from, waited_from;         /* the window, likewise */
    uint64_t windows;                    /* over, since the number of workers changed last */
    uint64_t looks, found;               /* in it: looks that found packets, and how many */
    uint64_t delay_sum, delayed;         /* ns, and of how many packets */
    struct crew_mean length, delay, busy;
    weir_nsec looked_at[WEIR_CREW_WORKERS_MAX], waited_at[WEIR_CREW_WORKERS_MAX]; /* by queue */
    bool was_left[WEIR_CREW_WORKERS_MAX];                  /* more than that look took */
    bool is_touched[WEIR_CREW_SHARDS_MAX], is_any_touched; /* by shard, not put out yet */
    bool is_timed; /* this round is one of those that are measured */
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
    /* When each shard has something to do, asked after each of its calls; WEIR_NEVER of those that
     * another runs. */
    weir_nsec due[WEIR_CREW_SHARDS_MAX];
    uint32_t watched_count;             /* of its shards */
    bool is_news[WEIR_CREW_SHARDS_MAX]; /* its descriptor is readable: timeout is to be called */
    /* What epoll refused: queues, then shards. It is looked at and tried again all the time. */
    bool is_refused[WEIR_CREW_WORKERS_MAX + WEIR_CREW_SHARDS_MAX];
    uint32_t refused_count;
    weir_nsec retry_at;
    struct crew_meter meter;
    weir_nsec stood_from, stood; /* a simulation's: since when it is not run, and in all */
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
    weir_nsec receive_at;  /* the time of this receive */
    bool is_moving;        /* that round has brought anything further */
    bool is_left;          /* a source had more than it gave in it */
    weir_nsec blocked_at;  /* leaving: since when the queue takes nothing; 0: it does */
    uint32_t first_epoch;  /* that it works in: until then it waits */
    union crew_figures figures;

    WEIR_CREW_ALIGNED uint32_t finished; /* last epoch that it is done with */
    uint32_t is_asleep;
    uint32_t is_ended;
    uint32_t asks;         /* it is past its limits */
    uint64_t measured_at;  /* until when the means go */
    uint32_t is_dismissed; /* the coordinator's: not needed after all */
};

/* The coordinator's. */
struct crew_policy {
    bool is_idle, has_shrunk;
    weir_nsec idle_since, shrunk_at; /* with these */
    weir_nsec changed_at;
    uint32_t holds; /* so many times the hold */
};

enum {
    CREW_SHARD_WORDS = (WEIR_CREW_SHARDS_MAX + 63) / 64
};

struct weir_crew {
    struct weir_crew_config config;
    struct crew_policy policy;
    WEIR_CREW_ALIGNED uint64_t control; /* struct crew_control, one word */
    uint32_t is_stopping;
    WEIR_CREW_ALIGNED uint64_t
        posted[CREW_SHARD_WORDS]; /* by shard: its posts are to be looked at */
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

/* Time that fits a packet's item, in 1,024 ns: differences up to half an hour. */
static inline uint32_t crew_stamp(weir_nsec now)
{
    return (uint32_t)(now >> 10);
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

/* crew_watch.c */
void weir_crew_watch_queue(struct crew_worker *worker, uint32_t queue, bool is_watched);
void weir_crew_watch_shard(struct crew_worker *worker, uint32_t shard, bool is_watched);
/* Which shards' descriptors are readable? Tries again what epoll has refused. */
void weir_crew_look(struct crew_worker *worker, weir_nsec now);

/* crew_endpoint.c */
extern const struct weir_verbs weir_crew_endpoint;
/* Hands out what was posted. */
void weir_crew_run_posts(struct crew_worker *worker, weir_nsec now);
bool weir_crew_has_posts(const struct crew_worker *worker);
/* After anything was called on the shard. */
void weir_crew_note_due(struct crew_worker *worker, uint32_t shard);

/* crew_figures.c */
/* How long the worker has waited since it was made. */
weir_nsec weir_crew_waited(const struct crew_worker *worker);
/* At the start of a round: puts out the figures when a window is over. */
void weir_crew_measure(struct crew_worker *worker, weir_nsec now);
/* When that is to happen even if the worker would sleep. */
weir_nsec weir_crew_measure_due(const struct crew_worker *worker);
/* The number of workers is another: the means begin anew. */
void weir_crew_measure_anew(struct crew_worker *worker, weir_nsec now);
/* The worker ends. */
void weir_crew_measure_end(struct crew_worker *worker);
/* A look at a queue found count packets, and left some there or not. */
void weir_crew_note_look(struct crew_worker *worker, uint32_t queue, weir_nsec now, uint32_t count,
                         bool is_left);
/* A packet was so long in a ring; a look there has found count of them. */
void weir_crew_note_delay(struct crew_worker *worker, weir_nsec now, uint32_t written_at);
void weir_crew_note_found(struct crew_worker *worker, uint32_t count);
/* Puts out a shard's figures. */
void weir_crew_put_out(struct crew_worker *worker, uint32_t shard);
/* Of weir_crew_worker_stats.pauses, the one to count it in. */
uint32_t weir_crew_pause_bucket(weir_nsec pause);

/* crew_policy.c */
bool weir_crew_are_limits_valid(const struct weir_crew_config *config);
bool weir_crew_is_past(const struct weir_crew_limits *limits,
                       const struct weir_crew_worker_stats *stats);

/* crew.c */
/* Now, if it is asleep. */
void weir_crew_wake(struct crew_worker *worker);
void weir_crew_wake_all(struct weir_crew *crew);
weir_nsec weir_crew_now(const struct weir_crew *crew);

#endif
