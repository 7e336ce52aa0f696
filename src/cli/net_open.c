/* SPDX-License-Identifier: MIT */
/*
 * net_open.c - --driver: opens what its value says, once or with a queue for each of many threads.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/net_internal.h"
#include "cli/udp.h"

enum {
    FAULT_SEED = 1,
    PATH_BYTES = 4096,
    PORT_EPHEMERAL = 49152, /* RFC 6335 6: the first of the dynamic ports */
    PORT_COUNT = 65536 - PORT_EPHEMERAL
};

/* One queue of a driver: all of it, or one of many that share a device, an interface or a port. */
struct queue {
    const struct cli_net_options *options;
    const char *trace_path; /* NULL: none */
    uint16_t udp_port;      /* 0: TCP */
    uint32_t index;
    bool is_shared;
    bool is_plain;
    const struct weir_interface *interface; /* once it is open, as frames */
    struct weir_driver *frames;
    const struct weir_driver *first; /* packet: frames of queue 0 */
};

static bool is_link_local(const struct weir_addr *addr)
{
    return addr->family == WEIR_ADDR_IP6 && addr->ip[0] == 0xfe && (addr->ip[1] & 0xc0) == 0x80;
}

/* --- devices ---------------------------------------------------------------------------------- */

/* Only what was asked for is set on a device that exists. */
static void set_hosts(const struct cli_net_options *options, struct weir_tun_config *config)
{
    const struct weir_ip_address *own4 = cli_net_first_of(options, WEIR_ADDR_IP4);
    const struct weir_ip_address *own6 = cli_net_first_of(options, WEIR_ADDR_IP6);
    const bool is_new = if_nametoindex(options->name) == 0;
    struct weir_ip_address host4 = options->host4;
    struct weir_ip_address host6 = options->host6;
    if (host4.addr.family == WEIR_ADDR_NONE && own4 != NULL && is_new) {
        host4 = cli_net_first_other(options, own4);
    }
    if (host6.addr.family == WEIR_ADDR_NONE && own6 != NULL && is_new) {
        host6 = cli_net_first_other(options, own6);
    }
    config->host = host4.addr;
    config->host_prefix = host4.prefix;
    config->host6 = host6.addr;
    config->host6_prefix = host6.prefix;
}

static enum weir_status open_tun(struct queue *queue, struct weir_driver **driver,
                                 char problem[WEIR_PROBLEM_BYTES])
{
    const struct cli_net_options *options = queue->options;
    struct weir_tun_config config;
    weir_tun_config_default(&config);
    memcpy(config.name, options->name, sizeof(config.name));
    config.is_tap = options->kind == CLI_NET_TAP;
    config.is_multi_queue = queue->is_shared;
    config.queue_index = queue->index;
    config.is_offload_disabled = queue->is_plain;
    if (queue->index == 0) { /* the rest is the same device */
        config.mtu_bytes = (uint16_t)options->mtu_bytes;
        config.queue_frames = options->queue_frames;
        set_hosts(options, &config);
    }
    enum weir_status status = weir_tun_open(&config, driver, problem);
    queue->interface = status == WEIR_OK ? weir_tun_interface(*driver) : NULL;
    return status;
}

static enum weir_status open_packet(struct queue *queue, struct weir_driver **driver,
                                    char problem[WEIR_PROBLEM_BYTES])
{
    struct weir_packet_config config;
    weir_packet_config_default(&config);
    memcpy(config.name, queue->options->name, sizeof(config.name));
    config.is_offload_disabled = queue->is_plain;
    config.is_shared = queue->is_shared;
    config.first = queue->first;
    enum weir_status status = weir_packet_open(&config, driver, problem);
    queue->interface = status == WEIR_OK ? weir_packet_interface(*driver) : NULL;
    return status;
}

static enum weir_status open_raw(struct queue *queue, struct weir_driver **driver,
                                 char problem[WEIR_PROBLEM_BYTES])
{
    enum {
        PROTOCOL_UDP = 17
    };

    struct weir_raw_config config;
    weir_raw_config_default(&config);
    config.local = queue->options->addresses[0].addr;
    config.is_trusted = queue->options->is_trusted;
    config.protocol = queue->udp_port != 0 ? PROTOCOL_UDP : config.protocol;
    enum weir_status status = weir_raw_open(&config, driver, problem);
    queue->interface = status == WEIR_OK ? weir_raw_interface(*driver) : NULL;
    return status;
}

