/* SPDX-License-Identifier: MIT */
/*
 * test_rudp.c - how RUDP connections open, live, move and end, in virtual time.
 */
#include "figures.h"
#include "rudp_case.h"

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

/* --- opening ---------------------------------------------------------------------------------- */

static void connect_and_accept(void **state)
{
    (void)state;
    int mine;
    struct weir_addr server = pair_server_addr();
    open_case();
    struct pair_host *client = &test.pair.hosts[CLIENT];
    assert_int_equal(weir_rudp_connect(client->rudp, test.pair.now, &server, &mine, &client->conn),
                     WEIR_OK);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].requests, 1);
    assert_int_equal(test.logs[SERVER].opened, 1);
    assert_int_equal(test.logs[CLIENT].opened, 1);
    assert_ptr_equal(weir_rudp_user(conn_of(CLIENT)), &mine);
    assert_ptr_equal(weir_rudp_user(conn_of(SERVER)), &test);
    assert_true(weir_addr_is_equal(&weir_rudp_path(conn_of(CLIENT))->remote, &server));
    assert_int_equal(weir_rudp_stats(client->rudp)->handshakes, 1);
    close_case();
}

static void the_loop_is_told_figures(void **state)
{
    (void)state;
    open_connected();
    run_for(WEIR_SEC);
    assert_int_equal(weir_rudp_send(conn_of(CLIENT), &delivery, "abc", 3), WEIR_OK);
    run_for(WEIR_SEC);
    struct weir_figures sums[2];
    for (unsigned i = 0; i < 2; i++) {
        const struct weir_rudp *rudp = test.pair.hosts[i].rudp;
        sums[i] = figures_check(weir_rudp_verbs(), rudp, weir_rudp_stats(rudp)->drops,
                                WEIR_RUDP_DROP_COUNT);
    }
    assert_int_equal(sums[CLIENT].bytes_sent, sums[SERVER].bytes_received);
    assert_int_equal(sums[CLIENT].packets_sent, sums[SERVER].packets_received);
    assert_int_equal(sums[SERVER].packets_sent, sums[CLIENT].packets_received);
    assert_true(sums[CLIENT].rtt > 0);
    assert_int_equal(sums[SERVER].bytes_sent, sums[CLIENT].bytes_received);
    close_case();
}

static void connect_needs_an_address(void **state)
{
    (void)state;
    struct weir_rudp_conn *conn;
    struct weir_addr addr = pair_server_addr();
    open_case();
    addr.port = 0;
    assert_int_equal(
        weir_rudp_connect(test.pair.hosts[CLIENT].rudp, test.pair.now, &addr, NULL, &conn),
        WEIR_ERR_INVALID);
    addr = (struct weir_addr){.port = 1};
    assert_int_equal(
        weir_rudp_connect(test.pair.hosts[CLIENT].rudp, test.pair.now, &addr, NULL, &conn),
        WEIR_ERR_INVALID);
    addr = pair_server_addr();
    for (uint32_t i = 0; i < test.options.rudp.connections_max; i++) {
        assert_int_equal(
            weir_rudp_connect(test.pair.hosts[CLIENT].rudp, test.pair.now, &addr, NULL, &conn),
            WEIR_OK);
        weir_rudp_abort(conn, 0, "");
    }
    assert_int_equal(
        weir_rudp_connect(test.pair.hosts[CLIENT].rudp, test.pair.now, &addr, NULL, &conn),
        WEIR_ERR_FULL);
    close_case();
}

static void start_connect(void)
{
    struct weir_addr server = pair_server_addr();
    struct pair_host *client = &test.pair.hosts[CLIENT];
    assert_int_equal(weir_rudp_connect(client->rudp, test.pair.now, &server, NULL, &client->conn),
                     WEIR_OK);
}

