/* SPDX-License-Identifier: MIT */
/*
 * input.c - segments in: whose is it, may it be, and what its flags say; then its text as events
 * are pulled.
 *
 * A batch is only remembered by input; event() reads on in it until there is something to hand out.
 * So no queue of events exists, whatever a peer sends, and data is handed out straight from where
 * it was received.
 * Spec: RFC 9293 3.10.7, whose steps keep their order here; RFC 5961; RFC 7323 5.
 */
#include "tcp/internal.h"

/* RFC 7323 5.5: a timestamp that old proves nothing any more. */
static const weir_nsec paws_idle_max = (weir_nsec)24 * 24 * 3600 * WEIR_SEC;

void weir_tcp_set_now(struct weir_tcp *ep, weir_nsec now)
{
    if (now > ep->now) {
        ep->now = now;
    }
}

void weir_tcp_input(struct weir_tcp *ep, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    struct cursor *cursor = &ep->cursor;
    /* The one that is being read is dropped in part. */
    ep->stats.drops[WEIR_TCP_DROP_UNDRAINED] +=
        cursor->count - cursor->index + (cursor->awake != NULL);
    weir_tcp_release_borrowed(ep);
    weir_tcp_set_now(ep, now);
    ep->stats.packets_received += count;
    cursor->packets = packets;
    cursor->count = count;
    cursor->index = 0;
    cursor->awake = NULL;
    cursor->path_last = NULL;
}

uint32_t weir_tcp_timestamp(const struct awake *awake)
{
    return (uint32_t)(awake->ep->now / WEIR_MSEC) + awake->ts_offset;
}

/* --- challenge ACKs --------------------------------------------------------------------------- */

/* RFC 5961 7: so many a second for all connections; the number is not sharp, so that nobody can
 * count with it. */
bool weir_tcp_may_answer(struct weir_tcp *ep, struct allowance *allowance)
{
    if (ep->now >= allowance->until) {
        uint32_t max = ep->config.tuning.challenges_max;
        allowance->until = ep->now + WEIR_SEC;
        allowance->left = max / 2 + (uint32_t)weir_prng_below(&ep->prng, max - max / 2 + 1U);
    }
    if (allowance->left == 0) {
        return false;
    }
    allowance->left--;
    return true;
}

/* So many of one connection in a second: two ends that disagree fall silent. */
static bool may_repeat(struct awake *awake)
{
    enum {
        ANSWERS_MAX = 10
    };

    if (awake->ep->now >= awake->challenge_at) {
        awake->challenge_at = awake->ep->now + WEIR_SEC;
        awake->challenges = 0;
    }
    return awake->challenges < ANSWERS_MAX;
}

static void answer(struct awake *awake)
{
    awake->challenges++;
    awake->is_ack_wanted = true;
    weir_tcp_ready(awake);
}

void weir_tcp_challenge(struct awake *awake)
{
    struct weir_tcp *ep = awake->ep;
    if (may_repeat(awake) && weir_tcp_may_answer(ep, &ep->challenges)) {
        ep->stats.challenges_sent++;
        answer(awake);
    }
}

/* --- may it be? ------------------------------------------------------------------------------- */

/* RFC 9293 3.4: does any of it lie in the window? */
static bool is_in_window(const struct awake *awake, const struct weir_tcp_segment *segment)
{
    uint32_t window = awake->rcv_adv - awake->rcv_nxt;
    uint32_t length = weir_tcp_length(segment);
    int32_t start = weir_tcp_diff(segment->seq, awake->rcv_nxt);
    if (length == 0) {
        return window == 0 ? start == 0 : start >= 0 && (uint32_t)start < window;
    }
    return window > 0 && start < (int32_t)window && start + (int64_t)length > 0;
}

