/* SPDX-License-Identifier: MIT */
/*
 * addr.c - addresses to and from text, without the operating system.
 *
 * Role: one notation is written for each address, every notation of it is read; names of hosts and
 * interfaces are not.
 * Spec: RFC 4291 section 2.2 (what is read), RFC 5952 (what is written), RFC 4007 section 11.2 (the
 * zone after '%', a number here).
 */
#include <stdint.h>

#include "base/bytes.h"
#include "weir/addr.h"

enum {
    GROUPS = 8, /* of 16 bits in an IPv6 address */
    IP4_BYTES = 4,
    IP6_BYTES = 16,
    PORT_MAX = UINT16_MAX
};

/* ---- writing ---- */

static char *write_text(char *out, const char *text)
{
    while (*text != '\0') {
        *out++ = *text++;
    }
    return out;
}

static char *write_decimal(char *out, uint32_t value)
{
    char digits[10];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0) {
        *out++ = digits[--count];
    }
    return out;
}

/* RFC 5952 4.1, 4.3: no leading zeros, lower case. */
static char *write_group(char *out, uint32_t value)
{
    static const char hex[] = "0123456789abcdef";
    for (int shift = 12; shift >= 0; shift -= 4) {
        if (value >> shift != 0 || shift == 0) {
            *out++ = hex[(value >> shift) & 15];
        }
    }
    return out;
}

static char *write_ip4(char *out, const uint8_t ip[IP4_BYTES])
{
    for (int i = 0; i < IP4_BYTES; i++) {
        if (i > 0) {
            *out++ = '.';
        }
        out = write_decimal(out, ip[i]);
    }
    return out;
}

/* RFC 5952 4.2: "::" stands for the longest run of zero groups, the first of equals, never for a
 * single one. *count is 0 when there is no such run. */
static unsigned longest_zero_run(const uint16_t groups[GROUPS], unsigned *count)
{
    unsigned best = 0;
    *count = 0;
    for (unsigned i = 0, run = 0; i < GROUPS; i++) {
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > 1 && run > *count) {
            *count = run;
            best = i + 1 - run;
        }
    }
    return best;
}

/* RFC 4291 2.5.5.2: the IPv6 form of an IPv4 address. */
static bool is_ip4_mapped(const uint8_t ip[IP6_BYTES])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

static char *write_ip6(char *out, const uint8_t ip[IP6_BYTES])
{
    /* RFC 5952 5: the mixed notation is RECOMMENDED for addresses known to hold an IPv4 one. */
    if (is_ip4_mapped(ip)) {
        return write_ip4(write_text(out, "::ffff:"), ip + 12);
    }
    uint16_t groups[GROUPS];
    for (unsigned i = 0; i < GROUPS; i++) {
        groups[i] = weir_load16(ip + (size_t)2 * i);
    }
    unsigned zeros;
    unsigned start = longest_zero_run(groups, &zeros);
    for (unsigned i = 0; i < GROUPS; i++) {
        if (zeros > 0 && i == start) {
            out = write_text(out, "::");
            i += zeros - 1;
            continue;
        }
        if (i > 0 && !(zeros > 0 && i == start + zeros)) {
            *out++ = ':';
        }
        out = write_group(out, groups[i]);
    }
    return out;
}

size_t weir_addr_format(const struct weir_addr *addr, char text[WEIR_ADDR_TEXT_BYTES])
{
    char *out = text;
    if (addr->family == WEIR_ADDR_IP4) {
        out = write_ip4(out, addr->ip);
    } else if (addr->family == WEIR_ADDR_IP6) {
        *out++ = '[';
        out = write_ip6(out, addr->ip);
        if (addr->scope != 0) {
            *out++ = '%';
            out = write_decimal(out, addr->scope);
        }
        *out++ = ']';
    } else {
        out = write_text(out, "none");
    }
    if (addr->family != WEIR_ADDR_NONE) {
        *out++ = ':';
        out = write_decimal(out, addr->port);
    }
    *out = '\0';
    return (size_t)(out - text);
}

/* ---- reading: each read_x moves *at past what it took, or returns false ---- */

static bool take(const char **at, char wanted)
{
    if (**at != wanted) {
        return false;
    }
    (*at)++;
    return true;
}

