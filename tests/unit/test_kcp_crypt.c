/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_crypt.c - kcp-go's crypto header: vectors of kcp-go, round trips, damage of every kind.
 */
#include "seed.h"

#include <string.h>

#include "kcp/crypt.h"
#include "kcp_vectors.h"

enum {
    DATAGRAM_MAX = 1500,
    BATCH_MAX = 70
};

static const char phrase[] = "it's a secrect";

struct box {
    struct weir_kcp_crypt *crypt;
    struct weir_prng_secret random;
    size_t front, overhead;
};

static struct weir_kcp_crypt *make(enum weir_kcp_cipher cipher, const uint8_t *key)
{
    struct weir_kcp_crypt *crypt;
    void *mem = aligned_alloc(64, weir_kcp_crypt_size());
    assert_non_null(mem);
    assert_int_equal(weir_kcp_crypt_init(mem, cipher, key, &crypt), WEIR_OK);
    return crypt;
}

static struct box make_box(enum weir_kcp_cipher cipher)
{
    struct box box;
    uint8_t key[WEIR_KCP_KEY_BYTES];
    weir_kcp_key(weir_span_of(phrase, sizeof(phrase) - 1), key);
    box.crypt = make(cipher, key);
    weir_prng_secret_init(&box.random, key);
    box.front = weir_kcp_crypt_front(box.crypt);
    box.overhead = box.front + weir_kcp_crypt_tail(box.crypt);
    return box;
}

static void unmake(struct weir_kcp_crypt *crypt)
{
    weir_kcp_crypt_fini(crypt);
    free(crypt);
}

/* Opens a copy of exactly the datagram's size: a sanitizer sees the first byte past it. */
static enum weir_status open_copy(struct weir_kcp_crypt *crypt, const uint8_t *datagram,
                                  size_t length, uint8_t *payload, size_t *payload_length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    struct weir_mut_span opened = {.data = copy};
    assert_non_null(copy);
    memcpy(copy, datagram, length);
    enum weir_status status =
        weir_kcp_crypt_open(crypt, (struct weir_mut_span){.data = copy, .length = length}, &opened);
    if (status == WEIR_OK) {
        assert_true(opened.data >= copy && opened.data + opened.length <= copy + length);
        memcpy(payload, opened.data, opened.length);
        *payload_length = opened.length;
    }
    free(copy);
    return status;
}

static void names_are_found(void **state)
{
    (void)state;
    enum weir_kcp_cipher cipher;
    bool is_named[WEIR_KCP_CIPHER_COUNT] = {false};
    unsigned count = 0;
    for (const char *name; (name = weir_kcp_cipher_name(count)) != NULL; count++) {
        assert_int_equal(weir_kcp_cipher_by_name(name, &cipher), WEIR_OK);
        is_named[cipher] = true;
    }
    for (size_t i = 0; i < WEIR_KCP_CIPHER_COUNT; i++) {
        assert_true(is_named[i]);
    }
    assert_int_equal(weir_kcp_cipher_by_name("aes", &cipher), WEIR_OK);
    assert_int_equal(cipher, WEIR_KCP_CIPHER_AES_256);
    assert_int_equal(weir_kcp_cipher_by_name("tea", &cipher), WEIR_ERR_UNSUPPORTED);
    assert_int_equal(weir_kcp_cipher_by_name("", &cipher), WEIR_ERR_UNSUPPORTED);
}

static void unknown_ciphers_are_refused(void **state)
{
    (void)state;
    struct weir_kcp_crypt *crypt;
    const uint8_t key[WEIR_KCP_KEY_BYTES] = {0};
    void *mem = aligned_alloc(64, weir_kcp_crypt_size());
    assert_int_equal(weir_kcp_crypt_init(mem, WEIR_KCP_CIPHER_COUNT, key, &crypt),
                     WEIR_ERR_INVALID);
    assert_null(crypt);
    free(mem);
}

static void opens_what_kcp_go_sealed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sealed_vectors) / sizeof(sealed_vectors[0]); i++) {
        enum weir_kcp_cipher cipher;
        uint8_t payload[VECTOR_BYTES_MAX];
        size_t length = 0;
        assert_int_equal(weir_kcp_cipher_by_name(sealed_vectors[i].name, &cipher), WEIR_OK);
        struct box box = make_box(cipher);
        assert_int_equal(open_copy(box.crypt, sealed_vectors[i].bytes,
                                   box.overhead + VECTOR_PAYLOAD_BYTES, payload, &length),
                         WEIR_OK);
        assert_int_equal(length, VECTOR_PAYLOAD_BYTES);
        for (size_t k = 0; k < length; k++) {
            assert_int_equal(payload[k], box.front + k);
        }
        unmake(box.crypt);
    }
}

