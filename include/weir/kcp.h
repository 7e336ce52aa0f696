/* SPDX-License-Identifier: MIT */
/*
 * kcp.h - KCP: messages or a byte stream over UDP, wire-compatible with the reference and kcp-go.
 *
 * Role: the public interface of the engine. It has no socket, clock, thread or allocator: run it
 * with weir/loop.h, or feed it yourself.
 * Owned by: one thread per endpoint. Memory: one block of weir_kcp_mem_size bytes from the caller.
 * Order: init; then any of input, timeout, event, output and the user calls. User calls only queue
 * state; what they cause appears in event and output.
 *
 * A session is known by the peer's address and a number, conv, that both ends use. KCP has no
 * handshake, no close, no checksum and no authentication: whoever knows conv and can send from the
 * peer's address can write into a session.
 *
 *   connect, send ----> output ----> (network) ----> input ----> event: REQUEST (accept/refuse)
 *   (network) --> input --> event: OPENED, MESSAGE, PARCEL_DONE, WRITABLE, MOVED, CLOSED
 */
#ifndef WEIR_KCP_H
#define WEIR_KCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/cc.h"
#include "weir/driver.h"
#include "weir/kcp_layers.h"
#include "weir/kcp_stats.h"
#include "weir/loop.h"
#include "weir/parcel.h"
#include "weir/route.h"
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_kcp;      /* endpoint: all sessions of one shard */
struct weir_kcp_conn; /* session handle; once its CLOSED event has been pulled it may only be
                         compared with, and no longer than until the next call on the endpoint */

enum {
    WEIR_KCP_WINDOW_MAX = 32768, /* segments */
    WEIR_KCP_FRAGMENTS_MAX = 255,
    WEIR_KCP_SEND_BYTES_MAX = 16 << 20, /* of one send to a stream */
    WEIR_KCP_MTU_MIN = 50,
    WEIR_KCP_MTU_MAX = 1500
};

/* What to do with a valid datagram whose conv is known, but not from this address. */
enum weir_kcp_address_policy {
    WEIR_KCP_ADDRESS_STRICT = 0, /* another address is another session */
    WEIR_KCP_ADDRESS_ROAM,       /* conv alone names the session, which moves along: MOVED */
    WEIR_KCP_ADDRESS_REPLACE     /* one session an address, as in kcp-go: where is_accepting, a
                                    PUSH with sn 0 and another conv ends the one before, cause
                                    REPLACED */
};

/* What all sessions of an endpoint share, and may be changed while it runs (weir_kcp_tune). The
 * first part is the reference's. */
struct weir_kcp_tuning {
    /* 1, 2: RTO at least 30 ms, not 100, each timeout longer by half (2: by half of the session's
     * RTO), not by twofold; default 0 */
    uint8_t nodelay;
    uint16_t interval_ms;    /* between flushes: 1 to 5,000, default 100 */
    uint8_t resend;          /* fast resend after so many later ACKs; default 0: never */
    bool is_window_fixed;    /* "nc": no congestion window; default off */
    bool is_stream;          /* bytes without message bounds; default off */
    uint16_t send_window;    /* segments in flight, 1 to 32,768, default 32 */
    uint16_t receive_window; /* segments the peer may send ahead; the same, default 128 */
    uint16_t mtu_bytes;      /* of a datagram, clamped to 50..1,500, default 1,400 */
    uint16_t rto_min_ms;     /* default 0: 30 with nodelay, else 100 */
    uint8_t dead_link;       /* a segment sent so often ends the session; default 20, 0: never */
    uint16_t fragments_max;  /* of a sent message, 1 to 255, default 127 */
    uint32_t send_queue_max; /* segments queued or in flight, per session; an empty queue takes
                                  any one message. Default 0: twice send_window, at least 256 */
    /* Beyond the reference, off by default, invisible on the wire. */
    bool is_write_delayed;    /* what is sent waits for the interval; off: leaves at once */
    bool is_ack_no_delay;     /* ACKs leave at once, not with the next interval */
    bool is_ack_coalesced;    /* of what una covers only the last is acknowledged by itself */
    bool is_early_retransmit; /* fast resend after one later ACK when nothing new waits */
    bool is_reorder_tolerant; /* fast resend not before 5/4 round trips have passed */
};

