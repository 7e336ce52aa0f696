/* SPDX-License-Identifier: MIT */
/*
 * trace.c - wrapper: every datagram, in and out, to a pcapng file.
 *
 * Role: sees what the engine sends and what it gets, not what the network does in between. A
 * datagram that the system refused and the driver counted as dropped is in the file too.
 * Memory: one calloc at open and stdio's buffer; the file is written when the buffer is full, once
 * a second of traffic, and at close.
 * Spec: the pcapng format (draft-ietf-opsawg-pcapng), link type 101 (raw IP); RFC 791, RFC 8200,
 * RFC 768 for the headers made up around the payloads. Between hosts of port 0 the payload is a
 * TCP segment and has no UDP header around it.
 *
 *   file: | section header | interface description | packet | packet | ...
 *   packet: | 6 | length | 0 | time high, low | captured | original | IP UDP payload, padded |
 *           | options: direction | length |
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "weir/version.h"
#include "weir/wrap.h"

enum {
    BLOCK_SECTION = 0x0A0D0D0A,
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET = 6,
    BYTE_ORDER_MAGIC = 0x1A2B3C4D,
    LINKTYPE_RAW = 101,
    OPTION_END = 0,
    OPTION_APPLICATION = 4,     /* of a section */
    OPTION_TIME_RESOLUTION = 9, /* of an interface */
    OPTION_FLAGS = 2,           /* of a packet */
    NANOSECONDS = 9,            /* 10^-9 */
    IP4_HEADER_BYTES = 20,
    IP6_HEADER_BYTES = 40,
    UDP_HEADER_BYTES = 8,
    HEADERS_BYTES_MAX = IP6_HEADER_BYTES + UDP_HEADER_BYTES,
    IP_LENGTH_MAX = 65535, /* with the header for IPv4, without it for IPv6 */
    IP4_DONT_FRAGMENT = 0x4000,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    HOP_LIMIT = 64,
    FILE_BUFFER_BYTES = 256 << 10
};

/* The two low bits of the packet flags option. */
enum direction {
    DIRECTION_IN = 1,
    DIRECTION_OUT = 2
};

struct trace {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    struct weir_driver *inner;
    FILE *file;             /* NULL once writing has failed */
    int error;              /* then errno */
    weir_nsec epoch_offset; /* added to the loop's clock to make time since 1970 */
    weir_nsec flushed;
    uint16_t ip4_id;
};

struct datagram {
    const struct weir_addr *from, *to;
    const uint8_t *data;
    uint32_t length;
    uint8_t ecn;
    enum direction direction;
};

static struct trace *trace_of(struct weir_driver *driver)
{
    return (struct trace *)(void *)driver;
}

/* Wrapped and wrapping driver look the same from outside, but that a record is written from bytes
 * in a row. */
static void mirror_inner(struct trace *trace)
{
    const struct weir_driver_ops *ops = trace->driver.ops;
    trace->driver = *trace->inner;
    trace->driver.ops = ops;
    trace->driver.is_gathered = false;
}

/* RFC 1071: the sum in 16-bit words, not yet folded; an odd last byte counts as the high one. */
static uint64_t sum_words(uint64_t sum, const uint8_t *data, size_t length)
{
    for (; length >= 4; data += 4, length -= 4) {
        sum += weir_load32(data);
    }
    if (length >= 2) {
        sum += weir_load16(data);
        data += 2;
        length -= 2;
    }
    return length > 0 ? sum + (uint64_t)(data[0] << 8) : sum;
}

