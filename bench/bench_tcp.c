/* SPDX-License-Identifier: MIT */
/*
 * bench_tcp.c - TCP beside lwIP and the kernel's: streams, handshakes, round trips, idle memory.
 *
 * Usage: bench_tcp [--json PATH]
 *
 *   streams:     the kernel's client on one side of a tun device, weir or lwIP on the other; the
 *                kernel against itself over veth, for comparison. CPU counts both processes.
 *   connects:    the same places; the kernel's client connects and resets.
 *   round trips: one byte there and back over veth: weir by a packet socket, or the kernel.
 *   handshakes:  crafted clients in memory, one thread, with so many connections held.
 *   idle:        memory of those connections; the kernel's from its slabs.
 *
 * All but the last two happen in network namespaces of their own, which takes root; without, those
 * are left out, in a line that says so.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp_bench.h"

enum {
    WINDOWS = 5,
    FLOW_NS = 400 * 1000 * 1000,
    CONNECT_NS = 300 * 1000 * 1000,
    ASKS = 2000,
    HANDSHAKES = 20000, /* of one window */
    HELD_FEW = 10000,
    HELD_MANY = 1000000,
    KERNEL_IDLE = 10000,
    COMMAND_BYTES = 256
};

_Noreturn void tcp_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench_tcp: %s: %s\n", what, why);
    _exit(1);
}

void tcp_must(bool is_fine, const char *what)
{
    if (!is_fine) {
        tcp_die(what, "failed");
    }
}

struct weir_addr tcp_addr(const struct tcp_place *place, uint8_t host)
{
    return (struct weir_addr){
        .ip = {10, place->network, 0, host}, .family = WEIR_ADDR_IP4, .port = place->port};
}

/* --- ends as processes ------------------------------------------------------------------------ */

struct contender {
    const char *name;
    void (*serve)(const struct tcp_place *place);
    struct tcp_place place;
};

/* Both ends of a stream share one core, and go before other work: the rate is then what the two
 * cost, not how far apart two cores happen to be, which makes a difference of three times from hour
 * to hour on the same machine. A round trip is left to the scheduler. */
static bool is_pinned;

static int ready_fd = -1;

/* An end that runs, and the CPU time that it took to be ready. */
struct running {
    pid_t pid;
    uint64_t cpu_ns;
};

static void tell_ready(void)
{
    const uint64_t cpu_ns = bench_cpu();
    tcp_must(write(ready_fd, &cpu_ns, sizeof(cpu_ns)) == sizeof(cpu_ns), "telling to be ready");
}

static struct running start_end(const struct contender *contender, uint16_t port)
{
    int fds[2];
    struct running end;
    tcp_must(pipe(fds) == 0, "pipe");
    end.pid = fork();
    tcp_must(end.pid >= 0, "fork");
    if (end.pid == 0) {
        struct tcp_place place = contender->place;
        place.port = port;
        place.on_ready = tell_ready;
        ready_fd = fds[1];
        if (is_pinned) {
            bench_pin(0);
        }
        tcp_must(place.network_ns < 0 || setns(place.network_ns, CLONE_NEWNET) == 0, "setns");
        contender->serve(&place);
        _exit(0);
    }
    (void)close(fds[1]);
    tcp_must(read(fds[0], &end.cpu_ns, sizeof(end.cpu_ns)) == sizeof(end.cpu_ns), contender->name);
    (void)close(fds[0]);
    return end;
}

