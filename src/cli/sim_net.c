/* SPDX-License-Identifier: MIT */
/*
 * sim_net.c - the network, the clock and the order of the calls of "weir sim", for every engine.
 *
 * The clock jumps to whatever is due next: a packet, a timer, a message. The run ends when every
 * message was sent, nothing is queued at the client and nothing is on the way.
 */
#include "cli/sim_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/udp.h"

enum {
    PACKETS_MAX = 64, /* one receive */
    TX_BYTES = 1 << 20,
    TRANSMITS_MAX = 256,
    STEPS_AT_ONE_TIME_MAX = 1000000 /* beyond it the engine does not let time go on */
};

#define SILENCE_MAX (120 * WEIR_SEC) /* a connection that is alive but delivers nothing */

/* --- set-up ----------------------------------------------------------------------------------- */

/* 32 bytes that differ between seeds and hosts; a simulation has no secrets. */
static void make_seed(uint8_t seed[32], uint64_t number, uint8_t host)
{
    memset(seed, host, 32);
    memcpy(seed, &number, sizeof(number));
}

static bool open_slide(struct cli_sim_host *host, size_t secondary_bytes)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    config.secondary_bytes = secondary_bytes;
    host->slide_mem_bytes = weir_slide_mem_size(&config);
    host->slide_mem = weir_mem_map(host->slide_mem_bytes);
    return host->slide_mem != NULL &&
           weir_slide_init(host->slide_mem, &config, &host->slide) == WEIR_OK;
}

bool cli_sim_net_map(const struct cli_sim_run *run, struct cli_sim_host *host, size_t bytes)
{
    if (bytes == 0) {
        cli_fail(CLI_USAGE, "the options are outside what %s can do", run->options->transport);
        return false;
    }
    host->engine_mem_bytes = bytes;
    host->engine_mem = weir_mem_map(bytes);
    if (host->engine_mem == NULL) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated hosts");
        return false;
    }
    return true;
}

static bool open_host(struct cli_sim_run *run, struct cli_sim_host *host, uint8_t octet,
                      uint16_t port)
{
    struct weir_addr addr = {.ip = {10, 0, 0, octet}, .port = port, .family = WEIR_ADDR_IP4};
    uint8_t seed[32];
    make_seed(seed, run->options->seed, octet);
    host->octet = octet;
    if (weir_sim_add_host(run->sim, &addr, &host->driver) != WEIR_OK ||
        !open_slide(host, run->engine->secondary_bytes(run))) {
        cli_fail(CLI_FAILED, "not enough memory for the simulated hosts");
        return false;
    }
    return run->engine->open(run, host, seed);
}

static void close_host(struct cli_sim_run *run, struct cli_sim_host *host)
{
    if (host->is_traced) {
        cli_udp_close(host->driver);
    }
    if (host->endpoint != NULL && run->engine->fini != NULL) {
        run->engine->fini(host);
    }
    if (host->slide_mem != NULL) {
        weir_mem_unmap(host->slide_mem, host->slide_mem_bytes);
    }
    if (host->engine_mem != NULL) {
        weir_mem_unmap(host->engine_mem, host->engine_mem_bytes);
    }
}

/* Everything the client sends and receives goes to the file. */
static bool open_trace(struct cli_sim_run *run)
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

