/* SPDX-License-Identifier: MIT */
/*
 * pipe_io.c - weir pipe's standard input and output.
 */
#include "cli/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    READS_PER_ROUND = 8,
    RESUME_BYTES = 256 << 10,
    /* A write of so much does not block when poll says that a pipe or terminal has room. */
    WRITE_BYTES = 4096
};

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};
static const struct weir_rudp_send side = {.guarantee = WEIR_RUDP_DELIVERY,
                                           .channel = CLI_PIPE_SIDE_CHANNEL};

void cli_pipe_give_up(struct cli_pipe *pipe, const char *reason)
{
    pipe->is_over = true;
    pipe->result = CLI_FAILED;
    if (pipe->conn != NULL) {
        cli_link_abort(&pipe->link, pipe->conn, 1, reason);
        pipe->conn = NULL;
    }
}

/* --- standard input --------------------------------------------------------------------------- */

void cli_pipe_ship(struct cli_pipe *pipe)
{
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && pipe->inbox_used > 0) {
        size_t left = pipe->inbox_used;
        size_t length = left < pipe->piece_bytes ? left : pipe->piece_bytes;
        const uint8_t *from = pipe->inbox + pipe->inbox_first;
        status = cli_link_send(&pipe->link, pipe->conn, &delivery, from, length);
        if (status == WEIR_OK) {
            pipe->inbox_first += length;
            pipe->inbox_used -= length;
            pipe->is_anything_sent = true;
        } else if (status == WEIR_ERR_TOO_LARGE && pipe->piece_bytes > 1) {
            pipe->piece_bytes /= 2;
            status = WEIR_OK;
        }
    }
    pipe->is_full = status == WEIR_ERR_FULL;
}

void cli_pipe_tell_written(struct cli_pipe *pipe)
{
    enum weir_status status = cli_link_send(&pipe->link, pipe->conn, &side, "", 0);
    pipe->is_written_told = status == WEIR_OK;
}

void cli_pipe_ship_end(struct cli_pipe *pipe)
{
    if (pipe->is_stream) {
        cli_link_end(&pipe->link, pipe->conn, 0, "");
    }
    enum weir_status status =
        pipe->options.is_raw ? WEIR_OK : cli_link_send(&pipe->link, pipe->conn, &delivery, "", 0);
    pipe->is_in_done = status == WEIR_OK;
    pipe->is_full = status == WEIR_ERR_FULL;
}

/* Reads once. False when that is all for now. */
static bool read_stdin(struct cli_pipe *pipe)
{
    ssize_t got = read(STDIN_FILENO, pipe->inbox, pipe->read_bytes);
    int error = errno;
    if (got > 0) {
        pipe->inbox_first = 0;
        pipe->inbox_used = (size_t)got;
        cli_pipe_ship(pipe);
        return pipe->inbox_used == 0;
    }
    if (got == 0) {
        pipe->is_in_ended = true;
        cli_pipe_ship_end(pipe);
    } else if (error != EAGAIN && error != EINTR) {
        cli_fail(CLI_FAILED, "cannot read standard input: %s", cli_text_errno(error));
        cli_pipe_give_up(pipe, "its input failed");
    }
    return false;
}

bool cli_pipe_wants_input(const struct cli_pipe *pipe)
{
    return pipe->conn != NULL && pipe->is_opened && !pipe->is_in_ended && !pipe->is_full &&
           !pipe->is_closing;
}

void cli_pipe_pump_input(struct cli_pipe *pipe)
{
    struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
    for (uint32_t i = 0; i < READS_PER_ROUND && pipe->inbox_used == 0 && !pipe->is_over; i++) {
        if (!read_stdin(pipe) || poll(&wait, 1, 0) <= 0) {
            return;
        }
    }
}

/* --- standard output -------------------------------------------------------------------------- */

void cli_pipe_pump_output(struct cli_pipe *pipe)
{
    struct pollfd wait = {.fd = STDOUT_FILENO, .events = POLLOUT};
    while (pipe->outbox_used > 0) {
        size_t length = CLI_PIPE_OUTBOX_BYTES - pipe->outbox_first;
        length = length < pipe->outbox_used ? length : pipe->outbox_used;
        if (!pipe->is_stdout_plain) {
            if (poll(&wait, 1, 0) <= 0) {
                break;
            }
            length = length < WRITE_BYTES ? length : WRITE_BYTES;
        }
        ssize_t written = write(STDOUT_FILENO, pipe->outbox + pipe->outbox_first, length);
        if (written < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (written <= 0) {
            cli_fail(CLI_FAILED, "cannot write standard output: %s", cli_text_errno(errno));
            cli_pipe_give_up(pipe, "its output failed");
            return;
        }
        pipe->outbox_first = (pipe->outbox_first + (size_t)written) % CLI_PIPE_OUTBOX_BYTES;
        pipe->outbox_used -= (size_t)written;
    }
}

/* The descriptor stays taken, so that nothing else gets its number. */
void cli_pipe_shut_output(struct cli_pipe *pipe)
{
    pipe->is_stdout_shut = true;
    if (close(STDOUT_FILENO) != 0) {
        cli_fail(CLI_FAILED, "cannot write standard output: %s", cli_text_errno(errno));
        cli_pipe_give_up(pipe, "its output failed");
    }
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0 && null != STDOUT_FILENO) {
        (void)dup2(null, STDOUT_FILENO);
        close(null);
    }
}

void cli_pipe_put(struct cli_pipe *pipe, struct weir_span data)
{
    if (data.length > CLI_PIPE_OUTBOX_BYTES - pipe->outbox_used) {
        cli_fail(CLI_FAILED, "the peer sends more than it was allowed to");
        cli_pipe_give_up(pipe, "more than allowed");
        return;
    }
    size_t start = (pipe->outbox_first + pipe->outbox_used) % CLI_PIPE_OUTBOX_BYTES;
    size_t front = CLI_PIPE_OUTBOX_BYTES - start;
    front = front < data.length ? front : data.length;
    memcpy(pipe->outbox + start, data.data, front);
    memcpy(pipe->outbox, data.data + front, data.length - front);
    pipe->outbox_used += data.length;
}

void cli_pipe_set_pause(struct cli_pipe *pipe)
{
    bool is_paused = pipe->outbox_used > (pipe->is_paused ? RESUME_BYTES : CLI_PIPE_PAUSE_BYTES);
    if (pipe->conn != NULL && is_paused != pipe->is_paused) {
        cli_link_pause(&pipe->link, pipe->conn, is_paused);
        pipe->is_paused = is_paused;
    }
}
