/* SPDX-License-Identifier: MIT */
/*
 * test_crew.c - workers as real threads: RUDP over real sockets while their number changes.
 */
#include "seed.h"

#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    SHARDS = 13,
    WORKERS = 4,
    CONNS = 40,
    OUTSTANDING = 4,
    MESSAGE_MAX = 3000
};

/* --- an echo server under a crew -------------------------------------------------------------- */

struct server {
    struct weir_crew *crew;
    struct weir_driver *queues[WORKERS];
    struct weir_route route;
    bool is_steered;
    struct weir_steer *steer;

    struct server_shard {
        struct server *server;
        void *mem;
        struct weir_rudp *rudp;
        uint64_t works;
    } shards[SHARDS];
    struct weir_rudp_config config;
};

static void serve(void *user, weir_nsec now)
{
    struct server_shard *shard = (struct server_shard *)user;
    struct weir_rudp_event event;
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    (void)now;
    while (weir_rudp_event(shard->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            assert_int_equal(weir_rudp_send(event.conn, &how, event.message.data.data,
                                            event.message.data.length),
                             WEIR_OK);
        }
    }
}

static void count_work(void *user, weir_nsec now, const void *work, uint32_t length)
{
    (void)now;
    (void)work;
    (void)length;
    __atomic_fetch_add(&((struct server_shard *)user)->works, 1, __ATOMIC_RELAXED);
}

static struct weir_addr open_queues(struct server *server)
{
    struct weir_udp_config udp;
    int error = 0;
    weir_udp_config_default(&udp);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &udp.bind), WEIR_OK);
    udp.is_port_reused = true;
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(weir_udp_open(&udp, &server->queues[i], NULL, &error), WEIR_OK);
        udp.bind = server->queues[i]->local;
    }
    return udp.bind;
}

/* In the kernel, if it lets us. */
static void open_steer(struct server *server, struct weir_crew_config *config)
{
    char problem[WEIR_STEER_PROBLEM_BYTES];
    if (weir_steer_open(server->queues, WORKERS, &server->route, WEIR_STEER_RUDP, &server->steer,
                        problem) == WEIR_OK) {
        config->steer = weir_steer_set;
        config->steer_user = server->steer;
    } else {
        print_message("left out: %s\n", problem);
        server->is_steered = false;
    }
}

static struct weir_addr open_server(struct server *server, uint32_t workers)
{
    struct weir_crew_config config;
    const uint8_t seed[32] = {7};
    struct weir_addr addr = open_queues(server);
    weir_route_init(&server->route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.workers = workers;
    config.queues = server->queues;
    config.route = weir_rudp_route;
    config.route_user = &server->route;
    if (server->is_steered) {
        open_steer(server, &config);
    }
    assert_int_equal(weir_crew_open(&config, &server->crew), WEIR_OK);
    weir_crew_on_work(server->crew, count_work);
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct server_shard *shard = &server->shards[s];
        shard->server = server;
        weir_rudp_config_default(&server->config);
        server->config.slide = weir_crew_slide(server->crew, s);
        server->config.is_accepting = true;
        server->config.route = &server->route;
        server->config.shard = s;
        server->config.connections_max = CONNS;
        shard->mem = weir_mem_map(weir_rudp_mem_size(&server->config));
        assert_non_null(shard->mem);
        assert_int_equal(weir_rudp_init(shard->mem, &server->config, seed, 0, &shard->rudp),
                         WEIR_OK);
        weir_crew_attach(server->crew, s, shard->rudp, weir_rudp_verbs(), serve, shard);
    }
    assert_int_equal(weir_crew_start(server->crew), WEIR_OK);
    return addr;
}

static void close_server(struct server *server)
{
    weir_crew_close(server->crew);
    weir_steer_close(server->steer);
    for (uint32_t s = 0; s < SHARDS; s++) {
        weir_mem_unmap(server->shards[s].mem, weir_rudp_mem_size(&server->config));
    }
    for (int i = 0; i < WORKERS; i++) {
        server->queues[i]->ops->close(server->queues[i]);
    }
}

