/* SPDX-License-Identifier: MIT */
/*
 * output.c - headers in front of what goes out: the transports' bytes in place, our own messages
 * from a buffer.
 *
 * Spec: RFC 791 3.1, 3.2; RFC 6864 4 (identification); RFC 8200 3, 4.5; RFC 894, RFC 2464.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "ip/internal.h"
#include "wire/checksum.h"
#include "wire/tcp.h"
#include "wire/udp.h"

enum {
    OUT_ALIGN = 16
};

/* A frame under way: at goes down from the transport's header to the frame's start. */
struct assembly {
    uint8_t *at;
    uint32_t length;
    uint32_t header_bytes; /* of the transport; 0: nothing is left to the driver */
    uint32_t segment_bytes;
    uint8_t protocol, hop_limit;
    uint8_t marks; /* differentiated services and ECN, as they stand in the header */
    bool is_fragment, is_more, is_kept_whole;
    uint32_t offset_bytes, id;
    const uint8_t *tail; /* of the frame, as in a transmit */
    uint32_t tail_bytes;
};

/* --- IP headers ------------------------------------------------------------------------------- */

void weir_ip_write_ip6(uint8_t *p, const struct weir_path *path, uint8_t protocol,
                       uint8_t hop_limit, uint32_t length)
{
    struct weir_ip6 ip6 = {
        .payload_bytes = (uint16_t)length, .next_header = protocol, .hop_limit = hop_limit};
    memcpy(ip6.source, path->local.ip, sizeof(ip6.source));
    memcpy(ip6.destination, path->remote.ip, sizeof(ip6.destination));
    weir_ip6_encode(p, &ip6);
}

static void put_ip6(struct assembly *assembly, const struct weir_path *path)
{
    if (assembly->is_fragment) {
        const struct weir_ip6_chain fragment = {.next = assembly->protocol,
                                                .is_more = assembly->is_more,
                                                .offset_bytes = (uint16_t)assembly->offset_bytes,
                                                .id = assembly->id};
        assembly->at -= WEIR_IP6_FRAGMENT_BYTES;
        assembly->length += WEIR_IP6_FRAGMENT_BYTES;
        weir_ip6_encode_fragment(assembly->at, &fragment);
        assembly->protocol = WEIR_IP6_FRAGMENT;
    }
    assembly->at -= WEIR_IP6_HEADER_BYTES;
    weir_ip_write_ip6(assembly->at, path, assembly->protocol, assembly->hop_limit,
                      assembly->length);
    /* The traffic class lies across two bytes. */
    assembly->at[0] |= (uint8_t)(assembly->marks >> 4);
    assembly->at[1] = (uint8_t)(assembly->marks << 4);
    assembly->length += WEIR_IP6_HEADER_BYTES;
}

static void put_ip4(struct assembly *assembly, const struct weir_path *path)
{
    assembly->at -= WEIR_IP4_HEADER_BYTES;
    assembly->length += WEIR_IP4_HEADER_BYTES;
    struct weir_ip4 ip4 = {.total_bytes = (uint16_t)assembly->length,
                           .header_bytes = WEIR_IP4_HEADER_BYTES,
                           /* RFC 6864 4.1: means nothing where nobody may cut the packet. */
                           .id = (uint16_t)assembly->id,
                           .offset_bytes = (uint16_t)assembly->offset_bytes,
                           .tos = assembly->marks,
                           .ttl = assembly->hop_limit,
                           .protocol = assembly->protocol,
                           .is_kept_whole = assembly->is_kept_whole,
                           .is_more = assembly->is_more};
    memcpy(ip4.source, path->local.ip, sizeof(ip4.source));
    memcpy(ip4.destination, path->remote.ip, sizeof(ip4.destination));
    weir_ip4_encode(assembly->at, &ip4);
}

static uint32_t header_bytes_of(const struct weir_path *path)
{
    return path->remote.family == WEIR_ADDR_IP6 ? WEIR_IP6_HEADER_BYTES : WEIR_IP4_HEADER_BYTES;
}

/* --- the link --------------------------------------------------------------------------------- */

