/* SPDX-License-Identifier: MIT */
/*
 * manifest.h - what one transfer consists of: files and directories, parents before children.
 *
 * Role: the sender fills it from the file system (walk.c), the receiver from MANIFEST messages;
 * both number the entries alike, from 0.
 * Memory: heap, bounded by CLI_TRANSFER_ENTRIES_MAX and CLI_TRANSFER_MANIFEST_BYTES_MAX.
 */
#ifndef WEIR_CLI_MANIFEST_H
#define WEIR_CLI_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/transfer_wire.h"

struct cli_entry {
    uint64_t size;
    int64_t mtime;
    uint32_t mtime_ns;
    uint32_t path_off; /* in text */
    uint16_t mode;
    uint8_t kind; /* enum cli_transfer_kind */
};

/* All zero is an empty one. */
struct cli_manifest {
    struct cli_entry *entries;
    uint32_t count, capacity;
    uint32_t files; /* entries that are regular files */
    char *text;     /* paths, zero-terminated, one after the other */
    uint32_t text_used, text_capacity;
    uint64_t total_bytes; /* of all files; at most INT64_MAX */
};

/* Appends a copy. entry's path must be safe. WEIR_ERR_FULL at a bound, WEIR_ERR_MEMORY. */
enum weir_status cli_manifest_add(struct cli_manifest *manifest,
                                  const struct cli_transfer_entry *entry);
/* Valid until the next add. */
const char *cli_manifest_path(const struct cli_manifest *manifest, uint32_t index);
/* Are all paths different, is each parent a directory listed earlier, is no NAME.part listed beside
 * NAME? If not, *bad is the entry at fault and *reason says what is wrong with it. */
enum weir_status cli_manifest_check(const struct cli_manifest *manifest, uint32_t *bad,
                                    const char **reason);
void cli_manifest_free(struct cli_manifest *manifest);

#endif
