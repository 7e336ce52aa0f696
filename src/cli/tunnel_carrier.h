/* SPDX-License-Identifier: MIT */
/*
 * tunnel_carrier.h - what weir tunnel needs of a transport: ordered bytes both ways, and a bound.
 *
 * Role: the one table behind which KCP, RUDP and weir's own TCP look alike. A carrier is an
 * endpoint with a driver and loop of its own, or a shard of a crew; a connection of it carries one
 * smux session.
 * Owned by: one thread at a time. Handlers are called from inside on_events only.
 */
#ifndef WEIR_CLI_TUNNEL_CARRIER_H
#define WEIR_CLI_TUNNEL_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cli/crew.h"
#include "cli/heap.h"
#include "cli/net.h"
#include "weir/weir.h"

enum {
    /* One write: a smux frame, as snappy may make it grow on the way. */
    CLI_CARRIER_ROOM_BYTES = 40 << 10
};

struct cli_carrier;

/* The first member of each transport's own struct. */
struct cli_carrier_conn {
    struct cli_carrier *carrier;
    void *session; /* what the handlers get; NULL: nobody listens any more */
    struct weir_link link;
};

struct cli_carrier_handlers {
    /* A stranger: sets conn->session, or returns false. */
    bool (*on_request)(void *user, struct cli_carrier_conn *conn);
    void (*on_opened)(void *session); /* the peer was heard */
    void (*on_bytes)(void *session, struct weir_span bytes);
    void (*on_writable)(void *session); /* after WEIR_ERR_FULL */
    /* conn is gone when this returns. is_failure: not because of finish here or there. */
    void (*on_closed)(void *session, bool is_failure, const char *why);
    void (*on_round)(void *user); /* all that came at once has been handed over */
};

struct cli_carrier_config {
    const struct cli_crew *crew; /* NULL: socket and loop are the carrier's own */
    uint32_t shard;
    struct cli_heap *heap; /* for connections */
    struct weir_addr bind;
    bool is_accepting;
    bool is_quiet;              /* no word about small socket buffers */
    const char *trace_path;     /* pcapng, or NULL */
    struct weir_kcp_config kcp; /* slide is filled in; only that of the carrier's kind is used */
    struct weir_rudp_config rudp;
    struct weir_tcp_config tcp;
    const struct cli_net_options *net; /* not NULL */
    const struct cli_carrier_handlers *handlers;
    void *user;
};

struct cli_carrier_ops {
    const char *scheme;
    bool is_ip;                       /* on our own IP, not on UDP */
    size_t carrier_bytes, conn_bytes; /* of the transport's own structs */
    const struct weir_verbs *(*verbs)(void);
    /* Fills in what the engine gets from its carrier. Returns the bytes it wants; 0: it cannot be
     * configured so. */
    size_t (*configure)(const struct cli_carrier *carrier, struct cli_carrier_config *config);
    /* Sets carrier->engine, in engine_mem. config is what configure made of it. */
    enum weir_status (*init)(struct cli_carrier *carrier, const struct cli_carrier_config *config,
                             const uint8_t seed[32], weir_nsec now);
    /* Ends what the engine holds of ours; before connections are freed. NULL: it holds nothing. */
    void (*fini)(struct cli_carrier *carrier);
    /* Pulls all events; user is the carrier. */
    void (*on_events)(void *user, weir_nsec now);
    /* NULL: no room. Bytes may be written at once. */
    struct cli_carrier_conn *(*connect)(struct cli_carrier *carrier, weir_nsec now,
                                        const struct weir_addr *remote, void *session);
    /* Room for one write of up to CLI_CARRIER_ROOM_BYTES, until commit. WEIR_ERR_FULL: on_writable
     * follows. WEIR_ERR_CLOSED: on_closed follows. */
    enum weir_status (*reserve)(struct cli_carrier_conn *conn, uint8_t **room);
    /* Sends the first length bytes of the room; 0: it was not needed. */
    void (*commit)(struct cli_carrier_conn *conn, size_t length);
    void (*pause)(struct cli_carrier_conn *conn, bool is_paused);
    /* Graceful: on_closed follows once all is there. */
    void (*finish)(struct cli_carrier_conn *conn);
    /* At once; no handler is called for conn any more, which is invalid. */
    void (*abort)(struct cli_carrier_conn *conn, const char *why);
};

/* The first member of each transport's own struct. */
struct cli_carrier {
    const struct cli_carrier_ops *ops;
    const struct cli_carrier_handlers *handlers;
    void *user;
    struct cli_heap *heap;
    struct weir_list conns;
    void *engine;               /* for verbs; NULL: not there yet */
    struct weir_driver *driver; /* of a crew NULL, as the loop */
    struct weir_addr local;     /* what it is bound to */
    struct weir_slide *slide;
    struct weir_loop *loop;
    void *slide_mem, *engine_mem;
    size_t slide_mem_bytes, engine_mem_bytes;
};

extern const struct cli_carrier_ops cli_carrier_kcp, cli_carrier_rudp, cli_carrier_tcp;

/* Makes the bounds of the engines those of one shard of config->crew. */
void cli_carrier_share(struct cli_carrier_config *config);
/* Of a crew: to be attached there by the caller. NULL with the line printed. */
struct cli_carrier *cli_carrier_open(const struct cli_carrier_ops *ops,
                                     const struct cli_carrier_config *config);
/* Connections that are left end without a word; handlers are not called. */
void cli_carrier_close(struct cli_carrier *carrier);

/* For the transports: a connection of theirs, zeroed but for what is here; NULL: no memory. */
struct cli_carrier_conn *cli_carrier_add_conn(struct cli_carrier *carrier, void *session);
void cli_carrier_free_conn(struct cli_carrier_conn *conn);

#endif
