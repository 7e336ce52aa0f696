/* SPDX-License-Identifier: MIT */
/*
 * serve_run.c - weir serve's files, its loop or crew, and the figures at the end.
 */
#include "cli/serve_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"

static const weir_nsec wait_max = WEIR_SEC; /* for signals */

struct server {
    struct cli_serve_options *options;
    struct cli_serve_shard shards[WEIR_CREW_SHARDS_MAX];
    uint32_t shard_count;
    struct cli_serve_claims claims;
    bool is_log_bad;
    /* Without a crew. */
    struct weir_driver *driver;
    struct weir_slide *slide;
    void *slide_mem;
    size_t slide_mem_bytes;
    struct weir_loop *loop;
    struct cli_crew crew;
};

/* --- files ------------------------------------------------------------------------------------ */

static bool open_log(struct cli_serve_options *options)
{
    if (options->log == NULL) {
        return true;
    }
    if (strcmp(options->log, "-") == 0) {
        options->serve.log_fd = STDOUT_FILENO;
        return true;
    }
    options->serve.log_fd = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (options->serve.log_fd < 0) {
        cli_fail(CLI_FAILED, "cannot write the log '%s': %s", options->log, cli_text_errno(errno));
        return false;
    }
    return true;
}

static bool open_files(struct cli_serve_options *options)
{
    options->serve.root_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (options->serve.root_fd < 0) {
        cli_fail(CLI_FAILED, "cannot open the directory '%s': %s", options->directory,
                 cli_text_errno(errno));
        return false;
    }
    return open_log(options);
}

static void close_files(const struct cli_serve_options *options)
{
    if (options->serve.log_fd >= 0 && options->serve.log_fd != STDOUT_FILENO) {
        (void)close(options->serve.log_fd);
    }
    if (options->serve.root_fd >= 0) {
        (void)close(options->serve.root_fd);
    }
}

/* Says so once when lines are lost; what is served goes on. */
static void check_log(struct server *server)
{
    for (uint32_t i = 0; i < server->shard_count && !server->is_log_bad; i++) {
        const struct cli_serve *serve = server->shards[i].serve;
        int error = serve != NULL ? cli_serve_log_error(serve) : 0;
        if (error != 0) {
            (void)cli_fail(CLI_FAILED, "cannot write the log '%s': %s; lines of it are lost",
                           server->options->log, cli_text_errno(error));
            server->is_log_bad = true;
        }
    }
}

static void fail_open(enum weir_status status)
{
    cli_fail(CLI_FAILED, "cannot set up the server: %s", weir_status_text(status));
}

/* --- figures ---------------------------------------------------------------------------------- */

static void add_stats(struct cli_serve_stats *sum, const struct cli_serve_stats *stats)
{
    for (size_t i = 0; i < sizeof(sum->answers) / sizeof(sum->answers[0]); i++) {
        sum->answers[i] += stats->answers[i];
    }
    sum->connections += stats->connections;
    sum->requests += stats->requests;
    sum->sent_bytes += stats->sent_bytes;
    sum->received_bytes += stats->received_bytes;
    sum->uploads += stats->uploads;
    sum->busy += stats->busy;
    sum->timeouts += stats->timeouts;
    sum->aborted += stats->aborted;
    sum->truncated += stats->truncated;
    sum->overruns += stats->overruns;
    sum->slots_peak += stats->slots_peak;
}

/* Peaks of shards are not of one moment, and no sum of them says anything. */
static void print_counts(const struct server *server, const struct cli_serve_stats *stats)
{
    if (server->shard_count == 1) {
        (void)fprintf(stderr,
                      "%" PRIu64 " connections (at most %" PRIu32 " at a time), %" PRIu64
                      " requests (at most %" PRIu32 " at a time)\n",
                      stats->connections, weir_tcp_stats(server->shards[0].tcp)->connections_peak,
                      stats->requests, stats->slots_peak);
        return;
    }
    (void)fprintf(stderr, "%" PRIu64 " connections, %" PRIu64 " requests\n", stats->connections,
                  stats->requests);
}

