/* SPDX-License-Identifier: MIT */
/*
 * prop_overload.c - more is asked of a crew than it can carry, for a while, in virtual time.
 *
 *   prop_overload FIRST_SEED COUNT
 *
 * Two processors, one of the clients and one of the crew's only worker: what is received and sent
 * takes time there, so that work can be more than there is time for. Sockets hold so many packets
 * and lose the rest. Messages come at a fixed rate, whatever became of those before. While it is
 * too high the crew must go on getting useful work done, and when it is low again everything must
 * be as before soon.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "weir/weir.h"

enum {
    SHARDS = 13,
    CONNS = 12000,
    SOCKETS = 8, /* of the clients; the crew's is another */
    OPENING_MAX = 64,
    WAITING_MAX = 8192, /* packets in a socket */
    PACKET_MAX = 1500,
    SLOTS = 8, /* packets of one receive */
    MESSAGE_BYTES = 32,
    SERVER_PORT = 1,
    CLIENT_PORT = 1000,
    /* What things take, ns. */
    CALL_NS = 1000,
    RECEIVE_NS = 10000,
    SEND_NS = 15000,
    LATENCY_NS = 20000
};

/* A message and its echo are a packet and its acknowledgment each: 20,000 a second are all that
 * goes, but for those of a connection that wait for one another and go in one packet then. */
#define RATE_TOO_HIGH UINT64_C(200000)
#define RATE_LOW      UINT64_C(8000)
#define OVERLOAD      (3 * WEIR_SEC)
#define RECOVERY      (4 * WEIR_SEC) /* until connections sleep and have given back their records */
#define AFTER         WEIR_SEC

struct arrived {
    weir_nsec at;
    struct weir_path path;
    uint32_t length;
    uint8_t data[PACKET_MAX];
};

struct processor {
    weir_nsec now;
};

struct socket {
    struct weir_driver driver; /* first */
    struct processor *processor;
    struct weir_addr addr;
    struct arrived *waiting; /* WAITING_MAX */
    uint32_t first, count;
    struct weir_path paths[SLOTS];
    uint64_t lost;
};

struct client {
    struct weir_rudp_conn *conn;
    struct stack *stack;
    uint64_t sent, echoed;
};

struct stack {
    struct socket socket;
    struct weir_slide *slide;
    struct weir_rudp *rudp;
    struct weir_loop *loop;
    void *slide_mem, *rudp_mem;
};

struct shard {
    struct weir_rudp *rudp;
    void *mem;
};

static struct {
    uint64_t seed;
    struct weir_prng prng;
    struct processor clients, server; /* a processor each */
    struct weir_clock client_clock, server_clock;
    struct stack stacks[SOCKETS];
    struct socket queue;
    struct weir_crew *crew;
    struct weir_route route;
    struct shard shards[SHARDS];
    struct client all[CONNS];
    uint32_t started, opened;
    uint64_t sent, echoed, refused, unanswered, ended;
} world;

#define CHECK(condition) ((condition) ? (void)0 : failed(#condition, __LINE__))

