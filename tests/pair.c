/* SPDX-License-Identifier: MIT */
/*
 * pair.c - see pair.h.
 */
#include "pair.h"

#include <string.h>

enum {
    SLIDE_BYTES = 2 << 20
};

struct weir_addr pair_server_addr(void)
{
    struct weir_addr addr;
    sim_must(weir_addr_parse("10.0.0.2:4000", &addr) == WEIR_OK, "address");
    return addr;
}

void pair_options_default(struct pair_options *options)
{
    *options = (struct pair_options){.seed = 1, .link = {.delay = 20 * WEIR_MSEC}};
    weir_rudp_config_default(&options->rudp);
    options->rudp.connections_max = 16;
    options->rudp.is_accepting = true;
}

static void drain(struct sim_host *base, weir_nsec now)
{
    struct pair_host *host = (struct pair_host *)(void *)base;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(host->rudp, &event) == WEIR_OK) {
        host->pair->on_event(host->pair, host, &event);
    }
}

static void host_open(struct pair *pair, unsigned index, const struct pair_options *options)
{
    struct pair_host *host = &pair->hosts[index];
    struct weir_addr addr = pair_server_addr();
    struct weir_rudp_config rudp = options->rudp;
    uint8_t seed[32] = {(uint8_t)index};
    memcpy(seed + 8, &options->seed, sizeof(options->seed));
    host->pair = pair;
    addr.ip[3] = (uint8_t)(1 + index);
    sim_host_open(&host->base, pair->sim, &addr, SLIDE_BYTES, 0);
    rudp.slide = host->base.slide;
    void *mem = sim_host_memory(&host->base, weir_rudp_mem_size(&rudp));
    sim_must(weir_rudp_init(mem, &rudp, seed, pair->now, &host->rudp) == WEIR_OK, "init");
    host->base.datagram_bytes_max = rudp.mtu_bytes_max;
    host->base.engine = host->rudp;
    host->base.verbs = weir_rudp_verbs();
    host->base.drain = drain;
}

#define HOSTS(pair) ((struct sim_host *const[]){&(pair)->hosts[0].base, &(pair)->hosts[1].base})

void pair_open(struct pair *pair, const struct pair_options *options,
               void (*on_event)(struct pair *, struct pair_host *, struct weir_rudp_event *),
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

void pair_close(struct pair *pair)
{
    sim_host_close(&pair->hosts[0].base);
    sim_host_close(&pair->hosts[1].base);
    weir_sim_close(pair->sim);
}

void pair_settle(struct pair *pair)
{
    sim_hosts_settle(HOSTS(pair), pair->now);
}

bool pair_step(struct pair *pair, weir_nsec until)
{
    return sim_hosts_step(pair->sim, HOSTS(pair), &pair->now, until);
}

void pair_run(struct pair *pair, weir_nsec until)
{
    sim_hosts_run(pair->sim, HOSTS(pair), &pair->now, until);
}

static void connect_event(struct pair *pair, struct pair_host *host, struct weir_rudp_event *event)
{
    (void)pair;
    if (event->type == WEIR_RUDP_EVENT_REQUEST) {
        weir_rudp_accept(event->conn, NULL);
        host->conn = event->conn;
    }
    sim_must(event->type == WEIR_RUDP_EVENT_REQUEST || event->type == WEIR_RUDP_EVENT_OPENED,
             "unexpected event while connecting");
}

void pair_connect(struct pair *pair)
{
    struct weir_addr server = pair_server_addr();
    void (*on_event)(struct pair *, struct pair_host *, struct weir_rudp_event *) = pair->on_event;
    pair->on_event = connect_event;
    sim_must(weir_rudp_connect(pair->hosts[0].rudp, pair->now, &server, NULL,
                               &pair->hosts[0].conn) == WEIR_OK,
             "connect");
    weir_nsec limit = pair->now + 300 * WEIR_SEC;
    do {
        pair_run(pair, pair->now + WEIR_SEC);
    } while (pair->hosts[1].conn == NULL && pair->now < limit);
    sim_must(pair->hosts[1].conn != NULL, "connected");
    pair->on_event = on_event;
}
