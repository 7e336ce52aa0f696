/* SPDX-License-Identifier: MIT */
/*
 * fec_decode.c - the receiving side: groups, recovery, and finding out the peer's group size.
 *
 * Data packets are handed on at once, whatever becomes of their group. Of the last 16 groups it is
 * remembered what came; the packets themselves are kept only while one more could complete them.
 */
#include <isa-l/erasure_code.h>
#include <string.h>

#include "base/assert.h"
#include "kcp/fec.h"
#include "kcp/fec_internal.h"
#include "kcp/fec_matrix.h"
#include "kcp/fec_tune.h"
#include "kcp/vectors.h"

enum {
    GROUPS = 16,    /* how far packets may be out of order */
    GROUPS_KEPT = 3 /* times a group's packets: buffers of one decoder, as the peers */
};

struct group {
    weir_nsec since; /* its first packet */
    uint32_t base;   /* seqid of its first place */
    uint32_t head;   /* kept packets, WEIR_POOL_NONE: none */
    uint16_t count, data_count;
    bool is_used, is_done; /* done: complete, recovered or given up */
    struct weir_kcp_fec_places have;
};

struct weir_kcp_fec_decoder {
    struct weir_kcp_fec *fec;
    uint16_t data, parity; /* 0: not known yet */
    uint32_t held;         /* buffers of all groups */
    uint32_t recovered;    /* buffers to be pulled, in order */
    uint32_t lent;         /* the one pulled last */
    weir_nsec next_expiry;
    struct weir_kcp_fec_tune tune;
    struct group groups[GROUPS];
};

static uint32_t shards_of(const struct weir_kcp_fec_decoder *decoder)
{
    return (uint32_t)decoder->data + decoder->parity;
}

static bool has_place(const struct weir_kcp_fec_places *places, uint32_t place)
{
    return (places->bits[place / 64] >> (place % 64) & 1) != 0;
}

static void add_place(struct weir_kcp_fec_places *places, uint32_t place)
{
    places->bits[place / 64] |= (uint64_t)1 << (place % 64);
}

/* --- buffers ---------------------------------------------------------------------------------- */

static struct weir_kcp_fec_buffer *buffer_at(const struct weir_kcp_fec_decoder *decoder,
                                             uint32_t index)
{
    return weir_pool_at(&decoder->fec->buffers, index);
}

/* Gives back a whole list and returns its length. */
static uint32_t give_list(struct weir_kcp_fec_decoder *decoder, uint32_t *head)
{
    uint32_t count = 0;
    while (*head != WEIR_POOL_NONE) {
        struct weir_kcp_fec_buffer *buffer = buffer_at(decoder, *head);
        *head = buffer->next;
        weir_pool_give(&decoder->fec->buffers, buffer);
        count++;
    }
    return count;
}

static void finish_group(struct weir_kcp_fec_decoder *decoder, struct group *group)
{
    decoder->held -= give_list(decoder, &group->head);
    group->is_done = true;
}

static void give_up_group(struct weir_kcp_fec_decoder *decoder, struct group *group)
{
    if (!group->is_done) {
        decoder->fec->stats->groups_lost++;
    }
    finish_group(decoder, group);
}

/* What the caller has not pulled is dropped with what it has. */
static void settle_recovered(struct weir_kcp_fec_decoder *decoder)
{
    (void)give_list(decoder, &decoder->lent);
    (void)give_list(decoder, &decoder->recovered);
}

/* Of the groups that keep packets the one sent first, but not spared; NULL: none. */
static struct group *oldest_group(struct weir_kcp_fec_decoder *decoder, const struct group *spared)
{
    struct group *oldest = NULL;
    for (size_t i = 0; i < GROUPS; i++) {
        struct group *group = &decoder->groups[i];
        if (group->head == WEIR_POOL_NONE || group == spared) {
            continue;
        }
        if (oldest == NULL || (int32_t)(group->base - oldest->base) < 0) {
            oldest = group;
        }
    }
    return oldest;
}

static void give_up_oldest(struct weir_kcp_fec_decoder *decoder, const struct group *spared)
{
    struct group *oldest = oldest_group(decoder, spared);
    if (oldest != NULL) {
        give_up_group(decoder, oldest);
    }
}

