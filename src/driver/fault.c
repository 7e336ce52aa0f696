/* SPDX-License-Identifier: MIT */
/*
 * fault.c - see weir_fault_open in weir/wrap.h.
 *
 *   send    -> out rules -> leaving  -> (when due) gather -> inner send
 *   receive <- in  rules <- inner receive; arriving -> (when due) the caller's room
 *
 * Both queues share the memory of one struct weir_flight. A packet that is due to leave goes out
 * with the next receive or send; next_timeout announces it, so that a loop makes that call.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "driver/flight.h"
#include "driver/gather.h"
#include "driver/impair.h"
#include "weir/wrap.h"

enum {
    BYTES_MAX_DEFAULT = 16 << 20,
    BYTES_PER_PACKET = 256, /* bytes_max is filled by packets down to this size */
    PACKETS_MAX = 1 << 20,
    BATCH_PATHS_MAX = 64,
    INNER_PACKETS_MAX = 1024,
    RECEIVES_MAX = 8 /* of the inner driver in one receive */
};

/* How long to wait before a send that the inner driver had no room for is tried again. */
static const weir_nsec blocked_wait = WEIR_MSEC;

struct fault {
    struct weir_driver driver;
    struct weir_driver *inner;
    struct weir_flight flight;
    struct weir_flight_queue leaving, arriving;
    struct weir_impair out, in;
    struct weir_gather gather;
    weir_nsec blocked_until; /* 0 unless the inner driver had no room */
    struct weir_mut_span inner_room;
    struct weir_packet inner_packets[INNER_PACKETS_MAX];
    uint32_t paths_count;
    struct weir_path paths[BATCH_PATHS_MAX]; /* of the last receive */
};

static struct fault *fault_of(struct weir_driver *driver)
{
    return (struct fault *)(void *)driver; /* driver is its first member */
}

static enum weir_status keep_error(struct fault *fault, enum weir_status status)
{
    if (status == WEIR_ERR_OS) {
        fault->driver.error = fault->inner->error;
    }
    return status;
}

/* Sends what is gathered. WEIR_AGAIN leaves it there and says when to try again. */
static enum weir_status send_gathered(struct fault *fault, weir_nsec now)
{
    enum weir_status status = weir_gather_send(&fault->gather, fault->inner, now);
    fault->blocked_until = status == WEIR_AGAIN ? now + blocked_wait : 0;
    fault->driver.stats.tx_dropped = fault->inner->stats.tx_dropped;
    return keep_error(fault, status);
}

/* Hands the inner driver what is due to leave. WEIR_AGAIN is no failure: the rest goes later. */
static enum weir_status flush_leaving(struct fault *fault, weir_nsec now)
{
    while (weir_flight_next(&fault->flight, &fault->leaving) <= now) {
        const struct weir_flight_packet *first = weir_flight_first(&fault->flight, &fault->leaving);
        if (first == NULL) {
            break;
        }
        if (!weir_gather_add(&fault->gather, fault->inner, &fault->flight, first)) {
            enum weir_status status = send_gathered(fault, now);
            if (status != WEIR_OK) {
                return status == WEIR_AGAIN ? WEIR_OK : status;
            }
            continue;
        }
        fault->out.stats.delivered++;
        fault->out.stats.delivered_bytes += first->length;
        weir_flight_pop(&fault->flight, &fault->leaving);
    }
    enum weir_status status = send_gathered(fault, now);
    return status == WEIR_AGAIN ? WEIR_OK : status;
}

static enum weir_status take_inner(struct fault *fault, weir_nsec now)
{
    for (uint32_t call = 0; call < RECEIVES_MAX; call++) {
        uint32_t count = 0;
        enum weir_status status = fault->inner->ops->receive(
            fault->inner, now, fault->inner_room, fault->inner_packets, INNER_PACKETS_MAX, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct weir_packet *packet = &fault->inner_packets[i];
            struct weir_flight_datagram datagram = {.data =
                                                        weir_span_of(packet->data, packet->length),
                                                    .path = *packet->path,
                                                    .mark = {.segment_bytes = packet->segment_bytes,
                                                             .protocol = packet->protocol,
                                                             .is_checked = packet->is_checked},
                                                    .ecn = packet->ecn};
            weir_flight_offer(&fault->flight, &fault->arriving, &fault->in, now, &datagram);
        }
        bool is_more = fault->inner->is_rx_full || count == INNER_PACKETS_MAX;
        if (status != WEIR_OK || count == 0 || !is_more) {
            return keep_error(fault, status);
        }
    }
    return WEIR_OK;
}

