/* SPDX-License-Identifier: MIT */
/*
 * packet.c - AF_PACKET driver: batches of frames on one interface.
 *
 * Role: recvmmsg and sendmmsg, which here are faster than the mapped rings; the virtio-net header
 * (PACKET_VNET_HDR) for checksums and segmentation.
 * Many on one interface: a fanout group of the kernel's, see join_group, and hear.h.
 * Memory: one calloc. Each slot of the room takes one frame, its virtio-net header lies elsewhere.
 */
#include "weir/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "driver/hear.h"
#include "driver/vnet.h"

enum {
    SLOTS_MAX = 64,
    SLOTS_DEFAULT = 15,
    TX_BATCH = 64,
    RECEIVE_BUFFER_DEFAULT = 8 << 20,
    SEND_BUFFER_DEFAULT = 4 << 20
};

struct packet {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    int fd;
    bool has_vnet;
    uint32_t slots, slot_bytes;
    struct weir_interface interface;
    struct mmsghdr headers[SLOTS_MAX];
    struct iovec iov[SLOTS_MAX][3];
    struct virtio_net_hdr vnets[SLOTS_MAX];
    struct weir_hear hear; /* of a group */
};

_Static_assert((int)TX_BATCH <= (int)SLOTS_MAX, "sending and receiving share the arrays");

static struct packet *packet_of(struct weir_driver *driver)
{
    return (struct packet *)(void *)driver;
}

void weir_packet_config_default(struct weir_packet_config *config)
{
    *config = (struct weir_packet_config){.receive_buffer_bytes = RECEIVE_BUFFER_DEFAULT,
                                          .send_buffer_bytes = SEND_BUFFER_DEFAULT};
}

/* One message of the next system call: virtio-net header, frame. */
static void lay_message(struct packet *packet, uint32_t i, void *data, size_t length)
{
    const uint32_t skip = packet->has_vnet ? 0 : 1;
    packet->iov[i][0] = (struct iovec){.iov_base = &packet->vnets[i], .iov_len = WEIR_VNET_BYTES};
    packet->iov[i][1] = (struct iovec){.iov_base = data, .iov_len = length};
    packet->headers[i].msg_hdr =
        (struct msghdr){.msg_iov = &packet->iov[i][skip], .msg_iovlen = 2 - skip};
}

/* --- receiving -------------------------------------------------------------------------------- */

/* The interface went down and is up again: nothing of that matters here. */
static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ENETDOWN || error == ENOBUFS;
}

/* What is in the group's queue for us: appended to packets. */
static enum weir_status receive_queue(struct packet *packet, struct weir_mut_span room,
                                      struct weir_packet *packets, uint32_t packets_max,
                                      uint32_t *count)
{
    struct weir_driver *driver = &packet->driver;
    const uint32_t header = packet->has_vnet ? WEIR_VNET_BYTES : 0;
    uint64_t slots = weir_min_u64(packet->slots, room.length / packet->slot_bytes);
    slots = weir_min_u64(slots, packets_max - *count);
    for (uint32_t i = 0; i < slots; i++) {
        lay_message(packet, i, room.data + (size_t)i * packet->slot_bytes, packet->slot_bytes);
    }
    driver->stats.rx_calls++;
    int n = recvmmsg(packet->fd, packet->headers, (unsigned)slots, MSG_DONTWAIT, NULL);
    if (n < 0) {
        driver->error = is_passing(errno) ? 0 : errno;
        return driver->error == 0 ? WEIR_OK : WEIR_ERR_OS;
    }
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        uint32_t length = packet->headers[i].msg_len;
        if ((packet->headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 || length <= header) {
            driver->stats.rx_truncated++;
            continue;
        }
        if (weir_hear_is_open(&packet->hear) &&
            weir_hear_is_heard(packet->iov[i][1].iov_base, length - header)) {
            continue;
        }
        struct weir_packet *frame = &packets[(*count)++];
        *frame = (struct weir_packet){.data = packet->iov[i][1].iov_base,
                                      .length = length - header,
                                      .path = &weir_frame_path,
                                      .protocol = WEIR_PROTOCOL_FRAME};
        if (packet->has_vnet) {
            weir_vnet_decode(&packet->vnets[i], frame);
        }
        driver->stats.rx_bytes += frame->length;
        driver->stats.rx_datagrams++;
    }
    driver->is_rx_full = (uint32_t)n == slots;
    return WEIR_OK;
}

static enum weir_status packet_receive(struct weir_driver *driver, weir_nsec now,
                                       struct weir_mut_span room, struct weir_packet *packets,
                                       uint32_t packets_max, uint32_t *count)
{
    struct packet *packet = packet_of(driver);
    enum weir_status status = WEIR_OK;
    WEIR_ASSERT(room.length >= packet->slot_bytes && packets_max > 0);
    *count = weir_hear_receive(&packet->hear, now, false, &driver->stats, packets, packets_max);
    driver->is_rx_full = *count == packets_max;
    if (!driver->is_rx_full) {
        status = receive_queue(packet, room, packets, packets_max, count);
    }
    if (*count == 0) {
        *count = weir_hear_receive(&packet->hear, now, true, &driver->stats, packets, packets_max);
    }
    return *count > 0 ? WEIR_OK : status;
}

