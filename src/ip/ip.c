/* SPDX-License-Identifier: MIT */
/*
 * ip.c - the IP layer: set-up, its clock, its addresses.
 *
 * Memory: struct weir_ip, neighbours and what waits for them, reassembly, one message, own frames.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "ip/internal.h"

enum {
    MTU_DEFAULT = 1500,
    MTU_MIN = 576,
    MTU_MIN_IP6 = 1280, /* RFC 8200 5 */
    NEIGHBOURS_DEFAULT = 256,
    PENDING_DEFAULT = 16,
    REASSEMBLY_DEFAULT = 16,
    REASSEMBLY_MAX = 256,
    ERRORS_DEFAULT = 100,
    ECHOES_DEFAULT = 10000,
    ANNOUNCEMENTS = 2,
    BURST_PARTS = 10 /* of a second */
};

void weir_ip_config_default(struct weir_ip_config *config)
{
    *config = (struct weir_ip_config){.mtu_bytes = MTU_DEFAULT,
                                      .neighbours_max = NEIGHBOURS_DEFAULT,
                                      .pending_max = PENDING_DEFAULT,
                                      .reassembly_max = REASSEMBLY_DEFAULT,
                                      .reassembly_bytes_max = WEIR_IP4_BYTES_MAX,
                                      .reassembly_timeout = 60 * WEIR_SEC,
                                      .hop_limit = WEIR_IP_HOP_LIMIT,
                                      .errors_per_second = ERRORS_DEFAULT,
                                      .echoes_per_second = ECHOES_DEFAULT};
}

const char *weir_ip_drop_text(enum weir_ip_drop drop)
{
    static const char *const texts[WEIR_IP_DROP_COUNT] = {[WEIR_IP_DROP_ETHERNET] = "ethernet",
                                                          [WEIR_IP_DROP_ARP] = "arp",
                                                          [WEIR_IP_DROP_HEADER] = "header",
                                                          [WEIR_IP_DROP_CHECKSUM] = "checksum",
                                                          [WEIR_IP_DROP_SOURCE] = "source",
                                                          [WEIR_IP_DROP_DESTINATION] =
                                                              "destination",
                                                          [WEIR_IP_DROP_EXTENSION] = "extension",
                                                          [WEIR_IP_DROP_PROTOCOL] = "protocol",
                                                          [WEIR_IP_DROP_UDP] = "udp",
                                                          [WEIR_IP_DROP_PORT] = "port",
                                                          [WEIR_IP_DROP_ICMP] = "icmp",
                                                          [WEIR_IP_DROP_ND] = "nd",
                                                          [WEIR_IP_DROP_QUOTE] = "quote",
                                                          [WEIR_IP_DROP_FRAGMENT] = "fragment",
                                                          [WEIR_IP_DROP_REASSEMBLY] = "reassembly",
                                                          [WEIR_IP_DROP_RATE] = "rate",
                                                          [WEIR_IP_DROP_OUTPUT] = "output",
                                                          [WEIR_IP_DROP_ROUTE] = "route",
                                                          [WEIR_IP_DROP_TOO_LARGE] = "too_large",
                                                          [WEIR_IP_DROP_UNRESOLVED] = "unresolved"};
    return drop < WEIR_IP_DROP_COUNT && texts[drop] != NULL ? texts[drop] : "?";
}

static bool is_family(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP4 || addr->family == WEIR_ADDR_IP6;
}

static bool is_address_valid(const struct weir_ip_config *config,
                             const struct weir_ip_address *address)
{
    const bool is_ip6 = address->addr.family == WEIR_ADDR_IP6;
    return is_family(&address->addr) && address->prefix <= (is_ip6 ? 128 : 32) &&
           !weir_ip_is_multicast(&address->addr) && !weir_ip_is_unspecified(&address->addr) &&
           config->mtu_bytes >= (is_ip6 ? MTU_MIN_IP6 : MTU_MIN);
}

static bool is_valid(const struct weir_ip_config *config)
{
    bool is_right =
        config->address_count > 0 && config->address_count <= WEIR_IP_ADDRESSES_MAX &&
        config->mtu_bytes <= WEIR_IP4_BYTES_MAX && config->neighbours_max > 0 &&
        config->reassembly_max <= REASSEMBLY_MAX && config->hop_limit > 0 && config->dscp < 64 &&
        config->reassembly_bytes_max <= WEIR_IP4_BYTES_MAX &&
        (config->gateway4.family == WEIR_ADDR_NONE || config->gateway4.family == WEIR_ADDR_IP4) &&
        (config->gateway6.family == WEIR_ADDR_NONE || config->gateway6.family == WEIR_ADDR_IP6) &&
        (!config->is_ethernet || !weir_mac_is_group(config->mac));
    for (uint32_t i = 0; is_right && i < config->address_count; i++) {
        is_right = is_address_valid(config, &config->addresses[i]);
    }
    return is_right;
}

