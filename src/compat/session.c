/* SPDX-License-Identifier: MIT */
/*
 * session.c - the engine behind an ikcpcb: its memory, its clock, datagrams in and out.
 */
#include "compat/session.h"

#include <string.h>

#include "wire/kcp.h"

enum {
    IDLE_MS = 2000,      /* quiet for so long, the engine goes */
    BACKWARD_MS = 10000, /* a clock that goes back less stands still instead */
    SEND_CAPACITY_MIN = 256,
    SEGMENT_BLOCK_BYTES = 2048, /* of the slide's secondary store, for a segment of 1,476 bytes */
    MESSAGE_BYTES = 128,        /* of the engine's memory for a message that is lent to it */
    SEGMENT_BYTES = 256,        /* of its windows, a segment */
    STORE_MIN_BYTES = 1 << 16,
    HELD_MIN = 512,
    ALIGN = 64,
    BURST = 8, /* datagrams between two calls of output */
    FIRST_CONV = 1,
    PROBE_ASK = 1, /* of ikcpcb.probe */
    PROBE_TELL = 2
};

/* The engine's clock begins here, so that it never reads 0. */
#define CLOCK_START (UINT64_C(1) << 32)

static weir_nsec now_of(const struct weir_ikcp *own)
{
    return own->ms * WEIR_MSEC;
}

void weir_ikcp_set_clock(struct weir_ikcp *own, uint32_t current, bool is_first)
{
    if (is_first) {
        own->ms = CLOCK_START | current;
        return;
    }
    uint32_t step = current - (uint32_t)own->ms;
    if (step < UINT32_MAX - BACKWARD_MS) { /* in the ring of 2^32 ms a long way back is one on */
        own->ms += step;
    }
}

/* --- events ----------------------------------------------------------------------------------- */

/* Pulls all events. It is paused: messages are not among them. */
static void pull(struct weir_ikcp *own)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(own->endpoint, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_PARCEL_DONE) {
            weir_ikcp_message_free(own, event.parcel.parcel->user);
        }
    }
}

/* --- settings --------------------------------------------------------------------------------- */

static uint32_t between(uint32_t low, uint32_t value, uint32_t high)
{
    if (value < low) {
        return low;
    }
    return value < high ? value : high;
}

static uint32_t send_window_of(const ikcpcb *kcp)
{
    return between(1, kcp->snd_wnd, WEIR_KCP_WINDOW_MAX);
}

static uint32_t receive_window_of(const ikcpcb *kcp)
{
    return between(1, kcp->rcv_wnd, WEIR_KCP_WINDOW_MAX);
}

static struct weir_kcp_tuning tuning_of(const ikcpcb *kcp)
{
    const struct weir_ikcp *own = kcp->own;
    uint32_t resend = kcp->fastresend > 0 ? (uint32_t)kcp->fastresend : 0;
    uint32_t rto_min = kcp->rx_minrto > 0 ? (uint32_t)kcp->rx_minrto : 1;
    return (struct weir_kcp_tuning){
        .nodelay = (uint8_t)between(0, kcp->nodelay, 2),
        .interval_ms = (uint16_t)between(1, kcp->interval, 5000),
        .resend = (uint8_t)between(0, resend, UINT8_MAX),
        .is_window_fixed = kcp->nocwnd != 0,
        .send_window = (uint16_t)between(1, send_window_of(kcp), own->send_capacity),
        .receive_window = (uint16_t)between(1, receive_window_of(kcp), own->receive_capacity),
        .mtu_bytes = (uint16_t)between(WEIR_IKCP_MTU_MIN, kcp->mtu, WEIR_KCP_MTU_MAX),
        .rto_min_ms = (uint16_t)between(1, rto_min, 60000),
        /* A segment counts how often it was sent up to 255. */
        .dead_link = (uint8_t)(kcp->dead_link > UINT8_MAX ? 0 : between(1, kcp->dead_link, 255)),
        .fragments_max = WEIR_IKCP_FRAGMENTS_MAX,
        .send_queue_max = INT32_MAX,
        .is_write_delayed = true,
    };
}