static bool open_network(struct cli_sim_run *run)
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
    bool is_portless = run->engine->is_portless;
    if (!open_host(run, &run->client, 1, is_portless ? 0 : 40000) ||
        !open_host(run, &run->server, 2, is_portless ? 0 : CLI_SIM_SERVER_PORT)) {
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

static void close_network(struct cli_sim_run *run)
{
    close_host(run, &run->client);
    close_host(run, &run->server);
    if (run->sim != NULL) {
        weir_sim_close(run->sim);
    }
    free(run->tx_buffer);
    free(run->transmits);
}

/* --- for engines ------------------------------------------------------------------------------ */

void cli_sim_net_on_opened(struct cli_sim_run *run)
{
    run->is_open = true;
    run->opened = run->now;
}

void cli_sim_net_fail(struct cli_sim_run *run, const char *what, const char *detail)
{
    run->is_over = true;
    if (run->report->failure[0] == '\0') {
        snprintf(run->report->failure, sizeof(run->report->failure), "%s%s%s", what,
                 detail[0] == '\0' ? "" : ": ", detail);
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

static void receive(struct cli_sim_run *run, struct cli_sim_host *host)
{
    const struct weir_verbs *verbs = run->engine->verbs();
    struct weir_packet packets[PACKETS_MAX];
    uint32_t count = 0;
    do {
        struct weir_mut_span room = weir_slide_room(host->slide);
        if (host->driver->ops->receive(host->driver, run->now, room, packets, PACKETS_MAX,
                                       &count) != WEIR_OK) {
            cli_sim_net_fail(run, "the simulated network failed", "");
            return;
        }
        weir_slide_received(host->slide, used_of(room, packets, count));
        if (count > 0) {
            verbs->input(host->endpoint, run->now, packets, count);
            run->engine->drain_events(run, host);
        }
    } while (count > 0);
    if (verbs->next_timeout(host->endpoint) <= run->now) {
        verbs->timeout(host->endpoint, run->now);
        run->engine->drain_events(run, host);
    }
}

static void send_output(struct cli_sim_run *run, struct cli_sim_host *host)
{
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK) {
        struct weir_tx tx = {.buffer = run->tx_buffer,
                             .buffer_bytes = TX_BYTES,
                             .transmits = run->transmits,
                             .transmits_max = TRANSMITS_MAX,
                             .run_bytes_max = host->driver->run_bytes_max,
                             .run_segments_max = host->driver->run_segments_max};
        status = run->engine->verbs()->output(host->endpoint, run->now, &tx);
        uint32_t sent = 0;
        if (tx.count > 0 && (host->driver->ops->send(host->driver, run->now, run->transmits,
                                                     tx.count, &sent) != WEIR_OK ||
                             sent < tx.count)) {
            cli_sim_net_fail(run, "the simulated network failed", "");
            return;
        }
        if (tx.count == 0 && status == WEIR_OK) {
            cli_sim_net_fail(run, "the engine has more to send but sends nothing", "");
            return;
        }
    }
}

static weir_nsec next_message_time(const struct cli_sim_run *run)
{
    if (!run->is_open || run->is_full || run->is_closed || run->next_index == run->traffic->count) {
        return WEIR_NEVER;
    }
    return cli_sim_traffic_due(run->traffic, run->next_index, run->opened);
}

static void advance(struct cli_sim_run *run)
{
    if (run->engine->advance != NULL) {
        run->engine->advance(run);
    }
}

/* A message that was due earlier than the queue had room keeps its due time: the wait counts as
 * latency. A bulk has no due times. */
static void send_messages(struct cli_sim_run *run)
{
    const struct cli_sim_options *options = run->options;
    while (next_message_time(run) <= run->now) {
        weir_nsec time = options->bulk_bytes > 0 ? run->now : next_message_time(run);
        struct weir_span message = cli_sim_traffic_build(run->traffic, run->next_index, time);
        enum weir_status status = run->engine->send(run, run->next_index, message);
        if (status == WEIR_ERR_FULL) {
            run->is_full = true;
            advance(run);
            continue;
        }
        if (status != WEIR_OK) {
            cli_sim_net_fail(run, "cannot send", weir_status_text(status));
            return;
        }
        cli_sim_traffic_on_sent(run->traffic, run->next_index, time);
        run->next_index++;
        advance(run);
    }
}

/* Nothing is queued and nothing is on the way: nothing more can arrive. */
static void look_for_end(struct cli_sim_run *run)
{
    const struct cli_sim_traffic *traffic = run->traffic;
    struct cli_sim_sample sample = {.time = run->now, .delivered_bytes = traffic->delivered_bytes};
    bool is_idle = false;
    if (run->is_closed) {
        return;
    }
    run->engine->look(run, &sample, &is_idle);
    if (cli_sim_plot_is_due(run->plot, run->now)) {
        cli_sim_plot_add(run->plot, &sample);
    }
    if (traffic->sent == traffic->count && is_idle && weir_sim_next(run->sim) == WEIR_NEVER) {
        run->is_over = true;
        return;
    }
    bool is_waiting = traffic->sent == traffic->count || run->is_full;
    if (!is_waiting || traffic->delivered > run->delivered) {
        run->delivered = traffic->delivered;
        run->progressed = run->now;
    }
    if (run->now - run->progressed > SILENCE_MAX) {
        cli_sim_net_fail(run, "nothing was delivered for two minutes", "");
    }
}

static weir_nsec earlier(weir_nsec a, weir_nsec b)
{
    return a < b ? a : b;
}

static weir_nsec next_time(const struct cli_sim_run *run)
{
    const struct weir_verbs *verbs = run->engine->verbs();
    weir_nsec next = weir_sim_next(run->sim);
    next = earlier(next, verbs->next_timeout(run->client.endpoint));
    next = earlier(next, verbs->next_timeout(run->server.endpoint));
    return earlier(next, next_message_time(run));
}

static void run_to_end(struct cli_sim_run *run)
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
            cli_sim_net_fail(run, "nothing is due any more", "");
        }
        if (next > run->now) {
            run->now = next;
            steps_at_once = 0;
        } else if (++steps_at_once > STEPS_AT_ONE_TIME_MAX) {
            cli_sim_net_fail(run, "the engine does not let time go on", "");
        }
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

static void fill_report(const struct cli_sim_run *run)
{
    struct cli_sim_report *report = run->report;
    struct weir_sim_stats wire = weir_sim_stats(run->sim, NULL, NULL);
    report->wire_bytes = wire.sent_bytes + run->engine->header_bytes * wire.sent;
    report->secondary_bytes = weir_slide_stats(run->server.slide)->secondary_bytes_total;
    report->started = CLI_SIM_START_TIME;
    report->ended = run->traffic->last_delivered > 0 ? run->traffic->last_delivered : run->now;
    run->engine->report(run, report);
}

bool cli_sim_net_exchange(struct cli_sim_run *run)
{
    static const struct weir_addr server = {
        .ip = {10, 0, 0, 2}, .port = CLI_SIM_SERVER_PORT, .family = WEIR_ADDR_IP4};
    run->now = CLI_SIM_START_TIME;
    run->progressed = CLI_SIM_START_TIME;
    bool is_ready = open_network(run);
    if (is_ready && !run->engine->connect(run, &server)) {
        cli_fail(CLI_FAILED, "cannot connect in the simulated network");
        is_ready = false;
    }
    if (is_ready) {
        run_to_end(run);
        fill_report(run);
    }
    close_network(run);
    return is_ready;
}
