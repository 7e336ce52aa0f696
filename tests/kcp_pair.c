/* SPDX-License-Identifier: MIT */
/*
 * kcp_pair.c - see kcp_pair.h.
 */
#include "kcp_pair.h"

#include <string.h>

enum {
    SLIDE_BYTES = 2 << 20
};

struct weir_addr kcp_pair_server_addr(void)
{
    struct weir_addr addr;
    sim_must(weir_addr_parse("10.0.0.2:4000", &addr) == WEIR_OK, "address");
    return addr;
}

void kcp_pair_options_default(struct kcp_pair_options *options)
{
    *options = (struct kcp_pair_options){.seed = 1, .link = {.delay = 20 * WEIR_MSEC}};
    weir_kcp_config_default(&options->kcp);
    options->kcp.connections_max = 16;
}

static void drain(struct sim_host *base, weir_nsec now)
{
    struct kcp_host *host = (struct kcp_host *)(void *)base;
    struct weir_kcp_event event;
    (void)now;
    while (weir_kcp_event(host->kcp, &event) == WEIR_OK) {
        host->pair->on_event(host->pair, host, &event);
    }
}

static void host_open(struct kcp_pair *pair, unsigned index, const struct kcp_pair_options *options)
{
    struct kcp_host *host = &pair->hosts[index];
    struct weir_addr addr = kcp_pair_server_addr();
    struct weir_kcp_config kcp =
        index == 1 && options->server != NULL ? *options->server : options->kcp;
    uint8_t seed[32] = {(uint8_t)index};
    memcpy(seed + 8, &options->seed, sizeof(options->seed));
    host->pair = pair;
    addr.ip[3] = (uint8_t)(1 + index);
    sim_host_open(&host->base, pair->sim, &addr, SLIDE_BYTES, 0);
    kcp.slide = host->base.slide;
    kcp.is_accepting = kcp.is_accepting || index == 1;
    void *mem = sim_host_memory(&host->base, weir_kcp_mem_size(&kcp));
    sim_must(weir_kcp_init(mem, &kcp, seed, pair->now, &host->kcp) == WEIR_OK, "init");
    host->base.engine = host->kcp;
    host->base.verbs = weir_kcp_verbs();
    host->base.drain = drain;
}

#define HOSTS(pair) ((struct sim_host *const[]){&(pair)->hosts[0].base, &(pair)->hosts[1].base})

void kcp_pair_open(struct kcp_pair *pair, const struct kcp_pair_options *options,
                   void (*on_event)(struct kcp_pair *, struct kcp_host *, struct weir_kcp_event *),
                   void *user)
{
    memset(pair, 0, sizeof(*pair));
    pair->now = WEIR_SEC;
    pair->on_event = on_event;
    pair->user = user;
    pair->sim = sim_open(options->seed, 2);
    host_open(pair, 0, options);
    host_open(pair, 1, options);
    sim_link_both(pair->sim, HOSTS(pair), &options->link);
}

void kcp_pair_close(struct kcp_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        weir_kcp_fini(pair->hosts[i].kcp);
        sim_host_close(&pair->hosts[i].base);
    }
    weir_sim_close(pair->sim);
}

void kcp_pair_connect(struct kcp_pair *pair)
{
    struct weir_addr server = kcp_pair_server_addr();
    sim_must(weir_kcp_connect(pair->hosts[0].kcp, pair->now, &server, 0, NULL,
                              &pair->hosts[0].conn) == WEIR_OK,
             "connect");
}

void kcp_pair_settle(struct kcp_pair *pair)
{
    sim_hosts_settle(HOSTS(pair), pair->now);
}

bool kcp_pair_step(struct kcp_pair *pair, weir_nsec until)
{
    return sim_hosts_step(pair->sim, HOSTS(pair), &pair->now, until);
}

void kcp_pair_run(struct kcp_pair *pair, weir_nsec until)
{
    sim_hosts_run(pair->sim, HOSTS(pair), &pair->now, until);
}