static void refuse_says_why(void **state)
{
    (void)state;
    test.is_refusing = true;
    open_case();
    start_connect();
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 1);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_REFUSED);
    assert_int_equal(test.logs[CLIENT].code, 7);
    assert_string_equal(test.logs[CLIENT].text, "no room");
    assert_int_equal(weir_rudp_stats(test.pair.hosts[SERVER].rudp)->connections, 0);
    close_case();
}

static void request_is_dropped_when_unanswered(void **state)
{
    (void)state;
    test.is_silent = true;
    open_case();
    start_connect();
    run_for(test.options.rudp.connect_timeout + 2 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].requests, 1);
    assert_int_equal(test.logs[SERVER].closed, 1);
    assert_int_equal(test.logs[SERVER].cause, WEIR_RUDP_CAUSE_TIMEOUT);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_TIMEOUT);
    close_case();
}

static void nobody_answers(void **state)
{
    (void)state;
    test.options.link.loss_ppm = 1000000;
    open_case();
    weir_nsec start = test.pair.now;
    start_connect();
    run_for(test.options.rudp.connect_timeout + WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_TIMEOUT);
    assert_true(test.logs[CLIENT].closed_at >= start + test.options.rudp.connect_timeout);
    close_case();
}

/* --- what an endpoint says to strangers ------------------------------------------------------- */

static struct weir_addr stranger(uint32_t number)
{
    struct weir_addr addr = {.ip = {192, 0, 2, (uint8_t)number},
                             .port = (uint16_t)(1000 + number),
                             .family = WEIR_ADDR_IP4};
    return addr;
}

static size_t make_init(uint8_t *bytes, uint32_t version, uint64_t source_id,
                        struct weir_span cookie)
{
    struct weir_rudp_init_packet init = {.version = version,
                                         .source_id = source_id,
                                         .cookie = cookie,
                                         .params = {.receive_window_bytes = 1 << 20,
                                                    .message_bytes_max = 1 << 16,
                                                    .channels_max = 4,
                                                    .datagram_bytes_max = 1472}};
    return weir_rudp_encode_init(bytes, &init, 0);
}

/* What the server sends next, bytes and destination; false when nothing. */
static bool next_reply(struct weir_span *reply, struct weir_addr *to)
{
    static uint8_t buffer[1 << 14];
    struct weir_transmit transmit;
    struct weir_rudp_event event;
    struct weir_rudp *ep = test.pair.hosts[SERVER].rudp;
    struct weir_tx tx = {.buffer = buffer,
                         .buffer_bytes = sizeof(buffer),
                         .transmits = &transmit,
                         .transmits_max = 1};
    while (weir_rudp_event(ep, &event) == WEIR_OK) {
        log_event(&test.pair, &test.pair.hosts[SERVER], &event);
    }
    if (weir_rudp_output(ep, test.pair.now, &tx) == WEIR_AGAIN && tx.count == 0) {
        return false;
    }
    assert_int_equal(tx.count, 1);
    assert_true(weir_rudp_check_clear(transmit.data, transmit.length));
    *reply = weir_span_of(transmit.data, transmit.length - WEIR_RUDP_TRAILER_BYTES);
    *to = transmit.path.remote;
    return true;
}

static void strangers_leave_no_state(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    open_case();
    const struct weir_rudp_stats *stats = weir_rudp_stats(test.pair.hosts[SERVER].rudp);
    for (uint32_t i = 1; i < 250; i++) {
        struct weir_addr from = stranger(i);
        struct weir_addr to;
        struct weir_span reply;
        struct weir_span cookie;
        inject(SERVER, &from, bytes,
               make_init(bytes, WEIR_RUDP_VERSION_1, 1000 + i, (struct weir_span){0}));
        assert_true(next_reply(&reply, &to));
        assert_true(weir_addr_is_equal(&from, &to));
        assert_true(reply.length + WEIR_RUDP_TRAILER_BYTES <= (size_t)3 * WEIR_RUDP_INIT_BYTES);
        assert_int_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_RETRY);
        assert_true(weir_load64(reply.data + 1) == 1000 + i);
        assert_true(weir_rudp_decode_retry(reply, &cookie));
        assert_false(next_reply(&reply, &to));
        assert_int_equal(stats->connections, 0);
    }
    assert_int_equal(stats->connections_peak, 0);
    assert_int_equal(test.logs[SERVER].requests, 0);
    close_case();
}

