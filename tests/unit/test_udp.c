/* SPDX-License-Identifier: MIT */
/*
 * test_udp.c - the UDP driver over loopback: every byte, address and ECN mark that goes in comes
 * out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/sockaddr.h"
#include "driver/udp_io.h"
#include "weir/loop.h"
#include "weir/udp.h"

enum {
    ROOM_BYTES = 4 << 20,
    PACKETS_MAX = 8192,
    WAIT_MS = 10000
};

static uint8_t room_bytes[ROOM_BYTES];
static struct weir_packet packets[PACKETS_MAX];
static uint8_t tx_bytes[1 << 20];

/* What sendmmsg does wrong, for this program only: it stands in front of the system's. */
static struct system_faults {
    int error;             /* 0: none */
    unsigned every;        /* calls between errors */
    int run_error;         /* of every call whose first message is a run; 0: none */
    unsigned messages_max; /* 0: as many as there are */
    size_t bytes_max;      /* EMSGSIZE for a first message longer than this; 0: of any length */
    unsigned calls;
} system_faults;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): reserved names there. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&messages[0].msg_hdr);
    bool is_run = cmsg != NULL && cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_SEGMENT;
    system_faults.calls++;
    if (system_faults.error != 0 && system_faults.calls % system_faults.every == 0) {
        errno = system_faults.error;
        return -1;
    }
    if (system_faults.run_error != 0 && is_run) {
        errno = system_faults.run_error;
        return -1;
    }
    if (system_faults.bytes_max != 0 &&
        messages[0].msg_hdr.msg_iov[0].iov_len > system_faults.bytes_max) {
        errno = EMSGSIZE;
        return -1;
    }
    if (system_faults.messages_max != 0 && count > system_faults.messages_max) {
        count = system_faults.messages_max;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse(text, &addr), WEIR_OK);
    return addr;
}

static struct weir_addr with_port(const char *text, uint16_t port)
{
    struct weir_addr addr = addr_of(text);
    addr.port = port;
    return addr;
}

static struct weir_driver *open_with(const struct weir_udp_config *config)
{
    struct weir_driver *driver = NULL;
    int os_error = 0;
    assert_int_equal(weir_udp_open(config, &driver, NULL, &os_error), WEIR_OK);
    assert_int_equal(os_error, 0);
    assert_true(driver->local.port != 0);
    return driver;
}

static struct weir_driver *open_at(const char *text)
{
    struct weir_udp_config config;
    weir_udp_config_default(&config);
    config.bind = addr_of(text);
    return open_with(&config);
}

static void close_driver(struct weir_driver *driver)
{
    driver->ops->close(driver);
}

static uint32_t receive_once(struct weir_driver *driver)
{
    uint32_t count = 0;
    struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    assert_int_equal(driver->ops->receive(driver, 0, room, packets, PACKETS_MAX, &count), WEIR_OK);
    return count;
}

