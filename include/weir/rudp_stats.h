/* SPDX-License-Identifier: MIT */
/*
 * rudp_stats.h - the figures of RUDP's connections and endpoints.
 *
 * Owned by: the endpoint's thread, which alone writes them; plain counters since the start. What is
 * marked "awake" begins anew when a connection wakes.
 */
#ifndef WEIR_RUDP_STATS_H
#define WEIR_RUDP_STATS_H

#include <stdint.h>

#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_rudp;
struct weir_rudp_conn;

/* Of a dormant connection all that is marked "awake" is 0. */
struct weir_rudp_conn_stats {
    weir_nsec rtt, rtt_variance; /* 0: not measured yet */
    weir_nsec rtt_min;           /* awake */
    uint64_t window_bytes, in_flight_bytes;
    uint64_t pacing_rate; /* bytes/s, 0: unlimited */
    uint64_t packets_sent, packets_received;
    uint64_t packets_lost;               /* awake */
    uint64_t packets_spurious;           /* awake: taken for lost, but acknowledged later */
    uint64_t bytes_sent, bytes_received; /* datagram payloads */
    uint64_t bytes_resent;               /* awake: message bytes sent again */
    uint64_t messages_sent, messages_received;
    uint64_t messages_expired; /* awake: given up at their deadline */
    uint64_t queued_bytes;     /* not yet sent, or sent and unacknowledged */
    uint32_t held_messages;    /* received, waiting for earlier ones */
    uint64_t held_bytes;
    uint64_t secondary_bytes; /* of those, in the slide's secondary store; counted by the call */
    uint16_t mtu_bytes;
    const char *cc_state; /* of the congestion controller, or "dormant"; static storage */
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
    uint32_t connections, connections_peak; /* now, and at most so far */
    uint32_t awake, awake_peak;             /* of those: with anything queued, in flight or held */
    uint64_t packets_received, packets_sent, handshakes;
    uint64_t bytes_received, bytes_sent, packets_lost; /* datagram payloads; taken for lost */
    weir_nsec rtt; /* running mean of the samples of all connections, 0: none */
    uint64_t drops[WEIR_RUDP_DROP_COUNT];
    uint64_t held_bytes_peak; /* of this endpoint, slide and assembly together */
};

/* Fills *stats with the figures of now. */
WEIR_API void weir_rudp_conn_stats(const struct weir_rudp_conn *conn,
                                   struct weir_rudp_conn_stats *stats);
/* Borrowed, kept up to date in place, valid as long as the endpoint. */
WEIR_API const struct weir_rudp_stats *weir_rudp_stats(const struct weir_rudp *endpoint);
/* Short word for a drop reason, for tables; static storage, never NULL. */
WEIR_API const char *weir_rudp_drop_text(enum weir_rudp_drop drop);

#ifdef __cplusplus
}
#endif
#endif
