/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the state of the KCP engine, and which file owns which part of it.
 *
 * Reading order: this file, conn.c (records, waking, lists), input.c, receive.c (messages in),
 * send.c (messages out), flight.c (segments on their way), output.c (datagrams out), timers.c;
 * layers.c (what is around the segments in a datagram).
 *
 *   struct weir_kcp            endpoint: table, wheel, pools, lists
 *     struct weir_kcp_conn     64 bytes: a session while nothing happens; it is the table's entry
 *       struct awake           what it needs while something is queued, in flight or held
 *         struct slot          a segment in flight, in a ring by sn
 *         struct message       queued or unacknowledged, with its copied bytes behind it
 *         struct held          a received segment that waits; a ring by sn names them
 *
 * Everything that KCP measures in milliseconds is counted in them here too: ep->ms. Timers and the
 * clock are in nanoseconds.
 */
#ifndef WEIR_KCP_INTERNAL_H
#define WEIR_KCP_INTERNAL_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/prng.h"
#include "core/cc.h"
#include "core/pacer.h"
#include "core/rtt.h"
#include "core/table.h"
#include "core/wheel.h"
#include "kcp/crypt.h"
#include "kcp/fec.h"
#include "mem/pool.h"
#include "mem/store.h"
#include "weir/kcp.h"
#include "wire/kcp.h"

enum {
    KEY_WORDS = 6,
    ADDRESS_WORDS = 5,
    LOCALS_MAX = 64, /* local addresses told apart; those beyond are left to the driver */
    RTO_MAX_MS = 60000,
    RTO_FIRST_MS = 200,
    PROBE_FIRST_MS = 5000, /* window probes: then half as much longer each time */
    PROBE_MAX_MS = 120000,
    FASTLIMIT = 5, /* default of fast_limit */
    SSTHRESH_MIN = 2,
    PEER_WINDOW_FIRST = 128, /* until the peer has said */
    CALENDAR_SLOTS = 256,
    INLINE_ACKS = 8,
    REQUEST_SEGMENTS_MAX = 16, /* that a request not yet accepted may make us hold */
    SKIPS_MAX = 64,            /* segments passed over for one ACK batch */
    SLOTS_MIN = 16,
    SPANS_MAX = 256,
    HELD_RESERVE = 256 /* for segments in order */
};

/* Ends of lists linked by 16-bit and by 32-bit index. */
#define SLOT_NONE UINT16_MAX
#define HELD_NONE UINT32_MAX

enum {
    LIST_OUT = UINT32_MAX,
    LIST_END = UINT32_MAX - 1
};

enum conn_state {
    STATE_FREE = 0,
    STATE_REQUESTED,  /* a stranger's; the application has not yet answered */
    STATE_CONNECTING, /* nothing heard yet */
    STATE_OPEN,
    STATE_CLOSING, /* ends once all is acknowledged */
    STATE_ENDED,   /* CLOSED is pending */
    STATE_GONE     /* given back as soon as it is off the list of events */
};

/* Bits of weir_kcp_conn.pending: events not yet pulled. RELEASE: held messages may be due. */
enum {
    PENDING_REQUEST = 1,
    PENDING_OPENED = 2,
    PENDING_MOVED = 4,
    PENDING_WRITABLE = 8,
    PENDING_RELEASE = 16,
    PENDING_CLOSED = 32
};

/* Is the peer's largest window all that it has? It may never have said so with nothing unread. */
enum window_asked {
    WINDOW_NOT_ASKED,
    WINDOW_ASKED,   /* a send waits for the answer */
    WINDOW_ANSWERED /* so the next send knows */
};

/* What is kept of an idle session. Its key is conv and the peer's address, in the order that the
 * address policy asks for: strict and roam conv first (roam: alone), replace the address first
 * (alone). */
struct weir_kcp_conn {
    uint32_t key[KEY_WORDS];
    struct weir_kcp *endpoint;
    void *user;
    uint32_t link; /* awake: index of struct awake; dormant: of the next on the list of events */
    uint32_t snd_nxt, rcv_nxt; /* while dormant */
    uint32_t heard_ms;         /* when a valid datagram came last, or the session began */
    uint16_t srtt_ms, rttval_ms;
    uint8_t window; /* the peer's largest, see conn.c; ended: enum weir_kcp_close_cause */
    uint8_t local;  /* in endpoint.locals */
    uint8_t state : 3;
    bool is_awake : 1;
    bool is_paused : 1;
    bool is_listed : 1; /* on the list of events */
    bool is_writable_wanted : 1;
    uint8_t pending;
};

