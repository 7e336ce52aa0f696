/* SPDX-License-Identifier: MIT */
/*
 * steer_program.c - writes the steering program, instruction by instruction.
 *
 * There is no compiler for it at build time and none at run time: what it does is straight, and the
 * key of the hash is part of it. In its own terms:
 *
 *   by id       word = destination id (INIT: the id that the new connection will have)
 *               shard = SipHash-1-3(word) mod shards
 *   by remote   shard = SipHash-1-3(struct weir_addr of the sender) mod shards
 *   then        queue = table[shard]; select sockets[queue]; pass
 *
 * A packet that it does not select a socket for is spread by the kernel's hash.
 */
#include "run/steer_program.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stddef.h>

#include "base/assert.h"
#include "rudp/id.h"
#include "weir/addr.h"
#include "wire/rudp.h"

/* What the registers hold. Calls overwrite R0 to R5; R10 is the end of the stack. */
enum {
    TEMP = BPF_REG_0, /* and what a call or a hash returns */
    WORD = BPF_REG_1, /* that is hashed */
    V0 = BPF_REG_2,
    V1 = BPF_REG_3,
    V2 = BPF_REG_4,
    V3 = BPF_REG_5,
    CONTEXT = BPF_REG_6,
    LEFT = BPF_REG_7,
    RIGHT = BPF_REG_8,
    STACK = BPF_REG_10
};

/* The stack, from its end down. */
enum {
    AT_HEAD = -16, /* 16 bytes of the packet: RUDP's id is the second half, behind the first byte */
    AT_ID = -8,
    AT_KIND = -9,
    AT_SHARD = -20,
    AT_PORT = -24
};

enum {
    UDP_HEADER_BYTES = 8,
    IP4_SOURCE_OFF = 12,
    IP6_SOURCE_OFF = 8,
    /* Counted from the UDP header: what comes to AT_HEAD, an INIT's source id. */
    HEAD_OFF = UDP_HEADER_BYTES + WEIR_RUDP_HEADER_BYTES - 16,
    SOURCE_ID_OFF = UDP_HEADER_BYTES + WEIR_RUDP_HEADER_BYTES + 4,
    LINK_LOCAL = 0xfe80,
    LINK_LOCAL_MASK = 0xffc0
};

/* --- instructions ----------------------------------------------------------------------------- */

static uint32_t put(struct weir_steer_program *program, struct bpf_insn instruction)
{
    WEIR_ASSERT(program->count < WEIR_STEER_INSTRUCTIONS_MAX);
    program->instructions[program->count] = instruction;
    return program->count++;
}

/* to = to operation from */
static void put_reg(struct weir_steer_program *program, uint8_t operation, unsigned to,
                    unsigned from)
{
    (void)put(program, (struct bpf_insn){.code = BPF_ALU64 | BPF_X | operation,
                                         .dst_reg = to & 15u,
                                         .src_reg = from & 15u});
}

static void put_number(struct weir_steer_program *program, uint8_t operation, unsigned to,
                       int32_t number)
{
    (void)put(program, (struct bpf_insn){.code = BPF_ALU64 | BPF_K | operation,
                                         .dst_reg = to & 15u,
                                         .imm = number});
}

/* to = number; source says what kind of number it is. */
static void put_wide(struct weir_steer_program *program, unsigned to, uint64_t number,
                     unsigned source)
{
    (void)put(program, (struct bpf_insn){.code = BPF_LD | BPF_DW, /* BPF_IMM is 0 */
                                         .dst_reg = to & 15u,
                                         .src_reg = source & 15u,
                                         .imm = (int32_t)(uint32_t)number});
    (void)put(program, (struct bpf_insn){.imm = (int32_t)(uint32_t)(number >> 32)});
}

static void put_load(struct weir_steer_program *program, uint8_t size, unsigned to, unsigned base,
                     int off)
{
    (void)put(program, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | size,
                                         .dst_reg = to & 15u,
                                         .src_reg = base & 15u,
                                         .off = (int16_t)off});
}

