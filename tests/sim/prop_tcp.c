/* SPDX-License-Identifier: MIT */
/*
 * prop_tcp.c - TCP loses, repeats and reorders nothing, over random networks, options and pools.
 *
 * Usage: prop_tcp FIRST COUNT [-v]. Each seed is a scenario of its own: up to four connections,
 * bytes both ways, pauses, half-closes in either order. A failure prints the command that replays
 * it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tcp/internal.h"
#include "tcp_pair.h"

enum {
    FLOWS_MAX = 4,
    PARCELS_MAX = 64,
    PIECE_MAX = 40000
};

/* One direction of one connection. */
struct half {
    uint64_t wanted, sent, received;
    struct weir_parcel parcels[PARCELS_MAX];
    uint8_t *owned[PARCELS_MAX];
    unsigned parcel_count, parcels_done;
    bool is_closed, is_peer_closed;
};

struct flow {
    struct weir_tcp_conn *conns[2];
    struct half halves[2]; /* by sender */
    unsigned opened[2], closed[2];
    bool is_paused[2];
    bool is_waiting[2]; /* the second to close waits for the first */
    weir_nsec turn_at[2];
};

static struct scenario {
    uint64_t seed;
    struct weir_prng prng;
    struct tcp_pair pair;
    struct tcp_pair_options options;
    struct flow flows[FLOWS_MAX];
    unsigned count;
    bool is_pausing, is_verbose;
    uint8_t bytes[PIECE_MAX];
} s;

#define MUST(condition, ...) ((condition) ? (void)0 : failed(#condition, __VA_ARGS__))

_Noreturn static void failed(const char *condition, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

_Noreturn static void failed(const char *condition, const char *format, ...)
{
    va_list arguments;
    (void)fprintf(stderr, "seed %llu at %.3f s: %s: ", (unsigned long long)s.seed,
                  (double)s.pair.now / 1e9, condition);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    for (unsigned side = 0; side < 2 && s.is_verbose; side++) {
        const struct weir_tcp_stats *stats = &s.pair.hosts[side].tcp->stats;
        (void)fprintf(stderr, "\nside %u: resets %llu out, %llu in; timeouts %llu; drops", side,
                      (unsigned long long)stats->resets_sent,
                      (unsigned long long)stats->resets_received,
                      (unsigned long long)stats->timeouts);
        for (unsigned i = 0; i < WEIR_TCP_DROP_COUNT; i++) {
            (void)fprintf(stderr, " %s %llu", weir_tcp_drop_text((enum weir_tcp_drop)i),
                          (unsigned long long)stats->drops[i]);
        }
    }
    (void)fprintf(stderr, "\nreplay: prop_tcp %llu 1 -v\n", (unsigned long long)s.seed);
    _Exit(1);
}

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)weir_prng_below(&s.prng, bound);
}

static bool chance(uint32_t percent)
{
    return draw(100) < percent;
}