_Static_assert(sizeof(struct weir_kcp_conn) == 64, "a dormant session is one cache line");

/* Outgoing bytes are bump-allocated from pages of the send store; a page goes back when the last
 * message in it is done. */
struct page {
    uint32_t size_bytes, used_bytes;
    uint32_t live;   /* messages in it that are not done */
    bool is_current; /* some session still allocates from it */
};

/* Queued or unacknowledged. Copied payload follows the struct in its page. */
struct message {
    struct message *next; /* on the queue, or the endpoint's done list */
    struct page *page;
    const uint8_t *data;
    struct weir_parcel *parcel; /* NULL for copies */
    struct weir_kcp_conn *conn;
    uint32_t length, room; /* room: bytes behind the struct */
    uint32_t cut;          /* bytes that have become segments */
    uint16_t in_flight;    /* segments not yet acknowledged */
    uint16_t mss;
    uint16_t fragments; /* not yet cut; of a stream 0 */
    bool is_queued;     /* not all of it is cut */
    uint8_t outcome;    /* enum weir_outcome, when done */
};

enum flight_list {
    LIST_FRESH,  /* sent once: in order of sn and of ts */
    LIST_RESENT, /* in order of ts */
    LIST_DUE,    /* passed over often enough: resent with the next flush */
    LIST_COUNT,
    LIST_NONE = LIST_COUNT
};

/* A segment in flight. Linked by index into the calendar of timeouts and into one list at most. */
struct slot {
    const uint8_t *data;
    struct message *message; /* NULL: acknowledged */
    uint32_t ts;             /* ms when sent last */
    uint32_t due_tick;       /* of the calendar */
    uint16_t length, rto_ms;
    uint16_t day_next, day_previous; /* previous of the first: the last */
    uint16_t next, previous;
    uint8_t frg, xmit, fastack;
    uint8_t list;
    uint8_t day; /* of the calendar, where it is */
};

_Static_assert(sizeof(struct slot) == 48, "some 64 bytes a segment in flight");

/* One block of the window store: a calendar of timeouts by tick and the ring of segments. The
 * calendar is a ring of days, each a list in order. What is due beyond the last day waits there and
 * is placed again. */
struct flight {
    uint64_t used[CALENDAR_SLOTS / 64]; /* a bit for each day that is not empty */
    uint16_t first_of_day[CALENDAR_SLOTS];
    struct weir_cc_packet *cc; /* one a slot, behind slots; NULL without a controller */
    uint32_t mask;
    uint32_t size_bytes;
    struct slot slots[];
};

struct slot_list {
    uint16_t first, last;
};

struct ack {
    uint32_t sn, ts;
};

/* A received segment that waits for earlier ones, for the rest of its message, or for accept and
 * resume. */
struct held {
    struct weir_hold hold;
    uint32_t next; /* of those that the last event borrowed */
    uint8_t frg;
};

/* In place of KCP's own congestion window. */
struct paced {
    struct weir_cc cc;
    struct weir_pacer pacer;
    struct weir_rtt rtt;
    uint64_t in_flight_bytes;
};

struct awake {
    struct weir_kcp_conn *conn; /* NULL: over, and only on a list still */
    struct weir_link link;      /* endpoint.awake, least recently woken first */
    uint32_t index;             /* of its pool; also the timer's */
    uint32_t event_next, ready_next, starved_next;

    /* timers.c */
    weir_nsec flushed_at, timer_at;

    /* send.c */
    struct message *queue_first, *queue_last;
    struct page *page;
    uint32_t queued;  /* segments that the queue will be cut into */
    uint32_t waiting; /* messages queued or in flight */

    /* flight.c */
    struct flight *flight; /* NULL: nothing in flight since it woke */
    struct paced *paced;
    uint32_t snd_una, snd_nxt;
    uint32_t arrived; /* segments behind snd_una that are acknowledged */
    uint32_t tick;    /* the calendar is done up to here */
    struct slot_list lists[LIST_COUNT];
    uint32_t srtt_ms, rttval_ms, rto_ms;
    uint32_t peer_window, peer_window_max; /* max 0: it has not said yet */
    uint64_t push_head; /* first word of the last PUSH, while what it says holds; 0: none */
    uint32_t cwnd, ssthresh, cwnd_bytes;
    uint32_t probe_wait_ms, probe_at_ms;
    enum window_asked window_asked;

