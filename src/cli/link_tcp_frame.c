/* SPDX-License-Identifier: MIT */
/*
 * link_tcp_frame.c - tcp:// for the commands: the stream of bytes as messages.
 *
 * Memory: a message that lies whole in what TCP hands over is not copied; one that comes in parts
 * is put together on the heap, which grows with what has come, not with what was announced.
 */
#include <string.h>

#include "base/bytes.h"
#include "cli/link_tcp.h"
#include "cli/transfer_wire.h"

enum {
    ROLE_CONNECTS = 0,
    ROLE_ACCEPTS = 1,
    PARTIAL_BYTES = 16 << 10 /* first piece of heap for a message */
};

static const uint8_t magic[8] = {'w', 'e', 'i', 'r', 't', 'c', 'p', 0};

void cli_tcp_set_header(uint8_t *header, uint8_t kind, size_t length)
{
    header[0] = kind;
    weir_store32(header + 1, (uint32_t)length);
}

/* --- in --------------------------------------------------------------------------------------- */

static bool break_off(struct cli_tcp *tcp, struct cli_tcp_conn *conn, enum cli_cause cause,
                      struct cli_event *event)
{
    bool is_news = !conn->is_told;
    tcp->rest.length = 0;
    if (is_news) {
        (void)cli_tcp_tell(conn, cause, 0,
                           cause == CLI_CAUSE_PROTOCOL ? "it is no weir at the other end" : "",
                           event);
    }
    cli_tcp_end(tcp, conn, CLI_TCP_GOODBYE, 0, "this end is weir", true);
    return is_news;
}

static bool on_opening(struct cli_tcp *tcp, struct cli_tcp_conn *conn, struct weir_span body,
                       struct cli_event *event)
{
    const uint8_t role = conn->is_passive ? ROLE_CONNECTS : ROLE_ACCEPTS;
    if (body.length != CLI_TCP_OPENING_BYTES || memcmp(body.data, magic, sizeof(magic)) != 0 ||
        body.data[9] != role) {
        return break_off(tcp, conn, CLI_CAUSE_PROTOCOL, event);
    }
    if (body.data[8] != CLI_TCP_VERSION) {
        return break_off(tcp, conn, CLI_CAUSE_VERSION, event);
    }
    conn->is_opened = true;
    if (conn->is_ending) {
        return false;
    }
    cli_tcp_unwatch(tcp, conn);
    event->type = CLI_EVENT_OPENED;
    return true;
}

static bool on_goodbye(struct cli_tcp *tcp, struct cli_tcp_conn *conn, struct weir_span body,
                       uint8_t kind, struct cli_event *event)
{
    struct weir_span text = weir_span_of(body.data + 4, body.length < 4 ? 0 : body.length - 4);
    uint32_t code = body.length < 4 ? 0 : weir_load32(body.data);
    tcp->rest.length = 0;
    if (conn->is_told) {
        return false;
    }
    if (conn->is_ending) {
        return cli_tcp_tell(conn, CLI_CAUSE_LOCAL, 0, "", event);
    }
    cli_transfer_printable(text, tcp->text, sizeof(tcp->text));
    cli_tcp_answer_end(tcp, conn);
    return cli_tcp_tell(conn, kind == CLI_TCP_REFUSAL ? CLI_CAUSE_REFUSED : CLI_CAUSE_PEER, code,
                        tcp->text, event);
}

static bool on_frame(struct cli_tcp *tcp, struct cli_tcp_conn *conn, struct weir_span body,
                     struct cli_event *event)
{
    const uint8_t kind = conn->header[0];
    if (kind == CLI_TCP_OPENING) {
        return on_opening(tcp, conn, body, event);
    }
    if (kind == CLI_TCP_GOODBYE || kind == CLI_TCP_REFUSAL) {
        return on_goodbye(tcp, conn, body, kind, event);
    }
    if (conn->is_told) {
        return false;
    }
    event->type = CLI_EVENT_MESSAGE;
    event->message.data = body;
    event->message.channel = kind == CLI_TCP_DATA_SIDE;
    event->message.guarantee = WEIR_RUDP_DELIVERY;
    return true;
}

/* Nothing is kept of a stranger but an opening or a goodbye. */
static bool is_header_right(const struct cli_tcp *tcp, const struct cli_tcp_conn *conn)
{
    const uint8_t kind = conn->header[0];
    const uint32_t length = weir_load32(conn->header + 1);
    if (kind >= CLI_TCP_KINDS || (kind == CLI_TCP_OPENING) == conn->is_opened) {
        return (kind == CLI_TCP_GOODBYE || kind == CLI_TCP_REFUSAL) &&
               length <= CLI_TCP_WORD_BYTES_MAX;
    }
    return length <=
           (kind == CLI_TCP_OPENING ? (uint32_t)CLI_TCP_OPENING_BYTES : tcp->frame_bytes_max);
}

static bool take_header(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    size_t want = (size_t)(CLI_TCP_HEADER_BYTES - conn->header_used);
    size_t take = want < tcp->rest.length ? want : tcp->rest.length;
    memcpy(conn->header + conn->header_used, tcp->rest.data, take);
    conn->header_used = (uint8_t)(conn->header_used + take);
    tcp->rest = weir_span_of(tcp->rest.data + take, tcp->rest.length - take);
    return conn->header_used == CLI_TCP_HEADER_BYTES;
}

