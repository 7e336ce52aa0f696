/* SPDX-License-Identifier: MIT */
/*
 * link_kcp.h - the parts of kcp:// for the commands: link_kcp.c carries messages, link_kcp_end.c
 * ends sessions.
 *
 * KCP has no open, no close and no reason for either, so that between two ends of weir one byte in
 * front of each message says what it is:
 *
 *     0        1
 *     +--------+-------------------+        0 data on channel 0, 3 on channel 1
 *     | kind   | bytes             |        1 goodbye, 4 refusal: code (4, network order), text
 *     +--------+-------------------+        2 opening: version (1), role (0 connects, 1 accepts)
 *
 * Both ends send an opening first. A goodbye is answered with one; whoever has nothing more to wait
 * for, or has waited for a second, forgets the session.
 */
#ifndef WEIR_CLI_LINK_KCP_H
#define WEIR_CLI_LINK_KCP_H

#include "cli/link.h"

enum {
    CLI_KCP_DATA = 0,
    CLI_KCP_GOODBYE = 1,
    CLI_KCP_OPENING = 2,
    CLI_KCP_DATA_SIDE = 3,
    CLI_KCP_REFUSAL = 4,
    CLI_KCP_FAREWELLS_MAX = 1024, /* sessions that are ending at once; more end without a word */
    CLI_KCP_TEXT_BYTES = WEIR_RUDP_REASON_BYTES_MAX + 1,
    CLI_KCP_MESSAGE_ROOM = WEIR_KCP_FRAGMENTS_MAX * WEIR_KCP_MTU_MAX
};

/* A session that is ending. The engine's user pointer of the session points here. */
struct cli_kcp_farewell {
    struct weir_kcp_conn *conn; /* NULL: free */
    void *user;                 /* the command's */
    weir_nsec until;            /* forgotten then; WEIR_NEVER: what was sent before is on its way */
    uint32_t code;
    uint8_t kind;
    bool is_queued;   /* our word is with the engine */
    bool is_told;     /* the command knows that it has ended */
    bool is_answer;   /* to the peer's goodbye */
    bool is_answered; /* by the peer's */
    bool is_aborted;  /* the engine's CLOSED follows */
    char text[CLI_KCP_TEXT_BYTES];
};

struct cli_kcp {
    struct cli_link *link;
    struct weir_kcp *engine;
    struct weir_verbs verbs; /* the engine's, with the link's own times */
    bool is_raw, is_warned;
    weir_nsec interval, connect_timeout;
    uint16_t mtu_bytes;
    uint64_t bytes_queued; /* of messages so far, for an average */
    /* The first connection, until the peer's opening has come. */
    struct weir_kcp_conn *opening;
    weir_nsec opening_until;
    weir_nsec check_at; /* of the farewells */
    uint32_t farewells_count;
    char text[CLI_KCP_TEXT_BYTES]; /* of the CLOSED event */
    /* The last is for those that found no place: never waited for. */
    struct cli_kcp_farewell farewells[CLI_KCP_FAREWELLS_MAX + 1];
    uint8_t out[CLI_KCP_MESSAGE_ROOM], in[CLI_KCP_MESSAGE_ROOM];
};

/* The farewell that the engine's user pointer names, or NULL: it is the command's. */
struct cli_kcp_farewell *cli_kcp_farewell_at(struct cli_kcp *kcp, void *user);
/* The command ends it: goodbye, and CLOSED follows. */
void cli_kcp_end(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint32_t code, const char *text,
                 bool is_abort);
/* Ends it without the command: kind and text are for the peer. */
void cli_kcp_dismiss(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t kind, uint32_t code,
                     const char *text);
/* Forgets it at once; the engine's CLOSED is not told. */
void cli_kcp_forget(struct cli_kcp *kcp, struct weir_kcp_conn *conn);
/* The peer's goodbye or refusal; true: *event is to be told. body: what is behind the kind. */
bool cli_kcp_on_goodbye(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t kind,
                        struct weir_span body, struct cli_event *event);
/* The engine's CLOSED of a session with a farewell; true: *event is to be told. */
bool cli_kcp_on_ended(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell,
                      struct cli_event *event);
/* Moves the farewells on; true: *event is to be told. */
bool cli_kcp_check_farewells(struct cli_kcp *kcp, weir_nsec now, struct cli_event *event);
/* Queues the word that the engine had no room for. */
void cli_kcp_queue_word(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell);

/* The command's pointer of a session that is not ending. Its lowest bit is the link's: the peer's
 * opening has come. */
void *cli_kcp_clean_user(void *user);
void *cli_kcp_opened_user(void *user);

#endif
