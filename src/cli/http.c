/* SPDX-License-Identifier: MIT */
/*
 * http.c - requests: heads and paths.
 */
#include "cli/http.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t length;
} fields[CLI_HTTP_FIELDS] = {
    [CLI_HTTP_HOST] = {"host", 4},
    [CLI_HTTP_EXPECT] = {"expect", 6},
    [CLI_HTTP_IF_MATCH] = {"if-match", 8},
    [CLI_HTTP_IF_NONE_MATCH] = {"if-none-match", 13},
    [CLI_HTTP_IF_MODIFIED_SINCE] = {"if-modified-since", 17},
    [CLI_HTTP_IF_UNMODIFIED_SINCE] = {"if-unmodified-since", 19},
    [CLI_HTTP_IF_RANGE] = {"if-range", 8},
    [CLI_HTTP_RANGE] = {"range", 5},
    [CLI_HTTP_CONTENT_RANGE] = {"content-range", 13},
    [CLI_HTTP_CONTENT_ENCODING] = {"content-encoding", 16},
    [CLI_HTTP_TRANSFER_ENCODING] = {"transfer-encoding", 17},
};

/* --- the end of a head ------------------------------------------------------------------------ */

/* RFC 9112 2.2: a lone LF ends a line too; empty lines before the request line are ignored. */
size_t cli_http_head_length(const uint8_t *data, size_t length, size_t known)
{
    size_t start = 0;
    while (start < length && (data[start] == '\r' || data[start] == '\n')) {
        start++;
    }
    size_t at = known > start + 3 ? known - 3 : start; /* the end may lie across */
    while (at < length) {
        const uint8_t *end = memchr(data + at, '\n', length - at);
        if (end == NULL) {
            return 0;
        }
        at = (size_t)(end - data) + 1;
        if (at < length && data[at] == '\n') {
            return at + 1;
        }
        if (at + 1 < length && data[at] == '\r' && data[at + 1] == '\n') {
            return at + 2;
        }
    }
    return 0;
}

/* --- heads ------------------------------------------------------------------------------------ */

/* What the callbacks of http_parser know. */
struct reading {
    struct cli_http_request *request;
    struct weir_span *field; /* that the next value belongs to; NULL: nobody looks at it */
    bool is_complete;        /* the message has no body */
    bool is_repeated;        /* a field that may come once */
};

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    reading->request->target = weir_span_of(at, length);
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    /* RFC 9112 5.1: whitespace before the colon MUST be answered with 400. */
    if (memchr(at, ' ', length) != NULL) {
        return 1;
    }
    reading->field = NULL;
    for (int i = 0; i < CLI_HTTP_FIELDS; i++) {
        if (fields[i].length == length && strncasecmp(fields[i].name, at, length) == 0) {
            reading->field = &reading->request->fields[i];
        }
    }
    return 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct weir_span trim(struct weir_span text)
{
    while (text.length > 0 && is_blank(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length > 0 && is_blank(text.data[text.length - 1])) {
        text.length--;
    }
    return text;
}

static int on_value(http_parser *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    if (reading->field == NULL) {
        return 0;
    }
    reading->is_repeated |= reading->field->data != NULL;
    *reading->field = trim(weir_span_of(at, length));
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct reading *reading = parser->data;
    reading->is_complete = true;
    return 0;
}

/* RFC 9112 5.2: a line folded into the one before it is answered with 400. RFC 9112 2.2: so is
 * whitespace between the request line and the first field. */
static bool has_fold(struct weir_span head)
{
    const uint8_t *end = head.data + head.length;
    for (const uint8_t *at = head.data; at < end;) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (at == NULL) {
            return false;
        }
        at++;
        if (at < end && is_blank(*at)) {
            return true;
        }
    }
    return false;
}

/* RFC 9112 2.2: a CR without its LF MUST be taken for invalid. http_parser takes one at the start
 * of a line for the head's end, and whatever follows for a body or another request. */
static bool has_bare_cr(struct weir_span head)
{
    const uint8_t *end = head.data + head.length;
    const uint8_t *at = memchr(head.data, '\r', head.length);
    while (at != NULL && at + 1 < end && at[1] == '\n') {
        at = memchr(at + 1, '\r', (size_t)(end - at) - 1);
    }
    return at != NULL;
}

static bool is_equal(struct weir_span text, const char *word)
{
    return text.length == strlen(word) &&
           strncasecmp((const char *)text.data, word, text.length) == 0;
}

/* RFC 9112 3.2: a request of HTTP/1.1 without Host, with two, or with something that is none, MUST
 * be answered with 400. */
