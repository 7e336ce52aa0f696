/* SPDX-License-Identifier: MIT */
/*
 * incoming.c - the receiving end of one file transfer, on one connection.
 *
 * Spec: docs/file-transfer.md.
 */
#include "cli/incoming.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/inbox.h"

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

bool cli_incoming_send(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    uint8_t bytes[CLI_TRANSFER_SMALL_BYTES_MAX];
    size_t length = cli_transfer_encode(message, bytes);
    return cli_link_send(in->set->link, in->conn, &delivery, bytes, length) == WEIR_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/* Everything but the connection; closing the descriptors releases their locks. */
static void release(struct cli_incoming *in)
{
    close_fd(&in->fd);
    close_fd(&in->hashing_fd);
    in->is_file_open = false;
    cli_manifest_free(&in->manifest);
    free(in->partials);
    in->partials = NULL;
    in->partials_count = in->partials_capacity = 0;
}

void cli_incoming_fail(struct cli_incoming *in, enum cli_transfer_code code, uint32_t index,
                       const char *format, ...)
{
    char text[CLI_TRANSFER_TEXT_BYTES_MAX];
    char shown[CLI_TRANSFER_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (in->stage == CLI_INCOMING_FAILED || length < 0) {
        return;
    }
    struct weir_span span = weir_span_of(text, strlen(text));
    cli_transfer_printable(span, shown, sizeof(shown));
    (void)cli_incoming_send(in,
                            &(struct cli_transfer_message){
                                .type = CLI_TRANSFER_FAILED,
                                .failed = {.code = (uint8_t)code, .index = index, .text = span}});
    cli_link_end(in->set->link, in->conn, (uint32_t)code, shown);
    cli_fail(CLI_FAILED, "transfer from %s: %s", in->peer, shown);
    in->stage = CLI_INCOMING_FAILED;
    release(in);
}

enum cli_transfer_code cli_incoming_write_code(int error)
{
    return error == ENOSPC || error == EDQUOT ? CLI_TRANSFER_CODE_SPACE : CLI_TRANSFER_CODE_STORAGE;
}

bool cli_incoming_claim(struct cli_incoming_all *all, uint32_t max)
{
    if (__atomic_fetch_add(&all->active, 1, __ATOMIC_ACQ_REL) < max) {
        return true;
    }
    (void)__atomic_fetch_sub(&all->active, 1, __ATOMIC_ACQ_REL);
    return false;
}

void cli_incoming_open(struct cli_incoming *in, struct cli_incoming_set *set, struct cli_conn *conn,
                       weir_nsec now)
{
    *in = (struct cli_incoming){.set = set,
                                .conn = conn,
                                .stage = CLI_INCOMING_HELLO,
                                .last_message = now,
                                .started = now,
                                .hashing_fd = -1,
                                .fd = -1,
                                .progress = {.is_quiet = set->is_quiet}};
    set->active++;
    struct weir_addr remote = cli_link_remote(set->link, conn);
    weir_addr_format(&remote, in->peer);
}

/* --- messages --------------------------------------------------------------------------------- */

static void on_hello(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    if (message->hello.version_min > CLI_TRANSFER_VERSION ||
        message->hello.version_max < CLI_TRANSFER_VERSION) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_VERSION, CLI_TRANSFER_NO_INDEX,
                          "the receiver speaks version %d of the file transfer, the sender %d to "
                          "%d; use the same weir version at both ends",
                          CLI_TRANSFER_VERSION, message->hello.version_min,
                          message->hello.version_max);
        return;
    }
    struct cli_transfer_message welcome = {.type = CLI_TRANSFER_WELCOME,
                                           .welcome = {.version = CLI_TRANSFER_VERSION}};
    if (!cli_incoming_send(in, &welcome)) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, CLI_TRANSFER_NO_INDEX,
                          "no room to answer");
        return;
    }
    in->stage = CLI_INCOMING_MANIFEST;
}