/* NULL with the line printed. */
static struct weir_driver *open_frames(struct queue *queue)
{
    struct weir_driver *driver = NULL;
    char problem[WEIR_PROBLEM_BYTES] = "";
    enum weir_status status;
    if (queue->options->kind == CLI_NET_PACKET) {
        status = open_packet(queue, &driver, problem);
    } else if (queue->options->kind == CLI_NET_RAW) {
        status = open_raw(queue, &driver, problem);
    } else {
        status = open_tun(queue, &driver, problem);
    }
    queue->frames = driver;
    if (status == WEIR_OK) {
        return driver;
    }
    cli_fail(CLI_FAILED, "--driver %s: %s", queue->options->text,
             problem[0] != 0 ? problem : weir_status_text(status));
    return NULL;
}

/* --- around them: each closes driver and gives NULL when it cannot be wrapped ----------------- */

static struct weir_driver *wrap_loss(const struct queue *queue, struct weir_driver *driver)
{
    const struct weir_sim_link link = {.loss_ppm = queue->options->loss_ppm};
    struct weir_driver *wrapped = NULL;
    if (driver == NULL || link.loss_ppm == 0) {
        return driver;
    }
    if (weir_fault_open(driver, FAULT_SEED + queue->index, &link, &link, 0, &wrapped) != WEIR_OK) {
        cli_fail(CLI_FAILED, "--driver %s: no memory for its packets", queue->options->text);
        driver->ops->close(driver);
        return NULL;
    }
    return wrapped;
}

/* "run.pcapng" is "run-3.pcapng" for queue 3. False: too long. */
static bool name_trace(const struct queue *queue, char path[PATH_BYTES])
{
    const char *given = queue->trace_path;
    const char *slash = strrchr(given, '/');
    const char *dot = strrchr(slash != NULL ? slash : given, '.');
    size_t stem = dot != NULL ? (size_t)(dot - given) : strlen(given);
    int length = queue->is_shared ? snprintf(path, PATH_BYTES, "%.*s-%u%s", (int)stem, given,
                                             queue->index, given + stem)
                                  : snprintf(path, PATH_BYTES, "%s", given);
    return length < PATH_BYTES;
}

static struct weir_driver *wrap_trace(const struct queue *queue, struct weir_driver *driver)
{
    char path[PATH_BYTES];
    struct weir_driver *traced = NULL;
    int error = ENAMETOOLONG;
    if (driver == NULL || queue->trace_path == NULL) {
        return driver;
    }
    if (!name_trace(queue, path) || weir_trace_open(driver, path, &traced, &error) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace '%s': %s", path, cli_text_errno(error));
        driver->ops->close(driver);
        return NULL;
    }
    return traced;
}

static void fill_inet(const struct queue *queue, struct weir_inet_config *config)
{
    const struct cli_net_options *options = queue->options;
    weir_inet_config_default(config, queue->interface);
    config->udp_port = queue->udp_port;
    config->ip.address_count = options->address_count;
    memcpy(config->ip.addresses, options->addresses, sizeof(config->ip.addresses));
    for (uint32_t i = 0; i < options->address_count; i++) {
        if (is_link_local(&config->ip.addresses[i].addr)) {
            config->ip.addresses[i].addr.scope = queue->interface->index;
        }
    }
    config->ip.gateway4 = options->gateway4;
    config->ip.gateway6 = options->gateway6;
    if (options->mtu_bytes != 0 && options->mtu_bytes < config->ip.mtu_bytes) {
        config->ip.mtu_bytes = options->mtu_bytes;
    }
}

static struct weir_driver *wrap_inet(const struct queue *queue, struct weir_driver *driver)
{
    struct weir_inet_config config;
    struct weir_driver *wrapped = NULL;
    if (driver == NULL) {
        return NULL;
    }
    fill_inet(queue, &config);
    enum weir_status status = weir_inet_open(driver, &config, &wrapped);
    if (status == WEIR_OK) {
        return wrapped;
    }
    driver->ops->close(driver);
    cli_fail(CLI_FAILED, "--driver %s: %s", queue->options->text,
             status != WEIR_ERR_INVALID ? weir_status_text(status)
             : config.ip.mtu_bytes < 1280
                 ? "the MTU is too small; IPv4 takes 576 and more, IPv6 1280"
                 : "a group's address, or none, cannot be a host's");
    return NULL;
}

