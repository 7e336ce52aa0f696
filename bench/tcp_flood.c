/* SPDX-License-Identifier: MIT */
/*
 * tcp_flood.c - crafted clients: SYN, and the ACK that opens the connection, as IPv4 packets.
 */
#include <string.h>

#include "tcp_bench.h"
#include "weir/driver.h"
#include "wire/ip4.h"
#include "wire/tcp.h"

enum {
    FIRST_PORT = 1024,
    PORTS = 60000,
    SEQUENCE = 77777
};

static struct weir_path path_of(uint32_t client)
{
    const uint32_t net = client / PORTS;
    return (struct weir_path){
        .local = {.ip = {11, (uint8_t)(net >> 16), (uint8_t)(net >> 8), (uint8_t)(net + 1)},
                  .family = WEIR_ADDR_IP4,
                  .port = (uint16_t)(FIRST_PORT + client % PORTS)},
        .remote = {.ip = {10, 1, 0, 2}, .family = WEIR_ADDR_IP4, .port = TCP_PORT_DISCARD}};
}

static void craft(struct flood *flood, uint32_t i, const struct weir_tcp_segment *wanted)
{
    const struct weir_path path = path_of(flood->next - flood->count + i);
    struct weir_tcp_segment segment = *wanted;
    uint8_t *at = flood->frames[i];
    segment.source = path.local.port;
    segment.target = path.remote.port;
    segment.window = 65535;
    uint32_t length = weir_tcp_encode(at + WEIR_IP4_HEADER_BYTES, &segment);
    weir_tcp_seal(at + WEIR_IP4_HEADER_BYTES, length, &path);
    struct weir_ip4 ip4 = {.total_bytes = (uint16_t)(WEIR_IP4_HEADER_BYTES + length),
                           .header_bytes = WEIR_IP4_HEADER_BYTES,
                           .ttl = 64,
                           .protocol = WEIR_IP_TCP,
                           .is_kept_whole = true};
    memcpy(ip4.source, path.local.ip, sizeof(ip4.source));
    memcpy(ip4.destination, path.remote.ip, sizeof(ip4.destination));
    weir_ip4_encode(at, &ip4);
    flood->lengths[i] = ip4.total_bytes;
}

void flood_syn(struct flood *flood, uint32_t count)
{
    const struct weir_tcp_segment syn = {
        .seq = SEQUENCE, .flags = WEIR_TCP_SYN, .options = WEIR_TCP_HAS_MSS, .mss = 1460};
    flood->next += count;
    flood->count = count;
    flood->answered = 0;
    memset(flood->acks, 0, sizeof(flood->acks));
    for (uint32_t i = 0; i < count; i++) {
        craft(flood, i, &syn);
    }
}

void flood_on_frame(struct flood *flood, const uint8_t *frame, size_t length)
{
    struct weir_tcp_segment segment;
    const struct weir_span bytes = {.data = frame + WEIR_IP4_HEADER_BYTES,
                                    .length = length - WEIR_IP4_HEADER_BYTES};
    if (length < WEIR_IP4_HEADER_BYTES || !weir_tcp_decode(bytes, &segment) ||
        (segment.flags & (WEIR_TCP_SYN | WEIR_TCP_ACK)) != (WEIR_TCP_SYN | WEIR_TCP_ACK)) {
        return;
    }
    /* All of a batch are from one address or two; the port says which one it is. */
    const uint32_t first = flood->next - flood->count;
    const uint32_t i = ((uint32_t)segment.target - FIRST_PORT + PORTS - first % PORTS) % PORTS;
    if (i < flood->count && flood->acks[i] == 0) {
        flood->acks[i] = segment.seq + 1;
        flood->answered++;
    }
}

void flood_ack(struct flood *flood)
{
    tcp_must(flood->answered == flood->count, "flood: an answer to every SYN");
    for (uint32_t i = 0; i < flood->count; i++) {
        const struct weir_tcp_segment ack = {
            .seq = SEQUENCE + 1, .ack = flood->acks[i], .flags = WEIR_TCP_ACK};
        craft(flood, i, &ack);
    }
}
