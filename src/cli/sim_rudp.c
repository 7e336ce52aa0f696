/* SPDX-License-Identifier: MIT */
/*
 * sim_rudp.c - two RUDP endpoints and a simulated network between them, in virtual time.
 *
 *      client 10.0.0.1:40000 ===== link, the same both ways ===== server 10.0.0.2:4433
 *
 * The clock jumps to whatever is due next: a packet, a timer, a message. The run ends when every
 * message was sent, nothing is queued at the client and nothing is on the way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sim_run.h"

enum {
    PACKETS_MAX = 64, /* one receive */
    TX_BYTES = 1 << 20,
    TRANSMITS_MAX = 256,
    STEPS_AT_ONE_TIME_MAX = 1000000, /* beyond it the engine does not let time go on */
    WINDOW_BYTES_MIN = 4 << 20,
    WINDOW_BYTES_MAX = 64 << 20
};

#define START_TIME  WEIR_SEC         /* not 0, which may have a meaning of its own */
#define SILENCE_MAX (120 * WEIR_SEC) /* a connection that is alive but delivers nothing */

struct host {
    struct weir_driver *driver;
    bool is_traced; /* driver is a wrapper that must be closed */
    struct weir_slide *slide;
    void *slide_mem;
    size_t slide_mem_bytes;
    struct weir_rudp *rudp;
    void *rudp_mem;
    size_t rudp_mem_bytes;
};

struct run {
    const struct cli_sim_options *options;
    struct cli_sim_traffic *traffic;
    struct cli_sim_plot *plot;
    struct cli_sim_report *report;
    struct weir_sim *sim;
    struct host client, server;
    struct weir_rudp_conn *conn; /* the client's; NULL once it is closed */
    struct weir_rudp_conn_stats stats;
    weir_nsec now, opened;
    weir_nsec progressed; /* when a message was last sent or delivered */
    uint64_t delivered;   /* then */
    uint64_t next_index;  /* of the message to send next */
    bool is_open, is_full, is_over;
    uint8_t *tx_buffer;
    struct weir_transmit *transmits;
};

/* --- set-up ----------------------------------------------------------------------------------- */

/* Twice what the path holds, so that neither window nor queue is what limits the exchange. */
static uint32_t choose_window_bytes(const struct cli_sim_options *options)
{
    uint64_t bytes = WINDOW_BYTES_MAX / 4;
    weir_nsec rtt = options->rtt + 2 * options->link.jitter;
    if (options->link.rate > 0) {
        bytes = (uint64_t)((double)options->link.rate / 4 * (double)rtt / (double)WEIR_SEC) +
                2 * (uint64_t)options->link.queue_bytes;
    }
    bytes = bytes < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : bytes;
    bytes = bytes > WINDOW_BYTES_MAX ? WINDOW_BYTES_MAX : bytes;
    return (uint32_t)(bytes + options->size + 64);
}

static struct weir_rudp_config choose_config(const struct run *run)
{
    const struct cli_sim_options *options = run->options;
    struct weir_rudp_config config;
    weir_rudp_config_default(&config);
    config.connections_max = 4;
    config.awake_max = 4;
    config.channels_max = (uint16_t)options->channels;
    config.message_bytes_max =
        (uint32_t)(options->size > config.message_bytes_max ? options->size
                                                            : config.message_bytes_max);
    config.receive_window_bytes = choose_window_bytes(options);
    config.send_queue_bytes = config.receive_window_bytes;
    config.send_bytes = 4 * (size_t)config.send_queue_bytes;
    config.assembly_bytes = 4 * (size_t)config.receive_window_bytes;
    config.cc = options->cc;
    if (options->link.mtu_bytes > config.mtu_bytes_max) {
        config.mtu_bytes_max = (uint16_t)options->link.mtu_bytes;
    }
    return config;
}

/* 32 bytes that differ between seeds and hosts; a simulation has no secrets. */
static void make_seed(uint8_t seed[32], uint64_t number, uint8_t host)
{
    memset(seed, host, 32);
    memcpy(seed, &number, sizeof(number));
}

static bool open_slide(struct host *host, size_t secondary_bytes)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    config.secondary_bytes = secondary_bytes;
    host->slide_mem_bytes = weir_slide_mem_size(&config);
    host->slide_mem = weir_mem_map(host->slide_mem_bytes);
    return host->slide_mem != NULL &&
           weir_slide_init(host->slide_mem, &config, &host->slide) == WEIR_OK;
}

