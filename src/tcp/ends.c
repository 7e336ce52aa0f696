/* SPDX-License-Identifier: MIT */
/*
 * ends.c - a side of a connection, and what was agreed upon, in one byte of its record.
 *
 * Of a server's connections all have one of few local ends; of a client's, one of few peers. That
 * side is kept once, with the options, as a profile; the record has the other side's address and
 * the number of the profile. The table finds a record by its end, whichever of its profiles it has.
 */
#include <string.h>

#include "tcp/internal.h"

/* --- addresses -------------------------------------------------------------------------------- */

bool weir_tcp_is_address(const struct weir_addr *addr)
{
    static const uint8_t zeros[16];
    if (addr->family == WEIR_ADDR_IP4) {
        /* RFC 9293 3.9.2.3, MUST-57: no broadcast or multicast; RFC 1122 3.2.1.3: none of net 0. */
        return addr->ip[0] != 0 && addr->ip[0] < 224;
    }
    return addr->family == WEIR_ADDR_IP6 && addr->ip[0] != 0xff &&
           memcmp(addr->ip, zeros, sizeof(zeros)) != 0;
}

void weir_tcp_key_make(const struct weir_addr *other, uint8_t end, struct key *key)
{
    uint8_t *at = key->bytes;
    if (other->family == WEIR_ADDR_IP4) {
        memcpy(at, other->ip, 4);
        at += 4;
    } else {
        memcpy(at, other->ip, 16);
        memcpy(at + 16, &other->scope, 4);
        at += 20;
    }
    memcpy(at, &other->port, 2);
    at[2] = end;
    at[3] = 0;
}

/* --- ends ------------------------------------------------------------------------------------- */

int weir_tcp_end_find(struct weir_tcp *ep, const struct weir_addr *addr, bool is_peer)
{
    uint32_t last = ep->end_last[is_peer];
    if (is_peer && ep->peer_ends == 0) {
        return -1;
    }
    if (ep->ends[last].is_used && ep->ends[last].is_peer == is_peer &&
        weir_addr_is_equal(&ep->ends[last].addr, addr)) {
        return (int)last;
    }
    for (uint32_t i = 0; i < ep->ends_used; i++) {
        const struct end *end = &ep->ends[i];
        if (end->is_used && end->is_peer == is_peer && weir_addr_is_equal(&end->addr, addr)) {
            ep->end_last[is_peer] = i;
            return (int)i;
        }
    }
    return -1;
}

static void forget_end(struct weir_tcp *ep, uint32_t index)
{
    struct end *end = &ep->ends[index];
    for (unsigned i = 0; i < PROFILES_MAX; i++) {
        struct profile *profile = &ep->profiles[i];
        if (profile->is_used && profile->end == index) {
            WEIR_ASSERT(profile->connections == 0);
            profile->is_used = false;
        }
    }
    ep->peer_ends -= end->is_peer;
    *end = (struct end){.is_used = false};
}

/* A profile that nobody has. */
static int find_unused_profile(struct weir_tcp *ep)
{
    int spare = -1;
    for (int i = 0; i < PROFILES_MAX; i++) {
        const struct profile *profile = &ep->profiles[i];
        if (!profile->is_used) {
            return i;
        }
        if (profile->connections == 0 && !profile->is_base) {
            spare = i;
        }
    }
    return spare;
}

static void set_profile(struct weir_tcp *ep, unsigned index, const struct profile *want)
{
    ep->profiles[index] = *want;
    ep->profiles[index].connections = 0;
    ep->profiles[index].is_used = true;
    ep->aliases[index] = want->end;
}

static int unused_end(struct weir_tcp *ep)
{
    int spare = -1;
    for (uint32_t i = 0; i < WEIR_TCP_ENDS_MAX; i++) {
        const struct end *end = &ep->ends[i];
        if (!end->is_used) {
            return (int)i;
        }
        if (end->connections == 0 && !end->is_listening) {
            spare = (int)i;
        }
    }
    if (spare >= 0) {
        forget_end(ep, (uint32_t)spare);
    }
    return spare;
}

