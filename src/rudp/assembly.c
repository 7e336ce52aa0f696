/* SPDX-License-Identifier: MIT */
/*
 * assembly.c - fragmented messages coming in: each byte is copied once, to its final place.
 *
 * Bounds of a connection: delivery messages the receive window, which is charged as they begin, and
 * ASSEMBLIES_EARLY before their turn; the others the window's bytes and ASSEMBLIES_LOOSE at once.
 * Of all connections together: a quarter of the store and an eighth of the pool are kept for
 * delivery messages whose turn it is, so that what is early cannot starve what is due. What may be
 * lost gives way, the oldest first, whosever it is.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    ASSEMBLIES_LOOSE = 8,
    ASSEMBLIES_EARLY = 256,
    INLINE_RANGES = 4
};

/* Each guarantee has numbers of its own. A skip means a delivery message. */
static bool is_same(const struct assembly *assembly, const struct weir_rudp_message_frame *frame,
                    uint64_t number)
{
    return assembly->number == number && assembly->channel == frame->channel &&
           assembly->guarantee == weir_min_u64(frame->guarantee, WEIR_RUDP_DELIVERY);
}

struct assembly *weir_rudp_assembly_find(struct awake *awake,
                                         const struct weir_rudp_message_frame *frame,
                                         uint64_t number)
{
    struct assembly *previous = NULL;
    for (struct assembly *each = awake->assemblies; each != NULL; each = each->next) {
        if (is_same(each, frame, number)) {
            if (previous != NULL) { /* to the front: the next fragment is likely its */
                previous->next = each->next;
                each->next = awake->assemblies;
                awake->assemblies = each;
            }
            return each;
        }
        previous = each;
    }
    return NULL;
}

