/* SPDX-License-Identifier: MIT */
/*
 * rudp_weir.c - weir in the RUDP benchmark: the UDP driver, the loop, default settings.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_rudp.h"
#include "weir/weir.h"

enum {
    CONNECTING_MAX = 100, /* at once */
    AWAKE_MAX = 256,      /* of all other connections only what an idle one needs is kept */
    CONNECT_STEPS_MAX = 60000,
    QUEUE_BYTES = 1 << 20 /* more only leaves the cache */
};

struct stack {
    struct weir_driver *driver;
    struct weir_slide *slide;
    void *slide_mem, *rudp_mem;
    size_t slide_bytes, rudp_bytes;
    struct weir_rudp *rudp;
    struct weir_loop *loop;
};

struct rudp_client {
    struct stack stack;
    struct weir_rudp_conn *conn; /* the first: the one that sends */
    struct rudp_settings settings;
    uint32_t connected, lost;
    bool is_full;
    uint8_t *payload;
};

static bool open_driver(struct stack *stack)
{
    struct weir_udp_config udp;
    int os_error;
    weir_udp_config_default(&udp);
    udp.bind = (struct weir_addr){.ip = {127, 0, 0, 1}, .family = WEIR_ADDR_IP4};
    return weir_udp_open(&udp, &stack->driver, NULL, &os_error) == WEIR_OK;
}

static bool open_slide(struct stack *stack)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    stack->slide_bytes = weir_slide_mem_size(&config);
    stack->slide_mem = weir_mem_map(stack->slide_bytes);
    return stack->slide_mem != NULL &&
           weir_slide_init(stack->slide_mem, &config, &stack->slide) == WEIR_OK;
}

static bool open_rudp(struct stack *stack, const struct rudp_settings *settings, bool is_accepting)
{
    struct weir_rudp_config config;
    uint8_t seed[32];
    weir_rudp_config_default(&config);
    config.slide = stack->slide;
    config.connections_max = settings->connections + 8;
    config.awake_max = AWAKE_MAX;
    config.send_queue_bytes = QUEUE_BYTES;
    config.is_accepting = is_accepting;
    stack->rudp_bytes = weir_rudp_mem_size(&config);
    stack->rudp_mem = weir_mem_map(stack->rudp_bytes);
    struct weir_loop_config loop;
    weir_loop_config_default(&loop);
    loop.driver = stack->driver;
    loop.slide = stack->slide;
    return stack->rudp_mem != NULL && weir_secret_seed(seed, sizeof(seed)) == WEIR_OK &&
           weir_loop_open(&loop, &stack->loop) == WEIR_OK &&
           weir_rudp_init(stack->rudp_mem, &config, seed, weir_loop_now(stack->loop),
                          &stack->rudp) == WEIR_OK;
}

static bool open_stack(struct stack *stack, const struct rudp_settings *settings, bool is_accepting,
                       void (*on_events)(void *user, weir_nsec now), void *user)
{
    if (!open_driver(stack) || !open_slide(stack) || !open_rudp(stack, settings, is_accepting)) {
        return false;
    }
    weir_loop_attach(stack->loop, stack->rudp, weir_rudp_verbs(), on_events, user);
    return true;
}

static void close_stack(struct stack *stack)
{
    if (stack->loop != NULL) {
        weir_loop_close(stack->loop);
    }
    if (stack->driver != NULL) {
        stack->driver->ops->close(stack->driver);
    }
    if (stack->slide_mem != NULL) {
        weir_mem_unmap(stack->slide_mem, stack->slide_bytes);
    }
    if (stack->rudp_mem != NULL) {
        weir_mem_unmap(stack->rudp_mem, stack->rudp_bytes);
    }
}

/* --- server ----------------------------------------------------------------------------------- */

struct server {
    struct stack stack;
    struct rudp_shared *shared;
    uint64_t messages;
};

static void on_server_events(void *user, weir_nsec now)
{
    struct server *server = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(server->stack.rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            server->messages++;
        } else if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        }
    }
    atomic_store_explicit(&server->shared->messages, server->messages, memory_order_relaxed);
}

static bool serve(struct rudp_shared *shared, const struct rudp_settings *settings)
{
    struct server server = {.shared = shared};
    bool is_good = open_stack(&server.stack, settings, true, on_server_events, &server);
    if (is_good) {
        atomic_store(&shared->port, server.stack.driver->local.port);
    }
    while (is_good && !atomic_load_explicit(&shared->is_stopping, memory_order_relaxed)) {
        is_good = weir_loop_run_once(server.stack.loop, WEIR_MSEC) == WEIR_OK;
    }
    close_stack(&server.stack);
    return is_good;
}

/* --- client ----------------------------------------------------------------------------------- */

static void on_client_events(void *user, weir_nsec now)
{
    struct rudp_client *client = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(client->stack.rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_OPENED) {
            client->connected++;
        } else if (event.type == WEIR_RUDP_EVENT_WRITABLE) {
            client->is_full = false;
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            client->lost++;
        }
    }
}

static bool connect_all(struct rudp_client *client, uint16_t port)
{
    struct weir_addr server = {.ip = {127, 0, 0, 1}, .port = port, .family = WEIR_ADDR_IP4};
    struct stack *stack = &client->stack;
    uint32_t started = 0;
    for (uint32_t step = 0; step < CONNECT_STEPS_MAX; step++) {
        while (started < client->settings.connections &&
               started - client->connected < CONNECTING_MAX) {
            struct weir_rudp_conn *conn;
            enum weir_status status =
                weir_rudp_connect(stack->rudp, weir_loop_now(stack->loop), &server, NULL, &conn);
            if (status == WEIR_ERR_FULL) {
                break; /* the awake ones are all busy */
            }
            if (status != WEIR_OK) {
                return false;
            }
            client->conn = started == 0 ? conn : client->conn;
            started++;
        }
        if (weir_loop_flush(stack->loop) != WEIR_OK ||
            weir_loop_run_once(stack->loop, WEIR_MSEC) != WEIR_OK) {
            return false;
        }
        if (client->connected == client->settings.connections || client->lost > 0) {
            break;
        }
    }
    return client->connected == client->settings.connections;
}

static void close_client(struct rudp_client *client)
{
    close_stack(&client->stack);
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
    if (client->payload == NULL ||
        !open_stack(&client->stack, settings, false, on_client_events, client) ||
        !connect_all(client, port)) {
        close_client(client);
        return NULL;
    }
    return client;
}

static bool step(struct rudp_client *client)
{
    struct weir_rudp_send how = {.guarantee = client->settings.is_reliable ? WEIR_RUDP_DELIVERY
                                                                           : WEIR_RUDP_NONE};
    while (client->settings.size > 0 && !client->is_full) {
        enum weir_status status =
            weir_rudp_send(client->conn, &how, client->payload, client->settings.size);
        if (status == WEIR_ERR_FULL) {
            client->is_full = true;
        } else if (status != WEIR_OK) {
            return false;
        }
    }
    return weir_loop_flush(client->stack.loop) == WEIR_OK &&
           weir_loop_run_once(client->stack.loop, WEIR_MSEC) == WEIR_OK && client->lost == 0;
}

const struct rudp_contender bench_rudp_weir = {
    .name = "weir", .serve = serve, .open = open_client, .step = step, .close = close_client};
