/* SPDX-License-Identifier: MIT */
/*
 * kcp_world.h - two nets of KCP streams on a simulated link in virtual time: even blocking calls
 * wait for nothing. Also bytes that can be checked, and flows of them. For cmocka tests.
 */
#ifndef TESTS_KCP_WORLD_H
#define TESTS_KCP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "run/kcp_stream_internal.h"
#include "weir/kcp_stream.h"
#include "weir/sim.h"

enum {
    NETS = 2,
    CLIENT = 0,
    SERVER = 1,
    TURNS_MAX = 20000000
};

/* --- a world in virtual time ------------------------------------------------------------------ */

struct world {
    weir_nsec now;
    struct weir_sim *sim;
    struct weir_driver *drivers[NETS];
    struct weir_kcp_net *nets[NETS];
    struct weir_kcp_listener *listener;
    struct weir_clock clock;
    uint64_t turns;
};

static inline weir_nsec world_now(void *user)
{
    return ((const struct world *)user)->now;
}

/* Runs the nets that do not wait themselves, and moves on to what is due next. */
static inline void world_wait(void *user, weir_nsec until)
{
    struct world *world = user;
    weir_nsec next = weir_min_u64(until, weir_sim_next(world->sim));
    assert_true(world->turns++ < TURNS_MAX);
    for (unsigned i = 0; i < NETS; i++) {
        if (!world->nets[i]->is_inside) {
            assert_int_equal(weir_kcp_net_run_once(world->nets[i], 0), WEIR_OK);
        }
    }
    next = weir_min_u64(next, weir_sim_next(world->sim));
    for (unsigned i = 0; i < NETS; i++) {
        if (!world->nets[i]->is_inside) {
            next = weir_min_u64(next, weir_kcp_net_next_timeout(world->nets[i]));
        }
    }
    if (next != WEIR_NEVER && next > world->now) {
        world->now = next;
    }
}

/* Event-driven: nobody is inside. */
static inline void world_run(struct world *world, weir_nsec until)
{
    while (world->now < until) {
        world_wait(world, until);
    }
}

static inline struct weir_addr address_of(unsigned net)
{
    return (struct weir_addr){
        .ip = {10, 0, 0, (uint8_t)(net + 1)}, .port = 4000, .family = WEIR_ADDR_IP4};
}

static inline void world_open(struct world *world, const struct weir_kcp_net_config *base,
                              const struct weir_sim_link *link, uint64_t seed)
{
    struct weir_sim_config sim;
    memset(world, 0, sizeof(*world));
    world->now = WEIR_SEC;
    world->clock = (struct weir_clock){.now = world_now, .wait = world_wait, .user = world};
    weir_sim_config_default(&sim);
    sim.seed = seed;
    assert_int_equal(weir_sim_open(&sim, &world->sim), WEIR_OK);
    for (unsigned i = 0; i < NETS; i++) {
        struct weir_addr addr = address_of(i);
        assert_int_equal(weir_sim_add_host(world->sim, &addr, &world->drivers[i]), WEIR_OK);
    }
    for (unsigned i = 0; i < NETS; i++) {
        struct weir_kcp_net_config config = *base;
        uint8_t secret[32] = {(uint8_t)i, (uint8_t)seed};
        config.driver = world->drivers[i];
        config.clock = &world->clock;
        config.seed = secret;
        config.kcp.is_accepting = i == SERVER;
        assert_int_equal(weir_kcp_net_open(&config, &world->nets[i], NULL), WEIR_OK);
        assert_int_equal(
            weir_sim_set_link(world->sim, world->drivers[i], world->drivers[1 - i], link), WEIR_OK);
    }
}

static inline void world_close(struct world *world)
{
    weir_kcp_net_close(world->nets[CLIENT]);
    weir_kcp_net_close(world->nets[SERVER]);
    weir_sim_close(world->sim);
}

static inline struct weir_kcp_net_config small_config(void)
{
    struct weir_kcp_net_config config;
    weir_kcp_net_config_default(&config);
    config.kcp.connections_max = 64;
    config.kcp.tuning.interval_ms = 10;
    config.kcp.tuning.nodelay = 1;
    config.kcp.tuning.resend = 2;
    config.kcp.tuning.is_window_fixed = true;
    config.kcp.tuning.send_window = 128;
    return config;
}