static void print_summary(const struct server *server)
{
    struct cli_serve_stats stats = {0};
    char sent[32];
    char received[32];
    if (server->options->is_quiet) {
        return;
    }
    for (uint32_t i = 0; i < server->shard_count; i++) {
        add_stats(&stats, cli_serve_stats(server->shards[i].serve));
    }
    print_counts(server, &stats);
    (void)fprintf(stderr,
                  "answers: %" PRIu64 " with 2xx, %" PRIu64 " 3xx, %" PRIu64 " 4xx, %" PRIu64
                  " 5xx; %s sent, %s received in %" PRIu64 " uploads\n",
                  stats.answers[2], stats.answers[3], stats.answers[4], stats.answers[5],
                  cli_text_bytes(stats.sent_bytes, sent),
                  cli_text_bytes(stats.received_bytes, received), stats.uploads);
    if ((stats.busy | stats.timeouts | stats.aborted | stats.truncated | stats.overruns) != 0) {
        (void)fprintf(stderr,
                      "refused for want of slots: %" PRIu64 ", timed out: %" PRIu64
                      ", broken off: %" PRIu64 ", file cut short: %" PRIu64
                      ", too much sent ahead: %" PRIu64 "\n",
                      stats.busy, stats.timeouts, stats.aborted, stats.truncated, stats.overruns);
    }
}

static void say_serving(const struct cli_serve_options *options)
{
    if (!options->is_quiet) {
        (void)fprintf(stderr, "serving %s on %s\n", options->directory, options->url);
    }
}

/* --- one loop --------------------------------------------------------------------------------- */

static enum weir_status open_slide(struct server *server)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    server->slide_mem_bytes = weir_slide_mem_size(&config);
    server->slide_mem = weir_mem_map(server->slide_mem_bytes);
    return server->slide_mem == NULL ? WEIR_ERR_MEMORY
                                     : weir_slide_init(server->slide_mem, &config, &server->slide);
}

static enum weir_status open_loop(struct server *server)
{
    struct weir_loop_config config;
    weir_loop_config_default(&config);
    config.driver = server->driver;
    config.slide = server->slide;
    return weir_loop_open(&config, &server->loop);
}

static bool open_single(struct server *server)
{
    struct cli_serve_options *options = server->options;
    struct cli_serve_shard *shard = &server->shards[0];
    server->driver = cli_net_open(&options->net, 0, options->trace);
    if (server->driver == NULL) {
        return false;
    }
    enum weir_status status = open_slide(server);
    status = status == WEIR_OK ? open_loop(server) : status;
    if (status == WEIR_OK) {
        server->shard_count = 1;
        const struct cli_serve_place place = {
            .slide = server->slide, .mtu_bytes = cli_net_mtu_bytes(&options->net, server->driver)};
        status = cli_serve_shard_open(shard, options, &place, weir_loop_now(server->loop));
    }
    if (status != WEIR_OK) {
        fail_open(status);
        return false;
    }
    weir_loop_attach(server->loop, shard->tcp, weir_tcp_verbs(), cli_serve_shard_on_events, shard);
    return true;
}

static void close_single(struct server *server)
{
    cli_serve_shard_close(&server->shards[0]);
    if (server->loop != NULL) {
        weir_loop_close(server->loop);
    }
    if (server->driver != NULL) {
        cli_net_close(server->driver);
    }
    weir_mem_unmap(server->slide_mem, server->slide_mem_bytes);
}

/* One turn, at most wait_max long; *next is when the next tick is due. */
static enum weir_status run_once(struct server *server, weir_nsec *next)
{
    weir_nsec now = weir_loop_now(server->loop);
    weir_nsec wait = *next <= now ? 0 : weir_min_u64(*next - now, wait_max);
    enum weir_status status = weir_loop_run_once(server->loop, wait);
    *next = cli_serve_shard_tick(&server->shards[0], weir_loop_now(server->loop));
    if (status == WEIR_OK) {
        status = weir_loop_flush(server->loop);
    }
    check_log(server);
    return status;
}