void weir_rudp_assembly_unlink(struct awake *awake, struct assembly *assembly)
{
    struct assembly **link = &awake->assemblies;
    while (*link != assembly) {
        WEIR_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = assembly->next;
    awake->assemblies_count--;
    if (assembly->guarantee < WEIR_RUDP_DELIVERY) {
        weir_list_remove(&awake->conn->endpoint->loose, &assembly->loose);
        awake->loose_bytes -= assembly->length;
        awake->loose_assemblies--;
    }
}

void weir_rudp_assembly_free(struct weir_rudp *ep, struct assembly *assembly)
{
    struct weir_reassembly *whole = &assembly->reassembly;
    if (whole->buffer != NULL) {
        weir_store_give(ep->assembly_store, whole->buffer, assembly->length);
    }
    if (whole->ranges.items != assembly->inline_ranges) {
        weir_store_give(ep->assembly_store, whole->ranges.items,
                        assembly->gaps_max * sizeof(struct weir_range));
    }
    ep->held_bytes -= assembly->length;
    weir_pool_give(&ep->assemblies, assembly);
}

static void give_up(struct assembly *assembly)
{
    struct weir_rudp_conn *conn = assembly->conn;
    weir_rudp_assembly_unlink(conn->awake, assembly);
    weir_rudp_assembly_free(conn->endpoint, assembly);
    weir_rudp_count_drop(conn->endpoint, WEIR_RUDP_DROP_NO_ROOM);
    weir_rudp_conn_ready(conn); /* it may be quiet now */
}

/* The connection's own that was touched longest ago is last on its list. */
static void give_up_own(struct weir_rudp_conn *conn)
{
    struct assembly *last = NULL;
    for (struct assembly *each = conn->awake->assemblies; each != NULL; each = each->next) {
        last = each->guarantee < WEIR_RUDP_DELIVERY ? each : last;
    }
    WEIR_ASSERT(last != NULL);
    give_up(last);
}

static bool has_room(const struct weir_rudp *ep, uint64_t length, bool is_head)
{
    size_t budget = ep->config.assembly_bytes;
    size_t allowed = is_head ? budget : budget - budget / 4;
    uint32_t kept = is_head ? 0 : ep->config.held_max / 8;
    return weir_store_used_bytes(ep->assembly_store) + weir_store_block_bytes(length) <= allowed &&
           weir_pool_left(&ep->assemblies) > kept;
}

static bool make_room(struct weir_rudp_conn *conn, const struct weir_rudp_message_frame *frame,
                      bool is_head)
{
    const struct weir_rudp *ep = conn->endpoint;
    const struct awake *awake = conn->awake;
    uint64_t window = ep->config.receive_window_bytes;
    if (frame->guarantee < WEIR_RUDP_DELIVERY) {
        while (awake->loose_assemblies >= ASSEMBLIES_LOOSE ||
               (awake->loose_bytes > 0 && awake->loose_bytes + frame->total > window)) {
            give_up_own(conn);
        }
    } else if (!is_head && awake->assemblies_count >= ASSEMBLIES_EARLY) {
        return false;
    }
    while (!has_room(ep, frame->total, is_head)) {
        struct weir_link *oldest = weir_list_first(&ep->loose);
        if (oldest == NULL) {
            return false;
        }
        give_up(WEIR_CONTAINER(oldest, struct assembly, loose));
    }
    return true;
}

struct assembly *weir_rudp_assembly_open(struct weir_rudp_conn *conn,
                                         const struct weir_rudp_message_frame *frame,
                                         uint64_t number, bool is_head)
{
    struct weir_rudp *ep = conn->endpoint;
    struct awake *awake = conn->awake;
    bool is_loose = frame->guarantee < WEIR_RUDP_DELIVERY;
    if (!make_room(conn, frame, is_head)) {
        return NULL;
    }
    struct assembly *assembly = weir_pool_take(&ep->assemblies);
    if (assembly == NULL) {
        return NULL;
    }
    uint8_t *buffer = weir_store_take(ep->assembly_store, frame->total);
    if (buffer == NULL) {
        weir_pool_give(&ep->assemblies, assembly);
        return NULL;
    }
    memset(assembly, 0, sizeof(*assembly));
    assembly->conn = conn;
    assembly->number = number;
    assembly->length = (uint32_t)frame->total;
    assembly->gaps_max = INLINE_RANGES;
    assembly->channel = frame->channel;
    assembly->guarantee = frame->guarantee;
    weir_reassembly_init(&assembly->reassembly, buffer, frame->total, assembly->inline_ranges,
                         INLINE_RANGES);
    assembly->next = awake->assemblies;
    awake->assemblies = assembly;
    awake->assemblies_count++;
    if (is_loose) {
        weir_list_append(&ep->loose, &assembly->loose);
        awake->loose_bytes += assembly->length;
        awake->loose_assemblies++;
    }
    ep->held_bytes += assembly->length;
    ep->stats.held_bytes_peak = weir_max_u64(ep->stats.held_bytes_peak, ep->held_bytes);
    return assembly;
}

static bool grow_ranges(struct weir_rudp *ep, struct assembly *assembly)
{
    uint32_t max = assembly->gaps_max * 4;
    if (max > GAPS_MAX) {
        return false;
    }
    struct weir_ranges *ranges = &assembly->reassembly.ranges;
    struct weir_range *items = weir_store_take(ep->assembly_store, max * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    memcpy(items, ranges->items, ranges->count * sizeof(*items));
    if (ranges->items != assembly->inline_ranges) {
        weir_store_give(ep->assembly_store, ranges->items, assembly->gaps_max * sizeof(*items));
    }
    ranges->items = items;
    ranges->max = assembly->gaps_max = max;
    return true;
}

enum weir_status weir_rudp_assembly_add(struct weir_rudp *ep, struct assembly *assembly,
                                        const struct weir_rudp_message_frame *frame)
{
    uint64_t added;
    if (frame->total != assembly->length) {
        return WEIR_ERR_INVALID;
    }
    for (;;) {
        enum weir_status status =
            weir_reassembly_add(&assembly->reassembly, frame->offset, frame->data, &added);
        if (status != WEIR_ERR_FULL || !grow_ranges(ep, assembly)) {
            return status;
        }
    }
}
