/* SPDX-License-Identifier: MIT */
/*
 * loss.c - what was sent, what arrived, what is lost, and what is sent again.
 *
 * Packet numbers are never used twice, so an acknowledgement says exactly which transmission
 * arrived. A packet record lists the chunks that travelled in it; lost chunks wait on the "again"
 * list and leave before anything new.
 * Spec: RFC 9002 sections 5 to 7 and appendix A.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    PACKET_THRESHOLD_MAX = 512,
    TIME_THRESHOLD_MAX = 4,
    PROBE_SHIFT_MAX = 10,
    PROBES_TRIED = 16
};

/* --- chunks ----------------------------------------------------------------------------------- */

static void chunk_free(struct weir_rudp *ep, struct chunk *chunk)
{
    if (chunk != &chunk->message->first) {
        weir_pool_give(&ep->chunks, chunk);
    }
}

struct chunk *weir_rudp_chunk_take(struct weir_rudp *ep)
{
    return weir_pool_left(&ep->chunks) > CHUNKS_RESERVED ? weir_pool_take(&ep->chunks) : NULL;
}

void weir_rudp_chunk_again(struct awake *awake, struct chunk *chunk)
{
    chunk->next = NULL;
    if (awake->again_first == NULL) {
        awake->again_first = chunk;
    } else {
        awake->again_last->next = chunk;
    }
    awake->again_last = chunk;
}

/* The chunk is settled; with its last chunk a message is too. */
static void chunk_settle(struct weir_rudp *ep, struct chunk *chunk, enum weir_outcome outcome)
{
    struct message *message = chunk->message;
    chunk_free(ep, chunk);
    message->chunks--;
    if (message->chunks == 0 && !message->is_queued) {
        bool is_skip = message->guarantee == WEIR_RUDP_GUARANTEE_SKIP;
        weir_rudp_message_done(message, is_skip ? WEIR_OUTCOME_EXPIRED : outcome);
    }
}

static void chunks_settle(struct weir_rudp *ep, struct chunk *chunk, enum weir_outcome outcome)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        chunk_settle(ep, chunk, outcome);
        chunk = next;
    }
}

static bool is_given_up(const struct chunk *chunk)
{
    return chunk->message->guarantee == WEIR_RUDP_GUARANTEE_SKIP && chunk->offset != SKIP_OFFSET;
}

static void chunks_again(struct weir_rudp_conn *conn, struct packet *packet)
{
    struct chunk *chunk = packet->chunks;
    packet->chunks = NULL;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        if (is_given_up(chunk)) {
            chunk_settle(conn->endpoint, chunk, WEIR_OUTCOME_EXPIRED);
        } else {
            weir_rudp_chunk_again(conn->awake, chunk);
        }
        chunk = next;
    }
}

