/* SPDX-License-Identifier: MIT */
/*
 * mtu.c - how large a segment the path takes: what the network says, what timeouts let suspect, and
 * what probes find out. And what else the network says of segments that did not get through.
 *
 *      |      passes       |   searched    |   too long for 10 minutes   |
 *      0                  mss          probe_high                    mss_max
 *
 * A connection begins with the longest segment. A word of the network, or a black hole, takes it
 * down; from there it is probed upwards: one segment of real data is made longer than the others,
 * while much data waits. First as long as at all, for the black hole may have been plain loss, then
 * half-way. A probe that is lost with nothing else beside it was too long.
 * Spec: RFC 1191 and RFC 8201 (messages), RFC 5927 4 (their sequence number is checked), RFC 4821
 * and RFC 8899 (probes, black holes), RFC 9293 3.7.2, 3.9.2.2, RFC 5461.
 */
#include "tcp/internal.h"

enum {
    QUOTED_BYTES_MIN = 8, /* ports and sequence number */
    MTU_LEAST4 = 552,     /* less would be an attack (RFC 5927 7); RFC 791 asks for 68 */
    MTU_LEAST6 = 1280,    /* RFC 8200 5 */
    BASE4 = 1160,         /* segment of BASE_PLPMTU, RFC 8899 5.1.2 */
    BLACK_HOLE_TIMEOUTS = 3,
    PROBE_STEP = 16 /* a smaller gain is not worth a probe */
};

/* RFC 1191 6.3, RFC 4821 7.3, PMTU_RAISE_TIMER of RFC 8899 5.1.1. */
static const weir_nsec raise_after = 600 * WEIR_SEC;
static const weir_nsec probe_after_hole = 5 * WEIR_SEC;

void weir_tcp_mtu_begin(struct awake *awake, uint32_t mss, uint32_t mss_max)
{
    awake->mss = mss;
    awake->mss_max = mss_max;
    awake->probe_high = mss;
    awake->probe_mss = 0;
    awake->raise_at = awake->ep->now + raise_after;
}

static void set_mss(struct awake *awake, uint32_t mss)
{
    awake->mss = mss;
    weir_cc_set_mss(&awake->cc, weir_tcp_full_segment(awake));
}

/* --- what the network says -------------------------------------------------------------------- */

/* The size says why nothing came: it is sent again at once, and congestion had no part in it. */
static void resend_all(struct awake *awake)
{
    while (awake->times.first != NULL) {
        weir_tcp_flight_mark_lost(awake, awake->times.first);
    }
    if (awake->recovery == RECOVERY_NONE && awake->lost > 0) {
        awake->recovery = RECOVERY_LOSS;
        awake->recovery_point = awake->snd_nxt;
    }
    weir_tcp_ready(awake);
}

static void resend_probe(struct awake *awake)
{
    struct segment *segment = awake->sequence.first;
    for (; segment != NULL; segment = segment->next) {
        bool is_probe = (segment->flags & SEGMENT_PROBE) != 0;
        segment->flags &= (uint8_t)~SEGMENT_PROBE;
        if (is_probe && (segment->flags & (SEGMENT_SACKED | SEGMENT_LOST)) == 0) {
            weir_tcp_flight_mark_lost(awake, segment);
        }
    }
    awake->probe_mss = 0;
    weir_tcp_ready(awake);
}

static void on_too_big(struct awake *awake, uint32_t mtu)
{
    uint32_t least = awake->is_6 ? MTU_LEAST6 : MTU_LEAST4;
    uint32_t mss = (mtu > least ? mtu : least) - (awake->is_6 ? 60U : 40U);
    bool is_probe = awake->probe_mss != 0 && mss < awake->probe_mss;
    if ((mss >= awake->mss && !is_probe) || awake->ep->config.is_mtu_fixed) {
        return;
    }
    awake->probe_high = mss;
    awake->raise_at = awake->ep->now + raise_after;
    if (is_probe) {
        resend_probe(awake);
    }
    if (mss >= awake->mss) {
        return;
    }
    awake->ep->stats.mtu_reductions++;
    set_mss(awake, mss);
    if (weir_tcp_is_synchronized(awake)) {
        resend_all(awake);
    } else if (awake->syn_data > 0) {
        awake->is_syn_wanted = true; /* without its data now */
        weir_tcp_ready(awake);
    }
}

/* RFC 5927 4.1: of what is in flight. */
static bool is_in_flight(const struct awake *awake, uint32_t seq)
{
    return !awake->is_ended && weir_tcp_diff(seq, awake->snd_una) >= 0 &&
           weir_tcp_diff(seq, awake->snd_nxt) < 0;
}

static bool is_hard(enum weir_unreached reason)
{
    return reason == WEIR_UNREACHED_PROTOCOL || reason == WEIR_UNREACHED_PORT ||
           reason == WEIR_UNREACHED_PROHIBITED;
}

static void on_error(struct awake *awake, enum weir_unreached reason)
{
    /* RFC 9293 3.9.2.2: soft errors MUST NOT end it (MUST-56); they say why, when it ends. Hard
     * ones SHOULD, but may be forged: they end what is not open yet, and only count as soft ones
     * afterwards (RFC 5927 5.2, RFC 5461 4.1). */
    awake->is_soft_error = true;
    if (is_hard(reason) && awake->state == WEIR_TCP_STATE_SYN_SENT) {
        weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_UNREACHABLE);
    }
}

