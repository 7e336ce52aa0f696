/* SPDX-License-Identifier: MIT */
/*
 * cookie.c - SYN cookies: what a half-open connection would remember, in our initial number.
 *
 *      31                        8 7      5 4     1 0
 *     |  24 bits of a keyed hash  |  MSS   | scale | S |
 *
 * The hash covers addresses, ports, the peer's initial number, the minute and the low byte. So the
 * options are kept without timestamps; timestamps themselves show in the ACK, ECN is not offered.
 * Whoever guesses makes 2^23 tries on average for a connection from an address of somebody else.
 * The peer's initial number is known from its first segment only. When that is lost the next ones
 * come too early; they are passed over in silence, for the first will come again. So are strangers'
 * ACKs, as long as cookies are on their way: the RST that RFC 9293 asks for would hit the former.
 * Spec: RFC 4987 3.6.
 */
#include <string.h>

#include "tcp/internal.h"

enum {
    SLOT_SHIFT = 36, /* of the clock: 69 s; a cookie is good for one to two slots */
    SLOTS = 2,
    SCALE_NONE = 15
};

#define HASH_MASK 0xffffff00U

static const uint16_t mss_steps[8] = {216, MSS_DEFAULT, 1024, MSS_DEFAULT6, 1360, 1400, 1440, 1460};

static uint32_t hash_cookie(const struct weir_tcp *ep, const struct weir_path *path,
                            uint32_t peer_number, uint64_t slot, uint8_t low)
{
    struct {
        struct weir_path path;
        uint64_t slot;
        uint32_t peer_number, low;
    } input;

    memset(&input, 0, sizeof(input));
    input.path = *path;
    input.slot = slot;
    input.peer_number = peer_number;
    input.low = low;
    return ((uint32_t)weir_hash24(&ep->cookie_key, &input, sizeof(input)) & HASH_MASK) | low;
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
    if (!weir_tcp_cookie_is_good(ep)) {
        return COOKIE_WRONG;
    }
    for (uint64_t back = 0; back < SLOTS && back <= slot && !is_right; back++) {
        is_right = hash_cookie(ep, path, ack->seq - 1, slot - back, low) == cookie;
    }
    if (!is_right) {
        return COOKIE_EARLY;
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
