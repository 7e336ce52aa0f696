/* SPDX-License-Identifier: MIT */
/*
 * output.c - segments out: what is lost, what is new, probes, ACKs; joined or in runs, as the
 * driver takes them.
 *
 * A turn of a connection may need more room than there is; it then goes on with the next call where
 * it stopped: nothing changes before it is written.
 */
#include <string.h>

#include "tcp/internal.h"

/* What is being written, of one connection. */
struct writer {
    struct weir_tcp *ep;
    struct awake *awake;
    struct weir_tx *tx;
    uint32_t run_segment, run_left, run_room; /* the open run: size, segments and bytes to go */
    bool is_full;
};

/* A segment to be written: its header, then length bytes from seq on. */
struct outgoing {
    struct weir_tcp_segment header;
    const struct message *message;
    uint32_t length;
    uint32_t header_bytes;
    uint8_t ecn;
    bool is_sack_left_out; /* an ACK of its own has them */
    bool is_probe;         /* longer than the path is known to take, and not to be cut */
};

enum {
    JOINED_BYTES_MAX = 65535 - 60 - WEIR_TCP_HEADER_MAX /* with the largest headers of IP */
};

/* --- headers ---------------------------------------------------------------------------------- */

static void begin_header(const struct writer *w, struct outgoing *out, uint32_t seq, uint8_t flags)
{
    struct awake *awake = w->awake;
    struct weir_tcp_segment *header = &out->header;
    out->message = NULL;
    out->length = 0;
    out->ecn = WEIR_ECN_NOT;
    out->is_sack_left_out = out->is_probe = false;
    header->source = awake->path.local.port;
    header->target = awake->path.remote.port;
    header->seq = seq;
    header->ack = awake->rcv_nxt;
    header->flags = flags | WEIR_TCP_ACK;
    header->urgent = 0;
    header->options = 0;
    header->sack_count = 0;
    header->window =
        (uint16_t)weir_min_u64(weir_tcp_receive_window(awake) >> awake->rcv_scale, UINT16_MAX);
    if (weir_tcp_has_options(awake, AGREED_TIMESTAMPS)) {
        header->options = WEIR_TCP_HAS_TIMESTAMPS;
        header->ts_value = weir_tcp_timestamp(awake);
        header->ts_echo = awake->ts_recent;
    }
    if (weir_tcp_has_options(awake, AGREED_SACK) && (awake->holes != NULL || awake->has_dsack)) {
        header->sack_count = (uint8_t)weir_tcp_fill_sacks(awake, header->sacks, WEIR_TCP_SACKS_MAX);
    }
    if (awake->is_ece_echoed) {
        header->flags |= WEIR_TCP_ECE;
    }
    out->header_bytes = weir_tcp_header_bytes(header);
}

/* Bytes of data that fit in a packet behind this header. */
static uint32_t full_of(const struct awake *awake, const struct outgoing *out)
{
    uint32_t options = out->header_bytes - WEIR_TCP_HEADER_BYTES;
    uint32_t full = awake->mss - options;
    WEIR_ASSERT(awake->mss > options && full > 0);
    return full;
}

/* What is sent again keeps its size: SACK blocks give way. */
static void make_room(struct outgoing *out, const struct segment *segment, uint32_t full)
{
    if (out->header.sack_count > 0 && segment->length > full) {
        out->header.sack_count = 0;
        out->header_bytes = weir_tcp_header_bytes(&out->header);
        out->is_sack_left_out = true;
    }
}

/* RFC 9293 3.8.5: the pointer, as far as it reaches, while there is something urgent ahead. */
static void put_urgent(struct awake *awake, struct outgoing *out)
{
    int32_t ahead = weir_tcp_diff(awake->snd_up, out->header.seq);
    if (!awake->is_urgent_out) {
        return;
    }
    if (ahead <= 0) {
        awake->is_urgent_out = weir_tcp_diff(awake->snd_up, awake->snd_una) > 0;
        return;
    }
    out->header.flags |= WEIR_TCP_URG;
    out->header.urgent = (uint16_t)weir_min_u64((uint32_t)ahead, UINT16_MAX);
}

