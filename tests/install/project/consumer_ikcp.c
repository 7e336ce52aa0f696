/* SPDX-License-Identifier: MIT */
/*
 * consumer_ikcp.c - a program for KCP's reference implementation, outside of this tree.
 */
#include "ikcp.h"

int main(void)
{
    ikcpcb *kcp = ikcp_create(1, NULL);
    int waiting;
    if (kcp == NULL || ikcp_send(kcp, "hello", 5) < 0) {
        return 1;
    }
    ikcp_update(kcp, 1);
    waiting = ikcp_waitsnd(kcp);
    ikcp_release(kcp);
    return waiting == 1 ? 0 : 1;
}
