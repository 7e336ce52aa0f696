/* SPDX-License-Identifier: MIT */
/*
 * walk.c - the sender's view of the file system.
 */
#include "cli/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Adds what visit stands for under the path that the receiver will see. */
static bool add_entry(struct cli_walk *walk, const FTSENT *visit, const char *path)
{
    const struct stat *stat = visit->fts_statp;
    bool is_file = S_ISREG(stat->st_mode);
    struct cli_transfer_entry entry = {.kind = is_file ? CLI_TRANSFER_KIND_FILE
                                                       : CLI_TRANSFER_KIND_DIRECTORY,
                                       .mode = (uint16_t)(stat->st_mode & 0777),
                                       .mtime = stat->st_mtim.tv_sec,
                                       .mtime_ns = (uint32_t)stat->st_mtim.tv_nsec,
                                       .size = is_file ? (uint64_t)stat->st_size : 0,
                                       .path = weir_span_of(path, strlen(path))};
    if (!cli_transfer_is_safe_path(entry.path)) {
        cli_fail(CLI_FAILED,
                 "the name of '%s' is too long or too deep: %d bytes a name, %d a path, %d levels",
                 visit->fts_path, CLI_TRANSFER_NAME_BYTES_MAX, CLI_TRANSFER_PATH_BYTES_MAX,
                 CLI_TRANSFER_DEPTH_MAX);
        return false;
    }
    if (is_file && access(visit->fts_accpath, R_OK) != 0) {
        cli_fail(CLI_FAILED, "cannot read '%s': %s", visit->fts_path, cli_text_errno(errno));
        return false;
    }
    enum weir_status status = cli_manifest_add(&walk->manifest, &entry);
    if (status != WEIR_OK) {
        cli_fail(CLI_FAILED,
                 "too much for one transfer at '%s': at most %d files and directories, with paths "
                 "of %d MiB together; send it in parts",
                 visit->fts_path, CLI_TRANSFER_ENTRIES_MAX, CLI_TRANSFER_MANIFEST_BYTES_MAX >> 20);
        return false;
    }
    return true;
}

static bool on_visit(struct cli_walk *walk, const FTSENT *visit, size_t skip)
{
    switch (visit->fts_info) {
    case FTS_DP:
        return true;
    case FTS_D:
    case FTS_F:
        return add_entry(walk, visit, visit->fts_path + skip);
    case FTS_SL:
    case FTS_SLNONE:
        if (visit->fts_level == FTS_ROOTLEVEL) { /* named, so followed: it leads nowhere */
            cli_fail(CLI_FAILED, "cannot read '%s': %s", visit->fts_path,
                     cli_text_errno(visit->fts_errno != 0 ? visit->fts_errno : ENOENT));
            return false;
        }
        cli_warn("'%s' is a symbolic link and was left out", visit->fts_path);
        return true;
    case FTS_DEFAULT:
        if (visit->fts_level > FTS_ROOTLEVEL) {
            cli_warn("'%s' is no file or directory and was left out", visit->fts_path);
            return true;
        }
        cli_fail(CLI_FAILED, "'%s' is neither a file nor a directory", visit->fts_path);
        return false;
    default:
        cli_fail(CLI_FAILED, "cannot read '%s': %s", visit->fts_path,
                 cli_text_errno(visit->fts_errno));
        return false;
    }
}

/* Splits "a/b/dir///" into a root with parent "a/b/" and leaves path as "a/b/dir"; "." and ".."
 * become what they stand for, so that there is a name to give the receiver. */
static char *normalize(const char *argument)
{
    char *path = strdup(argument);
    if (path == NULL) {
        return NULL;
    }
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        path[--length] = 0;
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        char *real = realpath(path, NULL);
        free(path);
        return real;
    }
    return path;
}

static bool walk_root(struct cli_walk *walk, const char *argument)
{
    struct cli_root *root = &walk->roots[walk->roots_count++];
    char *path = normalize(argument);
    if (path == NULL || path[0] == 0 || strcmp(path, "/") == 0) {
        cli_fail(CLI_FAILED, "cannot send '%s': %s", argument,
                 path == NULL ? cli_text_errno(errno) : "it has no name");
        free(path);
        return false;
    }
    const char *slash = strrchr(path, '/');
    size_t skip = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    root->parent = strndup(path, skip);
    char *paths[] = {path, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, compare_names);
    bool is_done = root->parent != NULL && tree != NULL;
    while (is_done) {
        const FTSENT *visit = fts_read(tree);
        if (visit == NULL) {
            break;
        }
        is_done = on_visit(walk, visit, skip);
    }
    if (tree != NULL) {
        fts_close(tree);
    }
    free(path);
    root->end = walk->manifest.count;
    return is_done;
}

bool cli_walk_open(struct cli_walk *walk, char *const *arguments, uint32_t count)
{
    *walk = (struct cli_walk){0};
    walk->roots = calloc(count, sizeof(*walk->roots));
    if (walk->roots == NULL) {
        cli_fail(CLI_FAILED, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!walk_root(walk, arguments[i])) {
            return false;
        }
    }
    uint32_t bad;
    const char *reason;
    if (cli_manifest_check(&walk->manifest, &bad, &reason) != WEIR_OK) {
        cli_fail(CLI_FAILED, "'%s' %s", cli_manifest_path(&walk->manifest, bad), reason);
        return false;
    }
    return true;
}

void cli_walk_close(struct cli_walk *walk)
{
    for (uint32_t i = 0; i < walk->roots_count; i++) {
        free(walk->roots[i].parent);
    }
    free(walk->roots);
    cli_manifest_free(&walk->manifest);
}

int cli_walk_open_file(const struct cli_walk *walk, uint32_t index)
{
    char path[PATH_MAX];
    uint32_t i = 0;
    while (walk->roots[i].end <= index) {
        i++;
    }
    int length = snprintf(path, sizeof(path), "%s%s", walk->roots[i].parent,
                          cli_manifest_path(&walk->manifest, index));
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return -ENAMETOOLONG;
    }
    /* O_NONBLOCK: a file that was replaced by a pipe must not hang the transfer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
