/* SPDX-License-Identifier: MIT */
/*
 * interface.c - the table of calls that packetdrill gets: lock, call, unlock.
 *
 * When opening failed userdata is NULL, and every call fails with EINVAL: the interface knows no
 * other way to say so, and packetdrill stops at its first gettimeofday.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "packetdrill/abi.h"
#include "packetdrill/drill.h"

/* NULL: errno is set. */
static struct weir_drill *enter(void *userdata)
{
    struct weir_drill *drill = userdata;
    if (drill == NULL) {
        errno = EINVAL;
        return NULL;
    }
    weir_drill_enter(drill);
    return drill;
}

/* What the call caused leaves at once; then its result becomes packetdrill's. */
static long leave(struct weir_drill *drill, long result)
{
    weir_drill_settle(drill);
    weir_drill_leave(drill);
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static int call_socket(void *userdata, int domain, int type, int protocol)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_socket(drill, domain, type, protocol));
}

static int call_bind(void *userdata, int fd, const struct sockaddr *addr, socklen_t length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_bind(drill, fd, addr, length));
}

static int call_listen(void *userdata, int fd, int backlog)
{
    struct weir_drill *drill = enter(userdata);
    (void)backlog; /* the table of sockets is the bound */
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_listen(drill, fd));
}

static int call_accept(void *userdata, int fd, struct sockaddr *addr, socklen_t *length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_accept(drill, fd, addr, length));
}

static int call_connect(void *userdata, int fd, const struct sockaddr *addr, socklen_t length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_connect(drill, fd, addr, length));
}

static int call_close(void *userdata, int fd)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_close(drill, fd));
}

static int call_shutdown(void *userdata, int fd, int how)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_shutdown(drill, fd, how));
}

/* --- bytes in --------------------------------------------------------------------------------- */

static ssize_t receive(void *userdata, int fd, const struct iovec *iov, size_t count, int flags)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : leave(drill, weir_drill_recv(drill, fd, iov, count, flags));
}

static ssize_t call_recv(void *userdata, int fd, void *data, size_t length, int flags)
{
    const struct iovec iov = {.iov_base = data, .iov_len = length};
    return receive(userdata, fd, &iov, 1, flags);
}

static ssize_t call_read(void *userdata, int fd, void *data, size_t length)
{
    return call_recv(userdata, fd, data, length, 0);
}

static ssize_t call_readv(void *userdata, int fd, const struct iovec *iov, int count)
{
    if (count < 0) {
        errno = EINVAL;
        return -1;
    }
    return receive(userdata, fd, iov, (size_t)count, 0);
}

/* NOLINTNEXTLINE(readability-function-size): the interface's parameters */
static ssize_t call_recvfrom(void *userdata, int fd, void *data, size_t length, int flags,
                             struct sockaddr *addr, socklen_t *addr_length)
{
    if (addr != NULL && addr_length != NULL) {
        *addr_length = 0; /* as the kernel's TCP does */
    }
    return call_recv(userdata, fd, data, length, flags);
}

static ssize_t call_recvmsg(void *userdata, int fd, struct msghdr *message, int flags)
{
    ssize_t result = receive(userdata, fd, message->msg_iov, message->msg_iovlen, flags);
    if (result >= 0) {
        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = 0;
    }
    return result;
}

/* --- bytes out -------------------------------------------------------------------------------- */

static ssize_t transmit(void *userdata, int fd, const struct iovec *iov, size_t count, int flags)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : leave(drill, weir_drill_send(drill, fd, iov, count, flags));
}

static ssize_t call_send(void *userdata, int fd, const void *data, size_t length, int flags)
{
    /* An iovec has no const, but is only read here. */
    const union {
        const void *in;
        void *out;
    } base = {.in = data};

    const struct iovec iov = {.iov_base = base.out, .iov_len = length};
    return transmit(userdata, fd, &iov, 1, flags);
}

static ssize_t call_write(void *userdata, int fd, const void *data, size_t length)
{
    return call_send(userdata, fd, data, length, 0);
}

static ssize_t call_writev(void *userdata, int fd, const struct iovec *iov, int count)
{
    if (count < 0) {
        errno = EINVAL;
        return -1;
    }
    return transmit(userdata, fd, iov, (size_t)count, 0);
}

/* NOLINTNEXTLINE(readability-function-size): the interface's parameters */
static ssize_t call_sendto(void *userdata, int fd, const void *data, size_t length, int flags,
                           const struct sockaddr *addr, socklen_t addr_length)
{
    (void)addr; /* of a connection: ignored */
    (void)addr_length;
    return call_send(userdata, fd, data, length, flags);
}

static ssize_t call_sendmsg(void *userdata, int fd, const struct msghdr *message, int flags)
{
    if (message->msg_controllen > 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return transmit(userdata, fd, message->msg_iov, message->msg_iovlen, flags);
}

/* --- options ---------------------------------------------------------------------------------- */

static int call_fcntl(void *userdata, int fd, int command, ...)
{
    va_list arguments;
    struct weir_drill *drill = enter(userdata);
    if (drill == NULL) {
        return -1;
    }
    va_start(arguments, command);
    int argument = va_arg(arguments, int); /* as all commands here have */
    va_end(arguments);
    return (int)leave(drill, weir_drill_fcntl(drill, fd, command, argument));
}

static int call_ioctl(void *userdata, int fd, unsigned long request, ...)
{
    va_list arguments;
    struct weir_drill *drill = enter(userdata);
    if (drill == NULL) {
        return -1;
    }
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return (int)leave(drill, weir_drill_ioctl(drill, fd, request, argument));
}

static int call_getsockopt(void *userdata, int fd, int level, int name, void *value,
                           socklen_t *length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL
               ? -1
               : (int)leave(drill, weir_drill_getsockopt(drill, fd, level, name, value, length));
}

static int call_setsockopt(void *userdata, int fd, int level, int name, const void *value,
                           socklen_t length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL
               ? -1
               : (int)leave(drill, weir_drill_setsockopt(drill, fd, level, name, value, length));
}

static int call_poll(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_poll(drill, fds, count, timeout_ms));
}

