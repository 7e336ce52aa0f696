/* SPDX-License-Identifier: MIT */
/*
 * outgoing.h - the sending end of one file transfer.
 *
 * Role: sends the manifest, checks the receiver's offers against the sources, sends what is missing
 * straight from the buffers that pread filled, waits for the receiver's word on every file.
 * Order: open; on_event for each event; step after each round of the loop until it says that
 * nothing is left to do now; until stage is COMPLETE or FAILED.
 * Memory: CLI_OUTGOING_SLOTS buffers of one DATA message each, and one record per offer.
 */
#ifndef WEIR_CLI_OUTGOING_H
#define WEIR_CLI_OUTGOING_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cli/link.h"
#include "cli/transfer_wire.h"
#include "cli/walk.h"

enum {
    CLI_OUTGOING_SLOTS = 160, /* 10 MiB on their way: more than the receiver's window */
    CLI_OUTGOING_FRONT_BYTES_MAX = 8,
    CLI_OUTGOING_SLOT_BYTES =
        CLI_OUTGOING_FRONT_BYTES_MAX + CLI_TRANSFER_DATA_HEADER_BYTES + CLI_TRANSFER_DATA_BYTES_MAX
};

enum cli_outgoing_stage {
    CLI_OUTGOING_CONNECTING = 0, /* HELLO is queued */
    CLI_OUTGOING_MANIFEST,
    CLI_OUTGOING_OFFERS, /* collects and verifies offers until READY */
    CLI_OUTGOING_SENDING,
    CLI_OUTGOING_WAITING, /* FINISH is sent */
    CLI_OUTGOING_COMPLETE,
    CLI_OUTGOING_FAILED
};

/* What the receiver has of a file; accepted when its hash is that of our first length bytes. */
struct cli_offer {
    uint64_t length;
    struct sha256_ctx context; /* of those bytes, once accepted */
    uint8_t hash[CLI_TRANSFER_HASH_BYTES];
    uint32_t index;
    bool is_accepted;
};

struct cli_outgoing {
    struct cli_link *link;
    struct cli_conn *conn; /* NULL once CLOSED */
    const struct cli_walk *walk;
    enum cli_outgoing_stage stage;
    bool is_fresh;  /* --no-resume */
    bool is_opened; /* the receiver has answered at all */
    weir_nsec timeout;
    struct cli_progress progress;

    uint32_t manifest_next; /* first entry not yet sent */
    struct cli_offer *offers;
    uint32_t offers_count, offers_capacity;
    uint32_t offers_checked, offers_taken;
    bool is_ready;

    uint32_t next; /* entry to send next */
    int fd;        /* open source, or -1 */
    bool is_file_announced, is_file_open;
    bool is_prefix_open; /* fd belongs to an offer that is being verified */
    uint64_t offset;
    uint64_t size;
    struct sha256_ctx hash;
    struct sha256_ctx list_hash; /* "HEX  PATH\n" of every file */
    uint8_t digest[CLI_TRANSFER_HASH_BYTES];

    struct weir_parcel *parcels; /* one per slot */
    uint8_t *buffers;     /* slots of CLI_OUTGOING_SLOT_BYTES; the first is the link's front */
    uint32_t piece_bytes; /* of a file in a DATA message, of the list in a MANIFEST message */
    uint32_t *free_slots;
    uint32_t free_count;
    uint64_t acked_bytes, resumed_bytes, queued_bytes; /* queued: message bytes of all kinds */
    struct cli_conn_stats stats;                       /* as of COMPLETE */
};

/* Allocates and queues HELLO. False when there is no memory. */
bool cli_outgoing_open(struct cli_outgoing *out, const struct cli_walk *walk, struct cli_link *link,
                       struct cli_conn *conn);
void cli_outgoing_on_event(struct cli_outgoing *out, const struct cli_event *event, weir_nsec now);
/* Does a bounded piece of work. Returns true when more is waiting that needs no event. */
bool cli_outgoing_step(struct cli_outgoing *out, weir_nsec now);
/* Prints the line, tells the receiver, ends the connection. */
void cli_outgoing_fail(struct cli_outgoing *out, enum cli_transfer_code code, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));
void cli_outgoing_close(struct cli_outgoing *out);

/* For outgoing_files.c: one piece of verifying offers or of sending files. */
bool cli_outgoing_verify(struct cli_outgoing *out);
bool cli_outgoing_send_files(struct cli_outgoing *out, weir_nsec now);
/* Queues a small message; false when the queue is full (try again later). */
bool cli_outgoing_send(struct cli_outgoing *out, const struct cli_transfer_message *message);
/* The receiver's window does not take a message of that size: the next ones are shorter. Fails the
 * transfer when they are as short as they can be. */
void cli_outgoing_shorten(struct cli_outgoing *out);

#endif
