/* SPDX-License-Identifier: MIT */
/*
 * rudp.h - RUDP: reliable UDP with a guarantee per message.
 *
 * Role: the public interface of the engine. It has no socket, clock, thread or allocator: run it
 * with weir/loop.h, or feed it yourself.
 * Owned by: one thread per endpoint. Memory: one block of weir_rudp_mem_size bytes from the caller.
 * Order: init; then any of input, timeout, event, output and the user calls. User calls only queue
 * state; what they cause appears in event and output.
 * Spec: docs/wire-rudp.md; loss detection RFC 9002; MTU discovery RFC 8899.
 *
 *   connect ----> [cookie exchange] ----> OPENED         send ----> output ----> (network)
 *   (network) --> input --> event: REQUEST (accept/refuse), OPENED, MESSAGE, PARCEL_DONE, CLOSED
 */
#ifndef WEIR_RUDP_H
#define WEIR_RUDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/cc.h"
#include "weir/driver.h"
#include "weir/loop.h"
#include "weir/parcel.h"
#include "weir/route.h"
#include "weir/rudp_stats.h"
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_rudp;      /* endpoint: all connections of one engine on one shard */
struct weir_rudp_conn; /* connection handle; once its CLOSED event has been pulled it may only be
                          compared with, and no longer than until the next call on the endpoint */

enum weir_rudp_guarantee {
    WEIR_RUDP_NONE = 0, /* as UDP: may be lost, reordered, repeated */
    WEIR_RUDP_ORDER,    /* never after a later one, never twice; may be lost */
    WEIR_RUDP_DELIVERY  /* in order, once, never lost */
};

/* What is resent when (messages with the delivery guarantee). */
enum weir_rudp_resend {
    WEIR_RUDP_RESEND_ADAPTIVE = 0, /* RFC 9002: packet and time thresholds, probe timeout */
    WEIR_RUDP_RESEND_FIXED_TIME,   /* resend_after after it was sent, at least 9/8 round trips */
    WEIR_RUDP_RESEND_LATER_IDS     /* once resend_later_packets later packets are acknowledged */
};

/* Unsent written data (reserve/commit/write) when a new set begins or another message is sent. */
enum weir_rudp_unsent {
    WEIR_RUDP_UNSENT_PANIC = 0, /* programmer error: abort */
    WEIR_RUDP_UNSENT_CLEAR,     /* thrown away */
    WEIR_RUDP_UNSENT_INTO_SET   /* kept; becomes part of the new set when sent */
};

/* Urgency among the messages waiting on one connection; higher ones leave first. Order and delivery
 * messages never overtake one another within a channel, whatever their priorities. */
enum weir_rudp_priority {
    WEIR_RUDP_PRIORITY_LOW = -1,
    WEIR_RUDP_PRIORITY_NORMAL = 0,
    WEIR_RUDP_PRIORITY_HIGH = 1,
    WEIR_RUDP_PRIORITY_URGENT = 2
};

enum {
    WEIR_RUDP_MESSAGE_BYTES_MAX = 16 << 20,
    WEIR_RUDP_CHANNELS_MAX = 256,
    WEIR_RUDP_REASON_BYTES_MAX = 120 /* text of a refusal or close */
};

struct weir_rudp_config {
    struct weir_slide *slide;   /* out-of-order data is held here; the loop's slide. No default */
    uint32_t connections_max;   /* default 1,024 */
    uint32_t awake_max;         /* connections with anything queued, in flight or held at once;
                                     default 0: connections_max, but at most 4,096 */
    uint16_t channels_max;      /* per connection, 1 to 256, default 8; the smaller of both ends */
    uint32_t message_bytes_max; /* longest received message, default 1 MiB, at most 16 MiB; the
                                     peer is told and keeps to it */
    uint32_t receive_window_bytes; /* delivery messages on their way or held, per connection, each
                                     counted with 64 bytes on top; default 4 MiB, at least
                                     message_bytes_max + 64, less than 2 GiB */
    uint32_t send_queue_bytes;     /* queued and unacknowledged, per connection: about 120 bytes a
                                    message and its bytes, those of parcels not counted; default
                                    4 MiB. An empty queue takes any one message */
    size_t send_bytes;             /* memory for outgoing messages, all connections, default 64 MiB,
                                    at least 64 KiB */
    size_t assembly_bytes;         /* memory for fragmented incoming messages, all connections,
                                    default 64 MiB, at least 64 KiB */
    uint32_t held_max;             /* messages held out of order, all connections, default 65,536 */
    uint32_t packets_max;          /* packets in flight, all connections, default 65,536 */
    uint32_t fragments_max;        /* fragments and parcels on their way, default 131,072 */
    bool is_accepting;             /* answers strangers; default off: connects only */
    const struct weir_route *route; /* of a crew: the ids issued here lead to shard; must stay as
                                       long as mem. Default NULL */
    uint32_t shard;