struct batch {
    uint8_t bytes[BATCH_MAX][DATAGRAM_MAX];
    uint8_t payload[BATCH_MAX][DATAGRAM_MAX];
    struct weir_mut_span datagrams[BATCH_MAX];
};

static void fill_batch(struct batch *batch, const struct box *box, struct weir_prng *prng,
                       size_t count, size_t payload_max)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = (size_t)weir_prng_below(prng, payload_max + 1);
        for (size_t k = 0; k < length; k++) {
            batch->payload[i][k] = (uint8_t)weir_prng_next(prng);
        }
        memcpy(batch->bytes[i] + box->front, batch->payload[i], length);
        batch->datagrams[i] =
            (struct weir_mut_span){.data = batch->bytes[i], .length = box->overhead + length};
    }
}

static void batches_come_back(void **state)
{
    (void)state;
    static struct batch batch;
    const size_t counts[] = {1, 2, 7, 8, 9, BATCH_MAX};
    for (uint64_t seed = 0; seed < (uint64_t)WEIR_KCP_CIPHER_COUNT * 6; seed++) {
        struct weir_prng prng;
        weir_prng_init(&prng, seed);
        struct box box = make_box((enum weir_kcp_cipher)(seed / 6));
        size_t count = counts[seed % 6];
        uint8_t payload[DATAGRAM_MAX];
        size_t length = 0;

        fill_batch(&batch, &box, &prng, count,
                   seed % 2 == 0 ? 70 : DATAGRAM_MAX - WEIR_KCP_CRYPT_FRONT_MAX - 16);
        weir_kcp_crypt_seal(box.crypt, &box.random, batch.datagrams, count);
        for (size_t i = 0; i < count; i++) {
            CHECK(seed, open_copy(box.crypt, batch.bytes[i], batch.datagrams[i].length, payload,
                                  &length) == WEIR_OK);
            CHECK(seed, length == batch.datagrams[i].length - box.overhead);
            CHECK(seed, memcmp(payload, batch.payload[i], length) == 0);
        }
        CHECK(seed, weir_kcp_crypt_stats(box.crypt)->sealed == count);
        CHECK(seed, weir_kcp_crypt_stats(box.crypt)->opened == count);
        unmake(box.crypt);
    }
}

static void equal_payloads_look_different(void **state)
{
    (void)state;
    for (int cipher = WEIR_KCP_CIPHER_NONE; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct box box = make_box((enum weir_kcp_cipher)cipher);
        uint8_t a[200] = {0};
        uint8_t b[200] = {0};
        const struct weir_mut_span both[2] = {{.data = a, .length = sizeof(a)},
                                              {.data = b, .length = sizeof(b)}};
        weir_kcp_crypt_seal(box.crypt, &box.random, both, 2);
        assert_memory_not_equal(a, b, 8);
        /* Of a fixed start and a random first block every later block of a cipher is random. */
        if (cipher != WEIR_KCP_CIPHER_NONE && cipher != WEIR_KCP_CIPHER_XOR) {
            assert_memory_not_equal(a + 100, b + 100, 100);
        }
        unmake(box.crypt);
    }
}

static size_t seal_one(struct box *box, uint8_t *datagram, size_t payload_length)
{
    const struct weir_mut_span one = {.data = datagram, .length = box->overhead + payload_length};
    for (size_t i = 0; i < payload_length; i++) {
        datagram[box->front + i] = (uint8_t)(i * 7);
    }
    weir_kcp_crypt_seal(box->crypt, &box->random, &one, 1);
    return one.length;
}

static void every_truncation_is_dropped(void **state)
{
    (void)state;
    for (int cipher = WEIR_KCP_CIPHER_NONE; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct box box = make_box((enum weir_kcp_cipher)cipher);
        uint8_t datagram[200];
        uint8_t payload[200];
        size_t ignored;
        size_t length = seal_one(&box, datagram, 100);
        for (size_t cut = 0; cut < length; cut++) {
            assert_int_equal(open_copy(box.crypt, datagram, cut, payload, &ignored),
                             WEIR_ERR_MALFORMED);
        }
        const struct weir_kcp_crypt_stats *stats = weir_kcp_crypt_stats(box.crypt);
        assert_int_equal(stats->dropped_short, box.overhead);
        assert_int_equal(stats->dropped_forged, length - box.overhead);
        assert_int_equal(stats->opened, 0);
        unmake(box.crypt);
    }
}

