/* SPDX-License-Identifier: MIT */
/*
 * span.h - a borrowed run of bytes.
 *
 * Role: says where bytes are, never who frees them. A span is valid only as long as the call that
 * produced it says.
 */
#ifndef WEIR_SPAN_H
#define WEIR_SPAN_H

#include <stddef.h>
#include <stdint.h>

struct weir_span {
    const uint8_t *data;
    size_t length;
};

/* A run of bytes that may be written. */
struct weir_mut_span {
    uint8_t *data;
    size_t length;
};

static inline struct weir_span weir_span_of(const void *data, size_t length)
{
    return (struct weir_span){.data = (const uint8_t *)data, .length = length};
}

#endif
