/* SPDX-License-Identifier: MIT */
/*
 * test_serve.c - the HTTP server on TCP over a simulated link: answers, pipelining, slots, uploads
 * and timeouts, and that an idle connection holds nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "cli/serve.h"
#include "tcp_pair.h"

enum {
    BIG_BYTES = 3000000,
    RECEIVED_MAX = 16 << 20,
    CLIENTS_MAX = 12
};

static struct world {
    struct tcp_pair pair;
    struct tcp_pair_options options;
    struct cli_serve_config config;
    struct cli_serve *serve;
    char dir[64];
    uint8_t *received; /* of all clients */
    size_t received_bytes;
    unsigned peer_closed, closed, reset;
} world;

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 2654435761U >> 24);
}

/* --- the directory ---------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", world.dir, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t length)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
    assert_int_equal(close(fd), 0);
}

static void write_big(void)
{
    uint8_t *bytes = malloc(BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES; i++) {
        bytes[i] = byte_at(i);
    }
    write_file("big", bytes, BIG_BYTES);
    free(bytes);
}

static void remove_all(const char *path)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe)
}

static unsigned count_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir(world.dir);
    assert_non_null(dir);
    while (readdir(dir) != NULL) { // NOLINT(concurrency-mt-unsafe)
        count++;
    }
    (void)closedir(dir);
    return count - 2;
}

/* --- the world -------------------------------------------------------------------------------- */

static void on_event(struct tcp_pair *pair, struct tcp_host *host, struct weir_tcp_event *event)
{
    if (host == &pair->hosts[1]) {
        cli_serve_on_event(world.serve, pair->now, event);
        return;
    }
    if (event->type == WEIR_TCP_EVENT_DATA) {
        const struct weir_span span = event->data.span;
        assert_true(world.received_bytes + span.length < RECEIVED_MAX);
        memcpy(world.received + world.received_bytes, span.data, span.length);
        world.received_bytes += span.length;
        world.received[world.received_bytes] = '\0';
    }
    world.peer_closed += event->type == WEIR_TCP_EVENT_PEER_CLOSED;
    world.closed += event->type == WEIR_TCP_EVENT_CLOSED;
    world.reset +=
        event->type == WEIR_TCP_EVENT_CLOSED && event->closed.cause == WEIR_TCP_CAUSE_RESET;
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    (void)snprintf(world.dir, sizeof(world.dir), "/tmp/weir-serve-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.received = malloc(RECEIVED_MAX);
    world.received[0] = '\0';
    write_file("a.txt", "hello world\n", 12);
    assert_int_equal(mkdir(path_of("sub"), 0755), 0);
    write_file("sub/index.html", "<p>hi", 5);
    write_file(".hidden", "secret", 6);
    tcp_pair_options_default(&world.options);
    cli_serve_config_default(&world.config);
    return 0;
}

static void open_world(void)
{
    tcp_pair_open(&world.pair, &world.options, on_event, NULL);
    world.config.tcp = world.pair.hosts[1].tcp;
    world.config.slide = world.pair.hosts[1].base.slide;
    world.config.root_fd = open(world.dir, O_RDONLY | O_DIRECTORY);
    world.serve = cli_serve_open(&world.config, world.pair.now);
    assert_non_null(world.serve);
    tcp_pair_connect(&world.pair);
}

static int tear_down(void **state)
{
    (void)state;
    cli_serve_close(world.serve);
    tcp_pair_close(&world.pair);
    assert_int_equal(close(world.config.root_fd), 0);
    remove_all(world.dir);
    free(world.received);
    return 0;
}

static void run(weir_nsec length)
{
    const weir_nsec until = world.pair.now + length;
    while (world.pair.now < until) {
        weir_nsec next = cli_serve_next_tick(world.serve);
        tcp_pair_run(&world.pair, next < until && next > world.pair.now ? next : until);
        cli_serve_tick(world.serve, world.pair.now);
    }
    tcp_pair_settle(&world.pair);
}

static void say(const char *text)
{
    struct tcp_host *host = &world.pair.hosts[0];
    assert_int_equal(weir_tcp_send(host->tcp, host->conn, text, strlen(text)), WEIR_OK);
}

static void forget(void)
{
    world.received_bytes = 0;
    world.received[0] = '\0';
}

/* The answer to text, after two seconds. */
static const char *ask(const char *text)
{
    forget();
    say(text);
    run(2 * WEIR_SEC);
    return (const char *)world.received;
}

static void assert_starts(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0) {
        fail_msg("\"%.60s\" does not begin with \"%s\"", text, start);
    }
}

