/* SPDX-License-Identifier: MIT */
/*
 * transfer_wire.c - the messages of the file transfer, to and from bytes.
 *
 * Spec: docs/file-transfer.md. All integers in network order.
 */
#include "cli/transfer_wire.h"

#include <string.h>

#include "base/bytes.h"

enum {
    MAGIC_BYTES = 8,
    ENTRY_HEADER_BYTES = 25,
    FAILED_HEADER_BYTES = 6,
    MANIFEST_LAST = 1,
    MANIFEST_FRESH = 2,
    MODE_MAX = 0777,
    NANOSECONDS_MAX = 999999999
};

static const uint8_t magic[MAGIC_BYTES] = {'w', 'e', 'i', 'r', 'f', 'i', 'l', 'e'};

/* --- decode ----------------------------------------------------------------------------------- */

/* Later versions may append to HELLO and WELCOME, so longer ones pass. */
static bool decode_hello(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length < MAGIC_BYTES + 4 || memcmp(bytes.data, magic, MAGIC_BYTES) != 0) {
        return false;
    }
    message->hello.version_min = weir_load16(bytes.data + MAGIC_BYTES);
    message->hello.version_max = weir_load16(bytes.data + MAGIC_BYTES + 2);
    return message->hello.version_min <= message->hello.version_max;
}

static bool decode_welcome(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length < 2) {
        return false;
    }
    message->welcome.version = weir_load16(bytes.data);
    return true;
}

static bool decode_manifest(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length < 1 || bytes.length > CLI_TRANSFER_CHUNK_BYTES_MAX || bytes.data[0] > 3) {
        return false;
    }
    message->manifest.is_last = (bytes.data[0] & MANIFEST_LAST) != 0;
    message->manifest.is_fresh = (bytes.data[0] & MANIFEST_FRESH) != 0;
    message->manifest.entries = weir_span_of(bytes.data + 1, bytes.length - 1);
    return true;
}

static bool decode_offer(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length != 12 + CLI_TRANSFER_HASH_BYTES) {
        return false;
    }
    message->offer.index = weir_load32(bytes.data);
    message->offer.length = weir_load64(bytes.data + 4);
    memcpy(message->offer.hash, bytes.data + 12, CLI_TRANSFER_HASH_BYTES);
    return true;
}

static bool decode_file(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length != 12) {
        return false;
    }
    message->file.index = weir_load32(bytes.data);
    message->file.offset = weir_load64(bytes.data + 4);
    return true;
}

static bool decode_data(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length <= 8 || bytes.length > 8 + CLI_TRANSFER_DATA_BYTES_MAX) {
        return false;
    }
    message->data.offset = weir_load64(bytes.data);
    message->data.bytes = weir_span_of(bytes.data + 8, bytes.length - 8);
    return true;
}

static bool decode_file_end(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length != 4 + CLI_TRANSFER_HASH_BYTES) {
        return false;
    }
    message->file_end.index = weir_load32(bytes.data);
    memcpy(message->file_end.hash, bytes.data + 4, CLI_TRANSFER_HASH_BYTES);
    return true;
}

static bool decode_done(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length != 4) {
        return false;
    }
    message->done.files = weir_load32(bytes.data);
    return true;
}

static bool decode_failed(struct weir_span bytes, struct cli_transfer_message *message)
{
    if (bytes.length < FAILED_HEADER_BYTES - 1 ||
        bytes.length > FAILED_HEADER_BYTES - 1 + CLI_TRANSFER_TEXT_BYTES_MAX) {
        return false;
    }
    message->failed.code = bytes.data[0];
    message->failed.index = weir_load32(bytes.data + 1);
    message->failed.text = weir_span_of(bytes.data + 5, bytes.length - 5);
    return true;
}

static bool decode_empty(struct weir_span bytes, struct cli_transfer_message *message)
{
    (void)message;
    return bytes.length == 0;
}