static bool is_same_path(const struct weir_path *a, const struct weir_path *b)
{
    return weir_addr_is_equal(&a->remote, &b->remote) && weir_addr_is_equal(&a->local, &b->local);
}

/* The index of path in this batch's array; BATCH_PATHS_MAX when there is no room for it. */
static uint32_t add_path(struct fault *fault, const struct weir_path *path)
{
    uint32_t i = 0;
    while (i < fault->paths_count && !is_same_path(&fault->paths[i], path)) {
        i++;
    }
    if (i == fault->paths_count && i < BATCH_PATHS_MAX) {
        fault->paths[fault->paths_count++] = *path;
    }
    return i;
}

static uint32_t hand_out_arrived(struct fault *fault, weir_nsec now, struct weir_mut_span room,
                                 struct weir_packet *packets, uint32_t packets_max)
{
    struct weir_flight *flight = &fault->flight;
    size_t used = 0;
    uint32_t received = 0;
    fault->paths_count = 0;
    while (received < packets_max && weir_flight_next(flight, &fault->arriving) <= now) {
        const struct weir_flight_packet *first = weir_flight_first(flight, &fault->arriving);
        if (first == NULL || first->length > room.length - used) {
            break;
        }
        uint32_t path = add_path(fault, &first->path);
        if (path == BATCH_PATHS_MAX) {
            break;
        }
        weir_flight_copy(flight, first, room.data + used);
        packets[received++] = (struct weir_packet){.data = room.data + used,
                                                   .length = first->length,
                                                   .segment_bytes = first->mark.segment_bytes,
                                                   .ecn = first->ecn,
                                                   .protocol = first->mark.protocol,
                                                   .is_checked = first->mark.is_checked,
                                                   .path = &fault->paths[path]};
        used += first->length;
        weir_flight_pop(flight, &fault->arriving);
    }
    fault->driver.is_rx_full = weir_flight_next(flight, &fault->arriving) <= now;
    fault->in.stats.delivered += received;
    fault->in.stats.delivered_bytes += used;
    fault->driver.stats.rx_datagrams += received;
    fault->driver.stats.rx_bytes += used;
    return received;
}

static enum weir_status receive(struct weir_driver *driver, weir_nsec now,
                                struct weir_mut_span room, struct weir_packet *packets,
                                uint32_t packets_max, uint32_t *count)
{
    struct fault *fault = fault_of(driver);
    WEIR_ASSERT(room.length >= driver->rx_room_bytes);
    driver->stats.rx_calls++;
    *count = 0;
    enum weir_status status = flush_leaving(fault, now);
    if (status == WEIR_OK) {
        status = take_inner(fault, now);
    }
    driver->stats.rx_truncated = fault->inner->stats.rx_truncated;
    if (status == WEIR_OK) {
        *count = hand_out_arrived(fault, now, room, packets, packets_max);
    }
    return status;
}

static void offer_run(struct fault *fault, weir_nsec now, const struct weir_transmit *run)
{
    WEIR_ASSERT(run->length == 0 || run->segment_bytes > 0 ||
                run->protocol != WEIR_PROTOCOL_DATAGRAM);
    struct weir_flight_datagram datagram = {
        .path = run->path, .mark = {.protocol = run->protocol}, .ecn = run->ecn};
    uint32_t off = 0;
    do {
        /* Frames and TCP segments are whole; without offloads nobody joins them. */
        uint64_t length = run->protocol == WEIR_PROTOCOL_DATAGRAM
                              ? weir_min_u64(run->segment_bytes, run->length - off)
                              : run->length;
        datagram.data = weir_span_of(run->data + off, length);
        weir_flight_offer(&fault->flight, &fault->leaving, &fault->out, now, &datagram);
        fault->driver.stats.tx_datagrams++;
        off += (uint32_t)length;
    } while (off < run->length);
    fault->driver.stats.tx_bytes += run->length;
}

