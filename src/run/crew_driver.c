/* SPDX-License-Identifier: MIT */
/*
 * crew_driver.c - the way of a packet to the worker that runs its shard.
 *
 *   queues --> mine? --------------------------------> given out (to crew_endpoint.c)
 *                |  \-- mine soon --> park --.             ^
 *                |                           |-- shard is here
 *                 \--- another's --> ring to it            |
 *                          |  (full)                       |
 *                         hand ... as soon as there is room
 *   rings of the others to us -------------> mine, or park |
 *
 * While anything is in hand no queue is read; while there is no room to park, the ring whose packet
 * would have to be is not read on. So nothing is dropped here, but what a driver gives in one
 * receive beyond its rx_room_bytes, and nobody waits for anybody.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "run/crew_internal.h"

enum {
    /* A full ring is looked at again after so long; its reader does not tell. */
    BLOCKED_TICK_NS = 20000,
    /* A queue that took no more is tried again after so long: readable and writable are two
     * descriptors' worth of news, and the loop waits for the former. */
    UNSENT_TICK_NS = 100000,
    /* So long a worker that leaves lets others wait for its queue to take what is left. */
    UNSENT_NS_MAX = 1000000
};

/* --- items ------------------------------------------------------------------------------------ */

static size_t item_bytes(uint32_t length)
{
    size_t data = length == CREW_FENCE ? 0 : length;
    return weir_size_align(sizeof(struct crew_item) + data, CREW_ITEM_ALIGN);
}

static bool write_item(struct weir_ring_writer *writer, const struct crew_item *item,
                       const uint8_t *data)
{
    struct weir_mut_span pair[2];
    size_t bytes = item_bytes(item->length);
    if (weir_ring_peek_write(writer, bytes, pair) < bytes) {
        return false;
    }
    memcpy(pair[0].data, item, sizeof(*item)); /* in one piece: the rings are mapped twice */
    if (item->length != CREW_FENCE) {
        memcpy(pair[0].data + sizeof(*item), data, item->length);
    }
    (void)weir_ring_commit_write(writer, bytes);
    return true;
}

bool weir_crew_write_fence(struct weir_ring_writer *writer, uint32_t epoch)
{
    struct crew_item fence = {.length = CREW_FENCE, .shard = epoch};
    return write_item(writer, &fence, NULL);
}

static bool write_packet(struct weir_ring_writer *writer, const struct weir_packet *packet,
                         uint32_t shard, weir_nsec now)
{
    struct crew_item item = {.length = packet->length,
                             .mtu_bytes = packet->mtu_bytes,
                             .shard = shard,
                             .segment_bytes = packet->segment_bytes,
                             .ecn = packet->ecn,
                             .protocol = packet->protocol,
                             .is_checked = packet->is_checked,
                             .unreached = packet->unreached,
                             .written_at = crew_stamp(now),
                             .path = *packet->path};
    return write_item(writer, &item, packet->data);
}

static struct weir_packet packet_of(const struct crew_item *item)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): what is lent may be written to, as any batch */
    return (struct weir_packet){.data = (uint8_t *)(uintptr_t)(item + 1),
                                .path = &item->path,
                                .length = item->length,
                                .mtu_bytes = item->mtu_bytes,
                                .segment_bytes = item->segment_bytes,
                                .ecn = item->ecn,
                                .protocol = item->protocol,
                                .unreached = item->unreached,
                                .is_checked = item->is_checked != 0};
}

/* Items that can be read, from the one at reader's position on; NULL when there is none. */
static const struct crew_item *peek_items(struct weir_ring_reader *reader, size_t *bytes)
{
    struct weir_span pair[2];
    *bytes = weir_ring_peek_read(reader, SIZE_MAX, pair);
    return *bytes == 0 ? NULL : (const struct crew_item *)(const void *)pair[0].data;
}

static const struct crew_item *item_after(const struct crew_item *item)
{
    return (const struct crew_item *)(const void *)((const uint8_t *)item +
                                                    item_bytes(item->length));
}

bool weir_crew_fifo_is_empty(struct crew_fifo *fifo)
{
    return fifo->reader.position == fifo->writer.position;
}

bool weir_crew_is_ring_readable(const struct weir_ring_reader *reader)
{
    return __atomic_load_n(&reader->ring->written, __ATOMIC_ACQUIRE) != reader->position;
}

