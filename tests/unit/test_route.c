/* SPDX-License-Identifier: MIT */
/*
 * test_route.c - shards by address: that what is called from a shard answers to it, and how evenly
 * connections spread.
 */
#include "seed.h"

#include <string.h>

#include "base/bytes.h"
#include "weir/weir.h"

enum {
    SHARDS = 61,
    CALLS = 40, /* of a shard */
    REMOTES = 300,
    CONNECTIONS = 100000
};

static struct weir_route route;

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse(text, &addr), WEIR_OK);
    return addr;
}

static struct weir_slide *open_slide(void **mem, size_t *bytes)
{
    const struct weir_slide_config config = {1 << 20, 600 << 10, 0};
    struct weir_slide *slide = NULL;
    *bytes = weir_slide_mem_size(&config);
    *mem = weir_mem_map(*bytes);
    assert_non_null(*mem);
    assert_int_equal(weir_slide_init(*mem, &config, &slide), WEIR_OK);
    return slide;
}

/* --- TCP -------------------------------------------------------------------------------------- */

static struct weir_tcp_config tcp_config(struct weir_slide *slide, uint32_t shard)
{
    struct weir_tcp_config config;
    weir_tcp_config_default(&config);
    config.slide = slide;
    config.connections_max = config.connections6_max = 4 * CALLS;
    config.segments_max = config.held_max = 1024;
    config.send_bytes = 1 << 16;
    config.route = &route;
    config.shard = shard;
    return config;
}

/* The shard of what the peer answers, and of an error about what was sent. */
static void expect_answers(const struct weir_path *path, uint32_t shard)
{
    uint8_t ports[8] = {0};
    struct weir_path hosts = *path;
    struct weir_packet packet = {.data = ports, .length = sizeof(ports), .path = &hosts};
    hosts.local.port = hosts.remote.port = 0; /* they are in the segment */
    packet.protocol = WEIR_PROTOCOL_TCP;
    weir_store16(ports, path->remote.port);
    weir_store16(ports + 2, path->local.port);
    assert_int_equal(weir_tcp_route(&route, &packet), shard);
    packet.protocol = WEIR_PROTOCOL_UNREACHED;
    weir_store16(ports, path->local.port);
    weir_store16(ports + 2, path->remote.port);
    assert_int_equal(weir_tcp_route(&route, &packet), shard);
}

static void call_from(struct weir_tcp *tcp, uint32_t shard, const char *local, const char *remote,
                      bool is_port_used[65536])
{
    struct weir_path path = {.local = addr_of(local), .remote = addr_of(remote)};
    for (int i = 0; i < CALLS; i++) {
        struct weir_tcp_conn *conn = NULL;
        assert_int_equal(weir_tcp_connect(tcp, 0, &path, NULL, &conn), WEIR_OK);
        struct weir_path made = weir_tcp_path(tcp, conn);
        expect_answers(&made, shard);
        assert_false(is_port_used[made.local.port]);
        is_port_used[made.local.port] = true;
    }
}

/* A port that the caller chose is taken only where its answers come. */
static uint32_t call_from_ports(struct weir_tcp *tcp, uint32_t shard)
{
    struct weir_path path = {.local = addr_of("10.0.0.1:0"), .remote = addr_of("10.0.0.8:80")};
    uint32_t taken = 0;
    for (path.local.port = 1; path.local.port <= REMOTES; path.local.port++) {
        struct weir_tcp_conn *conn = NULL;
        bool is_ours = weir_route_path(&route, &path) == shard;
        assert_int_equal(weir_tcp_connect(tcp, 0, &path, NULL, &conn),
                         is_ours ? WEIR_OK : WEIR_ERR_INVALID);
        taken += is_ours;
    }
    return taken;
}

static void test_tcp_calls_are_answered_where_they_came_from(void **state)
{
    static bool is_port_used[2][65536];
    const uint8_t seed[16] = {7};
    void *slide_mem = NULL;
    size_t slide_bytes = 0;
    uint32_t taken = 0;
    (void)state;
    weir_route_init(&route, seed, SHARDS);
    struct weir_slide *slide = open_slide(&slide_mem, &slide_bytes);
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct weir_tcp_config config = tcp_config(slide, s);
        const uint8_t secret[32] = {(uint8_t)s};
        struct weir_tcp *tcp = NULL;
        size_t bytes = weir_tcp_mem_size(&config);
        void *mem = weir_mem_map(bytes);
        assert_int_equal(weir_tcp_init(mem, &config, secret, 0, &tcp), WEIR_OK);
        call_from(tcp, s, "10.0.0.1:0", "10.0.0.9:80", is_port_used[0]);
        call_from(tcp, s, "[fd00::1]:0", "[fd00::9]:80", is_port_used[1]);
        taken += call_from_ports(tcp, s);
        weir_mem_unmap(mem, bytes);
    }
    assert_int_equal(taken, REMOTES);
    struct weir_tcp_config config = tcp_config(slide, SHARDS);
    assert_int_equal(weir_tcp_mem_size(&config), 0);
    weir_mem_unmap(slide_mem, slide_bytes);
}

static uint32_t count_ports(struct weir_path path, uint32_t shard)
{
    uint32_t count = 0;
    for (uint32_t port = 1024; port < 65536; port++) {
        path.local.port = (uint16_t)port;
        count += weir_route_path(&route, &path) == shard;
    }
    return count;
}

