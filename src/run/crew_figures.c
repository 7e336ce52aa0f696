/* SPDX-License-Identifier: MIT */
/*
 * crew_figures.c - what a worker measures of itself and of its shards, and how others read it.
 *
 * Time is cut into windows of 10 ms; a running mean of the windows' means is what is shown. A
 * window that nothing happened in counts as what it is, also when the worker slept through it: it
 * is made up for when the worker wakes, and by who reads meanwhile.
 */
#include <string.h>

#include "run/crew_internal.h"

enum {
    TIMED_EVERY = 16,  /* rounds; a power of two */
    WARM_WINDOWS = 10, /* after a change, before a worker asks for another */
    WINDOWS_MAX = 256  /* after so many alike a mean is at its end */
};

#define WINDOW (10 * WEIR_MSEC)

/* --- means ------------------------------------------------------------------------------------ */

static void mean_add(struct crew_mean *mean, uint64_t sample, uint64_t times, bool is_first)
{
    if (is_first) {
        mean->eighths = sample * 8;
    }
    for (uint64_t i = 0; i < times && i < WINDOWS_MAX; i++) {
        mean->eighths = mean->eighths - mean->eighths / 8 + sample;
    }
}

/* What is left of a mean after so many windows of nothing. */
static uint64_t faded(uint64_t mean, uint64_t windows)
{
    for (uint64_t i = 0; i < windows && i < WINDOWS_MAX; i++) {
        mean -= (mean + 7) / 8;
    }
    return mean;
}

/* --- a worker's ------------------------------------------------------------------------------- */

weir_nsec weir_crew_waited(const struct crew_worker *worker)
{
    return worker->crew->config.clock != NULL ? worker->stood : weir_loop_waited(worker->loop);
}

void weir_crew_note_found(struct crew_worker *worker, uint32_t count)
{
    worker->meter.looks += count > 0;
    worker->meter.found += count;
}

void weir_crew_note_delay(struct crew_worker *worker, weir_nsec now, uint32_t written_at)
{
    /* A reader may be a moment behind the writer, whose clock was read later. */
    int32_t passed = (int32_t)(crew_stamp(now) - written_at);
    worker->meter.delay_sum += passed > 0 ? (uint64_t)passed << 10 : 0;
    worker->meter.delayed++;
}

void weir_crew_note_look(struct crew_worker *worker, uint32_t queue, weir_nsec now, uint32_t count,
                         bool is_left)
{
    struct crew_meter *meter = &worker->meter;
    weir_nsec waited = weir_crew_waited(worker);
    bool was_busy = meter->looked_at[queue] != 0 && meter->waited_at[queue] == waited;
    weir_nsec since = was_busy ? now - meter->looked_at[queue] : 0;
    weir_crew_note_found(worker, count);
    meter->delay_sum += (meter->was_left[queue] ? since : since / 2) * count;
    meter->delayed += count;
    meter->looked_at[queue] = now;
    meter->waited_at[queue] = waited;
    meter->was_left[queue] = is_left;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): clang-tidy 14 misses the store */
static void store(uint64_t *figure, uint64_t value)
{
    __atomic_store_n(figure, value, __ATOMIC_RELAXED);
}

void weir_crew_put_out(struct crew_worker *worker, uint32_t shard)
{
    struct crew_shard *of = &worker->crew->shards[shard];
    union crew_shard_figures fresh = of->figures; /* ours: nobody else stores */
    worker->meter.is_touched[shard] = false;
    if (of->verbs->figures == NULL) {
        return;
    }
    of->verbs->figures(of->endpoint, &fresh.stats.figures);
    for (size_t i = 0; i < sizeof(fresh.words) / sizeof(fresh.words[0]); i++) {
        if (of->figures.words[i] != fresh.words[i]) {
            store(&of->figures.words[i], fresh.words[i]);
        }
    }
}

static void put_out_touched(struct crew_worker *worker)
{
    uint64_t connections = 0;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        uint32_t s = worker->shards[i];
        if (worker->meter.is_touched[s]) {
            weir_crew_put_out(worker, s);
        }
        connections += worker->crew->shards[s].figures.stats.figures.connections;
    }
    worker->meter.is_any_touched = false;
    store(&worker->figures.stats.connections, connections);
}

