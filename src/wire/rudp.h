/* SPDX-License-Identifier: MIT */
/*
 * rudp.h - the bytes of RUDP: packets and frames to and from plain values.
 *
 * Role: pure encode and decode, no state. Decoders check every bound and return NULL or false for
 * bytes that do not fit; encoders write into room that the caller has checked.
 * Spec: docs/wire-rudp.md, which draws every field.
 */
#ifndef WEIR_WIRE_RUDP_H
#define WEIR_WIRE_RUDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/span.h"

enum {
    WEIR_RUDP_VERSION_1 = 0x77656901
};

/* The high half of the first byte. */
enum weir_rudp_kind {
    WEIR_RUDP_KIND_INIT = 1,
    WEIR_RUDP_KIND_RETRY = 2,
    WEIR_RUDP_KIND_ACCEPT = 3,
    WEIR_RUDP_KIND_REFUSE = 4,
    WEIR_RUDP_KIND_VERSION = 5,
    WEIR_RUDP_KIND_RESET = 6,
    WEIR_RUDP_KIND_DATA = 8
};

enum {
    WEIR_RUDP_SEALED_BIT = 0x08,  /* first byte: the trailer is an AEAD tag of 16 bytes */
    WEIR_RUDP_GREASE_BITS = 0x07, /* first byte: any value, ignored */
    WEIR_RUDP_HEADER_BYTES = 9,   /* first byte and destination id: every kind has them */
    WEIR_RUDP_DATA_HEADER_BYTES = 13,
    WEIR_RUDP_TRAILER_BYTES = 4, /* CRC32C */
    WEIR_RUDP_INIT_BYTES = 1200, /* an INIT is padded to this: replies never amplify */
    WEIR_RUDP_COOKIE_BYTES_MAX = 64,
    WEIR_RUDP_TEXT_BYTES_MAX = 120,
    WEIR_RUDP_RANGES_MAX = 64 /* in an ACK frame */
};

enum weir_rudp_frame_type {
    WEIR_RUDP_FRAME_PADDING = 0x00, /* the rest of the packet means nothing */
    WEIR_RUDP_FRAME_PING = 0x01,
    WEIR_RUDP_FRAME_ACK = 0x02,
    WEIR_RUDP_FRAME_ACK_CE = 0x03, /* an ACK that also counts ECN-CE marks */
    WEIR_RUDP_FRAME_CREDIT = 0x04,
    WEIR_RUDP_FRAME_CHALLENGE = 0x05,
    WEIR_RUDP_FRAME_RESPONSE = 0x06,
    WEIR_RUDP_FRAME_CLOSE = 0x07,
    WEIR_RUDP_FRAME_MESSAGE = 0x40,  /* to 0x7f: flags below */
    WEIR_RUDP_FRAME_EXTENSION = 0x80 /* to 0xff: a length follows; unknown ones are skipped */
};

/* Low bits of a MESSAGE frame's type. */
enum {
    WEIR_RUDP_MESSAGE_GUARANTEE_SHIFT = 4, /* 2 bits: none, order, delivery, skip */
    WEIR_RUDP_MESSAGE_FRAGMENT = 0x08,
    WEIR_RUDP_MESSAGE_SET = 0x04,
    WEIR_RUDP_MESSAGE_NEXT = 0x02,
    WEIR_RUDP_MESSAGE_RESERVED = 0x01,
    WEIR_RUDP_GUARANTEE_SKIP = 3
};

/* CRC32C (Castagnoli) of all bytes, as every clear packet carries at its end. */
uint32_t weir_rudp_checksum(const uint8_t *data, size_t length);
/* Writes the trailer behind packet[0..length) and returns the datagram's length. */
size_t weir_rudp_seal_clear(uint8_t *packet, size_t length);
/* Is the trailer right? length: of the datagram, at least the trailer. */
bool weir_rudp_check_clear(const uint8_t *datagram, size_t length);

/* What both ends tell each other while opening. */
struct weir_rudp_params {
    uint64_t receive_window_bytes;
    uint32_t message_bytes_max;
    uint16_t channels_max;
    uint16_t datagram_bytes_max;
    uint32_t idle_timeout_ms;
    uint32_t ack_delay_us;
    uint64_t reset_token; /* ACCEPT only */
};

struct weir_rudp_init_packet {
    uint32_t version;
    uint64_t source_id;
    struct weir_span cookie;
    struct weir_rudp_params params;
};

struct weir_rudp_accept_packet {
    uint32_t version;
    uint64_t source_id;
    struct weir_rudp_params params;
};

struct weir_rudp_close_frame {
    uint32_t code;
    struct weir_span text;
};

/* Handshake packets. Encoders return the datagram's length, trailer included; room is at least
 * WEIR_RUDP_INIT_BYTES. Decoders get the datagram without its trailer. grease: random bits. */
size_t weir_rudp_encode_init(uint8_t *p, const struct weir_rudp_init_packet *init, uint64_t grease);
bool weir_rudp_decode_init(struct weir_span packet, struct weir_rudp_init_packet *init);
size_t weir_rudp_encode_retry(uint8_t *p, uint64_t destination, struct weir_span cookie,
                              uint64_t grease);
