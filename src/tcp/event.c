/* SPDX-License-Identifier: MIT */
/*
 * event.c - what the application pulls, in the order: parcels done, news of connections with their
 * held data, then on in the received batch.
 */
#include "tcp/internal.h"

static void parcel_event(struct weir_tcp *ep, struct weir_tcp_event *event)
{
    struct message *message = ep->done_first;
    ep->done_first = message->next;
    event->type = WEIR_TCP_EVENT_PARCEL_DONE;
    event->conn = message->conn;
    event->parcel.parcel = message->parcel;
    message->parcel->references--; /* here, so that at 0 no event names it any more */
    event->parcel.outcome = (enum weir_outcome)message->outcome;
    weir_tcp_message_free(ep, message);
}

static void closed_event(struct awake *awake, struct weir_tcp_event *event)
{
    event->type = WEIR_TCP_EVENT_CLOSED;
    event->closed.cause = (enum weir_tcp_close_cause)awake->cause;
    event->closed.user = weir_tcp_user(awake->ep, awake->conn);
    awake->pending = 0;
    awake->is_done = true;
    weir_tcp_conn_settle(awake);
}

/* true: event is to be handed out. */
static bool take_pending(struct awake *awake, unsigned bit, struct weir_tcp_event *event)
{
    awake->pending &= (uint8_t)~bit;
    switch (bit) {
    case PENDING_OPENED:
        event->type = WEIR_TCP_EVENT_OPENED;
        event->opened.listener = awake->listener;
        return true;
    case PENDING_URGENT:
        event->type = WEIR_TCP_EVENT_URGENT;
        return true;
    case PENDING_WRITABLE:
        event->type = WEIR_TCP_EVENT_WRITABLE;
        return true;
    case PENDING_RELEASE:
        return weir_tcp_release_held(awake, event);
    case PENDING_PEER_CLOSED:
        event->type = WEIR_TCP_EVENT_PEER_CLOSED;
        weir_tcp_on_peer_closed_pulled(awake);
        return true;
    default:
        return false;
    }
}

static bool conn_event(struct weir_tcp *ep, struct weir_tcp_event *event)
{
    struct awake *awake;
    while ((awake = weir_tcp_events_take(ep)) != NULL) {
        event->conn = awake->conn;
        if (awake->pending == PENDING_CLOSED) {
            closed_event(awake, event);
            return true;
        }
        unsigned bit = awake->pending & -(unsigned)awake->pending; /* the lowest comes first */
        bool has_event = bit != 0 && take_pending(awake, bit, event);
        if (awake->pending != 0) {
            weir_tcp_pend(awake, 0);
        } else if (has_event) {
            weir_tcp_set_timer(awake); /* it may be quiet now */
        }
        if (has_event) {
            return true;
        }
    }
    return false;
}

enum weir_status weir_tcp_event(struct weir_tcp *ep, struct weir_tcp_event *event)
{
    if (ep->borrowed != HELD_NONE) {
        weir_tcp_release_borrowed(ep);
    }
    for (;;) {
        if (ep->done_first != NULL) {
            parcel_event(ep, event);
            return WEIR_OK;
        }
        if (ep->events.first != LIST_END && conn_event(ep, event)) {
            return WEIR_OK;
        }
        if (ep->room == ROOM_FOUND) {
            ep->room = ROOM_UNASKED;
            event->type = WEIR_TCP_EVENT_ROOM;
            event->conn = NULL;
            return WEIR_OK;
        }
        if (ep->cursor.awake == NULL) {
            if (!weir_tcp_input_next(ep)) {
                return WEIR_AGAIN;
            }
            continue; /* news of it come before what is in it */
        }
        if (weir_tcp_input_continue(ep, event)) {
            return WEIR_OK;
        }
    }
}
