/* SPDX-License-Identifier: MIT */
/*
 * inet.c - see weir/inet.h.
 *
 *   receive: inner receive -> frames -> weir_ip_input -> packets; our own answers leave at once
 *   send:    TCP: headers in front of the segment, in place
 *            UDP: runs copied behind room for headers, whole when the driver below cuts them (USO),
 *            else datagram by datagram
 */
#include "weir/inet.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "ip/ip.h"
#include "weir/os.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/udp.h"

enum {
    FRAMES_MAX = 1024,
    TX_BATCH = 64,
    TX_BYTES = 160 << 10, /* two long runs: they stay in the cache */
    RUN_BYTES_MAX = 65507,
    RUN_SEGMENTS_MAX = 64,
    /* Datagrams that a received frame may hold: the kernel joins no more. */
    RUN_SEGMENTS_RX_MAX = 128
};

/* How long to wait before our own frames, for which there was no room, are offered again. */
static const weir_nsec blocked_wait = WEIR_MSEC;

/* A place in an array of transmits: offset bytes into transmits[index]. */
struct cursor {
    uint32_t index;
    uint32_t offset;
};

struct inet {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    struct weir_driver *inner;
    struct weir_ip *ip;
    size_t ip_bytes;
    bool is_udp;
    weir_nsec blocked_until; /* 0 unless our own frames wait */
    /* A run sent in part when there was no more room: the caller offers it whole again. */
    const uint8_t *resume_data;
    uint32_t resume_length, resume_offset;
    struct weir_packet frames[FRAMES_MAX];
    struct weir_path paths[FRAMES_MAX];
    uint8_t *tx_buffer; /* TX_BYTES, of UDP */
    uint32_t tx_used;
    struct weir_transmit tx_frames[TX_BATCH];
    struct cursor tx_ends[TX_BATCH]; /* where each frame ends */
    uint32_t tx_datagrams[TX_BATCH];
};

static struct inet *inet_of(struct weir_driver *driver)
{
    return (struct inet *)(void *)driver;
}

static const struct inet *inet_of_const(const struct weir_driver *driver)
{
    return (const struct inet *)(const void *)driver;
}

static enum weir_status keep_error(struct inet *inet, enum weir_status status)
{
    if (status == WEIR_ERR_OS) {
        inet->driver.error = inet->inner->error;
    }
    return status;
}

