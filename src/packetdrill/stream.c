/* SPDX-License-Identifier: MIT */
/*
 * stream.c - bytes in and out of a connection.
 *
 * The engine's connections are paused, so that what packetdrill has not read fills the receive
 * window as it does in a kernel; a read lets one piece through at a time.
 */
#include <errno.h>
#include <string.h>

#include "packetdrill/drill.h"

enum {
    PIECE_BYTES_MIN = 1024, /* of a send that does not fit as a whole */
    RECV_FLAGS = MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC,
    SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_OOB | MSG_EOR
};

/* --- receiving -------------------------------------------------------------------------------- */

size_t weir_drill_readable(const struct weir_drill *drill, const struct weir_drill_socket *socket)
{
    struct weir_tcp_conn_stats stats;
    if (socket->conn == NULL || socket->is_peer_closed) {
        return socket->left_bytes;
    }
    weir_tcp_conn_stats(drill->tcp, socket->conn, &stats);
    /* The peer's FIN waits like a byte. */
    const bool has_fin =
        stats.state == WEIR_TCP_STATE_CLOSE_WAIT || stats.state == WEIR_TCP_STATE_LAST_ACK ||
        stats.state == WEIR_TCP_STATE_CLOSING || stats.state == WEIR_TCP_STATE_TIME_WAIT;
    return socket->left_bytes + stats.held - (has_fin && stats.held > 0);
}

/* The next piece from the engine. false: there is none. */
static bool refill(struct weir_drill *drill, struct weir_drill_socket *socket)
{
    if (socket->conn == NULL || weir_tcp_pause(drill->tcp, socket->conn, false) != WEIR_OK) {
        return false;
    }
    while (socket->left_bytes == 0 && weir_drill_take_event(drill)) {
    }
    if (socket->conn != NULL) {
        (void)weir_tcp_pause(drill->tcp, socket->conn, true);
    }
    return socket->left_bytes > 0;
}

static size_t copy_out(struct weir_drill *drill, struct weir_drill_socket *socket,
                       const struct iovec *iov, bool is_peeking)
{
    size_t copied = 0;
    while (copied < iov->iov_len && (socket->left_bytes > 0 || refill(drill, socket))) {
        size_t bytes = iov->iov_len - copied;
        bytes = bytes < socket->left_bytes ? bytes : socket->left_bytes;
        memcpy((uint8_t *)iov->iov_base + copied, socket->left + socket->left_off, bytes);
        copied += bytes;
        if (is_peeking) {
            break;
        }
        socket->left_off += bytes;
        socket->left_bytes -= bytes;
    }
    return copied;
}

/* Why nothing more can be read: 0 the end, or -errno; 1: more may come. */
static long receive_state(struct weir_drill_socket *socket)
{
    if (socket->error != 0) {
        return weir_drill_take_error(socket);
    }
    if (socket->is_receive_shut || socket->is_peer_closed || socket->state == WEIR_DRILL_CLOSED) {
        return 0;
    }
    return socket->state == WEIR_DRILL_CONNECTED ? 1 : -ENOTCONN;
}

