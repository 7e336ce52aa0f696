/* SPDX-License-Identifier: MIT */
/*
 * crew.c - --workers: queues, steering, shards, and the main thread meanwhile.
 */
#include "cli/crew.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/control.h"

enum {
    RING_BYTES = 4 << 20, /* more than a tun's receive gives at once */
    SHARE_SPARE = 8,
    FAILING_LOOKS = 50, /* in each of which a driver failed: its device is gone */
    PORT_EPHEMERAL = 49152
};

/* Between looks at is_done and has_ended; a signal and a request end the wait at once. */
static const weir_nsec look_every = 20 * WEIR_MSEC;
static const weir_nsec stop_look_every = 2 * WEIR_MSEC;
static const weir_nsec goodbye_max_usual = WEIR_SEC;

/* --- queues without packets ------------------------------------------------------------------- */

/* For shards that have descriptors of their own: a crew wants a queue for each worker. */
static enum weir_status nothing_receive(struct weir_driver *driver, weir_nsec now,
                                        struct weir_mut_span room, struct weir_packet *packets,
                                        uint32_t packets_max, uint32_t *count)
{
    (void)driver;
    (void)now;
    (void)room;
    (void)packets;
    (void)packets_max;
    *count = 0;
    return WEIR_OK;
}

static enum weir_status nothing_send(struct weir_driver *driver, weir_nsec now,
                                     const struct weir_transmit *transmits, uint32_t count,
                                     uint32_t *sent)
{
    (void)now;
    (void)transmits;
    driver->stats.tx_dropped += count;
    *sent = count;
    return WEIR_OK;
}

static int nothing_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec nothing_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void nothing_close(struct weir_driver *driver)
{
    free(driver);
}

static bool open_nothing(struct weir_driver **queues, uint32_t count)
{
    static const struct weir_driver_ops ops = {nothing_receive, nothing_send, nothing_fd,
                                               nothing_next_timeout, nothing_close};
    bool is_there = true;
    for (uint32_t i = 0; i < count; i++) {
        queues[i] = calloc(1, sizeof(*queues[i]));
        if (queues[i] != NULL) {
            queues[i]->ops = &ops;
            queues[i]->datagram_bytes_max = 65507;
        }
        is_there &= queues[i] != NULL;
    }
    for (uint32_t i = 0; !is_there && i < count; i++) {
        free(queues[i]);
        queues[i] = NULL;
    }
    return is_there || cli_fail(false, "the system gave no memory for the workers");
}

/* --- queues ----------------------------------------------------------------------------------- */

static bool is_any(const struct weir_addr *addr)
{
    static const uint8_t zeros[sizeof(addr->ip)];
    return memcmp(addr->ip, zeros, sizeof(zeros)) == 0;
}

/* What it listens on, as far as that is one address. */
static void set_local(struct cli_crew *crew, const struct weir_addr *bind)
{
    const struct cli_net_options *net = crew->config.net;
    crew->local = *bind;
    if (net->kind == CLI_NET_UDP) {
        crew->local = crew->queues[0]->local;
    } else if (is_any(bind) && net->address_count == 1) {
        crew->local = net->addresses[0].addr;
        crew->local.port = bind->port;
    }
}

static bool choose_port(struct weir_addr *bind)
{
    uint8_t seed[2];
    if (bind->port == 0) {
        if (weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
            cli_fail(CLI_FAILED, "the system gives no random numbers");
            return false;
        }
        bind->port = (uint16_t)(PORT_EPHEMERAL | seed[0] << 8 | seed[1]);
    }
    return true;
}

static bool open_queues(struct cli_crew *crew)
{
    const struct cli_crew_config *config = &crew->config;
    struct weir_addr bind = config->bind;
    const bool is_ip = strcmp(config->scheme, "tcp") == 0;
    const uint32_t count = config->options->workers_max;
    if (!config->has_queues) {
        if (!open_nothing(crew->queues, count)) {
            return false;
        }
        crew->queue_count = count;
        crew->local = bind;
        return true;
    }
    if (is_ip && (!cli_net_check_local(config->net, &bind) || !choose_port(&bind))) {
        return false;
    }
    if (!cli_net_open_queues(config->net, is_ip ? NULL : &bind, config->trace_path, crew->queues,
                             count)) {
        return false;
    }
    crew->queue_count = count;
    set_local(crew, &bind);
    return true;
}