/* Waits for the descriptor, so a slow machine only makes the test slower. */
static uint32_t receive_some(struct weir_driver *driver)
{
    struct pollfd poll_fd = {.fd = driver->ops->fd(driver), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
    return receive_once(driver);
}

static void send_all(struct weir_driver *driver, const struct weir_transmit *transmits,
                     uint32_t count)
{
    uint32_t sent = 0;
    assert_int_equal(driver->ops->send(driver, 0, transmits, count, &sent), WEIR_OK);
    assert_int_equal(sent, count);
}

static struct weir_transmit transmit_to(const struct weir_addr *remote, uint32_t length,
                                        uint16_t segment_bytes)
{
    return (struct weir_transmit){.path = {.remote = *remote},
                                  .data = tx_bytes,
                                  .length = length,
                                  .segment_bytes = segment_bytes};
}

static void fill_pattern(uint32_t seed)
{
    for (size_t i = 0; i < sizeof(tx_bytes); i++) {
        seed = seed * 1664525 + 1013904223;
        tx_bytes[i] = (uint8_t)(seed >> 24);
    }
}

/* One datagram there and, to the path it came by, back. */
static void check_echo(struct weir_driver *client, struct weir_driver *server,
                       const struct weir_addr *server_addr)
{
    fill_pattern(7);
    struct weir_transmit out = transmit_to(server_addr, 100, 100);
    send_all(client, &out, 1);
    assert_int_equal(receive_some(server), 1);
    assert_int_equal(packets[0].length, 100);
    assert_memory_equal(packets[0].data, tx_bytes, 100);
    assert_int_equal(packets[0].ecn, WEIR_ECN_NOT);
    assert_int_equal(packets[0].path->remote.port, client->local.port);
    assert_int_equal(packets[0].path->remote.family, server_addr->family);
    assert_true(weir_addr_is_equal(&packets[0].path->local, server_addr));

    struct weir_transmit back = {.path = *packets[0].path,
                                 .data = packets[0].data,
                                 .length = packets[0].length,
                                 .segment_bytes = (uint16_t)packets[0].length};
    send_all(server, &back, 1);
    assert_int_equal(receive_some(client), 1);
    assert_memory_equal(packets[0].data, tx_bytes, 100);
    assert_true(weir_addr_is_equal(&packets[0].path->remote, server_addr));
    assert_int_equal(receive_once(client), 0);
}

static void test_echo_ip4(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("0.0.0.0:0");
    check_echo(client, server, &server->local);
    close_driver(client);
    close_driver(server);
}

static void test_echo_ip6(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("[::1]:0");
    struct weir_driver *client = open_at("[::1]:0");
    check_echo(client, server, &server->local);
    close_driver(client);
    close_driver(server);
}

static void test_dual_stack_serves_both(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("*:0");
    struct weir_driver *client = open_at("*:0");
    struct weir_driver *client4 = open_at("127.0.0.1:0");
    struct weir_addr at4 = with_port("127.0.0.1:0", server->local.port);
    struct weir_addr at6 = with_port("[::1]:0", server->local.port);
    check_echo(client, server, &at4);
    check_echo(client, server, &at6);
    check_echo(client4, server, &at4);
    close_driver(client4);
    close_driver(client);
    close_driver(server);
}

/* The whole of 127/8 is ours: an answer must come from the address that was asked. */
static void check_local_address(const char *bind_text)
{
    struct weir_driver *server = open_at(bind_text);
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_addr asked = with_port("127.0.0.53:0", server->local.port);
    check_echo(client, server, &asked);
    close_driver(client);
    close_driver(server);
}

static void test_local_address(void **state)
{
    (void)state;
    check_local_address("0.0.0.0:0");
    check_local_address("*:0");
}

/* Our own address, from which the answer can go, not the one that was sent to. */
static void check_broadcast(const char *bind_text)
{
    struct weir_driver *server = open_at(bind_text);
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_addr broadcast = with_port("127.255.255.255:0", server->local.port);
    struct weir_addr own = with_port("127.0.0.1:0", server->local.port);
    struct weir_transmit out = transmit_to(&broadcast, 10, 10);
    int one = 1;
    assert_int_equal(
        setsockopt(client->ops->fd(client), SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)), 0);
    send_all(client, &out, 1);
    assert_int_equal(receive_some(server), 1);
    assert_true(weir_addr_is_equal(&packets[0].path->local, &own));
    out.path = *packets[0].path;
    send_all(server, &out, 1);
    assert_int_equal(receive_some(client), 1);
    close_driver(client);
    close_driver(server);
}

static void test_broadcast(void **state)
{
    (void)state;
    check_broadcast("0.0.0.0:0");
    check_broadcast("*:0");
}

static void check_ecn(const char *from, const char *to, const char *address)
{
    struct weir_driver *server = open_at(to);
    struct weir_driver *client = open_at(from);
    struct weir_addr addr = with_port(address, server->local.port);
    struct weir_transmit out[4];
    uint32_t seen = 0;
    for (uint8_t ecn = 0; ecn < 4; ecn++) {
        out[ecn] = transmit_to(&addr, 10U + ecn, (uint16_t)(10 + ecn));
        out[ecn].ecn = ecn;
    }
    send_all(client, out, 4);
    while (seen < 4) {
        uint32_t count = receive_some(server);
        for (uint32_t i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].length, 10 + seen);
            assert_int_equal(packets[i].ecn, seen);
        }
    }
    close_driver(client);
    close_driver(server);
}

