/* SPDX-License-Identifier: MIT */
/*
 * link_tcp_end.c - tcp:// for the commands: how connections end.
 *
 *   this end                                        peer
 *   goodbye and FIN, behind what is queued  ---->   CLOSED is told
 *   CLOSED is told                          <----   FIN
 *
 * An abort lets what is queued go for a second at most, so that its word gets there; one without a
 * word is a reset.
 */
#include <string.h>

#include "base/bytes.h"
#include "cli/link_tcp.h"

static const weir_nsec linger = WEIR_SEC;
static const weir_nsec check_every = 10 * WEIR_MSEC;

void cli_tcp_watch(struct cli_tcp *tcp, struct cli_tcp_conn *conn, weir_nsec until)
{
    conn->until = until;
    if (!weir_link_is_linked(&conn->link)) {
        if (weir_list_is_empty(&tcp->timed)) {
            tcp->check_at = cli_link_now(tcp->link) + check_every;
        }
        weir_list_append(&tcp->timed, &conn->link);
    }
}

void cli_tcp_unwatch(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    if (weir_link_is_linked(&conn->link)) {
        weir_list_remove(&tcp->timed, &conn->link);
    }
}

bool cli_tcp_tell(struct cli_tcp_conn *conn, enum cli_cause cause, uint32_t code, const char *text,
                  struct cli_event *event)
{
    conn->is_told = true;
    event->type = CLI_EVENT_CLOSED;
    event->conn = (struct cli_conn *)(void *)conn;
    event->closed.cause = cause;
    event->closed.code = code;
    event->closed.text = text;
    event->closed.user = conn->user;
    return true;
}

/* --- our end ---------------------------------------------------------------------------------- */

static void drop_word(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    cli_heap_give(&tcp->heap, conn->word, conn->word_bytes);
    conn->word = NULL;
}

static void drop_backlog(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    cli_heap_give(&tcp->heap, conn->backlog, conn->backlog_bytes);
    conn->backlog = NULL;
}

bool cli_tcp_flush_backlog(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    if (conn->backlog != NULL) {
        enum weir_status status =
            weir_tcp_send(tcp->engine, conn->conn, conn->backlog, conn->backlog_bytes);
        if (status == WEIR_ERR_FULL || status == WEIR_AGAIN) {
            return false;
        }
        drop_backlog(tcp, conn);
    }
    return true;
}

/* Does what is still to be done for its end, as far as the engine has room. */
static void proceed(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    if (conn->conn == NULL || conn->is_fin) {
        return;
    }
    if (conn->is_abort) {
        conn->is_fin = weir_tcp_abort(tcp->engine, conn->conn) == WEIR_OK;
        return;
    }
    if (!cli_tcp_flush_backlog(tcp, conn)) {
        return;
    }
    if (conn->word != NULL) {
        enum weir_status status =
            weir_tcp_send(tcp->engine, conn->conn, conn->word, conn->word_bytes);
        if (status == WEIR_ERR_FULL || status == WEIR_AGAIN) {
            return;
        }
        drop_word(tcp, conn);
    }
    conn->is_fin = weir_tcp_close(tcp->engine, conn->conn) != WEIR_AGAIN;
}

static void abort_now(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    conn->is_abort = true;
    conn->is_fin = false;
    conn->until = WEIR_NEVER;
    proceed(tcp, conn);
}

static void make_word(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint8_t kind, uint32_t code,
                      const char *text)
{
    size_t length = strlen(text);
    length = length < CLI_TCP_TEXT_BYTES ? length : CLI_TCP_TEXT_BYTES - 1;
    conn->word_bytes = (uint32_t)(CLI_TCP_HEADER_BYTES + 4 + length);
    conn->word = cli_heap_take(&tcp->heap, conn->word_bytes);
    if (conn->word != NULL) {
        cli_tcp_set_header(conn->word, kind, 4 + length);
        weir_store32(conn->word + CLI_TCP_HEADER_BYTES, code);
        memcpy(conn->word + CLI_TCP_HEADER_BYTES + 4, text, length);
    }
}

void cli_tcp_end(struct cli_tcp *tcp, struct cli_tcp_conn *conn, uint8_t kind, uint32_t code,
                 const char *text, bool is_abort)
{
    weir_nsec until = is_abort ? cli_link_now(tcp->link) + linger : WEIR_NEVER;
    if (conn->conn == NULL || conn->is_abort) {
        return;
    }
    const bool is_silent = is_abort && (tcp->is_raw || (code == 0 && text[0] == 0));
    if (!conn->is_ending) {
        conn->is_ending = true;
        if (!is_silent && !tcp->is_raw) {
            (void)weir_tcp_pause(tcp->engine, conn->conn, false); /* the peer's end may be held */
            make_word(tcp, conn, kind, code, text);
        }
    }
    if (is_silent) {
        cli_tcp_watch(tcp, conn, until);
        abort_now(tcp, conn);
        return;
    }
    proceed(tcp, conn);
    if (!conn->is_fin || is_abort) {
        cli_tcp_watch(tcp, conn, until);
    }
}

