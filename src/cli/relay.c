/* SPDX-License-Identifier: MIT */
/*
 * relay.c - see relay.h.
 *
 * A datagram is judged when it is read and waits in the queue of its direction. One that goes up
 * carries its client's tag (index and generation): when the client's slot was given to another one
 * meanwhile, it is dropped.
 */
#include "cli/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/list.h"
#include "cli/cli.h"
#include "driver/flight.h"
#include "driver/gather.h"

enum {
    BUCKETS = 2 * CLI_RELAY_CLIENTS_MAX,
    NO_CLIENT = UINT32_MAX,
    PACKETS_MAX = 1 << 18, /* waiting, both directions together */
    BYTES_MAX = 256 << 20,
    SLOTS = 64, /* of one receive: as many datagrams, or more where the kernel joins them (GRO) */
    RECEIVED_MAX = SLOTS * 128,
    RECEIVES_MAX = 2, /* of one socket before the others and what is due get their turn */
    EVENTS_MAX = 64,
    CLIENT_BUFFER_BYTES = 1 << 20,
    FILES_SPARE = 32 /* descriptors besides the clients' */
};

static const uint64_t listen_tag = UINT64_MAX;
/* A signal may come between its check and the wait: then it is noticed this much later. */
static const weir_nsec wait_max = 200 * WEIR_MSEC;

struct client {
    struct weir_link link; /* in relay->used, the longest silent first */
    struct weir_driver *driver;
    struct weir_path path; /* at the listening socket; the key */
    weir_nsec heard;       /* last datagram of either direction */
    uint32_t generation;   /* of this slot */
    uint32_t next;         /* in the same bucket or on the free list */
};

struct direction {
    struct weir_impair impair;
    struct weir_flight_queue queue;
    uint64_t unsent;
};

struct cli_relay {
    struct cli_relay_config config;
    struct weir_driver *listener;
    int epoll;
    struct weir_flight flight;
    struct direction up, down;
    struct weir_gather gather;
    uint64_t gathered; /* datagrams in gather */
    struct weir_hash_key key;
    struct weir_list used;
    uint32_t free_clients;
    uint32_t buckets[BUCKETS];
    uint64_t clients_replaced, refused, strays;
    struct weir_mut_span room;
    struct weir_packet packets[RECEIVED_MAX];
    struct client clients[]; /* clients_max */
};

const struct weir_addr *cli_relay_local(const struct cli_relay *relay)
{
    return &relay->listener->local;
}

/* --- clients ---------------------------------------------------------------------------------- */

static uint64_t tag_of(const struct cli_relay *relay, const struct client *client)
{
    return (uint64_t)client->generation << 32 | (uint64_t)(client - relay->clients);
}

/* NULL when the client has gone. */
static struct client *client_of(struct cli_relay *relay, uint64_t tag)
{
    struct client *client = &relay->clients[(uint32_t)tag];
    return client->driver != NULL && client->generation == tag >> 32 ? client : NULL;
}

static uint32_t *bucket_of(struct cli_relay *relay, const struct weir_path *path)
{
    return &relay->buckets[weir_hash13(&relay->key, path, sizeof(*path)) % BUCKETS];
}

static bool is_same_path(const struct weir_path *a, const struct weir_path *b)
{
    return weir_addr_is_equal(&a->remote, &b->remote) && weir_addr_is_equal(&a->local, &b->local);
}

static struct client *find_client(struct cli_relay *relay, const struct weir_path *path)
{
    uint32_t index = *bucket_of(relay, path);
    while (index != NO_CLIENT && !is_same_path(&relay->clients[index].path, path)) {
        index = relay->clients[index].next;
    }
    return index == NO_CLIENT ? NULL : &relay->clients[index];
}

static void touch_client(struct cli_relay *relay, struct client *client, weir_nsec now)
{
    client->heard = now;
    weir_list_remove(&relay->used, &client->link);
    weir_list_append(&relay->used, &client->link);
}

static void remove_client(struct cli_relay *relay, struct client *client)
{
    uint32_t index = (uint32_t)(client - relay->clients);
    uint32_t *at = bucket_of(relay, &client->path);
    while (*at != index) {
        at = &relay->clients[*at].next;
    }
    *at = client->next;
    weir_list_remove(&relay->used, &client->link);
    client->driver->ops->close(client->driver); /* the epoll set forgets it with that */
    client->driver = NULL;
    client->generation++;
    client->next = relay->free_clients;
    relay->free_clients = index;
}

