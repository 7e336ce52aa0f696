/* SPDX-License-Identifier: MIT */
/*
 * bench_kcp_idle.c - what sessions cost that do little: memory of those that are silent, processor
 * time of those that are slow.
 *
 * Usage: bench_kcp_idle [--json PATH]. Time is virtual; two endpoints are back to back in memory.
 *
 *   idle: a million sessions, each with one message each way, then silence. Bytes are the pages
 *         that the accepting endpoint's block has touched, all in, a session.
 *   slow: 5,000 sessions that send two messages a second each, at an interval of 10 ms, both ends
 *         together; each datagram arrives alone. Percent of one core, of the engine and the loop
 *         around it here, without system calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "kcp_ends.h"

enum {
    IDLE_SESSIONS = 1000000,
    IDLE_BATCH = 2000,
    SLOW_SESSIONS = 5000,
    SLOW_SECONDS = 10,
    SLOW_RATE = 2, /* messages a second */
    MESSAGE_BYTES = 64
};

static struct bench_run {
    struct kcp_end ends[2];
    weir_nsec now;
    uint64_t got[2]; /* messages, by receiving end */
    bool is_echoed;
} run;

static const uint8_t message[MESSAGE_BYTES] = {1};

static void drain(unsigned index)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(run.ends[index].kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_accept(event.conn, NULL);
        } else if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            run.got[index]++;
            if (index == 1 && run.is_echoed &&
                weir_kcp_send(event.conn, message, sizeof(message)) != WEIR_OK) {
                kcp_ends_die("no room for the answer");
            }
        } else if (event.type == WEIR_KCP_EVENT_CLOSED) {
            kcp_ends_die("a session has ended");
        }
    }
}

static void settle(void)
{
    for (unsigned i = 0; i < 2; i++) {
        bool is_more;
        do {
            is_more = kcp_end_pass(&run.ends[i], &run.ends[1 - i], run.now);
            drain(1 - i);
        } while (is_more);
    }
}

/* Step by step through all that is due. */
static void run_until(weir_nsec until)
{
    for (;;) {
        settle();
        weir_nsec a = weir_kcp_next_timeout(run.ends[0].kcp);
        weir_nsec b = weir_kcp_next_timeout(run.ends[1].kcp);
        weir_nsec next = a < b ? a : b;
        if (next > until) {
            break;
        }
        run.now = next > run.now ? next : run.now;
    }
    run.now = until;
}

static void open_ends(uint32_t sessions, uint32_t awake)
{
    struct weir_kcp_config config;
    weir_kcp_config_default(&config);
    config.connections_max = sessions;
    config.awake_max = awake;
    config.pending_max = sessions;
    config.keepalive = config.idle_timeout = 0;
    config.tuning.nodelay = 1;
    config.tuning.interval_ms = 10;
    kcp_end_open(&run.ends[0], &config, false);
    kcp_end_open(&run.ends[1], &config, true);
    run.now = WEIR_SEC;
    run.got[0] = run.got[1] = 0;
}

static struct weir_kcp_conn *open_session(void)
{
    struct weir_kcp_conn *conn;
    if (weir_kcp_connect(run.ends[0].kcp, run.now, &run.ends[1].path.remote, 0, NULL, &conn) !=
        WEIR_OK) {
        kcp_ends_die("connect");
    }
    return conn;
}

static void send_message(struct weir_kcp_conn *conn)
{
    if (weir_kcp_send(conn, message, sizeof(message)) != WEIR_OK) {
        kcp_ends_die("send");
    }
}

static void close_ends(void)
{
    kcp_end_close(&run.ends[0]);
    kcp_end_close(&run.ends[1]);
}

/* Of an end's block, what is in memory. */
static size_t touched_bytes(const struct kcp_end *end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (end->kcp_bytes + page - 1) / page;
    unsigned char *is_there = malloc(pages);
    size_t count = 0;
    if (is_there == NULL || mincore(end->kcp_mem, end->kcp_bytes, is_there) != 0) {
        kcp_ends_die("mincore");
    }
    for (size_t i = 0; i < pages; i++) {
        count += is_there[i] & 1;
    }
    free(is_there);
    return count * page;
}

static double measure_idle(void)
{
    open_ends(IDLE_SESSIONS, 0);
    run.is_echoed = true;
    for (unsigned i = 0; i < IDLE_SESSIONS; i += IDLE_BATCH) {
        for (unsigned k = 0; k < IDLE_BATCH; k++) {
            send_message(open_session());
        }
        run_until(run.now + 100 * WEIR_MSEC);
    }
    run_until(run.now + 20 * WEIR_SEC);
    const struct weir_kcp_stats *stats = weir_kcp_stats(run.ends[1].kcp);
    if (run.got[0] != IDLE_SESSIONS || run.got[1] != IDLE_SESSIONS ||
        stats->sessions != IDLE_SESSIONS || stats->awake != 0) {
        kcp_ends_die("not all sessions are idle");
    }
    size_t bytes = touched_bytes(&run.ends[1]);
    close_ends();
    return (double)bytes / IDLE_SESSIONS;
}

static double cpu_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double measure_slow(void)
{
    static struct weir_kcp_conn *conns[SLOW_SESSIONS];
    const weir_nsec gap = WEIR_SEC / SLOW_RATE / SLOW_SESSIONS;
    open_ends(SLOW_SESSIONS, SLOW_SESSIONS);
    run.is_echoed = false;
    for (unsigned i = 0; i < SLOW_SESSIONS; i++) {
        conns[i] = open_session();
        send_message(conns[i]);
        run_until(run.now + gap);
    }
    const uint64_t messages = (uint64_t)SLOW_SECONDS * SLOW_RATE * SLOW_SESSIONS;
    uint64_t got = run.got[1];
    double start = cpu_now();
    for (uint64_t i = 0; i < messages; i++) {
        send_message(conns[i % SLOW_SESSIONS]);
        run_until(run.now + gap);
    }
    double percent = (cpu_now() - start) / SLOW_SECONDS * 100;
    if (run.got[1] - got != messages) {
        kcp_ends_die("messages are missing");
    }
    close_ends();
    return percent;
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct bench_series idle = {.name = "weir"};
    struct bench_series slow = {.name = "weir"};
    bench_open(&bench, "kcp_idle", argc, argv);
    bench_pin(0);
    bench_add(&idle, measure_idle());
    for (unsigned i = 0; i < 5; i++) {
        bench_add(&slow, measure_slow());
    }
    bench_report(&bench,
                 &(struct bench_case){
                     .name = "1,000,000 idle sessions", .metric = "memory a session", .unit = "B"},
                 &idle, 1);
    bench_report(&bench,
                 &(struct bench_case){.name = "5,000 sessions, 2 packets/s each, 10 ms",
                                      .metric = "of a core, both ends",
                                      .unit = "%"},
                 &slow, 1);
    return bench_close(&bench);
}
