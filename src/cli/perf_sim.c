/* SPDX-License-Identifier: MIT */
/*
 * perf_sim.c - "weir perf tcp://sim --mode idle": a million idle TCP connections, and what each
 * costs the server.
 *
 * Both ends are in this process, with the simulated network between them and its virtual time. The
 * server's memory is its own two blocks, counted by the pages that are resident: nothing of it lies
 * anywhere else. A port has 64,000 peers at one address, so the client has many addresses; each is
 * a host of the network.
 *
 *   client endpoint -- host 10.0.0.1 --\
 *                   -- host 10.0.0.2 ---+-- link -- host 10.255.0.1 -- server endpoint
 *                   -- ...            --/
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/perf.h"

enum {
    PORT_FIRST = 1024, /* of the client's, on each address */
    PORTS = 64000,
    SERVER_PORT = 7,
    AWAKE_MAX = 160,        /* of either end */
    BUSY_MAX = 64,          /* handshakes or echoes under way */
    PACKETS_MAX = 64,       /* one receive */
    TX_BYTES = 256 << 10,   /* one output */
    TRANSMITS_MAX = 1024,   /* likewise */
    SLIDE_BYTES = 96 << 10, /* of either end */
    BATCH_BYTES = 64 << 10,
    SEGMENTS_MAX = 4096,
    HELD_MAX = 1024,
    SEND_BYTES = 1 << 20,
    PAGES_AT_ONCE = 4096
};

#define LINK_DELAY  (100 * WEIR_USEC)
#define SILENCE_MAX (120 * WEIR_SEC) /* virtual, without any progress */
#define SETTLE_MAX  (5 * WEIR_SEC)

struct side {
    struct weir_slide *slide;
    struct weir_tcp *tcp;
    void *slide_mem, *tcp_mem;
    size_t slide_bytes, tcp_bytes;
};

struct test {
    const struct cli_perf_options *options;
    struct weir_sim *sim;
    struct weir_driver *server_host;
    struct weir_driver **client_hosts;
    uint32_t hosts_count;
    struct side client, server;
    weir_nsec now;                /* virtual */
    struct weir_tcp_conn **conns; /* the client's, in the order in which they were begun */
    uint64_t started, opened, accepted, failed, broken;
    uint64_t sent, acked, echoed, echoes_refused;
    struct weir_parcel parcel;                   /* the one byte, lent to all */
    uint64_t base_bytes, idle_bytes, echo_bytes; /* of the server: before, with all held, after */
    uint64_t setup_ns, echo_ns;                  /* real */
    struct weir_transmit *transmits;
    uint8_t *tx_buffer;
    weir_nsec progressed;
    uint64_t last_done;
    struct cli_progress progress;
    const char *failure;
};

/* --- memory ----------------------------------------------------------------------------------- */

/* Pages of mem that take up memory, in bytes. */
static uint64_t resident_bytes(void *mem, size_t bytes)
{
    unsigned char pages[PAGES_AT_ONCE];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *at = mem;
    uint64_t count = 0;
    for (size_t done = 0; done < bytes; done += page * PAGES_AT_ONCE) {
        size_t left = bytes - done;
        size_t length = left < page * PAGES_AT_ONCE ? left : page * PAGES_AT_ONCE;
        if (mincore(at + done, length, pages) != 0) {
            return 0;
        }
        for (size_t i = 0; i < (length + page - 1) / page; i++) {
            count += pages[i] & 1;
        }
    }
    return count * page;
}

static uint64_t server_bytes(const struct test *test)
{
    return resident_bytes(test->server.tcp_mem, test->server.tcp_bytes) +
           resident_bytes(test->server.slide_mem, test->server.slide_bytes);
}

static double per_connection(const struct test *test, uint64_t bytes)
{
    uint64_t growth = bytes > test->base_bytes ? bytes - test->base_bytes : 0;
    return test->opened > 0 ? (double)growth / (double)test->opened : 0;
}

/* --- set-up ----------------------------------------------------------------------------------- */

