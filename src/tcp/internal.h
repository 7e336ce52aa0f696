/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the state of the TCP engine, and which file owns which part of it.
 *
 * Reading order: this file, ends.c (addresses in one byte), conn.c (records, waking, lists),
 * input.c (segments in, state by state), handshake.c, cookie.c, ack.c, flight.c, loss.c (what was
 * sent and what became of it), receive.c (data in), send.c (data queued), output.c (segments out),
 * mtu.c, fastopen.c, user_timeout.c, reply.c (answers that need no connection), timers.c.
 *
 *   struct weir_tcp          endpoint: two tables, wheel, pools, lists
 *     struct record          16 bytes (IPv4) or 32 (IPv6): a connection while nothing happens
 *     struct awake           what it needs while something is queued, in flight or held
 *       struct segment       a piece in flight, from its first sending to its acknowledgement
 *       struct message       bytes queued or unacknowledged, copied or a parcel's
 *       struct holes         ranges received out of order, of struct held
 *
 * The record of a dormant connection:
 *
 *      IPv4   | ip 4 | port 2 | profile 1 | code 1 | rcv_nxt 4 | snd_nxt 4 |
 *      IPv6   | ip 16 | scope 4 | port 2 | profile 1 | code 1 | rcv_nxt 4 | snd_nxt 4 |
 *
 * A profile is the other end, with its port, and everything that was agreed upon, shared by all
 * connections that agree; code is the state with the peer's window, rounded down, or an age.
 */
#ifndef WEIR_TCP_INTERNAL_H
#define WEIR_TCP_INTERNAL_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/prng.h"
#include "core/cc.h"
#include "core/pacer.h"
#include "core/rtt.h"
#include "core/table.h"
#include "core/wheel.h"
#include "mem/pool.h"
#include "mem/store.h"
#include "weir/tcp.h"
#include "wire/tcp.h"

enum {
    RECORD4_BYTES = 16,
    RECORD6_BYTES = 32,
    KEY4_BYTES = 7,
    KEY6_BYTES = 23,
    PROFILES_MAX = 256,
    MSS_DEFAULT = 536, /* RFC 9293 3.7.1, MUST-15 */
    MSS_DEFAULT6 = 1220,
    MSS_MIN = 48,      /* a peer's word for less is not taken */
    RANGES_FEW = 128,  /* of every connection that holds something out of order */
    RANGES_MAX = 2048, /* of the few with many losses in a large window */
    RANGES_MANY_DIVISOR = 16,
    RECENT_MAX = 4,
    REPLIES_MAX = 1024,
    PROBE_SHIFT_MAX = 6,
    RTO_SHIFT_MAX = 10,
    REORDER_SHARE_MAX = 16,
    REORDER_PERSIST = 16, /* recoveries, RFC 8985 7.1 */
    DUPACKS = 3
};

#define HELD_NONE UINT32_MAX

/* RFC 6298 2.1, 2.5. */
static const weir_nsec weir_tcp_rto_first = WEIR_SEC;
static const weir_nsec weir_tcp_rto_max = 60 * WEIR_SEC;
static const weir_nsec weir_tcp_granularity = WEIR_MSEC;

enum {
    LIST_OUT = UINT32_MAX,
    LIST_END = UINT32_MAX - 1
};

/* record.code. Ages count down with the sweep. */
enum code {
    CODE_AWAKE = 0,
    CODE_TIME_WAIT = 1,
    CODE_TIME_WAIT_NEW = 7,
    CODE_FIN_WAIT = 8, /* FIN-WAIT-2 */
    CODE_FIN_WAIT_NEW = 15,
    CODE_CLOSE_WAIT = 16, /* and the peer's window, see conn.c */
    CODE_OPEN = 64        /* and the peer's window */
};

/* The end of both kinds of record. */
struct record {
    uint16_t port;
    uint8_t profile;
    uint8_t code;   /* enum code */
    uint32_t place; /* dormant: rcv_nxt; awake: index of struct awake */
    uint32_t snd_nxt;
};

/* Bits of awake.pending: events not yet pulled. RELEASE: held data may be due. */
enum {
    PENDING_OPENED = 1,
    PENDING_URGENT = 2,
    PENDING_WRITABLE = 4,
    PENDING_RELEASE = 8,
    PENDING_PEER_CLOSED = 16,
    PENDING_CLOSED = 32
};