static void test_ecn(void **state)
{
    (void)state;
    check_ecn("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    check_ecn("[::1]:0", "[::1]:0", "[::1]:0");
    check_ecn("*:0", "*:0", "127.0.0.1:0");
    check_ecn("*:0", "*:0", "[::1]:0");
}

/* Sends runs and one odd datagram, and compares the stream of bytes and the cuts in it. Little
 * enough for the socket buffer that an unprivileged user gets. */
static void check_runs(struct weir_driver *client, struct weir_driver *server, uint16_t segment)
{
    uint32_t run = segment * 30U + segment / 2;
    struct weir_transmit out[5];
    uint32_t offset = 0;
    uint32_t total = 0;
    fill_pattern(segment);
    for (uint32_t i = 0; i < 5; i++) {
        out[i] = transmit_to(&server->local, i == 2 ? segment : run, segment);
        out[i].data = tx_bytes + total;
        total += out[i].length;
    }
    assert_true(total <= sizeof(tx_bytes));
    send_all(client, out, 5);
    while (offset < total) {
        uint32_t count = receive_some(server);
        for (uint32_t i = 0; i < count; i++) {
            bool is_half = packets[i].length == segment / 2;
            assert_true(is_half || packets[i].length == segment);
            assert_memory_equal(packets[i].data, tx_bytes + offset, packets[i].length);
            assert_int_equal(packets[i].path->remote.port, client->local.port);
            offset += packets[i].length;
        }
    }
    assert_int_equal(offset, total);
    assert_int_equal(client->stats.tx_bytes, total);
    assert_int_equal(client->stats.tx_datagrams, 4 * 31 + 1);
    assert_int_equal(server->stats.rx_bytes, total);
    assert_int_equal(server->stats.rx_datagrams, 4 * 31 + 1);
    assert_int_equal(client->stats.tx_dropped, 0);
    assert_int_equal(server->stats.rx_truncated, 0);
}

static void test_runs_with_offload(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct weir_driver *server = open_at(addresses[i]);
        struct weir_driver *client = open_at(addresses[i]);
        bool has_offload = client->run_bytes_max > 0 && weir_udp_of(server)->is_gro;
        check_runs(client, server, 1400);
        if (has_offload) {
            /* 125 datagrams; one call, and a few receives of whole runs. */
            assert_int_equal(client->stats.tx_calls, 1);
            assert_true(server->stats.rx_calls < 20);
        }
        close_driver(client);
        close_driver(server);
    }
}

static void test_runs_without_offload(void **state)
{
    (void)state;
    struct weir_udp_config config;
    weir_udp_config_default(&config);
    config.bind = addr_of("127.0.0.1:0");
    config.is_offload_disabled = true;
    struct weir_driver *server = open_with(&config);
    struct weir_driver *client = open_with(&config);
    assert_int_equal(client->run_bytes_max, 0);
    assert_true(server->rx_room_bytes <= 8 * WEIR_UDP_RUN_ROOM);
    check_runs(client, server, 700);
    close_driver(client);
    close_driver(server);
}

/* A run longer than the kernel takes at once is sent in several. */
static void test_run_over_the_limit(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_transmit out = transmit_to(&server->local, 200000, 1000);
    uint32_t seen = 0;
    fill_pattern(3);
    send_all(client, &out, 1);
    while (seen < 200) {
        uint32_t count = receive_some(server);
        for (uint32_t i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].length, 1000);
            assert_memory_equal(packets[i].data, tx_bytes + (size_t)seen * 1000, 1000);
        }
    }
    close_driver(client);
    close_driver(server);
}

/* SO_NO_CHECK makes the kernel refuse UDP_SEGMENT with EINVAL: the same as an interface without
 * segmentation. */
static void test_fallback_at_run_time(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    int one = 1;
    assert_int_equal(
        setsockopt(client->ops->fd(client), SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)), 0);
    assert_true(client->run_bytes_max > 0);
    check_runs(client, server, 1400);
    assert_int_equal(client->run_bytes_max, 0);
    close_driver(client);
    close_driver(server);
}