static int run_single(struct server *server)
{
    struct cli_serve_shard *shard = &server->shards[0];
    weir_nsec next = 0;
    enum weir_status status = WEIR_OK;
    while (!cli_is_stopping && status == WEIR_OK) {
        status = run_once(server, &next);
    }
    cli_serve_shard_stop(shard, weir_loop_now(server->loop));
    next = 0;
    while (status == WEIR_OK && !cli_serve_shard_has_ended(shard)) {
        status = run_once(server, &next);
    }
    return status == WEIR_OK ? CLI_OK
                             : cli_fail(CLI_FAILED, "the driver failed: %s",
                                        cli_text_errno(server->driver->error));
}

/* --- a crew ----------------------------------------------------------------------------------- */

static bool open_shard(void *user, struct cli_crew *crew, uint32_t index)
{
    struct server *server = user;
    struct cli_serve_shard *shard = &server->shards[index];
    const struct cli_serve_options *options = server->options;
    const struct cli_serve_place place = {.crew = crew,
                                          .index = index,
                                          .team = server->shards,
                                          .team_count = crew->shard_count,
                                          .slide = weir_crew_slide(crew->crew, index),
                                          .mtu_bytes =
                                              cli_net_mtu_bytes(&options->net, crew->queues[0])};
    enum weir_status status = cli_serve_shard_open(shard, options, &place, cli_clock());
    if (status != WEIR_OK) {
        fail_open(status);
        cli_serve_shard_close(shard);
        return false;
    }
    cli_crew_attach(crew, index, shard->tcp, weir_tcp_verbs(), cli_serve_shard_on_events,
                    cli_serve_shard_tick, shard);
    server->shard_count = index + 1;
    return true;
}

static void close_shard(void *user, struct cli_crew *crew, uint32_t index)
{
    struct server *server = user;
    (void)crew;
    cli_serve_shard_close(&server->shards[index]);
}

/* Only the log is looked at: it runs until a signal. */
static bool is_done(void *user)
{
    check_log(user);
    return false;
}

static bool has_ended(void *user)
{
    const struct server *server = user;
    for (uint32_t i = 0; i < server->shard_count; i++) {
        if (!cli_serve_shard_has_ended(&server->shards[i])) {
            return false;
        }
    }
    return true;
}

static int run_crew(struct server *server)
{
    static const struct cli_crew_command command = {.open = open_shard,
                                                    .close = close_shard,
                                                    .stop = cli_serve_shard_stop,
                                                    .is_done = is_done,
                                                    .has_ended = has_ended};
    struct cli_serve_options *options = server->options;
    const struct cli_crew_config config = {.options = &options->crew,
                                           .net = &options->net,
                                           .scheme = "tcp",
                                           .bind = options->bind,
                                           .trace_path = options->trace,
                                           .has_queues = true,
                                           .goodbye_max = CLI_SERVE_DRAIN + WEIR_SEC,
                                           .command = &command,
                                           .user = server};
    options->serve.claims = &server->claims;
    if (!cli_crew_open(&server->crew, &config)) {
        return CLI_FAILED;
    }
    say_serving(options);
    int result = cli_crew_run(&server->crew);
    for (uint32_t i = 0; i < server->shard_count; i++) {
        cli_serve_flush_log(server->shards[i].serve);
    }
    check_log(server);
    print_summary(server);
    cli_crew_close(&server->crew);
    return result;
}

int cli_serve_run(struct cli_serve_options *options)
{
    static struct server server;
    int result = CLI_FAILED;
    server.options = options;
    if (!open_files(options)) {
        close_files(options);
        return CLI_FAILED;
    }
    if (options->crew.is_given) {
        result = run_crew(&server);
    } else if (open_single(&server)) {
        say_serving(options);
        result = run_single(&server);
        cli_serve_flush_log(server.shards[0].serve);
        check_log(&server);
        print_summary(&server);
    }
    if (!options->crew.is_given) {
        close_single(&server);
    }
    close_files(options);
    return result;
}
