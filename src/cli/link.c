/* SPDX-License-Identifier: MIT */
/*
 * link.c - a UDP driver, slide, RUDP endpoint and loop in one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static bool open_driver(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_udp_config config;
    struct weir_udp_notice notice;
    char text[240];
    int error = 0;
    weir_udp_config_default(&config);
    config.bind = options->bind;
    enum weir_status status = weir_udp_open(&config, &link->driver, &notice, &error);
    if (status != WEIR_OK) {
        char addr[WEIR_ADDR_TEXT_BYTES];
        weir_addr_format(&options->bind, addr);
        cli_fail(CLI_FAILED, "cannot open %s: %s%s", addr,
                 error != 0 ? cli_text_errno(error) : weir_status_text(status),
                 error == EADDRINUSE ? "; stop the program there or choose another port" : "");
        return false;
    }
    weir_udp_notice_text(&notice, &config, text);
    if (text[0] != 0) {
        cli_warn("%s", text);
    }
    if (options->trace_path == NULL) {
        return true;
    }
    struct weir_driver *traced = NULL;
    if (weir_trace_open(link->driver, options->trace_path, &traced, &error) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace '%s': %s", options->trace_path,
                 cli_text_errno(error));
        return false;
    }
    link->driver = traced;
    return true;
}

static bool open_slide(struct cli_link *link)
{
    struct weir_slide_config config;
    weir_slide_config_default(&config);
    link->slide_mem_bytes = weir_slide_mem_size(&config);
    link->slide_mem = weir_mem_map(link->slide_mem_bytes);
    return link->slide_mem != NULL &&
           weir_slide_init(link->slide_mem, &config, &link->slide) == WEIR_OK;
}

static bool open_rudp(struct cli_link *link, const struct cli_link_options *options)
{
    struct weir_rudp_config config = options->rudp;
    uint8_t seed[32];
    config.slide = link->slide;
    link->rudp_mem_bytes = weir_rudp_mem_size(&config);
    if (link->rudp_mem_bytes == 0 || weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
        return false;
    }
    link->rudp_mem = weir_mem_map(link->rudp_mem_bytes);
    return link->rudp_mem != NULL &&
           weir_rudp_init(link->rudp_mem, &config, seed, weir_loop_now(link->loop), &link->rudp) ==
               WEIR_OK;
}

static bool open_loop(struct cli_link *link)
{
    struct weir_loop_config config;
    weir_loop_config_default(&config);
    config.driver = link->driver;
    config.slide = link->slide;
    return weir_loop_open(&config, &link->loop) == WEIR_OK;
}

bool cli_link_open(struct cli_link *link, const struct cli_link_options *options,
                   void (*on_events)(void *user, weir_nsec now), void *user)
{
    memset(link, 0, sizeof(*link));
    if (!open_driver(link, options)) {
        cli_link_close(link);
        return false;
    }
    if (!open_slide(link) || !open_loop(link) || !open_rudp(link, options)) {
        cli_fail(CLI_FAILED, "the system gave no memory for the connection's buffers");
        cli_link_close(link);
        return false;
    }
    weir_loop_attach(link->loop, link->rudp, weir_rudp_verbs(), on_events, user);
    return true;
}

void cli_link_close(struct cli_link *link)
{
    if (link->loop != NULL) {
        weir_loop_close(link->loop);
    }
    if (link->rudp_mem != NULL) {
        weir_mem_unmap(link->rudp_mem, link->rudp_mem_bytes);
    }
    if (link->slide_mem != NULL) {
        weir_mem_unmap(link->slide_mem, link->slide_mem_bytes);
    }
    if (link->driver != NULL) {
        link->driver->ops->close(link->driver);
    }
    memset(link, 0, sizeof(*link));
}

struct weir_addr cli_client_bind(const struct weir_addr *remote)
{
    return (struct weir_addr){.family = remote->family};
}

void cli_link_set_timeout(struct weir_rudp_config *config, weir_nsec timeout)
{
    config->connect_timeout = timeout;
    config->dead_timeout = timeout;
    config->idle_timeout = timeout;
    /* Three pings may be lost before silence counts as death. */
    config->heartbeat = timeout / 4;
}

/* The fixed part of the sentence for each cause; the peer's own words follow. */
static const char *cause_text(enum weir_rudp_close_cause cause)
{
    static const char *const texts[] = {
        [WEIR_RUDP_CAUSE_LOCAL] = "closed here",
        [WEIR_RUDP_CAUSE_PEER] = "the peer closed the connection",
        [WEIR_RUDP_CAUSE_REFUSED] = "the peer refused the connection",
        [WEIR_RUDP_CAUSE_TIMEOUT] = "the peer does not answer",
        [WEIR_RUDP_CAUSE_VERSION] =
            "the peer speaks another version of RUDP; use the same weir version at both ends",
        [WEIR_RUDP_CAUSE_RESET] = "the peer was restarted and knows nothing of this connection",
        [WEIR_RUDP_CAUSE_PROTOCOL] = "the peer broke the protocol"};
    size_t index = (size_t)cause;
    bool is_known = index < sizeof(texts) / sizeof(texts[0]) && texts[index] != NULL;
    return is_known ? texts[index] : "closed";
}

char *cli_text_closed(const struct weir_rudp_event *event, char text[CLI_CLOSED_TEXT_BYTES])
{
    const char *words = event->closed.text;
    bool is_silent = words == NULL || words[0] == 0;
    (void)snprintf(text, CLI_CLOSED_TEXT_BYTES, "%s%s%s", cause_text(event->closed.cause),
                   is_silent ? "" : ": ", is_silent ? "" : words);
    return text;
}
