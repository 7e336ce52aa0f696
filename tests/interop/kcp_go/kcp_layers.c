/* SPDX-License-Identifier: MIT */
/*
 * kcp_layers.c - the crypto header and forward error correction against files of kcppeer.
 *
 *     kcp_layers write FILE CIPHER DATA PARITY MESSAGES            datagrams for "kcppeer read"
 *     kcp_layers read FILE CIPHER DATA PARITY MESSAGES [tune]      checks those of "kcppeer write"
 *
 * DATA 0: no FEC. Of every group but the first few and the last as many packets are left out as
 * there are parity packets: all messages have to be there nevertheless. "tune": the reader is not
 * told the group's size. What files and messages look like: kcppeer.go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kcp/crypt.h"
#include "kcp/fec_internal.h"

enum {
    SEGMENT_BYTES = 24,
    CONV = 0x11223344,
    CMD_PUSH = 81,
    WINDOW = 1024,
    DATAGRAM_MAX = 1500,
    DATAGRAMS_MAX = 4096,
    MESSAGE_MAX = 1301,
    SAFE_GROUPS = 6 /* at the start: so that the reader can find out the group's size */
};

static const char phrase[] = "it's a secrect";

struct tool {
    FILE *file;
    struct weir_kcp_crypt *crypt;
    struct weir_prng_secret random;
    struct weir_kcp_fec *fec;
    struct weir_kcp_fec_stats stats;
    struct weir_kcp_fec_encoder *encoder;
    struct weir_kcp_fec_decoder *decoder;
    unsigned data, parity, messages;
    bool is_tuned;
    bool is_spoilt; /* kcp-go seals some datagrams wrongly, and sends what is in them again */
    uint8_t datagrams[DATAGRAMS_MAX][DATAGRAM_MAX];
    struct weir_mut_span packets[DATAGRAMS_MAX]; /* inside datagrams, without crypto header */
    unsigned count;
    bool has_message[DATAGRAMS_MAX];
};

static _Noreturn void die(const char *what, unsigned number)
{
    (void)fprintf(stderr, "kcp_layers: %s (%u)\n", what, number);
    _Exit(1);
}

static size_t message_bytes(unsigned i)
{
    return 1 + (size_t)i * 379 % MESSAGE_MAX;
}

static void put32(uint8_t *p, uint32_t v)
{
    weir_store32(p, __builtin_bswap32(v));
}

static uint32_t get32(const uint8_t *p)
{
    return __builtin_bswap32(weir_load32(p));
}

static size_t put_segment(uint8_t *p, unsigned i)
{
    size_t length = message_bytes(i);
    memset(p, 0, SEGMENT_BYTES);
    put32(p, CONV);
    p[4] = CMD_PUSH;
    weir_store16(p + 6, __builtin_bswap16(WINDOW));
    put32(p + 12, i);
    put32(p + 20, (uint32_t)length);
    for (size_t k = 0; k < length; k++) {
        p[SEGMENT_BYTES + k] = (uint8_t)((size_t)i * 31 + k * 7);
    }
    return SEGMENT_BYTES + length;
}

/* Which packets of a group are lost follows from its number. */
static bool is_lost(const struct tool *tool, uint32_t seqid, uint32_t groups)
{
    uint32_t shards = tool->data + tool->parity;
    uint32_t group = seqid / shards;
    uint32_t place = seqid % shards;
    if (group < SAFE_GROUPS || group + 1 >= groups) {
        return false;
    }
    return (place + shards - group * 5 % shards) % shards < tool->parity;
}

