/* SPDX-License-Identifier: MIT */
/*
 * gather.c - see gather.h.
 */
#include "driver/gather.h"

#include <stdlib.h>

enum {
    RUN_BYTES_MAX = 65507
};

enum weir_status weir_gather_open(struct weir_gather *gather)
{
    gather->buffer = malloc(WEIR_GATHER_BYTES);
    gather->used_bytes = 0;
    gather->count = gather->first = 0;
    return gather->buffer == NULL ? WEIR_ERR_MEMORY : WEIR_OK;
}

void weir_gather_close(struct weir_gather *gather)
{
    free(gather->buffer);
    gather->buffer = NULL;
}

static bool is_same_path(const struct weir_path *a, const struct weir_path *b)
{
    return weir_addr_is_equal(&a->remote, &b->remote) && weir_addr_is_equal(&a->local, &b->local);
}

/* Frames and TCP segments are never runs of equal ones. Where headers come in front, it is TCP: our
 * own IP needs no room in front of datagrams. */
static bool is_datagram(const struct weir_driver *driver, const struct weir_flight_packet *packet)
{
    return packet->mark.protocol == WEIR_PROTOCOL_DATAGRAM && driver->headroom_bytes == 0;
}

/* A run is datagrams of one size to one path; only its last one may be shorter, none empty. */
static bool fits_last_run(const struct weir_gather *gather, const struct weir_driver *driver,
                          const struct weir_flight_packet *packet)
{
    if (weir_gather_is_empty(gather) || driver->run_bytes_max == 0 || packet->length == 0 ||
        !is_datagram(driver, packet)) {
        return false;
    }
    const struct weir_transmit *run = &gather->transmits[gather->count - 1];
    uint32_t run_bytes_max =
        driver->run_bytes_max < RUN_BYTES_MAX ? driver->run_bytes_max : RUN_BYTES_MAX;
    return run->length > 0 && packet->length <= run->segment_bytes &&
           run->length % run->segment_bytes == 0 && run->ecn == packet->ecn &&
           gather->segments[gather->count - 1] < driver->run_segments_max &&
           run->length + packet->length <= run_bytes_max && is_same_path(&run->path, &packet->path);
}

bool weir_gather_add(struct weir_gather *gather, const struct weir_driver *driver,
                     const struct weir_flight *flight, const struct weir_flight_packet *packet)
{
    const size_t headroom = driver->headroom_bytes;
    if (headroom + packet->length > WEIR_GATHER_BYTES - gather->used_bytes) {
        return false;
    }
    if (fits_last_run(gather, driver, packet)) {
        gather->transmits[gather->count - 1].length += packet->length;
        gather->segments[gather->count - 1]++;
    } else if (gather->count < WEIR_GATHER_RUNS_MAX) {
        gather->used_bytes += headroom;
        gather->transmits[gather->count] =
            (struct weir_transmit){.path = packet->path,
                                   .data = gather->buffer + gather->used_bytes,
                                   .length = packet->length,
                                   .segment_bytes = (uint16_t)packet->length,
                                   .ecn = packet->ecn,
                                   .protocol = packet->mark.protocol};
        gather->segments[gather->count++] = 1;
    } else {
        return false;
    }
    weir_flight_copy(flight, packet, gather->buffer + gather->used_bytes);
    gather->used_bytes += packet->length;
    return true;
}

enum weir_status weir_gather_send(struct weir_gather *gather, struct weir_driver *driver,
                                  weir_nsec now)
{
    if (weir_gather_is_empty(gather)) {
        return WEIR_OK;
    }
    uint32_t sent = 0;
    enum weir_status status = driver->ops->send(driver, now, gather->transmits + gather->first,
                                                gather->count - gather->first, &sent);
    gather->first += sent;
    if (!weir_gather_is_empty(gather)) {
        return status == WEIR_OK ? WEIR_AGAIN : status;
    }
    (void)weir_gather_discard(gather, NULL);
    return status == WEIR_AGAIN ? WEIR_OK : status;
}

uint64_t weir_gather_discard(struct weir_gather *gather, uint64_t *bytes)
{
    uint64_t datagrams = 0;
    uint64_t length = 0;
    for (uint32_t i = gather->first; i < gather->count; i++) {
        datagrams += gather->segments[i];
        length += gather->transmits[i].length;
    }
    gather->first = gather->count = 0;
    gather->used_bytes = 0;
    if (bytes != NULL) {
        *bytes = length;
    }
    return datagrams;
}
