/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kcp_endpoint.c - a client and a server in virtual time, driven by the input: user calls,
 * time, a bad network, and an attacker who writes segments of his own into any session.
 *
 * The first bytes choose the settings, ciphers and FEC too; then each byte is an operation,
 * followed by its arguments.
 * Checked besides crashes: events and due timers come to an end; nobody spins; windows and pools
 * agree with what is in them; after aborting everything nothing is left.
 */
#include <stdlib.h>
#include <string.h>

#include "kcp/fec_internal.h"
#include "kcp/internal.h"
#include "weir/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CONVS = 4,
    WIRE_MAX = 64,
    DATAGRAM_MAX = 2048,
    EVENTS_MAX = 100000,
    IDLE_WAKES_MAX = 3000,
    OPERATIONS_MAX = 2000
};

#define MUST(condition) ((condition) ? (void)0 : abort())

struct datagram {
    uint8_t bytes[DATAGRAM_MAX];
    uint32_t length;
    unsigned to;
};

struct node {
    struct weir_kcp *kcp;
    struct weir_slide *slide;
    void *mem, *slide_mem;
    size_t mem_bytes, slide_bytes;
    struct weir_kcp_conn *conns[CONVS];
    struct weir_path path; /* of the peer */
    struct weir_packet packet;
};

