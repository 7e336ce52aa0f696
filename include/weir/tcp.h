/* SPDX-License-Identifier: MIT */
/*
 * tcp.h - TCP in user space: an idle connection is 16 bytes, a busy one borrows a control block.
 *
 * Role: the public interface of the engine. It has no socket, clock, thread or allocator, and no
 * IP: it takes and gives TCP segments (weir/driver.h), of a driver that carries them in IP packets,
 * or of the simulated network.
 * Owned by: one thread per endpoint. Memory: one block of weir_tcp_mem_size bytes from the caller.
 * Order: init; then any of input, timeout, event, output and the user calls. User calls only queue
 * state; what they cause appears in event and output.
 * Spec: RFC 9293 and its family; docs/rfc-map.md lists rules and tests.
 *
 *   connect, send ----> output ----> (network) ----> input ----> event: OPENED (of a listener)
 *   (network) --> input --> event: OPENED, DATA, PARCEL_DONE, WRITABLE, PEER_CLOSED, CLOSED
 *
 * Addresses carry TCP's ports here. The paths of packets and transmits do not: their ports are
 * ignored coming in and 0 going out, so a host of the simulated network has port 0.
 */
#ifndef WEIR_TCP_H
#define WEIR_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/cc.h"
#include "weir/driver.h"
#include "weir/loop.h"
#include "weir/parcel.h"
#include "weir/route.h"
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/tcp_stats.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_tcp;      /* endpoint: all connections of one shard */
struct weir_tcp_conn; /* connection handle: the address of its record, which never moves; once its
                         CLOSED event has been pulled it may only be compared with, and no longer
                         than until the next call on the endpoint */

enum {
    WEIR_TCP_ENDS_MAX = 256,           /* listeners, and other ends, see weir_tcp_connect */
    WEIR_TCP_WINDOW_MAX = 1 << 30,     /* RFC 7323 2.3 */
    WEIR_TCP_SEND_BYTES_MAX = 16 << 20 /* of one weir_tcp_send */
};

/* May be changed while the endpoint runs (weir_tcp_tune). */
struct weir_tcp_tuning {
    weir_nsec rto_min;   /* default 200 ms; RFC 6298 2.4 asks for 1 s, and nobody keeps to it */
    weir_nsec ack_delay; /* longest wait for data to carry an ACK, default 40 ms; less than 500 */
    weir_nsec user_timeout; /* closed when data was unacknowledged so long, default 300 s; 0: never.
                               At least 100 s to be conforming (RFC 1122 4.2.3.5) */
    weir_nsec persist_timeout;    /* closed when the peer, though it answers, had its window shut so
                                  long while something waited; default 0: never (RFC 6429) */
    weir_nsec connect_timeout;    /* default 180 s, of a passive open a third */
    weir_nsec fin_timeout;        /* of silence in FIN-WAIT-2, default 60 s */
    weir_nsec time_wait;          /* default 60 s */
    weir_nsec keepalive;          /* first probe after so much silence; default 0: none. Whether
                                     there are any is fixed by init: a byte a connection */
    weir_nsec keepalive_interval; /* between probes, default 75 s */
    uint8_t keepalive_probes;     /* unanswered ones that end it, default 9 */
    weir_nsec sleep_after;        /* awake at least so long after the last segment, default 1 s; 0:
                                     a control block is given back at once */
    uint32_t send_queue_max;      /* bytes queued or in flight, per connection; an empty queue takes
                                     anything. Default 4 MiB */
    uint32_t challenges_max;      /* challenge ACKs in a second, default 1,000 (RFC 5961 7) */
    bool is_nodelay;              /* new connections begin without Nagle's algorithm */

    /* RFC 5482: the peer is told user_timeout, and its own counts here as long as the connection is
     * awake: the longer of both, within these bounds. Default off. */
    bool is_user_timeout_advertised;
    bool is_user_timeout_fixed; /* told, but the peer's does not count */
    weir_nsec user_timeout_min; /* default 100 s */
    weir_nsec user_timeout_max; /* default 1 h */
};

