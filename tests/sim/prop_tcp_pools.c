/* SPDX-License-Identifier: MIT */
/*
 * prop_tcp_pools.c - with memory for one in a hundred connections everything is slower, and nothing
 * is lost.
 *
 * Usage: prop_tcp_pools FIRST COUNT [-v]. Each seed: 200 connections over a lossy link, bytes both
 * ways on all of them, where pools of the client, the server or both are at 1 % of what these would
 * need. Who finds no room (WEIR_AGAIN, WEIR_ERR_FULL) tries again later.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tcp/internal.h"
#include "tcp_pair.h"

enum {
    FLOWS = 200,
    BYTES_MAX = 20000,
    PIECE_MAX = 8000,
    SEGMENTS_NEED = FLOWS * 2 * BYTES_MAX / 1460
};

struct flow {
    struct weir_tcp_conn *conns[2];
    uint32_t wanted[2], sent[2], received[2]; /* by sender; received by the other */
    uint16_t port;                            /* the client's; 0: to be opened */
    bool is_opened[2], is_closing[2], is_peer_closed[2], is_closed[2];
};

static struct {
    uint64_t seed;
    struct weir_prng prng;
    struct tcp_pair pair;
    struct weir_tcp_config server;
    struct flow flows[FLOWS];
    uint16_t flow_of_port[65536]; /* 1 and more */
    uint32_t *flow_of_conn[2];    /* by index */
    uint32_t refused;             /* opened again */
    bool is_verbose;
    uint8_t bytes[PIECE_MAX];
} s;

#define MUST(condition, ...) ((condition) ? (void)0 : failed(#condition, __VA_ARGS__))

_Noreturn static void failed(const char *condition, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_side(unsigned side)
{
    const struct weir_tcp *ep = s.pair.hosts[side].tcp;
    const struct weir_tcp_stats *stats = &ep->stats;
    (void)fprintf(stderr,
                  "side %u: %u connections, %u awake of %u, %u half open, %u segments of %u, %u "
                  "held of %u, timeouts %llu, resets %llu out, drops",
                  side, stats->connections, stats->awake, ep->config.awake_max, stats->half_open,
                  ep->segments.used, ep->config.segments_max, ep->helds.used, ep->config.held_max,
                  (unsigned long long)stats->timeouts, (unsigned long long)stats->resets_sent);
    for (unsigned i = 0; i < WEIR_TCP_DROP_COUNT; i++) {
        if (stats->drops[i] > 0) {
            (void)fprintf(stderr, " %s %llu", weir_tcp_drop_text((enum weir_tcp_drop)i),
                          (unsigned long long)stats->drops[i]);
        }
    }
    (void)fputc('\n', stderr);
}

_Noreturn static void failed(const char *condition, const char *format, ...)
{
    va_list arguments;
    (void)fprintf(stderr, "seed %llu at %.3f s: %s: ", (unsigned long long)s.seed,
                  (double)s.pair.now / 1e9, condition);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    print_side(0);
    print_side(1);
    (void)fprintf(stderr, "replay: prop_tcp_pools %llu 1 -v\n", (unsigned long long)s.seed);
    _Exit(1);
}

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)weir_prng_below(&s.prng, bound);
}

