/* SPDX-License-Identifier: MIT */
/*
 * cookie.c - SYN cookies: what a half-open connection would remember, in our initial number.
 *
 *      31              20 19            8 7      5 4     1 0
 *     | 12 bits of a hash | 12 of another |  MSS   | scale | S |
 *
 * Both hashes are keyed and cover addresses, ports, the minute and the low byte; the second one the
 * peer's initial number, too. So the options are kept without timestamps; timestamps themselves
 * show in the ACK, ECN is not offered. Whoever guesses makes 2^23 tries on average for a connection
 * from an address of somebody else.
 * The peer's initial number is known from its first segment only. When that is lost the next ones
 * come too early: the first hash tells them from strangers' ACKs, and they are passed over in
 * silence, for the first will come again, where the others get the RST that RFC 9293 asks for.
 * Spec: RFC 4987 3.6.
 */
#include <string.h>

#include "tcp/internal.h"

enum {
    SLOT_SHIFT = 36, /* of the clock: 69 s; a cookie is good for one to two slots */
    SLOTS = 2,
    SCALE_NONE = 15
};

#define OUTER_MASK 0xfff00000U
#define INNER_MASK 0x000fff00U

static const uint16_t mss_steps[8] = {216, MSS_DEFAULT, 1024, MSS_DEFAULT6, 1360, 1400, 1440, 1460};

/* What is_inner adds: the peer's number. */
static uint32_t hash_part(const struct weir_tcp *ep, const struct weir_path *path, uint32_t number,
                          uint64_t slot, uint8_t low, bool is_inner)
{
    struct {
        struct weir_path path;
        uint64_t slot;
        uint32_t number;
        uint8_t low, is_inner;
    } input;

    memset(&input, 0, sizeof(input));
    input.path = *path;
    input.slot = slot;
    input.number = is_inner ? number : 0;
    input.low = low;
    input.is_inner = is_inner;
    return (uint32_t)weir_hash24(&ep->cookie_key, &input, sizeof(input)) &
           (is_inner ? INNER_MASK : OUTER_MASK);
}

static uint32_t hash_cookie(const struct weir_tcp *ep, const struct weir_path *path,
                            uint32_t number, uint64_t slot, uint8_t low)
{
    return hash_part(ep, path, number, slot, low, false) |
           hash_part(ep, path, number, slot, low, true) | low;
}

uint32_t weir_tcp_cookie_make(struct weir_tcp *ep, const struct weir_path *path,
                              const struct weir_tcp_segment *syn)
{
    uint32_t mss = MSS_DEFAULT;
    uint32_t step = 7;
    if ((syn->options & WEIR_TCP_HAS_MSS) != 0) {
        mss = syn->mss;
    }
    while (step > 0 && mss_steps[step] > mss) {
        step--;
    }
    uint32_t scale = (syn->options & WEIR_TCP_HAS_SCALE) != 0 ? syn->scale : SCALE_NONE;
    uint32_t sack = (syn->options & WEIR_TCP_HAS_SACK_PERMITTED) != 0;
    uint8_t low = (uint8_t)(step << 5 | scale << 1 | sack);
    ep->cookie_at = ep->now;
    ep->is_cookie_used = true;
    ep->stats.cookies_sent++;
    return hash_cookie(ep, path, syn->seq, ep->now >> SLOT_SHIFT, low);
}

bool weir_tcp_cookie_is_good(const struct weir_tcp *ep)
{
    return ep->is_cookie_used && (ep->now - ep->cookie_at) >> SLOT_SHIFT < SLOTS;
}

enum cookie_verdict weir_tcp_cookie_check(struct weir_tcp *ep, const struct weir_path *path,
                                          const struct weir_tcp_segment *ack,
                                          struct weir_tcp_segment *syn)
{
    uint32_t cookie = ack->ack - 1;
    uint64_t slot = ep->now >> SLOT_SHIFT;
    uint8_t low = (uint8_t)cookie;
    bool is_right = false;
    bool is_early = false;
    if (!weir_tcp_cookie_is_good(ep)) {
        return COOKIE_WRONG;
    }
    for (uint64_t back = 0; back < SLOTS && back <= slot && !is_right; back++) {
        is_right = hash_cookie(ep, path, ack->seq - 1, slot - back, low) == cookie;
        is_early |= hash_part(ep, path, 0, slot - back, low, false) == (cookie & OUTER_MASK);
    }
    if (!is_right) {
        return is_early ? COOKIE_EARLY : COOKIE_WRONG;
    }
    uint8_t scale = low >> 1 & 15;
    *syn = (struct weir_tcp_segment){.seq = ack->seq - 1,
                                     .mss = mss_steps[low >> 5],
                                     .scale = scale,
                                     .options = WEIR_TCP_HAS_MSS};
    syn->options |= scale != SCALE_NONE ? WEIR_TCP_HAS_SCALE : 0;
    syn->options |= (low & 1) != 0 ? WEIR_TCP_HAS_SACK_PERMITTED : 0;
    syn->options |= ack->options & WEIR_TCP_HAS_TIMESTAMPS;
    syn->ts_value = ack->ts_value;
    return COOKIE_RIGHT;
}
