/* SPDX-License-Identifier: MIT */
/*
 * tun.c - TUN/TAP driver: one read or write a frame, up to 64 KB of segments in each.
 *
 * Memory: one calloc. Frames land packed in the room, one behind the other.
 */
#include "weir/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "driver/hear.h"
#include "driver/sockaddr.h"
#include "driver/vnet.h"

enum {
    /* Linux 6.2; not yet in every system's headers. */
    OFFLOAD_USO4 = 0x20,
    OFFLOAD_USO6 = 0x40,
    /* Frames begin on a cache line. */
    FRAME_ALIGN = 64
};

struct tun {
    struct weir_driver driver; /* first: the driver's address is this struct's */
    int fd;
    bool has_vnet;
    struct weir_interface interface;
    struct weir_hear hear; /* of one of many queues of a tap */
};

static struct tun *tun_of(struct weir_driver *driver)
{
    return (struct tun *)(void *)driver;
}

void weir_tun_config_default(struct weir_tun_config *config)
{
    *config = (struct weir_tun_config){.is_up = true};
}

/* --- receiving -------------------------------------------------------------------------------- */

/* Reads one frame to data. 0: there is none; below 0: a system error, in errno. */
static ssize_t read_frame(const struct tun *tun, uint8_t *data, struct virtio_net_hdr *vnet)
{
    struct iovec iov[2] = {{.iov_base = vnet, .iov_len = WEIR_VNET_BYTES},
                           {.iov_base = data, .iov_len = WEIR_FRAME_BYTES_MAX}};
    const int skip = tun->has_vnet ? 0 : 1;
    const ssize_t header = tun->has_vnet ? WEIR_VNET_BYTES : 0;
    ssize_t got = readv(tun->fd, iov + skip, 2 - skip);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : got;
    }
    return got > header ? got - header : 0;
}

/* What is in the device's queue for us: appended to packets. */
static enum weir_status receive_queue(struct tun *tun, struct weir_mut_span room,
                                      struct weir_packet *packets, uint32_t packets_max,
                                      uint32_t *count)
{
    struct weir_driver *driver = &tun->driver;
    size_t used = 0;
    driver->is_rx_full = true;
    /* So many reads at most, also when none of them is a frame for us. */
    for (uint32_t i = *count; i < packets_max && room.length - used >= WEIR_FRAME_ROOM; i++) {
        struct virtio_net_hdr vnet = {.flags = 0};
        ssize_t length = read_frame(tun, room.data + used, &vnet);
        driver->stats.rx_calls++;
        if (length <= 0) {
            driver->is_rx_full = false;
            driver->error = length < 0 ? errno : 0;
            return length < 0 && *count == 0 ? WEIR_ERR_OS : WEIR_OK;
        }
        if (weir_hear_is_open(&tun->hear) &&
            weir_hear_is_heard(room.data + used, (uint32_t)length)) {
            continue;
        }
        struct weir_packet *packet = &packets[(*count)++];
        *packet = (struct weir_packet){.data = room.data + used,
                                       .length = (uint32_t)length,
                                       .path = &weir_frame_path,
                                       .protocol = WEIR_PROTOCOL_FRAME};
        weir_vnet_decode(&vnet, packet);
        used += ((size_t)length + FRAME_ALIGN - 1) & ~(size_t)(FRAME_ALIGN - 1);
        driver->stats.rx_datagrams++;
        driver->stats.rx_bytes += (uint64_t)length;
    }
    return WEIR_OK;
}

