/* SPDX-License-Identifier: MIT */
/*
 * pair.c - see pair.h.
 */
#include "pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "pair: %s\n", what);
        abort();
    }
}

struct weir_addr pair_server_addr(void)
{
    struct weir_addr addr;
    must(weir_addr_parse("10.0.0.2:4000", &addr) == WEIR_OK, "address");
    return addr;
}

void pair_options_default(struct pair_options *options)
{
    *options = (struct pair_options){.seed = 1, .link = {.delay = 20 * WEIR_MSEC}};
    weir_rudp_config_default(&options->rudp);
    options->rudp.connections_max = 16;
    options->rudp.is_accepting = true;
}

static void host_open(struct pair *pair, unsigned index, const struct pair_options *options)
{
    struct pair_host *host = &pair->hosts[index];
    struct weir_addr addr = pair_server_addr();
    struct weir_slide_config slide;
    struct weir_rudp_config rudp = options->rudp;
    uint8_t seed[32] = {(uint8_t)index};
    memcpy(seed + 8, &options->seed, sizeof(options->seed));
    host->pair = pair;
    addr.ip[3] = (uint8_t)(1 + index);
    must(weir_sim_add_host(pair->sim, &addr, &host->driver) == WEIR_OK, "host");
    weir_slide_config_default(&slide);
    slide.size_bytes = 2 << 20;
    slide.batch_bytes_max = 1 << 19;
    host->slide_bytes = weir_slide_mem_size(&slide);
    host->slide_mem = weir_mem_map(host->slide_bytes);
    must(weir_slide_init(host->slide_mem, &slide, &host->slide) == WEIR_OK, "slide");
    rudp.slide = host->slide;
    host->rudp_bytes = weir_rudp_mem_size(&rudp);
    must(host->rudp_bytes > 0, "config");
    host->rudp_mem = weir_mem_map(host->rudp_bytes);
    host->mtu_bytes_max = rudp.mtu_bytes_max;
    must(weir_rudp_init(host->rudp_mem, &rudp, seed, pair->now, &host->rudp) == WEIR_OK, "init");
    host->tx_buffer = malloc(PAIR_TX_BYTES);
}

void pair_open(struct pair *pair, const struct pair_options *options,
               void (*on_event)(struct pair *, struct pair_host *, struct weir_rudp_event *),
               void *user)
{
    struct weir_sim_config sim;
    memset(pair, 0, sizeof(*pair));
    pair->now = WEIR_SEC;
    pair->on_event = on_event;
    pair->user = user;
    weir_sim_config_default(&sim);
    sim.seed = options->seed;
    sim.hosts_max = 2;
    must(weir_sim_open(&sim, &pair->sim) == WEIR_OK, "sim");
    host_open(pair, 0, options);
    host_open(pair, 1, options);
    for (unsigned i = 0; i < 2; i++) {
        must(weir_sim_set_link(pair->sim, pair->hosts[i].driver, pair->hosts[1 - i].driver,
                               &options->link) == WEIR_OK,
             "link");
    }
}

void pair_close(struct pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pair_host *host = &pair->hosts[i];
        weir_mem_unmap(host->rudp_mem, host->rudp_bytes);
        weir_mem_unmap(host->slide_mem, host->slide_bytes);
        free(host->tx_buffer);
    }
    weir_sim_close(pair->sim);
}

static void drain(struct pair_host *host)
{
    struct weir_rudp_event event;
    while (weir_rudp_event(host->rudp, &event) == WEIR_OK) {
        host->pair->on_event(host->pair, host, &event);
    }
}

static bool receive(struct pair_host *host)
{
    uint32_t count;
    weir_nsec now = host->pair->now;
    struct weir_mut_span room = weir_slide_room(host->slide);
    must(host->driver->ops->receive(host->driver, now, room, host->packets, PAIR_PACKETS, &count) ==
             WEIR_OK,
         "receive");
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t end = (size_t)(host->packets[i].data + host->packets[i].length - room.data);
        used = end > used ? end : used;
    }
    weir_slide_received(host->slide, used);
    if (count > 0) {
        weir_rudp_input(host->rudp, now, host->packets, count);
    }
    drain(host);
    return count > 0;
}

static void send(struct pair_host *host)
{
    enum weir_status status;
    do {
        struct weir_tx tx = {.buffer = host->tx_buffer,
                             .buffer_bytes = PAIR_TX_BYTES,
                             .transmits = host->transmits,
                             .transmits_max = PAIR_TRANSMITS,
                             .run_bytes_max = host->driver->run_bytes_max,
                             .run_segments_max = host->driver->run_segments_max};
        uint32_t sent;
        status = weir_rudp_output(host->rudp, host->pair->now, &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            must(tx.transmits[i].segment_bytes <= host->mtu_bytes_max, "datagram too long");
        }
        must(host->driver->ops->send(host->driver, host->pair->now, tx.transmits, tx.count,
                                     &sent) == WEIR_OK,
             "send");
        host->transmits_sent += tx.count;
    } while (status == WEIR_OK);
}

void pair_settle(struct pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pair_host *host = &pair->hosts[i];
        while (receive(host)) {
        }
        if (weir_rudp_next_timeout(host->rudp) <= pair->now) {
            weir_rudp_timeout(host->rudp, pair->now);
            drain(host);
        }
        send(host);
        drain(host);
        send(host);
    }
}

bool pair_step(struct pair *pair, weir_nsec until)
{
    pair_settle(pair);
    weir_nsec next = weir_sim_next(pair->sim);
    for (unsigned i = 0; i < 2; i++) {
        weir_nsec timeout = weir_rudp_next_timeout(pair->hosts[i].rudp);
        next = timeout < next ? timeout : next;
    }
    if (next > until) {
        pair->now = until;
        return false;
    }
    pair->now = next > pair->now ? next : pair->now;
    return true;
}

void pair_run(struct pair *pair, weir_nsec until)
{
    while (pair_step(pair, until)) {
    }
    pair_settle(pair);
}

static void connect_event(struct pair *pair, struct pair_host *host, struct weir_rudp_event *event)
{
    (void)pair;
    if (event->type == WEIR_RUDP_EVENT_REQUEST) {
        weir_rudp_accept(event->conn, NULL);
        host->conn = event->conn;
    }
    must(event->type == WEIR_RUDP_EVENT_REQUEST || event->type == WEIR_RUDP_EVENT_OPENED,
         "unexpected event while connecting");
}

void pair_connect(struct pair *pair)
{
    struct weir_addr server = pair_server_addr();
    void (*on_event)(struct pair *, struct pair_host *, struct weir_rudp_event *) = pair->on_event;
    pair->on_event = connect_event;
    must(weir_rudp_connect(pair->hosts[0].rudp, pair->now, &server, NULL, &pair->hosts[0].conn) ==
             WEIR_OK,
         "connect");
    weir_nsec limit = pair->now + 300 * WEIR_SEC;
    do {
        pair_run(pair, pair->now + WEIR_SEC);
    } while (pair->hosts[1].conn == NULL && pair->now < limit);
    must(pair->hosts[1].conn != NULL, "connected");
    pair->on_event = on_event;
}
