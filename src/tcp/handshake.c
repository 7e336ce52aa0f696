/* SPDX-License-Identifier: MIT */
/*
 * handshake.c - connections begin: strangers' segments, SYN and its answer, simultaneous open; and
 * begin again where TIME-WAIT has not passed.
 */
#include <string.h>

#include "tcp/internal.h"

/* --- numbers ---------------------------------------------------------------------------------- */

uint32_t weir_tcp_initial_number(const struct weir_tcp *ep, const struct weir_path *path)
{
    /* RFC 6528 3: a clock of 4 us (MUST, RFC 9293 3.4.1, MUST-8), and a keyed hash that sets every
     * pair of ends apart. */
    uint32_t hash = (uint32_t)weir_hash24(&ep->isn_key, path, sizeof(*path));
    return hash + (uint32_t)(ep->now / (4 * WEIR_USEC));
}

uint32_t weir_tcp_stamp_offset(const struct weir_tcp *ep, const struct weir_path *path)
{
    /* RFC 7323 7.1 (SHOULD): nobody learns our clock. The same for all ports, so that timestamps
     * grow from one connection to the next (RFC 6191). */
    struct weir_path hosts = *path;
    hosts.local.port = hosts.remote.port = 0;
    return (uint32_t)weir_hash24(&ep->stamp_key, &hosts, sizeof(hosts));
}

uint16_t weir_tcp_own_mss(const struct weir_tcp *ep, bool is_6)
{
    /* RFC 9293 3.7.1: the MTU less the fixed headers (RFC 6691). */
    return (uint16_t)(ep->config.mtu_bytes - (is_6 ? 60 : 40));
}

void weir_tcp_agree(struct awake *awake, const struct weir_tcp_segment *syn)
{
    const struct weir_tcp *ep = awake->ep;
    awake->irs = syn->seq;
    awake->rcv_nxt = awake->take_nxt = awake->ack_sent = syn->seq + 1;
    awake->rcv_adv = awake->rcv_nxt;
    awake->rcv_up = awake->rcv_nxt;
    /* RFC 9293 3.7.1, MUST-15: 536 (or 1,220) when the peer does not say. */
    uint32_t mss = awake->is_6 ? MSS_DEFAULT6 : MSS_DEFAULT;
    if ((syn->options & WEIR_TCP_HAS_MSS) != 0) {
        mss = syn->mss > MSS_MIN ? syn->mss : MSS_MIN;
    }
    uint32_t own = weir_tcp_own_mss(ep, awake->is_6);
    mss = mss < own ? mss : own;
    weir_tcp_mtu_begin(awake, mss, mss);
    awake->agreed = 0;
    if ((syn->options & WEIR_TCP_HAS_SACK_PERMITTED) != 0) {
        awake->agreed |= AGREED_SACK;
    }
    /* RFC 7323 2.2: both must send it. We always do. */
    if ((syn->options & WEIR_TCP_HAS_SCALE) != 0) {
        awake->agreed |= AGREED_SCALE;
        awake->snd_scale = syn->scale;
        awake->rcv_scale = ep->scale;
    }
    if (ep->config.has_timestamps && (syn->options & WEIR_TCP_HAS_TIMESTAMPS) != 0) {
        awake->agreed |= AGREED_TIMESTAMPS;
        awake->ts_offset = weir_tcp_stamp_offset(ep, &awake->path);
        awake->ts_recent = syn->ts_value;
        awake->ts_recent_at = ep->now;
        awake->has_ts_recent = true;
    }
    /* RFC 3168 6.1.1: the SYN asks with both bits, the SYN-ACK agrees with ECE alone. */
    uint8_t bits = syn->flags & (WEIR_TCP_ECE | WEIR_TCP_CWR);
    uint8_t wanted = (syn->flags & WEIR_TCP_ACK) != 0 ? WEIR_TCP_ECE : WEIR_TCP_ECE | WEIR_TCP_CWR;
    if (ep->config.is_ecn && bits == wanted) {
        awake->agreed |= AGREED_ECN;
    }
    weir_tcp_take_user_timeout(awake, syn);
}

/* --- opened ----------------------------------------------------------------------------------- */

static void take_first_window(struct awake *awake, const struct weir_tcp_segment *segment)
{
    /* RFC 7323 2.2: the window of a SYN is never scaled (MUST). */
    uint8_t scale = (segment->flags & WEIR_TCP_SYN) != 0 ? 0 : awake->snd_scale;
    awake->snd_wnd = (uint32_t)segment->window << scale;
    awake->snd_wnd_max = awake->snd_wnd;
    awake->snd_wl1 = segment->seq;
    awake->snd_wl2 = segment->ack;
}