    enum weir_cc_kind cc; /* default: the first of each enum */
    enum weir_rudp_resend resend;
    weir_nsec resend_after;        /* fixed time, default 100 ms */
    uint32_t resend_later_packets; /* later ids, default 3 */
    enum weir_rudp_unsent unsent;
    weir_nsec flush_delay;     /* small messages wait this long for company; default 0: at once */
    weir_nsec ack_delay;       /* an acknowledgement waits at most this long; default 5 ms */
    weir_nsec connect_timeout; /* default 10 s, more than 0 */
    weir_nsec idle_timeout;    /* closed when nothing arrived for this long; default 30 s; the
                                   smaller of both ends, in whole ms; 0: never */
    weir_nsec dead_timeout;    /* closed when probes stay unanswered for this long; default 10 s,
                                   more than 0 */
    weir_nsec heartbeat;       /* a ping after this much silence, or a third of idle_timeout
                                    if that is less; default 10 s, 0: never */
    uint16_t mtu_bytes_min;    /* datagram that every path is taken to carry; default and least
                                   1,200 */
    uint16_t mtu_bytes_max;    /* MTU discovery looks no further; default 1,472, at least
                                   mtu_bytes_min, at most 65,507 */
};

/* Sets every field to its default; slide to NULL. */
WEIR_API void weir_rudp_config_default(struct weir_rudp_config *config);
/* Bytes of the one block, worst case, summed term by term in rudp/memory.c; 0 when config is
 * outside its bounds, also while slide is NULL. Most of it is touched only when used. */
WEIR_API size_t weir_rudp_mem_size(const struct weir_rudp_config *config);
/* mem: 64-byte aligned, reads as zeros (weir_mem_map), used until the caller frees it; there is no
 * fini. config and seed are copied, the slide is used as long as mem. seed: 32 bytes; secret and
 * random in production, any fixed value in a simulation. Endpoints with equal seeds issue equal
 * ids: a restarted server that keeps its seed can tell old peers at once that their connections are
 * gone. WEIR_ERR_INVALID when mem is NULL or config outside its bounds. */
WEIR_API enum weir_status weir_rudp_init(void *mem, const struct weir_rudp_config *config,
                                         const uint8_t seed[32], weir_nsec now,
                                         struct weir_rudp **endpoint);

/* --- the driver's side ------------------------------------------------------------------------ */

/* Takes a batch. packets and their bytes are used, and must stay, until the next input or timeout;
 * pull all events before that: what was not pulled is dropped as if lost on the way, and counted.
 * Datagrams that make no sense are dropped and counted (weir_rudp_stats). */
WEIR_API void weir_rudp_input(struct weir_rudp *endpoint, weir_nsec now,
                              struct weir_packet *packets, uint32_t count);
/* Runs what is due; early or repeated calls are harmless. */
WEIR_API void weir_rudp_timeout(struct weir_rudp *endpoint, weir_nsec now);
/* When timeout or output is due: absolute, in the past when at once, or WEIR_NEVER. Changes with
 * input, event, timeout, output and every user call. */
WEIR_API weir_nsec weir_rudp_next_timeout(const struct weir_rudp *endpoint);
/* Appends to tx what is to be sent now; events may come of it. WEIR_AGAIN: nothing more to send
 * now. WEIR_OK: tx is full, call again. No other status. */
WEIR_API enum weir_status weir_rudp_output(struct weir_rudp *endpoint, weir_nsec now,
                                           struct weir_tx *tx);
/* The four above as a table for weir_loop_attach, static. */
WEIR_API const struct weir_verbs *weir_rudp_verbs(void);

/* --- events ----------------------------------------------------------------------------------- */

