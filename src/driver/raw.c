/* SPDX-License-Identifier: MIT */
/*
 * raw.c - driver of AF_INET raw sockets: IPv4 packets with their headers, both ways.
 *
 * Memory: one calloc. Each slot of the room takes one packet, as long as the kernel joins any.
 */
#include "weir/raw.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "driver/sockaddr.h"
#include "driver/vnet.h"
#include "wire/ip4.h"

enum {
    SLOTS_MAX = 15,
    TX_BATCH = 64,
    MTU_BYTES = 1500,
    RECEIVE_BUFFER_DEFAULT = 8 << 20
};

struct raw {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    int fd;
    bool is_trusted;
    struct weir_interface interface;
    struct mmsghdr headers[TX_BATCH];
    struct iovec iov[TX_BATCH];
    union weir_sockaddr names[TX_BATCH];
};

static struct raw *raw_of(struct weir_driver *driver)
{
    return (struct raw *)(void *)driver;
}

void weir_raw_config_default(struct weir_raw_config *config)
{
    *config = (struct weir_raw_config){.protocol = WEIR_IP_TCP,
                                       .receive_buffer_bytes = RECEIVE_BUFFER_DEFAULT};
}

static enum weir_status raw_receive(struct weir_driver *driver, weir_nsec now,
                                    struct weir_mut_span room, struct weir_packet *packets,
                                    uint32_t packets_max, uint32_t *count)
{
    struct raw *raw = raw_of(driver);
    WEIR_ASSERT(room.length >= driver->rx_room_bytes && packets_max > 0);
    uint64_t slots = weir_min_u64(room.length / WEIR_FRAME_ROOM, SLOTS_MAX);
    slots = weir_min_u64(slots, packets_max);
    (void)now;
    *count = 0;
    driver->is_rx_full = false;
    for (uint32_t i = 0; i < slots; i++) {
        raw->iov[i] = (struct iovec){.iov_base = room.data + (size_t)i * WEIR_FRAME_ROOM,
                                     .iov_len = WEIR_FRAME_ROOM};
        raw->headers[i].msg_hdr = (struct msghdr){.msg_iov = &raw->iov[i], .msg_iovlen = 1};
    }
    driver->stats.rx_calls++;
    int n = recvmmsg(raw->fd, raw->headers, (unsigned)slots, MSG_DONTWAIT, NULL);
    if (n < 0) {
        bool is_passing = errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
        driver->error = is_passing ? 0 : errno;
        return is_passing ? WEIR_OK : WEIR_ERR_OS;
    }
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        packets[(*count)++] = (struct weir_packet){.data = raw->iov[i].iov_base,
                                                   .length = raw->headers[i].msg_len,
                                                   .path = &weir_frame_path,
                                                   .protocol = WEIR_PROTOCOL_FRAME,
                                                   .is_checked = raw->is_trusted};
        driver->stats.rx_bytes += raw->headers[i].msg_len;
    }
    driver->stats.rx_datagrams += *count;
    driver->is_rx_full = (uint32_t)n == slots;
    return WEIR_OK;
}

static uint32_t build_batch(struct raw *raw, const struct weir_transmit *transmits, uint32_t count)
{
    uint32_t built = (uint32_t)weir_min_u64(count, TX_BATCH);
    for (uint32_t i = 0; i < built; i++) {
        const struct weir_transmit *transmit = &transmits[i];
        union weir_sockaddr *name = &raw->names[i];
        WEIR_ASSERT(transmit->length >= WEIR_IP4_HEADER_BYTES);
        *name = (union weir_sockaddr){.in4 = {.sin_family = AF_INET}};
        memcpy(&name->in4.sin_addr, transmit->data + 16, sizeof(name->in4.sin_addr));
        raw->iov[i] = (struct iovec){.iov_base = transmit->data, .iov_len = transmit->length};
        raw->headers[i].msg_hdr = (struct msghdr){.msg_name = name,
                                                  .msg_namelen = sizeof(name->in4),
                                                  .msg_iov = &raw->iov[i],
                                                  .msg_iovlen = 1};
    }
    return built;
}

