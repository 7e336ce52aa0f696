/* SPDX-License-Identifier: MIT */
/*
 * test_ikcp.c - weir/compat/ikcp.h: codes, fields, windows, datagrams, the log.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ikcp.h"

enum {
    CONV = 0x01020304,
    HEADER = 24,
    PUSH = 81,
    ACK = 82,
    WASK = 83,
    WINS = 84,
    OUT_MAX = 256
};

/* What the end under test has sent; a link to another end when there is one. */
static struct {
    uint8_t bytes[OUT_MAX][1500];
    int lengths[OUT_MAX];
    int count;
} out;

static int on_output(const char *data, int length, ikcpcb *kcp, void *user)
{
    (void)kcp;
    (void)user;
    assert_in_range(length, HEADER, 1500);
    if (out.count < OUT_MAX) {
        memcpy(out.bytes[out.count], data, (size_t)length);
        out.lengths[out.count] = length;
    }
    out.count++;
    return 0;
}

static ikcpcb *open_end(void)
{
    ikcpcb *kcp = ikcp_create(CONV, &out);
    assert_non_null(kcp);
    kcp->output = on_output;
    out.count = 0;
    ikcp_nodelay(kcp, 0, 10, 0, 1);
    ikcp_update(kcp, 1000);
    return kcp;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static unsigned window_of(const uint8_t *segment)
{
    return segment[6] | (unsigned)segment[7] << 8;
}

struct segment {
    uint32_t conv;
    uint8_t cmd, frg;
    uint16_t wnd;
    uint32_t ts, sn, una;
    const char *text;
};

static size_t put_segment(uint8_t *p, const struct segment *s)
{
    size_t length = s->text != NULL ? strlen(s->text) : 0;
    put32(p, s->conv);
    p[4] = s->cmd;
    p[5] = s->frg;
    p[6] = (uint8_t)s->wnd;
    p[7] = (uint8_t)(s->wnd >> 8);
    put32(p + 8, s->ts);
    put32(p + 12, s->sn);
    put32(p + 16, s->una);
    put32(p + 20, (uint32_t)length);
    if (length > 0) {
        memcpy(p + HEADER, s->text, length);
    }
    return HEADER + length;
}

static int feed(ikcpcb *kcp, const struct segment *s)
{
    uint8_t bytes[200];
    size_t length = put_segment(bytes, s);
    return ikcp_input(kcp, (const char *)bytes, (long)length);
}

static int feed_push(ikcpcb *kcp, uint32_t sn, uint8_t frg, const char *text)
{
    return feed(kcp, &(struct segment){.conv = kcp->conv,
                                       .cmd = PUSH,
                                       .frg = frg,
                                       .wnd = 128,
                                       .ts = 77,
                                       .sn = sn,
                                       .text = text});
}

/* --- codes ------------------------------------------------------------------------------------ */

static void input_tells_what_is_wrong(void **state)
{
    (void)state;
    ikcpcb *kcp = open_end();
    uint8_t bytes[200];
    struct segment push = {.conv = CONV, .cmd = PUSH, .wnd = 128, .text = "one"};
    size_t length = put_segment(bytes, &push);
    assert_int_equal(ikcp_input(kcp, NULL, 100), -1);
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, 23), -1);
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, -1), -1);
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, (long)length - 1), -2);
    put32(bytes + 20, UINT32_MAX);
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, (long)length), -2);
    assert_int_equal(feed(kcp, &(struct segment){.conv = CONV + 1, .cmd = PUSH}), -1);
    assert_int_equal(feed(kcp, &(struct segment){.conv = CONV, .cmd = 80}), -3);
    assert_int_equal(feed(kcp, &(struct segment){.conv = CONV, .cmd = 85}), -3);
    assert_int_equal(ikcp_recv(kcp, (char *)bytes, 200), -1);
    /* What comes before the bad segment counts; fewer bytes than a header at the end do not. */
    length = put_segment(bytes, &push);
    size_t more = put_segment(bytes + length, &(struct segment){.conv = CONV, .cmd = 99});
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, (long)(length + more)), -3);
    assert_int_equal(kcp->rcv_nxt, 1);
    push.sn = 1;
    length = put_segment(bytes, &push);
    assert_int_equal(ikcp_input(kcp, (const char *)bytes, (long)length + 23), 0);
    assert_int_equal(kcp->rcv_nxt, 2);
    ikcp_release(kcp);
}