/* One destination that fails is dropped and counted; the others get theirs. */
static void test_refused_destination_is_dropped(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_addr ip6 = with_port("[::1]:0", server->local.port);
    struct weir_addr none = {.family = WEIR_ADDR_NONE};
    struct weir_transmit out[4];
    out[0] = transmit_to(&server->local, 11, 11);
    out[1] = transmit_to(&ip6, 3000, 1000); /* not reachable from an IPv4 socket */
    out[2] = transmit_to(&none, 13, 13);
    out[3] = transmit_to(&server->local, 14, 14);
    send_all(client, out, 4);
    assert_int_equal(client->stats.tx_dropped, 4);
    assert_int_equal(client->stats.tx_datagrams, 2);
    assert_true(client->run_bytes_max > 0);

    uint32_t seen = 0;
    while (seen < 2) {
        uint32_t count = receive_some(server);
        for (uint32_t i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].length, seen == 0 ? 11 : 14);
        }
    }
    /* Nobody listens there any more; the ICMP answer must not disturb us. */
    close_driver(server);
    out[0] = transmit_to(&out[3].path.remote, 11, 11);
    send_all(client, out, 1);
    assert_int_equal(receive_once(client), 0);
    send_all(client, out, 1);
    close_driver(client);
}

/* An address that is not ours as the source: refused, but not the segmentation's fault. */
static void test_refused_run_keeps_offload(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("0.0.0.0:0");
    uint32_t run_bytes_max = client->run_bytes_max;
    struct weir_transmit out[2];
    out[0] = transmit_to(&server->local, 3000, 1000);
    out[0].path.local = addr_of("192.0.2.77:1");
    out[1] = transmit_to(&server->local, 14, 14);
    send_all(client, out, 2);
    assert_int_equal(client->stats.tx_dropped, 3);
    assert_int_equal(client->stats.tx_datagrams, 1);
    assert_int_equal(client->run_bytes_max, run_bytes_max);
    close_driver(client);
    close_driver(server);
}

/* Segments longer than the MTU are refused as a run (EINVAL) and singly (EMSGSIZE); that the short
 * last one passes says nothing against the segmentation. */
static void test_run_over_the_mtu_keeps_offload(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_transmit out = transmit_to(&server->local, 3100, 1000);
    system_faults = (struct system_faults){.run_error = EINVAL, .bytes_max = 999};
    send_all(client, &out, 1);
    system_faults = (struct system_faults){.error = 0};
    assert_int_equal(client->stats.tx_dropped, 3);
    assert_int_equal(client->stats.tx_datagrams, 1);
    assert_true(client->run_bytes_max > 0);
    close_driver(client);
    close_driver(server);
}

/* The system takes three datagrams a call and has no room every other call, in the middle of a run:
 * nothing may be lost or sent twice when it goes on. */
static void test_blocked_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct weir_udp_config config;
    weir_udp_config_default(&config);
    config.bind = addr_of("127.0.0.1:0");
    config.is_offload_disabled = true;
    struct weir_driver *server = open_with(&config);
    struct weir_driver *client = open_with(&config);
    struct weir_transmit out = transmit_to(&server->local, 60000, 1000);
    uint32_t sent = 0;
    uint32_t seen = 0;
    uint32_t blocked = 0;
    fill_pattern(11);
    system_faults = (struct system_faults){.error = EAGAIN, .every = 2, .messages_max = 3};
    while (sent == 0) {
        enum weir_status status = client->ops->send(client, 0, &out, 1, &sent);
        assert_true(status == WEIR_OK || status == WEIR_AGAIN);
        assert_int_equal(sent, status == WEIR_OK);
        blocked += status == WEIR_AGAIN;
    }
    system_faults = (struct system_faults){.error = 0};
    while (seen < 60) {
        uint32_t count = receive_some(server);
        for (uint32_t i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].length, 1000);
            assert_memory_equal(packets[i].data, tx_bytes + (size_t)seen * 1000, 1000);
        }
    }
    assert_int_equal(blocked, 19);
    assert_int_equal(client->stats.tx_datagrams, 60);
    assert_int_equal(client->stats.tx_dropped, 0);
    assert_int_equal(receive_once(server), 0);
    close_driver(client);
    close_driver(server);
}

