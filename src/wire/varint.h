/* SPDX-License-Identifier: MIT */
/*
 * varint.h - variable-length integers: the two top bits of the first byte give the length.
 *
 * Spec: RFC 9000 section 16.
 *
 *      00xxxxxx                         6 bits, 1 byte
 *      01xxxxxx xxxxxxxx               14 bits, 2 bytes
 *      10xxxxxx ... 4 bytes            30 bits
 *      11xxxxxx ... 8 bytes            62 bits
 */
#ifndef WEIR_WIRE_VARINT_H
#define WEIR_WIRE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

static const uint64_t weir_varint_max = (UINT64_C(1) << 62) - 1;

static inline size_t weir_varint_size(uint64_t value)
{
    if (value < 1U << 6) {
        return 1;
    }
    if (value < 1U << 14) {
        return 2;
    }
    return value < 1U << 30 ? 4 : 8;
}

/* Writes value, at most weir_varint_max, and returns the byte after it. */
static inline uint8_t *weir_varint_encode(uint8_t *p, uint64_t value)
{
    if (value < 1U << 6) {
        *p = (uint8_t)value;
        return p + 1;
    }
    if (value < 1U << 14) {
        weir_store16(p, (uint16_t)(value | 0x4000));
        return p + 2;
    }
    if (value < 1U << 30) {
        weir_store32(p, (uint32_t)(value | 0x80000000U));
        return p + 4;
    }
    weir_store64(p, value | UINT64_C(0xc000000000000000));
    return p + 8;
}

/* Reads from [p, end). Returns the byte after it, or NULL when it is cut off. */
static inline const uint8_t *weir_varint_decode(const uint8_t *p, const uint8_t *end,
                                                uint64_t *value)
{
    if (p >= end) {
        return NULL;
    }
    size_t size = (size_t)1 << (*p >> 6);
    if ((size_t)(end - p) < size) {
        return NULL;
    }
    switch (size) {
    case 1:
        *value = *p;
        break;
    case 2:
        *value = weir_load16(p) & 0x3fffU;
        break;
    case 4:
        *value = weir_load32(p) & 0x3fffffffU;
        break;
    default:
        *value = weir_load64(p) & weir_varint_max;
        break;
    }
    return p + size;
}

#endif
