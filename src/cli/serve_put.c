/* SPDX-License-Identifier: MIT */
/*
 * serve_put.c - uploads: written beside their place under a hidden name, then renamed, so that
 * nobody sees half a file and one that is cut off leaves the old one as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/serve_internal.h"

/* --- the place -------------------------------------------------------------------------------- */

static int refuse_new_file(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV
               ? 409 /* RFC 9110 9.3.4: there is no such directory */
               : cli_file_status(error);
}

/* Splits path and opens its directory. 0 or a status. */
static int find_place(struct cli_serve *serve, struct cli_upload *upload, char *path)
{
    char *slash = strrchr(path, '/');
    if (slash[1] == '\0') {
        return 409; /* a directory's name */
    }
    if (strlen(slash + 1) >= sizeof(upload->name)) {
        return 414;
    }
    memcpy(upload->name, slash + 1, strlen(slash + 1) + 1);
    *slash = '\0';
    upload->dir_fd = cli_open_below(serve->config.root_fd, path[0] == '\0' ? "." : path + 1,
                                    O_PATH | O_DIRECTORY);
    return upload->dir_fd < 0 ? refuse_new_file(errno) : 0;
}

/* What is there already, and may it be replaced? 0 or a status. */
static int check_old(struct cli_upload *upload, const struct cli_http_request *request)
{
    const struct weir_span *fields = request->fields;
    struct stat stat;
    upload->is_new = fstatat(upload->dir_fd, upload->name, &stat, AT_SYMLINK_NOFOLLOW) != 0;
    if (!upload->is_new && !S_ISREG(stat.st_mode)) {
        return 409;
    }
    memset(&upload->old, 0, sizeof(upload->old));
    if (!upload->is_new) {
        upload->old = cli_file_of(&stat);
    }
    upload->is_conditional = fields[CLI_HTTP_IF_MATCH].data != NULL ||
                             fields[CLI_HTTP_IF_NONE_MATCH].data != NULL ||
                             fields[CLI_HTTP_IF_UNMODIFIED_SINCE].data != NULL;
    return cli_http_may_put(request, upload->is_new ? NULL : &upload->old) ? 0 : 412;
}

/* RFC 9110 13.1.1: conditions are there against lost updates; while the body came another upload
 * may have been faster. */
