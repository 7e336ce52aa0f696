/* SPDX-License-Identifier: MIT */
/*
 * session.h - what stands behind an ikcpcb: a queue of messages, and an engine while it is needed.
 *
 * Role: ikcp.c speaks the reference's words and counts its codes; session.c runs the engine.
 * Owned by: the thread of the ikcpcb. Memory: through the hooks that were set when it was created;
 * without hooks the engine's block is mapped, so that only what is used of it costs anything.
 *
 * The engine is an endpoint with one session. Messages of one segment that come in order are
 * copied to the inbox at once; all others stay in the engine until ikcp_recv, which is paused but
 * while a datagram is read. Both take up the window; what is in the inbox is older. The engine
 * begins with the first datagram or message and goes when all has been quiet for a while, or when
 * larger windows are asked for; between two of them only the numbers of struct weir_kcp_reference
 * stay.
 */
#ifndef WEIR_COMPAT_SESSION_H
#define WEIR_COMPAT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kcp/reference.h"
#include "weir/compat/ikcp.h"
#include "weir/kcp.h"

enum {
    WEIR_IKCP_FRAGMENTS_MAX = 127,
    WEIR_IKCP_WINDOW_RECEIVE_MIN = 128,
    WEIR_IKCP_MTU_MIN = 50
};

/* Messages one behind the other. */
struct weir_ikcp_page {
    struct weir_ikcp_page *next; /* of the spares, or of the inbox */
    uint32_t room, used;         /* bytes */
    uint32_t live;               /* messages to be sent that are in it */
    uint32_t read;               /* bytes of the inbox that are done with */
    bool is_mapped;
    _Alignas(8) uint8_t bytes[];
};

/* Queued, or lent to the engine. */
struct weir_ikcp_message {
    struct weir_ikcp_message *next;
    struct weir_ikcp_page *page;
    struct weir_parcel parcel;
    uint32_t room;      /* bytes in data */
    uint32_t fragments; /* of mss bytes */
    uint32_t mss;       /* when it was queued */
    bool is_stream;     /* more may be appended */
    uint8_t data[];
};

/* The fields that the engine is tuned by. */
struct weir_ikcp_settings {
    IUINT32 mtu, snd_wnd, rcv_wnd, interval, nodelay, dead_link;
    IINT32 rx_minrto;
    int fastresend, fastlimit, nocwnd;
};

struct weir_ikcp {
    void *(*allocate)(size_t);
    void (*deallocate)(void *);
    bool is_mapped; /* the engine's block is */

    /* NULL while there is no engine */
    struct weir_kcp *endpoint;
    struct weir_kcp_conn *conn;
    void *block;
    size_t block_bytes;
    uint32_t conv;                            /* the engine's */
    uint32_t send_capacity, receive_capacity; /* windows that it has memory for */
    struct weir_kcp_tuning tuning;
    struct weir_ikcp_settings settings; /* that it was tuned to */

    struct weir_kcp_reference carried; /* of the engine before; or what holds before the first */
    bool is_carried;
    uint32_t timeouts; /* of the engines before */

    uint64_t ms;        /* the low half is the caller's clock */
    uint64_t active_ms; /* when something last came or was queued */
    struct weir_ikcp_message *queue_first, *queue_last;
    uint32_t queued; /* fragments on the queue */

    /* pages.c */
    uint32_t kept;                                   /* messages in the inbox */
    struct weir_ikcp_page *page;                     /* that messages to be sent are put into */
    struct weir_ikcp_page *inbox_first, *inbox_last; /* last: only while there is a first */
    struct weir_ikcp_page *spares;
    uint32_t spare_count, mapped_count;
};

/* false: no memory. */
bool weir_ikcp_open(ikcpcb *kcp);
/* Forgets the engine and what is in it; numbers are carried over if it is quiet. */
void weir_ikcp_close(ikcpcb *kcp);
/* Brings the engine's settings up to the fields. */
void weir_ikcp_tune(ikcpcb *kcp);
/* The fields that show the engine's numbers. */
void weir_ikcp_mirror(ikcpcb *kcp);
void weir_ikcp_set_clock(struct weir_ikcp *own, uint32_t current, bool is_first);

/* --- pages.c
 * Room for room bytes; NULL: no memory. */
struct weir_ikcp_message *weir_ikcp_message_queue(ikcpcb *kcp, uint32_t room, uint32_t fragments);
void weir_ikcp_message_free(struct weir_ikcp *own, const struct weir_ikcp_message *message);
void weir_ikcp_queue_drop(struct weir_ikcp *own);
/* Where so many bytes of whole records may be put; NULL: no memory, or more than a page. */
uint8_t *weir_ikcp_inbox_room(struct weir_ikcp *own, size_t bytes);
/* Of a message that is kept: the first, and that it is done with. */
struct weir_span weir_ikcp_inbox_first(struct weir_ikcp *own);
void weir_ikcp_inbox_take(struct weir_ikcp *own, uint32_t length);
/* Gives back all pages that nothing is in. */
void weir_ikcp_pages_rest(struct weir_ikcp *own);

/* Whole segments of one conv. false: no memory for the engine; as if lost. */
bool weir_ikcp_feed(ikcpcb *kcp, const uint8_t *data, size_t length);
void weir_ikcp_flush(ikcpcb *kcp);
/* Forgets the message that weir_kcp_reference_peek shows. */
void weir_ikcp_take(ikcpcb *kcp);

/* A line for writelog, if logmask has a bit of mask. */
__attribute__((format(printf, 3, 4))) void weir_ikcp_say(ikcpcb *kcp, int mask, const char *format,
                                                         ...);

#endif