static size_t total_bytes(const struct iovec *iov, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

long weir_drill_recv(struct weir_drill *drill, int fd, const struct iovec *iov, size_t count,
                     int flags)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if ((flags & ~RECV_FLAGS) != 0) {
        return -EOPNOTSUPP;
    }
    const bool is_peeking = (flags & MSG_PEEK) != 0;
    const size_t wanted = (flags & MSG_WAITALL) != 0 && !is_peeking ? total_bytes(iov, count) : 1;
    struct iovec at = {.iov_len = 0};
    size_t copied = 0;
    for (size_t i = 0;;) {
        while (at.iov_len == 0 && i < count) {
            at = iov[i++];
        }
        size_t bytes = copy_out(drill, socket, &at, is_peeking);
        copied += bytes;
        at.iov_base = (uint8_t *)at.iov_base + bytes;
        at.iov_len -= bytes;
        if (at.iov_len == 0 && i < count && !is_peeking) {
            continue;
        }
        if (copied >= wanted || total_bytes(iov, count) == 0) {
            return (long)copied;
        }
        long state = copied > 0 && socket->error != 0 ? 0 : receive_state(socket);
        if (state <= 0) {
            return copied > 0 ? (long)copied : state;
        }
        if (socket->is_nonblocking || (flags & MSG_DONTWAIT) != 0) {
            return copied > 0 ? (long)copied : -EAGAIN;
        }
        if (!weir_drill_wait(drill, WEIR_NEVER)) {
            return -EDEADLK;
        }
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

/* 0: bytes may be queued; else -errno. */
static long send_state(struct weir_drill_socket *socket)
{
    if (socket->error != 0) {
        return weir_drill_take_error(socket);
    }
    if (socket->is_send_shut || socket->state == WEIR_DRILL_CLOSED) {
        return -EPIPE;
    }
    return socket->state == WEIR_DRILL_CONNECTED ? 0 : -EPIPE;
}

/* As much as the engine takes now: all, or a part. */
static size_t queue_some(struct weir_drill *drill, struct weir_drill_socket *socket,
                         const uint8_t *data, size_t length)
{
    size_t bytes = length < WEIR_TCP_SEND_BYTES_MAX ? length : WEIR_TCP_SEND_BYTES_MAX;
    enum weir_status status = weir_tcp_send(drill->tcp, socket->conn, data, bytes);
    while (status == WEIR_ERR_FULL && bytes / 2 >= PIECE_BYTES_MIN) {
        bytes /= 2;
        status = weir_tcp_send(drill->tcp, socket->conn, data, bytes);
    }
    socket->is_full = status == WEIR_ERR_FULL;
    return status == WEIR_OK ? bytes : 0;
}

/* Queues one piece of memory, waiting if need be. Returns how much, less than length when it may
 * not wait or the connection broke, or -errno. */
static long send_piece(struct weir_drill *drill, struct weir_drill_socket *socket,
                       const struct iovec *iov, bool is_waiting)
{
    size_t sent = 0;
    while (sent < iov->iov_len) {
        long state = sent > 0 && socket->error != 0 ? -EPIPE : send_state(socket);
        if (state != 0) {
            return sent > 0 ? (long)sent : state;
        }
        size_t bytes =
            queue_some(drill, socket, (const uint8_t *)iov->iov_base + sent, iov->iov_len - sent);
        sent += bytes;
        if (bytes > 0 || sent == iov->iov_len) {
            continue;
        }
        if (!is_waiting) {
            return sent > 0 ? (long)sent : -EAGAIN;
        }
        if (!weir_drill_wait(drill, WEIR_NEVER)) {
            return sent > 0 ? (long)sent : -EDEADLK;
        }
    }
    return (long)sent;
}

/* The first call after connect may come before the answer. */
static long await_connection(struct weir_drill *drill, struct weir_drill_socket *socket,
                             bool is_waiting)
{
    while (socket->state == WEIR_DRILL_CONNECTING) {
        if (!is_waiting) {
            return -EAGAIN;
        }
        if (!weir_drill_wait(drill, WEIR_NEVER)) {
            return -EDEADLK;
        }
    }
    return send_state(socket);
}

long weir_drill_send(struct weir_drill *drill, int fd, const struct iovec *iov, size_t count,
                     int flags)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if ((flags & ~SEND_FLAGS) != 0) {
        return -EOPNOTSUPP;
    }
    const bool is_waiting = !socket->is_nonblocking && (flags & MSG_DONTWAIT) == 0;
    const bool is_more = (flags & MSG_MORE) != 0;
    long sent = await_connection(drill, socket, is_waiting);
    if (sent != 0) {
        return sent;
    }
    if (is_more) {
        (void)weir_tcp_cork(drill->tcp, socket->conn, true);
    }
    for (size_t i = 0; i < count; i++) {
        long piece = send_piece(drill, socket, &iov[i], is_waiting);
        if (piece < 0) {
            return sent > 0 ? sent : piece;
        }
        sent += piece;
        if ((size_t)piece < iov[i].iov_len) {
            break;
        }
    }
    if (socket->conn != NULL && (flags & MSG_OOB) != 0) {
        weir_tcp_urgent(drill->tcp, socket->conn);
    }
    if (socket->conn != NULL && !is_more && !socket->is_corked) {
        (void)weir_tcp_cork(drill->tcp, socket->conn, false);
    }
    return sent;
}