static const struct weir_sim_link clean = {.delay = 20 * WEIR_MSEC};

static inline struct weir_kcp_stream *connect_to_server(struct world *world)
{
    struct weir_addr remote = address_of(SERVER);
    struct weir_kcp_stream *stream = NULL;
    assert_int_equal(weir_kcp_stream_connect(world->nets[CLIENT], &remote, 0, &stream), WEIR_OK);
    return stream;
}

/* A pair of streams with the text "hi" said and heard. */
static inline void open_pair(struct world *world, struct weir_kcp_stream *pair[NETS])
{
    char text[2];
    size_t length = 0;
    pair[CLIENT] = connect_to_server(world);
    if (world->listener == NULL) {
        assert_int_equal(weir_kcp_listen(world->nets[SERVER], NULL, NULL, &world->listener),
                         WEIR_OK);
    }
    assert_int_equal(weir_kcp_stream_write(pair[CLIENT], "hi", 2, &length), WEIR_OK);
    assert_int_equal(weir_kcp_listener_accept_wait(world->listener, WEIR_SEC, &pair[SERVER]),
                     WEIR_OK);
    assert_int_equal(weir_kcp_stream_read_wait(pair[SERVER], text, sizeof(text), WEIR_SEC, &length),
                     WEIR_OK);
    assert_int_equal(length, 2);
    assert_memory_equal(text, "hi", 2);
    assert_int_equal(weir_kcp_stream_drain(pair[CLIENT], WEIR_SEC), WEIR_OK);
}

/* Byte number i of what all tests send: no period that a segment could hide in. */
static inline uint8_t pattern(uint64_t i)
{
    return (uint8_t)((i * 2654435761u) >> 13);
}

static inline void fill(uint8_t *bytes, uint64_t from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = pattern(from + i);
    }
}

static inline void check(const uint8_t *bytes, uint64_t from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != pattern(from + i)) {
            fail_msg("byte %llu is wrong", (unsigned long long)(from + i));
        }
    }
}

/* --- bulk ------------------------------------------------------------------------------------- */

/* One direction: writes total bytes as there is room, or reads them as they come. */
struct flow {
    uint64_t total, done;
    size_t piece; /* of one read or write */
    bool is_closed;
    enum weir_kcp_close_cause cause;
};

static inline void flow_write(struct weir_kcp_stream *stream, void *user)
{
    struct flow *flow = user;
    uint8_t bytes[30000];
    while (flow->done < flow->total) {
        size_t taken = 0;
        size_t length = weir_min_u64(flow->piece, flow->total - flow->done);
        fill(bytes, flow->done, length);
        enum weir_status status = weir_kcp_stream_write(stream, bytes, length, &taken);
        assert_true(status == WEIR_OK || (status == WEIR_AGAIN && taken == 0));
        flow->done += taken;
        if (taken < length) {
            return;
        }
    }
}

static inline void flow_read(struct weir_kcp_stream *stream, void *user)
{
    struct flow *flow = user;
    uint8_t bytes[30000];
    size_t length = 0;
    while (weir_kcp_stream_read(stream, bytes, flow->piece, &length) == WEIR_OK) {
        check(bytes, flow->done, length);
        flow->done += length;
    }
}

static inline void flow_closed(struct weir_kcp_stream *stream, void *user,
                               enum weir_kcp_close_cause cause)
{
    struct flow *flow = user;
    assert_false(flow->is_closed);
    assert_int_equal(weir_kcp_stream_cause(stream), cause);
    flow->is_closed = true;
    flow->cause = cause;
}

static const struct weir_kcp_stream_events writing = {.on_writable = flow_write,
                                                      .on_closed = flow_closed};
static const struct weir_kcp_stream_events reading = {.on_readable = flow_read,
                                                      .on_closed = flow_closed};

static inline void accept_reader(struct weir_kcp_listener *listener, void *user)
{
    struct weir_kcp_stream *stream = NULL;
    while (weir_kcp_listener_accept(listener, &stream) == WEIR_OK) {
        weir_kcp_stream_watch(stream, &reading, user);
    }
}

#endif
