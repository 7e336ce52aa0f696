/* SPDX-License-Identifier: MIT */
/*
 * outgoing_files.c - the sending end of one file transfer: reading, hashing and sending the files.
 *
 * Role: bytes go from pread's buffer, which is a parcel, into the outgoing frames without another
 * copy; as many buffers as there are slots are on their way at once. mmap was rejected: a file that
 * is cut short while it is sent would kill the program.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/outgoing.h"

enum {
    HASH_STEP_BYTES = 1 << 20,
    PARCELS_PER_STEP = 32 /* 2 MiB read and hashed between two rounds of the loop */
};

/* Opens entry index and checks that it is still what the manifest says. Fails the transfer else. */
static bool open_source(struct cli_outgoing *out, uint32_t index)
{
    const char *path = cli_manifest_path(&out->walk->manifest, index);
    struct stat stat;
    int fd = cli_walk_open_file(out->walk, index);
    if (fd < 0) {
        cli_outgoing_fail(out, CLI_TRANSFER_CODE_SOURCE, "cannot read '%s': %s", path,
                          cli_text_errno(-fd));
        return false;
    }
    out->fd = fd;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
        (uint64_t)stat.st_size != out->walk->manifest.entries[index].size) {
        cli_outgoing_fail(out, CLI_TRANSFER_CODE_SOURCE,
                          "'%s' changed while it was sent; send it again", path);
        return false;
    }
    return true;
}

