/* SPDX-License-Identifier: MIT */
/*
 * test_http.c - HTTP/1.1 heads, paths, conditions, ranges, dates and bodies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/http.h"

static struct weir_span span_of(const char *text)
{
    return weir_span_of(text, strlen(text));
}

static struct cli_http_request request;

static int read_head(const char *text)
{
    assert_int_equal(cli_http_head_length((const uint8_t *)text, strlen(text), 0), strlen(text));
    return cli_http_read_head(span_of(text), &request);
}

/* Of one field of a GET. */
static void read_get(const char *field)
{
    static char text[512]; /* request points into it */
    (void)snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", field);
    assert_int_equal(read_head(text), 0);
}

static void assert_span(struct weir_span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.data, text, span.length);
}

static void test_head_ends(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    const size_t whole = strlen(text) - 4;
    (void)state;
    for (size_t length = 0; length < whole; length++) {
        assert_int_equal(cli_http_head_length((const uint8_t *)text, length, 0), 0);
    }
    for (size_t known = 0; known < whole; known++) {
        assert_int_equal(cli_http_head_length((const uint8_t *)text, strlen(text), known), whole);
    }
    /* RFC 9112 2.2 */
    assert_int_equal(cli_http_head_length((const uint8_t *)"GET / HTTP/1.0\n\nx", 17, 0), 16);
    assert_int_equal(cli_http_head_length((const uint8_t *)"\r\n\r\n", 4, 0), 0);
    assert_int_equal(cli_http_head_length((const uint8_t *)"\r\nG\r\n\r\n", 7, 0), 7);
}

