/* SPDX-License-Identifier: MIT */
/*
 * flight.c - see flight.h.
 *
 * Payloads lie in chains of equal chunks instead of blocks of their own size: nothing fragments, so
 * the bound on bytes is exact and does not depend on the order of sizes.
 */
#include "driver/flight.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum {
    CHUNK_BYTES = 508,
    PACKETS_MAX = 1 << 24
};

static const size_t flight_bytes_max = (size_t)1 << 36;

struct chunk {
    uint32_t next; /* WEIR_POOL_NONE at the chain's end */
    uint8_t bytes[CHUNK_BYTES];
};

enum weir_status weir_flight_open(struct weir_flight *flight, uint32_t packets_max,
                                  size_t bytes_max)
{
    *flight = (struct weir_flight){0};
    if (packets_max == 0 || packets_max > PACKETS_MAX || bytes_max == 0 ||
        bytes_max > flight_bytes_max) {
        return WEIR_ERR_INVALID;
    }
    /* Each datagram leaves at most one chunk partly used. */
    uint32_t chunks_max = packets_max + (uint32_t)(bytes_max / CHUNK_BYTES);
    void *packets = malloc(weir_pool_mem_size(sizeof(struct weir_flight_packet), packets_max));
    void *chunks = malloc(weir_pool_mem_size(sizeof(struct chunk), chunks_max));
    if (packets == NULL || chunks == NULL) {
        free(packets);
        free(chunks);
        return WEIR_ERR_MEMORY;
    }
    weir_pool_init(&flight->packets, packets, sizeof(struct weir_flight_packet), packets_max);
    weir_pool_init(&flight->chunks, chunks, sizeof(struct chunk), chunks_max);
    flight->bytes_max = bytes_max;
    return WEIR_OK;
}

void weir_flight_close(struct weir_flight *flight)
{
    free(flight->packets.base);
    free(flight->chunks.base);
    *flight = (struct weir_flight){0};
}

static struct weir_flight_packet *packet_at(const struct weir_flight *flight, uint32_t index)
{
    return (struct weir_flight_packet *)weir_pool_at(&flight->packets, index);
}

static struct chunk *chunk_at(const struct weir_flight *flight, uint32_t index)
{
    return (struct chunk *)weir_pool_at(&flight->chunks, index);
}

static uint32_t store_payload(struct weir_flight *flight, struct weir_span data)
{
    uint32_t first = WEIR_POOL_NONE;
    uint32_t *link = &first;
    for (size_t off = 0; off < data.length; off += CHUNK_BYTES) {
        struct chunk *chunk = (struct chunk *)weir_pool_take(&flight->chunks);
        WEIR_ASSERT(chunk != NULL); /* open made enough for packets_max and bytes_max */
        memcpy(chunk->bytes, data.data + off, weir_min_u64(data.length - off, CHUNK_BYTES));
        *link = weir_pool_index(&flight->chunks, chunk);
        link = &chunk->next;
    }
    *link = WEIR_POOL_NONE;
    flight->bytes += data.length;
    return first;
}

static void release_payload(struct weir_flight *flight, const struct weir_flight_packet *packet)
{
    uint32_t index = packet->chunk;
    while (index != WEIR_POOL_NONE) {
        struct chunk *chunk = chunk_at(flight, index);
        index = chunk->next;
        weir_pool_give(&flight->chunks, chunk);
    }
    flight->bytes -= packet->length;
}

static void flip_bit(struct weir_flight *flight, const struct weir_flight_packet *packet,
                     uint32_t bit)
{
    struct chunk *chunk = chunk_at(flight, packet->chunk);
    uint32_t off = bit / 8;
    for (; off >= CHUNK_BYTES; off -= CHUNK_BYTES) {
        chunk = chunk_at(flight, chunk->next);
    }
    chunk->bytes[off] ^= (uint8_t)(1U << (bit % 8));
}