/* --- ends.c ----------------------------------------------------------------------------------- */

/* One side of a connection with its port: ours of passive opens, the peer's of active ones. The
 * record has the other side. */
struct end {
    struct weir_addr addr;
    uint32_t connections;
    bool is_used, is_listening;
    bool is_peer;
};

enum {
    AGREED_SACK = 1,
    AGREED_TIMESTAMPS = 2,
    AGREED_SCALE = 4, /* both sides sent it */
    AGREED_ECN = 8
};

/* What a connection's end and options are, in one byte. */
struct profile {
    uint32_t connections;
    uint16_t mss, mss_max;      /* see mtu.c */
    uint8_t end, agreed, scale; /* scale: the peer's */
    bool is_used;
    bool is_base; /* least of everything: kept as long as its end, to stand for the others */
};

/* --- send.c ----------------------------------------------------------------------------------- */

/* Queued or unacknowledged. Copied bytes follow the struct in its block. */
struct message {
    struct message *next; /* on the queue, or the endpoint's done list */
    const uint8_t *data;
    struct weir_parcel *parcel; /* NULL for copies */
    struct weir_tcp_conn *conn;
    uint32_t seq, length;
    uint32_t block_bytes;
    uint8_t outcome; /* enum weir_outcome, when done */
};

/* --- flight.c --------------------------------------------------------------------------------- */

enum {
    SEGMENT_SACKED = 1,
    SEGMENT_LOST = 2,  /* to be sent again; not in flight */
    SEGMENT_AGAIN = 4, /* was sent more than once */
    SEGMENT_FIN = 8,
    SEGMENT_PROBE = 16 /* longer than the others, see mtu.c */
};

struct segment {
    struct segment *next, *previous;           /* by sequence */
    struct segment *time_next, *time_previous; /* by when it was sent last; while in flight */
    struct message *message;                   /* that its first byte is in; NULL: no data */
    struct weir_cc_packet cc;
    uint32_t seq, length; /* length: with FIN */
    uint8_t flags;
    uint8_t losses;  /* times it was marked lost */
    uint16_t full;   /* so it is cut on the wire */
    uint32_t sacked; /* of awake.sacked, once it is SACKED */
};

struct segment_list {
    struct segment *first, *last;
};

/* --- receive.c -------------------------------------------------------------------------------- */

/* Received bytes that wait, for earlier ones or for resume. */
struct held {
    struct weir_hold hold;
    uint32_t seq;
    uint32_t next;
};

struct range {
    uint32_t first, end;
    uint32_t held_first, held_last;
};

struct holes {
    struct range *ranges; /* in order; few, or a block of the endpoint's */
    uint32_t count, room;
    uint32_t recent[RECENT_MAX]; /* a number in each of the ranges that changed last */
    uint32_t recent_count;
    struct range few[RANGES_FEW];
};

enum recovery {
    RECOVERY_NONE = 0,
    RECOVERY_FAST, /* RFC 6937 */
    RECOVERY_LOSS  /* after a retransmission timeout */
};

/* F-RTO, RFC 5682 3.1. */
enum frto {
    FRTO_OFF = 0,
    FRTO_RESENT, /* the first unacknowledged segment was sent again */
    FRTO_PROBED  /* and something new after it */
};

enum loss_timer {
    TIMER_NONE = 0,
    TIMER_REORDER,
    TIMER_TAIL_PROBE,
    TIMER_TIMEOUT,
    TIMER_WINDOW_PROBE
};

/* RFC 7413, of a connection that begins. */
enum fast {
    FAST_NONE = 0,
    FAST_ASKED,   /* for a cookie, by our SYN */
    FAST_TRIED,   /* our SYN had one */
    FAST_ACCEPTED /* the peer's SYN had one: data passes both ways before it is acknowledged */
};

/* What is known of a server's fast open. */
struct server {
    struct weir_path path; /* local port 0 */
    weir_nsec used_at;     /* 0: none */
    weir_nsec retry_at;    /* until then it is not tried */
    uint16_t mss;
    uint8_t cookie_bytes, failures;
    uint8_t cookie[WEIR_TCP_COOKIE_MAX];
};