/* Without it all goes on, slower. */
static void open_steer(struct cli_crew *crew)
{
    char problem[WEIR_STEER_PROBLEM_BYTES] = "";
    const bool is_rudp = strcmp(crew->config.scheme, "rudp") == 0;
    if (!crew->config.has_queues || crew->config.net->kind != CLI_NET_UDP ||
        crew->queue_count == 1) {
        return;
    }
    enum weir_status status =
        weir_steer_open(crew->queues, crew->queue_count, &crew->route,
                        is_rudp ? WEIR_STEER_RUDP : WEIR_STEER_REMOTE, &crew->steer, problem);
    if (status != WEIR_OK) {
        crew->steer = NULL;
    }
    if (status != WEIR_OK && !crew->config.is_quiet) {
        cli_warn("%s; root, or CAP_BPF and CAP_NET_ADMIN, would spread them by connection",
                 problem[0] != 0 ? problem : weir_status_text(status));
    }
}

/* --- shards ----------------------------------------------------------------------------------- */

static struct cli_crew_shard *shard_of(void *endpoint)
{
    return endpoint;
}

static void shard_input(void *endpoint, weir_nsec now, struct weir_packet *packets, uint32_t count)
{
    struct cli_crew_shard *shard = shard_of(endpoint);
    shard->now = now;
    shard->verbs->input(shard->endpoint, now, packets, count);
}

static void shard_timeout(void *endpoint, weir_nsec now)
{
    struct cli_crew_shard *shard = shard_of(endpoint);
    shard->now = now;
    shard->verbs->timeout(shard->endpoint, now);
}

static weir_nsec shard_next_timeout(const void *endpoint)
{
    const struct cli_crew_shard *shard = endpoint;
    return weir_min_u64(shard->verbs->next_timeout(shard->endpoint), shard->tick_at);
}

static enum weir_status shard_output(void *endpoint, weir_nsec now, struct weir_tx *tx)
{
    struct cli_crew_shard *shard = shard_of(endpoint);
    shard->now = now;
    return shard->verbs->output(shard->endpoint, now, tx);
}

static void shard_figures(const void *endpoint, struct weir_figures *figures)
{
    const struct cli_crew_shard *shard = endpoint;
    shard->verbs->figures(shard->endpoint, figures);
}

static void on_shard_events(void *user, weir_nsec now)
{
    struct cli_crew_shard *shard = shard_of(user);
    shard->now = now;
    if (shard->on_events != NULL) {
        shard->on_events(shard->user, now);
    }
    if (shard->tick != NULL) {
        shard->tick_at = shard->tick(shard->user, now);
    }
}

/* The only post there is: stop. */
static void on_work(void *user, weir_nsec now, const void *work, uint32_t length)
{
    struct cli_crew_shard *shard = shard_of(user);
    (void)work;
    (void)length;
    shard->now = now;
    if (shard->crew->config.command->stop != NULL) {
        shard->crew->config.command->stop(shard->user, now);
    }
    __atomic_store_n(&shard->has_stopped, 1, __ATOMIC_RELEASE);
}

/* NOLINTNEXTLINE(readability-function-size): an endpoint is two of them, its user three */
void cli_crew_attach(struct cli_crew *crew, uint32_t shard, void *endpoint,
                     const struct weir_verbs *verbs, void (*on_events)(void *user, weir_nsec now),
                     weir_nsec (*tick)(void *user, weir_nsec now), void *user)
{
    struct cli_crew_shard *to = &crew->shards[shard];
    *to = (struct cli_crew_shard){.crew = crew,
                                  .endpoint = endpoint,
                                  .verbs = verbs,
                                  .on_events = on_events,
                                  .tick = tick,
                                  .user = user,
                                  .tick_at = WEIR_NEVER,
                                  .now = cli_clock()};
    crew->verbs = (struct weir_verbs){.input = shard_input,
                                      .timeout = shard_timeout,
                                      .next_timeout = shard_next_timeout,
                                      .output = shard_output,
                                      .figures = verbs->figures != NULL ? shard_figures : NULL,
                                      .drop_names = verbs->drop_names};
    weir_crew_attach(crew->crew, shard, to, &crew->verbs, on_shard_events, to);
}

