/* SPDX-License-Identifier: MIT */
/*
 * impair.c - see impair.h.
 *
 * Times: now, the wait in the queue and the link's delays are each bounded so that their sum stays
 * inside 64 bits.
 */
#include "driver/impair.h"

#include "base/assert.h"
#include "base/bytes.h"

enum {
    PPM = 1000000,
    QUEUE_BYTES_DEFAULT = 1 << 20,
    BURST_END_PPM_DEFAULT = 250000,
    IP4_BYTES = 20,
    IP6_BYTES = 40,
    UDP_BYTES = 8
};

static const weir_nsec delay_max = (weir_nsec)1 << 60;
static const weir_nsec queue_wait_max = (weir_nsec)1 << 61;
static const weir_nsec duplicate_delay_max = 2 * WEIR_MSEC;
static const weir_nsec reorder_delay_min = WEIR_MSEC;
static const uint64_t nanobits_per_byte = UINT64_C(8000000000);

void weir_impair_init(struct weir_impair *impair, uint64_t seed)
{
    *impair = (struct weir_impair){0};
    weir_prng_init(&impair->prng, seed);
    enum weir_status status = weir_impair_set_link(impair, &(struct weir_sim_link){0});
    WEIR_ASSERT(status == WEIR_OK);
}

enum weir_status weir_impair_set_link(struct weir_impair *impair, const struct weir_sim_link *link)
{
    if (link->loss_ppm > PPM || link->burst_loss_ppm > PPM || link->burst_end_ppm > PPM ||
        link->reorder_ppm > PPM || link->duplicate_ppm > PPM || link->corrupt_ppm > PPM) {
        return WEIR_ERR_INVALID;
    }
    if (link->delay > delay_max || link->jitter > delay_max || link->reorder_delay > delay_max) {
        return WEIR_ERR_INVALID;
    }
    impair->link = *link;
    if (link->queue_bytes == 0) {
        impair->link.queue_bytes = QUEUE_BYTES_DEFAULT;
    }
    if (link->burst_end_ppm == 0) {
        impair->link.burst_end_ppm = BURST_END_PPM_DEFAULT;
    }
    if (link->mtu_bytes == 0 || link->mtu_bytes > WEIR_IMPAIR_DATAGRAM_MAX) {
        impair->link.mtu_bytes = WEIR_IMPAIR_DATAGRAM_MAX;
    }
    if (link->burst_loss_ppm == 0) {
        impair->is_in_burst = false;
    }
    return WEIR_OK;
}

static bool draw_chance(struct weir_impair *impair, uint32_t ppm)
{
    return ppm > 0 && weir_prng_below(&impair->prng, PPM) < ppm;
}

static weir_nsec draw_between(struct weir_impair *impair, weir_nsec low, weir_nsec high)
{
    return low + weir_prng_below(&impair->prng, high - low + 1);
}

static void drain_queue(struct weir_impair *impair, weir_nsec now)
{
    if (impair->link.rate == 0) {
        impair->backlog_nanobits = 0;
    } else if (now > impair->drained_at) {
        /* elapsed ns * bits/s is nanobits, without rounding. */
        unsigned __int128 gone = (unsigned __int128)(now - impair->drained_at) * impair->link.rate;
        impair->backlog_nanobits =
            impair->backlog_nanobits > gone ? impair->backlog_nanobits - gone : 0;
    }
    impair->drained_at = weir_max_u64(now, impair->drained_at);
}

/* Puts the packet at the queue's end. False when the tail drops it. *departure: when its last bit
 * has left. An idle link takes any packet, also one longer than the queue: it is not queued but
 * being sent. */
static bool enter_queue(struct weir_impair *impair, weir_nsec now,
                        const struct weir_impair_packet *packet, weir_nsec *departure, bool *is_ce)
{
    *departure = now;
    *is_ce = false;
    drain_queue(impair, now);
    if (impair->link.rate == 0) {
        return true;
    }
    uint64_t ip_bytes = packet->length + (packet->family == WEIR_ADDR_IP6 ? IP6_BYTES : IP4_BYTES) +
                        (packet->is_bare ? 0 : UDP_BYTES);
    uint64_t queued =
        (uint64_t)((impair->backlog_nanobits + nanobits_per_byte - 1) / nanobits_per_byte);
    if (queued > 0 && queued + ip_bytes > impair->link.queue_bytes) {
        return false;
    }
    *is_ce = impair->link.ce_queue_bytes > 0 && queued > impair->link.ce_queue_bytes;
    impair->backlog_nanobits += (unsigned __int128)ip_bytes * nanobits_per_byte;
    unsigned __int128 wait = (impair->backlog_nanobits + impair->link.rate - 1) / impair->link.rate;
    *departure = now + (wait < queue_wait_max ? (weir_nsec)wait : queue_wait_max);
    return true;
}

/* Gilbert-Elliott with the two states "all pass" and "all lost": a burst is 1 / burst_end_ppm
 * packets long on average, its first one included. Independent loss comes on top. */
static bool is_lost(struct weir_impair *impair)
{
    if (impair->is_in_burst) {
        impair->is_in_burst = !draw_chance(impair, impair->link.burst_end_ppm);
    } else {
        impair->is_in_burst = draw_chance(impair, impair->link.burst_loss_ppm);
    }
    return impair->is_in_burst || draw_chance(impair, impair->link.loss_ppm);
}