struct weir_tcp_config {
    struct weir_slide *slide;  /* out-of-order data is held here; the loop's slide. No default */
    uint32_t connections_max;  /* over IPv4, 16 bytes each, default 1,024 */
    uint32_t connections6_max; /* over IPv6, 32 bytes each, default 1,024; 0: no IPv6 */
    uint32_t awake_max;        /* connections with anything queued, in flight or held at once;
                                  default 0: all of them, but at most 4,096 */
    uint32_t half_open_max;    /* passive opens that are remembered; further ones get SYN cookies.
                                  Default 0: a quarter of awake_max. */
    bool is_cookie_only;       /* nothing is remembered of any: half_open_max is 0 */
    uint32_t segments_max;     /* pieces in flight, all connections, default 65,536; one has no more
                                  than are left, so half at most */
    uint32_t held_max;         /* segments held for order or pause, the same, default 65,536 */
    uint32_t reordering_max;   /* connections that hold out-of-order data at once, default 256; of
                                  them one in 16 with over 128 holes (at most 2,048) */
    size_t send_bytes;         /* memory for outgoing data and its book-keeping, default 64 MiB */
    uint32_t receive_window;   /* bytes, per connection, default 4 MiB; 2,048 to 1 GiB */
    uint16_t mtu_bytes;        /* of IP packets, default 1,500, at least 296 */
    enum weir_cc_kind cc;      /* default cubic */
    bool has_timestamps; /* RFC 7323 timestamps, where the peer agrees: 8 bytes a connection */
    bool has_users;      /* an application pointer: 8 bytes a connection */
    bool is_ecn;         /* RFC 3168, where the peer agrees */
    bool is_mtu_fixed;   /* no path MTU discovery */
    /* Of a crew: connect draws ports whose answers lead to shard; kept as long as mem. Default
     * NULL */
    const struct weir_route *route;
    uint32_t shard;

    /* RFC 7413, default off. What was queued when the SYN leaves goes with it where the server has
     * given us a cookie before; listeners hand out such data at once, OPENED first. The network may
     * repeat a SYN: only for applications that bear to be asked the same twice. PARCEL_DONE of what
     * went with it may come before OPENED. */
    bool is_fast_open;
    uint16_t fast_open_max;         /* passive opens of this kind that are not proved yet, default
                                       256; further ones are opened the usual way */
    uint16_t fast_open_servers_max; /* cookies and refusals that are remembered, default 64, 96
                                       bytes each, the least recently used goes first */
    struct weir_tcp_tuning tuning;
};

/* Sets every field to its default; slide to NULL. */
WEIR_API void weir_tcp_config_default(struct weir_tcp_config *config);
/* Bytes of the one block, worst case, summed term by term in tcp/memory.c; 0 when config is outside
 * its bounds, also while slide is NULL. Most of it is touched only when used. */
WEIR_API size_t weir_tcp_mem_size(const struct weir_tcp_config *config);
/* mem: 64-byte aligned, reads as zeros (weir_mem_map), the endpoint's until the caller frees it;
 * there is no fini. config and seed are copied, the slide is used as long as mem. seed: 32 bytes;
 * secret and random in production, any fixed value in a simulation.
 * WEIR_ERR_INVALID when mem is NULL or config outside its bounds. */
WEIR_API enum weir_status weir_tcp_init(void *mem, const struct weir_tcp_config *config,
                                        const uint8_t seed[32], weir_nsec now,
                                        struct weir_tcp **endpoint);
/* WEIR_ERR_INVALID when tuning is outside its bounds; nothing changes then. */
WEIR_API enum weir_status weir_tcp_tune(struct weir_tcp *endpoint,
                                        const struct weir_tcp_tuning *tuning);

/* --- the driver's side ------------------------------------------------------------------------ */

/* Takes a batch of segments. packets and their bytes are used, and must stay, until the next input
 * or timeout; pull all events before that: what was not pulled is dropped as if lost on the way,
 * and counted. What makes no sense is dropped and counted (weir_tcp_stats). */
WEIR_API void weir_tcp_input(struct weir_tcp *endpoint, weir_nsec now, struct weir_packet *packets,
                             uint32_t count);
/* Runs what is due; early or repeated calls are harmless. */
WEIR_API void weir_tcp_timeout(struct weir_tcp *endpoint, weir_nsec now);
/* When timeout or output is due: absolute, in the past when at once, or WEIR_NEVER. Changes with
 * input, event, timeout, output and every user call. */
