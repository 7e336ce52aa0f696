/* SPDX-License-Identifier: MIT */
/*
 * serve_internal.h - the state of the HTTP server, and which file owns which part of it.
 *
 * serve.c (events, input, closing), serve_slot.c (slots and pieces of files), serve_send.c (answers
 * out), serve_request.c (what is answered), serve_file.c (files below the directory), serve_put.c
 * (uploads), serve_tick.c (timeouts), serve_log.c (the access log).
 */
#ifndef WEIR_CLI_SERVE_INTERNAL_H
#define WEIR_CLI_SERVE_INTERNAL_H

#include <limits.h>
#include <sys/stat.h>

#include "base/list.h"
#include "cli/http.h"
#include "cli/serve.h"
#include "mem/pool.h"

enum {
    CLI_SERVE_CHUNK_BYTES = 1 << 16,
    CLI_SERVE_CHUNKS_MAX = 64,         /* of one answer on their way */
    CLI_SERVE_SCRATCH_BYTES = 1 << 14, /* a shorter answer is copied, head and file in one */
    CLI_SERVE_OUT_BYTES = 2048,
    CLI_SERVE_LINE_BYTES = 256, /* of a request line in the log */
    CLI_SERVE_TEMP_BYTES = 64,
    CLI_SERVE_LOG_BYTES = 4096 /* written at once: a pipe does not mix them with others */
};

enum cli_slot_state {
    CLI_SLOT_HEAD = 0, /* waits for a request, or for the rest of its head */
    CLI_SLOT_BODY,     /* of an upload */
    CLI_SLOT_COMMIT,   /* an upload is complete, and waits for another of that name */
    CLI_SLOT_SENDING,  /* not all of the answer is queued; further input waits */
    CLI_SLOT_CLOSING   /* our side is closed or to be aborted; input is thrown away */
};

struct cli_slot;

/* A piece of a file on its way. */
struct cli_chunk {
    struct weir_parcel parcel;
    struct cli_slot *slot;
};

struct cli_upload {
    int dir_fd, fd;                  /* -1: none */
    char temp[CLI_SERVE_TEMP_BYTES]; /* in dir_fd, until it is renamed to name */
    char name[NAME_MAX + 1];
    uint64_t bytes;
    int error; /* errno of a write, or EFBIG: beyond the limit */
    bool is_new;
    bool is_conditional;      /* renamed only when nothing has changed since it began: */
    struct cli_http_file old; /* unless is_new */
};

struct cli_slot {
    struct weir_tcp_conn *conn;
    struct cli_slot *next;     /* in its bucket */
    struct weir_link active;   /* on the server's list */
    struct weir_link starving; /* for a chunk; linked only while it waits */
    enum cli_slot_state state;
    weir_nsec deadline; /* when to give up; in state HEAD without a byte WEIR_NEVER */
    bool is_peer_closed;
    bool is_aborting;
    uint64_t discarded_bytes; /* in state CLOSING */

    struct weir_hold hold; /* input that came while an answer was being queued */
    size_t hold_used;
    bool is_held;

    struct cli_http_framing framing; /* of the body that comes in */
    uint32_t head_bytes;             /* in head */

    int fd; /* file being sent, -1: none */
    uint64_t file_at, file_end;
    uint32_t chunks; /* on their way */
    uint32_t out_bytes;
    bool is_out_sent;
    bool is_kept; /* another request may follow */
    bool is_head; /* the answer has no body */
    bool is_old;  /* HTTP/1.0 */

    struct cli_upload upload;

    int status; /* for the log */
    uint64_t body_bytes;
    uint32_t line_bytes;
    char line[CLI_SERVE_LINE_BYTES];

    char out[CLI_SERVE_OUT_BYTES]; /* head of the answer, and the body of an error */
    uint8_t head[];                /* config.head_bytes_max */
};

struct cli_serve {
    struct cli_serve_config config;
    struct cli_serve_stats stats;
    weir_nsec now, next_tick;
    bool is_stopping;
    uint64_t temps;         /* names of temporary files made */
    uint32_t commits_count; /* slots in state COMMIT, about: looked at at next_commit */
    weir_nsec next_commit;

    struct weir_pool slots, chunks;
    uint8_t *slots_mem, *chunks_mem, *chunk_bytes;
    size_t slots_mem_bytes, chunks_mem_bytes, chunk_bytes_all;
    struct cli_slot **buckets;
    uint32_t buckets_mask;
    struct weir_list active, starving;

