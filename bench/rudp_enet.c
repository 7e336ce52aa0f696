/* SPDX-License-Identifier: MIT */
/*
 * rudp_enet.c - ENet in the RUDP benchmark.
 *
 * As its tutorial has it: one host a side, one channel, no bandwidth limit, no compressor and no
 * checksum (weir's packets carry a CRC32C; ENet's is left off, which spares it time). ENet queues
 * without a bound and walks its queue on every service call, so the number of packets that it has
 * is kept at settings->backlog; the benchmark tries several and takes the best.
 */
#include <enet/enet.h>
#include <stdlib.h>
#include <string.h>

#include "bench_rudp.h"

enum {
    CONNECTING_MAX = 100, /* at once */
    CONNECT_STEPS_MAX = 60000
};

struct rudp_client {
    ENetHost *host;
    ENetPeer *peer; /* the first: the one that sends */
    struct rudp_settings settings;
    uint32_t connected, lost;
    uint32_t outstanding;
    uint8_t *payload;
};

static ENetHost *create_host(const ENetAddress *address, uint32_t connections)
{
    return enet_initialize() == 0 ? enet_host_create(address, connections, 1, 0, 0) : NULL;
}

/* Waits up to a millisecond. Returns how many messages came. */
static uint64_t receive_some(ENetHost *host)
{
    ENetEvent event;
    uint64_t messages = 0;
    int result = enet_host_service(host, &event, 1);
    while (result > 0) {
        if (event.type == ENET_EVENT_TYPE_RECEIVE) {
            messages++;
            enet_packet_destroy(event.packet);
        }
        result = enet_host_check_events(host, &event);
    }
    return messages;
}

static bool serve(struct rudp_shared *shared, const struct rudp_settings *settings)
{
    ENetAddress address = {.port = 0};
    if (enet_address_set_host_ip(&address, "127.0.0.1") != 0) {
        return false;
    }
    ENetHost *host = create_host(&address, settings->connections);
    if (host == NULL) {
        return false;
    }
    uint64_t messages = 0;
    atomic_store(&shared->port, host->address.port);
    while (!atomic_load_explicit(&shared->is_stopping, memory_order_relaxed)) {
        messages += receive_some(host);
        atomic_store_explicit(&shared->messages, messages, memory_order_relaxed);
    }
    enet_host_destroy(host);
    return true;
}

static void on_event(struct rudp_client *client, const ENetEvent *event)
{
    if (event->type == ENET_EVENT_TYPE_CONNECT) {
        client->connected++;
    } else if (event->type == ENET_EVENT_TYPE_DISCONNECT) {
        client->lost++;
    } else if (event->type == ENET_EVENT_TYPE_RECEIVE) {
        enet_packet_destroy(event->packet);
    }
}

static void service(struct rudp_client *client)
{
    ENetEvent event;
    if (enet_host_service(client->host, &event, 1) > 0) {
        do {
            on_event(client, &event);
        } while (enet_host_check_events(client->host, &event) > 0);
    }
}

static bool connect_all(struct rudp_client *client, uint16_t port)
{
    ENetAddress address = {.port = port};
    uint32_t started = 0;
    if (enet_address_set_host_ip(&address, "127.0.0.1") != 0) {
        return false;
    }
    for (uint32_t step = 0; step < CONNECT_STEPS_MAX; step++) {
        while (started < client->settings.connections &&
               started - client->connected < CONNECTING_MAX) {
            ENetPeer *peer = enet_host_connect(client->host, &address, 1, 0);
            if (peer == NULL) {
                return false;
            }
            client->peer = started == 0 ? peer : client->peer;
            started++;
        }
        service(client);
        if (client->connected == client->settings.connections || client->lost > 0) {
            break;
        }
    }
    return client->connected == client->settings.connections;
}

static void close_client(struct rudp_client *client)
{
    if (client->host != NULL) {
        /* Frees the queued packets, whose callbacks still count in client. */
        enet_host_destroy(client->host);
    }
    free(client->payload);
    free(client);
}

static struct rudp_client *open_client(const struct rudp_settings *settings, uint16_t port)
{
    struct rudp_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return NULL;
    }
    client->settings = *settings;
    client->payload = calloc(1, settings->size + 1);
    client->host = create_host(NULL, settings->connections);
    if (client->payload == NULL || client->host == NULL || !connect_all(client, port)) {
        close_client(client);
        return NULL;
    }
    if (!settings->is_throttled) {
        enet_peer_throttle_configure(client->peer, ENET_PEER_PACKET_THROTTLE_INTERVAL,
                                     ENET_PEER_PACKET_THROTTLE_SCALE, 0);
    }
    return client;
}

static void on_packet_freed(ENetPacket *packet)
{
    struct rudp_client *client = packet->userData;
    client->outstanding--;
}

static bool send_one(struct rudp_client *client)
{
    enet_uint32 flags = client->settings.is_reliable      ? ENET_PACKET_FLAG_RELIABLE
                        : client->settings.is_unsequenced ? ENET_PACKET_FLAG_UNSEQUENCED
                                                          : 0;
    ENetPacket *packet = enet_packet_create(client->payload, client->settings.size, flags);
    if (packet == NULL) {
        return false;
    }
    packet->userData = client;
    packet->freeCallback = on_packet_freed;
    client->outstanding++;
    if (enet_peer_send(client->peer, 0, packet) != 0) {
        enet_packet_destroy(packet);
        return false;
    }
    return true;
}

static bool step(struct rudp_client *client)
{
    while (client->settings.size > 0 && client->outstanding < client->settings.backlog) {
        if (!send_one(client)) {
            return false;
        }
    }
    /* A sender of unreliable packets that never waits reaches a third of this: it overruns the
     * receiver's socket. */
    service(client);
    return client->lost == 0;
}

const struct rudp_contender bench_rudp_enet = {
    .name = "ENet", .serve = serve, .open = open_client, .step = step, .close = close_client};