/* --- sending ---------------------------------------------------------------------------------- */

static uint32_t build_batch(struct packet *packet, const struct weir_transmit *transmits,
                            uint32_t count)
{
    uint32_t built = (uint32_t)weir_min_u64(count, TX_BATCH);
    for (uint32_t i = 0; i < built; i++) {
        lay_message(packet, i, transmits[i].data, transmits[i].length - transmits[i].tail_bytes);
        if (transmits[i].tail_bytes > 0) {
            packet->iov[i][2] = weir_vnet_tail(&transmits[i]);
            packet->headers[i].msg_hdr.msg_iovlen++;
        }
        if (packet->has_vnet) {
            weir_vnet_encode(&transmits[i], packet->interface.is_ethernet, &packet->vnets[i]);
        }
    }
    return built;
}

/* About the frame at the front. WEIR_OK: it is done with. */
static enum weir_status on_refused(struct packet *packet)
{
    switch (errno) {
    case EAGAIN:
    case EINTR:
        return WEIR_AGAIN;
    case EBADF:
    case ENOTSOCK:
    case EFAULT:
    case ENXIO: /* the interface is gone */
        packet->driver.error = errno;
        return WEIR_ERR_OS;
    case EINVAL:
        if (packet->vnets[0].gso_type == WEIR_VNET_GSO_UDP_L4) {
            /* This kernel takes no runs of UDP: whoever made it cuts it. */
            packet->driver.run_bytes_max = 0;
            packet->driver.run_segments_max = 1;
            return WEIR_AGAIN;
        }
        break;
    default: /* ENOBUFS, ENOMEM, ENETDOWN, EMSGSIZE */
        break;
    }
    packet->driver.stats.tx_dropped++;
    return WEIR_OK;
}

static enum weir_status packet_send(struct weir_driver *driver, weir_nsec now,
                                    const struct weir_transmit *transmits, uint32_t count,
                                    uint32_t *sent)
{
    struct packet *packet = packet_of(driver);
    (void)now;
    *sent = 0;
    while (*sent < count) {
        uint32_t built = build_batch(packet, transmits + *sent, count - *sent);
        driver->stats.tx_calls++;
        int n = sendmmsg(packet->fd, packet->headers, built, MSG_DONTWAIT);
        for (int i = 0; i < n; i++) {
            driver->stats.tx_datagrams++;
            driver->stats.tx_bytes += transmits[*sent + (uint32_t)i].length;
        }
        if (n > 0) {
            *sent += (uint32_t)n;
            continue;
        }
        enum weir_status status = on_refused(packet);
        if (status != WEIR_OK) {
            return status;
        }
        (*sent)++;
    }
    return WEIR_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int packet_fd(const struct weir_driver *driver)
{
    const struct packet *packet = (const struct packet *)(const void *)driver;
    return weir_hear_is_open(&packet->hear) ? packet->hear.epoll_fd : packet->fd;
}

static weir_nsec packet_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void packet_close(struct weir_driver *driver)
{
    struct packet *packet = packet_of(driver);
    weir_hear_close(&packet->hear);
    if (packet->fd >= 0) {
        (void)close(packet->fd);
    }
    free(packet);
}

static const struct weir_driver_ops packet_ops = {.receive = packet_receive,
                                                  .send = packet_send,
                                                  .fd = packet_fd,
                                                  .next_timeout = packet_next_timeout,
                                                  .close = packet_close};

static bool set_option(const struct packet *packet, int level, int option, int value)
{
    return setsockopt(packet->fd, level, option, &value, sizeof(value)) == 0;
}

static void ask_buffer(const struct packet *packet, int option, int force_option, uint32_t bytes)
{
    int value = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;
    if (bytes != 0 && !set_option(packet, SOL_SOCKET, force_option, value)) {
        (void)set_option(packet, SOL_SOCKET, option, value);
    }
}

/* Multicast frames always: neighbour discovery comes by them. */
static void ask_frames(const struct packet *packet, bool is_promiscuous)
{
    struct packet_mreq request = {.mr_ifindex = (int)packet->interface.index,
                                  .mr_type = PACKET_MR_ALLMULTI};
    (void)setsockopt(packet->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request));
    if (is_promiscuous) {
        request.mr_type = PACKET_MR_PROMISC;
        (void)setsockopt(packet->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request));
    }
    (void)set_option(packet, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
}

/* The header is asked for even when offloads are not wanted: the kernel's frames come to this
 * socket before they are cut and their checksums made, and only the header says so. */
