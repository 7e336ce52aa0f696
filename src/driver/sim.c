/* SPDX-License-Identifier: MIT */
/*
 * sim.c - see weir/sim.h.
 *
 * A packet is judged by its direction's struct weir_impair when it is sent and waits in the
 * receiving host's queue until that host receives at or after its arrival. Every direction draws
 * from a generator of its own, so traffic one way does not change what happens to the other.
 */
#include "weir/sim.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "driver/flight.h"
#include "driver/impair.h"

enum {
    HOSTS_MAX_DEFAULT = 16,
    HOSTS_MAX = 1024,
    PACKETS_MAX_DEFAULT = 65536,
    BYTES_MAX_DEFAULT = 64 << 20,
    RUN_SEGMENTS_MAX = 64,
    BATCH_PATHS_MAX = 64 /* different senders in one receive; the others come with the next */
};

struct host {
    struct weir_driver driver;
    struct weir_sim *sim;
    uint32_t index;
    uint32_t last_peer;       /* index of the host last sent to: it is mostly the next one too */
    struct weir_addr outside; /* where others see and reach it: differs from driver.local behind a
                                 NAT */
    struct weir_flight_queue arriving;
    uint32_t paths_count;
    struct weir_path paths[BATCH_PATHS_MAX]; /* of the last receive */
};

struct direction {
    struct weir_impair impair;
    weir_nsec blackout_from, blackout_until;
    bool is_seeded, has_link;
};

struct weir_sim {
    struct weir_sim_config config;
    struct weir_flight flight;
    uint32_t hosts_count;
    struct host *hosts;
    struct direction *directions; /* hosts_max * hosts_max, [from * hosts_max + to] */
    struct weir_sim_stats strays; /* sent to an address that nobody has */
};

void weir_sim_config_default(struct weir_sim_config *config)
{
    *config = (struct weir_sim_config){.hosts_max = HOSTS_MAX_DEFAULT,
                                       .packets_max = PACKETS_MAX_DEFAULT,
                                       .bytes_max = BYTES_MAX_DEFAULT};
}

enum weir_status weir_sim_open(const struct weir_sim_config *config, struct weir_sim **sim)
{
    if (config->hosts_max == 0 || config->hosts_max > HOSTS_MAX) {
        return WEIR_ERR_INVALID;
    }
    struct weir_sim *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    enum weir_status status =
        weir_flight_open(&made->flight, config->packets_max, config->bytes_max);
    if (status != WEIR_OK) {
        free(made);
        return status;
    }
    size_t pairs = (size_t)config->hosts_max * config->hosts_max;
    made->config = *config;
    made->hosts = calloc(config->hosts_max, sizeof(*made->hosts));
    made->directions = calloc(pairs, sizeof(*made->directions));
    if (made->hosts == NULL || made->directions == NULL) {
        weir_sim_close(made);
        return WEIR_ERR_MEMORY;
    }
    *sim = made;
    return WEIR_OK;
}

void weir_sim_close(struct weir_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    weir_flight_close(&sim->flight);
    free(sim->hosts);
    free(sim->directions);
    free(sim);
}

/* The host whose driver this is, or NULL when it is none of sim's. */
static struct host *find_host(const struct weir_sim *sim, const struct weir_driver *driver)
{
    for (uint32_t i = 0; i < sim->hosts_count; i++) {
        if (driver == &sim->hosts[i].driver) {
            return &sim->hosts[i];
        }
    }
    return NULL;
}

static struct host *find_outside(const struct weir_sim *sim, const struct weir_addr *addr)
{
    for (uint32_t i = 0; i < sim->hosts_count; i++) {
        if (weir_addr_is_equal(&sim->hosts[i].outside, addr)) {
            return &sim->hosts[i];
        }
    }
    return NULL;
}

/* Seeded on first use: a link set late behaves as one set early. */
static struct direction *direction_at(struct weir_sim *sim, uint32_t from, uint32_t to)
{
    struct direction *direction = &sim->directions[(size_t)from * sim->config.hosts_max + to];
    if (!direction->is_seeded) {
        struct weir_prng seeds;
        weir_prng_init(&seeds, sim->config.seed);
        uint64_t seed = weir_prng_next(&seeds) ^ ((uint64_t)from << 32 | to);
        weir_impair_init(&direction->impair, seed);
        direction->is_seeded = true;
    }
    return direction;
}

/* --- the driver of a host --------------------------------------------------------------------- */

/* A host's driver is its first member. */
static struct host *host_of(struct weir_driver *driver)
{
    return (struct host *)(void *)driver;
}

/* The index of remote among the senders of this batch, one more if it is new; BATCH_PATHS_MAX when
 * there is no room for it. */
