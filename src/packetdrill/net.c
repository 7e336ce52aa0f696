/* SPDX-License-Identifier: MIT */
/*
 * net.c - the stack under the sockets: a driver whose packets packetdrill makes and takes, our IP,
 * the engine, the loop between them; and the clock, which moves only from one timer to the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packetdrill/drill.h"
#include "weir/inet.h"
#include "weir/os.h"

enum {
    SLIDE_BYTES = 2 << 20,
    BATCH_BYTES = 256 << 10,
    SECONDARY_BYTES = 4 << 20,
    SEND_BYTES = 16 << 20,
    CONNECTIONS_MAX = 256,
    SEGMENTS_MAX = 8192,
    ROUNDS_MAX = 1000, /* of one moment: then time goes on */
    PREFIX4 = 16,
    PREFIX6 = 48
};

static const weir_nsec start_time = 1000000 * WEIR_SEC;

/* --- the driver ------------------------------------------------------------------------------- */

static struct weir_drill_pipe *pipe_of(struct weir_driver *driver)
{
    return (struct weir_drill_pipe *)(void *)driver;
}

static enum weir_status pipe_receive(struct weir_driver *driver, weir_nsec now,
                                     struct weir_mut_span room, struct weir_packet *packets,
                                     uint32_t packets_max, uint32_t *count)
{
    static const struct weir_path no_path;
    struct weir_drill_pipe *pipe = pipe_of(driver);
    (void)now;
    *count = 0;
    if (pipe->in_bytes == 0 || packets_max == 0 || room.length < pipe->in_bytes) {
        return WEIR_OK;
    }
    memcpy(room.data, pipe->in, pipe->in_bytes);
    packets[0] = (struct weir_packet){.data = room.data,
                                      .length = (uint32_t)pipe->in_bytes,
                                      .path = &no_path,
                                      .protocol = WEIR_PROTOCOL_FRAME};
    driver->stats.rx_datagrams++;
    driver->stats.rx_bytes += pipe->in_bytes;
    pipe->in_bytes = 0;
    *count = 1;
    return WEIR_OK;
}

static enum weir_status pipe_send(struct weir_driver *driver, weir_nsec now,
                                  const struct weir_transmit *transmits, uint32_t count,
                                  uint32_t *sent)
{
    struct weir_drill_pipe *pipe = pipe_of(driver);
    for (*sent = 0; *sent < count; (*sent)++) {
        const struct weir_transmit *transmit = &transmits[*sent];
        uint8_t *copy = pipe->count < WEIR_DRILL_PACKETS_MAX ? malloc(transmit->length) : NULL;
        if (copy == NULL) {
            driver->stats.tx_dropped++;
            continue;
        }
        memcpy(copy, transmit->data, transmit->length);
        pipe->packets[(pipe->first + pipe->count++) % WEIR_DRILL_PACKETS_MAX] =
            (struct weir_drill_packet){.data = copy, .length = transmit->length, .at = now};
        driver->stats.tx_datagrams++;
        driver->stats.tx_bytes += transmit->length;
    }
    return WEIR_OK;
}

static int pipe_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec pipe_next_timeout(const struct weir_driver *driver)
{
    const struct weir_drill_pipe *pipe = (const struct weir_drill_pipe *)(const void *)driver;
    return pipe->in_bytes > 0 ? *pipe->now : WEIR_NEVER;
}

/* The pipe is part of the drill, and outlives the wrapper around it. */
static void pipe_close(struct weir_driver *driver)
{
    (void)driver;
}

static const struct weir_driver_ops pipe_ops = {.receive = pipe_receive,
                                                .send = pipe_send,
                                                .fd = pipe_fd,
                                                .next_timeout = pipe_next_timeout,
                                                .close = pipe_close};

/* --- opening ---------------------------------------------------------------------------------- */

static weir_nsec clock_now(void *user)
{
    return ((const struct weir_drill *)user)->now;
}

/* The loop is only ever run without waiting. */
static void clock_wait(void *user, weir_nsec until)
{
    (void)user;
    (void)until;
}