static void set_tuning(struct weir_ikcp *own, const struct weir_kcp_tuning *tuning)
{
    /* Its bounds are kept by tuning_of. */
    own->tuning = *tuning;
    (void)weir_kcp_tune(own->endpoint, tuning);
}

void weir_ikcp_tune(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    /* With one branch: this is looked at for every datagram. */
    const struct weir_ikcp_settings *is = &own->settings;
    if (((is->mtu ^ kcp->mtu) | (is->snd_wnd ^ kcp->snd_wnd) | (is->rcv_wnd ^ kcp->rcv_wnd) |
         (is->interval ^ kcp->interval) | (is->nodelay ^ kcp->nodelay) |
         (is->dead_link ^ kcp->dead_link) | (IUINT32)(is->rx_minrto ^ kcp->rx_minrto) |
         (IUINT32)(is->fastresend ^ kcp->fastresend) | (IUINT32)(is->fastlimit ^ kcp->fastlimit) |
         (IUINT32)(is->nocwnd ^ kcp->nocwnd)) == 0) {
        return;
    }
    own->settings = (struct weir_ikcp_settings){.mtu = kcp->mtu,
                                                .snd_wnd = kcp->snd_wnd,
                                                .rcv_wnd = kcp->rcv_wnd,
                                                .interval = kcp->interval,
                                                .nodelay = kcp->nodelay,
                                                .dead_link = kcp->dead_link,
                                                .rx_minrto = kcp->rx_minrto,
                                                .fastresend = kcp->fastresend,
                                                .fastlimit = kcp->fastlimit,
                                                .nocwnd = kcp->nocwnd};
    const struct weir_kcp_tuning tuning = tuning_of(kcp);
    set_tuning(own, &tuning);
    int limit = kcp->fastlimit;
    weir_kcp_reference_set_fast_limit(
        own->conn, (uint8_t)(limit > 0 && limit < UINT8_MAX ? limit : UINT8_MAX));
}

/* --- the engine ------------------------------------------------------------------------------- */

static void *block_open(struct weir_ikcp *own, size_t bytes)
{
    own->block_bytes = bytes;
    own->block = own->is_mapped ? weir_mem_map(bytes) : own->allocate(bytes);
    if (own->block == NULL) {
        return NULL;
    }
    return (uint8_t *)own->block + (-(uintptr_t)own->block & (ALIGN - 1));
}

static void block_close(struct weir_ikcp *own)
{
    if (own->is_mapped) {
        weir_mem_unmap(own->block, own->block_bytes);
    } else {
        own->deallocate(own->block);
    }
    own->block = NULL;
}

/* Memory for the windows: twice the receive window, as early segments come on top of those in
 * order. What is early never takes all, see held_max. */
static void configure(const struct weir_ikcp *own, struct weir_kcp_config *config,
                      struct weir_slide_config *slide)
{
    uint32_t held = 2 * own->receive_capacity;
    *slide = (struct weir_slide_config){.size_bytes = ALIGN,
                                        .batch_bytes_max = ALIGN,
                                        .secondary_bytes = (size_t)held * SEGMENT_BLOCK_BYTES};
    weir_kcp_config_default(config);
    config->connections_max = 1;
    config->pending_max = 1;
    config->send_bytes = STORE_MIN_BYTES + (size_t)own->send_capacity * MESSAGE_BYTES;
    config->window_bytes =
        STORE_MIN_BYTES + (size_t)(own->send_capacity + own->receive_capacity) * SEGMENT_BYTES;
    config->held_max = HELD_MIN + held + held / 4;
    config->connect_timeout = config->keepalive = config->idle_timeout = 0;
    config->tuning.interval_ms = 1; /* timeouts to the ms; the interval is tuned after */
}

