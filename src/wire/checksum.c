/* SPDX-License-Identifier: MIT */
/*
 * checksum.c - one's complement sums, eight bytes at a time.
 *
 * RFC 1071 2: the sum may be formed of words of any width and folded at the end. The carries of
 * 64-bit words are added back at once.
 */
#include "wire/checksum.h"

#include <string.h>

static inline uint64_t load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static inline uint64_t add(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/* Four sums side by side: they do not wait for each other's carries. */
static uint64_t add_blocks(uint64_t sum, const uint8_t *at, size_t blocks)
{
    uint64_t sums[4] = {sum, 0, 0, 0};
    for (; blocks > 0; blocks--, at += 32) {
        sums[0] = add(sums[0], load(at));
        sums[1] = add(sums[1], load(at + 8));
        sums[2] = add(sums[2], load(at + 16));
        sums[3] = add(sums[3], load(at + 24));
    }
    return add(add(sums[0], sums[1]), add(sums[2], sums[3]));
}

uint64_t weir_checksum_add(uint64_t sum, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    sum = add_blocks(sum, at, length / 32);
    at += length & ~(size_t)31;
    length &= 31;
    for (; length >= 8; length -= 8, at += 8) {
        sum = add(sum, load(at));
    }
    if (length > 0) {
        uint64_t word = 0;
        memcpy(&word, at, length); /* zeros behind the end count nothing */
        sum = add(sum, word);
    }
    return sum;
}

uint64_t weir_checksum_pseudo(const struct weir_path *path, uint8_t protocol, uint32_t length)
{
    size_t bytes = path->remote.family == WEIR_ADDR_IP6 ? 16 : 4;
    uint64_t sum = weir_checksum_add(0, path->local.ip, bytes);
    sum = weir_checksum_add(sum, path->remote.ip, bytes);
    const uint8_t tail[8] = {(uint8_t)(length >> 24),
                             (uint8_t)(length >> 16),
                             (uint8_t)(length >> 8),
                             (uint8_t)length,
                             0,
                             0,
                             0,
                             protocol};
    return weir_checksum_add(sum, tail, sizeof(tail));
}
