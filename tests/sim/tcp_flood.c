/* SPDX-License-Identifier: MIT */
/*
 * tcp_flood.c - a flood of SYNs over the simulated link takes no memory, and honest clients come
 * through it.
 *
 *   tcp_flood SYNS SEED
 *
 * A million SYNs in a second of virtual time, from addresses and ports that change, some of them
 * with other segments in between; meanwhile a client opens one connection after the other, has a
 * kilobyte echoed and closes. Answers to strangers lead nowhere. Memory is what the process has in
 * use, by the system's count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "tcp/internal.h"
#include "tcp_pair.h"

enum {
    BURST = 64,
    BURST_NS = 64 * 1000,
    HALF_OPEN = 256,
    ECHO_BYTES = 1000,
    GROWTH_MAX_BYTES = 1 << 20, /* of a flood; a stored SYN of one in a hundred would be more */
    WARM_SYNS = 100000
};

static struct {
    struct tcp_pair pair;
    struct weir_driver *stranger;
    struct weir_prng prng;
    uint64_t seed;
    uint64_t syns, others;
    uint64_t opened, echoed, closed;
    uint64_t received; /* by the client, of this connection */
    bool is_open;
    weir_nsec begun, longest;
} f;

static _Noreturn void failed(const char *what, uint64_t is, uint64_t wanted)
{
    (void)fprintf(stderr, "tcp_flood: %s: %llu, wanted %llu\nreplay: tcp_flood SYNS %llu\n", what,
                  (unsigned long long)is, (unsigned long long)wanted, (unsigned long long)f.seed);
    _Exit(1);
}

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)weir_prng_below(&f.prng, bound);
}

static uint64_t rss_bytes(void)
{
    /* "total resident ...", in pages */
    char line[128];
    FILE *file = fopen("/proc/self/statm", "r");
    const char *resident = NULL;
    if (file != NULL) {
        resident = fgets(line, sizeof(line), file) == NULL ? NULL : strchr(line, ' ');
        (void)fclose(file);
    }
    if (resident == NULL) {
        failed("pages in use are not known", 0, 1);
    }
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- the honest client ------------------------------------------------------------------------ */

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    static const uint8_t bytes[ECHO_BYTES];
    bool is_client = host == &pair->hosts[0];
    enum weir_status status = WEIR_OK;
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        if (is_client) {
            f.opened++;
            f.received = 0;
            status = weir_tcp_send(host->tcp, event->conn, bytes, sizeof(bytes));
        }
        break;
    case WEIR_TCP_EVENT_DATA:
        if (!is_client) {
            status = weir_tcp_send(host->tcp, event->conn, event->data.span.data,
                                   event->data.span.length);
            break;
        }
        f.received += event->data.span.length;
        if (f.received == ECHO_BYTES) {
            f.echoed++;
            status = weir_tcp_close(host->tcp, event->conn);
        }
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        if (!is_client) {
            status = weir_tcp_close(host->tcp, event->conn);
        }
        break;
    case WEIR_TCP_EVENT_CLOSED:
        if (is_client) {
            f.closed += event->closed.cause == WEIR_TCP_CAUSE_DONE;
            f.is_open = false;
            weir_nsec took = pair->now - f.begun;
            f.longest = took > f.longest ? took : f.longest;
        }
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
    case WEIR_TCP_EVENT_WRITABLE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_ROOM:
    default:
        break;
    }
    if (status != WEIR_OK) {
        failed("a call's status", (uint64_t)status, WEIR_OK);
    }
}

static void keep_client_busy(void)
{
    if (!f.is_open) {
        f.is_open = true;
        f.begun = f.pair.now;
        tcp_pair_connect(&f.pair);
    }
}

/* --- the flood -------------------------------------------------------------------------------- */

/* A SYN with the options of any system; one in eight is something else that belongs to nothing. */
static uint32_t write_segment(uint8_t *at, const struct weir_path *path)
{
    struct weir_tcp_segment segment = {.source = (uint16_t)(1024 + draw(60000)),
                                       .target = 80,
                                       .seq = (uint32_t)weir_prng_next(&f.prng),
                                       .window = (uint16_t)draw(65536),
                                       .flags = WEIR_TCP_SYN,
                                       .options = (uint8_t)draw(16),
                                       .mss = (uint16_t)draw(65536),
                                       .scale = (uint8_t)draw(16)};
    if (draw(8) == 0) {
        static const uint8_t flags[] = {WEIR_TCP_ACK, WEIR_TCP_ACK | WEIR_TCP_FIN, WEIR_TCP_RST,
                                        WEIR_TCP_SYN | WEIR_TCP_ACK, 0};
        segment.flags = flags[draw(sizeof(flags))];
        segment.ack = (uint32_t)weir_prng_next(&f.prng);
        segment.options = 0;
        f.others++;
    } else {
        f.syns++;
    }
    uint32_t length = weir_tcp_encode(at, &segment);
    weir_tcp_seal(at, length, path);
    return length;
}