    /* receive.c */
    uint32_t *ring; /* of held indices, by sn */
    uint32_t ring_mask;
    uint32_t held_count;
    uint32_t take_nxt;  /* next to be handed out; [take_nxt, rcv_nxt) is in order and held */
    uint32_t whole_nxt; /* messages below are complete */
    uint32_t rcv_nxt;
    uint32_t ack_count, ack_max, ack_sent;
    struct ack *acks;
    struct ack inline_acks[INLINE_ACKS];

    /* layers.c */
    struct weir_kcp_fec_encoder *encoder; /* NULL: not needed yet */
    struct weir_kcp_fec_decoder *decoder;
    uint16_t parity_due; /* packets of the encoder's that are to be sent next */

    bool is_ask_wanted, is_tell_wanted; /* WASK, WINS */
    bool is_flush_planned;              /* with the next interval, or at once */
    bool is_changed, is_lost;           /* resent in this flush: fast, for a timeout */
    bool is_dead;                       /* of a lenient endpoint: dead_link was reached */

    uint64_t segments_sent, resent_fast, resent_timeout;
    uint64_t segments_received, segments_repeated;
};

_Static_assert(sizeof(struct awake) <= 512, "an awake and empty session is half a kilobyte");

/* What a session's FEC leaves behind when it sleeps; one a place of the table. */
struct fec_memory {
    uint32_t seqid; /* of its next packet */
    struct weir_kcp_fec_groups groups;
};

/* A FIFO linked by index: of sessions (events) or of awake ones (ready, starved). */
struct fifo {
    uint32_t first, last;
};

/* Where event() is in the batch given to input(). */
struct cursor {
    struct weir_packet *packets;
    uint32_t count, index;
    struct weir_kcp_conn *conn; /* of the datagram being read, NULL: between datagrams */
    struct awake *awake;
    const uint8_t *at, *end;
    uint32_t conv;

    /* layers.c: whose decoder is to be fed, and asked for lost packets; it stays awake so long */
    struct weir_kcp_conn *fec_conn;
    const struct weir_path *fec_path;
    struct weir_span fec_packet; /* data NULL: it has been fed */
    bool is_recovered;           /* the datagram was lost: what it says of times is stale */

    /* the look-up before: most datagrams of a batch are of one session */
    const struct weir_path *path_last;
    struct weir_kcp_conn *conn_last;

    /* of the ACKs in this datagram */
    uint32_t una_before, ack_sn, ack_ts;
    bool has_ack;
    bool is_ack_new;      /* an ACK is to be sent for what was in it */
    bool is_heard;        /* it has a valid segment */
    bool is_newest_clean; /* sent once only */
    uint64_t acked_bytes;
    struct weir_cc_packet newest;
};

struct weir_kcp {
    struct weir_kcp_config config;
    struct weir_kcp_stats stats;
    weir_nsec now; /* of the latest call that had one */
    uint64_t ms;   /* the same in milliseconds */
    weir_nsec interval;
    uint32_t mss, rto_min_ms, send_queue_max, ack_max;
    uint8_t conv_at;    /* place of conv in a key */
    uint8_t tick_shift; /* a tick of the calendars: 2^this ms, at most a quarter of the interval */
    uint8_t fast_limit; /* fast resends only while a segment was sent no more often */
    bool is_lenient;    /* sessions outlive what ends them elsewhere, see reference.h */
    uint32_t kept;      /* segments handed out that take up the window still; only if lenient */
    struct weir_prng_secret secret;

    struct weir_table table;
    struct weir_wheel *wheel;
    struct weir_pool awakes, paceds, helds;
    struct weir_store *send_store, *window_store;
    struct weir_list awake;

    struct fifo events, ready, starved;
    struct message *done_first, *done_last; /* parcels whose event waits */
    uint32_t borrowed;                      /* held segments that the last event borrowed */

    uint64_t sweep_place;
    weir_nsec sweep_at, sweep_period;

    struct weir_kcp_crypt *crypt;  /* NULL: no crypto header */
    struct weir_kcp_fec *fec;      /* NULL: no FEC */
    struct fec_memory *fec_memory; /* by index of the session */
    uint8_t *fec_codecs;           /* by index of its awake part: encoder and decoder */
    uint32_t encoder_bytes, decoder_bytes;
    uint16_t front_bytes, tail_bytes; /* that the layers put around the segments */
    bool is_fec_sending;

