/* SPDX-License-Identifier: MIT */
/*
 * link.c - what the transports' links share: driver, slide, loop, times and texts.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cli/kcp_options.h"
#include "cli/link.h"

static const struct cli_link_ops *const transports[] = {&cli_link_rudp, &cli_link_kcp,
                                                        &cli_link_tcp};

enum {
    TRANSPORTS = sizeof(transports) / sizeof(transports[0]),
    RUDP_MTU_BYTES_MIN = 1200
};

static bool open_slide(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    /* What a paused peer may still send waits in the secondary store. */
    if (options->receive_window_bytes > config.secondary_bytes) {
        config.secondary_bytes = options->receive_window_bytes;
    }
    link->slide_mem_bytes = weir_slide_mem_size(&config);
    link->slide_mem = weir_mem_map(link->slide_mem_bytes);
    return link->slide_mem != NULL &&
           weir_slide_init(link->slide_mem, &config, &link->slide) == WEIR_OK;
}

static bool open_loop(struct cli_link *link)
{
    struct weir_loop_config config;
    weir_loop_config_default(&config);
    config.driver = link->driver;
    config.slide = link->slide;
    return weir_loop_open(&config, &link->loop) == WEIR_OK;
}

/* A listener on any address says which, where our own IP has but one. */
static void set_local(struct cli_link *link, const struct cli_link_options *options,
                      const struct weir_addr *bind)
{
    static const uint8_t zeros[sizeof(bind->ip)];
    link->local = *bind;
    if (options->net->kind == CLI_NET_UDP) {
        link->local = link->driver->local;
    } else if (memcmp(bind->ip, zeros, sizeof(zeros)) == 0 && options->net->address_count == 1) {
        link->local = options->net->addresses[0].addr;
        link->local.port = bind->port;
    }
}

static bool open_driver(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_addr bind = options->bind;
    struct weir_addr source;
    if (options->net->kind != CLI_NET_UDP && !options->is_accepting &&
        !cli_net_source(options->net, &bind, &source)) {
        return false;
    }
    if (!link->ops->is_ip) {
        link->driver = cli_net_open_udp(options->net, &bind, options->trace_path, false);
    } else if (cli_net_check_local(options->net, &bind)) {
        link->driver = cli_net_open(options->net, 0, options->trace_path);
    }
    if (link->driver != NULL) {
        set_local(link, options, &bind);
    }
    return link->driver != NULL;
}

static const struct cli_link_ops *find_ops(const char *scheme)
{
    for (size_t i = 0; i < TRANSPORTS; i++) {
        if (strcmp(transports[i]->scheme, scheme) == 0) {
            return transports[i];
        }
    }
    WEIR_ASSERT(false);
    return NULL;
}

static bool fail_for_memory(struct cli_link *link)
{
    cli_fail(CLI_FAILED, "the system gave no memory for the connection's buffers");
    cli_link_close(link);
    return false;
}

bool cli_link_open(struct cli_link *link, const struct cli_link_options *options,
                   void (*on_events)(void *user, weir_nsec now), void *user)
{
    *link = (struct cli_link){.ops = find_ops(options->scheme),
                              .on_events = on_events,
                              .user = user,
                              .hint = "",
                              .is_accepting = options->is_accepting};
    if (!open_driver(link, options)) {
        return false;
    }
    if (!open_slide(link, options) || !open_loop(link) || !link->ops->open(link, options)) {
        return fail_for_memory(link);
    }
    return true;
}

/* NOLINTNEXTLINE(readability-function-size): its place is two of them, its user three */
bool cli_link_open_in(struct cli_link *link, const struct cli_link_options *options,
                      struct cli_crew *crew, uint32_t shard,
                      void (*on_events)(void *user, weir_nsec now),
                      weir_nsec (*tick)(void *user, weir_nsec now), void *user)
{
    struct cli_link_options own = *options;
    if (!find_ops(options->scheme)->is_by_address) {
        own.connections_max = cli_crew_share(crew, options->connections_max);
        own.awake_max = cli_crew_share(crew, options->awake_max);
    }
    own.bind = crew->local;
    *link = (struct cli_link){.ops = find_ops(options->scheme),
                              .crew = crew,
                              .shard = shard,
                              .local = crew->local,
                              .slide = weir_crew_slide(crew->crew, shard),
                              .on_events = on_events,
                              .tick = tick,
                              .user = user,
                              .hint = "",
                              .is_accepting = options->is_accepting};
    if (!link->ops->open(link, &own)) {
        return fail_for_memory(link);
    }
    return true;
}

