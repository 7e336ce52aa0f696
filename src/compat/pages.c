/* SPDX-License-Identifier: MIT */
/*
 * pages.c - where messages lie before they are sent, and from when they came until they are read.
 *
 * Both kinds are put one behind the other into pages, so that few of them cost an allocation. A
 * page of messages to be sent is free once all of them are, in whatever order; the inbox is a
 * queue of pages, read at its front and written at its end.
 */
#include "compat/session.h"

#include "wire/kcp.h"

enum {
    PAGE_BYTES = 16384 - 64, /* what is left of 16 KiB behind malloc's own word */
    PAGE_SHARE = 4,          /* a message of more than such a part has its own page */
    SPARES_MAX = 4,
    MAPPED_MAX = 2, /* one to send from, one for the inbox */
    ALIGN = 8,
    RECORD_BYTES = 4 /* of the inbox: its length, then the message */
};

static uint32_t room_of(size_t bytes)
{
    return (uint32_t)(bytes - sizeof(struct weir_ikcp_page));
}

/* --- pages ------------------------------------------------------------------------------------ */

/* A session that rests must not leave holes in the heap, which would stay resident: what all need
 * is mapped; what few need on top comes from the heap. */
static struct weir_ikcp_page *page_make(struct weir_ikcp *own, bool *is_mapped)
{
    struct weir_ikcp_page *page = NULL;
    *is_mapped = false;
    if (own->is_mapped && own->mapped_count < MAPPED_MAX) {
        page = weir_mem_map(PAGE_BYTES);
        *is_mapped = page != NULL;
        own->mapped_count += *is_mapped;
    }
    return page != NULL ? page : own->allocate(PAGE_BYTES);
}

static void page_free(struct weir_ikcp *own, struct weir_ikcp_page *page)
{
    if (page->is_mapped) {
        own->mapped_count--;
        weir_mem_unmap(page, PAGE_BYTES);
    } else {
        own->deallocate(page);
    }
}

/* room: bytes, or 0 for a common page. NULL: no memory. */
static struct weir_ikcp_page *page_take(struct weir_ikcp *own, uint32_t room)
{
    struct weir_ikcp_page *page = own->spares;
    bool is_mapped = false;
    if (room > 0) {
        page = own->allocate(sizeof(*page) + room);
    } else if (page != NULL) {
        is_mapped = page->is_mapped;
        own->spares = page->next;
        own->spare_count--;
    } else {
        page = page_make(own, &is_mapped);
    }
    if (page != NULL) {
        *page = (struct weir_ikcp_page){.room = room == 0 ? room_of(PAGE_BYTES) : room,
                                        .is_mapped = is_mapped};
    }
    return page;
}

static void page_give(struct weir_ikcp *own, struct weir_ikcp_page *page)
{
    if (page->room != room_of(PAGE_BYTES) || (own->spare_count >= SPARES_MAX && !page->is_mapped)) {
        page_free(own, page);
        return;
    }
    page->next = own->spares;
    own->spares = page;
    own->spare_count++;
}

void weir_ikcp_pages_rest(struct weir_ikcp *own)
{
    struct weir_ikcp_page *page;
    if (own->page != NULL && own->page->live == 0) {
        page_give(own, own->page);
        own->page = NULL;
    }
    while (own->kept == 0 && (page = own->inbox_first) != NULL) {
        own->inbox_first = page->next;
        page_give(own, page);
    }
    while ((page = own->spares) != NULL) {
        own->spares = page->next;
        page_free(own, page);
    }
    own->spare_count = 0;
}

/* --- messages to be sent ---------------------------------------------------------------------- */

/* The page that has so many bytes free. NULL: no memory. */
static struct weir_ikcp_page *page_for(struct weir_ikcp *own, uint32_t bytes)
{
    struct weir_ikcp_page *page = own->page;
    if (page != NULL && page->room - page->used >= bytes) {
        return page;
    }
    if (bytes > PAGE_BYTES / PAGE_SHARE) {
        return page_take(own, bytes);
    }
    page = page_take(own, 0);
    if (page != NULL) {
        own->page = page; /* the one before is given back with its last message */
    }
    return page;
}

struct weir_ikcp_message *weir_ikcp_message_queue(ikcpcb *kcp, uint32_t room, uint32_t fragments)
{
    struct weir_ikcp *own = kcp->own;
    uint32_t bytes = (uint32_t)((sizeof(struct weir_ikcp_message) + (size_t)room + ALIGN - 1) &
                                ~(size_t)(ALIGN - 1));
    struct weir_ikcp_page *page = page_for(own, bytes);
    if (page == NULL) {
        return NULL;
    }
    struct weir_ikcp_message *message =
        (struct weir_ikcp_message *)(void *)(page->bytes + page->used);
    page->used += bytes;
    page->live++;
    *message = (struct weir_ikcp_message){
        .page = page,
        .room = room,
        .fragments = fragments,
        .mss = kcp->mss,
        .parcel = {.data = message->data, .user = message},
    };
    if (own->queue_first == NULL) {
        own->queue_first = message;
    } else {
        own->queue_last->next = message;
    }
    own->queue_last = message;
    own->queued += fragments;
    kcp->nsnd_que += fragments;
    return message;
}

void weir_ikcp_message_free(struct weir_ikcp *own, const struct weir_ikcp_message *message)
{
    struct weir_ikcp_page *page = message->page;
    page->live--;
    if (page->live > 0) {
        return;
    }
    page->used = 0;
    if (page != own->page) {
        page_give(own, page);
    }
}

void weir_ikcp_queue_drop(struct weir_ikcp *own)
{
    while (own->queue_first != NULL) {
        struct weir_ikcp_message *message = own->queue_first;
        own->queue_first = message->next;
        weir_ikcp_message_free(own, message);
    }
    own->queue_last = NULL;
    own->queued = 0;
}

/* --- the inbox -------------------------------------------------------------------------------- */

uint8_t *weir_ikcp_inbox_room(struct weir_ikcp *own, size_t bytes)
{
    struct weir_ikcp_page *last = own->inbox_first != NULL ? own->inbox_last : NULL;
    if (last != NULL && last->room - last->used >= bytes) {
        return last->bytes + last->used;
    }
    struct weir_ikcp_page *page = bytes <= room_of(PAGE_BYTES) ? page_take(own, 0) : NULL;
    if (page == NULL) {
        return NULL;
    }
    if (last == NULL) {
        own->inbox_first = page;
    } else {
        last->next = page;
    }
    own->inbox_last = page;
    return page->bytes;
}

/* Empty pages in front of the first message are done with. */
struct weir_span weir_ikcp_inbox_first(struct weir_ikcp *own)
{
    struct weir_ikcp_page *page = own->inbox_first;
    while (page->read == page->used) {
        own->inbox_first = page->next;
        page_give(own, page);
        page = own->inbox_first;
    }
    const uint8_t *at = page->bytes + page->read;
    return weir_span_of(at + RECORD_BYTES, weir_kcp_load32(at));
}

void weir_ikcp_inbox_take(struct weir_ikcp *own, uint32_t length)
{
    struct weir_ikcp_page *page = own->inbox_first;
    page->read += RECORD_BYTES + length;
    own->kept--;
    if (page->read == page->used && page == own->inbox_last) {
        page->read = page->used = 0;
    }
}
