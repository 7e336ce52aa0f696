/* SPDX-License-Identifier: MIT */
/*
 * mtu.c - how large a segment the path takes: what the network says, and what timeouts let suspect.
 *
 * Spec: RFC 1191 and RFC 8201 (messages), RFC 5927 4 (their sequence number is checked), RFC 4821
 * 7.7 (black holes), RFC 9293 3.7.2, 3.9.2.2.
 */
#include "tcp/internal.h"

enum {
    QUOTED_BYTES_MIN = 8, /* ports and sequence number */
    MTU_LEAST4 = 552,     /* less would be an attack (RFC 5927 7); RFC 791 asks for 68 */
    MTU_LEAST6 = 1280,    /* RFC 8200 5 */
    BLACK_HOLE_TIMEOUTS = 3
};

static const weir_nsec raise_after = 60 * WEIR_SEC; /* loss may have looked like it */

void weir_tcp_set_mss(struct awake *awake, uint32_t mss)
{
    awake->mss = mss;
    weir_cc_set_mss(&awake->cc, weir_tcp_full_segment(awake));
}

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

static void on_too_big(struct awake *awake, uint32_t mtu)
{
    uint32_t least = awake->is_6 ? MTU_LEAST6 : MTU_LEAST4;
    uint32_t mss = (mtu > least ? mtu : least) - (awake->is_6 ? 60U : 40U);
    if (mss >= awake->mss || awake->ep->config.is_mtu_fixed) {
        return;
    }
    awake->ep->stats.mtu_reductions++;
    weir_tcp_set_mss(awake, mss);
    if (weir_tcp_is_synchronized(awake)) {
        resend_all(awake);
    }
}

/* RFC 5927 4.1: of what is in flight. */
static bool is_in_flight(const struct awake *awake, uint32_t seq)
{
    return !awake->is_ended && weir_tcp_diff(seq, awake->snd_una) >= 0 &&
           weir_tcp_diff(seq, awake->snd_nxt) < 0;
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
        /* RFC 9293 3.9.2.2: soft errors MUST NOT end it (MUST-56); they say why, when it ends. */
        awake->is_soft_error = true;
    }
    weir_tcp_set_timer(awake);
}

void weir_tcp_mtu_on_timeout(struct awake *awake)
{
    uint32_t less = awake->is_6 ? MSS_DEFAULT6 : 1024;
    if (awake->ep->config.is_mtu_fixed || awake->rto_shift < BLACK_HOLE_TIMEOUTS) {
        return;
    }
    if (awake->mss <= less) {
        less = awake->is_6 ? MSS_DEFAULT6 : MSS_DEFAULT;
    }
    if (awake->mss > less) {
        awake->mtu_mss = awake->mtu_mss != 0 ? awake->mtu_mss : awake->mss;
        awake->mtu_raise_at = awake->ep->now + raise_after;
        awake->ep->stats.mtu_reductions++;
        weir_tcp_set_mss(awake, less);
    }
}

void weir_tcp_mtu_on_progress(struct awake *awake)
{
    /* A larger size is tried again; if nothing comes of it the timeouts tell. */
    if (awake->mtu_mss != 0 && awake->ep->now >= awake->mtu_raise_at) {
        weir_tcp_set_mss(awake, awake->mtu_mss);
        awake->mtu_mss = 0;
    }
}
