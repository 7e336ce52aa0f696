/* SPDX-License-Identifier: MIT */
/*
 * flight.c - segments in flight: when each is due again, which ACKs passed it over, what arrived.
 *
 * The ring grows by powers of two with what is in flight. Every segment is in the calendar of
 * timeouts; nothing ever looks at all of them.
 *
 * Fast resend. Segments sent once are in order of sn and of ts, so those that a batch of ACKs with
 * largest sn M and its ts passes over are the first ones of LIST_FRESH, up to sn M or a later ts.
 * LIST_RESENT is in order of ts; a segment there with sn M or above is skipped, few of them. Once
 * passed over "resend" times a segment goes to LIST_DUE. So the work per transmission is bounded by
 * "resend", not by the window.
 */
#include <string.h>

#include "kcp/links.h"

uint32_t weir_kcp_flight_sn(const struct awake *awake, const struct slot *slot)
{
    uint32_t index = weir_kcp_slot_index(awake, slot);
    return awake->snd_una + ((index - awake->snd_una) & awake->flight->mask);
}

/* Days from tick on to the next that is used, 0 for tick's own day; CALENDAR_SLOTS: none. */
static uint32_t days_to_used(const struct flight *flight, uint32_t tick)
{
    uint32_t start = tick % CALENDAR_SLOTS;
    for (uint32_t i = 0; i <= CALENDAR_SLOTS / 64; i++) {
        uint32_t word = (start / 64 + i) % (CALENDAR_SLOTS / 64);
        uint64_t bits = flight->used[word];
        if (i == 0) {
            bits &= ~UINT64_C(0) << (start % 64);
        }
        if (bits != 0) {
            uint32_t day = word * 64 + (uint32_t)__builtin_ctzll(bits);
            return (day - start) % CALENDAR_SLOTS;
        }
    }
    return CALENDAR_SLOTS;
}

struct slot *weir_kcp_flight_expired(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    struct flight *flight = awake->flight;
    if (flight == NULL) {
        return NULL;
    }
    uint32_t now = weir_kcp_tick_now(ep);
    if (weir_kcp_diff(now, awake->tick) >= CALENDAR_SLOTS) {
        awake->tick = now - (CALENDAR_SLOTS - 1); /* every day has passed: once round is enough */
    }
    while (weir_kcp_diff(now, awake->tick) >= 0) {
        uint32_t days = days_to_used(flight, awake->tick);
        if (days == CALENDAR_SLOTS || days > now - awake->tick) {
            awake->tick = now; /* the day of now may still be added to */
            return NULL;
        }
        awake->tick += days;
        uint16_t index = flight->first_of_day[awake->tick % CALENDAR_SLOTS];
        struct slot *slot = &flight->slots[index];
        if (weir_kcp_diff(slot->due_tick, now) <= 0) {
            return slot;
        }
        weir_kcp_day_remove(flight, slot, index); /* was parked on the last day */
        weir_kcp_day_append(awake, slot, slot->due_tick);
    }
    return NULL;
}

weir_nsec weir_kcp_flight_next(const struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->flight == NULL || awake->snd_una == awake->snd_nxt) {
        return WEIR_NEVER;
    }
    if (awake->lists[LIST_DUE].first != SLOT_NONE) {
        return ep->now;
    }
    uint32_t days = days_to_used(awake->flight, awake->tick);
    uint32_t ahead = awake->tick + days - weir_kcp_tick_now(ep);
    return (((ep->ms >> ep->tick_shift) + (weir_kcp_diff(ahead, 0) > 0 ? ahead : 0))
            << ep->tick_shift) *
           WEIR_MSEC;
}

/* --- the ring --------------------------------------------------------------------------------- */

static size_t flight_bytes(const struct weir_kcp *ep, uint32_t slots)
{
    size_t each = sizeof(struct slot);
    if (ep->config.cc != WEIR_CC_NONE) {
        each += sizeof(struct weir_cc_packet);
    }
    return sizeof(struct flight) + slots * each;
}

static uint16_t renumber(const struct awake *awake, uint16_t index, uint32_t old_mask,
                         uint32_t mask)
{
    if (index == SLOT_NONE) {
        return SLOT_NONE;
    }
    uint32_t sn = awake->snd_una + ((index - awake->snd_una) & old_mask);
    return (uint16_t)(sn & mask);
}

