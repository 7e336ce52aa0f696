/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream_internal.h - what the files behind weir/kcp_stream.h share.
 *
 * A session of the engine is in one of two states that its reader chooses:
 *
 *      armed:  taking; nothing waits. The first segment (message) goes to the stash and stops it
 *      paused: what comes in is held by the engine, within the receive window, until a read asks
 *
 * A read empties the stash, then lets the session pour straight into the caller's buffer. What
 * does not fit goes to the stash again and pauses the session; when it runs dry it stays armed. So
 * a byte is copied once, but for those of the stash, and nothing is queued here.
 *
 * Events of the engine are pulled at any time, also by a read inside a callback; callbacks are only
 * made from on_events, off the list of news, so they do not nest.
 */
#ifndef WEIR_RUN_KCP_STREAM_INTERNAL_H
#define WEIR_RUN_KCP_STREAM_INTERNAL_H

#include "base/list.h"
#include "weir/kcp_stream.h"

/* First member of whatever is the user pointer of a session; NULL: closed here, goes on alone. */
enum session_kind {
    SESSION_REQUEST,
    SESSION_STREAM
};

enum news {
    NEWS_READABLE = 1,
    NEWS_WRITABLE = 2,
    NEWS_CLOSED = 4
};

struct weir_kcp_stream {
    enum session_kind kind;
    uint8_t news; /* enum news, not yet called back */
    bool is_answered;
    bool is_lingering;        /* closed by the user, who waits for the end */
    bool is_stashed;          /* a whole message is in the stash; it may be empty */
    enum weir_status failure; /* what a read says once the stream has ended */
    struct weir_kcp_net *net;
    struct weir_kcp_conn *conn; /* NULL once it has ended */
    enum weir_kcp_close_cause cause;
    uint32_t conv;
    struct weir_addr remote;
    struct weir_kcp_stream_events events;
    void *user;
    struct weir_link link;      /* of net.streams */
    struct weir_link news_link; /* of net.news */
    uint8_t *stash;             /* read next; NULL when there is no room yet */
    size_t stash_bytes, stash_length, stash_off;
};

struct request {
    enum session_kind kind;
    struct weir_kcp_conn *conn;
    struct weir_link link; /* of waiting or unused */
};

struct weir_kcp_listener {
    struct weir_kcp_net *net;
    void (*on_accept)(struct weir_kcp_listener *listener, void *user);
    void *user;
    bool is_news;
    struct weir_list waiting, unused; /* requests */
    struct request requests[];        /* pending_max */
};

/* The read that is under way: its caller's buffer. */
struct sink {
    const struct weir_kcp_stream *stream; /* NULL: none */
    uint8_t *buffer;
    size_t room, length;
    bool is_done; /* takes no more */
};

struct weir_kcp_net {
    struct weir_loop *loop;
    struct weir_kcp *kcp;
    struct weir_driver *driver;
    bool is_driver_ours;
    bool is_message;
    bool is_accepting;
    bool is_inside; /* run_once: callbacks are under way */
    uint32_t pending_max;
    size_t read_bytes_max;
    struct weir_kcp_tuning tuning;
    struct weir_list streams; /* all */
    struct weir_list news;    /* streams with something to call back */
    struct weir_kcp_listener *listener;
    struct sink sink;
    void *slide_mem, *kcp_mem; /* slide_mem NULL: the caller's slide */
    size_t slide_mem_bytes, kcp_mem_bytes;
};

/* Pulls all events of the engine into streams and listener; calls nobody. */
void weir_kcp_net_pull(struct weir_kcp_net *net);
/* A callback is due, or no longer. */
void weir_kcp_stream_tell(struct weir_kcp_stream *stream, enum news news);
void weir_kcp_stream_forget(struct weir_kcp_stream *stream, enum news news);

/* A stream for conn, on net's list; NULL: no memory. */
struct weir_kcp_stream *weir_kcp_stream_make(struct weir_kcp_net *net);
void weir_kcp_stream_bind(struct weir_kcp_stream *stream, struct weir_kcp_conn *conn);
void weir_kcp_stream_free(struct weir_kcp_stream *stream);
void weir_kcp_stream_on_message(struct weir_kcp_stream *stream, const struct weir_kcp_event *event);

void weir_kcp_listener_on_request(struct weir_kcp_net *net, struct weir_kcp_conn *conn);
void weir_kcp_listener_on_closed(struct weir_kcp_net *net, struct request *request);

#endif
