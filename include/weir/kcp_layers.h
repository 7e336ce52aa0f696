/* SPDX-License-Identifier: MIT */
/*
 * kcp_layers.h - what kcp-go puts around KCP's datagrams: a crypto header and error correction.
 *
 * Role: the names for weir/kcp.h's config.cipher, .key, .is_fec, .fec_data and .fec_parity; their
 * figures. Both ends need the same cipher and key; FEC each end sends as it likes.
 *
 *     [crypto header [FEC header [KCP segments]]]        sent: FEC first, then the cipher
 *
 * These ciphers (all but AES-GCM) keep a secret from whoever listens; a CRC proves nothing against
 * whoever writes, and nothing here stops a replay. A nonce of AES-GCM is random: NIST SP 800-38D
 * 8.3 allows 2^32 datagrams per key.
 */
#ifndef WEIR_KCP_LAYERS_H
#define WEIR_KCP_LAYERS_H

#include <stdint.h>

#include "weir/span.h"
#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_KCP_KEY_BYTES = 32 /* of which a cipher takes the first bytes that it needs */
};

/* Bytes that each adds to a datagram: NIL 0, AES-GCM 28, all others 20. */
enum weir_kcp_cipher {
    WEIR_KCP_CIPHER_NIL,  /* no header at all */
    WEIR_KCP_CIPHER_NONE, /* the header in clear */
    WEIR_KCP_CIPHER_AES_128,
    WEIR_KCP_CIPHER_AES_192,
    WEIR_KCP_CIPHER_AES_256,
    WEIR_KCP_CIPHER_AES_128_GCM,
    WEIR_KCP_CIPHER_AES_192_GCM,
    WEIR_KCP_CIPHER_AES_256_GCM,
    WEIR_KCP_CIPHER_SALSA20,
    WEIR_KCP_CIPHER_SM4,
    WEIR_KCP_CIPHER_TWOFISH,
    WEIR_KCP_CIPHER_BLOWFISH,
    WEIR_KCP_CIPHER_CAST5,
    WEIR_KCP_CIPHER_3DES,
    WEIR_KCP_CIPHER_XOR,
    WEIR_KCP_CIPHER_COUNT
};

/* *cipher by name ("aes" is "aes-256", "null" is "nil"); WEIR_ERR_UNSUPPORTED for any other. */
WEIR_API enum weir_status weir_kcp_cipher_by_name(const char *name, enum weir_kcp_cipher *cipher);
/* The name i there is, counted from 0, for help and errors; static storage, NULL past the last. */
WEIR_API const char *weir_kcp_cipher_name(unsigned i);
/* The key that kcptun makes of a pass phrase: PBKDF2-HMAC-SHA1 with the salt "kcp-go", 4096 rounds
 * (about 1 ms). */
WEIR_API void weir_kcp_key(struct weir_span pass_phrase, uint8_t key[WEIR_KCP_KEY_BYTES]);

/* Forward error correction, all sessions of an endpoint. */
struct weir_kcp_fec_stats {
    uint64_t data_sent, parity_sent;
    uint64_t parity_skipped; /* not sent: no buffers, or the session slept before the group's end */
    uint64_t data_received, parity_received;
    uint64_t recovered;   /* lost packets brought back */
    uint64_t groups_lost; /* given up with data packets missing */
    uint64_t tunings;     /* a decoder took over a peer's group size */
    uint64_t dropped_malformed;
    uint64_t ignored_late; /* this and below: only not used for recovery */
    uint64_t ignored_duplicate;
    uint64_t ignored_unknown; /* group size not found out yet, or larger than is followed */
    uint64_t ignored_no_room;
};

#ifdef __cplusplus
}
#endif
#endif
