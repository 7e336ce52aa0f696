/* SPDX-License-Identifier: MIT */
/*
 * bench_kcp.c - two KCP endpoints back to back in memory: what a segment costs at both ends
 * together.
 *
 * Usage: bench_kcp [--json PATH], or bench_kcp SIZE WINDOW SEGMENTS [parcels] for one case without
 * a clock (under callgrind, say). Time is virtual; nothing is lost. Counted are send, output,
 * input, event and the ACKs on their way back, per segment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kcp_ends.h"

enum {
    WINDOWS = 7,
    MTU = 1400,
    HEADER_BYTES = 24
};

/* What is measured. */
struct task {
    size_t size;
    uint32_t window;
    bool is_parcel; /* sent without a copy */
    enum weir_kcp_cipher cipher;
    uint16_t fec_data, fec_parity;
};

struct run {
    struct kcp_end ends[2];
    struct weir_kcp_conn *conn;
    weir_nsec now;
    size_t size;
    uint64_t got_bytes, sum;
    uint8_t *message;
    struct weir_parcel parcel; /* of the same bytes */
    bool is_parcel;
};

static void check(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        kcp_ends_die(what);
    }
}

static void set_up(struct weir_kcp_config *config, const struct task *task)
{
    weir_kcp_config_default(config);
    config->cipher = task->cipher;
    if (task->fec_data > 0) {
        config->address_policy = WEIR_KCP_ADDRESS_REPLACE;
    }
    config->fec_data = task->fec_data;
    config->fec_parity = task->fec_parity;
    config->connections_max = 16;
    config->send_bytes = (size_t)256 << 20;
    config->tuning.nodelay = 1;
    config->tuning.interval_ms = 10;
    config->tuning.resend = 2;
    config->tuning.is_window_fixed = true;
    config->tuning.mtu_bytes = MTU;
    config->tuning.send_window = config->tuning.receive_window = (uint16_t)task->window;
}

static struct run *open_run(const struct task *task)
{
    struct weir_kcp_config config;
    struct run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        kcp_ends_die("no memory");
    }
    set_up(&config, task);
    kcp_end_open(&run->ends[0], &config, false);
    kcp_end_open(&run->ends[1], &config, true);
    run->now = WEIR_SEC;
    run->size = task->size;
    run->message = calloc(1, task->size);
    run->parcel = (struct weir_parcel){.data = run->message, .length = (uint32_t)task->size};
    run->is_parcel = task->is_parcel;
    check(weir_kcp_connect(run->ends[0].kcp, run->now, &run->ends[1].path.remote, 0, NULL,
                           &run->conn),
          "connect");
    return run;
}

static void close_run(struct run *run)
{
    for (unsigned i = 0; i < 2; i++) {
        kcp_end_close(&run->ends[i]);
    }
    free(run->message);
    free(run);
}

static void drain(struct run *run, struct kcp_end *end)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(end->kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            run->got_bytes += event.message.length;
            run->sum += event.message.spans[0].data[0];
        } else if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_accept(event.conn, NULL);
        } else if (event.type == WEIR_KCP_EVENT_CLOSED) {
            kcp_ends_die("closed");
        }
    }
}

/* All that one end has to say now goes to the other. */
static void deliver(struct run *run, struct kcp_end *from, struct kcp_end *to)
{
    bool is_more;
    do {
        is_more = kcp_end_pass(from, to, run->now);
        drain(run, to);
    } while (is_more);
}

static uint64_t segments_of(const struct run *run)
{
    size_t mss = MTU - HEADER_BYTES;
    return run->size <= mss ? 1 : (run->size - 1) / mss + 1;
}

static enum weir_status send_one(struct run *run)
{
    return run->is_parcel ? weir_kcp_send_parcel(run->conn, &run->parcel)
                          : weir_kcp_send(run->conn, run->message, run->size);
}

static void exchange(struct run *run, uint64_t segments)
{
    uint64_t messages = (segments - 1) / segments_of(run) + 1;
    uint64_t want = run->got_bytes + messages * run->size;
    uint64_t sent = 0;
    while (run->got_bytes < want) {
        while (sent < messages) {
            enum weir_status status = send_one(run);
            if (status == WEIR_ERR_FULL) {
                break;
            }
            check(status, "send");
            sent++;
        }
        deliver(run, &run->ends[0], &run->ends[1]);
        run->now += 10 * WEIR_MSEC;
        deliver(run, &run->ends[1], &run->ends[0]);
        drain(run, &run->ends[0]);
    }
}

static double measure(const struct task *task, uint64_t segments)
{
    struct run *run = open_run(task);
    exchange(run, 6 * (uint64_t)task->window + 1000); /* until no new memory is touched */
    uint64_t start = bench_now();
    exchange(run, segments);
    double took = (double)(bench_now() - start);
    const struct weir_kcp_stats *stats = weir_kcp_stats(run->ends[0].kcp);
    if (stats->resent_fast + stats->resent_timeout > 0) {
        kcp_ends_die("something was resent");
    }
    close_run(run);
    return took / (double)segments;
}

static void report_case(struct bench *bench, const struct task *task, const char *more)
{
    struct bench_series series = {.name = "weir"};
    char name[64];
    for (unsigned w = 0; w < WINDOWS; w++) {
        bench_add(&series, measure(task, 200000));
    }
    (void)snprintf(name, sizeof(name), "%zu B, window %u%s", task->size, task->window, more);
    const struct bench_case what = {.name = name, .metric = "segment, both ends", .unit = "ns"};
    bench_report(bench, &what, &series, 1);
}

/* With parcels the application's bytes are read once, where it has them: what remains is the
 * engine's own cost and the way into the datagram. */
static void report_windows(struct bench *bench)
{
    static const size_t sizes[] = {64, 1024, 65536};
    static const uint32_t windows[] = {128, 1024, 32768};
    for (unsigned i = 0; i < 2 * 9; i++) {
        const struct task task = {
            .size = sizes[i / 3 % 3], .window = windows[i % 3], .is_parcel = i >= 9};
        report_case(bench, &task, task.is_parcel ? ", parcels" : "");
    }
}

static void report_layers(struct bench *bench)
{
    static const struct {
        const char *name;
        struct task task;
    } cases[] = {{", aes-256", {.cipher = WEIR_KCP_CIPHER_AES_256}},
                 {", aes-256-gcm", {.cipher = WEIR_KCP_CIPHER_AES_256_GCM}},
                 {", salsa20", {.cipher = WEIR_KCP_CIPHER_SALSA20}},
                 {", FEC 10+3", {.fec_data = 10, .fec_parity = 3}}};

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct task task = cases[i].task;
        task.size = task.window = 1024;
        report_case(bench, &task, cases[i].name);
    }
}

int main(int argc, char **argv)
{
    struct bench bench;
    if ((argc == 4 || argc == 5) && argv[1][0] != '-') {
        const struct task task = {.size = strtoull(argv[1], NULL, 10),
                                  .window = (uint32_t)strtoul(argv[2], NULL, 10),
                                  .is_parcel = argc == 5};
        uint64_t segments = strtoull(argv[3], NULL, 10);
        struct run *run = open_run(&task);
        exchange(run, segments);
        (void)printf("%llu segments, %llu bytes\n", (unsigned long long)segments,
                     (unsigned long long)run->got_bytes);
        close_run(run);
        return 0;
    }
    bench_open(&bench, "kcp", argc, argv);
    bench_pin(0);
    report_windows(&bench);
    report_layers(&bench);
    return bench_close(&bench);
}