enum weir_status cli_transfer_decode(struct weir_span bytes, struct cli_transfer_message *message)
{
    static bool (*const decoders[])(struct weir_span, struct cli_transfer_message *) = {
        [CLI_TRANSFER_HELLO] = decode_hello,       [CLI_TRANSFER_WELCOME] = decode_welcome,
        [CLI_TRANSFER_MANIFEST] = decode_manifest, [CLI_TRANSFER_OFFER] = decode_offer,
        [CLI_TRANSFER_READY] = decode_empty,       [CLI_TRANSFER_FILE] = decode_file,
        [CLI_TRANSFER_DATA] = decode_data,         [CLI_TRANSFER_FILE_END] = decode_file_end,
        [CLI_TRANSFER_DONE] = decode_done,         [CLI_TRANSFER_FINISH] = decode_empty,
        [CLI_TRANSFER_COMPLETE] = decode_empty,    [CLI_TRANSFER_FAILED] = decode_failed};
    if (bytes.length == 0 || bytes.data[0] == 0 || bytes.data[0] > CLI_TRANSFER_FAILED) {
        return WEIR_ERR_MALFORMED;
    }
    memset(message, 0, sizeof(*message));
    message->type = (enum cli_transfer_type)bytes.data[0];
    struct weir_span body = weir_span_of(bytes.data + 1, bytes.length - 1);
    return decoders[message->type](body, message) ? WEIR_OK : WEIR_ERR_MALFORMED;
}

enum weir_status cli_transfer_next_entry(struct weir_span *entries,
                                         struct cli_transfer_entry *entry)
{
    if (entries->length == 0) {
        return WEIR_AGAIN;
    }
    const uint8_t *at = entries->data;
    if (entries->length < ENTRY_HEADER_BYTES) {
        return WEIR_ERR_MALFORMED;
    }
    size_t path_length = weir_load16(at + 23);
    uint64_t seconds = weir_load64(at + 3);
    *entry =
        (struct cli_transfer_entry){.kind = (enum cli_transfer_kind)at[0],
                                    .mode = weir_load16(at + 1),
                                    .mtime_ns = weir_load32(at + 11),
                                    .size = weir_load64(at + 15),
                                    .path = weir_span_of(at + ENTRY_HEADER_BYTES, path_length)};
    memcpy(&entry->mtime, &seconds, sizeof(seconds)); /* two's complement */
    bool is_file = at[0] == CLI_TRANSFER_KIND_FILE;
    bool is_directory = at[0] == CLI_TRANSFER_KIND_DIRECTORY;
    /* off_t is signed: a file longer than INT64_MAX cannot exist. */
    if (!(is_file || is_directory) || (is_directory && entry->size != 0) ||
        entry->size > INT64_MAX || entry->mode > MODE_MAX || entry->mtime_ns > NANOSECONDS_MAX ||
        path_length > entries->length - ENTRY_HEADER_BYTES ||
        !cli_transfer_is_safe_path(entry->path)) {
        return WEIR_ERR_MALFORMED;
    }
    size_t taken = ENTRY_HEADER_BYTES + path_length;
    *entries = weir_span_of(at + taken, entries->length - taken);
    return WEIR_OK;
}

/* --- encode ----------------------------------------------------------------------------------- */

static size_t encode_hello(const struct cli_transfer_message *message, uint8_t *at)
{
    memcpy(at, magic, MAGIC_BYTES);
    weir_store16(at + MAGIC_BYTES, message->hello.version_min);
    weir_store16(at + MAGIC_BYTES + 2, message->hello.version_max);
    return MAGIC_BYTES + 4;
}

static size_t encode_offer(const struct cli_transfer_message *message, uint8_t *at)
{
    weir_store32(at, message->offer.index);
    weir_store64(at + 4, message->offer.length);
    memcpy(at + 12, message->offer.hash, CLI_TRANSFER_HASH_BYTES);
    return 12 + CLI_TRANSFER_HASH_BYTES;
}

static size_t encode_file(const struct cli_transfer_message *message, uint8_t *at)
{
    weir_store32(at, message->file.index);
    weir_store64(at + 4, message->file.offset);
    return 12;
}

static size_t encode_file_end(const struct cli_transfer_message *message, uint8_t *at)
{
    weir_store32(at, message->file_end.index);
    memcpy(at + 4, message->file_end.hash, CLI_TRANSFER_HASH_BYTES);
    return 4 + CLI_TRANSFER_HASH_BYTES;
}