/* ARP, neighbour discovery, ICMP. What finds no room goes later. */
static enum weir_status send_own(struct inet *inet, weir_nsec now)
{
    uint32_t count = 0;
    uint32_t sent = 0;
    const struct weir_transmit *frames = weir_ip_output(inet->ip, &count);
    inet->blocked_until = 0;
    if (count == 0) {
        return WEIR_OK;
    }
    enum weir_status status = inet->inner->ops->send(inet->inner, now, frames, count, &sent);
    weir_ip_sent(inet->ip, sent);
    if (status == WEIR_AGAIN) {
        inet->blocked_until = now + blocked_wait;
        return WEIR_OK;
    }
    return keep_error(inet, status);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* Appends one segment, or the datagrams of a run, to packets. Returns the new count. */
static uint32_t append_packet(struct inet *inet, const struct weir_packet *packet,
                              struct weir_packet *packets, uint32_t count, uint32_t packets_max)
{
    if (packet->protocol != WEIR_PROTOCOL_DATAGRAM || packet->segment_bytes == 0) {
        packets[count] = *packet;
        return count + 1;
    }
    for (uint32_t offset = 0; offset < packet->length; offset += packet->segment_bytes) {
        if (count == packets_max) {
            inet->driver.stats.rx_truncated++;
            continue;
        }
        packets[count] = *packet;
        packets[count].data += offset;
        packets[count].length =
            (uint32_t)weir_min_u64(packet->segment_bytes, packet->length - offset);
        packets[count++].segment_bytes = 0;
    }
    return count;
}

/* So many frames that their packets surely find room. */
static uint32_t count_frames(const struct inet *inet, uint32_t packets_max)
{
    if (inet->is_udp && inet->inner->is_unchecked) {
        packets_max = (uint32_t)weir_max_u64(packets_max / RUN_SEGMENTS_RX_MAX, 1);
    }
    return (uint32_t)weir_min_u64(packets_max, FRAMES_MAX);
}

static enum weir_status inet_receive(struct weir_driver *driver, weir_nsec now,
                                     struct weir_mut_span room, struct weir_packet *packets,
                                     uint32_t packets_max, uint32_t *count)
{
    struct inet *inet = inet_of(driver);
    struct weir_driver *inner = inet->inner;
    const uint32_t frames_max = count_frames(inet, packets_max);
    uint32_t frames = 0;
    *count = 0;
    weir_ip_timeout(inet->ip, now);
    weir_ip_begin(inet->ip);
    driver->stats.rx_calls++;
    enum weir_status status =
        inner->ops->receive(inner, now, room, inet->frames, frames_max, &frames);
    for (uint32_t i = 0; i < frames; i++) {
        struct weir_packet packet;
        if (*count < packets_max &&
            weir_ip_input(inet->ip, now, &inet->frames[i], &packet, &inet->paths[i])) {
            packet.path = &inet->paths[i];
            driver->stats.rx_bytes += packet.length;
            *count = append_packet(inet, &packet, packets, *count, packets_max);
        }
    }
    driver->is_rx_full = inner->is_rx_full || frames == frames_max;
    driver->stats.rx_datagrams += *count;
    if (status != WEIR_OK) {
        return keep_error(inet, status);
    }
    return send_own(inet, now);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Bytes of the next frame: a run as long as the driver below takes, or one datagram. */
static uint32_t piece_bytes(const struct inet *inet, const struct weir_transmit *transmit,
                            uint32_t offset)
{
    const uint32_t left = transmit->length - offset;
    const uint32_t segment = transmit->segment_bytes;
    if (!inet->is_udp || left <= segment || segment == 0) {
        return left;
    }
    uint64_t segments = 1;
    if (inet->inner->is_unchecked && inet->inner->run_bytes_max != 0) {
        segments = weir_min_u64(inet->inner->run_segments_max, RUN_BYTES_MAX / segment);
        segments = weir_max_u64(segments, 1);
    }
    return (uint32_t)weir_min_u64(left, segments * segment);
}

/* What came of the next piece. */
enum built {
    BUILT_FRAME,
    BUILT_NOTHING, /* it waits for its neighbour, or was dropped */
    BUILT_FULL     /* no room for its copy: it is still next */
};

/* The next frame, from at on, which is moved past it. */
static enum built build_frame(struct inet *inet, weir_nsec now,
                              const struct weir_transmit *transmits, struct cursor *at,
                              struct weir_transmit *frame)
{
    const uint32_t whole = transmits[at->index].length;
    struct weir_transmit piece = transmits[at->index];
    piece.length = piece_bytes(inet, &piece, at->offset);
    piece.data += at->offset;
    if (inet->is_udp) {
        const uint32_t bytes = WEIR_IP_HEADROOM + piece.length;
        if (bytes > TX_BYTES - inet->tx_used) {
            return BUILT_FULL;
        }
        uint8_t *copy = inet->tx_buffer + inet->tx_used + WEIR_IP_HEADROOM;
        memcpy(copy, piece.data, piece.length);
        piece.data = copy;
        if (piece.segment_bytes == 0 || piece.segment_bytes > piece.length) {
            piece.segment_bytes = (uint16_t)piece.length;
        }
        inet->tx_used += bytes;
    }
    at->offset += piece.length;
    if (at->offset >= whole) {
        *at = (struct cursor){.index = at->index + 1};
    }
    return weir_ip_encapsulate(inet->ip, now, &piece, frame) == WEIR_OK ? BUILT_FRAME
                                                                        : BUILT_NOTHING;
}

static uint32_t count_datagrams(const struct weir_transmit *frame)
{
    if (frame->segment_bytes == 0) {
        return 1;
    }
    uint32_t payload = frame->length - frame->header_bytes;
    return (payload + frame->segment_bytes - 1) / frame->segment_bytes;
}

/* Fills tx_frames from at on; at is then behind them. Returns how many. */
static uint32_t build_batch(struct inet *inet, weir_nsec now, const struct weir_transmit *transmits,
                            uint32_t count, struct cursor *at)
{
    uint32_t built = 0;
    inet->tx_used = 0;
    while (built < TX_BATCH && at->index < count) {
        struct weir_transmit *frame = &inet->tx_frames[built];
        enum built result = build_frame(inet, now, transmits, at, frame);
        if (result == BUILT_FULL) {
            break;
        }
        if (result == BUILT_FRAME) {
            inet->tx_datagrams[built] = count_datagrams(frame);
            inet->tx_ends[built++] = *at;
        }
    }
    return built;
}

/* One batch. Moves at past what is done with. */
static enum weir_status send_batch(struct inet *inet, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   struct cursor *at)
{
    struct weir_driver *inner = inet->inner;
    const struct cursor first = *at;
    const bool had_runs = inner->run_bytes_max != 0;
    uint32_t sent = 0;
    uint32_t built = build_batch(inet, now, transmits, count, at);
    /* What a frame waits for is asked for before more are made. */
    enum weir_status status = send_own(inet, now);
    if (status != WEIR_OK || built == 0) {
        return status;
    }
    status = inner->ops->send(inner, now, inet->tx_frames, built, &sent);
    for (uint32_t i = 0; i < sent; i++) {
        inet->driver.stats.tx_datagrams += inet->tx_datagrams[i];
        inet->driver.stats.tx_bytes += inet->tx_frames[i].length;
    }
    if (sent < built) {
        *at = sent == 0 ? first : inet->tx_ends[sent - 1];
    }
    if (status == WEIR_AGAIN && had_runs && inner->run_bytes_max == 0) {
        return WEIR_OK; /* runs are cut here from now on */
    }
    return keep_error(inet, status);
}

static enum weir_status inet_send(struct weir_driver *driver, weir_nsec now,
                                  const struct weir_transmit *transmits, uint32_t count,
                                  uint32_t *sent)
{
    struct inet *inet = inet_of(driver);
    struct cursor at = {.index = 0};
    enum weir_status status = WEIR_OK;
    driver->stats.tx_calls++;
    if (count > 0 && inet->resume_offset != 0 && transmits[0].data == inet->resume_data &&
        transmits[0].length == inet->resume_length) {
        at.offset = inet->resume_offset;
    }
    inet->resume_offset = 0;
    while (at.index < count && status == WEIR_OK) {
        status = send_batch(inet, now, transmits, count, &at);
    }
    if (at.offset != 0) {
        inet->resume_data = transmits[at.index].data;
        inet->resume_length = transmits[at.index].length;
        inet->resume_offset = at.offset;
    }
    driver->stats.tx_dropped = inet->inner->stats.tx_dropped;
    *sent = at.index;
    return status;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int inet_fd(const struct weir_driver *driver)
{
    const struct inet *inet = inet_of_const(driver);
    return inet->inner->ops->fd(inet->inner);
}

static weir_nsec inet_next_timeout(const struct weir_driver *driver)
{
    const struct inet *inet = inet_of_const(driver);
    weir_nsec next =
        weir_min_u64(weir_ip_next_timeout(inet->ip), inet->inner->ops->next_timeout(inet->inner));
    return inet->blocked_until != 0 ? weir_min_u64(next, inet->blocked_until) : next;
}

static void free_inet(struct inet *inet)
{
    weir_mem_unmap(inet->ip, inet->ip_bytes);
    weir_mem_unmap(inet->tx_buffer, TX_BYTES);
    free(inet);
}

static void inet_close(struct weir_driver *driver)
{
    struct inet *inet = inet_of(driver);
    inet->inner->ops->close(inet->inner);
    free_inet(inet);
}

static const struct weir_driver_ops inet_ops = {.receive = inet_receive,
                                                .send = inet_send,
                                                .fd = inet_fd,
                                                .next_timeout = inet_next_timeout,
                                                .close = inet_close};

void weir_inet_config_default(struct weir_inet_config *config,
                              const struct weir_interface *interface)
{
    *config = (struct weir_inet_config){.udp_port = 0};
    weir_ip_config_default(&config->ip);
    if (interface != NULL) {
        config->ip.is_ethernet = interface->is_ethernet;
        memcpy(config->ip.mac, interface->mac, sizeof(config->ip.mac));
        config->ip.mtu_bytes = (uint32_t)weir_min_u64(interface->mtu_bytes, WEIR_IP4_BYTES_MAX);
        config->ip.scope = interface->index;
    }
}

/* The longest datagram of the family that has the shorter header. */
static uint32_t longest_datagram(const struct weir_inet_config *config)
{
    uint32_t header = WEIR_IP6_HEADER_BYTES;
    for (uint32_t i = 0; i < config->ip.address_count; i++) {
        if (config->ip.addresses[i].addr.family == WEIR_ADDR_IP4) {
            header = WEIR_IP4_HEADER_BYTES;
        }
    }
    header += config->udp_port != 0 ? WEIR_UDP_HEADER_BYTES : 0;
    return config->ip.mtu_bytes - header;
}

static void describe(struct inet *inet, const struct weir_inet_config *config)
{
    const struct weir_driver *inner = inet->inner;
    struct weir_driver *driver = &inet->driver;
    const bool is_cut = inet->is_udp || inner->is_joined;
    driver->ops = &inet_ops;
    driver->rx_room_bytes = inner->rx_room_bytes;
    driver->headroom_bytes = inet->is_udp ? 0 : WEIR_IP_HEADROOM;
    driver->is_joined = !inet->is_udp && inner->is_joined;
    driver->is_unchecked = !inet->is_udp && inner->is_unchecked;
    driver->is_gathered = !inet->is_udp && inner->is_gathered;
    driver->run_bytes_max = is_cut ? RUN_BYTES_MAX : 0;
    driver->run_segments_max = is_cut ? RUN_SEGMENTS_MAX : 1;
    driver->datagram_bytes_max = longest_datagram(config);
    if (config->ip.address_count == 1) {
        driver->local = config->ip.addresses[0].addr;
        driver->local.port = config->udp_port;
    }
}

static enum weir_status open_parts(struct inet *inet, const struct weir_inet_config *config)
{
    const struct weir_ip_service service = {.is_tcp = config->udp_port == 0,
                                            .udp_port = config->udp_port,
                                            .is_unchecked = inet->inner->is_unchecked};
    uint8_t seed[32];
    inet->ip_bytes = weir_ip_mem_size(&config->ip);
    if (inet->ip_bytes == 0) {
        return WEIR_ERR_INVALID;
    }
    inet->ip = weir_mem_map(inet->ip_bytes);
    inet->tx_buffer = weir_mem_map(TX_BYTES);
    if (inet->ip == NULL || inet->tx_buffer == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status = weir_secret_seed(seed, sizeof(seed));
    if (status != WEIR_OK) {
        return status;
    }
    return weir_ip_init(inet->ip, &config->ip, &service, seed, &inet->ip);
}

enum weir_status weir_inet_open(struct weir_driver *inner, const struct weir_inet_config *config,
                                struct weir_driver **driver)
{
    struct inet *inet = calloc(1, sizeof(*inet));
    if (inet == NULL) {
        return WEIR_ERR_MEMORY;
    }
    inet->inner = inner;
    inet->is_udp = config->udp_port != 0;
    enum weir_status status = open_parts(inet, config);
    if (status != WEIR_OK) {
        free_inet(inet);
        return status;
    }
    describe(inet, config);
    *driver = &inet->driver;
    return WEIR_OK;
}

const struct weir_ip_stats *weir_inet_stats(const struct weir_driver *driver)
{
    WEIR_ASSERT(driver->ops == &inet_ops);
    return weir_ip_stats(inet_of_const(driver)->ip);
}
