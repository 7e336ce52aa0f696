/* SPDX-License-Identifier: MIT */
/*
 * crew_policy.c - how many workers there should be: they ask, the coordinator decides.
 *
 * A worker that is past its limits says so; one more is then started. One fewer will do when what
 * all have to do would fit, with room to spare. What would make the number swing to and fro is
 * damped twice: the bound for fewer is well below that for more, and when growth has followed upon
 * shrinking, the next shrinking waits twice as long.
 */
#include "run/crew_internal.h"

enum {
    HOLDS_MAX = 16,
    IDLE_DEFAULT = 500
};

static uint32_t workers_max(const struct weir_crew_config *config)
{
    return config->limits.workers_max == 0 ? config->workers_max : config->limits.workers_max;
}

static uint32_t workers_min(const struct weir_crew_config *config)
{
    return config->limits.workers_min == 0 ? 1 : config->limits.workers_min;
}

/* Also who is asked for no such limit must not be given what he cannot do. */
static uint32_t idle_permille(const struct weir_crew_limits *limits)
{
    uint32_t of_busy = limits->busy_permille == 0 ? IDLE_DEFAULT : limits->busy_permille / 2;
    return limits->idle_permille == 0 ? of_busy : limits->idle_permille;
}

bool weir_crew_are_limits_valid(const struct weir_crew_config *config)
{
    const struct weir_crew_limits *limits = &config->limits;
    return limits->busy_permille <= 1000 &&
           (limits->idle_permille == 0 || limits->idle_permille < limits->busy_permille) &&
           workers_max(config) <= config->workers_max && workers_min(config) <= workers_max(config);
}

static bool has_limits(const struct weir_crew_limits *limits)
{
    return limits->connections != 0 || limits->queue_packets != 0 || limits->queue_delay != 0 ||
           limits->busy_permille != 0;
}

static bool is_over(uint64_t figure, uint64_t limit)
{
    return limit != 0 && figure > limit;
}

bool weir_crew_is_past(const struct weir_crew_limits *limits,
                       const struct weir_crew_worker_stats *stats)
{
    return is_over(stats->connections, limits->connections) ||
           is_over(stats->queue_length, (uint64_t)limits->queue_packets * 1000) ||
           is_over(stats->queue_delay, limits->queue_delay) ||
           is_over(stats->busy_permille, limits->busy_permille);
}

/* Who has asked and fallen asleep does not take it back: what is left of its means says. */
static bool is_asked(const struct weir_crew *crew, uint32_t workers)
{
    bool is_asked = false;
    for (uint32_t i = 0; i < workers; i++) {
        struct weir_crew_worker_stats stats;
        is_asked |= __atomic_load_n(&crew->workers[i].asks, __ATOMIC_RELAXED) != 0 &&
                    weir_crew_worker_stats(crew, i, &stats) == WEIR_OK &&
                    weir_crew_is_past(&crew->config.limits, &stats);
    }
    return is_asked;
}

static bool is_within(uint64_t figure, uint64_t limit)
{
    return limit == 0 || figure <= limit;
}

/* Queues grow faster than what comes in, so the longest is scaled and must be well below. */
static bool would_fewer_do(const struct weir_crew *crew, uint32_t workers)
{
    const struct weir_crew_limits *limits = &crew->config.limits;
    uint64_t connections = 0;
    uint64_t busy = 0;
    uint64_t length = 0;
    uint64_t delay = 0;
    uint32_t fewer = workers - 1;
    for (uint32_t i = 0; i < workers; i++) {
        struct weir_crew_worker_stats stats;
        if (weir_crew_worker_stats(crew, i, &stats) != WEIR_OK || stats.started_at == 0) {
            return false; /* it has not begun yet */
        }
        connections += stats.connections;
        busy += stats.busy_permille;
        length = weir_max_u64(length, stats.queue_length);
        delay = weir_max_u64(delay, stats.queue_delay);
    }
    return is_within(connections * 4, (uint64_t)limits->connections * 3 * fewer) &&
           busy <= (uint64_t)idle_permille(limits) * fewer &&
           is_within(length * workers * 2, (uint64_t)limits->queue_packets * 1000 * fewer) &&
           is_within(delay * workers * 2, limits->queue_delay * fewer);
}

static weir_nsec hold_of(const struct weir_crew *crew)
{
    return crew->config.limits.hold * crew->policy.holds;
}

/* Growth soon after shrinking: that was too early. */
static bool grow(struct weir_crew *crew, uint32_t workers, weir_nsec now)
{
    struct crew_policy *policy = &crew->policy;
    weir_nsec hold = hold_of(crew);
    policy->is_idle = false;
    if (weir_crew_resize(crew, workers + 1) != WEIR_OK) {
        return false;
    }
    if (policy->has_shrunk && now - policy->shrunk_at < 2 * hold) {
        policy->holds = (uint32_t)weir_min_u64((uint64_t)2 * policy->holds, HOLDS_MAX);
    } else if (now - policy->changed_at > 4 * hold) {
        policy->holds = 1;
    }
    policy->has_shrunk = false;
    policy->changed_at = now;
    return true;
}

/* Shrinking twice in a row: there is less to do indeed. */
static bool shrink(struct weir_crew *crew, uint32_t workers, weir_nsec now)
{
    struct crew_policy *policy = &crew->policy;
    if (!policy->is_idle) {
        policy->is_idle = true;
        policy->idle_since = now;
    }
    if (now - policy->idle_since < hold_of(crew) ||
        weir_crew_resize(crew, workers - 1) != WEIR_OK) {
        return false;
    }
    policy->holds -= policy->has_shrunk ? policy->holds / 2 : 0;
    policy->is_idle = false;
    policy->has_shrunk = true;
    policy->shrunk_at = policy->changed_at = now;
    return true;
}

bool weir_crew_adapt(struct weir_crew *crew, weir_nsec now)
{
    struct crew_policy *policy = &crew->policy;
    uint32_t workers = weir_crew_workers(crew);
    uint32_t most = workers_max(&crew->config);
    uint32_t least = workers_min(&crew->config);
    if (!crew->is_started || !weir_crew_is_settled(crew)) {
        policy->is_idle = false;
        return false;
    }
    policy->holds += policy->holds == 0;
    if (workers < least || workers > most) {
        return weir_crew_resize(crew, workers < least ? least : most) == WEIR_OK;
    }
    if (is_asked(crew, workers)) {
        policy->is_idle = false;
        return workers < most && grow(crew, workers, now);
    }
    if (workers == least || !has_limits(&crew->config.limits) || !would_fewer_do(crew, workers)) {
        policy->is_idle = false;
        return false;
    }
    return shrink(crew, workers, now);
}
