/* SPDX-License-Identifier: MIT */
/*
 * snappy_frame.c - a byte stream as chunks of snappy's framing format, and back.
 */
#include "cli/snappy_frame.h"

#include <isa-l/crc.h>
#include <snappy-c.h>
#include <string.h>

#include "base/assert.h"

/* Framing format 4.1 to 4.6. */
enum chunk_type {
    CHUNK_COMPRESSED = 0x00,
    CHUNK_PLAIN = 0x01,
    CHUNK_SKIPPABLE_MIN = 0x80, /* up to 0xfe; below it unknown types end the stream */
    CHUNK_IDENTIFIER = 0xff
};

enum {
    HEADER_BYTES = 4,
    CRC_BYTES = 4,
    IDENTIFIER_BYTES = 6,
    /* snappy: a block of n bytes never takes more than 32 + n + n/6. */
    BODY_BYTES_MAX = CRC_BYTES + 32 + CLI_SNAPPY_DATA_BYTES_MAX + CLI_SNAPPY_DATA_BYTES_MAX / 6
};

static const uint8_t identifier[IDENTIFIER_BYTES] = {'s', 'N', 'a', 'P', 'p', 'Y'};

struct cli_snappy_decoder {
    uint8_t header[HEADER_BYTES];
    uint32_t header_used;
    uint32_t body_left; /* of the chunk that is being read */
    uint32_t body_used;
    bool is_identified, is_broken;
    uint8_t body[BODY_BYTES_MAX];
    uint8_t data[CLI_SNAPPY_DATA_BYTES_MAX];
};

