/* SPDX-License-Identifier: MIT */
/*
 * fec_tune.h - finds out from what arrives how many data and parity packets a peer's groups have.
 *
 * Role: remembers of the last 258 sequence numbers whether each was data or parity; a run without a
 * gap, from one change of the kind to the next, is as long as a group has packets of that kind.
 * Memory: a plain value.
 */
#ifndef WEIR_KCP_FEC_TUNE_H
#define WEIR_KCP_FEC_TUNE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_KCP_FEC_SAMPLES = 258 /* as the peers: a group of 256 and the change at either end */
};

struct weir_kcp_fec_tune {
    uint32_t seqid[WEIR_KCP_FEC_SAMPLES]; /* where seqid mod 258 points */
    uint8_t kind[WEIR_KCP_FEC_SAMPLES];   /* 0: never seen, else 1 + is_data */
};

void weir_kcp_fec_tune_init(struct weir_kcp_fec_tune *tune);
void weir_kcp_fec_tune_sample(struct weir_kcp_fec_tune *tune, uint32_t seqid, bool is_data);
/* Length of a whole run of data or of parity packets, at most 256; 0 when none was seen. */
unsigned weir_kcp_fec_tune_run(const struct weir_kcp_fec_tune *tune, bool is_data);

#endif
