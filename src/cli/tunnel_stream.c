/* SPDX-License-Identifier: MIT */
/*
 * tunnel_stream.c - one TCP connection of a tunnel, and its stream.
 *
 * Each direction ends by itself when both ends are weir's. kcptun knows one end for both: there the
 * end of either TCP side is passed on, then the stream lives until the peer's FIN, so that what is
 * still on its way back arrives; and what TCP sends after the peer's FIN is read and thrown away,
 * for a socket that is closed over unread bytes resets what was written to it.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/cli.h"
#include "cli/tunnel.h"

enum {
    DIRECT_BYTES_MIN = 4096, /* so much at once is written without going through the queue */
    QUEUE_BYTES_MIN = 16384,
    QUEUE_BYTES_KEPT = 65536 /* room that an empty queue may keep */
};

#define DIAL_TIMEOUT (10 * WEIR_SEC)
/* For the tunnel to come up again. */
#define WAIT_TIMEOUT (30 * WEIR_SEC)
/* One side has ended for good: the other gets so long to do so, too, from its last byte on. */
#define LINGER_TIMEOUT (30 * WEIR_SEC)

static bool is_kcptun(const struct cli_tunnel_stream *stream)
{
    return stream->session->tunnel->options->smux.version < CLI_SMUX_VERSION_NATIVE;
}

/* --- queue ------------------------------------------------------------------------------------ */

static bool grow(struct cli_heap *heap, struct cli_tunnel_queue *queue, size_t wanted)
{
    size_t room = queue->room == 0 ? QUEUE_BYTES_MIN : queue->room;
    while (room < wanted) {
        room *= 2;
    }
    if (room == queue->room) {
        return true;
    }
    uint8_t *bytes = cli_heap_take(heap, room);
    if (bytes == NULL) {
        return false;
    }
    size_t front = queue->room - queue->first;
    front = front < queue->used ? front : queue->used;
    if (queue->used > 0) {
        memcpy(bytes, queue->bytes + queue->first, front);
        memcpy(bytes + front, queue->bytes, queue->used - front);
    }
    cli_heap_give(heap, queue->bytes, queue->room);
    *queue = (struct cli_tunnel_queue){.bytes = bytes, .room = room, .used = queue->used};
    return true;
}

static bool append(struct cli_heap *heap, struct cli_tunnel_queue *queue, struct weir_span data)
{
    if (!grow(heap, queue, queue->used + data.length)) {
        return false;
    }
    size_t start = (queue->first + queue->used) % queue->room;
    size_t front = queue->room - start;
    front = front < data.length ? front : data.length;
    memcpy(queue->bytes + start, data.data, front);
    memcpy(queue->bytes, data.data + front, data.length - front);
    queue->used += data.length;
    return true;
}

