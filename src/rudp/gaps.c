/* SPDX-License-Identifier: MIT */
/*
 * gaps.c - which messages of a channel have been received, so that none is handed out twice.
 *
 * Delivery messages: a floor (receive_next) and ranges above it, in an array that exists only while
 * there are gaps. Order messages: a window of the latest 128 numbers; older ones count as late.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    GAPS_FIRST = 16,
    WINDOW_BITS = 128
};

static struct weir_ranges gap_ranges(const struct channel *channel)
{
    return (struct weir_ranges){
        .items = channel->gaps, .count = channel->gaps_count, .max = channel->gaps_max};
}

bool weir_rudp_channel_has_received(const struct channel *channel, uint64_t dseq)
{
    if (dseq < channel->receive_next) {
        return true;
    }
    if (channel->gaps_count == 0) {
        return false;
    }
    struct weir_ranges ranges = gap_ranges(channel);
    return weir_ranges_contains(&ranges, dseq);
}

void weir_rudp_channel_drop_gaps(struct weir_rudp *ep, struct channel *channel)
{
    if (channel->gaps != NULL) {
        weir_store_give(ep->assembly_store, channel->gaps,
                        channel->gaps_max * sizeof(struct weir_range));
    }
    channel->gaps = NULL;
    channel->gaps_count = channel->gaps_max = 0;
}

static bool grow_gaps(struct weir_rudp *ep, struct channel *channel)
{
    uint32_t max = channel->gaps_max == 0 ? GAPS_FIRST : channel->gaps_max * 4;
    if (max > GAPS_MAX) {
        return false;
    }
    struct weir_range *gaps = weir_store_take(ep->assembly_store, max * sizeof(*gaps));
    if (gaps == NULL) {
        return false;
    }
    uint32_t count = channel->gaps_count;
    if (count > 0) {
        memcpy(gaps, channel->gaps, count * sizeof(*gaps));
    }
    weir_rudp_channel_drop_gaps(ep, channel);
    channel->gaps = gaps;
    channel->gaps_count = count;
    channel->gaps_max = max;
    return true;
}

/* receive_next itself has arrived: the floor rises, over the first range too if it adjoins. */
static void raise_floor(struct weir_rudp *ep, struct channel *channel)
{
    channel->receive_next++;
    if (channel->gaps_count == 0 || channel->gaps[0].first != channel->receive_next) {
        return;
    }
    channel->receive_next = channel->gaps[0].last + 1;
    struct weir_ranges ranges = gap_ranges(channel);
    weir_ranges_remove_below(&ranges, channel->receive_next);
    channel->gaps_count = ranges.count;
    if (channel->gaps_count == 0) {
        weir_rudp_channel_drop_gaps(ep, channel);
    }
}

bool weir_rudp_channel_mark_received(struct weir_rudp *ep, struct channel *channel, uint64_t dseq)
{
    if (dseq == channel->receive_next) {
        raise_floor(ep, channel);
        return true;
    }
    for (;;) {
        struct weir_ranges ranges = gap_ranges(channel);
        uint64_t added;
        if (ranges.max > 0 && weir_ranges_add(&ranges, dseq, dseq, &added) == WEIR_OK) {
            channel->gaps_count = ranges.count;
            return true;
        }
        if (!grow_gaps(ep, channel)) {
            return false;
        }
    }
}

static void shift_window(struct channel *channel, uint64_t by)
{
    uint64_t *window = channel->mid_window;
    if (by >= WINDOW_BITS) {
        window[0] = window[1] = 0;
    } else if (by >= 64) {
        window[1] = window[0] << (by - 64);
        window[0] = 0;
    } else {
        window[1] = window[1] << by | window[0] >> (64 - by);
        window[0] <<= by;
    }
}

bool weir_rudp_channel_mark_order(struct channel *channel, uint64_t mid)
{
    if (mid >= channel->mid_top) {
        shift_window(channel, mid + 1 - channel->mid_top);
        channel->mid_top = mid + 1;
        channel->mid_window[0] |= 1;
        return true;
    }
    uint64_t age = channel->mid_top - 1 - mid;
    if (age >= WINDOW_BITS) {
        return false;
    }
    uint64_t bit = UINT64_C(1) << (age & 63);
    uint64_t *word = &channel->mid_window[age >> 6];
    if ((*word & bit) != 0) {
        return false;
    }
    *word |= bit;
    return true;
}