/* A buffer for group, if need be at the cost of an older group. NULL: not even so. */
static struct weir_kcp_fec_buffer *take_buffer(struct weir_kcp_fec_decoder *decoder,
                                               const struct group *group)
{
    if (weir_pool_left(&decoder->fec->buffers) == 0) {
        give_up_oldest(decoder, group);
    }
    return weir_pool_take(&decoder->fec->buffers);
}

/* --- recovery --------------------------------------------------------------------------------- */

static size_t list_places(const struct weir_kcp_fec_places *have, uint32_t begin, uint32_t end,
                          bool is_there, uint8_t *places)
{
    size_t count = 0;
    for (uint32_t place = begin; place < end; place++) {
        if (has_place(have, place) == is_there) {
            places[count++] = (uint8_t)place;
        }
    }
    return count;
}

/* Which data shards are missing follows from which were used: the key is the latter. */
static const uint8_t *tables_for(struct weir_kcp_fec_decoder *decoder,
                                 const struct weir_kcp_fec_places *used)
{
    struct weir_kcp_fec *fec = decoder->fec;
    uint8_t known[WEIR_KCP_FEC_SHARDS_MAX];
    uint8_t missing[WEIR_KCP_FEC_SHARDS_MAX];
    uint64_t mixed = decoder->data;
    for (size_t i = 0; i < WEIR_KCP_FEC_WORDS; i++) {
        mixed = (mixed ^ used->bits[i]) * 0x9e3779b97f4a7c15U;
        mixed ^= mixed >> 32;
    }
    struct weir_kcp_fec_pattern *pattern = &fec->patterns[mixed % fec->config.patterns_max];
    if (pattern->data == decoder->data && memcmp(&pattern->used, used, sizeof(*used)) == 0) {
        return pattern->tables;
    }

    size_t known_count = list_places(used, 0, shards_of(decoder), true, known);
    size_t missing_count = list_places(used, 0, decoder->data, false, missing);
    weir_kcp_fec_coefficients(known, known_count, missing, missing_count, fec->coefficients);
    ec_init_tables((int)known_count, (int)missing_count, fec->coefficients, pattern->tables);
    pattern->used = *used;
    pattern->data = decoder->data;
    return pattern->tables;
}

/* fec->sources in the order of places, all zero-padded to the longest, whose length is returned. */
static size_t gather_sources(struct weir_kcp_fec_decoder *decoder, const struct group *group)
{
    uint8_t *by_place[WEIR_KCP_FEC_SHARDS_MAX] = {NULL};
    size_t longest = 0;
    size_t count = 0;
    uint32_t at;
    for (at = group->head; at != WEIR_POOL_NONE; at = buffer_at(decoder, at)->next) {
        longest = (size_t)weir_max_u64(longest, buffer_at(decoder, at)->length);
    }
    for (at = group->head; at != WEIR_POOL_NONE; at = buffer_at(decoder, at)->next) {
        struct weir_kcp_fec_buffer *buffer = buffer_at(decoder, at);
        uint8_t *shard = weir_kcp_fec_shard(buffer);
        memset(shard + buffer->length, 0, longest - buffer->length);
        by_place[buffer->place] = shard;
    }
    for (uint32_t place = 0; place < shards_of(decoder); place++) {
        if (by_place[place] != NULL) {
            decoder->fec->sources[count++] = by_place[place];
        }
    }
    WEIR_ASSERT(count == decoder->data);
    return longest;
}

/* Takes count buffers into decoder->recovered and fec->outputs. */
static bool take_outputs(struct weir_kcp_fec_decoder *decoder, const struct group *group,
                         size_t count, size_t length)
{
    uint32_t *link = &decoder->recovered;
    for (size_t i = 0; i < count; i++) {
        struct weir_kcp_fec_buffer *buffer = take_buffer(decoder, group);
        if (buffer == NULL) {
            settle_recovered(decoder);
            return false;
        }
        *buffer = (struct weir_kcp_fec_buffer){.next = WEIR_POOL_NONE, .length = (uint16_t)length};
        *link = weir_pool_index(&decoder->fec->buffers, buffer);
        link = &buffer->next;
        decoder->fec->outputs[i] = weir_kcp_fec_shard(buffer);
    }
    return true;
}

