/* SPDX-License-Identifier: MIT */
/*
 * tcp_weir.c - weir's end: on a device, or in memory below crafted handshakes.
 *
 * Ports: ECHO sends back, DISCARD takes, SOURCE sends parcels without end.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tcp_bench.h"
#include "weir/weir.h"

enum {
    PARCELS = 16,
    PARCEL_BYTES = 1 << 18,
    AWAKE_MAX = 512,          /* control blocks in memory: of what is just being opened */
    NAP_NS = 20 * 1000 * 1000 /* how late a SIGTERM may be noticed */
};

struct end {
    struct weir_driver *driver;
    struct weir_loop *loop;
    struct weir_tcp *tcp;
    size_t tcp_bytes;
    uint32_t opened;
};

static uint8_t pattern[PARCEL_BYTES];
static struct weir_parcel parcels[PARCELS];
static volatile sig_atomic_t is_over;

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        tcp_die(what, weir_status_text(status));
    }
}

static void *map(size_t bytes)
{
    void *mem = weir_mem_map(bytes);
    tcp_must(mem != NULL, "memory");
    return mem;
}

/* --- what it does with connections ------------------------------------------------------------ */

static void on_opened(struct end *end, struct weir_tcp_conn *conn)
{
    const uint16_t port = weir_tcp_path(end->tcp, conn).local.port;
    end->opened++;
    for (int i = 0; i < PARCELS && port == TCP_PORT_SOURCE; i++) {
        parcels[i].data = pattern;
        parcels[i].length = sizeof(pattern);
        (void)weir_tcp_send_parcel(end->tcp, conn, &parcels[i]);
    }
}

static void on_data(struct end *end, const struct weir_tcp_event *event)
{
    if (weir_tcp_path(end->tcp, event->conn).local.port == TCP_PORT_ECHO) {
        must(weir_tcp_send(end->tcp, event->conn, event->data.span.data, event->data.span.length),
             "echo");
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct end *end = user;
    struct weir_tcp_event event;
    (void)now;
    while (weir_tcp_event(end->tcp, &event) == WEIR_OK) {
        if (event.type == WEIR_TCP_EVENT_OPENED) {
            on_opened(end, event.conn);
        } else if (event.type == WEIR_TCP_EVENT_DATA) {
            on_data(end, &event);
        } else if (event.type == WEIR_TCP_EVENT_PARCEL_DONE &&
                   event.parcel.outcome == WEIR_OUTCOME_ACKED) {
            (void)weir_tcp_send_parcel(end->tcp, event.conn, event.parcel.parcel);
        } else if (event.type == WEIR_TCP_EVENT_PEER_CLOSED) {
            (void)weir_tcp_close(end->tcp, event.conn);
        }
    }
}

/* --- loop and endpoint ------------------------------------------------------------------------ */

static void open_endpoint(struct end *end, struct weir_tcp_config *config,
                          const struct weir_addr *addr)
{
    static const uint16_t ports[] = {TCP_PORT_ECHO, TCP_PORT_DISCARD, TCP_PORT_SOURCE};
    struct weir_slide_config slide_config;
    struct weir_loop_config loop_config;
    uint8_t seed[32];
    weir_slide_config_default(&slide_config);
    weir_loop_config_default(&loop_config);
    must(weir_slide_init(map(weir_slide_mem_size(&slide_config)), &slide_config, &config->slide),
         "slide");
    loop_config.driver = end->driver;
    loop_config.slide = config->slide;
    must(weir_loop_open(&loop_config, &end->loop), "loop");
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    end->tcp_bytes = weir_tcp_mem_size(config);
    must(weir_tcp_init(map(end->tcp_bytes), config, seed, weir_loop_now(end->loop), &end->tcp),
         "tcp");
    weir_loop_attach(end->loop, end->tcp, weir_tcp_verbs(), on_events, end);
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        struct weir_addr local = *addr;
        int listener = 0;
        local.port = ports[i];
        must(weir_tcp_listen(end->tcp, &local, &listener), "listen");
    }
}

static void open_inet(struct end *end, const struct weir_interface *interface,
                      const struct weir_addr *addr, struct weir_addr gateway)
{
    struct weir_inet_config config;
    weir_inet_config_default(&config, interface);
    config.ip.addresses[0] = (struct weir_ip_address){.addr = *addr, .prefix = 24};
    config.ip.address_count = 1;
    config.ip.gateway4 = gateway;
    must(weir_inet_open(end->driver, &config, &end->driver), "inet");
}

/* --- on a device ------------------------------------------------------------------------------ */

struct weir_driver *tcp_open_tun(const struct tcp_place *place)
{
    struct weir_tun_config config;
    struct weir_driver *driver = NULL;
    char problem[WEIR_PROBLEM_BYTES];
    weir_tun_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "%s", place->device);
    config.is_offload_disabled = place->is_plain;
    config.queue_frames = 2000;
    config.host = tcp_addr(place, 1);
    config.host_prefix = 24;
    if (weir_tun_open(&config, &driver, problem) != WEIR_OK) {
        tcp_die(place->device, problem);
    }
    return driver;
}

static struct weir_driver *open_packet(const struct tcp_place *place)
{
    struct weir_packet_config config;
    struct weir_driver *driver = NULL;
    char problem[WEIR_PROBLEM_BYTES];
    weir_packet_config_default(&config);
    (void)snprintf(config.name, sizeof(config.name), "%s", place->device);
    config.is_offload_disabled = place->is_plain;
    if (weir_packet_open(&config, &driver, problem) != WEIR_OK) {
        tcp_die(place->device, problem);
    }
    return driver;
}

