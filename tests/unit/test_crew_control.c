/* SPDX-License-Identifier: MIT */
/*
 * test_crew_control.c - a crew of threads with real sockets, watched and steered through its
 * control socket and by signals; and weir ctl with one that behaves strangely.
 */
#include "seed.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/control_socket.h"
#include "cli/crew.h"
#include "cli/door.h"
#include "cli/figures.h"
#include "weir/weir.h"

enum {
    SHARDS = 13,
    WORKERS = 4
};

static char directory[64];

/* --- a crew of threads ------------------------------------------------------------------------ */

struct world {
    struct weir_crew *crew;
    struct weir_driver *queues[WORKERS];
    struct weir_route route;
    struct weir_rudp *rudp[SHARDS];
    void *mem[SHARDS];
    struct weir_rudp_config config;
    struct cli_control *control;
    struct cli_crew_options options;
    char path[CLI_SOCKET_PATH_BYTES];
    uint32_t is_over; /* atomic: the asking thread's */
};

static void open_world(struct world *world, bool is_auto)
{
    static const uint8_t seed[32] = {7};
    struct weir_crew_config config;
    struct weir_udp_config udp;
    int error = 0;
    memset(world, 0, sizeof(*world));
    weir_udp_config_default(&udp);
    assert_int_equal(weir_addr_parse("127.0.0.1:0", &udp.bind), WEIR_OK);
    udp.is_port_reused = true;
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(weir_udp_open(&udp, &world->queues[i], NULL, &error), WEIR_OK);
        udp.bind = world->queues[i]->local;
    }
    weir_route_init(&world->route, seed, SHARDS);
    weir_crew_config_default(&config);
    config.shards = SHARDS;
    config.workers_max = WORKERS;
    config.queues = world->queues;
    config.route = weir_rudp_route;
    config.route_user = &world->route;
    config.limits.workers_min = is_auto ? WORKERS - 1 : 0;
    assert_int_equal(weir_crew_open(&config, &world->crew), WEIR_OK);
    weir_rudp_config_default(&world->config);
    world->config.connections_max = 16;
    for (uint32_t s = 0; s < SHARDS; s++) {
        world->config.slide = weir_crew_slide(world->crew, s);
        world->config.route = &world->route;
        world->config.shard = s;
        world->mem[s] = weir_mem_map(weir_rudp_mem_size(&world->config));
        assert_non_null(world->mem[s]);
        assert_int_equal(weir_rudp_init(world->mem[s], &world->config, seed, 0, &world->rudp[s]),
                         WEIR_OK);
        weir_crew_attach(world->crew, s, world->rudp[s], weir_rudp_verbs(), NULL, NULL);
    }
    (void)snprintf(world->path, sizeof(world->path), "%s/crew", directory);
    world->options = (struct cli_crew_options){.workers = 1,
                                               .workers_max = WORKERS,
                                               .is_given = true,
                                               .is_auto = is_auto,
                                               .control = world->path,
                                               .metrics = "127.0.0.1:0"};
    assert_true(cli_control_open(&world->control, &world->options, world->crew, "rudp", &udp.bind,
                                 weir_rudp_verbs()->drop_names));
    assert_int_equal(weir_crew_start(world->crew), WEIR_OK);
}

static void close_world(struct world *world)
{
    cli_control_close(world->control);
    assert_int_equal(access(world->path, F_OK), -1);
    weir_crew_close(world->crew);
    for (uint32_t s = 0; s < SHARDS; s++) {
        weir_mem_unmap(world->mem[s], weir_rudp_mem_size(&world->config));
    }
    for (int i = 0; i < WORKERS; i++) {
        world->queues[i]->ops->close(world->queues[i]);
    }
}

static cJSON *ask(struct world *world, const char *request)
{
    char problem[CLI_PROBLEM_BYTES];
    cJSON *json = cli_socket_ask(world->path, request, 20 * WEIR_SEC, problem);
    if (json == NULL) {
        (void)fprintf(stderr, "%s: %s\n", request, problem);
        abort();
    }
    return json;
}

static uint32_t number_in(const cJSON *json, const char *name)
{
    double value = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return (uint32_t)value;
}

static void must(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

static void await_workers(struct world *world, uint32_t workers)
{
    bool is_there = false;
    while (!is_there) {
        cJSON *json = ask(world, "workers");
        is_there = number_in(json, "wanted") == workers && number_in(json, "workers") == workers &&
                   cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "settled"));
        must(number_in(json, "max") == WORKERS, "max");
        cJSON_Delete(json);
        (void)usleep(1000);
    }
}

