/* SPDX-License-Identifier: MIT */
/*
 * tunnel.h - TCP connections as streams of a session over UDP.
 *
 *   TCP socket --> stream --> smux --> [snappy] --> carrier (KCP or RUDP) --> network
 *   TCP socket <-- queue  <-- smux <-- [snappy] <-- carrier               <-- network
 *
 * Role: the client accepts TCP and opens a stream for each connection, the server dials its one
 * target for each stream that is opened to it.
 * Owned by: one thread at a time; there is one tunnel, or one in each shard of a crew, where a
 * session stays for good. Nothing waits: sockets are edge-triggered, and what can go on is on a
 * list.
 * Memory: a TCP side that does not read costs at most a stream's window (version 2 and 3 of smux)
 * and, over all streams of a session, session_bytes and what its carrier delivers in one go; then
 * the carrier is paused. A peer that does not read costs nothing: TCP is not read either.
 */
#ifndef WEIR_CLI_TUNNEL_H
#define WEIR_CLI_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cli/crew.h"
#include "cli/heap.h"
#include "cli/smux.h"
#include "cli/snappy_frame.h"
#include "cli/tunnel_carrier.h"

struct cli_tunnel;
struct cli_tunnel_session;

/* What epoll hands back: the first member of each thing with a descriptor. */
enum cli_tunnel_source_kind {
    CLI_TUNNEL_LISTENER = 1,
    CLI_TUNNEL_CARRIER,
    CLI_TUNNEL_STREAM
};

struct cli_tunnel_source {
    enum cli_tunnel_source_kind kind;
};

struct cli_tunnel_options {
    bool is_client, is_quiet;
    const struct cli_carrier_ops *transport;
    struct weir_addr tcp;        /* the client listens here, the server dials this */
    struct weir_addr udp;        /* the client connects to this, the server binds it */
    bool is_compressed;          /* snappy around smux */
    struct cli_smux_config smux; /* is_client and key are filled in */
    struct cli_crew_options crew;
    uint32_t conns;                    /* sessions of a client, side by side */
    uint32_t connections_max;          /* TCP connections at once, of all shards */
    weir_nsec drain;                   /* after SIGTERM connections may go on for so long */
    struct cli_carrier_config carrier; /* handlers, user and bind are filled in */
};

/* Bytes on their way to a TCP socket, in a ring that grows by doubling. */
struct cli_tunnel_queue {
    uint8_t *bytes;
    size_t room, first, used;
};

/* One TCP connection. */
struct cli_tunnel_stream {
    struct cli_tunnel_source source;
    int fd; /* -1: closed, to be freed with the next round */
    struct cli_tunnel_session *session;
    struct cli_smux_stream *smux; /* NULL: the session is not up yet */
    struct weir_link all;         /* of its session; once closed: of the tunnel's dead */
    struct weir_link ready;       /* TCP has bytes for us */
    struct weir_link dirty;       /* we have bytes or an end for TCP */
    struct cli_tunnel_queue queue;
    weir_nsec give_up_at; /* WEIR_NEVER: it is not waiting for something that may never come */
    bool is_connecting;   /* the server's dial is on its way */
    bool is_writable;
    bool is_hup_seen;   /* the end is behind the bytes that TCP still has */
    bool is_read_ended; /* TCP's end was read, and passed on */
    bool is_write_shut; /* the peer's end was passed on to TCP */
    bool is_peer_finished;
};

/* One smux session over one connection of a carrier. */
struct cli_tunnel_session {
    struct cli_tunnel *tunnel;
    struct weir_link all, busy;
    struct cli_tunnel_carrier *carrier; /* a client's session has one of its own while it is up */
    struct cli_carrier_conn *conn;      /* NULL: down */
    struct cli_smux *smux;
    struct cli_snappy_decoder *decoder;
    struct weir_list streams, ready, dirty;
    weir_nsec retry_at, back_off; /* client */
    bool is_encoding;             /* snappy's stream identifier is sent */
    bool is_full;                 /* the carrier takes nothing now */
    bool is_paused;
    bool is_leaving; /* the peer takes no more streams */
    bool is_finishing;
};

/* A carrier and its place in epoll. */
struct cli_tunnel_carrier {
    struct cli_tunnel_source source;
    struct weir_link all;
    struct cli_carrier *carrier;
    bool is_readable, is_polled_out;
    bool is_dead; /* closed with the end of the round */
};