void weir_rudp_again_drop_given_up(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    struct chunk *chunk = awake->again_first;
    awake->again_first = awake->again_last = NULL;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        if (is_given_up(chunk)) {
            chunk_settle(conn->endpoint, chunk, WEIR_OUTCOME_EXPIRED);
        } else {
            weir_rudp_chunk_again(awake, chunk);
        }
        chunk = next;
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

void weir_rudp_loss_on_sent(struct weir_rudp_conn *conn, struct packet *packet, uint32_t size,
                            weir_nsec now)
{
    struct awake *awake = conn->awake;
    weir_cc_on_sent(&awake->cc, now, size, awake->in_flight_bytes, &packet->cc);
    awake->in_flight_bytes += size;
    awake->in_flight_packets++;
    awake->last_eliciting = now;
    if (conn->endpoint->config.resend == WEIR_RUDP_RESEND_FIXED_TIME) {
        awake->loss_time =
            weir_min_u64(awake->loss_time, now + conn->endpoint->config.resend_after);
    }
    packet->next = NULL;
    if (awake->sent_first == NULL) {
        awake->sent_first = packet;
    } else {
        awake->sent_last->next = packet;
    }
    awake->sent_last = packet;
}

/* --- the list of what was sent ---------------------------------------------------------------- */

/* A place in the list, so that the record there can be taken out. */
struct place {
    struct packet *previous, *packet;
};

static void place_next(struct place *place)
{
    place->previous = place->packet;
    place->packet = place->packet->next;
}

/* Takes the record out and moves on to the next. */
static struct packet *place_take(struct awake *awake, struct place *place)
{
    struct packet *packet = place->packet;
    place->packet = packet->next;
    *(place->previous == NULL ? &awake->sent_first : &place->previous->next) = packet->next;
    if (awake->sent_last == packet) {
        awake->sent_last = place->previous;
    }
    return packet;
}

struct packet *weir_rudp_packet_take(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    struct packet *packet = weir_pool_take(&conn->endpoint->packets);
    if (packet != NULL || awake->lost_kept == 0) {
        return packet;
    }
    /* The oldest record that is kept only to notice reordering. */
    struct place place = {NULL, awake->sent_first};
    while (!place.packet->is_lost) {
        place_next(&place);
    }
    awake->lost_kept--;
    return place_take(awake, &place);
}

static void leave_flight(struct awake *awake, const struct packet *packet)
{
    awake->in_flight_bytes -= packet->cc.size_bytes;
    awake->in_flight_packets--;
}

/* --- loss ------------------------------------------------------------------------------------- */

/* What one pass over the list found. */
struct losses {
    struct weir_cc_loss cc;
    struct weir_cc_packet newest;
    uint64_t run_next;   /* number that would continue the run of losses */
    weir_nsec run_start; /* when the first of the run was sent */
    uint32_t content;    /* lost packets but for MTU probes */
    uint32_t count;      /* of those, the ones sent on the present path */
    bool is_only_large;  /* all lost packets were larger than the base size */
};

static bool is_overdue(const struct weir_rudp_conn *conn, const struct packet *packet,
                       weir_nsec now, weir_nsec *due)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    const struct awake *awake = conn->awake;
    uint64_t later = awake->largest_acked - 1 - packet->number;
    weir_nsec wait = weir_rtt_loss_delay(&awake->rtt, weir_rudp_granularity);
    switch (config->resend) {
    case WEIR_RUDP_RESEND_LATER_IDS:
        *due = WEIR_NEVER;
        return later >= config->resend_later_packets;
    case WEIR_RUDP_RESEND_FIXED_TIME:
        /* Sooner than an answer can come would send everything again for ever. */
        *due = packet->cc.sent_time + weir_max_u64(config->resend_after, wait);
        return *due <= now;
    case WEIR_RUDP_RESEND_ADAPTIVE:
    default:
        /* RFC 9002 6.1: three later packets, or 9/8 of a round trip; both give way when losses
         * prove to be reordering. */
        wait += awake->rtt.smoothed / 4 * awake->time_threshold;
        *due = packet->cc.sent_time + wait;
        return later >= awake->packet_threshold || *due <= now;
    }
}

/* RFC 9000 9.4: packets sent on the old path do not contribute to congestion control or round-trip
 * time of the new one (MUST NOT). */
static bool is_of_old_path(const struct awake *awake, const struct packet *packet)
{
    return packet->number < awake->path_number;
}