static void test_request(void **state)
{
    (void)state;
    assert_int_equal(
        read_head("\r\nGET /a/b?c=d HTTP/1.1\r\nhOsT: example\r\nRange:  bytes=1-2 \t\r\n"
                  "X-Other: y\r\n\r\n"),
        0);
    assert_int_equal(request.method, CLI_HTTP_GET);
    assert_span(request.target, "/a/b?c=d");
    assert_span(request.line, "GET /a/b?c=d HTTP/1.1");
    assert_span(request.fields[CLI_HTTP_RANGE], "bytes=1-2");
    assert_null(request.fields[CLI_HTTP_IF_RANGE].data);
    assert_true(request.is_kept);
    assert_false(request.has_body);
    assert_int_equal(request.minor, 1);
    assert_int_equal(read_head("HEAD / HTTP/1.0\r\n\r\n"), 0);
    assert_int_equal(request.method, CLI_HTTP_HEAD);
    assert_false(request.is_kept);
    assert_int_equal(request.minor, 0);
    assert_int_equal(read_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
    assert_true(request.is_kept);
    assert_int_equal(read_head("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 0);
    assert_false(request.is_kept);
    assert_int_equal(read_head("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n"
                               "Expect: 100-Continue\r\n\r\n"),
                     0);
    assert_true(request.has_body && request.is_continue_expected && !request.is_chunked);
    assert_int_equal(request.body_bytes, 12);
    /* An upgrade is not taken, the request is. */
    assert_int_equal(
        read_head("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                  "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
        0);
    assert_false(request.has_body);
}

static void test_refused_requests(void **state)
{
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"},                                     /* RFC 9112 3.2 */
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},               /* RFC 9112 3.2 */
        {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},                        /* RFC 9112 3.2 */
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},                         /* RFC 9112 5.1 */
        {400, "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=\r\n 1-2\r\n\r\n"}, /* RFC 9112 5.2 */
        {400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},                         /* RFC 9112 2.2 */
        {400, "nonsense\r\n\r\n"},
        {400, "GET\r\n\r\n"},
        {400, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
              "Transfer-Encoding: chunked\r\n\r\n"},                   /* RFC 9112 6.1 */
        {400, "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"}, /* RFC 9112 6.1 */
        {501, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n\rXGET / HTTP/1.1\r\n\r\n"}, /* RFC 9112 2.2 */
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\rXhello\r\n\r\n"},
        {400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {501, "FROBNICATE / HTTP/1.1\r\nHost: a\r\n\r\n"}, /* RFC 9110 9.1 */
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {417, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = read_head(cases[i].text);
        if (status != cases[i].status) {
            fail_msg("%d, not %d, for: %s", status, cases[i].status, cases[i].text);
        }
    }
    assert_int_equal(read_head("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    assert_int_equal(request.method, CLI_HTTP_OTHER);
    assert_true(request.is_kept);
    /* RFC 9110 9.3.6: a body that is announced is none. */
    assert_int_equal(read_head("CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"), 0);
    assert_false(request.is_kept);
}

/* --- paths ------------------------------------------------------------------------------------ */

static void test_paths(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } good[] = {
        {"/", "/", ""},
        {"/a/b.txt", "/a/b.txt", ""},
        {"/a%20b/%C3%A4?x=%2F..", "/a b/\xc3\xa4", "?x=%2F.."},
        {"//a///b/", "/a/b/", ""},
        {"http://host:80/a?b", "/a", "?b"}, /* RFC 9112 3.2.2 */
        {"http://host", "/", ""},
        {"http://host?b", "/", "?b"},
        {"/a..b/c.", "/a..b/c.", ""},
        {"", "/", ""},
    };

    static const struct {
        const char *target;
        int status;
    } bad[] = {
        {"/..", 404},
        {"/../etc/passwd", 404},
        {"/a/../b", 404},
        {"/%2e%2e/b", 404},
        {"/a/.%2E/b", 404},
        {"/.git/config", 404},
        {"/./a", 404},
        {"/a%2fb", 404},
        {"/..%2f..%2fx", 404},
        {"/a%00b", 400},
        {"/a%", 400},
        {"/a%4", 400},
        {"/a%zz", 400},
        {"a", 400},
        {"*", 400},
        {"host:80", 400},
    };

    static char room[CLI_HTTP_PATH_BYTES];
    static char target[CLI_HTTP_PATH_BYTES + 2];
    struct weir_span query;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(cli_http_read_path(span_of(good[i].target), room, &query), 0);
        assert_string_equal(room, good[i].path);
        assert_span(query, good[i].query);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int status = cli_http_read_path(span_of(bad[i].target), room, &query);
        if (status != bad[i].status) {
            fail_msg("%d, not %d, for: %s", status, bad[i].status, bad[i].target);
        }
    }
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    assert_int_equal(
        cli_http_read_path(weir_span_of(target, CLI_HTTP_PATH_BYTES - 1), room, &query), 0);
    assert_int_equal(cli_http_read_path(weir_span_of(target, CLI_HTTP_PATH_BYTES), room, &query),
                     414);
}

/* --- answers ---------------------------------------------------------------------------------- */

static const struct cli_http_file file = {
    .bytes = 1000, .inode = 7, .modified = 784111777, .modified_ns = 5};

enum {
    NOW = 1000000000
};

/* The answer to one field, "status first+bytes". */
static const char *answer_to(const char *field)
{
    static char text[64];
    struct cli_http_answer answer;
    read_get(field);
    cli_http_answer_file(&request, &file, NOW, &answer);
    (void)snprintf(text, sizeof(text), "%d %llu+%llu", answer.status,
                   (unsigned long long)answer.first, (unsigned long long)answer.bytes);
    return text;
}

static void test_ranges(void **state)
{
    (void)state;
    assert_string_equal(answer_to("X: y"), "200 0+1000");
    /* RFC 9110 14.1.2 */
    assert_string_equal(answer_to("Range: bytes=0-0"), "206 0+1");
    assert_string_equal(answer_to("Range: bytes=10-19"), "206 10+10");
    assert_string_equal(answer_to("Range: BYTES=990-"), "206 990+10");
    assert_string_equal(answer_to("Range: bytes=990-5000"), "206 990+10");
    assert_string_equal(answer_to("Range: bytes=-1"), "206 999+1");
    assert_string_equal(answer_to("Range: bytes=-5000"), "206 0+1000");
    assert_string_equal(answer_to("Range: bytes=0-99999999999999999999999"), "206 0+1000");
    assert_string_equal(answer_to("Range: bytes=1000-"), "416 0+0");
    assert_string_equal(answer_to("Range: bytes=99999999999999999999999-"), "416 0+0");
    assert_string_equal(answer_to("Range: bytes=-0"), "416 1000+0");
    /* RFC 9110 14.2: ignored. */
    assert_string_equal(answer_to("Range: bytes=5-4"), "200 0+1000");
    assert_string_equal(answer_to("Range: bytes=-"), "200 0+1000");
    assert_string_equal(answer_to("Range: bytes="), "200 0+1000");
    assert_string_equal(answer_to("Range: bytes=1-2,4-5"), "200 0+1000");
    assert_string_equal(answer_to("Range: bytes=a-b"), "200 0+1000");
    assert_string_equal(answer_to("Range: lines=1-2"), "200 0+1000");
    assert_string_equal(answer_to("Range: x"), "200 0+1000");
}

static void test_conditions(void **state)
{
    char etag[CLI_HTTP_ETAG_BYTES];
    char field[256];
    (void)state;
    cli_http_write_etag(&file, etag);
    /* RFC 9110 13.1.2 */
    (void)snprintf(field, sizeof(field), "If-None-Match: \"x\", W/%s", etag);
    assert_string_equal(answer_to(field), "304 0+0");
    assert_string_equal(answer_to("If-None-Match: *"), "304 0+0");
    assert_string_equal(answer_to("If-None-Match: \"x\""), "200 0+1000");
    assert_string_equal(answer_to("If-None-Match: W/\"x"), "200 0+1000");
    assert_string_equal(answer_to("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 "
                                  "08:49:37 GMT"),
                        "200 0+1000");
    /* RFC 9110 13.1.1 */
    (void)snprintf(field, sizeof(field), "If-Match: %s", etag);
    assert_string_equal(answer_to(field), "200 0+1000");
    (void)snprintf(field, sizeof(field), "If-Match: W/%s", etag);
    assert_string_equal(answer_to(field), "412 0+0");
    assert_string_equal(answer_to("If-Match: \"x\""), "412 0+0");
    assert_string_equal(answer_to("If-Match: *"), "200 0+1000");
    /* RFC 9110 13.1.3, 13.1.4; the file is of 08:49:37. */
    assert_string_equal(answer_to("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"), "304 0+0");
    assert_string_equal(answer_to("If-Modified-Since: Sunday, 06-Nov-94 08:49:36 GMT"),
                        "200 0+1000");
    assert_string_equal(answer_to("If-Modified-Since: yesterday"), "200 0+1000");
    assert_string_equal(answer_to("If-Unmodified-Since: Sun Nov  6 08:49:36 1994"), "412 0+0");
    assert_string_equal(answer_to("If-Unmodified-Since: Sun Nov  6 08:49:37 1994"), "200 0+1000");
    assert_string_equal(answer_to("If-Unmodified-Since: x"), "200 0+1000");
    /* RFC 9110 13.1.5 */
    (void)snprintf(field, sizeof(field), "Range: bytes=0-1\r\nIf-Range: %s", etag);
    assert_string_equal(answer_to(field), "206 0+2");
    (void)snprintf(field, sizeof(field), "Range: bytes=0-1\r\nIf-Range: W/%s", etag);
    assert_string_equal(answer_to(field), "200 0+1000");
    assert_string_equal(answer_to("Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT"),
                        "206 0+2");
    assert_string_equal(answer_to("Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT"),
                        "200 0+1000");
    /* A range that does not exist matters less than a condition that fails. */
    assert_string_equal(answer_to("Range: bytes=2000-\r\nIf-None-Match: *"), "304 0+0");
}

static void test_put_conditions(void **state)
{
    (void)state;
    assert_int_equal(read_head("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                               "If-None-Match: *\r\n\r\n"),
                     0);
    assert_true(cli_http_may_put(&request, NULL));
    assert_false(cli_http_may_put(&request, &file));
    assert_int_equal(read_head("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                               "If-Match: *\r\n\r\n"),
                     0);
    assert_false(cli_http_may_put(&request, NULL));
    assert_true(cli_http_may_put(&request, &file));
}

static void test_dates(void **state)
{
    char text[CLI_HTTP_DATE_BYTES];
    int64_t seconds = 0;
    (void)state;
    cli_http_write_date(784111777, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    /* RFC 9110 5.6.7 */
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        assert_true(cli_http_read_date(span_of(forms[i]), &seconds));
        assert_int_equal(seconds, 784111777);
    }
    assert_false(cli_http_read_date(span_of(""), &seconds));
    assert_false(cli_http_read_date(span_of("Sun, 06 Nov 1994 08:49:37 GMT."), &seconds));
    assert_false(
        cli_http_read_date(span_of("1994-11-06T08:49:37Z and very very very very much more "
                                   "than that"),
                           &seconds));
}

static void test_response_head(void **state)
{
    char out[1024];
    char small[40];
    struct cli_http_response response = {.status = 206,
                                         .is_kept = true,
                                         .has_length = true,
                                         .body_bytes = 10,
                                         .type = "text/plain",
                                         .file = &file,
                                         .range_first = 5};
    (void)state;
    size_t length = cli_http_write_head(&response, NOW, out, sizeof(out));
    assert_int_equal(length, strlen(out));
    assert_non_null(strstr(out, "HTTP/1.1 206 Partial Content\r\n"));
    assert_non_null(strstr(out, "\r\nContent-Range: bytes 5-14/1000\r\n"));
    assert_non_null(strstr(out, "\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n"));
    assert_non_null(strstr(out, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    assert_null(strstr(out, "Connection"));
    assert_string_equal(out + length - 4, "\r\n\r\n");
    assert_int_equal(cli_http_write_head(&response, NOW, small, sizeof(small)), 0);
    /* RFC 9110 8.8.2.1 */
    (void)cli_http_write_head(&response, 1000, out, sizeof(out));
    assert_non_null(strstr(out, "\r\nLast-Modified: Thu, 01 Jan 1970 00:16:40 GMT\r\n"));
    response = (struct cli_http_response){.status = 301,
                                          .is_old = true,
                                          .is_kept = true,
                                          .location = "/a b/\xc3\xa4\r\n/",
                                          .query = span_of("?q")};
    (void)cli_http_write_head(&response, NOW, out, sizeof(out));
    assert_non_null(strstr(out, "\r\nLocation: /a%20b/%C3%A4%0D%0A/?q\r\n"));
    assert_non_null(strstr(out, "\r\nConnection: keep-alive\r\n"));
    response = (struct cli_http_response){.status = 405, .allow = "GET, HEAD"};
    (void)cli_http_write_head(&response, NOW, out, sizeof(out));
    assert_non_null(strstr(out, "\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"));
    assert_string_equal(cli_http_type("/a.d/b.HTML"), "text/html; charset=utf-8");
    assert_string_equal(cli_http_type("/a.html/b"), "application/octet-stream");
}

/* --- bodies ----------------------------------------------------------------------------------- */

struct sink {
    char bytes[256];
    size_t length, limit;
};

static bool on_bytes(void *user, const uint8_t *data, size_t length)
{
    struct sink *sink = user;
    if (sink->length + length > sink->limit) {
        return false;
    }
    memcpy(sink->bytes + sink->length, data, length);
    sink->length += length;
    return true;
}

/* Feeds text in pieces of step; returns how much of it was the body's. */
static size_t read_body(const char *text, size_t step, struct sink *sink, int *status)
{
    struct cli_http_body body = {.on_bytes = on_bytes, .user = sink};
    struct cli_http_framing framing;
    cli_http_start_body(&framing, &request);
    size_t at = 0;
    size_t used = 0;
    *status = 0;
    while (at < strlen(text) && !body.is_done && !body.is_refused && *status == 0) {
        size_t length = strlen(text) - at < step ? strlen(text) - at : step;
        *status = cli_http_read_body(&framing, &body, weir_span_of(text + at, length), &used);
        at += used;
    }
    return body.is_done ? at : 0;
}

static void test_bodies(void **state)
{
    static const char chunks[] =
        "5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET /";
    int status;
    (void)state;
    for (size_t step = 1; step < sizeof(chunks); step++) {
        struct sink sink = {.limit = sizeof(sink.bytes)};
        assert_int_equal(
            read_head("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
        assert_true(request.has_body && request.is_chunked);
        assert_int_equal(read_body(chunks, step, &sink, &status), strlen(chunks) - 5);
        assert_int_equal(sink.length, 11);
        assert_memory_equal(sink.bytes, "hello world", 11);
        sink.length = 0;
        assert_int_equal(read_head("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"), 0);
        assert_int_equal(read_body("bodyGET / HTTP/1.1\r\n", step, &sink, &status), 4);
        assert_memory_equal(sink.bytes, "body", 4);
    }
    struct sink sink = {.limit = 3};
    assert_int_equal(read_head("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
                     0);
    assert_int_equal(read_body("zz\r\n", 4, &sink, &status), 0);
    assert_int_equal(status, 400);
    assert_int_equal(read_head("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"), 0);
    assert_int_equal(read_body("body", 4, &sink, &status), 0);
    assert_int_equal(status, 0);
    assert_int_equal(read_head("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), 0);
    assert_false(request.has_body);
}

static void refuse_chunks(const char *text, size_t step)
{
    struct sink sink = {.limit = sizeof(sink.bytes)};
    int status = 0;
    assert_int_equal(read_head("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
                     0);
    (void)read_body(text, step, &sink, &status);
    if (status != 400) {
        fail_msg("taken in steps of %zu: %s", step, text);
    }
}

/* RFC 9112 7.1: nothing but CRLF ends a line of the framing or a chunk. */
static void test_broken_chunks(void **state)
{
    static const char *const texts[] = {
        "3\rXabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\rX",
        "3\r\nabc\r\n0\r\n\n\n",
        "3\r\nabc\r\n0\r\na: b\n\r\n",
        "3;a\nb\r\nabc\r\n",
        "\r\nabc",
        ";a\r\n\r\n",
        "-3\r\nabc",
        "0x3\r\nabc\r\n",
        "3 3\n\r\nabc",
        "1000000000000000\r\nabc",
        "3\r\nabc4\r\n0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t step = 1; step < 12; step++) {
            refuse_chunks(texts[i], step);
        }
    }
}

/* A line of the framing may be so long, and no longer. */
static void refuse_long_line(const char *start, size_t step)
{
    static char line[10000];
    size_t length = strlen(start);
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        line[i] = 'x';
        if (i < length) {
            line[i] = start[i];
        }
    }
    refuse_chunks(line, step);
}

static void test_long_lines(void **state)
{
    (void)state;
    refuse_long_line("1;", 10000);
    refuse_long_line("0\r\na:", 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_ends),        cmocka_unit_test(test_request),
        cmocka_unit_test(test_refused_requests), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_ranges),           cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_put_conditions),   cmocka_unit_test(test_dates),
        cmocka_unit_test(test_response_head),    cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_broken_chunks),    cmocka_unit_test(test_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
