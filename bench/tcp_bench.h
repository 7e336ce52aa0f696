/* SPDX-License-Identifier: MIT */
/*
 * tcp_bench.h - the ends that bench_tcp puts together: weir, lwIP and the kernel.
 *
 * Role: an end serves on a place until it is terminated (SIGTERM), in a process of its own; the
 * kernel's clients measure it. Floods are crafted handshakes, in memory, for an engine without a
 * device.
 */
#ifndef WEIR_TCP_BENCH_H
#define WEIR_TCP_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench.h"
#include "weir/addr.h"

enum {
    TCP_PORT_ECHO = 7,
    TCP_PORT_DISCARD = 9,
    TCP_PORT_SOURCE = 19,
    FLOOD_BATCH = 64,
    FLOOD_FRAME_BYTES = 64
};

/* Where an end is: addresses are 10.network.0.host. */
struct tcp_place {
    const char *device; /* tun: made there; packet: is there already */
    uint8_t network;
    uint8_t host;           /* the end's; the kernel's client has 1 */
    uint16_t port;          /* the kernel serves one only; weir and lwIP all */
    bool is_packet;         /* weir: a packet socket on the device instead of tun */
    bool is_plain;          /* without offloads */
    bool is_polling;        /* weir: asks the device all the time instead of sleeping */
    int network_ns;         /* descriptor of the namespace to be in; -1: this one */
    void (*on_ready)(void); /* the end calls it once it can be connected to */
};

/* Ends the program with a line that says why. */
_Noreturn void tcp_die(const char *what, const char *why);
void tcp_must(bool is_fine, const char *what);
/* Of a place. */
struct weir_addr tcp_addr(const struct tcp_place *place, uint8_t host);
/* A tun device as the place says, with the kernel's address on it. Returns its descriptor. */
struct weir_driver *tcp_open_tun(const struct tcp_place *place);

/* Serve until SIGTERM. */
void tcp_weir_serve(const struct tcp_place *place);
void tcp_kernel_serve(const struct tcp_place *place);

/* --- the kernel's clients --------------------------------------------------------------------- */

struct tcp_flow {
    uint64_t bytes, elapsed_ns, cpu_ns;
};

/* One stream for so long: to port DISCARD, or from port SOURCE. */
void tcp_kernel_flow(const struct tcp_place *place, bool is_source, uint64_t window_ns,
                     struct tcp_flow *flow);
/* Sends one byte and waits for it to come back, count times, after so many more to warm up; their
 * times in ns. */
void tcp_kernel_ask(const struct tcp_place *place, uint32_t *times, uint32_t count);
/* Connects and resets for so long, some at a time. Returns how many there were. */
uint64_t tcp_kernel_connect(const struct tcp_place *place, uint64_t window_ns);
/* Bytes of kernel memory for a connection, both ends apart, of count on loopback; 0: unknown. */
double tcp_kernel_idle(uint32_t count);

/* --- handshakes in memory --------------------------------------------------------------------- */

/* Crafted clients, each from its own address and port, IPv4, to 10.1.0.2 port DISCARD. */
struct flood {
    uint32_t next;  /* clients so far */
    uint32_t count; /* of this batch */
    uint32_t answered;
    uint32_t acks[FLOOD_BATCH]; /* what the SYN-ACK of each wants acknowledged */
    uint8_t frames[FLOOD_BATCH][FLOOD_FRAME_BYTES];
    uint32_t lengths[FLOOD_BATCH];
};

/* The SYNs of count further clients, in frames. */
void flood_syn(struct flood *flood, uint32_t count);
/* A frame that the stack under test sent: remembers what the SYN-ACK says. */
void flood_on_frame(struct flood *flood, const uint8_t *frame, size_t length);
/* Turns the frames into the ACKs that open the connections. All must have been answered. */
void flood_ack(struct flood *flood);

/* A stack in memory. open: ready for so many connections; input: takes all frames of the flood, and
 * gives it what it answers. opened: connections so far. bytes: of memory, all in. */
struct flood_stack {
    const char *name;
    void (*open)(uint32_t connections_max);
    void (*input)(struct flood *flood);
    uint32_t (*opened)(void);
    double (*bytes)(void);
};

const struct flood_stack *tcp_weir_stack(void);

#ifdef WEIR_BENCH_LWIP
void tcp_lwip_serve(const struct tcp_place *place);
const struct flood_stack *tcp_lwip_stack(void);
#endif

#endif
