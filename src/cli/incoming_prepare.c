/* SPDX-License-Identifier: MIT */
/*
 * incoming_prepare.c - before the data: makes the directories and finds out what is there already.
 *
 * Role: runs in pieces between rounds of the loop, so that hashing a large file does not make the
 * connection look dead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/inbox.h"
#include "cli/incoming.h"

enum {
    ENTRIES_PER_STEP = 256
};

/* A transfer that writes the same file and has been silent for so long gives way. */
static const weir_nsec silence_max = WEIR_SEC;
/* How long to wait for such a one, before the sender is told. */
static const weir_nsec lock_wait_max = 3 * WEIR_SEC;

/* How long a wish stays without being made again. */
static const weir_nsec wish_time = WEIR_SEC;

/* Both in one word. Should two files ever give the same, a silent transfer gives way for nothing,
 * and its sender resumes it. */
static uint64_t fold(const struct stat *file)
{
    return (uint64_t)file->st_ino ^ (uint64_t)file->st_dev << 40;
}

static void wish(const struct cli_incoming *in, const struct stat *part, weir_nsec now)
{
    const struct cli_incoming_set *set = in->set;
    struct cli_incoming_wish *wish = &set->wishes[in - set->slots];
    __atomic_store_n(&wish->file, fold(part), __ATOMIC_RELAXED);
    __atomic_store_n(&wish->until, now + wish_time, __ATOMIC_RELEASE);
}

static bool is_wanted(const struct cli_incoming_all *all, const struct stat *part, weir_nsec now)
{
    for (uint32_t i = 0; i < all->wishes_count; i++) {
        const struct cli_incoming_wish *wish = &all->wishes[i];
        if (__atomic_load_n(&wish->until, __ATOMIC_ACQUIRE) > now &&
            __atomic_load_n(&wish->file, __ATOMIC_RELAXED) == fold(part)) {
            return true;
        }
    }
    return false;
}

/* A sender that was killed and started again must not wait for its own ghost. */
void cli_incoming_heed(struct cli_incoming_set *set, weir_nsec now)
{
    for (uint32_t i = 0; i < set->slots_count; i++) {
        struct cli_incoming *in = &set->slots[i];
        struct stat held;
        if (in->is_file_open && in->fd >= 0 && now > in->last_message &&
            now - in->last_message >= silence_max && fstat(in->fd, &held) == 0 &&
            is_wanted(set->all, &held, now)) {
            cli_incoming_fail(in, CLI_TRANSFER_CODE_BUSY, in->current,
                              "a new transfer of the same file took over");
        }
    }
}

/* Opens the .part file that stat found. Returns false when it has to wait or failed. */
static bool open_part(struct cli_incoming *in, const char *path, const struct stat *stat,
                      weir_nsec now)
{
    int fd = cli_inbox_open_part(in->set->root_fd, path);
    if (fd == -EWOULDBLOCK) {
        if (in->lock_wanted == 0) {
            in->lock_wanted = now;
        }
        if (now - in->lock_wanted > lock_wait_max) {
            cli_incoming_fail(in, CLI_TRANSFER_CODE_BUSY, in->cursor,
                              "'%s' is being received in another transfer", path);
        }
        wish(in, stat, now);
        return false;
    }
    if (fd < 0) {
        cli_incoming_fail(in, cli_incoming_write_code(-fd), in->cursor, "cannot open '%s.part': %s",
                          path, cli_text_errno(-fd));
        return false;
    }
    in->lock_wanted = 0;
    in->hashing_fd = fd;
    return true;
}

static void start_candidate(struct cli_incoming *in, bool is_final, const struct stat *stat)
{
    in->candidate = (struct cli_partial){.length = (uint64_t)stat->st_size,
                                         .changed = stat->st_mtim,
                                         .index = in->cursor,
                                         .is_final = is_final};
    sha256_init(&in->candidate.hash);
    in->hashed_bytes = 0;
}