static bool open_host(struct run *run, struct host *host, uint8_t last_octet, uint16_t port)
{
    struct weir_addr addr = {.ip = {10, 0, 0, last_octet}, .port = port, .family = WEIR_ADDR_IP4};
    struct weir_rudp_config config = choose_config(run);
    uint8_t seed[32];
    make_seed(seed, run->options->seed, last_octet);
    if (weir_sim_add_host(run->sim, &addr, &host->driver) != WEIR_OK ||
        !open_slide(host, 4 * (size_t)config.receive_window_bytes)) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated hosts");
        return false;
    }
    config.slide = host->slide;
    config.is_accepting = host == &run->server;
    host->rudp_mem_bytes = weir_rudp_mem_size(&config);
    if (host->rudp_mem_bytes == 0) {
        cli_fail(CLI_USAGE, "size, mtu or channels are outside what rudp can do");
        return false;
    }
    host->rudp_mem = weir_mem_map(host->rudp_mem_bytes);
    if (host->rudp_mem == NULL ||
        weir_rudp_init(host->rudp_mem, &config, seed, run->now, &host->rudp) != WEIR_OK) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated hosts");
        return false;
    }
    return true;
}

static void close_host(struct host *host)
{
    if (host->is_traced) {
        host->driver->ops->close(host->driver);
    }
    if (host->slide_mem != NULL) {
        weir_mem_unmap(host->slide_mem, host->slide_mem_bytes);
    }
    if (host->rudp_mem != NULL) {
        weir_mem_unmap(host->rudp_mem, host->rudp_mem_bytes);
    }
}

/* Everything the client sends and receives goes to the file. */
static bool open_trace(struct run *run)
{
    struct weir_driver *traced;
    int os_error = 0;
    if (run->options->trace_path == NULL) {
        return true;
    }
    if (weir_trace_open(run->client.driver, run->options->trace_path, &traced, &os_error) !=
        WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace %s: %s", run->options->trace_path,
                 strerror(os_error));
        return false;
    }
    run->client.driver = traced;
    run->client.is_traced = true;
    return true;
}

static bool open_network(struct run *run)
{
    struct weir_sim_config config;
    weir_sim_config_default(&config);
    config.seed = run->options->seed;
    config.hosts_max = 2;
    config.packets_max = 1 << 18;
    config.bytes_max = (size_t)256 << 20;
    run->tx_buffer = malloc(TX_BYTES);
    run->transmits = malloc(TRANSMITS_MAX * sizeof(*run->transmits));
    if (run->tx_buffer == NULL || run->transmits == NULL ||
        weir_sim_open(&config, &run->sim) != WEIR_OK) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated network");
        return false;
    }
    if (!open_host(run, &run->client, 1, 40000) || !open_host(run, &run->server, 2, 4433)) {
        return false;
    }
    if (weir_sim_set_link(run->sim, run->client.driver, run->server.driver, &run->options->link) !=
            WEIR_OK ||
        weir_sim_set_link(run->sim, run->server.driver, run->client.driver, &run->options->link) !=
            WEIR_OK) {
        cli_fail(CLI_USAGE, "the link's options are outside what the simulator can do");
        return false;
    }
    return open_trace(run);
}

static void close_network(struct run *run)
{
    close_host(&run->client);
    close_host(&run->server);
    if (run->sim != NULL) {
        weir_sim_close(run->sim);
    }
    free(run->tx_buffer);
    free(run->transmits);
}

/* --- events ----------------------------------------------------------------------------------- */

static const char *text_of_cause(enum weir_rudp_close_cause cause)
{
    switch (cause) {
    case WEIR_RUDP_CAUSE_LOCAL:
        return "closed by the client";
    case WEIR_RUDP_CAUSE_PEER:
        return "closed by the server";
    case WEIR_RUDP_CAUSE_REFUSED:
        return "refused";
    case WEIR_RUDP_CAUSE_TIMEOUT:
        return "timed out";
    case WEIR_RUDP_CAUSE_VERSION:
        return "no common version";
    case WEIR_RUDP_CAUSE_RESET:
        return "reset";
    case WEIR_RUDP_CAUSE_PROTOCOL:
        return "protocol broken";
    default:
        return "closed";
    }
}

static void fail_run(struct run *run, const char *what, const char *detail)
{
    run->is_over = true;
    if (run->report->failure[0] == '\0') {
        snprintf(run->report->failure, sizeof(run->report->failure), "%s%s%s", what,
                 detail[0] == '\0' ? "" : ": ", detail);
    }
}