static void short_inits_get_nothing(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct weir_addr from = stranger(1);
    struct weir_addr to;
    struct weir_span reply;
    open_case();
    const struct weir_rudp_stats *stats = weir_rudp_stats(test.pair.hosts[SERVER].rudp);
    make_init(bytes, WEIR_RUDP_VERSION_1, 5, (struct weir_span){0});
    weir_rudp_seal_clear(bytes, sizeof(bytes) - 5);
    inject(SERVER, &from, bytes, sizeof(bytes) - 1);
    assert_false(next_reply(&reply, &to));
    assert_int_equal(stats->drops[WEIR_RUDP_DROP_TRUNCATED], 1);
    make_init(bytes, WEIR_RUDP_VERSION_1, 5, (struct weir_span){0});
    bytes[700] ^= 1;
    inject(SERVER, &from, bytes, sizeof(bytes));
    assert_false(next_reply(&reply, &to));
    assert_int_equal(stats->drops[WEIR_RUDP_DROP_CHECKSUM], 1);
    close_case();
}

/* An INIT of another version: the reply lists ours. */
static void other_versions_are_told_ours(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct weir_addr from = stranger(1);
    struct weir_addr to;
    struct weir_span reply;
    bool has_common = false;
    open_case();
    inject(SERVER, &from, bytes, make_init(bytes, 0x12345678, 77, (struct weir_span){0}));
    assert_true(next_reply(&reply, &to));
    assert_int_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_VERSION);
    assert_true(weir_load64(reply.data + 1) == 77);
    assert_true(weir_rudp_decode_version(reply, &has_common));
    assert_true(has_common);
    assert_int_equal(weir_rudp_stats(test.pair.hosts[SERVER].rudp)->drops[WEIR_RUDP_DROP_VERSION],
                     1);
    close_case();
}

static void no_common_version_ends_it(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct weir_addr server = pair_server_addr();
    open_case();
    start_connect();
    uint64_t local_id = conn_of(CLIENT)->local_id;
    /* Ours is listed: a lie or an accident, and no reason to give up. */
    inject(CLIENT, &server, bytes, weir_rudp_encode_version(bytes, local_id, 0));
    pair_settle(&test.pair);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    size_t length = weir_rudp_encode_version(bytes, local_id, 0);
    bytes[10] ^= 0x40;
    weir_rudp_seal_clear(bytes, length - WEIR_RUDP_TRAILER_BYTES);
    inject(CLIENT, &server, bytes, length);
    pair_settle(&test.pair);
    assert_int_equal(test.logs[CLIENT].closed, 1);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_VERSION);
    close_case();
}

/* Asks for a cookie as stranger 1 with id 5. */
static size_t get_cookie(uint8_t *cookie)
{
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct weir_addr from = stranger(1);
    struct weir_addr to;
    struct weir_span reply;
    struct weir_span decoded;
    inject(SERVER, &from, bytes, make_init(bytes, WEIR_RUDP_VERSION_1, 5, (struct weir_span){0}));
    assert_true(next_reply(&reply, &to));
    assert_true(weir_rudp_decode_retry(reply, &decoded));
    memcpy(cookie, decoded.data, decoded.length);
    return decoded.length;
}

static void assert_cookie_fails(uint32_t from, uint64_t id, struct weir_span cookie)
{
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    struct weir_addr addr = stranger(from);
    struct weir_addr to;
    struct weir_span reply;
    const struct weir_rudp_stats *stats = weir_rudp_stats(test.pair.hosts[SERVER].rudp);
    uint64_t drops = stats->drops[WEIR_RUDP_DROP_COOKIE];
    inject(SERVER, &addr, bytes, make_init(bytes, WEIR_RUDP_VERSION_1, id, cookie));
    assert_true(next_reply(&reply, &to));
    assert_int_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_RETRY);
    assert_false(next_reply(&reply, &to));
    assert_int_equal(stats->drops[WEIR_RUDP_DROP_COOKIE], drops + 1);
    assert_int_equal(stats->connections, 0);
}