static bool is_overtaken(const struct cli_upload *upload)
{
    struct stat stat;
    if (fstatat(upload->dir_fd, upload->name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
        return !upload->is_new;
    }
    const struct cli_http_file *old = &upload->old;
    const struct cli_http_file file = cli_file_of(&stat);
    return upload->is_new || file.inode != old->inode || file.bytes != old->bytes ||
           file.modified != old->modified || file.modified_ns != old->modified_ns;
}

static int make_temp(struct cli_serve *serve, struct cli_upload *upload)
{
    /* In a container the number of the process may be that of one that was killed before. */
    do {
        (void)snprintf(upload->temp, sizeof(upload->temp), ".weir-%ld-%u-%llu.part", (long)getpid(),
                       serve->config.shard, (unsigned long long)serve->temps++);
        upload->fd = openat(upload->dir_fd, upload->temp,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    } while (upload->fd < 0 && errno == EEXIST);
    return upload->fd < 0 ? cli_file_status(errno) : 0;
}

static int prepare(struct cli_serve *serve, struct cli_slot *slot,
                   const struct cli_http_request *request)
{
    char path[CLI_HTTP_PATH_BYTES];
    struct weir_span query;
    const uint64_t max = serve->config.upload_bytes_max;
    struct cli_upload *upload = &slot->upload;
    upload->bytes = 0;
    upload->error = 0;
    int status = cli_http_read_path(request->target, path, &query);
    if (status != 0) {
        return status;
    }
    /* RFC 9110 9.3.4: a part of a file SHOULD be answered with 400; RFC 9110 8.4: a coding that is
     * not taken may be answered with 415. */
    if (request->fields[CLI_HTTP_CONTENT_RANGE].data != NULL) {
        return 400;
    }
    if (request->fields[CLI_HTTP_CONTENT_ENCODING].data != NULL) {
        return 415;
    }
    if (max != 0 && request->body_bytes > max) {
        return 413;
    }
    status = find_place(serve, upload, path);
    status = status != 0 ? status : check_old(upload, request);
    return status != 0 ? status : make_temp(serve, upload);
}

void cli_put_drop(struct cli_slot *slot)
{
    struct cli_upload *upload = &slot->upload;
    if (upload->fd >= 0) {
        (void)close(upload->fd);
        (void)unlinkat(upload->dir_fd, upload->temp, 0);
        upload->fd = -1;
    }
    if (upload->dir_fd >= 0) {
        (void)close(upload->dir_fd);
        upload->dir_fd = -1;
    }
}

/* --- the body --------------------------------------------------------------------------------- */

/* The rest of the body is not read, so that nothing can follow it. */
static void give_up(struct cli_serve *serve, struct cli_slot *slot, int status)
{
    cli_put_drop(slot);
    slot->is_kept = false;
    cli_serve_respond_status(serve, slot, status);
}

/* Of a name in a directory, not 0. */
static uint64_t hash_of_place(const struct cli_upload *upload)
{
    static const struct weir_hash_key key;
    struct stat stat = {0};
    char place[NAME_MAX + 1 + 2 * sizeof(uint64_t)];
    (void)fstat(upload->dir_fd, &stat);
    const uint64_t numbers[2] = {(uint64_t)stat.st_dev, (uint64_t)stat.st_ino};
    memcpy(place, numbers, sizeof(numbers));
    memcpy(place + sizeof(numbers), upload->name, strlen(upload->name));
    return weir_hash13(&key, place, sizeof(numbers) + strlen(upload->name)) | 1;
}

static void set_claim(struct cli_serve *serve, uint64_t hash)
{
    __atomic_store_n(&serve->config.claims->words[serve->config.shard], hash, __ATOMIC_SEQ_CST);
}

/* Between the look at the old file and the new one's taking its place no other shard may replace
 * it. Whoever wants to says so first and looks at the others' words then: of two, one at least sees
 * the other. False: another shard is at it. */
static bool claim(struct cli_serve *serve, const struct cli_upload *upload)
{
    if (serve->config.claims == NULL) {
        return true;
    }
    const uint64_t hash = hash_of_place(upload);
    set_claim(serve, hash);
    for (uint32_t i = 0; i < WEIR_CREW_SHARDS_MAX; i++) {
        uint64_t other = __atomic_load_n(&serve->config.claims->words[i], __ATOMIC_SEQ_CST);
        if (i != serve->config.shard && other == hash) {
            set_claim(serve, 0);
            return false;
        }
    }
    return true;
}

/* 0 or a status. */
static int put_in_place(const struct cli_upload *upload, struct stat *stat)
{
    if (upload->is_conditional && is_overtaken(upload)) {
        return 412;
    }
    if (fstat(upload->fd, stat) != 0) {
        return cli_file_status(errno);
    }
    if (renameat(upload->dir_fd, upload->temp, upload->dir_fd, upload->name) != 0) {
        /* What stands there may have become a directory meanwhile. */
        return errno == EISDIR || errno == ENOENT ? 409 : cli_file_status(errno);
    }
    return 0;
}

void cli_put_commit(struct cli_serve *serve, struct cli_slot *slot)
{
    struct cli_upload *upload = &slot->upload;
    struct stat stat;
    if (!claim(serve, upload)) {
        /* Two that saw each other do not come back at the same time. */
        slot->state = CLI_SLOT_COMMIT;
        serve->commits_count++;
        serve->next_commit = serve->now + WEIR_MSEC + serve->config.shard * (WEIR_MSEC / 32);
        return;
    }
    int status = put_in_place(upload, &stat);
    if (serve->config.claims != NULL) {
        set_claim(serve, 0);
    }
    if (status != 0) {
        give_up(serve, slot, status);
        return;
    }
    (void)close(upload->fd);
    (void)close(upload->dir_fd);
    upload->fd = -1;
    upload->dir_fd = -1;
    serve->stats.uploads++;
    const struct cli_http_file file = cli_file_of(&stat);
    struct cli_http_response response = {
        .status = upload->is_new ? 201 : 204, .has_length = upload->is_new, .file = &file};
    slot->file_at = 0;
    slot->file_end = 0;
    cli_serve_respond(serve, slot, &response, -1);
}

void cli_put_start(struct cli_serve *serve, struct cli_slot *slot,
                   const struct cli_http_request *request)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    int status = prepare(serve, slot, request);
    if (status != 0) {
        cli_put_drop(slot);
        slot->is_kept = slot->is_kept && !request->has_body;
        cli_serve_respond_status(serve, slot, status);
        return;
    }
    slot->state = CLI_SLOT_BODY;
    cli_serve_progress(serve, slot);
    if (!request->has_body) {
        cli_put_commit(serve, slot);
        return;
    }
    cli_http_start_body(&slot->framing, request);
    /* RFC 9110 10.1.1: one that expects it MUST be told, or answered. Without room it is not, and
     * sends after a while all the same. */
    if (request->is_continue_expected) {
        (void)weir_tcp_send(serve->config.tcp, slot->conn, go_on, sizeof(go_on) - 1);
    }
}

static bool write_all(void *user, const uint8_t *data, size_t length)
{
    struct cli_upload *upload = user;
    while (length > 0) {
        ssize_t n = write(upload->fd, data, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            upload->error = n < 0 ? errno : EIO;
            return false;
        }
        data += n;
        length -= (size_t)n;
        upload->bytes += (uint64_t)n;
    }
    return true;
}

size_t cli_put_input(struct cli_serve *serve, struct cli_slot *slot, struct weir_span data)
{
    struct cli_upload *upload = &slot->upload;
    struct cli_http_body body = {.on_bytes = write_all, .user = upload};
    const uint64_t before = upload->bytes;
    size_t used = 0;
    int status = cli_http_read_body(&slot->framing, &body, data, &used);
    serve->stats.received_bytes += upload->bytes - before;
    cli_serve_progress(serve, slot);
    const uint64_t max = serve->config.upload_bytes_max;
    if (max != 0 && upload->bytes > max) {
        give_up(serve, slot, 413);
    } else if (body.is_refused) {
        give_up(serve, slot, cli_file_status(upload->error));
    } else if (status != 0) {
        give_up(serve, slot, status);
    } else if (body.is_done) {
        cli_put_commit(serve, slot);
    }
    return used;
}
