/* SPDX-License-Identifier: MIT */
/*
 * socket.c - sockets: from socket to close, and what the engine tells of their connections.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "packetdrill/drill.h"

enum {
    PORT_FIRST = 32768 /* for bind to port 0 */
};

/* --- the table -------------------------------------------------------------------------------- */

struct weir_drill_socket *weir_drill_socket_at(struct weir_drill *drill, int fd)
{
    if (fd < WEIR_DRILL_FD_FIRST || fd >= WEIR_DRILL_FD_FIRST + WEIR_DRILL_SOCKETS_MAX) {
        return NULL;
    }
    struct weir_drill_socket *socket = &drill->sockets[fd - WEIR_DRILL_FD_FIRST];
    return socket->state == WEIR_DRILL_FREE || socket->is_orphan || socket->parent != NULL ? NULL
                                                                                           : socket;
}

static long fd_of(const struct weir_drill *drill, const struct weir_drill_socket *socket)
{
    return WEIR_DRILL_FD_FIRST + (socket - drill->sockets);
}

static struct weir_drill_socket *take_socket(struct weir_drill *drill, bool is_inet6)
{
    for (unsigned i = 0; i < WEIR_DRILL_SOCKETS_MAX; i++) {
        struct weir_drill_socket *socket = &drill->sockets[i];
        if (socket->state == WEIR_DRILL_FREE) {
            memset(socket, 0, sizeof(*socket));
            socket->state = WEIR_DRILL_NEW;
            socket->is_inet6 = is_inet6;
            socket->listener = -1;
            socket->order = drill->order++;
            return socket;
        }
    }
    return NULL;
}

static struct weir_drill_socket *find_conn(struct weir_drill *drill,
                                           const struct weir_tcp_conn *conn)
{
    for (unsigned i = 0; i < WEIR_DRILL_SOCKETS_MAX; i++) {
        if (drill->sockets[i].state != WEIR_DRILL_FREE && drill->sockets[i].conn == conn) {
            return &drill->sockets[i];
        }
    }
    return NULL;
}

struct weir_drill_socket *weir_drill_socket_waiting(struct weir_drill *drill,
                                                    const struct weir_drill_socket *parent)
{
    struct weir_drill_socket *first = NULL;
    for (unsigned i = 0; i < WEIR_DRILL_SOCKETS_MAX; i++) {
        struct weir_drill_socket *socket = &drill->sockets[i];
        if (socket->state != WEIR_DRILL_FREE && socket->parent == parent &&
            (first == NULL || socket->order < first->order)) {
            first = socket;
        }
    }
    return first;
}

int weir_drill_take_error(struct weir_drill_socket *socket)
{
    int error = socket->error;
    socket->error = 0;
    return -error;
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool is_any(const struct weir_addr *addr)
{
    static const uint8_t zeros[sizeof(addr->ip)];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool read_addr(const struct sockaddr *from, socklen_t length, struct weir_addr *addr)
{
    *addr = (struct weir_addr){.family = WEIR_ADDR_NONE};
    if (from == NULL || length < sizeof(from->sa_family)) {
        return false;
    }
    if (from->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in4;
        memcpy(&in4, from, sizeof(in4));
        memcpy(addr->ip, &in4.sin_addr, sizeof(in4.sin_addr));
        addr->port = ntohs(in4.sin_port);
        addr->family = WEIR_ADDR_IP4;
        return true;
    }
    if (from->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof(in6));
        addr->port = ntohs(in6.sin6_port);
        if (memcmp(&in6.sin6_addr, mapped_prefix, sizeof(mapped_prefix)) == 0) {
            memcpy(addr->ip, (const uint8_t *)&in6.sin6_addr + sizeof(mapped_prefix), 4);
            addr->family = WEIR_ADDR_IP4;
        } else {
            memcpy(addr->ip, &in6.sin6_addr, sizeof(in6.sin6_addr));
            addr->family = WEIR_ADDR_IP6;
        }
        return true;
    }
    return false;
}

/* As for a socket of this family; cut off at *length, which becomes the whole length. */
static void write_addr(const struct weir_addr *addr, bool is_inet6, struct sockaddr *to,
                       socklen_t *length)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};
    const void *from = is_inet6 ? (const void *)&in6 : (const void *)&in4;
    const socklen_t whole = is_inet6 ? sizeof(in6) : sizeof(in4);
    if (to == NULL || length == NULL) {
        return;
    }
    memcpy(&in4.sin_addr, addr->ip, sizeof(in4.sin_addr));
    if (addr->family == WEIR_ADDR_IP6) {
        memcpy(&in6.sin6_addr, addr->ip, sizeof(in6.sin6_addr));
    } else {
        memcpy(&in6.sin6_addr, mapped_prefix, sizeof(mapped_prefix));
        memcpy((uint8_t *)&in6.sin6_addr + sizeof(mapped_prefix), addr->ip, 4);
    }
    memcpy(to, from, *length < whole ? *length : whole);
    *length = whole;
}

