/* SPDX-License-Identifier: MIT */
/*
 * rudp_state.h - the state of a run of fuzz_rudp_endpoint, and what must hold in it at any time.
 */
#ifndef TESTS_FUZZ_RUDP_STATE_H
#define TESTS_FUZZ_RUDP_STATE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rudp/internal.h"

enum {
    CLIENT = 0,
    SERVER = 1,
    ADDRESSES = 8, /* 0 to 3: the client's; 4 to 6: nobody; 7: the server */
    SERVER_ADDRESS = 7,
    CLIENT_ADDRESSES = 4,
    DATAGRAM_MAX = 1500,
    WIRE_MAX = 48,    /* datagrams on their way */
    HISTORY_MAX = 16, /* genuine ones the attacker remembers */
    HANDLES = 4,
    PARCELS = 16,
    OPERATIONS_MAX = 300,
    FRAMES_MAX = 4, /* in a batch from a driver with frames of its own */
    EVENTS_MAX = 4096,
    ROUNDS_MAX = 64,
    IDLE_WAKES_MAX = 6000,
    FINAL_STEPS_MAX = 20000,
    AMPLIFICATION = 3
};

struct datagram {
    uint32_t length;
    uint8_t from, to; /* addresses */
    uint8_t bytes[DATAGRAM_MAX];
};

struct node {
    struct weir_rudp *ep;
    struct weir_slide *slide;
    void *mem, *slide_mem;
    size_t bytes, slide_bytes;
    struct weir_rudp_conn *handles[HANDLES];
    struct weir_packet packets[FRAMES_MAX];
    struct weir_path paths[FRAMES_MAX];
    uint8_t *frames[FRAMES_MAX]; /* heap copies, so that a read past the end is seen */
    uint64_t sent[ADDRESSES], received[ADDRESSES];
    bool is_proved[ADDRESSES];
    struct weir_parcel parcels[PARCELS];
    uint32_t parcels_out; /* sent and not done */
    bool is_slide_used;
};

struct fuzz {
    const uint8_t *at, *end;
    weir_nsec now;
    struct node nodes[2];
    struct datagram wire[WIRE_MAX];
    uint32_t wire_count;
    struct datagram history[HISTORY_MAX];
    uint32_t history_count;
    uint8_t client_address;
    uint8_t answer; /* what the server does with a request */
    bool is_dead;   /* the network passes nothing any more */
    volatile uint32_t sum;
    uint64_t activity; /* events and datagrams so far */
};

