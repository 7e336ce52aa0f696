/* SPDX-License-Identifier: MIT */
/*
 * tcp_pair.c - see tcp_pair.h.
 */
#include "tcp_pair.h"

#include <string.h>

enum {
    IP4_BYTES = 20
};

struct weir_addr tcp_pair_server_addr(void)
{
    struct weir_addr addr;
    sim_must(weir_addr_parse("10.0.0.2:80", &addr) == WEIR_OK, "address");
    return addr;
}

void tcp_pair_options_default(struct tcp_pair_options *options)
{
    *options = (struct tcp_pair_options){.seed = 1,
                                         .link = {.delay = 20 * WEIR_MSEC},
                                         .slide_bytes = 2 << 20,
                                         .secondary_bytes = 16 << 20};
    weir_tcp_config_default(&options->tcp);
    options->tcp.connections_max = 16;
    options->tcp.connections6_max = 16;
}

static void drain(struct sim_host *base, weir_nsec now)
{
    struct tcp_host *host = (struct tcp_host *)(void *)base;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(host->tcp, &event) == WEIR_OK) {
        host->pair->on_event(host->pair, host, &event);
    }
}

static void host_open(struct tcp_pair *pair, unsigned index, const struct tcp_pair_options *options)
{
    struct tcp_host *host = &pair->hosts[index];
    struct weir_addr addr = tcp_pair_server_addr();
    struct weir_tcp_config tcp =
        index == 1 && options->server != NULL ? *options->server : options->tcp;
    uint8_t seed[32] = {(uint8_t)index};
    memcpy(seed + 8, &options->seed, sizeof(options->seed));
    host->pair = pair;
    addr.ip[3] = (uint8_t)(1 + index);
    addr.port = 0; /* hosts of TCP have none */
    sim_host_open(&host->base, pair->sim, &addr, options->slide_bytes, options->secondary_bytes);
    tcp.slide = host->base.slide;
    void *mem = sim_host_memory(&host->base, weir_tcp_mem_size(&tcp));
    sim_must(weir_tcp_init(mem, &tcp, seed, pair->now, &host->tcp) == WEIR_OK, "init");
    host->base.engine = host->tcp;
    host->base.verbs = weir_tcp_verbs();
    host->base.drain = drain;
    if (index == 1) {
        struct weir_addr server = tcp_pair_server_addr();
        sim_must(weir_tcp_listen(host->tcp, &server, &host->listener) == WEIR_OK, "listen");
    }
}

#define HOSTS(pair) ((struct sim_host *const[]){&(pair)->hosts[0].base, &(pair)->hosts[1].base})

void tcp_pair_open(struct tcp_pair *pair, const struct tcp_pair_options *options,
                   void (*on_event)(struct tcp_pair *, struct tcp_host *, struct weir_tcp_event *),
                   void *user)
{
    memset(pair, 0, sizeof(*pair));
    pair->now = WEIR_SEC;
    pair->on_event = on_event;
    pair->user = user;
    pair->sim = sim_open(options->seed, 2 + options->strangers);
    host_open(pair, 0, options);
    host_open(pair, 1, options);
    sim_link_both(pair->sim, HOSTS(pair), &options->link);
}

void tcp_pair_close(struct tcp_pair *pair)
{
    sim_host_close(&pair->hosts[0].base);
    sim_host_close(&pair->hosts[1].base);
    weir_sim_close(pair->sim);
}

void tcp_pair_connect(struct tcp_pair *pair)
{
    const struct weir_path path = {.local = pair->hosts[0].base.driver->local,
                                   .remote = tcp_pair_server_addr()};
    sim_must(weir_tcp_connect(pair->hosts[0].tcp, pair->now, &path, NULL, &pair->hosts[0].conn) ==
                 WEIR_OK,
             "connect");
}

void tcp_pair_set_path(struct tcp_pair *pair, unsigned side, uint32_t mtu_bytes)
{
    pair->hosts[side].base.path_bytes_max = mtu_bytes == 0 ? 0 : mtu_bytes - IP4_BYTES;
}

void tcp_pair_settle(struct tcp_pair *pair)
{
    sim_hosts_settle(HOSTS(pair), pair->now);
}

bool tcp_pair_step(struct tcp_pair *pair, weir_nsec until)
{
    return sim_hosts_step(pair->sim, HOSTS(pair), &pair->now, until);
}

void tcp_pair_run(struct tcp_pair *pair, weir_nsec until)
{
    sim_hosts_run(pair->sim, HOSTS(pair), &pair->now, until);
}