struct weir_kcp_config {
    struct weir_slide *slide; /* out-of-order data is held here; the loop's slide. No default */
    uint32_t connections_max; /* sessions, default 1,024 */
    uint32_t awake_max;       /* sessions with anything queued, in flight or held at once; default
                                  0: connections_max, but at most 4,096 */
    uint32_t pending_max;     /* strangers' sessions neither accepted nor refused, default 256 */
    size_t send_bytes;        /* memory for outgoing messages, all sessions, default 64 MiB */
    size_t window_bytes;      /* memory for windows: some 64 bytes a segment in flight and 4 one
                                  received, all sessions, default 32 MiB. Both at least 64 KiB */
    uint32_t held_max;        /* segments held for order or pause, all sessions, default 65,536, at
                                  least 512 */
    bool is_accepting;        /* default off: connects only */
    const struct weir_route *route; /* of a crew, kept as long as mem: connect takes only remotes
                                       whose packets lead to shard. Default NULL */
    uint32_t shard;
    enum weir_kcp_address_policy address_policy;
    enum weir_cc_kind cc;      /* a congestion controller with pacing in place of KCP's own window;
                                  default WEIR_CC_NONE */
    weir_nsec connect_timeout; /* closed when nothing was ever heard, default 10 s, 0: never. A
                                  request that nobody answers ends so too */
    weir_nsec keepalive;       /* a WASK after so much silence, default 30 s, 0: never */
    weir_nsec idle_timeout;    /* closed after so much silence, default 120 s, 0: never. These three
                                  are kept to an eighth of the shortest, 4 s at most */
    enum weir_kcp_cipher cipher; /* of the crypto header, see weir/kcp_layers.h; default NIL */
    uint8_t key[WEIR_KCP_KEY_BYTES];
    /* Forward error correction asks for address_policy REPLACE: an address has one sequence of
     * groups, as in kcp-go. Without it data packets of a peer that uses it are read all the same.
     */
    bool is_fec;       /* lost packets of a peer's groups are brought back; the groups' size, 32
                          packets at most or what is sent here, is known once a whole group has
                          come in order; default off */
    uint16_t fec_data; /* packets of an outgoing group, and the parity packets behind them, 256 at
                          most together; default both 0: none. Implies is_fec */
    uint16_t fec_parity;
    uint32_t fec_buffers_max; /* packets kept for FEC, all sessions, 1.5 KiB each; 0: 1,024 */
    struct weir_kcp_tuning tuning;
};

/* Sets every field to its default; slide to NULL. */
WEIR_API void weir_kcp_config_default(struct weir_kcp_config *config);
/* Sets what the named preset says; config was set to defaults before. "normal", "fast", "turbo",
 * "gaming", "realtime", "file-transfer", "kcptun-normal", "kcptun-fast", "kcptun-fast2",
 * "kcptun-fast3" (windows of kcptun's client; accepting ends: of its server).
 * WEIR_ERR_INVALID for any other name, config is then unchanged. */
WEIR_API enum weir_status weir_kcp_preset(const char *name, struct weir_kcp_config *config);
/* The name of preset i, counted from 0; NULL past the last. Static storage. */
WEIR_API const char *weir_kcp_preset_name(unsigned i);
/* Bytes of the one block, worst case, summed term by term in kcp/memory.c; 0 when config is outside
 * its bounds, also while slide is NULL. Most of it is touched only when used. */
WEIR_API size_t weir_kcp_mem_size(const struct weir_kcp_config *config);
/* mem: 64-byte aligned, reads as zeros (weir_mem_map), used until fini or until the caller frees
 * it. config and seed are copied, the slide is used as long as mem. seed: 32 bytes; secret and
 * random in production, any fixed value in a simulation.
 * WEIR_ERR_INVALID when mem is NULL or config outside its bounds. With SM4 only:
 * WEIR_ERR_UNSUPPORTED (libcrypto was built without it), WEIR_ERR_MEMORY. */
WEIR_API enum weir_status weir_kcp_init(void *mem, const struct weir_kcp_config *config,
                                        const uint8_t seed[32], weir_nsec now,
                                        struct weir_kcp **endpoint);