/* --- events ----------------------------------------------------------------------------------- */

static int error_of(enum weir_tcp_close_cause cause)
{
    static const int errors[] = {[WEIR_TCP_CAUSE_DONE] = 0,
                                 [WEIR_TCP_CAUSE_ABORTED] = ECONNABORTED,
                                 [WEIR_TCP_CAUSE_RESET] = ECONNRESET,
                                 [WEIR_TCP_CAUSE_REFUSED] = ECONNREFUSED,
                                 [WEIR_TCP_CAUSE_TIMEOUT] = ETIMEDOUT,
                                 [WEIR_TCP_CAUSE_UNREACHABLE] = EHOSTUNREACH};
    return cause < sizeof(errors) / sizeof(errors[0]) ? errors[cause] : EIO;
}

void weir_drill_apply_options(struct weir_drill *drill, const struct weir_drill_socket *socket)
{
    if (socket->conn == NULL) {
        return;
    }
    (void)weir_tcp_nodelay(drill->tcp, socket->conn, socket->is_nodelay);
    (void)weir_tcp_cork(drill->tcp, socket->conn, socket->is_corked);
}

static struct weir_drill_socket *find_listener(struct weir_drill *drill, int listener)
{
    for (unsigned i = 0; i < WEIR_DRILL_SOCKETS_MAX; i++) {
        struct weir_drill_socket *socket = &drill->sockets[i];
        if (socket->state == WEIR_DRILL_LISTENING && socket->listener == listener) {
            return socket;
        }
    }
    return NULL;
}

static void on_opened(struct weir_drill *drill, struct weir_tcp_conn *conn, int listener)
{
    struct weir_drill_socket *socket = find_conn(drill, conn);
    struct weir_drill_socket *parent = find_listener(drill, listener);
    if (listener >= 0 && parent != NULL) {
        socket = take_socket(drill, parent->is_inet6);
        if (socket != NULL) {
            socket->parent = parent;
            socket->conn = conn;
            socket->is_nodelay = parent->is_nodelay;
            socket->is_corked = parent->is_corked;
            socket->linger = parent->linger;
        }
    }
    if (socket == NULL) {
        (void)weir_tcp_abort(drill->tcp, conn);
        return;
    }
    socket->state = WEIR_DRILL_CONNECTED;
    socket->local = weir_tcp_path(drill->tcp, conn).local;
    weir_drill_apply_options(drill, socket);
    /* A socket that was closed meanwhile reads nothing, and waits for nothing. */
    (void)weir_tcp_pause(drill->tcp, conn, !socket->is_orphan);
}

static void on_data(struct weir_drill *drill, struct weir_tcp_conn *conn, struct weir_span span)
{
    struct weir_drill_socket *socket = find_conn(drill, conn);
    /* RFC 9293 3.6.1: data that nobody will read is answered with RST (SHOULD-3). */
    if (socket == NULL || socket->is_orphan || socket->left_bytes > 0 ||
        span.length > sizeof(socket->left)) {
        (void)weir_tcp_abort(drill->tcp, conn);
        return;
    }
    if (!socket->is_receive_shut) {
        memcpy(socket->left, span.data, span.length);
        socket->left_off = 0;
        socket->left_bytes = span.length;
    }
}

static void on_closed(struct weir_drill_socket *socket, enum weir_tcp_close_cause cause)
{
    if (socket->is_orphan) {
        socket->state = WEIR_DRILL_FREE;
        return;
    }
    /* Linux: a reset after the peer's FIN is a broken pipe. */
    const bool is_broken = cause == WEIR_TCP_CAUSE_RESET && socket->is_peer_closed;
    socket->error = is_broken ? EPIPE : error_of(cause);
    socket->conn = NULL;
    socket->state = WEIR_DRILL_CLOSED;
    socket->is_peer_closed |= cause == WEIR_TCP_CAUSE_DONE;
}

