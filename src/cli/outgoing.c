/* SPDX-License-Identifier: MIT */
/*
 * outgoing.c - the sending end of one file transfer: the conversation.
 *
 * Spec: docs/file-transfer.md.
 */
#include "cli/outgoing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE_BYTES_MIN = 64 /* below that a transfer would not end */
};

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

static bool send_bytes(struct cli_outgoing *out, const uint8_t *bytes, size_t length)
{
    enum weir_status status = cli_link_send(out->link, out->conn, &delivery, bytes, length);
    if (status == WEIR_ERR_TOO_LARGE) {
        cli_outgoing_shorten(out);
    }
    if (status != WEIR_OK) {
        return false;
    }
    out->queued_bytes += length;
    return true;
}

void cli_outgoing_shorten(struct cli_outgoing *out)
{
    out->piece_bytes /= 2;
    if (out->piece_bytes < PIECE_BYTES_MIN) {
        cli_outgoing_fail(out, CLI_TRANSFER_CODE_PROTOCOL,
                          "the receiver's window is too small; give both ends a larger --window "
                          "or --mtu");
    }
}

bool cli_outgoing_send(struct cli_outgoing *out, const struct cli_transfer_message *message)
{
    uint8_t bytes[CLI_TRANSFER_SMALL_BYTES_MAX];
    return send_bytes(out, bytes, cli_transfer_encode(message, bytes));
}

bool cli_outgoing_open(struct cli_outgoing *out, const struct cli_walk *walk, struct cli_link *link,
                       struct cli_conn *conn)
{
    out->walk = walk;
    out->link = link;
    out->conn = conn;
    out->piece_bytes = CLI_TRANSFER_DATA_BYTES_MAX;
    if (link->message_bytes_max < out->piece_bytes + CLI_TRANSFER_DATA_HEADER_BYTES) {
        out->piece_bytes =
            link->message_bytes_max > CLI_TRANSFER_DATA_HEADER_BYTES + PIECE_BYTES_MIN
                ? link->message_bytes_max - CLI_TRANSFER_DATA_HEADER_BYTES
                : PIECE_BYTES_MIN;
    }
    out->fd = -1;
    sha256_init(&out->list_hash);
    out->parcels = calloc(CLI_OUTGOING_SLOTS, sizeof(*out->parcels));
    out->free_slots = calloc(CLI_OUTGOING_SLOTS, sizeof(*out->free_slots));
    out->buffers = calloc(CLI_OUTGOING_SLOTS, CLI_OUTGOING_SLOT_BYTES);
    if (out->parcels == NULL || out->free_slots == NULL || out->buffers == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < CLI_OUTGOING_SLOTS; i++) {
        out->free_slots[out->free_count++] = i;
    }
    struct cli_transfer_message hello = {
        .type = CLI_TRANSFER_HELLO,
        .hello = {.version_min = CLI_TRANSFER_VERSION, .version_max = CLI_TRANSFER_VERSION}};
    return cli_outgoing_send(out, &hello);
}

static void close_source(struct cli_outgoing *out)
{
    if (out->fd >= 0) {
        close(out->fd);
        out->fd = -1;
    }
}

void cli_outgoing_close(struct cli_outgoing *out)
{
    close_source(out);
    free(out->parcels);
    free(out->free_slots);
    free(out->buffers);
    free(out->offers);
}

