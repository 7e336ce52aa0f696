/* SPDX-License-Identifier: MIT */
/*
 * crew_load_clients.c - the clients: many connections over a few sockets, one thread.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crew_load_internal.h"

enum {
    OPENING_MAX = 128, /* at once */
    OPEN_SEC_MAX = 100,
    DRAIN_SEC_MAX = 20,
    SAMPLES_MAX = 4 << 20,
    SETTLING_NS = 2000000 /* a change is felt so long, it is assumed, after it is over */
};

struct client {
    struct weir_rudp_conn *conn;
    struct stack *stack;
    uint32_t sent, echoed;
};

struct stack {
    struct weir_driver *driver;
    struct weir_slide *slide;
    struct weir_rudp *rudp;
    struct weir_loop *loop;
    void *slide_mem, *rudp_mem;
    size_t slide_bytes, rudp_bytes;
};

struct sample {
    weir_nsec sent_at;
    weir_nsec trip;
};

static struct clients {
    const struct crew_load_config *config;
    struct crew_load_result *result;
    struct stack stacks[CREW_LOAD_SOCKETS_MAX];
    struct client *all;
    struct sample *samples;
    size_t sample_count;
    uint32_t started;
    bool is_ending;
} clients;

weir_nsec crew_load_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (weir_nsec)time.tv_sec * WEIR_SEC + (weir_nsec)time.tv_nsec;
}

/* --- messages --------------------------------------------------------------------------------- */

static void send_next(struct client *client)
{
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    uint8_t bytes[CREW_LOAD_MESSAGE_BYTES] = {0};
    struct crew_load_message message = {.number = client->sent, .sent_at = crew_load_now()};
    memcpy(bytes, &message, sizeof(message));
    if (weir_rudp_send(client->conn, &how, bytes, sizeof(bytes)) != WEIR_OK) {
        clients.result->refused++;
        return;
    }
    client->sent++;
    clients.result->sent++;
}

static void on_message(const struct weir_rudp_event *event)
{
    struct client *client = (struct client *)weir_rudp_user(event->conn);
    struct crew_load_message message;
    struct weir_span data = event->message.data;
    memcpy(&message, data.data, sizeof(message));
    if (data.length != CREW_LOAD_MESSAGE_BYTES || message.number != client->echoed) {
        clients.result->disordered++;
    }
    client->echoed++;
    clients.result->echoed++;
    if (clients.sample_count < SAMPLES_MAX) {
        clients.samples[clients.sample_count++] =
            (struct sample){message.sent_at, crew_load_now() - message.sent_at};
    }
    if (clients.config->outstanding > 0 && !clients.is_ending) {
        send_next(client);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct stack *stack = (struct stack *)user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(stack->rudp, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_OPENED) {
            clients.result->opened++;
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            on_message(&event);
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            clients.result->ended++;
        }
    }
}

/* --- sockets ---------------------------------------------------------------------------------- */

