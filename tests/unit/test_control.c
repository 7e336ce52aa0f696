/* SPDX-License-Identifier: MIT */
/*
 * test_control.c - a crew watched and steered, its parts: requests, figures, metrics, tables,
 * clients of a socket. On a crew that runs: test_crew_control.c.
 */
#include "seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/control_socket.h"
#include "cli/crew_view.h"
#include "cli/door.h"
#include "cli/metrics.h"
#include "weir/weir.h"

enum {
    SHARDS = 13
};

/* --- requests --------------------------------------------------------------------------------- */

static void test_requests(void **state)
{
    static const struct {
        const char *line;
        enum cli_control_verb verb;
        uint32_t workers;
    } good[] = {{"stats", CLI_CONTROL_STATS, 0},
                {"workers", CLI_CONTROL_WORKERS, 0},
                {"help", CLI_CONTROL_HELP, 0},
                {"resize 1", CLI_CONTROL_RESIZE, 1},
                {"resize 64", CLI_CONTROL_RESIZE, 64},
                {"resize 4294967295", CLI_CONTROL_RESIZE, UINT32_MAX}};

    static const char *const bad[] = {
        "",           " ",         "stat",      "statss",     "stats ",
        "stats 1",    "resize",    "resize ",   "resize -1",  "resize x",
        "resize 1 2", "resize  2", "resize 1 ", "resize 0x2", "resize 4294967296",
        "RESIZE 1",   "resize\t1", "resize 1.5"};
    struct cli_control_request request;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(cli_control_read(good[i].line, strlen(good[i].line), &request));
        assert_int_equal(request.verb, good[i].verb);
        assert_int_equal(request.workers, good[i].workers);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (cli_control_read(bad[i], strlen(bad[i]), &request) == NULL) {
            fail_msg("taken: '%s'", bad[i]);
        }
        assert_int_equal(request.verb, CLI_CONTROL_UNKNOWN);
    }
    assert_non_null(cli_control_read("stats\0", 6, &request));
    char longest[CLI_CONTROL_REQUEST_BYTES + 1];
    memset(longest, 'a', sizeof(longest));
    assert_non_null(cli_control_read(longest, sizeof(longest), &request));
}

/* --- figures ---------------------------------------------------------------------------------- */

static struct cli_figures *make_figures(void)
{
    static struct cli_figures figures;
    memset(&figures, 0, sizeof(figures));
    (void)snprintf(figures.version, sizeof(figures.version), "1.2");
    (void)snprintf(figures.command, sizeof(figures.command), "weir perf");
    (void)snprintf(figures.scheme, sizeof(figures.scheme), "rudp");
    (void)snprintf(figures.local, sizeof(figures.local), "127.0.0.1:4433");
    figures.pid = 77;
    figures.at = 100 * WEIR_SEC;
    figures.up = 10 * WEIR_SEC;
    figures.workers = 2;
    figures.wanted = 3;
    figures.max = 8;
    figures.is_auto = true;
    figures.pauses = (struct cli_pauses){5, 500, 200, 90, 150, 200};
    figures.shard_count = SHARDS;
    figures.drop_count = 2;
    (void)snprintf(figures.drop_names[0], CLI_FIGURES_WORD_BYTES, "checksum");
    (void)snprintf(figures.drop_names[1], CLI_FIGURES_WORD_BYTES, "a \"b\"\\\n");
    figures.drops[0] = 12;
    figures.drops[1] = 13;
    uint64_t value = 1;
    for (uint32_t i = 0; i < 3; i++) {
        figures.has_run[i] = true;
        for (size_t k = 0; k < CLI_FIGURES_WORKER_FIELDS; k++, value += 1000003) {
            memcpy((char *)&figures.worker[i] + cli_worker_fields[k].offset, &value, 8);
        }
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (size_t k = 0; k < CLI_FIGURES_SHARD_FIELDS; k++, value += 1000003) {
            memcpy((char *)&figures.shard[i] + cli_shard_fields[k].offset, &value, 8);
        }
    }
    return &figures;
}

