/* SPDX-License-Identifier: MIT */
/*
 * user_timeout.c - how long unacknowledged data is borne: ours, and what the peer asks for.
 *
 * Spec: RFC 5482. Its ENABLED is tuning.is_user_timeout_advertised, its CHANGEABLE the opposite of
 * is_user_timeout_fixed, ADV_UTO our user_timeout. The option is advice: it is sent with the SYN
 * and once more after it, and what the peer said is forgotten when the connection falls asleep, for
 * then nothing waits.
 */
#include "tcp/internal.h"

enum {
    VALUE_MAX = 0x7fff,
    IN_MINUTES = 0x8000, /* the unit, RFC 5482 3.3 */
    MINUTE = 60
};

bool weir_tcp_tells_user_timeout(const struct weir_tcp *ep)
{
    /* RFC 5482 3.4: a value of 0 is never sent (MUST NOT). */
    return ep->config.tuning.is_user_timeout_advertised &&
           ep->config.tuning.user_timeout >= WEIR_SEC;
}

weir_nsec weir_tcp_user_timeout(const struct awake *awake)
{
    const struct weir_tcp_tuning *tuning = &awake->ep->config.tuning;
    if (awake->peer_timeout == 0 || tuning->user_timeout == 0) {
        return tuning->user_timeout;
    }
    /* RFC 5482 3.1: the longer one, between bounds; the lower one MUST be larger than the RTO. */
    weir_nsec least = weir_max_u64(tuning->user_timeout_min, weir_tcp_rto(awake) + WEIR_SEC);
    weir_nsec longer = weir_max_u64(tuning->user_timeout, awake->peer_timeout * WEIR_SEC);
    return weir_min_u64(tuning->user_timeout_max, weir_max_u64(longer, least));
}

void weir_tcp_take_user_timeout(struct awake *awake, const struct weir_tcp_segment *segment)
{
    const struct weir_tcp_tuning *tuning = &awake->ep->config.tuning;
    if ((segment->options & WEIR_TCP_HAS_USER_TIMEOUT) == 0 ||
        !tuning->is_user_timeout_advertised || tuning->is_user_timeout_fixed) {
        return;
    }
    uint32_t value = segment->user_timeout & VALUE_MAX;
    /* RFC 5482 3.4: 0 is reserved, and MUST be ignored. */
    if (value != 0) {
        awake->peer_timeout = (segment->user_timeout & IN_MINUTES) != 0 ? value * MINUTE : value;
    }
}

void weir_tcp_put_user_timeout(const struct awake *awake, struct weir_tcp_segment *segment)
{
    uint64_t value = awake->ep->config.tuning.user_timeout / WEIR_SEC;
    bool is_long = value > VALUE_MAX;
    value = weir_min_u64(is_long ? value / MINUTE : value, VALUE_MAX);
    segment->options |= WEIR_TCP_HAS_USER_TIMEOUT;
    segment->user_timeout = (uint16_t)(value | (is_long ? IN_MINUTES : 0));
}