static void on_manifest(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    struct weir_span entries = message->manifest.entries;
    struct cli_transfer_entry entry;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK) {
        status = cli_transfer_next_entry(&entries, &entry);
        if (status == WEIR_OK) {
            status = cli_manifest_add(&in->manifest, &entry);
        }
    }
    if (status != WEIR_AGAIN) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_MANIFEST, in->manifest.count, "refused: %s",
                          status == WEIR_ERR_MALFORMED
                              ? "a path leads out of the directory, or the list is malformed"
                              : "the list of files is too long");
        return;
    }
    if (!message->manifest.is_last) {
        return;
    }
    uint32_t bad;
    const char *reason;
    if (cli_manifest_check(&in->manifest, &bad, &reason) != WEIR_OK) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_MANIFEST, bad, "refused: '%s' %s",
                          cli_manifest_path(&in->manifest, bad), reason);
        return;
    }
    in->is_offering = !message->manifest.is_fresh;
    in->stage = CLI_INCOMING_PREPARING;
}

/* The partial that was offered for entry index, or NULL. Files come in the manifest's order. */
static const struct cli_partial *take_partial(struct cli_incoming *in, uint32_t index)
{
    while (in->partials_taken < in->partials_count &&
           in->partials[in->partials_taken].index < index) {
        in->partials_taken++;
    }
    bool is_there =
        in->partials_taken < in->partials_count && in->partials[in->partials_taken].index == index;
    return is_there ? &in->partials[in->partials_taken] : NULL;
}

/* Opens the .part file, cut to what the sender builds on. Returns 0 or -errno. */
static int open_part(struct cli_incoming *in, uint32_t index, const struct cli_partial *partial)
{
    struct stat stat;
    int fd = cli_inbox_open_part(in->set->root_fd, cli_manifest_path(&in->manifest, index));
    if (fd < 0) {
        return fd;
    }
    in->fd = fd;
    if (partial == NULL) {
        return ftruncate(fd, 0) == 0 ? 0 : -errno;
    }
    if (fstat(fd, &stat) != 0) {
        return -errno;
    }
    bool is_unchanged = (uint64_t)stat.st_size == partial->length &&
                        stat.st_mtim.tv_sec == partial->changed.tv_sec &&
                        stat.st_mtim.tv_nsec == partial->changed.tv_nsec;
    return is_unchanged ? 0 : -EWOULDBLOCK; /* somebody else is at it */
}

static bool is_next_file(const struct cli_incoming *in, uint32_t index)
{
    uint32_t next = in->files_done == 0 ? 0 : in->current + 1;
    while (next < in->manifest.count && in->manifest.entries[next].kind != CLI_TRANSFER_KIND_FILE) {
        next++;
    }
    return next == index && index < in->manifest.count;
}

static void on_file(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    uint32_t index = message->file.index;
    if (in->is_file_open || !is_next_file(in, index)) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, index, "a file out of turn");
        return;
    }
    const struct cli_partial *partial = take_partial(in, index);
    if (message->file.offset == 0) {
        partial = NULL;
    } else if (partial == NULL || partial->length != message->file.offset) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, index,
                          "a file is continued that was not offered");
        return;
    }
    sha256_init(&in->hash);
    in->current = index;
    in->offset = 0;
    in->fd = -1;
    in->is_file_open = true;
    if (partial != NULL) {
        in->hash = partial->hash;
        in->offset = partial->length;
        in->resumed_bytes += partial->length;
        in->progress.base_bytes = in->resumed_bytes;
        if (partial->is_final) {
            return;
        }
    }
    int result = open_part(in, index, partial);
    if (result == -EWOULDBLOCK) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_BUSY, index,
                          "'%s' is being received in another transfer",
                          cli_manifest_path(&in->manifest, index));
    } else if (result < 0) {
        cli_incoming_fail(in, cli_incoming_write_code(-result), index, "cannot write '%s.part': %s",
                          cli_manifest_path(&in->manifest, index), cli_text_errno(-result));
    }
}

static int write_all(int fd, struct weir_span bytes, uint64_t offset)
{
    while (bytes.length > 0) {
        ssize_t written = pwrite(fd, bytes.data, bytes.length, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -ENOSPC;
        }
        bytes = weir_span_of(bytes.data + written, bytes.length - (size_t)written);
        offset += (uint64_t)written;
    }
    return 0;
}

