/* SPDX-License-Identifier: MIT */
/*
 * sim_run.h - the parts of "weir sim": what is asked for, the traffic, the plot, the exchange.
 *
 * Role: cmd_sim.c reads options and prints; sim_traffic.c is the application at both ends (what is
 * sent when, and what the receiver checks), the same for every transport; sim_net.c runs it over a
 * simulated network, with the engine of sim_rudp.c, sim_kcp.c or sim_tcp.c at both ends; sim_plot.c
 * draws.
 * Everything is a function of the options: no clock, no randomness from the system.
 */
#ifndef WEIR_CLI_SIM_RUN_H
#define WEIR_CLI_SIM_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/kcp_options.h"
#include "cli/samples.h"
#include "weir/weir.h"

enum {
    CLI_SIM_HEADER_BYTES = 16, /* index and send time, in every message */
    CLI_SIM_MESSAGES_MAX = 100000000,
    CLI_SIM_FLOWS_MAX = 64
};

struct cli_sim_options {
    const char *transport;
    enum weir_rudp_guarantee guarantee;
    uint64_t messages, size;   /* size in bytes, at least CLI_SIM_HEADER_BYTES */
    weir_nsec every;           /* between messages */
    uint64_t bulk_bytes;       /* not 0: as fast as the queue takes them, until this many */
    struct weir_sim_link link; /* of each direction */
    weir_nsec rtt;
    enum weir_cc_kind cc;
    uint64_t channels; /* of tcp: flows */
    struct cli_kcp_options kcp;
    uint64_t seed;
    const char *plot_path, *trace_path; /* or NULL */
    bool is_json;
};

/* --- traffic: one sender, one receiver -------------------------------------------------------- */

struct cli_sim_traffic {
    const struct cli_sim_options *options;
    uint64_t count;            /* messages in all */
    uint64_t last_size;        /* of the last one */
    weir_nsec *sent_times;     /* by index; 0: not yet sent */
    uint8_t *seen;             /* one bit an index: delivered before */
    uint64_t *next_by_channel; /* 1 + the highest index delivered */
    uint8_t *message;          /* one message being built */
    uint8_t *expected;         /* one message being checked */

    uint64_t sent, payload_bytes;
    uint64_t delivered, delivered_bytes, duplicated, order_violations, corrupted;
    weir_nsec first_sent, last_delivered;
    struct cli_samples latencies;
};

/* False when the system refuses memory; close all the same. options is kept. */
bool cli_sim_traffic_open(struct cli_sim_traffic *traffic, const struct cli_sim_options *options);
void cli_sim_traffic_close(struct cli_sim_traffic *traffic);
/* Absolute time at which message index (below count) is due, for traffic that began at start. */
weir_nsec cli_sim_traffic_due(const struct cli_sim_traffic *traffic, uint64_t index,
                              weir_nsec start);
uint8_t cli_sim_traffic_channel(const struct cli_sim_traffic *traffic, uint64_t index);
size_t cli_sim_traffic_length(const struct cli_sim_traffic *traffic, uint64_t index);
/* Message index with its send time; valid until the next call. */
struct weir_span cli_sim_traffic_build(struct cli_sim_traffic *traffic, uint64_t index,
                                       weir_nsec time);
/* The transport took what build returned. */
void cli_sim_traffic_on_sent(struct cli_sim_traffic *traffic, uint64_t index, weir_nsec time);
/* The transport handed this to the receiver. */
void cli_sim_traffic_on_delivered(struct cli_sim_traffic *traffic, uint8_t channel,
                                  struct weir_span data, weir_nsec now);

/* --- plot ------------------------------------------------------------------------------------- */

struct cli_sim_sample {
    weir_nsec time;
    uint64_t window_bytes; /* UINT64_MAX: no window */
    uint64_t in_flight_bytes;
    weir_nsec rtt, rtt_min;
    uint64_t delivered_bytes; /* so far, at the receiver */
};

/* Samples at even distances; when full every second one goes and the distance doubles. */
struct cli_sim_plot {
    struct cli_sim_sample *samples;
    size_t count;
    weir_nsec interval, next;
};

bool cli_sim_plot_open(struct cli_sim_plot *plot);
void cli_sim_plot_close(struct cli_sim_plot *plot);

static inline bool cli_sim_plot_is_due(const struct cli_sim_plot *plot, weir_nsec now)
{
    return plot->samples != NULL && now >= plot->next;
}

void cli_sim_plot_add(struct cli_sim_plot *plot, const struct cli_sim_sample *sample);
/* False with the reason in errno when path cannot be written. */
bool cli_sim_plot_write(const struct cli_sim_plot *plot, const struct cli_sim_options *options,
                        const char *path);

/* --- the exchange ----------------------------------------------------------------------------- */

struct cli_sim_report {
    uint64_t wire_bytes;         /* IP packets of both directions, their headers included */
    uint64_t first_sent, resent; /* payload bytes; of KCP: segments */
    bool has_segments;           /* the next three mean something */
    uint64_t resent_fast, resent_timeout, fec_recovered;
    uint32_t flows;           /* of TCP, else 0; the next two are of it */
    double fairness;          /* Jain's index when the first flow was done; 0: none was */
    uint64_t timeouts;        /* retransmission timeouts of the client */
    uint64_t peak_held_bytes; /* at the receiver */
    uint64_t secondary_bytes; /* ever moved to the receiver's secondary store */
    weir_nsec started;        /* when connect was called */
    weir_nsec ended;          /* of the last delivery; without one, when the run gave up */
    char failure[200];        /* why the exchange ended early; empty: it did not */
};

/* Runs all of it. False when it could not be set up (the line is printed). An exchange that ended
 * early has report->failure set. plot->samples is NULL when nothing is plotted. */
bool cli_sim_run_rudp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                      struct cli_sim_plot *plot, struct cli_sim_report *report);
bool cli_sim_run_kcp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                     struct cli_sim_plot *plot, struct cli_sim_report *report);
bool cli_sim_run_tcp(const struct cli_sim_options *options, struct cli_sim_traffic *traffic,
                     struct cli_sim_plot *plot, struct cli_sim_report *report);

#endif
