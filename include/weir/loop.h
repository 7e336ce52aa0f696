/* SPDX-License-Identifier: MIT */
/*
 * loop.h - one thread's clock, driver and endpoints put together.
 *
 * Role: the receive - input - events - timeout - output - send cycle, so that a program writes only
 * what it does with events. Sits in epoll, libuv or libevent by fd and next_timeout, or runs alone.
 * Owned by: one thread. Everything happens inside weir_loop_run_once.
 *
 *      driver --> slide --> input --> on_events (pull weir_x_event until WEIR_AGAIN)
 *      driver <-- tx    <-- output <-- timeout
 */
#ifndef WEIR_LOOP_H
#define WEIR_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include "weir/driver.h"
#include "weir/os.h"
#include "weir/slide.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_FIGURES_DROPS_MAX = 24
};

/* What every engine can say of an endpoint, words all of them: counters since the start, but for
 * connections, awake (of these, those with anything queued, in flight or held) and rtt. */
struct weir_figures {
    uint64_t connections, awake;
    uint64_t packets_received, packets_sent;
    uint64_t bytes_received, bytes_sent; /* the engine's headers included, not those below them */
    uint64_t packets_lost;               /* taken for lost; TCP and KCP: segments sent again */
    uint64_t dropped;                    /* the sum of drops */
    uint64_t rtt;                        /* ns: running mean of the samples of all connections,
                                            each with a weight of 1/64; 0: none */
    uint64_t drops[WEIR_FIGURES_DROPS_MAX]; /* by reason, see drop_names */
};

/* The verbs of an engine, as the loop calls them. weir_rudp_verbs and its like fill it. */
struct weir_verbs {
    void (*input)(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count);
    void (*timeout)(void *endpoint, weir_nsec now);
    weir_nsec (*next_timeout)(const void *endpoint);
    /* WEIR_AGAIN when nothing is left to send now, WEIR_OK when tx is full and more waits. */
    enum weir_status (*output)(void *endpoint, weir_nsec now, struct weir_tx *tx);
    /* Fills all of *figures, cheaply: a crew asks some hundred times a second. NULL: has none. */
    void (*figures)(const void *endpoint, struct weir_figures *figures);
    /* The words for figures.drops, static, NULL behind the last; may be NULL. */
    const char *const *drop_names;
};

/* Another clock than the system's: a simulation's, where nothing really waits. */
struct weir_clock {
    weir_nsec (*now)(void *user);
    /* Returns at until (WEIR_NEVER: when it likes) or any time earlier. May run other loops. */
    void (*wait)(void *user, weir_nsec until);
    void *user;
};

struct weir_loop;

struct weir_loop_config {
    struct weir_driver *driver; /* closed by the caller after weir_loop_close */
    struct weir_slide *slide;   /* the caller's; engines on this loop hold in the same one */
    uint32_t packets_max;       /* datagrams one receive hands to the engine, default 1,024, at
                                   least 128 */
    size_t tx_bytes;            /* outgoing frame buffer, default 1 MiB */
    uint32_t receives_max;      /* receive calls in one run_once, default 16, so that sending and
                                   timers get their turn; more while they brought less than 1,024
                                   packets in all */
    const struct weir_clock *clock; /* NULL, the default: the system's. Used until the close */
};

/* Defaults as above; driver and slide are set to NULL and have none. */
WEIR_API void weir_loop_config_default(struct weir_loop_config *config);
/* config is copied, its driver and slide are used until weir_loop_close. Also sets the calling
 * thread's timer slack to 1 us (prctl), so that waits end on time: open the loop on the thread that
 * runs it. WEIR_ERR_INVALID for a config out of bounds or a slide with less room than the driver's
 * rx_room_bytes, WEIR_ERR_MEMORY. */
WEIR_API enum weir_status weir_loop_open(const struct weir_loop_config *config,
                                         struct weir_loop **loop);
/* Frees the loop; what it had not sent yet is lost. Driver, slide and endpoint stay the caller's.
 * */
WEIR_API void weir_loop_close(struct weir_loop *loop);
/* The endpoint that gets this loop's datagrams, kept with verbs and user until the loop is closed
 * or another takes its place. Comes before the first run_once. on_events is called after every
 * input and timeout, and after output that sent something (a flush leaves that to the next
 * run_once); it must pull all events. NULL on_events and NULL user are fine. */
WEIR_API void weir_loop_attach(struct weir_loop *loop, void *endpoint,
                               const struct weir_verbs *verbs,
                               void (*on_events)(void *user, weir_nsec now), void *user);

/* The loop's clock: CLOCK_MONOTONIC unless configured, read at the start of run_once and on this
 * call. */
WEIR_API weir_nsec weir_loop_now(struct weir_loop *loop);
/* How long it has waited since the open, in all: the rest it was busy. */
WEIR_API weir_nsec weir_loop_waited(const struct weir_loop *loop);
/* Waits for the driver until something is due, at most timeout ns (0: does not wait), then does all
 * that is to do. A signal ends the wait early. WEIR_ERR_OS when the driver failed for good, see its
 * error; time-outs and output have had their turn all the same. Not to be called from on_events. */
WEIR_API enum weir_status weir_loop_run_once(struct weir_loop *loop, weir_nsec timeout);
/* Does the sending part only: after user calls outside of events. From inside on_events it does
 * nothing, for output follows anyway. WEIR_ERR_OS as in run_once. */
WEIR_API enum weir_status weir_loop_flush(struct weir_loop *loop);
/* For an outer event loop: readable means run_once(loop, 0) has work. -1: the driver has none. */
WEIR_API int weir_loop_fd(const struct weir_loop *loop);
/* Absolute time of weir_loop_now's clock at which run_once is due, or WEIR_NEVER. May change with
 * every run_once, flush and every user call on an endpoint. */
WEIR_API weir_nsec weir_loop_next_timeout(const struct weir_loop *loop);
/* Is output waiting for the descriptor to become writable? Then poll for that too. */
WEIR_API bool weir_loop_is_blocked(const struct weir_loop *loop);

#ifdef __cplusplus
}
#endif
#endif
