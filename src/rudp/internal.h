/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the state of the RUDP engine, and which file owns which part of it.
 *
 * Reading order: this file, endpoint.c (connections, lists, timers), handshake.c, input.c,
 * receive.c (messages in), send.c (messages out), output.c (packets out), loss.c, path.c.
 *
 *   struct weir_rudp            endpoint: table, wheel, pools, lists
 *     struct weir_rudp_conn     what a connection is while nothing happens (dormant)
 *       struct awake            what it needs while something is queued, in flight or held
 *         struct packet         sent, not yet acknowledged or lost
 *           struct chunk        the part of a message that this packet carries
 *         struct message        queued or unacknowledged, with its copied bytes behind it
 *         struct assembly       a fragmented message coming in
 *         struct held           a received message that waits for earlier ones
 */
#ifndef WEIR_RUDP_INTERNAL_H
#define WEIR_RUDP_INTERNAL_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/prng.h"
#include "core/cc.h"
#include "core/pacer.h"
#include "core/ranges.h"
#include "core/reassembly.h"
#include "core/rtt.h"
#include "core/table.h"
#include "core/wheel.h"
#include "mem/pool.h"
#include "mem/store.h"
#include "weir/rudp.h"
#include "wire/rudp.h"

enum {
    /* Numbers start shortly before the 32-bit wrap, so that every connection exercises it. */
    FIRST_NUMBER = 0xfffffe00,
    MESSAGE_COST_BYTES = 64, /* what a message counts in the window beyond its bytes */
    PRIORITIES = 4,
    ACK_RANGES_MAX = 48,  /* packet-number ranges remembered, and reported at most */
    CHUNKS_RESERVED = 64, /* beyond fragments_max, for splitting what is sent again */
    GAPS_MAX = 4096,      /* ranges of messages or fragments received out of order */
    STATELESS_MAX = 256,  /* stateless replies waiting for output */
    COOKIE_BYTES = 16,
    PROBES_MAX = 2,
    SET_BACK_MAX = INT32_MAX, /* the wire has no more */
    SKIP_OFFSET = UINT32_MAX, /* of the chunk that stands for a message given up */
    MIN_ROOM_BYTES = 48       /* no message frame is begun in less room than this */
};

static const weir_nsec weir_rudp_granularity = WEIR_MSEC;
static const weir_nsec weir_rudp_initial_rtt = 333 * WEIR_MSEC; /* RFC 9002 6.2.2 */
static const weir_nsec weir_rudp_cookie_lifetime = 10 * WEIR_SEC;

enum conn_state {
    STATE_FREE = 0,
    STATE_CONNECTING, /* client: INIT on its way */
    STATE_REQUESTED,  /* server: the application has not yet answered */
    STATE_ACCEPTED,   /* server: ACCEPT on its way, nothing heard since */
    STATE_REFUSING,   /* server: REFUSE goes out, then nothing is left */
    STATE_OPEN,
    STATE_CLOSING, /* CLOSE on its way */
    STATE_DRAINING /* the peer closed; answers repeated CLOSEs for a while */
};

/* Bits of weir_rudp_conn.pending: events not yet pulled. */
enum {
    PENDING_REQUEST = 1,
    PENDING_OPENED = 2,
    PENDING_MOVED = 4,
    PENDING_WRITABLE = 8,
    PENDING_CLOSED = 16
};

/* A run of message bytes that travels in one packet. On one list at a time: in a packet record, or
 * among those to be sent again. */
struct chunk {
    struct chunk *next;
    struct message *message;
    uint32_t offset, length;
};

/* Outgoing bytes are bump-allocated from pages of the send store; a page goes back when the last
 * message in it is done. */
struct page {
    uint32_t size_bytes, used_bytes;
    uint32_t live;   /* messages in it that are not done */
    bool is_current; /* some connection still allocates from it */
};

