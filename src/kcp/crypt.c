/* SPDX-License-Identifier: MIT */
/*
 * crypt.c - names, keys, nonces and checksums of kcp-go's outermost layer.
 */
#include "kcp/crypt.h"

#include <isa-l/crc.h>
#include <nettle/aes.h>
#include <nettle/blowfish.h>
#include <nettle/cast128.h>
#include <nettle/des.h>
#include <nettle/gcm.h>
#include <nettle/memops.h>
#include <nettle/memxor.h>
#include <nettle/pbkdf2.h>
#include <nettle/salsa20.h>
#include <nettle/twofish.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "kcp/crypt_cfb.h"
#include "kcp/vectors.h"

enum {
    NONCE_BYTES = 16,
    CRC_BYTES = 4,
    FRONT_BYTES = NONCE_BYTES + CRC_BYTES,
    XOR_BYTES = 1500, /* the largest datagram of the peers */
    XOR_ROUNDS = 32,
    KEY_ROUNDS = 4096,
    SALSA20_CLEAR_BYTES = SALSA20_NONCE_SIZE /* what the cipher takes as its nonce stays clear */
};

struct weir_kcp_crypt {
    union {
        struct aes128_ctx aes128;
        struct aes192_ctx aes192;
        struct aes256_ctx aes256;
        struct salsa20_ctx salsa20;
        struct twofish_ctx twofish;
        struct blowfish_ctx blowfish;
        struct cast128_ctx cast5;
        struct des3_ctx des3;
        void *sm4; /* of libcrypto */
        uint8_t xor_table[XOR_BYTES];
    } key;
    struct weir_kcp_cfb cfb; /* block_bytes 0: no block cipher. AES-GCM uses it too */
    struct gcm_key gcm;
    struct weir_kcp_crypt_stats stats;
    enum weir_kcp_cipher cipher;
    uint8_t front_bytes, tail_bytes;
};

/* --- names ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum weir_kcp_cipher cipher;
} names[] = {
    {"nil", WEIR_KCP_CIPHER_NIL},
    {"null", WEIR_KCP_CIPHER_NIL},
    {"none", WEIR_KCP_CIPHER_NONE},
    {"aes", WEIR_KCP_CIPHER_AES_256},
    {"aes-128", WEIR_KCP_CIPHER_AES_128},
    {"aes-192", WEIR_KCP_CIPHER_AES_192},
    {"aes-256", WEIR_KCP_CIPHER_AES_256},
    {"aes-128-gcm", WEIR_KCP_CIPHER_AES_128_GCM},
    {"aes-192-gcm", WEIR_KCP_CIPHER_AES_192_GCM},
    {"aes-256-gcm", WEIR_KCP_CIPHER_AES_256_GCM},
    {"salsa20", WEIR_KCP_CIPHER_SALSA20},
    {"sm4", WEIR_KCP_CIPHER_SM4},
    {"twofish", WEIR_KCP_CIPHER_TWOFISH},
    {"blowfish", WEIR_KCP_CIPHER_BLOWFISH},
    {"cast5", WEIR_KCP_CIPHER_CAST5},
    {"3des", WEIR_KCP_CIPHER_3DES},
    {"xor", WEIR_KCP_CIPHER_XOR},
};

enum weir_status weir_kcp_cipher_by_name(const char *name, enum weir_kcp_cipher *cipher)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i].name) == 0) {
            *cipher = names[i].cipher;
            return WEIR_OK;
        }
    }
    return WEIR_ERR_UNSUPPORTED;
}

const char *weir_kcp_cipher_name(unsigned i)
{
    return i < sizeof(names) / sizeof(names[0]) ? names[i].name : NULL;
}

/* --- keys ------------------------------------------------------------------------------------- */

void weir_kcp_key(struct weir_span pass_phrase, uint8_t key[WEIR_KCP_KEY_BYTES])
{
    static const uint8_t salt[] = {'k', 'c', 'p', '-', 'g', 'o'};
    pbkdf2_hmac_sha1(pass_phrase.length, pass_phrase.data, KEY_ROUNDS, sizeof(salt), salt,
                     WEIR_KCP_KEY_BYTES, key);
}

