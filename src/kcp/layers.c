/* SPDX-License-Identifier: MIT */
/*
 * layers.c - what is around the segments in a datagram: crypto header and error correction.
 *
 * Sent: a datagram is laid with room in front and behind; FEC takes it in when it is closed, and
 * all datagrams of an output call are sealed at its end. Received: opened in place, the FEC header
 * taken off, the segments read; only then the session's decoder is fed, and what it brings back is
 * read as further datagrams of that session.
 *
 * Encoders and decoders exist for awake sessions. A sleeping one leaves a number and the size of
 * its peer's groups behind. That size is never guessed: the peer's need not be like ours.
 */
#include <string.h>

#include "kcp/internal.h"

enum {
    SEAL_BATCH = 64
};

/* --- set-up and end --------------------------------------------------------------------------- */

bool weir_kcp_layers_fec_config(const struct weir_kcp_config *config,
                                struct weir_kcp_fec_config *fec)
{
    const struct weir_kcp_fec_config asked = {.data = config->fec_data,
                                              .parity = config->fec_parity,
                                              .packet_bytes_max = WEIR_KCP_MTU_MAX,
                                              .buffers_max = config->fec_buffers_max};
    bool is_wanted = config->is_fec || config->fec_data > 0 || config->fec_parity > 0;
    return !is_wanted || (config->address_policy == WEIR_KCP_ADDRESS_REPLACE &&
                          weir_kcp_fec_check(&asked, fec) == WEIR_OK);
}

enum weir_status weir_kcp_layers_init(struct weir_kcp *ep, void *crypt_mem, void *fec_mem)
{
    struct weir_kcp_fec_config fec;
    if (crypt_mem != NULL) {
        enum weir_status status =
            weir_kcp_crypt_init(crypt_mem, ep->config.cipher, ep->config.key, &ep->crypt);
        memset(ep->config.key, 0, sizeof(ep->config.key));
        if (status != WEIR_OK) {
            return status;
        }
        ep->front_bytes = (uint16_t)weir_kcp_crypt_front(ep->crypt);
        ep->tail_bytes = (uint16_t)weir_kcp_crypt_tail(ep->crypt);
    }
    if (fec_mem != NULL && weir_kcp_layers_fec_config(&ep->config, &fec)) {
        ep->fec = weir_kcp_fec_init(fec_mem, &fec, &ep->stats.fec);
        ep->encoder_bytes = (uint32_t)weir_kcp_fec_encoder_size(&fec);
        ep->decoder_bytes = (uint32_t)weir_kcp_fec_decoder_size();
        ep->is_fec_sending = fec.data > 0;
        ep->front_bytes =
            (uint16_t)(ep->front_bytes + (ep->is_fec_sending ? WEIR_KCP_FEC_HEADER_BYTES : 0));
    }
    return WEIR_OK;
}

void weir_kcp_fini(struct weir_kcp *ep)
{
    if (ep->crypt != NULL) {
        weir_kcp_crypt_fini(ep->crypt);
    }
    memset(ep, 0, sizeof(*ep));
    /* The compiler must not think that nobody looks. */
    __asm__ volatile("" ::"r"(ep) : "memory");
}

/* --- the crypto header ------------------------------------------------------------------------ */

bool weir_kcp_layers_open(struct weir_kcp *ep, const struct weir_packet *packet,
                          struct weir_span *datagram)
{
    struct weir_mut_span sealed = {.data = packet->data, .length = packet->length};
    struct weir_mut_span payload;
    uint64_t short_before = weir_kcp_crypt_stats(ep->crypt)->dropped_short;
    if (weir_kcp_crypt_open(ep->crypt, sealed, &payload) != WEIR_OK) {
        bool is_short = weir_kcp_crypt_stats(ep->crypt)->dropped_short != short_before;
        weir_kcp_count_drop(ep, is_short ? WEIR_KCP_DROP_TRUNCATED : WEIR_KCP_DROP_FORGED);
        return false;
    }
    *datagram = weir_span_of(payload.data, payload.length);
    return true;
}

void weir_kcp_layers_seal(struct weir_kcp *ep, const struct weir_tx *tx, uint32_t first)
{
    struct weir_mut_span batch[SEAL_BATCH];
    size_t count = 0;
    for (uint32_t i = first; i < tx->count; i++) {
        const struct weir_transmit *run = &tx->transmits[i];
        for (uint32_t at = 0; at < run->length; at += run->segment_bytes) {
            uint32_t left = run->length - at;
            batch[count++] = (struct weir_mut_span){
                .data = run->data + at,
                .length = left < run->segment_bytes ? left : run->segment_bytes};
            if (count == SEAL_BATCH) {
                weir_kcp_crypt_seal(ep->crypt, &ep->secret, batch, count);
                count = 0;
            }
        }
    }
    weir_kcp_crypt_seal(ep->crypt, &ep->secret, batch, count);
}

/* --- FEC: sessions ---------------------------------------------------------------------------- */

static struct fec_memory *memory_of(const struct weir_kcp_conn *conn)
{
    return &conn->endpoint->fec_memory[weir_kcp_conn_index(conn)];
}