static enum weir_status begin(ikcpcb *kcp, uint8_t *mem, size_t slide_bytes,
                              struct weir_kcp_config *config,
                              const struct weir_slide_config *slide_config)
{
    static const uint8_t seed[32]; /* nothing is drawn from it: one session, whose conv is given */
    static const struct weir_addr peer = {.ip = {192, 0, 2, 1}, .port = 1, .family = WEIR_ADDR_IP4};
    struct weir_ikcp *own = kcp->own;
    enum weir_status status = weir_slide_init(mem, slide_config, &config->slide);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_kcp_init(mem + slide_bytes, config, seed, now_of(own), &own->endpoint);
    if (status != WEIR_OK) {
        return status;
    }
    own->conv = kcp->conv != 0 ? kcp->conv : FIRST_CONV; /* 0 would be drawn */
    status = weir_kcp_connect(own->endpoint, now_of(own), &peer, own->conv, NULL, &own->conn);
    if (status != WEIR_OK) {
        return status;
    }
    return weir_kcp_reference_begin(own->conn, own->is_carried ? &own->carried : NULL);
}

bool weir_ikcp_open(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_config config;
    struct weir_slide_config slide;
    if (own->endpoint != NULL) {
        return true;
    }
    own->ms = CLOCK_START | (uint32_t)own->ms;
    own->active_ms = own->ms;
    own->send_capacity = between(SEND_CAPACITY_MIN, send_window_of(kcp), WEIR_KCP_WINDOW_MAX);
    own->receive_capacity =
        between(WEIR_IKCP_WINDOW_RECEIVE_MIN, receive_window_of(kcp), WEIR_KCP_WINDOW_MAX);
    configure(own, &config, &slide);
    size_t slide_bytes = (weir_slide_mem_size(&slide) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    config.slide = (struct weir_slide *)own; /* any, until there is one */
    size_t kcp_bytes = weir_kcp_mem_size(&config);
    uint8_t *mem = block_open(own, ALIGN + slide_bytes + kcp_bytes);
    if (mem == NULL) {
        return false;
    }
    if (!own->is_mapped) {
        memset(mem + slide_bytes, 0, kcp_bytes);
    }
    if (begin(kcp, mem, slide_bytes, &config, &slide) != WEIR_OK) {
        own->endpoint = NULL;
        block_close(own);
        return false;
    }
    own->settings = (struct weir_ikcp_settings){0}; /* an mtu of 0 is none */
    weir_ikcp_tune(kcp);
    return true;
}

void weir_ikcp_close(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    if (own->endpoint == NULL) {
        return;
    }
    weir_kcp_reference_get(own->conn, &own->carried);
    own->is_carried = own->carried.is_quiet;
    own->timeouts += (uint32_t)own->carried.timeouts;
    weir_kcp_abort(own->conn);
    pull(own); /* gives back what was lent */
    own->kept = 0;
    weir_ikcp_pages_rest(own);
    own->endpoint = NULL;
    own->conn = NULL;
    block_close(own);
}

void weir_ikcp_mirror(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_reference r;
    weir_kcp_reference_get(own->conn, &r);
    kcp->snd_una = r.snd_una;
    kcp->snd_nxt = r.snd_nxt;
    kcp->rcv_nxt = r.rcv_nxt;
    kcp->rx_srtt = (IINT32)r.srtt_ms;
    kcp->rx_rttval = (IINT32)r.rttval_ms;
    kcp->rx_rto = (IINT32)r.rto_ms;
    kcp->rmt_wnd = r.peer_window;
    kcp->cwnd = r.cwnd;
    kcp->incr = r.cwnd_bytes;
    kcp->ssthresh = r.ssthresh;
    kcp->probe =
        (r.is_ask_wanted ? (IUINT32)PROBE_ASK : 0) | (r.is_tell_wanted ? (IUINT32)PROBE_TELL : 0);
    kcp->nrcv_que = r.in_order;
    kcp->nrcv_buf = r.early;
    kcp->nsnd_que = own->queued + r.queued;
    kcp->nsnd_buf = r.in_flight;
    kcp->xmit = own->timeouts + (uint32_t)r.timeouts;
    if (r.is_dead) {
        kcp->state = UINT32_MAX;
    }
}

/* --- datagrams in ----------------------------------------------------------------------------- */

/* The engine knows the session by one number all the time; the field may be 0, or change. */
static void set_conv(uint8_t *data, size_t length, uint32_t conv)
{
    struct weir_kcp_segment segment;
    size_t offset = 0;
    for (;;) {
        const uint8_t *at = data + offset;
        if (weir_kcp_decode(&at, data + length, &segment) != WEIR_KCP_DECODED) {
            return;
        }
        weir_kcp_store32(data + offset, conv);
        offset = (size_t)(at - data);
    }
}

static void take_datagram(ikcpcb *kcp, const uint8_t *data, size_t length)
{
    struct weir_ikcp *own = kcp->own;
    static const struct weir_path path = {
        .remote = {.ip = {192, 0, 2, 1}, .port = 1, .family = WEIR_ADDR_IP4}};

    union {
        const uint8_t *read;
        uint8_t *data;
    } bytes = {.read = data}; /* without a cipher the engine writes nothing there */
    struct weir_packet packet = {.data = bytes.data, .length = (uint32_t)length, .path = &path};
    uint8_t *room = weir_ikcp_inbox_room(own, length);
    struct weir_kcp_reference_arrival arrival;
    weir_kcp_reference_input(own->conn, now_of(own), &packet, room, &arrival);
    if (arrival.used > 0) {
        own->inbox_last->used += (uint32_t)arrival.used;
        own->kept += arrival.count;
    }
    if (arrival.has_events) {
        pull(own);
    }
    if (!arrival.is_data_only) {
        weir_ikcp_mirror(kcp);
        return;
    }
    kcp->rcv_nxt = arrival.rcv_nxt;
    kcp->nrcv_que = arrival.in_order;
    kcp->nrcv_buf = arrival.early;
}

bool weir_ikcp_feed(ikcpcb *kcp, const uint8_t *data, size_t length)
{
    struct weir_ikcp *own = kcp->own;
    if (!weir_ikcp_open(kcp)) {
        return false;
    }
    weir_ikcp_tune(kcp);
    own->active_ms = own->ms;
    if (kcp->conv == own->conv) {
        take_datagram(kcp, data, length);
    } else {
        uint8_t *copy = own->allocate(length);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, data, length);
        set_conv(copy, length, own->conv);
        take_datagram(kcp, copy, length);
        own->deallocate(copy);
    }
    return true;
}

