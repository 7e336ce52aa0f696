/* SPDX-License-Identifier: MIT */
/*
 * link.h - what the commands send over: one interface for every transport.
 *
 * Role: a driver, slide, engine and loop in one, with the verbs that send, recv, pipe, perf need;
 * or, in a crew, the engine of a shard with the same verbs, and no loop of its own.
 * A transport is one table of functions (link_rudp.c, link_kcp.c, link_tcp.c) and one line in
 * link.c.
 * Order: options_default, open, then the loop (link.loop), or the crew, calls on_events, which
 * pulls all events.
 *
 *   command --> connect, send ... --> link_*.c --> engine        engine --> link_*.c --> cli_event
 */
#ifndef WEIR_CLI_LINK_H
#define WEIR_CLI_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/crew.h"
#include "cli/net.h"
#include "weir/weir.h"

struct cli_link;
struct cli_conn; /* a connection, or session; invalid once its CLOSED event has been pulled */
struct cli_kcp_options;

/* --- events ----------------------------------------------------------------------------------- */

enum cli_event_type {
    CLI_EVENT_REQUEST = 1, /* a stranger wants in: accept or refuse it */
    CLI_EVENT_OPENED,      /* the peer answered; both ends may send */
    CLI_EVENT_MESSAGE,
    CLI_EVENT_PARCEL_DONE,
    CLI_EVENT_WRITABLE, /* after WEIR_ERR_FULL */
    CLI_EVENT_CLOSED
};

enum cli_cause {
    CLI_CAUSE_LOCAL = 1, /* closed or aborted here */
    CLI_CAUSE_PEER,      /* the peer closed, with code and text */
    CLI_CAUSE_REFUSED,   /* the peer refused, with code and text */
    CLI_CAUSE_TIMEOUT,   /* silence */
    CLI_CAUSE_VERSION,
    CLI_CAUSE_RESET,    /* the peer lost the connection's state */
    CLI_CAUSE_PROTOCOL, /* the peer broke the protocol */
    CLI_CAUSE_CUT       /* tcp: the peer, or somebody on the way, cut it off */
};

struct cli_event {
    enum cli_event_type type;
    struct cli_conn *conn;

    union {
        struct {
            struct weir_span data; /* borrowed until the next event, input or timeout */
            uint8_t channel;       /* as sent */
            enum weir_rudp_guarantee guarantee;
        } message;

        struct {
            struct weir_parcel *parcel;
            enum weir_outcome outcome;
        } parcel;

        struct {
            enum cli_cause cause;
            uint32_t code;    /* the application's, 0 when it gave none */
            const char *text; /* zero-terminated, printable, valid until the next event */
            void *user;
        } closed;
    };
};

/* Why a connection ended, e.g. "the peer refused the connection: busy"; returns text. */
enum {
    CLI_CLOSED_TEXT_BYTES = 256
};

char *cli_text_closed(const struct cli_event *event, char text[CLI_CLOSED_TEXT_BYTES]);

/* --- opening ---------------------------------------------------------------------------------- */

/* What a command needs of its transport; what one does not have is ignored there. 0 is the
 * transport's default, but for the times. */
struct cli_link_options {
    const char *scheme;     /* "rudp", "kcp" or "tcp" */
    struct weir_addr bind;  /* port 0 for a client */
    const char *trace_path; /* pcapng, or NULL */
    bool is_accepting;
    bool is_raw; /* kcp, tcp: a bare stream to any peer; see link_kcp.c and link_tcp.c for what else
                    there is */
    uint32_t connections_max, awake_max;
    uint16_t channels_max;
    uint32_t message_bytes_max, receive_window_bytes, send_queue_bytes;
    weir_nsec connect_timeout, dead_timeout, idle_timeout, heartbeat;
    enum weir_cc_kind cc;
    bool is_cc_given;                  /* kcp: without it KCP's own congestion window */
    const struct cli_kcp_options *kcp; /* also --mtu of any transport; not NULL */
    const struct cli_net_options *net; /* not NULL; kept */
};

/* Sets the transports' defaults for all but scheme, bind and kcp. */
void cli_link_options_default(struct cli_link_options *options);
/* Sets idle, dead and connect timeout and the heartbeat so that a vanished peer is noticed within
 * timeout, also while nothing is on its way. */
