/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tcp_endpoint.c - a client and a server in virtual time, driven by the input: user calls,
 * time, a bad network, and an attacker who knows every number and writes segments into any
 * connection.
 *
 * The first bytes choose the settings; then each byte is an operation, followed by its arguments.
 * Checked besides crashes: events and due timers come to an end; nobody spins; after aborting
 * everything nothing is left.
 */
#include <stdlib.h>
#include <string.h>

#include "tcp/internal.h"
#include "weir/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CONNS = 4,
    WIRE_MAX = 64,
    SEGMENT_MAX = 2048,
    EVENTS_MAX = 100000,
    IDLE_WAKES_MAX = 3000,
    OPERATIONS_MAX = 1000
};

#define MUST(condition) ((condition) ? (void)0 : abort())

struct flying {
    uint8_t bytes[SEGMENT_MAX];
    uint32_t length;
    unsigned to;
};

struct node {
    struct weir_tcp *tcp;
    struct weir_slide *slide;
    void *mem, *slide_mem;
    size_t mem_bytes, slide_bytes;
    struct weir_tcp_conn *conns[CONNS];
    struct weir_path path;
    struct weir_packet packet;
};

static struct fuzz {
    struct node nodes[2]; /* client, server */
    struct flying wire[WIRE_MAX];
    unsigned wire_count;
    const uint8_t *at, *end;
    weir_nsec now;
    uint64_t activity, sum;
    unsigned parcels_out;
    struct weir_parcel parcel;
} fuzz;

static const uint8_t payload[6000] = {1, 2, 3};

static uint8_t take8(void)
{
    return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

static uint32_t take16(void)
{
    uint32_t high = take8();
    return high << 8 | take8();
}

/* --- set-up ----------------------------------------------------------------------------------- */

static void open_node(unsigned index, const struct weir_tcp_config *settings)
{
    struct node *node = &fuzz.nodes[index];
    const uint8_t seed[32] = {(uint8_t)index};
    struct weir_slide_config slide = {
        .size_bytes = 65536, .batch_bytes_max = 8192, .secondary_bytes = 65536};
    struct weir_tcp_config config = *settings;
    struct weir_addr local;
    int listener;
    node->slide_bytes = weir_slide_mem_size(&slide);
    node->slide_mem = weir_mem_map(node->slide_bytes);
    MUST(weir_slide_init(node->slide_mem, &slide, &node->slide) == WEIR_OK);
    config.slide = node->slide;
    node->mem_bytes = weir_tcp_mem_size(&config);
    MUST(node->mem_bytes > 0);
    node->mem = weir_mem_map(node->mem_bytes);
    MUST(weir_tcp_init(node->mem, &config, seed, fuzz.now, &node->tcp) == WEIR_OK);
    MUST(weir_addr_parse(index == 0 ? "10.0.0.2:80" : "10.0.0.1:0", &node->path.remote) == WEIR_OK);
    MUST(weir_addr_parse(index == 0 ? "10.0.0.1:0" : "10.0.0.2:80", &local) == WEIR_OK);
    node->path.local = local;
    if (index == 1) {
        MUST(weir_tcp_listen(node->tcp, &local, &listener) == WEIR_OK);
    }
}

static void draw_settings(struct weir_tcp_config *config)
{
    weir_tcp_config_default(config);
    uint8_t bits = take8();
    uint8_t more = take8();
    config->connections_max = 6;
    config->connections6_max = 0;
    config->awake_max = (bits & 1) != 0 ? 2 : 6;
    config->segments_max = (bits & 2) != 0 ? 16 : 256;
    config->held_max = (bits & 4) != 0 ? 16 : 256;
    config->reordering_max = (bits & 8) != 0 ? 1 : 6;
    config->send_bytes = 65536;
    config->cc = (enum weir_cc_kind)(more & 3);
    config->has_timestamps = (bits & 16) != 0;
    config->is_ecn = (bits & 32) != 0;
    config->is_cookie_only = (bits & 64) != 0;
    config->receive_window = (bits & 128) != 0 ? 2048 : 200000;
    config->has_users = (more & 4) != 0;
    config->tuning.keepalive = (more & 8) != 0 ? 30 * WEIR_SEC : 0;
    config->tuning.sleep_after = (more & 16) != 0 ? 0 : WEIR_SEC;
    config->tuning.is_nodelay = (more & 32) != 0;
    config->tuning.time_wait = (more & 64) != 0 ? 60 * WEIR_SEC : 5 * WEIR_SEC;
    config->mtu_bytes = (uint16_t)(296 + take8() * 6);
    uint8_t last = take8();
    config->is_fast_open = (last & 1) != 0;
    config->fast_open_max = (last & 2) != 0 ? 1 : 256;
    config->fast_open_servers_max = 2;
    config->tuning.is_user_timeout_advertised = (last & 4) != 0;
    config->is_mtu_fixed = (last & 8) != 0;
}

/* --- events and output ------------------------------------------------------------------------ */

static void keep_conn(struct node *node, struct weir_tcp_conn *conn)
{
    for (unsigned i = 0; i < CONNS; i++) {
        if (node->conns[i] == NULL) {
            node->conns[i] = conn;
            return;
        }
    }
    (void)weir_tcp_abort(node->tcp, conn);
}

static void on_event(struct node *node, const struct weir_tcp_event *event)
{
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        if (event->opened.listener >= 0) {
            keep_conn(node, event->conn);
        }
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            fuzz.sum += event->data.span.data[i];
        }
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        MUST(fuzz.parcels_out > 0);
        fuzz.parcels_out--;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        for (unsigned i = 0; i < CONNS; i++) {
            if (node->conns[i] == event->conn) {
                node->conns[i] = NULL;
            }
        }
        break;
    case WEIR_TCP_EVENT_WRITABLE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_PEER_CLOSED:
    case WEIR_TCP_EVENT_ROOM:
        break;
    }
}

