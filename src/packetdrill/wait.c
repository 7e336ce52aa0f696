/* SPDX-License-Identifier: MIT */
/*
 * wait.c - two threads, one clock.
 *
 * packetdrill makes a call that is to block on a second thread, and goes on in its script. Only the
 * main thread moves the clock; the call waits here and looks again whenever something happened. It
 * takes its time of return with gettimeofday: until then the clock stands still, or packetdrill
 * would find that it came late. When nobody moves the clock for a while, because the script has
 * nothing left but this call, the call moves it itself.
 */
#include <errno.h>
#include <time.h>

#include "packetdrill/drill.h"

enum {
    /* Real time. packetdrill gives a blocking call 1 s when the script is at its end. */
    ANSWER_MS = 2000,
    SILENCE_MS = 700
};

/* Longest that one call lets the clock run: timers that begin again and again are no hope. */
static const weir_nsec patience = 86400 * WEIR_SEC;

/* This thread was woken, and has not asked for the time yet. */
static _Thread_local bool is_woken;

bool weir_drill_wait_open(struct weir_drill *drill)
{
    pthread_condattr_t monotonic;
    drill->owner = pthread_self();
    drill->deadline = WEIR_NEVER;
    return pthread_mutex_init(&drill->lock, NULL) == 0 && pthread_condattr_init(&monotonic) == 0 &&
           pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
           pthread_cond_init(&drill->changed, &monotonic) == 0 &&
           pthread_cond_init(&drill->settled, &monotonic) == 0 &&
           pthread_condattr_destroy(&monotonic) == 0;
}

void weir_drill_wait_close(struct weir_drill *drill)
{
    (void)pthread_cond_destroy(&drill->settled);
    (void)pthread_cond_destroy(&drill->changed);
    (void)pthread_mutex_destroy(&drill->lock);
}

bool weir_drill_is_owner(const struct weir_drill *drill)
{
    return pthread_equal(drill->owner, pthread_self()) != 0;
}

/* This thread does not hold up the clock any more. */
static void answer(struct weir_drill *drill)
{
    if (is_woken && drill->awake > 0) {
        drill->awake--;
        (void)pthread_cond_signal(&drill->settled);
    }
    is_woken = false;
}

void weir_drill_enter(struct weir_drill *drill)
{
    (void)pthread_mutex_lock(&drill->lock);
    answer(drill);
    drill->limit = drill->now + patience;
}

void weir_drill_leave(struct weir_drill *drill)
{
    (void)pthread_mutex_unlock(&drill->lock);
}

static struct timespec real_time_in(long ms)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

void weir_drill_wake(struct weir_drill *drill)
{
    if (drill->asleep == 0) {
        return;
    }
    drill->wakes++;
    drill->awake += drill->asleep;
    drill->asleep = 0;
    drill->deadline = WEIR_NEVER;
    (void)pthread_cond_broadcast(&drill->changed);
}

void weir_drill_let_answer(struct weir_drill *drill)
{
    const struct timespec end = real_time_in(ANSWER_MS);
    while (drill->awake > 0) {
        if (pthread_cond_timedwait(&drill->settled, &drill->lock, &end) == ETIMEDOUT) {
            drill->awake = 0;
        }
    }
}

bool weir_drill_wait(struct weir_drill *drill, weir_nsec until)
{
    if (weir_drill_is_owner(drill)) {
        return weir_drill_step(drill, until);
    }
    answer(drill);
    const struct timespec end = real_time_in(SILENCE_MS);
    const uint64_t wakes = drill->wakes;
    int status = 0;
    drill->asleep++;
    if (until < drill->deadline) {
        drill->deadline = until;
    }
    while (drill->wakes == wakes && status == 0) {
        status = pthread_cond_timedwait(&drill->changed, &drill->lock, &end);
    }
    if (drill->wakes != wakes) {
        is_woken = true;
        return true;
    }
    if (--drill->asleep == 0) {
        drill->deadline = WEIR_NEVER;
    }
    return weir_drill_step(drill, until);
}
