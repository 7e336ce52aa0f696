/* SPDX-License-Identifier: MIT */
/*
 * option.c - fcntl, ioctl and socket options. What the engine cannot do is refused, never ignored.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "packetdrill/drill.h"

/* --- fcntl, ioctl ----------------------------------------------------------------------------- */

long weir_drill_fcntl(struct weir_drill *drill, int fd, int command, int argument)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    switch (command) {
    case F_GETFL:
        return O_RDWR | (socket->is_nonblocking ? O_NONBLOCK : 0);
    case F_SETFL:
        socket->is_nonblocking = (argument & O_NONBLOCK) != 0;
        return 0;
    case F_GETFD:
    case F_SETFD: /* there is no exec */
        return 0;
    default:
        return -EINVAL;
    }
}

long weir_drill_ioctl(struct weir_drill *drill, int fd, unsigned long request, void *argument)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    struct weir_tcp_conn_stats stats = {.queued = 0};
    if (socket == NULL) {
        return -EBADF;
    }
    if (argument == NULL) {
        return -EFAULT;
    }
    int *value = argument;
    if (socket->conn != NULL) {
        weir_tcp_conn_stats(drill->tcp, socket->conn, &stats);
    }
    switch (request) {
    case FIONBIO:
        socket->is_nonblocking = *value != 0;
        return 0;
    case FIONREAD:
        *value = (int)weir_drill_readable(drill, socket);
        return 0;
    case SIOCOUTQ:
        *value = (int)(stats.in_flight + stats.queued);
        return 0;
    case SIOCOUTQNSD:
        *value = (int)stats.queued;
        return 0;
    default:
        return -EINVAL;
    }
}

/* --- options ---------------------------------------------------------------------------------- */

/* Copies bytes, cut off at *length, and says how many. */
static long put(const void *from, size_t bytes, void *value, socklen_t *length)
{
    if (*length > bytes) {
        *length = (socklen_t)bytes;
    }
    memcpy(value, from, *length);
    return 0;
}

static long put_int(int number, void *value, socklen_t *length)
{
    return put(&number, sizeof(number), value, length);
}

static long get_socket(struct weir_drill_socket *socket, int name, void *value, socklen_t *length)
{
    switch (name) {
    case SO_ERROR:
        return put_int(-weir_drill_take_error(socket), value, length);
    case SO_TYPE:
        return put_int(SOCK_STREAM, value, length);
    case SO_PROTOCOL:
        return put_int(IPPROTO_TCP, value, length);
    case SO_DOMAIN:
        return put_int(socket->is_inet6 ? AF_INET6 : AF_INET, value, length);
    case SO_ACCEPTCONN:
        return put_int(socket->state == WEIR_DRILL_LISTENING, value, length);
    case SO_REUSEADDR:
        return put_int(socket->is_reusing, value, length);
    case SO_LINGER:
        return put(&socket->linger, sizeof(socket->linger), value, length);
    default:
        return -ENOPROTOOPT;
    }
}

static int max_segment(const struct weir_drill *drill, const struct weir_drill_socket *socket)
{
    enum {
        MSS_DEFAULT = 536 /* RFC 9293 3.7.1 */
    };

    struct weir_tcp_conn_stats stats;
    if (socket->conn == NULL) {
        return MSS_DEFAULT;
    }
    weir_tcp_conn_stats(drill->tcp, socket->conn, &stats);
    return (int)stats.mss;
}