static void note_loss(struct weir_rudp_conn *conn, struct losses *losses, struct packet *packet)
{
    struct awake *awake = conn->awake;
    const struct weir_rtt *rtt = &awake->rtt;
    leave_flight(awake, packet);
    packet->is_lost = true;
    awake->lost_kept++;
    awake->packets_lost++;
    conn->endpoint->stats.packets_lost++;
    awake->is_credit_wanted |= packet->has_credit;
    chunks_again(conn, packet);
    if (packet->is_probe_mtu) {
        /* RFC 8899 3: a lost probe says nothing about congestion. */
        if (!is_of_old_path(awake, packet)) {
            weir_rudp_mtu_on_probe_lost(conn);
        }
        return;
    }
    losses->content++;
    if (is_of_old_path(awake, packet)) {
        return;
    }
    /* RFC 9002 7.6: everything over three probe timeouts lost is persistent congestion. */
    if (losses->count == 0 || packet->number != losses->run_next) {
        losses->run_start = packet->cc.sent_time;
    }
    losses->run_next = packet->number + 1;
    weir_nsec span =
        3 * weir_rtt_pto(rtt, weir_rudp_granularity, conn->peer_ack_delay_us * WEIR_USEC);
    losses->cc.is_persistent |= rtt->has_sample && packet->cc.sent_time - losses->run_start >= span;
    losses->cc.lost_bytes += packet->cc.size_bytes;
    losses->newest = packet->cc;
    losses->is_only_large &= packet->cc.size_bytes > conn->endpoint->config.mtu_bytes_min;
    losses->count++;
}

static void report_losses(struct weir_rudp_conn *conn, struct losses *losses, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (losses->count == 0) {
        return;
    }
    losses->cc.now = now;
    losses->cc.in_flight_bytes = awake->in_flight_bytes;
    losses->cc.newest = &losses->newest;
    weir_cc_on_loss(&awake->cc, &losses->cc);
    if (losses->cc.is_persistent && losses->is_only_large) {
        weir_rudp_mtu_on_black_hole(conn);
    }
}

/* RFC 9002 6.1 and A.10. Only packets sent before the latest acknowledged one can be lost. Returns
 * whether one was that carried more than an MTU probe. */
static bool detect_losses(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    struct losses losses = {.is_only_large = true};
    awake->loss_time = WEIR_NEVER;
    bool is_fixed = conn->endpoint->config.resend == WEIR_RUDP_RESEND_FIXED_TIME;
    for (struct packet *packet = awake->sent_first; packet != NULL; packet = packet->next) {
        weir_nsec due;
        if (!is_fixed && packet->number >= awake->largest_acked) {
            break;
        }
        if (packet->is_lost) {
            continue;
        }
        if (is_overdue(conn, packet, now, &due)) {
            note_loss(conn, &losses, packet);
        } else {
            awake->loss_time = weir_min_u64(awake->loss_time, due);
            if (is_fixed) {
                break; /* later ones are due later */
            }
        }
    }
    report_losses(conn, &losses, now);
    return losses.content > 0;
}

/* Records of lost packets are kept for two round trips or so, to notice reordering. */
static weir_nsec forget_at(const struct weir_rudp_conn *conn, const struct packet *packet)
{
    return packet->cc.sent_time + 2 * weir_rudp_conn_pto(conn);
}

static void forget_old_losses(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    struct place place = {NULL, awake->sent_first};
    while (place.packet != NULL && awake->lost_kept > 0) {
        if (!place.packet->is_lost) {
            place_next(&place);
        } else if (forget_at(conn, place.packet) <= now) {
            awake->lost_kept--;
            weir_pool_give(&conn->endpoint->packets, place_take(awake, &place));
        } else {
            break; /* later ones are younger */
        }
    }
}

/* --- acknowledgements ------------------------------------------------------------------------- */

/* What one ACK newly acknowledged. */
struct acked {
    struct weir_cc_packet newest;
    uint64_t newest_next; /* number of the newest of the present path, one past; 0: none */
    uint64_t largest;     /* of the newest at all, one past; 0: nothing new */
    uint64_t bytes;
    bool is_spurious; /* one of them had been taken for lost */
    bool is_close;    /* one of them carried our CLOSE */
};

static void on_spurious(struct weir_rudp_conn *conn, const struct packet *packet)
{
    struct awake *awake = conn->awake;
    uint64_t later =
        awake->largest_acked > packet->number ? awake->largest_acked - packet->number : 0;
    awake->packets_spurious++;
    if (later > awake->packet_threshold) {
        awake->packet_threshold = (uint32_t)weir_min_u64(later + 1, PACKET_THRESHOLD_MAX);
    }
    if (awake->time_threshold < TIME_THRESHOLD_MAX && conn->next_number > awake->adapted_at) {
        awake->time_threshold++; /* once a round trip at most */
        awake->adapted_at = conn->next_number;
    }
}

