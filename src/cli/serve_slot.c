/* SPDX-License-Identifier: MIT */
/*
 * serve_slot.c - what requests borrow: slots, found by their connection, and pieces of files.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/serve_internal.h"

/* --- memory ----------------------------------------------------------------------------------- */

bool cli_slots_open(struct cli_serve *serve)
{
    const struct cli_serve_config *config = &serve->config;
    const uint32_t slot_bytes =
        (uint32_t)((sizeof(struct cli_slot) + config->head_bytes_max + 63) & ~(size_t)63);
    const uint32_t chunks = (uint32_t)(config->memory_bytes / CLI_SERVE_CHUNK_BYTES);
    uint32_t buckets = 1;
    while (buckets < config->requests_max * 2) {
        buckets *= 2;
    }
    serve->buckets_mask = buckets - 1;
    serve->slots_mem_bytes = weir_pool_mem_size(slot_bytes, config->requests_max);
    serve->chunks_mem_bytes = weir_pool_mem_size(sizeof(struct cli_chunk), chunks);
    serve->chunk_bytes_all = (size_t)chunks * CLI_SERVE_CHUNK_BYTES;
    serve->slots_mem = weir_mem_map(serve->slots_mem_bytes);
    serve->chunks_mem = weir_mem_map(serve->chunks_mem_bytes);
    serve->chunk_bytes = weir_mem_map(serve->chunk_bytes_all);
    serve->buckets = calloc(buckets, sizeof(void *));
    if (serve->slots_mem == NULL || serve->chunks_mem == NULL || serve->chunk_bytes == NULL ||
        serve->buckets == NULL) {
        return false;
    }
    weir_pool_init(&serve->slots, serve->slots_mem, slot_bytes, config->requests_max);
    weir_pool_init(&serve->chunks, serve->chunks_mem, sizeof(struct cli_chunk), chunks);
    weir_list_init(&serve->active);
    weir_list_init(&serve->starving);
    return true;
}

void cli_slots_close(struct cli_serve *serve)
{
    weir_mem_unmap(serve->slots_mem, serve->slots_mem_bytes);
    weir_mem_unmap(serve->chunks_mem, serve->chunks_mem_bytes);
    weir_mem_unmap(serve->chunk_bytes, serve->chunk_bytes_all);
    free(serve->buckets);
}

/* --- slots ------------------------------------------------------------------------------------ */

/* Records are 16 bytes apart or more. */
static struct cli_slot **bucket_of(const struct cli_serve *serve, const struct weir_tcp_conn *conn)
{
    uint64_t hash = ((uint64_t)(uintptr_t)conn >> 4) * 0x9e3779b97f4a7c15U;
    return &serve->buckets[(hash >> 32) & serve->buckets_mask];
}

struct cli_slot *cli_slot_find(const struct cli_serve *serve, const struct weir_tcp_conn *conn)
{
    struct cli_slot *slot = *bucket_of(serve, conn);
    while (slot != NULL && slot->conn != conn) {
        slot = slot->next;
    }
    return slot;
}

struct cli_slot *cli_slot_take(struct cli_serve *serve, struct weir_tcp_conn *conn)
{
    struct cli_slot *slot = weir_pool_take(&serve->slots);
    if (slot == NULL) {
        return NULL;
    }
    /* The buffers behind line_bytes are as their last user left them. */
    memset(slot, 0, offsetof(struct cli_slot, line));
    slot->conn = conn;
    slot->fd = -1;
    slot->upload.fd = -1;
    slot->upload.dir_fd = -1;
    slot->deadline = WEIR_NEVER;
    slot->next = *bucket_of(serve, conn);
    *bucket_of(serve, conn) = slot;
    weir_list_append(&serve->active, &slot->active);
    serve->stats.slots = serve->slots.used;
    serve->stats.slots_peak = serve->slots.used_peak;
    return slot;
}

void cli_slot_give(struct cli_serve *serve, struct cli_slot *slot)
{
    struct cli_slot **link = bucket_of(serve, slot->conn);
    WEIR_ASSERT(slot->chunks == 0 && slot->fd < 0 && slot->upload.fd < 0 && !slot->is_held);
    while (*link != slot) {
        link = &(*link)->next;
    }
    *link = slot->next;
    weir_list_remove(&serve->active, &slot->active);
    if (weir_link_is_linked(&slot->starving)) {
        weir_list_remove(&serve->starving, &slot->starving);
    }
    weir_pool_give(&serve->slots, slot);
    serve->stats.slots = serve->slots.used;
}

/* --- chunks ----------------------------------------------------------------------------------- */

struct cli_chunk *cli_chunk_take(struct cli_serve *serve, struct cli_slot *slot)
{
    const uint32_t left = serve->chunks.count_max - serve->chunks.used;
    if (slot->chunks > 0 && (slot->chunks >= CLI_SERVE_CHUNKS_MAX || slot->chunks > left / 4)) {
        return NULL;
    }
    struct cli_chunk *chunk = weir_pool_take(&serve->chunks);
    if (chunk == NULL) {
        if (slot->chunks == 0 && !weir_link_is_linked(&slot->starving)) {
            weir_list_append(&serve->starving, &slot->starving);
        }
        return NULL;
    }
    *chunk = (struct cli_chunk){.slot = slot};
    chunk->parcel.user = chunk;
    chunk->parcel.data = cli_chunk_bytes(serve, chunk);
    slot->chunks++;
    return chunk;
}

void cli_chunk_give(struct cli_serve *serve, struct cli_chunk *chunk)
{
    chunk->slot->chunks--;
    weir_pool_give(&serve->chunks, chunk);
}

uint8_t *cli_chunk_bytes(const struct cli_serve *serve, const struct cli_chunk *chunk)
{
    return serve->chunk_bytes +
           (size_t)weir_pool_index(&serve->chunks, chunk) * CLI_SERVE_CHUNK_BYTES;
}