/* --- its clients, one thread ------------------------------------------------------------------ */

struct clients {
    void *mem, *slide_mem;
    size_t mem_bytes, slide_bytes;
    struct weir_driver *driver;
    struct weir_slide *slide;
    struct weir_rudp *rudp;
    struct weir_loop *loop;

    struct client {
        struct weir_rudp_conn *conn;
        uint64_t sent, received;
    } conns[CONNS];

    uint64_t received;
    bool is_closing;
    uint8_t message[MESSAGE_MAX];
};

static void send_next(struct clients *clients, struct client *client)
{
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    size_t length = 8 + (size_t)(client->sent * 97 % (MESSAGE_MAX - 8));
    memset(clients->message, (int)(client->sent & 0xff), length);
    memcpy(clients->message, &client->sent, 8);
    assert_int_equal(weir_rudp_send(client->conn, &how, clients->message, length), WEIR_OK);
    client->sent++;
}

static void on_message(struct clients *clients, const struct weir_rudp_event *event)
{
    struct client *client = (struct client *)weir_rudp_user(event->conn);
    struct weir_span data = event->message.data;
    uint64_t number = 0;
    memcpy(&number, data.data, 8);
    assert_int_equal(number, client->received);
    assert_int_equal(data.length, 8 + number * 97 % (MESSAGE_MAX - 8));
    for (size_t i = 8; i < data.length; i++) {
        assert_int_equal(data.data[i], number & 0xff);
    }
    client->received++;
    clients->received++;
    if (!clients->is_closing) {
        send_next(clients, client);
    }
}

static void on_client_events(void *user, weir_nsec now)
{
    struct clients *clients = (struct clients *)user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(clients->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_OPENED) {
            for (int i = 0; i < OUTSTANDING; i++) {
                send_next(clients, (struct client *)weir_rudp_user(event.conn));
            }
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            on_message(clients, &event);
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            fail_msg("a connection ended: %d", (int)event.closed.cause);
        }
    }
}

static void open_clients(struct clients *clients, const struct weir_addr *server)
{
    struct weir_udp_config udp;
    struct weir_slide_config slide;
    struct weir_rudp_config rudp;
    struct weir_loop_config loop;
    const uint8_t seed[32] = {9};
    int error = 0;
    weir_udp_config_default(&udp);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &udp.bind), WEIR_OK);
    assert_int_equal(weir_udp_open(&udp, &clients->driver, NULL, &error), WEIR_OK);
    weir_slide_config_default(&slide);
    clients->slide_bytes = weir_slide_mem_size(&slide);
    clients->slide_mem = weir_mem_map(clients->slide_bytes);
    assert_int_equal(weir_slide_init(clients->slide_mem, &slide, &clients->slide), WEIR_OK);
    weir_rudp_config_default(&rudp);
    rudp.slide = clients->slide;
    rudp.connections_max = CONNS;
    clients->mem_bytes = weir_rudp_mem_size(&rudp);
    clients->mem = weir_mem_map(clients->mem_bytes);
    assert_int_equal(weir_rudp_init(clients->mem, &rudp, seed, 0, &clients->rudp), WEIR_OK);
    weir_loop_config_default(&loop);
    loop.driver = clients->driver;
    loop.slide = clients->slide;
    assert_int_equal(weir_loop_open(&loop, &clients->loop), WEIR_OK);
    weir_loop_attach(clients->loop, clients->rudp, weir_rudp_verbs(), on_client_events, clients);
    for (int i = 0; i < CONNS; i++) {
        struct client *client = &clients->conns[i];
        assert_int_equal(weir_rudp_connect(clients->rudp, weir_loop_now(clients->loop), server,
                                           client, &client->conn),
                         WEIR_OK);
    }
}

static void close_clients(struct clients *clients)
{
    weir_loop_close(clients->loop);
    clients->driver->ops->close(clients->driver);
    weir_mem_unmap(clients->mem, clients->mem_bytes);
    weir_mem_unmap(clients->slide_mem, clients->slide_bytes);
}