/* No memory in the system: waiting for the descriptor, which is writable, would not help. */
static void test_no_buffers_drops(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_transmit out = transmit_to(&server->local, 100, 100);
    struct weir_transmit outs[4] = {out, out, out, out};
    system_faults = (struct system_faults){.error = ENOBUFS, .every = 2, .messages_max = 1};
    send_all(client, outs, 4);
    system_faults = (struct system_faults){.error = 0};
    assert_int_equal(client->stats.tx_datagrams, 2);
    assert_int_equal(client->stats.tx_dropped, 2);
    close_driver(client);
    close_driver(server);
}

/* A run that stopped half way and is not offered again must not cut the next one short. */
static void test_blocked_and_given_up(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_transmit out = transmit_to(&server->local, 200000, 1000);
    uint32_t sent = 0;
    system_faults = (struct system_faults){.error = EAGAIN, .every = 2, .messages_max = 1};
    assert_int_equal(client->ops->send(client, 0, &out, 1, &sent), WEIR_AGAIN);
    system_faults = (struct system_faults){.error = 0};
    assert_int_equal(sent, 0);
    assert_int_equal(client->stats.tx_datagrams, 64);
    out = transmit_to(&server->local, 2000, 1000);
    send_all(client, &out, 1);
    assert_int_equal(client->stats.tx_datagrams, 66);
    close_driver(client);
    close_driver(server);
}

/* Interfaces without checksum offload answer EIO; interrupted calls are made again. */
static void test_fallback_on_eio(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    system_faults = (struct system_faults){.error = EINTR, .every = 2, .run_error = EIO};
    check_runs(client, server, 1400);
    system_faults = (struct system_faults){.error = 0};
    assert_int_equal(client->run_bytes_max, 0);
    close_driver(client);
    close_driver(server);
}

static void check_sizes(bool is_offload_disabled)
{
    static const uint32_t sizes[] = {0, 1, 9215, 9216, 9217, 30000, 65507};
    struct weir_udp_config config;
    weir_udp_config_default(&config);
    config.bind = addr_of("127.0.0.1:0");
    config.is_offload_disabled = is_offload_disabled;
    struct weir_driver *server = open_with(&config);
    struct weir_driver *client = open_with(&config);
    fill_pattern(5);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct weir_transmit out = transmit_to(&server->local, sizes[i], (uint16_t)sizes[i]);
        send_all(client, &out, 1);
        assert_int_equal(receive_some(server), 1);
        assert_int_equal(packets[0].length, sizes[i]);
        assert_memory_equal(packets[0].data, tx_bytes, sizes[i]);
    }
    assert_int_equal(server->stats.rx_truncated, 0);
    close_driver(client);
    close_driver(server);
}

static void test_sizes(void **state)
{
    (void)state;
    check_sizes(false);
    check_sizes(true);
}

/* Less room or fewer descriptors than the batch: fewer slots, and is_rx_full says so. */
static void test_small_room(void **state)
{
    (void)state;
    struct weir_driver *server = open_at("127.0.0.1:0");
    struct weir_driver *client = open_at("127.0.0.1:0");
    struct weir_transmit out[4];
    struct weir_mut_span room = {.data = room_bytes, .length = (size_t)2 * WEIR_UDP_RUN_ROOM};
    uint32_t count = 0;
    for (uint32_t i = 0; i < 4; i++) {
        out[i] = transmit_to(&server->local, 20 + i, (uint16_t)(20 + i));
    }
    send_all(client, out, 4);
    struct pollfd poll_fd = {.fd = server->ops->fd(server), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
    assert_int_equal(server->ops->receive(server, 0, room, packets, PACKETS_MAX, &count), WEIR_OK);
    assert_int_equal(count, 2);
    assert_true(server->is_rx_full);
    assert_int_equal(server->ops->receive(server, 0, room, packets, 1, &count), WEIR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(packets[0].length, 22);
    assert_true(server->is_rx_full);
    assert_int_equal(receive_once(server), 1);
    assert_false(server->is_rx_full);
    close_driver(client);
    close_driver(server);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct weir_udp_config config;
    struct weir_driver *driver = NULL;
    int os_error = 0;
    weir_udp_config_default(&config);
    struct weir_driver *first = open_at("127.0.0.1:0");

    config.bind = first->local;
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &os_error), WEIR_ERR_OS);
    assert_int_equal(os_error, EADDRINUSE);
    config.bind = addr_of("192.0.2.1:0"); /* TEST-NET-1: nobody's */
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &os_error), WEIR_ERR_OS);
    assert_int_equal(os_error, EADDRNOTAVAIL);
    config.bind = (struct weir_addr){.family = WEIR_ADDR_NONE};
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &os_error), WEIR_ERR_INVALID);
    config.bind = addr_of("127.0.0.1:0");
    config.batch_slots = WEIR_UDP_SLOTS_MAX + 1;
    assert_int_equal(weir_udp_open(&config, &driver, NULL, &os_error), WEIR_ERR_INVALID);
    assert_null(driver);

    config.batch_slots = 0;
    config.is_port_reused = true;
    driver = open_with(&config);
    config.bind = driver->local;
    struct weir_driver *second = open_with(&config);
    assert_true(weir_addr_is_equal(&driver->local, &second->local));
    close_driver(second);
    close_driver(driver);
    close_driver(first);
}

