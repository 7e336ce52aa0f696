/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the state of the IP layer, and what its files call in each other.
 *
 *   input --> reassembly --> icmp, arp, nd --> output
 *                                 \-> neighbour (cache) <-/
 */
#ifndef WEIR_IP_INTERNAL_H
#define WEIR_IP_INTERNAL_H

#include "base/list.h"
#include "base/prng.h"
#include "ip/ip.h"
#include "mem/pool.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

enum {
    WEIR_IP_PENDING_PER_NEIGHBOUR = 3,
    WEIR_IP_HOP_LIMIT = 64,
    WEIR_IP_ND_HOP_LIMIT = 255, /* RFC 4861 7.1: nobody off the link can send it */
    /* Our own packets that wait for the driver. */
    WEIR_IP_OUT_BYTES = 256 << 10,
    WEIR_IP_OUT_MAX = 128,
    WEIR_IP_MESSAGE_MAX = 65535, /* longest message of ours: an echoed datagram */
    WEIR_IP_SLOT_HEAD = 64,      /* header of a datagram's first fragment, in front of its bytes */
    WEIR_IP_SLOT_WORDS = 128     /* a bit for each 8 bytes of 65,536 */
};

/* A rate: at most per_second, and a tenth of a second's worth at once. */
struct weir_ip_rate {
    weir_nsec interval, burst, next;
};

enum weir_ip_neighbour_state {
    WEIR_IP_NEIGHBOUR_INCOMPLETE = 0, /* asked, MAC address not known yet */
    WEIR_IP_NEIGHBOUR_REACHABLE,      /* confirmed not long ago */
    WEIR_IP_NEIGHBOUR_STALE,          /* used as it is; asked again once it is used */
    WEIR_IP_NEIGHBOUR_DELAY,          /* used: asked soon */
    WEIR_IP_NEIGHBOUR_PROBE           /* asked, the old MAC address in use */
};

struct weir_ip_neighbour {
    struct weir_link use;   /* in ip->uses, most recently used first */
    struct weir_link timed; /* in ip->timed: those of the states INCOMPLETE, DELAY, PROBE */
    struct weir_addr addr;  /* port and scope 0 */
    weir_nsec at;           /* REACHABLE: until then. Timed: what is due then */
    uint32_t next;          /* in its bucket, index, WEIR_POOL_NONE at the end */
    uint8_t mac[WEIR_MAC_BYTES];
    uint8_t state; /* enum weir_ip_neighbour_state */
    uint8_t asked; /* times, since the state began */
    uint8_t pending;
    struct weir_addr from; /* our address in what made us ask */
};

/* A frame without its destination. Its bytes follow it in memory. */
struct weir_ip_pending {
    struct weir_link link; /* in ip->waiting, oldest first */
    struct weir_ip_neighbour *neighbour;
    uint32_t length;
    uint16_t header_bytes, segment_bytes;
};

/* A datagram whose fragments are being gathered. */
struct weir_ip_slot {
    bool is_used, is_delivered;
    bool is_spoiled; /* fragments overlapped: the rest is dropped too */
    uint8_t protocol;
    uint8_t head_bytes; /* 0: the first fragment is not there yet */
    uint8_t ecn;
    struct weir_path path;
    uint32_t id;
    uint32_t total_bytes; /* 0: the last fragment is not there yet */
    uint32_t received_bytes;
    weir_nsec until;
    uint64_t map[WEIR_IP_SLOT_WORDS];
    uint8_t *bytes; /* payload; WEIR_IP_SLOT_HEAD bytes in front of it are the header's */
};

/* One received packet on its way up. */
struct weir_ip_rx {
    weir_nsec now;
    struct weir_path path; /* local: the destination; ports 0 */
    uint8_t *head;         /* the IP header; payload lies behind it, in the same piece */
    uint8_t *payload;
    uint32_t payload_bytes;
    uint32_t next_at; /* IPv6: offset of the byte that named the protocol */
    uint16_t segment_bytes;
    uint8_t protocol, ecn, hop_limit;
    bool is_checked;
    bool is_group;               /* to many: no errors are sent about it */
    uint8_t mac[WEIR_MAC_BYTES]; /* of the sender, on Ethernet */
};

