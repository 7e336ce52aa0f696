/* SPDX-License-Identifier: MIT */
/*
 * kcp_stream_wait.c - the blocking calls: try, and run the net in between, until the time is up.
 */
#include "run/kcp_stream_internal.h"

/* One blocking call: what attempt needs and brings about. */
struct call {
    struct weir_kcp_stream *stream;
    struct weir_kcp_listener *listener;
    uint8_t *buffer;
    const uint8_t *data;
    size_t length, done;
};

static weir_nsec deadline_after(struct weir_kcp_net *net, weir_nsec timeout)
{
    weir_nsec now = weir_loop_now(net->loop);
    return timeout < WEIR_NEVER - now ? now + timeout : WEIR_NEVER;
}

/* Attempts until it is not WEIR_AGAIN. The net has run at least once before WEIR_ERR_TIMEOUT. */
static enum weir_status wait_for(struct weir_kcp_net *net, weir_nsec deadline,
                                 enum weir_status (*attempt)(struct call *call), struct call *call)
{
    bool is_last = false;
    if (net->is_inside) {
        return WEIR_ERR_INVALID;
    }
    for (;;) {
        enum weir_status status = attempt(call);
        if (status != WEIR_AGAIN) {
            return status;
        }
        if (is_last) {
            return WEIR_ERR_TIMEOUT;
        }
        weir_nsec now = weir_loop_now(net->loop);
        is_last = now >= deadline;
        weir_nsec left = deadline == WEIR_NEVER ? WEIR_NEVER : deadline - now;
        status = weir_kcp_net_run_once(net, is_last ? 0 : left);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

/* --- accepting and connecting ----------------------------------------------------------------- */

static enum weir_status accept_one(struct call *call)
{
    return weir_kcp_listener_accept(call->listener, &call->stream);
}

enum weir_status weir_kcp_listener_accept_wait(struct weir_kcp_listener *listener,
                                               weir_nsec timeout, struct weir_kcp_stream **stream)
{
    struct call call = {.listener = listener};
    enum weir_status status =
        wait_for(listener->net, deadline_after(listener->net, timeout), accept_one, &call);
    if (status == WEIR_OK) {
        *stream = call.stream;
    }
    return status;
}

static enum weir_status write_rest(struct call *call)
{
    size_t taken = 0;
    enum weir_status status = weir_kcp_stream_write(call->stream, call->data + call->done,
                                                    call->length - call->done, &taken);
    call->done += taken;
    return status == WEIR_OK && call->done < call->length ? WEIR_AGAIN : status;
}

static enum weir_status find_answered(struct call *call)
{
    if (call->stream->is_answered) {
        return WEIR_OK;
    }
    return call->stream->conn != NULL ? WEIR_AGAIN : WEIR_ERR_CLOSED;
}

static enum weir_status send_first(struct weir_kcp_stream *stream, struct weir_span first,
                                   weir_nsec deadline)
{
    struct call call = {.stream = stream, .data = first.data, .length = first.length};
    enum weir_status status = wait_for(stream->net, deadline, write_rest, &call);
    if (status != WEIR_OK) {
        return status;
    }
    weir_kcp_flush(stream->conn);
    return wait_for(stream->net, deadline, find_answered, &call);
}

enum weir_status weir_kcp_stream_dial(struct weir_kcp_net *net, const struct weir_addr *remote,
                                      struct weir_span first, weir_nsec timeout,
                                      struct weir_kcp_stream **stream)
{
    struct weir_kcp_stream *made = NULL;
    weir_nsec deadline = deadline_after(net, timeout);
    enum weir_status status = weir_kcp_stream_connect(net, remote, 0, &made);
    if (status == WEIR_OK && first.length > 0) {
        status = send_first(made, first, deadline);
    }
    if (status == WEIR_OK) {
        *stream = made;
    } else if (made != NULL) {
        weir_kcp_stream_abort(made);
    }
    return status;
}

/* --- reading and writing ---------------------------------------------------------------------- */

static enum weir_status read_some(struct call *call)
{
    return weir_kcp_stream_read(call->stream, call->buffer, call->length, &call->done);
}

enum weir_status weir_kcp_stream_read_wait(struct weir_kcp_stream *stream, void *buffer,
                                           size_t room, weir_nsec timeout, size_t *length)
{
    struct call call = {.stream = stream, .buffer = buffer, .length = room};
    enum weir_status status =
        wait_for(stream->net, deadline_after(stream->net, timeout), read_some, &call);
    *length = call.done;
    return status;
}

static enum weir_status read_rest(struct call *call)
{
    size_t length = 0;
    enum weir_status status = weir_kcp_stream_read(call->stream, call->buffer + call->done,
                                                   call->length - call->done, &length);
    call->done += length;
    return status == WEIR_OK && call->done < call->length ? WEIR_AGAIN : status;
}

enum weir_status weir_kcp_stream_read_all(struct weir_kcp_stream *stream, void *buffer,
                                          size_t length, weir_nsec timeout, size_t *taken)
{
    struct call call = {.stream = stream, .buffer = buffer, .length = length};
    *taken = 0;
    if (stream->net->is_message) {
        return WEIR_ERR_INVALID;
    }
    enum weir_status status =
        wait_for(stream->net, deadline_after(stream->net, timeout), read_rest, &call);
    *taken = call.done;
    return status;
}

enum weir_status weir_kcp_stream_write_all(struct weir_kcp_stream *stream, const void *data,
                                           size_t length, weir_nsec timeout, size_t *taken)
{
    struct weir_kcp_net *net = stream->net;
    struct call call = {.stream = stream, .data = data, .length = length};
    enum weir_status status = wait_for(net, deadline_after(net, timeout), write_rest, &call);
    *taken = call.done;
    return status == WEIR_OK ? weir_kcp_net_flush(net) : status;
}

static enum weir_status find_drained(struct call *call)
{
    if (call->stream->conn == NULL) {
        return WEIR_ERR_CLOSED;
    }
    return weir_kcp_stream_is_drained(call->stream) ? WEIR_OK : WEIR_AGAIN;
}

enum weir_status weir_kcp_stream_drain(struct weir_kcp_stream *stream, weir_nsec timeout)
{
    struct call call = {.stream = stream};
    if (stream->conn != NULL) {
        weir_kcp_flush(stream->conn);
    }
    return wait_for(stream->net, deadline_after(stream->net, timeout), find_drained, &call);
}