static void cookies_are_checked(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    uint8_t cookie[WEIR_RUDP_COOKIE_BYTES_MAX];
    struct weir_addr addr = stranger(1);
    struct weir_addr to;
    struct weir_span reply;
    open_case();
    size_t length = get_cookie(cookie);
    struct weir_span span = weir_span_of(cookie, length);
    for (size_t i = 0; i < length; i++) {
        cookie[i] ^= 0x10;
        assert_cookie_fails(1, 5, span);
        cookie[i] ^= 0x10;
    }
    assert_cookie_fails(1, 5, weir_span_of(cookie, length - 1));
    assert_cookie_fails(2, 5, span); /* another address */
    assert_cookie_fails(1, 6, span); /* another connection */
    inject(SERVER, &addr, bytes, make_init(bytes, WEIR_RUDP_VERSION_1, 5, span));
    assert_true(next_reply(&reply, &to));
    assert_int_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_ACCEPT);
    assert_int_equal(test.logs[SERVER].requests, 1);
    close_case();
}

static void cookies_age(void **state)
{
    (void)state;
    uint8_t cookie[WEIR_RUDP_COOKIE_BYTES_MAX];
    open_case();
    size_t length = get_cookie(cookie);
    run_for(weir_rudp_cookie_lifetime + WEIR_SEC);
    assert_cookie_fails(1, 5, weir_span_of(cookie, length));
    close_case();
}

/* A repeated INIT and the first data in one batch: the repeat must not reopen what is open. */
static void late_init_is_harmless(void **state)
{
    (void)state;
    uint8_t bytes[WEIR_RUDP_INIT_BYTES];
    uint8_t cookie[WEIR_RUDP_COOKIE_BYTES_MAX];
    uint8_t data[32];
    struct weir_path path = {.remote = stranger(1)};
    struct weir_addr to;
    struct weir_span reply;
    open_case();
    struct weir_span span = weir_span_of(cookie, get_cookie(cookie));
    size_t length = make_init(bytes, WEIR_RUDP_VERSION_1, 5, span);
    inject(SERVER, &path.remote, bytes, length);
    assert_true(next_reply(&reply, &to));
    assert_int_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_ACCEPT);
    data[0] = WEIR_RUDP_KIND_DATA << 4;
    weir_store64(data + 1, conn_of(SERVER)->local_id);
    weir_store32(data + 9, FIRST_NUMBER);
    data[13] = WEIR_RUDP_FRAME_PING;
    struct weir_packet packets[] = {
        {.data = bytes, .length = (uint32_t)length, .path = &path},
        {.data = data, .length = (uint32_t)weir_rudp_seal_clear(data, 14), .path = &path}};
    weir_rudp_input(test.pair.hosts[SERVER].rudp, test.pair.now, packets, 2);
    while (next_reply(&reply, &to)) {
        assert_int_not_equal(reply.data[0] >> 4, WEIR_RUDP_KIND_REFUSE);
    }
    assert_int_equal(test.logs[SERVER].opened, 1);
    /* Nothing stays due for ever. */
    weir_nsec limit = test.pair.now + 2 * WEIR_SEC;
    unsigned wakes = 0;
    while (weir_rudp_next_timeout(test.pair.hosts[SERVER].rudp) < limit && wakes < 1000) {
        test.pair.now =
            weir_max_u64(test.pair.now, weir_rudp_next_timeout(test.pair.hosts[SERVER].rudp));
        weir_rudp_timeout(test.pair.hosts[SERVER].rudp, test.pair.now);
        while (next_reply(&reply, &to)) {
        }
        wakes++;
    }
    assert_true(wakes < 1000);
    close_case();
}