/* One fragment, from either version of IP. */
struct weir_ip_fragment {
    const uint8_t *head; /* its header, kept when offset_bytes is 0 */
    uint8_t head_bytes;
    uint32_t id;
    uint32_t offset_bytes;
    bool is_more;
};

/* What weir_ip_emit sends. */
struct weir_ip_message {
    struct weir_path path;
    const uint8_t *data;
    uint32_t length;
    uint8_t protocol, hop_limit;
};

/* One of our addresses. */
struct weir_ip_own {
    struct weir_ip_address address;
    weir_nsec defended_at; /* last time, 0: never */
    bool is_duplicate;     /* IPv6: found out before it was used for a second */
};

struct weir_ip {
    struct weir_ip_config config;
    struct weir_ip_service service;
    struct weir_ip_stats stats;
    struct weir_prng prng;
    struct weir_hash_key key;
    struct weir_ip_own own[WEIR_IP_ADDRESSES_MAX];
    weir_nsec next_at;     /* weir_ip_timeout has nothing to do before */
    weir_nsec announce_at; /* or WEIR_NEVER */
    weir_nsec opened_at;
    uint32_t announced;
    struct weir_ip_rate errors, echoes;

    struct weir_pool neighbours; /* of struct weir_ip_neighbour */
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct weir_list uses, timed;
    struct weir_pool pending; /* of struct weir_ip_pending and the frame's bytes */
    struct weir_list waiting;

    struct weir_ip_slot *slots;
    uint32_t slots_delivered;

    uint8_t *scratch; /* WEIR_IP_MESSAGE_MAX: a message being made */
    uint8_t *out;     /* WEIR_IP_OUT_BYTES */
    uint32_t out_used, out_count, out_first;
    struct weir_transmit out_frames[WEIR_IP_OUT_MAX];
};

static inline void weir_ip_drop(struct weir_ip *ip, enum weir_ip_drop reason)
{
    ip->stats.dropped[reason]++;
}

/* timeout has something to do at at. */
static inline void weir_ip_arm(struct weir_ip *ip, weir_nsec at)
{
    ip->next_at = at < ip->next_at ? at : ip->next_at;
}

/* Is there one left? Then it is taken. */
bool weir_ip_rate_take(struct weir_ip_rate *rate, weir_nsec now);

/* --- addresses ---------------------------------------------------------------------------------*/
bool weir_ip_is_same(const struct weir_addr *a, const struct weir_addr *b); /* ports aside */
bool weir_ip_is_multicast(const struct weir_addr *addr);
bool weir_ip_is_unspecified(const struct weir_addr *addr);
bool weir_ip_is_broadcast(const struct weir_ip *ip, const struct weir_addr *addr);
/* Could another host send from it? */
bool weir_ip_is_unicast(const struct weir_ip *ip, const struct weir_addr *addr);
/* The one of ours that it is, or NULL. */
struct weir_ip_own *weir_ip_find_own(struct weir_ip *ip, const struct weir_addr *addr);
/* The one of ours to speak to remote from, or NULL. */
const struct weir_addr *weir_ip_pick_own(const struct weir_ip *ip, const struct weir_addr *remote);
/* Who gets what is sent to remote: itself, a gateway, or NULL. */
const struct weir_addr *weir_ip_next_hop(const struct weir_ip *ip, const struct weir_addr *remote);
/* Reads 4 or 16 bytes; link-local ones get our scope. */
struct weir_addr weir_ip_read_addr(const struct weir_ip *ip, const uint8_t *bytes, uint8_t family);

/* --- output ------------------------------------------------------------------------------------*/
/* Sends a message of ours, in fragments if need be. It may wait for its neighbour or be dropped. */
void weir_ip_emit(struct weir_ip *ip, weir_nsec now, const struct weir_ip_message *message);
/* Sends to one MAC address without asking who has it: ARP and neighbour discovery. payload is what
 * follows the Ethernet header. */
