/* SPDX-License-Identifier: MIT */
/*
 * poll.c - which sockets are ready.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "packetdrill/drill.h"

static unsigned events_of(struct weir_drill *drill, const struct weir_drill_socket *socket)
{
    unsigned events = 0;
    const bool is_receive_over = socket->is_receive_shut || socket->is_peer_closed;
    if (socket->state == WEIR_DRILL_LISTENING) {
        return weir_drill_socket_waiting(drill, socket) != NULL ? POLLIN | POLLRDNORM : 0;
    }
    if (socket->state == WEIR_DRILL_CONNECTING) {
        return 0;
    }
    if (socket->error != 0) {
        events |= POLLERR;
    }
    if (socket->state != WEIR_DRILL_CONNECTED) {
        /* No connection yet, or no more. */
        return events | POLLOUT | POLLHUP |
               (socket->state == WEIR_DRILL_CLOSED ? POLLIN | POLLRDNORM | POLLRDHUP : 0);
    }
    if (weir_drill_readable(drill, socket) > 0 || is_receive_over) {
        events |= POLLIN | POLLRDNORM;
    }
    if (is_receive_over) {
        events |= POLLRDHUP;
    }
    if (is_receive_over && socket->is_send_shut) {
        events |= POLLHUP;
    }
    if (!socket->is_full || socket->is_send_shut) {
        events |= POLLOUT | POLLWRNORM;
    }
    return events;
}

static long count_ready(struct weir_drill *drill, struct pollfd *fds, nfds_t count)
{
    long ready = 0;
    for (nfds_t i = 0; i < count; i++) {
        struct weir_drill_socket *socket = weir_drill_socket_at(drill, fds[i].fd);
        unsigned asked = (unsigned)(unsigned short)fds[i].events | POLLERR | POLLHUP;
        unsigned events = socket != NULL ? events_of(drill, socket) & asked : POLLNVAL;
        fds[i].revents = (short)(fds[i].fd >= 0 ? events : 0);
        ready += fds[i].revents != 0;
    }
    return ready;
}

long weir_drill_poll(struct weir_drill *drill, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    weir_nsec until = timeout_ms < 0 ? WEIR_NEVER : drill->now + (weir_nsec)timeout_ms * WEIR_MSEC;
    for (;;) {
        long ready = count_ready(drill, fds, count);
        if (ready != 0 || drill->now >= until) {
            return ready;
        }
        if (!weir_drill_wait(drill, until)) {
            return -EDEADLK;
        }
    }
}