/* Queued or unacknowledged. Copied payload follows the struct in its page. */
struct message {
    struct message *next; /* waiting queue or endpoint's done list */
    struct page *page;
    const uint8_t *data;
    struct weir_parcel *parcel; /* NULL for copies */
    struct weir_rudp_conn *conn;
    weir_nsec deadline;
    uint64_t mid, dseq;
    uint32_t set_back, set_dback;
    uint32_t length;
    uint32_t room;       /* bytes behind the struct */
    uint32_t sent_bytes; /* offsets below this have left at least once */
    uint32_t chunks;     /* in packets or waiting to be sent again */
    uint8_t channel;
    uint8_t guarantee;  /* WEIR_RUDP_GUARANTEE_SKIP once given up */
    uint8_t outcome;    /* enum weir_outcome, when done */
    bool is_started;    /* its first bytes have left; the window is charged */
    bool is_queued;     /* on a waiting queue */
    struct chunk first; /* most messages travel in one chunk */
};

struct packet {
    struct packet *next; /* towards higher numbers */
    uint64_t number;
    struct chunk *chunks;
    struct weir_cc_packet cc;
    uint64_t ack_next; /* one past the largest number that its ACK reported; 0: it has none */
    bool is_probe_mtu;
    bool is_lost; /* kept for a while to notice that it was not */
    bool has_credit;
    bool has_close;
};

/* Packets below before carried no ACK that reports anything from number on. */
struct late {
    uint64_t number, before;
};

/* A fragmented message coming in; its bytes are in the assembly store. */
struct assembly {
    struct assembly *next;
    struct weir_rudp_conn *conn;
    struct weir_link loose; /* endpoint.loose, oldest first; of a delivery message: unused */
    uint64_t number;        /* dseq of a delivery message, mid of another */
    uint32_t length, gaps_max;
    uint8_t channel, guarantee;
    struct weir_reassembly reassembly;
    struct weir_range inline_ranges[4];
};

/* A received message that waits for earlier delivery messages. Sorted by set in its channel. */
struct held {
    struct held *next, *previous;
    uint64_t sid, barrier; /* first message number of its set; delivery messages before the set */
    struct weir_hold hold; /* bytes in the slide, or */
    struct assembly *assembly; /* assembled bytes */
    uint32_t length;
    uint8_t guarantee;
};

struct channel {
    uint64_t send_mid, send_dseq; /* of the next message */
    uint32_t set_back, set_dback; /* members of the open set so far */
    bool is_set_open;
    uint8_t waiting_queue;   /* lowest queue in which an ordered message of the channel waits */
    uint32_t waiting_count;  /* ordered messages of the channel on the queues */
    uint64_t receive_next;   /* delivery messages below this have all been received */
    uint64_t receive_sid;    /* first message number of the latest set handed out */
    uint64_t mid_latest;     /* highest message number seen: widens 32-bit ones */
    uint64_t mid_top;        /* one past the highest order message number seen */
    uint64_t mid_window[2];  /* bit i of the 128: mid_top - 1 - i was seen */
    struct weir_range *gaps; /* delivery messages received above receive_next, or NULL */
    uint32_t gaps_count, gaps_max;
    struct held *held_first, *held_last, *held_finger;
};

struct queue {
    struct message *first, *last;
};

/* Probing for a larger datagram: RFC 8899. */
struct mtu_search {
    uint16_t low, high;   /* known to pass; not tried or known not to pass */
    uint16_t probe_bytes; /* 0: none wanted now */
    uint8_t failures;
    bool is_in_flight, is_top_tried;
    bool is_due;     /* a search begins with the next data */
    weir_nsec again; /* when to search anew */
};

struct awake {
    struct weir_rudp_conn *conn;
    struct weir_link link; /* endpoint.awake */
    struct weir_rtt rtt;
    struct weir_cc cc;
    struct weir_pacer pacer;

    /* sending: send.c, output.c */
    struct queue queues[PRIORITIES];
    struct chunk *again_first, *again_last; /* lost, to be sent before anything new */
    struct page *page;
    struct message *writing; /* reserve/commit/write */
    uint32_t reserved_bytes;
    uint32_t messages;       /* queued or unacknowledged */
    uint64_t queued_bytes;   /* copies and nodes, until done */
    uint64_t waiting_bytes;  /* on the queues, not yet sent */
    weir_nsec deadline_next; /* earliest deadline of any message here */
    weir_nsec flush_at;
    uint32_t none_next; /* number of the next message without a guarantee */

