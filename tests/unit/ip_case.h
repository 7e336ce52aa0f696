/* SPDX-License-Identifier: MIT */
/*
 * ip_case.h - what the tests of the IP layer share: one layer, what it drops, what it sends.
 */
#ifndef WEIR_TESTS_IP_CASE_H
#define WEIR_TESTS_IP_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ip_world.h"

static const struct weir_packet plain = {.protocol = WEIR_PROTOCOL_FRAME};
static struct ip_world world;

static inline void open_with(const struct weir_ip_config *config,
                             const struct weir_ip_service *service)
{
    assert_true(ip_world_open(&world, config, service));
}

static inline void open_plain(const struct weir_ip_service *service)
{
    const struct weir_ip_config config = ip_world_config(false);
    open_with(&config, service);
}

static inline int close_world(void **state)
{
    (void)state;
    ip_world_close(&world);
    world.mem = NULL;
    return 0;
}

static inline uint64_t dropped(enum weir_ip_drop reason)
{
    return weir_ip_stats(world.ip)->dropped[reason];
}

/* Gives the frame and expects this one drop. */
static inline void expect_drop(enum weir_ip_drop reason)
{
    uint64_t before[WEIR_IP_DROP_COUNT];
    memcpy(before, weir_ip_stats(world.ip)->dropped, sizeof(before));
    assert_false(ip_world_give(&world, &plain));
    for (int i = 0; i < WEIR_IP_DROP_COUNT; i++) {
        assert_int_equal(dropped((enum weir_ip_drop)i) - before[i], i == (int)reason);
    }
}

/* The frames of ours that wait, which are then gone. */
static inline const struct weir_transmit *take_output(uint32_t expected)
{
    uint32_t count = 0;
    const struct weir_transmit *frames = weir_ip_output(world.ip, &count);
    assert_int_equal(count, expected);
    weir_ip_sent(world.ip, count);
    return frames;
}

#define IP_TEST(name) cmocka_unit_test_teardown(name, close_world)

#endif
