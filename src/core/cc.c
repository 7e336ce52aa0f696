/* SPDX-License-Identifier: MIT */
/*
 * cc.c - the controllers behind one interface, and the delivery-rate sampling that they share.
 *
 * Spec: RFC 9002 sections 7.2, 7.7, 7.8; draft-ietf-ccwg-bbr section 4.1.
 */
#include "core/cc.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "core/cc_internal.h"
#include "core/scale.h"

static const struct weir_cc_ops none_ops = {.name = "none"};

static const struct weir_cc_ops *const controllers[] = {
    [WEIR_CC_CUBIC] = &weir_cc_cubic_ops,
    [WEIR_CC_BBR] = &weir_cc_bbr_ops,
    [WEIR_CC_NEWRENO] = &weir_cc_newreno_ops,
    [WEIR_CC_NONE] = &none_ops,
};

enum {
    KIND_COUNT = sizeof(controllers) / sizeof(controllers[0])
};

static const struct weir_cc_ops *ops_of(const struct weir_cc *cc)
{
    return controllers[cc->kind];
}

const char *weir_cc_text(enum weir_cc_kind kind)
{
    WEIR_ASSERT((unsigned)kind < KIND_COUNT);
    return controllers[kind]->name;
}

enum weir_status weir_cc_parse(const char *name, enum weir_cc_kind *kind)
{
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        if (strcmp(name, controllers[i]->name) == 0) {
            *kind = (enum weir_cc_kind)i;
            return WEIR_OK;
        }
    }
    return WEIR_ERR_INVALID;
}

uint64_t weir_cc_window_initial(const struct weir_cc *cc)
{
    /* RFC 9002 7.2: 10 datagrams, at most the larger of 14,720 bytes and 2 datagrams (SHOULD). */
    uint64_t limit = weir_max_u64(14720, weir_cc_window_min(cc));
    return weir_min_u64(10 * (uint64_t)cc->mss_bytes, limit);
}

void weir_cc_init(struct weir_cc *cc, enum weir_cc_kind kind, uint32_t mss_bytes, weir_nsec now,
                  uint64_t seed)
{
    WEIR_ASSERT(mss_bytes > 0 && mss_bytes <= UINT16_MAX && (unsigned)kind < KIND_COUNT);
    *cc = (struct weir_cc){.kind = kind, .mss_bytes = mss_bytes};
    cc->rate.delivered_time = now;
    cc->rate.first_sent_time = now;
    cc->window_bytes = weir_cc_window_initial(cc);
    cc->ssthresh_bytes = UINT64_MAX;
    weir_prng_init(&cc->prng, seed);
    if (kind == WEIR_CC_NONE) {
        cc->window_bytes = UINT64_MAX;
    } else {
        ops_of(cc)->init(cc, now);
    }
}

void weir_cc_set_mss(struct weir_cc *cc, uint32_t mss_bytes)
{
    WEIR_ASSERT(mss_bytes > 0 && mss_bytes <= UINT16_MAX);
    bool is_untouched = cc->rate.delivered_bytes == 0 && cc->rate.lost_bytes == 0;
    cc->mss_bytes = mss_bytes;
    if (cc->kind == WEIR_CC_NONE) {
        return;
    }
    /* RFC 9002 7.2: the initial window is computed again with the new size (SHOULD). All later
     * windows are in bytes, which the path carries in packets of any size. */
    if (is_untouched) {
        cc->window_bytes = weir_cc_window_initial(cc);
    }
    cc->window_bytes = weir_max_u64(cc->window_bytes, weir_cc_window_min(cc));
    cc->ssthresh_bytes = weir_max_u64(cc->ssthresh_bytes, weir_cc_window_min(cc));
}

/* How far below the window data in flight may be and still count as filling it. RFC 9002 7.8 wants
 * no growth of an underused window, and no punishment for pacing. In slow start the window doubles
 * while a flight is on its way, so half of it must do; in congestion avoidance an eighth is left
 * for bursts. So a window never grows beyond 2 times, later 8/7 of, what was really in flight. */
static uint64_t window_slack(const struct weir_cc *cc)
{
    if (cc->kind == WEIR_CC_BBR) {
        return cc->mss_bytes;
    }
    uint64_t part = cc->window_bytes < cc->ssthresh_bytes ? 2 : 8;
    return weir_max_u64(cc->window_bytes / part, cc->mss_bytes);
}

void weir_cc_on_sent(struct weir_cc *cc, weir_nsec now, uint32_t size_bytes,
                     uint64_t in_flight_bytes, struct weir_cc_packet *packet)
{
    struct weir_cc_rate *rate = &cc->rate;
    /* BBR draft 4.1.2.2: a new flight starts its own sampling interval. */
    if (in_flight_bytes == 0) {
        weir_cc_on_idle_restart(cc, now);
    }
    uint64_t in_flight_after = in_flight_bytes + size_bytes;
    if (weir_add_saturated(in_flight_after, window_slack(cc)) > cc->window_bytes) {
        rate->window_limited_until = rate->delivered_bytes + in_flight_after;
    }
    *packet = (struct weir_cc_packet){
        .delivered_bytes = rate->delivered_bytes,
        .delivered_time = rate->delivered_time,
        .first_sent_time = rate->first_sent_time,
        .sent_time = now,
        .lost_bytes = rate->lost_bytes,
        .in_flight_bytes = (uint32_t)weir_min_u64(in_flight_after, UINT32_MAX),
        .size_bytes = size_bytes,
        .is_app_limited = rate->app_limited_until != 0,
    };
}