void weir_ikcp_take(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_reference r;
    if (own->kept > 0) {
        weir_ikcp_inbox_take(own, (uint32_t)weir_ikcp_inbox_first(own).length);
        if (weir_kcp_reference_read(own->conn)) {
            weir_ikcp_mirror(kcp);
        } else {
            kcp->nrcv_que--;
        }
        return;
    }
    weir_kcp_reference_take(own->conn, &r);
    kcp->rcv_nxt = r.rcv_nxt;
    kcp->nrcv_que = r.in_order;
    kcp->nrcv_buf = r.early;
    kcp->probe |= r.is_tell_wanted ? (IUINT32)PROBE_TELL : 0;
}

/* --- datagrams out ---------------------------------------------------------------------------- */

/* A message keeps to the size of segments that its fragments were counted by. */
static enum weir_status lend_message(struct weir_ikcp *own, struct weir_ikcp_message *message)
{
    const struct weir_kcp_tuning tuning = own->tuning;
    struct weir_kcp_tuning of_message = tuning;
    of_message.mtu_bytes = (uint16_t)(message->mss + WEIR_KCP_HEADER_BYTES);
    if (of_message.mtu_bytes == tuning.mtu_bytes) {
        return weir_kcp_send_parcel(own->conn, &message->parcel);
    }
    set_tuning(own, &of_message);
    enum weir_status status = weir_kcp_send_parcel(own->conn, &message->parcel);
    set_tuning(own, &tuning);
    return status;
}

/* Lends the engine as much as may leave now: what stays on the queue of a stream is still appended
 * to. To a closed window one message is lent, for the engine to ask about it. */
