/* SPDX-License-Identifier: MIT */
/*
 * event.c - what the application pulls, in the order: parcels done, news of sessions with their
 * held messages, then on in the received batch.
 */
#include "kcp/internal.h"

static void parcel_event(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    struct message *message = ep->done_first;
    ep->done_first = message->next;
    event->type = WEIR_KCP_EVENT_PARCEL_DONE;
    event->conn = message->conn;
    event->parcel.parcel = message->parcel;
    message->parcel->references--; /* here, so that at 0 no event names it any more */
    event->parcel.outcome = (enum weir_outcome)message->outcome;
    weir_kcp_message_free(ep, message);
}

static void closed_event(struct weir_kcp_conn *conn, struct weir_kcp_event *event)
{
    event->type = WEIR_KCP_EVENT_CLOSED;
    event->closed.cause = (enum weir_kcp_close_cause)conn->window;
    event->closed.user = conn->user;
    weir_kcp_conn_free(conn);
}

static __attribute__((noinline)) bool conn_event(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    static const struct {
        uint8_t bit, type;
    } order[] = {{PENDING_REQUEST, WEIR_KCP_EVENT_REQUEST},
                 {PENDING_OPENED, WEIR_KCP_EVENT_OPENED},
                 {PENDING_MOVED, WEIR_KCP_EVENT_MOVED},
                 {PENDING_WRITABLE, WEIR_KCP_EVENT_WRITABLE}};
    struct weir_kcp_conn *conn;
    while ((conn = weir_kcp_events_take(ep)) != NULL) {
        event->conn = conn;
        for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
            if ((conn->pending & order[i].bit) == 0) {
                continue;
            }
            conn->pending &= (uint8_t)~order[i].bit;
            if (conn->pending != 0) {
                weir_kcp_conn_pend(conn, 0);
            }
            event->type = (enum weir_kcp_event_type)order[i].type;
            return true;
        }
        if ((conn->pending & PENDING_CLOSED) != 0) {
            closed_event(conn, event);
            return true;
        }
        conn->pending &= (uint8_t)~PENDING_RELEASE;
        if (weir_kcp_release_held(conn, event)) {
            return true;
        }
    }
    return false;
}

enum weir_status weir_kcp_event(struct weir_kcp *ep, struct weir_kcp_event *event)
{
    if (ep->borrowed != HELD_NONE) {
        weir_kcp_release_borrowed(ep);
    }
    for (;;) {
        if (ep->done_first != NULL) {
            parcel_event(ep, event);
            return WEIR_OK;
        }
        if (ep->events.first != LIST_END && conn_event(ep, event)) {
            return WEIR_OK;
        }
        if (ep->cursor.conn == NULL) {
            if (!weir_kcp_input_next(ep)) {
                return WEIR_AGAIN;
            }
            if (ep->cursor.conn == NULL || ep->events.first != LIST_END) {
                continue; /* nothing to read in it, or news that come before */
            }
        }
        if (weir_kcp_input_continue(ep, event)) {
            return WEIR_OK;
        }
    }
}
