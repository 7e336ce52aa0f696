/* SPDX-License-Identifier: MIT */
/*
 * crew_load.h - a crew of RUDP endpoints under load from another process, while its number of
 * workers changes.
 *
 * Role: for bench/bench_crew.c and tests/crew_resize.c. The server is a process of its own, its
 * queues are sockets on loopback that share a port; the calling process has the clients, one
 * thread, many sockets. Every message is numbered and echoed; both ends check that each number
 * comes once, in order.
 */
#ifndef WEIR_TESTS_CREW_LOAD_H
#define WEIR_TESTS_CREW_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

enum {
    CREW_LOAD_WORKERS_MAX = 8,
    CREW_LOAD_STEPS_MAX = 128,
    CREW_LOAD_SOCKETS_MAX = 64
};

struct crew_load_config {
    uint32_t connections;
    uint32_t sockets;                   /* of the clients */
    uint32_t messages_per_second;       /* of all connections together; 0: see outstanding */
    uint32_t outstanding;               /* so many are on their way on each connection, always */
    uint32_t plan[CREW_LOAD_STEPS_MAX]; /* numbers of workers, the first to begin with */
    uint32_t plan_count;
    uint32_t dwell_ms;      /* with each number */
    bool is_steered;        /* by the kernel, if it can */
    bool are_marks_written; /* "crew: started" to standard error, for who looks at system calls */
};

/* With one number of workers. */
struct crew_load_step {
    uint32_t workers;
    weir_nsec change_from, change_until; /* the change that led here; 0: none did */
    weir_nsec from, until;               /* of the figures */
    uint64_t packets[CREW_LOAD_WORKERS_MAX];
    uint64_t sent_on[CREW_LOAD_WORKERS_MAX];
    uint64_t shards[CREW_LOAD_WORKERS_MAX];
    uint64_t messages; /* that the server has got */
    uint64_t cpu_ns;   /* of the server */
};

/* Round trips, in ns. */
struct crew_load_trips {
    uint64_t count, p50, p99, p999, max;
};

struct crew_load_result {
    uint32_t opened;
    uint64_t sent, echoed;
    uint64_t disordered;   /* messages that were not the next of their connection, at either end */
    uint64_t ended;        /* connections that ended */
    uint64_t refused;      /* messages that could not be queued */
    uint64_t kernel_drops; /* of the server's sockets while the workers changed */
    uint64_t crew_drops, errors;
    uint64_t rudp_drops[WEIR_RUDP_DROP_COUNT]; /* of the server */
    struct weir_crew_worker_stats sum;         /* of all workers */
    struct crew_load_step steps[CREW_LOAD_STEPS_MAX];
    uint32_t step_count;
    struct crew_load_trips quiet, during; /* messages that met no change, and those that did */
    weir_nsec change_max;                 /* from the call until it was settled */
    bool was_steered;
};

/* True when all went as it should: every message was echoed once and in order. What was wrong else
 * is said on standard error. */
bool crew_load_run(const struct crew_load_config *config, struct crew_load_result *result);
/* Packets that came to a wrong worker, of all, in a million; without those of the changes. */
uint64_t crew_load_sent_on_ppm(const struct crew_load_result *result);
/* A table on standard output. */
void crew_load_print(const struct crew_load_config *config, const struct crew_load_result *result);

#endif
