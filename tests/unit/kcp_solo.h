/* SPDX-License-Identifier: MIT */
/*
 * kcp_solo.h - one KCP endpoint whose peer is the test itself, segment by segment.
 */
#ifndef WEIR_TESTS_UNIT_KCP_SOLO_H
#define WEIR_TESTS_UNIT_KCP_SOLO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kcp/internal.h"
#include "weir/os.h"

enum {
    SOLO_CONV = 77,
    SOLO_SEGMENTS = 4096,
    SOLO_TX_BYTES = 1 << 20
};

static struct solo {
    struct weir_kcp_config config;
    struct weir_kcp *kcp;
    struct weir_slide *slide;
    void *mem, *slide_mem;
    size_t mem_bytes, slide_bytes;
    struct weir_kcp_conn *conn;
    struct weir_path path; /* of the peer */
    weir_nsec now;

    uint8_t tx_buffer[SOLO_TX_BYTES];
    struct weir_kcp_segment out[SOLO_SEGMENTS]; /* of the last solo_output */
    uint32_t out_count, datagrams;

    uint8_t in[65536];
    uint32_t in_bytes;

    unsigned requests, opened, messages, parcels, writable, moved, closed;
    enum weir_kcp_close_cause cause;
    uint8_t got[1 << 17];
    size_t got_bytes;
    uint32_t last_spans;
    size_t last_length;
    bool is_accepted; /* REQUESTs are answered with yes */
} solo;

static inline void solo_defaults(void)
{
    memset(&solo, 0, sizeof(solo));
    weir_kcp_config_default(&solo.config);
    solo.config.connections_max = 8;
    solo.config.tuning.interval_ms = 10;
    solo.config.tuning.is_window_fixed = true;
    solo.is_accepted = true;
}

static inline void solo_open(void)
{
    const uint8_t seed[32] = {1};
    struct weir_slide_config slide;
    weir_slide_config_default(&slide);
    solo.slide_bytes = weir_slide_mem_size(&slide);
    solo.slide_mem = weir_mem_map(solo.slide_bytes);
    assert_int_equal(weir_slide_init(solo.slide_mem, &slide, &solo.slide), WEIR_OK);
    solo.config.slide = solo.slide;
    solo.mem_bytes = weir_kcp_mem_size(&solo.config);
    assert_true(solo.mem_bytes > 0);
    solo.mem = weir_mem_map(solo.mem_bytes);
    solo.now = 1000 * WEIR_SEC;
    assert_int_equal(weir_kcp_init(solo.mem, &solo.config, seed, solo.now, &solo.kcp), WEIR_OK);
    assert_int_equal(weir_addr_parse("10.0.0.9:9", &solo.path.remote), WEIR_OK);
}

static inline void solo_connect(void)
{
    assert_int_equal(
        weir_kcp_connect(solo.kcp, solo.now, &solo.path.remote, SOLO_CONV, &solo, &solo.conn),
        WEIR_OK);
}

static inline void solo_close(void)
{
    weir_mem_unmap(solo.mem, solo.mem_bytes);
    weir_mem_unmap(solo.slide_mem, solo.slide_bytes);
}

static inline uint32_t solo_ms(void)
{
    return (uint32_t)(solo.now / WEIR_MSEC);
}

static inline void solo_drain(void)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(solo.kcp, &event) == WEIR_OK) {
        switch (event.type) {
        case WEIR_KCP_EVENT_REQUEST:
            solo.requests++;
            solo.conn = event.conn;
            if (solo.is_accepted) {
                weir_kcp_accept(event.conn, &solo);
            }
            break;
        case WEIR_KCP_EVENT_OPENED:
            solo.opened++;
            break;
        case WEIR_KCP_EVENT_MESSAGE:
            solo.messages++;
            solo.last_spans = event.message.span_count;
            solo.last_length = event.message.length;
            assert_true(solo.got_bytes + event.message.length <= sizeof(solo.got));
            solo.got_bytes += weir_kcp_copy_message(&event, solo.got + solo.got_bytes,
                                                    sizeof(solo.got) - solo.got_bytes);
            break;
        case WEIR_KCP_EVENT_PARCEL_DONE:
            solo.parcels++;
            break;
        case WEIR_KCP_EVENT_WRITABLE:
            solo.writable++;
            break;
        case WEIR_KCP_EVENT_MOVED:
            solo.moved++;
            break;
        case WEIR_KCP_EVENT_CLOSED:
            solo.closed++;
            solo.cause = event.closed.cause;
            solo.conn = NULL;
            break;
        }
    }
}

