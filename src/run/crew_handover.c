/* SPDX-License-Identifier: MIT */
/*
 * crew_handover.c - another number of workers, while everything goes on.
 *
 * The steps of docs/model/crew.pml, in its order:
 *   see      what was in hand is placed, the change before is over: route by the new number, read
 *            no more from the queues that are to go, owe a fence to all that were there
 *   fences   out as the rings have room, in as crew_driver.c meets them
 *   steer    with steering in the kernel, once all are out and in: packets of the shards that are
 *            to go come by their new queue; what is in ours is read until it is empty
 *   let go   once all are out and in: nothing can come any more by the old number. Of a worker that
 *            ends also once the queue that it sends on has taken all there was, for another is its
 *            reader next
 *   take     the shards that the one before has let go of, the queues that all have
 *   end      of a worker that is one too many
 */
#include "run/crew_internal.h"

enum {
    /* From the kernel's look at the table to the packet in the socket, on another processor: less
     * than a microsecond, unless it is interrupted. (To wait for the end of all that runs there,
     * membarrier, takes 10 ms and more.) */
    STEER_LAG_NS = 100000,
    /* A hand that stays full so long does not hold up the hand-over. */
    DRAIN_BLOCKED_NS = 1000000
};

static bool is_steering(const struct crew_worker *worker)
{
    return worker->crew->config.steer != NULL;
}

/* --- see -------------------------------------------------------------------------------------- */

static void drop_queue(struct crew_worker *worker, uint32_t q)
{
    worker->reads[q] = false;
    weir_crew_watch_queue(worker, q, false);
}

/* Our own queue, when the kernel steers, has what is for the shards that we still run. */
static void note_gained(struct crew_worker *worker)
{
    const struct weir_crew *crew = worker->crew;
    for (uint32_t s = 0; s < crew->config.shards; s++) {
        worker->is_gained[s] =
            crew_owner(crew, s, worker->seen.now) == worker->index && !worker->is_owned[s];
        worker->gained_count += worker->is_gained[s];
    }
    worker->has_gained = worker->gained_count > 0;
    for (uint32_t q = 0; q < crew->config.workers_max; q++) {
        worker->awaits[q] = crew_reader(q, worker->seen.now) == worker->index && !worker->reads[q];
        if (worker->reads[q] && crew_reader(q, worker->seen.now) != worker->index &&
            !(is_steering(worker) && q == worker->index)) {
            drop_queue(worker, q);
        }
    }
}

/* Those that were there before have routed by the old number, and nobody else has. */
static void see(struct crew_worker *worker, struct crew_control control, weir_nsec now)
{
    bool is_new = control.before <= worker->index;
    worker->seen = control;
    weir_crew_measure_anew(worker, now);
    worker->is_steered = false;
    worker->is_drained = false;
    note_gained(worker);
    uint64_t others =
        control.before == WEIR_CREW_WORKERS_MAX ? UINT64_MAX : (UINT64_C(1) << control.before) - 1;
    others &= ~(UINT64_C(1) << worker->index);
    worker->fences_out = is_new ? 0 : others;
    /* A new worker has nothing that the old routing could bring. */
    worker->fences_in = is_new ? 0 : others;
}

static void send_fences(struct crew_worker *worker)
{
    for (uint64_t left = worker->fences_out; left != 0; left &= left - 1) {
        uint32_t to = (uint32_t)__builtin_ctzll(left);
        if (weir_crew_write_fence(&worker->to[to], worker->seen.epoch)) {
            worker->fences_out &= ~(UINT64_C(1) << to);
            worker->woken |= UINT64_C(1) << to;
        }
    }
}

/* --- steer, let go ---------------------------------------------------------------------------- */

/* The shards' next packets wait at their new owners until we let go. */
static void steer_away(struct crew_worker *worker)
{
    const struct weir_crew *crew = worker->crew;
    uint32_t leaving = 0;
    for (uint32_t i = 0; is_steering(worker) && i < worker->shard_count; i++) {
        uint32_t owner = crew_owner(crew, worker->shards[i], worker->seen.now);
        if (owner != worker->index) {
            crew->config.steer(crew->config.steer_user, worker->shards[i], owner);
            leaving++;
        }
    }
    worker->is_steered = true;
    worker->is_drained = leaving == 0;
    worker->drained_bytes = 0;
    worker->drain_from = weir_loop_now(worker->loop) + STEER_LAG_NS;
}

