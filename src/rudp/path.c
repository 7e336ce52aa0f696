/* SPDX-License-Identifier: MIT */
/*
 * path.c - where the peer is, and how large a datagram may be on the way there.
 *
 * A new address is believed once it answers a challenge; until then everything goes to the old one
 * (RFC 9000 sections 8.2 and 9). Datagram sizes are searched by padded probes (RFC 8899).
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    CHALLENGES = 3,
    CHALLENGE_BYTES = WEIR_RUDP_DATA_HEADER_BYTES + 9 + WEIR_RUDP_TRAILER_BYTES,
    MTU_FAILURES = 3,
    MTU_STEP = 16
};

static const weir_nsec mtu_again_ns = 600 * WEIR_SEC; /* RFC 8899 5.1.1: raise timer */

/* --- address ---------------------------------------------------------------------------------- */

void weir_rudp_path_on_packet(struct weir_rudp_conn *conn, const struct weir_packet *packet,
                              bool is_newest)
{
    struct awake *awake = conn->awake;
    const struct weir_path *path = packet->path;
    if (weir_addr_is_equal(&path->remote, &conn->path.remote)) {
        if (is_newest) {
            conn->path.local = path->local;
        }
        return;
    }
    /* RFC 9000 9.3: only the highest-numbered packet can announce a move. The latest address is the
     * candidate and replaces one that has not answered yet; a packet that announces one brings
     * about at most three times its own bytes in challenges. */
    bool is_known =
        awake->is_candidate_set && weir_addr_is_equal(&path->remote, &awake->candidate.remote);
    if (!is_newest || conn->state != STATE_OPEN || is_known) {
        return;
    }
    awake->candidate = *path;
    awake->is_candidate_set = true;
    awake->challenge = weir_prng_secret_next(&conn->endpoint->secret);
    /* RFC 9000 8: at most three times what came from there. */
    awake->challenges_left =
        (uint8_t)weir_min_u64(CHALLENGES, (uint64_t)3 * packet->length / CHALLENGE_BYTES);
    awake->challenge_at = conn->endpoint->now;
    weir_rudp_path_timer(conn, conn->endpoint->now);
}

static bool is_same_host(const struct weir_addr *a, const struct weir_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* RFC 9000 9.4: another host means another path; what is known of the old one is void, and what
 * is in flight there counts for nothing on the new one (MUST NOT), but that it arrives or not. */
static void start_over(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    conn->mtu_bytes = conn->endpoint->config.mtu_bytes_min;
    weir_cc_init(&awake->cc, conn->endpoint->config.cc, conn->mtu_bytes, conn->endpoint->now,
                 weir_prng_next(&conn->endpoint->prng));
    weir_rtt_init(&awake->rtt, weir_rudp_initial_rtt);
    conn->rtt_smoothed = conn->rtt_variance = 0;
    awake->path_number = conn->next_number;
    awake->in_flight_bytes = 0;
    for (struct packet *packet = awake->sent_first; packet != NULL; packet = packet->next) {
        packet->cc.size_bytes = 0;
    }
    conn->mtu_again_s = 0;
    weir_rudp_mtu_start(conn);
}

void weir_rudp_path_on_response(struct weir_rudp_conn *conn, uint64_t data)
{
    struct awake *awake = conn->awake;
    if (conn->state != STATE_OPEN || !awake->is_candidate_set || data != awake->challenge) {
        return;
    }
    bool is_rebinding = is_same_host(&awake->candidate.remote, &conn->path.remote);
    conn->path = awake->candidate;
    awake->is_candidate_set = awake->is_challenge_wanted = false;
    awake->challenge_at = WEIR_NEVER;
    if (!is_rebinding) {
        start_over(conn);
    }
    weir_rudp_conn_pend(conn, PENDING_MOVED);
    weir_rudp_conn_ready(conn);
}

void weir_rudp_path_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (!awake->is_candidate_set || now < awake->challenge_at) {
        return;
    }
    if (awake->challenges_left == 0) {
        awake->is_candidate_set = false;
        awake->challenge_at = WEIR_NEVER;
        return;
    }
    awake->challenges_left--;
    awake->challenge_at = now + weir_rudp_conn_pto(conn);
    awake->is_challenge_wanted = true;
    weir_rudp_conn_ready(conn);
}