static void test_figures_travel(void **state)
{
    static struct cli_figures read;
    const struct cli_figures *figures = make_figures();
    (void)state;
    cJSON *json = cli_figures_write(figures);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    json = cJSON_Parse(text);
    cJSON_free(text);
    assert_true(cli_figures_read(json, &read));
    cJSON_Delete(json);
    assert_string_equal(read.version, figures->version);
    assert_string_equal(read.command, figures->command);
    assert_string_equal(read.local, figures->local);
    assert_int_equal(read.pid, 77);
    assert_int_equal(read.at, figures->at);
    assert_int_equal(read.up, figures->up);
    assert_int_equal(read.workers, 2);
    assert_int_equal(read.wanted, 3);
    assert_int_equal(read.max, 8);
    assert_true(read.is_auto && !read.is_settled);
    assert_memory_equal(&read.pauses, &figures->pauses, sizeof(read.pauses));
    assert_int_equal(read.drop_count, 2);
    assert_string_equal(read.drop_names[1], "a \"b\"\\?");
    assert_int_equal(read.drops[1], 13);
    assert_int_equal(read.shard_count, SHARDS);
    for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
        assert_int_equal(read.has_run[i], i < 3);
        for (size_t k = 0; k < CLI_FIGURES_WORKER_FIELDS; k++) {
            assert_int_equal(cli_worker_value(&read, i, &cli_worker_fields[k]),
                             cli_worker_value(figures, i, &cli_worker_fields[k]));
        }
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (size_t k = 0; k < CLI_FIGURES_SHARD_FIELDS; k++) {
            assert_int_equal(cli_shard_value(&read, i, &cli_shard_fields[k]),
                             cli_shard_value(figures, i, &cli_shard_fields[k]));
        }
    }
}

static void test_strange_figures(void **state)
{
    static struct cli_figures read;
    static const char *const good[] = {
        "{\"weir\":\"x\\u001b[31m\",\"max\":1e300,\"pid\":-5}",
        "{\"weir\":\"x\",\"max\":8,\"worker\":[1,\"a\",null,{\"worker\":64},{\"worker\":1e18}]}",
        "{\"weir\":\"x\",\"max\":8,\"shard\":{\"a\":{\"shard\":251}},\"drops\":[1,2]}"};
    static const char *const bad[] = {
        "{}",         "[]", "3", "null", "{\"weir\":\"x\"}", "{\"weir\":\"x\",\"max\":1e300}",
        "{\"max\":3}"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cJSON *json = cJSON_Parse(good[i]);
        bool is_read = cli_figures_read(json, &read);
        assert_int_equal(is_read, i > 0);
        assert_null(strchr(read.version, '\033'));
        assert_int_equal(read.pid, 0);
        assert_in_range(read.shard_count, 0, 0);
        cJSON_Delete(json);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cJSON *json = cJSON_Parse(bad[i]);
        assert_false(cli_figures_read(json, &read));
        cJSON_Delete(json);
    }
    assert_false(cli_figures_read(NULL, &read));
}

static void test_sums(void **state)
{
    static struct cli_figures figures;
    struct weir_figures sum;
    (void)state;
    memset(&figures, 0, sizeof(figures));
    figures.shard_count = 3;
    figures.shard[0].figures = (struct weir_figures){.connections = 5, .awake = 3, .rtt = 1000};
    figures.shard[1].figures = (struct weir_figures){.connections = 7, .awake = 0, .rtt = 5000};
    figures.shard[2].figures = (struct weir_figures){.connections = 9, .awake = 9};
    cli_figures_sum_shards(&figures, &sum);
    assert_int_equal(sum.connections, 21);
    assert_int_equal(sum.awake, 12);
    assert_int_equal(sum.rtt, 2000);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void check_lines(const char *text, const struct cli_view *view)
{
    uint32_t lines = 0;
    while (*text != 0) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        assert_true(view->width == 0 || (size_t)(end - text) <= view->width);
        text = end + 1;
        lines++;
    }
    assert_true(lines > 0 && (view->height == 0 || lines <= view->height));
}

static void test_view(void **state)
{
    static struct cli_figures before;
    struct cli_figures *figures = make_figures();
    (void)state;
    (void)snprintf(figures->drop_names[1], CLI_FIGURES_WORD_BYTES, "short");
    before = *figures;
    before.at -= WEIR_SEC;
    for (uint32_t width = 0; width <= 200; width += 7) {
        for (uint32_t height = 0; height < 30; height++) {
            for (uint32_t i = 0; i < CLI_VIEW_PARTS * CLI_SORTS; i++) {
                const struct cli_view view = {width, height, i / CLI_SORTS, i % CLI_SORTS};
                char *text = cli_view_draw(figures, i % 3 > 0 ? &before : NULL, &view);
                assert_non_null(text);
                check_lines(text, &view);
                free(text);
            }
        }
    }
    const struct cli_view all = {0};
    char *text = cli_view_draw(figures, NULL, &all);
    assert_non_null(strstr(text, "weir perf rudp://127.0.0.1:4433"));
    assert_non_null(strstr(text, "checksum 12"));
    assert_non_null(strstr(text, "\nWORKER"));
    free(text);
}

