/* SPDX-License-Identifier: MIT */
/*
 * serve_request.c - what a request gets: a file, a part of one, a redirection, or a refusal.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/serve_internal.h"

static const char index_name[] = "index.html";

/* Path is "/" and names; a directory's own is its index. -1: errno says why. */
static int open_file(const struct cli_serve *serve, const char *path, struct stat *stat)
{
    char name[CLI_HTTP_PATH_BYTES + sizeof(index_name)];
    size_t length = strlen(path);
    (void)snprintf(name, sizeof(name), "%s%s", path + 1, path[length - 1] == '/' ? index_name : "");
    /* O_NONBLOCK: a named pipe must not wait for its writer. */
    int fd = cli_open_below(serve->config.root_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, stat) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* RFC 9110 15.4.2: a directory's name without its slash. */
static void redirect(struct cli_serve *serve, struct cli_slot *slot, char *path,
                     struct weir_span query)
{
    struct cli_http_response response = {.status = 301, .location = path, .query = query};
    size_t length = strlen(path);
    if (length + 1 == CLI_HTTP_PATH_BYTES) {
        cli_serve_respond_status(serve, slot, 414);
        return;
    }
    path[length] = '/';
    path[length + 1] = '\0';
    slot->file_at = 0;
    slot->file_end = 0;
    cli_serve_respond(serve, slot, &response, -1);
}

static void respond_file(struct cli_serve *serve, struct cli_slot *slot,
                         const struct cli_http_request *request, const char *path, int fd,
                         const struct stat *stat)
{
    const struct cli_http_file file = cli_file_of(stat);
    struct cli_http_answer answer;
    cli_http_answer_file(request, &file, (int64_t)time(NULL), &answer);
    bool has_file = answer.status == 200 || answer.status == 206;
    struct cli_http_response response = {.status = answer.status,
                                         .has_length = has_file,
                                         .body_bytes = answer.bytes,
                                         .range_first = answer.first,
                                         .file = answer.status != 412 ? &file : NULL};
    if (has_file) {
        response.type = cli_http_type(path[strlen(path) - 1] == '/' ? index_name : path);
    }
    slot->file_at = answer.first;
    slot->file_end = answer.first;
    if (!has_file || slot->is_head) {
        (void)close(fd);
        fd = -1;
    } else {
        slot->file_end += answer.bytes;
    }
    cli_serve_respond(serve, slot, &response, fd);
}

static void respond_get(struct cli_serve *serve, struct cli_slot *slot,
                        const struct cli_http_request *request)
{
    char path[CLI_HTTP_PATH_BYTES];
    struct weir_span query;
    struct stat stat;
    int status = cli_http_read_path(request->target, path, &query);
    if (status != 0) {
        cli_serve_respond_status(serve, slot, status);
        return;
    }
    int fd = open_file(serve, path, &stat);
    if (fd < 0) {
        cli_serve_respond_status(serve, slot, cli_file_status(errno));
        return;
    }
    if (S_ISREG(stat.st_mode)) {
        respond_file(serve, slot, request, path, fd, &stat);
        return;
    }
    (void)close(fd);
    if (S_ISDIR(stat.st_mode) && path[strlen(path) - 1] != '/') {
        redirect(serve, slot, path, query);
    } else {
        cli_serve_respond_status(serve, slot, 404);
    }
}

/* RFC 9110 9.3.7. */
static void respond_options(struct cli_serve *serve, struct cli_slot *slot)
{
    struct cli_http_response response = {
        .status = 204,
        .allow = serve->config.is_upload ? "GET, HEAD, OPTIONS, PUT" : "GET, HEAD, OPTIONS"};
    slot->file_at = 0;
    slot->file_end = 0;
    cli_serve_respond(serve, slot, &response, -1);
}

void cli_serve_request(struct cli_serve *serve, struct cli_slot *slot, struct weir_span head)
{
    struct cli_http_request request;
    int status = cli_http_read_head(head, &request);
    serve->stats.requests++;
    cli_idle_touch(serve, slot->conn, true);
    cli_log_remember(serve, slot, request.line);
    slot->is_old = request.minor == 0;
    slot->is_head = request.method == CLI_HTTP_HEAD;
    slot->is_kept = status == 0 && request.is_kept;
    slot->file_at = 0;
    slot->file_end = 0;
    if (status != 0) {
        cli_serve_respond_status(serve, slot, status);
        return;
    }
    if (request.method == CLI_HTTP_PUT && serve->config.is_upload) {
        cli_put_start(serve, slot, &request);
        return;
    }
    /* RFC 9112 9.3: the next request would begin behind a body that nobody reads. */
    slot->is_kept = slot->is_kept && !request.has_body;
    switch (request.method) {
    case CLI_HTTP_GET:
    case CLI_HTTP_HEAD:
        respond_get(serve, slot, &request);
        break;
    case CLI_HTTP_OPTIONS:
        respond_options(serve, slot);
        break;
    case CLI_HTTP_PUT:
    case CLI_HTTP_OTHER:
    default:
        cli_serve_respond_status(serve, slot, 405);
        break;
    }
}
