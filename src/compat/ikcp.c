/* SPDX-License-Identifier: MIT */
/*
 * ikcp.c - the reference implementation's functions: arguments, codes, fields, and when to flush.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "compat/session.h"
#include "wire/kcp.h"

enum {
    SLIP_MS = 10000, /* a clock that is so far from the next flush was set anew */
    INTERVAL_MIN_MS = 10,
    INTERVAL_MAX_MS = 5000,
    RTO_MIN_MS = 100,
    RTO_MIN_NODELAY_MS = 30,
    LOG_BYTES = 1024
};

static void *(*new_block)(size_t);
static void (*free_block)(void *);

/* a - b of clocks and numbers that wrap. */
static int32_t diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* --- life ------------------------------------------------------------------------------------- */

void ikcp_allocator(void *(*new_malloc)(size_t), void (*new_free)(void *))
{
    new_block = new_malloc;
    free_block = new_free;
}

static void set_defaults(ikcpcb *kcp, IUINT32 conv, void *user)
{
    *kcp = (ikcpcb){.conv = conv,
                    .mtu = 1400,
                    .mss = 1400 - WEIR_KCP_HEADER_BYTES,
                    .ssthresh = 2,
                    .rx_rto = 200,
                    .rx_minrto = RTO_MIN_MS,
                    .snd_wnd = 32,
                    .rcv_wnd = WEIR_IKCP_WINDOW_RECEIVE_MIN,
                    .rmt_wnd = 128,
                    .interval = 100,
                    .ts_flush = 100,
                    .dead_link = 20,
                    .fastlimit = 5,
                    .user = user};
}

ikcpcb *ikcp_create(IUINT32 conv, void *user)
{
    struct both {
        ikcpcb kcp;
        struct weir_ikcp own;
    };

    void *(*allocate)(size_t) = new_block != NULL ? new_block : malloc;
    void (*deallocate)(void *) = free_block != NULL ? free_block : free;
    struct both *both = allocate(sizeof(*both));
    if (both == NULL) {
        return NULL;
    }
    set_defaults(&both->kcp, conv, user);
    both->own = (struct weir_ikcp){
        .allocate = allocate, .deallocate = deallocate, .is_mapped = new_block == NULL};
    both->kcp.own = &both->own;
    return &both->kcp;
}

void ikcp_release(ikcpcb *kcp)
{
    if (kcp == NULL) {
        return;
    }
    struct weir_ikcp *own = kcp->own;
    weir_ikcp_close(kcp);
    weir_ikcp_queue_drop(own);
    weir_ikcp_pages_rest(own);
    own->deallocate(kcp);
}

void ikcp_setoutput(ikcpcb *kcp, int (*output)(const char *buf, int len, ikcpcb *kcp, void *user))
{
    kcp->output = output;
}

/* --- receiving -------------------------------------------------------------------------------- */

int ikcp_peeksize(const ikcpcb *kcp)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_event event;
    if (own->kept > 0) {
        return (int)weir_ikcp_inbox_first(own).length;
    }
    if (own->endpoint == NULL || weir_kcp_reference_peek(own->conn, &event) != WEIR_OK ||
        event.message.length > INT_MAX) {
        return -1;
    }
    return (int)event.message.length;
}

int ikcp_recv(ikcpcb *kcp, char *buffer, int len)
{
    struct weir_ikcp *own = kcp->own;
    struct weir_kcp_event event;
    struct weir_span kept = {0};
    if (own->endpoint == NULL || kcp->nrcv_que == 0) {
        return -1;
    }
    if (own->kept > 0) {
        kept = weir_ikcp_inbox_first(own);
        event.message.length = kept.length;
    } else if (weir_kcp_reference_peek(own->conn, &event) != WEIR_OK) {
        return -2;
    }
    size_t length = event.message.length;
    size_t room = len < 0 ? (size_t) - (int64_t)len : (size_t)len;
    if (length > room || length > INT_MAX) {
        return -3;
    }
    if (buffer != NULL && kept.data != NULL) {
        memcpy(buffer, kept.data, length);
    } else if (buffer != NULL) {
        (void)weir_kcp_copy_message(&event, buffer, length);
    }
    if (kcp->logmask != 0) {
        weir_ikcp_say(kcp, IKCP_LOG_RECV, "recv %lu bytes", (unsigned long)length);
    }
    if (len >= 0) {
        if (kcp->rcv_wnd != own->settings.rcv_wnd) { /* all that it depends on */
            weir_ikcp_tune(kcp);
        }
        weir_ikcp_take(kcp);
    }
    return (int)length;
}