enum cli_tunnel_phase {
    CLI_TUNNEL_RUNNING = 0,
    CLI_TUNNEL_DRAINING,  /* connections may end by themselves */
    CLI_TUNNEL_FINISHING, /* none is left; the last frames are to be acknowledged */
    CLI_TUNNEL_ENDED
};

/* What the shards of a crew know of each other. */
struct cli_tunnel_team {
    uint32_t connections[WEIR_CREW_SHARDS_MAX]; /* atomic: each stored by its shard's worker */
    uint32_t has_failed;                        /* atomic, any worker's: a socket did */
    uint32_t count;
};

struct cli_tunnel {
    const struct cli_tunnel_options *options;
    const struct cli_crew *crew; /* NULL: it is alone */
    uint32_t shard;
    struct cli_tunnel_team *team;
    struct cli_heap heap; /* of all that comes and goes with sessions and connections */
    int epoll_fd, listen_fd;
    struct cli_tunnel_source listener;
    struct weir_list sessions, carriers;
    struct weir_list busy;         /* sessions with something to do now */
    struct weir_list dead_streams; /* freed when epoll cannot name them any more */
    struct weir_list dead_sessions;
    struct cli_tunnel_session *next_session; /* a client's, in turn */
    weir_nsec now;
    weir_nsec accept_again_at; /* after the descriptors ran out */
    weir_nsec sweep_at;
    weir_nsec complained_at;
    uint32_t connections;                            /* of this shard */
    uint64_t connections_total, bytes_in, bytes_out; /* in: from TCP */
    uint32_t carriers_opened;
    uint32_t cut_count; /* ended by us while something was still on its way */
    bool is_listening;
    bool is_wait_coarse;   /* the kernel has no epoll_pwait2 */
    uint32_t phase;        /* atomic, its worker's: enum cli_tunnel_phase */
    weir_nsec phase_until; /* DRAINING and FINISHING */
    uint32_t left_count;   /* connections that were cut at the end */
    uint8_t scratch[CLI_SMUX_HEADER_BYTES + CLI_SMUX_DATA_BYTES_MAX];
};

/* --- tunnel.c --------------------------------------------------------------------------------- */

/* False with the line printed; cli_tunnel_close frees what there is then, too. */
bool cli_tunnel_init(struct cli_tunnel *tunnel, const struct cli_tunnel_options *options,
                     const struct cli_crew *crew, uint32_t shard, struct cli_tunnel_team *team);