/* --- segments --------------------------------------------------------------------------------- */

static void gather(uint8_t *at, const struct message *message, uint32_t seq, uint32_t length)
{
    while (length > 0) {
        uint32_t off = seq - message->seq;
        uint32_t count = (uint32_t)weir_min_u64(message->length - off, length);
        memcpy(at, message->data + off, count);
        at += count;
        seq += count;
        length -= count;
        message = message->next;
    }
}

/* Long ones leave from where the application has them, if in one piece. */
static bool find_tail(const struct writer *w, const struct outgoing *out, const uint8_t **tail)
{
    const struct message *message = out->message;
    if (!w->tx->is_gathered || !w->tx->is_unchecked || out->length <= full_of(w->awake, out)) {
        return false;
    }
    WEIR_ASSERT(message != NULL);
    uint32_t off = out->header.seq - message->seq;
    *tail = message->data + off;
    return message->length - off >= out->length;
}

/* Appends the bytes to the run that is open, if they are cut the same. */
static void emit(struct writer *w, const struct outgoing *out, uint32_t full)
{
    struct weir_tx *tx = w->tx;
    uint32_t length = out->header_bytes + out->length;
    bool is_joined = out->length > full;
    w->ep->stats.packets_sent++;
    w->ep->stats.bytes_sent += length;
    if (!is_joined && w->run_left > 0 && length <= w->run_segment && length <= w->run_room &&
        tx->transmits[tx->count - 1].ecn == out->ecn) {
        tx->transmits[tx->count - 1].length += length;
        w->run_room -= length;
        w->run_left =
            length == w->run_segment ? w->run_left - 1 : 0; /* a shorter one is the last */
        tx->used_bytes += length;
        return;
    }
    struct weir_transmit *transmit = &tx->transmits[tx->count++];
    *transmit =
        (struct weir_transmit){.path = w->awake->path,
                               .data = tx->buffer + tx->used_bytes + tx->headroom_bytes,
                               .length = length,
                               .segment_bytes = (uint16_t)(is_joined ? full : length),
                               .header_bytes = (uint16_t)(is_joined ? out->header_bytes : 0),
                               .ecn = out->ecn,
                               .protocol = WEIR_PROTOCOL_TCP};
    transmit->path.local.port = transmit->path.remote.port = 0;
    bool is_run = !is_joined && tx->headroom_bytes == 0 && tx->run_bytes_max > length;
    w->run_segment = length;
    w->run_left = is_run ? tx->run_segments_max - 1 : 0;
    w->run_room = is_run ? tx->run_bytes_max - length : 0;
    tx->used_bytes += tx->headroom_bytes + length;
}

/* What every segment says is said: no ACK of its own is needed. */
static void on_acknowledged(struct awake *awake, const struct outgoing *out)
{
    uint32_t edge = awake->rcv_nxt + ((uint32_t)out->header.window << awake->rcv_scale);
    if (weir_tcp_diff(edge, awake->rcv_adv) > 0) {
        awake->rcv_adv = edge;
    }
    awake->ack_sent = awake->rcv_nxt;
    awake->ack_at = WEIR_NEVER;
    if (out->is_sack_left_out) {
        return;
    }
    awake->is_ack_wanted = false;
    awake->has_dsack = false;
    awake->is_timeout_due &= (out->header.options & WEIR_TCP_HAS_USER_TIMEOUT) == 0;
}