static void recv_and_peek_tell_why_not(void **state)
{
    (void)state;
    char buffer[16] = "";
    ikcpcb *kcp = open_end();
    assert_int_equal(ikcp_peeksize(kcp), -1);
    assert_int_equal(ikcp_recv(kcp, buffer, 16), -1);
    feed_push(kcp, 1, 0, "world");
    assert_int_equal(kcp->nrcv_buf, 1);
    assert_int_equal(ikcp_recv(kcp, buffer, 16), -1);
    feed_push(kcp, 2, 1, "two ");
    feed_push(kcp, 0, 1, "hello ");
    assert_int_equal(kcp->nrcv_que, 3);
    assert_int_equal(kcp->nrcv_buf, 0);
    assert_int_equal(ikcp_peeksize(kcp), 11);
    assert_int_equal(ikcp_recv(kcp, buffer, 10), -3);
    assert_int_equal(ikcp_recv(kcp, buffer, -10), -3);
    assert_int_equal(ikcp_recv(kcp, buffer, -16), 11);
    assert_memory_equal(buffer, "hello world", 11);
    assert_int_equal(ikcp_recv(kcp, NULL, INT_MIN), 11);
    memset(buffer, 0, sizeof(buffer));
    assert_int_equal(ikcp_recv(kcp, buffer, 11), 11);
    assert_memory_equal(buffer, "hello world", 11);
    assert_int_equal(kcp->nrcv_que, 1);
    assert_int_equal(ikcp_peeksize(kcp), -1);
    assert_int_equal(ikcp_recv(kcp, buffer, 16), -2);
    feed_push(kcp, 3, 0, NULL);
    assert_int_equal(ikcp_recv(kcp, NULL, 4), 4);
    feed_push(kcp, 4, 0, NULL);
    assert_int_equal(ikcp_peeksize(kcp), 0);
    assert_int_equal(ikcp_recv(kcp, buffer, 0), 0);
    assert_int_equal(ikcp_recv(kcp, buffer, 0), -1);
    ikcp_release(kcp);
}

static void send_counts_fragments(void **state)
{
    (void)state;
    static char big[128 * 1376];
    ikcpcb *kcp = open_end();
    assert_int_equal(ikcp_send(kcp, big, -1), -1);
    assert_int_equal(ikcp_send(kcp, big, 127 * 1376 + 1), -2);
    assert_int_equal(ikcp_waitsnd(kcp), 0);
    assert_int_equal(ikcp_send(kcp, big, 127 * 1376), 127 * 1376);
    assert_int_equal(ikcp_waitsnd(kcp), 127);
    assert_true(ikcp_send(kcp, NULL, 0) >= 0);
    assert_int_equal(kcp->nsnd_que, 128);
    ikcp_flush(kcp);
    assert_int_equal(kcp->nsnd_buf, 32);
    assert_int_equal(ikcp_waitsnd(kcp), 128);
    assert_int_equal(out.count, 32);
    assert_int_equal(out.bytes[0][5], 126);
    assert_int_equal(out.lengths[0], 1400);
    /* What arrived ahead of others waits for nothing any more. */
    feed(kcp, &(struct segment){.conv = CONV, .cmd = ACK, .wnd = 128, .ts = kcp->current, .sn = 5});
    assert_int_equal(kcp->nsnd_buf, 31);
    assert_int_equal(ikcp_waitsnd(kcp), 127);
    ikcp_release(kcp);
}