struct awake {
    struct weir_tcp *ep;
    struct weir_tcp_conn *conn; /* NULL: over, and only on a list still */
    struct record *record;
    uint32_t conn_index;
    uint32_t index;        /* of its pool; also the timer's */
    struct weir_link link; /* endpoint.awake, least recently used first */
    uint32_t event_next, ready_next, starved_next;
    struct weir_path path; /* with TCP's ports */
    int16_t listener;
    uint8_t state; /* enum weir_tcp_state */
    uint8_t pending;
    uint8_t cause; /* enum weir_tcp_close_cause */
    uint8_t agreed;
    bool is_6 : 1;
    bool is_syn_wanted : 1, is_ack_wanted : 1, is_reset_wanted : 1;
    bool is_probe_wanted : 1, is_keepalive_wanted : 1;
    bool is_closing : 1; /* the user's close: FIN follows what is queued */
    bool is_fin_sent : 1, is_fin_acked : 1;
    bool has_peer_fin : 1; /* FIN came, at fin_seq */
    bool is_peer_done : 1; /* and all before it */
    bool is_paused : 1, is_corked : 1, is_nodelay : 1, is_writable_wanted : 1;
    bool is_ended : 1; /* CLOSED is pending or was pulled */
    bool is_done : 1;  /* CLOSED was pulled: the user has forgotten it */
    bool is_soft_error : 1;
    bool is_syn_lost : 1; /* a SYN or SYN-ACK of ours had to be sent again */
    bool has_ts_recent : 1, has_dsack : 1;
    bool is_urgent_in : 1, is_urgent_out : 1;
    bool is_ece_echoed : 1; /* ECE until CWR comes */
    bool is_cwr_wanted : 1;
    bool is_probe_out : 1;    /* one byte beyond the window may have arrived */
    bool is_override_due : 1; /* a small segment has waited long enough */
    bool is_cookie_due : 1;   /* the SYN-ACK brings one for fast open */
    bool is_timeout_due : 1;  /* the next segment tells the user timeout */
    bool is_short : 1;        /* on endpoint.shorts */
    uint8_t fast;             /* enum fast */
    uint16_t syn_data;        /* bytes that went with our SYN; not counted as sent */
    uint32_t peer_timeout;    /* s, RFC 5482; 0: not said */

    /* receive.c */
    uint32_t irs, rcv_nxt;
    uint32_t take_nxt; /* next to be handed out; [take_nxt, rcv_nxt) is in order and held */
    uint32_t rcv_adv;  /* the window's right edge as the peer knows it */
    uint32_t ack_sent; /* the last acknowledgement that left */
    uint32_t fin_seq, rcv_up;
    uint32_t rcv_mss; /* of the peer's full segments */
    uint32_t ts_recent;
    uint8_t rcv_scale, snd_scale;
    uint32_t queue_first, queue_last; /* held, in order */
    struct holes *holes;
    struct weir_link holes_link; /* endpoint.holders, as long as there are holes */
    weir_nsec holes_at;          /* when they began, or the first one closed */
    uint32_t helds;              /* records, in order or not */
    struct weir_tcp_sack dsack;
    weir_nsec ts_recent_at, heard_at;
    weir_nsec sleep_at; /* not before */

    /* send.c */
    uint32_t iss, snd_una, snd_nxt;
    uint32_t queue_end; /* number behind the last queued byte, FIN's when it comes */
    uint32_t snd_wnd, snd_wnd_max, snd_wl1, snd_wl2, snd_up;
    uint32_t mss; /* that the peer and the path take, without timestamps */
    struct message *message_first, *message_last;
    struct message *message_next; /* with snd_nxt in it; NULL: all was sent once */
    uint32_t ts_offset;

