/* SPDX-License-Identifier: MIT */
/*
 * udp.c - UDP driver: opening the socket and asking the system for all it can do.
 *
 * Spec: RFC 3168 (ECN), RFC 8899 (the engines find the path MTU, the kernel's guess is ignored).
 */
#include "weir/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/udp_io.h"
#include "weir/os.h"

enum {
    BUFFER_BYTES_DEFAULT = 4 << 20,
    NOTICE_BYTES = 240
};

void weir_udp_config_default(struct weir_udp_config *config)
{
    *config = (struct weir_udp_config){.bind = {.family = WEIR_ADDR_IP6},
                                       .receive_buffer_bytes = BUFFER_BYTES_DEFAULT,
                                       .send_buffer_bytes = BUFFER_BYTES_DEFAULT,
                                       .batch_slots = WEIR_UDP_SLOTS_DEFAULT};
}

static int udp_fd(const struct weir_driver *driver)
{
    return ((const struct weir_udp *)(const void *)driver)->fd;
}

static weir_nsec udp_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void udp_close(struct weir_driver *driver)
{
    struct weir_udp *udp = weir_udp_of(driver);
    if (udp->fd >= 0) {
        (void)close(udp->fd);
    }
    weir_mem_unmap(udp->spill, (size_t)udp->slots * WEIR_UDP_RUN_ROOM);
    free(udp);
}

static const struct weir_driver_ops udp_ops = {
    .receive = weir_udp_receive,
    .send = weir_udp_send,
    .fd = udp_fd,
    .next_timeout = udp_next_timeout,
    .close = udp_close,
};

static bool set_option(const struct weir_udp *udp, int level, int option, int value)
{
    return setsockopt(udp->fd, level, option, &value, sizeof(value)) == 0;
}

/* The kernel doubles what it grants, for its own book-keeping, and reports the double. */
static uint32_t granted_bytes(const struct weir_udp *udp, int option)
{
    int value = 0;
    socklen_t length = sizeof(value);
    if (getsockopt(udp->fd, SOL_SOCKET, option, &value, &length) != 0 || value < 0) {
        return 0;
    }
    return (uint32_t)value / 2;
}

/* Asks within the system's limit, then past it, which takes CAP_NET_ADMIN. Returns what was granted
 * when that is less than wanted, else 0. */
static uint32_t ask_buffer(const struct weir_udp *udp, int option, int force_option,
                           uint32_t wanted)
{
    int value = wanted > INT32_MAX / 2 ? INT32_MAX / 2 : (int)wanted;
    if (granted_bytes(udp, option) >= wanted) {
        return 0;
    }
    (void)set_option(udp, SOL_SOCKET, option, value);
    if (granted_bytes(udp, option) < wanted) {
        (void)set_option(udp, SOL_SOCKET, force_option, value);
    }
    uint32_t granted = granted_bytes(udp, option);
    return granted < wanted ? granted : 0;
}

static void ask_offloads(struct weir_udp *udp, const struct weir_udp_config *config,
                         struct weir_udp_notice *notice)
{
    int segment = 0;
    socklen_t length = sizeof(segment);

    udp->driver.run_segments_max = 1;
    if (config->is_offload_disabled) {
        return;
    }
    if (getsockopt(udp->fd, SOL_UDP, UDP_SEGMENT, &segment, &length) == 0) {
        udp->driver.run_bytes_max = WEIR_UDP_PAYLOAD_MAX;
        udp->driver.run_segments_max = WEIR_UDP_SEGMENTS_MAX;
    } else {
        notice->is_gso_missing = true;
    }
    udp->is_gro = set_option(udp, SOL_UDP, UDP_GRO, 1);
    notice->is_gro_missing = !udp->is_gro;
}

/* Without GRO a slot holds one datagram: more of them, smaller, in the same room; what is longer
 * spills into memory of our own, whose pages are only touched then. */
static enum weir_status lay_out_slots(struct weir_udp *udp, const struct weir_udp_config *config)
{
    uint32_t slots = config->batch_slots == 0 ? WEIR_UDP_SLOTS_DEFAULT : config->batch_slots;
    udp->slot_bytes = WEIR_UDP_RUN_ROOM;
    if (!udp->is_gro) {
        slots = slots * WEIR_UDP_RUN_ROOM / WEIR_UDP_SMALL_ROOM;
        slots = slots > WEIR_UDP_SLOTS_MAX ? WEIR_UDP_SLOTS_MAX : slots;
        udp->slot_bytes = WEIR_UDP_SMALL_ROOM;
        udp->spill = weir_mem_map((size_t)slots * WEIR_UDP_RUN_ROOM);
        if (udp->spill == NULL) {
            return WEIR_ERR_MEMORY;
        }
    }
    udp->slots = slots;
    udp->driver.rx_room_bytes = udp->slots * udp->slot_bytes;
    return WEIR_OK;
}

/* A system without IPv6 still serves the any-address, with IPv4 alone. */
static bool open_socket(struct weir_udp *udp, struct weir_addr *bind_addr)
{
    const int type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    udp->is_inet6 = bind_addr->family == WEIR_ADDR_IP6;
    udp->is_any = weir_sockaddr_is_any(bind_addr);
    udp->fd = socket(udp->is_inet6 ? AF_INET6 : AF_INET, type, 0);
    if (udp->fd < 0 && errno == EAFNOSUPPORT && udp->is_inet6 && udp->is_any) {
        bind_addr->family = WEIR_ADDR_IP4;
        udp->is_inet6 = false;
        udp->fd = socket(AF_INET, type, 0);
    }
    return udp->fd >= 0;
}

