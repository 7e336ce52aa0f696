/* SPDX-License-Identifier: MIT */
/*
 * perf_server.c - the listening end of "weir perf": counts what arrives, or sends it back.
 *
 * One test at a time. A test begins with a control connection's BEGIN and ends when that connection
 * does; every other connection that exists meanwhile belongs to it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/perf.h"

/* A client that has been silent for this long does not keep the next one out. */
#define STALE_AFTER (15 * WEIR_SEC)

/* Longest wait in the loop, so that a signal is noticed. */
#define LOOP_WAIT (100 * WEIR_MSEC)

enum {
    CODE_BUSY = 1
};

struct server {
    const struct cli_perf_options *options;
    struct cli_link *link;
    struct cli_conn *control; /* NULL: no test is running */
    enum cli_perf_mode mode;
    bool is_over; /* is_once: the test has ended */
    weir_nsec active_at, first_at, last_at;
    uint64_t messages, bytes, echoes_dropped;
    uint64_t cpu_start_ns, rss_start_bytes, packets_received_start, packets_sent_start;
};

/* --- a test ----------------------------------------------------------------------------------- */

static struct cli_perf_control figures_of(const struct server *server)
{
    struct cli_link_stats stats;
    struct cli_perf_control control = {.kind = CLI_PERF_FIGURES,
                                       .fields_count = CLI_PERF_FIELDS_MAX};
    uint64_t *fields = control.fields;
    cli_link_stats(server->link, &stats);
    fields[CLI_PERF_MESSAGES] = server->messages;
    fields[CLI_PERF_BYTES] = server->bytes;
    fields[CLI_PERF_RECEIVE_NS] = server->last_at - server->first_at;
    fields[CLI_PERF_CPU_NS] = cli_perf_cpu_ns() - server->cpu_start_ns;
    fields[CLI_PERF_PACKETS_RECEIVED] = stats.packets_received - server->packets_received_start;
    fields[CLI_PERF_PACKETS_SENT] = stats.packets_sent - server->packets_sent_start;
    fields[CLI_PERF_RSS_START_BYTES] = server->rss_start_bytes;
    fields[CLI_PERF_RSS_BYTES] = cli_perf_rss_bytes();
    fields[CLI_PERF_OPEN] = stats.connections > 0 ? stats.connections - 1 : 0;
    return control;
}

static void begin_test(struct server *server, struct cli_conn *conn,
                       const struct cli_perf_control *begin)
{
    struct cli_link_stats stats;
    cli_link_stats(server->link, &stats);
    server->control = conn;
    server->mode = begin->fields_count > 0 && begin->fields[0] <= CLI_PERF_IDLE
                       ? (enum cli_perf_mode)begin->fields[0]
                       : CLI_PERF_BULK;
    server->messages = server->bytes = server->echoes_dropped = 0;
    server->first_at = server->last_at = 0;
    server->packets_received_start = stats.packets_received;
    server->packets_sent_start = stats.packets_sent;
    server->cpu_start_ns = cli_perf_cpu_ns();
    server->rss_start_bytes = cli_perf_rss_bytes();
}

static void print_test(const struct server *server)
{
    struct cli_perf_control control = figures_of(server);
    double seconds = (double)control.fields[CLI_PERF_RECEIVE_NS] / 1e9;
    double mbit = seconds > 0 ? (double)server->bytes * 8e-6 / seconds : 0;
    double rate = seconds > 0 ? (double)server->messages / seconds : 0;
    double cpu_s = (double)control.fields[CLI_PERF_CPU_NS] / 1e9;
    if (server->options->is_json) {
        printf("{\"mode\":\"%s\",\"messages\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
               ",\"seconds\":%.3f,\"goodput_mbit\":%.3f,\"messages_per_second\":%.1f,"
               "\"cpu_seconds_server\":%.6f}\n",
               cli_perf_mode_text(server->mode), server->messages, server->bytes, seconds, mbit,
               rate, cpu_s);
    } else {
        printf("%-8s %10" PRIu64 " messages in %6.2f s  %10.1f Mbit/s  %11.0f /s  CPU %.2f s\n",
               cli_perf_mode_text(server->mode), server->messages, seconds, mbit, rate, cpu_s);
    }
    (void)fflush(stdout);
}