static enum weir_status raw_send(struct weir_driver *driver, weir_nsec now,
                                 const struct weir_transmit *transmits, uint32_t count,
                                 uint32_t *sent)
{
    struct raw *raw = raw_of(driver);
    (void)now;
    *sent = 0;
    while (*sent < count) {
        uint32_t built = build_batch(raw, transmits + *sent, count - *sent);
        driver->stats.tx_calls++;
        int n = sendmmsg(raw->fd, raw->headers, built, MSG_DONTWAIT);
        for (int i = 0; i < n; i++) {
            driver->stats.tx_datagrams++;
            driver->stats.tx_bytes += transmits[*sent + (uint32_t)i].length;
        }
        if (n > 0) {
            *sent += (uint32_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            return WEIR_AGAIN;
        } else if (errno == EBADF || errno == ENOTSOCK || errno == EFAULT) {
            driver->error = errno;
            return WEIR_ERR_OS;
        } else {
            /* No route, too long for the link, no memory, forbidden by the firewall. */
            driver->stats.tx_dropped++;
            (*sent)++;
        }
    }
    return WEIR_OK;
}

static int raw_fd(const struct weir_driver *driver)
{
    return ((const struct raw *)(const void *)driver)->fd;
}

static weir_nsec raw_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void raw_close(struct weir_driver *driver)
{
    struct raw *raw = raw_of(driver);
    if (raw->fd >= 0) {
        (void)close(raw->fd);
    }
    free(raw);
}

static const struct weir_driver_ops raw_ops = {.receive = raw_receive,
                                               .send = raw_send,
                                               .fd = raw_fd,
                                               .next_timeout = raw_next_timeout,
                                               .close = raw_close};

static enum weir_status open_socket(struct raw *raw, const struct weir_raw_config *config,
                                    char problem[WEIR_PROBLEM_BYTES])
{
    union weir_sockaddr name = {.in4 = {.sin_family = AF_INET}};
    const int is_included = 1;
    const int bytes = config->receive_buffer_bytes > INT32_MAX / 2
                          ? INT32_MAX / 2
                          : (int)config->receive_buffer_bytes;
    raw->fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, config->protocol);
    if (raw->fd < 0) {
        return weir_problem(problem, "raw socket", errno,
                            errno == EPERM ? "run as root, or give the program the capability: "
                                             "setcap cap_net_raw+ep PROGRAM"
                                           : NULL);
    }
    if (bytes != 0 && setsockopt(raw->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        (void)setsockopt(raw->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    memcpy(&name.in4.sin_addr, config->local.ip, sizeof(name.in4.sin_addr));
    if (setsockopt(raw->fd, IPPROTO_IP, IP_HDRINCL, &is_included, sizeof(is_included)) != 0 ||
        bind(raw->fd, &name.any, sizeof(name.in4)) != 0) {
        return weir_problem(problem, "raw socket", errno,
                            errno == EADDRNOTAVAIL ? "it takes an address of this machine" : NULL);
    }
    return WEIR_OK;
}

enum weir_status weir_raw_open(const struct weir_raw_config *config, struct weir_driver **driver,
                               char problem[WEIR_PROBLEM_BYTES])
{
    problem[0] = 0;
    if (config->local.family != WEIR_ADDR_IP4) {
        return WEIR_ERR_INVALID;
    }
    struct raw *raw = calloc(1, sizeof(*raw));
    if (raw == NULL) {
        return WEIR_ERR_MEMORY;
    }
    raw->driver.ops = &raw_ops;
    raw->driver.rx_room_bytes = WEIR_FRAME_ROOM;
    raw->driver.run_segments_max = 1;
    raw->driver.datagram_bytes_max = WEIR_IP4_BYTES_MAX;
    raw->is_trusted = config->is_trusted;
    raw->interface.mtu_bytes = MTU_BYTES;
    raw->fd = -1;
    enum weir_status status = open_socket(raw, config, problem);
    if (status != WEIR_OK) {
        raw_close(&raw->driver);
        return status;
    }
    *driver = &raw->driver;
    return WEIR_OK;
}

const struct weir_interface *weir_raw_interface(const struct weir_driver *driver)
{
    WEIR_ASSERT(driver->ops == &raw_ops);
    return &((const struct raw *)(const void *)driver)->interface;
}