/* The peer that got packet knows of all that was received below this. */
static uint64_t known_by(const struct awake *awake, const struct packet *packet)
{
    uint64_t next = packet->ack_next;
    for (unsigned i = 0; i < 2; i++) {
        if (packet->number < awake->late[i].before) {
            next = weir_min_u64(next, awake->late[i].number);
        }
    }
    return next;
}

static void on_packet_acked(struct weir_rudp_conn *conn, struct packet *packet, struct acked *acked)
{
    struct awake *awake = conn->awake;
    struct weir_rudp *ep = conn->endpoint;
    bool is_here = !is_of_old_path(awake, packet);
    if (packet->is_lost) {
        awake->lost_kept--;
        if (!packet->is_probe_mtu && is_here) {
            on_spurious(conn, packet);
            acked->is_spurious = true;
        }
    } else {
        leave_flight(awake, packet);
        acked->bytes += packet->cc.size_bytes;
    }
    acked->largest = packet->number + 1; /* they come in order */
    if (is_here) {
        acked->newest_next = packet->number + 1;
        acked->newest = packet->cc;
    }
    /* RFC 9000 13.2.4: what the peer knows to have arrived need not be reported again. */
    awake->ack_floor = weir_max_u64(awake->ack_floor, known_by(awake, packet));
    if (packet->is_probe_mtu && is_here) {
        weir_rudp_mtu_on_probe_acked(conn, packet->cc.size_bytes);
    }
    acked->is_close |= packet->has_close;
    chunks_settle(ep, packet->chunks, WEIR_OUTCOME_ACKED);
    weir_pool_give(&ep->packets, packet);
}

/* Ranges as 64-bit numbers, lowest first. false: below what exists. */
static uint32_t widen_ranges(const struct weir_rudp_conn *conn,
                             const struct weir_rudp_ack_frame *ack,
                             struct weir_range ranges[WEIR_RUDP_RANGES_MAX])
{
    uint64_t next = conn->next_number;
    uint64_t last = next + (uint64_t)(int64_t)(int32_t)(ack->largest - (uint32_t)next);
    if (last >= next || last < FIRST_NUMBER) {
        return 0;
    }
    for (uint32_t i = 0; i < ack->count; i++) {
        if (ack->ranges[i].length > last - FIRST_NUMBER) {
            return 0;
        }
        uint64_t first = last - ack->ranges[i].length;
        ranges[ack->count - 1 - i] = (struct weir_range){first, last};
        if (i + 1 < ack->count) {
            /* gap counts the missing numbers less one */
            if (first - FIRST_NUMBER < 2 || ack->ranges[i].gap > first - FIRST_NUMBER - 2) {
                return 0;
            }
            last = first - ack->ranges[i].gap - 2;
        }
    }
    return ack->count;
}

static void take_acked(struct weir_rudp_conn *conn, const struct weir_range *ranges, uint32_t count,
                       struct acked *acked)
{
    struct awake *awake = conn->awake;
    struct place place = {NULL, awake->sent_first};
    uint32_t i = 0;
    while (place.packet != NULL && i < count) {
        uint64_t number = place.packet->number;
        if (number > ranges[i].last) {
            i++;
        } else if (number < ranges[i].first) {
            place_next(&place);
        } else {
            on_packet_acked(conn, place_take(awake, &place), acked);
        }
    }
}