static void lend(struct weir_ikcp *own)
{
    struct weir_kcp_reference r;
    weir_kcp_reference_get(own->conn, &r);
    while (own->queue_first != NULL) {
        struct weir_ikcp_message *message = own->queue_first;
        bool is_probing = r.peer_window == 0 && r.queued == 0;
        if (r.queued + r.snd_nxt - r.snd_una >= r.send_window && !is_probing) {
            return;
        }
        enum weir_status status = lend_message(own, message);
        if (status != WEIR_OK) {
            return; /* for want of memory: with a later flush */
        }
        own->queue_first = message->next;
        own->queued -= message->fragments;
        r.queued += message->fragments;
    }
}

static void say_sent(ikcpcb *kcp, const uint8_t *data, size_t length)
{
    static const struct {
        int mask;
        const char *name;
    } words[] = {[0] = {IKCP_LOG_OUT_DATA, "data"},
                 [WEIR_KCP_ACK - WEIR_KCP_PUSH] = {IKCP_LOG_OUT_ACK, "ack"},
                 [WEIR_KCP_WASK - WEIR_KCP_PUSH] = {IKCP_LOG_OUT_PROBE, "probe"},
                 [WEIR_KCP_WINS - WEIR_KCP_PUSH] = {IKCP_LOG_OUT_WINS, "window"}};
    struct weir_kcp_segment segment;
    const uint8_t *at = data;
    weir_ikcp_say(kcp, IKCP_LOG_OUTPUT, "output %lu bytes", (unsigned long)length);
    while (weir_kcp_decode(&at, data + length, &segment) == WEIR_KCP_DECODED) {
        weir_ikcp_say(kcp, words[segment.cmd - WEIR_KCP_PUSH].mask,
                      "output %s: sn=%lu ts=%lu una=%lu wnd=%u",
                      words[segment.cmd - WEIR_KCP_PUSH].name, (unsigned long)segment.sn,
                      (unsigned long)segment.ts, (unsigned long)segment.una, segment.wnd);
    }
}

static void hand_out(ikcpcb *kcp, const struct weir_transmit *transmit)
{
    if (kcp->conv != kcp->own->conv) {
        set_conv(transmit->data, transmit->length, kcp->conv);
    }
    if (kcp->logmask != 0) {
        say_sent(kcp, transmit->data, transmit->length);
    }
    if (kcp->output != NULL) {
        (void)kcp->output((const char *)transmit->data, (int)transmit->length, kcp, kcp->user);
    }
}

static void send_all(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    uint8_t buffer[BURST * WEIR_KCP_MTU_MAX];
    struct weir_transmit transmits[BURST];
    enum weir_status status;
    do {
        struct weir_tx tx = {.buffer = buffer,
                             .buffer_bytes = sizeof(buffer),
                             .transmits = transmits,
                             .transmits_max = BURST};
        status = weir_kcp_output(own->endpoint, now_of(own), &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            hand_out(kcp, &transmits[i]);
        }
    } while (status == WEIR_OK);
}

/* A quiet engine goes after a while, or for one with larger windows. */
static void close_if_quiet(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_reference r;
    bool is_idle = own->ms - own->active_ms >= IDLE_MS;
    bool is_small =
        send_window_of(kcp) > own->send_capacity || receive_window_of(kcp) > own->receive_capacity;
    if (!is_idle && !is_small) {
        return;
    }
    weir_kcp_reference_get(own->conn, &r);
    if (r.is_quiet) {
        weir_ikcp_close(kcp);
    }
}

void weir_ikcp_flush(ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    if (own->endpoint != NULL) {
        close_if_quiet(kcp);
    }
    if (own->endpoint == NULL && (own->queue_first == NULL || !weir_ikcp_open(kcp))) {
        return;
    }
    if (own->queue_first != NULL) {
        own->active_ms = own->ms;
    }
    weir_ikcp_tune(kcp);
    weir_kcp_timeout(own->endpoint, now_of(own));
    lend(own);
    weir_kcp_flush(own->conn);
    send_all(kcp);
    pull(own);
    weir_ikcp_mirror(kcp);
}
