/* SPDX-License-Identifier: MIT */
/*
 * crypt_cfb.c - cipher feedback: datagrams side by side to encrypt, blocks side by side to decrypt.
 *
 * A block of ciphertext needs the one before it, so one datagram is a chain as long as it has
 * blocks, and the processor's pipeline stays empty. Datagrams do not depend on each other: the i-th
 * blocks of 8 of them go through the cipher in one call. Decryption has no chain at all.
 */
#include <nettle/memxor.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "kcp/crypt_cfb.h"

/* Where every datagram's chain starts; ciphers with blocks of 8 bytes take the first 8. */
static const uint8_t start_block[WEIR_KCP_CFB_BLOCK_MAX] = {
    0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b,
};

enum {
    DECRYPT_CHUNK_BYTES = 512
};

struct lanes {
    uint8_t *at[WEIR_KCP_CFB_LANES]; /* next byte to encrypt */
    size_t left[WEIR_KCP_CFB_LANES]; /* bytes from there to the end */
    _Alignas(64) uint8_t stream[WEIR_KCP_CFB_LANES * WEIR_KCP_CFB_BLOCK_MAX];
    size_t count;
};

/* data ^= stream, and stream = data: what the next block of the chain is encrypted from. */
static inline void feed_16(uint8_t *data, uint8_t *stream)
{
    uint64_t a[2];
    uint64_t b[2];
    memcpy(a, data, sizeof(a));
    memcpy(b, stream, sizeof(b));
    a[0] ^= b[0];
    a[1] ^= b[1];
    memcpy(data, a, sizeof(a));
    memcpy(stream, a, sizeof(a));
}

static inline void feed_8(uint8_t *data, uint8_t *stream)
{
    uint64_t a;
    uint64_t b;
    memcpy(&a, data, sizeof(a));
    memcpy(&b, stream, sizeof(b));
    a ^= b;
    memcpy(data, &a, sizeof(a));
    memcpy(stream, &a, sizeof(a));
}

/* The last, shorter block of a lane; the last lane moves into its place. */
static void finish_lane(struct lanes *lanes, size_t lane, size_t block)
{
    size_t last = --lanes->count;
    memxor(lanes->at[lane], lanes->stream + lane * block, lanes->left[lane]);
    if (lane != last) {
        lanes->at[lane] = lanes->at[last];
        lanes->left[lane] = lanes->left[last];
        memcpy(lanes->stream + lane * block, lanes->stream + last * block, block);
    }
}

/* One block of every lane: all of them have a whole one. */
static void feed_all(struct lanes *lanes, size_t block)
{
    for (size_t lane = 0; lane < lanes->count; lane++) {
        uint8_t *stream = lanes->stream + lane * block;
        if (block == 16) {
            feed_16(lanes->at[lane], stream);
        } else {
            feed_8(lanes->at[lane], stream);
        }
        lanes->at[lane] += block;
        lanes->left[lane] -= block;
    }
}

static void encrypt_lanes(const struct weir_kcp_cfb *cfb, struct lanes *lanes)
{
    size_t block = cfb->block_bytes;
    while (lanes->count > 0) {
        cfb->encrypt(cfb->context, lanes->count * block, lanes->stream, lanes->stream);
        /* From the last down: what moves into a finished lane's place was looked at already. */
        for (size_t lane = lanes->count; lane-- > 0;) {
            if (lanes->left[lane] < block) {
                finish_lane(lanes, lane, block);
            }
        }
        feed_all(lanes, block);
    }
}

void weir_kcp_cfb_encrypt(const struct weir_kcp_cfb *cfb, const struct weir_mut_span *datagrams,
                          size_t count)
{
    struct lanes lanes;
    WEIR_ASSERT(cfb->block_bytes == 8 || cfb->block_bytes == 16);
    while (count > 0) {
        /* Shared out evenly, rather than one datagram left alone at the end. */
        size_t times = 1 + (count - 1) / WEIR_KCP_CFB_LANES;
        size_t taken = 1 + (count - 1) / times;
        for (size_t lane = 0; lane < taken; lane++) {
            lanes.at[lane] = datagrams[lane].data;
            lanes.left[lane] = datagrams[lane].length;
            memcpy(lanes.stream + lane * cfb->block_bytes, start_block, cfb->block_bytes);
        }
        lanes.count = taken;
        encrypt_lanes(cfb, &lanes);
        datagrams += taken;
        count -= taken;
    }
}

void weir_kcp_cfb_decrypt(const struct weir_kcp_cfb *cfb, struct weir_mut_span datagram)
{
    /* One block, the chain's link from the chunk before, then the chunk's own ciphertext. */
    _Alignas(64) uint8_t stream[WEIR_KCP_CFB_BLOCK_MAX + DECRYPT_CHUNK_BYTES];
    size_t block = cfb->block_bytes;
    uint8_t *at = datagram.data;
    size_t left = datagram.length;

    memcpy(stream, start_block, block);
    while (left > 0) {
        size_t chunk = (size_t)weir_min_u64(left, DECRYPT_CHUNK_BYTES);
        size_t whole = (chunk + block - 1) & ~(block - 1);
        uint8_t link[WEIR_KCP_CFB_BLOCK_MAX];

        memcpy(stream + block, at, chunk);
        memcpy(link, stream + whole, block);
        cfb->encrypt(cfb->context, whole, stream, stream);
        memxor(at, stream, chunk);
        memcpy(stream, link, block);
        at += chunk;
        left -= chunk;
    }
}
