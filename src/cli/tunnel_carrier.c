/* SPDX-License-Identifier: MIT */
/*
 * tunnel_carrier.c - what the transports of weir tunnel share: socket, slide, loop, memory, and the
 * list of connections.
 */
#include "cli/tunnel_carrier.h"

#include "cli/cli.h"

enum {
    /* What waits for order or for a pause while datagrams keep coming. */
    SECONDARY_BYTES = 32 << 20
};

/* --- connections ------------------------------------------------------------------------------ */

struct cli_carrier_conn *cli_carrier_add_conn(struct cli_carrier *carrier, void *session)
{
    struct cli_carrier_conn *conn = cli_heap_take_zeroed(carrier->heap, carrier->ops->conn_bytes);
    if (conn != NULL) {
        conn->carrier = carrier;
        conn->session = session;
        weir_list_append(&carrier->conns, &conn->link);
    }
    return conn;
}

void cli_carrier_free_conn(struct cli_carrier_conn *conn)
{
    struct cli_carrier *carrier = conn->carrier;
    weir_list_remove(&carrier->conns, &conn->link);
    cli_heap_give(carrier->heap, conn, carrier->ops->conn_bytes);
}

/* --- a shard's share -------------------------------------------------------------------------- */

/* Of what is counted by connections a shard gets the mean and what chance may add. Memory for bytes
 * is for a few sessions that stall, and taken from the system only when they do. */
enum {
    SHARD_BYTES = 16 << 20,
    SHARD_WINDOW_BYTES = 8 << 20, /* two of KCP's longest */
    SHARD_PACKETS = 16384,
    SHARD_SEGMENTS = 32768 /* KCP's longest window */
};

void cli_carrier_share(struct cli_carrier_config *config)
{
    const struct cli_crew *crew = config->crew;
    struct weir_kcp_config *kcp = &config->kcp;
    struct weir_rudp_config *rudp = &config->rudp;
    struct weir_tcp_config *tcp = &config->tcp;
    kcp->connections_max = cli_crew_share(crew, kcp->connections_max);
    kcp->pending_max = cli_crew_share(crew, kcp->pending_max);
    kcp->send_bytes = SHARD_BYTES;
    kcp->window_bytes = SHARD_WINDOW_BYTES;
    kcp->held_max = SHARD_SEGMENTS;
    rudp->connections_max = cli_crew_share(crew, rudp->connections_max);
    rudp->send_bytes = rudp->assembly_bytes = SHARD_BYTES;
    rudp->held_max = rudp->packets_max = SHARD_PACKETS;
    rudp->fragments_max = 2 * SHARD_PACKETS;
    tcp->connections_max = cli_crew_share(crew, tcp->connections_max);
    tcp->connections6_max = cli_crew_share(crew, tcp->connections6_max);
    tcp->awake_max = cli_crew_share(crew, tcp->awake_max);
    tcp->reordering_max = cli_crew_share(crew, tcp->reordering_max);
    tcp->segments_max = tcp->held_max = SHARD_PACKETS;
    tcp->send_bytes = SHARD_BYTES;
}

/* --- open and close --------------------------------------------------------------------------- */

static bool fail_memory(void)
{
    cli_fail(CLI_FAILED, "the system gave no memory for the tunnel's buffers");
    return false;
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
        return fail_memory();
    }
    weir_loop_config_default(&loop);
    loop.driver = carrier->driver;
    loop.slide = carrier->slide;
    return weir_loop_open(&loop, &carrier->loop) == WEIR_OK || fail_memory();
}

static bool open_own(struct cli_carrier *carrier, const struct cli_carrier_config *config)
{
    carrier->local = config->bind;
    if (!carrier->ops->is_ip) {
        carrier->driver =
            cli_net_open_udp(config->net, &carrier->local, config->trace_path, config->is_quiet);
    } else if (cli_net_check_local(config->net, &config->bind)) {
        carrier->driver = cli_net_open(config->net, 0, config->trace_path);
    }
    if (carrier->driver == NULL) {
        return false;
    }
    if (config->net->kind == CLI_NET_UDP) {
        carrier->local = carrier->driver->local;
    }
    return open_loop(carrier);
}

static bool open_engine(struct cli_carrier *carrier, struct cli_carrier_config *config)
{
    uint8_t seed[32];
    carrier->engine_mem_bytes = carrier->ops->configure(carrier, config);
    if (carrier->engine_mem_bytes != 0) {
        carrier->engine_mem = weir_mem_map(carrier->engine_mem_bytes);
        if (carrier->engine_mem == NULL || weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
            return fail_memory();
        }
    }
    enum weir_status status = carrier->engine_mem_bytes == 0
                                  ? WEIR_ERR_INVALID
                                  : carrier->ops->init(carrier, config, seed, cli_clock());
    if (status != WEIR_OK) {
        carrier->engine = NULL;
        cli_fail(CLI_FAILED, "%s cannot be started with these options: %s", carrier->ops->scheme,
                 weir_status_text(status));
        return false;
    }
    return true;
}

struct cli_carrier *cli_carrier_open(const struct cli_carrier_ops *ops,
                                     const struct cli_carrier_config *config)
{
    struct cli_carrier_config made = *config;
    struct cli_carrier *carrier = cli_heap_take_zeroed(config->heap, ops->carrier_bytes);
    if (carrier == NULL) {
        (void)fail_memory();
        return NULL;
    }
    carrier->ops = ops;
    carrier->handlers = config->handlers;
    carrier->user = config->user;
    carrier->heap = config->heap;
    weir_list_init(&carrier->conns);
    if (config->crew != NULL) {
        carrier->slide = weir_crew_slide(config->crew->crew, config->shard);
        carrier->local = config->crew->local;
    }
    if ((config->crew == NULL && !open_own(carrier, config)) || !open_engine(carrier, &made)) {
        cli_carrier_close(carrier);
        return NULL;
    }
    if (carrier->loop != NULL) {
        weir_loop_attach(carrier->loop, carrier->engine, ops->verbs(), ops->on_events, carrier);
    }
    return carrier;
}

void cli_carrier_close(struct cli_carrier *carrier)
{
    if (carrier->engine != NULL && carrier->ops->fini != NULL) {
        carrier->ops->fini(carrier);
    }
    while (!weir_list_is_empty(&carrier->conns)) {
        cli_carrier_free_conn(
            WEIR_CONTAINER(weir_list_first(&carrier->conns), struct cli_carrier_conn, link));
    }
    if (carrier->loop != NULL) {
        weir_loop_close(carrier->loop);
    }
    weir_mem_unmap(carrier->engine_mem, carrier->engine_mem_bytes);
    weir_mem_unmap(carrier->slide_mem, carrier->slide_mem_bytes);
    if (carrier->driver != NULL) {
        cli_net_close(carrier->driver);
    }
    cli_heap_give(carrier->heap, carrier, carrier->ops->carrier_bytes);
}
