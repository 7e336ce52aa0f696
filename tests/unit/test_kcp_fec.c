/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_fec.c - kcp-go's forward error correction: its parity, losses of every kind, a peer
 * whose group size has to be found out, hostile headers, and too few buffers.
 */
#include "seed.h"

#include <isa-l/crc.h>
#include <string.h>

#include "kcp/fec_internal.h"
#include "kcp_vectors.h"

enum {
    PACKET_MAX = 300,
    SHARDS = 256
};

static const weir_nsec start = 5 * WEIR_SEC;

/* --- two ends --------------------------------------------------------------------------------- */

struct ends {
    struct weir_kcp_fec *fec;
    struct weir_kcp_fec *fec_in; /* of the receiving end */
    struct weir_kcp_fec_encoder *encoder;
    struct weir_kcp_fec_decoder *decoder;
    uint16_t data, parity;
    uint32_t sent; /* data packets so far */
    /* The group sent last: data, then parity. */
    uint8_t packets[SHARDS][PACKET_MAX];
    size_t lengths[SHARDS];
    size_t count;
    /* How often the i-th data packet of it came out. */
    unsigned came[SHARDS];
    uint32_t first; /* number of its first data packet */
};

static struct weir_kcp_fec *make_fec(const struct weir_kcp_fec_config *config)
{
    struct weir_kcp_fec_config filled;
    assert_int_equal(weir_kcp_fec_check(config, &filled), WEIR_OK);
    size_t bytes = weir_size_align(weir_kcp_fec_mem_size(&filled), 64);
    uint8_t *mem = aligned_alloc(64, bytes + 128);
    struct weir_kcp_fec_stats *stats = (void *)(mem + bytes);
    assert_non_null(mem);
    memset(stats, 0, sizeof(*stats));
    return weir_kcp_fec_init(mem, &filled, stats);
}

static void make_encoder(struct ends *ends, uint16_t data, uint16_t parity, uint32_t seqid)
{
    const struct weir_kcp_fec_config config = {
        .data = data, .parity = parity, .packet_bytes_max = PACKET_MAX};
    ends->data = data;
    ends->parity = parity;
    ends->fec = make_fec(&config);
    ends->encoder = weir_kcp_fec_encoder_init(malloc(weir_kcp_fec_encoder_size(&ends->fec->config)),
                                              ends->fec, seqid);
}

static void make_decoder(struct ends *ends, const struct weir_kcp_fec_config *config)
{
    ends->fec_in = make_fec(config);
    ends->decoder = weir_kcp_fec_decoder_init(malloc(weir_kcp_fec_decoder_size()), ends->fec_in);
}

static struct ends *make_ends(uint16_t data, uint16_t parity)
{
    struct ends *ends = calloc(1, sizeof(*ends));
    const struct weir_kcp_fec_config config = {
        .data = data, .parity = parity, .packet_bytes_max = PACKET_MAX};
    assert_non_null(ends);
    make_encoder(ends, data, parity, 0);
    make_decoder(ends, &config);
    return ends;
}

static void unmake_encoder(struct ends *ends)
{
    (void)weir_kcp_fec_encoder_reset(ends->encoder);
    assert_int_equal(ends->fec->buffers.used, 0);
    free(ends->encoder);
    free(ends->fec);
}

static void unmake_ends(struct ends *ends)
{
    weir_kcp_fec_decoder_reset(ends->decoder);
    assert_int_equal(ends->fec_in->buffers.used, 0);
    free(ends->decoder);
    free(ends->fec_in);
    unmake_encoder(ends);
    free(ends);
}

/* A packet says which one it is, and what else it holds follows from that. */
static size_t write_segments(uint8_t *p, uint32_t number, size_t length)
{
    memcpy(p, &number, sizeof(number));
    for (size_t i = sizeof(number); i < length; i++) {
        p[i] = (uint8_t)((size_t)number * 31 + i * 7);
    }
    return length;
}