static bool is_before(const struct weir_flight_packet *a, const struct weir_flight_packet *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

/* Joins two heaps, either of which may be NONE. */
static uint32_t meld(const struct weir_flight *flight, uint32_t a, uint32_t b)
{
    if (a == WEIR_POOL_NONE || b == WEIR_POOL_NONE) {
        return a == WEIR_POOL_NONE ? b : a;
    }
    if (is_before(packet_at(flight, b), packet_at(flight, a))) {
        uint32_t swap = a;
        a = b;
        b = swap;
    }
    packet_at(flight, b)->sibling = packet_at(flight, a)->child;
    packet_at(flight, a)->child = b;
    return a;
}

/* One heap out of the list of a removed root's children: pairs from the front, then all pairs from
 * the back. This order is what makes pop O(log n) amortized. */
static uint32_t meld_children(const struct weir_flight *flight, uint32_t child)
{
    uint32_t pairs = WEIR_POOL_NONE;
    while (child != WEIR_POOL_NONE) {
        uint32_t a = child;
        uint32_t b = packet_at(flight, a)->sibling;
        child = b == WEIR_POOL_NONE ? WEIR_POOL_NONE : packet_at(flight, b)->sibling;
        uint32_t pair = meld(flight, a, b);
        packet_at(flight, pair)->sibling = pairs;
        pairs = pair;
    }
    uint32_t root = WEIR_POOL_NONE;
    while (pairs != WEIR_POOL_NONE) {
        uint32_t next = packet_at(flight, pairs)->sibling;
        root = meld(flight, root, pairs);
        pairs = next;
    }
    return root;
}

/* False when a bound refuses it. */
static bool add_copy(struct weir_flight *flight, struct weir_flight_queue *queue,
                     const struct weir_flight_datagram *datagram,
                     const struct weir_impair_copy *copy, uint8_t ecn)
{
    if (datagram->data.length > flight->bytes_max - flight->bytes) {
        return false;
    }
    struct weir_flight_packet *packet =
        (struct weir_flight_packet *)weir_pool_take(&flight->packets);
    if (packet == NULL) {
        return false;
    }
    *packet = (struct weir_flight_packet){.at = copy->at,
                                          .sequence = flight->sequence++,
                                          .tag = datagram->tag,
                                          .path = datagram->path,
                                          .length = (uint32_t)datagram->data.length,
                                          .chunk = store_payload(flight, datagram->data),
                                          .child = WEIR_POOL_NONE,
                                          .sibling = WEIR_POOL_NONE,
                                          .mark = datagram->mark,
                                          .ecn = ecn};
    for (uint8_t i = 0; i < copy->flips_count; i++) {
        flip_bit(flight, packet, copy->flips[i]);
    }
    queue->root = meld(flight, queue->root, weir_pool_index(&flight->packets, packet));
    queue->count++;
    return true;
}

void weir_flight_offer(struct weir_flight *flight, struct weir_flight_queue *queue,
                       struct weir_impair *impair, weir_nsec now,
                       const struct weir_flight_datagram *datagram)
{
    struct weir_impair_packet packet = {.length = (uint32_t)datagram->data.length,
                                        .family = datagram->path.remote.family,
                                        .ecn = datagram->ecn,
                                        .is_bare = datagram->path.local.port == 0 &&
                                                   datagram->path.remote.port == 0};
    struct weir_impair_verdict verdict;
    weir_impair_decide(impair, now, &packet, &verdict);
    for (uint8_t i = 0; i < verdict.copies_count; i++) {
        if (!add_copy(flight, queue, datagram, &verdict.copies[i], verdict.ecn)) {
            impair->stats.overflow_dropped++;
        }
    }
}

const struct weir_flight_packet *weir_flight_first(const struct weir_flight *flight,
                                                   const struct weir_flight_queue *queue)
{
    return queue->root == WEIR_POOL_NONE ? NULL : packet_at(flight, queue->root);
}

weir_nsec weir_flight_next(const struct weir_flight *flight, const struct weir_flight_queue *queue)
{
    const struct weir_flight_packet *first = weir_flight_first(flight, queue);
    return first == NULL ? WEIR_NEVER : first->at;
}

void weir_flight_copy(const struct weir_flight *flight, const struct weir_flight_packet *packet,
                      uint8_t *out)
{
    uint32_t index = packet->chunk;
    for (size_t off = 0; off < packet->length; off += CHUNK_BYTES) {
        const struct chunk *chunk = chunk_at(flight, index);
        memcpy(out + off, chunk->bytes, weir_min_u64(packet->length - off, CHUNK_BYTES));
        index = chunk->next;
    }
}

void weir_flight_pop(struct weir_flight *flight, struct weir_flight_queue *queue)
{
    WEIR_ASSERT(queue->root != WEIR_POOL_NONE);
    struct weir_flight_packet *first = packet_at(flight, queue->root);
    queue->root = meld_children(flight, first->child);
    queue->count--;
    release_payload(flight, first);
    weir_pool_give(&flight->packets, first);
}