/* What of the data that went with our SYN the peer took (RFC 7413 4.2.2). The rest leaves with the
 * next segments, as if it had never been sent. */
static void skip_syn_data(struct awake *awake, uint32_t ack)
{
    if (weir_tcp_diff(ack, awake->snd_nxt) > 0) {
        awake->snd_una = awake->snd_nxt = ack;
        weir_tcp_send_skip(awake);
        weir_tcp_send_settle(awake);
    }
    awake->syn_data = 0;
}

void weir_tcp_establish(struct awake *awake, const struct weir_tcp_segment *segment)
{
    struct weir_tcp *ep = awake->ep;
    unsigned syns = awake->syn_count;
    weir_tcp_conn_leave_half_open(awake);
    if (awake->listener >= 0) {
        ep->stats.opened_passive++;
    } else {
        ep->stats.opened_active++;
    }
    awake->state = WEIR_TCP_STATE_ESTABLISHED;
    awake->is_syn_wanted = false;
    awake->snd_una = awake->iss + 1;
    skip_syn_data(awake, segment->ack);
    take_first_window(awake, segment);
    if (awake->fast != FAST_ACCEPTED) {
        weir_tcp_loss_init(awake);
    }
    if (syns == 1) {
        weir_rtt_sample(&awake->rtt, weir_max_u64(ep->now - awake->syn_at, 1), 0);
        ep->stats.rtt = weir_rtt_mean(ep->stats.rtt, ep->now - awake->syn_at);
    } else if (syns > 1 && awake->cc.kind != WEIR_CC_NONE && awake->cc.kind != WEIR_CC_BBR) {
        /* RFC 5681 3.1: a lost SYN or SYN-ACK leaves an initial window of one segment (MUST). */
        awake->cc.window_bytes = awake->mss;
    }
    awake->is_syn_lost = syns > 1;
    awake->rto_shift = 0;
    awake->loss_timer = TIMER_NONE;
    awake->loss_at = WEIR_NEVER;
    awake->is_timeout_due = weir_tcp_tells_user_timeout(ep);
    awake->heard_at = ep->now;
    weir_tcp_ready(awake);
    if (awake->fast == FAST_ACCEPTED) {
        return; /* it was told so, and its window is known */
    }
    awake->rcv_adv = awake->rcv_nxt;
    awake->rcv_adv += weir_tcp_receive_window(awake);
    weir_tcp_pend(awake, PENDING_OPENED);
}

/* --- passive open ----------------------------------------------------------------------------- */

static int find_listener(struct weir_tcp *ep, const struct weir_addr *local)
{
    struct weir_addr any = {.port = local->port, .family = local->family};
    int found = weir_tcp_end_find(ep, local, false);
    if (found < 0 || !ep->ends[found].is_listening) {
        found = weir_tcp_end_find(ep, &any, false);
    }
    return found >= 0 && ep->ends[found].is_listening ? found : -1;
}

static void send_cookie(struct weir_tcp *ep, const struct weir_path *path,
                        const struct weir_tcp_segment *syn)
{
    bool is_6 = path->remote.family == WEIR_ADDR_IP6;
    uint8_t options = syn->options & (WEIR_TCP_HAS_SCALE | WEIR_TCP_HAS_SACK_PERMITTED);
    if (ep->config.has_timestamps) {
        options |= syn->options & WEIR_TCP_HAS_TIMESTAMPS;
    }
    struct reply reply = {.path = *path,
                          .seq = weir_tcp_cookie_make(ep, path, syn),
                          .ack = syn->seq + 1,
                          .window = (uint16_t)weir_min_u64(ep->config.receive_window, UINT16_MAX),
                          .mss = weir_tcp_own_mss(ep, is_6),
                          .flags = WEIR_TCP_SYN | WEIR_TCP_ACK,
                          .options = (uint8_t)(options | WEIR_TCP_HAS_MSS),
                          .scale = ep->scale,
                          .ts_value =
                              weir_tcp_stamp_offset(ep, path) + (uint32_t)(ep->now / WEIR_MSEC),
                          .ts_echo = syn->ts_value};
    weir_tcp_reply(ep, &reply);
}

static void begin_number(struct awake *awake, uint32_t number)
{
    awake->iss = awake->snd_una = number;
    awake->snd_nxt = awake->queue_end = awake->snd_up = number + 1;
}

