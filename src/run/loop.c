/* SPDX-License-Identifier: MIT */
/*
 * loop.c - one thread's clock, driver and endpoint put together.
 *
 * Role: few system calls. It waits (ppoll) only when there is nothing to do: not after a receive
 * that filled its batch, not while output is left, not with a timeout of 0.
 * Memory: allocated at open: descriptors of packets and transmits, and the frame buffer.
 *
 *   run_once:  wait - receive, input, events (repeated while batches are full) - timeout, events -
 *              output, send, events (repeated while something goes out)
 */
#include "weir/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/assert.h"
#include "base/bytes.h"

enum {
    PACKETS_MAX_DEFAULT = 1024,
    PACKETS_MAX_MIN = 128, /* datagrams of one run that the kernel joined: all or none are taken */
    TX_BYTES_DEFAULT = 1 << 20,
    TX_BYTES_MIN = 65536, /* one datagram of any size */
    RECEIVES_MAX_DEFAULT = 16,
    /* Receives go on in one run_once until so many packets have come, however few one brings. */
    RECEIVED_MIN = 1024,
    /* Transmits in one run_once: then the receive side gets its turn, for acknowledgments must not
     * wait behind thousands of packets. */
    SENT_MAX = 1024,
    /* While more waits to be received than was: a transmit for every second packet that came, but
     * so many at least. Who sends as much as comes, or more, does not catch up: what waits grows
     * old, its senders take it for lost and send it again, and in the end that is all there is. */
    SENT_BEHIND_MIN = 64,
    OUTPUTS_MAX = 4, /* rounds of output, when sending makes events and these more output */
    TIMER_SLACK_NS = 1000
};

/* While the driver cannot take output, an endpoint that wants to send is overdue all the time; it
 * is then looked at this often, not in a busy loop. */
#define BLOCKED_TICK WEIR_MSEC

struct weir_loop {
    struct weir_driver *driver;
    struct weir_slide *slide;
    const struct weir_clock *clock; /* NULL: the system's */
    void *endpoint;
    const struct weir_verbs *verbs;
    void (*on_events)(void *user, weir_nsec now);
    void *user;
    weir_nsec now;
    weir_nsec waited;
    struct weir_packet *packets;
    uint32_t packets_max;
    uint32_t receives_max;
    struct weir_tx tx;
    uint32_t tx_done;     /* transmits[0..tx_done) have been taken by the driver */
    uint32_t received;    /* packets in this run_once */
    uint32_t may_send;    /* transmits until the next, flushes included, while is_rx_left */
    bool is_running;      /* inside run_once: a flush from on_events has nothing to add */
    bool is_rx_left;      /* the last receive filled its batch */
    bool is_tx_left;      /* the last output had more than its rounds */
    bool is_blocked;      /* the driver had no room */
    bool are_events_left; /* a flush may have made events */
};

void weir_loop_config_default(struct weir_loop_config *config)
{
    *config = (struct weir_loop_config){.packets_max = PACKETS_MAX_DEFAULT,
                                        .tx_bytes = TX_BYTES_DEFAULT,
                                        .receives_max = RECEIVES_MAX_DEFAULT};
}

static weir_nsec read_clock(const struct weir_loop *loop)
{
    struct timespec time;
    if (loop->clock != NULL) {
        return loop->clock->now(loop->clock->user);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (weir_nsec)time.tv_sec * WEIR_SEC + (weir_nsec)time.tv_nsec;
}

enum weir_status weir_loop_open(const struct weir_loop_config *config, struct weir_loop **loop)
{
    size_t tx_bytes = config->tx_bytes;
    if (config->driver == NULL || config->slide == NULL || config->packets_max < PACKETS_MAX_MIN ||
        config->receives_max == 0 || tx_bytes < TX_BYTES_MIN ||
        weir_slide_room(config->slide).length < config->driver->rx_room_bytes) {
        return WEIR_ERR_INVALID;
    }
    struct weir_loop *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    made->driver = config->driver;
    made->slide = config->slide;
    made->clock = config->clock;
    made->packets_max = config->packets_max;
    made->receives_max = config->receives_max;
    made->packets = calloc(config->packets_max, sizeof(*made->packets));
    made->tx = (struct weir_tx){.buffer = weir_mem_map(tx_bytes),
                                .buffer_bytes = tx_bytes,
                                .transmits = calloc(SENT_MAX, sizeof(*made->tx.transmits)),
                                .transmits_max = SENT_MAX};
    if (made->packets == NULL || made->tx.buffer == NULL || made->tx.transmits == NULL) {
        weir_loop_close(made);
        return WEIR_ERR_MEMORY;
    }
    /* The kernel's 50 us of grace would blur pacing and delayed acknowledgments. */
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    made->now = read_clock(made);
    *loop = made;
    return WEIR_OK;
}

void weir_loop_close(struct weir_loop *loop)
{
    weir_mem_unmap(loop->tx.buffer, loop->tx.buffer_bytes);
    free(loop->tx.transmits);
    free(loop->packets);
    free(loop);
}

void weir_loop_attach(struct weir_loop *loop, void *endpoint, const struct weir_verbs *verbs,
                      void (*on_events)(void *user, weir_nsec now), void *user)
{
    loop->endpoint = endpoint;
    loop->verbs = verbs;
    loop->on_events = on_events;
    loop->user = user;
}

weir_nsec weir_loop_now(struct weir_loop *loop)
{
    loop->now = read_clock(loop);
    return loop->now;
}

weir_nsec weir_loop_waited(const struct weir_loop *loop)
{
    return loop->waited;
}

static void drain_events(struct weir_loop *loop)
{
    loop->are_events_left = false;
    if (loop->on_events != NULL) {
        loop->on_events(loop->user, loop->now);
    }
}

/* The end of the last byte that landed in the room; drivers may use frames of their own instead. */
static size_t count_used(const struct weir_loop *loop, struct weir_mut_span room, uint32_t count)
{
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        uintptr_t offset = (uintptr_t)loop->packets[i].data - (uintptr_t)room.data;
        if (offset < room.length && offset + loop->packets[i].length > used) {
            used = offset + loop->packets[i].length;
        }
    }
    return used;
}