    struct weir_tcp_conn **idle; /* by place; NULL: not open, or no idle_timeout */
    uint8_t *idle_marks;         /* sweeps, modulo 256, of the last request */
    uint32_t idle_max;
    uint8_t sweep;
    weir_nsec next_sweep;

    int log_error;    /* atomic: the shard's worker */
    weir_nsec log_at; /* when what is gathered is written */
    uint32_t log_bytes;
    char log[CLI_SERVE_LOG_BYTES];
    char scratch[CLI_SERVE_SCRATCH_BYTES];
};

/* --- serve_slot.c ----------------------------------------------------------------------------- */
bool cli_slots_open(struct cli_serve *serve);
void cli_slots_close(struct cli_serve *serve);
/* NULL: none. */
struct cli_slot *cli_slot_find(const struct cli_serve *serve, const struct weir_tcp_conn *conn);
struct cli_slot *cli_slot_take(struct cli_serve *serve, struct weir_tcp_conn *conn);
/* No chunk of it may be on its way. */
void cli_slot_give(struct cli_serve *serve, struct cli_slot *slot);
/* May slot have one more? Not beyond its share, so that slow readers leave room to others. NULL:
 * not now; a slot with none on their way then waits in serve->starving. */
struct cli_chunk *cli_chunk_take(struct cli_serve *serve, struct cli_slot *slot);
void cli_chunk_give(struct cli_serve *serve, struct cli_chunk *chunk);
uint8_t *cli_chunk_bytes(const struct cli_serve *serve, const struct cli_chunk *chunk);

/* --- serve.c ---------------------------------------------------------------------------------- */
/* Goes on with whatever it can, and gives the slot back when nothing is left. */
void cli_serve_advance(struct cli_serve *serve, struct cli_slot *slot);
/* Ends our side after what is queued; input is thrown away from now on. */
void cli_serve_finish(struct cli_serve *serve, struct cli_slot *slot);
void cli_serve_abort(struct cli_serve *serve, struct cli_slot *slot);
/* A closed or silent upload or answer is given up later than this. */
void cli_serve_progress(struct cli_serve *serve, struct cli_slot *slot);

/* --- serve_send.c ----------------------------------------------------------------------------- */
/* Writes the head into slot->out; fd (-1: none, the slot's from now on) has the body from first to
 * end. Without fd the status has its text for a body, where it may have one. */
void cli_serve_respond(struct cli_serve *serve, struct cli_slot *slot,
                       struct cli_http_response *response, int fd);
void cli_serve_respond_status(struct cli_serve *serve, struct cli_slot *slot, int status);
/* Queues what can be queued; afterwards the state is another unless something has to wait. */
void cli_serve_pump(struct cli_serve *serve, struct cli_slot *slot);

/* --- serve_request.c -------------------------------------------------------------------------- */
/* A whole head: the state is SENDING or BODY afterwards. */
void cli_serve_request(struct cli_serve *serve, struct cli_slot *slot, struct weir_span head);

/* --- serve_file.c ----------------------------------------------------------------------------- */
/* Opens path ("a/b") below dir_fd without following a link. -1: errno says why. */
int cli_open_below(int dir_fd, const char *path, int flags);
/* The status that tells of errno. */
int cli_file_status(int error);
struct cli_http_file cli_file_of(const struct stat *stat);

/* --- serve_put.c ------------------------------------------------------------------------------ */
/* Begins an upload, state BODY, or answers at once. */
void cli_put_start(struct cli_serve *serve, struct cli_slot *slot,
                   const struct cli_http_request *request);
/* Takes bytes of the body, and answers when it is complete. Returns how many were the body's. */
size_t cli_put_input(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data);
/* State COMMIT: tries again; the state is another afterwards unless it has to wait on. */
void cli_put_commit(struct cli_serve *serve, struct cli_slot *slot);
/* Removes what there is of it. */
void cli_put_drop(struct cli_slot *slot);

/* --- serve_tick.c ----------------------------------------------------------------------------- */
bool cli_idle_open(struct cli_serve *serve);
void cli_idle_close(struct cli_serve *serve);
/* A request has come, or the connection has opened; is_open false: it is closed. */
void cli_idle_touch(struct cli_serve *serve, struct weir_tcp_conn *conn, bool is_open);

/* --- serve_log.c ------------------------------------------------------------------------------ */
void cli_log_remember(struct cli_serve *serve, struct cli_slot *slot, struct weir_span line);
/* Counts the answer that ended, and writes its line. */
void cli_log_answer(struct cli_serve *serve, struct cli_slot *slot);
/* Writes what is due. */
void cli_log_tick(struct cli_serve *serve);

#endif