/* The destination's MAC address; NULL: frame waits for it or was dropped. */
static const uint8_t *find_mac(struct weir_ip *ip, weir_nsec now, const struct weir_transmit *frame,
                               uint8_t group[WEIR_MAC_BYTES])
{
    const struct weir_addr *remote = &frame->path.remote;
    if (weir_ip_is_multicast(remote)) {
        weir_mac_of_group(remote->ip, remote->family == WEIR_ADDR_IP6 ? 16 : 4, group);
        return group;
    }
    if (weir_ip_is_broadcast(ip, remote)) {
        memset(group, 0xff, WEIR_MAC_BYTES);
        return group;
    }
    const struct weir_addr *hop = weir_ip_next_hop(ip, remote);
    if (hop == NULL) {
        weir_ip_drop(ip, WEIR_IP_DROP_ROUTE);
        return NULL;
    }
    return weir_ip_resolve(ip, now, hop, frame);
}

/* frame->data is the IP header; on Ethernet, another goes in front of it. false: nothing is left
 * to send. */
static bool put_link(struct weir_ip *ip, weir_nsec now, struct weir_transmit *frame)
{
    uint8_t group[WEIR_MAC_BYTES];
    if (!ip->config.is_ethernet) {
        return true;
    }
    struct weir_eth eth = {.type = frame->path.remote.family == WEIR_ADDR_IP6 ? WEIR_ETH_IP6
                                                                              : WEIR_ETH_IP4};
    memcpy(eth.source, ip->config.mac, WEIR_MAC_BYTES);
    frame->data -= WEIR_ETH_HEADER_BYTES;
    frame->length += WEIR_ETH_HEADER_BYTES;
    frame->header_bytes =
        (uint16_t)(frame->header_bytes != 0 ? frame->header_bytes + WEIR_ETH_HEADER_BYTES : 0);
    weir_eth_encode(frame->data, &eth);
    const uint8_t *mac = find_mac(ip, now, frame, group);
    if (mac == NULL) {
        return false;
    }
    memcpy(frame->data, mac, WEIR_MAC_BYTES);
    return true;
}

/* IP header and link header. */
static bool finish(struct weir_ip *ip, weir_nsec now, struct assembly *assembly,
                   const struct weir_path *path, struct weir_transmit *frame)
{
    uint32_t headers = assembly->header_bytes;
    const uint32_t before = assembly->length;
    if (path->remote.family == WEIR_ADDR_IP6) {
        put_ip6(assembly, path);
    } else {
        put_ip4(assembly, path);
    }
    headers += headers != 0 ? assembly->length - before : 0;
    *frame = (struct weir_transmit){.path = *path,
                                    .data = assembly->at,
                                    .length = assembly->length,
                                    .header_bytes = (uint16_t)headers,
                                    .segment_bytes = (uint16_t)assembly->segment_bytes,
                                    .protocol = WEIR_PROTOCOL_FRAME,
                                    .tail_bytes = assembly->tail_bytes,
                                    .tail = assembly->tail};
    return put_link(ip, now, frame);
}

/* --- what the transports send ----------------------------------------------------------------- */

/* The checksum of a segment that the engine left to the driver: for now, the pseudo-header's. */
static bool prepare_tcp(const struct weir_ip *ip, const struct weir_transmit *transmit,
                        const struct weir_path *path, struct assembly *assembly)
{
    assembly->protocol = WEIR_IP_TCP;
    if (!ip->service.is_unchecked) {
        return true;
    }
    if (transmit->length < WEIR_TCP_HEADER_BYTES) {
        return false;
    }
    uint64_t sum = weir_checksum_pseudo(path, WEIR_IP_TCP, transmit->length);
    uint16_t checksum = (uint16_t)~weir_checksum_fold(sum);
    memcpy(assembly->at + WEIR_TCP_CHECKSUM_OFF, &checksum, sizeof(checksum));
    assembly->header_bytes = (uint32_t)(assembly->at[12] >> 4) * 4;
    bool is_run = transmit->header_bytes != 0 &&
                  transmit->length - assembly->header_bytes > transmit->segment_bytes;
    assembly->segment_bytes = is_run ? transmit->segment_bytes : 0;
    return assembly->header_bytes <= transmit->length;
}