    struct weir_addr locals[LOCALS_MAX];
    uint32_t locals_count;
    struct cursor cursor;
    struct weir_span spans[SPANS_MAX];
};

/* --- memory.c: what follows from the tuning. */
void weir_kcp_apply_tuning(struct weir_kcp *ep);
bool weir_kcp_tuning_is_valid(const struct weir_kcp_tuning *tuning);

/* --- conn.c: records, awake parts, lists. */
struct weir_kcp_conn *weir_kcp_conn_at(const struct weir_kcp *ep, uint32_t index);
uint32_t weir_kcp_conn_index(const struct weir_kcp_conn *conn);
void weir_kcp_count_drop(struct weir_kcp *ep, enum weir_kcp_drop reason);
/* false: the address cannot be packed. */
bool weir_kcp_key_make(const struct weir_kcp *ep, const struct weir_addr *remote, uint32_t conv,
                       uint32_t key[KEY_WORDS]);
struct weir_addr weir_kcp_conn_remote(const struct weir_kcp_conn *conn);
uint8_t weir_kcp_local_index(struct weir_kcp *ep, const struct weir_addr *local);
/* NULL: the table is full. The key must not be in it. */
struct weir_kcp_conn *weir_kcp_conn_open(struct weir_kcp *ep, const uint32_t key[KEY_WORDS],
                                         enum conn_state state);
/* Forgets it. The entry stays until it is off the list of events. */
void weir_kcp_conn_free(struct weir_kcp_conn *conn);
/* Its control block, putting a quiet session to sleep if need be; NULL: all are busy. */
struct awake *weir_kcp_conn_wake(struct weir_kcp_conn *conn);
bool weir_kcp_conn_is_quiet(const struct weir_kcp_conn *conn);
void weir_kcp_conn_sleep(struct weir_kcp_conn *conn);
void weir_kcp_conn_pend(struct weir_kcp_conn *conn, unsigned bits);
struct weir_kcp_conn *weir_kcp_events_take(struct weir_kcp *ep);
void weir_kcp_ready(struct weir_kcp *ep, struct awake *awake);
struct awake *weir_kcp_ready_take(struct weir_kcp *ep);
/* WRITABLE once memory has been given back. */
void weir_kcp_starve(struct weir_kcp_conn *conn);
void weir_kcp_wake_starved(struct weir_kcp *ep);
/* Throws away what is queued, in flight or held; CLOSED follows. */
void weir_kcp_conn_end(struct weir_kcp_conn *conn, enum weir_kcp_close_cause cause);
/* A closing session ends once nothing is left to do. */
void weir_kcp_conn_end_if_done(struct awake *awake);

/* --- input.c. Goes on to the next datagram; false: that was the last. */
bool weir_kcp_input_next(struct weir_kcp *ep);
/* Reads on in the datagram that cursor.conn is of; true: event is to be handed out. */
bool weir_kcp_input_continue(struct weir_kcp *ep, struct weir_kcp_event *event);
void weir_kcp_set_now(struct weir_kcp *ep, weir_nsec now);

/* --- receive.c */
/* true: event holds what is to be handed out. */
bool weir_kcp_receive_push(struct awake *awake, const struct weir_kcp_segment *segment,
                           struct weir_kcp_event *event);
/* The next complete message that is held. */
bool weir_kcp_release_held(struct weir_kcp_conn *conn, struct weir_kcp_event *event);
/* Gives back what the last event borrowed. */
void weir_kcp_release_borrowed(struct weir_kcp *ep);
void weir_kcp_receive_drop_all(struct awake *awake);
/* One of endpoint.kept is done with. true: the window was closed. */
bool weir_kcp_receive_read(struct awake *awake);
/* Free slots of the receive queue. */
uint16_t weir_kcp_receive_window(const struct awake *awake);
void weir_kcp_acks_give(struct awake *awake);

/* --- send.c */
void weir_kcp_message_settle(struct weir_kcp *ep, struct awake *awake, struct message *message,
                             enum weir_outcome outcome);
void weir_kcp_message_free(struct weir_kcp *ep, struct message *message);
void weir_kcp_send_drop_all(struct awake *awake);
void weir_kcp_send_close_page(struct awake *awake);
/* WRITABLE when half of the queue is free. */
void weir_kcp_send_tell_writable(struct awake *awake);