/* Moves everything into the larger ring; an index follows from its sn. */
static void move_flight(struct awake *awake, const struct flight *old, struct flight *flight)
{
    uint32_t from = old->mask;
    uint32_t to = flight->mask;
    memcpy(flight->used, old->used, sizeof(flight->used));
    for (uint32_t day = 0; day < CALENDAR_SLOTS; day++) {
        flight->first_of_day[day] = renumber(awake, old->first_of_day[day], from, to);
    }
    for (uint32_t sn = awake->snd_una; sn != awake->snd_nxt; sn++) {
        struct slot *slot = &flight->slots[sn & to];
        *slot = old->slots[sn & from];
        slot->next = renumber(awake, slot->next, from, to);
        slot->previous = renumber(awake, slot->previous, from, to);
        slot->day_next = renumber(awake, slot->day_next, from, to);
        slot->day_previous = renumber(awake, slot->day_previous, from, to);
        if (flight->cc != NULL) {
            flight->cc[sn & to] = old->cc[sn & from];
        }
    }
    for (unsigned i = 0; i < LIST_COUNT; i++) {
        awake->lists[i].first = renumber(awake, awake->lists[i].first, from, to);
        awake->lists[i].last = renumber(awake, awake->lists[i].last, from, to);
    }
}

bool weir_kcp_flight_grow(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    struct flight *old = awake->flight;
    uint32_t slots = old == NULL ? SLOTS_MIN : 2 * (old->mask + 1);
    size_t bytes = flight_bytes(ep, slots);
    struct flight *flight =
        slots <= WEIR_KCP_WINDOW_MAX ? weir_store_take(ep->window_store, bytes) : NULL;
    if (flight == NULL) {
        return false;
    }
    flight->mask = slots - 1;
    flight->size_bytes = (uint32_t)bytes;
    flight->cc = ep->config.cc == WEIR_CC_NONE
                     ? NULL
                     : (struct weir_cc_packet *)(void *)(flight->slots + slots);
    awake->flight = flight;
    if (old != NULL) {
        move_flight(awake, old, flight);
        weir_store_give(ep->window_store, old, old->size_bytes);
        return true;
    }
    memset(flight->used, 0, sizeof(flight->used));
    memset(flight->first_of_day, 0xff, sizeof(flight->first_of_day));
    awake->tick = weir_kcp_tick_now(ep);
    return true;
}

void weir_kcp_flight_drop_all(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->flight == NULL) {
        return;
    }
    for (uint32_t sn = awake->snd_una; sn != awake->snd_nxt; sn++) {
        struct message *message = weir_kcp_slot_at(awake, sn)->message;
        if (message != NULL && --message->in_flight == 0 && !message->is_queued) {
            weir_kcp_message_settle(ep, awake, message, WEIR_OUTCOME_CLOSED);
        }
    }
    awake->snd_una = awake->snd_nxt;
    awake->arrived = 0;
    for (unsigned i = 0; i < LIST_COUNT; i++) {
        awake->lists[i] = (struct slot_list){SLOT_NONE, SLOT_NONE};
    }
    weir_store_give(ep->window_store, awake->flight, awake->flight->size_bytes);
    awake->flight = NULL;
}

/* --- sending ---------------------------------------------------------------------------------- */

void weir_kcp_flight_on_resent(struct awake *awake, struct slot *slot, uint32_t wait_ms)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    const struct weir_kcp_tuning *tuning = &ep->config.tuning;
    slot->ts = (uint32_t)ep->ms;
    slot->xmit = (uint8_t)(slot->xmit + (slot->xmit < UINT8_MAX));
    slot->fastack = 0;
    weir_kcp_day_remove(awake->flight, slot, weir_kcp_slot_index(awake, slot));
    weir_kcp_day_append(awake, slot, weir_kcp_tick_after(ep, wait_ms));
    weir_kcp_list_remove(awake, slot);
    if (slot->xmit <= ep->fast_limit && tuning->resend != 0) {
        weir_kcp_list_append(awake, slot, LIST_RESENT);
    }
}

static bool is_too_young(const struct awake *awake, const struct slot *slot)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t age = (uint32_t)ep->ms - slot->ts;
    return ep->config.tuning.is_reorder_tolerant && age < awake->srtt_ms + awake->srtt_ms / 4;
}

struct slot *weir_kcp_flight_due(struct awake *awake, bool is_early)
{
    uint16_t index = awake->lists[LIST_DUE].first;
    if (index == SLOT_NONE && is_early) {
        for (unsigned i = LIST_FRESH; i <= LIST_RESENT && index == SLOT_NONE; i++) {
            index = awake->lists[i].first;
            if (index != SLOT_NONE && awake->flight->slots[index].fastack == 0) {
                index = SLOT_NONE;
            }
        }
    }
    if (index == SLOT_NONE || is_too_young(awake, &awake->flight->slots[index])) {
        return NULL;
    }
    return &awake->flight->slots[index];
}

/* --- acknowledgements ------------------------------------------------------------------------- */

static inline void unlink_slot(struct awake *awake, struct slot *slot)
{
    weir_kcp_day_remove(awake->flight, slot, weir_kcp_slot_index(awake, slot));
    weir_kcp_list_remove(awake, slot);
}