void cli_tcp_answer_end(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    conn->is_ending = true;
    proceed(tcp, conn);
    cli_tcp_watch(tcp, conn, cli_link_now(tcp->link) + linger);
}

/* --- events ----------------------------------------------------------------------------------- */

static void free_parts(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    cli_heap_give(&tcp->heap, conn->partial, conn->partial_room);
    drop_backlog(tcp, conn);
    drop_word(tcp, conn);
    cli_heap_give(&tcp->heap, conn, sizeof(*conn));
}

void cli_tcp_free_conn(struct cli_tcp *tcp, struct cli_tcp_conn *conn)
{
    weir_list_remove(&tcp->all, &conn->all);
    free_parts(tcp, conn);
}

void cli_tcp_free_dead(struct cli_tcp *tcp)
{
    if (tcp->dead != NULL) {
        cli_tcp_free_conn(tcp, tcp->dead);
        tcp->dead = NULL;
    }
}

void cli_tcp_free_all(struct cli_tcp *tcp)
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&tcp->all); link != NULL; link = next) {
        next = weir_list_next(&tcp->all, link);
        free_parts(tcp, WEIR_CONTAINER(link, struct cli_tcp_conn, all));
    }
    weir_list_init(&tcp->all);
}

static enum cli_cause cause_of(const struct cli_tcp_conn *conn, enum weir_tcp_close_cause cause,
                               const char **text)
{
    *text = "";
    switch (cause) {
    case WEIR_TCP_CAUSE_RESET:
        return CLI_CAUSE_CUT;
    case WEIR_TCP_CAUSE_REFUSED:
        *text = "nobody listens at that port";
        return CLI_CAUSE_REFUSED;
    case WEIR_TCP_CAUSE_UNREACHABLE:
        *text = "the network says that it cannot be reached";
        return CLI_CAUSE_TIMEOUT;
    case WEIR_TCP_CAUSE_DONE:
    case WEIR_TCP_CAUSE_ABORTED:
        return conn->is_ending ? CLI_CAUSE_LOCAL : CLI_CAUSE_PEER;
    case WEIR_TCP_CAUSE_TIMEOUT:
    default:
        return CLI_CAUSE_TIMEOUT;
    }
}

bool cli_tcp_on_closed(struct cli_tcp *tcp, struct cli_tcp_conn *conn,
                       enum weir_tcp_close_cause cause, struct cli_event *event)
{
    const char *text = "";
    cli_tcp_unwatch(tcp, conn);
    if (weir_link_is_linked(&conn->wanting)) {
        weir_list_remove(&tcp->wanting, &conn->wanting);
    }
    drop_word(tcp, conn);
    drop_backlog(tcp, conn);
    conn->conn = NULL;
    tcp->dead = conn;
    if (tcp->opened == conn) {
        tcp->opened = NULL;
    }
    if (conn->is_told) {
        return false;
    }
    enum cli_cause told = cause_of(conn, cause, &text);
    return cli_tcp_tell(conn, told, 0, text, event);
}

bool cli_tcp_check(struct cli_tcp *tcp, weir_nsec now, struct cli_event *event)
{
    struct weir_link *next = NULL;
    if (weir_list_is_empty(&tcp->timed) || now < tcp->check_at) {
        return false;
    }
    tcp->check_at = now + check_every;
    for (struct weir_link *link = weir_list_first(&tcp->timed); link != NULL; link = next) {
        struct cli_tcp_conn *conn = WEIR_CONTAINER(link, struct cli_tcp_conn, link);
        next = weir_list_next(&tcp->timed, link);
        if (conn->is_ending) {
            proceed(tcp, conn);
        }
        if (conn->until > now) {
            continue;
        }
        /* Too late: an opening that did not come, or a peer that takes no more of its end. */
        bool is_news = !conn->is_told;
        bool is_ours = conn->is_ending;
        conn->is_ending = true;
        abort_now(tcp, conn);
        if (is_news) {
            return cli_tcp_tell(conn, is_ours ? CLI_CAUSE_LOCAL : CLI_CAUSE_TIMEOUT, 0, "", event);
        }
    }
    return false;
}