/* Reads exactly length bytes at offset; a shorter file or an error fails the transfer. */
static bool read_source(struct cli_outgoing *out, uint32_t index, uint8_t *bytes, size_t length,
                        uint64_t offset)
{
    const char *path = cli_manifest_path(&out->walk->manifest, index);
    while (length > 0) {
        ssize_t got = pread(out->fd, bytes, length, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            cli_outgoing_fail(out, CLI_TRANSFER_CODE_SOURCE,
                              got < 0 ? "cannot read '%s': %s"
                                      : "'%s' changed while it was sent (%s); send it again",
                              path, got < 0 ? cli_text_errno(errno) : "it became shorter");
            return false;
        }
        bytes += got;
        length -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

/* --- offers ----------------------------------------------------------------------------------- */

static void finish_offer(struct cli_outgoing *out, struct cli_offer *offer)
{
    uint8_t digest[CLI_TRANSFER_HASH_BYTES];
    struct sha256_ctx copy = out->hash; /* the digest call resets it */
    sha256_digest(&copy, sizeof(digest), digest);
    offer->is_accepted = memcmp(digest, offer->hash, sizeof(digest)) == 0;
    offer->context = out->hash;
    close(out->fd);
    out->fd = -1;
    out->is_prefix_open = false;
    out->offers_checked++;
}

bool cli_outgoing_verify(struct cli_outgoing *out)
{
    static uint8_t piece[HASH_STEP_BYTES];
    if (out->offers_checked == out->offers_count) {
        return false;
    }
    struct cli_offer *offer = &out->offers[out->offers_checked];
    if (!out->is_prefix_open) {
        if (!open_source(out, offer->index)) {
            return false;
        }
        out->is_prefix_open = true;
        out->offset = 0;
        sha256_init(&out->hash);
    }
    uint64_t rest = offer->length - out->offset;
    size_t wanted = rest < sizeof(piece) ? (size_t)rest : sizeof(piece);
    if (!read_source(out, offer->index, piece, wanted, out->offset)) {
        return false;
    }
    sha256_update(&out->hash, wanted, piece);
    out->offset += wanted;
    if (out->offset == offer->length) {
        finish_offer(out, offer);
    }
    return true;
}

/* The accepted offer for entry index, or NULL. Both lists are in the manifest's order. */
static const struct cli_offer *take_offer(struct cli_outgoing *out, uint32_t index)
{
    while (out->offers_taken < out->offers_count && out->offers[out->offers_taken].index < index) {
        out->offers_taken++;
    }
    if (out->offers_taken == out->offers_count) {
        return NULL;
    }
    const struct cli_offer *offer = &out->offers[out->offers_taken];
    return offer->index == index && offer->is_accepted ? offer : NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

static bool start_file(struct cli_outgoing *out)
{
    const struct cli_offer *offer = take_offer(out, out->next);
    if (!out->is_file_open) {
        if (!open_source(out, out->next)) {
            return false;
        }
        out->is_file_open = true;
        out->size = out->walk->manifest.entries[out->next].size;
        out->offset = offer == NULL ? 0 : offer->length;
        sha256_init(&out->hash);
        if (offer != NULL) {
            out->hash = offer->context;
        }
    }
    struct cli_transfer_message file = {.type = CLI_TRANSFER_FILE,
                                        .file = {.index = out->next, .offset = out->offset}};
    if (!cli_outgoing_send(out, &file)) {
        return false;
    }
    out->is_file_announced = true;
    out->resumed_bytes += out->offset;
    out->progress.base_bytes = out->resumed_bytes;
    return true;
}

/* Fills a free slot with the next bytes of the file and lends it to the connection. */
static bool send_piece(struct cli_outgoing *out)
{
    static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};
    if (out->free_count == 0) {
        return false;
    }
    uint32_t slot = out->free_slots[out->free_count - 1];
    uint8_t *buffer =
        out->buffers + (size_t)slot * CLI_OUTGOING_SLOT_BYTES + out->link->front_bytes;
    uint64_t rest = out->size - out->offset;
    size_t length = rest < out->piece_bytes ? (size_t)rest : out->piece_bytes;
    struct cli_transfer_message data = {.type = CLI_TRANSFER_DATA, .data = {.offset = out->offset}};
    size_t header = cli_transfer_encode(&data, buffer);
    if (!read_source(out, out->next, buffer + header, length, out->offset)) {
        return false;
    }
    struct weir_parcel *parcel = &out->parcels[slot];
    *parcel = (struct weir_parcel){.data = buffer - out->link->front_bytes,
                                   .length = (uint32_t)(out->link->front_bytes + header + length)};
    cli_link_front(out->link, buffer - out->link->front_bytes, header + length);
    enum weir_status status = cli_link_send_parcel(out->link, out->conn, &delivery, parcel);
    if (status == WEIR_ERR_TOO_LARGE) {
        cli_outgoing_shorten(out);
        return out->stage == CLI_OUTGOING_SENDING;
    }
    if (status != WEIR_OK) {
        return false; /* read again later: rare, the slots are fewer than the engine's */
    }
    out->free_count--;
    sha256_update(&out->hash, length, buffer + header);
    out->offset += length;
    out->queued_bytes += parcel->length;
    return true;
}

static void add_to_list(struct cli_outgoing *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hex[2 * CLI_TRANSFER_HASH_BYTES];
    const char *path = cli_manifest_path(&out->walk->manifest, out->next);
    for (size_t i = 0; i < CLI_TRANSFER_HASH_BYTES; i++) {
        hex[2 * i] = (uint8_t)digits[out->digest[i] >> 4];
        hex[2 * i + 1] = (uint8_t)digits[out->digest[i] & 15];
    }
    sha256_update(&out->list_hash, sizeof(hex), hex);
    sha256_update(&out->list_hash, 2, (const uint8_t *)"  ");
    sha256_update(&out->list_hash, strlen(path), (const uint8_t *)path);
    sha256_update(&out->list_hash, 1, (const uint8_t *)"\n");
}

/* A file that became shorter has failed the transfer; one that grew, or was written to, arrives as
 * it was read. */
static void warn_if_changed(const struct cli_outgoing *out)
{
    const struct cli_entry *entry = &out->walk->manifest.entries[out->next];
    struct stat stat;
    if (fstat(out->fd, &stat) == 0 &&
        ((uint64_t)stat.st_size != entry->size || stat.st_mtim.tv_sec != entry->mtime ||
         stat.st_mtim.tv_nsec != (long)entry->mtime_ns)) {
        cli_warn("'%s' changed while it was sent; send it again for what is new",
                 cli_manifest_path(&out->walk->manifest, out->next));
    }
}

static bool end_file(struct cli_outgoing *out)
{
    struct sha256_ctx copy = out->hash; /* the digest call resets it; the queue may be full */
    struct cli_transfer_message end = {.type = CLI_TRANSFER_FILE_END,
                                       .file_end = {.index = out->next}};
    sha256_digest(&copy, sizeof(end.file_end.hash), end.file_end.hash);
    if (!cli_outgoing_send(out, &end)) {
        return false;
    }
    memcpy(out->digest, end.file_end.hash, sizeof(out->digest));
    add_to_list(out);
    warn_if_changed(out);
    close(out->fd);
    out->fd = -1;
    out->is_file_open = out->is_file_announced = false;
    out->next++;
    return true;
}

/* One message of the file at next; false when it has to wait or failed. */
static bool send_one(struct cli_outgoing *out)
{
    if (out->walk->manifest.entries[out->next].kind != CLI_TRANSFER_KIND_FILE) {
        out->next++;
        return true;
    }
    if (!out->is_file_announced) {
        return start_file(out);
    }
    return out->offset < out->size ? send_piece(out) : end_file(out);
}

bool cli_outgoing_send_files(struct cli_outgoing *out, weir_nsec now)
{
    cli_progress_update(&out->progress, out->resumed_bytes + out->acked_bytes, now);
    for (uint32_t i = 0; i < PARCELS_PER_STEP && out->next < out->walk->manifest.count; i++) {
        if (!send_one(out)) {
            return false;
        }
    }
    if (out->next < out->walk->manifest.count) {
        return true;
    }
    if (!cli_outgoing_send(out, &(struct cli_transfer_message){.type = CLI_TRANSFER_FINISH})) {
        return false;
    }
    out->stage = CLI_OUTGOING_WAITING;
    return false;
}
