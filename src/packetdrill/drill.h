/* SPDX-License-Identifier: MIT */
/*
 * drill.h - TCP for packetdrill: sockets over our engine and IP, in virtual time.
 *
 * Role: what packetdrill takes for a kernel. Its packets come in and go out as bytes, its clock is
 * ours and stands still while it computes, its socket calls are translated to the engine's.
 * Owned by: packetdrill's main thread, and the one that runs its blocking calls; wait.c keeps them
 * apart, everything else runs with the lock held.
 * Memory: one allocation, and one for each packet that waits for packetdrill, up to PACKETS_MAX.
 *
 *   socket calls --> socket.c, stream.c, option.c, poll.c --> engine --> inet --> net.c: packets
 *   usleep, netdev_receive, blocking calls --> wait.c: the clock moves from timer to timer
 *
 * Functions that answer a call of packetdrill return what it returns, or -errno.
 */
#ifndef WEIR_PACKETDRILL_DRILL_H
#define WEIR_PACKETDRILL_DRILL_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "weir/driver.h"
#include "weir/ip.h"
#include "weir/loop.h"
#include "weir/slide.h"
#include "weir/tcp.h"

enum {
    WEIR_DRILL_SOCKETS_MAX = 64,
    WEIR_DRILL_FD_FIRST = 1000, /* no descriptor of the system's is taken for one of ours */
    WEIR_DRILL_PACKETS_MAX = 4096,
    WEIR_DRILL_PACKET_BYTES_MAX = 65535
};

enum weir_drill_state {
    WEIR_DRILL_FREE = 0,
    WEIR_DRILL_NEW,
    WEIR_DRILL_LISTENING,
    WEIR_DRILL_CONNECTING,
    WEIR_DRILL_CONNECTED,
    WEIR_DRILL_CLOSED
};

struct weir_drill_socket {
    enum weir_drill_state state;
    bool is_inet6;
    bool is_nonblocking;
    bool is_orphan; /* closed by packetdrill, the connection goes on */
    struct weir_addr local;
    int listener;
    struct weir_drill_socket *parent; /* not NULL: waits for accept of that one */
    uint64_t order;                   /* who came first */

    struct weir_tcp_conn *conn;
    int error;           /* errno, until it was told */
    bool is_peer_closed; /* all that it sent was taken from the engine */
    bool is_receive_shut, is_send_shut;
    bool is_full; /* the engine took no more, and has not called yet */

    bool is_reusing, is_nodelay, is_corked; /* options */
    struct linger linger;

    size_t left_off, left_bytes; /* taken from the engine, not yet read */
    uint8_t left[WEIR_DRILL_PACKET_BYTES_MAX];
};

struct weir_drill_packet {
    uint8_t *data;
    size_t length;
    weir_nsec at;
};

struct weir_drill_pipe {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    const uint8_t *in;         /* one packet on its way in */
    size_t in_bytes;
    struct weir_drill_packet packets[WEIR_DRILL_PACKETS_MAX]; /* a ring, on their way out */
    uint32_t first, count;
    const weir_nsec *now;
};

struct weir_drill {
    weir_nsec now;
    weir_nsec limit; /* beyond it nothing is waited for */
    struct weir_clock clock;
    struct weir_drill_pipe pipe;
    struct weir_ip_config ip;
    struct weir_driver *inet;
    struct weir_loop *loop;
    struct weir_tcp_config config;
    struct weir_slide_config slide_config;
    void *slide_mem;
    void *tcp_mem;
    struct weir_tcp *tcp;

    struct weir_drill_socket sockets[WEIR_DRILL_SOCKETS_MAX];
    uint64_t order;

    /* wait.c */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something happened: calls that wait look again */
    pthread_cond_t settled; /* they have looked */
    pthread_t owner;        /* the thread that moves the clock */
    uint64_t wakes;
    unsigned asleep, awake; /* calls that wait; that were woken and have not answered yet */
    weir_nsec deadline;     /* the first of those asleep */
};

/* --- net.c: the stack and its clock ----------------------------------------------------------- */

/* Everything at its default, before the flags are read. */
void weir_drill_net_default(struct weir_drill *drill);
/* false: no memory, or a configuration outside its bounds. */
bool weir_drill_net_open(struct weir_drill *drill);
void weir_drill_net_close(struct weir_drill *drill);
/* The stack answers to addr from now on, too. false: WEIR_IP_ADDRESSES_MAX, or no memory. */
bool weir_drill_net_add(struct weir_drill *drill, const struct weir_addr *addr);
/* One that packetdrill will not mind, unless there is one of this family. */
bool weir_drill_net_add_default(struct weir_drill *drill, uint8_t family);
/* Our newest address of this family; family NONE when there is none. */
struct weir_addr weir_drill_net_local(const struct weir_drill *drill, uint8_t family);
/* Does what is due at this moment. */
void weir_drill_settle(struct weir_drill *drill);
/* Moves the clock to until (WEIR_NEVER: as long as anything happens), or (is_receiving) to the
 * moment at which a packet has left. */