static void assert_ends(const char *text, const char *end)
{
    assert_true(strlen(text) >= strlen(end));
    assert_string_equal(text + strlen(text) - strlen(end), end);
}

static void assert_idle(void)
{
    assert_int_equal(cli_serve_stats(world.serve)->slots, 0);
}

static unsigned count_of(const char *word)
{
    unsigned count = 0;
    const char *at = (const char *)world.received;
    while ((at = strstr(at, word)) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void test_answers_on_one_connection(void **state)
{
    (void)state;
    open_world();
    const char *answer = ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_starts(answer, "HTTP/1.1 200 OK\r\n");
    assert_non_null(strstr(answer, "\r\nContent-Length: 12\r\n"));
    assert_non_null(strstr(answer, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_ends(answer, "\r\n\r\nhello world\n");
    assert_idle();
    answer = ask("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(answer, "\r\nContent-Length: 12\r\n"));
    assert_ends(answer, "\r\n\r\n");
    assert_ends(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=6-10\r\n\r\n"),
                "\r\n\r\nworld");
    assert_starts(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=12-\r\n\r\n"),
                  "HTTP/1.1 416");
    assert_starts(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n"),
                  "HTTP/1.1 304");
    assert_starts(ask("GET /sub?x HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 301");
    assert_non_null(strstr((const char *)world.received, "\r\nLocation: /sub/?x\r\n"));
    assert_ends(ask("GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n"), "\r\n\r\n<p>hi");
    assert_non_null(strstr((const char *)world.received, "\r\nContent-Type: text/html"));
    assert_starts(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("GET /.hidden HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("GET /a.txt/ HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("PUT /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 405");
    assert_non_null(strstr((const char *)world.received, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    assert_starts(ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 204");
    assert_int_equal(world.peer_closed, 0);
    assert_idle();
    assert_int_equal(cli_serve_stats(world.serve)->connections, 1);
}

static void test_links_are_not_followed(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc", path_of("etc")), 0);
    assert_int_equal(symlink("a.txt", path_of("link")), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0644), 0);
    open_world();
    assert_starts(ask("GET /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("GET /link HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
    assert_starts(ask("GET /pipe HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404");
}

static void test_closing(void **state)
{
    (void)state;
    open_world();
    assert_ends(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
                "hello world\n");
    assert_non_null(strstr((const char *)world.received, "\r\nConnection: close\r\n"));
    assert_int_equal(world.peer_closed, 1);
    run(10 * WEIR_SEC);
    assert_idle();
    /* What comes afterwards gets a reset. */
    forget();
    say("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    run(2 * WEIR_SEC);
    assert_int_equal(world.received_bytes, 0);
    assert_int_equal(world.reset, 1);
    /* HTTP/1.0 */
    tcp_pair_connect(&world.pair);
    assert_ends(ask("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "hello world\n");
    assert_non_null(strstr((const char *)world.received, "\r\nConnection: keep-alive\r\n"));
    assert_ends(ask("GET /a.txt HTTP/1.0\r\n\r\n"), "hello world\n");
    assert_int_equal(world.peer_closed, 2);
}

static void test_client_closes(void **state)
{
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    open_world();
    run(WEIR_SEC);
    say("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /a");
    assert_int_equal(weir_tcp_close(client->tcp, client->conn), WEIR_OK);
    run(2 * WEIR_SEC);
    assert_ends((const char *)world.received, "hello world\n");
    assert_int_equal(world.closed, 1);
    assert_int_equal(world.reset, 0);
    assert_idle();
}

static void test_refused_heads(void **state)
{
    static const struct {
        const char *start;
        const char *fill;
        int status;
    } cases[] = {
        {"GET /", "a", 414},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "X: y\r\n", 431},
        {"", "GET\r\n\r\n", 400},
        {"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", "", 501},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "", 505},
    };

    static char text[9000];
    (void)state;
    open_world();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t used = (size_t)snprintf(text, sizeof(text), "%s", cases[i].start);
        while (cases[i].fill[0] != '\0' && used + strlen(cases[i].fill) < sizeof(text)) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", cases[i].fill);
        }
        char want[16];
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %d", cases[i].status);
        assert_starts(ask(text), want);
        assert_int_equal(count_of("HTTP/1.1 "), 1);
        assert_int_equal(world.peer_closed, i + 1);
        tcp_pair_connect(&world.pair);
    }
}

static void test_head_in_pieces(void **state)
{
    static const char text[] = "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    open_world();
    for (size_t i = 0; i < strlen(text); i++) {
        assert_int_equal(world.received_bytes, 0);
        assert_int_equal(weir_tcp_send(client->tcp, client->conn, text + i, 1), WEIR_OK);
        run(200 * WEIR_MSEC);
    }
    assert_ends((const char *)world.received, "hello world\n");
    assert_idle();
}

/* --- pipelining ------------------------------------------------------------------------------- */

static void test_pipelining(void **state)
{
    static char text[64 * 40];
    size_t used = 0;
    (void)state;
    open_world();
    for (int i = 0; i < 64; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    (void)ask(text);
    assert_int_equal(count_of("HTTP/1.1 200"), 64);
    assert_int_equal(count_of("hello world\n"), 64);
    assert_idle();
}

/* Big answers and small ones in turn: input has to wait, in order. */
static void test_pipelining_big(void **state)
{
    (void)state;
    write_big();
    world.options.tcp.tuning.send_queue_max = 200000;
    open_world();
    forget();
    say("GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"
        "GET /big HTTP/1.1\r\nHost: a\r\nRange: bytes=10-\r\n\r\nGET /a.txt HTTP/1.1\r\nHo");
    run(20 * WEIR_SEC);
    say("st: a\r\n\r\n");
    run(20 * WEIR_SEC);
    const uint8_t *at = memmem(world.received, world.received_bytes, "\r\n\r\n", 4);
    assert_non_null(at);
    at += 4;
    for (size_t i = 0; i < BIG_BYTES; i++) {
        assert_int_equal(at[i], byte_at(i));
    }
    at += BIG_BYTES;
    assert_starts((const char *)at, "HTTP/1.1 200 OK");
    at = memmem(at, world.received_bytes - (size_t)(at - world.received), "hello world\n", 12);
    assert_non_null(at);
    assert_starts((const char *)at, "hello world\nHTTP/1.1 206 Partial Content");
    at = memmem(at, 2000, "\r\n\r\n", 4);
    assert_non_null(at);
    assert_memory_equal(at + 4 + BIG_BYTES - 10, "HTTP/1.1 200 OK", 15);
    assert_ends((const char *)at + 4 + BIG_BYTES - 10, "hello world\n");
    assert_idle();
    assert_int_equal(cli_serve_stats(world.serve)->sent_bytes, 2 * BIG_BYTES - 10 + 24);
}

/* --- idle connections ------------------------------------------------------------------------- */

/* After its answer a connection keeps nothing, here or in the engine, but its record. */
static void test_idle_holds_nothing(void **state)
{
    enum {
        CONNECTIONS = 3000
    };

    struct tcp_host *client = &world.pair.hosts[0];
    struct weir_tcp_conn *conns[CONNECTIONS];
    (void)state;
    world.options.tcp.connections_max = CONNECTIONS + 1;
    world.config.requests_max = 16;
    open_world();
    for (int i = 0; i < CONNECTIONS; i++) {
        tcp_pair_connect(&world.pair);
        conns[i] = client->conn;
        if (i % 10 == 9) {
            run(50 * WEIR_MSEC);
            for (int k = i - 9; k <= i; k++) {
                static const char text[] = "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
                assert_int_equal(weir_tcp_send(client->tcp, conns[k], text, sizeof(text) - 1),
                                 WEIR_OK);
            }
        }
    }
    run(5 * WEIR_SEC);
    assert_int_equal(count_of("hello world\n"), CONNECTIONS);
    const struct weir_tcp_stats *stats = weir_tcp_stats(world.pair.hosts[1].tcp);
    assert_int_equal(stats->connections, CONNECTIONS + 1);
    assert_int_equal(stats->awake, 0);
    assert_idle();
    assert_int_equal(cli_serve_stats(world.serve)->busy, 0);
    assert_int_equal(cli_serve_next_tick(world.serve), WEIR_NEVER);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void test_slots_run_out(void **state)
{
    struct tcp_host *client = &world.pair.hosts[0];
    struct weir_tcp_conn *conns[3];
    (void)state;
    world.config.requests_max = 2;
    open_world();
    for (int i = 0; i < 3; i++) {
        conns[i] = client->conn;
        say("GET /a.txt HT");
        run(WEIR_SEC);
        tcp_pair_connect(&world.pair);
    }
    assert_starts((const char *)world.received, "HTTP/1.1 503");
    assert_int_equal(cli_serve_stats(world.serve)->busy, 1);
    forget();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weir_tcp_send(client->tcp, conns[i], "TP/1.1\r\nHost: a\r\n\r\n", 19),
                         WEIR_OK);
    }
    run(WEIR_SEC);
    assert_int_equal(count_of("hello world\n"), 2);
    assert_idle();
}

/* Many answers share little memory, one of them to a client that takes nothing. */
static void test_chunks_run_out(void **state)
{
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    write_big();
    world.config.memory_bytes = 1 << 20;
    world.options.tcp.receive_window = 100000;
    open_world();
    run(WEIR_SEC);
    assert_int_equal(weir_tcp_pause(client->tcp, client->conn, true), WEIR_OK);
    say("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    run(WEIR_SEC);
    for (int i = 1; i < 4; i++) {
        tcp_pair_connect(&world.pair);
        say("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    run(40 * WEIR_SEC);
    assert_int_equal(cli_serve_stats(world.serve)->sent_bytes, 3 * BIG_BYTES);
    assert_int_equal(cli_serve_stats(world.serve)->slots, 1);
    /* The one that takes nothing is given up. */
    run(60 * WEIR_SEC);
    assert_idle();
    assert_int_equal(cli_serve_stats(world.serve)->timeouts, 1);
}

static void test_file_cut_short(void **state)
{
    (void)state;
    write_big();
    world.options.tcp.tuning.send_queue_max = 200000;
    world.options.link.rate = 10000000;
    open_world();
    say("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    run(500 * WEIR_MSEC);
    assert_true(world.received_bytes > 1000 && world.received_bytes < BIG_BYTES);
    assert_int_equal(truncate(path_of("big"), 1000), 0);
    run(5 * WEIR_SEC);
    assert_int_equal(cli_serve_stats(world.serve)->truncated, 1);
    assert_int_equal(world.reset, 1); /* RFC 9112 8: not to be taken for complete */
    assert_idle();
}

static void test_timeouts(void **state)
{
    (void)state;
    world.config.idle_timeout = 100 * WEIR_SEC;
    open_world();
    say("GET /a.txt HTTP/1.1\r\n");
    run(29 * WEIR_SEC);
    say("Host: ");
    run(3 * WEIR_SEC);
    assert_starts((const char *)world.received, "HTTP/1.1 408");
    assert_int_equal(world.peer_closed, 1);
    run(10 * WEIR_SEC);
    assert_idle();
    tcp_pair_connect(&world.pair);
    run(90 * WEIR_SEC);
    assert_ends(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), "hello world\n");
    run(90 * WEIR_SEC);
    assert_int_equal(world.peer_closed, 1);
    run(60 * WEIR_SEC);
    assert_int_equal(world.peer_closed, 2);
}

static void test_stop(void **state)
{
    (void)state;
    open_world();
    run(WEIR_SEC);
    cli_serve_stop(world.serve);
    assert_ends(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), "hello world\n");
    assert_non_null(strstr((const char *)world.received, "\r\nConnection: close\r\n"));
    assert_int_equal(world.peer_closed, 1);
}

/* --- uploads ---------------------------------------------------------------------------------- */

static void assert_file(const char *name, const char *want)
{
    char bytes[64] = "";
    int fd = open(path_of(name), O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, bytes, sizeof(bytes) - 1);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(bytes, want, strlen(want));
    assert_int_equal(close(fd), 0);
}

static void test_upload(void **state)
{
    (void)state;
    world.config.is_upload = true;
    world.config.upload_bytes_max = 1000;
    open_world();
    assert_starts(ask("PUT /new HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
                  "HTTP/1.1 201");
    assert_file("new", "hello");
    /* Chunked, with the next request behind it. */
    (void)ask("PUT /new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
              "2\r\nde\r\n0\r\n\r\nGET /new HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_starts((const char *)world.received, "HTTP/1.1 204");
    assert_ends((const char *)world.received, "\r\n\r\nabcde");
    assert_starts(ask("PUT /empty HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
                  "HTTP/1.1 201");
    assert_file("empty", "");
    /* RFC 9110 10.1.1 */
    assert_string_equal(ask("PUT /sub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                            "Expect: 100-continue\r\n\r\n"),
                        "HTTP/1.1 100 Continue\r\n\r\n");
    assert_starts(ask("ok"), "HTTP/1.1 201");
    assert_file("sub/x", "ok");
    assert_idle();
    assert_int_equal(world.peer_closed, 0);
    assert_int_equal(cli_serve_stats(world.serve)->uploads, 4);
}

static void test_refused_uploads(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"PUT /sub HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno", 409},
        {"PUT /sub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno", 409},
        {"PUT /none/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno", 409},
        {"PUT /.x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno", 404},
        {"PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nIf-None-Match: *\r\n\r\nno", 412},
        {"PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Range: bytes 0-1/5\r\n\r\n"
         "no",
         400},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\nno",
         415},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n", 413},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n"
         "6\r\nabcdef\r\n0\r\n\r\n",
         413},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
    };

    (void)state;
    world.config.is_upload = true;
    world.config.upload_bytes_max = 10;
    open_world();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[16];
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %d", cases[i].status);
        assert_starts(ask(cases[i].text), want);
        assert_int_equal(count_of("HTTP/1.1 "), 1);
        assert_int_equal(world.peer_closed, i + 1);
        tcp_pair_connect(&world.pair);
    }
    assert_file("a.txt", "hello world\n");
    assert_int_equal(count_files(), 3);
}

/* Nothing of half an upload stays, whatever ended it. */
static void test_broken_uploads(void **state)
{
    static const char text[] = "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nhalf";
    struct tcp_host *client = &world.pair.hosts[0];
    (void)state;
    world.config.is_upload = true;
    open_world();
    say(text);
    run(WEIR_SEC);
    assert_int_equal(count_files(), 4);
    assert_int_equal(weir_tcp_close(client->tcp, client->conn), WEIR_OK);
    run(2 * WEIR_SEC);
    assert_int_equal(count_files(), 3);
    tcp_pair_connect(&world.pair);
    say(text);
    run(WEIR_SEC);
    assert_int_equal(weir_tcp_abort(client->tcp, client->conn), WEIR_OK);
    run(2 * WEIR_SEC);
    assert_int_equal(count_files(), 3);
    tcp_pair_connect(&world.pair);
    say(text);
    run(70 * WEIR_SEC);
    assert_int_equal(count_files(), 3);
    assert_file("a.txt", "hello world\n");
    assert_int_equal(cli_serve_stats(world.serve)->aborted, 3);
    assert_idle();
}

/* Files of a server of the same number that was killed are in nobody's way. */
static void test_leftover_parts(void **state)
{
    char name[64];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), ".weir-%ld-%u.part", (long)getpid(), i);
        write_file(name, "left", 4);
    }
    world.config.is_upload = true;
    open_world();
    assert_starts(ask("PUT /new HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"),
                  "HTTP/1.1 201");
    assert_file("new", "ok");
}

/* RFC 9110 13.1.1: conditions hold when the upload is complete, too. */
static void test_overtaken_uploads(void **state)
{
    static const char *const conditions[] = {"If-None-Match: *", "If-Match: *"};
    (void)state;
    world.config.is_upload = true;
    open_world();
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        (void)snprintf(text, sizeof(text),
                       "PUT /lock HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n%s\r\n\r\nmi",
                       conditions[i]);
        assert_string_equal(ask(text), "");
        /* Of another length each time: clocks of file systems are coarse. */
        write_file("lock", "yours", 4 + i);
        assert_starts(ask("ne"), "HTTP/1.1 412");
        assert_file("lock", i == 0 ? "your" : "yours");
        tcp_pair_connect(&world.pair);
    }
    assert_starts(
        ask("PUT /lock HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nIf-Match: *\r\n\r\nok"),
        "HTTP/1.1 204");
    assert_file("lock", "ok");
}

static void test_log(void **state)
{
    char text[4096] = "";
    (void)state;
    world.config.log_fd = open(path_of("log"), O_RDWR | O_CREAT | O_APPEND, 0644);
    assert_true(world.config.log_fd >= 0);
    open_world();
    (void)ask("GET /a.txt?\"\\x HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)ask("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_serve_flush_log(world.serve);
    assert_int_equal(cli_serve_log_error(world.serve), 0);
    assert_true(pread(world.config.log_fd, text, sizeof(text) - 1, 0) > 0);
    assert_starts(text, "10.0.0.1 - - [");
    assert_non_null(strstr(text, "] \"GET /a.txt?\\x22\\x5cx HTTP/1.1\" 200 12\n10.0.0.1 - - ["));
    assert_ends(text, "\"GET /b HTTP/1.1\" 404 0\n");
    assert_int_equal(close(world.config.log_fd), 0);
}

/* What cannot be written is told, and answers go on. */
static void test_full_log(void **state)
{
    (void)state;
    world.config.log_fd = open("/dev/full", O_WRONLY);
    assert_true(world.config.log_fd >= 0);
    open_world();
    for (int i = 0; i < 100; i++) { /* more lines than are gathered */
        world.received_bytes = 0;
        assert_starts(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 200");
    }
    assert_int_equal(cli_serve_log_error(world.serve), ENOSPC);
    assert_int_equal(close(world.config.log_fd), 0);
}

/* An upload waits while another shard renames a file of that name. */
static void test_claims(void **state)
{
    static const char put[] = "PUT /claimed HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
    static const struct weir_hash_key key;
    static struct cli_serve_claims claims;
    char place[23];
    struct stat stat_of_dir;
    (void)state;
    assert_int_equal(stat(world.dir, &stat_of_dir), 0);
    const uint64_t numbers[2] = {stat_of_dir.st_dev, stat_of_dir.st_ino};
    memcpy(place, numbers, sizeof(numbers));
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): it is no string */
    memcpy(place + sizeof(numbers), "claimed", 7);
    memset(&claims, 0, sizeof(claims));
    claims.words[7] = weir_hash13(&key, place, sizeof(place)) | 1;
    world.config.is_upload = true;
    world.config.shard = 3;
    world.config.claims = &claims;
    open_world();
    assert_string_equal(ask(put), "");
    assert_int_equal(access(path_of("claimed"), F_OK), -1);
    assert_int_equal(claims.words[3], 0);
    claims.words[7] = 0;
    assert_starts(ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 201");
    assert_ends((const char *)world.received, "hello world\n"); /* what came meanwhile */
    assert_file("claimed", "ok");
    assert_int_equal(claims.words[3], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_answers_on_one_connection),
        TEST(test_links_are_not_followed),
        TEST(test_closing),
        TEST(test_client_closes),
        TEST(test_refused_heads),
        TEST(test_head_in_pieces),
        TEST(test_pipelining),
        TEST(test_pipelining_big),
        TEST(test_idle_holds_nothing),
        TEST(test_slots_run_out),
        TEST(test_chunks_run_out),
        TEST(test_file_cut_short),
        TEST(test_timeouts),
        TEST(test_stop),
        TEST(test_upload),
        TEST(test_refused_uploads),
        TEST(test_broken_uploads),
        TEST(test_leftover_parts),
        TEST(test_overtaken_uploads),
        TEST(test_log),
        TEST(test_full_log),
        TEST(test_claims),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