/* Returns the CPU time that it took since it was ready, in ns. */
static uint64_t stop_end(struct running end)
{
    struct rusage usage;
    int status = 0;
    (void)kill(end.pid, SIGTERM);
    tcp_must(wait4(end.pid, &status, 0, &usage) == end.pid, "wait");
    tcp_must(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGTERM, "an end");
    const uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                        (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return us * 1000 > end.cpu_ns ? us * 1000 - end.cpu_ns : 0;
}

/* --- network namespaces ----------------------------------------------------------------------- */

static void run(const char *command)
{
    /* NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): our own words, one thread */
    tcp_must(system(command) == 0, command);
}

/* This process and its children are in one, behind the other is a veth pair: near here, far there.
 * Returns a descriptor of the other; -1: it may not. */
static int open_namespaces(void)
{
    char command[COMMAND_BYTES];
    if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", F_OK) != 0) {
        return -1;
    }
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    tcp_must(here >= 0 && unshare(CLONE_NEWNET) == 0, "a second namespace");
    int there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    tcp_must(there >= 0 && setns(here, CLONE_NEWNET) == 0, "back to the first");
    /* Inherited, so that ip finds it by its number. */
    int inherited = dup(there);
    (void)snprintf(
        command, sizeof(command),
        "ip link set lo up && ip link add near type veth peer name far netns "
        "/proc/self/fd/%d && ip address add 10.90.0.1/24 dev near && ip link set near up",
        inherited);
    run(command);
    tcp_must(setns(there, CLONE_NEWNET) == 0, "the second");
    run("ip address add 10.90.0.2/24 dev far && ip link set far up && ip link set lo up");
    tcp_must(setns(here, CLONE_NEWNET) == 0, "back to the first");
    (void)close(inherited);
    (void)close(here);
    return there;
}

/* --- over devices ----------------------------------------------------------------------------- */

enum {
    CONTENDERS = 4
};

struct flow_figures {
    struct bench_series gbits[CONTENDERS], cpu[CONTENDERS];
};

static void measure_flow(const struct contender *contender, bool is_source,
                         struct bench_series *gbits, struct bench_series *cpu)
{
    struct tcp_flow flow;
    struct tcp_place place = contender->place;
    place.port = is_source ? TCP_PORT_SOURCE : TCP_PORT_DISCARD;
    struct running end = start_end(contender, place.port);
    tcp_kernel_flow(&place, is_source, FLOW_NS, &flow);
    uint64_t cpu_ns = flow.cpu_ns + stop_end(end);
    bench_add(gbits, (double)flow.bytes * 8 / (double)flow.elapsed_ns);
    bench_add(cpu, (double)cpu_ns / (double)flow.bytes);
}

static void measure_connects(const struct contender *contender, struct bench_series *rate,
                             struct bench_series *cpu)
{
    struct tcp_place place = contender->place;
    place.port = TCP_PORT_DISCARD;
    struct running end = start_end(contender, place.port);
    uint64_t count = tcp_kernel_connect(&place, CONNECT_NS);
    uint64_t cpu_ns = stop_end(end);
    bench_add(rate, (double)count / (CONNECT_NS / 1e9) / 1e3);
    bench_add(cpu, (double)cpu_ns / 1e3 / (double)count);
}

static void report_streams(struct bench *bench, const struct contender *contenders, uint32_t count)
{
    static struct flow_figures in;
    static struct flow_figures out;
    static struct flow_figures connects;
    for (uint32_t i = 0; i < count; i++) {
        in.gbits[i].name = in.cpu[i].name = out.gbits[i].name = out.cpu[i].name =
            connects.gbits[i].name = connects.cpu[i].name = contenders[i].name;
    }
    for (uint32_t window = 0; window < WINDOWS; window++) {
        for (uint32_t i = 0; i < count; i++) {
            measure_flow(&contenders[i], false, &in.gbits[i], &in.cpu[i]);
            measure_flow(&contenders[i], true, &out.gbits[i], &out.cpu[i]);
            measure_connects(&contenders[i], &connects.gbits[i], &connects.cpu[i]);
        }
    }
    static const struct bench_case cases[] = {
        {"kernel to end", "throughput", "Gbit/s", true},
        {"kernel to end", "CPU of both", "s/GB", false},
        {"end to kernel", "throughput", "Gbit/s", true},
        {"end to kernel", "CPU of both", "s/GB", false},
        {"connects", "rate, client's included", "thousand/s", true},
        {"connects", "CPU of the end", "us", false},
    };
    bench_report(bench, &cases[0], in.gbits, count);
    bench_report(bench, &cases[1], in.cpu, count);
    bench_report(bench, &cases[2], out.gbits, count);
    bench_report(bench, &cases[3], out.cpu, count);
    bench_report(bench, &cases[4], connects.gbits, count);
    bench_report(bench, &cases[5], connects.cpu, count);
}