static void prepare(struct tool *tool, const char *cipher_name)
{
    enum weir_kcp_cipher cipher;
    uint8_t key[WEIR_KCP_KEY_BYTES];
    weir_kcp_key(weir_span_of(phrase, sizeof(phrase) - 1), key);
    weir_prng_secret_init(&tool->random, key);
    if (weir_kcp_cipher_by_name(cipher_name, &cipher) != WEIR_OK ||
        weir_kcp_crypt_init(aligned_alloc(64, weir_kcp_crypt_size()), cipher, key, &tool->crypt) !=
            WEIR_OK) {
        die("no such cipher", 0);
    }
    struct weir_kcp_fec_config config = {.data = (uint16_t)(tool->is_tuned ? 0 : tool->data),
                                         .parity = (uint16_t)(tool->is_tuned ? 0 : tool->parity)};
    if (weir_kcp_fec_check(&config, &config) != WEIR_OK) {
        die("no such groups", tool->data);
    }
    size_t bytes = weir_size_align(weir_kcp_fec_mem_size(&config), 64);
    tool->fec = weir_kcp_fec_init(aligned_alloc(64, bytes), &config, &tool->stats);
    tool->decoder = weir_kcp_fec_decoder_init(malloc(weir_kcp_fec_decoder_size()), tool->fec);
    if (config.data > 0) {
        tool->encoder =
            weir_kcp_fec_encoder_init(malloc(weir_kcp_fec_encoder_size(&config)), tool->fec, 0);
    }
}

/* --- write ------------------------------------------------------------------------------------ */

static struct weir_mut_span *add_datagram(struct tool *tool)
{
    if (tool->count == DATAGRAMS_MAX) {
        die("too many datagrams", tool->count);
    }
    struct weir_mut_span *datagram = &tool->packets[tool->count];
    datagram->data = tool->datagrams[tool->count++];
    return datagram;
}

static void make_datagrams(struct tool *tool)
{
    size_t front = weir_kcp_crypt_front(tool->crypt);
    size_t overhead = front + weir_kcp_crypt_tail(tool->crypt);
    size_t header = tool->data > 0 ? WEIR_KCP_FEC_HEADER_BYTES : 0;
    for (unsigned i = 0; i < tool->messages; i++) {
        struct weir_mut_span *datagram = add_datagram(tool);
        uint8_t *packet = datagram->data + front;
        size_t length = header + put_segment(packet + header, i);
        unsigned due = 0;
        if (header > 0) {
            due = weir_kcp_fec_encode(tool->encoder,
                                      (struct weir_mut_span){.data = packet, .length = length});
        }
        datagram->length = overhead + length;
        for (; due > 0; due--) {
            datagram = add_datagram(tool);
            datagram->length = overhead + weir_kcp_fec_parity_bytes(tool->encoder);
            weir_kcp_fec_take_parity(tool->encoder, datagram->data + front);
        }
    }
}

static void write_file(struct tool *tool)
{
    make_datagrams(tool);
    weir_kcp_crypt_seal(tool->crypt, &tool->random, tool->packets, tool->count);
    for (unsigned i = 0; i < tool->count; i++) {
        uint8_t length[2];
        if (tool->data > 0 && is_lost(tool, i, tool->count / (tool->data + tool->parity))) {
            continue;
        }
        weir_store16(length, (uint16_t)tool->packets[i].length);
        if (fwrite(length, 2, 1, tool->file) != 1 ||
            fwrite(tool->packets[i].data, tool->packets[i].length, 1, tool->file) != 1) {
            die("cannot write", i);
        }
    }
}

/* --- read ------------------------------------------------------------------------------------- */

static void read_datagrams(struct tool *tool)
{
    uint8_t length[2];
    while (fread(length, 2, 1, tool->file) == 1) {
        struct weir_mut_span *datagram = add_datagram(tool);
        datagram->length = weir_load16(length);
        if (datagram->length > DATAGRAM_MAX ||
            fread(datagram->data, datagram->length, 1, tool->file) != 1) {
            die("the file is cut off", tool->count);
        }
        if (weir_kcp_crypt_open(tool->crypt, *datagram, datagram) == WEIR_OK) {
            continue;
        }
        if (!tool->is_spoilt) {
            die("a datagram does not open", tool->count);
        }
        tool->count--;
    }
}

