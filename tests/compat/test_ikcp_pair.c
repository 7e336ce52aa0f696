/* SPDX-License-Identifier: MIT */
/*
 * test_ikcp_pair.c - weir/compat/ikcp.h: two ends, their clocks and windows, their memory.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ikcp.h"

enum {
    CONV = 0x01020304
};

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* --- two ends --------------------------------------------------------------------------------- */

static ikcpcb *peer_of[2];
static unsigned losses; /* every so-many-th datagram is lost; 0: none */
static unsigned crossing;

static int cross(const char *data, int length, ikcpcb *kcp, void *user)
{
    (void)user;
    crossing++;
    if (losses == 0 || crossing % losses != 0) {
        assert_int_equal(ikcp_input(peer_of[kcp == peer_of[0]], data, length), 0);
    }
    return length;
}

static void open_pair(void)
{
    losses = crossing = 0;
    for (int i = 0; i < 2; i++) {
        peer_of[i] = ikcp_create(CONV, NULL);
        ikcp_setoutput(peer_of[i], cross);
        ikcp_nodelay(peer_of[i], 1, 10, 2, 1);
    }
}

static void close_pair(void)
{
    ikcp_release(peer_of[0]);
    ikcp_release(peer_of[1]);
}

/* Sends count numbers there, some of them long, and looks for them in order. */
static uint32_t exchange(uint32_t now, uint32_t count)
{
    static uint8_t buffer[4000];
    static uint8_t got[4000];
    uint32_t sent = 0;
    uint32_t next = 0;
    for (uint32_t step = 0; next < count; step++, now++) {
        assert_in_range(step, 0, 60000);
        if (sent < count) {
            put32(buffer, sent);
            assert_true(ikcp_send(peer_of[0], (const char *)buffer, sent % 7 == 3 ? 4000 : 4) >= 0);
            sent++;
        }
        ikcp_update(peer_of[0], now);
        ikcp_update(peer_of[1], now);
        int length;
        while ((length = ikcp_recv(peer_of[1], (char *)got, sizeof(got))) >= 0) {
            assert_int_equal(get32(got), next);
            assert_int_equal(length, next % 7 == 3 ? 4000 : 4);
            next++;
        }
    }
    return now;
}

static void the_clock_may_wrap(void **state)
{
    (void)state;
    open_pair();
    losses = 5;
    uint32_t now = exchange(0xffffff00, 600);
    assert_in_range(now, 1, 60000);
    assert_true(peer_of[0]->xmit > 0 || crossing > 600);
    close_pair();
}

static void the_clock_may_be_set_back(void **state)
{
    (void)state;
    open_pair();
    losses = 7;
    uint32_t now = exchange(5000000, 100);
    now = exchange(now - 500, 300);
    now = exchange(now - 3600000, 300);
    now = exchange(now + 3600000, 300);
    (void)exchange(now + 0x7fffffff, 300);
    close_pair();
}

static void windows_grow_while_it_runs(void **state)
{
    (void)state;
    open_pair();
    uint32_t now = exchange(1, 50);
    ikcp_wndsize(peer_of[0], 4096, 128);
    ikcp_wndsize(peer_of[1], 32, 4096);
    now += 100;
    for (int i = 0; i < 5; i++, now += 10) { /* so that both have heard */
        ikcp_update(peer_of[0], now);
        ikcp_update(peer_of[1], now);
    }
    now = exchange(now, 10);
    for (int i = 0; i < 4000; i++) {
        ikcp_send(peer_of[0], "four", 4);
    }
    ikcp_update(peer_of[0], now + 20);
    assert_int_equal(peer_of[0]->nsnd_buf, 4000);
    assert_int_equal(peer_of[1]->nrcv_que, 4000);
    close_pair();
}

/* --- memory ----------------------------------------------------------------------------------- */

static long blocks, blocks_left;

static void *counted_new(size_t size)
{
    if (blocks_left == 0) {
        return NULL;
    }
    blocks_left--;
    blocks++;
    void *p = malloc(size);
    if (p != NULL) {
        memset(p, 0xa5, size);
    }
    return p;
}

static void counted_free(void *p)
{
    blocks -= p != NULL;
    free(p);
}

static void the_allocator_is_asked_for_everything(void **state)
{
    (void)state;
    blocks = 0;
    blocks_left = LONG_MAX;
    ikcp_allocator(counted_new, counted_free);
    open_pair();
    ikcp_allocator(NULL, NULL); /* what was created keeps to its own */
    assert_int_equal(blocks, 2);
    losses = 5;
    uint32_t now = exchange(1, 300);
    assert_true(blocks > 2);
    ikcp_send(peer_of[0], "left", 4);
    ikcp_update(peer_of[0], now + 10);
    ikcp_send(peer_of[0], "over", 4);
    close_pair();
    assert_int_equal(blocks, 0);
}

static int count_output(const char *data, int length, ikcpcb *kcp, void *user)
{
    (void)data;
    (void)kcp;
    *(int *)user += 1;
    return length;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    static const uint8_t push[24] = {4, 3, 2, 1, 81, 0, 128};
    int sent = 0;
    blocks = 0;
    blocks_left = 0;
    ikcp_allocator(counted_new, counted_free);
    assert_null(ikcp_create(CONV, NULL));
    blocks_left = 1;
    ikcpcb *kcp = ikcp_create(CONV, &sent);
    kcp->output = count_output;
    kcp->interval = 10;
    assert_int_equal(ikcp_send(kcp, "x", 1), -2);
    assert_int_equal(ikcp_input(kcp, (const char *)push, sizeof(push)), -1);
    blocks_left = 1;
    assert_int_equal(ikcp_send(kcp, "x", 1), 1);
    ikcp_update(kcp, 1010);
    assert_int_equal(sent, 0);
    blocks_left = 10;
    ikcp_update(kcp, 1020);
    assert_int_equal(sent, 1);
    ikcp_release(kcp);
    ikcp_allocator(NULL, NULL);
    assert_int_equal(blocks, 0);
}

static void a_resting_session_keeps_its_numbers_only(void **state)
{
    (void)state;
    blocks = 0;
    blocks_left = LONG_MAX;
    ikcp_allocator(counted_new, counted_free);
    open_pair();
    ikcp_allocator(NULL, NULL);
    uint32_t now = exchange(1, 100);
    IUINT32 snd_nxt = 0;
    IINT32 srtt = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++, now += 10) {
            ikcp_update(peer_of[0], now);
            ikcp_update(peer_of[1], now);
        }
        assert_int_equal(blocks, 2);
        snd_nxt = peer_of[0]->snd_nxt;
        srtt = peer_of[0]->rx_srtt;
        assert_int_equal(peer_of[1]->rcv_nxt, snd_nxt);
        now = exchange(now, 20);
        assert_int_equal(blocks > 2, 1);
        assert_true(peer_of[0]->snd_nxt > snd_nxt);
        assert_in_range(peer_of[0]->rx_srtt, srtt / 2, srtt * 2 + 20);
    }
    close_pair();
    assert_int_equal(blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_may_wrap),
        cmocka_unit_test(the_clock_may_be_set_back),
        cmocka_unit_test(windows_grow_while_it_runs),
        cmocka_unit_test(the_allocator_is_asked_for_everything),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(a_resting_session_keeps_its_numbers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