/* RFC 7323 3.2: agreed upon, but not there: dropped in silence (SHOULD), and no more (MUST NOT). */
static bool lacks_stamp(const struct awake *awake, const struct weir_tcp_segment *segment)
{
    return weir_tcp_has_options(awake, AGREED_TIMESTAMPS) &&
           (segment->options & WEIR_TCP_HAS_TIMESTAMPS) == 0 &&
           (segment->flags & WEIR_TCP_RST) == 0;
}

/* RFC 7323 5.3 R1: an old timestamp means an old segment. RST is not checked (SHOULD NOT). */
static bool is_old_stamp(const struct awake *awake, const struct weir_tcp_segment *segment)
{
    return weir_tcp_has_options(awake, AGREED_TIMESTAMPS) && awake->has_ts_recent &&
           (segment->options & WEIR_TCP_HAS_TIMESTAMPS) != 0 &&
           weir_tcp_diff(segment->ts_value, awake->ts_recent) < 0 &&
           (segment->flags & WEIR_TCP_RST) == 0 &&
           awake->ep->now - awake->ts_recent_at < paws_idle_max;
}

static void refuse_sequence(struct awake *awake, const struct weir_tcp_segment *segment,
                            enum weir_tcp_drop reason)
{
    uint32_t end = segment->seq + (uint32_t)segment->data.length;
    weir_tcp_count_drop(awake->ep, reason);
    /* RFC 9293 3.10.7.4: answered with an ACK, unless it is a RST. */
    if ((segment->flags & WEIR_TCP_RST) != 0) {
        return;
    }
    if ((segment->flags & WEIR_TCP_SYN) != 0) {
        weir_tcp_challenge(awake);
        return;
    }
    if (segment->data.length == 0) {
        /* Keepalives and probes of windows look like this: their answers are no other connection's
         * to use up. */
        if (may_repeat(awake)) {
            answer(awake);
        }
        return;
    }
    /* RFC 2883 4: the peer is told what it sent in vain. */
    if (weir_tcp_has_options(awake, AGREED_SACK) && weir_tcp_diff(end, awake->rcv_nxt) <= 0) {
        awake->has_dsack = true;
        awake->dsack = (struct weir_tcp_sack){segment->seq, end};
    }
    awake->is_ack_wanted = true;
    weir_tcp_ready(awake);
}

/* RFC 9293 3.10.7.4, first. false: that was all. */
static bool check_sequence(struct awake *awake, const struct weir_tcp_segment *segment)
{
    if (lacks_stamp(awake, segment)) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_PAWS);
        return false;
    }
    if (is_old_stamp(awake, segment)) {
        refuse_sequence(awake, segment, WEIR_TCP_DROP_PAWS);
        return false;
    }
    if (is_in_window(awake, segment)) {
        return true;
    }
    /* With the window closed, ACKs of segments at its edge still count (MUST-66). */
    bool is_edge = awake->rcv_adv == awake->rcv_nxt && segment->seq == awake->rcv_nxt &&
                   (segment->flags & (WEIR_TCP_RST | WEIR_TCP_SYN)) == 0;
    refuse_sequence(awake, segment, WEIR_TCP_DROP_SEQUENCE);
    if (is_edge) {
        awake->is_ack_wanted = true;
        weir_tcp_ready(awake);
    }
    return is_edge;
}

/* --- flags ------------------------------------------------------------------------------------ */