static long get_tcp(struct weir_drill *drill, const struct weir_drill_socket *socket, int name,
                    void *value, socklen_t *length)
{
    const struct weir_tcp_tuning *tuning = &drill->config.tuning;
    const char *control = weir_cc_text(drill->config.cc);
    switch (name) {
    case TCP_NODELAY:
        return put_int(socket->is_nodelay, value, length);
    case TCP_CORK:
        return put_int(socket->is_corked, value, length);
    case TCP_MAXSEG:
        return put_int(max_segment(drill, socket), value, length);
    case TCP_USER_TIMEOUT:
        return put_int((int)(tuning->user_timeout / WEIR_MSEC), value, length);
    case TCP_LINGER2:
        return put_int((int)(tuning->fin_timeout / WEIR_SEC), value, length);
    case TCP_CONGESTION:
        return put(control, strlen(control) + 1, value, length);
    case TCP_INFO:
        *length = (socklen_t)weir_drill_fill_info(drill, socket, value, *length);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

long weir_drill_getsockopt(struct weir_drill *drill, int fd, int level, int name, void *value,
                           socklen_t *length)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    if (socket == NULL) {
        return -EBADF;
    }
    if (value == NULL || length == NULL) {
        return -EFAULT;
    }
    if (level == SOL_SOCKET) {
        return get_socket(socket, name, value, length);
    }
    return level == IPPROTO_TCP ? get_tcp(drill, socket, name, value, length) : -ENOPROTOOPT;
}

static long set_socket(struct weir_drill_socket *socket, int name, const void *value,
                       socklen_t length)
{
    if (name == SO_LINGER) {
        if (length < sizeof(socket->linger)) {
            return -EINVAL;
        }
        memcpy(&socket->linger, value, sizeof(socket->linger));
        return 0;
    }
    if (name == SO_REUSEADDR) {
        int number;
        memcpy(&number, value, sizeof(number));
        socket->is_reusing = number != 0;
        return 0;
    }
    return -ENOPROTOOPT;
}

/* The engine's times are those of all connections. */
static long tune(struct weir_drill *drill, weir_nsec *time, weir_nsec value)
{
    const weir_nsec before = *time;
    *time = value;
    if (weir_tcp_tune(drill->tcp, &drill->config.tuning) != WEIR_OK) {
        *time = before;
        return -EINVAL;
    }
    return 0;
}

static long set_tcp(struct weir_drill *drill, struct weir_drill_socket *socket, int name, int value)
{
    struct weir_tcp_tuning *tuning = &drill->config.tuning;
    switch (name) {
    case TCP_NODELAY:
        socket->is_nodelay = value != 0;
        weir_drill_apply_options(drill, socket);
        return 0;
    case TCP_CORK:
        socket->is_corked = value != 0;
        weir_drill_apply_options(drill, socket);
        return 0;
    case TCP_USER_TIMEOUT:
        return value < 0 ? -EINVAL
                         : tune(drill, &tuning->user_timeout, (weir_nsec)value * WEIR_MSEC);
    case TCP_LINGER2:
        return value < 0 ? -EINVAL : tune(drill, &tuning->fin_timeout, (weir_nsec)value * WEIR_SEC);
    default:
        return -ENOPROTOOPT;
    }
}

/* The controller is the endpoint's: only the one that is in use can be asked for. */
static long set_congestion(const struct weir_drill *drill, const char *name, socklen_t length)
{
    const char *used = weir_cc_text(drill->config.cc);
    const size_t bytes = strnlen(name, length);
    return strlen(used) == bytes && memcmp(name, used, bytes) == 0 ? 0 : -ENOENT;
}

long weir_drill_setsockopt(struct weir_drill *drill, int fd, int level, int name, const void *value,
                           socklen_t length)
{
    struct weir_drill_socket *socket = weir_drill_socket_at(drill, fd);
    int number;
    if (socket == NULL) {
        return -EBADF;
    }
    if (value == NULL) {
        return -EFAULT;
    }
    if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
        return set_congestion(drill, value, length);
    }
    if (length < sizeof(number)) {
        return -EINVAL;
    }
    memcpy(&number, value, sizeof(number));
    if (level == SOL_SOCKET) {
        return set_socket(socket, name, value, length);
    }
    return level == IPPROTO_TCP ? set_tcp(drill, socket, name, number) : -ENOPROTOOPT;
}
