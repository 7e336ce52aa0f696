/* SPDX-License-Identifier: MIT */
/*
 * abi.h - the table of calls that packetdrill takes from a shared object (--so_filename).
 *
 * Role: a binary interface that is not ours: order and types of the fields are those of
 * google/packetdrill, gtests/net/packetdrill/packetdrill.h, since the version that ends with splice
 * (as in google/bbr at commit 9a0ade62b7c8). A packetdrill that is older has a shorter table: it
 * must not be used with this one.
 * Owned by: packetdrill, which hands it over empty once per script.
 */
#ifndef WEIR_PACKETDRILL_ABI_H
#define WEIR_PACKETDRILL_ABI_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Calls are those of the system with userdata in front: -1 and errno when they fail. */
struct packetdrill_interface {
    void *userdata;
    void (*free)(void *userdata);

    int (*socket)(void *userdata, int domain, int type, int protocol);
    int (*bind)(void *userdata, int fd, const struct sockaddr *addr, socklen_t length);
    int (*listen)(void *userdata, int fd, int backlog);
    int (*accept)(void *userdata, int fd, struct sockaddr *addr, socklen_t *length);
    int (*connect)(void *userdata, int fd, const struct sockaddr *addr, socklen_t length);
    ssize_t (*read)(void *userdata, int fd, void *data, size_t length);
    ssize_t (*readv)(void *userdata, int fd, const struct iovec *iov, int count);
    ssize_t (*recv)(void *userdata, int fd, void *data, size_t length, int flags);
    ssize_t (*recvfrom)(void *userdata, int fd, void *data, size_t length, int flags,
                        struct sockaddr *addr, socklen_t *addr_length);
    ssize_t (*recvmsg)(void *userdata, int fd, struct msghdr *message, int flags);
    ssize_t (*write)(void *userdata, int fd, const void *data, size_t length);
    ssize_t (*writev)(void *userdata, int fd, const struct iovec *iov, int count);
    ssize_t (*send)(void *userdata, int fd, const void *data, size_t length, int flags);
    ssize_t (*sendto)(void *userdata, int fd, const void *data, size_t length, int flags,
                      const struct sockaddr *addr, socklen_t addr_length);
    ssize_t (*sendmsg)(void *userdata, int fd, const struct msghdr *message, int flags);
    int (*fcntl)(void *userdata, int fd, int command, ...);
    int (*ioctl)(void *userdata, int fd, unsigned long request, ...);
    int (*close)(void *userdata, int fd);
    int (*shutdown)(void *userdata, int fd, int how);
    int (*getsockopt)(void *userdata, int fd, int level, int name, void *value, socklen_t *length);
    int (*setsockopt)(void *userdata, int fd, int level, int name, const void *value,
                      socklen_t length);
    int (*poll)(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms);

    /* One IP packet to the stack. */
    int (*netdev_send)(void *userdata, const void *packet, size_t length);
    /* The next one of the stack: *length is the room, and then what was used, 0 for none. */
    int (*netdev_receive)(void *userdata, void *packet, size_t *length, long long *time_us);
    int (*usleep)(void *userdata, useconds_t time_us);
    int (*gettimeofday)(void *userdata, struct timeval *time, struct timezone *zone);

    int (*epoll_create)(void *userdata, int size);
    int (*epoll_ctl)(void *userdata, int epoll_fd, int operation, int fd,
                     struct epoll_event *event);
    int (*epoll_wait)(void *userdata, int epoll_fd, struct epoll_event *events, int max,
                      int timeout_ms);
    int (*pipe)(void *userdata, int fds[2]);
    int (*splice)(void *userdata, int fd_in, loff_t *off_in, int fd_out, loff_t *off_out,
                  size_t length, unsigned flags);
};

/* The one symbol of the shared object. */
void packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface);

#endif