    /* loss.c */
    struct packet *sent_first, *sent_last;
    uint64_t in_flight_bytes;
    uint64_t largest_acked; /* one past; 0: none yet */
    weir_nsec loss_time, last_eliciting, probing_since;
    uint32_t in_flight_packets, lost_kept;
    uint32_t packet_threshold;
    uint64_t adapted_at;    /* packet number after which the time threshold may adapt again */
    uint8_t time_threshold; /* quarters of a round trip added to the time threshold */
    uint8_t probe_count, probes_wanted;
    uint64_t ce_acked;    /* highest CE count the peer has reported */
    uint64_t path_number; /* packets below this were sent on a path that was left */

    /* receiving: receive.c, input.c */
    uint64_t duplicate_floor; /* packet numbers below this are not new */
    uint64_t ack_floor;       /* the peer knows of all that was received below this */
    struct late late[2];      /* settled, growing */
    struct weir_ranges received;
    struct weir_range received_items[ACK_RANGES_MAX];
    weir_nsec largest_received_at, ack_at;
    uint64_t ce_received;
    uint32_t ack_pending;
    bool is_ack_now;
    struct assembly *assemblies;
    uint64_t loose_bytes; /* loose: of order and none messages */
    uint32_t held_count, assemblies_count, loose_assemblies;
    uint64_t held_bytes;
    bool is_credit_wanted, is_ping_wanted, is_close_wanted, is_ecn_off;

    /* path.c */
    struct mtu_search mtu;
    struct weir_path candidate;
    uint64_t challenge, response;
    weir_nsec challenge_at;
    uint8_t challenges_left;
    bool is_candidate_set, is_challenge_wanted, is_response_wanted;

    /* handshake.c and closing */
    uint8_t cookie[WEIR_RUDP_COOKIE_BYTES_MAX];
    uint8_t cookie_bytes;
    uint8_t attempts, retries;
    bool is_handshake_wanted;
    weir_nsec attempt_at, deadline;
    enum weir_rudp_close_cause cause;
    uint32_t close_code;
    char close_text[WEIR_RUDP_TEXT_BYTES_MAX + 1];
    uint8_t close_tries;

    uint64_t packets_lost, packets_spurious, bytes_resent, messages_expired;
};

/* What is kept of an idle connection. */
struct weir_rudp_conn {
    struct weir_rudp *endpoint;
    uint64_t local_id, remote_id;
    struct weir_path path;
    struct awake *awake; /* NULL: dormant */
    void *user;
    struct channel *channels;              /* 1 and up, from the pool once one is used */
    uint64_t next_number;                  /* of the next packet */
    uint64_t largest_received;             /* one past the highest packet number; 0: none */
    uint64_t window_charged, window_limit; /* what we sent, may send */
    uint64_t receive_charged, receive_consumed, receive_limit;
    weir_nsec last_received, last_sent;
    uint64_t reset_token;
    uint64_t packets_sent, packets_received, bytes_sent, bytes_received;
    uint64_t messages_sent, messages_received;
    weir_nsec rtt_smoothed, rtt_variance; /* kept from the last time awake; 0: none */
    uint32_t peer_message_bytes_max;
    uint32_t peer_ack_delay_us;
    uint32_t idle_timeout_ms;
    uint32_t mtu_again_s; /* no search for a larger datagram before this second */
    uint32_t ready_next, event_next, release_next, starved_next; /* fifo links; LIST_OUT: not on */
    uint16_t mtu_bytes;
    uint16_t peer_channels, peer_datagram_bytes_max;
    uint8_t state;
    uint8_t pending;   /* PENDING_ bits */
    uint8_t end_cause; /* enum weir_rudp_close_cause, once CLOSED is pending */
    bool is_server, is_paused, is_writable_wanted, is_close_asked;
    bool is_closed_told; /* CLOSED was pulled: the application has forgotten the handle */
    struct channel channel0;
};

enum {
    LIST_OUT = UINT32_MAX,
    LIST_END = UINT32_MAX - 1
};