static struct fuzz {
    struct node nodes[2]; /* client, server */
    struct datagram wire[WIRE_MAX];
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

static void open_node(unsigned index, const struct weir_kcp_config *settings)
{
    struct node *node = &fuzz.nodes[index];
    const uint8_t seed[32] = {(uint8_t)index};
    struct weir_slide_config slide = {
        .size_bytes = 65536, .batch_bytes_max = 8192, .secondary_bytes = 65536};
    struct weir_kcp_config config = *settings;
    node->slide_bytes = weir_slide_mem_size(&slide);
    node->slide_mem = weir_mem_map(node->slide_bytes);
    MUST(weir_slide_init(node->slide_mem, &slide, &node->slide) == WEIR_OK);
    config.slide = node->slide;
    config.is_accepting = index == 1;
    node->mem_bytes = weir_kcp_mem_size(&config);
    MUST(node->mem_bytes > 0);
    node->mem = weir_mem_map(node->mem_bytes);
    MUST(weir_kcp_init(node->mem, &config, seed, fuzz.now, &node->kcp) == WEIR_OK);
    MUST(weir_addr_parse(index == 0 ? "10.0.0.2:2" : "10.0.0.1:1", &node->path.remote) == WEIR_OK);
}

/* With FEC an address has one session. */
static void draw_layers(struct weir_kcp_config *config)
{
    static const enum weir_kcp_cipher ciphers[] = {WEIR_KCP_CIPHER_NIL, WEIR_KCP_CIPHER_NONE,
                                                   WEIR_KCP_CIPHER_AES_128_GCM,
                                                   WEIR_KCP_CIPHER_BLOWFISH};

    static const uint8_t groups[][2] = {{0, 0}, {1, 1}, {3, 2}, {10, 3}};
    uint8_t bits = take8();
    config->cipher = ciphers[bits & 3];
    if ((bits & 4) != 0) {
        config->address_policy = WEIR_KCP_ADDRESS_REPLACE;
        config->is_fec = true;
        config->fec_data = groups[bits >> 3 & 3][0];
        config->fec_parity = groups[bits >> 3 & 3][1];
        config->fec_buffers_max = 1 + (bits >> 5) * 4U;
    }
}

static void draw_settings(struct weir_kcp_config *config)
{
    struct weir_kcp_tuning *tuning = &config->tuning;
    weir_kcp_config_default(config);
    uint8_t bits = take8();
    uint8_t more = take8();
    config->connections_max = 6;
    config->awake_max = (bits & 1) != 0 ? 2 : 6;
    config->pending_max = 2;
    config->send_bytes = config->window_bytes = 65536;
    config->held_max = 512;
    config->address_policy = (enum weir_kcp_address_policy)((bits >> 1) % 3);
    config->cc = (enum weir_cc_kind)(more & 3);
    tuning->nodelay = (uint8_t)((bits >> 3) % 3);
    tuning->resend = (uint8_t)(more >> 2 & 3);
    tuning->is_window_fixed = (bits & 0x20) != 0;
    tuning->is_stream = (bits & 0x40) != 0;
    tuning->is_write_delayed = (bits & 0x80) != 0;
    tuning->is_ack_no_delay = (more & 0x10) != 0;
    tuning->is_ack_coalesced = (more & 0x20) != 0;
    tuning->is_early_retransmit = (more & 0x40) != 0;
    tuning->is_reorder_tolerant = (more & 0x80) != 0;
    tuning->interval_ms = (uint16_t)(1 + take8());
    tuning->send_window = (uint16_t)(1 + take8() * 4);
    tuning->receive_window = (uint16_t)(1 + take8() * 4);
    tuning->mtu_bytes = (uint16_t)(50 + take8() * 6);
    tuning->dead_link = take8();
    draw_layers(config);
}

/* --- what must hold --------------------------------------------------------------------------- */

static void check_awake(const struct weir_kcp *ep, const struct awake *awake)
{
    uint32_t in_flight = awake->snd_nxt - awake->snd_una;
    MUST(in_flight <= WEIR_KCP_WINDOW_MAX);
    uint32_t queued = awake->rcv_nxt - awake->take_nxt;
    MUST(queued <= ep->config.tuning.receive_window && awake->held_count >= queued);
    MUST(awake->whole_nxt - awake->take_nxt <= queued);
    MUST(awake->ack_count <= awake->ack_max && awake->ack_sent <= awake->ack_count);
    MUST(awake->rto_ms <= RTO_MAX_MS);
    if (awake->flight == NULL || in_flight == 0) {
        return;
    }
    uint32_t in_calendar = 0;
    uint32_t unacknowledged = 0;
    for (uint32_t day = 0; day < CALENDAR_SLOTS; day++) {
        uint16_t index = awake->flight->first_of_day[day];
        bool is_used = (awake->flight->used[day / 64] >> day % 64 & 1) != 0;
        MUST(is_used == (index != SLOT_NONE));
        for (; index != SLOT_NONE; index = awake->flight->slots[index].day_next) {
            MUST(awake->flight->slots[index].day == day && ++in_calendar <= in_flight);
        }
    }
    for (uint32_t i = 0; i < in_flight; i++) {
        const struct slot *slot = &awake->flight->slots[(awake->snd_una + i) & awake->flight->mask];
        unacknowledged += slot->message != NULL;
    }
    MUST(in_calendar == unacknowledged);
}

static void check_node(const struct node *node)
{
    const struct weir_kcp *ep = node->kcp;
    uint64_t place = 0;
    uint32_t held = 0;
    uint32_t awakes = 0;
    const struct weir_kcp_conn *conn;
    while ((conn = weir_table_walk(&ep->table, &place)) != NULL) {
        if (conn->is_awake) {
            const struct awake *awake = weir_kcp_awake_of(conn);
            MUST(awake->conn == conn);
            held += awake->held_count;
            awakes++;
            check_awake(ep, awake);
        }
    }
    for (uint32_t index = ep->borrowed; index != HELD_NONE; held++) {
        index = ((struct held *)weir_pool_at(&ep->helds, index))->next;
    }
    MUST(held == ep->helds.used && awakes == ep->stats.awake);
}

/* --- events and the network ------------------------------------------------------------------- */

static void forget(struct node *node, const struct weir_kcp_conn *conn)
{
    for (unsigned i = 0; i < CONVS; i++) {
        if (node->conns[i] == conn) {
            node->conns[i] = NULL;
        }
    }
}

static void on_request(struct node *node, struct weir_kcp_conn *conn)
{
    for (unsigned i = 0; i < CONVS; i++) {
        if (node->conns[i] == NULL) {
            node->conns[i] = conn;
            if (weir_kcp_conv(conn) % 8 != 3) {
                weir_kcp_accept(conn, NULL);
            }
            return;
        }
    }
    weir_kcp_refuse(conn);
}

static void on_message(const struct weir_kcp_event *event)
{
    size_t length = 0;
    MUST(event->message.span_count >= 1 && event->message.span_count <= SPANS_MAX);
    for (uint32_t i = 0; i < event->message.span_count; i++) {
        struct weir_span span = event->message.spans[i];
        length += span.length;
        for (size_t k = 0; k < span.length; k++) {
            fuzz.sum += span.data[k];
        }
    }
    MUST(length == event->message.length);
}

static void drain(struct node *node)
{
    struct weir_kcp_event event;
    unsigned events = 0;
    while (weir_kcp_event(node->kcp, &event) == WEIR_OK) {
        fuzz.activity++;
        MUST(++events < EVENTS_MAX);
        if (event.type == WEIR_KCP_EVENT_REQUEST) {
            on_request(node, event.conn);
        } else if (event.type == WEIR_KCP_EVENT_MESSAGE) {
            on_message(&event);
        } else if (event.type == WEIR_KCP_EVENT_PARCEL_DONE) {
            MUST(fuzz.parcels_out-- > 0);
        } else if (event.type == WEIR_KCP_EVENT_CLOSED) {
            forget(node, event.conn);
        }
    }
}

static void output(unsigned index)
{
    static uint8_t buffer[1 << 14];
    struct node *node = &fuzz.nodes[index];
    struct weir_transmit transmits[8];
    enum weir_status status;
    unsigned calls = 0;
    do {
        struct weir_tx tx = {.buffer = buffer,
                             .buffer_bytes = sizeof(buffer),
                             .transmits = transmits,
                             .transmits_max = 8,
                             .run_bytes_max = index == 0 ? 0 : 8000,
                             .run_segments_max = 4};
        status = weir_kcp_output(node->kcp, fuzz.now, &tx);
        MUST(tx.used_bytes <= tx.buffer_bytes && tx.count <= tx.transmits_max);
        for (uint32_t i = 0; i < tx.count; i++) {
            const struct weir_transmit *out = &transmits[i];
            for (uint32_t at = 0; at < out->length; at += out->segment_bytes) {
                uint32_t left = out->length - at;
                fuzz.activity++;
                if (fuzz.wire_count < WIRE_MAX) {
                    struct datagram *datagram = &fuzz.wire[fuzz.wire_count++];
                    datagram->length = left < out->segment_bytes ? left : out->segment_bytes;
                    datagram->to = 1 - index;
                    MUST(datagram->length <= WEIR_KCP_MTU_MAX);
                    memcpy(datagram->bytes, out->data + at, datagram->length);
                }
            }
        }
        MUST(++calls < EVENTS_MAX);
    } while (status == WEIR_OK);
}

static void service(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct node *node = &fuzz.nodes[i];
        unsigned rounds = 0;
        do {
            drain(node);
            weir_kcp_timeout(node->kcp, fuzz.now);
            drain(node);
            output(i);
            drain(node);
            MUST(++rounds < 100);
        } while (weir_kcp_next_timeout(node->kcp) <= fuzz.now);
        check_node(node);
    }
}