static void expand_xor(struct weir_kcp_crypt *crypt, const uint8_t *key)
{
    static const uint8_t salt[] = {'s', 'H', '3', 'C', 'I', 'V', 'o', 'F',
                                   '#', 'r', 'W', 'L', 't', 'J', 'o', '6'};
    pbkdf2_hmac_sha1(WEIR_KCP_KEY_BYTES, key, XOR_ROUNDS, sizeof(salt), salt, XOR_BYTES,
                     crypt->key.xor_table);
}

/* The library's functions by one type: calling a function by a type that is not its own has no
 * defined meaning, so each has its adapter. */
#define BLOCK_ADAPTER(adapter, function, context_type)                                        \
    static void adapter(const void *context, size_t length, uint8_t *dst, const uint8_t *src) \
    {                                                                                         \
        function((const context_type *)context, length, dst, src);                            \
    }
BLOCK_ADAPTER(block_aes128, aes128_encrypt, struct aes128_ctx)
BLOCK_ADAPTER(block_aes192, aes192_encrypt, struct aes192_ctx)
BLOCK_ADAPTER(block_aes256, aes256_encrypt, struct aes256_ctx)
BLOCK_ADAPTER(block_twofish, twofish_encrypt, struct twofish_ctx)
BLOCK_ADAPTER(block_blowfish, blowfish_encrypt, struct blowfish_ctx)
BLOCK_ADAPTER(block_cast5, cast128_encrypt, struct cast128_ctx)
BLOCK_ADAPTER(block_3des, des3_encrypt, struct des3_ctx)

static void use_block(struct weir_kcp_crypt *crypt, weir_kcp_block_fn *encrypt, size_t block_bytes)
{
    crypt->cfb = (struct weir_kcp_cfb){
        .encrypt = encrypt, .context = &crypt->key, .block_bytes = block_bytes};
}

static enum weir_status expand_sm4(struct weir_kcp_crypt *crypt, const uint8_t *key)
{
    enum weir_status status = weir_kcp_sm4_init(&crypt->key.sm4, key);
    use_block(crypt, weir_kcp_sm4_encrypt, 16);
    crypt->cfb.context = crypt->key.sm4;
    return status;
}

/* Weak keys of DES and Blowfish are taken, as the peers take them. */
static enum weir_status expand_key(struct weir_kcp_crypt *crypt, const uint8_t *key)
{
    switch (crypt->cipher) {
    case WEIR_KCP_CIPHER_AES_128:
    case WEIR_KCP_CIPHER_AES_128_GCM:
        aes128_set_encrypt_key(&crypt->key.aes128, key);
        use_block(crypt, block_aes128, 16);
        break;
    case WEIR_KCP_CIPHER_AES_192:
    case WEIR_KCP_CIPHER_AES_192_GCM:
        aes192_set_encrypt_key(&crypt->key.aes192, key);
        use_block(crypt, block_aes192, 16);
        break;
    case WEIR_KCP_CIPHER_AES_256:
    case WEIR_KCP_CIPHER_AES_256_GCM:
        aes256_set_encrypt_key(&crypt->key.aes256, key);
        use_block(crypt, block_aes256, 16);
        break;
    case WEIR_KCP_CIPHER_SALSA20:
        salsa20_256_set_key(&crypt->key.salsa20, key);
        break;
    case WEIR_KCP_CIPHER_SM4:
        return expand_sm4(crypt, key);
    case WEIR_KCP_CIPHER_TWOFISH:
        twofish256_set_key(&crypt->key.twofish, key);
        use_block(crypt, block_twofish, 16);
        break;
    case WEIR_KCP_CIPHER_BLOWFISH:
        (void)blowfish_set_key(&crypt->key.blowfish, WEIR_KCP_KEY_BYTES, key);
        use_block(crypt, block_blowfish, 8);
        break;
    case WEIR_KCP_CIPHER_CAST5:
        cast128_set_key(&crypt->key.cast5, key);
        use_block(crypt, block_cast5, 8);
        break;
    case WEIR_KCP_CIPHER_3DES:
        (void)des3_set_key(&crypt->key.des3, key);
        use_block(crypt, block_3des, 8);
        break;
    case WEIR_KCP_CIPHER_XOR:
        expand_xor(crypt, key);
        break;
    case WEIR_KCP_CIPHER_NIL:
    case WEIR_KCP_CIPHER_NONE:
    case WEIR_KCP_CIPHER_COUNT:
    default:
        break;
    }
    return WEIR_OK;
}