/* Looks for bytes of the file at cursor. Moves the cursor on, or starts hashing; false to wait. */
static bool examine_file(struct cli_incoming *in, weir_nsec now)
{
    const struct cli_entry *entry = &in->manifest.entries[in->cursor];
    const char *path = cli_manifest_path(&in->manifest, in->cursor);
    struct stat stat;
    if (in->is_offering && entry->size > 0 &&
        cli_inbox_stat(in->set->root_fd, path, false, &stat) == 0 &&
        (uint64_t)stat.st_size == entry->size && stat.st_mtim.tv_sec == entry->mtime &&
        stat.st_mtim.tv_nsec == (long)entry->mtime_ns) {
        int fd = cli_inbox_open(in->set->root_fd, path);
        if (fd >= 0) {
            start_candidate(in, true, &stat);
            in->hashing_fd = fd;
            return true;
        }
    }
    if (cli_inbox_stat(in->set->root_fd, path, true, &stat) == 0) {
        if (!open_part(in, path, &stat, now)) {
            return false;
        }
        if (in->is_offering && stat.st_size > 0 && (uint64_t)stat.st_size <= entry->size) {
            start_candidate(in, false, &stat);
            return true;
        }
        close(in->hashing_fd); /* the lock was free: that is all that mattered */
        in->hashing_fd = -1;
    }
    in->cursor++;
    return true;
}

static bool keep_candidate(struct cli_incoming *in)
{
    if (in->partials_count == in->partials_capacity) {
        uint32_t capacity = in->partials_capacity == 0 ? 16 : in->partials_capacity * 2;
        void *partials = reallocarray(in->partials, capacity, sizeof(*in->partials));
        if (partials == NULL) {
            return false; /* not offered: the file is sent again from its start */
        }
        in->partials = partials;
        in->partials_capacity = capacity;
    }
    in->partials[in->partials_count++] = in->candidate;
    return true;
}

/* Hashes a piece; at the end the candidate becomes an offer, unless the file shrank meanwhile. */
static void hash_piece(struct cli_incoming *in)
{
    uint8_t *piece = in->set->piece;
    uint64_t rest = in->candidate.length - in->hashed_bytes;
    size_t wanted =
        rest < CLI_INCOMING_PIECE_BYTES ? (size_t)rest : (size_t)CLI_INCOMING_PIECE_BYTES;
    ssize_t got = pread(in->hashing_fd, piece, wanted, (off_t)in->hashed_bytes);
    if (got > 0) {
        sha256_update(&in->candidate.hash, (size_t)got, piece);
        in->hashed_bytes += (uint64_t)got;
    }
    if (got > 0 && in->hashed_bytes < in->candidate.length) {
        return;
    }
    close(in->hashing_fd);
    in->hashing_fd = -1;
    in->is_offer_ready = got > 0 && keep_candidate(in);
    if (!in->is_offer_ready) {
        in->cursor++;
    }
}

static bool send_offer(struct cli_incoming *in)
{
    struct sha256_ctx copy = in->candidate.hash; /* the digest call resets it */
    struct cli_transfer_message offer = {
        .type = CLI_TRANSFER_OFFER,
        .offer = {.index = in->candidate.index, .length = in->candidate.length}};
    sha256_digest(&copy, CLI_TRANSFER_HASH_BYTES, offer.offer.hash);
    if (!cli_incoming_send(in, &offer)) {
        return false;
    }
    in->is_offer_ready = false;
    in->cursor++;
    return true;
}

static bool prepare_entry(struct cli_incoming *in, weir_nsec now)
{
    if (in->manifest.entries[in->cursor].kind == CLI_TRANSFER_KIND_FILE) {
        return examine_file(in, now);
    }
    const char *path = cli_manifest_path(&in->manifest, in->cursor);
    int result = cli_inbox_make_directory(in->set->root_fd, path);
    if (result < 0) {
        cli_incoming_fail(in, cli_incoming_write_code(-result), in->cursor,
                          "cannot make the directory '%s': %s", path, cli_text_errno(-result));
        return false;
    }
    in->cursor++;
    return true;
}

bool cli_incoming_prepare(struct cli_incoming *in, weir_nsec now)
{
    if (in->hashing_fd >= 0) {
        hash_piece(in);
        return true;
    }
    if (in->is_offer_ready) {
        return send_offer(in);
    }
    for (uint32_t i = 0; i < ENTRIES_PER_STEP && in->cursor < in->manifest.count; i++) {
        if (!prepare_entry(in, now)) {
            return false;
        }
        if (in->hashing_fd >= 0) {
            return true;
        }
    }
    if (in->cursor < in->manifest.count) {
        return true;
    }
    if (!cli_incoming_send(in, &(struct cli_transfer_message){.type = CLI_TRANSFER_READY})) {
        return false;
    }
    in->stage = CLI_INCOMING_RECEIVING;
    cli_progress_start(&in->progress, "receiving", in->manifest.total_bytes, now);
    return true;
}
