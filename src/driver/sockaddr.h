/* SPDX-License-Identifier: MIT */
/*
 * sockaddr.h - weir_addr to and from the system's socket addresses.
 *
 * Role: the one place that knows both; drivers and the command line use it.
 */
#ifndef WEIR_DRIVER_SOCKADDR_H
#define WEIR_DRIVER_SOCKADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "weir/addr.h"

/* Room for both families; a sockaddr_storage would be four times as long. */
union weir_sockaddr {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
};

/* Writes addr for a socket of AF_INET (is_inet6 false) or AF_INET6, where IPv4 becomes the mapped
 * ::ffff:a.b.c.d. An IPv6 address stays one in both cases. Returns the length to pass to the
 * system, 0 when addr has no family. */
socklen_t weir_sockaddr_encode(const struct weir_addr *addr, bool is_inet6,
                               union weir_sockaddr *out);

/* Reads AF_INET and AF_INET6; mapped addresses become WEIR_ADDR_IP4. WEIR_ERR_INVALID for any other
 * family or a length too short for it; addr is then WEIR_ADDR_NONE. */
enum weir_status weir_sockaddr_decode(const void *sockaddr, socklen_t length,
                                      struct weir_addr *addr);

/* An in6_addr to an address without a port: mapped ones become WEIR_ADDR_IP4; scope is kept only
 * for link-local addresses. */
void weir_sockaddr_from_in6(const struct in6_addr *ip, uint32_t scope, struct weir_addr *addr);

/* The other way, IPv4 as a mapped address. */
void weir_sockaddr_to_in6(const struct weir_addr *addr, struct in6_addr *ip);

/* Are all bits of the IP zero (the any-address)? */
bool weir_sockaddr_is_any(const struct weir_addr *addr);

#endif