static void skip(struct cli_heap *heap, struct cli_tunnel_queue *queue, size_t length)
{
    queue->first = (queue->first + length) % queue->room;
    queue->used -= length;
    if (queue->used == 0) {
        queue->first = 0;
        if (queue->room > QUEUE_BYTES_KEPT) {
            cli_heap_give(heap, queue->bytes, queue->room);
            *queue = (struct cli_tunnel_queue){0};
        }
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static struct cli_tunnel_stream *make_stream(struct cli_tunnel_session *session, int fd)
{
    struct cli_tunnel *tunnel = session->tunnel;
    struct cli_tunnel_stream *stream = cli_heap_take_zeroed(&tunnel->heap, sizeof(*stream));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = stream};
    if (stream == NULL || epoll_ctl(tunnel->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        cli_heap_give(&tunnel->heap, stream, sizeof(*stream));
        cli_tcp_reset(fd);
        return NULL;
    }
    stream->source.kind = CLI_TUNNEL_STREAM;
    stream->fd = fd;
    stream->session = session;
    stream->give_up_at = WEIR_NEVER;
    weir_list_append(&session->streams, &stream->all);
    cli_tunnel_count(tunnel, 1);
    tunnel->connections_total++;
    return stream;
}

struct cli_tunnel_stream *cli_tunnel_stream_accept(struct cli_tunnel_session *session, int fd)
{
    struct cli_tunnel_stream *stream = make_stream(session, fd);
    if (stream != NULL) {
        stream->give_up_at = session->tunnel->now + WAIT_TIMEOUT;
    }
    return stream;
}

struct cli_tunnel_stream *cli_tunnel_stream_dial(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    char text[WEIR_ADDR_TEXT_BYTES];
    bool is_connecting = false;
    int fd = cli_tcp_dial(&tunnel->options->tcp, &is_connecting);
    if (fd < 0) {
        int error = errno;
        weir_addr_format(&tunnel->options->tcp, text);
        cli_tunnel_complain(tunnel, "cannot connect to tcp://%s: %s", text, cli_text_errno(error));
        return NULL;
    }
    struct cli_tunnel_stream *stream = make_stream(session, fd);
    if (stream != NULL) {
        stream->is_connecting = is_connecting;
        stream->give_up_at = is_connecting ? tunnel->now + DIAL_TIMEOUT : WEIR_NEVER;
    }
    return stream;
}

/* Leaves its lists and its session; the struct stays until epoll cannot name it any more. */
static void let_go(struct cli_tunnel_stream *stream)
{
    struct cli_tunnel_session *session = stream->session;
    struct cli_tunnel *tunnel = session->tunnel;
    if (stream->smux != NULL) {
        cli_smux_release(session->smux, stream->smux);
        stream->smux = NULL;
        cli_tunnel_session_touch(session);
    }
    if (weir_link_is_linked(&stream->ready)) {
        weir_list_remove(&session->ready, &stream->ready);
    }
    if (weir_link_is_linked(&stream->dirty)) {
        weir_list_remove(&session->dirty, &stream->dirty);
    }
    weir_list_remove(&session->streams, &stream->all);
    weir_list_append(&tunnel->dead_streams, &stream->all);
    stream->fd = -1;
    cli_tunnel_count(tunnel, -1);
}

static void close_stream(struct cli_tunnel_stream *stream)
{
    close(stream->fd);
    let_go(stream);
}

void cli_tunnel_stream_cut(struct cli_tunnel_stream *stream)
{
    stream->session->tunnel->cut_count++;
    cli_tcp_reset(stream->fd);
    let_go(stream);
}

void cli_tunnel_stream_free(struct cli_tunnel *tunnel, struct cli_tunnel_stream *stream)
{
    cli_heap_give(&tunnel->heap, stream->queue.bytes, stream->queue.room);
    cli_heap_give(&tunnel->heap, stream, sizeof(*stream));
}

void cli_tunnel_stream_sweep(struct cli_tunnel_stream *stream)
{
    struct cli_tunnel *tunnel = stream->session->tunnel;
    char text[WEIR_ADDR_TEXT_BYTES];
    if (tunnel->now < stream->give_up_at) {
        return;
    }
    if (stream->is_connecting) {
        weir_addr_format(&tunnel->options->tcp, text);
        cli_tunnel_complain(tunnel, "tcp://%s does not answer", text);
    }
    cli_tunnel_stream_cut(stream);
}

/* --- from TCP --------------------------------------------------------------------------------- */

static void set_ready(struct cli_tunnel_stream *stream)
{
    if (!weir_link_is_linked(&stream->ready)) {
        weir_list_append(&stream->session->ready, &stream->ready);
    }
    cli_tunnel_session_touch(stream->session);
}

static void set_dirty(struct cli_tunnel_stream *stream)
{
    if (!weir_link_is_linked(&stream->dirty)) {
        weir_list_append(&stream->session->dirty, &stream->dirty);
    }
    cli_tunnel_session_touch(stream->session);
}

static bool finish_dial(struct cli_tunnel_stream *stream)
{
    struct cli_tunnel *tunnel = stream->session->tunnel;
    char text[WEIR_ADDR_TEXT_BYTES];
    int error = cli_tcp_error(stream->fd);
    stream->is_connecting = false;
    stream->give_up_at = WEIR_NEVER;
    if (error != 0) {
        weir_addr_format(&tunnel->options->tcp, text);
        cli_tunnel_complain(tunnel, "cannot connect to tcp://%s: %s", text, cli_text_errno(error));
        close_stream(stream);
    }
    return error == 0;
}

void cli_tunnel_stream_on_events(struct cli_tunnel_stream *stream, uint32_t events)
{
    if (stream->fd < 0) {
        return;
    }
    /* A dial that is under way reports itself as hung up. */
    if (stream->is_connecting && (events & (EPOLLOUT | EPOLLERR)) == 0) {
        return;
    }
    if (stream->is_connecting && !finish_dial(stream)) {
        return;
    }
    if ((events & EPOLLERR) != 0 && stream->is_read_ended) {
        cli_tunnel_stream_cut(stream); /* no read would tell */
        return;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        stream->is_hup_seen = true;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && !stream->is_read_ended) {
        set_ready(stream);
    }
    if ((events & (EPOLLOUT | EPOLLERR)) != 0) {
        stream->is_writable = true;
        set_dirty(stream);
    }
}

/* TCP's side has ended. */
static void on_read_end(struct cli_tunnel_stream *stream)
{
    stream->is_read_ended = true;
    cli_smux_finish(stream->session->smux, stream->smux);
    if (is_kcptun(stream)) {
        stream->give_up_at = stream->session->tunnel->now + LINGER_TIMEOUT;
    }
    set_dirty(stream);
}

enum cli_tunnel_read cli_tunnel_stream_read(struct cli_tunnel_stream *stream, uint8_t *bytes,
                                            size_t room, size_t *length)
{
    *length = 0;
    ssize_t got = recv(stream->fd, bytes, room, 0);
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return errno == EINTR ? CLI_TUNNEL_READ_MORE : CLI_TUNNEL_READ_ALL;
        }
        cli_tunnel_stream_cut(stream);
        return CLI_TUNNEL_READ_END;
    }
    if (got == 0) {
        on_read_end(stream);
        return CLI_TUNNEL_READ_END;
    }
    *length = (size_t)got;
    stream->session->tunnel->bytes_in += (size_t)got;
    /* A short read has emptied the socket; epoll tells of what comes after. */
    return (size_t)got == room || stream->is_hup_seen ? CLI_TUNNEL_READ_MORE : CLI_TUNNEL_READ_ALL;
}