bool weir_rudp_decode_retry(struct weir_span packet, struct weir_span *cookie);
size_t weir_rudp_encode_accept(uint8_t *p, uint64_t destination,
                               const struct weir_rudp_accept_packet *accept, uint64_t grease);
bool weir_rudp_decode_accept(struct weir_span packet, struct weir_rudp_accept_packet *accept);
size_t weir_rudp_encode_refuse(uint8_t *p, uint64_t destination,
                               const struct weir_rudp_close_frame *why, uint64_t grease);
bool weir_rudp_decode_refuse(struct weir_span packet, struct weir_rudp_close_frame *why);
size_t weir_rudp_encode_version(uint8_t *p, uint64_t destination, uint64_t grease);
/* *has_common: is a version of ours among those listed? */
bool weir_rudp_decode_version(struct weir_span packet, bool *has_common);
size_t weir_rudp_encode_reset(uint8_t *p, uint64_t destination, uint64_t token, uint64_t grease);
bool weir_rudp_decode_reset(struct weir_span packet, uint64_t *token);

/* The version field of an INIT of any version; false when cut off. */
bool weir_rudp_peek_version(struct weir_span packet, uint32_t *version, uint64_t *source_id);

/* A decoded ACK: ranges from the highest down, in 32-bit packet numbers. */
struct weir_rudp_ack_frame {
    uint32_t largest;
    uint64_t delay_us;
    uint64_t ce_count;
    uint32_t count;

    /* length of the range (numbers - 1), then of the gap before the next (numbers - 1) */
    struct {
        uint64_t length, gap;
    } ranges[WEIR_RUDP_RANGES_MAX];
};

struct weir_rudp_message_frame {
    uint8_t guarantee; /* enum weir_rudp_guarantee, or WEIR_RUDP_GUARANTEE_SKIP */
    uint8_t channel;
    bool is_fragment;
    bool is_next;           /* encode: leave the ids out; decode: they were derived */
    uint32_t mid;           /* message number in its channel */
    uint32_t dseq;          /* delivery messages of the channel before this one */
    uint64_t set_back;      /* messages of its set before this one */
    uint64_t set_dback;     /* delivery messages of its set before this one */
    uint64_t offset, total; /* of a fragment; total == data.length otherwise */
    uint64_t cost;          /* of a skip: window bytes it gives back */
    struct weir_span data;
};

/* One frame of a packet. */
struct weir_rudp_frame {
    uint8_t type; /* enum weir_rudp_frame_type; MESSAGE for all of 0x40 to 0x7f, EXTENSION ... */

    union {
        uint64_t credit;
        uint64_t path_data; /* CHALLENGE, RESPONSE */
        struct weir_rudp_close_frame close;
        struct weir_rudp_ack_frame *ack; /* points to the ack passed to decode */
        struct weir_rudp_message_frame message;
    };
};

/* What a NEXT message frame continues; zero at the start of every packet. */
struct weir_rudp_message_ids {
    bool is_known;
    bool was_delivery;
    uint8_t channel;
    uint32_t mid, dseq;
};

/* Decodes the frame at p. Returns the byte after it, NULL when malformed. ack: where an ACK is
 * written to. ids: kept by the caller from frame to frame of one packet. */
const uint8_t *weir_rudp_decode_frame(const uint8_t *p, const uint8_t *end,
                                      struct weir_rudp_frame *frame,
                                      struct weir_rudp_ack_frame *ack,
                                      struct weir_rudp_message_ids *ids);

/* Bytes of a message frame without its data; data.length counts for the length field. */
size_t weir_rudp_message_overhead(const struct weir_rudp_message_frame *message);
/* Writes header and data, returns the byte after, and brings ids up to date. */
uint8_t *weir_rudp_encode_message(uint8_t *p, const struct weir_rudp_message_frame *message,
                                  struct weir_rudp_message_ids *ids);
/* Do the ids of message follow from ids? */
bool weir_rudp_message_is_next(const struct weir_rudp_message_frame *message,
                               const struct weir_rudp_message_ids *ids);
/* Writes as many ranges as fit into room (at least 32 bytes). Returns the byte after. */
uint8_t *weir_rudp_encode_ack(uint8_t *p, size_t room, const struct weir_rudp_ack_frame *ack);
uint8_t *weir_rudp_encode_close(uint8_t *p, const struct weir_rudp_close_frame *close);
/* Behind the type byte; NULL when malformed. */
const uint8_t *weir_rudp_decode_close(const uint8_t *p, const uint8_t *end,
                                      struct weir_rudp_close_frame *close);
uint8_t *weir_rudp_encode_credit(uint8_t *p, uint64_t limit);
/* type: CHALLENGE or RESPONSE. */
uint8_t *weir_rudp_encode_path(uint8_t *p, uint8_t type, uint64_t data);
/* An extension frame that nobody knows, 2 to 9 bytes, so that receivers keep skipping them. */
uint8_t *weir_rudp_encode_grease(uint8_t *p, uint64_t grease);

#endif
