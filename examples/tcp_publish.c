/* SPDX-License-Identifier: MIT */
/*
 * tcp_publish.c - publish and subscribe: whoever is connected gets every message, and all of them
 * are sent from one copy of it.
 *
 *   tcp_publish tun weir0 10.7.0.2:7000
 *       Each line of standard input is a message; the kernel's end of the device is 10.7.0.1.
 *       Subscribe with: nc 10.7.0.2 7000. Takes CAP_NET_ADMIN.
 *   tcp_publish sim 100000 [MESSAGES [BYTES]]
 *       So many subscribers in this process, behind a simulated link; prints figures.
 *
 * A message is a parcel that weir_tcp_broadcast sends to one subscriber after the other. When all
 * control blocks are busy it stops, and goes on with ROOM. A subscriber is an entry in a list, 8
 * bytes and 4 to find it, beside the 16 of its connection.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    SUBSCRIBERS_MAX = 1000000,
    AWAKE_MAX = 16384,
    PORT = 7000,
    PORTS = 20, /* of the simulation's server: each for as many subscribers as a client has ports */
    PORT_SUBSCRIBERS = 50000,
    LINE_BYTES = 65536,
    PAGE_BYTES = 4096
};

struct host {
    struct weir_driver *driver;
    struct weir_slide *slide;
    struct weir_tcp *tcp;
    struct weir_loop *loop;
    struct weir_tcp_callbacks callbacks;
    uint8_t *mem;
    size_t mem_bytes;
};

struct publisher {
    struct host host;
    struct weir_tcp_conn **subscribers;
    uint32_t *places; /* in subscribers, by the connection's index */
    uint32_t count;
    struct weir_parcel *message; /* being sent: to subscribers[0..next) so far */
    uint32_t next;
    uint64_t deliveries, missed;
};

static void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "tcp_publish: %s: %s\n", what, about);
    _Exit(EXIT_FAILURE);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what, weir_status_text(status));
    }
}

static void *map(size_t bytes)
{
    void *mem = weir_mem_map(bytes);
    if (mem == NULL) {
        die("memory", weir_status_text(WEIR_ERR_MEMORY));
    }
    return mem;
}

/* --- publishing ------------------------------------------------------------------------------- */

/* Goes on with the message, until all have it or no control block is left. */
static void publish(struct publisher *publisher)
{
    while (publisher->message != NULL && publisher->next < publisher->count) {
        uint32_t sent = 0;
        enum weir_status status = weir_tcp_broadcast(publisher->host.tcp, publisher->message,
                                                     publisher->subscribers + publisher->next,
                                                     publisher->count - publisher->next, &sent);
        publisher->next += sent;
        publisher->deliveries += sent;
        if (status == WEIR_AGAIN) {
            return; /* on_room */
        }
        if (status != WEIR_OK) { /* it is closing, or takes nothing: this one goes without */
            publisher->next++;
            publisher->missed++;
        }
    }
    publisher->message = NULL; /* who comes later waits for the next */
}

static void on_opened(void *user, struct weir_tcp_conn *conn, int listener)
{
    struct publisher *publisher = user;
    (void)listener;
    publisher->places[weir_tcp_index(publisher->host.tcp, conn)] = publisher->count;
    publisher->subscribers[publisher->count++] = conn;
}

static void move(struct publisher *publisher, uint32_t from, uint32_t to)
{
    struct weir_tcp_conn *conn = publisher->subscribers[from];
    publisher->subscribers[to] = conn;
    publisher->places[weir_tcp_index(publisher->host.tcp, conn)] = to;
}

/* The gap is filled from behind, so that who has the message stays before next. */
static void on_closed(void *user, struct weir_tcp_conn *conn, enum weir_tcp_close_cause cause,
                      void *conn_user)
{
    struct publisher *publisher = user;
    uint32_t gap = publisher->places[weir_tcp_index(publisher->host.tcp, conn)];
    (void)cause;
    (void)conn_user;
    if (gap < publisher->next) {
        publisher->next--;
        if (gap != publisher->next) {
            move(publisher, publisher->next, gap);
        }
        gap = publisher->next;
    }
    publisher->count--;
    if (gap != publisher->count) {
        move(publisher, publisher->count, gap);
    }
}

static void on_room(void *user)
{
    publish(user);
}

/* --- setting up ------------------------------------------------------------------------------- */