void weir_tcp_on_unreached(struct weir_tcp *ep, const struct weir_packet *packet)
{
    struct weir_path path = *packet->path;
    if (packet->length < QUOTED_BYTES_MIN) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_UNREACHED);
        return;
    }
    path.local.port = weir_load16(packet->data);
    path.remote.port = weir_load16(packet->data + 2);
    struct weir_tcp_conn *conn = weir_tcp_conn_find(ep, &path);
    struct awake *awake = conn != NULL ? weir_tcp_awake_of(ep, conn) : NULL;
    if (awake == NULL || !is_in_flight(awake, weir_load32(packet->data + 4))) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_UNREACHED);
        return;
    }
    if (packet->mtu_bytes != 0) {
        on_too_big(awake, packet->mtu_bytes);
    } else {
        on_error(awake, (enum weir_unreached)packet->unreached);
    }
    if (!awake->is_ended) {
        weir_tcp_set_timer(awake);
    }
}

/* --- black holes ------------------------------------------------------------------------------ */

void weir_tcp_mtu_on_timeout(struct awake *awake)
{
    uint32_t base = awake->is_6 ? MSS_DEFAULT6 : BASE4;
    uint32_t least = awake->is_6 ? MSS_DEFAULT6 : MSS_DEFAULT;
    uint32_t length = awake->sequence.first->length;
    /* RFC 4821 7.7, RFC 8899 5.2: to the base, and when that does not pass to the least. */
    uint32_t less = awake->mss > base && length > base ? base : least;
    /* What is short already was not lost for its length; nor, it seems, was what passed before. */
    bool is_patient = less == least && awake->passed >= length;
    unsigned timeouts = BLACK_HOLE_TIMEOUTS * (is_patient ? 2 : 1);
    if (awake->ep->config.is_mtu_fixed || awake->timeouts_row < timeouts || awake->mss <= less ||
        length <= less) {
        return;
    }
    awake->ep->stats.mtu_reductions++;
    awake->probe_high = awake->mss_max;
    awake->probe_at = awake->ep->now + probe_after_hole;
    awake->passed = 0;
    set_mss(awake, less);
}

/* --- probes ----------------------------------------------------------------------------------- */

static bool is_searching(struct awake *awake)
{
    if (awake->probe_high >= awake->mss + PROBE_STEP) {
        return true;
    }
    if (awake->ep->now < awake->raise_at) {
        return false;
    }
    awake->probe_high = awake->mss_max;
    awake->raise_at = awake->ep->now + raise_after;
    return awake->probe_high >= awake->mss + PROBE_STEP;
}

/* RFC 4821 7.4: no probe and no loss is outstanding, and enough follows to tell its loss. */
static bool may_probe(const struct awake *awake, uint32_t mss)
{
    /* With SACK the time of what follows shows a loss (RFC 8985), without its count. */
    uint32_t followers = weir_tcp_has_options(awake, AGREED_SACK) ? 1 : DUPACKS;
    uint32_t need = mss + followers * awake->mss;
    int32_t room = weir_tcp_diff(awake->snd_una + awake->snd_wnd, awake->snd_nxt);
    return awake->probe_mss == 0 && awake->ep->now >= awake->probe_at &&
           awake->recovery == RECOVERY_NONE && awake->lost == 0 && awake->sacked == 0 &&
           awake->dupacks == 0 && !awake->is_tail_wanted && weir_tcp_is_synchronized(awake) &&
           room >= (int64_t)need && weir_tcp_unsent(awake) >= need &&
           weir_tcp_loss_window(awake) >= need;
}

uint32_t weir_tcp_mtu_probe(struct awake *awake)
{
    if (awake->mss + PROBE_STEP > awake->mss_max || awake->ep->config.is_mtu_fixed ||
        !is_searching(awake)) {
        return 0;
    }
    uint32_t mss = awake->probe_high;
    if (mss < awake->mss_max) {
        mss = (awake->mss + awake->probe_high + 1) / 2;
    }
    return may_probe(awake, mss) ? mss : 0;
}

void weir_tcp_mtu_on_probe_sent(struct awake *awake, uint32_t mss)
{
    awake->probe_mss = mss;
    awake->ep->stats.mtu_probes++;
}

void weir_tcp_mtu_on_probe_arrived(struct awake *awake)
{
    if (awake->probe_mss > awake->mss) {
        set_mss(awake, awake->probe_mss);
        awake->probe_at = 0;
        awake->raise_at = awake->ep->now + raise_after;
    }
    awake->probe_mss = 0;
}

void weir_tcp_mtu_on_probe_lost(struct awake *awake, bool is_alone, bool is_timeout)
{
    enum {
        ROUNDS_MAX = 1024
    };

    /* RFC 4821 7.6.2, 7.6.3: the next one no sooner than a loss could be expected (MUST): as many
     * round trips as segments fit the window; after a timeout five times that. */
    uint64_t rounds = weir_tcp_loss_window(awake) / awake->mss;
    rounds = weir_max_u64(weir_min_u64(rounds, ROUNDS_MAX), 1) * (is_timeout ? 5 : 1);
    weir_nsec round = awake->rtt.has_sample ? awake->rtt.smoothed : weir_tcp_rto_first;
    awake->probe_at = awake->ep->now + weir_min_u64(round * rounds, raise_after);
    awake->ep->stats.mtu_probes_lost++;
    if (is_alone && awake->probe_mss > awake->mss) {
        awake->probe_high = awake->probe_mss - 1;
        awake->raise_at = awake->ep->now + raise_after;
    }
    awake->probe_mss = 0;
}
