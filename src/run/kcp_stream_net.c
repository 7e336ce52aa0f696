/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream_net.c - a net: driver, slide, loop and endpoint in one; its events handed round.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "run/kcp_stream_internal.h"
#include "weir/os.h"

enum {
    READ_BYTES_DEFAULT = 1 << 20,
    READ_BYTES_MIN = 65536 /* any segment fits */
};

/* --- opening and closing ---------------------------------------------------------------------- */

void weir_kcp_net_config_default(struct weir_kcp_net_config *config)
{
    memset(config, 0, sizeof(*config));
    weir_kcp_config_default(&config->kcp);
    weir_slide_config_default(&config->slide);
    weir_udp_config_default(&config->udp);
    config->read_bytes_max = READ_BYTES_DEFAULT;
}

static enum weir_status open_driver(struct weir_kcp_net *net,
                                    const struct weir_kcp_net_config *config, int *os_error)
{
    struct weir_udp_config udp = config->udp;
    net->driver = config->driver;
    if (net->driver != NULL) {
        return WEIR_OK;
    }
    net->is_driver_ours = true;
    if (udp.bind.family != WEIR_ADDR_NONE) {
        return weir_udp_open(&udp, &net->driver, NULL, os_error);
    }
    udp.bind = (struct weir_addr){.family = WEIR_ADDR_IP6};
    enum weir_status status = weir_udp_open(&udp, &net->driver, NULL, os_error);
    if (status == WEIR_ERR_OS && (*os_error == EAFNOSUPPORT || *os_error == EADDRNOTAVAIL)) {
        /* A system without IPv6. */
        udp.bind.family = WEIR_ADDR_IP4;
        status = weir_udp_open(&udp, &net->driver, NULL, os_error);
    }
    return status;
}

static enum weir_status open_slide(struct weir_kcp_net *net, const struct weir_slide_config *config,
                                   struct weir_slide **slide)
{
    net->slide_mem_bytes = weir_slide_mem_size(config);
    if (net->slide_mem_bytes == 0) {
        return WEIR_ERR_INVALID;
    }
    net->slide_mem = weir_mem_map(net->slide_mem_bytes);
    return net->slide_mem == NULL ? WEIR_ERR_MEMORY
                                  : weir_slide_init(net->slide_mem, config, slide);
}

static enum weir_status open_kcp(struct weir_kcp_net *net, const struct weir_kcp_config *config,
                                 const uint8_t *seed)
{
    uint8_t drawn[32];
    net->kcp_mem_bytes = weir_kcp_mem_size(config);
    if (net->kcp_mem_bytes == 0) {
        return WEIR_ERR_INVALID;
    }
    net->kcp_mem = weir_mem_map(net->kcp_mem_bytes);
    if (net->kcp_mem == NULL) {
        return WEIR_ERR_MEMORY;
    }
    if (seed == NULL) {
        enum weir_status status = weir_secret_seed(drawn, sizeof(drawn));
        if (status != WEIR_OK) {
            return status;
        }
        seed = drawn;
    }
    return weir_kcp_init(net->kcp_mem, config, seed, weir_loop_now(net->loop), &net->kcp);
}

static bool has_news(const struct weir_kcp_net *net)
{
    return !weir_list_is_empty(&net->news) || (net->listener != NULL && net->listener->is_news);
}

/* One kind of news at a time, for its callback may free the stream. */
static void call_back_stream(struct weir_kcp_net *net, struct weir_kcp_stream *stream)
{
    const struct weir_kcp_stream_events events = stream->events;
    void *user = stream->user;
    uint8_t first = stream->news & (uint8_t)-stream->news;
    stream->news &= (uint8_t)~first;
    if (stream->news == 0) {
        weir_list_remove(&net->news, &stream->news_link);
    }
    if (first == NEWS_READABLE && events.on_readable != NULL) {
        events.on_readable(stream, user);
    } else if (first == NEWS_WRITABLE && events.on_writable != NULL) {
        events.on_writable(stream, user);
    } else if (first == NEWS_CLOSED && events.on_closed != NULL) {
        events.on_closed(stream, user, stream->cause);
    }
}

