/* SPDX-License-Identifier: MIT */
/*
 * crew_load_server.c - the crew, its echoing shards, and the coordinator that follows the plan.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crew_load_internal.h"

enum {
    SHARDS = 61,
    SLOTS = 32,
    SLOT_PACKETS = 128,
    RING_BYTES = 4 << 20,
    PENDING_MS_MAX = 120000
};

struct shard {
    struct weir_rudp *rudp;
    void *mem;
    uint64_t *expected; /* of each connection, its next message */
    uint32_t accepted;
    uint64_t messages, disordered, refused; /* atomic: its worker's */
};

static struct server {
    const struct crew_load_config *config;
    struct crew_load_shared *shared;
    struct weir_crew *crew;
    struct weir_driver *queues[CREW_LOAD_WORKERS_MAX];
    struct weir_steer *steer;
    struct weir_route route;
    struct weir_rudp_config rudp;
    struct shard shards[SHARDS];
} server;

/* Each connection has a counter for itself. A server that accepts more than it was asked to is not
 * what is tested here. */
static void accept_next(struct shard *shard, struct weir_rudp_conn *conn)
{
    if (shard->accepted == server.rudp.connections_max) {
        weir_rudp_refuse(conn, 1, "full");
        return;
    }
    weir_rudp_accept(conn, &shard->expected[shard->accepted++]);
}

static void echo(struct shard *shard, const struct weir_rudp_event *event)
{
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    struct crew_load_message message;
    struct weir_span data = event->message.data;
    uint64_t *expected = (uint64_t *)weir_rudp_user(event->conn);
    memcpy(&message, data.data, sizeof(message));
    if (data.length != CREW_LOAD_MESSAGE_BYTES || message.number != *expected) {
        (void)__atomic_add_fetch(&shard->disordered, 1, __ATOMIC_RELAXED);
    }
    *expected = message.number + 1;
    if (weir_rudp_send(event->conn, &how, data.data, data.length) != WEIR_OK) {
        (void)__atomic_add_fetch(&shard->refused, 1, __ATOMIC_RELAXED);
    }
    (void)__atomic_add_fetch(&shard->messages, 1, __ATOMIC_RELAXED);
}

