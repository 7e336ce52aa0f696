/* SPDX-License-Identifier: MIT */
/*
 * handshake.c - how RUDP connections open: cookie, accept, refuse, and replies without state.
 *
 *   client                          server
 *   INIT (padded to 1,200)  ------>           nothing is stored
 *                           <------ RETRY     cookie = time and a keyed hash over time and address
 *   INIT with the cookie    ------>           now there is a connection; event REQUEST
 *                           <------ ACCEPT    or REFUSE with code and text
 *   DATA                    <----->
 *
 * The server's connection id is a keyed permutation of the client's. So a repeated INIT finds the
 * connection that the first one made, and a packet for a connection that is gone tells the client's
 * id, which a RESET needs, without anything kept.
 */
#include <string.h>

#include "rudp/id.h"
#include "rudp/internal.h"

enum {
    ATTEMPT_SHIFT_MAX = 4,
    RETRIES_MAX = 4
};

static const weir_nsec first_attempt_ns = 250 * WEIR_MSEC;

/* All shards of a crew must be able to tell which of them a new connection belongs to. */
struct weir_hash_key weir_rudp_id_key(const struct weir_route *route)
{
    struct weir_hash_key key = {route->key[0], route->key[1]};
    return (struct weir_hash_key){weir_hash24(&key, "first", 5), weir_hash24(&key, "second", 6)};
}

void weir_rudp_handshake_secrets(struct weir_rudp *ep, const uint8_t seed[32])
{
    weir_prng_secret_init(&ep->secret, seed);
    uint64_t words[6];
    for (unsigned i = 0; i < 6; i++) {
        words[i] = weir_prng_secret_next(&ep->secret);
    }
    ep->cookie_key = (struct weir_hash_key){words[0], words[1]};
    ep->id_key = ep->config.route != NULL ? weir_rudp_id_key(ep->config.route)
                                          : (struct weir_hash_key){words[2], words[3]};
    ep->reset_key = (struct weir_hash_key){words[4], words[5]};
    weir_prng_init(&ep->prng, weir_prng_secret_next(&ep->secret));
}

/* --- connection ids --------------------------------------------------------------------------- */

static uint32_t feistel_round(const struct weir_hash_key *key, unsigned round, uint32_t half)
{
    return (uint32_t)weir_hash13_u64(key, (uint64_t)round << 32 | half);
}

static uint64_t permute(const struct weir_hash_key *key, uint64_t id)
{
    uint32_t left = (uint32_t)(id >> 32);
    uint32_t right = (uint32_t)id;
    for (unsigned round = 0; round < WEIR_RUDP_ID_ROUNDS; round++) {
        uint32_t next = left ^ feistel_round(key, round, right);
        left = right;
        right = next;
    }
    return (uint64_t)left << 32 | right;
}

static uint64_t permute_back(const struct weir_hash_key *key, uint64_t id)
{
    uint32_t left = (uint32_t)(id >> 32);
    uint32_t right = (uint32_t)id;
    for (unsigned round = WEIR_RUDP_ID_ROUNDS; round-- > 0;) {
        uint32_t next = right ^ feistel_round(key, round, left);
        right = left;
        left = next;
    }
    return (uint64_t)left << 32 | right;
}

uint64_t weir_rudp_local_id_for_client(struct weir_rudp *ep)
{
    for (;;) {
        uint64_t id = weir_prng_secret_next(&ep->secret);
        const struct weir_route *route = ep->config.route;
        if (id != 0 && (route == NULL || weir_route_id(route, id) == ep->config.shard) &&
            weir_rudp_conn_find(ep, id) == NULL) {
            return id;
        }
    }
}

/* An INIT leads to where the connection that it asks for will be. */
uint32_t weir_rudp_route(const void *route, const struct weir_packet *packet)
{
    const struct weir_route *of = (const struct weir_route *)route;
    uint32_t version = 0;
    uint64_t id = 0;
    if (packet->length < WEIR_RUDP_HEADER_BYTES) {
        return 0;
    }
    id = weir_load64(packet->data + 1);
    if (packet->data[0] >> 4 == WEIR_RUDP_KIND_INIT &&
        weir_rudp_peek_version(weir_span_of(packet->data, packet->length), &version, &id)) {
        struct weir_hash_key key = weir_rudp_id_key(of);
        id = permute(&key, id);
    }
    return weir_route_id(of, id);
}

