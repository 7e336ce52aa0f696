/* SPDX-License-Identifier: MIT */
/*
 * steer_program.h - the instructions that choose a socket in the kernel.
 *
 * Spec: Linux, Documentation/bpf (instruction set; sk_reuseport programs).
 */
#ifndef WEIR_RUN_STEER_PROGRAM_H
#define WEIR_RUN_STEER_PROGRAM_H

#include <linux/bpf.h>
#include <stdint.h>

#include "base/hash.h"
#include "weir/steer.h"

enum {
    /* Five hashes of one word each are under 1,000; the kernel's bound is 4,096 for old ones. */
    WEIR_STEER_INSTRUCTIONS_MAX = 2048
};

struct weir_steer_program {
    struct bpf_insn instructions[WEIR_STEER_INSTRUCTIONS_MAX];
    uint32_t count;
    struct weir_hash_key key;    /* of shards */
    struct weir_hash_key id_key; /* of RUDP's new ids */
    uint32_t shards;
    int table_fd;   /* array: shard -> queue, 32 bits each */
    int sockets_fd; /* reuseport_sockarray: queue -> socket */
};

/* Fills instructions and count from the rest. */
void weir_steer_write_program(struct weir_steer_program *program, enum weir_steer_by by);

#endif