/* Wipes the keys and gives back what libcrypto allocated for SM4; the sessions are forgotten
 * without a word and mem is the caller's again. Not needed where there is no cipher. */
WEIR_API void weir_kcp_fini(struct weir_kcp *endpoint);
/* Changes the tuning of all sessions from now on; what is in flight stays as it was cut, and a
 * message that is arriving must still fit the receive window.
 * WEIR_ERR_INVALID when it is outside its bounds; nothing changes then. */
WEIR_API enum weir_status weir_kcp_tune(struct weir_kcp *endpoint,
                                        const struct weir_kcp_tuning *tuning);

/* --- the driver's side ------------------------------------------------------------------------ */

/* Takes a batch. packets and their bytes are used, and must stay, until the next input or timeout;
 * pull all events before that: what was not pulled is dropped as if lost on the way, and counted.
 * Datagrams that make no sense are dropped and counted (weir_kcp_stats). */
WEIR_API void weir_kcp_input(struct weir_kcp *endpoint, weir_nsec now, struct weir_packet *packets,
                             uint32_t count);
/* Runs what is due; early or repeated calls are harmless. */
WEIR_API void weir_kcp_timeout(struct weir_kcp *endpoint, weir_nsec now);
/* When timeout or output is due: absolute, in the past when at once, or WEIR_NEVER. Changes with
 * input, event, timeout, output and every user call. */
WEIR_API weir_nsec weir_kcp_next_timeout(const struct weir_kcp *endpoint);
/* Appends to tx what is to be sent now; events may come of it. WEIR_AGAIN: nothing more to send
 * now. WEIR_OK: tx is full, call again. No other status. */
WEIR_API enum weir_status weir_kcp_output(struct weir_kcp *endpoint, weir_nsec now,
                                          struct weir_tx *tx);
/* The four above as a table for weir_loop_attach, static. */
WEIR_API const struct weir_verbs *weir_kcp_verbs(void);

/* --- events ----------------------------------------------------------------------------------- */

enum weir_kcp_event_type {
    WEIR_KCP_EVENT_REQUEST = 1, /* a stranger's session: accept or refuse it */
    WEIR_KCP_EVENT_OPENED,      /* the peer was heard for the first time, or accept was called */
    WEIR_KCP_EVENT_MESSAGE,     /* a message; of a stream: the next bytes */
    WEIR_KCP_EVENT_PARCEL_DONE, /* one send of a parcel ended */
    WEIR_KCP_EVENT_WRITABLE,    /* after WEIR_ERR_FULL: half of the queue is free again */
    WEIR_KCP_EVENT_MOVED,       /* the peer's address changed (policy roam) */
    WEIR_KCP_EVENT_CLOSED       /* the handle is invalid after this event */
};

enum weir_kcp_close_cause {
    WEIR_KCP_CAUSE_LOCAL = 1, /* weir_kcp_close or _abort here */
    WEIR_KCP_CAUSE_TIMEOUT,   /* connect_timeout or idle_timeout passed */
    WEIR_KCP_CAUSE_DEAD_LINK, /* a segment was sent dead_link times and never acknowledged */
    WEIR_KCP_CAUSE_REPLACED,  /* the peer's address began another session (policy replace) */
    WEIR_KCP_CAUSE_PROTOCOL   /* fragments that make no message, or one that never fits */
};

struct weir_kcp_event {
    enum weir_kcp_event_type type;
    struct weir_kcp_conn *conn;

    union {
        struct {
            const struct weir_span *spans; /* the fragments in order; they and their bytes are
                                              borrowed until the next event, input or timeout */
            uint32_t span_count;           /* at least 1 */
            size_t length;                 /* of all */
        } message;

        struct {
            struct weir_parcel *parcel;
            enum weir_outcome outcome; /* ACKED or CLOSED */
        } parcel;

        struct {
            enum weir_kcp_close_cause cause;
            void *user; /* weir_kcp_user of the session */
        } closed;
    };
};

/* Pulls one event. WEIR_AGAIN: none now, *event means nothing. All PARCEL_DONE of a session come
 * before its CLOSED, nothing comes after. */
