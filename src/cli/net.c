/* SPDX-License-Identifier: MIT */
/*
 * net.c - --driver: which address is meant.
 */
#include "cli/net.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/net_internal.h"
#include "cli/udp.h"

enum {
    IP4_HEADER_BYTES = 20,
    IP6_HEADER_BYTES = 40
};

/* --- which address ---------------------------------------------------------------------------- */

static uint32_t address_bits(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP4 ? 32 : 128;
}

static bool is_bit_set(const struct weir_addr *addr, uint32_t bit)
{
    return (addr->ip[bit / 8] & (0x80U >> bit % 8)) != 0;
}

static bool is_in_prefix(const struct weir_ip_address *own, const struct weir_addr *addr)
{
    bool is_same = own->addr.family == addr->family;
    for (uint32_t bit = 0; is_same && bit < own->prefix; bit++) {
        is_same = is_bit_set(&own->addr, bit) == is_bit_set(addr, bit);
    }
    return is_same;
}

bool cli_net_has_address(const struct cli_net_options *options, const struct weir_addr *addr)
{
    for (uint32_t i = 0; i < options->address_count; i++) {
        const struct weir_addr *own = &options->addresses[i].addr;
        if (own->family == addr->family && memcmp(own->ip, addr->ip, sizeof(own->ip)) == 0) {
            return true;
        }
    }
    return false;
}

struct weir_ip_address cli_net_first_other(const struct cli_net_options *options,
                                           const struct weir_ip_address *own)
{
    const uint32_t bits = address_bits(&own->addr);
    struct weir_ip_address host = *own;
    if (own->prefix >= bits) {
        return (struct weir_ip_address){.addr = {.family = WEIR_ADDR_NONE}};
    }
    for (uint32_t bit = own->prefix; bit < bits; bit++) {
        host.addr.ip[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
    }
    /* A prefix of two addresses has no network address (RFC 3021, RFC 6164). */
    const uint8_t base = host.addr.ip[bits / 8 - 1];
    for (uint32_t last = own->prefix == bits - 1 ? 0 : 1; last <= WEIR_IP_ADDRESSES_MAX + 1;
         last++) {
        host.addr.ip[bits / 8 - 1] = (uint8_t)(base + last);
        if (!cli_net_has_address(options, &host.addr)) {
            break;
        }
    }
    bool is_found = is_in_prefix(own, &host.addr) && !cli_net_has_address(options, &host.addr);
    return is_found ? host : (struct weir_ip_address){.addr = {.family = WEIR_ADDR_NONE}};
}

const struct weir_ip_address *cli_net_first_of(const struct cli_net_options *options,
                                               uint8_t family)
{
    for (uint32_t i = 0; i < options->address_count; i++) {
        if (options->addresses[i].addr.family == family) {
            return &options->addresses[i];
        }
    }
    return NULL;
}

static bool is_any(const struct weir_addr *addr)
{
    static const uint8_t zeros[sizeof(addr->ip)];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}

bool cli_net_check_tcp(const struct cli_net_options *options)
{
    if (options->kind != CLI_NET_UDP) {
        return true;
    }
    cli_fail(CLI_USAGE, "tcp:// is weir's own TCP and needs a driver: --driver "
                        "tun:weir0,10.7.0.2/24, packet:INTERFACE,ADDR/BITS or raw:ADDR");
    return false;
}

bool cli_net_check_local(const struct cli_net_options *options, const struct weir_addr *local)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    if (options->kind == CLI_NET_UDP || is_any(local) || cli_net_has_address(options, local)) {
        return true;
    }
    weir_addr_format(local, text);
    cli_fail(CLI_USAGE, "%s is not an address of --driver %s", text, options->text);
    return false;
}

bool cli_net_source(const struct cli_net_options *options, const struct weir_addr *remote,
                    struct weir_addr *local)
{
    const struct weir_ip_address *found = cli_net_first_of(options, remote->family);
    for (uint32_t i = 0; i < options->address_count; i++) {
        if (is_in_prefix(&options->addresses[i], remote)) {
            found = &options->addresses[i];
            break;
        }
    }
    if (found == NULL) {
        cli_fail(CLI_USAGE, "--driver %s has no IPv%d address; add one", options->text,
                 remote->family == WEIR_ADDR_IP4 ? 4 : 6);
        return false;
    }
    *local = found->addr;
    local->scope = remote->scope;
    return true;
}

void cli_net_close(struct weir_driver *driver)
{
    cli_udp_close(driver);
}

uint16_t cli_net_mtu_bytes(const struct cli_net_options *options, const struct weir_driver *driver)
{
    bool is_ip4 = cli_net_first_of(options, WEIR_ADDR_IP4) != NULL;
    return (uint16_t)(driver->datagram_bytes_max +
                      (is_ip4 ? (uint32_t)IP4_HEADER_BYTES : (uint32_t)IP6_HEADER_BYTES));
}