enum weir_rudp_event_type {
    WEIR_RUDP_EVENT_REQUEST = 1, /* a stranger, address proved, wants in: accept or refuse it */
    WEIR_RUDP_EVENT_OPENED,      /* the peer answered; both ends may send */
    WEIR_RUDP_EVENT_MESSAGE,
    WEIR_RUDP_EVENT_PARCEL_DONE, /* one send of a parcel ended */
    WEIR_RUDP_EVENT_WRITABLE,    /* after WEIR_ERR_FULL: half of the queue is free again */
    WEIR_RUDP_EVENT_MOVED,       /* the peer's address changed and was validated */
    WEIR_RUDP_EVENT_CLOSED       /* the handle is invalid after this event */
};

enum weir_rudp_close_cause {
    WEIR_RUDP_CAUSE_LOCAL = 1, /* weir_rudp_close or _abort here */
    WEIR_RUDP_CAUSE_PEER,      /* the peer closed, with its code and text */
    WEIR_RUDP_CAUSE_REFUSED,   /* the peer refused the connection, with its code and text */
    WEIR_RUDP_CAUSE_TIMEOUT,   /* idle_timeout, dead_timeout or connect_timeout passed */
    WEIR_RUDP_CAUSE_VERSION,   /* the peer speaks no version of ours */
    WEIR_RUDP_CAUSE_RESET,     /* the peer lost the connection's state (restarted) */
    WEIR_RUDP_CAUSE_PROTOCOL   /* the peer broke the protocol; code and text say how */
};

struct weir_rudp_event {
    enum weir_rudp_event_type type;
    struct weir_rudp_conn *conn;

    union {
        struct {
            struct weir_span data; /* borrowed until the next event, input or timeout call;
                                      weir_slide_hold keeps it longer, without a copy when it
                                      came in one fragment */
            uint8_t channel;
            enum weir_rudp_guarantee guarantee;
        } message;

        struct {
            struct weir_parcel *parcel;
            enum weir_outcome outcome;
        } parcel;

        struct {
            enum weir_rudp_close_cause cause;
            uint32_t code;    /* the application's, 0 when it gave none */
            const char *text; /* zero-terminated, printable, valid until the next event call */
            void *user;       /* weir_rudp_user of the connection */
        } closed;
    };
};

/* Pulls one event. WEIR_AGAIN: none now, *event means nothing. All PARCEL_DONE of a connection come
 * before its CLOSED, nothing comes after. */
WEIR_API enum weir_status weir_rudp_event(struct weir_rudp *endpoint,
                                          struct weir_rudp_event *event);

/* --- connections ------------------------------------------------------------------------------ */

/* Starts a connection; OPENED or CLOSED follows. Messages may be queued at once; the peer's limits
 * are not known yet, and it closes a connection that is sent a message beyond them. user: for
 * weir_rudp_user. WEIR_ERR_FULL when connections_max is reached, or awake_max with all of them
 * busy; WEIR_ERR_INVALID for a remote without address or port. */
WEIR_API enum weir_status weir_rudp_connect(struct weir_rudp *endpoint, weir_nsec now,
                                            const struct weir_addr *remote, void *user,
                                            struct weir_rudp_conn **conn);
/* Answers a REQUEST with yes; OPENED or CLOSED follows. Messages may be queued at once. A request
 * that is neither accepted nor refused ends after connect_timeout: CLOSED, cause TIMEOUT. On any
 * other connection only user is set. */
WEIR_API void weir_rudp_accept(struct weir_rudp_conn *conn, void *user);
/* Answers a REQUEST with no. text: zero-terminated, its first WEIR_RUDP_REASON_BYTES_MAX bytes are
 * sent to the peer. The handle is then invalid and no event follows, unless the request had ended
 * by itself: then CLOSED does. */
WEIR_API void weir_rudp_refuse(struct weir_rudp_conn *conn, uint32_t code, const char *text);
/* Graceful: everything queued is sent, and acknowledged if it has the delivery guarantee, before
 * the peer learns code and text (as in refuse; not NULL). Until then messages still come in; sends
 * return WEIR_ERR_CLOSED; unsent written data is thrown away. CLOSED follows, after dead_timeout at
 * the latest once the peer is silent. No effect on a request, or when closing already. */
WEIR_API void weir_rudp_close(struct weir_rudp_conn *conn, uint32_t code, const char *text);
/* At once: what is queued or held is thrown away; the peer learns code and text (those of close,
 * when that came first). CLOSED follows, also on a request. No effect when closing already. */