void cli_link_set_timeout(struct cli_link_options *options, weir_nsec timeout);
/* The any-address of remote's family with port 0: what a client binds. */
struct weir_addr cli_client_bind(const struct weir_addr *remote);
/* False with the line printed: a value that the transport of scheme does not take, or a driver that
 * it lacks. */
bool cli_link_check_options(const char *scheme, const struct cli_kcp_options *kcp,
                            const struct cli_net_options *net);

/* --- figures ---------------------------------------------------------------------------------- */

/* Of one connection. KCP counts segments where RUDP counts packets. */
struct cli_conn_stats {
    weir_nsec rtt, rtt_min; /* 0: not measured */
    uint64_t packets_sent, packets_received, packets_lost;
    uint64_t bytes_resent; /* of messages; KCP: estimated from their average segment */
    uint64_t queued_bytes; /* not yet sent or acknowledged */
    uint16_t mtu_bytes;
};

struct cli_link_stats {
    uint32_t connections;
    uint64_t packets_sent, packets_received; /* datagrams */
};

/* --- the table -------------------------------------------------------------------------------- */

struct cli_link_ops {
    const char *scheme;
    bool is_ip; /* on our own IP, not on UDP */
    /* In a crew all connections of one remote address and port lead to one shard. */
    bool is_by_address;
    /* Makes the engine on link->slide and calls cli_link_attach. False: no memory. */
    bool (*open)(struct cli_link *link, const struct cli_link_options *options);
    void (*close)(struct cli_link *link);
    enum weir_status (*event)(struct cli_link *link, struct cli_event *event);
    enum weir_status (*connect)(struct cli_link *link, const struct weir_addr *remote, void *user,
                                struct cli_conn **conn);
    void (*accept)(struct cli_link *link, struct cli_conn *conn, void *user);
    void (*refuse)(struct cli_link *link, struct cli_conn *conn, uint32_t code, const char *text);
    /* is_abort: what is queued need not get through any more. */
    void (*end)(struct cli_link *link, struct cli_conn *conn, uint32_t code, const char *text,
                bool is_abort);
    enum weir_status (*send)(struct cli_link *link, struct cli_conn *conn,
                             const struct weir_rudp_send *how, const void *data, size_t length);
    enum weir_status (*send_parcel)(struct cli_link *link, struct cli_conn *conn,
                                    const struct weir_rudp_send *how, struct weir_parcel *parcel);
    /* Fills the front of a parcel whose message is so long. NULL: zeros are right. */
    void (*front)(uint8_t *front, size_t length);
    void (*pause)(struct cli_link *link, struct cli_conn *conn, bool is_paused);
    void *(*user)(struct cli_link *link, struct cli_conn *conn);
    struct weir_addr (*remote)(struct cli_link *link, struct cli_conn *conn);
    /* NULL: always. */
    bool (*is_quiet)(const struct cli_link *link);
    void (*conn_stats)(struct cli_link *link, struct cli_conn *conn, struct cli_conn_stats *stats);
    void (*stats)(struct cli_link *link, struct cli_link_stats *stats);
};

struct cli_link {
    const struct cli_link_ops *ops;
    struct weir_driver *driver; /* NULL in a crew, as are loop and slide_mem */
    struct weir_addr local;     /* what it listens on, as far as that is one address */
    struct weir_slide *slide;
    struct weir_loop *loop;
    struct cli_crew *crew; /* NULL: it has its own loop */
    uint32_t shard;
    void (*on_events)(void *user, weir_nsec now); /* of the command; kept for open */
    weir_nsec (*tick)(void *user, weir_nsec now);
    void *user;
    uint32_t message_bytes_max; /* a message of so much surely suits the own end's settings */
    uint32_t front_bytes;       /* in front of a parcel's bytes: see cli_link_send_parcel */
    const char *hint; /* for a peer that does not answer: what both ends must agree on, or "" */
    bool is_accepting;
    void *engine; /* struct weir_rudp, or link_kcp.c's */
    void *slide_mem, *engine_mem;
    size_t slide_mem_bytes, engine_mem_bytes;
};

/* Prints the line and returns false on failure. Warns once about small socket buffers. */
bool cli_link_open(struct cli_link *link, const struct cli_link_options *options,
                   void (*on_events)(void *user, weir_nsec now), void *user);