/* false: tx is full. */
static bool put(struct writer *w, const struct outgoing *out)
{
    struct weir_tx *tx = w->tx;
    size_t need = (size_t)tx->headroom_bytes + out->header_bytes + out->length;
    if (tx->count == tx->transmits_max || tx->buffer_bytes - tx->used_bytes < need) {
        w->is_full = true;
        return false;
    }
    uint8_t *at = tx->buffer + tx->used_bytes + tx->headroom_bytes;
    const uint8_t *tail = NULL;
    bool has_tail = find_tail(w, out, &tail);
    (void)weir_tcp_encode(at, &out->header);
    if (out->length > 0 && !has_tail) {
        uint32_t seq = out->header.seq + ((out->header.flags & WEIR_TCP_SYN) != 0);
        gather(at + out->header_bytes, out->message, seq, out->length);
    }
    if (!tx->is_unchecked) {
        weir_tcp_seal(at, out->header_bytes + out->length, &w->awake->path);
    }
    emit(w, out, out->is_probe ? out->length : full_of(w->awake, out));
    if (has_tail) {
        tx->transmits[tx->count - 1].tail = tail;
        tx->transmits[tx->count - 1].tail_bytes = out->length;
    }
    on_acknowledged(w->awake, out);
    return true;
}

/* --- SYN and RST ------------------------------------------------------------------------------ */

/* What goes with the first SYN or SYN-ACK only: it may be why a middlebox dropped it (RFC 7413
 * 4.2.1). For data of a SYN, out->length says how much may be. */
static void add_extras(const struct writer *w, struct outgoing *out, uint8_t *cookie)
{
    struct awake *awake = w->awake;
    if (weir_tcp_tells_user_timeout(w->ep)) {
        weir_tcp_put_user_timeout(awake, &out->header);
    }
    if (awake->state == WEIR_TCP_STATE_SYN_SENT) {
        out->length = weir_tcp_fast_offer(awake, &out->header);
    } else if (awake->is_cookie_due) {
        weir_tcp_fast_cookie(w->ep, &awake->path, cookie);
        out->header.options |= WEIR_TCP_HAS_COOKIE;
        out->header.cookie = weir_span_of(cookie, FAST_COOKIE_BYTES);
    }
}

/* RFC 7413 4.2.2: up to the size of segment that the server is known to take. */
static void add_syn_data(const struct awake *awake, struct outgoing *out)
{
    uint32_t options = out->header_bytes - WEIR_TCP_HEADER_BYTES;
    uint32_t most = out->length < awake->mss ? out->length : awake->mss;
    most = most > options ? most - options : 0;
    out->length = (uint32_t)weir_min_u64(most, weir_tcp_unsent(awake));
    out->message = awake->message_next;
}

static void put_syn(struct writer *w)
{
    struct awake *awake = w->awake;
    const struct weir_tcp *ep = w->ep;
    bool is_answer = awake->state == WEIR_TCP_STATE_SYN_RECEIVED;
    uint8_t offered = AGREED_SACK | AGREED_SCALE;
    offered |= ep->config.has_timestamps ? AGREED_TIMESTAMPS : 0;
    uint8_t said = is_answer ? awake->agreed : offered;
    struct outgoing out;
    begin_header(w, &out, awake->iss, WEIR_TCP_SYN);
    struct weir_tcp_segment *header = &out.header;
    header->mss = weir_tcp_own_mss(ep, awake->is_6);
    header->scale = ep->scale;
    header->window = (uint16_t)weir_min_u64(ep->config.receive_window, UINT16_MAX);
    header->options = WEIR_TCP_HAS_MSS;
    header->options |= (said & AGREED_SACK) != 0 ? WEIR_TCP_HAS_SACK_PERMITTED : 0;
    header->options |= (said & AGREED_SCALE) != 0 ? WEIR_TCP_HAS_SCALE : 0;
    header->options |= (said & AGREED_TIMESTAMPS) != 0 ? WEIR_TCP_HAS_TIMESTAMPS : 0;
    header->ts_value = weir_tcp_timestamp(awake);
    header->ts_echo = is_answer ? awake->ts_recent : 0;
    header->flags = is_answer ? WEIR_TCP_SYN | WEIR_TCP_ACK : WEIR_TCP_SYN;
    header->ack = is_answer ? awake->rcv_nxt : 0;
    /* RFC 3168 6.1.1.1: asked for once only; it may be why the first SYN was dropped. */
    if (!is_answer && ep->config.is_ecn && awake->syn_count == 0) {
        header->flags |= WEIR_TCP_ECE | WEIR_TCP_CWR;
    } else if (is_answer && (awake->agreed & AGREED_ECN) != 0) {
        header->flags |= WEIR_TCP_ECE;
    }
    uint8_t cookie[FAST_COOKIE_BYTES];
    if (awake->syn_count == 0) {
        add_extras(w, &out, cookie);
    }
    out.header_bytes = weir_tcp_header_bytes(header);
    add_syn_data(awake, &out);
    if (!put(w, &out)) {
        return;
    }
    awake->syn_data = (uint16_t)weir_max_u64(awake->syn_data, out.length);
    /* The window of a SYN is not scaled. */
    awake->rcv_adv = awake->rcv_nxt + header->window;
    awake->is_syn_wanted = false;
    if (awake->syn_count == 0) {
        awake->syn_at = ep->now;
    }
    weir_tcp_count_up(&awake->syn_count, UINT8_MAX);
    awake->loss_timer = TIMER_TIMEOUT;
    awake->loss_at = ep->now + weir_tcp_rto(awake);
}

