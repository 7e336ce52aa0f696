/* SPDX-License-Identifier: MIT */
/*
 * slide.h - the One Big Buffer that datagrams are received into, and holds on what must stay.
 *
 * Role: receive without a copy. A batch lands at start; what is not needed past the batch costs
 * nothing; what must be kept is held in place, and moved to the secondary store only when the next
 * batch needs its place, about one turn of the buffer later, while it is still held.
 *
 *      0                start                                   size
 *      |..held...held.. | next batch lands here   | room        |
 *                         <---- batch_bytes_max -->
 *
 * Owned by: one thread (one slide per worker).
 * Memory: the caller's block of weir_slide_mem_size bytes; never allocates.
 * Bound: bytes held in place never exceed size - batch_bytes_max, so that start can always return;
 * a hold that would pass the bound is refused.
 */
#ifndef WEIR_SLIDE_H
#define WEIR_SLIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/span.h"
#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_slide;

struct weir_slide_config {
    size_t size_bytes;      /* default 8 MiB */
    size_t batch_bytes_max; /* most that one receive may fill; default 1 MiB */
    size_t secondary_bytes; /* budget of the secondary store; default 16 MiB */
};

/* A held span. Lives in the holder's struct; the slide links it and moves span.data when the bytes
 * move, so read span anew after every receive. */
struct weir_hold {
    struct weir_span span; /* where the bytes are now */
    struct weir_hold *next;
    struct weir_hold *previous;
    struct weir_slide *owner; /* whose hold it is; NULL: the bytes are in the secondary store */
};

struct weir_slide_stats {
    uint64_t received_bytes; /* that ever landed in the slide */
    uint64_t held_bytes;     /* held now, in place or secondary */
    uint64_t held_bytes_peak;
    uint64_t secondary_bytes;       /* in the secondary store now */
    uint64_t secondary_bytes_total; /* that were ever moved there */
    uint64_t refused;               /* holds refused for want of room */
};

/* Sets every field to its default. */
WEIR_API void weir_slide_config_default(struct weir_slide_config *config);
/* Bytes of the one block that init needs; 0 when config is outside its bounds. */
WEIR_API size_t weir_slide_mem_size(const struct weir_slide_config *config);
/* mem: 64-byte aligned, weir_slide_mem_size bytes, the slide's until the caller frees it; there is
 * no fini. WEIR_ERR_INVALID when mem is NULL or not aligned, or config outside its bounds. */
WEIR_API enum weir_status weir_slide_init(void *mem, const struct weir_slide_config *config,
                                          struct weir_slide **slide);

/* Room for the next receive, at least batch_bytes_max. Ends the validity of every span of the batch
 * before that is not held. May move held bytes to the secondary store (or, when that is full,
 * together at the front). */
WEIR_API struct weir_mut_span weir_slide_room(struct weir_slide *slide);
/* Says that the receive filled used bytes of the room. */
WEIR_API void weir_slide_received(struct weir_slide *slide, size_t used);

/* Keeps span valid until weir_slide_drop. Bytes inside the slide stay where they are; any other
 * bytes (a driver's frame) are copied to the secondary store. WEIR_ERR_FULL: nothing is held. A
 * span of length 0 is held without cost. */
WEIR_API enum weir_status weir_slide_hold(struct weir_slide *slide, struct weir_hold *hold,
                                          struct weir_span span);
/* Ends a hold that weir_slide_hold made; its bytes are gone with the next weir_slide_room. */
WEIR_API void weir_slide_drop(struct weir_slide *slide, struct weir_hold *hold);

/* --- shards ------------------------------------------------------------------------------------
 * A worker has one slide to receive into; each shard has a slide of its own for its engines to hold
 * in, a share, which is never received into. While it has joined a worker's slide, what lies there
 * is held in place there, and counted in both. When it leaves, it takes its bytes along: to its
 * secondary store, and what does not fit to its own size_bytes, so a share holds in place at most
 * size_bytes - batch_bytes_max (64 will do for that) wherever the bytes are. */

/* share must not be joined already, host must be no share that is. */
WEIR_API void weir_slide_join(struct weir_slide *share, struct weir_slide *host);
/* The shares, all joined to host, leave it. Ends the validity of spans of theirs that are not held.
 * Costs one walk over what is held in host, and the copies. */
WEIR_API void weir_slide_leave(struct weir_slide *host, struct weir_slide *const *shares,
                               uint32_t count);

/* Is it in the secondary store? */
static inline bool weir_hold_is_secondary(const struct weir_hold *hold)
{
    return hold->span.length > 0 && hold->owner == NULL;
}

/* Borrowed, kept up to date in place, valid as long as the slide. */
WEIR_API const struct weir_slide_stats *weir_slide_stats(const struct weir_slide *slide);

#ifdef __cplusplus
}
#endif
#endif