static void on_reset(struct awake *awake, const struct weir_tcp_segment *segment)
{
    struct weir_tcp *ep = awake->ep;
    /* RFC 5961 3.2: only the very next number resets; others in the window may be forged. */
    if (segment->seq != awake->rcv_nxt) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_CHALLENGE);
        weir_tcp_challenge(awake);
        return;
    }
    ep->stats.resets_received++;
    /* RFC 9293 3.10.7.4, second: in LAST-ACK and CLOSING no error; but only FIN may be unsaid. */
    if ((awake->state == WEIR_TCP_STATE_LAST_ACK || awake->state == WEIR_TCP_STATE_CLOSING) &&
        awake->snd_una == awake->queue_end) {
        awake->is_fin_acked = true;
    }
    if (awake->is_ended || (awake->is_fin_acked && awake->is_peer_done)) {
        /* Both sides had everything; the user may still have to take it. */
        awake->state = WEIR_TCP_STATE_CLOSED;
        awake->is_ack_wanted = false;
        weir_tcp_end_if_done(awake);
        weir_tcp_conn_settle(awake);
        return;
    }
    bool is_opening = awake->state == WEIR_TCP_STATE_SYN_RECEIVED && awake->fast != FAST_ACCEPTED;
    if (awake->state == WEIR_TCP_STATE_SYN_RECEIVED && !is_opening) {
        weir_tcp_fast_on_reset(ep);
    }
    weir_tcp_conn_end(awake, is_opening ? WEIR_TCP_CAUSE_REFUSED : WEIR_TCP_CAUSE_RESET);
}

/* RFC 7323 4.3 (2), (3): the timestamp to echo is that of the segment that the last ACK sent waits
 * for. */
static void take_stamp(struct awake *awake, const struct weir_tcp_segment *segment)
{
    if (weir_tcp_has_options(awake, AGREED_TIMESTAMPS) &&
        (segment->options & WEIR_TCP_HAS_TIMESTAMPS) != 0 &&
        weir_tcp_diff(segment->seq, awake->ack_sent) <= 0) {
        awake->ts_recent = segment->ts_value;
        awake->ts_recent_at = awake->ep->now;
        awake->has_ts_recent = true;
    }
}

/* RFC 9293 3.10.7.4, fifth, in SYN-RECEIVED. */
static bool on_opening_ack(struct awake *awake, const struct weir_tcp_segment *segment)
{
    if (!weir_tcp_is_opening_ack(awake, segment->ack)) {
        weir_tcp_count_drop(awake->ep, WEIR_TCP_DROP_ACK);
        weir_tcp_reply_reset(awake->ep, &awake->path, segment);
        return false;
    }
    weir_tcp_establish(awake, segment);
    return true;
}

static void on_fin_acked(struct awake *awake)
{
    awake->is_fin_acked = true;
    switch (awake->state) {
    case WEIR_TCP_STATE_FIN_WAIT_1:
        awake->state = WEIR_TCP_STATE_FIN_WAIT_2;
        weir_tcp_sweep_plan(awake->ep);
        break;
    case WEIR_TCP_STATE_CLOSING:
        awake->state = WEIR_TCP_STATE_TIME_WAIT;
        break;
    case WEIR_TCP_STATE_LAST_ACK:
        awake->state = WEIR_TCP_STATE_CLOSED;
        break;
    default:
        break;
    }
    weir_tcp_end_if_done(awake);
}

static void on_urgent(struct awake *awake, const struct weir_tcp_segment *segment)
{
    /* RFC 9293 3.8.5: the pointer names the last urgent byte, as everybody takes it the one behind
     * (RFC 6093 2.1). */
    uint32_t end = segment->seq + segment->urgent;
    if (weir_tcp_diff(end, awake->rcv_nxt) <= 0) {
        return;
    }
    /* MUST-32: the user learns of it when there was none, and when it reaches further. */
    if (!awake->is_urgent_in || weir_tcp_diff(end, awake->rcv_up) > 0) {
        awake->rcv_up = end;
        awake->is_urgent_in = true;
        weir_tcp_pend(awake, PENDING_URGENT);
    }
}

/* A SYN-ACK or SYN that repeats the one that is known: our answer was lost. */
static bool is_repeated_syn(const struct awake *awake, const struct weir_tcp_segment *segment)
{
    return awake->state == WEIR_TCP_STATE_SYN_RECEIVED && (segment->flags & WEIR_TCP_SYN) != 0 &&
           (segment->flags & WEIR_TCP_RST) == 0 && segment->seq == awake->irs;
}