/* What is said of a segment that came in. */
static void say_received(ikcpcb *kcp, const struct weir_kcp_segment *segment)
{
    unsigned long sn = segment->sn;
    if (segment->cmd == WEIR_KCP_PUSH) {
        weir_ikcp_say(kcp, IKCP_LOG_IN_DATA, "input data: sn=%lu ts=%lu", sn,
                      (unsigned long)segment->ts);
    } else if (segment->cmd == WEIR_KCP_ACK) {
        weir_ikcp_say(kcp, IKCP_LOG_IN_ACK, "input ack: sn=%lu rtt=%ld rto=%ld", sn,
                      (long)diff(kcp->current, segment->ts), (long)kcp->rx_rto);
    } else if (segment->cmd == WEIR_KCP_WASK) {
        weir_ikcp_say(kcp, IKCP_LOG_IN_PROBE, "input probe");
    } else {
        weir_ikcp_say(kcp, IKCP_LOG_IN_WINS, "input window: %u", segment->wnd);
    }
}

/* Code of the datagram; *good: bytes of the segments before the one that is not. */
static int check_segments(ikcpcb *kcp, const uint8_t *data, size_t size, size_t *good)
{
    const uint8_t *at = data;
    const uint8_t *end = data + size;
    *good = 0;
    while (end - at >= WEIR_KCP_HEADER_BYTES) {
        struct weir_kcp_segment segment;
        if (weir_kcp_load32(at) != kcp->conv) {
            return -1;
        }
        /* The length is looked at before the command. */
        uint32_t length = weir_kcp_load32(at + 20);
        if (length > (size_t)(end - at) - WEIR_KCP_HEADER_BYTES) {
            return -2;
        }
        if (weir_kcp_decode(&at, end, &segment) != WEIR_KCP_DECODED) {
            return -3;
        }
        *good = (size_t)(at - data);
        if (kcp->logmask != 0) {
            say_received(kcp, &segment);
        }
    }
    return 0;
}