static uint32_t call_all(struct weir_tcp *tcp, const struct weir_path *path)
{
    static bool is_port_used[65536];
    struct weir_tcp_conn *conn = NULL;
    uint32_t made = 0;
    while (weir_tcp_connect(tcp, 0, path, NULL, &conn) == WEIR_OK) {
        uint16_t port = weir_tcp_path(tcp, conn).local.port;
        assert_false(is_port_used[port]);
        is_port_used[port] = true;
        made++;
    }
    return made;
}

/* All ports that lead to the shard can be used, each once; then there are none. */
static void test_tcp_ports_run_out(void **state)
{
    const uint8_t seed[16] = {11};
    const uint8_t secret[32] = {12};
    void *slide_mem = NULL;
    size_t slide_bytes = 0;
    struct weir_tcp *tcp = NULL;
    struct weir_tcp_conn *conn = NULL;
    (void)state;
    weir_route_init(&route, seed, SHARDS);
    struct weir_tcp_config config = tcp_config(open_slide(&slide_mem, &slide_bytes), 5);
    config.connections_max = 2048;
    config.awake_max = 2048;
    size_t bytes = weir_tcp_mem_size(&config);
    void *mem = weir_mem_map(bytes);
    assert_int_equal(weir_tcp_init(mem, &config, secret, 0, &tcp), WEIR_OK);
    struct weir_path path = {.local = addr_of("10.0.0.1:0"), .remote = addr_of("10.0.0.9:80")};
    uint32_t expected = count_ports(path, config.shard);
    assert_in_range(expected, 800, 1300);
    assert_int_equal(call_all(tcp, &path), expected);
    path.remote.port = 81; /* another remote, all ports anew */
    assert_int_equal(weir_tcp_connect(tcp, 0, &path, NULL, &conn), WEIR_OK);
    weir_mem_unmap(mem, bytes);
    weir_mem_unmap(slide_mem, slide_bytes);
}

/* --- KCP -------------------------------------------------------------------------------------- */

static void test_kcp_calls_only_what_answers_here(void **state)
{
    const uint8_t seed[16] = {8};
    const uint8_t secret[32] = {9};
    struct weir_kcp_config config;
    void *slide_mem = NULL;
    size_t slide_bytes = 0;
    uint32_t taken = 0;
    (void)state;
    weir_route_init(&route, seed, 7);
    weir_kcp_config_default(&config);
    config.slide = open_slide(&slide_mem, &slide_bytes);
    config.route = &route;
    for (config.shard = 0; config.shard < 7; config.shard++) {
        struct weir_kcp *kcp = NULL;
        size_t bytes = weir_kcp_mem_size(&config);
        void *mem = weir_mem_map(bytes);
        assert_int_equal(weir_kcp_init(mem, &config, secret, 0, &kcp), WEIR_OK);
        struct weir_addr remote = addr_of("10.0.0.9:1000");
        for (uint32_t i = 0; i < REMOTES; i++, remote.port++) {
            struct weir_kcp_conn *conn = NULL;
            const struct weir_path path = {.remote = remote};
            const struct weir_packet answer = {.path = &path};
            bool is_ours = weir_route_packet(&route, &answer) == config.shard;
            assert_int_equal(weir_kcp_connect(kcp, 0, &remote, 0, NULL, &conn),
                             is_ours ? WEIR_OK : WEIR_ERR_INVALID);
            taken += is_ours;
        }
        weir_kcp_fini(kcp);
        weir_mem_unmap(mem, bytes);
    }
    assert_int_equal(taken, REMOTES);
    assert_int_equal(weir_kcp_mem_size(&config), 0); /* shard 7 */
    weir_mem_unmap(slide_mem, slide_bytes);
}

/* --- how evenly ------------------------------------------------------------------------------- */

/* The fullest over the mean, in 1/1000. */
static uint64_t fullest(const uint32_t *counts, uint32_t count, const char *what)
{
    uint64_t most = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        most = weir_max_u64(most, counts[i]);
        sum += counts[i];
    }
    assert_int_equal(sum, CONNECTIONS);
    uint64_t permille = most * 1000 * count / CONNECTIONS;
    print_message("%s: the fullest of %u has %llu.%03llu times the mean\n", what, count,
                  (unsigned long long)(permille / 1000), (unsigned long long)(permille % 1000));
    return permille;
}

static void test_connections_spread_evenly(void **state)
{
    static uint32_t by_id[SHARDS];
    static uint32_t by_addr[SHARDS];
    static uint32_t by_port[SHARDS];
    struct weir_prng prng;
    const uint8_t seed[16] = {10};
    struct weir_addr remote = addr_of("10.0.0.9:1000");
    struct weir_path path = {.local = addr_of("10.0.0.1:443"), .remote = remote};
    (void)state;
    weir_route_init(&route, seed, SHARDS);
    weir_prng_init(&prng, 12);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        by_id[weir_route_id(&route, weir_prng_next(&prng))]++;
        /* Clients by the hundred on each of a thousand hosts. */
        path.remote.port = remote.port = (uint16_t)(1024 + i % 100);
        weir_store32(remote.ip, 0x0a000000 + i / 100);
        memcpy(path.remote.ip, remote.ip, sizeof(remote.ip));
        by_addr[weir_route_remote(&route, &remote)]++;
        by_port[weir_route_path(&route, &path)]++;
    }
    assert_true(fullest(by_id, SHARDS, "100000 connections by id") < 1150);
    assert_true(fullest(by_addr, SHARDS, "by address") < 1150);
    assert_true(fullest(by_port, SHARDS, "by both addresses") < 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_calls_are_answered_where_they_came_from),
        cmocka_unit_test(test_tcp_ports_run_out),
        cmocka_unit_test(test_kcp_calls_only_what_answers_here),
        cmocka_unit_test(test_connections_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
