/* SPDX-License-Identifier: MIT */
/*
 * perf_load.c - the traffic of "weir perf" in its modes bulk, message and latency.
 */
#include <stdio.h>

#include "cli/perf.h"

enum {
    PARCELS_BYTES_MAX = 8 << 20, /* handed over and not yet done, on all flows together */
    PARCELS_MIN = 4              /* but at least so many a flow */
};

#define DRAIN_MAX     (20 * WEIR_SEC)
#define STRAY_WAIT    (200 * WEIR_MSEC) /* for what has no guarantee and may be on the way */
#define ECHO_LOST     WEIR_SEC
#define PAUSE_MAX     (5 * WEIR_MSEC)
#define PROGRESS_EACH WEIR_SEC

static bool has_parcel_room(const struct cli_perf_client *client, const struct cli_perf_flow *flow)
{
    uint64_t share = PARCELS_BYTES_MAX / client->options->connections;
    uint64_t least = PARCELS_MIN * client->options->size;
    return flow->queued_bytes + client->options->size <= (share > least ? share : least);
}

static enum weir_status send_parcel(struct cli_perf_flow *flow)
{
    struct cli_perf_client *client = flow->client;
    struct weir_rudp_send how = {.guarantee = client->options->guarantee};
    enum weir_status status = cli_link_send_parcel(flow->link, flow->conn, &how, &client->parcel);
    if (status == WEIR_OK) {
        flow->queued_bytes += client->options->size;
    }
    return status;
}

static enum weir_status send_copy(struct cli_perf_flow *flow)
{
    const struct cli_perf_client *client = flow->client;
    struct weir_rudp_send how = {.guarantee = client->options->guarantee};
    return cli_link_send(flow->link, flow->conn, &how, client->payload + flow->link->front_bytes,
                         client->options->size);
}

/* Sends until the flow has no more room. False when the engine refused for good. */
static bool fill_flow(struct cli_perf_client *client, struct cli_perf_flow *flow)
{
    bool is_bulk = client->options->mode == CLI_PERF_BULK;
    while (!flow->is_full && (!is_bulk || has_parcel_room(client, flow))) {
        enum weir_status status = is_bulk ? send_parcel(flow) : send_copy(flow);
        if (status == WEIR_ERR_FULL) {
            flow->is_full = true;
        } else if (status != WEIR_OK) {
            return cli_perf_fail(client, "cannot send", weir_status_text(status));
        } else {
            flow->sent++;
            client->messages_sent++;
        }
    }
    return true;
}

/* Starts a round trip where none is under way, and gives up those without an answer. */
static bool ping_flow(struct cli_perf_client *client, struct cli_perf_flow *flow)
{
    weir_nsec now = weir_loop_now(client->link.loop);
    if (flow->sent_at != 0 && client->options->guarantee != WEIR_RUDP_DELIVERY &&
        now - flow->sent_at > ECHO_LOST) {
        client->lost_echoes++;
        flow->sent_at = 0;
    }
    if (flow->sent_at != 0) {
        return true;
    }
    enum weir_status status = cli_perf_ping(flow, now);
    if (status != WEIR_OK && status != WEIR_ERR_FULL) {
        return cli_perf_fail(client, "cannot send", weir_status_text(status));
    }
    return true;
}

/* One line a second for those who watch. */
static void show_progress(const struct cli_perf_client *client, weir_nsec start, weir_nsec *shown,
                          uint64_t *shown_messages)
{
    weir_nsec now = weir_loop_now(client->link.loop);
    if (client->options->is_json || now - *shown < PROGRESS_EACH) {
        return;
    }
    double seconds = (double)(now - *shown) / 1e9;
    double rate = (double)(client->messages_sent - *shown_messages) / seconds;
    printf("%6.1f s  sent %11.0f messages/s  %10.1f Mbit/s\n", (double)(now - start) / 1e9, rate,
           rate * (double)client->options->size * 8e-6);
    (void)fflush(stdout);
    *shown = now;
    *shown_messages = client->messages_sent;
}

static bool is_drained(struct cli_perf_client *client)
{
    for (uint64_t i = 0; i < client->options->connections; i++) {
        struct cli_conn_stats stats;
        if (client->flows[i].conn == NULL) {
            continue;
        }
        cli_link_conn_stats(&client->link, client->flows[i].conn, &stats);
        if (stats.queued_bytes > 0 || client->flows[i].queued_bytes > 0) {
            return false;
        }
    }
    return true;
}

static bool wait_for_strays(struct cli_perf_client *client)
{
    weir_nsec end = weir_loop_now(client->link.loop) + STRAY_WAIT;
    while (weir_loop_now(client->link.loop) < end) {
        if (!cli_perf_step(client, STRAY_WAIT / 10)) {
            return false;
        }
    }
    return true;
}

bool cli_perf_run_load(struct cli_perf_client *client)
{
    bool is_latency = client->options->mode == CLI_PERF_LATENCY;
    weir_nsec start = weir_loop_now(client->link.loop);
    weir_nsec shown = start;
    uint64_t shown_messages = 0;
    while (weir_loop_now(client->link.loop) - start < client->options->seconds * WEIR_SEC) {
        for (uint64_t i = 0; i < client->options->connections; i++) {
            struct cli_perf_flow *flow = &client->flows[i];
            if (!(is_latency ? ping_flow(client, flow) : fill_flow(client, flow))) {
                return false;
            }
        }
        /* The room that is free again, or an echo, ends the wait. */
        if (!cli_perf_step(client, PAUSE_MAX)) {
            return false;
        }
        show_progress(client, start, &shown, &shown_messages);
    }
    client->is_echo_stopped = true;
    if (!cli_perf_wait(client, is_drained, DRAIN_MAX, "what was sent is not acknowledged")) {
        return false;
    }
    return client->options->guarantee == WEIR_RUDP_DELIVERY || wait_for_strays(client);
}