    /* flight.c, loss.c */
    struct segment_list sequence, times;
    uint32_t in_flight;          /* sent, not known to have arrived nor to be lost */
    uint32_t lost;               /* of LOST segments */
    uint32_t sacked;             /* full segments, about, that SACK has told of */
    uint32_t dupacks;            /* without SACK */
    uint32_t records;            /* in sequence */
    struct segment *sack_hint;   /* where SACK was looked for last */
    struct weir_link short_link; /* endpoint.shorts: it waits for a record */
    struct segment *lost_hint;   /* no LOST segment comes before it; NULL: begin at the first */
    struct weir_rtt rtt;
    uint8_t rto_shift, probe_shift;
    uint8_t timeouts_row; /* since the last progress */
    uint8_t syn_count, keepalives;
    uint8_t recovery, frto, loss_timer; /* enums above */
    uint8_t reorder_multiplier, reorder_persist;
    uint32_t recovery_point;
    uint32_t ece_point;
    weir_nsec rack_sent; /* the latest sending known to have arrived */
    weir_nsec rack_rtt, reorder_at;
    uint32_t rack_end; /* and where that segment ended */
    uint32_t highest_sacked;
    bool is_reordering_seen;
    uint32_t reorder_round;
    bool is_tail_wanted, is_tail_probed, is_tail_resent; /* RFC 8985 7 */
    uint32_t tail_end;
    uint32_t again_out; /* bytes sent again in this episode (core/cc.h) and not known as spurious */
    uint32_t early_out; /* known as spurious, by their time; a D-SACK is still to come */
    uint64_t prr_delivered, prr_out, prr_start;
    uint64_t window_recovery; /* in FAST, for window-based controllers */
    uint64_t undo_window, undo_ssthresh;
    uint32_t frto_point;
    uint32_t resent_ts;  /* timestamp of the first segment sent after the timeout */
    weir_nsec oldest_at; /* since when the first unacknowledged byte waits */
    weir_nsec open_at;   /* when the peer's window was open last, or something began to wait;
                            WEIR_NEVER: it begins with the next output */
    struct weir_cc cc;
    struct weir_pacer pacer;

    /* timers.c; WEIR_NEVER: not running */
    weir_nsec timer_at, loss_at, ack_at, pace_at, idle_at;
    weir_nsec syn_at; /* the first SYN or SYN-ACK left */
    weir_nsec challenge_at;
    uint32_t challenges;

    /* mtu.c */
    uint32_t mss_max;    /* what peer and link would take; mss is what the path does */
    uint32_t probe_high; /* more is known not to pass, until raise_at */
    uint32_t probe_mss;  /* of the probe in flight, 0: none */
    uint32_t passed;     /* the longest piece that arrived since the last black hole */
    weir_nsec probe_at, raise_at;

    uint32_t resent_segments, timeouts;
};

/* A FIFO of awake connections linked by index. */
struct fifo {
    uint32_t first, last;
};

/* An answer that needs no connection. */
struct reply {
    struct weir_path path; /* with TCP's ports */
    uint32_t seq, ack, ts_value, ts_echo;
    uint16_t window, mss;
    uint8_t flags, options, scale;
};

/* Timestamps of dormant connections. */
struct stamp {
    uint32_t recent;
    uint32_t at; /* seconds */
};

/* A user's call that found no control block is told of the next one, all of them by one event. */
enum room {
    ROOM_UNASKED = 0,
    ROOM_WANTED,
    ROOM_FOUND
};

/* Answers in a second that anybody may ask for. */
struct allowance {
    weir_nsec until;
    uint32_t left;
};

/* Where event() is in the batch given to input(). */
struct cursor {
    struct weir_packet *packets;
    uint32_t count, index;
    struct awake *awake; /* whose text and FIN are to be read, NULL: between segments */
    struct weir_tcp_segment segment;

    /* the look-up before: most segments of a batch are of one connection */
    const struct weir_path *path_last;
    uint32_t ports_last;
    struct awake *awake_last;
};

struct weir_tcp {
    struct weir_tcp_config config;
    struct weir_tcp_stats stats;
    weir_nsec now; /* of the latest call that had one */
    uint32_t half_open_max;
    uint8_t scale; /* of our windows */
    uint8_t room;  /* enum room */
    bool is_cookie_used;

    struct weir_hash_key isn_key, cookie_key, stamp_key, port_key, fast_key;
    struct weir_prng_secret secret;
    struct weir_prng prng;
    weir_nsec cookie_at; /* when the last cookie was sent; 0: never */

    struct weir_table tables[2]; /* IPv4, IPv6 */
    uint32_t slots4;             /* places of the first */
    void **users;
    struct stamp *stamps;
    uint8_t *ages;
    uint8_t aliases[PROFILES_MAX]; /* of each profile: its end */
    struct profile profiles[PROFILES_MAX];
    struct end ends[WEIR_TCP_ENDS_MAX];
    uint32_t ends_used; /* all used ones are below */
    uint32_t peer_ends, port_count;
    uint32_t end_last[2]; /* found last: ours, the peer's */

