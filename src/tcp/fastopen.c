/* SPDX-License-Identifier: MIT */
/*
 * fastopen.c - data in the SYN: cookies given to clients, cookies kept of servers.
 *
 * A cookie is a keyed hash of both addresses and of the time in periods of 2.4 hours; that of the
 * period before is taken, too. So it is a new one every period, and nothing is kept of whom it was
 * given to. As a server: a SYN with a cookie opens a half-open connection whose data is handed out
 * and answered at once. Without memory for half-open ones there are SYN cookies, and no fast open.
 * As a client: what goes with a SYN is not counted as sent until the SYN-ACK says that it arrived.
 * Spec: RFC 7413.
 */
#include <string.h>

#include "tcp/internal.h"

enum {
    PERIOD_SHIFT = 43,
    FAILURES_MAX = 5,
    MSS_TYPICAL4 = 1460, /* RFC 7413 4.1.3: no more in a SYN */
    MSS_TYPICAL6 = 1440
};

static const weir_nsec retry_after = 3600 * WEIR_SEC; /* doubled for each failure in a row */
static const weir_nsec reset_memory = 60 * WEIR_SEC;

/* --- server ----------------------------------------------------------------------------------- */

static void make_cookie(const struct weir_tcp *ep, const struct weir_path *path, uint64_t period,
                        uint8_t cookie[FAST_COOKIE_BYTES])
{
    struct {
        struct weir_path path;
        uint64_t period;
    } input;

    memset(&input, 0, sizeof(input));
    input.path = *path;
    input.path.local.port = input.path.remote.port = 0;
    input.period = period;
    uint64_t hash = weir_hash24(&ep->fast_key, &input, sizeof(input));
    weir_store32(cookie, (uint32_t)(hash >> 32));
    weir_store32(cookie + 4, (uint32_t)hash);
}

void weir_tcp_fast_cookie(const struct weir_tcp *ep, const struct weir_path *path,
                          uint8_t cookie[FAST_COOKIE_BYTES])
{
    make_cookie(ep, path, ep->now >> PERIOD_SHIFT, cookie);
}

static bool is_cookie(const struct weir_tcp *ep, const struct weir_path *path, uint64_t period,
                      struct weir_span given)
{
    uint8_t cookie[FAST_COOKIE_BYTES];
    make_cookie(ep, path, period, cookie);
    return given.length == FAST_COOKIE_BYTES && memcmp(cookie, given.data, given.length) == 0;
}

/* RFC 7413 4.2, 5.1: with too many that are not proved yet there is no fast open (MUST), and those
 * just reset count for a while. */
static bool is_room(struct weir_tcp *ep)
{
    if (ep->now >= ep->fast_until) {
        ep->fast_resets = 0;
    }
    return ep->stats.fast_pending + ep->fast_resets < ep->config.fast_open_max;
}

void weir_tcp_fast_on_reset(struct weir_tcp *ep)
{
    if (ep->fast_resets == 0) {
        ep->fast_until = ep->now + reset_memory;
    }
    ep->fast_resets++;
}

void weir_tcp_fast_on_syn(struct awake *awake, const struct weir_tcp_segment *syn)
{
    struct weir_tcp *ep = awake->ep;
    uint64_t period = ep->now >> PERIOD_SHIFT;
    /* RFC 7413 4.2: unless it was asked for, the option is ignored (MUST). */
    if (!ep->config.is_fast_open || (syn->options & WEIR_TCP_HAS_COOKIE) == 0) {
        return;
    }
    awake->is_cookie_due = !is_cookie(ep, &awake->path, period, syn->cookie);
    bool is_old =
        awake->is_cookie_due && period > 0 && is_cookie(ep, &awake->path, period - 1, syn->cookie);
    if ((awake->is_cookie_due && !is_old) || !is_room(ep)) {
        return;
    }
    awake->fast = FAST_ACCEPTED;
    ep->stats.fast_pending++;
    ep->stats.fast_passive++;
    /* RFC 7413 4.2.2 step 6: the initial window of RFC 5681 (MUST). */
    weir_tcp_loss_init(awake);
    awake->rcv_adv += weir_tcp_receive_window(awake);
    weir_tcp_pend(awake, PENDING_OPENED);
    if (syn->data.length > 0) {
        struct cursor *cursor = &ep->cursor;
        cursor->awake = awake;
        cursor->segment.flags &= (uint8_t)~WEIR_TCP_SYN;
        cursor->segment.seq++;
    }
}

/* --- client ----------------------------------------------------------------------------------- */

