/* SPDX-License-Identifier: MIT */
/*
 * table.c - the connection table.
 *
 * Role: a key's hash names its home group (high half) and its tag (low byte, never 0, which marks
 * an empty slot). It lies in the first group from there on, in order and round the end, that had
 * room. A look-up goes on to the next group only while the one it is in counts keys like this one
 * that went past it: 16 counts a group, one for each value of the tag's low four bits.
 *
 *     tags       | 32 bytes of group 0 | 32 bytes of group 1 | ...      a cache line for two groups
 *     overflows  | 16 counts of 4 bits a group: keys that found it full and went on |
 *     entries    | 32 entries of group 0 | 32 entries of group 1 | ...
 *
 * Groups as large as 32 overflow rarely at 7/8 full, so going on to the very next one, which the
 * processor has often fetched already, beats a second hash. The number of groups is not a power of
 * two: the memory follows entries_max closely.
 * The counts are many and small because entries never move: under churn at full load, nine groups
 * of ten have some key that went past, and one count for all would send every miss on and on.
 * A count that has reached 15 stays there until the table's memory is new: look-ups then go one
 * group further than needed, never wrong. Without the hash key nobody can bring that about.
 */
#include "core/table.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "core/table_match.h"

enum {
    GROUP = WEIR_TABLE_GROUP_TAGS,
    GROUP_ENTRIES_MAX = GROUP / 8 * 7, /* on average */
    TAG_EMPTY = 0,
    OVERFLOW_COUNTS = 16, /* a group, two in a byte */
    OVERFLOW_BYTES = OVERFLOW_COUNTS / 2,
    OVERFLOW_MAX = 15,
    KEY_BYTES_MIN = 4,
    KEY_BYTES_MAX = 40,
    ALIAS_BLOCK_MAX = 24, /* an aliased key and the byte behind it */
    MEMORY_ALIGN = 64
};

struct place {
    uint32_t group;
    uint8_t tag;
};

static uint32_t count_groups(uint32_t entries_max)
{
    return entries_max == 0 ? 1 : (entries_max - 1) / GROUP_ENTRIES_MAX + 1;
}

static size_t tags_bytes(uint32_t groups)
{
    return weir_size_align(weir_size_mul(groups, GROUP), MEMORY_ALIGN);
}

static size_t overflows_bytes(uint32_t groups)
{
    return weir_size_align(weir_size_mul(groups, OVERFLOW_BYTES), MEMORY_ALIGN);
}

uint32_t weir_table_slots(const struct weir_table_config *config)
{
    return count_groups(config->entries_max) * GROUP;
}

size_t weir_table_mem_size(const struct weir_table_config *config)
{
    uint32_t groups = count_groups(config->entries_max);
    size_t entries = weir_size_mul(weir_size_mul(groups, GROUP), config->entry_bytes);
    size_t tags = weir_size_add(tags_bytes(groups), overflows_bytes(groups));
    /* The start is aligned here, whatever the caller's block is. */
    return weir_size_add(weir_size_add(tags, entries), MEMORY_ALIGN - 1);
}

void weir_table_init(struct weir_table *table, void *mem, const struct weir_table_config *config,
                     const struct weir_hash_key *hash_key)
{
    WEIR_ASSERT(config->key_bytes >= KEY_BYTES_MIN && config->key_bytes <= KEY_BYTES_MAX);
    WEIR_ASSERT(config->aliases == NULL
                    ? config->key_bytes % 4 == 0
                    : config->key_bytes % 8 == 7 && config->key_bytes < ALIAS_BLOCK_MAX);
    WEIR_ASSERT(config->entry_bytes % 4 == 0);
    WEIR_ASSERT(config->entry_bytes >= config->key_bytes);
    uint32_t groups = count_groups(config->entries_max);
    uint8_t *start = mem;
    start += -(uintptr_t)start % MEMORY_ALIGN;
    *table = (struct weir_table){
        .hash_key = *hash_key,
        .tags = start,
        .overflows = start + tags_bytes(groups),
        .entries = start + tags_bytes(groups) + overflows_bytes(groups),
        .group_count = groups,
        .entries_max = config->entries_max,
        .entry_bytes = config->entry_bytes,
        .key_bytes = config->key_bytes,
        .aliases = config->aliases,
    };
}