static void on_segments(struct tool *tool, struct weir_span segments)
{
    uint8_t expected[SEGMENT_BYTES + MESSAGE_MAX];
    while (segments.length >= SEGMENT_BYTES) {
        uint32_t sn = get32(segments.data + 12);
        size_t length = SEGMENT_BYTES + (size_t)get32(segments.data + 20);
        if (get32(segments.data) != CONV || length > segments.length) {
            die("a segment is not as it should be", sn);
        }
        if (segments.data[4] == CMD_PUSH) {
            if (sn >= tool->messages || put_segment(expected, sn) != length ||
                memcmp(expected + SEGMENT_BYTES, segments.data + SEGMENT_BYTES,
                       length - SEGMENT_BYTES) != 0) {
                die("a message is not as it should be", sn);
            }
            tool->has_message[sn] = true;
        }
        segments = weir_span_of(segments.data + length, segments.length - length);
    }
}

static void read_file(struct tool *tool)
{
    unsigned lost = 0;
    uint32_t groups = 0;
    read_datagrams(tool);
    for (unsigned i = 0; i < tool->count && tool->data > 0; i++) {
        groups = get32(tool->packets[i].data) / (tool->data + tool->parity) + 1;
    }
    for (unsigned i = 0; i < tool->count; i++) {
        struct weir_span packet = weir_span_of(tool->packets[i].data, tool->packets[i].length);
        enum weir_kcp_fec_type type = weir_kcp_fec_type(packet);
        if ((type != WEIR_KCP_FEC_PLAIN) != (tool->data > 0)) {
            die("a packet is of the wrong type", (unsigned)type);
        }
        if (type == WEIR_KCP_FEC_PLAIN) {
            on_segments(tool, packet);
            continue;
        }
        if (is_lost(tool, get32(packet.data), groups)) {
            lost += type == WEIR_KCP_FEC_DATA;
            continue;
        }
        struct weir_span segments;
        weir_kcp_fec_decode(tool->decoder, i, packet, &segments);
        on_segments(tool, segments);
        while (weir_kcp_fec_recovered(tool->decoder, &segments)) {
            on_segments(tool, segments);
        }
    }
    for (unsigned i = 0; i < tool->messages; i++) {
        if (!tool->has_message[i]) {
            die("a message is missing", i);
        }
    }
    const struct weir_kcp_fec_stats *stats = weir_kcp_fec_stats(tool->fec);
    if (stats->recovered != lost || (tool->data > 0 && lost == 0)) {
        die("not as many recovered as lost", lost);
    }
    printf("ok messages=%u datagrams=%u fec_recovered=%u tunings=%u\n", tool->messages, tool->count,
           lost, (unsigned)stats->tunings);
}

int main(int argc, char **argv)
{
    static struct tool tool;
    if (argc < 7) {
        die("usage: kcp_layers write|read FILE CIPHER DATA PARITY MESSAGES [tune]", 0);
    }
    bool is_write = strcmp(argv[1], "write") == 0;
    tool.data = (unsigned)strtoul(argv[4], NULL, 10);
    tool.parity = (unsigned)strtoul(argv[5], NULL, 10);
    tool.messages = (unsigned)strtoul(argv[6], NULL, 10);
    tool.is_tuned = argc > 7;
    tool.file = fopen(argv[2], is_write ? "wb" : "rb");
    if (tool.file == NULL || tool.messages > DATAGRAMS_MAX) {
        die("cannot open the file", 0);
    }
    tool.is_spoilt = strcmp(argv[3], "sm4") == 0;
    prepare(&tool, argv[3]);
    if (is_write) {
        write_file(&tool);
    } else {
        read_file(&tool);
    }
    weir_kcp_crypt_fini(tool.crypt);
    free(tool.crypt);
    free(tool.fec);
    free(tool.encoder);
    free(tool.decoder);
    return fclose(tool.file) == 0 ? 0 : 1;
}
