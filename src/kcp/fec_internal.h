/* SPDX-License-Identifier: MIT */
/*
 * fec_internal.h - what fec.c and fec_decode.c know of each other.
 */
#ifndef WEIR_KCP_FEC_INTERNAL_H
#define WEIR_KCP_FEC_INTERNAL_H

#include "base/bytes.h"
#include "kcp/fec.h"
#include "mem/pool.h"

enum {
    WEIR_KCP_FEC_PREFIX_BYTES = 6, /* of the header, before what the code covers */
    WEIR_KCP_FEC_SIZE_BYTES = 2,   /* the rest of a data packet's header, covered */
    WEIR_KCP_FEC_BUFFER_HEAD = 64, /* keeps the shard behind it aligned for vector loads */
    WEIR_KCP_FEC_TABLE_BYTES = 32, /* that ISA-L makes of one coefficient */
    WEIR_KCP_FEC_WORDS = WEIR_KCP_FEC_SHARDS_MAX / 64
};

/* A set of places in a group. */
struct weir_kcp_fec_places {
    uint64_t bits[WEIR_KCP_FEC_WORDS];
};

/* The head of a pool element; the shard starts WEIR_KCP_FEC_BUFFER_HEAD behind it. */
struct weir_kcp_fec_buffer {
    uint32_t next; /* pool index, or WEIR_POOL_NONE */
    uint16_t length;
    uint8_t place;
};

/* Tables that make the missing data shards of the shards used: a cache entry. */
struct weir_kcp_fec_pattern {
    struct weir_kcp_fec_places used;
    uint16_t data; /* 0: empty */
    uint8_t *tables;
};

struct weir_kcp_fec {
    struct weir_kcp_fec_config config;
    struct weir_kcp_fec_stats *stats;
    struct weir_pool buffers;
    uint8_t *encode_tables;
    struct weir_kcp_fec_pattern *patterns;
    uint8_t *coefficients; /* scratch */
    uint8_t *sources[WEIR_KCP_FEC_SHARDS_MAX];
    uint8_t *outputs[WEIR_KCP_FEC_SHARDS_MAX];
};

static inline uint8_t *weir_kcp_fec_shard(struct weir_kcp_fec_buffer *buffer)
{
    return (uint8_t *)buffer + WEIR_KCP_FEC_BUFFER_HEAD;
}

static inline uint16_t weir_kcp_fec_load16(const uint8_t *p)
{
    return __builtin_bswap16(weir_load16(p));
}

/* First seqid that is not used: a multiple of shards, so that every group is whole. */
static inline uint32_t weir_kcp_fec_paws(uint32_t shards)
{
    return UINT32_MAX / shards * shards;
}

#endif