static void run_for(struct clients *clients, uint64_t messages)
{
    uint64_t until = clients->received + messages;
    weir_nsec give_up = weir_loop_now(clients->loop) + 60 * WEIR_SEC;
    while (clients->received < until) {
        assert_int_equal(weir_loop_run_once(clients->loop, 10 * WEIR_MSEC), WEIR_OK);
        assert_true(weir_loop_now(clients->loop) < give_up);
    }
}

static bool are_all_answered(const struct clients *clients)
{
    for (int i = 0; i < CONNS; i++) {
        if (clients->conns[i].received != clients->conns[i].sent) {
            return false;
        }
    }
    return true;
}

static struct weir_crew_worker_stats sum_figures(const struct server *server)
{
    struct weir_crew_worker_stats sum = {.packets = 0};
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct weir_crew_worker_stats stats;
        assert_int_equal(weir_crew_worker_stats(server->crew, w, &stats), WEIR_OK);
        sum.packets += stats.packets;
        sum.misrouted += stats.misrouted;
        sum.shards_gained += stats.shards_gained;
        sum.undrained += stats.undrained;
        assert_int_equal(stats.driver_errors, 0);
    }
    return sum;
}

static void wait_for_settled(const struct server *server)
{
    while (!weir_crew_is_settled(server->crew)) {
        (void)usleep(100);
    }
}

/* Once the kernel knows where to, less than one in 1,000 has to be sent on. */
static void check_steering(struct server *server, struct clients *clients)
{
    wait_for_settled(server);
    struct weir_crew_worker_stats before = sum_figures(server);
    run_for(clients, 4000);
    struct weir_crew_worker_stats after = sum_figures(server);
    uint64_t packets = after.packets - before.packets;
    assert_true(packets > 1000);
    assert_true((after.misrouted - before.misrouted) * 1000 < packets);
    assert_int_equal(after.undrained, 0);
}

/* Every message is echoed once, in order, while workers come and go; nothing is resent for it. */
static void check_messages(bool is_steered, uint32_t resizes_max)
{
    static struct server server;
    static struct clients clients;
    struct weir_prng prng;
    uint32_t resizes = 0;
    memset(&server, 0, sizeof(server));
    memset(&clients, 0, sizeof(clients));
    weir_prng_init(&prng, 3);
    server.is_steered = is_steered;
    struct weir_addr addr = open_server(&server, 1);
    open_clients(&clients, &addr);
    run_for(&clients, 1000);
    while (resizes < resizes_max) {
        resizes +=
            weir_crew_resize(server.crew, 1 + (uint32_t)weir_prng_below(&prng, WORKERS)) == WEIR_OK;
        assert_int_equal(weir_crew_post(server.crew, resizes % SHARDS, "work", 4), WEIR_OK);
        run_for(&clients, 40 + weir_prng_below(&prng, 60));
    }
    if (server.is_steered) {
        check_steering(&server, &clients);
    }
    clients.is_closing = true;
    while (!are_all_answered(&clients)) {
        run_for(&clients, 1);
    }
    wait_for_settled(&server);
    struct weir_crew_worker_stats sum = sum_figures(&server);
    assert_true(sum.shards_gained > 0);
    assert_true(server.is_steered || sum.misrouted > 0);
    print_message("%u resizes: %llu packets, %llu sent on\n", resizes,
                  (unsigned long long)sum.packets, (unsigned long long)sum.misrouted);
    weir_crew_stop(server.crew);
    uint64_t accepted = 0;
    for (uint32_t s = 0; s < SHARDS; s++) {
        accepted += weir_rudp_stats(server.shards[s].rudp)->handshakes;
    }
    assert_int_equal(accepted, CONNS);
    close_server(&server);
    close_clients(&clients);
}

static void test_messages_while_workers_come_and_go(void **state)
{
    (void)state;
    check_messages(false, 60);
}

static void test_messages_with_steering(void **state)
{
    (void)state;
    check_messages(true, 200);
}