static void put_reset(struct writer *w)
{
    struct outgoing out;
    begin_header(w, &out, w->awake->snd_nxt, WEIR_TCP_RST);
    if (put(w, &out)) {
        w->awake->is_reset_wanted = false;
        w->ep->stats.resets_sent++;
    }
}

/* --- how much may go -------------------------------------------------------------------------- */

/* Bytes of one segment, joined where the driver takes that. */
static uint32_t longest(const struct writer *w, const struct outgoing *out, uint32_t full)
{
    const struct weir_tx *tx = w->tx;
    if (!tx->is_joined) {
        return full;
    }
    uint32_t bytes = JOINED_BYTES_MAX;
    if (tx->run_bytes_max > 0 && tx->run_bytes_max - out->header_bytes < bytes) {
        bytes = tx->run_bytes_max - out->header_bytes;
    }
    uint64_t segments = tx->run_segments_max > 0 ? tx->run_segments_max : UINT16_MAX;
    bytes = (uint32_t)weir_min_u64(bytes, segments * full);
    return bytes >= full ? bytes - bytes % full : full;
}

/* What window and pacing leave, for a piece of at least wanted bytes; 0: wait. */
static uint32_t allowed(struct writer *w, uint32_t wanted)
{
    struct awake *awake = w->awake;
    uint64_t window = weir_tcp_loss_window(awake);
    uint32_t pipe = weir_tcp_pipe(awake);
    uint64_t room = window > pipe ? window - pipe : 0;
    if (pipe == 0) {
        room = weir_max_u64(room, wanted);
    }
    if (room < wanted) {
        return 0;
    }
    uint64_t credit = weir_pacer_allowance(&awake->pacer, w->ep->now, awake->cc.pacing_rate);
    if (credit < wanted) {
        awake->pace_at =
            weir_pacer_next(&awake->pacer, awake->cc.pacing_rate, weir_cc_send_quantum(&awake->cc));
        return 0;
    }
    return (uint32_t)weir_min_u64(weir_min_u64(room, credit), UINT32_MAX);
}

/* --- again ------------------------------------------------------------------------------------ */

