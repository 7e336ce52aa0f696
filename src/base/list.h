/* SPDX-License-Identifier: MIT */
/*
 * list.h - intrusive doubly linked list with its bound in view: the links live in the element.
 */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

struct weir_link {
    struct weir_link *next, *previous; /* both NULL when not on a list */
};

struct weir_list {
    struct weir_link head; /* a ring through head; empty when it points to itself */
    uint32_t count;
};

/* The struct that contains link as its member. */
#define WEIR_CONTAINER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void weir_list_init(struct weir_list *list)
{
    list->head.next = list->head.previous = &list->head;
    list->count = 0;
}

static inline bool weir_list_is_empty(const struct weir_list *list)
{
    return list->head.next == &list->head;
}

static inline bool weir_link_is_linked(const struct weir_link *link)
{
    return link->next != NULL;
}

/* Links element before where (the head: at the end). */
static inline void weir_list_insert_before(struct weir_list *list, struct weir_link *where,
                                           struct weir_link *element)
{
    WEIR_ASSERT(element->next == NULL);
    element->next = where;
    element->previous = where->previous;
    where->previous->next = element;
    where->previous = element;
    list->count++;
}

static inline void weir_list_append(struct weir_list *list, struct weir_link *element)
{
    weir_list_insert_before(list, &list->head, element);
}

static inline void weir_list_prepend(struct weir_list *list, struct weir_link *element)
{
    weir_list_insert_before(list, list->head.next, element);
}

static inline void weir_list_remove(struct weir_list *list, struct weir_link *element)
{
    WEIR_ASSERT(element->next != NULL && list->count > 0);
    element->previous->next = element->next;
    element->next->previous = element->previous;
    element->next = element->previous = NULL;
    list->count--;
}

/* NULL when empty. */
static inline struct weir_link *weir_list_first(const struct weir_list *list)
{
    return weir_list_is_empty(list) ? NULL : list->head.next;
}

static inline struct weir_link *weir_list_last(const struct weir_list *list)
{
    return weir_list_is_empty(list) ? NULL : list->head.previous;
}

/* NULL past the last. */
static inline struct weir_link *weir_list_next(const struct weir_list *list,
                                               const struct weir_link *element)
{
    return element->next == &list->head ? NULL : element->next;
}

#endif