/* Runs what is due and decodes what is sent. */
static inline void solo_output(void)
{
    struct weir_transmit transmits[512];
    struct weir_tx tx = {.buffer = solo.tx_buffer,
                         .buffer_bytes = sizeof(solo.tx_buffer),
                         .transmits = transmits,
                         .transmits_max = 512};
    solo.out_count = solo.datagrams = 0;
    weir_kcp_timeout(solo.kcp, solo.now);
    solo_drain();
    assert_int_equal(weir_kcp_output(solo.kcp, solo.now, &tx), WEIR_AGAIN);
    for (uint32_t i = 0; i < tx.count; i++) {
        const uint8_t *at = transmits[i].data;
        const uint8_t *end = at + transmits[i].length;
        assert_true(weir_addr_is_equal(&transmits[i].path.remote, &solo.path.remote));
        assert_true(transmits[i].length <= solo.kcp->config.tuning.mtu_bytes);
        solo.datagrams++;
        while (at < end) {
            assert_true(solo.out_count < SOLO_SEGMENTS);
            assert_int_equal(weir_kcp_decode(&at, end, &solo.out[solo.out_count++]),
                             WEIR_KCP_DECODED);
        }
    }
    solo_drain();
}

/* The clock goes on, millisecond by millisecond; what is sent meanwhile is counted by sn. */
static inline uint32_t solo_run(uint32_t ms, uint32_t sn)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ms; i++) {
        solo.now += WEIR_MSEC;
        solo_output();
        for (uint32_t k = 0; k < solo.out_count; k++) {
            count += solo.out[k].cmd == WEIR_KCP_PUSH && solo.out[k].sn == sn;
        }
    }
    return count;
}

/* Puts a segment into the peer's datagram. */
static inline void solo_add(const struct weir_kcp_segment *segment)
{
    uint8_t *p = weir_kcp_encode_header(solo.in + solo.in_bytes, segment);
    if (segment->data.length > 0) {
        memcpy(p, segment->data.data, segment->data.length);
    }
    solo.in_bytes += WEIR_KCP_HEADER_BYTES + (uint32_t)segment->data.length;
}

static inline void solo_add_push(uint32_t sn, uint8_t frg, const char *text)
{
    solo_add(&(struct weir_kcp_segment){
        .conv = SOLO_CONV,
        .cmd = WEIR_KCP_PUSH,
        .frg = frg,
        .wnd = 128,
        .ts = solo_ms(),
        .sn = sn,
        .una = solo.conn != NULL && solo.conn->is_awake ? weir_kcp_awake_of(solo.conn)->snd_una : 0,
        .data = weir_span_of(text, strlen(text))});
}

static inline void solo_add_ack(uint32_t sn, uint32_t ts, uint32_t una, uint16_t wnd)
{
    solo_add(&(struct weir_kcp_segment){
        .conv = SOLO_CONV, .cmd = WEIR_KCP_ACK, .wnd = wnd, .ts = ts, .sn = sn, .una = una});
}

/* The peer's datagram arrives. */
static inline void solo_deliver(void)
{
    struct weir_mut_span room = weir_slide_room(solo.slide);
    struct weir_packet packet = {.data = room.data, .length = solo.in_bytes, .path = &solo.path};
    memcpy(room.data, solo.in, solo.in_bytes);
    weir_slide_received(solo.slide, solo.in_bytes);
    solo.in_bytes = 0;
    weir_kcp_input(solo.kcp, solo.now, &packet, 1);
    solo_drain();
}

static inline void solo_deliver_ack(uint32_t sn, uint32_t ts, uint32_t una)
{
    solo_add_ack(sn, ts, una, 128);
    solo_deliver();
}

static inline uint64_t solo_drops(enum weir_kcp_drop reason)
{
    return weir_kcp_stats(solo.kcp)->drops[reason];
}

#endif