/* Writes the segment once more; it is not in flight. */
static bool put_again(struct writer *w, struct segment *segment, struct outgoing *out)
{
    struct awake *awake = w->awake;
    bool has_fin = (segment->flags & SEGMENT_FIN) != 0;
    out->message = segment->message;
    out->length = segment->length - has_fin;
    out->header.flags |= has_fin ? WEIR_TCP_FIN : 0;
    out->header.flags |= WEIR_TCP_PSH;
    put_urgent(awake, out);
    if (!put(w, out)) {
        return false;
    }
    segment->flags |= SEGMENT_AGAIN;
    segment->full = (uint16_t)full_of(awake, out);
    weir_tcp_flight_on_sent(awake, segment);
    awake->again_out += segment->length;
    awake->resent_segments++;
    w->ep->stats.resent_segments++;
    w->ep->stats.resent_bytes += segment->length;
    if (awake->resent_ts == 0) {
        awake->resent_ts = weir_tcp_timestamp(awake);
    }
    return true;
}

/* There is no record to cut it with: what fits of it leaves, and is not counted as in flight. So a
 * timeout brings it on by a segment at least. */
static void put_uncut(struct writer *w, const struct segment *segment, uint32_t length)
{
    struct outgoing out;
    begin_header(w, &out, segment->seq, WEIR_TCP_PSH);
    make_room(&out, segment, 0);
    out.message = segment->message;
    out.length = length;
    (void)put(w, &out);
}

/* Cuts the segment so that it can leave; 0: not now. */
static uint32_t fit(struct writer *w, struct segment *segment, const struct outgoing *out)
{
    uint32_t full = full_of(w->awake, out);
    uint32_t data = segment->length - ((segment->flags & SEGMENT_FIN) != 0);
    uint32_t least = data < full ? data : full;
    uint32_t room = allowed(w, least);
    uint32_t most = longest(w, out, full);
    most = room < most ? room - room % full : most;
    if (room < least || (room == 0 && least > 0)) {
        return 0;
    }
    most = most < full ? full : most;
    if (data > most && !weir_tcp_flight_split(w->awake, segment, most)) {
        weir_tcp_run_short(w->awake);
        if (w->awake->recovery == RECOVERY_LOSS) {
            put_uncut(w, segment, full);
        }
        return 0;
    }
    return segment->length;
}

static void put_lost(struct writer *w)
{
    struct awake *awake = w->awake;
    struct segment *segment;
    while (!w->is_full && awake->lost > 0 && (segment = weir_tcp_flight_next_lost(awake)) != NULL) {
        struct outgoing out;
        begin_header(w, &out, segment->seq, 0);
        make_room(&out, segment, full_of(awake, &out));
        if (fit(w, segment, &out) == 0) {
            return;
        }
        weir_tcp_flight_unmark_lost(awake, segment, true);
        if (!put_again(w, segment, &out)) {
            segment->flags |= SEGMENT_LOST;
            awake->lost += segment->length;
            return;
        }
    }
}

/* RFC 8985 7.3: the last segment once more, where there is nothing new. */
static void put_tail(struct writer *w)
{
    struct awake *awake = w->awake;
    struct segment *last = awake->sequence.last;
    struct outgoing out;
    if (last == NULL || (last->flags & (SEGMENT_SACKED | SEGMENT_LOST)) != 0) {
        awake->is_tail_wanted = false;
        return;
    }
    begin_header(w, &out, last->seq, 0);
    make_room(&out, last, full_of(awake, &out));
    uint32_t full = full_of(awake, &out);
    if (last->length > full + 1) {
        if (!weir_tcp_flight_split(awake, last, last->length - full)) {
            awake->is_tail_wanted = false;
            return;
        }
        last = awake->sequence.last;
        out.header.seq = last->seq;
    }
    weir_tcp_flight_leave(awake, last);
    if (!put_again(w, last, &out)) {
        weir_tcp_flight_unmark_lost(awake, last, false);
        awake->lost += last->length;
        return;
    }
    awake->is_tail_wanted = false;
    awake->is_tail_probed = awake->is_tail_resent = true;
    awake->tail_end = awake->snd_nxt;
    w->ep->stats.probes_tail++;
}

/* --- new -------------------------------------------------------------------------------------- */

