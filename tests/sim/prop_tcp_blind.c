/* SPDX-License-Identifier: MIT */
/*
 * prop_tcp_blind.c - whoever knows addresses and ports of a connection, but not its numbers,
 * changes nothing in it.
 *
 * Usage: prop_tcp_blind FIRST COUNT. Each seed: data both ways over a lossy link while both ends
 * get forged RSTs, SYNs, FINs, data and acknowledgements (RFC 5961), between the honest segments
 * and while the connection sleeps. A forged segment is never the one of all that a right guess
 * would be: that is what the test knows of the numbers, and all that it uses them for.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tcp/internal.h"
#include "tcp_pair.h"

enum {
    PIECE_MAX = 20000,
    FORGED_DATA_MAX = 2000,
    CHALLENGES_MAX = 20 /* in a second, as configured */
};

static struct {
    uint64_t seed;
    struct weir_prng prng;
    struct tcp_pair pair;
    struct weir_tcp_conn *conns[2];
    uint64_t wanted[2], sent[2], received[2]; /* by sender; received by the other */
    unsigned opened[2], peer_closed[2], closed[2];
    bool is_closed[2];
    uint64_t forged;
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
    (void)fprintf(stderr, "\nreplay: prop_tcp_blind %llu 1\n", (unsigned long long)s.seed);
    _Exit(1);
}

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)weir_prng_below(&s.prng, bound);
}

static uint8_t byte_of(unsigned sender, uint64_t at)
{
    return (uint8_t)((at * 2 + sender + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* --- the honest ends -------------------------------------------------------------------------- */

static void push(unsigned side)
{
    while (s.conns[side] != NULL && s.sent[side] < s.wanted[side]) {
        uint32_t length =
            (uint32_t)weir_min_u64(1 + draw(PIECE_MAX), s.wanted[side] - s.sent[side]);
        for (uint32_t i = 0; i < length; i++) {
            s.bytes[i] = byte_of(side, s.sent[side] + i);
        }
        if (weir_tcp_send(s.pair.hosts[side].tcp, s.conns[side], s.bytes, length) != WEIR_OK) {
            return;
        }
        s.sent[side] += length;
    }
}

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    unsigned side = (unsigned)(host - pair->hosts);
    uint64_t *received = &s.received[1 - side];
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        MUST(s.opened[side]++ == 0, "side %u", side);
        s.conns[side] = event->conn;
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            MUST(event->data.span.data[i] == byte_of(1 - side, *received + i), "side %u byte %llu",
                 side, (unsigned long long)(*received + i));
        }
        *received += event->data.span.length;
        break;
    case WEIR_TCP_EVENT_WRITABLE:
        push(side);
        break;
    case WEIR_TCP_EVENT_PEER_CLOSED:
        MUST(s.is_closed[1 - side], "side %u: a FIN that nobody sent", side);
        MUST(*received == s.wanted[1 - side], "side %u: the end comes early", side);
        s.peer_closed[side]++;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        MUST(event->closed.cause == WEIR_TCP_CAUSE_DONE, "side %u: cause %d", side,
             (int)event->closed.cause);
        s.closed[side]++;
        s.conns[side] = NULL;
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_ROOM:
    default:
        failed("no other event", "%d", (int)event->type);
    }
}

/* --- the forger ------------------------------------------------------------------------------- */

/* The numbers of a connection, asleep or awake. */
struct numbers {
    uint32_t rcv_nxt, rcv_end, snd_una, snd_nxt, snd_wnd_max;
};

static struct numbers look(unsigned side)
{
    const struct weir_tcp *ep = s.pair.hosts[side].tcp;
    const struct awake *awake = weir_tcp_awake_of(ep, s.conns[side]);
    if (awake != NULL) {
        return (struct numbers){.rcv_nxt = awake->rcv_nxt,
                                .rcv_end = awake->rcv_adv,
                                .snd_una = awake->snd_una,
                                .snd_nxt = awake->snd_nxt,
                                .snd_wnd_max = awake->snd_wnd_max};
    }
    const struct record *record = weir_tcp_record(ep, s.conns[side]);
    return (struct numbers){.rcv_nxt = record->place,
                            .rcv_end = record->place + ep->config.receive_window,
                            .snd_una = record->snd_nxt,
                            .snd_nxt = record->snd_nxt,
                            .snd_wnd_max = ep->config.receive_window};
}