static void ask_offloads(struct packet *packet, const struct weir_packet_config *config)
{
    packet->has_vnet = set_option(packet, SOL_PACKET, PACKET_VNET_HDR, 1);
    packet->slots = config->batch_slots == 0 ? SLOTS_DEFAULT : config->batch_slots;
    packet->slot_bytes = WEIR_FRAME_ROOM;
    packet->driver.rx_room_bytes = packet->slot_bytes;
    packet->driver.run_segments_max = 1;
    if (packet->has_vnet && !config->is_offload_disabled) {
        packet->driver.is_joined = packet->driver.is_unchecked = true;
        packet->driver.is_gathered = true;
        packet->driver.run_bytes_max = WEIR_FRAME_BYTES_MAX;
        packet->driver.run_segments_max = WEIR_FRAME_SEGMENTS_MAX;
        packet->interface.is_uso = true;
    }
}

/* The kernel hashes a fragment by addresses alone, the first one too, so that all of a packet come
 * by one queue. */
static enum weir_status join_group(struct packet *packet, const struct weir_packet_config *config,
                                   char problem[WEIR_PROBLEM_BYTES])
{
    enum {
        TYPE_SHIFT = 16,
        /* Newer than the headers of some systems; a kernel that does not know it wastes time. */
        FANOUT_IGNORE_OUTGOING = 0x4000
    };

    int group = 0;
    socklen_t length = sizeof(group);
    /* What we send is not to come back: asked for each socket, and of the group once more. */
    unsigned ask = (unsigned)(PACKET_FANOUT_HASH | FANOUT_IGNORE_OUTGOING) << TYPE_SHIFT;
    if (config->first == NULL) {
        ask |= (unsigned)PACKET_FANOUT_FLAG_UNIQUEID << TYPE_SHIFT;
    } else if (getsockopt(((const struct packet *)(const void *)config->first)->fd, SOL_PACKET,
                          PACKET_FANOUT, &group, &length) != 0) {
        return weir_problem(problem, "packet fanout", errno, NULL);
    }
    ask |= (unsigned)group & UINT16_MAX;
    if (!set_option(packet, SOL_PACKET, PACKET_FANOUT, (int)ask)) {
        return weir_problem(problem, "packet fanout", errno,
                            "it takes Linux 4.15, and one interface for all of a group");
    }
    return weir_hear_open(&packet->hear, &packet->interface, false, config->first == NULL,
                          packet->fd, problem);
}

static enum weir_status open_parts(struct packet *packet, const struct weir_packet_config *config,
                                   char problem[WEIR_PROBLEM_BYTES])
{
    packet->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (packet->fd < 0) {
        return weir_problem(problem, "packet socket", errno,
                            errno == EPERM ? "run as root, or give the program the capability: "
                                             "setcap cap_net_raw+ep PROGRAM"
                                           : NULL);
    }
    memcpy(packet->interface.name, config->name, sizeof(packet->interface.name));
    packet->interface.is_ethernet = true;
    if (!weir_interface_read(&packet->interface)) {
        return weir_problem(problem, config->name, errno, "is there such an interface? (ip link)");
    }
    ask_buffer(packet, SO_RCVBUF, SO_RCVBUFFORCE, config->receive_buffer_bytes);
    ask_buffer(packet, SO_SNDBUF, SO_SNDBUFFORCE, config->send_buffer_bytes);
    ask_offloads(packet, config);
    ask_frames(packet, config->is_promiscuous);
    const struct sockaddr_ll name = {.sll_family = AF_PACKET,
                                     .sll_protocol = htons(ETH_P_ALL),
                                     .sll_ifindex = (int)packet->interface.index};
    const void *any = &name;
    if (bind(packet->fd, any, sizeof(name)) != 0) {
        return weir_problem(problem, config->name, errno, NULL);
    }
    return config->is_shared ? join_group(packet, config, problem) : WEIR_OK;
}

enum weir_status weir_packet_open(const struct weir_packet_config *config,
                                  struct weir_driver **driver, char problem[WEIR_PROBLEM_BYTES])
{
    problem[0] = 0;
    if (memchr(config->name, 0, sizeof(config->name)) == NULL || config->batch_slots > SLOTS_MAX ||
        (config->first != NULL && (!config->is_shared || config->first->ops != &packet_ops))) {
        return WEIR_ERR_INVALID;
    }
    struct packet *packet = calloc(1, sizeof(*packet));
    if (packet == NULL) {
        return WEIR_ERR_MEMORY;
    }
    packet->driver.ops = &packet_ops;
    packet->driver.datagram_bytes_max = WEIR_FRAME_BYTES_MAX;
    packet->fd = -1;
    weir_hear_init(&packet->hear);
    enum weir_status status = open_parts(packet, config, problem);
    if (status != WEIR_OK) {
        packet_close(&packet->driver);
        return status;
    }
    *driver = &packet->driver;
    return WEIR_OK;
}

const struct weir_interface *weir_packet_interface(const struct weir_driver *driver)
{
    WEIR_ASSERT(driver->ops == &packet_ops);
    return &((const struct packet *)(const void *)driver)->interface;
}
