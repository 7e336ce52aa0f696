/* SPDX-License-Identifier: MIT */
/*
 * udp_rx.c - UDP driver, receiving: one recvmmsg a call, runs cut into datagrams.
 *
 *   room  |slot 0: d d d d d d|slot 1: d      |slot 2: d d d    |   d: one datagram
 *          \__ paths[0] _____/ \__ paths[1] _/ \__ paths[2] ___/
 */
#include "driver/udp_io.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

/* More ICMP errors than this in a row end the call; the next one goes on. */
enum {
    PENDING_ERRORS_MAX = 16
};

/* What the control messages of one slot say. */
struct rx_info {
    uint32_t segment_bytes; /* 0: a single datagram */
    uint8_t ecn;
};

static void prepare_slots(struct weir_udp *udp, struct weir_mut_span room, uint32_t slots)
{
    for (uint32_t i = 0; i < slots; i++) {
        struct weir_udp_message *message = &udp->rx_messages[i];
        message->iov[0].iov_base = room.data + (size_t)i * udp->slot_bytes;
        message->iov[0].iov_len = udp->slot_bytes;
        if (udp->spill != NULL) {
            message->iov[1].iov_base = udp->spill + (size_t)i * WEIR_UDP_RUN_ROOM + udp->slot_bytes;
            message->iov[1].iov_len = WEIR_UDP_RUN_ROOM - udp->slot_bytes;
        }
        udp->rx_headers[i].msg_hdr = (struct msghdr){.msg_name = &message->name,
                                                     .msg_namelen = sizeof(message->name),
                                                     .msg_iov = message->iov,
                                                     .msg_iovlen = udp->spill != NULL ? 2 : 1,
                                                     .msg_control = message->control,
                                                     .msg_controllen = sizeof(message->control)};
    }
}

/* Errors that ICMP leaves on the socket for an earlier datagram of ours. */
static bool is_pending_error(int error)
{
    switch (error) {
    case EINTR:
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EMSGSIZE:
    case EPROTO:
    case EACCES:
        return true;
    default:
        return false;
    }
}

static enum weir_status receive_slots(struct weir_udp *udp, uint32_t slots, uint32_t *filled)
{
    *filled = 0;
    for (int tries = 0; tries < PENDING_ERRORS_MAX; tries++) {
        udp->driver.stats.rx_calls++;
        int n = recvmmsg(udp->fd, udp->rx_headers, slots, MSG_DONTWAIT, NULL);
        if (n >= 0) {
            *filled = (uint32_t)n;
            return WEIR_OK;
        }
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            return WEIR_OK;
        }
        if (!is_pending_error(errno)) {
            udp->driver.error = errno;
            return WEIR_ERR_OS;
        }
    }
    return WEIR_OK;
}

/* The address a datagram was sent to; not a multicast one, from which nothing can be answered, and
 * not that of an IPv4 datagram, which may be a broadcast one: read_pktinfo4 knows better. */
static void read_pktinfo6(const struct cmsghdr *cmsg, struct weir_addr *local)
{
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
    if (!IN6_IS_ADDR_MULTICAST(&info.ipi6_addr) && !IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr)) {
        weir_sockaddr_from_in6(&info.ipi6_addr, info.ipi6_ifindex, local);
    }
}

static void read_pktinfo4(const struct cmsghdr *cmsg, struct weir_addr *local)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
    *local = (struct weir_addr){.family = WEIR_ADDR_IP4};
    /* Our own address for a broadcast too, unlike ipi_addr. */
    memcpy(local->ip, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
}

static uint32_t read_int(const struct cmsghdr *cmsg)
{
    int value = 0;
    memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
    return value > 0 ? (uint32_t)value : 0;
}

static bool is_cmsg(const struct cmsghdr *cmsg, int level, int type, size_t bytes)
{
    return cmsg->cmsg_level == level && cmsg->cmsg_type == type &&
           cmsg->cmsg_len >= CMSG_LEN(bytes);
}

/* IPv4 datagrams at a dual-stack socket bring their pktinfo at both levels, their TOS at the IPv4
 * level. */