/* --- packets and time ------------------------------------------------------------------------- */

static int call_netdev_send(void *userdata, const void *packet, size_t length)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL ? -1 : (int)leave(drill, weir_drill_netdev_send(drill, packet, length));
}

static int call_netdev_receive(void *userdata, void *packet, size_t *length, long long *time_us)
{
    struct weir_drill *drill = enter(userdata);
    return drill == NULL
               ? -1
               : (int)leave(drill, weir_drill_netdev_receive(drill, packet, length, time_us));
}

static int call_usleep(void *userdata, useconds_t time_us)
{
    struct weir_drill *drill = enter(userdata);
    if (drill == NULL) {
        return -1;
    }
    weir_drill_move(drill, drill->now + time_us * WEIR_USEC, false);
    return (int)leave(drill, 0);
}

/* packetdrill looks at the clock in a loop until it is time: each look takes 1 us. */
static int call_gettimeofday(void *userdata, struct timeval *time, struct timezone *zone)
{
    struct weir_drill *drill = enter(userdata);
    (void)zone;
    if (drill == NULL) {
        return -1;
    }
    if (weir_drill_is_owner(drill)) {
        weir_drill_move(drill, drill->now + WEIR_USEC, false);
    }
    time->tv_sec = (time_t)(drill->now / WEIR_SEC);
    time->tv_usec = (suseconds_t)(drill->now % WEIR_SEC / WEIR_USEC);
    return (int)leave(drill, 0);
}

/* --- what there is not ------------------------------------------------------------------------ */

static int refuse(void)
{
    errno = ENOSYS;
    return -1;
}

static int call_epoll_create(void *userdata, int size)
{
    (void)userdata;
    (void)size;
    return refuse();
}

static int call_epoll_ctl(void *userdata, int epoll_fd, int operation, int fd,
                          struct epoll_event *event)
{
    (void)userdata;
    (void)epoll_fd;
    (void)operation;
    (void)fd;
    (void)event;
    return refuse();
}

static int call_epoll_wait(void *userdata, int epoll_fd, struct epoll_event *events, int max,
                           int timeout_ms)
{
    (void)userdata;
    (void)epoll_fd;
    (void)events;
    (void)max;
    (void)timeout_ms;
    return refuse();
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the interface's types */
static int call_pipe(void *userdata, int fds[2])
{
    (void)userdata;
    (void)fds;
    return refuse();
}

/* NOLINTBEGIN(readability-function-size,readability-non-const-parameter): the interface's types */
static int call_splice(void *userdata, int fd_in, loff_t *off_in, int fd_out, loff_t *off_out,
                       size_t length, unsigned flags)
{
    (void)userdata;
    (void)fd_in;
    (void)off_in;
    (void)fd_out;
    (void)off_out;
    (void)length;
    (void)flags;
    return refuse();
}

/* NOLINTEND(readability-function-size,readability-non-const-parameter) */

/* --- opening ---------------------------------------------------------------------------------- */

static void call_free(void *userdata)
{
    struct weir_drill *drill = userdata;
    if (drill != NULL) {
        weir_drill_net_close(drill);
        weir_drill_wait_close(drill);
        free(drill);
    }
}

static struct weir_drill *open_drill(const char *flags)
{
    struct weir_drill *drill = calloc(1, sizeof(*drill));
    if (drill == NULL || !weir_drill_wait_open(drill)) {
        free(drill);
        return NULL;
    }
    weir_drill_net_default(drill);
    if (!weir_drill_read_flags(drill, flags)) {
        call_free(drill);
        return NULL;
    }
    if (!weir_drill_net_open(drill)) {
        (void)fprintf(stderr,
                      "libweir-packetdrill: so_flags: a value is out of bounds, or no memory\n");
        call_free(drill);
        return NULL;
    }
    return drill;
}

__attribute__((visibility("default"))) void packetdrill_interface_init(
    const char *flags, struct packetdrill_interface *interface)
{
    *interface = (struct packetdrill_interface){.userdata = open_drill(flags),
                                                .free = call_free,
                                                .socket = call_socket,
                                                .bind = call_bind,
                                                .listen = call_listen,
                                                .accept = call_accept,
                                                .connect = call_connect,
                                                .read = call_read,
                                                .readv = call_readv,
                                                .recv = call_recv,
                                                .recvfrom = call_recvfrom,
                                                .recvmsg = call_recvmsg,
                                                .write = call_write,
                                                .writev = call_writev,
                                                .send = call_send,
                                                .sendto = call_sendto,
                                                .sendmsg = call_sendmsg,
                                                .fcntl = call_fcntl,
                                                .ioctl = call_ioctl,
                                                .close = call_close,
                                                .shutdown = call_shutdown,
                                                .getsockopt = call_getsockopt,
                                                .setsockopt = call_setsockopt,
                                                .poll = call_poll,
                                                .netdev_send = call_netdev_send,
                                                .netdev_receive = call_netdev_receive,
                                                .usleep = call_usleep,
                                                .gettimeofday = call_gettimeofday,
                                                .epoll_create = call_epoll_create,
                                                .epoll_ctl = call_epoll_ctl,
                                                .epoll_wait = call_epoll_wait,
                                                .pipe = call_pipe,
                                                .splice = call_splice};
}