WEIR_API weir_nsec weir_tcp_next_timeout(const struct weir_tcp *endpoint);
/* Appends to tx what is to be sent now; events may come of it. WEIR_AGAIN: nothing more to send
 * now. WEIR_OK: tx is full, call again. No other status. */
WEIR_API enum weir_status weir_tcp_output(struct weir_tcp *endpoint, weir_nsec now,
                                          struct weir_tx *tx);
/* The four above as a table for weir_loop_attach, static. */
WEIR_API const struct weir_verbs *weir_tcp_verbs(void);

/* --- events ----------------------------------------------------------------------------------- */

enum weir_tcp_event_type {
    WEIR_TCP_EVENT_OPENED = 1,  /* the connection is there: of a listener, or as connect wanted */
    WEIR_TCP_EVENT_DATA,        /* the next bytes */
    WEIR_TCP_EVENT_PARCEL_DONE, /* one send of a parcel ended */
    WEIR_TCP_EVENT_WRITABLE,    /* after WEIR_ERR_FULL: half of the queue is free again */
    WEIR_TCP_EVENT_URGENT,      /* the peer says that urgent data is on its way (RFC 9293 3.8.5) */
    WEIR_TCP_EVENT_PEER_CLOSED, /* no more data will come; sending goes on */
    WEIR_TCP_EVENT_CLOSED,      /* the handle is invalid after this event */
    WEIR_TCP_EVENT_ROOM         /* conn is NULL. After WEIR_AGAIN of any call: there is a control
                                   block again; once, so try all that wait */
};

enum weir_tcp_close_cause {
    WEIR_TCP_CAUSE_DONE = 1,   /* both sides had closed, and all was acknowledged */
    WEIR_TCP_CAUSE_ABORTED,    /* weir_tcp_abort here */
    WEIR_TCP_CAUSE_RESET,      /* by the peer */
    WEIR_TCP_CAUSE_REFUSED,    /* the peer does not take the connection */
    WEIR_TCP_CAUSE_TIMEOUT,    /* connect_timeout, user_timeout, fin_timeout or keepalive */
    WEIR_TCP_CAUSE_UNREACHABLE /* the same, and the network had said why; or, of connect, it said
                                  at once that there is no such port or that it is forbidden */
};

struct weir_tcp_event {
    enum weir_tcp_event_type type;
    struct weir_tcp_conn *conn;

    union {
        struct {
            int listener; /* index that weir_tcp_listen gave; -1: weir_tcp_connect's */
        } opened;

        struct {
            struct weir_span span; /* borrowed until the next event, input or timeout; to keep the
                                      bytes longer: weir_slide_hold */
            uint32_t urgent_bytes; /* so many of the coming bytes, these first, are urgent */
        } data;

        struct {
            struct weir_parcel *parcel;
            enum weir_outcome outcome; /* ACKED or CLOSED */
        } parcel;

        struct {
            enum weir_tcp_close_cause cause;
            void *user; /* weir_tcp_user of the connection */
        } closed;
    };
};

/* Pulls one event. WEIR_AGAIN: none now, *event means nothing. All PARCEL_DONE of a connection come
 * before its CLOSED, nothing comes after. */
WEIR_API enum weir_status weir_tcp_event(struct weir_tcp *endpoint, struct weir_tcp_event *event);

/* --- connections ------------------------------------------------------------------------------ */

/* From now on connections to local are accepted: OPENED. Its address may be all zeros, for any.
 * WEIR_ERR_FULL: WEIR_TCP_ENDS_MAX, or there is one. WEIR_ERR_INVALID: no family, or port 0. */
WEIR_API enum weir_status weir_tcp_listen(struct weir_tcp *endpoint, const struct weir_addr *local,
                                          int *listener);
/* Accepts no more; connections stay. */
WEIR_API void weir_tcp_unlisten(struct weir_tcp *endpoint, int listener);

/* Opens a connection: OPENED or CLOSED follows; sends are queued until then. path holds both
 * addresses; a local port of 0 is drawn at random (RFC 6056). user: for weir_tcp_user, ignored
 * unless has_users.
 * An endpoint connects to 120 remote addresses and ports or so at a time, to each from all ports
 * that no listener has.
 * WEIR_ERR_FULL: a bound is reached, or the connection exists. WEIR_ERR_INVALID: an address without
 * family, a remote port of 0, addresses that no connection can have; with a route, a local port
 * whose answers lead to another shard. */
