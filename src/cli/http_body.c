/* SPDX-License-Identifier: MIT */
/*
 * http_body.c - bodies: so many bytes, or chunks.
 *
 * Chunks are read here, strictly: whoever takes a lone CR or LF, or no line's end at all, for the
 * end of a chunk sees the next request elsewhere than a proxy in front does.
 */
#include "cli/http.h"

enum {
    LINES_BYTES_MAX = 8192, /* of what surrounds two chunks' data: extensions, or trailers */
    DIGITS_MAX = 15         /* of a chunk's size: no sum of two overflows */
};

enum place {
    AT_SIZE = 0, /* a chunk's size */
    AT_EXTENSION,
    AT_SIZE_LF,
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER, /* a trailer field's first byte, or the last line */
    AT_TRAILER_REST,
    AT_TRAILER_LF,
    AT_LAST_LF,
    AT_END
};

void cli_http_start_body(struct cli_http_framing *framing, const struct cli_http_request *request)
{
    *framing = (struct cli_http_framing){.is_chunked = request->is_chunked,
                                         .place = request->is_chunked ? AT_SIZE : AT_DATA,
                                         .left = request->body_bytes};
}

static int value_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What a line may contain before its CR (RFC 9110 5.5: no other controls). */
static bool is_text(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 127);
}

static bool take_size(struct cli_http_framing *framing, uint8_t c)
{
    const int value = value_of(c);
    if (value >= 0) {
        framing->left = framing->left << 4 | (unsigned)value;
        return ++framing->digits <= DIGITS_MAX;
    }
    framing->place = c == '\r' ? AT_SIZE_LF : AT_EXTENSION;
    return framing->digits > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

static bool expect(struct cli_http_framing *framing, uint8_t c, uint8_t wanted, enum place next)
{
    framing->place = (uint8_t)next;
    return c == wanted;
}

/* RFC 9112 7.1: one byte of what is not data. false: it cannot stand there. */
static bool take_byte(struct cli_http_framing *framing, uint8_t c)
{
    switch ((enum place)framing->place) {
    case AT_SIZE:
        return take_size(framing, c);
    case AT_EXTENSION:
        framing->place = c == '\r' ? AT_SIZE_LF : AT_EXTENSION;
        return c == '\r' || is_text(c);
    case AT_SIZE_LF:
        return expect(framing, c, '\n', framing->left > 0 ? AT_DATA : AT_TRAILER);
    case AT_DATA_CR:
        return expect(framing, c, '\r', AT_DATA_LF);
    case AT_DATA_LF:
        framing->digits = 0;
        framing->line_bytes = 0;
        return expect(framing, c, '\n', AT_SIZE);
    case AT_TRAILER:
    case AT_TRAILER_REST:
        if (c == '\r') {
            framing->place = framing->place == AT_TRAILER ? AT_LAST_LF : AT_TRAILER_LF;
            return true;
        }
        framing->place = AT_TRAILER_REST;
        return is_text(c);
    case AT_TRAILER_LF:
        return expect(framing, c, '\n', AT_TRAILER);
    case AT_LAST_LF:
        return expect(framing, c, '\n', AT_END);
    case AT_DATA:
    case AT_END:
    default:
        return false;
    }
}

/* Returns how many bytes of data were a chunk's, or the whole body's. */
static size_t take_data(struct cli_http_framing *framing, struct cli_http_body *body,
                        struct weir_span data)
{
    size_t length = data.length < framing->left ? data.length : (size_t)framing->left;
    body->is_refused = length > 0 && !body->on_bytes(body->user, data.data, length);
    framing->left -= length;
    if (framing->left == 0) {
        framing->place = framing->is_chunked ? AT_DATA_CR : AT_END;
    }
    return length;
}

int cli_http_read_body(struct cli_http_framing *framing, struct cli_http_body *body,
                       struct weir_span data, size_t *used)
{
    body->is_refused = false;
    *used = 0;
    while (*used < data.length && framing->place != AT_END && !body->is_refused) {
        if (framing->place == AT_DATA) {
            *used += take_data(framing, body, weir_span_of(data.data + *used, data.length - *used));
            continue;
        }
        if (!take_byte(framing, data.data[*used]) || ++framing->line_bytes > LINES_BYTES_MAX) {
            return 400;
        }
        (*used)++;
    }
    body->is_done = framing->place == AT_END && !body->is_refused;
    return 0;
}
