/* SPDX-License-Identifier: MIT */
/*
 * slide.c - the One Big Buffer.
 *
 * Role: finds room for the next batch in front of which nothing held is in the way.
 *
 *      0        start            limit                      size
 *      |..held..| room           |..held....held..|         |
 *
 * start slides past what was held of the last batch. When less than a batch is left before limit,
 * which is the next held byte or the end, start goes back to 0 if it must, and what is held right
 * ahead of it (one batch, or a quarter of the buffer if that is more, so that the list is not
 * walked for every batch) goes to the secondary store. When that is full, everything held in place
 * is pushed together at the front; the bound on it leaves room for a batch behind.
 *
 * A share's holds are on the list of the slide that it has joined, or, brought along, on its own;
 * its own bytes are filled one behind the other and pushed together when their end is reached.
 *
 * Holds in place are on a list in the order they were made. Their bytes may overlap: a message held
 * twice stays one run of bytes in place, and becomes two blocks in the secondary store.
 */
#include "weir/slide.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "mem/store.h"

enum {
    LINE_BYTES = 64, /* every batch starts at a cache line */
    SORT_RUNS_MAX = 48
};

#define SLIDE_BYTES_MAX ((size_t)1 << 40)

struct weir_slide {
    uint8_t *bytes;
    struct weir_store *store; /* NULL with a budget of 0 */
    size_t size, batch_max;   /* multiples of LINE_BYTES */
    size_t start;             /* where the room begins */
    size_t received_end;      /* one past the batch received there */
    size_t limit;             /* no byte of [start, limit) is held, but for the batch itself */
    size_t batch_held_end;    /* one past the last byte held of this batch; start when none is */
    size_t in_place_bytes;    /* sum of the lengths on the list */
    struct weir_hold *first;
    struct weir_slide *host; /* of a share that has joined one */
    size_t away_bytes;       /* of a share: what it holds there */
    bool is_leaving;
    struct weir_slide_stats stats;
};

void weir_slide_config_default(struct weir_slide_config *config)
{
    *config = (struct weir_slide_config){.size_bytes = (size_t)8 << 20,
                                         .batch_bytes_max = (size_t)1 << 20,
                                         .secondary_bytes = (size_t)16 << 20};
}

static bool is_config_valid(const struct weir_slide_config *config)
{
    return config->batch_bytes_max > 0 && config->size_bytes >= config->batch_bytes_max &&
           config->size_bytes <= SLIDE_BYTES_MAX && config->secondary_bytes <= SLIDE_BYTES_MAX;
}

static size_t round_to_line(size_t bytes)
{
    return weir_size_align(bytes, LINE_BYTES);
}

size_t weir_slide_mem_size(const struct weir_slide_config *config)
{
    if (!is_config_valid(config)) {
        return 0;
    }
    size_t size =
        weir_size_add(round_to_line(sizeof(struct weir_slide)), round_to_line(config->size_bytes));
    if (config->secondary_bytes > 0) {
        size = weir_size_add(size, weir_store_mem_size(config->secondary_bytes));
    }
    return size;
}

enum weir_status weir_slide_init(void *mem, const struct weir_slide_config *config,
                                 struct weir_slide **slide)
{
    if (mem == NULL || (uintptr_t)mem % LINE_BYTES != 0 || !is_config_valid(config)) {
        return WEIR_ERR_INVALID;
    }
    struct weir_slide *made = (struct weir_slide *)mem;
    uint8_t *bytes = (uint8_t *)mem + round_to_line(sizeof(*made));
    *made = (struct weir_slide){.bytes = bytes,
                                .size = round_to_line(config->size_bytes),
                                .batch_max = round_to_line(config->batch_bytes_max)};
    made->limit = made->size;
    if (config->secondary_bytes > 0) {
        made->store = weir_store_init(bytes + made->size, config->secondary_bytes);
    }
    *slide = made;
    return WEIR_OK;
}

static bool is_in_slide(const struct weir_slide *slide, struct weir_span span)
{
    uintptr_t base = (uintptr_t)slide->bytes;
    uintptr_t data = (uintptr_t)span.data;
    return data >= base && data < base + slide->size;
}

static size_t offset_of(const struct weir_slide *slide, const struct weir_hold *hold)
{
    return (size_t)(hold->span.data - slide->bytes);
}

static size_t end_of(const struct weir_slide *slide, const struct weir_hold *hold)
{
    return offset_of(slide, hold) + hold->span.length;
}

static void link_hold(struct weir_slide *slide, struct weir_hold *hold)
{
    hold->previous = NULL;
    hold->next = slide->first;
    if (slide->first != NULL) {
        slide->first->previous = hold;
    }
    slide->first = hold;
    slide->in_place_bytes += hold->span.length;
}

