/* SPDX-License-Identifier: MIT */
/*
 * link_kcp_end.c - kcp:// for the commands: how sessions end.
 *
 *   this end                                   peer
 *   goodbye, behind what is queued  -------->  CLOSED is told
 *   CLOSED is told                  <--------  goodbye
 *   waits for its ACK to leave                 forgets once that is acknowledged
 *
 * Each step that does not come is waited for a second at most.
 */
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/link_kcp.h"
#include "cli/transfer_wire.h"

enum {
    WORD_HEADER_BYTES = 5,
    WORD_SEGMENTS_MAX = 8 /* of a goodbye, at the least MTU */
};

static const weir_nsec linger = WEIR_SEC;
static const weir_nsec check_every = 10 * WEIR_MSEC;
static const weir_nsec answer_wait = 20 * WEIR_MSEC; /* besides two intervals */

void *cli_kcp_clean_user(void *user)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): the commands' pointers are aligned */
    return (void *)((uintptr_t)user & ~(uintptr_t)1);
}

void *cli_kcp_opened_user(void *user)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): likewise */
    return (void *)((uintptr_t)user | 1);
}

static struct cli_kcp_farewell *nobody(struct cli_kcp *kcp)
{
    return &kcp->farewells[CLI_KCP_FAREWELLS_MAX];
}

struct cli_kcp_farewell *cli_kcp_farewell_at(struct cli_kcp *kcp, void *user)
{
    uintptr_t first = (uintptr_t)kcp->farewells;
    uintptr_t last = (uintptr_t)&kcp->farewells[CLI_KCP_FAREWELLS_MAX];
    uintptr_t at = (uintptr_t)user;
    return at < first || at > last ? NULL : user;
}

void cli_kcp_forget(struct cli_kcp *kcp, struct weir_kcp_conn *conn)
{
    weir_kcp_set_user(conn, nobody(kcp));
    weir_kcp_abort(conn);
}

static void forget_farewell(struct cli_kcp_farewell *farewell)
{
    farewell->is_aborted = true;
    weir_kcp_abort(farewell->conn);
}

static void release(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell)
{
    if (farewell != nobody(kcp)) {
        farewell->conn = NULL;
        kcp->farewells_count--;
    }
}

void cli_kcp_queue_word(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell)
{
    uint8_t word[WORD_HEADER_BYTES + CLI_KCP_TEXT_BYTES];
    size_t length = strlen(farewell->text);
    if (farewell->is_queued || farewell->is_aborted || farewell == nobody(kcp)) {
        return;
    }
    word[0] = farewell->kind;
    weir_store32(word + 1, farewell->code);
    memcpy(word + WORD_HEADER_BYTES, farewell->text, length);
    enum weir_status status = weir_kcp_send(farewell->conn, word, WORD_HEADER_BYTES + length);
    if (status == WEIR_ERR_TOO_LARGE) {
        status = weir_kcp_send(farewell->conn, word, WORD_HEADER_BYTES);
    }
    farewell->is_queued = status == WEIR_OK;
    if (status != WEIR_OK && status != WEIR_ERR_FULL) {
        forget_farewell(farewell);
    }
}

/* NULL: no place. */
static struct cli_kcp_farewell *begin(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t kind,
                                      uint32_t code, const char *text)
{
    struct cli_kcp_farewell *farewell = kcp->farewells;
    while (farewell->conn != NULL && farewell != nobody(kcp)) {
        farewell++;
    }
    if (farewell == nobody(kcp)) {
        return NULL;
    }
    weir_nsec now = cli_link_now(kcp->link);
    *farewell = (struct cli_kcp_farewell){.conn = conn,
                                          .user = cli_kcp_clean_user(weir_kcp_user(conn)),
                                          .until = now + linger,
                                          .code = code,
                                          .kind = kind};
    size_t length = strlen(text);
    length = length < CLI_KCP_TEXT_BYTES ? length : CLI_KCP_TEXT_BYTES - 1;
    memcpy(farewell->text, text, length);
    kcp->check_at = now + check_every;
    kcp->farewells_count++;
    weir_kcp_set_user(conn, farewell);
    return farewell;
}

void cli_kcp_end(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint32_t code, const char *text,
                 bool is_abort)
{
    struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp, weir_kcp_user(conn));
    if (farewell != NULL) {
        if (is_abort && farewell->until == WEIR_NEVER) {
            farewell->until = cli_link_now(kcp->link) + linger;
        }
        return;
    }
    if (kcp->opening == conn) {
        kcp->opening = NULL;
    }
    weir_kcp_pause(conn, false); /* the peer's goodbye may be behind what is held */
    farewell = begin(kcp, conn, CLI_KCP_GOODBYE, code, text);
    if (farewell == NULL) {
        weir_kcp_set_user(conn, cli_kcp_clean_user(weir_kcp_user(conn)));
        weir_kcp_abort(conn);
        return;
    }
    farewell->until = is_abort ? farewell->until : WEIR_NEVER;
    cli_kcp_queue_word(kcp, farewell);
}

