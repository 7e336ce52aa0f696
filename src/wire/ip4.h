/* SPDX-License-Identifier: MIT */
/*
 * ip4.h - the IPv4 header.
 *
 * Spec: RFC 791 3.1; RFC 6864 (identification); RFC 3168 5 (ECN bits).
 *
 *     |4 | words | tos | total length   |
 *     | identification | DF MF | offset |
 *     | ttl | protocol | checksum       |
 *     | source                          |
 *     | destination                     |
 *     | options, up to 40 bytes         |
 */
#ifndef WEIR_WIRE_IP4_H
#define WEIR_WIRE_IP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_IP4_HEADER_BYTES = 20,
    WEIR_IP4_HEADER_MAX = 60,
    WEIR_IP4_BYTES_MAX = 65535
};

enum weir_ip_protocol {
    WEIR_IP_ICMP = 1,
    WEIR_IP_TCP = 6,
    WEIR_IP_UDP = 17,
    WEIR_IP_ICMP6 = 58
};

struct weir_ip4 {
    uint8_t source[4], destination[4];
    uint16_t total_bytes; /* header and payload */
    uint16_t id;
    uint16_t offset_bytes; /* of a fragment; a multiple of 8 */
    uint8_t header_bytes;  /* with options */
    uint8_t tos, ttl, protocol;
    bool is_kept_whole; /* DF */
    bool is_more;       /* MF: not the last fragment */
};

/* false: too short for its header or its total length, another version, or a header shorter than
 * 20 bytes. The checksum is looked at by the next call. */
bool weir_ip4_decode(const uint8_t *p, size_t length, struct weir_ip4 *ip4);
/* p holds a header that was decoded. */
bool weir_ip4_is_checksum_right(const uint8_t *p, const struct weir_ip4 *ip4);
/* Writes 20 bytes, header_bytes being that, with the checksum. */
void weir_ip4_encode(uint8_t *p, const struct weir_ip4 *ip4);

#endif