/* RFC 9293 3.8.6.2.1 and 3.7.4: is a segment that is not full worth sending now? */
static bool is_worth_sending(const struct awake *awake, uint32_t length, bool is_last)
{
    if (!is_last) {
        /* The peer's window cuts it: half of the largest ever, or waited long enough. */
        return awake->is_override_due || length >= awake->snd_wnd_max / 2;
    }
    if (awake->is_closing || awake->is_override_due) {
        return true;
    }
    if (awake->is_corked) {
        return false;
    }
    /* RFC 8985 7.3: something new is the better probe of the tail. */
    return awake->is_nodelay || awake->is_tail_wanted || awake->sequence.first == NULL;
}

/* Bytes that may leave in one piece now; 0: none. */
static uint32_t choose_length(struct writer *w, const struct outgoing *out, uint32_t full)
{
    struct awake *awake = w->awake;
    uint32_t unsent = weir_tcp_unsent(awake);
    int32_t room = weir_tcp_diff(awake->snd_una + awake->snd_wnd, awake->snd_nxt);
    uint32_t least = unsent < full ? unsent : full;
    if (room <= 0 || full == 0) {
        return 0;
    }
    least = (uint32_t)room < least ? (uint32_t)room : least;
    uint32_t most = awake->is_tail_wanted ? full : allowed(w, least);
    most = (uint32_t)weir_min_u64(weir_min_u64(most, (uint32_t)room), unsent);
    most = (uint32_t)weir_min_u64(most, longest(w, out, full));
    if (most >= full) {
        return most - most % full;
    }
    bool is_last = most == unsent;
    return most > 0 && is_worth_sending(awake, most, is_last) ? most : 0;
}

static void on_fin_sent(struct awake *awake)
{
    awake->is_fin_sent = true;
    awake->snd_nxt++;
    awake->state = awake->state == WEIR_TCP_STATE_CLOSE_WAIT ? WEIR_TCP_STATE_LAST_ACK
                                                             : WEIR_TCP_STATE_FIN_WAIT_1;
}

static void on_new_sent(struct awake *awake, struct segment *segment, uint32_t length)
{
    if (awake->sequence.first == NULL) {
        awake->oldest_at = awake->ep->now;
    }
    awake->snd_nxt += length;
    weir_tcp_send_skip(awake);
    weir_tcp_flight_add(awake, segment);
    awake->is_override_due = false;
    awake->is_probe_out = false;
    if (awake->is_tail_wanted) {
        awake->is_tail_wanted = false;
        awake->is_tail_probed = true;
        awake->is_tail_resent = false;
        awake->tail_end = awake->snd_nxt;
        awake->ep->stats.probes_tail++;
    }
}

/* One piece with length bytes, and FIN where it is due. false: no more now. */
static bool put_piece(struct writer *w, struct outgoing *out, uint32_t length)
{
    struct awake *awake = w->awake;
    bool is_end = length == weir_tcp_unsent(awake);
    bool has_fin = awake->is_closing && is_end && weir_tcp_is_synchronized(awake);
    struct segment *segment = weir_tcp_flight_take(awake);
    if (segment == NULL) {
        weir_tcp_run_short(awake);
        return false;
    }
    out->message = awake->message_next;
    out->length = length;
    out->header.flags |= is_end && length > 0 ? WEIR_TCP_PSH : 0;
    out->header.flags |= has_fin ? WEIR_TCP_FIN : 0;
    put_urgent(awake, out);
    if (weir_tcp_has_options(awake, AGREED_ECN) && length > 0) {
        out->ecn = WEIR_ECN_ECT0;
        out->header.flags |= awake->is_cwr_wanted ? WEIR_TCP_CWR : 0;
    }
    if (!put(w, out)) {
        weir_tcp_flight_give(awake, segment);
        return false;
    }
    awake->is_cwr_wanted &= length == 0;
    segment->seq = out->header.seq;
    segment->length = length + has_fin;
    segment->full = (uint16_t)(out->is_probe ? length : full_of(awake, out));
    segment->message = out->message != NULL ? awake->message_next : NULL;
    segment->flags = (uint8_t)((has_fin ? SEGMENT_FIN : 0) | (out->is_probe ? SEGMENT_PROBE : 0));
    if (has_fin) {
        on_fin_sent(awake);
    }
    on_new_sent(awake, segment, length);
    return true;
}

