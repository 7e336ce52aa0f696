/* SPDX-License-Identifier: MIT */
/*
 * crew_endpoint.c - one worker's shards, to its loop a single endpoint.
 */
#include <string.h>

#include "run/crew_internal.h"

/* --- a shard ---------------------------------------------------------------------------------- */

/* Of the rounds that are measured, one in so many. */
enum {
    TIMED_SHARE = 16
};

static weir_nsec begin_call(const struct crew_worker *worker)
{
    return worker->meter.is_timed ? weir_crew_now(worker->crew) : 0;
}

void weir_crew_note_due(struct crew_worker *worker, uint32_t shard)
{
    const struct crew_shard *of = &worker->crew->shards[shard];
    worker->due[shard] = worker->is_news[shard] ? 0 : of->verbs->next_timeout(of->endpoint);
    worker->meter.is_touched[shard] = worker->meter.is_any_touched = true;
}

/* After every call on a shard: its events first, they may change when it is due. */
static void end_call(struct crew_worker *worker, uint32_t s, weir_nsec now, weir_nsec from,
                     bool has_events)
{
    struct crew_shard *shard = &worker->crew->shards[s];
    if (has_events && shard->on_events != NULL) {
        shard->on_events(shard->user, now);
    }
    weir_crew_note_due(worker, s);
    if (worker->meter.is_timed) {
        weir_nsec passed = weir_crew_now(worker->crew) - from;
        crew_count(&shard->figures.stats.busy, passed * TIMED_SHARE);
    }
}

/* --- packets in ------------------------------------------------------------------------------- */

static void give(struct crew_worker *worker, uint32_t s, weir_nsec now, struct weir_packet *packets,
                 uint32_t count)
{
    struct crew_shard *shard = &worker->crew->shards[s];
    weir_nsec from = begin_call(worker);
    shard->verbs->input(shard->endpoint, now, packets, count);
    crew_count(&shard->figures.stats.packets, count);
    end_call(worker, s, now, from, true);
}

/* Shard by shard, in the order in which they appear first; each one's packets keep theirs. */
static void spread(struct crew_worker *worker, weir_nsec now, const struct weir_packet *packets,
                   uint32_t count)
{
    uint32_t counts[WEIR_CREW_SHARDS_MAX] = {0};
    uint32_t ends[WEIR_CREW_SHARDS_MAX];
    uint8_t order[WEIR_CREW_SHARDS_MAX];
    uint32_t seen = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t s = worker->shard_of[i];
        if (counts[s]++ == 0) {
            order[seen++] = s;
        }
    }
    uint32_t end = 0;
    for (uint32_t i = 0; i < seen; i++) {
        ends[order[i]] = end;
        end += counts[order[i]];
    }
    for (uint32_t i = 0; i < count; i++) {
        worker->sorted[ends[worker->shard_of[i]]++] = packets[i];
    }
    for (uint32_t i = 0; i < seen; i++) {
        uint8_t s = order[i];
        give(worker, s, now, worker->sorted + ends[s] - counts[s], counts[s]);
    }
}

static void crew_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    struct crew_worker *worker = (struct crew_worker *)endpoint;
    uint32_t same = 1;
    while (same < count && worker->shard_of[same] == worker->shard_of[0]) {
        same++;
    }
    if (same == count) {
        give(worker, worker->shard_of[0], now, packets, count);
    } else {
        spread(worker, now, packets, count);
    }
}

/* --- time, and packets out -------------------------------------------------------------------- */

static weir_nsec crew_next_timeout(const void *endpoint)
{
    const struct crew_worker *worker = (const struct crew_worker *)endpoint;
    weir_nsec deadline = WEIR_NEVER;
    for (uint32_t s = 0; s < worker->crew->config.shards; s++) {
        deadline = weir_min_u64(deadline, worker->due[s]);
    }
    return deadline;
}

static void crew_timeout(void *endpoint, weir_nsec now)
{
    struct crew_worker *worker = (struct crew_worker *)endpoint;
    for (uint32_t s = 0; s < worker->crew->config.shards; s++) {
        if (worker->due[s] <= now) {
            const struct crew_shard *shard = &worker->crew->shards[s];
            weir_nsec from = begin_call(worker);
            worker->is_news[s] = false;
            shard->verbs->timeout(shard->endpoint, now);
            end_call(worker, s, now, from, true);
        }
    }
}

