/* SPDX-License-Identifier: MIT */
/*
 * transfer_wire.h - the messages of the file transfer, to and from bytes.
 *
 * Role: pure functions over bytes that a stranger may have written: every length is checked, every
 * path is judged before anything touches a file system.
 * Spec: docs/file-transfer.md.
 *
 *   sender                         receiver
 *   HELLO       ----------------->
 *               <-----------------  WELCOME
 *   MANIFEST .. ----------------->
 *               <-----------------  OFFER .. READY      what is there already, with its hash
 *   FILE DATA .. FILE_END ..  --->
 *               <-----------------  DONE ..             files verified and in place
 *   FINISH      ----------------->
 *               <-----------------  COMPLETE
 *   FAILED, either way, at any time, ends it.
 */
#ifndef WEIR_CLI_TRANSFER_WIRE_H
#define WEIR_CLI_TRANSFER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/span.h"
#include "weir/status.h"

enum {
    CLI_TRANSFER_VERSION = 1,
    CLI_TRANSFER_HASH_BYTES = 32,            /* SHA-256 */
    CLI_TRANSFER_DATA_HEADER_BYTES = 9,      /* in front of the bytes of a DATA message */
    CLI_TRANSFER_DATA_BYTES_MAX = 64 << 10,  /* of a file in one DATA message */
    CLI_TRANSFER_CHUNK_BYTES_MAX = 64 << 10, /* one MANIFEST message */
    CLI_TRANSFER_SMALL_BYTES_MAX = 512,      /* any other message */
    CLI_TRANSFER_TEXT_BYTES_MAX = 400,       /* in FAILED */
    CLI_TRANSFER_ENTRIES_MAX = 131072,
    CLI_TRANSFER_MANIFEST_BYTES_MAX = 16 << 20, /* all MANIFEST messages together */
    CLI_TRANSFER_PATH_BYTES_MAX = 4000,
    CLI_TRANSFER_NAME_BYTES_MAX = 250, /* so that NAME.part fits the usual 255 */
    CLI_TRANSFER_DEPTH_MAX = 128
};

enum cli_transfer_type {
    CLI_TRANSFER_HELLO = 1,
    CLI_TRANSFER_WELCOME,
    CLI_TRANSFER_MANIFEST,
    CLI_TRANSFER_OFFER,
    CLI_TRANSFER_READY,
    CLI_TRANSFER_FILE,
    CLI_TRANSFER_DATA,
    CLI_TRANSFER_FILE_END,
    CLI_TRANSFER_DONE,
    CLI_TRANSFER_FINISH,
    CLI_TRANSFER_COMPLETE,
    CLI_TRANSFER_FAILED
};

enum cli_transfer_kind {
    CLI_TRANSFER_KIND_FILE = 1,
    CLI_TRANSFER_KIND_DIRECTORY
};

/* Why a transfer failed, as FAILED carries it; a program may act on it, people read the text. */
enum cli_transfer_code {
    CLI_TRANSFER_CODE_VERSION = 1, /* no version in common */
    CLI_TRANSFER_CODE_PROTOCOL,    /* a message that does not decode or is out of turn */
    CLI_TRANSFER_CODE_MANIFEST,    /* a path that escapes, twice the same, too many */
    CLI_TRANSFER_CODE_STORAGE,     /* could not be written there */
    CLI_TRANSFER_CODE_SOURCE,      /* could not be read here, or changed meanwhile */
    CLI_TRANSFER_CODE_CHECKSUM,    /* the bytes that arrived are not those that were sent */
    CLI_TRANSFER_CODE_BUSY,        /* another transfer writes the same file */
    CLI_TRANSFER_CODE_STOPPED,     /* interrupted by its user */
    CLI_TRANSFER_CODE_SPACE        /* as STORAGE, for lack of room: later there may be more */
};

enum {
    CLI_TRANSFER_NO_INDEX = 0xffffffff /* FAILED: about no file in particular */
};

struct cli_transfer_message {
    enum cli_transfer_type type;

    union {
        struct {
            uint16_t version_min, version_max;
        } hello;

        struct {
            uint16_t version;
        } welcome;

        struct {
            bool is_last;
            bool is_fresh; /* in the last one: no offers wanted, everything is sent anew */
            struct weir_span entries; /* for cli_transfer_next_entry */
        } manifest;

        struct {
            uint32_t index;  /* entry in the manifest, from 0 */
            uint64_t length; /* bytes from the start of the file that are there */
            uint8_t hash[CLI_TRANSFER_HASH_BYTES]; /* of those bytes */
        } offer;

        struct {
            uint32_t index;
            uint64_t offset; /* 0, or the offered length */
        } file;

        struct {
            uint64_t offset;
            struct weir_span bytes; /* borrowed from the message */
        } data;

        struct {
            uint32_t index;
            uint8_t hash[CLI_TRANSFER_HASH_BYTES]; /* of the whole file */
        } file_end;

        struct {
            uint32_t files; /* so many files, in the order of the manifest, are in place */
        } done;

        struct {
            uint8_t code; /* enum cli_transfer_code, or one of a later version */
            uint32_t index;
            struct weir_span text; /* borrowed, any bytes: see cli_transfer_printable */
        } failed;
    };
};

/* One line of the manifest. path is borrowed and not zero-terminated. */
struct cli_transfer_entry {
    enum cli_transfer_kind kind;
    uint16_t mode;     /* permission bits, 0777 at most */
    int64_t mtime;     /* seconds since 1970 */
    uint32_t mtime_ns; /* below one billion */
    uint64_t size;     /* 0 for a directory */
    struct weir_span path;
};

/* WEIR_ERR_MALFORMED when bytes are no message. Entries of a manifest are not looked at yet. */
enum weir_status cli_transfer_decode(struct weir_span bytes, struct cli_transfer_message *message);
/* Takes one entry off the front of entries; WEIR_AGAIN at the end; WEIR_ERR_MALFORMED when it does
 * not decode or its path is not safe. */
enum weir_status cli_transfer_next_entry(struct weir_span *entries,
                                         struct cli_transfer_entry *entry);

/* Writes message into bytes of CLI_TRANSFER_SMALL_BYTES_MAX and returns its length. A longer text
 * in FAILED is cut. For DATA: the header only; for MANIFEST: the header, entries follow. */
size_t cli_transfer_encode(const struct cli_transfer_message *message, uint8_t *bytes);
/* Appends one entry; 0 when room is too small for it. */
size_t cli_transfer_encode_entry(const struct cli_transfer_entry *entry, uint8_t *bytes,
                                 size_t room);

/* Is path relative, made of ordinary names of bounded length, and nothing that climbs out? */
bool cli_transfer_is_safe_path(struct weir_span path);

/* Copies text for a terminal: control and non-ASCII bytes become '?', cut to size - 1, zero at the
 * end. Returns out. */
char *cli_transfer_printable(struct weir_span text, char *out, size_t size);

#endif