static void on_data(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    struct weir_span bytes = message->data.bytes;
    if (!in->is_file_open || in->fd < 0 || message->data.offset != in->offset ||
        bytes.length > in->manifest.entries[in->current].size - in->offset) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, in->current, "data out of turn");
        return;
    }
    int result = write_all(in->fd, bytes, in->offset);
    if (result < 0) {
        cli_incoming_fail(in, cli_incoming_write_code(-result), in->current,
                          "cannot write '%s.part': %s",
                          cli_manifest_path(&in->manifest, in->current), cli_text_errno(-result));
        return;
    }
    sha256_update(&in->hash, bytes.length, bytes.data);
    in->offset += bytes.length;
}

static void on_file_end(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    uint8_t digest[CLI_TRANSFER_HASH_BYTES];
    if (!in->is_file_open || message->file_end.index != in->current ||
        in->offset != in->manifest.entries[in->current].size) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, message->file_end.index,
                          "the end of a file out of turn");
        return;
    }
    const char *path = cli_manifest_path(&in->manifest, in->current);
    const struct cli_entry *entry = &in->manifest.entries[in->current];
    sha256_digest(&in->hash, sizeof(digest), digest);
    if (memcmp(digest, message->file_end.hash, sizeof(digest)) != 0) {
        if (in->fd >= 0) {
            (void)cli_inbox_remove_part(in->set->root_fd, path);
        }
        cli_incoming_fail(in, CLI_TRANSFER_CODE_CHECKSUM, in->current,
                          "'%s' arrived with a wrong checksum and was thrown away", path);
        return;
    }
    int result = in->fd >= 0 ? cli_inbox_commit(in->set->root_fd, path, in->fd, entry)
                             : cli_inbox_touch(in->set->root_fd, path, entry);
    if (in->fd >= 0 && close(in->fd) != 0 && result == 0) {
        result = -errno;
    }
    in->fd = -1;
    if (result < 0) {
        cli_incoming_fail(in, cli_incoming_write_code(-result), in->current,
                          "cannot put '%s' in place: %s", path, cli_text_errno(-result));
        return;
    }
    in->is_file_open = false;
    in->files_done++;
    in->done_bytes += entry->size;
}

/* Modes and times of directories, children first: a parent may be closed to us afterwards. */
static void on_finish(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    (void)message;
    if (in->is_file_open || in->is_finished || in->files_done != in->manifest.files) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, CLI_TRANSFER_NO_INDEX,
                          "the end comes before the last file");
        return;
    }
    for (uint32_t i = in->manifest.count; i-- > 0;) {
        const char *path = cli_manifest_path(&in->manifest, i);
        if (in->manifest.entries[i].kind != CLI_TRANSFER_KIND_DIRECTORY) {
            continue;
        }
        int result = cli_inbox_finish_directory(in->set->root_fd, path, &in->manifest.entries[i]);
        if (result < 0) {
            cli_incoming_fail(in, cli_incoming_write_code(-result), i,
                              "cannot set mode and time of '%s': %s", path,
                              cli_text_errno(-result));
            return;
        }
    }
    in->is_finished = true;
}

static void on_failed(struct cli_incoming *in, const struct cli_transfer_message *message)
{
    char text[CLI_TRANSFER_TEXT_BYTES_MAX + 1];
    cli_transfer_printable(message->failed.text, text, sizeof(text));
    cli_fail(CLI_FAILED, "the sender %s gave up: %s", in->peer, text);
    cli_link_end(in->set->link, in->conn, 0, "");
    in->stage = CLI_INCOMING_FAILED;
    release(in);
}

