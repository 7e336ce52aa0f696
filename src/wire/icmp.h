/* SPDX-License-Identifier: MIT */
/*
 * icmp.h - the header that ICMP and ICMPv6 share, and the messages that are known here.
 *
 * Spec: RFC 792; RFC 1191 4 (next-hop MTU); RFC 4443 2.1, 3, 4; RFC 4861 4.
 *
 *      | type | code | checksum | 4 bytes by type | body
 */
#ifndef WEIR_WIRE_ICMP_H
#define WEIR_WIRE_ICMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/span.h"

enum {
    WEIR_ICMP_HEADER_BYTES = 8
};

enum weir_icmp_type {
    WEIR_ICMP_ECHO_REPLY = 0,
    WEIR_ICMP_UNREACHABLE = 3,
    WEIR_ICMP_ECHO = 8,
    WEIR_ICMP_TIME_EXCEEDED = 11,
    WEIR_ICMP_PROBLEM = 12
};

enum weir_icmp6_type {
    WEIR_ICMP6_UNREACHABLE = 1,
    WEIR_ICMP6_TOO_BIG = 2,
    WEIR_ICMP6_TIME_EXCEEDED = 3,
    WEIR_ICMP6_PROBLEM = 4,
    WEIR_ICMP6_ECHO = 128,
    WEIR_ICMP6_ECHO_REPLY = 129,
    WEIR_ICMP6_NEIGHBOUR_SOLICITATION = 135,
    WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT = 136
};

enum weir_icmp_code {
    WEIR_ICMP_CODE_PROTOCOL = 2, /* of UNREACHABLE, ICMP */
    WEIR_ICMP_CODE_PORT = 3,
    WEIR_ICMP_CODE_TOO_BIG = 4,
    WEIR_ICMP6_CODE_PORT = 4, /* of UNREACHABLE, ICMPv6 */
    WEIR_ICMP_CODE_REASSEMBLY = 1,
    WEIR_ICMP6_CODE_NEXT_HEADER = 1 /* of PROBLEM */
};

struct weir_icmp {
    uint8_t type, code;
    uint32_t rest; /* the 4 bytes by type: echo id and number, MTU, pointer, flags */
    struct weir_span body;
};

/* false: shorter than 8 bytes. The body borrows from p. */
bool weir_icmp_decode(const uint8_t *p, size_t length, struct weir_icmp *icmp);
/* path: its addresses are in the pseudo-header of ICMPv6; ICMP has none. */
bool weir_icmp_is_checksum_right(const uint8_t *p, size_t length, const struct weir_path *path);
/* Writes 8 bytes; the body is the caller's to put behind them. */
void weir_icmp_encode_header(uint8_t *p, const struct weir_icmp *icmp);
/* Writes the checksum of a whole message. */
void weir_icmp_seal(uint8_t *p, size_t length, const struct weir_path *path);
/* RFC 4443 2.4 (e), RFC 1122 3.2.2: about which no error is ever sent. */
bool weir_icmp_is_error(uint8_t type, bool is_ip6);

#endif
