/* SPDX-License-Identifier: MIT */
/*
 * serve.h - files over HTTP/1.1 on connections of weir's TCP.
 *
 * Role: the server of weir serve without its driver, loop and options: events in, calls on the
 * endpoint out. An idle connection costs nothing here: what a request needs is a slot, taken with
 * its first byte and given back when its answer is acknowledged.
 * Owned by: the endpoint's thread. Memory: bounded by the config, mapped at open, touched when
 * used: slots of 3 KiB and head_bytes_max each, and memory_bytes for pieces of files on their way.
 * Spec: RFC 9110, RFC 9112.
 *
 *   OPENED ----------------> nothing
 *   DATA: no slot ---------> slot HEAD --(whole head)--> SENDING --(all queued)--> HEAD or CLOSING
 *                                      \--> BODY (PUT) --/
 *   PARCEL_DONE, WRITABLE -> the next pieces; nothing left: the slot is given back
 */
#ifndef WEIR_CLI_SERVE_H
#define WEIR_CLI_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

/* What the shards of a crew tell each other of their uploads: a word of each, not 0 while it
 * renames one of that hash of directory and name. Atomic: stored by the shard's worker. */
struct cli_serve_claims {
    uint64_t words[WEIR_CREW_SHARDS_MAX];
};

struct cli_serve_config {
    struct weir_tcp *tcp;      /* its events go to cli_serve_on_event, all of them */
    struct weir_slide *slide;  /* the endpoint's */
    int root_fd;               /* the directory; the caller's */
    bool is_upload;            /* PUT is taken */
    uint64_t upload_bytes_max; /* of one file; 0: no limit */
    uint32_t requests_max;     /* being answered at once, default 4,096, at most 65,536 */
    size_t memory_bytes;       /* default 64 MiB, at least 1 MiB */
    uint32_t head_bytes_max;   /* of a request, default 8 KiB, 512 to 64 KiB */
    weir_nsec head_timeout;    /* from a head's first byte to its last, default 30 s */
    weir_nsec stall_timeout;   /* without progress of a body, default 60 s */
    weir_nsec idle_timeout;    /* between requests; default 0: none. Else 9 bytes a connection */
    int log_fd;                /* a line per request, whole lines in one write; default -1: none */
    uint32_t shard;            /* of a crew, with claims that all shards share; default 0 */
    struct cli_serve_claims *claims; /* default NULL: it is alone */
};

struct cli_serve_stats {
    uint64_t connections, requests;
    uint64_t answers[6];                 /* by the status's first digit */
    uint64_t sent_bytes, received_bytes; /* of files */
    uint64_t uploads;
    uint64_t busy;      /* refused with 503: all slots in use */
    uint64_t timeouts;  /* heads, bodies, idle connections */
    uint64_t aborted;   /* connections that ended in the middle of an answer or an upload */
    uint64_t truncated; /* files that became shorter while they were sent */
    uint64_t overruns;  /* requests sent ahead that found no room */
    uint32_t slots, slots_peak;
};

struct cli_serve;

/* Defaults; tcp, slide and root_fd have none. */
void cli_serve_config_default(struct cli_serve_config *config);
/* NULL: out of memory, or a config outside its bounds. */
struct cli_serve *cli_serve_open(const struct cli_serve_config *config, weir_nsec now);
/* Connections stay as they are: the endpoint is to be ended with it, and first when uploads or
 * pieces of files may be on their way. */
void cli_serve_close(struct cli_serve *serve);
void cli_serve_on_event(struct cli_serve *serve, weir_nsec now, const struct weir_tcp_event *event);
/* Writes what the log has gathered, as ticks do every second. */
void cli_serve_flush_log(struct cli_serve *serve);
/* errno of the first write to the log that failed, 0: none. Any thread. */
int cli_serve_log_error(const struct cli_serve *serve);
/* Timeouts; early calls are harmless. */
void cli_serve_tick(struct cli_serve *serve, weir_nsec now);
/* When the next tick is due. */
weir_nsec cli_serve_next_tick(const struct cli_serve *serve);
/* Every answer from now on is the last of its connection. */
void cli_serve_stop(struct cli_serve *serve);
const struct cli_serve_stats *cli_serve_stats(const struct cli_serve *serve);

#endif
