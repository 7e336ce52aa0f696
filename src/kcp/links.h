/* SPDX-License-Identifier: MIT */
/*
 * links.h - where a segment in flight is: its slot in the ring, a list, a day of the calendar.
 *
 * Role: the small steps that flight.c and output.c take for every segment, inline.
 */
#ifndef WEIR_KCP_LINKS_H
#define WEIR_KCP_LINKS_H

#include "kcp/internal.h"

static inline struct slot *weir_kcp_slot_at(const struct awake *awake, uint32_t sn)
{
    return &awake->flight->slots[sn & awake->flight->mask];
}

static inline uint16_t weir_kcp_slot_index(const struct awake *awake, const struct slot *slot)
{
    return (uint16_t)(slot - awake->flight->slots);
}

/* --- lists ------------------------------------------------------------------------------------ */

static inline void weir_kcp_list_append(struct awake *awake, struct slot *slot,
                                        enum flight_list which)
{
    struct slot_list *list = &awake->lists[which];
    uint16_t index = weir_kcp_slot_index(awake, slot);
    slot->list = (uint8_t)which;
    slot->next = SLOT_NONE;
    slot->previous = list->last;
    if (list->last == SLOT_NONE) {
        list->first = index;
    } else {
        awake->flight->slots[list->last].next = index;
    }
    list->last = index;
}

static inline void weir_kcp_list_remove(struct awake *awake, struct slot *slot)
{
    if (slot->list == LIST_NONE) {
        return;
    }
    struct slot_list *list = &awake->lists[slot->list];
    struct slot *slots = awake->flight->slots;
    *(slot->previous == SLOT_NONE ? &list->first : &slots[slot->previous].next) = slot->next;
    *(slot->next == SLOT_NONE ? &list->last : &slots[slot->next].previous) = slot->previous;
    slot->list = LIST_NONE;
}

/* --- the calendar ----------------------------------------------------------------------------- */

/* The day for what is due at tick. */
static inline uint32_t weir_kcp_day_of(const struct awake *awake, uint32_t tick)
{
    uint32_t ahead = tick - awake->tick;
    return (ahead < CALENDAR_SLOTS ? tick : awake->tick + CALENDAR_SLOTS - 1) % CALENDAR_SLOTS;
}

static inline void weir_kcp_day_link(struct flight *flight, struct slot *slot, uint16_t index,
                                     uint32_t day)
{
    uint16_t first = flight->first_of_day[day];
    slot->day = (uint8_t)day;
    slot->day_next = SLOT_NONE;
    if (first == SLOT_NONE) {
        flight->first_of_day[day] = index;
        flight->used[day / 64] |= UINT64_C(1) << (day % 64);
        slot->day_previous = index;
        return;
    }
    uint16_t last = flight->slots[first].day_previous;
    flight->slots[last].day_next = index;
    slot->day_previous = last;
    flight->slots[first].day_previous = index;
}

static inline void weir_kcp_day_append(struct awake *awake, struct slot *slot, uint32_t tick)
{
    slot->due_tick = tick;
    weir_kcp_day_link(awake->flight, slot, weir_kcp_slot_index(awake, slot),
                      weir_kcp_day_of(awake, tick));
}

static inline void weir_kcp_day_remove(struct flight *flight, const struct slot *slot,
                                       uint16_t index)
{
    uint32_t day = slot->day;
    uint16_t first = flight->first_of_day[day];
    if (slot->day_next != SLOT_NONE) {
        flight->slots[slot->day_next].day_previous = slot->day_previous;
    } else if (first != index) {
        flight->slots[first].day_previous = slot->day_previous; /* it was the last */
    }
    if (first != index) {
        flight->slots[slot->day_previous].day_next = slot->day_next;
        return;
    }
    flight->first_of_day[day] = slot->day_next;
    if (slot->day_next == SLOT_NONE) {
        flight->used[day / 64] &= ~(UINT64_C(1) << (day % 64));
    }
}

/* Rounded up: what is found on its day is due. */
static inline uint32_t weir_kcp_tick_after(const struct weir_kcp *ep, uint64_t wait_ms)
{
    uint32_t shift = ep->tick_shift;
    return (uint32_t)((ep->ms + wait_ms + (1U << shift) - 1) >> shift);
}

static inline uint32_t weir_kcp_tick_now(const struct weir_kcp *ep)
{
    return (uint32_t)(ep->ms >> ep->tick_shift);
}

/* Room for one more segment at snd_nxt; NULL: no memory. */
static inline struct slot *weir_kcp_flight_room(struct awake *awake)
{
    const struct flight *flight = awake->flight;
    if ((flight == NULL || awake->snd_nxt - awake->snd_una > flight->mask) &&
        !weir_kcp_flight_grow(awake)) {
        return NULL;
    }
    return weir_kcp_slot_at(awake, awake->snd_nxt);
}

/* What all segments have in common that leave in one flush for the first time. */
struct departure {
    uint32_t ts, due, day;
    uint16_t rto_ms;
    bool is_listed; /* fast resend is on */
};

/* The slot that room returned is on its way. */
static inline void weir_kcp_flight_on_first_sent(struct awake *awake, struct slot *slot,
                                                 const struct departure *departure)
{
    uint16_t index = (uint16_t)(awake->snd_nxt & awake->flight->mask);
    struct slot_list *fresh = &awake->lists[LIST_FRESH];
    slot->ts = departure->ts;
    slot->rto_ms = departure->rto_ms;
    slot->due_tick = departure->due;
    slot->xmit = 1;
    slot->fastack = 0;
    slot->list = departure->is_listed ? LIST_FRESH : LIST_NONE;
    weir_kcp_day_link(awake->flight, slot, index, departure->day);
    if (departure->is_listed) {
        slot->next = SLOT_NONE;
        slot->previous = fresh->last;
        *(fresh->last == SLOT_NONE ? &fresh->first : &awake->flight->slots[fresh->last].next) =
            index;
        fresh->last = index;
    }
    awake->snd_nxt++;
}

static inline struct departure weir_kcp_flight_departure(struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    uint32_t grace = ep->config.tuning.nodelay == 0 ? awake->rto_ms / 8 : 0;
    uint32_t due = weir_kcp_tick_after(ep, awake->rto_ms + grace);
    if (awake->snd_una == awake->snd_nxt) {
        awake->tick = weir_kcp_tick_now(ep); /* the calendar is empty */
    }
    return (struct departure){.ts = (uint32_t)ep->ms,
                              .due = due,
                              .day = weir_kcp_day_of(awake, due),
                              .rto_ms = (uint16_t)awake->rto_ms,
                              .is_listed = ep->config.tuning.resend != 0};
}

#endif