_Noreturn static void failed(const char *condition, int line)
{
    (void)fprintf(stderr, "seed %" PRIu64 ": %s (line %d)\n", world.seed, condition, line);
    exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct socket *find_socket(const struct weir_addr *addr)
{
    if (addr->port == SERVER_PORT) {
        return &world.queue;
    }
    CHECK(addr->port >= CLIENT_PORT && addr->port < CLIENT_PORT + SOCKETS);
    return &world.stacks[addr->port - CLIENT_PORT].socket;
}

static enum weir_status socket_receive(struct weir_driver *driver, weir_nsec now,
                                       struct weir_mut_span room, struct weir_packet *packets,
                                       uint32_t packets_max, uint32_t *count)
{
    struct socket *socket = (struct socket *)(void *)driver;
    (void)now;
    CHECK(room.length >= (size_t)SLOTS * PACKET_MAX && packets_max >= SLOTS);
    socket->processor->now += CALL_NS;
    for (*count = 0; *count < SLOTS && socket->count > 0; ++*count) {
        const struct arrived *next = &socket->waiting[socket->first];
        uint8_t *data = room.data + (size_t)*count * PACKET_MAX;
        if (next->at > socket->processor->now) {
            break;
        }
        memcpy(data, next->data, next->length);
        socket->paths[*count] = next->path;
        packets[*count] = (struct weir_packet){
            .data = data, .path = &socket->paths[*count], .length = next->length};
        socket->first = (socket->first + 1) % WAITING_MAX;
        socket->count--;
        socket->processor->now += RECEIVE_NS;
    }
    driver->is_rx_full = *count == SLOTS;
    return WEIR_OK;
}

static void deliver(struct socket *from, const struct weir_transmit *transmit)
{
    struct socket *to = find_socket(&transmit->path.remote);
    if (to->count == WAITING_MAX) {
        to->lost++;
        return;
    }
    struct arrived *next = &to->waiting[(to->first + to->count++) % WAITING_MAX];
    CHECK(transmit->length <= PACKET_MAX && transmit->segment_bytes == transmit->length);
    next->at = from->processor->now + LATENCY_NS;
    next->path = (struct weir_path){.local = to->addr, .remote = from->addr};
    next->length = transmit->length;
    memcpy(next->data, transmit->data, transmit->length);
}

static enum weir_status socket_send(struct weir_driver *driver, weir_nsec now,
                                    const struct weir_transmit *transmits, uint32_t count,
                                    uint32_t *sent)
{
    struct socket *socket = (struct socket *)(void *)driver;
    (void)now;
    for (uint32_t i = 0; i < count; i++) {
        socket->processor->now += SEND_NS;
        deliver(socket, &transmits[i]);
    }
    *sent = count;
    return WEIR_OK;
}

static int socket_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec socket_next_timeout(const struct weir_driver *driver)
{
    const struct socket *socket = (const struct socket *)(const void *)driver;
    return socket->count > 0 ? socket->waiting[socket->first].at : WEIR_NEVER;
}

static void socket_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops socket_ops = {.receive = socket_receive,
                                                  .send = socket_send,
                                                  .fd = socket_fd,
                                                  .next_timeout = socket_next_timeout,
                                                  .close = socket_close};

static void open_socket(struct socket *socket, struct processor *processor, uint16_t port)
{
    socket->driver = (struct weir_driver){.ops = &socket_ops,
                                          .rx_room_bytes = SLOTS * PACKET_MAX,
                                          .run_segments_max = 1,
                                          .datagram_bytes_max = PACKET_MAX};
    socket->processor = processor;
    socket->addr = (struct weir_addr){.ip = {127, 0, 0, 1}, .port = port, .family = WEIR_ADDR_IP4};
    socket->driver.local = socket->addr;
    socket->waiting = calloc(WAITING_MAX, sizeof(*socket->waiting));
    CHECK(socket->waiting != NULL);
}

static weir_nsec clock_now(void *user)
{
    return ((const struct processor *)user)->now;
}

static void clock_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
    CHECK(false); /* nobody waits here */
}

/* --- messages --------------------------------------------------------------------------------- */

static void send_next(struct client *client)
{
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    uint8_t bytes[MESSAGE_BYTES] = {0};
    memcpy(bytes, &client->sent, sizeof(client->sent));
    if (weir_rudp_send(client->conn, &how, bytes, sizeof(bytes)) == WEIR_OK) {
        client->sent++;
        world.sent++;
    } else {
        world.refused++;
    }
}

static void on_client_events(void *user, weir_nsec now)
{
    struct stack *stack = (struct stack *)user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(stack->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_OPENED) {
            world.opened++;
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            world.ended++;
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            struct client *client = (struct client *)weir_rudp_user(event.conn);
            uint64_t number = 0;
            memcpy(&number, event.message.data.data, sizeof(number));
            CHECK(number >= client->echoed && number < client->sent);
            client->echoed = number + 1; /* the server refuses what it has no room for */
            world.echoed++;
        }
    }
}

static void on_server_events(void *user, weir_nsec now)
{
    const struct shard *shard = (const struct shard *)user;
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(shard->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            struct weir_span data = event.message.data;
            if (weir_rudp_send(event.conn, &how, data.data, data.length) != WEIR_OK) {
                world.unanswered++;
            }
        }
    }
}

/* --- the world -------------------------------------------------------------------------------- */

