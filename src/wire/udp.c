/* SPDX-License-Identifier: MIT */
/*
 * udp.c - see udp.h.
 */
#include "wire/udp.h"

#include <string.h>

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/ip4.h"

bool weir_udp_decode(const uint8_t *p, size_t length, struct weir_udp_header *udp)
{
    if (length < WEIR_UDP_HEADER_BYTES) {
        return false;
    }
    size_t bytes = weir_load16(p + 4);
    if (bytes < WEIR_UDP_HEADER_BYTES || bytes > length) {
        return false;
    }
    udp->source = weir_load16(p);
    udp->target = weir_load16(p + 2);
    udp->has_checksum = p[WEIR_UDP_CHECKSUM_OFF] != 0 || p[WEIR_UDP_CHECKSUM_OFF + 1] != 0;
    udp->data = weir_span_of(p + WEIR_UDP_HEADER_BYTES, bytes - WEIR_UDP_HEADER_BYTES);
    return true;
}

bool weir_udp_is_checksum_right(const uint8_t *p, const struct weir_udp_header *udp,
                                const struct weir_path *path)
{
    if (!udp->has_checksum) {
        return path->remote.family == WEIR_ADDR_IP4;
    }
    size_t bytes = WEIR_UDP_HEADER_BYTES + udp->data.length;
    uint64_t sum = weir_checksum_pseudo(path, WEIR_IP_UDP, (uint32_t)bytes);
    return weir_checksum_fold(weir_checksum_add(sum, p, bytes)) == 0;
}

void weir_udp_encode(uint8_t *p, uint32_t length, const struct weir_path *path, bool is_partial)
{
    uint32_t bytes = WEIR_UDP_HEADER_BYTES + length;
    weir_store16(p, path->local.port);
    weir_store16(p + 2, path->remote.port);
    weir_store16(p + 4, (uint16_t)bytes);
    weir_store16(p + WEIR_UDP_CHECKSUM_OFF, 0);
    uint64_t sum = weir_checksum_pseudo(path, WEIR_IP_UDP, bytes);
    uint16_t checksum;
    if (is_partial) {
        checksum = (uint16_t)~weir_checksum_fold(sum);
    } else {
        checksum = weir_checksum_fold(weir_checksum_add(sum, p, bytes));
        /* RFC 768: 0 would mean none; all ones is the same number. */
        checksum = checksum == 0 ? UINT16_MAX : checksum;
    }
    memcpy(p + WEIR_UDP_CHECKSUM_OFF, &checksum, sizeof(checksum));
}