void cli_tunnel_close(struct cli_tunnel *tunnel);
/* Does all that can be done now; may_wait: waits for it first. False: the socket failed. */
bool cli_tunnel_round(struct cli_tunnel *tunnel, bool may_wait);
/* When the next round is due. */
weir_nsec cli_tunnel_next_timeout(const struct cli_tunnel *tunnel);
/* A socket of any shard did. Any thread. */
bool cli_tunnel_has_failed(const struct cli_tunnel *tunnel);
/* Of all shards, about. */
uint32_t cli_tunnel_connections(const struct cli_tunnel *tunnel);
/* One more of this shard, or one less. */
void cli_tunnel_count(struct cli_tunnel *tunnel, int more);
/* Listens on fd from now on, which is its own then. */
void cli_tunnel_listen(struct cli_tunnel *tunnel, int fd);
void cli_tunnel_unlisten(struct cli_tunnel *tunnel);
/* Opens a carrier in epoll. NULL with the line printed. */
struct cli_tunnel_carrier *cli_tunnel_carrier_open(struct cli_tunnel *tunnel);
/* Sends what is queued once more and closes, both with the end of the round. */
void cli_tunnel_carrier_close(struct cli_tunnel_carrier *carrier);
/* At most one line in a second on stderr. */
void cli_tunnel_complain(struct cli_tunnel *tunnel, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- tunnel_end.c ----------------------------------------------------------------------------- */

/* After --drain: the last frames have to be acknowledged. */
#define CLI_TUNNEL_FINISH (2 * WEIR_SEC)

/* No new connections; those there are may end by themselves, for a while. */
void cli_tunnel_stop(struct cli_tunnel *tunnel);
/* Goes on with that, in each round. */
void cli_tunnel_end_step(struct cli_tunnel *tunnel);
bool cli_tunnel_is_draining(const struct cli_tunnel *tunnel);
/* Any thread. */
bool cli_tunnel_has_ended(const struct cli_tunnel *tunnel);
void cli_tunnel_for_each_session(struct cli_tunnel *tunnel,
                                 void (*act)(struct cli_tunnel_session *));
void cli_tunnel_cut_all(struct cli_tunnel_session *session);

/* --- tunnel_run.c ----------------------------------------------------------------------------- */

/* Runs until SIGINT or SIGTERM. Returns an exit code. */
int cli_tunnel_run(const struct cli_tunnel_options *options);
/* The number of shards for a client's sessions: a prime, and none without a session but for a
 * single one. */
uint32_t cli_tunnel_client_shards(uint32_t conns);

/* --- tunnel_session.c ------------------------------------------------------------------------- */

extern const struct cli_carrier_handlers cli_tunnel_handlers;

/* A client's, down at first; NULL: no memory. */
struct cli_tunnel_session *cli_tunnel_session_new(struct cli_tunnel *tunnel);
/* Something may have to be done for it: it is looked at in cli_tunnel_pump. */
void cli_tunnel_session_touch(struct cli_tunnel_session *session);
/* Opens the smux stream of a TCP connection, if the session is up. False: there is no room. */
bool cli_tunnel_session_attach(struct cli_tunnel_session *session,
                               struct cli_tunnel_stream *stream);
/* Ends the session and all its streams; a client's may come up again. */
void cli_tunnel_session_down(struct cli_tunnel_session *session, const char *why);
/* Lets it end once all is through. */
void cli_tunnel_session_finish(struct cli_tunnel_session *session);
/* Does what is due by the clock. */
void cli_tunnel_session_timeout(struct cli_tunnel_session *session);
weir_nsec cli_tunnel_session_next_timeout(const struct cli_tunnel_session *session);
/* Works for all busy sessions. */
void cli_tunnel_pump(struct cli_tunnel *tunnel);

/* --- tunnel_stream.c -------------------------------------------------------------------------- */

enum cli_tunnel_read {
    CLI_TUNNEL_READ_MORE = 1, /* there may be more */
    CLI_TUNNEL_READ_ALL,      /* nothing more for now */
    CLI_TUNNEL_READ_END,      /* nothing more ever, or the stream is gone */
};

/* Takes fd, a connected socket. NULL: no memory, fd is closed. */
struct cli_tunnel_stream *cli_tunnel_stream_accept(struct cli_tunnel_session *session, int fd);
/* Dials the target. NULL: it cannot be. */
struct cli_tunnel_stream *cli_tunnel_stream_dial(struct cli_tunnel_session *session);
/* epoll said so. */
void cli_tunnel_stream_on_events(struct cli_tunnel_stream *stream, uint32_t events);
/* Reads up to room bytes from TCP. *length is 0 unless something was read. */
enum cli_tunnel_read cli_tunnel_stream_read(struct cli_tunnel_stream *stream, uint8_t *bytes,
                                            size_t room, size_t *length);
/* Bytes from the peer: to TCP at once, or queued. */
void cli_tunnel_stream_put(struct cli_tunnel_stream *stream, struct weir_span data);
/* The peer's direction has ended. */
void cli_tunnel_stream_on_finished(struct cli_tunnel_stream *stream);
/* Writes what TCP takes, and ends what has ended. */
void cli_tunnel_stream_flush(struct cli_tunnel_stream *stream);
/* Ends both sides at once; TCP sees a reset. */
void cli_tunnel_stream_cut(struct cli_tunnel_stream *stream);
/* Has it waited for too long? Then it is cut. */
void cli_tunnel_stream_sweep(struct cli_tunnel_stream *stream);
/* For the end of a round. */
void cli_tunnel_stream_free(struct cli_tunnel *tunnel, struct cli_tunnel_stream *stream);

/* --- tunnel_tcp.c ----------------------------------------------------------------------------- */

/* A listening socket, non-blocking; *addr becomes what it is bound to. is_shared: others of ours
 * may listen there, too, and connections are spread over them. -1 with the line printed. */
int cli_tcp_listen(struct weir_addr *addr, bool is_shared);
/* A connection that was accepted, non-blocking, or -1 with errno. */
int cli_tcp_accept(int listen_fd);
/* Begins to connect; *is_connecting: it is not through yet. -1 with errno. */
int cli_tcp_dial(const struct weir_addr *addr, bool *is_connecting);
/* 0, or why the connection could not be made. */
int cli_tcp_error(int fd);
/* Closes so that the other end sees a reset. */
void cli_tcp_reset(int fd);
/* Room for as many descriptors as the system lets us have. */
void cli_tcp_raise_limit(void);

#endif