static uint32_t add_path(struct host *host, const struct weir_path *path)
{
    uint32_t i = 0;
    while (i < host->paths_count && !weir_addr_is_equal(&host->paths[i].remote, &path->remote)) {
        i++;
    }
    if (i == host->paths_count && i < BATCH_PATHS_MAX) {
        host->paths[host->paths_count++] = *path;
    }
    return i;
}

static void count_delivered(struct host *host, const struct weir_flight_packet *packet)
{
    struct direction *direction = &host->sim->directions[packet->tag];
    direction->impair.stats.delivered++;
    direction->impair.stats.delivered_bytes += packet->length;
    host->driver.stats.rx_datagrams++;
    host->driver.stats.rx_bytes += packet->length;
}

static enum weir_status receive(struct weir_driver *driver, weir_nsec now,
                                struct weir_mut_span room, struct weir_packet *packets,
                                uint32_t packets_max, uint32_t *count)
{
    struct host *host = host_of(driver);
    struct weir_flight *flight = &host->sim->flight;
    WEIR_ASSERT(room.length >= driver->rx_room_bytes);
    driver->stats.rx_calls++;
    host->paths_count = 0;
    size_t used = 0;
    uint32_t received = 0;
    while (received < packets_max && weir_flight_next(flight, &host->arriving) <= now) {
        const struct weir_flight_packet *first = weir_flight_first(flight, &host->arriving);
        if (first == NULL || first->length > room.length - used) {
            break;
        }
        uint32_t path = add_path(host, &first->path);
        if (path == BATCH_PATHS_MAX) {
            break;
        }
        weir_flight_copy(flight, first, room.data + used);
        packets[received++] = (struct weir_packet){.data = room.data + used,
                                                   .length = first->length,
                                                   .ecn = first->ecn,
                                                   .path = &host->paths[path]};
        used += first->length;
        count_delivered(host, first);
        weir_flight_pop(flight, &host->arriving);
    }
    driver->is_rx_full = weir_flight_next(flight, &host->arriving) <= now;
    *count = received;
    return WEIR_OK;
}

static struct host *find_peer(struct host *host, const struct weir_addr *remote)
{
    struct host *last = &host->sim->hosts[host->last_peer];
    if (weir_addr_is_equal(&last->outside, remote)) {
        return last;
    }
    struct host *peer = find_outside(host->sim, remote);
    if (peer != NULL) {
        host->last_peer = peer->index;
    }
    return peer;
}

static void count_unroutable(struct host *host, struct weir_sim_stats *stats, size_t length)
{
    stats->sent++;
    stats->sent_bytes += length;
    stats->unroutable++;
    host->driver.stats.tx_dropped++;
}

static void send_datagram(struct host *host, struct host *peer, weir_nsec now,
                          const struct weir_flight_datagram *datagram)
{
    struct weir_sim *sim = host->sim;
    if (peer == NULL) {
        count_unroutable(host, &sim->strays, datagram->data.length);
        return;
    }
    struct direction *direction = direction_at(sim, host->index, peer->index);
    struct weir_sim_stats *stats = &direction->impair.stats;
    if (!direction->has_link) {
        count_unroutable(host, stats, datagram->data.length);
        return;
    }
    host->driver.stats.tx_datagrams++;
    host->driver.stats.tx_bytes += datagram->data.length;
    if (now >= direction->blackout_from && now < direction->blackout_until) {
        stats->sent++;
        stats->sent_bytes += datagram->data.length;
        stats->blackout_dropped++;
        return;
    }
    weir_flight_offer(&sim->flight, &peer->arriving, &direction->impair, now, datagram);
}

/* One decision for each datagram of the run. */
static void send_run(struct host *host, weir_nsec now, const struct weir_transmit *run)
{
    WEIR_ASSERT(run->length <= host->driver.run_bytes_max);
    WEIR_ASSERT(run->length == 0 || run->segment_bytes > 0);
    WEIR_ASSERT(run->length <= (uint32_t)run->segment_bytes * RUN_SEGMENTS_MAX);
    struct host *peer = find_peer(host, &run->path.remote);
    struct weir_flight_datagram datagram = {.ecn = run->ecn};
    if (peer != NULL) {
        datagram.path = (struct weir_path){.local = peer->driver.local, .remote = host->outside};
        datagram.tag = (uint64_t)host->index * host->sim->config.hosts_max + peer->index;
    }
    uint32_t off = 0;
    do {
        uint64_t length = weir_min_u64(run->segment_bytes, run->length - off);
        datagram.data = weir_span_of(run->data + off, length);
        send_datagram(host, peer, now, &datagram);
        off += (uint32_t)length;
    } while (off < run->length);
}