static struct weir_path key_of(const struct awake *awake)
{
    /* RFC 7413 4.1.3.1: with the server's port, for it may be what refuses. */
    struct weir_path path = awake->path;
    path.local.port = 0;
    return path;
}

static struct server *find_server(const struct awake *awake)
{
    const struct weir_tcp *ep = awake->ep;
    struct weir_path path = key_of(awake);
    for (uint32_t i = 0; i < ep->config.fast_open_servers_max; i++) {
        struct server *server = &ep->servers[i];
        if (server->used_at != 0 && weir_addr_is_equal(&server->path.remote, &path.remote) &&
            weir_addr_is_equal(&server->path.local, &path.local)) {
            return server;
        }
    }
    return NULL;
}

/* In the place of the one that was not used for longest. */
static struct server *make_server(const struct awake *awake)
{
    const struct weir_tcp *ep = awake->ep;
    struct server *oldest = &ep->servers[0];
    for (uint32_t i = 1; i < ep->config.fast_open_servers_max; i++) {
        if (ep->servers[i].used_at < oldest->used_at) {
            oldest = &ep->servers[i];
        }
    }
    *oldest = (struct server){.path = key_of(awake)};
    return oldest;
}

static void note_failure(const struct weir_tcp *ep, struct server *server)
{
    server->retry_at = ep->now + (retry_after << server->failures);
    weir_tcp_count_up(&server->failures, FAILURES_MAX);
}

uint32_t weir_tcp_fast_offer(struct awake *awake, struct weir_tcp_segment *syn)
{
    const struct weir_tcp *ep = awake->ep;
    if (!ep->config.is_fast_open) {
        return 0;
    }
    struct server *server = find_server(awake);
    if (server == NULL) {
        server = make_server(awake);
    }
    server->used_at = weir_max_u64(ep->now, 1);
    if (ep->now < server->retry_at) {
        return 0;
    }
    /* RFC 7413 4.2.1: an empty one asks. With the longest all 40 bytes of options are used. */
    syn->options |= WEIR_TCP_HAS_COOKIE;
    syn->options &= (uint8_t)~WEIR_TCP_HAS_USER_TIMEOUT;
    syn->cookie = weir_span_of(server->cookie, server->cookie_bytes);
    awake->fast = server->cookie_bytes > 0 ? FAST_TRIED : FAST_ASKED;
    return server->cookie_bytes > 0 ? server->mss : 0;
}

static void keep_answer(const struct awake *awake, struct server *server,
                        const struct weir_tcp_segment *segment)
{
    uint16_t typical = awake->is_6 ? MSS_TYPICAL6 : MSS_TYPICAL4;
    server->mss = awake->is_6 ? MSS_DEFAULT6 : MSS_DEFAULT;
    if ((segment->options & WEIR_TCP_HAS_MSS) != 0) {
        server->mss = segment->mss < typical ? segment->mss : typical;
    }
    if ((segment->options & WEIR_TCP_HAS_COOKIE) != 0 && segment->cookie.length > 0) {
        server->cookie_bytes = (uint8_t)segment->cookie.length;
        memcpy(server->cookie, segment->cookie.data, segment->cookie.length);
    }
}

void weir_tcp_fast_on_answer(struct awake *awake, const struct weir_tcp_segment *segment)
{
    struct weir_tcp *ep = awake->ep;
    struct server *server = awake->fast != FAST_NONE ? find_server(awake) : NULL;
    if (server == NULL) {
        return;
    }
    bool has_cookie = (segment->options & WEIR_TCP_HAS_COOKIE) != 0 && segment->cookie.length > 0;
    bool is_taken = weir_tcp_diff(segment->ack, awake->snd_nxt) > 0;
    bool is_idle = awake->fast == FAST_TRIED && awake->syn_data == 0 && awake->syn_count == 1;
    ep->stats.fast_active += is_taken;
    keep_answer(awake, server, segment);
    if (is_taken || has_cookie) {
        server->failures = 0;
        return;
    }
    /* RFC 7413 4.1.3.1: data that was not taken, or no answer to the SYN that had it, MUST be
     * remembered; 4.2.1: so SHOULD a cookie that was not given. */
    if (!is_idle) {
        server->cookie_bytes = awake->syn_count == 1 ? 0 : server->cookie_bytes;
        note_failure(ep, server);
    }
}

void weir_tcp_fast_on_failure(struct awake *awake)
{
    struct server *server = awake->fast != FAST_NONE ? find_server(awake) : NULL;
    if (server != NULL) {
        note_failure(awake->ep, server);
    }
}
