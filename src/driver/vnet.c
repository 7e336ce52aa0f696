/* SPDX-License-Identifier: MIT */
/*
 * vnet.c - see vnet.h.
 */
#include "driver/vnet.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "wire/eth.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

const struct weir_path weir_frame_path = {.local = {.family = WEIR_ADDR_NONE}};

enum {
    TCP_FLAGS_OFF = 13
};

/* Where the frame's transport header is, and of which protocol; 0: none is known. The frame is our
 * own: an IPv4 header, or an IPv6 one without extension headers. */
static uint32_t find_transport(const struct weir_transmit *transmit, bool is_ethernet,
                               uint8_t *protocol, bool *is_ip6)
{
    uint32_t at = is_ethernet ? WEIR_ETH_HEADER_BYTES : 0;
    const uint8_t *ip = transmit->data + at;
    if (transmit->length < at + WEIR_IP4_HEADER_BYTES) {
        return 0;
    }
    *is_ip6 = ip[0] >> 4 == 6;
    if (*is_ip6) {
        *protocol = ip[6];
        return at + WEIR_IP6_HEADER_BYTES;
    }
    *protocol = ip[9];
    return at + (ip[0] & 15) * 4U;
}

void weir_vnet_encode(const struct weir_transmit *transmit, bool is_ethernet,
                      struct virtio_net_hdr *vnet)
{
    uint8_t protocol = 0;
    bool is_ip6 = false;
    *vnet = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_NONE};
    if (transmit->header_bytes == 0) {
        return;
    }
    uint32_t at = find_transport(transmit, is_ethernet, &protocol, &is_ip6);
    if (at == 0 || at + WEIR_UDP_HEADER_BYTES > transmit->header_bytes ||
        transmit->header_bytes > transmit->length ||
        (protocol != WEIR_IP_TCP && protocol != WEIR_IP_UDP)) {
        return;
    }
    vnet->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    vnet->csum_start = (uint16_t)at;
    vnet->csum_offset = protocol == WEIR_IP_TCP ? WEIR_TCP_CHECKSUM_OFF : WEIR_UDP_CHECKSUM_OFF;
    vnet->hdr_len = transmit->header_bytes;
    if (transmit->segment_bytes == 0 ||
        transmit->length - transmit->header_bytes <= transmit->segment_bytes) {
        return;
    }
    vnet->gso_size = transmit->segment_bytes;
    if (protocol == WEIR_IP_UDP) {
        vnet->gso_type = WEIR_VNET_GSO_UDP_L4;
        return;
    }
    vnet->gso_type = is_ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    if ((transmit->data[at + TCP_FLAGS_OFF] & WEIR_TCP_CWR) != 0) {
        /* RFC 3168 6.1.2: CWR is for the first segment only; whoever cuts must know. */
        vnet->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    }
}

void weir_vnet_decode(const struct virtio_net_hdr *vnet, struct weir_packet *packet)
{
    packet->is_checked =
        (vnet->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) != 0;
    packet->segment_bytes = weir_vnet_is_run(vnet) ? vnet->gso_size : 0;
}

bool weir_interface_read(struct weir_interface *interface)
{
    struct ifreq request = {.ifr_ifindex = 0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_read = false;
    memcpy(request.ifr_name, interface->name, sizeof(interface->name));
    if (fd >= 0 && ioctl(fd, SIOCGIFINDEX, &request) == 0) {
        interface->index = (uint32_t)request.ifr_ifindex;
        if (ioctl(fd, SIOCGIFMTU, &request) == 0) {
            interface->mtu_bytes = (uint32_t)request.ifr_mtu;
            is_read = ioctl(fd, SIOCGIFHWADDR, &request) == 0;
        }
    }
    if (is_read && interface->is_ethernet) {
        memcpy(interface->mac, request.ifr_hwaddr.sa_data, sizeof(interface->mac));
    }
    if (fd >= 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
    }
    return is_read;
}

enum weir_status weir_problem(char problem[WEIR_PROBLEM_BYTES], const char *what, int os_error,
                              const char *hint)
{
    char why[WEIR_PROBLEM_BYTES / 2];
    /* The GNU form, which returns the text. */
    const char *text = strerror_r(os_error, why, sizeof(why));
    (void)snprintf(problem, WEIR_PROBLEM_BYTES, "%s: %s%s%s", what, text, hint != NULL ? "; " : "",
                   hint != NULL ? hint : "");
    return WEIR_ERR_OS;
}
