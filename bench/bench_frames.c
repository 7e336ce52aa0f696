/* SPDX-License-Identifier: MIT */
/*
 * bench_frames.c - frames through a TUN device and through packet sockets on a veth pair, with
 * offloads and without: what the drivers and our own IP layer reach between them.
 *
 * Role: UDP datagrams of 1,472 bytes, in runs of 44 where the device takes them. Out: we send, the
 * kernel counts. In: the kernel sends from a second process, we count. Everything happens in a
 * network namespace of its own, which takes root; without, it says so and measures nothing.
 */
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "weir/weir.h"

enum {
    DATAGRAM_BYTES = 1472,
    RUN_DATAGRAMS = 44,
    RUN_BYTES = DATAGRAM_BYTES * RUN_DATAGRAMS,
    RUNS = 16,
    WINDOWS = 7,
    WINDOW_NS = 300000000,
    ROOM_BYTES = 1 << 20,
    PACKETS_MAX = 1024,
    PORT = 7
};

/* One way to move frames. */
struct way {
    const char *name;
    bool is_plain;
    bool is_packet;
};

static const struct way ways[] = {
    {.name = "offload"},
    {.name = "plain", .is_plain = true},
    {.name = "packet", .is_packet = true},
    {.name = "packet plain", .is_plain = true, .is_packet = true},
};

enum {
    WAYS = 4
};

_Static_assert(sizeof(ways) == WAYS * sizeof(ways[0]), "one for each");

static uint8_t payload[RUN_BYTES];
static uint8_t room[ROOM_BYTES];
static struct weir_packet packets[PACKETS_MAX];

static _Noreturn void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench_frames: %s: %s\n", what, why);
    _exit(1);
}

static void must(bool is_fine, const char *what)
{
    if (!is_fine) {
        die(what, "failed");
    }
}

/* --- devices: 10.N.0.1 is the kernel's, 10.N.0.2 ours; N counts the ways ---------------------- */

static struct weir_addr host_addr(uint32_t way, uint8_t host)
{
    return (struct weir_addr){
        .ip = {10, (uint8_t)way, 0, host}, .family = WEIR_ADDR_IP4, .port = PORT};
}

static const struct weir_interface *open_tun(uint32_t i, struct weir_driver **driver)
{
    struct weir_tun_config config;
    char problem[WEIR_PROBLEM_BYTES];
    weir_tun_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "bench%u", i);
    config.is_offload_disabled = ways[i].is_plain;
    config.queue_frames = 1000;
    config.host = host_addr(i, 1);
    config.host_prefix = 24;
    if (weir_tun_open(&config, driver, problem) != WEIR_OK) {
        die("tun", problem);
    }
    return weir_tun_interface(*driver);
}

/* Both ends of the veth pair are in this namespace: the kernel's address is on the one, we are on
 * the other. */
static const struct weir_interface *open_packet(uint32_t i, struct weir_driver **driver)
{
    struct weir_packet_config config;
    char problem[WEIR_PROBLEM_BYTES];
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "ip link add near%u type veth peer name far%u && ip link set near%u up && "
                   "ip link set far%u up && ip address add 10.%u.0.1/24 dev near%u",
                   i, i, i, i, i, i);
    must(system(command) == 0, "ip"); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
    weir_packet_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "far%u", i);
    config.is_offload_disabled = ways[i].is_plain;
    if (weir_packet_open(&config, driver, problem) != WEIR_OK) {
        die("packet", problem);
    }
    return weir_packet_interface(*driver);
}

static struct weir_driver *open_way(uint32_t i)
{
    struct weir_driver *driver = NULL;
    struct weir_inet_config config;
    weir_inet_config_default(&config,
                             ways[i].is_packet ? open_packet(i, &driver) : open_tun(i, &driver));
    config.ip.addresses[0] = (struct weir_ip_address){.addr = host_addr(i, 2), .prefix = 24};
    config.ip.address_count = 1;
    config.udp_port = PORT;
    must(weir_inet_open(driver, &config, &driver) == WEIR_OK, "inet");
    return driver;
}

static int open_socket(uint32_t way)
{
    struct weir_addr addr = host_addr(way, 1);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    const void *any = &name;
    const int is_joined = 1; /* the kernel need not cut what it throws away */
    int buffer = 64 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    memcpy(&name.sin_addr, addr.ip, 4);
    must(fd >= 0 && bind(fd, any, sizeof(name)) == 0, "bind");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    (void)setsockopt(fd, SOL_UDP, UDP_GRO, &is_joined, sizeof(is_joined));
    return fd;
}

/* --- out -------------------------------------------------------------------------------------- */

/* Neighbours find each other. */
static uint32_t receive(struct weir_driver *driver, uint64_t *bytes)
{
    uint32_t count = 0;
    const struct weir_mut_span span = {.data = room, .length = sizeof(room)};
    must(driver->ops->receive(driver, bench_now(), span, packets, PACKETS_MAX, &count) == WEIR_OK,
         "receive");
    for (uint32_t i = 0; i < count; i++) {
        *bytes += packets[i].length;
    }
    return count;
}