static void add_user_timeout(const struct writer *w, struct outgoing *out)
{
    if (w->awake->is_timeout_due) {
        weir_tcp_put_user_timeout(w->awake, &out->header);
        out->header_bytes = weir_tcp_header_bytes(&out->header);
    }
}

/* A segment longer than the others, mss bytes with its options. Pacing only asks that a usual one
 * may leave: so much credit may never come together. false: not now. */
static bool put_probe(struct writer *w, uint32_t mss)
{
    struct awake *awake = w->awake;
    uint64_t window = weir_tcp_loss_window(awake);
    struct outgoing out;
    begin_header(w, &out, awake->snd_nxt, 0);
    uint32_t full = full_of(awake, &out);
    if (weir_tcp_pipe(awake) + (uint64_t)mss > window || allowed(w, full) < full) {
        return false;
    }
    out.is_probe = true;
    if (!put_piece(w, &out, mss - (out.header_bytes - WEIR_TCP_HEADER_BYTES))) {
        return false;
    }
    weir_tcp_mtu_on_probe_sent(awake, mss);
    return true;
}

static void put_new(struct writer *w)
{
    struct awake *awake = w->awake;
    if (awake->sequence.first == NULL && weir_tcp_unsent(awake) > 0) {
        weir_tcp_loss_on_restart(awake);
    }
    unsigned pieces = awake->frto == FRTO_PROBED ? 2 : UINT32_MAX; /* RFC 5682 3.1 step 2b */
    uint32_t probe = pieces > 2 ? weir_tcp_mtu_probe(awake) : 0;
    if (probe != 0 && !put_probe(w, probe)) {
        return; /* what is in flight makes room for it */
    }
    for (; pieces > 0 && !w->is_full && weir_tcp_unsent(awake) > 0; pieces--) {
        struct outgoing out;
        begin_header(w, &out, awake->snd_nxt, 0);
        add_user_timeout(w, &out);
        uint32_t length = choose_length(w, &out, full_of(awake, &out));
        if (length == 0 || !put_piece(w, &out, length)) {
            return;
        }
    }
    if (awake->is_closing && !awake->is_fin_sent && weir_tcp_unsent(awake) == 0 && !w->is_full &&
        weir_tcp_is_synchronized(awake)) {
        struct outgoing out;
        begin_header(w, &out, awake->snd_nxt, 0);
        (void)put_piece(w, &out, 0);
    }
}

/* --- probes and ACKs -------------------------------------------------------------------------- */

/* RFC 9293 3.8.6.1: one byte beyond the window (MUST-35). It is not counted as sent. */
static void put_window_probe(struct writer *w)
{
    struct awake *awake = w->awake;
    struct outgoing out;
    awake->is_probe_wanted = false;
    if (weir_tcp_unsent(awake) == 0 || awake->sequence.first != NULL || awake->snd_wnd > 0) {
        return;
    }
    begin_header(w, &out, awake->snd_nxt, 0);
    out.message = awake->message_next;
    out.length = 1;
    if (!put(w, &out)) {
        awake->is_probe_wanted = true;
        return;
    }
    awake->is_probe_out = true;
    w->ep->stats.window_probes++;
}

/* RFC 9293 3.8.4: a number that is acknowledged already, and no data. */
static void put_keepalive(struct writer *w)
{
    struct outgoing out;
    begin_header(w, &out, w->awake->snd_nxt - 1, 0);
    if (put(w, &out)) {
        w->awake->is_keepalive_wanted = false;
        w->ep->stats.keepalives++;
    }
}