static void on_syn(struct weir_tcp *ep, const struct weir_path *path, int listener,
                   const struct weir_tcp_segment *syn)
{
    struct awake *awake = NULL;
    if (ep->stats.half_open < ep->half_open_max && weir_tcp_conn_may_open(ep)) {
        awake = weir_tcp_conn_open(ep, path, false);
    }
    if (awake == NULL) {
        send_cookie(ep, path, syn);
        return;
    }
    awake->listener = (int16_t)listener;
    awake->state = WEIR_TCP_STATE_SYN_RECEIVED;
    ep->stats.half_open++;
    begin_number(awake, weir_tcp_initial_number(ep, path));
    weir_tcp_agree(awake, syn);
    take_first_window(awake, syn);
    awake->is_syn_wanted = true;
    weir_tcp_fast_on_syn(awake, syn);
    weir_tcp_ready(awake);
}

static struct awake *on_cookie(struct weir_tcp *ep, const struct weir_path *path, int listener,
                               const struct weir_tcp_segment *ack)
{
    struct weir_tcp_segment syn;
    enum cookie_verdict verdict = weir_tcp_cookie_check(ep, path, ack, &syn);
    if (verdict != COOKIE_RIGHT) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_COOKIE);
        if (verdict == COOKIE_WRONG) {
            weir_tcp_reply_reset(ep, path, ack);
        }
        return NULL;
    }
    struct awake *awake = weir_tcp_conn_open(ep, path, false);
    if (awake == NULL) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_NO_ROOM);
        return NULL;
    }
    ep->stats.cookies_accepted++;
    begin_number(awake, ack->ack - 1);
    weir_tcp_agree(awake, &syn);
    awake->listener = (int16_t)listener;
    weir_tcp_establish(awake, ack);
    return awake;
}

struct awake *weir_tcp_on_stranger(struct weir_tcp *ep, const struct weir_path *path,
                                   const struct weir_tcp_segment *segment)
{
    uint8_t flags = segment->flags;
    int listener = find_listener(ep, &path->local);
    if (listener < 0) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_NO_LISTEN);
        weir_tcp_reply_reset(ep, path, segment);
        return NULL;
    }
    /* RFC 9293 3.10.7.2: RST is ignored, ACK is answered with RST, SYN opens, else nothing. */
    if ((flags & WEIR_TCP_RST) != 0) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_FLAGS);
        return NULL;
    }
    if ((flags & WEIR_TCP_ACK) != 0) {
        if ((flags & WEIR_TCP_SYN) != 0) {
            weir_tcp_count_drop(ep, WEIR_TCP_DROP_FLAGS);
            weir_tcp_reply_reset(ep, path, segment);
            return NULL;
        }
        return on_cookie(ep, path, listener, segment);
    }
    if ((flags & (WEIR_TCP_SYN | WEIR_TCP_FIN)) != WEIR_TCP_SYN) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_FLAGS);
        return NULL;
    }
    on_syn(ep, path, listener, segment);
    return NULL;
}

/* --- active open ------------------------------------------------------------------------------ */

/* RFC 9293 3.5.1: the other end is still in a connection of before, which our RST ends. The SYN
 * goes again behind it, without waiting for its time-out; once, so that a forged ACK costs no
 * more. */
static void try_again_soon(struct awake *awake)
{
    const weir_nsec soon = 10 * WEIR_MSEC;
    if (awake->syn_count == 1 && awake->loss_at > awake->ep->now + soon) {
        awake->loss_at = awake->ep->now + soon;
        weir_tcp_set_timer(awake);
    }
}

bool weir_tcp_on_syn_sent(struct awake *awake, const struct weir_tcp_segment *segment)
{
    struct weir_tcp *ep = awake->ep;
    uint8_t flags = segment->flags;
    /* RFC 9293 3.10.7.3, first: only the ACK of our SYN will do. */
    if ((flags & WEIR_TCP_ACK) != 0 && !weir_tcp_is_opening_ack(awake, segment->ack)) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_ACK);
        weir_tcp_reply_reset(ep, &awake->path, segment);
        if ((flags & WEIR_TCP_RST) == 0) {
            try_again_soon(awake);
        }
        return false;
    }
    if ((flags & WEIR_TCP_RST) != 0) {
        if ((flags & WEIR_TCP_ACK) != 0) {
            ep->stats.resets_received++;
            weir_tcp_conn_end(awake, WEIR_TCP_CAUSE_REFUSED);
        }
        return false;
    }
    if ((flags & WEIR_TCP_SYN) == 0) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_FLAGS);
        return false;
    }
    weir_tcp_agree(awake, segment);
    if ((flags & WEIR_TCP_ACK) != 0) {
        weir_tcp_fast_on_answer(awake, segment);
        weir_tcp_establish(awake, segment);
        awake->is_ack_wanted = true;
        return true;
    }
    /* Simultaneous open (MUST-10): our SYN again, with an ACK. */
    awake->state = WEIR_TCP_STATE_SYN_RECEIVED;
    take_first_window(awake, segment);
    awake->rcv_adv += weir_tcp_receive_window(awake);
    awake->is_syn_wanted = true;
    weir_tcp_ready(awake);
    return false;
}

