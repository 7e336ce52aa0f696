/* SPDX-License-Identifier: MIT */
/*
 * tcp_lwip.c - lwIP's end: its raw API on one thread, on a tun device or below crafted handshakes.
 *
 * lwIP is run as fast as its packaged library allows: no sockets layer and no thread of its own,
 * packets read into its buffers and written from them without a copy in between, data sent from
 * static memory. Windows (64 KB) and segment size (1,460) are compiled into the library.
 */
#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tcp_bench.h"
#include "weir/weir.h"

enum {
    MTU_BYTES = 1500,
    READS_MAX = 64, /* packets before timers get their turn */
    NAP_MS = 20
};

static const u8_t pattern[65536] = {1};
static struct netif device;
static int device_fd = -1;
static struct flood *device_flood;
static uint32_t opened;
static size_t bytes_before;

/* --- the device ------------------------------------------------------------------------------- */

static err_t device_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)netif;
    (void)to;
    /* The library is built to hand down one piece for each packet. */
    tcp_must(p->next == NULL, "lwip: a packet in one piece");
    if (device_flood != NULL) {
        flood_on_frame(device_flood, p->payload, p->len);
        return ERR_OK;
    }
    return write(device_fd, p->payload, p->len) == p->len ? ERR_OK : ERR_BUF;
}

static err_t device_init(struct netif *netif)
{
    netif->name[0] = 'b';
    netif->name[1] = 'e';
    netif->mtu = MTU_BYTES;
    netif->output = device_output;
    netif->flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* false: none was there. */
static bool read_packet(void)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, MTU_BYTES, PBUF_RAM);
    if (p == NULL) {
        tcp_die("lwip", "memory");
    }
    const ssize_t n = read(device_fd, p->payload, MTU_BYTES);
    if (n <= 0) {
        (void)pbuf_free(p);
        return false;
    }
    p->len = p->tot_len = (u16_t)n;
    if (device.input(p, &device) != ERR_OK) {
        (void)pbuf_free(p);
    }
    return true;
}

/* --- connections ------------------------------------------------------------------------------ */

static void send_more(struct tcp_pcb *pcb)
{
    while (tcp_sndbuf(pcb) > 0 && tcp_sndqueuelen(pcb) < TCP_SND_QUEUELEN - 4) {
        const u16_t length = tcp_sndbuf(pcb) < 16384 ? (u16_t)tcp_sndbuf(pcb) : 16384;
        if (tcp_write(pcb, pattern, length, 0) != ERR_OK) {
            break;
        }
    }
    (void)tcp_output(pcb);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    (void)arg;
    (void)length;
    if (pcb->local_port == TCP_PORT_SOURCE) {
        send_more(pcb);
    }
    return ERR_OK;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t status)
{
    (void)arg;
    (void)status;
    if (p == NULL) {
        return tcp_close(pcb);
    }
    tcp_recved(pcb, p->tot_len);
    if (pcb->local_port == TCP_PORT_ECHO) {
        (void)tcp_write(pcb, p->payload, p->len, TCP_WRITE_FLAG_COPY);
        (void)tcp_output(pcb);
    }
    (void)pbuf_free(p);
    return ERR_OK;
}

static err_t on_accepted(void *arg, struct tcp_pcb *pcb, err_t status)
{
    (void)arg;
    if (status != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    opened++;
    tcp_nagle_disable(pcb);
    tcp_recv(pcb, on_received);
    tcp_sent(pcb, on_sent);
    if (pcb->local_port == TCP_PORT_SOURCE) {
        send_more(pcb);
    }
    return ERR_OK;
}

static void open_stack(const struct weir_addr *addr)
{
    static const u16_t ports[] = {TCP_PORT_ECHO, TCP_PORT_DISCARD, TCP_PORT_SOURCE};
    ip4_addr_t own;
    ip4_addr_t mask;
    ip4_addr_t gateway;
    IP4_ADDR(&own, addr->ip[0], addr->ip[1], addr->ip[2], addr->ip[3]);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, addr->ip[0], addr->ip[1], addr->ip[2], 1);
    lwip_init();
    tcp_must(netif_add(&device, &own, &mask, &gateway, NULL, device_init, ip_input) != NULL,
             "lwip: netif");
    netif_set_default(&device);
    netif_set_up(&device);
    netif_set_link_up(&device);
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        struct tcp_pcb *pcb = tcp_new();
        tcp_must(pcb != NULL && tcp_bind(pcb, IP_ANY_TYPE, ports[i]) == ERR_OK, "lwip: bind");
        pcb = tcp_listen(pcb);
        tcp_must(pcb != NULL, "lwip: listen");
        tcp_accept(pcb, on_accepted);
    }
}

void tcp_lwip_serve(const struct tcp_place *place)
{
    const struct weir_addr addr = tcp_addr(place, place->host);
    struct weir_driver *tun = tcp_open_tun(place);
    device_fd = tun->ops->fd(tun);
    open_stack(&addr);
    place->on_ready();
    for (;;) {
        struct pollfd set = {.fd = device_fd, .events = POLLIN};
        const u32_t due = sys_timeouts_sleeptime();
        (void)poll(&set, 1, due < NAP_MS ? (int)due : NAP_MS);
        for (int i = 0; i < READS_MAX && read_packet(); i++) {
        }
        sys_check_timeouts();
    }
}

/* --- in memory -------------------------------------------------------------------------------- */

static size_t allocated(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void stack_open(uint32_t connections_max)
{
    const struct weir_addr addr = {.ip = {10, 1, 0, 2}, .family = WEIR_ADDR_IP4};
    (void)connections_max;
    open_stack(&addr);
    bytes_before = allocated();
}

static void stack_input(struct flood *flood)
{
    device_flood = flood;
    for (uint32_t i = 0; i < flood->count; i++) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)flood->lengths[i], PBUF_RAM);
        tcp_must(p != NULL && pbuf_take(p, flood->frames[i], (u16_t)flood->lengths[i]) == ERR_OK,
                 "lwip: memory");
        if (device.input(p, &device) != ERR_OK) {
            (void)pbuf_free(p);
        }
    }
    sys_check_timeouts();
}

static uint32_t stack_opened(void)
{
    return opened;
}

static double stack_bytes(void)
{
    return (double)(allocated() - bytes_before);
}

const struct flood_stack *tcp_lwip_stack(void)
{
    static const struct flood_stack stack = {.name = "lwIP",
                                             .open = stack_open,
                                             .input = stack_input,
                                             .opened = stack_opened,
                                             .bytes = stack_bytes};
    return &stack;
}
