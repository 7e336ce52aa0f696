/* SPDX-License-Identifier: MIT */
/*
 * perf_client.c - the calling end of "weir perf": connections, events, the course of a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/perf.h"

enum {
    MESSAGE_QUEUE_BYTES = 1 << 20 /* enough to keep the engine busy, small enough for the cache */
};

#define ANSWER_MAX   (10 * WEIR_SEC) /* for the server to answer a control message */
#define KEEP_EVERY   (3 * WEIR_SEC)
#define CLOSE_MAX    (3 * WEIR_SEC)
#define LOOP_WAIT    (50 * WEIR_MSEC)
#define CONTROL_TICK WEIR_MSEC /* between looks at a control connection of its own */

bool cli_perf_fail(struct cli_perf_client *client, const char *what, const char *detail)
{
    if (client->failure[0] == '\0') {
        (void)snprintf(client->failure, sizeof(client->failure), "%s%s%s", what,
                       detail[0] == '\0' ? "" : ": ", detail);
    }
    return false;
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_control(struct cli_perf_client *client, struct weir_span data)
{
    struct cli_perf_control control;
    if (!cli_perf_decode(data, &control)) {
        return;
    }
    if (control.kind == CLI_PERF_READY) {
        client->is_ready = true;
    } else if (control.kind == CLI_PERF_FIGURES) {
        memcpy(client->figures, control.fields, sizeof(client->figures));
        client->has_figures = true;
    }
}

static void on_opened(struct cli_perf_client *client, struct cli_perf_flow *flow)
{
    flow->is_open = true;
    if (flow != &client->control) {
        client->opened++;
    }
}

static const char *text_of_close(const struct cli_event *event)
{
    if (event->closed.text[0] != '\0') {
        return event->closed.text;
    }
    switch (event->closed.cause) {
    case CLI_CAUSE_TIMEOUT:
        return "no answer";
    case CLI_CAUSE_REFUSED:
        return "refused";
    case CLI_CAUSE_VERSION:
        return "it speaks another version";
    case CLI_CAUSE_RESET:
        return "it was restarted";
    case CLI_CAUSE_CUT:
        return "it was reset";
    case CLI_CAUSE_LOCAL:
    case CLI_CAUSE_PEER:
    case CLI_CAUSE_PROTOCOL:
    default:
        return "closed";
    }
}

/* In idle mode one connection that ends is a figure; anywhere else it is the end. */
static void on_closed(struct cli_perf_client *client, const struct cli_event *event)
{
    struct cli_perf_flow *flow = event->closed.user;
    bool was_open = flow->is_open;
    flow->conn = NULL;
    flow->is_open = false;
    bool is_one_of_many = flow != &client->control && client->options->mode == CLI_PERF_IDLE;
    if (client->is_closing || (is_one_of_many && was_open)) {
        client->closed++;
    } else if (is_one_of_many) {
        client->failed++;
    } else {
        cli_perf_fail(client, was_open ? "the server ended the connection" : "cannot connect",
                      text_of_close(event));
    }
}

static void on_event(struct cli_perf_client *client, struct cli_link *link,
                     const struct cli_event *event, weir_nsec now)
{
    if (event->type == CLI_EVENT_CLOSED) {
        on_closed(client, event);
        return;
    }
    struct cli_perf_flow *flow = cli_link_user(link, event->conn);
    switch (event->type) {
    case CLI_EVENT_OPENED:
        on_opened(client, flow);
        break;
    case CLI_EVENT_MESSAGE:
        if (flow == &client->control) {
            on_control(client, event->message.data);
        } else {
            cli_perf_on_echo(flow, event->message.data, now);
        }
        break;
    case CLI_EVENT_PARCEL_DONE:
        flow->queued_bytes -= client->options->size;
        break;
    case CLI_EVENT_WRITABLE:
        flow->is_full = false;
        break;
    case CLI_EVENT_REQUEST:
    case CLI_EVENT_CLOSED:
        break;
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct cli_perf_client *client = user;
    struct cli_event event;
    while (cli_link_event(&client->link, &event) == WEIR_OK) {
        on_event(client, &client->link, &event, now);
    }
}

static void on_control_events(void *user, weir_nsec now)
{
    struct cli_perf_client *client = user;
    struct cli_event event;
    while (cli_link_event(&client->control_link, &event) == WEIR_OK) {
        on_event(client, &client->control_link, &event, now);
    }
}

void cli_perf_on_echo(struct cli_perf_flow *flow, struct weir_span data, weir_nsec now)
{
    struct cli_perf_client *client = flow->client;
    if (flow->sent_at == 0 || data.length != client->options->size ||
        (data.length >= 8 && weir_load64(data.data) != flow->sent)) {
        return; /* late: it was counted as lost */
    }
    client->echoes++;
    if (client->options->mode == CLI_PERF_LATENCY) {
        (void)cli_samples_add(&client->latencies, now - flow->sent_at);
    }
    flow->sent_at = 0;
    if (client->options->mode == CLI_PERF_LATENCY && !client->is_echo_stopped) {
        /* A full queue is tried again by the load loop. */
        (void)cli_perf_ping(flow, now);
    }
}

enum weir_status cli_perf_ping(struct cli_perf_flow *flow, weir_nsec now)
{
    struct cli_perf_client *client = flow->client;
    struct weir_rudp_send how = {.guarantee = client->options->guarantee};
    uint8_t *payload = client->payload + flow->link->front_bytes;
    if (client->options->size >= 8) {
        weir_store64(payload, flow->sent + 1);
    }
    enum weir_status status =
        cli_link_send(flow->link, flow->conn, &how, payload, client->options->size);
    if (status == WEIR_OK) {
        flow->sent++;
        client->messages_sent++;
        flow->sent_at = now;
    }
    return status;
}

/* --- running ---------------------------------------------------------------------------------- */

bool cli_perf_step(struct cli_perf_client *client, weir_nsec timeout)
{
    if (client->control_link.loop != NULL) {
        timeout = timeout < CONTROL_TICK ? timeout : CONTROL_TICK;
        if (weir_loop_flush(client->control_link.loop) != WEIR_OK ||
            weir_loop_run_once(client->control_link.loop, 0) != WEIR_OK) {
            return cli_perf_fail(client, "the socket failed", "");
        }
    }
    /* What the traffic queued since leaves before the wait. */
    if (weir_loop_flush(client->link.loop) != WEIR_OK ||
        weir_loop_run_once(client->link.loop, timeout) != WEIR_OK) {
        return cli_perf_fail(client, "the socket failed", "");
    }
    if (cli_is_stopping) {
        return cli_perf_fail(client, "stopped by a signal", "");
    }
    weir_nsec now = weir_loop_now(client->link.loop);
    if (client->is_ready && now - client->kept_at > KEEP_EVERY && client->control.conn != NULL) {
        struct cli_perf_control keep = {.kind = CLI_PERF_KEEP};
        client->kept_at = now;
        (void)cli_perf_send_control(client->control.link, client->control.conn,
                                    &keep); /* the next one will do */
    }
    return client->failure[0] == '\0';
}

bool cli_perf_wait(struct cli_perf_client *client, bool (*is_done)(struct cli_perf_client *client),
                   weir_nsec timeout, const char *failure)
{
    weir_nsec end = weir_loop_now(client->link.loop) + timeout;
    while (!is_done(client)) {
        if (!cli_perf_step(client, LOOP_WAIT)) {
            return false;
        }
        if (weir_loop_now(client->link.loop) > end) {
            return cli_perf_fail(client, failure, "");
        }
    }
    return true;
}

static bool is_ready(struct cli_perf_client *client)
{
    return client->is_ready;
}

static bool has_figures(struct cli_perf_client *client)
{
    return client->has_figures;
}

bool cli_perf_measure(struct cli_perf_client *client)
{
    struct cli_perf_control control = {.kind = CLI_PERF_MEASURE};
    client->has_figures = false;
    enum weir_status status =
        cli_perf_send_control(client->control.link, client->control.conn, &control);
    if (status != WEIR_OK) {
        return cli_perf_fail(client, "cannot ask the server", weir_status_text(status));
    }
    return cli_perf_wait(client, has_figures, ANSWER_MAX, "the server sent no figures");
}

enum weir_status cli_perf_connect(struct cli_perf_client *client, struct cli_perf_flow *flow,
                                  const struct weir_addr *server)
{
    bool is_apart = flow == &client->control && client->control_link.loop != NULL;
    flow->client = client;
    flow->link = is_apart ? &client->control_link : &client->link;
    return cli_link_connect(flow->link, server, flow, &flow->conn);
}

static bool begin(struct cli_perf_client *client, const struct weir_addr *server)
{
    struct cli_perf_control control = {
        .kind = CLI_PERF_BEGIN, .fields = {client->options->mode}, .fields_count = 1};
    enum weir_status status = cli_perf_connect(client, &client->control, server);
    if (status == WEIR_OK) {
        status = cli_perf_send_control(client->control.link, client->control.conn, &control);
    }
    if (status != WEIR_OK) {
        return cli_perf_fail(client, "cannot connect", weir_status_text(status));
    }
    return cli_perf_wait(client, is_ready, 2 * ANSWER_MAX, "the server does not answer");
}

static bool open_flows(struct cli_perf_client *client, const struct weir_addr *server)
{
    for (uint64_t i = 0; i < client->options->connections; i++) {
        enum weir_status status = cli_perf_connect(client, &client->flows[i], server);
        weir_nsec end = weir_loop_now(client->link.loop) + ANSWER_MAX;
        while (status == WEIR_ERR_FULL && weir_loop_now(client->link.loop) < end) {
            /* Those that were opened just now are still awake. */
            if (!cli_perf_step(client, LOOP_WAIT)) {
                return false;
            }
            status = cli_perf_connect(client, &client->flows[i], server);
        }
        if (status != WEIR_OK) {
            return cli_perf_fail(client, "cannot connect", weir_status_text(status));
        }
        while (!client->flows[i].is_open) {
            if (!cli_perf_step(client, LOOP_WAIT)) {
                return false;
            }
        }
    }
    return true;
}

/* --- the course of a test --------------------------------------------------------------------- */

static void add_stats(struct cli_perf_client *client)
{
    struct cli_conn_stats *sum = &client->stats;
    for (uint64_t i = 0; i < client->options->connections; i++) {
        struct cli_conn_stats stats;
        if (client->flows[i].conn == NULL) {
            continue;
        }
        cli_link_conn_stats(&client->link, client->flows[i].conn, &stats);
        if (sum->packets_sent == 0) {
            sum->rtt = stats.rtt;
            sum->rtt_min = stats.rtt_min;
            sum->mtu_bytes = stats.mtu_bytes;
        }
        sum->packets_sent += stats.packets_sent;
        sum->packets_received += stats.packets_received;
        sum->packets_lost += stats.packets_lost;
        sum->bytes_resent += stats.bytes_resent;
    }
}

static bool run_test(struct cli_perf_client *client, const struct weir_addr *server)
{
    bool is_idle = client->options->mode == CLI_PERF_IDLE;
    if (!begin(client, server) || (!is_idle && !open_flows(client, server))) {
        return false;
    }
    client->cpu_start_ns = cli_perf_cpu_ns();
    bool is_done = is_idle ? cli_perf_run_idle(client, server) : cli_perf_run_load(client);
    if (!is_done || !cli_perf_measure(client)) {
        return false;
    }
    client->cpu_ns = cli_perf_cpu_ns() - client->cpu_start_ns;
    add_stats(client);
    return true;
}

static bool is_all_closed(struct cli_perf_client *client)
{
    return client->control.conn == NULL;
}

/* The control connection goes last: with it the server's test is over. A connection whose end the
 * server does not confirm in time is left to its timeout. */
static void close_all(struct cli_perf_client *client)
{
    client->is_closing = true;
    client->failure[0] = '\0';
    for (uint64_t i = 0; i < client->options->connections; i++) {
        if (client->flows[i].conn != NULL) {
            cli_link_abort(&client->link, client->flows[i].conn, 0, "");
        }
        /* Let the engine send what it has, so that few are closing at once. */
        if (i % 256 == 255 && !cli_perf_step(client, 0)) {
            return;
        }
    }
    if (client->control.conn != NULL) {
        cli_link_end(client->control.link, client->control.conn, 0, "");
        (void)cli_perf_wait(client, is_all_closed, CLOSE_MAX, "");
    }
}

/* With FEC an address has one session: the control connection gets a socket of its own. */
static bool open_links(struct cli_perf_client *client, const struct cli_link_options *options)
{
    struct cli_link_options control = *options;
    if (client->options->kcp.fec_data != 0) {
        control.connections_max = control.awake_max = 1;
        if (!cli_link_open(&client->control_link, &control, on_control_events, client)) {
            return false;
        }
    }
    return cli_link_open(&client->link, options, on_events, client);
}

static bool open_client(struct cli_perf_client *client, const struct weir_addr *server)
{
    const struct cli_perf_options *options = client->options;
    struct cli_link_options link;
    cli_perf_configure(options, &link);
    link.bind = cli_client_bind(server);
    bool is_idle = options->mode == CLI_PERF_IDLE;
    link.heartbeat = is_idle ? 0 : 2 * WEIR_SEC;
    link.idle_timeout = is_idle ? 1800 * WEIR_SEC : 10 * WEIR_SEC;
    if (options->mode == CLI_PERF_MESSAGE && options->size * 8 < MESSAGE_QUEUE_BYTES) {
        link.send_queue_bytes = MESSAGE_QUEUE_BYTES;
    } else if (options->size * 2 > link.send_queue_bytes) {
        link.send_queue_bytes = 2 * (uint32_t)options->size;
    }
    if (!open_links(client, &link)) {
        return false;
    }
    size_t front = client->link.front_bytes;
    client->flows = calloc(options->connections, sizeof(*client->flows));
    client->payload = malloc(front + options->size + 8);
    if (client->flows == NULL || client->payload == NULL) {
        cli_fail(CLI_FAILED, "not enough memory for %llu connections",
                 (unsigned long long)options->connections);
        return false;
    }
    cli_link_front(&client->link, client->payload, options->size);
    memset(client->payload + front, 0x5a, options->size + 8);
    client->parcel =
        (struct weir_parcel){.data = client->payload, .length = (uint32_t)(front + options->size)};
    return true;
}

static void close_links(struct cli_perf_client *client)
{
    if (client->link.ops != NULL) {
        cli_link_close(&client->link);
    }
    if (client->control_link.ops != NULL) {
        cli_link_close(&client->control_link);
    }
}

int cli_perf_run(const struct cli_perf_options *options, const struct weir_addr *server)
{
    struct cli_perf_client client = {.options = options};
    int code = CLI_FAILED;
    if (open_client(&client, server)) {
        if (run_test(&client, server)) {
            cli_perf_report(&client);
            code = fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
            if (options->mode == CLI_PERF_IDLE &&
                (client.echoes < options->connections || client.closed > 0)) {
                code = cli_fail(CLI_FAILED, "not every connection was held and answered");
            }
        } else {
            cli_fail(CLI_FAILED, "%s", client.failure);
        }
        close_all(&client);
    }
    close_links(&client);
    free(client.flows);
    free(client.payload);
    cli_samples_free(&client.latencies);
    return code;
}
