/* SPDX-License-Identifier: MIT */
/*
 * kcp_ends.c - see kcp_ends.h.
 */
#include "kcp_ends.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/os.h"

void kcp_ends_die(const char *what)
{
    (void)fprintf(stderr, "bench of KCP: %s\n", what);
    exit(1);
}

static void check(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        kcp_ends_die(what);
    }
}

void kcp_end_open(struct kcp_end *end, const struct weir_kcp_config *config, bool is_server)
{
    const uint8_t seed[32] = {is_server};
    struct weir_kcp_config filled = *config;
    struct weir_slide_config slide;
    weir_slide_config_default(&slide);
    end->slide_bytes = weir_slide_mem_size(&slide);
    end->slide_mem = weir_mem_map(end->slide_bytes);
    check(weir_slide_init(end->slide_mem, &slide, &filled.slide), "slide");
    filled.is_accepting = is_server;
    end->kcp_bytes = weir_kcp_mem_size(&filled);
    end->kcp_mem = weir_mem_map(end->kcp_bytes);
    check(weir_kcp_init(end->kcp_mem, &filled, seed, WEIR_SEC, &end->kcp), "init");
    end->buffer = malloc(KCP_END_TX_BYTES);
    check(weir_addr_parse(is_server ? "10.0.0.2:1" : "10.0.0.1:1", &end->path.remote), "address");
}

void kcp_end_close(struct kcp_end *end)
{
    weir_mem_unmap(end->kcp_mem, end->kcp_bytes);
    weir_mem_unmap(end->slide_mem, end->slide_bytes);
    free(end->buffer);
}

bool kcp_end_pass(struct kcp_end *from, struct kcp_end *to, weir_nsec now)
{
    struct weir_tx tx = {.buffer = from->buffer,
                         .buffer_bytes = KCP_END_TX_BYTES,
                         .transmits = from->transmits,
                         .transmits_max = KCP_END_TRANSMITS,
                         .run_bytes_max = 65507,
                         .run_segments_max = 64};
    uint32_t count = 0;
    if (weir_kcp_next_timeout(from->kcp) <= now) {
        weir_kcp_timeout(from->kcp, now);
    }
    enum weir_status status = weir_kcp_output(from->kcp, now, &tx);
    for (uint32_t i = 0; i < tx.count; i++) {
        const struct weir_transmit *out = &tx.transmits[i];
        for (uint32_t at = 0; at < out->length && count < KCP_END_PACKETS;
             at += out->segment_bytes) {
            uint32_t left = out->length - at;
            to->packets[count++] = (struct weir_packet){
                .data = out->data + at,
                .length = left < out->segment_bytes ? left : out->segment_bytes,
                .path = &from->path};
        }
    }
    if (count > 0) {
        weir_kcp_input(to->kcp, now, to->packets, count);
    }
    return status == WEIR_OK;
}
