/* SPDX-License-Identifier: MIT */
/*
 * inbox.h - the receiver's directory, written without ever leaving it.
 *
 * Role: every call walks path (which cli_transfer_is_safe_path has passed) one name at a time from
 * root_fd and follows no symbolic link, so that no path leads out, whatever else writes there.
 * Every call returns -errno on failure; 0 or a descriptor otherwise.
 */
#ifndef WEIR_CLI_INBOX_H
#define WEIR_CLI_INBOX_H

#include <stdint.h>
#include <sys/stat.h>

#include "cli/manifest.h"

/* Makes it, or takes an existing one and sees to it that it can be written until finish. */
int cli_inbox_make_directory(int root_fd, const char *path);
/* Final mode and times, when nothing more is written in it. */
int cli_inbox_finish_directory(int root_fd, const char *path, const struct cli_entry *entry);

/* Looks at PATH, or PATH.part with is_part; -ENOENT when there is no regular file. */
int cli_inbox_stat(int root_fd, const char *path, bool is_part, struct stat *stat);
/* Opens PATH for reading. */
int cli_inbox_open(int root_fd, const char *path);
/* Opens PATH.part for reading and writing, made when missing, and locks it: -EWOULDBLOCK when
 * another transfer has it. */
int cli_inbox_open_part(int root_fd, const char *path);
/* Gives PATH.part, open as fd, its mode and times and the name PATH. */
int cli_inbox_commit(int root_fd, const char *path, int fd, const struct cli_entry *entry);
/* Mode and times of a PATH that stays as it is. */
int cli_inbox_touch(int root_fd, const char *path, const struct cli_entry *entry);
int cli_inbox_remove_part(int root_fd, const char *path);

#endif