static void draw_seed(uint8_t *seed, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        seed[i] = (uint8_t)weir_prng_below(&world.prng, 256);
    }
}

static struct weir_rudp *open_rudp(struct weir_rudp_config *config, weir_nsec now, void **mem)
{
    struct weir_rudp *rudp = NULL;
    uint8_t seed[32];
    draw_seed(seed, sizeof(seed));
    config->send_bytes = config->assembly_bytes = 8 << 20;
    config->connect_timeout = 30 * WEIR_SEC;
    *mem = weir_mem_map(weir_rudp_mem_size(config));
    CHECK(*mem != NULL && weir_rudp_init(*mem, config, seed, now, &rudp) == WEIR_OK);
    return rudp;
}

static void open_stack(struct stack *stack, uint16_t port)
{
    struct weir_slide_config slide;
    struct weir_rudp_config rudp;
    struct weir_loop_config loop;
    open_socket(&stack->socket, &world.clients, port);
    weir_slide_config_default(&slide);
    stack->slide_mem = weir_mem_map(weir_slide_mem_size(&slide));
    CHECK(stack->slide_mem != NULL &&
          weir_slide_init(stack->slide_mem, &slide, &stack->slide) == WEIR_OK);
    weir_rudp_config_default(&rudp);
    rudp.slide = stack->slide;
    rudp.connections_max = CONNS / SOCKETS + 1;
    stack->rudp = open_rudp(&rudp, world.clients.now, &stack->rudp_mem);
    weir_loop_config_default(&loop);
    loop.driver = &stack->socket.driver;
    loop.slide = stack->slide;
    loop.clock = &world.client_clock;
    CHECK(weir_loop_open(&loop, &stack->loop) == WEIR_OK);
    weir_loop_attach(stack->loop, stack->rudp, weir_rudp_verbs(), on_client_events, stack);
}

