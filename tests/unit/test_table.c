/* SPDX-License-Identifier: MIT */
/*
 * test_table.c - the connection table against a plain array, under churn at full load.
 */
#include "seed.h"

#include <stdlib.h>
#include <string.h>

#include "core/table.h"
#include "core/table_match.h"

enum {
    ENTRIES_MAX = 1800,
    KEY_BYTES_MAX = 40
};

/* ---- the tag comparison, both forms ---- */

static uint32_t match_naive(const uint8_t *tags, uint8_t tag)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < WEIR_TABLE_GROUP_TAGS; i++) {
        mask |= (uint32_t)(tags[i] == tag) << i;
    }
    return mask;
}

static void tag_forms_agree(void **state)
{
    (void)state;
    const uint64_t seed = 21;
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    _Alignas(32) uint8_t tags[WEIR_TABLE_GROUP_TAGS];
    for (int i = 0; i < 100000; i++) {
        uint8_t tag = (uint8_t)weir_prng_next(&prng);
        for (size_t k = 0; k < sizeof(tags); k++) {
            /* Equal, one apart, the top bit apart, or anything: where carries would show. */
            static const uint8_t flips[4] = {0x00, 0x01, 0x80, 0xff};
            uint8_t flip = flips[weir_prng_below(&prng, 4)];
            tags[k] = flip == 0xff ? (uint8_t)weir_prng_next(&prng) : tag ^ flip;
        }
        uint32_t expected = match_naive(tags, tag);
        CHECK(seed, weir_table_match(tags, tag) == expected);
        CHECK(seed, weir_table_match_portable(tags, tag) == expected);
#ifdef __SSE2__
        CHECK(seed, weir_table_match_vector(tags, tag) == expected);
#endif
    }
}

/* ---- the table ---- */

/* Fresh zeroed memory for a table, sized exactly, so that a write past it is seen by sanitizers. */
static void *open_table(struct weir_table *table, const struct weir_table_config *config)
{
    static const struct weir_hash_key key = {.k0 = 0x1234, .k1 = 0x5678};
    void *mem = calloc(1, weir_table_mem_size(config));
    assert_non_null(mem);
    weir_table_init(table, mem, config, &key);
    return mem;
}

struct model {
    uint64_t seed;
    struct weir_prng prng;
    struct weir_table table;
    struct weir_table_config config;
    void *mem;
    uint32_t count;
    uint8_t *entries[ENTRIES_MAX]; /* as returned by insert */
    uint8_t keys[ENTRIES_MAX][KEY_BYTES_MAX];
    uint64_t sums[ENTRIES_MAX]; /* seeds of what was written behind the key */
};

/* Few distinct bytes: keys that differ in one place only are common. */
static void draw_key(struct model *model, uint8_t key[KEY_BYTES_MAX])
{
    memset(key, 0, KEY_BYTES_MAX);
    for (int i = 0; i < 3; i++) {
        key[weir_prng_below(&model->prng, model->config.key_bytes)] =
            (uint8_t)weir_prng_next(&model->prng);
    }
}

static uint32_t model_find(const struct model *model, const uint8_t *key)
{
    uint32_t i = 0;
    while (i < model->count && memcmp(model->keys[i], key, model->config.key_bytes) != 0) {
        i++;
    }
    return i;
}

static void fill_value(const struct model *model, uint8_t *value, uint64_t sum)
{
    for (int i = model->config.key_bytes; i < model->config.entry_bytes; i++) {
        value[i] = (uint8_t)(sum >> (i % 8 * 8));
    }
}

/* The entry is where it was, with what was written there. */
static void check_entry(const struct model *model, uint32_t index)
{
    uint8_t *entry = model->entries[index];
    uint8_t expected[256];
    memcpy(expected, model->keys[index], model->config.key_bytes);
    fill_value(model, expected, model->sums[index]);
    CHECK(model->seed, weir_table_find(&model->table, model->keys[index]) == entry);
    CHECK(model->seed, memcmp(entry, expected, model->config.entry_bytes) == 0);
}

