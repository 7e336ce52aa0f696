/* SPDX-License-Identifier: MIT */
/*
 * perf_server.c - the listening end of "weir perf": counts what arrives, or sends it back.
 *
 * One test at a time. A test begins with a control connection's BEGIN and ends when that connection
 * does; every other connection that exists meanwhile belongs to it.
 *
 * With --workers connections are in shards on several threads. Each shard counts for itself and
 * shows its words; that of the control connection adds them up. What a test is, a number and a
 * mode, is one word, server.test: whoever wants to begin or end one swaps it for the next, and the
 * others see that with the next message they get. A message was counted and shown before it is
 * acknowledged, so that a client which asks after its last acknowledgment is told of all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/crew.h"
#include "cli/perf.h"

/* A client that has been silent for this long does not keep the next one out. */
#define STALE_AFTER (15 * WEIR_SEC)

/* Longest wait in the loop, so that a signal is noticed. */
#define LOOP_WAIT (100 * WEIR_MSEC)

enum {
    CODE_BUSY = 1,
    LINE_BYTES = 512
};

/* Since the test began, but for the last three. Stored by the shard's worker, in this order, and
 * loaded by any. */
struct shown {
    uint64_t test; /* number of the test that the rest is of */
    uint64_t messages, bytes;
    uint64_t first_at, last_at; /* of a message; 0: none */
    uint64_t active_at;         /* also of a test's control message */
    uint64_t packets_received, packets_sent, connections;
};

struct shard {
    __attribute__((aligned(64))) struct shown shown;
    uint32_t is_quiet; /* atomic: after stop, its last words have got through */
    struct server *server;
    struct cli_link link;
    struct shown mine;        /* of the shard's own thread, as are the next two */
    struct cli_conn *control; /* of test control_number; NULL: none has begun here */
    uint64_t control_number;
    uint64_t cpu_start_ns, rss_start_bytes, packets_received_start, packets_sent_start;
};

struct server {
    const struct cli_perf_options *options;
    const struct weir_addr *bind;
    struct shard *shards;
    uint32_t shard_count;
    bool is_silent;   /* prints nothing */
    uint64_t test;    /* atomic: number << 16 | mode << 8 | is running; swapped by any shard */
    uint32_t is_over; /* atomic: a test has ended */
};

/* --- the word --------------------------------------------------------------------------------- */

static uint64_t test_word(uint64_t number, enum cli_perf_mode mode, bool is_running)
{
    return number << 16 | (uint64_t)mode << 8 | is_running;
}

static uint64_t number_of(uint64_t test)
{
    return test >> 16;
}

static enum cli_perf_mode mode_of(uint64_t test)
{
    return (enum cli_perf_mode)(test >> 8 & 0xff);
}

static bool is_running(uint64_t test)
{
    return (test & 1) != 0;
}

static uint64_t load_test(const struct server *server)
{
    return __atomic_load_n(&server->test, __ATOMIC_ACQUIRE);
}

