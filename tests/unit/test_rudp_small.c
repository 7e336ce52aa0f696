/* SPDX-License-Identifier: MIT */
/*
 * test_rudp_small.c - very short messages, empty ones among them, in every position of a packet:
 * none may be written past the packet's end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "pair.h"

enum {
    MESSAGES = 20000,
    LENGTH_MAX = 60,
    SEEDS = 4,
    BATCH = 200
};

struct small {
    struct weir_prng lengths; /* of what arrives, the same draws as of what is sent */
    uint32_t received;
};

static uint32_t draw_length(struct weir_prng *prng)
{
    return weir_prng_below(prng, 3) == 0 ? 0 : (uint32_t)weir_prng_below(prng, LENGTH_MAX + 1);
}

static void on_event(struct pair *pair, struct pair_host *host, struct weir_rudp_event *event)
{
    struct small *small = pair->user;
    (void)host;
    if (event->type == WEIR_RUDP_EVENT_MESSAGE) {
        assert_int_equal(event->message.data.length, draw_length(&small->lengths));
        for (size_t i = 0; i < event->message.data.length; i++) {
            assert_int_equal(event->message.data.data[i], (uint8_t)small->received);
        }
        small->received++;
    }
}

static void exchange(uint64_t seed)
{
    static struct pair pair;
    struct pair_options options;
    struct small small = {0};
    struct weir_prng lengths;
    uint8_t bytes[LENGTH_MAX];
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    weir_prng_init(&lengths, seed);
    weir_prng_init(&small.lengths, seed);
    pair_options_default(&options);
    options.seed = seed;
    options.link.loss_ppm = seed % 2 == 0 ? 0 : 50000;
    pair_open(&pair, &options, on_event, &small);
    pair_connect(&pair);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        memset(bytes, (int)(i & 0xff), sizeof(bytes));
        assert_int_equal(weir_rudp_send(pair.hosts[0].conn, &how, bytes, draw_length(&lengths)),
                         WEIR_OK);
        if (i % BATCH == 0) {
            pair_run(&pair, pair.now + WEIR_MSEC);
        }
    }
    pair_run(&pair, pair.now + 120 * WEIR_SEC);
    assert_int_equal(small.received, MESSAGES);
    pair_close(&pair);
}

static void test_short_messages_fill_packets(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        exchange(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_short_messages_fill_packets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