/* A free slot's index, if need be that of the client that was silent longest. */
static uint32_t find_slot(struct cli_relay *relay, weir_nsec now)
{
    struct weir_link *oldest = weir_list_first(&relay->used);
    if (relay->free_clients == NO_CLIENT && oldest != NULL) {
        struct client *client = WEIR_CONTAINER(oldest, struct client, link);
        if (now - client->heard >= relay->config.idle) {
            remove_client(relay, client);
            relay->clients_replaced++;
        }
    }
    return relay->free_clients;
}

static bool watch(const struct cli_relay *relay, const struct weir_driver *driver, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = tag}};
    return epoll_ctl(relay->epoll, EPOLL_CTL_ADD, driver->ops->fd(driver), &event) == 0;
}

static struct weir_driver *open_client_driver(const struct cli_relay *relay)
{
    struct weir_udp_config config;
    struct weir_driver *driver = NULL;
    int error = 0;
    weir_udp_config_default(&config);
    config.bind = (struct weir_addr){.family = relay->config.remote.family};
    config.batch_slots = SLOTS;
    config.receive_buffer_bytes = config.send_buffer_bytes = CLIENT_BUFFER_BYTES;
    return weir_udp_open(&config, &driver, NULL, &error) == WEIR_OK ? driver : NULL;
}

/* NULL when there is no room for one more, or no socket. */
static struct client *add_client(struct cli_relay *relay, const struct weir_path *path,
                                 weir_nsec now)
{
    uint32_t index = find_slot(relay, now);
    if (index == NO_CLIENT) {
        return NULL;
    }
    struct client *client = &relay->clients[index];
    struct weir_driver *driver = open_client_driver(relay);
    if (driver == NULL || !watch(relay, driver, tag_of(relay, client))) {
        if (driver != NULL) {
            driver->ops->close(driver);
        }
        return NULL;
    }
    uint32_t *bucket = bucket_of(relay, path);
    relay->free_clients = client->next;
    client->driver = driver;
    client->path = *path;
    client->heard = now;
    client->next = *bucket;
    *bucket = index;
    weir_list_append(&relay->used, &client->link);
    return client;
}

/* --- in --------------------------------------------------------------------------------------- */

static void offer(struct cli_relay *relay, struct direction *direction, weir_nsec now,
                  const struct weir_packet *packet, struct weir_flight_datagram *datagram)
{
    datagram->data = weir_span_of(packet->data, packet->length);
    datagram->ecn = packet->ecn;
    weir_flight_offer(&relay->flight, &direction->queue, &direction->impair, now, datagram);
}

static void on_client_datagrams(struct cli_relay *relay, weir_nsec now, uint32_t count)
{
    struct client *client = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_packet *packet = &relay->packets[i];
        if (client == NULL || !is_same_path(&client->path, packet->path)) {
            client = find_client(relay, packet->path);
            client = client != NULL ? client : add_client(relay, packet->path, now);
        }
        if (client == NULL) {
            relay->refused++;
            continue;
        }
        struct weir_flight_datagram datagram = {.path = {.remote = relay->config.remote},
                                                .tag = tag_of(relay, client)};
        touch_client(relay, client, now);
        offer(relay, &relay->up, now, packet, &datagram);
    }
}

static void on_server_datagrams(struct cli_relay *relay, struct client *client, weir_nsec now,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_packet *packet = &relay->packets[i];
        if (!weir_addr_is_equal(&packet->path->remote, &relay->config.remote)) {
            relay->strays++;
            continue;
        }
        struct weir_flight_datagram datagram = {.path = client->path};
        touch_client(relay, client, now);
        offer(relay, &relay->down, now, packet, &datagram);
    }
}

/* Empties a socket, within bounds. client: NULL for the listening socket. */
static enum weir_status read_socket(struct cli_relay *relay, struct client *client)
{
    struct weir_driver *driver = client == NULL ? relay->listener : client->driver;
    for (uint32_t call = 0; call < RECEIVES_MAX; call++) {
        uint32_t count = 0;
        weir_nsec now = cli_clock();
        enum weir_status status =
            driver->ops->receive(driver, now, relay->room, relay->packets, RECEIVED_MAX, &count);
        if (status != WEIR_OK) {
            return status;
        }
        if (client == NULL) {
            on_client_datagrams(relay, now, count);
        } else {
            on_server_datagrams(relay, client, now, count);
        }
        if (!driver->is_rx_full) {
            break;
        }
    }
    return WEIR_OK;
}

/* --- out -------------------------------------------------------------------------------------- */