static void on_events(void *user, weir_nsec now)
{
    struct shard *shard = (struct shard *)user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(shard->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            accept_next(shard, event.conn);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            echo(shard, &event);
        }
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool open_queues(void)
{
    struct weir_udp_config udp;
    int error = 0;
    weir_udp_config_default(&udp);
    udp.bind = (struct weir_addr){.ip = {127, 0, 0, 1}, .family = WEIR_ADDR_IP4};
    udp.is_port_reused = true;
    udp.batch_slots = SLOTS; /* every datagram is another connection's: nothing to join */
    for (int i = 0; i < CREW_LOAD_WORKERS_MAX; i++) {
        if (weir_udp_open(&udp, &server.queues[i], NULL, &error) != WEIR_OK) {
            return false;
        }
        udp.bind = server.queues[i]->local;
    }
    return true;
}

static bool open_crew(void)
{
    struct weir_crew_config config;
    uint8_t seed[16];
    char problem[WEIR_STEER_PROBLEM_BYTES] = "";
    if (weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    weir_route_init(&server.route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = CREW_LOAD_WORKERS_MAX;
    config.workers = server.config->plan[0];
    config.queues = server.queues;
    config.route = weir_rudp_route;
    config.route_user = &server.route;
    config.ring_bytes = RING_BYTES;
    config.packets_max = SLOTS * SLOT_PACKETS;
    config.slide.size_bytes = 16 << 20;
    config.slide.batch_bytes_max = 4 << 20;
    if (server.config->is_steered &&
        weir_steer_open(server.queues, CREW_LOAD_WORKERS_MAX, &server.route, WEIR_STEER_RUDP,
                        &server.steer, problem) == WEIR_OK) {
        config.steer = weir_steer_set;
        config.steer_user = server.steer;
    }
    server.shared->result.was_steered = server.steer != NULL;
    return weir_crew_open(&config, &server.crew) == WEIR_OK;
}

static bool open_shard(uint32_t s, const uint8_t seed[32])
{
    struct weir_rudp_config *config = &server.rudp;
    weir_rudp_config_default(config);
    config->slide = weir_crew_slide(server.crew, s);
    config->is_accepting = true;
    config->route = &server.route;
    config->shard = s;
    config->connections_max = server.config->connections / SHARDS * 5 / 4 + 256;
    config->send_bytes = config->assembly_bytes = 16 << 20;
    config->connect_timeout = 30 * WEIR_SEC;
    server.shards[s].mem = weir_mem_map(weir_rudp_mem_size(config));
    server.shards[s].expected = calloc(config->connections_max, sizeof(uint64_t));
    if (server.shards[s].mem == NULL || server.shards[s].expected == NULL ||
        weir_rudp_init(server.shards[s].mem, config, seed, crew_load_now(),
                       &server.shards[s].rudp) != WEIR_OK) {
        return false;
    }
    weir_crew_attach(server.crew, s, server.shards[s].rudp, weir_rudp_verbs(), on_events,
                     &server.shards[s]);
    return true;
}

static bool open_server(void)
{
    uint8_t seed[32];
    bool is_open = weir_secret_seed(seed, sizeof(seed)) == WEIR_OK && open_queues() && open_crew();
    for (uint32_t s = 0; is_open && s < SHARDS; s++) {
        is_open = open_shard(s, seed);
    }
    return is_open && weir_crew_start(server.crew) == WEIR_OK;
}

static void close_server(void)
{
    weir_crew_close(server.crew);
    weir_steer_close(server.steer);
    for (uint32_t s = 0; s < SHARDS; s++) {
        weir_mem_unmap(server.shards[s].mem, weir_rudp_mem_size(&server.rudp));
        free(server.shards[s].expected);
    }
    for (int i = 0; i < CREW_LOAD_WORKERS_MAX; i++) {
        server.queues[i]->ops->close(server.queues[i]);
    }
}

/* --- figures ---------------------------------------------------------------------------------- */

/* What the kernel has dropped at the sockets of our port: the last column of /proc/net/udp. */
static uint64_t kernel_drops(void)
{
    char line[512];
    uint64_t sum = 0;
    FILE *file = fopen("/proc/net/udp", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':'); /* the one after the number */
        const char *port = colon != NULL ? strchr(colon + 1, ':') : NULL;
        const char *last = strrchr(line, ' ');
        line[strcspn(line, "\n")] = 0;
        while (last != NULL && last > line && last[1] == 0) { /* trailing spaces */
            line[last - line] = 0;
            last = strrchr(line, ' ');
        }
        if (port != NULL && last != NULL &&
            strtoul(port + 1, NULL, 16) == server.queues[0]->local.port) {
            sum += strtoull(last + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return sum;
}

static uint64_t sum_messages(void)
{
    uint64_t sum = 0;
    for (uint32_t s = 0; s < SHARDS; s++) {
        sum += __atomic_load_n(&server.shards[s].messages, __ATOMIC_RELAXED);
    }
    return sum;
}

static uint64_t cpu_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * WEIR_SEC + (uint64_t)time.tv_nsec;
}

/* Adds sign times what the figures are now. */
static void read_step(struct crew_load_step *step, bool is_end)
{
    uint64_t sign = is_end ? 1 : UINT64_MAX;
    for (uint32_t w = 0; w < CREW_LOAD_WORKERS_MAX; w++) {
        struct weir_crew_worker_stats stats;
        (void)!weir_crew_worker_stats(server.crew, w, &stats);
        step->packets[w] += sign * stats.packets;
        step->sent_on[w] += sign * stats.misrouted;
        step->shards[w] = stats.shards;
    }
    step->messages += sign * sum_messages();
    step->cpu_ns += sign * cpu_now();
    *(is_end ? &step->until : &step->from) = crew_load_now();
}

/* Figures are words, all of them. */
static void add_words(void *sum, const void *figures, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        uint64_t a = 0;
        uint64_t b = 0;
        memcpy(&a, (const uint8_t *)sum + i * sizeof(a), sizeof(a));
        memcpy(&b, (const uint8_t *)figures + i * sizeof(b), sizeof(b));
        a += b;
        memcpy((uint8_t *)sum + i * sizeof(a), &a, sizeof(a));
    }
}

static void sum_up(struct crew_load_result *result)
{
    uint64_t pause_max = 0;
    for (uint32_t w = 0; w < CREW_LOAD_WORKERS_MAX; w++) {
        struct weir_crew_worker_stats stats;
        (void)!weir_crew_worker_stats(server.crew, w, &stats);
        add_words(&result->sum, &stats, sizeof(stats) / sizeof(uint64_t));
        pause_max = stats.pause_max > pause_max ? stats.pause_max : pause_max;
    }
    result->sum.pause_max = pause_max;
    for (uint32_t s = 0; s < SHARDS; s++) {
        const struct weir_rudp_stats *stats = weir_rudp_stats(server.shards[s].rudp);
        for (int i = 0; i < WEIR_RUDP_DROP_COUNT; i++) {
            result->rudp_drops[i] += stats->drops[i];
        }
        result->disordered += server.shards[s].disordered;
        result->refused += server.shards[s].refused;
    }
}

/* --- the coordinator -------------------------------------------------------------------------- */

static void rest(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / WEIR_SEC), .tv_nsec = (long)(ns % WEIR_SEC)};
    (void)nanosleep(&time, NULL);
}

static void change(struct crew_load_step *step)
{
    step->change_from = crew_load_now();
    while (weir_crew_resize(server.crew, step->workers) == WEIR_AGAIN) {
        rest(20 * WEIR_USEC);
    }
    while (!weir_crew_is_settled(server.crew)) {
        rest(20 * WEIR_USEC);
    }
    step->change_until = crew_load_now();
}

static void follow_plan(struct crew_load_result *result)
{
    const struct crew_load_config *config = server.config;
    for (uint32_t i = 0; i < config->plan_count; i++) {
        struct crew_load_step *step = &result->steps[i];
        step->workers = config->plan[i];
        if (i > 0) {
            change(step);
        }
        rest(config->dwell_ms * WEIR_MSEC / 4);
        read_step(step, false);
        rest(config->dwell_ms * WEIR_MSEC * 3 / 4);
        read_step(step, true);
    }
    result->step_count = config->plan_count;
}

static bool await(const bool *flag)
{
    for (uint32_t ms = 0; ms < PENDING_MS_MAX; ms += 10) {
        if (__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
            return true;
        }
        rest(10 * WEIR_MSEC);
    }
    return false;
}

static void mark(const char *text)
{
    if (server.config->are_marks_written) {
        (void)!write(STDERR_FILENO, text, strlen(text));
    }
}

int crew_load_serve(const struct crew_load_config *config, struct crew_load_shared *shared)
{
    struct crew_load_result *result = &shared->result;
    server.config = config;
    server.shared = shared;
    if (!open_server()) {
        __atomic_store_n(&shared->is_broken, true, __ATOMIC_RELEASE);
        return 1;
    }
    rest(10 * WEIR_MSEC);
    mark("crew: started\n");
    __atomic_store_n(&shared->port, server.queues[0]->local.port, __ATOMIC_RELEASE);
    if (!await(&shared->are_opened)) {
        return 1;
    }
    uint64_t drops = kernel_drops();
    follow_plan(result);
    __atomic_store_n(&shared->is_over, true, __ATOMIC_RELEASE);
    bool is_closed = await(&shared->is_closed);
    result->kernel_drops = kernel_drops() - drops;
    mark("crew: stopping\n");
    weir_crew_stop(server.crew);
    sum_up(result);
    close_server();
    return is_closed ? 0 : 1;
}
