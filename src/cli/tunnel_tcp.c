/* SPDX-License-Identifier: MIT */
/*
 * tunnel_tcp.c - the few things weir tunnel asks of TCP sockets.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/tunnel.h"
#include "driver/sockaddr.h"

enum {
    BACKLOG = 1024
};

static int open_socket(const struct weir_addr *addr)
{
    int family = addr->family == WEIR_ADDR_IP6 ? AF_INET6 : AF_INET;
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* What is read is sent at once: waiting for more (Nagle) would be done twice. And a TCP peer that
 * is gone without a word is to be noticed some day, for its descriptor. */
static void set_options(int fd)
{
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int cli_tcp_listen(struct weir_addr *addr, bool is_shared)
{
    union weir_sockaddr name;
    char text[WEIR_ADDR_TEXT_BYTES];
    int on = 1;
    int off = 0;
    socklen_t length = weir_sockaddr_encode(addr, addr->family == WEIR_ADDR_IP6, &name);
    int fd = open_socket(addr);
    if (fd < 0 && errno == EAFNOSUPPORT && weir_sockaddr_is_any(addr)) {
        addr->family = WEIR_ADDR_IP4; /* a system without IPv6 */
        length = weir_sockaddr_encode(addr, false, &name);
        fd = open_socket(addr);
    }
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (fd >= 0 && is_shared) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (fd >= 0 && addr->family == WEIR_ADDR_IP6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (fd < 0 || bind(fd, &name.any, length) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        weir_addr_format(addr, text);
        cli_fail(CLI_FAILED, "cannot listen on tcp://%s: %s%s", text, cli_text_errno(error),
                 error == EADDRINUSE ? "; stop the program there or choose another port" : "");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    length = sizeof(name);
    if (getsockname(fd, &name.any, &length) == 0) {
        (void)weir_sockaddr_decode(&name, length, addr);
    }
    return fd;
}

int cli_tcp_accept(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        set_options(fd);
    }
    return fd;
}

int cli_tcp_dial(const struct weir_addr *addr, bool *is_connecting)
{
    union weir_sockaddr name;
    socklen_t length = weir_sockaddr_encode(addr, addr->family == WEIR_ADDR_IP6, &name);
    int fd = open_socket(addr);
    if (fd < 0) {
        return -1;
    }
    set_options(fd);
    int result = connect(fd, &name.any, length);
    *is_connecting = result != 0 && errno == EINPROGRESS;
    if (result != 0 && !*is_connecting) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int cli_tcp_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

void cli_tcp_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

void cli_tcp_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}