static size_t own_bytes(void)
{
    return weir_size_align(sizeof(struct weir_ip), 64);
}

size_t weir_ip_mem_size(const struct weir_ip_config *config)
{
    if (!is_valid(config)) {
        return 0;
    }
    size_t bytes = own_bytes();
    bytes = weir_size_add(bytes, weir_ip_neighbours_bytes(config));
    bytes = weir_size_add(bytes, weir_ip_reassembly_bytes(config));
    bytes = weir_size_add(bytes, weir_size_align(WEIR_IP_MESSAGE_MAX, 64));
    return weir_size_add(bytes, WEIR_IP_OUT_BYTES);
}

static struct weir_ip_rate make_rate(uint32_t per_second)
{
    return (struct weir_ip_rate){.interval = per_second == 0 ? WEIR_NEVER : WEIR_SEC / per_second,
                                 .burst = WEIR_SEC / BURST_PARTS};
}

bool weir_ip_rate_take(struct weir_ip_rate *rate, weir_nsec now)
{
    weir_nsec next = weir_max_u64(rate->next, now);
    if (rate->interval == WEIR_NEVER || next - now > rate->burst) {
        return false;
    }
    rate->next = next + rate->interval;
    return true;
}

enum weir_status weir_ip_init(void *mem, const struct weir_ip_config *config,
                              const struct weir_ip_service *service, const uint8_t seed[32],
                              struct weir_ip **made)
{
    if (mem == NULL || ((uintptr_t)mem & 63) != 0 || !is_valid(config)) {
        return WEIR_ERR_INVALID;
    }
    struct weir_prng_secret secret;
    struct weir_ip *ip = mem;
    uint8_t *at = (uint8_t *)mem + own_bytes();
    weir_prng_secret_init(&secret, seed);
    ip->config = *config;
    ip->service = *service;
    ip->key =
        (struct weir_hash_key){weir_prng_secret_next(&secret), weir_prng_secret_next(&secret)};
    weir_prng_init(&ip->prng, weir_prng_secret_next(&secret));
    for (uint32_t i = 0; i < config->address_count; i++) {
        ip->own[i].address = config->addresses[i];
        ip->own[i].address.addr =
            weir_ip_read_addr(ip, config->addresses[i].addr.ip, config->addresses[i].addr.family);
    }
    ip->announce_at = config->is_ethernet ? 0 : WEIR_NEVER;
    ip->next_at = ip->announce_at;
    ip->errors = make_rate(config->errors_per_second);
    ip->echoes = make_rate(config->echoes_per_second);
    weir_ip_neighbours_init(ip, at);
    at += weir_ip_neighbours_bytes(config);
    weir_ip_reassembly_init(ip, at);
    at += weir_ip_reassembly_bytes(config);
    ip->scratch = at;
    ip->out = at + weir_size_align(WEIR_IP_MESSAGE_MAX, 64);
    *made = ip;
    return WEIR_OK;
}

const struct weir_ip_stats *weir_ip_stats(const struct weir_ip *ip)
{
    return &ip->stats;
}

/* --- the clock -------------------------------------------------------------------------------- */

/* At the start, and once more a second later. IPv6 addresses are asked for first and used at once;
 * whoever has one already answers, and it is given up. */
static void announce(struct weir_ip *ip, weir_nsec now)
{
    for (uint32_t i = 0; i < ip->config.address_count; i++) {
        const struct weir_addr *own = &ip->own[i].address.addr;
        if (own->family == WEIR_ADDR_IP4) {
            weir_ip_arp_announce(ip, own);
        } else if (ip->announced == 0) {
            weir_ip_nd_probe(ip, own);
        } else if (!ip->own[i].is_duplicate) {
            weir_ip_nd_announce(ip, own);
        }
    }
    if (ip->announced == 0) {
        ip->opened_at = now;
    }
    ip->announced++;
    ip->announce_at = ip->announced < ANNOUNCEMENTS ? now + WEIR_SEC : WEIR_NEVER;
}

void weir_ip_timeout(struct weir_ip *ip, weir_nsec now)
{
    if (now < ip->next_at) {
        return;
    }
    if (now >= ip->announce_at) {
        announce(ip, now);
    }
    ip->next_at = ip->announce_at;
    weir_ip_neighbours_timeout(ip, now);
    weir_ip_reassembly_timeout(ip, now);
}

weir_nsec weir_ip_next_timeout(const struct weir_ip *ip)
{
    return ip->next_at;
}

