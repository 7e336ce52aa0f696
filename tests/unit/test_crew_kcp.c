/* SPDX-License-Identifier: MIT */
/*
 * test_crew_kcp.c - KCP over real sockets under a crew whose number of workers changes.
 *
 * KCP's sessions lead to their shard by the client's address: each client has a socket of its own.
 */
#include "seed.h"

#include <string.h>

#include "weir/weir.h"

enum {
    SHARDS = 7,
    WORKERS = 3,
    CLIENTS = 12,
    OUTSTANDING = 6,
    RESIZES = 30,
    MESSAGE_BYTES = 600
};

struct endpoint {
    struct weir_kcp *kcp;
    void *mem;
    size_t bytes;
};

static void open_endpoint(struct endpoint *endpoint, struct weir_slide *slide, bool is_accepting,
                          uint8_t seed_byte)
{
    struct weir_kcp_config config;
    const uint8_t seed[32] = {seed_byte};
    weir_kcp_config_default(&config);
    assert_int_equal(weir_kcp_preset("turbo", &config), WEIR_OK);
    config.slide = slide;
    config.is_accepting = is_accepting;
    config.connections_max = 64;
    endpoint->bytes = weir_kcp_mem_size(&config);
    endpoint->mem = weir_mem_map(endpoint->bytes);
    assert_non_null(endpoint->mem);
    assert_int_equal(weir_kcp_init(endpoint->mem, &config, seed, 0, &endpoint->kcp), WEIR_OK);
}

static void close_endpoint(struct endpoint *endpoint)
{
    weir_kcp_fini(endpoint->kcp);
    weir_mem_unmap(endpoint->mem, endpoint->bytes);
}

/* --- the server: echoes ----------------------------------------------------------------------- */

static void serve(void *user, weir_nsec now)
{
    const struct endpoint *endpoint = (const struct endpoint *)user;
    struct weir_kcp_event event;
    uint8_t message[MESSAGE_BYTES];
    (void)now;
    while (weir_kcp_event(endpoint->kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_accept(event.conn, NULL);
        } else if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            assert_true(event.message.length <= sizeof(message));
            (void)weir_kcp_copy_message(&event, message, sizeof(message));
            assert_int_equal(weir_kcp_send(event.conn, message, event.message.length), WEIR_OK);
        }
    }
}

struct server {
    struct weir_crew *crew;
    struct weir_driver *queues[WORKERS];
    struct weir_route route;
    struct endpoint shards[SHARDS];
};

static struct weir_addr open_server(struct server *server)
{
    struct weir_udp_config udp;
    struct weir_crew_config config;
    const uint8_t seed[16] = {4};
    int error = 0;
    weir_udp_config_default(&udp);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &udp.bind), WEIR_OK);
    udp.is_port_reused = true;
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(weir_udp_open(&udp, &server->queues[i], NULL, &error), WEIR_OK);
        udp.bind = server->queues[i]->local;
    }
    weir_route_init(&server->route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.workers = 2;
    config.queues = server->queues;
    config.route = weir_route_packet;
    config.route_user = &server->route;
    assert_int_equal(weir_crew_open(&config, &server->crew), WEIR_OK);
    for (uint32_t s = 0; s < SHARDS; s++) {
        open_endpoint(&server->shards[s], weir_crew_slide(server->crew, s), true, (uint8_t)(s + 1));
        weir_crew_attach(server->crew, s, server->shards[s].kcp, weir_kcp_verbs(), serve,
                         &server->shards[s]);
    }
    assert_int_equal(weir_crew_start(server->crew), WEIR_OK);
    return udp.bind;
}

/* --- a client: numbered messages, their echoes in order --------------------------------------- */

struct client {
    struct endpoint endpoint;
    struct weir_driver *driver;
    void *slide_mem;
    size_t slide_bytes;
    struct weir_loop *loop;
    struct weir_kcp_conn *conn;
    uint64_t sent, received;
    bool is_closing;
};

static void send_next(struct client *client)
{
    uint8_t message[MESSAGE_BYTES];
    size_t length = 8 + (size_t)(client->sent * 37 % (MESSAGE_BYTES - 8));
    memset(message, (int)(client->sent & 0xff), length);
    memcpy(message, &client->sent, 8);
    assert_int_equal(weir_kcp_send(client->conn, message, length), WEIR_OK);
    client->sent++;
}