static void send_group(struct ends *ends, struct weir_prng *prng)
{
    unsigned due = 0;
    ends->first = ends->sent;
    memset(ends->came, 0, sizeof(ends->came));
    for (size_t i = 0; i < ends->data; i++) {
        size_t length = 4 + (size_t)weir_prng_below(prng, PACKET_MAX - 8 - 4 + 1);
        length = write_segments(ends->packets[i] + 8, ends->sent++, length) + 8;
        due = weir_kcp_fec_encode(
            ends->encoder, (struct weir_mut_span){.data = ends->packets[i], .length = length});
        assert_int_equal(due, i + 1 < ends->data ? 0 : ends->parity);
        ends->lengths[i] = length;
    }
    ends->count = (size_t)ends->data + due;
    for (size_t i = ends->data; i < ends->count; i++) {
        ends->lengths[i] = weir_kcp_fec_parity_bytes(ends->encoder);
        weir_kcp_fec_take_parity(ends->encoder, ends->packets[i]);
    }
}

static void on_segments(struct ends *ends, struct weir_span segments)
{
    uint32_t number;
    uint8_t expected[PACKET_MAX];
    assert_true(segments.length >= sizeof(number));
    memcpy(&number, segments.data, sizeof(number));
    if (number - ends->first < ends->data) {
        ends->came[number - ends->first]++;
        assert_int_equal(segments.length, ends->lengths[number - ends->first] - 8);
    }
    (void)write_segments(expected, number, segments.length);
    assert_memory_equal(segments.data, expected, segments.length);
}

static void receive(struct ends *ends, weir_nsec now, const uint8_t *packet, size_t length)
{
    struct weir_span segments;
    uint8_t *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, packet, length);
    assert_int_not_equal(weir_kcp_fec_type(weir_span_of(copy, length)), WEIR_KCP_FEC_PLAIN);
    weir_kcp_fec_decode(ends->decoder, now, weir_span_of(copy, length), &segments);
    if (segments.length > 0) {
        on_segments(ends, segments);
    }
    free(copy);
    while (weir_kcp_fec_recovered(ends->decoder, &segments)) {
        on_segments(ends, segments);
    }
}

/* Loses lost packets, delivers the others in an order of their own. Returns data packets missing.
 * What was recovered may still come: twice then, which is KCP's to notice. */
static size_t deliver_group(struct ends *ends, struct weir_prng *prng, size_t lost)
{
    size_t order[SHARDS];
    size_t missing = 0;
    for (size_t i = 0; i < ends->count; i++) {
        order[i] = i;
    }
    for (size_t i = ends->count; i > 1; i--) {
        size_t k = (size_t)weir_prng_below(prng, i);
        size_t other = order[k];
        order[k] = order[i - 1];
        order[i - 1] = other;
    }
    for (size_t i = lost; i < ends->count; i++) {
        receive(ends, start, ends->packets[order[i]], ends->lengths[order[i]]);
    }
    for (size_t i = 0; i < ends->data; i++) {
        missing += ends->came[i] == 0;
        assert_true(ends->came[i] <= 2);
    }
    return missing;
}

static void deliver_in_order(struct ends *ends)
{
    for (size_t i = 0; i < ends->count; i++) {
        receive(ends, start, ends->packets[i], ends->lengths[i]);
    }
}

/* --- the code --------------------------------------------------------------------------------- */

static void parity_is_that_of_kcp_go(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof(parity_vectors) / sizeof(parity_vectors[0]); v++) {
        struct ends *ends = make_ends(parity_vectors[v].data, parity_vectors[v].parity);
        uint32_t crc = 0;
        uint8_t packet[8 + 38];
        for (size_t i = 0; i < ends->data; i++) {
            for (size_t k = 2; k < 40; k++) {
                packet[6 + k] = (uint8_t)(i * 31 + k * 7);
            }
            (void)weir_kcp_fec_encode(
                ends->encoder, (struct weir_mut_span){.data = packet, .length = sizeof(packet)});
        }
        assert_int_equal(weir_kcp_fec_parity_bytes(ends->encoder), sizeof(packet));
        for (size_t i = 0; i < ends->parity; i++) {
            weir_kcp_fec_take_parity(ends->encoder, packet);
            crc = crc32_gzip_refl(crc, packet + 6, 40);
        }
        assert_int_equal(crc, parity_vectors[v].crc);
        unmake_ends(ends);
    }
}

