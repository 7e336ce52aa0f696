/* SPDX-License-Identifier: MIT */
/*
 * net_internal.h - what the files of --driver share.
 */
#ifndef WEIR_CLI_NET_INTERNAL_H
#define WEIR_CLI_NET_INTERNAL_H

#include "cli/net.h"

/* The first address of a family, or NULL. */
const struct weir_ip_address *cli_net_first_of(const struct cli_net_options *options,
                                               uint8_t family);
/* The first host of our prefix that is not us: the prefix with the last bits counting from 1. A
 * prefix without one gives family NONE. */
struct weir_ip_address cli_net_first_other(const struct cli_net_options *options,
                                           const struct weir_ip_address *own);

#endif
