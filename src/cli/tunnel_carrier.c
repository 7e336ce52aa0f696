/* SPDX-License-Identifier: MIT */
/*
 * tunnel_carrier.c - what the transports of weir tunnel share: socket, slide, loop, memory.
 */
#include "cli/tunnel_carrier.h"

#include "cli/cli.h"

enum {
    /* What waits for order or for a pause while datagrams keep coming. */
    SECONDARY_BYTES = 32 << 20
};

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
    carrier->local = config->bind;
    if (!ops->is_ip) {
        carrier->driver =
            cli_net_open_udp(config->net, &carrier->local, config->trace_path, config->is_quiet);
    } else if (cli_net_check_local(config->net, &config->bind)) {
        carrier->driver = cli_net_open(config->net, 0, config->trace_path);
    }
    if (carrier->driver != NULL && config->net->kind == CLI_NET_UDP) {
        carrier->local = carrier->driver->local;
    }
    if (carrier->driver == NULL) {
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
        cli_net_close(carrier->driver);
    }
}
