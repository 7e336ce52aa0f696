/* SPDX-License-Identifier: MIT */
/*
 * smux.h - many streams in one ordered byte stream: kcptun's smux, versions 1 and 2, and our own 3.
 *
 * Role: the protocol alone. Bytes come in and events go out; frames are written into room that the
 * caller gives. No socket, no clock, and payload is never copied or kept here.
 * Memory: one block of its heap per stream, at most streams_max; nothing grows with what a peer
 * sends.
 * Spec: docs/tunnel.md. A frame, integers little-endian:
 *
 *      0         1         2           4             8
 *      | version | command | length    | stream      | length bytes |
 *
 * Versions 1 and 2 are smux's own: a FIN ends both directions of a stream there. In version 3 it
 * ends one, RST ends both at once, and GOAWAY announces that its sender takes no more streams.
 */
#ifndef WEIR_CLI_SMUX_H
#define WEIR_CLI_SMUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "cli/heap.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

enum {
    CLI_SMUX_HEADER_BYTES = 8,
    CLI_SMUX_DATA_BYTES_MAX = 32768, /* that we put into one frame; smux's own default */
    CLI_SMUX_CONTROL_BYTES_MIN = 64, /* least room for cli_smux_control */
    CLI_SMUX_WINDOW_FIRST = 262144,  /* of a stream before its first UPD */
    CLI_SMUX_VERSION_NATIVE = 3
};

struct cli_smux_config {
    struct cli_heap *heap; /* for all of it, used until the close */
    uint8_t version;       /* 1 and 2: as kcptun; 3: weir at both ends */
    bool is_client;        /* opens streams; the other end is opened to */
    uint32_t streams_max;
    uint32_t stream_bytes;    /* window of one stream, version 2 and 3 */
    uint32_t session_bytes;   /* not consumed, of all streams: then cli_smux_is_full */
    weir_nsec keepalive;      /* a NOP so often */
    weir_nsec timeout;        /* dead after so much silence */
    struct weir_hash_key key; /* random: a peer chooses ids */
};

struct cli_smux;

/* The caller reads id, user, received and consumed; the rest is smux.c's. */
struct cli_smux_stream {
    struct weir_link control; /* on the list of those that owe a frame */
    struct cli_smux_stream *next;
    void *user;
    uint32_t id;
    uint32_t received, consumed; /* payload from the peer, modulo 2^32 */
    uint32_t consumed_told;
    uint32_t sent, peer_consumed, peer_window;
    bool is_syn_owed, is_update_owed, is_fin_owed, is_reset_owed;
    bool is_finished;      /* our FIN is sent or owed */
    bool is_peer_finished; /* the peer's has come, or its RST */
    bool is_released;
};

enum cli_smux_event_type {
    CLI_SMUX_OPENED = 1, /* by the peer: set stream->user, or release it */
    CLI_SMUX_DATA,       /* the next bytes of a stream */
    CLI_SMUX_FINISHED,   /* no more bytes come in it */
    CLI_SMUX_RESET,      /* version 3: it ended both ways; what was on its way is lost */
    CLI_SMUX_WRITABLE,   /* the window was used up, and is open again */
    CLI_SMUX_GOAWAY      /* version 3: the peer takes no more streams; stream is NULL */
};

struct cli_smux_event {
    enum cli_smux_event_type type;
    struct cli_smux_stream *stream; /* never one that was released */
    struct weir_span data;          /* DATA: a part of the input, borrowed with it */
};

/* NULL when there is no memory. */
struct cli_smux *cli_smux_open(const struct cli_smux_config *config, weir_nsec now);
/* Frees all, streams too. */
void cli_smux_close(struct cli_smux *smux);

/* Takes bytes off the front of input up to the next event. WEIR_AGAIN: input is used up.
 * WEIR_ERR_MALFORMED: the peer broke the protocol; cli_smux_fault says how, and so will every later
 * call. */
enum weir_status cli_smux_next(struct cli_smux *smux, weir_nsec now, struct weir_span *input,
                               struct cli_smux_event *event);
const char *cli_smux_fault(const struct cli_smux *smux);

/* Opens a stream; its SYN is owed. NULL: streams_max is reached, ids are used up, no memory. */
struct cli_smux_stream *cli_smux_connect(struct cli_smux *smux, void *user);
/* Ends our direction; of version 1 and 2: the peer takes it for both. Data sent after it is a
 * programmer error. */
void cli_smux_finish(struct cli_smux *smux, struct cli_smux_stream *stream);
/* The caller is done with stream, which is invalid from now on. Whatever has not ended properly
 * ends with RST (FIN in version 1 and 2). */
void cli_smux_release(struct cli_smux *smux, struct cli_smux_stream *stream);
/* The application took length bytes of what DATA events gave. */
void cli_smux_consume(struct cli_smux *smux, struct cli_smux_stream *stream, size_t length);
/* So much is received and not consumed that the carrier has to be paused. */
bool cli_smux_is_full(const struct cli_smux *smux);
/* Received and neither consumed nor released. */
size_t cli_smux_buffered_bytes(const struct cli_smux *smux);
/* Streams not yet freed. */
uint32_t cli_smux_streams(const struct cli_smux *smux);
/* Version 3: tells the peer to open no more streams. Nothing in the others. */
void cli_smux_go_away(struct cli_smux *smux);

/* Are frames other than data owed? They go before data. */
bool cli_smux_owes(const struct cli_smux *smux);
/* Writes frames that are owed into length bytes of room, at least CLI_SMUX_CONTROL_BYTES_MIN.
 * Returns how many bytes; call again while cli_smux_owes. */
size_t cli_smux_control(struct cli_smux *smux, uint8_t *room, size_t length);
/* How many bytes of data the next frame of stream may have, 0: not now; WRITABLE follows. */
size_t cli_smux_sendable(const struct cli_smux *smux, const struct cli_smux_stream *stream);
/* Writes the header of a data frame: length bytes, at most cli_smux_sendable, follow it. */
void cli_smux_write_header(struct cli_smux *smux, struct cli_smux_stream *stream, size_t length,
                           uint8_t header[CLI_SMUX_HEADER_BYTES]);

/* What is due by the clock: a NOP becomes owed. WEIR_ERR_CLOSED: the peer was silent for too long.
 */
enum weir_status cli_smux_timeout(struct cli_smux *smux, weir_nsec now);
weir_nsec cli_smux_next_timeout(const struct cli_smux *smux);

#endif
