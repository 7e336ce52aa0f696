/* SPDX-License-Identifier: MIT */
/*
 * fuzz_transfer.c - any bytes as a message of the file transfer: what decodes must encode to the
 * same bytes, and no path that passes may climb out.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/transfer_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The check written the other way round: no piece of the path between slashes is dangerous. */
static void check_path(struct weir_span path)
{
    size_t start = 0;
    for (size_t i = 0; i <= path.length; i++) {
        if (i < path.length && path.data[i] == 0) {
            abort();
        }
        if (i < path.length && path.data[i] != '/') {
            continue;
        }
        size_t length = i - start;
        const uint8_t *name = path.data + start;
        if (length == 0 || length > 250 || (length == 1 && name[0] == '.') ||
            (length == 2 && name[0] == '.' && name[1] == '.')) {
            abort();
        }
        start = i + 1;
    }
}

static void check_entries(struct weir_span entries)
{
    static uint8_t again[CLI_TRANSFER_CHUNK_BYTES_MAX];
    struct cli_transfer_entry entry;
    const uint8_t *before = entries.data;
    while (cli_transfer_next_entry(&entries, &entry) == WEIR_OK) {
        size_t length = (size_t)(entries.data - before);
        check_path(entry.path);
        if (cli_transfer_encode_entry(&entry, again, sizeof(again)) != length ||
            memcmp(again, before, length) != 0) {
            abort();
        }
        before = entries.data;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[CLI_TRANSFER_SMALL_BYTES_MAX];
    char text[64];
    struct cli_transfer_message message;
    /* A copy of exactly the message, so that a read past its end is seen. */
    uint8_t *copy = malloc(size + (size == 0));
    if (copy == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (cli_transfer_decode(weir_span_of(copy, size), &message) == WEIR_OK) {
        size_t length = cli_transfer_encode(&message, again);
        if (length > sizeof(again) || length > size || memcmp(again, copy, length) != 0) {
            abort();
        }
        if (message.type == CLI_TRANSFER_MANIFEST) {
            check_entries(message.manifest.entries);
        }
        if (message.type == CLI_TRANSFER_FAILED) {
            (void)cli_transfer_printable(message.failed.text, text, sizeof(text));
        }
    }
    (void)cli_transfer_is_safe_path(weir_span_of(copy, size));
    free(copy);
    return 0;
}
