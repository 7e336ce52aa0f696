/* SPDX-License-Identifier: MIT */
/*
 * link_tcp.h - the parts of tcp:// for the commands: link_tcp.c opens and tells, link_tcp_frame.c
 * cuts the stream into messages, link_tcp_end.c ends connections.
 *
 * TCP carries bytes and no messages, and its end has no reason, so that between two ends of weir
 * five bytes in front of each message say what it is:
 *
 *     0        1                 5
 *     +--------+-----------------+---------+   0 data on channel 0, 3 on channel 1
 *     | kind   | length (4, n.o.)| bytes   |   1 goodbye, 4 refusal: code (4, n.o.), text
 *     +--------+-----------------+---------+   2 opening: "weirtcp" and a zero, version (1), role
 *                                                 (1: 0 connects, 1 accepts)
 *
 * Both ends send an opening first. Who gets a goodbye closes too. With is_raw there is none of it:
 * the bytes are the command's, its end() is the end of its direction, and a message of no bytes
 * tells that the peer's direction has ended.
 */
#ifndef WEIR_CLI_LINK_TCP_H
#define WEIR_CLI_LINK_TCP_H

#include "base/list.h"
#include "cli/heap.h"
#include "cli/link.h"

enum {
    CLI_TCP_DATA = 0,
    CLI_TCP_GOODBYE = 1,
    CLI_TCP_OPENING = 2,
    CLI_TCP_DATA_SIDE = 3,
    CLI_TCP_REFUSAL = 4,
    CLI_TCP_KINDS,
    CLI_TCP_HEADER_BYTES = 5,
    CLI_TCP_OPENING_BYTES = 10,
    CLI_TCP_VERSION = 1,
    CLI_TCP_TEXT_BYTES = WEIR_RUDP_REASON_BYTES_MAX + 1,
    CLI_TCP_WORD_BYTES_MAX = CLI_TCP_HEADER_BYTES + 4 + CLI_TCP_TEXT_BYTES
};

/* A cli_conn of this transport, on cli_tcp.heap as what it points to; the engine's user pointer. */
struct cli_tcp_conn {
    struct weir_tcp_conn *conn; /* NULL: the engine knows it no more */
    struct weir_link all;       /* on cli_tcp.all until it is freed */
    struct weir_link link;      /* on cli_tcp.timed while something is awaited */
    struct weir_link wanting;   /* on cli_tcp.wanting after WEIR_AGAIN: backlog or is_refused */
    void *user;                 /* the command's */
    weir_nsec until;            /* aborted then; WEIR_NEVER: there is time */
    uint8_t *partial;           /* of a message that came in part; NULL: none */
    uint32_t partial_used, partial_room;
    uint8_t header[CLI_TCP_HEADER_BYTES];
    uint8_t header_used;
    bool is_opened;  /* the peer's opening has come */
    bool is_passive; /* the peer connected */
    bool is_ending;  /* closed here, or answering the peer's end */
    bool is_told;    /* the command knows that it has ended */
    bool is_abort;   /* an engine without room could not do it yet */
    bool is_fin;     /* our direction is closed in the engine */
    bool is_refused; /* a send got WEIR_ERR_FULL for want of a control block */
    uint32_t word_bytes, backlog_bytes;
    uint8_t *word;    /* the goodbye that has found no room yet */
    uint8_t *backlog; /* a message taken while all control blocks were busy */
};

struct cli_tcp {
    struct cli_link *link;
    struct cli_heap heap;
    struct weir_tcp *engine;
    struct weir_verbs verbs; /* the engine's, with the link's own times */
    const struct cli_net_options *net;
    bool is_raw;
    uint32_t frame_bytes_max; /* of a message that is taken */
    uint16_t mtu_bytes;
    weir_nsec connect_timeout, check_at;
    struct weir_list all, timed;
    struct weir_list wanting;    /* those whose send found no control block */
    bool is_room;                /* there are some again */
    struct cli_tcp_conn *dead;   /* freed with the next event */
    struct cli_tcp_conn *opened; /* raw: OPENED is still to be told */
    struct cli_tcp_conn *from;   /* whose bytes are in rest */
    struct weir_span rest;       /* borrowed from the engine: not cut into messages yet */
    char text[CLI_TCP_TEXT_BYTES];
    uint8_t *out; /* a message with its header, on its way to the engine */
    size_t out_bytes;
};

struct cli_tcp *cli_tcp_of(const struct cli_link *link);
void cli_tcp_set_header(uint8_t *header, uint8_t kind, size_t length);
/* Begins or goes on to look at it every few milliseconds. */
void cli_tcp_watch(struct cli_tcp *tcp, struct cli_tcp_conn *conn, weir_nsec until);
void cli_tcp_unwatch(struct cli_tcp *tcp, struct cli_tcp_conn *conn);

/* The status of a send for the command: WEIR_AGAIN becomes WEIR_ERR_FULL, and WRITABLE follows. */
enum weir_status cli_tcp_status(struct cli_tcp *tcp, struct cli_tcp_conn *conn,
                                enum weir_status status);

/* --- link_tcp_frame.c ------------------------------------------------------------------------- */

/* Takes the next message from tcp->rest. True: *event is to be told. */
bool cli_tcp_take_frame(struct cli_tcp *tcp, struct cli_event *event);
/* WEIR_ERR_FULL: WRITABLE follows. While all control blocks are busy one message is kept here. */
enum weir_status cli_tcp_send_frame(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint8_t kind,
                                    const void *data, size_t length);

/* --- link_tcp_end.c --------------------------------------------------------------------------- */

/* Tells that it has ended; always true. */
bool cli_tcp_tell(struct cli_tcp_conn *conn, enum cli_cause cause, uint32_t code, const char *text,
                  struct cli_event *event);
/* Ends it with a word to the peer (no word when raw), at once if is_abort. */
void cli_tcp_end(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint8_t kind, uint32_t code,
                 const char *text, bool is_abort);
/* Closes our direction, without a word, after the peer's end. */
void cli_tcp_answer_end(struct cli_tcp *tcp, struct cli_tcp_conn *conn);
/* The engine's CLOSED. True: *event is to be told. conn is freed with the next event. */
bool cli_tcp_on_closed(struct cli_tcp *tcp, struct cli_tcp_conn *conn,
                       enum weir_tcp_close_cause cause, struct cli_event *event);
/* What waits for room, and what has waited too long. True: *event is to be told. */
bool cli_tcp_check(struct cli_tcp *tcp, weir_nsec now, struct cli_event *event);
void cli_tcp_free_conn(struct cli_tcp *tcp, struct cli_tcp_conn *conn);
void cli_tcp_free_dead(struct cli_tcp *tcp);
void cli_tcp_free_all(struct cli_tcp *tcp);
/* True: there is no backlog any more. */
bool cli_tcp_flush_backlog(struct cli_tcp *tcp, struct cli_tcp_conn *conn);

#endif
