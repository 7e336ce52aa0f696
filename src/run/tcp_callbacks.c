/* SPDX-License-Identifier: MIT */
/*
 * tcp_callbacks.c - calls a function for each of TCP's events.
 */
#include "weir/tcp_callbacks.h"

static void on_closing(const struct weir_tcp_callbacks *callbacks, struct weir_tcp_conn *conn)
{
    if (callbacks->on_peer_closed != NULL) {
        callbacks->on_peer_closed(callbacks->user, conn);
    } else if (weir_tcp_close(callbacks->endpoint, conn) == WEIR_AGAIN) {
        /* It was awake a moment ago; there is nobody who would try again. */
        (void)weir_tcp_abort(callbacks->endpoint, conn);
    }
}

/* Events about the state of a connection, or of the endpoint. */
static void dispatch_state(const struct weir_tcp_callbacks *callbacks,
                           const struct weir_tcp_event *event)
{
    void *user = callbacks->user;
    if (event->type == WEIR_TCP_EVENT_OPENED && callbacks->on_opened != NULL) {
        callbacks->on_opened(user, event->conn, event->opened.listener);
    } else if (event->type == WEIR_TCP_EVENT_CLOSED && callbacks->on_closed != NULL) {
        callbacks->on_closed(user, event->conn, event->closed.cause, event->closed.user);
    } else if (event->type == WEIR_TCP_EVENT_WRITABLE && callbacks->on_writable != NULL) {
        callbacks->on_writable(user, event->conn);
    } else if (event->type == WEIR_TCP_EVENT_URGENT && callbacks->on_urgent != NULL) {
        callbacks->on_urgent(user, event->conn);
    } else if (event->type == WEIR_TCP_EVENT_ROOM && callbacks->on_room != NULL) {
        callbacks->on_room(user);
    } else if (event->type == WEIR_TCP_EVENT_PEER_CLOSED) {
        on_closing(callbacks, event->conn);
    }
}

void weir_tcp_callbacks_dispatch(const struct weir_tcp_callbacks *callbacks,
                                 const struct weir_tcp_event *event)
{
    if (event->type == WEIR_TCP_EVENT_DATA) {
        if (callbacks->on_data != NULL) {
            callbacks->on_data(callbacks->user, event->conn, event->data.span);
        }
    } else if (event->type == WEIR_TCP_EVENT_PARCEL_DONE) {
        if (callbacks->on_acked != NULL) {
            callbacks->on_acked(callbacks->user, event->conn, event->parcel.parcel,
                                event->parcel.outcome);
        }
    } else {
        dispatch_state(callbacks, event);
    }
}

void weir_tcp_callbacks_run(void *user, weir_nsec now)
{
    struct weir_tcp_callbacks *callbacks = user;
    struct weir_tcp_event event;
    callbacks->now = now;
    while (weir_tcp_event(callbacks->endpoint, &event) == WEIR_OK) {
        weir_tcp_callbacks_dispatch(callbacks, &event);
    }
}