void cli_incoming_on_message(struct cli_incoming *in, struct weir_span message, weir_nsec now)
{
    static const struct {
        enum cli_incoming_stage stage; /* the only one in which it is allowed */
        void (*take)(struct cli_incoming *, const struct cli_transfer_message *);
    } handlers[CLI_TRANSFER_FAILED + 1] = {
        [CLI_TRANSFER_HELLO] = {CLI_INCOMING_HELLO, on_hello},
        [CLI_TRANSFER_MANIFEST] = {CLI_INCOMING_MANIFEST, on_manifest},
        [CLI_TRANSFER_FILE] = {CLI_INCOMING_RECEIVING, on_file},
        [CLI_TRANSFER_DATA] = {CLI_INCOMING_RECEIVING, on_data},
        [CLI_TRANSFER_FILE_END] = {CLI_INCOMING_RECEIVING, on_file_end},
        [CLI_TRANSFER_FINISH] = {CLI_INCOMING_RECEIVING, on_finish}};
    struct cli_transfer_message decoded;
    if (in->stage == CLI_INCOMING_FAILED || in->stage == CLI_INCOMING_COMPLETE) {
        return;
    }
    in->last_message = now;
    if (cli_transfer_decode(message, &decoded) != WEIR_OK) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, CLI_TRANSFER_NO_INDEX,
                          in->stage == CLI_INCOMING_HELLO ? "the peer is not weir send"
                                                          : "a message does not decode");
        return;
    }
    if (decoded.type == CLI_TRANSFER_FAILED) {
        on_failed(in, &decoded);
        return;
    }
    if (handlers[decoded.type].take == NULL || handlers[decoded.type].stage != in->stage) {
        cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, CLI_TRANSFER_NO_INDEX,
                          "a message of type %u out of turn", (unsigned)decoded.type);
        return;
    }
    handlers[decoded.type].take(in, &decoded);
}

/* --- work between messages -------------------------------------------------------------------- */

/* Confirms what is in place. A full queue is tried again: the count is cumulative. */
static void confirm(struct cli_incoming *in)
{
    if (in->files_done > in->files_announced) {
        struct cli_transfer_message done = {.type = CLI_TRANSFER_DONE,
                                            .done = {.files = in->files_done}};
        if (cli_incoming_send(in, &done)) {
            in->files_announced = in->files_done;
        }
    }
    if (in->is_finished && in->files_announced == in->files_done &&
        cli_incoming_send(in, &(struct cli_transfer_message){.type = CLI_TRANSFER_COMPLETE})) {
        in->stage = CLI_INCOMING_COMPLETE;
    }
}

bool cli_incoming_step(struct cli_incoming *in, weir_nsec now)
{
    if (in->stage == CLI_INCOMING_PREPARING) {
        return cli_incoming_prepare(in, now);
    }
    if (in->stage == CLI_INCOMING_RECEIVING) {
        confirm(in);
        /* Bars of several would draw over each other. */
        if (__atomic_load_n(&in->set->all->active, __ATOMIC_RELAXED) == 1) {
            cli_progress_update(&in->progress, in->done_bytes + (in->is_file_open ? in->offset : 0),
                                now);
        }
    }
    return false;
}

bool cli_incoming_close(struct cli_incoming *in, const struct cli_event *event, weir_nsec now)
{
    bool is_complete = in->stage == CLI_INCOMING_COMPLETE;
    char label[WEIR_ADDR_TEXT_BYTES + 48];
    char text[CLI_CLOSED_TEXT_BYTES];
    if (is_complete) {
        (void)snprintf(label, sizeof(label), "received %u %s from %s:", in->manifest.files,
                       in->manifest.files == 1 ? "file" : "files", in->peer);
        in->progress.label = label;
        cli_progress_finish(&in->progress, in->done_bytes, now);
    } else if (in->stage != CLI_INCOMING_FAILED) {
        cli_fail(CLI_FAILED, "transfer from %s broke off: %s%s", in->peer,
                 cli_text_closed(event, text),
                 in->stage == CLI_INCOMING_RECEIVING ? "; what arrived is kept as .part" : "");
    }
    release(in);
    in->stage = CLI_INCOMING_FREE;
    in->set->active--;
    (void)__atomic_fetch_sub(&in->set->all->active, 1, __ATOMIC_ACQ_REL);
    in->conn = NULL;
    return is_complete;
}