/* Every byte says where it belongs. */
static uint8_t byte_of(unsigned flow, unsigned sender, uint64_t at)
{
    uint64_t x = (at * 8 + (uint64_t)flow * 2 + sender + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(x >> 56);
}

/* --- user calls ------------------------------------------------------------------------------- */

static void try_close(unsigned index, unsigned side)
{
    struct flow *flow = &s.flows[index];
    struct half *half = &flow->halves[side];
    if (half->is_closed || half->sent < half->wanted || flow->opened[side] == 0 ||
        flow->conns[side] == NULL) {
        return;
    }
    if (flow->is_waiting[side] && !flow->halves[1 - side].is_peer_closed) {
        return;
    }
    half->is_closed = weir_tcp_close(s.pair.hosts[side].tcp, flow->conns[side]) == WEIR_OK;
}

static enum weir_status send_parcel(unsigned index, unsigned side, uint32_t length)
{
    struct half *half = &s.flows[index].halves[side];
    struct weir_parcel *parcel = &half->parcels[half->parcel_count];
    uint8_t *owned = malloc(length + (size_t)1);
    MUST(owned != NULL, "memory");
    memcpy(owned, s.bytes, length);
    *parcel = (struct weir_parcel){.data = owned, .length = length, .user = &s.flows[index]};
    enum weir_status status =
        weir_tcp_send_parcel(s.pair.hosts[side].tcp, s.flows[index].conns[side], parcel);
    if (status != WEIR_OK) {
        free(owned);
        return status;
    }
    half->owned[half->parcel_count++] = owned;
    return status;
}

static void push(unsigned index, unsigned side)
{
    struct flow *flow = &s.flows[index];
    struct half *half = &flow->halves[side];
    while (flow->conns[side] != NULL && half->sent < half->wanted && !half->is_closed) {
        uint32_t length = 1 + draw(chance(50) ? 100 : PIECE_MAX);
        length = (uint32_t)weir_min_u64(length, half->wanted - half->sent);
        for (uint32_t i = 0; i < length; i++) {
            s.bytes[i] = byte_of(index, side, half->sent + i);
        }
        bool is_parcel = half->parcel_count < PARCELS_MAX && chance(30);
        enum weir_status status =
            is_parcel ? send_parcel(index, side, length)
                      : weir_tcp_send(s.pair.hosts[side].tcp, flow->conns[side], s.bytes, length);
        if (status != WEIR_OK) {
            MUST(status == WEIR_ERR_FULL || status == WEIR_AGAIN, "send says %d", (int)status);
            return;
        }
        half->sent += length;
    }
}

static void take_turn(unsigned index, unsigned side)
{
    struct flow *flow = &s.flows[index];
    struct weir_tcp *tcp = s.pair.hosts[side].tcp;
    struct weir_tcp_conn *conn = flow->conns[side];
    if (conn == NULL || flow->closed[side] > 0 || s.pair.now < flow->turn_at[side]) {
        return;
    }
    flow->turn_at[side] = s.pair.now + (1 + draw(200)) * WEIR_MSEC;
    if (s.is_pausing && chance(30)) {
        bool is_paused = !flow->is_paused[side];
        if (weir_tcp_pause(tcp, conn, is_paused) == WEIR_OK) {
            flow->is_paused[side] = is_paused;
        }
    }
    if (chance(10)) {
        (void)weir_tcp_nodelay(tcp, conn, chance(50));
    }
    push(index, side);
    try_close(index, side);
}

/* --- events ----------------------------------------------------------------------------------- */

static unsigned find_flow(unsigned side, const struct weir_tcp_conn *conn)
{
    for (unsigned i = 0; i < s.count; i++) {
        if (s.flows[i].conns[side] == conn && s.flows[i].closed[side] == 0) {
            return i;
        }
    }
    failed("a known connection", "side %u", side);
}

/* The flow of a passive open: by the client's port. */
static unsigned match_flow(const struct tcp_host *host, const struct weir_tcp_conn *conn)
{
    struct weir_path path = weir_tcp_path(host->tcp, conn);
    for (unsigned i = 0; i < s.count; i++) {
        const struct weir_tcp_conn *mine = s.flows[i].conns[0];
        if (mine != NULL &&
            weir_tcp_path(s.pair.hosts[0].tcp, mine).local.port == path.remote.port) {
            return i;
        }
    }
    failed("a flow with this port", "port %u", path.remote.port);
}

static void on_data(unsigned index, unsigned side, struct weir_span span)
{
    struct half *half = &s.flows[index].halves[1 - side];
    MUST(!half->is_peer_closed, "data behind the end");
    MUST(!s.flows[index].is_paused[side], "data while paused");
    for (size_t i = 0; i < span.length; i++) {
        MUST(span.data[i] == byte_of(index, 1 - side, half->received + i), "flow %u byte %llu",
             index, (unsigned long long)(half->received + i));
    }
    half->received += span.length;
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    unsigned side = (unsigned)(host - pair->hosts);
    unsigned index = 0;
    if (event->type == WEIR_TCP_EVENT_ROOM) {
        return; /* every turn tries again */
    }
    if (event->type == WEIR_TCP_EVENT_OPENED && side == 1) {
        index = match_flow(host, event->conn);
        s.flows[index].conns[1] = event->conn;
    } else {
        index = find_flow(side, event->conn);
    }
    struct flow *flow = &s.flows[index];
    struct half *half = &flow->halves[1 - side];
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        flow->opened[side]++;
        push(index, side);
        break;
    case WEIR_TCP_EVENT_DATA:
        on_data(index, side, event->data.span);
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        MUST(event->parcel.outcome == WEIR_OUTCOME_ACKED, "outcome %d", (int)event->parcel.outcome);
        flow->halves[side].parcels_done++;
        break;
    case WEIR_TCP_EVENT_WRITABLE:
        push(index, side);
        break;
    case WEIR_TCP_EVENT_ROOM:
    case WEIR_TCP_EVENT_URGENT:
        failed("no urgent data", "flow %u", index);
    case WEIR_TCP_EVENT_PEER_CLOSED:
        MUST(half->received == half->wanted, "flow %u: %llu of %llu", index,
             (unsigned long long)half->received, (unsigned long long)half->wanted);
        half->is_peer_closed = true;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        MUST(event->closed.cause == WEIR_TCP_CAUSE_DONE, "cause %d", (int)event->closed.cause);
        MUST(half->is_peer_closed, "closed before the peer");
        flow->closed[side]++;
        break;
    }
}

