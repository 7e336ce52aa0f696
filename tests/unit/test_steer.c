/* SPDX-License-Identifier: MIT */
/*
 * test_steer.c - the program in the kernel, with real sockets: every packet in the queue of its
 * shard. Where the system does not let us load it, what is said then is all that is tested.
 */
#include "seed.h"

#include <poll.h>
#include <string.h>

#include "base/bytes.h"
#include "weir/weir.h"
#include "wire/rudp.h"

enum {
    QUEUES = 5,
    SHARDS = 61,
    PACKETS = 3000,
    ROOM_BYTES = 1 << 20
};

struct group {
    struct weir_driver *queues[QUEUES];
    struct weir_driver *sender;
    struct weir_steer *steer;
    struct weir_route route;
    struct weir_addr addr;
    uint32_t queue_of[SHARDS];
    char problem[WEIR_STEER_PROBLEM_BYTES];
};

static uint8_t room[ROOM_BYTES];

static struct weir_driver *open_udp(const char *bind, struct weir_addr *addr, bool is_port_reused)
{
    struct weir_udp_config config;
    struct weir_driver *driver = NULL;
    int error = 0;
    weir_udp_config_default(&config);
    if (bind != NULL) {
        assert_int_equal(weir_addr_parse(bind, &config.bind), WEIR_OK);
    } else {
        config.bind = *addr;
    }
    config.is_port_reused = is_port_reused;
    if (weir_udp_open(&config, &driver, NULL, &error) == WEIR_OK) {
        *addr = driver->local;
    }
    return driver;
}

