/* SPDX-License-Identifier: MIT */
/*
 * perf.h - the parts of "weir perf": options, what both ends tell each other, client and server.
 *
 * Role: cmd_perf.c reads options and forks a server of its own; perf_server.c counts and echoes;
 * perf_client.c opens connections and speaks with the server; perf_load.c makes the traffic of
 * bulk, message and latency; perf_idle.c that of idle; perf_report.c prints. perf_sim.c is idle
 * over the simulated link, with both ends in one process.
 *
 *   client                                             server
 *     control connection: BEGIN plan  ------------->     counts from here
 *                         <---------------------- READY
 *     N connections: messages         ------------->     (latency, idle: sent back)
 *     control:            MEASURE     ------------->
 *                         <-------------------- FIGURES
 *
 * A control message is a magic number, its kind and 64-bit fields, all in network order.
 */
#ifndef WEIR_CLI_PERF_H
#define WEIR_CLI_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/crew.h"
#include "cli/kcp_options.h"
#include "cli/link.h"
#include "cli/samples.h"
#include "weir/weir.h"

enum cli_perf_mode {
    CLI_PERF_BULK,
    CLI_PERF_MESSAGE,
    CLI_PERF_LATENCY,
    CLI_PERF_IDLE
};

struct cli_perf_options {
    const char *url; /* NULL: a server of its own on loopback */
    bool is_listening, is_once, is_json;
    bool is_sim; /* tcp://sim */
    enum cli_perf_mode mode;
    uint64_t seconds;
    uint64_t size; /* bytes of a message */
    enum weir_rudp_guarantee guarantee;
    uint64_t connections; /* of a client: opened; of a server: held at most */
    enum weir_cc_kind cc;
    bool is_cc_given;
    const char *scheme;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    struct cli_crew_options crew; /* of a server */
};

const char *cli_perf_mode_text(enum cli_perf_mode mode);
const char *cli_perf_guarantee_text(enum weir_rudp_guarantee guarantee);

/* --- between the ends ------------------------------------------------------------------------- */

enum cli_perf_kind {
    CLI_PERF_BEGIN = 1,
    CLI_PERF_READY,
    CLI_PERF_MEASURE,
    CLI_PERF_FIGURES,
    CLI_PERF_KEEP /* the client is still there */
};

/* Fields of FIGURES, all since BEGIN. BEGIN's only field is the mode. */
enum cli_perf_field {
    CLI_PERF_MESSAGES, /* received on other than the control connection */
    CLI_PERF_BYTES,
    CLI_PERF_RECEIVE_NS, /* from the first of them to the last */
    CLI_PERF_CPU_NS,
    CLI_PERF_PACKETS_RECEIVED,
    CLI_PERF_PACKETS_SENT,
    CLI_PERF_RSS_START_BYTES,
    CLI_PERF_RSS_BYTES,
    CLI_PERF_OPEN, /* connections now, without the control connection */
    CLI_PERF_FIELDS_MAX
};

enum {
    CLI_PERF_CONTROL_BYTES_MAX = 16 + 8 * CLI_PERF_FIELDS_MAX,
    /* The control connection, and a few for handshakes that are given up. */
    CLI_PERF_SPARE = 64
};

struct cli_perf_control {
    enum cli_perf_kind kind;
    uint64_t fields[CLI_PERF_FIELDS_MAX];
    uint32_t fields_count;
};

size_t cli_perf_encode(const struct cli_perf_control *control,
                       uint8_t bytes[CLI_PERF_CONTROL_BYTES_MAX]);
/* False when data is not a control message. */
bool cli_perf_decode(struct weir_span data, struct cli_perf_control *control);
enum weir_status cli_perf_send_control(struct cli_link *link, struct cli_conn *conn,
                                       const struct cli_perf_control *control);

/* --- this process ----------------------------------------------------------------------------- */

