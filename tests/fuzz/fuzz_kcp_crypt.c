/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kcp_crypt.c - any bytes opened with every cipher of kcp-go's crypto header; then sealed as
 * payloads, which must open again to the same bytes.
 *
 * The first byte says where the input is cut into payloads.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kcp/crypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PAYLOADS_MAX = 40,
    DATAGRAM_MAX = 2048
};

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* One object of every cipher, made once: a key takes far longer than a datagram. */
static struct weir_kcp_crypt *crypt_of(int cipher)
{
    static _Alignas(64) uint8_t memory[WEIR_KCP_CIPHER_COUNT][16384];
    static struct weir_kcp_crypt *crypts[WEIR_KCP_CIPHER_COUNT];
    static const uint8_t key[WEIR_KCP_KEY_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    if (crypts[cipher] == NULL) {
        must(weir_kcp_crypt_size() <= sizeof(memory[0]));
        must(weir_kcp_crypt_init(memory[cipher], (enum weir_kcp_cipher)cipher, key,
                                 &crypts[cipher]) == WEIR_OK);
    }
    return crypts[cipher];
}

static bool open_copy(struct weir_kcp_crypt *crypt, const uint8_t *data, size_t size,
                      struct weir_span payload)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    struct weir_mut_span opened;
    must(copy != NULL);
    memcpy(copy, data, size);
    bool is_open = weir_kcp_crypt_open(crypt, (struct weir_mut_span){.data = copy, .length = size},
                                       &opened) == WEIR_OK;
    if (is_open) {
        must(opened.data >= copy && opened.data + opened.length <= copy + size);
        must(payload.data == NULL || (opened.length == payload.length &&
                                      memcmp(opened.data, payload.data, opened.length) == 0));
    }
    free(copy);
    return is_open;
}

static void seal_and_open(struct weir_kcp_crypt *crypt, const uint8_t *data, size_t size,
                          size_t payload_max)
{
    static uint8_t bytes[PAYLOADS_MAX][DATAGRAM_MAX];
    struct weir_mut_span datagrams[PAYLOADS_MAX];
    struct weir_span payloads[PAYLOADS_MAX];
    struct weir_prng_secret random;
    static const uint8_t seed[32] = {0};
    size_t front = weir_kcp_crypt_front(crypt);
    size_t overhead = front + weir_kcp_crypt_tail(crypt);
    size_t count = 0;
    weir_prng_secret_init(&random, seed);
    while (size > 0 && count < PAYLOADS_MAX) {
        size_t length = size < payload_max ? size : payload_max;
        payloads[count] = weir_span_of(data, length);
        memcpy(bytes[count] + front, data, length);
        datagrams[count] =
            (struct weir_mut_span){.data = bytes[count], .length = overhead + length};
        data += length;
        size -= length;
        count++;
    }
    weir_kcp_crypt_seal(crypt, &random, datagrams, count);
    for (size_t i = 0; i < count; i++) {
        must(open_copy(crypt, datagrams[i].data, datagrams[i].length, payloads[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    for (int cipher = 0; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct weir_kcp_crypt *crypt = crypt_of(cipher);
        (void)open_copy(crypt, data + 1, size - 1, (struct weir_span){.data = NULL});
        seal_and_open(crypt, data + 1, size - 1, 1 + (size_t)data[0] * 7);
    }
    return 0;
}
