/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream.h - KCP with the calls of TCP: connect, listen, accept, read, write, close.
 *
 * Role: a driver, slide buffer, loop and KCP endpoint put together (a net), and streams on it.
 * Event-driven inside a loop of your own, or blocking in a program that does one thing at a time;
 * both may be mixed on one net, but blocking calls are not for callbacks.
 * Owned by: one thread per net, all its streams included.
 * Memory: what weir_kcp_net_open allocates (config.kcp, config.slide), and per stream a small
 * struct and one segment, or message. What else is not read stays in the slide buffer, up to the
 * receive window, which the peer sees closing: nothing else grows.
 *
 *                  connect, dial ------------> stream: read, write, drain, close
 *      net: open --+                           ^
 *                  listen --> listener: accept-+     callbacks: accept, readable, writable, closed
 *
 * What is different from TCP, for KCP has neither handshake nor close:
 *  - connect sends nothing; the listener hears of a stream with its first bytes.
 *  - The peer is not told of a close. It finds out by silence: config.kcp.idle_timeout ends its
 *    stream, or dead_link does when it is still sending. Say "the end" in your own words.
 *  - Of what was not read when a stream ends only the first segment, or message, is still there.
 *  - Window, interval and the like are the net's, not a stream's.
 */
#ifndef WEIR_KCP_STREAM_H
#define WEIR_KCP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/kcp.h"
#include "weir/udp.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_kcp_net;
struct weir_kcp_listener;
struct weir_kcp_stream;

/* --- the net ---------------------------------------------------------------------------------- */

struct weir_kcp_net_config {
    /* kcp.slide NULL: one is made as slide says; a slide of the caller's must be set up anew before
     * it is used for anything else. kcp.tuning.is_stream is overruled by is_message.
     * kcp.is_accepting for weir_kcp_listen; then kcp.pending_max is its backlog. */
    struct weir_kcp_config kcp;
    struct weir_slide_config slide; /* readers that lag hold up to a receive window each in here */
    struct weir_udp_config udp;     /* bind of family NONE, the default: any port, IPv6 and IPv4 */
    struct weir_driver *driver;     /* NULL: a UDP socket is opened; else the caller's, also after
                                       weir_kcp_net_close */
    const struct weir_clock *clock; /* the loop's, see weir/loop.h; NULL: the system's */
    const uint8_t *seed;            /* 32 bytes; NULL: drawn from the system */
    size_t read_bytes_max;          /* longest message taken in, a longer one ends its stream;
                                       default 1 MiB, at least 65,536 */
    bool is_message; /* messages keep their bounds: one write, one read; default off: bytes */
};

/* Defaults as above and those of weir_kcp_config_default, weir_slide_config_default and
 * weir_udp_config_default. */
WEIR_API void weir_kcp_net_config_default(struct weir_kcp_net_config *config);
/* config is copied; its driver, clock and kcp.slide are used until weir_kcp_net_close. To be opened
 * on the thread that runs it (see weir_loop_open). WEIR_ERR_OS with *os_error (an errno, else 0;
 * os_error may be NULL) when the system refuses the socket or a seed, WEIR_ERR_INVALID for a config
 * out of bounds, WEIR_ERR_MEMORY, WEIR_ERR_UNSUPPORTED for a cipher that this build has not. */
WEIR_API enum weir_status weir_kcp_net_open(const struct weir_kcp_net_config *config,
                                            struct weir_kcp_net **net, int *os_error);
/* Ends and frees everything: listener and streams too, without a word to anybody and without a
 * callback. Close or drain streams first. NULL is allowed. Not from a callback. */
WEIR_API void weir_kcp_net_close(struct weir_kcp_net *net);

/* Waits until something is due, at most timeout ns (0: does not wait), does it and calls back.
 * WEIR_ERR_OS when the driver failed for good, WEIR_ERR_INVALID from a callback. */
WEIR_API enum weir_status weir_kcp_net_run_once(struct weir_kcp_net *net, weir_nsec timeout);
/* Sends now what was written, asked for or read outside of callbacks, and would wait for the next
 * run_once. WEIR_ERR_OS as there. */
WEIR_API enum weir_status weir_kcp_net_flush(struct weir_kcp_net *net);
/* For poll, epoll, libuv: readable means run_once(net, 0) has work. -1: the driver has none. */
WEIR_API int weir_kcp_net_fd(const struct weir_kcp_net *net);
/* Poll for writable too? Changes with run_once and flush. */
WEIR_API bool weir_kcp_net_is_blocked(const struct weir_kcp_net *net);
/* When run_once is due, in the time of weir_kcp_net_now; in the past when at once, or WEIR_NEVER.
 * Changes with every call on the net or its streams: ask before each wait. */
WEIR_API weir_nsec weir_kcp_net_next_timeout(const struct weir_kcp_net *net);
/* The same as poll and epoll_wait want it: ms from now, rounded up, or -1. */
WEIR_API int weir_kcp_net_poll_ms(struct weir_kcp_net *net);
WEIR_API weir_nsec weir_kcp_net_now(struct weir_kcp_net *net);
/* Where the socket is bound; family NONE when the driver does not know. */
WEIR_API struct weir_addr weir_kcp_net_local(const struct weir_kcp_net *net);
/* The endpoint's figures, as weir_kcp_stats. */
WEIR_API const struct weir_kcp_stats *weir_kcp_net_stats(const struct weir_kcp_net *net);

