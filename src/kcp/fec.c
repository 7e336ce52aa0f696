/* SPDX-License-Identifier: MIT */
/*
 * fec.c - what the sessions of an endpoint share, and the sending side.
 *
 * Parity is summed up packet by packet: each data packet is read once, when it is sent and still in
 * the cache, and never copied. Zero-padding costs nothing that way, as zeros add nothing.
 */
#include "kcp/fec.h"

#include <isa-l/erasure_code.h>
#include <string.h>

#include "base/assert.h"
#include "kcp/fec_internal.h"
#include "kcp/fec_matrix.h"
#include "kcp/vectors.h"

enum {
    SHARDS_DEFAULT = 32,
    PACKET_BYTES_DEFAULT = 1500,
    PACKET_BYTES_MIN = 32, /* header and an empty segment */
    PATTERNS_DEFAULT = 16,
    BUFFERS_DEFAULT = 1024,
    EXPIRY_SECONDS_DEFAULT = 60,
    CACHE_LINE = 64
};

struct weir_kcp_fec_encoder {
    struct weir_kcp_fec *fec;
    uint32_t next;     /* seqid of the next packet */
    uint16_t count;    /* data packets of this group so far */
    uint16_t due;      /* parity packets not taken yet */
    uint16_t length;   /* longest shard of this group */
    bool is_protected; /* are there buffers? */
    uint8_t *parity[]; /* shards in pool elements */
};

/* --- set-up ----------------------------------------------------------------------------------- */

enum weir_status weir_kcp_fec_check(const struct weir_kcp_fec_config *config,
                                    struct weir_kcp_fec_config *filled)
{
    struct weir_kcp_fec_config c = *config;
    unsigned shards = (unsigned)c.data + c.parity;
    if (c.shards_max == 0) {
        c.shards_max =
            (uint16_t)weir_max_u64(SHARDS_DEFAULT, weir_min_u64(shards, WEIR_KCP_FEC_SHARDS_MAX));
    }
    c.packet_bytes_max = c.packet_bytes_max != 0 ? c.packet_bytes_max : PACKET_BYTES_DEFAULT;
    c.patterns_max = c.patterns_max != 0 ? c.patterns_max : PATTERNS_DEFAULT;
    c.buffers_max = c.buffers_max != 0 ? c.buffers_max : BUFFERS_DEFAULT;
    c.expiry = c.expiry != 0 ? c.expiry : EXPIRY_SECONDS_DEFAULT * WEIR_SEC;
    if ((c.data == 0) != (c.parity == 0) || shards > c.shards_max || c.shards_max < 2 ||
        c.shards_max > WEIR_KCP_FEC_SHARDS_MAX || c.packet_bytes_max < PACKET_BYTES_MIN ||
        c.packet_bytes_max > WEIR_KCP_FEC_PACKET_BYTES_MAX || c.buffers_max == UINT32_MAX) {
        return WEIR_ERR_INVALID;
    }
    *filled = c;
    return WEIR_OK;
}

/* Of data and missing or parity shards, which together are no more than shards_max. */
static size_t coefficients_max(const struct weir_kcp_fec_config *config)
{
    size_t half = config->shards_max / 2;
    return weir_size_align(half * (config->shards_max - half), CACHE_LINE);
}

static size_t buffer_bytes(const struct weir_kcp_fec_config *config)
{
    size_t shard = (size_t)config->packet_bytes_max - WEIR_KCP_FEC_PREFIX_BYTES;
    return weir_size_align(WEIR_KCP_FEC_BUFFER_HEAD + shard, CACHE_LINE);
}

/* The parts of the one block, in their order. */
struct layout {
    size_t encode_tables, patterns, pattern_tables, coefficients, buffers, end;
};

static struct layout lay_out(const struct weir_kcp_fec_config *config)
{
    size_t tables = weir_size_mul(coefficients_max(config), WEIR_KCP_FEC_TABLE_BYTES);
    size_t patterns = weir_size_mul(config->patterns_max, sizeof(struct weir_kcp_fec_pattern));
    size_t encode = (size_t)config->data * config->parity * WEIR_KCP_FEC_TABLE_BYTES;
    struct layout at;
    at.encode_tables = weir_size_align(sizeof(struct weir_kcp_fec), CACHE_LINE);
    at.patterns = weir_size_add(at.encode_tables, weir_size_align(encode, CACHE_LINE));
    at.pattern_tables = weir_size_add(at.patterns, weir_size_align(patterns, CACHE_LINE));
    at.coefficients = weir_size_add(at.pattern_tables, weir_size_mul(tables, config->patterns_max));
    at.buffers = weir_size_add(at.coefficients, coefficients_max(config));
    at.end = weir_size_add(at.buffers, weir_size_mul(buffer_bytes(config), config->buffers_max));
    return at;
}