static void put_out_means(struct crew_worker *worker)
{
    const struct weir_crew_limits *limits = &worker->crew->config.limits;
    const struct crew_meter *meter = &worker->meter;
    struct weir_crew_worker_stats *stats = &worker->figures.stats;
    store(&stats->queue_length, meter->length.eighths / 8);
    store(&stats->queue_delay, meter->delay.eighths / 8);
    store(&stats->busy_permille, meter->busy.eighths / 8);
    bool is_asking = weir_crew_is_past(limits, stats);
    __atomic_store_n(&worker->asks, is_asking && meter->windows >= WARM_WINDOWS ? 1 : 0,
                     __ATOMIC_RELAXED);
}

static void begin_window(struct crew_worker *worker, weir_nsec now)
{
    struct crew_meter *meter = &worker->meter;
    meter->from = now;
    meter->waited_from = weir_crew_waited(worker);
    meter->looks = meter->found = meter->delay_sum = meter->delayed = 0;
    __atomic_store_n(&worker->measured_at, now, __ATOMIC_RELAXED);
}

static void end_window(struct crew_worker *worker, weir_nsec now)
{
    struct crew_meter *meter = &worker->meter;
    weir_nsec waited = weir_crew_waited(worker);
    weir_nsec length = now - meter->from;
    weir_nsec idle = weir_min_u64(waited - meter->waited_from, length);
    bool is_first = meter->windows == 0;
    uint64_t times = length / WINDOW;
    uint64_t busy = (length - idle) * 1000 / length;
    /* Packets weigh one window each way, however long the worker has slept after them. */
    uint64_t found = meter->looks == 0 ? 0 : meter->found * 1000 / meter->looks;
    uint64_t delay = meter->delayed == 0 ? 0 : meter->delay_sum / meter->delayed;
    bool is_slept = idle > length / 2;
    mean_add(&meter->length, found, is_slept ? 1 : times, is_first);
    mean_add(&meter->delay, delay, is_slept ? 1 : times, is_first);
    mean_add(&meter->length, 0, is_slept ? times - 1 : 0, false);
    mean_add(&meter->delay, 0, is_slept ? times - 1 : 0, false);
    mean_add(&meter->busy, busy, times, is_first);
    meter->windows += times;
    weir_nsec total = now - meter->started_at;
    store(&worker->figures.stats.busy, total - weir_min_u64(waited - meter->waited_before, total));
}

weir_nsec weir_crew_measure_due(const struct crew_worker *worker)
{
    return worker->meter.is_any_touched ? worker->meter.from + WINDOW : WEIR_NEVER;
}

void weir_crew_measure_anew(struct crew_worker *worker, weir_nsec now)
{
    struct crew_meter *meter = &worker->meter;
    meter->windows = 0;
    __atomic_store_n(&worker->asks, 0, __ATOMIC_RELAXED);
    begin_window(worker, now);
}

static void begin(struct crew_worker *worker, weir_nsec now)
{
    struct crew_meter *meter = &worker->meter;
    *meter = (struct crew_meter){
        .is_running = true, .started_at = now, .waited_before = weir_crew_waited(worker)};
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        meter->is_touched[worker->shards[i]] = true; /* it may have connections already */
    }
    begin_window(worker, now);
    put_out_touched(worker);
    store(&worker->figures.stats.busy, 0);
    store(&worker->figures.stats.started_at, now);
}

void weir_crew_measure(struct crew_worker *worker, weir_nsec now)
{
    struct crew_meter *meter = &worker->meter;
    meter->is_timed = worker->figures.stats.rounds % TIMED_EVERY == 0;
    if (!meter->is_running) {
        begin(worker, now);
    } else if (now - meter->from >= WINDOW) {
        end_window(worker, now);
        put_out_touched(worker);
        put_out_means(worker);
        begin_window(worker, now);
    }
}

