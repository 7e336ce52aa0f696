/* SPDX-License-Identifier: MIT */
/*
 * serve_file.c - files below a directory, and nothing else: no link is followed, no ".." climbs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/serve_internal.h"

enum {
    TRIES_MAX = 16
};

/* Where the kernel is older than 5.6, or the call is not allowed: name by name. */
static int open_stepwise(int dir_fd, const char *path, int flags)
{
    char name[NAME_MAX + 1];
    int at = dir_fd;
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length > NAME_MAX) {
            errno = ENAMETOOLONG;
        }
        int fd = -1;
        if (length <= NAME_MAX) {
            memcpy(name, path, length);
            name[length] = '\0';
            bool is_last = path[length] == '\0';
            fd = openat(
                at, name,
                is_last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        }
        int error = errno;
        if (at != dir_fd) {
            (void)close(at);
        }
        errno = error;
        if (fd < 0 || path[length] == '\0') {
            return fd;
        }
        at = fd;
        path += length + 1;
    }
}

int cli_open_below(int dir_fd, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    int tries = 0;
    do {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
        /* A rename passed by; or, and for longer, somebody has a lease on the file. */
    } while (fd < 0 && errno == EAGAIN && ++tries < TRIES_MAX);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) {
        return open_stepwise(dir_fd, path, flags | O_CLOEXEC);
    }
    return (int)fd;
}

int cli_file_status(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return 403;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return 503;
    case ENOSPC:
    case EDQUOT:
        return 507;
    case EFBIG:
        return 413;
    case EIO:
        return 500;
    default: /* none of that name, a link, a device without a driver */
        return 404;
    }
}

struct cli_http_file cli_file_of(const struct stat *stat)
{
    return (struct cli_http_file){.bytes = (uint64_t)stat->st_size,
                                  .inode = (uint64_t)stat->st_ino,
                                  .modified = (int64_t)stat->st_mtim.tv_sec,
                                  .modified_ns = (uint32_t)stat->st_mtim.tv_nsec};
}