static void put_ack(struct writer *w)
{
    struct outgoing out;
    begin_header(w, &out, w->awake->snd_nxt, 0);
    add_user_timeout(w, &out);
    put_urgent(w->awake, &out);
    (void)put(w, &out);
}

/* --- connections ------------------------------------------------------------------------------ */

static void put_data(struct writer *w)
{
    struct awake *awake = w->awake;
    awake->pace_at = WEIR_NEVER;
    if (awake->open_at == WEIR_NEVER) {
        awake->oldest_at = awake->open_at = awake->ep->now;
    }
    weir_tcp_leave_short(awake);
    if (awake->lost > 0 && awake->frto != FRTO_PROBED) {
        put_lost(w);
    }
    if (!w->is_full && (awake->lost == 0 || awake->frto == FRTO_PROBED)) {
        put_new(w);
    }
    if (awake->frto == FRTO_PROBED && !w->is_full && weir_tcp_pipe(awake) == 0) {
        awake->frto = FRTO_OFF; /* nothing new could leave */
        put_lost(w);
    }
    if (awake->is_tail_wanted && !w->is_full) {
        put_tail(w);
    }
    if (!awake->is_short) {
        weir_tcp_wake_short(w->ep); /* what it left, or did not need */
    }
}

static void put_all(struct writer *w)
{
    struct awake *awake = w->awake;
    if (awake->is_syn_wanted) {
        put_syn(w);
        if (w->is_full || !weir_tcp_is_open(awake)) {
            return;
        }
    }
    if (!weir_tcp_is_open(awake)) {
        /* RFC 9293 3.10.7.4, first: what may not be is answered in SYN-RECEIVED, too. */
        if (awake->is_ack_wanted && awake->state == WEIR_TCP_STATE_SYN_RECEIVED) {
            put_ack(w);
        }
        return;
    }
    put_data(w);
    if (awake->is_probe_wanted && !w->is_full) {
        put_window_probe(w);
    }
    if (awake->is_keepalive_wanted && !w->is_full) {
        put_keepalive(w);
    }
    if (awake->is_ack_wanted && !w->is_full) {
        put_ack(w);
    }
}

/* false: tx is full. */
static bool flush(struct awake *awake, struct weir_tx *tx)
{
    struct writer w = {.ep = awake->ep, .awake = awake, .tx = tx};
    if (awake->is_ended) {
        if (awake->is_reset_wanted) {
            put_reset(&w);
        } else if (awake->is_ack_wanted) {
            put_ack(&w);
        }
        weir_tcp_conn_settle(awake);
        return !w.is_full;
    }
    uint32_t sent_before = awake->snd_nxt;
    put_all(&w);
    if (awake->snd_nxt != sent_before && awake->loss_timer == TIMER_TAIL_PROBE) {
        awake->loss_timer = TIMER_NONE;
    }
    if (w.is_full) {
        return false;
    }
    if (weir_tcp_unsent(awake) == 0 && weir_tcp_is_synchronized(awake)) {
        weir_cc_on_app_limited(&awake->cc, awake->in_flight);
    }
    if (awake->loss_timer == TIMER_NONE || awake->loss_timer == TIMER_TAIL_PROBE) {
        weir_tcp_loss_set_timer(awake);
    }
    weir_tcp_set_timer(awake);
    return true;
}

enum weir_status weir_tcp_output(struct weir_tcp *ep, weir_nsec now, struct weir_tx *tx)
{
    struct awake *awake;
    weir_tcp_set_now(ep, now);
    if (ep->reply_count > 0 && !weir_tcp_put_replies(ep, tx)) {
        return WEIR_OK;
    }
    while (ep->ready.first != LIST_END && (awake = weir_tcp_ready_take(ep)) != NULL) {
        if (!flush(awake, tx)) {
            if (awake->conn != NULL) {
                weir_tcp_ready(awake); /* at the end: the others have their turn first */
            }
            return WEIR_OK;
        }
    }
    return WEIR_AGAIN;
}