static bool is_counted(const uint8_t *payload, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (payload[i] != (uint8_t)(i * 7)) {
            return false;
        }
    }
    return true;
}

/* Only a changed nonce may go unnoticed (the CRC is not of it), and then nothing else changed. */
static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    for (int cipher = WEIR_KCP_CIPHER_NONE; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct box box = make_box((enum weir_kcp_cipher)cipher);
        uint8_t datagram[200];
        uint8_t payload[200];
        size_t opened = 0;
        size_t length = seal_one(&box, datagram, 61);
        for (size_t bit = 0; bit < length * 8; bit++) {
            datagram[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            if (open_copy(box.crypt, datagram, length, payload, &opened) == WEIR_OK) {
                assert_true(bit / 8 < 16 && weir_kcp_crypt_tail(box.crypt) == 0);
                assert_true(opened == 61 && is_counted(payload, opened));
            }
            datagram[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        }
        assert_int_equal(open_copy(box.crypt, datagram, length, payload, &opened), WEIR_OK);
        unmake(box.crypt);
    }
}

static void another_key_opens_nothing(void **state)
{
    (void)state;
    uint8_t other[WEIR_KCP_KEY_BYTES];
    weir_kcp_key(weir_span_of("other", 5), other);
    for (int cipher = WEIR_KCP_CIPHER_AES_128; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct box box = make_box((enum weir_kcp_cipher)cipher);
        struct weir_kcp_crypt *thief = make((enum weir_kcp_cipher)cipher, other);
        uint8_t datagram[200];
        uint8_t payload[200];
        size_t ignored;
        size_t length = seal_one(&box, datagram, 100);
        assert_int_equal(open_copy(thief, datagram, length, payload, &ignored), WEIR_ERR_MALFORMED);
        assert_int_equal(weir_kcp_crypt_stats(thief)->dropped_forged, 1);
        unmake(thief);
        unmake(box.crypt);
    }
}

static void nil_changes_nothing(void **state)
{
    (void)state;
    struct box box = make_box(WEIR_KCP_CIPHER_NIL);
    uint8_t datagram[3] = {1, 2, 3};
    struct weir_mut_span opened;
    const struct weir_mut_span one = {.data = datagram, .length = sizeof(datagram)};
    assert_int_equal(box.overhead, 0);
    weir_kcp_crypt_seal(box.crypt, &box.random, &one, 1);
    assert_int_equal(weir_kcp_crypt_open(box.crypt, one, &opened), WEIR_OK);
    assert_ptr_equal(opened.data, datagram);
    assert_int_equal(opened.length, 3);
    assert_memory_equal(datagram, "\1\2\3", 3);
    unmake(box.crypt);
}

static void xor_ends_at_its_table(void **state)
{
    (void)state;
    struct box box = make_box(WEIR_KCP_CIPHER_XOR);
    static uint8_t datagram[2000];
    static uint8_t payload[2000];
    size_t length = 0;
    size_t sealed = seal_one(&box, datagram, sizeof(datagram) - box.overhead);
    for (size_t i = DATAGRAM_MAX; i < sealed; i++) {
        assert_int_equal(datagram[i], (uint8_t)((i - box.front) * 7));
    }
    assert_int_equal(open_copy(box.crypt, datagram, sealed, payload, &length), WEIR_OK);
    assert_int_equal(length, sealed - box.overhead);
    unmake(box.crypt);
}

static void keys_are_wiped(void **state)
{
    (void)state;
    for (int cipher = 0; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct box box = make_box((enum weir_kcp_cipher)cipher);
        const uint8_t *mem = (const uint8_t *)box.crypt;
        weir_kcp_crypt_fini(box.crypt);
        /* Up to the size's own rounding. */
        for (size_t i = 0; i + 64 <= weir_kcp_crypt_size(); i++) {
            assert_int_equal(mem[i], 0);
        }
        free(box.crypt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(unknown_ciphers_are_refused),
        cmocka_unit_test(opens_what_kcp_go_sealed),
        cmocka_unit_test(batches_come_back),
        cmocka_unit_test(equal_payloads_look_different),
        cmocka_unit_test(every_truncation_is_dropped),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(another_key_opens_nothing),
        cmocka_unit_test(nil_changes_nothing),
        cmocka_unit_test(xor_ends_at_its_table),
        cmocka_unit_test(keys_are_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
