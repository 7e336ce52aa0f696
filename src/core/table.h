/* SPDX-License-Identifier: MIT */
/*
 * table.h - connection table: open addressing, one tag byte an entry, entries never move.
 *
 * Role: from a connection id or an address pair to the connection's record. The entry's address is
 * a handle: it stays until the entry is removed.
 * Owned by: one endpoint. Memory: capacity set up-front; entry_bytes + 1.25 a slot, in groups of 32
 * tags compared at once, probing by groups; each group counts the entries that overflowed it, so
 * removal leaves no tombstones. Untouched groups are never written.
 * Bound: full at 7/8 of the slots (16-byte entries: 19.7 bytes each when full).
 */
#ifndef WEIR_CORE_TABLE_H
#define WEIR_CORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct weir_table_config {
    uint32_t entries_max;
    uint16_t entry_bytes; /* multiple of 4 */
    uint16_t key_bytes;   /* the key is the entry's first bytes: 4 to 40, multiple of 4 */
    /* NULL, or 256 bytes: then the last byte of a key lies in its entry as any byte that stands for
     * it, aliases[stored] == byte. The owner may change one for the other at any time. key_bytes is
     * 7 or 23; the byte behind the key is the owner's, and in the keys of calls ignored. */
    const uint8_t *aliases;
};

struct weir_table {
    struct weir_hash_key hash_key;
    uint8_t *tags;
    uint8_t *overflows; /* 8 bytes a group, see table.c */
    uint8_t *entries;
    uint32_t group_count;
    uint32_t count, entries_max;
    uint16_t entry_bytes, key_bytes;
    const uint8_t *aliases;
};

size_t weir_table_mem_size(const struct weir_table_config *config);
/* Places for entries, of which entries_max are used at most: an entry's index is below it. */
uint32_t weir_table_slots(const struct weir_table_config *config);
/* mem must read as zeros (fresh pages from the system do, at no cost). hash_key: secret. */
void weir_table_init(struct weir_table *table, void *mem, const struct weir_table_config *config,
                     const struct weir_hash_key *hash_key);
/* The entry with this key, or NULL. */
void *weir_table_find(const struct weir_table *table, const void *key);
/* A new entry with its key written and the rest zero; NULL when full. The key must not be in it.
 * Where there are aliases, the caller writes one in the place of the last byte. */
void *weir_table_insert(struct weir_table *table, const void *key);
void weir_table_remove(struct weir_table *table, void *entry);
/* For sweeps: the first entry at or after position *at (start with 0), which is then moved past
 * it; NULL at the end. Entries inserted or removed meanwhile may or may not be seen. */
void *weir_table_walk(const struct weir_table *table, uint64_t *at);

#endif