/* --- flight.c */
/* A larger ring; false: no memory, or it is as large as it may be. */
bool weir_kcp_flight_grow(struct awake *awake);
void weir_kcp_flight_on_resent(struct awake *awake, struct slot *slot, uint32_t wait_ms);
/* The next segment whose timeout has passed, which stays where it is; NULL: none. */
struct slot *weir_kcp_flight_expired(struct awake *awake);
/* The first to be resent fast, which stays where it is; NULL: none. */
struct slot *weir_kcp_flight_due(struct awake *awake, bool is_early);
uint32_t weir_kcp_flight_sn(const struct awake *awake, const struct slot *slot);
weir_nsec weir_kcp_flight_next(const struct awake *awake);
void weir_kcp_flight_on_una(struct awake *awake, uint32_t una);
/* sn is in [snd_una, snd_nxt). */
void weir_kcp_flight_on_ack(struct awake *awake, uint32_t sn);
/* At the end of a datagram with ACKs: counts what they pass over. */
void weir_kcp_flight_on_acks(struct awake *awake, uint32_t sn, uint32_t ts);
void weir_kcp_flight_drop_all(struct awake *awake);

/* --- congestion.c */
uint32_t weir_kcp_send_window(const struct awake *awake);
void weir_kcp_congestion_init(struct awake *awake);
void weir_kcp_congestion_on_una(struct awake *awake);
void weir_kcp_congestion_on_flushed(struct awake *awake);
/* With a controller: may bytes more leave now? */
bool weir_kcp_paced_may_send(struct awake *awake, uint32_t bytes);
void weir_kcp_paced_on_sent(struct awake *awake, const struct slot *slot);
void weir_kcp_paced_on_acked(struct awake *awake, const struct slot *slot);
void weir_kcp_paced_on_lost(struct awake *awake, const struct slot *slot);
void weir_kcp_paced_on_datagram(struct awake *awake);
/* When the pacer lets the next datagram go; WEIR_NEVER: only after an ACK. */
weir_nsec weir_kcp_paced_next(const struct awake *awake);

/* --- layers.c: the crypto header and FEC. */
/* What config asks of fec.h; false: it is outside its bounds. */
bool weir_kcp_layers_fec_config(const struct weir_kcp_config *config,
                                struct weir_kcp_fec_config *fec);
/* crypt_mem, fec_mem: for the two layers, NULL where there is none. */
enum weir_status weir_kcp_layers_init(struct weir_kcp *ep, void *crypt_mem, void *fec_mem);
/* Opens the crypto header in place; false: it is dropped and counted. */
bool weir_kcp_layers_open(struct weir_kcp *ep, const struct weir_packet *packet,
                          struct weir_span *datagram);
/* Seals all datagrams of tx from transmit first on. */
void weir_kcp_layers_seal(struct weir_kcp *ep, const struct weir_tx *tx, uint32_t first);
/* What to read of a datagram with FEC header, whose session is then remembered with
 * weir_kcp_layers_feed; false: nothing now. */
bool weir_kcp_layers_peel(struct weir_kcp *ep, struct weir_span *datagram,
                          const struct weir_path *path);
/* Once what is in packet has been read, conn's decoder is to have it. */
void weir_kcp_layers_feed(struct weir_kcp *ep, struct weir_kcp_conn *conn, struct weir_span packet,
                          const struct weir_path *path);
/* Feeds what is to be fed. The next datagram that it has brought back; false: none. */
bool weir_kcp_layers_recovered(struct weir_kcp *ep, struct weir_span *datagram);
struct weir_kcp_fec_encoder *weir_kcp_layers_encoder(struct awake *awake);
/* The session begins; goes to sleep or ends. */
void weir_kcp_layers_on_opened(const struct weir_kcp_conn *conn);
void weir_kcp_layers_on_released(struct awake *awake);

/* --- timers.c */
void weir_kcp_set_timer(struct awake *awake);
/* Something is to be sent: with the next interval. */
void weir_kcp_flush_soon(struct awake *awake);
void weir_kcp_sweep_plan(struct weir_kcp *ep);

/* The control block of an awake session. */
static inline struct awake *weir_kcp_awake_of(const struct weir_kcp_conn *conn)
{
    WEIR_ASSERT(conn->is_awake);
    return (struct awake *)weir_pool_at(&conn->endpoint->awakes, conn->link);
}

/* Does something wait for what the peer says of its window? */
static inline bool weir_kcp_is_probing(const struct awake *awake)
{
    return awake->window_asked == WINDOW_ASKED ||
           (awake->peer_window == 0 && awake->queue_first != NULL);
}

static inline int32_t weir_kcp_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

#endif