static bool open_stack(struct stack *stack)
{
    struct weir_udp_config udp;
    struct weir_slide_config slide;
    struct weir_rudp_config rudp;
    struct weir_loop_config loop;
    uint8_t seed[32];
    int error = 0;
    weir_udp_config_default(&udp);
    udp.bind = (struct weir_addr){.ip = {127, 0, 0, 1}, .family = WEIR_ADDR_IP4};
    weir_slide_config_default(&slide);
    stack->slide_bytes = weir_slide_mem_size(&slide);
    stack->slide_mem = weir_mem_map(stack->slide_bytes);
    if (weir_udp_open(&udp, &stack->driver, NULL, &error) != WEIR_OK ||
        weir_slide_init(stack->slide_mem, &slide, &stack->slide) != WEIR_OK ||
        weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    weir_rudp_config_default(&rudp);
    rudp.slide = stack->slide;
    rudp.connections_max = clients.config->connections / clients.config->sockets + 1;
    rudp.send_bytes = rudp.assembly_bytes = 16 << 20;
    rudp.connect_timeout = 30 * WEIR_SEC;
    stack->rudp_bytes = weir_rudp_mem_size(&rudp);
    stack->rudp_mem = weir_mem_map(stack->rudp_bytes);
    weir_loop_config_default(&loop);
    loop.driver = stack->driver;
    loop.slide = stack->slide;
    if (weir_rudp_init(stack->rudp_mem, &rudp, seed, crew_load_now(), &stack->rudp) != WEIR_OK ||
        weir_loop_open(&loop, &stack->loop) != WEIR_OK) {
        return false;
    }
    weir_loop_attach(stack->loop, stack->rudp, weir_rudp_verbs(), on_events, stack);
    return true;
}

static void close_stack(struct stack *stack)
{
    weir_loop_close(stack->loop);
    stack->driver->ops->close(stack->driver);
    weir_mem_unmap(stack->rudp_mem, stack->rudp_bytes);
    weir_mem_unmap(stack->slide_mem, stack->slide_bytes);
}

/* One wait for all sockets, until then at most; those that have anything to do do it. */
static bool run_until(weir_nsec until)
{
    struct pollfd fds[CREW_LOAD_SOCKETS_MAX];
    uint32_t count = clients.config->sockets;
    for (uint32_t i = 0; i < count; i++) {
        struct weir_loop *loop = clients.stacks[i].loop;
        weir_nsec next = weir_loop_next_timeout(loop);
        until = next < until ? next : until;
        fds[i] = (struct pollfd){.fd = weir_loop_fd(loop), .events = POLLIN};
        if (weir_loop_is_blocked(loop)) {
            fds[i].events |= POLLOUT;
        }
    }
    weir_nsec now = crew_load_now();
    weir_nsec left = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / WEIR_SEC),
                               .tv_nsec = (long)(left % WEIR_SEC)};
    if (ppoll(fds, count, &timeout, NULL) < 0) {
        return false;
    }
    now = crew_load_now();
    for (uint32_t i = 0; i < count; i++) {
        struct weir_loop *loop = clients.stacks[i].loop;
        if ((fds[i].revents != 0 || weir_loop_next_timeout(loop) <= now) &&
            weir_loop_run_once(loop, 0) != WEIR_OK) {
            return false;
        }
    }
    return true;
}

/* --- the run ---------------------------------------------------------------------------------- */

static bool connect_next(const struct weir_addr *to)
{
    struct client *client = &clients.all[clients.started];
    client->stack = &clients.stacks[clients.started % clients.config->sockets];
    enum weir_status status =
        weir_rudp_connect(client->stack->rudp, crew_load_now(), to, client, &client->conn);
    clients.started += status == WEIR_OK;
    return status == WEIR_OK;
}

static bool connect_all(uint16_t port)
{
    const struct weir_addr to = {.ip = {127, 0, 0, 1}, .port = port, .family = WEIR_ADDR_IP4};
    weir_nsec give_up = crew_load_now() + OPEN_SEC_MAX * WEIR_SEC;
    const struct crew_load_result *result = clients.result;
    while (result->opened < clients.config->connections && crew_load_now() < give_up &&
           result->ended == 0) {
        while (clients.started < clients.config->connections &&
               clients.started - result->opened < OPENING_MAX && connect_next(&to)) {
        }
        if (!run_until(crew_load_now() + WEIR_MSEC)) {
            return false;
        }
    }
    return result->opened == clients.config->connections;
}

static void flush(const struct client *client)
{
    (void)!weir_loop_flush(client->stack->loop);
}

/* Connections in turn, in strides that put neighbours on different sockets and shards. */
static bool send_at_rate(const struct crew_load_shared *shared)
{
    const weir_nsec gap = WEIR_SEC / clients.config->messages_per_second;
    weir_nsec next = crew_load_now();
    uint64_t turn = 0;
    while (!__atomic_load_n(&shared->is_over, __ATOMIC_ACQUIRE)) {
        while (next <= crew_load_now()) {
            struct client *client = &clients.all[turn++ * 7919 % clients.config->connections];
            send_next(client);
            flush(client);
            next += gap;
        }
        if (!run_until(next)) {
            return false;
        }
    }
    return true;
}

