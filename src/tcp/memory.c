/* SPDX-License-Identifier: MIT */
/*
 * memory.c - TCP's configuration, its one block of memory, and the worst case in bytes.
 */
#include <string.h>

#include "tcp/internal.h"

enum {
    AWAKE_DEFAULT = 4096,
    INDEX_MAX = 0x3ffffffe,
    RECEIVE_WINDOW_MIN = 2048,
    MTU_MIN = 296,
    POOL_MIN = 16
};

void weir_tcp_config_default(struct weir_tcp_config *config)
{
    *config = (struct weir_tcp_config){
        .connections_max = 1024,
        .connections6_max = 1024,
        .segments_max = 65536,
        .held_max = 65536,
        .reordering_max = 256,
        .send_bytes = 64 << 20,
        .receive_window = 4 << 20,
        .mtu_bytes = 1500,
        .fast_open_max = 256,
        .fast_open_servers_max = 64,
        .cc = WEIR_CC_CUBIC,
        .tuning = {.rto_min = 200 * WEIR_MSEC,
                   .ack_delay = 40 * WEIR_MSEC,
                   .user_timeout = 300 * WEIR_SEC,
                   .connect_timeout = 180 * WEIR_SEC,
                   .fin_timeout = 60 * WEIR_SEC,
                   .time_wait = 60 * WEIR_SEC,
                   .keepalive_interval = 75 * WEIR_SEC,
                   .keepalive_probes = 9,
                   .sleep_after = WEIR_SEC,
                   .send_queue_max = 4 << 20,
                   .challenges_max = 1000,
                   .user_timeout_min = 100 * WEIR_SEC,
                   .user_timeout_max = 3600 * WEIR_SEC},
    };
}

static bool tuning_is_valid(const struct weir_tcp_tuning *tuning)
{
    const weir_nsec time_max = (weir_nsec)1 << 60;
    /* RFC 9293 3.8.6.3: an ACK waits for less than half a second (MUST-40). */
    return tuning->rto_min >= WEIR_MSEC && tuning->rto_min <= weir_tcp_rto_max &&
           tuning->ack_delay < 500 * WEIR_MSEC && tuning->user_timeout <= time_max &&
           tuning->connect_timeout > 0 && tuning->connect_timeout <= time_max &&
           tuning->fin_timeout > 0 && tuning->fin_timeout <= time_max && tuning->time_wait > 0 &&
           tuning->time_wait <= time_max && tuning->keepalive <= time_max &&
           tuning->persist_timeout <= time_max && tuning->keepalive_interval > 0 &&
           tuning->keepalive_interval <= time_max && tuning->sleep_after <= time_max &&
           tuning->send_queue_max > 0 && tuning->send_queue_max <= WEIR_TCP_WINDOW_MAX &&
           tuning->user_timeout_min > 0 && tuning->user_timeout_min <= tuning->user_timeout_max &&
           tuning->user_timeout_max <= time_max;
}

static bool config_is_valid(const struct weir_tcp_config *config)
{
    const size_t store_min = 1 << 16;
    return config->slide != NULL && config->connections_max > 0 &&
           config->connections_max < INDEX_MAX && config->connections6_max < INDEX_MAX &&
           config->awake_max < INDEX_MAX && config->segments_max >= POOL_MIN &&
           config->segments_max < INDEX_MAX && config->held_max >= POOL_MIN &&
           config->held_max < INDEX_MAX && config->reordering_max > 0 &&
           config->reordering_max < INDEX_MAX && config->send_bytes >= store_min &&
           config->receive_window >= RECEIVE_WINDOW_MIN &&
           config->receive_window <= WEIR_TCP_WINDOW_MAX && config->mtu_bytes >= MTU_MIN &&
           (unsigned)config->cc <= WEIR_CC_NONE &&
           (config->route == NULL || config->shard < config->route->shards) &&
           (!config->is_fast_open || config->fast_open_servers_max > 0) &&
           tuning_is_valid(&config->tuning);
}

uint32_t weir_tcp_awake_max(const struct weir_tcp_config *config)
{
    uint32_t all = config->connections_max + config->connections6_max;
    uint32_t count = config->awake_max != 0 ? config->awake_max : AWAKE_DEFAULT;
    return count < all ? count : all;
}

static struct weir_table_config table_config(const struct weir_tcp_config *config, bool is_6)
{
    return (struct weir_table_config){.entries_max =
                                          is_6 ? config->connections6_max : config->connections_max,
                                      .entry_bytes = is_6 ? RECORD6_BYTES : RECORD4_BYTES,
                                      .key_bytes = is_6 ? KEY6_BYTES : KEY4_BYTES};
}

/* The parts of the block, in the order in which they lie in it. */
enum part {
    PART_ENDPOINT,
    PART_TABLE4, /* before the other: see weir_tcp_is_6 */
    PART_TABLE6,
    PART_USERS,
    PART_STAMPS,
    PART_AGES,
    PART_REPLIES,
    PART_SERVERS,
    PART_WHEEL,
    PART_AWAKES,
    PART_SEGMENTS,
    PART_HELDS,
    PART_HOLES,
    PART_RANGES,
    PART_SEND,
    PART_COUNT
};

static uint32_t ranges_blocks(const struct weir_tcp_config *config)
{
    return (config->reordering_max - 1) / RANGES_MANY_DIVISOR + 1;
}