static void prepare_udp(const struct weir_ip *ip, const struct weir_transmit *transmit,
                        const struct weir_path *path, struct assembly *assembly)
{
    bool is_run = transmit->length > transmit->segment_bytes;
    WEIR_ASSERT(!is_run || ip->service.is_unchecked);
    assembly->protocol = WEIR_IP_UDP;
    assembly->at -= WEIR_UDP_HEADER_BYTES;
    assembly->length += WEIR_UDP_HEADER_BYTES;
    assembly->segment_bytes = is_run ? transmit->segment_bytes : 0;
    assembly->header_bytes = ip->service.is_unchecked ? WEIR_UDP_HEADER_BYTES : 0;
    weir_udp_encode(assembly->at, transmit->length, path, ip->service.is_unchecked);
}

/* Each packet within the MTU, and the whole within what an IP header can say. */
static bool is_size_right(const struct weir_ip *ip, const struct assembly *assembly,
                          const struct weir_path *path)
{
    const uint32_t headers = header_bytes_of(path);
    uint32_t packet = assembly->segment_bytes != 0
                          ? assembly->header_bytes + assembly->segment_bytes
                          : assembly->length;
    return headers + packet <= ip->config.mtu_bytes &&
           assembly->length <= UINT16_MAX - (headers == WEIR_IP4_HEADER_BYTES ? headers : 0);
}

static bool choose_path(struct weir_ip *ip, const struct weir_transmit *transmit,
                        struct weir_path *path)
{
    *path = transmit->path;
    if (path->local.family == WEIR_ADDR_NONE || weir_ip_is_unspecified(&path->local)) {
        const struct weir_addr *own = weir_ip_pick_own(ip, &path->remote);
        if (own == NULL) {
            return false;
        }
        path->local = *own;
    }
    path->local.port = ip->service.udp_port;
    return path->local.family == path->remote.family && !weir_ip_is_unspecified(&path->remote);
}

enum weir_status weir_ip_encapsulate(struct weir_ip *ip, weir_nsec now,
                                     const struct weir_transmit *transmit,
                                     struct weir_transmit *frame)
{
    struct weir_path path;
    struct assembly assembly = {.at = transmit->data,
                                .length = transmit->length,
                                /* RFC 9293 3.9.1.9, 3.9.2: as was asked for (MUST-48, 49). */
                                .hop_limit = ip->config.hop_limit,
                                .marks = (uint8_t)(ip->config.dscp << 2 | transmit->ecn),
                                .is_kept_whole = true,
                                .tail = transmit->tail,
                                .tail_bytes = transmit->tail_bytes};
    bool is_right = true;
    if (!choose_path(ip, transmit, &path)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ROUTE);
        return WEIR_AGAIN;
    }
    if (ip->service.is_tcp) {
        is_right = prepare_tcp(ip, transmit, &path, &assembly);
    } else {
        prepare_udp(ip, transmit, &path, &assembly);
    }
    if (!is_right || !is_size_right(ip, &assembly, &path)) {
        weir_ip_drop(ip, WEIR_IP_DROP_TOO_LARGE);
        return WEIR_AGAIN;
    }
    if (!finish(ip, now, &assembly, &path, frame)) {
        return WEIR_AGAIN;
    }
    ip->stats.tx_frames++;
    return WEIR_OK;
}

/* --- what we send ourselves ------------------------------------------------------------------- */

const struct weir_transmit *weir_ip_output(const struct weir_ip *ip, uint32_t *count)
{
    *count = ip->out_count - ip->out_first;
    return ip->out_frames + ip->out_first;
}

void weir_ip_sent(struct weir_ip *ip, uint32_t count)
{
    WEIR_ASSERT(count <= ip->out_count - ip->out_first);
    ip->out_first += count;
    ip->stats.tx_own += count;
    if (ip->out_first == ip->out_count) {
        ip->out_first = ip->out_count = ip->out_used = 0;
    }
}