WEIR_API void weir_rudp_abort(struct weir_rudp_conn *conn, uint32_t code, const char *text);

/* The application's pointer: as given to connect, accept or set_user. Nothing here looks at it. */
WEIR_API void *weir_rudp_user(const struct weir_rudp_conn *conn);
WEIR_API void weir_rudp_set_user(struct weir_rudp_conn *conn, void *user);
/* Where packets go to now: borrowed, valid like the handle, different after MOVED. local is of
 * family NONE until the peer has answered, and where the driver does not tell. */
WEIR_API const struct weir_path *weir_rudp_path(const struct weir_rudp_conn *conn);
/* Stops granting the peer more receive window (it may still use up what it has); false resumes. */
WEIR_API void weir_rudp_pause(struct weir_rudp_conn *conn, bool is_paused);

/* --- sending ---------------------------------------------------------------------------------- */

/* How a message is sent. All zero: guarantee none on channel 0, normal priority, no deadline. */
struct weir_rudp_send {
    uint8_t channel;
    enum weir_rudp_guarantee guarantee;
    enum weir_rudp_priority priority;
    weir_nsec deadline; /* absolute, of the endpoint's clock; 0: none. Later it is given up: not
                           sent, or, for delivery, passed over at the receiver */
};

/* Queues a copy of data (NULL is fine for length 0). When it fails nothing was queued:
 * WEIR_ERR_FULL: send_queue_bytes, send_bytes or awake_max is reached; WRITABLE follows.
 * WEIR_ERR_TOO_LARGE: over the peer's message_bytes_max (16 MiB as long as that is not known), or a
 * copy that send_bytes could never hold.
 * WEIR_ERR_INVALID: no such channel at both ends, no such guarantee or priority.
 * WEIR_ERR_CLOSED: closing, closed, or a request that is not accepted yet. */
WEIR_API enum weir_status weir_rudp_send(struct weir_rudp_conn *conn,
                                         const struct weir_rudp_send *how, const void *data,
                                         size_t length);
/* The same without a copy, and with the same errors: see weir/parcel.h. Only when it returns
 * WEIR_OK a reference is taken and PARCEL_DONE follows. */
WEIR_API enum weir_status weir_rudp_send_parcel(struct weir_rudp_conn *conn,
                                                const struct weir_rudp_send *how,
                                                struct weir_parcel *parcel);
/* Messages of a channel sent between begin and end are one set: no order among themselves, ordered
 * as a whole against what is before and after. Outside, each message is a set of one. Begin ends a
 * set that is open, end without one does nothing. WEIR_ERR_INVALID: no such channel at both ends.
 * WEIR_ERR_FULL: no memory for the channel. */
WEIR_API enum weir_status weir_rudp_set_begin(struct weir_rudp_conn *conn, uint8_t channel);
WEIR_API enum weir_status weir_rudp_set_end(struct weir_rudp_conn *conn, uint8_t channel);

/* Builds one message byte by byte in the outgoing buffer, one at a time per connection. reserve
 * gives room for length more bytes (contiguous, valid until the next call on conn), commit keeps
 * the first length of them, write is both with a copy. reserve with the whole length in one go
 * never copies. reserve and write: WEIR_ERR_FULL, WEIR_ERR_TOO_LARGE (of the message so far and
 * length), WEIR_ERR_CLOSED as for send; what was written before stays. commit: WEIR_ERR_INVALID for
 * more than is reserved, nothing changes. */
WEIR_API enum weir_status weir_rudp_reserve(struct weir_rudp_conn *conn, size_t length,
                                            uint8_t **room);
WEIR_API enum weir_status weir_rudp_commit(struct weir_rudp_conn *conn, size_t length);
WEIR_API enum weir_status weir_rudp_write(struct weir_rudp_conn *conn, const void *data,
                                          size_t length);
/* Throws away what was written and not sent, if anything. */
WEIR_API void weir_rudp_clear_written(struct weir_rudp_conn *conn);
/* Ships what was written as one message (an empty one when nothing was). Errors as for send; what
 * was written then stays as it is. */
WEIR_API enum weir_status weir_rudp_send_written(struct weir_rudp_conn *conn,
                                                 const struct weir_rudp_send *how);
/* Sends now what flush_delay holds back. */
WEIR_API void weir_rudp_flush(struct weir_rudp_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