/* --- living ----------------------------------------------------------------------------------- */

static void silence_ends_it(void **state)
{
    (void)state;
    test.options.rudp.heartbeat = 0;
    test.options.rudp.idle_timeout = 5 * WEIR_SEC;
    open_connected();
    weir_nsec start = test.pair.now;
    run_for(10 * WEIR_SEC);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(test.logs[i].closed, 1);
        assert_int_equal(test.logs[i].cause, WEIR_RUDP_CAUSE_TIMEOUT);
        assert_true(test.logs[i].closed_at <= start + 6 * WEIR_SEC);
    }
    close_case();
}

static void heartbeat_keeps_it(void **state)
{
    (void)state;
    open_connected();
    run_for(600 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed + test.logs[SERVER].closed, 0);
    assert_int_equal(send_number(CLIENT, &delivery, 1, 100), WEIR_OK);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 1);
    close_case();
}

static void cut_both_ways(weir_nsec time)
{
    struct pair *pair = &test.pair;
    weir_sim_blackout(pair->sim, pair->hosts[0].base.driver, pair->hosts[1].base.driver, pair->now,
                      pair->now + time);
    weir_sim_blackout(pair->sim, pair->hosts[1].base.driver, pair->hosts[0].base.driver, pair->now,
                      pair->now + time);
}

static void dead_peer_is_noticed(void **state)
{
    (void)state;
    open_connected();
    cut_both_ways(600 * WEIR_SEC);
    weir_nsec start = test.pair.now;
    assert_int_equal(send_number(CLIENT, &delivery, 1, 100), WEIR_OK);
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 1);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_TIMEOUT);
    /* The first probe leaves within a second. */
    assert_true(test.logs[CLIENT].closed_at <=
                start + test.options.rudp.dead_timeout + 2 * WEIR_SEC);
    close_case();
}

static void short_blackout_is_survived(void **state)
{
    (void)state;
    open_connected();
    cut_both_ways(test.options.rudp.dead_timeout / 2);
    assert_int_equal(send_number(CLIENT, &delivery, 1, 100), WEIR_OK);
    run_for(test.options.rudp.dead_timeout);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    assert_int_equal(test.logs[SERVER].messages, 1);
    close_case();
}

/* The server starts anew with the same seed: it can tell its old peers. */
static void restarted_server_resets(void **state)
{
    (void)state;
    open_connected();
    struct pair_host *server = &test.pair.hosts[SERVER];
    struct weir_rudp_config config = server->rudp->config;
    uint8_t seed[32] = {SERVER};
    memcpy(seed + 8, &test.options.seed, sizeof(test.options.seed));
    memset(server->base.engine_mem, 0, server->base.engine_bytes);
    assert_int_equal(
        weir_rudp_init(server->base.engine_mem, &config, seed, test.pair.now, &server->rudp),
        WEIR_OK);
    server->conn = NULL;
    assert_int_equal(send_number(CLIENT, &delivery, 1, 100), WEIR_OK);
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 1);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_RESET);
    close_case();
}

static void forged_reset_is_ignored(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct weir_addr server = pair_server_addr();
    open_connected();
    uint64_t token = conn_of(CLIENT)->reset_token;
    assert_true(token != 0);
    const struct weir_rudp_conn *conn = conn_of(CLIENT);
    inject(CLIENT, &server, bytes,
           weir_rudp_encode_reset(bytes, conn->local_id, token ^ UINT64_C(1) << 40, 0));
    run_for(WEIR_SEC);
    inject(CLIENT, &server, bytes, weir_rudp_encode_reset(bytes, conn->local_id, 0, 0));
    run_for(WEIR_SEC);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    assert_int_equal(weir_rudp_stats(test.pair.hosts[CLIENT].rudp)->drops[WEIR_RUDP_DROP_COOKIE],
                     2);
    close_case();
}