    struct weir_wheel *wheel;
    struct weir_pool awakes, segments, helds, holes, ranges;
    struct weir_store *send_store;
    struct weir_list awake, shorts;
    struct weir_list holders; /* with holes; first the one that nothing came in order for longest */
    struct fifo events, ready, starved;
    struct message *done_first, *done_last; /* parcels whose event waits */
    uint32_t borrowed;                      /* held that the last event borrowed */

    struct reply *replies; /* a ring */
    uint32_t reply_first, reply_count;
    struct allowance challenges;
    struct allowance late_answers; /* of TIME-WAIT */

    struct server *servers; /* config.fast_open_servers_max, NULL: no fast open */
    uint32_t fast_resets;   /* of passive opens, until fast_until */
    weir_nsec fast_until;

    uint64_t sweep_place;
    weir_nsec sweep_at, sweep_period;
    uint32_t sweeps; /* whole ones so far */

    struct cursor cursor;
};

/* --- memory.c */
uint32_t weir_tcp_awake_max(const struct weir_tcp_config *config);

/* --- ends.c */
struct key {
    uint8_t bytes[KEY6_BYTES + 1];
};

/* Addresses that a connection can have: no broadcast, multicast or any. */
bool weir_tcp_is_address(const struct weir_addr *addr);
/* The end with this address, ours or the peer's; -1: none. */
int weir_tcp_end_find(struct weir_tcp *ep, const struct weir_addr *addr, bool is_peer);
/* The same, made if need be; -1: no room. */
int weir_tcp_end_make(struct weir_tcp *ep, const struct weir_addr *addr, bool is_peer);
uint8_t weir_tcp_base_profile(const struct weir_tcp *ep, uint8_t end);
/* Moves the record to the profile that says what was agreed, or, unless is_exact, the best that
 * says less. false: there is none. */
bool weir_tcp_profile_choose(struct weir_tcp *ep, struct record *record, const struct profile *want,
                             bool is_exact);
void weir_tcp_key_make(const struct weir_addr *other, uint8_t end, struct key *key);
void weir_tcp_end_release(struct weir_tcp *ep, uint8_t end);

/* --- conn.c */
bool weir_tcp_is_6(const struct weir_tcp *ep, const struct weir_tcp_conn *conn);
struct record *weir_tcp_record(const struct weir_tcp *ep, const struct weir_tcp_conn *conn);
void weir_tcp_count_drop(struct weir_tcp *ep, enum weir_tcp_drop reason);
struct weir_tcp_conn *weir_tcp_conn_find(struct weir_tcp *ep, const struct weir_path *path);
/* A new connection, awake; end: which side of path its record does not have. NULL: no room. */
struct awake *weir_tcp_conn_open(struct weir_tcp *ep, const struct weir_path *path, bool is_active);
/* Its control block, putting a quiet one to sleep if need be; NULL: all are busy. */
struct awake *weir_tcp_conn_wake(struct weir_tcp *ep, struct weir_tcp_conn *conn);
/* The same for a call of the user, who is told when there is one again. */
struct awake *weir_tcp_conn_wake_for_user(struct weir_tcp *ep, struct weir_tcp_conn *conn);
/* The last control block is left to what comes in: it is for nothing that will wait for a peer. For
 * else two ends, all of whose blocks wait for connections that sleep at the other, wait for ever.
 * false: the user is told when there is room. */