static void end_test(struct server *server)
{
    server->control = NULL;
    server->is_over = true;
    if (!server->options->is_once) {
        print_test(server);
    }
}

static void on_control(struct server *server, struct cli_conn *conn,
                       const struct cli_perf_control *control, weir_nsec now)
{
    struct cli_perf_control answer = {.kind = CLI_PERF_READY};
    if (control->kind == CLI_PERF_BEGIN) {
        if (server->control != NULL && now - server->active_at < STALE_AFTER) {
            cli_link_end(server->link, conn, CODE_BUSY, "another test is running");
            return;
        }
        begin_test(server, conn, control);
    } else if (control->kind == CLI_PERF_MEASURE && conn == server->control) {
        answer = figures_of(server);
    } else {
        return;
    }
    /* Only fails when the connection is about to end anyway; its CLOSED event follows. */
    (void)cli_perf_send_control(server->link, conn, &answer);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_message(struct server *server, const struct cli_event *event, weir_nsec now)
{
    struct cli_perf_control control;
    server->active_at = now;
    if (cli_perf_decode(event->message.data, &control)) {
        on_control(server, event->conn, &control, now);
        return;
    }
    if (server->messages++ == 0) {
        server->first_at = now;
    }
    server->last_at = now;
    server->bytes += event->message.data.length;
    if (server->mode == CLI_PERF_LATENCY || server->mode == CLI_PERF_IDLE) {
        struct weir_rudp_send how = {.guarantee = event->message.guarantee};
        if (cli_link_send(server->link, event->conn, &how, event->message.data.data,
                          event->message.data.length) != WEIR_OK) {
            server->echoes_dropped++; /* the client counts it as lost */
        }
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct server *server = user;
    struct cli_event event;
    while (cli_link_event(server->link, &event) == WEIR_OK) {
        switch (event.type) {
        case CLI_EVENT_REQUEST:
            cli_link_accept(server->link, event.conn, NULL);
            break;
        case CLI_EVENT_MESSAGE:
            on_message(server, &event, now);
            break;
        case CLI_EVENT_CLOSED:
            if (event.conn == server->control) {
                end_test(server);
            }
            break;
        case CLI_EVENT_OPENED:
        case CLI_EVENT_PARCEL_DONE:
        case CLI_EVENT_WRITABLE:
            break;
        }
    }
}

/* --- running ---------------------------------------------------------------------------------- */

static bool tell_port(const struct server *server, int port_fd)
{
    uint16_t port = server->link->local.port;
    return port_fd < 0 || write(port_fd, &port, sizeof(port)) == (ssize_t)sizeof(port);
}

static void announce(const struct server *server)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&server->link->local, text);
    (void)fprintf(stderr, "listening on %s://%s\n", server->options->scheme, text);
}

int cli_perf_serve(const struct cli_perf_options *options, const struct weir_addr *bind,
                   int port_fd)
{
    struct cli_link link;
    struct server server = {.options = options, .link = &link};
    struct cli_link_options link_options;
    cli_perf_configure(options, &link_options);
    link_options.bind = *bind;
    link_options.is_accepting = true;
    /* The client's shorter timeouts count; idle connections must not wake for pings. */
    link_options.idle_timeout = 3600 * WEIR_SEC;
    link_options.heartbeat = 0;
    if (!cli_link_open(&link, &link_options, on_events, &server)) {
        return CLI_FAILED;
    }
    int code = CLI_OK;
    if (!tell_port(&server, port_fd)) {
        code = CLI_FAILED;
    } else if (port_fd < 0) {
        announce(&server);
    }
    while (code == CLI_OK && !cli_is_stopping && !(options->is_once && server.is_over)) {
        if (weir_loop_run_once(link.loop, LOOP_WAIT) != WEIR_OK) {
            code = cli_fail(CLI_FAILED, "the socket failed: errno %d", link.driver->error);
        }
    }
    if (options->is_once && server.is_over && port_fd < 0) {
        print_test(&server);
    }
    cli_link_close(&link);
    return code;
}