static bool open_side(struct test *test, struct side *side, uint8_t which)
{
    struct weir_slide_config slide;
    struct weir_tcp_config config;
    uint8_t seed[32];
    memset(seed, which, sizeof(seed)); /* a simulation has no secrets */
    weir_slide_config_default(&slide);
    slide.size_bytes = SLIDE_BYTES;
    slide.batch_bytes_max = BATCH_BYTES;
    slide.secondary_bytes = SLIDE_BYTES;
    side->slide_bytes = weir_slide_mem_size(&slide);
    side->slide_mem = weir_mem_map(side->slide_bytes);
    if (side->slide_mem == NULL ||
        weir_slide_init(side->slide_mem, &slide, &side->slide) != WEIR_OK) {
        return false;
    }
    weir_tcp_config_default(&config);
    config.slide = side->slide;
    config.connections_max = (uint32_t)test->options->connections;
    config.connections6_max = 0;
    config.awake_max = AWAKE_MAX;
    config.half_open_max = AWAKE_MAX;
    config.segments_max = SEGMENTS_MAX;
    config.held_max = HELD_MAX;
    config.send_bytes = SEND_BYTES;
    config.cc = test->options->cc;
    config.tuning.sleep_after = 0;
    config.tuning.ack_delay = 0; /* or its virtual time would pass with nothing done */
    side->tcp_bytes = weir_tcp_mem_size(&config);
    side->tcp_mem = side->tcp_bytes == 0 ? NULL : weir_mem_map(side->tcp_bytes);
    return side->tcp_mem != NULL &&
           weir_tcp_init(side->tcp_mem, &config, seed, test->now, &side->tcp) == WEIR_OK;
}

static struct weir_addr client_addr(uint64_t host)
{
    const uint64_t number = host + 1;
    return (struct weir_addr){
        .ip = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
        .family = WEIR_ADDR_IP4};
}

static struct weir_addr server_addr(uint16_t port)
{
    return (struct weir_addr){.ip = {10, 255, 0, 1}, .port = port, .family = WEIR_ADDR_IP4};
}

static bool open_hosts(struct test *test)
{
    const struct weir_sim_link link = {.delay = LINK_DELAY};
    const struct weir_addr server = server_addr(0);
    if (weir_sim_add_host(test->sim, &server, &test->server_host) != WEIR_OK) {
        return false;
    }
    for (uint32_t i = 0; i < test->hosts_count; i++) {
        const struct weir_addr addr = client_addr(i);
        struct weir_driver **host = &test->client_hosts[i];
        if (weir_sim_add_host(test->sim, &addr, host) != WEIR_OK ||
            weir_sim_set_link(test->sim, *host, test->server_host, &link) != WEIR_OK ||
            weir_sim_set_link(test->sim, test->server_host, *host, &link) != WEIR_OK) {
            return false;
        }
    }
    return true;
}

static bool open_test(struct test *test)
{
    struct weir_sim_config config;
    const struct weir_addr server = server_addr(SERVER_PORT);
    const uint64_t count = test->options->connections;
    int listener = 0;
    test->hosts_count = (uint32_t)((count + PORTS - 1) / PORTS);
    test->client_hosts = calloc(test->hosts_count, sizeof(struct weir_driver *));
    test->conns = calloc(count, sizeof(struct weir_tcp_conn *));
    test->transmits = calloc(TRANSMITS_MAX, sizeof(*test->transmits));
    test->tx_buffer = malloc(TX_BYTES);
    weir_sim_config_default(&config);
    config.hosts_max = test->hosts_count + 1;
    return test->client_hosts != NULL && test->conns != NULL && test->transmits != NULL &&
           test->tx_buffer != NULL && weir_sim_open(&config, &test->sim) == WEIR_OK &&
           open_hosts(test) && open_side(test, &test->client, 1) &&
           open_side(test, &test->server, 2) &&
           weir_tcp_listen(test->server.tcp, &server, &listener) == WEIR_OK;
}

static void close_side(struct side *side)
{
    if (side->slide_mem != NULL) {
        weir_mem_unmap(side->slide_mem, side->slide_bytes);
    }
    if (side->tcp_mem != NULL) {
        weir_mem_unmap(side->tcp_mem, side->tcp_bytes);
    }
}