/* --- scenarios -------------------------------------------------------------------------------- */

static void draw_link(void)
{
    struct weir_sim_link *link = &s.options.link;
    link->delay = draw(3) == 0 ? draw(200000) * WEIR_USEC : draw(60000) * WEIR_USEC;
    link->jitter = chance(50) ? draw(20000) * WEIR_USEC : 0;
    link->rate = chance(40) ? 1000000 + draw(100) * UINT64_C(1000000) : 0;
    link->queue_bytes = chance(50) ? 20000 + draw(200000) : 0;
    link->loss_ppm = chance(70) ? draw(chance(20) ? 300000 : 60000) : 0;
    link->reorder_ppm = chance(40) ? draw(200000) : 0;
    link->duplicate_ppm = chance(40) ? draw(200000) : 0;
    link->burst_loss_ppm = chance(20) && link->loss_ppm < 60000 ? draw(20000) : 0;
    link->ce_queue_bytes = chance(30) ? 10000 : 0;
}

static void draw_config(void)
{
    struct weir_tcp_config *tcp = &s.options.tcp;
    uint32_t kind = draw(WEIR_CC_NONE + 1);
    tcp->cc = (enum weir_cc_kind)kind;
    tcp->has_timestamps = chance(50);
    tcp->has_users = chance(50);
    tcp->is_ecn = chance(50);
    tcp->is_cookie_only = chance(20);
    tcp->mtu_bytes = chance(50) ? 1500 : (uint16_t)(296 + draw(9000));
    tcp->receive_window = chance(30) ? 2048 + draw(20000) : 65536 + draw(4 << 20);
    tcp->tuning.is_nodelay = chance(30);
    tcp->tuning.sleep_after = chance(50) ? 0 : WEIR_SEC;
    tcp->tuning.user_timeout = 0;
    tcp->tuning.time_wait = 1000 * WEIR_SEC; /* longer than any row of losses */
    tcp->tuning.connect_timeout = 3600 * WEIR_SEC;
    tcp->tuning.ack_delay = draw(100) * WEIR_MSEC;
    tcp->tuning.send_queue_max = chance(50) ? 4 << 20 : 1 + draw(100000);
    tcp->tuning.fin_timeout = 3600 * WEIR_SEC;
    tcp->is_fast_open = chance(30);
    tcp->fast_open_max = (uint16_t)(1 + draw(3));
    tcp->tuning.is_user_timeout_advertised = chance(30);
    tcp->is_mtu_fixed = chance(20);
    if (chance(30)) {
        tcp->segments_max = 16 + draw(16);
    }
    if (chance(30)) {
        tcp->held_max = 16 + draw(16);
        tcp->reordering_max = 1 + draw(2);
    }
    if (chance(30)) {
        tcp->send_bytes = 65536;
    }
}

