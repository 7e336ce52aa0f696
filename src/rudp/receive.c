/* SPDX-License-Identifier: MIT */
/*
 * receive.c - messages in: duplicates, order, holding what is early, handing out.
 *
 * A message of a set may be handed out once every delivery message of earlier sets has been. The
 * sender tells how many those are (the barrier): so it is enough that receive_next, below which
 * nothing is missing, has reached the barrier and that what is held is handed out by set.
 */
#include <string.h>

#include "rudp/internal.h"

/* A message with its numbers widened to 64 bits. */
struct arrival {
    struct channel *channel;
    const struct weir_rudp_message_frame *frame;
    uint64_t mid, dseq, sid, barrier;
    bool is_delivery;
};

/* What the fragments of a message have in common. No two delivery messages have a dseq in common,
 * whatever a peer says of their mid: so only one of a channel is the one whose turn it is. */
static uint64_t number_of(const struct arrival *arrival)
{
    return arrival->is_delivery ? arrival->dseq : arrival->mid;
}

static uint64_t widen(uint64_t near, uint32_t low)
{
    return near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near);
}

/* --- the receive window ----------------------------------------------------------------------- */

bool weir_rudp_credit_is_due(const struct weir_rudp_conn *conn)
{
    uint64_t window = conn->endpoint->config.receive_window_bytes;
    uint64_t limit = conn->receive_consumed + window;
    uint64_t left = conn->receive_limit - conn->receive_charged;
    if (conn->is_paused || limit <= conn->receive_limit) {
        return false;
    }
    /* Once nothing is on its way that would grant more later, the longest message must fit. */
    bool is_last = conn->receive_consumed == conn->receive_charged &&
                   left < conn->endpoint->config.message_bytes_max + (uint64_t)MESSAGE_COST_BYTES;
    return is_last || limit - conn->receive_limit >= window / 4;
}

void weir_rudp_receive_credit(struct weir_rudp_conn *conn)
{
    if (weir_rudp_credit_is_due(conn)) {
        if (weir_rudp_conn_wake(conn)) {
            conn->awake->is_credit_wanted = true;
        }
        weir_rudp_conn_ready(conn); /* dormant, it tries to wake by its timer */
    }
}

static void consume(struct weir_rudp_conn *conn, uint64_t cost)
{
    conn->receive_consumed += cost;
    weir_rudp_receive_credit(conn);
}

/* A message costs as much as it will have in the end, from its first bytes on. */
static uint64_t cost_of(uint64_t length)
{
    return length + MESSAGE_COST_BYTES;
}

static bool charge(struct weir_rudp_conn *conn, uint64_t cost)
{
    conn->receive_charged += cost;
    return conn->receive_charged <= conn->receive_limit;
}

/* --- handing out ------------------------------------------------------------------------------ */

static void fill_event(struct weir_rudp_conn *conn, struct weir_rudp_event *event,
                       struct weir_span data, uint8_t channel, uint8_t guarantee)
{
    conn->messages_received++;
    event->type = WEIR_RUDP_EVENT_MESSAGE;
    event->conn = conn;
    event->message.data = data;
    event->message.channel = channel;
    event->message.guarantee = (enum weir_rudp_guarantee)guarantee;
}

/* After receive_next has risen or something was released: is the next held one due? */
static void check_held(struct weir_rudp_conn *conn, const struct channel *channel)
{
    if (channel->held_first != NULL && channel->held_first->barrier <= channel->receive_next) {
        weir_rudp_conn_pend_release(conn);
    }
}

static void hand_out(struct weir_rudp_conn *conn, const struct arrival *arrival,
                     struct weir_span data, struct weir_rudp_event *event)
{
    struct channel *channel = arrival->channel;
    if (arrival->frame->guarantee != WEIR_RUDP_NONE) { /* those have no place in the order */
        channel->receive_sid = weir_max_u64(channel->receive_sid, arrival->sid);
    }
    fill_event(conn, event, data, arrival->frame->channel, arrival->frame->guarantee);
    if (arrival->is_delivery) {
        consume(conn, cost_of(data.length));
        check_held(conn, channel);
    }
}