static uint64_t reset_token(const struct weir_rudp *ep, uint64_t local_id)
{
    return weir_hash24(&ep->reset_key, &local_id, sizeof(local_id)) | 1; /* 0 means none */
}

/* --- cookies ---------------------------------------------------------------------------------- */

static uint64_t cookie_hash(const struct weir_rudp *ep, uint64_t time_ms,
                            const struct weir_addr *remote, uint64_t source_id)
{
    uint8_t bytes[8 + 8 + sizeof(*remote)];
    weir_store64(bytes, time_ms);
    weir_store64(bytes + 8, source_id);
    memcpy(bytes + 16, remote, sizeof(*remote));
    return weir_hash24(&ep->cookie_key, bytes, sizeof(bytes));
}

static bool cookie_is_valid(const struct weir_rudp *ep, const struct weir_rudp_init_packet *init,
                            const struct weir_addr *remote)
{
    if (init->cookie.length != COOKIE_BYTES) {
        return false;
    }
    uint64_t time_ms = weir_load64(init->cookie.data);
    uint64_t now_ms = ep->now / WEIR_MSEC;
    return time_ms <= now_ms && now_ms - time_ms <= weir_rudp_cookie_lifetime / WEIR_MSEC &&
           weir_load64(init->cookie.data + 8) == cookie_hash(ep, time_ms, remote, init->source_id);
}

/* --- replies without state -------------------------------------------------------------------- */

static void reply(struct weir_rudp *ep, const struct weir_packet *packet, enum weir_rudp_kind kind,
                  uint64_t destination, uint64_t value, uint64_t value2)
{
    if (ep->stateless_count == STATELESS_MAX) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        return;
    }
    ep->stateless[ep->stateless_count++] = (struct stateless){.path = *packet->path,
                                                              .destination = destination,
                                                              .value = value,
                                                              .value2 = value2,
                                                              .kind = (uint8_t)kind};
}

size_t weir_rudp_write_stateless(struct weir_rudp *ep, const struct stateless *out, uint8_t *p)
{
    uint64_t grease = weir_prng_next(&ep->prng);
    uint8_t cookie[COOKIE_BYTES];
    switch (out->kind) {
    case WEIR_RUDP_KIND_RETRY:
        weir_store64(cookie, out->value);
        weir_store64(cookie + 8, out->value2);
        return weir_rudp_encode_retry(p, out->destination, weir_span_of(cookie, COOKIE_BYTES),
                                      grease);
    case WEIR_RUDP_KIND_VERSION:
        return weir_rudp_encode_version(p, out->destination, grease);
    default:
        return weir_rudp_encode_reset(p, out->destination, out->value, grease);
    }
}

void weir_rudp_send_reset(struct weir_rudp *ep, const struct weir_packet *packet, uint64_t local_id)
{
    /* A reply is never longer than what it answers, so two endpoints cannot feed each other. */
    const uint32_t reset_bytes = WEIR_RUDP_HEADER_BYTES + 8 + WEIR_RUDP_TRAILER_BYTES;
    if (ep->config.is_accepting && packet->length > reset_bytes) {
        reply(ep, packet, WEIR_RUDP_KIND_RESET, permute_back(&ep->id_key, local_id),
              reset_token(ep, local_id), 0);
    }
}

/* --- parameters ------------------------------------------------------------------------------- */

static struct weir_rudp_params own_params(const struct weir_rudp_conn *conn)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    return (struct weir_rudp_params){
        .receive_window_bytes = config->receive_window_bytes,
        .message_bytes_max = config->message_bytes_max,
        .channels_max = config->channels_max,
        .datagram_bytes_max = config->mtu_bytes_max,
        .idle_timeout_ms = (uint32_t)weir_min_u64(config->idle_timeout / WEIR_MSEC, UINT32_MAX),
        .ack_delay_us = (uint32_t)weir_min_u64(config->ack_delay / WEIR_USEC, UINT32_MAX),
        .reset_token = conn->is_server ? reset_token(conn->endpoint, conn->local_id) : 0,
    };
}

static uint32_t shorter_idle_ms(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0) {
        return a + b; /* 0 means never */
    }
    return a < b ? a : b;
}

