/* SPDX-License-Identifier: MIT */
/*
 * memory.c - RUDP's configuration, its one block of memory, and the worst case in bytes.
 */
#include <string.h>

#include "rudp/internal.h"

void weir_rudp_config_default(struct weir_rudp_config *config)
{
    *config = (struct weir_rudp_config){
        .connections_max = 1024,
        .channels_max = 8,
        .message_bytes_max = 1 << 20,
        .receive_window_bytes = 4 << 20,
        .send_queue_bytes = 4 << 20,
        .send_bytes = 64 << 20,
        .assembly_bytes = 64 << 20,
        .held_max = 65536,
        .packets_max = 65536,
        .fragments_max = 131072,
        .cc = WEIR_CC_CUBIC,
        .resend = WEIR_RUDP_RESEND_ADAPTIVE,
        .resend_after = 100 * WEIR_MSEC,
        .resend_later_packets = 3,
        .ack_delay = 5 * WEIR_MSEC,
        .connect_timeout = 10 * WEIR_SEC,
        .idle_timeout = 30 * WEIR_SEC,
        .dead_timeout = 10 * WEIR_SEC,
        .heartbeat = 10 * WEIR_SEC,
        .mtu_bytes_min = 1200,
        .mtu_bytes_max = 1472,
    };
}

static bool config_is_valid(const struct weir_rudp_config *config)
{
    enum {
        INDEX_MAX = 0x7ffffffe
    };

    const size_t store_min = 1 << 16;
    return config->slide != NULL && config->connections_max > 0 &&
           config->connections_max < INDEX_MAX && config->channels_max > 0 &&
           (config->route == NULL || config->shard < config->route->shards) &&
           config->channels_max <= WEIR_RUDP_CHANNELS_MAX && config->message_bytes_max > 0 &&
           config->message_bytes_max <= WEIR_RUDP_MESSAGE_BYTES_MAX &&
           config->receive_window_bytes >= config->message_bytes_max + MESSAGE_COST_BYTES &&
           config->receive_window_bytes <= INT32_MAX && config->send_queue_bytes > 0 &&
           config->send_bytes >= store_min && config->assembly_bytes >= store_min &&
           config->held_max > 0 && config->packets_max > 0 && config->packets_max < INDEX_MAX &&
           config->fragments_max > 0 && config->fragments_max < INDEX_MAX - CHUNKS_RESERVED &&
           config->held_max < INDEX_MAX && config->mtu_bytes_min >= WEIR_RUDP_INIT_BYTES &&
           config->mtu_bytes_max >= config->mtu_bytes_min && config->mtu_bytes_max <= 65507 &&
           config->cc <= WEIR_CC_NONE && config->resend <= WEIR_RUDP_RESEND_LATER_IDS &&
           config->unsent <= WEIR_RUDP_UNSENT_INTO_SET && config->dead_timeout > 0 &&
           config->connect_timeout > 0;
}

static uint32_t awake_max(const struct weir_rudp_config *config)
{
    uint32_t count = config->awake_max != 0 ? config->awake_max : 4096;
    return count < config->connections_max ? count : config->connections_max;
}

static struct weir_table_config table_config(const struct weir_rudp_config *config)
{
    return (struct weir_table_config){.entries_max = config->connections_max,
                                      .entry_bytes = sizeof(struct table_entry),
                                      .key_bytes = sizeof(uint64_t)};
}

/* The parts of the block, in the order in which they lie in it. */
enum part {
    PART_ENDPOINT,
    PART_TABLE,
    PART_WHEEL,
    PART_CONNS,
    PART_AWAKES,
    PART_CHANNELS,
    PART_PACKETS,
    PART_CHUNKS,
    PART_HELDS,
    PART_ASSEMBLIES,
    PART_SEND,
    PART_ASSEMBLY,
    PART_COUNT
};

static uint32_t channel_block_bytes(const struct weir_rudp_config *config)
{
    uint32_t others = config->channels_max > 1 ? config->channels_max - 1U : 1U;
    return others * (uint32_t)sizeof(struct channel);
}

static uint32_t chunks_max(const struct weir_rudp_config *config)
{
    return config->fragments_max + CHUNKS_RESERVED;
}

