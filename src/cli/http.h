/* SPDX-License-Identifier: MIT */
/*
 * http.h - HTTP/1.1 without a connection: a request head read, the answer for a file chosen, a
 * response head written, a body decoded.
 *
 * Role: bytes in, values and bytes out, for weir serve, its tests and its fuzz target. The syntax
 * of heads is http_parser's work; what it lets pass although it must not is refused here.
 * Memory: none of its own; spans of a request point into the head that was read.
 * Spec: RFC 9110 (semantics), RFC 9112 (messages).
 */
#ifndef WEIR_CLI_HTTP_H
#define WEIR_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/span.h"

enum {
    CLI_HTTP_PATH_BYTES = 4096, /* a decoded path with its final zero */
    CLI_HTTP_DATE_BYTES = 32,
    CLI_HTTP_ETAG_BYTES = 64
};

enum cli_http_method {
    CLI_HTTP_OTHER = 0, /* known, but none of these */
    CLI_HTTP_GET,
    CLI_HTTP_HEAD,
    CLI_HTTP_PUT,
    CLI_HTTP_OPTIONS
};

/* Fields that are looked at; no others are kept. */
enum cli_http_field {
    CLI_HTTP_HOST,
    CLI_HTTP_EXPECT,
    CLI_HTTP_IF_MATCH,
    CLI_HTTP_IF_NONE_MATCH,
    CLI_HTTP_IF_MODIFIED_SINCE,
    CLI_HTTP_IF_UNMODIFIED_SINCE,
    CLI_HTTP_IF_RANGE,
    CLI_HTTP_RANGE,
    CLI_HTTP_CONTENT_RANGE,
    CLI_HTTP_CONTENT_ENCODING,
    CLI_HTTP_TRANSFER_ENCODING,
    CLI_HTTP_FIELDS
};

struct cli_http_request {
    enum cli_http_method method;
    struct weir_span line;   /* the whole request line, for the log */
    struct weir_span target; /* as it came; empty when the line could not be read */
    struct weir_span fields[CLI_HTTP_FIELDS]; /* data NULL: not there */
    uint64_t body_bytes;                      /* of a body that is not chunked */
    uint8_t minor;                            /* HTTP/1.minor: 0, or 1 for all above */
    bool is_kept;                             /* the client wants to go on with the connection */
    bool has_body, is_chunked;
    bool is_continue_expected;
};

/* Bytes of the head at the start of data with its empty line; 0: its end is not there yet. The
 * first known bytes have been searched before. */
size_t cli_http_head_length(const uint8_t *data, size_t length, size_t known);
/* Reads exactly one head. 0, or the status of the answer:
 * 400, 417, 501, 505; the connection is to be closed after it then, and request has what was
 * found. */
int cli_http_read_head(struct weir_span head, struct cli_http_request *request);

/* How far a body has come. */
struct cli_http_framing {
    bool is_chunked;
    uint8_t place, digits;
    uint32_t line_bytes;
    uint64_t left; /* of the chunk, or of the body */
};

/* Of a request with a body. */
void cli_http_start_body(struct cli_http_framing *framing, const struct cli_http_request *request);

/* Takes the bytes of a body from what follows its head. */
struct cli_http_body {
    bool (*on_bytes)(void *user, const uint8_t *data, size_t length); /* false: stop */
    void *user;
    bool is_done;    /* the body's last byte was in it */
    bool is_refused; /* on_bytes returned false */
};

/* *used: how many of data were the body's. 0, or 400 for a broken one. */
int cli_http_read_body(struct cli_http_framing *framing, struct cli_http_body *body,
                       struct weir_span data, size_t *used);

/* The target's path decoded, "/" and names: "//" is one "/", a name never contains "/", never
 * begins with "." (hidden files, and what leads upwards). *query: from its "?" on, or empty. 0, or
 * 400, 404 or 414. */
int cli_http_read_path(struct weir_span target, char path[CLI_HTTP_PATH_BYTES],
                       struct weir_span *query);

/* What of a file makes its validators. */
struct cli_http_file {
    uint64_t bytes, inode;
    int64_t modified; /* seconds since 1970, and the rest */
    uint32_t modified_ns;
};

/* What is sent of the file for a GET or HEAD. */
struct cli_http_answer {
    int status; /* 200, 206, 304, 412, 416 */
    uint64_t first, bytes;
};

/* now: seconds since 1970. */
void cli_http_answer_file(const struct cli_http_request *request, const struct cli_http_file *file,
                          int64_t now, struct cli_http_answer *answer);
/* May a PUT replace file (NULL: there is none)? */
bool cli_http_may_put(const struct cli_http_request *request, const struct cli_http_file *file);

struct cli_http_response {
    int status;
    bool is_kept;    /* else "Connection: close" */
    bool is_old;     /* to HTTP/1.0: keeping is said */
    bool has_length; /* of the body that follows, or would follow a GET */
    uint64_t body_bytes;
    const char *type;                 /* Content-Type; NULL: none */
    const struct cli_http_file *file; /* validators of it; NULL: none */
    uint64_t range_first;             /* with 206 */
    const char *allow;                /* methods; NULL: none */
    const char *location;             /* a decoded path; NULL: none */
    struct weir_span query;           /* behind location */
};

/* Writes the head into room; 0 when it does not fit. */
size_t cli_http_write_head(const struct cli_http_response *response, int64_t now, char *out,
                           size_t room);
/* "Not Found", or "Unknown" */
const char *cli_http_status_text(int status);
/* Content type by the name's ending, static. */
const char *cli_http_type(const char *name);

/* "Sun, 06 Nov 1994 08:49:37 GMT". */
void cli_http_write_date(int64_t seconds, char text[CLI_HTTP_DATE_BYTES]);
/* All three forms that HTTP ever had. false: none of them. */
bool cli_http_read_date(struct weir_span text, int64_t *seconds);
/* A strong one, with its quotes. */
void cli_http_write_etag(const struct cli_http_file *file, char text[CLI_HTTP_ETAG_BYTES]);

#endif