size_t weir_kcp_fec_mem_size(const struct weir_kcp_fec_config *config)
{
    return lay_out(config).end;
}

static void make_encode_tables(struct weir_kcp_fec *fec)
{
    uint8_t places[WEIR_KCP_FEC_SHARDS_MAX];
    size_t data = fec->config.data;
    size_t parity = fec->config.parity;
    for (size_t i = 0; i < data + parity; i++) {
        places[i] = (uint8_t)i;
    }
    weir_kcp_fec_coefficients(places, data, places + data, parity, fec->coefficients);
    ec_init_tables((int)data, (int)parity, fec->coefficients, fec->encode_tables);
}

struct weir_kcp_fec *weir_kcp_fec_init(void *mem, const struct weir_kcp_fec_config *config,
                                       struct weir_kcp_fec_stats *stats)
{
    struct layout at = lay_out(config);
    size_t tables = coefficients_max(config) * WEIR_KCP_FEC_TABLE_BYTES;
    uint8_t *base = mem;
    struct weir_kcp_fec *fec = mem;

    memset(fec, 0, sizeof(*fec));
    fec->config = *config;
    fec->stats = stats;
    fec->encode_tables = base + at.encode_tables;
    fec->patterns = (void *)(base + at.patterns);
    fec->coefficients = base + at.coefficients;
    for (size_t i = 0; i < config->patterns_max; i++) {
        fec->patterns[i] =
            (struct weir_kcp_fec_pattern){.tables = base + at.pattern_tables + i * tables};
    }
    weir_pool_init(&fec->buffers, base + at.buffers, (uint32_t)buffer_bytes(config),
                   config->buffers_max);
    if (config->data > 0) {
        make_encode_tables(fec);
    }
    return fec;
}

const struct weir_kcp_fec_stats *weir_kcp_fec_stats(const struct weir_kcp_fec *fec)
{
    return fec->stats;
}

/* --- sending ---------------------------------------------------------------------------------- */

size_t weir_kcp_fec_encoder_size(const struct weir_kcp_fec_config *config)
{
    return sizeof(struct weir_kcp_fec_encoder) + config->parity * sizeof(uint8_t *);
}

struct weir_kcp_fec_encoder *weir_kcp_fec_encoder_init(void *mem, struct weir_kcp_fec *fec,
                                                       uint32_t seqid)
{
    struct weir_kcp_fec_encoder *encoder = mem;
    uint32_t shards = (uint32_t)fec->config.data + fec->config.parity;
    WEIR_ASSERT(fec->config.data > 0);
    WEIR_ASSERT(seqid % shards == 0 && seqid < weir_kcp_fec_paws(shards));
    *encoder = (struct weir_kcp_fec_encoder){.fec = fec, .next = seqid};
    return encoder;
}

/* Numbers wrap to 0 behind the last whole group, so only ever behind a parity packet. */
static void skip_numbers(struct weir_kcp_fec_encoder *encoder, uint32_t count)
{
    uint32_t shards = (uint32_t)encoder->fec->config.data + encoder->fec->config.parity;
    encoder->next += count;
    if (encoder->next == weir_kcp_fec_paws(shards)) {
        encoder->next = 0;
    }
}

static void give_parity(struct weir_kcp_fec_encoder *encoder, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        weir_pool_give(&encoder->fec->buffers, encoder->parity[i] - WEIR_KCP_FEC_BUFFER_HEAD);
    }
}

static bool take_buffers(struct weir_kcp_fec_encoder *encoder)
{
    size_t parity = encoder->fec->config.parity;
    for (size_t i = 0; i < parity; i++) {
        uint8_t *element = weir_pool_take(&encoder->fec->buffers);
        if (element == NULL) {
            give_parity(encoder, 0, i);
            return false;
        }
        encoder->parity[i] = element + WEIR_KCP_FEC_BUFFER_HEAD;
    }
    return true;
}