void weir_ip_begin(struct weir_ip *ip)
{
    weir_ip_reassembly_begin(ip);
}

/* --- addresses -------------------------------------------------------------------------------- */

static uint32_t ip_bytes(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP6 ? 16 : 4;
}

bool weir_ip_is_same(const struct weir_addr *a, const struct weir_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* RFC 1112 4; RFC 4291 2.7. */
bool weir_ip_is_multicast(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP6 ? addr->ip[0] == 0xff : addr->ip[0] >> 4 == 14;
}

bool weir_ip_is_unspecified(const struct weir_addr *addr)
{
    static const uint8_t zeros[16];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}

static bool is_link_local(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP6 && addr->ip[0] == 0xfe && (addr->ip[1] & 0xc0) == 0x80;
}

static bool is_prefix_equal(const struct weir_addr *a, const struct weir_addr *b, uint32_t bits)
{
    const uint32_t whole = bits / 8;
    const uint8_t mask = (uint8_t)(0xff00U >> bits % 8);
    return a->family == b->family && memcmp(a->ip, b->ip, whole) == 0 &&
           (bits % 8 == 0 || ((a->ip[whole] ^ b->ip[whole]) & mask) == 0);
}

/* RFC 1122 3.2.1.3: all ones, everywhere or behind a prefix of ours. Prefixes of 31 and 32 bits
 * leave no room for one. */
bool weir_ip_is_broadcast(const struct weir_ip *ip, const struct weir_addr *addr)
{
    if (addr->family != WEIR_ADDR_IP4) {
        return false;
    }
    uint32_t value = weir_load32(addr->ip);
    bool is_found = value == UINT32_MAX;
    for (uint32_t i = 0; i < ip->config.address_count && !is_found; i++) {
        const struct weir_ip_address *own = &ip->own[i].address;
        uint32_t hosts = own->prefix < 31 ? UINT32_MAX >> own->prefix : 0;
        is_found = hosts != 0 && (value & hosts) == hosts &&
                   is_prefix_equal(addr, &own->addr, own->prefix);
    }
    return is_found;
}

bool weir_ip_is_unicast(const struct weir_ip *ip, const struct weir_addr *addr)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (weir_ip_is_multicast(addr) || weir_ip_is_unspecified(addr)) {
        return false;
    }
    if (addr->family == WEIR_ADDR_IP6) {
        return memcmp(addr->ip, loopback6, sizeof(loopback6)) != 0;
    }
    return addr->ip[0] != 0 && addr->ip[0] != 127 && addr->ip[0] < 240 &&
           !weir_ip_is_broadcast(ip, addr);
}

struct weir_ip_own *weir_ip_find_own(struct weir_ip *ip, const struct weir_addr *addr)
{
    for (uint32_t i = 0; i < ip->config.address_count; i++) {
        if (weir_ip_is_same(&ip->own[i].address.addr, addr) && !ip->own[i].is_duplicate) {
            return &ip->own[i];
        }
    }
    return NULL;
}

/* On the same link before others; link-local ones only for their like. */
const struct weir_addr *weir_ip_pick_own(const struct weir_ip *ip, const struct weir_addr *remote)
{
    const struct weir_addr *found = NULL;
    for (uint32_t i = 0; i < ip->config.address_count; i++) {
        const struct weir_ip_address *own = &ip->own[i].address;
        if (own->addr.family != remote->family || ip->own[i].is_duplicate) {
            continue;
        }
        if (is_prefix_equal(&own->addr, remote, own->prefix)) {
            return &own->addr;
        }
        if (found == NULL || (is_link_local(found) && !is_link_local(remote))) {
            found = &own->addr;
        }
    }
    return found;
}

const struct weir_addr *weir_ip_next_hop(const struct weir_ip *ip, const struct weir_addr *remote)
{
    /* RFC 1122 3.3.1.1: on the link when the prefix says so, else to the gateway. */
    for (uint32_t i = 0; i < ip->config.address_count; i++) {
        const struct weir_ip_address *own = &ip->own[i].address;
        if (is_prefix_equal(&own->addr, remote, own->prefix)) {
            return remote;
        }
    }
    if (is_link_local(remote)) {
        return remote;
    }
    const struct weir_addr *gateway =
        remote->family == WEIR_ADDR_IP6 ? &ip->config.gateway6 : &ip->config.gateway4;
    return gateway->family != WEIR_ADDR_NONE ? gateway : NULL;
}

struct weir_addr weir_ip_read_addr(const struct weir_ip *ip, const uint8_t *bytes, uint8_t family)
{
    struct weir_addr addr = {.family = family};
    memcpy(addr.ip, bytes, ip_bytes(&addr));
    addr.scope = is_link_local(&addr) ? ip->config.scope : 0;
    return addr;
}