static uint16_t fold_checksum(uint64_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

/* A TCP segment has its ports in its own header, and the hosts that carry it have none; UDP never
 * has 0 at both ends. */
static bool is_tcp(const struct datagram *datagram)
{
    return datagram->from->port == 0 && datagram->to->port == 0;
}

static uint32_t transport_bytes(const struct datagram *datagram)
{
    return datagram->length + (is_tcp(datagram) ? 0 : (uint32_t)UDP_HEADER_BYTES);
}

/* RFC 791 3.1. */
static size_t encode_ip4(struct trace *trace, const struct datagram *datagram,
                         uint8_t header[HEADERS_BYTES_MAX])
{
    memset(header, 0, IP4_HEADER_BYTES);
    header[0] = 0x45;
    header[1] = datagram->ecn;
    weir_store16(header + 2, (uint16_t)(IP4_HEADER_BYTES + transport_bytes(datagram)));
    weir_store16(header + 4, trace->ip4_id++);
    weir_store16(header + 6, IP4_DONT_FRAGMENT);
    header[8] = HOP_LIMIT;
    header[9] = is_tcp(datagram) ? PROTOCOL_TCP : PROTOCOL_UDP;
    memcpy(header + 12, datagram->from->ip, 4);
    memcpy(header + 16, datagram->to->ip, 4);
    weir_store16(header + 10, fold_checksum(sum_words(0, header, IP4_HEADER_BYTES)));
    return IP4_HEADER_BYTES;
}

/* RFC 8200 3; the ECN bits are the lowest of the traffic class. */
static size_t encode_ip6(const struct datagram *datagram, uint8_t header[HEADERS_BYTES_MAX])
{
    weir_store32(header, 0x60000000U | (uint32_t)datagram->ecn << 20);
    weir_store16(header + 4, (uint16_t)transport_bytes(datagram));
    header[6] = is_tcp(datagram) ? PROTOCOL_TCP : PROTOCOL_UDP;
    header[7] = HOP_LIMIT;
    memcpy(header + 8, datagram->from->ip, 16);
    memcpy(header + 24, datagram->to->ip, 16);
    return IP6_HEADER_BYTES;
}

/* RFC 768; the checksum covers the addresses, and a sum of zero is sent as all ones. */
static void encode_udp(const struct datagram *datagram, uint8_t header[UDP_HEADER_BYTES])
{
    uint16_t length = (uint16_t)(UDP_HEADER_BYTES + datagram->length);
    weir_store16(header, datagram->from->port);
    weir_store16(header + 2, datagram->to->port);
    weir_store16(header + 4, length);
    weir_store16(header + 6, 0);

    uint64_t sum = PROTOCOL_UDP + (uint64_t)length;
    sum = sum_words(sum, datagram->from->ip, sizeof(datagram->from->ip));
    sum = sum_words(sum, datagram->to->ip, sizeof(datagram->to->ip));
    sum = sum_words(sum, header, UDP_HEADER_BYTES);
    uint16_t checksum = fold_checksum(sum_words(sum, datagram->data, datagram->length));
    weir_store16(header + 6, checksum != 0 ? checksum : 0xffff);
}

/* pcapng integers are in the byte order of the machine that writes. */
static size_t put32(uint8_t *block, size_t at, uint32_t value)
{
    memcpy(block + at, &value, sizeof(value));
    return at + sizeof(value);
}

static size_t put16(uint8_t *block, size_t at, uint16_t value)
{
    memcpy(block + at, &value, sizeof(value));
    return at + sizeof(value);
}

/* data, padded with zeros to 4 bytes, behind its code and length. */
static size_t put_option(uint8_t *block, size_t at, uint16_t code, struct weir_span data)
{
    at = put16(block, at, code);
    at = put16(block, at, (uint16_t)data.length);
    size_t padded = (data.length + 3) & ~(size_t)3;
    memset(block + at, 0, padded);
    if (data.length > 0) {
        memcpy(block + at, data.data, data.length);
    }
    return at + padded;
}

static void stop_trace(struct trace *trace)
{
    trace->error = errno;
    (void)fclose(trace->file);
    trace->file = NULL;
}

static void write_bytes(struct trace *trace, const void *data, size_t length)
{
    if (trace->file != NULL && fwrite(data, 1, length, trace->file) != length) {
        stop_trace(trace);
    }
}

/* Options' end, the length at both ends, and out. */
static void write_block(struct trace *trace, uint8_t *block, size_t length)
{
    length = put_option(block, length, OPTION_END, weir_span_of(NULL, 0));
    (void)put32(block, 4, (uint32_t)length + 4);
    length = put32(block, length, (uint32_t)length + 4);
    write_bytes(trace, block, length);
}

static void write_file_header(struct trace *trace)
{
    static const char application[] = "weir " WEIR_VERSION;
    static const uint8_t resolution = NANOSECONDS;
    uint8_t block[64];

    size_t at = put32(block, 0, BLOCK_SECTION);
    at = put32(block, at + 4, BYTE_ORDER_MAGIC);
    at = put16(block, at, 1);
    at = put16(block, at, 0);
    at = put32(block, at, UINT32_MAX); /* section length, 64 bits: not known */
    at = put32(block, at, UINT32_MAX);
    at = put_option(block, at, OPTION_APPLICATION,
                    weir_span_of(application, sizeof(application) - 1));
    write_block(trace, block, at);

    at = put32(block, 0, BLOCK_INTERFACE);
    at = put16(block, at + 4, LINKTYPE_RAW);
    at = put16(block, at, 0);
    at = put32(block, at, 0); /* packets are never cut */
    at = put_option(block, at, OPTION_TIME_RESOLUTION, weir_span_of(&resolution, 1));
    write_block(trace, block, at);
}

static bool is_ip4(const struct datagram *datagram)
{
    return datagram->to->family == WEIR_ADDR_IP4 || datagram->from->family == WEIR_ADDR_IP4;
}

/* What no IP packet can carry is left out. */
static void write_datagram(struct trace *trace, weir_nsec now, const struct datagram *datagram)
{
    uint32_t header_bytes = UDP_HEADER_BYTES + (is_ip4(datagram) ? IP4_HEADER_BYTES : 0);
    if (datagram->length > IP_LENGTH_MAX - header_bytes) {
        return;
    }
    uint8_t block[28 + HEADERS_BYTES_MAX];
    uint8_t tail[24] = {0};
    uint8_t headers[HEADERS_BYTES_MAX];
    size_t used =
        is_ip4(datagram) ? encode_ip4(trace, datagram, headers) : encode_ip6(datagram, headers);
    if (!is_tcp(datagram)) {
        encode_udp(datagram, headers + used);
        used += UDP_HEADER_BYTES;
    }

    uint32_t captured = (uint32_t)used + datagram->length;
    size_t padding = (4 - captured % 4) % 4;
    /* Fixed fields 28, options 8 + 4, the final length 4. */
    uint32_t total = 28 + captured + (uint32_t)padding + 16;
    uint64_t time = now + trace->epoch_offset;

    size_t at = put32(block, 0, BLOCK_PACKET);
    at = put32(block, at, total);
    at = put32(block, at, 0);
    at = put32(block, at, (uint32_t)(time >> 32));
    at = put32(block, at, (uint32_t)time);
    at = put32(block, at, captured);
    at = put32(block, at, captured);
    memcpy(block + at, headers, used);
    write_bytes(trace, block, at + used);
    write_bytes(trace, datagram->data, datagram->length);

    uint32_t flags = datagram->direction;
    at = put_option(tail, padding, OPTION_FLAGS, weir_span_of(&flags, sizeof(flags)));
    at = put_option(tail, at, OPTION_END, weir_span_of(NULL, 0));
    at = put32(tail, at, total);
    write_bytes(trace, tail, at);
}

/* Our end of a path: where the driver does not say, its bound address, and failing that the
 * any-address, of the peer's family. */
static struct weir_addr local_of(const struct trace *trace, const struct weir_path *path)
{
    if (path->local.family == path->remote.family) {
        return path->local;
    }
    const struct weir_addr *bound = &trace->inner->local;
    struct weir_addr local = {.family = path->remote.family, .port = bound->port};
    if (bound->family == path->remote.family) {
        local = *bound;
    }
    return local;
}

static void trace_received(struct trace *trace, weir_nsec now, const struct weir_packet *packet)
{
    struct weir_addr local = local_of(trace, packet->path);
    struct datagram datagram = {.from = &packet->path->remote,
                                .to = &local,
                                .data = packet->data,
                                .length = packet->length,
                                .ecn = packet->ecn,
                                .direction = DIRECTION_IN};
    write_datagram(trace, now, &datagram);
}

static void trace_sent(struct trace *trace, weir_nsec now, const struct weir_transmit *transmit)
{
    struct weir_addr local = local_of(trace, &transmit->path);
    struct datagram datagram = {.from = &local,
                                .to = &transmit->path.remote,
                                .ecn = transmit->ecn,
                                .direction = DIRECTION_OUT};
    uint32_t offset = 0;
    do {
        uint32_t left = transmit->length - offset;
        datagram.data = transmit->data + offset;
        /* What the driver below cuts with headers of its own is shown whole. */
        datagram.length = transmit->segment_bytes == 0 || transmit->header_bytes != 0
                              ? left
                              : (uint32_t)weir_min_u64(left, transmit->segment_bytes);
        write_datagram(trace, now, &datagram);
        offset += datagram.length;
    } while (offset < transmit->length);
}

static void flush_sometimes(struct trace *trace, weir_nsec now)
{
    if (trace->file != NULL && now - trace->flushed >= WEIR_SEC) {
        trace->flushed = now;
        if (fflush(trace->file) != 0) {
            stop_trace(trace);
        }
    }
}

static enum weir_status trace_receive(struct weir_driver *driver, weir_nsec now,
                                      struct weir_mut_span room, struct weir_packet *packets,
                                      uint32_t packets_max, uint32_t *count)
{
    struct trace *trace = trace_of(driver);
    struct weir_driver *inner = trace->inner;
    enum weir_status status = inner->ops->receive(inner, now, room, packets, packets_max, count);
    mirror_inner(trace);
    if (status == WEIR_OK && *count > 0) {
        for (uint32_t i = 0; i < *count && trace->file != NULL; i++) {
            trace_received(trace, now, &packets[i]);
        }
        flush_sometimes(trace, now);
    }
    return status;
}

static enum weir_status trace_send(struct weir_driver *driver, weir_nsec now,
                                   const struct weir_transmit *transmits, uint32_t count,
                                   uint32_t *sent)
{
    struct trace *trace = trace_of(driver);
    struct weir_driver *inner = trace->inner;
    enum weir_status status = inner->ops->send(inner, now, transmits, count, sent);
    mirror_inner(trace);
    for (uint32_t i = 0; i < *sent && trace->file != NULL; i++) {
        trace_sent(trace, now, &transmits[i]);
    }
    flush_sometimes(trace, now);
    return status;
}

static int trace_fd(const struct weir_driver *driver)
{
    const struct trace *trace = (const struct trace *)(const void *)driver;
    return trace->inner->ops->fd(trace->inner);
}

static weir_nsec trace_next_timeout(const struct weir_driver *driver)
{
    const struct trace *trace = (const struct trace *)(const void *)driver;
    return trace->inner->ops->next_timeout(trace->inner);
}

static void trace_close(struct weir_driver *driver)
{
    struct trace *trace = trace_of(driver);
    if (trace->file != NULL) {
        stop_trace(trace);
    }
    trace->inner->ops->close(trace->inner);
    free(trace);
}

static const struct weir_driver_ops trace_ops = {
    .receive = trace_receive,
    .send = trace_send,
    .fd = trace_fd,
    .next_timeout = trace_next_timeout,
    .close = trace_close,
};

/* Real packets carry the time of day; those of a simulation its virtual time, so that one seed
 * gives one file. */
static weir_nsec read_epoch_offset(const struct weir_driver *inner)
{
    struct timespec real;
    struct timespec monotonic;
    if (inner->ops->fd(inner) < 0) {
        return 0;
    }
    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (weir_nsec)(real.tv_sec - monotonic.tv_sec) * WEIR_SEC + (weir_nsec)real.tv_nsec -
           (weir_nsec)monotonic.tv_nsec;
}

enum weir_status weir_trace_open(struct weir_driver *inner, const char *path,
                                 struct weir_driver **driver, int *os_error)
{
    struct trace *trace = calloc(1, sizeof(*trace));
    *os_error = 0;
    if (trace == NULL) {
        return WEIR_ERR_MEMORY;
    }
    trace->file = fopen(path, "wbe");
    if (trace->file == NULL) {
        *os_error = errno;
        free(trace);
        return WEIR_ERR_OS;
    }
    (void)setvbuf(trace->file, NULL, _IOFBF, FILE_BUFFER_BYTES);
    trace->inner = inner;
    trace->driver.ops = &trace_ops;
    trace->epoch_offset = read_epoch_offset(inner);
    mirror_inner(trace);
    write_file_header(trace);
    *driver = &trace->driver;
    return WEIR_OK;
}

int weir_trace_flush(struct weir_driver *driver)
{
    if (driver->ops != &trace_ops) {
        return 0;
    }
    struct trace *trace = trace_of(driver);
    if (trace->file != NULL && fflush(trace->file) != 0) {
        stop_trace(trace);
    }
    return trace->error;
}