static void put_store(struct weir_steer_program *program, uint8_t size, int off, unsigned from)
{
    (void)put(program, (struct bpf_insn){.code = BPF_STX | BPF_MEM | size,
                                         .dst_reg = STACK,
                                         .src_reg = from & 15u,
                                         .off = (int16_t)off});
}

static void put_call(struct weir_steer_program *program, int32_t function)
{
    (void)put(program, (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = function});
}

/* Jumps when TEMP compares so to number; where to is said by land. */
static uint32_t put_jump(struct weir_steer_program *program, uint8_t compare, int32_t number)
{
    return put(program, (struct bpf_insn){
                            .code = BPF_JMP | BPF_K | compare, .dst_reg = TEMP, .imm = number});
}

static void land(struct weir_steer_program *program, uint32_t jump)
{
    program->instructions[jump].off = (int16_t)(program->count - jump - 1);
}

/* The low bits of reg, 16 or 64: from the network's order to the host's. */
static void put_from_network(struct weir_steer_program *program, unsigned reg, int32_t bits)
{
    (void)put(program, (struct bpf_insn){.code = BPF_ALU | BPF_END | BPF_TO_BE,
                                         .dst_reg = reg & 15u,
                                         .imm = bits});
}

/* Copies length bytes of the packet onto the stack; TEMP is 0 when it has them. */
static void put_load_bytes(struct weir_steer_program *program, int32_t off, int32_t to,
                           int32_t length)
{
    put_reg(program, BPF_MOV, BPF_REG_1, CONTEXT);
    put_number(program, BPF_MOV, BPF_REG_2, off);
    put_reg(program, BPF_MOV, BPF_REG_3, STACK);
    put_number(program, BPF_ADD, BPF_REG_3, to);
    put_number(program, BPF_MOV, BPF_REG_4, length);
    put_call(program, BPF_FUNC_skb_load_bytes);
}

/* The same, counted from the IP header. */
static void put_load_ip_bytes(struct weir_steer_program *program, int32_t off, int32_t to,
                              int32_t length)
{
    put_reg(program, BPF_MOV, BPF_REG_1, CONTEXT);
    put_number(program, BPF_MOV, BPF_REG_2, off);
    put_reg(program, BPF_MOV, BPF_REG_3, STACK);
    put_number(program, BPF_ADD, BPF_REG_3, to);
    put_number(program, BPF_MOV, BPF_REG_4, length);
    put_number(program, BPF_MOV, BPF_REG_5, BPF_HDR_START_NET);
    put_call(program, BPF_FUNC_skb_load_bytes_relative);
}

/* --- SipHash-1-3, as base/hash.c -------------------------------------------------------------- */

static void put_rotate(struct weir_steer_program *program, unsigned reg, int32_t bits)
{
    put_reg(program, BPF_MOV, TEMP, reg);
    put_number(program, BPF_LSH, reg, bits);
    put_number(program, BPF_RSH, TEMP, 64 - bits);
    put_reg(program, BPF_OR, reg, TEMP);
}

/* a += b; b = b rotated ^ a */
static void put_half(struct weir_steer_program *program, unsigned a, unsigned b, int32_t bits)
{
    put_reg(program, BPF_ADD, a, b);
    put_rotate(program, b, bits);
    put_reg(program, BPF_XOR, b, a);
}

static void put_mix(struct weir_steer_program *program)
{
    put_half(program, V0, V1, 13);
    put_rotate(program, V0, 32);
    put_half(program, V2, V3, 16);
    put_half(program, V0, V3, 21);
    put_half(program, V2, V1, 17);
    put_rotate(program, V2, 32);
}

static void put_hash_start(struct weir_steer_program *program, const struct weir_hash_key *key)
{
    put_wide(program, V0, key->k0 ^ 0x736f6d6570736575, 0);
    put_wide(program, V1, key->k1 ^ 0x646f72616e646f6d, 0);
    put_wide(program, V2, key->k0 ^ 0x6c7967656e657261, 0);
    put_wide(program, V3, key->k1 ^ 0x7465646279746573, 0);
}

static void put_absorb(struct weir_steer_program *program)
{
    put_reg(program, BPF_XOR, V3, WORD);
    put_mix(program);
    put_reg(program, BPF_XOR, V0, WORD);
}

