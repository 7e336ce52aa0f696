/* SPDX-License-Identifier: MIT */
/*
 * tunnel_probe.c - the TCP programs at both ends of a tunnel, with every byte checked.
 *
 *     tunnel_probe serve hash|echo|pour|stall:MS|cut:BYTES   prints its port; runs until a signal
 *     tunnel_probe ask PORT COUNT BYTES    so many connections at once: BYTES, the end, then the
 *                                          answer is the sum of the bytes
 *     tunnel_probe talk PORT COUNT BYTES   the same bytes come back, nobody ends first
 *     tunnel_probe gulp PORT COUNT BYTES   takes so many from each
 *
 * hash answers after the end of the question, pour sends without end, stall begins to read after
 * MS, cut resets after BYTES.
 * Exit codes of ask, talk and gulp: 0 all is right, 3 a connection was reset or ended early, 1 the
 * rest.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 65536,
    COUNT_MAX = 1024,
    RESULT_WRONG = 1,
    RESULT_CUT = 3
};

static struct {
    const char *mode;
    uint64_t value; /* of stall and cut */
    uint16_t port;
    uint64_t bytes;
    bool is_talk, is_gulp;
} options;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "tunnel_probe: %s, errno %d\n", what, errno);
    _Exit(RESULT_WRONG);
}

/* --- bytes ------------------------------------------------------------------------------------ */

struct stream {
    uint64_t state; /* of the generator of the bytes */
    uint64_t sum, count;
};

static void generate(struct stream *stream, uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        stream->state = stream->state * 6364136223846793005U + 1442695040888963407U;
        bytes[i] = (uint8_t)(stream->state >> 56);
    }
}

static void add(struct stream *stream, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        stream->sum = (stream->sum ^ bytes[i]) * 1099511628211U;
    }
    stream->count += length;
}

static bool put_all(int fd, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length > 0) {
        ssize_t put = send(fd, at, length, MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        at += put;
        length -= (size_t)put;
    }
    return true;
}

union address {
    struct sockaddr any;
    struct sockaddr_in in;
};

static union address loopback(uint16_t port)
{
    return (union address){.in = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
}

/* --- serve ------------------------------------------------------------------------------------ */

static void echo(int fd, uint8_t *bytes)
{
    ssize_t got;
    while ((got = recv(fd, bytes, CHUNK_BYTES, 0)) > 0 && put_all(fd, bytes, (size_t)got)) {
    }
}

static void pour(int fd, uint8_t *bytes)
{
    memset(bytes, 1, CHUNK_BYTES);
    while (put_all(fd, bytes, CHUNK_BYTES)) {
    }
}

static void answer(int fd, uint8_t *bytes)
{
    struct stream stream = {0};
    ssize_t got;
    while ((got = recv(fd, bytes, CHUNK_BYTES, 0)) > 0) {
        add(&stream, bytes, (size_t)got);
        if (strcmp(options.mode, "cut") == 0 && stream.count >= options.value) {
            struct linger linger = {.l_onoff = 1};
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
            return;
        }
    }
    if (got == 0) {
        (void)put_all(fd, &stream, sizeof(stream));
    }
}

static void *serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    uint8_t *bytes = malloc(CHUNK_BYTES);
    if (bytes == NULL) {
        die("no memory");
    }
    if (strcmp(options.mode, "stall") == 0) {
        struct timespec time = {.tv_sec = (time_t)(options.value / 1000),
                                .tv_nsec = (long)(options.value % 1000) * 1000000};
        (void)nanosleep(&time, NULL);
    }
    if (strcmp(options.mode, "echo") == 0) {
        echo(fd, bytes);
    } else if (strcmp(options.mode, "pour") == 0) {
        pour(fd, bytes);
    } else {
        answer(fd, bytes);
    }
    close(fd);
    free(bytes);
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    if (pthread_create(thread, NULL, run, argument) != 0) {
        die("no thread");
    }
}

static int serve(void)
{
    union address addr = loopback(0);
    socklen_t length = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, &addr.any, sizeof(addr)) != 0 ||
        listen(listener, COUNT_MAX) != 0 || getsockname(listener, &addr.any, &length) != 0) {
        die("cannot listen");
    }
    printf("%u\n", ntohs(addr.in.sin_port));
    (void)fflush(stdout);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            die("accept");
        }
        start_thread(&thread, serve_one,
                     (void *)(intptr_t)fd); /* NOLINT(performance-no-int-to-ptr) */
        (void)pthread_detach(thread);
    }
}

