/* SPDX-License-Identifier: MIT */
/*
 * flood_open.c - connections by the million: opened by what the answers carry, and then a byte on
 * each that has to come back.
 *
 * A connection is a number: it is the address and port of its source, and its initial sequence
 * number by a hash. Only the peer's number has to be remembered. What is not answered in a while is
 * sent again.
 */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/flood.h"

static const weir_nsec resend_after = 300 * WEIR_MSEC;

/* One of the two rounds: opening, and a byte on each. */
struct round {
    bool is_echo;
    uint64_t begun, low, done; /* all below low are done */
};

struct crowd {
    uint32_t *peer_next; /* the number that the peer sends next */
    uint64_t *opened, *acked, *echoed;
    struct round round;
};

static bool is_set(const uint64_t *bits, uint64_t index)
{
    return (bits[index / 64] >> index % 64 & 1) != 0;
}

/* True: it was not set before. */
static bool set(uint64_t *bits, uint64_t index)
{
    bool is_new = !is_set(bits, index);
    bits[index / 64] |= UINT64_C(1) << index % 64;
    return is_new;
}

static uint32_t initial_number(const struct cli_flood *flood, uint64_t index)
{
    uint64_t x = (index + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ flood->options->seed;
    return (uint32_t)(x >> 24);
}

static bool send_segment(struct cli_flood *flood, const struct crowd *crowd, uint64_t index,
                         uint32_t offset, uint8_t flags, struct weir_span data)
{
    const struct weir_addr source =
        cli_flood_source(flood, (uint32_t)(index / CLI_FLOOD_PORTS),
                         (uint16_t)(CLI_FLOOD_PORT_FIRST + index % CLI_FLOOD_PORTS));
    bool is_ack = (flags & WEIR_TCP_ACK) != 0;
    struct weir_tcp_segment segment = {.seq = initial_number(flood, index) + offset,
                                       .ack = is_ack ? crowd->peer_next[index] : 0,
                                       .window = UINT16_MAX,
                                       .flags = flags,
                                       .data = data};
    if (!is_ack) {
        segment.options = WEIR_TCP_HAS_MSS | WEIR_TCP_HAS_SACK_PERMITTED | WEIR_TCP_HAS_SCALE;
        segment.mss = 1460;
        segment.scale = 7;
    }
    return cli_flood_put(flood, &source, &segment);
}

static bool begin(struct cli_flood *flood, const struct crowd *crowd, uint64_t index)
{
    const uint8_t byte = (uint8_t)index;
    if (!crowd->round.is_echo) {
        return send_segment(flood, crowd, index, 0, WEIR_TCP_SYN, weir_span_of(NULL, 0));
    }
    return send_segment(flood, crowd, index, 1, WEIR_TCP_ACK | WEIR_TCP_PSH,
                        weir_span_of(&byte, 1));
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool on_syn_ack(struct cli_flood *flood, struct crowd *crowd, uint64_t index,
                       const struct weir_tcp_segment *segment)
{
    if (segment->ack != initial_number(flood, index) + 1) {
        flood->wrong++;
        return true;
    }
    if (set(crowd->opened, index)) {
        flood->opened++;
        crowd->round.done += !crowd->round.is_echo;
        crowd->peer_next[index] = segment->seq + 1;
    }
    return send_segment(flood, crowd, index, 1, WEIR_TCP_ACK, weir_span_of(NULL, 0));
}

static bool on_echo(struct cli_flood *flood, struct crowd *crowd, uint64_t index,
                    const struct weir_tcp_segment *segment)
{
    bool is_again = is_set(crowd->echoed, index);
    if (segment->data.length != 1 || segment->data.data[0] != (uint8_t)index ||
        segment->seq != crowd->peer_next[index] - is_again) {
        flood->wrong++;
        return true;
    }
    if (set(crowd->echoed, index)) {
        flood->echoed++;
        crowd->round.done++;
        crowd->peer_next[index]++;
    }
    return send_segment(flood, crowd, index, 2, WEIR_TCP_ACK, weir_span_of(NULL, 0));
}

static bool on_answer(struct cli_flood *flood, uint32_t address,
                      const struct weir_tcp_segment *segment, void *user)
{
    struct crowd *crowd = user;
    uint64_t index = (uint64_t)(address - flood->source_first) * CLI_FLOOD_PORTS + segment->target -
                     CLI_FLOOD_PORT_FIRST;
    if (address < flood->source_first || segment->target < CLI_FLOOD_PORT_FIRST ||
        segment->target >= CLI_FLOOD_PORT_FIRST + CLI_FLOOD_PORTS ||
        index >= flood->options->count || (segment->flags & WEIR_TCP_ACK) == 0 ||
        (segment->flags & WEIR_TCP_RST) != 0) {
        return true;
    }
    if ((segment->flags & WEIR_TCP_SYN) != 0) {
        return on_syn_ack(flood, crowd, index, segment);
    }
    if (crowd->round.is_echo && segment->ack == initial_number(flood, index) + 2) {
        flood->acked += set(crowd->acked, index);
    }
    return segment->data.length == 0 || on_echo(flood, crowd, index, segment);
}

/* --- rounds ----------------------------------------------------------------------------------- */

/* Once more what has no answer yet, the oldest first. */
static bool resend(struct cli_flood *flood, struct crowd *crowd)
{
    const uint64_t *done = crowd->round.is_echo ? crowd->echoed : crowd->opened;
    for (uint64_t i = crowd->round.low; i < crowd->round.begun; i++) {
        if (!is_set(done, i)) {
            flood->resent++;
            if (!begin(flood, crowd, i)) {
                return false;
            }
        }
    }
    return cli_flood_flush(flood);
}

static uint64_t allowed_now(const struct cli_flood *flood, weir_nsec started, weir_nsec now)
{
    uint64_t rate = flood->options->rate;
    return rate == 0 ? UINT64_MAX : (uint64_t)((double)(now - started) / 1e9 * (double)rate) + 1;
}

static bool run_round(struct cli_flood *flood, struct crowd *crowd, bool is_echo)
{
    const struct cli_flood_options *options = flood->options;
    const weir_nsec started = cli_clock();
    const uint64_t *done = is_echo ? crowd->echoed : crowd->opened;
    weir_nsec progress_at = started;
    weir_nsec resent_at = started;
    struct round *round = &crowd->round;
    *round = (struct round){.is_echo = is_echo};
    cli_progress_start(&flood->progress, is_echo ? "echoing" : "opening", options->count, started);
    flood->progress.unit = "connections";
    while (round->done < options->count && !cli_is_stopping) {
        const weir_nsec now = cli_clock();
        const uint64_t before = round->done;
        while (round->begun < options->count && round->begun - round->done < options->window &&
               round->begun < allowed_now(flood, started, now)) {
            if (!begin(flood, crowd, round->begun++)) {
                return false;
            }
        }
        if (!cli_flood_flush(flood) || !cli_flood_receive(flood, 5 * WEIR_MSEC, on_answer, crowd)) {
            return false;
        }
        while (round->low < round->begun && is_set(done, round->low)) {
            round->low++;
        }
        progress_at = round->done > before ? now : progress_at;
        if (now - progress_at > options->timeout) {
            break;
        }
        if (now - progress_at > resend_after && now - resent_at > resend_after) {
            resent_at = now;
            if (!resend(flood, crowd)) {
                return false;
            }
        }
        cli_progress_update(&flood->progress, round->done, now);
    }
    cli_progress_finish(&flood->progress, round->done, cli_clock());
    *(is_echo ? &flood->echo_seconds : &flood->open_seconds) =
        (double)(cli_clock() - started) / 1e9;
    return true;
}

static bool run_rounds(struct cli_flood *flood, struct crowd *crowd)
{
    flood->rss_start_bytes = cli_flood_rss_bytes(flood);
    if (!run_round(flood, crowd, false)) {
        return false;
    }
    flood->rss_open_bytes = cli_flood_rss_bytes(flood);
    if (flood->options->is_echo && flood->opened == flood->options->count &&
        !run_round(flood, crowd, true)) {
        return false;
    }
    flood->rss_end_bytes = cli_flood_rss_bytes(flood);
    return true;
}

bool cli_flood_run_connect(struct cli_flood *flood)
{
    const size_t count = (size_t)flood->options->count;
    const size_t words = count / 64 + 1;
    struct crowd crowd = {.peer_next = calloc(count, sizeof(uint32_t)),
                          .opened = calloc(words, sizeof(uint64_t)),
                          .acked = calloc(words, sizeof(uint64_t)),
                          .echoed = calloc(words, sizeof(uint64_t))};
    bool is_done = crowd.peer_next != NULL && crowd.opened != NULL && crowd.acked != NULL &&
                   crowd.echoed != NULL;
    if (!is_done) {
        (void)cli_fail(CLI_FAILED, "no memory for so many connections");
    }
    is_done = is_done && run_rounds(flood, &crowd);
    free(crowd.peer_next);
    free(crowd.opened);
    free(crowd.acked);
    free(crowd.echoed);
    return is_done;
}