static void headers_are_as_drawn(void **state)
{
    (void)state;
    struct ends *ends = make_ends(2, 1);
    struct weir_prng prng;
    weir_prng_init(&prng, 1);
    send_group(ends, &prng);
    send_group(ends, &prng);
    for (size_t i = 0; i < 3; i++) {
        const uint8_t *p = ends->packets[i];
        assert_memory_equal(p, ((const uint8_t[4]){(uint8_t)(3 + i), 0, 0, 0}), 4);
        assert_int_equal(p[4], i < 2 ? 0xf1 : 0xf2);
        assert_int_equal(p[5], 0);
    }
    assert_int_equal(ends->packets[0][6] | ends->packets[0][7] << 8, ends->lengths[0] - 6);
    assert_int_equal(weir_kcp_fec_type(weir_span_of(ends->packets[2], 6)), WEIR_KCP_FEC_PARITY);
    assert_int_equal(weir_kcp_fec_type(weir_span_of(ends->packets[2], 5)), WEIR_KCP_FEC_PLAIN);
    assert_int_equal(weir_kcp_fec_type(weir_span_of("conv\x51\0", 6)), WEIR_KCP_FEC_PLAIN);
    assert_int_equal(weir_kcp_fec_type(weir_span_of("\xff\xff\xff\xff\xf3\0", 6)),
                     WEIR_KCP_FEC_OUT_OF_BAND);
    unmake_ends(ends);
}

/* Up to parity losses cost nothing, more of them no more than what was lost. */
static void losses_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct weir_prng prng;
        struct ends *ends = make_ends((uint16_t)(1 + seed / 20), (uint16_t)(1 + seed % 20));
        weir_prng_init(&prng, seed);
        for (int round = 0; round < 6; round++) {
            send_group(ends, &prng);
            size_t lost = (size_t)weir_prng_below(&prng, (uint64_t)ends->parity + 3);
            lost = lost < ends->count ? lost : ends->count;
            size_t missing = deliver_group(ends, &prng, lost);
            CHECK(seed, lost <= ends->parity ? missing == 0 : missing <= lost);
        }
        CHECK(seed, weir_kcp_fec_stats(ends->fec_in)->dropped_malformed == 0);
        CHECK(seed, weir_kcp_fec_stats(ends->fec_in)->ignored_unknown == 0);
        unmake_ends(ends);
    }
}

static void largest_groups_come_back(void **state)
{
    (void)state;
    const uint16_t sizes[][2] = {{128, 128}, {200, 56}, {255, 1}, {1, 255}, {1, 1}};
    for (uint64_t seed = 0; seed < sizeof(sizes) / sizeof(sizes[0]); seed++) {
        struct weir_prng prng;
        struct ends *ends = make_ends(sizes[seed][0], sizes[seed][1]);
        weir_prng_init(&prng, seed);
        for (int round = 0; round < 4; round++) {
            send_group(ends, &prng);
            CHECK(seed, deliver_group(ends, &prng, ends->parity) == 0);
        }
        unmake_ends(ends);
    }
}

static void numbers_wrap_behind_a_group(void **state)
{
    (void)state;
    struct weir_prng prng;
    struct ends *ends = make_ends(10, 3);
    const uint32_t paws = UINT32_MAX / 13 * 13;
    weir_prng_init(&prng, 1);
    unmake_encoder(ends);
    make_encoder(ends, 10, 3, paws - 26);
    for (int round = 0; round < 6; round++) {
        send_group(ends, &prng);
        uint32_t seqid = __builtin_bswap32(weir_load32(ends->packets[12]));
        assert_int_equal(seqid, round < 2 ? paws - 14 + 13 * (uint32_t)round
                                          : 12 + 13 * (uint32_t)(round - 2));
        assert_int_equal(deliver_group(ends, &prng, 3), 0);
    }
    assert_int_equal(weir_kcp_fec_encoder_reset(ends->encoder), 52);
    unmake_ends(ends);
}

/* --- a group size that has to be found out ---------------------------------------------------- */