static void on_client_events(void *user, weir_nsec now)
{
    struct client *client = (struct client *)user;
    struct weir_kcp_event event;
    uint8_t message[MESSAGE_BYTES];
    (void)now;
    while (weir_kcp_event(client->endpoint.kcp, &event) == WEIR_OK) {
        assert_int_not_equal(event.type, WEIR_KCP_EVENT_CLOSED);
        if (event.type != WEIR_KCP_EVENT_MESSAGE) {
            continue;
        }
        uint64_t number = 0;
        (void)weir_kcp_copy_message(&event, message, sizeof(message));
        memcpy(&number, message, 8);
        assert_int_equal(number, client->received);
        assert_int_equal(event.message.length, 8 + number * 37 % (MESSAGE_BYTES - 8));
        client->received++;
        if (!client->is_closing) {
            send_next(client);
        }
    }
}

static void open_client(struct client *client, const struct weir_addr *server, uint8_t seed_byte)
{
    struct weir_udp_config udp;
    struct weir_slide_config slide_config = {1 << 20, 600 << 10, 0};
    struct weir_loop_config loop;
    struct weir_slide *slide = NULL;
    int error = 0;
    weir_udp_config_default(&udp);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &udp.bind), WEIR_OK);
    assert_int_equal(weir_udp_open(&udp, &client->driver, NULL, &error), WEIR_OK);
    client->slide_bytes = weir_slide_mem_size(&slide_config);
    client->slide_mem = weir_mem_map(client->slide_bytes);
    assert_int_equal(weir_slide_init(client->slide_mem, &slide_config, &slide), WEIR_OK);
    open_endpoint(&client->endpoint, slide, false, seed_byte);
    weir_loop_config_default(&loop);
    loop.driver = client->driver;
    loop.slide = slide;
    assert_int_equal(weir_loop_open(&loop, &client->loop), WEIR_OK);
    weir_loop_attach(client->loop, client->endpoint.kcp, weir_kcp_verbs(), on_client_events,
                     client);
    assert_int_equal(weir_kcp_connect(client->endpoint.kcp, weir_loop_now(client->loop), server, 0,
                                      client, &client->conn),
                     WEIR_OK);
    for (int i = 0; i < OUTSTANDING; i++) {
        send_next(client);
    }
}

static void close_client(struct client *client)
{
    weir_loop_close(client->loop);
    client->driver->ops->close(client->driver);
    close_endpoint(&client->endpoint);
    weir_mem_unmap(client->slide_mem, client->slide_bytes);
}

/* Each gets so many more echoes, or all that are missing when it is closing. */
static void run_until(struct client clients[CLIENTS], uint64_t more)
{
    uint64_t wanted[CLIENTS];
    weir_nsec give_up = weir_loop_now(clients[0].loop) + 60 * WEIR_SEC;
    bool is_done = false;
    for (int i = 0; i < CLIENTS; i++) {
        wanted[i] = clients[i].is_closing ? clients[i].sent : clients[i].received + more;
    }
    while (!is_done) {
        is_done = true;
        for (int i = 0; i < CLIENTS; i++) {
            assert_int_equal(weir_loop_run_once(clients[i].loop, 50 * WEIR_USEC), WEIR_OK);
            is_done &= clients[i].received >= wanted[i];
        }
        assert_true(weir_loop_now(clients[0].loop) < give_up);
    }
}

static void test_sessions_while_workers_come_and_go(void **state)
{
    static struct server server;
    static struct client clients[CLIENTS];
    struct weir_prng prng;
    uint64_t gained = 0;
    (void)state;
    weir_prng_init(&prng, 11);
    struct weir_addr addr = open_server(&server);
    for (int i = 0; i < CLIENTS; i++) {
        open_client(&clients[i], &addr, (uint8_t)(100 + i));
    }
    run_until(clients, 5);
    for (int resizes = 0; resizes < RESIZES;) {
        resizes +=
            weir_crew_resize(server.crew, 1 + (uint32_t)weir_prng_below(&prng, WORKERS)) == WEIR_OK;
        run_until(clients, 2);
    }
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].is_closing = true;
    }
    run_until(clients, 0);
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct weir_crew_worker_stats stats;
        assert_int_equal(weir_crew_worker_stats(server.crew, w, &stats), WEIR_OK);
        gained += stats.shards_gained;
    }
    assert_true(gained > 0);
    weir_crew_close(server.crew);
    for (int i = 0; i < CLIENTS; i++) {
        close_client(&clients[i]);
    }
    for (uint32_t s = 0; s < SHARDS; s++) {
        close_endpoint(&server.shards[s]);
    }
    for (int i = 0; i < WORKERS; i++) {
        server.queues[i]->ops->close(server.queues[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_while_workers_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