static void settings_are_bounded(void **state)
{
    (void)state;
    ikcpcb *kcp = ikcp_create(CONV, NULL);
    assert_int_equal(kcp->interval, 100);
    assert_int_equal(kcp->rx_minrto, 100);
    assert_int_equal(kcp->dead_link, 20);
    assert_int_equal(ikcp_setmtu(kcp, 49), -1);
    assert_int_equal(ikcp_setmtu(kcp, 50), 0);
    assert_int_equal(kcp->mss, 26);
    assert_int_equal(ikcp_setmtu(kcp, 9000), 0);
    assert_int_equal(kcp->mtu, 1500);
    ikcp_nodelay(kcp, 1, 1, 2, 1);
    assert_int_equal(kcp->interval, 10);
    assert_int_equal(kcp->rx_minrto, 30);
    ikcp_nodelay(kcp, -1, -1, -1, -1);
    assert_int_equal(kcp->nodelay, 1);
    assert_int_equal(kcp->interval, 10);
    assert_int_equal(kcp->fastresend, 2);
    assert_int_equal(kcp->nocwnd, 1);
    ikcp_nodelay(kcp, 0, 9999, 0, 0);
    assert_int_equal(kcp->interval, 5000);
    assert_int_equal(kcp->rx_minrto, 100);
    ikcp_wndsize(kcp, 64, 16);
    assert_int_equal(kcp->snd_wnd, 64);
    assert_int_equal(kcp->rcv_wnd, 128);
    ikcp_wndsize(kcp, 0, 512);
    assert_int_equal(kcp->snd_wnd, 64);
    assert_int_equal(kcp->rcv_wnd, 512);
    assert_int_equal(ikcp_wndsize(NULL, 1, 1), 0);
    ikcp_release(kcp);
}

/* --- datagrams -------------------------------------------------------------------------------- */

static void datagrams_are_as_documented(void **state)
{
    (void)state;
    static const uint8_t push[] = {4, 3, 2, 1, 81, 0, 128, 0, 0xd2, 4,   0,   0,   0,   0,  0,
                                   0, 0, 0, 0, 0,  5, 0,   0, 0,    'h', 'e', 'l', 'l', 'o'};
    static const uint8_t ack_push[] = {
        4, 3, 2, 1,  82, 0,   127, 0,    77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,   4,
        3, 2, 1, 81, 0,  127, 0,   0xdc, 4,  0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 'y', 'o'};
    ikcpcb *kcp = open_end();
    ikcp_send(kcp, "hello", 5);
    assert_int_equal(out.count, 0);
    ikcp_update(kcp, 1234);
    assert_int_equal(out.count, 1);
    assert_int_equal(out.lengths[0], sizeof(push));
    assert_memory_equal(out.bytes[0], push, sizeof(push));
    assert_int_equal(ikcp_getconv(out.bytes[0]), CONV);
    feed_push(kcp, 0, 0, "back");
    ikcp_send(kcp, "yo", 2);
    ikcp_update(kcp, 1244);
    assert_int_equal(out.count, 2);
    assert_int_equal(out.lengths[1], sizeof(ack_push));
    assert_memory_equal(out.bytes[1], ack_push, sizeof(ack_push));
    ikcp_release(kcp);
}

static void a_message_of_several_segments_counts_down(void **state)
{
    (void)state;
    char text[60];
    memset(text, 'x', sizeof(text));
    ikcpcb *kcp = open_end();
    ikcp_setmtu(kcp, 50);
    assert_int_equal(ikcp_send(kcp, text, 60), 60);
    ikcp_setmtu(kcp, 1400); /* what was cut stays so */
    ikcp_send(kcp, text, 60);
    ikcp_flush(kcp);
    int seen = 0;
    for (int i = 0; i < out.count; i++) {
        const uint8_t *at = out.bytes[i];
        for (const uint8_t *end = at + out.lengths[i]; at < end; at += HEADER + get32(at + 20)) {
            static const uint8_t frgs[] = {2, 1, 0, 0};
            static const uint8_t lengths[] = {26, 26, 8, 60};
            assert_in_range(seen, 0, 3);
            assert_int_equal(at[5], frgs[seen]);
            assert_int_equal(get32(at + 20), lengths[seen]);
            assert_int_equal(get32(at + 12), seen);
            seen++;
        }
    }
    assert_int_equal(seen, 4);
    ikcp_release(kcp);
}

