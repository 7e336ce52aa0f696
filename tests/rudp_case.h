/* SPDX-License-Identifier: MIT */
/*
 * rudp_case.h - what the behaviour tests of RUDP share: a pair, and a log of its events.
 */
#ifndef TESTS_RUDP_CASE_H
#define TESTS_RUDP_CASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "pair.h"
#include "rudp/internal.h"

enum {
    CLIENT = 0,
    SERVER = 1,
    RECORDS_MAX = 16384,
    NUMBER_BYTES = 4
};

/* A message that was handed out. Tests number theirs in the first bytes. */
struct record {
    uint32_t number; /* UINT32_MAX when it is too short for one */
    uint32_t length;
    uint8_t channel, guarantee;
};

struct log {
    struct record records[RECORDS_MAX];
    uint32_t messages, requests, opened, moved, writable, closed;
    uint32_t done[WEIR_OUTCOME_CLOSED + 1]; /* parcels by outcome */
    enum weir_rudp_close_cause cause;
    uint32_t code;
    char text[WEIR_RUDP_REASON_BYTES_MAX + 1];
    weir_nsec closed_at;
    uint64_t sum; /* of all message bytes, each times its place */
};

struct rudp_case {
    struct pair pair;
    struct pair_options options;
    struct log logs[2];
    bool is_refusing, is_silent; /* what the server does with requests */
};

static struct rudp_case test;

static inline uint64_t sum_bytes(const uint8_t *data, size_t length)
{
    uint64_t sum = length;
    for (size_t i = 0; i < length; i++) {
        sum += data[i] * (uint64_t)(i + 1);
    }
    return sum;
}

static inline void log_message(struct log *log, const struct weir_rudp_event *event)
{
    assert_true(log->messages < RECORDS_MAX);
    struct record *record = &log->records[log->messages++];
    *record = (struct record){.number = UINT32_MAX,
                              .length = (uint32_t)event->message.data.length,
                              .channel = event->message.channel,
                              .guarantee = (uint8_t)event->message.guarantee};
    if (record->length >= NUMBER_BYTES) {
        memcpy(&record->number, event->message.data.data, NUMBER_BYTES);
    }
    log->sum += sum_bytes(event->message.data.data, event->message.data.length);
}

static inline void log_closed(struct pair *pair, struct pair_host *host, struct log *log,
                              const struct weir_rudp_event *event)
{
    log->closed++;
    log->cause = event->closed.cause;
    log->code = event->closed.code;
    log->closed_at = pair->now;
    assert_true(strlen(event->closed.text) < sizeof(log->text));
    memcpy(log->text, event->closed.text, strlen(event->closed.text) + 1);
    if (host->conn == event->conn) {
        host->conn = NULL;
    }
}

static inline void log_event(struct pair *pair, struct pair_host *host,
                             struct weir_rudp_event *event)
{
    struct log *log = &test.logs[host - pair->hosts];
    switch (event->type) {
    case WEIR_RUDP_EVENT_REQUEST:
        log->requests++;
        if (test.is_refusing) {
            weir_rudp_refuse(event->conn, 7, "no room");
        } else {
            host->conn = event->conn;
            if (!test.is_silent) {
                weir_rudp_accept(event->conn, &test);
            }
        }
        break;
    case WEIR_RUDP_EVENT_OPENED:
        log->opened++;
        break;
    case WEIR_RUDP_EVENT_MESSAGE:
        log_message(log, event);
        break;
    case WEIR_RUDP_EVENT_PARCEL_DONE:
        log->done[event->parcel.outcome]++;
        break;
    case WEIR_RUDP_EVENT_WRITABLE:
        log->writable++;
        break;
    case WEIR_RUDP_EVENT_MOVED:
        log->moved++;
        break;
    case WEIR_RUDP_EVENT_CLOSED:
        log_closed(pair, host, log, event);
        break;
    }
}

/* The options of the next open, back at their defaults. */
static inline int reset_case(void **state)
{
    (void)state;
    memset(&test, 0, sizeof(test));
    pair_options_default(&test.options);
    return 0;
}

static inline void open_case(void)
{
    pair_open(&test.pair, &test.options, log_event, NULL);
}

static inline void open_connected(void)
{
    open_case();
    pair_connect(&test.pair);
}

static inline void run_for(weir_nsec time)
{
    pair_run(&test.pair, test.pair.now + time);
}

static inline struct weir_rudp_conn *conn_of(unsigned host)
{
    assert_non_null(test.pair.hosts[host].conn);
    return test.pair.hosts[host].conn;
}

static inline void assert_pools_empty(const struct weir_rudp *ep)
{
    assert_int_equal(ep->conns.used, 0);
    assert_int_equal(ep->awakes.used, 0);
    assert_int_equal(ep->packets.used, 0);
    assert_int_equal(ep->chunks.used, 0);
    assert_int_equal(ep->helds.used, 0);
    assert_int_equal(ep->assemblies.used, 0);
    assert_int_equal(ep->channel_blocks.used, 0);
    assert_int_equal(ep->held_bytes, 0);
    assert_int_equal(weir_store_used_bytes(ep->send_store), 0);
    assert_int_equal(weir_store_used_bytes(ep->assembly_store), 0);
    assert_int_equal(weir_slide_stats(ep->config.slide)->held_bytes, 0);
}

/* Ends what is still open; then nothing may be left anywhere. */
static inline void close_case(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (test.pair.hosts[i].conn != NULL) {
            weir_rudp_abort(test.pair.hosts[i].conn, 0, "");
        }
    }
    run_for(120 * WEIR_SEC);
    assert_pools_empty(test.pair.hosts[CLIENT].rudp);
    assert_pools_empty(test.pair.hosts[SERVER].rudp);
    pair_close(&test.pair);
}

/* A numbered message of length bytes, at least NUMBER_BYTES. */
static inline enum weir_status send_number(unsigned host, const struct weir_rudp_send *how,
                                           uint32_t number, size_t length)
{
    static uint8_t bytes[1 << 16];
    assert_true(length >= NUMBER_BYTES && length <= sizeof(bytes));
    memcpy(bytes, &number, NUMBER_BYTES);
    return weir_rudp_send(conn_of(host), how, bytes, length);
}

static inline void assert_numbers(const struct log *log, const uint32_t *numbers, uint32_t count)
{
    assert_int_equal(log->messages, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(log->records[i].number, numbers[i]);
    }
}

/* Hands bytes to host as a datagram from remote, and looks at what comes of it. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the engine may write to a packet */
static inline void inject(unsigned host, const struct weir_addr *remote, uint8_t *bytes,
                          size_t length)
{
    static struct weir_path path;
    static struct weir_packet packet;
    path = (struct weir_path){.remote = *remote};
    packet = (struct weir_packet){.data = bytes, .length = (uint32_t)length, .path = &path};
    weir_rudp_input(test.pair.hosts[host].rudp, test.pair.now, &packet, 1);
}

#endif
