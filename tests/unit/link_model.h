/* SPDX-License-Identifier: MIT */
/*
 * link_model.h - a bottleneck link with senders, packet by packet in virtual time.
 *
 * Role: shows what a congestion controller reaches, without any engine. Data packets of all flows
 * share one queue with tail drop, then a link of a fixed rate, a delay and random loss; ACKs come
 * back after the rest of the round trip. Senders detect loss by packet and time threshold and probe
 * on timeout (RFC 9002 section 6), and pace.
 */
#ifndef TESTS_LINK_MODEL_H
#define TESTS_LINK_MODEL_H

#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "core/cc.h"
#include "core/pacer.h"
#include "core/rtt.h"

enum {
    LINK_FLOWS_MAX = 4,
    LINK_PACKETS_MAX = 1 << 15, /* in flight of one flow */
    LINK_PACKET_BYTES = 1200
};

struct link_packet {
    struct weir_cc_packet cc;
    weir_nsec ack_time; /* WEIR_NEVER: dropped on the way */
    bool is_outstanding;
};

struct link_flow {
    struct weir_cc cc;
    struct weir_pacer pacer;
    struct weir_rtt rtt;
    struct link_packet packets[LINK_PACKETS_MAX];
    uint64_t next, oldest; /* numbers of the next packet to send and the oldest outstanding */
    uint64_t to_ack;       /* first packet whose fate is not known to the receiver's side */
    uint64_t largest_acked;
    uint64_t unpaired; /* received and waiting for a second one to be acknowledged with */
    uint64_t in_flight_bytes, acked_bytes, lost_packets, sent_packets;
    weir_nsec start_time, last_sent, loss_time, last_ack_time;
    uint32_t pto_count;
    bool has_acked, has_unpaired;
};

struct link_model {
    struct weir_prng prng;
    weir_nsec now, link_free;
    uint64_t rate;        /* bytes/s */
    weir_nsec rtt;        /* without any queue */
    weir_nsec jitter;     /* of the ACKs, at most; 0: none, and then flows fall into step */
    uint64_t queue_bytes; /* room */
    uint32_t loss_ppm;
    uint32_t ack_every; /* 1 or 2 packets */
    uint32_t flow_count;
    uint64_t drops;
    struct link_flow flows[LINK_FLOWS_MAX];
};

static void link_init(struct link_model *link, uint64_t seed)
{
    memset(link, 0, sizeof(*link));
    weir_prng_init(&link->prng, seed);
    link->rate = 100000000 / 8;
    link->rtt = 40 * WEIR_MSEC;
    link->queue_bytes = 250000;
    link->ack_every = 1;
}

static struct link_flow *link_add_flow(struct link_model *link, enum weir_cc_kind kind,
                                       weir_nsec start_time, uint64_t seed)
{
    assert_true(link->flow_count < LINK_FLOWS_MAX);
    struct link_flow *flow = &link->flows[link->flow_count++];
    weir_cc_init(&flow->cc, kind, LINK_PACKET_BYTES, start_time, seed);
    weir_rtt_init(&flow->rtt, 333 * WEIR_MSEC);
    weir_pacer_init(&flow->pacer, 2 * LINK_PACKET_BYTES, 65536);
    flow->start_time = start_time;
    flow->loss_time = WEIR_NEVER;
    return flow;
}

static struct link_packet *link_packet(struct link_flow *flow, uint64_t number)
{
    return &flow->packets[number % LINK_PACKETS_MAX];
}

/* When the packet reaches the receiver; WEIR_NEVER when it is dropped. */
static weir_nsec link_transit(struct link_model *link)
{
    weir_nsec backlog = link->link_free > link->now ? link->link_free - link->now : 0;
    uint64_t queued = backlog * link->rate / WEIR_SEC;
    if (queued + LINK_PACKET_BYTES > link->queue_bytes) {
        link->drops++;
        return WEIR_NEVER;
    }
    link->link_free = link->now + backlog + LINK_PACKET_BYTES * WEIR_SEC / link->rate;
    if (weir_prng_below(&link->prng, 1000000) < link->loss_ppm) {
        return WEIR_NEVER;
    }
    return link->link_free + link->rtt / 2;
}

static void link_send(struct link_model *link, struct link_flow *flow)
{
    assert_true(flow->next - flow->oldest < LINK_PACKETS_MAX);
    struct link_packet *packet = link_packet(flow, flow->next);
    weir_cc_on_sent(&flow->cc, link->now, LINK_PACKET_BYTES, flow->in_flight_bytes, &packet->cc);
    weir_pacer_on_sent(&flow->pacer, LINK_PACKET_BYTES);
    flow->in_flight_bytes += LINK_PACKET_BYTES;
    flow->last_sent = link->now;
    flow->sent_packets++;
    packet->is_outstanding = true;
    weir_nsec arrival = link_transit(link);
    packet->ack_time = WEIR_NEVER;
    if (arrival != WEIR_NEVER) {
        weir_nsec back = link->rtt - link->rtt / 2;
        if (link->jitter > 0) {
            back += weir_prng_below(&link->prng, link->jitter);
        }
        /* ACKs keep their order. */
        packet->ack_time = weir_max_u64(arrival + back, flow->last_ack_time);
        flow->last_ack_time = packet->ack_time;
        if (link->ack_every == 2 && !flow->has_unpaired) {
            /* Acknowledged with the next one, or after 25 ms. */
            packet->ack_time += 25 * WEIR_MSEC;
            flow->unpaired = flow->next;
            flow->has_unpaired = true;
        } else if (link->ack_every == 2) {
            struct link_packet *first = link_packet(flow, flow->unpaired);
            if (first->ack_time > packet->ack_time) {
                first->ack_time = packet->ack_time;
            }
            flow->has_unpaired = false;
        }
    }
    flow->next++;
}

