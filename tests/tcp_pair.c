/* SPDX-License-Identifier: MIT */
/*
 * tcp_pair.c - see tcp_pair.h.
 */
#include "tcp_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "tcp_pair: %s\n", what);
        abort();
    }
}

struct weir_addr tcp_pair_server_addr(void)
{
    struct weir_addr addr;
    must(weir_addr_parse("10.0.0.2:80", &addr) == WEIR_OK, "address");
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

static void host_open(struct tcp_pair *pair, unsigned index, const struct tcp_pair_options *options)
{
    struct tcp_host *host = &pair->hosts[index];
    struct weir_addr addr = tcp_pair_server_addr();
    struct weir_slide_config slide;
    struct weir_tcp_config tcp =
        index == 1 && options->server != NULL ? *options->server : options->tcp;
    uint8_t seed[32] = {(uint8_t)index};
    memcpy(seed + 8, &options->seed, sizeof(options->seed));
    host->pair = pair;
    addr.ip[3] = (uint8_t)(1 + index);
    addr.port = 0; /* hosts of TCP have none */
    must(weir_sim_add_host(pair->sim, &addr, &host->driver) == WEIR_OK, "host");
    weir_slide_config_default(&slide);
    slide.size_bytes = options->slide_bytes;
    slide.batch_bytes_max = options->slide_bytes / 4;
    slide.secondary_bytes = options->secondary_bytes;
    host->slide_bytes = weir_slide_mem_size(&slide);
    host->slide_mem = weir_mem_map(host->slide_bytes);
    must(weir_slide_init(host->slide_mem, &slide, &host->slide) == WEIR_OK, "slide");
    tcp.slide = host->slide;
    host->tcp_bytes = weir_tcp_mem_size(&tcp);
    must(host->tcp_bytes > 0, "config");
    host->tcp_mem = weir_mem_map(host->tcp_bytes);
    must(weir_tcp_init(host->tcp_mem, &tcp, seed, pair->now, &host->tcp) == WEIR_OK, "init");
    if (index == 1) {
        struct weir_addr server = tcp_pair_server_addr();
        must(weir_tcp_listen(host->tcp, &server, &host->listener) == WEIR_OK, "listen");
    }
    host->tx_buffer = malloc(TCP_PAIR_TX_BYTES);
    host->tx_bytes = TCP_PAIR_TX_BYTES;
}

void tcp_pair_open(struct tcp_pair *pair, const struct tcp_pair_options *options,
                   void (*on_event)(struct tcp_pair *, struct tcp_host *, struct weir_tcp_event *),
                   void *user)
{
    struct weir_sim_config sim;
    memset(pair, 0, sizeof(*pair));
    pair->now = WEIR_SEC;
    pair->on_event = on_event;
    pair->user = user;
    weir_sim_config_default(&sim);
    sim.seed = options->seed;
    sim.hosts_max = 2 + options->strangers;
    must(weir_sim_open(&sim, &pair->sim) == WEIR_OK, "sim");
    host_open(pair, 0, options);
    host_open(pair, 1, options);
    for (unsigned i = 0; i < 2; i++) {
        must(weir_sim_set_link(pair->sim, pair->hosts[i].driver, pair->hosts[1 - i].driver,
                               &options->link) == WEIR_OK,
             "link");
    }
}

void tcp_pair_close(struct tcp_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tcp_host *host = &pair->hosts[i];
        weir_mem_unmap(host->tcp_mem, host->tcp_bytes);
        weir_mem_unmap(host->slide_mem, host->slide_bytes);
        free(host->tx_buffer);
    }
    weir_sim_close(pair->sim);
}

void tcp_pair_connect(struct tcp_pair *pair)
{
    const struct weir_path path = {.local = pair->hosts[0].driver->local,
                                   .remote = tcp_pair_server_addr()};
    must(weir_tcp_connect(pair->hosts[0].tcp, pair->now, &path, NULL, &pair->hosts[0].conn) ==
             WEIR_OK,
         "connect");
}

static void drain(struct tcp_host *host)
{
    struct weir_tcp_event event;
    while (weir_tcp_event(host->tcp, &event) == WEIR_OK) {
        host->pair->on_event(host->pair, host, &event);
    }
}

static bool receive(struct tcp_host *host)
{
    uint32_t count;
    weir_nsec now = host->pair->now;
    struct weir_mut_span room = weir_slide_room(host->slide);
    must(host->driver->ops->receive(host->driver, now, room, host->packets, TCP_PAIR_PACKETS,
                                    &count) == WEIR_OK,
         "receive");
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t end = (size_t)(host->packets[i].data + host->packets[i].length - room.data);
        used = end > used ? end : used;
    }
    weir_slide_received(host->slide, used);
    if (count > 0) {
        weir_tcp_input(host->tcp, now, host->packets, count);
    }
    drain(host);
    return count > 0;
}

/* Takes out what is too long for the path. */
static void lose_long(const struct tcp_host *host, struct weir_tx *tx)
{
    enum {
        IP_BYTES = 20
    };

    uint32_t kept = 0;
    for (uint32_t i = 0; i < tx->count; i++) {
        if (host->mtu_bytes == 0 ||
            host->mtu_bytes >= IP_BYTES + (uint32_t)tx->transmits[i].segment_bytes) {
            tx->transmits[kept++] = tx->transmits[i];
        }
    }
    tx->count = kept;
}

static void send(struct tcp_host *host)
{
    enum weir_status status;
    do {
        struct weir_tx tx = {.buffer = host->tx_buffer,
                             .buffer_bytes = host->tx_bytes,
                             .transmits = host->transmits,
                             .transmits_max = TCP_PAIR_TRANSMITS,
                             .run_bytes_max = host->driver->run_bytes_max,
                             .run_segments_max = host->driver->run_segments_max};
        uint32_t sent;
        status = weir_tcp_output(host->tcp, host->pair->now, &tx);
        must(tx.used_bytes <= tx.buffer_bytes, "output beyond its room");
        for (uint32_t i = 0; i < tx.count; i++) {
            /* Of a run only the last may be shorter. */
            if (tx.transmits[i].segment_bytes > host->datagram_bytes_max) {
                host->datagram_bytes_max = tx.transmits[i].segment_bytes;
            }
        }
        must(status == WEIR_AGAIN || tx.count > 0, "output is full of nothing");
        lose_long(host, &tx);
        must(host->driver->ops->send(host->driver, host->pair->now, tx.transmits, tx.count,
                                     &sent) == WEIR_OK,
             "send");
    } while (status == WEIR_OK);
}

void tcp_pair_settle(struct tcp_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tcp_host *host = &pair->hosts[i];
        while (receive(host)) {
        }
        if (weir_tcp_next_timeout(host->tcp) <= pair->now) {
            weir_tcp_timeout(host->tcp, pair->now);
            drain(host);
        }
        send(host);
        drain(host);
        send(host);
    }
}

bool tcp_pair_step(struct tcp_pair *pair, weir_nsec until)
{
    tcp_pair_settle(pair);
    weir_nsec next = weir_sim_next(pair->sim);
    for (unsigned i = 0; i < 2; i++) {
        weir_nsec timeout = weir_tcp_next_timeout(pair->hosts[i].tcp);
        next = timeout < next ? timeout : next;
    }
    if (next > until) {
        pair->now = until;
        return false;
    }
    pair->now = next > pair->now ? next : pair->now;
    return true;
}

void tcp_pair_run(struct tcp_pair *pair, weir_nsec until)
{
    while (tcp_pair_step(pair, until)) {
    }
    tcp_pair_settle(pair);
}