void cli_outgoing_fail(struct cli_outgoing *out, enum cli_transfer_code code, const char *format,
                       ...)
{
    char text[CLI_TRANSFER_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (out->stage == CLI_OUTGOING_FAILED || length < 0) {
        return;
    }
    cli_fail(CLI_FAILED, "%s", text);
    out->stage = CLI_OUTGOING_FAILED;
    close_source(out);
    if (out->conn == NULL) {
        return;
    }
    /* At once: the file data still queued is of no use to anybody. */
    cli_link_abort(out->link, out->conn, (uint32_t)code, text);
}

/* --- events ----------------------------------------------------------------------------------- */

static void break_protocol(struct cli_outgoing *out)
{
    cli_outgoing_fail(out, CLI_TRANSFER_CODE_PROTOCOL,
                      out->stage == CLI_OUTGOING_CONNECTING
                          ? "the peer is not weir recv"
                          : "the receiver sent a message out of turn");
}

static void on_offer(struct cli_outgoing *out, const struct cli_transfer_message *message)
{
    const struct cli_manifest *manifest = &out->walk->manifest;
    uint32_t index = message->offer.index;
    uint32_t least = out->offers_count == 0 ? 0 : out->offers[out->offers_count - 1].index + 1;
    if (out->is_ready || out->is_fresh || index < least || index >= manifest->count ||
        manifest->entries[index].kind != CLI_TRANSFER_KIND_FILE || message->offer.length == 0 ||
        message->offer.length > manifest->entries[index].size) {
        break_protocol(out);
        return;
    }
    if (out->offers_count == out->offers_capacity) {
        uint32_t capacity = out->offers_capacity == 0 ? 16 : out->offers_capacity * 2;
        void *offers = reallocarray(out->offers, capacity, sizeof(*out->offers));
        if (offers == NULL) {
            return; /* not taken up: the file is sent from its start */
        }
        out->offers = offers;
        out->offers_capacity = capacity;
    }
    struct cli_offer *offer = &out->offers[out->offers_count++];
    *offer = (struct cli_offer){.length = message->offer.length, .index = index};
    memcpy(offer->hash, message->offer.hash, sizeof(offer->hash));
}

static void on_failed(struct cli_outgoing *out, const struct cli_transfer_message *message)
{
    char text[CLI_TRANSFER_TEXT_BYTES_MAX + 1];
    cli_transfer_printable(message->failed.text, text, sizeof(text));
    bool is_resumable = message->failed.code == CLI_TRANSFER_CODE_SPACE ||
                        message->failed.code == CLI_TRANSFER_CODE_STOPPED;
    cli_fail(CLI_FAILED, "the receiver says: %s%s", text,
             is_resumable ? "; the same command will resume later" : "");
    out->stage = CLI_OUTGOING_FAILED;
    cli_link_abort(out->link, out->conn, 0, "");
}

static void on_complete(struct cli_outgoing *out)
{
    cli_link_conn_stats(out->link, out->conn, &out->stats);
    out->stage = CLI_OUTGOING_COMPLETE;
    cli_link_end(out->link, out->conn, 0, "");
}

static void on_message(struct cli_outgoing *out, struct weir_span bytes)
{
    struct cli_transfer_message message;
    bool is_decoded = cli_transfer_decode(bytes, &message) == WEIR_OK;
    if (out->stage == CLI_OUTGOING_FAILED || out->stage == CLI_OUTGOING_COMPLETE) {
        return;
    }
    if (is_decoded && message.type == CLI_TRANSFER_FAILED) {
        on_failed(out, &message);
    } else if (is_decoded && message.type == CLI_TRANSFER_WELCOME &&
               out->stage == CLI_OUTGOING_CONNECTING &&
               message.welcome.version == CLI_TRANSFER_VERSION) {
        out->stage = CLI_OUTGOING_MANIFEST;
    } else if (is_decoded && message.type == CLI_TRANSFER_OFFER &&
               out->stage == CLI_OUTGOING_OFFERS) {
        on_offer(out, &message);
    } else if (is_decoded && message.type == CLI_TRANSFER_READY &&
               out->stage == CLI_OUTGOING_OFFERS && !out->is_ready) {
        out->is_ready = true;
    } else if (is_decoded && message.type == CLI_TRANSFER_COMPLETE &&
               out->stage == CLI_OUTGOING_WAITING) {
        on_complete(out);
    } else if (!is_decoded || message.type != CLI_TRANSFER_DONE ||
               out->stage < CLI_OUTGOING_SENDING) {
        break_protocol(out);
    }
}

static void on_closed(struct cli_outgoing *out, const struct cli_event *event)
{
    char text[CLI_CLOSED_TEXT_BYTES];
    char waited[32];
    out->conn = NULL;
    if (out->stage == CLI_OUTGOING_COMPLETE || out->stage == CLI_OUTGOING_FAILED) {
        return;
    }
    if (event->closed.cause == CLI_CAUSE_TIMEOUT && !out->is_opened) {
        cli_fail(CLI_FAILED, "no answer within %s; is weir recv running there%s?",
                 cli_text_duration(out->timeout, waited), out->link->hint);
    } else {
        cli_fail(CLI_FAILED, "%s%s", cli_text_closed(event, text),
                 out->is_opened ? "; the same command will resume later" : "");
    }
    out->stage = CLI_OUTGOING_FAILED;
}

static void on_parcel_done(struct cli_outgoing *out, const struct cli_event *event)
{
    struct weir_parcel *parcel = event->parcel.parcel;
    out->free_slots[out->free_count++] = (uint32_t)(parcel - out->parcels);
    if (event->parcel.outcome == WEIR_OUTCOME_ACKED) {
        out->acked_bytes +=
            parcel->length - out->link->front_bytes - CLI_TRANSFER_DATA_HEADER_BYTES;
    }
}

void cli_outgoing_on_event(struct cli_outgoing *out, const struct cli_event *event, weir_nsec now)
{
    switch (event->type) {
    case CLI_EVENT_OPENED:
        out->is_opened = true;
        break;
    case CLI_EVENT_MESSAGE:
        on_message(out, event->message.data);
        break;
    case CLI_EVENT_PARCEL_DONE:
        on_parcel_done(out, event);
        cli_progress_update(&out->progress, out->resumed_bytes + out->acked_bytes, now);
        break;
    case CLI_EVENT_CLOSED:
        on_closed(out, event);
        break;
    case CLI_EVENT_REQUEST:
    case CLI_EVENT_WRITABLE:
    default:
        break;
    }
}

/* --- work between events ---------------------------------------------------------------------- */

/* Sends one MANIFEST message, as full as it gets. False when the queue is full. */
static bool send_manifest(struct cli_outgoing *out)
{
    static uint8_t bytes[CLI_TRANSFER_CHUNK_BYTES_MAX];
    const struct cli_manifest *manifest = &out->walk->manifest;
    struct cli_transfer_message message = {.type = CLI_TRANSFER_MANIFEST,
                                           .manifest = {.is_fresh = out->is_fresh}};
    size_t used = cli_transfer_encode(&message, bytes);
    uint32_t next = out->manifest_next;
    for (; next < manifest->count; next++) {
        const struct cli_entry *from = &manifest->entries[next];
        const char *path = cli_manifest_path(manifest, next);
        struct cli_transfer_entry entry = {.kind = (enum cli_transfer_kind)from->kind,
                                           .mode = from->mode,
                                           .mtime = from->mtime,
                                           .mtime_ns = from->mtime_ns,
                                           .size = from->size,
                                           .path = weir_span_of(path, strlen(path))};
        size_t length = cli_transfer_encode_entry(&entry, bytes + used, sizeof(bytes) - used);
        if (length == 0 ||
            (used > CLI_TRANSFER_SMALL_BYTES_MAX && used + length > out->piece_bytes)) {
            break;
        }
        used += length;
    }
    message.manifest.is_last = next == manifest->count;
    (void)cli_transfer_encode(&message, bytes);
    if (!send_bytes(out, bytes, used)) {
        return false;
    }
    out->manifest_next = next;
    if (message.manifest.is_last) {
        out->stage = CLI_OUTGOING_OFFERS;
    }
    return true;
}

bool cli_outgoing_step(struct cli_outgoing *out, weir_nsec now)
{
    if (out->conn == NULL) {
        return false;
    }
    if (out->stage == CLI_OUTGOING_MANIFEST) {
        return send_manifest(out);
    }
    if (out->stage == CLI_OUTGOING_OFFERS) {
        if (cli_outgoing_verify(out)) {
            return true;
        }
        if (out->is_ready && out->stage == CLI_OUTGOING_OFFERS) {
            out->stage = CLI_OUTGOING_SENDING;
            cli_progress_start(&out->progress, "sending", out->walk->manifest.total_bytes, now);
        }
    }
    if (out->stage == CLI_OUTGOING_SENDING) {
        return cli_outgoing_send_files(out, now);
    }
    return false;
}