bool weir_crew_are_rings_taken(const struct crew_worker *worker)
{
    for (uint32_t i = 0; i < worker->crew->config.workers_max; i++) {
        const struct weir_ring_writer *writer = &worker->to[i];
        if (i != worker->index &&
            __atomic_load_n(&writer->ring->drained, __ATOMIC_ACQUIRE) != writer->position) {
            return false;
        }
    }
    return true;
}

/* --- whose is it ------------------------------------------------------------------------------ */

enum place {
    PLACE_HERE,
    PLACE_PARK,
    PLACE_RING
};

/* Not here before those of the shards won with it that are parked. */
static enum place place_of(struct crew_worker *worker, uint32_t shard)
{
    if (worker->has_gained && worker->is_gained[shard]) {
        bool is_here = worker->is_owned[shard] && weir_crew_fifo_is_empty(&worker->park);
        return is_here ? PLACE_HERE : PLACE_PARK;
    }
    return worker->is_owned[shard] ? PLACE_HERE : PLACE_RING;
}

static bool park(struct crew_worker *worker, const struct weir_packet *packet, uint32_t shard)
{
    bool is_parked = write_packet(&worker->park.writer, packet, shard, worker->receive_at);
    crew_count(is_parked ? &worker->figures.stats.parked : &worker->figures.stats.blocked, 1);
    return is_parked;
}

/* To the worker that runs the shard, behind our fence. */
static bool send_on(struct crew_worker *worker, const struct weir_packet *packet, uint32_t shard)
{
    uint32_t to = crew_owner(worker->crew, shard, worker->seen.now);
    WEIR_ASSERT(to != worker->index);
    if ((worker->fences_out >> to & 1) != 0 ||
        !write_packet(&worker->to[to], packet, shard, worker->receive_at)) {
        crew_count(&worker->figures.stats.blocked, 1);
        return false;
    }
    crew_count(&worker->figures.stats.misrouted, 1);
    worker->woken |= UINT64_C(1) << to;
    return true;
}

/* --- sources ---------------------------------------------------------------------------------- */

/* What an earlier receive gave out in place has been used by now. */
static void give_back(struct crew_worker *worker)
{
    if (worker->lent != NULL) {
        struct weir_span pair[2];
        (void)weir_ring_peek_read(worker->lent, SIZE_MAX, pair);
        enum weir_status status = weir_ring_commit_read(worker->lent, worker->lent_bytes);
        WEIR_ASSERT(status == WEIR_OK);
        worker->lent = NULL;
        worker->lent_bytes = 0;
    }
}

static void lend(struct crew_worker *worker, struct weir_ring_reader *reader, size_t bytes)
{
    worker->is_moving |= bytes > 0;
    worker->lent = bytes > 0 ? reader : NULL;
    worker->lent_bytes = bytes;
}

static uint32_t receive_parked(struct crew_worker *worker, struct weir_packet *packets,
                               uint32_t packets_max)
{
    size_t bytes = 0;
    size_t used = 0;
    uint32_t count = 0;
    const struct crew_item *item = peek_items(&worker->park.reader, &bytes);
    while (used < bytes && count < packets_max && worker->is_owned[item->shard]) {
        worker->shard_of[count] = (uint8_t)item->shard;
        packets[count++] = packet_of(item);
        used += item_bytes(item->length);
        item = item_after(item);
    }
    lend(worker, &worker->park.reader, used);
    return count;
}

/* What is in hand finds its place in the order in which it came. */
static uint32_t receive_hand(struct crew_worker *worker, struct weir_packet *packets,
                             uint32_t packets_max)
{
    size_t bytes = 0;
    size_t used = 0;
    uint32_t count = 0;
    bool is_placed = true;
    const struct crew_item *item = peek_items(&worker->hand.reader, &bytes);
    while (used < bytes && count < packets_max) {
        struct weir_packet packet = packet_of(item);
        switch (place_of(worker, item->shard)) {
        case PLACE_HERE:
            worker->shard_of[count] = (uint8_t)item->shard;
            packets[count++] = packet;
            break;
        case PLACE_PARK:
            is_placed = park(worker, &packet, item->shard);
            break;
        case PLACE_RING:
            is_placed = send_on(worker, &packet, item->shard);
            break;
        }
        if (!is_placed) {
            break;
        }
        used += item_bytes(item->length);
        item = item_after(item);
    }
    lend(worker, &worker->hand.reader, used);
    return count;
}

