/* SPDX-License-Identifier: MIT */
/*
 * sim_traffic.c - the application at both ends of "weir sim": builds messages and checks them.
 *
 *      | index 8 | send time 8 | pattern of (seed, index) ... |
 *
 * A message counts as delivered when its index was sent, and time, length and every byte are those
 * that were sent; anything else is corrupted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/sim_run.h"

static bool is_bulk(const struct cli_sim_traffic *traffic)
{
    return traffic->options->bulk_bytes > 0;
}

/* The last message of a bulk has what is left, but at least its header. */
static void plan_bulk(struct cli_sim_traffic *traffic)
{
    const struct cli_sim_options *options = traffic->options;
    traffic->count = (options->bulk_bytes + options->size - 1) / options->size;
    traffic->last_size = options->bulk_bytes - (traffic->count - 1) * options->size;
    if (traffic->last_size < CLI_SIM_HEADER_BYTES) {
        traffic->last_size = CLI_SIM_HEADER_BYTES;
    }
}

bool cli_sim_traffic_open(struct cli_sim_traffic *traffic, const struct cli_sim_options *options)
{
    *traffic = (struct cli_sim_traffic){
        .options = options, .count = options->messages, .last_size = options->size};
    if (is_bulk(traffic)) {
        plan_bulk(traffic);
    }
    traffic->sent_times = calloc(traffic->count, sizeof(*traffic->sent_times));
    traffic->seen = calloc(traffic->count / 8 + 1, 1);
    traffic->next_by_channel = calloc(options->channels, sizeof(*traffic->next_by_channel));
    traffic->message = malloc(options->size + 8);
    traffic->expected = malloc(options->size + 8);
    return traffic->sent_times != NULL && traffic->seen != NULL &&
           traffic->next_by_channel != NULL && traffic->message != NULL &&
           traffic->expected != NULL;
}

void cli_sim_traffic_close(struct cli_sim_traffic *traffic)
{
    free(traffic->sent_times);
    free(traffic->seen);
    free(traffic->next_by_channel);
    free(traffic->message);
    free(traffic->expected);
    cli_samples_free(&traffic->latencies);
}

weir_nsec cli_sim_traffic_due(const struct cli_sim_traffic *traffic, uint64_t index,
                              weir_nsec start)
{
    return is_bulk(traffic) ? start : start + index * traffic->options->every;
}

uint8_t cli_sim_traffic_channel(const struct cli_sim_traffic *traffic, uint64_t index)
{
    return (uint8_t)(index % traffic->options->channels);
}

size_t cli_sim_traffic_length(const struct cli_sim_traffic *traffic, uint64_t index)
{
    return (size_t)(index + 1 == traffic->count ? traffic->last_size : traffic->options->size);
}

/* A stateless mixer: each word of the pattern depends on seed, index and its place. Multipliers
 * are those of Stafford's variant 13 of the MurmurHash3 finalizer. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* buffer has room for length rounded up to whole words. */
static void fill(const struct cli_sim_traffic *traffic, uint8_t *buffer, uint64_t index,
                 weir_nsec time)
{
    size_t length = cli_sim_traffic_length(traffic, index);
    uint64_t state = mix(traffic->options->seed) ^ mix(~index);
    weir_store64(buffer, index);
    weir_store64(buffer + 8, time);
    for (size_t at = CLI_SIM_HEADER_BYTES; at < length; at += 8) {
        state += 0x9e3779b97f4a7c15u;
        weir_store64(buffer + at, mix(state));
    }
}

struct weir_span cli_sim_traffic_build(struct cli_sim_traffic *traffic, uint64_t index,
                                       weir_nsec time)
{
    fill(traffic, traffic->message, index, time);
    return weir_span_of(traffic->message, cli_sim_traffic_length(traffic, index));
}

void cli_sim_traffic_on_sent(struct cli_sim_traffic *traffic, uint64_t index, weir_nsec time)
{
    traffic->sent_times[index] = time;
    if (traffic->sent++ == 0) {
        traffic->first_sent = time;
    }
    traffic->payload_bytes += cli_sim_traffic_length(traffic, index);
}

static bool is_intact(struct cli_sim_traffic *traffic, uint8_t channel, struct weir_span data)
{
    if (data.length < CLI_SIM_HEADER_BYTES) {
        return false;
    }
    uint64_t index = weir_load64(data.data);
    if (index >= traffic->count || traffic->sent_times[index] == 0 ||
        channel != cli_sim_traffic_channel(traffic, index) ||
        data.length != cli_sim_traffic_length(traffic, index)) {
        return false;
    }
    fill(traffic, traffic->expected, index, traffic->sent_times[index]);
    return memcmp(traffic->expected, data.data, data.length) == 0;
}

void cli_sim_traffic_on_delivered(struct cli_sim_traffic *traffic, uint8_t channel,
                                  struct weir_span data, weir_nsec now)
{
    if (!is_intact(traffic, channel, data)) {
        traffic->corrupted++;
        return;
    }
    uint64_t index = weir_load64(data.data);
    uint8_t bit = (uint8_t)(1u << (index % 8));
    if ((traffic->seen[index / 8] & bit) != 0) {
        traffic->duplicated++;
        return;
    }
    traffic->seen[index / 8] |= bit;
    if (index + 1 > traffic->next_by_channel[channel]) {
        traffic->next_by_channel[channel] = index + 1;
    } else if (traffic->options->guarantee != WEIR_RUDP_NONE) {
        traffic->order_violations++; /* a later one of its channel came first */
    }
    traffic->delivered++;
    traffic->delivered_bytes += data.length;
    traffic->last_delivered = now;
    /* Without memory for one more value the percentiles miss it; nothing else does. */
    (void)cli_samples_add(&traffic->latencies, now - traffic->sent_times[index]);
}