/* --- to TCP ----------------------------------------------------------------------------------- */

/* Tells smux and counts. */
static void on_written(struct cli_tunnel_stream *stream, size_t length)
{
    struct cli_tunnel *tunnel = stream->session->tunnel;
    cli_smux_consume(stream->session->smux, stream->smux, length);
    tunnel->bytes_out += length;
    if (stream->give_up_at != WEIR_NEVER) {
        stream->give_up_at = tunnel->now + LINGER_TIMEOUT;
    }
    cli_tunnel_session_touch(stream->session);
}

/* What a write that failed means. True: nothing, it works again later. */
static bool is_write_blocked(struct cli_tunnel_stream *stream)
{
    if (errno == EINTR) {
        return true;
    }
    if (errno == EAGAIN) {
        stream->is_writable = false;
        return true;
    }
    cli_tunnel_stream_cut(stream);
    return false;
}

void cli_tunnel_stream_put(struct cli_tunnel_stream *stream, struct weir_span data)
{
    if (stream->queue.used == 0 && stream->is_writable && data.length >= DIRECT_BYTES_MIN) {
        ssize_t put = send(stream->fd, data.data, data.length, MSG_NOSIGNAL);
        if (put < 0 && !is_write_blocked(stream)) {
            return;
        }
        if (put > 0) {
            on_written(stream, (size_t)put);
            data.data += put;
            data.length -= (size_t)put;
        }
    }
    if (data.length == 0) {
        return;
    }
    if (!append(&stream->session->tunnel->heap, &stream->queue, data)) {
        cli_tunnel_complain(stream->session->tunnel, "out of memory: a connection is cut");
        cli_tunnel_stream_cut(stream);
        return;
    }
    set_dirty(stream);
}

void cli_tunnel_stream_on_finished(struct cli_tunnel_stream *stream)
{
    stream->is_peer_finished = true;
    set_dirty(stream);
}

/* Writes the queue. False: the stream is gone. */
static bool write_queue(struct cli_tunnel_stream *stream)
{
    struct cli_tunnel_queue *queue = &stream->queue;
    while (queue->used > 0 && stream->is_writable) {
        size_t front = queue->room - queue->first;
        front = front < queue->used ? front : queue->used;
        struct iovec parts[2] = {{.iov_base = queue->bytes + queue->first, .iov_len = front},
                                 {.iov_base = queue->bytes, .iov_len = queue->used - front}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = front < queue->used ? 2 : 1};
        ssize_t put = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
        if (put < 0) {
            if (!is_write_blocked(stream)) {
                return false;
            }
            continue;
        }
        skip(&stream->session->tunnel->heap, queue, (size_t)put);
        on_written(stream, (size_t)put);
    }
    return true;
}

/* kcptun's end is that of both directions: there is nobody left to send to. */
static void end_of_kcptun(struct cli_tunnel_stream *stream)
{
    if (!stream->is_read_ended) {
        cli_smux_finish(stream->session->smux, stream->smux);
        stream->give_up_at = stream->session->tunnel->now + LINGER_TIMEOUT;
        set_ready(stream); /* what TCP has is read and thrown away, up to its end */
    }
}

void cli_tunnel_stream_flush(struct cli_tunnel_stream *stream)
{
    if (stream->smux == NULL || stream->is_connecting || !write_queue(stream)) {
        return;
    }
    if (stream->queue.used > 0 || !stream->is_peer_finished) {
        return;
    }
    if (!stream->is_write_shut) {
        stream->is_write_shut = true;
        (void)shutdown(stream->fd, SHUT_WR);
        if (is_kcptun(stream)) {
            end_of_kcptun(stream);
        }
    }
    if (stream->is_read_ended) {
        close_stream(stream);
    }
}