int weir_tcp_end_make(struct weir_tcp *ep, const struct weir_addr *addr, bool is_peer)
{
    int found = weir_tcp_end_find(ep, addr, is_peer);
    if (found >= 0) {
        return found;
    }
    found = unused_end(ep);
    int profile = found >= 0 ? find_unused_profile(ep) : -1;
    if (profile < 0) {
        return -1;
    }
    ep->ends[found] = (struct end){.addr = *addr, .is_used = true, .is_peer = is_peer};
    ep->peer_ends += is_peer;
    ep->end_last[is_peer] = (uint32_t)found;
    if ((uint32_t)found >= ep->ends_used) {
        ep->ends_used = (uint32_t)found + 1;
    }
    struct profile base = {
        .end = (uint8_t)found, .mss = MSS_MIN, .mss_max = MSS_MIN, .is_base = true};
    set_profile(ep, (unsigned)profile, &base);
    /* And one for those that scale, with timestamps where they are: nearly everybody. */
    profile = find_unused_profile(ep);
    if (profile >= 0) {
        base.agreed = AGREED_SCALE | (ep->stamps != NULL ? AGREED_TIMESTAMPS : 0);
        set_profile(ep, (unsigned)profile, &base);
    }
    return found;
}

void weir_tcp_end_release(struct weir_tcp *ep, uint8_t end)
{
    WEIR_ASSERT(ep->ends[end].connections > 0);
    ep->ends[end].connections--;
}

/* --- profiles --------------------------------------------------------------------------------- */

uint8_t weir_tcp_base_profile(const struct weir_tcp *ep, uint8_t end)
{
    unsigned i = 0;
    while (!ep->profiles[i].is_used || !ep->profiles[i].is_base || ep->profiles[i].end != end) {
        i++;
        WEIR_ASSERT(i < PROFILES_MAX);
    }
    return (uint8_t)i;
}

static bool is_same(const struct profile *a, const struct profile *b)
{
    return a->end == b->end && a->agreed == b->agreed && a->scale == b->scale && a->mss == b->mss &&
           a->mss_max == b->mss_max;
}

/* What says less can stand for it: a smaller segment, a smaller window, no SACK. But timestamps
 * once agreed upon are in every segment (RFC 7323 3.2, MUST), and scaling is on or off. */
static bool is_within(const struct profile *less, const struct profile *want)
{
    const uint8_t fixed = AGREED_TIMESTAMPS | AGREED_SCALE;
    return less->is_used && less->end == want->end && less->mss <= want->mss &&
           less->mss_max <= want->mss_max && less->scale <= want->scale &&
           (less->agreed & ~want->agreed) == 0 && (less->agreed & fixed) == (want->agreed & fixed);
}

static uint32_t worth(const struct profile *profile)
{
    return profile->mss + profile->scale * 2048U +
           ((profile->agreed & AGREED_SACK) != 0 ? 4096U : 0);
}

static int find_profile(struct weir_tcp *ep, const struct profile *want, bool is_exact)
{
    int best = -1;
    for (int i = 0; i < PROFILES_MAX; i++) {
        const struct profile *profile = &ep->profiles[i];
        if (!is_within(profile, want)) {
            continue;
        }
        if (is_same(profile, want)) {
            return i;
        }
        if (best < 0 || worth(profile) > worth(&ep->profiles[best])) {
            best = i;
        }
    }
    int unused = find_unused_profile(ep);
    if (unused < 0) {
        return is_exact ? -1 : best;
    }
    set_profile(ep, (unsigned)unused, want);
    return unused;
}

bool weir_tcp_profile_choose(struct weir_tcp *ep, struct record *record, const struct profile *want,
                             bool is_exact)
{
    struct profile *before = &ep->profiles[record->profile];
    if (is_same(before, want)) {
        return true;
    }
    int found = find_profile(ep, want, is_exact);
    if (found < 0) {
        return false;
    }
    before->connections--;
    record->profile = (uint8_t)found;
    ep->profiles[found].connections++;
    return true;
}
