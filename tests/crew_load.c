/* SPDX-License-Identifier: MIT */
/*
 * crew_load.c - the two processes of a run, and its figures as a table.
 */
#include "crew_load.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crew_load_internal.h"

static void await_server(const struct crew_load_shared *shared)
{
    const struct timespec tick = {.tv_nsec = 1000000};
    while (__atomic_load_n(&shared->port, __ATOMIC_ACQUIRE) == 0 &&
           !__atomic_load_n(&shared->is_broken, __ATOMIC_ACQUIRE)) {
        (void)nanosleep(&tick, NULL);
    }
}

/* The server sums up when the clients have closed: a figure of both is written by one at a time. */
static bool run_both(const struct crew_load_config *config, struct crew_load_shared *shared)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(crew_load_serve(config, shared));
    }
    if (child < 0) {
        return false;
    }
    await_server(shared);
    bool is_good = !shared->is_broken && crew_load_clients(config, shared);
    return waitpid(child, &status, 0) == child && status == 0 && is_good;
}

bool crew_load_run(const struct crew_load_config *config, struct crew_load_result *result)
{
    struct crew_load_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    bool is_good = run_both(config, shared);
    *result = shared->result;
    (void)munmap(shared, sizeof(*shared));
    for (uint32_t i = 1; i < result->step_count; i++) {
        weir_nsec took = result->steps[i].change_until - result->steps[i].change_from;
        result->change_max = took > result->change_max ? took : result->change_max;
    }
    return is_good && result->opened == config->connections && result->echoed == result->sent &&
           result->disordered == 0 && result->ended == 0 && result->refused == 0;
}

uint64_t crew_load_sent_on_ppm(const struct crew_load_result *result)
{
    uint64_t packets = 0;
    uint64_t sent_on = 0;
    for (uint32_t i = 0; i < result->step_count; i++) {
        for (uint32_t w = 0; w < CREW_LOAD_WORKERS_MAX; w++) {
            packets += result->steps[i].packets[w];
            sent_on += result->steps[i].sent_on[w];
        }
    }
    return packets > 0 ? sent_on * 1000000 / packets : 0;
}

/* --- the table -------------------------------------------------------------------------------- */

static void print_step(const struct crew_load_step *step)
{
    double seconds = (double)(step->until - step->from) / 1e9;
    uint64_t packets = 0;
    uint64_t sent_on = 0;
    for (uint32_t w = 0; w < CREW_LOAD_WORKERS_MAX; w++) {
        packets += step->packets[w];
        sent_on += step->sent_on[w];
    }
    (void)printf("  %2u %9.0f %9.0f %8.1f %%   ", step->workers,
                 (double)(step->change_until - step->change_from) / 1e3,
                 (double)step->messages / seconds,
                 packets > 0 ? 100.0 * (double)sent_on / (double)packets : 0.0);
    for (uint32_t w = 0; w < step->workers; w++) {
        (void)printf(" %" PRIu64 ":%.0f", step->shards[w], (double)step->packets[w] / seconds);
    }
    (void)printf("\n");
}

static void print_trips(const char *name, const struct crew_load_trips *trips)
{
    (void)printf("  round trips %-16s %8" PRIu64 "   p50 %6.0f  p99 %6.0f  p99.9 %6.0f  max %6.0f "
                 "us\n",
                 name, trips->count, (double)trips->p50 / 1e3, (double)trips->p99 / 1e3,
                 (double)trips->p999 / 1e3, (double)trips->max / 1e3);
}

static void print_drops(const struct crew_load_result *result)
{
    (void)printf("  dropped: kernel %" PRIu64 ", crew %" PRIu64 ", unsent %" PRIu64
                 ", driver errors %" PRIu64,
                 result->kernel_drops, result->sum.dropped, result->sum.unsent,
                 result->sum.driver_errors);
    for (int i = 0; i < WEIR_RUDP_DROP_COUNT; i++) {
        if (result->rudp_drops[i] > 0) {
            (void)printf(", %s %" PRIu64, weir_rudp_drop_text((enum weir_rudp_drop)i),
                         result->rudp_drops[i]);
        }
    }
    (void)printf("\n");
}

void crew_load_print(const struct crew_load_config *config, const struct crew_load_result *result)
{
    const struct weir_crew_worker_stats *sum = &result->sum;
    weir_nsec p50 = weir_crew_pause_at(sum, 500);
    weir_nsec p99 = weir_crew_pause_at(sum, 990);
    (void)printf("%u connections, %u sockets, %s\n", config->connections, config->sockets,
                 result->was_steered ? "steered by the kernel" : "spread by address");
    (void)printf("   N change us  messages/s sent on   by worker: shards:packets/s\n");
    for (uint32_t i = 0; i < result->step_count; i++) {
        print_step(&result->steps[i]);
    }
    (void)printf("  sent on once a change was over: %" PRIu64 " packets in a million\n",
                 crew_load_sent_on_ppm(result));
    (void)printf("  messages sent %" PRIu64 ", echoed %" PRIu64 ", out of order %" PRIu64
                 ", refused %" PRIu64 ", connections ended %" PRIu64 "\n",
                 result->sent, result->echoed, result->disordered, result->refused, result->ended);
    print_drops(result);
    (void)printf("  shards handed over %" PRIu64 ", pause p50 %.1f  p99 %.1f  max %.1f us; packets "
                 "parked %" PRIu64 ", blocked %" PRIu64 "\n",
                 sum->shards_gained, (double)p50 / 1e3, (double)p99 / 1e3,
                 (double)sum->pause_max / 1e3, sum->parked, sum->blocked);
    print_trips("without a change", &result->quiet);
    print_trips("with a change", &result->during);
    (void)fflush(stdout);
}