static void send_burst(void)
{
    static uint8_t buffer[BURST][WEIR_TCP_HEADER_MAX];
    static struct weir_transmit transmits[BURST];
    struct weir_path path = {.remote = f.pair.hosts[1].base.driver->local};
    uint32_t sent = 0;
    path.local = path.remote;
    path.local.ip[0] = (uint8_t)(11 + draw(100));
    path.local.ip[1] = (uint8_t)draw(256);
    path.local.ip[2] = (uint8_t)draw(256);
    path.local.ip[3] = (uint8_t)(1 + draw(254));
    if (weir_sim_rebind(f.pair.sim, f.stranger, &path.local) != WEIR_OK) {
        failed("a new address", 0, 1);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        uint32_t length = write_segment(buffer[i], &path);
        transmits[i] = (struct weir_transmit){
            .path = path, .data = buffer[i], .length = length, .segment_bytes = (uint16_t)length};
    }
    if (f.stranger->ops->send(f.stranger, f.pair.now, transmits, BURST, &sent) != WEIR_OK ||
        sent != BURST) {
        failed("SYNs sent", sent, BURST);
    }
}

static void flood(uint64_t syns)
{
    while (f.syns < syns) {
        weir_nsec until = f.pair.now + BURST_NS;
        keep_client_busy();
        send_burst();
        while (tcp_pair_step(&f.pair, until)) {
        }
    }
}

static void open_world(void)
{
    struct tcp_pair_options options;
    struct weir_addr addr;
    const struct weir_sim_link link = {.delay = WEIR_MSEC};
    tcp_pair_options_default(&options);
    options.seed = f.seed;
    options.link = link;
    options.strangers = 1;
    options.tcp.connections_max = 8192;
    options.tcp.has_timestamps = (f.seed & 1) != 0;
    options.tcp.half_open_max = HALF_OPEN;
    options.tcp.tuning.sleep_after = 0;
    tcp_pair_open(&f.pair, &options, on_event, NULL);
    if (weir_addr_parse("10.1.0.1:0", &addr) != WEIR_OK ||
        weir_sim_add_host(f.pair.sim, &addr, &f.stranger) != WEIR_OK ||
        weir_sim_set_link(f.pair.sim, f.stranger, f.pair.hosts[1].base.driver, &link) != WEIR_OK) {
        failed("the stranger's link", 0, 1);
    }
}

static void check(uint64_t syns, uint64_t before, uint64_t after)
{
    const struct weir_tcp_stats *stats = weir_tcp_stats(f.pair.hosts[1].tcp);
    if (after > before + GROWTH_MAX_BYTES) {
        failed("growth in bytes", after - before, GROWTH_MAX_BYTES);
    }
    /* Honest ones that are closed are remembered while their cookies are good. */
    if (stats->connections_peak > HALF_OPEN + 1 + f.opened) {
        failed("connections at once", stats->connections_peak, HALF_OPEN + 1 + f.opened);
    }
    if (stats->cookies_sent < syns / 2) {
        failed("cookies sent", stats->cookies_sent, syns / 2);
    }
    if (f.closed < 10 || f.echoed < f.closed || stats->cookies_accepted == 0) {
        failed("honest connections", f.closed, 10);
    }
    /* What was half open is given up within a minute. */
    tcp_pair_run(&f.pair, f.pair.now + 300 * WEIR_SEC);
    if (stats->half_open != 0 || stats->connections != 0) {
        failed("connections left", stats->connections, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: tcp_flood SYNS SEED\n");
        return 2;
    }
    uint64_t syns = strtoull(argv[1], NULL, 0);
    f.seed = strtoull(argv[2], NULL, 0);
    weir_prng_init(&f.prng, f.seed);
    open_world();
    flood(WARM_SYNS);
    uint64_t before = rss_bytes();
    flood(WARM_SYNS + syns);
    uint64_t after = rss_bytes();
    check(syns, before, after);
    printf("%llu SYNs and %llu other segments in %.1f s: memory in use %llu KiB before, %+lld KiB "
           "after; %llu honest connections, the slowest %.0f ms; %llu cookies\n",
           (unsigned long long)syns, (unsigned long long)f.others,
           (double)(f.pair.now - 301 * WEIR_SEC) / 1e9, (unsigned long long)(before >> 10),
           (long long)((after >> 10) - (before >> 10)), (unsigned long long)f.closed,
           (double)f.longest / 1e6,
           (unsigned long long)weir_tcp_stats(f.pair.hosts[1].tcp)->cookies_sent);
    tcp_pair_close(&f.pair);
    return 0;
}