static void part_sizes(const struct weir_tcp_config *config, size_t sizes[PART_COUNT])
{
    struct weir_table_config table4 = table_config(config, false);
    struct weir_table_config table6 = table_config(config, true);
    size_t slots = weir_size_add(weir_table_slots(&table4), weir_table_slots(&table6));
    uint32_t awakes = weir_tcp_awake_max(config);
    sizes[PART_ENDPOINT] = sizeof(struct weir_tcp);
    sizes[PART_TABLE4] = weir_table_mem_size(&table4);
    sizes[PART_TABLE6] = weir_table_mem_size(&table6);
    sizes[PART_USERS] = config->has_users ? weir_size_mul(slots, sizeof(void *)) : 0;
    sizes[PART_STAMPS] = config->has_timestamps ? weir_size_mul(slots, sizeof(struct stamp)) : 0;
    sizes[PART_AGES] = config->tuning.keepalive != 0 ? slots : 0;
    sizes[PART_REPLIES] = REPLIES_MAX * sizeof(struct reply);
    sizes[PART_SERVERS] =
        config->is_fast_open ? config->fast_open_servers_max * sizeof(struct server) : 0;
    sizes[PART_WHEEL] = weir_wheel_mem_size(awakes);
    sizes[PART_AWAKES] = weir_pool_mem_size(sizeof(struct awake), awakes);
    sizes[PART_SEGMENTS] = weir_pool_mem_size(sizeof(struct segment), config->segments_max);
    sizes[PART_HELDS] = weir_pool_mem_size(sizeof(struct held), config->held_max);
    sizes[PART_HOLES] = weir_pool_mem_size(sizeof(struct holes), config->reordering_max);
    sizes[PART_RANGES] =
        weir_pool_mem_size(RANGES_MAX * sizeof(struct range), ranges_blocks(config));
    sizes[PART_SEND] = weir_store_mem_size(config->send_bytes);
}

size_t weir_tcp_mem_size(const struct weir_tcp_config *config)
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

static struct weir_hash_key draw_key(struct weir_tcp *ep)
{
    return (struct weir_hash_key){.k0 = weir_prng_secret_next(&ep->secret),
                                  .k1 = weir_prng_secret_next(&ep->secret)};
}

static void init_secrets(struct weir_tcp *ep, const uint8_t seed[32])
{
    weir_prng_secret_init(&ep->secret, seed);
    ep->isn_key = draw_key(ep);
    ep->cookie_key = draw_key(ep);
    ep->stamp_key = draw_key(ep);
    ep->port_key = draw_key(ep);
    weir_prng_init(&ep->prng, weir_prng_secret_next(&ep->secret));
}

static void init_tables(struct weir_tcp *ep, uint8_t *const at[PART_COUNT])
{
    for (unsigned i = 0; i < 2; i++) {
        struct weir_table_config table = table_config(&ep->config, i == 1);
        struct weir_hash_key key = draw_key(ep);
        table.aliases = ep->aliases;
        if (i == 0) {
            ep->slots4 = weir_table_slots(&table);
        }
        weir_table_init(&ep->tables[i], at[PART_TABLE4 + i], &table, &key);
    }
    ep->fast_key = draw_key(ep);
    ep->users = ep->config.has_users ? (void **)(void *)at[PART_USERS] : NULL;
    ep->stamps = ep->config.has_timestamps ? (struct stamp *)(void *)at[PART_STAMPS] : NULL;
    ep->ages = ep->config.tuning.keepalive != 0 ? at[PART_AGES] : NULL;
}

/* RFC 7323 2.3: the least shift with which the window can be said. */
static uint8_t choose_scale(uint32_t window)
{
    uint8_t scale = 0;
    while (window >> scale > UINT16_MAX) {
        scale++;
    }
    return scale;
}

enum weir_status weir_tcp_init(void *mem, const struct weir_tcp_config *config,
                               const uint8_t seed[32], weir_nsec now, struct weir_tcp **endpoint)
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
    struct weir_tcp *ep = mem;
    uint32_t awakes = weir_tcp_awake_max(config);
    memset(ep, 0, sizeof(*ep));
    ep->config = *config;
    ep->now = now;
    ep->scale = choose_scale(config->receive_window);
    ep->half_open_max = config->half_open_max != 0 ? config->half_open_max : (awakes + 3) / 4;
    ep->half_open_max = config->is_cookie_only ? 0 : ep->half_open_max;
    init_secrets(ep, seed);
    init_tables(ep, at);
    ep->replies = (struct reply *)(void *)at[PART_REPLIES];
    ep->servers = config->is_fast_open ? (struct server *)(void *)at[PART_SERVERS] : NULL;
    ep->wheel = weir_wheel_init(at[PART_WHEEL], awakes, now);
    weir_pool_init(&ep->awakes, at[PART_AWAKES], sizeof(struct awake), awakes);
    weir_pool_init(&ep->segments, at[PART_SEGMENTS], sizeof(struct segment), config->segments_max);
    weir_pool_init(&ep->helds, at[PART_HELDS], sizeof(struct held), config->held_max);
    weir_pool_init(&ep->holes, at[PART_HOLES], sizeof(struct holes), config->reordering_max);
    weir_pool_init(&ep->ranges, at[PART_RANGES], RANGES_MAX * sizeof(struct range),
                   ranges_blocks(config));
    ep->send_store = weir_store_init(at[PART_SEND], config->send_bytes);
    weir_list_init(&ep->awake);
    weir_list_init(&ep->shorts);
    weir_list_init(&ep->holders);
    ep->events = ep->ready = ep->starved = (struct fifo){LIST_END, LIST_END};
    ep->borrowed = HELD_NONE;
    ep->sweep_at = WEIR_NEVER;
    *endpoint = ep;
    return WEIR_OK;
}

enum weir_status weir_tcp_tune(struct weir_tcp *ep, const struct weir_tcp_tuning *tuning)
{
    if (!tuning_is_valid(tuning) || (tuning->keepalive != 0 && ep->ages == NULL)) {
        return WEIR_ERR_INVALID;
    }
    ep->config.tuning = *tuning;
    return WEIR_OK;
}