static void part_sizes(const struct weir_rudp_config *config, size_t sizes[PART_COUNT])
{
    struct weir_table_config table = table_config(config);
    sizes[PART_ENDPOINT] = sizeof(struct weir_rudp);
    sizes[PART_TABLE] = weir_table_mem_size(&table);
    sizes[PART_WHEEL] = weir_wheel_mem_size(config->connections_max);
    sizes[PART_CONNS] = weir_pool_mem_size(sizeof(struct weir_rudp_conn), config->connections_max);
    sizes[PART_AWAKES] = weir_pool_mem_size(sizeof(struct awake), awake_max(config));
    sizes[PART_CHANNELS] = weir_pool_mem_size(channel_block_bytes(config), config->connections_max);
    sizes[PART_PACKETS] = weir_pool_mem_size(sizeof(struct packet), config->packets_max);
    sizes[PART_CHUNKS] = weir_pool_mem_size(sizeof(struct chunk), chunks_max(config));
    sizes[PART_HELDS] = weir_pool_mem_size(sizeof(struct held), config->held_max);
    sizes[PART_ASSEMBLIES] = weir_pool_mem_size(sizeof(struct assembly), config->held_max);
    sizes[PART_SEND] = weir_store_mem_size(config->send_bytes);
    sizes[PART_ASSEMBLY] = weir_store_mem_size(config->assembly_bytes);
}

size_t weir_rudp_mem_size(const struct weir_rudp_config *config)
{
    size_t sizes[PART_COUNT];
    size_t total = 0;
    if (!config_is_valid(config)) {
        return 0;
    }
    part_sizes(config, sizes);
    for (unsigned part = 0; part < PART_COUNT; part++) {
        total = weir_size_add(total, weir_size_align(sizes[part], 64));
    }
    return total;
}

static void init_pools(struct weir_rudp *ep, uint8_t *const at[PART_COUNT])
{
    const struct weir_rudp_config *config = &ep->config;
    weir_pool_init(&ep->conns, at[PART_CONNS], sizeof(struct weir_rudp_conn),
                   config->connections_max);
    weir_pool_init(&ep->awakes, at[PART_AWAKES], sizeof(struct awake), awake_max(config));
    weir_pool_init(&ep->channel_blocks, at[PART_CHANNELS], channel_block_bytes(config),
                   config->connections_max);
    weir_pool_init(&ep->packets, at[PART_PACKETS], sizeof(struct packet), config->packets_max);
    weir_pool_init(&ep->chunks, at[PART_CHUNKS], sizeof(struct chunk), chunks_max(config));
    weir_pool_init(&ep->helds, at[PART_HELDS], sizeof(struct held), config->held_max);
    weir_pool_init(&ep->assemblies, at[PART_ASSEMBLIES], sizeof(struct assembly), config->held_max);
    ep->send_store = weir_store_init(at[PART_SEND], config->send_bytes);
    ep->assembly_store = weir_store_init(at[PART_ASSEMBLY], config->assembly_bytes);
}

enum weir_status weir_rudp_init(void *mem, const struct weir_rudp_config *config,
                                const uint8_t seed[32], weir_nsec now, struct weir_rudp **endpoint)
{
    size_t sizes[PART_COUNT];
    uint8_t *at[PART_COUNT];
    uint8_t *p = mem;
    if (mem == NULL || !config_is_valid(config)) {
        return WEIR_ERR_INVALID;
    }
    part_sizes(config, sizes);
    for (unsigned part = 0; part < PART_COUNT; part++) {
        at[part] = p;
        p += weir_size_align(sizes[part], 64);
    }
    struct weir_rudp *ep = mem;
    memset(ep, 0, sizeof(*ep));
    ep->config = *config;
    ep->now = now;
    weir_rudp_handshake_secrets(ep, seed);
    struct weir_table_config table = table_config(config);
    struct weir_hash_key table_key = {.k0 = weir_prng_secret_next(&ep->secret),
                                      .k1 = weir_prng_secret_next(&ep->secret)};
    weir_table_init(&ep->table, at[PART_TABLE], &table, &table_key);
    ep->wheel = weir_wheel_init(at[PART_WHEEL], config->connections_max, now);
    init_pools(ep, at);
    weir_list_init(&ep->awake);
    weir_list_init(&ep->loose);
    ep->ready = ep->events = ep->release = ep->starved = (struct conn_fifo){LIST_END, LIST_END};
    *endpoint = ep;
    return WEIR_OK;
}