static void sizes_are_found_out(void **state)
{
    (void)state;
    const struct weir_kcp_fec_config none = {.packet_bytes_max = PACKET_MAX};
    const struct weir_kcp_fec_config other = {
        .packet_bytes_max = PACKET_MAX, .data = 4, .parity = 1};
    const uint16_t sizes[][2] = {{10, 3}, {1, 1}, {20, 10}, {3, 5}, {1, 4}, {7, 1}};
    for (uint64_t seed = 0; seed < 2 * sizeof(sizes) / sizeof(sizes[0]); seed++) {
        struct weir_prng prng;
        struct ends *ends = make_ends(sizes[seed / 2][0], sizes[seed / 2][1]);
        weir_prng_init(&prng, seed);
        weir_kcp_fec_decoder_reset(ends->decoder);
        free(ends->decoder);
        free(ends->fec_in);
        make_decoder(ends, seed % 2 == 0 ? &none : &other);
        for (int round = 0; round < 5; round++) {
            send_group(ends, &prng);
            deliver_in_order(ends);
        }
        CHECK(seed, weir_kcp_fec_stats(ends->fec_in)->tunings == 1);
        for (int round = 0; round < 20; round++) {
            send_group(ends, &prng);
            CHECK(seed, deliver_group(ends, &prng, ends->parity) == 0);
        }
        unmake_ends(ends);
    }
}

/* The peer begins anew with other groups; losses on the way do not keep it from being noticed. */
static void a_change_of_size_is_followed(void **state)
{
    (void)state;
    const uint64_t seed = 3;
    struct weir_prng prng;
    struct ends *ends = make_ends(10, 3);
    weir_prng_init(&prng, seed);
    for (int round = 0; round < 30; round++) {
        send_group(ends, &prng);
        CHECK(seed, deliver_group(ends, &prng, 3) == 0);
    }
    unmake_encoder(ends);
    make_encoder(ends, 5, 2, 0);
    for (int round = 0; round < 200; round++) {
        send_group(ends, &prng);
        for (size_t i = 0; i < ends->count; i++) {
            if (weir_prng_below(&prng, 10) > 0) {
                receive(ends, start, ends->packets[i], ends->lengths[i]);
            }
        }
    }
    CHECK(seed, weir_kcp_fec_stats(ends->fec_in)->tunings == 1);
    send_group(ends, &prng);
    CHECK(seed, deliver_group(ends, &prng, 2) == 0);
    unmake_ends(ends);
}

static void larger_groups_than_allowed_pass_unprotected(void **state)
{
    (void)state;
    const struct weir_kcp_fec_config small = {.packet_bytes_max = PACKET_MAX, .shards_max = 12};
    struct weir_prng prng;
    struct ends *ends = make_ends(10, 3);
    weir_prng_init(&prng, 1);
    free(ends->decoder);
    free(ends->fec_in);
    make_decoder(ends, &small);
    for (int round = 0; round < 10; round++) {
        send_group(ends, &prng);
        assert_int_equal(deliver_group(ends, &prng, 0), 0);
    }
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->tunings, 0);
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->ignored_unknown, 130);
    unmake_ends(ends);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void duplicates_and_late_ones_are_known(void **state)
{
    (void)state;
    struct weir_prng prng;
    struct ends *ends = make_ends(3, 2);
    weir_prng_init(&prng, 1);
    send_group(ends, &prng);
    receive(ends, start, ends->packets[4], ends->lengths[4]);
    receive(ends, start, ends->packets[4], ends->lengths[4]);
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->ignored_duplicate, 1);
    uint8_t late[PACKET_MAX];
    size_t late_length = ends->lengths[3];
    memcpy(late, ends->packets[3], late_length);
    for (int round = 0; round < 16; round++) {
        send_group(ends, &prng);
        deliver_in_order(ends);
    }
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->groups_lost, 1);
    receive(ends, start, late, late_length);
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->ignored_late, 1);
    unmake_ends(ends);
}

static void old_groups_expire(void **state)
{
    (void)state;
    struct weir_prng prng;
    struct ends *ends = make_ends(3, 2);
    weir_prng_init(&prng, 1);
    send_group(ends, &prng);
    receive(ends, start, ends->packets[0], ends->lengths[0]);
    assert_int_equal(ends->fec_in->buffers.used, 1);
    weir_kcp_fec_decoder_expire(ends->decoder, start + 60 * WEIR_SEC - 1);
    assert_int_equal(ends->fec_in->buffers.used, 1);
    weir_kcp_fec_decoder_expire(ends->decoder, start + 60 * WEIR_SEC);
    assert_int_equal(ends->fec_in->buffers.used, 0);
    assert_int_equal(weir_kcp_fec_stats(ends->fec_in)->groups_lost, 1);
    unmake_ends(ends);
}