/* Decimal without leading zeros: "010" is 8 to some readers and 10 to others, so it is refused. */
static bool read_decimal(const char **at, uint32_t max, uint32_t *value)
{
    const char *p = *at;
    uint64_t sum = 0;
    while (*p >= '0' && *p <= '9') {
        sum = sum * 10 + (uint64_t)(*p - '0');
        if (sum > max || (p > *at && **at == '0')) {
            return false;
        }
        p++;
    }
    if (p == *at) {
        return false;
    }
    *at = p;
    *value = (uint32_t)sum;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* RFC 4291 2.2: a group is one to four hexadecimal digits. */
static bool read_group(const char **at, uint16_t *value)
{
    unsigned sum = 0;
    unsigned count = 0;
    while (count < 4 && hex_value(**at) >= 0) {
        sum = sum * 16 + (unsigned)hex_value(**at);
        (*at)++;
        count++;
    }
    *value = (uint16_t)sum;
    return count > 0 && hex_value(**at) < 0;
}

static bool read_ip4(const char **at, uint8_t ip[IP4_BYTES])
{
    for (int i = 0; i < IP4_BYTES; i++) {
        uint32_t value;
        if ((i > 0 && !take(at, '.')) || !read_decimal(at, 255, &value)) {
            return false;
        }
        ip[i] = (uint8_t)value;
    }
    return true;
}

static bool has_embedded_ip4(const char *p)
{
    while (*p >= '0' && *p <= '9') {
        p++;
    }
    return *p == '.';
}

/* Up to max groups separated by single colons into groups, the last two perhaps as an IPv4 address
 * (RFC 4291 2.2, form 3). A "::" ends the list and is left unread; so does any other character. */
static bool read_groups(const char **at, uint16_t *groups, unsigned max, unsigned *count)
{
    *count = 0;
    for (;;) {
        if (*count + 2 <= max && has_embedded_ip4(*at)) {
            uint8_t ip[IP4_BYTES];
            if (!read_ip4(at, ip)) {
                return false;
            }
            groups[(*count)++] = weir_load16(ip);
            groups[(*count)++] = weir_load16(ip + 2);
            return **at != ':';
        }
        if (*count == max || !read_group(at, &groups[*count])) {
            return false;
        }
        (*count)++;
        if (**at != ':' || (*at)[1] == ':') {
            return true;
        }
        (*at)++;
    }
}

static bool starts_gap(const char *p)
{
    return p[0] == ':' && p[1] == ':';
}

static bool read_ip6(const char **at, uint8_t ip[IP6_BYTES])
{
    uint16_t groups[GROUPS] = {0};
    unsigned head = 0;
    if (!starts_gap(*at) && !read_groups(at, groups, GROUPS, &head)) {
        return false;
    }
    if (starts_gap(*at)) {
        /* RFC 4291 2.2: "::" stands for one or more groups and appears once. */
        if (head == GROUPS) {
            return false;
        }
        *at += 2;
        uint16_t tail_groups[GROUPS];
        unsigned tail = 0;
        bool has_tail = hex_value(**at) >= 0;
        if (has_tail && !read_groups(at, tail_groups, GROUPS - 1 - head, &tail)) {
            return false;
        }
        memcpy(groups + GROUPS - tail, tail_groups, tail * sizeof(groups[0]));
    } else if (head != GROUPS) {
        return false;
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        weir_store16(ip + (size_t)2 * i, groups[i]);
    }
    return true;
}

/* On the wire a mapped address is the IPv4 one, and that is what packets are compared with. */
static void unmap(struct weir_addr *addr)
{
    if (addr->scope == 0 && is_ip4_mapped(addr->ip)) {
        addr->family = WEIR_ADDR_IP4;
        memcpy(addr->ip, addr->ip + 12, IP4_BYTES);
        memset(addr->ip + IP4_BYTES, 0, sizeof(addr->ip) - IP4_BYTES);
    }
}

static bool read_host(const char **at, struct weir_addr *addr)
{
    if (take(at, '[')) {
        addr->family = WEIR_ADDR_IP6;
        if (!read_ip6(at, addr->ip) ||
            (take(at, '%') && !read_decimal(at, UINT32_MAX, &addr->scope)) || !take(at, ']')) {
            return false;
        }
        unmap(addr);
        return true;
    }
    if (**at == ':' || take(at, '*')) {
        addr->family = WEIR_ADDR_IP6;
        return true;
    }
    addr->family = WEIR_ADDR_IP4;
    return read_ip4(at, addr->ip);
}

enum weir_status weir_addr_parse(const char *text, struct weir_addr *addr)
{
    struct weir_addr read = {.family = WEIR_ADDR_NONE};
    const char *at = text;
    uint32_t port;
    if (!read_host(&at, &read) || !take(&at, ':') || !read_decimal(&at, PORT_MAX, &port) ||
        *at != '\0') {
        return WEIR_ERR_INVALID;
    }
    read.port = (uint16_t)port;
    *addr = read;
    return WEIR_OK;
}