/* --- moving ----------------------------------------------------------------------------------- */

static void rebinding_is_followed(void **state)
{
    (void)state;
    struct weir_addr mapped;
    open_connected();
    assert_int_equal(weir_addr_parse("10.9.9.9:1234", &mapped), WEIR_OK);
    assert_int_equal(weir_sim_rebind(test.pair.sim, test.pair.hosts[CLIENT].base.driver, &mapped),
                     WEIR_OK);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 100), WEIR_OK);
        assert_int_equal(send_number(SERVER, &delivery, i, 100), WEIR_OK);
        run_for(100 * WEIR_MSEC);
    }
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].moved, 1);
    assert_true(weir_addr_is_equal(&weir_rudp_path(conn_of(SERVER))->remote, &mapped));
    assert_int_equal(test.logs[SERVER].messages, 20);
    assert_int_equal(test.logs[CLIENT].messages, 20);
    close_case();
}

/* Packets with a wrong source address: who is there proves nothing and is sent next to nothing. */
static void spoofed_address_is_not_believed(void **state)
{
    (void)state;
    uint8_t data[32];
    struct weir_addr victim = stranger(9);
    struct weir_addr to;
    struct weir_span reply;
    open_connected();
    struct weir_rudp_conn *conn = conn_of(SERVER);
    size_t sent = 0;
    data[0] = WEIR_RUDP_KIND_DATA << 4;
    weir_store64(data + 1, conn->local_id);
    weir_store32(data + 9, (uint32_t)conn->largest_received + 5);
    data[13] = WEIR_RUDP_FRAME_PING;
    size_t received = weir_rudp_seal_clear(data, 14);
    inject(SERVER, &victim, data, received);
    for (weir_nsec limit = test.pair.now + 3 * WEIR_SEC; test.pair.now < limit;
         test.pair.now += 10 * WEIR_MSEC) {
        weir_rudp_timeout(test.pair.hosts[SERVER].rudp, test.pair.now);
        while (next_reply(&reply, &to)) {
            bool is_victim = weir_addr_is_equal(&to, &victim);
            sent += is_victim ? reply.length + WEIR_RUDP_TRAILER_BYTES : 0;
        }
    }
    assert_true(sent <= 3 * received);
    assert_int_equal(test.logs[SERVER].moved, 0);
    assert_false(weir_addr_is_equal(&weir_rudp_path(conn)->remote, &victim));
    close_case();
}

static void set_mtu(uint32_t bytes)
{
    struct pair *pair = &test.pair;
    struct weir_sim_link link = test.options.link;
    link.mtu_bytes = bytes;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(weir_sim_set_link(pair->sim, pair->hosts[i].base.driver,
                                           pair->hosts[1 - i].base.driver, &link),
                         WEIR_OK);
    }
}

static void datagram_size_is_found(void **state)
{
    (void)state;
    struct weir_rudp_conn_stats stats;
    test.options.link.mtu_bytes = 1400;
    open_connected();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 20000), WEIR_OK);
        run_for(100 * WEIR_MSEC);
    }
    weir_rudp_conn_stats(conn_of(CLIENT), &stats);
    assert_in_range(stats.mtu_bytes, 1385, 1400);
    assert_int_equal(test.logs[SERVER].messages, 100);
    /* The path shrinks: large datagrams vanish without a word. */
    set_mtu(1200);
    for (uint32_t i = 100; i < 120; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 20000), WEIR_OK);
        run_for(WEIR_SEC);
    }
    weir_rudp_conn_stats(conn_of(CLIENT), &stats);
    assert_int_equal(stats.mtu_bytes, 1200);
    assert_int_equal(test.logs[SERVER].messages, 120);
    assert_int_equal(test.logs[CLIENT].closed, 0);
    close_case();
}