/* False: the system does not let us. */
static bool open_group(struct group *group, const char *bind, enum weir_steer_by by)
{
    const uint8_t seed[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct weir_addr own;
    memset(group, 0, sizeof(*group));
    weir_route_init(&group->route, seed, SHARDS);
    for (int i = 0; i < QUEUES; i++) {
        group->queues[i] = open_udp(i == 0 ? bind : NULL, &group->addr, true);
        if (group->queues[i] == NULL) {
            print_message("no socket for %s: left out\n", bind);
            return false;
        }
    }
    group->sender = open_udp(bind, &own, false);
    assert_non_null(group->sender);
    enum weir_status status =
        weir_steer_open(group->queues, QUEUES, &group->route, by, &group->steer, group->problem);
    if (status != WEIR_OK) {
        assert_int_equal(status, WEIR_ERR_OS);
        assert_true(strlen(group->problem) > 20);
        print_message("left out: %s\n", group->problem);
    }
    return status == WEIR_OK;
}

static void close_group(struct group *group)
{
    weir_steer_close(group->steer);
    for (int i = 0; i < QUEUES; i++) {
        if (group->queues[i] != NULL) {
            group->queues[i]->ops->close(group->queues[i]);
        }
    }
    if (group->sender != NULL) {
        group->sender->ops->close(group->sender);
    }
}

static void set(struct group *group, uint32_t shard, uint32_t queue)
{
    weir_steer_set(group->steer, shard, queue);
    group->queue_of[shard] = queue;
}

/* Sends one datagram, which loopback delivers within the call or soon after. */
static void send_one(const struct group *group, struct weir_driver *from, struct weir_mut_span data)
{
    struct weir_transmit transmit = {.path = {.local = from->local, .remote = group->addr},
                                     .data = data.data,
                                     .length = (uint32_t)data.length,
                                     .segment_bytes = (uint16_t)data.length};
    uint32_t sent = 0;
    assert_int_equal(from->ops->send(from, 0, &transmit, 1, &sent), WEIR_OK);
    assert_int_equal(sent, 1);
}

/* Where it came out. Copies it to packet, whose path stays valid until the next one. */
static uint32_t receive_one(struct group *group, struct weir_packet *packet)
{
    struct pollfd fds[QUEUES];
    for (int i = 0; i < QUEUES; i++) {
        fds[i] =
            (struct pollfd){.fd = group->queues[i]->ops->fd(group->queues[i]), .events = POLLIN};
    }
    assert_int_equal(poll(fds, QUEUES, 10000), 1); /* one of them, and no other */
    for (uint32_t i = 0; i < QUEUES; i++) {
        struct weir_packet packets[128];
        uint32_t count = 0;
        if ((fds[i].revents & POLLIN) == 0) {
            continue;
        }
        struct weir_driver *driver = group->queues[i];
        assert_int_equal(driver->ops->receive(driver, 0, (struct weir_mut_span){room, sizeof(room)},
                                              packets, 128, &count),
                         WEIR_OK);
        assert_int_equal(count, 1);
        *packet = packets[0];
        return i;
    }
    fail();
    return 0;
}

static void expect(struct group *group, struct weir_driver *from, uint8_t *data, uint32_t length,
                   uint32_t (*route)(const void *route, const struct weir_packet *packet))
{
    struct weir_packet packet;
    send_one(group, from, (struct weir_mut_span){data, length});
    uint32_t queue = receive_one(group, &packet);
    assert_int_equal(packet.length, length);
    assert_int_equal(queue, group->queue_of[route(&group->route, &packet)]);
}

static void spread_shards(struct group *group, struct weir_prng *prng)
{
    for (uint32_t s = 0; s < SHARDS; s++) {
        set(group, s, (uint32_t)weir_prng_below(prng, QUEUES));
    }
}

/* Data, INITs, INITs that are cut off, and what is too short for an id. */
static void check_rudp(const char *bind)
{
    struct group group;
    struct weir_prng prng;
    uint64_t seen[SHARDS] = {0};
    uint8_t data[WEIR_RUDP_INIT_BYTES];
    weir_prng_init(&prng, 5);
    if (open_group(&group, bind, WEIR_STEER_RUDP)) {
        for (uint32_t i = 0; i < PACKETS; i++) {
            if (i % 500 == 0) {
                spread_shards(&group, &prng);
            }
            set(&group, i % SHARDS, i / SHARDS % QUEUES);
            for (size_t at = 0; at < sizeof(data); at += 8) {
                weir_store64(data + at, weir_prng_next(&prng));
            }
            uint8_t kind = i % 3 == 0 ? WEIR_RUDP_KIND_INIT : WEIR_RUDP_KIND_DATA;
            data[0] = (uint8_t)(kind << 4 | (data[0] & 15));
            uint32_t length = i % 7 == 0 ? 1 + i % 40 : 1 + i % WEIR_RUDP_INIT_BYTES;
            struct weir_packet packet = {.data = data, .length = length};
            seen[weir_rudp_route(&group.route, &packet)]++;
            expect(&group, group.sender, data, length, weir_rudp_route);
        }
        for (uint32_t s = 0; s < SHARDS; s++) {
            assert_true(seen[s] > 0);
        }
    }
    close_group(&group);
}

static void test_by_id_ip4(void **state)
{
    (void)state;
    check_rudp("127.0.0.1:0");
}

static void test_by_id_ip6(void **state)
{
    (void)state;
    check_rudp("[::1]:0");
}

/* From many ports. */
static void check_remote(const char *bind)
{
    struct group group;
    struct weir_prng prng;
    bool is_seen[SHARDS] = {false};
    uint32_t seen = 0;
    uint8_t data[40] = {7};
    weir_prng_init(&prng, 6);
    if (open_group(&group, bind, WEIR_STEER_REMOTE)) {
        spread_shards(&group, &prng);
        for (uint32_t i = 0; i < 500; i++) {
            struct weir_addr own;
            struct weir_driver *sender = open_udp(bind, &own, false);
            uint32_t shard = weir_route_remote(&group.route, &own);
            seen += !is_seen[shard];
            is_seen[shard] = true;
            expect(&group, sender, data, 1 + i % sizeof(data), weir_route_packet);
            set(&group, shard, i % QUEUES);
            expect(&group, sender, data, 1, weir_route_packet);
            sender->ops->close(sender);
        }
        assert_true(seen > SHARDS * 9 / 10);
    }
    close_group(&group);
}

static void test_by_remote_ip4(void **state)
{
    (void)state;
    check_remote("127.0.0.1:0");
}

static void test_by_remote_ip6(void **state)
{
    (void)state;
    check_remote("[::1]:0");
}

/* After the close, and for good: all of one path in one queue again, whatever their ids. */
static void test_close_gives_back_to_the_hash(void **state)
{
    struct group group;
    struct weir_prng prng;
    struct weir_packet packet;
    uint8_t data[40] = {0x80};
    (void)state;
    weir_prng_init(&prng, 7);
    if (open_group(&group, "127.0.0.1:0", WEIR_STEER_RUDP)) {
        spread_shards(&group, &prng);
        weir_steer_close(group.steer);
        group.steer = NULL;
        send_one(&group, group.sender, (struct weir_mut_span){data, sizeof(data)});
        uint32_t queue = receive_one(&group, &packet);
        for (int i = 0; i < 200; i++) {
            weir_store64(data + 1, weir_prng_next(&prng));
            send_one(&group, group.sender, (struct weir_mut_span){data, sizeof(data)});
            assert_int_equal(receive_one(&group, &packet), queue);
        }
    }
    close_group(&group);
}

/* Sockets of no group, and nothing at all. */
static void test_what_cannot_be_steered(void **state)
{
    struct weir_addr addr;
    struct weir_steer *steer = NULL;
    char problem[WEIR_STEER_PROBLEM_BYTES];
    const uint8_t seed[16] = {1};
    struct weir_route route;
    struct weir_driver *alone = open_udp("127.0.0.1:0", &addr, false);
    (void)state;
    weir_route_init(&route, seed, SHARDS);
    assert_int_equal(weir_steer_open(&alone, 1, &route, WEIR_STEER_RUDP, &steer, problem),
                     WEIR_ERR_OS);
    assert_non_null(strstr(problem, "addresses"));
    assert_int_equal(weir_steer_open(&alone, 0, &route, WEIR_STEER_RUDP, &steer, problem),
                     WEIR_ERR_INVALID);
    route.shards = 0;
    assert_int_equal(weir_steer_open(&alone, 1, &route, WEIR_STEER_RUDP, &steer, problem),
                     WEIR_ERR_INVALID);
    weir_steer_close(NULL);
    alone->ops->close(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_id_ip4),
        cmocka_unit_test(test_by_id_ip6),
        cmocka_unit_test(test_by_remote_ip4),
        cmocka_unit_test(test_by_remote_ip6),
        cmocka_unit_test(test_close_gives_back_to_the_hash),
        cmocka_unit_test(test_what_cannot_be_steered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
