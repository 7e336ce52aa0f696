/* SPDX-License-Identifier: MIT */
/*
 * udp_probe.c - a small UDP echo server and client for tests of what stands between them.
 *
 *   udp_probe server
 *       prints the port it chose on 127.0.0.1 and echoes until standard input ends.
 *   udp_probe client PORT COUNT BYTES PER_MS CLIENTS
 *       sends COUNT datagrams to 127.0.0.1:PORT, PER_MS each millisecond, from CLIENTS sockets in
 *       turn; waits for echoes until all are there or none came for half a second; prints one line:
 *       sent N received N repeated N mixed N damaged N overtaken N rtt_min_us N rtt_median_us N
 *       mixed: an echo of another socket's datagram; overtaken: older than one that came before.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BYTES_MAX = 2048,
    CLIENTS_MAX = 64,
    BUFFER_BYTES = 4 << 20
};

static const uint64_t silence_ns = 500000000;

union name {
    struct sockaddr any;
    struct sockaddr_in in;
};

struct header {
    uint32_t client;
    uint32_t number;
    uint64_t sent_at;
};

struct probe {
    uint32_t count, bytes, per_ms, clients;
    int fds[CLIENTS_MAX];
    uint32_t highest[CLIENTS_MAX];
    uint8_t *seen;
    uint64_t *rtts;
    uint64_t sent, received, repeated, mixed, damaged, overtaken;
    uint64_t last_at;
};

static uint64_t now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    _exit(1);
}

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    int bytes = BUFFER_BYTES;
    if (fd < 0) {
        die("socket");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    return fd;
}

/* --- server ----------------------------------------------------------------------------------- */

static void echo_all(int fd)
{
    static uint8_t data[65536];
    union name from;
    for (;;) {
        socklen_t length = sizeof(from);
        ssize_t got = recvfrom(fd, data, sizeof(data), 0, &from.any, &length);
        if (got < 0) {
            return;
        }
        (void)sendto(fd, data, (size_t)got, 0, &from.any, length);
    }
}

static int serve(void)
{
    union name name = {.in = {.sin_family = AF_INET}};
    socklen_t length = sizeof(name);
    int fd = open_socket();
    name.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, &name.any, sizeof(name)) != 0 || getsockname(fd, &name.any, &length) != 0) {
        die("bind");
    }
    printf("%u\n", (unsigned)ntohs(name.in.sin_port));
    (void)fflush(stdout);
    struct pollfd set[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(set, 2, -1) > 0 && set[1].revents == 0) {
        echo_all(fd);
    }
    (void)close(fd);
    return 0;
}

/* --- client ----------------------------------------------------------------------------------- */

/* Bytes behind the header follow from it, so that damage anywhere shows. */
static void fill_datagram(uint8_t *data, uint32_t bytes, const struct header *header)
{
    memcpy(data, header, sizeof(*header));
    for (uint32_t i = sizeof(*header); i < bytes; i++) {
        data[i] = (uint8_t)(header->number * 31 + header->client * 7 + i);
    }
}

static void count_echo(struct probe *probe, uint32_t client, const uint8_t *data, size_t length)
{
    uint8_t wanted[BYTES_MAX];
    struct header header;
    uint64_t now = now_ns();
    probe->last_at = now;
    if (length != probe->bytes) {
        probe->damaged++;
        return;
    }
    memcpy(&header, data, sizeof(header));
    fill_datagram(wanted, probe->bytes, &header);
    if (header.number >= probe->count || header.client >= probe->clients || header.sent_at > now ||
        memcmp(wanted, data, length) != 0) {
        probe->damaged++;
    } else if (header.client != client || header.number % probe->clients != client) {
        probe->mixed++;
    } else if (probe->seen[header.number]) {
        probe->repeated++;
    } else {
        probe->seen[header.number] = 1;
        probe->rtts[probe->received++] = now - header.sent_at;
        probe->overtaken += header.number < probe->highest[client];
        probe->highest[client] =
            header.number > probe->highest[client] ? header.number : probe->highest[client];
    }
}

