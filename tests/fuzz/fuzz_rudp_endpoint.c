/* SPDX-License-Identifier: MIT */
/*
 * fuzz_rudp_endpoint.c - a client and a server in virtual time, driven by the input: user calls,
 * time, a bad network, and an attacker who reads and forges everything on it.
 *
 * Each byte of the input is an operation, followed by its arguments. The attacker changes copies of
 * genuine packets, or writes frames of his own, and puts the checksum right again; he may give any
 * source address, but gets nothing that is sent to an address where the client is not. The seed of
 * the endpoints is a hash of the input: so no input can hold secrets learnt from the run before.
 *
 * Checked besides crashes: events and due timers come to an end; nobody spins; an address that has
 * proved nothing is sent at most three times what came from it; what the pools count as used is
 * what can be reached; after aborting everything nothing is left.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "rudp_state.h"
#include "weir/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t tx_buffer[1 << 14];
static uint8_t payload[1 << 14];

/* --- events ----------------------------------------------------------------------------------- */

static void forget_handle(struct node *node, const struct weir_rudp_conn *conn)
{
    for (unsigned i = 0; i < HANDLES; i++) {
        if (node->handles[i] == conn) {
            node->handles[i] = NULL;
        }
    }
}

static void remember_handle(struct node *node, struct weir_rudp_conn *conn)
{
    unsigned i = 0;
    while (node->handles[i] != NULL) {
        MUST(++i < HANDLES); /* more connections than connections_max */
    }
    node->handles[i] = conn;
}

static void on_request(struct fuzz *f, struct node *node, struct weir_rudp_conn *conn)
{
    if (f->answer % 4 == 1) {
        weir_rudp_refuse(conn, f->answer, "no");
        return;
    }
    remember_handle(node, conn);
    if (f->answer % 4 != 2) {
        weir_rudp_accept(conn, node);
    }
}

static void on_event(struct fuzz *f, struct node *node, const struct weir_rudp_event *event)
{
    f->activity++;
    switch (event->type) {
    case WEIR_RUDP_EVENT_REQUEST:
        on_request(f, node, event->conn);
        break;
    case WEIR_RUDP_EVENT_MESSAGE:
        MUST(event->message.data.length <= node->ep->config.message_bytes_max);
        for (size_t i = 0; i < event->message.data.length; i++) {
            f->sum += event->message.data.data[i];
        }
        break;
    case WEIR_RUDP_EVENT_PARCEL_DONE:
        MUST(node->parcels_out > 0);
        node->parcels_out--;
        break;
    case WEIR_RUDP_EVENT_CLOSED:
        f->sum += (uint32_t)strlen(event->closed.text);
        forget_handle(node, event->conn);
        break;
    case WEIR_RUDP_EVENT_OPENED:
    case WEIR_RUDP_EVENT_WRITABLE:
    case WEIR_RUDP_EVENT_MOVED:
        break;
    }
}

static void drain(struct fuzz *f, struct node *node)
{
    struct weir_rudp_event event;
    unsigned events = 0;
    while (weir_rudp_event(node->ep, &event) == WEIR_OK) {
        on_event(f, node, &event);
        MUST(++events < EVENTS_MAX);
    }
}

/* --- the network ------------------------------------------------------------------------------ */

static void remember(struct fuzz *f, const struct datagram *datagram)
{
    f->history[f->history_count++ % HISTORY_MAX] = *datagram;
}

static void transmit(struct fuzz *f, struct node *node, const struct weir_transmit *out)
{
    struct datagram datagram = {.to = address_index(&out->path.remote)};
    bool is_client = node == &f->nodes[CLIENT];
    datagram.from = is_client ? f->client_address : SERVER_ADDRESS;
    for (uint32_t at = 0; at < out->length; at += out->segment_bytes) {
        uint32_t left = out->length - at;
        datagram.length = left < out->segment_bytes ? left : out->segment_bytes;
        MUST(datagram.length <= DATAGRAM_MAX);
        memcpy(datagram.bytes, out->data + at, datagram.length);
        node->sent[datagram.to] += datagram.length;
        f->activity++;
        if (datagram.to == SERVER_ADDRESS || datagram.to == f->client_address) {
            remember(f, &datagram);
        }
        if (f->wire_count < WIRE_MAX && !f->is_dead) {
            f->wire[f->wire_count++] = datagram;
        }
    }
}

