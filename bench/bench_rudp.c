/* SPDX-License-Identifier: MIT */
/*
 * bench_rudp.c - RUDP against ENet on loopback: messages, CPU for them, bytes for idle connections.
 *
 * Client and server are two processes, one processor each. Every window is a new pair of processes
 * and a new connection; contenders take turns. Messages are counted at the receiver, CPU is that of
 * both processes over the same window. What an idle connection costs is the difference in memory
 * between a pair with IDLE_CONNECTIONS and a pair with one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "bench_rudp.h"

enum {
    WINDOWS = 5,
    IDLE_WINDOWS = 3,
    IDLE_CONNECTIONS = 4000, /* ENet holds 4,095 at most */
    CONTENDERS_MAX = 2
};

#define WARM_UP_NS   UINT64_C(300000000)
#define WINDOW_NS    UINT64_C(1500000000)
#define TRIAL_NS     UINT64_C(400000000)
#define REST_NS      UINT64_C(1500000000) /* before memory is taken; ENet pings every 0.5 s */
#define START_NS_MAX UINT64_C(5000000000)

struct pair {
    const struct rudp_contender *contender;
    struct rudp_settings settings;
    struct rudp_shared *shared;
    struct rudp_client *client;
    pid_t server;
};

struct reading {
    uint64_t time, messages, cpu;
};

struct outcome {
    double messages_per_second, cpu_seconds_per_million;
};

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench_rudp: %s\n", what);
    exit(1);
}

/* --- a pair of processes ---------------------------------------------------------------------- */

static void start_server(struct pair *pair)
{
    pair->server = fork();
    if (pair->server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_pin(1);
        _exit(pair->contender->serve(pair->shared, &pair->settings) ? 0 : 1);
    }
    uint64_t end = bench_now() + START_NS_MAX;
    struct timespec pause = {.tv_nsec = 1000000};
    while (pair->server > 0 && atomic_load(&pair->shared->port) == 0 && bench_now() < end) {
        (void)nanosleep(&pause, NULL);
    }
    if (atomic_load(&pair->shared->port) == 0) {
        die("a server did not start");
    }
}

static void open_pair(struct pair *pair, const struct rudp_contender *contender,
                      const struct rudp_settings *settings)
{
    *pair = (struct pair){.contender = contender, .settings = *settings};
    pair->shared = mmap(NULL, sizeof(*pair->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pair->shared == MAP_FAILED) {
        die("no memory to share");
    }
    start_server(pair);
    pair->client = contender->open(settings, (uint16_t)atomic_load(&pair->shared->port));
    if (pair->client == NULL) {
        die("a client could not connect");
    }
}

static void close_pair(struct pair *pair)
{
    int status = 0;
    pair->contender->close(pair->client);
    atomic_store(&pair->shared->is_stopping, true);
    if (waitpid(pair->server, &status, 0) != pair->server || status != 0) {
        die("a server failed");
    }
    (void)munmap(pair->shared, sizeof(*pair->shared));
}

static void run_for(struct pair *pair, uint64_t ns)
{
    uint64_t end = bench_now() + ns;
    while (bench_now() < end) {
        if (!pair->contender->step(pair->client)) {
            die("a connection was lost");
        }
    }
}

/* --- throughput ------------------------------------------------------------------------------- */

static uint64_t cpu_of(pid_t process)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        die("no CPU clock of the server");
    }
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static struct reading read_pair(const struct pair *pair)
{
    return (struct reading){.time = bench_now(),
                            .messages = atomic_load(&pair->shared->messages),
                            .cpu = bench_cpu() + cpu_of(pair->server)};
}

static struct outcome run_window(const struct rudp_contender *contender,
                                 const struct rudp_settings *settings, uint64_t ns)
{
    struct pair pair;
    open_pair(&pair, contender, settings);
    run_for(&pair, WARM_UP_NS);
    struct reading before = read_pair(&pair);
    run_for(&pair, ns);
    struct reading after = read_pair(&pair);
    close_pair(&pair);
    double messages = (double)(after.messages - before.messages);
    if (!(messages > 0)) {
        return (struct outcome){0}; /* what was sent was lost, all of it */
    }
    return (struct outcome){
        .messages_per_second = messages * 1e9 / (double)(after.time - before.time),
        .cpu_seconds_per_million = (double)(after.cpu - before.cpu) * 1e-3 / messages};
}

/* Variant number of what a contender can be set to, or false past the last. */
static bool choose_variant(struct rudp_settings *settings, size_t number)
{
    static const uint32_t backlogs[] = {128, 512, 2048, 8192};
    size_t kinds = settings->is_reliable ? 1 : 4; /* the throttle is for unreliable packets */
    if (number >= kinds * sizeof(backlogs) / sizeof(backlogs[0])) {
        return false;
    }
    settings->backlog = backlogs[number / kinds];
    settings->is_throttled = (number % kinds & 1) == 0;
    settings->is_unsequenced = (number % kinds & 2) != 0;
    return true;
}

/* The settings with which the contender delivers most. weir has none that are tried. */
static struct rudp_settings find_best(const struct rudp_contender *contender,
                                      const struct rudp_settings *settings)
{
    struct rudp_settings best = *settings;
    struct rudp_settings trial = *settings;
    double most = 0;
    if (contender == &bench_rudp_weir) {
        return best;
    }
    for (size_t i = 0; choose_variant(&trial, i); i++) {
        double reached = run_window(contender, &trial, TRIAL_NS).messages_per_second;
        if (reached > most) {
            most = reached;
            best = trial;
        }
    }
    return best;
}

