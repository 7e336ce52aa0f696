/* SPDX-License-Identifier: MIT */
/*
 * perf_idle.c - "weir perf --mode idle": many connections that do nothing, and what each costs.
 *
 * Opens all of them over one socket, leaves them alone, takes the memory of both ends, then sends
 * one message on each and waits for its echo.
 */
#include "cli/perf.h"

enum {
    HANDSHAKES_MAX = 500, /* outstanding at once */
    ECHOES_MAX = 500
};

#define PAUSE_MAX   (2 * WEIR_MSEC)
#define SILENCE_MAX (15 * WEIR_SEC) /* without any progress */

static bool is_silent_too_long(struct cli_perf_client *client, uint64_t done, uint64_t *last_done,
                               weir_nsec *progressed)
{
    weir_nsec now = weir_loop_now(client->link.loop);
    if (done != *last_done) {
        *last_done = done;
        *progressed = now;
    }
    return now - *progressed > SILENCE_MAX;
}

static bool open_all(struct cli_perf_client *client, const struct weir_addr *server)
{
    uint64_t count = client->options->connections;
    uint64_t started = 0;
    uint64_t last_done = 0;
    weir_nsec start = weir_loop_now(client->link.loop);
    weir_nsec progressed = start;
    while (client->opened + client->failed < count) {
        while (started < count && started - client->opened - client->failed < HANDSHAKES_MAX) {
            enum weir_status status = cli_perf_connect(client, &client->flows[started], server);
            if (status == WEIR_ERR_FULL) {
                break; /* room comes when a handshake ends */
            }
            if (status != WEIR_OK) {
                return cli_perf_fail(client, "cannot connect", weir_status_text(status));
            }
            started++;
        }
        if (!cli_perf_step(client, PAUSE_MAX)) {
            return false;
        }
        if (is_silent_too_long(client, client->opened + client->failed, &last_done, &progressed)) {
            return cli_perf_fail(client, "the connections cannot be opened", "no progress");
        }
    }
    client->seconds = (double)(weir_loop_now(client->link.loop) - start) / 1e9;
    return true;
}

static bool rest(struct cli_perf_client *client)
{
    weir_nsec end = weir_loop_now(client->link.loop) + client->options->seconds * WEIR_SEC;
    while (weir_loop_now(client->link.loop) < end) {
        if (!cli_perf_step(client, 100 * WEIR_MSEC)) {
            return false;
        }
    }
    return true;
}

static uint64_t count_open(const struct cli_perf_client *client)
{
    uint64_t open = 0;
    for (uint64_t i = 0; i < client->options->connections; i++) {
        open += client->flows[i].is_open;
    }
    return open;
}

/* Sends on the flows from *next on as far as allowed. */
static bool send_some(struct cli_perf_client *client, uint64_t *next)
{
    while (*next < client->options->connections &&
           client->messages_sent - client->echoes < ECHOES_MAX) {
        struct cli_perf_flow *flow = &client->flows[*next];
        if (flow->is_open) {
            enum weir_status status = cli_perf_ping(flow, weir_loop_now(client->link.loop));
            if (status == WEIR_ERR_FULL) {
                return true;
            }
            if (status != WEIR_OK) {
                return cli_perf_fail(client, "cannot send", weir_status_text(status));
            }
        }
        ++*next;
    }
    return true;
}

static bool echo_all(struct cli_perf_client *client)
{
    uint64_t next = 0;
    uint64_t last_done = 0;
    weir_nsec progressed = weir_loop_now(client->link.loop);
    while (next < client->options->connections || client->echoes < client->messages_sent) {
        if (!send_some(client, &next) || !cli_perf_step(client, PAUSE_MAX)) {
            return false;
        }
        if (is_silent_too_long(client, client->echoes, &last_done, &progressed)) {
            break;
        }
    }
    client->lost_echoes = client->messages_sent - client->echoes;
    return true;
}

bool cli_perf_run_idle(struct cli_perf_client *client, const struct weir_addr *server)
{
    /* The test's own table is not a cost of the connections: touched before the first figure. */
    for (uint64_t i = 0; i < client->options->connections; i++) {
        client->flows[i].client = client;
    }
    client->rss_start_bytes = cli_perf_rss_bytes();
    if (!open_all(client, server) || !rest(client)) {
        return false;
    }
    client->rss_bytes = cli_perf_rss_bytes();
    client->open_client = count_open(client);
    if (!cli_perf_measure(client)) {
        return false;
    }
    /* Kept apart: the echoes wake the connections, and the last figures come after them. */
    const uint64_t *figures = client->figures;
    client->open_server = figures[CLI_PERF_OPEN];
    if (figures[CLI_PERF_RSS_BYTES] > figures[CLI_PERF_RSS_START_BYTES]) {
        client->server_growth_bytes =
            figures[CLI_PERF_RSS_BYTES] - figures[CLI_PERF_RSS_START_BYTES];
    }
    return echo_all(client);
}