bool weir_drill_take_event(struct weir_drill *drill)
{
    struct weir_tcp_event event;
    if (weir_tcp_event(drill->tcp, &event) != WEIR_OK) {
        return false;
    }
    struct weir_drill_socket *socket = find_conn(drill, event.conn);
    if (event.type == WEIR_TCP_EVENT_OPENED) {
        on_opened(drill, event.conn, event.opened.listener);
    } else if (event.type == WEIR_TCP_EVENT_DATA) {
        on_data(drill, event.conn, event.data.span);
    } else if (socket == NULL) {
        return true; /* of a connection that found no socket */
    } else if (event.type == WEIR_TCP_EVENT_WRITABLE) {
        socket->is_full = false;
    } else if (event.type == WEIR_TCP_EVENT_PEER_CLOSED) {
        socket->is_peer_closed = true;
    } else if (event.type == WEIR_TCP_EVENT_CLOSED) {
        on_closed(socket, event.closed.cause);
    }
    return true;
}

void weir_drill_on_events(void *user, weir_nsec now)
{
    (void)now;
    while (weir_drill_take_event(user)) {
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

long weir_drill_socket(struct weir_drill *drill, int domain, int type, int protocol)
{
    if (domain != AF_INET && domain != AF_INET6) {
        return -EAFNOSUPPORT;
    }
    if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM ||
        (protocol != 0 && protocol != IPPROTO_TCP)) {
        return -EPROTONOSUPPORT;
    }
    struct weir_drill_socket *socket = take_socket(drill, domain == AF_INET6);
    if (socket == NULL) {
        return -EMFILE;
    }
    socket->is_nonblocking = (type & SOCK_NONBLOCK) != 0;
    return fd_of(drill, socket);
}

long weir_drill_bind(struct weir_drill *drill, int fd, const struct sockaddr *addr,
                     socklen_t length)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    struct weir_addr local;
    if (socket == NULL) {
        return -EBADF;
    }
    if (socket->state != WEIR_DRILL_NEW || socket->local.family != WEIR_ADDR_NONE ||
        !read_addr(addr, length, &local)) {
        return -EINVAL;
    }
    if (!socket->is_inet6 && local.family != WEIR_ADDR_IP4) {
        return -EAFNOSUPPORT;
    }
    if (!is_any(&local) && !weir_drill_net_add(drill, &local)) {
        return -EADDRNOTAVAIL;
    }
    if (local.port == 0) {
        local.port = (uint16_t)(PORT_FIRST + drill->order++ % (UINT16_MAX - PORT_FIRST));
    }
    socket->local = local;
    return 0;
}

long weir_drill_listen(struct weir_drill *drill, int fd)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if (socket->state == WEIR_DRILL_LISTENING) {
        return 0;
    }
    if (socket->state != WEIR_DRILL_NEW || socket->local.family == WEIR_ADDR_NONE) {
        return -EINVAL;
    }
    enum weir_status status = weir_tcp_listen(drill->tcp, &socket->local, &socket->listener);
    if (status != WEIR_OK) {
        return status == WEIR_ERR_FULL ? -EADDRINUSE : -EINVAL;
    }
    socket->state = WEIR_DRILL_LISTENING;
    return 0;
}

long weir_drill_accept(struct weir_drill *drill, int fd, struct sockaddr *addr, socklen_t *length)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    struct weir_drill_socket *made = NULL;
    if (socket == NULL) {
        return -EBADF;
    }
    for (;;) {
        if (socket->state != WEIR_DRILL_LISTENING) {
            return -EINVAL;
        }
        made = weir_drill_socket_waiting(drill, socket);
        if (made != NULL) {
            break;
        }
        if (socket->is_nonblocking) {
            return -EAGAIN;
        }
        if (!weir_drill_wait(drill, WEIR_NEVER)) {
            return -EDEADLK;
        }
    }
    made->parent = NULL;
    if (made->conn != NULL) {
        struct weir_path path = weir_tcp_path(drill->tcp, made->conn);
        write_addr(&path.remote, made->is_inet6, addr, length);
    }
    return fd_of(drill, made);
}