static uint32_t receive_ring(struct crew_worker *worker, uint32_t from, struct weir_packet *packets,
                             uint32_t packets_max)
{
    size_t bytes = 0;
    size_t used = 0;
    uint32_t count = 0;
    uint32_t found = 0;
    const struct crew_item *item = peek_items(&worker->from[from], &bytes);
    for (; used < bytes && count < packets_max; item = item_after(item)) {
        if (item->length == CREW_FENCE) {
            if (item->shard != worker->seen.epoch) {
                break; /* we have not seen that change yet */
            }
            worker->fences_in &= ~(UINT64_C(1) << from);
            used += item_bytes(item->length);
            continue;
        }
        struct weir_packet packet = packet_of(item);
        enum place place = place_of(worker, item->shard);
        WEIR_ASSERT(place != PLACE_RING); /* nobody sends what is not ours */
        if (place == PLACE_PARK && !park(worker, &packet, item->shard)) {
            break;
        }
        if (place == PLACE_HERE) {
            worker->shard_of[count] = (uint8_t)item->shard;
            packets[count++] = packet;
        }
        weir_crew_note_delay(worker, worker->receive_at, item->written_at);
        found++;
        used += item_bytes(item->length);
    }
    crew_count(&worker->figures.stats.taken_in, found);
    weir_crew_note_found(worker, found);
    lend(worker, &worker->from[from], used);
    return count;
}

/* Keeps our own packets, in place; the others find theirs. */
static uint32_t sort_out(struct crew_worker *worker, struct weir_packet *packets, uint32_t count)
{
    const struct weir_crew_config *config = &worker->crew->config;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shard = config->route(config->route_user, &packets[i]);
        WEIR_ASSERT(shard < config->shards);
        enum place place = place_of(worker, shard);
        if (place == PLACE_HERE) {
            worker->shard_of[kept] = (uint8_t)shard;
            packets[kept++] = packets[i];
            continue;
        }
        bool is_placed = false;
        if (weir_crew_fifo_is_empty(&worker->hand)) {
            is_placed = place == PLACE_PARK ? park(worker, &packets[i], shard)
                                            : send_on(worker, &packets[i], shard);
        }
        /* The hand has room for rx_room_bytes. Some drivers give more, from memory of their own. */
        if (!is_placed &&
            !write_packet(&worker->hand.writer, &packets[i], shard, worker->receive_at)) {
            crew_count(&worker->figures.stats.dropped, 1);
        }
    }
    return kept;
}

/* What a receive is given. */
struct batch {
    weir_nsec now;
    struct weir_mut_span room;
    struct weir_packet *packets;
    uint32_t packets_max;
};

static enum weir_status receive_queue(struct crew_worker *worker, uint32_t queue,
                                      const struct batch *batch, uint32_t *count)
{
    struct weir_driver *inner = worker->crew->queues[queue];
    enum weir_status status = inner->ops->receive(inner, batch->now, batch->room, batch->packets,
                                                  batch->packets_max, count);
    if (status != WEIR_OK) {
        worker->driver.error = inner->error;
        return status;
    }
    worker->is_moving |= *count > 0;
    crew_count(&worker->figures.stats.packets, *count);
    bool is_full = inner->is_rx_full || *count == batch->packets_max;
    worker->is_left |= is_full;
    weir_crew_note_look(worker, queue, batch->now, *count, is_full);
    if (queue == worker->index && worker->is_steered && !worker->is_drained) {
        uint64_t bytes = *count; /* one of nothing is something, too */
        for (uint32_t i = 0; i < *count; i++) {
            bytes += batch->packets[i].length;
        }
        weir_crew_note_drained(worker, batch->now, bytes, !is_full);
    }
    *count = sort_out(worker, batch->packets, *count);
    return WEIR_OK;
}

/* Sources in turn: 0 what is parked, 1 what is in hand, then rings, then queues. */
static enum weir_status receive_source(struct crew_worker *worker, uint32_t source,
                                       const struct batch *batch, uint32_t *count)
{
    struct weir_packet *packets = batch->packets;
    uint32_t packets_max = batch->packets_max;
    uint32_t workers = worker->crew->config.workers_max;
    if (source == 0) {
        *count = receive_parked(worker, packets, packets_max);
    } else if (source == 1) {
        *count = receive_hand(worker, packets, packets_max);
    } else if (source < 2 + workers) {
        uint32_t from = source - 2;
        *count = from == worker->index ? 0 : receive_ring(worker, from, packets, packets_max);
    } else if (worker->reads[source - 2 - workers] && weir_crew_fifo_is_empty(&worker->hand)) {
        return receive_queue(worker, source - 2 - workers, batch, count);
    }
    return WEIR_OK;
}

