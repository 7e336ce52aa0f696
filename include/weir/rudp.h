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
 *   (network) --> input --> event: REQUEST (accept/refuse), OPENED, MESSAGE, PARCEL_DONE, ... CLOSED
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
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_rudp;      /* endpoint: all connections of one engine on one shard */
struct weir_rudp_conn; /* connection handle; valid until its CLOSED event has been pulled */

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
    WEIR_RUDP_CHANNELS_MAX = 256
};

enum {
    WEIR_RUDP_REASON_BYTES_MAX = 120
}; /* text of a refusal or close */

struct weir_rudp_config {
    struct weir_slide *slide;   /* out-of-order data is held here; the loop's slide */
    uint32_t connections_max;   /* default 1,024 */
    uint32_t awake_max;         /* connections with anything queued, in flight or held at once;
                                     default connections_max, at most 4,096 */
    uint16_t channels_max;      /* per connection, 1 to 256, default 8; the smaller of both ends */
    uint32_t message_bytes_max; /* longest received message, default 1 MiB, at most 16 MiB */
    uint32_t receive_window_bytes; /* delivery messages on their way or held, per connection, each
                                     counted with 64 bytes on top; default 4 MiB, at least
                                     message_bytes_max + 64 */
    uint32_t send_queue_bytes; /* queued and unacknowledged, per connection, parcels not counted;
                                     default 4 MiB */
    size_t send_bytes;         /* memory for outgoing copies, all connections, default 64 MiB */
    size_t assembly_bytes;     /* memory for fragmented incoming messages, all connections,
                                     default 64 MiB */
    uint32_t held_max;         /* messages held out of order, all connections, default 65,536 */
    uint32_t packets_max;      /* packets in flight, all connections, default 65,536 */
    uint32_t fragments_max;    /* fragments and parcels on their way, default 131,072 */
    bool is_accepting;         /* answers strangers; off: connects only */

    enum weir_cc_kind cc;
    enum weir_rudp_resend resend;
    weir_nsec resend_after;        /* fixed time, default 100 ms */
    uint32_t resend_later_packets; /* later ids, default 3 */
    enum weir_rudp_unsent unsent;
    weir_nsec flush_delay;     /* small messages wait this long for company; default 0: at once */
    weir_nsec ack_delay;       /* an acknowledgement waits at most this long; default 5 ms */
    weir_nsec connect_timeout; /* default 10 s */
    weir_nsec idle_timeout;    /* closed when nothing arrived for this long; default 30 s; the
                                   smaller of both ends */
    weir_nsec dead_timeout;    /* closed when probes stay unanswered for this long; default 10 s */
    weir_nsec heartbeat;       /* a ping after this much silence; default 10 s, 0: never */
    uint16_t mtu_bytes_min;    /* datagram that every path is taken to carry; default and least
                                   1,200 */
    uint16_t mtu_bytes_max;    /* MTU discovery looks no further; default 1,472 */
};

/* Defaults as above. slide stays NULL: it must be set. */
WEIR_API void weir_rudp_config_default(struct weir_rudp_config *config);
/* Bytes of the one block, worst case, summed term by term in rudp/memory.c; 0 when config is outside its bounds.
 * Most of it is touched only when used. */
WEIR_API size_t weir_rudp_mem_size(const struct weir_rudp_config *config);
/* mem: 64-byte aligned, reads as zeros (weir_mem_map), kept until the caller frees it; there is no
 * fini. seed: 32 bytes; secret and random in production, any fixed value in a simulation. Endpoints
 * with equal seeds issue equal ids: a restarted server that keeps its seed can tell old peers at
 * once that their connections are gone. WEIR_ERR_INVALID for a config outside its bounds. */
WEIR_API enum weir_status weir_rudp_init(void *mem, const struct weir_rudp_config *config,
                                         const uint8_t seed[32], weir_nsec now,
                                         struct weir_rudp **endpoint);

/* --- the driver's side ------------------------------------------------------------------------ */

/* Takes a batch. packets and their bytes are kept until the next input or timeout; pull all events
 * before that: what was not pulled is dropped as if lost on the way, and counted. */
WEIR_API void weir_rudp_input(struct weir_rudp *endpoint, weir_nsec now,
                              struct weir_packet *packets, uint32_t count);
