/* SPDX-License-Identifier: MIT */
/*
 * congestion.c - how many segments may be in flight: KCP's own window, or a controller with pacing.
 *
 * KCP's own is counted in segments and grows once per datagram that moves una, as the reference's
 * does; both ends of a path can so be compared at equal settings.
 */
#include "kcp/internal.h"

enum {
    BURST_MAX = 4 * 65536 /* four runs a system call */
};

uint32_t weir_kcp_send_window(const struct awake *awake)
{
    const struct weir_kcp_tuning *tuning = &awake->conn->endpoint->config.tuning;
    uint64_t window = weir_min_u64(tuning->send_window, awake->peer_window);
    if (!tuning->is_window_fixed && awake->paced == NULL) {
        window = weir_min_u64(window, awake->cwnd);
    }
    return (uint32_t)window;
}

void weir_kcp_congestion_init(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    const weir_nsec initial_rtt = RTO_FIRST_MS * WEIR_MSEC;
    awake->cwnd = 1;
    awake->cwnd_bytes = ep->mss;
    awake->ssthresh = SSTHRESH_MIN;
    if (ep->config.cc == WEIR_CC_NONE) {
        return;
    }
    struct paced *paced = weir_pool_take(&ep->paceds);
    WEIR_ASSERT(paced != NULL); /* as many as control blocks */
    uint32_t mtu = ep->config.tuning.mtu_bytes;
    weir_cc_init(&paced->cc, ep->config.cc, mtu, ep->now, weir_prng_secret_next(&ep->secret));
    weir_pacer_init(&paced->pacer, 10 * mtu, BURST_MAX);
    weir_rtt_init(&paced->rtt, initial_rtt);
    paced->in_flight_bytes = 0;
    awake->paced = paced;
}

static void grow_slowly(struct awake *awake, uint32_t mss)
{
    if (awake->cwnd_bytes < mss) {
        awake->cwnd_bytes = mss;
    }
    awake->cwnd_bytes += mss * mss / awake->cwnd_bytes + mss / 16;
    if ((awake->cwnd + 1) * mss <= awake->cwnd_bytes) {
        awake->cwnd = (awake->cwnd_bytes + mss - 1) / mss;
    }
}

void weir_kcp_congestion_on_una(struct awake *awake)
{
    uint32_t mss = awake->conn->endpoint->mss;
    if (awake->cwnd >= awake->peer_window) {
        return;
    }
    if (awake->cwnd < awake->ssthresh) {
        awake->cwnd++;
        awake->cwnd_bytes += mss;
    } else {
        grow_slowly(awake, mss);
    }
    if (awake->cwnd > awake->peer_window) {
        awake->cwnd = awake->peer_window;
        awake->cwnd_bytes = awake->peer_window * mss;
    }
}

static uint32_t half_of(uint32_t segments)
{
    return segments / 2 > SSTHRESH_MIN ? segments / 2 : SSTHRESH_MIN;
}

void weir_kcp_congestion_on_flushed(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t window = weir_kcp_send_window(awake); /* of this flush */
    if (awake->is_changed) {
        awake->ssthresh = half_of(awake->snd_nxt - awake->snd_una);
        awake->cwnd = awake->ssthresh + ep->config.tuning.resend;
        awake->cwnd_bytes = awake->cwnd * ep->mss;
    }
    if (awake->is_lost) {
        awake->ssthresh = half_of(window);
        awake->cwnd = 1;
        awake->cwnd_bytes = ep->mss;
    }
    awake->is_changed = awake->is_lost = false;
}

/* --- with a controller ------------------------------------------------------------------------ */

static uint32_t wire_bytes(const struct slot *slot)
{
    return slot->length + (uint32_t)WEIR_KCP_HEADER_BYTES;
}

static struct weir_cc_packet *packet_of(const struct awake *awake, const struct slot *slot)
{
    return &awake->flight->cc[slot - awake->flight->slots];
}

bool weir_kcp_paced_may_send(struct awake *awake, uint32_t bytes)
{
    struct paced *paced = awake->paced;
    return (paced->in_flight_bytes + bytes <= paced->cc.window_bytes &&
            weir_pacer_allowance(&paced->pacer, awake->conn->endpoint->now,
                                 paced->cc.pacing_rate) >= bytes);
}

void weir_kcp_paced_on_sent(struct awake *awake, const struct slot *slot)
{
    struct paced *paced = awake->paced;
    uint32_t bytes = wire_bytes(slot);
    weir_cc_on_sent(&paced->cc, awake->conn->endpoint->now, bytes, paced->in_flight_bytes,
                    packet_of(awake, slot));
    weir_pacer_on_sent(&paced->pacer, bytes);
    paced->in_flight_bytes += bytes;
}

void weir_kcp_paced_on_acked(struct awake *awake, const struct slot *slot)
{
    struct cursor *cursor = &awake->conn->endpoint->cursor;
    const struct weir_cc_packet *packet = packet_of(awake, slot);
    awake->paced->in_flight_bytes -= wire_bytes(slot);
    if (cursor->acked_bytes == 0 || packet->sent_time >= cursor->newest.sent_time) {
        cursor->newest = *packet;
        cursor->is_newest_clean = slot->xmit == 1;
    }
    cursor->acked_bytes += wire_bytes(slot);
}

void weir_kcp_paced_on_lost(struct awake *awake, const struct slot *slot)
{
    struct paced *paced = awake->paced;
    if (paced == NULL) {
        return;
    }
    paced->in_flight_bytes -= wire_bytes(slot);
    const struct weir_cc_loss loss = {.now = awake->conn->endpoint->now,
                                      .lost_bytes = wire_bytes(slot),
                                      .in_flight_bytes = paced->in_flight_bytes,
                                      .newest = packet_of(awake, slot),
                                      .is_persistent = slot->xmit >= 3};
    weir_cc_on_loss(&paced->cc, &loss);
}

void weir_kcp_paced_on_datagram(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    struct cursor *cursor = &ep->cursor;
    struct paced *paced = awake->paced;
    if (cursor->acked_bytes == 0) {
        return;
    }
    /* Only of what was sent once is it known which transmission arrived. */
    weir_nsec sample = cursor->is_newest_clean ? ep->now - cursor->newest.sent_time : 0;
    if (sample > 0) {
        weir_rtt_sample(&paced->rtt, sample, 0);
    }
    const struct weir_cc_ack ack = {.now = ep->now,
                                    .acked_bytes = cursor->acked_bytes,
                                    .in_flight_bytes = paced->in_flight_bytes,
                                    .newest = &cursor->newest,
                                    .rtt = &paced->rtt,
                                    .rtt_sample = sample};
    weir_cc_on_ack(&paced->cc, &ack);
    cursor->acked_bytes = 0;
}

weir_nsec weir_kcp_paced_next(const struct awake *awake)
{
    const struct paced *paced = awake->paced;
    uint32_t bytes = awake->conn->endpoint->config.tuning.mtu_bytes;
    if (paced == NULL || paced->in_flight_bytes + bytes > paced->cc.window_bytes) {
        return WEIR_NEVER; /* an ACK or a timeout comes first */
    }
    return weir_pacer_next(&paced->pacer, paced->cc.pacing_rate, bytes);
}
