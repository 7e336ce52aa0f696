/* SPDX-License-Identifier: MIT */
/*
 * sim_host.c - see sim_host.h.
 */
#include "sim_host.h"

#include <stdio.h>
#include <stdlib.h>

void sim_must(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "simulated host: %s\n", what);
        abort();
    }
}

void sim_host_open(struct sim_host *host, struct weir_sim *sim, const struct weir_addr *addr,
                   size_t slide_bytes, size_t secondary_bytes)
{
    struct weir_slide_config slide;
    sim_must(weir_sim_add_host(sim, addr, &host->driver) == WEIR_OK, "host");
    weir_slide_config_default(&slide);
    slide.size_bytes = slide_bytes;
    slide.batch_bytes_max = slide_bytes / 4;
    slide.secondary_bytes = secondary_bytes;
    host->slide_bytes = weir_slide_mem_size(&slide);
    host->slide_mem = weir_mem_map(host->slide_bytes);
    sim_must(weir_slide_init(host->slide_mem, &slide, &host->slide) == WEIR_OK, "slide");
    host->tx_buffer = malloc(SIM_HOST_TX_BYTES);
    host->tx_bytes = SIM_HOST_TX_BYTES;
}

void *sim_host_memory(struct sim_host *host, size_t bytes)
{
    sim_must(bytes > 0, "config");
    host->engine_bytes = bytes;
    host->engine_mem = weir_mem_map(bytes);
    sim_must(host->engine_mem != NULL, "memory");
    return host->engine_mem;
}

void sim_host_close(struct sim_host *host)
{
    weir_mem_unmap(host->engine_mem, host->engine_bytes);
    weir_mem_unmap(host->slide_mem, host->slide_bytes);
    free(host->tx_buffer);
}

struct weir_sim *sim_open(uint64_t seed, uint32_t hosts_max)
{
    struct weir_sim_config config;
    struct weir_sim *sim = NULL;
    weir_sim_config_default(&config);
    config.seed = seed;
    config.hosts_max = hosts_max;
    sim_must(weir_sim_open(&config, &sim) == WEIR_OK, "simulation");
    return sim;
}

void sim_link_both(struct weir_sim *sim, struct sim_host *const hosts[2],
                   const struct weir_sim_link *link)
{
    for (unsigned i = 0; i < 2; i++) {
        sim_must(weir_sim_set_link(sim, hosts[i]->driver, hosts[1 - i]->driver, link) == WEIR_OK,
                 "link");
    }
}

static bool receive(struct sim_host *host, weir_nsec now)
{
    uint32_t count;
    struct weir_mut_span room = weir_slide_room(host->slide);
    sim_must(host->driver->ops->receive(host->driver, now, room, host->packets, SIM_HOST_PACKETS,
                                        &count) == WEIR_OK,
             "receive");
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t end = (size_t)(host->packets[i].data + host->packets[i].length - room.data);
        used = end > used ? end : used;
    }
    weir_slide_received(host->slide, used);
    if (count > 0) {
        host->verbs->input(host->engine, now, host->packets, count);
    }
    host->drain(host, now);
    return count > 0;
}

/* Takes out what is too long for the path. */
static void weigh(struct sim_host *host, struct weir_tx *tx)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tx->count; i++) {
        /* Of a run only the last may be shorter. */
        const uint32_t bytes = tx->transmits[i].segment_bytes;
        sim_must(host->datagram_bytes_max == 0 || bytes <= host->datagram_bytes_max,
                 "datagram too long");
        host->longest_sent = bytes > host->longest_sent ? bytes : host->longest_sent;
        if (host->path_bytes_max == 0 || bytes <= host->path_bytes_max) {
            tx->transmits[kept++] = tx->transmits[i];
        }
    }
    host->transmits_sent += tx->count;
    tx->count = kept;
}

static void send(struct sim_host *host, weir_nsec now)
{
    enum weir_status status;
    do {
        struct weir_tx tx = {.buffer = host->tx_buffer,
                             .buffer_bytes = host->tx_bytes,
                             .transmits = host->transmits,
                             .transmits_max = SIM_HOST_TRANSMITS,
                             .run_bytes_max = host->driver->run_bytes_max,
                             .run_segments_max = host->driver->run_segments_max};
        uint32_t sent;
        status = host->verbs->output(host->engine, now, &tx);
        sim_must(tx.used_bytes <= tx.buffer_bytes, "output beyond its room");
        sim_must(status == WEIR_AGAIN || tx.count > 0, "output is full of nothing");
        weigh(host, &tx);
        sim_must(host->driver->ops->send(host->driver, now, tx.transmits, tx.count, &sent) ==
                     WEIR_OK,
                 "send");
    } while (status == WEIR_OK);
}

void sim_hosts_settle(struct sim_host *const hosts[2], weir_nsec now)
{
    for (unsigned i = 0; i < 2; i++) {
        struct sim_host *host = hosts[i];
        while (receive(host, now)) {
        }
        if (host->verbs->next_timeout(host->engine) <= now) {
            host->verbs->timeout(host->engine, now);
            host->drain(host, now);
        }
        send(host, now);
        host->drain(host, now);
        send(host, now);
    }
}

bool sim_hosts_step(struct weir_sim *sim, struct sim_host *const hosts[2], weir_nsec *now,
                    weir_nsec until)
{
    sim_hosts_settle(hosts, *now);
    weir_nsec next = weir_sim_next(sim);
    for (unsigned i = 0; i < 2; i++) {
        weir_nsec timeout = hosts[i]->verbs->next_timeout(hosts[i]->engine);
        next = timeout < next ? timeout : next;
    }
    if (next > until) {
        *now = until;
        return false;
    }
    *now = next > *now ? next : *now;
    return true;
}

void sim_hosts_run(struct weir_sim *sim, struct sim_host *const hosts[2], weir_nsec *now,
                   weir_nsec until)
{
    while (sim_hosts_step(sim, hosts, now, until)) {
    }
    sim_hosts_settle(hosts, *now);
}