bool weir_tcp_conn_may_begin(struct awake *awake);
/* The same for a connection that is not there yet. */
bool weir_tcp_conn_may_open(struct weir_tcp *ep);
struct awake *weir_tcp_awake_of(const struct weir_tcp *ep, const struct weir_tcp_conn *conn);
bool weir_tcp_conn_is_quiet(const struct awake *awake);
/* is_exact: only if nothing is forgotten. false: it stays awake. */
bool weir_tcp_conn_sleep(struct awake *awake, bool is_exact);
/* Its record becomes that of TIME-WAIT. */
void weir_tcp_conn_time_wait(struct awake *awake);
/* Forgets the record too. */
void weir_tcp_conn_free(struct awake *awake);
void weir_tcp_record_free(struct weir_tcp *ep, struct weir_tcp_conn *conn);
/* Throws away what is queued, in flight or held; CLOSED follows. */
void weir_tcp_conn_end(struct awake *awake, enum weir_tcp_close_cause cause);
/* It ends, or opens: it is not half open any more. */
void weir_tcp_conn_leave_half_open(struct awake *awake);
/* What can go on without the user, once CLOSED was pulled. */
void weir_tcp_conn_settle(struct awake *awake);
void weir_tcp_pend(struct awake *awake, unsigned bits);
struct awake *weir_tcp_events_take(struct weir_tcp *ep);
void weir_tcp_ready(struct awake *awake);
struct awake *weir_tcp_ready_take(struct weir_tcp *ep);
void weir_tcp_starve(struct awake *awake);
void weir_tcp_wake_starved(struct weir_tcp *ep);

/* --- input.c */
void weir_tcp_set_now(struct weir_tcp *ep, weir_nsec now);
bool weir_tcp_input_next(struct weir_tcp *ep);
bool weir_tcp_input_continue(struct weir_tcp *ep, struct weir_tcp_event *event);
/* A segment that may be forged, or repeats what is known, is answered, but not too often. */
void weir_tcp_challenge(struct awake *awake);
bool weir_tcp_may_answer(struct weir_tcp *ep, struct allowance *allowance);
uint32_t weir_tcp_timestamp(const struct awake *awake);

/* --- handshake.c */
/* The connection that a cookie opened, whose segment is to be read on; else NULL. */
struct awake *weir_tcp_on_stranger(struct weir_tcp *ep, const struct weir_path *path,
                                   const struct weir_tcp_segment *segment);
/* true: there is text or a FIN to read. */
bool weir_tcp_on_syn_sent(struct awake *awake, const struct weir_tcp_segment *segment);
/* Takes what the peer's SYN offers. */
void weir_tcp_agree(struct awake *awake, const struct weir_tcp_segment *syn);
uint32_t weir_tcp_initial_number(const struct weir_tcp *ep, const struct weir_path *path);
uint32_t weir_tcp_stamp_offset(const struct weir_tcp *ep, const struct weir_path *path);
void weir_tcp_establish(struct awake *awake, const struct weir_tcp_segment *segment);
uint16_t weir_tcp_own_mss(const struct weir_tcp *ep, bool is_6);
void weir_tcp_on_time_wait(struct weir_tcp *ep, struct weir_tcp_conn *conn,
                           const struct weir_path *path, const struct weir_tcp_segment *segment);

/* --- fastopen.c */
/* What our first SYN says of it; returns how many bytes of data may go with it. */
uint32_t weir_tcp_fast_offer(struct awake *awake, struct weir_tcp_segment *syn);
/* The SYN-ACK, before it opens the connection. */
void weir_tcp_fast_on_answer(struct awake *awake, const struct weir_tcp_segment *segment);
/* No answer, or one that refuses. */
void weir_tcp_fast_on_failure(struct awake *awake);
/* A new half-open connection: may its data be read now? Then it is, as the next event. */
void weir_tcp_fast_on_syn(struct awake *awake, const struct weir_tcp_segment *syn);
void weir_tcp_fast_on_reset(struct weir_tcp *ep);

enum {
    FAST_COOKIE_BYTES = 8
};

void weir_tcp_fast_cookie(const struct weir_tcp *ep, const struct weir_path *path,
                          uint8_t cookie[FAST_COOKIE_BYTES]);

/* --- user_timeout.c */
weir_nsec weir_tcp_user_timeout(const struct awake *awake);
void weir_tcp_take_user_timeout(struct awake *awake, const struct weir_tcp_segment *segment);
void weir_tcp_put_user_timeout(const struct awake *awake, struct weir_tcp_segment *segment);
bool weir_tcp_tells_user_timeout(const struct weir_tcp *ep);

/* --- cookie.c */
uint32_t weir_tcp_cookie_make(struct weir_tcp *ep, const struct weir_path *path,
                              const struct weir_tcp_segment *syn);

/* May one that was sent come back yet? */
bool weir_tcp_cookie_is_good(const struct weir_tcp *ep);