static void wake_others(struct crew_worker *worker)
{
    for (; worker->woken != 0; worker->woken &= worker->woken - 1) {
        weir_crew_wake(&worker->crew->workers[__builtin_ctzll(worker->woken)]);
    }
}

/* More than what was given out last and not given back yet? */
static bool is_readable(const struct crew_worker *worker, const struct weir_ring_reader *reader)
{
    uint64_t lent = worker->lent == reader ? worker->lent_bytes : 0;
    return __atomic_load_n(&reader->ring->written, __ATOMIC_ACQUIRE) != reader->position + lent;
}

/* Once all shards are here what is parked goes first, to its end: under a load that keeps every
 * receive full it would never be empty otherwise, and no further change could begin. */
static bool is_source_over(const struct crew_worker *worker)
{
    return worker->source != 0 || worker->gained_count > 0 || worker->lent == NULL ||
           !is_readable(worker, &worker->park.reader);
}

static void begin_round(struct crew_worker *worker, weir_nsec now)
{
    uint64_t wakes = 0;
    if (__atomic_exchange_n(&worker->is_asleep, 0, __ATOMIC_ACQ_REL) != 0 &&
        worker->event_fd >= 0) {
        ssize_t n = read(worker->event_fd, &wakes, sizeof(wakes)); /* EAGAIN: nobody had to */
        (void)n;
    }
    worker->round_start = now;
    worker->is_moving = false;
    worker->is_left = false;
    crew_count(&worker->figures.stats.rounds, 1);
    weir_crew_measure(worker, now);
    weir_crew_handover(worker, now);
    weir_crew_look(worker, now);
    weir_crew_run_posts(worker, now);
}

/* From where the last one stopped, until something is for us or the round is over. */
static enum weir_status receive_some(struct crew_worker *worker, const struct batch *batch,
                                     uint32_t *count)
{
    uint32_t sources = 2 + 2 * worker->crew->config.workers_max;
    enum weir_status status = WEIR_OK;

    give_back(worker);
    if (worker->source == 0) {
        begin_round(worker, batch->now);
        if (!weir_crew_is_in(worker)) {
            return WEIR_OK; /* the others may be further already, and no fence tells so */
        }
    }
    while (status == WEIR_OK && *count == 0 && worker->source < sources) {
        give_back(worker);
        status = receive_source(worker, worker->source, batch, count);
        worker->source += is_source_over(worker);
    }
    worker->is_left |= *count == batch->packets_max;
    bool is_round_over = worker->source == sources;
    worker->driver.is_rx_full = worker->is_left || !is_round_over;
    worker->source = is_round_over ? 0 : worker->source;
    return status;
}

static enum weir_status crew_receive(struct weir_driver *driver, weir_nsec now,
                                     struct weir_mut_span room, struct weir_packet *packets,
                                     uint32_t packets_max, uint32_t *count)
{
    struct crew_worker *worker = (struct crew_worker *)(void *)driver;
    const struct batch batch = {now, room, packets, packets_max};
    *count = 0;
    worker->receive_at = now;
    enum weir_status status = receive_some(worker, &batch, count);
    /* The end of a round, where a source was left with more: the loop would take nothing for the
     * end of all, and send as if nobody waited. */
    if (status == WEIR_OK && *count == 0 && worker->source == 0 && worker->is_left) {
        status = receive_some(worker, &batch, count);
    }
    wake_others(worker); /* not only before we sleep: under full load we never do */
    return status;
}

/* --- the rest of the driver ------------------------------------------------------------------- */

static void copy_limits(struct crew_worker *worker)
{
    const struct weir_driver *inner = worker->crew->queues[worker->index];
    worker->driver.run_bytes_max = inner->run_bytes_max;
    worker->driver.run_segments_max = inner->run_segments_max;
    worker->driver.datagram_bytes_max = inner->datagram_bytes_max;
    worker->driver.headroom_bytes = inner->headroom_bytes;
    worker->driver.is_joined = inner->is_joined;
    worker->driver.is_unchecked = inner->is_unchecked;
    worker->driver.is_gathered = inner->is_gathered;
}

/* The queue takes nothing, and others wait for the shards that leave with us: what is left over is
 * lost then as it might be on the way. */
