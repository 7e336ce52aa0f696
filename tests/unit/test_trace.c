/* SPDX-License-Identifier: MIT */
/*
 * test_trace.c - the trace wrapper: what it writes is read back block by block, by a reader of our
 * own and, where it is installed, by tshark.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "weir/wrap.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    PACKETS_MAX = 16
};

/* The inner driver: gives what it is told to, takes what it likes. */
struct fake {
    struct weir_driver driver;
    const struct weir_packet *packets;
    uint32_t packets_count;
    uint32_t takes;
    enum weir_status send_status;
    bool is_closed;
};

static enum weir_status fake_receive(struct weir_driver *driver, weir_nsec now,
                                     struct weir_mut_span room, struct weir_packet *packets,
                                     uint32_t packets_max, uint32_t *count)
{
    struct fake *fake = (struct fake *)(void *)driver;
    (void)now;
    (void)room;
    assert_true(packets_max >= fake->packets_count);
    for (uint32_t i = 0; i < fake->packets_count; i++) {
        packets[i] = fake->packets[i];
    }
    *count = fake->packets_count;
    driver->stats.rx_datagrams += *count;
    driver->is_rx_full = true;
    return WEIR_OK;
}

static enum weir_status fake_send(struct weir_driver *driver, weir_nsec now,
                                  const struct weir_transmit *transmits, uint32_t count,
                                  uint32_t *sent)
{
    struct fake *fake = (struct fake *)(void *)driver;
    (void)now;
    (void)transmits;
    *sent = (uint32_t)weir_min_u64(count, fake->takes);
    driver->run_bytes_max = 0;
    return fake->send_status;
}

static int fake_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec fake_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return 4711;
}

static void fake_close(struct weir_driver *driver)
{
    ((struct fake *)(void *)driver)->is_closed = true;
}

static const struct weir_driver_ops fake_ops = {.receive = fake_receive,
                                                .send = fake_send,
                                                .fd = fake_fd,
                                                .next_timeout = fake_next_timeout,
                                                .close = fake_close};

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    assert_int_equal(weir_addr_parse(text, &addr), WEIR_OK);
    return addr;
}

/* One packet block, decoded. */
struct record {
    uint64_t time;
    uint32_t flags;
    uint32_t ip_bytes;
    const uint8_t *ip;
};

static uint8_t file_bytes[FILE_BYTES_MAX];

static uint32_t get32(const uint8_t *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof(value));
    return value;
}

static uint16_t get16(const uint8_t *data)
{
    uint16_t value;
    memcpy(&value, data, sizeof(value));
    return value;
}

static size_t load_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    size_t length = fread(file_bytes, 1, sizeof(file_bytes), file);
    assert_true(length < sizeof(file_bytes));
    assert_int_equal(fclose(file), 0);
    return length;
}

/* The value of an option of a block's options, NULL when it is not there; their end must be. */
static const uint8_t *find_option(const uint8_t *options, const uint8_t *end, uint16_t code)
{
    const uint8_t *found = NULL;
    while (get16(options) != 0) {
        if (get16(options) == code) {
            found = options + 4;
        }
        options += 4 + ((get16(options + 2) + 3U) & ~3U);
        assert_true(options + 4 <= end);
    }
    assert_int_equal(get16(options + 2), 0);
    assert_ptr_equal(options + 4, end);
    return found;
}

static void read_packet_block(const uint8_t *block, uint32_t length, struct record *record)
{
    uint32_t captured = get32(block + 20);
    uint32_t padded = (captured + 3) & ~3U;
    assert_int_equal(get32(block + 8), 0);
    assert_int_equal(get32(block + 24), captured);
    *record = (struct record){.time = (uint64_t)get32(block + 12) << 32 | get32(block + 16),
                              .ip_bytes = captured,
                              .ip = block + 28};
    const uint8_t *flags = find_option(block + 28 + padded, block + length - 4, 2);
    assert_non_null(flags);
    record->flags = get32(flags);
}

