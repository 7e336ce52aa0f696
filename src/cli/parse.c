/* SPDX-License-Identifier: MIT */
/*
 * parse.c - readers of argument values: durations, sizes, rates, percentages, counts, URLs.
 *
 * Role: text is one value, wholly, or it is refused: no sign, no blank, no rest. Numbers are
 * decimal with up to nine places after the point, kept as integers all the way.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"

enum {
    BILLION = 1000000000
};

struct decimal {
    uint64_t whole;
    uint32_t billionths;
};

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Reads "12" or "12.5" from *text and moves it past. */
static bool read_decimal(const char **text, struct decimal *number)
{
    const char *at = *text;
    *number = (struct decimal){0};
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number->whole, 10, &number->whole) ||
            __builtin_add_overflow(number->whole, (uint64_t)(*at - '0'), &number->whole)) {
            return false;
        }
    }
    if (*at == '.') {
        at++;
        if (*at < '0' || *at > '9') {
            return false;
        }
        uint32_t place = BILLION / 10;
        for (; *at >= '0' && *at <= '9'; at++) {
            number->billionths += (uint32_t)(*at - '0') * place;
            place /= 10;
        }
    }
    *text = at;
    return true;
}

/* Reads a number with one of the suffixes (the table ends with a NULL suffix) as number * factor,
 * rounded down. */
static bool read_with_unit(const char *text, const struct unit *units, uint64_t *value)
{
    struct decimal number;
    if (!read_decimal(&text, &number)) {
        return false;
    }
    for (; units->suffix != NULL; units++) {
        if (strcasecmp(text, units->suffix) != 0) {
            continue;
        }
        unsigned __int128 scaled = (unsigned __int128)number.whole * units->factor +
                                   (unsigned __int128)number.billionths * units->factor / BILLION;
        if (scaled > UINT64_MAX) {
            return false;
        }
        *value = (uint64_t)scaled;
        return true;
    }
    return false;
}

bool cli_read_duration(const char *text, weir_nsec *ns)
{
    static const struct unit units[] = {
        {"", WEIR_SEC}, {"s", WEIR_SEC},      {"ms", WEIR_MSEC},      {"us", WEIR_USEC},
        {"ns", 1},      {"m", 60 * WEIR_SEC}, {"min", 60 * WEIR_SEC}, {"h", 3600 * WEIR_SEC},
        {NULL, 0}};
    /* WEIR_NEVER is no duration, and sums with a clock must not overflow. */
    uint64_t value;
    if (!read_with_unit(text, units, &value) || value > UINT64_MAX / 4) {
        return false;
    }
    *ns = value;
    return true;
}

bool cli_read_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"KB", 1000},
                                        {"MB", 1000000},
                                        {"GB", 1000000000},
                                        {"TB", 1000000000000},
                                        {"KiB", 1024},
                                        {"MiB", 1ULL << 20},
                                        {"GiB", 1ULL << 30},
                                        {"TiB", 1ULL << 40},
                                        {NULL, 0}};
    return read_with_unit(text, units, bytes);
}

bool cli_read_rate(const char *text, uint64_t *bits_per_second)
{
    static const struct unit units[] = {{"", 1},           {"bit", 1},           {"kbit", 1000},
                                        {"mbit", 1000000}, {"gbit", 1000000000}, {NULL, 0}};
    return read_with_unit(text, units, bits_per_second);
}

bool cli_read_percent(const char *text, uint32_t *ppm)
{
    static const struct unit units[] = {{"", 10000}, {"%", 10000}, {NULL, 0}};
    uint64_t value;
    if (!read_with_unit(text, units, &value) || value > 1000000) {
        return false;
    }
    *ppm = (uint32_t)value;
    return true;
}

bool cli_read_count(const char *text, uint64_t max, uint64_t *count)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};
    uint64_t value;
    if (strchr(text, '.') != NULL || !read_with_unit(text, units, &value) || value > max) {
        return false;
    }
    *count = value;
    return true;
}

