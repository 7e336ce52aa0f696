/* SPDX-License-Identifier: MIT */
/*
 * kcp_program.h - a program written for ikcp.h: two sessions back to back in memory, for bench_kcp.
 *
 * Role: compiled once with weir's ikcp.h and once with the reference's, so that the same work is
 * done with either. It takes turns as bench_kcp does with weir's endpoints: one end sends all that
 * it may, 10 ms later the other end acknowledges; nothing is lost.
 */
#ifndef WEIR_BENCH_KCP_PROGRAM_H
#define WEIR_BENCH_KCP_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    KCP_PROGRAM_MTU = 1400,
    KCP_PROGRAM_MSS = KCP_PROGRAM_MTU - 24,
    KCP_PROGRAM_INTERVAL_MS = 10,
    KCP_PROGRAM_RESEND = 2
};

struct kcp_program_run;

struct kcp_program {
    /* size: of each message; window: in segments, both ends' and both ways. */
    struct kcp_program_run *(*open)(size_t size, uint32_t window);
    /* Exchanges messages of so many segments, and fewer when more than limit_ns have passed, but
     * one window at least. Returns how many segments have arrived. */
    uint64_t (*exchange)(struct kcp_program_run *run, uint64_t segments, uint64_t limit_ns);
    void (*close)(struct kcp_program_run *run);
};

extern const struct kcp_program kcp_program_weir;
extern const struct kcp_program kcp_program_reference;

static inline uint64_t kcp_program_segments(size_t size)
{
    return size <= KCP_PROGRAM_MSS ? 1 : (size - 1) / KCP_PROGRAM_MSS + 1;
}

/* Messages that are sent ahead of what has arrived: enough to fill the window at every turn, and no
 * more than a program keeps in the queue that watches it. */
static inline uint64_t kcp_program_ahead(size_t size, uint32_t window)
{
    return 2 * (uint64_t)window / kcp_program_segments(size) + 1;
}

#endif
