/* SPDX-License-Identifier: MIT */
/*
 * net_options.c - --driver: reads its value.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/net.h"

enum {
    KEY_DRIVER = 0x700,
    WORD_BYTES = 80, /* longer than any word that is right */
    MTU_BYTES_MIN = 576,
    MTU_BYTES_MIN_IP6 = 1280,
    MTU_BYTES_MAX = 65535,
    QUEUE_FRAMES_MAX = 1000000
};

/* --- words ------------------------------------------------------------------------------------ */

static bool complain(const struct cli_net_options *options, const char *word, const char *what)
{
    cli_fail(CLI_USAGE, "--driver '%s': '%s' %s", options->text, word, what);
    return false;
}

static bool read_addr(const char *text, struct weir_addr *addr)
{
    *addr = (struct weir_addr){.family = WEIR_ADDR_IP4};
    if (inet_pton(AF_INET, text, addr->ip) == 1) {
        return true;
    }
    addr->family = WEIR_ADDR_IP6;
    return inet_pton(AF_INET6, text, addr->ip) == 1;
}

/* Neither a group's address nor that of nobody. */
static bool is_host(const struct weir_addr *addr)
{
    static const uint8_t zeros[sizeof(addr->ip)];
    if (memcmp(addr->ip, zeros, sizeof(zeros)) == 0) {
        return false;
    }
    return addr->family == WEIR_ADDR_IP4 ? addr->ip[0] != 0 && addr->ip[0] < 224
                                         : addr->ip[0] != 0xff;
}

/* "ADDR/BITS" of a host. */
static bool read_prefix(const char *text, struct weir_ip_address *address)
{
    char copy[WORD_BYTES];
    const char *slash = strchr(text, '/');
    uint64_t bits = 0;
    *address = (struct weir_ip_address){.prefix = 0};
    if (slash == NULL || (size_t)(slash - text) >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, (size_t)(slash - text));
    copy[slash - text] = 0;
    if (!read_addr(copy, &address->addr) ||
        !cli_read_count(slash + 1, address->addr.family == WEIR_ADDR_IP4 ? 32 : 128, &bits)) {
        return false;
    }
    address->prefix = (uint8_t)bits;
    return is_host(&address->addr);
}

static bool is_device(const struct cli_net_options *options)
{
    return options->kind == CLI_NET_TUN || options->kind == CLI_NET_TAP;
}

static bool add_address(struct cli_net_options *options, const char *word)
{
    struct weir_ip_address address;
    if (options->kind == CLI_NET_UDP || options->kind == CLI_NET_RAW) {
        return complain(options, word, "is not an option that it takes");
    }
    if (!read_prefix(word, &address)) {
        return complain(options, word,
                        "is neither an option nor a host's address with its bits, like "
                        "10.7.0.2/24");
    }
    if (options->address_count == WEIR_IP_ADDRESSES_MAX) {
        return complain(options, word, "is too much: there may be 8 addresses");
    }
    options->addresses[options->address_count++] = address;
    return true;
}

static bool read_host(struct cli_net_options *options, const char *word, const char *value)
{
    struct weir_ip_address address;
    if (!is_device(options)) {
        return complain(options, word, "is for tun and tap");
    }
    if (!read_prefix(value, &address)) {
        return complain(options, word, "wants an address with its bits, like 10.7.0.1/24");
    }
    *(address.addr.family == WEIR_ADDR_IP4 ? &options->host4 : &options->host6) = address;
    return true;
}

static bool read_gateway(struct cli_net_options *options, const char *word, const char *value)
{
    struct weir_addr addr;
    if (options->kind == CLI_NET_UDP || options->kind == CLI_NET_RAW) {
        return complain(options, word, "is for tun, tap and packet");
    }
    if (!read_addr(value, &addr)) {
        return complain(options, word, "wants an address, like 10.7.0.1");
    }
    *(addr.family == WEIR_ADDR_IP4 ? &options->gateway4 : &options->gateway6) = addr;
    return true;
}

static bool read_number(struct cli_net_options *options, const char *word, const char *value)
{
    uint64_t number = 0;
    if (strncmp(word, "mtu=", 4) == 0) {
        if (options->kind == CLI_NET_UDP || !cli_read_count(value, MTU_BYTES_MAX, &number) ||
            number < MTU_BYTES_MIN) {
            return complain(options, word, "is not an MTU from 576 to 65535 of our own IP");
        }
        options->mtu_bytes = (uint32_t)number;
        return true;
    }
    if (!is_device(options) || !cli_read_count(value, QUEUE_FRAMES_MAX, &number) || number == 0) {
        return complain(options, word, "is not a number of frames from 1 to 1000000 of tun or tap");
    }
    options->queue_frames = (uint32_t)number;
    return true;
}

static bool read_flag(struct cli_net_options *options, const char *word)
{
    if (strcmp(word, "plain") == 0 && (is_device(options) || options->kind == CLI_NET_PACKET)) {
        return options->is_plain = true;
    }
    if (strcmp(word, "trusted") == 0 && options->kind == CLI_NET_RAW) {
        return options->is_trusted = true;
    }
    return add_address(options, word);
}

