/* SPDX-License-Identifier: MIT */
/*
 * walk.h - the sender's view of the file system: from arguments to a manifest, and back to files.
 */
#ifndef WEIR_CLI_WALK_H
#define WEIR_CLI_WALK_H

#include "cli/manifest.h"

/* One FILE argument: its entries are those before end that no earlier root has. */
struct cli_root {
    char *parent; /* directory that the manifest's paths are relative to; heap */
    uint32_t end;
};

struct cli_walk {
    struct cli_manifest manifest;
    struct cli_root *roots;
    uint32_t roots_count;
};

/* Lists all arguments, directories with all that is in them. Symbolic links inside directories,
 * sockets, pipes and devices are left out with a warning. Prints the line and returns false when
 * one cannot be read or the whole is too large. */
bool cli_walk_open(struct cli_walk *walk, char *const *arguments, uint32_t count);
void cli_walk_close(struct cli_walk *walk);
/* Opens the source of entry index for reading: a descriptor or -errno. */
int cli_walk_open_file(const struct cli_walk *walk, uint32_t index);

#endif