/* These change all streams of the net at once, from now on. WEIR_ERR_INVALID for what
 * struct weir_kcp_tuning does not allow; nothing is changed then. */

/* Borrowed, valid as long as the net. */
WEIR_API const struct weir_kcp_tuning *weir_kcp_net_tuning(const struct weir_kcp_net *net);
/* All at once; is_stream is as the net was opened. */
WEIR_API enum weir_status weir_kcp_net_tune(struct weir_kcp_net *net,
                                            const struct weir_kcp_tuning *tuning);
/* The reference's four: nodelay 0 to 2, interval in ms, resend after so many later ACKs (0: never),
 * and no congestion window. */
WEIR_API enum weir_status weir_kcp_net_set_nodelay(struct weir_kcp_net *net, uint8_t nodelay,
                                                   uint16_t interval_ms, uint8_t resend,
                                                   bool is_window_fixed);
/* Segments; of messages at least as many as the longest one has fragments. */
WEIR_API enum weir_status weir_kcp_net_set_window(struct weir_kcp_net *net, uint16_t send_window,
                                                  uint16_t receive_window);
/* Bytes of a datagram, 50 to 1,500. */
WEIR_API enum weir_status weir_kcp_net_set_mtu(struct weir_kcp_net *net, uint16_t mtu_bytes);
/* Written bytes wait for the interval, and share segments. */
WEIR_API enum weir_status weir_kcp_net_set_write_delay(struct weir_kcp_net *net, bool is_on);
/* What came in is acknowledged at once, not with the next interval. */
WEIR_API enum weir_status weir_kcp_net_set_ack_no_delay(struct weir_kcp_net *net, bool is_on);

/* --- streams ---------------------------------------------------------------------------------- */

/* Called inside weir_kcp_net_run_once and, while they wait, the blocking calls; any may be NULL.
 * A callback may use and close any stream of the net. */
struct weir_kcp_stream_events {
    /* Something came in where nothing was. Read until WEIR_AGAIN: it need not be called again
     * before. */
    void (*on_readable)(struct weir_kcp_stream *stream, void *user);
    /* After a write that did not take all: half of the queue is free. */
    void (*on_writable)(struct weir_kcp_stream *stream, void *user);
    /* The stream has ended, and not by weir_kcp_stream_close. What of it is left can be read; close
     * it to free it. The last callback of a stream. */
    void (*on_closed)(struct weir_kcp_stream *stream, void *user, enum weir_kcp_close_cause cause);
};

/* Starts a stream to remote under conv, 0: one is drawn. Nothing is sent before something is
 * written; without an answer in config.kcp.connect_timeout it ends.
 * WEIR_ERR_FULL: kcp.connections_max is reached, or conv is in use with remote. WEIR_ERR_INVALID: a
 * remote without address or port. WEIR_ERR_MEMORY. */
WEIR_API enum weir_status weir_kcp_stream_connect(struct weir_kcp_net *net,
                                                  const struct weir_addr *remote, uint32_t conv,
                                                  struct weir_kcp_stream **stream);
/* Says who is called: events is copied, NULL ends it. What waits already is announced too. */
WEIR_API void weir_kcp_stream_watch(struct weir_kcp_stream *stream,
                                    const struct weir_kcp_stream_events *events, void *user);
/* Reads at most room bytes, *length of them, without waiting; of messages one whole one.
 * WEIR_AGAIN: nothing there. WEIR_ERR_CLOSED: nothing there, and the stream has ended (see
 * weir_kcp_stream_cause). WEIR_ERR_INVALID: room 0, but for messages. WEIR_ERR_TOO_LARGE: the
 * message has *length bytes and waits on; with *length 0 it ended the stream, being longer than
 * read_bytes_max. WEIR_ERR_MEMORY: the stream ended because none was left. */
WEIR_API enum weir_status weir_kcp_stream_read(struct weir_kcp_stream *stream, void *buffer,
                                               size_t room, size_t *length);
/* Queues a copy of as much as there is room for, *taken bytes, and does not wait; of messages all
 * or nothing. Sent with the next run_once or flush. WEIR_AGAIN: no room at all; on_writable
 * follows that, and a part. WEIR_ERR_TOO_LARGE: a message that could never be delivered (see
 * weir_kcp_send). WEIR_ERR_INVALID: length 0, but for messages. WEIR_ERR_CLOSED. */
WEIR_API enum weir_status weir_kcp_stream_write(struct weir_kcp_stream *stream, const void *data,
                                                size_t length, size_t *taken);
