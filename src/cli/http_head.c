/* SPDX-License-Identifier: MIT */
/*
 * http_head.c - response heads, and the content types of files.
 */
#include <http_parser.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/http.h"
#include "weir/version.h"

struct writer {
    char *out;
    size_t used, room;
    bool is_full;
};

static void put(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct writer *writer, const char *format, ...)
{
    va_list list;
    size_t left = writer->room - writer->used;
    va_start(list, format);
    int length = vsnprintf(writer->out + writer->used, left, format, list);
    va_end(list);
    if (length < 0 || (size_t)length >= left) {
        writer->is_full = true;
        return;
    }
    writer->used += (size_t)length;
}

const char *cli_http_status_text(int status)
{
    switch (status) {
#define TEXT(number, name, text) \
    case number:                 \
        return #text;
        HTTP_STATUS_MAP(TEXT)
#undef TEXT
    default:
        return "Unknown";
    }
}

/* RFC 3986 3.3: what a path may contain as it is; everything else is written as %XX. */
static void put_location(struct writer *writer, const struct cli_http_response *response)
{
    put(writer, "Location: ");
    for (const char *at = response->location; *at != '\0'; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || strchr("/-._~!$&'()*+,;=:@", *at) != NULL;
        put(writer, is_plain ? "%c" : "%%%02X", (unsigned char)*at);
    }
    put(writer, "%.*s\r\n", (int)response->query.length, (const char *)response->query.data);
}

/* RFC 9110 8.8.2.1: Last-Modified MUST NOT be later than Date. */
static void put_validators(struct writer *writer, const struct cli_http_file *file, int64_t now)
{
    char date[CLI_HTTP_DATE_BYTES];
    char etag[CLI_HTTP_ETAG_BYTES];
    cli_http_write_date(file->modified < now ? file->modified : now, date);
    cli_http_write_etag(file, etag);
    put(writer, "Last-Modified: %s\r\nETag: %s\r\n", date, etag);
}

static void put_body_fields(struct writer *writer, const struct cli_http_response *response)
{
    if (response->type != NULL) {
        put(writer, "Content-Type: %s\r\n", response->type);
    }
    if (response->has_length) {
        put(writer, "Content-Length: %llu\r\n", (unsigned long long)response->body_bytes);
    }
    if (response->status == 206) {
        put(writer, "Content-Range: bytes %llu-%llu/%llu\r\n",
            (unsigned long long)response->range_first,
            (unsigned long long)(response->range_first + response->body_bytes - 1),
            (unsigned long long)response->file->bytes);
    }
    if (response->status == 416) {
        put(writer, "Content-Range: bytes */%llu\r\n", (unsigned long long)response->file->bytes);
    }
}

size_t cli_http_write_head(const struct cli_http_response *response, int64_t now, char *out,
                           size_t room)
{
    struct writer writer = {.room = room};
    char date[CLI_HTTP_DATE_BYTES];
    writer.out = out;
    cli_http_write_date(now, date);
    put(&writer, "HTTP/1.1 %d %s\r\nServer: weir/" WEIR_VERSION "\r\nDate: %s\r\n",
        response->status, cli_http_status_text(response->status), date);
    put_body_fields(&writer, response);
    if (response->file != NULL && response->status != 416) {
        put_validators(&writer, response->file, now);
    }
    if (response->status == 200 && response->file != NULL) {
        put(&writer, "Accept-Ranges: bytes\r\n");
    }
    /* RFC 9110 15.5.6: 405 MUST say what is allowed. */
    if (response->allow != NULL) {
        put(&writer, "Allow: %s\r\n", response->allow);
    }
    if (response->location != NULL) {
        put_location(&writer, response);
    }
    if (response->status == 503) {
        put(&writer, "Retry-After: 1\r\n");
    }
    /* RFC 9112 9.3, 9.6: what is not said is that HTTP/1.1 goes on and HTTP/1.0 does not. */
    if (!response->is_kept) {
        put(&writer, "Connection: close\r\n");
    } else if (response->is_old) {
        put(&writer, "Connection: keep-alive\r\n");
    }
    put(&writer, "\r\n");
    return writer.is_full ? 0 : writer.used;
}

const char *cli_http_type(const char *name)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/markdown; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"xml", "application/xml"},
        {"xhtml", "application/xhtml+xml"},
        {"atom", "application/atom+xml"},
        {"rss", "application/rss+xml"},
        {"pdf", "application/pdf"},
        {"wasm", "application/wasm"},
        {"webmanifest", "application/manifest+json"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"avif", "image/avif"},
        {"svg", "image/svg+xml"},
        {"ico", "image/vnd.microsoft.icon"},
        {"bmp", "image/bmp"},
        {"tif", "image/tiff"},
        {"tiff", "image/tiff"},
        {"mp3", "audio/mpeg"},
        {"ogg", "audio/ogg"},
        {"opus", "audio/ogg"},
        {"flac", "audio/flac"},
        {"wav", "audio/wav"},
        {"m4a", "audio/mp4"},
        {"mp4", "video/mp4"},
        {"m4v", "video/mp4"},
        {"webm", "video/webm"},
        {"mkv", "video/matroska"},
        {"mov", "video/quicktime"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"ttf", "font/ttf"},
        {"otf", "font/otf"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
        {"zst", "application/zstd"},
        {"epub", "application/epub+zip"},
        {"rtf", "application/rtf"},
    };

    const char *slash = strrchr(name, '/');
    const char *dot = strrchr(slash != NULL ? slash : name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcasecmp(dot + 1, types[i].ending) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}
