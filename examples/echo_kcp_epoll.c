/* SPDX-License-Identifier: MIT */
/*
 * echo_kcp_epoll.c - KCP streams in an epoll loop of the program's own, beside other descriptors.
 *
 *   echo_kcp_epoll server 127.0.0.1:4434 [1]     answers all clients at once (1: until one ended)
 *   echo_kcp_epoll client 127.0.0.1:4434 <file   sends standard input, prints what comes back
 *
 * Here the second descriptor is a timer that reports once a second and, in the client, standard
 * input too: a file, a pipe or a terminal. Nothing blocks but epoll_wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    BUFFER_BYTES = 16384,
    END = 0x04, /* the client's word for the end, as KCP has none */
    TICKS_MAX = 60
};

/* One end of a stream: bytes on their way from a reader to a writer. */
struct echo {
    struct weir_kcp_stream *stream;
    char buffer[BUFFER_BYTES]; /* waits for the stream to become writable */
    size_t length, off;
    bool is_ending; /* END was read: what is in buffer is the last */
    struct program *program;
};

struct program {
    int epoll, timer;
    struct weir_kcp_net *net;
    bool is_client, is_once, is_over;
    bool is_input_over, is_input_polled, is_input_file; /* client */
    struct echo client;
    uint64_t bytes;
    unsigned ticks;
    int result;
};

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "echo_kcp_epoll: %s: %s\n", what, why);
    _Exit(EXIT_FAILURE);
}

static void die_os(const char *what)
{
    perror(what);
    _Exit(EXIT_FAILURE);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what, weir_status_text(status));
    }
}

static void on_closed(struct weir_kcp_stream *stream, void *user, enum weir_kcp_close_cause cause)
{
    struct echo *echo = user;
    struct program *program = echo->program;
    (void)fprintf(stderr, "echo_kcp_epoll: a stream ended, cause %d\n", (int)cause);
    (void)weir_kcp_stream_close(stream, 0);
    if (program->is_client || program->is_once) {
        program->is_over = true;
    }
    if (!program->is_client) {
        free(echo);
    }
}

/* --- server ----------------------------------------------------------------------------------- */

/* Writes what is in the buffer; true when it is empty again. */
static bool write_out(struct echo *echo)
{
    size_t taken = 0;
    if (echo->off < echo->length &&
        weir_kcp_stream_write(echo->stream, echo->buffer + echo->off, echo->length - echo->off,
                              &taken) == WEIR_OK) {
        echo->off += taken;
        echo->program->bytes += taken;
    }
    return echo->off == echo->length;
}

/* Reads only when all that was read before is written: a client that does not take its echo finds
 * its own sending stopped, and the server keeps one buffer. */
static void on_server_ready(struct weir_kcp_stream *stream, void *user)
{
    struct echo *echo = user;
    while (write_out(echo)) {
        if (echo->is_ending) {
            struct program *program = echo->program;
            (void)weir_kcp_stream_close(stream, 0); /* the net sends the rest by itself */
            program->is_over = program->is_once;
            free(echo);
            return;
        }
        echo->off = 0;
        if (weir_kcp_stream_read(stream, echo->buffer, sizeof(echo->buffer), &echo->length) !=
            WEIR_OK) {
            return; /* on_readable or on_closed comes */
        }
        echo->is_ending = memchr(echo->buffer, END, echo->length) != NULL;
    }
}

static void on_accept(struct weir_kcp_listener *listener, void *user)
{
    static const struct weir_kcp_stream_events events = {
        .on_readable = on_server_ready, .on_writable = on_server_ready, .on_closed = on_closed};
    struct weir_kcp_stream *stream = NULL;
    while (weir_kcp_listener_accept(listener, &stream) == WEIR_OK) {
        struct echo *echo = calloc(1, sizeof(*echo));
        if (echo == NULL) {
            weir_kcp_stream_abort(stream);
            return;
        }
        echo->stream = stream;
        echo->program = user;
        weir_kcp_stream_watch(stream, &events, echo);
    }
}

/* --- client ----------------------------------------------------------------------------------- */

static void on_client_readable(struct weir_kcp_stream *stream, void *user)
{
    const struct echo *echo = user;
    struct program *program = echo->program;
    char bytes[BUFFER_BYTES];
    size_t length = 0;
    while (weir_kcp_stream_read(stream, bytes, sizeof(bytes), &length) == WEIR_OK) {
        const char *end = memchr(bytes, END, length);
        size_t text = end != NULL ? (size_t)(end - bytes) : length;
        if (fwrite(bytes, 1, text, stdout) != text) {
            die_os("standard output");
        }
        if (end != NULL) {
            program->result = EXIT_SUCCESS;
            program->is_over = true;
            (void)weir_kcp_stream_close(stream, 0); /* the last ACKs leave yet */
            return;
        }
    }
}

/* Standard input is polled for only while the stream takes what it brings. */
static void poll_input(struct program *program, bool is_wanted)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    if (is_wanted == program->is_input_polled) {
        return;
    }
    program->is_input_polled = is_wanted;
    if (epoll_ctl(program->epoll, is_wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, STDIN_FILENO, &event) <
        0) {
        if (errno != EPERM) {
            die_os("epoll_ctl");
        }
        program->is_input_file = true; /* a file is always readable */
    }
}