static void output(struct fuzz *f, struct node *node)
{
    enum weir_status status;
    struct weir_transmit transmits[8];
    unsigned calls = 0;
    do {
        struct weir_tx tx = {.buffer = tx_buffer,
                             .buffer_bytes = sizeof(tx_buffer),
                             .transmits = transmits,
                             .transmits_max = 8,
                             .run_bytes_max = node == &f->nodes[CLIENT] ? 0 : 8000,
                             .run_segments_max = 4};
        status = weir_rudp_output(node->ep, f->now, &tx);
        MUST(tx.used_bytes <= tx.buffer_bytes && tx.count <= tx.transmits_max);
        for (uint32_t i = 0; i < tx.count; i++) {
            transmit(f, node, &transmits[i]);
        }
        MUST(++calls < EVENTS_MAX);
    } while (status == WEIR_OK);
}

/* Everything that a loop would do at this moment, until nothing is due any more. */
static void service(struct fuzz *f, struct node *node)
{
    unsigned rounds = 0;
    do {
        drain(f, node);
        if (weir_rudp_next_timeout(node->ep) <= f->now) {
            weir_rudp_timeout(node->ep, f->now);
            drain(f, node);
        }
        output(f, node);
        drain(f, node);
        output(f, node);
        if (++rounds == ROUNDS_MAX) {
            explain(f, node);
        }
        MUST(rounds < ROUNDS_MAX);
    } while (weir_rudp_next_timeout(node->ep) <= f->now);
    check_node(node);
}

static void free_frames(struct node *node)
{
    for (unsigned i = 0; i < FRAMES_MAX; i++) {
        free(node->frames[i]);
        node->frames[i] = NULL;
    }
}

/* Hands count datagrams over as one batch. */
static void deliver(struct fuzz *f, struct node *node, const struct datagram *datagrams,
                    uint32_t count, uint8_t ecn)
{
    uint8_t *old[FRAMES_MAX];
    memcpy(old, node->frames, sizeof(old));
    if (node == &f->nodes[CLIENT]) {
        /* However it came there, whoever is at that address can answer what it says. */
        f->nodes[SERVER].is_proved[f->client_address] = true;
    }
    struct weir_mut_span room = weir_slide_room(node->slide);
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct datagram *datagram = &datagrams[i];
        uint8_t *bytes = room.data + used;
        node->frames[i] = NULL;
        if (!node->is_slide_used) {
            node->frames[i] = malloc(datagram->length + 1);
            MUST(node->frames[i] != NULL);
            bytes = node->frames[i] + 1; /* odd addresses too; ends where the heap block does */
        } else {
            used += datagram->length;
            MUST(used <= room.length);
        }
        memcpy(bytes, datagram->bytes, datagram->length);
        node->received[datagram->from] += datagram->length;
        node->paths[i] = (struct weir_path){.remote = address(datagram->from)};
        node->packets[i] = (struct weir_packet){
            .data = bytes, .length = datagram->length, .ecn = ecn & 3, .path = &node->paths[i]};
    }
    weir_slide_received(node->slide, used);
    weir_rudp_input(node->ep, f->now, node->packets, count);
    for (uint32_t i = 0; i < count; i++) {
        free(old[i]);
    }
}

static void take_off_wire(struct fuzz *f, uint32_t index, uint32_t count)
{
    f->wire_count -= count;
    memmove(&f->wire[index], &f->wire[index + count], (f->wire_count - index) * sizeof(f->wire[0]));
}

