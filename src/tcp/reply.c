/* SPDX-License-Identifier: MIT */
/*
 * reply.c - answers that need no connection: RST, and SYN-ACK with a cookie.
 *
 * Nothing is kept of who is answered, but for the answers themselves until output comes by.
 */
#include "tcp/internal.h"

void weir_tcp_reply(struct weir_tcp *ep, const struct reply *reply)
{
    if (ep->reply_count == REPLIES_MAX) {
        weir_tcp_count_drop(ep, WEIR_TCP_DROP_REPLY);
        return;
    }
    ep->replies[(ep->reply_first + ep->reply_count) % REPLIES_MAX] = *reply;
    ep->reply_count++;
}

void weir_tcp_reply_reset(struct weir_tcp *ep, const struct weir_path *path,
                          const struct weir_tcp_segment *segment)
{
    /* RFC 9293 3.5.2: never in answer to a RST (MUST NOT). */
    if ((segment->flags & WEIR_TCP_RST) != 0) {
        return;
    }
    struct reply reply = {.path = *path, .flags = WEIR_TCP_RST};
    /* RFC 9293 3.10.7.1: it must be acceptable to who sent the segment. */
    if ((segment->flags & WEIR_TCP_ACK) != 0) {
        reply.seq = segment->ack;
    } else {
        reply.flags |= WEIR_TCP_ACK;
        reply.ack = segment->seq + weir_tcp_length(segment);
    }
    weir_tcp_reply(ep, &reply);
}

static bool put_reply(struct weir_tcp *ep, struct weir_tx *tx, const struct reply *reply)
{
    size_t room = tx->buffer_bytes - tx->used_bytes;
    if (tx->count == tx->transmits_max || room < tx->headroom_bytes + (size_t)WEIR_TCP_HEADER_MAX) {
        return false;
    }
    const struct weir_tcp_segment segment = {.source = reply->path.local.port,
                                             .target = reply->path.remote.port,
                                             .seq = reply->seq,
                                             .ack = reply->ack,
                                             .window = reply->window,
                                             .flags = reply->flags,
                                             .options = reply->options,
                                             .scale = reply->scale,
                                             .mss = reply->mss,
                                             .ts_value = reply->ts_value,
                                             .ts_echo = reply->ts_echo};
    uint8_t *at = tx->buffer + tx->used_bytes + tx->headroom_bytes;
    uint32_t length = weir_tcp_encode(at, &segment);
    struct weir_transmit *transmit = &tx->transmits[tx->count++];
    *transmit = (struct weir_transmit){.path = reply->path,
                                       .data = at,
                                       .length = length,
                                       .segment_bytes = (uint16_t)length,
                                       .protocol = WEIR_PROTOCOL_TCP};
    transmit->path.local.port = transmit->path.remote.port = 0;
    if (!tx->is_unchecked) {
        weir_tcp_seal(at, length, &transmit->path);
    }
    tx->used_bytes += tx->headroom_bytes + length;
    ep->stats.packets_sent++;
    ep->stats.bytes_sent += length;
    ep->stats.resets_sent += (reply->flags & WEIR_TCP_RST) != 0;
    return true;
}

bool weir_tcp_put_replies(struct weir_tcp *ep, struct weir_tx *tx)
{
    while (ep->reply_count > 0) {
        if (!put_reply(ep, tx, &ep->replies[ep->reply_first])) {
            return false;
        }
        ep->reply_first = (ep->reply_first + 1) % REPLIES_MAX;
        ep->reply_count--;
    }
    return true;
}