static void on_client_writable(struct weir_kcp_stream *stream, void *user)
{
    struct echo *echo = user;
    (void)stream;
    poll_input(echo->program, write_out(echo) && !echo->program->is_input_over);
}

static void on_input(struct program *program)
{
    struct echo *echo = &program->client;
    ssize_t n = read(STDIN_FILENO, echo->buffer, sizeof(echo->buffer));
    if (n < 0) {
        die_os("standard input");
    }
    if (n == 0) {
        program->is_input_over = true;
        echo->buffer[0] = END;
    }
    echo->off = 0;
    echo->length = n > 0 ? (size_t)n : 1;
    poll_input(program, write_out(echo) && !program->is_input_over);
}

static void start_client(struct program *program, const struct weir_addr *server)
{
    static const struct weir_kcp_stream_events events = {.on_readable = on_client_readable,
                                                         .on_writable = on_client_writable,
                                                         .on_closed = on_closed};
    struct echo *echo = &program->client;
    echo->program = program;
    must(weir_kcp_stream_connect(program->net, server, 0, &echo->stream), "connect");
    weir_kcp_stream_watch(echo->stream, &events, echo);
    poll_input(program, true);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void on_tick(struct program *program)
{
    uint64_t times;
    if (read(program->timer, &times, sizeof(times)) != sizeof(times)) {
        return;
    }
    (void)fprintf(stderr, "echo_kcp_epoll: %llu bytes\n", (unsigned long long)program->bytes);
    if (++program->ticks == TICKS_MAX && (program->is_client || program->is_once)) {
        die("loop", weir_status_text(WEIR_ERR_TIMEOUT));
    }
}

static void watch(const struct program *program, int fd, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(program->epoll, operation, fd, &event) < 0) {
        die_os("epoll_ctl");
    }
}

/* One turn: wait for the descriptors until KCP wants its turn, then give everybody theirs. */
static void turn(struct program *program)
{
    struct epoll_event events[4];
    int net_fd = weir_kcp_net_fd(program->net);
    bool is_file_ready = program->is_input_file && program->is_input_polled;
    watch(program, net_fd, EPOLL_CTL_MOD,
          weir_kcp_net_is_blocked(program->net) ? EPOLLIN | EPOLLOUT : EPOLLIN);
    int count = epoll_wait(program->epoll, events, 4,
                           is_file_ready ? 0 : weir_kcp_net_poll_ms(program->net));
    if (count < 0 && errno != EINTR) {
        die_os("epoll_wait");
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == program->timer) {
            on_tick(program);
        } else if (events[i].data.fd == STDIN_FILENO) {
            on_input(program);
        }
    }
    if (is_file_ready) {
        on_input(program);
    }
    must(weir_kcp_net_run_once(program->net, 0), "run");
}

static void open_loop(struct program *program)
{
    struct itimerspec second = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
    program->epoll = epoll_create1(EPOLL_CLOEXEC);
    program->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (program->epoll < 0 || program->timer < 0 ||
        timerfd_settime(program->timer, 0, &second, NULL) < 0) {
        die_os("loop");
    }
    watch(program, program->timer, EPOLL_CTL_ADD, EPOLLIN);
    watch(program, weir_kcp_net_fd(program->net), EPOLL_CTL_ADD, EPOLLIN);
}

static void open_net(struct program *program, const struct weir_addr *addr)
{
    struct weir_kcp_net_config config;
    struct weir_kcp_listener *listener = NULL;
    weir_kcp_net_config_default(&config);
    config.kcp.is_accepting = !program->is_client;
    must(weir_kcp_preset("fast", &config.kcp), "preset");
    if (!program->is_client) {
        config.udp.bind = *addr;
    }
    must(weir_kcp_net_open(&config, &program->net, NULL), "open");
    if (!program->is_client) {
        must(weir_kcp_listen(program->net, on_accept, program, &listener), "listen");
    }
}

int main(int argc, char **argv)
{
    static struct program program;
    struct weir_addr addr;
    program.is_client = argc == 3 && strcmp(argv[1], "client") == 0;
    program.is_once = argc == 4;
    if (!program.is_client && !(argc >= 3 && strcmp(argv[1], "server") == 0)) {
        (void)fprintf(stderr, "usage: echo_kcp_epoll server ADDR [1] | client ADDR\n");
        return 2;
    }
    must(weir_addr_parse(argv[2], &addr), argv[2]);
    program.result = program.is_client ? EXIT_FAILURE : EXIT_SUCCESS;
    open_net(&program, &addr);
    open_loop(&program);
    if (program.is_client) {
        start_client(&program, &addr);
    }
    /* At the end the streams that were closed may still have something to send. */
    while (!program.is_over || weir_kcp_net_stats(program.net)->sessions > 0) {
        turn(&program);
    }
    weir_kcp_net_close(program.net);
    (void)close(program.timer);
    (void)close(program.epoll);
    return program.result;
}
