/* SPDX-License-Identifier: MIT */
/*
 * incoming.h - the receiving end of one file transfer, on one connection.
 *
 * Role: checks what the sender says, offers what is there already, writes, verifies, confirms.
 * Order: open on OPENED; on_message for each message; step after each round of the loop until it
 * says that nothing is left to do now; close on CLOSED.
 * Memory: the manifest and the partly received files of it, on the heap, bounded by the limits in
 * transfer_wire.h. File data is written as it arrives and never kept.
 */
#ifndef WEIR_CLI_INCOMING_H
#define WEIR_CLI_INCOMING_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "cli/link.h"
#include "cli/manifest.h"

enum cli_incoming_stage {
    CLI_INCOMING_FREE = 0, /* the slot has no connection */
    CLI_INCOMING_HELLO,
    CLI_INCOMING_MANIFEST,
    CLI_INCOMING_PREPARING, /* makes directories, hashes what is there */
    CLI_INCOMING_RECEIVING,
    CLI_INCOMING_COMPLETE, /* all verified, in place and confirmed */
    CLI_INCOMING_FAILED    /* waits for the connection to end */
};

/* A file of which the first length bytes are there. */
struct cli_partial {
    uint64_t length;
    struct sha256_ctx hash;  /* of those bytes */
    struct timespec changed; /* mtime while hashed: a later one means somebody else wrote */
    uint32_t index;
    bool is_final; /* PATH itself is wholly there, not PATH.part */
};

struct cli_incoming;

enum {
    CLI_INCOMING_PIECE_BYTES = 1 << 20
};

/* A .part file that a transfer waits for, shown to all others: one of it that has lost its sender
 * gives way. Atomic: stored by its set, loaded by all. */
struct cli_incoming_wish {
    uint64_t file; /* device and inode, folded */
    uint64_t until;
};

/* What the sets of one receiver share. */
struct cli_incoming_all {
    uint32_t active; /* atomic: transfers at this moment; any set adds and subtracts */
    uint32_t wishes_count;
    struct cli_incoming_wish *wishes; /* of all sets */
};

/* What the transfers on one link share. With --workers each shard has a set. */
struct cli_incoming_set {
    struct cli_incoming_all *all;
    struct cli_incoming_wish *wishes; /* one for each slot */
    struct cli_incoming *slots;
    uint32_t slots_count;
    uint32_t active; /* of this set */
    struct cli_link *link;
    int root_fd;
    uint8_t *piece; /* CLI_INCOMING_PIECE_BYTES, for hashing */
    bool is_quiet;
};

struct cli_incoming {
    struct cli_incoming_set *set;
    struct cli_conn *conn;
    enum cli_incoming_stage stage;
    char peer[WEIR_ADDR_TEXT_BYTES];
    weir_nsec last_message;
    weir_nsec started;
    struct cli_manifest manifest;
    bool is_offering;

    /* Preparing: entry cursor is next; fd >= 0 while the bytes there are hashed. */
    uint32_t cursor;
    int hashing_fd;
    bool is_offer_ready;
    weir_nsec lock_wanted; /* since when, or 0 */
    struct cli_partial candidate;
    uint64_t hashed_bytes;
    struct cli_partial *partials;
    uint32_t partials_count, partials_capacity, partials_taken;

    /* Receiving: file entry current is open while is_file_open; fd -1 when PATH stays as it is. */
    bool is_file_open;
    uint32_t current;
    int fd;
    uint64_t offset;
    struct sha256_ctx hash;
    uint32_t files_done, files_announced;
    bool is_finished;
    uint64_t done_bytes; /* of files in place */
    uint64_t resumed_bytes;
    struct cli_progress progress;
};

/* Takes one of max places for transfers, on any thread; cli_incoming_close gives it back. */
bool cli_incoming_claim(struct cli_incoming_all *all, uint32_t max);
/* After a claim. */
void cli_incoming_open(struct cli_incoming *in, struct cli_incoming_set *set, struct cli_conn *conn,
                       weir_nsec now);
/* message is borrowed for the call only. */
void cli_incoming_on_message(struct cli_incoming *in, struct weir_span message, weir_nsec now);
/* Does a bounded piece of work. Returns true when more is waiting that needs no message. */
bool cli_incoming_step(struct cli_incoming *in, weir_nsec now);
/* Lets transfers of this set give way whose .part file a set wants that their sender has gone
 * silent on. Now and then. */
void cli_incoming_heed(struct cli_incoming_set *set, weir_nsec now);
/* Tells the sender why, prints the line and ends the connection; .part files stay. index may be
 * CLI_TRANSFER_NO_INDEX. */
void cli_incoming_fail(struct cli_incoming *in, enum cli_transfer_code code, uint32_t index,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The code for an errno value that kept the receiver from writing. */
enum cli_transfer_code cli_incoming_write_code(int error);
/* The connection is gone: prints what came of it and frees the slot. Returns true when the
 * transfer was complete. */
bool cli_incoming_close(struct cli_incoming *in, const struct cli_event *event, weir_nsec now);

/* For incoming_prepare.c: one piece of preparing; false when it has to wait or is done. */
bool cli_incoming_prepare(struct cli_incoming *in, weir_nsec now);
/* Sends a message; false when the queue is full (try again later). */
bool cli_incoming_send(struct cli_incoming *in, const struct cli_transfer_message *message);

#endif