static void deliver(struct node *node, const uint8_t *bytes, uint32_t length)
{
    struct weir_mut_span room = weir_slide_room(node->slide);
    memcpy(room.data, bytes, length);
    weir_slide_received(node->slide, length);
    node->packet = (struct weir_packet){.data = room.data, .length = length, .path = &node->path};
    weir_kcp_input(node->kcp, fuzz.now, &node->packet, 1);
}

static void take_off_wire(unsigned index)
{
    fuzz.wire_count--;
    memmove(&fuzz.wire[index], &fuzz.wire[index + 1],
            (fuzz.wire_count - index) * sizeof(fuzz.wire[0]));
}

static void op_arrive(uint8_t how)
{
    for (unsigned i = 0; i <= how % 8 && fuzz.wire_count > 0; i++) {
        unsigned index = (how & 0x80) != 0 ? take8() % fuzz.wire_count : 0;
        const struct datagram datagram = fuzz.wire[index];
        if ((how & 0x40) == 0) { /* else it stays, and comes again */
            take_off_wire(index);
        }
        if ((how & 0x20) == 0) { /* else it is lost */
            deliver(&fuzz.nodes[datagram.to], datagram.bytes, datagram.length);
            drain(&fuzz.nodes[datagram.to]);
        }
    }
}