/* Its bytes have arrived. */
static inline void settle_slot(struct awake *awake, struct slot *slot)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    struct message *message = slot->message;
    if (awake->paced != NULL) {
        weir_kcp_paced_on_acked(awake, slot);
    }
    slot->message = NULL;
    if (--message->in_flight > 0 || message->is_queued) {
        return;
    }
    if (message->parcel == NULL && message->page->live > 1 && ep->starved.first == LIST_END) {
        awake->waiting--; /* what settling comes to, mostly */
        message->page->live--;
    } else {
        weir_kcp_message_settle(ep, awake, message, WEIR_OUTCOME_ACKED);
    }
}

/* snd_una is the first that is not acknowledged. */
static void pass_acknowledged(struct awake *awake)
{
    while (awake->snd_una != awake->snd_nxt &&
           weir_kcp_slot_at(awake, awake->snd_una)->message == NULL) {
        awake->snd_una++;
        awake->arrived--;
    }
}

/* Everything in flight has arrived: lists and calendar are emptied at once. */
static void forget_all(struct awake *awake)
{
    struct flight *flight = awake->flight;
    for (uint32_t word = 0; word < CALENDAR_SLOTS / 64; word++) {
        for (uint64_t bits = flight->used[word]; bits != 0; bits &= bits - 1) {
            flight->first_of_day[word * 64 + (uint32_t)__builtin_ctzll(bits)] = SLOT_NONE;
        }
        flight->used[word] = 0;
    }
    for (unsigned i = 0; i < LIST_COUNT; i++) {
        awake->lists[i] = (struct slot_list){SLOT_NONE, SLOT_NONE};
    }
}

void weir_kcp_flight_on_una(struct awake *awake, uint32_t una)
{
    if (weir_kcp_diff(una, awake->snd_nxt) > 0) {
        weir_kcp_count_drop(awake->conn->endpoint, WEIR_KCP_DROP_ACK);
        return;
    }
    if (weir_kcp_diff(una, awake->snd_una) <= 0) {
        return;
    }
    struct flight *flight = awake->flight;
    bool is_all = una == awake->snd_nxt;
    for (uint32_t sn = awake->snd_una; sn != una; sn++) {
        struct slot *slot = &flight->slots[sn & flight->mask];
        if (slot->message == NULL) {
            awake->arrived--;
            continue;
        }
        if (!is_all) {
            unlink_slot(awake, slot);
        }
        settle_slot(awake, slot);
    }
    awake->snd_una = una;
    if (is_all) {
        forget_all(awake);
    } else {
        pass_acknowledged(awake);
    }
}

void weir_kcp_flight_on_ack(struct awake *awake, uint32_t sn)
{
    struct slot *slot = weir_kcp_slot_at(awake, sn);
    if (slot->message == NULL) {
        return; /* of a copy whose first was acknowledged, mostly */
    }
    unlink_slot(awake, slot);
    settle_slot(awake, slot);
    if (sn == awake->snd_una) {
        awake->snd_una++;
        pass_acknowledged(awake);
    } else {
        awake->arrived++;
    }
}

/* Counts a batch of ACKs against the segments of one list that it passes over. */
static void count_passed(struct awake *awake, enum flight_list which, uint32_t sn, uint32_t ts)
{
    const struct weir_kcp_tuning *tuning = &awake->conn->endpoint->config.tuning;
    uint16_t index = awake->lists[which].first;
    unsigned skips = 0;
    while (index != SLOT_NONE) {
        struct slot *slot = &awake->flight->slots[index];
        uint16_t next = slot->next;
        if (weir_kcp_diff(slot->ts, ts) > 0) {
            return;
        }
        if (weir_kcp_diff(weir_kcp_flight_sn(awake, slot), sn) < 0) {
            slot->fastack++;
            if (slot->fastack >= tuning->resend) {
                weir_kcp_list_remove(awake, slot);
                weir_kcp_list_append(awake, slot, LIST_DUE);
            }
        } else if (which == LIST_FRESH || ++skips == SKIPS_MAX) {
            return;
        }
        index = next;
    }
}

void weir_kcp_flight_on_acks(struct awake *awake, uint32_t sn, uint32_t ts)
{
    /* Below: all of it has arrived since; beyond: never sent. */
    if (sn - awake->snd_una >= awake->snd_nxt - awake->snd_una) {
        return;
    }
    if (awake->lists[LIST_FRESH].first != SLOT_NONE) {
        count_passed(awake, LIST_FRESH, sn, ts);
    }
    if (awake->lists[LIST_RESENT].first != SLOT_NONE) {
        count_passed(awake, LIST_RESENT, sn, ts);
    }
}
