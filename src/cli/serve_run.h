/* SPDX-License-Identifier: MIT */
/*
 * serve_run.h - weir serve behind its options: one endpoint with a loop of its own, or one for each
 * shard of a crew.
 */
#ifndef WEIR_CLI_SERVE_RUN_H
#define WEIR_CLI_SERVE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/crew.h"
#include "cli/net.h"
#include "cli/serve.h"

enum {
    CLI_SERVE_FAMILIES = 2
};

struct cli_serve_options {
    const char *directory, *url, *log, *trace;
    struct weir_addr bind;         /* of url */
    uint64_t connections;          /* of each family */
    struct cli_serve_config serve; /* of all shards; tcp and slide are filled in for each */
    struct cli_net_options net;
    struct cli_crew_options crew;
    bool is_quiet;
};

/* Returns an exit code. */
int cli_serve_run(struct cli_serve_options *options);

/* --- serve_shard.c ---------------------------------------------------------------------------- */

/* A TCP endpoint and its HTTP server: one of many, or the only one. */
struct cli_serve_shard {
    const struct cli_serve_options *options;
    struct weir_tcp *tcp;
    void *tcp_mem;
    size_t tcp_mem_bytes;
    struct cli_serve *serve;
    int listeners[CLI_SERVE_FAMILIES];
    uint32_t listener_count;
    bool is_stopping;
    weir_nsec give_up_at;         /* stopping: answers have so long */
    uint32_t has_ended;           /* atomic, its worker's: no answer is on its way any more */
    uint32_t held;                /* atomic, its worker's: connections */
    struct cli_serve_shard *team; /* all shards, this one among them */
    uint32_t team_count;
};

/* How long answers may take after a stop. */
#define CLI_SERVE_DRAIN (5 * WEIR_SEC)

/* Where a shard is. */
struct cli_serve_place {
    const struct cli_crew *crew; /* NULL: it is the only one */
    uint32_t index;
    struct cli_serve_shard *team; /* NULL: it is the only one */
    uint32_t team_count;
    struct weir_slide *slide;
    uint16_t mtu_bytes; /* of the driver */
};

/* WEIR_ERR_MEMORY, or what TCP says. */
enum weir_status cli_serve_shard_open(struct cli_serve_shard *shard,
                                      const struct cli_serve_options *options,
                                      const struct cli_serve_place *place, weir_nsec now);
/* Zeroed or half open will do. */
void cli_serve_shard_close(struct cli_serve_shard *shard);
/* As cli_crew_attach and cli_crew_command.stop take them; user is the shard. */
void cli_serve_shard_on_events(void *user, weir_nsec now);
weir_nsec cli_serve_shard_tick(void *user, weir_nsec now);
void cli_serve_shard_stop(void *user, weir_nsec now);
/* Any thread. */
bool cli_serve_shard_has_ended(const struct cli_serve_shard *shard);

#endif