/* --- datagram size ---------------------------------------------------------------------------- */

/* No search for a while, whether the connection sleeps in between or not. */
static void search_again_later(struct weir_rudp_conn *conn)
{
    weir_nsec at = conn->endpoint->now + mtu_again_ns;
    conn->awake->mtu.again = at;
    conn->mtu_again_s = (uint32_t)weir_min_u64(at / WEIR_SEC, UINT32_MAX);
}

static void next_probe(struct weir_rudp_conn *conn)
{
    struct mtu_search *mtu = &conn->awake->mtu;
    mtu->failures = 0;
    if (mtu->high < mtu->low + MTU_STEP) {
        mtu->probe_bytes = 0;
        search_again_later(conn);
        return;
    }
    mtu->again = WEIR_NEVER;
    mtu->probe_bytes = mtu->high;
    if (mtu->is_top_tried) {
        mtu->probe_bytes = (uint16_t)((mtu->low + mtu->high + 1) / 2);
    }
    weir_rudp_conn_ready(conn);
}

void weir_rudp_mtu_start(struct weir_rudp_conn *conn)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    struct mtu_search *mtu = &conn->awake->mtu;
    uint16_t high = config->mtu_bytes_max;
    if (conn->peer_datagram_bytes_max != 0 && conn->peer_datagram_bytes_max < high) {
        high = conn->peer_datagram_bytes_max;
    }
    *mtu = (struct mtu_search){.low = conn->mtu_bytes, .high = high, .again = WEIR_NEVER};
    if (high > mtu->low) {
        next_probe(conn);
    }
}

void weir_rudp_mtu_on_wake(struct weir_rudp_conn *conn)
{
    weir_nsec again = conn->mtu_again_s * WEIR_SEC;
    bool is_due = again <= conn->endpoint->now;
    conn->awake->mtu = (struct mtu_search){.low = conn->mtu_bytes,
                                           .high = conn->mtu_bytes,
                                           .is_due = is_due,
                                           .again = is_due ? WEIR_NEVER : again};
}

void weir_rudp_mtu_on_probe_acked(struct weir_rudp_conn *conn, uint32_t size)
{
    struct mtu_search *mtu = &conn->awake->mtu;
    mtu->is_in_flight = false;
    if (size > conn->mtu_bytes && size <= mtu->high) {
        conn->mtu_bytes = mtu->low = (uint16_t)size;
        weir_cc_set_mss(&conn->awake->cc, size);
        next_probe(conn);
    }
}

void weir_rudp_mtu_on_probe_lost(struct weir_rudp_conn *conn)
{
    struct mtu_search *mtu = &conn->awake->mtu;
    mtu->is_in_flight = false;
    if (mtu->probe_bytes == 0) {
        return; /* of a search that was given up since */
    }
    if (++mtu->failures < MTU_FAILURES) {
        return; /* the same size again: it may have been ordinary loss */
    }
    mtu->is_top_tried = true;
    mtu->high = (uint16_t)(mtu->probe_bytes - 1);
    next_probe(conn);
}

void weir_rudp_mtu_on_black_hole(struct weir_rudp_conn *conn)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    struct mtu_search *mtu = &conn->awake->mtu;
    if (conn->mtu_bytes == config->mtu_bytes_min) {
        return;
    }
    /* RFC 8899 4.3: back to the size that every path carries; search again later. */
    conn->mtu_bytes = config->mtu_bytes_min;
    weir_cc_set_mss(&conn->awake->cc, conn->mtu_bytes);
    *mtu =
        (struct mtu_search){.low = conn->mtu_bytes, .high = conn->mtu_bytes, .again = WEIR_NEVER};
    search_again_later(conn);
}