WEIR_API enum weir_status weir_kcp_event(struct weir_kcp *endpoint, struct weir_kcp_event *event);
/* Copies the message of a MESSAGE event into buffer, at most room bytes. Returns how many. */
WEIR_API size_t weir_kcp_copy_message(const struct weir_kcp_event *event, void *buffer,
                                      size_t room);

/* --- sessions --------------------------------------------------------------------------------- */

/* Starts a session with remote under conv, 0: one is drawn. Nothing is sent before something is
 * queued; OPENED follows with the first answer. user: for weir_kcp_user.
 * WEIR_ERR_FULL: connections_max is reached, or conv is in use with remote. WEIR_ERR_INVALID: a
 * remote without address or port; with a route, one that weir_route_remote leads to another shard:
 * connect there, for nothing but the address tells KCP's packets apart. */
WEIR_API enum weir_status weir_kcp_connect(struct weir_kcp *endpoint, weir_nsec now,
                                           const struct weir_addr *remote, uint32_t conv,
                                           void *user, struct weir_kcp_conn **conn);
/* Answers a REQUEST with yes: OPENED follows, then what has come in. On any other session only user
 * is set. */
WEIR_API void weir_kcp_accept(struct weir_kcp_conn *conn, void *user);
/* Answers a REQUEST with no: forgotten, without a word to the peer. The handle is then invalid and
 * no event follows, unless the request had ended by itself: then CLOSED does. */
WEIR_API void weir_kcp_refuse(struct weir_kcp_conn *conn);
/* Graceful: CLOSED follows once everything queued is acknowledged (or the session dies). Until then
 * messages still come in; sends return WEIR_ERR_CLOSED. The peer is not told: KCP has no word for
 * it. No effect on a request, or when closing already. */
WEIR_API void weir_kcp_close(struct weir_kcp_conn *conn);
/* At once: what is queued or held is thrown away. CLOSED follows, also on a request. */
WEIR_API void weir_kcp_abort(struct weir_kcp_conn *conn);

/* The application's pointer: as given to connect, accept or set_user. Nothing here looks at it. */
WEIR_API void *weir_kcp_user(const struct weir_kcp_conn *conn);
WEIR_API void weir_kcp_set_user(struct weir_kcp_conn *conn, void *user);
WEIR_API uint32_t weir_kcp_conv(const struct weir_kcp_conn *conn);
/* Where packets go to now. local is of family NONE until the peer has answered, and where the
 * driver does not tell. */
WEIR_API struct weir_path weir_kcp_path(const struct weir_kcp_conn *conn);
/* The application takes no more messages: what comes in is kept, up to the receive window, which
 * the peer sees shrinking. false resumes. */
WEIR_API void weir_kcp_pause(struct weir_kcp_conn *conn, bool is_paused);

/* --- sending ---------------------------------------------------------------------------------- */

/* Queues a copy of data (NULL is fine for length 0). When it fails nothing was queued:
 * WEIR_ERR_FULL: send_queue_max, send_bytes or awake_max is reached; WRITABLE follows.
 * WEIR_ERR_TOO_LARGE: more fragments than fragments_max, or than the peer's window was ever said to
 * hold (until it has said: than ours does): it could never be delivered. While something is on its
 * way that may still show a larger window, and until the peer has been asked: WEIR_ERR_FULL.
 * WEIR_ERR_INVALID: length 0 in a stream.
 * WEIR_ERR_CLOSED: closing, closed, or a request that is not accepted yet. */
WEIR_API enum weir_status weir_kcp_send(struct weir_kcp_conn *conn, const void *data,
                                        size_t length);
/* The same without a copy, and with the same errors: see weir/parcel.h. Only when it returns
 * WEIR_OK a reference is taken and PARCEL_DONE follows. */
WEIR_API enum weir_status weir_kcp_send_parcel(struct weir_kcp_conn *conn,
                                               struct weir_parcel *parcel);
/* Sends now what is_write_delayed holds back. */
WEIR_API void weir_kcp_flush(struct weir_kcp_conn *conn);
/* Bytes of a message, or of a stream, that go into one segment as the endpoint is tuned now. */
WEIR_API uint32_t weir_kcp_segment_bytes(const struct weir_kcp *endpoint);

#ifdef __cplusplus
}
#endif
#endif