static void on_term(int signal)
{
    (void)signal;
    is_over = 1;
}

void tcp_weir_serve(const struct tcp_place *place)
{
    static struct end end;
    struct weir_tcp_config config;
    const struct weir_addr addr = tcp_addr(place, place->host);
    const struct sigaction action = {.sa_handler = on_term};
    (void)sigaction(SIGTERM, &action, NULL);
    end.driver = place->is_packet ? open_packet(place) : tcp_open_tun(place);
    const struct weir_interface *interface =
        place->is_packet ? weir_packet_interface(end.driver) : weir_tun_interface(end.driver);
    weir_tcp_config_default(&config);
    config.mtu_bytes = (uint16_t)interface->mtu_bytes;
    config.tuning.is_nodelay = true;
    open_inet(&end, interface, &addr, (struct weir_addr){.family = WEIR_ADDR_NONE});
    open_endpoint(&end, &config, &addr);
    memset(pattern, 1, sizeof(pattern));
    place->on_ready();
    while (!is_over) {
        must(weir_loop_run_once(end.loop, place->is_polling ? 0 : NAP_NS), "loop");
    }
}

/* --- in memory -------------------------------------------------------------------------------- */

/* A driver whose frames come from a flood, and go back to it. */
static struct memory {
    struct weir_driver driver;
    struct flood *flood;
    bool is_taken;
    struct end end;
    uint32_t connections_max;
} memory;

static enum weir_status memory_receive(struct weir_driver *driver, weir_nsec now,
                                       struct weir_mut_span room, struct weir_packet *packets,
                                       uint32_t packets_max, uint32_t *count)
{
    static const struct weir_path path = {.local = {.family = WEIR_ADDR_NONE}};
    const struct flood *flood = memory.flood;
    (void)driver;
    (void)now;
    *count = 0;
    for (; !memory.is_taken && *count < flood->count && *count < packets_max; (*count)++) {
        uint8_t *at = room.data + (size_t)*count * FLOOD_FRAME_BYTES;
        memcpy(at, flood->frames[*count], FLOOD_FRAME_BYTES);
        packets[*count] = (struct weir_packet){.data = at,
                                               .path = &path,
                                               .length = flood->lengths[*count],
                                               .protocol = WEIR_PROTOCOL_FRAME};
    }
    memory.is_taken = true;
    return WEIR_OK;
}

static enum weir_status memory_send(struct weir_driver *driver, weir_nsec now,
                                    const struct weir_transmit *transmits, uint32_t count,
                                    uint32_t *sent)
{
    (void)driver;
    (void)now;
    for (*sent = 0; *sent < count; (*sent)++) {
        flood_on_frame(memory.flood, transmits[*sent].data, transmits[*sent].length);
    }
    return WEIR_OK;
}

static int memory_fd(const struct weir_driver *driver)
{
    (void)driver;
    return -1;
}

static weir_nsec memory_next_timeout(const struct weir_driver *driver)
{
    (void)driver;
    return WEIR_NEVER;
}

static void memory_close(struct weir_driver *driver)
{
    (void)driver;
}

static void stack_open(uint32_t connections_max)
{
    static const struct weir_driver_ops ops = {.receive = memory_receive,
                                               .send = memory_send,
                                               .fd = memory_fd,
                                               .next_timeout = memory_next_timeout,
                                               .close = memory_close};
    const struct weir_addr addr = {.ip = {10, 1, 0, 2}, .family = WEIR_ADDR_IP4};
    struct weir_tcp_config config;
    memory.driver = (struct weir_driver){
        .ops = &ops, .rx_room_bytes = 65536, .run_segments_max = 1, .datagram_bytes_max = 65535};
    memory.end.driver = &memory.driver;
    memory.connections_max = connections_max;
    weir_tcp_config_default(&config);
    config.connections_max = connections_max;
    config.connections6_max = 0;
    config.awake_max = AWAKE_MAX;
    open_inet(&memory.end, NULL, &addr, (struct weir_addr){.family = WEIR_ADDR_NONE});
    open_endpoint(&memory.end, &config, &addr);
}

static void stack_input(struct flood *flood)
{
    memory.flood = flood;
    memory.is_taken = false;
    must(weir_loop_run_once(memory.end.loop, 0), "loop");
}

static uint32_t stack_opened(void)
{
    return memory.end.opened;
}

/* Pages of the endpoint's block that are in memory: table, control blocks, all. */
static double stack_bytes(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t pages = (memory.end.tcp_bytes + page - 1) / page;
    unsigned char *is_there = malloc(pages);
    size_t count = 0;
    if (is_there == NULL || mincore(memory.end.tcp, memory.end.tcp_bytes, is_there) != 0) {
        tcp_die("mincore", "failed");
    }
    for (size_t i = 0; i < pages; i++) {
        count += is_there[i] & 1;
    }
    free(is_there);
    return (double)(count * page);
}

const struct flood_stack *tcp_weir_stack(void)
{
    static const struct flood_stack stack = {.name = "weir",
                                             .open = stack_open,
                                             .input = stack_input,
                                             .opened = stack_opened,
                                             .bytes = stack_bytes};
    return &stack;
}
