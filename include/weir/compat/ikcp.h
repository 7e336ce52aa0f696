/* SPDX-License-Identifier: MIT */
/*
 * ikcp.h - KCP by the names that the reference implementation gave it.
 *
 * Role: programs written for ikcp.c compile against this header unchanged and link with weir-ikcp
 * (and weir) in place of it: docs/kcp-compat.md. New programs use weir/kcp.h.
 * Owned by: one thread per ikcpcb. Memory: from the system, or through ikcp_allocator; some 700
 * bytes while a session rests, and what docs/kcp-compat.md says while it does not.
 * Order: create, set output, then any of send, recv, input and update. Datagrams leave only within
 * update and flush.
 *
 * C89 and C++ are fine. Functions return 0 or more when they succeed.
 */
#ifndef WEIR_COMPAT_IKCP_H
#define WEIR_COMPAT_IKCP_H

/* Programs have come to rely on these. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The reference's names stay as they are. NOLINTBEGIN(readability-identifier-naming) */
typedef uint32_t IUINT32;
typedef int32_t IINT32;
typedef uint16_t IUINT16;
typedef int16_t IINT16;
typedef uint8_t IUINT8;
typedef int8_t IINT8;
__extension__ typedef unsigned long long IUINT64;
__extension__ typedef long long IINT64;

#ifdef __cplusplus
extern "C" {
#endif

struct weir_ikcp;

/* Fields marked "set" may be written at any time and count from the next call on. All others are
 * to be read; they are up to date after every call. Times are in ms, windows in segments. */
struct IKCPCB {
    IUINT32 conv; /* set: of datagrams from now on, both ways */
    IUINT32 mtu, mss;
    IUINT32 state; /* all bits set once a segment was sent dead_link times; 0 before */
    IUINT32 snd_una, snd_nxt, rcv_nxt;
    IUINT32 ssthresh;
    IINT32 rx_rttval, rx_srtt, rx_rto;
    IINT32 rx_minrto;         /* set */
    IUINT32 snd_wnd, rcv_wnd; /* set */
    IUINT32 rmt_wnd, cwnd;
    IUINT32 probe;    /* bit 0: a window probe waits to be sent, bit 1: an answer to one */
    IUINT32 current;  /* of the last update */
    IUINT32 interval; /* set */
    IUINT32 ts_flush; /* when update flushes next */
    IUINT32 xmit;     /* segments resent for a timeout so far */
    IUINT32 nrcv_buf, nsnd_buf;
    IUINT32 nrcv_que, nsnd_que;
    IUINT32 nodelay;   /* set */
    IUINT32 updated;   /* update was called */
    IUINT32 dead_link; /* set */
    IUINT32 incr;
    void *user;         /* set */
    int fastresend;     /* set */
    int fastlimit;      /* set; 0 or less: without a limit */
    int nocwnd, stream; /* set */
    int logmask;        /* set: sum of IKCP_LOG_ */
    int (*output)(const char *buf, int len, struct IKCPCB *kcp, void *user); /* set */
    void (*writelog)(const char *log, struct IKCPCB *kcp, void *user);       /* set */
    struct weir_ikcp *own;
};

typedef struct IKCPCB ikcpcb;
/* NOLINTEND(readability-identifier-naming) */

#define IKCP_LOG_OUTPUT    1
#define IKCP_LOG_INPUT     2
#define IKCP_LOG_SEND      4
#define IKCP_LOG_RECV      8
#define IKCP_LOG_IN_DATA   16
#define IKCP_LOG_IN_ACK    32
#define IKCP_LOG_IN_PROBE  64
#define IKCP_LOG_IN_WINS   128
#define IKCP_LOG_OUT_DATA  256
#define IKCP_LOG_OUT_ACK   512
#define IKCP_LOG_OUT_PROBE 1024
#define IKCP_LOG_OUT_WINS  2048

#pragma GCC visibility push(default)

/* A session; both ends use the same conv. user: for output and writelog. NULL: no memory. */
ikcpcb *ikcp_create(IUINT32 conv, void *user);
/* Gives everything back; what is queued is lost. */
void ikcp_release(ikcpcb *kcp);
/* Where datagrams go. What it returns is not looked at. It must not flush, update or release kcp.
 */
void ikcp_setoutput(ikcpcb *kcp, int (*output)(const char *buf, int len, ikcpcb *kcp, void *user));

/* Copies the next message to buffer and returns its length. A negative len: of -len bytes, and the
 * message stays. buffer NULL: nothing is copied. -1: nothing has come, -2: not all fragments have,
 * -3: longer than len. */
int ikcp_recv(ikcpcb *kcp, char *buffer, int len);
/* Length of the next message; -1: there is none that is complete. */
int ikcp_peeksize(const ikcpcb *kcp);
/* Queues a copy of a message, or appends it to the stream, and returns how many bytes: all of them,
 * but for a stream it may be fewer. buffer NULL: zeros. -1: len is negative, -2: more than 127
 * segments, or no memory. */
int ikcp_send(ikcpcb *kcp, const char *buffer, int len);
/* Segments that wait to be sent or acknowledged. */
int ikcp_waitsnd(const ikcpcb *kcp);

/* Takes a datagram. -1: shorter than a header, or another conv, -2: data past its end, -3: unknown
 * command; segments before the bad one count. */
int ikcp_input(ikcpcb *kcp, const char *data, long size);
/* Tells the time, any 32-bit count of ms, and flushes when the interval has passed. */
void ikcp_update(ikcpcb *kcp, IUINT32 current);
/* When update is to be called next, if neither input nor send is called before. */
IUINT32 ikcp_check(const ikcpcb *kcp, IUINT32 current);
/* Sends what is due now; nothing before the first update. */
void ikcp_flush(ikcpcb *kcp);

/* mtu: of a datagram, at least 50, else -1; more than 1,500 is taken for 1,500. */
int ikcp_setmtu(ikcpcb *kcp, int mtu);
/* Segments in flight and received ahead; 0 or less leaves a value alone, rcvwnd is at least 128. */
int ikcp_wndsize(ikcpcb *kcp, int sndwnd, int rcvwnd);
/* nodelay 0 to 2; interval between flushes, 10 to 5,000 ms; resend: fast resend after so many later
 * ACKs, 0: never; nc 1: no congestion window. Negative arguments leave a value alone. */
int ikcp_nodelay(ikcpcb *kcp, int nodelay, int interval, int resend, int nc);
int ikcp_interval(ikcpcb *kcp, int interval);

/* Formats a line for writelog, if logmask has a bit of mask; cut at 1,023 bytes. */
void ikcp_log(ikcpcb *kcp, int mask, const char *fmt, ...);
/* For what is created from now on: NULL is malloc's and free's. */
void ikcp_allocator(void *(*new_malloc)(size_t), void (*new_free)(void *));
/* conv of a datagram of at least 4 bytes. */
IUINT32 ikcp_getconv(const void *ptr);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
