/* SPDX-License-Identifier: MIT */
/*
 * crypt_cfb.h - full-block cipher feedback with kcp-go's fixed start, several datagrams at once.
 *
 * Role: turns a block cipher of a library into the datagram cipher of crypt.h.
 */
#ifndef WEIR_KCP_CRYPT_CFB_H
#define WEIR_KCP_CRYPT_CFB_H

#include <stddef.h>
#include <stdint.h>

#include "weir/span.h"
#include "weir/status.h"

enum {
    WEIR_KCP_CFB_BLOCK_MAX = 16,
    WEIR_KCP_CFB_LANES = 8 /* datagrams side by side; with 16 or 32 each costs more */
};

/* Encrypts length bytes, a multiple of the block, each block by itself. dst may be src. */
typedef void weir_kcp_block_fn(const void *context, size_t length, uint8_t *dst,
                               const uint8_t *src);

struct weir_kcp_cfb {
    weir_kcp_block_fn *encrypt;
    const void *context; /* of encrypt */
    size_t block_bytes;  /* 8 or 16 */
};

void weir_kcp_cfb_encrypt(const struct weir_kcp_cfb *cfb, const struct weir_mut_span *datagrams,
                          size_t count);
void weir_kcp_cfb_decrypt(const struct weir_kcp_cfb *cfb, struct weir_mut_span datagram);

/* SM4 from libcrypto. *context is NULL after an error, else for fini. */
enum weir_status weir_kcp_sm4_init(void **context, const uint8_t key[16]);
void weir_kcp_sm4_fini(void *context);
weir_kcp_block_fn weir_kcp_sm4_encrypt;

#endif