void weir_drill_move(struct weir_drill *drill, weir_nsec until, bool is_receiving);
/* Moves it to the next thing that happens, not beyond until. false: nothing will. */
bool weir_drill_step(struct weir_drill *drill, weir_nsec until);

long weir_drill_netdev_send(struct weir_drill *drill, const void *packet, size_t length);
long weir_drill_netdev_receive(struct weir_drill *drill, void *packet, size_t *length,
                               long long *time_us);

/* --- wait.c: two threads, one clock ----------------------------------------------------------- */

/* false: the system refuses. */
bool weir_drill_wait_open(struct weir_drill *drill);
void weir_drill_wait_close(struct weir_drill *drill);
void weir_drill_enter(struct weir_drill *drill);
void weir_drill_leave(struct weir_drill *drill);
bool weir_drill_is_owner(const struct weir_drill *drill);
/* A call waits: returns when something has happened, or until has come. false: nothing will. */
bool weir_drill_wait(struct weir_drill *drill, weir_nsec until);
/* Something has happened. */
void weir_drill_wake(struct weir_drill *drill);
/* Before the clock moves: those that were woken answer at this moment. */
void weir_drill_let_answer(struct weir_drill *drill);

/* --- socket.c --------------------------------------------------------------------------------- */

/* Pulls what the engine has to tell. */
void weir_drill_on_events(void *user, weir_nsec now);
/* Pulls one event; false: there is none. */
bool weir_drill_take_event(struct weir_drill *drill);
/* NULL: no socket of ours has this descriptor. */
struct weir_drill_socket *weir_drill_socket_at(struct weir_drill *drill, int fd);
/* The connection that accept would return next, or NULL. */
struct weir_drill_socket *weir_drill_socket_waiting(struct weir_drill *drill,
                                                    const struct weir_drill_socket *parent);
/* The error as -errno, told once; 0: none. */
int weir_drill_take_error(struct weir_drill_socket *socket);
/* Bytes that could be read now. */
size_t weir_drill_readable(const struct weir_drill *drill, const struct weir_drill_socket *socket);
/* Options that were set before there was a connection. */
void weir_drill_apply_options(struct weir_drill *drill, const struct weir_drill_socket *socket);

long weir_drill_socket(struct weir_drill *drill, int domain, int type, int protocol);
long weir_drill_bind(struct weir_drill *drill, int fd, const struct sockaddr *addr,
                     socklen_t length);
long weir_drill_listen(struct weir_drill *drill, int fd);
long weir_drill_accept(struct weir_drill *drill, int fd, struct sockaddr *addr, socklen_t *length);
long weir_drill_connect(struct weir_drill *drill, int fd, const struct sockaddr *addr,
                        socklen_t length);
long weir_drill_shutdown(struct weir_drill *drill, int fd, int how);
long weir_drill_close(struct weir_drill *drill, int fd);

/* --- stream.c --------------------------------------------------------------------------------- */

long weir_drill_recv(struct weir_drill *drill, int fd, const struct iovec *iov, size_t count,
                     int flags);
long weir_drill_send(struct weir_drill *drill, int fd, const struct iovec *iov, size_t count,
                     int flags);

/* --- option.c --------------------------------------------------------------------------------- */

long weir_drill_fcntl(struct weir_drill *drill, int fd, int command, int argument);
long weir_drill_ioctl(struct weir_drill *drill, int fd, unsigned long request, void *argument);
long weir_drill_getsockopt(struct weir_drill *drill, int fd, int level, int name, void *value,
                           socklen_t *length);
long weir_drill_setsockopt(struct weir_drill *drill, int fd, int level, int name, const void *value,
                           socklen_t length);
/* As the kernel lays out struct tcp_info, cut off at room. Returns the bytes written. */
size_t weir_drill_fill_info(const struct weir_drill *drill, const struct weir_drill_socket *socket,
                            void *info, size_t room);

/* --- poll.c ----------------------------------------------------------------------------------- */

long weir_drill_poll(struct weir_drill *drill, struct pollfd *fds, nfds_t count, int timeout_ms);

/* --- flags.c ---------------------------------------------------------------------------------- */

/* "name=value,..." (docs/packetdrill.md), NULL for none. false: a message is on stderr. */
bool weir_drill_read_flags(struct weir_drill *drill, const char *flags);

#endif