/* --- init and fini ---------------------------------------------------------------------------- */

static bool is_gcm(enum weir_kcp_cipher cipher)
{
    return cipher == WEIR_KCP_CIPHER_AES_128_GCM || cipher == WEIR_KCP_CIPHER_AES_192_GCM ||
           cipher == WEIR_KCP_CIPHER_AES_256_GCM;
}

size_t weir_kcp_crypt_size(void)
{
    return weir_size_align(sizeof(struct weir_kcp_crypt), 64);
}

enum weir_status weir_kcp_crypt_init(void *mem, enum weir_kcp_cipher cipher,
                                     const uint8_t key[WEIR_KCP_KEY_BYTES],
                                     struct weir_kcp_crypt **crypt)
{
    struct weir_kcp_crypt *made = mem;
    *crypt = NULL;
    if ((unsigned)cipher >= WEIR_KCP_CIPHER_COUNT) {
        return WEIR_ERR_INVALID;
    }
    memset(made, 0, sizeof(*made));
    made->cipher = cipher;
    if (is_gcm(cipher)) {
        made->front_bytes = GCM_IV_SIZE;
        made->tail_bytes = GCM_DIGEST_SIZE;
    } else if (cipher != WEIR_KCP_CIPHER_NIL) {
        made->front_bytes = FRONT_BYTES;
    }
    enum weir_status status = expand_key(made, key);
    if (status != WEIR_OK) {
        return status;
    }
    if (is_gcm(cipher)) {
        gcm_set_key(&made->gcm, made->cfb.context, made->cfb.encrypt);
    }
    *crypt = made;
    return WEIR_OK;
}

void weir_kcp_crypt_fini(struct weir_kcp_crypt *crypt)
{
    if (crypt->cipher == WEIR_KCP_CIPHER_SM4) {
        weir_kcp_sm4_fini(crypt->key.sm4);
    }
    memset(crypt, 0, sizeof(*crypt));
    /* The compiler must not think that nobody looks. */
    __asm__ volatile("" ::"r"(crypt) : "memory");
}

size_t weir_kcp_crypt_front(const struct weir_kcp_crypt *crypt)
{
    return crypt->front_bytes;
}

size_t weir_kcp_crypt_tail(const struct weir_kcp_crypt *crypt)
{
    return crypt->tail_bytes;
}

const struct weir_kcp_crypt_stats *weir_kcp_crypt_stats(const struct weir_kcp_crypt *crypt)
{
    return &crypt->stats;
}

/* --- AES-GCM ---------------------------------------------------------------------------------- */

static void seal_gcm(const struct weir_kcp_crypt *crypt, struct weir_mut_span datagram)
{
    struct gcm_ctx gcm;
    uint8_t *text = datagram.data + GCM_IV_SIZE;
    size_t length = datagram.length - GCM_IV_SIZE - GCM_DIGEST_SIZE;

    gcm_set_iv(&gcm, &crypt->gcm, GCM_IV_SIZE, datagram.data);
    gcm_encrypt(&gcm, &crypt->gcm, crypt->cfb.context, crypt->cfb.encrypt, length, text, text);
    gcm_digest(&gcm, &crypt->gcm, crypt->cfb.context, crypt->cfb.encrypt, GCM_DIGEST_SIZE,
               text + length);
}

static bool open_gcm(const struct weir_kcp_crypt *crypt, struct weir_mut_span datagram)
{
    struct gcm_ctx gcm;
    uint8_t tag[GCM_DIGEST_SIZE];
    uint8_t *text = datagram.data + GCM_IV_SIZE;
    size_t length = datagram.length - GCM_IV_SIZE - GCM_DIGEST_SIZE;

    gcm_set_iv(&gcm, &crypt->gcm, GCM_IV_SIZE, datagram.data);
    gcm_decrypt(&gcm, &crypt->gcm, crypt->cfb.context, crypt->cfb.encrypt, length, text, text);
    gcm_digest(&gcm, &crypt->gcm, crypt->cfb.context, crypt->cfb.encrypt, sizeof(tag), tag);
    return memeql_sec(tag, text + length, sizeof(tag)) != 0;
}