static void op_wait(void)
{
    static const weir_nsec waits[] = {WEIR_USEC,       WEIR_MSEC,    5 * WEIR_MSEC, 30 * WEIR_MSEC,
                                      200 * WEIR_MSEC, 3 * WEIR_SEC, 40 * WEIR_SEC, 100 * WEIR_SEC};
    weir_nsec until = fuzz.now + waits[take8() % 8];
    unsigned idle = 0;
    for (unsigned steps = 0; steps < 3000; steps++) {
        weir_nsec next = weir_min_u64(weir_kcp_next_timeout(fuzz.nodes[0].kcp),
                                      weir_kcp_next_timeout(fuzz.nodes[1].kcp));
        if (next > until) {
            break;
        }
        uint64_t before = fuzz.activity;
        fuzz.now = weir_max_u64(fuzz.now, next);
        service();
        idle = fuzz.activity == before ? idle + 1 : 0;
        MUST(idle < IDLE_WAKES_MAX);
    }
    fuzz.now = until;
}

/* --- the attacker ----------------------------------------------------------------------------- */

/* Puts a FEC header of any kind in front of the segments, which begin at bytes + 8. */
static uint8_t *forge_fec(uint8_t *bytes, size_t length)
{
    static const uint8_t types[] = {WEIR_KCP_FEC_DATA, WEIR_KCP_FEC_PARITY, WEIR_KCP_FEC_DATA,
                                    WEIR_KCP_FEC_OUT_OF_BAND};
    uint8_t kind = take8();
    uint16_t size = (uint16_t)(length + 2 + ((kind & 4) != 0 ? take8() : 0));
    if ((kind & 0xc0) == 0xc0) {
        return bytes + WEIR_KCP_FEC_HEADER_BYTES; /* none */
    }
    memset(bytes, 0, WEIR_KCP_FEC_HEADER_BYTES);
    bytes[0] = take8();
    bytes[4] = types[kind & 3];
    weir_store16(bytes + 6, __builtin_bswap16(size));
    return bytes;
}

/* Whoever knows the key can write what is opened without fault. */
static void deliver_sealed(struct node *node, uint8_t *bytes, size_t front, size_t length)
{
    struct weir_kcp *ep = node->kcp;
    if (ep->crypt != NULL) {
        struct weir_mut_span datagram = {.data = bytes + front - weir_kcp_crypt_front(ep->crypt)};
        datagram.length = length + weir_kcp_crypt_front(ep->crypt) + weir_kcp_crypt_tail(ep->crypt);
        weir_kcp_crypt_seal(ep->crypt, &ep->secret, &datagram, 1);
        deliver(node, datagram.data, (uint32_t)datagram.length);
    } else {
        deliver(node, bytes + front, (uint32_t)length);
    }
}

/* A datagram of segments that fit, more or less, where the session is. */
static void op_forge(uint8_t how)
{
    static uint8_t room[WEIR_KCP_CRYPT_FRONT_MAX + WEIR_KCP_FEC_HEADER_BYTES + DATAGRAM_MAX];
    uint8_t *bytes = room + WEIR_KCP_CRYPT_FRONT_MAX + WEIR_KCP_FEC_HEADER_BYTES;
    struct node *node = &fuzz.nodes[how & 1];
    const struct weir_kcp_conn *conn = node->conns[how >> 1 & 3];
    uint32_t conv = conn != NULL ? weir_kcp_conv(conn) : (uint32_t)1 + (how >> 1 & 3);
    uint32_t una = 0;
    uint32_t sn = 0;
    if (conn != NULL && conn->is_awake) {
        una = weir_kcp_awake_of(conn)->snd_una;
        sn = weir_kcp_awake_of(conn)->rcv_nxt;
    }
    uint8_t *p = bytes;
    for (unsigned i = 0; i <= (how >> 3 & 7); i++) {
        uint8_t kind = take8();
        uint32_t shift = (uint32_t)(int32_t)(int8_t)take8();
        struct weir_kcp_segment segment = {.conv = conv,
                                           .cmd = (uint8_t)(81 + kind % 4),
                                           .frg = kind >> 5,
                                           .wnd = (uint16_t)take16(),
                                           .ts = (uint32_t)(fuzz.now / WEIR_MSEC) - take8(),
                                           .una = una + (kind >> 2 & 3),
                                           .sn = (kind % 4 == 1 ? una : sn) + shift};
        segment.data.length = kind % 4 == 0 ? take8() : 0;
        p = weir_kcp_encode_header(p, &segment);
        memset(p, kind, segment.data.length);
        p += segment.data.length;
        if (p - bytes > DATAGRAM_MAX - 300) {
            break;
        }
    }
    if ((how & 0x40) != 0) {
        uint32_t at = take16() % (uint32_t)(p - bytes);
        bytes[at] = take8();
    }
    if ((how & 0x80) != 0) {
        node->path.remote.port = (uint16_t)(1 + take8() % 4);
    }
    if (node->kcp->fec != NULL) {
        bytes = forge_fec(bytes - WEIR_KCP_FEC_HEADER_BYTES, (size_t)(p - bytes));
    }
    deliver_sealed(node, room, (size_t)(bytes - room), (size_t)(p - bytes));
}