WEIR_API enum weir_status weir_tcp_connect(struct weir_tcp *endpoint, weir_nsec now,
                                           const struct weir_path *path, void *user,
                                           struct weir_tcp_conn **conn);
/* No more will be sent: FIN follows what is queued, sends return WEIR_ERR_CLOSED. DATA comes in
 * until the peer has closed too; then, with all acknowledged, CLOSED follows.
 * WEIR_AGAIN: all control blocks are busy now; nothing changed, ROOM follows. */
WEIR_API enum weir_status weir_tcp_close(struct weir_tcp *endpoint, struct weir_tcp_conn *conn);
/* At once: RST, what is queued or held is thrown away, CLOSED follows. WEIR_AGAIN as above. */
WEIR_API enum weir_status weir_tcp_abort(struct weir_tcp *endpoint, struct weir_tcp_conn *conn);

/* The application's pointer; NULL unless has_users. */
WEIR_API void *weir_tcp_user(const struct weir_tcp *endpoint, const struct weir_tcp_conn *conn);
WEIR_API void weir_tcp_set_user(struct weir_tcp *endpoint, const struct weir_tcp_conn *conn,
                                void *user);
/* Both addresses with TCP's ports. */
WEIR_API struct weir_path weir_tcp_path(const struct weir_tcp *endpoint,
                                        const struct weir_tcp_conn *conn);
/* Its place, counted from 0: for arrays beside the connections. */
WEIR_API uint32_t weir_tcp_index(const struct weir_tcp *endpoint, const struct weir_tcp_conn *conn);
/* All places are less than this: up to a fifth more than there are connections. Never changes. */
WEIR_API uint32_t weir_tcp_index_max(const struct weir_tcp *endpoint);
/* The application takes no more data: what comes in is kept, up to the receive window, which the
 * peer sees shrinking. false resumes. A paused connection stays awake. WEIR_AGAIN as above. */
WEIR_API enum weir_status weir_tcp_pause(struct weir_tcp *endpoint, struct weir_tcp_conn *conn,
                                         bool is_paused);
/* Corked: only full segments leave; uncorking lets the rest go. WEIR_AGAIN as above. */
WEIR_API enum weir_status weir_tcp_cork(struct weir_tcp *endpoint, struct weir_tcp_conn *conn,
                                        bool is_corked);
/* true: small segments do not wait for acknowledgements (no Nagle algorithm). Kept as long as the
 * connection is awake, and then as configured. WEIR_AGAIN as above. */
WEIR_API enum weir_status weir_tcp_nodelay(struct weir_tcp *endpoint, struct weir_tcp_conn *conn,
                                           bool is_nodelay);

/* --- sending ---------------------------------------------------------------------------------- */

/* Queues a copy of data. When it fails nothing was queued:
 * WEIR_ERR_FULL: send_queue_max or send_bytes is reached; WRITABLE follows. WEIR_AGAIN as above.
 * WEIR_ERR_TOO_LARGE: over WEIR_TCP_SEND_BYTES_MAX, a parcel 1 GiB. WEIR_ERR_INVALID: length 0.
 * WEIR_ERR_CLOSED: closing or closed. */
WEIR_API enum weir_status weir_tcp_send(struct weir_tcp *endpoint, struct weir_tcp_conn *conn,
                                        const void *data, size_t length);
/* The same without a copy, and with the same errors: see weir/parcel.h. Only when it returns
 * WEIR_OK a reference is taken and PARCEL_DONE follows. */
WEIR_API enum weir_status weir_tcp_send_parcel(struct weir_tcp *endpoint,
                                               struct weir_tcp_conn *conn,
                                               struct weir_parcel *parcel);
/* Sends parcel on conns[0], conns[1] ... up to count, until one refuses: *sent of them have taken
 * it, and the status is that of conns[*sent], or WEIR_OK. */
WEIR_API enum weir_status weir_tcp_broadcast(struct weir_tcp *endpoint, struct weir_parcel *parcel,
                                             struct weir_tcp_conn *const *conns, uint32_t count,
                                             uint32_t *sent);
/* All that is queued so far is urgent. For old peers only: new programs SHOULD NOT (RFC 6093). */
WEIR_API void weir_tcp_urgent(struct weir_tcp *endpoint, struct weir_tcp_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