void weir_drill_net_default(struct weir_drill *drill)
{
    struct weir_tcp_config *config = &drill->config;
    drill->now = start_time;
    drill->clock = (struct weir_clock){.now = clock_now, .wait = clock_wait, .user = drill};
    drill->pipe.driver = (struct weir_driver){.ops = &pipe_ops,
                                              .rx_room_bytes = WEIR_DRILL_PACKET_BYTES_MAX,
                                              .run_segments_max = 1,
                                              .datagram_bytes_max = WEIR_DRILL_PACKET_BYTES_MAX};
    drill->pipe.now = &drill->now;
    weir_ip_config_default(&drill->ip);
    weir_slide_config_default(&drill->slide_config);
    drill->slide_config.size_bytes = SLIDE_BYTES;
    drill->slide_config.batch_bytes_max = BATCH_BYTES;
    drill->slide_config.secondary_bytes = SECONDARY_BYTES;
    /* packetdrill locks all memory: what is asked for here is really taken. */
    weir_tcp_config_default(config);
    config->connections_max = config->connections6_max = CONNECTIONS_MAX;
    config->segments_max = config->held_max = SEGMENTS_MAX;
    config->reordering_max = CONNECTIONS_MAX;
    config->send_bytes = SEND_BYTES;
    config->receive_window = UINT16_MAX;
    config->has_timestamps = true;
}

static void close_link(struct weir_drill *drill)
{
    if (drill->loop != NULL) {
        weir_loop_close(drill->loop);
    }
    if (drill->inet != NULL) {
        drill->inet->ops->close(drill->inet);
    }
    drill->loop = NULL;
    drill->inet = NULL;
}

/* IP and loop, for the addresses that there are now. */
static bool open_link(struct weir_drill *drill)
{
    struct weir_inet_config inet;
    struct weir_loop_config loop;
    weir_inet_config_default(&inet, NULL);
    inet.ip = drill->ip;
    if (weir_inet_open(&drill->pipe.driver, &inet, &drill->inet) != WEIR_OK) {
        return false;
    }
    weir_loop_config_default(&loop);
    loop.driver = drill->inet;
    loop.slide = drill->config.slide;
    loop.clock = &drill->clock;
    if (weir_loop_open(&loop, &drill->loop) != WEIR_OK) {
        return false;
    }
    weir_loop_attach(drill->loop, drill->tcp, weir_tcp_verbs(), weir_drill_on_events, drill);
    return true;
}

bool weir_drill_net_open(struct weir_drill *drill)
{
    /* Fixed: the same script gives the same packets. */
    static const uint8_t seed[32] = {'p', 'd'};
    struct weir_slide *slide = NULL;
    drill->slide_mem = weir_mem_map(weir_slide_mem_size(&drill->slide_config));
    if (drill->slide_mem == NULL ||
        weir_slide_init(drill->slide_mem, &drill->slide_config, &slide) != WEIR_OK) {
        return false;
    }
    drill->config.slide = slide;
    drill->config.mtu_bytes = (uint16_t)drill->ip.mtu_bytes;
    drill->tcp_mem = weir_mem_map(weir_tcp_mem_size(&drill->config));
    return drill->tcp_mem != NULL &&
           weir_tcp_init(drill->tcp_mem, &drill->config, seed, drill->now, &drill->tcp) ==
               WEIR_OK &&
           (drill->ip.address_count == 0 || open_link(drill));
}

void weir_drill_net_close(struct weir_drill *drill)
{
    struct weir_drill_pipe *pipe = &drill->pipe;
    close_link(drill);
    for (; pipe->count > 0; pipe->count--) {
        free(pipe->packets[pipe->first].data);
        pipe->first = (pipe->first + 1) % WEIR_DRILL_PACKETS_MAX;
    }
    weir_mem_unmap(drill->tcp_mem, weir_tcp_mem_size(&drill->config));
    weir_mem_unmap(drill->slide_mem, weir_slide_mem_size(&drill->slide_config));
}

bool weir_drill_net_add(struct weir_drill *drill, const struct weir_addr *addr)
{
    struct weir_ip_address own = {.addr = *addr,
                                  .prefix = addr->family == WEIR_ADDR_IP6 ? PREFIX6 : PREFIX4};
    own.addr.port = 0;
    for (uint32_t i = 0; i < drill->ip.address_count; i++) {
        if (weir_addr_is_equal(&drill->ip.addresses[i].addr, &own.addr)) {
            return true;
        }
    }
    if (drill->ip.address_count == WEIR_IP_ADDRESSES_MAX) {
        return false;
    }
    drill->ip.addresses[drill->ip.address_count++] = own;
    if (drill->tcp == NULL) {
        return true; /* still reading flags */
    }
    /* Addresses are fixed when IP is opened: once nothing is on its way it is opened anew. */
    weir_drill_settle(drill);
    close_link(drill);
    return open_link(drill);
}