/* Gbit/s of payload that the driver took, and the frame rate in millions of datagrams. */
static void measure_out(struct weir_driver *driver, uint32_t way, double *gbits, double *mpps)
{
    struct weir_transmit transmits[RUNS];
    uint64_t ignored = 0;
    for (uint32_t i = 0; i < RUNS; i++) {
        transmits[i] = (struct weir_transmit){.path = {.remote = host_addr(way, 1)},
                                              .data = payload,
                                              .length = RUN_BYTES,
                                              .segment_bytes = DATAGRAM_BYTES};
    }
    const uint64_t datagrams = driver->stats.tx_datagrams - driver->stats.tx_dropped;
    const uint64_t start = bench_now();
    uint64_t now = start;
    for (; now - start < WINDOW_NS; now = bench_now()) {
        uint32_t sent = 0;
        enum weir_status status = driver->ops->send(driver, now, transmits, RUNS, &sent);
        must(status == WEIR_OK || status == WEIR_AGAIN, "send");
        (void)receive(driver, &ignored);
    }
    double count = (double)(driver->stats.tx_datagrams - driver->stats.tx_dropped - datagrams);
    *mpps = count * 1e3 / (double)(now - start);
    *gbits = *mpps * DATAGRAM_BYTES * 8 / 1e3;
}

/* --- in --------------------------------------------------------------------------------------- */

/* The kernel's end: sends for ever. */
static pid_t start_sender(int fd, uint32_t way)
{
    struct weir_addr addr = host_addr(way, 2);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    const void *any = &name;
    const int segment = DATAGRAM_BYTES;
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    bench_pin(1);
    memcpy(&name.sin_addr, addr.ip, 4);
    must(connect(fd, any, sizeof(name)) == 0, "connect");
    must(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) == 0, "UDP_SEGMENT");
    for (;;) {
        (void)send(fd, payload, RUN_BYTES, 0);
    }
}

static void measure_in(struct weir_driver *driver, double *gbits, double *mpps)
{
    const uint64_t start = bench_now();
    uint64_t now = start;
    uint64_t bytes = 0;
    uint64_t count = 0;
    for (; now - start < WINDOW_NS; now = bench_now()) {
        count += receive(driver, &bytes);
    }
    *mpps = (double)count * 1e3 / (double)(now - start);
    *gbits = (double)bytes * 8 / (double)(now - start);
}

/* --- all -------------------------------------------------------------------------------------- */

struct figures {
    struct bench_series out_gbits[WAYS], out_mpps[WAYS], in_gbits[WAYS], in_mpps[WAYS];
};

static void measure_window(struct weir_driver *const drivers[WAYS], const int fds[WAYS],
                           struct figures *figures)
{
    for (uint32_t i = 0; i < WAYS; i++) {
        double gbits = 0;
        double mpps = 0;
        measure_out(drivers[i], i, &gbits, &mpps);
        bench_add(&figures->out_gbits[i], gbits);
        bench_add(&figures->out_mpps[i], mpps);
        pid_t sender = start_sender(fds[i], i);
        measure_in(drivers[i], &gbits, &mpps);
        (void)kill(sender, SIGKILL);
        (void)waitpid(sender, NULL, 0);
        bench_add(&figures->in_gbits[i], gbits);
        bench_add(&figures->in_mpps[i], mpps);
    }
}

int main(int argc, char **argv)
{
    static struct figures figures;
    struct bench bench;
    struct weir_driver *drivers[WAYS];
    int fds[WAYS];
    bench_open(&bench, "frames", argc, argv);
    if (unshare(CLONE_NEWNET) != 0) {
        printf("bench_frames: nothing measured, a network namespace takes root\n");
        return 0;
    }
    bench_pin(0);
    for (uint32_t i = 0; i < WAYS; i++) {
        drivers[i] = open_way(i);
        fds[i] = open_socket(i);
        figures.out_gbits[i].name = figures.out_mpps[i].name = ways[i].name;
        figures.in_gbits[i].name = figures.in_mpps[i].name = ways[i].name;
    }
    for (int i = 0; i < WINDOWS; i++) {
        measure_window(drivers, fds, &figures);
    }
    static const struct bench_case cases[] = {
        {"out, 1472 B", "throughput", "Gbit/s", true},
        {"out, 1472 B", "datagrams", "million/s", true},
        {"in, 1472 B", "throughput", "Gbit/s", true},
        {"in, 1472 B", "datagrams", "million/s", true},
    };
    bench_report(&bench, &cases[0], figures.out_gbits, WAYS);
    bench_report(&bench, &cases[1], figures.out_mpps, WAYS);
    bench_report(&bench, &cases[2], figures.in_gbits, WAYS);
    bench_report(&bench, &cases[3], figures.in_mpps, WAYS);
    for (uint32_t i = 0; i < WAYS; i++) {
        drivers[i]->ops->close(drivers[i]);
        (void)close(fds[i]);
    }
    return bench_close(&bench);
}