static bool read_word(struct cli_net_options *options, const char *word)
{
    const char *equals = strchr(word, '=');
    if (equals == NULL) {
        return read_flag(options, word);
    }
    if (strncmp(word, "host=", 5) == 0) {
        return read_host(options, word, equals + 1);
    }
    if (strncmp(word, "gateway=", 8) == 0) {
        return read_gateway(options, word, equals + 1);
    }
    if (strncmp(word, "mtu=", 4) == 0 || strncmp(word, "queue=", 6) == 0) {
        return read_number(options, word, equals + 1);
    }
    if (strncmp(word, "loss=", 5) == 0) {
        return cli_read_percent(equals + 1, &options->loss_ppm) ||
               complain(options, word, "is not a share like loss=5%");
    }
    return complain(options, word, "is not known; there are host, gateway, mtu, queue and loss");
}

/* --- the value -------------------------------------------------------------------------------- */

/* Copies *text up to the next comma to word and moves it past that. False: it is too long. */
static bool next_word(const char **text, char word[WORD_BYTES])
{
    size_t length = strcspn(*text, ",");
    if (length >= WORD_BYTES) {
        return false;
    }
    memcpy(word, *text, length);
    word[length] = 0;
    *text += length + ((*text)[length] == ',');
    return true;
}

static bool read_kind(struct cli_net_options *options, const char *word)
{
    static const char *const kinds[] = {[CLI_NET_UDP] = "udp",
                                        [CLI_NET_TUN] = "tun",
                                        [CLI_NET_TAP] = "tap",
                                        [CLI_NET_PACKET] = "packet",
                                        [CLI_NET_RAW] = "raw"};
    size_t length = strcspn(word, ":");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strlen(kinds[i]) == length && strncmp(kinds[i], word, length) == 0) {
            options->kind = (enum cli_net_kind)i;
            return (word[length] == ':') == (i != CLI_NET_UDP) ||
                   complain(options, word,
                            i == CLI_NET_UDP ? "takes no name; write udp"
                                             : "lacks a name; write tun:weir0,10.7.0.2/24");
        }
    }
    return complain(options, word, "is not known; there are udp, tun, tap, packet and raw");
}

/* What follows "tun:", or "raw:". */
static bool read_name(struct cli_net_options *options, const char *name)
{
    if (options->kind == CLI_NET_RAW) {
        struct weir_ip_address *own = &options->addresses[0];
        *own = (struct weir_ip_address){.prefix = 32};
        options->address_count = 1;
        return (read_addr(name, &own->addr) && own->addr.family == WEIR_ADDR_IP4) ||
               complain(options, name, "is not an IPv4 address of this machine");
    }
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof(options->name) || strchr(name, '/') != NULL) {
        return complain(options, name, "is not an interface's name of 1 to 15 letters");
    }
    memcpy(options->name, name, length + 1);
    return true;
}

/* What no word alone can tell. */
static bool check_whole(const struct cli_net_options *options)
{
    if (options->kind != CLI_NET_UDP && options->address_count == 0) {
        cli_fail(CLI_USAGE, "--driver '%s' lacks an address for weir; write %s,10.7.0.2/24",
                 options->text, options->text);
        return false;
    }
    for (uint32_t i = 0; i < options->address_count; i++) {
        if (options->addresses[i].addr.family == WEIR_ADDR_IP6 && options->mtu_bytes != 0 &&
            options->mtu_bytes < MTU_BYTES_MIN_IP6) {
            cli_fail(CLI_USAGE, "--driver '%s': IPv6 needs an mtu of 1280 and more", options->text);
            return false;
        }
    }
    return true;
}

bool cli_net_read(const char *text, struct cli_net_options *options)
{
    char word[WORD_BYTES];
    const char *at = text;
    *options = (struct cli_net_options){.text = text};
    if (!next_word(&at, word)) {
        return complain(options, text, "is not known; there are udp, tun, tap, packet and raw");
    }
    if (!read_kind(options, word) ||
        (options->kind != CLI_NET_UDP && !read_name(options, strchr(word, ':') + 1))) {
        return false;
    }
    while (*at != 0) {
        const char *rest = at;
        if (!next_word(&at, word)) {
            return complain(options, rest, "is too long");
        }
        if (!read_word(options, word)) {
            return false;
        }
    }
    return check_whole(options);
}

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "Below the transport:", 7},
    {"driver", KEY_DRIVER, "SPEC", 0,
     "What carries the packets: udp (default of rudp and kcp): the kernel's sockets; or weir's own "
     "IP over tun:NAME,ADDR/BITS, tap:NAME,ADDR/BITS, packet:INTERFACE,ADDR/BITS or raw:ADDR. "
     "ADDR is weir's; see weir(1) for more",
     7},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    if (key != KEY_DRIVER) {
        return ARGP_ERR_UNKNOWN;
    }
    return cli_net_read(argument, state->input) ? 0 : EINVAL;
}

const struct argp cli_net_argp = {option_list, parse_option, NULL, NULL, NULL, NULL, NULL};