static enum weir_status receive_batch(struct weir_loop *loop)
{
    struct weir_driver *driver = loop->driver;
    struct weir_mut_span room = weir_slide_room(loop->slide);
    uint32_t count = 0;
    enum weir_status status =
        driver->ops->receive(driver, loop->now, room, loop->packets, loop->packets_max, &count);
    loop->is_rx_left =
        status == WEIR_OK && count > 0 && (driver->is_rx_full || count == loop->packets_max);
    if (status != WEIR_OK || count == 0) {
        return status;
    }
    loop->received += count;
    weir_slide_received(loop->slide, count_used(loop, room, count));
    loop->verbs->input(loop->endpoint, loop->now, loop->packets, count);
    drain_events(loop);
    return WEIR_OK;
}

static enum weir_status receive_all(struct weir_loop *loop)
{
    enum weir_status status = WEIR_OK;
    loop->received = 0;
    for (uint32_t i = 0; i < loop->receives_max || loop->received < RECEIVED_MIN; i++) {
        status = receive_batch(loop);
        if (status != WEIR_OK || !loop->is_rx_left) {
            break;
        }
        loop->now = read_clock(loop);
    }
    uint64_t most = weir_max_u64(loop->received / 2, SENT_BEHIND_MIN);
    loop->may_send = (uint32_t)weir_min_u64(most, SENT_MAX);
    return status;
}

/* What must wait may see its tail's owner take it back (a connection is aborted, a parcel done):
 * from now on the bytes are ours. */
static void keep_tails(struct weir_tx *tx, uint32_t first)
{
    for (uint32_t i = first; i < tx->count; i++) {
        struct weir_transmit *transmit = &tx->transmits[i];
        if (transmit->tail_bytes > 0) {
            memcpy(transmit->data + transmit->length - transmit->tail_bytes, transmit->tail,
                   transmit->tail_bytes);
            transmit->tail_bytes = 0;
        }
    }
}

/* Offers the driver what it has not taken yet. */
static enum weir_status send_rest(struct weir_loop *loop)
{
    struct weir_driver *driver = loop->driver;
    struct weir_tx *tx = &loop->tx;
    uint32_t sent = 0;
    if (loop->tx_done == tx->count) {
        return WEIR_OK;
    }
    enum weir_status status = driver->ops->send(driver, loop->now, tx->transmits + loop->tx_done,
                                                tx->count - loop->tx_done, &sent);
    loop->tx_done += sent;
    keep_tails(tx, loop->tx_done);
    loop->is_blocked = status == WEIR_AGAIN;
    return status;
}

/* One round of at most most transmits: *is_idle when the endpoint had nothing to send. WEIR_AGAIN
 * when the driver is full. */
static enum weir_status output_once(struct weir_loop *loop, uint32_t most, bool *is_idle)
{
    struct weir_tx *tx = &loop->tx;
    tx->transmits_max = most;
    tx->used_bytes = 0;
    tx->count = 0;
    loop->tx_done = 0;
    /* A driver may lose its segmentation on the way. */
    tx->run_bytes_max = loop->driver->run_bytes_max;
    tx->run_segments_max = loop->driver->run_segments_max;
    tx->headroom_bytes = loop->driver->headroom_bytes;
    tx->is_joined = loop->driver->is_joined;
    tx->is_unchecked = loop->driver->is_unchecked;
    tx->is_gathered = loop->driver->is_gathered;
    loop->now = read_clock(loop);
    enum weir_status status = loop->verbs->output(loop->endpoint, loop->now, tx);
    *is_idle = status != WEIR_OK && tx->count == 0;
    return send_rest(loop);
}

/* Sending may make events (a parcel is done), and their handling new output. */
static enum weir_status output_all(struct weir_loop *loop, bool is_draining)
{
    enum weir_status status = send_rest(loop);
    uint32_t left = loop->is_rx_left ? loop->may_send : SENT_MAX;
    bool is_idle = false;

