/* SPDX-License-Identifier: MIT */
/*
 * kcp_stats.h - the figures of KCP's sessions and endpoints.
 *
 * Owned by: the endpoint's thread, which alone writes them; plain counters since the start. What is
 * marked "awake" begins anew when a session wakes.
 */
#ifndef WEIR_KCP_STATS_H
#define WEIR_KCP_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/kcp_layers.h"
#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_kcp;
struct weir_kcp_conn;

/* Of a dormant session all that is marked "awake" is 0. */
struct weir_kcp_conn_stats {
    bool is_awake;
    weir_nsec rtt, rtt_variance; /* smoothed; 0: not measured yet */
    weir_nsec rto;               /* awake */
    uint32_t peer_window;        /* awake: segments that the peer last said it has room for */
    uint32_t window;             /* awake: segments that may be in flight now */
    uint32_t in_flight;          /* awake: segments sent and not acknowledged */
    uint32_t queued;             /* awake: segments not yet sent */
    uint32_t held;               /* awake: segments received and not yet handed out */
    uint64_t segments_sent;      /* awake: PUSHes, the first time; the next two: again */
    uint64_t resent_fast, resent_timeout;
    uint64_t segments_received, segments_repeated; /* awake: new ones; known already */
};

/* Why a datagram, or the rest of one, or a segment was dropped. */
enum weir_kcp_drop {
    WEIR_KCP_DROP_TRUNCATED,     /* shorter than its headers */
    WEIR_KCP_DROP_LENGTH,        /* data past the end of the datagram */
    WEIR_KCP_DROP_COMMAND,       /* no such command */
    WEIR_KCP_DROP_CONV,          /* a segment of another session behind the first */
    WEIR_KCP_DROP_SESSION,       /* no such session, and nothing that begins one */
    WEIR_KCP_DROP_NOT_ACCEPTING, /* it would begin one */
    WEIR_KCP_DROP_PENDING,       /* pending_max requests wait, or a request sends too much */
    WEIR_KCP_DROP_ADDRESS,       /* an address that cannot be kept, or a move not believed */
    WEIR_KCP_DROP_ACK,           /* acknowledges what was never sent */
    WEIR_KCP_DROP_DUPLICATE,     /* PUSH: known already */
    WEIR_KCP_DROP_WINDOW,        /* PUSH: beyond the receive window */
    WEIR_KCP_DROP_NO_ROOM,       /* a pool, a store or the slide is full: the peer sends again */
    WEIR_KCP_DROP_CLOSED,        /* for a session that has ended */
    WEIR_KCP_DROP_FORGED,        /* CRC or tag does not match: another key or cipher, or garbage */
    WEIR_KCP_DROP_FEC,           /* the size in the FEC header is wrong */
    WEIR_KCP_DROP_PARITY,        /* no use for it: FEC is off, or of no session that is awake */
    WEIR_KCP_DROP_UNDRAINED,     /* events were not pulled before the next input */
    WEIR_KCP_DROP_COUNT
};

struct weir_kcp_stats {
    uint32_t sessions, sessions_peak; /* now, and at most so far */
    uint32_t awake, awake_peak;       /* of those: with anything queued, in flight or held */
    uint32_t pending;                 /* of those: requests not yet answered */
    uint64_t datagrams_received, datagrams_sent, bytes_received, bytes_sent;
    uint64_t segments_sent, resent_fast, resent_early, resent_timeout; /* PUSHes */
    uint64_t acks_sent, probes_sent;
    weir_nsec rtt; /* running mean of the samples of all sessions, 0: none */
    uint64_t drops[WEIR_KCP_DROP_COUNT];
    struct weir_kcp_fec_stats fec; /* all 0 without FEC */
};

/* Fills *stats with the figures of now. */
WEIR_API void weir_kcp_conn_stats(const struct weir_kcp_conn *conn,
                                  struct weir_kcp_conn_stats *stats);
/* Borrowed, kept up to date in place, valid as long as the endpoint. */
WEIR_API const struct weir_kcp_stats *weir_kcp_stats(const struct weir_kcp *endpoint);
/* Short word for a drop reason, for tables; static storage, never NULL. */
WEIR_API const char *weir_kcp_drop_text(enum weir_kcp_drop drop);

#ifdef __cplusplus
}
#endif
#endif
