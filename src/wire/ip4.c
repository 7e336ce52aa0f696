/* SPDX-License-Identifier: MIT */
/*
 * ip4.c - see ip4.h.
 */
#include "wire/ip4.h"

#include <string.h>

#include "base/bytes.h"
#include "wire/checksum.h"

enum {
    FLAG_DF = 0x4000,
    FLAG_MF = 0x2000,
    OFFSET_MASK = 0x1fff
};

bool weir_ip4_decode(const uint8_t *p, size_t length, struct weir_ip4 *ip4)
{
    if (length < WEIR_IP4_HEADER_BYTES || p[0] >> 4 != 4) {
        return false;
    }
    ip4->header_bytes = (uint8_t)((p[0] & 15) * 4);
    ip4->total_bytes = weir_load16(p + 2);
    if (ip4->header_bytes < WEIR_IP4_HEADER_BYTES || ip4->total_bytes < ip4->header_bytes ||
        ip4->total_bytes > length) {
        return false;
    }
    uint16_t fragment = weir_load16(p + 6);
    ip4->tos = p[1];
    ip4->id = weir_load16(p + 4);
    ip4->is_kept_whole = (fragment & FLAG_DF) != 0;
    ip4->is_more = (fragment & FLAG_MF) != 0;
    ip4->offset_bytes = (uint16_t)((fragment & OFFSET_MASK) * 8);
    ip4->ttl = p[8];
    ip4->protocol = p[9];
    memcpy(ip4->source, p + 12, 4);
    memcpy(ip4->destination, p + 16, 4);
    return true;
}

bool weir_ip4_is_checksum_right(const uint8_t *p, const struct weir_ip4 *ip4)
{
    /* RFC 1122 3.2.1.2: a host MUST verify it. */
    return weir_checksum_fold(weir_checksum_add(0, p, ip4->header_bytes)) == 0;
}

void weir_ip4_encode(uint8_t *p, const struct weir_ip4 *ip4)
{
    uint16_t fragment = (uint16_t)((ip4->is_kept_whole ? FLAG_DF : 0) |
                                   (ip4->is_more ? FLAG_MF : 0) | ip4->offset_bytes / 8);
    p[0] = 0x45;
    p[1] = ip4->tos;
    weir_store16(p + 2, ip4->total_bytes);
    weir_store16(p + 4, ip4->id);
    weir_store16(p + 6, fragment);
    p[8] = ip4->ttl;
    p[9] = ip4->protocol;
    p[10] = p[11] = 0;
    memcpy(p + 12, ip4->source, 4);
    memcpy(p + 16, ip4->destination, 4);
    uint16_t checksum = weir_checksum_fold(weir_checksum_add(0, p, WEIR_IP4_HEADER_BYTES));
    memcpy(p + 10, &checksum, sizeof(checksum));
}