/* Checks the frame of all blocks and decodes the packets. Returns how many. */
static uint32_t read_records(const char *path, struct record *records)
{
    size_t file_length = load_file(path);
    uint32_t count = 0;
    uint32_t blocks = 0;
    for (size_t at = 0; at < file_length; blocks++) {
        const uint8_t *block = file_bytes + at;
        uint32_t length = get32(block + 4);
        assert_true(length % 4 == 0 && at + length <= file_length);
        assert_int_equal(get32(block + length - 4), length);
        if (blocks == 0) {
            assert_int_equal(get32(block), 0x0A0D0D0A);
            assert_int_equal(get32(block + 8), 0x1A2B3C4D);
            assert_int_equal(get16(block + 12), 1);
            assert_non_null(find_option(block + 24, block + length - 4, 4));
        } else if (blocks == 1) {
            assert_int_equal(get32(block), 1);
            assert_int_equal(get16(block + 8), 101);
            const uint8_t *resolution = find_option(block + 16, block + length - 4, 9);
            assert_non_null(resolution);
            assert_int_equal(*resolution, 9);
        } else {
            assert_int_equal(get32(block), 6);
            assert_true(count < PACKETS_MAX);
            read_packet_block(block, length, &records[count++]);
        }
        at += length;
    }
    assert_true(blocks >= 2);
    return count;
}

/* The Internet checksum, once more and plainly: 0xffff over data that carries its own. */
static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

struct expected {
    const char *from, *to;
    const uint8_t *data;
    uint32_t length;
    uint8_t ecn;
    uint32_t flags;
};

static void check_record(const struct record *record, const struct expected *expected)
{
    struct weir_addr from = addr_of(expected->from);
    struct weir_addr to = addr_of(expected->to);
    bool is_ip4 = to.family == WEIR_ADDR_IP4;
    uint32_t ip_header = is_ip4 ? 20 : 40;
    uint32_t ip_addr = is_ip4 ? 4 : 16;
    const uint8_t *ip = record->ip;
    const uint8_t *udp = ip + ip_header;
    uint32_t udp_bytes = 8 + expected->length;

    assert_int_equal(record->flags, expected->flags);
    assert_int_equal(record->ip_bytes, ip_header + udp_bytes);
    assert_int_equal(ip[0] >> 4, is_ip4 ? 4 : 6);
    if (is_ip4) {
        assert_int_equal(ip[0], 0x45);
        assert_int_equal(ip[1], expected->ecn);
        assert_int_equal(weir_load16(ip + 2), record->ip_bytes);
        assert_int_equal(ip[9], 17);
        assert_int_equal(sum16(0, ip, 20), 0xffff);
    } else {
        assert_int_equal(weir_load32(ip), 0x60000000U | (uint32_t)expected->ecn << 20);
        assert_int_equal(weir_load16(ip + 4), udp_bytes);
        assert_int_equal(ip[6], 17);
    }
    assert_memory_equal(udp - (size_t)2 * ip_addr, from.ip, ip_addr);
    assert_memory_equal(udp - ip_addr, to.ip, ip_addr);
    assert_int_equal(weir_load16(udp), from.port);
    assert_int_equal(weir_load16(udp + 2), to.port);
    assert_int_equal(weir_load16(udp + 4), udp_bytes);
    uint32_t sum = sum16(17 + udp_bytes, udp - (size_t)2 * ip_addr, (size_t)2 * ip_addr);
    assert_int_equal(sum16(sum, udp, udp_bytes), 0xffff);
    assert_memory_equal(udp + 8, expected->data, expected->length);
}