static bool has_good_host(const struct cli_http_request *request)
{
    const struct weir_span host = request->fields[CLI_HTTP_HOST];
    if (host.data == NULL) {
        return request->minor == 0;
    }
    for (size_t i = 0; i < host.length; i++) {
        if (host.data[i] <= ' ' || host.data[i] >= 127 || strchr("/?#@\\", host.data[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static struct weir_span first_line(struct weir_span head)
{
    while (head.length > 0 && (head.data[0] == '\r' || head.data[0] == '\n')) {
        head.data++;
        head.length--;
    }
    const uint8_t *end = memchr(head.data, '\n', head.length);
    if (end != NULL) {
        head.length = (size_t)(end - head.data);
    }
    if (head.length > 0 && head.data[head.length - 1] == '\r') {
        head.length--;
    }
    return head;
}

/* RFC 9110 9.1: a method that is not known SHOULD be answered with 501. */
static int status_of(enum http_errno error, struct weir_span line)
{
    size_t letters = 0;
    switch ((unsigned)error) {
    case HPE_INVALID_METHOD:
        while (letters < line.length && line.data[letters] > ' ' && line.data[letters] < 127) {
            letters++;
        }
        return letters > 0 && letters < line.length && line.data[letters] == ' ' ? 501 : 400;
    case HPE_HEADER_OVERFLOW:
        return 431;
    default:
        return 400;
    }
}

static enum cli_http_method method_of(const http_parser *parser)
{
    switch (parser->method) {
    case HTTP_GET:
        return CLI_HTTP_GET;
    case HTTP_HEAD:
        return CLI_HTTP_HEAD;
    case HTTP_PUT:
        return CLI_HTTP_PUT;
    case HTTP_OPTIONS:
        return CLI_HTTP_OPTIONS;
    default:
        return CLI_HTTP_OTHER;
    }
}

/* What http_parser takes for good and is not. */
static int check(const http_parser *parser, struct cli_http_request *request)
{
    const struct weir_span expect = request->fields[CLI_HTTP_EXPECT];
    const struct weir_span coding = request->fields[CLI_HTTP_TRANSFER_ENCODING];
    if (parser->http_major != 1) {
        return parser->http_major == 0 ? 400 : 505;
    }
    if (!has_good_host(request)) {
        return 400;
    }
    /* RFC 9112 6.1: a coding that is not known SHOULD be answered with 501; of HTTP/1.0 it makes
     * the framing doubtful. */
    if (coding.data != NULL && request->minor == 0) {
        return 400;
    }
    if (coding.data != NULL && !is_equal(coding, "chunked")) {
        return 501;
    }
    /* RFC 9110 10.1.1: other expectations may be answered with 417; HTTP/1.0 has none. */
    if (expect.data != NULL && request->minor > 0) {
        if (!is_equal(expect, "100-continue")) {
            return 417;
        }
        request->is_continue_expected = request->has_body;
    }
    return 0;
}

int cli_http_read_head(struct weir_span head, struct cli_http_request *request)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_message_complete = on_complete};
    struct reading reading = {.request = request};
    http_parser parser;
    *request = (struct cli_http_request){.line = first_line(head), .minor = 1};
    if (has_bare_cr(head)) {
        return 400;
    }
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &reading;
    (void)http_parser_execute(&parser, &settings, (const char *)head.data, head.length);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK) {
        return status_of(HTTP_PARSER_ERRNO(&parser), request->line);
    }
    request->method = method_of(&parser);
    request->minor = parser.http_minor == 0 ? 0 : 1;
    /* RFC 9110 9.3.6: what follows a CONNECT is no request, whatever its fields say of a body. */
    request->is_kept = http_should_keep_alive(&parser) != 0 && parser.method != HTTP_CONNECT;
    request->has_body = !reading.is_complete;
    request->is_chunked = request->fields[CLI_HTTP_TRANSFER_ENCODING].data != NULL;
    request->body_bytes = request->has_body && !request->is_chunked ? parser.content_length : 0;
    if (reading.is_repeated || has_fold(head)) {
        return 400;
    }
    return check(&parser, request);
}

/* --- paths ------------------------------------------------------------------------------------ */

/* RFC 9112 3.2.2: a server MUST accept the absolute form; its host makes no difference here. */
static struct weir_span without_authority(struct weir_span target)
{
    if (target.length > 0 && target.data[0] != '/') {
        const uint8_t *at = memmem(target.data, target.length, "://", 3);
        if (at != NULL) {
            size_t skipped = (size_t)(at - target.data) + 3;
            target = weir_span_of(target.data + skipped, target.length - skipped);
            while (target.length > 0 && target.data[0] != '/' && target.data[0] != '?') {
                target.data++;
                target.length--;
            }
        }
    }
    return target;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *at of text, decoded; *at moves behind it. -1: none. */
static int next_byte(struct weir_span text, size_t *at)
{
    uint8_t c = text.data[(*at)++];
    if (c != '%') {
        return c;
    }
    if (text.length - *at < 2) {
        return -1;
    }
    int high = digit_of(text.data[*at]);
    int low = digit_of(text.data[*at + 1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

int cli_http_read_path(struct weir_span target, char path[CLI_HTTP_PATH_BYTES],
                       struct weir_span *query)
{
    target = without_authority(target);
    const uint8_t *mark = memchr(target.data, '?', target.length);
    size_t length = mark != NULL ? (size_t)(mark - target.data) : target.length;
    size_t used = 0;
    size_t at = 0;
    *query = weir_span_of(target.data + length, target.length - length);
    target.length = length;
    path[used++] = '/';
    if (target.length > 0 && target.data[0] != '/') {
        return 400;
    }
    while (at < target.length) {
        bool is_plain = target.data[at] != '%';
        int c = next_byte(target, &at);
        if (c <= 0) {
            return 400;
        }
        if (c == '/' && is_plain && path[used - 1] == '/') {
            continue;
        }
        if ((c == '/' && !is_plain) || (c == '.' && path[used - 1] == '/')) {
            return 404;
        }
        if (used + 1 == CLI_HTTP_PATH_BYTES) {
            return 414;
        }
        path[used++] = (char)c;
    }
    path[used] = '\0';
    return 0;
}