static void open_server(void)
{
    static struct weir_driver *queues[1];
    struct weir_crew_config config;
    struct weir_rudp_config rudp;
    uint8_t seed[16];
    open_socket(&world.queue, &world.server, SERVER_PORT);
    queues[0] = &world.queue.driver;
    draw_seed(seed, sizeof(seed));
    weir_route_init(&world.route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = 1;
    config.queues = queues;
    config.route = weir_rudp_route;
    config.route_user = &world.route;
    config.clock = &world.server_clock;
    CHECK(weir_crew_open(&config, &world.crew) == WEIR_OK);
    for (uint32_t s = 0; s < SHARDS; s++) {
        weir_rudp_config_default(&rudp);
        rudp.slide = weir_crew_slide(world.crew, s);
        rudp.is_accepting = true;
        rudp.route = &world.route;
        rudp.shard = s;
        rudp.connections_max = CONNS / SHARDS * 2;
        world.shards[s].rudp = open_rudp(&rudp, world.server.now, &world.shards[s].mem);
        weir_crew_attach(world.crew, s, world.shards[s].rudp, weir_rudp_verbs(), on_server_events,
                         &world.shards[s]);
    }
    CHECK(weir_crew_start(world.crew) == WEIR_OK);
}

static void close_world(void)
{
    weir_crew_close(world.crew);
    free(world.queue.waiting);
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct weir_rudp_config rudp;
        weir_rudp_config_default(&rudp);
        rudp.slide = world.stacks[0].slide;
        rudp.is_accepting = true;
        rudp.route = &world.route;
        rudp.shard = s;
        rudp.connections_max = CONNS / SHARDS * 2;
        rudp.send_bytes = rudp.assembly_bytes = 8 << 20;
        weir_mem_unmap(world.shards[s].mem, weir_rudp_mem_size(&rudp));
    }
    for (uint32_t i = 0; i < SOCKETS; i++) {
        struct weir_slide_config slide;
        struct weir_rudp_config rudp;
        weir_slide_config_default(&slide);
        weir_rudp_config_default(&rudp);
        rudp.slide = world.stacks[i].slide;
        rudp.connections_max = CONNS / SOCKETS + 1;
        rudp.send_bytes = rudp.assembly_bytes = 8 << 20;
        weir_loop_close(world.stacks[i].loop);
        weir_mem_unmap(world.stacks[i].rudp_mem, weir_rudp_mem_size(&rudp));
        weir_mem_unmap(world.stacks[i].slide_mem, weir_slide_mem_size(&slide));
        free(world.stacks[i].socket.waiting);
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

/* The clients' turn: every socket that has anything to do. */
static void run_clients(void)
{
    for (uint32_t i = 0; i < SOCKETS; i++) {
        if (weir_loop_next_timeout(world.stacks[i].loop) <= world.clients.now) {
            CHECK(weir_loop_run_once(world.stacks[i].loop, 0) == WEIR_OK);
        }
    }
}

static weir_nsec next_of_clients(void)
{
    weir_nsec next = WEIR_NEVER;
    for (uint32_t i = 0; i < SOCKETS; i++) {
        weir_nsec of = weir_loop_next_timeout(world.stacks[i].loop);
        next = of < next ? of : next;
    }
    return next;
}

/* Whoever is behind goes on, not before it has something to do: the clients at least at until. */
static bool step(weir_nsec until)
{
    weir_nsec client = next_of_clients();
    weir_nsec server = weir_crew_next_timeout(world.crew, 0);
    client = client < until ? client : until;
    client = client > world.clients.now ? client : world.clients.now;
    server = server > world.server.now ? server : world.server.now;
    if (server < client) {
        world.server.now = server;
        CHECK(weir_crew_run(world.crew, 0));
        return false;
    }
    world.clients.now = client;
    run_clients();
    return world.clients.now >= until;
}

static void open_all(void)
{
    const weir_nsec give_up = world.clients.now + 20 * WEIR_SEC;
    while (world.opened < CONNS) {
        while (world.started < CONNS && world.started - world.opened < OPENING_MAX) {
            struct client *client = &world.all[world.started];
            client->stack = &world.stacks[world.started++ % SOCKETS];
            CHECK(weir_rudp_connect(client->stack->rudp, world.clients.now, &world.queue.addr,
                                    client, &client->conn) == WEIR_OK);
        }
        (void)step(world.clients.now + WEIR_MSEC);
        CHECK(world.clients.now < give_up);
    }
}

/* So many messages a second, each by any connection. Returns the echoes that came. */
static uint64_t send_at(uint64_t rate, weir_nsec duration)
{
    const weir_nsec end = world.clients.now + duration;
    const uint64_t echoed = world.echoed;
    weir_nsec next = world.clients.now;
    while (world.clients.now < end) {
        for (; next <= world.clients.now; next += WEIR_SEC / rate) {
            send_next(&world.all[weir_prng_below(&world.prng, CONNS)]);
        }
        (void)step(next);
    }
    return world.echoed - echoed;
}

static void run_world(uint64_t seed)
{
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    weir_prng_init(&world.prng, seed);
    world.clients.now = world.server.now = WEIR_SEC;
    world.client_clock = (struct weir_clock){clock_now, clock_wait, &world.clients};
    world.server_clock = (struct weir_clock){clock_now, clock_wait, &world.server};
    for (uint32_t i = 0; i < SOCKETS; i++) {
        open_stack(&world.stacks[i], (uint16_t)(CLIENT_PORT + i));
    }
    open_server();
    open_all();
    uint64_t before = send_at(RATE_LOW, WEIR_SEC);
    uint64_t during = send_at(RATE_TOO_HIGH, OVERLOAD);
    uint64_t lost = world.queue.lost;
    (void)send_at(RATE_LOW, RECOVERY);
    uint64_t backlog = world.sent - world.unanswered - world.echoed;
    uint64_t after = send_at(RATE_LOW, AFTER);
    (void)printf("seed %" PRIu64 ": messages a second before %" PRIu64 ", during %" PRIu64
                 ", after %" PRIu64 "; lost %" PRIu64 " packets, refused %" PRIu64
                 " messages, behind %" PRIu64 ", ended %" PRIu64 "\n",
                 seed, before, during * WEIR_SEC / OVERLOAD, after, lost, world.refused, backlog,
                 world.ended);
    CHECK(before >= RATE_LOW * 99 / 100);
    CHECK(during * WEIR_SEC / OVERLOAD >= 2 * RATE_LOW);
    CHECK(after >= RATE_LOW * 99 / 100 && world.ended == 0);
    close_world();
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_world(seed);
    }
    return 0;
}
