/* SPDX-License-Identifier: MIT */
/*
 * kcp_program.c - see kcp_program.h. KCP_PROGRAM is the name of the table that it defines; the
 * include path says whose ikcp.h it is.
 */
#include "kcp_program.h"

#include <ikcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct kcp_program_run {
    ikcpcb *ends[2];
    IUINT32 now; /* ms, virtual */
    uint32_t window;
    size_t size;
    uint64_t sent, got; /* messages */
    uint64_t sum;
    char *message, *buffer;
};

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench of ikcp: %s\n", what);
    exit(1);
}

/* A datagram goes to the other end where it lies. */
static int pass(const char *data, int length, ikcpcb *kcp, void *user)
{
    struct kcp_program_run *run = user;
    if (ikcp_input(run->ends[kcp == run->ends[0]], data, length) < 0) {
        die("input");
    }
    return 0;
}

static ikcpcb *open_end(struct kcp_program_run *run)
{
    ikcpcb *kcp = ikcp_create(1, run);
    if (kcp == NULL) {
        die("no memory");
    }
    ikcp_setoutput(kcp, pass);
    if (ikcp_setmtu(kcp, KCP_PROGRAM_MTU) != 0 ||
        ikcp_nodelay(kcp, 1, KCP_PROGRAM_INTERVAL_MS, KCP_PROGRAM_RESEND, 1) != 0 ||
        ikcp_wndsize(kcp, (int)run->window, (int)run->window) != 0) {
        die("settings");
    }
    return kcp;
}

static struct kcp_program_run *open_run(size_t size, uint32_t window)
{
    struct kcp_program_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        die("no memory");
    }
    *run = (struct kcp_program_run){.now = 1000,
                                    .window = window,
                                    .size = size,
                                    .message = calloc(1, size),
                                    .buffer = malloc(size)};
    run->ends[0] = open_end(run);
    run->ends[1] = open_end(run);
    return run;
}

static void close_run(struct kcp_program_run *run)
{
    ikcp_release(run->ends[0]);
    ikcp_release(run->ends[1]);
    free(run->message);
    free(run->buffer);
    free(run);
}

static void drain(struct kcp_program_run *run)
{
    int length;
    while ((length = ikcp_recv(run->ends[1], run->buffer, (int)run->size)) >= 0) {
        if ((size_t)length != run->size) {
            die("a message has another length");
        }
        run->sum += (unsigned char)run->buffer[0];
        run->got++;
    }
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t exchange(struct kcp_program_run *run, uint64_t segments, uint64_t limit_ns)
{
    uint64_t each = kcp_program_segments(run->size);
    uint64_t ahead = kcp_program_ahead(run->size, run->window);
    uint64_t start = run->got;
    uint64_t want = start + (segments - 1) / each + 1;
    uint64_t until = clock_ns() + limit_ns;
    do {
        for (; run->sent < want && run->sent - run->got < ahead; run->sent++) {
            if (ikcp_send(run->ends[0], run->message, (int)run->size) < 0) {
                die("send");
            }
        }
        ikcp_update(run->ends[0], run->now);
        drain(run);
        run->now += KCP_PROGRAM_INTERVAL_MS;
        ikcp_update(run->ends[1], run->now);
    } while (run->got < want && clock_ns() < until);
    if (run->ends[0]->xmit > 0) {
        die("something was resent");
    }
    return (run->got - start) * each;
}

const struct kcp_program KCP_PROGRAM __attribute__((visibility("default"))) = {
    .open = open_run, .exchange = exchange, .close = close_run};