/* The descriptor is gone: an error that will not pass. */
static void test_fatal_error(void **state)
{
    (void)state;
    struct weir_driver *driver = open_at("127.0.0.1:0");
    struct weir_transmit out = transmit_to(&driver->local, 10, 10);
    struct weir_mut_span room = {.data = room_bytes, .length = sizeof(room_bytes)};
    uint32_t count = 9;
    uint32_t sent = 9;
    int fd = driver->ops->fd(driver);
    weir_udp_of(driver)->fd = -1;
    assert_int_equal(driver->ops->receive(driver, 0, room, packets, PACKETS_MAX, &count),
                     WEIR_ERR_OS);
    assert_int_equal(count, 0);
    assert_int_equal(driver->error, EBADF);
    driver->error = 0;
    assert_int_equal(driver->ops->send(driver, 0, &out, 1, &sent), WEIR_ERR_OS);
    assert_int_equal(sent, 0);
    assert_int_equal(driver->error, EBADF);
    weir_udp_of(driver)->fd = fd;
    close_driver(driver);
}

static void test_notice_text(void **state)
{
    (void)state;
    struct weir_udp_config config;
    struct weir_udp_notice notice = {.receive_buffer_bytes = 0};
    char text[240];
    weir_udp_config_default(&config);
    weir_udp_notice_text(&notice, &config, text);
    assert_string_equal(text, "");
    notice.receive_buffer_bytes = 212992;
    weir_udp_notice_text(&notice, &config, text);
    assert_string_equal(text, "socket buffer 208 of 4096 KiB: sysctl -w net.core.rmem_max=4194304");
    notice = (struct weir_udp_notice){.receive_buffer_bytes = UINT32_MAX,
                                      .send_buffer_bytes = UINT32_MAX,
                                      .is_gso_missing = true,
                                      .is_gro_missing = true};
    config.receive_buffer_bytes = config.send_buffer_bytes = UINT32_MAX;
    weir_udp_notice_text(&notice, &config, text);
    assert_non_null(strstr(text, "net.core.rmem_max"));
    assert_non_null(strstr(text, "net.core.wmem_max"));
    assert_non_null(strstr(text, "UDP_SEGMENT"));
    assert_true(strlen(text) < sizeof(text));
}

/* More than any system grants, even to root. */
static void test_notice_of_open(void **state)
{
    (void)state;
    struct weir_udp_config config;
    struct weir_udp_notice notice;
    struct weir_driver *driver = NULL;
    int os_error = 0;
    weir_udp_config_default(&config);
    config.receive_buffer_bytes = UINT32_MAX;
    assert_int_equal(weir_udp_open(&config, &driver, &notice, &os_error), WEIR_OK);
    assert_true(notice.receive_buffer_bytes > 0);
    assert_true(notice.receive_buffer_bytes < UINT32_MAX);
    close_driver(driver);

    config.receive_buffer_bytes = config.send_buffer_bytes = 4096;
    assert_int_equal(weir_udp_open(&config, &driver, &notice, &os_error), WEIR_OK);
    assert_int_equal(notice.receive_buffer_bytes, 0);
    assert_int_equal(notice.send_buffer_bytes, 0);
    close_driver(driver);
}

