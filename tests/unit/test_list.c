/* SPDX-License-Identifier: MIT */
/*
 * test_list.c - the intrusive list against an array.
 */
#include "seed.h"

#include <string.h>

#include "base/list.h"

enum {
    ELEMENTS = 12
};

struct element {
    int before;
    struct weir_link link;
};

static struct element *element_of(struct weir_link *link)
{
    return WEIR_CONTAINER(link, struct element, link);
}

/* The expected order, as indices into the elements. */
struct model {
    unsigned order[ELEMENTS];
    unsigned count;
};

static void model_insert(struct model *model, unsigned at, unsigned element)
{
    memmove(&model->order[at + 1], &model->order[at],
            (model->count - at) * sizeof(model->order[0]));
    model->order[at] = element;
    model->count++;
}

static unsigned model_find(const struct model *model, unsigned element)
{
    unsigned at = 0;
    while (at < model->count && model->order[at] != element) {
        at++;
    }
    return at;
}

static void check_equal(uint64_t seed, const struct weir_list *list, const struct model *model,
                        const struct element *elements)
{
    CHECK(seed, list->count == model->count);
    CHECK(seed, weir_list_is_empty(list) == (model->count == 0));
    struct weir_link *link = weir_list_first(list);
    for (unsigned i = 0; i < model->count; i++) {
        CHECK(seed, link != NULL && element_of(link) == &elements[model->order[i]]);
        link = weir_list_next(list, link);
    }
    CHECK(seed, link == NULL);
    link = weir_list_last(list);
    CHECK(seed, model->count == 0 ? link == NULL
                                  : element_of(link) == &elements[model->order[model->count - 1]]);
}

static void insert(struct weir_prng *prng, struct weir_list *list, struct model *model,
                   struct element *elements, unsigned which)
{
    struct weir_link *link = &elements[which].link;
    unsigned at = (unsigned)weir_prng_below(prng, model->count + 1);
    if (at == model->count) {
        weir_list_append(list, link);
    } else if (at == 0) {
        weir_list_prepend(list, link);
    } else {
        weir_list_insert_before(list, &elements[model->order[at]].link, link);
    }
    model_insert(model, at, which);
}

static void follows_an_array(void **state)
{
    (void)state;
    const uint64_t seed = 11;
    struct weir_prng prng;
    weir_prng_init(&prng, seed);
    struct element elements[ELEMENTS] = {0};
    struct model model = {.count = 0};
    struct weir_list list;
    weir_list_init(&list);
    for (int i = 0; i < 20000; i++) {
        unsigned which = (unsigned)weir_prng_below(&prng, ELEMENTS);
        unsigned at = model_find(&model, which);
        CHECK(seed, weir_link_is_linked(&elements[which].link) == (at < model.count));
        if (at == model.count) {
            insert(&prng, &list, &model, elements, which);
        } else {
            weir_list_remove(&list, &elements[which].link);
            model.count--;
            memmove(&model.order[at], &model.order[at + 1],
                    (model.count - at) * sizeof(model.order[0]));
        }
        check_equal(seed, &list, &model, elements);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_an_array)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
