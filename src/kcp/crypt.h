/* SPDX-License-Identifier: MIT */
/*
 * crypt.h - the outermost layer of kcp-go's datagrams: nonce, checksum and cipher.
 *
 * Role: seals datagrams in place before they are sent and opens them in place after they arrive.
 * Owned by: one thread (one object per endpoint; sessions share its key).
 * Memory: the caller's block of weir_kcp_crypt_size() bytes. SM4 alone keeps a context of libcrypto
 * besides, allocated by init and freed by fini; nothing is allocated in between.
 * Order: init, then seal and open in any order, then fini, which wipes the keys.
 *
 *     block and stream ciphers                        AES-GCM
 *     0        16     20                length        0        12              length-16
 *     +--------+------+-----------------+             +--------+----------------+---------+
 *     | nonce  | CRC  | payload         |             | nonce  | payload        | tag 16  |
 *     +--------+------+-----------------+             +--------+----------------+---------+
 *     CRC32 (IEEE), little-endian, of the payload; then all of it, nonce too, goes through the
 *     cipher. What this protects from, and what not: weir/kcp_layers.h.
 */
#ifndef WEIR_KCP_CRYPT_H
#define WEIR_KCP_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "weir/kcp_layers.h"
#include "weir/span.h"
#include "weir/status.h"

enum {
    WEIR_KCP_CRYPT_FRONT_MAX = 20,
    WEIR_KCP_CRYPT_TAIL_MAX = 16
};

struct weir_kcp_crypt;

/* Counted since init. */
struct weir_kcp_crypt_stats {
    uint64_t sealed, opened;
    uint64_t dropped_short;  /* shorter than the header and, with AES-GCM, the tag */
    uint64_t dropped_forged; /* CRC or tag does not match: another key, another cipher, garbage */
};

size_t weir_kcp_crypt_size(void);
/* mem: weir_kcp_crypt_size() bytes, aligned to 64, kept until fini. The key is copied.
 * Errors: WEIR_ERR_INVALID (no such cipher); of SM4 only: WEIR_ERR_UNSUPPORTED (libcrypto was built
 * without it), WEIR_ERR_MEMORY. After an error there is nothing to fini. */
enum weir_status weir_kcp_crypt_init(void *mem, enum weir_kcp_cipher cipher,
                                     const uint8_t key[WEIR_KCP_KEY_BYTES],
                                     struct weir_kcp_crypt **crypt);
void weir_kcp_crypt_fini(struct weir_kcp_crypt *crypt);

/* Bytes that a datagram needs before and behind its payload. */
size_t weir_kcp_crypt_front(const struct weir_kcp_crypt *crypt);
size_t weir_kcp_crypt_tail(const struct weir_kcp_crypt *crypt);

/* Seals whole datagrams, front and tail room included in their lengths, in place. Many at once cost
 * less each: a block cipher then works on 8 datagrams side by side. random: where nonces come from.
 * XOR reaches 1500 bytes into a datagram, as its peers do; the rest stays clear. */
void weir_kcp_crypt_seal(struct weir_kcp_crypt *crypt, struct weir_prng_secret *random,
                         const struct weir_mut_span *datagrams, size_t count);
/* Opens one datagram in place; *payload lies inside it, possibly empty. WEIR_ERR_MALFORMED when it
 * is too short or not authentic: counted, and the datagram's bytes are undefined then. */
enum weir_status weir_kcp_crypt_open(struct weir_kcp_crypt *crypt, struct weir_mut_span datagram,
                                     struct weir_mut_span *payload);

/* Borrowed, kept up to date in place until fini. */
const struct weir_kcp_crypt_stats *weir_kcp_crypt_stats(const struct weir_kcp_crypt *crypt);

#endif