/* Frees the handle; no callback follows. What was written is still sent and acknowledged: linger is
 * how long to wait here for that. WEIR_OK: all was acknowledged, or linger is 0: then the net goes
 * on with it by itself, as long as it is run. WEIR_ERR_TIMEOUT: the time is up and the rest thrown
 * away. WEIR_ERR_CLOSED: it ended before. WEIR_ERR_OS: as run_once; the rest is thrown away. From a
 * callback linger counts as 0. What the peer sends from now on is thrown away. */
WEIR_API enum weir_status weir_kcp_stream_close(struct weir_kcp_stream *stream, weir_nsec linger);
/* Frees the handle and throws away what is not acknowledged yet; no callback follows. */
WEIR_API void weir_kcp_stream_abort(struct weir_kcp_stream *stream);

/* Is everything that was written acknowledged by the peer's KCP? Also false once it has ended. */
WEIR_API bool weir_kcp_stream_is_drained(const struct weir_kcp_stream *stream);
/* Has the peer ever been heard, or the stream been accepted here? */
WEIR_API bool weir_kcp_stream_is_answered(const struct weir_kcp_stream *stream);
/* Why it ended; 0 as long as it lives. */
WEIR_API enum weir_kcp_close_cause weir_kcp_stream_cause(const struct weir_kcp_stream *stream);
/* Where packets go to; once it has ended, where they went. */
WEIR_API struct weir_addr weir_kcp_stream_remote(const struct weir_kcp_stream *stream);
WEIR_API uint32_t weir_kcp_stream_conv(const struct weir_kcp_stream *stream);
WEIR_API struct weir_kcp_net *weir_kcp_stream_net(const struct weir_kcp_stream *stream);
/* As weir_kcp_conn_stats; all 0 once it has ended. */
WEIR_API void weir_kcp_stream_stats(const struct weir_kcp_stream *stream,
                                    struct weir_kcp_conn_stats *stats);

/* --- listening -------------------------------------------------------------------------------- */

/* From now on strangers' streams wait for weir_kcp_listener_accept, kcp.pending_max of them, each
 * no longer than kcp.connect_timeout after its last packet; before, they are refused. on_accept,
 * may be NULL: more wait than did; accept until WEIR_AGAIN. WEIR_ERR_INVALID: the net was opened
 * without kcp.is_accepting, or has a listener. WEIR_ERR_MEMORY. */
WEIR_API enum weir_status weir_kcp_listen(struct weir_kcp_net *net,
                                          void (*on_accept)(struct weir_kcp_listener *listener,
                                                            void *user),
                                          void *user, struct weir_kcp_listener **listener);
/* The stream that has waited longest. WEIR_AGAIN: none. WEIR_ERR_MEMORY: it waits on. */
WEIR_API enum weir_status weir_kcp_listener_accept(struct weir_kcp_listener *listener,
                                                   struct weir_kcp_stream **stream);
/* How many wait. */
WEIR_API uint32_t weir_kcp_listener_waiting(const struct weir_kcp_listener *listener);
/* Who waits is refused, and from now on everybody. Streams that were accepted live on. */
WEIR_API void weir_kcp_listener_close(struct weir_kcp_listener *listener);

/* --- blocking --------------------------------------------------------------------------------- */

/* All of these run the net, callbacks included, until they are done or timeout ns have passed
 * (WEIR_NEVER: as long as it takes): WEIR_ERR_TIMEOUT. WEIR_ERR_INVALID from a callback,
 * WEIR_ERR_OS as run_once, else as the calls above; never WEIR_AGAIN. A signal does not end
 * them. */

/* Connects, sends first and waits for an answer, which only bytes can bring about: with an empty
 * first it does not wait. *stream is set only with WEIR_OK. WEIR_ERR_CLOSED: no answer within
 * kcp.connect_timeout. */
WEIR_API enum weir_status weir_kcp_stream_dial(struct weir_kcp_net *net,
                                               const struct weir_addr *remote,
                                               struct weir_span first, weir_nsec timeout,
                                               struct weir_kcp_stream **stream);
WEIR_API enum weir_status weir_kcp_listener_accept_wait(struct weir_kcp_listener *listener,
                                                        weir_nsec timeout,
                                                        struct weir_kcp_stream **stream);
/* Waits until there is something, not until buffer is full. */
WEIR_API enum weir_status weir_kcp_stream_read_wait(struct weir_kcp_stream *stream, void *buffer,
                                                    size_t room, weir_nsec timeout, size_t *length);
/* Exactly length bytes; when that fails *taken were read. Not for messages: WEIR_ERR_INVALID. */
WEIR_API enum weir_status weir_kcp_stream_read_all(struct weir_kcp_stream *stream, void *buffer,
                                                   size_t length, weir_nsec timeout, size_t *taken);
/* Queues all and sends what the window allows; when that fails *taken bytes were queued. */
WEIR_API enum weir_status weir_kcp_stream_write_all(struct weir_kcp_stream *stream,
                                                    const void *data, size_t length,
                                                    weir_nsec timeout, size_t *taken);
/* Sends what a write delay holds back, and waits until the peer has acknowledged everything. */
WEIR_API enum weir_status weir_kcp_stream_drain(struct weir_kcp_stream *stream, weir_nsec timeout);

#ifdef __cplusplus
}
#endif
#endif
