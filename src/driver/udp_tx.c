/* SPDX-License-Identifier: MIT */
/*
 * udp_tx.c - UDP driver, sending: runs in one sendmmsg, cut by the kernel (UDP_SEGMENT) or here.
 *
 *   transmits  |run of 46      |one|run of 3 ...      a cursor walks over them;
 *   messages   |m0             |m1 |m2     ...        each message is a piece of one transmit
 */
#include "driver/udp_io.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

/* Bytes of the next message: a run as long as the kernel takes, or one datagram. */
static uint32_t piece_bytes(const struct weir_udp *udp, const struct weir_transmit *transmit,
                            uint32_t offset)
{
    uint32_t left = transmit->length - offset;
    uint32_t segment = transmit->segment_bytes;
    if (left <= segment || segment == 0) {
        return left;
    }
    if (udp->driver.run_bytes_max == 0 || udp->is_splitting) {
        return segment;
    }
    uint64_t segments =
        weir_min_u64(udp->driver.run_segments_max, udp->driver.run_bytes_max / segment);
    return (uint32_t)weir_min_u64(left, weir_max_u64(segments, 1) * segment);
}

static uint32_t count_segments(const struct weir_transmit *transmit, uint32_t bytes)
{
    uint32_t segment = transmit->segment_bytes;
    return bytes <= segment || segment == 0 ? 1 : (bytes + segment - 1) / segment;
}

static struct weir_udp_cursor advance(struct weir_udp_cursor at,
                                      const struct weir_transmit *transmit, uint32_t bytes)
{
    at.offset += bytes;
    if (at.offset >= transmit->length) {
        at = (struct weir_udp_cursor){.index = at.index + 1, .offset = 0};
    }
    return at;
}

static void put_control(struct msghdr *header, int level, int type, const void *data, size_t length)
{
    struct cmsghdr cmsg = {.cmsg_len = CMSG_LEN(length), .cmsg_level = level, .cmsg_type = type};
    uint8_t *at = (uint8_t *)header->msg_control + header->msg_controllen;
    memcpy(at, &cmsg, sizeof(cmsg));
    memcpy(at + CMSG_LEN(0), data, length);
    header->msg_controllen += CMSG_SPACE(length);
}