static void largest_datagram_is_used(void **state)
{
    (void)state;
    struct weir_rudp_conn_stats stats;
    open_connected();
    run_for(2 * WEIR_SEC);
    assert_int_equal(send_number(CLIENT, &delivery, 0, 50000), WEIR_OK);
    run_for(2 * WEIR_SEC);
    weir_rudp_conn_stats(conn_of(CLIENT), &stats);
    assert_int_equal(stats.mtu_bytes, test.options.rudp.mtu_bytes_max);
    close_case();
}

/* --- ending ----------------------------------------------------------------------------------- */

static void close_delivers_first(void **state)
{
    (void)state;
    test.options.link.loss_ppm = 100000;
    open_connected();
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 2000), WEIR_OK);
    }
    weir_rudp_close(conn_of(CLIENT), 42, "work is done");
    assert_int_equal(send_number(CLIENT, &delivery, 0, 10), WEIR_ERR_CLOSED);
    run_for(60 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 200);
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(test.logs[SERVER].records[i].number, i);
    }
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_LOCAL);
    assert_int_equal(test.logs[SERVER].cause, WEIR_RUDP_CAUSE_PEER);
    assert_int_equal(test.logs[SERVER].code, 42);
    assert_string_equal(test.logs[SERVER].text, "work is done");
    close_case();
}

static void abort_throws_away(void **state)
{
    (void)state;
    open_connected();
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(send_number(CLIENT, &delivery, i, 2000), WEIR_OK);
    }
    weir_rudp_abort(conn_of(CLIENT), 43, "tab\tand \x1b[0m");
    run_for(2 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].messages, 0);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_LOCAL);
    assert_int_equal(test.logs[CLIENT].code, 43);
    assert_int_equal(test.logs[SERVER].cause, WEIR_RUDP_CAUSE_PEER);
    assert_int_equal(test.logs[SERVER].code, 43);
    assert_string_equal(test.logs[SERVER].text, "tab?and ?[0m");
    close_case();
}

/* A frame of a type that does not exist: the connection ends, and both learn why. */
static void broken_protocol_ends_it(void **state)
{
    (void)state;
    uint8_t data[32];
    open_connected();
    struct weir_rudp_conn *conn = conn_of(SERVER);
    struct weir_addr from = conn->path.remote;
    data[0] = WEIR_RUDP_KIND_DATA << 4;
    weir_store64(data + 1, conn->local_id);
    weir_store32(data + 9, (uint32_t)conn->largest_received + 5);
    data[13] = 0x3f;
    inject(SERVER, &from, data, weir_rudp_seal_clear(data, 14));
    run_for(5 * WEIR_SEC);
    assert_int_equal(test.logs[SERVER].cause, WEIR_RUDP_CAUSE_PROTOCOL);
    assert_true(strlen(test.logs[SERVER].text) > 0);
    assert_int_equal(test.logs[CLIENT].cause, WEIR_RUDP_CAUSE_PEER);
    close_case();
}

#define CASE(name) cmocka_unit_test_setup(name, reset_case)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(connect_and_accept),
        CASE(the_loop_is_told_figures),
        CASE(connect_needs_an_address),
        CASE(refuse_says_why),
        CASE(request_is_dropped_when_unanswered),
        CASE(nobody_answers),
        CASE(strangers_leave_no_state),
        CASE(short_inits_get_nothing),
        CASE(other_versions_are_told_ours),
        CASE(no_common_version_ends_it),
        CASE(cookies_are_checked),
        CASE(cookies_age),
        CASE(late_init_is_harmless),
        CASE(silence_ends_it),
        CASE(heartbeat_keeps_it),
        CASE(dead_peer_is_noticed),
        CASE(short_blackout_is_survived),
        CASE(restarted_server_resets),
        CASE(forged_reset_is_ignored),
        CASE(rebinding_is_followed),
        CASE(spoofed_address_is_not_believed),
        CASE(datagram_size_is_found),
        CASE(largest_datagram_is_used),
        CASE(close_delivers_first),
        CASE(abort_throws_away),
        CASE(broken_protocol_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