void cli_link_attach(struct cli_link *link, void *endpoint, const struct weir_verbs *verbs)
{
    if (link->loop != NULL) {
        weir_loop_attach(link->loop, endpoint, verbs, link->on_events, link->user);
    } else {
        cli_crew_attach(link->crew, link->shard, endpoint, verbs, link->on_events, link->tick,
                        link->user);
    }
}

const struct weir_driver *cli_link_driver(const struct cli_link *link)
{
    return link->driver != NULL ? link->driver : link->crew->queues[0];
}

bool cli_link_is_quiet(const struct cli_link *link)
{
    return link->ops->is_quiet == NULL || link->ops->is_quiet(link);
}

void cli_link_close(struct cli_link *link)
{
    if (link->engine != NULL) {
        link->ops->close(link);
    }
    if (link->loop != NULL) {
        weir_loop_close(link->loop);
    }
    if (link->engine_mem != NULL) {
        weir_mem_unmap(link->engine_mem, link->engine_mem_bytes);
    }
    if (link->slide_mem != NULL) {
        weir_mem_unmap(link->slide_mem, link->slide_mem_bytes);
    }
    if (link->driver != NULL) {
        cli_net_close(link->driver);
    }
    memset(link, 0, sizeof(*link));
}

void cli_link_options_default(struct cli_link_options *options)
{
    struct weir_rudp_config rudp;
    weir_rudp_config_default(&rudp);
    *options = (struct cli_link_options){.connections_max = 1,
                                         .awake_max = 1,
                                         .channels_max = 1,
                                         .connect_timeout = rudp.connect_timeout,
                                         .dead_timeout = rudp.dead_timeout,
                                         .idle_timeout = rudp.idle_timeout,
                                         .heartbeat = rudp.heartbeat};
}

static bool check_tcp(const struct cli_kcp_options *kcp)
{
    if (kcp->mtu_bytes != 0) {
        cli_fail(CLI_USAGE, "--mtu is not of tcp://; write mtu=%u in --driver", kcp->mtu_bytes);
        return false;
    }
    return cli_kcp_is_unused(kcp, "tcp");
}

bool cli_link_check_options(const char *scheme, const struct cli_kcp_options *kcp,
                            const struct cli_net_options *net)
{
    struct weir_kcp_config config;
    if (strcmp(scheme, "tcp") == 0) {
        return cli_net_check_tcp(net) && check_tcp(kcp);
    }
    if (strcmp(scheme, "kcp") == 0) {
        return cli_kcp_configure(kcp, false, &config);
    }
    if (kcp->mtu_bytes != 0 && kcp->mtu_bytes < RUDP_MTU_BYTES_MIN) {
        cli_fail(CLI_USAGE, "--mtu '%u': %s:// takes %d to %d", kcp->mtu_bytes, scheme,
                 RUDP_MTU_BYTES_MIN, CLI_MTU_BYTES_MAX);
        return false;
    }
    return cli_kcp_is_unused(kcp, scheme);
}

struct weir_addr cli_client_bind(const struct weir_addr *remote)
{
    return (struct weir_addr){.family = remote->family};
}

void cli_link_set_timeout(struct cli_link_options *options, weir_nsec timeout)
{
    options->connect_timeout = timeout;
    options->dead_timeout = timeout;
    options->idle_timeout = timeout;
    /* Three pings may be lost before silence counts as death. */
    options->heartbeat = timeout / 4;
}

/* The fixed part of the sentence for each cause; the peer's own words follow. */
static const char *cause_text(enum cli_cause cause)
{
    static const char *const texts[] = {
        [CLI_CAUSE_LOCAL] = "closed here",
        [CLI_CAUSE_PEER] = "the peer closed the connection",
        [CLI_CAUSE_REFUSED] = "the peer refused the connection",
        [CLI_CAUSE_TIMEOUT] = "the peer does not answer",
        [CLI_CAUSE_VERSION] =
            "the peer speaks another version; use the same weir version at both ends",
        [CLI_CAUSE_RESET] = "the peer was restarted and knows nothing of this connection",
        [CLI_CAUSE_PROTOCOL] = "the peer broke the protocol",
        [CLI_CAUSE_CUT] = "the connection was reset by the peer"};
    size_t index = (size_t)cause;
    bool is_known = index < sizeof(texts) / sizeof(texts[0]) && texts[index] != NULL;
    return is_known ? texts[index] : "closed";
}

char *cli_text_closed(const struct cli_event *event, char text[CLI_CLOSED_TEXT_BYTES])
{
    const char *words = event->closed.text;
    bool is_silent = words == NULL || words[0] == 0;
    (void)snprintf(text, CLI_CLOSED_TEXT_BYTES, "%s%s%s", cause_text(event->closed.cause),
                   is_silent ? "" : ": ", is_silent ? "" : words);
    return text;
}