static void make_path(char path[64])
{
    (void)snprintf(path, 64, "/tmp/weir_test_trace_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

/* Output of tshark for the file, or false when it is not installed. */
static bool run_tshark(const char *path, char *text, size_t text_bytes)
{
    int pipe_fds[2];
    size_t used = 0;
    int status = 0;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(pipe_fds[1], STDOUT_FILENO);
        (void)freopen("/dev/null", "w", stderr);
        (void)execlp("tshark", "tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-o",
                     "udp.check_checksum:TRUE", "-T", "fields", "-E", "separator=,", "-e",
                     "frame.time_epoch", "-e", "frame.packet_flags_direction", "-e", "ip.src", "-e",
                     "ipv6.src", "-e", "udp.dstport", "-e", "udp.length", "-e", "ip.dsfield.ecn",
                     "-e", "ipv6.tclass.ecn", "-e", "ip.checksum.status", "-e",
                     "udp.checksum.status", "-e", "_ws.malformed", (char *)NULL);
        _exit(127);
    }
    (void)close(pipe_fds[1]);
    for (ssize_t n = 1; n > 0;) {
        n = read(pipe_fds[0], text + used, text_bytes - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    text[used] = 0;
    (void)close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 127) {
        return false;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* Time, direction, source, port, UDP length, ECN, checksums (1 is good) of every packet. */
static void check_with_tshark(const char *path)
{
    static const char expected[] = "1.500000001,0x00000001,192.0.2.9,,4433,13,2,,1,1,\n"
                                   "1.500000001,0x00000001,,2001:db8::9,4433,12,,3,,1,\n"
                                   "2.000000000,0x00000002,192.0.2.1,,7,1008,1,,1,1,\n"
                                   "2.000000000,0x00000002,192.0.2.1,,7,1008,1,,1,1,\n"
                                   "2.000000000,0x00000002,192.0.2.1,,7,509,1,,1,1,\n"
                                   "2.000000000,0x00000002,,2001:db8::1,9,8,,0,,1,\n";
    char text[2048];
    if (!run_tshark(path, text, sizeof(text))) {
        print_message("tshark is not installed: the file was checked by our reader alone\n");
        return;
    }
    assert_string_equal(text, expected);
}

/* Two datagrams in and two runs out (a third is not taken) through a trace to path. */
static void trace_in_and_out(const char *path, uint8_t *data, uint32_t length)
{
    int os_error = 1;
    uint32_t count = 0;
    uint32_t sent = 0;
    struct weir_driver *trace = NULL;
    struct weir_packet packets[PACKETS_MAX];
    struct weir_path path4 = {.remote = addr_of("192.0.2.9:5")};
    struct weir_path path6 = {.local = addr_of("[2001:db8::1]:4433"),
                              .remote = addr_of("[2001:db8::9]:5")};
    struct weir_packet in[2] = {
        {.data = data, .length = 5, .ecn = WEIR_ECN_ECT0, .path = &path4},
        {.data = data + 5, .length = 4, .ecn = WEIR_ECN_CE, .path = &path6}};
    struct fake fake = {
        .driver = {.ops = &fake_ops, .run_bytes_max = 65507, .local = addr_of("192.0.2.1:4433")},
        .packets = in,
        .packets_count = 2,
        .takes = 2,
        .send_status = WEIR_AGAIN};
    struct weir_transmit out[3] = {{.path = {.remote = addr_of("192.0.2.9:7")},
                                    .data = data,
                                    .length = length,
                                    .segment_bytes = 1000,
                                    .ecn = WEIR_ECN_ECT1},
                                   {.path = path6, .data = data},
                                   {.path = path4, .data = data, .length = 10}};
    out[1].path.remote.port = 9;

    assert_int_equal(weir_trace_open(&fake.driver, path, &trace, &os_error), WEIR_OK);
    assert_int_equal(os_error, 0);
    assert_int_equal(trace->run_bytes_max, 65507);
    assert_int_equal(trace->ops->fd(trace), -1);
    assert_int_equal(trace->ops->next_timeout(trace), 4711);

    assert_int_equal(trace->ops->receive(trace, 1500000001, (struct weir_mut_span){.length = 0},
                                         packets, PACKETS_MAX, &count),
                     WEIR_OK);
    assert_int_equal(count, 2);
    assert_ptr_equal(packets[1].data, data + 5);
    assert_true(trace->is_rx_full);
    assert_int_equal(trace->stats.rx_datagrams, 2);
    /* Only what the inner driver took is written, so nothing comes twice. */
    assert_int_equal(trace->ops->send(trace, 2 * WEIR_SEC, out, 3, &sent), WEIR_AGAIN);
    assert_int_equal(sent, 2);
    assert_int_equal(trace->run_bytes_max, 0);
    trace->ops->close(trace);
    assert_true(fake.is_closed);
}

static void test_in_and_out(void **state)
{
    static const char us4[] = "192.0.2.1:4433";
    static const char us6[] = "[2001:db8::1]:4433";
    uint8_t data[2501];
    char path[64];
    const struct expected expected[6] = {
        {"192.0.2.9:5", us4, data, 5, WEIR_ECN_ECT0, 1},
        {"[2001:db8::9]:5", us6, data + 5, 4, WEIR_ECN_CE, 1},
        {us4, "192.0.2.9:7", data, 1000, WEIR_ECN_ECT1, 2},
        {us4, "192.0.2.9:7", data + 1000, 1000, WEIR_ECN_ECT1, 2},
        {us4, "192.0.2.9:7", data + 2000, 501, WEIR_ECN_ECT1, 2},
        {us6, "[2001:db8::9]:9", data, 0, WEIR_ECN_NOT, 2},
    };
    struct record records[PACKETS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    make_path(path);
    trace_in_and_out(path, data, sizeof(data));
    assert_int_equal(read_records(path, records), 6);
    for (size_t i = 0; i < 6; i++) {
        check_record(&records[i], &expected[i]);
        assert_int_equal(records[i].time, i < 2 ? 1500000001 : 2 * WEIR_SEC);
    }
    check_with_tshark(path);
    assert_int_equal(unlink(path), 0);
}

/* IPv6 carries 20 bytes more than IPv4. */
static void test_longest_datagrams(void **state)
{
    (void)state;
    static uint8_t data[65528];
    static const uint32_t lengths[] = {65507, 65508, 65527, 65528};
    static const char *const remotes[] = {"127.0.0.1:2", "[::1]:2"};
    char path[64];
    int os_error = 0;
    uint32_t sent = 0;
    struct weir_driver *trace = NULL;
    struct record records[PACKETS_MAX];
    struct fake fake = {
        .driver = {.ops = &fake_ops, .local = addr_of("[::]:1"), .is_gathered = true},
        .takes = UINT32_MAX};
    make_path(path);
    assert_int_equal(weir_trace_open(&fake.driver, path, &trace, &os_error), WEIR_OK);
    assert_false(trace->is_gathered); /* it reads all bytes where they are sent from */
    for (size_t i = 0; i < 8; i++) {
        struct weir_transmit out = {
            .path = {.remote = addr_of(remotes[i / 4])}, .data = data, .length = lengths[i % 4]};
        assert_int_equal(trace->ops->send(trace, 0, &out, 1, &sent), WEIR_OK);
    }
    trace->ops->close(trace);

    assert_int_equal(read_records(path, records), 4);
    check_record(&records[0], &(struct expected){"0.0.0.0:1", remotes[0], data, 65507, 0, 2});
    for (uint32_t i = 0; i < 3; i++) {
        check_record(&records[1 + i],
                     &(struct expected){"[::]:1", remotes[1], data, lengths[i], 0, 2});
    }
    assert_int_equal(unlink(path), 0);
}

/* All lengths around the padding, and a payload whose UDP checksum comes out as zero. */
static void test_every_padding_and_checksum(void **state)
{
    (void)state;
    uint8_t data[4] = {0};
    char path[64];
    int os_error = 0;
    uint32_t sent = 0;
    struct weir_driver *trace = NULL;
    struct record records[PACKETS_MAX];
    struct fake fake = {.driver = {.ops = &fake_ops, .local = addr_of("[::]:1")},
                        .takes = UINT32_MAX};
    struct weir_transmit out = {.path = {.remote = addr_of("127.0.0.1:2")}, .data = data};
    make_path(path);
    assert_int_equal(weir_trace_open(&fake.driver, path, &trace, &os_error), WEIR_OK);
    for (uint32_t length = 0; length <= 4; length++) {
        out.length = length;
        out.segment_bytes = (uint16_t)length;
        assert_int_equal(trace->ops->send(trace, 0, &out, 1, &sent), WEIR_OK);
    }
    /* 0x7f00 + 0x0001 + 17 + 10 (length) + 1 + 2 (ports) + 10 + this = 0xffff. */
    weir_store16(data, 0xffff - (0x7f00 + 1 + 17 + 10 + 1 + 2 + 10));
    out.length = out.segment_bytes = 2;
    assert_int_equal(trace->ops->send(trace, 0, &out, 1, &sent), WEIR_OK);
    trace->ops->close(trace);

    assert_int_equal(read_records(path, records), 6);
    for (uint32_t i = 0; i < 6; i++) {
        struct expected expected = {
            "0.0.0.0:1", "127.0.0.1:2", records[i].ip + 28, i < 5 ? i : 2, 0, 2};
        check_record(&records[i], &expected);
    }
    assert_int_equal(weir_load16(records[5].ip + 26), 0xffff);
    assert_int_equal(unlink(path), 0);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct fake fake = {.driver = {.ops = &fake_ops}};
    struct weir_driver *trace = NULL;
    int os_error = 0;
    assert_int_equal(weir_trace_open(&fake.driver, "/nowhere/at/all", &trace, &os_error),
                     WEIR_ERR_OS);
    assert_int_equal(os_error, ENOENT);
    assert_null(trace);
    assert_false(fake.is_closed);
}

/* What flush wrote is there while the trace goes on. */
static void test_flush(void **state)
{
    (void)state;
    char path[64];
    struct record records[PACKETS_MAX];
    struct fake fake = {.driver = {.ops = &fake_ops, .local = addr_of("127.0.0.1:1")},
                        .takes = UINT32_MAX};
    static uint8_t data[] = {1, 2, 3};
    struct weir_transmit out = {
        .path = {.remote = addr_of("127.0.0.1:2")}, .data = data, .length = sizeof(data)};
    struct weir_driver *trace = NULL;
    int os_error = 0;
    uint32_t sent = 0;
    make_path(path);
    assert_int_equal(weir_trace_open(&fake.driver, path, &trace, &os_error), WEIR_OK);
    assert_int_equal(trace->ops->send(trace, 0, &out, 1, &sent), WEIR_OK);
    assert_int_equal(weir_trace_flush(trace), 0);
    assert_int_equal(read_records(path, records), 1);
    trace->ops->close(trace);
    assert_int_equal(unlink(path), 0);
}

/* A full disk stops the trace, not the traffic. */
static void test_full_disk(void **state)
{
    (void)state;
    static uint8_t data[60000];
    struct fake fake = {.driver = {.ops = &fake_ops, .local = addr_of("127.0.0.1:1")},
                        .takes = UINT32_MAX};
    struct weir_transmit out = {.path = {.remote = addr_of("127.0.0.1:2")},
                                .data = data,
                                .length = sizeof(data),
                                .segment_bytes = 1200};
    struct weir_driver *trace = NULL;
    int os_error = 0;
    uint32_t sent = 0;
    assert_int_equal(weir_trace_open(&fake.driver, "/dev/full", &trace, &os_error), WEIR_OK);
    for (weir_nsec i = 0; i < 20; i++) {
        assert_int_equal(trace->ops->send(trace, i * WEIR_SEC, &out, 1, &sent), WEIR_OK);
        assert_int_equal(sent, 1);
    }
    assert_int_equal(weir_trace_flush(trace), ENOSPC);
    assert_int_equal(weir_trace_flush(&fake.driver), 0);
    trace->ops->close(trace);
    assert_true(fake.is_closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_and_out),        cmocka_unit_test(test_every_padding_and_checksum),
        cmocka_unit_test(test_longest_datagrams), cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_full_disk),         cmocka_unit_test(test_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
