/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream_listen.c - strangers' streams: waiting, accepted, refused.
 *
 * Memory: a struct request for each that may wait, allocated with the listener.
 */
#include <stdlib.h>

#include "run/kcp_stream_internal.h"

enum weir_status weir_kcp_listen(struct weir_kcp_net *net,
                                 void (*on_accept)(struct weir_kcp_listener *listener, void *user),
                                 void *user, struct weir_kcp_listener **listener)
{
    if (!net->is_accepting || net->listener != NULL) {
        return WEIR_ERR_INVALID;
    }
    struct weir_kcp_listener *made =
        calloc(1, sizeof(*made) + net->pending_max * sizeof(made->requests[0]));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    made->net = net;
    made->on_accept = on_accept;
    made->user = user;
    weir_list_init(&made->waiting);
    weir_list_init(&made->unused);
    for (uint32_t i = 0; i < net->pending_max; i++) {
        made->requests[i].kind = SESSION_REQUEST;
        weir_list_append(&made->unused, &made->requests[i].link);
    }
    net->listener = made;
    *listener = made;
    return WEIR_OK;
}

void weir_kcp_listener_on_request(struct weir_kcp_net *net, struct weir_kcp_conn *conn)
{
    struct weir_kcp_listener *listener = net->listener;
    struct weir_link *link = listener == NULL ? NULL : weir_list_first(&listener->unused);
    if (link == NULL) {
        weir_kcp_refuse(conn);
        return;
    }
    struct request *request = WEIR_CONTAINER(link, struct request, link);
    weir_list_remove(&listener->unused, link);
    weir_list_append(&listener->waiting, link);
    request->conn = conn;
    weir_kcp_set_user(conn, request);
    listener->is_news = true;
}

static void put_back(struct weir_kcp_listener *listener, struct request *request)
{
    weir_list_remove(&listener->waiting, &request->link);
    weir_list_append(&listener->unused, &request->link);
    request->conn = NULL;
}

void weir_kcp_listener_on_closed(struct weir_kcp_net *net, struct request *request)
{
    put_back(net->listener, request);
}

enum weir_status weir_kcp_listener_accept(struct weir_kcp_listener *listener,
                                          struct weir_kcp_stream **stream)
{
    struct weir_link *link = weir_list_first(&listener->waiting);
    if (link == NULL) {
        return WEIR_AGAIN;
    }
    struct request *request = WEIR_CONTAINER(link, struct request, link);
    struct weir_kcp_stream *made = weir_kcp_stream_make(listener->net);
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    weir_kcp_accept(request->conn, made);
    weir_kcp_stream_bind(made, request->conn);
    made->is_answered = true;
    put_back(listener, request);
    *stream = made;
    return WEIR_OK;
}

uint32_t weir_kcp_listener_waiting(const struct weir_kcp_listener *listener)
{
    return listener->waiting.count;
}

void weir_kcp_listener_close(struct weir_kcp_listener *listener)
{
    struct weir_link *link;
    while ((link = weir_list_first(&listener->waiting)) != NULL) {
        struct weir_kcp_conn *conn = WEIR_CONTAINER(link, struct request, link)->conn;
        weir_list_remove(&listener->waiting, link);
        /* It may have ended by itself, and its CLOSED be on the way. */
        weir_kcp_set_user(conn, NULL);
        weir_kcp_refuse(conn);
    }
    listener->net->listener = NULL;
    free(listener);
}