static void take_params(struct weir_rudp_conn *conn, const struct weir_rudp_params *params)
{
    const struct weir_rudp_config *config = &conn->endpoint->config;
    const uint32_t ack_delay_us_max = 1000000;
    conn->window_limit = params->receive_window_bytes;
    conn->peer_message_bytes_max = params->message_bytes_max;
    conn->peer_channels = params->channels_max;
    conn->peer_ack_delay_us =
        params->ack_delay_us < ack_delay_us_max ? params->ack_delay_us : ack_delay_us_max;
    conn->idle_timeout_ms =
        shorter_idle_ms(params->idle_timeout_ms,
                        (uint32_t)weir_min_u64(config->idle_timeout / WEIR_MSEC, UINT32_MAX));
    conn->reset_token = params->reset_token;
    conn->peer_datagram_bytes_max = params->datagram_bytes_max;
    weir_rudp_mtu_start(conn);
}

/* --- server ----------------------------------------------------------------------------------- */

static void open_server(struct weir_rudp *ep, const struct weir_packet *packet,
                        const struct weir_rudp_init_packet *init, uint64_t local_id)
{
    struct weir_rudp_conn *conn = weir_rudp_conn_open(ep, local_id);
    if (conn == NULL) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        return;
    }
    conn->is_server = true;
    conn->remote_id = init->source_id;
    conn->path = *packet->path;
    if (!weir_rudp_conn_wake(conn)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NO_ROOM);
        weir_rudp_conn_free(conn);
        return;
    }
    take_params(conn, &init->params);
    conn->state = STATE_REQUESTED;
    conn->awake->deadline = ep->now + ep->config.connect_timeout;
    weir_rudp_conn_pend(conn, PENDING_REQUEST);
    weir_rudp_conn_ready(conn);
}

void weir_rudp_input_init(struct weir_rudp *ep, const struct weir_packet *packet,
                          struct weir_span bytes)
{
    struct weir_rudp_init_packet init;
    uint32_t version;
    uint64_t source_id;
    const struct weir_addr *remote = &packet->path->remote;
    if (!ep->config.is_accepting) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_NOT_ACCEPTING);
        return;
    }
    /* Unpadded ones would make the reply an amplification. */
    if (packet->length < WEIR_RUDP_INIT_BYTES ||
        !weir_rudp_peek_version(bytes, &version, &source_id)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_TRUNCATED);
        return;
    }
    if (version != WEIR_RUDP_VERSION_1) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_VERSION);
        reply(ep, packet, WEIR_RUDP_KIND_VERSION, source_id, 0, 0);
        return;
    }
    if (!weir_rudp_decode_init(bytes, &init)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_TRUNCATED);
        return;
    }
    if (!cookie_is_valid(ep, &init, remote)) {
        if (init.cookie.length > 0) {
            weir_rudp_count_drop(ep, WEIR_RUDP_DROP_COOKIE);
        }
        uint64_t time_ms = ep->now / WEIR_MSEC;
        reply(ep, packet, WEIR_RUDP_KIND_RETRY, init.source_id, time_ms,
              cookie_hash(ep, time_ms, remote, init.source_id));
        return;
    }
    uint64_t local_id = permute(&ep->id_key, init.source_id);
    struct weir_rudp_conn *conn = weir_rudp_conn_find(ep, local_id);
    if (conn == NULL) {
        open_server(ep, packet, &init, local_id);
    } else if (conn->state == STATE_REQUESTED || conn->state == STATE_ACCEPTED) {
        /* Our ACCEPT got lost, or the client has moved; the cookie proves the new address. */
        conn->path = *packet->path;
        conn->awake->is_handshake_wanted = conn->state == STATE_ACCEPTED;
        weir_rudp_conn_ready(conn);
    }
}

void weir_rudp_accept(struct weir_rudp_conn *conn, void *user)
{
    conn->user = user;
    if (conn->state != STATE_REQUESTED) {
        return; /* ended in the meantime: CLOSED follows */
    }
    conn->state = STATE_ACCEPTED;
    conn->awake->is_handshake_wanted = true;
    conn->awake->attempts = 0;
    weir_rudp_conn_ready(conn);
}

