/* SPDX-License-Identifier: MIT */
/*
 * message.c - the memory of outgoing messages and how each of them ends.
 *
 * Messages are bump-allocated, struct and copied bytes together, from pages of the endpoint's send
 * store; long ones get a page of their own. Messages end roughly in the order they were sent, so a
 * page empties as a whole and goes back without any search.
 */
#include <string.h>

#include "rudp/internal.h"

enum {
    PAGE_SMALL = 4096,
    PAGE_LARGE = 65536,
    ALIGN = 16,
    PAGE_HEADER = ALIGN
};

_Static_assert(sizeof(struct page) <= PAGE_HEADER, "messages start behind the page's header");

static size_t message_bytes(size_t payload)
{
    return weir_size_align(sizeof(struct message) + payload, ALIGN);
}

size_t weir_rudp_message_page_bytes(size_t payload)
{
    return PAGE_HEADER + message_bytes(payload);
}

static void give_page(struct weir_rudp *ep, struct page *page)
{
    weir_store_give(ep->send_store, page, page->size_bytes);
    weir_rudp_wake_starved(ep);
}

void weir_rudp_send_close_page(struct awake *awake)
{
    struct page *page = awake->page;
    awake->page = NULL;
    if (page != NULL) {
        page->is_current = false;
        if (page->live == 0) {
            give_page(awake->conn->endpoint, page);
        }
    }
}

static struct page *open_page(struct weir_rudp *ep, size_t size)
{
    struct page *page = weir_store_take(ep->send_store, size);
    if (page != NULL) {
        *page = (struct page){.size_bytes = (uint32_t)size, .used_bytes = PAGE_HEADER};
    }
    return page;
}

/* A page with size bytes free behind what is used: the current one, or a new one. */
static struct page *page_for(struct weir_rudp_conn *conn, size_t size)
{
    struct awake *awake = conn->awake;
    struct page *page = awake->page;
    if (page != NULL && page->size_bytes - page->used_bytes >= size) {
        return page;
    }
    if (size > PAGE_SMALL / 2) {
        return open_page(conn->endpoint, PAGE_HEADER + size);
    }
    /* A connection that has filled a page before the first came back is a busy one. */
    size_t page_bytes = page != NULL && page->live > 0 ? PAGE_LARGE : PAGE_SMALL;
    struct page *fresh = open_page(conn->endpoint, page_bytes);
    if (fresh == NULL) {
        return NULL;
    }
    weir_rudp_send_close_page(awake);
    fresh->is_current = true;
    awake->page = fresh;
    return fresh;
}

struct message *weir_rudp_message_take(struct weir_rudp_conn *conn, size_t payload)
{
    size_t size = message_bytes(payload);
    struct page *page = page_for(conn, size);
    if (page == NULL) {
        return NULL;
    }
    struct message *message = (void *)((uint8_t *)page + page->used_bytes);
    page->used_bytes += (uint32_t)size;
    page->live++;
    memset(message, 0, sizeof(*message));
    message->page = page;
    message->conn = conn;
    message->data = (const uint8_t *)(message + 1);
    message->deadline = WEIR_NEVER;
    message->room = (uint32_t)(size - sizeof(*message));
    return message;
}

bool weir_rudp_message_extend(struct message *message, size_t payload)
{
    struct page *page = message->page;
    uint8_t *end = (uint8_t *)(message + 1) + message->room;
    size_t more = message_bytes(payload) - sizeof(*message) - message->room;
    if (end != (uint8_t *)page + page->used_bytes || page->size_bytes - page->used_bytes < more) {
        return false;
    }
    page->used_bytes += (uint32_t)more;
    message->room += (uint32_t)more;
    return true;
}

void weir_rudp_message_trim(struct message *message)
{
    struct page *page = message->page;
    uint8_t *end = (uint8_t *)(message + 1) + message->room;
    size_t less = sizeof(*message) + message->room - message_bytes(message->length);
    if (end == (uint8_t *)page + page->used_bytes) {
        page->used_bytes -= (uint32_t)less;
        message->room -= (uint32_t)less;
    }
}

void weir_rudp_message_free(struct weir_rudp *ep, struct message *message)
{
    struct page *page = message->page;
    if (--page->live > 0) {
        return;
    }
    if (page->is_current) {
        page->used_bytes = PAGE_HEADER;
    } else {
        give_page(ep, page);
    }
}

uint64_t weir_rudp_message_cost(const struct message *message)
{
    return sizeof(*message) + (message->parcel == NULL ? message->length : 0);
}

void weir_rudp_message_done(struct message *message, enum weir_outcome outcome)
{
    struct weir_rudp_conn *conn = message->conn;
    struct weir_rudp *ep = conn->endpoint;
    struct awake *awake = conn->awake;
    awake->queued_bytes -= weir_rudp_message_cost(message);
    awake->messages--;
    awake->messages_expired += outcome == WEIR_OUTCOME_EXPIRED;
    if (conn->is_writable_wanted && awake->queued_bytes <= ep->config.send_queue_bytes / 2) {
        conn->is_writable_wanted = false;
        weir_rudp_conn_pend(conn, PENDING_WRITABLE);
    }
    if (message->parcel == NULL) {
        weir_rudp_message_free(ep, message);
        return;
    }
    message->outcome = (uint8_t)outcome;
    message->next = NULL;
    if (ep->done_first == NULL) {
        ep->done_first = message;
    } else {
        ep->done_last->next = message;
    }
    ep->done_last = message;
}
