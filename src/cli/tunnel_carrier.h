/* SPDX-License-Identifier: MIT */
/*
 * tunnel_carrier.h - what weir tunnel needs of a transport: ordered bytes both ways, and a bound.
 *
 * Role: the one table behind which KCP, RUDP and weir's own TCP look alike. A carrier is a driver
 * with its loop and endpoint; a connection of it carries one smux session.
 * Owned by: one thread. Handlers are called from inside weir_loop_run_once only.
 */
#ifndef WEIR_CLI_TUNNEL_CARRIER_H
#define WEIR_CLI_TUNNEL_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    bool is_ip; /* on our own IP, not on UDP */
    /* NULL with the line printed. */
    struct cli_carrier *(*open)(const struct cli_carrier_config *config);
    /* Connections that are left end without a word; handlers are not called. */
    void (*close)(struct cli_carrier *carrier);
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
    struct weir_driver *driver;
    struct weir_addr local; /* what it is bound to */
    struct weir_slide *slide;
    struct weir_loop *loop;
    void *slide_mem, *engine_mem;
    size_t slide_mem_bytes, engine_mem_bytes;
};

extern const struct cli_carrier_ops cli_carrier_kcp, cli_carrier_rudp, cli_carrier_tcp;

/* For the transports: opens socket, slide and loop of a zeroed carrier, or prints the line and
 * returns false; fini gives back what is there, engine_mem too. */
bool cli_carrier_init(struct cli_carrier *carrier, const struct cli_carrier_ops *ops,
                      const struct cli_carrier_config *config);
void cli_carrier_fini(struct cli_carrier *carrier);
/* engine_mem of so many bytes, and a seed. False with the line printed. */
bool cli_carrier_alloc(struct cli_carrier *carrier, size_t bytes, uint8_t seed[32]);

#endif