static void conv_may_be_zero_and_may_change(void **state)
{
    (void)state;
    char buffer[8];
    ikcpcb *kcp = open_end();
    kcp->conv = 0;
    assert_int_equal(feed_push(kcp, 0, 0, "zero"), 0);
    assert_int_equal(feed(kcp, &(struct segment){.conv = 1, .cmd = WASK}), -1);
    assert_int_equal(ikcp_recv(kcp, buffer, 8), 4);
    ikcp_flush(kcp);
    assert_int_equal(get32(out.bytes[0]), 0);
    kcp->conv = 99;
    feed_push(kcp, 1, 0, "nine");
    feed_push(kcp, 2, 0, "ninety");
    assert_int_equal(ikcp_recv(kcp, buffer, 8), 4);
    ikcp_flush(kcp);
    assert_int_equal(out.count, 2);
    assert_int_equal(out.lengths[1], 2 * HEADER);
    assert_int_equal(get32(out.bytes[1]), 99);
    assert_int_equal(get32(out.bytes[1] + HEADER), 99);
    ikcp_release(kcp);
}

/* --- windows ---------------------------------------------------------------------------------- */

static void the_window_is_what_recv_has_not_taken(void **state)
{
    (void)state;
    char buffer[8];
    ikcpcb *kcp = open_end();
    for (uint32_t sn = 0; sn < 100; sn++) {
        feed_push(kcp, sn, 0, "x");
    }
    feed_push(kcp, 110, 0, "early");
    assert_int_equal(kcp->nrcv_que, 100);
    assert_int_equal(kcp->nrcv_buf, 1);
    ikcp_flush(kcp);
    assert_int_equal(window_of(out.bytes[0]), 28);
    for (uint32_t sn = 100; sn < 300; sn++) {
        feed_push(kcp, sn, 0, "x");
    }
    assert_int_equal(kcp->nrcv_que, 128);
    assert_int_equal(kcp->rcv_nxt, 128);
    out.count = 0;
    ikcp_flush(kcp);
    assert_int_equal(window_of(out.bytes[0]), 0);
    /* A full queue that is not full any more is told. */
    for (int i = 0; i < 128; i++) {
        assert_int_equal(ikcp_recv(kcp, buffer, 8), i == 110 ? 5 : 1);
    }
    assert_int_equal(kcp->nrcv_que, 128); /* the early ones have moved up: full as before */
    assert_int_equal(kcp->probe, 0);
    assert_int_equal(ikcp_recv(kcp, buffer, 8), 1);
    assert_int_equal(kcp->probe, 2);
    out.count = 0;
    ikcp_flush(kcp);
    assert_int_equal(out.count, 1);
    assert_int_equal(out.bytes[0][4], WINS);
    assert_int_equal(window_of(out.bytes[0]), 1);
    ikcp_release(kcp);
}

static void a_closed_window_is_asked_about(void **state)
{
    (void)state;
    ikcpcb *kcp = open_end();
    feed(kcp, &(struct segment){.conv = CONV, .cmd = WINS, .wnd = 0});
    assert_int_equal(kcp->rmt_wnd, 0);
    ikcp_send(kcp, "x", 1);
    uint32_t now = 1000;
    for (; out.count == 0 && now < 60000; now += 10) {
        ikcp_update(kcp, now);
    }
    assert_in_range(now, 6000, 6100);
    assert_int_equal(out.bytes[0][4], WASK);
    feed(kcp, &(struct segment){.conv = CONV, .cmd = WINS, .wnd = 1});
    ikcp_update(kcp, now);
    assert_int_equal(out.count, 2);
    assert_int_equal(out.bytes[1][4], PUSH);
    feed(kcp, &(struct segment){.conv = CONV, .cmd = WASK, .wnd = 1});
    ikcp_update(kcp, now + 10);
    assert_int_equal(out.count, 3);
    assert_int_equal(out.bytes[2][4], WINS);
    ikcp_release(kcp);
}

/* --- fields ----------------------------------------------------------------------------------- */

static int count_sent(ikcpcb *kcp, uint32_t from, uint32_t to)
{
    out.count = 0;
    for (uint32_t now = from; now != to; now++) {
        ikcp_update(kcp, now);
    }
    return out.count;
}