/* The link of a shard, from cli_crew_command.open: bind, trace_path and net are the crew's, its
 * connections_max and awake_max are of all shards together: each holds cli_crew_share of them, or,
 * where one peer's may all be in the same (KCP), as many as all; the memory is touched when used.
 * on_events, tick and user as in cli_crew_attach. False with the line printed. */
bool cli_link_open_in(struct cli_link *link, const struct cli_link_options *options,
                      struct cli_crew *crew, uint32_t shard,
                      void (*on_events)(void *user, weir_nsec now),
                      weir_nsec (*tick)(void *user, weir_nsec now), void *user);
/* May run the loop for a moment, so that the last words get out; no events are told. In a crew
 * there is no such moment: see cli_link_is_quiet. */
void cli_link_close(struct cli_link *link);
/* For the transports' open: endpoint gets the link's datagrams. */
void cli_link_attach(struct cli_link *link, void *endpoint, const struct weir_verbs *verbs);
/* The driver whose limits are those of all that the link sends by. */
const struct weir_driver *cli_link_driver(const struct cli_link *link);
/* Has every last word got through, and been answered, as far as the transport waits for that? */
bool cli_link_is_quiet(const struct cli_link *link);

/* The loop's clock; in a crew the time of the call that the shard is in. */
static inline weir_nsec cli_link_now(const struct cli_link *link)
{
    return link->crew != NULL ? cli_crew_now(link->crew, link->shard) : weir_loop_now(link->loop);
}

/* --- verbs: as in weir/rudp.h where nothing else is said -------------------------------------- */

static inline enum weir_status cli_link_event(struct cli_link *link, struct cli_event *event)
{
    return link->ops->event(link, event);
}

static inline enum weir_status cli_link_connect(struct cli_link *link,
                                                const struct weir_addr *remote, void *user,
                                                struct cli_conn **conn)
{
    return link->ops->connect(link, remote, user, conn);
}

static inline void cli_link_accept(struct cli_link *link, struct cli_conn *conn, void *user)
{
    link->ops->accept(link, conn, user);
}

static inline void cli_link_refuse(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                                   const char *text)
{
    link->ops->refuse(link, conn, code, text);
}

static inline void cli_link_end(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                                const char *text)
{
    link->ops->end(link, conn, code, text, false);
}

static inline void cli_link_abort(struct cli_link *link, struct cli_conn *conn, uint32_t code,
                                  const char *text)
{
    link->ops->end(link, conn, code, text, true);
}

/* how: KCP has the guarantee delivery only and ignores the priority. WEIR_ERR_TOO_LARGE also when
 * the peer's window can never take it: try a shorter one. */
static inline enum weir_status cli_link_send(struct cli_link *link, struct cli_conn *conn,
                                             const struct weir_rudp_send *how, const void *data,
                                             size_t length)
{
    return link->ops->send(link, conn, how, data, length);
}

/* The first link->front_bytes of the parcel's bytes are the link's, as cli_link_front makes them;
 * the message is what follows. On channel 0. */
static inline enum weir_status cli_link_send_parcel(struct cli_link *link, struct cli_conn *conn,
                                                    const struct weir_rudp_send *how,
                                                    struct weir_parcel *parcel)
{
    return link->ops->send_parcel(link, conn, how, parcel);
}

/* Writes link->front_bytes in front of a message of length bytes, for parcels. */
static inline void cli_link_front(const struct cli_link *link, uint8_t *front, size_t length)
{
    memset(front, 0, link->front_bytes);
    if (link->ops->front != NULL) {
        link->ops->front(front, length);
    }
}

static inline void cli_link_pause(struct cli_link *link, struct cli_conn *conn, bool is_paused)
{
    link->ops->pause(link, conn, is_paused);
}

static inline void *cli_link_user(struct cli_link *link, struct cli_conn *conn)
{
    return link->ops->user(link, conn);
}

static inline struct weir_addr cli_link_remote(struct cli_link *link, struct cli_conn *conn)
{
    return link->ops->remote(link, conn);
}

static inline void cli_link_conn_stats(struct cli_link *link, struct cli_conn *conn,
                                       struct cli_conn_stats *stats)
{
    link->ops->conn_stats(link, conn, stats);
}

static inline void cli_link_stats(struct cli_link *link, struct cli_link_stats *stats)
{
    link->ops->stats(link, stats);
}

extern const struct cli_link_ops cli_link_rudp, cli_link_kcp, cli_link_tcp;

#endif