enum cookie_verdict {
    COOKIE_WRONG,
    COOKIE_EARLY, /* it may be ours, of a connection whose first segment was lost */
    COOKIE_RIGHT
};

/* RIGHT: syn holds what the SYN had offered, as far as it is remembered. */
enum cookie_verdict weir_tcp_cookie_check(struct weir_tcp *ep, const struct weir_path *path,
                                          const struct weir_tcp_segment *ack,
                                          struct weir_tcp_segment *syn);

/* --- reply.c */
void weir_tcp_reply(struct weir_tcp *ep, const struct reply *reply);
/* RFC 9293 3.10.7.1: the RST for a segment that belongs to nothing. */
void weir_tcp_reply_reset(struct weir_tcp *ep, const struct weir_path *path,
                          const struct weir_tcp_segment *segment);
/* false: tx is full. */
bool weir_tcp_put_replies(struct weir_tcp *ep, struct weir_tx *tx);

/* --- ack.c */
/* false: the segment is not to be read further. */
bool weir_tcp_on_ack(struct awake *awake, const struct weir_tcp_segment *segment);

/* --- flight.c */
/* NULL: there is none, or none for a connection that has so many. */
struct segment *weir_tcp_flight_take(struct awake *awake);
void weir_tcp_flight_give(struct awake *awake, struct segment *segment);
/* It waits for a record: its turn in output comes when there is one. */
void weir_tcp_run_short(struct awake *awake);
void weir_tcp_leave_short(struct awake *awake);
/* The first that waits, if any. */
void weir_tcp_wake_short(struct weir_tcp *ep);
/* Appends a segment that leaves for the first time. */
void weir_tcp_flight_add(struct awake *awake, struct segment *segment);
void weir_tcp_flight_on_sent(struct awake *awake, struct segment *segment);
/* Cuts the segment at so many bytes; false: no record left. */
bool weir_tcp_flight_split(struct awake *awake, struct segment *segment, uint32_t length);
/* Its first bytes are acknowledged: it begins behind them. */
void weir_tcp_flight_trim(struct awake *awake, struct segment *segment, uint32_t bytes);
/* It has arrived, or is given up: it leaves what is in flight. */
void weir_tcp_flight_leave(struct awake *awake, struct segment *segment);
void weir_tcp_flight_mark_lost(struct awake *awake, struct segment *segment);
/* It was not lost after all: back in flight, or (is_arrived) out of both. */
void weir_tcp_flight_unmark_lost(struct awake *awake, struct segment *segment, bool is_arrived);
/* Returns the record that it is in now, joined with its neighbours. */
struct segment *weir_tcp_flight_mark_sacked(struct awake *awake, struct segment *segment);
void weir_tcp_flight_remove(struct awake *awake, struct segment *segment);
struct segment *weir_tcp_flight_next_lost(struct awake *awake);
void weir_tcp_flight_drop_all(struct awake *awake);
uint32_t weir_tcp_full_segment(const struct awake *awake);

/* --- loss.c */
/* What an ACK told, as far as it goes. */
struct ack_work {
    const struct weir_tcp_segment *segment;
    uint32_t una_before;
    uint32_t delivered; /* bytes known to have arrived since the ACK before */
    uint32_t untimed;   /* of them: see weir_cc_on_untimed */
    struct weir_cc_packet newest;
    weir_nsec late;   /* the same of one that was taken for lost */
    weir_nsec sample; /* round trip of the newest that was sent once; 0: none */
    uint32_t dsack_bytes;
    bool has_newest, has_sacked,
        is_original; /* is_original: something sent once before a timeout */
    bool is_ce;
};

void weir_tcp_rack_update(struct awake *awake, const struct segment *segment);
void weir_tcp_loss_on_dsack(struct awake *awake, uint32_t bytes);
void weir_tcp_loss_on_ack(struct awake *awake, struct ack_work *work);
void weir_tcp_loss_on_timer(struct awake *awake);
void weir_tcp_loss_set_timer(struct awake *awake);
/* In flight, as far as without SACK it can be told. */
uint32_t weir_tcp_pipe(const struct awake *awake);
void weir_tcp_loss_init(struct awake *awake);
/* Sending begins again with nothing in flight. */
void weir_tcp_loss_on_restart(struct awake *awake);
uint64_t weir_tcp_loss_window(const struct awake *awake);
weir_nsec weir_tcp_rto(const struct awake *awake);

