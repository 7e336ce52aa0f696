/* SPDX-License-Identifier: MIT */
/*
 * serve_shard.c - one TCP endpoint of weir serve and the HTTP server on it.
 *
 * In a crew the bounds that are given hold for all shards together: each gets the mean and what
 * chance may add. What a single connection may use for itself cannot be split so far: there a shard
 * has room for eight.
 */
#include <string.h>

#include "base/bytes.h"
#include "cli/serve_run.h"

enum {
    AWAKE_MORE = 4096, /* connections that open, close or were answered just now */
    SEND_QUEUE_BYTES = 8 << 20,
    CHUNK_BYTES = 64 << 10, /* that memory is shared out in */
    SHARD_SEGMENTS = 8192,  /* TCP gives one connection half */
    SHARD_SEND_BYTES = 8 << 20,
    SHARD_MEMORY_BYTES_MIN = 2 << 20
};

static bool has_family(const struct cli_serve_options *options, uint8_t family)
{
    for (uint32_t i = 0; i < options->net.address_count; i++) {
        if (options->net.addresses[i].addr.family == family) {
            return true;
        }
    }
    return false;
}

static uint32_t share(const struct cli_crew *crew, uint64_t total)
{
    return crew == NULL ? (uint32_t)total : cli_crew_share(crew, (uint32_t)total);
}

static void configure_tcp(const struct cli_serve_options *options, const struct cli_crew *crew,
                          struct weir_tcp_config *config)
{
    uint32_t connections = share(crew, options->connections);
    weir_tcp_config_default(config);
    config->connections_max = has_family(options, WEIR_ADDR_IP4) ? connections : 1;
    config->connections6_max = has_family(options, WEIR_ADDR_IP6) ? connections : 0;
    config->awake_max =
        (uint32_t)weir_min_u64((uint64_t)config->connections_max + config->connections6_max,
                               share(crew, (uint64_t)options->serve.requests_max + AWAKE_MORE));
    config->tuning.is_nodelay = true; /* a head and its file leave without waiting */
    config->tuning.send_queue_max = SEND_QUEUE_BYTES;
    if (crew != NULL) {
        config->segments_max = config->held_max = SHARD_SEGMENTS;
        config->reordering_max = share(crew, config->reordering_max);
        config->send_bytes = SHARD_SEND_BYTES;
    }
}

