/* SPDX-License-Identifier: MIT */
/*
 * play.h - what packetdrill does around a script: the peer's packets, the stack's, calls on two
 * threads. One play at a time; a check that fails ends the program.
 *
 * Numbers count from the sender's initial one, as in scripts; times from the start of the play, in
 * microseconds.
 */
#ifndef TESTS_PACKETDRILL_PLAY_H
#define TESTS_PACKETDRILL_PLAY_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "packetdrill/abi.h"
#include "wire/tcp.h"

enum {
    LOCAL_PORT = 8080,
    PEER_PORT = 34567,
    PEER_ISN = 1000000,
    IP4_BYTES = 20,
    IP6_BYTES = 40,
    PACKET_MAX = 4096,
    TOLERANCE_US = 2000,
    S = WEIR_TCP_SYN,
    F = WEIR_TCP_FIN,
    R = WEIR_TCP_RST,
    P = WEIR_TCP_PSH,
    A = WEIR_TCP_ACK
};

union name {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6; /* its port is at the same place */
};

struct play {
    void (*init)(const char *flags, struct packetdrill_interface *interface);
    struct packetdrill_interface so;
    const char *name;
    bool is_6;
    uint16_t local_port;
    uint32_t own_isn; /* of the stack, learned from its SYN */
    uint32_t ts_last; /* its last timestamp */
    long long start_us;
    uint8_t packet[PACKET_MAX]; /* the last one of the stack */
    struct weir_tcp_segment got;
    long long got_us;
};

/* The call that blocks, on a thread of its own. */
struct play_blocked {
    pthread_t thread;
    _Atomic pid_t id; /* 0: not begun */
    atomic_bool is_done;
    long (*call)(int fd);
    int fd;
    long result;
    int error;
    long long at_us;
};

extern struct play play;
extern struct play_blocked play_blocked;

/* Says where and what, and ends the program. */
_Noreturn void play_fail(const char *file, int line, const char *what);

#define CHECK(condition)                               \
    do {                                               \
        if (!(condition)) {                            \
            play_fail(__FILE__, __LINE__, #condition); \
        }                                              \
    } while (0)

/* The call fails with this errno. */
#define CHECK_ERROR(call, error) \
    do {                         \
        errno = 0;               \
        CHECK((call) == -1);     \
        CHECK(errno == (error)); \
    } while (0)

#define SO play.so
#define U  play.so.userdata

/* --- packets */
/* The peer's segment; length bytes of data, counted up from seq. */
void play_inject(uint8_t flags, uint32_t seq, uint32_t length, uint32_t ack, uint16_t window);
/* The stack's next packet, with its time; false: there is none, and never will be. */
bool play_receive(void);
/* It is this one, and left at this time (at not negative). */
void play_expect(int line, long long at, uint8_t flags, uint32_t seq, uint32_t length,
                 uint32_t ack);
#define EXPECT(flags, seq, length, ack) play_expect(__LINE__, -1, flags, seq, length, ack)

/* --- time */
long long play_now(void);
bool play_is_near(long long at, long long expected);

/* --- the user's calls */
int play_socket(int flags);
/* Socket, bind, listen. */
int play_listen(void);
int play_connect(int fd);
/* SYN, SYN-ACK, ACK, accept: the beginning of most scripts. */
int play_accept(int *listener, uint16_t window);
void play_begin(const char *name, bool is_6, const char *flags);
void play_end(void);
bool play_is_counted(const uint8_t *bytes, uint32_t seq, size_t length);
/* TCP_INFO's tcpi_state. */
unsigned play_state(int fd);
/* SO_ERROR. */
int play_error(int fd);

/* --- the second thread */
/* Returns when it sleeps in the call, or has returned from it. */
void play_block(long (*call)(int fd), int fd);
long play_join(void);

#endif