static uint8_t byte_of(uint32_t flow, unsigned sender, uint64_t at)
{
    uint64_t x = (at * 1024 + (uint64_t)flow * 2 + sender + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(x >> 56);
}

/* --- user calls ------------------------------------------------------------------------------- */

static void try_open(uint32_t index)
{
    struct flow *flow = &s.flows[index];
    struct tcp_host *client = &s.pair.hosts[0];
    const struct weir_path path = {.local = client->base.driver->local,
                                   .remote = tcp_pair_server_addr()};
    struct weir_tcp_conn *conn = NULL;
    enum weir_status status = weir_tcp_connect(client->tcp, s.pair.now, &path, NULL, &conn);
    if (status != WEIR_OK) {
        MUST(status == WEIR_ERR_FULL || status == WEIR_AGAIN, "connect says %d", (int)status);
        return;
    }
    flow->conns[0] = conn;
    flow->port = weir_tcp_path(client->tcp, conn).local.port;
    s.flow_of_port[flow->port] = (uint16_t)(index + 1);
    s.flow_of_conn[0][weir_tcp_index(client->tcp, conn)] = index;
}

static void push(uint32_t index, unsigned side)
{
    struct flow *flow = &s.flows[index];
    struct weir_tcp *tcp = s.pair.hosts[side].tcp;
    while (flow->is_opened[side] && flow->conns[side] != NULL &&
           flow->sent[side] < flow->wanted[side]) {
        uint32_t length =
            (uint32_t)weir_min_u64(1 + draw(PIECE_MAX), flow->wanted[side] - flow->sent[side]);
        for (uint32_t i = 0; i < length; i++) {
            s.bytes[i] = byte_of(index, side, flow->sent[side] + i);
        }
        enum weir_status status = weir_tcp_send(tcp, flow->conns[side], s.bytes, length);
        if (status != WEIR_OK) {
            MUST(status == WEIR_ERR_FULL || status == WEIR_AGAIN, "send says %d", (int)status);
            return;
        }
        flow->sent[side] += length;
    }
}

static void take_turn(uint32_t index, unsigned side)
{
    struct flow *flow = &s.flows[index];
    if (side == 0 && flow->port == 0) {
        try_open(index);
    }
    if (!flow->is_opened[side] || flow->conns[side] == NULL || flow->is_closing[side]) {
        return;
    }
    push(index, side);
    if (flow->sent[side] == flow->wanted[side]) {
        enum weir_status status = weir_tcp_close(s.pair.hosts[side].tcp, flow->conns[side]);
        MUST(status == WEIR_OK || status == WEIR_AGAIN, "close says %d", (int)status);
        flow->is_closing[side] = status == WEIR_OK;
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_data(uint32_t index, unsigned side, struct weir_span span)
{
    struct flow *flow = &s.flows[index];
    for (size_t i = 0; i < span.length; i++) {
        MUST(span.data[i] == byte_of(index, 1 - side, flow->received[1 - side] + i),
             "flow %u byte %llu", index, (unsigned long long)(flow->received[1 - side] + i));
    }
    flow->received[1 - side] += (uint32_t)span.length;
}

static void on_closed(uint32_t index, unsigned side, enum weir_tcp_close_cause cause)
{
    struct flow *flow = &s.flows[index];
    flow->conns[side] = NULL;
    if (cause == WEIR_TCP_CAUSE_DONE) {
        MUST(flow->is_peer_closed[side], "flow %u closes before the peer", index);
        flow->is_closed[side] = true;
        return;
    }
    /* A server without room answers SYNs with cookies, which grow old: what then comes of a client
     * is reset. Nobody had said to it that anything had arrived. */
    MUST(side == 0 && !flow->is_opened[1], "flow %u side %u: cause %d", index, side, (int)cause);
    s.flow_of_port[flow->port] = 0;
    flow->port = 0;
    flow->is_opened[0] = flow->is_closing[0] = false;
    flow->sent[0] = 0;
    s.refused++;
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    unsigned side = (unsigned)(host - pair->hosts);
    if (event->type == WEIR_TCP_EVENT_ROOM) {
        return; /* every turn tries again */
    }
    uint32_t place = weir_tcp_index(host->tcp, event->conn);
    if (event->type == WEIR_TCP_EVENT_OPENED && side == 1) {
        uint32_t found = s.flow_of_port[weir_tcp_path(host->tcp, event->conn).remote.port];
        MUST(found > 0, "a connection that nobody opened");
        s.flow_of_conn[1][place] = found - 1;
        MUST(!s.flows[found - 1].is_opened[1], "flow %u opens twice", found - 1);
        s.flows[found - 1].conns[1] = event->conn;
    }
    uint32_t index = s.flow_of_conn[side][place];
    struct flow *flow = &s.flows[index];
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        flow->is_opened[side] = true;
        break;
    case WEIR_TCP_EVENT_DATA:
        on_data(index, side, event->data.span);
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        MUST(flow->received[1 - side] == flow->wanted[1 - side], "flow %u: %u of %u bytes", index,
             flow->received[1 - side], flow->wanted[1 - side]);
        flow->is_peer_closed[side] = true;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        on_closed(index, side, event->closed.cause);
        break;
    case WEIR_TCP_EVENT_WRITABLE:
        push(index, side);
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_ROOM:
    default:
        failed("no other event", "%d", (int)event->type);
    }
}

/* --- scenarios -------------------------------------------------------------------------------- */

/* Some pools, and always one at least, hold 1 %. */
static void make_small(struct weir_tcp_config *tcp)
{
    uint32_t which = 1 + draw(31);
    if ((which & 1) != 0) {
        tcp->awake_max = FLOWS / 100;
    }
    if ((which & 2) != 0) {
        tcp->segments_max = SEGMENTS_NEED / 100;
    }
    if ((which & 4) != 0) {
        tcp->held_max = SEGMENTS_NEED / 100;
        tcp->reordering_max = FLOWS / 100;
    }
    if ((which & 8) != 0) {
        tcp->send_bytes = 65536; /* the least there is; the need is four million */
    }
    if ((which & 16) != 0) {
        tcp->receive_window = 2048;
    }
}

static void begin(uint64_t seed)
{
    struct tcp_pair_options options;
    memset(s.flows, 0, sizeof(s.flows));
    memset(s.flow_of_port, 0, sizeof(s.flow_of_port));
    s.seed = seed;
    s.refused = 0;
    weir_prng_init(&s.prng, seed);
    tcp_pair_options_default(&options);
    options.seed = seed;
    options.link.delay = draw(40000) * WEIR_USEC;
    options.link.loss_ppm = draw(50000);
    options.link.reorder_ppm = draw(20000);
    options.link.duplicate_ppm = draw(20000);
    options.tcp.connections_max = 2000;
    options.tcp.has_timestamps = draw(2) == 0;
    options.tcp.tuning.user_timeout = 0;
    options.tcp.tuning.connect_timeout = 3600 * WEIR_SEC;
    options.tcp.tuning.fin_timeout = 3600 * WEIR_SEC;
    options.tcp.tuning.time_wait = 1000 * WEIR_SEC; /* longer than any row of losses */
    options.tcp.tuning.sleep_after = draw(2) == 0 ? 0 : WEIR_SEC;
    s.server = options.tcp;
    uint32_t sides = 1 + draw(3);
    if ((sides & 1) != 0) {
        make_small(&options.tcp);
    }
    if ((sides & 2) != 0) {
        make_small(&s.server);
    }
    options.server = &s.server;
    if (draw(3) == 0) {
        options.slide_bytes = 300000; /* a batch must take one datagram of any length */
        options.secondary_bytes = BYTES_MAX * FLOWS / 100;
    }
    tcp_pair_open(&s.pair, &options, on_event, NULL);
    for (uint32_t i = 0; i < FLOWS; i++) {
        s.flows[i].wanted[0] = 1 + draw(BYTES_MAX); /* whose cookie is lost must speak */
        s.flows[i].wanted[1] = draw(BYTES_MAX);
    }
}

static uint32_t count_open(void)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < FLOWS; i++) {
        open += !s.flows[i].is_closed[0] || !s.flows[i].is_closed[1];
    }
    return open;
}

