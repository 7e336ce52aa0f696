/* SPDX-License-Identifier: MIT */
/*
 * crew_watch.c - the descriptors that a worker waits for: its queues', and those of its shards.
 *
 * Both are in the worker's epoll descriptor while it reads the queue or runs the shard. One that
 * epoll takes no more of (a limit of the system's, or no descriptor that can be waited for) is
 * looked at every millisecond, as if it were readable, and offered again.
 */
#include <sys/epoll.h>

#include "run/crew_internal.h"

enum {
    LOOK_MAX = 64 /* descriptors in one round; what is left over comes first in the next */
};

/* Without epoll: so often. */
#define REFUSED_TICK WEIR_MSEC

static int fd_of(const struct crew_worker *worker, uint32_t tag)
{
    const struct weir_crew *crew = worker->crew;
    if (tag >= WEIR_CREW_WORKERS_MAX) {
        return crew->shards[tag - WEIR_CREW_WORKERS_MAX].watched_fd;
    }
    return crew->queues[tag]->ops->fd(crew->queues[tag]);
}

static bool add(const struct crew_worker *worker, uint32_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd_of(worker, tag), &event) == 0;
}

static void set(struct crew_worker *worker, uint32_t tag, bool is_watched)
{
    if (worker->epoll_fd < 0 || fd_of(worker, tag) < 0) {
        return;
    }
    if (is_watched && !add(worker, tag)) {
        crew_count(&worker->figures.stats.driver_errors, 1);
        worker->is_refused[tag] = true;
        worker->refused_count++;
        worker->retry_at = 0;
    } else if (!is_watched && worker->is_refused[tag]) {
        worker->is_refused[tag] = false;
        worker->refused_count--;
    } else if (!is_watched) {
        struct epoll_event event = {.events = 0};
        /* Fails when it was closed, and is not in there any more. */
        (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd_of(worker, tag), &event);
    }
}

void weir_crew_watch_queue(struct crew_worker *worker, uint32_t queue, bool is_watched)
{
    set(worker, queue, is_watched);
}

void weir_crew_watch_shard(struct crew_worker *worker, uint32_t shard, bool is_watched)
{
    if (worker->crew->shards[shard].watched_fd >= 0) {
        worker->watched_count += is_watched ? 1 : UINT32_MAX;
        worker->is_news[shard] = false;
        set(worker, WEIR_CREW_WORKERS_MAX + shard, is_watched);
    }
}

static void tell(struct crew_worker *worker, uint32_t shard)
{
    worker->is_news[shard] = true;
    weir_crew_note_due(worker, shard);
}

static void retry(struct crew_worker *worker, weir_nsec now)
{
    for (uint32_t tag = 0; tag < WEIR_CREW_WORKERS_MAX + worker->crew->config.shards; tag++) {
        if (!worker->is_refused[tag]) {
            continue;
        }
        if (add(worker, tag)) {
            worker->is_refused[tag] = false;
            worker->refused_count--;
        } else if (tag >= WEIR_CREW_WORKERS_MAX) {
            tell(worker, tag - WEIR_CREW_WORKERS_MAX);
        }
    }
    worker->retry_at = now + REFUSED_TICK;
}

void weir_crew_look(struct crew_worker *worker, weir_nsec now)
{
    struct epoll_event events[LOOK_MAX];
    if (worker->refused_count > 0 && now >= worker->retry_at) {
        retry(worker, now);
    }
    int count = worker->watched_count > 0 ? epoll_wait(worker->epoll_fd, events, LOOK_MAX, 0) : 0;
    for (int i = 0; i < count; i++) {
        uint32_t tag = events[i].data.u32;
        if (tag >= WEIR_CREW_WORKERS_MAX && tag != UINT32_MAX) {
            tell(worker, tag - WEIR_CREW_WORKERS_MAX);
        }
    }
}

void weir_crew_watch(struct weir_crew *crew, uint32_t shard, int fd)
{
    WEIR_ASSERT(!crew->is_started && crew->config.clock == NULL && shard < crew->config.shards);
    crew->shards[shard].watched_fd = fd;
}
