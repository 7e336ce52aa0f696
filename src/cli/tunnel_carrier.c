/* SPDX-License-Identifier: MIT */
/*
 * tunnel_carrier.c - what the transports of weir tunnel share: socket, slide, loop, memory.
 */
#include "cli/tunnel_carrier.h"

#include <errno.h>

#include "cli/cli.h"

enum {
    /* What waits for order or for a pause while datagrams keep coming. */
    SECONDARY_BYTES = 32 << 20
};

static bool open_driver(struct cli_carrier *carrier, const struct cli_carrier_config *config)
{
    struct weir_udp_config udp;
    struct weir_udp_notice notice;
    char addr[WEIR_ADDR_TEXT_BYTES];
    char text[240];
    int error = 0;
    weir_udp_config_default(&udp);
    udp.bind = config->bind;
    enum weir_status status = weir_udp_open(&udp, &carrier->driver, &notice, &error);
    if (status != WEIR_OK) {
        weir_addr_format(&config->bind, addr);
        cli_fail(CLI_FAILED, "cannot open %s: %s%s", addr,
                 error != 0 ? cli_text_errno(error) : weir_status_text(status),
                 error == EADDRINUSE ? "; stop the program there or choose another port" : "");
        return false;
    }
    weir_udp_notice_text(&notice, &udp, text);
    if (text[0] != 0 && !config->is_quiet) {
        cli_warn("%s", text);
    }
    struct weir_driver *traced = NULL;
    if (config->trace_path != NULL &&
        weir_trace_open(carrier->driver, config->trace_path, &traced, &error) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace '%s': %s", config->trace_path,
                 cli_text_errno(error));
        return false;
    }
    carrier->driver = traced != NULL ? traced : carrier->driver;
    return true;
}

static bool open_loop(struct cli_carrier *carrier)
{
    struct weir_slide_config slide;
    struct weir_loop_config loop;
    weir_slide_config_default(&slide);
    slide.secondary_bytes = SECONDARY_BYTES;
    carrier->slide_mem_bytes = weir_slide_mem_size(&slide);
    carrier->slide_mem = weir_mem_map(carrier->slide_mem_bytes);
    if (carrier->slide_mem == NULL ||
        weir_slide_init(carrier->slide_mem, &slide, &carrier->slide) != WEIR_OK) {
        return false;
    }
    weir_loop_config_default(&loop);
    loop.driver = carrier->driver;
    loop.slide = carrier->slide;
    return weir_loop_open(&loop, &carrier->loop) == WEIR_OK;
}

bool cli_carrier_init(struct cli_carrier *carrier, const struct cli_carrier_ops *ops,
                      const struct cli_carrier_config *config)
{
    carrier->ops = ops;
    carrier->handlers = config->handlers;
    carrier->user = config->user;
    if (!open_driver(carrier, config)) {
        return false;
    }
    if (!open_loop(carrier)) {
        cli_fail(CLI_FAILED, "the system gave no memory for the tunnel's buffers");
        return false;
    }
    return true;
}

bool cli_carrier_alloc(struct cli_carrier *carrier, size_t bytes, uint8_t seed[32])
{
    if (bytes == 0) {
        cli_fail(CLI_USAGE, "these options do not go together");
        return false;
    }
    carrier->engine_mem_bytes = bytes;
    carrier->engine_mem = weir_mem_map(bytes);
    if (carrier->engine_mem == NULL || weir_secret_seed(seed, 32) != WEIR_OK) {
        cli_fail(CLI_FAILED, "the system gave no memory for the tunnel's buffers");
        return false;
    }
    return true;
}

void cli_carrier_fini(struct cli_carrier *carrier)
{
    if (carrier->loop != NULL) {
        weir_loop_close(carrier->loop);
    }
    if (carrier->engine_mem != NULL) {
        weir_mem_unmap(carrier->engine_mem, carrier->engine_mem_bytes);
    }
    if (carrier->slide_mem != NULL) {
        weir_mem_unmap(carrier->slide_mem, carrier->slide_mem_bytes);
    }
    if (carrier->driver != NULL) {
        carrier->driver->ops->close(carrier->driver);
    }
}
