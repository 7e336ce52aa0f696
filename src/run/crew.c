/* SPDX-License-Identifier: MIT */
/*
 * crew.c - making a crew, starting and ending its threads, and what the coordinator says.
 *
 * A thread is started for each worker that is wanted and ends when it is one too many; what it
 * works with is there from the start. After weir_crew_start nothing here waits for a lock: threads
 * that have ended are joined without waiting (pthread_tryjoin_np).
 */
#include "weir/crew.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "run/crew_internal.h"

enum {
    SHARDS_DEFAULT = 61,
    WORKERS_DEFAULT = 8,
    SHARD_BYTES_DEFAULT = 4 << 20,
    RING_BYTES_DEFAULT = 1 << 20,
    STEER_BYTES_DEFAULT = 32 << 20,
    RING_BYTES_MIN = 4096,
    POST_RING_BYTES = 65536,
    PACKETS_MAX_DEFAULT = 1024,
    PACKETS_MAX_MIN = 128
};

#define LIMITS_HOLD_DEFAULT (10 * WEIR_SEC)

static const struct timespec join_tick = {.tv_nsec = 200000};
/* A queue that fails does so at once and every time. */
static const struct timespec error_tick = {.tv_nsec = 1000000};

void weir_crew_config_default(struct weir_crew_config *config)
{
    *config = (struct weir_crew_config){.shards = SHARDS_DEFAULT,
                                        .workers_max = WORKERS_DEFAULT,
                                        .workers = 1,
                                        .shard_bytes = SHARD_BYTES_DEFAULT,
                                        .shard_secondary_bytes = SHARD_BYTES_DEFAULT,
                                        .ring_bytes = RING_BYTES_DEFAULT,
                                        .steer_bytes_max = STEER_BYTES_DEFAULT,
                                        .packets_max = PACKETS_MAX_DEFAULT};
    weir_slide_config_default(&config->slide);
    config->slide.secondary_bytes = 0;
    config->limits.hold = LIMITS_HOLD_DEFAULT;
    config->limits.workers_min = 1;
}

static bool is_prime(uint32_t n)
{
    for (uint32_t i = 2; i * i <= n; i++) {
        if (n % i == 0) {
            return false;
        }
    }
    return n > 1;
}

static bool is_valid(const struct weir_crew_config *config)
{
    if (config->shards > WEIR_CREW_SHARDS_MAX || !is_prime(config->shards) ||
        config->workers_max == 0 || config->workers_max > WEIR_CREW_WORKERS_MAX ||
        config->workers == 0 || config->workers > config->workers_max ||
        config->workers_max > config->shards || config->queues == NULL || config->route == NULL ||
        config->ring_bytes < RING_BYTES_MIN || config->packets_max < PACKETS_MAX_MIN ||
        config->shard_bytes < 4096 || weir_ring_mem_size(config->ring_bytes) == 0 ||
        weir_slide_mem_size(&config->slide) == 0 || !weir_crew_are_limits_valid(config)) {
        return false;
    }
    /* What one receive gives must fit into the hand, which is as long as a ring. */
    for (uint32_t i = 0; i < config->workers_max; i++) {
        size_t most = config->queues[i]->rx_room_bytes +
                      config->packets_max * (sizeof(struct crew_item) + CREW_ITEM_ALIGN);
        if (most > config->ring_bytes) {
            return false;
        }
    }
    return true;
}

/* Row n from row n - 1: the new worker takes its share from those that have most, one shard at a
 * time. So the shares are equal but for one, and no shard moves that need not. */