/* --- stream ciphers and seal/open ------------------------------------------------------------- */

static void crypt_salsa20(struct weir_kcp_crypt *crypt, struct weir_mut_span datagram)
{
    uint8_t *text = datagram.data + SALSA20_CLEAR_BYTES;
    salsa20_set_nonce(&crypt->key.salsa20, datagram.data);
    salsa20_crypt(&crypt->key.salsa20, datagram.length - SALSA20_CLEAR_BYTES, text, text);
}

/* Its own inverse. */
static void crypt_stream(struct weir_kcp_crypt *crypt, struct weir_mut_span datagram)
{
    if (crypt->cipher == WEIR_KCP_CIPHER_SALSA20) {
        crypt_salsa20(crypt, datagram);
    } else if (crypt->cipher == WEIR_KCP_CIPHER_XOR) {
        memxor(datagram.data, crypt->key.xor_table,
               (size_t)weir_min_u64(datagram.length, XOR_BYTES));
    }
}

static uint32_t checksum(struct weir_mut_span datagram)
{
    uint32_t crc = crc32_gzip_refl(0, datagram.data + FRONT_BYTES, datagram.length - FRONT_BYTES);
    weir_kcp_clear_vectors();
    return crc;
}

/* length: at most 16. */
static void put_nonce(struct weir_prng_secret *random, uint8_t *at, size_t length)
{
    uint64_t nonce[2] = {weir_prng_secret_next(random), weir_prng_secret_next(random)};
    memcpy(at, nonce, length);
}

void weir_kcp_crypt_seal(struct weir_kcp_crypt *crypt, struct weir_prng_secret *random,
                         const struct weir_mut_span *datagrams, size_t count)
{
    crypt->stats.sealed += count;
    if (crypt->cipher == WEIR_KCP_CIPHER_NIL) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_mut_span datagram = datagrams[i];
        WEIR_ASSERT(datagram.length >= (size_t)crypt->front_bytes + crypt->tail_bytes);
        if (is_gcm(crypt->cipher)) {
            put_nonce(random, datagram.data, GCM_IV_SIZE);
            seal_gcm(crypt, datagram);
            continue;
        }
        put_nonce(random, datagram.data, NONCE_BYTES);
        weir_store32(datagram.data + NONCE_BYTES, __builtin_bswap32(checksum(datagram)));
        crypt_stream(crypt, datagram);
    }
    if (crypt->cfb.block_bytes > 0 && !is_gcm(crypt->cipher)) {
        weir_kcp_cfb_encrypt(&crypt->cfb, datagrams, count);
    }
}

static bool open_checked(struct weir_kcp_crypt *crypt, struct weir_mut_span datagram)
{
    if (is_gcm(crypt->cipher)) {
        return open_gcm(crypt, datagram);
    }
    if (crypt->cfb.block_bytes > 0) {
        weir_kcp_cfb_decrypt(&crypt->cfb, datagram);
    } else {
        crypt_stream(crypt, datagram);
    }
    return __builtin_bswap32(weir_load32(datagram.data + NONCE_BYTES)) == checksum(datagram);
}

enum weir_status weir_kcp_crypt_open(struct weir_kcp_crypt *crypt, struct weir_mut_span datagram,
                                     struct weir_mut_span *payload)
{
    size_t overhead = (size_t)crypt->front_bytes + crypt->tail_bytes;
    if (datagram.length < overhead) {
        crypt->stats.dropped_short++;
        return WEIR_ERR_MALFORMED;
    }
    if (crypt->cipher != WEIR_KCP_CIPHER_NIL && !open_checked(crypt, datagram)) {
        crypt->stats.dropped_forged++;
        return WEIR_ERR_MALFORMED;
    }
    crypt->stats.opened++;
    *payload = (struct weir_mut_span){.data = datagram.data + crypt->front_bytes,
                                      .length = datagram.length - overhead};
    return WEIR_OK;
}