static enum weir_status send(struct weir_driver *driver, weir_nsec now,
                             const struct weir_transmit *transmits, uint32_t count, uint32_t *sent)
{
    struct fault *fault = fault_of(driver);
    driver->stats.tx_calls++;
    for (uint32_t i = 0; i < count; i++) {
        offer_run(fault, now, &transmits[i]);
    }
    *sent = count;
    return flush_leaving(fault, now);
}

static int fd(const struct weir_driver *driver)
{
    const struct fault *fault = (const struct fault *)(const void *)driver;
    return fault->inner->ops->fd(fault->inner);
}

static weir_nsec next_timeout(const struct weir_driver *driver)
{
    const struct fault *fault = (const struct fault *)(const void *)driver;
    weir_nsec leaving = weir_flight_next(&fault->flight, &fault->leaving);
    if (fault->blocked_until != 0) {
        leaving = fault->blocked_until;
    }
    weir_nsec next = weir_min_u64(leaving, weir_flight_next(&fault->flight, &fault->arriving));
    return weir_min_u64(next, fault->inner->ops->next_timeout(fault->inner));
}

static void free_fault(struct fault *fault)
{
    weir_flight_close(&fault->flight);
    weir_gather_close(&fault->gather);
    free(fault->inner_room.data);
    free(fault);
}

static void close_fault(struct weir_driver *driver)
{
    struct fault *fault = fault_of(driver);
    fault->inner->ops->close(fault->inner);
    free_fault(fault);
}

static const struct weir_driver_ops fault_ops = {
    .receive = receive, .send = send, .fd = fd, .next_timeout = next_timeout, .close = close_fault};

static struct weir_driver wrap_inner(const struct weir_driver *inner)
{
    return (struct weir_driver){.ops = &fault_ops,
                                .rx_room_bytes = WEIR_IMPAIR_DATAGRAM_MAX,
                                .run_bytes_max = inner->run_bytes_max,
                                .run_segments_max = inner->run_segments_max,
                                .datagram_bytes_max = inner->datagram_bytes_max,
                                .local = inner->local};
}

static enum weir_status open_memory(struct fault *fault, size_t bytes_max)
{
    uint64_t packets_max = weir_min_u64(bytes_max / BYTES_PER_PACKET + 1, PACKETS_MAX);
    enum weir_status status = weir_flight_open(&fault->flight, (uint32_t)packets_max, bytes_max);
    if (status == WEIR_OK) {
        status = weir_gather_open(&fault->gather);
    }
    fault->inner_room.length = fault->inner->rx_room_bytes;
    fault->inner_room.data = malloc(fault->inner_room.length);
    return status == WEIR_OK && fault->inner_room.data == NULL ? WEIR_ERR_MEMORY : status;
}

enum weir_status weir_fault_open(struct weir_driver *inner, uint64_t seed,
                                 const struct weir_sim_link *out, const struct weir_sim_link *in,
                                 size_t bytes_max, struct weir_driver **driver)
{
    struct fault *fault = calloc(1, sizeof(*fault));
    if (fault == NULL) {
        return WEIR_ERR_MEMORY;
    }
    fault->driver = wrap_inner(inner);
    fault->inner = inner;
    weir_flight_queue_init(&fault->leaving);
    weir_flight_queue_init(&fault->arriving);
    struct weir_prng seeds;
    weir_prng_init(&seeds, seed);
    weir_impair_init(&fault->out, weir_prng_next(&seeds));
    weir_impair_init(&fault->in, weir_prng_next(&seeds));
    enum weir_status status = weir_impair_set_link(&fault->out, out);
    if (status == WEIR_OK) {
        status = weir_impair_set_link(&fault->in, in);
    }
    if (status == WEIR_OK) {
        status = open_memory(fault, bytes_max == 0 ? BYTES_MAX_DEFAULT : bytes_max);
    }
    if (status != WEIR_OK) {
        free_fault(fault);
        return status;
    }
    *driver = &fault->driver;
    return WEIR_OK;
}

void weir_fault_stats(const struct weir_driver *driver, struct weir_sim_stats *out,
                      struct weir_sim_stats *in)
{
    const struct fault *fault = (const struct fault *)(const void *)driver;
    WEIR_ASSERT(driver->ops == &fault_ops);
    *out = fault->out.stats;
    *in = fault->in.stats;
}