/* The length closes the hash; what comes out is in TEMP. */
static void put_hash_end(struct weir_steer_program *program, uint64_t length)
{
    put_wide(program, WORD, length << 56, 0);
    put_absorb(program);
    put_number(program, BPF_XOR, V2, 0xff);
    for (int i = 0; i < 3; i++) {
        put_mix(program);
    }
    put_reg(program, BPF_MOV, TEMP, V0);
    put_reg(program, BPF_XOR, TEMP, V1);
    put_reg(program, BPF_XOR, TEMP, V2);
    put_reg(program, BPF_XOR, TEMP, V3);
}

/* --- the shard -------------------------------------------------------------------------------- */

/* One round of rudp/id.h. */
static void put_id_round(struct weir_steer_program *program, unsigned round)
{
    put_hash_start(program, &program->id_key);
    put_wide(program, WORD, (uint64_t)round << 32, 0);
    put_reg(program, BPF_OR, WORD, RIGHT);
    put_absorb(program);
    put_hash_end(program, sizeof(uint64_t));
    put_reg(program, BPF_XOR, TEMP, LEFT);
    put_number(program, BPF_LSH, TEMP, 32);
    put_number(program, BPF_RSH, TEMP, 32);
    put_reg(program, BPF_MOV, LEFT, RIGHT);
    put_reg(program, BPF_MOV, RIGHT, TEMP);
}

/* From the client's id at AT_HEAD: the server's in LEFT. */
static void put_permute(struct weir_steer_program *program)
{
    put_load(program, BPF_DW, LEFT, STACK, AT_HEAD);
    put_from_network(program, LEFT, 64);
    put_reg(program, BPF_MOV, RIGHT, LEFT);
    put_number(program, BPF_RSH, LEFT, 32);
    put_number(program, BPF_LSH, RIGHT, 32);
    put_number(program, BPF_RSH, RIGHT, 32);
    for (unsigned round = 0; round < WEIR_RUDP_ID_ROUNDS; round++) {
        put_id_round(program, round);
    }
    put_number(program, BPF_LSH, LEFT, 32);
    put_reg(program, BPF_OR, LEFT, RIGHT);
}

/* As weir_rudp_route: too short is shard 0, an INIT cut off goes by its destination. */
static void put_shard_of_id(struct weir_steer_program *program)
{
    put_load_bytes(program, HEAD_OFF, AT_HEAD, 16);
    uint32_t if_has_head = put_jump(program, BPF_JEQ, 0);
    put_number(program, BPF_MOV, TEMP, 0);
    uint32_t if_short = put_jump(program, BPF_JA, 0);
    program->instructions[if_short].dst_reg = 0;

    land(program, if_has_head);
    put_load(program, BPF_DW, LEFT, STACK, AT_ID);
    put_from_network(program, LEFT, 64);
    put_load(program, BPF_B, TEMP, STACK, AT_KIND);
    put_number(program, BPF_RSH, TEMP, 4);
    uint32_t if_no_init = put_jump(program, BPF_JNE, WEIR_RUDP_KIND_INIT);
    put_load_bytes(program, SOURCE_ID_OFF, AT_HEAD, sizeof(uint64_t));
    uint32_t if_cut_off = put_jump(program, BPF_JNE, 0);
    put_permute(program);
    land(program, if_no_init);
    land(program, if_cut_off);
    put_hash_start(program, &program->key);
    put_reg(program, BPF_MOV, WORD, LEFT);
    put_absorb(program);
    put_hash_end(program, sizeof(uint64_t));
    put_number(program, BPF_MOD, TEMP, (int32_t)program->shards);
    land(program, if_short);
}

/* The third word of struct weir_addr: no scope, the port, the family. In RIGHT. */
static void put_port_and_family(struct weir_steer_program *program, uint64_t family)
{
    put_load(program, BPF_H, RIGHT, STACK, AT_PORT);
    put_from_network(program, RIGHT, 16);
    put_number(program, BPF_LSH, RIGHT, 32);
    put_wide(program, TEMP, family << 48, 0);
    put_reg(program, BPF_OR, RIGHT, TEMP);
}