/* The byte behind the key is no part of it: off with it (little-endian). */
#define ALIAS_KEY_MASK   UINT64_C(0x00ffffffffffffff)
#define ALIAS_FIRST_MASK UINT64_C(0x0000ffffffffffff)

static struct place find_home(const struct weir_table *table, const void *key)
{
    uint64_t hash;
    if (table->key_bytes == sizeof(hash) || table->key_bytes == sizeof(hash) - 1) {
        memcpy(&hash, key, sizeof(hash));
        hash &= table->aliases == NULL ? UINT64_MAX : ALIAS_KEY_MASK;
        hash = weir_hash13_u64(&table->hash_key, hash);
    } else {
        hash = weir_hash13(&table->hash_key, key, table->key_bytes);
    }
    uint8_t tag = (uint8_t)hash;
    /* The high 32 bits as a fraction of the groups: no division, any number of groups. */
    return (struct place){.group = (uint32_t)(((hash >> 32) * table->group_count) >> 32),
                          .tag = tag == TAG_EMPTY ? 1 : tag};
}

static uint32_t next_group(const struct weir_table *table, uint32_t group)
{
    return group + 1 == table->group_count ? 0 : group + 1;
}

static uint8_t *tags_of(const struct weir_table *table, uint32_t group)
{
    return table->tags + (size_t)group * GROUP;
}

static uint8_t *entry_at(const struct weir_table *table, uint64_t slot)
{
    return table->entries + slot * table->entry_bytes;
}

/* The byte that holds the count of keys with such a tag that went past group, and its place. */
static uint8_t *overflow_byte(const struct weir_table *table, uint32_t group, uint8_t tag)
{
    return &table->overflows[(size_t)group * OVERFLOW_BYTES + tag % OVERFLOW_COUNTS / 2];
}

static unsigned overflow_shift(uint8_t tag)
{
    return tag % 2 * 4;
}

static unsigned overflow_count(const struct weir_table *table, uint32_t group, uint8_t tag)
{
    return (*overflow_byte(table, group, tag) >> overflow_shift(tag)) & OVERFLOW_MAX;
}

/* difference: 1 or -1. */
static void count_overflow(const struct weir_table *table, uint32_t group, uint8_t tag,
                           int difference)
{
    if (overflow_count(table, group, tag) < OVERFLOW_MAX) {
        uint8_t *byte = overflow_byte(table, group, tag);
        *byte = (uint8_t)(*byte + difference * (1 << overflow_shift(tag)));
    }
}

/* Every usual size is a constant to the compiler: loads and compares in place, where a call with a
 * variable length costs ten times as much. */
static inline bool keys_equal(const uint8_t *a, const uint8_t *b, uint16_t bytes)
{
    switch (bytes) {
    case 4:
        return memcmp(a, b, 4) == 0;
    case 8:
        return memcmp(a, b, 8) == 0;
    case 12:
        return memcmp(a, b, 12) == 0;
    case 16:
        return memcmp(a, b, 16) == 0;
    case 20:
        return memcmp(a, b, 20) == 0;
    case 24:
        return memcmp(a, b, 24) == 0;
    case 28:
        return memcmp(a, b, 28) == 0;
    case 32:
        return memcmp(a, b, 32) == 0;
    case 36:
        return memcmp(a, b, 36) == 0;
    default:
        return memcmp(a, b, KEY_BYTES_MAX) == 0;
    }
}

static inline bool aliased_keys_equal(const struct weir_table *table, const uint8_t *entry,
                                      const uint8_t *key)
{
    size_t last = table->key_bytes - (size_t)1;
    if (table->aliases[entry[last]] != key[last]) {
        return false;
    }
    if (last == 6) {
        uint64_t words[2];
        memcpy(&words[0], entry, sizeof(words[0]));
        memcpy(&words[1], key, sizeof(words[1]));
        return ((words[0] ^ words[1]) & ALIAS_FIRST_MASK) == 0;
    }
    return memcmp(entry, key, last) == 0;
}

