/* SPDX-License-Identifier: MIT */
/*
 * hear.c - see hear.h.
 *
 * Spec: RFC 826 (ARP); RFC 4861 4 (types 133 to 137 of ICMPv6, right behind the IPv6 header).
 */
#include "driver/hear.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "driver/vnet.h"
#include "wire/eth.h"

enum {
    TYPE_OFF = 12,
    ARP_OPERATION_OFF = WEIR_ETH_HEADER_BYTES + 6,
    ARP_SENDER_OFF = WEIR_ETH_HEADER_BYTES + 14,
    ARP_TARGET_OFF = WEIR_ETH_HEADER_BYTES + 24,
    IP6_NEXT_OFF = WEIR_ETH_HEADER_BYTES + 6,
    ICMP6_TYPE_OFF = WEIR_ETH_HEADER_BYTES + 40,
    ARP_REQUEST = 1,
    NEXT_ICMP6 = 58,
    ND_FIRST = 133,
    ND_SOLICITATION = 135,
    ND_LAST = 137,
    WHOLE = 0x40000 /* bytes of a frame that passes: all */
};

/* A queue that is busy looks at what it has heard this often. */
static const weir_nsec look_time = WEIR_MSEC;

void weir_hear_init(struct weir_hear *hear)
{
    hear->socket_fd = hear->epoll_fd = -1;
    hear->look_at = 0;
}

bool weir_hear_is_heard(const uint8_t *frame, uint32_t length)
{
    if (length < TYPE_OFF + 2) {
        return false;
    }
    const uint16_t type = weir_load16(frame + TYPE_OFF);
    return type == ETH_P_ARP ||
           (type == ETH_P_IPV6 && length > ICMP6_TYPE_OFF && frame[IP6_NEXT_OFF] == NEXT_ICMP6 &&
            frame[ICMP6_TYPE_OFF] >= ND_FIRST && frame[ICMP6_TYPE_OFF] <= ND_LAST);
}

/* The same for the kernel, which counts jumps from the next line on. A queue that is not the first
 * passes over questions, but for those by which ARP announces: whose sender is the target. */
static bool attach_filter(int fd, bool is_device, bool is_first)
{
    enum {
        IP6_LINE = 11,
        NO_LINE = 17,
        YES_LINE = 18
    };

    const uint8_t question = is_first ? YES_LINE : NO_LINE;
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, is_device ? NO_LINE - 2 : 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE_OFF),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, IP6_LINE - 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, NO_LINE - 5),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ARP_OPERATION_OFF),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARP_REQUEST, is_first ? YES_LINE - 7 : 0, YES_LINE - 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARP_SENDER_OFF),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARP_TARGET_OFF),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, YES_LINE - 11, NO_LINE - 11),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP6_NEXT_OFF), /* IP6_LINE */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NEXT_ICMP6, 0, NO_LINE - 13),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ICMP6_TYPE_OFF),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_SOLICITATION, (uint8_t)(question - 15), 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ND_FIRST, 0, NO_LINE - 16),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, ND_LAST, NO_LINE - 17, YES_LINE - 17),
        BPF_STMT(BPF_RET | BPF_K, 0),     /* NO_LINE */
        BPF_STMT(BPF_RET | BPF_K, WHOLE), /* YES_LINE */
    };
    const struct sock_fprog program = {.len = sizeof(lines) / sizeof(lines[0]), .filter = lines};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool open_socket(struct weir_hear *hear, const struct weir_interface *interface,
                        bool is_device, bool is_first)
{
    const struct sockaddr_ll name = {.sll_family = AF_PACKET,
                                     .sll_protocol = htons(ETH_P_ALL),
                                     .sll_ifindex = (int)interface->index};
    const void *any = &name;
    const int ignored = 1;
    hear->socket_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (hear->socket_fd < 0 || !attach_filter(hear->socket_fd, is_device, is_first)) {
        return false;
    }
    if (!is_device) {
        (void)setsockopt(hear->socket_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignored,
                         sizeof(ignored));
    }
    return bind(hear->socket_fd, any, sizeof(name)) == 0;
}

static bool watch(const struct weir_hear *hear, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(hear->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

enum weir_status weir_hear_open(struct weir_hear *hear, const struct weir_interface *interface,
                                bool is_device, bool is_first, int queue_fd,
                                char problem[WEIR_PROBLEM_BYTES])
{
    if (!open_socket(hear, interface, is_device, is_first)) {
        return weir_problem(problem, "packet socket for ARP and neighbour discovery", errno,
                            errno == EPERM ? "run as root, or give the program the capability: "
                                             "setcap cap_net_raw+ep PROGRAM"
                                           : NULL);
    }
    hear->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (hear->epoll_fd < 0 || !watch(hear, hear->socket_fd) || !watch(hear, queue_fd)) {
        return weir_problem(problem, "epoll", errno, NULL);
    }
    return WEIR_OK;
}

void weir_hear_close(struct weir_hear *hear)
{
    if (hear->epoll_fd >= 0) {
        (void)close(hear->epoll_fd);
    }
    if (hear->socket_fd >= 0) {
        (void)close(hear->socket_fd);
    }
    weir_hear_init(hear);
}

/* --- hearing ---------------------------------------------------------------------------------- */

uint32_t weir_hear_receive(struct weir_hear *hear, weir_nsec now, bool must_look,
                           struct weir_driver_stats *stats, struct weir_packet *packets,
                           uint32_t packets_max)
{
    uint32_t count = 0;
    if (!weir_hear_is_open(hear) || (now < hear->look_at && !must_look)) {
        return 0;
    }
    hear->look_at = now + look_time;
    for (uint32_t i = 0; i < WEIR_HEAR_FRAMES && count < packets_max; i++) {
        ssize_t length =
            recv(hear->socket_fd, hear->frames[i], WEIR_HEAR_FRAME_BYTES, MSG_DONTWAIT | MSG_TRUNC);
        stats->rx_calls++;
        if (length < 0) {
            break;
        }
        if (length > WEIR_HEAR_FRAME_BYTES) {
            stats->rx_truncated++;
            continue;
        }
        stats->rx_datagrams++;
        stats->rx_bytes += (uint64_t)length;
        packets[count++] = (struct weir_packet){.data = hear->frames[i],
                                                .length = (uint32_t)length,
                                                .path = &weir_frame_path,
                                                .protocol = WEIR_PROTOCOL_FRAME};
    }
    return count;
}