void weir_crew_note_drained(struct crew_worker *worker, weir_nsec now, uint64_t bytes,
                            bool is_empty)
{
    if (now >= worker->drain_from) {
        worker->drained_bytes += bytes;
        worker->is_drained =
            is_empty || worker->drained_bytes > worker->crew->config.steer_bytes_max;
    }
}

/* What is in hand waits for room in a ring whose reader may wait for our shards: then order yields,
 * so that nobody waits for ever. */
static bool is_drained(struct crew_worker *worker, weir_nsec now)
{
    return worker->is_drained || (!weir_crew_fifo_is_empty(&worker->hand) &&
                                  now >= worker->drain_from + DRAIN_BLOCKED_NS);
}

/* The shards that are another's now leave with everything in them. */
static void let_go(struct crew_worker *worker, weir_nsec now)
{
    struct weir_crew *crew = worker->crew;
    struct weir_slide *slides[WEIR_CREW_SHARDS_MAX];
    uint32_t leaving = 0;
    uint32_t staying = 0;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        uint8_t s = worker->shards[i];
        if (crew_owner(crew, s, worker->seen.now) == worker->index) {
            worker->shards[staying++] = s;
            continue;
        }
        weir_crew_put_out(worker, s);
        weir_crew_watch_shard(worker, s, false);
        worker->is_owned[s] = false;
        worker->due[s] = WEIR_NEVER;
        slides[leaving++] = crew->shards[s].slide;
        crew->shards[s].let_go_at = now;
    }
    worker->shard_count = staying;
    worker->meter.is_any_touched = true; /* it has fewer connections */
    weir_slide_leave(worker->slide, slides, leaving);
    if (worker->reads[worker->index] && crew_is_leaving(worker)) {
        drop_queue(worker, worker->index);
    }
    crew_count(&worker->figures.stats.shards_given, leaving);
    crew_count(&worker->figures.stats.undrained, worker->is_drained ? 0 : leaving);
    __atomic_store_n(&worker->figures.stats.shards, staying, __ATOMIC_RELAXED);
    __atomic_store_n(&worker->finished, worker->seen.epoch, __ATOMIC_RELEASE);
    weir_crew_wake_all(crew);
}

/* --- take ------------------------------------------------------------------------------------- */

static void count_pause(struct crew_worker *worker, weir_nsec pause)
{
    crew_count(&worker->figures.stats.pauses[weir_crew_pause_bucket(pause)], 1);
    crew_count(&worker->figures.stats.pause_sum, pause);
    if (pause > worker->figures.stats.pause_max) {
        __atomic_store_n(&worker->figures.stats.pause_max, pause, __ATOMIC_RELAXED);
    }
}

static void take_shard(struct crew_worker *worker, uint32_t s)
{
    worker->is_owned[s] = true;
    worker->shards[worker->shard_count++] = (uint8_t)s;
    struct crew_shard *shard = &worker->crew->shards[s];
    weir_slide_join(shard->slide, worker->slide);
    weir_crew_note_due(worker, s);
    weir_crew_watch_shard(worker, s, true);
    __atomic_store_n(&shard->figures.stats.worker, worker->index, __ATOMIC_RELAXED);
    __atomic_store_n(&worker->figures.stats.shards, worker->shard_count, __ATOMIC_RELAXED);
}

static void take_queue(struct crew_worker *worker, uint32_t q)
{
    worker->awaits[q] = false;
    worker->reads[q] = true;
    weir_crew_watch_queue(worker, q, true);
}

static bool is_free(const struct crew_worker *worker, uint32_t holder)
{
    return crew_has_finished(&worker->crew->workers[holder], worker->seen.epoch);
}

static bool is_shard_due(const struct crew_worker *worker, uint32_t s)
{
    return worker->is_gained[s] && !worker->is_owned[s] &&
           is_free(worker, crew_owner(worker->crew, s, worker->seen.before));
}

/* All must be done, not its reader alone: what that sent on may still be in a ring to a third one,
 * and what comes next would overtake it. */