static void read_control(struct msghdr *header, struct weir_addr *local, struct rx_info *info)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (is_cmsg(cmsg, SOL_UDP, UDP_GRO, sizeof(int))) {
            info->segment_bytes = read_int(cmsg);
        } else if (is_cmsg(cmsg, IPPROTO_IP, IP_TOS, 1)) {
            info->ecn = *CMSG_DATA(cmsg) & 3;
        } else if (is_cmsg(cmsg, IPPROTO_IPV6, IPV6_TCLASS, sizeof(int))) {
            info->ecn = read_int(cmsg) & 3;
        } else if (is_cmsg(cmsg, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo))) {
            read_pktinfo6(cmsg, local);
        } else if (is_cmsg(cmsg, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo))) {
            read_pktinfo4(cmsg, local);
        }
    }
}

/* Where slot's bytes are: in the room or, when they were too many for it, in the spill. */
static uint8_t *gather_slot(const struct weir_udp *udp, uint32_t slot, uint32_t length)
{
    uint8_t *data = udp->rx_messages[slot].iov[0].iov_base;
    if (length <= udp->slot_bytes) {
        return data;
    }
    uint8_t *whole = udp->spill + (size_t)slot * WEIR_UDP_RUN_ROOM;
    memcpy(whole, data, udp->slot_bytes);
    return whole;
}

/* Appends the datagrams of one filled slot to packets. Returns the new count. */
static uint32_t append_slot(struct weir_udp *udp, uint32_t slot, struct weir_packet *packets,
                            uint32_t count, uint32_t packets_max)
{
    struct msghdr *header = &udp->rx_headers[slot].msg_hdr;
    struct weir_path *path = &udp->paths[slot];
    struct rx_info info = {.segment_bytes = 0};

    path->local = udp->driver.local;
    if (udp->is_any) {
        path->local = (struct weir_addr){.family = WEIR_ADDR_NONE};
    }
    read_control(header, &path->local, &info);
    if (path->local.family != WEIR_ADDR_NONE) {
        path->local.port = udp->driver.local.port;
    }
    if ((header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        weir_sockaddr_decode(header->msg_name, header->msg_namelen, &path->remote) != WEIR_OK) {
        udp->driver.stats.rx_truncated++;
        return count;
    }

    uint32_t length = udp->rx_headers[slot].msg_len;
    uint32_t segment = info.segment_bytes != 0 ? info.segment_bytes : length;
    uint8_t *data = gather_slot(udp, slot, length);
    uint32_t offset = 0;
    do {
        if (count == packets_max) {
            /* Only with room for less than one whole run, which no loop of ours offers. */
            udp->driver.stats.rx_truncated++;
        } else {
            packets[count++] = (struct weir_packet){
                .data = data + offset,
                .length = (uint32_t)weir_min_u64(segment, length - offset),
                .ecn = info.ecn,
                .path = path,
            };
        }
        offset += segment;
    } while (offset < length);
    udp->driver.stats.rx_bytes += length;
    return count;
}

/* As many slots as the room and the array of packets surely hold. */
static uint32_t count_slots(const struct weir_udp *udp, size_t room_bytes, uint32_t packets_max)
{
    uint64_t slots = weir_min_u64(udp->slots, room_bytes / udp->slot_bytes);
    uint32_t per_slot = udp->is_gro ? WEIR_UDP_SEGMENTS_RX_MAX : 1;
    slots = weir_min_u64(slots, weir_max_u64(packets_max / per_slot, 1));
    return (uint32_t)slots;
}

enum weir_status weir_udp_receive(struct weir_driver *driver, weir_nsec now,
                                  struct weir_mut_span room, struct weir_packet *packets,
                                  uint32_t packets_max, uint32_t *count)
{
    struct weir_udp *udp = weir_udp_of(driver);
    (void)now;
    WEIR_ASSERT(room.length >= udp->slot_bytes && packets_max > 0);
    uint32_t slots = count_slots(udp, room.length, packets_max);
    uint32_t filled;

    *count = 0;
    driver->is_rx_full = false;
    prepare_slots(udp, room, slots);
    enum weir_status status = receive_slots(udp, slots, &filled);
    if (status != WEIR_OK) {
        return status;
    }
    for (uint32_t i = 0; i < filled; i++) {
        *count = append_slot(udp, i, packets, *count, packets_max);
    }
    driver->stats.rx_datagrams += *count;
    driver->is_rx_full = filled == slots;
    return WEIR_OK;
}