/* Any number, or one in the window but for the next. */
static uint32_t draw_seq(const struct numbers *numbers)
{
    uint32_t window = numbers->rcv_end - numbers->rcv_nxt;
    if (draw(2) == 0 && window > 1) {
        return numbers->rcv_nxt + 1 + draw(window - 1);
    }
    uint32_t seq = (uint32_t)weir_prng_next(&s.prng);
    return seq == numbers->rcv_nxt ? seq + 1 : seq;
}

/* RFC 5961 5.2: not in [SND.UNA - MAX.SND.WND, SND.NXT]. */
static uint32_t draw_ack(const struct numbers *numbers)
{
    uint32_t right = numbers->snd_nxt - numbers->snd_una + numbers->snd_wnd_max;
    uint32_t left = numbers->snd_una - numbers->snd_wnd_max;
    if (draw(2) == 0) {
        return draw(2) == 0 ? numbers->snd_nxt + 1 + draw(1000) : left - 1 - draw(1000);
    }
    uint32_t ack = (uint32_t)weir_prng_next(&s.prng);
    return ack - left <= right ? numbers->snd_nxt + 1 : ack;
}

static void forge(unsigned side)
{
    static const uint8_t flags[] = {WEIR_TCP_RST,
                                    WEIR_TCP_RST | WEIR_TCP_ACK,
                                    WEIR_TCP_SYN,
                                    WEIR_TCP_SYN | WEIR_TCP_ACK,
                                    WEIR_TCP_ACK,
                                    WEIR_TCP_ACK | WEIR_TCP_PSH,
                                    WEIR_TCP_ACK | WEIR_TCP_FIN,
                                    WEIR_TCP_ACK | WEIR_TCP_URG,
                                    WEIR_TCP_FIN,
                                    0};
    static uint8_t data[FORGED_DATA_MAX];
    static uint8_t bytes[WEIR_TCP_HEADER_MAX + FORGED_DATA_MAX];
    static struct weir_packet packet;
    static struct weir_path path;
    struct tcp_host *host = &s.pair.hosts[side];
    const struct numbers numbers = look(side);
    const struct weir_path ends = weir_tcp_path(host->tcp, s.conns[side]);
    struct weir_tcp_segment segment = {.source = ends.remote.port,
                                       .target = ends.local.port,
                                       .seq = draw_seq(&numbers),
                                       .ack = draw_ack(&numbers),
                                       .window = (uint16_t)draw(65536),
                                       .urgent = (uint16_t)draw(65536),
                                       .flags = flags[draw(sizeof(flags))]};
    bool is_syn = (segment.flags & WEIR_TCP_SYN) != 0;
    if ((segment.flags & WEIR_TCP_RST) == 0 && !is_syn && draw(2) == 0) {
        segment.data = weir_span_of(data, 1 + draw(FORGED_DATA_MAX));
        segment.seq = draw(8) == 0 ? numbers.rcv_nxt : segment.seq;
    }
    if (is_syn && draw(4) == 0) {
        segment.seq = numbers.rcv_nxt; /* RFC 5961 4.2: whatever its number */
    }
    uint32_t length = weir_tcp_encode(bytes, &segment);
    if (segment.data.length > 0) {
        memcpy(bytes + length, segment.data.data, segment.data.length);
    }
    length += (uint32_t)segment.data.length;
    path = ends;
    packet =
        (struct weir_packet){.data = bytes, .length = length, .path = &path, .is_checked = true};
    struct weir_tcp_event event;
    weir_tcp_input(host->tcp, s.pair.now, &packet, 1);
    while (weir_tcp_event(host->tcp, &event) == WEIR_OK) {
        on_event(&s.pair, host, &event);
    }
    s.forged++;
}

