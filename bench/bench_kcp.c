/* SPDX-License-Identifier: MIT */
/*
 * bench_kcp.c - two KCP endpoints back to back in memory: what a segment costs at both ends
 * together, beside the reference implementation where that was there when the tree was configured
 * (tools/fetch_ikcp.sh), and beside the same program with weir under the reference's names.
 *
 * Usage: bench_kcp [--json PATH], or bench_kcp SIZE WINDOW SEGMENTS [weir|parcels|compat|ikcp.c]
 * for one case without a clock (tools/callgrind_kcp.sh). Time is virtual; nothing is lost. Counted
 * are send, output, input, event and the ACKs on their way back, per segment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kcp_ends.h"
#include "kcp_program.h"

enum {
    WINDOWS = 7,
    SEGMENTS = 200000, /* of one measurement */
    /* Of one measurement of a program written for ikcp.h, which may be slow at large windows. */
    LIMIT_NS = 2000000000
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
    uint32_t window;
    uint64_t sent, got; /* messages */
    uint64_t sum;
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
    config->tuning.interval_ms = KCP_PROGRAM_INTERVAL_MS;
    config->tuning.resend = KCP_PROGRAM_RESEND;
    config->tuning.is_window_fixed = true;
    config->tuning.mtu_bytes = KCP_PROGRAM_MTU;
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
    run->window = task->window;
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
            run->got++;
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

static enum weir_status send_one(struct run *run)
{
    return run->is_parcel ? weir_kcp_send_parcel(run->conn, &run->parcel)
                          : weir_kcp_send(run->conn, run->message, run->size);
}

static void exchange(struct run *run, uint64_t segments)
{
    uint64_t ahead = kcp_program_ahead(run->size, run->window);
    uint64_t want = run->got + (segments - 1) / kcp_program_segments(run->size) + 1;
    while (run->got < want) {
        for (; run->sent < want && run->sent - run->got < ahead; run->sent++) {
            enum weir_status status = send_one(run);
            if (status == WEIR_ERR_FULL) {
                break;
            }
            check(status, "send");
        }
        deliver(run, &run->ends[0], &run->ends[1]);
        run->now += KCP_PROGRAM_INTERVAL_MS * WEIR_MSEC;
        deliver(run, &run->ends[1], &run->ends[0]);
        drain(run, &run->ends[0]);
    }
}

/* Until no new memory is touched. */
static uint64_t warm_up_segments(uint32_t window)
{
    return 6 * (uint64_t)window + 1000;
}

static double measure(const struct task *task)
{
    struct run *run = open_run(task);
    exchange(run, warm_up_segments(task->window));
    uint64_t start = bench_now();
    exchange(run, SEGMENTS);
    double took = (double)(bench_now() - start);
    const struct weir_kcp_stats *stats = weir_kcp_stats(run->ends[0].kcp);
    if (stats->resent_fast + stats->resent_timeout > 0) {
        kcp_ends_die("something was resent");
    }
    close_run(run);
    return took / SEGMENTS;
}

static double measure_program(const struct kcp_program *program, size_t size, uint32_t window)
{
    struct kcp_program_run *run = program->open(size, window);
    (void)program->exchange(run, warm_up_segments(window), LIMIT_NS);
    uint64_t start = bench_now();
    uint64_t segments = program->exchange(run, SEGMENTS, LIMIT_NS);
    double took = (double)(bench_now() - start);
    program->close(run);
    return took / (double)segments;
}

static void report(struct bench *bench, const struct task *task, const char *more,
                   const struct bench_series *series, size_t count)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%zu B, window %u%s", task->size, task->window, more);
    const struct bench_case what = {.name = name, .metric = "segment, both ends", .unit = "ns"};
    bench_report(bench, &what, series, count);
}

/* One size and window: every contender in turn, then each of ours beside the reference. */
static void report_case(struct bench *bench, size_t size, uint32_t window)
{
    const struct task task = {.size = size, .window = window};
    const struct task parcels = {.size = size, .window = window, .is_parcel = true};
    struct bench_series weir = {.name = "weir"};
    struct bench_series parcel = {.name = "weir, parcels"};
    struct bench_series compat = {.name = "weir's ikcp.h"};
    struct bench_series reference = {.name = "ikcp.c"};
    for (unsigned w = 0; w < WINDOWS; w++) {
        bench_add(&weir, measure(&task));
        bench_add(&parcel, measure(&parcels));
        bench_add(&compat, measure_program(&kcp_program_weir, size, window));
#ifdef WEIR_BENCH_IKCP
        bench_add(&reference, measure_program(&kcp_program_reference, size, window));
#endif
    }
    report(bench, &task, "", (const struct bench_series[]){weir, reference}, 2);
    report(bench, &task, ", parcels", (const struct bench_series[]){parcel, reference}, 2);
    report(bench, &task, ", ikcp.h", (const struct bench_series[]){compat, reference}, 2);
}

/* With parcels the application's bytes are read once, where it has them: what remains is the
 * engine's own cost and the way into the datagram. */
static void report_windows(struct bench *bench)
{
    static const size_t sizes[] = {64, 1024, 65536};
    static const uint32_t windows[] = {128, 1024, 32768};
    for (unsigned i = 0; i < 9; i++) {
        report_case(bench, sizes[i / 3], windows[i % 3]);
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
        struct bench_series series = {.name = "weir"};
        task.size = task.window = 1024;
        for (unsigned w = 0; w < WINDOWS; w++) {
            bench_add(&series, measure(&task));
        }
        report(bench, &task, cases[i].name, &series, 1);
    }
}

static void run_program(const struct kcp_program *program, size_t size, uint32_t window,
                        uint64_t segments)
{
    struct kcp_program_run *run = program->open(size, window);
    (void)program->exchange(run, segments, WEIR_NEVER / 2);
    program->close(run);
}

/* One case without a clock. false: there is no such contender. */
static bool run_one(const char *contender, size_t size, uint32_t window, uint64_t segments)
{
    const struct task task = {
        .size = size, .window = window, .is_parcel = strcmp(contender, "parcels") == 0};
    if (task.is_parcel || strcmp(contender, "weir") == 0) {
        struct run *run = open_run(&task);
        exchange(run, segments);
        close_run(run);
        return true;
    }
    if (strcmp(contender, "compat") == 0) {
        run_program(&kcp_program_weir, size, window, segments);
        return true;
    }
#ifdef WEIR_BENCH_IKCP
    if (strcmp(contender, "ikcp.c") == 0) {
        run_program(&kcp_program_reference, size, window, segments);
        return true;
    }
#endif
    return false;
}

int main(int argc, char **argv)
{
    struct bench bench;
    if ((argc == 4 || argc == 5) && argv[1][0] != '-') {
        return run_one(argc == 5 ? argv[4] : "weir", strtoull(argv[1], NULL, 10),
                       (uint32_t)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10))
                   ? 0
                   : 2;
    }
    bench_open(&bench, "kcp", argc, argv);
    bench_pin(0);
    report_windows(&bench);
    report_layers(&bench);
    return bench_close(&bench);
}