/* The peer lives, and says what its packets met; not so what may be forged. */
static void on_acceptable(struct awake *awake, const struct weir_tcp_segment *segment,
                          const struct weir_packet *packet)
{
    uint32_t full =
        packet->segment_bytes != 0 ? packet->segment_bytes : (uint32_t)segment->data.length;
    /* RFC 9293 3.8.6.3: what is full for the peer, for every second one is acknowledged. */
    if (full > awake->rcv_mss) {
        awake->rcv_mss = (uint32_t)weir_min_u64(full, awake->ep->config.mtu_bytes);
    }
    awake->heard_at = awake->ep->now;
    awake->keepalives = 0;
    if (!weir_tcp_has_options(awake, AGREED_ECN)) {
        return;
    }
    /* RFC 3168 6.1.3: ECE in every ACK from a mark until the peer says CWR. */
    if ((segment->flags & WEIR_TCP_CWR) != 0) {
        awake->is_ece_echoed = false;
    }
    if (packet->ecn == WEIR_ECN_CE) {
        awake->is_ece_echoed = true;
        awake->is_ack_wanted = true;
    }
}

/* What comes before the text. true: read the text and the FIN. */
static bool on_synchronized(struct awake *awake, struct weir_tcp_segment *segment,
                            const struct weir_packet *packet)
{
    struct weir_tcp *ep = awake->ep;
    if (is_repeated_syn(awake, segment)) {
        if ((segment->flags & WEIR_TCP_ACK) == 0) {
            awake->is_syn_wanted = true;
            weir_tcp_ready(awake);
            return false;
        }
        /* Of a simultaneous open: it acknowledges ours. */
        segment->flags &= (uint8_t)~WEIR_TCP_SYN;
        segment->seq++;
    }
    if (!check_sequence(awake, segment)) {
        return false;
    }
    on_acceptable(awake, segment, packet);
    if ((segment->flags & WEIR_TCP_RST) != 0) {
        on_reset(awake, segment);
        return false;
    }
    if ((segment->flags & WEIR_TCP_SYN) != 0) {
        /* RFC 5961 4.2, whatever its number (MUST). */
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_CHALLENGE);
        weir_tcp_challenge(awake);
        return false;
    }
    if ((segment->flags & WEIR_TCP_ACK) == 0) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_FLAGS);
        return false;
    }
    if (awake->state == WEIR_TCP_STATE_SYN_RECEIVED && !on_opening_ack(awake, segment)) {
        return false;
    }
    if (!weir_tcp_on_ack(awake, segment)) {
        return false;
    }
    take_stamp(awake, segment);
    weir_tcp_take_user_timeout(awake, segment);
    if (awake->is_fin_sent && !awake->is_fin_acked && awake->snd_una == awake->queue_end + 1) {
        on_fin_acked(awake);
    }
    if ((segment->flags & WEIR_TCP_URG) != 0 && !awake->has_peer_fin) {
        on_urgent(awake, segment);
    }
    return segment->data.length > 0 || (segment->flags & WEIR_TCP_FIN) != 0;
}

/* --- segments --------------------------------------------------------------------------------- */

/* Its timer, and its turn in output. */
static void end_segment(struct awake *awake)
{
    if (awake->conn == NULL || awake->is_done) {
        return;
    }
    if (awake->is_ack_wanted || awake->lost > 0 || weir_tcp_unsent(awake) > 0 ||
        (awake->is_closing && !awake->is_fin_sent)) {
        weir_tcp_ready(awake);
    }
    weir_tcp_set_timer(awake);
}