void weir_cc_on_app_limited(struct weir_cc *cc, uint64_t in_flight_bytes)
{
    /* BBR draft 4.1.2.4: only when the window would have let more out. */
    if (in_flight_bytes < cc->window_bytes) {
        cc->rate.app_limited_until = weir_max_u64(cc->rate.delivered_bytes + in_flight_bytes, 1);
    }
}

/* BBR draft 4.1.2.3: counts the delivery and takes the rate of the newest packet's flight. */
static struct weir_cc_sample sample_rate(struct weir_cc_rate *rate, const struct weir_cc_ack *ack)
{
    const struct weir_cc_packet *newest = ack->newest;
    rate->delivered_bytes += ack->acked_bytes;
    rate->delivered_time = ack->now;
    rate->first_sent_time = newest->sent_time;
    if (rate->app_limited_until != 0 && rate->delivered_bytes > rate->app_limited_until) {
        rate->app_limited_until = 0;
    }
    struct weir_cc_sample sample = {
        .delivered_bytes = rate->delivered_bytes - newest->delivered_bytes,
        .lost_bytes = rate->lost_bytes - newest->lost_bytes,
    };
    weir_nsec interval = weir_max_u64(newest->sent_time - newest->first_sent_time,
                                      ack->now - newest->delivered_time);
    /* Shorter than any round trip: aggregation, not a rate. */
    bool is_reliable = interval > 0 && (!ack->rtt->has_sample || interval >= ack->rtt->min);
    if (is_reliable) {
        sample.rate = weir_scale(sample.delivered_bytes, WEIR_SEC, interval);
    }
    return sample;
}

void weir_cc_on_ack(struct weir_cc *cc, const struct weir_cc_ack *ack)
{
    WEIR_ASSERT(ack->newest != NULL && ack->rtt != NULL);
    struct weir_cc_sample sample = sample_rate(&cc->rate, ack);
    if (ack->rtt->has_sample) {
        cc->smoothed_rtt = ack->rtt->smoothed;
    }
    if (ops_of(cc)->on_ack != NULL) {
        ops_of(cc)->on_ack(cc, ack, &sample);
    }
}

void weir_cc_on_untimed(struct weir_cc *cc, weir_nsec now, uint64_t bytes)
{
    cc->rate.delivered_bytes += bytes;
    cc->rate.delivered_time = now;
}

bool weir_cc_on_loss(struct weir_cc *cc, const struct weir_cc_loss *loss)
{
    WEIR_ASSERT(loss->newest != NULL);
    cc->rate.lost_bytes += loss->lost_bytes;
    /* What is lost is never delivered: the flight that filled the window ends earlier. */
    cc->rate.window_limited_until -= weir_min_u64(loss->lost_bytes, cc->rate.window_limited_until);
    if (ops_of(cc)->on_loss != NULL) {
        ops_of(cc)->on_loss(cc, loss);
    }
    bool is_new = cc->episode_lost == 0;
    /* After the controller, which starts from 0 when this loss opens a new episode. */
    cc->episode_lost += (loss->lost_bytes + cc->mss_bytes - 1) / cc->mss_bytes;
    return is_new;
}

void weir_cc_on_spurious_loss(struct weir_cc *cc, weir_nsec now)
{
    (void)now;
    if (cc->episode_lost == 0 || --cc->episode_lost > 0) {
        return;
    }
    if (ops_of(cc)->on_spurious_loss != NULL) {
        ops_of(cc)->on_spurious_loss(cc);
    }
}

void weir_cc_on_idle_restart(struct weir_cc *cc, weir_nsec now)
{
    /* NewReno and CUBIC keep their window: RFC 9002 7.8 asks for no restart window, and pacing
     * takes the burst away that RFC 5681 4.1 guards against. */
    if (ops_of(cc)->on_idle_restart != NULL) {
        ops_of(cc)->on_idle_restart(cc, now);
    }
    cc->rate.first_sent_time = now;
    cc->rate.delivered_time = now;
}

void weir_cc_pace_window(struct weir_cc *cc, uint32_t percent)
{
    /* Until the first RTT sample there is nothing to spread the initial window over; RFC 9002 7.7
     * allows it as one burst. */
    if (cc->smoothed_rtt == 0) {
        cc->pacing_rate = 0;
        return;
    }
    uint64_t rate = weir_scale(cc->window_bytes, percent * (WEIR_SEC / 100), cc->smoothed_rtt);
    cc->pacing_rate = weir_max_u64(rate, 1);
}

uint64_t weir_cc_send_quantum(const struct weir_cc *cc)
{
    const uint64_t largest = 65536;
    uint64_t quantum = cc->pacing_rate == 0 ? largest : cc->pacing_rate / 1000;
    return weir_max_u64(weir_min_u64(quantum, largest), weir_cc_window_min(cc));
}

const char *weir_cc_state_text(const struct weir_cc *cc)
{
    return ops_of(cc)->state_text != NULL ? ops_of(cc)->state_text(cc) : "none";
}