/* A FIFO of connections, linked by index. */
struct conn_fifo {
    uint32_t first, last;
};

struct table_entry {
    uint64_t local_id;
    uint32_t index;
    uint32_t unused;
};

/* A reply that needs no connection. */
struct stateless {
    struct weir_path path;
    uint64_t destination, value; /* reset: token; retry: cookie, 2 words */
    uint64_t value2;
    uint8_t kind;
};

/* Where event() is in the batch given to input(). */
struct cursor {
    struct weir_packet *packets;
    uint32_t count, index;
    struct weir_rudp_conn *conn; /* of the packet being read, NULL: between packets */
    const uint8_t *at, *end;
    uint64_t number;
    struct weir_rudp_message_ids ids;
    bool is_eliciting, is_refused, has_ack;
    uint8_t ecn;
};

struct weir_rudp {
    struct weir_rudp_config config;
    struct weir_rudp_stats stats;
    weir_nsec now; /* of the latest call that had one */
    struct weir_prng prng;
    struct weir_prng_secret secret;
    struct weir_hash_key cookie_key, id_key, reset_key;

    struct weir_table table;
    struct weir_wheel *wheel;
    struct weir_pool conns, awakes, channel_blocks, packets, chunks, helds, assemblies;
    struct weir_store *send_store, *assembly_store;
    struct weir_list awake; /* woken, or passed over as busy, longest ago first */
    struct weir_list loose; /* assemblies of messages that may be lost, oldest first */

    struct conn_fifo ready;                 /* something to send or a timer to set */
    struct conn_fifo events;                /* pending bits set */
    struct conn_fifo release;               /* held messages may be handed out */
    struct conn_fifo starved;               /* wait for send memory */
    struct message *done_first, *done_last; /* parcels whose event waits */
    struct assembly *current_assembly;      /* whose bytes the last event borrowed */
    struct held *current_held;
    uint64_t held_bytes;
    struct stateless stateless[STATELESS_MAX];
    uint32_t stateless_count;
    struct cursor cursor;
    struct weir_rudp_ack_frame ack; /* scratch for decoding */
    char event_text[WEIR_RUDP_TEXT_BYTES_MAX + 1];
};

/* --- endpoint.c */
struct weir_rudp_conn *weir_rudp_conn_at(const struct weir_rudp *ep, uint32_t index);
uint32_t weir_rudp_conn_index(const struct weir_rudp_conn *conn);
struct weir_rudp_conn *weir_rudp_conn_open(struct weir_rudp *ep, uint64_t local_id);
struct weir_rudp_conn *weir_rudp_conn_find(struct weir_rudp *ep, uint64_t local_id);
void weir_rudp_conn_free(struct weir_rudp_conn *conn);
/* Gives the connection its awake part, putting a quiet one to sleep if need be. */
bool weir_rudp_conn_wake(struct weir_rudp_conn *conn);
void weir_rudp_conn_sleep(struct weir_rudp_conn *conn);
bool weir_rudp_conn_is_quiet(const struct weir_rudp_conn *conn);
/* Something changed: output will look at it and set its timer. */
void weir_rudp_conn_ready(struct weir_rudp_conn *conn);
void weir_rudp_conn_pend(struct weir_rudp_conn *conn, unsigned bits);
void weir_rudp_conn_pend_release(struct weir_rudp_conn *conn);
/* WRITABLE once memory has been given back. */
void weir_rudp_conn_starve(struct weir_rudp_conn *conn);
void weir_rudp_wake_starved(struct weir_rudp *ep);
struct weir_rudp_conn *weir_rudp_fifo_take(struct weir_rudp *ep, struct conn_fifo *fifo);
/* NULL: no such channel on this connection, or no memory for it. */
struct channel *weir_rudp_conn_channel(struct weir_rudp_conn *conn, uint8_t number);
uint32_t weir_rudp_conn_channels(const struct weir_rudp_conn *conn);
weir_nsec weir_rudp_conn_pto(const struct weir_rudp_conn *conn);
/* Ends it without a word to the peer: CLOSED follows. */
void weir_rudp_conn_end(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                        uint32_t code, struct weir_span text);
/* What CLOSED will say and the peer be told; text is made printable. */
void weir_rudp_conn_set_reason(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                               uint32_t code, struct weir_span text);
/* The peer broke the protocol: tells it why and ends. */
void weir_rudp_conn_break(struct weir_rudp_conn *conn, uint32_t code, const char *text);
/* Begins to tell the peer; CLOSED follows once it has acknowledged or time is up. */
void weir_rudp_conn_close(struct weir_rudp_conn *conn, enum weir_rudp_close_cause cause,
                          uint32_t code, struct weir_span text);