static weir_nsec sample_rtt(struct weir_rudp_conn *conn, const struct weir_rudp_ack_frame *ack,
                            const struct acked *acked, uint64_t reported, weir_nsec now)
{
    /* RFC 9002 5.1: only when the largest reported is newly acknowledged. */
    if (acked->newest_next != reported + 1) {
        return 0;
    }
    weir_nsec sample = now - acked->newest.sent_time;
    weir_nsec delay = weir_min_u64(ack->delay_us, conn->peer_ack_delay_us) * WEIR_USEC;
    struct weir_rudp_stats *stats = &conn->endpoint->stats;
    stats->rtt = weir_rtt_mean(stats->rtt, sample);
    weir_rtt_sample(&conn->awake->rtt, weir_max_u64(sample, 1), delay);
    return weir_max_u64(sample, 1);
}

static void report_acked(struct weir_rudp_conn *conn, const struct weir_rudp_ack_frame *ack,
                         const struct acked *acked, weir_nsec sample, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (acked->is_spurious) {
        weir_cc_on_spurious_loss(&awake->cc, now);
    }
    uint64_t marks = ack->ce_count > awake->ce_acked ? ack->ce_count - awake->ce_acked : 0;
    struct weir_cc_ack cc_ack = {.now = now,
                                 .acked_bytes = acked->bytes,
                                 .in_flight_bytes = awake->in_flight_bytes,
                                 .newest = &acked->newest,
                                 .rtt = &awake->rtt,
                                 .rtt_sample = sample,
                                 .ce_count = marks};
    weir_cc_on_ack(&awake->cc, &cc_ack);
}

bool weir_rudp_loss_on_ack(struct weir_rudp_conn *conn, const struct weir_rudp_ack_frame *ack,
                           weir_nsec now)
{
    struct awake *awake = conn->awake;
    struct weir_range ranges[WEIR_RUDP_RANGES_MAX];
    struct acked acked = {0};
    uint32_t count = widen_ranges(conn, ack, ranges);
    if (count == 0) {
        return false;
    }
    uint64_t reported = ranges[count - 1].last;
    take_acked(conn, ranges, count, &acked);
    if (acked.largest == 0) {
        return true;
    }
    awake->largest_acked = weir_max_u64(awake->largest_acked, acked.largest);
    awake->probe_count = 0;
    awake->probes_wanted = 0;
    awake->probing_since = 0;
    weir_nsec sample = sample_rtt(conn, ack, &acked, reported, now);
    detect_losses(conn, now);
    if (acked.newest_next != 0) {
        report_acked(conn, ack, &acked, sample, now);
    }
    awake->ce_acked = weir_max_u64(awake->ce_acked, ack->ce_count);
    forget_old_losses(conn, now);
    if (acked.is_close && conn->state == STATE_CLOSING) {
        weir_rudp_conn_end(conn, awake->cause, awake->close_code, (struct weir_span){0});
    }
    weir_rudp_conn_ready(conn);
    return true;
}

/* --- acknowledgements of ours ----------------------------------------------------------------- */

void weir_rudp_ack_late(struct weir_rudp_conn *conn, uint64_t number)
{
    struct awake *awake = conn->awake;
    struct late *late = awake->late;
    const struct packet *oldest = awake->sent_first;
    awake->ack_floor = weir_min_u64(awake->ack_floor, number);
    /* No ACK that is on its way reports it yet. Of those numbers the lowest is remembered; twice,
     * so that one is forgotten a round trip or two later also when there are ever new ones. */
    if (oldest == NULL || oldest->number >= late[0].before) {
        late[0] = late[1];
        late[1] = (struct late){.number = number};
    }
    late[1].number = weir_min_u64(late[1].number, number);
    late[1].before = conn->next_number;
}

/* --- timers ----------------------------------------------------------------------------------- */