static void report_throughput(struct bench *bench, const char *name,
                              const struct bench_series *rates, const struct bench_series *costs,
                              size_t count)
{
    struct bench_case rate = {name, "messages received", "million/s", true};
    struct bench_case cost = {name, "CPU of both ends per million messages", "s", false};
    bench_report(bench, &rate, rates, count);
    bench_report(bench, &cost, costs, count);
}

static void run_case(struct bench *bench, const struct rudp_contender *const *contenders,
                     size_t count, const char *name, const struct rudp_settings *settings)
{
    struct bench_series rates[CONTENDERS_MAX] = {0};
    struct bench_series costs[CONTENDERS_MAX] = {0};
    struct rudp_settings best[CONTENDERS_MAX];
    for (size_t i = 0; i < count; i++) {
        rates[i].name = costs[i].name = contenders[i]->name;
        best[i] = find_best(contenders[i], settings);
    }
    for (size_t window = 0; window < WINDOWS; window++) {
        for (size_t i = 0; i < count; i++) {
            struct outcome outcome = run_window(contenders[i], &best[i], WINDOW_NS);
            if (!(outcome.messages_per_second > 0)) {
                die("a window passed without a message");
            }
            bench_add(&rates[i], outcome.messages_per_second / 1e6);
            bench_add(&costs[i], outcome.cpu_seconds_per_million);
        }
    }
    report_throughput(bench, name, rates, costs, count);
}

/* --- idle connections ------------------------------------------------------------------------- */

struct memory {
    double client, server;
};

static double rss_of(pid_t process)
{
    char path[64];
    char line[128];
    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)process);
    FILE *file = fopen(path, "r");
    const char *resident = NULL;
    if (file != NULL) {
        resident = fgets(line, sizeof(line), file) == NULL ? NULL : strchr(line, ' ');
        (void)fclose(file);
    }
    if (resident == NULL) {
        die("the system does not tell how much memory a process uses");
    }
    uint64_t bytes = strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    return (double)bytes;
}

/* In a process of its own, so that nothing of an earlier pair is left in its memory. */
static void measure_pair(const struct rudp_contender *contender, uint32_t connections,
                         struct memory *memory)
{
    struct rudp_settings settings = {.connections = connections, .is_throttled = true};
    struct pair pair;
    double start = rss_of(getpid());
    open_pair(&pair, contender, &settings);
    run_for(&pair, REST_NS);
    memory->client = rss_of(getpid()) - start;
    memory->server = rss_of(pair.server) - start;
    close_pair(&pair);
}

static struct memory memory_of(const struct rudp_contender *contender, uint32_t connections)
{
    struct memory *memory =
        mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        die("no memory to share");
    }
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        measure_pair(contender, connections, memory);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        die("idle connections could not be measured");
    }
    struct memory measured = *memory;
    (void)munmap(memory, sizeof(*memory));
    return measured;
}

static void run_idle(struct bench *bench, const struct rudp_contender *const *contenders,
                     size_t count)
{
    static const struct bench_case client_case = {"idle, client", "memory per connection", "B",
                                                  false};
    static const struct bench_case server_case = {"idle, server", "memory per connection", "B",
                                                  false};
    struct bench_series clients[CONTENDERS_MAX] = {0};
    struct bench_series servers[CONTENDERS_MAX] = {0};
    for (size_t window = 0; window < IDLE_WINDOWS; window++) {
        for (size_t i = 0; i < count; i++) {
            struct memory one = memory_of(contenders[i], 1);
            struct memory many = memory_of(contenders[i], IDLE_CONNECTIONS);
            clients[i].name = servers[i].name = contenders[i]->name;
            bench_add(&clients[i], (many.client - one.client) / (IDLE_CONNECTIONS - 1));
            bench_add(&servers[i], (many.server - one.server) / (IDLE_CONNECTIONS - 1));
        }
    }
    bench_report(bench, &client_case, clients, count);
    bench_report(bench, &server_case, servers, count);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        struct rudp_settings settings;
    } cases[] = {
        {"reliable 64 B", {.size = 64, .connections = 1, .is_reliable = true}},
        {"reliable 1 KB", {.size = 1024, .connections = 1, .is_reliable = true}},
        {"unreliable 64 B", {.size = 64, .connections = 1}},
        {"unreliable 1 KB", {.size = 1024, .connections = 1}},
    };
    const struct rudp_contender *contenders[CONTENDERS_MAX] = {&bench_rudp_weir};
    size_t count = 1;
#ifdef WEIR_HAVE_ENET
    contenders[count++] = &bench_rudp_enet;
#else
    (void)printf("rudp: built without ENet (libenet-dev); weir runs alone\n");
#endif
    struct bench bench;
    bench_open(&bench, "rudp", argc, argv);
    /* Before this process is kept on one processor: servers inherit that until they pin. */
    run_idle(&bench, contenders, count);
    bench_pin(0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run_case(&bench, contenders, count, cases[i].name, &cases[i].settings);
    }
    return bench_close(&bench);
}