void weir_rudp_refuse(struct weir_rudp_conn *conn, uint32_t code, const char *text)
{
    if (conn->state != STATE_REQUESTED) {
        return;
    }
    struct awake *awake = conn->awake;
    size_t length = strlen(text);
    awake->close_code = code;
    length = length < WEIR_RUDP_TEXT_BYTES_MAX ? length : WEIR_RUDP_TEXT_BYTES_MAX;
    memcpy(awake->close_text, text, length);
    awake->close_text[length] = 0;
    conn->state = STATE_REFUSING;
    awake->is_handshake_wanted = true;
    weir_rudp_conn_ready(conn);
}

/* --- client ----------------------------------------------------------------------------------- */

enum weir_status weir_rudp_connect(struct weir_rudp *ep, weir_nsec now,
                                   const struct weir_addr *remote, void *user,
                                   struct weir_rudp_conn **out)
{
    if (remote->family == WEIR_ADDR_NONE || remote->port == 0) {
        return WEIR_ERR_INVALID;
    }
    ep->now = weir_max_u64(ep->now, now);
    struct weir_rudp_conn *conn = weir_rudp_conn_open(ep, weir_rudp_local_id_for_client(ep));
    if (conn == NULL) {
        return WEIR_ERR_FULL;
    }
    if (!weir_rudp_conn_wake(conn)) {
        weir_rudp_conn_free(conn);
        return WEIR_ERR_FULL;
    }
    conn->path.remote = *remote;
    conn->user = user;
    conn->state = STATE_CONNECTING;
    conn->peer_message_bytes_max = WEIR_RUDP_MESSAGE_BYTES_MAX; /* until the peer says */
    conn->peer_channels = ep->config.channels_max;
    conn->awake->deadline = ep->now + ep->config.connect_timeout;
    conn->awake->is_handshake_wanted = true;
    weir_rudp_conn_ready(conn);
    *out = conn;
    return WEIR_OK;
}

static void on_retry(struct weir_rudp_conn *conn, struct weir_span bytes)
{
    struct weir_span cookie;
    struct awake *awake = conn->awake;
    if (conn->state != STATE_CONNECTING || !weir_rudp_decode_retry(bytes, &cookie) ||
        (awake->cookie_bytes == cookie.length &&
         memcmp(awake->cookie, cookie.data, cookie.length) == 0)) {
        return;
    }
    memcpy(awake->cookie, cookie.data, cookie.length);
    awake->cookie_bytes = (uint8_t)cookie.length;
    /* The first few are answered at once; who forges more of them only makes the timer's INIT carry
     * a wrong cookie. */
    if (awake->retries < RETRIES_MAX) {
        awake->retries++;
        awake->is_handshake_wanted = true;
        awake->attempts = 0;
    }
    weir_rudp_conn_ready(conn);
}

static void on_accept(struct weir_rudp_conn *conn, const struct weir_packet *packet,
                      struct weir_span bytes)
{
    struct weir_rudp_accept_packet accept;
    if (!weir_rudp_decode_accept(bytes, &accept)) {
        weir_rudp_count_drop(conn->endpoint, WEIR_RUDP_DROP_TRUNCATED);
        return;
    }
    if (conn->state == STATE_CONNECTING) {
        conn->remote_id = accept.source_id;
        conn->path = *packet->path;
        take_params(conn, &accept.params);
        conn->state = STATE_OPEN;
        conn->awake->attempt_at = conn->awake->deadline = WEIR_NEVER;
        conn->awake->is_handshake_wanted = false;
        conn->awake->is_ping_wanted = true;
        conn->endpoint->stats.handshakes++;
        weir_rudp_conn_pend(conn, PENDING_OPENED);
    } else if (conn->state == STATE_OPEN && weir_rudp_conn_wake(conn)) {
        conn->awake->is_ping_wanted = true; /* the server has not heard from us yet */
    }
    conn->last_received = conn->endpoint->now;
    weir_rudp_conn_ready(conn);
}

static void on_refuse(struct weir_rudp_conn *conn, struct weir_span bytes)
{
    struct weir_rudp_close_frame why;
    if (conn->state == STATE_CONNECTING && weir_rudp_decode_refuse(bytes, &why)) {
        weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_REFUSED, why.code, why.text);
    }
}

static void on_version(struct weir_rudp_conn *conn, struct weir_span bytes)
{
    bool has_common;
    if (conn->state == STATE_CONNECTING && weir_rudp_decode_version(bytes, &has_common) &&
        !has_common) {
        weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_VERSION, 0,
                           weir_span_of("the peer speaks another version", 31));
    }
}