/* --- holding ---------------------------------------------------------------------------------- */

enum {
    HELD_LOOSE_MAX = 1024, /* a connection's order messages, which no window limits */
    HELD_STEPS_MAX = 4096  /* of the search for a place; a peer that jumps about gets no further */
};

static uint64_t distance(const struct held *held, uint64_t sid)
{
    return held->sid > sid ? held->sid - sid : sid - held->sid;
}

/* The one behind which sid belongs, NULL for the front. Looks from the nearest of both ends and
 * from where the last one went, because retransmissions come in runs. false: too far from all. */
static bool find_place(const struct channel *channel, uint64_t sid, struct held **place)
{
    unsigned steps = HELD_STEPS_MAX;
    struct held *after = channel->held_last;
    if (after != NULL && after->sid > sid) {
        if (distance(channel->held_first, sid) < distance(after, sid)) {
            after = channel->held_first;
        }
        if (channel->held_finger != NULL &&
            distance(channel->held_finger, sid) < distance(after, sid)) {
            after = channel->held_finger;
        }
        while (after->next != NULL && after->next->sid <= sid && --steps > 0) {
            after = after->next;
        }
        while (after != NULL && after->sid > sid && --steps > 0) {
            after = after->previous;
        }
    }
    *place = after;
    return steps > 0;
}

/* Sorted by set. */
static void insert_held(struct channel *channel, struct held *held, struct held *after)
{
    held->previous = after;
    held->next = after == NULL ? channel->held_first : after->next;
    *(held->previous == NULL ? &channel->held_first : &held->previous->next) = held;
    *(held->next == NULL ? &channel->held_last : &held->next->previous) = held;
    channel->held_finger = held;
}

static void unlink_held(struct channel *channel, struct held *held)
{
    *(held->previous == NULL ? &channel->held_first : &held->previous->next) = held->next;
    *(held->next == NULL ? &channel->held_last : &held->next->previous) = held->previous;
    if (channel->held_finger == held) {
        channel->held_finger = held->previous != NULL ? held->previous : held->next;
    }
}

static void free_held(struct weir_rudp *ep, struct held *held)
{
    if (held->assembly != NULL) {
        weir_rudp_assembly_free(ep, held->assembly);
    } else {
        weir_slide_drop(ep->config.slide, &held->hold);
        ep->held_bytes -= held->length;
    }
    weir_pool_give(&ep->helds, held);
}

/* Half of the pool is the most that one connection may have; an eighth is kept for delivery
 * messages. */
static bool may_hold(const struct weir_rudp_conn *conn, bool is_delivery)
{
    const struct weir_rudp *ep = conn->endpoint;
    uint32_t count = conn->awake->held_count;
    if (count > ep->config.held_max / 2) {
        return false;
    }
    return is_delivery ||
           (count < HELD_LOOSE_MAX && weir_pool_left(&ep->helds) >= ep->config.held_max / 8);
}

/* Keeps a whole message until its turn. assembly: its bytes, NULL when they are data in a packet.
 * What is refused and has the delivery guarantee comes again. */
static bool hold(struct weir_rudp_conn *conn, const struct arrival *arrival, struct weir_span data,
                 struct assembly *assembly)
{
    struct weir_rudp *ep = conn->endpoint;
    struct held *after;
    if (!may_hold(conn, arrival->is_delivery) ||
        !find_place(arrival->channel, arrival->sid, &after)) {
        return false;
    }
    struct held *held = weir_pool_take(&ep->helds);
    if (held == NULL) {
        return false;
    }
    *held = (struct held){.sid = arrival->sid,
                          .barrier = arrival->barrier,
                          .assembly = assembly,
                          .length = (uint32_t)data.length,
                          .guarantee = arrival->frame->guarantee};
    if (assembly == NULL) {
        if (weir_slide_hold(ep->config.slide, &held->hold, data) != WEIR_OK) {
            weir_pool_give(&ep->helds, held);
            return false;
        }
        ep->held_bytes += held->length;
        ep->stats.held_bytes_peak = weir_max_u64(ep->stats.held_bytes_peak, ep->held_bytes);
    }
    insert_held(arrival->channel, held, after);
    conn->awake->held_count++;
    conn->awake->held_bytes += held->length;
    return true;
}