static void open_host(struct host *host, uint32_t connections, const struct weir_clock *clock)
{
    struct weir_slide_config slide;
    struct weir_tcp_config tcp;
    struct weir_loop_config loop;
    uint8_t seed[32];
    weir_slide_config_default(&slide);
    weir_tcp_config_default(&tcp);
    weir_loop_config_default(&loop);
    must(weir_slide_init(map(weir_slide_mem_size(&slide)), &slide, &host->slide), "slide");
    tcp.slide = loop.slide = host->slide;
    tcp.connections_max = connections;
    tcp.connections6_max = 0;
    tcp.awake_max = connections < AWAKE_MAX ? connections : AWAKE_MAX;
    tcp.tuning.sleep_after = 0; /* a control block is for whoever has something on its way */
    loop.driver = host->driver;
    loop.clock = clock;
    must(weir_loop_open(&loop, &host->loop), "loop");
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    host->mem_bytes = weir_tcp_mem_size(&tcp);
    host->mem = map(host->mem_bytes);
    must(weir_tcp_init(host->mem, &tcp, seed, weir_loop_now(host->loop), &host->tcp), "TCP");
    host->callbacks.endpoint = host->tcp;
    weir_loop_attach(host->loop, host->tcp, weir_tcp_verbs(), weir_tcp_callbacks_run,
                     &host->callbacks);
}

static void open_publisher(struct publisher *publisher, uint32_t subscribers,
                           const struct weir_clock *clock)
{
    publisher->host.callbacks = (struct weir_tcp_callbacks){
        .user = publisher, .on_opened = on_opened, .on_closed = on_closed, .on_room = on_room};
    open_host(&publisher->host, subscribers, clock);
    publisher->subscribers = map(subscribers * sizeof(struct weir_tcp_conn *));
    publisher->places = map(weir_tcp_index_max(publisher->host.tcp) * sizeof(uint32_t));
}

/* --- over a device ---------------------------------------------------------------------------- */

static struct weir_driver *open_tun(const char *name, const struct weir_addr *addr)
{
    char problem[WEIR_PROBLEM_BYTES];
    struct weir_tun_config tun;
    struct weir_inet_config inet;
    struct weir_driver *driver = NULL;
    weir_tun_config_default(&tun);
    (void)snprintf(tun.name, sizeof(tun.name), "%s", name);
    tun.host = *addr;
    tun.host.ip[3] = addr->ip[3] == 1 ? 2 : 1;
    tun.host_prefix = 24;
    if (weir_tun_open(&tun, &driver, problem) != WEIR_OK) {
        die(name, problem);
    }
    weir_inet_config_default(&inet, weir_tun_interface(driver));
    inet.ip.addresses[0] = (struct weir_ip_address){.addr = *addr, .prefix = 24};
    inet.ip.address_count = 1;
    must(weir_inet_open(driver, &inet, &driver), "IP");
    return driver;
}

/* A line is the next message as soon as all have acknowledged the one before. */
static bool read_line(struct publisher *publisher, struct weir_parcel *parcel)
{
    static char line[LINE_BYTES];
    if (publisher->message != NULL || parcel->references > 0) {
        return true;
    }
    ssize_t n = read(STDIN_FILENO, line, sizeof(line));
    if (n <= 0) {
        return false;
    }
    *parcel = (struct weir_parcel){.data = (const uint8_t *)line, .length = (uint32_t)n};
    publisher->message = parcel;
    publisher->next = 0;
    publish(publisher);
    must(weir_loop_flush(publisher->host.loop), "loop");
    return true;
}

static int run_tun(const char *name, const char *text)
{
    static struct publisher publisher;
    static struct weir_parcel parcel;
    struct weir_addr addr;
    int listener = 0;
    bool is_open = true;
    if (weir_addr_parse(text, &addr) != WEIR_OK || addr.family != WEIR_ADDR_IP4) {
        die(text, "not ADDR:PORT");
    }
    publisher.host.driver = open_tun(name, &addr);
    open_publisher(&publisher, SUBSCRIBERS_MAX, NULL);
    must(weir_tcp_listen(publisher.host.tcp, &addr, &listener), "listen");
    (void)fprintf(stderr, "ready\n");
    while (is_open || parcel.references > 0) {
        struct pollfd set[2] = {{.fd = weir_loop_fd(publisher.host.loop), .events = POLLIN},
                                {.fd = is_open ? STDIN_FILENO : -1, .events = POLLIN}};
        weir_nsec now = weir_loop_now(publisher.host.loop);
        weir_nsec next = weir_loop_next_timeout(publisher.host.loop);
        weir_nsec wait = next <= now ? 0 : next - now;
        int wait_ms = wait > WEIR_SEC ? 1000 : (int)((wait + WEIR_MSEC - 1) / WEIR_MSEC);
        if (parcel.references > 0) {
            set[1].fd = -1; /* its bytes are still being sent */
        }
        if (poll(set, 2, wait_ms) > 0 && set[1].revents != 0) {
            is_open = read_line(&publisher, &parcel);
        }
        must(weir_loop_run_once(publisher.host.loop, 0), "loop");
    }
    return EXIT_SUCCESS;
}