static enum weir_status send(struct weir_driver *driver, weir_nsec now,
                             const struct weir_transmit *transmits, uint32_t count, uint32_t *sent)
{
    driver->stats.tx_calls++;
    for (uint32_t i = 0; i < count; i++) {
        send_run(host_of(driver), now, &transmits[i]);
    }
    *sent = count;
    return WEIR_OK;
}

static int fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec next_timeout(const struct weir_driver *driver)
{
    const struct host *host = (const struct host *)(const void *)driver;
    return weir_flight_next(&host->sim->flight, &host->arriving);
}

static void close_host(struct weir_driver *driver)
{
    (void)driver; /* ends with sim */
}

static const struct weir_driver_ops host_ops = {
    .receive = receive, .send = send, .fd = fd, .next_timeout = next_timeout, .close = close_host};

/* --- the network ------------------------------------------------------------------------------ */

enum weir_status weir_sim_add_host(struct weir_sim *sim, const struct weir_addr *addr,
                                   struct weir_driver **driver)
{
    if (sim->hosts_count == sim->config.hosts_max) {
        return WEIR_ERR_FULL;
    }
    if (find_outside(sim, addr) != NULL) {
        return WEIR_ERR_INVALID;
    }
    struct host *host = &sim->hosts[sim->hosts_count];
    host->driver = (struct weir_driver){.ops = &host_ops,
                                        .rx_room_bytes = WEIR_IMPAIR_DATAGRAM_MAX,
                                        .run_bytes_max = WEIR_IMPAIR_DATAGRAM_MAX,
                                        .run_segments_max = RUN_SEGMENTS_MAX,
                                        .datagram_bytes_max = WEIR_IMPAIR_DATAGRAM_MAX,
                                        .local = *addr};
    host->sim = sim;
    host->index = host->last_peer = sim->hosts_count++;
    host->outside = *addr;
    weir_flight_queue_init(&host->arriving);
    *driver = &host->driver;
    return WEIR_OK;
}

enum weir_status weir_sim_set_link(struct weir_sim *sim, const struct weir_driver *from,
                                   const struct weir_driver *to, const struct weir_sim_link *link)
{
    const struct host *sender = find_host(sim, from);
    const struct host *receiver = find_host(sim, to);
    if (sender == NULL || receiver == NULL) {
        return WEIR_ERR_INVALID;
    }
    struct direction *direction = direction_at(sim, sender->index, receiver->index);
    enum weir_status status = weir_impair_set_link(&direction->impair, link);
    direction->has_link = direction->has_link || status == WEIR_OK;
    return status;
}

enum weir_status weir_sim_rebind(struct weir_sim *sim, const struct weir_driver *host,
                                 const struct weir_addr *mapped)
{
    struct host *moved = find_host(sim, host);
    const struct host *owner = find_outside(sim, mapped);
    if (moved == NULL || (owner != NULL && owner != moved)) {
        return WEIR_ERR_INVALID;
    }
    moved->outside = *mapped;
    return WEIR_OK;
}

void weir_sim_blackout(struct weir_sim *sim, const struct weir_driver *from,
                       const struct weir_driver *to, weir_nsec from_time, weir_nsec until)
{
    const struct host *sender = find_host(sim, from);
    const struct host *receiver = find_host(sim, to);
    WEIR_ASSERT(sender != NULL && receiver != NULL);
    struct direction *direction = direction_at(sim, sender->index, receiver->index);
    direction->blackout_from = from_time;
    direction->blackout_until = until;
}

weir_nsec weir_sim_next(const struct weir_sim *sim)
{
    weir_nsec next = WEIR_NEVER;
    for (uint32_t i = 0; i < sim->hosts_count; i++) {
        next = weir_min_u64(next, weir_flight_next(&sim->flight, &sim->hosts[i].arriving));
    }
    return next;
}

struct weir_sim_stats weir_sim_stats(const struct weir_sim *sim, const struct weir_driver *from,
                                     const struct weir_driver *to)
{
    size_t width = sim->config.hosts_max;
    if (from != NULL) {
        const struct host *sender = find_host(sim, from);
        const struct host *receiver = find_host(sim, to);
        WEIR_ASSERT(sender != NULL && receiver != NULL);
        return sim->directions[sender->index * width + receiver->index].impair.stats;
    }
    struct weir_sim_stats sum = sim->strays;
    for (uint32_t i = 0; i < sim->hosts_count; i++) {
        for (uint32_t j = 0; j < sim->hosts_count; j++) {
            weir_impair_stats_add(&sum, &sim->directions[i * width + j].impair.stats);
        }
    }
    return sum;
}
