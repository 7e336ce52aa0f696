/* SPDX-License-Identifier: MIT */
/*
 * tcp_script_play.h - a script that is being played: what its parts share.
 */
#ifndef TESTS_TCP_SCRIPT_PLAY_H
#define TESTS_TCP_SCRIPT_PLAY_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/tcp.h"

enum {
    LINE_MAX = 512,
    WORDS_MAX = 40,
    SENT_MAX = 256,
    EVENTS_MAX = 256,
    BYTES_MAX = 65536,
    PARCELS_MAX = 32,
    PEERS_MAX = 8,
    BATCH_MAX = 16,
    TX_BYTES = 1 << 20
};

/* A segment that the endpoint has sent. */
struct sent {
    weir_nsec at;
    struct peer *peer;
    uint8_t bytes[BYTES_MAX];
    uint32_t length;
    uint16_t segment_bytes; /* of a joined one */
    uint8_t ecn;
};

struct seen {
    weir_nsec at;
    struct peer *peer;
    enum weir_tcp_event_type type;
    uint64_t value; /* bytes of DATA, cause of CLOSED, outcome of a parcel */
};

/* What is known of the endpoint's side of one connection. The peers differ in their ports. */
struct peer {
    struct weir_tcp_conn *conn;
    uint32_t own_number, own_before; /* initial ones, of this connection and the one before */
    uint32_t ts_last;                /* of the endpoint's last segment */
    uint64_t queued;                 /* bytes given to send */
    uint64_t data_bytes, data_told;
    uint32_t urgent_bytes; /* of the last DATA */
};

struct play {
    const char *path;
    unsigned line;
    bool is_verbose;
    jmp_buf failure;
    char *words[WORDS_MAX];
    unsigned count;

    struct weir_tcp_config config;
    struct weir_tcp *tcp;
    struct weir_slide *slide;
    void *mem, *slide_mem;
    size_t mem_bytes, slide_bytes;
    uint64_t slide_size;
    struct weir_path path4, path6, wire; /* with ports; as they are on the wire */
    int listener;
    bool is_6, is_joined;
    weir_nsec start, now, last, tolerance; /* start: the script's 0 */

    struct peer peers[PEERS_MAX], *peer; /* peer: whom lines are about */
    uint32_t peer_number;                /* initial one, of all */
    uint32_t own_number_wanted;
    bool is_own_number_wanted;

    struct sent sent[SENT_MAX]; /* not yet matched: [sent_first, sent_count) */
    unsigned sent_first, sent_count;
    struct seen events[EVENTS_MAX];
    unsigned event_first, event_count;
    struct weir_parcel parcels[PARCELS_MAX];
    unsigned parcel_count;
    uint8_t pattern[1 << 20];
    uint8_t in[BATCH_MAX][BYTES_MAX], tx_bytes[TX_BYTES];
    struct weir_packet packets[BATCH_MAX];
    uint32_t packet_count;
    uint8_t cookie[16]; /* for fast open, the last that was sent */
    uint32_t cookie_bytes;
};

extern struct play play;

/* tcp_script.c: says where and why on stderr, and ends the script. */
_Noreturn void script_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void script_check(bool condition, const char *what);
/* The peer with this port; NULL: none. */
struct peer *script_peer(uint16_t port);
uint16_t script_port(const struct peer *peer);
/* Every byte of a stream says where it belongs. */
uint8_t script_byte(uint64_t at);
uint64_t script_number(const char *text);
/* Everything that is due at this moment. */
void script_settle(void);
/* Moves the clock to until, or to the first moment at which a segment has left. */
void script_move(weir_nsec until, bool is_stopping);

/* tcp_script_settings.c: "set" and "figure" lines. */
void script_settings_default(void);
void script_set(void);
/* TIME tune NAME MILLISECONDS */
void script_tune(void);
void script_figure(void);

/* tcp_script_segment.c: lines about segments. */
void script_format(const struct sent *sent, char *text, size_t room);
void script_check_value(const char *what, uint64_t wanted, uint64_t sent);
void script_arrival(void);
void script_unreached(void);
void script_departure(weir_nsec at);

#endif
