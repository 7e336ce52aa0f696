/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ikcp.c - any calls and datagrams for an ikcpcb: nothing comes out of bounds, and its numbers
 * go together.
 *
 * The input is a program: a byte for the call, then its operands. Segments are given relative to
 * where the session is, so that they are near enough to mean something; raw bytes come too.
 */
#include <stdlib.h>
#include <string.h>

#include "weir/compat/ikcp.h"
#include "wire/kcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct program {
    const uint8_t *at, *end;
    uint32_t clock;
};

static void must(int condition)
{
    if (!condition) {
        abort();
    }
}

static uint8_t next(struct program *program)
{
    return program->at < program->end ? *program->at++ : 0;
}

static int on_output(const char *bytes, int length, ikcpcb *kcp, void *user)
{
    struct weir_kcp_segment segment;
    const uint8_t *at = (const uint8_t *)bytes;
    const uint8_t *end = at + length;
    (void)user;
    must(length >= WEIR_KCP_HEADER_BYTES && length <= 1500);
    while (at != end) {
        must(weir_kcp_decode(&at, end, &segment) == WEIR_KCP_DECODED);
        must(segment.conv == kcp->conv);
    }
    return 0;
}

static uint8_t *write_segment(struct program *program, const ikcpcb *kcp, uint8_t *p)
{
    static const uint8_t zeros[255];
    uint8_t kind = next(program);
    uint32_t base = (kind & 3) == 0 ? kcp->rcv_nxt : kcp->snd_una;
    struct weir_kcp_segment segment = {
        .conv = kcp->conv,
        .cmd = (uint8_t)(WEIR_KCP_PUSH + (kind & 3)),
        .frg = (uint8_t)(kind >> 4),
        .wnd = (uint16_t)(next(program) * ((kind & 4) != 0 ? 257 : 1)),
        .ts = kcp->current - next(program),
        .sn = base + next(program) - 16U,
        .una = kcp->snd_una + (next(program) & 63) - ((kind & 8) != 0 ? 4U : 0U),
        .data = weir_span_of(zeros, (kind & 3) == 0 ? next(program) : 0)};
    p = weir_kcp_encode_header(p, &segment);
    memcpy(p, zeros, segment.data.length);
    return p + segment.data.length;
}

static void input_segments(struct program *program, ikcpcb *kcp)
{
    uint8_t bytes[8 * (WEIR_KCP_HEADER_BYTES + 255)];
    uint8_t *p = bytes;
    unsigned count = 1 + (next(program) & 7);
    for (unsigned i = 0; i < count; i++) {
        p = write_segment(program, kcp, p);
    }
    must(ikcp_input(kcp, (const char *)bytes, (long)(p - bytes)) == 0);
}

static void input_raw(struct program *program, ikcpcb *kcp)
{
    long length = program->end - program->at;
    long wanted = next(program);
    length = wanted < length ? wanted : length - (length > 0);
    int code = ikcp_input(kcp, (const char *)program->at, length);
    must(code <= 0 && code >= -3 && (length >= WEIR_KCP_HEADER_BYTES || code == -1));
    program->at += length;
}

static void receive(struct program *program, ikcpcb *kcp)
{
    char *buffer = malloc(40000);
    int room = next(program) * 150;
    int size = ikcp_peeksize(kcp);
    int got = ikcp_recv(kcp, buffer, room);
    must(got == size || (got == -3 && size > room) || (size < 0 && (got == -1 || got == -2)));
    free(buffer);
}

static void set_field(struct program *program, ikcpcb *kcp)
{
    uint8_t which = next(program);
    uint32_t value = next(program) * ((which & 128) != 0 ? 0x01010101U : 1U);
    switch (which & 15) {
    case 0:
        kcp->conv = value;
        break;
    case 1:
        (void)ikcp_setmtu(kcp, (int)(value & 0x7fff));
        break;
    case 2:
        (void)ikcp_wndsize(kcp, (int)(value & 0x1fff), (int)(value >> 1 & 0x1fff));
        break;
    case 3:
        kcp->rcv_wnd = value & 0x1fff;
        break;
    case 4:
        kcp->interval = value;
        break;
    case 5:
        kcp->rx_minrto = (IINT32)value;
        break;
    case 6:
        kcp->dead_link = value;
        break;
    case 7:
        kcp->fastlimit = (int)value;
        break;
    case 8:
        kcp->fastresend = (int)value;
        break;
    case 9:
        kcp->stream = (int)(value & 1);
        break;
    case 10:
        kcp->nocwnd = (int)(value & 1);
        break;
    case 11:
        kcp->nodelay = value;
        break;
    default:
        kcp->ts_flush = value;
        break;
    }
}

static void step(struct program *program, ikcpcb *kcp)
{
    switch (next(program) & 7) {
    case 0:
        program->clock += next(program);
        ikcp_update(kcp, program->clock);
        break;
    case 1:
        program->clock += next(program) * 0x01000101U;
        ikcp_update(kcp, program->clock);
        break;
    case 2:
        (void)ikcp_send(kcp, NULL, next(program) * (next(program) + 1));
        break;
    case 3:
        input_segments(program, kcp);
        break;
    case 4:
        input_raw(program, kcp);
        break;
    case 5:
        receive(program, kcp);
        break;
    case 6:
        set_field(program, kcp);
        break;
    default:
        ikcp_flush(kcp);
        (void)ikcp_check(kcp, program->clock);
        break;
    }
    must(ikcp_waitsnd(kcp) == (int)(kcp->nsnd_buf + kcp->nsnd_que));
    must(kcp->nsnd_buf <= kcp->snd_nxt - kcp->snd_una);
    must(kcp->nsnd_buf <= 32768 && kcp->nrcv_que <= 32768 && kcp->nrcv_buf <= 32768);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program = {.at = data, .end = data + size};
    ikcpcb *kcp = ikcp_create(next(&program), NULL);
    kcp->output = on_output;
    while (program.at < program.end) {
        step(&program, kcp);
    }
    ikcp_release(kcp);
    return 0;
}