static long begin_connect(struct weir_drill *drill, struct weir_drill_socket *socket,
                          const struct weir_addr *remote)
{
    struct weir_path path = {.local = socket->local, .remote = *remote};
    if (path.local.family == WEIR_ADDR_NONE || is_any(&path.local)) {
        if (!weir_drill_net_add_default(drill, remote->family)) {
            return -EADDRNOTAVAIL;
        }
        path.local = weir_drill_net_local(drill, remote->family);
        path.local.port = socket->local.port;
    }
    enum weir_status status = weir_tcp_connect(drill->tcp, drill->now, &path, NULL, &socket->conn);
    if (status != WEIR_OK) {
        socket->conn = NULL;
        return status == WEIR_ERR_FULL ? -EADDRNOTAVAIL : -EINVAL;
    }
    socket->state = WEIR_DRILL_CONNECTING;
    socket->is_peer_closed = socket->is_send_shut = socket->is_receive_shut = false;
    weir_drill_settle(drill); /* the SYN leaves now */
    return 0;
}

/* AF_UNSPEC: the socket is new again. */
static long disconnect(struct weir_drill *drill, struct weir_drill_socket *socket)
{
    struct weir_tcp_conn *conn = socket->conn;
    socket->conn = NULL;
    if (conn != NULL) {
        (void)weir_tcp_abort(drill->tcp, conn);
    }
    socket->state = WEIR_DRILL_NEW;
    socket->error = 0;
    socket->left_bytes = 0;
    return 0;
}

long weir_drill_connect(struct weir_drill *drill, int fd, const struct sockaddr *addr,
                        socklen_t length)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    struct weir_addr remote;
    if (socket == NULL) {
        return -EBADF;
    }
    if (addr != NULL && length >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC &&
        socket->state != WEIR_DRILL_LISTENING) {
        return disconnect(drill, socket);
    }
    if (!read_addr(addr, length, &remote)) {
        return -EINVAL;
    }
    if (socket->state == WEIR_DRILL_CONNECTED || socket->state == WEIR_DRILL_LISTENING) {
        return -EISCONN;
    }
    if (socket->error != 0) {
        return weir_drill_take_error(socket);
    }
    if (socket->state == WEIR_DRILL_CONNECTING) {
        if (socket->is_nonblocking) {
            return -EALREADY;
        }
    } else {
        long begun = begin_connect(drill, socket, &remote);
        if (begun != 0 || socket->is_nonblocking) {
            return begun != 0 ? begun : -EINPROGRESS;
        }
    }
    while (socket->state == WEIR_DRILL_CONNECTING) {
        if (!weir_drill_wait(drill, WEIR_NEVER)) {
            return -EDEADLK;
        }
    }
    return weir_drill_take_error(socket);
}

/* --- ending ----------------------------------------------------------------------------------- */

long weir_drill_shutdown(struct weir_drill *drill, int fd, int how)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
        return -EINVAL;
    }
    if (socket->state != WEIR_DRILL_CONNECTED) {
        return -ENOTCONN;
    }
    socket->is_receive_shut |= how != SHUT_WR;
    if (how != SHUT_RD && !socket->is_send_shut) {
        socket->is_send_shut = true;
        (void)weir_tcp_close(drill->tcp, socket->conn);
    }
    return 0;
}

static void end_connection(struct weir_drill *drill, struct weir_drill_socket *socket)
{
    /* RFC 9293 3.6.1: what was not read, and will not be, is answered with RST (SHOULD-3). */
    const bool is_reset = (socket->linger.l_onoff != 0 && socket->linger.l_linger == 0) ||
                          weir_drill_readable(drill, socket) > 0;
    socket->is_orphan = true;
    socket->parent = NULL;
    if (is_reset) {
        (void)weir_tcp_abort(drill->tcp, socket->conn);
    } else {
        (void)weir_tcp_pause(drill->tcp, socket->conn, false);
        (void)weir_tcp_close(drill->tcp, socket->conn);
    }
}

static void stop_listening(struct weir_drill *drill, struct weir_drill_socket *socket)
{
    struct weir_drill_socket *waiting;
    weir_tcp_unlisten(drill->tcp, socket->listener);
    while ((waiting = weir_drill_socket_waiting(drill, socket)) != NULL) {
        waiting->parent = NULL;
        waiting->is_orphan = true;
        if (waiting->conn == NULL) {
            waiting->state = WEIR_DRILL_FREE;
        } else {
            (void)weir_tcp_abort(drill->tcp, waiting->conn);
        }
    }
}

long weir_drill_close(struct weir_drill *drill, int fd)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if (socket->state == WEIR_DRILL_LISTENING) {
        stop_listening(drill, socket);
    }
    if (socket->conn != NULL) {
        end_connection(drill, socket);
    } else {
        socket->state = WEIR_DRILL_FREE;
    }
    return 0;
}