    loop->is_tx_left = false;
    for (int i = 0; status == WEIR_OK; i++) {
        if (i == OUTPUTS_MAX || left == 0) {
            loop->is_tx_left = true;
            break;
        }
        status = output_once(loop, left, &is_idle);
        left -= loop->tx.count;
        loop->may_send = left;
        if (is_idle) {
            break;
        }
        if (is_draining) {
            drain_events(loop);
        } else {
            loop->are_events_left = true;
        }
    }
    return status == WEIR_AGAIN ? WEIR_OK : status;
}

static weir_nsec next_deadline(const struct weir_loop *loop)
{
    weir_nsec deadline = WEIR_NEVER;
    if (loop->verbs != NULL) {
        deadline = loop->verbs->next_timeout(loop->endpoint);
    }
    if (loop->is_blocked) {
        deadline = weir_max_u64(deadline, loop->now + BLOCKED_TICK);
    }
    return weir_min_u64(deadline, loop->driver->ops->next_timeout(loop->driver));
}

static bool has_work(const struct weir_loop *loop)
{
    return loop->is_rx_left || loop->are_events_left || (loop->is_tx_left && !loop->is_blocked);
}

weir_nsec weir_loop_next_timeout(const struct weir_loop *loop)
{
    return has_work(loop) ? loop->now : next_deadline(loop);
}

static struct timespec to_timespec(weir_nsec ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / WEIR_SEC), .tv_nsec = (long)(ns % WEIR_SEC)};
}

/* Waits until the deadline or the descriptor. Interrupted by a signal it returns early. */
static enum weir_status wait_until(struct weir_loop *loop, weir_nsec deadline, bool *is_readable)
{
    struct pollfd poll_fd = {.fd = loop->driver->ops->fd(loop->driver), .events = POLLIN};
    struct timespec timeout = to_timespec(deadline - loop->now);

    *is_readable = loop->clock != NULL; /* which knows nothing of descriptors */
    if (loop->clock != NULL) {
        loop->clock->wait(loop->clock->user, deadline);
        return WEIR_OK;
    }
    if (poll_fd.fd < 0) {
        if (deadline != WEIR_NEVER) {
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &timeout, NULL);
        }
        return WEIR_OK;
    }
    if (loop->is_blocked) {
        poll_fd.events |= POLLOUT;
    }
    int n = ppoll(&poll_fd, 1, deadline == WEIR_NEVER ? NULL : &timeout, NULL);
    if ((n < 0 && errno != EINTR) || (n > 0 && (poll_fd.revents & POLLNVAL) != 0)) {
        loop->driver->error = n < 0 ? errno : EBADF;
        return WEIR_ERR_OS;
    }
    *is_readable = n > 0 && (poll_fd.revents & ~POLLOUT) != 0;
    return WEIR_OK;
}

/* Waits if there is nothing to do. *is_readable: a receive is worth its system call. */
static enum weir_status wait_for_work(struct weir_loop *loop, weir_nsec timeout, bool *is_readable)
{
    *is_readable = true;
    if (timeout == 0 || has_work(loop)) {
        return WEIR_OK;
    }
    weir_nsec until = timeout < WEIR_NEVER - loop->now ? loop->now + timeout : WEIR_NEVER;
    weir_nsec deadline = weir_min_u64(until, next_deadline(loop));
    if (deadline <= loop->now) {
        return WEIR_OK;
    }
    weir_nsec from = loop->now;
    enum weir_status status = wait_until(loop, deadline, is_readable);
    loop->now = read_clock(loop);
    loop->waited += loop->now - from;
    if (loop->driver->ops->next_timeout(loop->driver) <= loop->now) {
        *is_readable = true;
    }
    return status;
}

/* Time and output go on when a receive has failed: of many queues, or for a moment. */
static enum weir_status do_work(struct weir_loop *loop, bool is_readable)
{
    enum weir_status received = is_readable ? receive_all(loop) : WEIR_OK;
    loop->now = read_clock(loop);
    if (loop->verbs->next_timeout(loop->endpoint) <= loop->now) {
        loop->verbs->timeout(loop->endpoint, loop->now);
        drain_events(loop);
    }
    enum weir_status sent = output_all(loop, true);
    return received == WEIR_OK ? sent : received;
}

enum weir_status weir_loop_run_once(struct weir_loop *loop, weir_nsec timeout)
{
    bool is_readable = false;
    WEIR_ASSERT(loop->verbs != NULL && !loop->is_running);
    loop->is_running = true;
    loop->now = read_clock(loop);
    if (loop->are_events_left) {
        drain_events(loop);
        loop->is_tx_left = true;
    }
    enum weir_status status = wait_for_work(loop, timeout, &is_readable);
    if (status == WEIR_OK) {
        status = do_work(loop, is_readable);
    }
    loop->is_running = false;
    return status;
}

enum weir_status weir_loop_flush(struct weir_loop *loop)
{
    if (loop->is_running) {
        return WEIR_OK;
    }
    return output_all(loop, false);
}

int weir_loop_fd(const struct weir_loop *loop)
{
    return loop->driver->ops->fd(loop->driver);
}

bool weir_loop_is_blocked(const struct weir_loop *loop)
{
    return loop->is_blocked;
}