/* --- all of it in one process ----------------------------------------------------------------- */

struct crowd {
    struct host host;
    uint32_t wanted, started; /* connections */
    uint32_t *received;       /* bytes of the message, by the connection's index */
    const struct weir_parcel *message;
    uint32_t complete;
    uint64_t bytes;
    struct weir_addr server, client;
};

struct stage {
    struct weir_sim *sim;
    weir_nsec now;
    struct publisher publisher;
    struct crowd crowd;
};

static weir_nsec stage_now(void *user)
{
    const struct stage *stage = user;
    return stage->now;
}

/* Never called: the loops here do not wait. */
static void stage_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
}

/* As many connections as there are control blocks for now. */
static void subscribe(struct crowd *crowd)
{
    while (crowd->started < crowd->wanted) {
        struct weir_tcp_conn *conn;
        struct weir_path path = {.local = crowd->client, .remote = crowd->server};
        path.remote.port = (uint16_t)(PORT + crowd->started / PORT_SUBSCRIBERS);
        enum weir_status status =
            weir_tcp_connect(crowd->host.tcp, weir_loop_now(crowd->host.loop), &path, NULL, &conn);
        if (status != WEIR_OK) {
            return;
        }
        crowd->started++;
    }
}

static void on_message(void *user, struct weir_tcp_conn *conn, struct weir_span span)
{
    struct crowd *crowd = user;
    uint32_t *received = &crowd->received[weir_tcp_index(crowd->host.tcp, conn)];
    if (crowd->message == NULL || span.length > crowd->message->length - *received ||
        memcmp(span.data, crowd->message->data + *received, span.length) != 0) {
        die("subscriber", "got what was not sent");
    }
    *received += (uint32_t)span.length;
    crowd->bytes += span.length;
    if (*received == crowd->message->length) {
        *received = 0;
        crowd->complete++;
    }
}

static void on_lost(void *user, struct weir_tcp_conn *conn, enum weir_tcp_close_cause cause,
                    void *conn_user)
{
    (void)user;
    (void)conn;
    (void)cause;
    (void)conn_user;
    die("subscriber", "lost its connection");
}

static void open_stage(struct stage *stage, uint32_t subscribers)
{
    static struct weir_clock clock;
    const struct weir_sim_link link = {.delay = 10 * WEIR_MSEC};
    struct weir_sim_config config;
    clock = (struct weir_clock){.now = stage_now, .wait = stage_wait, .user = stage};
    stage->now = WEIR_SEC;
    weir_sim_config_default(&config);
    config.packets_max = 1 << 18;
    config.bytes_max = (size_t)1 << 28;
    must(weir_sim_open(&config, &stage->sim), "simulation");
    must(weir_addr_parse("10.0.0.1:7000", &stage->crowd.server), "address");
    must(weir_addr_parse("10.0.0.2:0", &stage->crowd.client), "address");
    struct weir_addr server = stage->crowd.server;
    server.port = 0;
    must(weir_sim_add_host(stage->sim, &server, &stage->publisher.host.driver), "host");
    must(weir_sim_add_host(stage->sim, &stage->crowd.client, &stage->crowd.host.driver), "host");
    must(weir_sim_set_link(stage->sim, stage->publisher.host.driver, stage->crowd.host.driver,
                           &link),
         "link");
    must(weir_sim_set_link(stage->sim, stage->crowd.host.driver, stage->publisher.host.driver,
                           &link),
         "link");
    open_publisher(&stage->publisher, subscribers, &clock);
    for (unsigned i = 0; i < PORTS; i++) {
        int listener = 0;
        struct weir_addr addr = stage->crowd.server;
        addr.port = (uint16_t)(PORT + i);
        must(weir_tcp_listen(stage->publisher.host.tcp, &addr, &listener), "listen");
    }
    stage->crowd.wanted = subscribers;
    stage->crowd.host.callbacks = (struct weir_tcp_callbacks){
        .user = &stage->crowd, .on_data = on_message, .on_closed = on_lost};
    open_host(&stage->crowd.host, subscribers, &clock);
    stage->crowd.received = map(weir_tcp_index_max(stage->crowd.host.tcp) * sizeof(uint32_t));
}