/* Jitter alone must not reorder: nothing arrives before what was sent earlier, so a packet behind
 * a late one is late too. */
static weir_nsec arrive_in_order(struct weir_impair *impair, weir_nsec departure)
{
    weir_nsec at = departure + impair->link.delay;
    if (impair->link.jitter > 0) {
        at += draw_between(impair, 0, impair->link.jitter);
    }
    impair->last_arrival = weir_max_u64(at, impair->last_arrival);
    return impair->last_arrival;
}

static weir_nsec draw_reorder_delay(struct weir_impair *impair)
{
    if (impair->link.reorder_delay > 0) {
        return impair->link.reorder_delay;
    }
    weir_nsec longest = weir_max_u64(2 * WEIR_MSEC, impair->link.delay / 2);
    return draw_between(impair, reorder_delay_min, longest);
}

static bool has_flip(const struct weir_impair_copy *copy, uint32_t bit)
{
    for (uint8_t i = 0; i < copy->flips_count; i++) {
        if (copy->flips[i] == bit) {
            return true;
        }
    }
    return false;
}

/* The bits are distinct: two flips of one bit would leave a packet that is not corrupted. */
static void draw_flips(struct weir_impair *impair, uint32_t length, struct weir_impair_copy *copy)
{
    copy->flips_count = 0;
    if (length == 0 || !draw_chance(impair, impair->link.corrupt_ppm)) {
        return;
    }
    uint32_t bits = length * 8;
    uint64_t wanted = 1 + weir_prng_below(&impair->prng, WEIR_IMPAIR_FLIPS_MAX);
    while (copy->flips_count < wanted) {
        uint32_t bit = (uint32_t)weir_prng_below(&impair->prng, bits);
        while (has_flip(copy, bit)) {
            bit = (bit + 1) % bits;
        }
        copy->flips[copy->flips_count++] = bit;
    }
    impair->stats.corrupted++;
}

static void time_copies(struct weir_impair *impair, weir_nsec departure,
                        struct weir_impair_verdict *verdict)
{
    weir_nsec at = arrive_in_order(impair, departure);
    verdict->copies_count = 1;
    verdict->copies[0].at = at;
    if (draw_chance(impair, impair->link.reorder_ppm)) {
        verdict->copies[0].at = at + draw_reorder_delay(impair);
        impair->stats.reordered++;
    }
    if (draw_chance(impair, impair->link.duplicate_ppm)) {
        verdict->copies_count = 2;
        verdict->copies[1].at =
            verdict->copies[0].at + draw_between(impair, 0, duplicate_delay_max);
        impair->stats.duplicated++;
    }
}

static enum weir_impair_fate judge(struct weir_impair *impair, weir_nsec now,
                                   const struct weir_impair_packet *packet,
                                   struct weir_impair_verdict *verdict)
{
    if (packet->length > impair->link.mtu_bytes) {
        impair->stats.too_large++;
        return WEIR_IMPAIR_TOO_LARGE;
    }
    weir_nsec departure;
    bool is_ce;
    if (!enter_queue(impair, now, packet, &departure, &is_ce)) {
        impair->stats.queue_dropped++;
        return WEIR_IMPAIR_QUEUE_FULL;
    }
    if (is_lost(impair)) {
        impair->stats.lost++;
        return WEIR_IMPAIR_LOST;
    }
    /* RFC 3168 5: only a packet whose sender said that it understands (ECT) is marked. */
    if (is_ce && (packet->ecn == WEIR_ECN_ECT0 || packet->ecn == WEIR_ECN_ECT1)) {
        verdict->ecn = WEIR_ECN_CE;
        impair->stats.ce_marked++;
    }
    time_copies(impair, departure, verdict);
    for (uint8_t i = 0; i < verdict->copies_count; i++) {
        draw_flips(impair, packet->length, &verdict->copies[i]);
    }
    return WEIR_IMPAIR_PASSED;
}

void weir_impair_decide(struct weir_impair *impair, weir_nsec now,
                        const struct weir_impair_packet *packet,
                        struct weir_impair_verdict *verdict)
{
    impair->stats.sent++;
    impair->stats.sent_bytes += packet->length;
    verdict->copies_count = 0;
    verdict->ecn = packet->ecn;
    verdict->fate = judge(impair, now, packet, verdict);
}

void weir_impair_stats_add(struct weir_sim_stats *sum, const struct weir_sim_stats *other)
{
    sum->sent += other->sent;
    sum->delivered += other->delivered;
    sum->lost += other->lost;
    sum->queue_dropped += other->queue_dropped;
    sum->too_large += other->too_large;
    sum->reordered += other->reordered;
    sum->duplicated += other->duplicated;
    sum->corrupted += other->corrupted;
    sum->blackout_dropped += other->blackout_dropped;
    sum->unroutable += other->unroutable;
    sum->ce_marked += other->ce_marked;
    sum->overflow_dropped += other->overflow_dropped;
    sum->sent_bytes += other->sent_bytes;
    sum->delivered_bytes += other->delivered_bytes;
}
