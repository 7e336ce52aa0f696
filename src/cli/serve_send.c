/* SPDX-License-Identifier: MIT */
/*
 * serve_send.c - answers out: a short one is copied with its head, a long one leaves in pieces that
 * are read when there is room for them.
 *
 * Files are read, not mapped: one that is cut short while it is sent must not end the program.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/serve_internal.h"

/* RFC 9110 6.4.1, 8.6: these have no body, 304 may do without Content-Length. */
static bool is_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* false: it does not fit, which takes a very long Location. */
static bool write_out(const struct cli_serve *serve, struct cli_slot *slot,
                      struct cli_http_response *response, int fd)
{
    char text[64] = "";
    slot->state = CLI_SLOT_SENDING;
    slot->status = response->status;
    slot->is_out_sent = false;
    slot->body_bytes = 0;
    slot->fd = fd;
    slot->is_kept = slot->is_kept && !serve->is_stopping;
    response->is_kept = slot->is_kept;
    response->is_old = slot->is_old;
    if (fd < 0 && !response->has_length && !is_bodiless(response->status)) {
        response->type = "text/plain; charset=utf-8";
        response->has_length = true;
        response->body_bytes = (uint64_t)snprintf(text, sizeof(text), "%d %s\n", response->status,
                                                  cli_http_status_text(response->status));
    }
    slot->out_bytes = (uint32_t)cli_http_write_head(response, (int64_t)time(NULL), slot->out,
                                                    sizeof(slot->out) - sizeof(text));
    if (slot->out_bytes == 0) {
        return false;
    }
    if (!slot->is_head) {
        memcpy(slot->out + slot->out_bytes, text, strlen(text));
        slot->out_bytes += (uint32_t)strlen(text);
    }
    return true;
}

void cli_serve_respond(struct cli_serve *serve, struct cli_slot *slot,
                       struct cli_http_response *response, int fd)
{
    struct cli_http_response too_long = {.status = 414};
    if (!write_out(serve, slot, response, fd)) {
        (void)write_out(serve, slot, &too_long, -1);
    }
    cli_serve_progress(serve, slot);
}

void cli_serve_respond_status(struct cli_serve *serve, struct cli_slot *slot, int status)
{
    struct cli_http_response response = {.status = status};
    if (status == 405) {
        response.allow = serve->config.is_upload ? "GET, HEAD, OPTIONS, PUT" : "GET, HEAD, OPTIONS";
    }
    slot->file_at = 0;
    slot->file_end = 0;
    cli_serve_respond(serve, slot, &response, -1);
}

/* --- out -------------------------------------------------------------------------------------- */

static void truncated(struct cli_serve *serve, struct cli_slot *slot)
{
    serve->stats.truncated++;
    cli_log_answer(serve, slot);
    cli_serve_abort(serve, slot); /* RFC 9112 8: so that it cannot be taken for complete */
}

/* The head, and the file with it when both are short. false: it has to wait, or it failed. */
static bool send_start(struct cli_serve *serve, struct cli_slot *slot)
{
    const uint64_t left = slot->file_end - slot->file_at;
    size_t length = slot->out_bytes;
    const char *data = slot->out;
    bool is_whole = left > 0 && left <= sizeof(serve->scratch) - length;
    if (is_whole) {
        memcpy(serve->scratch, slot->out, length);
        if (pread(slot->fd, serve->scratch + length, (size_t)left, (off_t)slot->file_at) !=
            (ssize_t)left) {
            truncated(serve, slot);
            return false;
        }
        data = serve->scratch;
        length += (size_t)left;
    }
    enum weir_status status = weir_tcp_send(serve->config.tcp, slot->conn, data, length);
    if (status == WEIR_ERR_CLOSED) { /* ended meanwhile; CLOSED is on its way */
        cli_serve_abort(serve, slot);
    }
    if (status != WEIR_OK) {
        return false;
    }
    slot->is_out_sent = true;
    if (is_whole) {
        slot->file_at = slot->file_end;
        slot->body_bytes += left;
    }
    return true;
}

/* One piece. false: it has to wait, or it failed. */
static bool send_chunk(struct cli_serve *serve, struct cli_slot *slot)
{
    const uint64_t left = slot->file_end - slot->file_at;
    const size_t wanted = left < CLI_SERVE_CHUNK_BYTES ? (size_t)left : CLI_SERVE_CHUNK_BYTES;
    struct cli_chunk *chunk = cli_chunk_take(serve, slot);
    if (chunk == NULL) {
        return false;
    }
    ssize_t n = pread(slot->fd, cli_chunk_bytes(serve, chunk), wanted, (off_t)slot->file_at);
    if (n <= 0) {
        cli_chunk_give(serve, chunk);
        truncated(serve, slot);
        return false;
    }
    chunk->parcel.length = (uint32_t)n;
    enum weir_status status = weir_tcp_send_parcel(serve->config.tcp, slot->conn, &chunk->parcel);
    if (status != WEIR_OK) {
        cli_chunk_give(serve, chunk);
        if (status == WEIR_ERR_CLOSED) {
            cli_serve_abort(serve, slot);
        }
        return false;
    }
    slot->file_at += (uint64_t)n;
    slot->body_bytes += (uint64_t)n;
    return true;
}

void cli_serve_pump(struct cli_serve *serve, struct cli_slot *slot)
{
    if (!slot->is_out_sent && !send_start(serve, slot)) {
        return;
    }
    while (slot->file_at < slot->file_end) {
        if (!send_chunk(serve, slot)) {
            return;
        }
    }
    if (slot->fd >= 0) {
        (void)close(slot->fd);
        slot->fd = -1;
    }
    cli_log_answer(serve, slot);
    if (!slot->is_kept) {
        cli_serve_finish(serve, slot);
        return;
    }
    slot->state = CLI_SLOT_HEAD;
    if (slot->chunks == 0) {
        slot->deadline = WEIR_NEVER;
    }
}
