/* SPDX-License-Identifier: MIT */
/*
 * crypt_sm4.c - the SM4 block cipher, which only libcrypto has.
 */
#include <openssl/evp.h>

#include "base/assert.h"
#include "kcp/crypt_cfb.h"

enum status_of_evp {
    EVP_DONE = 1
};

enum weir_status weir_kcp_sm4_init(void **context, const uint8_t key[16])
{
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    *context = NULL;
    if (evp == NULL) {
        return WEIR_ERR_MEMORY;
    }
    if (EVP_EncryptInit_ex(evp, EVP_sm4_ecb(), NULL, key, NULL) != EVP_DONE ||
        EVP_CIPHER_CTX_set_padding(evp, 0) != EVP_DONE) {
        EVP_CIPHER_CTX_free(evp);
        return WEIR_ERR_UNSUPPORTED;
    }
    *context = evp;
    return WEIR_OK;
}

void weir_kcp_sm4_fini(void *context)
{
    EVP_CIPHER_CTX_free(context);
}

/* The library writes its state while it encrypts; the context is ours alone all the same. */
void weir_kcp_sm4_encrypt(const void *context, size_t length, uint8_t *dst, const uint8_t *src)
{
    union {
        const void *borrowed;
        EVP_CIPHER_CTX *library;
    } evp = {.borrowed = context};

    int written = 0;

    int status = EVP_EncryptUpdate(evp.library, dst, &written, src, (int)length);
    WEIR_ASSERT(status == EVP_DONE && (size_t)written == length);
}
