/* SPDX-License-Identifier: MIT */
/*
 * parcel.h - bytes that the application owns and lends to weir until they are acknowledged.
 *
 * Role: sending without a copy, on one connection or on many at once.
 * Owned by: the application allocates (static, pool, heap) and frees; weir counts references.
 * Order: fill in data and length, set references to 0, send it any number of times. Each send that
 * returns WEIR_OK takes one reference and ends with one WEIR_..._PARCEL_DONE event of that
 * connection, which gives it back when it is pulled. The bytes and the struct must stay unchanged
 * until the count is 0 again: then no connection and no event names the parcel any more.
 */
#ifndef WEIR_PARCEL_H
#define WEIR_PARCEL_H

#include <stdint.h>

struct weir_parcel {
    const uint8_t *data;
    uint32_t length;
    uint32_t references; /* sends not yet done; written by weir, one thread per parcel */
    void *user;          /* the application's, untouched */
};

enum weir_outcome {
    WEIR_OUTCOME_ACKED,   /* the peer's weir has all of it */
    WEIR_OUTCOME_SENT,    /* left once, without a guarantee (none, order) */
    WEIR_OUTCOME_EXPIRED, /* its deadline passed first; the peer may still have got it */
    WEIR_OUTCOME_CLOSED   /* the connection ended first; the peer may still have got it */
};

#endif