/* RFC 9002 6.1: packet threshold 3 and time threshold. */
static void link_detect_losses(struct link_model *link, struct link_flow *flow)
{
    weir_nsec delay = weir_rtt_loss_delay(&flow->rtt, WEIR_MSEC);
    struct weir_cc_packet newest = {0};
    struct weir_cc_loss loss = {.now = link->now, .newest = &newest};
    flow->loss_time = WEIR_NEVER;
    for (uint64_t n = flow->oldest; n < flow->largest_acked; n++) {
        struct link_packet *packet = link_packet(flow, n);
        if (!packet->is_outstanding) {
            continue;
        }
        if (n + 3 > flow->largest_acked && packet->cc.sent_time + delay > link->now) {
            if (flow->loss_time == WEIR_NEVER) {
                flow->loss_time = packet->cc.sent_time + delay;
            }
            continue;
        }
        packet->is_outstanding = false;
        flow->in_flight_bytes -= LINK_PACKET_BYTES;
        flow->lost_packets++;
        loss.lost_bytes += LINK_PACKET_BYTES;
        newest = packet->cc;
    }
    if (loss.lost_bytes > 0) {
        loss.in_flight_bytes = flow->in_flight_bytes;
        weir_cc_on_loss(&flow->cc, &loss);
    }
}

/* One ACK: everything that the receiver had acknowledged by now. */
static void link_on_ack(struct link_model *link, struct link_flow *flow)
{
    struct weir_cc_packet newest = {0};
    struct weir_cc_ack ack = {.now = link->now, .newest = &newest, .rtt = &flow->rtt};
    while (flow->to_ack < flow->next) {
        struct link_packet *packet = link_packet(flow, flow->to_ack);
        if (packet->ack_time != WEIR_NEVER && packet->ack_time > link->now) {
            break;
        }
        if (packet->ack_time != WEIR_NEVER && packet->is_outstanding) {
            packet->is_outstanding = false;
            flow->in_flight_bytes -= LINK_PACKET_BYTES;
            flow->largest_acked = flow->to_ack;
            ack.acked_bytes += LINK_PACKET_BYTES;
            newest = packet->cc;
        }
        flow->to_ack++;
    }
    if (ack.acked_bytes == 0) {
        return;
    }
    flow->pto_count = 0;
    flow->acked_bytes += ack.acked_bytes;
    ack.rtt_sample = link->now - newest.sent_time;
    weir_rtt_sample(&flow->rtt, ack.rtt_sample, 0);
    link_detect_losses(link, flow);
    ack.in_flight_bytes = flow->in_flight_bytes;
    weir_cc_on_ack(&flow->cc, &ack);
    while (flow->oldest < flow->next && !link_packet(flow, flow->oldest)->is_outstanding) {
        flow->oldest++;
    }
}

static weir_nsec link_ack_time(struct link_flow *flow)
{
    for (uint64_t n = flow->to_ack; n < flow->next; n++) {
        weir_nsec time = link_packet(flow, n)->ack_time;
        if (time != WEIR_NEVER) {
            return time;
        }
    }
    return WEIR_NEVER;
}

static weir_nsec link_send_time(const struct link_model *link, struct link_flow *flow)
{
    if (flow->in_flight_bytes + LINK_PACKET_BYTES > flow->cc.window_bytes) {
        return WEIR_NEVER;
    }
    if (link->now < flow->start_time) {
        return flow->start_time;
    }
    (void)weir_pacer_allowance(&flow->pacer, link->now, flow->cc.pacing_rate);
    return weir_pacer_next(&flow->pacer, flow->cc.pacing_rate, LINK_PACKET_BYTES);
}

static weir_nsec link_pto_time(const struct link_flow *flow)
{
    if (flow->in_flight_bytes == 0) {
        return WEIR_NEVER;
    }
    weir_nsec pto = weir_rtt_pto(&flow->rtt, WEIR_MSEC, 25 * WEIR_MSEC);
    return flow->last_sent + (pto << flow->pto_count);
}

static void link_run_flow(struct link_model *link, struct link_flow *flow)
{
    if (link_ack_time(flow) <= link->now) {
        link_on_ack(link, flow);
    }
    if (flow->loss_time <= link->now) {
        link_detect_losses(link, flow);
    }
    if (link_pto_time(flow) <= link->now) {
        flow->pto_count++;
        link_send(link, flow);
    }
    while (link_send_time(link, flow) <= link->now) {
        link_send(link, flow);
    }
}

/* Until the time end, or until the first flow had acked_bytes acknowledged. */
static void link_run(struct link_model *link, weir_nsec end, uint64_t acked_bytes)
{
    while (link->now < end && link->flows[0].acked_bytes < acked_bytes) {
        weir_nsec next = end;
        for (uint32_t i = 0; i < link->flow_count; i++) {
            struct link_flow *flow = &link->flows[i];
            link_run_flow(link, flow);
            next = weir_min_u64(next, weir_min_u64(link_ack_time(flow), flow->loss_time));
            next = weir_min_u64(next, link_send_time(link, flow));
            next = weir_min_u64(next, link_pto_time(flow));
        }
        link->now = weir_max_u64(next, link->now + 1);
    }
}

#endif