#define MUST(condition)                                                           \
    do {                                                                          \
        if (!(condition)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

/* --- the input -------------------------------------------------------------------------------- */

static uint8_t take8(struct fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

static uint32_t take16(struct fuzz *f)
{
    uint32_t high = take8(f);
    return high << 8 | take8(f);
}

static struct node *take_node(struct fuzz *f)
{
    return &f->nodes[take8(f) & 1];
}

static struct weir_addr address(uint8_t index)
{
    struct weir_addr addr = {.ip = {10, 0, 0, index}, .port = 4000, .family = WEIR_ADDR_IP4};
    if (index == 1) {
        addr.ip[3] = 0; /* a rebinding: the same host as 0 */
        addr.port = 4001;
    }
    return addr;
}

static uint8_t address_index(const struct weir_addr *addr)
{
    uint8_t index = 0;
    struct weir_addr each = address(index);
    while (!weir_addr_is_equal(&each, addr)) {
        MUST(++index < ADDRESSES); /* an address that nobody ever used */
        each = address(index);
    }
    return index;
}

/* --- what must hold at any time --------------------------------------------------------------- */

static uint32_t count_chunks(const struct chunk *chunk)
{
    uint32_t count = 0;
    for (; chunk != NULL; chunk = chunk->next) {
        count += chunk != &chunk->message->first;
    }
    return count;
}

struct counts {
    uint32_t awakes, packets, chunks, helds, assemblies;
};

static void count_awake(const struct awake *awake, struct counts *counts)
{
    uint32_t in_flight = 0;
    uint32_t lost = 0;
    uint64_t bytes = 0;
    counts->awakes++;
    for (const struct packet *packet = awake->sent_first; packet; packet = packet->next) {
        counts->packets++;
        counts->chunks += count_chunks(packet->chunks);
        lost += packet->is_lost;
        in_flight += !packet->is_lost;
        bytes += packet->is_lost ? 0 : packet->cc.size_bytes;
    }
    MUST(in_flight == awake->in_flight_packets && lost == awake->lost_kept);
    MUST(bytes == awake->in_flight_bytes);
    counts->chunks += count_chunks(awake->again_first);
    uint32_t helds = 0;
    struct weir_rudp_conn *conn = awake->conn;
    for (uint32_t i = 0; i < weir_rudp_conn_channels(conn); i++) {
        const struct channel *channel = weir_rudp_conn_channel(conn, (uint8_t)i);
        for (const struct held *held = channel->held_first; held; held = held->next) {
            helds++;
            counts->assemblies += held->assembly != NULL;
            MUST(held->next == NULL || held->next->sid >= held->sid);
        }
    }
    MUST(helds == awake->held_count);
    counts->helds += helds;
    for (const struct assembly *each = awake->assemblies; each; each = each->next) {
        counts->assemblies++;
    }
}

static void check_node(const struct node *node)
{
    const struct weir_rudp *ep = node->ep;
    struct counts counts = {0};
    for (uint32_t i = 0; i < ep->conns.touched; i++) {
        const struct weir_rudp_conn *conn = weir_pool_at(&ep->conns, i);
        /* A free element's first bytes are a link; its state stays what it was: free. */
        if (conn->state != STATE_FREE && conn->awake != NULL) {
            count_awake(conn->awake, &counts);
        }
    }
    if (ep->current_held != NULL) {
        counts.helds++;
        counts.assemblies += ep->current_held->assembly != NULL;
    }
    counts.assemblies += ep->current_assembly != NULL;
    MUST(counts.awakes == ep->awakes.used && ep->stats.awake == ep->awakes.used);
    MUST(counts.packets == ep->packets.used && counts.chunks == ep->chunks.used);
    MUST(counts.helds == ep->helds.used && counts.assemblies == ep->assemblies.used);
    MUST(ep->stateless_count <= STATELESS_MAX);
    MUST(weir_store_used_bytes(ep->send_store) <= ep->config.send_bytes);
    MUST(weir_store_used_bytes(ep->assembly_store) <= ep->config.assembly_bytes);
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        MUST(node->is_proved[i] || node->sent[i] <= AMPLIFICATION * node->received[i]);
    }
}

static void check_empty(const struct node *node)
{
    const struct weir_rudp *ep = node->ep;
    check_node(node);
    MUST(ep->conns.used == 0 && ep->stats.connections == 0 && ep->awakes.used == 0);
    MUST(ep->packets.used == 0 && ep->chunks.used == 0);
    MUST(ep->helds.used == 0 && ep->assemblies.used == 0 && ep->channel_blocks.used == 0);
    MUST(weir_store_used_bytes(ep->send_store) == 0);
    MUST(weir_store_used_bytes(ep->assembly_store) == 0 && ep->held_bytes == 0);
    MUST(weir_slide_stats(node->slide)->held_bytes == 0);
    MUST(node->parcels_out == 0);
    for (unsigned i = 0; i < PARCELS; i++) {
        MUST(node->parcels[i].references == 0);
    }
}

/* Why is something always due? */
static void explain(const struct fuzz *f, const struct node *node)
{
    const struct weir_rudp *ep = node->ep;
    (void)fprintf(stderr, "%s at %llu ns, due %llu, ready %u, free records %u, chunks %u\n",
                  node == &f->nodes[CLIENT] ? "client" : "server", (unsigned long long)f->now,
                  (unsigned long long)weir_rudp_next_timeout(ep), ep->ready.first,
                  weir_pool_left(&ep->packets), weir_pool_left(&ep->chunks));
    for (uint32_t i = 0; i < ep->conns.touched; i++) {
        const struct weir_rudp_conn *conn = weir_pool_at(&ep->conns, i);
        const struct awake *a = conn->awake;
        (void)fprintf(stderr, "connection %u: state %u, pending %u, told %d\n", i, conn->state,
                      conn->pending, conn->is_closed_told);
        if (conn->state == STATE_FREE || a == NULL) {
            continue;
        }
        const weir_nsec times[] = {a->attempt_at, a->deadline,     a->deadline_next, a->ack_at,
                                   a->loss_time,  a->challenge_at, a->mtu.again,     a->flush_at};
        for (unsigned k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
            (void)fprintf(stderr, " %lld", times[k] == WEIR_NEVER ? -1 : (long long)times[k]);
        }
        (void)fprintf(stderr, " loss timer %llu, in flight %u, lost %u, close %d\n",
                      (unsigned long long)weir_rudp_loss_timer(conn), a->in_flight_packets,
                      a->lost_kept, a->is_close_wanted);
    }
}

#endif