/* User and system time so far. */
uint64_t cli_perf_cpu_ns(void);
/* Memory in use now; 0 when the system does not tell. */
uint64_t cli_perf_rss_bytes(void);
/* What both ends configure alike. */
void cli_perf_configure(const struct cli_perf_options *options, struct cli_link_options *link);

/* --- server ----------------------------------------------------------------------------------- */

/* Serves until a signal, or with is_once until the first test is over. Where port_fd is not -1 the
 * port (2 bytes, host order) is written to it once the server is ready. Returns the exit code. */
int cli_perf_serve(const struct cli_perf_options *options, const struct weir_addr *bind,
                   int port_fd);

/* Idle TCP connections, both ends in this process, over the simulated link. Gives the exit code. */
int cli_perf_run_sim(const struct cli_perf_options *options);

/* --- client ----------------------------------------------------------------------------------- */

struct cli_perf_client;

/* One connection of the test. */
struct cli_perf_flow {
    struct cli_perf_client *client;
    struct cli_link *link;
    struct cli_conn *conn; /* NULL: not begun, or closed */
    uint64_t sent;         /* messages */
    uint64_t queued_bytes; /* in parcels not yet done */
    weir_nsec sent_at;     /* of the message whose echo is awaited; 0: none is */
    bool is_open, is_full;
};

struct cli_perf_client {
    const struct cli_perf_options *options;
    struct cli_link link;
    struct cli_link control_link;
    struct cli_perf_flow control;
    struct cli_perf_flow *flows;
    uint8_t *payload; /* the link's front, then options->size bytes */
    struct weir_parcel parcel;

    uint64_t opened, failed, closed; /* flows; closed: had been open */
    uint64_t messages_sent, echoes, lost_echoes;
    struct cli_samples latencies;
    bool is_ready, has_figures;
    bool is_closing; /* CLOSED is no failure any more */
    bool is_echo_stopped;
    uint64_t figures[CLI_PERF_FIELDS_MAX];
    weir_nsec kept_at; /* of the last KEEP */
    char failure[200];

    uint64_t cpu_start_ns, cpu_ns;
    uint64_t rss_start_bytes, rss_bytes; /* idle */
    uint64_t open_client, open_server;   /* idle: held at the same time */
    uint64_t server_growth_bytes;        /* idle: of its memory in use */
    double seconds;                      /* idle: to open them all */
    struct cli_conn_stats stats;         /* of all flows: sums, and the first one's RTT */
};

/* Runs the whole test against server and prints the result. Returns the exit code. */
int cli_perf_run(const struct cli_perf_options *options, const struct weir_addr *server);

/* For the traffic: run the loop once, waiting at most timeout. False when the test has to end (a
 * failure, or a signal). */
bool cli_perf_step(struct cli_perf_client *client, weir_nsec timeout);
/* Runs until is_done, at most timeout. False when that did not come, with failure set. */
bool cli_perf_wait(struct cli_perf_client *client, bool (*is_done)(struct cli_perf_client *client),
                   weir_nsec timeout, const char *failure);
bool cli_perf_fail(struct cli_perf_client *client, const char *what, const char *detail);
/* Connects flow; WEIR_ERR_FULL when the engine has no room now. */
enum weir_status cli_perf_connect(struct cli_perf_client *client, struct cli_perf_flow *flow,
                                  const struct weir_addr *server);
/* Asks the server for its figures and waits for them. */
bool cli_perf_measure(struct cli_perf_client *client);
/* Sends one message with number in its first 8 bytes as far as it is long enough. */
enum weir_status cli_perf_ping(struct cli_perf_flow *flow, weir_nsec now);

bool cli_perf_run_load(struct cli_perf_client *client);
bool cli_perf_run_idle(struct cli_perf_client *client, const struct weir_addr *server);
/* The echo of flow's message came. */
void cli_perf_on_echo(struct cli_perf_flow *flow, struct weir_span data, weir_nsec now);

void cli_perf_report(struct cli_perf_client *client);

#endif