static void rto_follows_its_field(void **state)
{
    (void)state;
    ikcpcb *kcp = open_end();
    ikcp_nodelay(kcp, 1, 10, 0, 1);
    kcp->rx_minrto = 500;
    ikcp_send(kcp, "x", 1);
    assert_int_equal(count_sent(kcp, 1010, 1020), 1);
    feed(kcp,
         &(struct segment){.conv = CONV, .cmd = ACK, .wnd = 128, .ts = kcp->current, .una = 1});
    assert_int_equal(kcp->rx_rto, 500);
    assert_int_equal(ikcp_waitsnd(kcp), 0);
    ikcp_send(kcp, "y", 1);
    assert_int_equal(count_sent(kcp, 1020, 1510), 1);
    assert_int_equal(count_sent(kcp, 1510, 1540), 1);
    assert_int_equal(kcp->xmit, 1);
    ikcp_release(kcp);
}

static void a_dead_link_is_told_and_lives_on(void **state)
{
    (void)state;
    ikcpcb *kcp = open_end();
    kcp->dead_link = 3;
    ikcp_send(kcp, "x", 1);
    assert_int_equal(count_sent(kcp, 1010, 1500), 2);
    assert_int_equal(kcp->state, 0);
    uint32_t now = 1500;
    while (kcp->state == 0 && now < 20000) {
        ikcp_update(kcp, now++);
    }
    assert_int_equal(out.count, 3);
    assert_int_equal(kcp->state, UINT32_MAX);
    assert_true(count_sent(kcp, now, now + 10000) > 0);
    feed(kcp, &(struct segment){.conv = CONV, .cmd = ACK, .wnd = 128, .ts = now, .una = 1});
    assert_int_equal(ikcp_waitsnd(kcp), 0);
    ikcp_send(kcp, "y", 1);
    ikcp_flush(kcp);
    assert_int_equal(kcp->snd_nxt, 2);
    ikcp_release(kcp);
}

/* Resends of sn 0 while ACKs of later ones come, one a flush. */
static int count_fast(int limit)
{
    ikcpcb *kcp = open_end();
    ikcp_nodelay(kcp, 1, 10, 1, 1);
    kcp->fastlimit = limit;
    kcp->rx_minrto = 60000;
    int resent = -1;
    uint32_t now = 1000;
    for (uint32_t sn = 0; sn < 20; sn++) {
        ikcp_send(kcp, "x", 1);
        now += 10;
        out.count = 0;
        ikcp_update(kcp, now);
        for (int i = 0; i < out.count; i++) {
            for (const uint8_t *at = out.bytes[i]; at < out.bytes[i] + out.lengths[i];
                 at += HEADER + get32(at + 20)) {
                resent += get32(at + 12) == 0;
            }
        }
        if (sn > 0) {
            feed(kcp, &(struct segment){.conv = CONV, .cmd = ACK, .wnd = 128, .ts = now, .sn = sn});
        }
    }
    ikcp_release(kcp);
    return resent;
}

static void fast_resends_have_a_limit(void **state)
{
    (void)state;
    assert_int_equal(count_fast(5), 5);
    assert_int_equal(count_fast(2), 2);
    assert_int_equal(count_fast(0), 18);
}

static void a_stream_is_packed(void **state)
{
    (void)state;
    static char big[200000];
    ikcpcb *kcp = open_end();
    kcp->stream = 1;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ikcp_send(kcp, "0123456789", 10), 10);
    }
    assert_int_equal(ikcp_send(kcp, big, 0), 0);
    assert_int_equal(ikcp_waitsnd(kcp), 1);
    assert_int_equal(ikcp_send(kcp, big, 1000), 1000);
    assert_int_equal(ikcp_waitsnd(kcp), 2);
    assert_int_equal(ikcp_send(kcp, big, 200000), 752); /* what the last segment still took */
    assert_int_equal(ikcp_send(kcp, big, 200000), -2);
    kcp->stream = 0;
    ikcp_send(kcp, "m", 1);
    assert_int_equal(ikcp_waitsnd(kcp), 3);
    ikcp_flush(kcp);
    assert_int_equal(out.count, 3);
    assert_int_equal(out.lengths[0], 1400);
    assert_int_equal(out.lengths[1], 1400);
    assert_memory_equal(out.bytes[0] + HEADER + 990, "0123456789", 10);
    ikcp_release(kcp);
}