static void call_back(struct weir_kcp_net *net)
{
    struct weir_link *link = weir_list_first(&net->news);
    struct weir_kcp_listener *listener = net->listener;
    if (link != NULL) {
        call_back_stream(net, WEIR_CONTAINER(link, struct weir_kcp_stream, news_link));
        return;
    }
    listener->is_news = false;
    if (listener->on_accept != NULL) {
        listener->on_accept(listener, listener->user);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct weir_kcp_net *net = user;
    (void)now;
    weir_kcp_net_pull(net);
    while (has_news(net)) {
        call_back(net);
        weir_kcp_net_pull(net);
    }
}

static enum weir_status open_parts(struct weir_kcp_net *net,
                                   const struct weir_kcp_net_config *config, int *os_error)
{
    struct weir_kcp_config kcp = config->kcp;
    struct weir_loop_config loop;
    kcp.tuning.is_stream = !config->is_message;
    net->tuning = kcp.tuning;
    enum weir_status status = open_driver(net, config, os_error);
    if (status == WEIR_OK && kcp.slide == NULL) {
        status = open_slide(net, &config->slide, &kcp.slide);
    }
    if (status != WEIR_OK) {
        return status;
    }
    weir_loop_config_default(&loop);
    loop.driver = net->driver;
    loop.slide = kcp.slide;
    loop.clock = config->clock;
    status = weir_loop_open(&loop, &net->loop);
    if (status == WEIR_OK) {
        status = open_kcp(net, &kcp, config->seed);
    }
    if (status == WEIR_OK) {
        weir_loop_attach(net->loop, net->kcp, weir_kcp_verbs(), on_events, net);
    }
    return status;
}

enum weir_status weir_kcp_net_open(const struct weir_kcp_net_config *config,
                                   struct weir_kcp_net **net, int *os_error)
{
    int error = 0;
    if (os_error == NULL) {
        os_error = &error;
    }
    *os_error = 0;
    if (config->read_bytes_max < READ_BYTES_MIN) {
        return WEIR_ERR_INVALID;
    }
    struct weir_kcp_net *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    made->is_message = config->is_message;
    made->is_accepting = config->kcp.is_accepting;
    made->pending_max = config->kcp.pending_max;
    made->read_bytes_max = config->read_bytes_max;
    weir_list_init(&made->streams);
    weir_list_init(&made->news);
    enum weir_status status = open_parts(made, config, os_error);
    if (status != WEIR_OK) {
        weir_kcp_net_close(made);
        return status;
    }
    *net = made;
    return WEIR_OK;
}

void weir_kcp_net_close(struct weir_kcp_net *net)
{
    struct weir_link *link;
    if (net == NULL) {
        return;
    }
    WEIR_ASSERT(!net->is_inside);
    while ((link = weir_list_first(&net->streams)) != NULL) {
        weir_kcp_stream_free(WEIR_CONTAINER(link, struct weir_kcp_stream, link));
    }
    free(net->listener);
    if (net->kcp != NULL) {
        weir_kcp_fini(net->kcp);
    }
    if (net->loop != NULL) {
        weir_loop_close(net->loop);
    }
    weir_mem_unmap(net->kcp_mem, net->kcp_mem_bytes);
    weir_mem_unmap(net->slide_mem, net->slide_mem_bytes);
    if (net->is_driver_ours && net->driver != NULL) {
        net->driver->ops->close(net->driver);
    }
    free(net);
}

/* --- events ----------------------------------------------------------------------------------- */

void weir_kcp_stream_tell(struct weir_kcp_stream *stream, enum news news)
{
    if (stream->is_lingering) {
        return;
    }
    if (stream->news == 0) {
        weir_list_append(&stream->net->news, &stream->news_link);
    }
    stream->news |= (uint8_t)news;
}

void weir_kcp_stream_forget(struct weir_kcp_stream *stream, enum news news)
{
    if (stream->news == (uint8_t)news) {
        weir_list_remove(&stream->net->news, &stream->news_link);
    }
    stream->news &= (uint8_t)~news;
}

static void on_closed(struct weir_kcp_net *net, const struct weir_kcp_event *event)
{
    enum session_kind *kind = event->closed.user;
    if (kind == NULL) {
        return;
    }
    if (*kind == SESSION_REQUEST) {
        weir_kcp_listener_on_closed(net, (struct request *)(void *)kind);
        return;
    }
    struct weir_kcp_stream *stream = (struct weir_kcp_stream *)(void *)kind;
    stream->conn = NULL;
    stream->cause = event->closed.cause;
    weir_kcp_stream_tell(stream, NEWS_CLOSED);
}

/* News of a session that was connected or accepted, and not yet closed here. */
static void on_stream_event(struct weir_kcp_stream *stream, const struct weir_kcp_event *event)
{
    if (event->type == WEIR_KCP_EVENT_MESSAGE) {
        weir_kcp_stream_on_message(stream, event);
    } else if (event->type == WEIR_KCP_EVENT_OPENED) {
        stream->is_answered = true;
    } else if (event->type == WEIR_KCP_EVENT_WRITABLE) {
        weir_kcp_stream_tell(stream, NEWS_WRITABLE);
    } else if (event->type == WEIR_KCP_EVENT_MOVED) {
        stream->remote = weir_kcp_path(event->conn).remote;
    }
}

void weir_kcp_net_pull(struct weir_kcp_net *net)
{
    struct weir_kcp_event event;
    while (weir_kcp_event(net->kcp, &event) == WEIR_OK) {
        if (event.type == WEIR_KCP_EVENT_REQUEST) {
            weir_kcp_listener_on_request(net, event.conn);
            continue;
        }
        if (event.type == WEIR_KCP_EVENT_CLOSED) {
            on_closed(net, &event);
            continue;
        }
        enum session_kind *kind = weir_kcp_user(event.conn);
        if (kind != NULL && *kind == SESSION_STREAM) {
            on_stream_event((struct weir_kcp_stream *)(void *)kind, &event);
        }
    }
}

/* --- running ---------------------------------------------------------------------------------- */

enum weir_status weir_kcp_net_run_once(struct weir_kcp_net *net, weir_nsec timeout)
{
    if (net->is_inside) {
        return WEIR_ERR_INVALID;
    }
    net->is_inside = true;
    if (has_news(net)) {
        /* A read outside of callbacks came upon them. */
        on_events(net, 0);
        timeout = 0;
    }
    enum weir_status status = weir_loop_run_once(net->loop, timeout);
    net->is_inside = false;
    return status;
}

enum weir_status weir_kcp_net_flush(struct weir_kcp_net *net)
{
    return weir_loop_flush(net->loop);
}

int weir_kcp_net_fd(const struct weir_kcp_net *net)
{
    return weir_loop_fd(net->loop);
}

bool weir_kcp_net_is_blocked(const struct weir_kcp_net *net)
{
    return weir_loop_is_blocked(net->loop);
}

weir_nsec weir_kcp_net_next_timeout(const struct weir_kcp_net *net)
{
    return has_news(net) ? 0 : weir_loop_next_timeout(net->loop);
}

int weir_kcp_net_poll_ms(struct weir_kcp_net *net)
{
    weir_nsec at = weir_kcp_net_next_timeout(net);
    weir_nsec now = weir_loop_now(net->loop);
    if (at == WEIR_NEVER) {
        return -1;
    }
    weir_nsec ms = at > now ? (at - now - 1) / WEIR_MSEC + 1 : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

weir_nsec weir_kcp_net_now(struct weir_kcp_net *net)
{
    return weir_loop_now(net->loop);
}

struct weir_addr weir_kcp_net_local(const struct weir_kcp_net *net)
{
    return net->driver->local;
}

const struct weir_kcp_stats *weir_kcp_net_stats(const struct weir_kcp_net *net)
{
    return weir_kcp_stats(net->kcp);
}

/* --- tuning ----------------------------------------------------------------------------------- */

const struct weir_kcp_tuning *weir_kcp_net_tuning(const struct weir_kcp_net *net)
{
    return &net->tuning;
}

enum weir_status weir_kcp_net_tune(struct weir_kcp_net *net, const struct weir_kcp_tuning *tuning)
{
    struct weir_kcp_tuning wanted = *tuning;
    wanted.is_stream = !net->is_message;
    enum weir_status status = weir_kcp_tune(net->kcp, &wanted);
    if (status == WEIR_OK) {
        net->tuning = wanted;
    }
    return status;
}

enum weir_status weir_kcp_net_set_nodelay(struct weir_kcp_net *net, uint8_t nodelay,
                                          uint16_t interval_ms, uint8_t resend,
                                          bool is_window_fixed)
{
    struct weir_kcp_tuning tuning = net->tuning;
    tuning.nodelay = nodelay;
    tuning.interval_ms = interval_ms;
    tuning.resend = resend;
    tuning.is_window_fixed = is_window_fixed;
    return weir_kcp_net_tune(net, &tuning);
}

enum weir_status weir_kcp_net_set_window(struct weir_kcp_net *net, uint16_t send_window,
                                         uint16_t receive_window)
{
    struct weir_kcp_tuning tuning = net->tuning;
    tuning.send_window = send_window;
    tuning.receive_window = receive_window;
    return weir_kcp_net_tune(net, &tuning);
}

enum weir_status weir_kcp_net_set_mtu(struct weir_kcp_net *net, uint16_t mtu_bytes)
{
    struct weir_kcp_tuning tuning = net->tuning;
    if (mtu_bytes < WEIR_KCP_MTU_MIN || mtu_bytes > WEIR_KCP_MTU_MAX) {
        return WEIR_ERR_INVALID; /* where weir_kcp_tune would clamp it */
    }
    tuning.mtu_bytes = mtu_bytes;
    return weir_kcp_net_tune(net, &tuning);
}

enum weir_status weir_kcp_net_set_write_delay(struct weir_kcp_net *net, bool is_on)
{
    struct weir_kcp_tuning tuning = net->tuning;
    tuning.is_write_delayed = is_on;
    return weir_kcp_net_tune(net, &tuning);
}

enum weir_status weir_kcp_net_set_ack_no_delay(struct weir_kcp_net *net, bool is_on)
{
    struct weir_kcp_tuning tuning = net->tuning;
    tuning.is_ack_no_delay = is_on;
    return weir_kcp_net_tune(net, &tuning);
}
