/* SPDX-License-Identifier: MIT */
/*
 * kcp_ends.h - two KCP endpoints back to back in memory, for benchmarks: what one sends is given to
 * the other where it lies.
 *
 * Order: open both; pass from one to the other, draining the receiver's events after every pass.
 */
#ifndef WEIR_BENCH_KCP_ENDS_H
#define WEIR_BENCH_KCP_ENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/kcp.h"

enum {
    KCP_END_TX_BYTES = 1 << 20, /* as the loop's default */
    KCP_END_TRANSMITS = 1024,
    KCP_END_PACKETS = 8192
};

struct kcp_end {
    struct weir_kcp *kcp;
    struct weir_path path; /* as the other end sees it */
    void *kcp_mem, *slide_mem;
    size_t kcp_bytes, slide_bytes;
    uint8_t *buffer;
    struct weir_transmit transmits[KCP_END_TRANSMITS];
    struct weir_packet packets[KCP_END_PACKETS];
};

/* Ends the program with a word about what. */
_Noreturn void kcp_ends_die(const char *what);
/* config: its slide is filled in here. */
void kcp_end_open(struct kcp_end *end, const struct weir_kcp_config *config, bool is_server);
void kcp_end_close(struct kcp_end *end);
/* Runs from's timers and gives to what it has to say, as much as one output takes. true: there is
 * more. */
bool kcp_end_pass(struct kcp_end *from, struct kcp_end *to, weir_nsec now);

#endif