static bool grow_partial(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint32_t needed,
                         uint32_t whole)
{
    if (needed <= conn->partial_room) {
        return true;
    }
    uint64_t room = conn->partial_room == 0 ? PARTIAL_BYTES : 2 * (uint64_t)conn->partial_room;
    room = room < needed ? needed : room;
    room = room < whole ? room : whole;
    uint8_t *grown = cli_heap_take(&tcp->heap, room);
    if (grown != NULL) {
        if (conn->partial_used > 0) {
            memcpy(grown, conn->partial, conn->partial_used);
        }
        cli_heap_give(&tcp->heap, conn->partial, conn->partial_room);
        conn->partial = grown;
        conn->partial_room = (uint32_t)room;
    }
    return grown != NULL;
}

static void drop_partial(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    conn->partial_used = 0;
    conn->header_used = 0;
    if (conn->partial_room > PARTIAL_BYTES * 8) {
        cli_heap_give(&tcp->heap, conn->partial, conn->partial_room);
        conn->partial = NULL;
        conn->partial_room = 0;
    }
}

bool cli_tcp_take_frame(struct cli_tcp *tcp, struct cli_event *event)
{
    struct cli_tcp_conn *conn = tcp->from;
    event->conn = (struct cli_conn *)(void *)conn;
    if (conn->header_used < CLI_TCP_HEADER_BYTES) {
        if (conn->partial_used != 0) {
            drop_partial(tcp, conn); /* of the message before, which was told */
        }
        if (!take_header(tcp, conn)) {
            return false;
        }
        if (!is_header_right(tcp, conn)) {
            return break_off(tcp, conn, CLI_CAUSE_PROTOCOL, event);
        }
    }
    const uint32_t whole = weir_load32(conn->header + 1);
    if (conn->partial_used == 0 && tcp->rest.length >= whole) {
        struct weir_span body = weir_span_of(tcp->rest.data, whole);
        tcp->rest = weir_span_of(tcp->rest.data + whole, tcp->rest.length - whole);
        conn->header_used = 0;
        return on_frame(tcp, conn, body, event);
    }
    size_t take = whole - conn->partial_used;
    take = take < tcp->rest.length ? take : tcp->rest.length;
    if (take > 0 && !grow_partial(tcp, conn, conn->partial_used + (uint32_t)take, whole)) {
        return break_off(tcp, conn, CLI_CAUSE_CUT, event);
    }
    if (take > 0) {
        memcpy(conn->partial + conn->partial_used, tcp->rest.data, take);
    }
    conn->partial_used += (uint32_t)take;
    tcp->rest = weir_span_of(tcp->rest.data + take, tcp->rest.length - take);
    if (conn->partial_used < whole) {
        return false;
    }
    conn->header_used = 0;
    return on_frame(tcp, conn, weir_span_of(conn->partial, whole), event);
}

/* --- out -------------------------------------------------------------------------------------- */

static bool grow_out(struct cli_tcp *tcp, size_t needed)
{
    if (needed > tcp->out_bytes) {
        uint8_t *grown = cli_heap_take(&tcp->heap, needed);
        if (grown == NULL) {
            return false;
        }
        cli_heap_give(&tcp->heap, tcp->out, tcp->out_bytes);
        tcp->out = grown;
        tcp->out_bytes = needed;
    }
    return true;
}

/* An answer to what has just come must not depend on who has the control blocks. */
static bool keep_backlog(struct cli_tcp *tcp, struct cli_tcp_conn *conn, size_t length)
{
    conn->backlog = cli_heap_take(&tcp->heap, length);
    if (conn->backlog == NULL) {
        return false;
    }
    memcpy(conn->backlog, tcp->out, length);
    conn->backlog_bytes = (uint32_t)length;
    if (!weir_link_is_linked(&conn->wanting)) {
        weir_list_append(&tcp->wanting, &conn->wanting);
    }
    return true;
}

enum weir_status cli_tcp_send_frame(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint8_t kind,
                                    const void *data, size_t length)
{
    if (length > WEIR_TCP_SEND_BYTES_MAX - CLI_TCP_HEADER_BYTES) {
        return WEIR_ERR_TOO_LARGE;
    }
    if (!grow_out(tcp, CLI_TCP_HEADER_BYTES + length)) {
        return WEIR_ERR_FULL;
    }
    cli_tcp_set_header(tcp->out, kind, length);
    if (length > 0) {
        memcpy(tcp->out + CLI_TCP_HEADER_BYTES, data, length);
    }
    if (conn->backlog != NULL) {
        return cli_tcp_status(tcp, conn, WEIR_AGAIN);
    }
    enum weir_status status =
        weir_tcp_send(tcp->engine, conn->conn, tcp->out, CLI_TCP_HEADER_BYTES + length);
    if (status == WEIR_AGAIN && keep_backlog(tcp, conn, CLI_TCP_HEADER_BYTES + length)) {
        return WEIR_OK;
    }
    return cli_tcp_status(tcp, conn, status);
}