static void unlink_hold(struct weir_slide *slide, struct weir_hold *hold)
{
    if (hold->previous != NULL) {
        hold->previous->next = hold->next;
    } else {
        slide->first = hold->next;
    }
    if (hold->next != NULL) {
        hold->next->previous = hold->previous;
    }
    hold->next = hold->previous = NULL;
    slide->in_place_bytes -= hold->span.length;
}

/* The slide in whose bytes the hold lies: of a share its own or its host's. */
static struct weir_slide *place_of(struct weir_slide *slide, struct weir_span span)
{
    return slide->host != NULL && is_in_slide(slide->host, span) ? slide->host : slide;
}

/* From the list of the place; it is the owner's that then copies its bytes, or forgets them. */
static void remove_from(struct weir_slide *place, struct weir_hold *hold)
{
    if (hold->owner != place) {
        hold->owner->away_bytes -= hold->span.length;
    }
    unlink_hold(place, hold);
}

/* Copies the hold's bytes to the owner's secondary store; false when that is full. */
static bool copy_to_secondary(struct weir_slide *slide, struct weir_hold *hold)
{
    size_t length = hold->span.length;
    void *block = slide->store != NULL ? weir_store_take(slide->store, length) : NULL;
    if (block == NULL) {
        return false;
    }
    memcpy(block, hold->span.data, length);
    hold->span.data = (const uint8_t *)block;
    slide->stats.secondary_bytes += length;
    slide->stats.secondary_bytes_total += length;
    return true;
}

/* One list of two, both in order of address. */
static struct weir_hold *merge(struct weir_hold *a, struct weir_hold *b)
{
    struct weir_hold *first = NULL;
    struct weir_hold **end = &first;
    while (a != NULL && b != NULL) {
        struct weir_hold **lower = a->span.data <= b->span.data ? &a : &b;
        *end = *lower;
        end = &(*lower)->next;
        *lower = (*lower)->next;
    }
    *end = a != NULL ? a : b;
    return first;
}

/* Sorts the list by address: runs[i] is a sorted list of 2 ** i holds or none. */
static void sort_holds(struct weir_slide *slide)
{
    struct weir_hold *runs[SORT_RUNS_MAX] = {NULL};
    struct weir_hold *rest = slide->first;
    while (rest != NULL) {
        struct weir_hold *run = rest;
        rest = rest->next;
        run->next = NULL;
        size_t i = 0;
        for (; i + 1 < SORT_RUNS_MAX && runs[i] != NULL; i++) {
            run = merge(runs[i], run);
            runs[i] = NULL;
        }
        runs[i] = run;
    }
    struct weir_hold *sorted = NULL;
    for (size_t i = 0; i < SORT_RUNS_MAX; i++) {
        sorted = merge(runs[i], sorted);
    }
    slide->first = sorted;
    struct weir_hold *previous = NULL;
    for (struct weir_hold *hold = sorted; hold != NULL; hold = hold->next) {
        hold->previous = previous;
        previous = hold;
    }
}

/* Pushes everything held in place together at the front. Overlapping holds move as one run, so the
 * front is never longer than the sum of the lengths, which is bounded by size - batch_max. */
static void compact(struct weir_slide *slide)
{
    sort_holds(slide);
    size_t to = 0;      /* end of what is in its new place */
    size_t run_end = 0; /* end, in old places, of the run that was moved last */
    for (struct weir_hold *hold = slide->first; hold != NULL; hold = hold->next) {
        size_t from = offset_of(slide, hold);
        size_t end = from + hold->span.length;
        size_t fresh = from > run_end ? from : run_end; /* bytes before it have moved already */
        if (end > fresh) {
            memmove(slide->bytes + to, slide->bytes + fresh, end - fresh);
            to += end - fresh;
            run_end = end;
        }
        /* Its end is as far behind the run's end as it was before. */
        hold->span.data = slide->bytes + to - (run_end - from);
    }
    slide->start = round_to_line(to);
    slide->limit = slide->size;
}

/* Makes room of a batch at start: see the top. */
static void clear_ahead(struct weir_slide *slide)
{
    if (slide->size - slide->start < slide->batch_max) {
        slide->start = 0;
    }
    size_t needed_end = slide->start + slide->batch_max;
    size_t quarter_end = slide->start + slide->size / 4;
    size_t wanted_end = quarter_end > needed_end ? quarter_end : needed_end;
    bool is_blocked = false;
    slide->limit = slide->size;
    struct weir_hold *next = NULL;
    for (struct weir_hold *hold = slide->first; hold != NULL; hold = next) {
        next = hold->next;
        size_t from = offset_of(slide, hold);
        if (end_of(slide, hold) <= slide->start) {
            continue;
        }
        if (from < wanted_end && copy_to_secondary(hold->owner, hold)) {
            remove_from(slide, hold);
            hold->owner = NULL;
        } else if (from < needed_end) {
            is_blocked = true;
        } else if (from < slide->limit) {
            slide->limit = from;
        }
    }
    if (is_blocked) {
        compact(slide);
    }
}

