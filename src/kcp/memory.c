/* SPDX-License-Identifier: MIT */
/*
 * memory.c - KCP's configuration, its one block of memory, and the worst case in bytes.
 */
#include <string.h>

#include "kcp/internal.h"

enum {
    SEND_QUEUE_MIN = 256,
    ACKS_MIN = 256,
    TICK_SHIFT_MAX = 2 /* 4 ms */
};

void weir_kcp_config_default(struct weir_kcp_config *config)
{
    *config = (struct weir_kcp_config){
        .connections_max = 1024,
        .pending_max = 256,
        .send_bytes = 64 << 20,
        .window_bytes = 32 << 20,
        .held_max = 65536,
        .cc = WEIR_CC_NONE,
        .connect_timeout = 10 * WEIR_SEC,
        .keepalive = 30 * WEIR_SEC,
        .idle_timeout = 120 * WEIR_SEC,
        .tuning = {.interval_ms = 100,
                   .send_window = 32,
                   .receive_window = 128,
                   .mtu_bytes = 1400,
                   .dead_link = 20,
                   .fragments_max = 127},
    };
}

bool weir_kcp_tuning_is_valid(const struct weir_kcp_tuning *tuning)
{
    return tuning->nodelay <= 2 && tuning->interval_ms >= 1 && tuning->interval_ms <= 5000 &&
           tuning->send_window >= 1 && tuning->send_window <= WEIR_KCP_WINDOW_MAX &&
           tuning->receive_window >= 1 && tuning->receive_window <= WEIR_KCP_WINDOW_MAX &&
           tuning->rto_min_ms <= RTO_MAX_MS && tuning->fragments_max >= 1 &&
           tuning->fragments_max <= WEIR_KCP_FRAGMENTS_MAX;
}

static bool config_is_valid(const struct weir_kcp_config *config)
{
    enum {
        INDEX_MAX = 0x7ffffffe
    };

    struct weir_kcp_fec_config fec;
    const size_t store_min = 1 << 16;
    const weir_nsec time_max = (weir_nsec)INT32_MAX * WEIR_MSEC; /* what heard_ms can tell */
    return config->slide != NULL && config->connections_max > 0 &&
           config->connections_max < INDEX_MAX && config->awake_max < INDEX_MAX &&
           config->send_bytes >= store_min && config->window_bytes >= store_min &&
           config->held_max >= 2 * HELD_RESERVE && config->held_max < INDEX_MAX &&
           (config->route == NULL || config->shard < config->route->shards) &&
           config->address_policy <= WEIR_KCP_ADDRESS_REPLACE && config->cc <= WEIR_CC_NONE &&
           config->connect_timeout <= time_max && config->keepalive <= time_max &&
           config->idle_timeout <= time_max && (unsigned)config->cipher < WEIR_KCP_CIPHER_COUNT &&
           weir_kcp_layers_fec_config(config, &fec) && weir_kcp_tuning_is_valid(&config->tuning);
}

static uint32_t awake_max(const struct weir_kcp_config *config)
{
    uint32_t count = config->awake_max != 0 ? config->awake_max : 4096;
    return count < config->connections_max ? count : config->connections_max;
}

static struct weir_table_config table_config(const struct weir_kcp_config *config)
{
    static const uint16_t key_words[] = {
        [WEIR_KCP_ADDRESS_STRICT] = KEY_WORDS,
        [WEIR_KCP_ADDRESS_ROAM] = 1,
        [WEIR_KCP_ADDRESS_REPLACE] = ADDRESS_WORDS,
    };
    return (struct weir_table_config){
        .entries_max = config->connections_max,
        .entry_bytes = sizeof(struct weir_kcp_conn),
        .key_bytes = (uint16_t)(key_words[config->address_policy] * sizeof(uint32_t))};
}

/* The parts of the block, in the order in which they lie in it. */
enum part {
    PART_ENDPOINT,
    PART_TABLE,
    PART_WHEEL,
    PART_AWAKES,
    PART_PACEDS,
    PART_HELDS,
    PART_SEND,
    PART_WINDOW,
    PART_CRYPT,
    PART_FEC,
    PART_FEC_MEMORY,
    PART_FEC_CODECS,
    PART_COUNT
};

static bool has_fec(const struct weir_kcp_config *config)
{
    return config->is_fec || config->fec_data > 0;
}

static uint32_t paced_max(const struct weir_kcp_config *config)
{
    return config->cc == WEIR_CC_NONE ? 0 : awake_max(config);
}

static size_t codec_bytes(const struct weir_kcp_fec_config *fec)
{
    return weir_kcp_fec_encoder_size(fec) + weir_kcp_fec_decoder_size();
}

static void layer_sizes(const struct weir_kcp_config *config, size_t sizes[PART_COUNT])
{
    struct weir_table_config table = table_config(config);
    struct weir_kcp_fec_config fec;
    sizes[PART_CRYPT] = config->cipher != WEIR_KCP_CIPHER_NIL ? weir_kcp_crypt_size() : 0;
    sizes[PART_FEC] = sizes[PART_FEC_MEMORY] = sizes[PART_FEC_CODECS] = 0;
    if (has_fec(config) && weir_kcp_layers_fec_config(config, &fec)) {
        sizes[PART_FEC] = weir_kcp_fec_mem_size(&fec);
        sizes[PART_FEC_MEMORY] = weir_size_mul(weir_table_slots(&table), sizeof(struct fec_memory));
        sizes[PART_FEC_CODECS] = weir_size_mul(awake_max(config), codec_bytes(&fec));
    }
}