/* --- metrics ---------------------------------------------------------------------------------- */

static const struct cli_figures *give_figures(void *user)
{
    return user;
}

static struct cli_answer ask_http(const char *head)
{
    struct cli_answer answer;
    cli_metrics_answer((const uint8_t *)head, head == NULL ? 0 : strlen(head), 1000000000,
                       give_figures, make_figures(), &answer);
    assert_non_null(answer.text);
    assert_true(answer.is_last);
    char *text = realloc(answer.text, answer.length + 1);
    assert_non_null(text);
    text[answer.length] = 0;
    answer.text = text;
    return answer;
}

static void test_http(void **state)
{
    static const struct {
        const char *head;
        const char *starts;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
        {"GET /metrics?name=x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
        {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
        {"GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
         "HTTP/1.1 405 Method Not Allowed\r\n"},
        {"GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {NULL, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cli_answer answer = ask_http(cases[i].head);
        if (strncmp(answer.text, cases[i].starts, strlen(cases[i].starts)) != 0) {
            fail_msg("%s: %.80s", cases[i].head, answer.text);
        }
        const char *body = strstr(answer.text, "\r\n\r\n");
        const char *length = strstr(answer.text, "\r\nContent-Length: ");
        assert_non_null(body);
        assert_non_null(length);
        assert_int_equal(strtoul(length + 18, NULL, 10), strlen(body + 4));
        assert_non_null(strstr(answer.text, "\r\nConnection: close\r\n"));
        bool is_405 = strstr(answer.text, " 405 ") != NULL;
        assert_int_equal(is_405, strstr(answer.text, "\r\nAllow: GET, HEAD\r\n") != NULL);
        free(answer.text);
    }
    struct cli_answer answer = ask_http("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(strstr(answer.text, "\r\n\r\n"), "\r\n\r\n");
    assert_non_null(strstr(answer.text, "Content-Type: text/plain; version=0.0.4"));
    free(answer.text);
}

static void test_metrics(void **state)
{
    struct cli_figures *figures = make_figures();
    size_t length = 0;
    (void)state;
    figures->worker[0].pauses[39] = 2; /* just under 2^10 ns */
    figures->worker[1].pauses[40] = 3;
    figures->worker[1].pauses[WEIR_CREW_PAUSE_BUCKETS - 1] = 1;
    figures->worker[0].pause_sum = 1500000000;
    char *text = cli_metrics_text(figures, &length);
    assert_non_null(text);
    assert_int_equal(strlen(text), length);
    static const char *const lines[] = {
        "# TYPE weir_handover_pause_seconds histogram\n",
        "\nweir_handover_pause_seconds_bucket{le=\"0.000001024\"} 2\n",
        "\nweir_handover_pause_seconds_bucket{le=\"0.000002048\"} 5\n",
        "\nweir_handover_pause_seconds_bucket{le=\"+Inf\"} 6\n",
        "\nweir_handover_pause_seconds_sum 1.500000000\n",
        "\nweir_handover_pause_seconds_count 6\n",
        "\nweir_dropped_packets_total{reason=\"checksum\"} 12\n",
        "\nweir_dropped_packets_total{reason=\"a \\\"b\\\"\\\\\\n\"} 13\n",
        "\nweir_workers 2\n",
        "\nweir_workers_wanted 3\n",
        "\nweir_settled 0\n",
        "\nweir_uptime_seconds 10.000000000\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("not there: %s", lines[i]);
        }
    }
    free(text);
}

/* --- the door --------------------------------------------------------------------------------- */

static char directory[64];

static size_t word_length(const uint8_t *data, size_t length, size_t known)
{
    const uint8_t *end = length > known ? memchr(data + known, '\n', length - known) : NULL;
    return end == NULL ? 0 : (size_t)(end - data) + 1;
}

/* Says each request back, "bye" for the last time; a long one is told apart. */
static void echo(void *user, const uint8_t *data, size_t length, struct cli_answer *answer)
{
    (*(uint32_t *)user)++;
    const char *text = data == NULL ? "long\n" : (const char *)data;
    *answer = (struct cli_answer){.length = data == NULL ? 5 : length};
    answer->text = malloc(answer->length);
    assert_non_null(answer->text);
    memcpy(answer->text, text, answer->length);
    answer->is_last = answer->length == 4 && memcmp(text, "bye\n", 4) == 0;
}

struct door_world {
    struct cli_listener listener;
    struct cli_door *door;
    uint32_t asked;
    weir_nsec now;
};

static void open_door(struct door_world *world)
{
    char problem[CLI_PROBLEM_BYTES];
    char path[CLI_SOCKET_PATH_BYTES];
    const struct cli_door_config config = {.request_bytes_max = 16,
                                           .patience = WEIR_SEC,
                                           .request_length = word_length,
                                           .answer = echo,
                                           .user = &world->asked};
    (void)snprintf(path, sizeof(path), "%s/door", directory);
    assert_true(cli_listener_open(&world->listener, path, problem));
    world->now = WEIR_SEC;
    world->asked = 0;
    world->door = cli_door_open(world->listener.fd, &config);
    assert_non_null(world->door);
}

static void close_door(struct door_world *world)
{
    cli_door_close(world->door);
    cli_listener_remove(&world->listener);
    assert_int_equal(access(world->listener.path, F_OK), -1);
}

static void serve(struct door_world *world, weir_nsec later)
{
    for (int i = 0; i < 4; i++) {
        struct pollfd fds[CLI_DOOR_FDS_MAX];
        uint32_t count = cli_door_fds(world->door, world->now, fds);
        assert_true(count <= CLI_DOOR_FDS_MAX);
        assert_true(poll(fds, count, 0) >= 0);
        cli_door_serve(world->door, world->now + later, fds, count);
    }
    world->now += later;
}

static int come(const struct door_world *world)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } address = {.un = {.sun_family = AF_UNIX}};

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    memcpy(address.un.sun_path, world->listener.path, sizeof(address.un.sun_path));
    assert_int_equal(connect(fd, &address.any, sizeof(address.un)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What came, "" when it was dropped, NULL when nothing came. */
static const char *hear(int fd)
{
    static char text[256];
    ssize_t got = recv(fd, text, sizeof(text) - 1, 0);
    text[got > 0 ? got : 0] = 0;
    return got < 0 ? NULL : text;
}

static void test_door(void **state)
{
    struct door_world world;
    (void)state;
    open_door(&world);
    int fd = come(&world);
    say(fd, "one\ntwo\nthr");
    serve(&world, 0);
    assert_string_equal(hear(fd), "one\ntwo\n");
    serve(&world, WEIR_SEC / 2);
    assert_null(hear(fd));
    say(fd, "ee\n");
    serve(&world, 0);
    assert_string_equal(hear(fd), "three\n");
    /* Sixteen bytes without an end are no request. */
    say(fd, "0123456789abcdef");
    serve(&world, 0);
    assert_string_equal(hear(fd), "long\n");
    assert_string_equal(hear(fd), "");
    (void)close(fd);
    /* The last answer, and what comes after it is not looked at. */
    fd = come(&world);
    say(fd, "bye\nmore\n");
    serve(&world, 0);
    assert_string_equal(hear(fd), "bye\n");
    assert_string_equal(hear(fd), "");
    (void)close(fd);
    /* All said, then the end. */
    fd = come(&world);
    say(fd, "a\nb\nc");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    serve(&world, 0);
    assert_string_equal(hear(fd), "a\nb\n");
    assert_string_equal(hear(fd), "");
    (void)close(fd);
    serve(&world, 0);
    assert_int_equal(world.asked, 3 + 1 + 1 + 2);
    assert_true(cli_door_next_timeout(world.door) == WEIR_NEVER);
    close_door(&world);
}

static void test_door_patience(void **state)
{
    struct door_world world;
    int fds[CLI_DOOR_CLIENTS_MAX];
    (void)state;
    open_door(&world);
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        fds[i] = come(&world);
        say(fds[i], "half");
    }
    serve(&world, 0);
    int late = come(&world);
    say(late, "x\n");
    serve(&world, WEIR_SEC / 2);
    assert_null(hear(late));
    assert_true(cli_door_next_timeout(world.door) == world.now + WEIR_SEC / 2);
    say(fds[3], "\n");
    serve(&world, 0);
    assert_string_equal(hear(fds[3]), "half\n");
    /* The silent ones are dropped, the other has time, and who waited gets in. */
    serve(&world, WEIR_SEC / 2);
    serve(&world, 0);
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        const char *heard = hear(fds[i]);
        assert_true(i == 3 ? heard == NULL : heard != NULL && heard[0] == 0);
        (void)close(fds[i]);
    }
    assert_string_equal(hear(late), "x\n");
    (void)close(late);
    close_door(&world);
}

/* A client that asks and asks and never reads: one answer waits, then it is dropped. */
static void test_door_slow(void **state)
{
    struct door_world world;
    (void)state;
    open_door(&world);
    int fd = come(&world);
    const int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    uint32_t before = 0;
    for (int i = 0; i < 100000; i++) {
        before = world.asked;
        (void)send(fd, "0123456789abcd\n", 15, MSG_NOSIGNAL | MSG_DONTWAIT);
        serve(&world, 0);
        if (i > 100 && world.asked == before) {
            break;
        }
    }
    assert_int_equal(world.asked, before);
    serve(&world, WEIR_SEC);
    assert_true(cli_door_next_timeout(world.door) == WEIR_NEVER);
    (void)close(fd);
    close_door(&world);
}

/* --- where sockets are ------------------------------------------------------------------------ */

static void test_places(void **state)
{
    char problem[CLI_PROBLEM_BYTES];
    char path[CLI_SOCKET_PATH_BYTES];
    static char found[CLI_SOCKETS_MAX][CLI_SOCKET_PATH_BYTES];
    struct cli_listener first;
    struct cli_listener second;
    struct stat info;
    (void)state;
    assert_true(cli_listener_open(&first, NULL, problem));
    (void)snprintf(path, sizeof(path), "%s/weir/%d.sock", directory, getpid());
    assert_string_equal(first.path, path);
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISSOCK(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(cli_sockets_find(found), 1);
    assert_string_equal(found[0], path);
    /* One that is answered stays, one that is dead is replaced. */
    assert_false(cli_listener_open(&second, path, problem));
    assert_non_null(strstr(problem, "already"));
    (void)close(first.fd);
    /* Other weirs of this user may run, elsewhere. */
    size_t count = cli_sockets_find(found);
    for (size_t i = 0; i < count; i++) {
        assert_string_not_equal(found[i], path);
    }
    (void)usleep(20000); /* file systems tell times apart by ticks of a coarse clock */
    assert_true(cli_listener_open(&second, path, problem));
    cli_listener_remove(&first); /* not its own any more */
    assert_int_equal(access(path, F_OK), 0);
    (void)close(second.fd);
    cli_listener_remove(&second);
    assert_int_equal(access(path, F_OK), -1);

    /* One of another kind is somebody's, too, as a system's log has it. */
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } log = {.un = {.sun_family = AF_UNIX}};

    int log_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(log.un.sun_path, path, strlen(path));
    assert_int_equal(bind(log_fd, &log.any, sizeof(log.un)), 0);
    assert_false(cli_listener_open(&first, path, problem));
    assert_non_null(strstr(problem, "another program's"));
    assert_int_equal(access(path, F_OK), 0);
    (void)close(log_fd);
    assert_true(cli_listener_open(&first, path, problem));
    (void)close(first.fd);
    cli_listener_remove(&first);
    /* A file is no socket, and a path has an end. */
    assert_false(cli_listener_open(&first, directory, problem));
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    char longer[CLI_SOCKET_PATH_BYTES + 1];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_false(cli_listener_open(&first, longer, problem));
    assert_false(cli_listener_open(&first, "", problem));
    /* A directory that others may look into is not taken. */
    (void)snprintf(path, sizeof(path), "%s/weir", directory);
    assert_int_equal(chmod(path, 0755), 0);
    bool is_open = cli_listener_open(&first, NULL, problem);
    assert_true(!is_open || strncmp(first.path, directory, strlen(directory)) != 0);
    if (is_open) {
        (void)close(first.fd);
        cli_listener_remove(&first);
    }
    assert_int_equal(rmdir(path), 0);
    assert_null(cli_socket_ask(path, "stats", WEIR_SEC, problem));
    assert_non_null(strstr(problem, "no such socket"));
}

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test_control.XXXXXX");
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is no other thread yet */
    return mkdtemp(directory) == NULL || setenv("XDG_RUNTIME_DIR", directory, 1) != 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests),
                                       cmocka_unit_test(test_figures_travel),
                                       cmocka_unit_test(test_strange_figures),
                                       cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_view),
                                       cmocka_unit_test(test_http),
                                       cmocka_unit_test(test_metrics),
                                       cmocka_unit_test(test_door),
                                       cmocka_unit_test(test_door_patience),
                                       cmocka_unit_test(test_door_slow),
                                       cmocka_unit_test(test_places)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