struct weir_mut_span weir_slide_room(struct weir_slide *slide)
{
    if (slide->first == NULL) {
        slide->start = 0;
        slide->limit = slide->size;
    } else {
        slide->start = round_to_line(slide->batch_held_end);
        if (slide->start + slide->batch_max > slide->limit) {
            clear_ahead(slide);
        }
    }
    slide->received_end = slide->start;
    slide->batch_held_end = slide->start;
    return (struct weir_mut_span){.data = slide->bytes + slide->start,
                                  .length = slide->limit - slide->start};
}

void weir_slide_received(struct weir_slide *slide, size_t used)
{
    WEIR_ASSERT(used <= slide->limit - slide->received_end);
    slide->received_end += used;
    slide->stats.received_bytes += used;
}

static size_t in_place_room(const struct weir_slide *slide)
{
    return slide->size - slide->batch_max - slide->in_place_bytes - slide->away_bytes;
}

static enum weir_status hold_in_place(struct weir_slide *slide, struct weir_slide *place,
                                      struct weir_hold *hold)
{
    size_t length = hold->span.length;
    if (length > in_place_room(place) || length > in_place_room(slide)) {
        return WEIR_ERR_FULL;
    }
    link_hold(place, hold);
    hold->owner = slide;
    slide->away_bytes += place != slide ? length : 0;
    /* Bytes outside of the batch are held already: they do not move start. */
    size_t end = end_of(place, hold);
    if (offset_of(place, hold) >= place->start && end <= place->limit &&
        end > place->batch_held_end) {
        place->batch_held_end = end;
    }
    return WEIR_OK;
}

enum weir_status weir_slide_hold(struct weir_slide *slide, struct weir_hold *hold,
                                 struct weir_span span)
{
    *hold = (struct weir_hold){.span = span};
    if (span.length == 0) {
        return WEIR_OK;
    }
    struct weir_slide *place = place_of(slide, span);
    enum weir_status status = WEIR_OK;
    if (is_in_slide(place, span)) {
        WEIR_ASSERT(end_of(place, hold) <= place->size);
        status = hold_in_place(slide, place, hold);
    } else if (!copy_to_secondary(slide, hold)) {
        status = WEIR_ERR_FULL;
    }
    if (status != WEIR_OK) {
        slide->stats.refused++;
        *hold = (struct weir_hold){.span = {NULL, 0}};
        return status;
    }
    slide->stats.held_bytes += span.length;
    slide->stats.held_bytes_peak =
        weir_max_u64(slide->stats.held_bytes_peak, slide->stats.held_bytes);
    return WEIR_OK;
}

void weir_slide_drop(struct weir_slide *slide, struct weir_hold *hold)
{
    size_t length = hold->span.length;
    if (length == 0) {
        return;
    }
    WEIR_ASSERT(slide->stats.held_bytes >= length);
    slide->stats.held_bytes -= length;
    if (hold->owner == NULL) {
        weir_store_give(slide->store, hold->span.data, length);
        slide->stats.secondary_bytes -= length;
    } else {
        remove_from(place_of(slide, hold->span), hold);
    }
    *hold = (struct weir_hold){.span = {NULL, 0}};
}

/* --- shards ----------------------------------------------------------------------------------- */

void weir_slide_join(struct weir_slide *share, struct weir_slide *host)
{
    WEIR_ASSERT(share->host == NULL && host->host == NULL && share != host);
    share->host = host;
}

/* Into the share's own bytes. There is room, if only after pushing together: see in_place_room. */
static void bring_along(struct weir_slide *share, struct weir_hold *hold)
{
    size_t length = hold->span.length;
    if (share->first == NULL) {
        share->start = 0;
    }
    if (length > share->size - share->start) {
        compact(share);
    }
    WEIR_ASSERT(length <= share->size - share->start);
    memcpy(share->bytes + share->start, hold->span.data, length);
    hold->span.data = share->bytes + share->start;
    share->start += length;
    link_hold(share, hold);
}

void weir_slide_leave(struct weir_slide *host, struct weir_slide *const *shares, uint32_t count)
{
    struct weir_hold *next = NULL;
    for (uint32_t i = 0; i < count; i++) {
        WEIR_ASSERT(shares[i]->host == host);
        shares[i]->is_leaving = true;
    }
    for (struct weir_hold *hold = host->first; hold != NULL; hold = next) {
        next = hold->next;
        if (!hold->owner->is_leaving) {
            continue;
        }
        remove_from(host, hold);
        if (copy_to_secondary(hold->owner, hold)) {
            hold->owner = NULL;
        } else {
            bring_along(hold->owner, hold);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        WEIR_ASSERT(shares[i]->away_bytes == 0);
        shares[i]->host = NULL;
        shares[i]->is_leaving = false;
    }
}

const struct weir_slide_stats *weir_slide_stats(const struct weir_slide *slide)
{
    return &slide->stats;
}