/* The next few datagrams to one end arrive, as far as that end is where they go. */
static void arrive(struct fuzz *f, uint32_t count, uint8_t ecn)
{
    struct datagram batch[FRAMES_MAX];
    uint32_t taken = 0;
    bool to_client = f->wire_count > 0 && f->wire[0].to != SERVER_ADDRESS;
    while (taken < count && f->wire_count > 0 && (f->wire[0].to != SERVER_ADDRESS) == to_client) {
        struct datagram *first = &f->wire[0];
        if (!to_client || first->to == f->client_address) {
            struct node *sender = &f->nodes[to_client ? SERVER : CLIENT];
            sender->is_proved[first->to] = true; /* whoever is there can answer */
            batch[taken++] = *first;
        }
        take_off_wire(f, 0, 1);
    }
    if (taken > 0) {
        struct node *node = &f->nodes[to_client ? CLIENT : SERVER];
        deliver(f, node, batch, taken, ecn);
        service(f, node);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static weir_nsec next_due(const struct fuzz *f)
{
    weir_nsec a = weir_rudp_next_timeout(f->nodes[0].ep);
    weir_nsec b = weir_rudp_next_timeout(f->nodes[1].ep);
    return a < b ? a : b;
}

/* From one due time to the next until then; waking up for nothing again and again is spinning. */
static void advance(struct fuzz *f, weir_nsec until, unsigned steps_max)
{
    unsigned idle = 0;
    while (next_due(f) <= until && steps_max-- > 0) {
        uint64_t before = f->activity;
        f->now = weir_max_u64(f->now, next_due(f));
        service(f, &f->nodes[0]);
        service(f, &f->nodes[1]);
        idle = f->activity == before ? idle + 1 : 0;
        if (idle == IDLE_WAKES_MAX) {
            explain(f, &f->nodes[CLIENT]);
            explain(f, &f->nodes[SERVER]);
        }
        MUST(idle < IDLE_WAKES_MAX);
    }
    if (until != WEIR_NEVER && f->now < until) {
        f->now = until;
        service(f, &f->nodes[0]);
        service(f, &f->nodes[1]);
    }
}

static void op_advance(struct fuzz *f)
{
    static const weir_nsec waits[] = {
        1,        WEIR_USEC,    WEIR_MSEC, 5 * WEIR_MSEC, 30 * WEIR_MSEC, 200 * WEIR_MSEC,
        WEIR_SEC, 11 * WEIR_SEC};
    advance(f, f->now + waits[take8(f) % 8], EVENTS_MAX);
}

/* --- the attacker ----------------------------------------------------------------------------- */

static void change(struct fuzz *f, struct datagram *d)
{
    unsigned changes = take8(f) % 8;
    for (unsigned i = 0; i < changes && d->length > 0; i++) {
        uint32_t at = take16(f) % d->length;
        uint8_t value = take8(f);
        switch (value % 4) {
        case 0:
            d->bytes[at] = take8(f);
            break;
        case 1:
            d->bytes[at] ^= (uint8_t)(1U << (value >> 2 & 7));
            break;
        case 2:
            d->length = at;
            break;
        default:
            d->bytes[at] = (uint8_t)(d->bytes[at] + (value >> 2) - 32);
            break;
        }
    }
}

static void seal(struct datagram *d)
{
    if (d->length < WEIR_RUDP_TRAILER_BYTES) {
        d->length = WEIR_RUDP_TRAILER_BYTES;
    }
    d->length = (uint32_t)weir_rudp_seal_clear(d->bytes, d->length - WEIR_RUDP_TRAILER_BYTES);
}

static void forge(struct fuzz *f, struct datagram *d, uint8_t how)
{
    bool to_client = d->to != SERVER_ADDRESS;
    if ((how & 0x80) != 0) {
        d->from = how & (ADDRESSES - 1);
    }
    deliver(f, &f->nodes[to_client ? CLIENT : SERVER], d, 1, how >> 4);
    service(f, &f->nodes[to_client ? CLIENT : SERVER]);
}

static bool recall(struct fuzz *f, struct datagram *d)
{
    uint32_t known = f->history_count < HISTORY_MAX ? f->history_count : HISTORY_MAX;
    uint32_t back = take8(f) % HISTORY_MAX;
    if (back >= known) {
        return false;
    }
    *d = f->history[(f->history_count - 1 - back) % HISTORY_MAX];
    return true;
}

static void op_mutate(struct fuzz *f)
{
    struct datagram d;
    uint8_t how = take8(f);
    if (!recall(f, &d)) {
        return;
    }
    change(f, &d);
    if ((how & 1) != 0 && d.length >= WEIR_RUDP_DATA_HEADER_BYTES) {
        uint8_t *number = d.bytes + WEIR_RUDP_HEADER_BYTES;
        weir_store32(number, weir_load32(number) + 1 + (how >> 1 & 3));
    }
    seal(&d);
    forge(f, &d, how);
}

/* Frames of the attacker's own in the next packet of a connection. */
static void op_frames(struct fuzz *f)
{
    struct datagram d;
    uint8_t how = take8(f);
    if (!recall(f, &d) || d.bytes[0] >> 4 != WEIR_RUDP_KIND_DATA) {
        return;
    }
    uint8_t *number = d.bytes + WEIR_RUDP_HEADER_BYTES;
    weir_store32(number, weir_load32(number) + 1 + (how & 15));
    uint32_t length = take8(f);
    if ((how & 0x40) != 0) {
        length = length * 4 + take8(f); /* what the input does not hold stays as it was */
    }
    uint32_t copied = weir_min_u64(length, (uint64_t)(f->end - f->at)) & 0xffff;
    if (copied > 0) {
        memcpy(d.bytes + WEIR_RUDP_DATA_HEADER_BYTES, f->at, copied);
    }
    f->at += copied;
    if (length > copied) {
        uint32_t behind = WEIR_RUDP_DATA_HEADER_BYTES + copied;
        memset(d.bytes + behind, 0x5a, weir_min_u64(length - copied, DATAGRAM_MAX - behind));
    }
    d.length = WEIR_RUDP_DATA_HEADER_BYTES + length + WEIR_RUDP_TRAILER_BYTES;
    seal(&d);
    forge(f, &d, how & 0xb7);
}

static void op_raw(struct fuzz *f)
{
    struct datagram d = {.from = take8(f) % ADDRESSES};
    d.to = d.from == SERVER_ADDRESS ? f->client_address : SERVER_ADDRESS;
    d.length = take8(f);
    for (uint32_t i = 0; i < d.length; i++) {
        d.bytes[i] = take8(f);
    }
    if (d.length > 0 && (d.bytes[0] & 1) != 0) {
        seal(&d);
    }
    forge(f, &d, 0);
}

/* Two batches without looking at the events between them. */
static void op_undrained(struct fuzz *f)
{
    struct datagram d;
    if (f->wire_count > 0 && (f->wire[0].to == SERVER_ADDRESS)) {
        d = f->wire[0];
        f->nodes[CLIENT].is_proved[SERVER_ADDRESS] = true;
        take_off_wire(f, 0, 1);
        struct weir_rudp_event event;
        deliver(f, &f->nodes[SERVER], &d, 1, 0);
        for (unsigned pulled = take8(f) % 4; pulled > 0; pulled--) {
            if (weir_rudp_event(f->nodes[SERVER].ep, &event) == WEIR_OK) {
                on_event(f, &f->nodes[SERVER], &event);
            }
        }
        arrive(f, 1, 0);
        service(f, &f->nodes[SERVER]);
    }
}

static void op_wire(struct fuzz *f)
{
    uint8_t how = take8(f);
    uint32_t index = f->wire_count > 0 ? (uint32_t)(how >> 4) % f->wire_count : 0;
    if (f->wire_count == 0) {
        return;
    }
    struct datagram datagram = f->wire[index];
    switch (how % 4) {
    case 0:
        take_off_wire(f, index, 1);
        break;
    case 1:
        if (f->wire_count < WIRE_MAX) {
            f->wire[f->wire_count++] = datagram;
        }
        break;
    case 2:
        take_off_wire(f, index, 1);
        f->wire[f->wire_count++] = datagram;
        break;
    default:
        f->client_address = (how >> 2) % CLIENT_ADDRESSES;
        break;
    }
}

/* --- user calls ------------------------------------------------------------------------------- */

static struct weir_rudp_conn *take_conn(struct fuzz *f, struct node *node)
{
    unsigned wanted = take8(f);
    for (unsigned i = 0; i < HANDLES; i++) {
        struct weir_rudp_conn *conn = node->handles[(wanted + i) % HANDLES];
        if (conn != NULL) {
            return conn;
        }
    }
    return NULL;
}

static void op_connect(struct fuzz *f)
{
    struct node *node = &f->nodes[CLIENT];
    struct weir_addr server = address(SERVER_ADDRESS);
    struct weir_rudp_conn *conn;
    node->is_proved[SERVER_ADDRESS] = true; /* the user's own choice */
    if (weir_rudp_connect(node->ep, f->now, &server, f, &conn) == WEIR_OK) {
        remember_handle(node, conn);
    }
}

static struct weir_rudp_send take_send(struct fuzz *f)
{
    uint8_t bits = take8(f);
    uint8_t more = take8(f);
    struct weir_rudp_send how = {.channel = more % 5,
                                 .guarantee = (enum weir_rudp_guarantee)(bits % 4),
                                 .priority = (enum weir_rudp_priority)((bits >> 2 & 3) - 1)};
    if ((bits & 0x80) != 0) {
        how.deadline = f->now + (weir_nsec)(more >> 3) * 10 * WEIR_MSEC;
    }
    return how;
}

static uint32_t take_length(struct fuzz *f)
{
    uint32_t length = take8(f);
    return length < 192 ? length : (length - 191) * 150;
}

static void op_send(struct fuzz *f)
{
    struct node *node = take_node(f);
    struct weir_rudp_conn *conn = take_conn(f, node);
    struct weir_rudp_send how = take_send(f);
    uint32_t length = take_length(f);
    uint8_t form = take8(f);
    for (unsigned copies = 1U + form % 8; copies > 0 && conn != NULL; copies--) {
        struct weir_parcel *parcel = &node->parcels[(form >> 4) % PARCELS];
        if ((form & 8) == 0) {
            f->sum += 0U + weir_rudp_send(conn, &how, payload, length);
            continue;
        }
        if (parcel->references == 0) {
            parcel->data = payload;
            parcel->length = length;
        }
        if (weir_rudp_send_parcel(conn, &how, parcel) == WEIR_OK) {
            node->parcels_out++;
        }
    }
}

static void op_write(struct fuzz *f)
{
    struct node *node = take_node(f);
    struct weir_rudp_conn *conn = take_conn(f, node);
    struct weir_rudp_send how = take_send(f);
    uint32_t length = take_length(f);
    uint8_t what = take8(f);
    uint8_t *room;
    if (conn == NULL) {
        return;
    }
    if ((what & 1) != 0 && weir_rudp_reserve(conn, length, &room) == WEIR_OK) {
        memset(room, what, length);
        f->sum += 0U + weir_rudp_commit(conn, length * (what & 3) / 2);
    }
    if ((what & 4) != 0) {
        f->sum += 0U + weir_rudp_write(conn, payload, length / 2);
    }
    if ((what & 8) != 0) {
        weir_rudp_clear_written(conn);
    }
    if ((what & 16) != 0) {
        f->sum += 0U + weir_rudp_send_written(conn, &how);
    }
}

static void op_conn(struct fuzz *f)
{
    struct node *node = take_node(f);
    struct weir_rudp_conn *conn = take_conn(f, node);
    struct weir_rudp_conn_stats stats;
    uint8_t what = take8(f);
    if (conn == NULL) {
        return;
    }
    switch (what % 9) {
    case 0:
        weir_rudp_close(conn, what, "done");
        break;
    case 1:
        weir_rudp_abort(conn, what, "enough");
        break;
    case 2:
        f->sum += 0U + weir_rudp_set_begin(conn, (what >> 4) % 5);
        break;
    case 3:
        f->sum += 0U + weir_rudp_set_end(conn, (what >> 4) % 5);
        break;
    case 4:
        weir_rudp_pause(conn, (what & 0x10) != 0);
        break;
    case 5:
        weir_rudp_flush(conn);
        break;
    case 6:
        weir_rudp_conn_stats(conn, &stats);
        f->sum += (uint32_t)stats.queued_bytes;
        break;
    case 7:
        weir_rudp_accept(conn, node);
        break;
    default:
        if (conn->state == STATE_REQUESTED) {
            weir_rudp_refuse(conn, what, "later refused");
            forget_handle(node, conn);
        }
        break;
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

static void operate(struct fuzz *f)
{
    uint8_t op = take8(f);
    switch (op % 16) {
    case 0:
    case 1:
        op_advance(f);
        break;
    case 2:
    case 3:
        arrive(f, 1 + (op >> 4) % FRAMES_MAX, op >> 6);
        break;
    case 4:
        for (unsigned i = 0; i < 8 && f->wire_count > 0; i++) {
            arrive(f, FRAMES_MAX, 0); /* back and forth for a while */
            advance(f, f->now + 3 * WEIR_MSEC, EVENTS_MAX);
        }
        break;
    case 5:
        op_wire(f);
        break;
    case 6:
    case 7:
        op_mutate(f);
        break;
    case 8:
    case 9:
        op_frames(f);
        break;
    case 10:
        op_raw(f);
        break;
    case 11:
        op_connect(f);
        break;
    case 12:
    case 13:
        op_send(f);
        break;
    case 14:
        op_write(f);
        break;
    default:
        if ((op & 0xf0) == 0) {
            op_undrained(f);
        } else {
            op_conn(f);
        }
        break;
    }
    service(f, &f->nodes[0]);
    service(f, &f->nodes[1]);
}

static void configure(struct weir_rudp_config *config, struct fuzz *f)
{
    uint8_t bits = take8(f);
    uint8_t more = take8(f);
    weir_rudp_config_default(config);
    config->connections_max = HANDLES;
    config->awake_max = 1 + (bits & 3);
    config->channels_max = 1 + (bits >> 2 & 3);
    config->message_bytes_max = 8192;
    config->receive_window_bytes = 8192 + MESSAGE_COST_BYTES + ((bits & 0x10) != 0 ? 8192 : 0);
    config->send_queue_bytes = 16384;
    config->send_bytes = 1 << 16;
    config->assembly_bytes = 1 << 16;
    config->held_max = (bits & 0x20) != 0 ? 8 : 64;
    config->packets_max = (bits & 0x40) != 0 ? 6 : 64;
    config->fragments_max = (bits & 0x80) != 0 ? 4 : 64;
    config->is_accepting = true;
    config->dead_timeout = 2 * WEIR_SEC;
    config->cc = (enum weir_cc_kind)(more & 3);
    config->resend = (enum weir_rudp_resend)((more >> 2 & 3) % 3);
    config->unsent = (more & 0x10) != 0 ? WEIR_RUDP_UNSENT_CLEAR : WEIR_RUDP_UNSENT_INTO_SET;
    config->flush_delay = (more & 0x20) != 0 ? 4 * WEIR_MSEC : 0;
    config->heartbeat = (more & 0x40) != 0 ? 0 : WEIR_SEC;
    config->idle_timeout = (more & 0x80) != 0 ? 0 : 30 * WEIR_SEC;
}

/* One mapping for the largest configuration, zeroed for every run as fresh pages would be. */
static void *memory(void **mem, size_t *mapped, size_t bytes)
{
    enum {
        ROOM_BYTES = 4 << 20
    };

    if (*mem == NULL) {
        *mem = weir_mem_map(ROOM_BYTES);
        *mapped = 0;
    }
    MUST(*mem != NULL && bytes <= ROOM_BYTES);
    memset(*mem, 0, weir_max_u64(*mapped, bytes));
    *mapped = bytes;
    return *mem;
}

static void open_node(struct fuzz *f, unsigned index, const uint8_t seed[32])
{
    struct node *node = &f->nodes[index];
    struct weir_rudp_config config;
    struct weir_slide_config slide = {
        .size_bytes = 1 << 15, .batch_bytes_max = 1 << 13, .secondary_bytes = 1 << 14};
    void *mem = node->mem;
    void *slide_mem = node->slide_mem;
    size_t bytes = node->bytes;
    size_t slide_bytes = node->slide_bytes;
    free_frames(node);
    memset(node, 0, sizeof(*node));
    node->slide_mem = memory(&slide_mem, &slide_bytes, weir_slide_mem_size(&slide));
    node->slide_bytes = slide_bytes;
    MUST(weir_slide_init(node->slide_mem, &slide, &node->slide) == WEIR_OK);
    configure(&config, f);
    node->is_slide_used = (f->answer >> (4 + index) & 1) != 0;
    config.slide = node->slide;
    size_t wanted = weir_rudp_mem_size(&config);
    MUST(wanted > 0);
    node->mem = memory(&mem, &bytes, wanted);
    node->bytes = bytes;
    MUST(weir_rudp_init(node->mem, &config, seed, f->now, &node->ep) == WEIR_OK);
}

/* Everything is given up and nothing arrives any more: both ends must come to rest, empty. */
static void finish(struct fuzz *f)
{
    f->is_dead = true;
    f->wire_count = 0;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < HANDLES; k++) {
            if (f->nodes[i].handles[k] != NULL) {
                weir_rudp_abort(f->nodes[i].handles[k], 0, "");
            }
        }
        service(f, &f->nodes[i]);
    }
    advance(f, WEIR_NEVER - 1, FINAL_STEPS_MAX);
    MUST(next_due(f) == WEIR_NEVER);
    check_empty(&f->nodes[0]);
    check_empty(&f->nodes[1]);
    free_frames(&f->nodes[0]);
    free_frames(&f->nodes[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;
    const struct weir_hash_key key = {.k0 = 1, .k1 = 2};
    uint8_t seed[32] = {0};
    uint64_t hash = weir_hash24(&key, data, size);
    memcpy(seed, &hash, sizeof(hash));
    f.at = data;
    f.end = data + size;
    f.now = WEIR_SEC;
    f.wire_count = f.history_count = 0;
    f.client_address = 0;
    f.is_dead = false;
    f.answer = take8(&f);
    for (unsigned i = 0; i < 2; i++) {
        seed[31] = (uint8_t)i;
        open_node(&f, i, seed);
    }
    op_connect(&f);
    for (unsigned i = 0; i < OPERATIONS_MAX && f.at < f.end; i++) {
        operate(&f);
    }
    finish(&f);
    return 0;
}
