/* SPDX-License-Identifier: MIT */
/*
 * bench_kcp.c - two KCP endpoints back to back in memory: what a segment costs at both ends
 * together.
 *
 * Usage: bench_kcp [--json PATH], or bench_kcp SIZE WINDOW SEGMENTS for one case without a clock
 * (under callgrind, say). Time is virtual; nothing is lost. Counted are send, output, input, event
 * and the ACKs on their way back, per segment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "weir/kcp.h"
#include "weir/os.h"

enum {
    TX_BYTES = 1 << 20,
    TRANSMITS = 1024,
    PACKETS = 8192,
    WINDOWS = 7,
    MTU = 1400,
    HEADER_BYTES = 24
};

struct end {
    struct weir_kcp *kcp;
    struct weir_path path; /* as the other end sees it */
    struct weir_slide *slide;
    void *kcp_mem, *slide_mem;
    size_t kcp_bytes, slide_bytes;
    uint8_t *buffer;
    struct weir_transmit transmits[TRANSMITS];
    struct weir_packet packets[PACKETS];
};

struct run {
    struct end ends[2];
    struct weir_kcp_conn *conn;
    weir_nsec now;
    size_t size;
    uint64_t got_bytes, sum;
    uint8_t *message;
};

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench_kcp: %s\n", what);
    exit(1);
}

static void check(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what);
    }
}

static void open_end(struct end *end, uint32_t window, bool is_server)
{
    const uint8_t seed[32] = {is_server};
    struct weir_slide_config slide;
    struct weir_kcp_config config;
    weir_slide_config_default(&slide);
    end->slide_bytes = weir_slide_mem_size(&slide);
    end->slide_mem = weir_mem_map(end->slide_bytes);
    check(weir_slide_init(end->slide_mem, &slide, &end->slide), "slide");
    weir_kcp_config_default(&config);
    config.slide = end->slide;
    config.connections_max = 16;
    config.is_accepting = is_server;
    config.send_bytes = (size_t)256 << 20;
    config.tuning.nodelay = 1;
    config.tuning.interval_ms = 10;
    config.tuning.resend = 2;
    config.tuning.is_window_fixed = true;
    config.tuning.mtu_bytes = MTU;
    config.tuning.send_window = config.tuning.receive_window = (uint16_t)window;
    end->kcp_bytes = weir_kcp_mem_size(&config);
    end->kcp_mem = weir_mem_map(end->kcp_bytes);
    check(weir_kcp_init(end->kcp_mem, &config, seed, WEIR_SEC, &end->kcp), "init");
    end->buffer = malloc(TX_BYTES);
    check(weir_addr_parse(is_server ? "10.0.0.2:1" : "10.0.0.1:1", &end->path.remote), "address");
}

static struct run *open_run(size_t size, uint32_t window)
{
    struct run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        die("no memory");
    }
    open_end(&run->ends[0], window, false);
    open_end(&run->ends[1], window, true);
    run->now = WEIR_SEC;
    run->size = size;
    run->message = calloc(1, size);
    check(weir_kcp_connect(run->ends[0].kcp, run->now, &run->ends[1].path.remote, 0, NULL,
                           &run->conn),
          "connect");
    return run;
}

static void close_run(struct run *run)
{
    for (unsigned i = 0; i < 2; i++) {
        weir_mem_unmap(run->ends[i].kcp_mem, run->ends[i].kcp_bytes);
        weir_mem_unmap(run->ends[i].slide_mem, run->ends[i].slide_bytes);
        free(run->ends[i].buffer);
    }
    free(run->message);
    free(run);
}

static void drain(struct run *run, struct end *end)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(end->kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            run->got_bytes += event.message.length;
            run->sum += event.message.spans[0].data[0];
        } else if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_accept(event.conn, NULL);
        } else if (event.type == WEIR_KCP_EVENT_CLOSED) {
            die("closed");
        }
    }
}

/* All that one end has to say now goes to the other, where it lies. */
static void deliver(struct run *run, struct end *from, struct end *to)
{
    enum weir_status status;
    if (weir_kcp_next_timeout(from->kcp) <= run->now) {
        weir_kcp_timeout(from->kcp, run->now);
    }
    do {
        struct weir_tx tx = {.buffer = from->buffer,
                             .buffer_bytes = TX_BYTES,
                             .transmits = from->transmits,
                             .transmits_max = TRANSMITS,
                             .run_bytes_max = 65507,
                             .run_segments_max = 64};
        uint32_t count = 0;
        status = weir_kcp_output(from->kcp, run->now, &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            const struct weir_transmit *out = &tx.transmits[i];
            for (uint32_t at = 0; at < out->length && count < PACKETS; at += out->segment_bytes) {
                uint32_t left = out->length - at;
                to->packets[count++] = (struct weir_packet){
                    .data = out->data + at,
                    .length = left < out->segment_bytes ? left : out->segment_bytes,
                    .path = &from->path};
            }
        }
        if (count > 0) {
            weir_kcp_input(to->kcp, run->now, to->packets, count);
            drain(run, to);
        }
    } while (status == WEIR_OK);
}

static uint64_t segments_of(const struct run *run)
{
    size_t mss = MTU - HEADER_BYTES;
    return run->size <= mss ? 1 : (run->size - 1) / mss + 1;
}

static void exchange(struct run *run, uint64_t segments)
{
    uint64_t messages = (segments - 1) / segments_of(run) + 1;
    uint64_t want = run->got_bytes + messages * run->size;
    uint64_t sent = 0;
    while (run->got_bytes < want) {
        while (sent < messages) {
            enum weir_status status = weir_kcp_send(run->conn, run->message, run->size);
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

static double measure(size_t size, uint32_t window, uint64_t segments)
{
    struct run *run = open_run(size, window);
    exchange(run, 2 * (uint64_t)window + 1000); /* grows what grows */
    uint64_t start = bench_now();
    exchange(run, segments);
    double took = (double)(bench_now() - start);
    const struct weir_kcp_stats *stats = weir_kcp_stats(run->ends[0].kcp);
    if (stats->resent_fast + stats->resent_timeout > 0) {
        die("something was resent");
    }
    close_run(run);
    return took / (double)segments;
}

static int report_all(int argc, char **argv)
{
    static const size_t sizes[] = {64, 1024, 65536};
    static const uint32_t windows[] = {128, 1024, 32768};
    struct bench bench;
    bench_open(&bench, "kcp", argc, argv);
    bench_pin(0);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++) {
            struct bench_series series = {.name = "weir"};
            char name[64];
            for (unsigned w = 0; w < WINDOWS; w++) {
                bench_add(&series, measure(sizes[i], windows[k], 200000));
            }
            (void)snprintf(name, sizeof(name), "%zu B, window %u", sizes[i], windows[k]);
            const struct bench_case what = {
                .name = name, .metric = "segment, both ends", .unit = "ns"};
            bench_report(&bench, &what, &series, 1);
        }
    }
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    if (argc == 4 && argv[1][0] != '-') {
        uint64_t segments = strtoull(argv[3], NULL, 10);
        struct run *run =
            open_run(strtoull(argv[1], NULL, 10), (uint32_t)strtoul(argv[2], NULL, 10));
        exchange(run, segments);
        (void)printf("%llu segments, %llu bytes\n", (unsigned long long)segments,
                     (unsigned long long)run->got_bytes);
        close_run(run);
        return 0;
    }
    return report_all(argc, argv);
}