/* A forger's group numbers from anywhere do not keep later groups of the peer from recovering. */
static void forged_numbers_do_no_lasting_harm(void **state)
{
    (void)state;
    const uint64_t seed = 7;
    struct weir_prng prng;
    struct ends *ends = make_ends(10, 3);
    struct weir_span segments;
    weir_prng_init(&prng, seed);
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 40; i++) {
            uint8_t forged[60] = {0};
            uint32_t seqid = (uint32_t)weir_prng_next(&prng);
            weir_store32(forged, seqid);
            forged[4] = __builtin_bswap32(seqid) % 13 < 10 ? 0xf1 : 0xf2;
            forged[6] = 54;
            weir_kcp_fec_decode(ends->decoder, start, weir_span_of(forged, 60), &segments);
            while (weir_kcp_fec_recovered(ends->decoder, &segments)) {
            }
        }
        CHECK(seed, ends->fec_in->buffers.used <= 39);
        send_group(ends, &prng);
        CHECK(seed, deliver_group(ends, &prng, 3) == 0);
    }
    unmake_ends(ends);
}

static void hostile_headers_are_counted(void **state)
{
    (void)state;
    struct weir_prng prng;
    struct ends *ends = make_ends(1, 1);
    struct weir_span segments;
    const struct weir_kcp_fec_stats *stats = weir_kcp_fec_stats(ends->fec_in);
    weir_prng_init(&prng, 1);

    const uint8_t sizes[][10] = {{0, 0, 0, 0, 0xf1, 0, 1, 0, 9, 9},  /* below its own 2 bytes */
                                 {0, 0, 0, 0, 0xf1, 0, 5, 0, 9, 9}}; /* past the end */
    for (size_t i = 0; i < 2; i++) {
        weir_kcp_fec_decode(ends->decoder, start, weir_span_of(sizes[i], 10), &segments);
        assert_int_equal(segments.length, 0);
    }
    for (size_t length = 0; length < 8; length++) {
        const uint8_t parity[8] = {0, 0, 0, 0, 0xf2, 0, 2, 0};
        weir_kcp_fec_decode(ends->decoder, start, weir_span_of(parity, length), &segments);
    }
    assert_int_equal(stats->dropped_malformed, 10);

    /* Parity that claims a longer packet than there is: of a group of 1 the parity is the data. */
    const uint8_t forged[10] = {1, 0, 0, 0, 0xf2, 0, 5, 0, 9, 9};
    weir_kcp_fec_decode(ends->decoder, start, weir_span_of(forged, 10), &segments);
    assert_false(weir_kcp_fec_recovered(ends->decoder, &segments));
    assert_int_equal(stats->dropped_malformed, 11);

    uint8_t large[PACKET_MAX + 1] = {3, 0, 0, 0, 0xf2};
    weir_kcp_fec_decode(ends->decoder, start, weir_span_of(large, sizeof(large)), &segments);
    assert_int_equal(stats->ignored_no_room, 1);
    const uint8_t last[8] = {0xff, 0xff, 0xff, 0xff, 0xf2, 0, 2, 0}; /* never used by a peer */
    weir_kcp_fec_decode(ends->decoder, start, weir_span_of(last, 8), &segments);
    assert_int_equal(stats->ignored_unknown, 1);
    unmake_ends(ends);
}

static void too_few_buffers_only_cost_protection(void **state)
{
    (void)state;
    const uint64_t seed = 9;
    struct weir_prng prng;
    struct ends *ends = make_ends(4, 3);
    weir_prng_init(&prng, seed);
    free(ends->decoder);
    free(ends->fec_in);
    for (uint32_t buffers = 1; buffers < 8; buffers++) {
        const struct weir_kcp_fec_config few = {
            .data = 4, .parity = 3, .packet_bytes_max = PACKET_MAX, .buffers_max = buffers};
        size_t brought = 0;
        make_decoder(ends, &few);
        for (int round = 0; round < 40; round++) {
            send_group(ends, &prng);
            size_t missing = deliver_group(ends, &prng, 3);
            CHECK(seed, missing <= 3);
            brought += missing == 0;
        }
        CHECK(seed, buffers < 7 || brought == 40);
        weir_kcp_fec_decoder_reset(ends->decoder);
        assert_int_equal(ends->fec_in->buffers.used, 0);
        free(ends->decoder);
        free(ends->fec_in);
    }
    const struct weir_kcp_fec_config any = {.packet_bytes_max = PACKET_MAX};
    make_decoder(ends, &any);
    unmake_ends(ends);
}