void cli_kcp_dismiss(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t kind, uint32_t code,
                     const char *text)
{
    struct cli_kcp_farewell *farewell = begin(kcp, conn, kind, code, text);
    if (farewell == NULL) {
        cli_kcp_forget(kcp, conn);
        return;
    }
    farewell->is_told = true;
    farewell->is_answer = true;
    cli_kcp_queue_word(kcp, farewell);
}

/* --- events ----------------------------------------------------------------------------------- */

static bool tell(struct cli_kcp_farewell *farewell, struct cli_event *event)
{
    if (farewell->is_told) {
        return false;
    }
    farewell->is_told = true;
    event->type = CLI_EVENT_CLOSED;
    event->conn = (struct cli_conn *)(void *)farewell->conn;
    event->closed.cause = CLI_CAUSE_LOCAL;
    event->closed.code = farewell->code;
    event->closed.text = "";
    event->closed.user = farewell->user;
    return true;
}

bool cli_kcp_on_goodbye(struct cli_kcp *kcp, struct weir_kcp_conn *conn, uint8_t kind,
                        struct weir_span body, struct cli_event *event)
{
    void *user = weir_kcp_user(conn);
    struct cli_kcp_farewell *farewell = cli_kcp_farewell_at(kcp, user);
    if (farewell != NULL) {
        farewell->is_answered = true;
        weir_nsec until = cli_link_now(kcp->link) + 2 * kcp->interval + WEIR_MSEC;
        farewell->until = until < farewell->until ? until : farewell->until;
        return tell(farewell, event);
    }
    struct weir_span text = weir_span_of(body.data + 4, body.length < 4 ? 0 : body.length - 4);
    cli_transfer_printable(text, kcp->text, sizeof(kcp->text));
    event->type = CLI_EVENT_CLOSED;
    event->conn = (struct cli_conn *)(void *)conn;
    event->closed.cause = kind == CLI_KCP_REFUSAL ? CLI_CAUSE_REFUSED : CLI_CAUSE_PEER;
    event->closed.code = body.length < 4 ? 0 : weir_load32(body.data);
    event->closed.text = kcp->text;
    event->closed.user = cli_kcp_clean_user(user);
    cli_kcp_dismiss(kcp, conn, CLI_KCP_GOODBYE, 0, "");
    return true;
}

bool cli_kcp_on_ended(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell,
                      struct cli_event *event)
{
    bool is_news = farewell != nobody(kcp) && tell(farewell, event);
    release(kcp, farewell);
    return is_news;
}

/* True: *event is to be told. */
static bool check_one(struct cli_kcp *kcp, struct cli_kcp_farewell *farewell, weir_nsec now,
                      struct cli_event *event)
{
    struct weir_kcp_conn_stats stats;
    cli_kcp_queue_word(kcp, farewell);
    if (farewell->is_aborted) {
        return false;
    }
    weir_kcp_conn_stats(farewell->conn, &stats);
    uint32_t left = stats.in_flight + stats.queued;
    if (farewell->is_queued && left <= WORD_SEGMENTS_MAX && farewell->until == WEIR_NEVER) {
        farewell->until = now + linger;
    }
    if (now >= farewell->until || (farewell->is_answer && farewell->is_queued && left == 0)) {
        bool is_news = tell(farewell, event);
        forget_farewell(farewell);
        return is_news;
    }
    if (farewell->is_queued && left == 0 && !farewell->is_told) {
        weir_nsec until = now + 2 * kcp->interval + answer_wait;
        farewell->until = until < farewell->until ? until : farewell->until;
        return tell(farewell, event);
    }
    return false;
}

bool cli_kcp_check_farewells(struct cli_kcp *kcp, weir_nsec now, struct cli_event *event)
{
    uint32_t left = kcp->farewells_count;
    kcp->check_at = now + check_every;
    for (uint32_t i = 0; left > 0 && i < CLI_KCP_FAREWELLS_MAX; i++) {
        struct cli_kcp_farewell *farewell = &kcp->farewells[i];
        if (farewell->conn == NULL) {
            continue;
        }
        left--;
        if (!farewell->is_aborted && check_one(kcp, farewell, now, event)) {
            return true;
        }
    }
    return false;
}