/* The shards in turn, so that none is starved by those before it. */
static enum weir_status crew_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct crew_worker *worker = (struct crew_worker *)endpoint;
    uint32_t first = worker->output_at < worker->shard_count ? worker->output_at : 0;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        uint32_t at = first + i;
        at = at < worker->shard_count ? at : at - worker->shard_count;
        uint32_t s = worker->shards[at];
        if (worker->due[s] > now) {
            continue;
        }
        const struct crew_shard *shard = &worker->crew->shards[s];
        weir_nsec from = begin_call(worker);
        uint32_t before = tx->count;
        enum weir_status status = shard->verbs->output(shard->endpoint, now, tx);
        end_call(worker, s, now, from, tx->count > before);
        if (status == WEIR_OK) {
            worker->output_at = before == 0 ? at + 1 : at; /* it had all the room, or the rest */
            return WEIR_OK;
        }
    }
    worker->output_at = first + 1;
    return WEIR_AGAIN;
}

const struct weir_verbs weir_crew_endpoint = {
    .input = crew_input,
    .timeout = crew_timeout,
    .next_timeout = crew_next_timeout,
    .output = crew_output,
};

/* --- work of other threads -------------------------------------------------------------------- */

/* Of a shard in one round, so that whoever posts without end keeps nobody else waiting. */
enum {
    POSTS_MAX = 256
};

static bool read_post(struct crew_shard *shard, uint8_t *work, uint32_t *length)
{
    if (weir_ring_read(&shard->post_reader, length, sizeof(*length)) == 0) {
        return false;
    }
    size_t got = weir_ring_read(&shard->post_reader, work, *length);
    WEIR_ASSERT(got == *length); /* a post is published whole */
    return true;
}

static void run_posts_of(struct crew_worker *worker, uint32_t s, weir_nsec now)
{
    struct crew_shard *shard = &worker->crew->shards[s];
    uint64_t *posted = &worker->crew->posted[s / 64];
    uint64_t bit = UINT64_C(1) << s % 64;
    uint8_t work[CREW_POST_BYTES_MAX];
    uint32_t length = 0;
    uint32_t count = 0;
    weir_nsec from = begin_call(worker);
    /* First, so that a post that comes meanwhile sets it anew. */
    (void)__atomic_fetch_and(posted, ~bit, __ATOMIC_ACQ_REL);
    while (count < POSTS_MAX && read_post(shard, work, &length)) {
        worker->crew->on_work(shard->user, now, work, length);
        count++;
    }
    if (count == POSTS_MAX) {
        (void)__atomic_fetch_or(posted, bit, __ATOMIC_RELAXED);
    }
    if (count > 0) {
        crew_count(&worker->figures.stats.works, count);
        worker->is_moving = true;
        end_call(worker, s, now, from, true);
    }
}

void weir_crew_run_posts(struct crew_worker *worker, weir_nsec now)
{
    for (uint32_t i = 0; i < CREW_SHARD_WORDS; i++) {
        uint64_t left = __atomic_load_n(&worker->crew->posted[i], __ATOMIC_ACQUIRE);
        for (; left != 0; left &= left - 1) {
            uint32_t s = i * 64 + (uint32_t)__builtin_ctzll(left);
            if (worker->is_owned[s]) {
                run_posts_of(worker, s, now);
            }
        }
    }
}

bool weir_crew_has_posts(const struct crew_worker *worker)
{
    for (uint32_t i = 0; i < CREW_SHARD_WORDS; i++) {
        uint64_t left = __atomic_load_n(&worker->crew->posted[i], __ATOMIC_ACQUIRE);
        for (; left != 0; left &= left - 1) {
            if (worker->is_owned[i * 64 + (uint32_t)__builtin_ctzll(left)]) {
                return true;
            }
        }
    }
    return false;
}

enum weir_status weir_crew_post(struct weir_crew *crew, uint32_t shard, const void *work,
                                uint32_t length)
{
    struct weir_mut_span pair[2];
    if (length > CREW_POST_BYTES_MAX) {
        return WEIR_ERR_TOO_LARGE;
    }
    if (shard >= crew->config.shards || crew->on_work == NULL) {
        return WEIR_ERR_INVALID;
    }
    struct crew_shard *to = &crew->shards[shard];
    size_t bytes = sizeof(length) + length;
    if (weir_ring_peek_write(&to->post_writer, bytes, pair) < bytes) {
        return WEIR_AGAIN;
    }
    memcpy(pair[0].data, &length, sizeof(length));
    memcpy(pair[0].data + sizeof(length), work, length);
    (void)weir_ring_commit_write(&to->post_writer, bytes);
    (void)__atomic_fetch_or(&crew->posted[shard / 64], UINT64_C(1) << shard % 64, __ATOMIC_ACQ_REL);
    /* Should the shard move on just now, its new owner looks for posts when it takes it: whoever
     * publishes the next number has seen this one, and the post with it. */
    struct crew_control control =
        crew_control_of(__atomic_fetch_add(&crew->control, 0, __ATOMIC_ACQ_REL));
    weir_crew_wake(&crew->workers[crew_owner(crew, shard, control.now)]);
    weir_crew_wake(&crew->workers[crew_owner(crew, shard, control.before)]);
    return WEIR_OK;
}