static size_t encode_failed(const struct cli_transfer_message *message, uint8_t *at)
{
    size_t length = message->failed.text.length;
    if (length > CLI_TRANSFER_TEXT_BYTES_MAX) {
        length = CLI_TRANSFER_TEXT_BYTES_MAX;
    }
    at[0] = message->failed.code;
    weir_store32(at + 1, message->failed.index);
    if (length > 0) {
        memcpy(at + 5, message->failed.text.data, length);
    }
    return 5 + length;
}

size_t cli_transfer_encode(const struct cli_transfer_message *message, uint8_t *bytes)
{
    uint8_t *at = bytes + 1;
    bytes[0] = (uint8_t)message->type;
    switch (message->type) {
    case CLI_TRANSFER_HELLO:
        return 1 + encode_hello(message, at);
    case CLI_TRANSFER_WELCOME:
        weir_store16(at, message->welcome.version);
        return 3;
    case CLI_TRANSFER_MANIFEST:
        at[0] = (uint8_t)((message->manifest.is_last ? MANIFEST_LAST : 0) |
                          (message->manifest.is_fresh ? MANIFEST_FRESH : 0));
        return 2;
    case CLI_TRANSFER_OFFER:
        return 1 + encode_offer(message, at);
    case CLI_TRANSFER_FILE:
        return 1 + encode_file(message, at);
    case CLI_TRANSFER_DATA:
        weir_store64(at, message->data.offset);
        return CLI_TRANSFER_DATA_HEADER_BYTES;
    case CLI_TRANSFER_FILE_END:
        return 1 + encode_file_end(message, at);
    case CLI_TRANSFER_DONE:
        weir_store32(at, message->done.files);
        return 5;
    case CLI_TRANSFER_FAILED:
        return 1 + encode_failed(message, at);
    case CLI_TRANSFER_READY:
    case CLI_TRANSFER_FINISH:
    case CLI_TRANSFER_COMPLETE:
        return 1;
    }
    return 0;
}

size_t cli_transfer_encode_entry(const struct cli_transfer_entry *entry, uint8_t *bytes,
                                 size_t room)
{
    size_t length = ENTRY_HEADER_BYTES + entry->path.length;
    if (length > room) {
        return 0;
    }
    bytes[0] = (uint8_t)entry->kind;
    weir_store16(bytes + 1, entry->mode);
    weir_store64(bytes + 3, (uint64_t)entry->mtime);
    weir_store32(bytes + 11, entry->mtime_ns);
    weir_store64(bytes + 15, entry->size);
    weir_store16(bytes + 23, (uint16_t)entry->path.length);
    memcpy(bytes + ENTRY_HEADER_BYTES, entry->path.data, entry->path.length);
    return length;
}

/* --- paths and text --------------------------------------------------------------------------- */

static bool is_safe_name(const uint8_t *name, size_t length)
{
    if (length == 0 || length > CLI_TRANSFER_NAME_BYTES_MAX || memchr(name, 0, length) != NULL) {
        return false;
    }
    bool is_dots = name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
    return !is_dots;
}

bool cli_transfer_is_safe_path(struct weir_span path)
{
    if (path.length == 0 || path.length > CLI_TRANSFER_PATH_BYTES_MAX) {
        return false;
    }
    const uint8_t *at = path.data;
    const uint8_t *end = path.data + path.length;
    for (uint32_t depth = 0; depth < CLI_TRANSFER_DEPTH_MAX; depth++) {
        const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
        const uint8_t *name_end = slash == NULL ? end : slash;
        if (!is_safe_name(at, (size_t)(name_end - at))) {
            return false; /* also a leading, a trailing and a double slash */
        }
        if (slash == NULL) {
            return true;
        }
        at = slash + 1;
        if (at == end) {
            return false;
        }
    }
    return false;
}

char *cli_transfer_printable(struct weir_span text, char *out, size_t size)
{
    size_t length = text.length < size - 1 ? text.length : size - 1;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = text.data[i];
        out[i] = '?';
        if (byte >= 0x20 && byte < 0x7f) {
            memcpy(out + i, text.data + i, 1);
        }
    }
    out[length] = 0;
    return out;
}