static void close_test(struct test *test)
{
    close_side(&test->client);
    close_side(&test->server);
    weir_sim_close(test->sim);
    free(test->client_hosts);
    free(test->conns);
    free(test->transmits);
    free(test->tx_buffer);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_server_events(struct test *test)
{
    struct weir_tcp *tcp = test->server.tcp;
    struct weir_tcp_event event;
    while (weir_tcp_event(tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED) {
            test->accepted++;
        } else if (event.type == WEIR_TCP_EVENT_DATA &&
                   weir_tcp_send(tcp, event.conn, event.data.span.data, event.data.span.length) !=
                       WEIR_OK) {
            test->echoes_refused++;
        }
    }
}

static void on_client_events(struct test *test)
{
    struct weir_tcp_event event;
    while (weir_tcp_event(test->client.tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED) {
            test->opened++;
        } else if (event.type == WEIR_TCP_EVENT_DATA) {
            test->echoed += event.data.span.length;
        } else if (event.type == WEIR_TCP_EVENT_PARCEL_DONE) {
            test->acked += event.parcel.outcome == WEIR_OUTCOME_ACKED;
        } else if (event.type == WEIR_TCP_EVENT_CLOSED) {
            bool is_new = test->opened + test->failed < test->started;
            test->failed += is_new;
            test->broken += !is_new;
        }
    }
}

/* --- one step --------------------------------------------------------------------------------- */

static void receive_at(struct test *test, struct side *side, struct weir_driver *host)
{
    struct weir_packet packets[PACKETS_MAX];
    uint32_t count = 0;
    do {
        struct weir_mut_span room = weir_slide_room(side->slide);
        size_t used = 0;
        if (host->ops->receive(host, test->now, room, packets, PACKETS_MAX, &count) != WEIR_OK) {
            test->failure = "the simulated network failed";
            return;
        }
        if (count > 0) {
            used = (size_t)(packets[count - 1].data - room.data) + packets[count - 1].length;
        }
        weir_slide_received(side->slide, used);
        if (count > 0) {
            for (uint32_t i = 0; i < count; i++) {
                packets[i].protocol = WEIR_PROTOCOL_TCP;
            }
            weir_tcp_input(side->tcp, test->now, packets, count);
            if (side == &test->server) {
                on_server_events(test);
            } else {
                on_client_events(test);
            }
        }
    } while (count > 0);
}

/* A transmit leaves at the host whose address it has. */
static struct weir_driver *host_of(const struct test *test, const struct side *side,
                                   const struct weir_transmit *transmit)
{
    const uint8_t *ip = transmit->path.local.ip;
    if (side == &test->server) {
        return test->server_host;
    }
    uint32_t index = ((uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3]) - 1;
    return index < test->hosts_count ? test->client_hosts[index] : NULL;
}

static void send_all(struct test *test, struct side *side)
{
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && test->failure == NULL) {
        struct weir_tx tx = {.buffer = test->tx_buffer,
                             .buffer_bytes = TX_BYTES,
                             .transmits = test->transmits,
                             .transmits_max = TRANSMITS_MAX,
                             .run_bytes_max = test->server_host->run_bytes_max,
                             .run_segments_max = test->server_host->run_segments_max};
        status = weir_tcp_output(side->tcp, test->now, &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            struct weir_driver *host = host_of(test, side, &tx.transmits[i]);
            uint32_t sent = 0;
            if (host == NULL ||
                host->ops->send(host, test->now, &tx.transmits[i], 1, &sent) != WEIR_OK) {
                test->failure = "the simulated network failed";
                return;
            }
        }
    }
}

static void run_side(struct test *test, struct side *side)
{
    if (weir_tcp_next_timeout(side->tcp) <= test->now) {
        weir_tcp_timeout(side->tcp, test->now);
    }
    send_all(test, side);
    if (side == &test->server) {
        on_server_events(test);
    } else {
        on_client_events(test);
    }
}

static weir_nsec earlier(weir_nsec a, weir_nsec b)
{
    return a < b ? a : b;
}