static void make_owners(struct weir_crew *crew)
{
    uint32_t shards = crew->config.shards;
    uint32_t has[WEIR_CREW_WORKERS_MAX] = {shards};
    for (uint32_t n = 2; n <= crew->config.workers_max; n++) {
        uint8_t *row = crew->owners + (size_t)n * WEIR_CREW_SHARDS_MAX;
        for (uint32_t s = 0; s < shards; s++) {
            row[s] = row[(ptrdiff_t)s - WEIR_CREW_SHARDS_MAX];
        }
        for (; has[n - 1] < shards / n; has[n - 1]++) {
            uint32_t most = 0;
            for (uint32_t w = 1; w < n - 1; w++) {
                most = has[w] > has[most] ? w : most;
            }
            uint32_t s = shards;
            while (row[--s] != most) {
            }
            row[s] = (uint8_t)(n - 1);
            has[most]--;
        }
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

static bool open_slide(const struct weir_slide_config *config, void **mem,
                       struct weir_slide **slide)
{
    *mem = weir_mem_map(weir_slide_mem_size(config));
    return *mem != NULL && weir_slide_init(*mem, config, slide) == WEIR_OK;
}

static struct weir_slide_config share_config(const struct weir_crew *crew)
{
    return (struct weir_slide_config){.size_bytes = crew->config.shard_bytes,
                                      .batch_bytes_max = 64,
                                      .secondary_bytes = crew->config.shard_secondary_bytes};
}

static bool open_fifo(struct crew_fifo *fifo, size_t bytes)
{
    if (weir_ring_map(bytes, &fifo->ring) != WEIR_OK) {
        return false;
    }
    return weir_ring_attach_writer(fifo->ring, &fifo->writer) == WEIR_OK &&
           weir_ring_attach_reader(fifo->ring, &fifo->reader) == WEIR_OK;
}

static bool open_shard(struct weir_crew *crew, struct crew_shard *shard)
{
    struct weir_slide_config config = share_config(crew);
    return open_slide(&config, &shard->slide_mem, &shard->slide) &&
           weir_ring_map(POST_RING_BYTES, &shard->posts) == WEIR_OK &&
           weir_ring_attach_writer(shard->posts, &shard->post_writer) == WEIR_OK &&
           weir_ring_attach_reader(shard->posts, &shard->post_reader) == WEIR_OK;
}

static enum weir_status open_descriptors(struct crew_worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool is_open = worker->epoll_fd >= 0 && worker->event_fd >= 0 &&
                   epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->event_fd, &event) == 0;
    return is_open ? WEIR_OK : WEIR_ERR_OS;
}

static enum weir_status open_worker(struct weir_crew *crew, struct crew_worker *worker)
{
    struct weir_loop_config config;
    worker->sorted = calloc(crew->config.packets_max, sizeof(*worker->sorted));
    worker->shard_of = calloc(crew->config.packets_max, sizeof(*worker->shard_of));
    if (worker->sorted == NULL || worker->shard_of == NULL ||
        !open_fifo(&worker->hand, crew->config.ring_bytes) ||
        !open_fifo(&worker->park, crew->config.ring_bytes) ||
        !open_slide(&crew->config.slide, &worker->slide_mem, &worker->slide)) {
        return WEIR_ERR_MEMORY;
    }
    if (crew->config.clock == NULL && open_descriptors(worker) != WEIR_OK) {
        return WEIR_ERR_OS;
    }
    weir_crew_driver_init(worker);
    weir_loop_config_default(&config);
    config.driver = &worker->driver;
    config.slide = worker->slide;
    config.packets_max = crew->config.packets_max;
    config.receives_max =
        2 + 2 * crew->config.workers_max + 8; /* every source, a few more of one */
    config.clock = crew->config.clock;
    enum weir_status status = weir_loop_open(&config, &worker->loop);
    if (status == WEIR_OK) {
        weir_loop_attach(worker->loop, worker, &weir_crew_endpoint, NULL, NULL);
    }
    return status;
}

static enum weir_status open_rings(struct weir_crew *crew)
{
    uint32_t max = crew->config.workers_max;
    for (uint32_t from = 0; from < max; from++) {
        for (uint32_t to = 0; to < max; to++) {
            struct weir_ring **ring = &crew->rings[from * max + to];
            if (from == to) {
                continue;
            }
            if (weir_ring_map(crew->config.ring_bytes, ring) != WEIR_OK) {
                return WEIR_ERR_MEMORY;
            }
            (void)weir_ring_attach_writer(*ring, &crew->workers[from].to[to]);
            (void)weir_ring_attach_reader(*ring, &crew->workers[to].from[from]);
        }
    }
    return WEIR_OK;
}

static enum weir_status open_parts(struct weir_crew *crew)
{
    uint32_t max = crew->config.workers_max;
    crew->workers = aligned_alloc(WEIR_RING_ALIGN, max * sizeof(*crew->workers));
    crew->shards = aligned_alloc(WEIR_RING_ALIGN, crew->config.shards * sizeof(*crew->shards));
    crew->rings = calloc((size_t)max * max, sizeof(struct weir_ring *));
    crew->owners = calloc((size_t)(max + 1) * WEIR_CREW_SHARDS_MAX, 1);
    crew->queues = calloc(max, sizeof(struct weir_driver *));
    if (crew->workers == NULL || crew->shards == NULL || crew->rings == NULL ||
        crew->owners == NULL || crew->queues == NULL) {
        return WEIR_ERR_MEMORY;
    }
    memset(crew->workers, 0, max * sizeof(*crew->workers));
    memset(crew->shards, 0, crew->config.shards * sizeof(*crew->shards));
    memcpy(crew->queues, crew->config.queues, max * sizeof(struct weir_driver *));
    for (uint32_t s = 0; s < crew->config.shards; s++) {
        crew->shards[s].watched_fd = -1;
    }
    for (uint32_t i = 0; i < max; i++) {
        crew->workers[i].crew = crew;
        crew->workers[i].index = i;
        crew->workers[i].epoll_fd = crew->workers[i].event_fd = -1;
        memset(crew->workers[i].due, 0xff, sizeof(crew->workers[i].due)); /* WEIR_NEVER */
        __atomic_store_n(&crew->workers[i].is_ended, 1, __ATOMIC_RELAXED);
    }
    make_owners(crew);
    for (uint32_t s = 0; s < crew->config.shards; s++) {
        if (!open_shard(crew, &crew->shards[s])) {
            return WEIR_ERR_MEMORY;
        }
    }
    for (uint32_t i = 0; i < max; i++) {
        enum weir_status status = open_worker(crew, &crew->workers[i]);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return open_rings(crew);
}

enum weir_status weir_crew_open(const struct weir_crew_config *config, struct weir_crew **crew)
{
    if (!is_valid(config)) {
        return WEIR_ERR_INVALID;
    }
    struct weir_crew *made = aligned_alloc(WEIR_RING_ALIGN, sizeof(*made));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    *made = (struct weir_crew){.config = *config};
    enum weir_status status = open_parts(made);
    if (status != WEIR_OK) {
        weir_crew_close(made);
        return status;
    }
    *crew = made;
    return WEIR_OK;
}

static void close_worker(const struct weir_crew *crew, struct crew_worker *worker)
{
    if (worker->loop != NULL) {
        weir_loop_close(worker->loop);
    }
    if (worker->epoll_fd >= 0) {
        (void)close(worker->epoll_fd);
    }
    if (worker->event_fd >= 0) {
        (void)close(worker->event_fd);
    }
    weir_mem_unmap(worker->slide_mem, weir_slide_mem_size(&crew->config.slide));
    weir_ring_unmap(worker->hand.ring);
    weir_ring_unmap(worker->park.ring);
    free(worker->sorted);
    free(worker->shard_of);
}

void weir_crew_close(struct weir_crew *crew)
{
    struct weir_slide_config config = share_config(crew);
    uint32_t max = crew->config.workers_max;
    if (crew->is_started) {
        weir_crew_stop(crew);
    }
    for (uint32_t i = 0; crew->workers != NULL && i < max; i++) {
        close_worker(crew, &crew->workers[i]);
    }
    for (uint32_t s = 0; crew->shards != NULL && s < crew->config.shards; s++) {
        weir_mem_unmap(crew->shards[s].slide_mem, weir_slide_mem_size(&config));
        weir_ring_unmap(crew->shards[s].posts);
    }
    for (uint32_t i = 0; crew->rings != NULL && i < max * max; i++) {
        weir_ring_unmap(crew->rings[i]);
    }
    free(crew->workers);
    free(crew->shards);
    free((void *)crew->rings);
    free(crew->owners);
    free((void *)crew->queues);
    free(crew);
}

/* --- before the start ------------------------------------------------------------------------- */

struct weir_slide *weir_crew_slide(struct weir_crew *crew, uint32_t shard)
{
    return crew->shards[shard].slide;
}

void weir_crew_attach(struct weir_crew *crew, uint32_t shard, void *endpoint,
                      const struct weir_verbs *verbs, void (*on_events)(void *user, weir_nsec now),
                      void *user)
{
    struct crew_shard *to = &crew->shards[shard];
    to->endpoint = endpoint;
    to->verbs = verbs;
    to->on_events = on_events;
    to->user = user;
}

void weir_crew_on_work(struct weir_crew *crew, void (*on_work)(void *user, weir_nsec now,
                                                               const void *work, uint32_t length))
{
    crew->on_work = on_work;
}

/* --- threads ---------------------------------------------------------------------------------- */

void weir_crew_wake(struct crew_worker *worker)
{
    uint64_t one = 1;
    if (__atomic_fetch_add(&worker->is_asleep, 0, __ATOMIC_ACQ_REL) != 0 && worker->event_fd >= 0) {
        /* Fails only when it is full, and then it is readable. */
        ssize_t n = write(worker->event_fd, &one, sizeof(one));
        (void)n;
    }
}

weir_nsec weir_crew_now(const struct weir_crew *crew)
{
    struct timespec time;
    if (crew->config.clock != NULL) {
        return crew->config.clock->now(crew->config.clock->user);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (weir_nsec)time.tv_sec * WEIR_SEC + (weir_nsec)time.tv_nsec;
}

void weir_crew_wake_all(struct weir_crew *crew)
{
    for (uint32_t i = 0; i < crew->config.workers_max; i++) {
        weir_crew_wake(&crew->workers[i]);
    }
}

static void *run_worker(void *argument)
{
    struct crew_worker *worker = (struct crew_worker *)argument;
    struct weir_crew *crew = worker->crew;
    while (!worker->is_ending && __atomic_load_n(&crew->is_stopping, __ATOMIC_ACQUIRE) == 0 &&
           __atomic_load_n(&worker->is_dismissed, __ATOMIC_ACQUIRE) == 0) {
        if (weir_loop_run_once(worker->loop, WEIR_NEVER) != WEIR_OK) {
            crew_count(&worker->figures.stats.driver_errors, 1);
            (void)nanosleep(&error_tick, NULL);
        }
    }
    weir_crew_measure_end(worker);
    __atomic_store_n(&worker->is_ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

static bool join(struct crew_worker *worker)
{
    if (worker->has_thread) {
        worker->has_thread = pthread_tryjoin_np(worker->thread, NULL) != 0;
    }
    return !worker->has_thread;
}

static void join_waiting(struct crew_worker *worker)
{
    while (!join(worker)) {
        (void)nanosleep(&join_tick, NULL);
    }
}

/* The application's signals are for its own threads; those that a fault raises are the thread's. */
static int create_thread(struct crew_worker *worker)
{
    static const int of_thread[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF};
    sigset_t blocked;
    sigset_t before;
    (void)sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(of_thread) / sizeof(of_thread[0]); i++) {
        (void)sigdelset(&blocked, of_thread[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&worker->thread, NULL, run_worker, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static enum weir_status start_thread(struct crew_worker *worker, uint32_t first_epoch)
{
    worker->is_ending = false;
    worker->is_dismissed = 0;
    worker->first_epoch = first_epoch;
    __atomic_store_n(&worker->is_ended, 0, __ATOMIC_RELAXED);
    if (worker->crew->config.clock != NULL) {
        worker->stood_from = weir_crew_now(worker->crew);
        return WEIR_OK;
    }
    worker->has_thread = create_thread(worker) == 0;
    if (!worker->has_thread) {
        __atomic_store_n(&worker->is_ended, 1, __ATOMIC_RELAXED);
        return WEIR_ERR_OS;
    }
    return WEIR_OK;
}

static void publish(struct weir_crew *crew, struct crew_control control)
{
    uint64_t word = (uint64_t)control.epoch << 32 | (uint64_t)control.before << 16 | control.now;
    /* Also after all that was posted for the number before: see weir_crew_post. */
    (void)__atomic_exchange_n(&crew->control, word, __ATOMIC_ACQ_REL);
}

enum weir_status weir_crew_start(struct weir_crew *crew)
{
    uint16_t workers = (uint16_t)crew->config.workers;
    if (crew_control_load(crew).epoch != 0 || crew->is_stopping != 0) {
        return WEIR_ERR_INVALID;
    }
    for (uint32_t s = 0; s < crew->config.shards; s++) {
        if (crew->shards[s].endpoint == NULL) {
            return WEIR_ERR_INVALID;
        }
    }
    for (uint32_t s = 0; crew->config.steer != NULL && s < crew->config.shards; s++) {
        crew->config.steer(crew->config.steer_user, s, crew_owner(crew, s, workers));
    }
    publish(crew, (struct crew_control){.epoch = 1, .before = workers, .now = workers});
    for (uint32_t i = 0; i < workers; i++) {
        weir_crew_take_first(&crew->workers[i]);
    }
    crew->is_started = true;
    for (uint32_t i = 0; i < workers; i++) {
        if (start_thread(&crew->workers[i], 1) != WEIR_OK) {
            weir_crew_stop(crew);
            return WEIR_ERR_OS;
        }
    }
    return WEIR_OK;
}

void weir_crew_stop(struct weir_crew *crew)
{
    __atomic_store_n(&crew->is_stopping, 1, __ATOMIC_RELEASE);
    weir_crew_wake_all(crew);
    for (uint32_t i = 0; i < crew->config.workers_max; i++) {
        join_waiting(&crew->workers[i]);
        if (__atomic_load_n(&crew->workers[i].is_ended, __ATOMIC_RELAXED) == 0) {
            weir_crew_measure_end(&crew->workers[i]); /* a simulation's */
            __atomic_store_n(&crew->workers[i].is_ended, 1, __ATOMIC_RELAXED);
        }
    }
    crew->is_started = false;
}

/* --- the coordinator -------------------------------------------------------------------------- */

bool weir_crew_is_settled(const struct weir_crew *crew)
{
    struct crew_control control = crew_control_load(crew);
    uint32_t members = control.before > control.now ? control.before : control.now;
    for (uint32_t i = 0; i < members; i++) {
        const struct crew_worker *worker = &crew->workers[i];
        bool is_ended = __atomic_load_n(&worker->is_ended, __ATOMIC_ACQUIRE) != 0;
        if (!crew_has_finished(worker, control.epoch) || (i >= control.now && !is_ended)) {
            return false;
        }
    }
    return true;
}

uint32_t weir_crew_workers(const struct weir_crew *crew)
{
    return crew_control_load(crew).now;
}

uint32_t weir_crew_owner(const struct weir_crew *crew, uint32_t shard, uint32_t workers)
{
    return crew_owner(crew, shard, workers);
}

/* New threads are started first: they see nothing new until the word is published. */
enum weir_status weir_crew_resize(struct weir_crew *crew, uint32_t workers)
{
    struct crew_control control = crew_control_load(crew);
    if (workers == 0 || workers > crew->config.workers_max || !crew->is_started) {
        return WEIR_ERR_INVALID;
    }
    if (!weir_crew_is_settled(crew)) {
        return WEIR_AGAIN;
    }
    if (workers == control.now) {
        return WEIR_OK;
    }
    for (uint32_t i = control.now; i < workers; i++) {
        join_waiting(&crew->workers[i]); /* it has said that it ends */
    }
    for (uint32_t i = control.now; i < workers; i++) {
        if (start_thread(&crew->workers[i], control.epoch + 1) != WEIR_OK) {
            for (; i > control.now; i--) {
                __atomic_store_n(&crew->workers[i - 1].is_dismissed, 1, __ATOMIC_RELEASE);
                weir_crew_wake(&crew->workers[i - 1]);
                join_waiting(&crew->workers[i - 1]);
            }
            return WEIR_ERR_OS;
        }
    }
    publish(crew, (struct crew_control){
                      .epoch = control.epoch + 1, .before = control.now, .now = (uint16_t)workers});
    weir_crew_wake_all(crew);
    return WEIR_OK;
}

/* --- a simulation's --------------------------------------------------------------------------- */

bool weir_crew_run(struct weir_crew *crew, uint32_t worker)
{
    struct crew_worker *of = &crew->workers[worker];
    if (worker >= crew->config.workers_max || of->is_ended != 0) {
        return false;
    }
    weir_nsec now = weir_crew_now(crew);
    of->stood += now > of->stood_from ? now - of->stood_from : 0;
    if (weir_loop_run_once(of->loop, 0) != WEIR_OK) {
        crew_count(&of->figures.stats.driver_errors, 1);
    }
    of->stood_from = weir_crew_now(crew);
    if (of->is_ending) {
        weir_crew_measure_end(of);
        of->is_ended = 1;
    }
    return true;
}

weir_nsec weir_crew_next_timeout(struct weir_crew *crew, uint32_t worker)
{
    const struct crew_worker *of = &crew->workers[worker];
    bool is_there = worker < crew->config.workers_max && of->is_ended == 0;
    return is_there ? weir_loop_next_timeout(of->loop) : WEIR_NEVER;
}
