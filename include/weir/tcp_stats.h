/* SPDX-License-Identifier: MIT */
/*
 * tcp_stats.h - the figures of TCP connections and endpoints.
 *
 * Owned by: the endpoint's thread, which alone writes them; plain counters since the start.
 */
#ifndef WEIR_TCP_STATS_H
#define WEIR_TCP_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/status.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_tcp;
struct weir_tcp_conn;

/* RFC 9293 3.3.2. LISTEN and CLOSED have no connection. */
enum weir_tcp_state {
    WEIR_TCP_STATE_CLOSED = 0,
    WEIR_TCP_STATE_SYN_SENT,
    WEIR_TCP_STATE_SYN_RECEIVED,
    WEIR_TCP_STATE_ESTABLISHED,
    WEIR_TCP_STATE_FIN_WAIT_1,
    WEIR_TCP_STATE_FIN_WAIT_2,
    WEIR_TCP_STATE_CLOSE_WAIT,
    WEIR_TCP_STATE_CLOSING,
    WEIR_TCP_STATE_LAST_ACK,
    WEIR_TCP_STATE_TIME_WAIT
};

/* Of a dormant connection only state, mss and the options are known. */
struct weir_tcp_conn_stats {
    enum weir_tcp_state state;
    bool is_awake;
    bool has_timestamps, has_sack, has_ecn;
    weir_nsec rtt, rtt_variance, rtt_min, rto; /* rtt smoothed; 0: not measured since it woke */
    uint32_t mss;                              /* bytes of data in a full segment */
    uint32_t peer_window, receive_window;      /* bytes that may be sent, that may come */
    uint64_t congestion_window, pacing_rate;   /* bytes; bytes/s, 0: unlimited */
    uint32_t in_flight, queued, held;          /* bytes sent, not yet sent, received and waiting */
    uint32_t resent_segments, timeouts;        /* since it woke */
    const char *congestion_state;              /* of the controller, static */
};

/* Why a segment, or its text, was dropped. */
enum weir_tcp_drop {
    WEIR_TCP_DROP_HEADER,    /* shorter than its header, or a header too short */
    WEIR_TCP_DROP_CHECKSUM,  /* wrong */
    WEIR_TCP_DROP_ADDRESS,   /* from or to an address that no connection can have */
    WEIR_TCP_DROP_NO_LISTEN, /* no connection and nobody who listens: answered with RST */
    WEIR_TCP_DROP_COOKIE,    /* an ACK to a listener whose number is no cookie: RST */
    WEIR_TCP_DROP_SEQUENCE,  /* outside the window, answered with an ACK */
    WEIR_TCP_DROP_PAWS,      /* an old timestamp, answered with an ACK */
    WEIR_TCP_DROP_FLAGS,     /* without ACK, or flags that make no sense in this state */
    WEIR_TCP_DROP_ACK,       /* acknowledges what was never sent, or too long ago */
    WEIR_TCP_DROP_CHALLENGE, /* RST or SYN that may be forged: answered with a challenge ACK */
    WEIR_TCP_DROP_UNREACHED, /* an ICMP error about nothing that is in flight */
    WEIR_TCP_DROP_DUPLICATE, /* text: known already */
    WEIR_TCP_DROP_NO_ROOM,   /* a pool, the table or the slide is full: the peer sends again */
    WEIR_TCP_DROP_CLOSED,    /* text for a connection whose user takes none any more */
    WEIR_TCP_DROP_REPLY,     /* an answer to a stranger found no room */
    WEIR_TCP_DROP_UNDRAINED, /* events were not pulled before the next input */
    WEIR_TCP_DROP_COUNT
};

struct weir_tcp_stats {
    uint32_t connections, connections_peak; /* now, and at most so far; TIME-WAIT included */
    uint32_t awake, awake_peak, half_open;  /* of those */
    uint32_t time_wait;
    uint64_t packets_received, packets_sent; /* joined segments count once */
    uint64_t bytes_received, bytes_sent;     /* with headers of TCP */
    uint64_t opened_active, opened_passive, cookies_sent, cookies_accepted;
    uint64_t resets_sent, resets_received, challenges_sent;
    uint64_t resent_segments, resent_bytes, timeouts, probes_tail, recoveries;
    uint64_t spurious_timeouts, spurious_losses; /* found by F-RTO or timestamps; by D-SACK */
    uint64_t window_probes, keepalives;
    weir_nsec rtt; /* running mean of the samples of all connections, 0: none */
    uint64_t mtu_reductions, mtu_probes, mtu_probes_lost; /* probes: segments longer than usual */
    uint64_t fast_active, fast_passive; /* opened with data or cookie in the SYN (RFC 7413) */
    uint32_t fast_pending;              /* of the passive ones: not proved yet */
    uint64_t drops[WEIR_TCP_DROP_COUNT];
};

/* Fills *stats with the figures of now. */
WEIR_API void weir_tcp_conn_stats(const struct weir_tcp *endpoint, const struct weir_tcp_conn *conn,
                                  struct weir_tcp_conn_stats *stats);
/* Borrowed, kept up to date in place, valid as long as the endpoint. */
WEIR_API const struct weir_tcp_stats *weir_tcp_stats(const struct weir_tcp *endpoint);
/* Short word for a drop reason, for tables; static storage, never NULL. */
WEIR_API const char *weir_tcp_drop_text(enum weir_tcp_drop drop);
/* "ESTABLISHED" and so on; static storage, never NULL. */
WEIR_API const char *weir_tcp_state_text(enum weir_tcp_state state);

#ifdef __cplusplus
}
#endif
#endif