static void insert(struct model *model, const uint8_t *key)
{
    uint8_t *entry = weir_table_insert(&model->table, key);
    if (model->count == model->config.entries_max) {
        CHECK(model->seed, entry == NULL);
        return;
    }
    CHECK(model->seed, entry != NULL);
    CHECK(model->seed, memcmp(entry, key, model->config.key_bytes) == 0);
    for (int i = model->config.key_bytes; i < model->config.entry_bytes; i++) {
        CHECK(model->seed, entry[i] == 0);
    }
    uint64_t sum = weir_prng_next(&model->prng);
    fill_value(model, entry, sum);
    model->entries[model->count] = entry;
    model->sums[model->count] = sum;
    memcpy(model->keys[model->count], key, KEY_BYTES_MAX);
    model->count++;
}

static void remove_at(struct model *model, uint32_t index)
{
    weir_table_remove(&model->table, model->entries[index]);
    CHECK(model->seed, weir_table_find(&model->table, model->keys[index]) == NULL);
    uint32_t last = --model->count;
    model->entries[index] = model->entries[last];
    model->sums[index] = model->sums[last];
    memcpy(model->keys[index], model->keys[last], KEY_BYTES_MAX);
}

static void check_walk(const struct model *model)
{
    uint64_t at = 0;
    uint32_t seen = 0;
    const uint8_t *entry;
    const uint8_t *previous = NULL;
    while ((entry = weir_table_walk(&model->table, &at)) != NULL) {
        uint32_t index = model_find(model, entry);
        CHECK(model->seed, index < model->count && model->entries[index] == entry);
        CHECK(model->seed, previous == NULL || entry > previous);
        previous = entry;
        seen++;
    }
    CHECK(model->seed, seen == model->count && seen == model->table.count);
    CHECK(model->seed, weir_table_walk(&model->table, &at) == NULL);
}

static void step(struct model *model)
{
    uint8_t key[KEY_BYTES_MAX];
    draw_key(model, key);
    uint32_t index = model_find(model, key);
    if (index < model->count) {
        check_entry(model, index);
        return;
    }
    CHECK(model->seed, weir_table_find(&model->table, key) == NULL);
    insert(model, key);
    /* Once full it stays within one entry of it. */
    if (model->count == model->config.entries_max) {
        remove_at(model, (uint32_t)weir_prng_below(&model->prng, model->count));
    }
}

static void check_all_gone(struct model *model)
{
    while (model->count > 0) {
        remove_at(model, (uint32_t)weir_prng_below(&model->prng, model->count));
    }
    CHECK(model->seed, model->table.count == 0);
    for (uint32_t i = 0; i < 8 * model->table.group_count; i++) {
        CHECK(model->seed, model->table.overflows[i] == 0);
    }
    check_walk(model);
}

static void churn(uint64_t seed, uint16_t key_bytes, uint16_t entry_bytes)
{
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model->seed = seed;
    weir_prng_init(&model->prng, seed);
    /* Every shape from a single group up; with 4-byte keys there are enough of them, too. */
    uint32_t entries_max = (uint32_t)draw_scaled(&model->prng, 11) % (ENTRIES_MAX - 1) + 1;
    model->config = (struct weir_table_config){
        .entries_max = entries_max, .entry_bytes = entry_bytes, .key_bytes = key_bytes};
    model->mem = open_table(&model->table, &model->config);
    for (uint32_t i = 0; i < 3 * entries_max + 200; i++) {
        step(model);
    }
    for (uint32_t i = 0; i < model->count; i++) {
        check_entry(model, i);
    }
    check_walk(model);
    check_all_gone(model);
    free(model->mem);
    free(model);
}

static void follows_an_array(void **state)
{
    (void)state;
    for (unsigned size = 4; size <= KEY_BYTES_MAX; size += 4) {
        uint16_t key_bytes = (uint16_t)size;
        for (uint64_t seed = 1; seed <= 6; seed++) {
            churn(seed, key_bytes, key_bytes);
            churn(seed, key_bytes, (uint16_t)(size + 4));
            churn(seed, key_bytes, (uint16_t)(size + 60));
        }
    }
}