/* --- receive.c */
bool weir_tcp_receive_text(struct awake *awake, const struct weir_tcp_segment *segment,
                           struct weir_tcp_event *event);
void weir_tcp_receive_fin(struct awake *awake, const struct weir_tcp_segment *segment);
/* The next bytes that are held, if they are due. */
bool weir_tcp_release_held(struct awake *awake, struct weir_tcp_event *event);
void weir_tcp_release_borrowed(struct weir_tcp *ep);
void weir_tcp_receive_drop_all(struct awake *awake);
/* The FIN that came early may be next now. */
void weir_tcp_receive_check_fin(struct awake *awake);
void weir_tcp_on_peer_closed_pulled(struct awake *awake);
/* CLOSED follows once both sides have closed and all was handed out. */
void weir_tcp_end_if_done(struct awake *awake);
/* Bytes from rcv_nxt on that the peer may send; never less than it was told. */
uint32_t weir_tcp_receive_window(const struct awake *awake);
uint32_t weir_tcp_fill_sacks(struct awake *awake, struct weir_tcp_sack *sacks, uint32_t max);
void weir_tcp_window_open(struct awake *awake);

/* --- send.c */
void weir_tcp_message_free(struct weir_tcp *ep, struct message *message);
/* What is acknowledged now. */
void weir_tcp_send_settle(struct awake *awake);
/* snd_nxt went on: message_next follows. */
void weir_tcp_send_skip(struct awake *awake);
void weir_tcp_send_drop_all(struct awake *awake);
void weir_tcp_send_tell_writable(struct awake *awake);

/* --- timers.c */
void weir_tcp_set_timer(struct awake *awake);
void weir_tcp_sweep_plan(struct weir_tcp *ep);

/* --- mtu.c */
void weir_tcp_on_unreached(struct weir_tcp *ep, const struct weir_packet *packet);
void weir_tcp_mtu_on_timeout(struct awake *awake);
/* mss: what the path is thought to take; mss_max: what peer and link do. */
void weir_tcp_mtu_begin(struct awake *awake, uint32_t mss, uint32_t mss_max);
/* Bytes, options included, that a probe should have now; 0: none. */
uint32_t weir_tcp_mtu_probe(struct awake *awake);
void weir_tcp_mtu_on_probe_sent(struct awake *awake, uint32_t mss);
void weir_tcp_mtu_on_probe_arrived(struct awake *awake);
/* is_alone: nothing else was lost with it. */
void weir_tcp_mtu_on_probe_lost(struct awake *awake, bool is_alone, bool is_timeout);

/* --- for all ---------------------------------------------------------------------------------- */

static inline bool weir_tcp_is_synchronized(const struct awake *awake)
{
    return awake->state >= WEIR_TCP_STATE_ESTABLISHED;
}

/* Data may pass: also, behind a SYN with a cookie, before that is acknowledged. */
static inline bool weir_tcp_is_open(const struct awake *awake)
{
    return weir_tcp_is_synchronized(awake) ||
           (awake->fast == FAST_ACCEPTED && awake->state == WEIR_TCP_STATE_SYN_RECEIVED);
}

/* RFC 9293 3.10.7.3, 3.10.7.4 (fifth): it acknowledges our SYN, and nothing that was not sent. */
static inline bool weir_tcp_is_opening_ack(const struct awake *awake, uint32_t ack)
{
    return weir_tcp_diff(ack, awake->iss) > 0 &&
           weir_tcp_diff(ack, awake->snd_nxt + awake->syn_data) <= 0;
}

/* Bytes not yet sent once. */
static inline uint32_t weir_tcp_unsent(const struct awake *awake)
{
    return awake->is_fin_sent ? 0 : awake->queue_end - awake->snd_nxt;
}

/* One more, up to max. */
static inline void weir_tcp_count_up(uint8_t *count, uint8_t max)
{
    if (*count < max) {
        (*count)++;
    }
}

static inline bool weir_tcp_has_options(const struct awake *awake, uint8_t agreed)
{
    return (awake->agreed & agreed) != 0;
}

#endif