/* The source address; IPv4 is known to the system at its own level even on an IPv6 socket. */
static void put_source(struct msghdr *header, const struct weir_addr *local)
{
    if (local->family == WEIR_ADDR_IP4) {
        struct in_pktinfo info = {.ipi_ifindex = 0};
        memcpy(&info.ipi_spec_dst, local->ip, sizeof(info.ipi_spec_dst));
        put_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
        return;
    }
    struct in6_pktinfo info = {.ipi6_ifindex = local->scope};
    weir_sockaddr_to_in6(local, &info.ipi6_addr);
    put_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

static void fill_message(struct weir_udp *udp, uint32_t index, const struct weir_transmit *transmit,
                         uint32_t offset, uint32_t bytes)
{
    struct weir_udp_message *message = &udp->tx_messages[index];
    struct msghdr *header = &udp->tx_headers[index].msg_hdr;
    const struct weir_path *path = &transmit->path;

    message->iov[0] = (struct iovec){.iov_base = transmit->data + offset, .iov_len = bytes};
    *header = (struct msghdr){
        .msg_name = &message->name,
        .msg_namelen = weir_sockaddr_encode(&path->remote, udp->is_inet6, &message->name),
        .msg_iov = message->iov,
        .msg_iovlen = 1,
        .msg_control = message->control};
    if (udp->is_any && path->local.family == path->remote.family &&
        !weir_sockaddr_is_any(&path->local)) {
        put_source(header, &path->local);
    }
    if (transmit->ecn != WEIR_ECN_NOT) {
        int ecn = transmit->ecn;
        bool is_ip4 = path->remote.family == WEIR_ADDR_IP4;
        put_control(header, is_ip4 ? IPPROTO_IP : IPPROTO_IPV6, is_ip4 ? IP_TOS : IPV6_TCLASS, &ecn,
                    sizeof(ecn));
    }
    if (bytes > transmit->segment_bytes && transmit->segment_bytes > 0) {
        uint16_t segment = transmit->segment_bytes;
        put_control(header, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
    }
    if (header->msg_controllen == 0) {
        header->msg_control = NULL;
    }
}

/* Messages from at on, at most a batch; while a refused run is split, only of that run. */
static uint32_t build_batch(struct weir_udp *udp, const struct weir_transmit *transmits,
                            uint32_t count, struct weir_udp_cursor at)
{
    uint32_t first = at.index;
    uint32_t built = 0;
    while (built < WEIR_UDP_TX_BATCH && at.index < count) {
        if (udp->is_splitting && at.index != first) {
            break;
        }
        const struct weir_transmit *transmit = &transmits[at.index];
        uint32_t bytes = piece_bytes(udp, transmit, at.offset);
        fill_message(udp, built, transmit, at.offset, bytes);
        at = advance(at, transmit, bytes);
        udp->tx_ends[built++] = at;
    }
    return built;
}

static void count_sent(struct weir_udp *udp, const struct weir_transmit *transmits,
                       struct weir_udp_cursor at, uint32_t messages)
{
    struct weir_driver_stats *stats = &udp->driver.stats;
    for (uint32_t i = 0; i < messages; i++) {
        uint32_t bytes = (uint32_t)udp->tx_messages[i].iov[0].iov_len;
        stats->tx_bytes += bytes;
        stats->tx_datagrams += count_segments(&transmits[at.index], bytes);
        at = udp->tx_ends[i];
    }
}

/* What to do about the message at the front that the system refused. */
enum refusal {
    REFUSAL_RETRY,
    REFUSAL_WAIT,
    REFUSAL_SPLIT,
    REFUSAL_DROP,
    REFUSAL_FATAL
};

static enum refusal judge_refusal(int error, bool is_run)
{
    switch (error) {
    case EINTR:
        return REFUSAL_RETRY;
    case EAGAIN:
        return REFUSAL_WAIT;
    case EBADF:
    case ENOTSOCK:
    case EFAULT:
    case EPIPE:
        return REFUSAL_FATAL;
    case EINVAL:
    case EIO:
    case EOPNOTSUPP:
        /* No segmentation on this interface; or segments longer than its MTU, or a source address
         * that is gone, which sending singly does not cure. */
        return is_run ? REFUSAL_SPLIT : REFUSAL_DROP;
    default:
        /* Among them ENOBUFS and ENOMEM: the descriptor is writable all the same, so that whoever
         * waited for it would try again at once and for as long as memory is short. */
        return REFUSAL_DROP;
    }
}

/* Takes the message at the front out of the way, or says why nothing goes on. */
static enum weir_status on_refused(struct weir_udp *udp, const struct weir_transmit *transmits,
                                   struct weir_udp_cursor *at, int error)
{
    const struct weir_transmit *transmit = &transmits[at->index];
    uint32_t bytes = (uint32_t)udp->tx_messages[0].iov[0].iov_len;
    uint32_t segments = count_segments(transmit, bytes);

    switch (judge_refusal(error, segments > 1)) {
    case REFUSAL_RETRY:
        return WEIR_OK;
    case REFUSAL_WAIT:
        return WEIR_AGAIN;
    case REFUSAL_SPLIT:
        udp->is_splitting = true;
        return WEIR_OK;
    case REFUSAL_FATAL:
        udp->driver.error = error;
        return WEIR_ERR_OS;
    case REFUSAL_DROP:
    default:
        udp->driver.stats.tx_dropped += segments;
        *at = udp->tx_ends[0];
        return WEIR_OK;
    }
}

/* messages were taken. If they were whole segments of a refused run, then the segmentation was what
 * the system refused: do without it from now on. A shorter last piece proves nothing: it may have
 * found its way because the MTU is too small for the others only. */
static void on_taken(struct weir_udp *udp, const struct weir_transmit *transmits,
                     struct weir_udp_cursor *at, uint32_t messages)
{
    bool is_whole = udp->tx_messages[0].iov[0].iov_len == transmits[at->index].segment_bytes;
    count_sent(udp, transmits, *at, messages);
    *at = udp->tx_ends[messages - 1];
    if (udp->is_splitting && is_whole) {
        udp->driver.run_bytes_max = 0;
        udp->driver.run_segments_max = 1;
    }
}

/* One system call. Moves at past what is done with. */
static enum weir_status send_batch(struct weir_udp *udp, const struct weir_transmit *transmits,
                                   uint32_t count, struct weir_udp_cursor *at)
{
    uint32_t first = at->index;
    uint32_t built = build_batch(udp, transmits, count, *at);
    enum weir_status status = WEIR_OK;

    udp->driver.stats.tx_calls++;
    int n = sendmmsg(udp->fd, udp->tx_headers, built, MSG_DONTWAIT);
    if (n > 0) {
        on_taken(udp, transmits, at, (uint32_t)n);
    } else if (n < 0) {
        status = on_refused(udp, transmits, at, errno);
    }
    if (at->index != first) {
        udp->is_splitting = false;
    }
    return status;
}

enum weir_status weir_udp_send(struct weir_driver *driver, weir_nsec now,
                               const struct weir_transmit *transmits, uint32_t count,
                               uint32_t *sent)
{
    struct weir_udp *udp = weir_udp_of(driver);
    struct weir_udp_cursor at = {.index = 0, .offset = 0};
    enum weir_status status = WEIR_OK;
    (void)now;

    if (count > 0 && udp->resume_offset != 0 && transmits[0].data == udp->resume_data &&
        transmits[0].length == udp->resume_length) {
        at.offset = udp->resume_offset;
    }
    udp->resume_offset = 0;
    udp->is_splitting = false;
    while (at.index < count && status == WEIR_OK) {
        status = send_batch(udp, transmits, count, &at);
    }
    if (at.offset != 0) {
        udp->resume_data = transmits[at.index].data;
        udp->resume_length = transmits[at.index].length;
        udp->resume_offset = at.offset;
    }
    *sent = at.index;
    return status;
}