/* The thread that asks; asserts of cmocka are the main thread's. */
static void *keep_asking(void *user)
{
    static const uint32_t plan[] = {3, 1, 4, 2, 1, 4};
    static struct cli_figures figures;
    struct world *world = user;
    char request[32];
    for (size_t i = 0; i < sizeof(plan) / sizeof(plan[0]); i++) {
        (void)snprintf(request, sizeof(request), "resize %u", plan[i]);
        cJSON *json = ask(world, request);
        must(number_in(json, "wanted") == plan[i], "wanted");
        cJSON_Delete(json);
        await_workers(world, plan[i]);
    }
    /* Two at once: the second is begun when the first is over. */
    cJSON_Delete(ask(world, "resize 2"));
    cJSON_Delete(ask(world, "resize 3"));
    await_workers(world, 3);
    (void)kill(getpid(), SIGUSR1);
    await_workers(world, 4);
    (void)kill(getpid(), SIGUSR2);
    await_workers(world, 3);
    static const char *const wrong[] = {"resize 0", "resize 5", "resize x", "nonsense", ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cJSON *json = ask(world, wrong[i]);
        must(cJSON_GetObjectItemCaseSensitive(json, "error") != NULL, "an error");
        cJSON_Delete(json);
    }
    cJSON *json = ask(world, "stats");
    must(cli_figures_read(json, &figures), "figures");
    must(figures.shard_count == SHARDS && figures.workers == 3 && figures.pauses.count > 0,
         "shards, workers, pauses");
    must(figures.drop_count > 3 && figures.metrics[0] != 0, "reasons, the address of the metrics");
    cJSON_Delete(json);
    json = ask(world, "help");
    must(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "commands")) == 4, "help");
    cJSON_Delete(json);
    __atomic_store_n(&world->is_over, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void test_crew(void **state)
{
    static struct world world;
    pthread_t thread;
    (void)state;
    open_world(&world, false);
    assert_int_equal(pthread_create(&thread, NULL, keep_asking, &world), 0);
    while (__atomic_load_n(&world.is_over, __ATOMIC_ACQUIRE) == 0) {
        (void)cli_control_wait(world.control, 20 * WEIR_MSEC);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_world(&world);
}

/* The end is told once; then the wait is a wait again. */
static void test_end(void **state)
{
    static struct world world;
    (void)state;
    open_world(&world, false);
    cli_catch_signals();
    assert_true(cli_control_wait(world.control, WEIR_MSEC));
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(cli_is_stopping, 1);
    assert_false(cli_control_wait(world.control, WEIR_NEVER));
    assert_true(cli_control_wait(world.control, WEIR_MSEC));
    cli_is_stopping = 0;
    close_world(&world);
}

/* Signals beyond what there may be change nothing, and a request after the end is refused. */
static void test_bounds(void **state)
{
    static struct world world;
    (void)state;
    open_world(&world, false);
    assert_int_equal(raise(SIGUSR2), 0);
    (void)cli_control_wait(world.control, 10 * WEIR_MSEC);
    assert_int_equal(weir_crew_workers(world.crew), 1);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(raise(SIGUSR1), 0);
    }
    while (weir_crew_workers(world.crew) != WORKERS || !weir_crew_is_settled(world.crew)) {
        (void)cli_control_wait(world.control, 10 * WEIR_MSEC);
    }
    weir_crew_stop(world.crew);
    assert_int_equal(raise(SIGUSR2), 0);
    (void)cli_control_wait(world.control, 10 * WEIR_MSEC);
    close_world(&world);
}

/* --- weir ctl --------------------------------------------------------------------------------- */

/* Somebody who gives the same answer to everything. */
struct actor {
    struct cli_listener listener;
    struct cli_door *door;
    const char *line;
    uint32_t is_over; /* atomic: the main thread's */
};

static size_t line_length(const uint8_t *data, size_t length, size_t known)
{
    const uint8_t *end = length > known ? memchr(data + known, '\n', length - known) : NULL;
    return end == NULL ? 0 : (size_t)(end - data) + 1;
}

static void act(void *user, const uint8_t *data, size_t length, struct cli_answer *answer)
{
    const struct actor *actor = user;
    (void)data;
    (void)length;
    *answer = (struct cli_answer){.text = strdup(actor->line), .length = strlen(actor->line)};
}

static void *keep_acting(void *user)
{
    struct actor *actor = user;
    while (__atomic_load_n(&actor->is_over, __ATOMIC_ACQUIRE) == 0) {
        struct pollfd fds[CLI_DOOR_FDS_MAX];
        uint32_t count = cli_door_fds(actor->door, 1, fds);
        (void)poll(fds, count, 10);
        cli_door_serve(actor->door, 1, fds, count);
    }
    return NULL;
}

/* What "weir ctl A B" ends with when all that it hears is line. */
static int run_ctl(const char *line, const char *a, const char *b)
{
    char problem[CLI_PROBLEM_BYTES];
    char words[7][CLI_SOCKET_PATH_BYTES] = {"weir ctl", "", "", "--timeout", "100ms"};
    char *argv[7];
    int argc = 0;
    pthread_t thread;
    struct actor actor = {.line = line};
    const struct cli_door_config config = {.request_bytes_max = 256,
                                           .patience = WEIR_SEC,
                                           .request_length = line_length,
                                           .answer = act,
                                           .user = &actor};
    (void)snprintf(words[1], sizeof(words[1]), "%s", a);
    (void)snprintf(words[2], sizeof(words[2]), "%s", b == NULL ? "" : b);
    (void)snprintf(words[5], sizeof(words[5]), "--socket=%s/actor", directory);
    (void)snprintf(words[6], sizeof(words[6]), "%s/actor", directory);
    for (int i = 0; i < 6; i++) {
        if (words[i][0] != 0 && (b != NULL || i < 2 || i > 4)) {
            argv[argc++] = words[i];
        }
    }
    argv[argc] = NULL;
    assert_true(cli_listener_open(&actor.listener, words[6], problem));
    actor.door = cli_door_open(actor.listener.fd, &config);
    assert_non_null(actor.door);
    assert_int_equal(pthread_create(&thread, NULL, keep_acting, &actor), 0);
    int code = cli_ctl(argc, argv);
    __atomic_store_n(&actor.is_over, 1, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cli_door_close(actor.door);
    cli_listener_remove(&actor.listener);
    return code;
}

static void test_ctl(void **state)
{
    static const struct {
        const char *line, *a, *b;
        int code;
    } cases[] = {
        {"{\"workers\":3,\"wanted\":3,\"max\":8,\"settled\":true}\n", "resize", "3", CLI_OK},
        /* Never settled, somebody else's wish, an error, no answer of a weir, none at all. */
        {"{\"workers\":2,\"wanted\":3,\"max\":8,\"settled\":false}\n", "resize", "3", CLI_FAILED},
        {"{\"workers\":3,\"wanted\":5,\"max\":8,\"settled\":true}\n", "resize", "3", CLI_FAILED},
        {"{\"error\":\"no\"}\n", "resize", "3", CLI_FAILED},
        {"{\"error\":\"no\"}\n", "json", NULL, CLI_FAILED},
        {"{}\n", "resize", "3", CLI_FAILED},
        {"{}\n", "status", NULL, CLI_FAILED},
        {"[1,2\n", "json", NULL, CLI_FAILED},
        {"\n", "status", NULL, CLI_FAILED},
        {"{\"weir\":\"1\",\"max\":8}\n", "status", NULL, CLI_OK},
        {"{\"weir\":\"1\",\"max\":8}\n", "json", NULL, CLI_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = run_ctl(cases[i].line, cases[i].a, cases[i].b);
        if (code != cases[i].code) {
            fail_msg("%s: exit %d", cases[i].line, code);
        }
    }
}

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test_control.XXXXXX");
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is no other thread yet */
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* With "auto" whoever waits lets the policy decide: here that one worker is too few. */
static void test_auto(void **state)
{
    static struct world world;
    (void)state;
    open_world(&world, true);
    for (int i = 0; i < 200 && weir_crew_workers(world.crew) == 1; i++) {
        (void)cli_control_wait(world.control, 50 * WEIR_MSEC);
    }
    assert_int_equal(weir_crew_workers(world.crew), WORKERS - 1);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crew), cmocka_unit_test(test_end),
                                       cmocka_unit_test(test_bounds), cmocka_unit_test(test_auto),
                                       cmocka_unit_test(test_ctl)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
