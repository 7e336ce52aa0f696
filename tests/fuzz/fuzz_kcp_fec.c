/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kcp_fec.c - any bytes as packets of forward error correction; and an encoder and a decoder
 * with the input's losses between them, where up to the parity's number nothing may be missing.
 *
 * Bytes 0 and 1: data and parity packets of a group, as the decoder is told. Hostile half: packets
 * one behind the other, each behind its length and 2 bytes of time. Honest half: a byte a packet.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kcp/fec_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PACKET_MAX = 128,
    SHARDS = 32
};

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

struct end {
    struct weir_kcp_fec *fec;
    struct weir_kcp_fec_decoder *decoder;
    struct weir_kcp_fec_encoder *encoder;
};

static struct end make_end(unsigned data, unsigned parity)
{
    struct end end;
    struct weir_kcp_fec_config config = {.data = (uint16_t)data,
                                         .parity = (uint16_t)parity,
                                         .packet_bytes_max = PACKET_MAX,
                                         .patterns_max = 2,
                                         .buffers_max = 100,
                                         .expiry = 60 * WEIR_SEC};
    must(weir_kcp_fec_check(&config, &config) == WEIR_OK);
    static struct weir_kcp_fec_stats stats;
    end.fec = weir_kcp_fec_init(
        aligned_alloc(64, weir_size_align(weir_kcp_fec_mem_size(&config), 64)), &config, &stats);
    end.decoder = weir_kcp_fec_decoder_init(malloc(weir_kcp_fec_decoder_size()), end.fec);
    end.encoder = data == 0 ? NULL
                            : weir_kcp_fec_encoder_init(malloc(weir_kcp_fec_encoder_size(&config)),
                                                        end.fec, 0);
    return end;
}

static void unmake_end(struct end *end)
{
    weir_kcp_fec_decoder_reset(end->decoder);
    if (end->encoder != NULL) {
        (void)weir_kcp_fec_encoder_reset(end->encoder);
    }
    must(end->fec->buffers.used == 0);
    free(end->decoder);
    free(end->encoder);
    free(end->fec);
}

static void fuzz_hostile(struct end *end, const uint8_t *data, size_t size)
{
    weir_nsec now = 0;
    while (size > 3) {
        struct weir_span segments;
        size_t length = data[0];
        now += weir_load16(data + 1) * WEIR_MSEC;
        length = length < size - 3 ? length : size - 3;
        uint8_t *copy = malloc(length > 0 ? length : 1);
        must(copy != NULL);
        memcpy(copy, data + 3, length);
        weir_kcp_fec_decode(end->decoder, now, weir_span_of(copy, length), &segments);
        must(segments.length == 0 ||
             (segments.data >= copy && segments.data + segments.length <= copy + length));
        free(copy);
        while (weir_kcp_fec_recovered(end->decoder, &segments)) {
            must(segments.length <= PACKET_MAX - WEIR_KCP_FEC_HEADER_BYTES);
        }
        must(end->fec->buffers.used <= 100);
        data += 3 + length;
        size -= 3 + length;
    }
}

struct exchange {
    uint8_t packets[SHARDS][PACKET_MAX];
    size_t lengths[SHARDS];
    bool came[SHARDS];
};

static void on_segments(struct exchange *exchange, struct weir_span segments)
{
    size_t number = segments.data[0];
    must(number < SHARDS && segments.length == exchange->lengths[number] - 8);
    must(memcmp(segments.data, exchange->packets[number] + 8, segments.length) == 0);
    exchange->came[number] = true;
}

/* One group; loses[i]: bit 0 of the i-th packet's byte, the other bits are its length. */
static void exchange_group(struct end *end, const uint8_t *loses)
{
    struct exchange exchange = {.lengths = {0}};
    unsigned data = end->fec->config.data;
    unsigned parity = end->fec->config.parity;
    unsigned lost = 0;
    for (unsigned i = 0; i < data; i++) {
        size_t length = 9 + (size_t)(loses[i] >> 1) % (PACKET_MAX - 9);
        memset(exchange.packets[i], loses[i], length);
        exchange.packets[i][8] = (uint8_t)i;
        exchange.lengths[i] = length;
        unsigned due = weir_kcp_fec_encode(
            end->encoder, (struct weir_mut_span){.data = exchange.packets[i], .length = length});
        must(due == (i + 1 < data ? 0 : parity));
    }
    for (unsigned i = data; i < data + parity; i++) {
        exchange.lengths[i] = weir_kcp_fec_parity_bytes(end->encoder);
        weir_kcp_fec_take_parity(end->encoder, exchange.packets[i]);
    }
    for (unsigned i = 0; i < data + parity; i++) {
        struct weir_span segments;
        if (lost < parity && (loses[i] & 1) != 0) {
            lost++;
            continue;
        }
        weir_kcp_fec_decode(end->decoder, 0, weir_span_of(exchange.packets[i], exchange.lengths[i]),
                            &segments);
        if (segments.length > 0) {
            on_segments(&exchange, segments);
        }
        while (weir_kcp_fec_recovered(end->decoder, &segments)) {
            on_segments(&exchange, segments);
        }
    }
    for (unsigned i = 0; i < data; i++) {
        must(exchange.came[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    unsigned shards[2] = {data[0] % 17U, data[1] % 16U};
    if (shards[0] == 0 || shards[1] == 0) {
        shards[0] = 0;
        shards[1] = 0;
    }
    data += 2;
    size -= 2;
    struct end end = make_end(shards[0], shards[1]);
    fuzz_hostile(&end, data, size);
    unmake_end(&end);
    if (shards[0] == 0) {
        return 0;
    }
    end = make_end(shards[0], shards[1]);
    for (; size >= SHARDS; data += SHARDS, size -= SHARDS) {
        exchange_group(&end, data);
    }
    unmake_end(&end);
    return 0;
}