static bool send_on_echo(const struct crew_load_shared *shared)
{
    for (uint32_t i = 0; i < clients.config->connections; i++) {
        for (uint32_t k = 0; k < clients.config->outstanding; k++) {
            send_next(&clients.all[i]);
        }
        flush(&clients.all[i]);
    }
    while (!__atomic_load_n(&shared->is_over, __ATOMIC_ACQUIRE)) {
        if (!run_until(crew_load_now() + WEIR_MSEC)) {
            return false;
        }
    }
    return true;
}

static bool drain(void)
{
    weir_nsec give_up = crew_load_now() + DRAIN_SEC_MAX * WEIR_SEC;
    clients.is_ending = true;
    while (clients.result->echoed < clients.result->sent && crew_load_now() < give_up) {
        if (!run_until(crew_load_now() + WEIR_MSEC)) {
            return false;
        }
    }
    return clients.result->echoed == clients.result->sent;
}

/* --- round trips ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void measure(uint64_t *trips, size_t count, struct crew_load_trips *to)
{
    *to = (struct crew_load_trips){.count = count};
    if (count == 0) {
        return;
    }
    qsort(trips, count, sizeof(*trips), compare);
    to->p50 = trips[count / 2];
    to->p99 = trips[count * 99 / 100];
    to->p999 = trips[count * 999 / 1000];
    to->max = trips[count - 1];
}

static bool met_change(const struct sample *sample)
{
    const struct crew_load_result *result = clients.result;
    for (uint32_t i = 1; i < result->step_count; i++) {
        if (sample->sent_at <= result->steps[i].change_until + SETTLING_NS &&
            sample->sent_at + sample->trip >= result->steps[i].change_from) {
            return true;
        }
    }
    return false;
}

static bool sort_trips(void)
{
    size_t during = 0;
    size_t quiet = 0;
    uint64_t *trips = malloc((clients.sample_count + 1) * sizeof(*trips));
    if (trips == NULL) {
        return false;
    }
    for (size_t i = 0; i < clients.sample_count; i++) {
        bool is_during = met_change(&clients.samples[i]);
        size_t at = is_during ? clients.sample_count - ++during : quiet++;
        trips[at] = clients.samples[i].trip;
    }
    measure(trips, quiet, &clients.result->quiet);
    measure(trips + quiet, during, &clients.result->during);
    free(trips);
    return true;
}

static bool open_clients(const struct crew_load_config *config, struct crew_load_result *result)
{
    clients = (struct clients){.config = config, .result = result};
    clients.all = calloc(config->connections, sizeof(*clients.all));
    clients.samples = malloc(SAMPLES_MAX * sizeof(*clients.samples));
    bool is_open = clients.all != NULL && clients.samples != NULL;
    for (uint32_t i = 0; is_open && i < config->sockets; i++) {
        is_open = open_stack(&clients.stacks[i]);
    }
    return is_open;
}

bool crew_load_clients(const struct crew_load_config *config, struct crew_load_shared *shared)
{
    if (!open_clients(config, &shared->result)) {
        (void)fputs("crew_load: the clients cannot be opened\n", stderr);
        return false;
    }
    uint32_t port = __atomic_load_n(&shared->port, __ATOMIC_ACQUIRE);
    bool is_good = connect_all((uint16_t)port);
    if (!is_good) {
        (void)fprintf(stderr, "crew_load: %u of %u connections\n", shared->result.opened,
                      config->connections);
    }
    __atomic_store_n(&shared->are_opened, true, __ATOMIC_RELEASE);
    is_good = is_good && (config->outstanding > 0 ? send_on_echo(shared) : send_at_rate(shared)) &&
              drain();
    is_good = sort_trips() && is_good;
    __atomic_store_n(&shared->is_closed, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < config->sockets; i++) {
        close_stack(&clients.stacks[i]);
    }
    free(clients.all);
    free(clients.samples);
    return is_good;
}