/* Both hosts at the present time, then on to when something is due. */
static void step(struct stage *stage)
{
    struct weir_loop *loops[2] = {stage->publisher.host.loop, stage->crowd.host.loop};
    weir_nsec next = weir_sim_next(stage->sim);
    for (int i = 0; i < 2; i++) {
        must(weir_loop_run_once(loops[i], 0), "loop");
        weir_nsec due = weir_loop_next_timeout(loops[i]);
        next = due < next ? due : next;
    }
    weir_nsec arrival = weir_sim_next(stage->sim);
    next = arrival < next ? arrival : next;
    if (next == WEIR_NEVER) {
        die("simulation", "stands still");
    }
    stage->now = next > stage->now ? next : stage->now;
}

/* Bytes of the host's block that are in memory. */
static size_t count_resident(const struct host *host)
{
    size_t pages = (host->mem_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    unsigned char *flags = malloc(pages);
    size_t bytes = 0;
    if (flags == NULL || mincore(host->mem, host->mem_bytes, flags) != 0) {
        die("mincore", "refused");
    }
    for (size_t i = 0; i < pages; i++) {
        bytes += (flags[i] & 1) != 0 ? PAGE_BYTES : 0;
    }
    free(flags);
    return bytes;
}

static double seconds_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void publish_and_wait(struct stage *stage, struct weir_parcel *message)
{
    stage->crowd.message = message;
    stage->crowd.complete = 0;
    stage->publisher.message = message;
    stage->publisher.next = 0;
    publish(&stage->publisher);
    while (stage->crowd.complete < stage->crowd.wanted || message->references > 0) {
        if (stage->publisher.missed > 0) {
            die("publisher", "a subscriber did not take a message");
        }
        step(stage);
    }
}

static int run_sim(uint32_t subscribers, uint32_t messages, uint32_t bytes)
{
    static struct stage stage;
    uint8_t *data = malloc(bytes);
    if (data == NULL) {
        die("memory", "out of it");
    }
    open_stage(&stage, subscribers);
    double start = seconds_now();
    while (stage.publisher.count < subscribers) {
        subscribe(&stage.crowd);
        step(&stage);
    }
    double opened = seconds_now();
    (void)printf("%u subscribers connected in %.2f s\n", subscribers, opened - start);
    weir_nsec began = stage.now;
    for (uint32_t i = 0; i < messages; i++) {
        struct weir_parcel message = {.data = data, .length = bytes};
        memset(data, (int)i + 1, bytes);
        publish_and_wait(&stage, &message);
    }
    double took = seconds_now() - opened;
    double all = (double)subscribers * messages;
    if (stage.crowd.bytes != (uint64_t)subscribers * messages * bytes) {
        die("delivery", "not everyone got everything");
    }
    (void)printf("%u messages of %u bytes to each: %.0f deliveries, %llu bytes, all acknowledged\n",
                 messages, bytes, all, (unsigned long long)stage.crowd.bytes);
    (void)printf("%.2f s, %.0f deliveries/s, both ends in this process; %.3f s on the simulated "
                 "link\n",
                 took, all / took, (double)(stage.now - began) / 1e9);
    const size_t resident = count_resident(&stage.publisher.host);
    (void)printf("server: %zu bytes of memory for its TCP, %.1f a subscriber; one copy of a "
                 "message: %u bytes\n",
                 resident, (double)resident / subscribers, bytes);
    free(data);
    return EXIT_SUCCESS;
}

static uint32_t read_number(const char *text, uint32_t max)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (*end != '\0' || number == 0 || number > max) {
        die(text, "not a number that it takes");
    }
    return (uint32_t)number;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "tun") == 0) {
        return run_tun(argv[2], argv[3]);
    }
    if (argc >= 3 && argc <= 5 && strcmp(argv[1], "sim") == 0) {
        uint32_t subscribers = read_number(argv[2], SUBSCRIBERS_MAX);
        uint32_t messages = argc > 3 ? read_number(argv[3], 1000000) : 10;
        uint32_t bytes = argc > 4 ? read_number(argv[4], 1 << 20) : 1000;
        return run_sim(subscribers, messages, bytes);
    }
    (void)fprintf(stderr, "usage: tcp_publish tun DEVICE ADDR:PORT\n"
                          "       tcp_publish sim SUBSCRIBERS [MESSAGES [BYTES]]\n");
    return 2;
}