/* --- URLs ------------------------------------------------------------------------------------- */

enum {
    HOST_BYTES_MAX = 255 /* RFC 1035 2.3.4 */
};

/* Splits "host:port", "[v6]:port" or "*:port"; host loses its brackets. */
static bool split_host_port(const char *text, char host[HOST_BYTES_MAX + 1], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    const char *start = text;
    const char *end = colon;
    if (*start == '[') {
        if (end - start < 3 || end[-1] != ']') {
            return false;
        }
        start++;
        end--;
    } else if (memchr(start, ':', (size_t)(end - start)) != NULL) {
        return false; /* an IPv6 address needs brackets */
    }
    size_t length = (size_t)(end - start);
    uint64_t number;
    if (length == 0 || length > HOST_BYTES_MAX || !cli_read_count(colon + 1, UINT16_MAX, &number)) {
        return false;
    }
    memcpy(host, start, length);
    host[length] = 0;
    *port = (uint16_t)number;
    return true;
}

static bool take_sockaddr(const struct addrinfo *info, uint16_t port, struct weir_addr *addr)
{
    *addr = (struct weir_addr){.port = port};
    if (info->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, info->ai_addr, sizeof(in));
        memcpy(addr->ip, &in.sin_addr, 4);
        addr->family = WEIR_ADDR_IP4;
        return true;
    }
    if (info->ai_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, info->ai_addr, sizeof(in6));
        memcpy(addr->ip, &in6.sin6_addr, 16);
        addr->scope = in6.sin6_scope_id;
        addr->family = WEIR_ADDR_IP6;
        return true;
    }
    return false;
}

/* Takes the first address that the system's resolver offers. */
static bool resolve(const char *host, uint16_t port, struct weir_addr *addr)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host, NULL, &hints, &list);
    if (error != 0) {
        cli_fail(CLI_USAGE, "cannot find the host '%s': %s", host, gai_strerror(error));
        return false;
    }
    bool is_found = false;
    for (const struct addrinfo *info = list; info != NULL && !is_found; info = info->ai_next) {
        is_found = take_sockaddr(info, port, addr);
    }
    freeaddrinfo(list);
    if (!is_found) {
        cli_fail(CLI_USAGE, "the host '%s' has no IPv4 or IPv6 address", host);
    }
    return is_found;
}

bool cli_read_address(const char *text, bool is_listen, struct weir_addr *addr)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (!split_host_port(text, host, &port)) {
        cli_fail(CLI_USAGE, "'%s' is not an address; write host:port or [v6]:port", text);
        return false;
    }
    if (!is_listen && port == 0) {
        cli_fail(CLI_USAGE, "'%s' has port 0; name the port to connect to", text);
        return false;
    }
    if (strcmp(host, "*") != 0) {
        return resolve(host, port, addr);
    }
    if (!is_listen) {
        cli_fail(CLI_USAGE, "'%s': * is for listening only; name the host to connect to", text);
        return false;
    }
    *addr = (struct weir_addr){.family = WEIR_ADDR_IP6, .port = port}; /* dual stack */
    return true;
}

bool cli_read_url(const char *text, bool is_listen, struct cli_url *url)
{
    const char *colon = strstr(text, "://");
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    if (length == 0 || length >= sizeof(url->scheme)) {
        cli_fail(CLI_USAGE,
                 "'%s' is not a URL; write rudp://host:port, kcp://host:port or tcp://host:port",
                 text);
        return false;
    }
    memset(url, 0, sizeof(*url));
    memcpy(url->scheme, text, length);
    if (strcmp(url->scheme, "rudp") != 0 && strcmp(url->scheme, "kcp") != 0 &&
        strcmp(url->scheme, "tcp") != 0) {
        cli_fail(CLI_USAGE,
                 "'%s': the transport '%s' is not known; this version has rudp, kcp and tcp", text,
                 url->scheme);
        return false;
    }
    return cli_read_address(colon + 3, is_listen, &url->addr);
}
