/* SPDX-License-Identifier: MIT */
/*
 * manifest.c - what one transfer consists of.
 */
#include "cli/manifest.h"

#include <stdlib.h>
#include <string.h>

/* Doubles *capacity until it holds wanted elements of size bytes. */
static void *grow(void *old, uint32_t *capacity, uint32_t wanted, size_t size)
{
    uint32_t next = *capacity == 0 ? 64 : *capacity;
    while (next < wanted) {
        next *= 2; /* wanted is at most 2^25: no overflow */
    }
    void *grown = reallocarray(old, next, size);
    if (grown != NULL) {
        *capacity = next;
    }
    return grown;
}

static bool reserve(struct cli_manifest *manifest, uint32_t path_bytes)
{
    if (manifest->count == manifest->capacity) {
        void *entries = grow(manifest->entries, &manifest->capacity, manifest->count + 1,
                             sizeof(struct cli_entry));
        if (entries == NULL) {
            return false;
        }
        manifest->entries = entries;
    }
    if (manifest->text_used + path_bytes > manifest->text_capacity) {
        void *text =
            grow(manifest->text, &manifest->text_capacity, manifest->text_used + path_bytes, 1);
        if (text == NULL) {
            return false;
        }
        manifest->text = text;
    }
    return true;
}

enum weir_status cli_manifest_add(struct cli_manifest *manifest,
                                  const struct cli_transfer_entry *entry)
{
    uint32_t path_bytes = (uint32_t)entry->path.length + 1;
    if (manifest->count >= CLI_TRANSFER_ENTRIES_MAX ||
        manifest->text_used + path_bytes > CLI_TRANSFER_MANIFEST_BYTES_MAX ||
        entry->size > INT64_MAX - manifest->total_bytes) {
        return WEIR_ERR_FULL;
    }
    if (!reserve(manifest, path_bytes)) {
        return WEIR_ERR_MEMORY;
    }
    manifest->entries[manifest->count++] = (struct cli_entry){.size = entry->size,
                                                              .mtime = entry->mtime,
                                                              .mtime_ns = entry->mtime_ns,
                                                              .path_off = manifest->text_used,
                                                              .mode = entry->mode,
                                                              .kind = (uint8_t)entry->kind};
    memcpy(manifest->text + manifest->text_used, entry->path.data, entry->path.length);
    manifest->text[manifest->text_used + entry->path.length] = 0;
    manifest->text_used += path_bytes;
    manifest->total_bytes += entry->size;
    manifest->files += entry->kind == CLI_TRANSFER_KIND_FILE;
    return WEIR_OK;
}

const char *cli_manifest_path(const struct cli_manifest *manifest, uint32_t index)
{
    return manifest->text + manifest->entries[index].path_off;
}

void cli_manifest_free(struct cli_manifest *manifest)
{
    free(manifest->entries);
    free(manifest->text);
    *manifest = (struct cli_manifest){0};
}

/* --- check ------------------------------------------------------------------------------------ */

/* One path and where it is listed, for sorting and searching. */
struct named {
    const char *path;
    uint32_t index;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *left = a;
    const struct named *right = b;
    return strcmp(left->path, right->path);
}

struct check {
    const struct cli_manifest *manifest;
    struct named *sorted;
    char path[CLI_TRANSFER_PATH_BYTES_MAX + 8];
};

static const struct named *find_path(const struct check *check)
{
    struct named wanted = {.path = check->path};
    return bsearch(&wanted, check->sorted, check->manifest->count, sizeof(wanted), compare_named);
}

static bool has_parent(struct check *check, uint32_t index)
{
    const char *path = cli_manifest_path(check->manifest, index);
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return true;
    }
    memcpy(check->path, path, (size_t)(slash - path));
    check->path[slash - path] = 0;
    const struct named *parent = find_path(check);
    return parent != NULL && parent->index < index &&
           check->manifest->entries[parent->index].kind == CLI_TRANSFER_KIND_DIRECTORY;
}

static bool is_part_taken(struct check *check, uint32_t index)
{
    if (check->manifest->entries[index].kind != CLI_TRANSFER_KIND_FILE) {
        return false;
    }
    const char *path = cli_manifest_path(check->manifest, index);
    size_t length = strlen(path);
    memcpy(check->path, path, length);
    memcpy(check->path + length, ".part", sizeof(".part"));
    return find_path(check) != NULL;
}

static const char *find_fault(struct check *check, uint32_t *bad)
{
    uint32_t count = check->manifest->count;
    for (uint32_t i = 0; i < count; i++) {
        check->sorted[i] =
            (struct named){.path = cli_manifest_path(check->manifest, i), .index = i};
    }
    qsort(check->sorted, count, sizeof(*check->sorted), compare_named);
    for (uint32_t i = 1; i < count; i++) {
        if (strcmp(check->sorted[i - 1].path, check->sorted[i].path) == 0) {
            *bad = check->sorted[i].index;
            return "is there twice";
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        *bad = i;
        if (!has_parent(check, i)) {
            return "is in no listed directory";
        }
        if (is_part_taken(check, i)) {
            return "cannot be sent together with a file of that name and .part";
        }
    }
    return NULL;
}

enum weir_status cli_manifest_check(const struct cli_manifest *manifest, uint32_t *bad,
                                    const char **reason)
{
    *bad = 0;
    *reason = "is too much for the memory here";
    if (manifest->count == 0) {
        return WEIR_OK;
    }
    struct check *check = calloc(1, sizeof(*check));
    struct named *sorted = calloc(manifest->count, sizeof(*sorted));
    if (check != NULL && sorted != NULL) {
        check->manifest = manifest;
        check->sorted = sorted;
        *reason = find_fault(check, bad);
    }
    free(sorted);
    free(check);
    return *reason == NULL ? WEIR_OK : WEIR_ERR_INVALID;
}