/* Finds, by trying, a key that differs from this one in one 4-byte word only and has its tag. */
static void draw_twin(const struct weir_table *table, uint8_t twin[KEY_BYTES_MAX], size_t word)
{
    const uint8_t tag = (uint8_t)weir_hash13(&table->hash_key, twin, table->key_bytes);
    for (uint32_t value = 1;; value++) {
        memcpy(twin + 4 * word, &value, sizeof(value));
        if ((uint8_t)weir_hash13(&table->hash_key, twin, table->key_bytes) == tag) {
            return;
        }
    }
}

/* In a table of a single group only the key itself tells such twins apart: every word counts. */
static void whole_keys_are_compared(void **state)
{
    (void)state;
    for (unsigned size = 4; size <= KEY_BYTES_MAX; size += 4) {
        for (size_t word = 0; word < size / 4; word++) {
            const struct weir_table_config config = {
                .entries_max = 4, .entry_bytes = (uint16_t)size, .key_bytes = (uint16_t)size};
            struct weir_table table;
            void *mem = open_table(&table, &config);
            uint8_t key[KEY_BYTES_MAX] = {0};
            uint8_t twin[KEY_BYTES_MAX] = {0};
            draw_twin(&table, twin, word);
            const void *entry = weir_table_insert(&table, key);
            assert_non_null(entry);
            assert_null(weir_table_find(&table, twin));
            assert_ptr_equal(weir_table_find(&table, key), entry);
            free(mem);
        }
    }
}

static void refuses_one_too_many(void **state)
{
    (void)state;
    const struct weir_table_config config = {.entries_max = 5, .entry_bytes = 8, .key_bytes = 8};
    struct weir_table table;
    void *mem = open_table(&table, &config);
    for (uint64_t key = 0; key < 5; key++) {
        assert_non_null(weir_table_insert(&table, &key));
    }
    uint64_t key = 5;
    assert_null(weir_table_insert(&table, &key));
    assert_null(weir_table_find(&table, &key));
    free(mem);
}

/* Keys that all want the same group: its counts of overflows get stuck at 15, and the table is
 * still right, before and after they are gone. */
static void one_group_for_all(void **state)
{
    (void)state;

    enum {
        COUNT = 448
    };

    const struct weir_table_config config = {
        .entries_max = COUNT, .entry_bytes = 12, .key_bytes = 8};
    struct weir_table table;
    void *mem = open_table(&table, &config);
    uint64_t *keys = calloc(COUNT, sizeof(*keys));
    assert_non_null(keys);
    uint32_t count = 0;
    for (uint64_t key = 0; count < COUNT; key++) {
        uint64_t hash = weir_hash13_u64(&table.hash_key, key);
        if (((hash >> 32) * table.group_count) >> 32 == table.group_count - 1) {
            keys[count++] = key;
        }
    }
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_null(weir_table_find(&table, &keys[i]));
            assert_non_null(weir_table_insert(&table, &keys[i]));
        }
        /* 416 keys in 16 counts: all but a few are at their end. */
        uint32_t stuck = 0;
        for (uint32_t i = 0; i < 8; i++) {
            uint8_t counts = table.overflows[8 * (table.group_count - 1) + i];
            stuck += (uint32_t)(counts % 16 == 15) + (uint32_t)(counts / 16 == 15);
        }
        assert_true(stuck >= 12);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t *entry = weir_table_find(&table, &keys[i]);
            assert_non_null(entry);
            assert_memory_equal(entry, &keys[i], sizeof(keys[i]));
            weir_table_remove(&table, entry);
            assert_null(weir_table_find(&table, &keys[i]));
        }
        assert_int_equal(table.count, 0);
    }
    free(keys);
    free(mem);
}