/* From here on only CLOSE is sent, until it is acknowledged or time is up. */
void weir_rudp_conn_start_closing(struct weir_rudp_conn *conn);
void weir_rudp_count_drop(struct weir_rudp *ep, enum weir_rudp_drop reason);

/* --- timers.c */
void weir_rudp_conn_set_timer(struct weir_rudp_conn *conn);

/* --- handshake.c */
void weir_rudp_handshake_secrets(struct weir_rudp *ep, const uint8_t seed[32]);
uint64_t weir_rudp_local_id_for_client(struct weir_rudp *ep);
void weir_rudp_input_init(struct weir_rudp *ep, const struct weir_packet *packet,
                          struct weir_span bytes);
void weir_rudp_input_to_client(struct weir_rudp *ep, const struct weir_packet *packet,
                               struct weir_span bytes);
void weir_rudp_send_reset(struct weir_rudp *ep, const struct weir_packet *packet,
                          uint64_t local_id);
size_t weir_rudp_write_handshake(struct weir_rudp_conn *conn, uint8_t *p);
size_t weir_rudp_write_stateless(struct weir_rudp *ep, const struct stateless *out, uint8_t *p);
void weir_rudp_handshake_timer(struct weir_rudp_conn *conn, weir_nsec now);

/* --- receive.c */
enum received {
    RECEIVED_NOTHING,
    RECEIVED_EVENT,
    RECEIVED_REFUSED,
    RECEIVED_BROKEN
};
enum received weir_rudp_receive_message(struct weir_rudp_conn *conn,
                                        const struct weir_rudp_message_frame *frame,
                                        struct weir_rudp_event *event);
/* Hands out the next held message whose turn has come. */
bool weir_rudp_release_held(struct weir_rudp_conn *conn, struct weir_rudp_event *event);
void weir_rudp_receive_drop_all(struct weir_rudp_conn *conn);
void weir_rudp_release_current(struct weir_rudp *ep);
/* Is there enough to grant? */
bool weir_rudp_credit_is_due(const struct weir_rudp_conn *conn);
void weir_rudp_receive_credit(struct weir_rudp_conn *conn);

/* --- gaps.c */
bool weir_rudp_channel_has_received(const struct channel *channel, uint64_t dseq);
bool weir_rudp_channel_mark_received(struct weir_rudp *ep, struct channel *channel, uint64_t dseq);
void weir_rudp_channel_drop_gaps(struct weir_rudp *ep, struct channel *channel);
/* Marks order message mid as seen; false when it was, or is too old to tell. */
bool weir_rudp_channel_mark_order(struct channel *channel, uint64_t mid);

/* --- assembly.c */
struct assembly *weir_rudp_assembly_find(struct awake *awake,
                                         const struct weir_rudp_message_frame *frame,
                                         uint64_t number);
struct assembly *weir_rudp_assembly_open(struct weir_rudp_conn *conn,
                                         const struct weir_rudp_message_frame *frame,
                                         uint64_t number, bool is_head);
enum weir_status weir_rudp_assembly_add(struct weir_rudp *ep, struct assembly *assembly,
                                        const struct weir_rudp_message_frame *frame);
void weir_rudp_assembly_unlink(struct awake *awake, struct assembly *assembly);
void weir_rudp_assembly_free(struct weir_rudp *ep, struct assembly *assembly);