static bool is_queue_due(const struct crew_worker *worker, uint32_t q)
{
    bool is_due = worker->awaits[q];
    for (uint32_t i = 0; is_due && i < worker->seen.before; i++) {
        is_due = is_free(worker, i);
    }
    return is_due;
}

static void take(struct crew_worker *worker, weir_nsec now)
{
    const struct weir_crew *crew = worker->crew;
    for (uint32_t s = 0; worker->gained_count > 0 && s < crew->config.shards; s++) {
        if (is_shard_due(worker, s)) {
            take_shard(worker, s);
            worker->gained_count--;
            crew_count(&worker->figures.stats.shards_gained, 1);
            crew_count(&worker->crew->shards[s].figures.stats.moves, 1);
            weir_nsec from = crew->shards[s].let_go_at;
            count_pause(worker, now > from ? now - from : 0);
        }
    }
    for (uint32_t q = 0; q < crew->config.workers_max; q++) {
        if (is_queue_due(worker, q)) {
            take_queue(worker, q);
        }
    }
    if (worker->gained_count == 0 && worker->has_gained && weir_crew_fifo_is_empty(&worker->park)) {
        worker->has_gained = false;
        for (uint32_t s = 0; s < crew->config.shards; s++) {
            worker->is_gained[s] = false;
        }
    }
}

void weir_crew_take_first(struct crew_worker *worker)
{
    struct weir_crew *crew = worker->crew;
    worker->seen = crew_control_load(crew);
    for (uint32_t s = 0; s < crew->config.shards; s++) {
        if (crew_owner(crew, s, worker->seen.now) == worker->index) {
            take_shard(worker, s);
        }
    }
    for (uint32_t q = 0; q < crew->config.workers_max; q++) {
        if (crew_reader(q, worker->seen.now) == worker->index) {
            take_queue(worker, q);
        }
    }
    __atomic_store_n(&worker->finished, worker->seen.epoch, __ATOMIC_RELEASE);
}

/* --- when ------------------------------------------------------------------------------------- */

static bool is_done(const struct crew_worker *worker)
{
    return worker->finished == worker->seen.epoch; /* its own: no order needed */
}

static bool can_see(struct crew_worker *worker)
{
    return weir_crew_fifo_is_empty(&worker->hand) && !worker->has_gained && is_done(worker) &&
           !worker->awaits[worker->index]; /* that is to be emptied, it may be */
}

bool weir_crew_is_handover_due(const struct crew_worker *worker)
{
    const struct weir_crew *crew = worker->crew;
    if (crew_control_load(crew).epoch != worker->seen.epoch || worker->fences_out != 0 ||
        !is_done(worker) || crew_is_leaving(worker)) {
        return true;
    }
    for (uint32_t s = 0; worker->gained_count > 0 && s < crew->config.shards; s++) {
        if (is_shard_due(worker, s)) {
            return true;
        }
    }
    for (uint32_t q = 0; q < crew->config.workers_max; q++) {
        if (is_queue_due(worker, q)) {
            return true;
        }
    }
    return false;
}

bool weir_crew_is_in(const struct crew_worker *worker)
{
    return (int32_t)(worker->seen.epoch - worker->first_epoch) >= 0;
}

void weir_crew_handover(struct crew_worker *worker, weir_nsec now)
{
    struct crew_control control = crew_control_load(worker->crew);
    take(worker, now);
    if (control.epoch != worker->seen.epoch && can_see(worker)) {
        see(worker, control, now);
    }
    send_fences(worker);
    bool is_all_here = !is_done(worker) && worker->fences_out == 0 && worker->fences_in == 0;
    if (is_all_here && !worker->is_steered) {
        steer_away(worker);
    }
    if (is_all_here && is_drained(worker, now) &&
        !(crew_is_leaving(worker) && weir_loop_is_blocked(worker->loop))) {
        let_go(worker, now);
        take(worker, now);
    }
    /* What it sent on while it emptied its queue is behind its fence: no later one shuts it off. */
    worker->is_ending = weir_crew_is_in(worker) && crew_is_leaving(worker) && is_done(worker) &&
                        weir_crew_fifo_is_empty(&worker->hand) &&
                        (!is_steering(worker) || weir_crew_are_rings_taken(worker));
}