static void a_sweep_may_remove(void **state)
{
    (void)state;
    const struct weir_table_config config = {.entries_max = 500, .entry_bytes = 8, .key_bytes = 4};
    struct weir_table table;
    void *mem = open_table(&table, &config);
    for (uint32_t key = 0; key < 500; key++) {
        assert_non_null(weir_table_insert(&table, &key));
    }
    uint64_t at = 0;
    uint32_t *entry;
    while ((entry = weir_table_walk(&table, &at)) != NULL) {
        if (*entry % 2 == 0) {
            weir_table_remove(&table, entry);
        }
    }
    assert_int_equal(table.count, 250);
    for (uint32_t key = 0; key < 500; key++) {
        assert_int_equal(weir_table_find(&table, &key) != NULL, key % 2);
    }
    free(mem);
}

static void memory_follows_the_bound(void **state)
{
    (void)state;
    const struct weir_table_config config = {
        .entries_max = 1000000, .entry_bytes = 16, .key_bytes = 8};
    assert_true(weir_table_mem_size(&config) < 20 * (size_t)1000000);
    const struct weir_table_config none = {.entries_max = 0, .entry_bytes = 16, .key_bytes = 8};
    struct weir_table table;
    void *mem = open_table(&table, &none);
    uint64_t key = 1;
    assert_null(weir_table_insert(&table, &key));
    assert_null(weir_table_find(&table, &key));
    free(mem);
}

/* Keys of which the last byte lies in the entry as one of several that stand for it. */
static void keys_are_found_by_any_alias(void **state)
{
    (void)state;
    static uint8_t aliases[256];
    for (unsigned i = 0; i < 256; i++) {
        aliases[i] = (uint8_t)(i % 5);
    }
    const struct weir_table_config configs[] = {
        {.entries_max = 500, .entry_bytes = 16, .key_bytes = 7, .aliases = aliases},
        {.entries_max = 500, .entry_bytes = 32, .key_bytes = 23, .aliases = aliases}};
    const struct weir_hash_key hash_key = {.k0 = 1, .k1 = 2};
    for (unsigned c = 0; c < 2; c++) {
        struct weir_table table;
        uint8_t *entries[500];
        size_t last = configs[c].key_bytes - (size_t)1;
        void *mem = calloc(1, weir_table_mem_size(&configs[c]));
        weir_table_init(&table, mem, &configs[c], &hash_key);
        for (unsigned i = 0; i < 500; i++) {
            uint8_t key[24] = {(uint8_t)i, (uint8_t)(i >> 8)};
            key[last] = (uint8_t)(i % 5);
            key[last + 1] = 99; /* no part of it */
            assert_null(weir_table_find(&table, key));
            entries[i] = weir_table_insert(&table, key);
            entries[i][last] = (uint8_t)(i % 5 + 5 * (i % 40));
            entries[i][last + 1] = (uint8_t)i; /* nor here */
        }
        for (unsigned i = 0; i < 500; i++) {
            uint8_t key[24] = {(uint8_t)i, (uint8_t)(i >> 8)};
            key[last] = (uint8_t)((i + 1) % 5);
            assert_null(weir_table_find(&table, key));
            key[last] = (uint8_t)(i % 5);
            assert_ptr_equal(weir_table_find(&table, key), entries[i]);
            entries[i][last] = (uint8_t)(i % 5 + 5 * ((i + 7) % 40));
            assert_ptr_equal(weir_table_find(&table, key), entries[i]);
            weir_table_remove(&table, entries[i]);
            assert_null(weir_table_find(&table, key));
        }
        assert_int_equal(table.count, 0);
        free(mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_by_any_alias),
        cmocka_unit_test(tag_forms_agree),
        cmocka_unit_test(follows_an_array),
        cmocka_unit_test(whole_keys_are_compared),
        cmocka_unit_test(refuses_one_too_many),
        cmocka_unit_test(one_group_for_all),
        cmocka_unit_test(a_sweep_may_remove),
        cmocka_unit_test(memory_follows_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