/* Most of it is touched only when it is used. */
static enum weir_status open_tcp(struct cli_serve_shard *shard, struct weir_tcp_config *config,
                                 weir_nsec now)
{
    uint8_t seed[32];
    shard->tcp_mem_bytes = weir_tcp_mem_size(config);
    shard->tcp_mem = weir_mem_map(shard->tcp_mem_bytes);
    if (shard->tcp_mem == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status = weir_secret_seed(seed, sizeof(seed));
    return status != WEIR_OK ? status
                             : weir_tcp_init(shard->tcp_mem, config, seed, now, &shard->tcp);
}

static enum weir_status open_http(struct cli_serve_shard *shard,
                                  const struct cli_serve_place *place, weir_nsec now)
{
    const struct cli_crew *crew = place->crew;
    struct cli_serve_config config = shard->options->serve;
    config.tcp = shard->tcp;
    config.slide = place->slide;
    config.shard = place->index;
    config.requests_max = share(crew, config.requests_max);
    if (crew != NULL) {
        size_t mean = (size_t)share(crew, config.memory_bytes / CHUNK_BYTES) * CHUNK_BYTES;
        config.memory_bytes = mean > SHARD_MEMORY_BYTES_MIN ? mean : SHARD_MEMORY_BYTES_MIN;
    }
    shard->serve = cli_serve_open(&config, now);
    return shard->serve == NULL ? WEIR_ERR_MEMORY : WEIR_OK;
}

/* "*" is all addresses of both families. */
static enum weir_status listen_all(struct cli_serve_shard *shard)
{
    static const uint8_t families[CLI_SERVE_FAMILIES] = {WEIR_ADDR_IP4, WEIR_ADDR_IP6};
    static const uint8_t zeros[sizeof(shard->options->bind.ip)];
    const struct weir_addr *addr = &shard->options->bind;
    enum weir_status status = WEIR_OK;
    if (memcmp(addr->ip, zeros, sizeof(zeros)) != 0) {
        shard->listener_count = 1;
        return weir_tcp_listen(shard->tcp, addr, &shard->listeners[0]);
    }
    for (int i = 0; i < CLI_SERVE_FAMILIES && status == WEIR_OK; i++) {
        if (has_family(shard->options, families[i])) {
            const struct weir_addr any = {.family = families[i], .port = addr->port};
            status = weir_tcp_listen(shard->tcp, &any, &shard->listeners[shard->listener_count]);
            shard->listener_count++;
        }
    }
    return status;
}

enum weir_status cli_serve_shard_open(struct cli_serve_shard *shard,
                                      const struct cli_serve_options *options,
                                      const struct cli_serve_place *place, weir_nsec now)
{
    struct weir_tcp_config tcp;
    *shard = (struct cli_serve_shard){
        .options = options, .team = place->team, .team_count = place->team_count};
    configure_tcp(options, place->crew, &tcp);
    tcp.slide = place->slide;
    tcp.mtu_bytes = place->mtu_bytes;
    enum weir_status status = open_tcp(shard, &tcp, now);
    status = status == WEIR_OK ? open_http(shard, place, now) : status;
    return status == WEIR_OK ? listen_all(shard) : status;
}

void cli_serve_shard_close(struct cli_serve_shard *shard)
{
    if (shard->serve != NULL) {
        cli_serve_close(shard->serve);
    }
    weir_mem_unmap(shard->tcp_mem, shard->tcp_mem_bytes);
}

/* Alone the table is the bound. A shard's is larger than its part, so all are counted; one more on
 * each worker may slip through. */
static bool has_room(struct cli_serve_shard *shard)
{
    uint32_t families = has_family(shard->options, WEIR_ADDR_IP4) ? 1 : 0;
    families += has_family(shard->options, WEIR_ADDR_IP6) ? 1 : 0;
    uint64_t held = 0;
    if (shard->team == NULL) {
        return true;
    }
    __atomic_store_n(&shard->held, weir_tcp_stats(shard->tcp)->connections, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < shard->team_count; i++) {
        held += __atomic_load_n(&shard->team[i].held, __ATOMIC_RELAXED);
    }
    return held <= shard->options->connections * families;
}

void cli_serve_shard_on_events(void *user, weir_nsec now)
{
    struct cli_serve_shard *shard = user;
    struct weir_tcp_event event;
    while (weir_tcp_event(shard->tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED && !has_room(shard)) {
            (void)weir_tcp_abort(shard->tcp, event.conn); /* it has a control block */
        } else {
            cli_serve_on_event(shard->serve, now, &event);
        }
    }
    __atomic_store_n(&shard->held, weir_tcp_stats(shard->tcp)->connections, __ATOMIC_RELAXED);
}

weir_nsec cli_serve_shard_tick(void *user, weir_nsec now)
{
    struct cli_serve_shard *shard = user;
    cli_serve_tick(shard->serve, now);
    weir_nsec next = cli_serve_next_tick(shard->serve);
    if (!shard->is_stopping) {
        return next;
    }
    if (cli_serve_stats(shard->serve)->slots == 0 || now >= shard->give_up_at) {
        __atomic_store_n(&shard->has_ended, 1, __ATOMIC_RELEASE);
        return next;
    }
    return weir_min_u64(next, shard->give_up_at);
}

void cli_serve_shard_stop(void *user, weir_nsec now)
{
    struct cli_serve_shard *shard = user;
    shard->is_stopping = true;
    shard->give_up_at = now + CLI_SERVE_DRAIN;
    cli_serve_stop(shard->serve);
    for (uint32_t i = 0; i < shard->listener_count; i++) {
        weir_tcp_unlisten(shard->tcp, shard->listeners[i]);
    }
}

bool cli_serve_shard_has_ended(const struct cli_serve_shard *shard)
{
    return __atomic_load_n(&shard->has_ended, __ATOMIC_ACQUIRE) != 0;
}