static void part_sizes(const struct weir_kcp_config *config, size_t sizes[PART_COUNT])
{
    struct weir_table_config table = table_config(config);
    sizes[PART_ENDPOINT] = sizeof(struct weir_kcp);
    sizes[PART_TABLE] = weir_table_mem_size(&table);
    sizes[PART_WHEEL] = weir_wheel_mem_size(awake_max(config));
    sizes[PART_AWAKES] = weir_pool_mem_size(sizeof(struct awake), awake_max(config));
    sizes[PART_PACEDS] = weir_pool_mem_size(sizeof(struct paced), paced_max(config));
    sizes[PART_HELDS] = weir_pool_mem_size(sizeof(struct held), config->held_max);
    sizes[PART_SEND] = weir_store_mem_size(config->send_bytes);
    sizes[PART_WINDOW] = weir_store_mem_size(config->window_bytes);
    layer_sizes(config, sizes);
}

size_t weir_kcp_mem_size(const struct weir_kcp_config *config)
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

void weir_kcp_apply_tuning(struct weir_kcp *ep)
{
    struct weir_kcp_tuning *tuning = &ep->config.tuning;
    uint32_t reserved = (uint32_t)ep->front_bytes + ep->tail_bytes;
    uint64_t mtu = weir_max_u64(tuning->mtu_bytes, WEIR_KCP_MTU_MIN + reserved);
    tuning->mtu_bytes = (uint16_t)weir_min_u64(mtu, WEIR_KCP_MTU_MAX);
    ep->mss = tuning->mtu_bytes - reserved - WEIR_KCP_HEADER_BYTES;
    ep->interval = tuning->interval_ms * WEIR_MSEC;
    uint32_t rto_default = tuning->nodelay != 0 ? 30 : 100;
    ep->rto_min_ms = tuning->rto_min_ms != 0 ? tuning->rto_min_ms : rto_default;
    ep->send_queue_max =
        tuning->send_queue_max != 0
            ? tuning->send_queue_max
            : (uint32_t)weir_max_u64((uint64_t)2 * tuning->send_window, SEND_QUEUE_MIN);
    ep->ack_max = (uint32_t)weir_max_u64(tuning->receive_window, ACKS_MIN);
}

/* Once, so that the calendars need not be made anew when the interval changes: coarse ticks would
 * be felt after it is tuned down. */
static uint8_t choose_tick_shift(uint32_t interval_ms)
{
    uint8_t shift = 0;
    while (shift < TICK_SHIFT_MAX && (8U << shift) <= interval_ms) {
        shift++;
    }
    return shift;
}

enum weir_status weir_kcp_init(void *mem, const struct weir_kcp_config *config,
                               const uint8_t seed[32], weir_nsec now, struct weir_kcp **endpoint)
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
    struct weir_kcp *ep = mem;
    memset(ep, 0, sizeof(*ep));
    ep->config = *config;
    weir_kcp_set_now(ep, now);
    ep->fast_limit = FASTLIMIT;
    ep->conv_at = config->address_policy == WEIR_KCP_ADDRESS_REPLACE ? ADDRESS_WORDS : 0;
    ep->tick_shift = choose_tick_shift(config->tuning.interval_ms);
    ep->locals_count = 1; /* the first is of family NONE */
    weir_prng_secret_init(&ep->secret, seed);
    ep->fec_memory = (struct fec_memory *)(void *)at[PART_FEC_MEMORY];
    ep->fec_codecs = at[PART_FEC_CODECS];
    enum weir_status status =
        weir_kcp_layers_init(ep, sizes[PART_CRYPT] > 0 ? at[PART_CRYPT] : NULL,
                             sizes[PART_FEC] > 0 ? at[PART_FEC] : NULL);
    if (status != WEIR_OK) {
        return status;
    }
    weir_kcp_apply_tuning(ep);
    struct weir_table_config table = table_config(config);
    struct weir_hash_key table_key = {.k0 = weir_prng_secret_next(&ep->secret),
                                      .k1 = weir_prng_secret_next(&ep->secret)};
    weir_table_init(&ep->table, at[PART_TABLE], &table, &table_key);
    ep->wheel = weir_wheel_init(at[PART_WHEEL], awake_max(config), now);
    weir_pool_init(&ep->awakes, at[PART_AWAKES], sizeof(struct awake), awake_max(config));
    weir_pool_init(&ep->paceds, at[PART_PACEDS], sizeof(struct paced), paced_max(config));
    weir_pool_init(&ep->helds, at[PART_HELDS], sizeof(struct held), config->held_max);
    ep->send_store = weir_store_init(at[PART_SEND], config->send_bytes);
    ep->window_store = weir_store_init(at[PART_WINDOW], config->window_bytes);
    weir_list_init(&ep->awake);
    ep->events = ep->ready = ep->starved = (struct fifo){LIST_END, LIST_END};
    ep->borrowed = HELD_NONE;
    ep->sweep_at = WEIR_NEVER;
    *endpoint = ep;
    return WEIR_OK;
}

enum weir_status weir_kcp_tune(struct weir_kcp *ep, const struct weir_kcp_tuning *tuning)
{
    if (!weir_kcp_tuning_is_valid(tuning)) {
        return WEIR_ERR_INVALID;
    }
    ep->config.tuning = *tuning;
    weir_kcp_apply_tuning(ep);
    return WEIR_OK;
}