/* Room for a frame of length bytes; NULL, counted, when there is none. Taken by add_out. */
static uint8_t *reserve_out(struct weir_ip *ip, uint32_t length)
{
    if (ip->out_count == WEIR_IP_OUT_MAX || length > WEIR_IP_OUT_BYTES - ip->out_used) {
        weir_ip_drop(ip, WEIR_IP_DROP_OUTPUT);
        return NULL;
    }
    return ip->out + ip->out_used;
}

static void add_out(struct weir_ip *ip, const struct weir_transmit *frame)
{
    size_t end = (size_t)(frame->data - ip->out) + frame->length;
    ip->out_frames[ip->out_count++] = *frame;
    ip->out_used = (uint32_t)weir_min_u64(weir_size_align(end, OUT_ALIGN), WEIR_IP_OUT_BYTES);
}

void weir_ip_emit_frame(struct weir_ip *ip, const uint8_t mac[WEIR_MAC_BYTES], uint16_t type,
                        const uint8_t *payload, uint32_t length)
{
    struct weir_eth eth = {.type = type};
    struct weir_transmit frame = {.data = reserve_out(ip, WEIR_ETH_HEADER_BYTES + length),
                                  .length = WEIR_ETH_HEADER_BYTES + length,
                                  .protocol = WEIR_PROTOCOL_FRAME};
    if (frame.data == NULL) {
        return;
    }
    memcpy(eth.destination, mac, WEIR_MAC_BYTES);
    memcpy(eth.source, ip->config.mac, WEIR_MAC_BYTES);
    weir_eth_encode(frame.data, &eth);
    memcpy(frame.data + WEIR_ETH_HEADER_BYTES, payload, length);
    add_out(ip, &frame);
}

void weir_ip_emit_pending(struct weir_ip *ip, const struct weir_ip_pending *pending)
{
    struct weir_transmit frame = {.data = reserve_out(ip, pending->length),
                                  .length = pending->length,
                                  .header_bytes = pending->header_bytes,
                                  .segment_bytes = pending->segment_bytes,
                                  .protocol = WEIR_PROTOCOL_FRAME};
    if (frame.data == NULL) {
        return;
    }
    memcpy(frame.data, pending + 1, pending->length);
    memcpy(frame.data, pending->neighbour->mac, WEIR_MAC_BYTES);
    add_out(ip, &frame);
}

/* One packet of a message, or all of it. */
static void emit_piece(struct weir_ip *ip, weir_nsec now, const struct weir_ip_message *message,
                       struct assembly piece)
{
    struct weir_transmit frame;
    uint8_t *room = reserve_out(ip, WEIR_IP_HEADROOM + piece.length);
    if (room == NULL) {
        return;
    }
    piece.at = room + WEIR_IP_HEADROOM;
    memcpy(piece.at, message->data + piece.offset_bytes, piece.length);
    if (finish(ip, now, &piece, &message->path, &frame)) {
        add_out(ip, &frame);
    }
}

void weir_ip_emit(struct weir_ip *ip, weir_nsec now, const struct weir_ip_message *message)
{
    const uint32_t headers = header_bytes_of(&message->path);
    struct assembly piece = {.length = message->length,
                             .protocol = message->protocol,
                             .hop_limit = message->hop_limit,
                             .id = (uint32_t)weir_prng_next(&ip->prng)};
    if (headers + message->length <= ip->config.mtu_bytes) {
        emit_piece(ip, now, message, piece);
        return;
    }
    const uint32_t fragment_header =
        message->path.remote.family == WEIR_ADDR_IP6 ? WEIR_IP6_FRAGMENT_BYTES : 0;
    const uint32_t step = (ip->config.mtu_bytes - headers - fragment_header) & ~7U;
    piece.is_fragment = true;
    for (uint32_t offset = 0; offset < message->length; offset += step) {
        piece.offset_bytes = offset;
        piece.length = (uint32_t)weir_min_u64(step, message->length - offset);
        piece.is_more = offset + piece.length < message->length;
        emit_piece(ip, now, message, piece);
    }
}