void weir_crew_measure_end(struct crew_worker *worker)
{
    struct weir_crew_worker_stats *stats = &worker->figures.stats;
    put_out_touched(worker);
    store(&stats->queue_length, 0);
    store(&stats->queue_delay, 0);
    store(&stats->busy_permille, 0);
    store(&stats->started_at, 0);
    __atomic_store_n(&worker->asks, 0, __ATOMIC_RELAXED);
    worker->meter.is_running = false;
}

/* --- for anyone ------------------------------------------------------------------------------- */

/* Bucket i begins at 4 + i % 4 quarters of 2^(i / 4); the first ones, below 4 ns, are not told
 * apart. */
uint32_t weir_crew_pause_bucket(weir_nsec pause)
{
    if (pause < 4) {
        return 0;
    }
    uint32_t log = 63 - (uint32_t)__builtin_clzll(pause);
    uint64_t bucket = (uint64_t)log * 4 + (pause >> (log - 2) & 3);
    return (uint32_t)weir_min_u64(bucket, WEIR_CREW_PAUSE_BUCKETS - 1);
}

weir_nsec weir_crew_pause_edge(uint32_t bucket)
{
    if (bucket >= WEIR_CREW_PAUSE_BUCKETS - 1) {
        return WEIR_NEVER;
    }
    return bucket < 8 ? 3 : ((UINT64_C(5) + bucket % 4) << (bucket / 4 - 2)) - 1;
}

weir_nsec weir_crew_pause_at(const struct weir_crew_worker_stats *stats, uint32_t share)
{
    uint64_t total = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < WEIR_CREW_PAUSE_BUCKETS; i++) {
        total += stats->pauses[i];
    }
    for (uint32_t i = 0; i < WEIR_CREW_PAUSE_BUCKETS && total > 0; i++) {
        sum += stats->pauses[i];
        if (sum * 1000 >= total * share && sum > 0) {
            weir_nsec end = i < 8 ? 4 : (UINT64_C(5) + i % 4) << (i / 4 - 2);
            return weir_min_u64(end, weir_max_u64(stats->pause_max, 1));
        }
    }
    return 0;
}

/* It sleeps, and does not count on what it measured before. */
static void fade(const struct crew_worker *worker, struct weir_crew_worker_stats *stats)
{
    weir_nsec now = weir_crew_now(worker->crew);
    weir_nsec until = __atomic_load_n(&worker->measured_at, __ATOMIC_RELAXED);
    uint64_t windows = now > until ? (now - until) / WINDOW : 0;
    stats->queue_length = faded(stats->queue_length, windows);
    stats->queue_delay = faded(stats->queue_delay, windows);
    stats->busy_permille = faded(stats->busy_permille, windows);
}

enum weir_status weir_crew_worker_stats(const struct weir_crew *crew, uint32_t worker,
                                        struct weir_crew_worker_stats *stats)
{
    if (worker >= crew->config.workers_max) {
        return WEIR_ERR_INVALID;
    }
    const struct crew_worker *of = &crew->workers[worker];
    union crew_figures copy;
    for (size_t i = 0; i < sizeof(copy.words) / sizeof(copy.words[0]); i++) {
        copy.words[i] = __atomic_load_n(&of->figures.words[i], __ATOMIC_RELAXED);
    }
    if (copy.stats.started_at != 0 && __atomic_load_n(&of->is_asleep, __ATOMIC_RELAXED) != 0) {
        fade(of, &copy.stats);
    }
    *stats = copy.stats;
    return WEIR_OK;
}

enum weir_status weir_crew_shard_stats(const struct weir_crew *crew, uint32_t shard,
                                       struct weir_crew_shard_stats *stats)
{
    if (shard >= crew->config.shards) {
        return WEIR_ERR_INVALID;
    }
    union crew_shard_figures copy;
    for (size_t i = 0; i < sizeof(copy.words) / sizeof(copy.words[0]); i++) {
        copy.words[i] = __atomic_load_n(&crew->shards[shard].figures.words[i], __ATOMIC_RELAXED);
    }
    *stats = copy.stats;
    return WEIR_OK;
}
