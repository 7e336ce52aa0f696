/* SPDX-License-Identifier: MIT */
/*
 * ip.h - frames in, segments and datagrams out, and the other way.
 *
 * Role: what src/driver/inet.c puts between a frame driver and an engine. Pure: bytes, time and
 * seed are parameters.
 * Owned by: one thread. Memory: one block of weir_ip_mem_size bytes.
 *
 *   frame --> input --> TCP segment | UDP datagrams | ICMP error about a segment --> engine
 *                   \-> ARP, neighbour discovery, echo: answered by weir_ip_output
 *   segment, datagrams --> encapsulate --> frame
 */
#ifndef WEIR_IP_IP_H
#define WEIR_IP_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/driver.h"
#include "weir/ip.h"

enum {
    /* Left free in front of what encapsulate gets: Ethernet 14, IPv6 40, UDP 8. */
    WEIR_IP_HEADROOM = 64
};

/* Which transport sits on it. */
struct weir_ip_service {
    bool is_tcp;
    uint16_t udp_port; /* 0: no UDP */
    bool is_unchecked; /* the driver below completes checksums */
};

struct weir_ip;

/* 0 when config is outside its bounds. */
size_t weir_ip_mem_size(const struct weir_ip_config *config);
/* mem: 64-byte aligned, reads as zeros. Addresses are announced by the first timeout.
 * WEIR_ERR_INVALID: config outside its bounds. */
enum weir_status weir_ip_init(void *mem, const struct weir_ip_config *config,
                              const struct weir_ip_service *service, const uint8_t seed[32],
                              struct weir_ip **made);
const struct weir_ip_stats *weir_ip_stats(const struct weir_ip *ip);

/* A batch begins: the bytes of datagrams that were put together in the last one end here. */
void weir_ip_begin(struct weir_ip *ip);
/* Takes one frame. true: *packet (its path excepted) and *path are what it holds for the transport:
 * protocol TCP, DATAGRAM or UNREACHED; the bytes lie in the frame or, put together, in memory of
 * ours until the next begin. A run of datagrams has segment_bytes not 0: each but the last is so
 * long. */
bool weir_ip_input(struct weir_ip *ip, weir_nsec now, const struct weir_packet *frame,
                   struct weir_packet *packet, struct weir_path *path);

/* What is due; early or repeated calls are harmless. */
void weir_ip_timeout(struct weir_ip *ip, weir_nsec now);
/* Absolute, or WEIR_NEVER. Changes with input, timeout and encapsulate. */
weir_nsec weir_ip_next_timeout(const struct weir_ip *ip);

/* Our own frames that wait to be sent, and waiting ones whose neighbour has answered: *count of
 * them, valid until the next call of anything here but output and sent. */
const struct weir_transmit *weir_ip_output(const struct weir_ip *ip, uint32_t *count);
/* The first count of them are gone. */
void weir_ip_sent(struct weir_ip *ip, uint32_t count);

/* Puts the headers in front of a transport's bytes: of one TCP segment or super-segment (protocol
 * TCP, or DATAGRAM where only TCP is served), or of one UDP datagram or a run. WEIR_IP_HEADROOM
 * bytes in front of transmit->data are overwritten. WEIR_OK: *frame is to be sent; its path has the
 * chosen local address. WEIR_AGAIN: there is nothing to send: it waits for its neighbour in memory
 * of ours, or it was dropped and counted. The same transmit may be encapsulated again. */
enum weir_status weir_ip_encapsulate(struct weir_ip *ip, weir_nsec now,
                                     const struct weir_transmit *transmit,
                                     struct weir_transmit *frame);

#endif