static void run(uint64_t seed)
{
    const weir_nsec limit = 40000 * WEIR_SEC;
    uint32_t open = FLOWS;
    begin(seed);
    while (open > 0) {
        MUST(s.pair.now < limit, "%u connections are not done", open);
        weir_nsec until = s.pair.now + 50 * WEIR_MSEC;
        while (tcp_pair_step(&s.pair, until)) {
        }
        uint32_t start = draw(FLOWS);
        for (uint32_t i = 0; i < FLOWS; i++) {
            take_turn((start + i) % FLOWS, 0);
            take_turn((start + i) % FLOWS, 1);
        }
        open = count_open();
    }
    if (s.is_verbose) {
        printf("seed %llu: %.3f s, %u opened again\n", (unsigned long long)seed,
               (double)s.pair.now / 1e9, s.refused);
        (void)fflush(stdout);
        print_side(0);
        print_side(1);
    }
    tcp_pair_run(&s.pair, s.pair.now + 1400 * WEIR_SEC);
    for (unsigned side = 0; side < 2; side++) {
        const struct weir_tcp *tcp = s.pair.hosts[side].tcp;
        MUST(tcp->stats.connections == 0 && tcp->awakes.used == 0, "side %u", side);
        MUST(tcp->segments.used == 0 && tcp->helds.used == 0 && tcp->holes.used == 0, "side %u",
             side);
        MUST(weir_store_used_bytes(tcp->send_store) == 0, "side %u", side);
        MUST(weir_slide_stats(s.pair.hosts[side].base.slide)->held_bytes == 0, "side %u", side);
    }
    tcp_pair_close(&s.pair);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: prop_tcp_pools FIRST COUNT [-v]\n");
        return 2;
    }
    uint64_t first = strtoull(argv[1], NULL, 0);
    uint64_t count = strtoull(argv[2], NULL, 0);
    s.is_verbose = argc > 3;
    for (unsigned side = 0; side < 2; side++) {
        s.flow_of_conn[side] = calloc(1 << 16, sizeof(uint32_t));
        MUST(s.flow_of_conn[side] != NULL, "memory");
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        run(seed);
    }
    printf("%llu scenarios, all bytes in order\n", (unsigned long long)count);
    free(s.flow_of_conn[0]);
    free(s.flow_of_conn[1]);
    return 0;
}