/* What the system has no room for is dropped, as a router does. */
static enum weir_status send_gathered(struct cli_relay *relay, struct direction *direction,
                                      struct weir_driver *driver, weir_nsec now)
{
    uint64_t datagrams = driver->stats.tx_datagrams;
    uint64_t bytes = driver->stats.tx_bytes;
    enum weir_status status = weir_gather_send(&relay->gather, driver, now);
    (void)weir_gather_discard(&relay->gather, NULL);
    datagrams = driver->stats.tx_datagrams - datagrams;
    direction->impair.stats.delivered += datagrams;
    direction->impair.stats.delivered_bytes += driver->stats.tx_bytes - bytes;
    direction->unsent += relay->gathered - datagrams;
    relay->gathered = 0;
    return status == WEIR_AGAIN ? WEIR_OK : status;
}

/* Sends everything that is due in direction's queue and goes through driver. tag: whose, or
 * listen_tag for any. */
static enum weir_status flush_driver(struct cli_relay *relay, struct direction *direction,
                                     struct weir_driver *driver, uint64_t tag, weir_nsec now)
{
    while (weir_flight_next(&relay->flight, &direction->queue) <= now) {
        const struct weir_flight_packet *first =
            weir_flight_first(&relay->flight, &direction->queue);
        if (first == NULL || (tag != listen_tag && first->tag != tag)) {
            break;
        }
        if (!weir_gather_add(&relay->gather, driver, &relay->flight, first)) {
            enum weir_status status = send_gathered(relay, direction, driver, now);
            if (status != WEIR_OK) {
                return status;
            }
            continue; /* gather is empty now and takes it */
        }
        relay->gathered++;
        weir_flight_pop(&relay->flight, &direction->queue);
    }
    return send_gathered(relay, direction, driver, now);
}

static void flush_up(struct cli_relay *relay, weir_nsec now)
{
    struct direction *up = &relay->up;
    while (weir_flight_next(&relay->flight, &up->queue) <= now) {
        uint64_t tag = weir_flight_first(&relay->flight, &up->queue)->tag;
        struct client *client = client_of(relay, tag);
        if (client == NULL) {
            up->unsent++;
            weir_flight_pop(&relay->flight, &up->queue);
        } else if (flush_driver(relay, up, client->driver, tag, now) != WEIR_OK) {
            remove_client(relay, client);
        }
    }
}

static bool fail_listener(const struct cli_relay *relay)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(cli_relay_local(relay), text);
    cli_fail(CLI_FAILED, "the socket at %s failed: %s", text,
             cli_text_errno(relay->listener->error));
    return false;
}

static bool flush(struct cli_relay *relay)
{
    weir_nsec now = cli_clock();
    flush_up(relay, now);
    return flush_driver(relay, &relay->down, relay->listener, listen_tag, now) == WEIR_OK ||
           fail_listener(relay);
}

/* --- run -------------------------------------------------------------------------------------- */

static weir_nsec next_due(const struct cli_relay *relay, weir_nsec until)
{
    weir_nsec up = weir_flight_next(&relay->flight, &relay->up.queue);
    weir_nsec down = weir_flight_next(&relay->flight, &relay->down.queue);
    weir_nsec due = up < down ? up : down;
    return due < until ? due : until;
}

/* epoll_wait counts milliseconds; ppoll on the epoll set counts nanoseconds. */
static int wait_events(const struct cli_relay *relay, weir_nsec until, struct epoll_event *events)
{
    weir_nsec now = cli_clock();
    weir_nsec wait = until > now ? until - now : 0;
    wait = wait < wait_max ? wait : wait_max;
    struct timespec timeout = {.tv_sec = (time_t)(wait / WEIR_SEC),
                               .tv_nsec = (long)(wait % WEIR_SEC)};
    struct pollfd set = {.fd = relay->epoll, .events = POLLIN};
    if (wait > 0 && ppoll(&set, 1, &timeout, NULL) <= 0) {
        return 0;
    }
    return epoll_wait(relay->epoll, events, EVENTS_MAX, 0);
}

bool cli_relay_run_once(struct cli_relay *relay, weir_nsec until)
{
    struct epoll_event events[EVENTS_MAX];
    int count = wait_events(relay, next_due(relay, until), events);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == listen_tag) {
            if (read_socket(relay, NULL) != WEIR_OK) {
                return fail_listener(relay);
            }
            continue;
        }
        struct client *client = client_of(relay, events[i].data.u64);
        if (client != NULL && read_socket(relay, client) != WEIR_OK) {
            remove_client(relay, client);
        }
    }
    return flush(relay);
}

