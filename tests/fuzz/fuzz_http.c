/* SPDX-License-Identifier: MIT */
/*
 * fuzz_http.c - any bytes as what a client of weir serve sends: heads, paths, conditions, ranges
 * and bodies. No crash, nothing outside what was read, and no path that leaves the directory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_path(struct weir_span target)
{
    static char path[CLI_HTTP_PATH_BYTES];
    struct weir_span query;
    if (cli_http_read_path(target, path, &query) != 0) {
        return;
    }
    must(path[0] == '/' && strlen(path) < sizeof(path));
    must(strstr(path, "/.") == NULL && strstr(path, "//") == NULL);
    must(query.length == 0 || query.data[0] == '?');
    (void)cli_http_type(path);
    static char head[1024];
    const struct cli_http_response response = {.status = 301, .location = path, .query = query};
    size_t length = cli_http_write_head(&response, 1, head, sizeof(head));
    must(length < sizeof(head));
    /* A path never begins another line. */
    must(length == 0 || memmem(head, length - 4, "\r\n\r\n", 4) == NULL);
}

static void check_answer(const struct cli_http_request *request)
{
    const struct cli_http_file file = {.bytes = 1000, .modified = 784111777};
    struct cli_http_answer answer;
    cli_http_answer_file(request, &file, 1000000000, &answer);
    if (answer.status == 206 || answer.status == 200) {
        must(answer.bytes <= file.bytes && answer.first <= file.bytes - answer.bytes);
    }
    must(answer.status != 206 || answer.bytes > 0);
    (void)cli_http_may_put(request, NULL);
}

static bool on_bytes(void *user, const uint8_t *data, size_t length)
{
    uint64_t *sum = user;
    *sum += length;
    return length == 0 || data[0] != 0xff;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size > 0) {
        struct cli_http_request request;
        struct cli_http_framing framing;
        size_t length = cli_http_head_length(data, size, 0);
        if (length == 0) {
            return 0;
        }
        must(length <= size);
        int status = cli_http_read_head(weir_span_of(data, length), &request);
        for (int i = 0; i < CLI_HTTP_FIELDS; i++) {
            const struct weir_span field = request.fields[i];
            must(field.data == NULL ||
                 (field.data >= data && field.data + field.length <= data + length));
        }
        data += length;
        size -= length;
        if (status != 0) {
            return 0;
        }
        check_path(request.target);
        check_answer(&request);
        uint64_t bytes = 0;
        cli_http_start_body(&framing, &request);
        struct cli_http_body body = {.on_bytes = on_bytes, .user = &bytes};
        while (request.has_body && size > 0 && !body.is_done) {
            size_t piece = 1 + data[0] % size;
            size_t used = 0;
            if (cli_http_read_body(&framing, &body, weir_span_of(data, piece), &used) != 0 ||
                body.is_refused) {
                return 0;
            }
            must(used <= piece && (body.is_done || used == piece));
            data += used;
            size -= used;
        }
        must(request.is_chunked || bytes <= request.body_bytes);
    }
    return 0;
}