/* Gives up the parity packets that were not taken. */
static void skip_parity(struct weir_kcp_fec_encoder *encoder)
{
    uint16_t parity = encoder->fec->config.parity;
    give_parity(encoder, (size_t)parity - encoder->due, parity);
    encoder->fec->stats->parity_skipped += encoder->due;
    skip_numbers(encoder, encoder->due);
    encoder->due = 0;
}

static void put_prefix(uint8_t *p, uint32_t seqid, enum weir_kcp_fec_type type)
{
    weir_store32(p, __builtin_bswap32(seqid));
    weir_store16(p + 4, __builtin_bswap16((uint16_t)type));
}

/* Adds the shard's share to every parity shard, which grow by zeros to the longest so far. */
static void add_shard(struct weir_kcp_fec_encoder *encoder, uint8_t *shard, size_t length)
{
    const struct weir_kcp_fec *fec = encoder->fec;
    uint16_t parity = fec->config.parity;
    if (length > encoder->length) {
        for (size_t i = 0; i < parity; i++) {
            memset(encoder->parity[i] + encoder->length, 0, length - encoder->length);
        }
        encoder->length = (uint16_t)length;
    }
    ec_encode_data_update((int)length, fec->config.data, parity, encoder->count, fec->encode_tables,
                          shard, encoder->parity);
    weir_kcp_clear_vectors();
}

unsigned weir_kcp_fec_encode(struct weir_kcp_fec_encoder *encoder, struct weir_mut_span packet)
{
    struct weir_kcp_fec *fec = encoder->fec;
    WEIR_ASSERT(packet.length >= WEIR_KCP_FEC_HEADER_BYTES &&
                packet.length <= fec->config.packet_bytes_max);
    if (encoder->due > 0) {
        skip_parity(encoder);
    }
    if (encoder->count == 0) {
        encoder->length = 0;
        encoder->is_protected = take_buffers(encoder);
    }

    uint8_t *shard = packet.data + WEIR_KCP_FEC_PREFIX_BYTES;
    size_t length = packet.length - WEIR_KCP_FEC_PREFIX_BYTES;
    put_prefix(packet.data, encoder->next, WEIR_KCP_FEC_DATA);
    weir_store16(shard, __builtin_bswap16((uint16_t)length));
    if (encoder->is_protected) {
        add_shard(encoder, shard, length);
    }
    skip_numbers(encoder, 1);
    fec->stats->data_sent++;

    if (++encoder->count < fec->config.data) {
        return 0;
    }
    encoder->count = 0;
    if (!encoder->is_protected) {
        fec->stats->parity_skipped += fec->config.parity;
        skip_numbers(encoder, fec->config.parity);
        return 0;
    }
    encoder->due = fec->config.parity;
    return encoder->due;
}

size_t weir_kcp_fec_parity_bytes(const struct weir_kcp_fec_encoder *encoder)
{
    return WEIR_KCP_FEC_PREFIX_BYTES + (size_t)encoder->length;
}

void weir_kcp_fec_take_parity(struct weir_kcp_fec_encoder *encoder, uint8_t *p)
{
    WEIR_ASSERT(encoder->due > 0);
    size_t index = (size_t)encoder->fec->config.parity - encoder->due;
    put_prefix(p, encoder->next, WEIR_KCP_FEC_PARITY);
    memcpy(p + WEIR_KCP_FEC_PREFIX_BYTES, encoder->parity[index], encoder->length);
    give_parity(encoder, index, index + 1);
    encoder->due--;
    skip_numbers(encoder, 1);
    encoder->fec->stats->parity_sent++;
}

uint32_t weir_kcp_fec_encoder_reset(struct weir_kcp_fec_encoder *encoder)
{
    const struct weir_kcp_fec_config *config = &encoder->fec->config;
    if (encoder->due > 0) {
        skip_parity(encoder);
    }
    if (encoder->count > 0) {
        if (encoder->is_protected) {
            give_parity(encoder, 0, config->parity);
        }
        encoder->fec->stats->parity_skipped += config->parity;
        skip_numbers(encoder, (uint32_t)config->data - encoder->count + config->parity);
        encoder->count = 0;
    }
    return encoder->next;
}