static void fill_direction(const struct direction *direction, struct cli_relay_direction *stats)
{
    *stats = (struct cli_relay_direction){.link = direction->impair.stats,
                                          .unsent = direction->unsent,
                                          .waiting = direction->queue.count};
}

void cli_relay_stats(const struct cli_relay *relay, struct cli_relay_stats *stats)
{
    *stats = (struct cli_relay_stats){.clients = relay->used.count,
                                      .clients_replaced = relay->clients_replaced,
                                      .refused = relay->refused,
                                      .strays = relay->strays};
    fill_direction(&relay->up, &stats->up);
    fill_direction(&relay->down, &stats->down);
}

/* --- open and close --------------------------------------------------------------------------- */

static bool open_listener(struct cli_relay *relay)
{
    struct weir_udp_config config;
    struct weir_udp_notice notice;
    char text[240];
    int error = 0;
    weir_udp_config_default(&config);
    config.bind = relay->config.listen;
    config.batch_slots = SLOTS;
    if (weir_udp_open(&config, &relay->listener, &notice, &error) != WEIR_OK) {
        weir_addr_format(&relay->config.listen, text);
        cli_fail(CLI_FAILED, "cannot listen on %s: %s%s", text, cli_text_errno(error),
                 error == EADDRINUSE ? "; stop the program there or choose another port" : "");
        return false;
    }
    weir_udp_notice_text(&notice, &config, text);
    if (text[0] != 0) {
        cli_warn("%s", text);
    }
    relay->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay->epoll < 0 || !watch(relay, relay->listener, listen_tag)) {
        cli_fail(CLI_FAILED, "cannot wait for datagrams: %s", cli_text_errno(errno));
        return false;
    }
    return true;
}

/* The options are read within the bounds of a link. */
static void init_direction(struct direction *direction, uint64_t seed,
                           const struct weir_sim_link *link)
{
    weir_impair_init(&direction->impair, seed);
    weir_flight_queue_init(&direction->queue);
    enum weir_status status = weir_impair_set_link(&direction->impair, link);
    WEIR_ASSERT(status == WEIR_OK);
}

/* The sockets of the clients may use the room that one receive of the listening one needs. */
static bool open_memory(struct cli_relay *relay)
{
    uint8_t seed[sizeof(relay->key)];
    relay->room.length = relay->listener->rx_room_bytes;
    relay->room.data = malloc(relay->room.length);
    if (relay->room.data == NULL || weir_gather_open(&relay->gather) != WEIR_OK ||
        weir_flight_open(&relay->flight, PACKETS_MAX, BYTES_MAX) != WEIR_OK ||
        weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        cli_fail(CLI_FAILED, "the system refused memory");
        return false;
    }
    memcpy(&relay->key, seed, sizeof(seed));
    return true;
}

/* The usual limit is 1,024 descriptors, of which a process may take more by asking. */
static void raise_files_limit(uint32_t clients_max)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < clients_max + FILES_SPARE) {
        rlim_t wanted = clients_max + FILES_SPARE;
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct cli_relay *cli_relay_open(const struct cli_relay_config *config)
{
    struct cli_relay *relay =
        calloc(1, sizeof(*relay) + config->clients_max * sizeof(relay->clients[0]));
    if (relay == NULL) {
        cli_fail(CLI_FAILED, "the system refused memory");
        return NULL;
    }
    relay->config = *config;
    relay->epoll = -1;
    weir_list_init(&relay->used);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        relay->buckets[i] = NO_CLIENT;
    }
    for (uint32_t i = 0; i < config->clients_max; i++) {
        relay->clients[i].next = i + 1 < config->clients_max ? i + 1 : NO_CLIENT;
    }
    struct weir_prng seeds;
    weir_prng_init(&seeds, config->seed);
    init_direction(&relay->up, weir_prng_next(&seeds), &config->up);
    init_direction(&relay->down, weir_prng_next(&seeds), &config->down);
    raise_files_limit(config->clients_max);
    if (!open_listener(relay) || !open_memory(relay)) {
        cli_relay_close(relay);
        return NULL;
    }
    return relay;
}

void cli_relay_close(struct cli_relay *relay)
{
    struct weir_link *first;
    while ((first = weir_list_first(&relay->used)) != NULL) {
        remove_client(relay, WEIR_CONTAINER(first, struct client, link));
    }
    if (relay->listener != NULL) {
        relay->listener->ops->close(relay->listener);
    }
    if (relay->epoll >= 0) {
        (void)close(relay->epoll);
    }
    weir_flight_close(&relay->flight);
    weir_gather_close(&relay->gather);
    free(relay->room.data);
    free(relay);
}
