/* SPDX-License-Identifier: MIT */
/*
 * hear.h - ARP and neighbour discovery for each of many queues of one interface.
 *
 * Role: the kernel gives a frame to one queue, but whoever sends by a queue must know its
 * neighbours. So each queue has a packet socket beside it that hears all such frames, and drops
 * those that it gets itself. Only the first queue hears questions: one answer is enough.
 * Owned by: the thread of its driver. Needs CAP_NET_RAW.
 *
 *   frames --> the queue's own descriptor, of one queue --.
 *     \------> filter --> socket, of every queue ----------+--> epoll descriptor
 */
#ifndef WEIR_DRIVER_HEAR_H
#define WEIR_DRIVER_HEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/tun.h"

enum {
    WEIR_HEAR_FRAMES = 8,
    WEIR_HEAR_FRAME_BYTES = 2048 /* an ARP packet is 42, an advertisement hardly over 100 */
};

struct weir_hear {
    int socket_fd; /* -1: not open, as all queues that are alone */
    int epoll_fd;  /* the driver's descriptor, for who waits */
    weir_nsec look_at;
    uint8_t frames[WEIR_HEAR_FRAMES][WEIR_HEAR_FRAME_BYTES];
};

/* Not open. */
void weir_hear_init(struct weir_hear *hear);
/* is_device: what the kernel sends out by a tap, else what comes in. WEIR_ERR_OS with problem, as
 * weir_tun_open. */
enum weir_status weir_hear_open(struct weir_hear *hear, const struct weir_interface *interface,
                                bool is_device, bool is_first, int queue_fd,
                                char problem[WEIR_PROBLEM_BYTES]);
/* Also of one that is not open. */
void weir_hear_close(struct weir_hear *hear);

static inline bool weir_hear_is_open(const struct weir_hear *hear)
{
    return hear->socket_fd >= 0;
}

/* What is heard: not to be taken from the queue itself. */
bool weir_hear_is_heard(const uint8_t *frame, uint32_t length);
/* Frames heard since, at most packets_max; returns how many, and counts them in stats. They stay
 * until the next call. Looks now and then only, unless must_look: it is a system call that mostly
 * finds nothing. */
uint32_t weir_hear_receive(struct weir_hear *hear, weir_nsec now, bool must_look,
                           struct weir_driver_stats *stats, struct weir_packet *packets,
                           uint32_t packets_max);

#endif
