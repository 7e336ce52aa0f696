/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream.c - streams: what they read and write, and their end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "run/kcp_stream_internal.h"

enum {
    STASH_KEPT_BYTES = 2048, /* an empty stash larger than that is freed */
    WRITE_SEGMENTS = 11      /* of one send to the engine: fits a page of its store */
};

/* --- life ------------------------------------------------------------------------------------- */

struct weir_kcp_stream *weir_kcp_stream_make(struct weir_kcp_net *net)
{
    struct weir_kcp_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    stream->kind = SESSION_STREAM;
    stream->net = net;
    stream->failure = WEIR_ERR_CLOSED;
    weir_list_append(&net->streams, &stream->link);
    return stream;
}

void weir_kcp_stream_bind(struct weir_kcp_stream *stream, struct weir_kcp_conn *conn)
{
    stream->conn = conn;
    stream->conv = weir_kcp_conv(conn);
    stream->remote = weir_kcp_path(conn).remote;
}

void weir_kcp_stream_free(struct weir_kcp_stream *stream)
{
    struct weir_kcp_net *net = stream->net;
    weir_list_remove(&net->streams, &stream->link);
    if (stream->news != 0) {
        weir_list_remove(&net->news, &stream->news_link);
    }
    free(stream->stash);
    free(stream);
}

enum weir_status weir_kcp_stream_connect(struct weir_kcp_net *net, const struct weir_addr *remote,
                                         uint32_t conv, struct weir_kcp_stream **stream)
{
    struct weir_kcp_conn *conn = NULL;
    struct weir_kcp_stream *made = weir_kcp_stream_make(net);
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status =
        weir_kcp_connect(net->kcp, weir_loop_now(net->loop), remote, conv, made, &conn);
    if (status != WEIR_OK) {
        weir_kcp_stream_free(made);
        return status;
    }
    weir_kcp_stream_bind(made, conn);
    *stream = made;
    return WEIR_OK;
}

void weir_kcp_stream_watch(struct weir_kcp_stream *stream,
                           const struct weir_kcp_stream_events *events, void *user)
{
    static const struct weir_kcp_stream_events nobody = {NULL, NULL, NULL};
    stream->events = events != NULL ? *events : nobody;
    stream->user = user;
    if (events == NULL) {
        return;
    }
    if (stream->stash_length > 0 || stream->is_stashed) {
        weir_kcp_stream_tell(stream, NEWS_READABLE);
    } else if (stream->conn != NULL) {
        weir_kcp_pause(stream->conn, false); /* what is held comes to the stash, and is told */
    }
    if (stream->conn == NULL) {
        weir_kcp_stream_tell(stream, NEWS_CLOSED);
    }
}

void weir_kcp_stream_abort(struct weir_kcp_stream *stream)
{
    if (stream->conn != NULL) {
        weir_kcp_set_user(stream->conn, NULL);
        weir_kcp_abort(stream->conn);
    }
    weir_kcp_stream_free(stream);
}

/* Until the session's end, which is told nobody else, or until the time is up. */
static enum weir_status linger(struct weir_kcp_stream *stream, weir_nsec timeout)
{
    struct weir_kcp_net *net = stream->net;
    weir_nsec now = weir_loop_now(net->loop);
    weir_nsec deadline = timeout < WEIR_NEVER - now ? now + timeout : WEIR_NEVER;
    enum weir_status status = WEIR_OK;
    while (stream->conn != NULL && status == WEIR_OK) {
        now = weir_loop_now(net->loop);
        if (now >= deadline) {
            return WEIR_ERR_TIMEOUT;
        }
        status = weir_kcp_net_run_once(net, deadline == WEIR_NEVER ? WEIR_NEVER : deadline - now);
    }
    if (status != WEIR_OK) {
        return status;
    }
    bool is_done = stream->cause == WEIR_KCP_CAUSE_LOCAL && stream->failure == WEIR_ERR_CLOSED;
    return is_done ? WEIR_OK : WEIR_ERR_CLOSED;
}