static enum weir_status tun_receive(struct weir_driver *driver, weir_nsec now,
                                    struct weir_mut_span room, struct weir_packet *packets,
                                    uint32_t packets_max, uint32_t *count)
{
    struct tun *tun = tun_of(driver);
    WEIR_ASSERT(room.length >= driver->rx_room_bytes && packets_max > 0);
    *count = weir_hear_receive(&tun->hear, now, false, &driver->stats, packets, packets_max);
    enum weir_status status = receive_queue(tun, room, packets, packets_max, count);
    if (*count == 0) {
        *count = weir_hear_receive(&tun->hear, now, true, &driver->stats, packets, packets_max);
    }
    return *count > 0 ? WEIR_OK : status;
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool write_frame(const struct tun *tun, const struct weir_transmit *transmit,
                        struct virtio_net_hdr *vnet)
{
    struct iovec iov[3] = {
        {.iov_base = vnet, .iov_len = WEIR_VNET_BYTES},
        {.iov_base = transmit->data, .iov_len = transmit->length - transmit->tail_bytes},
        weir_vnet_tail(transmit)};
    const int skip = tun->has_vnet ? 0 : 1;
    const int count = transmit->tail_bytes > 0 ? 3 : 2;
    ssize_t written;
    if (tun->has_vnet) {
        weir_vnet_encode(transmit, tun->interface.is_ethernet, vnet);
    }
    do {
        written = writev(tun->fd, iov + skip, count - skip);
    } while (written < 0 && errno == EINTR);
    return written >= 0;
}

/* WEIR_OK: the frame is done with, sent or not. */
static enum weir_status on_refused(struct tun *tun, const struct virtio_net_hdr *vnet)
{
    switch (errno) {
    case EAGAIN:
        return WEIR_AGAIN;
    case EBADF:
    case EBADFD: /* the device is gone */
    case EFAULT:
        tun->driver.error = errno;
        return WEIR_ERR_OS;
    case EINVAL:
        if (vnet->gso_type == WEIR_VNET_GSO_UDP_L4) {
            /* This kernel takes no runs of UDP: whoever made it cuts it. */
            tun->driver.run_bytes_max = 0;
            tun->driver.run_segments_max = 1;
            return WEIR_AGAIN;
        }
        break;
    default: /* EIO: the device is down; ENOBUFS, ENOMEM */
        break;
    }
    tun->driver.stats.tx_dropped++;
    return WEIR_OK;
}

static enum weir_status tun_send(struct weir_driver *driver, weir_nsec now,
                                 const struct weir_transmit *transmits, uint32_t count,
                                 uint32_t *sent)
{
    struct tun *tun = tun_of(driver);
    (void)now;
    for (*sent = 0; *sent < count; (*sent)++) {
        const struct weir_transmit *transmit = &transmits[*sent];
        struct virtio_net_hdr vnet = {.flags = 0};
        driver->stats.tx_calls++;
        if (write_frame(tun, transmit, &vnet)) {
            driver->stats.tx_datagrams++;
            driver->stats.tx_bytes += transmit->length;
            continue;
        }
        enum weir_status status = on_refused(tun, &vnet);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int tun_fd(const struct weir_driver *driver)
{
    const struct tun *tun = (const struct tun *)(const void *)driver;
    return weir_hear_is_open(&tun->hear) ? tun->hear.epoll_fd : tun->fd;
}

static weir_nsec tun_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void tun_close(struct weir_driver *driver)
{
    struct tun *tun = tun_of(driver);
    weir_hear_close(&tun->hear);
    if (tun->fd >= 0) {
        (void)close(tun->fd);
    }
    free(tun);
}

static const struct weir_driver_ops tun_ops = {.receive = tun_receive,
                                               .send = tun_send,
                                               .fd = tun_fd,
                                               .next_timeout = tun_next_timeout,
                                               .close = tun_close};

static const char *const privilege_hint =
    "run as root, or let root make the device once: ip tuntap add dev NAME mode tun user USER";

static enum weir_status attach_device(struct tun *tun, const struct weir_tun_config *config,
                                      char problem[WEIR_PROBLEM_BYTES])
{
    struct ifreq request = {.ifr_flags = 0};
    int flags = (config->is_tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI |
                (tun->has_vnet ? IFF_VNET_HDR : 0) | (config->is_multi_queue ? IFF_MULTI_QUEUE : 0);
    tun->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun->fd < 0) {
        bool is_missing = errno == ENOENT || errno == ENODEV || errno == ENXIO;
        return weir_problem(problem, "/dev/net/tun", errno,
                            is_missing ? "load the module (modprobe tun) or, in a container, pass "
                                         "the device in"
                                       : privilege_hint);
    }
    memcpy(request.ifr_name, config->name, sizeof(config->name));
    request.ifr_flags = (short)flags;
    if (ioctl(tun->fd, TUNSETIFF, &request) != 0) {
        const char *hint =
            errno == EPERM    ? privilege_hint
            : errno == EBUSY  ? "another program has it open (or open it with several queues)"
            : errno == EINVAL ? "it exists as another kind (tun or tap, one queue or several)"
                              : NULL;
        return weir_problem(problem, config->name[0] != 0 ? config->name : "new device", errno,
                            hint);
    }
    memcpy(tun->interface.name, request.ifr_name, sizeof(tun->interface.name));
    tun->interface.name[sizeof(tun->interface.name) - 1] = 0;
    return WEIR_OK;
}

/* What the kernel may hand over unfinished, and so what it also takes. */
static void ask_offloads(struct tun *tun)
{
    const unsigned long tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    int header_bytes = WEIR_VNET_BYTES;
    tun->driver.run_segments_max = 1;
    if (!tun->has_vnet) {
        /* A device that stays was perhaps opened with offloads before. */
        (void)ioctl(tun->fd, TUNSETOFFLOAD, 0UL);
        return;
    }
    (void)ioctl(tun->fd, TUNSETVNETHDRSZ, &header_bytes);
    if (ioctl(tun->fd, TUNSETOFFLOAD, tcp | OFFLOAD_USO4 | OFFLOAD_USO6) == 0) {
        tun->interface.is_uso = true;
        tun->driver.run_bytes_max = WEIR_FRAME_BYTES_MAX;
        tun->driver.run_segments_max = WEIR_FRAME_SEGMENTS_MAX;
    } else if (ioctl(tun->fd, TUNSETOFFLOAD, tcp) != 0) {
        return;
    }
    tun->driver.is_joined = true;
    tun->driver.is_unchecked = true;
    tun->driver.is_gathered = true;
}

/* The layout that SIOCSIFADDR of an IPv6 socket takes. */
struct ip6_request {
    struct in6_addr ip;
    uint32_t prefix;
    int index;
};

static bool set_host6(const struct weir_addr *host, uint8_t prefix, uint32_t index)
{
    struct ip6_request ip6 = {.prefix = prefix, .index = (int)index};
    memcpy(&ip6.ip, host->ip, sizeof(ip6.ip));
    int fd6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_set = fd6 >= 0 && (ioctl(fd6, SIOCSIFADDR, &ip6) == 0 || errno == EEXIST);
    int error = errno;
    if (fd6 >= 0) {
        (void)close(fd6);
    }
    errno = error;
    return is_set;
}

static bool set_host4(int fd, struct ifreq *request, const struct weir_addr *host, uint8_t prefix)
{
    union weir_sockaddr name;
    struct weir_addr mask = {.family = WEIR_ADDR_IP4};
    for (uint32_t bit = 0; bit < prefix; bit++) {
        mask.ip[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
    }
    (void)weir_sockaddr_encode(host, false, &name);
    name.in4.sin_port = 0;
    memcpy(&request->ifr_addr, &name.in4, sizeof(name.in4));
    if (ioctl(fd, SIOCSIFADDR, request) != 0) {
        return false;
    }
    (void)weir_sockaddr_encode(&mask, false, &name);
    memcpy(&request->ifr_netmask, &name.in4, sizeof(name.in4));
    return ioctl(fd, SIOCSIFNETMASK, request) == 0;
}

static bool set_hosts(int fd, struct ifreq *request, const struct weir_tun_config *config,
                      uint32_t index)
{
    if (config->host.family == WEIR_ADDR_IP4 &&
        !set_host4(fd, request, &config->host, config->host_prefix)) {
        return false;
    }
    if (config->host.family == WEIR_ADDR_IP6 &&
        !set_host6(&config->host, config->host_prefix, index)) {
        return false;
    }
    return config->host6.family == WEIR_ADDR_NONE ||
           set_host6(&config->host6, config->host6_prefix, index);
}

static bool set_up(int fd, struct ifreq *request)
{
    if (ioctl(fd, SIOCGIFFLAGS, request) != 0) {
        return false;
    }
    if ((request->ifr_flags & IFF_UP) != 0) {
        return true;
    }
    request->ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, request) == 0;
}

/* What was asked for only: a device that root has prepared needs nothing here. */
static bool set_device(const struct weir_tun_config *config, struct weir_interface *interface,
                       int fd, const char **what)
{
    struct ifreq request = {.ifr_flags = 0};
    memcpy(request.ifr_name, interface->name, sizeof(interface->name));
    *what = "setting the MTU";
    request.ifr_mtu = config->mtu_bytes;
    if (config->mtu_bytes != 0 && ioctl(fd, SIOCSIFMTU, &request) != 0) {
        return false;
    }
    *what = "setting the queue's length";
    request.ifr_qlen = (int)config->queue_frames;
    if (config->queue_frames != 0 && ioctl(fd, SIOCSIFTXQLEN, &request) != 0) {
        return false;
    }
    *what = "reading the interface";
    if (!weir_interface_read(interface)) {
        return false;
    }
    if (interface->is_ethernet) {
        /* Two hosts on one cable: the kernel has the address read, we a local one beside it. */
        interface->mac[0] = (uint8_t)((interface->mac[0] | 2) & ~1);
        interface->mac[5] ^= 1;
    }
    *what = "setting the address";
    if (!set_hosts(fd, &request, config, interface->index)) {
        return false;
    }
    *what = "setting it up";
    return !config->is_up || set_up(fd, &request);
}

static enum weir_status prepare_device(struct tun *tun, const struct weir_tun_config *config,
                                       char problem[WEIR_PROBLEM_BYTES])
{
    const char *what = "socket";
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_set = fd >= 0 && set_device(config, &tun->interface, fd, &what);
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (is_set) {
        return WEIR_OK;
    }
    char text[WEIR_PROBLEM_BYTES / 2];
    (void)snprintf(text, sizeof(text), "%s: %s", tun->interface.name, what);
    return weir_problem(problem, text, error,
                        error == EPERM ? "run as root, or let root do it beforehand (ip link, ip "
                                         "address)"
                                       : NULL);
}

static bool is_valid(const struct weir_tun_config *config)
{
    const uint8_t bits = config->host.family == WEIR_ADDR_IP4 ? 32 : 128;
    return memchr(config->name, 0, sizeof(config->name)) != NULL && config->host_prefix <= bits &&
           (config->host6.family == WEIR_ADDR_NONE || config->host6.family == WEIR_ADDR_IP6) &&
           config->host6_prefix <= 128;
}

enum weir_status weir_tun_open(const struct weir_tun_config *config, struct weir_driver **driver,
                               char problem[WEIR_PROBLEM_BYTES])
{
    problem[0] = 0;
    if (!is_valid(config)) {
        return WEIR_ERR_INVALID;
    }
    struct tun *tun = calloc(1, sizeof(*tun));
    if (tun == NULL) {
        return WEIR_ERR_MEMORY;
    }
    tun->driver.ops = &tun_ops;
    tun->driver.rx_room_bytes = WEIR_FRAME_ROOM;
    tun->driver.datagram_bytes_max = WEIR_FRAME_BYTES_MAX;
    tun->fd = -1;
    weir_hear_init(&tun->hear);
    tun->has_vnet = !config->is_offload_disabled;
    tun->interface.is_ethernet = config->is_tap;
    enum weir_status status = attach_device(tun, config, problem);
    if (status == WEIR_OK) {
        ask_offloads(tun);
        status = prepare_device(tun, config, problem);
    }
    if (status == WEIR_OK && config->is_tap && config->is_multi_queue) {
        status = weir_hear_open(&tun->hear, &tun->interface, true, config->queue_index == 0,
                                tun->fd, problem);
    }
    if (status != WEIR_OK) {
        tun_close(&tun->driver);
        return status;
    }
    *driver = &tun->driver;
    return WEIR_OK;
}

const struct weir_interface *weir_tun_interface(const struct weir_driver *driver)
{
    WEIR_ASSERT(driver->ops == &tun_ops);
    return &((const struct tun *)(const void *)driver)->interface;
}