static void on_event(struct run *run, const struct weir_rudp_event *event)
{
    switch (event->type) {
    case WEIR_RUDP_EVENT_REQUEST:
        weir_rudp_accept(event->conn, NULL);
        break;
    case WEIR_RUDP_EVENT_OPENED:
        if (event->conn == run->conn && !run->is_open) {
            run->is_open = true;
            run->opened = run->now;
        }
        break;
    case WEIR_RUDP_EVENT_MESSAGE:
        cli_sim_traffic_on_delivered(run->traffic, event->message.channel, event->message.data,
                                     run->now);
        break;
    case WEIR_RUDP_EVENT_WRITABLE:
        run->is_full = false;
        break;
    case WEIR_RUDP_EVENT_CLOSED:
        if (event->conn == run->conn) {
            run->conn = NULL;
        }
        fail_run(run, text_of_cause(event->closed.cause), event->closed.text);
        break;
    case WEIR_RUDP_EVENT_PARCEL_DONE:
    case WEIR_RUDP_EVENT_MOVED:
        break;
    }
}

static void drain_events(struct run *run, struct host *host)
{
    struct weir_rudp_event event;
    while (weir_rudp_event(host->rudp, &event) == WEIR_OK) {
        on_event(run, &event);
    }
}

/* --- one step --------------------------------------------------------------------------------- */

/* How much of room the packets of one receive took up; a driver with frames of its own: nothing. */
static size_t used_of(struct weir_mut_span room, const struct weir_packet *packets, uint32_t count)
{
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (packets[i].data >= room.data && packets[i].data < room.data + room.length) {
            size_t end = (size_t)(packets[i].data - room.data) + packets[i].length;
            used = end > used ? end : used;
        }
    }
    return used;
}

static void receive(struct run *run, struct host *host)
{
    struct weir_packet packets[PACKETS_MAX];
    uint32_t count = 0;
    do {
        struct weir_mut_span room = weir_slide_room(host->slide);
        if (host->driver->ops->receive(host->driver, run->now, room, packets, PACKETS_MAX,
                                       &count) != WEIR_OK) {
            fail_run(run, "the simulated network failed", "");
            return;
        }
        weir_slide_received(host->slide, used_of(room, packets, count));
        if (count > 0) {
            weir_rudp_input(host->rudp, run->now, packets, count);
            drain_events(run, host);
        }
    } while (count > 0);
    if (weir_rudp_next_timeout(host->rudp) <= run->now) {
        weir_rudp_timeout(host->rudp, run->now);
        drain_events(run, host);
    }
}

static void send_output(struct run *run, struct host *host)
{
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK) {
        struct weir_tx tx = {.buffer = run->tx_buffer,
                             .buffer_bytes = TX_BYTES,
                             .transmits = run->transmits,
                             .transmits_max = TRANSMITS_MAX,
                             .run_bytes_max = host->driver->run_bytes_max,
                             .run_segments_max = host->driver->run_segments_max};
        status = weir_rudp_output(host->rudp, run->now, &tx);
        uint32_t sent = 0;
        if (tx.count > 0 && (host->driver->ops->send(host->driver, run->now, run->transmits,
                                                     tx.count, &sent) != WEIR_OK ||
                             sent < tx.count)) {
            fail_run(run, "the simulated network failed", "");
            return;
        }
        if (tx.count == 0 && status == WEIR_OK) {
            fail_run(run, "the engine has more to send but sends nothing", "");
            return;
        }
    }
}

static weir_nsec next_message_time(const struct run *run)
{
    if (!run->is_open || run->is_full || run->conn == NULL ||
        run->next_index == run->traffic->count) {
        return WEIR_NEVER;
    }
    return cli_sim_traffic_due(run->traffic, run->next_index, run->opened);
}

/* A message that was due earlier than the queue had room keeps its due time: the wait counts as
 * latency. A bulk has no due times. */