weir_nsec weir_rudp_loss_timer(const struct weir_rudp_conn *conn)
{
    const struct awake *awake = conn->awake;
    if (awake->in_flight_packets == 0) {
        /* All records are of lost packets then, oldest first. */
        return awake->sent_first == NULL ? WEIR_NEVER : forget_at(conn, awake->sent_first);
    }
    if (awake->loss_time != WEIR_NEVER) {
        return awake->loss_time;
    }
    /* RFC 9002 6.2.1: doubled for every probe that went unanswered; but so far only that many are
     * tried before the peer counts as dead, because at 20 % loss each way one in four fails. */
    unsigned shift = awake->probe_count < PROBE_SHIFT_MAX ? awake->probe_count : PROBE_SHIFT_MAX;
    weir_nsec base = weir_rudp_conn_pto(conn);
    weir_nsec longest = weir_max_u64(conn->endpoint->config.dead_timeout / PROBES_TRIED, base);
    return awake->last_eliciting + weir_min_u64(base << shift, longest);
}

/* RFC 9002 6.2.4: probes carry what is oldest, without calling it lost. */
static void probe_oldest(struct weir_rudp_conn *conn)
{
    unsigned wanted = PROBES_MAX;
    for (struct packet *packet = conn->awake->sent_first; packet != NULL && wanted > 0;
         packet = packet->next) {
        if (!packet->is_lost && packet->chunks != NULL) {
            chunks_again(conn, packet);
            wanted--;
        }
    }
}

static void start_probing(struct awake *awake, weir_nsec now)
{
    if (awake->probing_since == 0) {
        awake->probing_since = now;
    }
}

static void on_loss_time(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    bool is_content = detect_losses(conn, now);
    if (conn->endpoint->config.resend != WEIR_RUDP_RESEND_FIXED_TIME) {
        return; /* an answer was the reason */
    }
    if (is_content) {
        start_probing(awake, now);
    }
    if (awake->probing_since != 0 && now - awake->probing_since >= 3 * weir_rudp_conn_pto(conn)) {
        weir_rudp_mtu_on_black_hole(conn);
    }
    /* Silence says that the peer is dead only while something asks for an answer. */
    awake->is_ping_wanted |= awake->probing_since != 0 && awake->in_flight_packets == 0;
}

static void on_probe_timeout(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    start_probing(awake, now);
    awake->last_eliciting = now; /* also when there is no record to send a probe with */
    awake->probe_count++;
    awake->probes_wanted = PROBES_MAX;
    awake->is_ping_wanted = true;
    awake->is_ecn_off |= awake->probe_count == 3; /* perhaps ECN is what the path drops */
    if (awake->probe_count == 3 && conn->mtu_bytes > conn->endpoint->config.mtu_bytes_min) {
        weir_rudp_mtu_on_black_hole(conn);
    }
    probe_oldest(conn);
}

void weir_rudp_loss_on_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    if (now < weir_rudp_loss_timer(conn)) {
        return;
    }
    if (awake->in_flight_packets > 0 && awake->loss_time != WEIR_NEVER) {
        on_loss_time(conn, now);
    } else if (awake->in_flight_packets > 0) {
        on_probe_timeout(conn, now);
    }
    forget_old_losses(conn, now);
    weir_rudp_conn_ready(conn);
}

/* --- the end ---------------------------------------------------------------------------------- */

void weir_rudp_loss_drop_chunks(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    for (struct packet *packet = awake->sent_first; packet != NULL; packet = packet->next) {
        struct chunk *chunks = packet->chunks;
        packet->chunks = NULL;
        chunks_settle(conn->endpoint, chunks, WEIR_OUTCOME_CLOSED);
    }
    struct chunk *again = awake->again_first;
    awake->again_first = awake->again_last = NULL;
    chunks_settle(conn->endpoint, again, WEIR_OUTCOME_CLOSED);
}

void weir_rudp_loss_drop_all(struct weir_rudp_conn *conn)
{
    struct awake *awake = conn->awake;
    weir_rudp_loss_drop_chunks(conn);
    while (awake->sent_first != NULL) {
        struct packet *packet = awake->sent_first;
        awake->sent_first = packet->next;
        weir_pool_give(&conn->endpoint->packets, packet);
    }
    awake->sent_last = NULL;
    awake->in_flight_bytes = 0;
    awake->in_flight_packets = awake->lost_kept = 0;
    awake->loss_time = WEIR_NEVER;
}