bool weir_drill_net_add_default(struct weir_drill *drill, uint8_t family)
{
    /* In the nets that packetdrill draws its own from. */
    static const struct weir_addr local4 = {.family = WEIR_ADDR_IP4, .ip = {192, 168, 0, 2}};
    static const struct weir_addr local6 = {
        .family = WEIR_ADDR_IP6,
        .ip = {0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
    return weir_drill_net_local(drill, family).family != WEIR_ADDR_NONE ||
           weir_drill_net_add(drill, family == WEIR_ADDR_IP6 ? &local6 : &local4);
}

struct weir_addr weir_drill_net_local(const struct weir_drill *drill, uint8_t family)
{
    for (uint32_t i = drill->ip.address_count; i-- > 0;) {
        if (drill->ip.addresses[i].addr.family == family) {
            return drill->ip.addresses[i].addr;
        }
    }
    return (struct weir_addr){.family = WEIR_ADDR_NONE};
}

/* --- the clock -------------------------------------------------------------------------------- */

void weir_drill_settle(struct weir_drill *drill)
{
    for (unsigned i = 0; i < ROUNDS_MAX && drill->loop != NULL; i++) {
        if (weir_loop_run_once(drill->loop, 0) != WEIR_OK ||
            weir_loop_next_timeout(drill->loop) > drill->now) {
            break;
        }
    }
    weir_drill_wake(drill);
}

/* When something is due, at least a moment from now. */
static weir_nsec next_due(const struct weir_drill *drill)
{
    weir_nsec next = drill->loop != NULL ? weir_loop_next_timeout(drill->loop) : WEIR_NEVER;
    if (drill->deadline < next) {
        next = drill->deadline;
    }
    return next > drill->now ? next : drill->now + 1;
}

bool weir_drill_step(struct weir_drill *drill, weir_nsec until)
{
    weir_drill_settle(drill);
    weir_drill_let_answer(drill);
    weir_nsec next = next_due(drill);
    if (next > until) {
        next = until > drill->now ? until : drill->now;
    }
    if (next == WEIR_NEVER || next > drill->limit) {
        return false;
    }
    drill->now = next;
    weir_drill_settle(drill);
    weir_drill_let_answer(drill);
    return true;
}

void weir_drill_move(struct weir_drill *drill, weir_nsec until, bool is_receiving)
{
    while (drill->now < until && !(is_receiving && drill->pipe.count > 0)) {
        if (!weir_drill_step(drill, until)) {
            break;
        }
    }
}

/* --- packets ---------------------------------------------------------------------------------- */

/* The address that an IP packet is sent to; family NONE when it is none. */
static struct weir_addr target_of(const uint8_t *packet, size_t length)
{
    enum {
        BYTES4 = 20,
        TARGET4 = 16,
        BYTES6 = 40,
        TARGET6 = 24
    };

    struct weir_addr addr = {.family = WEIR_ADDR_NONE};
    if (length >= BYTES4 && packet[0] >> 4 == 4) {
        addr.family = WEIR_ADDR_IP4;
        memcpy(addr.ip, packet + TARGET4, 4);
    } else if (length >= BYTES6 && packet[0] >> 4 == 6) {
        addr.family = WEIR_ADDR_IP6;
        memcpy(addr.ip, packet + TARGET6, sizeof(addr.ip));
    }
    return addr;
}

long weir_drill_netdev_send(struct weir_drill *drill, const void *packet, size_t length)
{
    if (length == 0 || length > WEIR_DRILL_PACKET_BYTES_MAX) {
        return -EMSGSIZE;
    }
    /* packetdrill does not say which address it has drawn for us: the first packet does. */
    struct weir_addr target = target_of(packet, length);
    if (target.family != WEIR_ADDR_NONE &&
        weir_drill_net_local(drill, target.family).family == WEIR_ADDR_NONE &&
        !weir_drill_net_add(drill, &target)) {
        return -ENOBUFS;
    }
    drill->pipe.in = packet;
    drill->pipe.in_bytes = length;
    weir_drill_settle(drill);
    drill->pipe.in_bytes = 0;
    return 0;
}

long weir_drill_netdev_receive(struct weir_drill *drill, void *packet, size_t *length,
                               long long *time_us)
{
    struct weir_drill_pipe *pipe = &drill->pipe;
    weir_drill_move(drill, WEIR_NEVER, true);
    if (pipe->count == 0) {
        *length = 0;
        *time_us = (long long)(drill->now / WEIR_USEC);
        return 0;
    }
    struct weir_drill_packet *first = &pipe->packets[pipe->first];
    long result = first->length <= *length ? 0 : -EMSGSIZE;
    if (result == 0) {
        memcpy(packet, first->data, first->length);
        *length = first->length;
        *time_us = (long long)(first->at / WEIR_USEC);
    }
    free(first->data);
    pipe->first = (pipe->first + 1) % WEIR_DRILL_PACKETS_MAX;
    pipe->count--;
    return result;
}
