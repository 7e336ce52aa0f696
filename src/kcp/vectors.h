/* SPDX-License-Identifier: MIT */
/*
 * vectors.h - the processor's wide registers after ISA-L has used them.
 *
 * Where ISA-L uses AVX-512 it leaves the upper halves of the vector registers dirty. Until they are
 * cleared, code for 128-bit registers waits for them: the AES of nettle then takes four times as
 * long. Whoever calls ISA-L here calls this behind it.
 */
#ifndef WEIR_KCP_VECTORS_H
#define WEIR_KCP_VECTORS_H

void weir_kcp_clear_vectors(void);

#endif
