/* SPDX-License-Identifier: MIT */
/*
 * test_net_queues.c - one driver with a queue for each of many threads, as --driver says.
 */
#include "seed.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/net.h"

enum {
    QUEUES = 4,
    SENDERS = 64,
    ROOM_BYTES = 1 << 20
};

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse(text, &addr), WEIR_OK);
    return addr;
}

static void close_all(struct weir_driver **queues)
{
    for (uint32_t i = 0; i < QUEUES; i++) {
        cli_net_close(queues[i]);
    }
}

/* Each from a port of its own. */
static void send_to(const struct weir_addr *addr)
{
    for (int i = 0; i < SENDERS; i++) {
        struct weir_udp_config config;
        struct weir_driver *sender = NULL;
        uint8_t byte = (uint8_t)i;
        uint32_t sent = 0;
        int error = 0;
        weir_udp_config_default(&config);
        config.bind = addr_of("127.0.0.1:0");
        assert_int_equal(weir_udp_open(&config, &sender, NULL, &error), WEIR_OK);
        struct weir_transmit transmit = {.path = {.local = sender->local, .remote = *addr},
                                         .data = &byte,
                                         .length = 1,
                                         .segment_bytes = 1};
        assert_int_equal(sender->ops->send(sender, 0, &transmit, 1, &sent), WEIR_OK);
        assert_int_equal(sent, 1);
        sender->ops->close(sender);
    }
}

static uint32_t receive_from(struct weir_driver *queue)
{
    static uint8_t room[ROOM_BYTES];
    struct weir_packet packets[128];
    struct pollfd fd = {.fd = queue->ops->fd(queue), .events = POLLIN};
    uint32_t sum = 0;
    while (poll(&fd, 1, 0) > 0) {
        uint32_t count = 0;
        assert_int_equal(queue->ops->receive(queue, 0, (struct weir_mut_span){room, sizeof(room)},
                                             packets, 128, &count),
                         WEIR_OK);
        sum += count;
    }
    return sum;
}

static void test_sockets_share_a_port(void **state)
{
    struct cli_net_options options;
    struct weir_addr addr = addr_of("127.0.0.1:0");
    struct weir_driver *queues[QUEUES];
    struct weir_driver *others[QUEUES];
    uint32_t received = 0;
    uint32_t busy = 0;
    (void)state;
    assert_true(cli_net_read("udp", &options));
    assert_true(cli_net_open_queues(&options, &addr, NULL, queues, QUEUES));
    assert_int_not_equal(addr.port, 0);
    send_to(&addr);
    for (uint32_t i = 0; i < QUEUES; i++) {
        uint32_t count = receive_from(queues[i]);
        assert_int_equal(queues[i]->local.port, addr.port);
        received += count;
        busy += count > 0;
    }
    assert_int_equal(received, SENDERS);
    assert_in_range(busy, 2, QUEUES);
    /* Started twice, the second would get a part of what is sent to the first. */
    assert_false(cli_net_open_queues(&options, &addr, NULL, others, QUEUES));
    close_all(queues);
    assert_true(cli_net_open_queues(&options, &addr, NULL, others, QUEUES));
    close_all(others);
}

static void test_each_queue_has_its_trace(void **state)
{
    char dir[] = "/tmp/weir_test_queues_XXXXXX";
    char path[64];
    struct cli_net_options options;
    struct weir_addr addr = addr_of("127.0.0.1:0");
    struct weir_driver *queues[QUEUES];
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_true(cli_net_read("udp,loss=1%", &options));
    (void)snprintf(path, sizeof(path), "%s/run.pcapng", dir);
    assert_true(cli_net_open_queues(&options, &addr, path, queues, QUEUES));
    close_all(queues);
    for (int i = 0; i < QUEUES; i++) {
        (void)snprintf(path, sizeof(path), "%s/run-%d.pcapng", dir, i);
        assert_int_equal(unlink(path), 0);
    }
    (void)snprintf(path, sizeof(path), "%s/none/run", dir);
    assert_false(cli_net_open_queues(&options, &addr, path, queues, QUEUES));
    assert_int_equal(rmdir(dir), 0);
}

static void test_what_cannot_be_shared_is_refused(void **state)
{
    struct cli_net_options options;
    struct weir_addr addr = addr_of("127.0.0.1:0");
    struct weir_driver *queues[QUEUES];
    (void)state;
    assert_true(cli_net_read("raw:127.0.0.1", &options));
    assert_false(cli_net_open_queues(&options, NULL, NULL, queues, QUEUES));
    assert_false(cli_net_open_queues(&options, &addr, NULL, queues, QUEUES));
    assert_true(cli_net_read("udp", &options));
    assert_false(cli_net_open_queues(&options, NULL, NULL, queues, QUEUES)); /* TCP */
    assert_true(cli_net_read("packet:weir-none,10.7.0.2/24", &options));
    assert_false(cli_net_open_queues(&options, NULL, NULL, queues, QUEUES));
}

/* In a network namespace of its own; the last test, for it stays there. */
static void test_devices_have_queues(void **state)
{
    static const char *const specs[] = {"tun:weir0,10.7.0.2/24,fd07::2/64,mtu=1400",
                                        "tap:weir0,10.7.0.2/24,fd07::2/64",
                                        "packet:lo,10.7.0.2/24,loss=1%"};
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
        print_message("left out: needs root and /dev/net/tun\n");
        return;
    }
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct cli_net_options options;
        struct weir_driver *queues[QUEUES];
        struct weir_addr addr = addr_of("10.7.0.2:0");
        assert_true(cli_net_read(specs[i], &options));
        assert_true(cli_net_open_queues(&options, NULL, NULL, queues, QUEUES));
        close_all(queues);
        assert_true(cli_net_open_queues(&options, &addr, NULL, queues, QUEUES));
        assert_int_not_equal(addr.port, 0);
        for (uint32_t q = 0; q < QUEUES; q++) {
            assert_true(queues[q]->ops->fd(queues[q]) >= 0);
        }
        close_all(queues);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets_share_a_port),
        cmocka_unit_test(test_each_queue_has_its_trace),
        cmocka_unit_test(test_what_cannot_be_shared_is_refused),
        cmocka_unit_test(test_devices_have_queues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
