/* SPDX-License-Identifier: MIT */
/*
 * reference.h - what programs written for the reference implementation expect beyond weir/kcp.h.
 *
 * Role: for src/compat alone, which is a library of its own: exported, but not installed. Such a
 * session outlives what ends others (a segment never acknowledged, fragments that make no
 * message), shows its inner numbers, and can be carried over to another endpoint while it rests.
 */
#ifndef WEIR_KCP_REFERENCE_H
#define WEIR_KCP_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/kcp.h"

/* In the reference's words and units: segments, bytes, milliseconds. */
struct weir_kcp_reference {
    uint32_t snd_una, snd_nxt, rcv_nxt;
    uint32_t in_flight; /* sent and not acknowledged */
    uint32_t srtt_ms, rttval_ms, rto_ms;
    uint32_t peer_window, peer_window_max;
    uint32_t cwnd, cwnd_bytes, ssthresh;
    uint32_t send_window;     /* segments that may be in flight now */
    uint32_t queued;          /* not yet sent */
    uint32_t in_order, early; /* received, and not yet handed out or read */
    uint64_t timeouts;        /* segments resent for a timeout, since the endpoint began */
    bool is_ask_wanted, is_tell_wanted;
    bool is_dead;  /* a segment was sent dead_link times */
    bool is_quiet; /* nothing is queued, in flight, held or to be told */
};

/* What a datagram brought. */
struct weir_kcp_reference_arrival {
    size_t used;    /* bytes in room */
    uint32_t count; /* messages there */
    uint32_t rcv_nxt, in_order, early;
    bool is_data_only; /* of the numbers no others than these have changed */
    bool has_events;   /* weir_kcp_event has something */
};

/* Turns a new session into such a one: it stays awake as long as it is paused, and its endpoint has
 * no other. from: what get returned of the session that it continues, which was quiet; NULL: none.
 * WEIR_ERR_FULL: no control block is left. */
WEIR_API enum weir_status weir_kcp_reference_begin(struct weir_kcp_conn *conn,
                                                   const struct weir_kcp_reference *from);
/* Fast resends only while a segment was sent no more often; 255: without a limit. */
WEIR_API void weir_kcp_reference_set_fast_limit(struct weir_kcp_conn *conn, uint8_t fast_limit);
WEIR_API void weir_kcp_reference_get(const struct weir_kcp_conn *conn,
                                     struct weir_kcp_reference *reference);
/* The next complete message, which stays where it is: event is filled like a MESSAGE, its spans are
 * borrowed until the next call on the endpoint. WEIR_AGAIN: there is none. */
WEIR_API enum weir_status weir_kcp_reference_peek(struct weir_kcp_conn *conn,
                                                  struct weir_kcp_event *event);
/* Forgets the message that peek shows. Of *reference only what that may change is set: rcv_nxt,
 * in_order, early and is_tell_wanted. */
WEIR_API void weir_kcp_reference_take(struct weir_kcp_conn *conn,
                                      struct weir_kcp_reference *reference);
/* weir_kcp_input of a datagram that is known to be this session's, and read at once. room: of as
 * many bytes; messages of one segment that come in order are copied there, each behind its length
 * in 4 bytes, little endian, and take up the window until read is called. NULL: they are held. */
WEIR_API void weir_kcp_reference_input(struct weir_kcp_conn *conn, weir_nsec now,
                                       struct weir_packet *packet, uint8_t *room,
                                       struct weir_kcp_reference_arrival *arrival);
/* One such message is done with. true: other numbers may have changed by that. */
WEIR_API bool weir_kcp_reference_read(struct weir_kcp_conn *conn);

#endif