static void op_raw(uint8_t how)
{
    uint8_t bytes[64];
    uint32_t length = take8() % sizeof(bytes);
    for (uint32_t i = 0; i < length; i++) {
        bytes[i] = take8();
    }
    deliver(&fuzz.nodes[how & 1], bytes, length);
}

/* --- user calls ------------------------------------------------------------------------------- */

static void op_send(uint8_t how)
{
    struct weir_kcp_conn *conn = fuzz.nodes[how & 1].conns[how >> 1 & 3];
    uint32_t length = take16() % sizeof(payload);
    if (conn == NULL) {
        return;
    }
    for (unsigned i = 0; i <= (how >> 4 & 7); i++) {
        if ((how & 8) != 0) {
            fuzz.parcel.data = payload;
            fuzz.parcel.length = (uint32_t)sizeof(payload);
            fuzz.parcels_out += weir_kcp_send_parcel(conn, &fuzz.parcel) == WEIR_OK;
        } else if (weir_kcp_send(conn, payload, length) != WEIR_OK) {
            return;
        }
    }
}

static void op_call(uint8_t how)
{
    struct node *node = &fuzz.nodes[how & 1];
    unsigned index = how >> 1 & 3;
    struct weir_kcp_conn *conn = node->conns[index];
    if (conn == NULL) {
        if ((how & 1) == 0 && weir_kcp_connect(node->kcp, fuzz.now, &node->path.remote, 1 + index,
                                               NULL, &conn) == WEIR_OK) {
            node->conns[index] = conn;
        }
        return;
    }
    switch (how >> 3 & 7) {
    case 0:
        weir_kcp_close(conn);
        break;
    case 1:
        weir_kcp_abort(conn);
        break;
    case 2:
        weir_kcp_pause(conn, true);
        break;
    case 3:
        weir_kcp_pause(conn, false);
        break;
    case 4:
        weir_kcp_accept(conn, node);
        break;
    case 5:
        weir_kcp_flush(conn);
        break;
    default:
        break;
    }
}

static void step(void)
{
    uint8_t operation = take8();
    uint8_t how = take8();
    switch (operation % 7) {
    case 0:
        op_call(how);
        break;
    case 1:
        op_send(how);
        break;
    case 2:
        op_arrive(how);
        break;
    case 3:
        op_wait();
        break;
    case 4:
    case 5:
        op_forge(how);
        break;
    default:
        op_raw(how);
        break;
    }
    if ((operation & 0x80) == 0) {
        service();
    }
}

static void end_all(void)
{
    service(); /* what has arrived may begin sessions yet */
    for (unsigned i = 0; i < 2; i++) {
        struct node *node = &fuzz.nodes[i];
        for (unsigned k = 0; k < CONVS; k++) {
            if (node->conns[k] != NULL) {
                weir_kcp_abort(node->conns[k]);
            }
        }
    }
    service();
    for (unsigned i = 0; i < 2; i++) {
        const struct node *node = &fuzz.nodes[i];
        MUST(node->kcp->table.count == 0 && node->kcp->awakes.used == 0);
        MUST(node->kcp->helds.used == 0 && node->kcp->paceds.used == 0);
        MUST(weir_store_used_bytes(node->kcp->send_store) == 0);
        MUST(weir_store_used_bytes(node->kcp->window_store) == 0);
        MUST(weir_slide_stats(node->slide)->held_bytes == 0);
        MUST(weir_kcp_stats(node->kcp)->pending == 0);
        MUST(node->kcp->fec == NULL || node->kcp->fec->buffers.used == 0);
        weir_kcp_fini(node->kcp);
        weir_mem_unmap(node->mem, node->mem_bytes);
        weir_mem_unmap(node->slide_mem, node->slide_bytes);
    }
    MUST(fuzz.parcels_out == 0 && fuzz.parcel.references == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_kcp_config config;
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