void weir_rudp_release_current(struct weir_rudp *ep)
{
    if (ep->current_assembly != NULL) {
        weir_rudp_assembly_free(ep, ep->current_assembly);
        ep->current_assembly = NULL;
    }
    if (ep->current_held != NULL) {
        free_held(ep, ep->current_held);
        ep->current_held = NULL;
    }
}

static void take_out(struct weir_rudp_conn *conn, struct channel *channel, struct held *held)
{
    unlink_held(channel, held);
    conn->awake->held_count--;
    conn->awake->held_bytes -= held->length;
}

static bool release_from(struct weir_rudp_conn *conn, struct channel *channel, uint8_t number,
                         struct weir_rudp_event *event)
{
    struct weir_rudp *ep = conn->endpoint;
    struct held *held;
    while ((held = channel->held_first) != NULL && held->barrier <= channel->receive_next) {
        take_out(conn, channel, held);
        if (held->guarantee == WEIR_RUDP_ORDER && held->sid < channel->receive_sid) {
            weir_rudp_count_drop(ep, WEIR_RUDP_DROP_STALE);
            free_held(ep, held);
            continue;
        }
        channel->receive_sid = weir_max_u64(channel->receive_sid, held->sid);
        struct weir_span data = held->assembly != NULL
                                    ? weir_span_of(held->assembly->reassembly.buffer, held->length)
                                    : held->hold.span;
        fill_event(conn, event, data, number, held->guarantee);
        if (held->guarantee == WEIR_RUDP_DELIVERY) {
            consume(conn, cost_of(held->length));
        }
        ep->current_held = held; /* given back at the next event call */
        return true;
    }
    return false;
}

bool weir_rudp_release_held(struct weir_rudp_conn *conn, struct weir_rudp_event *event)
{
    if (conn->awake == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < weir_rudp_conn_channels(conn) && conn->awake->held_count > 0; i++) {
        struct channel *channel = i == 0 ? &conn->channel0 : &conn->channels[i - 1];
        if (release_from(conn, channel, (uint8_t)i, event)) {
            weir_rudp_conn_pend_release(conn); /* there may be more */
            return true;
        }
    }
    weir_rudp_conn_ready(conn);
    return false;
}

void weir_rudp_receive_drop_all(struct weir_rudp_conn *conn)
{
    struct weir_rudp *ep = conn->endpoint;
    for (uint32_t i = 0; i < weir_rudp_conn_channels(conn); i++) {
        struct channel *channel = i == 0 ? &conn->channel0 : &conn->channels[i - 1];
        while (channel->held_first != NULL) {
            struct held *held = channel->held_first;
            take_out(conn, channel, held);
            free_held(ep, held);
        }
    }
    while (conn->awake->assemblies != NULL) {
        struct assembly *assembly = conn->awake->assemblies;
        weir_rudp_assembly_unlink(conn->awake, assembly);
        weir_rudp_assembly_free(ep, assembly);
    }
}

/* --- arrivals --------------------------------------------------------------------------------- */