/* group has exactly as many shards as data packets, some of them parity. */
static void recover_group(struct weir_kcp_fec_decoder *decoder, struct group *group)
{
    struct weir_kcp_fec *fec = decoder->fec;
    size_t missing = (size_t)decoder->data - group->data_count;
    size_t length = gather_sources(decoder, group);
    if (!take_outputs(decoder, group, missing, length)) {
        fec->stats->ignored_no_room++;
        give_up_group(decoder, group);
        return;
    }

    /* The library reads its tables through a pointer that could write. */
    union {
        const uint8_t *borrowed;
        uint8_t *library;
    } tables = {.borrowed = tables_for(decoder, &group->have)};

    ec_encode_data((int)length, decoder->data, (int)missing, tables.library, fec->sources,
                   fec->outputs);
    weir_kcp_clear_vectors();
    finish_group(decoder, group);
}

bool weir_kcp_fec_recovered(struct weir_kcp_fec_decoder *decoder, struct weir_span *segments)
{
    struct weir_kcp_fec_stats *stats = decoder->fec->stats;
    (void)give_list(decoder, &decoder->lent);
    while (decoder->recovered != WEIR_POOL_NONE) {
        struct weir_kcp_fec_buffer *buffer = buffer_at(decoder, decoder->recovered);
        const uint8_t *shard = weir_kcp_fec_shard(buffer);
        decoder->lent = decoder->recovered;
        decoder->recovered = buffer->next;
        buffer->next = WEIR_POOL_NONE;

        /* The size is what the peer claims: forged parity makes any. */
        uint16_t size = weir_kcp_fec_load16(shard);
        if (size >= WEIR_KCP_FEC_SIZE_BYTES && size <= buffer->length) {
            stats->recovered++;
            *segments = weir_span_of(shard + WEIR_KCP_FEC_SIZE_BYTES,
                                     (size_t)size - WEIR_KCP_FEC_SIZE_BYTES);
            return true;
        }
        stats->dropped_malformed++;
        (void)give_list(decoder, &decoder->lent);
    }
    return false;
}

/* --- groups ----------------------------------------------------------------------------------- */

/* Is base a little older than newest? Far older is a peer that began anew, or a forgery. */
static bool is_late(const struct weir_kcp_fec_decoder *decoder, uint32_t base, uint32_t newest)
{
    uint32_t age = newest - base;
    return age > 0 && age <= GROUPS * shards_of(decoder);
}

/* The group that starts at base, made when it is new; NULL: too late for it. */
static struct group *find_group(struct weir_kcp_fec_decoder *decoder, weir_nsec now, uint32_t base)
{
    struct group *group = &decoder->groups[base / shards_of(decoder) % GROUPS];
    if (group->is_used && group->base == base) {
        return group;
    }
    if (group->is_used && is_late(decoder, base, group->base)) {
        return NULL;
    }
    if (group->is_used) {
        give_up_group(decoder, group);
    }
    *group = (struct group){.since = now, .base = base, .head = WEIR_POOL_NONE, .is_used = true};
    decoder->next_expiry = weir_min_u64(decoder->next_expiry, now + decoder->fec->config.expiry);
    return group;
}

static void keep_packet(struct weir_kcp_fec_decoder *decoder, struct group *group, uint32_t place,
                        struct weir_span shard)
{
    if (decoder->held >= GROUPS_KEPT * shards_of(decoder)) {
        give_up_oldest(decoder, group);
    }
    struct weir_kcp_fec_buffer *buffer = take_buffer(decoder, group);
    if (buffer == NULL) {
        decoder->fec->stats->ignored_no_room++;
        return;
    }
    *buffer = (struct weir_kcp_fec_buffer){
        .next = group->head, .length = (uint16_t)shard.length, .place = (uint8_t)place};
    memcpy(weir_kcp_fec_shard(buffer), shard.data, shard.length);
    group->head = weir_pool_index(&decoder->fec->buffers, buffer);
    decoder->held++;
    add_place(&group->have, place);
    group->count++;
    group->data_count = (uint16_t)(group->data_count + (place < decoder->data));
    if (group->count == decoder->data) {
        recover_group(decoder, group);
    }
}