/* --- TIME-WAIT -------------------------------------------------------------------------------- */

/* RFC 6191 2: may this SYN take the place of what is waiting? */
static bool is_newer(const struct weir_tcp *ep, const struct weir_tcp_conn *conn,
                     const struct weir_tcp_segment *syn)
{
    const struct record *record = weir_tcp_record(ep, conn);
    bool is_stamped = (ep->profiles[record->profile].agreed & AGREED_TIMESTAMPS) != 0;
    if (is_stamped && (syn->options & WEIR_TCP_HAS_TIMESTAMPS) != 0) {
        int32_t later = weir_tcp_diff(syn->ts_value, ep->stamps[weir_tcp_index(ep, conn)].recent);
        return later > 0 || (later == 0 && weir_tcp_diff(syn->seq, record->place) > 0);
    }
    return weir_tcp_diff(syn->seq, record->place) >= 0;
}

static void reopen(struct weir_tcp *ep, struct weir_tcp_conn *conn, const struct weir_path *path,
                   const struct weir_tcp_segment *syn)
{
    enum {
        NUMBER_GAP = 128000
    };

    uint32_t last = weir_tcp_record(ep, conn)->snd_nxt;
    weir_tcp_record_free(ep, conn);
    (void)weir_tcp_on_stranger(ep, path, syn);
    conn = weir_tcp_conn_find(ep, path);
    struct awake *awake = conn != NULL ? weir_tcp_awake_of(ep, conn) : NULL;
    /* RFC 9293 3.6.1: the new numbers lie beyond the old ones. */
    if (awake != NULL && weir_tcp_diff(awake->iss, last) <= 0) {
        begin_number(awake, last + NUMBER_GAP);
        weir_tcp_loss_init(awake);
    }
}

void weir_tcp_on_time_wait(struct weir_tcp *ep, struct weir_tcp_conn *conn,
                           const struct weir_path *path, const struct weir_tcp_segment *segment)
{
    struct record *record = weir_tcp_record(ep, conn);
    const struct profile *profile = &ep->profiles[record->profile];
    uint8_t flags = segment->flags;
    if ((flags & WEIR_TCP_RST) != 0) {
        /* RFC 5961 3.2: only the very next number. */
        if (segment->seq == record->place) {
            ep->stats.resets_received++;
            weir_tcp_record_free(ep, conn);
        }
        return;
    }
    bool is_syn = (flags & (WEIR_TCP_SYN | WEIR_TCP_ACK)) == WEIR_TCP_SYN;
    if (is_syn && find_listener(ep, &path->local) >= 0 && is_newer(ep, conn, segment)) {
        reopen(ep, conn, path, segment);
        return;
    }
    /* RFC 9293 3.10.7.4: the peer's FIN once more, and no other: the time begins anew. */
    if ((flags & WEIR_TCP_FIN) != 0 && segment->seq + weir_tcp_length(segment) == record->place) {
        record->code = CODE_TIME_WAIT_NEW;
    } else if (!weir_tcp_may_answer(ep, &ep->late_answers)) {
        return;
    }
    bool is_stamped = (profile->agreed & AGREED_TIMESTAMPS) != 0;
    uint8_t scale = (profile->agreed & AGREED_SCALE) != 0 ? ep->scale : 0;
    const struct reply reply = {
        .path = *path,
        .seq = record->snd_nxt,
        .ack = record->place,
        .window = (uint16_t)weir_min_u64(ep->config.receive_window >> scale, UINT16_MAX),
        .flags = WEIR_TCP_ACK,
        .options = is_stamped ? WEIR_TCP_HAS_TIMESTAMPS : 0,
        .ts_value = weir_tcp_stamp_offset(ep, path) + (uint32_t)(ep->now / WEIR_MSEC),
        .ts_echo = is_stamped ? ep->stamps[weir_tcp_index(ep, conn)].recent : 0};
    weir_tcp_reply(ep, &reply);
}