/* Framing format 3: a checksum of data that itself has checksums in it is masked. */
static uint32_t masked_crc(const uint8_t *data, size_t length)
{
    /* The library takes a pointer to bytes it does not write. */
    union {
        const uint8_t *borrowed;
        uint8_t *library;
    } bytes = {.borrowed = data};

    uint32_t crc = ~crc32_iscsi(bytes.library, (int)length, UINT32_MAX);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

static void put_le(uint8_t *room, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        room[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint32_t get_le(const uint8_t *data, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value |= (uint32_t)data[i] << 8 * i;
    }
    return value;
}

size_t cli_snappy_encode(struct weir_span data, bool is_first, uint8_t *room)
{
    uint8_t *at = room;
    WEIR_ASSERT(data.length > 0 && data.length <= CLI_SNAPPY_DATA_BYTES_MAX);
    if (is_first) {
        *at = CHUNK_IDENTIFIER;
        put_le(at + 1, IDENTIFIER_BYTES, 3);
        memcpy(at + HEADER_BYTES, identifier, IDENTIFIER_BYTES);
        at += HEADER_BYTES + IDENTIFIER_BYTES;
    }
    uint8_t *block = at + HEADER_BYTES + CRC_BYTES;
    size_t length = snappy_max_compressed_length(data.length);
    WEIR_ASSERT(length <= 32 + data.length + data.length / 6);
    snappy_status status =
        snappy_compress((const char *)data.data, data.length, (char *)block, &length);
    *at = CHUNK_COMPRESSED;
    /* An eighth saved is the least that makes unpacking worth it. */
    if (status != SNAPPY_OK || length >= data.length - data.length / 8) {
        *at = CHUNK_PLAIN;
        length = data.length;
        memcpy(block, data.data, length);
    }
    put_le(at + 1, (uint32_t)length + CRC_BYTES, 3);
    put_le(at + HEADER_BYTES, masked_crc(data.data, data.length), CRC_BYTES);
    return (size_t)(block + length - room);
}

struct cli_snappy_decoder *cli_snappy_open(struct cli_heap *heap)
{
    struct cli_snappy_decoder *decoder = cli_heap_take(heap, sizeof(*decoder));
    if (decoder != NULL) {
        memset(decoder, 0,
               offsetof(struct cli_snappy_decoder, body)); /* the rest is written first */
    }
    return decoder;
}

void cli_snappy_close(struct cli_heap *heap, struct cli_snappy_decoder *decoder)
{
    cli_heap_give(heap, decoder, sizeof(*decoder));
}

static enum weir_status fail(struct cli_snappy_decoder *decoder)
{
    decoder->is_broken = true;
    return WEIR_ERR_MALFORMED;
}

static enum weir_status read_header(struct cli_snappy_decoder *decoder, struct weir_span *input)
{
    while (decoder->header_used < HEADER_BYTES && input->length > 0) {
        decoder->header[decoder->header_used++] = *input->data++;
        input->length--;
    }
    if (decoder->header_used < HEADER_BYTES) {
        return WEIR_AGAIN;
    }
    uint8_t type = decoder->header[0];
    decoder->body_left = get_le(decoder->header + 1, 3);
    decoder->body_used = 0;
    /* Framing format 4.1: the identifier comes first, and may come again. */
    if (type == CHUNK_IDENTIFIER) {
        return decoder->body_left == IDENTIFIER_BYTES ? WEIR_AGAIN : fail(decoder);
    }
    if (!decoder->is_identified) {
        return fail(decoder);
    }
    if (type >= CHUNK_SKIPPABLE_MIN) {
        if (decoder->body_left == 0) {
            decoder->header_used = 0;
        }
        return WEIR_AGAIN;
    }
    bool is_fit = decoder->body_left >= CRC_BYTES && decoder->body_left <= BODY_BYTES_MAX;
    return type <= CHUNK_PLAIN && is_fit ? WEIR_AGAIN : fail(decoder);
}

/* A whole body of a chunk with data. */
static enum weir_status decode_body(struct cli_snappy_decoder *decoder, const uint8_t *body,
                                    struct weir_span *data)
{
    size_t length = decoder->body_used - CRC_BYTES;
    const uint8_t *block = body + CRC_BYTES;
    if (decoder->header[0] == CHUNK_PLAIN) {
        if (length > CLI_SNAPPY_DATA_BYTES_MAX) {
            return fail(decoder);
        }
        *data = weir_span_of(block, length);
    } else {
        size_t plain = 0;
        if (snappy_uncompressed_length((const char *)block, length, &plain) != SNAPPY_OK ||
            plain > CLI_SNAPPY_DATA_BYTES_MAX ||
            snappy_uncompress((const char *)block, length, (char *)decoder->data, &plain) !=
                SNAPPY_OK) {
            return fail(decoder);
        }
        *data = weir_span_of(decoder->data, plain);
    }
    return masked_crc(data->data, data->length) == get_le(body, CRC_BYTES) ? WEIR_OK
                                                                           : fail(decoder);
}

static enum weir_status on_body(struct cli_snappy_decoder *decoder, const uint8_t *body,
                                struct weir_span *data)
{
    decoder->header_used = 0;
    if (decoder->header[0] != CHUNK_IDENTIFIER) {
        return decode_body(decoder, body, data);
    }
    if (memcmp(body, identifier, IDENTIFIER_BYTES) != 0) {
        return fail(decoder);
    }
    decoder->is_identified = true;
    return WEIR_AGAIN;
}

/* Bodies are gathered, unless one lies in input as a whole. */
static enum weir_status read_body(struct cli_snappy_decoder *decoder, struct weir_span *input,
                                  struct weir_span *data)
{
    size_t part = decoder->body_left < input->length ? decoder->body_left : input->length;
    const uint8_t *from = input->data;
    uint8_t type = decoder->header[0];
    bool is_skipped = type >= CHUNK_SKIPPABLE_MIN && type != CHUNK_IDENTIFIER;
    bool is_whole = decoder->body_used == 0 && part == decoder->body_left;
    if (!is_skipped && !is_whole) {
        memcpy(decoder->body + decoder->body_used, from, part);
    }
    input->data += part;
    input->length -= part;
    decoder->body_left -= (uint32_t)part;
    decoder->body_used += is_skipped ? 0 : (uint32_t)part;
    if (decoder->body_left > 0) {
        return WEIR_AGAIN;
    }
    if (is_skipped) {
        decoder->header_used = 0;
        return WEIR_AGAIN;
    }
    return on_body(decoder, is_whole ? from : decoder->body, data);
}

enum weir_status cli_snappy_next(struct cli_snappy_decoder *decoder, struct weir_span *input,
                                 struct weir_span *data)
{
    enum weir_status status = decoder->is_broken ? WEIR_ERR_MALFORMED : WEIR_AGAIN;
    while (input->length > 0 &&
           (status == WEIR_AGAIN || (status == WEIR_OK && data->length == 0))) {
        status = decoder->header_used < HEADER_BYTES ? read_header(decoder, input)
                                                     : read_body(decoder, input, data);
    }
    return status == WEIR_OK && data->length == 0 ? WEIR_AGAIN : status;
}