static int compare_times(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void measure_asks(const struct contender *contender, struct bench_series *half,
                         struct bench_series *most)
{
    static uint32_t times[ASKS];
    struct tcp_place place = contender->place;
    place.port = TCP_PORT_ECHO;
    struct running end = start_end(contender, place.port);
    tcp_kernel_ask(&place, times, ASKS);
    (void)stop_end(end);
    qsort(times, ASKS, sizeof(times[0]), compare_times);
    const uint32_t middle = times[ASKS / 2];
    const uint32_t late = times[ASKS - ASKS / 100];
    bench_add(half, middle / 1e3);
    bench_add(most, late / 1e3);
}

static void report_asks(struct bench *bench, const struct contender *contenders, uint32_t count)
{
    static struct bench_series half[CONTENDERS];
    static struct bench_series most[CONTENDERS];
    static const struct bench_case cases[] = {
        {"1 byte, veth", "round trip, p50", "us", false},
        {"1 byte, veth", "round trip, p99", "us", false},
    };
    for (uint32_t window = 0; window < WINDOWS; window++) {
        for (uint32_t i = 0; i < count; i++) {
            half[i].name = most[i].name = contenders[i].name;
            measure_asks(&contenders[i], &half[i], &most[i]);
        }
    }
    bench_report(bench, &cases[0], half, count);
    bench_report(bench, &cases[1], most, count);
}

/* For this process and those it starts. The system keeps a twentieth of the time for all others. */
static void take_core(void)
{
    const struct sched_param first = {.sched_priority = 1};
    is_pinned = true;
    bench_pin(0);
    if (sched_setscheduler(0, SCHED_RR, &first) != 0) {
        printf("bench_tcp: other work takes its part, real-time priority is refused\n");
    }
}

static void report_devices(struct bench *bench, int there)
{
    const struct tcp_place tun = {.device = "bench0", .network = 91, .host = 2, .network_ns = -1};
    const struct tcp_place veth = {
        .device = "far", .network = 90, .host = 3, .is_packet = true, .network_ns = there};
    struct contender streams[CONTENDERS] = {{"weir", tcp_weir_serve, tun}};
    struct contender asks[CONTENDERS] = {{"weir", tcp_weir_serve, veth},
                                         {"weir, polling", tcp_weir_serve, veth},
                                         {"kernel", tcp_kernel_serve, veth}};
    uint32_t count = 1;
    streams[count] = streams[0];
    streams[count].name = "weir, no offloads";
    streams[count++].place.is_plain = true;
#ifdef WEIR_BENCH_LWIP
    streams[count] = (struct contender){"lwIP", tcp_lwip_serve, tun};
    streams[count++].place.is_plain = true; /* it knows nothing of virtio-net headers */
#endif
    asks[1].place.is_polling = true;
    asks[2].place.host = 2;
    streams[count++] = (struct contender){"kernel over veth", tcp_kernel_serve, asks[2].place};
    report_asks(bench, asks, 3);
    take_core();
    report_streams(bench, streams, count);
}

/* --- in memory -------------------------------------------------------------------------------- */

/* What a process of its own found out; each stack has one, for it is never closed. */
struct memory_figures {
    double few, many; /* thousand handshakes a second */
    double bytes;     /* of an idle connection */
};

static void open_more(const struct flood_stack *stack, struct flood *flood, uint32_t until)
{
    while (flood->next < until) {
        flood_syn(flood, FLOOD_BATCH);
        stack->input(flood);
        flood_ack(flood);
        stack->input(flood);
    }
    tcp_must(stack->opened() == flood->next, "all handshakes are done");
}

static double measure_handshakes(const struct flood_stack *stack, struct flood *flood,
                                 uint32_t count)
{
    const uint32_t first = flood->next;
    const uint64_t start = bench_now();
    open_more(stack, flood, first + count);
    return (double)(flood->next - first) * 1e6 / (double)(bench_now() - start);
}

static double measure_windows(const struct flood_stack *stack, struct flood *flood, uint32_t count)
{
    struct bench_series series = {.name = stack->name};
    for (uint32_t window = 0; window < WINDOWS; window++) {
        bench_add(&series, measure_handshakes(stack, flood, count));
    }
    return bench_median(&series);
}

/* many: 0 where that would take minutes. */
static void run_stack(const struct flood_stack *stack, uint32_t many,
                      struct memory_figures *figures)
{
    static struct flood flood;
    const uint32_t window = many != 0 ? HANDSHAKES : HANDSHAKES / 20;
    stack->open(HELD_MANY + (WINDOWS + 2) * HANDSHAKES);
    open_more(stack, &flood, HELD_FEW);
    figures->few = measure_windows(stack, &flood, window);
    if (many != 0) {
        open_more(stack, &flood, many);
        figures->many = measure_windows(stack, &flood, window);
        /* The last ones go to sleep. */
        (void)sleep(2);
        flood.count = 0;
        stack->input(&flood);
    }
    figures->bytes = stack->bytes() / flood.next;
}

static struct memory_figures measure_stack(const struct flood_stack *stack, uint32_t many)
{
    struct memory_figures *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    tcp_must(shared != MAP_FAILED, "memory");
    pid_t pid = fork();
    tcp_must(pid >= 0, "fork");
    if (pid == 0) {
        run_stack(stack, many, shared);
        _exit(0);
    }
    tcp_must(waitpid(pid, &status, 0) == pid && status == 0, stack->name);
    const struct memory_figures figures = *shared;
    (void)munmap(shared, sizeof(*shared));
    return figures;
}

static void report_memory(struct bench *bench)
{
    struct bench_series few[2] = {{.name = "weir"}, {.name = "lwIP"}};
    struct bench_series many[2] = {{.name = "weir, 1,000,000 held"}, {.name = "weir, 10,000 held"}};
    struct bench_series bytes[3] = {{.name = "weir"}, {.name = "lwIP"}, {.name = "kernel"}};
    static const struct bench_case cases[] = {
        {"10,000 held", "handshakes in memory", "thousand/s", true},
        {"1,000,000 held", "handshakes in memory", "thousand/s", true},
        {"idle", "memory of a connection", "B", false},
    };
    const struct memory_figures weir = measure_stack(tcp_weir_stack(), HELD_MANY);
    bench_add(&few[0], weir.few);
    bench_add(&many[0], weir.many);
    bench_add(&many[1], weir.few);
    bench_add(&bytes[0], weir.bytes);
#ifdef WEIR_BENCH_LWIP
    const struct memory_figures lwip = measure_stack(tcp_lwip_stack(), 0);
    bench_add(&few[1], lwip.few);
    bench_add(&bytes[1], lwip.bytes);
#endif
    const double kernel = tcp_kernel_idle(KERNEL_IDLE);
    if (kernel > 0) {
        bench_add(&bytes[2], kernel);
    }
    bench_report(bench, &cases[0], few, 2);
    bench_report(bench, &cases[1], many, 2);
    bench_report(bench, &cases[2], bytes, 3);
}

int main(int argc, char **argv)
{
    struct bench bench;
    bench_open(&bench, "tcp", argc, argv);
    const int there = open_namespaces();
    if (there >= 0) {
        report_devices(&bench, there);
    } else {
        printf("bench_tcp: nothing over devices, that takes root and /dev/net/tun\n");
    }
    report_memory(&bench);
    return bench_close(&bench);
}
