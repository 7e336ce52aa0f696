/* SPDX-License-Identifier: MIT */
/*
 * tcp_callbacks.h - the events of TCP as calls of functions.
 *
 * Role: for programs that would rather be called than pull (weir_tcp_event). A function that is
 * NULL is left out; its event is pulled and forgotten.
 * Owned by: the endpoint's thread. Memory: the caller's struct; nothing is allocated.
 * Order: fill in endpoint, user and the functions, then call weir_tcp_callbacks_run wherever all
 * events are to be pulled; or give it to the loop, which does:
 *
 *     weir_loop_attach(loop, endpoint, weir_tcp_verbs(), weir_tcp_callbacks_run, &callbacks);
 *
 * The functions may call the endpoint, but neither pull events nor give it input.
 */
#ifndef WEIR_TCP_CALLBACKS_H
#define WEIR_TCP_CALLBACKS_H

#include "weir/tcp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the parameters mean and how long spans are valid: see enum weir_tcp_event_type and struct
 * weir_tcp_event. user is that of the struct. */
struct weir_tcp_callbacks {
    struct weir_tcp *endpoint;
    void *user;
    weir_nsec now; /* of the run; for weir_tcp_connect in a function */

    void (*on_opened)(void *user, struct weir_tcp_conn *conn, int listener);
    void (*on_data)(void *user, struct weir_tcp_conn *conn, struct weir_span span);
    /* outcome: ACKED or CLOSED. */
    void (*on_acked)(void *user, struct weir_tcp_conn *conn, struct weir_parcel *parcel,
                     enum weir_outcome outcome);
    void (*on_writable)(void *user, struct weir_tcp_conn *conn);
    void (*on_urgent)(void *user, struct weir_tcp_conn *conn);
    /* NULL: the connection is closed from our side too, behind what is queued. */
    void (*on_peer_closed)(void *user, struct weir_tcp_conn *conn);
    /* conn_user: weir_tcp_user of the connection, whose handle is invalid afterwards. */
    void (*on_closed)(void *user, struct weir_tcp_conn *conn, enum weir_tcp_close_cause cause,
                      void *conn_user);
    void (*on_room)(void *user);
};

/* Calls what belongs to one event, for programs that pull events themselves. */
WEIR_API void weir_tcp_callbacks_dispatch(const struct weir_tcp_callbacks *callbacks,
                                          const struct weir_tcp_event *event);
/* Pulls all events. callbacks: struct weir_tcp_callbacks, void for weir_loop_attach. */
WEIR_API void weir_tcp_callbacks_run(void *callbacks, weir_nsec now);

#ifdef __cplusplus
}
#endif
#endif