int ikcp_input(ikcpcb *kcp, const char *data, long size)
{
    size_t good;
    if (kcp->logmask != 0) {
        weir_ikcp_say(kcp, IKCP_LOG_INPUT, "input %ld bytes", size);
    }
    if (data == NULL || size < WEIR_KCP_HEADER_BYTES || size > INT_MAX) {
        return -1;
    }
    int code = check_segments(kcp, (const uint8_t *)data, (size_t)size, &good);
    if (good > 0 && !weir_ikcp_feed(kcp, (const uint8_t *)data, good) && code == 0) {
        return -1;
    }
    return code;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void copy_or_clear(uint8_t *to, const char *from, size_t length)
{
    if (from != NULL) {
        memcpy(to, from, length);
    } else {
        memset(to, 0, length);
    }
}

/* Onto the last segment of the stream that waits. Returns how many bytes went there. */
static uint32_t append(const ikcpcb *kcp, const char *buffer, uint32_t length)
{
    const struct weir_ikcp *own = kcp->own;
    struct weir_ikcp_message *last = own->queue_first != NULL ? own->queue_last : NULL;
    if (last == NULL || !last->is_stream || last->parcel.length >= last->room) {
        return 0;
    }
    uint32_t left = last->room - last->parcel.length;
    uint32_t fits = length < left ? length : left;
    copy_or_clear(last->data + last->parcel.length, buffer, fits);
    last->parcel.length += fits;
    return fits;
}

static bool queue_message(ikcpcb *kcp, const char *buffer, uint32_t length, uint32_t fragments)
{
    struct weir_ikcp_message *message = weir_ikcp_message_queue(kcp, length, fragments);
    if (message == NULL) {
        return false;
    }
    message->parcel.length = length;
    copy_or_clear(message->data, buffer, length);
    return true;
}

static bool queue_stream(ikcpcb *kcp, const char *buffer, uint32_t length)
{
    struct weir_ikcp_message *message = weir_ikcp_message_queue(kcp, kcp->mss, 1);
    if (message == NULL) {
        return false;
    }
    message->is_stream = true;
    message->parcel.length = length;
    copy_or_clear(message->data, buffer, length);
    return true;
}

static int send_stream(ikcpcb *kcp, const char *buffer, uint32_t length)
{
    uint32_t sent = append(kcp, buffer, length);
    if (length - sent > WEIR_IKCP_FRAGMENTS_MAX * kcp->mss) {
        return sent > 0 ? (int)sent : -2;
    }
    while (sent < length) {
        uint32_t piece = length - sent < kcp->mss ? length - sent : kcp->mss;
        if (!queue_stream(kcp, buffer != NULL ? buffer + sent : NULL, piece)) {
            return sent > 0 ? (int)sent : -2;
        }
        sent += piece;
    }
    return (int)sent;
}

int ikcp_send(ikcpcb *kcp, const char *buffer, int len)
{
    if (len < 0) {
        return -1;
    }
    uint32_t length = (uint32_t)len;
    int code;
    if (kcp->stream != 0) {
        code = send_stream(kcp, buffer, length);
    } else {
        uint32_t fragments = length == 0 ? 1 : (length - 1) / kcp->mss + 1;
        bool is_queued =
            fragments <= WEIR_IKCP_FRAGMENTS_MAX && queue_message(kcp, buffer, length, fragments);
        code = is_queued ? len : -2;
    }
    if (kcp->logmask != 0) {
        weir_ikcp_say(kcp, IKCP_LOG_SEND, "send %d bytes: %d", len, code);
    }
    return code;
}

int ikcp_waitsnd(const ikcpcb *kcp)
{
    return (int)(kcp->nsnd_buf + kcp->nsnd_que);
}

/* --- time ------------------------------------------------------------------------------------- */

void ikcp_flush(ikcpcb *kcp)
{
    if (kcp->updated != 0) {
        weir_ikcp_flush(kcp);
    }
}

void ikcp_update(ikcpcb *kcp, IUINT32 current)
{
    weir_ikcp_set_clock(kcp->own, current, kcp->updated == 0);
    kcp->current = current;
    if (kcp->updated == 0) {
        kcp->updated = 1;
        kcp->ts_flush = current;
    }
    int32_t late = diff(current, kcp->ts_flush);
    if (late >= SLIP_MS || late < -SLIP_MS) {
        kcp->ts_flush = current;
        late = 0;
    }
    if (late < 0) {
        return;
    }
    kcp->ts_flush += kcp->interval;
    if (diff(current, kcp->ts_flush) >= 0) {
        kcp->ts_flush = current + kcp->interval;
    }
    weir_ikcp_flush(kcp);
}

/* What is due before the next flush leaves with it all the same. */
IUINT32 ikcp_check(const ikcpcb *kcp, IUINT32 current)
{
    int32_t ahead = diff(kcp->ts_flush, current);
    if (kcp->updated == 0 || ahead <= 0 || ahead > SLIP_MS) {
        return current;
    }
    return current + ((uint32_t)ahead < kcp->interval ? (uint32_t)ahead : kcp->interval);
}

/* --- settings --------------------------------------------------------------------------------- */

int ikcp_setmtu(ikcpcb *kcp, int mtu)
{
    if (mtu < WEIR_IKCP_MTU_MIN) {
        return -1;
    }
    kcp->mtu = (IUINT32)(mtu < WEIR_KCP_MTU_MAX ? mtu : WEIR_KCP_MTU_MAX);
    kcp->mss = kcp->mtu - WEIR_KCP_HEADER_BYTES;
    return 0;
}

int ikcp_wndsize(ikcpcb *kcp, int sndwnd, int rcvwnd)
{
    if (kcp == NULL) {
        return 0;
    }
    if (sndwnd > 0) {
        kcp->snd_wnd = (IUINT32)sndwnd;
    }
    if (rcvwnd > 0) {
        int least = WEIR_IKCP_WINDOW_RECEIVE_MIN; /* so that any message fits */
        kcp->rcv_wnd = (IUINT32)(rcvwnd > least ? rcvwnd : least);
    }
    return 0;
}

int ikcp_interval(ikcpcb *kcp, int interval)
{
    int bounded = interval < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : interval;
    kcp->interval = (IUINT32)(bounded < INTERVAL_MAX_MS ? bounded : INTERVAL_MAX_MS);
    return 0;
}

int ikcp_nodelay(ikcpcb *kcp, int nodelay, int interval, int resend, int nc)
{
    if (nodelay >= 0) {
        kcp->nodelay = (IUINT32)nodelay;
        kcp->rx_minrto = nodelay != 0 ? RTO_MIN_NODELAY_MS : RTO_MIN_MS;
    }
    if (interval >= 0) {
        (void)ikcp_interval(kcp, interval);
    }
    if (resend >= 0) {
        kcp->fastresend = resend;
    }
    if (nc >= 0) {
        kcp->nocwnd = nc;
    }
    return 0;
}

/* --- the rest --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void say(ikcpcb *kcp, int mask, const char *format,
                                                      va_list arguments)
{
    char line[LOG_BYTES];
    if ((mask & kcp->logmask) == 0 || kcp->writelog == NULL) {
        return;
    }
    (void)vsnprintf(line, sizeof(line), format, arguments);
    kcp->writelog(line, kcp, kcp->user);
}

__attribute__((format(printf, 3, 4))) void ikcp_log(ikcpcb *kcp, int mask, const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    say(kcp, mask, fmt, arguments);
    va_end(arguments);
}

void weir_ikcp_say(ikcpcb *kcp, int mask, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(kcp, mask, format, arguments);
    va_end(arguments);
}

IUINT32 ikcp_getconv(const void *ptr)
{
    return weir_kcp_load32(ptr);
}