static void test_sockaddr(void **state)
{
    (void)state;
    union weir_sockaddr name;
    struct weir_addr back;
    struct weir_addr ip4 = addr_of("192.0.2.3:4567");
    struct weir_addr link = addr_of("[fe80::1%3]:80");
    struct weir_addr global = addr_of("[2001:db8::1]:443");

    assert_int_equal(weir_sockaddr_encode(&ip4, false, &name), sizeof(struct sockaddr_in));
    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name.in4), &back), WEIR_OK);
    assert_true(weir_addr_is_equal(&ip4, &back));
    assert_int_equal(weir_sockaddr_encode(&ip4, true, &name), sizeof(struct sockaddr_in6));
    assert_true(IN6_IS_ADDR_V4MAPPED(&name.in6.sin6_addr));
    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name.in6), &back), WEIR_OK);
    assert_true(weir_addr_is_equal(&ip4, &back));
    assert_int_equal(weir_sockaddr_encode(&link, true, &name), sizeof(struct sockaddr_in6));
    assert_int_equal(name.in6.sin6_scope_id, 3);
    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name.in6), &back), WEIR_OK);
    assert_true(weir_addr_is_equal(&link, &back));
    assert_int_equal(weir_sockaddr_encode(&global, true, &name), sizeof(struct sockaddr_in6));
    name.in6.sin6_scope_id = 9;
    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name.in6), &back), WEIR_OK);
    assert_true(weir_addr_is_equal(&global, &back));

    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name.in4), &back), WEIR_ERR_INVALID);
    assert_int_equal(back.family, WEIR_ADDR_NONE);
    name.any.sa_family = AF_UNIX;
    assert_int_equal(weir_sockaddr_decode(&name, sizeof(name), &back), WEIR_ERR_INVALID);
    assert_int_equal(weir_sockaddr_decode(&name, 0, &back), WEIR_ERR_INVALID);
    assert_int_equal(weir_sockaddr_encode(&back, true, &name), 0);
}

static void test_system_memory(void **state)
{
    (void)state;
    uint8_t *mem = weir_mem_map((size_t)1 << 32); /* costs nothing until touched */
    assert_non_null(mem);
    assert_int_equal((uintptr_t)mem % 64, 0);
    assert_int_equal(mem[12345], 0);
    mem[12345] = 1;
    weir_mem_unmap(mem, (size_t)1 << 32);
    assert_null(weir_mem_map(0));
    weir_mem_unmap(NULL, 0);

    static const uint8_t zeros[32];
    uint8_t seed[1000] = {0};
    assert_int_equal(weir_secret_seed(seed, sizeof(seed)), WEIR_OK);
    assert_memory_not_equal(seed, zeros, 32);
    assert_memory_not_equal(seed + sizeof(seed) - 32, zeros, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_ip4),
        cmocka_unit_test(test_echo_ip6),
        cmocka_unit_test(test_dual_stack_serves_both),
        cmocka_unit_test(test_local_address),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_ecn),
        cmocka_unit_test(test_runs_with_offload),
        cmocka_unit_test(test_runs_without_offload),
        cmocka_unit_test(test_run_over_the_limit),
        cmocka_unit_test(test_fallback_at_run_time),
        cmocka_unit_test(test_refused_destination_is_dropped),
        cmocka_unit_test(test_refused_run_keeps_offload),
        cmocka_unit_test(test_run_over_the_mtu_keeps_offload),
        cmocka_unit_test(test_blocked_goes_on_where_it_stopped),
        cmocka_unit_test(test_blocked_and_given_up),
        cmocka_unit_test(test_no_buffers_drops),
        cmocka_unit_test(test_fallback_on_eio),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_small_room),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_fatal_error),
        cmocka_unit_test(test_notice_text),
        cmocka_unit_test(test_notice_of_open),
        cmocka_unit_test(test_sockaddr),
        cmocka_unit_test(test_system_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