void weir_ip_emit_frame(struct weir_ip *ip, const uint8_t mac[WEIR_MAC_BYTES], uint16_t type,
                        const uint8_t *payload, uint32_t length);
/* A waiting frame whose neighbour is known now. */
void weir_ip_emit_pending(struct weir_ip *ip, const struct weir_ip_pending *pending);
/* Writes an IPv6 header for a message of length bytes. */
void weir_ip_write_ip6(uint8_t *p, const struct weir_path *path, uint8_t protocol,
                       uint8_t hop_limit, uint32_t length);

/* --- neighbours --------------------------------------------------------------------------------*/
void weir_ip_neighbours_init(struct weir_ip *ip, uint8_t *mem);
size_t weir_ip_neighbours_bytes(const struct weir_ip_config *config);
struct weir_ip_neighbour *weir_ip_neighbour_find(struct weir_ip *ip, const struct weir_addr *addr);
/* Someone says that addr is at mac. May make an entry when is_made is set. */
void weir_ip_neighbour_heard(struct weir_ip *ip, weir_nsec now, const struct weir_addr *addr,
                             const uint8_t mac[WEIR_MAC_BYTES], bool is_made);
/* An answer to what we asked: it is there. */
void weir_ip_neighbour_confirm(struct weir_ip *ip, weir_nsec now,
                               struct weir_ip_neighbour *neighbour,
                               const uint8_t mac[WEIR_MAC_BYTES]);
/* The MAC address to send to hop with, or NULL: then frame (from its Ethernet header on) waits, or
 * is dropped and counted. */
const uint8_t *weir_ip_resolve(struct weir_ip *ip, weir_nsec now, const struct weir_addr *hop,
                               const struct weir_transmit *frame);
void weir_ip_neighbours_timeout(struct weir_ip *ip, weir_nsec now);

/* --- ARP and neighbour discovery ---------------------------------------------------------------*/
void weir_ip_arp_input(struct weir_ip *ip, weir_nsec now, const uint8_t *p, size_t length);
void weir_ip_arp_ask(struct weir_ip *ip, const struct weir_ip_neighbour *neighbour);
/* To all on the link: this address is ours. */
void weir_ip_arp_announce(struct weir_ip *ip, const struct weir_addr *own);
void weir_ip_nd_input(struct weir_ip *ip, const struct weir_ip_rx *rx,
                      const struct weir_icmp *icmp);
void weir_ip_nd_ask(struct weir_ip *ip, const struct weir_ip_neighbour *neighbour);
/* RFC 4862 5.4.2: does anyone else have it? */
void weir_ip_nd_probe(struct weir_ip *ip, const struct weir_addr *own);
void weir_ip_nd_announce(struct weir_ip *ip, const struct weir_addr *own);

/* --- ICMP --------------------------------------------------------------------------------------*/
/* true: an error about a segment of ours, in *packet and *path. */
bool weir_ip_icmp_input(struct weir_ip *ip, const struct weir_ip_rx *rx, struct weir_packet *packet,
                        struct weir_path *path);
/* Sends an error about rx, if the rules and the rate allow. */
void weir_ip_send_error(struct weir_ip *ip, const struct weir_ip_rx *rx, uint8_t type, uint8_t code,
                        uint32_t rest);

/* --- reassembly --------------------------------------------------------------------------------*/
void weir_ip_reassembly_init(struct weir_ip *ip, uint8_t *mem);
size_t weir_ip_reassembly_bytes(const struct weir_ip_config *config);
/* Takes a fragment; rx->payload is its bytes. true: the datagram is complete, and rx is about the
 * whole of it. */
bool weir_ip_reassemble(struct weir_ip *ip, struct weir_ip_rx *rx,
                        const struct weir_ip_fragment *fragment);
void weir_ip_reassembly_begin(struct weir_ip *ip);
void weir_ip_reassembly_timeout(struct weir_ip *ip, weir_nsec now);

#endif