static void take_in(struct weir_kcp_fec_decoder *decoder, weir_nsec now, uint32_t seqid,
                    struct weir_span shard)
{
    struct weir_kcp_fec_stats *stats = decoder->fec->stats;
    uint32_t place = seqid % shards_of(decoder);
    struct group *group = find_group(decoder, now, seqid - place);
    if (group == NULL) {
        stats->ignored_late++;
    } else if (group->is_done) {
        return; /* parity that nobody needs: the usual case */
    } else if (has_place(&group->have, place)) {
        stats->ignored_duplicate++;
    } else if (place < decoder->data && group->data_count + 1 == decoder->data) {
        finish_group(decoder, group);
    } else {
        keep_packet(decoder, group, place, shard);
    }
}

/* A packet that is not of the kind that its place has: the group size is another one, and what the
 * code would make of such a group is garbage. */
static void distrust_group(struct weir_kcp_fec_decoder *decoder, weir_nsec now, uint32_t seqid)
{
    if (decoder->data == 0) {
        return;
    }
    struct group *group = find_group(decoder, now, seqid - seqid % shards_of(decoder));
    if (group != NULL) {
        give_up_group(decoder, group);
    }
}

/* --- the peer's group size -------------------------------------------------------------------- */

static bool is_in_step(uint32_t data, uint32_t parity, uint32_t seqid, bool is_data)
{
    return data > 0 && seqid < weir_kcp_fec_paws(data + parity) &&
           (seqid % (data + parity) < data) == is_data;
}

/* Is the packet where the group size says? If not, what has been seen may tell another size. */
static bool follow_peer(struct weir_kcp_fec_decoder *decoder, uint32_t seqid, bool is_data)
{
    weir_kcp_fec_tune_sample(&decoder->tune, seqid, is_data);
    if (is_in_step(decoder->data, decoder->parity, seqid, is_data)) {
        return true;
    }
    unsigned data = weir_kcp_fec_tune_run(&decoder->tune, true);
    unsigned parity = data > 0 ? weir_kcp_fec_tune_run(&decoder->tune, false) : 0;
    if (parity == 0 || data + parity > decoder->fec->config.shards_max ||
        !is_in_step(data, parity, seqid, is_data)) {
        return false;
    }
    weir_kcp_fec_decoder_reset(decoder);
    decoder->data = (uint16_t)data;
    decoder->parity = (uint16_t)parity;
    decoder->fec->stats->tunings++;
    return true;
}

/* --- the calls -------------------------------------------------------------------------------- */

size_t weir_kcp_fec_decoder_size(void)
{
    return sizeof(struct weir_kcp_fec_decoder);
}

struct weir_kcp_fec_decoder *weir_kcp_fec_decoder_init(void *mem, struct weir_kcp_fec *fec)
{
    struct weir_kcp_fec_decoder *decoder = mem;
    memset(decoder, 0, sizeof(*decoder));
    decoder->fec = fec;
    decoder->data = fec->config.data;
    decoder->parity = fec->config.parity;
    decoder->recovered = WEIR_POOL_NONE;
    decoder->lent = WEIR_POOL_NONE;
    decoder->next_expiry = WEIR_NEVER;
    for (size_t i = 0; i < GROUPS; i++) {
        decoder->groups[i].head = WEIR_POOL_NONE;
    }
    weir_kcp_fec_tune_init(&decoder->tune);
    return decoder;
}

void weir_kcp_fec_decoder_reset(struct weir_kcp_fec_decoder *decoder)
{
    settle_recovered(decoder);
    for (size_t i = 0; i < GROUPS; i++) {
        finish_group(decoder, &decoder->groups[i]);
        decoder->groups[i].is_used = false;
    }
    decoder->next_expiry = WEIR_NEVER;
}

struct weir_kcp_fec_groups weir_kcp_fec_decoder_groups(const struct weir_kcp_fec_decoder *decoder)
{
    return (struct weir_kcp_fec_groups){.data = (uint8_t)decoder->data,
                                        .parity = (uint8_t)decoder->parity};
}

void weir_kcp_fec_decoder_expect(struct weir_kcp_fec_decoder *decoder,
                                 struct weir_kcp_fec_groups groups)
{
    WEIR_ASSERT((groups.data == 0) == (groups.parity == 0) &&
                groups.data + groups.parity <= decoder->fec->config.shards_max);
    weir_kcp_fec_decoder_reset(decoder);
    decoder->data = groups.data;
    decoder->parity = groups.parity;
}

