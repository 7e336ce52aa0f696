/* SPDX-License-Identifier: MIT */
/*
 * event.c - what the application pulls, in the order: parcels done, news of connections, held
 * messages whose turn has come, then on in the received batch.
 */
#include <string.h>

#include "rudp/internal.h"

static bool parcel_event(struct weir_rudp *ep, struct weir_rudp_event *event)
{
    struct message *message = ep->done_first;
    if (message == NULL) {
        return false;
    }
    ep->done_first = message->next;
    event->type = WEIR_RUDP_EVENT_PARCEL_DONE;
    event->conn = message->conn;
    event->parcel.parcel = message->parcel;
    message->parcel->references--; /* here, so that at 0 no event names it any more */
    event->parcel.outcome = (enum weir_outcome)message->outcome;
    weir_rudp_message_free(ep, message);
    return true;
}

static void closed_event(struct weir_rudp_conn *conn, struct weir_rudp_event *event)
{
    struct weir_rudp *ep = conn->endpoint;
    const struct awake *awake = conn->awake;
    event->type = WEIR_RUDP_EVENT_CLOSED;
    event->closed.cause = (enum weir_rudp_close_cause)conn->end_cause;
    event->closed.code = awake != NULL ? awake->close_code : 0;
    ep->event_text[0] = 0;
    if (awake != NULL) {
        memcpy(ep->event_text, awake->close_text, sizeof(ep->event_text));
    }
    event->closed.text = ep->event_text;
    event->closed.user = conn->user;
    conn->is_closed_told = true;
    weir_rudp_conn_ready(conn);
}

static bool conn_event(struct weir_rudp *ep, struct weir_rudp_event *event)
{
    static const struct {
        uint8_t bit, type;
    } order[] = {{PENDING_REQUEST, WEIR_RUDP_EVENT_REQUEST},
                 {PENDING_OPENED, WEIR_RUDP_EVENT_OPENED},
                 {PENDING_MOVED, WEIR_RUDP_EVENT_MOVED},
                 {PENDING_WRITABLE, WEIR_RUDP_EVENT_WRITABLE}};
    struct weir_rudp_conn *conn;
    while ((conn = weir_rudp_fifo_take(ep, &ep->events)) != NULL) {
        event->conn = conn;
        for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
            if ((conn->pending & order[i].bit) == 0) {
                continue;
            }
            conn->pending &= (uint8_t)~order[i].bit;
            if (conn->pending != 0) {
                weir_rudp_conn_pend(conn, 0);
            }
            event->type = (enum weir_rudp_event_type)order[i].type;
            return true;
        }
        if ((conn->pending & PENDING_CLOSED) != 0 && !conn->is_closed_told) {
            closed_event(conn, event);
            return true;
        }
    }
    return false;
}

static bool release_event(struct weir_rudp *ep, struct weir_rudp_event *event)
{
    struct weir_rudp_conn *conn;
    while ((conn = weir_rudp_fifo_take(ep, &ep->release)) != NULL) {
        if (weir_rudp_release_held(conn, event)) {
            return true;
        }
    }
    return false;
}

enum weir_status weir_rudp_event(struct weir_rudp *ep, struct weir_rudp_event *event)
{
    bool has_event;
    weir_rudp_release_current(ep);
    do {
        if (parcel_event(ep, event) || conn_event(ep, event) || release_event(ep, event)) {
            return WEIR_OK;
        }
        if (!weir_rudp_input_next(ep, event, &has_event)) {
            return WEIR_AGAIN;
        }
    } while (!has_event);
    return WEIR_OK;
}