/* --- ask and talk ----------------------------------------------------------------------------- */

struct client {
    struct stream sent;
    uint64_t seed;
    int fd;
    int result;
    bool is_sent;
};

static int open_client(void)
{
    union address addr = loopback(options.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &addr.any, sizeof(addr)) != 0) {
        die("cannot connect");
    }
    return fd;
}

static void *send_question(void *argument)
{
    struct client *client = argument;
    uint8_t bytes[8192];
    client->is_sent = true;
    for (uint64_t left = options.bytes; left > 0 && client->is_sent;) {
        size_t length = left < sizeof(bytes) ? left : sizeof(bytes);
        generate(&client->sent, bytes, length);
        add(&client->sent, bytes, length);
        client->is_sent = put_all(client->fd, bytes, length);
        left -= length;
    }
    if (!options.is_talk) {
        (void)shutdown(client->fd, SHUT_WR);
    }
    return NULL;
}

/* The answer to ask: the sum of what was sent. */
static int read_sum(struct client *client)
{
    struct stream there;
    size_t used = 0;
    ssize_t got = 1;
    while (used < sizeof(there) && got > 0) {
        got = recv(client->fd, (uint8_t *)&there + used, sizeof(there) - used, 0);
        used += got > 0 ? (size_t)got : 0;
    }
    if (got <= 0) {
        return RESULT_CUT;
    }
    uint8_t more;
    bool is_equal = there.sum == client->sent.sum && there.count == options.bytes;
    return is_equal && recv(client->fd, &more, 1, 0) == 0 ? 0 : RESULT_WRONG;
}

static int read_echo(struct client *client)
{
    struct stream expected = {.state = client->seed};
    uint8_t bytes[8192];
    uint8_t wanted[8192];
    for (uint64_t left = options.bytes; left > 0;) {
        ssize_t got = recv(client->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);
        if (got <= 0) {
            return RESULT_CUT;
        }
        generate(&expected, wanted, (size_t)got);
        if (memcmp(bytes, wanted, (size_t)got) != 0) {
            return RESULT_WRONG;
        }
        left -= (size_t)got;
    }
    return 0;
}

static int read_gulp(struct client *client)
{
    uint8_t bytes[8192];
    ssize_t got = 0;
    for (uint64_t left = options.bytes; left > 0; left -= (uint64_t)got) {
        got = recv(client->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);
        if (got <= 0) {
            return RESULT_CUT;
        }
    }
    return 0;
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    pthread_t sender;
    client->fd = open_client();
    client->sent.state = client->seed;
    if (options.is_gulp) {
        client->result = read_gulp(client);
    } else if (options.is_talk) {
        start_thread(&sender, send_question, client);
        client->result = read_echo(client);
        if (client->result != 0) {
            (void)shutdown(client->fd, SHUT_RDWR);
        }
        (void)pthread_join(sender, NULL);
    } else {
        (void)send_question(client);
        client->result = read_sum(client);
    }
    close(client->fd);
    return NULL;
}

static int run_clients(uint64_t count)
{
    static struct client clients[COUNT_MAX];
    static pthread_t threads[COUNT_MAX];
    int result = 0;
    for (uint64_t i = 0; i < count; i++) {
        clients[i].seed = i + 1;
        start_thread(&threads[i], run_client, &clients[i]);
    }
    for (uint64_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i], NULL);
        result = result == RESULT_WRONG || clients[i].result == 0 ? result : clients[i].result;
    }
    return result;
}

static uint64_t read_number(const char *text)
{
    char *end = NULL;
    uint64_t number = strtoull(text, &end, 10);
    if (end == text || *end != 0) {
        die("not a number");
    }
    return number;
}

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        char *colon = strchr(argv[2], ':');
        if (colon != NULL) {
            *colon = 0;
            options.value = read_number(colon + 1);
        }
        options.mode = argv[2];
        return serve();
    }
    if (argc != 5) {
        die("usage: serve MODE, ask|talk|gulp PORT COUNT BYTES");
    }
    options.is_gulp = strcmp(argv[1], "gulp") == 0;
    options.is_talk = strcmp(argv[1], "talk") == 0;
    options.port = (uint16_t)read_number(argv[2]);
    options.bytes = read_number(argv[4]);
    uint64_t count = read_number(argv[3]);
    return count <= COUNT_MAX ? run_clients(count) : RESULT_WRONG;
}