void weir_kcp_fec_decoder_expire(struct weir_kcp_fec_decoder *decoder, weir_nsec now)
{
    if (now < decoder->next_expiry) {
        return;
    }
    decoder->next_expiry = WEIR_NEVER;
    for (size_t i = 0; i < GROUPS; i++) {
        struct group *group = &decoder->groups[i];
        weir_nsec end = group->since + decoder->fec->config.expiry;
        if (group->is_used && now >= end) {
            give_up_group(decoder, group);
            group->is_used = false;
        } else if (group->is_used) {
            decoder->next_expiry = weir_min_u64(decoder->next_expiry, end);
        }
    }
}

enum weir_kcp_fec_type weir_kcp_fec_type(struct weir_span packet)
{
    if (packet.length < WEIR_KCP_FEC_PREFIX_BYTES) {
        return WEIR_KCP_FEC_PLAIN;
    }
    switch (weir_kcp_fec_load16(packet.data + 4)) {
    case WEIR_KCP_FEC_DATA:
        return WEIR_KCP_FEC_DATA;
    case WEIR_KCP_FEC_PARITY:
        return WEIR_KCP_FEC_PARITY;
    case WEIR_KCP_FEC_OUT_OF_BAND:
        return WEIR_KCP_FEC_OUT_OF_BAND;
    default:
        return WEIR_KCP_FEC_PLAIN;
    }
}

bool weir_kcp_fec_segments(struct weir_span packet, struct weir_span *segments)
{
    if (packet.length < WEIR_KCP_FEC_HEADER_BYTES) {
        return false;
    }
    uint16_t size = weir_kcp_fec_load16(packet.data + WEIR_KCP_FEC_PREFIX_BYTES);
    if (size < WEIR_KCP_FEC_SIZE_BYTES || size > packet.length - WEIR_KCP_FEC_PREFIX_BYTES) {
        return false; /* it may claim anything */
    }
    *segments = weir_span_of(packet.data + WEIR_KCP_FEC_HEADER_BYTES,
                             (size_t)size - WEIR_KCP_FEC_SIZE_BYTES);
    return true;
}

/* *shard of any packet, and *segments of a data packet. */
static bool read_packet(struct weir_span packet, bool is_data, struct weir_span *segments,
                        struct weir_span *shard)
{
    if (packet.length < WEIR_KCP_FEC_HEADER_BYTES ||
        (is_data && !weir_kcp_fec_segments(packet, segments))) {
        return false;
    }
    *shard = weir_span_of(packet.data + WEIR_KCP_FEC_PREFIX_BYTES,
                          packet.length - WEIR_KCP_FEC_PREFIX_BYTES);
    if (is_data) {
        shard->length = segments->length + WEIR_KCP_FEC_SIZE_BYTES;
    }
    return true;
}

void weir_kcp_fec_decode(struct weir_kcp_fec_decoder *decoder, weir_nsec now,
                         struct weir_span packet, struct weir_span *segments)
{
    struct weir_kcp_fec_stats *stats = decoder->fec->stats;
    enum weir_kcp_fec_type type = weir_kcp_fec_type(packet);
    bool is_data = type == WEIR_KCP_FEC_DATA;
    struct weir_span shard;

    *segments = weir_span_of(packet.data, 0);
    settle_recovered(decoder);
    weir_kcp_fec_decoder_expire(decoder, now);
    if (type == WEIR_KCP_FEC_PLAIN || !read_packet(packet, is_data, segments, &shard)) {
        stats->dropped_malformed++;
        return;
    }
    if (type == WEIR_KCP_FEC_OUT_OF_BAND) {
        stats->ignored_unknown++;
        return;
    }
    stats->data_received += is_data;
    stats->parity_received += !is_data;

    uint32_t seqid = __builtin_bswap32(weir_load32(packet.data));
    if (shard.length > (size_t)decoder->fec->config.packet_bytes_max - WEIR_KCP_FEC_PREFIX_BYTES) {
        stats->ignored_no_room++;
    } else if (!follow_peer(decoder, seqid, is_data)) {
        stats->ignored_unknown++;
        distrust_group(decoder, now, seqid);
    } else {
        take_in(decoder, now, seqid, shard);
    }
}