/* Runs what is due; early or repeated calls are harmless. */
WEIR_API void weir_rudp_timeout(struct weir_rudp *endpoint, weir_nsec now);
/* Absolute time, or WEIR_NEVER. Changes with input, event, timeout, output and every user call. */
WEIR_API weir_nsec weir_rudp_next_timeout(const struct weir_rudp *endpoint);
/* Appends to tx. WEIR_AGAIN: nothing more to send now. WEIR_OK: tx is full, call again. */
WEIR_API enum weir_status weir_rudp_output(struct weir_rudp *endpoint, weir_nsec now,
                                           struct weir_tx *tx);
/* The four above as a table for weir_loop_attach. */
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
            struct weir_span data; /* borrowed until the next event, input or timeout call; to keep
                                      bytes of messages of one fragment: weir_slide_hold */
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
            const char *text; /* zero-terminated, printable, valid until the next call */
            void *user;       /* weir_rudp_user of the connection */
        } closed;
    };
};

/* Pulls one event. WEIR_AGAIN: none now. */
WEIR_API enum weir_status weir_rudp_event(struct weir_rudp *endpoint,
                                          struct weir_rudp_event *event);

/* --- connections ------------------------------------------------------------------------------ */

/* Starts a connection; OPENED or CLOSED follows. Messages may be queued at once. WEIR_ERR_FULL when
 * connections_max is reached, WEIR_ERR_INVALID for a remote without address or port. */
WEIR_API enum weir_status weir_rudp_connect(struct weir_rudp *endpoint, weir_nsec now,
                                            const struct weir_addr *remote, void *user,
                                            struct weir_rudp_conn **conn);
/* Answers a REQUEST. A request left unanswered for connect_timeout is dropped. */
WEIR_API void weir_rudp_accept(struct weir_rudp_conn *conn, void *user);
/* text: up to WEIR_RUDP_REASON_BYTES_MAX bytes are sent to the peer. The handle is then invalid. */
WEIR_API void weir_rudp_refuse(struct weir_rudp_conn *conn, uint32_t code, const char *text);
/* Graceful: everything queued with the delivery guarantee is delivered first, then the peer learns
 * code and text. CLOSED follows. */
WEIR_API void weir_rudp_close(struct weir_rudp_conn *conn, uint32_t code, const char *text);
/* At once: what is queued is thrown away; the peer learns code and text. CLOSED follows. */
WEIR_API void weir_rudp_abort(struct weir_rudp_conn *conn, uint32_t code, const char *text);

WEIR_API void *weir_rudp_user(const struct weir_rudp_conn *conn);
WEIR_API void weir_rudp_set_user(struct weir_rudp_conn *conn, void *user);
WEIR_API const struct weir_path *weir_rudp_path(const struct weir_rudp_conn *conn);
/* Stops granting the peer more receive window (it may still use up what it has); false resumes. */
WEIR_API void weir_rudp_pause(struct weir_rudp_conn *conn, bool is_paused);

/* --- sending ---------------------------------------------------------------------------------- */

/* All zero: guarantee none on channel 0, normal priority, no deadline. */
struct weir_rudp_send {
    uint8_t channel;
    enum weir_rudp_guarantee guarantee;
    enum weir_rudp_priority priority;
    weir_nsec deadline; /* absolute; 0: none. Later it is given up: not sent, or, for delivery,
                           passed over at the receiver */
};

/* Queues a copy of data. WEIR_ERR_FULL: the queue or memory bound is reached (WRITABLE follows),
 * nothing was queued. WEIR_ERR_TOO_LARGE: over the peer's message_bytes_max. WEIR_ERR_INVALID: no
 * such channel. WEIR_ERR_CLOSED. */
WEIR_API enum weir_status weir_rudp_send(struct weir_rudp_conn *conn,
                                         const struct weir_rudp_send *how, const void *data,
                                         size_t length);
/* The same without a copy: see weir/parcel.h. PARCEL_DONE follows. */
WEIR_API enum weir_status weir_rudp_send_parcel(struct weir_rudp_conn *conn,
                                                const struct weir_rudp_send *how,
                                                struct weir_parcel *parcel);
/* Messages of a channel sent between begin and end are one set: no order among themselves, ordered
 * as a whole against what is before and after. Outside, each message is a set of one. Begin ends a
 * set that is open. WEIR_ERR_INVALID: no such channel. */
