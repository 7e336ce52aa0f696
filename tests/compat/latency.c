/* SPDX-License-Identifier: MIT */
/*
 * latency.c - the classic test of KCP: one end sends every 20 ms, the other sends it back.
 *
 *     latency [SEED]
 *
 * Written against the documented interface of the reference implementation and nothing else: it is
 * built with weir/compat/ikcp.h as C17, C89 and C++, and runs with the reference's ikcp.c as well.
 * The network has a round trip of 60 to 125 ms and loses 10 % of them. Time is virtual.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ikcp.h"

#define MESSAGES      1000
#define SEND_EVERY_MS 20
#define LOSS_PERCENT  5
#define DELAY_MIN_MS  30
#define DELAY_MAX_MS  62
#define PACKETS_MAX   1000
#define PACKET_BYTES  1500
#define TIME_MAX_MS   200000
#define START_MS      0xffffe000u /* the clock wraps on the way */

struct packet {
    IUINT32 due;
    int length;
    char data[PACKET_BYTES];
};

/* One direction: what is sent is received in order. */
struct link {
    struct packet packets[PACKETS_MAX];
    int first, count;
    long sent;
    unsigned char fates[100]; /* of the next packets, drawn without putting back: 1 is lost */
    int fates_left;
};

struct result {
    long average, longest, packets;
    int is_complete;
};

static struct link links[2];
static IUINT32 now_ms;
static IUINT32 seed;
static long refused; /* packets, by input */

static IUINT32 draw(IUINT32 below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static int is_lost(struct link *link)
{
    int at;
    int fate;
    if (link->fates_left == 0) {
        link->fates_left = 100;
        for (at = 0; at < 100; at++) {
            link->fates[at] = at < LOSS_PERCENT ? 1 : 0;
        }
    }
    at = (int)draw((IUINT32)link->fates_left);
    fate = link->fates[at];
    link->fates[at] = link->fates[--link->fates_left];
    return fate;
}

static int send_packet(const char *data, int length, ikcpcb *kcp, void *user)
{
    struct link *link = (struct link *)user;
    struct packet *packet;
    (void)kcp;
    link->sent++;
    if (is_lost(link) || link->count == PACKETS_MAX || length > PACKET_BYTES) {
        return 0;
    }
    packet = &link->packets[(link->first + link->count) % PACKETS_MAX];
    link->count++;
    packet->due = now_ms + DELAY_MIN_MS + draw(DELAY_MAX_MS - DELAY_MIN_MS);
    packet->length = length;
    memcpy(packet->data, data, (size_t)length);
    return 0;
}

static void receive_packets(struct link *link, ikcpcb *kcp)
{
    while (link->count > 0 && (IINT32)(now_ms - link->packets[link->first].due) >= 0) {
        struct packet *packet = &link->packets[link->first];
        link->first = (link->first + 1) % PACKETS_MAX;
        link->count--;
        if (ikcp_input(kcp, packet->data, packet->length) != 0) {
            refused++;
        }
    }
}

static void set_mode(ikcpcb *kcp, int mode)
{
    ikcp_wndsize(kcp, 128, 128);
    if (mode == 0) {
        ikcp_nodelay(kcp, 0, 10, 0, 0);
    } else if (mode == 1) {
        ikcp_nodelay(kcp, 0, 10, 0, 1);
    } else {
        ikcp_nodelay(kcp, 1, 10, 2, 1);
        kcp->rx_minrto = 10;
        kcp->fastresend = 1;
    }
}

static void echo(ikcpcb *kcp)
{
    char buffer[16];
    int length;
    while ((length = ikcp_recv(kcp, buffer, (int)sizeof(buffer))) >= 0) {
        ikcp_send(kcp, buffer, length);
    }
}

/* Returns 0 when something came out of order. */
static int collect(ikcpcb *kcp, IUINT32 *next, struct result *result)
{
    IUINT32 words[2];
    int length;
    while ((length = ikcp_recv(kcp, (char *)words, (int)sizeof(words))) >= 0) {
        long rtt = (long)(now_ms - words[1]);
        if (length != (int)sizeof(words) || words[0] != *next) {
            printf("message %lu came for %lu\n", (unsigned long)words[0], (unsigned long)*next);
            return 0;
        }
        *next += 1;
        result->average += rtt;
        if (rtt > result->longest) {
            result->longest = rtt;
        }
    }
    return 1;
}

static struct result run(int mode)
{
    struct result result = {0, 0, 0, 0};
    ikcpcb *near_end = ikcp_create(0x11223344, &links[0]);
    ikcpcb *far_end = ikcp_create(0x11223344, &links[1]);
    IUINT32 words[2];
    IUINT32 sent = 0;
    IUINT32 next = 0;
    IUINT32 elapsed;
    memset(links, 0, sizeof(links));
    near_end->output = send_packet;
    ikcp_setoutput(far_end, send_packet);
    set_mode(near_end, mode);
    set_mode(far_end, mode);
    for (elapsed = 1; next < MESSAGES && elapsed < TIME_MAX_MS; elapsed++) {
        now_ms = START_MS + elapsed;
        ikcp_update(near_end, now_ms);
        ikcp_update(far_end, now_ms);
        if (elapsed % SEND_EVERY_MS == 0) {
            words[0] = sent++;
            words[1] = now_ms;
            ikcp_send(near_end, (const char *)words, (int)sizeof(words));
        }
        receive_packets(&links[0], far_end);
        receive_packets(&links[1], near_end);
        echo(far_end);
        if (!collect(near_end, &next, &result)) {
            break;
        }
    }
    result.is_complete = next >= MESSAGES && refused == 0 && near_end->state == 0;
    result.average = next > 0 ? result.average / (long)next : 0;
    result.packets = links[0].sent;
    ikcp_release(near_end);
    ikcp_release(far_end);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"default", "normal", "fast"};
    struct result results[3];
    int mode;
    IUINT32 first_seed = argc > 1 ? (IUINT32)strtoul(argv[1], NULL, 10) : 1;
    for (mode = 0; mode < 3; mode++) {
        seed = first_seed;
        results[mode] = run(mode);
        printf("%-8s average %ld ms, longest %ld ms, %ld packets\n", names[mode],
               results[mode].average, results[mode].longest, results[mode].packets);
        if (!results[mode].is_complete) {
            printf("not complete (seed %lu)\n", (unsigned long)first_seed);
            return 1;
        }
    }
    if (results[2].average >= results[0].average || results[1].average >= results[0].average) {
        printf("no faster (seed %lu)\n", (unsigned long)first_seed);
        return 1;
    }
    return 0;
}
