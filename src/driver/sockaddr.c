/* SPDX-License-Identifier: MIT */
/*
 * sockaddr.c - weir_addr to and from the system's socket addresses.
 *
 * Spec: RFC 4291 2.5.5.2 (IPv4-mapped IPv6 addresses).
 */
#include "driver/sockaddr.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    IP4_BYTES = 4,
    MAPPED_PREFIX_BYTES = 12
};

void weir_sockaddr_from_in6(const struct in6_addr *ip, uint32_t scope, struct weir_addr *addr)
{
    *addr = (struct weir_addr){.family = WEIR_ADDR_IP6};
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        addr->family = WEIR_ADDR_IP4;
        memcpy(addr->ip, ip->s6_addr + MAPPED_PREFIX_BYTES, IP4_BYTES);
        return;
    }
    memcpy(addr->ip, ip->s6_addr, sizeof(addr->ip));
    addr->scope = IN6_IS_ADDR_LINKLOCAL(ip) ? scope : 0;
}

void weir_sockaddr_to_in6(const struct weir_addr *addr, struct in6_addr *ip)
{
    if (addr->family == WEIR_ADDR_IP4) {
        memset(ip->s6_addr, 0, MAPPED_PREFIX_BYTES);
        ip->s6_addr[10] = ip->s6_addr[11] = 0xff;
        memcpy(ip->s6_addr + MAPPED_PREFIX_BYTES, addr->ip, IP4_BYTES);
        return;
    }
    memcpy(ip->s6_addr, addr->ip, sizeof(addr->ip));
}

socklen_t weir_sockaddr_encode(const struct weir_addr *addr, bool is_inet6,
                               union weir_sockaddr *out)
{
    if (addr->family == WEIR_ADDR_NONE) {
        return 0;
    }
    if (addr->family == WEIR_ADDR_IP4 && !is_inet6) {
        out->in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(addr->port)};
        memcpy(&out->in4.sin_addr, addr->ip, IP4_BYTES);
        return sizeof(out->in4);
    }
    out->in6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(addr->port), .sin6_scope_id = addr->scope};
    weir_sockaddr_to_in6(addr, &out->in6.sin6_addr);
    return sizeof(out->in6);
}

enum weir_status weir_sockaddr_decode(const void *sockaddr, socklen_t length,
                                      struct weir_addr *addr)
{
    union weir_sockaddr in = {.any.sa_family = AF_UNSPEC};
    memcpy(&in, sockaddr, length < sizeof(in) ? length : sizeof(in));
    if (in.any.sa_family == AF_INET && length >= sizeof(in.in4)) {
        *addr = (struct weir_addr){.family = WEIR_ADDR_IP4, .port = ntohs(in.in4.sin_port)};
        memcpy(addr->ip, &in.in4.sin_addr, IP4_BYTES);
        return WEIR_OK;
    }
    if (in.any.sa_family == AF_INET6 && length >= sizeof(in.in6)) {
        weir_sockaddr_from_in6(&in.in6.sin6_addr, in.in6.sin6_scope_id, addr);
        addr->port = ntohs(in.in6.sin6_port);
        return WEIR_OK;
    }
    *addr = (struct weir_addr){.family = WEIR_ADDR_NONE};
    return WEIR_ERR_INVALID;
}

bool weir_sockaddr_is_any(const struct weir_addr *addr)
{
    static const uint8_t zeros[sizeof(addr->ip)];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}