/* A path that loses what is too long without a word, one way or both. */
static void draw_black_hole(void)
{
    enum {
        PASSES = 576
    };

    for (unsigned side = 0; side < 2; side++) {
        if (chance(15) && !s.options.tcp.is_mtu_fixed && s.options.tcp.mtu_bytes > PASSES) {
            tcp_pair_set_path(&s.pair, side, PASSES + draw(s.options.tcp.mtu_bytes - PASSES));
        }
    }
}

static void begin(uint64_t seed)
{
    memset(&s.flows, 0, sizeof(s.flows));
    s.seed = seed;
    weir_prng_init(&s.prng, seed);
    tcp_pair_options_default(&s.options);
    s.options.seed = seed;
    draw_link();
    draw_config();
    s.count = 1 + draw(FLOWS_MAX);
    s.is_pausing = chance(30);
    tcp_pair_open(&s.pair, &s.options, on_event, NULL);
    draw_black_hole();
    for (unsigned i = 0; i < s.count; i++) {
        struct flow *flow = &s.flows[i];
        for (unsigned side = 0; side < 2; side++) {
            flow->halves[side].wanted = draw(3) == 0 ? draw(1000) : draw(300000);
        }
        /* Of a cookie that was lost a server knows nothing: the client must speak. */
        flow->is_waiting[0] = chance(50) && !s.options.tcp.is_cookie_only;
        flow->is_waiting[1] = !flow->is_waiting[0] && chance(50);
        tcp_pair_connect(&s.pair);
        flow->conns[0] = s.pair.hosts[0].conn;
    }
}

static bool is_over(void)
{
    for (unsigned i = 0; i < s.count; i++) {
        if (s.flows[i].closed[0] == 0 || s.flows[i].closed[1] == 0) {
            return false;
        }
    }
    return true;
}

static void check_end(void)
{
    for (unsigned side = 0; side < 2; side++) {
        const struct weir_tcp *tcp = s.pair.hosts[side].tcp;
        MUST(tcp->stats.connections == 0, "side %u", side);
        MUST(tcp->stats.half_open == 0 && tcp->stats.awake == 0, "side %u", side);
        MUST(tcp->awakes.used == 0 && tcp->segments.used == 0, "side %u", side);
        MUST(tcp->helds.used == 0 && tcp->holes.used == 0, "side %u", side);
        MUST(weir_store_used_bytes(tcp->send_store) == 0, "side %u", side);
        MUST(weir_slide_stats(s.pair.hosts[side].base.slide)->held_bytes == 0, "side %u", side);
    }
    for (unsigned i = 0; i < s.count; i++) {
        for (unsigned side = 0; side < 2; side++) {
            struct half *half = &s.flows[i].halves[side];
            MUST(half->parcels_done == half->parcel_count, "flow %u side %u", i, side);
            for (unsigned k = 0; k < half->parcel_count; k++) {
                free(half->owned[k]);
            }
        }
    }
}

static void run(uint64_t seed)
{
    const weir_nsec limit = 40000 * WEIR_SEC;
    begin(seed);
    while (!is_over()) {
        MUST(s.pair.now < limit, "it takes too long");
        (void)tcp_pair_step(&s.pair, s.pair.now + 100 * WEIR_MSEC);
        for (unsigned i = 0; i < s.count; i++) {
            take_turn(i, 0);
            take_turn(i, 1);
        }
    }
    if (s.is_verbose) {
        printf("seed %llu: %.3f s\n", (unsigned long long)seed, (double)s.pair.now / 1e9);
    }
    tcp_pair_run(&s.pair, s.pair.now + 1400 * WEIR_SEC);
    check_end();
    tcp_pair_close(&s.pair);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: prop_tcp FIRST COUNT [-v]\n");
        return 2;
    }
    uint64_t first = strtoull(argv[1], NULL, 0);
    uint64_t count = strtoull(argv[2], NULL, 0);
    s.is_verbose = argc > 3;
    for (uint64_t seed = first; seed < first + count; seed++) {
        run(seed);
    }
    printf("%llu scenarios, all bytes in order\n", (unsigned long long)count);
    return 0;
}