/* --- scenarios -------------------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    struct tcp_pair_options options;
    memset(&s, 0, sizeof(s));
    s.seed = seed;
    weir_prng_init(&s.prng, seed);
    tcp_pair_options_default(&options);
    options.seed = seed;
    options.link.delay = draw(40000) * WEIR_USEC;
    options.link.loss_ppm = draw(3) == 0 ? 0 : draw(30000);
    options.link.reorder_ppm = draw(30000);
    options.link.rate = 5000000 + draw(100) * UINT64_C(1000000);
    options.tcp.has_timestamps = draw(2) == 0;
    options.tcp.is_ecn = draw(2) == 0;
    options.tcp.receive_window = 65536U << draw(6);
    options.tcp.tuning.challenges_max = CHALLENGES_MAX;
    options.tcp.tuning.sleep_after = draw(2) == 0 ? 0 : WEIR_SEC;
    tcp_pair_open(&s.pair, &options, on_event, NULL);
    tcp_pair_connect(&s.pair);
    tcp_pair_run(&s.pair, s.pair.now + 20 * WEIR_SEC);
    MUST(s.opened[0] == 1 && s.opened[1] == 1, "it opens");
}

/* Runs until both have all that is wanted, forging all the time. */
static void transfer(unsigned per_step)
{
    const weir_nsec limit = s.pair.now + 2000 * WEIR_SEC;
    while (s.received[0] < s.wanted[0] || s.received[1] < s.wanted[1]) {
        MUST(s.pair.now < limit, "it takes too long: %llu of %llu, %llu of %llu",
             (unsigned long long)s.received[0], (unsigned long long)s.wanted[0],
             (unsigned long long)s.received[1], (unsigned long long)s.wanted[1]);
        (void)tcp_pair_step(&s.pair, s.pair.now + 10 * WEIR_MSEC);
        for (unsigned i = 0; i < per_step; i++) {
            forge(draw(2));
        }
    }
}

static void forge_at_rest(void)
{
    for (unsigned i = 0; i < 100; i++) {
        tcp_pair_run(&s.pair, s.pair.now + draw(200) * WEIR_MSEC);
        forge(draw(2));
    }
}

static void finish(void)
{
    for (unsigned side = 0; side < 2; side++) {
        enum weir_status status = WEIR_AGAIN;
        s.is_closed[side] = true;
        status = weir_tcp_close(s.pair.hosts[side].tcp, s.conns[side]);
        MUST(status == WEIR_OK, "close says %d", (int)status);
    }
    tcp_pair_run(&s.pair, s.pair.now + 200 * WEIR_SEC);
    for (unsigned side = 0; side < 2; side++) {
        const struct weir_tcp_stats *stats = weir_tcp_stats(s.pair.hosts[side].tcp);
        uint64_t seconds = s.pair.now / WEIR_SEC + 2;
        MUST(s.closed[side] == 1 && s.peer_closed[side] == 1, "side %u closes", side);
        MUST(stats->resets_received == 0, "side %u", side);
        MUST(stats->challenges_sent <= seconds * CHALLENGES_MAX, "%llu challenge ACKs",
             (unsigned long long)stats->challenges_sent);
        MUST(stats->challenges_sent > 0, "side %u", side);
        MUST(stats->drops[WEIR_TCP_DROP_CHALLENGE] > 0, "side %u", side);
    }
    tcp_pair_close(&s.pair);
}

int main(int argc, char **argv)
{
    uint64_t forged = 0;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: prop_tcp_blind FIRST COUNT\n");
        return 2;
    }
    uint64_t first = strtoull(argv[1], NULL, 0);
    uint64_t count = strtoull(argv[2], NULL, 0);
    for (uint64_t seed = first; seed < first + count; seed++) {
        begin(seed);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned side = 0; side < 2; side++) {
                s.wanted[side] += draw(200000);
                push(side);
            }
            transfer(1 + draw(8));
            forge_at_rest();
        }
        finish();
        forged += s.forged;
    }
    printf("%llu scenarios, %llu forged segments, nothing changed\n", (unsigned long long)count,
           (unsigned long long)forged);
    return 0;
}