WEIR_API enum weir_status weir_rudp_set_begin(struct weir_rudp_conn *conn, uint8_t channel);
WEIR_API enum weir_status weir_rudp_set_end(struct weir_rudp_conn *conn, uint8_t channel);

/* Builds one message byte by byte in the outgoing buffer. reserve gives room for length more bytes
 * (contiguous, valid until the next call on conn), commit keeps the first length of them, write is
 * both with a copy. reserve with the whole length in one go never copies. WEIR_ERR_FULL,
 * WEIR_ERR_TOO_LARGE, WEIR_ERR_CLOSED as for send; commit of more than reserved: WEIR_ERR_INVALID,
 * nothing changes. */
WEIR_API enum weir_status weir_rudp_reserve(struct weir_rudp_conn *conn, size_t length,
                                            uint8_t **room);
WEIR_API enum weir_status weir_rudp_commit(struct weir_rudp_conn *conn, size_t length);
WEIR_API enum weir_status weir_rudp_write(struct weir_rudp_conn *conn, const void *data,
                                          size_t length);
WEIR_API void weir_rudp_clear_written(struct weir_rudp_conn *conn);
/* Ships what was written as one message (an empty one when nothing was). */
WEIR_API enum weir_status weir_rudp_send_written(struct weir_rudp_conn *conn,
                                                 const struct weir_rudp_send *how);
/* Sends now what flush_delay holds back. */
WEIR_API void weir_rudp_flush(struct weir_rudp_conn *conn);

/* --- figures ---------------------------------------------------------------------------------- */

struct weir_rudp_conn_stats {
    weir_nsec rtt, rtt_variance, rtt_min;
    uint64_t window_bytes, in_flight_bytes, pacing_rate;
    uint64_t packets_sent, packets_received, packets_lost, packets_spurious;
    uint64_t bytes_sent, bytes_received; /* datagram payloads */
    uint64_t bytes_resent;               /* message bytes sent again */
    uint64_t messages_sent, messages_received, messages_expired;
    uint64_t queued_bytes;  /* not yet sent, or sent and unacknowledged */
    uint32_t held_messages; /* received, waiting for earlier ones */
    uint64_t held_bytes;
    uint64_t secondary_bytes; /* of those, in the slide's secondary store; counted by the call */
    uint16_t mtu_bytes;
    const char *cc_state;
};

/* Why a datagram or part of it was dropped. */
enum weir_rudp_drop {
    WEIR_RUDP_DROP_TRUNCATED,  /* shorter than its header */
    WEIR_RUDP_DROP_CHECKSUM,   /* CRC32C does not match */
    WEIR_RUDP_DROP_KIND,       /* unknown packet kind, or one that makes no sense here */
    WEIR_RUDP_DROP_VERSION,    /* a version we do not speak */
    WEIR_RUDP_DROP_CONNECTION, /* no such connection */
    WEIR_RUDP_DROP_COOKIE,     /* cookie forged, stale or of another address */
    WEIR_RUDP_DROP_DUPLICATE,  /* packet number seen before, or too old to tell */
    WEIR_RUDP_DROP_NO_ROOM,    /* a pool or the slide had no room: the peer sends again */
    WEIR_RUDP_DROP_UNDRAINED,  /* events were not pulled before the next input */
    WEIR_RUDP_DROP_NOT_ACCEPTING,
    WEIR_RUDP_DROP_STALE, /* message: order, but a later one came first; or known already */
    WEIR_RUDP_DROP_COUNT
};

struct weir_rudp_stats {
    uint32_t connections, connections_peak, awake, awake_peak;
    uint64_t packets_received, packets_sent, handshakes;
    uint64_t drops[WEIR_RUDP_DROP_COUNT];
    uint64_t held_bytes_peak; /* of this endpoint, slide and assembly together */
};

WEIR_API void weir_rudp_conn_stats(const struct weir_rudp_conn *conn,
                                   struct weir_rudp_conn_stats *stats);
WEIR_API const struct weir_rudp_stats *weir_rudp_stats(const struct weir_rudp *endpoint);
/* Short word for a drop reason, for tables. */
WEIR_API const char *weir_rudp_drop_text(enum weir_rudp_drop drop);

#ifdef __cplusplus
}
#endif
#endif