enum weir_status weir_kcp_stream_close(struct weir_kcp_stream *stream, weir_nsec linger_time)
{
    enum weir_status status = stream->conn != NULL ? WEIR_OK : WEIR_ERR_CLOSED;
    if (stream->conn != NULL) {
        weir_kcp_pause(stream->conn, false); /* or the peer would wait for room */
        weir_kcp_close(stream->conn);
    }
    if (stream->conn != NULL && linger_time > 0 && !stream->net->is_inside) {
        stream->is_lingering = true;
        status = linger(stream, linger_time);
        weir_kcp_stream_abort(stream);
        return status;
    }
    if (stream->conn != NULL) {
        weir_kcp_set_user(stream->conn, NULL);
    }
    weir_kcp_stream_free(stream);
    return status;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Bytes [off, off + length) of a message. */
static void copy_part(const struct weir_kcp_event *event, size_t off, uint8_t *to, size_t length)
{
    for (uint32_t i = 0; i < event->message.span_count && length > 0; i++) {
        struct weir_span span = event->message.spans[i];
        if (off >= span.length) {
            off -= span.length;
            continue;
        }
        size_t part = weir_min_u64(span.length - off, length);
        memcpy(to, span.data + off, part);
        to += part;
        length -= part;
        off = 0;
    }
}

/* The peer has been told that these bytes arrived: without them the stream cannot go on. */
static void fail(struct weir_kcp_stream *stream, enum weir_status failure)
{
    stream->failure = failure;
    weir_kcp_abort(stream->conn);
}

/* Keeps what a message has from off on; the stash is empty. */
static void fill_stash(struct weir_kcp_stream *stream, const struct weir_kcp_event *event,
                       size_t off)
{
    size_t length = event->message.length - off;
    WEIR_ASSERT(stream->stash_length == 0 && !stream->is_stashed);
    if (length > stream->net->read_bytes_max) {
        fail(stream, WEIR_ERR_TOO_LARGE);
        return;
    }
    if (length > stream->stash_bytes) {
        free(stream->stash);
        stream->stash_bytes = weir_max_u64(length, STASH_KEPT_BYTES);
        stream->stash = malloc(stream->stash_bytes);
        if (stream->stash == NULL) {
            stream->stash_bytes = 0;
            fail(stream, WEIR_ERR_MEMORY);
            return;
        }
    }
    copy_part(event, off, stream->stash, length);
    stream->stash_length = length;
    stream->stash_off = 0;
    stream->is_stashed = stream->net->is_message;
}

/* Takes up to room bytes out of the stash. Who empties it knows of what was to be told. */
static size_t drain_stash(struct weir_kcp_stream *stream, void *buffer, size_t room)
{
    size_t length = weir_min_u64(stream->stash_length, room);
    if (length > 0) {
        memcpy(buffer, stream->stash + stream->stash_off, length);
    }
    stream->stash_off += length;
    stream->stash_length -= length;
    if (stream->stash_length == 0) {
        stream->is_stashed = false;
        weir_kcp_stream_forget(stream, NEWS_READABLE);
        if (stream->stash_bytes > STASH_KEPT_BYTES) {
            free(stream->stash);
            stream->stash = NULL;
            stream->stash_bytes = 0;
        }
    }
    return length;
}

/* Returns how much of the message the reader has taken. */
static size_t fill_sink(struct sink *sink, const struct weir_kcp_event *event, bool is_message)
{
    size_t length = weir_min_u64(event->message.length, sink->room - sink->length);
    if (is_message && length < event->message.length) {
        return 0;
    }
    copy_part(event, 0, sink->buffer + sink->length, length);
    sink->length += length;
    sink->is_done = is_message || sink->length == sink->room;
    return length;
}

void weir_kcp_stream_on_message(struct weir_kcp_stream *stream, const struct weir_kcp_event *event)
{
    struct weir_kcp_net *net = stream->net;
    struct sink *sink = &net->sink;
    size_t taken = 0;
    if (stream->is_lingering || (event->message.length == 0 && !net->is_message)) {
        return;
    }
    if (sink->stream == stream && !sink->is_done) {
        taken = fill_sink(sink, event, net->is_message);
        if (taken == event->message.length && (taken > 0 || sink->is_done)) {
            return;
        }
    }
    weir_kcp_pause(stream->conn, true);
    fill_stash(stream, event, taken);
    weir_kcp_stream_tell(stream, NEWS_READABLE);
}

/* Lets the session pour into buffer, and the next piece into the stash. Returns how many bytes;
 * *is_done: buffer takes no more. */
static size_t pour(struct weir_kcp_stream *stream, uint8_t *buffer, size_t room, bool *is_done)
{
    struct weir_kcp_net *net = stream->net;
    net->sink = (struct sink){.stream = stream, .room = room};
    net->sink.buffer = buffer;
    weir_kcp_pause(stream->conn, false);
    weir_kcp_net_pull(net);
    net->sink.stream = NULL;
    *is_done = net->sink.is_done;
    return net->sink.length;
}

static enum weir_status read_message(struct weir_kcp_stream *stream, void *buffer, size_t room,
                                     size_t *length)
{
    bool is_done = false;
    if (!stream->is_stashed && stream->conn != NULL) {
        *length = pour(stream, buffer, room, &is_done);
    }
    if (is_done) {
        return WEIR_OK;
    }
    if (!stream->is_stashed) {
        return stream->conn != NULL ? WEIR_AGAIN : stream->failure;
    }
    *length = stream->stash_length;
    if (stream->stash_length > room) {
        return WEIR_ERR_TOO_LARGE;
    }
    (void)drain_stash(stream, buffer, room);
    return WEIR_OK;
}

enum weir_status weir_kcp_stream_read(struct weir_kcp_stream *stream, void *buffer, size_t room,
                                      size_t *length)
{
    *length = 0;
    if (stream->net->is_message) {
        return read_message(stream, buffer, room, length);
    }
    if (room == 0) {
        return WEIR_ERR_INVALID;
    }
    bool is_done;
    size_t taken = drain_stash(stream, buffer, room);
    if (taken < room && stream->conn != NULL) {
        taken += pour(stream, (uint8_t *)buffer + taken, room - taken, &is_done);
    }
    *length = taken;
    if (taken > 0) {
        return WEIR_OK;
    }
    return stream->conn != NULL ? WEIR_AGAIN : stream->failure;
}

/* --- writing ---------------------------------------------------------------------------------- */

static enum weir_status write_message(const struct weir_kcp_stream *stream, const void *data,
                                      size_t length, size_t *taken)
{
    enum weir_status status = weir_kcp_send(stream->conn, data, length);
    if (status == WEIR_OK) {
        *taken = length;
    }
    return status == WEIR_ERR_FULL ? WEIR_AGAIN : status;
}

enum weir_status weir_kcp_stream_write(struct weir_kcp_stream *stream, const void *data,
                                       size_t length, size_t *taken)
{
    const struct weir_kcp_net *net = stream->net;
    const uint8_t *bytes = data;
    size_t segment = weir_kcp_segment_bytes(net->kcp);
    size_t chunk = WRITE_SEGMENTS * segment; /* whole segments: one send, one short segment */
    *taken = 0;
    if (length == 0 && !net->is_message) {
        return WEIR_ERR_INVALID;
    }
    if (stream->conn == NULL) {
        return WEIR_ERR_CLOSED;
    }
    if (net->is_message) {
        return write_message(stream, data, length, taken);
    }
    while (*taken < length) {
        size_t part = weir_min_u64(length - *taken, chunk);
        enum weir_status status = weir_kcp_send(stream->conn, bytes + *taken, part);
        if (status == WEIR_OK) {
            *taken += part;
        } else if (status != WEIR_ERR_FULL) {
            return *taken > 0 ? WEIR_OK : status;
        } else if (part <= segment) {
            break;
        } else {
            chunk = segment; /* the rest of the room one by one: a send is all or nothing */
        }
    }
    return *taken > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- looking ---------------------------------------------------------------------------------- */

bool weir_kcp_stream_is_drained(const struct weir_kcp_stream *stream)
{
    struct weir_kcp_conn_stats stats;
    weir_kcp_stream_stats(stream, &stats);
    return stream->conn != NULL && stats.queued == 0 && stats.in_flight == 0;
}

bool weir_kcp_stream_is_answered(const struct weir_kcp_stream *stream)
{
    return stream->is_answered;
}

enum weir_kcp_close_cause weir_kcp_stream_cause(const struct weir_kcp_stream *stream)
{
    return stream->cause;
}

struct weir_addr weir_kcp_stream_remote(const struct weir_kcp_stream *stream)
{
    return stream->remote;
}

uint32_t weir_kcp_stream_conv(const struct weir_kcp_stream *stream)
{
    return stream->conv;
}

struct weir_kcp_net *weir_kcp_stream_net(const struct weir_kcp_stream *stream)
{
    return stream->net;
}

void weir_kcp_stream_stats(const struct weir_kcp_stream *stream, struct weir_kcp_conn_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    if (stream->conn != NULL) {
        weir_kcp_conn_stats(stream->conn, stats);
    }
}
