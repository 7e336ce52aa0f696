/* SPDX-License-Identifier: MIT */
/*
 * udp.h - a command's UDP socket, with or without a trace, and the lines about what goes wrong.
 */
#ifndef WEIR_CLI_UDP_H
#define WEIR_CLI_UDP_H

#include <stdbool.h>

#include "weir/weir.h"

/* Opens bind, and trace_path around it unless that is NULL. NULL with the line printed. Warns about
 * small socket buffers unless is_quiet. */
struct weir_driver *cli_udp_open(const struct weir_addr *bind, const char *trace_path,
                                 bool is_quiet);
/* One of many that share bind's port (SO_REUSEPORT). */
struct weir_driver *cli_udp_open_shared(const struct weir_addr *bind, bool is_quiet);
/* Warns when not all of the trace could be written. */
void cli_udp_close(struct weir_driver *driver);

#endif
