/* SPDX-License-Identifier: MIT */
/*
 * figures.h - what all engines must say of themselves by weir_verbs.figures.
 */
#ifndef WEIR_TESTS_FIGURES_H
#define WEIR_TESTS_FIGURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "weir/loop.h"

/* Asks for the figures of an endpoint that has one connection over 20 ms each way; drops are those
 * it has counted itself, count of them. */
static inline struct weir_figures figures_check(const struct weir_verbs *verbs,
                                                const void *endpoint, const uint64_t *drops,
                                                uint32_t count)
{
    struct weir_figures figures;
    uint64_t dropped = 0;
    memset(&figures, 0xff, sizeof(figures));
    verbs->figures(endpoint, &figures);
    assert_int_equal(figures.connections, 1);
    if (figures.rtt != 0) {
        assert_in_range(figures.rtt, 40 * WEIR_MSEC, 80 * WEIR_MSEC);
    }
    assert_true(figures.packets_sent > 0 && figures.bytes_sent >= figures.packets_sent);
    assert_true(figures.packets_received > 0 && figures.bytes_received >= figures.packets_received);
    for (uint32_t i = 0; i < count; i++) {
        assert_non_null(verbs->drop_names[i]);
        assert_int_equal(figures.drops[i], drops[i]);
        dropped += drops[i];
    }
    assert_null(verbs->drop_names[count]);
    assert_int_equal(figures.dropped, dropped);
    for (uint32_t i = count; i < WEIR_FIGURES_DROPS_MAX; i++) {
        assert_int_equal(figures.drops[i], 0);
    }
    return figures;
}

#endif
