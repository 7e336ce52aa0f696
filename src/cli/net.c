/* SPDX-License-Identifier: MIT */
/*
 * net.c - --driver: opens what its value says.
 */
#include "cli/net.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/udp.h"

enum {
    FAULT_SEED = 1,
    IP4_HEADER_BYTES = 20,
    IP6_HEADER_BYTES = 40,
    PORT_EPHEMERAL = 49152, /* RFC 6335 6: the first of the dynamic ports */
    PORT_COUNT = 65536 - PORT_EPHEMERAL
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

static bool is_link_local(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP6 && addr->ip[0] == 0xfe && (addr->ip[1] & 0xc0) == 0x80;
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

/* The first host of our prefix that is not us: the prefix with the last bits counting from 1. A
 * prefix without one gives family NONE. */
static struct weir_ip_address first_other(const struct cli_net_options *options,
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

/* The first address of a family, or NULL. */
static const struct weir_ip_address *first_of(const struct cli_net_options *options, uint8_t family)
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
    const struct weir_ip_address *found = first_of(options, remote->family);
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

/* --- opening ---------------------------------------------------------------------------------- */

/* Only what was asked for is set on a device that exists. */
static void set_hosts(const struct cli_net_options *options, struct weir_tun_config *config)
{
    const struct weir_ip_address *own4 = first_of(options, WEIR_ADDR_IP4);
    const struct weir_ip_address *own6 = first_of(options, WEIR_ADDR_IP6);
    const bool is_new = if_nametoindex(options->name) == 0;
    struct weir_ip_address host4 = options->host4;
    struct weir_ip_address host6 = options->host6;
    if (host4.addr.family == WEIR_ADDR_NONE && own4 != NULL && is_new) {
        host4 = first_other(options, own4);
    }
    if (host6.addr.family == WEIR_ADDR_NONE && own6 != NULL && is_new) {
        host6 = first_other(options, own6);
    }
    config->host = host4.addr;
    config->host_prefix = host4.prefix;
    config->host6 = host6.addr;
    config->host6_prefix = host6.prefix;
}

static enum weir_status open_tun(const struct cli_net_options *options, bool is_plain,
                                 struct weir_driver **driver,
                                 const struct weir_interface **interface,
                                 char problem[WEIR_PROBLEM_BYTES])
{
    struct weir_tun_config config;
    weir_tun_config_default(&config);
    memcpy(config.name, options->name, sizeof(config.name));
    config.is_tap = options->kind == CLI_NET_TAP;
    config.is_offload_disabled = is_plain;
    config.mtu_bytes = (uint16_t)options->mtu_bytes;
    config.queue_frames = options->queue_frames;
    set_hosts(options, &config);
    enum weir_status status = weir_tun_open(&config, driver, problem);
    *interface = status == WEIR_OK ? weir_tun_interface(*driver) : NULL;
    return status;
}

static enum weir_status open_packet(const struct cli_net_options *options, bool is_plain,
                                    struct weir_driver **driver,
                                    const struct weir_interface **interface,
                                    char problem[WEIR_PROBLEM_BYTES])
{
    struct weir_packet_config config;
    weir_packet_config_default(&config);
    memcpy(config.name, options->name, sizeof(config.name));
    config.is_offload_disabled = is_plain;
    enum weir_status status = weir_packet_open(&config, driver, problem);
    *interface = status == WEIR_OK ? weir_packet_interface(*driver) : NULL;
    return status;
}

static enum weir_status open_raw(const struct cli_net_options *options, bool is_udp,
                                 struct weir_driver **driver,
                                 const struct weir_interface **interface,
                                 char problem[WEIR_PROBLEM_BYTES])
{
    enum {
        PROTOCOL_UDP = 17
    };

    struct weir_raw_config config;
    weir_raw_config_default(&config);
    config.local = options->addresses[0].addr;
    config.is_trusted = options->is_trusted;
    config.protocol = is_udp ? PROTOCOL_UDP : config.protocol;
    enum weir_status status = weir_raw_open(&config, driver, problem);
    *interface = status == WEIR_OK ? weir_raw_interface(*driver) : NULL;
    return status;
}

/* is_udp, or TCP. */
static enum weir_status open_frames(const struct cli_net_options *options, bool is_udp,
                                    bool is_plain, struct weir_driver **driver,
                                    const struct weir_interface **interface)
{
    char problem[WEIR_PROBLEM_BYTES] = "";
    enum weir_status status;
    if (options->kind == CLI_NET_PACKET) {
        status = open_packet(options, is_plain, driver, interface, problem);
    } else if (options->kind == CLI_NET_RAW) {
        status = open_raw(options, is_udp, driver, interface, problem);
    } else {
        status = open_tun(options, is_plain, driver, interface, problem);
    }
    if (status != WEIR_OK) {
        cli_fail(CLI_FAILED, "--driver %s: %s", options->text,
                 problem[0] != 0 ? problem : weir_status_text(status));
    }
    return status;
}

/* Closes driver and returns NULL when it cannot be wrapped. */
static struct weir_driver *wrap_loss(const struct cli_net_options *options,
                                     struct weir_driver *driver)
{
    const struct weir_sim_link link = {.loss_ppm = options->loss_ppm};
    struct weir_driver *wrapped = NULL;
    if (options->loss_ppm == 0) {
        return driver;
    }
    if (weir_fault_open(driver, FAULT_SEED, &link, &link, 0, &wrapped) != WEIR_OK) {
        cli_fail(CLI_FAILED, "--driver %s: no memory for its packets", options->text);
        driver->ops->close(driver);
        return NULL;
    }
    return wrapped;
}

static struct weir_driver *wrap_trace(struct weir_driver *driver, const char *path)
{
    struct weir_driver *traced = NULL;
    int error = 0;
    if (path == NULL) {
        return driver;
    }
    if (weir_trace_open(driver, path, &traced, &error) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace '%s': %s", path, cli_text_errno(error));
        driver->ops->close(driver);
        return NULL;
    }
    return traced;
}

static struct weir_driver *wrap_inet(const struct cli_net_options *options, uint16_t udp_port,
                                     const struct weir_interface *interface,
                                     struct weir_driver *driver)
{
    struct weir_inet_config config;
    struct weir_driver *wrapped = NULL;
    weir_inet_config_default(&config, interface);
    config.udp_port = udp_port;
    config.ip.address_count = options->address_count;
    memcpy(config.ip.addresses, options->addresses, sizeof(config.ip.addresses));
    for (uint32_t i = 0; i < options->address_count; i++) {
        if (is_link_local(&config.ip.addresses[i].addr)) {
            config.ip.addresses[i].addr.scope = interface->index;
        }
    }
    config.ip.gateway4 = options->gateway4;
    config.ip.gateway6 = options->gateway6;
    if (options->mtu_bytes != 0 && options->mtu_bytes < config.ip.mtu_bytes) {
        config.ip.mtu_bytes = options->mtu_bytes;
    }
    enum weir_status status = weir_inet_open(driver, &config, &wrapped);
    if (status == WEIR_OK) {
        return wrapped;
    }
    driver->ops->close(driver);
    cli_fail(CLI_FAILED, "--driver %s: %s", options->text,
             status != WEIR_ERR_INVALID ? weir_status_text(status)
             : config.ip.mtu_bytes < 1280
                 ? "the MTU is too small; IPv4 takes 576 and more, IPv6 1280"
                 : "a group's address, or none, cannot be a host's");
    return NULL;
}

struct weir_driver *cli_net_open(const struct cli_net_options *options, uint16_t udp_port,
                                 const char *trace_path)
{
    struct weir_driver *driver = NULL;
    const struct weir_interface *interface = NULL;
    /* Loss is of packets, and a trace shows them as they leave. */
    const bool is_plain = options->is_plain || options->loss_ppm != 0 || trace_path != NULL;
    if (!cli_net_check_tcp(options)) {
        return NULL;
    }
    if (open_frames(options, udp_port != 0, is_plain, &driver, &interface) != WEIR_OK) {
        return NULL;
    }
    driver = wrap_loss(options, driver);
    if (driver != NULL) {
        driver = wrap_inet(options, udp_port, interface, driver);
    }
    return driver == NULL ? NULL : wrap_trace(driver, trace_path);
}

struct weir_driver *cli_net_open_udp(const struct cli_net_options *options, struct weir_addr *bind,
                                     const char *trace_path, bool is_quiet)
{
    uint8_t seed[32];
    if (options->kind == CLI_NET_UDP) {
        struct weir_driver *driver = cli_udp_open(bind, NULL, is_quiet);
        driver = driver == NULL ? NULL : wrap_loss(options, driver);
        return driver == NULL ? NULL : wrap_trace(driver, trace_path);
    }
    if (!cli_net_check_local(options, bind)) {
        return NULL;
    }
    if (bind->port == 0) {
        if (weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
            cli_fail(CLI_FAILED, "the system gives no random numbers");
            return NULL;
        }
        bind->port = (uint16_t)(PORT_EPHEMERAL + (seed[0] << 8 | seed[1]) % PORT_COUNT);
    }
    return cli_net_open(options, bind->port, trace_path);
}

void cli_net_close(struct weir_driver *driver)
{
    cli_udp_close(driver);
}

uint16_t cli_net_mtu_bytes(const struct cli_net_options *options, const struct weir_driver *driver)
{
    bool is_ip4 = first_of(options, WEIR_ADDR_IP4) != NULL;
    return (uint16_t)(driver->datagram_bytes_max +
                      (is_ip4 ? (uint32_t)IP4_HEADER_BYTES : (uint32_t)IP6_HEADER_BYTES));
}