static void drain(struct node *node)
{
    struct weir_tcp_event event;
    unsigned count = 0;
    while (weir_tcp_event(node->tcp, &event) == WEIR_OK) {
        MUST(++count < EVENTS_MAX);
        fuzz.activity++;
        on_event(node, &event);
    }
}

static void launch(unsigned from, const struct weir_transmit *transmit)
{
    if (fuzz.wire_count == WIRE_MAX || transmit->length > SEGMENT_MAX) {
        return; /* lost */
    }
    struct flying *flying = &fuzz.wire[fuzz.wire_count++];
    memcpy(flying->bytes, transmit->data, transmit->length);
    flying->length = transmit->length;
    flying->to = 1 - from;
}

static void service_node(unsigned index)
{
    static uint8_t buffer[1 << 16];
    struct weir_transmit transmits[32];
    struct node *node = &fuzz.nodes[index];
    enum weir_status status;
    weir_tcp_timeout(node->tcp, fuzz.now);
    drain(node);
    do {
        struct weir_tx tx = {.buffer = buffer,
                             .buffer_bytes = sizeof(buffer),
                             .transmits = transmits,
                             .transmits_max = 32};
        status = weir_tcp_output(node->tcp, fuzz.now, &tx);
        MUST(status == WEIR_AGAIN || tx.count > 0);
        fuzz.activity += tx.count;
        for (uint32_t i = 0; i < tx.count; i++) {
            launch(index, &transmits[i]);
        }
        drain(node);
    } while (status == WEIR_OK);
}

static void service(void)
{
    service_node(0);
    service_node(1);
}

static void deliver(unsigned to, const uint8_t *bytes, uint32_t length, bool is_checked)
{
    struct node *node = &fuzz.nodes[to];
    static struct weir_path path;
    struct weir_mut_span room = weir_slide_room(node->slide);
    path = node->path;
    path.local.port = path.remote.port = 0;
    memcpy(room.data, bytes, length);
    weir_slide_received(node->slide, length);
    node->packet = (struct weir_packet){.data = room.data,
                                        .length = length,
                                        .path = &path,
                                        .is_checked = is_checked,
                                        .ecn = (uint8_t)(length & 3)};
    weir_tcp_input(node->tcp, fuzz.now, &node->packet, 1);
    drain(node);
}

/* --- operations ------------------------------------------------------------------------------- */