static void parity_without_buffers_is_skipped(void **state)
{
    (void)state;
    const struct weir_kcp_fec_config few = {
        .data = 2, .parity = 3, .packet_bytes_max = PACKET_MAX, .buffers_max = 4};
    struct weir_kcp_fec *fec = make_fec(&few);
    struct weir_kcp_fec_encoder *a =
        weir_kcp_fec_encoder_init(malloc(weir_kcp_fec_encoder_size(&fec->config)), fec, 0);
    struct weir_kcp_fec_encoder *b =
        weir_kcp_fec_encoder_init(malloc(weir_kcp_fec_encoder_size(&fec->config)), fec, 0);
    uint8_t packet[30] = {0};
    const struct weir_mut_span span = {.data = packet, .length = sizeof(packet)};
    assert_int_equal(weir_kcp_fec_encode(a, span), 0);
    assert_int_equal(weir_kcp_fec_encode(b, span), 0);
    assert_int_equal(weir_kcp_fec_encode(b, span), 0);
    assert_int_equal(weir_kcp_fec_stats(fec)->parity_skipped, 3);
    assert_int_equal(weir_kcp_fec_encode(a, span), 3);
    weir_kcp_fec_take_parity(a, packet);
    assert_int_equal(fec->buffers.used, 2);
    /* Two are not taken: the next group begins where it would have begun. */
    assert_int_equal(weir_kcp_fec_encode(a, span), 0);
    assert_int_equal(packet[0], 5);
    assert_int_equal(weir_kcp_fec_stats(fec)->parity_skipped, 5);
    assert_int_equal(weir_kcp_fec_encoder_reset(a), 10);
    assert_int_equal(weir_kcp_fec_encode(b, span), 0);
    assert_int_equal(packet[0], 5);
    assert_int_equal(weir_kcp_fec_encoder_reset(b), 10);
    assert_int_equal(fec->buffers.used, 0);
    free(a);
    free(b);
    free(fec);
}

static void configs_are_checked(void **state)
{
    (void)state;
    const struct weir_kcp_fec_config bad[] = {
        {.data = 1},
        {.parity = 1},
        {.data = 200, .parity = 57},
        {.data = 65535, .parity = 65535},
        {.data = 10, .parity = 3, .shards_max = 12},
        {.shards_max = 257},
        {.shards_max = 1},
        {.packet_bytes_max = 31},
        {.packet_bytes_max = 65508},
        {.buffers_max = UINT32_MAX},
    };
    struct weir_kcp_fec_config filled;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(weir_kcp_fec_check(&bad[i], &filled), WEIR_ERR_INVALID);
    }
    const struct weir_kcp_fec_config good = {.data = 200, .parity = 56};
    assert_int_equal(weir_kcp_fec_check(&good, &filled), WEIR_OK);
    assert_int_equal(filled.shards_max, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parity_is_that_of_kcp_go),
        cmocka_unit_test(headers_are_as_drawn),
        cmocka_unit_test(losses_come_back),
        cmocka_unit_test(largest_groups_come_back),
        cmocka_unit_test(numbers_wrap_behind_a_group),
        cmocka_unit_test(sizes_are_found_out),
        cmocka_unit_test(a_change_of_size_is_followed),
        cmocka_unit_test(larger_groups_than_allowed_pass_unprotected),
        cmocka_unit_test(duplicates_and_late_ones_are_known),
        cmocka_unit_test(old_groups_expire),
        cmocka_unit_test(forged_numbers_do_no_lasting_harm),
        cmocka_unit_test(hostile_headers_are_counted),
        cmocka_unit_test(too_few_buffers_only_cost_protection),
        cmocka_unit_test(parity_without_buffers_is_skipped),
        cmocka_unit_test(configs_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