static void on_segment(struct awake *awake, const struct weir_packet *packet)
{
    struct weir_tcp *ep = awake->ep;
    struct weir_tcp_segment *segment = &ep->cursor.segment;
    bool has_more = false;
    if (awake->state == WEIR_TCP_STATE_SYN_SENT) {
        has_more = weir_tcp_on_syn_sent(awake, segment);
        segment->seq++; /* text comes behind the SYN */
        segment->flags &= (uint8_t)~WEIR_TCP_SYN;
    } else if (awake->state != WEIR_TCP_STATE_CLOSED) {
        has_more = on_synchronized(awake, segment, packet);
    } else {
        weir_tcp_reply_reset(ep, &awake->path, segment);
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_CLOSED);
    }
    if (has_more && awake->conn != NULL && awake->state != WEIR_TCP_STATE_CLOSED) {
        ep->cursor.awake = awake;
    } else {
        end_segment(awake);
    }
}

/* The connection of a segment that is not the one before's. NULL: it is answered or dropped. */
static struct awake *choose(struct weir_tcp *ep, const struct weir_packet *packet)
{
    const struct weir_tcp_segment *segment = &ep->cursor.segment;
    struct weir_path path = *packet->path;
    path.local.port = segment->target;
    path.remote.port = segment->source;
    if (!weir_tcp_is_address(&path.remote) || !weir_tcp_is_address(&path.local) ||
        path.remote.family != path.local.family || segment->source == 0 || segment->target == 0) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_ADDRESS);
        return NULL;
    }
    struct weir_tcp_conn *conn = weir_tcp_conn_find(ep, &path);
    if (conn == NULL) {
        return weir_tcp_on_stranger(ep, &path, segment);
    }
    uint8_t code = weir_tcp_record(ep, conn)->code;
    if (code >= CODE_TIME_WAIT && code <= CODE_TIME_WAIT_NEW) {
        weir_tcp_on_time_wait(ep, conn, &path, segment);
        return NULL;
    }
    struct awake *awake = weir_tcp_conn_wake(ep, conn);
    if (awake == NULL) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_NO_ROOM);
    }
    return awake;
}

static void arrive(struct weir_tcp *ep, const struct weir_packet *packet)
{
    struct cursor *cursor = &ep->cursor;
    struct weir_span bytes = weir_span_of(packet->data, packet->length);
    if (!weir_tcp_decode(bytes, &cursor->segment)) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_HEADER);
        return;
    }
    if (!packet->is_checked && !weir_tcp_is_checksum_right(bytes, packet->path)) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_CHECKSUM);
        return;
    }
    uint32_t ports = weir_load32(packet->data);
    if (cursor->awake_last == NULL || cursor->path_last != packet->path ||
        cursor->ports_last != ports) {
        cursor->awake_last = choose(ep, packet);
        cursor->path_last = packet->path;
        cursor->ports_last = ports;
        if (cursor->awake_last == NULL) {
            return;
        }
    }
    struct awake *awake = cursor->awake_last;
    on_segment(awake, packet);
}

bool weir_tcp_input_next(struct weir_tcp *ep)
{
    struct cursor *cursor = &ep->cursor;
    if (cursor->index == cursor->count) {
        return false;
    }
    const struct weir_packet *packet = &cursor->packets[cursor->index++];
    ep->stats.bytes_received += packet->length;
    if (packet->protocol == WEIR_PROTOCOL_UNREACHED) {
        weir_tcp_on_unreached(ep, packet);
    } else {
        arrive(ep, packet);
    }
    return true;
}

bool weir_tcp_input_continue(struct weir_tcp *ep, struct weir_tcp_event *event)
{
    struct cursor *cursor = &ep->cursor;
    struct awake *awake = cursor->awake;
    bool has_event = false;
    cursor->awake = NULL;
    if (cursor->segment.data.length > 0) {
        has_event = weir_tcp_receive_text(awake, &cursor->segment, event);
    }
    if ((cursor->segment.flags & WEIR_TCP_FIN) != 0 && !awake->is_ended) {
        weir_tcp_receive_fin(awake, &cursor->segment);
    }
    end_segment(awake);
    return has_event;
}