static void op_call(uint8_t how)
{
    struct node *node = &fuzz.nodes[how & 1];
    struct weir_tcp_conn *conn = node->conns[how >> 1 & 3];
    if (conn == NULL) {
        if ((how & 1) == 0 &&
            weir_tcp_connect(node->tcp, fuzz.now, &node->path, NULL, &conn) == WEIR_OK) {
            node->conns[how >> 1 & 3] = conn;
        }
        return;
    }
    switch (how >> 3 & 7) {
    case 0:
        (void)weir_tcp_close(node->tcp, conn);
        break;
    case 1:
        (void)weir_tcp_abort(node->tcp, conn);
        break;
    case 2:
    case 3:
        (void)weir_tcp_pause(node->tcp, conn, (how >> 3 & 1) != 0);
        break;
    case 4:
    case 5:
        (void)weir_tcp_cork(node->tcp, conn, (how >> 3 & 1) != 0);
        break;
    case 6:
        weir_tcp_urgent(node->tcp, conn);
        break;
    default:
        (void)weir_tcp_nodelay(node->tcp, conn, true);
        break;
    }
}

static void op_send(uint8_t how)
{
    struct node *node = &fuzz.nodes[how & 1];
    struct weir_tcp_conn *conn = node->conns[how >> 1 & 3];
    uint32_t length = take16() % sizeof(payload);
    if (conn == NULL) {
        return;
    }
    for (unsigned i = 0; i <= (how >> 4 & 7); i++) {
        if ((how & 8) != 0) {
            fuzz.parcel.data = payload;
            fuzz.parcel.length = (uint32_t)sizeof(payload);
            fuzz.parcels_out += weir_tcp_send_parcel(node->tcp, conn, &fuzz.parcel) == WEIR_OK;
        } else if (weir_tcp_send(node->tcp, conn, payload, length) != WEIR_OK) {
            return;
        }
    }
}

static void op_arrive(uint8_t how)
{
    if (fuzz.wire_count == 0) {
        return;
    }
    unsigned index = how % fuzz.wire_count;
    struct flying flying = fuzz.wire[index];
    if ((how & 0x80) == 0) { /* else it arrives twice */
        fuzz.wire[index] = fuzz.wire[--fuzz.wire_count];
    }
    deliver(flying.to, flying.bytes, flying.length, false);
}

/* Time goes on, to the next timer or beyond. Timers that are due must be done at some time. */
static void op_wait(void)
{
    weir_nsec until = fuzz.now + take16() * (1 + (weir_nsec)take8()) * WEIR_MSEC / 64;
    uint64_t activity = fuzz.activity;
    unsigned wakes = 0;
    for (;;) {
        weir_nsec next = weir_min_u64(weir_tcp_next_timeout(fuzz.nodes[0].tcp),
                                      weir_tcp_next_timeout(fuzz.nodes[1].tcp));
        if (next > until) {
            break;
        }
        bool is_later = next > fuzz.now + WEIR_MSEC; /* a sweep, or a timer far away */
        fuzz.now = next > fuzz.now ? next : fuzz.now;
        service();
        wakes = fuzz.activity == activity && !is_later ? wakes + 1 : 0;
        activity = fuzz.activity;
        MUST(wakes < IDLE_WAKES_MAX);
    }
    fuzz.now = until;
}

/* A segment near the numbers of a connection that is awake. */
static void op_forge(uint8_t how)
{
    struct node *node = &fuzz.nodes[how & 1];
    struct weir_tcp_conn *conn = node->conns[how >> 1 & 3];
    uint8_t bytes[SEGMENT_MAX];
    struct weir_tcp_segment segment = {.source = 80, .target = 1024, .flags = take8()};
    int32_t seq = (int16_t)take16();
    int32_t ack = (int16_t)take16();
    segment.seq = (uint32_t)seq;
    segment.ack = (uint32_t)ack;
    segment.window = (uint16_t)take16();
    uint32_t length = take16() % (SEGMENT_MAX - WEIR_TCP_HEADER_MAX);
    segment.options =
        take8() & (WEIR_TCP_HAS_MSS | WEIR_TCP_HAS_SCALE | WEIR_TCP_HAS_SACK_PERMITTED |
                   WEIR_TCP_HAS_TIMESTAMPS | WEIR_TCP_HAS_USER_TIMEOUT | WEIR_TCP_HAS_COOKIE);
    segment.mss = (uint16_t)take16();
    segment.scale = segment.mss & 15;
    segment.urgent = segment.user_timeout = segment.mss;
    /* Right ones too, or no data would ever come with a SYN. */
    uint8_t cookie[WEIR_TCP_COOKIE_MAX] = {how};
    struct weir_path fast_path = node->path;
    weir_tcp_fast_cookie(node->tcp, &fast_path, cookie);
    segment.cookie = weir_span_of(cookie, (how & 32) != 0 ? FAST_COOKIE_BYTES : 0);
    segment.sack_count = how >> 6;
    if (conn != NULL) {
        struct weir_path path = weir_tcp_path(node->tcp, conn);
        const struct awake *awake = weir_tcp_awake_of(node->tcp, conn);
        segment.source = path.remote.port;
        segment.target = path.local.port;
        if (awake != NULL) {
            segment.seq += awake->rcv_nxt;
            segment.ack += awake->snd_una;
            segment.ts_value = awake->ts_recent + segment.window;
            segment.ts_echo = weir_tcp_timestamp(awake);
        }
    }
    for (unsigned i = 0; i < segment.sack_count; i++) {
        segment.sacks[i].first = segment.ack + take16();
        segment.sacks[i].end = segment.sacks[i].first + take16();
    }
    uint32_t header = weir_tcp_encode(bytes, &segment);
    memset(bytes + header, how, length);
    deliver(how & 1, bytes, header + length, true);
}

