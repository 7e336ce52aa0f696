/* SPDX-License-Identifier: MIT */
/*
 * echo_kcp.c - an echo server and its client over KCP, with blocking calls as over TCP.
 *
 *   echo_kcp server 127.0.0.1:4434 [1]     answers one client after the other (1: only one)
 *   echo_kcp client 127.0.0.1:4434 text    sends text, prints the answer
 *
 * KCP does not tell the peer of a close, so the two agree on a word for it: the client sends its
 * text as one line, and the server is done with it after the line's end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/weir.h"

/* How long any one step may take. */
#define PATIENCE (10 * WEIR_SEC)

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        (void)fprintf(stderr, "echo_kcp: %s: %s\n", what, weir_status_text(status));
        _Exit(EXIT_FAILURE);
    }
}

/* Echoes until the end of a line has gone back. */
static enum weir_status echo_line(struct weir_kcp_stream *stream)
{
    char text[4096];
    size_t length = 0;
    size_t taken = 0;
    do {
        enum weir_status status =
            weir_kcp_stream_read_wait(stream, text, sizeof(text), PATIENCE, &length);
        if (status == WEIR_OK) {
            status = weir_kcp_stream_write_all(stream, text, length, PATIENCE, &taken);
        }
        if (status != WEIR_OK) {
            return status;
        }
    } while (memchr(text, '\n', length) == NULL);
    return WEIR_OK;
}

static void run_server(struct weir_kcp_net *net, bool is_once)
{
    struct weir_kcp_listener *listener = NULL;
    struct weir_kcp_stream *stream = NULL;
    must(weir_kcp_listen(net, NULL, NULL, &listener), "listen");
    for (;;) {
        must(weir_kcp_listener_accept_wait(listener, WEIR_NEVER, &stream), "accept");
        enum weir_status status = echo_line(stream);
        enum weir_status end = weir_kcp_stream_close(stream, PATIENCE);
        if (status != WEIR_OK || end != WEIR_OK) {
            (void)fprintf(stderr, "echo_kcp: a client: %s\n",
                          weir_status_text(status != WEIR_OK ? status : end));
        }
        if (is_once) {
            return;
        }
    }
}

static void run_client(struct weir_kcp_net *net, const struct weir_addr *server, const char *text)
{
    struct weir_kcp_stream *stream = NULL;
    size_t length = strlen(text);
    size_t taken = 0;
    char rest;
    char *answer = malloc(length + 1);
    if (answer == NULL) {
        must(WEIR_ERR_MEMORY, "client");
    }
    must(weir_kcp_stream_dial(net, server, weir_span_of(text, length), PATIENCE, &stream), "dial");
    must(weir_kcp_stream_write_all(stream, "\n", 1, PATIENCE, &taken), "write");
    must(weir_kcp_stream_read_all(stream, answer, length + 1, PATIENCE, &taken), "read");
    answer[length] = 0;
    (void)printf("%s\n", answer);
    free(answer);
    /* The server waits for our last acknowledgement. Should it be lost, the server sends again, and
     * for a moment we are still there to answer. */
    enum weir_status status = weir_kcp_stream_read_wait(stream, &rest, 1, WEIR_SEC / 4, &taken);
    if (status != WEIR_ERR_TIMEOUT) {
        must(status == WEIR_OK ? WEIR_ERR_MALFORMED : status, "end");
    }
    must(weir_kcp_stream_close(stream, PATIENCE), "close");
}

int main(int argc, char **argv)
{
    struct weir_kcp_net_config config;
    struct weir_kcp_net *net = NULL;
    struct weir_addr addr;
    bool is_server = argc >= 3 && strcmp(argv[1], "server") == 0;
    if (!is_server && !(argc == 4 && strcmp(argv[1], "client") == 0)) {
        (void)fprintf(stderr, "usage: echo_kcp server ADDR [1] | echo_kcp client ADDR TEXT\n");
        return 2;
    }
    must(weir_addr_parse(argv[2], &addr), argv[2]);
    weir_kcp_net_config_default(&config);
    config.kcp.is_accepting = is_server;
    must(weir_kcp_preset("fast", &config.kcp), "preset");
    if (is_server) {
        config.udp.bind = addr;
    }
    must(weir_kcp_net_open(&config, &net, NULL), "open");
    if (is_server) {
        run_server(net, argc > 3);
    } else {
        run_client(net, &addr, argv[3]);
    }
    weir_kcp_net_close(net);
    return EXIT_SUCCESS;
}
