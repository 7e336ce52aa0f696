/* SPDX-License-Identifier: MIT */
/*
 * addr.h - an IP address with a port, and the pair of them that a packet travels between.
 *
 * Role: the engines compare and copy addresses, only drivers know sockaddr. Plain values; all bytes
 * of an unused part are zero, so two addresses are equal when their 24 bytes are.
 */
#ifndef WEIR_ADDR_H
#define WEIR_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_addr_family {
    WEIR_ADDR_NONE = 0,
    WEIR_ADDR_IP4 = 4,
    WEIR_ADDR_IP6 = 6
};

struct weir_addr {
    uint8_t ip[16]; /* network order; IPv4 in the first 4 bytes, the rest zero */
    uint32_t scope; /* IPv6 interface index of a link-local address, else 0 */
    uint16_t port;  /* host order */
    uint8_t family; /* enum weir_addr_family */
    uint8_t zero;
};

/* Local may be WEIR_ADDR_NONE where the driver does not know or care. */
struct weir_path {
    struct weir_addr local;
    struct weir_addr remote;
};

/* The same family, address, scope and port. */
static inline bool weir_addr_is_equal(const struct weir_addr *a, const struct weir_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Longest text that weir_addr_format writes, with its final zero: "[v6%scope]:65535". */
enum {
    WEIR_ADDR_TEXT_BYTES = 72
};

/* Writes "192.0.2.1:80" or "[2001:db8::1%3]:80" into text, "none" for family NONE, and a final
 * zero. Returns the length without that. */
WEIR_API size_t weir_addr_format(const struct weir_addr *addr, char text[WEIR_ADDR_TEXT_BYTES]);

/* Reads a numeric "1.2.3.4:80" or "[::1]:80"; "*:80" and ":80" are the IPv6 any-address (dual
 * stack). No name look-up. WEIR_ERR_INVALID when text is anything else; addr is then unchanged. */
WEIR_API enum weir_status weir_addr_parse(const char *text, struct weir_addr *addr);

#ifdef __cplusplus
}
#endif
#endif