static uint8_t *codec_at(const struct awake *awake)
{
    const struct weir_kcp *ep = awake->conn->endpoint;
    return ep->fec_codecs + (size_t)awake->index * (ep->encoder_bytes + ep->decoder_bytes);
}

struct weir_kcp_fec_encoder *weir_kcp_layers_encoder(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    return weir_kcp_fec_encoder_init(codec_at(awake), ep->fec, memory_of(awake->conn)->seqid);
}

static struct weir_kcp_fec_decoder *decoder_of(struct awake *awake)
{
    struct weir_kcp *ep = awake->conn->endpoint;
    if (awake->decoder == NULL) {
        awake->decoder = weir_kcp_fec_decoder_init(codec_at(awake) + ep->encoder_bytes, ep->fec);
        weir_kcp_fec_decoder_expect(awake->decoder, memory_of(awake->conn)->groups);
    }
    return awake->decoder;
}

void weir_kcp_layers_on_opened(const struct weir_kcp_conn *conn)
{
    if (conn->endpoint->fec != NULL) {
        *memory_of(conn) = (struct fec_memory){.seqid = 0};
    }
}

void weir_kcp_layers_on_released(struct awake *awake)
{
    if (awake->encoder != NULL) {
        memory_of(awake->conn)->seqid = weir_kcp_fec_encoder_reset(awake->encoder);
    }
    if (awake->decoder != NULL) {
        memory_of(awake->conn)->groups = weir_kcp_fec_decoder_groups(awake->decoder);
        weir_kcp_fec_decoder_reset(awake->decoder);
    }
}

/* --- FEC: receiving --------------------------------------------------------------------------- */

/* Not of a request: a stranger is not to fill the buffers. */
static bool has_decoder(const struct weir_kcp_conn *conn)
{
    return conn->is_awake && conn->state != STATE_REQUESTED && conn->state < STATE_ENDED;
}

/* With this policy an address has one session. NULL: none. */
static struct weir_kcp_conn *find_by_address(const struct weir_kcp *ep,
                                             const struct weir_path *path)
{
    uint32_t key[KEY_WORDS];
    return weir_kcp_key_make(ep, &path->remote, 0, key) ? weir_table_find(&ep->table, key) : NULL;
}

static void take_parity(struct weir_kcp *ep, struct weir_span packet, const struct weir_path *path)
{
    struct weir_kcp_conn *conn = ep->fec != NULL ? find_by_address(ep, path) : NULL;
    if (conn == NULL || !has_decoder(conn)) {
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_PARITY);
        return;
    }
    weir_kcp_layers_feed(ep, conn, packet, path);
}

bool weir_kcp_layers_peel(struct weir_kcp *ep, struct weir_span *datagram,
                          const struct weir_path *path)
{
    switch (weir_kcp_fec_type(*datagram)) {
    case WEIR_KCP_FEC_DATA:
        if (!weir_kcp_fec_segments(*datagram, datagram)) {
            weir_kcp_count_drop(ep, WEIR_KCP_DROP_FEC);
            return false;
        }
        return true;
    case WEIR_KCP_FEC_PARITY:
        take_parity(ep, *datagram, path);
        return false;
    case WEIR_KCP_FEC_OUT_OF_BAND:
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_PARITY);
        return false;
    case WEIR_KCP_FEC_PLAIN:
    default:
        weir_kcp_count_drop(ep, WEIR_KCP_DROP_COMMAND);
        return false;
    }
}

void weir_kcp_layers_feed(struct weir_kcp *ep, struct weir_kcp_conn *conn, struct weir_span packet,
                          const struct weir_path *path)
{
    ep->cursor.fec_conn = conn;
    ep->cursor.fec_path = path;
    ep->cursor.fec_packet = packet;
}

static void feed_decoder(struct weir_kcp *ep)
{
    struct cursor *cursor = &ep->cursor;
    struct weir_span segments;
    weir_kcp_fec_decode(decoder_of(weir_kcp_awake_of(cursor->fec_conn)), ep->now,
                        cursor->fec_packet, &segments);
    cursor->fec_packet = weir_span_of(NULL, 0);
}

bool weir_kcp_layers_recovered(struct weir_kcp *ep, struct weir_span *datagram)
{
    struct cursor *cursor = &ep->cursor;
    struct weir_kcp_conn *conn = cursor->fec_conn;
    if (has_decoder(conn)) {
        if (cursor->fec_packet.data != NULL) {
            feed_decoder(ep);
        }
        cursor->is_recovered = true;
        while (weir_kcp_fec_recovered(weir_kcp_awake_of(conn)->decoder, datagram)) {
            if (datagram->length >= WEIR_KCP_HEADER_BYTES &&
                weir_kcp_load32(datagram->data) == weir_kcp_conv(conn)) {
                return true;
            }
            weir_kcp_count_drop(ep, WEIR_KCP_DROP_CONV); /* out of parity that was forged */
        }
    }
    cursor->is_recovered = false;
    cursor->fec_conn = NULL;
    return false;
}