static struct weir_driver *open_queue(struct queue *queue)
{
    /* Loss is of packets, and a trace shows them as they leave. */
    queue->is_plain =
        queue->options->is_plain || queue->options->loss_ppm != 0 || queue->trace_path != NULL;
    return wrap_trace(queue, wrap_inet(queue, wrap_loss(queue, open_frames(queue))));
}

/* --- opening ---------------------------------------------------------------------------------- */

struct weir_driver *cli_net_open(const struct cli_net_options *options, uint16_t udp_port,
                                 const char *trace_path)
{
    struct queue queue = {.options = options, .udp_port = udp_port, .trace_path = trace_path};
    return cli_net_check_tcp(options) ? open_queue(&queue) : NULL;
}

/* False with the line printed. */
static bool choose_port(const struct cli_net_options *options, struct weir_addr *bind)
{
    uint8_t seed[32];
    if (!cli_net_check_local(options, bind)) {
        return false;
    }
    if (bind->port == 0) {
        if (weir_secret_seed(seed, sizeof(seed)) != WEIR_OK) {
            cli_fail(CLI_FAILED, "the system gives no random numbers");
            return false;
        }
        bind->port = (uint16_t)(PORT_EPHEMERAL + (seed[0] << 8 | seed[1]) % PORT_COUNT);
    }
    return true;
}

struct weir_driver *cli_net_open_udp(const struct cli_net_options *options, struct weir_addr *bind,
                                     const char *trace_path, bool is_quiet)
{
    struct queue queue = {.options = options, .trace_path = trace_path};
    if (options->kind == CLI_NET_UDP) {
        return wrap_trace(&queue, wrap_loss(&queue, cli_udp_open(bind, NULL, is_quiet)));
    }
    if (!choose_port(options, bind)) {
        return NULL;
    }
    return cli_net_open(options, bind->port, trace_path);
}

/* A port that is shared may be shared with a stranger, or with ourselves started twice: nobody may
 * have it when we begin. False with the line printed. */
static bool is_port_free(const struct weir_addr *bind)
{
    struct weir_driver *driver = bind->port != 0 ? cli_udp_open(bind, NULL, true) : NULL;
    if (driver != NULL) {
        driver->ops->close(driver);
    }
    return bind->port == 0 || driver != NULL;
}

static bool check_shared(const struct cli_net_options *options)
{
    if (options->kind == CLI_NET_RAW) {
        cli_fail(CLI_USAGE,
                 "--driver %s is for one thread; leave out --workers, or take tun:NAME,ADDR/BITS "
                 "or packet:INTERFACE,ADDR/BITS",
                 options->text);
        return false;
    }
    return true;
}

/* NULL with the line printed. */
static struct weir_driver *open_shared(struct queue *queue, struct weir_addr *bind)
{
    if (bind == NULL || queue->options->kind != CLI_NET_UDP) {
        return open_queue(queue);
    }
    struct weir_driver *driver = cli_udp_open_shared(bind, queue->index > 0);
    if (driver != NULL) {
        bind->port = driver->local.port;
    }
    return wrap_trace(queue, wrap_loss(queue, driver));
}

bool cli_net_open_queues(const struct cli_net_options *options, struct weir_addr *bind,
                         const char *trace_path, struct weir_driver **queues, uint32_t count)
{
    const bool is_kernels = options->kind == CLI_NET_UDP;
    if (bind == NULL ? !cli_net_check_tcp(options)
                     : !(is_kernels ? is_port_free(bind) : choose_port(options, bind))) {
        return false;
    }
    if (!check_shared(options)) {
        return false;
    }
    const struct weir_driver *first = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct queue queue = {.options = options,
                              .trace_path = trace_path,
                              .udp_port = bind != NULL ? bind->port : 0,
                              .index = i,
                              .is_shared = true,
                              .first = first};
        queues[i] = open_shared(&queue, bind);
        first = i == 0 ? queue.frames : first;
        if (queues[i] == NULL) {
            while (i-- > 0) {
                cli_net_close(queues[i]);
            }
            return false;
        }
    }
    return true;
}