static inline bool is_at(const struct weir_table *table, const uint8_t *entry, const void *key)
{
    return table->aliases == NULL ? keys_equal(entry, key, table->key_bytes)
                                  : aliased_keys_equal(table, entry, key);
}

/* The place of a key that is in the table already. */
static struct place find_home_of(const struct weir_table *table, const uint8_t *entry)
{
    uint8_t key[ALIAS_BLOCK_MAX];
    if (table->aliases == NULL) {
        return find_home(table, entry);
    }
    memcpy(key, entry, table->key_bytes + (size_t)1);
    key[table->key_bytes - 1] = table->aliases[key[table->key_bytes - 1]];
    return find_home(table, key);
}

void *weir_table_find(const struct weir_table *table, const void *key)
{
    struct place home = find_home(table, key);
    uint32_t group = home.group;
    /* One round at most, for the case that every group's overflow count is stuck. */
    for (uint32_t left = table->group_count; left > 0; left--) {
        uint32_t mask = weir_table_match(tags_of(table, group), home.tag);
        for (; mask != 0; mask &= mask - 1) {
            uint8_t *entry =
                entry_at(table, (uint64_t)group * GROUP + (uint32_t)__builtin_ctz(mask));
            if (is_at(table, entry, key)) {
                return entry;
            }
        }
        if (overflow_count(table, group, home.tag) == 0) {
            break;
        }
        group = next_group(table, group);
    }
    return NULL;
}

void *weir_table_insert(struct weir_table *table, const void *key)
{
    if (table->count == table->entries_max) {
        return NULL;
    }
    struct place home = find_home(table, key);
    uint32_t group = home.group;
    uint32_t mask;
    /* Ends: an eighth of all slots is always empty. */
    while ((mask = weir_table_match(tags_of(table, group), TAG_EMPTY)) == 0) {
        count_overflow(table, group, home.tag, 1);
        group = next_group(table, group);
    }
    uint32_t index = (uint32_t)__builtin_ctz(mask);
    tags_of(table, group)[index] = home.tag;
    uint8_t *entry = entry_at(table, (uint64_t)group * GROUP + index);
    memcpy(entry, key, table->key_bytes);
    memset(entry + table->key_bytes, 0, (size_t)table->entry_bytes - table->key_bytes);
    table->count++;
    return entry;
}

void weir_table_remove(struct weir_table *table, void *entry)
{
    uint64_t off = (uint64_t)((uint8_t *)entry - table->entries);
    uint64_t slot = off / table->entry_bytes;
    WEIR_ASSERT(slot * table->entry_bytes == off && slot / GROUP < table->group_count);
    WEIR_ASSERT(table->tags[slot] != TAG_EMPTY);
    uint32_t last = (uint32_t)(slot / GROUP);
    struct place home = find_home_of(table, entry);
    for (uint32_t group = home.group; group != last; group = next_group(table, group)) {
        count_overflow(table, group, home.tag, -1);
    }
    table->tags[slot] = TAG_EMPTY;
    table->count--;
}

void *weir_table_walk(const struct weir_table *table, uint64_t *at)
{
    uint64_t end = (uint64_t)table->group_count * GROUP;
    while (*at < end) {
        uint32_t group = (uint32_t)(*at / GROUP);
        uint32_t from_at = UINT32_MAX << (*at % GROUP);
        uint32_t mask = ~weir_table_match(tags_of(table, group), TAG_EMPTY) & from_at;
        if (mask != 0) {
            uint64_t slot = (uint64_t)group * GROUP + (uint32_t)__builtin_ctz(mask);
            *at = slot + 1;
            return entry_at(table, slot);
        }
        *at = (uint64_t)(group + 1) * GROUP;
    }
    return NULL;
}