static void on_reset(struct weir_rudp_conn *conn, struct weir_span bytes)
{
    uint64_t token;
    if (conn->reset_token == 0 || !weir_rudp_decode_reset(bytes, &token) ||
        token != conn->reset_token) {
        weir_rudp_count_drop(conn->endpoint, WEIR_RUDP_DROP_COOKIE);
        return;
    }
    /* While closing it means that the peer is done with the connection already. */
    bool is_closing = conn->state == STATE_CLOSING;
    weir_rudp_conn_end(conn, is_closing ? WEIR_RUDP_CAUSE_LOCAL : WEIR_RUDP_CAUSE_RESET, 0,
                       weir_span_of("the peer no longer knows the connection", 39));
}

void weir_rudp_input_to_client(struct weir_rudp *ep, const struct weir_packet *packet,
                               struct weir_span bytes)
{
    struct weir_rudp_conn *conn = weir_rudp_conn_find(ep, weir_load64(bytes.data + 1));
    /* Only from where the INIT went: another address has proved nothing. */
    if (conn == NULL || conn->is_server ||
        !weir_addr_is_equal(&packet->path->remote, &conn->path.remote)) {
        weir_rudp_count_drop(ep, WEIR_RUDP_DROP_CONNECTION);
        return;
    }
    switch (bytes.data[0] >> 4) {
    case WEIR_RUDP_KIND_RETRY:
        on_retry(conn, bytes);
        break;
    case WEIR_RUDP_KIND_ACCEPT:
        on_accept(conn, packet, bytes);
        break;
    case WEIR_RUDP_KIND_REFUSE:
        on_refuse(conn, bytes);
        break;
    case WEIR_RUDP_KIND_VERSION:
        on_version(conn, bytes);
        break;
    default:
        on_reset(conn, bytes);
        break;
    }
}

/* --- sending and repeating -------------------------------------------------------------------- */

size_t weir_rudp_write_handshake(struct weir_rudp_conn *conn, uint8_t *p)
{
    struct awake *awake = conn->awake;
    struct weir_rudp *ep = conn->endpoint;
    uint64_t grease = weir_prng_next(&ep->prng);
    awake->is_handshake_wanted = false;
    unsigned shift = awake->attempts < ATTEMPT_SHIFT_MAX ? awake->attempts : ATTEMPT_SHIFT_MAX;
    awake->attempt_at = ep->now + (first_attempt_ns << shift);
    awake->attempts++;
    if (conn->state == STATE_CONNECTING) {
        struct weir_rudp_init_packet init = {.version = WEIR_RUDP_VERSION_1,
                                             .source_id = conn->local_id,
                                             .cookie =
                                                 weir_span_of(awake->cookie, awake->cookie_bytes),
                                             .params = own_params(conn)};
        return weir_rudp_encode_init(p, &init, grease);
    }
    if (conn->state == STATE_ACCEPTED) {
        struct weir_rudp_accept_packet accept = {.version = WEIR_RUDP_VERSION_1,
                                                 .source_id = conn->local_id,
                                                 .params = own_params(conn)};
        return weir_rudp_encode_accept(p, conn->remote_id, &accept, grease);
    }
    struct weir_rudp_close_frame why = {
        .code = awake->close_code,
        .text = weir_span_of(awake->close_text, strlen(awake->close_text))};
    return weir_rudp_encode_refuse(p, conn->remote_id, &why, grease);
}

void weir_rudp_handshake_timer(struct weir_rudp_conn *conn, weir_nsec now)
{
    struct awake *awake = conn->awake;
    bool is_opening = conn->state == STATE_CONNECTING || conn->state == STATE_REQUESTED ||
                      conn->state == STATE_ACCEPTED;
    if (!is_opening) {
        return;
    }
    if (now >= awake->deadline) {
        weir_rudp_conn_end(conn, WEIR_RUDP_CAUSE_TIMEOUT, 0,
                           weir_span_of("no answer from the peer", 23));
        return;
    }
    if (now >= awake->attempt_at) {
        awake->attempt_at = WEIR_NEVER;
        awake->is_handshake_wanted = conn->state != STATE_REQUESTED;
        weir_rudp_conn_ready(conn);
    }
}