static void receive_all(struct probe *probe)
{
    uint8_t data[BYTES_MAX + 1];
    for (uint32_t i = 0; i < probe->clients; i++) {
        ssize_t got;
        while ((got = recv(probe->fds[i], data, sizeof(data), 0)) >= 0) {
            count_echo(probe, i, data, (size_t)got);
        }
    }
}

static void send_one(struct probe *probe, uint32_t number)
{
    uint8_t data[BYTES_MAX];
    uint32_t client = number % probe->clients;
    struct header header = {.client = client, .number = number, .sent_at = now_ns()};
    fill_datagram(data, probe->bytes, &header);
    if (send(probe->fds[client], data, probe->bytes, 0) == (ssize_t)probe->bytes) {
        probe->sent++;
    }
}

static void open_clients(struct probe *probe, uint16_t port)
{
    union name name = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
    name.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (uint32_t i = 0; i < probe->clients; i++) {
        probe->fds[i] = open_socket();
        if (connect(probe->fds[i], &name.any, sizeof(name)) != 0) {
            die("connect");
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

static void exchange(struct probe *probe)
{
    uint64_t start = now_ns();
    uint32_t number = 0;
    while (number < probe->count) {
        uint64_t due = (now_ns() - start) / 1000000 * probe->per_ms + probe->per_ms;
        for (; number < probe->count && number < due; number++) {
            send_one(probe, number);
        }
        receive_all(probe);
        (void)poll(NULL, 0, 1);
    }
    probe->last_at = now_ns();
    while (probe->received < probe->count && now_ns() - probe->last_at < silence_ns) {
        (void)poll(NULL, 0, 1);
        receive_all(probe);
    }
    /* Second copies may still be on their way. */
    (void)poll(NULL, 0, 20);
    receive_all(probe);
}

static int measure(struct probe *probe, uint16_t port)
{
    probe->seen = calloc(probe->count, sizeof(probe->seen[0]));
    probe->rtts = calloc(probe->count, sizeof(probe->rtts[0]));
    if (probe->seen == NULL || probe->rtts == NULL) {
        die("memory");
    }
    open_clients(probe, port);
    exchange(probe);
    qsort(probe->rtts, probe->received, sizeof(probe->rtts[0]), compare_u64);
    printf("sent %llu received %llu repeated %llu mixed %llu damaged %llu overtaken %llu "
           "rtt_min_us %llu rtt_median_us %llu\n",
           (unsigned long long)probe->sent, (unsigned long long)probe->received,
           (unsigned long long)probe->repeated, (unsigned long long)probe->mixed,
           (unsigned long long)probe->damaged, (unsigned long long)probe->overtaken,
           (unsigned long long)probe->rtts[0] / 1000,
           (unsigned long long)probe->rtts[probe->received / 2] / 1000);
    free(probe->seen);
    free(probe->rtts);
    return 0;
}

static uint32_t read_number(const char *text, uint32_t low, uint32_t high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != 0 || value < low || value > high) {
        (void)fprintf(stderr, "udp_probe: '%s' is not in %u to %u\n", text, low, high);
        _exit(2);
    }
    return (uint32_t)value;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "server") == 0) {
        return serve();
    }
    if (argc != 7 || strcmp(argv[1], "client") != 0) {
        (void)fputs("usage: udp_probe server | client PORT COUNT BYTES PER_MS CLIENTS\n", stderr);
        return 2;
    }
    static struct probe probe;
    uint16_t port = (uint16_t)read_number(argv[2], 1, UINT16_MAX);
    probe.count = read_number(argv[3], 1, 100000000);
    probe.bytes = read_number(argv[4], sizeof(struct header), BYTES_MAX);
    probe.per_ms = read_number(argv[5], 1, 1000000);
    probe.clients = read_number(argv[6], 1, CLIENTS_MAX);
    return measure(&probe, port);
}