static enum weir_status give_up_unsent(struct crew_worker *worker, weir_nsec now, uint32_t count,
                                       uint32_t *sent)
{
    if (worker->blocked_at == 0) {
        worker->blocked_at = now;
    }
    if (now - worker->blocked_at < UNSENT_NS_MAX) {
        return WEIR_AGAIN;
    }
    crew_count(&worker->figures.stats.unsent, count - *sent);
    *sent = count;
    return WEIR_OK;
}

/* On our own queue: whoever read it before us has stopped when he saw that we come, and nobody
 * gives us a shard before that. */
static enum weir_status crew_send(struct weir_driver *driver, weir_nsec now,
                                  const struct weir_transmit *transmits, uint32_t count,
                                  uint32_t *sent)
{
    struct crew_worker *worker = (struct crew_worker *)(void *)driver;
    struct weir_driver *inner = worker->crew->queues[worker->index];
    *sent = 0;
    enum weir_status status = inner->ops->send(inner, now, transmits, count, sent);
    driver->error = inner->error;
    copy_limits(worker);
    if (status == WEIR_AGAIN && crew_is_leaving(worker)) {
        return give_up_unsent(worker, now, count, sent);
    }
    worker->blocked_at = 0;
    return status;
}

/* While anything is in hand no queue is read, so they must not keep us from waiting either. */
static int crew_fd(const struct weir_driver *driver)
{
    const struct crew_worker *worker = (const struct crew_worker *)(const void *)driver;
    return is_readable(worker, &worker->hand.reader) ? -1 : worker->epoll_fd;
}

static bool is_anything_readable(const struct crew_worker *worker)
{
    for (uint32_t i = 0; i < worker->crew->config.workers_max; i++) {
        if (i != worker->index && is_readable(worker, &worker->from[i])) {
            return true;
        }
    }
    return is_readable(worker, &worker->hand.reader) || is_readable(worker, &worker->park.reader) ||
           (worker->has_gained && worker->gained_count == 0) || weir_crew_has_posts(worker) ||
           weir_crew_is_handover_due(worker);
}

/* The last call before the loop waits: from here on the others have to wake us, so what they did
 * before they knew is looked for once more. What could not be read on is tried again in a
 * moment. */
static weir_nsec crew_next_timeout(const struct weir_driver *driver)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): no worker is const */
    struct crew_worker *worker = (struct crew_worker *)(uintptr_t)driver;
    weir_nsec deadline = WEIR_NEVER;

    wake_others(worker);
    (void)__atomic_exchange_n(&worker->is_asleep, 1, __ATOMIC_ACQ_REL);
    if (is_anything_readable(worker)) {
        deadline = worker->is_moving ? 0 : worker->round_start + BLOCKED_TICK_NS;
    }
    if (weir_loop_is_blocked(worker->loop)) {
        deadline = weir_min_u64(deadline, worker->round_start + UNSENT_TICK_NS);
    }
    if (__atomic_load_n(&worker->crew->is_stopping, __ATOMIC_ACQUIRE) != 0 ||
        __atomic_load_n(&worker->is_dismissed, __ATOMIC_ACQUIRE) != 0 || worker->is_ending) {
        deadline = 0;
    }
    if (worker->refused_count > 0) {
        deadline = weir_min_u64(deadline, worker->retry_at);
    }
    deadline = weir_min_u64(deadline, weir_crew_measure_due(worker));
    bool is_reading = !is_readable(worker, &worker->hand.reader); /* see crew_fd */
    for (uint32_t q = 0; is_reading && q < worker->crew->config.workers_max; q++) {
        if (worker->reads[q]) {
            const struct weir_driver *inner = worker->crew->queues[q];
            deadline = weir_min_u64(deadline, inner->ops->next_timeout(inner));
        }
    }
    return deadline;
}

static void crew_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops crew_ops = {
    .receive = crew_receive,
    .send = crew_send,
    .fd = crew_fd,
    .next_timeout = crew_next_timeout,
    .close = crew_close,
};

void weir_crew_driver_init(struct crew_worker *worker)
{
    const struct weir_crew *crew = worker->crew;
    worker->driver.ops = &crew_ops;
    worker->driver.local = crew->queues[worker->index]->local;
    for (uint32_t q = 0; q < crew->config.workers_max; q++) {
        if (crew->queues[q]->rx_room_bytes > worker->driver.rx_room_bytes) {
            worker->driver.rx_room_bytes = crew->queues[q]->rx_room_bytes;
        }
    }
    copy_limits(worker);
}