/* A message that is there as a whole: in the packet, or assembled. */
static enum received receive_whole(struct weir_rudp_conn *conn, const struct arrival *arrival,
                                   struct weir_span data, struct assembly *assembly,
                                   struct weir_rudp_event *event)
{
    struct weir_rudp *ep = conn->endpoint;
    struct channel *channel = arrival->channel;
    if (arrival->barrier > channel->receive_next) {
        if (!hold(conn, arrival, data, assembly)) {
            return RECEIVED_REFUSED;
        }
        if (arrival->is_delivery && !weir_rudp_channel_mark_received(ep, channel, arrival->dseq)) {
            /* Too many gaps: as if it had not come. */
            struct held *held = channel->held_finger;
            take_out(conn, channel, held);
            held->assembly = NULL; /* the caller keeps it */
            if (assembly == NULL) {
                free_held(ep, held);
            } else {
                weir_pool_give(&ep->helds, held);
            }
            return RECEIVED_REFUSED;
        }
        return RECEIVED_NOTHING;
    }
    if (arrival->is_delivery && !weir_rudp_channel_mark_received(ep, channel, arrival->dseq)) {
        return RECEIVED_REFUSED;
    }
    ep->current_assembly = assembly;
    hand_out(conn, arrival, data, event);
    return RECEIVED_EVENT;
}

static enum received receive_fragment(struct weir_rudp_conn *conn, const struct arrival *arrival,
                                      struct weir_rudp_event *event)
{
    struct weir_rudp *ep = conn->endpoint;
    const struct weir_rudp_message_frame *frame = arrival->frame;
    uint64_t number = number_of(arrival);
    struct assembly *assembly = weir_rudp_assembly_find(conn->awake, frame, number);
    if (assembly == NULL) {
        bool is_head = arrival->is_delivery && arrival->dseq == arrival->channel->receive_next;
        assembly = weir_rudp_assembly_open(conn, frame, number, is_head);
        if (assembly == NULL) {
            return RECEIVED_REFUSED;
        }
        if (arrival->is_delivery && !charge(conn, cost_of(frame->total))) {
            return RECEIVED_BROKEN;
        }
    }
    enum weir_status status = weir_rudp_assembly_add(ep, assembly, frame);
    if (status != WEIR_OK) {
        return status == WEIR_ERR_FULL ? RECEIVED_REFUSED : RECEIVED_BROKEN;
    }
    if (!weir_reassembly_is_complete(&assembly->reassembly)) {
        return RECEIVED_NOTHING;
    }
    if (!arrival->is_delivery) {
        weir_rudp_assembly_unlink(conn->awake, assembly);
        if (frame->guarantee == WEIR_RUDP_ORDER &&
            !weir_rudp_channel_mark_order(arrival->channel, arrival->mid)) {
            weir_rudp_assembly_free(ep, assembly);
            return RECEIVED_NOTHING; /* all its fragments came twice */
        }
    }
    enum received received =
        receive_whole(conn, arrival, weir_span_of(assembly->reassembly.buffer, assembly->length),
                      assembly, event);
    if (arrival->is_delivery) {
        /* Refused, it stays as it is, complete: the fragments before have been acknowledged and do
         * not come again, but the packet of the last one does. */
        if (received != RECEIVED_REFUSED) {
            weir_rudp_assembly_unlink(conn->awake, assembly);
        }
    } else if (received == RECEIVED_REFUSED) {
        weir_rudp_assembly_free(ep, assembly);
    }
    return received;
}

/* The sender has given a delivery message up: it counts as received, and nothing is handed out. */
static enum received receive_skip(struct weir_rudp_conn *conn, const struct arrival *arrival)
{
    struct weir_rudp *ep = conn->endpoint;
    struct channel *channel = arrival->channel;
    uint64_t charged = 0;
    if (!weir_rudp_channel_mark_received(ep, channel, arrival->dseq)) {
        return RECEIVED_REFUSED;
    }
    struct assembly *assembly =
        weir_rudp_assembly_find(conn->awake, arrival->frame, number_of(arrival));
    if (assembly != NULL) {
        charged = cost_of(assembly->length);
        weir_rudp_assembly_unlink(conn->awake, assembly);
        weir_rudp_assembly_free(ep, assembly);
    }
    uint64_t cost = arrival->frame->cost;
    if (cost < charged || !charge(conn, cost - charged)) {
        return RECEIVED_BROKEN;
    }
    consume(conn, cost);
    check_held(conn, channel);
    return RECEIVED_NOTHING;
}