static void put_hash_of_address(struct weir_steer_program *program)
{
    put_hash_start(program, &program->key);
    put_load(program, BPF_DW, WORD, STACK, AT_HEAD);
    put_absorb(program);
    put_load(program, BPF_DW, WORD, STACK, AT_HEAD + 8);
    put_absorb(program);
    put_reg(program, BPF_MOV, WORD, RIGHT);
    put_absorb(program);
    put_hash_end(program, sizeof(struct weir_addr));
    put_number(program, BPF_MOD, TEMP, (int32_t)program->shards);
}

/* As weir_route_remote. Jumps that give up are noted in gives_up. */
static void put_shard_of_remote(struct weir_steer_program *program, uint32_t gives_up[4])
{
    put_number(program, BPF_MOV, TEMP, 0);
    put_store(program, BPF_DW, AT_HEAD, TEMP);
    put_store(program, BPF_DW, AT_HEAD + 8, TEMP);
    put_load_bytes(program, 0, AT_PORT, 2);
    gives_up[0] = put_jump(program, BPF_JNE, 0);
    put_load(program, BPF_W, TEMP, CONTEXT, offsetof(struct sk_reuseport_md, eth_protocol));
    uint32_t if_ip6 = put_jump(program, BPF_JNE, htons(ETH_P_IP));

    put_load_ip_bytes(program, IP4_SOURCE_OFF, AT_HEAD, 4);
    gives_up[1] = put_jump(program, BPF_JNE, 0);
    put_port_and_family(program, WEIR_ADDR_IP4);
    uint32_t if_read = put_jump(program, BPF_JA, 0);
    program->instructions[if_read].dst_reg = 0;

    land(program, if_ip6);
    put_load_ip_bytes(program, IP6_SOURCE_OFF, AT_HEAD, 16);
    gives_up[2] = put_jump(program, BPF_JNE, 0);
    put_load(program, BPF_H, TEMP, STACK, AT_HEAD);
    put_from_network(program, TEMP, 16);
    put_number(program, BPF_AND, TEMP, LINK_LOCAL_MASK);
    gives_up[3] = put_jump(program, BPF_JEQ, LINK_LOCAL);
    put_port_and_family(program, WEIR_ADDR_IP6);
    land(program, if_read);
    put_hash_of_address(program);
}

/* --- the socket ------------------------------------------------------------------------------- */

/* The shard is in TEMP. The table has an entry for every one, but that has to be checked. */
static void put_select(struct weir_steer_program *program)
{
    put_store(program, BPF_W, AT_SHARD, TEMP);
    put_wide(program, BPF_REG_1, (uint64_t)program->table_fd, BPF_PSEUDO_MAP_FD);
    put_reg(program, BPF_MOV, BPF_REG_2, STACK);
    put_number(program, BPF_ADD, BPF_REG_2, AT_SHARD);
    put_call(program, BPF_FUNC_map_lookup_elem);
    uint32_t if_none = put_jump(program, BPF_JEQ, 0);
    put_reg(program, BPF_MOV, BPF_REG_3, TEMP);
    put_reg(program, BPF_MOV, BPF_REG_1, CONTEXT);
    put_wide(program, BPF_REG_2, (uint64_t)program->sockets_fd, BPF_PSEUDO_MAP_FD);
    put_number(program, BPF_MOV, BPF_REG_4, 0);
    put_call(program, BPF_FUNC_sk_select_reuseport);
    land(program, if_none);
}

void weir_steer_write_program(struct weir_steer_program *program, enum weir_steer_by by)
{
    uint32_t gives_up[4];
    program->count = 0;
    put_reg(program, BPF_MOV, CONTEXT, BPF_REG_1);
    if (by == WEIR_STEER_RUDP) {
        put_shard_of_id(program);
    } else {
        put_shard_of_remote(program, gives_up);
    }
    put_select(program);
    for (unsigned i = 0; by == WEIR_STEER_REMOTE && i < 4; i++) {
        land(program, gives_up[i]);
    }
    put_number(program, BPF_MOV, TEMP, SK_PASS);
    (void)put(program, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}