static void early_calls_are_harmless(void **state)
{
    (void)state;
    ikcpcb *kcp = ikcp_create(CONV, NULL); /* no output, no update */
    assert_int_equal(ikcp_check(kcp, 5), 5);
    ikcp_flush(kcp);
    feed_push(kcp, 0, 0, "x");
    assert_int_equal(kcp->nrcv_que, 1);
    ikcp_send(kcp, "y", 1);
    ikcp_flush(kcp);
    assert_int_equal(kcp->nsnd_buf, 0);
    ikcp_update(kcp, 123456789);
    assert_int_equal(kcp->nsnd_buf, 1);
    ikcp_release(kcp);
    ikcp_release(NULL);
}

static void check_is_when_update_flushes(void **state)
{
    (void)state;
    ikcpcb *kcp = open_end();
    assert_int_equal(kcp->ts_flush, 1010);
    assert_int_equal(ikcp_check(kcp, 1000), 1010);
    assert_int_equal(ikcp_check(kcp, 1009), 1010);
    assert_int_equal(ikcp_check(kcp, 1010), 1010);
    assert_int_equal(ikcp_check(kcp, 50000), 50000);
    kcp->ts_flush = 1500;
    assert_int_equal(ikcp_check(kcp, 1000), 1010);
    kcp->ts_flush = 1010;
    ikcp_send(kcp, "x", 1);
    ikcp_update(kcp, 1009);
    assert_int_equal(out.count, 0);
    ikcp_update(kcp, 1010);
    assert_int_equal(out.count, 1);
    ikcp_release(kcp);
}

/* --- the log ---------------------------------------------------------------------------------- */

static char last_line[2000];
static unsigned lines;

static void on_line(const char *line, ikcpcb *kcp, void *user)
{
    assert_ptr_equal(user, kcp->user);
    (void)snprintf(last_line, sizeof(last_line), "%s", line);
    lines++;
}

static void the_log_says_what_is_asked(void **state)
{
    (void)state;
    char text[2000];
    ikcpcb *kcp = open_end();
    ikcp_log(kcp, IKCP_LOG_SEND, "nobody listens");
    kcp->writelog = on_line;
    ikcp_log(kcp, IKCP_LOG_SEND, "nothing is wanted");
    assert_int_equal(lines, 0);
    kcp->logmask = IKCP_LOG_SEND | IKCP_LOG_IN_DATA | IKCP_LOG_OUT_ACK;
    ikcp_log(kcp, IKCP_LOG_RECV, "not this");
    ikcp_log(kcp, IKCP_LOG_SEND, "%s %d", "this", 1);
    assert_string_equal(last_line, "this 1");
    memset(text, 'x', sizeof(text));
    text[1999] = 0;
    ikcp_log(kcp, IKCP_LOG_SEND, "%s", text);
    assert_int_equal(strlen(last_line), 1023);
    lines = 0;
    feed_push(kcp, 0, 0, "x");
    ikcp_send(kcp, "y", 1);
    ikcp_flush(kcp);
    assert_int_equal(lines, 3);
    kcp->logmask = 4095;
    lines = 0;
    feed(kcp, &(struct segment){.conv = CONV, .cmd = WASK, .wnd = 9});
    feed(kcp, &(struct segment){.conv = CONV, .cmd = WINS, .wnd = 9});
    feed(kcp, &(struct segment){.conv = CONV, .cmd = ACK, .wnd = 9});
    assert_int_equal(lines, 6);
    ikcp_release(kcp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_tells_what_is_wrong),
        cmocka_unit_test(recv_and_peek_tell_why_not),
        cmocka_unit_test(send_counts_fragments),
        cmocka_unit_test(settings_are_bounded),
        cmocka_unit_test(datagrams_are_as_documented),
        cmocka_unit_test(a_message_of_several_segments_counts_down),
        cmocka_unit_test(conv_may_be_zero_and_may_change),
        cmocka_unit_test(the_window_is_what_recv_has_not_taken),
        cmocka_unit_test(a_closed_window_is_asked_about),
        cmocka_unit_test(rto_follows_its_field),
        cmocka_unit_test(a_dead_link_is_told_and_lives_on),
        cmocka_unit_test(fast_resends_have_a_limit),
        cmocka_unit_test(a_stream_is_packed),
        cmocka_unit_test(early_calls_are_harmless),
        cmocka_unit_test(check_is_when_update_flushes),
        cmocka_unit_test(the_log_says_what_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
