/* SPDX-License-Identifier: MIT */
/*
 * kcp_options.h - the options of kcp://, the same in every command that speaks it.
 *
 * Order: a command names cli_kcp_argp among the children of its own argp and sets
 * state->child_inputs[...] to a zeroed struct cli_kcp_options on ARGP_KEY_INIT; after parsing,
 * cli_kcp_configure makes a config of it.
 */
#ifndef WEIR_CLI_KCP_OPTIONS_H
#define WEIR_CLI_KCP_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/kcp.h"

/* All zero: nothing was said. Strings are borrowed from argv. */
struct cli_kcp_options {
    const char *preset;      /* default "fast", with windows of CLI_KCP_WINDOW_DEFAULT */
    const char *crypt;       /* default "nil"; with a key "aes" */
    const char *key;         /* pass phrase, or @FILE; when not given $WEIR_KEY counts */
    uint32_t mtu_bytes;      /* of a datagram; 0: the preset's */
    uint32_t send_window;    /* segments; 0: the preset's */
    uint32_t receive_window; /* likewise */
    uint16_t fec_data, fec_parity;
    const char
        *first_option; /* one that was given and is of kcp:// alone, e.g. "--fec"; NULL: none.
                                 --mtu is not, other transports have it too */
};

enum {
    CLI_KCP_WINDOW_DEFAULT = 1024,
    CLI_MTU_BYTES_MAX = 65507 /* of --mtu, whatever the transport */
};

/* For the end of a command's help, where it speaks between two ends of weir. */
#define CLI_KCP_MESSAGES_DOC                                                                      \
    "Over kcp:// messages are sent, also with presets that are made for streams (file-transfer, " \
    "kcptun-*)."

/* --preset, --mtu, --window, --crypt, --key, --fec. No arguments; -m is the only short option. */
extern const struct argp cli_kcp_argp;

/* Sets all of config but slide: defaults, preset, what was given besides. With --fec the address
 * policy is REPLACE, one session an address, else STRICT. False with the line printed: no such
 * preset or cipher (the line names those there are), a key that is missing or cannot be read,
 * numbers that do not go together. */
bool cli_kcp_configure(const struct cli_kcp_options *options, bool is_accepting,
                       struct weir_kcp_config *config);

/* For commands whose URL is of another transport: false with the line printed when an option was
 * given that is of kcp:// alone. */
bool cli_kcp_is_unused(const struct cli_kcp_options *options, const char *scheme);

#endif