static enum received receive_delivery(struct weir_rudp_conn *conn, struct arrival *arrival,
                                      struct weir_rudp_event *event)
{
    const struct weir_rudp_message_frame *frame = arrival->frame;
    if (weir_rudp_channel_has_received(arrival->channel, arrival->dseq)) {
        weir_rudp_count_drop(conn->endpoint, WEIR_RUDP_DROP_STALE);
        return RECEIVED_NOTHING;
    }
    if (frame->guarantee == WEIR_RUDP_GUARANTEE_SKIP) {
        return receive_skip(conn, arrival);
    }
    if (frame->is_fragment) {
        return receive_fragment(conn, arrival, event);
    }
    uint64_t cost = cost_of(frame->data.length);
    if (!charge(conn, cost)) {
        return RECEIVED_BROKEN;
    }
    enum received received = receive_whole(conn, arrival, frame->data, NULL, event);
    if (received == RECEIVED_REFUSED) {
        conn->receive_charged -= cost;
    }
    return received;
}

/* Order and none: what cannot be kept is lost, which both allow. */
static enum received receive_loose(struct weir_rudp_conn *conn, struct arrival *arrival,
                                   struct weir_rudp_event *event)
{
    struct weir_rudp *ep = conn->endpoint;
    const struct weir_rudp_message_frame *frame = arrival->frame;
    bool is_order = frame->guarantee == WEIR_RUDP_ORDER;
    enum received received;
    if (is_order && arrival->sid < arrival->channel->receive_sid) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_STALE);
        return RECEIVED_NOTHING;
    }
    if (frame->is_fragment) {
        received = receive_fragment(conn, arrival, event);
    } else {
        if (is_order && !weir_rudp_channel_mark_order(arrival->channel, arrival->mid)) {
            weir_rudp_count_drop(ep, WEIR_RUDP_DROP_STALE);
            return RECEIVED_NOTHING;
        }
        received = receive_whole(conn, arrival, frame->data, NULL, event);
    }
    if (received == RECEIVED_REFUSED) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        return RECEIVED_NOTHING;
    }
    return received;
}

enum received weir_rudp_receive_message(struct weir_rudp_conn *conn,
                                        const struct weir_rudp_message_frame *frame,
                                        struct weir_rudp_event *event)
{
    struct channel *channel = weir_rudp_conn_channel(conn, frame->channel);
    if (channel == NULL) {
        return frame->channel >= conn->endpoint->config.channels_max ? RECEIVED_BROKEN
                                                                     : RECEIVED_REFUSED;
    }
    if (frame->total > conn->endpoint->config.message_bytes_max) {
        return RECEIVED_BROKEN;
    }
    struct arrival arrival = {
        .channel = channel, .frame = frame, .is_delivery = frame->guarantee >= WEIR_RUDP_DELIVERY};
    if (frame->guarantee == WEIR_RUDP_NONE) {
        arrival.mid = frame->mid; /* of fragments; it has no place among the others */
        return receive_loose(conn, &arrival, event);
    }
    arrival.dseq = widen(channel->receive_next, frame->dseq);
    arrival.mid = widen(channel->mid_latest, frame->mid);
    if (frame->set_back > arrival.mid || frame->set_dback > arrival.dseq) {
        return RECEIVED_BROKEN;
    }
    arrival.sid = arrival.mid - frame->set_back;
    arrival.barrier = arrival.dseq - frame->set_dback;
    channel->mid_latest = weir_max_u64(channel->mid_latest, arrival.mid);
    return arrival.is_delivery ? receive_delivery(conn, &arrival, event)
                               : receive_loose(conn, &arrival, event);
}
