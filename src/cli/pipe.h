/* SPDX-License-Identifier: MIT */
/*
 * pipe.h - weir pipe: pipe.c talks to the peer, pipe_io.c to standard input and output.
 *
 *   stdin --> inbox ---------> peer        not read while the queue is full
 *   stdout <-- outbox <-------- peer       paused while the outbox is long
 */
#ifndef WEIR_CLI_PIPE_H
#define WEIR_CLI_PIPE_H

#include "cli/kcp_options.h"
#include "cli/link.h"

enum {
    CLI_PIPE_READ_BYTES = 64 << 10, /* one message */
    CLI_PIPE_MESSAGE_BYTES_MAX = 128 << 10,
    CLI_PIPE_WINDOW_BYTES = 4 << 20,
    CLI_PIPE_PAUSE_BYTES = 1 << 20, /* waiting for stdout: no more window for the peer */
    /* What the peer may still send when it is paused, and one message that was half sent. */
    CLI_PIPE_OUTBOX_BYTES =
        CLI_PIPE_PAUSE_BYTES + CLI_PIPE_WINDOW_BYTES + CLI_PIPE_MESSAGE_BYTES_MAX,
    CLI_PIPE_SIDE_CHANNEL = 1 /* one message on it says that all of the peer's bytes are written */
};

struct cli_pipe_options {
    const char *url;
    const char *trace;
    weir_nsec timeout;
    enum weir_cc_kind cc;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    bool is_listening, is_raw, is_cc_given;
};

struct cli_pipe {
    struct cli_pipe_options options;
    struct cli_link link;
    struct cli_conn *conn; /* NULL before REQUEST and after CLOSED */
    bool is_stream;        /* raw with ends of its own: tcp */
    bool is_opened, is_peer_known;
    bool is_in_ended;      /* stdin has ended */
    bool is_in_done;       /* its end is queued */
    bool is_full;          /* until WRITABLE */
    bool is_out_done;      /* the peer's end has come */
    bool is_stdout_shut;   /* all is written, and that the peer's direction ended is passed on */
    bool is_written_told;  /* the peer was told so */
    bool is_written_there; /* the peer has told us so */
    bool is_paused, is_closing, is_over;
    bool is_stdout_plain;        /* a regular file: writing never waits for a reader */
    bool is_anything_sent;       /* of stdin */
    bool is_heard, is_all_acked; /* raw: the peer at all; what was sent */
    weir_nsec heard_at;          /* raw: the peer's last bytes */
    int result;
    uint8_t inbox[CLI_PIPE_READ_BYTES]; /* read from stdin, not yet taken by the queue */
    size_t inbox_first, inbox_used;
    size_t read_bytes, piece_bytes;
    uint8_t *outbox; /* ring of CLI_PIPE_OUTBOX_BYTES */
    size_t outbox_first, outbox_used;
};

/* Prints nothing itself: the caller has said why. */
void cli_pipe_give_up(struct cli_pipe *pipe, const char *reason);

/* Queues what is in the inbox. A window that is too small for all of it takes less. */
void cli_pipe_ship(struct cli_pipe *pipe);
/* Queues the end of stdin: a message of no bytes; a bare stream has no sign for it. */
void cli_pipe_ship_end(struct cli_pipe *pipe);
/* Only then may the peer end with 0: an acknowledgment says that weir has it, not our reader. */
void cli_pipe_tell_written(struct cli_pipe *pipe);
bool cli_pipe_wants_input(const struct cli_pipe *pipe);
void cli_pipe_pump_input(struct cli_pipe *pipe);

/* Bytes of the peer, for standard output. */
void cli_pipe_put(struct cli_pipe *pipe, struct weir_span data);
/* Writes what standard output takes without waiting. */
void cli_pipe_pump_output(struct cli_pipe *pipe);
/* Passes the peer's end on to whoever reads our standard output. */
void cli_pipe_shut_output(struct cli_pipe *pipe);
/* Back-pressure: a reader that is slow slows the peer down. */
void cli_pipe_set_pause(struct cli_pipe *pipe);

#endif
