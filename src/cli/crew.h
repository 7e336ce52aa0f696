/* SPDX-License-Identifier: MIT */
/*
 * crew.h - --workers: a command's endpoints in shards on several threads (weir/crew.h).
 *
 * Role: queues, steering, shards and the main thread's wait, for all commands alike. A command
 * brings the shards' endpoints and what is done when it has to end. Without --workers a command
 * has one loop of its own and none of this.
 * Owned by: the main thread opens, runs and closes. What a shard's callbacks touch is the shard's,
 * on whatever worker runs it; what shards share is words, each written by one of them.
 * Order: open (which calls command->open for each shard), run, close.
 *
 *   main thread                          worker
 *   cli_control_wait, is_done             input, timeout, output -> on_events -> tick
 *        | SIGINT, SIGTERM, is_done
 *        `-- post to every shard -------> stop -> on_events -> tick
 *   has_ended, or goodbye_max later: the workers end; at once when the drivers fail all the time
 */
#ifndef WEIR_CLI_CREW_H
#define WEIR_CLI_CREW_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/net.h"
#include "weir/weir.h"

enum {
    CLI_CREW_SHARDS = 61 /* unless a command asks for another number */
};

/* --- options ---------------------------------------------------------------------------------- */

struct cli_crew_options {
    uint32_t workers;     /* to begin with */
    uint32_t workers_max; /* that there may be while it runs */
    bool is_given, is_auto;
    const char *control; /* NULL: the usual place; "none" */
    const char *metrics; /* NULL: none */
};

/* --workers N|auto, --control PATH|none, --metrics ADDR:PORT; no arguments. The child input is a
 * zeroed struct cli_crew_options, filled when all options have been read. */
extern const struct argp cli_crew_argp;
/* False with the line printed (CLI_USAGE): a driver that many threads cannot share. */
bool cli_crew_check(const struct cli_crew_options *options, const struct cli_net_options *net);
/* Those that the system runs threads on. */
uint32_t cli_crew_processors(void);

/* --- a crew ----------------------------------------------------------------------------------- */

struct cli_crew;
struct cli_control;

struct cli_crew_command {
    /* Makes the endpoint of a shard and calls cli_crew_attach (or cli_link_open_in, which does);
     * false with the line printed. On the main thread, before any worker is there. */
    bool (*open)(void *user, struct cli_crew *crew, uint32_t shard);
    /* Frees it. On the main thread, after all workers have ended; only of shards whose open
     * returned true. */
    void (*close)(void *user, struct cli_crew *crew, uint32_t shard);
    /* On the shard's worker, once: takes no more, says goodbye. shard_user is that of the attach.
     * NULL: nothing is to be said. */
    void (*stop)(void *shard_user, weir_nsec now);
    /* On the main thread, every few ms, reading what the shards store atomically. is_done: nothing
     * more is to come (--once), all shards are stopped. NULL: runs until a signal. has_ended: after
     * stop, all shards have said their goodbyes. NULL: that takes no longer than stop itself. */
    bool (*is_done)(void *user);
    bool (*has_ended)(void *user);
};

struct cli_crew_config {
    const struct cli_crew_options *options;
    const struct cli_net_options *net;
    const char *scheme;     /* "rudp", "kcp" or "tcp": how packets lead to their shards */
    struct weir_addr bind;  /* port 0: one is chosen, see cli_crew.local */
    const char *trace_path; /* pcapng of all queues, one file each, or NULL */
    size_t shard_bytes, shard_secondary_bytes; /* as in weir_crew_config; 0: its default */
    uint32_t shards;                           /* a prime; 0: CLI_CREW_SHARDS */
    weir_nsec goodbye_max;                     /* how long has_ended is waited for; 0: 1 s */
    bool is_quiet;                             /* no word about packets that cannot be steered */
    bool has_queues; /* false: the shards have descriptors of their own only (weir_crew_watch) */
    const struct cli_crew_command *command;
    void *user; /* of the command's open, close, is_done, has_ended */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): by subject */
struct cli_crew_shard {
    struct cli_crew *crew;
    void *endpoint;
    const struct weir_verbs *verbs;
    void (*on_events)(void *user, weir_nsec now);
    weir_nsec (*tick)(void *user, weir_nsec now);
    void *user;
    weir_nsec tick_at;
    weir_nsec now; /* of the call it is in */
    bool is_open;
    uint32_t has_stopped; /* atomic: stored by its worker */
};

struct cli_crew {
    struct cli_crew_config config;
    struct weir_crew *crew;
    struct weir_route route;
    struct weir_addr local; /* bound to; for tcp with a port that was chosen here if it was 0 */
    struct weir_driver *queues[WEIR_CREW_WORKERS_MAX];
    uint32_t queue_count;
    struct weir_steer *steer;
    struct weir_verbs verbs; /* of every shard, around those of its engine */
    struct cli_control *control;
    struct cli_crew_shard shards[WEIR_CREW_SHARDS_MAX];
    uint32_t shard_count;
};

/* Opens queues and shards, tells on stderr what cannot be steered. config is copied, what it points
 * to stays. False with the line printed; nothing is left open. Not to be called with options that
 * were not given. */
bool cli_crew_open(struct cli_crew *crew, const struct cli_crew_config *config);
/* Starts the workers, serves control requests and signals, and ends as drawn above. Returns the
 * exit code, CLI_OK also after a signal, CLI_FAILED with the line printed when a driver fails for a
 * second or when there are no threads. cli_catch_signals comes first. */
int cli_crew_run(struct cli_crew *crew);
void cli_crew_close(struct cli_crew *crew);

/* From command->open. verbs and endpoint are an engine's; on_events must pull all events. tick (may
 * be NULL) is called after every input, timeout, output and post of the shard, after on_events, and
 * when the time that it returned last has come (WEIR_NEVER: not by itself; now or less: again as
 * soon as possible). user is of on_events, tick and stop. */
void cli_crew_attach(struct cli_crew *crew, uint32_t shard, void *endpoint,
                     const struct weir_verbs *verbs, void (*on_events)(void *user, weir_nsec now),
                     weir_nsec (*tick)(void *user, weir_nsec now), void *user);

/* The time of the call that a shard is in, on its worker; at other times that of the last one. */
static inline weir_nsec cli_crew_now(const struct cli_crew *crew, uint32_t shard)
{
    return crew->shards[shard].now;
}

/* What one shard must hold so that all of them together hold total, spread at random: the mean and
 * six standard deviations, and 8 for small numbers, where the spread is no bell: a shard that has
 * no room while others do is less likely than one in 100 million. Never more than total. */
uint32_t cli_crew_share(const struct cli_crew *crew, uint32_t total);

#endif