/* --- message.c */
/* NULL: no memory. Room for payload bytes behind the struct. */
struct message *weir_rudp_message_take(struct weir_rudp_conn *conn, size_t payload);
/* Makes room for payload bytes where it is, if it is the last of its page. */
bool weir_rudp_message_extend(struct message *message, size_t payload);
/* Gives back room beyond its length, if it is the last of its page. */
void weir_rudp_message_trim(struct message *message);
void weir_rudp_message_free(struct weir_rudp *ep, struct message *message);
/* What it counts in the connection's queue. */
uint64_t weir_rudp_message_cost(const struct message *message);
/* It has ended: gives it back, or, for a parcel, queues the event. */
void weir_rudp_message_done(struct message *message, enum weir_outcome outcome);
void weir_rudp_send_close_page(struct awake *awake);
/* The page that a message with payload copied bytes takes when it is alone in it. */
size_t weir_rudp_message_page_bytes(size_t payload);

/* --- send.c */
void weir_rudp_send_drop_all(struct weir_rudp_conn *conn);
void weir_rudp_send_expire(struct weir_rudp_conn *conn, weir_nsec now);
bool weir_rudp_send_is_empty(const struct awake *awake);
/* message has left its queue: the channel's later ones may take faster ones. */
void weir_rudp_queue_leave(struct weir_rudp_conn *conn, struct message *message);
void weir_rudp_queue_append(struct queue *queue, struct message *message);

/* --- output.c */
bool weir_rudp_output_has_data(const struct awake *awake);
bool weir_rudp_output_has_control(const struct awake *awake);
/* Until when data waits for company: 0 not at all, WEIR_NEVER not yet said. */
weir_nsec weir_rudp_output_flush_at(const struct awake *awake);

/* --- loss.c */
/* A record for the next packet; NULL: the pool is empty, and none of this one's can be spared. */
struct packet *weir_rudp_packet_take(struct weir_rudp_conn *conn);
void weir_rudp_loss_on_sent(struct weir_rudp_conn *conn, struct packet *packet, uint32_t size,
                            weir_nsec now);
/* false: the peer acknowledges what was never sent. */
bool weir_rudp_loss_on_ack(struct weir_rudp_conn *conn, const struct weir_rudp_ack_frame *ack,
                           weir_nsec now);
void weir_rudp_loss_on_timer(struct weir_rudp_conn *conn, weir_nsec now);
weir_nsec weir_rudp_loss_timer(const struct weir_rudp_conn *conn);
void weir_rudp_loss_drop_all(struct weir_rudp_conn *conn);
/* Without their packets: for a connection that ends. */
void weir_rudp_loss_drop_chunks(struct weir_rudp_conn *conn);
/* NULL: none is left but those reserved for splitting. */
struct chunk *weir_rudp_chunk_take(struct weir_rudp *ep);
void weir_rudp_chunk_again(struct awake *awake, struct chunk *chunk);
/* Takes the chunks of messages that were given up off the "again" list. */
void weir_rudp_again_drop_given_up(struct weir_rudp_conn *conn);
/* number, below what ACKs have reported, has arrived only now. */
void weir_rudp_ack_late(struct weir_rudp_conn *conn, uint64_t number);

/* --- path.c */
void weir_rudp_path_on_packet(struct weir_rudp_conn *conn, const struct weir_packet *packet,
                              bool is_newest);
void weir_rudp_path_on_response(struct weir_rudp_conn *conn, uint64_t data);
void weir_rudp_path_timer(struct weir_rudp_conn *conn, weir_nsec now);
void weir_rudp_mtu_start(struct weir_rudp_conn *conn);
/* A dormant connection wakes: it goes by what the last search found until that is old. */
void weir_rudp_mtu_on_wake(struct weir_rudp_conn *conn);
void weir_rudp_mtu_on_probe_acked(struct weir_rudp_conn *conn, uint32_t size);
void weir_rudp_mtu_on_probe_lost(struct weir_rudp_conn *conn);
void weir_rudp_mtu_on_black_hole(struct weir_rudp_conn *conn);

/* --- input.c */
bool weir_rudp_input_next(struct weir_rudp *ep, struct weir_rudp_event *event, bool *has_event);

#endif
