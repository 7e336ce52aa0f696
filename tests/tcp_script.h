/* SPDX-License-Identifier: MIT */
/*
 * tcp_script.h - plays a script against one TCP endpoint, whose peer it is, in virtual time.
 *
 * A script is a text of lines: segments that arrive, segments that must leave and when, calls of
 * the user, events. The format is in docs/tcp-scripts.md.
 */
#ifndef TESTS_TCP_SCRIPT_H
#define TESTS_TCP_SCRIPT_H

#include <stdbool.h>

/* Plays the script in the file at path. false: it failed, and a line on stderr says where and why.
 * is_verbose: every segment, event and call is printed. */
bool tcp_script_play(const char *path, bool is_verbose);

#endif
