/* SPDX-License-Identifier: MIT */
/*
 * flood_blind.c - packets that expect nothing: SYNs from everywhere, and segments forged into the
 * connections of others by somebody who does not know their numbers.
 */
#include "cli/cli.h"
#include "cli/flood.h"

static bool on_any(struct cli_flood *flood, uint32_t address,
                   const struct weir_tcp_segment *segment, void *user)
{
    (void)address;
    (void)user;
    flood->answers +=
        (segment->flags & (WEIR_TCP_SYN | WEIR_TCP_ACK)) == (WEIR_TCP_SYN | WEIR_TCP_ACK);
    return true;
}

static uint32_t draw(struct cli_flood *flood, uint32_t bound)
{
    return (uint32_t)weir_prng_below(&flood->prng, bound);
}

static bool put_syn(struct cli_flood *flood)
{
    const struct weir_addr source =
        cli_flood_source(flood, draw(flood, flood->sources), (uint16_t)(1024 + draw(flood, 64000)));
    struct weir_tcp_segment syn = {.seq = (uint32_t)weir_prng_next(&flood->prng),
                                   .window = (uint16_t)draw(flood, 65536),
                                   .flags = WEIR_TCP_SYN,
                                   .options = (uint8_t)(draw(flood, 16)),
                                   .mss = (uint16_t)(536 + draw(flood, 1000)),
                                   .scale = (uint8_t)draw(flood, 15),
                                   .ts_value = (uint32_t)weir_prng_next(&flood->prng)};
    return cli_flood_put(flood, &source, &syn);
}

static bool put_forged(struct cli_flood *flood)
{
    static const uint8_t flags[] = {WEIR_TCP_RST,
                                    WEIR_TCP_RST | WEIR_TCP_ACK,
                                    WEIR_TCP_SYN,
                                    WEIR_TCP_SYN | WEIR_TCP_ACK,
                                    WEIR_TCP_ACK | WEIR_TCP_PSH,
                                    WEIR_TCP_ACK | WEIR_TCP_FIN};
    static const uint8_t bytes[16] = "forged forged";
    const struct cli_flood_options *options = flood->options;
    struct weir_tcp_segment segment = {.seq = (uint32_t)weir_prng_next(&flood->prng),
                                       .ack = (uint32_t)weir_prng_next(&flood->prng),
                                       .window = (uint16_t)draw(flood, 65536),
                                       .flags = flags[draw(flood, sizeof(flags))]};
    if ((segment.flags & WEIR_TCP_PSH) != 0) {
        segment.data = weir_span_of(bytes, sizeof(bytes));
    }
    return cli_flood_put(flood, &options->victims[draw(flood, options->victims_count)], &segment);
}

bool cli_flood_run_blind(struct cli_flood *flood)
{
    const struct cli_flood_options *options = flood->options;
    bool is_syn = options->mode == CLI_FLOOD_SYN;
    flood->rss_start_bytes = cli_flood_rss_bytes(flood);
    cli_progress_start(&flood->progress, is_syn ? "flooding" : "forging", options->count,
                       flood->started);
    flood->progress.unit = "segments";
    for (uint64_t done = 0; done < options->count && !cli_is_stopping;) {
        const weir_nsec now = cli_clock();
        uint64_t due = options->count;
        if (options->rate != 0) {
            double seconds = (double)(now - flood->started) / 1e9;
            double until = seconds * (double)options->rate + 1;
            due = until < (double)due ? (uint64_t)until : due;
        }
        for (unsigned i = 0; i < CLI_FLOOD_BATCH && done < due; i++, done++) {
            if (!(is_syn ? put_syn(flood) : put_forged(flood))) {
                return false;
            }
        }
        if (!cli_flood_flush(flood) ||
            !cli_flood_receive(flood, done < due ? 0 : WEIR_MSEC, on_any, NULL)) {
            return false;
        }
        cli_progress_update(&flood->progress, done, now);
    }
    cli_progress_finish(&flood->progress, options->count, cli_clock());
    flood->open_seconds = (double)(cli_clock() - flood->started) / 1e9;
    /* What is still to come is read, not sent back to a device that is gone. */
    for (unsigned i = 0; i < 20; i++) {
        if (!cli_flood_receive(flood, 5 * WEIR_MSEC, on_any, NULL)) {
            return false;
        }
    }
    flood->rss_end_bytes = cli_flood_rss_bytes(flood);
    return true;
}