static void op_raw(uint8_t how)
{
    uint8_t bytes[64];
    uint32_t length = how >> 1 & 63;
    for (uint32_t i = 0; i < length; i++) {
        bytes[i] = take8();
    }
    deliver(how & 1, bytes, length, (how & 0x80) != 0);
}

static void op_unreached(uint8_t how)
{
    struct node *node = &fuzz.nodes[how & 1];
    struct weir_tcp_conn *conn = node->conns[how >> 1 & 3];
    const struct awake *awake = conn != NULL ? weir_tcp_awake_of(node->tcp, conn) : NULL;
    uint8_t bytes[8];
    if (awake == NULL) {
        return;
    }
    struct weir_path path = node->path;
    weir_store16(bytes, awake->path.local.port);
    weir_store16(bytes + 2, awake->path.remote.port);
    weir_store32(bytes + 4, awake->snd_una + take8());
    node->packet = (struct weir_packet){.data = bytes,
                                        .length = sizeof(bytes),
                                        .path = &path,
                                        .protocol = WEIR_PROTOCOL_UNREACHED,
                                        .mtu_bytes = take16(),
                                        .unreached = how >> 5};
    weir_tcp_input(node->tcp, fuzz.now, &node->packet, 1);
    drain(node);
}

static void step(void)
{
    static void (*const operations[])(uint8_t) = {op_call,  op_send, op_arrive,   op_arrive,
                                                  op_forge, op_raw,  op_unreached};
    uint8_t operation = take8();
    uint8_t how = take8();
    if ((operation & 0x7f) % 8 == 7) {
        op_wait();
    } else {
        operations[(operation & 0x7f) % 8](how);
    }
    if ((operation & 0x80) == 0) {
        service();
    }
}

static void end_all(void)
{
    for (unsigned round = 0; round < 2; round++) {
        service();
        for (unsigned i = 0; i < 2; i++) {
            struct node *node = &fuzz.nodes[i];
            for (unsigned k = 0; k < CONNS; k++) {
                if (node->conns[k] != NULL) {
                    (void)weir_tcp_abort(node->tcp, node->conns[k]);
                }
            }
        }
    }
    service();
    for (unsigned i = 0; i < 2; i++) {
        const struct node *node = &fuzz.nodes[i];
        bool is_left = node->tcp->stats.half_open > 0 || node->tcp->awake.count > 0;
        for (unsigned k = 0; k < CONNS; k++) {
            is_left |= node->conns[k] != NULL;
        }
        if (!is_left) {
            MUST(node->tcp->awakes.used == 0 && node->tcp->segments.used == 0);
            MUST(node->tcp->helds.used == 0 && node->tcp->holes.used == 0);
            MUST(weir_store_used_bytes(node->tcp->send_store) == 0);
            MUST(weir_slide_stats(node->slide)->held_bytes == 0);
        }
        MUST(node->tcp->stats.awake == node->tcp->awake.count);
        weir_mem_unmap(node->mem, node->mem_bytes);
        weir_mem_unmap(node->slide_mem, node->slide_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_tcp_config config;
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.at = data;
    fuzz.end = data + size;
    fuzz.now = 5000 * WEIR_SEC;
    draw_settings(&config);
    open_node(0, &config);
    open_node(1, &config);
    for (unsigned i = 0; fuzz.at < fuzz.end && i < OPERATIONS_MAX; i++) {
        step();
    }
    end_all();
    return 0;
}