static void test_posts_reach_their_shard(void **state)
{
    static struct server server;
    uint64_t posted[SHARDS] = {0};
    uint64_t total = 0;
    uint8_t work[5000] = {0};
    (void)state;
    memset(&server, 0, sizeof(server));
    (void)open_server(&server, 2);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t s = i * 5 % SHARDS;
        enum weir_status status = weir_crew_post(server.crew, s, work, 1 + i % 4096);
        posted[s] += status == WEIR_OK;
        assert_true(status == WEIR_OK || status == WEIR_AGAIN);
        if (i % 500 == 499) {
            (void)weir_crew_resize(server.crew, 1 + i / 500 % WORKERS);
        }
    }
    assert_int_equal(weir_crew_post(server.crew, 0, work, 4097), WEIR_ERR_TOO_LARGE);
    assert_int_equal(weir_crew_post(server.crew, SHARDS, work, 1), WEIR_ERR_INVALID);
    for (uint32_t s = 0; s < SHARDS; s++) {
        for (int i = 0;
             i < 50000 && __atomic_load_n(&server.shards[s].works, __ATOMIC_RELAXED) < posted[s];
             i++) {
            (void)usleep(100);
        }
        total += posted[s];
        assert_int_equal(__atomic_load_n(&server.shards[s].works, __ATOMIC_RELAXED), posted[s]);
    }
    assert_true(total > 100);
    close_server(&server);
}

static void test_config_bounds(void **state)
{
    static struct server server;
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    (void)state;
    memset(&server, 0, sizeof(server));
    (void)open_queues(&server);
    weir_crew_config_default(&config);
    assert_int_equal(config.shards, 61);
    config.workers_max = WORKERS;
    config.queues = server.queues;
    config.route = weir_rudp_route;
    config.shards = 60;
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_ERR_INVALID);
    config.shards = 3; /* fewer than workers */
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_ERR_INVALID);
    config.shards = 61;
    config.ring_bytes = 65536; /* a receive would not fit */
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_ERR_INVALID);
    config.ring_bytes = 1 << 20;
    config.workers = WORKERS + 1;
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_ERR_INVALID);
    config.workers = 1;
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_OK);
    assert_int_equal(weir_crew_start(crew), WEIR_ERR_INVALID); /* no endpoints */
    assert_int_equal(weir_crew_resize(crew, 2), WEIR_ERR_INVALID);
    weir_crew_close(crew);
    for (int i = 0; i < WORKERS; i++) {
        server.queues[i]->ops->close(server.queues[i]);
    }
}

/* Shares differ by one at most, and only what the new worker gets moves. */
static void test_owners_are_even_and_move_little(void **state)
{
    static struct server server;
    struct weir_crew_config config;
    struct weir_crew *crew = NULL;
    (void)state;
    memset(&server, 0, sizeof(server));
    (void)open_queues(&server);
    weir_crew_config_default(&config);
    config.workers_max = WORKERS;
    config.queues = server.queues;
    config.route = weir_rudp_route;
    assert_int_equal(weir_crew_open(&config, &crew), WEIR_OK);
    for (uint32_t n = 1; n <= WORKERS; n++) {
        uint32_t has[WORKERS] = {0};
        for (uint32_t s = 0; s < config.shards; s++) {
            uint32_t owner = weir_crew_owner(crew, s, n);
            assert_true(owner < n);
            has[owner]++;
            if (n > 1 && owner != n - 1) {
                assert_int_equal(owner, weir_crew_owner(crew, s, n - 1));
            }
        }
        for (uint32_t w = 0; w < n; w++) {
            assert_in_range(has[w], config.shards / n, (config.shards + n - 1) / n);
        }
    }
    weir_crew_close(crew);
    for (int i = 0; i < WORKERS; i++) {
        server.queues[i]->ops->close(server.queues[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_bounds),
        cmocka_unit_test(test_owners_are_even_and_move_little),
        cmocka_unit_test(test_posts_reach_their_shard),
        cmocka_unit_test(test_messages_while_workers_come_and_go),
        cmocka_unit_test(test_messages_with_steering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
