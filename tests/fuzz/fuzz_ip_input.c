/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ip_input.c - any sequence of frames, waits and sendings against the whole IP layer: what is
 * handed on or sent lies in memory that may be read, and is no longer than it may be.
 *
 *   | config 1 | step: operation 1, length 2 (little-endian), bytes | step ...
 */
#include <stdlib.h>
#include <string.h>

#include "unit/ip_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CONFIG_ETHERNET = 1,
    CONFIG_TCP = 2,
    CONFIG_UNCHECKED = 4,
    /* Operations: the low bits; flags above. */
    OPERATION_MASK = 7,
    OPERATION_WAIT = 5,
    OPERATION_SEND4 = 6,
    OPERATION_SEND6 = 7,
    FLAG_CHECKED = 8,
    FLAG_REPAIRED = 16, /* addressed to us, checksums made right */
    FLAG_JOINED = 32
};

static volatile uint32_t sink;

static void must(int condition)
{
    if (!condition) {
        abort();
    }
}

/* A sanitizer sees a byte that may not be read. */
static void read_all(const uint8_t *data, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum += data[i];
    }
    sink = sum;
}

static void take_output(struct ip_world *world)
{
    uint32_t count = 0;
    const struct weir_transmit *frames = weir_ip_output(world->ip, &count);
    for (uint32_t i = 0; i < count; i++) {
        must(frames[i].length > 0 && frames[i].length <= 14 + 1500);
        read_all(frames[i].data, frames[i].length);
    }
    weir_ip_sent(world->ip, count);
}

/* Gives chance to what stands behind the first checks. */
static void repair(uint8_t *p, size_t length, bool is_ethernet)
{
    if (is_ethernet && length >= WEIR_ETH_HEADER_BYTES) {
        memcpy(p, our_mac, 6);
        p[6] &= 0xfe;
        p += WEIR_ETH_HEADER_BYTES;
        length -= WEIR_ETH_HEADER_BYTES;
    }
    if (length >= WEIR_IP6_HEADER_BYTES && p[0] >> 4 == 6) {
        weir_store16(p + 4, (uint16_t)(length - WEIR_IP6_HEADER_BYTES));
        p[8] = 0xfd;
        memcpy(p + 24, our_ip6.ip, 16);
    } else if (length >= WEIR_IP4_HEADER_BYTES && p[0] >> 4 == 4) {
        const uint8_t head = (p[0] & 15) * 4;
        weir_store16(p + 2, (uint16_t)length);
        p[12] = 10;
        memcpy(p + 16, our_ip4.ip, 4);
        if (head >= WEIR_IP4_HEADER_BYTES && head <= length) {
            ip_world_seal_ip4(p);
        }
    }
}

static void give(struct ip_world *world, uint8_t operation, const uint8_t *data, size_t length,
                 bool is_ethernet)
{
    uint8_t *copy = malloc(length + 1);
    const struct weir_packet frame = {
        .data = copy,
        .length = (uint32_t)length,
        .is_checked = (operation & FLAG_CHECKED) != 0,
        .segment_bytes = (operation & FLAG_JOINED) != 0 ? 100 : 0,
    };
    if (copy == NULL) {
        return;
    }
    memcpy(copy, data, length);
    if ((operation & FLAG_REPAIRED) != 0) {
        repair(copy, length, is_ethernet);
    }
    weir_ip_begin(world->ip);
    if (weir_ip_input(world->ip, world->now, &frame, &world->packet, &world->path)) {
        must(world->packet.length <= UINT16_MAX);
        must(world->packet.segment_bytes == 0 || world->packet.protocol != WEIR_PROTOCOL_DATAGRAM ||
             world->packet.segment_bytes < world->packet.length);
        must(world->path.remote.family != WEIR_ADDR_NONE);
        read_all(world->packet.data, world->packet.length);
    }
    take_output(world);
    free(copy);
}

static void send_bytes(struct ip_world *world, uint8_t operation, const uint8_t *data,
                       size_t length, bool is_unchecked)
{
    uint8_t *copy = malloc(WEIR_IP_HEADROOM + length + 1);
    struct weir_transmit frame;
    struct weir_transmit transmit = {.path = {.remote = peer_ip4}, .length = (uint32_t)length};
    if (copy == NULL) {
        return;
    }
    transmit.data = copy + WEIR_IP_HEADROOM;
    transmit.segment_bytes = (uint16_t)length;
    memcpy(transmit.data, data, length);
    if ((operation & OPERATION_MASK) == OPERATION_SEND6) {
        transmit.path.remote = peer_ip6;
    }
    if (length > 0) {
        transmit.path.remote.ip[3] ^= data[0] & 15;
    }
    if ((operation & FLAG_JOINED) != 0 && is_unchecked) {
        transmit.segment_bytes = 100;
        transmit.header_bytes = 20;
    }
    if (weir_ip_encapsulate(world->ip, world->now, &transmit, &frame) == WEIR_OK) {
        must(frame.data >= copy && frame.data + frame.length <= transmit.data + length);
        must(frame.header_bytes <= frame.length);
    }
    take_output(world);
    free(copy);
}

static void run_steps(struct ip_world *world, const uint8_t *data, size_t size, uint8_t flags)
{
    while (size >= 3) {
        size_t length = data[1] | (size_t)data[2] << 8;
        const uint8_t operation = data[0];
        const bool is_ethernet = (flags & CONFIG_ETHERNET) != 0;
        data += 3;
        size -= 3;
        length = length < size ? length : size;
        switch (operation & OPERATION_MASK) {
        case OPERATION_WAIT:
            world->now += ((weir_nsec)length + 1) * 100 * WEIR_MSEC;
            weir_ip_timeout(world->ip, world->now);
            must(weir_ip_next_timeout(world->ip) > world->now);
            take_output(world);
            continue;
        case OPERATION_SEND4:
        case OPERATION_SEND6:
            send_bytes(world, operation, data, length, (flags & CONFIG_UNCHECKED) != 0);
            break;
        default:
            give(world, operation, data, length, is_ethernet);
            break;
        }
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ip_world world;
    if (size == 0) {
        return 0;
    }
    struct weir_ip_config config = ip_world_config((data[0] & CONFIG_ETHERNET) != 0);
    const struct weir_ip_service service = {.is_tcp = (data[0] & CONFIG_TCP) != 0,
                                            .udp_port =
                                                (data[0] & CONFIG_TCP) != 0 ? 0 : IP_WORLD_PORT,
                                            .is_unchecked = (data[0] & CONFIG_UNCHECKED) != 0};
    /* Small bounds are reached. */
    config.neighbours_max = 4;
    config.pending_max = 3;
    config.reassembly_max = 3;
    config.reassembly_bytes_max = 8192;
    config.gateway4 = peer_ip4;
    must(ip_world_open(&world, &config, &service));
    run_steps(&world, data + 1, size - 1, data[0]);
    ip_world_close(&world);
    return 0;
}
