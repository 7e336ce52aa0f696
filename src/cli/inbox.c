/* SPDX-License-Identifier: MIT */
/*
 * inbox.c - the receiver's directory, written without ever leaving it.
 */
#include "cli/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    NAME_BYTES = 256
};

/* Opens the directory that path lies in and leaves its last name, with .part when is_part. */
static int open_parent(int root_fd, const char *path, bool is_part, char name[NAME_BYTES])
{
    int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (;;) {
        if (fd < 0) {
            return -errno;
        }
        const char *slash = strchr(path, '/');
        size_t length = slash == NULL ? strlen(path) : (size_t)(slash - path);
        if (length == 0 || length > CLI_TRANSFER_NAME_BYTES_MAX) {
            close(fd);
            return -ENAMETOOLONG;
        }
        memcpy(name, path, length);
        name[length] = 0;
        if (slash == NULL) {
            memcpy(name + length, is_part ? ".part" : "", is_part ? sizeof(".part") : 1);
            return fd;
        }
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        close(fd);
        errno = error;
        fd = next;
        path = slash + 1;
    }
}

/* Closes fd and turns a system call's -1 into -errno. */
static int finish(int fd, int result)
{
    int error = errno;
    close(fd);
    return result < 0 ? -error : result;
}

int cli_inbox_make_directory(int root_fd, const char *path)
{
    char name[NAME_BYTES];
    struct stat stat;
    int parent = open_parent(root_fd, path, false, name);
    if (parent < 0) {
        return parent;
    }
    int result = mkdirat(parent, name, 0700);
    if (result < 0 && errno == EEXIST) {
        result = fstatat(parent, name, &stat, AT_SYMLINK_NOFOLLOW);
        if (result == 0 && !S_ISDIR(stat.st_mode)) {
            errno = ENOTDIR;
            result = -1;
        }
        if (result == 0 && (stat.st_mode & 0700) != 0700) {
            result = fchmodat(parent, name, (stat.st_mode & 0777) | 0700, 0);
        }
    }
    return finish(parent, result);
}

static int set_attributes(int fd, const struct cli_entry *entry)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = entry->mtime, .tv_nsec = entry->mtime_ns}};
    /* No set-user-id and the like: a stranger's file must not become one here. */
    if (fchmod(fd, entry->mode & 0777) != 0 || futimens(fd, times) != 0) {
        return -1;
    }
    return 0;
}

/* Opens path below its parent with flags; never a symbolic link, never waiting for a pipe. */
static int open_below(int root_fd, const char *path, bool is_part, int flags)
{
    char name[NAME_BYTES];
    int parent = open_parent(root_fd, path, is_part, name);
    if (parent < 0) {
        return parent;
    }
    return finish(parent, openat(parent, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
}

int cli_inbox_finish_directory(int root_fd, const char *path, const struct cli_entry *entry)
{
    int fd = open_below(root_fd, path, false, O_RDONLY | O_DIRECTORY);
    return fd < 0 ? fd : finish(fd, set_attributes(fd, entry));
}

int cli_inbox_touch(int root_fd, const char *path, const struct cli_entry *entry)
{
    int fd = open_below(root_fd, path, false, O_RDONLY);
    return fd < 0 ? fd : finish(fd, set_attributes(fd, entry));
}

int cli_inbox_stat(int root_fd, const char *path, bool is_part, struct stat *stat)
{
    char name[NAME_BYTES];
    int parent = open_parent(root_fd, path, is_part, name);
    if (parent < 0) {
        return parent;
    }
    int result = fstatat(parent, name, stat, AT_SYMLINK_NOFOLLOW);
    if (result == 0 && !S_ISREG(stat->st_mode)) {
        errno = ENOENT;
        result = -1;
    }
    return finish(parent, result);
}

int cli_inbox_open(int root_fd, const char *path)
{
    return open_below(root_fd, path, false, O_RDONLY);
}

int cli_inbox_open_part(int root_fd, const char *path)
{
    struct stat stat;
    int fd = open_below(root_fd, path, true, O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        close(fd);
        return -EEXIST;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return finish(fd, -1);
    }
    return fd;
}

int cli_inbox_commit(int root_fd, const char *path, int fd, const struct cli_entry *entry)
{
    char name[NAME_BYTES];
    char part[NAME_BYTES];
    if (set_attributes(fd, entry) != 0) {
        return -errno;
    }
    int parent = open_parent(root_fd, path, true, part);
    if (parent < 0) {
        return parent;
    }
    size_t length = strlen(part) - strlen(".part");
    memcpy(name, part, length);
    name[length] = 0;
    return finish(parent, renameat(parent, part, parent, name));
}

int cli_inbox_remove_part(int root_fd, const char *path)
{
    char part[NAME_BYTES];
    int parent = open_parent(root_fd, path, true, part);
    return parent < 0 ? parent : finish(parent, unlinkat(parent, part, 0));
}