/* Options that the driver cannot do without. An AF_INET6 socket needs those of both levels, for the
 * IPv4 datagrams that it carries. */
static bool set_ip_options(const struct weir_udp *udp)
{
    bool is_set = true;
    if (udp->is_inet6) {
        is_set = set_option(udp, IPPROTO_IPV6, IPV6_V6ONLY, !udp->is_any) &&
                 set_option(udp, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
                 set_option(udp, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) &&
                 (!udp->is_any || set_option(udp, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
    }
    return is_set && (!udp->is_any || set_option(udp, IPPROTO_IP, IP_PKTINFO, 1)) &&
           set_option(udp, IPPROTO_IP, IP_RECVTOS, 1) &&
           set_option(udp, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
}

static bool bind_socket(struct weir_udp *udp, const struct weir_addr *bind_addr)
{
    union weir_sockaddr name;
    socklen_t length = weir_sockaddr_encode(bind_addr, udp->is_inet6, &name);
    if (bind(udp->fd, &name.any, length) != 0) {
        return false;
    }
    length = sizeof(name);
    if (getsockname(udp->fd, &name.any, &length) != 0) {
        return false;
    }
    return weir_sockaddr_decode(&name, length, &udp->driver.local) == WEIR_OK;
}

static enum weir_status open_parts(struct weir_udp *udp, const struct weir_udp_config *config,
                                   struct weir_udp_notice *notice)
{
    struct weir_addr bind_addr = config->bind;
    if (!open_socket(udp, &bind_addr) || !set_ip_options(udp) ||
        (config->is_port_reused && !set_option(udp, SOL_SOCKET, SO_REUSEPORT, 1)) ||
        !bind_socket(udp, &bind_addr)) {
        return WEIR_ERR_OS;
    }
    notice->receive_buffer_bytes =
        ask_buffer(udp, SO_RCVBUF, SO_RCVBUFFORCE, config->receive_buffer_bytes);
    notice->send_buffer_bytes =
        ask_buffer(udp, SO_SNDBUF, SO_SNDBUFFORCE, config->send_buffer_bytes);
    ask_offloads(udp, config, notice);
    return lay_out_slots(udp, config);
}

enum weir_status weir_udp_open(const struct weir_udp_config *config, struct weir_driver **driver,
                               struct weir_udp_notice *notice, int *os_error)
{
    struct weir_udp_notice unread;
    notice = notice == NULL ? &unread : notice;
    *notice = (struct weir_udp_notice){.receive_buffer_bytes = 0};
    *os_error = 0;
    if ((config->bind.family != WEIR_ADDR_IP4 && config->bind.family != WEIR_ADDR_IP6) ||
        config->batch_slots > WEIR_UDP_SLOTS_MAX) {
        return WEIR_ERR_INVALID;
    }
    struct weir_udp *udp = calloc(1, sizeof(*udp));
    if (udp == NULL) {
        return WEIR_ERR_MEMORY;
    }
    udp->fd = -1;
    udp->driver.ops = &udp_ops;
    udp->driver.datagram_bytes_max = WEIR_UDP_PAYLOAD_MAX;
    enum weir_status status = open_parts(udp, config, notice);
    if (status != WEIR_OK) {
        *os_error = status == WEIR_ERR_OS ? errno : 0;
        udp_close(&udp->driver);
        return status;
    }
    *driver = &udp->driver;
    return WEIR_OK;
}

/* Appends to text; what does not fit is cut. */
static size_t append_text(char text[NOTICE_BYTES], size_t used, const char *part)
{
    int added = snprintf(text + used, NOTICE_BYTES - used, "%s%s", used > 0 ? "; " : "", part);
    size_t end = used + (added > 0 ? (size_t)added : 0);
    return end < NOTICE_BYTES ? end : NOTICE_BYTES - 1;
}

static size_t append_buffer_text(char text[NOTICE_BYTES], size_t used, const char *which,
                                 const uint32_t granted_and_wanted[2])
{
    char part[NOTICE_BYTES];
    uint32_t granted = granted_and_wanted[0];
    uint32_t wanted = granted_and_wanted[1];
    if (granted == 0) {
        return used;
    }
    (void)snprintf(part, sizeof(part), "socket buffer %u of %u KiB: sysctl -w net.core.%s=%u",
                   granted >> 10, wanted >> 10, which, wanted);
    return append_text(text, used, part);
}

void weir_udp_notice_text(const struct weir_udp_notice *notice,
                          const struct weir_udp_config *config, char text[NOTICE_BYTES])
{
    size_t used = 0;
    text[0] = 0;
    used = append_buffer_text(
        text, used, "rmem_max",
        (uint32_t[2]){notice->receive_buffer_bytes, config->receive_buffer_bytes});
    used = append_buffer_text(text, used, "wmem_max",
                              (uint32_t[2]){notice->send_buffer_bytes, config->send_buffer_bytes});
    if (notice->is_gso_missing) {
        used = append_text(text, used, "no UDP_SEGMENT in this kernel, sending will be slower");
    }
    if (notice->is_gro_missing) {
        (void)append_text(text, used, "no UDP_GRO in this kernel, receiving will be slower");
    }
}
