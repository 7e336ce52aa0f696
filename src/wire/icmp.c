/* SPDX-License-Identifier: MIT */
/*
 * icmp.c - see icmp.h.
 */
#include "wire/icmp.h"

#include <string.h>

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/ip4.h"

enum {
    CHECKSUM_OFF = 2
};

bool weir_icmp_decode(const uint8_t *p, size_t length, struct weir_icmp *icmp)
{
    if (length < WEIR_ICMP_HEADER_BYTES) {
        return false;
    }
    icmp->type = p[0];
    icmp->code = p[1];
    icmp->rest = weir_load32(p + 4);
    icmp->body = weir_span_of(p + WEIR_ICMP_HEADER_BYTES, length - WEIR_ICMP_HEADER_BYTES);
    return true;
}

/* RFC 4443 2.3: over a pseudo-header with next header 58, which RFC 792 does not have. */
static uint64_t start_sum(size_t length, const struct weir_path *path)
{
    if (path->remote.family != WEIR_ADDR_IP6) {
        return 0;
    }
    return weir_checksum_pseudo(path, WEIR_IP_ICMP6, (uint32_t)length);
}

bool weir_icmp_is_checksum_right(const uint8_t *p, size_t length, const struct weir_path *path)
{
    return weir_checksum_fold(weir_checksum_add(start_sum(length, path), p, length)) == 0;
}

void weir_icmp_encode_header(uint8_t *p, const struct weir_icmp *icmp)
{
    p[0] = icmp->type;
    p[1] = icmp->code;
    p[2] = p[3] = 0;
    weir_store32(p + 4, icmp->rest);
}

void weir_icmp_seal(uint8_t *p, size_t length, const struct weir_path *path)
{
    p[CHECKSUM_OFF] = p[CHECKSUM_OFF + 1] = 0;
    uint16_t checksum = weir_checksum_fold(weir_checksum_add(start_sum(length, path), p, length));
    memcpy(p + CHECKSUM_OFF, &checksum, sizeof(checksum));
}

bool weir_icmp_is_error(uint8_t type, bool is_ip6)
{
    if (is_ip6) {
        return type < 128;
    }
    switch (type) {
    case WEIR_ICMP_UNREACHABLE:
    case WEIR_ICMP_TIME_EXCEEDED:
    case WEIR_ICMP_PROBLEM:
    case 4: /* source quench */
    case 5: /* redirect */
        return true;
    default:
        return false;
    }
}