/* Does what is due and moves the clock on, at most to until. */
static bool step(struct test *test, weir_nsec until)
{
    receive_at(test, &test->server, test->server_host);
    for (uint32_t i = 0; i < test->hosts_count; i++) {
        struct weir_driver *host = test->client_hosts[i];
        if (host->ops->next_timeout(host) <= test->now) {
            receive_at(test, &test->client, host);
        }
    }
    run_side(test, &test->client);
    run_side(test, &test->server);
    weir_nsec next = earlier(weir_sim_next(test->sim), until);
    next = earlier(next, weir_tcp_next_timeout(test->client.tcp));
    next = earlier(next, weir_tcp_next_timeout(test->server.tcp));
    if (next > test->now) {
        test->now = next == WEIR_NEVER ? test->now + WEIR_MSEC : next;
    }
    if (cli_is_stopping) {
        test->failure = "stopped by a signal";
    }
    return test->failure == NULL;
}

/* --- the course of the test ------------------------------------------------------------------- */

/* How many more may begin; both ends have this many control blocks to spare. */
static uint64_t room_of(const struct test *test, uint64_t begun, uint64_t done)
{
    const uint32_t client = weir_tcp_stats(test->client.tcp)->awake;
    const uint32_t server = weir_tcp_stats(test->server.tcp)->awake;
    uint64_t busy = begun - done;
    busy = busy > client ? busy : client;
    busy = busy > server ? busy : server;
    return busy < BUSY_MAX ? BUSY_MAX - busy : 0;
}

static bool start_some(struct test *test)
{
    const uint64_t count = test->options->connections;
    uint64_t room = room_of(test, test->started, test->opened + test->failed);
    for (; room > 0 && test->started < count; room--, test->started++) {
        struct weir_path path = {.local = client_addr(test->started / PORTS),
                                 .remote = server_addr(SERVER_PORT)};
        path.local.port = (uint16_t)(PORT_FIRST + test->started % PORTS);
        enum weir_status status =
            weir_tcp_connect(test->client.tcp, test->now, &path, NULL, &test->conns[test->started]);
        if (status == WEIR_ERR_FULL || status == WEIR_AGAIN) {
            return true;
        }
        if (status != WEIR_OK) {
            test->failure = weir_status_text(status);
            return false;
        }
    }
    return true;
}

static bool send_some(struct test *test)
{
    uint64_t room = room_of(test, test->sent, test->echoed);
    for (; room > 0 && test->sent < test->options->connections; room--, test->sent++) {
        enum weir_status status =
            weir_tcp_send_parcel(test->client.tcp, test->conns[test->sent], &test->parcel);
        if (status == WEIR_ERR_FULL || status == WEIR_AGAIN) {
            return true;
        }
        if (status != WEIR_OK) {
            test->failure = weir_status_text(status);
            return false;
        }
    }
    return true;
}

/* False when it ends: nothing has come for long. */
static bool is_alive(struct test *test, uint64_t done)
{
    if (done != test->last_done) {
        test->last_done = done;
        test->progressed = test->now;
    }
    return test->now - test->progressed < SILENCE_MAX;
}

static void begin_phase(struct test *test, const char *label)
{
    test->progressed = test->now;
    test->last_done = 0;
    cli_progress_start(&test->progress, label, test->options->connections, cli_clock());
    test->progress.unit = "connections";
}

static bool open_all(struct test *test)
{
    const uint64_t count = test->options->connections;
    const uint64_t start = cli_clock();
    begin_phase(test, "opening");
    while (test->opened + test->failed < count || test->accepted < test->opened) {
        if (!start_some(test) || !step(test, WEIR_NEVER)) {
            return false;
        }
        if (!is_alive(test, test->opened + test->failed + test->accepted)) {
            test->failure = "the connections cannot be opened: no progress";
            return false;
        }
        cli_progress_update(&test->progress, test->opened, cli_clock());
    }
    test->setup_ns = cli_clock() - start;
    cli_progress_finish(&test->progress, test->opened, cli_clock());
    return true;
}

static bool rest(struct test *test)
{
    const weir_nsec until = test->now + test->options->seconds * WEIR_SEC;
    while (test->now < until) {
        if (!step(test, until)) {
            return false;
        }
    }
    return true;
}

/* Until both ends sleep again: all is acknowledged then. */
static bool settle(struct test *test)
{
    const weir_nsec until = test->now + SETTLE_MAX;
    while (test->now < until && (weir_tcp_stats(test->client.tcp)->awake > 0 ||
                                 weir_tcp_stats(test->server.tcp)->awake > 0)) {
        if (!step(test, until)) {
            return false;
        }
    }
    return true;
}

