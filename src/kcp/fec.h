/* SPDX-License-Identifier: MIT */
/*
 * fec.h - kcp-go's forward error correction: parity packets behind each group of data packets.
 *
 * Role: puts the header in front of outgoing packets and makes their parity; brings back lost
 * packets of incoming groups. Between KCP and crypt.h.
 * Owned by: one thread. weir_kcp_fec is one per endpoint and holds what its sessions share: the
 * packet buffers and the tables of the code. Sessions have an encoder, a decoder, or both.
 * Memory: the caller's: weir_kcp_fec_mem_size() for the endpoint, weir_kcp_fec_encoder_size() and
 * weir_kcp_fec_decoder_size() for a session's. An encoder borrows one buffer per parity packet
 * from a group's first packet until its parity is taken; a decoder one per packet of an unfinished
 * group, at most three groups' worth. With no buffer left packets go unprotected; nothing else
 * changes.
 * Bound: shards_max packets in a group, 256 at most; larger groups of a peer go unprotected.
 *
 *     0        4      6      8
 *     +--------+------+------+---------------+     seqid: group * (data + parity) + place in it
 *     | seqid  | f1   | size | KCP segments  |     size: 2 + length of the segments
 *     +--------+------+------+---------------+     all little-endian
 *     | seqid  | f2   | parity of size and     |
 *     +--------+------+ segments, zero-padded  |   as long as the group's longest data packet
 *                     +------------------------+
 *
 * A KCP segment has its command (81 to 84) where the type is: both kinds may arrive mixed.
 */
#ifndef WEIR_KCP_FEC_H
#define WEIR_KCP_FEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/kcp_layers.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"

enum {
    WEIR_KCP_FEC_HEADER_BYTES = 8, /* before the segments of a data packet */
    WEIR_KCP_FEC_SHARDS_MAX = 256,
    WEIR_KCP_FEC_PACKET_BYTES_MAX = 65507
};

enum weir_kcp_fec_type {
    WEIR_KCP_FEC_PLAIN = 0, /* no FEC header */
    WEIR_KCP_FEC_DATA = 0xf1,
    WEIR_KCP_FEC_PARITY = 0xf2,
    WEIR_KCP_FEC_OUT_OF_BAND = 0xf3 /* of newer peers: belongs to no group */
};

struct weir_kcp_fec_config {
    uint16_t data, parity;     /* packets of an outgoing group, and first guess for incoming ones;
                                * both 0: nothing is sent, incoming groups are found out */
    uint16_t shards_max;       /* data + parity of a group that is followed; 0: 32 */
    uint16_t packet_bytes_max; /* FEC header included; 0: 1500 */
    uint16_t patterns_max;     /* of losses, whose tables are kept; 0: 16 */
    uint32_t buffers_max;      /* packets kept at once, for all sessions; 0: 1024 */
    weir_nsec expiry;          /* an incoming group is given up after it; 0: 60 s */
};

struct weir_kcp_fec;
struct weir_kcp_fec_encoder;
struct weir_kcp_fec_decoder;

/* WEIR_ERR_INVALID: only one of data and parity is 0, data + parity exceed shards_max, shards_max
 * 256, or packet_bytes_max is not in 32 .. 65507. On success *filled has no zero left that means a
 * default. */
enum weir_status weir_kcp_fec_check(const struct weir_kcp_fec_config *config,
                                    struct weir_kcp_fec_config *filled);
/* The calls below expect a config that weir_kcp_fec_check() has filled. */
size_t weir_kcp_fec_mem_size(const struct weir_kcp_fec_config *config);
size_t weir_kcp_fec_encoder_size(const struct weir_kcp_fec_config *config);
size_t weir_kcp_fec_decoder_size(void);
/* mem: aligned to 64, kept until the end, like stats, in which is counted. */
struct weir_kcp_fec *weir_kcp_fec_init(void *mem, const struct weir_kcp_fec_config *config,
                                       struct weir_kcp_fec_stats *stats);
/* Borrowed, kept up to date in place. */
const struct weir_kcp_fec_stats *weir_kcp_fec_stats(const struct weir_kcp_fec *fec);

/* --- sending ---------------------------------------------------------------------------------- */

/* mem: weir_kcp_fec_encoder_size() bytes, aligned to 8. seqid: 0, or what reset returned. */
struct weir_kcp_fec_encoder *weir_kcp_fec_encoder_init(void *mem, struct weir_kcp_fec *fec,
                                                       uint32_t seqid);
/* Writes the header in front of the segments: packet is header room and segments, at most
 * packet_bytes_max. Returns how many parity packets are now to be taken, 0 inside a group. Parity
 * that was not taken before the next call is skipped. */
unsigned weir_kcp_fec_encode(struct weir_kcp_fec_encoder *encoder, struct weir_mut_span packet);
/* Of every parity packet of the group that was just completed, FEC header included. */
size_t weir_kcp_fec_parity_bytes(const struct weir_kcp_fec_encoder *encoder);
/* Writes the next parity packet, weir_kcp_fec_parity_bytes() of them, to p. */
void weir_kcp_fec_take_parity(struct weir_kcp_fec_encoder *encoder, uint8_t *p);
/* Gives the buffers back and goes on with a new group, whose first seqid it returns: before a
 * session ends, or rests and keeps only that number of its encoder. */
uint32_t weir_kcp_fec_encoder_reset(struct weir_kcp_fec_encoder *encoder);

/* --- receiving -------------------------------------------------------------------------------- */

/* Is it FEC? packet: as it is behind the crypto header. */
enum weir_kcp_fec_type weir_kcp_fec_type(struct weir_span packet);
/* The segments of a data packet, inside it; false: it is too short, or its size field is wrong. */
bool weir_kcp_fec_segments(struct weir_span packet, struct weir_span *segments);

/* mem: weir_kcp_fec_decoder_size() bytes, aligned to 8. */
struct weir_kcp_fec_decoder *weir_kcp_fec_decoder_init(void *mem, struct weir_kcp_fec *fec);
/* Takes in a packet that weir_kcp_fec_type() says is FEC. *segments: those of a data packet, inside
 * packet; empty otherwise. What is recovered is to be pulled before the next call. */
void weir_kcp_fec_decode(struct weir_kcp_fec_decoder *decoder, weir_nsec now,
                         struct weir_span packet, struct weir_span *segments);
/* Pulls the segments of one recovered packet, valid until the next call with this decoder; false:
 * no more. */
bool weir_kcp_fec_recovered(struct weir_kcp_fec_decoder *decoder, struct weir_span *segments);
/* Gives up groups older than the expiry; decode does so too. */
void weir_kcp_fec_decoder_expire(struct weir_kcp_fec_decoder *decoder, weir_nsec now);
/* Gives all buffers back: before a session rests or ends. The group size stays known. */
void weir_kcp_fec_decoder_reset(struct weir_kcp_fec_decoder *decoder);

/* How many packets a peer's groups have; both 0: not known. */
struct weir_kcp_fec_groups {
    uint8_t data, parity;
};

/* What a decoder knows, for a session that rests; and what a decoder just made is to begin with in
 * place of its config's. A wrong size is worse than none: of packets that are not of one group the
 * code makes one that looks right up to its data, as what all headers agree in stays as it is. */
struct weir_kcp_fec_groups weir_kcp_fec_decoder_groups(const struct weir_kcp_fec_decoder *decoder);
void weir_kcp_fec_decoder_expect(struct weir_kcp_fec_decoder *decoder,
                                 struct weir_kcp_fec_groups groups);

#endif