static void send_messages(struct run *run)
{
    const struct cli_sim_options *options = run->options;
    while (next_message_time(run) <= run->now) {
        weir_nsec time = options->bulk_bytes > 0 ? run->now : next_message_time(run);
        struct weir_span message = cli_sim_traffic_build(run->traffic, run->next_index, time);
        struct weir_rudp_send how = {.channel =
                                         cli_sim_traffic_channel(run->traffic, run->next_index),
                                     .guarantee = options->guarantee};
        enum weir_status status = weir_rudp_send(run->conn, &how, message.data, message.length);
        if (status == WEIR_ERR_FULL) {
            run->is_full = true;
            return;
        }
        if (status != WEIR_OK) {
            fail_run(run, "cannot send", weir_status_text(status));
            return;
        }
        cli_sim_traffic_on_sent(run->traffic, run->next_index, time);
        run->next_index++;
    }
}

static void take_sample(struct run *run)
{
    struct cli_sim_sample sample = {.time = run->now,
                                    .window_bytes = run->stats.window_bytes,
                                    .in_flight_bytes = run->stats.in_flight_bytes,
                                    .rtt = run->stats.rtt,
                                    .rtt_min = run->stats.rtt_min,
                                    .delivered_bytes = run->traffic->delivered_bytes};
    cli_sim_plot_add(run->plot, &sample);
}

/* Nothing is queued and nothing is on the way: nothing more can arrive. */
static void look_for_end(struct run *run)
{
    const struct cli_sim_traffic *traffic = run->traffic;
    if (run->conn == NULL) {
        return;
    }
    weir_rudp_conn_stats(run->conn, &run->stats);
    if (cli_sim_plot_is_due(run->plot, run->now)) {
        take_sample(run);
    }
    if (traffic->sent == traffic->count && run->stats.queued_bytes == 0 &&
        weir_sim_next(run->sim) == WEIR_NEVER) {
        run->is_over = true;
        return;
    }
    bool is_waiting = traffic->sent == traffic->count || run->is_full;
    if (!is_waiting || traffic->delivered > run->delivered) {
        run->delivered = traffic->delivered;
        run->progressed = run->now;
    }
    if (run->now - run->progressed > SILENCE_MAX) {
        fail_run(run, "nothing was delivered for two minutes", "");
    }
}

static weir_nsec earlier(weir_nsec a, weir_nsec b)
{
    return a < b ? a : b;
}

static weir_nsec next_time(const struct run *run)
{
    weir_nsec next = weir_sim_next(run->sim);
    next = earlier(next, weir_rudp_next_timeout(run->client.rudp));
    next = earlier(next, weir_rudp_next_timeout(run->server.rudp));
    return earlier(next, next_message_time(run));
}

static void run_to_end(struct run *run)
{
    uint32_t steps_at_once = 0;
    while (!run->is_over) {
        receive(run, &run->client);
        receive(run, &run->server);
        send_messages(run);
        send_output(run, &run->client);
        send_output(run, &run->server);
        look_for_end(run);
        weir_nsec next = next_time(run);
        if (next == WEIR_NEVER && !run->is_over) {
            fail_run(run, "nothing is due any more", "");
        }
        if (next > run->now) {
            run->now = next;
            steps_at_once = 0;
        } else if (++steps_at_once > STEPS_AT_ONE_TIME_MAX) {
            fail_run(run, "the engine does not let time go on", "");
        }
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

static void fill_report(const struct run *run)
{
    struct cli_sim_report *report = run->report;
    struct weir_sim_stats wire = weir_sim_stats(run->sim, NULL, NULL);
    report->wire_bytes = wire.sent_bytes + 28 * wire.sent; /* IPv4 20, UDP 8 */
    report->resent_bytes = run->stats.bytes_resent;
    report->peak_held_bytes = weir_rudp_stats(run->server.rudp)->held_bytes_peak;
    report->secondary_bytes = weir_slide_stats(run->server.slide)->secondary_bytes_total;
    report->started = START_TIME;
    report->ended = run->traffic->last_delivered > 0 ? run->traffic->last_delivered : run->now;
}

bool cli_sim_run_rudp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                      struct cli_sim_plot *plot, struct cli_sim_report *report)
{
    static const struct weir_addr server = {
        .ip = {10, 0, 0, 2}, .port = 4433, .family = WEIR_ADDR_IP4};
    struct run run = {.options = options,
                      .traffic = traffic,
                      .plot = plot,
                      .report = report,
                      .now = START_TIME,
                      .progressed = START_TIME};
    bool is_ready = open_network(&run);
    if (is_ready &&
        weir_rudp_connect(run.client.rudp, run.now, &server, NULL, &run.conn) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot connect in the simulated network");
        is_ready = false;
    }
    if (is_ready) {
        run_to_end(&run);
        fill_report(&run);
    }
    close_network(&run);
    return is_ready;
}