static bool echo_all(struct test *test)
{
    const uint64_t count = test->options->connections;
    const uint64_t start = cli_clock();
    begin_phase(test, "echoing");
    while (test->echoed < count || test->acked < count) {
        if (!send_some(test) || !step(test, WEIR_NEVER)) {
            return false;
        }
        if (!is_alive(test, test->echoed + test->acked)) {
            break; /* what is missing is lost */
        }
        cli_progress_update(&test->progress, test->echoed, cli_clock());
    }
    test->echo_ns = cli_clock() - start;
    cli_progress_finish(&test->progress, test->echoed, cli_clock());
    return settle(test);
}

static bool run_test(struct test *test)
{
    static const uint8_t byte = 'w';
    test->parcel = (struct weir_parcel){.data = &byte, .length = 1};
    test->base_bytes = server_bytes(test);
    if (!open_all(test) || !rest(test)) {
        return false;
    }
    test->idle_bytes = server_bytes(test);
    if (test->failed > 0 || test->broken > 0) {
        test->failure = "not every connection was held";
        return false;
    }
    if (!echo_all(test)) {
        return false;
    }
    test->echo_bytes = server_bytes(test);
    return true;
}

static void report(const struct test *test)
{
    const uint64_t count = test->options->connections;
    const uint64_t lost = count - (test->echoed < count ? test->echoed : count);
    const double setup = (double)test->setup_ns / 1e9;
    const double rate = setup > 0 ? (double)test->opened / setup : 0;
    const double idle = per_connection(test, test->idle_bytes);
    const double echo = per_connection(test, test->echo_bytes);
    if (test->options->is_json) {
        printf("{\"transport\":\"tcp\",\"mode\":\"idle\",\"link\":\"sim\",\"connections\":%" PRIu64
               ",\"opened\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"open_client\":%u"
               ",\"open_server\":%u,\"broken\":%" PRIu64,
               count, test->opened, test->failed, weir_tcp_stats(test->client.tcp)->connections,
               weir_tcp_stats(test->server.tcp)->connections, test->broken);
        printf(",\"bytes_per_connection\":%.2f,\"bytes_per_connection_after_echo\":%.2f"
               ",\"server_growth_bytes\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"acknowledged\":%" PRIu64
               ",\"echoed\":%" PRIu64 ",\"lost\":%" PRIu64,
               idle, echo, test->echo_bytes - test->base_bytes, test->sent, test->acked,
               test->echoed, lost);
        printf(",\"setup_seconds\":%.3f,\"handshakes_per_second\":%.0f,\"echo_seconds\":%.3f}\n",
               setup, rate, (double)test->echo_ns / 1e9);
        return;
    }
    char text[32];
    printf("idle, %" PRIu64 " TCP connections over the simulated link\n", count);
    printf("  open        client %u, server %u\n", weir_tcp_stats(test->client.tcp)->connections,
           weir_tcp_stats(test->server.tcp)->connections);
    printf("  memory      server %.2f bytes each, %.2f after the echo: %s in all\n", idle, echo,
           cli_text_bytes(test->echo_bytes - test->base_bytes, text));
    printf("  echo        %" PRIu64 " sent, %" PRIu64 " acknowledged, %" PRIu64
           " came back, %" PRIu64 " lost\n",
           test->sent, test->acked, test->echoed, lost);
    printf("  set-up      %.2f s, %.0f handshakes/s, both ends in one thread\n", setup, rate);
}

int cli_perf_run_sim(const struct cli_perf_options *options)
{
    struct test test = {.options = options};
    int code = CLI_FAILED;
    if (!open_test(&test)) {
        cli_fail(CLI_FAILED, "not enough memory for %" PRIu64 " connections", options->connections);
    } else if (!run_test(&test)) {
        cli_fail(CLI_FAILED, "%s", test.failure != NULL ? test.failure : "the test failed");
    } else {
        report(&test);
        code = fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
        if (test.echoed != options->connections || test.acked != options->connections) {
            code = cli_fail(CLI_FAILED, "not every connection was answered");
        }
    }
    close_test(&test);
    return code;
}
