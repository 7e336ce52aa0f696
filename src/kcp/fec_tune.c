/* SPDX-License-Identifier: MIT */
/*
 * fec_tune.c - runs of data and parity packets among the last sequence numbers.
 */
#include "kcp/fec_tune.h"

#include <string.h>

void weir_kcp_fec_tune_init(struct weir_kcp_fec_tune *tune)
{
    memset(tune, 0, sizeof(*tune));
}

void weir_kcp_fec_tune_sample(struct weir_kcp_fec_tune *tune, uint32_t seqid, bool is_data)
{
    uint32_t at = seqid % WEIR_KCP_FEC_SAMPLES;
    tune->seqid[at] = seqid;
    tune->kind[at] = (uint8_t)(1 + is_data);
}

/* A gap spoils the run that it falls into, not the search: the next run may be whole. */
unsigned weir_kcp_fec_tune_run(const struct weir_kcp_fec_tune *tune, bool is_data)
{
    const uint8_t wanted = (uint8_t)(1 + is_data);
    unsigned start = 0; /* index of the run's first packet; 0: not in a run whose start was seen */
    for (unsigned i = 1; i < WEIR_KCP_FEC_SAMPLES; i++) {
        bool is_next = tune->kind[i] != 0 && tune->kind[i - 1] != 0 &&
                       tune->seqid[i] == tune->seqid[i - 1] + 1;
        if (!is_next) {
            start = 0;
        } else if (tune->kind[i] != wanted && start != 0) {
            return i - start;
        } else if (tune->kind[i] == wanted && tune->kind[i - 1] != wanted) {
            start = i;
        }
    }
    return 0;
}