static uint32_t square_root_up(uint32_t n)
{
    uint32_t root = 0;
    while ((uint64_t)root * root < n) {
        root++;
    }
    return root;
}

uint32_t cli_crew_share(const struct cli_crew *crew, uint32_t total)
{
    const uint32_t mean = total / crew->shard_count + 1;
    const uint64_t share = (uint64_t)mean + 6 * (uint64_t)square_root_up(mean) + SHARE_SPARE;
    return share < total ? (uint32_t)share : total;
}

static bool open_shards(struct cli_crew *crew)
{
    const struct cli_crew_config *config = &crew->config;
    for (uint32_t s = 0; s < crew->shard_count; s++) {
        if (!config->command->open(config->user, crew, s)) {
            return false;
        }
        WEIR_ASSERT(crew->shards[s].crew == crew); /* attached */
        crew->shards[s].is_open = true;
    }
    return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* One thread more is worth it when a worker is busy most of the time, or packets wait so long that
 * a round trip within a machine room shows it; one fewer when what they do would fill the others
 * to half only, for a while: a resize costs little, but not nothing. More threads than processors
 * gain nothing. */
static void set_limits(const struct cli_crew_options *options, struct weir_crew_config *config)
{
    const uint32_t max = cli_crew_processors();
    if (options->is_auto) {
        config->limits.queue_delay = WEIR_MSEC;
        config->limits.busy_permille = 800;
        config->limits.idle_permille = 500;
        config->limits.hold = 5 * WEIR_SEC;
        config->limits.workers_min = 1;
        config->limits.workers_max = max < options->workers_max ? max : options->workers_max;
    }
}

static bool open_crew(struct cli_crew *crew)
{
    struct weir_crew_config config;
    const struct cli_crew_options *options = crew->config.options;
    const bool is_rudp = strcmp(crew->config.scheme, "rudp") == 0;
    const bool is_tcp = strcmp(crew->config.scheme, "tcp") == 0;
    weir_crew_config_default(&config);
    config.shards = crew->shard_count;
    config.workers_max = crew->queue_count;
    config.workers = options->workers;
    config.queues = crew->queues;
    config.route = is_rudp ? weir_rudp_route : is_tcp ? weir_tcp_route : weir_route_packet;
    config.route_user = &crew->route;
    config.ring_bytes = RING_BYTES;
    if (crew->config.shard_bytes != 0) {
        config.shard_bytes = crew->config.shard_bytes;
    }
    if (crew->config.shard_secondary_bytes != 0) {
        config.shard_secondary_bytes = crew->config.shard_secondary_bytes;
    }
    if (crew->steer != NULL) {
        config.steer = weir_steer_set;
        config.steer_user = crew->steer;
    }
    set_limits(options, &config);
    enum weir_status status = weir_crew_open(&config, &crew->crew);
    if (status != WEIR_OK) {
        crew->crew = NULL;
        cli_fail(CLI_FAILED, "cannot prepare %u workers: %s%s", options->workers_max,
                 weir_status_text(status),
                 status == WEIR_ERR_OS || status == WEIR_ERR_MEMORY ? "; see ulimit -n and -v"
                                                                    : "");
        return false;
    }
    weir_crew_on_work(crew->crew, on_work);
    return true;
}

static bool open_route(struct cli_crew *crew)
{
    uint8_t seed[16];
    if (weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        cli_fail(CLI_FAILED, "the system gives no random numbers");
        return false;
    }
    weir_route_init(&crew->route, seed, crew->shard_count);
    return true;
}

bool cli_crew_open(struct cli_crew *crew, const struct cli_crew_config *config)
{
    WEIR_ASSERT(config->options->is_given);
    *crew = (struct cli_crew){
        .config = *config, .shard_count = config->shards != 0 ? config->shards : CLI_CREW_SHARDS};
    if (!open_queues(crew) || !open_route(crew)) {
        cli_crew_close(crew);
        return false;
    }
    open_steer(crew);
    if (!open_crew(crew) || !open_shards(crew) ||
        !cli_control_open(&crew->control, config->options, crew->crew, config->scheme, &crew->local,
                          crew->verbs.drop_names)) {
        cli_crew_close(crew);
        return false;
    }
    return true;
}

void cli_crew_close(struct cli_crew *crew)
{
    cli_control_close(crew->control);
    for (uint32_t s = 0; s < crew->shard_count; s++) {
        if (crew->shards[s].is_open && crew->config.command->close != NULL) {
            crew->config.command->close(crew->config.user, crew, s);
        }
    }
    if (crew->crew != NULL) {
        weir_crew_close(crew->crew);
    }
    weir_steer_close(crew->steer);
    for (uint32_t i = 0; i < crew->queue_count; i++) {
        cli_net_close(crew->queues[i]);
    }
    memset(crew, 0, sizeof(*crew));
}

/* --- running ---------------------------------------------------------------------------------- */

static void stop_all(struct cli_crew *crew)
{
    for (uint32_t s = 0; s < crew->shard_count; s++) {
        const uint8_t stop = 1;
        enum weir_status status = weir_crew_post(crew->crew, s, &stop, sizeof(stop));
        WEIR_ASSERT(status == WEIR_OK); /* it is the only one */
    }
}

static bool has_ended(const struct cli_crew *crew)
{
    const struct cli_crew_command *command = crew->config.command;
    for (uint32_t s = 0; s < crew->shard_count; s++) {
        if (__atomic_load_n(&crew->shards[s].has_stopped, __ATOMIC_ACQUIRE) == 0) {
            return false;
        }
    }
    return command->has_ended == NULL || command->has_ended(crew->config.user);
}

static uint64_t count_errors(const struct cli_crew *crew)
{
    struct weir_crew_worker_stats stats;
    uint64_t errors = 0;
    for (uint32_t i = 0; weir_crew_worker_stats(crew->crew, i, &stats) == WEIR_OK; i++) {
        errors += stats.driver_errors;
    }
    return errors;
}

/* False: the drivers failed, and nobody can be told goodbye. */
static bool wait_for_done(const struct cli_crew *crew)
{
    const struct cli_crew_command *command = crew->config.command;
    uint64_t before = 0;
    uint32_t failing_looks = 0;
    while (!cli_is_stopping && (command->is_done == NULL || !command->is_done(crew->config.user))) {
        (void)cli_control_wait(crew->control, look_every);
        const uint64_t errors = count_errors(crew);
        failing_looks = errors > before ? failing_looks + 1 : 0;
        before = errors;
        if (failing_looks == FAILING_LOOKS) {
            return false;
        }
    }
    return true;
}

static void say_goodbye(struct cli_crew *crew)
{
    stop_all(crew);
    weir_nsec goodbye_max = crew->config.goodbye_max;
    weir_nsec until = cli_clock() + (goodbye_max != 0 ? goodbye_max : goodbye_max_usual);
    while (!has_ended(crew) && cli_clock() < until) {
        (void)cli_control_wait(crew->control, stop_look_every);
    }
}

/* After the workers, whose word it is. */
static int fail_driver(const struct cli_crew *crew)
{
    int error = 0;
    for (uint32_t i = 0; i < crew->queue_count && error == 0; i++) {
        error = crew->queues[i]->error;
    }
    return cli_fail(CLI_FAILED, "the driver failed: %s", cli_text_errno(error));
}

int cli_crew_run(struct cli_crew *crew)
{
    enum weir_status status = weir_crew_start(crew->crew);
    if (status != WEIR_OK) {
        return cli_fail(CLI_FAILED, "cannot start %u workers: %s", crew->config.options->workers,
                        weir_status_text(status));
    }
    const bool is_good = wait_for_done(crew);
    if (is_good) {
        say_goodbye(crew);
    }
    weir_crew_stop(crew->crew);
    return is_good ? CLI_OK : fail_driver(crew);
}