static bool swap_test(struct server *server, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(&server->test, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* --- what shards show ------------------------------------------------------------------------- */

static void show(struct shard *shard)
{
    struct cli_link_stats stats;
    struct shown *mine = &shard->mine;
    struct shown *shown = &shard->shown;
    cli_link_stats(&shard->link, &stats);
    mine->packets_received = stats.packets_received;
    mine->packets_sent = stats.packets_sent;
    mine->connections = stats.connections;
    __atomic_store_n(&shown->messages, mine->messages, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->bytes, mine->bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->first_at, mine->first_at, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->last_at, mine->last_at, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->active_at, mine->active_at, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->packets_received, mine->packets_received, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->packets_sent, mine->packets_sent, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->connections, mine->connections, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->test, mine->test, __ATOMIC_RELEASE);
}

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Adds up all shards: what is of one test, of those that have seen it. */
static struct shown sum_up(const struct server *server, uint64_t number)
{
    struct shown sum = {.test = number};
    for (uint32_t i = 0; i < server->shard_count; i++) {
        const struct shown *shown = &server->shards[i].shown;
        bool is_of_test = __atomic_load_n(&shown->test, __ATOMIC_ACQUIRE) == number;
        uint64_t first_at = load(&shown->first_at);
        if (is_of_test && first_at != 0) {
            sum.messages += load(&shown->messages);
            sum.bytes += load(&shown->bytes);
            sum.first_at = sum.first_at == 0 ? first_at : weir_min_u64(sum.first_at, first_at);
            sum.last_at = weir_max_u64(sum.last_at, load(&shown->last_at));
        }
        sum.active_at = weir_max_u64(sum.active_at, load(&shown->active_at));
        sum.packets_received += load(&shown->packets_received);
        sum.packets_sent += load(&shown->packets_sent);
        sum.connections += load(&shown->connections);
    }
    return sum;
}

/* --- a test ----------------------------------------------------------------------------------- */

/* Of the test whose control connection is here. */
static struct cli_perf_control figures_of(struct shard *shard)
{
    struct cli_perf_control control = {.kind = CLI_PERF_FIGURES,
                                       .fields_count = CLI_PERF_FIELDS_MAX};
    uint64_t *fields = control.fields;
    show(shard);
    const struct shown sum = sum_up(shard->server, shard->control_number);
    fields[CLI_PERF_MESSAGES] = sum.messages;
    fields[CLI_PERF_BYTES] = sum.bytes;
    fields[CLI_PERF_RECEIVE_NS] = sum.last_at - sum.first_at;
    fields[CLI_PERF_CPU_NS] = cli_perf_cpu_ns() - shard->cpu_start_ns;
    fields[CLI_PERF_PACKETS_RECEIVED] = sum.packets_received - shard->packets_received_start;
    fields[CLI_PERF_PACKETS_SENT] = sum.packets_sent - shard->packets_sent_start;
    fields[CLI_PERF_RSS_START_BYTES] = shard->rss_start_bytes;
    fields[CLI_PERF_RSS_BYTES] = cli_perf_rss_bytes();
    fields[CLI_PERF_OPEN] = sum.connections > 0 ? sum.connections - 1 : 0;
    return control;
}

/* A shard that sees a new test counts from 0. */
static void follow(struct shard *shard, uint64_t test)
{
    if (shard->mine.test != number_of(test)) {
        shard->mine.test = number_of(test);
        shard->mine.messages = shard->mine.bytes = 0;
        shard->mine.first_at = shard->mine.last_at = 0;
    }
}

/* False: another test is running, or began just now. */
static bool begin_test(struct shard *shard, struct cli_conn *conn,
                       const struct cli_perf_control *begin, weir_nsec now)
{
    struct server *server = shard->server;
    const uint64_t before = load_test(server);
    const uint64_t number = number_of(before) + 1;
    const enum cli_perf_mode mode = begin->fields_count > 0 && begin->fields[0] <= CLI_PERF_IDLE
                                        ? (enum cli_perf_mode)begin->fields[0]
                                        : CLI_PERF_BULK;
    show(shard);
    const struct shown sum = sum_up(server, number_of(before));
    if ((is_running(before) && now < sum.active_at + STALE_AFTER) ||
        !swap_test(server, before, test_word(number, mode, true))) {
        return false;
    }
    shard->control = conn;
    shard->control_number = number;
    shard->packets_received_start = sum.packets_received;
    shard->packets_sent_start = sum.packets_sent;
    shard->cpu_start_ns = cli_perf_cpu_ns();
    shard->rss_start_bytes = cli_perf_rss_bytes();
    follow(shard, load_test(server));
    return true;
}

static void print_test(const struct server *server, enum cli_perf_mode mode,
                       const struct cli_perf_control *figures)
{
    char line[LINE_BYTES];
    const uint64_t messages = figures->fields[CLI_PERF_MESSAGES];
    const uint64_t bytes = figures->fields[CLI_PERF_BYTES];
    double seconds = (double)figures->fields[CLI_PERF_RECEIVE_NS] / 1e9;
    double mbit = seconds > 0 ? (double)bytes * 8e-6 / seconds : 0;
    double rate = seconds > 0 ? (double)messages / seconds : 0;
    double cpu_s = (double)figures->fields[CLI_PERF_CPU_NS] / 1e9;
    if (server->options->is_json) {
        (void)snprintf(line, sizeof(line),
                       "{\"mode\":\"%s\",\"messages\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
                       ",\"seconds\":%.3f,\"goodput_mbit\":%.3f,\"messages_per_second\":%.1f,"
                       "\"cpu_seconds_server\":%.6f}",
                       cli_perf_mode_text(mode), messages, bytes, seconds, mbit, rate, cpu_s);
    } else {
        (void)snprintf(line, sizeof(line),
                       "%-8s %10" PRIu64
                       " messages in %6.2f s  %10.1f Mbit/s  %11.0f /s  CPU %.2f s",
                       cli_perf_mode_text(mode), messages, seconds, mbit, rate, cpu_s);
    }
    cli_write_line(STDOUT_FILENO, line, sizeof(line));
}

/* The control connection of a test that began here has ended. Another may have taken its place. */
static void end_test(struct shard *shard)
{
    struct server *server = shard->server;
    const uint64_t test = load_test(server);
    shard->control = NULL;
    if (!is_running(test) || number_of(test) != shard->control_number) {
        return;
    }
    const struct cli_perf_control figures = figures_of(shard);
    if (swap_test(server, test, test_word(number_of(test), mode_of(test), false))) {
        if (!server->is_silent) {
            print_test(server, mode_of(test), &figures);
        }
        __atomic_store_n(&server->is_over, 1, __ATOMIC_RELEASE);
    }
}

static void on_control(struct shard *shard, struct cli_conn *conn,
                       const struct cli_perf_control *control, weir_nsec now)
{
    struct cli_perf_control answer = {.kind = CLI_PERF_READY};
    if (control->kind == CLI_PERF_BEGIN) {
        if (!begin_test(shard, conn, control, now)) {
            cli_link_end(&shard->link, conn, CODE_BUSY, "another test is running");
            return;
        }
    } else if (control->kind == CLI_PERF_MEASURE && conn == shard->control) {
        answer = figures_of(shard);
    } else {
        return;
    }
    /* Only fails when the connection is about to end anyway; its CLOSED event follows. */
    (void)cli_perf_send_control(&shard->link, conn, &answer);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_message(struct shard *shard, const struct cli_event *event, weir_nsec now)
{
    struct cli_perf_control control;
    const struct weir_span data = event->message.data;
    if (cli_perf_decode(data, &control)) {
        on_control(shard, event->conn, &control, now);
        if (event->conn == shard->control) { /* not those that are refused */
            shard->mine.active_at = now;
        }
        return;
    }
    const uint64_t test = load_test(shard->server);
    follow(shard, test);
    struct shown *mine = &shard->mine;
    if (mine->messages++ == 0) {
        mine->first_at = now;
    }
    mine->last_at = mine->active_at = now;
    mine->bytes += data.length;
    if (mode_of(test) == CLI_PERF_LATENCY || mode_of(test) == CLI_PERF_IDLE) {
        struct weir_rudp_send how = {.guarantee = event->message.guarantee};
        /* One that finds no room is dropped: the client counts it as lost. */
        (void)!cli_link_send(&shard->link, event->conn, &how, data.data, data.length);
    }
}

/* Alone the engine sees to it; shards can each hold more than their part. */
static bool has_room(const struct shard *shard)
{
    const struct server *server = shard->server;
    return server->shard_count == 1 ||
           sum_up(server, 0).connections < server->options->connections + CLI_PERF_SPARE;
}

static void on_events(void *user, weir_nsec now)
{
    struct shard *shard = user;
    struct cli_event event;
    while (cli_link_event(&shard->link, &event) == WEIR_OK) {
        switch (event.type) {
        case CLI_EVENT_REQUEST:
            if (has_room(shard)) {
                cli_link_accept(&shard->link, event.conn, NULL);
            } else {
                cli_link_refuse(&shard->link, event.conn, CODE_BUSY,
                                "the server holds as many connections as it may");
            }
            break;
        case CLI_EVENT_MESSAGE:
            on_message(shard, &event, now);
            break;
        case CLI_EVENT_CLOSED:
            if (event.conn == shard->control) {
                end_test(shard);
            }
            break;
        case CLI_EVENT_OPENED:
        case CLI_EVENT_PARCEL_DONE:
        case CLI_EVENT_WRITABLE:
            break;
        }
    }
    show(shard);
}

/* --- running ---------------------------------------------------------------------------------- */

static void configure(const struct server *server, struct cli_link_options *link)
{
    cli_perf_configure(server->options, link);
    link->bind = *server->bind;
    link->is_accepting = true;
    /* The client's shorter timeouts count; idle connections must not wake for pings. */
    link->idle_timeout = 3600 * WEIR_SEC;
    link->heartbeat = 0;
}

static bool tell_port(const struct weir_addr *local, int port_fd)
{
    return port_fd < 0 ||
           write(port_fd, &local->port, sizeof(local->port)) == (ssize_t)sizeof(local->port);
}

static void announce(const struct server *server, const struct weir_addr *local)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(local, text);
    (void)fprintf(stderr, "listening on %s://%s\n", server->options->scheme, text);
}

static bool is_over(void *user)
{
    const struct server *server = user;
    return server->options->is_once && __atomic_load_n(&server->is_over, __ATOMIC_ACQUIRE) != 0;
}

static int run_alone(struct server *server, int port_fd)
{
    struct cli_link *link = &server->shards[0].link;
    struct cli_link_options options;
    configure(server, &options);
    if (!cli_link_open(link, &options, on_events, &server->shards[0])) {
        return CLI_FAILED;
    }
    int code = CLI_OK;
    if (!tell_port(&link->local, port_fd)) {
        code = CLI_FAILED;
    } else if (port_fd < 0) {
        announce(server, &link->local);
    }
    while (code == CLI_OK && !cli_is_stopping && !is_over(server)) {
        if (weir_loop_run_once(link->loop, LOOP_WAIT) != WEIR_OK) {
            code = cli_fail(CLI_FAILED, "the socket failed: errno %d", link->driver->error);
        }
    }
    cli_link_close(link);
    return code;
}

/* --- with workers ----------------------------------------------------------------------------- */

/* After every round of the shard: what waits for its end looks here. */
static weir_nsec tick(void *user, weir_nsec now)
{
    struct shard *shard = user;
    (void)now;
    __atomic_store_n(&shard->is_quiet, cli_link_is_quiet(&shard->link), __ATOMIC_RELEASE);
    return WEIR_NEVER;
}

static bool open_shard(void *user, struct cli_crew *crew, uint32_t s)
{
    struct server *server = user;
    struct cli_link_options options;
    configure(server, &options);
    return cli_link_open_in(&server->shards[s].link, &options, crew, s, on_events, tick,
                            &server->shards[s]);
}

static void close_shard(void *user, struct cli_crew *crew, uint32_t s)
{
    const struct server *server = user;
    (void)crew;
    cli_link_close(&server->shards[s].link);
}

static bool is_all_quiet(void *user)
{
    const struct server *server = user;
    for (uint32_t i = 0; i < server->shard_count; i++) {
        if (__atomic_load_n(&server->shards[i].is_quiet, __ATOMIC_ACQUIRE) == 0) {
            return false;
        }
    }
    return true;
}

static int run_crew(struct server *server)
{
    static struct cli_crew crew;
    static const struct cli_crew_command command = {
        .open = open_shard, .close = close_shard, .is_done = is_over, .has_ended = is_all_quiet};
    struct cli_link_options options;
    configure(server, &options);
    const struct cli_crew_config config = {.options = &server->options->crew,
                                           .net = &server->options->net,
                                           .scheme = server->options->scheme,
                                           .bind = *server->bind,
                                           .shard_secondary_bytes = options.receive_window_bytes,
                                           .has_queues = true,
                                           .command = &command,
                                           .user = server};
    if (!cli_crew_open(&crew, &config)) {
        return CLI_FAILED;
    }
    announce(server, &crew.local);
    int code = cli_crew_run(&crew);
    cli_crew_close(&crew);
    return code;
}

int cli_perf_serve(const struct cli_perf_options *options, const struct weir_addr *bind,
                   int port_fd)
{
    const bool is_crew = options->crew.is_given;
    struct server server = {.options = options,
                            .bind = bind,
                            .shard_count = is_crew ? CLI_CREW_SHARDS : 1,
                            .is_silent = port_fd >= 0};
    const size_t bytes = server.shard_count * sizeof(*server.shards);
    server.shards = aligned_alloc(64, bytes);
    if (server.shards == NULL) {
        return cli_fail(CLI_FAILED, "the system gave no memory");
    }
    memset(server.shards, 0, bytes);
    for (uint32_t i = 0; i < server.shard_count; i++) {
        server.shards[i].server = &server;
    }
    int code = is_crew ? run_crew(&server) : run_alone(&server, port_fd);
    free(server.shards);
    return code;
}
